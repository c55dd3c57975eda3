/* proxy.c: a reverse proxy that streams both ways, in flat memory: a gigabyte
   up or down takes as much of it as a kilobyte. Who is slow, client or
   upstream, slows the other one down.

   cc examples/proxy.c -o proxy && ./proxy 5000 http://127.0.0.1:8000

   The upstream must be named by the one who starts it. What hangs up between
   hops stays here (RFC 9110 7.6.1); X-Forwarded-For, -Proto and -Host tell the
   upstream who asked.

   $ curl -s -o /dev/null -w '%{http_code}\n' localhost:5000/nobody/listens
   502
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

typedef struct state {
    const char *upstream;
    aw_client *client;
} state;

/* As many connections as there are clients: none waits for another's. What the
   environment says of proxies is not meant for us. */
static aw_client *client_of(aw_req *req, state *s)
{
    static const aw_client_config config = {
        .proxy = "", .max_connections = AW_OFF, .max_per_origin = AW_OFF};
    if (!s->client) s->client = aw_client_new(aw_req_loop(req), &config);
    return s->client;
}

/* What is said from hop to hop, and not passed on; and what we say anew. */
static bool stays_here(const char *name, const char *connection)
{
    static const char *const here[] = {
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection",
        "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
        "Expect", "Content-Length", "Host", "Date", "X-Forwarded-For",
        "X-Forwarded-Proto", "X-Forwarded-Host"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        if (strcasecmp(name, here[i]) == 0) return true;
    /* Connection names others: "close, X-Hop". */
    while (connection && *connection) {
        const size_t word = strcspn(connection, ", \t");
        if (word == n && strncasecmp(connection, name, n) == 0) return true;
        connection += word + (connection[word] != 0);
    }
    return false;
}

/* What the upstream is asked for; NULL: out of memory. A client that takes us
   for a proxy of its own sends a whole URL, the host of which is none of the
   upstream's business (RFC 9112 3.2.2). */
static const char *url_of(aw_req *req, const char *upstream)
{
    const char *target = aw_raw_target(req);
    const char *host = *target == '/' ? NULL : strstr(target, "://");
    if (host) target = host + 3 + strcspn(host + 3, "/?");
    return aw_format(req, "%s%s%s", upstream, *target == '/' ? "" : "/",
                     target);
}

/* The fields of the request for the upstream; NULL: out of memory. */
static const aw_header_field *fields_of(aw_req *req)
{
    const char *name, *value, *connection = aw_header(req, "Connection");
    const char *before = aw_header(req, "X-Forwarded-For");
    aw_header_field *list, *to;
    size_t n = 0;
    while (aw_header_at(req, n, &name, &value)) n++;
    to = list = aw_alloc(req, (n + 7) * sizeof *list);
    if (!list) return NULL;
    *to++ = (aw_header_field){"User-Agent", NULL};      /* theirs, or none */
    *to++ = (aw_header_field){"Accept", NULL};
    for (size_t i = 0; aw_header_at(req, i, &name, &value); i++)
        if (!stays_here(name, connection))
            *to++ = (aw_header_field){name, value};
    *to++ = (aw_header_field){"X-Forwarded-For", before
        ? aw_format(req, "%s, %s", before, aw_peer(req)) : aw_peer(req)};
    *to++ = (aw_header_field){"X-Forwarded-Proto", aw_scheme(req)};
    if (aw_host(req))
        *to++ = (aw_header_field){"X-Forwarded-Host", aw_host(req)};
    *to = (aw_header_field){NULL, NULL};
    return list;
}

/* The upstream's head becomes ours. Its length decides how ours is framed. The
   result is the status if no body can follow, else 0. */
static int answer_with(aw_req *req, const aw_response *reply)
{
    const char *connection = "";
    const char *length = aw_response_header(reply, "Content-Length");
    const char *type = aw_response_header(reply, "Content-Type");
    const bool empty = reply->status == 204 || reply->status == 304;
    int rc = 0;
    for (const aw_header_field *f = reply->headers; f->name; f++)
        if (strcasecmp(f->name, "Connection") == 0 && connection)
            connection = aw_format(req, "%s,%s", connection, f->value);
    if (!connection) return AW_ENOMEM;
    aw_status(req, reply->status);
    if (empty) rc = aw_empty(req, reply->status);
    else if (length)
        rc = aw_stream_begin_sized(req, type ? type : "", atoll(length));
    else rc = aw_stream_begin(req, type ? type : "");
    for (const aw_header_field *f = reply->headers; f->name && rc >= 0; f++)
        if (!stays_here(f->name, connection) &&
            strcasecmp(f->name, "Content-Type") != 0)
            rc = aw_add_header(req, f->name, f->value);
    return rc < 0 || !empty ? rc : reply->status;
}

static int64_t length_of(aw_req *req)
{
    const char *length = aw_header(req, "Content-Length");
    return length ? atoll(length) : 0;
}

/* Both directions, one after the other. A body goes up as it comes; when the
   upstream has heard enough, what it says counts. An error of the upstream
   becomes 502 or 504 or, once the head is out, cuts the answer off. */
ASYNC_VIEW(forward, aw_client *client; aw_response *reply; const char *url;
           const aw_header_field *fields; int64_t length; bool body; int n;
           char some[32768];)
{
    state *const s = aw_data(req);
    BEGIN {
        self->client = client_of(req, s);
        self->length = length_of(req);
        self->body = self->length > 0 || aw_header(req, "Transfer-Encoding");
        self->url = url_of(req, s->upstream);
        self->fields = fields_of(req);
        if (!self->client || !self->url || !self->fields) RETURN(AW_ENOMEM);
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .method = aw_method(req), .headers = self->fields,
              .body_len = (size_t)self->length, .client = self->client,
              .stream = true, .send = self->body);
        while (self->body) {
            AWAIT_TO(self->n, aw_body_read, req, self->some,
                     sizeof self->some);
            if (self->n < 0) RETURN(self->n);
            if (self->n == 0) break;
            AWAIT_TO(self->n, aw_fetch_send, self->reply, self->some,
                     (size_t)self->n);
            if (self->n < 0) break;
        }
        if (self->body) AWAIT(aw_fetch_end, self->reply);
        self->n = answer_with(req, self->reply);
        if (self->n != 0) RETURN(self->n);
        for (;;) {
            AWAIT_TO(self->n, aw_response_read, self->reply, self->some,
                     sizeof self->some);
            if (self->n < 0) RETURN(self->n);
            AWAIT(aw_send, req, self->some, (size_t)self->n);
            if (self->n == 0) RETURN(0);
        }
    }
}

ROUTES(app,
    ANY("/", forward, .stream = true, .max_body = AW_OFF),
    ANY("/<path:rest>", forward, .stream = true, .max_body = AW_OFF))

int main(int argc, char **argv)
{
    state s = {argc > 2 ? argv[2] : "http://127.0.0.1:8000", NULL};
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &s);
}
