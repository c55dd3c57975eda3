/* jar.c: the cookies that a client keeps. */
#include "test.h"

typedef struct shelf {
    aw_loop *loop;
    aw__jar jar;
} shelf;

/* A jar whose clock stands at 1,000,000 seconds. */
static void open_jar(shelf *s)
{
    aw_loop_config config;
    memset(&config, 0, sizeof config);
    s->loop = aw_loop_new(&config);
    if (!s->loop || aw__sim_open(s->loop) < 0) abort();
    s->loop->now = 1000000000;
    aw__jar_init(&s->jar, s->loop);
}

static void close_jar(shelf *s)
{
    aw__jar_free(&s->jar);
    CHECK_EQ(s->jar.count, 0);
    CHECK(s->jar.cookies.next == &s->jar.cookies);
    aw_loop_free(s->loop);
}

static void set(shelf *s, const char *url, const char *cookie)
{
    const aw_header_field fields[] = {
        {"Content-Type", "a=b"}, {"set-COOKIE", cookie}, {NULL, NULL}};
    aw__url u;
    CHECK_EQ(aw__url_parse(url, &u), 0);
    aw__jar_take(&s->jar, &u, fields);
}

/* What goes with a request for the URL, without name and end of the field. */
static const char *sent(shelf *s, const char *url)
{
    static char text[8192];
    aw__url u;
    aw__buf b;
    memset(&b, 0, sizeof b);
    b.mem = &s->loop->mem;
    CHECK_EQ(aw__url_parse(url, &u), 0);
    aw__jar_give(&s->jar, &u, &b);
    text[0] = 0;
    if (b.n) {
        CHECK(b.n > 10 && memcmp(b.p, "Cookie: ", 8) == 0);
        CHECK(memcmp(b.p + b.n - 2, "\r\n", 2) == 0);
        snprintf(text, sizeof text, "%.*s", (int)b.n - 10, b.p + 8);
    }
    aw__buf_free(&b);
    return text;
}

/* 6265bis 5.1.1 */
TEST(dates_as_servers_write_them)
{
    static const struct { const char *text; int64_t time; } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun, 06-Nov-1994 08:49:37 GMT", 784111777},
        {"06 november 94 8:49:37", 784111777},
        {"08:49:37;06;NOV;1994", 784111777},
        {"Nov 6 1994 08:49:37.123", 784111777},
        {"Wed, 09-Jun-2021 10:18:14 GMT", 1623233894},
        {"1 Jan 69 00:00:00", 3124224000},
        {"1 Jan 70 00:00:00", 0},
        {"31 Dec 1601 23:59:59", -11612937601},
        {"1 Jan 1600 00:00:00", -1}, {"32 Jan 2000 00:00:00", -1},
        {"0 Jan 2000 00:00:00", -1}, {"1 Jan 2000 24:00:00", -1},
        {"1 Jan 2000 00:60:00", -1}, {"1 Jan 2000 00:00:60", -1},
        {"1 Jan 2000", -1}, {"Jan 2000 00:00:00", -1}, {"", -1},
        {"1 2000 00:00:00", -1}, {"1 Jan 00:00:00", -1},
        {"1 Jan 20000 00:00:00", -1}, {"1 Jan 2000 000:00:00", -1},
        {"29 Feb 2000 23:59:59", 951868799}, {"29 Feb 2100 00:00:00", -1},
        {"29 Feb 1964 00:00:00", -184291200}, {"31 Feb 2000 00:00:00", -1},
        {"31 Apr 2000 00:00:00", -1}, {"31 Dec 9999 23:59:59", 253402300799},
        {"1 Jan 2000 00:00", -1}, {"1 Jan 2000 00:00:", -1}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        char *copy = (char *)malloc(n + 1);
        int64_t t = 1;
        bool ok;
        NOTE("%s", rows[i].text);
        if (n) memcpy(copy, rows[i].text, n);
        copy = (char *)realloc(copy, n ? n : 1);
        ok = aw__cookie_date(aw__slice(copy, n), &t);
        CHECK_EQ(ok, rows[i].time != -1);
        if (ok) CHECK_EQ(t, rows[i].time);
        free(copy);
    }
}

/* 6265bis 5.6 */
TEST(fields_are_read_as_browsers_do)
{
    static const struct {
        const char *text, *name, *value, *domain, *path;
        int64_t expires;
        bool secure, no;
    } rows[] = {
        {"a=b", "a", "b", "", NULL, INT64_MAX, false, false},
        {" a = b ; Secure", "a", "b", "", NULL, INT64_MAX, true, false},
        {"a=", "a", "", "", NULL, INT64_MAX, false, false},
        {"=b", "", "b", "", NULL, INT64_MAX, false, false},
        {"b", "", "b", "", NULL, INT64_MAX, false, false},
        {"b; x=y", "", "b", "", NULL, INT64_MAX, false, false},
        {"", NULL, NULL, NULL, NULL, 0, false, true},
        {"=", NULL, NULL, NULL, NULL, 0, false, true},
        {"; Path=/", NULL, NULL, NULL, NULL, 0, false, true},
        {"a=b=c\"d", "a", "b=c\"d", "", NULL, INT64_MAX, false, false},
        {"a=b; DOMAIN=.Example.COM; path=/x; HttpOnly; SameSite=Lax", "a",
         "b", "Example.COM", "/x", INT64_MAX, false, false},
        {"a=b; Domain=; Path=x", "a", "b", "", NULL, INT64_MAX, false, false},
        {"a=b; Path=/x; Path=", "a", "b", "", NULL, INT64_MAX, false, false},
        {"a=b; Max-Age=60", "a", "b", "", NULL, 1060, false, false},
        {"a=b; Max-Age=0", "a", "b", "", NULL, INT64_MIN, false, false},
        {"a=b; Max-Age=-9", "a", "b", "", NULL, INT64_MIN, false, false},
        {"a=b; Max-Age=", "a", "b", "", NULL, INT64_MAX, false, false},
        {"a=b; Max-Age=-", "a", "b", "", NULL, INT64_MAX, false, false},
        {"a=b; Max-Age=6x", "a", "b", "", NULL, INT64_MAX, false, false},
        {"a=b; Expires=1 Jan 1970 00:00:09", "a", "b", "", NULL, 9, false,
         false},
        {"a=b; Max-Age=60; Expires=1 Jan 1970 00:00:09", "a", "b", "", NULL,
         1060, false, false},
        {"a=b; Expires=1 Jan 1970 00:00:09; Max-Age=60", "a", "b", "", NULL,
         1060, false, false},
        {"a=b; Expires=soon", "a", "b", "", NULL, INT64_MAX, false, false}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i].text);
        char *copy = (char *)malloc(n + 1);
        aw__set_cookie c;
        NOTE("%s", rows[i].text);
        memcpy(copy, rows[i].text, n + 1);
        CHECK_EQ(aw__cookie_read(aw__slice(copy, n), 1000, &c), !rows[i].no);
        if (!rows[i].no) {
            CHECK(aw__slice_eq(c.name, rows[i].name));
            CHECK(aw__slice_eq(c.value, rows[i].value));
            CHECK(aw__slice_ieq(c.domain, rows[i].domain));
            CHECK_EQ(c.path.p != NULL, rows[i].path != NULL);
            if (rows[i].path) CHECK(aw__slice_eq(c.path, rows[i].path));
            CHECK_EQ(c.expires, rows[i].expires);
            CHECK_EQ(c.secure, rows[i].secure);
        }
        free(copy);
    }
}

/* 6265bis 5.1.3, 5.1.4, 5.7: who may set what, and who gets it. */
TEST(cookies_go_where_they_belong)
{
    static const struct { const char *from, *cookie, *to, *sent; } rows[] = {
        {"http://a.b/", "x=1", "http://a.b/", "x=1"},
        {"http://a.b/", "x=1", "http://A.B/c", "x=1"},
        {"http://a.b/", "x=1", "http://a.b:81/", "x=1"},
        {"http://a.b/", "x=1", "http://c.a.b/", ""},
        {"http://a.b/", "x=1", "http://b/", ""},
        {"http://a.b/", "x=1", "https://a.b/", "x=1"},
        {"http://a.b/", "x=1; Domain=a.b", "http://c.a.b/", "x=1"},
        {"http://a.b/", "x=1; Domain=.A.b", "http://c.a.b/", "x=1"},
        {"http://c.a.b/", "x=1; Domain=a.b", "http://d.a.b/", "x=1"},
        {"http://c.a.b/", "x=1; Domain=a.b", "http://da.b/", ""},
        {"http://a.b/", "x=1; Domain=c.a.b", "http://c.a.b/", ""},
        {"http://a.b/", "x=1; Domain=b", "http://c.b/", ""},
        {"http://a.b/", "x=1; Domain=b", "http://a.b/", ""},
        {"http://b/", "x=1; Domain=b", "http://b/", "x=1"},
        {"http://b/", "x=1; Domain=b", "http://a.b/", ""},
        {"http://127.0.0.1/", "x=1; Domain=0.0.1", "http://127.0.0.1/", ""},
        {"http://127.0.0.1/", "x=1; Domain=127.0.0.1", "http://127.0.0.1/",
         "x=1"},
        {"http://[::1]/", "x=1", "http://[::1]/", "x=1"},
        {"http://a.b/c/d", "x=1", "http://a.b/c/e", "x=1"},
        {"http://a.b/c/d", "x=1", "http://a.b/c", "x=1"},
        {"http://a.b/c/d", "x=1", "http://a.b/", ""},
        {"http://a.b/c/d", "x=1", "http://a.b/cd", ""},
        {"http://a.b/c", "x=1", "http://a.b/d", "x=1"},
        {"http://a.b/", "x=1; Path=/c", "http://a.b/c/d", "x=1"},
        {"http://a.b/", "x=1; Path=/c/", "http://a.b/c", ""},
        {"http://a.b/", "x=1; Secure", "http://a.b/", ""},
        {"https://a.b/", "x=1; Secure", "http://a.b/", ""},
        {"https://a.b/", "x=1; Secure", "https://a.b/", "x=1"},
        {"http://a.b/", "__Secure-x=1", "https://a.b/", ""},
        {"https://a.b/", "__secure-x=1", "https://a.b/", ""},
        {"https://a.b/", "__Secure-x=1; Secure", "https://a.b/",
         "__Secure-x=1"},
        {"https://a.b/", "__Host-x=1; Secure; Path=/", "https://a.b/",
         "__Host-x=1"},
        {"https://a.b/", "__Host-x=1; Path=/", "https://a.b/", ""},
        {"https://a.b/", "__Host-x=1; Secure", "https://a.b/", ""},
        {"https://a.b/", "__Host-x=1; Secure; Path=x", "https://a.b/", ""},
        {"https://ab/", "__Host-x=1; Secure; Path=/; Domain=ab",
         "https://ab/", ""},
        {"https://a.b/", "__Host-x=1; Secure; Path=/c", "https://a.b/c", ""},
        {"https://a.b/", "__Host-x=1; Secure; Path=/; Domain=a.b",
         "https://a.b/", ""},
        {"http://a.b/", "nothing", "http://a.b/", "nothing"}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        shelf s;
        open_jar(&s);
        NOTE("%s from %s for %s", rows[i].cookie, rows[i].from, rows[i].to);
        set(&s, rows[i].from, rows[i].cookie);
        CHECK_STR(sent(&s, rows[i].to), rows[i].sent);
        close_jar(&s);
    }
}

/* 6265bis 5.7 step 22, 5.8.3 */
TEST(order_and_replacement)
{
    shelf s;
    open_jar(&s);
    set(&s, "http://a.b/c/d", "one=1; Path=/");
    set(&s, "http://a.b/c/d", "two=2");
    set(&s, "http://a.b/c/d", "three=3; Path=/");
    CHECK_STR(sent(&s, "http://a.b/c/d"), "two=2; one=1; three=3");
    set(&s, "http://a.b/", "one=uno; Path=/");
    CHECK_STR(sent(&s, "http://a.b/"), "one=uno; three=3");
    set(&s, "http://a.b/", "one=eins; Domain=a.b");
    CHECK_STR(sent(&s, "http://a.b/"), "one=uno; three=3; one=eins");
    set(&s, "http://a.b/", "one=; Max-Age=0");
    CHECK_STR(sent(&s, "http://a.b/"), "three=3; one=eins");
    CHECK_EQ(s.jar.count, 3);
    close_jar(&s);
}

/* 6265bis 5.7: who can write into http: does not reach what is Secure. */
TEST(secure_cookies_are_left_alone)
{
    static const struct { const char *url, *cookie, *sent; } rows[] = {
        {"http://a.b/", "id=evil; Path=/", "id=good"},
        {"http://a.b/", "id=evil; Path=/; Domain=a.b", "id=good"},
        {"http://a.b/", "id=evil; Path=/login", "id=good"},
        {"http://x.a.b/", "id=evil; Path=/; Domain=a.b", "id=good"},
        {"http://a.b/", "id=; Path=/; Max-Age=0", "id=good"},
        {"http://a.b/", "ID=other; Path=/", "id=good; ID=other"},
        {"https://a.b/", "id=new; Path=/", "id=new"},
        {"http://a.b/", "=__Host-id=evil", "id=good"},
        {"http://a.b/", "__secure-id", "id=good"},
        {"https://a.b/", "=__Secure-id=evil; Secure", "id=good"},
        {"http://a.b/", "=__Host", "id=good; __Host"}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        shelf s;
        NOTE("%s %s", rows[i].url, rows[i].cookie);
        open_jar(&s);
        set(&s, "https://a.b/", "id=good; Path=/; Secure");
        set(&s, rows[i].url, rows[i].cookie);
        CHECK_STR(sent(&s, "https://a.b/"), rows[i].sent);
        CHECK_STR(sent(&s, "https://a.b/login"), rows[i].sent);
        close_jar(&s);
    }
    /* One of a narrower path is none of theirs. */
    {
        shelf s;
        open_jar(&s);
        set(&s, "https://a.b/", "id=good; Path=/login; Secure");
        set(&s, "http://a.b/", "id=plain; Path=/");
        CHECK_STR(sent(&s, "https://a.b/login"), "id=good; id=plain");
        close_jar(&s);
    }
}

TEST(cookies_expire)
{
    shelf s;
    open_jar(&s);
    set(&s, "http://a.b/", "x=1; Max-Age=60");
    set(&s, "http://a.b/", "y=1");
    set(&s, "http://a.b/", "z=1; Expires=1 Jan 1970 00:00:09");
    CHECK_STR(sent(&s, "http://a.b/"), "x=1; y=1");
    s.loop->now += 59000;
    CHECK_STR(sent(&s, "http://a.b/"), "x=1; y=1");
    s.loop->now += 1000;
    CHECK_STR(sent(&s, "http://a.b/"), "y=1");
    CHECK_EQ(s.jar.count, 1);
    close_jar(&s);
}

/* 6265bis 5.7: before one that has not, though it is newer. */
TEST(what_has_expired_makes_room_first)
{
    shelf s;
    char cookie[60];
    int i;
    open_jar(&s);
    set(&s, "http://a.b/", "session=1");
    for (i = 1; i < 50; i++) {
        snprintf(cookie, sizeof cookie, "n%d=1; Max-Age=60; Path=/login", i);
        set(&s, "http://a.b/", cookie);
    }
    CHECK_EQ(s.jar.count, 50);
    s.loop->now += 60000;
    set(&s, "http://a.b/", "last=1");
    CHECK_STR(sent(&s, "http://a.b/"), "session=1; last=1");
    CHECK_EQ(s.jar.count, 2);
    close_jar(&s);
}

TEST(the_jar_has_a_bottom)
{
    shelf s;
    char cookie[40], url[40];
    int i;
    open_jar(&s);
    for (i = 0; i < 310; i++) {
        snprintf(cookie, sizeof cookie, "n%d=1; Path=/%d", i, i);
        snprintf(url, sizeof url, "http://a%d.b/", i / 40);
        set(&s, url, cookie);
    }
    CHECK_EQ(s.jar.count, 300);
    CHECK_STR(sent(&s, "http://a0.b/9"), "");
    CHECK_STR(sent(&s, "http://a0.b/10"), "n10=1");
    close_jar(&s);
}

/* One site cannot drive out what others have set. */
TEST(a_domain_has_its_share)
{
    shelf s;
    char cookie[40];
    int i;
    open_jar(&s);
    set(&s, "http://c.d/", "mine=1");
    for (i = 0; i < 60; i++) {
        snprintf(cookie, sizeof cookie, "n%d=1; Path=/%d", i, i);
        set(&s, "http://a.b/", cookie);
    }
    CHECK_EQ(s.jar.count, 51);
    CHECK_STR(sent(&s, "http://c.d/"), "mine=1");
    CHECK_STR(sent(&s, "http://a.b/9"), "");
    CHECK_STR(sent(&s, "http://a.b/10"), "n10=1");
    set(&s, "http://a.b/", "n11=2; Path=/11");      /* replaced, not added */
    CHECK_EQ(s.jar.count, 51);
    CHECK_STR(sent(&s, "http://a.b/10"), "n10=1");
    for (i = 0; i < 60; i++) {                      /* hosts have no case */
        snprintf(cookie, sizeof cookie, "m%d=1; Domain=%c.b", i, "aA"[i % 2]);
        set(&s, i % 3 ? "http://a.b/" : "http://A.B/", cookie);
    }
    CHECK_EQ(s.jar.count, 51);
    close_jar(&s);
}

/* Through the client: set by a redirect, sent behind it, kept apart. */
ASYNC(session, (aw_client *client, *fixed; int port;), aw_response *reply;
      char url[60];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d/login",
                 self->port);
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .client = self->client, .max_redirects = 1);
        CHECK_EQ(self->reply->status, 200);
        CHECK_STR(self->reply->body, "id=7");
        AWAIT(aw_fetch, .out = &self->reply, .url = self->reply->url,
              .client = self->client,
              .headers = (aw_header_field[]){{"Cookie", "mine=1"},
                                             {NULL, NULL}});
        CHECK_STR(self->reply->body, "mine=1");
        AWAIT(aw_fetch, .out = &self->reply, .url = self->reply->url);
        CHECK_STR(self->reply->body, "none");
        /* One's own goes on to where a redirect leads, as it was. */
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .client = self->client, .max_redirects = 1,
              .headers = (aw_header_field[]){{"Cookie", "mine=1"},
                                             {NULL, NULL}});
        CHECK_STR(self->reply->body, "mine=1");
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .client = self->fixed);
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .client = self->fixed, .max_redirects = 1);
        CHECK_STR(self->reply->body, "fixed=1");
    }
}

VIEW(login)
{
    aw_set_cookie(req, "id", "7");
    return aw_redirect(req, "/me");
}

VIEW(me)
{
    const char *cookie = aw_header(req, "Cookie");
    return aw_text(req, cookie ? cookie : "none");
}

ROUTES(jar_app, GET("/login", login), GET("/me", me))

TEST(a_client_keeps_them)
{
    aw_test *t = aw_test_open(jar_app);
    aw_loop *l = aw_test_loop(t);
    aw_client_config config;
    aw_client *client, *fixed;
    aw_task task;
    static const aw_header_field own[] = {{"cookie", "fixed=1"}, {NULL, NULL}};
    memset(&config, 0, sizeof config);
    config.cookies = true;
    client = aw_client_new(l, &config);
    CHECK(client != NULL);
    config.headers = own;
    fixed = aw_client_new(l, &config);
    CHECK(fixed != NULL);
    task = SPAWN_ON(l, session, client, fixed, aw_serve_port(l));
    while (!aw_ended(task)) aw_loop_step(l, AW_FOREVER);
    aw_client_free(client);
    aw_client_free(fixed);
    CHECK_EQ(aw_test_close(t), 0);
}
