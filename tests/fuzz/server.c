/* server.c: whatever bytes a client sends, and in whatever pieces: what comes
   back are well-formed answers, the same ones each time; nothing leaks, and
   the next client is served. */
#include "fuzz.h"

/* Stands for a body: what is sent back never begins like an answer. */
static int server_sum(aw_req *req, aw_slice s)
{
    uint32_t sum = 1;
    for (size_t i = 0; i < s.n; i++) sum = sum * 31 + (unsigned char)s.p[i];
    return aw_printf(req, "%lu %lu", (unsigned long)s.n, (unsigned long)sum);
}

VIEW(server_hello) { return aw_text(req, "hello"); }

VIEW(server_echo) { return server_sum(req, aw_body(req)); }

VIEW(server_json) { return aw_json(req, aw_req_json(req)); }

VIEW(server_param)
{
    return aw_printf(req, "<%s> %d", aw_url_encode(req, aw_param(req, "name")),
                     (int)aw_param_int(req, "i"));
}

VIEW(server_form)
{
    const char *a = aw_form(req, "a"), *b = aw_query(req, "a"), *name, *value;
    aw_slice s = aw__slice(a ? a : b ? b : "", a ? strlen(a) : 0);
    if (b) aw_set_header(req, "X-Query", b);
    for (size_t i = 0; aw_header_at(req, i, &name, &value); i++)
        MUST(aw_header(req, name) != NULL);
    return server_sum(req, s);
}

VIEW(server_away) { return aw_redirect(req, aw_raw_target(req)); }

ASYNC_VIEW(server_nap, int64_t ms;)
{
    BEGIN {
        self->ms = aw_query_int(req, "ms", 3);
        AWAIT(aw_sleep_ms, self->ms & 15);
        RETURN(server_sum(req, aw_body(req)));
    }
}

/* Bodies that the view reads, answers that it sends, both in pieces. */
ASYNC_VIEW(server_stream, char some[10]; char text[40]; uint32_t sum; int n;)
{
    BEGIN {
        do {
            AWAIT_TO(self->n, aw_body_read, req, self->some,
                     sizeof self->some);
            if (self->n < 0) RETURN(self->n);
            for (int i = 0; i < self->n; i++)
                self->sum = self->sum * 31 + (unsigned char)self->some[i];
        } while (self->n > 0);
        snprintf(self->text, sizeof self->text, "sum %lu",
                 (unsigned long)self->sum);
        if (aw_stream_begin(req, "text/plain") < 0) RETURN(AW_ENOMEM);
        AWAIT(aw_send, req, self->text, 3);
        AWAIT(aw_send, req, self->text + 3, strlen(self->text + 3));
        RETURN(0);
    }
}

ASYNC_VIEW(server_parts, aw_part part; char some[10]; int n, all, parts;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            if (self->n <= 0) break;
            MUST(self->part.field && self->part.type);
            MUST(!self->part.filename == !self->part.safe_name);
            self->parts++;
            do {
                AWAIT_TO(self->n, aw_part_read, req, self->some,
                         sizeof self->some);
                self->all += self->n;
            } while (self->n > 0);
            if (self->n < 0) RETURN(self->n);
        }
        RETURN(self->n < 0 ? self->n
                           : aw_printf(req, "%d, %d", self->parts, self->all));
    }
}

VIEW(server_files)
{
    size_t n, i, fields = 0;
    const aw_file *files = aw_files(req, &n);
    const char *name, *value;
    for (i = 0; i < n; i++) {
        MUST(files[i].safe_name[0] && files[i].safe_name[0] != '.');
        MUST(!strchr(files[i].safe_name, '/'));
    }
    while (aw_form_at(req, fields, &name, &value)) fields++;
    return aw_printf(req, "%d %d %d", (int)n, (int)fields,
                     aw_cookie(req, "a") != NULL);
}

ROUTES(server_app,
    GET("/", server_hello),
    GET("/n/<name>/<int:i>", server_param),
    GET("/away/<path:x>", server_away),
    GET("/nap", server_nap, .half_close = true),
    POST("/nap", server_nap),
    POST("/echo", server_echo),
    POST("/stream", server_stream, .stream = true),
    GET("/stream", server_stream, .stream = true),
    POST("/parts", server_parts, .stream = true),
    POST("/files", server_files),
    POST("/json", server_json),
    POST("/small", server_echo, .max_body = 10),
    ANY("/form", server_form))

/* Lets happen what can. Where the clock is virtual, time passes only while
   somebody waits for it. */
static void server_turns(aw_test *t, int fd, aw__buf *got, bool wait)
{
    aw_loop *l = aw_test_loop(t);
    for (int idle = 0; idle < 3; idle++) {
        bool busy = wait && l->tasks > t->background;
        ptrdiff_t n = 1;
        if (aw_loop_step(l, busy ? AW_FOREVER : 0) >= 0 && busy) idle = 0;
        while (n > 0) {
            n = aw__io_recv(l, fd, aw__buf_room(got, 4096), 4096);
            if (n > 0) got->n += (size_t)n, idle = 0;
        }
    }
}

/* All that comes back. */
static aw__buf server_talk(aw_test *t, const uint8_t *data, size_t n,
                           size_t split, size_t step, bool finish)
{
    aw_loop *l = aw_test_loop(t);
    aw__address at = aw__address_loopback(4, aw_serve_port(l));
    size_t from = 0;
    aw__buf got;
    int fd = -1;
    memset(&got, 0, sizeof got);
    (void)aw__io_connect(l, &at, &fd);
    while (from < n) {
        size_t to = from < split ? split : from + step;
        if (to > n) to = n;
        if (aw__io_send(l, fd, data + from, to - from) < 0) break;
        server_turns(t, fd, &got, false);
        from = to;
    }
    if (finish) aw__io_shutdown(l, fd);
    server_turns(t, fd, &got, true);
    aw__io_close(l, fd);
    server_turns(t, -1, &got, true);
    return got;
}

/* The length of the body behind a head, chunks and all. HEAD has none: then
   what follows is the next answer, or nothing. */
static size_t server_body(const aw__head *h, const char *p, size_t n)
{
    aw_slice in = aw__slice(p, n), part;
    aw__chunked c;
    int rc = AW_OK;
    if (n == 0 || (n >= 9 && memcmp(p, "HTTP/1.1 ", 9) == 0)) return 0;
    if (h->content_length >= 0) return (size_t)h->content_length;
    if (!h->chunked) {                  /* HTTP/1.0: until the end */
        MUST(!h->keep_alive);
        return n;
    }
    memset(&c, 0, sizeof c);
    while (rc == AW_OK) rc = aw__chunked_next(&c, &in, &part);
    MUST(rc == 1);
    return n - in.n;
}

/* Takes the next answer off *p and adds it to `out`, without its date, which
   the clock decides, nor what the pieces may decide: an interim answer, and
   "close", which an answer ahead of a broken body does not know of yet. Whether
   the connection lasts, the next answer shows. Returns its status. */
static int server_answer(const char **p, const char *end, aw__buf *out)
{
    aw__field fields[50];
    aw__head h;
    size_t n = (size_t)(end - *p), body;
    char *copy = fuzz_head_copy(*p, n, 0);
    int head;
    memset(&h, 0, sizeof h);
    h.fields = fields;
    h.max_fields = 50;
    head = aw__http_response_head(copy, n, 0, 65535, &h);
    MUST(head > 0);
    fuzz_head_sound(&h, copy, (size_t)head);
    MUST(h.minor == 1 && copy[12] == ' ' && copy[13] != '\r');
    body = h.status < 200 ? 0
        : server_body(&h, copy + head, n - (size_t)head);
    MUST(body <= n - (size_t)head);
    for (int i = 0; h.status >= 200 && i < h.count; i++) {
        const aw__field *f = &fields[i];
        aw_slice name = aw__slice(copy + f->name, f->name_len);
        if (aw__slice_ieq(name, "Date")) continue;
        if (aw__slice_ieq(name, "Connection")) continue;
        aw__buf_add(out, name.p, f->name_len);
        aw__buf_add(out, copy + f->value, f->value_len + 2u);
    }
    if (h.status >= 200) {
        aw__buf_add(out, copy + 13, strcspn(copy + 13, "\r"));
        aw__buf_add(out, copy + head, body);
    }
    *p += (size_t)head + body;
    free(copy);
    return h.status;
}

/* Well-formed answers and nothing else; out: what they say. *last: where the
   last one begins there. Returns its status. */
static int server_read(aw__buf got, aw__buf *out, size_t *last)
{
    const char *p = got.p, *end = p + got.n;
    int status = 0;
    memset(out, 0, sizeof *out);
    *last = 0;
    while (p < end) {
        size_t begin = out->n;
        int s = server_answer(&p, end, out);
        if (s < 200) continue;
        *last = begin;
        status = s;
    }
    aw__buf_free(&got);
    return status;
}

/* In pieces the answers are the same, but that the refusal of an incomplete
   request may not have come yet. */
static void server_agree(const aw__buf *whole, size_t last, int status,
                         aw__buf got)
{
    aw__buf out;
    size_t begin;
    (void)server_read(got, &out, &begin);
    MUST(out.n == whole->n || (out.n == last && status >= 400));
    MUST(out.n == 0 || memcmp(out.p, whole->p, out.n) == 0);
    aw__buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    aw_test_config c;
    aw_test *t;
    aw__buf whole, other;
    size_t last, unused;
    int status;
    if (n > 4000) return 0;
    fuzz_begin(data, n);
    memset(&c, 0, sizeof c);
    c.routes = server_app;
    t = aw_test_open_config(c);
    MUST(t != NULL);
    status = server_read(server_talk(t, data, n, n, 1, false), &whole, &last);
    server_agree(&whole, last, status, server_talk(t, data, n, 0, fuzz_step(n),
                                                       false));
    server_agree(&whole, last, status,
                 server_talk(t, data, n, fuzz_random((uint32_t)n + 1), n,
                             false));
    (void)server_read(server_talk(t, data, n, 0, 1 + fuzz_random(200), true),
                      &other, &unused);
    aw__buf_free(&whole);
    aw__buf_free(&other);
    MUST(aw_test_get(t, "/")->status == 200);
    MUST(aw_test_close(t) == 0);
    return 0;
}
