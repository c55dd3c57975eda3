/* files.c: conditions, ranges and codings; files over the wire. */
#include "http.h"

/* ---- conditions, ranges, codings: pure ---- */

/* A copy that ends where its block ends, so that a reader past it is seen. */
static aw_slice exact(const char *text)
{
    size_t n = strlen(text);
    char *p = (char *)malloc(n ? n : 1);
    memcpy(p, text, n);
    return aw__slice(p, n);
}

static void exact_free(aw_slice s)
{
    free((void *)(uintptr_t)s.p);
}

/* The head of a request with these field lines. */
typedef struct asked {
    char base[2048 + AW__HEAD_SLACK];
    aw__field fields[40];
    aw__head head;
} asked;

static const asked *ask(const char *method, const char *lines)
{
    static asked a;
    static const aw__head_limits limits = {8192, 32768};
    memset(&a, 0, sizeof a);
    snprintf(a.base, 2048, "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", method, lines);
    a.head.fields = a.fields;
    a.head.max_fields = 40;
    CHECK(aw__http_head(a.base, strlen(a.base), 0, &limits, &a.head) > 0);
    return &a;
}

TEST(etag_lists)
{
    enum { NO = AW__NO, YES = AW__YES, BAD = AW__UNREADABLE };
    static const struct {
        const char *list, *etag;
        int strong, weak;
    } rows[] = {
        /* RFC 9110 8.8.3.2, the table */
        {"W/\"1\"", "W/\"1\"", NO, YES},
        {"W/\"1\"", "W/\"2\"", NO, NO},
        {"W/\"1\"", "\"1\"", NO, YES},
        {"\"1\"", "\"1\"", YES, YES},
        {"\"1\"", "W/\"1\"", NO, YES},
        /* 13.1.1, 13.1.2: examples */
        {"\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\"", "\"c3piozzzz\"", YES, YES},
        {"W/\"xyzzy\", W/\"r2d2xxxx\", W/\"c3piozzzz\"", "\"r2d2xxxx\"", NO,
         YES},
        {"*", "\"any\"", YES, YES},
        {"*", NULL, YES, YES},
        {"\"a\"", NULL, NO, NO},
        /* 8.8.3: what an opaque-tag may hold */
        {"\"\"", "\"\"", YES, YES},
        {"\"a,b\"", "\"a,b\"", YES, YES},
        {"\"a,b\"", "\"b\"", NO, NO},
        {"\"\xc3\xa9!#~\"", "\"\xc3\xa9!#~\"", YES, YES},
        {"\"a b\"", "\"a b\"", BAD, BAD},
        {"\"a\x7f\"", "\"a\x7f\"", BAD, BAD},
        {"\"a\\\"", "\"a\\\"", YES, YES},       /* no escapes */
        /* 5.6.1.2: empty elements, OWS */
        {"", "\"a\"", NO, NO},
        {" , ,\t", "\"a\"", NO, NO},
        {",\"b\" ,, \"a\",", "\"a\"", YES, YES},
        /* what is none; what stands before it counts */
        {"a", "\"a\"", BAD, BAD},
        {"\"a", "\"a\"", BAD, BAD},
        {"w/\"a\"", "\"a\"", BAD, BAD},         /* case-sensitive */
        {"W/", "\"a\"", BAD, BAD},
        {"W", "\"a\"", BAD, BAD},
        {"\"", "\"\"", BAD, BAD},
        {"\"b\" \"a\"", "\"a\"", BAD, BAD},
        {"\"b\"x", "\"a\"", BAD, BAD},
        {"\"b\", *", "\"a\"", BAD, BAD},
        {"\"a\", b", "\"a\"", YES, YES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_slice s = exact(rows[i].list);
        NOTE("row %d: %s", (int)i, rows[i].list);
        CHECK_EQ(rows[i].strong, aw__etag_listed(s, rows[i].etag, true));
        CHECK_EQ(rows[i].weak, aw__etag_listed(s, rows[i].etag, false));
        exact_free(s);
    }
}

#define NOON "Sun, 06 Nov 1994 12:00:00 GMT"
#define BEFORE "Sun, 06 Nov 1994 11:59:59 GMT"
#define AFTER "Sun, 06 Nov 1994 12:00:01 GMT"
enum { NOON_SECONDS = 784123200 };

TEST(preconditions_in_order)
{
    static const aw__validators both = {"\"v1\"", NOON_SECONDS},
        weak = {"W/\"v1\"", NOON_SECONDS}, tag = {"\"v1\"", 0},
        none = {NULL, 0};
    static const struct {
        const aw__validators *v;
        const char *method, *lines;
        int status;
    } rows[] = {
        {&both, "GET", "", 0},
        /* RFC 9110 13.2.2 step 1: If-Match, strong */
        {&both, "GET", "If-Match: \"v1\"\r\n", 0},
        {&both, "PUT", "If-Match: \"v0\"\r\n", 412},
        {&both, "PUT", "If-Match: *\r\n", 0},
        {&weak, "PUT", "If-Match: \"v1\"\r\n", 412},
        {&none, "PUT", "If-Match: \"v1\"\r\n", 412},
        {&both, "PUT", "If-Match: v1\r\n", 412},
        {&both, "GET", "If-Match: \r\n", 412},
        {&both, "PUT", "If-Match: \"v0\"\r\nIf-Match: \"v1\"\r\n", 0},
        {&both, "PUT", "If-Match: x\r\nIf-Match: \"v0\"\r\n", 412},
        /* step 2: If-Unmodified-Since, only without If-Match */
        {&both, "PUT", "If-Unmodified-Since: " BEFORE "\r\n", 412},
        {&both, "PUT", "If-Unmodified-Since: " NOON "\r\n", 0},
        {&both, "GET", "If-Unmodified-Since: " BEFORE "\r\n", 412},
        {&both, "PUT", "If-Match: \"v1\"\r\nIf-Unmodified-Since: " BEFORE
            "\r\n", 0},
        {&both, "PUT", "If-Unmodified-Since: yesterday\r\n", 0}, /* 13.1.4 */
        {&tag, "PUT", "If-Unmodified-Since: " BEFORE "\r\n", 0},
        {&both, "PUT", "If-Unmodified-Since: " BEFORE "\r\n"
            "If-Unmodified-Since: " BEFORE "\r\n", 0},
        /* step 3: If-None-Match, weak; 304 for GET and HEAD only */
        {&both, "GET", "If-None-Match: W/\"v1\"\r\n", 304},
        {&weak, "HEAD", "If-None-Match: \"v1\"\r\n", 304},
        {&both, "PUT", "If-None-Match: \"v1\"\r\n", 412},
        {&both, "PUT", "If-None-Match: *\r\n", 412},
        {&none, "GET", "If-None-Match: *\r\n", 304},
        {&both, "GET", "If-None-Match: \"v0\"\r\n", 0},
        {&both, "GET", "If-None-Match: v1\r\n", 0},
        {&both, "DELETE", "If-None-Match: v1\r\n", 412},
        {&both, "GET", "If-None-Match: \"v0\"\r\nIf-None-Match: \"v1\"\r\n",
            304},
        {&both, "GET", "If-Match: \"v1\"\r\nIf-None-Match: \"v1\"\r\n", 304},
        {&both, "GET", "If-Match: \"v0\"\r\nIf-None-Match: \"v1\"\r\n", 412},
        /* step 4: If-Modified-Since, GET and HEAD, without If-None-Match */
        {&both, "GET", "If-Modified-Since: " NOON "\r\n", 304},
        {&both, "HEAD", "If-Modified-Since: " AFTER "\r\n", 304},
        {&both, "GET", "If-Modified-Since: " BEFORE "\r\n", 0},
        {&both, "POST", "If-Modified-Since: " NOON "\r\n", 0},
        {&both, "GET", "If-None-Match: \"v0\"\r\nIf-Modified-Since: " NOON
            "\r\n", 0},
        {&both, "GET", "If-None-Match: v1\r\nIf-Modified-Since: " NOON "\r\n",
            0},
        {&tag, "GET", "If-Modified-Since: " AFTER "\r\n", 0},
        {&both, "GET", "If-Modified-Since: 1994-11-06\r\n", 0},
        {&both, "GET", "If-Modified-Since: Sunday, 06-Nov-94 12:00:00 GMT\r\n",
            304},
        {&both, "GET", "If-Unmodified-Since: " NOON "\r\nIf-Modified-Since: "
            NOON "\r\n", 304},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const asked *a = ask(rows[i].method, rows[i].lines);
        NOTE("row %d: %s %s", (int)i, rows[i].method, rows[i].lines);
        CHECK_EQ(rows[i].status,
                 aw__preconditions(a->base, &a->head, rows[i].v));
    }
}

/* "0+5 10+1": offset and length of each. */
static const char *ranges_text(const aw__range *r, int n)
{
    static char text[2000];
    int at = 0;
    text[0] = 0;
    for (int i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%lld+%lld",
                       i ? " " : "", (long long)r[i].at, (long long)r[i].n);
    if (n < 0) snprintf(text, sizeof text, "%d", AW_HTTP(0) - n);
    return text;
}

TEST(range_syntax)
{
    static const struct {
        const char *field;
        int64_t size;
        const char *want;       /* "": ignored */
    } rows[] = {
        /* RFC 9110 14.1.2: the examples */
        {"bytes=0-499", 10000, "0+500"},
        {"bytes=500-999", 10000, "500+500"},
        {"bytes=-500", 10000, "9500+500"},
        {"bytes=9500-", 10000, "9500+500"},
        {"bytes=0-0,-1", 10000, "0+1 9999+1"},
        {"bytes= 0-999, 4500-5499, -1000", 10000, "0+1000 4500+1000 9000+1000"},
        {"bytes=500-600,601-999", 10000, "500+500"},
        {"bytes=500-700,601-999", 10000, "500+500"},
        /* what reaches over the end; suffixes */
        {"bytes=9999-10000", 10000, "9999+1"},
        {"bytes=0-99999", 10, "0+10"},
        {"bytes=-11", 10, "0+10"},
        {"bytes=0-", 1, "0+1"},
        {"BYTES=0-0", 10, "0+1"},               /* 14.1: any case */
        /* 15.5.17: nothing is satisfiable */
        {"bytes=10-", 10, "416"},
        {"bytes=10-20,30-40", 10, "416"},
        {"bytes=-0", 10, "416"},
        {"bytes=0-", 0, "416"},
        {"bytes=0-0", 0, "416"},
        {"bytes=-5", 0, ""},                    /* satisfiable, but empty */
        {"bytes=99-,0-1", 10, "0+2"},           /* one is enough */
        {"bytes=-0,0-1", 10, "0+2"},
        /* 14.1.1, 14.2: invalid, ignored */
        {"bytes=5-4", 10, ""},
        {"bytes=0-1,5-4", 10, ""},
        {"bytes=", 10, ""}, {"bytes", 10, ""}, {"", 10, ""},
        {"bytes=,", 10, ""},
        {"bytes=-", 10, ""}, {"bytes=--1", 10, ""}, {"bytes=0", 10, ""},
        {"bytes=0-1-2", 10, ""}, {"bytes=a-b", 10, ""}, {"bytes=0-x", 10, ""},
        {"bytes=+0-1", 10, ""}, {"bytes=0 -1", 10, ""},
        {"bytes =0-1", 10, ""}, {"bytes:0-1", 10, ""},
        {"bytes=0x1-2", 10, ""}, {"bytes=0-1;2-3", 10, ""},
        {"items=0-1", 10, ""}, {"bytes2=0-1", 10, ""},
        /* 5.6.1.2 */
        {"bytes=,0-0 ,\t,2000-2000,", 9999, "0+1 2000+1"},
        /* numbers of any length */
        {"bytes=0-99999999999999999999999", 10, "0+10"},
        {"bytes=99999999999999999999999-", 10, "416"},
        {"bytes=-99999999999999999999999", 10, "0+10"},
        {"bytes=9223372036854775807-", INT64_MAX, "416"},
        {"bytes=9223372036854775806-", INT64_MAX, "9223372036854775806+1"},
        {"bytes=-9223372036854775807", INT64_MAX, "0+9223372036854775807"},
        {"bytes=00000000000000000000000005-5", 10, "5+1"},
        /* 15.3.7.2: united when near, in the place of the first */
        {"bytes=0-9,90-99", 1000, "0+100"},
        {"bytes=0-9,91-99", 1000, "0+10 91+9"},
        {"bytes=500-509,0-9,595-600,590-594", 1000, "500+101 0+10"},
        {"bytes=500-509,0-9,700-709,400-800", 1000, "400+401 0+10"},
        {"bytes=0-,0-,0-,0-", 1000, "0+1000"},  /* 17.15 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__range r[AW__RANGES_MAX];
        aw_slice s = exact(rows[i].field);
        NOTE("row %d: %s", (int)i, rows[i].field);
        CHECK_STR(rows[i].want,
                  ranges_text(r, aw__ranges_read(s, rows[i].size, r)));
        exact_free(s);
    }
}

TEST(range_count_is_limited)
{
    aw__range r[AW__RANGES_MAX];
    char field[2000] = "bytes=";
    for (int i = 0; i < AW__RANGES_MAX + 1; i++) {
        size_t n = strlen(field);
        snprintf(field + n, sizeof field - n, "%s%d-%d", i ? "," : "",
                 i * 1000, i * 1000);
        if (i + 1 > AW__RANGES_MAX)
            CHECK_EQ(0, aw__ranges_read(aw__slice(field, strlen(field)),
                                        100000, r));
        else
            CHECK_EQ(i + 1, aw__ranges_read(aw__slice(field, strlen(field)),
                                            100000, r));
    }
}

static uint32_t rnd_state = 7;

static int rnd(int below)
{
    rnd_state = rnd_state * 1664525u + 1013904223u;
    return (int)((uint64_t)(rnd_state >> 4) * (uint64_t)below >> 28);
}

/* Against a bitmap: what was asked for is sent, and of the rest only gaps
   that are no longer than the head of a part. */
TEST(range_random)
{
    enum { SIZE = 1500 };
    for (long round = 0; round < test_rounds(20000); round++) {
        char field[600] = "bytes=", asked_for[SIZE], sent[SIZE];
        aw__range r[AW__RANGES_MAX];
        int n, count = 1 + rnd(8);
        memset(asked_for, 0, sizeof asked_for);
        memset(sent, 0, sizeof sent);
        for (int i = 0; i < count; i++) {
            size_t at = strlen(field);
            int first = rnd(SIZE), last = first + rnd(i % 2 ? 20 : 200);
            snprintf(field + at, sizeof field - at, "%s%d-%d", i ? "," : "",
                     first, last);
            for (int k = first; k <= last && k < SIZE; k++) asked_for[k] = 1;
        }
        n = aw__ranges_read(aw__slice(field, strlen(field)), SIZE, r);
        NOTE("%.150s", field);
        CHECK(n > 0 && n <= count);
        for (int i = 0; i < n; i++) {
            CHECK(r[i].at >= 0 && r[i].n > 0 && r[i].at + r[i].n <= SIZE);
            CHECK(asked_for[r[i].at] && asked_for[r[i].at + r[i].n - 1]);
            for (int64_t k = r[i].at; k < r[i].at + r[i].n; k++) sent[k]++;
        }
        for (int k = 0, gap = 0; k < SIZE; k++) {
            CHECK(sent[k] <= 1 && sent[k] >= asked_for[k]);
            gap = sent[k] && !asked_for[k] ? gap + 1 : 0;
            CHECK(gap <= AW__RANGE_GAP);
        }
    }
}

TEST(range_of_a_request)
{
    static const aw__validators v = {"\"v1\"", NOON_SECONDS},
        weak = {"W/\"v1\"", 0};
    static const struct {
        const aw__validators *v;
        const char *method, *lines;
        int want;
    } rows[] = {
        {&v, "GET", "Range: bytes=0-1\r\n", 1},
        {&v, "GET", "", 0},
        {&v, "HEAD", "Range: bytes=0-1\r\n", 0},    /* RFC 9110 14.2 */
        {&v, "POST", "Range: bytes=0-1\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n", 0},
        /* 13.1.5 */
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: \"v1\"\r\n", 1},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: \"v0\"\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: W/\"v1\"\r\n", 0},
        {&weak, "GET", "Range: bytes=0-1\r\nIf-Range: W/\"v1\"\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: \"v1\", \"v2\"\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: *\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: \"v1\"\r\n"
            "If-Range: \"v1\"\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: " NOON "\r\n", 1},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: " AFTER "\r\n", 0},
        {&weak, "GET", "Range: bytes=0-1\r\nIf-Range: " NOON "\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: soon\r\n", 0},
        {&v, "GET", "Range: bytes=90-\r\nIf-Range: \"v0\"\r\n", 0},
        {&v, "GET", "Range: bytes=90-\r\nIf-Range: \"v1\"\r\n", AW_HTTP(416)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__range r[AW__RANGES_MAX];
        const asked *a = ask(rows[i].method, rows[i].lines);
        NOTE("row %d: %s %s", (int)i, rows[i].method, rows[i].lines);
        CHECK_EQ(rows[i].want,
                 aw__ranges(a->base, &a->head, rows[i].v, 10, r));
    }
}

TEST(quality_values)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {                                /* RFC 9110 12.4.2 */
        {"0", 0}, {"1", 1000}, {"0.", 0}, {"1.", 1000}, {"0.5", 500},
        {"0.25", 250}, {"0.125", 125}, {"0.001", 1}, {"1.000", 1000},
        {"1.001", -1}, {"0.1234", -1}, {"2", -1}, {"", -1}, {"-1", -1},
        {".5", -1}, {"0,5", -1}, {"0.x", -1}, {"1.0000", -1}, {"00", -1},
        {"0.5 ", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_slice s = exact(rows[i].text);
        NOTE("\"%s\"", rows[i].text);
        CHECK_EQ(rows[i].want, aw__qvalue(s.p, s.p + s.n));
        exact_free(s);
    }
}

TEST(accepted_codings)
{
    static const struct {
        const char *lines;
        int gzip, br, identity;
    } rows[] = {                                /* RFC 9110 12.5.3 */
        {"", 0, 0, 0},
        {"Accept-Encoding: gzip\r\n", 1000, 0, 0},
        {"Accept-Encoding: gzip, deflate, br\r\n", 1000, 1000, 0},
        {"Accept-Encoding: \r\n", 0, 0, 0},
        {"Accept-Encoding: *\r\n", 1000, 1000, 1000},
        {"Accept-Encoding: *;q=0\r\n", 0, 0, 0},
        {"Accept-Encoding: compress;q=0.5, gzip;q=1.0\r\n", 1000, 0, 0},
        {"Accept-Encoding: gzip;q=1.0, identity; q=0.5, *;q=0\r\n", 1000, 0,
         500},
        {"Accept-Encoding: *;q=0.3, br;q=0\r\n", 300, 0, 300},
        {"Accept-Encoding: GZIP ; Q=0.7 , BR\t;\tq=0.8\r\n", 700, 800, 0},
        {"Accept-Encoding: gzip;q=2, br;x=1, identity;q=\r\n", 0, 0, 0},
        {"Accept-Encoding: gzipped, xbr\r\n", 0, 0, 0},
        {"Accept-Encoding: br;q=0.1\r\nAccept-Encoding: gzip\r\n", 1000, 100,
         0},
        {"Accept-Encoding: gzip;q=0.2, gzip\r\n", 200, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const asked *a = ask("GET", rows[i].lines);
        NOTE("row %d: %s", (int)i, rows[i].lines);
        CHECK_EQ(rows[i].gzip, aw__coding_weight(a->base, &a->head, "gzip"));
        CHECK_EQ(rows[i].br, aw__coding_weight(a->base, &a->head, "br"));
        CHECK_EQ(rows[i].identity,
                 aw__coding_weight(a->base, &a->head, "identity"));
    }
}

TEST(media_types)
{
    const size_t count = sizeof aw__types / sizeof *aw__types;
    char name[40];
    for (size_t i = 0; i < count; i++) {
        NOTE("%s", aw__types[i].extension);
        if (i) CHECK(strcmp(aw__types[i - 1].extension,
                            aw__types[i].extension) < 0);
        snprintf(name, sizeof name, "a.b.%s", aw__types[i].extension);
        CHECK_STR(aw__types[i].type, aw__type_of(name));
        if (strncmp(aw__types[i].type, "text/", 5) == 0)
            CHECK(strstr(aw__types[i].type, "; charset=utf-8") != NULL);
    }
    NOTE("%s", "");
    CHECK_STR("image/jpeg", aw__type_of("IMG_1.JPG"));
    CHECK_STR("application/octet-stream", aw__type_of("README"));
    CHECK_STR("application/octet-stream", aw__type_of("a.zzz"));
    CHECK_STR("application/octet-stream", aw__type_of("a."));
    CHECK_STR("application/octet-stream", aw__type_of("a.ht"));
    CHECK_STR("application/octet-stream", aw__type_of("a.htmlx"));
    CHECK_STR("application/octet-stream", aw__type_of(""));
    CHECK_STR("application/gzip", aw__type_of("a.tar.gz"));
}

TEST(download_names)
{
    static const struct {
        const char *name, *want;
    } rows[] = {                                /* RFC 6266, RFC 8187 */
        {"a b.txt", "attachment; filename=\"a b.txt\""},
        {"", "attachment; filename=\"\""},
        {"na\xc3\xafve.txt", "attachment; filename=\"na_ve.txt\"; "
            "filename*=UTF-8''na%C3%AFve.txt"},
        {"\xe2\x82\xac rates", "attachment; filename=\"_ rates\"; "
            "filename*=UTF-8''%E2%82%AC%20rates"},
        {"a\"b\\c", "attachment; filename=\"a_b_c\"; "
            "filename*=UTF-8''a%22b_c"},
        {"50%25", "attachment; filename=\"50_25\"; "
            "filename*=UTF-8''50%2525"},
        {"../../x", "attachment; filename=\".._.._x\"; "
            "filename*=UTF-8''.._.._x"},
        {"a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\"; "
            "filename*=UTF-8''a__Set-Cookie%3A%20x"},
        {"\xff.txt", "attachment; filename=\"_.txt\""},     /* no UTF-8 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__buf b;
        memset(&b, 0, sizeof b);
        aw__put_disposition(&b, rows[i].name);
        NOTE("row %d", (int)i);
        CHECK_STR(rows[i].want, b.p);
        CHECK(!b.failed && b.n == strlen(b.p) + 1 && aw__is_value(b.p));
        aw__buf_free(&b);
    }
}

/* ---- conditional answers of views ---- */

static int built;               /* answers that were made in full */

VIEW(article)
{
    int rc = aw_conditional(req, aw_query(req, "tag"),
                            aw_query_int(req, "date", 0));
    if (rc) return rc;
    built++;
    return aw_text(req, "article");
}

VIEW(download)
{
    int rc = aw_attachment(req, aw_query(req, "name"));
    return rc < 0 ? rc : aw_text(req, "x");
}

ROUTES(views, ANY("/article", article), GET("/download", download))

/* "304 "v1"": the status, and the value of a field. */
static const char *said_of(const aw_response *r, const char *field)
{
    static char text[300];
    const char *value = aw_response_header(r, field);
    snprintf(text, sizeof text, "%d %s", r->status,
             value ? value : "-");
    return text;
}

static const aw_response *fetch_with(aw_test *t, const char *method,
                                     const char *target, const char *name,
                                     const char *value)
{
    aw_header_field fields[2];
    aw_test_request q;
    memset(fields, 0, sizeof fields);
    memset(&q, 0, sizeof q);
    fields[0].name = name;
    fields[0].value = value;
    q.method = method;
    q.target = target;
    if (name) q.headers = fields;
    return aw_test_send(t, q);
}

TEST(conditional_views)
{
    aw_test *t = app_with(views, NULL);
    const aw_response *r;
    r = fetch_with(t, "GET", "/article?tag=v1&date=784123200", NULL, NULL);
    CHECK_STR("200 \"v1\"", said_of(r, "ETag"));
    CHECK_STR("200 " NOON, said_of(r, "Last-Modified"));
    built = 0;
    r = fetch_with(t, "GET", "/article?tag=v1", "If-None-Match", "\"v1\"");
    CHECK_STR("304 \"v1\"", said_of(r, "ETag"));
    CHECK_STR("304 -", said_of(r, "Content-Length"));
    CHECK_STR("304 -", said_of(r, "Content-Type"));
    r = fetch_with(t, "PUT", "/article?tag=v1", "If-Match", "\"v0\"");
    CHECK_STR("412 -", said_of(r, "ETag"));
    CHECK_EQ(0, built);
    r = fetch_with(t, "PUT", "/article?tag=v1", "If-Match", "\"v1\"");
    CHECK_STR("200 -", said_of(r, "ETag"));
    CHECK_EQ(1, built);
    r = fetch_with(t, "GET", "/article?tag=W/%22v1%22", NULL, NULL);
    CHECK_STR("200 W/\"v1\"", said_of(r, "ETag"));
    r = fetch_with(t, "GET", "/article?tag=W/v1", NULL, NULL);
    CHECK_STR("200 \"W/v1\"", said_of(r, "ETag"));
    r = fetch_with(t, "GET", "/article", "If-None-Match", "\"v1\"");
    CHECK_STR("200 -", said_of(r, "ETag"));
    r = fetch_with(t, "GET", "/article?tag=a%20b", NULL, NULL);
    CHECK_STR("500 -", said_of(r, "ETag"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(attachments)
{
    aw_test *t = app_with(views, NULL);
    const aw_response *r = aw_test_get(t, "/download?name=a%0D%0Ab");
    CHECK_STR("200 attachment; filename=\"a__b\"; filename*=UTF-8''a__b",
              said_of(r, "Content-Disposition"));
    CHECK_STR("500 -", said_of(aw_test_get(t, "/download"), "ETag"));
    CHECK_EQ(0, aw_test_close(t));
}
