/* streams.c: sockets, names and streams, in memory and over loopback. */
#include "test.h"
#include <stddef.h>

/* Every system call and allocation can be made to fail, once. */
static struct {
    const char *call;           /* NULL: none; "": any system call */
    int error;
    long seen, at;              /* how often it was made; which one fails */
    bool off;
} fault;

static int stream_fault(const char *call)
{
    if (!fault.call || fault.off) return 0;
    /* A poller that cannot wait ends the run: the core's tests see to it. */
    if (fault.call[0] ? strcmp(fault.call, call) != 0
                      : !strcmp(call, "alloc") || !strcmp(call, "poll") ||
                        !strcmp(call, "epoll_wait")) return 0;
    if (++fault.seen != fault.at) return 0;
    errno = fault.error;
    return 1;
}

/* ---- loops ---- */

enum { MEMORY, KERNEL, CHAOS, KINDS };
static const char *const kind_names[] = {"in memory", "loopback", "chaos"};

static void quiet(void *data, aw_log_level level, const char *line)
{
    (void)data, (void)level, (void)line;
}

static aw_loop *open_loop(int kind)
{
    aw_loop_config config;
    aw_loop *l;
    memset(&config, 0, sizeof config);
    config.log = quiet;
    config.debug = true;
    NOTE("%s", kind_names[kind]);
    l = aw_loop_new(&config);
    if (!l) return NULL;
    if (kind != KERNEL && aw__sim_open(l) < 0) {
        aw_loop_free(l);
        return NULL;
    }
    if (kind == CHAOS) aw__chaos_on(l, 7);
    return l;
}

static int open_descriptors(const aw_loop *l)
{
    int fd, n = 0;
    if (l->sim) return l->sim->open;
    for (fd = 0; fd < l->fd_end; fd++)
        n += l->fds[fd].kind != AW__FD_FREE && l->fds[fd].kind != AW__FD_WAKE;
    return n;
}

/* Ends the loop; nothing may be open, and no memory in use. */
static void close_loop(aw_loop *l)
{
    CHECK_EQ(open_descriptors(l), 0);
    aw_loop_free(l);
}

/* The memory that belongs to no loop for ever: all but its tables. */
static size_t live(const aw_loop *l)
{
    size_t n = l->mem.live - (size_t)l->fd_cap * sizeof *l->fds -
        (size_t)l->slot_cap * sizeof *l->slots;
#ifdef ASYNCWEB_POLL
    n -= (size_t)l->poll_cap * sizeof(struct pollfd);
#endif
    if (!l->sim) return n;
    return n - sizeof *l->sim - (size_t)l->sim->cap * sizeof *l->sim->slots;
}

/* ---- two ends of one connection ---- */

ASYNC(accept_one, (aw_listener *listener; aw_stream **out;))
{
    BEGIN { AWAIT(aw_accept, self->listener, self->out); }
}

ASYNC(make_pair, (aw_stream **a; aw_stream **b;), aw_listener *x;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "127.0.0.1", 0);
        START(accept_one, self->x, self->b);
        AWAIT(aw_connect, self->a, "127.0.0.1", aw_listener_port(self->x));
        GATHER();
    } FINALLY { aw_listener_close(self->x); }
}

/* Runs a scenario over each kind of loop. It gets two ends, and closes them. */
typedef struct ends {
    aw_stream *a, *b;
    int how;
} ends;

static void run_ends(const aw_fn *fn, int how, int first, int last)
{
    int kind;
    for (kind = first; kind <= last; kind++) {
        aw_loop *l = open_loop(kind);
        ends e;
        struct {
            AW__ARGS_HEAD
            ends *e;
        } args;
        memset(&e, 0, sizeof e);
        memset(&args, 0, sizeof args);
        SPAWN_ON(l, make_pair, &e.a, &e.b);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK(e.a && e.b);
        e.how = how;
        args.e = &e;
        aw__spawn_on(l, fn, (char *)&args + AW__ARGS_FROM);
        CHECK_EQ(aw_loop_run(l), 0);
        aw_stream_abort(e.a);
        aw_stream_abort(e.b);
        CHECK_EQ(live(l), 0);
        close_loop(l);
    }
}

#define RUN_ENDS(name, how) run_ends(&aw_fn_##name, how, MEMORY, CHAOS)
#define RUN_ENDS_IN(kind, name, how) run_ends(&aw_fn_##name, how, kind, kind)

/* ---- reading and writing ---- */

ASYNC(says_hello, (ends *e;), char text[32]; int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_write, self->e->a, "hello\nworld", 11);
        CHECK_EQ(self->n, 11);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 32, "\n");
        CHECK_EQ(self->n, 6);
        CHECK(memcmp(self->text, "hello\n", 6) == 0);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 5);
        CHECK_EQ(self->n, 5);
        CHECK(memcmp(self->text, "world", 5) == 0);
        CHECK(!self->e->b->ahead);
        AWAIT(aw_close, self->e->a);
        self->e->a = NULL;
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, 32);
        CHECK_EQ(self->n, 0);
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, 0);
        CHECK_EQ(self->n, 0);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 1);
        CHECK_EQ(self->n, AW_EEOF);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 9, "x");
        CHECK_EQ(self->n, AW_EEOF);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 9, "");
        CHECK_EQ(self->n, AW_EINVAL);
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, SIZE_MAX);
        CHECK_EQ(self->n, AW_EINVAL);
        AWAIT_TO(self->n, aw_read, NULL, self->text, 1);
        CHECK_EQ(self->n, AW_EINVAL);
        AWAIT_TO(self->n, aw_write, self->e->b, self->text, SIZE_MAX);
        CHECK_EQ(self->n, AW_EINVAL);
        AWAIT_TO(self->n, aw_write, NULL, self->text, 1);
        CHECK_EQ(self->n, AW_EINVAL);
        AWAIT(aw_close, NULL);
    }
}
TEST(stream_read_write) { RUN_ENDS(says_hello, 0); }

/* A text in two pieces, split anywhere, is read the same. */
static const char split_text[] = "one\r\ntwo\r\r\n\r\nlast";
enum { SPLIT_SIZE = sizeof split_text - 1 };

ASYNC(split_writer, (ends *e; int at;))
{
    BEGIN {
        AWAIT(aw_write, self->e->a, split_text, self->at);
        AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_write, self->e->a, split_text + self->at,
              SPLIT_SIZE - self->at);
        AWAIT(aw_close, self->e->a);
        self->e->a = NULL;
    }
}
ASYNC(split_reader, (ends *e;), char text[32]; int n;)
{
    BEGIN {
        START(split_writer, self->e, self->e->how);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 32, "\r\n");
        CHECK_EQ(self->n, 5);
        CHECK(memcmp(self->text, split_text, 5) == 0);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 32,
                 "\r\n\r\n");
        CHECK_EQ(self->n, 8);
        CHECK(memcmp(self->text, split_text + 5, 8) == 0);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 3, "\n");
        CHECK_EQ(self->n, AW_ETOOBIG);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 32, "\n");
        CHECK_EQ(self->n, AW_EEOF);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 4);
        CHECK_EQ(self->n, 4);
        CHECK(memcmp(self->text, "last", 4) == 0);
        GATHER();
    }
}
TEST(stream_read_until_split)
{
    int at;
    for (at = 0; at <= SPLIT_SIZE; at++) RUN_ENDS(split_reader, at);
}

/* A megabyte through a small pipe arrives as it was sent. */
enum { BIG = 1 << 20 };
static unsigned char big[BIG], got[BIG];

ASYNC(big_writer, (ends *e;), int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_write, self->e->a, big, BIG);
        CHECK_EQ(self->n, BIG);
        AWAIT(aw_close, self->e->a);
        self->e->a = NULL;
    }
}
ASYNC(big_reader, (ends *e;), int n; size_t at;)
{
    BEGIN {
        if (self->e->b->loop->sim) self->e->b->loop->sim->pipe_bytes = 4096;
        START(big_writer, self->e);
        if (self->e->how) {
            AWAIT(aw_read_exactly, self->e->b, got, BIG);
        } else {
            do {
                AWAIT_TO(self->n, aw_read, self->e->b, got + self->at, 5000);
                self->at += (size_t)self->n;
            } while (self->n > 0 && self->at <= BIG - 5000);
            if (self->n > 0)
                AWAIT(aw_read_exactly, self->e->b, got + self->at,
                      BIG - self->at);
        }
        AWAIT_TO(self->n, aw_read, self->e->b, got, 1);
        CHECK_EQ(self->n, 0);
        GATHER();
    }
}
TEST(stream_backpressure)
{
    int how, i;
    for (i = 0; i < BIG; i++) big[i] = (unsigned char)(i * 7 + i / 251);
    for (how = 0; how < 2; how++) {
        memset(got, 0, sizeof got);
        RUN_ENDS(big_reader, how);
        got[0] = big[0];
        CHECK(memcmp(got, big, BIG) == 0);
    }
}

/* Many lines in one packet: what was received ahead comes in order. */
ASYNC(reads_lines, (ends *e;), char all[4000]; char line[300]; int i, n;)
{
    BEGIN {
        for (self->i = 0, self->n = 0; self->i < 400; self->i++)
            self->n += snprintf(self->all + self->n, 10, "%d\n", self->i);
        AWAIT(aw_write, self->e->a, self->all, self->n);
        for (self->i = 0; self->i < 400; self->i++) {
            AWAIT_TO(self->n, aw_read_until, self->e->b, self->line,
                     sizeof self->line - 1, "\n");
            self->line[self->n < 0 ? 0 : self->n] = 0;
            CHECK_EQ(atoi(self->line), self->i);
        }
        CHECK(!self->e->b->ahead);
    }
}
TEST(stream_lines) { RUN_ENDS(reads_lines, 0); }

/* The delimiter may be gone while the read waits. */
ASYNC(until_child, (ends *e; char *text;), int n;)
{
    BEGIN {
        char delimiter[4] = "##";
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 20, delimiter);
        CHECK_EQ(self->n, 3);
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, 20);
        CHECK_EQ(self->n, 1);
    }
}
ASYNC(until_parent, (ends *e;), char text[20];)
{
    BEGIN {
        START(until_child, self->e, self->text);
        AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_write, self->e->a, "a#", 2);
        AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_write, self->e->a, "##", 2);
        GATHER();
    }
}
TEST(stream_delimiter_copied) { RUN_ENDS(until_parent, 0); }

/* ---- one reader, one writer ---- */

ASYNC(reads_byte, (aw_stream *s;), char c; int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_read_exactly, self->s, &self->c, 1);
        RETURN(self->n);
    }
}
ASYNC(writes_big, (aw_stream *s;), int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_write, self->s, big, BIG);
        RETURN(self->n);
    }
}
ASYNC(busy, (ends *e;), char c; int n, read, written;)
{
    BEGIN {
        START_TO(self->read, reads_byte, self->e->b);
        START_TO(self->written, writes_big, self->e->b);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(self->n, aw_read, self->e->b, &self->c, 1);
        CHECK_EQ(self->n, AW_EBUSY);
        AWAIT_TO(self->n, aw_write, self->e->b, "x", 1);
        CHECK_EQ(self->n, AW_EBUSY);
        if (self->e->how) {
            AWAIT(aw_close, self->e->b);
            self->e->b = NULL;
            GATHER();
            CHECK_EQ(self->read, AW_ECLOSED);
            CHECK_EQ(self->written, AW_ECLOSED);
            RETURN(0);
        }
        AWAIT(aw_write, self->e->a, "x", 1);
        AWAIT(aw_read_exactly, self->e->a, got, BIG);
        GATHER();
        CHECK_EQ(self->read, 1);
        CHECK_EQ(self->written, BIG);
    }
}
TEST(stream_busy)
{
    /* More than the kernel keeps for loopback. */
    RUN_ENDS_IN(MEMORY, busy, 0);
    RUN_ENDS_IN(CHAOS, busy, 0);
}
TEST(stream_closed_while_awaited)
{
    RUN_ENDS_IN(MEMORY, busy, 1);
    RUN_ENDS_IN(CHAOS, busy, 1);
}

/* ---- cancelled reads lose nothing ---- */

ASYNC(times_out, (ends *e;), char text[16]; int n;)
{
    BEGIN {
        AWAIT(aw_write, self->e->a, "abc", 3);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_FOR_TO(5, self->n, aw_read_exactly, self->e->b, self->text, 10);
        CHECK_EQ(self->n, AW_EDEADLINE);
        AWAIT_FOR_TO(5, self->n, aw_read_until, self->e->b, self->text, 10,
                     "!");
        CHECK_EQ(self->n, AW_EDEADLINE);
        AWAIT_FOR_TO(0, self->n, aw_read_until, self->e->b, self->text, 10,
                     "!");
        CHECK_EQ(self->n, AW_EDEADLINE);
        AWAIT(aw_write, self->e->a, "de!", 3);
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 10, "!");
        CHECK_EQ(self->n, 6);
        CHECK(memcmp(self->text, "abcde!", 6) == 0);
        AWAIT_FOR_TO(5, self->n, aw_read, self->e->b, self->text, 10);
        CHECK_EQ(self->n, AW_EDEADLINE);
    }
}
TEST(stream_cancelled_read_keeps_bytes) { RUN_ENDS(times_out, 0); }

/* Without memory to keep them, the stream says so from then on. */
ASYNC(no_room, (ends *e;), char text[16]; int n;)
{
    BEGIN {
        AWAIT(aw_write, self->e->a, "abc\nd", 5);
        AWAIT(aw_sleep_ms, 1);
        test_fault = stream_fault;
        fault.call = "alloc";
        fault.at = 1;
        fault.seen = 0;
        AWAIT_TO(self->n, aw_read_until, self->e->b, self->text, 10, "\n");
        fault.call = NULL;
        CHECK_EQ(self->n, AW_ENOMEM);
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, 10);
        CHECK_EQ(self->n, 4);
        AWAIT_TO(self->n, aw_read, self->e->b, self->text, 10);
        CHECK_EQ(self->n, AW_ENOMEM);
    }
}
TEST(stream_read_ahead_without_memory)
{
    RUN_ENDS_IN(KERNEL, no_room, 0);
}

/* ---- how a peer goes ---- */

ASYNC(half_close, (ends *e;), char text[16]; int n;)
{
    BEGIN {
        AWAIT(aw_write, self->e->a, "bye", 3);
        aw__io_shutdown(self->e->a->loop, self->e->a->fd);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 10);
        CHECK_EQ(self->n, AW_EEOF);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 3);
        CHECK_EQ(self->n, 3);
        AWAIT(aw_write, self->e->b, "and you", 7);
        AWAIT_TO(self->n, aw_read_exactly, self->e->a, self->text, 7);
        CHECK_EQ(self->n, 7);
        AWAIT_TO(self->n, aw_write, self->e->a, "more", 4);
        CHECK_EQ(self->n, AW_ECLOSED);
    }
}
TEST(stream_half_close) { RUN_ENDS(half_close, 0); }

/* As aw_stream_abort does it, but with a reset. */
static void reset(aw_stream *s)
{
    aw__io_reset(s->loop, s->fd);
    aw__mem_put(&s->loop->mem, s, sizeof *s);
}

ASYNC(reset_peer, (ends *e;), char c; int n, i;)
{
    BEGIN {
        START_TO(self->n, reads_byte, self->e->b);
        AWAIT(aw_sleep_ms, 1);
        reset(self->e->a);
        self->e->a = NULL;
        GATHER();
        CHECK_EQ(self->n, AW_ECONNRESET);
        AWAIT_TO(self->n, aw_read, self->e->b, &self->c, 1);
        CHECK_EQ(self->n, AW_ECONNRESET);
        AWAIT_TO(self->n, aw_write, self->e->b, "x", 1);
        CHECK(self->n == AW_ECLOSED || self->n == AW_EAGAIN);
    }
}
TEST(stream_reset) { RUN_ENDS(reset_peer, 0); }

/* Writing to one who has closed fails in the end, and kills nobody. */
ASYNC(writes_to_nobody, (ends *e;), int n, i;)
{
    BEGIN {
        AWAIT(aw_close, self->e->a);
        self->e->a = NULL;
        for (self->i = 0, self->n = 1; self->i < 10 && self->n > 0; self->i++) {
            AWAIT_TO(self->n, aw_write, self->e->b, "x", 1);
            AWAIT(aw_sleep_ms, 1);
        }
        CHECK(self->n == AW_ECLOSED || self->n == AW_ECONNRESET);
    }
}
TEST(stream_write_to_closed) { RUN_ENDS(writes_to_nobody, 0); }

/* aw_close does not destroy what the peer has not read yet, even when there
   was something that nobody read here. */
ASYNC(closes_unread, (ends *e;), char text[8]; int n;)
{
    BEGIN {
        AWAIT(aw_write, self->e->b, "unread", 6);
        AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_write, self->e->a, "answer", 6);
        AWAIT(aw_close, self->e->a);
        self->e->a = NULL;
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(self->n, aw_read_exactly, self->e->b, self->text, 6);
        CHECK_EQ(self->n, 6);
    }
}
TEST(stream_close_in_order)
{
    RUN_ENDS_IN(MEMORY, closes_unread, 0);
    RUN_ENDS_IN(KERNEL, closes_unread, 0);
}

/* ---- no spinning ---- */

/* Bytes that nobody reads cost one event, not one a turn. */
ASYNC(ignores_input, (ends *e;), char c;)
{
    BEGIN {
        AWAIT_FOR_TO(1, self->e->how, aw_read, self->e->b, &self->c, 1);
        CHECK_EQ(self->e->b->loop->fds[self->e->b->fd].have, AW_READ);
        AWAIT(aw_write, self->e->a, "abc", 3);
        AWAIT(aw_sleep_ms, 2);
        CHECK_EQ(self->e->b->loop->fds[self->e->b->fd].have, 0);
        AWAIT(aw_read_exactly, self->e->b, &self->c, 1);
    }
}
TEST(stream_unread_does_not_spin) { RUN_ENDS(ignores_input, 0); }

/* ---- listen, accept, connect ---- */

static int rc_of;
static char peer_text[AW_PEER_TEXT];

ASYNC(connects_to, (const char *host; int port;), aw_stream *s; int rc;)
{
    BEGIN {
        self->s = (aw_stream *)self;
        AWAIT_TO(self->rc, aw_connect, &self->s, self->host, self->port);
        rc_of = self->rc;
        CHECK(self->rc == 0 || !self->s);
        if (self->s)
            aw_stream_peer(self->s, peer_text, sizeof peer_text);
        AWAIT(aw_close, self->s);
    }
}

/* Listens at one address, calls another. */
ASYNC(listens_at, (const char *host; const char *call; int port;),
      aw_listener *x; aw_stream *s; int rc;)
{
    BEGIN {
        AWAIT_TO(rc_of, aw_listen, &self->x, self->host, self->port);
        if (rc_of < 0) RETURN(0);
        CHECK(aw_listener_port(self->x) > 0);
        rc_of = 1;
        START(connects_to, self->call, aw_listener_port(self->x));
        AWAIT_FOR_TO(100, self->rc, aw_accept, self->x, &self->s);
        CHECK_EQ(self->rc == 0, self->s != NULL);
        GATHER();
        AWAIT(aw_close, self->s);
    } FINALLY { aw_listener_close(self->x); }
}

static int listens(int kind, const char *host, const char *call)
{
    aw_loop *l = open_loop(kind);
    NOTE("%s, %s, %s", kind_names[kind], host ? host : "(null)", call);
    SPAWN_ON(l, listens_at, host, call, 0);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(live(l), 0);
    close_loop(l);
    return rc_of;
}

/* Is there an IPv6 loopback here? */
static bool has_ipv6(void)
{
    return listens(KERNEL, "::1", "::1") == 0;
}

TEST(listen_and_connect)
{
    int kind;
    bool v6 = has_ipv6();
    for (kind = MEMORY; kind < KINDS; kind++) {
        CHECK_EQ(listens(kind, "127.0.0.1", "127.0.0.1"), 0);
        CHECK(strncmp(peer_text, "127.0.0.1:", 10) == 0);
        CHECK_EQ(listens(kind, "0.0.0.0", "127.0.0.1"), 0);
        CHECK_EQ(listens(kind, NULL, "127.0.0.1"), 0);
        CHECK_EQ(listens(kind, "127.0.0.1", "localhost"), 0);
        CHECK_EQ(listens(kind, "localhost", "localhost"), 0);
        CHECK_EQ(listens(kind, "127.0.0.1", "127.0.0.2"), AW_ECONNREFUSED);
        if (kind == KERNEL && !v6) continue;
        CHECK_EQ(listens(kind, "::1", "::1"), 0);
        CHECK(strncmp(peer_text, "[::1]:", 6) == 0);
        CHECK_EQ(listens(kind, NULL, "::1"), 0);
        CHECK_EQ(listens(kind, "::", "127.0.0.1"), AW_ECONNREFUSED);
    }
}

TEST(connect_errors)
{
    static const struct {
        const char *host;
        int port, rc;
    } rows[] = {
        {"127.0.0.1", 1, AW_ECONNREFUSED}, {"", 80, AW_EDNS},
        {"a.invalid", 80, AW_EDNS},         /* RFC 6761 section 6.4 */
        {"127.0.0.1", 65536, AW_EINVAL}, {"127.0.0.1", -1, AW_EINVAL},
        {NULL, 80, AW_EINVAL}, {"1.2.3.4.5.invalid", 80, AW_EDNS}};
    size_t i;
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++)
        for (i = 0; i < sizeof rows / sizeof *rows; i++) {
            aw_loop *l = open_loop(kind);
            NOTE("%s, %s", kind_names[kind], rows[i].host ? rows[i].host : "");
            SPAWN_ON(l, connects_to, rows[i].host, rows[i].port);
            CHECK_EQ(aw_loop_run(l), 0);
            CHECK_EQ(rc_of, rows[i].rc);
            close_loop(l);
        }
}

/* The name of the host may be gone while it waits. */
ASYNC(host_on_stack, (const char *host;), aw_listener *x; aw_stream *s;)
{
    BEGIN {
        char host[20];
        snprintf(host, sizeof host, "%s", self->host);
        AWAIT(aw_listen, &self->x, host, 0);
        snprintf(host, sizeof host, "%s", self->host);
        AWAIT(aw_connect, &self->s, host, aw_listener_port(self->x));
        AWAIT(aw_close, self->s);
    } FINALLY { aw_listener_close(self->x); }
}
TEST(connect_host_copied)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    int kind, i;
    for (kind = MEMORY; kind < KINDS; kind++)
        for (i = 0; i < 2; i++) {
            aw_loop *l = open_loop(kind);
            aw_task t = SPAWN_ON(l, host_on_stack, hosts[i]);
            CHECK_EQ(aw_loop_run(l), 0);
            CHECK_EQ(l->slots[t.slot].u.result, 0);
            close_loop(l);
        }
}

ASYNC(listens_twice, (), aw_listener *x; aw_listener *y; int rc;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "127.0.0.1", 0);
        AWAIT_TO(self->rc, aw_listen, &self->y, "127.0.0.1",
                 aw_listener_port(self->x));
        CHECK_EQ(self->rc, AW_EADDRINUSE);
        CHECK(!self->y);
        AWAIT_TO(self->rc, aw_listen, &self->y, "192.0.2.1", 0);
        CHECK(self->rc == AW_EADDRNOTAVAIL || AW_LOOP()->sim);
        if (self->rc == 0) aw_listener_close(self->y);
    } FINALLY { aw_listener_close(self->x); }
}
TEST(listen_address_in_use)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        SPAWN_ON(l, listens_twice);
        CHECK_EQ(aw_loop_run(l), 0);
        close_loop(l);
    }
}

ASYNC(accepts, (aw_listener *x; int *rc;), aw_stream *s;)
{
    BEGIN { AWAIT_TO(*self->rc, aw_accept, self->x, &self->s); }
}
ASYNC(accept_busy, (), aw_listener *x; aw_stream *s; int rc, first;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, NULL, 0);
        START(accepts, self->x, &self->first);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(self->rc, aw_accept, self->x, &self->s);
        CHECK_EQ(self->rc, AW_EBUSY);
        aw_listener_close(self->x);
        GATHER();
        CHECK_EQ(self->first, AW_ECLOSED);
    }
}
TEST(accept_busy_and_closed)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        SPAWN_ON(l, accept_busy);
        CHECK_EQ(aw_loop_run(l), 0);
        close_loop(l);
    }
}

/* TCP_NODELAY and CLOEXEC on both ends. */
static void check_socket(const aw_stream *s)
{
    int value = 0;
    socklen_t n = sizeof value;
    CHECK_EQ(getsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &value, &n), 0);
    CHECK(value != 0);
    CHECK(fcntl(s->fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(s->fd, F_GETFL) & O_NONBLOCK);
}
ASYNC(checks_options, (ends *e;))
{
    BEGIN {
        check_socket(self->e->a);
        check_socket(self->e->b);
    }
}
TEST(socket_options) { RUN_ENDS_IN(KERNEL, checks_options, 0); }

/* ---- a server and its clients, for what follows ---- */

ASYNC(echoes, (aw_stream *s;), char bytes[64]; int n;)
{
    BEGIN {
        DEFER(aw_stream_abort, self->s);
        for (;;) {
            AWAIT_TO(self->n, aw_read, self->s, self->bytes, 64);
            if (self->n <= 0) break;
            AWAIT(aw_write, self->s, self->bytes, (size_t)self->n);
        }
    }
}
ASYNC(serves, (aw_listener *x;), aw_stream *s;)
{
    BEGIN {
        for (;;) {
            AWAIT(aw_accept, self->x, &self->s);
            if (!START(echoes, self->s).loop) aw_stream_abort(self->s);
        }
    }
}
ASYNC(client, (int port; bool by_name;), aw_stream *s; char line[40]; int n;)
{
    BEGIN {
        AWAIT(aw_connect, &self->s, self->by_name ? "localhost" : "127.0.0.1",
              self->port);
        AWAIT(aw_write, self->s, "first\nsecond\n", 13);
        AWAIT_TO(self->n, aw_read_until, self->s, self->line, 40, "\n");
        if (self->n < 0) RETURN(self->n);
        CHECK(self->n == 6 && memcmp(self->line, "first\n", 6) == 0);
        AWAIT(aw_read_exactly, self->s, self->line, 7);
        CHECK(memcmp(self->line, "second\n", 7) == 0);
        RETURN(1);
    } FINALLY { AWAIT(aw_close, self->s); }
}
ASYNC(clients, (int port; bool by_name;))
{
    BEGIN {
        START(client, self->port, self->by_name);
        START(client, self->port, self->by_name);
        GATHER();
    }
}
/* The first error ends all of it. */
ASYNC(conversation, (bool by_name;), aw_listener *x;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, self->by_name ? NULL : "127.0.0.1", 0);
        START(serves, self->x);
        AWAIT(clients, aw_listener_port(self->x), self->by_name);
        RETURN(1);
    } FINALLY { aw_listener_close(self->x); }
}

TEST(echo)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        aw_task t = SPAWN_ON(l, conversation, true);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_EQ(l->slots[t.slot].u.result, 1);
        CHECK_EQ(live(l), 0);
        close_loop(l);
    }
}

/* Cancelled wherever it waits, nothing stays behind. */
TEST(cancel_at_each_await)
{
    int kind, k;
    for (kind = MEMORY; kind < KINDS; kind++)
        for (k = 1; k < 500; k++) {
            aw_loop *l = open_loop(kind);
            NOTE("%s, cancelled at suspension %d", kind_names[kind], k);
            aw__cancel_at(l, SPAWN_ON(l, conversation, true), k);
            CHECK_EQ(aw_loop_run(l), 0);
            CHECK_EQ(live(l), 0);
            if (l->chaos.suspended < k) k = 1000;
            close_loop(l);
        }
}

/* Fails the k-th call; true while there was one. What breaks is a result. */
static bool torture(int kind, const char *call, int error, long k, bool by_name)
{
    aw_loop *l = open_loop(kind);
    int rc;
    NOTE("%s, %s number %ld fails with %d", kind_names[kind],
         call[0] ? call : "system call", k, error);
    test_fault = stream_fault;
    fault.call = call;
    fault.error = error;
    fault.seen = 0;
    fault.at = k;
    SPAWN_ON(l, conversation, by_name);
    rc = aw_loop_run(l);
    fault.call = NULL;
    /* With poll, the loop itself needs memory. */
    CHECK(rc == 0 || (rc == AW_ENOMEM && !strcmp(AW__POLLER, "poll")));
    CHECK(rc < 0 || open_descriptors(l) <= 1);
    aw_loop_free(l);
    return fault.seen >= k;
}

static const int torture_errors[] = {EIO, EMFILE, ENOMEM, EINTR, EAGAIN,
                                     ECONNABORTED};

TEST(each_allocation_fails)
{
    long k;
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++)
        for (k = 1; torture(kind, "alloc", ENOMEM, k, kind != KERNEL); k++) {}
}

TEST(each_system_call_fails)
{
    size_t i;
    long k;
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++)
        for (i = 0; i < sizeof torture_errors / sizeof *torture_errors; i++)
            for (k = 1; torture(kind, "", torture_errors[i], k, false); k++) {}
}

/* ---- names ---- */

ASYNC(resolves, (const char *host; aw__addresses *list;), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw__resolve, self->host, 80, self->list);
        rc_of = self->rc;
    }
}
static int resolve(int kind, const char *host, aw__addresses *list)
{
    aw_loop *l = open_loop(kind);
    rc_of = 1;
    SPAWN_ON(l, resolves, host, list);
    CHECK_EQ(aw_loop_run(l), 0);
    aw_loop_free(l);
    return rc_of;
}

TEST(resolve_numbers_and_names)
{
    aw__addresses list;
    char text[AW_PEER_TEXT];
    CHECK_EQ(resolve(KERNEL, "192.0.2.7", &list), 0);
    CHECK_EQ(list.count, 1);
    CHECK_STR(aw__address_format(&list.at[0], text, sizeof text),
              "192.0.2.7:80");
    CHECK_EQ(resolve(KERNEL, "2001:db8::7", &list), 0);
    CHECK_STR(aw__address_format(&list.at[0], text, sizeof text),
              "[2001:db8::7]:80");
    CHECK_EQ(resolve(KERNEL, "localhost", &list), 0);
    CHECK(list.count > 0 && list.at[0].port == 80);
    CHECK_EQ(resolve(MEMORY, "example.com", &list), 0);
    CHECK_EQ(list.count, 2);
    CHECK_STR(aw__address_format(&list.at[0], text, sizeof text), "[::1]:80");
    CHECK_EQ(resolve(MEMORY, "example.invalid", &list), AW_EDNS);
}

TEST(resolve_takes_turns)
{
    struct addrinfo info[12];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    aw__addresses list;
    int i;
    memset(info, 0, sizeof info);
    memset(&v4, 0, sizeof v4);
    memset(&v6, 0, sizeof v6);
    memset(&list, 0, sizeof list);
    v4.sin_family = AF_INET;
    v6.sin6_family = AF_INET6;
    for (i = 0; i < 12; i++) {
        bool is4 = i >= 9;
        info[i].ai_family = is4 ? AF_INET : AF_INET6;
        info[i].ai_addr = is4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
        info[i].ai_addrlen = is4 ? sizeof v4 : sizeof v6;
        if (i) info[i - 1].ai_next = &info[i];
    }
    aw__addresses_fill(&list, info);
    CHECK_EQ(list.count, 8);
    for (i = 0; i < 8; i++)
        CHECK_EQ(list.at[i].family, i == 1 || i == 3 || i == 5 ? 4 : 6);
}

#ifndef ASYNCWEB_NO_THREADS
/* A cancelled look-up goes on by itself and touches nothing. */
ASYNC(gives_up, (), aw__addresses list; const char *host; int rc;)
{
    BEGIN {
        self->host = "localhost";
        AWAIT_FOR_TO(0, self->rc, aw__resolve, self->host, 80, &self->list);
        CHECK(self->rc == AW_EDEADLINE);
    }
}
TEST(resolve_abandoned)
{
    int i;
    for (i = 0; i < 20; i++) {
        aw_loop *l = open_loop(KERNEL);
        SPAWN_ON(l, gives_up);
        CHECK_EQ(aw_loop_run(l), 0);
        while (i % 2 && aw__jobs_unfinished(l)) aw_loop_step(l, 10);
        close_loop(l);
    }
}

#endif

/* ---- connections that do not come about ---- */

ASYNC(dials, (int port; int64_t ms;), aw_stream *s; int rc;)
{
    BEGIN {
        AWAIT_FOR_TO(self->ms, self->rc, aw_connect, &self->s, "127.0.0.1",
                     self->port);
        rc_of = self->rc;
        CHECK_EQ(self->rc == 0, self->s != NULL);
        aw_stream_abort(self->s);
    }
}
/* Cancelled while the connection is on its way: the socket is closed. */
TEST(connect_cancelled)
{
    aw_loop *l = open_loop(MEMORY);
    SPAWN_ON(l, dials, 80, 0);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(rc_of, AW_EDEADLINE);
    CHECK_EQ(live(l), 0);
    close_loop(l);
}

/* Rule 6: accepted in the turn it was cancelled in, it is delivered. */
ASYNC(accepts_and_notes, (aw_listener *x;), aw_stream *s; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_accept, self->x, &self->s);
        rc_of = self->rc;
        CHECK(self->s != NULL);
        AWAIT(aw_sleep_ms, 1000);
    } FINALLY { AWAIT(aw_close, self->s); }
}
static aw_task victim;
static void (*polled)(aw_loop *, int, int);
static void cancel_after(aw_loop *l, int fd, int events)
{
    polled(l, fd, events);
    aw_cancel(victim);
}
ASYNC(cancels_accept, (), aw_listener *x; aw_stream *s; int rc;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "127.0.0.1", 0);
        rc_of = 1;
        victim = START_TO(self->rc, accepts_and_notes, self->x);
        AWAIT(aw_sleep_ms, 1);
        polled = AW_LOOP()->on_fd[AW__FD_LISTENER];
        AW_LOOP()->on_fd[AW__FD_LISTENER] = cancel_after;
        AWAIT(aw_connect, &self->s, "127.0.0.1", aw_listener_port(self->x));
        GATHER();
        CHECK_EQ(self->rc, AW_ECHILDCANCELED);
        CHECK_EQ(rc_of, 0);
        AWAIT(aw_close, self->s);
    } FINALLY { aw_listener_close(self->x); }
}
TEST(accept_cancelled_same_turn)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        SPAWN_ON(l, cancels_accept);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_EQ(live(l), 0);
        close_loop(l);
    }
}

/* A connection that comes when nobody waits for it any more stays queued for
   the next one, and keeps no loop busy. */
ASYNC(accepts_at_last, (), aw_listener *x; aw_stream *s, *a; int rc;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "127.0.0.1", 0);
        AWAIT_FOR_TO(1, self->rc, aw_accept, self->x, &self->a);
        CHECK_EQ(self->rc, AW_EDEADLINE);
        AWAIT(aw_connect, &self->s, "127.0.0.1", aw_listener_port(self->x));
        AWAIT(aw_sleep_ms, 5);
        AWAIT(aw_accept, self->x, &self->a);
        AWAIT(aw_close, self->a);
        AWAIT_TO(self->rc, aw_accept, NULL, &self->a);
        CHECK_EQ(self->rc, AW_EINVAL);
    } FINALLY {
        AWAIT(aw_close, self->s);
        aw_listener_close(self->x);
    }
}
TEST(accept_after_a_deadline)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        SPAWN_ON(l, accepts_at_last);
        CHECK_EQ(aw_loop_run(l), 0);
        CHECK_EQ(live(l), 0);
        close_loop(l);
    }
}

/* ---- what nobody closed ---- */

static int warnings;
static void count_warnings(void *data, aw_log_level level, const char *line)
{
    (void)data;
    if (level == AW_LOG_WARNING && strstr(line, "was never closed")) warnings++;
}
ASYNC(loses, (), aw_listener *x; aw_stream *s;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, NULL, 0);
        AWAIT(aw_connect, &self->s, "127.0.0.1", aw_listener_port(self->x));
    }
}
TEST(lost_streams_are_closed)
{
    int kind;
    for (kind = MEMORY; kind < KINDS; kind++) {
        aw_loop *l = open_loop(kind);
        warnings = 0;
        l->log = count_warnings;
        SPAWN_ON(l, loses);
        CHECK_EQ(aw_loop_run(l), 0);
        aw_loop_free(l);
        CHECK_EQ(warnings, 2);
    }
}

/* ---- many ---- */

enum { MANY = 5000 };
ASYNC(many, (aw_stream **s;), aw_listener *x; int i, n; char c; size_t before;)
{
    BEGIN {
        AWAIT(aw_listen, &self->x, "10.0.0.1", 80);
        for (self->i = 0; self->i < MANY; self->i++) {
            AWAIT(aw_connect, &self->s[2 * self->i], "10.0.0.1", 80);
            AWAIT(aw_accept, self->x, &self->s[2 * self->i + 1]);
        }
        self->before = AW_LOOP()->mem.live;
        for (self->i = 0; self->i < MANY; self->i++) {
            AWAIT(aw_write, self->s[2 * self->i], "x", 1);
            AWAIT(aw_read, self->s[2 * self->i + 1], &self->c, 1);
            CHECK_EQ(self->c, 'x');
        }
        /* An idle connection holds no bytes. */
        CHECK_EQ(AW_LOOP()->mem.live, self->before);
        CHECK_EQ(AW_LOOP()->sim->open, 2 * MANY + 1);
        for (self->i = 0; self->i < 2 * MANY; self->i++)
            AWAIT(aw_close, self->s[self->i]);
        aw_listener_close(self->x);
    }
}
TEST(memory_sockets_many)
{
    aw_stream **s = (aw_stream **)calloc(2 * MANY, sizeof *s);
    aw_loop *l = open_loop(MEMORY);
    SPAWN_ON(l, many, s);
    CHECK_EQ(aw_loop_run(l), 0);
    CHECK_EQ(live(l), 0);
    CHECK(sizeof(aw__sim_end) + sizeof(aw__sim_slot) + sizeof(aw__fd) <= 64);
    close_loop(l);
    free(s);
}

/* Gathered writes, at each split of the buffer. */
TEST(gathered_write)
{
    int kind, room;
    for (kind = MEMORY; kind <= KERNEL; kind++)
        for (room = 1; room <= 8; room++) {
            aw_loop *l = open_loop(kind);
            aw_slice parts[3];
            char text[16];
            ends e;
            parts[0].p = "abc", parts[0].n = 3;
            parts[1].p = "", parts[1].n = 0;
            parts[2].p = "defg", parts[2].n = 4;
            SPAWN_ON(l, make_pair, &e.a, &e.b);
            CHECK_EQ(aw_loop_run(l), 0);
            if (l->sim) l->sim->pipe_bytes = (uint32_t)room;
            CHECK_EQ(aw__io_send2(l, e.a->fd, parts, 3),
                     l->sim && room < 7 ? room : 7);
            CHECK(aw__io_recv(l, e.b->fd, text, 16) > 0);
            CHECK(memcmp(text, "abcdefg", l->sim && room < 7 ? (size_t)room
                                                             : 7) == 0);
            CHECK_EQ(aw__io_recv(l, e.b->fd, text, 16), AW_EAGAIN);
            aw_stream_abort(e.a);
            aw_stream_abort(e.b);
            close_loop(l);
        }
}

/* Text on the C stack of the one who starts: gone when the child first runs. */
ASYNC(starts_with_text, (int port;), aw_stream *s; int rc, n; char line[80];)
{
    BEGIN {
        {
            char host[16];
            strcpy(host, "127.0.0.1");
            START_TO(self->rc, aw_connect, &self->s, host, self->port);
            memset(host, 'x', sizeof host - 1);
        }
        GATHER();
        CHECK_EQ(self->rc, 0);
        {
            char end[4];
            strcpy(end, "\r\n");
            START_TO(self->n, aw_read_until, self->s, self->line,
                     sizeof self->line, end);
            memset(end, 'x', sizeof end - 1);
        }
        GATHER();
        CHECK_EQ(self->n, 7);
    } FINALLY { aw_stream_abort(self->s); }
}

ASYNC(greets_once, (aw_listener *x;), aw_stream *s;)
{
    BEGIN {
        AWAIT(aw_accept, self->x, &self->s);
        AWAIT(aw_write, self->s, "hello\r\nworld", 12);
    } FINALLY { AWAIT(aw_close, self->s); }
}

ASYNC(text_in_start, (), aw_listener *x; int rc;)
{
    BEGIN {
        {
            char host[16];
            strcpy(host, "127.0.0.1");
            START_TO(self->rc, aw_listen, &self->x, host, 0);
            memset(host, 'x', sizeof host - 1);
        }
        GATHER();
        CHECK_EQ(self->rc, 0);
        START(greets_once, self->x);
        START(starts_with_text, aw_listener_port(self->x));
        GATHER();
    } FINALLY { aw_listener_close(self->x); }
}

TEST(started_leaf_copies_text)
{
    aw_loop *l = aw_loop_new(NULL);
    CHECK_EQ(aw__sim_open(l), 0);
    SPAWN_ON(l, text_in_start);
    CHECK_EQ(aw_loop_run(l), 0);
    aw_loop_free(l);
}
