/* sse.c: server-sent events: what is sent, read back as a browser would; the
   comments into silence; clients that leave or take nothing. */
#include "http.h"

/* ---- a browser's side (WHATWG HTML 9.2.6): "event|data|id" of each ---- */

static struct {
    char event[100], data[3000], id[100];
    bool has_data;
} stream;

static void stream_field(const char *line, size_t n, char *out, size_t cap)
{
    const char *colon = (const char *)memchr(line, ':', n), *v;
    size_t name = colon ? (size_t)(colon - line) : n;
    if (name == 0 && colon) return;                 /* a comment */
    v = colon ? colon + 1 : line + n;
    if (v < line + n && *v == ' ') v++;
    n = (size_t)(line + n - v);
    if (name == 5 && memcmp(line, "event", 5) == 0)
        snprintf(stream.event, sizeof stream.event, "%.*s", (int)n, v);
    else if (name == 2 && memcmp(line, "id", 2) == 0)
        snprintf(stream.id, sizeof stream.id, "%.*s", (int)n, v);
    else if (name == 5 && memcmp(line, "retry", 5) == 0)
        snprintf(out + strlen(out), cap - strlen(out), "[retry %.*s]", (int)n,
                 v);
    else if (name == 4 && memcmp(line, "data", 4) == 0) {
        snprintf(stream.data + strlen(stream.data),
                 sizeof stream.data - strlen(stream.data), "%.*s\n", (int)n, v);
        stream.has_data = true;
    }
}

/* What a page would see of these bytes. */
static const char *events(const char *p)
{
    static char out[8000];
    memset(&stream, 0, sizeof stream);
    out[0] = 0;
    while (*p) {
        size_t n = strcspn(p, "\r\n"), at = strlen(out);
        if (n == 0 && stream.has_data) {
            stream.data[strlen(stream.data) - 1] = 0;
            snprintf(out + at, sizeof out - at, "%s|%s|%s;",
                     stream.event[0] ? stream.event : "message", stream.data,
                     stream.id);
        }
        if (n == 0) {
            stream.event[0] = stream.data[0] = 0;
            stream.has_data = false;
        }
        stream_field(p, n, out, sizeof out);
        p += n;
        if (p[0] == '\r' && p[1] == '\n') p++;
        if (*p) p++;
    }
    return out;
}

/* The body behind the head, out of its chunks if there are any. */
static const char *unchunked(const wire *w)
{
    static char body[200000];
    const char *p = strstr(w->got, "\r\n\r\n");
    size_t n, at = 0;
    body[0] = 0;
    if (!p) return body;
    p += 4;
    if (!find_line(w->got, p, "Transfer-Encoding: chunked")) return p;
    while ((n = strtoul(p, NULL, 16)) != 0) {
        const char *data = strstr(p, "\r\n");
        if (!data || strlen(data + 2) < n + 2) break;
        memcpy(body + at, data + 2, n);
        at += n;
        p = data + 2 + n + 2;
    }
    body[at] = 0;
    return body;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) n++;
    return n;
}

/* ---- what is sent ---- */

static const char *event, *data, *id;
static int sent, finals;

ASYNC_VIEW(one_event)
{
    BEGIN {
        if (aw_sse_begin(req) < 0) RETURN(500);
        if (id) AWAIT_TO(sent, aw_sse_send_id, req, event, data, id);
        else AWAIT_TO(sent, aw_sse_send, req, event, data);
        RETURN(0);
    }
}

ASYNC_VIEW(ticks, int i;)
{
    BEGIN {
        char text[40];
        self->i = aw_sse_begin(req);
        if (self->i < 0) RETURN(self->i);
        AWAIT(aw_sse_retry, req, 5000);
        for (self->i = (int)aw_query_int(req, "from", 0);
             self->i < aw_query_int(req, "to", 3); self->i++) {
            snprintf(text, sizeof text, "%d", self->i);
            AWAIT(aw_sse_send_id, req, "tick", text, text);
            AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 1000));
        }
        RETURN(0);
    } FINALLY {
        finals++;
    }
}

static char large[100001];

/* Sends more than a client that does not read can take. */
ASYNC_VIEW(flood, int rc;)
{
    BEGIN {
        self->rc = aw_sse_begin(req);
        if (self->rc < 0) RETURN(self->rc);
        for (;;) AWAIT(aw_sse_send, req, NULL, large);
    } FINALLY {
        finals++;
    }
}

VIEW(last)
{
    const char *text = aw_last_event_id(req);
    return aw_text(req, text ? text : "none");
}

/* The awaitables in other verbs: text of a C stack that is gone then. */
ASYNC_VIEW(started, int a; int b;)
{
    BEGIN {
        char text[20], name[20], key[20];
        self->a = aw_sse_begin(req);
        strcpy(text, "first");
        strcpy(name, "name");
        START_TO(self->a, aw_sse_send, req, name, text);
        memset(text, 'X', sizeof text - 1);
        GATHER();
        CHECK(self->a > 0);
        strcpy(name, "name");
        strcpy(key, "7");
        START_TO(self->b, aw_sse_send_id, req, name, "second", key);
        memset(name, 'X', sizeof name - 1);
        memset(key, 'X', sizeof key - 1);
        GATHER();
        CHECK(self->b > 0);
        RETURN(0);
    }
}

ASYNC_VIEW(misused, int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_sse_send, req, NULL, "x");
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_retry, req, 1);
        CHECK_EQ(AW_EINVAL, self->rc);
        CHECK_EQ(0, aw_stream_begin(req, "a/b"));
        AWAIT_TO(self->rc, aw_sse_send, req, NULL, "x");
        CHECK_EQ(AW_EINVAL, self->rc);
        CHECK_EQ(0, aw_sse_begin(req));
        CHECK_EQ(AW_EINVAL, aw_sse_begin(req));
        CHECK_EQ(AW_EINVAL, aw_text(req, "no"));
        CHECK_EQ(AW_EINVAL, aw_set_header(req, "X-Late", "1"));
        AWAIT_TO(self->rc, aw_sse_send, req, "a\rb", "x");
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_send, req, "a\n", "x");
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_send_id, req, NULL, "x", "1\n2");
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_send, req, "a", NULL);
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_send, NULL, "a", "x");
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT_TO(self->rc, aw_sse_retry, req, -1);
        CHECK_EQ(AW_EINVAL, self->rc);
        AWAIT(aw_sse_send, req, NULL, "fine");
        RETURN(0);
    }
}

VIEW(plain)
{
    int rc = aw_sse_begin(req);
    return rc;
}

/* The hooks that run as the head leaves do not end the view. */
VIEW(plain_within)
{
    const int *mine = AW_LOCAL(int);
    int rc = aw_sse_begin(req);
    CHECK(mine != NULL && mine == AW_LOCAL(int));
    return rc;
}

ASYNC(keeps_sending, (aw_req *req;), int rc;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 100);
        AWAIT_TO(self->rc, aw_sse_send, self->req, NULL, "late");
        CHECK_EQ(AW_ECLOSED, self->rc);
        finals++;
    }
}

ASYNC_VIEW(outlived, int rc;)
{
    BEGIN {
        self->rc = aw_sse_begin(req);
        if (self->rc < 0) RETURN(self->rc);
        SPAWN(keeps_sending, req);
        AWAIT(aw_sse_send, req, NULL, "early");
        RETURN(0);
    }
}

VIEW(add_mark) { return aw_set_header(req, "X-Mark", "yes"); }
VIEW(add_mark_before) { return aw_set_header(req, "X-Before", "yes"); }

ROUTES(marked, BEFORE(add_mark_before), AFTER(add_mark), GET("/ticks", ticks),
       GET("/plain", plain_within))
ROUTES(channels,
    MOUNT("/marked", marked),
    GET("/one", one_event),
    GET("/ticks", ticks),
    GET("/flood", flood),
    GET("/last", last),
    GET("/started", started),
    GET("/misused", misused),
    GET("/plain", plain),
    GET("/outlived", outlived),
    GET("/timed", ticks, .timeout_ms = 2500))

static wire open_to(aw_test *t, const char *target, const char *more)
{
    wire w = wire_open(t);
    char text[500];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", target,
             more);
    wire_say(&w, text);
    return w;
}

TEST(events_as_a_page_sees_them)
{
    static const struct {
        const char *event, *data, *id, *want;
    } rows[] = {
        {NULL, "hello", NULL, "message|hello|;"},
        {"tick", "1", NULL, "tick|1|;"},
        {"", "x", NULL, "message|x|;"},
        {NULL, "", NULL, "message||;"},
        /* Every line end splits (9.2.6); the page sees LF. */
        {NULL, "a\nb", NULL, "message|a\nb|;"},
        {NULL, "a\rb", NULL, "message|a\nb|;"},
        {NULL, "a\r\nb", NULL, "message|a\nb|;"},
        {NULL, "a\n\rb", NULL, "message|a\n\nb|;"},
        {NULL, "a\n", NULL, "message|a\n|;"},
        {NULL, "\n\n", NULL, "message|\n\n|;"},
        {NULL, "\r\n", NULL, "message|\n|;"},
        {NULL, " two  spaces ", NULL, "message| two  spaces |;"},
        {NULL, ": no comment", NULL, "message|: no comment|;"},
        {NULL, "data: x\n\nid: 9", NULL, "message|data: x\n\nid: 9|;"},
        {" spaced", " x", NULL, " spaced| x|;"},
        {"e:x", "\xe2\x82\xac", NULL, "e:x|\xe2\x82\xac|;"},
        {"tick", "1", "41", "tick|1|41;"},
        {NULL, "1", "", "message|1|;"},
        {NULL, "1", " 7", "message|1| 7;"},
    };
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w;
        event = rows[i].event;
        data = rows[i].data;
        id = rows[i].id;
        NOTE("row %d", (int)i);
        w = open_to(t, "/one", "");
        CHECK_STR(rows[i].want, events(unchunked(&w)));
        CHECK_EQ(strlen(unchunked(&w)), sent);
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(heads)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/ticks", "");
    const char *end = strstr(w.got, "\r\n\r\n");
    CHECK(end != NULL);
    CHECK(find_line(w.got, end, "Content-Type: text/event-stream\r") != NULL);
    CHECK(find_line(w.got, end, "Cache-Control: no-store\r") != NULL);
    CHECK(find_line(w.got, end, "X-Accel-Buffering: no\r") != NULL);
    CHECK_STR("[retry 5000]tick|0|0;", events(unchunked(&w)));
    aw_test_advance(t, 1000);
    wire_settle(&w);
    CHECK_STR("[retry 5000]tick|0|0;tick|1|1;", events(unchunked(&w)));
    aw_test_advance(t, 3000);
    wire_settle(&w);
    CHECK_STR("[retry 5000]tick|0|0;tick|1|1;tick|2|2;", events(unchunked(&w)));
    CHECK(strstr(w.got, "\r\n0\r\n\r\n") != NULL);
    /* The connection serves on. */
    w.n = 0;
    wire_say(&w, "GET /last HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 2\r\n\r\n");
    CHECK_STR("200=2", digest(&w));
    w.n = 0;
    wire_say(&w, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK_STR("200=none", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* The head leaves at once, with what hooks have to add, before any event. */
TEST(head_at_once)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/marked/ticks?to=0", "");
    CHECK(strstr(w.got, "X-Mark: yes") != NULL);
    CHECK(strstr(w.got, "X-Before: yes") != NULL);
    wire_close(&w);
    w = open_to(t, "/marked/plain", "");
    CHECK(strstr(w.got, "X-Mark: yes") != NULL);
    wire_close(&w);
    w = open_to(t, "/plain", "");
    CHECK(strstr(w.got, "text/event-stream") != NULL);
    CHECK(strstr(w.got, "\r\n\r\n0\r\n\r\n") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(other_versions_and_methods)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = wire_open(t);
    wire_say(&w, "GET /ticks HTTP/1.0\r\n\r\n");
    aw_test_advance(t, 5000);
    wire_settle(&w);
    CHECK(!strstr(w.got, "chunked") && strstr(w.got, "Connection: close"));
    CHECK_STR("[retry 5000]tick|0|0;tick|1|1;tick|2|2;", events(unchunked(&w)));
    CHECK(w.ended && !w.reset);
    wire_close(&w);
    w = wire_open(t);
    wire_say(&w, "HEAD /ticks HTTP/1.1\r\nHost: x\r\n\r\n");
    aw_test_advance(t, 60000);
    wire_settle(&w);
    CHECK(strstr(w.got, "text/event-stream") != NULL);
    CHECK_STR("\r\n\r\n", strstr(w.got, "\r\n\r\n"));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(misuse_and_other_verbs)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/misused", "");
    CHECK_STR("message|fine|;", events(unchunked(&w)));
    wire_close(&w);
    w = open_to(t, "/started", "");
    CHECK_STR("name|first|;name|second|7;", events(unchunked(&w)));
    wire_close(&w);
    finals = 0;
    w = open_to(t, "/outlived", "");
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK_STR("message|early|;", events(unchunked(&w)));
    CHECK_EQ(1, finals);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- silence ---- */

TEST(comments_into_silence)
{
    static const struct {
        int64_t ping_ms, every, total;
        int want;
    } rows[] = {
        {0, 100000, 14900, 0},          /* 15 s by default */
        {0, 100000, 15100, 1},
        {0, 100000, 62000, 4},
        {1000, 100000, 10500, 10},
        {1000, 700, 10500, 0},          /* never silent for so long */
        {1000, 1400, 14000, 10},        /* once into each pause */
        {AW_OFF, 100000, 90000, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_config c = quiet_config();
        char target[100];
        aw_test *t;
        wire w;
        c.sse_ping_ms = rows[i].ping_ms;
        t = app_with(channels, &c);
        snprintf(target, sizeof target, "/ticks?to=99&ms=%d",
                 (int)rows[i].every);
        NOTE("row %d", (int)i);
        w = open_to(t, target, "");
        for (int64_t ms = 0; ms < rows[i].total; ms += 100) {
            aw_test_advance(t, 100);
            wire_take(&w);
        }
        CHECK_EQ(rows[i].want, count(unchunked(&w), ":\n\n"));
        CHECK(strncmp(events(unchunked(&w)), "[retry 5000]tick|0|0;", 21) == 0);
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* A comment is a chunk of its own, and not there where nothing has one. */
TEST(comments_are_framed)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/ticks?ms=20000&to=1", "");
    aw_test_advance(t, 25000);
    wire_settle(&w);
    CHECK(strstr(w.got, "\r\n3\r\n:\n\n\r\n0\r\n\r\n") != NULL);
    wire_close(&w);
    w = wire_open(t);
    wire_say(&w, "GET /ticks?ms=20000&to=1 HTTP/1.0\r\n\r\n");
    aw_test_advance(t, 25000);
    wire_settle(&w);
    CHECK(strstr(w.got, "\n\n:\n\n") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- clients that are no more ---- */

TEST(client_that_leaves)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/ticks?ms=100000", "");
    finals = 0;
    wire_close(&w);
    aw_test_advance(t, 1);
    CHECK_EQ(1, finals);
    /* Half of the connection is enough. */
    w = open_to(t, "/ticks?ms=100000", "");
    wire_finish(&w);
    aw_test_advance(t, 1);
    CHECK_EQ(2, finals);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* One that reads nothing: the view waits in its send, until write_ms. */
TEST(client_that_reads_nothing)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    memset(large, 'x', sizeof large - 1);
    t = app_with(channels, &c);
    w = wire_open(t);
    finals = 0;
    (void)aw__io_send(w.loop, w.fd,
                      "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    aw_test_advance(t, 29000);
    CHECK_EQ(0, finals);
    aw_test_advance(t, 16000);
    CHECK_EQ(1, finals);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* A send that was given up lies half in the buffers, and nothing more is taken:
   comments do not pile up behind it, and write_ms ends it. */
ASYNC_VIEW(gives_up, int rc;)
{
    BEGIN {
        self->rc = aw_sse_begin(req);
        do AWAIT_FOR_TO(1000, self->rc, aw_sse_send, req, NULL, large);
        while (self->rc > 0);
        CHECK_EQ(AW_EDEADLINE, self->rc);
        AWAIT(aw_sleep_ms, AW_FOREVER);
    } FINALLY {
        finals++;
    }
}
ROUTES(giving_up, GET("/", gives_up))

TEST(client_that_takes_no_comment)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    memset(large, 'x', sizeof large - 1);
    t = app_with(giving_up, &c);
    w = wire_open(t);
    finals = 0;
    (void)aw__io_send(w.loop, w.fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    aw_test_advance(t, 29000);
    CHECK_EQ(0, finals);
    aw_test_advance(t, 20000);
    CHECK_EQ(1, finals);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* Every chunk that came, but perhaps the last, is whole and has its end. */
static bool chunks_are_whole(const wire *w)
{
    const char *text = strstr(w->got, "\r\n\r\n");
    for (text = text ? text + 4 : NULL; text && *text;) {
        char *at;
        size_t n = strtoul(text, &at, 16);
        if (at == text || strncmp(at, "\r\n", 2) != 0 || n == 0) return false;
        if (strlen(at) < n + 4) return true;
        if (strncmp(at + 2 + n, "\r\n", 2) != 0) return false;
        text = at + 2 + n + 2;
    }
    return text != NULL;
}

/* No comment gets into an event that is being sent, nor another event. */
static char other[100001];

ASYNC_VIEW(both, int a; int b;)
{
    BEGIN {
        self->a = aw_sse_begin(req);
        START_TO(self->a, aw_sse_send, req, "a", large);
        START_TO(self->b, aw_sse_send, req, "b", other);
        GATHER();
        CHECK(self->a > 100000);
        CHECK_EQ(AW_EBUSY, self->b);
        RETURN(0);
    } FINALLY {
        finals++;
    }
}
ROUTES(together, GET("/both", both), GET("/flood", flood))

TEST(nothing_gets_into_an_event)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    memset(large, 'x', sizeof large - 1);
    memset(other, 'y', sizeof other - 1);
    t = app_with(together, &c);
    w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd,
                      "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    aw_test_advance(t, 20000);
    for (int i = 0; i < 20; i++) {
        wire_take(&w);
        aw_test_advance(t, 10);
    }
    CHECK(chunks_are_whole(&w));
    CHECK(w.n > 1000000);
    wire_close(&w);
    finals = 0;
    w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd,
                      "GET /both HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    aw_test_advance(t, 1000);
    CHECK_EQ(0, finals);
    wire_settle(&w);
    CHECK_EQ(1, finals);
    CHECK(strstr(w.got, "yy") == NULL);
    CHECK_EQ(100000, (int)strlen(unchunked(&w)) - (int)strlen("event: a\ndata: "
             "\n\n"));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* The head has to wait behind an earlier answer: it is on its way all the
   same. */
VIEW(before) { return aw_text(req, large); }
ASYNC_VIEW(after, int rc;)
{
    BEGIN {
        self->rc = aw_sse_begin(req);
        if (self->rc < 0) RETURN(self->rc);
        CHECK_EQ(AW_EINVAL, aw_text(req, "no"));
        AWAIT(aw_sleep_ms, 1000);
        AWAIT(aw_sse_send, req, NULL, "behind");
        RETURN(0);
    }
}
ROUTES(pipelined, GET("/large", before), GET("/events", after))

TEST(head_behind_another_answer)
{
    static const char two[] = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    memset(large, 'x', sizeof large - 1);
    t = app_with(pipelined, &c);
    w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd, two, sizeof two - 1);
    aw_test_advance(t, 500);
    wire_settle(&w);
    aw_test_advance(t, 2000);
    wire_settle(&w);
    CHECK_EQ(2, count(w.got, "HTTP/1.1 200 OK\r\nDate") - 1);
    CHECK(strstr(w.got, "data: behind\n\n") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* What it did take before it gave up is whole, and comments follow. */
TEST(late_reader_sees_whole_events)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    memset(large, 'x', sizeof large - 1);
    t = app_with(giving_up, &c);
    w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    aw_test_advance(t, 5000);
    wire_settle(&w);
    aw_test_advance(t, 32000);
    wire_settle(&w);
    CHECK(chunks_are_whole(&w));
    CHECK_EQ(2, count(w.got, ":\n\n"));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(time_is_over)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(channels, &c);
    wire w = open_to(t, "/timed?to=99", "");
    finals = 0;
    aw_test_advance(t, 5000);
    wire_settle(&w);
    CHECK_EQ(1, finals);
    CHECK_STR("[retry 5000]tick|0|0;tick|1|1;tick|2|2;", events(unchunked(&w)));
    CHECK(w.ended && strstr(w.got, "\r\n0\r\n") == NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- adversity ---- */

TEST(cancelled_at_every_await)
{
    aw_config c = quiet_config();
    aw_test *t;
    c.sse_ping_ms = 300;
    t = app_with(channels, &c);
    CHECK(aw_test_cancel_everywhere(t, "/ticks"));
    CHECK(aw_test_cancel_everywhere(t, "/started"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(sse_each_call_fails)
{
    aw_config c = quiet_config();
    aw_test *t;
    c.sse_ping_ms = 300;
    t = app_with(channels, &c);
    for (int all = 0; all < 2; all++)
        for (long k = 1;; k++) {
            wire w = wire_open(t);
            fault_set(all ? NULL : "alloc", k, 0);
            wire_say(&w, "GET /ticks?to=2 HTTP/1.1\r\nHost: x\r\n\r\n");
            aw_test_advance(t, 4000);
            wire_settle(&w);
            fault_at = 0;
            wire_close(&w);
            if (fault_count < k) break;
        }
    aw_test_advance(t, 20000);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(random_order)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        aw_config c = quiet_config();
        aw_test_config tc;
        aw_test *t;
        wire w;
        memset(&tc, 0, sizeof tc);
        c.sse_ping_ms = 250;
        tc.routes = channels;
        tc.config = &c;
        tc.chaos = seed;
        t = aw_test_open_config(tc);
        NOTE("seed %d", (int)seed);
        w = open_to(t, "/ticks", "");
        for (int i = 0; i < 60; i++) {
            aw_test_advance(t, 100);
            wire_take(&w);
        }
        wire_settle(&w);
        CHECK_STR("[retry 5000]tick|0|0;tick|1|1;tick|2|2;",
                  events(unchunked(&w)));
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}
