/* fetch.c: a small curl. Several URLs are fetched at once, and written in the
   order they were asked for; what goes to files shows a bar on a terminal.

   cc examples/fetch.c -o fetch && ./fetch http://127.0.0.1:5000/

   For https: cc -DASYNCWEB_BEARSSL examples/fetch.c -o fetch -lbearssl

   fetch [-i] [-f] [-L] [-k] [-X METHOD] [-H 'Name: value'] [-d data]
         [-u user:password] [--cacert FILE] [--pinnedpubkey sha256//HASH]
         [--timeout MS] [--proxy URL] [--unix-socket PATH] [-o FILE] URL...

   -i  with the status line and the header fields   -f  4xx and 5xx are errors
   -L  follows up to 20 redirects                   -d  POSTs a form; twice: &
   -k  verifies no certificate, and says so
   -o  once for each URL, in their order            -H  as often as you like

   The exit status is the first error's, with curl's numbers: 1 https without
   TLS built in, 2 usage, 3 a bad URL, 5 a bad proxy, 6 no such host, 7 no
   connection, 8 not HTTP, 22 status of 400 or more with -f, 23 cannot write,
   27 out of memory, 28 too late, 35 TLS failed, 52 closed without an answer,
   56 cut off, 60 a certificate that cannot be believed, 77 no roots, 90 a key
   that is not the pinned one.

   $ ./fetch -i nothing://here
   fetch: nothing://here: not a URL this client can fetch
   $ ./fetch http://127.0.0.1:1/ http://host.invalid/; echo $?
   fetch: http://127.0.0.1:1/: connection refused
   fetch: http://host.invalid/: the host name could not be resolved
   7
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

enum { MOST = 100 };

static struct {
    const char *method, *user, *files[MOST];
    char data[65536];
    aw_header_field headers[MOST + 1];
    int header_count, file_count, redirects;
    bool head, fail;
    int64_t timeout_ms;
    aw_client_config client;
    aw_tls tls;
} want;

typedef struct transfer {
    const char *url, *path;     /* path NULL: stdout */
    int64_t size, got;          /* size -1: unknown */
    int exit;
    aw_event over;
    struct transfer *before;    /* whose turn at stdout is first; or NULL */
} transfer;

static transfer transfers[MOST];
static int transfer_count;

/* ---- what came ---- */

static int exit_of(int rc)
{
    switch (rc) {
        case AW_ENOTLS: return 1;
        case AW_EURL: return 3;
        case AW_EDNS: return 6;
        case AW_ECONNREFUSED: case AW_EUNREACH: return 7;
        case AW_ENOENT: case AW_EACCES: return 7;       /* the UNIX socket */
        case AW_EBADMSG: return 8;
        case AW_ENOMEM: return 27;
        case AW_ETIMEDOUT: return 28;
        case AW_EEOF: return 52;
        case AW_EINVAL: return 2;
        case AW_ETLS: case AW_ETLS_VERSION: return 35;
        case AW_ETLS_ISSUER: case AW_ETLS_SELF_SIGNED: case AW_ETLS_NAME:
        case AW_ETLS_EXPIRED: case AW_ETLS_NOT_YET: case AW_ETLS_CLOCK:
        case AW_ETLS_WEAK: case AW_ETLS_USE: return 60;
        case AW_ETLS_ROOTS: return 77;
        case AW_ETLS_PIN: return 90;
        default: return rc < 0 ? 56 : 0;
    }
}

static void tell(transfer *t, int status, const char *why)
{
    if (t->exit == 0) fprintf(stderr, "fetch: %s: %s\n", t->url, why);
    if (t->exit == 0) t->exit = status;
}

static void write_head(FILE *to, const aw_response *reply)
{
    fprintf(to, "HTTP/1.1 %d\r\n", reply->status);
    for (const aw_header_field *f = reply->headers; f->name; f++)
        fprintf(to, "%s: %s\r\n", f->name, f->value);
    fprintf(to, "\r\n");
}

/* The body follows its head into `to`, and flows only as fast as that. */
ASYNC(copy, (transfer *t; aw_response *reply; FILE *to;),
      int n; char some[65536];)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_response_read, self->reply, self->some,
                     sizeof self->some);
            if (self->n <= 0) RETURN(self->n == AW_EEOF ? AW_ECONNRESET
                                                        : self->n);
            self->t->got += self->n;
            if (fwrite(self->some, 1, (size_t)self->n, self->to) <
                (size_t)self->n) break;
        }
        tell(self->t, 23, "cannot write what came");
    }
}

/* All start at once; those for stdout wait there for their turn. */
ASYNC(fetch_one, (transfer *t; aw_client *client;),
      aw_response *reply; FILE *to; int rc;)
{
    transfer *const t = self->t;
    BEGIN {
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = t->url,
                 .method = want.method, .headers = want.headers,
                 .body = want.data[0] ? want.data : NULL,
                 .content_type = "application/x-www-form-urlencoded",
                 .timeout_ms = want.timeout_ms, .client = self->client,
                 .max_redirects = want.redirects, .basic = want.user,
                 .stream = true);
        if (t->before) AWAIT(aw_event_wait, &t->before->over);
        if (self->rc < 0) tell(t, exit_of(self->rc), aw_strerror(self->rc));
        if (self->rc < 0) RETURN(0);
        if (want.fail && self->rc >= 400) {
            tell(t, 22, "the status is 400 or more");
            RETURN(0);
        }
        t->size = -1;
        if (aw_response_header(self->reply, "Content-Length"))
            t->size = atoll(aw_response_header(self->reply, "Content-Length"));
        self->to = t->path ? fopen(t->path, "wb") : stdout;
        if (!self->to) {
            tell(t, 23, strerror(errno));
            RETURN(0);
        }
        if (want.head) write_head(self->to, self->reply);
        AWAIT_TO(self->rc, copy, t, self->reply, self->to);
        if (self->rc < 0) tell(t, exit_of(self->rc), aw_strerror(self->rc));
    } FINALLY {
        if (t->path && self->to && fclose(self->to) != 0)
            tell(t, 23, "cannot write what came");
        aw_event_set(&t->over);
        aw_response_free(self->reply);
    }
}

/* ---- the bar ---- */

static void draw(void)
{
    static const char full[] = "##############################";
    int64_t size = 0, got = 0;
    bool known = true;
    int i, part;
    for (i = 0; i < transfer_count; i++) {
        got += transfers[i].got;
        size += transfers[i].size;
        if (transfers[i].size < 0 ||
            (!transfers[i].size && !transfers[i].over.is_set)) known = false;
    }
    part = known && size > 0 ? (int)(got * 30 / size) : 0;
    fprintf(stderr, "\r[%-30.*s] %.1f MB ", part > 30 ? 30 : part, full,
            (double)got / 1e6);
}

ASYNC(bar, ())
{
    BEGIN {
        for (;;) {
            AWAIT(aw_sleep_ms, 100);
            draw();
        }
    } FINALLY {
        draw();
        fputc('\n', stderr);
    }
}

/* ---- all of them ---- */

static bool all_to_files(void)
{
    for (int i = 0; i < transfer_count; i++)
        if (!transfers[i].path) return false;
    return true;
}

ASYNC(fetch_all, (aw_client *client;), int i; aw_task bar;)
{
    BEGIN {
        if (all_to_files() && isatty(2)) self->bar = SPAWN(bar);
        for (self->i = 0; self->i < transfer_count; self->i++)
            START(fetch_one, &transfers[self->i], self->client);
        GATHER();
    } FINALLY {
        if (self->bar.loop) aw_cancel(self->bar);
    }
}

/* ---- arguments ---- */

static void usage(const char *what)
{
    fprintf(stderr, "fetch: %s: not understood; the options stand in the first "
            "lines of fetch.c\n", what);
    exit(2);
}

static void add_header(char *text)
{
    char *colon = strchr(text, ':');
    if (!colon || want.header_count == MOST) usage(text);
    *colon++ = 0;
    while (*colon == ' ') colon++;
    want.headers[want.header_count].name = text;
    want.headers[want.header_count++].value = *colon ? colon : NULL;
}

static void add_data(const char *text)
{
    size_t n = strlen(want.data);
    if (n + strlen(text) + 2 > sizeof want.data) usage("so long a -d");
    snprintf(want.data + n, sizeof want.data - n, "%s%s", n ? "&" : "", text);
}

/* An option with a value; false: there is none of that name. */
static bool option(const char *name, char *value)
{
    if (strcmp(name, "-X") == 0) want.method = value;
    else if (strcmp(name, "-H") == 0) add_header(value);
    else if (strcmp(name, "-d") == 0) add_data(value);
    else if (strcmp(name, "-u") == 0) want.user = value;
    else if (strcmp(name, "--timeout") == 0) want.timeout_ms = atoll(value);
    else if (strcmp(name, "--proxy") == 0) want.client.proxy = value;
    else if (strcmp(name, "--cacert") == 0) want.tls.ca_file = value;
    else if (strcmp(name, "--pinnedpubkey") == 0) want.tls.pin = value;
    else if (strcmp(name, "--unix-socket") == 0)
        want.client.unix_socket = value;
    else if (strcmp(name, "-o") == 0 && want.file_count < MOST)
        want.files[want.file_count++] = value;
    else return false;
    return true;
}

static void arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-i") == 0) want.head = true;
        else if (strcmp(argv[i], "-f") == 0) want.fail = true;
        else if (strcmp(argv[i], "-L") == 0) want.redirects = 20;
        else if (strcmp(argv[i], "-k") == 0) want.tls.insecure = true;
        else if (argv[i][0] != '-' && transfer_count < MOST)
            transfers[transfer_count++].url = argv[i];
        else if (i + 1 < argc && option(argv[i], argv[i + 1])) i++;
        else usage(argv[i]);
    }
    if (transfer_count == 0) usage("no URL");
}

/* Errors are told once, as results; this is what no result says: that nothing is
   verified, why roots cannot be read, what a proxy answered. */
static void log_client(void *data, aw_log_level level, const char *line)
{
    static const char *const told[] = {"TLS: ", "the proxy refuses ",
                                       "a redirect "};
    (void)data;
    for (int i = 0; i < 3; i++)
        if (level <= AW_LOG_WARNING && strstr(line, told[i])) {
            fprintf(stderr, "fetch: %s\n", line);
            return;
        }
}

int main(int argc, char **argv)
{
    aw_loop_config quiet = {.log = log_client};
    transfer *last = NULL;
    aw_loop *loop = aw_loop_new(&quiet);
    aw_client *client;
    int status = 0;
    arguments(argc, argv);
    want.client.tls = &want.tls;
    client = loop ? aw_client_new(loop, &want.client) : NULL;
    if (!client) {
        fprintf(stderr, "fetch: a proxy is http://host:port\n");
        aw_loop_free(loop);
        return 5;
    }
    for (int i = 0; i < transfer_count; i++) {
        transfer *t = &transfers[i];
        t->path = i < want.file_count ? want.files[i] : NULL;
        if (!t->path) t->before = last, last = t;
    }
    SPAWN_ON(loop, fetch_all, client);
    aw_loop_run(loop);
    for (int i = transfer_count; i-- > 0;)
        if (transfers[i].exit) status = transfers[i].exit;
    aw_loop_free(loop);
    if (fflush(stdout) != 0 && !status) status = 23;
    return status;
}
