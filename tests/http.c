/* http.c: the HTTP/1.1 server on the wire. */
#include "http.h"

#define GET_(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

VIEW(hello) { return aw_text(req, "hello"); }

VIEW(target) { return aw_printf(req, "%s", aw_raw_target(req)); }

VIEW(echo)
{
    aw_slice body = aw_body(req);
    if (body.p[body.n] != 0) return 500;
    return aw_bytes(req, "text/plain", body.p, body.n);
}

VIEW(length) { return aw_printf(req, "%lu", (unsigned long)aw_body(req).n); }

VIEW(big)
{
    size_t n = (size_t)aw_query_int(req, "n", 1000000), i;
    char *p = (char *)aw_alloc(req, n);
    if (!p) return AW_ENOMEM;
    for (i = 0; i < n; i++) p[i] = (char)('a' + i % 23);
    return aw_bytes_static(req, "text/plain", p, n);
}

static int naps, finals;

ASYNC_VIEW(nap, int64_t ms;)
{
    BEGIN {
        naps++;
        self->ms = aw_query_int(req, "ms", 1000);
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(aw_printf(req, "nap %d", (int)self->ms));
    } FINALLY {
        finals++;
    }
}

ASYNC_VIEW(at_once) { BEGIN { RETURN(aw_text(req, "at once")); } }

ASYNC_VIEW(echo_later)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        RETURN(aw_bytes(req, "text/plain", aw_body(req).p, aw_body(req).n));
    }
}

ROUTES(app,
    GET("/", hello),
    GET("/target/<path:x>", target),
    GET("/big", big),
    GET("/nap", nap),
    GET("/half", nap, .half_close = true),
    GET("/once", at_once),
    POST("/echo", echo),
    POST("/length", length),
    POST("/later", echo_later),
    POST("/small", length, .max_body = 10),
    POST("/any-size", length, .max_body = (size_t)AW_OFF))

/* ---- keep-alive, pipelining ---- */

TEST(keep_alive)
{
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    for (int i = 0; i < 5; i++) wire_say(&w, GET_("/"));
    CHECK_STR("200=hello 200=hello 200=hello 200=hello 200=hello", digest(&w));
    CHECK(!w.ended);
    wire_say(&w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    CHECK(w.ended && !w.reset);
    CHECK(strstr(digest(&w), "200=hello+") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(http_1_0)
{
    static const char kept[] =
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET_("/");
    aw_test *t = app_with(app, NULL);
    const char *got;
    CHECK_STR("200=hello+", raw(t, "GET / HTTP/1.0\r\n\r\n" GET_("/")));
    got = aw_test_raw(t, kept, sizeof kept - 1, 0);
    CHECK(strstr(got, "Connection: keep-alive\r\n") != NULL);
    CHECK(strstr(strstr(got, "hello"), "HTTP/1.1 200 OK") != NULL);
    CHECK_STR("400+", raw(t, "POST /echo HTTP/1.0\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    CHECK_EQ(0, aw_test_close(t));
}

/* Thousands in one write; the answers come in order. */
TEST(pipelined_thousands)
{
    enum { N = 5000 };
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    char *all = (char *)malloc(N * 60), *p = all, want[40];
    const char *at;
    for (int i = 0; i < N; i++)
        p += sprintf(p, GET_("/target/%d"), i);
    wire_send(&w, all, (size_t)(p - all));
    wire_settle(&w);
    at = w.got;
    for (int i = 0; i < N && at; i++) {
        snprintf(want, sizeof want, "\r\n\r\n/target/%d", i);
        at = strstr(at, want);
        NOTE("answer %d", i);
        CHECK(at != NULL);
    }
    CHECK(!w.ended);
    free(all);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

static const char mixed[] =
    GET_("/target/a?b=c") "\r\n"
    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"
    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5;x=y\r\nhello\r\n1\r\n \r\n00006\r\nthere.\r\n0\r\nT: u\r\n\r\n"
    "HEAD /none HTTP/1.1\r\nHost: h\r\n\r\n"
    "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    GET_("/once")
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET_("/never");

/* Without Date, which the clock decides. */
static void strip_dates(char *p)
{
    while ((p = strstr(p, "Date: ")) != NULL) memset(p, '-', 35);
}

TEST(split_at_every_byte)
{
    aw_test *t = app_with(app, NULL);
    const size_t n = sizeof mixed - 1;
    char *whole = strdup(aw_test_raw(t, mixed, n, 0));
    strip_dates(whole);
    CHECK(strstr(whole, "/target/a?b=c") && strstr(whole, "hello there.") &&
          strstr(whole, "404 Not Found") && strstr(whole, "at once") &&
          strstr(whole, "Connection: close") && !strstr(whole, "never"));
    for (size_t split = 0; split < n; split++) {
        wire w = wire_open(t);
        wire_send(&w, mixed, split);
        wire_settle(&w);
        wire_send(&w, mixed + split, n - split);
        wire_settle(&w);
        aw_test_advance(t, 10);
        wire_settle(&w);
        strip_dates(w.got);
        NOTE("split at %d", (int)split);
        CHECK_STR(whole, w.got);
        wire_close(&w);
    }
    for (size_t piece = 1; piece < 40; piece++) {
        char *got = strdup(aw_test_raw(t, mixed, n, piece));
        strip_dates(got);
        NOTE("pieces of %d", (int)piece);
        CHECK_STR(whole, got);
        free(got);
    }
    free(whole);
    CHECK_EQ(0, aw_test_close(t));
}

/* The same with short reads and writes, events that come late, and tasks in
   any order. */
TEST(mixed_in_chaos)
{
    aw_test *t = app_with(app, NULL);
    char *whole = strdup(aw_test_raw(t, mixed, sizeof mixed - 1, 0));
    strip_dates(whole);
    CHECK_EQ(0, aw_test_close(t));
    for (uint64_t seed = 1; seed <= (uint64_t)test_rounds(300); seed++) {
        aw_test_config c;
        char *got;
        memset(&c, 0, sizeof c);
        c.routes = app;
        c.chaos = seed;
        t = aw_test_open_config(c);
        got = strdup(aw_test_raw(t, mixed, sizeof mixed - 1, seed % 9));
        strip_dates(got);
        NOTE("seed %d", (int)seed);
        CHECK_STR(whole, got);
        free(got);
        CHECK_EQ(0, aw_test_close(t));
    }
    free(whole);
}

/* A request behind one whose view sleeps waits for its turn, and nothing goes
   round meanwhile: virtual time only moves in turns without an event. */
TEST(pipelined_while_asleep_no_spin)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    int64_t before;
    char *many;
    wire_say(&w, GET_("/nap?ms=1000") GET_("/"));
    wire_say(&w, GET_("/target/2"));
    CHECK_EQ(0, w.n);
    before = aw_test_now_ms(t);
    for (int i = 0; i < 3; i++) (void)aw_loop_step(l, 10);
    CHECK_EQ(30, aw_test_now_ms(t) - before);
    /* More than is kept for one connection: it is not read any more. */
    many = (char *)malloc(300000);
    memset(many, 'x', 300000);
    for (int i = 0; i < 50; i++) {
        (void)aw__io_send(l, w.fd, many, 300000);
        (void)aw_loop_step(l, 0);
    }
    before = aw_test_now_ms(t);
    for (int i = 0; i < 3; i++) (void)aw_loop_step(l, 10);
    CHECK_EQ(30, aw_test_now_ms(t) - before);
    free(many);
    aw_test_advance(t, 2000);
    wire_settle(&w);
    CHECK_STR("200=nap 1000 200=hello 200=/target/2 501+", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* The client leaves while a view waits: it is cancelled, its FINALLY runs. */
TEST(fin_pending)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    naps = finals = 0;
    wire_say(&w, GET_("/nap"));
    CHECK_EQ(1, l->tasks);
    wire_finish(&w);
    CHECK_EQ(0, l->tasks);
    CHECK_EQ(1, finals);
    CHECK(w.ended);
    CHECK_EQ(0, w.n);
    wire_close(&w);
    w = wire_open(t);           /* and one that vanishes, leaving a reset */
    wire_say(&w, GET_("/nap"));
    aw__fd_forget(l, w.fd);
    aw__sim_close(l, w.fd, true);
    for (int i = 0; i < 4; i++) (void)aw_loop_step(l, 0);
    CHECK_EQ(0, l->tasks);
    CHECK_EQ(2, finals);
    CHECK_EQ(0, l->server->connections);
    free(w.got);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(half_close_option)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    int64_t before;
    wire_say(&w, GET_("/half?ms=500") GET_("/"));
    wire_finish(&w);
    CHECK_EQ(1, l->tasks);
    CHECK(!w.ended);
    before = aw_test_now_ms(t);     /* a FIN that stays does not spin */
    for (int i = 0; i < 3; i++) (void)aw_loop_step(l, 10);
    CHECK_EQ(30, aw_test_now_ms(t) - before);
    aw_test_advance(t, 500);
    wire_settle(&w);
    CHECK_STR("200=nap 500 200=hello", digest(&w));
    CHECK(w.ended && !w.reset);
    wire_close(&w);
    CHECK_EQ(0, l->server->connections);
    CHECK_EQ(0, aw_test_close(t));
}

/* Who has sent the last byte within a body is not waited for, but gets what
   was answered before. */
TEST(half_closed_in_a_body)
{
    static const char *const row[] = {"/length", "/none"};
    for (int i = 0; i < 4; i++) {
        aw_test *t = app_with(app, NULL);
        wire w = wire_open(t);
        char text[300];
        snprintf(text, sizeof text, "GET /half?ms=500 HTTP/1.1\r\nHost: h\r\n"
                 "\r\nPOST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n"
                 "\r\nabc", row[i & 1]);
        wire_say(&w, text);
        wire_finish(&w);
        if (i & 2) fault_set("send", 1, FAULT_SHORT);
        aw_test_advance(t, 500);
        fault_set(NULL, 0, 0);
        wire_settle(&w);
        CHECK_STR(i & 1 ? "200=nap 500 404" : "200=nap 500", digest(&w));
        CHECK(w.ended && !w.reset);
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* ---- bodies ---- */

TEST(bodies_and_limits)
{
    static const char ten[] =
        "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
        "0123456789";
    static const char chunks[] =
        "POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
    aw_test *t = app_with(app, NULL);
    CHECK_STR("200=10", raw(t, ten));
    CHECK_STR("200=10", raw(t, chunks));
    CHECK_STR("413+", raw(t, "POST /small HTTP/1.1\r\nHost: h\r\n"
                          "Content-Length: 11\r\n\r\n01234567890" GET_("/")));
    CHECK_STR("413+", raw(t, "POST /small HTTP/1.1\r\nHost: h\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n"
                          "5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n" GET_("/")));
    CHECK_STR("413+", raw(t, "POST /length HTTP/1.1\r\nHost: h\r\n"
                          "Content-Length: 1048577\r\n\r\n"));
    CHECK_STR("413+", raw(t, "POST /small HTTP/1.1\r\nHost: h\r\n"
                          "Content-Length: 9223372036854775807\r\n\r\n"));
    CHECK_STR("400+", raw(t, "POST /small HTTP/1.1\r\nHost: h\r\n"
                          "Content-Length: 9223372036854775808\r\n\r\n"));
    CHECK_STR("400+", raw(t, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                          "Transfer-Encoding: chunked\r\n\r\nxyz" GET_("/")));
    CHECK_STR("200=0", raw(t, "POST /length HTTP/1.1\r\nHost: h\r\n"
                           "Content-Length: 0\r\n\r\n"));
    CHECK_STR("200=0", raw(t, "POST /length HTTP/1.1\r\nHost: h\r\n\r\n"));
    CHECK_STR("404 200=hello", raw(t, "POST /none HTTP/1.1\r\nHost: h\r\n"
                                   "Content-Length: 4\r\n\r\nbody" GET_("/")));
    CHECK_EQ(0, aw_test_close(t));
}

/* A whole megabyte, in pieces of odd sizes, and one byte more. */
TEST(body_of_the_default_limit)
{
    enum { N = 1 << 20 };
    aw_test *t = app_with(app, NULL);
    char *p = (char *)malloc(N + 200);
    int n = sprintf(p, "POST /length HTTP/1.1\r\nHost: h\r\n"
                    "Content-Length: %d\r\n\r\n", N);
    memset(p + n, 'b', N);
    CHECK(strstr(aw_test_raw(t, p, (size_t)n + N, 0), "1048576") != NULL);
    CHECK(strstr(aw_test_raw(t, p, (size_t)n + N, 4097), "1048576") != NULL);
    n = sprintf(p, "POST /any-size HTTP/1.1\r\nHost: h\r\n"
                "Content-Length: %d\r\n\r\n", N + 1);
    memset(p + n, 'b', N + 1);
    CHECK(strstr(aw_test_raw(t, p, (size_t)n + N + 1, 0), "1048577") != NULL);
    free(p);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(expect_100_continue)
{
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    wire_say(&w, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
             "Expect: 100-continue\r\n\r\n");
    CHECK_STR("100", digest(&w));
    wire_say(&w, "body");
    CHECK_STR("100 200=body", digest(&w));
    /* With the body there already, nobody waits to hear it. */
    wire_say(&w, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
             "Expect: 100-continue\r\n\r\nbody");
    CHECK_STR("100 200=body 200=body", digest(&w));
    /* Behind another answer, and in order. */
    wire_say(&w, GET_("/") "POST /echo HTTP/1.1\r\nHost: h\r\n"
             "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n");
    wire_say(&w, "1\r\nx\r\n0\r\n\r\n");
    CHECK_STR("100 200=body 200=body 200=hello 100 200=x", digest(&w));
    /* No 100 for nothing, nor for what is too much, nor in HTTP/1.0. */
    wire_say(&w, "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
    wire_say(&w, "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n"
             "Expect: 100-continue\r\n\r\n");
    CHECK_STR("100 200=body 200=body 200=hello 100 200=x 200=hello 413+",
              digest(&w));
    CHECK(w.ended);
    wire_close(&w);
    w = wire_open(t);
    wire_say(&w, "POST /echo HTTP/1.0\r\nContent-Length: 4\r\n"
             "Expect: 100-continue\r\n\r\n");
    CHECK_EQ(0, w.n);
    wire_say(&w, "body");
    CHECK_STR("200=body+", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- rejections ---- */

/* Each is answered, the answer arrives, the connection closes, and not a byte
   of what follows is taken for a request. */
TEST(rejections_close)
{
    static const struct {
        const char *request;
        const char *want;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400+"},                 /* 9112 3.2 */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400+"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400+"},     /* 5.1 */
        {"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", "400+"},     /* 5.2 */
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", "400+"},        /* 2.2 */
        {"GET /\r\n\r\n", "400+"},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400+"},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400+"},
        {"GET http:/ HTTP/1.1\r\nHost: a\r\n\r\n", "400+"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505+"},      /* 2.3 */
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
         "Transfer-Encoding: chunked\r\n\r\n", "400+"},     /* 6.1 */
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
         "Content-Length: 1\r\n\r\nx", "400+"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400+"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
         "501+"},
        {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "501+"},
        {"\x16\x03\x01\x02", "400+"},                       /* TLS */
    };
    aw_test *t = app_with(app, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w = wire_open(t);
        NOTE("row %d", (int)i);
        wire_say(&w, GET_("/target/first"));
        wire_send(&w, rows[i].request, strlen(rows[i].request));
        wire_say(&w, GET_("/never") GET_("/nap"));
        digest(&w);
        CHECK(strlen(w.text) > 18);
        if (strlen(w.text) > 18) CHECK_STR(rows[i].want, w.text + 18);
        CHECK(w.ended && !w.reset);
        CHECK_EQ(0, aw_test_loop(t)->tasks);
        wire_close(&w);
        CHECK_EQ(0, aw_test_loop(t)->server->connections);
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(limits_of_the_head)
{
    aw_config c = quiet_config();
    aw_test *t;
    char *p = (char *)malloc(70000);
    c.max_line = 100;
    c.max_head = 400;
    c.max_fields = 5;
    t = app_with(app, &c);
    for (int n = 90; n <= 110; n++) {       /* of the request line */
        snprintf(p, 300, "GET /target/%0*d HTTP/1.1\r\nHost: h\r\n\r\n",
                 n - 21, 0);
        NOTE("a line of %d", n);
        CHECK(strncmp(raw(t, p), n <= 100 ? "200" : "414+", 3) == 0);
    }
    for (int n = 380; n <= 420; n++) {      /* of the head */
        snprintf(p, 1000, "GET / HTTP/1.1\r\nHost: h\r\nX: %0*d\r\n\r\n",
                 n - 32, 0);
        NOTE("a head of %d", (int)strlen(p));
        CHECK_STR(strlen(p) <= 400 ? "200=hello" : "431+", raw(t, p));
    }
    CHECK_STR("200=hello", raw(t, "GET / HTTP/1.1\r\nHost: h\r\na: 1\r\n"
                               "b: 2\r\nc: 3\r\nd: 4\r\n\r\n"));
    CHECK_STR("431+", raw(t, "GET / HTTP/1.1\r\nHost: h\r\na: 1\r\n"
                          "b: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n"));
    CHECK_EQ(0, aw_test_close(t));
    c.max_line = c.max_head = c.max_fields = (size_t)AW_OFF;
    c.head_ms = c.body_ms = c.idle_ms = c.write_ms = AW_OFF;
    c.max_connections = AW_OFF;
    t = app_with(app, &c);      /* all limits off: 64 KiB all the same */
    snprintf(p, 70000, "GET / HTTP/1.1\r\nHost: h\r\nX: %060000d\r\n\r\n", 0);
    CHECK_STR("200=hello", raw(t, p));
    snprintf(p, 70000, "GET / HTTP/1.1\r\nHost: h\r\nX: %066000d\r\n\r\n", 0);
    CHECK_STR("431+", raw(t, p));
    for (int i = 0; i < 999; i++) memcpy(p + 6 * i, "a: 1\r\n", 6);
    memmove(p + 25, p, 6000);
    memcpy(p, "GET / HTTP/1.1\r\nHost: h\r\n", 25);
    memcpy(p + 25 + 6 * 999, "\r\n", 3);
    CHECK_STR("200=hello", raw(t, p));
    CHECK_EQ(0, aw_test_close(t));
    free(p);
}

/* Fed byte by byte, a head of 32 KiB is neither parsed nor copied anew for
   each of them. */
TEST(head_bytewise_linear)
{
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    char *p = (char *)malloc(40000);
    long moved = 0, parses = 0;
    int n = snprintf(p, 40000, "GET / HTTP/1.1\r\nHost: h\r\n"
                     "X: %032000d\r\n\r\n", 0);
    for (int i = 0; i < n; i++) {
        const aw__server *s = w.loop->server;
        const aw__conn *c = (const aw__conn *)s->lists[AW__IN_HEAD].next;
        const aw__held *in = i ? c->in : NULL;
        if (i && aw__http_head_news(p, (size_t)i + 1, (size_t)i, &s->limits))
            parses++;
        wire_send(&w, p + i, 1);
        (void)aw_loop_step(w.loop, 0);
        if (i == 0 || i + 1 == n) continue;
        if (c->in != in) moved++;
        CHECK_EQ(0, c->in->at);
        CHECK_EQ(i + 1, c->in->n);
    }
    wire_settle(&w);
    CHECK_STR("200=hello", digest(&w));
    CHECK(parses > 0 && parses < 10);
    CHECK(moved < 20);
    free(p);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- time-outs, exact on the virtual clock ---- */

static void advance_to(aw_test *t, wire *w, int64_t start, int64_t ms)
{
    aw_test_advance(t, start + ms - aw_test_now_ms(t));
    wire_settle(w);
}

/* The first thing that is logged may be somebody who left. */
TEST(log_of_who_left)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.access_log = 0;
    t = app_with(app, &c);
    w = wire_open(t);
    wire_say(&w, GET_("/nap?ms=2000"));
    aw_test_advance(t, 1500);
    wire_close(&w);
    CHECK(strstr(said, "- - [01/Jan/1970:00:00:01 +0000] \"GET /nap?ms=2000 "
                 "HTTP/1.1\" 499 0 1500ms\n") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(time_outs)
{
    aw_test *t = app_with(app, NULL);
    static char body[15000];            /* fast enough, until it stalls */
    wire idle = wire_open(t), w = wire_open(t);
    int64_t start;
    aw_test_advance(t, 5);
    start = aw_test_now_ms(t);
    wire_say(&w, "GET / HTTP/1.1\r\n");         /* a slow head */
    for (int i = 1; i < 100; i++) {
        advance_to(t, &w, start, i * 100);
        wire_say(&w, "a");
    }
    advance_to(t, &w, start, 9999);
    CHECK_EQ(0, w.n);
    advance_to(t, &w, start, 10000);
    CHECK_STR("408+", digest(&w));
    CHECK(w.ended);
    wire_close(&w);
    wire_settle(&idle);
    CHECK(!idle.ended);
    advance_to(t, &idle, start, 14994);         /* one that never spoke */
    CHECK(!idle.ended);
    advance_to(t, &idle, start, 14995);
    CHECK(idle.ended);
    CHECK_EQ(0, idle.n);
    wire_close(&idle);

    w = wire_open(t);                           /* keep-alive */
    aw_test_advance(t, 7000);
    wire_say(&w, GET_("/"));
    start = aw_test_now_ms(t);
    advance_to(t, &w, start, 14999);
    CHECK(!w.ended);
    advance_to(t, &w, start, 15000);
    CHECK(w.ended);
    wire_close(&w);

    w = wire_open(t);                           /* a body that stalls */
    wire_say(&w, "POST /echo HTTP/1.1\r\nHost: h\r\n"
             "Content-Length: 20000\r\n\r\n");
    aw_test_advance(t, 29000);
    memset(body, 'x', sizeof body);
    wire_send(&w, body, sizeof body);
    wire_settle(&w);
    start = aw_test_now_ms(t);
    advance_to(t, &w, start, 29999);
    CHECK_EQ(0, w.n);
    advance_to(t, &w, start, 30000);
    CHECK_STR("408+", digest(&w));
    CHECK(w.ended);
    wire_close(&w);
    CHECK_EQ(0, aw_test_loop(t)->server->connections);
    CHECK_EQ(0, aw_test_close(t));
}

/* A client that reads nothing of a large answer has 30 s for its next byte. */
TEST(stalled_write)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    static char bytes[70000];
    int64_t start;
    wire_send(&w, GET_("/big"), strlen(GET_("/big")));
    for (int i = 0; i < 5; i++) (void)aw_loop_step(l, 0);
    start = aw_test_now_ms(t);
    aw_test_advance(t, 29999);
    CHECK_EQ(1, l->server->connections);
    CHECK(aw__io_recv(l, w.fd, bytes, 65536) > 0);
    for (int i = 0; i < 5; i++) (void)aw_loop_step(l, 0);
    aw_test_advance(t, 29999);
    CHECK_EQ(1, l->server->connections);
    aw_test_advance(t, 1);
    CHECK_EQ(0, l->server->connections);
    CHECK_EQ(59999, aw_test_now_ms(t) - start);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* One who lingers after the last answer is not waited for. */
TEST(lingering_ends)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    int64_t begun;
    wire_say(&w, "bad\r\n");
    CHECK_STR("400+", digest(&w));
    CHECK_EQ(1, l->server->connections);
    aw_test_advance(t, 999);
    wire_say(&w, "and more");
    aw_test_advance(t, 1000);
    CHECK_EQ(1, l->server->connections);
    aw_test_advance(t, 1);
    CHECK_EQ(0, l->server->connections);
    wire_close(&w);
    w = wire_open(t);           /* nor for ever one who pours out words: */
    wire_say(&w, "bad\r\n");
    begun = aw_test_now_ms(t);
    while (l->server->connections && aw_test_now_ms(t) - begun < 60000) {
        for (int i = 0; i < 20; i++) {      /* however many they are */
            (void)aw__io_send(l, w.fd, mixed, sizeof mixed - 1);
            (void)aw_loop_step(l, 0);
        }
        aw_test_advance(t, 500);
    }
    CHECK_EQ(30500, aw_test_now_ms(t) - begun);
    CHECK_STR("400+", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- room ---- */

TEST(max_connections_evicts_oldest_idle)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w[5];
    c.max_connections = 3;
    t = app_with(app, &c);
    for (int i = 0; i < 3; i++) {
        w[i] = wire_open(t);
        aw_test_advance(t, 100);
    }
    wire_say(&w[0], GET_("/"));         /* no more the oldest idle */
    aw_test_advance(t, 10);
    wire_say(&w[1], GET_("/nap?ms=100000"));
    w[3] = wire_open(t);
    wire_settle(&w[2]);
    CHECK(w[2].ended);
    CHECK(!w[0].ended && !w[1].ended);
    wire_say(&w[3], GET_("/nap?ms=100000"));
    wire_say(&w[0], GET_("/nap?ms=200"));
    /* All busy: the next one has to wait, and nothing spins meanwhile. */
    w[4] = wire_open(t);
    wire_say(&w[4], GET_("/"));
    CHECK_EQ(0, w[4].n);
    for (int i = 0; i < 40; i++) (void)aw_loop_step(w[4].loop, 0);
    CHECK_EQ(3, w[4].loop->server->connections);
    aw_test_advance(t, 400);
    wire_settle(&w[4]);
    CHECK_STR("200=hello", digest(&w[4]));
    wire_settle(&w[0]);
    CHECK_STR("200=hello 200=nap 200", digest(&w[0]));
    for (int i = 0; i < 5; i++) wire_close(&w[i]);
    CHECK_EQ(0, aw_test_close(t));
}

/* A burst of more than there is room for: nobody is thrown out unheard. */
TEST(burst_over_max_connections)
{
    enum { N = 40 };
    aw_config c = quiet_config();
    aw_test *t;
    static wire w[N];
    int served = 0;
    c.max_connections = 10;
    t = app_with(app, &c);
    for (int i = 0; i < N; i++) {
        aw__address at;
        memset(&w[i], 0, sizeof w[i]);
        w[i].loop = aw_test_loop(t);
        at = aw__address_loopback(4, aw_serve_port(w[i].loop));
        (void)aw__io_connect(w[i].loop, &at, &w[i].fd);
        (void)aw__io_send(w[i].loop, w[i].fd, GET_("/"), strlen(GET_("/")));
    }
    aw_test_advance(t, 1000);
    for (int i = 0; i < N; i++) {
        wire_take(&w[i]);
        served += strcmp(digest(&w[i]), "200=hello") == 0;
        wire_close(&w[i]);
    }
    CHECK_EQ(N, served);
    CHECK_EQ(0, aw_test_close(t));
}

/* accept() says EMFILE for ever: the server rests between tries. */
TEST(accept_at_emfile_does_not_spin)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire idle = wire_open(t), w;
    int64_t start;
    wire_say(&idle, GET_("/"));
    aw_test_advance(t, 10);
    fault_set("accept", 1, EMFILE);
    w = wire_open(t);
    start = aw_test_now_ms(t);
    wire_settle(&idle);
    CHECK(idle.ended);          /* it made room; in vain */
    fault_count = 0;
    while (aw_test_now_ms(t) - start < 10000) (void)aw_loop_step(l, 10000);
    CHECK(fault_count >= 90 && fault_count <= 110);     /* each 100 ms */
    fault_set(NULL, 0, 0);
    aw_test_advance(t, 100);
    wire_say(&w, GET_("/"));
    CHECK_STR("200=hello", digest(&w));
    wire_close(&w);
    wire_close(&idle);
    CHECK_EQ(0, aw_test_close(t));
}

/* Pipelining without reading: what waits for one client stays bounded. */
TEST(backpressure)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w = wire_open(t);
    size_t before = l->mem.live, most = 0, sent = 0, n = 0;
    char *many = (char *)malloc(100000);
    while (n + 100 < 100000) n += (size_t)sprintf(many + n, GET_("/target/x"));
    for (int i = 0; i < 2000; i++) {
        size_t at = sent % n;
        ptrdiff_t got = aw__io_send(l, w.fd, many + at, n - at);
        if (got > 0) sent += (size_t)got;
        (void)aw_loop_step(l, 0);
        if (l->mem.live > most) most = l->mem.live;
    }
    CHECK(most - before < 1000000);
    CHECK(sent < 1000000);
    /* Then it reads after all, and gets every answer. */
    wire_settle(&w);
    n = 0;
    for (const char *p = w.got; (p = strstr(p, "\r\n\r\n/target/x")); p++) n++;
    CHECK_EQ(sent / strlen(GET_("/target/x")), n);
    free(many);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(large_answers_intact)
{
    static const int sizes[] = {1, 16000, 16384, 16385, 65535, 65536, 65537,
                                200000, 3000000};
    for (uint64_t seed = 0; seed < 4; seed++) {
        aw_test_config c;
        aw_test *t;
        memset(&c, 0, sizeof c);
        c.routes = app;
        c.chaos = seed;         /* short reads and writes */
        t = aw_test_open_config(c);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char at[40];
            const aw_response *r;
            size_t wrong = 0;
            snprintf(at, sizeof at, "/big?n=%d", sizes[i]);
            r = aw_test_get(t, at);
            NOTE("%s, seed %d", at, (int)seed);
            CHECK_EQ(200, r->status);
            CHECK_EQ(sizes[i], r->body_len);
            for (size_t k = 0; k < r->body_len; k++)
                wrong += r->body[k] != (char)('a' + k % 23);
            CHECK_EQ(0, wrong);
        }
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Many who would take a lot in one turn get it little by little: nobody else
   waits for all of it to be copied. */
TEST(large_answers_in_turns)
{
    enum { N = 40, SIZE = 2000000, MOST = (4 << 20) + N * (65536 + 400) };
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire w[N];
    size_t all = 0, first = 0;
    int i;
    l->sim->pipe_bytes = 3 << 20;
    for (i = 0; i < N; i++) w[i] = wire_open(t);
    for (i = 0; i < N; i++)
        (void)aw__io_send(l, w[i].fd, GET_("/big?n=2000000"),
                          strlen(GET_("/big?n=2000000")));
    (void)aw_loop_step(l, 0);
    for (i = 0; i < N; i++) {
        wire_take(&w[i]);
        all += w[i].n;
        if (w[i].n > first) first = w[i].n;
    }
    CHECK(first > 1 << 20);             /* not while it is only a few */
    CHECK(all > 4 << 20 && all < MOST);
    for (i = 0; i < N; i++) {
        wire_settle(&w[i]);
        CHECK(w[i].n > SIZE && w[i].n < SIZE + 400);
        wire_close(&w[i]);
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* Large and small answers in one pipeline leave in order. */
TEST(large_answers_pipelined)
{
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    const char *p;
    wire_say(&w, GET_("/") GET_("/big?n=100000") GET_("/target/a")
             GET_("/big?n=300000") GET_("/nap?ms=0") GET_("/target/b"));
    aw_test_advance(t, 10);
    wire_settle(&w);
    p = strstr(w.got, "\r\n\r\nhelloHTTP/1.1 200 OK");
    CHECK(p != NULL);
    p = p ? strstr(p, "\r\n\r\nabcd") : NULL;
    CHECK(p && strncmp(p + 100004, "HTTP/1.1 200 OK", 15) == 0);
    p = p ? strstr(p, "/target/aHTTP/1.1") : NULL;
    p = p ? strstr(p, "\r\n\r\nabcd") : NULL;
    CHECK(p && strncmp(p + 300004, "HTTP/1.1 200 OK", 15) == 0);
    CHECK(p && strstr(p, "nap 0HTTP/1.1") && strstr(p, "/target/b"));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- memory ---- */

TEST(burst_memory_returned)
{
    enum { N = 5000 };
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    int *fds = (int *)malloc(N * sizeof *fds);
    size_t live[3], peak = 0;
    l->server->max_connections = N;
    l->debug = false;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            aw__address at = aw__address_loopback(4, aw_serve_port(l));
            (void)aw__io_connect(l, &at, &fds[i]);
            if (i % 100 == 99) (void)aw_loop_step(l, 0);
            (void)aw__io_send(l, fds[i], GET_("/nap?ms=2000"),
                              strlen(GET_("/nap?ms=2000")));
        }
        for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 0);
        CHECK_EQ(N, l->tasks);
        peak = l->mem.live;
        aw_test_advance(t, 2000);
        CHECK_EQ(0, l->tasks);
        for (int i = 0; i < N; i++) aw__io_close(l, fds[i]);
        for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 0);
        CHECK_EQ(0, l->server->connections);
        live[round] = l->mem.live;
    }
    /* Without tables: a request of its view and head, a connection, and the
       client's socket. */
    CHECK(peak > live[0] + N * (sizeof(aw_req) + sizeof(aw__task)));
    if (sizeof(void *) == 8) CHECK(peak <= live[0] + N * 592);
    CHECK_EQ(live[0], live[1]);
    CHECK_EQ(live[1], live[2]);
    free(fds);
    CHECK_EQ(0, aw_test_close(t));
}

/* None for a keep-alive request, once the first has been. The sockets in
   memory do allocate, so the server is fed by hand. */
TEST(no_allocation_per_request)
{
    aw_test *t = app_with(app, NULL);
    wire w = wire_open(t);
    aw__server *s = w.loop->server;
    w.loop->debug = false;
    for (int i = 0; i < 3; i++) wire_say(&w, GET_("/"));
    memcpy(s->input, GET_("/"), strlen(GET_("/")));
    s->current = (aw__conn *)s->lists[AW__IDLE].next;
    fault_set("alloc", 1000000, 0);
    CHECK_EQ(strlen(GET_("/")), aw__conn_parse(s, s->current, s->input,
                                               strlen(GET_("/")), 0));
    CHECK_EQ(0, fault_count);
    fault_set(NULL, 0, 0);
    aw__conn_settle(s, s->current);
    wire_settle(&w);
    CHECK_STR("200=hello 200=hello 200=hello 200=hello", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- real sockets ---- */

static int dial(int port)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) abort();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Turns until `until` has come, or the end, or too many turns. */
static int hear(aw_loop *l, int fd, char *to, size_t cap, const char *until)
{
    size_t n = 0;
    to[0] = 0;
    for (int i = 0; i < 2000; i++) {
        ssize_t got;
        (void)aw_loop_step(l, 1);
        got = recv(fd, to + n, cap - 1 - n, 0);
        if (got == 0) return 0;
        if (got < 0) continue;
        n += (size_t)got;
        to[n] = 0;
        if (until && strstr(to, until)) return 1;
    }
    return -1;
}

static void say_to(int fd, const char *text)
{
    CHECK_EQ(strlen(text), send(fd, text, strlen(text), 0));
}

TEST(real_sockets)
{
    static const struct linger hard = {1, 0};
    aw_config c = quiet_config();
    aw_loop *l = aw_loop_new(NULL);
    char got[4096];
    int fd, port;
    c.routes = app;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    port = aw_serve_port(l);
    CHECK(port > 0);
    CHECK_EQ(AW_EBUSY, aw_serve(l, &c));
    fd = dial(port);
    say_to(fd, GET_("/"));
    CHECK_EQ(1, hear(l, fd, got, sizeof got, "hello"));
    say_to(fd, GET_("/nap?ms=5"));
    CHECK_EQ(1, hear(l, fd, got, sizeof got, "nap 5"));
    say_to(fd, "bad\n");
    CHECK_EQ(0, hear(l, fd, got, sizeof got, NULL));
    CHECK(strstr(got, "400 Bad Request") != NULL);
    close(fd);
    /* The client vanishes with a reset while a view runs. */
    naps = finals = 0;
    fd = dial(port);
    say_to(fd, GET_("/nap?ms=100000"));
    for (int i = 0; i < 100 && !naps; i++) (void)aw_loop_step(l, 10);
    CHECK_EQ(1, l->tasks);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    for (int i = 0; i < 100 && l->tasks; i++) (void)aw_loop_step(l, 10);
    CHECK_EQ(0, l->tasks);
    CHECK_EQ(1, finals);
    aw_loop_free(l);
}

/* Whoever waits to be accepted when the server stops has time to say something,
   also when the loop was busy before. */
ASYNC(speaks_late, (int fd;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 20);
        say_to(self->fd, GET_("/"));
    }
}

TEST(stop_after_a_long_step)
{
    aw_config c = quiet_config();
    aw_loop *l = aw_loop_new(NULL);
    char got[4096];
    int idle, fd;
    c.routes = app;
    c.port = AW_ANY_PORT;
    c.idle_ms = 1;
    CHECK_EQ(0, aw_serve(l, &c));
    idle = dial(aw_serve_port(l));
    for (int i = 0; i < 100 && !l->server->connections; i++)
        (void)aw_loop_step(l, 10);
    fd = dial(aw_serve_port(l));
    SPAWN_ON(l, speaks_late, fd);
    l->now -= 1000;             /* when the clock was read for the last time */
    aw__run_drain(l);
    CHECK_EQ(0, hear(l, fd, got, sizeof got, NULL));
    CHECK(strstr(got, "hello") != NULL);
    close(fd);
    close(idle);
    aw_loop_free(l);
}

static int take_long(aw_req *req)
{
    aw__sys_pause(600);
    return aw_text(req, "slow");
}

VIEW(takes_long) { return take_long(req); }

ASYNC_VIEW(takes_as_long) { BEGIN { RETURN(take_long(req)); } }

ROUTES(slow_app,
    GET("/", takes_long),
    POST("/", takes_as_long, .stream = true))

/* Who is answered then has as long as ever for the rest. */
TEST(close_after_a_long_step)
{
    static const struct { const char *said; int state; } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", AW__LINGER},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
         AW__IN_DRAIN}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        aw_config c = quiet_config();
        aw_loop *l = aw_loop_new(NULL);
        int idle, fd;
        NOTE("%s", rows[k].said);
        c.routes = slow_app;
        c.port = AW_ANY_PORT;
        c.idle_ms = 50;
        CHECK_EQ(0, aw_serve(l, &c));
        l->server->time_outs[rows[k].state] = 500;
        idle = dial(aw_serve_port(l));
        fd = dial(aw_serve_port(l));
        say_to(fd, rows[k].said);
        for (int i = 0; i < 100 && (i < 2 || l->server->connections > 1); i++)
            (void)aw_loop_step(l, 10);
        CHECK(!aw__list_empty(&l->server->lists[rows[k].state]));
        close(fd);
        close(idle);
        aw_loop_free(l);
    }
}

/* No answer waits for the client's ACK of the one before, which may come after
   40 ms. */
TEST(answers_wait_for_no_ack)
{
    aw_config c = quiet_config();
    aw_loop *l = aw_loop_new(NULL);
    char got[1000];
    int fd, i, all = 0;
    c.routes = app;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    fd = dial(aw_serve_port(l));
    say_to(fd, GET_("/"));
    CHECK_EQ(1, hear(l, fd, got, sizeof got, "hello"));
    for (i = 0; i < l->fd_end; i++) {
        int on = 0;
        socklen_t n = sizeof on;
        if (l->fds[i].kind != AW__FD_CONN) continue;
        CHECK_EQ(0, getsockopt(i, IPPROTO_TCP, TCP_NODELAY, &on, &n));
        CHECK(on);
        all++;
    }
    CHECK_EQ(1, all);
    close(fd);
    aw_loop_free(l);
}

/* The kernel's EMFILE, for real: no spin, and service when there is room. */
TEST(real_emfile)
{
    aw_config c = quiet_config();
    aw_loop *l = aw_loop_new(NULL);
    struct rlimit old, low;
    char got[1000];
    const char *preload = getenv("LD_PRELOAD");
    int a, b, turns = 0;
    int64_t end;
    /* There descriptors are counted, and closed, by somebody else. */
    if (preload && strstr(preload, "valgrind")) {
        aw_loop_free(l);
        return;
    }
    c.routes = app;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    a = dial(aw_serve_port(l));
    say_to(a, GET_("/nap?ms=100000"));
    for (int i = 0; i < 10; i++) (void)aw_loop_step(l, 1);
    b = dial(aw_serve_port(l));
    say_to(b, GET_("/"));
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = (rlim_t)b + 1;
    setrlimit(RLIMIT_NOFILE, &low);
    end = aw__sys_now_ms() + 250;
    while (aw__sys_now_ms() < end) (void)aw_loop_step(l, 1000), turns++;
    CHECK(turns < 20);
    setrlimit(RLIMIT_NOFILE, &old);
    CHECK_EQ(1, hear(l, b, got, sizeof got, "hello"));
    close(a);
    close(b);
    aw_loop_free(l);
}
