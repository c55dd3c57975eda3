/* JSON: UTF-8, the exact decimal conversions, reader, lookup, writer. */
#include "test.h"

static long json_fault_in;           /* the call that fails: 1 is the next */

static int json_fault(const char *call)
{
    (void)call;
    return json_fault_in > 0 && --json_fault_in == 0;
}

/* A document parsed from an exactly sized block, so that ASan sees a read
   past its end, and its text freed before the tree is looked at. */
typedef struct doc {
    aw__mem mem;
    aw__arena arena;
    const aw_value *v;
    size_t at;
    int error;
} doc;

static void doc_read(doc *d, const char *text, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1);
    memset(d, 0, sizeof *d);
    d->arena.mem = &d->mem;
    if (n) memcpy(copy, text, n);
    d->error = aw__json_parse(&d->arena, copy, n, &d->v, &d->at);
    free(copy);
}

static void doc_free(doc *d)
{
    aw__arena_free(&d->arena);
    CHECK_EQ(d->mem.live, 0);
    aw__mem_close(&d->mem);
}

static int read_error(const char *text, size_t n)
{
    doc d;
    doc_read(&d, text, n);
    CHECK((d.v != NULL) == (d.error == 0));
    CHECK(d.at <= n);
    doc_free(&d);
    return d.error;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    return bits;
}

static double double_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, 8);
    return d;
}

/* What the reader makes of a number's text; -1 in all bits for an error. */
static uint64_t read_double(const char *text)
{
    doc d;
    uint64_t bits = UINT64_MAX;
    doc_read(&d, text, strlen(text));
    if (!d.error) bits = bits_of(aw_json_double(d.v, 0));
    doc_free(&d);
    return bits;
}

static bool same_as_strtod(const char *text)
{
    double want = strtod(text, NULL);           /* the test runs in "C" */
    uint64_t bits = bits_of(want);
    if ((bits << 1) >> 53 == 0x7FF) bits = UINT64_MAX;
    if (read_double(text) == bits) return true;
    printf("not as strtod: %.60s\n", text);
    return false;
}

/* ---- UTF-8 --------------------------------------------------------------- */

TEST(utf8_table)
{
    static const struct { const char *text; int n, valid; } rows[] = {
        {"", 0, 0}, {"a", 1, 1}, {"\0a", 2, 2}, {"\x7f", 1, 1},
        {"\xC2\x80", 2, 2}, {"\xDF\xBF", 2, 2},
        {"\xE0\xA0\x80", 3, 3}, {"\xED\x9F\xBF", 3, 3}, {"\xEE\x80\x80", 3, 3},
        {"\xEF\xBF\xBF", 3, 3}, {"\xF0\x90\x80\x80", 4, 4},
        {"\xF4\x8F\xBF\xBF", 4, 4},
        {"\x80", 1, 0}, {"\xBF", 1, 0}, {"\xC0\x80", 2, 0}, {"\xC1\xBF", 2, 0},
        {"\xE0\x9F\xBF", 3, 0}, {"\xF0\x8F\xBF\xBF", 4, 0},     /* overlong */
        {"\xED\xA0\x80", 3, 0}, {"\xED\xBF\xBF", 3, 0},         /* surrogate */
        {"\xF4\x90\x80\x80", 4, 0}, {"\xF5\x80\x80\x80", 4, 0}, /* too high */
        {"\xFE", 1, 0}, {"\xFF", 1, 0},
        {"ab\xC3", 3, 2}, {"ab\xE2\x82", 4, 2}, {"ab\xF0\x9F\x98", 5, 2},
        {"\xE2\x82" "a", 3, 0}, {"\xC3\xC3\xA9", 3, 0},
        {"12345678\xC3\xA9" "12345678", 18, 18},
        {"1234567\xFF", 8, 7}, {"12345678\xFF", 9, 8},
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *copy = (char *)malloc((size_t)rows[i].n + 1);
        char *p = copy + 1;                     /* unaligned on purpose */
        memcpy(p, rows[i].text, (size_t)rows[i].n);
        CHECK_EQ(aw__utf8_valid(p, (size_t)rows[i].n), rows[i].valid);
        free(copy);
    }
}

TEST(utf8_every_code_point_and_its_neighbours)
{
    uint32_t c;
    for (c = 0; c < 0x110000; c++) {
        char text[5];
        size_t n = aw__json_encode(text, c), cut;
        bool surrogate = c >= 0xD800 && c < 0xE000;
        if ((aw__utf8_valid(text, n) == n) == surrogate) CHECK(!"encode");
        for (cut = 1; cut < n; cut++)
            if (aw__utf8_valid(text, cut) != 0) CHECK(!"cut short");
    }
}

TEST(utf8_maximal_subpart)
{
    CHECK_EQ(aw__utf8_step("\xF0\x9F\x98x", 4), -3);
    CHECK_EQ(aw__utf8_step("\xF0\x9Fx", 3), -2);
    CHECK_EQ(aw__utf8_step("\xE0\x80\x80", 3), -1);
    CHECK_EQ(aw__utf8_step("\xED\xA0\x80", 3), -1);
    CHECK_EQ(aw__utf8_step("\xE2\x82", 2), -2);
}

/* ---- The grammar --------------------------------------------------------- */

TEST(reader_accepts)
{
    static const char *const rows[] = {
        "null", " \t\r\n true \t\r\n", "false", "0", "\"\"",    /* 2, 3 */
        "{}", "[]", "[ ]", "{ }", "[[],{}]",                    /* 4, 5 */
        "{\"a\":1}", "{ \"a\" : 1 , \"b\" : [ 2 , 3 ] }",
        "{\"\":0}", "{\"a\":1,\"a\":2}",
        "-0", "0.0", "-0.0", "1e5", "1E+5", "1e-05", "10", "0e0",   /* 6 */
        "1.5e300", "-12.75", "1e00000000000000000000005",
        "0e999999999999999999999", "1e-999999999999999999999",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",                /* 7 */
        "\"\\ud83d\\ude00\\uD83D\\uDE00\"", "\"\\u0000\"", "\"\x7f\"",
        "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"", "\"\\uFFFF\\ue000\"",
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        int error = read_error(rows[i], strlen(rows[i]));
        if (error) printf("%s\n", rows[i]);
        CHECK_EQ(error, 0);
    }
}

TEST(reader_refuses_at)
{
    static const struct { const char *text; int at; } rows[] = {
        {"", 0}, {"  ", 2}, {"nul", 3}, {"nulL", 3}, {"True", 0},   /* 3 */
        {"nullx", 4}, {"1 2", 2}, {"{} {}", 3}, {"\xEF\xBB\xBF{}", 0},
        {"\v1", 0}, {"\f1", 0}, {"\xC2\xA0" "1", 0}, {"// c\n1", 0},    /* 2 */
        {"[", 1}, {"[1", 2}, {"[1,", 3}, {"[1,]", 3}, {"[,1]", 1},  /* 5 */
        {"[1 2]", 3}, {"]", 0}, {"[1}", 2}, {"[1]]", 3},
        {"{", 1}, {"{\"a\"", 4}, {"{\"a\":", 5}, {"{\"a\":1", 6},   /* 4 */
        {"{\"a\":1,}", 7}, {"{a:1}", 1}, {"{'a':1}", 1}, {"{1:1}", 1},
        {"{\"a\" 1}", 5}, {"{\"a\":}", 5}, {"{\"a\",1}", 4}, {"{,}", 1},
        {"{\"a\":1]", 6},
        /* 6 */
        {"-", 1}, {"+1", 0}, {"01", 1}, {"-01", 2}, {"00", 1}, {".5", 0},
        {"1.", 2}, {"1.e5", 2}, {"1e", 2}, {"1e+", 3}, {"0x1", 1}, {"1a", 1},
        {"NaN", 0}, {"Infinity", 0}, {"-Infinity", 1}, {"--1", 1}, {"1.2.3", 3},
        {"1e5.5", 3}, {"[1e999]", 1}, {"-1e309", 0}, {"1_0", 1},
        {"\"", 1}, {"\"a", 2}, {"\"a\nb\"", 2}, {"\"\t\"", 1},          /* 7 */
        {"\"\x1f\"", 1}, {"\"\\a\"", 1}, {"\"\\", 1}, {"\"\\u12\"", 1},
        {"\"\\u12g4\"", 1}, {"\"\\u+123\"", 1}, {"\"\\U0041\"", 1},
        {"\"\\ud800\"", 1}, {"\"x\\udc00\"", 2}, {"\"\\ud800\\u0041\"", 1},
        {"\"\\ud800\\ud800\"", 1}, {"\"\\ud800x\"", 1}, {"\"\\'\"", 1},
        {"\"\\ud800\\", 1}, {"'a'", 0},
        /* 8.1 */
        {"\"\x80\"", 1}, {"\"a\xC0\x80\"", 2}, {"\"\xED\xA0\x80\"", 1},
        {"\"\xF4\x90\x80\x80\"", 1}, {"\"\xE2\x82\"", 1}, {"\"\xC3", 1},
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        doc d;
        doc_read(&d, rows[i].text, strlen(rows[i].text));
        if (d.error != AW_EBADMSG || d.at != (size_t)rows[i].at)
            printf("%s: error %d at %d\n", rows[i].text, d.error, (int)d.at);
        CHECK_EQ(d.error, AW_EBADMSG);
        CHECK_EQ(d.at, rows[i].at);
        doc_free(&d);
    }
    CHECK_EQ(read_error("1\0", 2), AW_EBADMSG);
    CHECK_EQ(read_error("\"\0\"", 3), AW_EBADMSG);
}

/* A document with everything in it. */
static const char *const sample =
    "{\"user\":{\"name\":\"Ada \\u00e9\\ud83d\\ude00 \xE2\x82\xAC\",\"age\":36,"
    "\"ok\":true,\"no\":false,\"nil\":null},\"items\":[{\"id\":7},{\"id\":-8}"
    ",[],{},\"\\u0000x\"],\"a.b\":1.5,\"dup\":1,\"dup\":\"two\",\"e\":-2.5e-3,"
    "\"big\":123456789012345678901234567890,\"\":\"empty\"}";

TEST(reader_truncations_are_refused)
{
    size_t n = strlen(sample), i;
    CHECK_EQ(read_error(sample, n), 0);
    for (i = 0; i < n; i++) CHECK_EQ(read_error(sample, i), AW_EBADMSG);
}

/* Every byte in every place of an escape: only hexadecimal digits will do. */
TEST(reader_hexadecimal_digits)
{
    int c, i;
    for (c = 0; c < 256; c++)
        for (i = 3; i < 7; i++) {
            char text[] = "\"\\u1111\"";
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                       (c >= 'A' && c <= 'F');
            /* \uDxxx is half a pair, or not, by its second digit. */
            if (i == 3 && (c == 'd' || c == 'D')) continue;
            text[i] = (char)c;
            CHECK_EQ(read_error(text, 8), hex ? 0 : AW_EBADMSG);
        }
}

TEST(reader_mutations_survive)
{
    size_t n = strlen(sample);
    char *text = (char *)malloc(n);
    int i, k, accepted = 0;
    for (i = 0; i < 30000; i++) {
        memcpy(text, sample, n);
        for (k = (int)(random_bits() % 4); k >= 0; k--) {
            static const char likely[] = "{}[],:\"\\u0e-.tfn \xC3\xED\xF4\0";
            uint64_t r = random_bits();
            text[r % n] = (r >> 32) & 1 ? (char)(r >> 40)
                                        : likely[(r >> 40) % sizeof likely];
        }
        accepted += read_error(text, n) == 0;
    }
    CHECK(accepted > 0);
    free(text);
}

TEST(reader_depth)
{
    char text[4096];
    int i, n;
    for (n = 1; n < 1000; n += n < 60 || n > 70 ? 31 : 1) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        CHECK_EQ(read_error(text, (size_t)n * 2),
                 n > AW__JSON_DEPTH ? AW_ETOOBIG : 0);
        for (i = 0; i < n; i++) memcpy(text + i * 4, "{\"\":", 4);
        CHECK_EQ(read_error(text, (size_t)n * 4),
                 n > AW__JSON_DEPTH ? AW_ETOOBIG : AW_EBADMSG);
    }
    CHECK(sizeof(aw_value) <= 32);
}

/* Every length of plain run before each kind of stop, at each alignment. */
TEST(reader_strings_at_every_length)
{
    static const struct { const char *in, *out; } stops[] = {
        {"\\n", "\n"}, {"\\u20aC", "\xE2\x82\xAC"}, {"\xC3\xA9", "\xC3\xA9"},
        {"\\\"", "\""}, {"", ""}, {"\x7f!", "\x7f!"}, {" #[]^", " #[]^"},
    };
    char text[128], want[128];
    int before, after;
    size_t i;
    for (i = 0; i < sizeof stops / sizeof *stops; i++)
        for (before = 0; before < 20; before++)
            for (after = 0; after < 20; after++) {
                doc d;
                int n = sprintf(text, "\"%.*s%s%.*s\"", before,
                                "abcdefghijklmnopqrst", stops[i].in, after,
                                "ABCDEFGHIJKLMNOPQRST");
                sprintf(want, "%.*s%s%.*s", before, "abcdefghijklmnopqrst",
                        stops[i].out, after, "ABCDEFGHIJKLMNOPQRST");
                doc_read(&d, text, (size_t)n);
                CHECK_STR(aw_json_str(d.v, NULL), want);
                CHECK_EQ(aw_json_len(d.v), strlen(want));
                doc_free(&d);
            }
}

/* ---- Numbers ------------------------------------------------------------- */

TEST(reader_integers)
{
    static const struct { const char *text; int type; int64_t i; } rows[] = {
        {"0", AW_JSON_INT, 0}, {"-0", AW_JSON_INT, 0},
        {"9223372036854775807", AW_JSON_INT, INT64_MAX},
        {"-9223372036854775808", AW_JSON_INT, INT64_MIN},
        {"9223372036854775808", AW_JSON_DOUBLE, -1},
        {"-9223372036854775809", AW_JSON_DOUBLE, INT64_MIN},    /* rounded */
        {"18446744073709551615", AW_JSON_DOUBLE, -1},
        {"18446744073709551616", AW_JSON_DOUBLE, -1},
        {"9007199254740993", AW_JSON_INT, 9007199254740993},
        {"3.0", AW_JSON_DOUBLE, 3}, {"3e2", AW_JSON_DOUBLE, 300},
        {"3.5", AW_JSON_DOUBLE, -1}, {"-0.0", AW_JSON_DOUBLE, 0},
        {"-1e3", AW_JSON_DOUBLE, -1000}, {"1e300", AW_JSON_DOUBLE, -1},
        {"\"7\"", AW_JSON_STRING, -1}, {"true", AW_JSON_BOOL, -1},
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        doc d;
        doc_read(&d, rows[i].text, strlen(rows[i].text));
        CHECK_EQ(aw_json_type(d.v), rows[i].type);
        CHECK_EQ(aw_json_int(d.v, -1), rows[i].i);
        doc_free(&d);
    }
}

TEST(reader_hard_doubles)
{
    static const char *const rows[] = {
        "0.1", "0.3", "2.2250738585072011e-308", "2.2250738585072014e-308",
        "2.2250738585072012e-308", "5e-324", "4.9406564584124654e-324",
        "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-324",
        "1.7976931348623157e308", "1.7976931348623158e308",
        "1.7976931348623159e308", "17976931348623157.1e292", "1e308", "1e309",
        "9007199254740993.0", "9007199254740992.5", "9007199254740993e0",
        "9007199254740993.00000000000000000000000000000000000000000000000001",
        "9007199254740992.99999999999999999999999999999999999999999999999999",
        "123456789012345678901234567890", "1e22", "1e23", "8.5e22",
        "0.000000000000000000000000000000000000000123456789012345678901234567",
        "6929495644600919.5", "3.518437208883201171875e13", "-0.0", "-0e5",
        "7.2057594037927933e16", "72057594037927945e0", "179769313486231580793"
        "728971405303415079934132710037826936173778980444968292764750946649017"
        "977587207096330286416692887910946555547851940402630657488671505820681"
        "908902000708383676273854845817711531764475730270069855571366959622842"
        "914819860834936475292719074168444365510704342711559699508093042880"
        "177904174497792.0", "0e400", "0.0000e999999999999",
        "100000000000000000000000e-22",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "8.41e21", "2.0e-345", "4503599627370496.5", "4503599627370497.5",
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK(same_as_strtod(rows[i]));
}

/* m * 2^-k exactly, in decimal: m * 5^k, and the exponent -k. */
static int exact_text(char *text, uint64_t m, int k)
{
    static unsigned char digit[1200];           /* lowest first */
    int n = 0, i, times;
    for (; m; m /= 10) digit[n++] = (unsigned char)(m % 10);
    for (times = 0; times < k; times++) {
        unsigned carry = 0;
        for (i = 0; i < n; i++) {
            carry += digit[i] * 5u;
            digit[i] = (unsigned char)(carry % 10);
            carry /= 10;
        }
        if (carry) digit[n++] = (unsigned char)carry;
    }
    for (i = 0; i < n; i++) text[i] = (char)('0' + digit[n - 1 - i]);
    text[n] = 0;
    return n;
}

/* Midpoints of neighbouring doubles in full length: exactly, a trifle below,
   a trifle above; the point at several places, zeros in front and behind. */
TEST(reader_ties)
{
    static char digits[1300], text[4000];
    int i;
    for (i = 0; i < 40 + test_rounds(360); i++) {
        int k = i < 40 ? 1075 : (int)(random_bits() % 1075) + 1, n;
        uint64_t m = random_bits() >> 11;
        if (i < 8) m = (uint64_t)i;
        else if (i < 40) m >>= random_bits() % 50;
        n = exact_text(digits, m * 2 + 1, k);
        sprintf(text, "%se%d", digits, -k);
        CHECK(same_as_strtod(text));
        sprintf(text, "%s0000001e%d", digits, -k - 7);
        CHECK(same_as_strtod(text));
        sprintf(text, "%.*s49999e%d", n - 1, digits, -k - 4);
        CHECK(same_as_strtod(text));
        sprintf(text, "0.000%s00e%d", digits, n + 3 - k);
        CHECK(same_as_strtod(text));
        sprintf(text, "%c.%s%0300de%d", digits[0], digits + 1, 1, n - 1 - k);
        CHECK(same_as_strtod(n > 1 ? text : "1"));
    }
}

TEST(reader_random_decimals)
{
    char text[128];
    int i, k;
    for (i = 0; i < test_rounds(200000); i++) {
        int n = (int)(random_bits() % (i % 2 ? 19 : 40)) + 1, at = 0;
        int range = i % 3 ? 30 : 340;
        for (k = 0; k < n; k++) {
            text[at++] = (char)('0' + random_bits() % 10);
            if (k == 0) text[at++] = '.';
        }
        if (n == 1) at--;
        sprintf(text + at, "e%d", (int)(random_bits() % 700) * range / 340
                - range);
        if (!same_as_strtod(text)) CHECK(!"random decimal");
    }
}

/* Both ways without the 128-bit short cuts, which a 64-bit machine never
   leaves for numbers of this size. */
TEST(decimal_big_path_agrees)
{
    int i;
    for (i = 0; i < 20000; i++) {
        uint64_t w = random_bits() >> random_bits() % 64;
        int e10 = (int)(random_bits() % 55) - 27;
        aw__big num;
        if (!w) continue;
        aw__big_set(&num, w);
        if (aw__dec_nearest_big(&num, e10) != aw__dec_nearest(w, e10))
            CHECK(!"the two paths differ");
    }
}

static char *write_double(char *text, double d)
{
    text[aw__dec_write(text, d)] = 0;
    return text;
}

TEST(writer_double_table)
{
    static const struct { double d; const char *text; } rows[] = {
        {0.0, "0.0"}, {-0.0, "-0.0"}, {1, "1.0"}, {-1.5, "-1.5"},
        {0.1, "0.1"}, {1.0 / 3, "0.3333333333333333"}, {100, "100.0"},
        {1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1.5e16, "1.5e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"}, {1e22, "1e+22"},
        {1e23, "1e+23"}, {0.0001, "0.0001"}, {0.00001, "1e-05"},
        {1.25e-7, "1.25e-07"}, {5e-324, "5e-324"}, {1e100, "1e+100"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {2.225073858507201e-308, "2.225073858507201e-308"},
        {9007199254740992.0, "9007199254740992.0"}, {0.3, "0.3"},
        {0.30000000000000004, "0.30000000000000004"}, {12345.67, "12345.67"},
        {5.684341886080802e-14, "5.684341886080802e-14"},   /* 2^-44 */
        {9.5367431640625e-07, "9.5367431640625e-07"},       /* 2^-20 */
        {1e-323, "1e-323"}, {4.35, "4.35"}, {65536, "65536.0"},
    };
    char text[32];
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_STR(write_double(text, rows[i].d), rows[i].text);
}

/* Digits of a number's text, without the zeros around them. */
static int significant(const char *text, char *digits)
{
    int n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n || *text != '0'))
            digits[n++] = *text;
    while (n > 0 && digits[n - 1] == '0') n--;
    digits[n] = 0;
    return n;
}

/* Reads back the same; fewer digits would not do; and of as many, the closest
   are taken, which are printf's. */
static bool shortest(double d, bool thorough)
{
    char text[32], digits[32], other[40], other_digits[32];
    int n, p;
    write_double(text, d);
    if (read_double(text) != bits_of(d)) return false;
    if (bits_of(strtod(text, NULL)) != bits_of(d)) return false;
    if (!thorough) return true;
    n = significant(text, digits);
    for (p = 1; p <= n; p++) {
        sprintf(other, "%.*e", p - 1, d);
        if (bits_of(strtod(other, NULL)) == bits_of(d)) break;
    }
    /* Doubles below a power of two lie closer: there printf's nearest can be
       wrong while its neighbour is right. */
    if (p > n) return d == 0 || !(bits_of(d) & (((uint64_t)1 << 52) - 1));
    significant(other, other_digits);
    return p == n && !strcmp(digits, other_digits);
}

TEST(writer_random_doubles)
{
    int i;
    for (i = 0; i < test_rounds(200000); i++) {
        double d = double_of(random_bits());
        if (d - d != 0) continue;
        if (!shortest(d, i % 8 == 0)) CHECK(!"random bits");
        d = (double)(random_bits() >> 11) / 9007199254740992.0 * 1000;
        if (!shortest(d, i % 8 == 0)) CHECK(!"random below 1000");
        d = (double)(int64_t)(random_bits() % 100000000) / 100;
        if (!shortest(d, i % 8 == 0)) CHECK(!"money");
    }
    for (i = 0; i < 2047; i++) {
        uint64_t bits = (uint64_t)i << 52;
        CHECK(shortest(double_of(bits), true));
        CHECK(shortest(double_of(bits + 1), true));
        if (bits) CHECK(shortest(double_of(bits - 1), true));
    }
    for (i = 0; i < 52; i++) {
        CHECK(shortest(double_of((uint64_t)1 << i), true));
        CHECK(shortest(double_of(((uint64_t)1 << i) | 1), true));
        CHECK(shortest(double_of(((uint64_t)1 << i) - 1), true));
    }
}

/* ---- Lookup -------------------------------------------------------------- */

TEST(lookup)
{
    const aw_value *v, *item;
    doc d;
    int n = 0;
    doc_read(&d, sample, strlen(sample));
    v = d.v;
    CHECK_EQ(aw_json_type(v), AW_JSON_OBJECT);
    CHECK_EQ(aw_json_len(v), 8);
    CHECK_STR(aw_json_str(aw_json_get(v, "user.name"), ""),
              "Ada \xC3\xA9\xF0\x9F\x98\x80 \xE2\x82\xAC");
    CHECK_EQ(aw_json_int(aw_json_get(v, "user.age"), 0), 36);
    CHECK_EQ(aw_json_int(aw_json_get(v, "items.1.id"), 0), -8);
    CHECK_EQ(aw_json_bool(aw_json_get(v, "user.ok"), false), true);
    CHECK_EQ(aw_json_bool(aw_json_get(v, "user.no"), true), false);
    CHECK_EQ(aw_json_type(aw_json_get(v, "user.nil")), AW_JSON_NULL);
    CHECK(aw_json_double(aw_json_get(v, "e"), 0) == (double)-2.5e-3);
    CHECK(aw_json_double(aw_json_get(v, "user.age"), 0) == 36.0);
    CHECK(aw_json_double(aw_json_get(v, "big"), 0) ==
          (double)123456789012345678e12);
    CHECK_STR(aw_json_str(aw_json_get(v, "dup"), ""), "two");
    CHECK_STR(aw_json_str(aw_json_member(v, ""), ""), "empty");
    CHECK(aw_json_double(aw_json_member(v, "a.b"), 0) == 1.5);
    CHECK_EQ(aw_json_len(aw_json_get(v, "items.4")), 2);
    CHECK(aw_json_get(v, "") == v);
    CHECK(aw_json_get(v, "a.b") == NULL);
    CHECK(aw_json_get(v, "items.5") == NULL);
    CHECK(aw_json_get(v, "items.-1") == NULL);
    CHECK(aw_json_get(v, "items.") == NULL);
    CHECK(aw_json_get(v, "items.18446744073709551616") == NULL);
    CHECK(aw_json_get(v, "user.name.x") == NULL);
    CHECK(aw_json_get(v, "nope.x.y") == NULL);
    CHECK(aw_json_get(v, "use") == NULL);
    CHECK(aw_json_at(v, 8) == NULL);
    CHECK_STR(aw_json_key(aw_json_at(v, 4)), "dup");
    CHECK(aw_json_key(v) == NULL && aw_json_next(v) == NULL);
    CHECK(aw_json_key(aw_json_get(v, "items.0")) == NULL);
    for (item = aw_json_first(v); item; item = aw_json_next(item)) {
        CHECK(item == aw_json_at(v, (size_t)n));
        n++;
    }
    CHECK_EQ(n, 8);
    CHECK(aw_json_first(aw_json_get(v, "items.2")) == NULL);
    CHECK(aw_json_first(aw_json_get(v, "items.3")) == NULL);
    CHECK(aw_json_first(aw_json_get(v, "user.name")) == NULL);
    doc_free(&d);
}

TEST(lookup_defaults)
{
    const aw_value *const none = NULL;
    doc d;
    CHECK_EQ(aw_json_type(none), AW_JSON_NONE);
    CHECK(aw_json_get(none, "a.b") == NULL && aw_json_get(none, "") == NULL);
    CHECK(aw_json_member(none, "a") == NULL && aw_json_at(none, 0) == NULL);
    CHECK(aw_json_first(none) == NULL && aw_json_next(none) == NULL);
    CHECK(aw_json_key(none) == NULL);
    CHECK_EQ(aw_json_len(none), 0);
    CHECK_STR(aw_json_str(none, "def"), "def");
    CHECK_EQ(aw_json_int(none, 5), 5);
    CHECK(aw_json_double(none, 2.5) == 2.5);
    CHECK_EQ(aw_json_bool(none, true), true);
    doc_read(&d, "[1]", 3);
    CHECK_STR(aw_json_str(d.v, NULL), NULL);
    CHECK_EQ(aw_json_int(d.v, 5), 5);
    CHECK(aw_json_double(d.v, 2.5) == 2.5);
    CHECK_EQ(aw_json_bool(aw_json_at(d.v, 0), true), true);
    CHECK(aw_json_member(d.v, "0") == NULL);
    CHECK(aw_json_get(d.v, NULL) == NULL && aw_json_member(d.v, NULL) == NULL);
    doc_free(&d);
}

/* A name with a NUL inside is not its own beginning. */
TEST(lookup_name_with_nul)
{
    doc d;
    doc_read(&d, "{\"a\\u0000b\":1}", 14);
    CHECK(aw_json_member(d.v, "a") == NULL);
    doc_free(&d);
}

/* ---- The writer ---------------------------------------------------------- */

typedef struct out {
    aw__mem mem;
    aw__buf b;
    aw_json_writer w;
} out;

static aw_json_writer *out_begin(out *o)
{
    memset(o, 0, sizeof *o);
    o->b.mem = &o->mem;
    aw__json_writer_init(&o->w, &o->b, NULL);
    return &o->w;
}

/* The result of the writer; the text, NUL-terminated, is checked if given. */
static int out_end(out *o, const char *want)
{
    int error = aw__json_finish(&o->w);
    aw__buf_add(&o->b, "", 1);
    if (want) CHECK_STR(o->b.p, want);
    if (!error) CHECK_EQ(read_error(o->b.p, o->b.n - 1), 0);
    aw__buf_free(&o->b);
    CHECK_EQ(o->mem.live, 0);
    aw__mem_close(&o->mem);
    return error;
}

TEST(writer_everything)
{
    out o;
    aw_json_writer *w = out_begin(&o);
    aw_put_object(w, NULL);
    aw_put_int(w, "min", INT64_MIN);
    aw_put_int(w, "max", INT64_MAX);
    aw_put_int(w, "zero", 0);
    aw_put_double(w, "d", 0.5);
    aw_put_double(w, "nan", double_of(UINT64_MAX));
    aw_put_double(w, "inf", double_of((uint64_t)0xFFF << 52));
    aw_put_bool(w, "yes", true);
    aw_put_bool(w, "no", false);
    aw_put_null(w, "nil");
    aw_put_str(w, "s", "h\"i");
    aw_put_str(w, "none", NULL);
    aw_put_strn(w, "n", "ab\0c", 4);
    aw_put_array(w, "a");
    aw_put_array(w, NULL);
    aw_put_end(w);
    aw_put_object(w, NULL);
    aw_put_end(w);
    aw_put_int(w, NULL, 1);
    aw_put_int(w, NULL, -2);
    aw_put_value(w, NULL, NULL);
    aw_put_end(w);
    aw_put_int(w, "k\ny", 3);
    aw_put_end(w);
    CHECK_EQ(out_end(&o, "{\"min\":-9223372036854775808,"
        "\"max\":9223372036854775807,\"zero\":0,\"d\":0.5,\"nan\":null,"
        "\"inf\":null,\"yes\":true,\"no\":false,\"nil\":null,\"s\":\"h\\\"i\","
        "\"none\":null,\"n\":\"ab\\u0000c\",\"a\":[[],{},1,-2,null],"
        "\"k\\ny\":3}"), 0);
}

TEST(writer_misuse_sticks)
{
    out o;
    aw_json_writer *w = out_begin(&o);
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);             /* nothing at all */
    w = out_begin(&o);
    aw_put_int(w, NULL, 1);
    aw_put_int(w, NULL, 2);                             /* two at the top */
    CHECK_EQ(out_end(&o, "1"), AW_EINVAL);
    w = out_begin(&o);
    aw_put_int(w, "a", 1);                              /* a name at the top */
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);
    w = out_begin(&o);
    aw_put_object(w, NULL);
    aw_put_int(w, NULL, 1);                             /* no name */
    aw_put_int(w, "a", 1);                              /* does nothing */
    aw_put_end(w);
    CHECK_EQ(out_end(&o, "{"), AW_EINVAL);
    w = out_begin(&o);
    aw_put_array(w, NULL);
    aw_put_str(w, "a", "x");                            /* a name in an array */
    aw_put_end(w);
    CHECK_EQ(out_end(&o, "["), AW_EINVAL);
    w = out_begin(&o);
    aw_put_array(w, NULL);                              /* left open */
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);
    w = out_begin(&o);
    aw_put_array(w, NULL);
    aw_put_end(w);
    aw_put_end(w);                                      /* one too many */
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);
    w = out_begin(&o);
    aw_put_end(w);
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);
}

TEST(writer_null)
{
    aw_field f = aw_int("a", 1);
    aw_put_object(NULL, NULL);
    aw_put_array(NULL, "a");
    aw_put_int(NULL, "a", 1);
    aw_put_double(NULL, "a", 1);
    aw_put_str(NULL, "a", "b");
    aw_put_value(NULL, "a", NULL);
    aw__put_field(NULL, &f);
    aw_put_end(NULL);
    CHECK_EQ(aw__json_finish(NULL), AW_ENOMEM);
}

TEST(writer_depth)
{
    out o;
    int i, n;
    for (n = AW__JSON_DEPTH; n <= AW__JSON_DEPTH + 1; n++) {
        aw_json_writer *w = out_begin(&o);
        for (i = 0; i < n; i++) aw_put_array(w, NULL);
        for (i = 0; i < n; i++) aw_put_end(w);
        CHECK_EQ(out_end(&o, NULL), n > AW__JSON_DEPTH ? AW_EINVAL : 0);
    }
}

/* A tree of the full depth fits on top, and nowhere else. */
TEST(writer_depth_of_a_value)
{
    char text[2 * AW__JSON_DEPTH];
    out o;
    doc d;
    aw_json_writer *w = out_begin(&o);
    memset(text, '[', AW__JSON_DEPTH);
    memset(text + AW__JSON_DEPTH, ']', AW__JSON_DEPTH);
    doc_read(&d, text, sizeof text);
    aw_put_value(w, NULL, d.v);
    CHECK_EQ(out_end(&o, NULL), 0);
    w = out_begin(&o);
    aw_put_array(w, NULL);
    aw_put_value(w, NULL, d.v);
    aw_put_end(w);
    CHECK_EQ(out_end(&o, NULL), AW_EINVAL);
    doc_free(&d);
}

static void check_quote(const char *in, size_t n, const char *want)
{
    char *copy = (char *)malloc(n ? n : 1);
    aw__buf b;
    memset(&b, 0, sizeof b);
    if (n) memcpy(copy, in, n);
    aw__json_quote(&b, copy, n);
    aw__buf_add(&b, "", 1);
    CHECK_STR(b.p, want);
    CHECK_EQ(read_error(b.p, b.n - 1), 0);
    aw__buf_free(&b);
    free(copy);
}

TEST(writer_quotes)
{
    check_quote("", 0, "\"\"");
    check_quote("plain /'<>&\x7f", 12, "\"plain /'<>&\x7f\"");
    check_quote("\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check_quote("\0\1\x1f\x0b", 4, "\"\\u0000\\u0001\\u001f\\u000b\"");
    check_quote("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
    check_quote("a\xFFz", 3, "\"a\xEF\xBF\xBDz\"");
    check_quote("\xC3", 1, "\"\xEF\xBF\xBD\"");
    check_quote("\xF0\x9F\x98z", 4, "\"\xEF\xBF\xBDz\"");
    check_quote("\xED\xA0\x80", 3,
                "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check_quote("1234567\"12345678\n123456789\xC3\xA9", 28,
                "\"1234567\\\"12345678\\n123456789\xC3\xA9\"");
}

/* Any bytes make a valid string, and valid ones come back as they were. */
TEST(writer_random_strings)
{
    int i;
    for (i = 0; i < 20000; i++) {
        char text[48];
        size_t n = random_bits() % sizeof text, k;
        out o;
        doc d;
        for (k = 0; k < n; k++) {
            uint64_t r = random_bits();
            text[k] = (char)(r & 7 ? (r >> 8) & 0x7F : r >> 8);
        }
        aw_put_strn(out_begin(&o), NULL, text, n);
        doc_read(&d, o.b.p, o.b.n);
        CHECK_EQ(d.error, 0);
        CHECK_EQ(aw__utf8_valid(aw_json_str(d.v, ""), aw_json_len(d.v)),
                 aw_json_len(d.v));
        if (aw__utf8_valid(text, n) == n) {
            CHECK_EQ(aw_json_len(d.v), n);
            CHECK(!memcmp(aw_json_str(d.v, ""), text, n));
        }
        doc_free(&d);
        CHECK_EQ(out_end(&o, NULL), 0);
    }
}

TEST(writer_copies_a_tree)
{
    out o, again;
    doc d, copy;
    doc_read(&d, sample, strlen(sample));
    aw_put_value(out_begin(&o), NULL, d.v);
    doc_read(&copy, o.b.p, o.b.n);
    CHECK_EQ(copy.error, 0);
    aw_put_value(out_begin(&again), NULL, copy.v);
    CHECK_EQ(again.b.n, o.b.n);
    CHECK(!memcmp(again.b.p, o.b.p, o.b.n));
    doc_free(&d);
    doc_free(&copy);
    CHECK_EQ(out_end(&o, NULL), 0);
    CHECK_EQ(out_end(&again, "{\"user\":{\"name\":"
        "\"Ada \xC3\xA9\xF0\x9F\x98\x80 \xE2\x82\xAC\",\"age\":36,"
        "\"ok\":true,\"no\":false,\"nil\":null},"
        "\"items\":[{\"id\":7},{\"id\":-8},[],{},\"\\u0000x\"],\"a.b\":1.5,"
        "\"dup\":1,\"dup\":\"two\",\"e\":-0.0025,"
        "\"big\":1.2345678901234568e+29,\"\":\"empty\"}"), 0);
}

TEST(writer_fields)
{
    aw_field f[7];
    out o;
    doc d;
    aw_json_writer *w = out_begin(&o);
    int i;
    doc_read(&d, "[1,{}]", 6);
    f[0] = aw_int("i", 1);
    f[1] = aw_str("s", "x");
    f[2] = aw_str("none", NULL);
    f[3] = aw_bool("b", true);
    f[4] = aw_double("d", 1e30);
    f[5] = aw_null("nil");
    f[6] = aw_val("v", d.v);
    aw_put_object(w, NULL);
    for (i = 0; i < 7; i++) aw__put_field(w, &f[i]);
    f[0] = aw_val("gone", NULL);
    aw__put_field(w, &f[0]);
    aw_put_end(w);
    CHECK_EQ(out_end(&o, "{\"i\":1,\"s\":\"x\",\"none\":null,\"b\":true,"
        "\"d\":1e+30,\"nil\":null,\"v\":[1,{}],\"gone\":null}"), 0);
    doc_free(&d);
}

/* ---- out of memory ---- */

/* Parses a text and writes it again, an allocation failing: all of them in
   turn. */
TEST(json_each_allocation_fails)
{
    char text[4000] = "[", *p = text + 1;
    bool all = false;
    long k;
    for (k = 0; k < 99; k++)
        p += sprintf(p, "{\"k\":%ld.5,\"s\":\"\\n%ld\"},", k, k);
    strcpy(p - 1, "]");
    test_fault = json_fault;
    for (k = 1; !all; k++) {
        aw_json_writer w;
        aw__buf b;
        doc d;
        json_fault_in = k;
        doc_read(&d, text, strlen(text));
        memset(&b, 0, sizeof b);
        b.mem = &d.mem;
        aw__json_writer_init(&w, &b, NULL);
        aw_put_value(&w, NULL, d.v);
        NOTE("allocation %ld", k);
        all = json_fault_in > 0;
        CHECK_EQ(d.error, d.v ? 0 : AW_ENOMEM);
        CHECK_EQ(aw__json_finish(&w), all || d.error ? 0 : AW_ENOMEM);
        aw__buf_free(&b);
        doc_free(&d);
    }
    CHECK(k > 10);
}

TEST(documents_of_ones_own)
{
    aw_json_doc doc = {NULL};
    const aw_value *v;
    aw_json_writer *w;
    size_t n;
    int i;
    aw_json_free(&doc);
    for (i = 0; i < 3; i++) {
        v = aw_json_parse(&doc, "{\"a\": [1, \"two\"]}x", 17);
        CHECK_STR(aw_json_str(aw_json_get(v, "a.1"), NULL), "two");
        CHECK(aw_json_parse(&doc, "{\"a\": }", 8) == NULL);
        CHECK_STR(aw_json_str(aw_json_get(v, "a.1"), NULL), "two");
        w = aw_json_write(&doc);
        aw_put_object(w, NULL);
        aw_put_value(w, "b", v);
        CHECK(aw_json_text(w, &n) == NULL);
        CHECK_EQ(n, 0);
        aw_put_end(w);
        CHECK_STR(aw_json_text(w, &n), "{\"b\":{\"a\":[1,\"two\"]}}");
        CHECK_EQ(n, 21);
        CHECK_STR(aw_json_text(w, NULL), "{\"b\":{\"a\":[1,\"two\"]}}");
        aw_put_end(w);
        CHECK(aw_json_text(w, NULL) == NULL);
        if (i != 1) aw_json_free(&doc);
    }
    CHECK(aw_json_text(NULL, NULL) == NULL);
    CHECK(doc.memory == NULL);
}

/* A document's text is one block of the arena, and its tree begins another. */
TEST(what_comes_behind_a_large_block_is_small)
{
    aw__mem mem;
    aw__arena arena;
    memset(&mem, 0, sizeof mem);
    memset(&arena, 0, sizeof arena);
    arena.mem = &mem;
    CHECK(aw__arena_get(&arena, 1 << 20) != NULL);
    CHECK(aw__arena_get(&arena, 24) != NULL);
    CHECK(mem.live < (1 << 20) + 40000);
    aw__arena_free(&arena);
    CHECK_EQ(mem.live, 0);
    aw__mem_close(&mem);
}
