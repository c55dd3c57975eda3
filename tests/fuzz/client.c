/* client.c: whatever an upstream answers, and in whatever pieces it comes, the
   client's verdict is the same. Everything is in memory, in one loop. */
#include "fuzz.h"

enum { CLIENT_PORT = 8000, CLIENT_MAX_BODY = 1000 };

static struct {
    const uint8_t *answer;
    size_t n, split, step;      /* the answer, and its pieces */
    size_t read;                /* its body is read in such pieces; 0: whole */
    const char *method;
} client_up;

/* What came of a fetch, as text. */
static aw__buf *client_said;

ASYNC(client_answer, (aw_stream *stream;), char head[1000]; size_t at, part;)
{
    BEGIN {
        AWAIT(aw_read_until, self->stream, self->head, sizeof self->head,
              "\r\n\r\n");
        while (self->at < client_up.n) {
            self->part = self->at < client_up.split
                ? client_up.split - self->at : client_up.step;
            if (self->part > client_up.n - self->at)
                self->part = client_up.n - self->at;
            AWAIT(aw_write, self->stream, client_up.answer + self->at,
                  self->part);
            self->at += self->part;
            AWAIT(aw_sleep_ms, 1);
        }
    } FINALLY {
        AWAIT(aw_close, self->stream);
    }
}

ASYNC(client_upstream, (), aw_listener *listener; aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "127.0.0.1", CLIENT_PORT);
        DEFER(aw_listener_close, self->listener);
        for (;;) {
            AWAIT(aw_accept, self->listener, &self->stream);
            SPAWN(client_answer, self->stream);
        }
    }
}

static void client_add(const char *text)
{
    aw__buf_add(client_said, text, strlen(text) + 1);
}

/* The body in pieces; what was said is taken back when it breaks off. */
ASYNC(client_read, (aw_response *reply;), char some[600]; int n; size_t all;)
{
    BEGIN {
        do {
            AWAIT_TO(self->n, aw_response_read, self->reply, self->some,
                     client_up.read);
            MUST(self->n <= (int)client_up.read);
            if (self->n > 0)
                aw__buf_add(client_said, self->some, (size_t)self->n);
            if (self->n > 0) self->all += (size_t)self->n;
        } while (self->n > 0);
        if (self->all > CLIENT_MAX_BODY) self->n = AW_ETOOBIG;
        AWAIT_TO(self->all, aw_response_read, self->reply, self->some, 1);
        MUST((int)self->all < 0);       /* behind the end there is nothing */
        RETURN(self->n);
    }
}

ASYNC(client_fetch, (), aw_response *reply; int rc; char line[40];)
{
    BEGIN {
        const aw_header_field *f;
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply,
                 .url = "http://127.0.0.1:8000/", .method = client_up.method,
                 .max_body = CLIENT_MAX_BODY, .stream = client_up.read > 0);
        MUST((self->rc >= 0) == (self->reply != NULL));
        /* A bad head may be noticed at its end only: too late if the
           connection ends before. */
        if (self->rc == AW_EEOF) self->rc = AW_EBADMSG;
        snprintf(self->line, sizeof self->line, "%d", self->rc);
        client_add(self->line);
        if (!self->reply) RETURN(0);
        MUST(self->reply->status == self->rc);
        MUST(self->rc >= 200 && self->rc <= 999);
        MUST(self->reply->body_len <= CLIENT_MAX_BODY);
        MUST(self->reply->body[self->reply->body_len] == 0);
        for (f = self->reply->headers; f->name; f++) {
            client_add(f->name);
            client_add(f->value);
        }
        if (!client_up.read) {
            aw__buf_add(client_said, self->reply->body,
                        self->reply->body_len);
            RETURN(0);
        }
        AWAIT_TO(self->rc, client_read, self->reply);
        if (self->rc == AW_EEOF) self->rc = AW_EBADMSG;
        if (self->rc == 0) RETURN(0);
        snprintf(self->line, sizeof self->line, "%d", self->rc);
        client_said->n = 0;
        client_add(self->line);
    }
}

static void client_quiet(void *data, aw_log_level level, const char *line)
{
    (void)data, (void)level, (void)line;
}

static aw__buf client_run(size_t split, size_t step)
{
    aw__buf said;
    aw_loop_config config;
    aw_loop *l;
    aw_task task;
    memset(&said, 0, sizeof said);
    memset(&config, 0, sizeof config);
    config.log = client_quiet;
    client_said = &said;
    client_up.split = split;
    client_up.step = step;
    l = aw_loop_new(&config);
    MUST(l && aw__sim_open(l) == 0);
    (void)SPAWN_ON(l, client_upstream);
    task = SPAWN_ON(l, client_fetch);
    while (!aw_ended(task)) MUST(aw_loop_step(l, AW_FOREVER) >= 0);
    MUST(said.n > 0);
    MUST(aw__loop_end(l) == 0);
    return said;
}

static void client_agree(aw__buf a, aw__buf b)
{
    MUST(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const methods[] = { "GET", "GET", "HEAD", "POST" };
    aw__buf whole;
    if (n == 0 || n > 4000) return 0;
    fuzz_begin(data, n);
    client_up.answer = data;
    client_up.n = n;
    client_up.method = methods[fuzz_random(4)];
    whole = client_run(n, n);
    client_agree(whole, client_run(0, fuzz_step(n)));
    client_agree(whole, client_run(fuzz_random((uint32_t)n), n));
    /* How long it may be is asked of whole bodies only. */
    client_up.read = 1 + fuzz_random(600);
    if (strcmp(whole.p, "-15") != 0)
        client_agree(whole, client_run(fuzz_random((uint32_t)n),
                                       fuzz_step(n)));
    client_up.read = 0;
    aw__buf_free(&whole);
    return 0;
}
