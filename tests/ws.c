/* WebSocket (RFC 6455): frames and messages, the handshake, the server. */
#include "http.h"

#ifndef ASYNCWEB_NO_WS

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
#undef ROW

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

/* ---- the server -------------------------------------------------------- */

static char trail[4096];        /* what the views saw and did */

__attribute__((format(printf, 1, 2)))
static void note(const char *format, ...)
{
    size_t n = strlen(trail);
    va_list args;
    va_start(args, format);
    vsnprintf(trail + n, sizeof trail - n, format, args);
    va_end(args);
}

WS_VIEW(echo, aw_ws_message msg; int rc;)
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
        note("%d %d:%s|", OUTCOME(), aw_ws_close_code(ws),
             aw_ws_close_reason(ws));
    }
}

/* Says what it is told to, by the path. */
WS_VIEW(ends, int64_t ms;)
{
    BEGIN {
        if (strcmp(aw_param(req, "how"), "unasked") == 0) RETURN(0);
        if (strcmp(aw_param(req, "how"), "status") == 0) RETURN(418);
        if (strcmp(aw_param(req, "how"), "error") == 0)
            RETURN(aw_error(req, 401, "who are you?"));
        if (strcmp(aw_param(req, "how"), "answer") == 0)
            RETURN(aw_text(req, "no socket"));
        if (strcmp(aw_param(req, "how"), "broken") == 0) RETURN(AW_EIO);
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 0));
        CHECK_EQ(aw_set_header(req, "Set-Cookie", "id=7"), 0);
        AWAIT(aw_ws_send, ws, "hi", 2);
        CHECK_EQ(aw_set_header(req, "Set-Cookie", "id=8"), AW_EINVAL);
        CHECK_EQ(aw_stream_begin(req, "text/plain"), AW_EINVAL);
        RETURN((int)aw_query_int(req, "rc", 0));
    } FINALLY {
        note("%d|", OUTCOME());
    }
}

WS_VIEW(sleeps)
{
    BEGIN {
        AWAIT(aw_ws_send, ws, "in", 2);
        AWAIT(aw_sleep_ms, 3600000);
    } FINALLY {
        note("%d %d|", OUTCOME(), aw_ws_close_code(ws));
    }
}

WS_VIEW(sleeps_first, aw_ws_message msg; int rc;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 100);
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        note("%d|", self->rc);
    }
}

WS_VIEW(sleeps_little)
{
    BEGIN {
        CHECK(!aw_ws_protocol(ws));
        CHECK_EQ(aw_ws_post(ws, "", 0), 0);
        AWAIT(aw_sleep_ms, 10);
    }
}

WS_VIEW(takes_one, aw_ws_message msg; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        note("%d=%s|", self->rc, self->msg.data);
        AWAIT(aw_sleep_ms, 1000);
        note("%s|", self->msg.data);
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        note("%d=%s|", self->rc, self->msg.data);
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        note("%d|", self->rc);
    } FINALLY {
        note("%d|", OUTCOME());
    }
}

WS_VIEW(closes, int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_ws_close, ws, (int)aw_query_int(req, "code", 0),
                 aw_query(req, "reason"));
        note("%d|", self->rc);
        AWAIT_TO(self->rc, aw_ws_send, ws, "x", 1);
        note("%d|", self->rc);
    }
}

ROUTES(socket_app, WS("/echo", echo),
       WS("/limited", echo, .max_message = 10),
       WS("/ends/<how>", ends), WS("/sleeps", sleeps),
       WS("/sleeps_first", sleeps_first), WS("/sleeps_little", sleeps_little),
       WS("/one", takes_one), WS("/closes", closes),
       WS("/any", echo, .origins = "*"),
       WS("/two", echo, .origins = "https://a.example https://b.example"),
       WS("/spoken", echo, .protocols = "v2 v1"))

static aw_test *sockets(void)
{
    trail[0] = 0;
    return aw_test_open(socket_app);
}

TEST(ws_echo)
{
    aw_test *t = sockets();
    aw_test_socket *w = aw_test_ws(t, "/echo");
    size_t n;
    CHECK_EQ(aw_test_ws_status(w), 101);
    aw_test_ws_send(w, "hello");
    aw_test_ws_send(w, "");
    aw_test_ws_send_binary(w, "\0\xff", 2);
    CHECK_STR(aw_test_ws_recv(w, NULL), "hello");
    CHECK_STR(aw_test_ws_recv(w, NULL), "");
    CHECK(memcmp(aw_test_ws_recv(w, &n), "\0\xff", 3) == 0);
    CHECK_EQ(n, 2);
    CHECK_EQ(aw_test_now_ms(t), 0);
    CHECK_EQ(aw_test_ws_close(w, 3456), 3456);
    CHECK_STR(trail, "0 3456:|");
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- the handshake ---- */

#define GET_HEAD(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define SHAKE(path) GET_HEAD(path) UPGRADE KEY VERSION

TEST(ws_handshake_table)
{
    static const struct {
        const char *section, *request;
        int status;
        const char *with;       /* a line of the answer */
    } t[] = {
        {"4.2.2", SHAKE("/echo"), 101,
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
        {"4.2.2 upgrade", SHAKE("/echo"), 101,
         "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"},
        {"4.2.1 any case, other tokens", GET_HEAD("/echo") KEY VERSION
         "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, upGRADE\r\n", 101,
         NULL},
        {"4.1 GET", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
         UPGRADE KEY VERSION, 405, NULL},
        {"4.1 GET, not HEAD", "HEAD /echo HTTP/1.1\r\nHost: x\r\n"
         UPGRADE KEY VERSION, 426, NULL},
        {"4.1 HTTP/1.1", "GET /echo HTTP/1.0\r\nHost: x\r\n"
         UPGRADE KEY VERSION, 426, NULL},
        {"9110 15.5.22", GET_HEAD("/echo"), 426, "\r\nUpgrade: websocket\r\n"},
        {"9110 7.8", GET_HEAD("/echo"), 426, "\r\nConnection: Upgrade\r\n"},
        {"4.2.1.3 no upgrade", GET_HEAD("/echo") "Connection: upgrade\r\n"
         KEY VERSION, 426, NULL},
        {"4.2.1.3 to another", GET_HEAD("/echo") "Upgrade: h2c\r\n"
         "Connection: upgrade\r\n" KEY VERSION, 426, NULL},
        {"4.2.1.3 to none of that name", GET_HEAD("/echo") KEY VERSION
         "Upgrade: websockex\r\nConnection: upgrade\r\n", 426, NULL},
        {"4.2.1.4 no connection", GET_HEAD("/echo") "Upgrade: websocket\r\n"
         KEY VERSION, 426, NULL},
        {"4.2.1.5 no key", GET_HEAD("/echo") UPGRADE VERSION, 400, NULL},
        {"4.2.1.5 two keys", GET_HEAD("/echo") UPGRADE KEY KEY VERSION, 400,
         NULL},
        {"4.2.1.5 short key", GET_HEAD("/echo") UPGRADE VERSION
         "Sec-WebSocket-Key: AAAA\r\n", 400, NULL},
        {"4.2.1.6 no version", GET_HEAD("/echo") UPGRADE KEY, 426,
         "\r\nSec-WebSocket-Version: 13\r\n"},
        {"4.4 version", GET_HEAD("/echo") UPGRADE KEY
         "Sec-WebSocket-Version: 8\r\n", 426,
         "\r\nSec-WebSocket-Version: 13\r\n"},
        {"4.4 versions", GET_HEAD("/echo") UPGRADE KEY VERSION VERSION, 426,
         NULL},
        {"10.2 same origin", SHAKE("/echo") "Origin: http://a.example\r\n", 101,
         NULL},
        {"10.2 other origin", SHAKE("/echo") "Origin: http://b.example\r\n",
         403, NULL},
        {"10.2 two origins", SHAKE("/echo") "Origin: http://a.example\r\n"
         "Origin: http://b.example\r\n", 403, NULL},
        {"10.2 null", SHAKE("/echo") "Origin: null\r\n", 403, NULL},
        {"10.2 any", SHAKE("/any") "Origin: null\r\n", 101, NULL},
        {"10.2 list", SHAKE("/two") "Origin: https://b.example\r\n", 101, NULL},
        {"10.2 not in it", SHAKE("/two") "Origin: http://a.example\r\n", 403,
         NULL},
        {"1.9 ours first", SHAKE("/spoken")
         "Sec-WebSocket-Protocol: v1, v2\r\n", 101,
         "\r\nSec-WebSocket-Protocol: v2\r\n"},
        {"1.9 two lines", SHAKE("/spoken") "Sec-WebSocket-Protocol: x\r\n"
         "Sec-WebSocket-Protocol: y, v1\r\n", 101,
         "\r\nSec-WebSocket-Protocol: v1\r\n"},
        {"9.1 extensions are declined", SHAKE("/echo")
         "Sec-WebSocket-Extensions: permessage-deflate\r\n", 101, NULL},
        {"no such route", SHAKE("/nowhere"), 404, NULL},
        {"a cookie with it", SHAKE("/ends/well"), 101, "\r\nSet-Cookie: id=7"},
        {"refused with a status", SHAKE("/ends/status"), 418, NULL},
        {"refused with a message", SHAKE("/ends/error"), 401, "who are you?"},
        {"an answer instead", SHAKE("/ends/answer"), 200, "no socket"},
        {"an error instead", SHAKE("/ends/broken"), 500, NULL},
        {"nothing said", SHAKE("/ends/unasked"), 101, NULL},
        {"said late", SHAKE("/ends/well?ms=5000"), 101, "\r\nSet-Cookie: id=7"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        aw_test *app = sockets();
        char text[1024];
        const char *got;
        NOTE("%s", t[i].section);
        snprintf(text, sizeof text, "%s\r\n", t[i].request);
        got = aw_test_raw(app, text, strlen(text), 0);
        CHECK_EQ(strncmp(got, "HTTP/1.1 ", 9) ? 0 : atoi(got + 9),
                 t[i].status);
        if (t[i].with) CHECK(strstr(got, t[i].with) != NULL);
        CHECK(!strstr(got, "Sec-WebSocket-Extensions"));
        if (!strstr(t[i].section, "1.9"))
            CHECK(!strstr(got, "Sec-WebSocket-Protocol"));
        CHECK_EQ(aw_test_close(app), 0);
    }
}

/* A client that speaks frames, and says what it gets. */
static void wire_shake(wire *w, aw_test *t, const char *path)
{
    char text[512];
    *w = wire_open(t);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY
             VERSION "\r\n", path);
    wire_say(w, text);
}

/* The same, but takes nothing of what comes. */
static void wire_shake_deaf(wire *w, aw_test *t, const char *path)
{
    char text[512];
    *w = wire_open(t);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY
             VERSION "\r\n", path);
    (void)aw__io_send(w->loop, w->fd, text, strlen(text));
    for (int i = 0; i < 5; i++) (void)aw_loop_step(w->loop, 0);
}

static void wire_frame(wire *w, int first, const char *p, size_t n)
{
    bytes *b = (bytes *)calloc(1, sizeof *b);
    add_frame(b, first, p, n, true);
    wire_send(w, b->p, b->n);
    wire_settle(w);
    free(b);
}

static const char *wire_frames(wire *w)
{
    const char *end = w->got ? strstr(w->got, "\r\n\r\n") : NULL;
    size_t n = end ? w->n - (size_t)(end + 4 - w->got) : 0;
    return end ? read_frames(end + 4, n, n, 1, false, 1 << 24) : "?";
}

/* Frames that come with the handshake, in one piece or cut anywhere. */
TEST(ws_frames_behind_handshake)
{
    bytes *b = (bytes *)calloc(1, sizeof *b);
    add(b, SHAKE("/echo") "\r\n", strlen(SHAKE("/echo") "\r\n"));
    add_frame(b, 0x81, "one", 3, true);
    add_frame(b, 0x01, "tw", 2, true);
    add_frame(b, 0x89, "p", 1, true);
    add_frame(b, 0x80, "o", 1, true);
    add_frame(b, 0x81, "three", 5, true);
    for (size_t cut = 0; cut <= b->n; cut++) {
        aw_test *t = sockets();
        wire w = wire_open(t);
        wire_send(&w, b->p, cut);
        wire_settle(&w);
        wire_send(&w, b->p + cut, b->n - cut);
        wire_settle(&w);
        NOTE("cut at %d", (int)cut);
        /* The pong passes what waits. */
        CHECK(strstr(wire_frames(&w), "Tone ") != NULL);
        CHECK(strstr(wire_frames(&w), "op ") != NULL);
        CHECK(strstr(wire_frames(&w), "Ttwo Tthree ") != NULL);
        wire_frame(&w, 0x88, "\x0f\xa0" "bye", 5);
        CHECK(strstr(wire_frames(&w), "Tthree C4000: ") != NULL);
        CHECK(w.ended);
        CHECK_STR(trail, "0 4000:bye|");
        wire_close(&w);
        CHECK_EQ(aw_test_close(t), 0);
    }
    free(b);
}

/* What a task spawned in the request was given outlives the view, and the
   connection. */
ASYNC(looks_later, (aw_ws *ws;), aw_ws_message msg;)
{
    BEGIN {
        AWAIT(aw_ws_recv, self->ws, &self->msg);
        AWAIT(aw_sleep_ms, 60000);
        note("%s %s|", self->msg.data, aw_ws_close_reason(self->ws));
    }
}

WS_VIEW(leaves_it)
{
    BEGIN {
        SPAWN(looks_later, ws);
        AWAIT(aw_ws_send, ws, "in", 2);
        AWAIT(aw_sleep_ms, 1000);
    }
}
ROUTES(later_app, WS("/", leaves_it))

TEST(ws_spawned_reader)
{
    aw_test *t = aw_test_open(later_app);
    wire w;
    trail[0] = 0;
    wire_shake(&w, t, "/");
    wire_frame(&w, 0x81, "one", 3);
    wire_frame(&w, 0x88, "\x03\xe8" "bye", 5);
    wire_close(&w);
    aw_test_advance(t, 5000);
    CHECK_EQ(t->loop->server->connections, 0);
    aw_test_advance(t, 60000);
    CHECK_STR(trail, "one bye|");
    CHECK_EQ(aw_test_close(t), 0);
}

/* A NUL is UTF-8: the reason's block is as long as what came, all the same. */
TEST(ws_reason_with_nul)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/echo");
    wire_frame(&w, 0x88, "\x03\xe8" "by\0e", 6);
    CHECK_STR(trail, "0 1000:by|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Behind other requests of the same connection, whose answers the client is
   slow to take. */
TEST(ws_pipelined_handshake)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        aw_test_config c;
        bytes *b = (bytes *)calloc(1, sizeof *b);
        aw_test *t;
        const char *got;
        memset(&c, 0, sizeof c);
        c.routes = socket_app;
        c.chaos = seed;
        trail[0] = 0;
        t = aw_test_open_config(c);
        for (int i = 0; i < 5; i++)
            add(b, GET_HEAD("/nowhere") "\r\n",
                strlen(GET_HEAD("/nowhere")) + 2);
        add(b, SHAKE("/echo") "\r\n", strlen(SHAKE("/echo")) + 2);
        add_frame(b, 0x81, "one", 3, true);
        add_frame(b, 0x88, "\x0f\xa0", 2, true);
        got = aw_test_raw(t, b->p, b->n, seed % 5 * 7);
        for (int i = 0; i < 5; i++) {
            got = strstr(got, "HTTP/1.1 404");
            CHECK(got);
            got = got ? got + 1 : "";
        }
        got = strstr(got, "HTTP/1.1 101");
        NOTE("seed %d", (int)seed);
        CHECK(got && strstr(got, "\r\n\r\n"));
        CHECK(strstr(trail, " 4000:|"));
        CHECK_EQ(aw_test_close(t), 0);
        free(b);
    }
}

/* ---- what comes in ---- */

TEST(ws_peer_breaks_the_protocol)
{
    static const struct {
        const char *path, *what, *said, *seen;
        int first;
    } t[] = {
        {"/echo", "\xff", "C1007: ", "-16 1006:|", 0x81},
        {"/echo", "x", "C1002: ", "-16 1006:|", 0xc1},
        {"/echo", "x", "C1002: ", "-16 1006:|", 0x80},
        {"/limited", "12345678901", "C1009: ", "-15 1006:|", 0x82},
        {"/limited", "1234567890", "B1234567890 ", "", 0x82},
        {"/echo", "\x03", "C1002: ", "-16 1006:|", 0x88},
        {"/echo", "\x03\xe8", "C1000: ", "0 1000:|", 0x88},
        {"/echo", "", "C1005: ", "0 1005:|", 0x88},
        {"/echo", "\x0f\xa1why", "C4001: ", "0 4001:why|", 0x88},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        aw_config config = quiet_config();
        aw_test *app = app_with(socket_app, &config);
        wire w;
        trail[0] = 0;
        wire_shake(&w, app, t[i].path);
        wire_frame(&w, t[i].first, t[i].what, strlen(t[i].what));
        NOTE("row %d", (int)i);
        CHECK_STR(wire_frames(&w), t[i].said);
        CHECK_STR(trail, t[i].seen);
        CHECK_EQ(w.ended, t[i].seen[0] != 0);
        CHECK_STR(said, "");
        wire_close(&w);
        CHECK_EQ(aw_test_close(app), 0);
    }
}

/* A message is its reader's until the next call; meanwhile others come, and
   control frames behind them are seen. */
TEST(ws_reads_ahead)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/one");
    wire_frame(&w, 0x81, "first", 5);
    wire_frame(&w, 0x89, "a", 1);
    CHECK_STR(wire_frames(&w), "oa ");
    wire_frame(&w, 0x81, "second", 6);
    wire_frame(&w, 0x89, "b", 1);
    CHECK_STR(wire_frames(&w), "oa ob ");
    wire_frame(&w, 0x88, "\x03\xe8", 2);
    CHECK_STR(wire_frames(&w), "oa ob C1000: ");
    CHECK_STR(trail, "1=first|");
    aw_test_advance(t, 1000);
    CHECK_STR(trail, "1=first|first|1=second|0|0|");
    CHECK(w.ended);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Who floods us with pings and reads nothing costs one answer. */
TEST(ws_ping_flood)
{
    aw_test *t = sockets();
    wire w;
    size_t before, after;
    bytes *b = (bytes *)calloc(1, sizeof *b);
    wire_shake(&w, t, "/sleeps");
    before = aw_test_loop(t)->mem.live;
    for (int i = 0; i < 1000; i++) add_frame(b, 0x89, "0123456789", 10, true);
    for (int round = 0; round < 40; round++) {
        const char *p = b->p;
        size_t n = b->n;
        for (int tries = 0; n && tries < 50; tries++) {
            ptrdiff_t sent = aw__io_send(w.loop, w.fd, p, n);
            if (sent > 0) p += sent, n -= (size_t)sent;
            (void)aw_loop_step(w.loop, 0);
        }
        CHECK_EQ(n, 0);
    }
    after = aw_test_loop(t)->mem.live;
    CHECK(after < before + 65536 * 2 + 1000);   /* the pipe is the test's */
    wire_settle(&w);
    CHECK(strstr(wire_frames(&w), "Tin o0123456789 o0123456789 ") != NULL);
    wire_close(&w);
    free(b);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A large message, and what it leaves: nothing. */
TEST(ws_large_message_memory)
{
    aw_test *t = sockets();
    wire w;
    size_t before;
    char *p = (char *)calloc(1, 150000);
    wire_shake(&w, t, "/echo");
    wire_frame(&w, 0x82, p, 150000);    /* the task's memory grows once */
    before = aw_test_loop(t)->mem.live;
    wire_frame(&w, 0x82, p, 150000);
    wire_frame(&w, 0x89, "why?", 4);
    CHECK_STR(wire_frames(&w), "B#150000 B#150000 owhy? ");
    CHECK_EQ(aw_test_loop(t)->mem.live, before);
    free(p);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- the end ---- */

TEST(ws_view_ends)
{
    static const struct {
        const char *path, *frames, *logged;
        int code;
    } t[] = {
        {"/ends/unasked", "", "", 1000},
        {"/ends/well", "Thi ", "", 1000},
        {"/ends/well?rc=200", "Thi ", "", 1000},
        {"/ends/well?rc=-30", "Thi ", "input/output error", 1011},
        {"/ends/well?rc=-10403", "Thi ", "", 1008},
        {"/ends/well?rc=-10503", "Thi ", "", 1011},
        {"/ends/well?rc=-13", "Thi ", "", 1000},
        {"/ends/well?ms=70&rc=0", "Thi ", "", 1000},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        aw_config config = quiet_config();
        aw_test *app = app_with(socket_app, &config);
        aw_test_socket *w = aw_test_ws(app, t[i].path);
        NOTE("%s", t[i].path);
        CHECK_EQ(aw_test_ws_status(w), 101);
        if (t[i].frames[0]) CHECK_STR(aw_test_ws_recv(w, NULL), "hi");
        CHECK(!aw_test_ws_recv(w, NULL));
        CHECK_EQ(aw_test_ws_code(w), t[i].code);
        CHECK(t[i].logged[0] ? strstr(said, t[i].logged) != NULL : !said[0]);
        CHECK_EQ(aw_test_close(app), 0);
    }
}

TEST(ws_close_awaited)
{
    static const struct {
        const char *path, *seen;
        int code;
    } t[] = {
        {"/closes", "0|-13|", 1000},
        {"/closes?code=4321&reason=enough", "0|-13|", 4321},
        {"/closes?code=1005", "-3|1|", 1000},
        {"/closes?code=1006", "-3|1|", 1000},
        {"/closes?code=999", "-3|1|", 1000},
        {"/closes?reason=%FF", "-3|1|", 1000},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        aw_test *app = sockets();
        aw_test_socket *w = aw_test_ws(app, t[i].path);
        NOTE("%s", t[i].path);
        CHECK_EQ(aw_test_ws_code(w), t[i].code);
        aw_test_advance(app, 0);
        CHECK_EQ(aw_test_now_ms(app), 0);
        CHECK_STR(trail, t[i].seen);
        CHECK_EQ(aw_test_close(app), 0);
    }
}

/* Nobody waits for ever for the Close of the peer, or for its FIN. */
TEST(ws_close_unanswered)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/closes");
    CHECK_STR(wire_frames(&w), "C1000: ");
    aw_test_advance(t, 4900);
    wire_settle(&w);
    CHECK(!w.ended);
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK(w.ended);
    CHECK_STR(trail, "-23|-13|");
    wire_close(&w);

    trail[0] = 0;
    wire_shake(&w, t, "/ends/well");    /* the view has long ended */
    wire_frame(&w, 0x88, "\x03\xe8", 2);
    CHECK(w.ended);                     /* its FIN; ours does not come */
    CHECK_EQ(t->loop->server->connections, 1);
    aw_test_advance(t, 5100);
    CHECK_EQ(t->loop->server->connections, 0);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Data behind our Close is dropped, up to theirs. */
TEST(ws_close_crosses_messages)
{
    aw_test *t = sockets();
    wire w;
    size_t n;
    wire_shake(&w, t, "/closes?code=4000");
    CHECK_STR(wire_frames(&w), "C4000: ");
    n = w.n;
    wire_frame(&w, 0x81, "late", 4);
    wire_frame(&w, 0x89, "p", 1);
    CHECK_EQ(w.n, n);                   /* nothing follows a Close (5.5.1) */
    CHECK_STR(trail, "");
    wire_frame(&w, 0x88, "\x0f\xa0", 2);
    CHECK_STR(trail, "0|-13|");
    CHECK(w.ended);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Who goes without a Close cancels the view, wherever it waits. */
TEST(ws_peer_goes)
{
    static const char *const paths[] = {"/echo", "/sleeps", "/one"};
    static const char *const seen[] = {"-4 1006:|", "-4 1006|", "-4|"};
    for (int how = 0; how < 2; how++)
        for (int i = 0; i < 3; i++) {
            aw_config config = quiet_config();
            aw_test *t = app_with(socket_app, &config);
            wire w;
            NOTE("%s %d", paths[i], how);
            trail[0] = 0;
            wire_shake(&w, t, paths[i]);
            if (how == 0) wire_finish(&w);
            else aw__io_reset(w.loop, w.fd), w.fd = -1;
            (void)aw_loop_step(t->loop, 0);
            (void)aw_loop_step(t->loop, 0);
            CHECK_STR(trail, seen[i]);
            CHECK_EQ(t->loop->server->connections, 0);
            CHECK_STR(said, "");
            if (w.fd >= 0) wire_close(&w);
            else free(w.got);
            CHECK_EQ(aw_test_close(t), 0);
        }
}

/* A view that asks for no message hears of the end of its peer all the same,
   however it goes: a FIN, a reset, silence, a Close. */
TEST(ws_peer_goes_unread)
{
    static const struct {
        const char *how, *seen;
        int soonest, latest;
    } ends[] = {{"FIN", "-4 1006|", 0, 0}, {"reset", "-4 1006|", 0, 0},
                {"silence", "-4 1006|", 49900, 50200},
                {"within a frame", "-4 1006|", 49900, 50200},
                {"Close", "-4 1000|", 4900, 5200}};
    for (int i = 0; i < 5; i++) {
        aw_test *t = sockets();
        wire w;
        NOTE("%s", ends[i].how);
        wire_shake(&w, t, "/sleeps");
        wire_frame(&w, 0x81, "one", 3);
        wire_frame(&w, 0x81, "two", 3);
        wire_frame(&w, 0x01, "thr", 3);
        if (i == 0) wire_finish(&w);
        if (i == 1) aw__io_reset(w.loop, w.fd);
        if (i == 3) wire_send(&w, "\x80\x84", 2);
        if (i == 4) {
            wire_frame(&w, 0x88, "\x03\xe8", 2);
            CHECK_STR(wire_frames(&w), "Tin C1000: ");
            wire_finish(&w);
        }
        aw_test_advance(t, ends[i].soonest);
        if (ends[i].soonest) CHECK_STR(trail, "");
        for (int turn = 0; turn < 3; turn++) (void)aw_loop_step(t->loop, 0);
        aw_test_advance(t, ends[i].latest - ends[i].soonest);
        CHECK_STR(trail, ends[i].seen);
        CHECK_EQ(t->loop->server->connections, 0);
        if (i == 1) free(w.got);
        else wire_close(&w);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

/* Who closes in order is told to a view that asks, and only after a while to
   one that does not. */
TEST(ws_peer_closes_view_does_not_ask)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/sleeps");
    wire_frame(&w, 0x88, "\x03\xe8", 2);
    CHECK_STR(wire_frames(&w), "Tin C1000: ");
    wire_finish(&w);
    aw_test_advance(t, 4900);
    CHECK_STR(trail, "");
    aw_test_advance(t, 200);
    CHECK_STR(trail, "-4 1000|");
    CHECK_EQ(t->loop->server->connections, 0);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A view that was told has its time to clean up. */
WS_VIEW(tidies, aw_ws_message msg; int rc;)
{
    BEGIN {
        if (aw_query(req, "late")) AWAIT(aw_sleep_ms, 3000);
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        AWAIT(aw_sleep_ms, 60000);
        note("%d tidy|", self->rc);
    }
}
ROUTES(tidy_app, WS("/", tidies))

TEST(ws_view_was_told)
{
    for (int late = 0; late < 2; late++) {
        aw_test *t = aw_test_open(tidy_app);
        wire w;
        trail[0] = 0;
        wire_shake(&w, t, late ? "/?late=1" : "/");
        if (late) aw_test_advance(t, 3000);
        wire_frame(&w, 0x88, "\x03\xe8", 2);
        CHECK(w.ended);
        wire_finish(&w);
        aw_test_advance(t, 59000);
        CHECK_STR(trail, "");
        aw_test_advance(t, 1000);
        CHECK_STR(trail, "0 tidy|");
        wire_close(&w);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

/* The view ends, and leaves messages: the closing handshake goes on. */
TEST(ws_view_leaves_messages)
{
    for (int i = 0; i < 2; i++) {
        aw_test *t = sockets();
        wire w;
        bytes *b = (bytes *)calloc(1, sizeof *b);
        wire_shake(&w, t, "/sleeps_little");
        add_frame(b, 0x81, "one", 3, true);
        add_frame(b, 0x81, "two", 3, true);
        if (i) add_frame(b, 0x88, "\x03\xe8", 2, true);
        wire_send(&w, b->p, b->n);
        wire_settle(&w);
        free(b);
        aw_test_advance(t, 10);
        wire_settle(&w);
        if (!i) wire_frame(&w, 0x88, "\x03\xe8", 2);
        CHECK_STR(wire_frames(&w), "T C1000: ");
        CHECK(w.ended);
        wire_finish(&w);
        CHECK_EQ(t->loop->server->connections, 1);
        aw_test_advance(t, 1);
        CHECK_EQ(t->loop->server->connections, 0);
        wire_close(&w);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

/* ---- keep-alive ---- */

TEST(ws_silent_peer)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/sleeps");
    aw_test_advance(t, 29900);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "Tin ");
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "Tin i ");
    wire_frame(&w, 0x8a, "", 0);        /* a pong: all is well */
    aw_test_advance(t, 29000);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "Tin i ");
    aw_test_advance(t, 1100);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "Tin i i ");
    aw_test_advance(t, 19800);
    wire_settle(&w);
    CHECK(!w.ended);
    CHECK_STR(trail, "");
    aw_test_advance(t, 300);
    wire_settle(&w);
    CHECK(w.ended);
    CHECK_STR(trail, "-4 1006|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

static char letters[3][100001];

/* A peer as they are: it answers pings, but in order with what it sends. */
typedef struct slow_peer {
    wire w;
    bytes todo;
    size_t at;
    int pings;
} slow_peer;

static void peer_pushes(slow_peer *p)
{
    ptrdiff_t n = 1;
    while (n > 0 && p->at < p->todo.n) {
        n = aw__io_send(p->w.loop, p->w.fd, p->todo.p + p->at,
                        p->todo.n - p->at);
        if (n > 0) p->at += (size_t)n;
        (void)aw_loop_step(p->w.loop, 0);
    }
}

/* Time passes; for each ping that came it has a pong to send. */
static void peer_lives(slow_peer *p, aw_test *t, int seconds)
{
    for (int i = 0; i < seconds; i += 5) {
        int pings = 0;
        aw_test_advance(t, 5000);
        peer_pushes(p);
        wire_settle(&p->w);
        for (const char *s = wire_frames(&p->w); *s; s++) pings += *s == 'i';
        for (pings -= (int)p->pings; pings > 0; pings--, p->pings++)
            add_frame(&p->todo, 0x8a, "", 0, true);
        peer_pushes(p);
        wire_settle(&p->w);
    }
}

/* Counts what comes, with a long time for each. */
WS_VIEW(slow_reader, aw_ws_message msg; int rc; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) break;
            CHECK_EQ(atoi(self->msg.data), self->n);
            self->n++;
            AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 0));
        }
    } FINALLY {
        note("%d %d %d|", OUTCOME(), self->n, aw_ws_close_code(ws));
    }
}
WS_VIEW(posts_much, int i;)
{
    BEGIN {
        for (; self->i < 5; self->i++)
            CHECK_EQ(aw_ws_post(ws, letters[0], 40000), 0);
        AWAIT(aw_sleep_ms, AW_FOREVER);
    }
}
ROUTES(slow_sockets, WS("/slow", slow_reader), WS("/sleeps", sleeps),
       WS("/posts", posts_much),
       WS("/echo", echo))

static void add_numbers(bytes *b, int from, int to)
{
    char text[200];
    for (; from < to; from++) {
        memset(text, ' ', sizeof text);
        (void)snprintf(text, sizeof text, "%d", from);
        add_frame(b, 0x81, text, sizeof text, true);
    }
}

/* One whose messages wait is no dead one: with few of them its pongs are seen,
   and its pings answered; with many it has to wait. */
TEST(ws_unread_peer_lives)
{
    for (int many = 0; many < 3; many++) {
        aw_test *t = aw_test_open(slow_sockets);
        slow_peer *p = (slow_peer *)calloc(1, sizeof *p);
        size_t before, live;
        NOTE("many %d", many);
        trail[0] = 0;
        wire_shake(&p->w, t, "/sleeps");
        before = t->loop->mem.live;
        add_numbers(&p->todo, 0, many == 1 ? 900 : 5);
        if (many == 2) add_frame(&p->todo, 0x82, letters[0], 100000, true);
        add_frame(&p->todo, 0x89, "p", 1, true);
        peer_lives(p, t, 3500);
        CHECK_STR(trail, "");
        live = t->loop->mem.live - before;
        CHECK(many ? p->at < p->todo.n : p->at == p->todo.n);
        if (many) CHECK(live > 65536 && live < 65536 + 32768 + 2000);
        CHECK(p->pings >= 110 && p->pings <= 120);
        CHECK(many || strstr(wire_frames(&p->w), "op "));
        aw__io_close(t->loop, p->w.fd);         /* and this is heard */
        aw_test_advance(t, many ? 30100 : 0);
        CHECK_STR(trail, "-4 1006|");
        free(p->w.got);
        free(p);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

/* Neither side reads, for ever if so configured: pings do not pile up. */
TEST(ws_nobody_reads)
{
    aw_config config = quiet_config();
    aw_test *t;
    slow_peer *p = (slow_peer *)calloc(1, sizeof *p);
    size_t before;
    memset(letters[0], 'a', sizeof letters[0]);
    config.write_ms = AW_OFF;
    t = app_with(slow_sockets, &config);
    wire_shake_deaf(&p->w, t, "/posts");
    add_numbers(&p->todo, 0, 900);
    peer_pushes(p);
    aw_test_advance(t, 100000);
    before = t->loop->mem.live;
    aw_test_advance(t, 3600000);
    CHECK_EQ(t->loop->mem.live, before);
    CHECK_EQ(t->loop->server->connections, 1);
    wire_close(&p->w);
    free(p);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A view that is far slower than its peer gets all, in order, and then the
   end: for each message that came before it, it has ws_close_ms. */
TEST(ws_slow_reader)
{
    static const int pause[] = {0, 1000, 50000}, count[] = {600, 600, 300};
    for (int i = 0; i < 3; i++) {
        aw_config config = quiet_config();
        aw_test *t;
        slow_peer *p = (slow_peer *)calloc(1, sizeof *p);
        char path[40], want[40];
        NOTE("%d ms", pause[i]);
        config.ws_close_ms = pause[i] > 5000 ? pause[i] + 5000 : 0;
        t = app_with(slow_sockets, &config);
        trail[0] = 0;
        snprintf(path, sizeof path, "/slow?ms=%d", pause[i]);
        wire_shake(&p->w, t, path);
        add_numbers(&p->todo, 0, count[i]);
        peer_lives(p, t, pause[i] / 1000 * count[i] / 4);
        peer_lives(p, t, pause[i] / 1000 * count[i]);
        add_numbers(&p->todo, count[i], count[i] + 5);
        add_frame(&p->todo, 0x89, "p", 1, true);
        peer_lives(p, t, 5);
        CHECK(strstr(wire_frames(&p->w), "op ") != NULL);
        add_frame(&p->todo, 0x88, "\x0f\xa0", 2, true);
        peer_lives(p, t, pause[i] / 1000 * 6);
        peer_pushes(p);
        wire_settle(&p->w);
        snprintf(want, sizeof want, "0 %d 4000|", count[i] + 5);
        CHECK_STR(trail, want);
        CHECK(p->w.ended && strstr(wire_frames(&p->w), "C4000: "));
        wire_close(&p->w);
        free(p);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

/* A pong that waited in the kernel, too, has its time from when it can come. */
TEST(ws_reads_on)
{
    aw_test *t = aw_test_open(slow_sockets);
    wire w;
    char text[20000];
    memset(text, ' ', sizeof text);
    trail[0] = 0;
    wire_shake(&w, t, "/slow?ms=49900");
    wire_frame(&w, 0x81, "0", 1);
    wire_frame(&w, 0x81, "1", 1);
    text[0] = '2';
    wire_frame(&w, 0x81, text, sizeof text);
    aw_test_advance(t, 49800);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "i ");
    aw_test_advance(t, 5000);
    wire_frame(&w, 0x89, "p", 1);
    CHECK_STR(wire_frames(&w), "i op ");
    CHECK_STR(trail, "");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A view that takes none of them after the Close is not waited for. */
TEST(ws_unread_behind_close)
{
    aw_test *t = aw_test_open(slow_sockets);
    bytes *b = (bytes *)calloc(1, sizeof *b);
    wire w;
    trail[0] = 0;
    wire_shake(&w, t, "/slow?ms=6000");
    add_numbers(b, 0, 5);
    add_frame(b, 0x88, "\x0f\xa0", 2, true);
    wire_send(&w, b->p, b->n);
    wire_finish(&w);
    aw_test_advance(t, 4900);
    CHECK_STR(trail, "");
    aw_test_advance(t, 200);
    CHECK_STR(trail, "-4 1 4000|");
    CHECK_EQ(t->loop->server->connections, 0);
    wire_close(&w);
    free(b);
    CHECK_EQ(aw_test_close(t), 0);
}

/* How many seconds a peer is borne that sends n bytes of one message each
   `every` seconds: in one frame, or a byte in each. */
static int borne(int64_t min_rate, int every, int n, bool fragments)
{
    static const char zeros[1000];
    aw_config config = quiet_config();
    slow_peer *p = (slow_peer *)calloc(1, sizeof *p);
    aw_test *t;
    int second = 0;
    config.min_rate = min_rate;
    config.ws_max_message = 10000000;
    t = app_with(slow_sockets, &config);
    wire_shake(&p->w, t, "/echo");
    if (!fragments)
        wire_send(&p->w, "\x82\xff\0\0\0\0\0\x0f\xff\xff\0\0\0\0", 14);
    for (; second < 1200 && t->loop->server->connections; second++) {
        aw_test_advance(t, 1000);
        if (second % every == 0 && !fragments)
            wire_send(&p->w, zeros, (size_t)n);
        p->todo.n = p->at = 0;
        if (second % every == 0 && fragments)
            for (int i = 0; i < n; i++)
                add_frame(&p->todo, second || i ? 0 : 2, "x", 1, true);
        peer_pushes(p);
        wire_settle(&p->w);
    }
    wire_close(&p->w);
    free(p);
    CHECK_EQ(aw_test_close(t), 0);
    return second;
}

/* A pong can come between the frames of a message (5.4), not within one: whose
   frame comes too slowly is pinged, cannot answer, and is gone. */
TEST(ws_trickle)
{
    CHECK_EQ(borne(0, 1, 500, false), 1200);
    CHECK_EQ(borne(0, 20, 1000, false), 55);
    CHECK_EQ(borne(0, 1, 1, false), 51);
    CHECK_EQ(borne(0, 29, 1, false), 51);
    CHECK_EQ(borne(2000, 1, 1000, false), 98);
    CHECK_EQ(borne(AW_OFF, 29, 1, false), 1200);
    CHECK_EQ(borne(0, 29, 1, true), 1200);
}

TEST(ws_pings_configured)
{
    aw_config config = quiet_config();
    aw_test *t;
    aw_test_socket *client;
    wire w;
    config.ws_ping_ms = AW_OFF;
    t = app_with(socket_app, &config);
    wire_shake(&w, t, "/sleeps");
    aw_test_advance(t, 3000000);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "Tin ");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
    config.ws_ping_ms = 1000;           /* less than for its answer */
    t = app_with(socket_app, &config);
    wire_shake(&w, t, "/sleeps");
    for (int i = 1; i <= 5; i++) {
        aw_test_advance(t, 1001);
        wire_settle(&w);
        CHECK_EQ(strlen(wire_frames(&w)), strlen("Tin ") + 2 * (size_t)i);
        wire_frame(&w, 0x8a, "", 0);
    }
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
    config.ws_ping_ms = 100;
    config.ws_pong_ms = 50;
    t = app_with(socket_app, &config);
    trail[0] = 0;
    client = aw_test_ws(t, "/sleeps");
    CHECK_STR(aw_test_ws_recv(client, NULL), "in");
    aw_test_advance(t, 3000000);        /* it answers */
    CHECK_STR(trail, "");
    CHECK_EQ(aw_test_ws_close(client, 0), 0);
    CHECK_STR(trail, "-4 1006|");
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- what goes out ---- */

ASYNC(sends, (aw_ws *ws; int who; int times;), int i; int rc;)
{
    BEGIN {
        for (; self->i < self->times; self->i++) {
            AWAIT_TO(self->rc, aw_ws_send, self->ws, letters[self->who],
                     (size_t)(self->who + 1) * 30000);
            if (self->rc < 0) note("%d:%d|", self->who, self->rc);
        }
    }
}

/* Three tasks, and posts in between. */
WS_VIEW(senders)
{
    BEGIN {
        START(sends, ws, 0, 4);
        START(sends, ws, 1, 4);
        START(sends, ws, 2, 4);
        AWAIT(aw_sleep_ms, 0);
        CHECK_EQ(aw_ws_post(ws, "posted", 6), 0);
        GATHER();
        CHECK_EQ(aw_ws_post(ws, "last", 4), 0);
    }
}

ASYNC(in_parts, (aw_ws *ws; const char *text; bool ends;), size_t i; int rc;)
{
    BEGIN {
        for (; self->i < strlen(self->text); self->i++) {
            AWAIT_TO(self->rc, aw_ws_send_part, self->ws, self->text + self->i,
                     1, self->ends && !self->text[self->i + 1] ? AW_WS_LAST
                     : 0);
            if (self->rc < 0) RETURN(self->rc);
            AWAIT(aw_sleep_ms, 10);
        }
    }
}

WS_VIEW(parts, int rc;)
{
    BEGIN {
        START(in_parts, ws, "\xce\xba\xce\xb1", true);
        AWAIT(aw_sleep_ms, 5);
        AWAIT_TO(self->rc, aw_ws_send_part, ws, "x", 1, AW_WS_LAST);
        CHECK_EQ(self->rc, AW_EBUSY);
        CHECK_EQ(aw_ws_post(ws, "posted", 6), 0);
        AWAIT(aw_ws_send, ws, "sent", 4);
        note("%d|", (int)aw_now_ms(AW_LOOP()));
        GATHER();
        AWAIT(aw_ws_send_part, ws, "\xff", 1, AW_WS_BINARY);
        AWAIT(aw_ws_send_part, ws, "\xfe", 1, 0);
        AWAIT(aw_ws_send_part, ws, "", 0, AW_WS_LAST);
        AWAIT_TO(self->rc, aw_ws_send_part, ws, "\xff", 1, 0);
        CHECK_EQ(self->rc, AW_EINVAL);
        AWAIT_TO(self->rc, aw_ws_send_part, ws, "\xce", 1, AW_WS_LAST);
        CHECK_EQ(self->rc, AW_EINVAL);
        AWAIT_TO(self->rc, aw_ws_send, ws, "\xff", 1);
        CHECK_EQ(self->rc, AW_EINVAL);
        CHECK_EQ(aw_ws_post(ws, "\xff", 1), AW_EINVAL);
        AWAIT(aw_ws_send, ws, "end", 3);
    }
}

/* A message that its task leaves without an end, and one behind it. */
WS_VIEW(half, int rc;)
{
    BEGIN {
        START(in_parts, ws, "ab", false);
        AWAIT(aw_sleep_ms, 100);
        AWAIT_TO(self->rc, aw_ws_send, ws, "after", 5);
        note("%d|", self->rc);
    }
}

static aw_ws_room room, other_room;

WS_VIEW(member, aw_ws_message msg; int rc;)
{
    BEGIN {
        CHECK_EQ(aw_ws_join(&room, ws), 0);
        CHECK_EQ(aw_ws_join(&room, ws), 0);
        if (aw_query(req, "both")) CHECK_EQ(aw_ws_join(&other_room, ws), 0);
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            if (strcmp(self->msg.data, "leave") == 0) aw_ws_leave(&room, ws);
            else (void)aw_ws_broadcast(&room, self->msg.data, self->msg.size);
        }
    } FINALLY {
        note("%d room %d|", OUTCOME(), (int)room.count);
        CHECK_EQ(aw_ws_join(&room, ws), AW_ECLOSED);
    }
}

VIEW(tell)
{
    const char *text = aw_query_or(req, "text", "told");
    int n = strcmp(aw_param(req, "room"), "other") == 0
        ? aw_ws_broadcast_binary(&other_room, text, strlen(text))
        : aw_ws_broadcast(&room, text, strlen(text));
    return n < 0 ? n : aw_printf(req, "%d", n);
}

ROUTES(sending_app, WS("/senders", senders), WS("/parts", parts),
       WS("/half", half), WS("/member", member), GET("/tell/<room>", tell))

static aw_test *senders_open(aw_config *config)
{
    trail[0] = 0;
    memset(letters[0], 'a', 100000);
    memset(letters[1], 'b', 100000);
    memset(letters[2], 'c', 100000);
    *config = quiet_config();
    return app_with(sending_app, config);
}

TEST(ws_senders_take_turns)
{
    for (uint64_t seed = 0; seed < 6; seed++) {
        aw_test_config c;
        aw_config config;
        aw_test *t;
        aw_test_socket *w;
        int seen[3] = {0, 0, 0}, all = 0;
        const char *got;
        size_t n;
        aw_test_close(senders_open(&config));
        memset(&c, 0, sizeof c);
        c.routes = sending_app;
        c.chaos = seed;
        t = aw_test_open_config(c);
        w = aw_test_ws(t, "/senders");
        NOTE("seed %d", (int)seed);
        while ((got = aw_test_ws_recv(w, &n)) != NULL) {
            int who = got[0] - 'a';
            all++;
            if (strcmp(got, "last") == 0) CHECK_EQ(all, 14);
            if (got[0] == 'p' || got[0] == 'l') continue;
            CHECK_EQ(n, (size_t)(who + 1) * 30000);
            CHECK(strspn(got, (const char[2]){got[0], 0}) == n);
            seen[who]++;
            /* The first had the line to itself until it was full. */
            if (!seed) CHECK(seen[who] <= seen[(who + 1) % 3] + 3);
        }
        CHECK_EQ(all, 14);
        CHECK_EQ(seen[0] + seen[1] * 10 + seen[2] * 100, 444);
        CHECK_EQ(aw_test_ws_code(w), 1000);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

TEST(ws_parts)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    wire w;
    wire_shake(&w, t, "/parts");
    for (int i = 0; i < 8; i++) {
        aw_test_advance(t, 10);
        wire_settle(&w);
    }
    CHECK_STR(wire_frames(&w), "T\xce\xba\xce\xb1 Tposted Tsent B\xff\xfe Tend "
              "C1000: ");
    CHECK_STR(trail, "30|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(ws_parts_without_end)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    wire w;
    wire_shake(&w, t, "/half");
    aw_test_advance(t, 25000);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "");
    CHECK_STR(trail, "");
    aw_test_advance(t, 6000);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "C1011: ");
    CHECK_STR(trail, "-13|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* A sender whose await is cut off: what has begun is finished. */
WS_VIEW(deadlines, int rc; int i;)
{
    BEGIN {
        AWAIT_FOR_TO(50, self->rc, aw_ws_send, ws, letters[0], 100000);
        note("%d|", self->rc);
        AWAIT_FOR_TO(50, self->rc, aw_ws_send, ws, letters[1], 100000);
        note("%d|", self->rc);
        AWAIT_FOR_TO(50, self->rc, aw_ws_send_part, ws, letters[1], 10, 0);
        note("%d|", self->rc);
        (void)aw_ws_post(ws, "post", 4);
        AWAIT_FOR_TO(2000, self->rc, aw_ws_send_part, ws, letters[2], 10, 0);
        note("%d|", self->rc);
        AWAIT(aw_sleep_ms, 400);
        AWAIT_FOR_TO(50, self->rc, aw_ws_send_part, ws, letters[2], 100000,
                     AW_WS_LAST);
        note("%d|", self->rc);
        AWAIT(aw_ws_send, ws, "end", 3);
    }
}
/* Parts that are cut off, begun or not, are parts of a message all the same. */
WS_VIEW(cut_parts, int rc; int i;)
{
    BEGIN {
        AWAIT(aw_ws_send_part, ws, letters[0], 60000, 0);
        for (; self->i < 3; self->i++) {
            AWAIT_FOR_TO(50, self->rc, aw_ws_send_part, ws, letters[1],
                         self->i < 2 ? 10000 : 0,
                         self->i < 2 ? 0 : AW_WS_LAST);
            note("%d|", self->rc);
        }
        CHECK_EQ(aw_ws_post(ws, "behind", 6), 0);
    }
}
ROUTES(deadline_app, WS("/", deadlines), WS("/parts", cut_parts))

/* What was posted behind a message in parts that is not sent after all. */
ASYNC(posts, (aw_ws *ws;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 10);
        CHECK_EQ(aw_ws_post(self->ws, "posted", 6), 0);
    }
}

WS_VIEW(part_undone, int rc;)
{
    BEGIN {
        CHECK_EQ(aw_ws_post(ws, letters[0], 100000), 0);
        START(posts, ws);
        AWAIT_FOR_TO(50, self->rc, aw_ws_send_part, ws, "part", 4, 0);
        note("%d|", self->rc);
        AWAIT(aw_sleep_ms, 100000);
    }
}

/* What waits behind a message in parts has write_ms from its end on. */
WS_VIEW(long_parts, aw__sim_end *e;)
{
    BEGIN {
        AWAIT(aw_ws_send_part, ws, "long ", 5, 0);
        CHECK_EQ(aw_ws_post(ws, "behind", 6), 0);
        AWAIT(aw_sleep_ms, 40000);
        self->e = aw__sim_peer(aw__sim_find(AW_LOOP(), ws->stream->fd));
        AWAIT(aw_ws_send_part, ws, letters[0], AW_LOOP()->sim->pipe_bytes -
              aw__sim_count(self->e) - 4, AW_WS_LAST);      /* no byte more */
        AWAIT(aw_sleep_ms, 100000);
    }
}

/* A Close that comes while ours is behind something large. */
WS_VIEW(closes_behind, int rc;)
{
    BEGIN {
        CHECK_EQ(aw_ws_post(ws, letters[0], 100000), 0);
        AWAIT_TO(self->rc, aw_ws_close, ws, 4000, NULL);
        note("%d|", self->rc);
    }
}
ROUTES(behind_app, WS("/part", part_undone), WS("/close", closes_behind),
       WS("/long", long_parts))

TEST(ws_behind_something_large)
{
    aw_config config;
    aw_test *t;
    wire w;
    aw_test_close(senders_open(&config));
    config.ws_ping_ms = 1000;
    t = app_with(behind_app, &config);
    wire_shake_deaf(&w, t, "/part");
    aw_test_advance(t, 500);
    CHECK_STR(trail, "-5|");
    aw_test_advance(t, 600);            /* a ping, too, but within no frame */
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "T#100000 i Tposted ");
    wire_close(&w);
    trail[0] = 0;
    wire_shake_deaf(&w, t, "/close");
    {
        bytes *b = (bytes *)calloc(1, sizeof *b);
        add_frame(b, 0x88, "\x0f\xa0", 2, true);
        (void)aw__io_send(w.loop, w.fd, b->p, b->n);
        free(b);
    }
    for (int i = 0; i < 5; i++) (void)aw_loop_step(w.loop, 0);
    CHECK_STR(trail, "0|");
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "T#100000 C4000: ");
    CHECK(w.ended);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
    config.ws_ping_ms = 0;
    t = app_with(behind_app, &config);
    wire_shake_deaf(&w, t, "/long");
    aw_test_advance(t, 20000);
    wire_frame(&w, 0x8a, "", 0);
    aw_test_advance(t, 20000);
    aw_test_advance(t, 15000);
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "T#65537 i Tbehind ");
    wire_close(&w);
    wire_shake_deaf(&w, t, "/long");    /* but no more */
    aw_test_advance(t, 70000);
    CHECK_EQ(aw_test_loop(t)->server->connections, 0);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(ws_parts_cut_off)
{
    aw_config config;
    aw_test *t;
    wire w;
    aw_test_close(senders_open(&config));
    t = app_with(deadline_app, &config);
    wire_shake_deaf(&w, t, "/parts");
    aw_test_advance(t, 200);
    CHECK_STR(trail, "-5|-5|-5|");
    wire_settle(&w);
    CHECK_STR(wire_frames(&w), "T#80000 Tbehind C1000: ");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(ws_sender_cut_off)
{
    aw_test *t;
    aw_config config;
    wire w;
    aw_test_close(senders_open(&config));
    t = app_with(deadline_app, &config);
    wire_shake_deaf(&w, t, "/");
    aw_test_advance(t, 500);
    CHECK_STR(trail, "-5|-5|-5|");
    wire_settle(&w);
    aw_test_advance(t, 500);
    CHECK_STR(trail, "-5|-5|-5|10|-5|");
    wire_settle(&w);
    /* The first had begun; the second, and the first part, had not. */
    CHECK_STR(wire_frames(&w), "T#100000 Tpost T#100010 Tend C1000: ");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- rooms ---- */

TEST(ws_rooms)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    aw_test_socket *w[4];
    memset(&room, 0, sizeof room);
    memset(&other_room, 0, sizeof other_room);
    CHECK_STR(aw_test_get(t, "/tell/room")->body, "0");
    for (int i = 0; i < 4; i++)
        w[i] = aw_test_ws(t, i < 2 ? "/member?both" : "/member");
    CHECK_EQ(room.count, 4);
    CHECK_EQ(other_room.count, 2);
    CHECK_STR(aw_test_get(t, "/tell/room?text=a")->body, "4");
    CHECK_STR(aw_test_get(t, "/tell/other?text=b")->body, "2");
    aw_test_ws_send(w[3], "c");
    for (int i = 0; i < 4; i++) {
        CHECK_STR(aw_test_ws_recv(w[i], NULL), "a");
        if (i < 2) CHECK_STR(aw_test_ws_recv(w[i], NULL), "b");
        CHECK_STR(aw_test_ws_recv(w[i], NULL), "c");
    }
    aw_test_ws_send(w[1], "leave");
    aw_test_ws_send(w[1], "d");
    CHECK_STR(aw_test_ws_recv(w[0], NULL), "d");
    CHECK_EQ(room.count, 3);
    CHECK_EQ(aw_test_ws_close(w[0], 1000), 1000);
    CHECK_EQ(room.count, 2);
    CHECK_EQ(other_room.count, 1);
    CHECK_EQ(aw_test_ws_close(w[3], 0), 0);     /* cut off */
    CHECK_EQ(room.count, 1);
    CHECK_EQ(aw_test_ws_close(w[2], 1001), 1001);
    CHECK_EQ(aw_test_ws_close(w[1], 1000), 1000);
    CHECK_EQ(room.count + other_room.count, 0);
    CHECK_STR(trail, "0 room 2|-4 room 1|0 room 0|0 room 0|");
    CHECK_EQ(aw_test_close(t), 0);
}

/* One who does not read costs ws_max_queue, and is dropped; the others are
   not held up, and share the bytes. */
TEST(ws_slow_member_dropped)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    aw_test_socket *w;
    wire slow, slower;
    size_t before, most = 0;
    int told = 0;
    memset(&room, 0, sizeof room);
    aw_test_close(t);
    config.ws_max_queue = 200000;
    t = app_with(sending_app, &config);
    wire_shake_deaf(&slow, t, "/member");
    wire_shake_deaf(&slower, t, "/member");
    w = aw_test_ws(t, "/member");
    before = t->loop->mem.live;
    for (; told < 100 && room.count > 1; told++) {
        (void)aw_ws_broadcast(&room, letters[0], 10000);
        if (t->loop->mem.live > most) most = t->loop->mem.live;
        CHECK_EQ(strlen(aw_test_ws_recv(w, NULL)), 10000);
    }
    NOTE("%d", told);
    CHECK(told > 20 && told < 40);
    /* Two pipes of 65536 (131072 each with their slack), one queue. */
    CHECK(most - before < 2 * 131072 + 260000);
    CHECK(strstr(said, "a WebSocket was dropped"));
    CHECK_EQ(room.count, 1);
    aw_test_ws_send(w, "alone");
    CHECK_STR(aw_test_ws_recv(w, NULL), "alone");
    CHECK_STR(trail, "-4 room 1|-4 room 1|");
    wire_close(&slow);
    wire_close(&slower);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Who takes it all in the end is not dropped, however much that was. */
TEST(ws_late_member_stays)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    wire w;
    memset(&room, 0, sizeof room);
    wire_shake_deaf(&w, t, "/member");
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < 9; k++)
            CHECK_EQ(aw_ws_broadcast(&room, letters[0], 100000), 1);
        wire_settle(&w);
    }
    CHECK_EQ(room.count, 1);
    CHECK_STR(trail, "");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Who takes nothing, but is sent little, is found out by write_ms. */
TEST(ws_stalled_member)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    wire w;
    memset(&room, 0, sizeof room);
    wire_shake_deaf(&w, t, "/member");
    for (int i = 0; i < 8; i++) CHECK_EQ(aw_ws_broadcast(&room, letters[0],
                                                         10000), 1);
    aw_test_advance(t, 29900);
    CHECK_EQ(room.count, 1);
    aw_test_advance(t, 200);
    CHECK_EQ(room.count, 0);
    CHECK_STR(trail, "-4 room 0|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* One who takes a little now and then is slow, not gone. */
TEST(ws_slow_but_steady)
{
    aw_config config;
    aw_test *t = senders_open(&config);
    wire w;
    char *some = (char *)malloc(40000);
    memset(&room, 0, sizeof room);
    wire_shake_deaf(&w, t, "/member");
    for (int i = 0; i < 10; i++)
        CHECK_EQ(aw_ws_broadcast(&room, letters[0], 50000), 1);
    for (int i = 0; i < 9; i++) {
        bytes *b = (bytes *)calloc(1, sizeof *b);
        aw_test_advance(t, 19000);
        add_frame(b, 0x8a, "", 0, true);
        (void)aw__io_send(w.loop, w.fd, b->p, b->n);
        CHECK(aw__io_recv(w.loop, w.fd, some, 40000) > 0);
        (void)aw_loop_step(w.loop, 0);
        (void)aw_loop_step(w.loop, 0);
        free(b);
    }
    CHECK_EQ(room.count, 1);
    CHECK_STR(trail, "");
    aw_test_advance(t, 31000);
    CHECK_EQ(room.count, 0);
    free(some);
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- the server around it ---- */

static int hooked;
VIEW(before) { (void)req; hooked++; return 0; }
VIEW(after) { (void)req; hooked += 100; return 0; }
VIEW(guard)
{
    return aw_query(req, "key") ? 0 : aw_error(req, 401, "no key");
}
ROUTES(inner_app, WS("/echo/<room>", echo, .origins = "*"), BEFORE(guard))
ROUTES(outer_app, MOUNT("/in", inner_app), BEFORE(before), AFTER(after))

TEST(ws_behind_hooks)
{
    aw_config config = quiet_config();
    aw_test *t;
    aw_test_socket *w;
    config.view_ms = 1000;              /* is not for sockets */
    t = app_with(outer_app, &config);
    hooked = 0;
    trail[0] = 0;
    w = aw_test_ws(t, "/in/echo/x");
    CHECK_EQ(aw_test_ws_status(w), 401);
    CHECK_EQ(hooked, 101);
    w = aw_test_ws(t, "/in/echo/x?key=1");
    CHECK_EQ(aw_test_ws_status(w), 101);
    aw_test_advance(t, 5000);
    aw_test_ws_send(w, "hello");
    CHECK_STR(aw_test_ws_recv(w, NULL), "hello");
    CHECK_EQ(hooked, 202);              /* the handshake is the answer */
    CHECK_EQ(aw_test_ws_close(w, 1000), 1000);
    CHECK_EQ(hooked, 202);
    CHECK_STR(trail, "0 1000:|");
    CHECK_EQ(aw_test_get(t, "/in/echo/x?key=1")->status, 426);
    CHECK_STR(said, "");
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(ws_counts_as_connection)
{
    aw_config config = quiet_config();
    aw_test *t;
    aw_test_socket *w, *x;
    config.max_connections = 1;
    t = app_with(socket_app, &config);
    w = aw_test_ws(t, "/echo");
    x = aw_test_ws(t, "/echo");         /* waits in the backlog, for an hour */
    CHECK_EQ(aw_test_ws_status(w), 101);
    CHECK_EQ(aw_test_ws_status(x), 0);
    CHECK_EQ(aw_test_ws_close(w, 1000), 1000);
    aw_test_ws_send(x, "now");
    CHECK_STR(aw_test_ws_recv(x, NULL), "now");
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(ws_access_log_and_peer)
{
    aw_config config = quiet_config();
    aw_test *t;
    aw_test_socket *w;
    config.access_log = 0;
    t = app_with(socket_app, &config);
    w = aw_test_ws(t, "/echo");
    CHECK(strstr(said, "\"GET /echo HTTP/1.1\" 101 0 "));
    CHECK_EQ(aw_test_ws_close(w, 0), 0);
    CHECK(!strstr(said, " 499 "));
    CHECK_EQ(aw_test_close(t), 0);
}

/* Going away: clients are told, views see the end, and have their time. */
TEST(ws_server_stops)
{
    aw_test *t = sockets();
    aw_test_socket *w = aw_test_ws(t, "/echo"), *x = aw_test_ws(t, "/sleeps");
    wire y;
    wire_shake(&y, t, "/echo");         /* does not answer the Close */
    CHECK_STR(aw_test_ws_recv(x, NULL), "in");
    aw_serve_stop(t->loop);
    CHECK_EQ(aw_test_ws_code(w), 1001);
    CHECK_EQ(aw_test_ws_code(x), 1001);
    wire_settle(&y);
    CHECK_STR(wire_frames(&y), "C1001: ");
    CHECK_STR(trail, "0 1001:|");
    aw_test_advance(t, 5100);           /* x does not ask, y did not answer */
    CHECK(strstr(trail, "-4 1001|") != NULL);
    CHECK(strstr(trail, "|0 1006:|") != NULL);
    CHECK_EQ(t->loop->server->connections, 0);
    wire_close(&y);
    CHECK_EQ(aw_test_close(t), 0);
}

/* One whose view only now answers the handshake goes away, too. */
TEST(ws_opened_while_stopping)
{
    aw_test *t = sockets();
    wire w;
    wire_shake(&w, t, "/sleeps_first");
    CHECK_EQ(w.n, 0);
    aw_serve_stop(t->loop);
    aw_test_advance(t, 100);
    wire_settle(&w);
    CHECK(strncmp(w.got, "HTTP/1.1 101 ", 13) == 0);
    CHECK_STR(wire_frames(&w), "C1001: ");
    wire_frame(&w, 0x88, "\x03\xe9", 2);
    CHECK_STR(trail, "0|");
    wire_close(&w);
    CHECK_EQ(aw_test_close(t), 0);
}

/* What a socket costs that has nothing to do: struct, request, task, stream. */
TEST(ws_idle_memory)
{
    enum { N = 50 };
    aw_test *t = sockets();
    wire w[N];
    size_t before, each;
    wire_shake(&w[0], t, "/echo");
    before = t->loop->mem.live;
    for (int i = 1; i < N; i++) {
        wire_shake(&w[i], t, "/echo");
        wire_frame(&w[i], 0x81, "hello", 5);
    }
    each = (t->loop->mem.live - before) / (N - 1);
    NOTE("%d bytes", (int)each);
    CHECK(each < 2600);
    for (int i = 0; i < N; i++) wire_close(&w[i]);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- adversity ---- */

ASYNC(talks, (aw_ws *ws;), int i;)
{
    BEGIN {
        for (; self->i < 3; self->i++)
            AWAIT(aw_ws_send, self->ws, letters[0], 40000);
    }
}

/* Everything a view can do, one after the other. */
WS_VIEW(all, aw_ws_message msg; int rc;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        AWAIT(aw_ws_send, ws, "hello", 5);
        if (aw_ws_join(&room, ws) < 0) RETURN(AW_ENOMEM);
        START(talks, ws);
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        if (self->rc <= 0) RETURN(self->rc);
        (void)aw_ws_broadcast(&room, self->msg.data, self->msg.size);
        (void)aw_ws_post_binary(ws, letters[1], 30000);
        AWAIT(aw_ws_send_part, ws, letters[2], 50000, 0);
        AWAIT(aw_ws_send_part, ws, letters[2], 50000, AW_WS_LAST);
        GATHER();
        AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
        if (self->rc <= 0) RETURN(self->rc);
        AWAIT(aw_ws_close, ws, 4000, "done");
    } FINALLY {
        note("%d|", OUTCOME());
    }
}
ROUTES(all_app, WS("/all", all))

/* How often FINALLY ran, and how far the client came. */
static int all_scene(aw_test *t)
{
    aw_test_socket *w = aw_test_ws(t, "/all");
    int came = 0;
    const char *got;
    if (!w) return -1;
    aw_test_ws_send(w, "first");
    aw_test_ws_send(w, "second");
    while ((got = aw_test_ws_recv(w, NULL)) != NULL) came++;
    if (came == 7 && aw_test_ws_code(w) == 4000) came = 100;
    (void)aw_test_ws_close(w, 0);
    return came;
}

static aw_test *all_open(uint64_t seed)
{
    static aw_config config;
    aw_test_config c;
    aw_test_close(senders_open(&config));
    memset(&room, 0, sizeof room);
    memset(&c, 0, sizeof c);
    c.routes = all_app;
    c.config = &config;
    c.chaos = seed;
    return aw_test_open_config(c);
}

TEST(ws_chaos)
{
    for (uint64_t seed = 0; seed < (uint64_t)test_rounds(300); seed++) {
        aw_test *t = all_open(seed);
        NOTE("seed %d", (int)seed);
        CHECK_EQ(all_scene(t), 100);
        aw_test_advance(t, 10);
        CHECK_STR(trail, "0|");
        CHECK_EQ(room.count, 0);
        CHECK_EQ(t->loop->server->connections, 0);
        CHECK_EQ(aw_test_close(t), 0);
    }
}

TEST(ws_cancelled_everywhere)
{
    for (uint64_t seed = 0; seed < 3; seed++) {
        aw_test *t = all_open(seed);
        aw_task nobody;
        aw__test_use before, after;
        bool reached = true;
        memset(&nobody, 0, sizeof nobody);
        for (int k = 0; k < 3; k++) (void)all_scene(t);
        aw_test_advance(t, 11000);
        before = aw__test_rest(t);
        for (int64_t k = 1; reached; k++) {
            trail[0] = 0;
            aw__cancel_at(t->loop, nobody, k);
            (void)all_scene(t);
            reached = t->loop->chaos.suspended >= k;
            t->loop->on_suspend = NULL;
            aw_test_advance(t, 11000);
            after = aw__test_rest(t);
            NOTE("seed %d, cancelled at %d", (int)seed, (int)k);
            CHECK_EQ(before.bytes, after.bytes);
            CHECK_EQ(before.descriptors, after.descriptors);
            CHECK_EQ(t->loop->tasks, 0);
            CHECK_EQ(t->loop->server->connections, 0);
            CHECK_EQ(room.count, 0);
            CHECK(strcmp(trail, "0|") == 0 || strcmp(trail, "-4|") == 0);
            if (k > 500) break;
        }
        CHECK_EQ(aw_test_close(t), 0);
    }
}

TEST(ws_torture)
{
    aw_test *t = all_open(0);
    aw__test_use before, after;
    long k, reached = 1;
    for (k = 0; k < 3; k++) CHECK_EQ(all_scene(t), 100);
    aw_test_advance(t, 40000);
    before = aw__test_rest(t);
    for (k = 1; reached; k += getenv("TEST_FULL") ? 1 : 2) {
        fault_set(NULL, k, k % 5 == 4 ? EINTR : 0);
        trail[0] = 0;
        (void)all_scene(t);
        reached = fault_count >= k;
        fault_set(NULL, 0, 0);
        aw_test_advance(t, 40000);
        after = aw__test_rest(t);
        NOTE("call %ld fails", k);
        CHECK_EQ(before.bytes, after.bytes);
        CHECK_EQ(before.descriptors, after.descriptors);
        CHECK_EQ(t->loop->tasks, 0);
        CHECK_EQ(t->loop->server->connections, 0);
        CHECK_EQ(room.count, 0);
        CHECK(!strchr(trail, '|') || strchr(trail, '|')[1] == 0);
    }
    CHECK(k > 50);
    CHECK_EQ(all_scene(t), 100);
    CHECK_EQ(aw_test_close(t), 0);
}

/* From some moment on, every send fails, or every receive. */
TEST(ws_calls_fail_for_good)
{
    static const char *const calls[] = {"send", "recv", "alloc", "epoll_ctl"};
    for (int i = 0; i < 4; i++) {
        aw_test *t = all_open(0);
        for (long k = 1; k < 40; k += 3) {
            fault_set(calls[i], k, 0);
            (void)all_scene(t);
            fault_set(NULL, 0, 0);
            aw_test_advance(t, 60000);
            NOTE("%s %ld", calls[i], k);
            CHECK_EQ(t->loop->tasks, 0);
            CHECK_EQ(t->loop->server->connections, 0);
            CHECK_EQ(room.count, 0);
        }
        CHECK_EQ(aw_test_close(t), 0);
    }
}
#endif
