/* ws_client.c: the client's side of WebSocket: the handshake and what a bad
   server makes of it, masks, messages both ways, the end. */
#include "http.h"

#if !defined ASYNCWEB_NO_WS && !defined ASYNCWEB_NO_CLIENT

/* ---- against our own server ---- */

static int met_code;            /* how the server saw it end */

WS_VIEW(wc_echo, aw_ws_message msg; int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            if (self->msg.binary)
                AWAIT(aw_ws_send_binary, ws, self->msg.data, self->msg.size);
            else
                AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    } FINALLY {
        met_code = aw_ws_close_code(ws);
    }
}

WS_VIEW(wc_leaves)
{
    BEGIN {
        AWAIT(aw_ws_send, ws, "bye", 3);
        AWAIT(aw_ws_close, ws, 4321, "enough");
    }
}

WS_VIEW(wc_shows)
{
    BEGIN {
        const char *auth = aw_header(req, "Authorization");
        const char *extra = aw_header(req, "X-Extra");
        const char *text = aw_format(req, "%s|%s|%s", auth ? auth : "",
                                     extra ? extra : "", aw_path(req));
        AWAIT(aw_ws_send, ws, text, strlen(text));
    }
}

VIEW(wc_plain) { return aw_text(req, "no"); }

ROUTES(wc_app,
    WS("/echo", wc_echo, .protocols = "b a", .max_message = 1 << 20),
    WS("/leaves", wc_leaves), WS("/shows", wc_shows), GET("/plain", wc_plain))

static aw_test *wc_open(aw_config *config)
{
    *config = quiet_config();
    met_code = 0;
    return app_with(wc_app, config);
}

static int wc_result(aw_task task)
{
    int i;
    for (i = 0; i < 100000 && !aw_ended(task); i++)
        (void)aw_loop_step(task.loop, AW_FOREVER);
    CHECK(aw_ended(task));
    return task.loop->slots[task.slot].u.result;
}

ASYNC(wc_connect, (int port; const char *path; const char *protocols;
                   aw_ws **out;), char url[80];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "ws://127.0.0.1:%d%s",
                 self->port, self->path);
        AWAIT(aw_ws_connect, .out = self->out, .url = self->url,
              .protocols = self->protocols);
        RETURN(1);
    }
}

static char wc_big[300000];

/* Under faults it ends early, with an error. */
ASYNC(wc_talk, (int port;), aw_ws *ws; aw_ws_message msg; int rc, i;)
{
    BEGIN {
        static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 300000};
        AWAIT(wc_connect, self->port, "/echo", "a b", &self->ws);
        DEFER(aw_ws_free, self->ws);
        CHECK_STR(aw_ws_protocol(self->ws), "b");
        for (self->i = 0; self->i < 14; self->i++) {
            if (self->i % 2)
                AWAIT_TO(self->rc, aw_ws_send_binary, self->ws, wc_big,
                         sizes[self->i / 2]);
            else
                AWAIT_TO(self->rc, aw_ws_send, self->ws, wc_big,
                         sizes[self->i / 2]);
            if (self->rc < 0) RETURN(self->rc);
            CHECK_EQ(self->rc, sizes[self->i / 2]);
            AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
            if (self->rc <= 0) RETURN(AW_EEOF);
            CHECK_EQ(self->msg.binary, self->i % 2);
            CHECK_EQ(self->msg.size, sizes[self->i / 2]);
            CHECK(memcmp(self->msg.data, wc_big, self->msg.size) == 0);
        }
        AWAIT(aw_ws_send_part, self->ws, "in ", 3, 0);
        self->i = aw_ws_post(self->ws, "posted", 6);
        AWAIT(aw_ws_send_part, self->ws, "parts", 5, AW_WS_LAST);
        AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
        if (self->rc <= 0 || self->i < 0) RETURN(AW_EEOF);
        CHECK_STR(self->msg.data, "in parts");
        AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
        if (self->rc <= 0) RETURN(AW_EEOF);
        CHECK_STR(self->msg.data, "posted");
        AWAIT(aw_ws_close, self->ws, 3456, "done");
        AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
        CHECK(self->rc <= 0);
        AWAIT_TO(self->rc, aw_ws_send, self->ws, "x", 1);
        CHECK_EQ(self->rc, AW_ECLOSED);
        RETURN(1);
    }
}

TEST(client_talks)
{
    aw_config config;
    aw_test *t = wc_open(&config);
    aw_loop *l = aw_test_loop(t);
    memset(wc_big, 'w', sizeof wc_big);
    CHECK_EQ(wc_result(SPAWN_ON(l, wc_talk, aw_serve_port(l))), 1);
    CHECK_EQ(met_code, 3456);
    CHECK_EQ(aw_test_close(t), 0);
}

ASYNC(wc_listen_to, (int port;), aw_ws *ws; aw_ws_message msg; int rc;)
{
    BEGIN {
        AWAIT(wc_connect, self->port, "/leaves", NULL, &self->ws);
        DEFER(aw_ws_free, self->ws);
        CHECK(aw_ws_protocol(self->ws) == NULL);
        AWAIT(aw_ws_recv, self->ws, &self->msg);
        CHECK_STR(self->msg.data, "bye");
        AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
        CHECK_EQ(self->rc, 0);
        CHECK_EQ(aw_ws_close_code(self->ws), 4321);
        CHECK_STR(aw_ws_close_reason(self->ws), "enough");
    }
}

TEST(server_closes)
{
    aw_config config;
    aw_test *t = wc_open(&config);
    aw_loop *l = aw_test_loop(t);
    CHECK_EQ(wc_result(SPAWN_ON(l, wc_listen_to, aw_serve_port(l))), 0);
    CHECK_EQ(aw_test_close(t), 0);
}

ASYNC(wc_fields, (int port;), aw_ws *ws; aw_ws_message msg; char url[80];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "ws://u:p@127.0.0.1:%d/shows?q",
                 self->port);
        AWAIT(aw_ws_connect, .out = &self->ws, .url = self->url,
              .headers = (aw_header_field[]){{"X-Extra", "e"}, {NULL, NULL}});
        DEFER(aw_ws_free, self->ws);
        AWAIT(aw_ws_recv, self->ws, &self->msg);
        CHECK_STR(self->msg.data, "Basic dTpw|e|/shows");
    }
}

TEST(the_handshake_carries_fields)
{
    aw_config config;
    aw_test *t = wc_open(&config);
    aw_loop *l = aw_test_loop(t);
    CHECK_EQ(wc_result(SPAWN_ON(l, wc_fields, aw_serve_port(l))), 0);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A status is the result; so is what is wrong with the arguments. */
TEST(refusals)
{
    static const struct { const char *path, *protocols; int rc; } rows[] = {
        {"/plain", NULL, AW_HTTP(200)}, {"/none", NULL, AW_HTTP(404)},
        {"/echo", "a  b", AW_EINVAL}, {"/echo", " a", AW_EINVAL},
        {"/echo", "a,b", AW_EINVAL}, {"/echo\n", NULL, AW_EURL}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_config config;
        aw_test *t = wc_open(&config);
        aw_loop *l = aw_test_loop(t);
        aw_ws *ws = (aw_ws *)t;
        NOTE("%s %s", rows[i].path, rows[i].protocols);
        CHECK_EQ(wc_result(SPAWN_ON(l, wc_connect, aw_serve_port(l),
                                    rows[i].path, rows[i].protocols, &ws)),
                 rows[i].rc);
        CHECK(ws == NULL);
        CHECK_EQ(aw_test_close(t), 0);
    }
    aw_ws_free(NULL);
}

/* The compiler does not ask for .out. */
TEST(nowhere_to_put_it)
{
    aw_config config;
    aw_test *t = wc_open(&config);
    aw_loop *l = aw_test_loop(t);
    CHECK_EQ(wc_result(SPAWN_ON(l, wc_connect, aw_serve_port(l), "/echo", NULL,
                                (aw_ws **)NULL)), AW_EINVAL);
    CHECK_EQ(aw_test_close(t), 0);
}

/* One that nobody frees, and one that is freed while it is open: the server
   hears of it in both cases. */
TEST(freed_or_forgotten)
{
    int freed;
    for (freed = 0; freed < 2; freed++) {
        aw_config config;
        aw_test *t = wc_open(&config);
        aw_loop *l = aw_test_loop(t);
        aw_ws *ws = NULL;
        int i;
        CHECK_EQ(wc_result(SPAWN_ON(l, wc_connect, aw_serve_port(l), "/echo",
                                    NULL, &ws)), 1);
        CHECK(ws != NULL);
        if (freed) aw_ws_free(ws);
        for (i = 0; i < 50; i++) (void)aw_loop_step(l, 5);
        CHECK_EQ(met_code, freed ? 1000 : 0);
        CHECK_EQ(l->client->sockets == NULL, freed);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

ASYNC(wc_of_its_own, (aw_client *client; int port; bool freed;), aw_ws *ws;
      char url[80];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "ws://127.0.0.1:%d/echo",
                 self->port);
        DEFER(aw_client_free, self->client);
        AWAIT(aw_ws_connect, .out = &self->ws, .url = self->url,
              .client = self->client);
        if (self->freed) aw_ws_free(self->ws);
    }
}

/* The loop ends while a socket is all that still holds its client. */
TEST(outlives_its_client)
{
    int freed, later;
    for (freed = 0; freed < 2; freed++)
        for (later = 0; later < 2; later++) {
            aw_config config;
            aw_test *t = wc_open(&config);
            aw_loop *l = aw_test_loop(t);
            aw_client *client = aw_client_new(l, NULL);
            int i;
            NOTE("%d %d", freed, later);
            CHECK_EQ(wc_result(SPAWN_ON(l, wc_of_its_own, client,
                                        aw_serve_port(l), freed)), 0);
            for (i = 0; i < 50 && later; i++) (void)aw_loop_step(l, 5);
            CHECK_EQ(l->client == NULL, freed && later);
            CHECK_EQ(aw_test_close(t), 0);
        }
}

/* ---- against a server that says what it likes ---- */

static struct {
    const char *says;           /* %s: the right answer to the key */
    const char *then;           /* frames behind it */
    size_t then_n;
    unsigned char got[2][32];   /* frames that came */
    int result;
    char tunnel[200];           /* what it was asked for as a proxy */
    bool proxy;
} rude;

ASYNC(wc_rude, (aw_listener *listener;), aw_stream *s; char head[2048];
      char out[1024]; int n;)
{
    BEGIN {
        char accept[29];
        const char *key;
        AWAIT(aw_accept, self->listener, &self->s);
        DEFER(aw_stream_abort, self->s);
        if (rude.proxy) {
            AWAIT(aw_read_until, self->s, rude.tunnel,
                  sizeof rude.tunnel - 1, "\r\n\r\n");
            AWAIT(aw_write, self->s, "HTTP/1.0 200 OK\r\n\r\n", 19);
        }
        AWAIT_TO(self->n, aw_read_until, self->s, self->head,
                 sizeof self->head - 1, "\r\n\r\n");
        if (self->n < 0) RETURN(0);
        self->head[self->n] = 0;
        key = strstr(self->head, "Sec-WebSocket-Key: ");
        CHECK(key != NULL);
        aw__ws_accept_key(aw__slice(key + 19, 24), accept);
        self->n = snprintf(self->out, sizeof self->out, rude.says, accept);
        if (rude.then)
            memcpy(self->out + self->n, rude.then, rude.then_n);
        AWAIT_TO(self->n, aw_write, self->s, self->out,
                 (size_t)self->n + rude.then_n);
        AWAIT_TO(self->n, aw_read_exactly, self->s, rude.got[0], 11);
        if (self->n > 0)
            AWAIT_TO(self->n, aw_read_exactly, self->s, rude.got[1], 11);
        AWAIT(aw_sleep_ms, 100);
    }
}

ASYNC(wc_meets, (int port;), aw_ws *ws; aw_ws_message msg;)
{
    BEGIN {
        AWAIT(wc_connect, self->port, "/", "a b", &self->ws);
        DEFER(aw_ws_free, self->ws);
        AWAIT_TO(rude.result, aw_ws_send, self->ws, "hello", 5);
        AWAIT_TO(rude.result, aw_ws_send, self->ws, "hello", 5);
        AWAIT_TO(rude.result, aw_ws_recv, self->ws, &self->msg);
        if (rude.result == 1) CHECK_STR(self->msg.data, "hi");
        RETURN(1);
    }
}

ASYNC(wc_meeting, (), aw_listener *listener; int rc, unused;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "127.0.0.1", 0);
        DEFER(aw_listener_close, self->listener);
        START_TO(self->unused, wc_rude, self->listener);
        AWAIT_TO(self->rc, wc_meets, aw_listener_port(self->listener));
        GATHER();
        RETURN(self->rc);
    }
}

static int wc_meet(const char *says, const char *then, size_t then_n)
{
    aw_loop_config config;
    aw_loop *l;
    int rc;
    memset(&config, 0, sizeof config);
    memset(&rude, 0, sizeof rude);
    config.log = keep_log;
    said[0] = 0;
    l = aw_loop_new(&config);
    if (!l || aw__sim_open(l) < 0) abort();
    rude.says = says;
    rude.then = then;
    rude.then_n = then_n;
    rc = wc_result(SPAWN_ON(l, wc_meeting));
    CHECK_EQ(aw__loop_end(l), 0);
    return rc;
}

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define FIELDS "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"

/* RFC 6455 4.1, the last list. */
TEST(what_is_no_handshake)
{
    static const struct { const char *says; int rc; } rows[] = {
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n\r\n", 1},
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n"
         "Sec-WebSocket-Protocol: a\r\n\r\n", 1},
        /* A list may come in several lines (RFC 9110 5.2), these may not
           (RFC 6455 11.3.3, 11.3.4). */
        {SWITCH "Upgrade: websocket\r\nConnection: keep-alive\r\n"
         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", 1},
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n"
         "Sec-WebSocket-Accept: x\r\n\r\n", AW_EBADMSG},
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n"
         "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n",
         AW_EBADMSG},
        {"HTTP/1.1 103 Early Hints\r\n\r\n"
         SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n\r\n", 1},
        {SWITCH FIELDS "Sec-WebSocket-Accept: x%s\r\n\r\n", AW_EBADMSG},
        {SWITCH FIELDS "X: %s\r\n\r\n", AW_EBADMSG},
        {SWITCH "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
         AW_EBADMSG},
        {SWITCH "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
         AW_EBADMSG},
        {SWITCH "Connection: Upgrade\r\nUpgrade: h2c\r\n"
         "Sec-WebSocket-Accept: %s\r\n\r\n", AW_EBADMSG},
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n"
         "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", AW_EBADMSG},
        {SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n"
         "Sec-WebSocket-Protocol: c\r\n\r\n", AW_EBADMSG},
        {"HTTP/1.1 302 Found\r\nLocation: /\r\nX: %s\r\n"
         "Content-Length: 0\r\n\r\n", AW_HTTP(302)},
        {"nonsense %s\r\n\r\n", AW_EBADMSG}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("row %d", (int)i);
        CHECK_EQ(wc_meet(rows[i].says, NULL, 0), rows[i].rc);
        if (rows[i].rc == AW_EBADMSG && i < 13) CHECK(said[0]);
    }
}

#define WELCOME SWITCH FIELDS "Sec-WebSocket-Accept: %s\r\n\r\n"

ASYNC(wc_behind_proxy, (), aw_listener *listener; aw_client *client;
      aw_client_config config; aw_ws *ws; aw_ws_message msg; char proxy[60];
      int unused;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "127.0.0.1", 0);
        DEFER(aw_listener_close, self->listener);
        START_TO(self->unused, wc_rude, self->listener);
        snprintf(self->proxy, sizeof self->proxy, "http://u:p@127.0.0.1:%d",
                 aw_listener_port(self->listener));
        self->config.proxy = self->proxy;
        self->client = aw_client_new(AW_LOOP(), &self->config);
        DEFER(aw_client_free, self->client);
        AWAIT(aw_ws_connect, .out = &self->ws, .url = "ws://far.test/x",
              .client = self->client);
        DEFER(aw_ws_free, self->ws);
        AWAIT(aw_ws_recv, self->ws, &self->msg);
        CHECK_STR(self->msg.data, "hi");
    }
}

/* 4.1: a proxy is asked for a tunnel, for ws: as for wss:. */
TEST(behind_a_proxy)
{
    aw_loop *l = aw_loop_new(NULL);
    if (!l || aw__sim_open(l) < 0) abort();
    memset(&rude, 0, sizeof rude);
    rude.proxy = true;
    rude.says = WELCOME;
    rude.then = "\x81\x02hi";
    rude.then_n = 4;
    CHECK_EQ(wc_result(SPAWN_ON(l, wc_behind_proxy)), 0);
    CHECK_STR(rude.tunnel, "CONNECT far.test:80 HTTP/1.1\r\n"
              "Host: far.test:80\r\n"
              "Proxy-Authorization: Basic dTpw\r\n\r\n");
    CHECK_EQ(aw__loop_end(l), 0);
}

/* 5.1, 5.3: each frame with a key of its own, and text below it. */
TEST(frames_are_masked)
{
    int i, k;
    CHECK_EQ(wc_meet(WELCOME, "\x81\x02hi", 4), 1);
    CHECK_EQ(rude.result, 1);
    for (i = 0; i < 2; i++) {
        const unsigned char *f = rude.got[i];
        CHECK_EQ(f[0], 0x81);
        CHECK_EQ(f[1], 0x80 | 5);
        for (k = 0; k < 5; k++) CHECK_EQ(f[6 + k] ^ f[2 + k % 4], "hello"[k]);
    }
    CHECK(memcmp(rude.got[0] + 2, rude.got[1] + 2, 4) != 0);
}

/* A server that masks breaks the protocol (5.1). */
TEST(masked_frames_from_a_server)
{
    CHECK_EQ(wc_meet(WELCOME, "\x81\x82\0\0\0\0hi", 8), 1);
    CHECK_EQ(rude.result, AW_EBADMSG);
}

TEST(server_goes_without_a_word)
{
    CHECK_EQ(wc_meet(WELCOME, NULL, 0), 1);
    CHECK(rude.result == AW_EEOF || rude.result == AW_ECONNRESET);
}

/* ---- adversity ---- */

static int wc_finals;

ASYNC(wc_scenario, (int port;), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, wc_talk, self->port);
        RETURN(self->rc);
    } FINALLY {
        wc_finals++;
    }
}

/* Not aw__cancel_at: its victim is the server's latest view. */
static aw_task wc_victim;
static int wc_suspended, wc_cancel_at;

static void wc_count(aw__task *t)
{
    (void)t;
    if (++wc_suspended == wc_cancel_at) aw_cancel(wc_victim);
}

/* 1: it went through. All is given back, and the next client is served. */
static int wc_round(int cancel, const char *only, long at, int error)
{
    aw_config config;
    aw_test *t = wc_open(&config);
    aw_loop *l = aw_test_loop(t);
    aw_task task;
    int rc, i;
    wc_finals = 0;
    task = SPAWN_ON(l, wc_scenario, aw_serve_port(l));
    wc_victim = task;
    wc_suspended = 0;
    wc_cancel_at = cancel;
    l->on_suspend = wc_count;
    fault_set(only, at, error);
    fault_once = true;
    for (i = 0; i < 20000 && !aw_ended(task); i++)
        (void)aw_loop_step(l, AW_FOREVER);
    i = (int)fault_count;
    fault_set(NULL, 0, 0);
    fault_count = i;
    CHECK(aw_ended(task));
    rc = l->slots[task.slot].u.result;
    CHECK_EQ(wc_finals, 1);
    if (cancel) rc = wc_suspended >= cancel ? AW_ECANCELED : 1;
    l->on_suspend = NULL;
    CHECK_STR(get(t, "/plain"), "200 no");
    CHECK_EQ(aw_test_close(t), 0);
    return rc;
}

TEST(client_is_cancelled_at_every_await)
{
    int k = 1;
    memset(wc_big, 'w', sizeof wc_big);
    while (wc_round(k, NULL, 0, 0) != 1) {
        NOTE("cancelled at %d", ++k);
    }
    CHECK(k > 15);
}

/* Each kind of call that may fail: once at each of the first places, then less
   often; with TEST_FULL at all. */
TEST(each_call_of_the_client_fails_once)
{
    static const struct { const char *call; int error; } rows[] = {
        {"alloc", ENOMEM}, {"random", EIO}, {"socket", EMFILE},
        {"connect", ECONNREFUSED}, {"send", ECONNRESET}, {"recv", ECONNRESET}};
    const bool full = getenv("TEST_FULL") != NULL;
    size_t i;
    memset(wc_big, 'w', sizeof wc_big);
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        int at = 1, rc = 0;
        while (rc != 1 || fault_count >= at) {
            NOTE("%s %d", rows[i].call, at);
            rc = wc_round(0, rows[i].call, at, rows[i].error);
            at += full || at < 20 ? 1 : 13;
        }
        NOTE("%s", rows[i].call);
        CHECK(at > (i == 2 || i == 3 ? 1 : i == 1 ? 2 : 20));
    }
}

#endif
