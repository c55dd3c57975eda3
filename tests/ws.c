/* WebSocket (RFC 6455): frames and messages, the handshake, the server. */
#include "http.h"

#ifndef ASYNCWEB_NO_WS

static uint32_t rnd_state = 1;

static uint32_t rnd(uint32_t below)
{
    rnd_state = rnd_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(rnd_state >> 4) * below >> 28);
}

/* ---- SHA-1, UTF-8 in pieces -------------------------------------------- */

static const char *sha1_hex(const char *p, size_t n)
{
    static char text[41];
    unsigned char hash[20];
    char *exact = (char *)malloc(n ? n : 1);
    memcpy(exact, p, n);
    aw__sha1(exact, n, hash);
    free(exact);
    for (int i = 0; i < 20; i++) snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return text;
}

TEST(sha1_fips_180)
{
    static const char abc[] =
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char *million = (char *)malloc(1000000);
    CHECK_STR(sha1_hex("", 0), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    CHECK_STR(sha1_hex("abc", 3), "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK_STR(sha1_hex(abc, 56), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    memset(million, 'a', 1000000);
    CHECK_STR(sha1_hex(million, 1000000),
              "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    /* Around the places where the padding needs a block more. */
    CHECK_STR(sha1_hex(million, 55),
              "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    CHECK_STR(sha1_hex(million, 56),
              "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    CHECK_STR(sha1_hex(million, 64),
              "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    free(million);
}

/* Where aw__utf8_more says no when it is fed `piece` bytes at a time: n for
   nowhere, n + 1 for a text that is not whole. */
static size_t utf8_stops(const char *p, size_t n, size_t piece)
{
    aw__utf8 u;
    memset(&u, 0, sizeof u);
    for (size_t i = 0; i < n; i += piece) {
        size_t k = n - i < piece ? n - i : piece;
        char *exact = (char *)malloc(k);
        bool fine;
        memcpy(exact, p + i, k);
        fine = aw__utf8_more(&u, exact, k);
        free(exact);
        if (!fine) return piece == 1 ? i : n + 2;
    }
    return u.left ? n + 1 : n;
}

/* Any cut gives the verdict of the whole, and no byte is let past that no
   valid text can have there. */
TEST(utf8_more_agrees)
{
    static const char *const bad[] = {
        "\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5", "\xFF",
        "\xE2\x82" "A", "\xF0\x9F\x98" "A", "\xC3(",
        "k\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90" "edited"};
    static const size_t at[] = {0, 0, 0, 1, 1, 1, 1, 0, 0, 2, 3, 1, 13};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = strlen(bad[i]);
        NOTE("row %d", (int)i);
        CHECK_EQ(utf8_stops(bad[i], n, 1), at[i]);
        for (size_t piece = 2; piece <= n; piece++)
            CHECK_EQ(utf8_stops(bad[i], n, piece), n + 2);
    }
    for (int round = 0; round < 3000; round++) {
        static const char good[] = "aZ\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF"
            "\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF-plain-ascii-too-";
        char text[sizeof good];
        size_t n = sizeof good - 1, valid;
        memcpy(text, good, n);
        if (round & 1) text[rnd((uint32_t)n)] = (char)rnd(256);
        n -= rnd(12);
        valid = aw__utf8_valid(text, n);
        for (size_t piece = 1; piece < 9; piece++) {
            size_t stops = utf8_stops(text, n, piece);
            NOTE("round %d piece %d", round, (int)piece);
            if (valid == n) CHECK_EQ(stops, n);
            else CHECK(stops != n);
            if (piece == 1 && stops < n) CHECK(stops >= valid);
        }
    }
}

/* ---- frames ------------------------------------------------------------ */

typedef struct bytes {
    char p[200000];
    size_t n;
} bytes;

static void add(bytes *b, const void *p, size_t n)
{
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void add_frame(bytes *b, int first, const void *p, size_t n, bool mask)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[AW__WS_HEAD];
    add(b, head, aw__ws_write_head(head, first & 0x7f, (first & 0x80) != 0, n,
                                   mask ? key : NULL));
    if (mask) aw__ws_mask(b->p + b->n, (const char *)p, n, key, 0);
    else if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

/* The same frames, as they stand, with masks. */
static void add_masked(bytes *to, const char *p, size_t n)
{
    static const uint8_t key[4] = {1, 0x80, 0xff, 7};
    while (n) {
        size_t head = n < 2 ? n
            : aw__ws_head_size((const uint8_t *)p), size = 0, i;
        if (head > n) head = n;
        add(to, p, head);
        if (n < 2) return;
        to->p[to->n - head + 1] |= (char)0x80;
        if (head < aw__ws_head_size((const uint8_t *)p)) return;
        add(to, key, 4);
        if (head == 2) size = (uint8_t)p[1] & 127;
        else for (i = 2; i < head; i++) size = size << 8 | (uint8_t)p[i];
        p += head;
        n -= head;
        if (size > n) size = n;
        aw__ws_mask(to->p + to->n, p, size, key, 0);
        to->n += size;
        p += size;
        n -= size;
    }
}

static void say_event(char *to, size_t cap, int what, aw_slice data)
{
    static const char *const names[] = {"", "T", "B", "", "", "", "", "", "C",
                                        "i", "o"};
    size_t at = strlen(to);
    if (what < 0) {
        snprintf(to + at, cap - at, "!%d ", -what);
        return;
    }
    at += (size_t)snprintf(to + at, cap - at, "%s", names[what]);
    if (what == AW__WS_CLOSE) {
        at += (size_t)snprintf(to + at, cap - at, "%d:",
                               aw__ws_close_code(data));
        data = aw__slice(data.p + (data.n ? 2 : 0), data.n - (data.n ? 2 : 0));
    }
    if (data.n > 40)
        snprintf(to + at, cap - at, "#%lu ", (unsigned long)data.n);
    else
        snprintf(to + at, cap - at, "%.*s ", (int)data.n,
                 data.p ? data.p : "");
}

/* What a reader makes of the bytes, cut at `cut` and then every `piece`. */
static const char *read_frames(const char *p, size_t n, size_t cut,
                               size_t piece, bool masked, size_t max)
{
    static char text[8192];
    aw__ws_reader r;
    size_t i = 0, k;
    memset(&r, 0, sizeof r);
    r.max_message = max;
    r.masked = masked;
    text[0] = 0;
    for (; i < n; i += k) {
        aw_slice in, data;
        char *exact;
        int rc;
        k = i < cut ? cut - i : piece;
        if (k > n - i) k = n - i;
        exact = (char *)malloc(k);
        memcpy(exact, p + i, k);
        in = aw__slice(exact, k);
        while ((rc = aw__ws_next(&r, &in, &data)) != 0) {
            say_event(text, sizeof text, rc, data);
            if (rc < 0) break;
            if (rc <= AW__WS_BINARY) CHECK_EQ(data.p[data.n], 0);
        }
        free(exact);
        if (rc < 0) break;
        CHECK_EQ(in.n, 0);
    }
    aw__buf_free(&r.got);
    return text;
}

static void check_frames(const char *p, size_t n, const char *want,
                         bool masked, size_t max)
{
    CHECK_STR(read_frames(p, n, n, 1, masked, max), want);
    CHECK_STR(read_frames(p, n, 0, 1, masked, max), want);
    for (size_t cut = 1; cut < n && n < 400; cut++)
        CHECK_STR(read_frames(p, n, cut, n, masked, max), want);
}

#define ROW(section, in, want) {section, want, in, sizeof in - 1}
typedef struct frame_row {
    const char *section, *want, *p;
    size_t n;
} frame_row;

/* As a server sends them; the test masks them for the other direction. */
static const frame_row frames[] = {
    /* ---- the examples of 5.7 ---- */
    ROW("5.7 hello", "\x81\x05Hello", "THello "),
    ROW("5.7 fragments", "\x01\x03Hel\x80\x02lo", "THello "),
    ROW("5.7 ping", "\x89\x05Hello", "iHello "),
    ROW("5.7 pong", "\x8a\x05Hello", "oHello "),
    /* ---- framing ---- */
    ROW("5.6 empty text", "\x81\x00", "T "),
    ROW("5.6 empty binary", "\x82\x00", "B "),
    ROW("5.6 two", "\x81\x01" "a\x82\x01" "b", "Ta Bb "),
    ROW("5.2 16 bit length", "\x81\x7e\x00\x7d", "!1002 "),
    ROW("5.2 16 bit length, 0", "\x81\x7e\x00\x00", "!1002 "),
    ROW("5.2 64 bit length, 65535",
        "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "!1002 "),
    ROW("5.2 most significant bit",
        "\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00", "!1002 "),
    ROW("5.2 63 bits", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "!1009 "),
    ROW("10.4 too large", "\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa1",
        "!1009 "),
    ROW("10.4 too large in parts", "\x02\x03" "abc\x80\x7f\x00\x00\x00\x00\x00"
        "\x01\x86\x9e", "!1009 "),
    /* ---- reserved bits and opcodes ---- */
    ROW("5.2 RSV1", "\xc1\x01" "a", "!1002 "),
    ROW("5.2 RSV2", "\xa1\x01" "a", "!1002 "),
    ROW("5.2 RSV3", "\x91\x01" "a", "!1002 "),
    ROW("5.2 RSV in a ping", "\xc9\x00", "!1002 "),
    ROW("5.2 RSV after a text", "\x81\x01" "a\xf0\x00", "Ta !1002 "),
    ROW("5.2 opcode 3", "\x83\x00", "!1002 "),
    ROW("5.2 opcode 4", "\x84\x00", "!1002 "),
    ROW("5.2 opcode 5", "\x85\x00", "!1002 "),
    ROW("5.2 opcode 6", "\x86\x00", "!1002 "),
    ROW("5.2 opcode 7", "\x87\x00", "!1002 "),
    ROW("5.2 opcode 11", "\x8b\x00", "!1002 "),
    ROW("5.2 opcode 12", "\x8c\x00", "!1002 "),
    ROW("5.2 opcode 13", "\x8d\x00", "!1002 "),
    ROW("5.2 opcode 14", "\x8e\x00", "!1002 "),
    ROW("5.2 opcode 15", "\x8f\x00", "!1002 "),
    /* ---- control frames ---- */
    ROW("5.5.2 empty ping", "\x89\x00", "i "),
    ROW("5.5.3 pong unasked", "\x8a\x00\x89\x01x", "o ix "),
    ROW("5.5 ping of 126", "\x89\x7e\x00\x7e", "!1002 "),
    ROW("5.5 close of 126", "\x88\x7e", "!1002 "),
    ROW("5.5 pong of 64 bits", "\x8a\x7f", "!1002 "),
    ROW("5.5 ping in fragments", "\x09\x00", "!1002 "),
    ROW("5.5 pong in fragments", "\x0a\x00", "!1002 "),
    ROW("5.5 close in fragments", "\x08\x00", "!1002 "),
    /* ---- fragmentation ---- */
    ROW("5.4 ping between", "\x01\x03Hel\x89\x02hi\x80\x02lo",
        "ihi THello "),
    ROW("5.4 many between", "\x02\x01" "a\x8a\x00\x89\x01x\x00\x01" "b\x89\x00"
        "\x80\x01" "c", "o ix i Babc "),
    ROW("5.4 empty parts", "\x01\x00\x00\x00\x80\x00", "T "),
    ROW("5.4 empty first and last", "\x01\x00\x00\x01x\x80\x00", "Tx "),
    ROW("5.4 nothing to go on with", "\x80\x01x", "!1002 "),
    ROW("5.4 nothing, not last", "\x00\x01x", "!1002 "),
    ROW("5.4 after a whole one", "\x81\x01x\x80\x01y", "Tx !1002 "),
    ROW("5.4 text within text", "\x01\x01x\x81\x01y", "!1002 "),
    ROW("5.4 binary within text", "\x01\x01x\x02\x01y", "!1002 "),
    ROW("5.4 again after a message", "\x01\x01x\x80\x01y\x80\x00",
        "Txy !1002 "),
    /* ---- UTF-8 ---- */
    ROW("8.1 valid", "\x81\x0b\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        "T\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5 "),
    ROW("8.1 cut in a character", "\x01\x01\xce\x80\x01\xba", "T\xce\xba "),
    ROW("8.1 cut, a ping within", "\x01\x01\xce\x89\x01\xff\x80\x01\xba",
        "i\xff T\xce\xba "),
    ROW("8.1 not whole", "\x81\x01\xce", "!1007 "),
    ROW("8.1 not whole, in parts", "\x01\x01\xce\x80\x00", "!1007 "),
    ROW("8.1 surrogate", "\x81\x03\xed\xa0\x80", "!1007 "),
    ROW("8.1 overlong", "\x81\x02\xc0\xaf", "!1007 "),
    ROW("8.1 past U+10FFFF", "\x81\x04\xf4\x90\x80\x80", "!1007 "),
    ROW("8.1 a noncharacter is fine", "\x81\x03\xef\xbf\xbf",
        "T\xef\xbf\xbf "),
    /* Before the rest of the frame, or of the message, has come. */
    ROW("8.1 at once, in the frame", "\x81\x20" "abc\xff", "!1007 "),
    ROW("8.1 at once, at the part", "\x01\x04" "abc\xed\x00\x10\xa0",
        "!1007 "),
    ROW("8.1 binary is not text", "\x82\x02\xff\xfe", "B\xff\xfe "),
    /* ---- close ---- */
    ROW("5.5.1 empty", "\x88\x00", "C1005: "),
    ROW("5.5.1 one byte", "\x88\x01\x03", "!1002 "),
    ROW("5.5.1 code", "\x88\x02\x03\xe8", "C1000: "),
    ROW("5.5.1 reason", "\x88\x05\x03\xe9" "bye", "C1001:bye "),
    ROW("5.5.1 reason not UTF-8", "\x88\x04\x03\xe8\xc0\xaf", "!1007 "),
    ROW("5.5.1 reason cut", "\x88\x03\x03\xe8\xce", "!1007 "),
    ROW("5.5.1 nothing counts after", "\x88\x02\x03\xe8\x81\x01x\xff\xff",
        "C1000: "),
    ROW("5.4 close within a message", "\x01\x01x\x88\x00", "C1005: "),
};

TEST(ws_frames_table)
{
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        const frame_row *f = &frames[i];
        bytes *b = (bytes *)calloc(1, sizeof *b);
        NOTE("%s", f->section);
        check_frames(f->p, f->n, f->want, false, 100000);
        add_masked(b, f->p, f->n);
        check_frames(b->p, b->n, f->want, true, 100000);
        free(b);
    }
}

TEST(ws_masks_5_1)
{
    static const char hello[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    NOTE("5.7: a masked hello");
    check_frames(hello, 11, "THello ", true, 100);
    NOTE("5.1: a client must not be sent masked frames");
    check_frames(hello, 11, "!1002 ", false, 100);
    NOTE("5.1: a server must not be sent others");
    check_frames("\x81\x05Hello", 7, "!1002 ", true, 100);
    check_frames("\x89\x00", 2, "!1002 ", true, 100);
}

/* 7.4: which codes may be in a Close frame. */
TEST(ws_close_codes_7_4)
{
    static const int fine[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                               1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const int bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100,
                              2000, 2999, 5000, 65535};
    char frame[4] = {(char)0x88, 2, 0, 0}, want[20];
    for (size_t i = 0; i < 29; i++) {
        int code = i < 16 ? fine[i] : bad[i - 16];
        frame[2] = (char)(code >> 8);
        frame[3] = (char)code;
        snprintf(want, sizeof want, i < 16 ? "C%d: " : "!1002 ", code);
        NOTE("%d", code);
        check_frames(frame, 4, want, false, 100);
    }
}

/* The writer's heads are as 5.2 has them, and what it writes is read. */
TEST(ws_round_trip)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 128, 65535, 65536,
                                   65537, 99999};
    static const size_t heads[] = {2, 2, 2, 4, 4, 4, 4, 10, 10, 10};
    bytes *b = (bytes *)calloc(1, sizeof *b);
    char *text = (char *)malloc(100000), want[64];
    for (size_t i = 0; i < 100000; i++) text[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < 20; i++) {
        size_t n = sizes[i % 10];
        bool masked = i >= 10;
        b->n = 0;
        add_frame(b, 0x82, text, n, masked);
        NOTE("%d bytes, masked %d", (int)n, masked);
        CHECK_EQ(b->n, n + heads[i % 10] + (masked ? 4 : 0));
        add_frame(b, 0x89, text, n < 126 ? n : 125, masked);
        snprintf(want, sizeof want, n == 0 ? "B i " : n == 1 ? "Ba ia "
                 : "B#%d i#%d ", (int)n, n < 126 ? (int)n : 125);
        CHECK_STR(read_frames(b->p, b->n, b->n, 1, masked, 100000), want);
        CHECK_STR(read_frames(b->p, b->n, 0, 1, masked, 100000), want);
        CHECK_STR(read_frames(b->p, b->n, 0, 4093, masked, 100000), want);
    }
    free(text);
    free(b);
}

/* 5.3: any start, any offset into the key, in place as well. */
TEST(ws_mask_words)
{
    const uint8_t key[4] = {0x11, 0xA2, 0, 0xFF};
    for (size_t n = 0; n < 40; n++) {
        for (unsigned turn = 0; turn < 4; turn++) {
            char *from = (char *)malloc(n + 1), *to = (char *)malloc(n + 1);
            for (size_t i = 0; i < n; i++) from[i] = (char)(i * 37);
            aw__ws_mask(to, from, n, key, turn);
            for (size_t i = 0; i < n; i++)
                CHECK_EQ((uint8_t)to[i],
                         (uint8_t)from[i] ^ key[(i + turn) & 3]);
            aw__ws_mask(from, from, n, key, turn);
            CHECK(n == 0 || memcmp(from, to, n) == 0);
            free(from);
            free(to);
        }
    }
}

/* Random messages in random fragments, read in random pieces. */
TEST(ws_random_messages)
{
    for (int round = 0; round < test_rounds(2000); round++) {
        bytes *b = (bytes *)calloc(1, sizeof *b);
        char want[4096] = "";
        bool masked = rnd(2) == 1;
        for (uint32_t messages = rnd(6); messages > 0; messages--) {
            char data[600];
            size_t n = rnd(600), at = 0;
            int opcode = 1 + (int)rnd(2);
            for (size_t i = 0; i < n; i++) data[i] = (char)('A' + rnd(26));
            for (bool last = false; !last; opcode = 0) {
                size_t k = rnd(3) ? rnd((uint32_t)(n - at) + 1) : n - at;
                last = at + k == n && rnd(2);
                if (opcode)
                    say_event(want, sizeof want, opcode, aw__slice(data, n));
                add_frame(b, opcode | (last ? 0x80 : 0), data + at, k, masked);
                at += k;
                if (last || rnd(4)) continue;
                add_frame(b, 0x8a, NULL, 0, masked);
            }
        }
        NOTE("round %d", round);
        {
            char text[8192], other[8192];
            snprintf(text, sizeof text, "%s",
                     read_frames(b->p, b->n, b->n, 1, masked, 600));
            snprintf(other, sizeof other, "%s",
                     read_frames(b->p, b->n, rnd(50), 1 + rnd(300), masked,
                                 600));
            CHECK_STR(text, other);
            for (char *o; (o = strstr(text, "o ")) != NULL;)
                memmove(o, o + 2, strlen(o + 2) + 1);
            CHECK_STR(text, want);
        }
        free(b);
    }
}

/* Out of memory at any of the reader's allocations: 1011, and no loss. */
TEST(ws_reader_out_of_memory)
{
    bytes *b = (bytes *)calloc(1, sizeof *b);
    char *text = (char *)calloc(1, 5000);
    add_frame(b, 0x02, text, 60, true);
    add_frame(b, 0x89, text, 100, true);
    add_frame(b, 0x80, text, 5000, true);
    for (long k = 1;; k++) {
        const char *got;
        fault_set("alloc", k, 0);
        got = read_frames(b->p, b->n, b->n, 1, true, 10000);
        if (fault_count < k) break;
        CHECK(strstr(got, "!1011 ") != NULL);
    }
    CHECK(fault_count > 2);
    fault_set(NULL, 0, 0);
    free(text);
    free(b);
}

/* ---- the handshake's words --------------------------------------------- */

TEST(ws_accept_key_4_2_2)
{
    char *key = (char *)malloc(24), out[29];
    memcpy(key, "dGhlIHNhbXBsZSBub25jZQ==", 24);
    CHECK(aw__ws_key_valid(aw__slice(key, 24)));
    aw__ws_accept_key(aw__slice(key, 24), out);
    CHECK_STR(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    free(key);
}

TEST(ws_key_4_1)
{
    static const char *const bad[] = {
        "", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=A",
        "dGhlIHNhbXBsZSBub25jZTEy", "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZQ==AAAA", "dGhlIHNhbXBsZSBub25jZTE="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("%s", bad[i]);
        CHECK(!aw__ws_key_valid(aw__slice(bad[i], strlen(bad[i]))));
    }
}

TEST(ws_origin_10_2)
{
    static const struct {
        const char *allowed, *origin, *host;
        bool fits;
    } t[] = {
        {NULL, "http://a.example", "a.example", true},
        {NULL, "https://A.example:8080", "a.example:8080", true},
        {NULL, "https://a.example", "a.example:8080", false},
        {NULL, "http://b.example", "a.example", false},
        {NULL, "http://a.example.evil", "a.example", false},
        {NULL, "http://evila.example", "a.example", false},
        {NULL, "null", "a.example", false},
        {NULL, "", "a.example", false},
        {NULL, "a.example", "a.example", false},
        {NULL, "://", "", true},
        {"*", "null", "a.example", true},
        {"https://b.example", "https://b.example", "a.example", true},
        {"https://b.example", "http://b.example", "a.example", false},
        {"https://b.example", "http://a.example", "a.example", false},
        {"https://b.example https://c.example", "https://c.example", "x", true},
        {"https://b.example https://c.example", "https://c.exampl", "x", false},
        {"https://b.example  https://c.example", "", "x", false},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        NOTE("row %d", (int)i);
        CHECK_EQ(aw__ws_origin_fits(
            t[i].allowed, aw__slice(t[i].origin, strlen(t[i].origin)),
            aw__slice(t[i].host, strlen(t[i].host))), t[i].fits);
    }
}
#endif
