/* http.h: what the tests of the HTTP server share: an application in memory
   whose clock stands still, clients that speak bytes, and faults. */
#ifndef HTTP_H
#define HTTP_H

#include "test.h"

/* The fault_at-th call from now fails; 0: none. With fault_only, only calls of
   that name count, and from then on each fails, or with fault_once that one. */
static long fault_at, fault_count;
static const char *fault_only, *fault_hit = "";    /* hit: what failed last */
static int fault_errno;
static bool fault_once;

enum { FAULT_SHORT = -1 };      /* it succeeds, with one byte */

static bool fault_is(const char *call, long count)
{
    if (!fault_at) return false;
    if (!fault_only) return count == fault_at;
    if (strcmp(call, fault_only) != 0) return false;
    return fault_once ? count == fault_at : count >= fault_at;
}

static int fault_here(const char *call)
{
    if (fault_at && (!fault_only || strcmp(call, fault_only) == 0))
        fault_count++;
    if (!fault_is(call, fault_count)) return 0;
    fault_hit = call;
    if (fault_errno == FAULT_SHORT) return 0;
    errno = fault_errno ? fault_errno
        : strcmp(call, "alloc") == 0 ? ENOMEM
        : strcmp(call, "accept") == 0 || strcmp(call, "socket") == 0 ? EMFILE
        : ECONNRESET;
    return 1;
}

static int fault_shortens(const char *call)
{
    return fault_errno == FAULT_SHORT && fault_is(call, fault_count + 1);
}

AW__UNUSED
static void fault_set(const char *only, long at, int error)
{
    fault_only = only;
    fault_at = at;
    fault_errno = error;
    fault_count = 0;
    fault_once = false;
    test_fault = fault_here;
    test_short = fault_shortens;
}

static char said[65536];        /* what was logged */

AW__UNUSED
static void keep_log(void *data, aw_log_level level, const char *line)
{
    size_t n = strlen(said);
    (void)data, (void)level;
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

AW__UNUSED
static aw_test *app_with(const aw_route *routes, const aw_config *config)
{
    aw_test_config c;
    memset(&c, 0, sizeof c);
    c.routes = routes;
    c.config = config;
    said[0] = 0;
    return aw_test_open_config(c);
}

AW__UNUSED
static aw_config quiet_config(void)
{
    aw_config c;
    memset(&c, 0, sizeof c);
    c.access_log = AW_OFF;
    c.log = keep_log;
    return c;
}

/* One request of the test client. */
AW__UNUSED
static const aw_response *ask(aw_test *t, const char *method,
                              const char *target, const char *body,
                              const aw_header_field *headers)
{
    aw_test_request q;
    memset(&q, 0, sizeof q);
    q.method = method;
    q.target = target;
    q.body = body;
    q.headers = headers;
    return aw_test_send(t, q);
}

/* Status and text of an answer: "200 hello", "404 ". */
AW__UNUSED
static const char *get(aw_test *t, const char *target)
{
    static char text[1500];
    const aw_response *r = aw_test_get(t, target);
    const char *type = aw_response_header(r, "Content-Type");
    snprintf(text, sizeof text, "%d %s", r->status,
             type && strncmp(type, "text/plain", 10) == 0 ? r->body : "");
    return text;
}

/* ---- a client that speaks bytes ---- */

typedef struct wire {
    aw_loop *loop;
    int fd;
    bool ended, reset;
    char *got;
    size_t n, cap;
    char text[4096];            /* of digest() */
} wire;

AW__UNUSED
static void wire_take(wire *w)
{
    for (;;) {
        ptrdiff_t n;
        if (w->cap - w->n < 70000) {
            w->cap = w->cap ? w->cap * 2 : 140000;
            w->got = (char *)realloc(w->got, w->cap);
        }
        n = w->ended ? AW_EAGAIN
            : aw__io_recv(w->loop, w->fd, w->got + w->n, 65536);
        if (n == AW_EAGAIN) break;
        if (n > 0) w->n += (size_t)n;
        else w->ended = true, w->reset = n < 0;
    }
    w->got[w->n] = 0;
}

/* No time passes, but everything that can happen does. */
AW__UNUSED
static void wire_settle(wire *w)
{
    for (int i = 0; i < 8; i++) {
        size_t before = w->n;
        (void)aw_loop_step(w->loop, 0);
        wire_take(w);
        if (w->n != before) i = 0;
    }
}

/* Asks for a connection, which the server has not seen yet. */
AW__UNUSED
static wire wire_ask(aw_test *t)
{
    wire w;
    aw__address at;
    memset(&w, 0, sizeof w);
    w.loop = aw_test_loop(t);
    at = aw__address_loopback(4, aw_serve_port(w.loop));
    w.fd = -1;
    (void)aw__io_connect(w.loop, &at, &w.fd);
    return w;
}

AW__UNUSED
static wire wire_open(aw_test *t)
{
    wire w = wire_ask(t);
    wire_settle(&w);
    return w;
}

/* Sends all, however little the server takes at a time. */
AW__UNUSED
static void wire_send(wire *w, const char *p, size_t n)
{
    for (int stuck = 0; n > 0 && stuck < 100; stuck++) {
        ptrdiff_t sent = aw__io_send(w->loop, w->fd, p, n);
        if (sent > 0) p += sent, n -= (size_t)sent, stuck = 0;
        else if (sent != AW_EAGAIN) break;
        if (n > 0) {
            (void)aw_loop_step(w->loop, 0);
            wire_take(w);
        }
    }
}

AW__UNUSED
static void wire_say(wire *w, const char *text)
{
    wire_send(w, text, strlen(text));
    wire_settle(w);
}

AW__UNUSED
static void wire_finish(wire *w)    /* half-closes */
{
    aw__io_shutdown(w->loop, w->fd);
    wire_settle(w);
}

AW__UNUSED
static void wire_close(wire *w)
{
    aw__io_close(w->loop, w->fd);
    free(w->got);
    w->got = NULL;
    w->fd = -1;
    (void)aw_loop_step(w->loop, 0);
    (void)aw_loop_step(w->loop, 0);
}

static const char *find_line(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    for (; p < end; p = strstr(p, "\r\n") + 2)
        if (strncmp(p, name, n) == 0) return p + n;
    return NULL;
}

/* What came, in short: "200=hello 404 400+": status, the body of a text/plain
   answer behind =, + where the connection closes, ! for what is no answer. */
AW__UNUSED
static const char *digest_of(const char *p, size_t n, bool heads, char *to,
                             size_t cap)
{
    const char *all = p + n;
    size_t at = 0;
    to[0] = 0;
    while (p < all && at < cap - 400) {
        const char *end = strstr(p, "\r\n\r\n"), *length;
        size_t body = 0;
        if (!end || strncmp(p, "HTTP/1.1 ", 9) != 0) {
            snprintf(to + at, cap - at, "!");
            break;
        }
        length = find_line(p, end, "Content-Length: ");
        if (length && !heads) body = (size_t)strtoul(length, NULL, 10);
        at += (size_t)snprintf(to + at, cap - at, "%s%.3s", at ? " " : "",
                               p + 9);
        if (find_line(p, end, "Content-Type: text/plain") && !heads)
            at += (size_t)snprintf(to + at, cap - at, "=%.*s",
                                   body > 300 ? 300 : (int)body, end + 4);
        if (find_line(p, end, "Connection: close"))
            at += (size_t)snprintf(to + at, cap - at, "+");
        if ((size_t)(all - end - 4) < body) {
            snprintf(to + at, cap - at, "!");
            break;
        }
        p = end + 4 + body;
    }
    return to;
}

AW__UNUSED
static const char *digest(wire *w)
{
    return digest_of(w->got, w->n, false, w->text, sizeof w->text);
}

/* One raw exchange, in short. */
AW__UNUSED
static const char *raw(aw_test *t, const char *bytes)
{
    static char text[8192];
    const char *got = aw_test_raw(t, bytes, strlen(bytes), 0);
    return digest_of(got, strlen(got), strncmp(bytes, "HEAD", 4) == 0, text,
                     sizeof text);
}

#endif
