/* client.c: the HTTP client, against an upstream that lives in the same loop.
   Sockets are in memory and time is virtual. */
#include "upstream.h"

static char big_upload[40000];

/* ---- one fetch, and what came of it ---- */

typedef struct wish {
    const char *url, *method, *body, *type;
    const aw_header_field *headers;
    size_t body_len, max_body;
    int64_t timeout_ms;
} wish;

static struct {
    int rc;
    char body[400];
    size_t body_len;
    int64_t ms;
} came;

ASYNC(fetch, (wish w;), aw_response *reply; int64_t start;)
{
    BEGIN {
        self->start = aw_now_ms(AW_LOOP());
        self->reply = (aw_response *)&up;       /* garbage does no harm */
        AWAIT_TO(came.rc, aw_fetch, .out = &self->reply, .url = self->w.url,
                 .method = self->w.method, .headers = self->w.headers,
                 .body = self->w.body, .body_len = self->w.body_len,
                 .content_type = self->w.type,
                 .timeout_ms = self->w.timeout_ms,
                 .max_body = self->w.max_body);
        CHECK_EQ(came.rc >= 0, self->reply != NULL);
        came.ms = aw_now_ms(AW_LOOP()) - self->start;
        came.body[0] = 0;
        if (self->reply) {
            came.body_len = self->reply->body_len;
            CHECK_EQ(self->reply->status, came.rc);
            CHECK_EQ(self->reply->body[came.body_len], 0);
            snprintf(came.body, sizeof came.body, "%s", self->reply->body);
        }
    }
}

static wish wish_of(const char *method, const char *url)
{
    wish w;
    memset(&w, 0, sizeof w);
    w.method = method;
    w.url = url;
    return w;
}

static int fetch_on(aw_loop *l, wish w)
{
    aw_task task = SPAWN_ON(l, fetch, w);
    came.rc = 1;
    run_until_ended(task);
    return came.rc;
}

static int get_on(aw_loop *l)
{
    return fetch_on(l, wish_of(NULL, URL));
}

static int fetch_once(wish w)
{
    aw_loop *l = client_loop();
    int rc = fetch_on(l, w);
    aw_loop_free(l);
    return rc;
}

/* ---- requests ---- */

ASYNC(look, (), aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_get, &self->reply, URL "a?b=c#d");
        CHECK_EQ(self->rc, 404);
        if (!self->reply) RETURN(0);
        CHECK_EQ(self->reply->status, 404);
        CHECK_STR(self->reply->body, "hello");
        CHECK_EQ(self->reply->body_len, 5);
        CHECK_STR(self->reply->url, URL "a?b=c#d");
        CHECK_STR(self->reply->headers[0].name, "Content-Length");
        CHECK_STR(self->reply->headers[0].value, "5");
        CHECK_STR(self->reply->headers[1].name, "X-Empty");
        CHECK_STR(self->reply->headers[1].value, "");
        CHECK_STR(aw_response_header(self->reply, "x-BOTH"), "one  two");
        CHECK_STR(aw_response_header(self->reply, "x-bot"), NULL);
        CHECK(self->reply->headers[3].name == NULL);
        CHECK_STR(aw_response_header(NULL, "a"), NULL);
        CHECK(aw_response_json(NULL) == NULL);
        aw_response_free(self->reply);
        aw_response_free(NULL);
    }
}

TEST(get_gives_status_headers_and_body)
{
    aw_loop *l;
    answer_with("HTTP/1.1 404 Not here\r\nContent-Length: 5\r\nX-Empty:\r\n"
                "X-Both: one  two \t\r\n\r\nhello");
    l = client_loop();
    run_until_ended(SPAWN_ON(l, look));
    CHECK_STR(up.got, "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
              "User-Agent: asyncweb/0.1\r\nAccept: */*\r\n\r\n");
    aw_loop_free(l);
}

TEST(requests_are_written_as_asked)
{
    static const aw_header_field own[] = {
        {"user-agent", "mine"}, {"Accept", NULL}, {"X-A", "b"}, {"X-A", ""},
        {"Host", "example.com"}, {NULL, NULL}};
    wish w = wish_of("PUT", "http://us%3aer:pass@localhost:8000?q=%20");
    answer_with(HELLO);
    w.body = "{}";
    w.type = "application/json";
    w.headers = own;
    CHECK_EQ(fetch_once(w), 200);
    CHECK_STR(up.got, "PUT /?q=%20 HTTP/1.1\r\n"
              "Authorization: Basic dXM6ZXI6cGFzcw==\r\n"
              "user-agent: mine\r\nX-A: b\r\nX-A: \r\nHost: example.com\r\n"
              "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n");
    CHECK_EQ(up.body, 2);
    answer_with(HELLO);
    w = wish_of(NULL, "HTTP://me@LOCALHOST:08000/x");
    w.body = "";
    CHECK_EQ(fetch_once(w), 200);
    CHECK_STR(up.got, "POST /x HTTP/1.1\r\nHost: LOCALHOST:08000\r\n"
              "User-Agent: asyncweb/0.1\r\nAccept: */*\r\n"
              "Authorization: Basic bWU6\r\nContent-Length: 0\r\n\r\n");
    answer_with(HELLO);
    w = wish_of("OPTIONS", URL);
    w.body = "a\0b";
    w.body_len = 3;
    CHECK_EQ(fetch_once(w), 200);
    CHECK_EQ(up.body, 3);
}

TEST(wrong_arguments)
{
    static const aw_header_field bad[][2] = {
        {{"A\r\nB", "c"}, {NULL, NULL}}, {{"", "c"}, {NULL, NULL}},
        {{"A", "b\r\nC: d"}, {NULL, NULL}}, {{"A", "\x7f"}, {NULL, NULL}},
        {{"A b", "c"}, {NULL, NULL}}, {{"Content-length", "4"}, {NULL, NULL}},
        {{"Transfer-Encoding", "chunked"}, {NULL, NULL}},
        {{"A:", "b"}, {NULL, NULL}}};
    static const char *const methods[] = {"CONNECT", "", "A B", "A\r\n", "G\t"};
    static const char *const urls[] = {
        "", "/", "www.example.com", "ftp://a/", "ws://a/", "http://",
        "http:///a", "http://a:0/", "http://a:65536/", "http://a b/",
        "http://a/b c", "http://a/\r\nX: y", "http://a:80x/", "http://[::1/",
        "http://a/\xc3\xa4", "http://a\"/", "http://u%zz@a/"};
    aw_loop *l;
    size_t i;
    answer_with(HELLO);
    l = client_loop();
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        wish w = wish_of(NULL, URL);
        w.headers = bad[i];
        log_text[0] = 0;
        NOTE("field %d", (int)i);
        CHECK_EQ(fetch_on(l, w), AW_EINVAL);
        CHECK(strstr(log_text, URL ": "));
    }
    for (i = 0; i < sizeof methods / sizeof *methods; i++) {
        NOTE("method %d", (int)i);
        CHECK_EQ(fetch_on(l, wish_of(methods[i], URL)), AW_EINVAL);
    }
    for (i = 0; i < 2; i++) {
        wish w = wish_of(NULL, URL);
        if (i == 0) w.body = "x", w.type = "text/plain\r\nX: y";
        else w.body_len = 1;
        log_text[0] = 0;
        NOTE("body %d", (int)i);
        CHECK_EQ(fetch_on(l, w), AW_EINVAL);
        CHECK(strstr(log_text, i ? "body_len" : "content_type") != NULL);
    }
    for (i = 0; i < sizeof urls / sizeof *urls; i++) {
        NOTE("url %d", (int)i);
        CHECK_EQ(fetch_on(l, wish_of(NULL, urls[i])), AW_EURL);
    }
    NOTE("rest");
    CHECK_EQ(fetch_on(l, wish_of(NULL, NULL)), AW_EURL);
    log_text[0] = 0;
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://a/\nERROR forged")), AW_EURL);
    CHECK(strstr(log_text, "http://a/?ERROR forged: not a URL"));
    log_text[0] = 0;
    CHECK_EQ(fetch_on(l, wish_of(NULL, "https://me:secret@h/p")), AW_ENOTLS);
    CHECK(strstr(log_text, "https://h/p: https needs") != NULL);
    CHECK(strstr(log_text, "secret") == NULL);
    log_text[0] = 0;
    CHECK_EQ(fetch_on(l, wish_of(NULL, "https://example.com/")), AW_ENOTLS);
    CHECK(strstr(log_text, "https://example.com/: https needs TLS, which is "
                 "not built in: use a local proxy"));
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://nonexistent.invalid/")),
             AW_EDNS);
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://127.0.0.1:8001/")),
             AW_ECONNREFUSED);
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://[::1]:8000/")),
             AW_ECONNREFUSED);
    CHECK_EQ(up.requests, 0);
    aw_loop_free(l);
}

/* ---- answers (RFC 9112 section 6.3 and what it rests on) ---- */

static const struct answer {
    const char *text, *method;
    int rc;                     /* of a peer that closes after it */
    const char *body;
    int kept;                   /* 1: the connection can go on */
} answers[] = {
    {HELLO, NULL, 200, "hello", 1},
    {OK "Content-Length: 0\r\n\r\n", NULL, 200, "", 1},
    {OK "Content-Length: 5\r\nConnection: close\r\n\r\nhello", NULL, 200,
     "hello", 0},
    {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", NULL, 200, "hello",
     0},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"
     "hello", NULL, 200, "hello", 1},
    {"HTTP/1.1 599\r\nContent-Length: 1\r\n\r\nx", NULL, 599, "x", 1},
    /* bytes behind the answer belong to nothing (6.3) */
    {HELLO "HTTP/1.1 666 ", NULL, 200, "hello", 0},
    {"HTTP/1.1 204 No\r\n\r\nx", NULL, 204, "", 0},
    /* 7.1 chunked */
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=\"b\"\r\n!\r\n"
     "0\r\nX-T: 1\r\n\r\n", NULL, 200, "hello!", 1},
    {OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL, 200, "", 1},
    {OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nmore", NULL, 200,
     "a", 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", NULL, AW_EEOF, "", 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", NULL, AW_EEOF,
     "", 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", NULL,
     AW_EBADMSG, "", 0},
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n", NULL,
     AW_EBADMSG, "", 0},
    {OK "Transfer-Encoding: chunked\nContent-Length: 5\r\n\r\n", NULL,
     AW_EBADMSG, "", 0},
    /* 6.3: neither; the body ends with the connection */
    {OK "\r\nto the end", NULL, 200, "to the end", 0},
    {OK "\r\n", NULL, 200, "", 0},
    {"HTTP/1.0 200 OK\r\n\r\nto the end", NULL, 200, "to the end", 0},
    /* 6.3: no body whatever the fields say */
    {OK "Content-Length: 5\r\n\r\n", "HEAD", 200, "", 1},
    {OK "Transfer-Encoding: chunked\r\n\r\n", "HEAD", 200, "", 1},
    {OK "\r\n", "HEAD", 200, "", 1},
    {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", NULL, 204, "", 1},
    {"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", NULL, 304, "", 1},
    /* 9110 15.2: interim answers */
    {"HTTP/1.1 100 Continue\r\n\r\n" HELLO, NULL, 200, "hello", 1},
    {"HTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n" HELLO,
     NULL, 200, "hello", 1},
    {"HTTP/1.1 103 Hints\r\nLink: <much longer than what follows>\r\n\r\n"
     "HTTP/1.1 204 No\r\n\r\n", NULL, 204, "", 1},
    {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" HELLO, NULL, AW_EBADMSG, "",
     0},
    {"HTTP/1.1 100 Continue\r\n\r\n", NULL, AW_EEOF, "", 0},
    /* 8: cut off */
    {"", NULL, AW_EEOF, "", 0},
    {"HTTP/1.1 2", NULL, AW_EEOF, "", 0},
    {OK "Content-Length: 6\r\n\r\nhello", NULL, AW_EEOF, "", 0},
    /* 6.3: framing nobody may guess at */
    {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", NULL, AW_EBADMSG,
     "", 0},
    {OK "Content-Length: 5, 5\r\n\r\nhello", NULL, AW_EBADMSG, "", 0},
    {OK "Content-Length: +5\r\n\r\nhello", NULL, AW_EBADMSG, "", 0},
    {OK "Content-Length: 99999999999999999999\r\n\r\nhello", NULL, AW_EBADMSG,
     "", 0},
    {OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     NULL, AW_EBADMSG, "", 0},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", NULL, AW_EBADMSG,
     "", 0},
    {OK "Transfer-Encoding: gzip\r\n\r\nx", NULL, AW_EBADMSG, "", 0},
    {OK "Content-Length: 16777217\r\n\r\n", NULL, AW_ETOOBIG, "", 0},
    {OK "Content-Length: 9223372036854775807\r\n\r\n", NULL, AW_ETOOBIG, "", 0},
    /* 4, 5: heads */
    {"HTTP/2 200 OK\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"HTTP/1.2 200 OK\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"ICY 200 OK\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"HTTP/1.1 099 X\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"HTTP/1.1 600 X\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"HTTP/1.1 20x X\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", NULL, AW_EBADMSG, "", 0},
    {OK "A : b\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    /* 5.2: a folded line is one, in an answer; none is folded in a body */
    {OK "A:\r\n b\r\n\tc\r\nContent-Length: 5\r\n\r\nh\r\n o", NULL, 200,
     "h\r\n o", 1},
    {OK "Content-Length: 1\r\n 5\r\n\r\nhello", NULL, AW_EBADMSG, "", 0},
    {OK "A: b\r\n c\r\nD : e\r\n\r\n", NULL, AW_EBADMSG, "", 0},
    {OK "A: b\rc\r\n\r\n", NULL, AW_EBADMSG, "", 0}
};

static void check_answer(const struct answer *a)
{
    aw_loop *l = client_loop();
    CHECK_EQ(fetch_on(l, wish_of(a->method, URL)), a->rc);
    CHECK_STR(came.body, a->body);
    pass(l, 1000);
    CHECK_EQ(fetch_on(l, wish_of(a->method, URL)), a->rc);
    CHECK_STR(came.body, a->body);
    CHECK_EQ(up.accepts, a->kept && !up.close ? 1 : 2);
    aw_loop_free(l);
}

TEST(answers_whole_bytewise_and_split_everywhere)
{
    size_t i, split;
    for (i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct answer *a = &answers[i];
        size_t n = strlen(a->text);
        char *exact = (char *)malloc(n + 1);    /* the sanitizer looks on */
        memcpy(exact, a->text, n + 1);
        for (split = 0; split <= n; split++) {
            NOTE("answer %d split at %d", (int)i, (int)split);
            answer_with(exact);
            up.split = split;
            up.close = a->rc == AW_EEOF || strstr(a->body, "end") ||
                (!a->method && strcmp(a->text, OK "\r\n") == 0);
            check_answer(a);
        }
        NOTE("answer %d byte by byte", (int)i);
        answer_with(exact);
        up.split = SIZE_MAX;
        up.close = true;
        check_answer(a);
        free(exact);
    }
}

/* Answers with a few bytes changed, in random pieces. */
TEST(mutated_answers_do_no_harm)
{
    uint32_t dice = 1;
    int i, k;
    for (i = 0; i < test_rounds(2000); i++) {
        const struct answer *a =
            &answers[(size_t)i % (sizeof answers / sizeof *answers)];
        size_t n = strlen(a->text);
        char *text = (char *)malloc(n + 1);
        aw_loop *l;
        NOTE("mutation %d", i);
        memcpy(text, a->text, n + 1);
        for (k = 0; n && k < 3; k++) {
            static const char bytes[] = "\r\n\0 :,;01259afHh-+\x80\xff";
            dice = dice * 1664525 + 1013904223;
            text[(dice >> 8) % n] = bytes[(dice >> 4) % sizeof bytes];
        }
        answer_with(text);
        up.sizes[0] = n;
        up.close = true;
        l = client_loop();
        pass(l, 1);
        aw__chaos_on(l, (uint64_t)i + 1);
        fetch_on(l, wish_of(a->method, URL));
        CHECK(came.rc >= 200 || came.rc == AW_EEOF || came.rc == AW_EBADMSG ||
              came.rc == AW_ETOOBIG || came.rc == AW_ECONNRESET);
        aw_loop_free(l);
        free(text);
    }
}

TEST(heads_have_limits)
{
    enum { SIZE = 70000 };
    char *text = (char *)malloc(SIZE + 1);
    size_t n, i;
    memset(text, 'x', SIZE);
    memcpy(text, OK "A: ", sizeof OK "A: " - 1);
    answer_with(text);
    up.sizes[0] = SIZE;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), AW_ETOOBIG);
    memcpy(text + 65000, "\r\nContent-Length: 2\r\n\r\nhi", 26);
    up.sizes[0] = 65025;
    up.requests = 0;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), 200);
    CHECK_STR(came.body, "hi");
    n = sizeof OK - 1;
    for (i = 0; i < 257; i++) n += (size_t)sprintf(text + n, "A: b\r\n");
    n += (size_t)sprintf(text + n, "\r\n");
    up.requests = 0;
    up.sizes[0] = n;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), AW_ETOOBIG);
    n = 0;
    for (i = 0; i < 33; i++)
        n += (size_t)sprintf(text + n, "HTTP/1.1 100 Continue\r\n\r\n");
    n += (size_t)sprintf(text + n, HELLO);
    up.requests = 0;
    up.sizes[0] = n;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), AW_EBADMSG);
    up.requests = 0;
    up.answers[0] = text + 25;
    up.sizes[0] = n - 25;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), 200);
    free(text);
}

TEST(bodies_have_limits)
{
    static const char *const five[] = {
        HELLO, OK "\r\nhello",
        OK "Transfer-Encoding: chunked\r\n\r\n"
        "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"};
    int i;
    for (i = 0; i < 3; i++) {
        wish w = wish_of(NULL, URL);
        NOTE("%d", i);
        answer_with(five[i]);
        up.close = i == 1;
        w.max_body = 5;
        CHECK_EQ(fetch_once(w), 200);
        CHECK_STR(came.body, "hello");
        for (up.split = 0; up.split < strlen(five[i]); up.split++) {
            up.requests = 0;
            w.max_body = 4;
            CHECK_EQ(fetch_once(w), AW_ETOOBIG);
        }
    }
}

/* ---- big ones ---- */

enum { BIG_BODY = 1 << 20 };

ASYNC(fetch_big, (const char *body; size_t n; int want;), aw_response *reply;
      int rc; size_t i;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = URL,
                 .body = self->body, .body_len = self->n);
        CHECK_EQ(self->rc, self->want);
        if (!self->reply || self->reply->body_len < BIG_BODY) RETURN(0);
        CHECK_EQ(self->reply->body_len, BIG_BODY);
        for (self->i = 0; self->i < BIG_BODY; self->i++)
            if (self->reply->body[self->i] != (char)('a' + self->i % 26)) break;
        CHECK_EQ(self->i, BIG_BODY);
    }
}

/* True: the connection was kept. */
static bool big_once(const char *body, int want)
{
    aw_loop *l = client_loop();
    bool kept;
    run_until_ended(SPAWN_ON(l, fetch_big, body, body ? (size_t)BIG_BODY : 0,
                             want));
    kept = l->client->idle_count == 1;
    aw_loop_free(l);
    return kept;
}

TEST(big_bodies_both_ways)
{
    char *text = (char *)malloc(2 * BIG_BODY), *body = (char *)malloc(BIG_BODY);
    size_t n, i, part;
    for (i = 0; i < BIG_BODY; i++) body[i] = (char)('a' + i % 26);
    n = (size_t)sprintf(text, OK "Content-Length: %d\r\n\r\n", BIG_BODY);
    memcpy(text + n, body, BIG_BODY);
    answer_with(text);
    up.sizes[0] = n + BIG_BODY;
    big_once(NULL, 200);
    CHECK_EQ(up.body, 0);
    up.requests = 0;
    big_once(body, 200);
    CHECK_EQ(up.body, BIG_BODY);
    /* Both sides write at the same time: neither may wait for the other. */
    up.requests = 0;
    up.early = true;
    big_once(body, 200);
    /* The peer does not even want the body. */
    answer_with("HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n"
                "\r\n");
    up.early = up.close = true;
    CHECK(!big_once(body, 413));
    answer_with(HELLO);
    CHECK(big_once(body, 200));
    up.requests = 0;
    up.early = true;
    up.lazy_ms = 100;
    CHECK(!big_once(body, 200));
    n = (size_t)sprintf(text, OK "Transfer-Encoding: chunked\r\n\r\n");
    for (i = 0, part = 1; i < BIG_BODY; i += part, part = part * 3 % 9973 + 1) {
        if (part > BIG_BODY - i) part = BIG_BODY - i;
        n += (size_t)sprintf(text + n, "%lx\r\n", (unsigned long)part);
        memcpy(text + n, body + i, part);
        n += part + 2;
        memcpy(text + n - 2, "\r\n", 2);
    }
    n += (size_t)sprintf(text + n, "0\r\n\r\n");
    answer_with(text);
    up.sizes[0] = n;
    big_once(NULL, 200);
    free(text);
    free(body);
}

/* ---- the pool ---- */

TEST(connections_are_used_again)
{
    aw_loop *l;
    int i;
    answer_with(HELLO);
    l = client_loop();
    for (i = 0; i < 5; i++) CHECK_EQ(get_on(l), 200);
    CHECK_EQ(fetch_on(l, wish_of("POST", URL)), 200);
    CHECK_EQ(up.accepts, 1);
    CHECK_EQ(l->client->idle_count, 1);
    /* Another name is another origin. */
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://localhost:8000/")), 200);
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://LOCALHOST:8000/")), 200);
    CHECK_EQ(up.accepts, 2);
    pass(l, 9990);
    CHECK_EQ(up.open, 2);
    CHECK_EQ(get_on(l), 200);
    pass(l, 20);
    CHECK_EQ(up.open, 1);
    pass(l, 10000);
    CHECK_EQ(up.open, 0);
    CHECK_EQ(l->client->idle_count, 0);
    CHECK_EQ(get_on(l), 200);
    CHECK_EQ(up.accepts, 3);
    aw_loop_free(l);
}

TEST(connection_close_is_respected)
{
    static const aw_header_field close_it[] = {{"connection", "close"},
                                               {NULL, NULL}};
    wish w = wish_of(NULL, URL);
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    w.headers = close_it;
    CHECK_EQ(fetch_on(l, w), 200);
    CHECK_EQ(fetch_on(l, w), 200);
    CHECK_EQ(up.accepts, 2);
    CHECK_EQ(l->client->idle_count, 0);
    aw_loop_free(l);
}

ASYNC(hundred, (int n;), int rc[100]; aw_response *reply[100]; int i;)
{
    BEGIN {
        for (self->i = 0; self->i < self->n; self->i++)
            START_TO(self->rc[self->i], aw_get, &self->reply[self->i], URL);
        GATHER();
        for (self->i = 0; self->i < self->n; self->i++) {
            CHECK_EQ(self->rc[self->i], 200);
            if (self->reply[self->i])
                CHECK_STR(self->reply[self->i]->body, "hello");
        }
    }
}

TEST(pool_has_limits)
{
    aw_loop *l;
    answer_with(HELLO);
    up.delay_ms = 50;
    l = client_loop();
    run_until_ended(SPAWN_ON(l, hundred, 100));
    CHECK_EQ(up.most, 50);
    CHECK_EQ(l->client->idle_count, 50);
    pass(l, 100);
    CHECK_EQ(up.open, 50);
    aw_loop_free(l);
}

ASYNC(everywhere, (), aw_response *reply; int i; char url[40];)
{
    BEGIN {
        for (self->i = 0; self->i < 105; self->i++) {
            snprintf(self->url, sizeof self->url, "http://host%d:%d/",
                     self->i, PORT);
            AWAIT(aw_get, &self->reply, self->url);
        }
        CHECK_EQ(up.accepts, 105);
        snprintf(self->url, sizeof self->url, "http://host%d:%d/", 6, PORT);
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_EQ(up.accepts, 105);
        snprintf(self->url, sizeof self->url, "http://host%d:%d/", 4, PORT);
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_EQ(up.accepts, 106);
    }
}

TEST(pool_closes_the_oldest_of_all)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    run_until_ended(SPAWN_ON(l, everywhere));
    CHECK_EQ(l->client->idle_count, 100);
    pass(l, 1);
    CHECK_EQ(up.open, 100);
    aw_loop_free(l);
}

/* The peer closes an idle connection: noticed before it is used again. */
TEST(closed_idle_connection_is_noticed)
{
    aw_loop *l;
    answer_with(HELLO);
    up.idle_ms = 100;
    l = client_loop();
    CHECK_EQ(get_on(l), 200);
    pass(l, 200);
    CHECK_EQ(up.open, 0);
    CHECK_EQ(fetch_on(l, wish_of("POST", URL)), 200);
    CHECK_EQ(up.accepts, 2);
    CHECK_EQ(up.requests, 2);
    aw_loop_free(l);
}

/* It closes just when the request is on its way. */
TEST(stale_connection_is_retried_once)
{
    static const struct {
        const char *method;
        int rc, accepts, requests;
    } rows[] = {
        {"GET", 200, 2, 3}, {"HEAD", 200, 2, 3}, {"PUT", 200, 2, 3},
        {"DELETE", 200, 2, 3}, {"OPTIONS", 200, 2, 3},
        {"POST", AW_EEOF, 1, 2}, {"PATCH", AW_EEOF, 1, 2},
        {"FROB", AW_EEOF, 1, 2}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l;
        wish w;
        NOTE("%s", rows[i].method);
        answer_with(OK "Content-Length: 0\r\n\r\n");
        up.hang_up_at = 2;
        l = client_loop();
        CHECK_EQ(get_on(l), 200);
        w = wish_of(rows[i].method, URL);
        memset(big_upload, 'u', sizeof big_upload);
        if (i == 2) w.body = big_upload, w.body_len = sizeof big_upload;
        CHECK_EQ(fetch_on(l, w), rows[i].rc);
        if (i == 2) CHECK_EQ(up.body, sizeof big_upload);
        CHECK_EQ(up.accepts, rows[i].accepts);
        CHECK_EQ(up.requests, rows[i].requests);
        aw_loop_free(l);
    }
    NOTE("a fresh one is not retried");
    answer_with(HELLO);
    up.hang_up_at = 1;
    CHECK_EQ(fetch_once(wish_of(NULL, URL)), AW_EEOF);
    CHECK_EQ(up.requests, 1);
    NOTE("nor one that has begun to answer");
    answer_with(HELLO);
    up.answers[1] = "H";
    {
        aw_loop *l = client_loop();
        CHECK_EQ(get_on(l), 200);
        up.close = true;
        CHECK_EQ(get_on(l), AW_EEOF);
        CHECK_EQ(up.requests, 2);
        aw_loop_free(l);
    }
}

/* An idle connection is no reason to go on. */
TEST(pool_does_not_keep_the_loop)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    CHECK_EQ(get_on(l), 200);
    aw__cancel_all(l);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(l->client->idle_count, 1);
    aw_loop_free(l);
}

/* ---- time ---- */

ASYNC(within, (int64_t ms; int64_t timeout_ms;), aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_fetch, .out = &self->reply,
                     .url = URL, .timeout_ms = self->timeout_ms);
        CHECK(self->reply == NULL);
        RETURN(self->rc);
    }
}

TEST(deadlines)
{
    static const struct {
        int64_t ms, timeout_ms;
        int rc;
        int64_t took;
    } rows[] = {
        {AW_FOREVER, 0, AW_ETIMEDOUT, 30000},
        {AW_FOREVER, 500, AW_ETIMEDOUT, 500},
        {40000, 0, AW_ETIMEDOUT, 30000}, {20000, 0, AW_EDEADLINE, 20000},
        {100, 500, AW_EDEADLINE, 100},
        {90000, AW_FOREVER, AW_EDEADLINE, 90000}};
    size_t i;
    for (i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        size_t row = i / 2;
        aw_loop *l;
        int64_t start;
        NOTE("row %d", (int)i);
        /* Silent, or so slow that each byte comes in good time. */
        answer_with(OK "Content-Length: 1000\r\n\r\nnever to end");
        up.delay_ms = i % 2 ? 0 : AW_FOREVER;
        l = client_loop();
        pass(l, 1);
        start = aw_now_ms(l);
        CHECK_EQ(run_until_ended(SPAWN_ON(l, within, rows[row].ms,
                                          rows[row].timeout_ms)), rows[row].rc);
        CHECK_EQ(aw_now_ms(l) - start, rows[row].took);
        CHECK_EQ(l->client->idle_count, 0);
        if (i % 2) pass(l, 1);
        if (i % 2) CHECK_EQ(up.open, 0);
        aw_loop_free(l);
    }
}

TEST(without_a_timeout_it_waits)
{
    wish w = wish_of(NULL, URL);
    answer_with(HELLO);
    up.delay_ms = 3600000;
    w.timeout_ms = AW_FOREVER;
    CHECK_EQ(fetch_once(w), 200);
    CHECK_EQ(came.ms, 3600000);
}

ASYNC(three, (), aw_response *a, *b, *c; int ra, rb, rc, late;)
{
    BEGIN {
        START_TO(self->ra, aw_get, &self->a, URL);
        START_TO(self->rb, aw_get, &self->b, "http://127.0.0.1:1/");
        START_TO(self->rc, aw_fetch, .out = &self->c, .url = URL "late",
                 .timeout_ms = 60000);
        up.delay_ms = 400;
        GATHER_FOR_TO(800, self->late);
        CHECK_EQ(self->ra, 200);
        CHECK_EQ(self->rb, AW_ECONNREFUSED);
        CHECK_EQ(self->rc, 200);
        CHECK(self->a && !self->b && self->c);
        if (self->a) CHECK_STR(self->a->body, "hello");
        START_TO(self->ra, aw_get, &self->a, URL);
        up.delay_ms = 1000;
        GATHER_FOR_TO(800, self->late);
        CHECK_EQ(self->late, 0);
        CHECK_EQ(self->ra, AW_EDEADLINE);
        CHECK(!self->a);
    }
}

TEST(fetches_side_by_side)
{
    aw_loop *l;
    int64_t start;
    answer_with(HELLO);
    l = client_loop();
    pass(l, 1);
    start = aw_now_ms(l);
    run_until_ended(SPAWN_ON(l, three));
    CHECK_EQ(aw_now_ms(l) - start, 1200);
    aw_loop_free(l);
}

/* ---- whose the replies are ---- */

ASYNC(again_and_again, (int n;), aw_response *reply, *kept; int i; size_t live;)
{
    BEGIN {
        for (self->i = 0; self->i < self->n; self->i++) {
            AWAIT(aw_get, &self->reply, URL);
            if (self->i == 2) self->live = AW_LOOP()->mem.live;
            if (self->i > 2) CHECK_EQ(self->live, AW_LOOP()->mem.live);
        }
        /* One that is to stay goes to another variable. */
        self->kept = self->reply;
        self->reply = NULL;
        AWAIT(aw_get, &self->reply, URL);
        CHECK(self->kept != self->reply);
        CHECK_STR(self->kept->body, "hello");
        aw_response_free(self->kept);
        CHECK_STR(self->reply->body, "hello");
        AWAIT_TO(self->i, aw_get, &self->reply, "http://x.invalid/");
        CHECK(self->reply == NULL);
    }
}

TEST(one_variable_holds_one_reply)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    run_until_ended(SPAWN_ON(l, again_and_again, 20));
    aw_loop_free(l);
}

/* The frame that fetched ends before its reply is read. */
ASYNC(helper, (const char **text;), aw_response *reply;)
{
    BEGIN {
        AWAIT(aw_get, &self->reply, URL);
        *self->text = self->reply->body;
    }
}

ASYNC(helped, (), const char *a, *b; aw_response *next;)
{
    BEGIN {
        AWAIT(helper, &self->a);
        START(helper, &self->b);
        GATHER();
        /* The next URL may stand in the reply that it replaces. */
        AWAIT(aw_get, &self->next, URL);
        AWAIT(aw_get, &self->next, self->next->url);
        CHECK_STR(self->a, "hello");
        CHECK_STR(self->b, "hello");
        CHECK_STR(self->next->url, URL);
        AWAIT(aw_fetch, .out = NULL, .url = URL);
    }
}

TEST(replies_outlive_helpers)
{
    size_t live;
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    run_until_ended(SPAWN_ON(l, helped));
    pass(l, 1);
    live = l->mem.live;
    run_until_ended(SPAWN_ON(l, helped));
    pass(l, 1);
    CHECK_EQ(l->mem.live, live);
    aw_loop_free(l);
}

ASYNC(hoarder, (), int i; aw_response *reply;)
{
    BEGIN {
        for (self->i = 0; self->i < 1000; self->i++) {
            self->reply = NULL;
            AWAIT(aw_get, &self->reply, URL);
        }
    }
}

TEST(hoarding_is_told)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    run_until_ended(SPAWN_ON(l, hoarder));
    CHECK(strstr(log_text, "holds 1000 replies"));
    aw_loop_free(l);
}

/* Two that fetch at once: their list is never empty, and never long. */
ASYNC(by_turns, (), int i; aw_response *reply;)
{
    BEGIN {
        for (self->i = 0; self->i < 1000; self->i++)
            AWAIT(aw_get, &self->reply, URL);
    }
}

ASYNC(two_by_turns, ())
{
    BEGIN {
        START(by_turns);
        START(by_turns);
        GATHER();
    }
}

TEST(many_that_are_freed_are_no_hoard)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    run_until_ended(SPAWN_ON(l, two_by_turns));
    CHECK(!strstr(log_text, "replies"));
    aw_loop_free(l);
}

/* A request's replies stay as long as it does, whichever task got them. */
static int req_users;
static struct aw__reply *req_list;
static void req_keep(aw_req *req) { (void)req, req_users++; }
static void req_drop(aw_req *req) { (void)req, req_users--; }
static struct aw__reply **req_replies(aw_req *req)
{
    return (void)req, &req_list;
}

TEST(replies_of_a_request_stay_with_it)
{
    static int stands_for_a_request;
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    l->req_keep = req_keep;
    l->req_drop = req_drop;
    l->req_replies = req_replies;
    req_list = NULL;
    {
        aw_args_helped none;
        run_until_ended(aw__spawn_for(l, (aw_req *)&stands_for_a_request,
                                      &aw_fn_helped, &none));
    }
    CHECK_EQ(req_users, 0);
    CHECK(req_list != NULL);
    if (req_list) CHECK_STR(req_list->face.body, "hello");
    if (l->replies_free) l->replies_free(&req_list);
    CHECK(req_list == NULL);
    aw_loop_free(l);
}

/* ---- strings are copied before the caller goes on ---- */

ASYNC(short_lived, (), aw_response *a, *b, *c; int ra; aw_task task;)
{
    char url[64], body[64];
    aw_header_field fields[2];
    BEGIN {
        strcpy(url, URL "a");
        AWAIT(aw_get, &self->a, url);
        CHECK_STR(self->a->url, URL "a");
        strcpy(url, URL "b");
        strcpy(body, "short");
        memset(fields, 0, sizeof fields);
        fields[0].name = "X-A";
        fields[0].value = body;
        START_TO(self->ra, aw_fetch, .out = &self->b, .url = url, .body = body,
                 .headers = fields);
        memset(url, 'x', sizeof url - 1);
        memset(body, 'y', sizeof body - 1);
        memset(fields, -1, sizeof fields);
        GATHER();
        CHECK_EQ(self->ra, 200);
        CHECK(strstr(up.got, "POST /b HTTP/1.1\r\n"));
        CHECK(strstr(up.got, "X-A: short\r\n"));
        strcpy(url, URL "c");
        self->task = SPAWN(aw_get, &self->c, url);
        memset(url, 0, sizeof url);
        AWAIT(aw_join, self->task);
        CHECK(strstr(up.got, "GET /c HTTP/1.1\r\n"));
    }
}

TEST(arguments_may_die_at_once)
{
    aw_loop *l;
    answer_with(HELLO);
    l = client_loop();
    aw__chaos_on(l, 7);
    run_until_ended(SPAWN_ON(l, short_lived));
    CHECK_STR(log_text, "");
    aw_loop_free(l);
}

/* ---- JSON ---- */

ASYNC(json_user, (bool good;), aw_response *reply; const aw_value *v;)
{
    BEGIN {
        AWAIT(aw_get, &self->reply, URL);
        self->v = aw_response_json(self->reply);
        CHECK_EQ(self->v != NULL, self->good);
        CHECK(aw_response_json(self->reply) == self->v);
        if (self->v) CHECK_EQ(aw_json_int(aw_json_get(self->v, "a.1"), 0), 7);
    }
}

TEST(replies_as_json)
{
    aw_loop *l;
    answer_with(OK "Content-Length: 11\r\n\r\n{\"a\":[1,7]}");
    up.answers[1] = OK "Content-Length: 7\r\n\r\n{\"a\":[,";
    l = client_loop();
    run_until_ended(SPAWN_ON(l, json_user, true));
    CHECK_STR(log_text, "");
    run_until_ended(SPAWN_ON(l, json_user, false));
    CHECK_STR(log_text,
              URL ": the body is not JSON: syntax error at byte 6\n");
    aw_loop_free(l);
}

/* ---- mocks ---- */

TEST(mocks_stand_for_upstreams)
{
    static const aw_header_field fields[] = {{"X-A", "b"}, {NULL, NULL}};
    static const aw_mock mocks[] = {
        {.url = "http://up/user", .body = "{\"id\":1}", .delay_ms = 100,
         .method = "GET"},
        {.url = "http://up/user", .status = 201, .headers = fields},
        {.url = "https://up/q?a=b", .status = 202, .body = "exact"},
        {.url = "https://up/q", .status = 203, .body = "any"},
        {.url = "http://up/news", .error = AW_ECONNRESET, .delay_ms = 5},
        {.url = "http://up/silent", .delay_ms = AW_FOREVER},
        {.url = NULL}};
    aw_loop *l;
    wish w = wish_of(NULL, "http://up/user");
    answer_with(HELLO);
    l = client_loop();
    aw_loop_mock(l, mocks);
    CHECK_EQ(fetch_on(l, w), 200);
    CHECK_STR(came.body, "{\"id\":1}");
    CHECK_EQ(came.ms, 100);
    CHECK_EQ(fetch_on(l, wish_of("PUT", "http://up/user")), 201);
    CHECK_EQ(came.ms, 0);
    CHECK_EQ(fetch_on(l, wish_of(NULL, "https://up/q?a=b")), 202);
    CHECK_EQ(fetch_on(l, wish_of("HEAD", "https://up/q?a=c")), 203);
    CHECK_STR(came.body, "");
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://up/news")), AW_ECONNRESET);
    CHECK_EQ(came.ms, 5);
    CHECK_EQ(fetch_on(l, wish_of(NULL, "http://up/silent")), AW_ETIMEDOUT);
    CHECK_EQ(came.ms, 30000);
    w.max_body = 3;
    CHECK_EQ(fetch_on(l, w), AW_ETOOBIG);
    CHECK_STR(log_text, "");
    CHECK_EQ(get_on(l), AW_ECONNREFUSED);
    CHECK_STR(log_text, URL ": not in the table of mocks\n");
    CHECK_EQ(fetch_on(l, wish_of("A B", "http://up/user")), AW_EINVAL);
    CHECK_EQ(up.requests, 0);
    aw_loop_mock(l, NULL);
    CHECK_EQ(get_on(l), 200);
    aw_loop_free(l);
}

/* ---- adversity ---- */

static int finals;

/* A bit of everything: pool, retry, upload, chunks, children, a mistake. */
ASYNC(scenario, (), aw_response *a, *b, *c; int rc, ra, rb;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_get, &self->a, URL);
        CHECK_EQ(self->rc >= 0, self->a != NULL);
        AWAIT_TO(self->rc, aw_get, &self->a, URL "again");
        CHECK_EQ(self->rc >= 0, self->a != NULL);
        START_TO(self->ra, aw_fetch, .out = &self->b, .url = URL "up",
                 .method = "PUT", .body = big_upload,
                 .body_len = sizeof big_upload);
        START_TO(self->rb, aw_get, &self->c, "http://localhost:8000/");
        GATHER();
        CHECK_EQ(self->ra >= 0, self->b != NULL);
        CHECK_EQ(self->rb >= 0, self->c != NULL);
        if (self->c) (void)aw_response_json(self->c);
        if (self->ra >= 0 && self->rb >= 0 && self->rc >= 0) RETURN(1);
    } FINALLY {
        finals++;
    }
}

static void prepare_scenario(void)
{
    memset(big_upload, 'u', sizeof big_upload);
    answer_with(HELLO);
    up.answers[1] = OK "Content-Length: 2\r\n\r\n12";
    up.answers[2] = OK "Transfer-Encoding: chunked\r\n\r\n"
        "5\r\n[1,2,\r\n2\r\n3]\r\n0\r\n\r\n";
    up.hang_up_at = 2;
    up.split = 3;
    finals = 0;
}

/* What is left when the scenario is over and the pool has been emptied. */
static void check_balance(aw_loop *l, const char *what, int at)
{
    NOTE("%s %d", what, at);
    pass(l, 11000);
    CHECK_EQ(finals, 1);
    check_loop_empty(l);
}

/* Three times each, in orders of nine; TEST_FULL=1: in all of them. */
TEST(cancel_at_every_await)
{
    bool reached;
    const int step = test_full() ? 1 : 3;
    int k = 1, seed = 0;
    while (seed <= 8) {
        aw_loop *l;
        aw_task task;
        prepare_scenario();
        l = client_loop();
        if (seed) aw__chaos_on(l, (uint64_t)seed);
        pass(l, 1);
        task = SPAWN_ON(l, scenario);
        aw__cancel_at(l, task, k);
        run_until_ended(task);
        reached = l->chaos.suspended >= k;
        l->on_suspend = NULL;
        check_balance(l, "cancelled at", k);
        aw_loop_free(l);
        k += step;
        if (reached) continue;
        CHECK(k > 20);
        k = 1 + ++seed % step;
    }
}

static int scenario_result;

static bool run_scenario(const char *what, int at, int error)
{
    aw_loop *l;
    aw_task task;
    prepare_scenario();
    l = client_loop();
    pass(l, 1);
    task = SPAWN_ON(l, scenario);
    test_fault = client_fault;
    faults.count = 0;
    faults.at = at;
    faults.error = error;
    faults.allocs = what[0] == 'a';
    faults.calls = what[0] == 'c';
    run_until_ended(task);
    faults.allocs = faults.calls = false;
    scenario_result = aw_ended(task)
        ? (int)l->slots[task.slot].u.result : -1;
    check_balance(l, what, at);
    aw_loop_free(l);
    return faults.count >= at;
}

TEST(scenario_is_fine_without_faults)
{
    run_scenario("nothing", 0, 0);
    CHECK_EQ(scenario_result, 1);
    CHECK_EQ(up.requests, 5);
    CHECK_STR(log_text, "");
}

TEST(every_allocation_fails_once)
{
    int at = 1;
    while (run_scenario("allocation", at, ENOMEM)) at++;
    CHECK(at > 50);
}

TEST(every_call_fails_once)
{
    static const int errors[] = {EIO, ECONNRESET, EMFILE, ENOMEM, EPIPE};
    size_t i;
    for (i = 0; i < sizeof errors / sizeof *errors; i++) {
        int at = 1;
        while (run_scenario("call", at, errors[i])) at++;
        CHECK(at > 50);
    }
}

TEST(chaos)
{
    int seed;
    for (seed = 1; seed <= (int)test_rounds(200); seed++) {
        aw_loop *l;
        aw_task task;
        prepare_scenario();
        l = client_loop();
        aw__chaos_on(l, (uint64_t)seed);
        pass(l, 1);
        task = SPAWN_ON(l, scenario);
        CHECK_EQ(run_until_ended(task), 1);
        check_balance(l, "seed", seed);
        aw_loop_free(l);
    }
}

/* ---- the real thing ---- */

ASYNC(real_user, (int port;), aw_response *reply; char url[80];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d/x",
                 self->port);
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_STR(self->reply->body, "hello");
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_EQ(up.accepts, 1);
        /* Closed by the peer while idle: the next one is a new one. */
        up.idle_ms = 1;
        AWAIT(aw_get, &self->reply, self->url);
        up.idle_ms = 0;
        while (up.open > 0) AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_EQ(up.accepts, 2);
        snprintf(self->url, sizeof self->url, "http://localhost:%d/x",
                 self->port);
        AWAIT(aw_get, &self->reply, self->url);
        CHECK_STR(self->reply->body, "hello");
    }
}

ASYNC(real_upstream, (), aw_listener *listener; aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, NULL, 0);
        DEFER(aw_listener_close, self->listener);
        SPAWN(real_user, aw_listener_port(self->listener));
        for (;;) {
            AWAIT(aw_accept, self->listener, &self->stream);
            up.accepts++;
            up.open++;
            SPAWN(serve, self->stream);
        }
    }
}

TEST(over_real_sockets)
{
    aw_loop *l = aw_loop_new(NULL);
    int64_t end = aw_now_ms(l) + 10000;
    answer_with(HELLO);
    SPAWN_ON(l, real_upstream);
    while (aw_loop_step(l, 1000) > 0 && up.requests < 5)
        if (aw_now_ms(l) > end) break;
    CHECK_EQ(up.requests, 5);
    aw_loop_free(l);
}
