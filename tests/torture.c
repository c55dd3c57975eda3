/* torture.c: one application that does everything at once (uploads, a long
   answer, files, a fetch from another server, a WebSocket), again and again:
   each time another allocation or system call fails, each with every error that
   it may meet, or another await is cancelled. Nothing is lost, every FINALLY
   runs, and the next request is served. */
#include "http.h"
#include <dirent.h>
#include <poll.h>

/* ---- the application ---- */

static int begun, ended;        /* views; their FINALLY */

enum { PAGE = 30000, PAGES = 4 };
static char filler[PAGE];

/* The parts of a form as they come: how many bytes they are. */
ASYNC_VIEW(take_parts, aw_part part; char some[512]; int n; int all;)
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

static char scratch[40];      /* with the file "served" */

static const char *in_scratch(const char *name)
{
    static char path[80];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

/* A form as a whole; its files go to disk, one has a copy there for a moment,
   and is read again. */
VIEW(keep_form)
{
    const aw_file *f = aw_file_of(req, "f");
    char some[512];
    int64_t at = 0;
    int n;
    if (!f) return 400;
    n = aw_file_save(f, in_scratch("kept"));
    if (n == 0) CHECK_EQ(0, unlink(in_scratch("kept")));
    else if (n < 0) return n;
    while ((n = aw_file_read(f, at, some, sizeof some)) > 0) at += n;
    return n < 0 ? n : aw_printf(req, "kept %d", (int)at);
}

VIEW(file)
{
    return aw_send_file(req, in_scratch("served"));
}

/* More than any socket keeps. */
ASYNC_VIEW(send_pages, int i;)
{
    BEGIN {
        begun++;
        if (aw_stream_begin(req, "text/plain") < 0) RETURN(AW_ENOMEM);
        for (self->i = 0; self->i < PAGES; self->i++)
            AWAIT(aw_send, req, filler, PAGE);
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

VIEW(relay_end)
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

ROUTES(everything,
    WS("/chat", chat),
    GET("/hello", relay_end),
    GET("/download", send_pages),
    GET("/relayed", relayed),
    GET("/file", file),
    STATIC("/files", scratch),
    POST("/keep", keep_form),
    POST("/upload", take_parts, .stream = true))

/* ---- its clients ---- */

enum { SERVED = 70000 };        /* more than is read at a time */

#define HEAD_(line) line " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"

typedef struct peer {
    const char *say, *hears;    /* what it sends; the end of what it gets */
    const char *pause;          /* what it waits for at a WAIT */
    size_t least, at, n;        /* bytes: to get, sent, got */
    int fd;
    char last[64];
} peer;

#define WAIT "\x06"
static char form[11000], kept_form[11000];

static peer peers[] = {
    { form, "uploaded 9007", "", 0, 0, 0, 0, "" },
    { kept_form, "kept 7000", "", 0, 0, 0, 0, "" },
    { HEAD_("GET /files/served") "\r\n", "the end", "", SERVED, 0, 0, 0, "" },
    { HEAD_("GET /file") "Range: bytes=1-20000, 30000-\r\n\r\n", "--\r\n", "",
      SERVED - 10000, 0, 0, 0, "" },
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

static void form_make(char *to, const char *path, const char *more)
{
    static char body[10000];
    int n = sprintf(body, "--b\r\nContent-Disposition: form-data; name=a\r\n"
                    "\r\na value\r\n--b\r\nContent-Disposition: form-data; "
                    "name=f; filename=\"a b\"\r\n\r\n%07000d\r\n--b\r\n"
                    "Content-Disposition: form-data; name=g; filename=g\r\n\r\n"
                    "%02000d\r\n--b--\r\n", 0, 0);
    sprintf(to, "POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s"
            "Content-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: %d\r\n\r\n%s", path, more, n, body);
}

#ifdef ASYNCWEB_FIXED_MEMORY    /* fixed.c has all this once more */
static char world_memory[3000000];
#endif

static aw_config world_make(void)
{
    aw_config c = quiet_config();
    FILE *f;
    memset(filler, 'p', sizeof filler);
    form_make(form, "/upload", "Expect: 100-continue\r\n");
    form_make(kept_form, "/keep", "");
    (void)mkdir("build", 0700);
    strcpy(scratch, "build/torture.XXXXXX");
    if (!mkdtemp(scratch)) abort();
    f = fopen(in_scratch("served"), "w");
    CHECK(f != NULL);
    if (f) CHECK(fprintf(f, "%0*d%s", SERVED - 7, 0, "the end") == SERVED);
    if (f) CHECK_EQ(0, fclose(f));
    begun = ended = 0;
    said[0] = 0;
    c.file_memory = 1000;
    c.upload_dir = scratch;
#ifdef ASYNCWEB_FIXED_MEMORY
    c.memory = world_memory;
    c.memory_size = sizeof world_memory;
#endif
    return c;
}

static void world_end(void)
{
    CHECK_EQ(0, unlink(in_scratch("served")));
    CHECK_EQ(0, rmdir(scratch));
}

/* Views have ended as they began, and left no file, named or open. */
static void world_balanced(int descriptors)
{
    DIR *d = opendir(scratch);
    int names = 0;
    while (d && readdir(d)) names++;
    if (d) closedir(d);
    CHECK_EQ(3, names);         /* ".", "..", "served" */
    CHECK_EQ(descriptors, test_open_descriptors());
    CHECK_EQ(begun, ended);
    CHECK_EQ(0, room.count);
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

/* Lets something happen. Time is virtual: in memory it passes only where a task
   waits for it, else by a millisecond where nothing happens. The kernel may
   need some that is real. */
static void turn(aw_loop *l, int idle)
{
    if (l->sim) (void)aw_loop_step(l, l->tasks ? AW_FOREVER : 0);
    else (void)aw_loop_step(l, 1);
    if (idle > 150) (void)poll(NULL, 0, 1);
}

/* All at once, until all have been answered or nothing moves any more. */
static void play(aw_loop *l, size_t piece)
{
    const long at = fault_off();
    const int most = at && !fault_once ? 120 : 300;
    const int patience = l->sim && !l->chaos.seed ? 10 : most;
    int i, idle, open = PEERS;
    for (i = 0; i < PEERS; i++) peer_open(l, &peers[i]);
    for (idle = 0; open && idle < patience; idle++) {
        fault_at = at;
        turn(l, idle);
        (void)fault_off();
        for (i = open = 0; i < PEERS; i++) {
            if (peer_turn(l, &peers[i], piece)) idle = 0;
            open += peers[i].fd >= 0;
        }
    }
    for (i = 0; i < PEERS; i++) peer_close(l, &peers[i]);
    fault_at = at;
    for (idle = 0; idle < 20 || (idle < most && l->tasks); idle++)
        turn(l, idle);
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

/* ---- every point, every error ---- */

/* What each call may fail with, after the manuals. */
static const struct point {
    const char *call;
    bool socket;
    int errors[9];
} points[] = {
    { "alloc", false, {ENOMEM} },
    { "epoll_create", false, {EMFILE, ENOMEM} },
    { "eventfd", false, {EMFILE, ENOMEM} },
    { "epoll_ctl", false, {ENOMEM, ENOSPC} },
    { "epoll_wait", false, {EINTR} },
    { "poll", false, {EINTR, ENOMEM} },
    { "socket", true, {EMFILE, ENFILE, ENOBUFS, ENOMEM} },
    { "setsockopt", true, {ENOMEM} },
    { "bind", true, {EADDRINUSE, ENOMEM} },
    { "listen", true, {EADDRINUSE} },
    { "getsockname", true, {ENOBUFS} },
    { "accept", true,
      {EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM} },
    { "connect", true, {EINTR, EAGAIN, ECONNREFUSED, ETIMEDOUT, ENOBUFS} },
    { "getsockopt", true, {ECONNREFUSED, ECONNRESET, ENOBUFS} },
    { "recv", true, {FAULT_SHORT, EINTR, EAGAIN, ECONNRESET, ENOMEM} },
    { "send", true,
      {FAULT_SHORT, EINTR, EAGAIN, ECONNRESET, EPIPE, ENOBUFS, ENOMEM} },
    { "sendfile", true, {FAULT_SHORT, EINTR, EAGAIN, EINVAL, ECONNRESET, EPIPE,
                         ENOMEM, EIO} },
    { "openat2", false, {EINTR, EAGAIN, ENOSYS, EMFILE, ENFILE, ENOMEM} },
    { "open", false, {EINTR, EMFILE, ENFILE, ENOMEM} },
    { "fstat", false, {ENOMEM, EIO} },
    { "pread", false, {FAULT_SHORT, EINTR, ENOMEM, EIO} },
    { "file_open", false, {EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC} },
    { "file_write", false, {FAULT_SHORT, EINTR, ENOSPC, EIO} },
    { "file_read", false, {FAULT_SHORT, EINTR, EIO} },
    { "file_link", false, {EPERM, ENOMEM, ENOSPC} },
    { "file_rename", false, {ENOMEM, ENOSPC} }
};
enum { POINTS = sizeof points / sizeof *points };

typedef struct failure {
    const struct point *point;
    int error;
    long at;                    /* the at-th call, from 1 */
    bool once;                  /* else all from then on, while they play */
} failure;

/* What is no error to the kernel is none to us: the call is made again, or
   another does its work. */
static bool harmless(const failure *f)
{
    const char *call = f->point->call;
    if (f->error == ENOSYS) return strcmp(call, "openat2") == 0;
    if (f->error == EINVAL) return strcmp(call, "sendfile") == 0;
    if (f->error == EPERM) return strcmp(call, "file_link") == 0;
    if (f->error == EAGAIN && strcmp(call, "connect") == 0) return false;
    return f->once && (f->error == EAGAIN || f->error == EINTR ||
                       f->error == ECONNABORTED || f->error == FAULT_SHORT);
}

/* What ends below the sockets in memory. */
static bool too_deep(const struct point *p, int error)
{
    return p->socket && (error == EINTR || error == ECONNABORTED);
}

/* Every k-th point will do while you work; in a buffer, some. */
static long stride(long k)
{
    return getenv("TEST_FULL") ? 1 : AW__SIZED(k, 5 * k);
}

static void failure_begin(const failure *f)
{
    NOTE("%s %ld fails%s: %d", f->point->call, f->at,
         f->once ? "" : " and all that follow", f->error);
    fault_set(f->point->call, f->at, f->error);
    fault_once = f->once;
}

/* False: it was not reached. */
static bool failure_end(const failure *f)
{
    const bool reached = fault_count >= f->at;
    fault_set(NULL, 0, 0);
    return reached;
}

/* Each call with one error, and as many as were made. While you work the
   first and every k-th, others with each error. */
static int each_call(failure f, long k, void *world,
                     bool (*run)(void *world, const failure *f))
{
    const long step = stride(k);
    int runs = 0;
    for (f.at = 1; run(world, &f); runs++)
        f.at += f.at > 1 ? step : 1 + (f.error & 63) % step;
    return runs;
}

static void each_error(bool memory, long k, void *world,
                       bool (*run)(void *world, const failure *f))
{
    int kinds = 0, errors = 0, all = 0;
    for (int i = 0; i < POINTS; i++) {
        failure f;
        int runs = 0;
        f.point = &points[i];
        for (const int *e = f.point->errors; *e; e++) {
            if (memory && too_deep(f.point, *e)) continue;
            f.error = *e;
            f.once = true;
            runs += each_call(f, k, world, run);
            errors += runs > 0;
            /* EINTR for ever would be tried for ever. */
            f.once = false;
            if (runs && *e != EINTR && *e != FAULT_SHORT)
                runs += each_call(f, k, world, run);
        }
        kinds += runs > 0;
        all += runs;
        if (runs && test_.verbose) printf("%s: %d runs\n", f.point->call, runs);
    }
    if (test_.verbose)
        printf("%d runs: %d kinds of calls, %d with their errors\n", all, kinds,
               errors);
    CHECK(kinds >= 12 && all > AW__SIZED(200, 100));
}

/* ---- in memory ---- */

static aw_test *open_memory(uint64_t chaos)
{
    static aw_config config;
    aw_test_config c;
    config = world_make();
    memset(&c, 0, sizeof c);
    c.routes = everything;
    c.config = &config;
    c.chaos = chaos;
    return aw_test_open_config(c);
}

typedef struct memory {
    aw_test *test;
    aw__test_use rest;
    int descriptors;
} memory;

/* After whatever has happened: rest, balance, and a server that hears. */
static void balanced(const memory *m)
{
    aw__test_use after;
    const aw_response *r = aw_test_get(m->test, "/hello");
    CHECK_EQ(200, r->status);
    aw_test_advance(m->test, 60000);
    after = aw__test_rest(m->test);
    CHECK_EQ(m->rest.bytes, after.bytes);
    CHECK_EQ(m->rest.descriptors, after.descriptors);
    CHECK_EQ(0, after.tasks);
    CHECK_EQ(0, aw_test_loop(m->test)->server->connections);
    world_balanced(m->descriptors);
}

static memory memory_at_rest(void)
{
    memory m;
    m.test = open_memory(0);
    m.descriptors = test_open_descriptors();
    for (int i = 0; i < 3; i++) {
        play(aw_test_loop(m.test), 1000);
        all_well();
        (void)aw__test_rest(m.test);
        aw_test_advance(m.test, 60000);
        m.rest = aw__test_rest(m.test);
        balanced(&m);
    }
    m.rest = aw__test_rest(m.test);
    return m;
}

static void memory_end(memory *m)
{
    CHECK_EQ(0, aw_test_close(m->test));
    world_end();
}

static bool run_in_memory(void *world, const failure *f)
{
    const memory *m = (const memory *)world;
    bool reached;
    failure_begin(f);
    play(aw_test_loop(m->test), f->at % 2 ? 10000 : 700);
    reached = failure_end(f);
    if (!reached || harmless(f)) all_well();
    balanced(m);
    return reached;
}

TEST(each_call_fails)
{
    memory m = memory_at_rest();
    each_error(true, 7, &m, run_in_memory);
    memory_end(&m);
}

static int64_t suspended, cancel_at;

static void cancel_here(aw__task *t)
{
    if (++suspended == cancel_at) aw_cancel(aw__handle(t));
}

/* Whoever is about to wait, wherever in whatever task. */
TEST(each_await_is_cancelled)
{
    memory m = memory_at_rest();
    aw_loop *l = aw_test_loop(m.test);
    int64_t k;
    l->sim->pipe_bytes = 2000;
    for (k = 1, suspended = k; suspended >= k; k += test_full() ? 1 : 3) {
        NOTE("await %ld is cancelled", (long)k);
        suspended = 0;
        cancel_at = k;
        l->on_suspend = cancel_here;
        play(l, 2000);
        l->on_suspend = NULL;
        if (suspended < k) all_well();
        balanced(&m);
    }
    CHECK(k > 50);
    memory_end(&m);
}

/* Short reads and writes, tasks in any order; and pipes that hold little. */
TEST(in_chaos_and_in_drops)
{
    static const uint32_t rooms[] = {65536, 1000, 211};
    for (uint64_t seed = 0; seed < (uint64_t)test_rounds(100); seed++) {
        aw_test *t = open_memory(seed);
        aw_test_loop(t)->sim->pipe_bytes = rooms[seed % 3];
        NOTE("seed %d", (int)seed);
        play(aw_test_loop(t), 300);
        all_well();
        aw_test_advance(t, 60000);
        CHECK_EQ(begun, ended);
        CHECK_EQ(0, aw_test_close(t));
        world_end();
    }
}

/* ---- over the kernel's sockets ---- */

/* From before the loop is there, but the end is in peace. */
static bool run_for_real(void *world, const failure *f)
{
    aw_config *c = (aw_config *)world;
    const int descriptors = test_open_descriptors();
    aw_loop_config lc;
    aw_loop *l;
    int rc;
    bool reached;
    memset(&lc, 0, sizeof lc);
    lc.log = keep_log;
    lc.debug = f->at % 2;
    lc.memory = c->memory;
    lc.memory_size = c->memory_size;
    said[0] = 0;
    failure_begin(f);
    l = aw_loop_new(&lc);
    if (l) l->is_virtual = true;
    rc = l ? aw_serve(l, c) : AW_ENOMEM;
    if (rc == 0) play(l, 3000);
    reached = failure_end(f);
    CHECK(rc == 0 || reached);
    if (rc == 0) {
        if (!reached || harmless(f)) all_well();
        play(l, 3000);
        all_well();
        CHECK_EQ(0, l->tasks);
    }
    if (l) CHECK_EQ(0, aw__loop_end(l));
    world_balanced(descriptors);
    return reached;
}

TEST(each_call_fails_for_real)
{
    aw_config c = world_make();
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);    /* else no sendfile() */
    c.routes = everything;
    c.port = AW_ANY_PORT;
    each_error(false, 11, &c, run_for_real);
    signal(SIGPIPE, old);
    world_end();
}
