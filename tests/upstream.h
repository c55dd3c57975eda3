/* upstream.h: what the tests of the HTTP client share: a server in the same
   loop, over sockets in memory and in virtual time, and faults. */
#ifndef UPSTREAM_H
#define UPSTREAM_H

#include "test.h"

/* ---- faults ---- */

static struct {
    int count, at, error;       /* `at`: which call fails, 0 none */
    bool allocs, calls;         /* what is counted */
} faults;

static int client_fault(const char *call)
{
    bool alloc = call[0] == 'a' && call[1] == 'l';
    if (alloc ? !faults.allocs : !faults.calls) return 0;
    if (++faults.count != faults.at) return 0;
    errno = faults.error;
    return 1;
}

/* ---- the upstream ---- */

enum { PORT = 8000, ANSWERS = 4 };

static struct {
    const char *answers[ANSWERS];       /* one each request; the last again */
    size_t sizes[ANSWERS];              /* 0: strlen */
    size_t split;                       /* pause here; SIZE_MAX: everywhere */
    int64_t delay_ms, lazy_ms;          /* before it answers, reads a body */
    int64_t idle_ms;                    /* closes then, 0: never */
    int hang_up_at;                     /* closes instead of answering */
    bool close, early;                  /* early: answers before the body */
    int accepts, requests, open, most;
    char got[4096];                     /* the last request, cut off */
    size_t body, kept;                  /* the length of its body, of text */
    char text[8192];                    /* that body, cut off */
    char seen[4096];                    /* the request lines, in short */
    const char *(*pick)(void);          /* the answer to up.got; NULL: above */
} up;

static char log_text[2000];

static void log_line(void *data, aw_log_level level, const char *line)
{
    size_t n = strlen(log_text);
    (void)data, (void)level;
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

/* Sends the answer in the pieces that the test wants. */
ASYNC(send_answer, (aw_stream *stream; const char *text; size_t size;),
      size_t at, n;)
{
    BEGIN {
        while (self->at < self->size) {
            self->n = self->size - self->at;
            if (up.split == SIZE_MAX) self->n = 1;
            else if (self->at < up.split && self->n > up.split - self->at)
                self->n = up.split - self->at;
            AWAIT(aw_write, self->stream, self->text + self->at, self->n);
            self->at += self->n;
            if (up.split && self->at < self->size) AWAIT(aw_sleep_ms, 1);
        }
    }
}

static void keep_body(const char *p, size_t n)
{
    if (n > sizeof up.text - 1 - up.kept) n = sizeof up.text - 1 - up.kept;
    memcpy(up.text + up.kept, p, n);
    up.kept += n;
    up.text[up.kept] = 0;
}

ASYNC(read_body, (aw_stream *stream; size_t n;), char bytes[4096]; int rc;)
{
    BEGIN {
        while (self->n > 0) {
            AWAIT_TO(self->rc, aw_read, self->stream, self->bytes,
                     self->n < sizeof self->bytes ? self->n
                                                  : sizeof self->bytes);
            if (self->rc <= 0) RETURN(AW_EEOF);
            self->n -= (size_t)self->rc;
            up.body += (size_t)self->rc;
            keep_body(self->bytes, (size_t)self->rc);
        }
    }
}

/* A chunked one as it is on the wire; only its last chunk ends so. */
ASYNC(read_chunks, (aw_stream *stream;), char bytes[4096]; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_read_until, self->stream, self->bytes,
                 sizeof self->bytes, "0\r\n\r\n");
        if (self->rc <= 0) RETURN(AW_EEOF);
        up.body = (size_t)self->rc;
        keep_body(self->bytes, up.body);
    }
}

static void gone(void *stream)
{
    up.open--;
    aw_stream_abort(stream);
}

/* The answer to the request in up.got. */
static const char *answer_now(size_t *size)
{
    int i = up.requests < ANSWERS ? up.requests : ANSWERS - 1;
    const char *text = up.pick ? up.pick() : NULL;
    size_t n = strlen(up.seen);
    snprintf(up.seen + n, sizeof up.seen - n, "%s%.*s", n ? "|" : "",
             (int)strcspn(up.got, "\r") - 9, up.got);
    while (!text && !up.answers[i]) i--;
    if (!text && up.sizes[i]) *size = up.sizes[i];
    else *size = strlen(text ? text : up.answers[i]);
    return text ? text : up.answers[i];
}

ASYNC(serve, (aw_stream *stream;), char head[4096]; int rc; const char *text;
      size_t size;)
{
    BEGIN {
        DEFER(gone, self->stream);
        for (;;) {
            const char *length;
            AWAIT_FOR_TO(up.idle_ms ? up.idle_ms : AW_FOREVER, self->rc,
                         aw_read_until, self->stream, self->head,
                         sizeof self->head - 1, "\r\n\r\n");
            if (self->rc < 0) break;
            self->head[self->rc] = 0;
            strcpy(up.got, self->head);
            self->text = answer_now(&self->size);
            if (++up.requests == up.hang_up_at) break;
            up.body = up.kept = 0;
            if (up.early)
                AWAIT(send_answer, self->stream, self->text, self->size);
            if (up.early && up.close) break;
            if (up.lazy_ms) AWAIT(aw_sleep_ms, up.lazy_ms);
            length = strstr(self->head, "Content-Length: ");
            if (strstr(self->head, "Transfer-Encoding: chunked"))
                AWAIT(read_chunks, self->stream);
            else if (length)
                AWAIT(read_body, self->stream,
                      (size_t)atol(length + sizeof "Content-Length:"));
            if (up.delay_ms) AWAIT(aw_sleep_ms, up.delay_ms);
            if (!up.early)
                AWAIT(send_answer, self->stream, self->text, self->size);
            if (up.close) break;
        }
    }
}

ASYNC(upstream, (int port;), aw_listener *listener; aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "127.0.0.1", self->port);
        DEFER(aw_listener_close, self->listener);
        for (;;) {
            AWAIT(aw_accept, self->listener, &self->stream);
            up.accepts++;
            if (++up.open > up.most) up.most = up.open;
            if (aw_ended(SPAWN(serve, self->stream))) gone(self->stream);
        }
    }
}

AW__UNUSED
static aw_loop *client_loop(void)
{
    aw_loop_config config;
    aw_loop *l;
    memset(&config, 0, sizeof config);
    config.log = log_line;
    config.debug = true;
    log_text[0] = 0;
    l = aw_loop_new(&config);
    if (l && aw__sim_open(l) < 0) abort();
    if (l) SPAWN_ON(l, upstream, PORT);
    return l;
}

AW__UNUSED
static void answer_with(const char *text)
{
    memset(&up, 0, sizeof up);
    up.answers[0] = text;
}

static int run_until_ended(aw_task task)
{
    int rc = 0;
    if (!task.loop) return task.slot;
    while (!aw_ended(task) && rc >= 0) rc = aw_loop_step(task.loop, AW_FOREVER);
    return rc < 0 ? rc : (int)task.loop->slots[task.slot].u.result;
}

ASYNC(sleeper, (int64_t ms;)) { BEGIN { AWAIT(aw_sleep_ms, self->ms); } }

AW__UNUSED
static void pass(aw_loop *l, int64_t ms)
{
    run_until_ended(SPAWN_ON(l, sleeper, ms));
}

/* ---- what tests say ---- */

#define URL "http://127.0.0.1:8000/"
#define OK "HTTP/1.1 200 OK\r\n"
#define HELLO OK "Content-Length: 5\r\n\r\nhello"

static size_t poll_bytes(const aw_loop *l)
{
#ifdef ASYNCWEB_POLL
    return (size_t)l->poll_cap * sizeof(struct pollfd);
#else
    return (void)l, 0;
#endif
}

/* Nothing is left but what the loop and its own client always have. */
AW__UNUSED
static void check_loop_empty(aw_loop *l)
{
    if (l->client) CHECK_EQ(l->client->idle_count, 0);
    aw__cancel_all(l);
    while (l->tasks > 0) aw_loop_step(l, AW_FOREVER);
    CHECK_EQ(l->sim->open, 0);
    CHECK_EQ(up.open, 0);
    CHECK_EQ(l->mem.live, (size_t)l->fd_cap * sizeof *l->fds + poll_bytes(l) +
             (size_t)l->slot_cap * sizeof *l->slots +
             (size_t)l->sim->cap * sizeof *l->sim->slots + sizeof *l->sim +
             (l->client ? sizeof *l->client : 0));
}

#endif
