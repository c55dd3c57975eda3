/* torture.c: one application that does everything at once (an upload, a long
   answer, a fetch from another server, a WebSocket), again and again: each time
   another allocation or system call fails, or another await is cancelled.
   Nothing is lost, every FINALLY runs, and the next request is served. */
#include "http.h"
#include <poll.h>

/* ---- the application ---- */

static int begun, ended;        /* views; their FINALLY */

enum { PAGE = 30000, PAGES = 4 };
static char page[PAGE];

/* The parts of a form as they come: how many bytes they are. */
ASYNC_VIEW(upload, aw_part part; char some[512]; int n; int all;)
{
    BEGIN {
        begun++;
        for (;;) {
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            if (self->n <= 0) break;
            do {
                AWAIT_TO(self->n, aw_part_read, req, self->some,
                         sizeof self->some);
                if (self->n < 0) RETURN(self->n);
                self->all += self->n;
            } while (self->n > 0);
        }
        if (self->n < 0) RETURN(self->n);
        RETURN(aw_printf(req, "uploaded %d", self->all));
    } FINALLY {
        ended++;
    }
}

/* More than any socket keeps. */
ASYNC_VIEW(download, int i;)
{
    BEGIN {
        begun++;
        if (aw_stream_begin(req, "text/plain") < 0) RETURN(AW_ENOMEM);
        for (self->i = 0; self->i < PAGES; self->i++)
            AWAIT(aw_send, req, page, PAGE);
        RETURN(0);
    } FINALLY {
        ended++;
    }
}

static void undo(void *arg)
{
    ++*(int *)arg;
}

/* Two at once, from ourselves: over a socket of the client's. */
ASYNC(relay, (aw_req *req; const char *path;), aw_response *reply; int undone;)
{
    BEGIN {
        begun++;
        DEFER(undo, &ended);
        AWAIT(aw_fetch, .out = &self->reply,
              .url = aw_format(self->req, "http://127.0.0.1:%d%s",
                               aw_serve_port(AW_LOOP()), self->path));
        RETURN((int)self->reply->body_len);
    }
}

ASYNC_VIEW(relayed, int a, b;)
{
    BEGIN {
        begun++;
        START_TO(self->a, relay, req, "/download");
        START_TO(self->b, relay, req, "/hello");
        GATHER();
        if (self->a < 0 || self->b < 0)
            RETURN(self->a < 0 ? self->a : self->b);
        RETURN(aw_printf(req, "relayed %d %d", self->a, self->b));
    } FINALLY {
        AWAIT(aw_sleep_ms, 1);
        ended++;
    }
}

/* A task that outlives its request. */
ASYNC(afterwards, (const char *text;), size_t n;)
{
    BEGIN {
        begun++;
        AWAIT(aw_sleep_ms, 2);
        self->n = strlen(self->text);
    } FINALLY {
        ended++;
    }
}

VIEW(hello)
{
    aw_task task = SPAWN(afterwards, aw_format(req, "%s", aw_path(req)));
    return aw_ended(task) ? 503 : aw_text(req, "hello");
}

/* Says everything twice: to the one who said it, and to everybody. */
static aw_ws_room room;

WS_VIEW(chat, aw_ws_message msg; int rc;)
{
    BEGIN {
        begun++;
        self->rc = aw_ws_join(&room, ws);
        if (self->rc < 0) RETURN(self->rc);
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
            self->rc = aw_ws_broadcast(&room, self->msg.data, self->msg.size);
            if (self->rc < 0) RETURN(self->rc);
        }
    } FINALLY {
        ended++;
    }
}

ROUTES(app,
    WS("/chat", chat),
    GET("/hello", hello),
    GET("/download", download),
    GET("/relayed", relayed),
    POST("/upload", upload, .stream = true))

/* ---- its clients ---- */

#define HEAD_(line) line " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"

typedef struct peer {
    const char *say, *hears;    /* what it sends; the end of what it gets */
    const char *pause;          /* what it waits for at a WAIT */
    size_t least, at, n;        /* bytes: to get, sent, got */
    int fd;
    char last[64];
} peer;

#define WAIT "\x06"
static char form[9000];

static peer peers[] = {
    { form, "uploaded 7007", "", 0, 0, 0, 0, "" },
    { HEAD_("GET /download") "\r\n", "\r\n0\r\n\r\n", "", PAGE * PAGES, 0, 0, 0,
      "" },
    { HEAD_("GET /relayed") "\r\n", "relayed 120000 5", "", 0, 0, 0, 0, "" },
    { "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n" HEAD_("GET /hello") "\r\n",
      "hello", "", 250, 0, 0, 0, "" },
    /* Frames masked with "AAAA": in two parts with a ping between, a close. */
    { "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: "
      "upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
      "\x01\x83" "AAAA)$-" "\x89\x81" "AAAA1" "\x80\x82" "AAAA-." WAIT
      "\x88\x82" "AAAAB\xa9",
      "\x8a\x01p\x81\x05hello\x81\x05hello\x88\x02\x03\xe8",
      "\x05hello\x81\x05hello", 0, 0, 0, 0, "" }
};
enum { PEERS = sizeof peers / sizeof *peers };

static void world_make(void)
{
    static char body[8000];
    int n;
    memset(page, 'p', sizeof page);
    n = sprintf(body, "--b\r\nContent-Disposition: form-data; name=a\r\n"
                "\r\na value\r\n--b\r\nContent-Disposition: form-data; "
                "name=f; filename=\"a b\"\r\n\r\n%07000d\r\n--b--\r\n", 0);
    sprintf(form, HEAD_("POST /upload") "Expect: 100-continue\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: %d\r\n\r\n%s", n, body);
}

/* Faults are for the application: what the clients do, succeeds. */
static long fault_off(void)
{
    long at = fault_at;
    fault_at = 0;
    return at;
}

static void peer_open(aw_loop *l, peer *p)
{
    aw__address to = aw__address_loopback(4, aw_serve_port(l));
    p->fd = -1;
    p->at = p->n = 0;
    p->last[0] = 0;
    if (aw__io_connect(l, &to, &p->fd) == AW_EAGAIN && !l->sim) {
        struct pollfd connected;
        connected.fd = p->fd;
        connected.events = POLLOUT;
        CHECK_EQ(1, poll(&connected, 1, 10000));
    }
}

static void peer_close(aw_loop *l, peer *p)
{
    if (p->fd >= 0) aw__io_close(l, p->fd);
    p->fd = -1;
}

/* Keeps the end of what came, as text. */
static void peer_hear(peer *p, const char *bytes, size_t n)
{
    const size_t most = sizeof p->last - 1;
    size_t old = strlen(p->last), add = n < most ? n : most;
    if (old > most - add) {
        memmove(p->last, p->last + old - (most - add), most - add);
        old = most - add;
    }
    memcpy(p->last + old, bytes + n - add, add);
    p->last[old + add] = 0;
    p->n += n;
}

/* Sends a piece, takes what there is. True: something moved. */
static bool peer_turn(aw_loop *l, peer *p, size_t piece)
{
    static char bytes[40000];
    size_t n;
    ptrdiff_t sent = 0, got;
    if (p->fd < 0) return false;
    if (p->say[p->at] == WAIT[0] && strstr(p->last, p->pause)) p->at++;
    n = strcspn(p->say + p->at, WAIT);
    if (n > piece) n = piece;
    if (n) sent = aw__io_send(l, p->fd, p->say + p->at, n);
    if (sent > 0) p->at += (size_t)sent;
    got = aw__io_recv(l, p->fd, bytes, sizeof bytes);
    if (got > 0) peer_hear(p, bytes, (size_t)got);
    if (got == 0 || (got < 0 && got != AW_EAGAIN)) peer_close(l, p);
    return sent > 0 || got != AW_EAGAIN;
}

/* Lets something happen. In memory time passes only where somebody waits for
   it. False: nothing can. */
static bool turn(aw_loop *l)
{
    if (!l->sim) return aw_loop_step(l, 1) >= 0;
    return aw_loop_step(l, l->tasks ? AW_FOREVER : 0) >= 0 && l->tasks;
}

/* All at once, until all have been answered or nothing moves any more. */
static void play(aw_loop *l, size_t piece)
{
    const int patience = l->sim && !l->chaos.seed ? 10 : 300;
    int i, idle, open = PEERS;
    long at = fault_off();
    for (i = 0; i < PEERS; i++) peer_open(l, &peers[i]);
    for (idle = 0; open && idle < patience; idle++) {
        fault_at = at;
        (void)turn(l);
        (void)fault_off();
        for (i = open = 0; i < PEERS; i++) {
            if (peer_turn(l, &peers[i], piece)) idle = 0;
            open += peers[i].fd >= 0;
        }
    }
    for (i = 0; i < PEERS; i++) peer_close(l, &peers[i]);
    fault_at = at;
    for (idle = 0; idle < 20 || (idle < 300 && l->tasks); idle++) (void)turn(l);
    (void)fault_off();
}

/* Everybody got what he asked for. */
static void all_well(void)
{
    for (int i = 0; i < PEERS; i++) {
        const peer *p = &peers[i];
        size_t n = strlen(p->last), tail = strlen(p->hears);
        bool well = n >= tail && strcmp(p->last + n - tail, p->hears) == 0;
        CHECK_STR(well ? p->hears : p->last, p->hears);
        CHECK(p->n >= p->least);
    }
}

/* ---- in memory ---- */

static aw_test *open_memory(uint64_t chaos)
{
    static aw_config config;
    aw_test_config c;
    world_make();
    config = quiet_config();
    memset(&c, 0, sizeof c);
    c.routes = app;
    c.config = &config;
    c.chaos = chaos;
    begun = ended = 0;
    said[0] = 0;
    return aw_test_open_config(c);
}

/* After whatever has happened: rest, balance, and a server that hears. */
static void balanced(aw_test *t, aw__test_use before)
{
    aw__test_use after;
    const aw_response *r = aw_test_get(t, "/hello");
    CHECK_EQ(200, r->status);
    aw_test_advance(t, 60000);
    after = aw__test_rest(t);
    CHECK_EQ(before.bytes, after.bytes);
    CHECK_EQ(before.descriptors, after.descriptors);
    CHECK_EQ(0, after.tasks);
    CHECK_EQ(0, aw_test_loop(t)->server->connections);
    CHECK_EQ(begun, ended);
    CHECK_EQ(0, room.count);
}

static aw__test_use at_rest(aw_test *t)
{
    aw__test_use use;
    for (int i = 0; i < 3; i++) {
        play(aw_test_loop(t), 1000);
        all_well();
        use = aw__test_rest(t);
        aw_test_advance(t, 60000);
        use = aw__test_rest(t);
        balanced(t, use);
    }
    return aw__test_rest(t);
}

/* Every k-th point will do while you work. */
static long stride(long k)
{
    return getenv("TEST_FULL") ? 1 : k;
}

TEST(each_call_fails)
{
    static const int errors[] = {0, EINTR, EAGAIN, EMFILE, ENOMEM};
    aw_test *t = open_memory(0);
    aw__test_use before = at_rest(t);
    bool reached = true;
    long k;
    for (k = 1; reached; k += stride(7)) {
        int error = errors[k % 5];
        fault_set(NULL, k, error);
        NOTE("call %ld fails, errno %d", k, error);
        play(aw_test_loop(t), k % 2 ? 10000 : 700);
        reached = fault_count >= k;
        fault_set(NULL, 0, 0);
        if (!reached) all_well();
        balanced(t, before);
    }
    CHECK(k > 100);
    CHECK_EQ(0, aw_test_close(t));
}

static int64_t suspended, cancel_at;

static void cancel_here(aw__task *t)
{
    if (++suspended == cancel_at) aw_cancel(aw__handle(t));
}

/* Whoever is about to wait, wherever in whatever task. */
TEST(each_await_is_cancelled)
{
    aw_test *t = open_memory(0);
    aw__test_use before = at_rest(t);
    int64_t k;
    aw_test_loop(t)->sim->pipe_bytes = 2000;
    for (k = 1, suspended = k; suspended >= k; k += stride(3)) {
        NOTE("await %ld is cancelled", (long)k);
        suspended = 0;
        cancel_at = k;
        aw_test_loop(t)->on_suspend = cancel_here;
        play(aw_test_loop(t), 2000);
        aw_test_loop(t)->on_suspend = NULL;
        if (suspended < k) all_well();
        balanced(t, before);
    }
    CHECK(k > 50);
    CHECK_EQ(0, aw_test_close(t));
}

/* Short reads and writes, tasks in any order; and pipes that hold little. */
TEST(in_chaos_and_in_drops)
{
    static const uint32_t rooms[] = {65536, 1000, 61};
    for (uint64_t seed = 0; seed < (uint64_t)test_rounds(100); seed++) {
        aw_test *t = open_memory(seed);
        aw_test_loop(t)->sim->pipe_bytes = rooms[seed % 3];
        NOTE("seed %d", (int)seed);
        play(aw_test_loop(t), 300);
        all_well();
        aw_test_advance(t, 60000);
        CHECK_EQ(begun, ended);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* ---- over the kernel's sockets ---- */

/* What is no error to the kernel is none to us: the call is made again. */
static bool harmless(const char *call, int error)
{
    bool io = strcmp(call, "recv") == 0 || strcmp(call, "send") == 0 ||
        strcmp(call, "accept") == 0;
    if (error == EAGAIN) return io;
    return error == EINTR && (io || strcmp(call, "epoll_wait") == 0 ||
                              strcmp(call, "poll") == 0);
}

TEST(each_call_fails_for_real)
{
    static const int errors[] = {EINTR, 0, EAGAIN};
    bool reached = true;
    long k;
    world_make();
    for (k = 1; reached; k += stride(13)) {
        aw_loop_config lc;
        aw_config c = quiet_config();
        aw_loop *l;
        memset(&lc, 0, sizeof lc);
        lc.log = keep_log;
        lc.debug = k % 2;
        c.routes = app;
        c.port = AW_ANY_PORT;
        said[0] = 0;
        begun = ended = 0;
        l = aw_loop_new(&lc);
        CHECK_EQ(0, aw_serve(l, &c));
        fault_hit = "";
        fault_set(NULL, k, errors[k % 3]);
        play(l, 3000);
        reached = fault_count >= k;
        fault_set(NULL, 0, 0);
        NOTE("call %ld, %s, fails: %d", k, fault_hit, errors[k % 3]);
        if (!reached || harmless(fault_hit, errors[k % 3])) all_well();
        play(l, 3000);
        all_well();
        CHECK_EQ(0, l->tasks);
        CHECK_EQ(0, aw__loop_end(l));
        CHECK_EQ(begun, ended);
    }
    CHECK(k > 100);
}
