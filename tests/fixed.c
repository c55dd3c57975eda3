/* fixed.c: ASYNCWEB_FIXED_MEMORY: the allocator against a model, then servers
   that live in a small buffer and are asked for more than it holds; and before
   that, all of torture.c in a buffer. */
#define ASYNCWEB_FIXED_MEMORY
#include "torture.c"

/* ---- the heap against a model ---- */

/* Walks all blocks: they fill the heap, no two free ones lie side by side, the
   flags of neighbours agree, and what is free is as counted, and listed. */
static uint32_t heap_check(aw__heap *x)
{
    char *p = aw__heap_next(x->base, 1), *end = p + x->units * 16;
    uint32_t units = 0, free_units = 0, listed = 0, used = 0, at;
    bool was_free = false;
    for (; p < end; p = aw__heap_next(p, aw__heap_size(p))) {
        const uint32_t word = aw__heap_word(p - 4);
        const bool is_free = word & AW__HEAP_FREE;
        CHECK(aw__heap_size(p) > 0);
        CHECK_EQ(was_free, (word & AW__HEAP_BEHIND_FREE) != 0);
        CHECK(!(was_free && is_free));
        units += aw__heap_size(p);
        if (is_free) free_units += aw__heap_size(p);
        else used++;
        if (is_free)
            CHECK_EQ(aw__heap_size(p),
                     aw__heap_word(p + aw__heap_size(p) * 16 - 8));
        was_free = is_free;
        if (!aw__heap_size(p)) break;
    }
    CHECK(p == end);
    CHECK_EQ(was_free, (aw__heap_word(end - 4) & AW__HEAP_BEHIND_FREE) != 0);
    CHECK_EQ(x->units, units);
    CHECK_EQ(x->free, free_units);
    for (int c = 0; c <= aw__heap_class(x->units); c++) {
        CHECK_EQ(x->first[c] != 0, (x->some[c / 64] >> c % 64 & 1) != 0);
        for (at = x->first[c]; at;) {
            const char *block = x->base + at * 16;
            CHECK_EQ(c, aw__heap_class(aw__heap_size(block)));
            listed += aw__heap_size(block);
            at = aw__heap_word(block);
        }
    }
    CHECK_EQ(free_units, listed);
    return used;
}

typedef struct block {
    unsigned char *p;
    size_t n;
    unsigned char fill;
} block;

static void block_check(const block *b)
{
    size_t i = 0;
    while (i < b->n && b->p[i] == b->fill) i++;
    CHECK_EQ(b->n, i);
}

/* Mostly small, some up to half of the heap; 0 is a size, too. */
static size_t some_size(size_t all)
{
    switch (rnd(8)) {
        case 0: return rnd((uint32_t)(all / 2));
        case 1: return rnd((uint32_t)(all / 16));
        case 2: return rnd(20);
        default: return rnd(600);
    }
}

static void block_begin(block *b, void *p, size_t n)
{
    b->p = (unsigned char *)p;
    b->n = n;
    b->fill = (unsigned char)rnd(256);
    CHECK_EQ(0, (uintptr_t)p % 16);
    memset(p, b->fill, n);
}

static void block_resize(aw__mem *m, block *b, size_t n)
{
    void *p = aw__mem_resize(m, b->p, b->n, n);
    block kept = *b;
    if (!p) return;
    kept.p = (unsigned char *)p;
    kept.n = b->n < n ? b->n : n;
    block_check(&kept);
    block_begin(b, p, n);
}

/* Random blocks come, go and change their size, none touches another. A
   failure is only ever for want of a block that large; in the end all is one
   again. */
static void heap_play(size_t size, size_t misaligned, int steps)
{
    enum { BLOCKS = 64 };
    static block all[BLOCKS];
    char *buffer = (char *)malloc(size + misaligned);
    aw__mem m;
    memset(&m, 0, sizeof m);
    memset(all, 0, sizeof all);
    m.heap = aw__heap_open(buffer + misaligned, size);
    NOTE("%d bytes at %d", (int)size, (int)misaligned);
    CHECK(m.heap != NULL);
    if (!m.heap) return;
    CHECK_EQ(0, heap_check(m.heap));
    while (steps-- > 0) {
        block *b = &all[rnd(BLOCKS)];
        const size_t n = some_size(size);
        if (!b->p) {
            const size_t largest = aw__heap_largest(m.heap);
            void *p = aw__mem_get(&m, n);
            CHECK_EQ(p != NULL, n <= largest);
            if (p) block_begin(b, p, n);
        } else if (rnd(3) == 0) {
            block_check(b);
            block_resize(&m, b, n);
        } else {
            block_check(b);
            aw__mem_put(&m, b->p, b->n);
            b->p = NULL;
        }
        if (steps % 16 == 0) (void)heap_check(m.heap);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (all[i].p) block_check(&all[i]), aw__mem_put(&m, all[i].p, all[i].n);
    CHECK_EQ(0, heap_check(m.heap));
    CHECK_EQ(0, m.live);
    CHECK_EQ(m.heap->units, m.heap->free);
    CHECK_EQ(m.heap->units * 16 - 4, aw__heap_largest(m.heap));
    aw__heap_close(m.heap);
    memset(buffer, 0, size + misaligned);
    free(buffer);
}

TEST(heap_and_model)
{
    static const size_t sizes[] = {1400, 4096, 24576, 24577, 300000, 5000000};
    test_seed = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        heap_play(sizes[i], 0, (int)test_rounds(40000));
}

TEST(fixed_memory_misaligned)
{
    test_seed = 2;
    for (size_t i = 1; i < 33; i++) heap_play(9000, i, 300);
}

TEST(heap_too_small)
{
    char few[1200];
    for (size_t n = 0; n < sizeof few; n++) {
        aw__heap *x = aw__heap_open(few + n % 16, n - n % 16);
        if (x) CHECK_EQ(0, heap_check(x)), aw__heap_close(x);
        if (n < 1024) CHECK(x == NULL);
    }
    CHECK(aw__heap_open(NULL, 100000) == NULL);
}

/* What is asked for may be anything. */
TEST(heap_sizes_that_cannot_be)
{
    static char buffer[8192];
    aw__heap *x = aw__heap_open(buffer, sizeof buffer);
    void *p = aw__heap_get(x, 0);
    CHECK(p != NULL);
    CHECK(aw__heap_get(x, SIZE_MAX) == NULL);
    CHECK(aw__heap_get(x, SIZE_MAX - 15) == NULL);
    CHECK(aw__heap_get(x, SIZE_MAX / 2) == NULL);
    CHECK(aw__heap_get(x, (size_t)1 << 31) == NULL);
    CHECK(!aw__heap_resize(x, p, SIZE_MAX));
    CHECK(aw__heap_resize(x, p, 4000));
    aw__heap_put(x, p);
    CHECK_EQ(x->units, x->free);
    aw__heap_close(x);
}

/* Bodies of a sixth of the memory come and go a hundred thousand times among
   small blocks of which some stay for long: in the end as many bodies fit as in
   the beginning, less what the small ones take. */
TEST(heap_bursts)
{
    enum { SIZE = 1 << 20, SMALL = 400, LARGE = SIZE / 6 };
    static block small[SMALL];
    block large[4];
    char *buffer = (char *)malloc(SIZE);
    aw__heap *x = aw__heap_open(buffer, SIZE);
    int fits = 0, i;
    memset(small, 0, sizeof small);
    memset(large, 0, sizeof large);
    test_seed = 3;
    for (i = 0; i < 100000; i++) {
        block *b = rnd(4) ? &small[rnd(SMALL)] : &large[rnd(4)];
        /* Every tenth stays much longer. */
        if (b->p && (b < small || b >= small + SMALL || rnd(10) ||
                     (b - small) % 10)) {
            aw__heap_put(x, b->p);
            b->p = NULL;
        } else if (!b->p) {
            b->p = (unsigned char *)aw__heap_get(
                x, b >= small && b < small + SMALL ? rnd(600)
                    : LARGE / 2 + rnd(LARGE / 2));
            CHECK(b->p != NULL);
        }
    }
    (void)heap_check(x);
    for (i = 0; i < 4; i++) if (large[i].p) aw__heap_put(x, large[i].p);
    memset(large, 0, sizeof large);
    while (fits < 4 && (large[fits].p =
           (unsigned char *)aw__heap_get(x, LARGE * 9 / 10)) != NULL) fits++;
    CHECK_EQ(4, fits);
    for (i = 0; i < fits; i++) aw__heap_put(x, large[i].p);
    for (i = 0; i < SMALL; i++) if (small[i].p) aw__heap_put(x, small[i].p);
    CHECK_EQ(x->units, x->free);
    aw__heap_close(x);
    free(buffer);
}

/* The same with more than there is room for: who fails? `make memory` says. */
TEST(heap_beyond_its_room)
{
    enum { SIZE = 1 << 20, SMALL = 1000, LARGE = 12 };
    static void *small[SMALL], *large[LARGE];
    char *buffer = (char *)malloc(SIZE);
    aw__heap *x = aw__heap_open(buffer, SIZE);
    long tries = 0, failed = 0, steps = test_rounds(1000000);
    double used = 0;
    memset(small, 0, sizeof small);
    memset(large, 0, sizeof large);
    test_seed = 1;
    while (steps-- > 0) {
        const bool burst = rnd(8) == 0;
        const uint32_t i = rnd(burst ? LARGE : SMALL);
        void **p = burst ? &large[i] : &small[i];
        if (*p && !burst && i % 10 == 0 && rnd(100)) continue;
        if (*p) {
            aw__heap_put(x, *p);
            *p = NULL;
            continue;
        }
        *p = aw__heap_get(x, burst ? 20000 + rnd(100000) : rnd(600));
        if (!burst) continue;
        tries++;
        failed += *p == NULL;
        used += *p ? 0 : (double)(x->units - x->free) / x->units;
    }
    (void)heap_check(x);
    if (getenv("MEMORY_TABLE"))
        printf("%ld blocks of 20 to 120 KB asked for in 1 MiB: %ld not had, "
               "at %.0f %% use\n", tries, failed, failed ? 100 * used /
               (double)failed : 0.0);
    CHECK(failed * 20 < tries);
    aw__heap_close(x);
    free(buffer);
}

/* ---- who is refused ---- */

VIEW(hello)
{
    return aw_text(req, "hello");
}

ROUTES(small, GET("/", hello))

static aw_config in_buffer(void *p, size_t n)
{
    aw_config c = quiet_config();
    c.memory = p;
    c.memory_size = n;
    return c;
}

TEST(no_memory_given)
{
    aw_config c = in_buffer(NULL, 0);
    aw_loop_config lc;
    memset(&lc, 0, sizeof lc);
    lc.log = keep_log;
    said[0] = 0;
    CHECK(aw_loop_new(&lc) == NULL);
    CHECK(app_with(small, &c) == NULL);
    CHECK(strstr(said, "wants .memory and .memory_size") != NULL);
    CHECK_EQ(1, aw_run_config(c));
    CHECK(strstr(said, "out of memory") != NULL);
}

/* Whatever its size, it serves or does not begin to; aligned or not. */
TEST(any_amount_of_memory)
{
    static char buffer[30000];
    int served = 0, i;
    for (i = 0; i < 30000; i += test_full() ? 61 : 397) {
        aw_config c = in_buffer(buffer + i % 16, (size_t)i - (size_t)i % 16);
        aw_test *t = app_with(small, &c);
        NOTE("%d bytes", i);
        CHECK(t || served == 0);        /* more is never less */
        if (!t) continue;
        CHECK_STR("200 hello", get(t, "/"));
        served++;
        CHECK_EQ(0, aw_test_close(t));
    }
    CHECK(served > 0);
    memset(buffer, 0, sizeof buffer);           /* it is ours again */
}

/* Who is to raise it reads that. */
TEST(too_little_memory_is_told)
{
    static char buffer[8000];
    int n;
    for (n = 0; n < 8000; n += 160) {
        aw_config c = in_buffer(buffer, (size_t)n);
        char text[60];
        c.routes = small;
        c.port = AW_ANY_PORT;
        NOTE("%d bytes", n);
        said[0] = 0;
        CHECK_EQ(1, aw_run_config(c));
        snprintf(text, sizeof text, ".memory_size: %d bytes are too few;", n);
        CHECK(strstr(said, text) != NULL);
        CHECK(strstr(said, "out of memory") != NULL);
    }
}

/* ---- all_kinds at once, in memory that does not suffice ---- */

enum { PIECE = 700, PIECES = 8, ASSET = 5000 };
static char letters[ASSET];

ASYNC_VIEW(slow)
{
    BEGIN {
        begun++;
        AWAIT(aw_sleep_ms, aw_param_int(req, "ms"));
        RETURN(aw_printf(req, "slept %s", aw_param(req, "ms")));
    } FINALLY {
        ended++;
    }
}

VIEW(echo)
{
    const aw_slice body = aw_body(req);
    return aw_bytes(req, "text/plain", body.p, body.n);
}

ASYNC_VIEW(count, char some[300]; int n; int all;)
{
    BEGIN {
        begun++;
        do {
            AWAIT_TO(self->n, aw_body_read, req, self->some, 300);
            if (self->n < 0) RETURN(self->n);
            self->all += self->n;
            AWAIT(aw_sleep_ms, 3);
        } while (self->n > 0);
        RETURN(aw_printf(req, "count %d", self->all));
    } FINALLY {
        ended++;
    }
}

ASYNC_VIEW(pages, int i;)
{
    BEGIN {
        begun++;
        if (aw_stream_begin(req, "text/plain") < 0) RETURN(AW_ENOMEM);
        for (self->i = 0; self->i < PIECES; self->i++) {
            AWAIT(aw_send, req, letters, PIECE);
            AWAIT(aw_sleep_ms, 5);
        }
        RETURN(0);
    } FINALLY {
        ended++;
    }
}

VIEW(asset)
{
    return aw_bytes(req, "text/plain", letters, ASSET);
}

ASYNC_VIEW(relays, aw_response *reply;)
{
    BEGIN {
        begun++;
        AWAIT(aw_fetch, .out = &self->reply,
              .url = aw_format(req, "http://127.0.0.1:%d/slow/20",
                               aw_serve_port(AW_LOOP())));
        if (self->reply->status != 200) RETURN(503);
        RETURN(aw_text(req, self->reply->body));
    } FINALLY {
        ended++;
    }
}

ASYNC(twice, (int64_t ms; int result;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->result);
    }
}

ASYNC_VIEW(both, int a, b;)
{
    BEGIN {
        begun++;
        START_TO(self->a, twice, 7, 1);
        START_TO(self->b, twice, 9, 2);
        GATHER();
        if (self->a < 0 || self->b < 0) RETURN(503);
        RETURN(aw_printf(req, "both %d", self->a + self->b));
    } FINALLY {
        AWAIT(aw_sleep_ms, 1);
        ended++;
    }
}

ASYNC_VIEW(events, int i;)
{
    BEGIN {
        begun++;
        if (aw_sse_begin(req) < 0) RETURN(AW_ENOMEM);
        for (self->i = 0; self->i < 3; self->i++) {
            AWAIT(aw_sse_send, req, NULL, "tick");
            AWAIT(aw_sleep_ms, 30);
        }
        RETURN(0);
    } FINALLY {
        ended++;
    }
}

WS_VIEW(parrot, aw_ws_message msg; int rc;)
{
    BEGIN {
        begun++;
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    } FINALLY {
        ended++;
    }
}

VIEW(parsed)
{
    const aw_value *v = aw_req_json(req);
    if (!v) return 503;         /* all of it is JSON */
    return aw_printf(req, "items %d", (int)aw_json_len(v));
}

ROUTES(all_kinds,
    GET("/", hello),
    GET("/slow/<int:ms>", slow),
    POST("/echo", echo),
    POST("/count", count, .stream = true),
    POST("/json", parsed),
    GET("/pages", pages),
    GET("/asset", asset),
    GET("/relays", relays),
    GET("/both", both),
    GET("/events", events),
    WS("/parrot", parrot))

/* ---- clients ---- */

/* What one asks for, and the body that it may only get. */
typedef struct asked {
    char *bytes;
    size_t n, at;
    char *body;
    size_t body_n;
    bool chunked, leaves, websocket;
    int64_t until;              /* leaves: then */
} asked;

static void asked_free(asked *q)
{
    free(q->bytes);
    free(q->body);
    memset(q, 0, sizeof *q);
}

static void asked_body(asked *q, const void *p, size_t n)
{
    q->body = (char *)malloc(n + 1);
    memcpy(q->body, p, n);
    q->body[n] = 0;
    q->body_n = n;
}

static void asked_post(asked *q, const char *path, const char *body, size_t n)
{
    q->bytes = (char *)malloc(n + 200);
    q->n = (size_t)sprintf(q->bytes, "POST %s HTTP/1.1\r\nHost: h\r\n"
                           "Connection: close\r\nContent-Length: %d\r\n\r\n",
                           path, (int)n);
    memcpy(q->bytes + q->n, body, n);
    q->n += n;
}

static void asked_get(asked *q, const char *path, const char *more)
{
    q->bytes = (char *)malloc(strlen(path) + strlen(more) + 200);
    q->n = (size_t)sprintf(q->bytes, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n",
                           path, more);
}

static const char closes[] = "Connection: close\r\n";

static void asked_make(asked *q, size_t memory)
{
    char text[80], *body;
    size_t n = rnd(3) ? rnd(900) : rnd((uint32_t)memory);
    memset(q, 0, sizeof *q);
    switch (rnd(11)) {
        case 0:
            asked_get(q, "/", closes);
            asked_body(q, "hello", 5);
            break;
        case 1:
            sprintf(text, "/slow/%d", (int)rnd(300));
            asked_get(q, text, closes);
            sprintf(text, "slept %s", strchr(text + 1, '/') + 1);
            asked_body(q, text, strlen(text));
            break;
        case 2:
        case 3:
            body = (char *)malloc(n + 1);
            for (size_t i = 0; i < n; i++) body[i] = (char)('a' + rnd(26));
            asked_post(q, n % 2 ? "/echo" : "/count", body, n);
            if (n % 2) asked_body(q, body, n);
            else asked_body(q, text, (size_t)sprintf(text, "count %d", (int)n));
            free(body);
            break;
        case 4:
            asked_get(q, "/pages", closes);
            q->chunked = true;
            asked_body(q, letters, 0);
            q->body = (char *)realloc(q->body, PIECE * PIECES + 1);
            for (int i = 0; i < PIECES; i++)
                memcpy(q->body + i * PIECE, letters, PIECE);
            q->body_n = PIECE * PIECES;
            break;
        case 5:
            asked_get(q, "/asset", closes);
            asked_body(q, letters, ASSET);
            break;
        case 6:
            asked_get(q, "/relays", closes);
            asked_body(q, "slept 20", 8);
            break;
        case 7:
            asked_get(q, "/both", closes);
            asked_body(q, "both 3", 6);
            break;
        case 8:
            asked_get(q, "/events", closes);
            q->chunked = true;
            asked_body(q, "data: tick\n\ndata: tick\n\ndata: tick\n\n", 36);
            break;
        case 9:
            asked_get(q, "/parrot", "Upgrade: websocket\r\nConnection: upgrade"
                      "\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n");
            q->bytes = (char *)realloc(q->bytes, q->n + 20);
            memcpy(q->bytes + q->n, "\x81\x83" "AAAA)$-"
                   "\x88\x82" "AAAAB\xa9", 17);
            q->n += 17;
            asked_body(q, "\x81\x03hel\x88\x02\x03\xe8", 9);
            q->websocket = true;
            break;
        default:
            n = n / 2 * 2 + 3;
            body = (char *)malloc(n);
            for (size_t i = 0; i < n; i++) body[i] = i % 2 ? '1' : ',';
            body[0] = '[';
            body[n - 1] = ']';
            asked_post(q, "/json", body, n);
            asked_body(q, text, (size_t)sprintf(text, "items %d", (int)(n / 2)));
            free(body);
    }
    q->leaves = rnd(8) == 0;
}

/* The chunks of p, as far as they are whole; *end: the last one was there. */
static size_t unchunk(char *p, size_t n, bool *end)
{
    size_t from = 0, to = 0;
    *end = false;
    while (from < n) {
        char *rest;
        const size_t size = strtoul(p + from, &rest, 16);
        if (strncmp(rest, "\r\n", 2) != 0) break;
        from = (size_t)(rest - p) + 2;
        if (size == 0) *end = from + 2 == n;
        if (size == 0 || from + size + 2 > n) break;
        memmove(p + to, p + from, size);
        to += size;
        from += size + 2;
    }
    return to;
}

enum { WHOLE, REFUSED, CUT, WRONG, OUTCOMES };

/* What became of a request whose connection has ended. */
static int asked_outcome(const asked *q, wire *w)
{
    char *head = w->n ? strstr(w->got, "\r\n\r\n") : NULL, *body;
    const char *length;
    const int status = w->n > 12 ? atoi(w->got + 9) : 0;
    size_t n;
    bool whole;
    if (!head) return CUT;
    body = head + 4;
    n = w->n - (size_t)(body - w->got);
    length = find_line(w->got, head, "Content-Length: ");
    whole = length && strtoul(length, NULL, 10) == n;
    if (status == 503 || status == 413 || status == 431)
        return whole ? REFUSED : CUT;
    if (status == 502 && strncmp(q->bytes, "GET /relays", 10) == 0)
        return REFUSED;         /* the inner one was cut */
    if (status != (q->websocket ? 101 : 200)) return WRONG;
    if (q->websocket) {
        const size_t frame = n > 5 && memcmp(body, q->body, 5) == 0 ? 5 : 0;
        whole = n == q->body_n && memcmp(body, q->body, n) == 0;
        /* A Close with another code tells of an error. */
        return whole ? WHOLE : !n || n == frame || body[frame] == '\x88'
            ? CUT : n < 5 && memcmp(body, q->body, n) == 0 ? CUT : WRONG;
    }
    if (q->chunked) n = unchunk(body, n, &whole);
    if (n > q->body_n || memcmp(body, q->body, n) != 0) return WRONG;
    if (whole && n != q->body_n)        /* an error behind the head ends it */
        return q->chunked ? CUT : WRONG;
    return whole ? WHOLE : CUT;
}

typedef struct guest {
    wire w;
    asked q;
    bool busy;
    int64_t since;
} guest;

static void guest_begin(aw_test *t, guest *g, size_t memory)
{
    aw__address at = aw__address_loopback(4, aw_serve_port(aw_test_loop(t)));
    memset(g, 0, sizeof *g);
    g->w.loop = aw_test_loop(t);
    g->w.fd = -1;
    (void)aw__io_connect(g->w.loop, &at, &g->w.fd);
    asked_make(&g->q, memory);
    g->busy = true;
    g->since = aw_test_now_ms(t);
    g->q.until = g->since + (int64_t)rnd(100);
}

static void guest_end(guest *g)
{
    aw__io_close(g->w.loop, g->w.fd);
    free(g->w.got);
    asked_free(&g->q);
    g->busy = false;
}

static bool guest_turn(aw_test *t, guest *g, long tally[OUTCOMES])
{
    asked *q = &g->q;
    size_t piece = q->n - q->at < 700 ? q->n - q->at : 1 + rnd(700);
    ptrdiff_t sent = 0;
    int outcome;
    if (q->at < q->n && !g->w.ended)
        sent = aw__io_send(g->w.loop, g->w.fd, q->bytes + q->at, piece);
    if (sent > 0) q->at += (size_t)sent;
    if (rnd(3)) wire_take(&g->w);       /* some take their time */
    if (q->leaves && aw_test_now_ms(t) > q->until) {
        guest_end(g);
        return true;
    }
    if (!g->w.ended) return false;
    outcome = asked_outcome(q, &g->w);
    if (outcome == WRONG) {
        NOTE("%.20s: got %.150s", q->bytes, g->w.n > 130 ? g->w.got + 130 : g->w.got);
        CHECK(!"a wrong answer");
    }
    tally[outcome]++;
    guest_end(g);
    return true;
}

/* Idle connections that were served once, as browsers keep them. */
static void idle_open(aw_test *t, wire *w)
{
    *w = wire_open(t);
    wire_say(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

static size_t heap_bytes(size_t n)
{
    return n ? 16 * (size_t)aw__heap_units(n) : 0;
}

/* What is in use, but for the tables of descriptors and tasks. */
static size_t in_use(const aw_loop *l)
{
    return aw_loop_memory(l).used -
        heap_bytes((size_t)l->fd_cap * sizeof *l->fds) -
        heap_bytes((size_t)l->slot_cap * sizeof *l->slots);
}

/* When all rests, but for the loop's two tables, which only grow, and for the
   blocks of requests that wait for the next one. */
static size_t loop_rest_bytes(aw_loop *l)
{
    aw__server *s = l->server;
    aw__quarantine_end(s);
    aw__mem_put(&l->mem, s->spare, AW__REQ_BYTES);
    if (s->fitted) aw__mem_put(&l->mem, s->fitted, s->fitted->bytes);
    s->spare = s->fitted = NULL;
    return in_use(l);
}

static size_t rest_bytes(aw_test *t)
{
    aw_test_advance(t, AW_SECONDS(100));
    return loop_rest_bytes(aw_test_loop(t));
}

enum { GUESTS = 12 };

/* So many requests, GUESTS at a time, in a buffer of that size. Each has its
   whole and right answer, or 503 (413, 431), or its connection is closed. When
   all have gone, every byte is back, and one that comes alone is served. */
static void soak(size_t memory, int requests, int idle, uint64_t chaos,
                 long tally[OUTCOMES])
{
    static guest all[GUESTS];
    wire idlers[GUESTS];
    char *buffer = (char *)malloc(memory);
    aw_config c = in_buffer(buffer, memory);
    aw_test_config tc;
    aw_test *t;
    size_t before;
    int i, left, turns = 0;
    memset(&tc, 0, sizeof tc);
    tc.routes = all_kinds;
    tc.config = &c;
    said[0] = 0;
    begun = ended = 0;
    memset(all, 0, sizeof all);
    for (i = 0; i < ASSET; i++) letters[i] = (char)('A' + i % 26);
    t = aw_test_open_config(tc);
    CHECK(t != NULL);
    if (!t) return;
    (void)aw_test_get(t, "/relays");     /* opens the client */
    before = rest_bytes(t);
    if (chaos) aw__chaos_on(aw_test_loop(t), chaos);
    for (i = 0; i < idle; i++) idle_open(t, &idlers[i]);
    for (left = requests; left > 0;) {
        for (i = 0; i < GUESTS; i++) {
            guest *g = &all[i];
            if (!g->busy && rnd(4) == 0) guest_begin(t, g, memory);
            else if (g->busy && guest_turn(t, g, tally)) left--, turns = 0;
        }
        said[0] = 0;
        (void)aw_loop_step(aw_test_loop(t), 0);
        if (rnd(2)) aw_test_advance(t, (int64_t)rnd(9));
        if (turns++ > 100000) {
            CHECK(!"nobody is served any more");
            break;
        }
    }
    for (i = 0; i < GUESTS; i++) if (all[i].busy) guest_end(&all[i]);
    for (i = 0; i < idle; i++) wire_close(&idlers[i]);
    aw_test_loop(t)->chaos.seed = 0;
    CHECK_EQ(before, rest_bytes(t));
    CHECK_EQ(begun, ended);
    CHECK_STR("200 hello", get(t, "/"));
    CHECK_STR("200 slept 5", get(t, "/slow/5"));
    CHECK_EQ(0, aw_test_close(t));
    free(buffer);
}

TEST(soak_until_memory_fails)
{
    static const size_t sizes[] = {24576, 32000, 40000, 60000,
                                   100000, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        long tally[OUTCOMES] = {0};
        test_seed = (uint32_t)(i + 1);
        NOTE("%d bytes", (int)sizes[i]);
        soak(sizes[i], (int)test_rounds(4000), 5, i % 2, tally);
        if (getenv("TALLY"))
            printf("%7d bytes: %ld whole, %ld refused, %ld cut\n",
                   (int)sizes[i], tally[WHOLE], tally[REFUSED], tally[CUT]);
        CHECK(tally[WHOLE] > 0);
    }
}

/* ---- full ---- */

static char kib24[24576];

/* Bodies larger than the memory can take, told of or not. */
TEST(large_bodies_are_refused)
{
    static char body[40000];
    char head[200];
    aw_config c = in_buffer(kib24, sizeof kib24);
    aw_test *t = app_with(all_kinds, &c);
    memset(body, 'x', sizeof body);
    for (int n = 100; n < 40000; n += 1700) {
        wire w = wire_open(t);
        sprintf(head, "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                "Content-Length: %d\r\n\r\n", n);
        wire_say(&w, head);
        wire_send(&w, body, (size_t)n);
        wire_settle(&w);
        NOTE("%d bytes: %.12s", n, w.n ? w.got : "nothing");
        CHECK(strncmp(w.got, n > 6200 ? "HTTP/1.1 413" : "HTTP/1.1 ", 12 -
                      3 * (n <= 6200)) == 0);
        wire_close(&w);
    }
    CHECK_STR("200 hello", get(t, "/"));
    /* Chunks do not tell how many there will be. */
    for (int round = 0; round < 3; round++) {
        wire w = wire_open(t);
        wire_say(&w, "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n8000\r\n");
        wire_send(&w, body, 32768);
        wire_settle(&w);
        NOTE("chunks: %.12s", w.n ? w.got : "nothing");
        CHECK(strncmp(w.got, "HTTP/1.1 413", 12) == 0 ||
              strncmp(w.got, "HTTP/1.1 503", 12) == 0);
        wire_close(&w);
    }
    CHECK_STR("200 hello", get(t, "/"));
    CHECK_EQ(0, aw_test_close(t));
}

/* Everything is held by views: who comes is refused at once, or waits; when
   memory comes back, all goes on. */
TEST(full_and_back)
{
    enum { MANY = 60 };
    static wire all[MANY];
    aw_config c = in_buffer(kib24, sizeof kib24);
    aw_test *t = app_with(all_kinds, &c);
    int served = 0, refused = 0, i;
    for (i = 0; i < MANY; i++) {
        all[i] = wire_open(t);
        wire_say(&all[i], "GET /slow/300 HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    aw_test_advance(t, 1000);
    for (i = 0; i < MANY; i++) {
        wire_settle(&all[i]);
        served += strstr(digest(&all[i]), "200=slept 300") != NULL;
        refused += strncmp(digest(&all[i]), "503", 3) == 0 ||
            (all[i].ended && !all[i].n);
    }
    CHECK(served >= 2);
    CHECK_EQ(MANY, served + refused);
    CHECK_STR("200 slept 5", get(t, "/slow/5"));
    for (i = 0; i < MANY; i++) wire_close(&all[i]);
    CHECK_STR("200 slept 5", get(t, "/slow/5"));
    CHECK_EQ(0, aw_test_close(t));
}

/* Connections that idle make room, the oldest first. */
TEST(idle_ones_make_room)
{
    enum { MANY = 60 };
    static wire all[MANY];
    aw_config c = in_buffer(kib24, sizeof kib24);
    aw_test *t = app_with(small, &c);
    aw__mem *mem = &aw_test_loop(t)->mem;
    const aw_memory m = aw_loop_memory(aw_test_loop(t));
    const size_t n = m.size - m.used - 6300;    /* all but that is taken */
    void *taken = aw__mem_get(mem, n);
    int open = 0, i;
    CHECK(taken != NULL);
    for (i = 0; i < MANY; i++) {
        all[i] = wire_open(t);
        wire_say(&all[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        NOTE("connection %d", i);
        CHECK_STR("200=hello", digest(&all[i]));
        aw_test_advance(t, 10);
    }
    for (i = 0; i < MANY; i++) {
        wire_settle(&all[i]);
        CHECK(all[i].ended || i > 0);
        CHECK(!all[i].ended || open == 0);
        open += !all[i].ended;
    }
    NOTE("%d are open", open);
    CHECK(open > 2 && open < MANY);
    for (i = 0; i < MANY; i++) wire_close(&all[i]);
    aw__mem_put(mem, taken, n);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- TLS ---- */

#ifdef ASYNCWEB_BEARSSL
#define CERTS "build/certs/"

/* A server in little memory, and its clients in a loop of their own, between
   them the kernel: what clients need is not taken from the server. */
static struct {
    aw_loop *server, *clients;
    int port, whole, refused, cut, wrong;
} secure;

static char clients_memory[16 << 20];
static const aw_tls trusts = {.ca_file = CERTS "roots.pem",
                              .server_name = "good.test"};

static aw_loop *loop_in(void *p, size_t n)
{
    aw_loop_config c;
    memset(&c, 0, sizeof c);
    c.memory = p;
    c.memory_size = n;
    c.log = keep_log;
    return aw_loop_new(&c);
}

/* False: it says that there is too little. */
static bool secure_open(void *p, size_t n)
{
    aw_config c = quiet_config();
    int rc = AW_ENOMEM;
    memset(&secure, 0, sizeof secure);
    c.routes = all_kinds;
    c.port = AW_ANY_PORT;
    c.tls.certificate = CERTS "ec.pem";
    c.tls.key = CERTS "ec.key";
    secure.server = loop_in(p, n);
    secure.clients = loop_in(clients_memory, sizeof clients_memory);
    CHECK(secure.clients != NULL);
    if (secure.server) rc = aw_serve(secure.server, &c);
    if (rc == 0) secure.port = aw_serve_port(secure.server);
    else CHECK_EQ(AW_ENOMEM, rc);
    return rc == 0;
}

static void secure_close(void)
{
    aw_loop_free(secure.clients);
    aw_loop_free(secure.server);
}

static void secure_turn(void)
{
    (void)aw_loop_step(secure.server, 0);
    (void)aw_loop_step(secure.clients, 0);
}

/* An error is no more than that: the connection was done without. */
ASYNC(secure_asks, (const char *path; size_t send; const aw_tls *tls;),
      aw_response *reply; int rc; char url[60];)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "https://127.0.0.1:%d%s",
                 secure.port, self->path);
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = self->url,
                 .tls = self->tls, .body = self->send ? letters : NULL,
                 .body_len = self->send, .method = self->send ? "POST" : "GET");
        if (self->rc == 503 || self->rc == 413) secure.refused++;
        else if (self->rc < 0) secure.cut++;
        else if (self->rc != 200) secure.wrong++;
        else if (!strcmp(self->path, "/")) secure.wrong +=
            strcmp(self->reply->body, "hello") != 0;
        else if (!strcmp(self->path, "/slow/5")) secure.wrong +=
            strcmp(self->reply->body, "slept 5") != 0;
        else secure.wrong += self->reply->body_len != (self->send ? self->send
            : ASSET) || memcmp(self->reply->body, letters,
                               self->reply->body_len) != 0;
        secure.whole += self->rc == 200;
    }
}

static void secure_ask(const char *path, size_t send)
{
    (void)SPAWN_ON(secure.clients, secure_asks, path, send, &trusts);
}

/* Until all have their answers; 20 s at most. */
static void secure_settle(void)
{
    const int64_t end = aw__sys_now_ms() + 20000;
    do secure_turn();
    while (secure.clients->tasks > 0 && aw__sys_now_ms() < end);
    CHECK_EQ(0, secure.clients->tasks);
}

/* All clients hang up. */
static void secure_leave(void)
{
    const int64_t end = aw__sys_now_ms() + 5000;
    aw_loop_free(secure.clients);
    secure.clients = loop_in(clients_memory, sizeof clients_memory);
    while (secure.server->server->connections > 0 && aw__sys_now_ms() < end)
        (void)aw_loop_step(secure.server, 0);
    CHECK_EQ(0, secure.server->server->connections);
}

/* Of all that runs here, the libc's and BearSSL's own too. */
#ifdef __SANITIZE_ADDRESS__
static long mallocs;
int __sanitizer_install_malloc_and_free_hooks(
    void (*)(const volatile void *, size_t), void (*)(const volatile void *));
static void on_malloc(const volatile void *p, size_t n)
{
    (void)p, (void)n;
    mallocs++;
}
static void on_free(const volatile void *p) { (void)p; }
#endif

TEST(tls_until_memory_fails)
{
    static const size_t sizes[] = {9000, 24576, 50000, 60000, 65536, 90000,
                                   130000, 400000};
    static char buffer[400000];
    int served = 0, k;
    size_t i, before;
    int64_t begun;
    bool slow;
#ifdef __SANITIZE_ADDRESS__
    void *volatile p;
    CHECK(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0);
    p = malloc(1);
    free(p);
    CHECK_EQ(1, mallocs);
    mallocs = 0;
#endif
    memset(letters, 'a', sizeof letters);
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const bool open = secure_open(buffer, sizes[i]);
        NOTE("%d bytes", (int)sizes[i]);
        CHECK(open || served == 0);
        for (k = 0; open && k < 2; k++) {
            secure_ask("/", 0);
            secure_settle();
            CHECK_EQ(k + 1, secure.whole);      /* whoever comes alone */
            secure_leave();
            before = loop_rest_bytes(secure.server);
            secure.whole = secure.refused = secure.cut = 0;
            begun = aw__sys_now_ms();
            for (int n = 0; n < 24; n++)
                secure_ask(n % 4 == 0 ? "/slow/5" : n % 4 == 1 ? "/asset"
                           : n % 4 == 2 ? "/echo" : "/", n % 4 == 2 ? 2500 : 0);
            secure_settle();
            NOTE("%d bytes: %d whole, %d refused, %d cut", (int)sizes[i],
                 secure.whole, secure.refused, secure.cut);
            CHECK_EQ(0, secure.wrong);
            /* Most wait to be accepted. Who shakes hands for a second, as
               under valgrind, makes room for others. */
            slow = aw__sys_now_ms() - begun >= 1000;
            CHECK(slow || secure.whole > 20);
            if (getenv("TALLY")) printf("%s\n", test_.note);
            CHECK(slow || sizes[i] < 400000 || secure.whole == 24);
            secure_leave();
            CHECK_EQ(before, loop_rest_bytes(secure.server));
            secure.whole = k + 1;
        }
        served += open;
        secure_close();
    }
    CHECK(served > 2);
#ifdef __SANITIZE_ADDRESS__
    CHECK_EQ(0, mallocs);
#endif
    memset(buffer, 0, sizeof buffer);
}

/* Somebody else, whose connection stays. */
static void secure_stranger(int i)
{
    aw_tls tls = trusts;
    char name[20];
    snprintf(name, sizeof name, "n%d.test", i);
    tls.server_name = name;
    tls.insecure = true;
    (void)SPAWN_ON(secure.clients, secure_asks, "/", 0, &tls);
    secure_settle();
}

/* The client of that connection sends the first bytes of a record. */
static void secure_mutter(const aw__conn *c)
{
    int fd;
    for (fd = 0; fd < secure.clients->fd_end; fd++) {
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        if (!secure.clients->fds[fd].tls ||
            getsockname(fd, (struct sockaddr *)&a, &n) < 0 ||
            ntohs(a.sin_port) != c->peer.port) continue;
        CHECK_EQ(3, write(fd, "\x17\x03\x03", 3));
        (void)aw_loop_step(secure.server, 100);
        return;
    }
    CHECK(!"nobody is at the other end");
}

/* Connections that idle make room for one that shakes hands, or says something;
   the oldest first. Each client is somebody else. */
TEST(tls_idle_ones_make_room)
{
    static char buffer[140000];
    enum { MANY = 20 };
    const aw__link *list;
    const aw__conn *oldest, *newest;
    int i, k, open;
    CHECK(secure_open(buffer, sizeof buffer));
    if (!secure.port) return;
    for (k = 0; k < 2; k++)
        for (i = 0; i < MANY; i++) {
            secure_stranger(i);
            NOTE("connection %d of round %d", i, k);
            CHECK_EQ(k * MANY + i + 1, secure.whole);
            (void)usleep(2000);         /* it idles since a while */
        }
    open = secure.server->server->connections;
    NOTE("%d are open", open);
    CHECK(open > 5 && open < MANY);
    /* Both want to be heard; those in between go. */
    list = &secure.server->server->lists[AW__IDLE];
    newest = (aw__conn *)list->prev;
    oldest = (aw__conn *)list->next;
    secure_mutter(newest);
    (void)usleep(2000);
    secure_mutter(oldest);
    CHECK(secure.server->server->connections < open);
    if (list->next == &oldest->link && list->prev == &newest->link) {
        CHECK(secure.server->fds[newest->fd].tls->buffers != NULL);
        CHECK(secure.server->fds[oldest->fd].tls->buffers != NULL);
    } else {
        CHECK(!"one of the two had to go");
    }
    secure_close();
}
#endif

/* ---- what things cost ---- */

static char mib[1 << 20];

static void row(const char *what, size_t bytes, size_t most)
{
    if (getenv("MEMORY_TABLE")) printf("| %s | %d |\n", what, (int)bytes);
    NOTE("%s: %d bytes", what, (int)bytes);
    CHECK(bytes <= most);
}

/* What each of some connections holds that have said this. */
static size_t cost_of(aw_test *t, const char *say)
{
    enum { MANY = 8 };
    wire all[MANY];
    size_t before, each;
    for (int i = 0; i < MANY; i++) all[i] = wire_open(t);
    for (int i = 0; i < MANY; i++) wire_say(&all[i], say);
    each = in_use(aw_test_loop(t));
    for (int i = 0; i < MANY; i++) wire_close(&all[i]);
    aw_test_advance(t, 100000);
    before = in_use(aw_test_loop(t));
    return (each - before) / MANY;
}

#define GET_(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

TEST(what_things_cost)
{
    static char long_head[32768], part[1000 + 1];
    aw_config c = in_buffer(mib, sizeof mib);
    aw_loop_config lc;
    aw_loop *l;
    aw_test *t;
    size_t one, all;
    memset(&lc, 0, sizeof lc);
    lc.memory = kib24;
    lc.memory_size = sizeof kib24;
    l = aw_loop_new(&lc);
    CHECK(l != NULL);
    if (!l) return;
    row("the buffer's own", sizeof kib24 - aw_loop_memory(l).size, 300);
    row("a loop", aw_loop_memory(l).used, 2600);
    one = in_use(l);
    c.routes = small;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    row("a server in 24 KiB, with one route", in_use(l) - one, 6000);
    one = in_use(l);
    aw_loop_free(l);
    l = aw_loop_new(&lc);
    c.routes = all_kinds;
    CHECK_EQ(0, aw_serve(l, &c));
    row("one more route", (in_use(l) - one) / 10, 700);
    aw_loop_free(l);

    c.port = 0;
    t = app_with(all_kinds, &c);
    aw__quarantine_end(aw_test_loop(t)->server);
    aw_test_loop(t)->debug = false;
    CHECK_STR("200 hello", get(t, "/"));
    CHECK_STR("200 slept 5", get(t, "/slow/5"));
    row("an entry of the table of descriptors", sizeof *l->fds, 32);
    row("an entry of the table of tasks", sizeof *l->slots, 32);
    row("a connection that idles", cost_of(t, GET_("/")), 200);
    memset(part, 'x', 1000);
    memcpy(part, "GET / HTTP/1.1\r\nA: ", 19);
    row("one with 1,000 bytes of a head", cost_of(t, part), 1400);
    all = cost_of(t, GET_("/slow/9"));
    row("one whose view sleeps, request of 41 bytes", all, 800);
    row("the same, with two children asleep", cost_of(t, GET_("/both")), 2200);
    memset(long_head, 'y', sizeof long_head);
    memcpy(long_head, "GET /slow/9 HTTP/1.1\r\nHost: localhost\r\nA: ", 42);
    strcpy(long_head + 32768 - 10 - 5, "\r\n\r\n");
    row("one whose view sleeps, head of 32 KiB", cost_of(t, long_head), 37000);
    row("a stream of events", cost_of(t, GET_("/events")), 2500);
    row("a WebSocket at rest", cost_of(t, "GET /parrot HTTP/1.1\r\nHost: h\r\n"
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"), 2500);
    (void)aw_test_get(t, "/relays");
    row("a view that waits for an answer of another server",
        cost_of(t, GET_("/relays")), 10000);
    CHECK_EQ(0, aw_test_close(t));
}

#ifdef ASYNCWEB_BEARSSL
TEST(what_tls_costs)
{
    enum { MANY = 8 };
    aw_config c = in_buffer(mib, sizeof mib);
    aw_loop *l = loop_in(mib, sizeof mib);
    size_t bare, idle, before;
    int fd;
    c.routes = all_kinds;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    bare = in_use(l);
    aw_loop_free(l);
    CHECK(secure_open(mib, sizeof mib));
    l = secure.server;
    row("TLS: what a server has for all, an EC key", in_use(l) - bare, 8000);
    secure_stranger(MANY);      /* what the first takes stays */
    before = in_use(l);
    for (int i = 0; i < MANY; i++) secure_stranger(i);
    idle = in_use(l);
    row("TLS: a connection that idles", (idle - before) / MANY, 5000);
    for (fd = 0; fd < secure.clients->fd_end; fd++)
        if (secure.clients->fds[fd].tls)
            CHECK_EQ(3, write(fd, "\x17\x03\x03", 3));   /* of a record */
    secure_turn();
    row("... when bytes of it are under way, in addition",
        (in_use(l) - idle) / (MANY + 1), 34000);
    secure_leave();
    before = in_use(l);
    l->mem.heap->least = l->mem.heap->free;
    secure_stranger(MANY);
    row("TLS: a connection that shakes hands",
        aw_loop_memory(l).most - aw_loop_memory(l).used + in_use(l) - before,
        45000);
    secure_close();
}
#endif
