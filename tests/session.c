/* session.c: clients of the HTTP client: their connections and who gets them,
   redirects, bodies in pieces both ways, forms, credentials, proxies. */
#include "upstream.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { PORT2 = 8100 };
#define URL2 "http://127.0.0.1:8100/"
#define LOCAL "http://localhost:8000/"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

/* ---- one fetch, and what came of it ---- */

typedef aw_args_aw_fetch ask;
static char upload[1 << 20];

#define ASKED(a) \
    .url = (a)->url, .method = (a)->method, .headers = (a)->headers, \
    .body = (a)->body, .body_len = (a)->body_len, \
    .content_type = (a)->content_type, .timeout_ms = (a)->timeout_ms, \
    .max_body = (a)->max_body, .client = (a)->client, \
    .max_redirects = (a)->max_redirects, .basic = (a)->basic, \
    .bearer = (a)->bearer, .form = (a)->form, .stream = (a)->stream, \
    .send = (a)->send

static struct {
    int rc, pieces;
    char body[20000], url[400], where[200];
    size_t n;
    int64_t ms;
} gained;

/* What is sent where it does not matter. */
static void letters(void)
{
    size_t i;
    for (i = 0; i < sizeof upload; i++) upload[i] = (char)('a' + i % 26);
}

static ask ask_for(const char *url)
{
    ask a;
    memset(&a, 0, sizeof a);
    a.url = url;
    return a;
}

static void got_reply(const aw_response *reply)
{
    const char *where = aw_response_header(reply, "Location");
    snprintf(gained.url, sizeof gained.url, "%s", reply->url);
    snprintf(gained.where, sizeof gained.where, "%s", where ? where : "");
}

/* Fetches; with .stream reads all of it, `piece` bytes at a time. */
ASYNC(go, (const ask *a; size_t piece;), aw_response *reply; int64_t start;
      int rc; char bytes[4096];)
{
    BEGIN {
        memset(&gained, 0, sizeof gained);
        self->start = aw_now_ms(AW_LOOP());
        AWAIT_TO(gained.rc, aw_fetch, .out = &self->reply, ASKED(self->a));
        CHECK_EQ(gained.rc >= 0, self->reply != NULL);
        gained.ms = aw_now_ms(AW_LOOP()) - self->start;
        if (!self->reply) RETURN(gained.rc);
        got_reply(self->reply);
        gained.n = self->reply->body_len;
        CHECK_EQ(self->reply->body[gained.n], 0);
        if (!self->a->stream && !self->a->send)
            snprintf(gained.body, sizeof gained.body, "%s", self->reply->body);
        while (self->a->stream) {
            AWAIT_TO(self->rc, aw_response_read, self->reply, self->bytes,
                     self->piece);
            gained.ms = aw_now_ms(AW_LOOP()) - self->start;
            if (self->rc < 0) gained.rc = self->rc;
            if (self->rc <= 0) break;
            CHECK(self->rc <= (int)self->piece);
            gained.pieces++;
            if (gained.n + (size_t)self->rc < sizeof gained.body)
                memcpy(gained.body + gained.n, self->bytes, (size_t)self->rc);
            gained.n += (size_t)self->rc;
        }
        if (self->a->stream) {          /* how it ended is how it stays */
            AWAIT_TO(self->rc, aw_response_read, self->reply, self->bytes, 1);
            if (gained.rc != AW_ETIMEDOUT)
                CHECK_EQ(self->rc, gained.rc < 0 ? gained.rc : AW_ECLOSED);
        }
        RETURN(gained.rc);
    }
}

static int ask_on(aw_loop *l, ask a)
{
    return run_until_ended(SPAWN_ON(l, go, &a, 4096));
}

static int get_with(aw_client *client, const char *url)
{
    ask a = ask_for(url);
    a.client = client;
    return ask_on(client->loop, a);
}

static int ask_once(ask a)
{
    aw_loop *l = client_loop();
    int rc = ask_on(l, a);
    aw_loop_free(l);
    return rc;
}

static aw_client_config no_config(void)
{
    aw_client_config c;
    memset(&c, 0, sizeof c);
    return c;
}

static aw_client *client_with(aw_loop *l, aw_client_config c)
{
    aw_client *client = aw_client_new(l, &c);
    memset(&c, 0xA5, sizeof c);         /* all of it has been copied */
    return client;
}

static aw_client *limited(aw_loop *l, int all, int origin)
{
    aw_client_config c = no_config();
    c.max_connections = all;
    c.max_per_origin = origin;
    return client_with(l, c);
}

/* ---- who gets a connection ---- */

static char order[64];
static aw_task victim;          /* cancelled by the first that is done */

static void note(const char *mark, char id)
{
    size_t n = strlen(order);
    snprintf(order + n, sizeof order - n, "%s%c", mark, id);
}

ASYNC(one, (aw_client *client; const char *url; char id; int64_t ms;),
      aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = self->url,
                 .client = self->client, .timeout_ms = self->ms);
        note(self->rc >= 0 ? "" : "!", self->id);
        if (victim.loop) aw_cancel(victim);
        victim.loop = NULL;
        RETURN(self->rc);
    } FINALLY {
        if (AW_OUTCOME() == AW_ECANCELED) note("~", self->id);
    }
}

static aw_loop *slow_loop(int64_t delay_ms)
{
    aw_loop *l;
    answer_with(HELLO);
    up.delay_ms = delay_ms;
    order[0] = 0;
    victim.loop = NULL;
    l = client_loop();
    pass(l, 1);
    return l;
}

/* Everybody has gone, and nobody holds a place. */
static void check_idle(const aw_client *client)
{
    CHECK_EQ(client->waiting, 0);
    CHECK_EQ(client->open, client->idle_count);
    CHECK_EQ(client->users, 1);
}

TEST(first_come_first_served_across_origins)
{
    aw_loop *l = slow_loop(50);
    aw_client *c = limited(l, 1, 0);
    aw_task last;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    SPAWN_ON(l, one, c, URL, 'b', 0);
    SPAWN_ON(l, one, c, LOCAL, 'c', 0);
    SPAWN_ON(l, one, c, URL, 'd', 0);
    last = SPAWN_ON(l, one, c, LOCAL, 'e', 0);
    pass(l, 10);
    CHECK_EQ(c->open, 1);
    CHECK_EQ(c->waiting, 4);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "abcde");
    CHECK_EQ(aw_now_ms(l) >= 250, 1);
    CHECK_EQ(up.accepts, 4);            /* only b found what it needed */
    check_idle(c);
    aw_loop_free(l);
}

TEST(a_full_origin_is_in_nobodys_way)
{
    aw_loop *l = slow_loop(50);
    aw_client *c = limited(l, 2, 1);
    aw_task last;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    last = SPAWN_ON(l, one, c, URL, 'b', 0);
    SPAWN_ON(l, one, c, LOCAL, 'c', 0);
    pass(l, 10);
    CHECK_EQ(c->open, 2);
    CHECK_EQ(c->waiting, 1);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "acb");
    CHECK_EQ(up.accepts, 2);
    check_idle(c);
    /* A place that comes free where b's origin is full is not for b. */
    order[0] = 0;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    last = SPAWN_ON(l, one, c, URL, 'b', 0);
    pass(l, 5);
    up.delay_ms = 20;
    SPAWN_ON(l, one, c, LOCAL, 'c', 0);
    pass(l, 30);
    CHECK_STR(order, "c");
    CHECK_EQ(c->waiting, 1);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "cab");
    CHECK_EQ(up.most, 2);
    CHECK_EQ(up.accepts, 2);
    aw_loop_free(l);
}

TEST(who_waits_may_leave)
{
    aw_loop *l = slow_loop(50);
    aw_client *c = limited(l, 1, 1);
    aw_task b, last;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    b = SPAWN_ON(l, one, c, URL, 'b', 0);
    SPAWN_ON(l, one, c, URL, 'c', 30);          /* out of time while waiting */
    SPAWN_ON(l, one, c, LOCAL, 'd', 30);
    last = SPAWN_ON(l, one, c, URL, 'e', 0);
    pass(l, 10);
    aw_cancel(b);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "~b!c!dae");
    CHECK_EQ(up.accepts, 1);
    CHECK_EQ(up.requests, 2);
    check_idle(c);
    aw_loop_free(l);
}

TEST(handed_over_in_the_turn_of_its_cancellation)
{
    int k;
    for (k = 0; k < 2; k++) {
        aw_loop *l = slow_loop(50);
        aw_client *c = limited(l, 1, 1);
        aw_task last;
        int64_t start = aw_now_ms(l);
        SPAWN_ON(l, one, c, URL, 'a', 0);
        victim = SPAWN_ON(l, one, c, URL, 'b', 0);
        last = SPAWN_ON(l, one, c, k ? LOCAL : URL, 'c', 0);
        CHECK_EQ(run_until_ended(last), 200);
        CHECK_STR(order, "a~bc");
        CHECK_EQ(aw_now_ms(l) - start, 100);
        check_idle(c);
        aw_loop_free(l);
    }
}

TEST(an_idle_connection_gives_way)
{
    aw_loop *l = slow_loop(0);
    aw_client *c = limited(l, 2, 2);
    CHECK_EQ(get_with(c, URL), 200);
    CHECK_EQ(get_with(c, LOCAL), 200);
    CHECK_EQ(c->idle_count, 2);
    CHECK_EQ(get_with(c, "http://third:8000/"), 200);
    CHECK_EQ(c->open, 2);
    CHECK_EQ(up.accepts, 3);
    CHECK_EQ(get_with(c, LOCAL), 200);          /* the older one went */
    CHECK_EQ(up.accepts, 3);
    CHECK_EQ(get_with(c, URL), 200);
    CHECK_EQ(up.accepts, 4);
    pass(l, 1);
    CHECK_EQ(up.open, 2);
    pass(l, 10001);
    CHECK_EQ(up.open, 0);
    CHECK(aw__list_empty(&c->origins));
    aw_loop_free(l);
}

TEST(a_retry_keeps_its_place)
{
    aw_loop *l = slow_loop(50);
    aw_client *c = limited(l, 1, 1);
    aw_task last;
    CHECK_EQ(get_with(c, URL), 200);
    up.hang_up_at = 2;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    last = SPAWN_ON(l, one, c, URL, 'b', 0);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "ab");
    CHECK_EQ(up.requests, 4);
    CHECK_EQ(up.accepts, 2);
    check_idle(c);
    aw_loop_free(l);
}

TEST(connections_that_close_make_room)
{
    int k;
    for (k = 0; k < 2; k++) {
        aw_loop *l = slow_loop(50);
        aw_client *c = limited(l, 1, 1);
        aw_task last;
        int64_t start = aw_now_ms(l);
        NOTE("%d", k);
        up.answers[0] = k ? OK "\r\nto the end"
            : OK "Connection: close\r\nContent-Length: 1\r\n\r\nx";
        up.close = true;
        SPAWN_ON(l, one, c, URL, 'a', 0);
        SPAWN_ON(l, one, c, "http://127.0.0.1:1/", 'b', 0);     /* refused */
        SPAWN_ON(l, one, c, URL, 'c', 0);
        last = SPAWN_ON(l, one, c, URL, 'd', 0);
        CHECK_EQ(run_until_ended(last), 200);
        CHECK_STR(order, "a!bcd");
        CHECK_EQ(up.accepts, 3);
        CHECK_EQ(up.most, 1);
        CHECK_EQ(aw_now_ms(l) - start, 150);
        check_idle(c);
        aw_loop_free(l);
    }
}

TEST(nothing_is_kept_when_idle_ms_is_off)
{
    aw_loop *l = slow_loop(50);
    aw_client_config config = no_config();
    aw_client *c;
    aw_task last;
    config.idle_ms = AW_OFF;
    config.max_connections = 1;
    c = client_with(l, config);
    SPAWN_ON(l, one, c, URL, 'a', 0);
    last = SPAWN_ON(l, one, c, URL, 'b', 0);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "ab");
    CHECK_EQ(c->idle_count, 0);
    CHECK_EQ(up.accepts, 2);
    config.idle_ms = AW_FOREVER;
    c = client_with(l, config);
    CHECK_EQ(get_with(c, URL), 200);
    pass(l, AW_SECONDS(86400));
    CHECK_EQ(c->idle_count, 1);
    CHECK_EQ(get_with(c, URL), 200);
    CHECK_EQ(up.accepts, 3);
    aw_loop_free(l);
}

TEST(clients_share_nothing)
{
    aw_loop *l = slow_loop(0);
    aw_client *a = limited(l, 1, 1), *b;
    CHECK_EQ(get_with(a, URL), 200);
    CHECK_EQ(ask_on(l, ask_for(URL)), 200);
    b = limited(l, 1, 1);
    CHECK_EQ(get_with(b, URL), 200);
    CHECK_EQ(ask_on(l, ask_for(URL)), 200);
    CHECK_EQ(up.accepts, 3);
    CHECK_EQ(up.open, 3);
    aw_client_free(a);
    pass(l, 1);
    CHECK_EQ(up.open, 2);
    CHECK_EQ(get_with(b, URL), 200);
    CHECK_EQ(ask_on(l, ask_for(URL)), 200);
    CHECK_EQ(up.accepts, 3);
    aw_client_free(b);
    aw_client_free(NULL);
    pass(l, 11000);
    check_loop_empty(l);
    aw_loop_free(l);
}

ASYNC(holder, (aw_client *c;), aw_response *reply; char byte;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .client = self->c,
              .stream = true);
        aw_client_free(self->c);
        AWAIT(aw_response_read, self->reply, &self->byte, 1);
        CHECK_EQ(self->byte, 'h');
        aw_response_free(self->reply);
        CHECK(!AW_LOOP()->client || AW_LOOP()->client->own);
    }
}

TEST(a_client_ends_with_its_last_fetch)
{
    aw_loop *l = slow_loop(50);
    aw_client *c = limited(l, 1, 1);
    aw_task last;
    SPAWN_ON(l, one, c, URL, 'a', 0);
    last = SPAWN_ON(l, one, c, URL, 'b', 0);
    pass(l, 10);
    aw_client_free(c);
    CHECK_EQ(run_until_ended(last), 200);
    CHECK_STR(order, "ab");
    CHECK(l->client == NULL);
    pass(l, 1);
    CHECK_EQ(up.open, 0);
    run_until_ended(SPAWN_ON(l, holder, limited(l, 1, 1)));
    CHECK(l->client == NULL);
    pass(l, 100);
    check_loop_empty(l);
    aw_loop_free(l);
    /* Never given back, with a fetch under way and one that waits. */
    l = slow_loop(50);
    c = limited(l, 1, 1);
    SPAWN_ON(l, one, c, URL, 'a', 0);
    SPAWN_ON(l, one, c, URL, 'b', 0);
    pass(l, 10);
    aw_loop_free(l);
    CHECK_STR(order, "~a~b");
}

/* ---- whatever happens ---- */

/* Nobody waits who need not, and nothing is counted twice. */
static void check_pool(const aw_client *c)
{
    const aw__link *i, *w;
    uint64_t ticket;
    int open = 0, waiting = 0;
    for (i = c->origins.next; i != &c->origins; i = i->next) {
        const aw__origin *o = (const aw__origin *)i;
        open += o->open;
        CHECK(o->open <= c->config.max_per_origin);
        for (w = o->waiting.next, ticket = 0; w != &o->waiting; w = w->next) {
            CHECK(((const aw__pool_wait *)w)->ticket >= ticket);
            ticket = ((const aw__pool_wait *)w)->ticket;
            waiting++;
        }
        if (!aw__list_empty(&o->waiting))
            CHECK(o->open == c->config.max_per_origin ||
                  (c->open == c->config.max_connections && !c->idle_count));
    }
    CHECK_EQ(c->open, open);
    CHECK_EQ(c->waiting, waiting);
    CHECK(c->open <= c->config.max_connections);
    CHECK(c->idle_count <= c->open);
}

static const char *pick_any(void)
{
    static const char *const any[] = {
        HELLO, OK "Connection: close\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 302 Go\r\nLocation: " LOCAL "\r\nContent-Length: 0\r\n\r\n",
        CHUNKED "1\r\nx\r\n0\r\n\r\n", "nonsense\r\n\r\n"};
    up.delay_ms = up.requests % 7;
    up.hang_up_at = up.requests % 11 ? 0 : up.requests + 1;
    return any[up.requests % 5];
}

ASYNC(anybody, (aw_client *c; uint32_t dice;), aw_response *reply; char byte;
      int rc;)
{
    static const char *const urls[] = {URL, LOCAL, "http://third:8000/",
                                       "http://127.0.0.1:1/"};
    BEGIN {
        AWAIT_FOR_TO(self->dice % 3 ? AW_FOREVER : self->dice % 40, self->rc,
                     aw_fetch, .out = &self->reply,
                     .url = urls[self->dice % 16 % 4], .client = self->c,
                     .stream = self->dice >> 8 & 1, .max_redirects = 2);
        if (self->rc >= 0 && (self->dice & 512))
            AWAIT(aw_response_read, self->reply, &self->byte, 1);
        AWAIT(aw_sleep_ms, self->dice >> 9 & 3);
    }
}

TEST(the_pool_whatever_happens)
{
    uint32_t dice = 1;
    int round, i;
    for (round = 0; round < (int)test_rounds(300); round++) {
        aw_loop *l = slow_loop(0);
        aw_client *c = limited(l, 1 + round % 5, 1 + round % 3);
        aw_task tasks[40];
        NOTE("round %d", round);
        up.pick = pick_any;
        c->config.idle_ms = round % 4 ? 3 : 1000;
        if (round % 2) aw__chaos_on(l, (uint64_t)round);
        for (i = 0; i < 40; i++) {
            dice = dice * 1664525 + 1013904223;
            tasks[i] = SPAWN_ON(l, anybody, c, dice >> 8);
            if (dice >> 31) (void)aw_loop_step(l, 0);
            if (dice >> 29 == 3) aw_cancel(tasks[dice % (uint32_t)(i + 1)]);
            check_pool(c);
        }
        for (i = 0; i < 40; i++)
            while (!aw_ended(tasks[i])) {
                (void)aw_loop_step(l, AW_FOREVER);
                check_pool(c);
            }
        check_idle(c);
        CHECK(aw_now_ms(l) < 2000);
        aw_client_free(c);
        pass(l, 100);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

/* ---- 5,000 at once ---- */

enum { CROWD = 5000 };
static int crowd_next, crowd_late, crowd_wrong;

ASYNC(in_crowd, (aw_client *c; int i; int64_t ms;), aw_response *reply; int rc;
      int64_t start;)
{
    BEGIN {
        self->start = aw_now_ms(AW_LOOP());
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = URL,
                 .client = self->c, .timeout_ms = self->ms);
        if (self->rc >= 0 && self->i != crowd_next++) crowd_wrong++;
        if (self->rc == AW_ETIMEDOUT) {
            self->start += self->ms;
            crowd_late++;
            if (aw_now_ms(AW_LOOP()) - self->start > 50) crowd_wrong++;
        }
        aw_response_free(self->reply);
    }
}

ASYNC(crowd, (aw_client *c; int64_t ms;), int i;)
{
    BEGIN {
        for (self->i = 0; self->i < CROWD; self->i++)
            START(in_crowd, self->c, self->i, self->ms);
        GATHER();
    }
}

TEST(five_thousand_at_once)
{
    aw_loop *l = slow_loop(10);
    aw_client *c = limited(l, 0, 10);
    int64_t start = aw_now_ms(l);
    crowd_next = crowd_late = crowd_wrong = 0;
    run_until_ended(SPAWN_ON(l, crowd, c, AW_FOREVER));
    CHECK_EQ(crowd_next, CROWD);
    CHECK_EQ(crowd_wrong, 0);
    CHECK_EQ(up.most, 10);
    CHECK_EQ(up.accepts, 10);
    CHECK_EQ(aw_now_ms(l) - start, CROWD / 10 * 10);
    /* As many as are served in a second; the others are out of time. */
    crowd_next = 0;
    run_until_ended(SPAWN_ON(l, crowd, c, 1005));
    CHECK_EQ(crowd_next, 1000);
    CHECK_EQ(crowd_late, CROWD - 1000);
    CHECK_EQ(crowd_wrong, 0);
    check_idle(c);
    aw_loop_free(l);
}

/* ---- time ---- */

ASYNC(hurried, (aw_client *c; int64_t ms; int64_t timeout_ms;),
      aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_fetch, .out = &self->reply,
                     .url = URL, .client = self->c,
                     .timeout_ms = self->timeout_ms);
        CHECK(self->reply == NULL);
        RETURN(self->rc);
    }
}

TEST(time_spent_waiting_counts)
{
    static const struct {
        int64_t ms, timeout_ms;
        int rc;
        int64_t took;
    } rows[] = {{AW_FOREVER, 0, AW_ETIMEDOUT, 700},     /* the client's */
                {AW_FOREVER, 300, AW_ETIMEDOUT, 300},
                {200, 300, AW_EDEADLINE, 200}};
    size_t i;
    for (i = 0; i < 3; i++) {
        aw_loop *l = slow_loop(AW_SECONDS(3600));
        aw_client_config config = no_config();
        aw_client *c;
        int64_t start;
        NOTE("row %d", (int)i);
        config.timeout_ms = 700;
        config.max_connections = 1;
        config.connect_timeout_ms = 100;    /* is not for the waiting */
        c = client_with(l, config);
        SPAWN_ON(l, one, c, URL, 'a', AW_SECONDS(10));
        pass(l, 1);
        start = aw_now_ms(l);
        CHECK_EQ(run_until_ended(SPAWN_ON(l, hurried, c, rows[i].ms,
                                          rows[i].timeout_ms)), rows[i].rc);
        CHECK_EQ(aw_now_ms(l) - start, rows[i].took);
        CHECK_EQ(c->waiting, 0);
        aw_loop_free(l);
    }
}

/* ---- redirects ---- */

/* RFC 3986 5.4.1, 5.4.2 (strict); behind them our own. */
static const struct join {
    const char *ref, *want, *base;      /* base NULL: that of 5.4 */
} joins[] = {
    {"g:h", "g:h", NULL}, {"g", "http://a/b/c/g", NULL},
    {"./g", "http://a/b/c/g", NULL}, {"g/", "http://a/b/c/g/", NULL},
    {"/g", "http://a/g", NULL}, {"//g", "http://g", NULL},
    {"?y", "http://a/b/c/d;p?y", NULL}, {"g?y", "http://a/b/c/g?y", NULL},
    {"#s", "http://a/b/c/d;p?q#s", NULL}, {"g#s", "http://a/b/c/g#s", NULL},
    {"g?y#s", "http://a/b/c/g?y#s", NULL}, {";x", "http://a/b/c/;x", NULL},
    {"g;x", "http://a/b/c/g;x", NULL},
    {"g;x?y#s", "http://a/b/c/g;x?y#s", NULL},
    {"", "http://a/b/c/d;p?q", NULL}, {".", "http://a/b/c/", NULL},
    {"./", "http://a/b/c/", NULL}, {"..", "http://a/b/", NULL},
    {"../", "http://a/b/", NULL}, {"../g", "http://a/b/g", NULL},
    {"../..", "http://a/", NULL}, {"../../", "http://a/", NULL},
    {"../../g", "http://a/g", NULL},
    {"../../../g", "http://a/g", NULL}, {"../../../../g", "http://a/g", NULL},
    {"/./g", "http://a/g", NULL}, {"/../g", "http://a/g", NULL},
    {"g.", "http://a/b/c/g.", NULL}, {".g", "http://a/b/c/.g", NULL},
    {"g..", "http://a/b/c/g..", NULL}, {"..g", "http://a/b/c/..g", NULL},
    {"./../g", "http://a/b/g", NULL}, {"./g/.", "http://a/b/c/g/", NULL},
    {"g/./h", "http://a/b/c/g/h", NULL}, {"g/../h", "http://a/b/c/h", NULL},
    {"g;x=1/./y", "http://a/b/c/g;x=1/y", NULL},
    {"g;x=1/../y", "http://a/b/c/y", NULL},
    {"g?y/./x", "http://a/b/c/g?y/./x", NULL},
    {"g?y/../x", "http://a/b/c/g?y/../x", NULL},
    {"g#s/./x", "http://a/b/c/g#s/./x", NULL},
    {"g#s/../x", "http://a/b/c/g#s/../x", NULL},
    {"http:g", "http:g", NULL},
    /* 5.2.3: a base without a path */
    {"g", "http://a/g", "http://a"}, {"?y", "http://a?y", "http://a"},
    {"../g", "http://a/g", "http://a"}, {"#s", "http://a#s", "http://a#t"},
    {"", "http://a?q", "http://a?q#t"}, {"g", "http://a/g", "http://a?q/r"},
    {"//b:1/c/../d", "https://b:1/d", "https://a/e?f"},
    {"HTTP://B/../c", "HTTP://B/c", NULL}, {"/", "http://u@a:1/",
     "http://u@a:1/b"}, {"/..", "http://a/", NULL},
    {"//", "http://", NULL}, {"/a//../b", "http://a/a/b", NULL},
    /* bytes that a URL may not have */
    {"/a b", "http://a/a%20b", NULL}, {"/\xc3\xa4", "http://a/%C3%A4", NULL},
    {"/\"<>`{}\\", "http://a/%22%3C%3E%60%7B%7D%5C", NULL},
    {"/%20%zz[]^|", "http://a/%20%zz[]^|", NULL},
    {"/\x01\x7f", "http://a/%01%7F", NULL}
};

TEST(references)
{
    aw__mem mem;
    aw__arena arena;
    size_t i;
    memset(&mem, 0, sizeof mem);
    memset(&arena, 0, sizeof arena);
    arena.mem = &mem;
    for (i = 0; i < sizeof joins / sizeof *joins; i++) {
        const char *base = joins[i].base ? joins[i].base : "http://a/b/c/d;p?q";
        char *exact = (char *)malloc(strlen(joins[i].ref) + 1);
        char *exact_base = (char *)malloc(strlen(base) + 1);
        strcpy(exact, joins[i].ref);
        strcpy(exact_base, base);
        NOTE("row %d", (int)i);
        CHECK_STR(aw__url_join(&arena, exact_base, exact), joins[i].want);
        free(exact);
        free(exact_base);
    }
    aw__arena_free(&arena);
}

/* The answer to a path with a number in it is that status, with a Location
   that is the query; to another it is `hello`. */
static const char *pick_redirect(void)
{
    static char text[1000];
    const bool head = strncmp(up.got, "HEAD", 4) == 0;
    const char *path = strchr(up.got, '/'), *end = strchr(path, ' ');
    const char *query = (const char *)memchr(path, '?', (size_t)(end - path));
    const int status = atoi(path + 1);
    if (status < 300) return head ? OK "Content-Length: 5\r\n\r\n" : HELLO;
    snprintf(text, sizeof text, "HTTP/1.1 %d Go\r\nLocation: %.*s\r\n"
             "Content-Length: 5\r\n\r\n%s", status, (int)(end - query) - 1,
             query + 1, head ? "" : "there");
    return text;
}

static aw_loop *redirect_loop(void)
{
    aw_loop *l = slow_loop(0);
    up.pick = pick_redirect;
    SPAWN_ON(l, upstream, PORT2);
    pass(l, 1);
    return l;
}

/* What stands behind a name, in any case, in the last request's head; NULL:
   nothing. A field that comes twice is "twice". */
static const char *field_of(const char *name)
{
    static char value[400];
    const char *p = strstr(up.got, "\r\n"), *found = NULL;
    const size_t n = strlen(name);
    for (; p && p[2] != '\r'; p = strstr(p + 2, "\r\n")) {
        if (!aw__slice_ieq(aw__slice(p + 2, n), name) || p[2 + n] != ':')
            continue;
        if (found) return "twice";
        found = p + 2 + n + 2;
    }
    if (!found) return NULL;
    snprintf(value, sizeof value, "%.*s", (int)strcspn(found, "\r"), found);
    return value;
}

TEST(statuses_and_methods)
{
    static const struct {
        int status;
        const char *method, *then;      /* NULL: with the body again */
    } rows[] = {
        {301, "GET", "GET"}, {302, "GET", "GET"}, {303, "GET", "GET"},
        {307, "GET", "GET"}, {308, "GET", "GET"},
        {301, "HEAD", "HEAD"}, {302, "HEAD", "HEAD"}, {303, "HEAD", "HEAD"},
        {307, "HEAD", "HEAD"}, {308, "HEAD", "HEAD"},
        {301, "POST", "GET"}, {302, "POST", "GET"}, {303, "POST", "GET"},
        {307, "POST", NULL}, {308, "POST", NULL},
        {301, "PUT", NULL}, {302, "PUT", NULL}, {303, "PUT", "GET"},
        {307, "PUT", NULL}, {308, "PUT", NULL}, {303, "DELETE", "GET"},
        /* not for us to follow */
        {300, "GET", ""}, {304, "GET", ""}, {305, "GET", ""}, {306, "GET", ""}};
    static const aw_header_field own[] = {
        {"Content-Language", "en"}, {"Host", "own"}, {"X-A", "b"},
        {NULL, NULL}};
    size_t i;
    int big;
    letters();
    for (i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        aw_loop *l = redirect_loop();
        const char *method = rows[i / 2].method, *then = rows[i / 2].then;
        char url[100], want[100];
        ask a = ask_for(url);
        big = i % 2;
        NOTE("%d %s %s", rows[i / 2].status, method, big ? "big" : "");
        snprintf(url, sizeof url, URL "%d?/to", rows[i / 2].status);
        a.method = method;
        a.max_redirects = 1;
        a.headers = own;
        if (method[0] == 'P') {
            a.body = upload;
            a.body_len = big ? sizeof upload : 5;
            a.content_type = "text/x";
        }
        CHECK_EQ(ask_on(l, a), then && !*then ? rows[i / 2].status : 200);
        if (then && !*then) {
            CHECK_EQ(up.requests, 1);
        } else {
            snprintf(want, sizeof want, "%s /%d?/to|%s /to", method,
                     rows[i / 2].status, then ? then : method);
            CHECK_STR(up.seen, want);
            CHECK_STR(gained.url, URL "to");
            CHECK_STR(gained.body, strcmp(method, "HEAD") ? "hello" : "");
            CHECK_STR(field_of("Host"), "own");
            CHECK_STR(field_of("X-A"), "b");
            CHECK_STR(field_of("Content-Language"),
                      then && (method[0] == 'P' || rows[i / 2].status == 303)
                      && strcmp(then, "GET") == 0 ? NULL : "en");
            CHECK_STR(field_of("Content-Type"), then ? NULL : "text/x");
            CHECK_EQ(up.body, then ? 0 : a.body_len);
            if (!then) CHECK_EQ(up.text[0], 'a');
            CHECK_EQ(up.accepts, 1);
        }
        aw_loop_free(l);
    }
}

TEST(where_redirects_lead)
{
    static const struct {
        const char *url;
        int max, rc;
        const char *seen, *at;          /* NULL: where it began */
    } rows[] = {
        {URL "301?to", 9, 200, "/301?to|/to", URL "to"},
        {URL "d/e", 9, 200, "/d/e", NULL},
        {URL "302?../x?y#z", 9, 200, NULL, URL "x?y#z"},
        {URL "302?/303?/x#z", 9, 200, "/302?/303?/x|/303?/x|/x", URL "x#z"},
        {URL "301?//%23#a", 9, 301, "/301?//%23", NULL},
        {URL "302?//127.0.0.1:8100/x", 9, 200, NULL, URL2 "x"},
        {URL "302?" LOCAL "x", 9, 200, NULL, LOCAL "x"},
        {URL "301?/302?/303?/x", 9, 200,
         "/301?/302?/303?/x|/302?/303?/x|/303?/x|/x", URL "x"},
        /* the limit: the redirect is the reply */
        {URL "301?/302?/303?/x", 2, 303, NULL, URL "303?/x"},
        {URL "301?/302?/303?/x", 3, 200, NULL, URL "x"},
        {URL "301?/x", AW_OFF, 301, "/301?/x", NULL},
        {URL "301?/x", 0, 301, "/301?/x", NULL},
        {URL "307?", 5, 307, "/307?|/307?|/307?|/307?|/307?|/307?", NULL},
        {URL "301?http://a:x/", 9, 301, "/301?http://a:x/", NULL},
        {URL "301?ftp://a/", 9, 301, "/301?ftp://a/", NULL},
        {URL "301?ws://a/", 9, 301, "/301?ws://a/", NULL},
        {URL "301?/%zz", 9, 200, "/301?/%zz|/%zz", URL "%zz"},
        {URL "301?https://h/", 9, AW_ENOTLS, "/301?https://h/", ""},
        {URL "301?http://x.invalid/", 9, AW_EDNS, NULL, ""},
        {URL "301?http://127.0.0.1:1/", 9, AW_ECONNREFUSED, NULL, ""}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = redirect_loop();
        char seen[400];
        const char *p;
        size_t n = 0;
        ask a = ask_for(rows[i].url);
        NOTE("row %d", (int)i);
        a.max_redirects = rows[i].max;
        CHECK_EQ(ask_on(l, a), rows[i].rc);
        CHECK_STR(gained.url, rows[i].at ? rows[i].at : rows[i].url);
        for (p = up.seen; *p; p++)
            if (strncmp(p, "GET ", 4) == 0) p += 3;
            else seen[n++] = *p;
        seen[n] = 0;
        if (rows[i].seen) CHECK_STR(seen, rows[i].seen);
        if (rows[i].rc >= 300) CHECK_STR(gained.body, "there");
        aw_loop_free(l);
    }
}

TEST(bare_redirects_are_replies)
{
    static const char *const texts[] = {
        "HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not\r\nLocation: /x\r\n\r\n"};
    size_t i;
    for (i = 0; i < 2; i++) {
        ask a = ask_for(URL);
        a.max_redirects = 5;
        answer_with(texts[i]);
        CHECK_EQ(ask_once(a), i ? 304 : 302);
        CHECK_EQ(up.requests, 1);
    }
}

/* Spaces and other bytes that servers should not write, but do. */
TEST(locations_are_mended)
{
    aw_loop *l = slow_loop(0);
    ask a = ask_for(URL);
    up.answers[0] = "HTTP/1.1 302 Go\r\nLocation: /a b\xc3\xa4\"?c d\r\n"
        "Content-Length: 0\r\n\r\n";
    up.answers[1] = HELLO;
    a.max_redirects = 5;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.seen, "GET /|GET /a%20b%C3%A4%22?c%20d");
    aw_loop_free(l);
}

/* Nothing of the first answer is in the second. */
TEST(chunks_behind_chunks)
{
    int i;
    for (i = 0; i < 4; i++) {
        aw_loop *l = slow_loop(0);
        ask a = ask_for(URL);
        NOTE("%d", i);
        up.answers[0] = "HTTP/1.1 302 Go\r\nLocation: /x\r\nX-A: b\r\n"
            "Transfer-Encoding: chunked\r\n\r\n5\r\nthere\r\n0\r\n\r\n";
        up.answers[1] = OK "Transfer-Encoding: chunked\r\n\r\n"
            "5\r\nhello\r\n0\r\n\r\n";
        up.split = i & 2 ? SIZE_MAX : 0;
        a.max_redirects = 1;
        a.stream = i & 1;
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(gained.body, "hello");
        CHECK_STR(gained.where, "");
        CHECK_EQ(up.accepts, 1 + (i & 1));
        aw_loop_free(l);
    }
}

TEST(secrets_stay_with_their_origin)
{
    static const aw_header_field own[] = {
        {"cookie", "a=b"}, {"X-A", "b"}, {"Proxy-Authorization", "x"},
        {"hOST", "own"}, {NULL, NULL}};
    static const struct { const char *url; bool kept; } rows[] = {
        {"http://u:p@127.0.0.1:8000/302?/x", true},
        {"http://u:p@127.0.0.1:8000/302?" URL "x", true},
        {"http://u:p@127.0.0.1:8000/302?" URL2 "x", false},
        {"http://u:p@127.0.0.1:8000/302?" LOCAL "x", false},
        {"http://u:p@localhost:8000/302?http://LOCALHOST:8000/x", true},
        {"http://u:p@localhost:8000/302?http://localhosT.:8000/x", false},
        /* away and back: gone is gone */
        {"http://u:p@127.0.0.1:8000/302?" URL2 "302?" URL "x", false}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = redirect_loop();
        ask a = ask_for(rows[i].url);
        NOTE("row %d", (int)i);
        a.headers = own;
        a.max_redirects = 5;
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(field_of("Authorization"), rows[i].kept ? "Basic dTpw"
                                                          : NULL);
        CHECK_STR(field_of("cookie"), rows[i].kept ? "a=b" : NULL);
        CHECK_EQ(strcmp(field_of("Host"), "own") == 0, rows[i].kept);
        CHECK_STR(field_of("X-A"), "b");
        CHECK_STR(field_of("Proxy-Authorization"), NULL);
        CHECK_STR(field_of("Accept"), "*/*");
        aw_loop_free(l);
    }
}

TEST(redirects_with_the_client_streams_and_sends)
{
    aw_loop *l = redirect_loop();
    aw_client_config config = no_config();
    aw_client *c;
    ask a = ask_for(URL "301?/302?/x");
    int64_t start;
    config.max_redirects = 1;
    c = client_with(l, config);
    CHECK_EQ(get_with(c, URL "301?/302?/x"), 302);
    a.client = c;
    a.max_redirects = AW_OFF;
    CHECK_EQ(ask_on(l, a), 301);
    a.max_redirects = 2;
    a.stream = true;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(gained.body, "hello");
    CHECK_STR(gained.url, URL "x");
    check_idle(c);
    /* All hops have one deadline. */
    a = ask_for(URL "301?/302?/303?/307?/x");
    a.max_redirects = 9;
    a.timeout_ms = 250;
    up.delay_ms = 100;
    start = aw_now_ms(l);
    CHECK_EQ(ask_on(l, a), AW_ETIMEDOUT);
    CHECK_EQ(aw_now_ms(l) - start, 250);
    CHECK(strstr(up.seen, "|GET /303?/307?/x") != NULL);
    aw_loop_free(l);
}

TEST(redirects_of_mocks)
{
    static const aw_header_field to[] = {{"Location", "https://b/x"},
                                         {NULL, NULL}};
    static const aw_header_field down[] = {{"Location", "http://b/x"},
                                           {NULL, NULL}};
    static const aw_header_field back[] = {{"location", "../there"},
                                           {NULL, NULL}};
    static const aw_mock mocks[] = {
        {.url = "http://a/", .status = 308, .headers = to, .method = "PUT"},
        {.url = "https://b/x", .status = 303, .headers = back},
        {.url = "https://b/there", .body = "there", .method = "GET"},
        {.url = "https://b/down", .status = 302, .headers = down},
        {.url = NULL}};
    aw_loop *l = slow_loop(0);
    ask a = ask_for("http://a/");
    aw_loop_mock(l, mocks);
    a.max_redirects = 5;
    a.method = "PUT";
    a.body = "x";
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(gained.body, "there");
    CHECK_STR(gained.url, "https://b/there");
    a.stream = true;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(gained.body, "there");
    a = ask_for("https://b/down");
    a.max_redirects = 5;
    CHECK_EQ(ask_on(l, a), 302);
    CHECK(strstr(log_text, "https to http is not followed") != NULL);
    aw_loop_free(l);
}

/* ---- bodies that come in pieces ---- */

static const struct piecewise {
    const char *text, *method;
    bool close;                 /* it ends with the connection */
    const char *body;
    bool kept;
    int status;
} piecewise[] = {
    {HELLO, NULL, false, "hello", true, 200},
    {OK "Content-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz", NULL, false,
     "abcdefghijklmnopqrstuvwxyz", true, 200},
    {CHUNKED "5\r\nhello\r\n1;a=\"b\"\r\n!\r\n0\r\nX-T: 1\r\n\r\n", NULL, false,
     "hello!", true, 200},
    {CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", NULL, false, "abc",
     true, 200},
    {CHUNKED "0\r\n\r\n", NULL, false, "", true, 200},
    {OK "\r\nto the end", NULL, true, "to the end", false, 200},
    {OK "\r\n", NULL, true, "", false, 200},
    {OK "Content-Length: 0\r\n\r\n", NULL, false, "", true, 200},
    {OK "Content-Length: 5\r\n\r\n", "HEAD", false, "", true, 200},
    {"HTTP/1.1 204 No\r\n\r\n", NULL, false, "", true, 204},
    {"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", NULL, false, "", true,
     304},
    {OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello", NULL, false,
     "hello", false, 200},
    /* bytes behind the answer belong to nothing */
    {HELLO "HTTP/1.1 666 ", NULL, false, "hello", false, 200},
    {CHUNKED "1\r\na\r\n0\r\n\r\nmore", NULL, false, "a", false, 200},
    {"HTTP/1.1 103 Hints\r\n\r\n" HELLO, NULL, false, "hello", true, 200}};

static int stream_on(aw_loop *l, const char *method, size_t piece)
{
    ask a = ask_for(URL);
    a.method = method;
    a.stream = true;
    a.timeout_ms = 1000;
    return run_until_ended(SPAWN_ON(l, go, &a, piece));
}

static void check_stream(const struct piecewise *p, const char *text,
                         size_t split, size_t piece)
{
    aw_loop *l;
    NOTE("row %d split at %d, read by %d", (int)(p - piecewise), (int)split,
         (int)piece);
    answer_with(text);
    up.split = split;
    up.close = p->close;
    l = client_loop();
    CHECK_EQ(stream_on(l, p->method, piece), p->status);
    CHECK_STR(gained.body, p->body);
    CHECK_EQ(gained.n, strlen(p->body));
    pass(l, 1000);
    CHECK_EQ(stream_on(l, p->method, piece), p->status);
    CHECK_STR(gained.body, p->body);
    CHECK_EQ(up.accepts, p->kept ? 1 : 2);
    aw_loop_free(l);
}

TEST(pieces_of_any_size_however_they_come)
{
    size_t i, split, piece;
    for (i = 0; i < sizeof piecewise / sizeof *piecewise; i++) {
        const struct piecewise *p = &piecewise[i];
        const size_t n = strlen(p->text);
        char *exact = (char *)malloc(n + 1);
        strcpy(exact, p->text);
        for (piece = 1; piece <= 27; piece += piece < 8 ? 1 : 19) {
            check_stream(p, exact, 0, piece);
            check_stream(p, exact, SIZE_MAX, piece);
        }
        for (split = 1; split < n; split++) {
            check_stream(p, exact, split, 3);
            check_stream(p, exact, split, 4096);
        }
        free(exact);
    }
}

/* Whatever is missing at the end, it is not taken for the whole. */
TEST(pieces_cut_off_at_every_byte)
{
    size_t i, cut;
    for (i = 0; i < 5; i++) {
        const struct piecewise *p = &piecewise[i];
        const size_t n = strlen(p->text);
        for (cut = 1; cut < n; cut++) {
            const bool head = strstr(p->text, "\r\n\r\n") + 4 > p->text + cut;
            aw_loop *l;
            NOTE("row %d cut at %d", (int)i, (int)cut);
            answer_with(p->text);
            up.sizes[0] = cut;
            up.close = true;
            l = client_loop();
            CHECK_EQ(stream_on(l, NULL, cut % 7 + 1), AW_EEOF);
            CHECK_EQ(head, gained.url[0] == 0);
            CHECK_EQ(strncmp(gained.body, p->body, gained.n), 0);
            CHECK_EQ(l->client->idle_count, 0);
            aw_loop_free(l);
        }
    }
}

TEST(broken_chunks_stay_broken)
{
    static const char *const bodies[] = {
        "5\r\nhelloo\r\n0\r\n\r\n", "5\r\nhello\r\nx", "-1\r\n",
        "5\r\nhello\r\n0\r\na b: c\r\n\r\n"};
    char text[200];
    size_t i, piece;
    for (i = 0; i < 4; i++) {
        for (piece = 1; piece < 9; piece++) {
            aw_loop *l;
            snprintf(text, sizeof text, CHUNKED "%s", bodies[i]);
            answer_with(text);
            NOTE("%d read by %d", (int)i, (int)piece);
            l = client_loop();
            CHECK_EQ(stream_on(l, NULL, piece), AW_EBADMSG);
            CHECK_STR(gained.body, i == 2 ? "" : "hello");
            CHECK_EQ(gained.ms, 0);
            aw_loop_free(l);
        }
    }
}

TEST(each_read_has_its_time)
{
    aw_loop *l;
    answer_with(OK "Content-Length: 40\r\n\r\nabc");
    l = client_loop();
    pass(l, 1);
    CHECK_EQ(stream_on(l, NULL, 10), AW_ETIMEDOUT);
    CHECK_EQ(gained.ms, 1000);
    CHECK_STR(gained.body, "abc");
    aw_loop_free(l);
    /* A slow one that goes on is not late, however long it takes. */
    answer_with(OK "Content-Length: 3000\r\n\r\n");
    memset(upload, 'x', sizeof upload);
    memcpy(upload, up.answers[0], strlen(up.answers[0]));
    up.answers[0] = upload;
    up.sizes[0] = strlen(OK "Content-Length: 3000\r\n\r\n") + 3000;
    up.split = SIZE_MAX;
    l = client_loop();
    CHECK_EQ(stream_on(l, NULL, 10), 200);
    CHECK_EQ(gained.n, 3000);
    CHECK(gained.ms > 2900);
    aw_loop_free(l);
}

/* A reader that is interrupted goes on where it was. */
ASYNC(interrupted, (const char *want;), aw_response *reply; char bytes[40];
      int rc, late; size_t n;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        while (self->n < sizeof self->bytes) {
            AWAIT_FOR_TO(0, self->rc, aw_response_read, self->reply,
                         self->bytes + self->n, 2);
            if (self->rc == AW_EDEADLINE) {
                self->late++;
                AWAIT(aw_sleep_ms, 1);
                continue;
            }
            if (self->rc <= 0) break;
            self->n += (size_t)self->rc;
        }
        CHECK_EQ(self->rc, 0);
        CHECK(self->late >= (int)self->n);
        CHECK_EQ(self->n, strlen(self->want));
        CHECK_EQ(memcmp(self->bytes, self->want, self->n), 0);
    }
}

TEST(a_cancelled_read_consumes_nothing)
{
    size_t i;
    for (i = 0; i < 4; i++) {
        int seed;
        for (seed = 0; seed < 5; seed++) {
            aw_loop *l;
            NOTE("row %d, seed %d", (int)i, seed);
            answer_with(piecewise[i].text);
            up.split = SIZE_MAX;
            l = client_loop();
            if (seed) aw__chaos_on(l, (uint64_t)seed);
            run_until_ended(SPAWN_ON(l, interrupted, piecewise[i].body));
            aw_loop_free(l);
        }
    }
}

/* What it does with a reply of which it has read the first byte. */
ASYNC(early_leaver, (int how;), aw_response *reply; char byte; int rc;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        AWAIT(aw_response_read, self->reply, &self->byte, 1);
        CHECK_EQ(self->byte, 'h');
        AWAIT_TO(self->rc, aw_response_read, self->reply, &self->byte, 0);
        CHECK_EQ(self->rc, AW_EINVAL);
        AWAIT_TO(self->rc, aw_response_read, NULL, &self->byte, 1);
        CHECK_EQ(self->rc, AW_ECLOSED);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, "x", 1);
        CHECK_EQ(self->rc, AW_EINVAL);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, AW_EINVAL);
        if (self->how == 1) aw_response_free(self->reply);
        if (self->how == 2) AWAIT(aw_get, &self->reply, URL);
        if (self->how == 2)
            AWAIT_TO(self->rc, aw_response_read, self->reply, &self->byte, 1);
        if (self->how == 2) CHECK_EQ(self->rc, AW_ECLOSED);
    }
}

TEST(leaving_before_the_end_closes)
{
    int how;
    for (how = 0; how < 3; how++) {     /* the task's end; free; another */
        aw_loop *l = slow_loop(0);
        NOTE("%d", how);
        run_until_ended(SPAWN_ON(l, early_leaver, how));
        pass(l, 1);
        CHECK_EQ(up.accepts, how == 2 ? 2 : 1);
        CHECK_EQ(l->client->idle_count, how == 2);
        CHECK_EQ(up.open, how == 2);
        pass(l, 11000);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

/* All bytes of a known length were read: its connection waits for nobody. */
ASYNC(exact_reader, (), aw_response *reply; char bytes[5];)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        AWAIT(aw_response_read, self->reply, self->bytes, 5);
        CHECK_EQ(AW_LOOP()->client->idle_count, 1);
        aw_response_free(self->reply);
        CHECK_EQ(AW_LOOP()->client->idle_count, 1);
    }
}

TEST(the_last_byte_gives_the_connection_back)
{
    aw_loop *l = slow_loop(0);
    run_until_ended(SPAWN_ON(l, exact_reader));
    aw_loop_free(l);
}

/* Two at one reply; and one whose reply is taken away. */
ASYNC(second_reader, (aw_response *reply; int want;), char byte; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_response_read, self->reply, &self->byte, 1);
        CHECK_EQ(self->rc, self->want);
    }
}

ASYNC(lucky_reader, (aw_response *reply;), char byte; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_response_read, self->reply, &self->byte, 1);
        CHECK(self->rc == 1 || self->rc == AW_ECLOSED);
    }
}

ASYNC(taken_away, (), aw_response *reply; aw_task reader; char byte; int rc;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        self->reader = SPAWN(second_reader, self->reply, AW_ECLOSED);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(self->rc, aw_response_read, self->reply, &self->byte, 1);
        CHECK_EQ(self->rc, AW_EBUSY);
        aw_response_free(self->reply);
        AWAIT(aw_join, self->reader);
    }
}

/* ... in the very turn in which its reader has gained something: what comes for
   two replies at once makes both tasks ready. */
ASYNC(taken_late, (), aw_response *reply, *other; aw_task reader; char byte;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->other, .url = URL, .stream = true);
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        self->reader = SPAWN(lucky_reader, self->reply);
        AWAIT(aw_response_read, self->other, &self->byte, 1);
        aw_response_free(self->reply);
        AWAIT(aw_join, self->reader);
    }
}

TEST(a_reply_that_is_taken_away_in_time)
{
    int i;
    for (i = 0; i < 60; i++) {
        aw_loop *l;
        NOTE("%d", i);
        answer_with(i % 3 == 0 ? HELLO : CHUNKED "5\r\nhello\r\n0\r\n\r\n");
        up.split = i % 3 == 2 ? strlen(CHUNKED) + 1 : strlen(CHUNKED);
        if (i % 3 == 0) up.split = strlen(HELLO) - 5;
        l = client_loop();
        if (i > 2) aw__chaos_on(l, (uint64_t)i);
        run_until_ended(SPAWN_ON(l, taken_late));
        pass(l, 100);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

TEST(a_reply_that_is_taken_away)
{
    int i;
    for (i = 0; i < 3; i++) {
        aw_loop *l;
        answer_with(i == 0 ? OK "Content-Length: 5\r\n\r\n"
                    : i == 1 ? CHUNKED "5\r\n" : OK "\r\n");
        l = client_loop();
        run_until_ended(SPAWN_ON(l, taken_away));
        pass(l, 100);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

/* 20 MB pass through as much memory as 20 bytes do. */
ASYNC(passes_by, (), aw_response *reply; char bytes[1000]; int rc;
      size_t n, live, most;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .stream = true);
        self->live = AW_LOOP()->mem.live;
        for (;;) {
            AWAIT_TO(self->rc, aw_response_read, self->reply, self->bytes,
                     sizeof self->bytes);
            if (self->rc <= 0) break;
            self->n += (size_t)self->rc;
            if (AW_LOOP()->mem.live > self->most)
                self->most = AW_LOOP()->mem.live;
        }
        CHECK_EQ(self->rc, 0);
        CHECK(self->n >= 20000000);
        CHECK(self->most < self->live + 300000);    /* a socket's, and ours */
        CHECK(AW_LOOP()->mem.live < self->live + 300000);
    }
}

TEST(large_bodies_in_flat_memory)
{
    const size_t n = 20000000;
    char *text = (char *)malloc(n + 100);
    int i;
    for (i = 0; i < 3; i++) {
        aw_loop *l;
        size_t at = (size_t)sprintf(text, i == 0 ? OK "Content-Length: %lu\r\n"
                                    "\r\n" : i == 1 ? CHUNKED "%lx\r\n"
                                    : OK "\r\n", (unsigned long)n);
        NOTE("%d", i);
        memset(text + at, 'x', n);
        if (i == 1) strcpy(text + at + n, "\r\n0\r\n\r\n");
        answer_with(text);
        up.sizes[0] = at + n + (i == 1 ? 7 : 0);
        up.close = i == 2;
        l = client_loop();
        run_until_ended(SPAWN_ON(l, passes_by));
        aw_loop_free(l);
    }
    free(text);
}

/* A server may say its status first and take the body then. */
TEST(a_streamed_answer_before_the_body)
{
    aw_loop *l = slow_loop(0);
    ask a = ask_for(URL);
    a.body = upload;
    a.body_len = sizeof upload;
    a.stream = true;
    up.early = true;
    up.lazy_ms = 100;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(gained.body, "hello");
    pass(l, 200);
    CHECK_EQ(up.body, sizeof upload);
    CHECK_EQ(l->client->idle_count, 1);
    /* One that refuses it gets no more of it. */
    up.answers[0] = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
    CHECK_EQ(ask_on(l, a), 413);
    CHECK_EQ(gained.ms, 0);
    CHECK_STR(gained.body, "no");
    CHECK_EQ(l->client->idle_count, 0);
    aw_loop_free(l);
}

TEST(streams_of_mocks)
{
    static const aw_mock mocks[] = {
        {.url = "http://a/", .body = "some text", .delay_ms = 5},
        {.url = "http://a/empty"}, {.url = NULL}};
    aw_loop *l = slow_loop(0);
    ask a = ask_for("http://a/");
    a.stream = true;
    aw_loop_mock(l, mocks);
    CHECK_EQ(run_until_ended(SPAWN_ON(l, go, &a, (size_t)4)), 200);
    CHECK_STR(gained.body, "some text");
    CHECK_EQ(gained.pieces, 3);
    a.url = "http://a/empty";
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_EQ(gained.pieces, 0);
    a.url = "http://a/none";
    CHECK_EQ(ask_on(l, a), AW_ECONNREFUSED);
    aw_loop_free(l);
}

/* ---- bodies that go in pieces ---- */

/* Sends pieces up to a NULL, then ends, and reads the answer. */
ASYNC(sender, (const ask *a; const char *const *pieces;), aw_response *reply;
      int i, rc; char bytes[100];)
{
    BEGIN {
        memset(&gained, 0, sizeof gained);
        AWAIT_TO(gained.rc, aw_fetch, .out = &self->reply, ASKED(self->a));
        if (gained.rc < 0) RETURN(gained.rc);
        CHECK_EQ(gained.rc, 0);
        AWAIT_TO(self->rc, aw_response_read, self->reply, self->bytes, 9);
        CHECK_EQ(self->rc, AW_ECLOSED);
        for (; self->pieces[self->i]; self->i++) {
            AWAIT_TO(self->rc, aw_fetch_send, self->reply,
                     self->pieces[self->i], strlen(self->pieces[self->i]));
            gained.pieces += self->rc == (int)strlen(self->pieces[self->i]);
        }
        AWAIT_TO(gained.rc, aw_fetch_end, self->reply);
        got_reply(self->reply);
        if (gained.rc >= 0) CHECK_EQ(self->reply->status, gained.rc);
        if (!self->a->stream)
            snprintf(gained.body, sizeof gained.body, "%s", self->reply->body);
        do {
            AWAIT_TO(self->rc, aw_response_read, self->reply, gained.body + gained.n,
                     100);
            if (self->rc > 0) gained.n += (size_t)self->rc;
        } while (self->rc > 0);
        CHECK_EQ(self->rc, gained.rc >= 0 && self->a->stream ? 0 : AW_ECLOSED);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, AW_EINVAL);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, "x", 1);
        CHECK_EQ(self->rc, AW_EINVAL);
    }
}

TEST(sent_in_pieces)
{
    static const struct {
        const char *method;
        size_t body_len;
        const char *pieces[6];
        int rc, sent;
        const char *wire, *frame;
    } rows[] = {
        {NULL, 0, {"abc", "", "defg", NULL}, 200, 3,
         "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
        {NULL, 0, {"0123456789abcdefg", NULL}, 200, 1,
         "11\r\n0123456789abcdefg\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
        {"PUT", 0, {NULL}, 200, 0, "0\r\n\r\n", "Transfer-Encoding: chunked"},
        {NULL, 7, {"abc", "defg", NULL}, 200, 2, "abcdefg",
         "Content-Length: 7"},
        {"DELETE", 7, {"abc", "defg", NULL}, 200, 2, "abcdefg",
         "Content-Length: 7"},
        /* too much: that piece is not sent, nor is the length wrong then */
        {NULL, 7, {"abc", "defgh", "defg", NULL}, 200, 2, "abcdefg",
         "Content-Length: 7"},
        {NULL, 7, {"abc", NULL}, AW_EINVAL, 1, NULL, "Content-Length: 7"},
        {NULL, 7, {NULL}, AW_EINVAL, 0, NULL, "Content-Length: 7"}};
    size_t i;
    for (i = 0; i < 4 * sizeof rows / sizeof *rows; i++) {
        const size_t row = i / 4;
        aw_loop *l = slow_loop(0);
        ask a = ask_for(URL);
        NOTE("row %d, %d", (int)row, (int)i % 4);
        a.method = rows[row].method;
        a.body_len = rows[row].body_len;
        a.send = true;
        a.stream = i % 2;
        if (i & 2) aw__chaos_on(l, i);
        run_until_ended(SPAWN_ON(l, sender, &a, rows[row].pieces));
        CHECK_EQ(gained.rc, rows[row].rc);
        CHECK_EQ(gained.pieces, rows[row].sent);
        pass(l, 100);
        if (rows[row].wire) {
            CHECK(strstr(up.got, rows[row].frame) != NULL);
            CHECK_EQ(strncmp(up.got, rows[row].method ? rows[row].method
                                                      : "POST", 3), 0);
            CHECK_STR(up.text, rows[row].wire);
            CHECK_STR(gained.body, "hello");
            CHECK_EQ(ask_on(l, ask_for(URL)), 200);
        }
        CHECK_EQ(l->client->idle_count, rows[row].wire != NULL);
        CHECK_EQ(up.accepts, 1);
        if (!rows[row].wire)
            CHECK(strstr(log_text, "less than body_len was sent") != NULL);
        aw_loop_free(l);
    }
}

/* Sends without end until it is told to stop. */
ASYNC(endless, (bool sized; int want;), aw_response *reply; int rc, n;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .send = true,
              .body_len = self->sized ? (size_t)1 << 40 : 0,
              .timeout_ms = 2000);
        do {
            AWAIT_TO(self->rc, aw_fetch_send, self->reply, upload, 10000);
            self->n++;
        } while (self->rc == 10000 && self->n < 10000);
        CHECK(self->rc == AW_ECLOSED || self->rc == AW_ECONNRESET);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, upload, 10000);
        CHECK_EQ(self->rc, AW_ECLOSED);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, self->want);
        if (self->rc >= 0) CHECK_STR(self->reply->body, "no");
    }
}

TEST(the_server_wants_no_more)
{
    int i;
    for (i = 0; i < 4; i++) {
        aw_loop *l = slow_loop(0);
        NOTE("%d", i);
        if (i & 1) {                    /* it says why, and closes */
            up.answers[0] =
                "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
            up.early = up.close = true;
        } else {
            up.hang_up_at = 1;
        }
        run_until_ended(SPAWN_ON(l, endless, i > 1, i & 1 ? 413 : AW_EEOF));
        CHECK_EQ(l->client->idle_count, 0);
        aw_loop_free(l);
    }
}

/* Half of a piece is on its way when its time is over. */
ASYNC(cut_short, (bool sized;), aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .send = true,
              .body_len = self->sized ? sizeof upload + 1 : 0);
        AWAIT_FOR_TO(10, self->rc, aw_fetch_send, self->reply, upload,
                     sizeof upload);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, "x", 1);
        CHECK_EQ(self->rc, AW_ECLOSED);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, 200);
        CHECK_STR(self->reply->body, "hello");
    }
}

/* An answer to half a request says nothing of what comes next on its
   connection. */
TEST(a_piece_cut_short)
{
    int i;
    for (i = 0; i < 2; i++) {
        aw_loop *l = slow_loop(0);
        up.early = true;
        up.lazy_ms = 500;
        run_until_ended(SPAWN_ON(l, cut_short, i == 1));
        CHECK_EQ(l->client->idle_count, 0);
        up.lazy_ms = 0;
        CHECK_EQ(ask_on(l, ask_for(URL)), 200);
        CHECK_EQ(up.accepts, 2);
        aw_loop_free(l);
    }
}

/* The end is waited for no longer; nothing of the head is a body then. */
ASYNC(impatient, (int64_t ms; int want;), aw_response *reply; int rc;
      char bytes[100];)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .send = true,
              .stream = true, .timeout_ms = 1000);
        AWAIT_FOR_TO(self->ms, self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, self->want);
        AWAIT_TO(self->rc, aw_response_read, self->reply, self->bytes, 100);
        CHECK_EQ(self->rc, AW_ECLOSED);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, AW_EINVAL);
    }
}

TEST(an_end_that_does_not_come)
{
    int i;
    for (i = 0; i < 2; i++) {
        aw_loop *l = slow_loop(0);
        answer_with(OK "Content-Le");   /* some of the head is there */
        run_until_ended(SPAWN_ON(l, impatient, i ? 50 : AW_FOREVER,
                                 i ? AW_EDEADLINE : AW_ETIMEDOUT));
        pass(l, 100);
        CHECK_EQ(up.open, 0);
        aw_loop_free(l);
    }
}

/* Two at one request; the other one takes it away in the middle. */
ASYNC(second_sender, (aw_response *reply; bool end;), int rc;)
{
    BEGIN {
        if (self->end) AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        else AWAIT_TO(self->rc, aw_fetch_send, self->reply, upload,
                      sizeof upload);
        CHECK_EQ(self->rc, AW_ECLOSED);
    }
}

ASYNC(two_senders, (int how;), aw_response *reply; aw_task other; int rc;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .send = true,
              .body_len = self->how & 1 ? sizeof upload : 0);
        if (self->how == 3)
            AWAIT(aw_fetch_send, self->reply, upload, sizeof upload / 2);
        if (self->how == 3)
            AWAIT(aw_fetch_send, self->reply, upload, sizeof upload / 2);
        self->other = SPAWN(second_sender, self->reply, self->how > 1);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, "x", 1);
        CHECK_EQ(self->rc, AW_EBUSY);
        AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        CHECK_EQ(self->rc, AW_EBUSY);
        aw_response_free(self->reply);
        AWAIT(aw_join, self->other);
    }
}

TEST(a_request_that_is_taken_away)
{
    int i;
    for (i = 0; i < 4; i++) {
        aw_loop *l = slow_loop(0);
        NOTE("%d", i);
        up.lazy_ms = i == 3 ? 0 : 500;
        up.delay_ms = 500;
        run_until_ended(SPAWN_ON(l, two_senders, i));
        pass(l, 2000);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

TEST(sending_to_mocks)
{
    static const char *const pieces[] = {"abc", "de", NULL};
    static const aw_mock mocks[] = {
        {.url = "http://a/", .body = "done", .status = 201, .delay_ms = 5},
        {.url = NULL}};
    aw_loop *l = slow_loop(0);
    ask a = ask_for("http://a/");
    int i;
    aw_loop_mock(l, mocks);
    a.send = true;
    for (i = 0; i < 6; i++) {
        NOTE("%d", i);
        a.stream = i % 2;
        a.body_len = i < 2 ? 0 : i < 4 ? 5 : 6;
        run_until_ended(SPAWN_ON(l, sender, &a, pieces));
        CHECK_EQ(gained.rc, i < 4 ? 201 : AW_EINVAL);
        CHECK_STR(gained.body, i < 4 ? "done" : "");
        CHECK_EQ(gained.pieces, 2);
    }
    a.url = "http://none/";
    a.body_len = 5;
    run_until_ended(SPAWN_ON(l, sender, &a, pieces));
    CHECK_EQ(gained.rc, AW_ECONNREFUSED);
    aw_loop_free(l);
}

TEST(a_redirect_of_what_was_sent_is_the_reply)
{
    static const char *const pieces[] = {"abc", NULL};
    aw_loop *l = redirect_loop();
    ask a = ask_for(URL "307?/x");
    a.send = true;
    a.max_redirects = 5;
    run_until_ended(SPAWN_ON(l, sender, &a, pieces));
    CHECK_EQ(gained.rc, 307);
    CHECK_STR(gained.where, "/x");
    CHECK_EQ(up.requests, 1);
    aw_loop_free(l);
}

/* ---- forms ---- */

static char form_dir[40], form_path[60];

static void form_file(const char *text, size_t n)
{
    FILE *f;
    strcpy(form_dir, "/tmp/asyncweb-session-XXXXXX");
    if (!mkdtemp(form_dir)) abort();
    snprintf(form_path, sizeof form_path, "%s/a b.txt", form_dir);
    f = fopen(form_path, "wb");
    if (!f || fwrite(text, 1, n, f) != n || fclose(f)) abort();
}

static void form_gone(void)
{
    remove(form_path);
    remove(form_dir);
}

TEST(urlencoded_forms)
{
    static const struct {
        aw_form_field fields[4];
        const char *wire;
    } rows[] = {
        {{{.name = NULL}}, ""},
        {{{.name = "a", .value = "b"}, {.name = NULL}}, "a=b"},
        {{{.name = "a"}, {.name = "", .value = ""}, {.name = NULL}}, "a=&="},
        {{{.name = "a b&c=d", .value = "1+1=2%\r\n"}, {.name = NULL}},
         "a+b%26c%3Dd=1%2B1%3D2%25%0D%0A"},
        {{{.name = "\xc3\xa4", .value = "-._~azAZ09/?*!'()"}, {.name = NULL}},
         "%C3%A4=-._~azAZ09%2F%3F%2A%21%27%28%29"},
        {{{.name = "nul", .value = "a\0b", .size = 3}, {.name = "x",
          .value = "abcdef", .size = 2}, {.name = NULL}}, "nul=a%00b&x=ab"}};
    static const aw_header_field own[] = {
        {"content-type", "application/x-www-form-urlencoded; charset=utf-8"},
        {NULL, NULL}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = slow_loop(0);
        ask a = ask_for(URL);
        NOTE("row %d", (int)i);
        a.form = rows[i].fields;
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(up.text, rows[i].wire);
        CHECK_EQ(up.body, strlen(rows[i].wire));
        CHECK_EQ(strncmp(up.got, "POST /", 6), 0);
        CHECK_STR(field_of("Content-Type"),
                  "application/x-www-form-urlencoded");
        a.headers = own;
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(field_of("Content-Type"), own[0].value);
        aw_loop_free(l);
    }
}

TEST(multipart_forms)
{
    const aw_form_field fields[] = {
        {.name = "a\"\r\nb\\", .value = "x\0y", .size = 3},
        {.name = "up", .path = form_path},
        {.name = "d", .value = "{}", .type = "application/json"},
        {.name = "p", .value = "PNG", .filename = "a\"b.png"},
        {.name = "e", .path = form_path, .filename = "", .type = "x/y"},
        {.name = NULL}};
    static const char want[] =
        "--B\r\nContent-Disposition: form-data; name=\"a%22%0D%0Ab\\\"\r\n\r\n"
        "x\0y\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"up\"; "
        "filename=\"a b.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "\r\nfile\0text\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"d\"\r\n"
        "Content-Type: application/json\r\n\r\n{}\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"p\"; "
        "filename=\"a%22b.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"e\"; filename=\"\"\r\n"
        "Content-Type: x/y\r\n\r\nfile\0text\r\n"
        "--B--\r\n";
    aw_loop *l = slow_loop(0);
    ask a = ask_for(URL);
    const char *type, *boundary, *p;
    char *plain = (char *)malloc(sizeof up.text);
    size_t n = 0, len;
    form_file("file\0text", 9);
    a.form = fields;
    a.method = "PUT";
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_EQ(strncmp(up.got, "PUT /", 5), 0);
    type = field_of("Content-Type");
    CHECK(type && strncmp(type, "multipart/form-data; boundary=", 30) == 0);
    boundary = type ? type + 30 : "";
    len = strlen(boundary);
    CHECK(len > 30 && len <= 70);
    for (p = up.text; p < up.text + up.kept; p++) {
        if ((size_t)(up.text + up.kept - p) < len ||
            memcmp(p, boundary, len) != 0) {
            plain[n++] = *p;
            continue;
        }
        plain[n++] = 'B';
        p += len - 1;
    }
    CHECK_EQ(up.body, up.kept);
    CHECK_EQ(n, sizeof want - 1);
    CHECK(n == sizeof want - 1 && memcmp(plain, want, n) == 0);
    CHECK_EQ(l->client->idle_count, 1);
    aw_loop_free(l);
    free(plain);
    form_gone();
}

/* Nobody but the status matters: the reply goes before its exchange. */
ASYNC(careless, (const aw_form_field *form;), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_fetch, .out = NULL, .url = URL,
                 .form = self->form);
        RETURN(self->rc);
    }
}

TEST(forms_are_copied_and_files_opened_at_once)
{
    const aw_form_field fields[] = {{.name = "up", .path = form_path},
                                    {.name = NULL}};
    aw_loop *l = slow_loop(0);
    ask a = ask_for(URL "307?/x");
    letters();
    form_file(upload, sizeof upload);
    up.pick = pick_redirect;
    a.form = fields;
    a.max_redirects = 1;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK(up.body > sizeof upload);     /* again, behind the redirect */
    CHECK(strstr(up.text, "\r\n\r\nabcdefghijkl") != NULL);
    CHECK_STR(up.seen, "POST /307?/x|POST /x");
    a.url = URL "303?/x";
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_EQ(up.body, 0);
    CHECK(!strstr(up.got, "Content-"));
    CHECK_EQ(run_until_ended(SPAWN_ON(l, careless, fields)), 200);
    CHECK(up.body > sizeof upload);
    /* Gone while the request waits for a connection. */
    {
        aw_client *c = limited(l, 1, 1);
        aw_task last;
        up.delay_ms = 50;
        up.pick = NULL;
        SPAWN_ON(l, one, c, URL, 'a', 0);
        a.url = URL;
        a.client = c;
        last = SPAWN_ON(l, go, &a, (size_t)1);
        pass(l, 10);
        form_gone();
        CHECK_EQ(run_until_ended(last), 200);
        CHECK(up.body > sizeof upload);
    }
    aw_loop_free(l);
}

/* Answers when it has `n` bytes of the request. */
ASYNC(hasty_server, (size_t n;), aw_listener *listener; aw_stream *stream;)
{
    BEGIN {
        static char bytes[200000];
        AWAIT(aw_listen, &self->listener, "127.0.0.1", PORT + 1);
        DEFER(aw_listener_close, self->listener);
        AWAIT(aw_accept, self->listener, &self->stream);
        DEFER(aw_stream_abort, self->stream);
        AWAIT(aw_read_exactly, self->stream, bytes, self->n);
        AWAIT(aw_write, self->stream, HELLO, sizeof HELLO - 1);
        AWAIT(aw_sleep_ms, 100);
    }
}

/* The answer comes in the turn in which a piece of the body has gone: the next
   one has no connection to go on. */
TEST(a_file_whose_answer_comes_first)
{
    const aw_form_field fields[] = {{.name = "up", .path = form_path},
                                    {.name = "b", .value = "c"},
                                    {.name = NULL}};
    size_t n;
    letters();
    form_file(upload, 200000);
    for (n = 66000; n < 200000; n += 4000) {
        aw_loop *l = slow_loop(0);
        ask a = ask_for("http://127.0.0.1:8001/");
        NOTE("%ld", (long)n);
        a.form = fields;
        SPAWN_ON(l, hasty_server, n);
        pass(l, 1);
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(gained.body, "hello");
        aw_loop_free(l);
    }
    form_gone();
}

TEST(a_file_that_gets_shorter)
{
    const aw_form_field fields[] = {{.name = "up", .path = form_path},
                                    {.name = NULL}};
    aw_loop *l = slow_loop(0);
    aw_task task;
    ask a = ask_for(URL);
    form_file(upload, sizeof upload);
    a.form = fields;
    up.lazy_ms = 100;
    task = SPAWN_ON(l, go, &a, (size_t)1);
    pass(l, 10);
    CHECK_EQ(truncate(form_path, sizeof upload - 5), 0);
    CHECK_EQ(run_until_ended(task), AW_EIO);
    CHECK_EQ(gained.rc, AW_EIO);
    CHECK(gained.ms <= 100);
    CHECK_EQ(l->client->idle_count, 0);
    form_gone();
    aw_loop_free(l);
}

TEST(bad_forms)
{
    static const aw_form_field missing[] = {
        {.name = "a", .path = "/nonexistent/file"}, {.name = NULL}};
    static const aw_form_field directory[] = {{.name = "a", .path = "/"},
                                              {.name = NULL}};
    static const aw_form_field device[] = {
        {.name = "a", .path = "/dev/null"}, {.name = NULL}};
    static const aw_form_field type[] = {
        {.name = "a", .value = "b", .type = "x/y\r\nX: y"}, {.name = NULL}};
    static const aw_form_field size[] = {{.name = "a", .size = 3},
                                         {.name = NULL}};
    static const aw_form_field good[] = {{.name = "a", .filename = "x"},
                                         {.name = NULL}};
    static const aw_header_field own[] = {{"Content-Type", "multipart/x"},
                                          {NULL, NULL}};
    static const struct { const aw_form_field *form; int rc; } rows[] = {
        {missing, AW_ENOENT}, {directory, AW_ENOENT}, {device, AW_ENOENT},
        {type, AW_EINVAL}, {size, AW_EINVAL}, {good, AW_EINVAL},
        {good, AW_EINVAL}, {good, AW_EINVAL}, {good, AW_EINVAL}, {good, 200}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = slow_loop(0);
        ask a = ask_for(URL);
        NOTE("row %d", (int)i);
        a.form = rows[i].form;
        if (i == 5) a.body = "x";
        if (i == 6) a.send = true;
        if (i == 7) a.headers = own;
        if (i == 8) a.content_type = "multipart/form-data";
        CHECK_EQ(ask_on(l, a), rows[i].rc);
        CHECK_EQ(log_text[0] != 0, rows[i].rc < 0);
        CHECK_EQ(up.requests, rows[i].rc > 0);
        aw_loop_free(l);
    }
}

/* ---- what the client writes, the server reads ---- */

static const aw_form_field written[] = {
    {.name = "a b", .value = "1 + 1 = 2 & more"}, {.name = "\xc3\xa4"},
    {.name = "long", .value = upload, .size = 5000},
    {.name = "end", .value = "\r\n--"}, {.name = NULL}};
static const aw_form_field written_too[] = {
    {.name = "a b", .value = "1 + 1 = 2 & more"}, {.name = "\xc3\xa4"},
    {.name = "long", .value = upload, .size = 5000},
    {.name = "end", .value = "\r\n--"},
    {.name = "file", .path = form_path, .type = "x/y; z=\"1\""},
    {.name = "bytes", .value = "a\0b", .size = 3, .filename = "n.png"},
    {.name = NULL}};

VIEW(reads_form)
{
    const char *name, *value;
    size_t i, n;
    const aw_file *files = aw_files(req, &n);
    for (i = 0; i < 4; i++) {
        const char *want = written[i].value ? written[i].value : "";
        CHECK(aw_form_at(req, i, &name, &value));
        CHECK_STR(name, written[i].name);
        if (i == 2) CHECK(strlen(value) == 5000 && !memcmp(value, want, 5000));
        else CHECK_STR(value, want);
    }
    CHECK(!aw_form_at(req, i, &name, &value));
    if (n == 2) {
        CHECK_STR(files[0].filename, "a b.txt");
        CHECK_STR(files[0].type, "x/y; z=\"1\"");
        CHECK_EQ(files[0].size, sizeof upload);
        CHECK_STR(files[1].type, "image/png");
        CHECK_EQ(files[1].size, 3);
        CHECK(files[1].bytes && memcmp(files[1].bytes, "a\0b", 3) == 0);
    }
    return aw_text(req, n ? "files" : "fields");
}

ASYNC_VIEW(writes_forms, aw_response *reply; char url[60];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d/read",
                 aw_serve_port(AW_LOOP()));
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url, .form = written);
        CHECK_STR(self->reply->body, "fields");
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .form = written_too);
        CHECK_EQ(self->reply->status, 200);
        RETURN(aw_text(req, self->reply->body));
    }
}

ROUTES(form_app, GET("/", writes_forms),
       POST("/read", reads_form, .max_body = 4 << 20))

TEST(forms_round_trip)
{
    aw_test *t;
    letters();
    form_file(upload, sizeof upload);
    t = aw_test_open(form_app);
    CHECK_STR(aw_test_get(t, "/")->body, "files");
    CHECK_EQ(aw_test_close(t), 0);
    form_gone();
}

/* ---- what requests of a client say ---- */

static aw_client_config home_config(void)
{
    static const aw_header_field fields[] = {
        {"X-Key", "k"}, {"User-Agent", "ours"}, {"Accept", NULL},
        {"Content-Type", "application/json"}, {NULL, NULL}};
    aw_client_config c = no_config();
    c.base_url = "http://127.0.0.1:8000/v1/";
    c.headers = fields;
    return c;
}

TEST(fields_of_a_client_and_of_a_fetch)
{
    static const aw_header_field own[] = {
        {"x-key", NULL}, {"Accept", "text/x"}, {"user-agent", "mine"},
        {NULL, NULL}};
    aw_loop *l = slow_loop(0);
    aw_client *c = client_with(l, home_config());
    ask a = ask_for("/a?b");
    a.client = c;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.got, "GET /v1/a?b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
              "X-Key: k\r\nUser-Agent: ours\r\n"
              "Content-Type: application/json\r\n\r\n");
    CHECK_STR(gained.url, URL "v1/a?b");
    a.headers = own;
    a.body = "{}";
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.got, "POST /v1/a?b HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
              "Content-Type: application/json\r\nAccept: text/x\r\n"
              "user-agent: mine\r\nContent-Length: 2\r\n\r\n");
    a.content_type = "text/plain";      /* its own is nearer */
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(field_of("Content-Type"), "text/plain");
    /* A whole URL stands for itself; the fields go with every request. */
    a = ask_for(URL2 "a");
    a.client = c;
    SPAWN_ON(l, upstream, PORT2);
    pass(l, 1);
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_EQ(strncmp(up.got, "GET /a ", 7), 0);
    CHECK_STR(field_of("X-Key"), "k");
    /* A / without a base is no URL. */
    CHECK_EQ(ask_on(l, ask_for("/a")), AW_EURL);
    aw_loop_free(l);
}

TEST(base_urls)
{
    static const char *const rows[][3] = {
        {"http://127.0.0.1:8000", "/", URL},
        {"http://127.0.0.1:8000/", "/", URL},
        {"http://127.0.0.1:8000/v1", "/a", URL "v1/a"},
        {"http://127.0.0.1:8000/v1/", "/a", URL "v1/a"},
        {"http://127.0.0.1:8000/v1", "/", URL "v1/"},
        {"http://127.0.0.1:8000/v1", "//127.0.0.1:1/", URL
         "v1//127.0.0.1:1/"},
        {"http://127.0.0.1:8000/v1", "/../a", URL "v1/../a"},
        {"http://127.0.0.1:8000/v1", URL "b", URL "b"},
        {"http://127.0.0.1:1/v1", URL, URL}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_loop *l = slow_loop(0);
        aw_client_config config = no_config();
        NOTE("row %d", (int)i);
        config.base_url = rows[i][0];
        CHECK_EQ(get_with(client_with(l, config), rows[i][1]), 200);
        CHECK_STR(gained.url, rows[i][2]);
        aw_loop_free(l);
    }
}

TEST(who_is_authorized)
{
    static const aw_header_field own[] = {{"authorization", "own"},
                                          {NULL, NULL}};
    static const aw_header_field none[] = {{"Authorization", NULL},
                                           {NULL, NULL}};
    static const aw_header_field clients[] = {{"AUTHORIZATION", "client"},
                                              {NULL, NULL}};
    enum { OWN = 1, NONE = 2, BASIC = 4, BEARER = 8, CLIENT = 16, HOME = 32,
           TOKEN = 64 };
    static const struct {
        int set;
        const char *url, *want;
    } rows[] = {
        {0, "/", NULL}, {BASIC, "/", "Basic dTpw"}, {BEARER, "/", "Bearer t"},
        {0, "http://a:b@127.0.0.1:8000/", "Basic YTpi"},
        {0, "http://a@127.0.0.1:8000/", "Basic YTo="},
        {0, "http://%3a%40:b%20@127.0.0.1:8000/", "Basic OkA6YiA="},
        {BASIC, "http://a:b@127.0.0.1:8000/", "Basic dTpw"},
        {OWN | BASIC | HOME | CLIENT, "http://a:b@127.0.0.1:8000/", "own"},
        {NONE | BASIC | HOME | CLIENT, "http://a:b@127.0.0.1:8000/", NULL},
        {CLIENT, "/", "client"}, {CLIENT | HOME, "/", "client"},
        {CLIENT | BEARER | HOME, "/", "Bearer t"},
        {CLIENT, "http://a:b@127.0.0.1:8000/", "Basic YTpi"},
        {HOME, "/", "Basic aDpt"}, {TOKEN, "/", "Bearer ht"},
        {HOME | BEARER, "/", "Bearer t"}, {TOKEN | BASIC, "/", "Basic dTpw"},
        {HOME, "http://127.0.0.1:8000/else", "Basic aDpt"},
        {HOME | NONE, "/", NULL},
        {HOME, "http://a:b@127.0.0.1:8000/", "Basic YTpi"},
        /* nobody else's */
        {HOME, "http://localhost:8000/", NULL}, {HOME, URL2, NULL},
        {TOKEN, URL2, NULL}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int set = rows[i].set;
        aw_loop *l = slow_loop(0);
        aw_client_config config = no_config();
        ask a = ask_for(rows[i].url);
        NOTE("row %d", (int)i);
        SPAWN_ON(l, upstream, PORT2);
        pass(l, 1);
        config.base_url = "http://127.0.0.1:8000";
        if (set & CLIENT) config.headers = clients;
        if (set & HOME) config.basic = "h:m";
        if (set & TOKEN) config.bearer = "ht";
        a.headers = set & OWN ? own : set & NONE ? none : NULL;
        if (set & BASIC) a.basic = "u:p";
        if (set & BEARER) a.bearer = "t";
        a.client = client_with(l, config);
        CHECK_EQ(ask_on(l, a), 200);
        CHECK_STR(field_of("Authorization"), rows[i].want);
        aw_loop_free(l);
    }
}

TEST(bad_arguments)
{
    aw_loop *l = slow_loop(0);
    int i;
    for (i = 0; i < 9; i++) {
        ask a = ask_for(URL);
        NOTE("%d", i);
        if (i == 6) a.basic = "user";
        if (i == 7) a.basic = "u:p\tp";
        if (i == 8) a.basic = "u\n:p";
        if (i == 0) a.bearer = "a\r\nb";
        if (i == 1) a.body = "x", a.send = true;
        if (i == 2) a.body = "x", a.body_len = (size_t)INT_MAX + 1;
        if (i == 3) a.content_type = "a\r\nb";
        if (i == 4) a.url = "http://%zz@127.0.0.1:8000/";
        if (i == 5) a.url = "/x";
        log_text[0] = 0;
        CHECK_EQ(ask_on(l, a), i == 4 || i == 5 ? AW_EURL : AW_EINVAL);
        if (i != 4) CHECK(strchr(log_text, '\n') != NULL);
    }
    for (i = 0; i < 2; i++) {
        aw_args_aw_fetch none;
        memset(&none, 0, sizeof none);
        none.url = URL;
        none.stream = i == 0;
        none.send = i == 1;
        log_text[0] = 0;
        CHECK_EQ(run_until_ended(aw__spawn_for(
            l, NULL, &aw_fn_aw_fetch, (const char *)&none + AW__ARGS_FROM)),
            AW_EINVAL);
        CHECK(strstr(log_text, "need a variable") != NULL);
    }
    CHECK_EQ(up.requests, 0);
    aw_loop_free(l);
}

TEST(bad_configs)
{
    static const aw_header_field bad[] = {{"A b", "c"}, {NULL, NULL}};
    static const aw_header_field length[] = {{"content-length", "1"},
                                             {NULL, NULL}};
    char path[200];
    int i;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    for (i = 0; i < 17; i++) {
        aw_loop *l = slow_loop(0);
        aw_client_config c = no_config();
        NOTE("%d", i);
        if (i == 0) c.base_url = "";
        if (i == 1) c.base_url = "/v1";
        if (i == 2) c.base_url = "http://a/?b";
        if (i == 3) c.base_url = "http://a/#b";
        if (i == 4) c.base_url = "ws://a/";
        if (i == 5) c.base_url = "http://a/?";
        if (i == 6) c.proxy = "local host:3128";
        if (i == 7) c.proxy = "https://a/";
        if (i == 8) c.proxy = "http://%zz@a/";
        if (i == 9) c.headers = bad;
        if (i == 10) c.headers = length;
        if (i == 11) c.bearer = "t";
        if (i == 12) c.basic = "u:p";
        if (i == 13) c.base_url = "http://a", c.bearer = "a\nb";
        if (i == 14) c.unix_socket = path;
        if (i == 15) c.proxy = "socks5://a/";
        if (i == 16) c.base_url = "http://a", c.basic = "user";
        CHECK(aw_client_new(l, &c) == NULL);
        CHECK_EQ(strlen(log_text), strcspn(log_text, "\n") + 1);
        CHECK(l->client == NULL);
        pass(l, 1);
        check_loop_empty(l);
        aw_loop_free(l);
    }
}

/* ---- proxies ---- */

static aw_client_config proxy_config(const char *proxy)
{
    aw_client_config c = no_config();
    c.proxy = proxy;
    c.max_redirects = 5;
    return c;
}

TEST(through_a_proxy)
{
    aw_loop *l = slow_loop(0);
    aw_client *c = client_with(
        l, proxy_config("http://us%65r:p@localhost:8000"));
    ask a = ask_for("http://me:secret@example.invalid:81/a?b#c");
    a.client = c;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.got, "GET http://example.invalid:81/a?b HTTP/1.1\r\n"
              "Proxy-Authorization: Basic dXNlcjpw\r\n"
              "Host: example.invalid:81\r\nUser-Agent: asyncweb/0.1\r\n"
              "Accept: */*\r\nAuthorization: Basic bWU6c2VjcmV0\r\n\r\n");
    /* All origins share what leads there. */
    CHECK_EQ(get_with(c, "http://other.invalid"), 200);
    CHECK_EQ(strncmp(up.got, "GET http://other.invalid/ ", 26), 0);
    CHECK_EQ(up.accepts, 1);
    CHECK_EQ(get_with(c, "https://other.invalid"), AW_ENOTLS);
    /* A redirect goes there too, and says who we are again. */
    up.requests = 0;
    up.answers[0] = "HTTP/1.1 307 Go\r\nLocation: http://third.invalid/x\r\n"
        "Content-Length: 0\r\n\r\n";
    up.answers[1] = HELLO;
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.got, "GET http://third.invalid/x HTTP/1.1\r\n"
              "Proxy-Authorization: Basic dXNlcjpw\r\n"
              "Host: third.invalid\r\nUser-Agent: asyncweb/0.1\r\n"
              "Accept: */*\r\n\r\n");
    CHECK_EQ(up.accepts, 1);
    CHECK_STR(gained.url, "http://third.invalid/x#c");
    /* ... or past it, and says it no more. */
    c->no_proxy = "127.0.0.1";
    up.requests = 0;
    up.answers[0] = "HTTP/1.1 307 Go\r\nLocation: " URL2 "x\r\n"
        "Content-Length: 0\r\n\r\n";
    SPAWN_ON(l, upstream, PORT2);
    pass(l, 1);
    CHECK_EQ(ask_on(l, a), 200);
    CHECK_STR(up.got, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:8100\r\n"
              "User-Agent: asyncweb/0.1\r\nAccept: */*\r\n\r\n");
    CHECK_EQ(get_with(client_with(l, proxy_config("http://127.0.0.1:1")), URL),
             AW_ECONNREFUSED);
    CHECK_EQ(get_with(client_with(l, proxy_config("")), URL), 200);
    aw_loop_free(l);
}

TEST(no_proxy)
{
    static const struct { const char *list, *host; bool direct; } rows[] = {
        {NULL, "a.b", false}, {"", "a.b", false}, {"a.b", "a.b", true},
        {"A.b", "a.B", true}, {"b", "a.b", true}, {".b", "a.b", true},
        {".a.b", "a.b", true}, {"b", "ab", false}, {"a.b", "b", false},
        {"x,b", "a.b", true}, {"x, b ,y", "a.b", true}, {"x b", "a.b", true},
        {",,", "a.b", false}, {"*", "a.b", true}, {"x,*", "a.b", true},
        {"*b", "a.b", false}, {"127.0.0.1", "127.0.0.1", true},
        {"::1", "::1", true}, {".", "a.b", false},
        {"a.b.", "a.b", false}, {"localhost", "localhost", true},
        {"aa.b", "a.b", false}, {"a.b.c", "a.b", false},
        {"10.0.0.0/8", "10.1.2.3", true}, {"10.0.0.0/8", "11.1.2.3", false},
        {"a,10.0.0.0/8", "10.0.0.0", true}, {"10.0.0.0/8", "10.a", false},
        {"10.0.0.0/33", "10.0.0.0", false}, {"unix", "unix", true},
        {"fd00::/8", "fd12::1", true}, {"fd00::/8", "fe12::1", false},
        {"0.0.0.0/0", "::1", false}, {"0:0::1", "::1", true}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_slice host = aw__slice(rows[i].host, strlen(rows[i].host));
        NOTE("row %d", (int)i);
        CHECK_EQ(aw__client_direct(rows[i].list, host), rows[i].direct);
    }
}

static bool goes_by_proxy(const aw_client *c, const char *host, bool tls)
{
    aw__url url;
    memset(&url, 0, sizeof url);
    url.host = aw__slice(host, strlen(host));
    url.tls = tls;
    return aw__client_via(c, &url) != NULL;
}

/* Loops in memory know no environment, so real ones look at this. */
TEST(proxies_of_the_environment)
{
    const char *had = getenv("http_proxy"), *had_no = getenv("no_proxy");
    const char *had_s = getenv("https_proxy");
    char *proxy = had ? strdup(had) : NULL;
    char *no = had_no ? strdup(had_no) : NULL;
    char *secure = had_s ? strdup(had_s) : NULL;
    aw_client_config config = no_config();
    aw_loop_config quiet;
    aw_client *c;
    aw_loop *l;
    memset(&quiet, 0, sizeof quiet);
    quiet.log = log_line;
    setenv("http_proxy", "http://u@proxy.example:3128/", 1);
    setenv("no_proxy", "direct.example", 1);
    unsetenv("https_proxy");
    l = aw_loop_new(&quiet);
    c = client_with(l, config);
    CHECK_EQ(c->proxies[0].url.port, 3128);
    CHECK_STR(c->proxies[0].url.host.p, "proxy.example");
    CHECK(aw__slice_eq(c->proxies[0].user, "u:"));
    CHECK(goes_by_proxy(c, "a", false));
    CHECK(!goes_by_proxy(c, "a", true));
    CHECK(!goes_by_proxy(c, "x.direct.example", false));
    setenv("https_proxy", "v@other.example:8080", 1);
    c = client_with(l, config);
    CHECK_EQ(c->proxies[1].url.port, 8080);
    CHECK(aw__slice_eq(c->proxies[1].user, "v:"));
    CHECK(goes_by_proxy(c, "a", true));
    CHECK(!goes_by_proxy(c, "x.direct.example", true));
    CHECK_STR(c->proxies[1].url.host.p, "other.example");
    unsetenv("https_proxy");
    config.proxy = "";
    CHECK(!goes_by_proxy(client_with(l, config), "a", false));
    config.unix_socket = "/tmp/x";
    config.proxy = NULL;
    CHECK(!goes_by_proxy(client_with(l, config), "a", false));
    aw_loop_free(l);
    /* One that cannot be read is no reason to go without. */
    setenv("http_proxy", "socks5://a:1080", 1);
    l = aw_loop_new(&quiet);
    log_text[0] = 0;
    CHECK_EQ(ask_on(l, ask_for("http://127.0.0.1:1/")), AW_EURL);
    CHECK(strstr(log_text, "http_proxy is to be") != NULL);
    config = no_config();
    CHECK(client_with(l, config) == NULL);
    config.proxy = "";
    CHECK(client_with(l, config) != NULL);
    aw_loop_free(l);
    if (proxy) setenv("http_proxy", proxy, 1);
    else unsetenv("http_proxy");
    if (no) setenv("no_proxy", no, 1);
    else unsetenv("no_proxy");
    if (secure) setenv("https_proxy", secure, 1);
    free(proxy);
    free(no);
    free(secure);
}

/* ---- UNIX sockets ---- */

VIEW(says_host)
{
    return aw_text(req, aw_format(req, "%s %s", aw_header(req, "Host"),
                                  aw_path(req)));
}

ROUTES(unix_app, GET("/<path:p>", says_host))

TEST(over_a_unix_socket)
{
    aw_loop *l;
    aw_config config;
    aw_client_config with = no_config();
    aw_client *c;
    char where[80];
    form_file("", 0);
    snprintf(where, sizeof where, "unix:%s/s", form_dir);
    memset(&config, 0, sizeof config);
    config.routes = unix_app;
    config.listen = where;
    config.access_log = AW_OFF;
    config.log = log_line;
    l = aw_loop_new(NULL);
    remove(where + 5);
    CHECK_EQ(aw_serve(l, &config), 0);
    with.unix_socket = where + 5;
    c = client_with(l, with);
    CHECK_EQ(get_with(c, "http://docker.invalid/a?b"), 200);
    CHECK_STR(gained.body, "docker.invalid /a");
    CHECK_EQ(get_with(c, "http://docker.invalid/c"), 200);
    CHECK_EQ(c->open, 1);
    aw_client_free(c);
    with.unix_socket = "/nonexistent/socket";
    CHECK_EQ(get_with(client_with(l, with), "http://a/"), AW_ENOENT);
    with.unix_socket = form_path;       /* a file, and no socket */
    CHECK_EQ(get_with(client_with(l, with), "http://a/"), AW_ECONNREFUSED);
    aw_loop_free(l);
    remove(where + 5);
    form_gone();
}

#ifdef __linux__
/* A listener whose queue is full, and stays so. */
TEST(a_unix_socket_that_nobody_accepts_at)
{
    aw_loop *l = aw_loop_new(NULL);
    aw_client_config with = no_config();
    struct sockaddr_un at;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), other[4], i;
    form_file("", 0);
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    snprintf(at.sun_path, sizeof at.sun_path, "%s/s", form_dir);
    CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(fd, 0), 0);
    for (i = 0; i < 4; i++) {
        other[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        fcntl(other[i], F_SETFL, O_NONBLOCK);
        (void)!connect(other[i], (struct sockaddr *)&at, sizeof at);
    }
    with.unix_socket = at.sun_path;
    with.connect_timeout_ms = 30;
    CHECK_EQ(get_with(client_with(l, with), "http://a/"), AW_ETIMEDOUT);
    CHECK(gained.ms >= 29 && gained.ms < 5000);
    with.connect_timeout_ms = 5000;
    with.timeout_ms = 20;
    CHECK_EQ(get_with(client_with(l, with), "http://a/"), AW_ETIMEDOUT);
    CHECK(gained.ms < 4000);
    aw_loop_free(l);
    for (i = 0; i < 4; i++) close(other[i]);
    close(fd);
    remove(at.sun_path);
    form_gone();
}
#endif

/* ---- adversity ---- */

static int curtains, late;

static const char *pick_drama(void)
{
    static char chunks[1000] = CHUNKED;
    if (strstr(up.got, "/chunks")) {
        size_t n = strlen(CHUNKED), i;
        for (i = 0; i < 5; i++)
            n += (size_t)sprintf(chunks + n, "40\r\n%064d\r\n", (int)i);
        strcpy(chunks + n, "0\r\n\r\n");
        return chunks;
    }
    return pick_redirect();
}

static aw_client *drama_client(aw_loop *l)
{
    static const aw_header_field fields[] = {{"X-A", "b"}, {NULL, NULL}};
    aw_client_config c = no_config();
    c.base_url = "http://u:p@127.0.0.1:8000/";
    c.headers = fields;
    c.max_connections = 2;
    c.max_per_origin = 1;
    c.max_redirects = 2;
    c.idle_ms = 100;
    return client_with(l, c);
}

ASYNC(waiter, (aw_client *c; const char *url;), aw_response *reply;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = self->url,
              .client = self->c, .method = "PUT", .body = upload,
              .body_len = 17000);
    }
}

/* Redirects, connections used again and waited for, streams, uploads, a form
   with a file, a request in pieces. 1: all went well. */
ASYNC(drama, (), aw_client *c; aw_response *a; int rc[8], i, n; char bytes[50];)
{
    const aw_form_field form[] = {{.name = "f", .path = form_path},
                                  {.name = NULL}};
    BEGIN {
        self->c = drama_client(AW_LOOP());
        if (!self->c) RETURN(AW_ENOMEM);
        DEFER(aw_client_free, self->c);
        AWAIT_TO(self->rc[0], aw_fetch, .out = &self->a, .url = "/302?/307?/x",
                 .client = self->c, .form = form);
        AWAIT_TO(self->rc[1], aw_fetch, .out = &self->a, .url = "/307?" LOCAL,
                 .client = self->c, .form = form);
        START_TO(self->rc[2], waiter, self->c, "/w1");
        START_TO(self->rc[3], waiter, self->c, LOCAL "w2");
        START_TO(self->rc[4], waiter, self->c, LOCAL "w3");
        AWAIT_TO(self->rc[5], aw_fetch, .out = &self->a, .url = "/chunks",
                 .client = self->c, .stream = true);
        while (self->a && self->i >= 0) {
            AWAIT_TO(self->i, aw_response_read, self->a, self->bytes, 50);
            self->n += self->i;
            if (self->i == 0) break;
        }
        if (self->i < 0 && self->rc[5] >= 0) self->rc[5] = self->i;
        aw_response_free(self->a);
        self->a = NULL;
        GATHER();
        AWAIT_TO(self->rc[6], aw_fetch, .out = &self->a, .url = "/sent",
                 .client = self->c, .send = true, .stream = true);
        if (self->a) AWAIT_TO(self->i, aw_fetch_send, self->a, upload, 3000);
        if (self->a) AWAIT_TO(self->rc[6], aw_fetch_end, self->a);
        if (self->a && self->rc[6] >= 0)
            AWAIT_TO(self->rc[7], aw_response_read, self->a, self->bytes, 50);
        for (self->i = 0; self->i < 8; self->i++) {
            if (self->rc[self->i] == AW_ETIMEDOUT) late++;
            if (self->rc[self->i] < 0) self->n = 0;
        }
        RETURN(self->n == 5 * 64 && self->rc[7] > 0 && self->rc[0] == 200);
    } FINALLY {
        curtains++;
    }
}

static aw_loop *drama_loop(int seed)
{
    aw_loop *l;
    answer_with(HELLO);
    up.pick = pick_drama;
    up.split = 7;
    curtains = late = 0;
    l = client_loop();
    if (seed) aw__chaos_on(l, (uint64_t)seed);
    pass(l, 1);
    return l;
}

static void check_drama(aw_loop *l, bool patient)
{
    pass(l, 5000);
    CHECK_EQ(curtains, 1);
    if (!patient) CHECK_EQ(late, 0);    /* nobody waits for what is lost */
    CHECK(!l->client || l->client->own);
    check_loop_empty(l);
    aw_loop_free(l);
}

static int drama_once(int seed)
{
    aw_loop *l = drama_loop(seed);
    int rc = run_until_ended(SPAWN_ON(l, drama));
    check_drama(l, false);
    return rc;
}

TEST(drama_in_any_order)
{
    int seed;
    letters();
    form_file("a file's text", 13);
    for (seed = 0; seed <= (int)test_rounds(100); seed++) {
        NOTE("seed %d", seed);
        CHECK_EQ(drama_once(seed), 1);
        if (!seed) CHECK_STR(log_text, "");
    }
    form_gone();
}

TEST(drama_cancelled_at_every_await)
{
    int k = 0, seed = 0;
    letters();
    form_file("a file's text", 13);
    while (seed <= (int)test_rounds(10)) {
        aw_loop *l = drama_loop(seed);
        aw_task task = SPAWN_ON(l, drama);
        bool reached;
        NOTE("await %d, seed %d", k + 1, seed);
        k += seed && !getenv("TEST_FULL") ? 1 + k % 5 : 1;
        aw__cancel_at(l, task, k);
        run_until_ended(task);
        reached = l->chaos.suspended >= k;
        l->on_suspend = NULL;
        check_drama(l, false);
        if (reached) continue;
        CHECK(k > 20);
        k = 0;
        seed++;
    }
    form_gone();
}

static bool drama_with_fault(const char *what, int at, int error)
{
    aw_loop *l = drama_loop(0);
    aw_task task = SPAWN_ON(l, drama);
    NOTE("%s %d, %d", what, at, error);
    test_fault = client_fault;
    faults.count = 0;
    faults.at = at;
    faults.error = error;
    faults.allocs = what[0] == 'a';
    faults.calls = what[0] == 'c';
    run_until_ended(task);
    faults.allocs = faults.calls = false;
    /* A peer that only seems to have hung up is waited for. */
    check_drama(l, error == ECONNRESET || error == EPIPE);
    return faults.count >= at;
}

TEST(drama_with_each_allocation_failing)
{
    int at = 1;
    letters();
    form_file("a file's text", 13);
    while (drama_with_fault("allocation", at, ENOMEM)) at++;
    CHECK(at > 100);
    form_gone();
}

TEST(drama_with_each_call_failing)
{
    static const int errors[] = {EIO, ECONNRESET, EMFILE, ENOMEM, EPIPE};
    size_t i;
    letters();
    form_file("a file's text", 13);
    for (i = 0; i < (getenv("TEST_FULL") ? 5 : 2); i++) {
        int at = 1;
        while (drama_with_fault("call", at, errors[i])) at++;
        CHECK(at > 100);
    }
    form_gone();
}
