/* Where two things meet that each work by themselves: an answer that ends while
   another task sends, a handshake behind an answer that is not taken. */
#include "http.h"

static char big[1 << 20];
static int result[4], ends, after;

ASYNC(writer, (aw_req *req;))
{
    BEGIN {
        AWAIT_TO(result[0], aw_send, self->req, big, 100000);
    }
}

/* Ends while a task of its own is in the middle of a piece. */
ASYNC_VIEW(leaves)
{
    BEGIN {
        memset(big, 'c', sizeof big);
        if (aw_query(req, "sized")) aw_stream_begin_sized(req, NULL, 100000);
        else aw_stream_begin(req, NULL);
        SPAWN(writer, req);
        AWAIT(aw_sleep_ms, 10);
        RETURN(aw_query(req, "else") ? aw_text(req, "else") : 0);
    }
}

VIEW(last_one) { return aw_text(req, "last"); }
VIEW(many) { return aw_bytes_static(req, "x/y", big, 12000); }
VIEW(fill) { return aw_bytes_static(req, "x/y", big, 3900); }

ASYNC_VIEW(reads_and_rests, char b[4]; int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_body_read, req, self->b, 3);
        AWAIT(aw_sleep_ms, 60000);
        RETURN(0);
    } FINALLY {
        ends++;
    }
}

/* A piece whose rest is held, and the next one behind it. */
ASYNC_VIEW(cut)
{
    BEGIN {
        aw_stream_begin(req, NULL);
        AWAIT_FOR_TO(10, result[0], aw_send, req, big, sizeof big);
        AWAIT_TO(result[1], aw_send, req, "end", 3);
        RETURN(0);
    }
}

VIEW(hook)
{
    after++;
    return aw_set_header(req, "X-After", "yes");
}

ASYNC_VIEW(events)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 0));
        result[0] = aw_sse_begin(req);
        AWAIT(aw_sleep_ms, aw_query_int(req, "rest", 0));
        RETURN(0);
    }
}

WS_VIEW(closes)
{
    BEGIN {
        AWAIT_TO(result[0], aw_ws_close, ws, 4001, "no");
        AWAIT(aw_sleep_ms, 20000);
    } FINALLY {
        ends++;
    }
}

WS_VIEW(listens, aw_ws_message m;)
{
    BEGIN {
        AWAIT_TO(result[0], aw_ws_recv, ws, &self->m);
    } FINALLY {
        ends++;
    }
}

WS_VIEW(silent)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
    }
}

ASYNC(single, (aw_ws *ws;))
{
    BEGIN {
        AWAIT_FOR_TO(100, result[0], aw_ws_send_part, self->ws, "single", 6,
                     AW_WS_LAST);
    }
}
WS_VIEW(in_parts)
{
    BEGIN {
        memset(big, 'g', sizeof big);
        (void)aw_ws_post(ws, big, 100000);
        START(single, ws);
        AWAIT(aw_sleep_ms, 1);
        AWAIT_TO(result[1], aw_ws_send_part, ws, "one,", 4, 0);
        AWAIT_TO(result[2], aw_ws_send_part, ws, "two", 3, AW_WS_LAST);
        GATHER();
    }
}

/* Less than it told: at once, or while its piece waits for those before it. */
ASYNC_VIEW(ends_short)
{
    BEGIN {
        aw_stream_begin_sized(req, NULL, 100);
        if (aw_query(req, "send")) AWAIT_FOR_TO(10, result[0], aw_send, req,
                                                big, 10);
        RETURN(0);
    }
}

static char who[300];

ASYNC(asks_later, (aw_req *req;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        snprintf(who, sizeof who, "%s %s", aw_path(self->req),
                 aw_header(self->req, "X-Who"));
    }
}

/* What goes on when the client is gone at the first piece. */
ASYNC_VIEW(loses)
{
    BEGIN {
        if (aw_query(req, "spawn")) SPAWN(asks_later, req);
        aw_stream_begin(req, NULL);
        AWAIT(aw_send, req, "hello", 5);
    } FINALLY {
        if (aw_query(req, "stop")) {
            aw_serve_stop(AW_LOOP());
            snprintf(who, sizeof who, "%s %s", aw_path(req),
                     aw_header(req, "X-Who"));
        } else if (!aw_query(req, "spawn")) {
            AWAIT(asks_later, req);
        }
    }
}

static aw_task before_me;

/* As one does who wants the newest search only. */
ASYNC_VIEW(newest)
{
    BEGIN {
        result[0] += aw_ended(before_me);
        aw_cancel(before_me);
        before_me = AW_SELF();
        AWAIT(aw_sleep_ms, 10);
        RETURN(aw_text(req, "newest"));
    }
}

ROUTES(hooked, AFTER(hook), GET("/events", events))
ROUTES(entangled,
    GET("/leaves", leaves), GET("/last", last_one), GET("/many", many),
    GET("/fill", fill), GET("/cut", cut),
    POST("/rests", reads_and_rests, .stream = true),
    WS("/closes", closes), WS("/listens", listens), WS("/parts", in_parts),
    WS("/silent", silent),
    GET("/newest", newest), GET("/short", ends_short), GET("/loses", loses),
    MOUNT("/", hooked))

#define GET_(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define SHAKE_(path) "GET " path " HTTP/1.1\r\nHost: x\r\n" \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static aw_test *open_app(aw_config c)
{
    memset(result, 0, sizeof result);
    memset(big, 'm', sizeof big);
    ends = after = 0;
    return app_with(entangled, &c);
}

/* Sends, and takes nothing of the answer. */
static void push(wire *w, const char *text)
{
    (void)aw__io_send(w->loop, w->fd, text, strlen(text));
    for (int i = 0; i < 6; i++) (void)aw_loop_step(w->loop, 0);
}

static wire narrow(aw_test *t)
{
    wire w = wire_open(t);
    w.loop->sim->pipe_bytes = 4096;
    return w;
}

static void take_all(wire *w)
{
    for (int i = 0; i < 20; i++) wire_settle(w);
}

/* What has begun is sent to its end before the next answer. */
TEST(answer_ends_within_a_piece)
{
    for (int sized = 0; sized < 2; sized++) {
        aw_test *t = open_app(quiet_config());
        wire w = wire_open(t);
        const char *p, *next;
        size_t n = 0;
        push(&w, sized ? GET_("/leaves?sized=1") : GET_("/leaves"));
        aw_test_advance(t, 20);
        take_all(&w);
        wire_say(&w, GET_("/last"));
        CHECK_EQ(AW_ECLOSED, result[0]);
        p = strstr(w.got, "\r\n\r\n");
        next = strstr(w.got, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 "
                      "00:00:00 GMT\r\nContent-Type: text/plain");
        CHECK(p && next && strstr(next, "last"));
        for (; p && next && p < next; p++) n += *p == 'c';
        CHECK_EQ(100000, n);
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* An answer that is cut off does not take those with it that came before. */
TEST(cut_off_behind_other_answers)
{
    static const char *const rows[] = {
        GET_("/last") GET_("/short"), GET_("/last") GET_("/short?send=1"),
        GET_("/many") GET_("/short"), GET_("/many") GET_("/short?send=1") };
    for (int i = 0; i < 4; i++) {
        aw_test *t = open_app(quiet_config());
        wire w = narrow(t);
        const char *next;
        NOTE("row %d", i);
        push(&w, rows[i]);
        aw_test_advance(t, 20);
        take_all(&w);
        next = w.n > 20 ? strstr(w.got + 20, "HTTP/1.1 200 OK") : NULL;
        CHECK(next && next - w.got >= (i < 2 ? 100 : 12000));
        CHECK(next && strstr(next, "Content-Length: 100\r\n"));
        CHECK(next && strlen(strstr(next, "\r\n\r\n")) < 100);
        CHECK(w.ended && !w.reset);
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Its head is the request's as long as anybody has that, also when it came in
   two parts: neither another's, nor memory that was given back. */
TEST(lost_in_the_first_run)
{
    for (int i = 0; i < 4; i++) {
        const char *text = i & 1
            ? "GET /loses?spawn=1 HTTP/1.1\r\nHost: h\r\nX-Who: I\r\n\r\n"
            : "GET /loses HTTP/1.1\r\nHost: h\r\nX-Who: I\r\n\r\n";
        aw_test *t = open_app(quiet_config());
        wire w = wire_open(t), other = wire_open(t);
        NOTE("row %d", i);
        who[0] = 0;
        if (i & 2) wire_send(&w, text, 10);
        wire_settle(&w);
        text += i & 2 ? 10 : 0;
        (void)aw__io_send(w.loop, w.fd, text, strlen(text));
        fault_set("send", 1, ECONNRESET);
        push(&w, "");
        fault_set(NULL, 0, 0);
        wire_say(&other, "GET /last HTTP/1.1\r\nHost: other\r\n"
                 "X-Who: somebody else\r\n\r\n");
        aw_test_advance(t, 100);
        CHECK_STR("/loses I", who);
        wire_close(&w), wire_close(&other);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Who stops the server then does not have others heard meanwhile. */
TEST(lost_and_stopped_in_the_first_run)
{
    static const char text[] = "GET /loses?stop=1 HTTP/1.1\r\nHost: h\r\n"
        "X-Who: I\r\n\r\n", more[] = "GET /last HTTP/1.1\r\n"
        "Host: other\r\nX-Who: somebody else\r\n\r\n";
    aw_test *t = open_app(quiet_config());
    wire w = wire_open(t), other = wire_open(t);
    who[0] = 0;
    (void)aw__io_send(w.loop, w.fd, text, strlen(text));
    (void)aw__io_send(w.loop, other.fd, more, strlen(more));
    fault_set("send", 1, ECONNRESET);
    fault_once = true;
    for (int i = 0; i < 8; i++) (void)aw_loop_step(w.loop, 0);
    fault_set(NULL, 0, 0);
    aw_test_advance(t, 100);
    CHECK_STR("/loses I", who);
    wire_settle(&other);
    CHECK_STR("200=last+", digest(&other));
    wire_close(&w), wire_close(&other);
    CHECK_EQ(0, aw_test_close(t));
}

/* The next request of a pipeline begins while the task of the one before is
   about to go: it has ended. */
TEST(cancels_the_view_before_it)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.max_tasks = 1;
    t = open_app(c);
    w = wire_open(t);
    memset(&before_me, 0, sizeof before_me);
    wire_say(&w, GET_("/newest") GET_("/newest") GET_("/last"));
    aw_test_advance(t, 100);
    wire_settle(&w);
    CHECK_STR("200=newest 200=newest 200=last", digest(&w));
    CHECK_EQ(2, result[0]);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* Nobody waits for ever to send the first piece of an answer that was
   replaced. */
TEST(answer_replaced_before_its_first_piece)
{
    aw_test *t = open_app(quiet_config());
    wire w = narrow(t);
    push(&w, GET_("/many") GET_("/leaves?else=1"));
    aw_test_advance(t, 20);
    take_all(&w);
    CHECK_EQ(AW_ECLOSED, result[0]);
    CHECK_EQ(0, w.loop->tasks);
    CHECK(w.n > 12000 && strstr(w.got + 12000, "else") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* A view that does not read is told of a reset all the same. */
TEST(reset_while_the_view_rests)
{
    aw_test *t = open_app(quiet_config());
    wire w = wire_open(t);
    push(&w, "POST /rests HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    push(&w, "abc");
    push(&w, "def");
    aw__io_reset(w.loop, w.fd);
    for (int i = 0; i < 6; i++) (void)aw_loop_step(w.loop, 0);
    CHECK_EQ(1, ends);
    free(w.got);
    CHECK_EQ(0, aw_test_close(t));
}

/* Who takes 16 KB a second is no slow reader, whatever is held for him. */
TEST(rest_of_a_piece_makes_progress)
{
    static char b[16384];
    aw_test *t = open_app(quiet_config());
    wire w = wire_open(t);
    size_t n = 0;
    push(&w, GET_("/cut"));
    aw_test_advance(t, 20);
    CHECK_EQ(AW_EDEADLINE, result[0]);
    for (int i = 0; i < 100 && result[1] == 0; i++) {
        ptrdiff_t got = aw__io_recv(w.loop, w.fd, b, sizeof b);
        if (got > 0) n += (size_t)got;
        aw_test_advance(t, 1000);
    }
    CHECK_EQ(3, result[1]);
    CHECK(n > sizeof big - 300000);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* A head of events that is taken only in part goes on by itself, and has what
   the hooks set. */
TEST(events_behind_other_answers)
{
    aw_test *t = open_app(quiet_config());
    wire w = narrow(t);
    push(&w, GET_("/fill") GET_("/events?ms=10&rest=90000"));
    aw_test_advance(t, 20);
    take_all(&w);
    CHECK(w.n > 4000 && strstr(w.got + 3950, "\r\n\r\n") != NULL);
    aw_test_advance(t, 60000);
    take_all(&w);
    CHECK(!w.ended);
    wire_close(&w);
    w = narrow(t);
    after = 0;
    push(&w, GET_("/many") GET_("/events"));
    take_all(&w);
    CHECK_EQ(1, after);
    CHECK(w.n > 12000 && strstr(w.got + 12000, "X-After: yes") != NULL);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* A handshake that waits behind an answer that is not taken. */
TEST(ws_over_before_its_handshake)
{
    aw_test *t = open_app(quiet_config());
    wire w = narrow(t);
    push(&w, GET_("/many") SHAKE_("/closes"));
    aw_test_advance(t, 6000);
    take_all(&w);
    aw_test_advance(t, 30000);
    CHECK_EQ(1, ends);
    CHECK_EQ(0, w.loop->tasks);
    wire_say(&w, "more bytes");
    CHECK_EQ(0, w.loop->server->connections);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(ws_handshake_not_taken)
{
    for (int pings = 0; pings < 2; pings++) {
        aw_config c = quiet_config();
        aw_test *t;
        wire w;
        if (!pings) c.ws_ping_ms = AW_OFF;
        t = open_app(c);
        aw_test_advance(t, 100000);
        w = narrow(t);
        push(&w, GET_("/many") SHAKE_("/listens"));
        aw_test_advance(t, 21000);
        CHECK_EQ(1, w.loop->server->connections);
        aw_test_advance(t, 40000);
        CHECK_EQ(0, w.loop->server->connections);
        CHECK_EQ(1, ends);
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Its view has ended, and the socket that opens with that is gone at once. */
TEST(ws_handshake_not_sent)
{
    aw_test *t = open_app(quiet_config());
    wire w = wire_open(t);
    push(&w, SHAKE_("/silent"));
    CHECK_EQ(1, w.loop->tasks);
    fault_set("send", 1, ECONNRESET);
    aw_test_advance(t, 20);
    fault_set(NULL, 0, 0);
    CHECK_EQ(0, w.loop->tasks);
    CHECK_EQ(0, w.loop->server->connections);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(ws_close_without_time_limit)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.ws_close_ms = AW_OFF;
    t = open_app(c);
    aw_test_advance(t, 1000);
    w = wire_open(t);
    push(&w, SHAKE_("/closes"));
    wire_settle(&w);
    aw_test_advance(t, 1000);
    CHECK(!w.ended);
    wire_close(&w);
    aw_test_advance(t, 21000);
    CHECK_EQ(1, ends);
    CHECK_EQ(0, w.loop->server->connections);
    CHECK_EQ(0, aw_test_close(t));
}

/* A message in parts stays one, whoever else is cut off. */
TEST(ws_single_part_cut)
{
    aw_test *t = open_app(quiet_config());
    wire w = wire_open(t);
    push(&w, SHAKE_("/parts"));
    aw_test_advance(t, 200);
    wire_settle(&w);
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK_EQ(AW_EDEADLINE, result[0]);
    CHECK_EQ(4, result[1]);
    CHECK_EQ(3, result[2]);
    CHECK(w.n > 15 && memcmp(w.got + w.n - 15, "\x01\x04one,\x80\x03two", 11)
          == 0);                        /* and a Close behind it */
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}
