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
typedef struct asked_head {
    char base[2048 + AW__HEAD_SLACK];
    aw__field fields[40];
    aw__head head;
} asked_head;

static const asked_head *asked_with(const char *method, const char *lines)
{
    static asked_head a;
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
#define EARLIER "Sun, 06 Nov 1994 11:59:59 GMT"
#define LATER "Sun, 06 Nov 1994 12:00:01 GMT"
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
        {&both, "PUT", "If-Unmodified-Since: " EARLIER "\r\n", 412},
        {&both, "PUT", "If-Unmodified-Since: " NOON "\r\n", 0},
        {&both, "GET", "If-Unmodified-Since: " EARLIER "\r\n", 412},
        {&both, "PUT", "If-Match: \"v1\"\r\nIf-Unmodified-Since: " EARLIER
            "\r\n", 0},
        {&both, "PUT", "If-Unmodified-Since: yesterday\r\n", 0}, /* 13.1.4 */
        {&tag, "PUT", "If-Unmodified-Since: " EARLIER "\r\n", 0},
        {&both, "PUT", "If-Unmodified-Since: " EARLIER "\r\n"
            "If-Unmodified-Since: " EARLIER "\r\n", 0},
        /* step 3: If-None-Match, weak; 304 for GET and HEAD only */
        {&both, "GET", "If-None-Match: W/\"v1\"\r\n", 304},
        {&weak, "HEAD", "If-None-Match: \"v1\"\r\n", 304},
        {&both, "PUT", "If-None-Match: \"v1\"\r\n", 412},
        {&both, "PUT", "If-None-Match: *\r\n", 412},
        {&none, "GET", "If-None-Match: *\r\n", 304},
        {&both, "GET", "If-None-Match: \"v0\"\r\n", 0},
        {&both, "GET", "If-None-Match: v1\r\n", 0},
        {&both, "DELETE", "If-None-Match: v1\r\n", 412},
        {&both, "PUT", "If-None-Match: x\r\nIf-None-Match: \"v0\"\r\n", 412},
        {&both, "GET", "If-None-Match: \"v0\"\r\nIf-None-Match: \"v1\"\r\n",
            304},
        {&both, "GET", "If-Match: \"v1\"\r\nIf-None-Match: \"v1\"\r\n", 304},
        {&both, "GET", "If-Match: \"v0\"\r\nIf-None-Match: \"v1\"\r\n", 412},
        /* step 4: If-Modified-Since, GET and HEAD, without If-None-Match */
        {&both, "GET", "If-Modified-Since: " NOON "\r\n", 304},
        {&both, "HEAD", "If-Modified-Since: " LATER "\r\n", 304},
        {&both, "GET", "If-Modified-Since: " EARLIER "\r\n", 0},
        {&both, "POST", "If-Modified-Since: " NOON "\r\n", 0},
        {&both, "GET", "If-None-Match: \"v0\"\r\nIf-Modified-Since: " NOON
            "\r\n", 0},
        {&both, "GET", "If-None-Match: v1\r\nIf-Modified-Since: " NOON "\r\n",
            0},
        {&tag, "GET", "If-Modified-Since: " LATER "\r\n", 0},
        {&both, "GET", "If-Modified-Since: 1994-11-06\r\n", 0},
        {&both, "GET", "If-Modified-Since: Sunday, 06-Nov-94 12:00:00 GMT\r\n",
            304},
        {&both, "GET", "If-Unmodified-Since: " NOON "\r\nIf-Modified-Since: "
            NOON "\r\n", 304},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const asked_head *a = asked_with(rows[i].method, rows[i].lines);
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
        {"bytes=5-4", 10, ""}, {"bytes=5-3", 10, ""},
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

/* Against a bitmap: what was asked for is sent, and of the rest only gaps
   that are no longer than the head of a part. */
TEST(range_random)
{
    enum { SIZE = 1500 };
    for (long round = 0; round < test_rounds(20000); round++) {
        char field[600] = "bytes=", asked_for[SIZE], sent[SIZE];
        aw__range r[AW__RANGES_MAX];
        int n, count = 1 + (int)rnd(8);
        memset(asked_for, 0, sizeof asked_for);
        memset(sent, 0, sizeof sent);
        for (int i = 0; i < count; i++) {
            size_t at = strlen(field);
            int first = (int)rnd(SIZE);
            int last = first + (int)rnd(i % 2 ? 20 : 200);
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
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: " LATER "\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: " EARLIER "\r\n", 0},
        {&weak, "GET", "Range: bytes=0-1\r\nIf-Range: " NOON "\r\n", 0},
        {&v, "GET", "Range: bytes=0-1\r\nIf-Range: soon\r\n", 0},
        {&v, "GET", "Range: bytes=90-\r\nIf-Range: \"v0\"\r\n", 0},
        {&v, "GET", "Range: bytes=90-\r\nIf-Range: \"v1\"\r\n", AW_HTTP(416)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__range r[AW__RANGES_MAX];
        const asked_head *a = asked_with(rows[i].method, rows[i].lines);
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
        const asked_head *a = asked_with("GET", rows[i].lines);
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

/* It fails when it has said what it was going to answer. */
VIEW(fails_late)
{
    (void)aw_attachment(req, "a.csv");
    (void)aw_set_header(req, "Content-Range", "bytes 0-1/2");
    (void)aw_conditional(req, "v1", 784123200);
    return (int)aw_query_int(req, "rc", 0);
}

VIEW(page_of_ours) { return aw_text(req, "own"); }

ROUTES(pages, GET("/late", fails_late), ON_ERROR(404, page_of_ours))
ROUTES(views, ANY("/article", article), GET("/download", download),
    GET("/late", fails_late), MOUNT("/own", pages))

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

/* A page is no version of what was asked for, nor is it to be saved. */
TEST(pages_of_views_that_fail_late)
{
    static const char *const fields[] = {"ETag", "Last-Modified",
                                         "Content-Disposition",
                                         "Content-Range"};
    static const struct { const char *target; int status, kept; } rows[] = {
        {"/late?rc=404", 404, 0}, {"/late?rc=500", 500, 0},
        {"/own/late?rc=404", 404, 0}, {"/late?rc=-1", 500, 0},
        {"/late?rc=416", 416, 8},       /* RFC 9110 15.5.17 */
        {"/late?rc=304", 304, 15},      /* RFC 9110 15.4.5 */
        {"/late?rc=204", 204, 15},      /* of what was stored, 9.3.4 */
    };
    aw_test *t = app_with(views, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const aw_response *r = aw_test_get(t, rows[i].target);
        int kept = 0;
        for (int k = 0; k < 4; k++)
            if (aw_response_header(r, fields[k])) kept |= 1 << k;
        NOTE("%s", rows[i].target);
        CHECK_EQ(rows[i].status, r->status);
        CHECK_EQ(rows[i].kept, kept);
    }
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

/* ---- files on the wire ---- */

enum { BIG = 300000 };          /* not a multiple of anything */

static char tree[80];           /* a directory of the test's own */
static char big_bytes[BIG + 1];

static char *in_tree(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return path;
}

/* Changed so many seconds ago: -1 is in the future. */
static void put_aged(const char *name, const void *p, size_t n, int age)
{
    struct timespec times[2];
    int fd = open(in_tree(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    memset(times, 0, sizeof times);
    times[0].tv_sec = times[1].tv_sec = time(NULL) - age;
    CHECK_EQ(0, futimens(fd, times));
    close(fd);
}

static void put(const char *name, const char *text)
{
    put_aged(name, text, strlen(text), 1000);
}

static void fill_big(void)
{
    for (int i = 0; i < BIG; i++)
        big_bytes[i] = (char)('a' + (i * 7 + i / 251) % 26);
}

static void tree_open(void)
{
    (void)mkdir("build", 0700);
    strcpy(tree, "build/files.XXXXXX");
    if (!mkdtemp(tree)) abort();
    CHECK_EQ(0, mkdir(in_tree("www"), 0700));
    CHECK_EQ(0, mkdir(in_tree("www/docs"), 0700));
    CHECK_EQ(0, mkdir(in_tree("www/empty"), 0700));
    put("secret.txt", "SECRET");
    put("www/hello.txt", "hello");
    put("www/index.html", "the index");
    put("www/docs/index.html", "the docs");
    put("www/docs/a b%.txt", "odd");
    put("www/.hidden", "SECRET");
    put("www/none", "");
    fill_big();
    put_aged("www/big.bin", big_bytes, BIG, 1100);
}

static void tree_close(void)
{
    char command[120];
    snprintf(command, sizeof command, "rm -rf '%s'", tree);
    CHECK(strncmp(tree, "build/files.", 12) == 0 && system(command) == 0);
}

VIEW(send)
{
    int status = (int)aw_query_int(req, "status", 0);
    const char *type = aw_query(req, "type");
    if (status) aw_status(req, status);
    if (type) aw_set_header(req, "Content-Type", type);
    if (aw_query(req, "text")) aw_text(req, "an answer before");
    return aw_send_file(req, in_tree(aw_query(req, "name")));
}

VIEW(send_in)
{
    return aw_send_file_in(req, in_tree("www"), aw_query(req, "name"));
}

VIEW(instead)
{
    (void)aw_send_file(req, in_tree("www/big.bin"));
    return aw_text(req, "instead");
}

VIEW(after_all)
{
    (void)aw_send_file(req, in_tree("www/big.bin"));
    return 404;
}

VIEW(own_index) { return aw_text(req, "own"); }

static aw_route site[] = {
    STATIC("/s/", NULL, .max_age = 3600),
    STATIC("/shown", NULL, .max_age = AW_OFF, .dot_files = true),
    STATIC("/", NULL),
    GET("/", own_index),
    ANY("/send", send),
    GET("/in", send_in),
    GET("/instead", instead),
    GET("/after", after_all),
    AW__ROUTE_END
};

/* How many descriptors this process has. */
static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 200; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int descriptors_before;

static aw_test *site_open(void)
{
    static aw_config config;
    static char www[100];
    aw_test *t;
    tree_open();
    strcpy(www, in_tree("www"));
    for (int i = 0; i < 3; i++) site[i].dir = www;
    descriptors_before = descriptors();
    config = quiet_config();
    t = app_with(site, &config);
    CHECK(t != NULL);
    return t;
}

static void site_close(aw_test *t)
{
    CHECK_EQ(0, aw_test_close(t));
    CHECK_EQ(descriptors_before, descriptors());
    tree_close();
}

/* "200 hello": the status and the body. */
static const char *page(aw_test *t, const char *target)
{
    static char text[400];
    const aw_response *r = aw_test_get(t, target);
    snprintf(text, sizeof text, "%d %.300s", r->status,
             r->status == 200 ? r->body : "");
    return text;
}

TEST(files_as_routes)
{
    aw_test *t = site_open();
    const aw_response *r = aw_test_get(t, "/s/hello.txt");
    CHECK_STR("200 text/plain; charset=utf-8", said_of(r, "Content-Type"));
    CHECK_STR("200 5", said_of(r, "Content-Length"));
    CHECK_STR("200 bytes", said_of(r, "Accept-Ranges"));
    CHECK_STR("200 nosniff", said_of(r, "X-Content-Type-Options"));
    CHECK_STR("200 max-age=3600", said_of(r, "Cache-Control"));
    CHECK_STR("200 Accept-Encoding", said_of(r, "Vary"));
    CHECK_STR("200 -", said_of(r, "Content-Encoding"));
    CHECK(aw_response_header(r, "ETag") != NULL);
    CHECK(aw_response_header(r, "Last-Modified") != NULL);
    CHECK_STR("hello", r->body);
    CHECK_STR("200 hello", page(t, "/hello.txt"));
    CHECK_STR("200 no-cache", said_of(aw_test_get(t, "/hello.txt"),
                                      "Cache-Control"));
    CHECK_STR("200 -", said_of(aw_test_get(t, "/shown/hello.txt"),
                               "Cache-Control"));
    CHECK_STR("200 ", page(t, "/none"));
    CHECK_STR("200 odd", page(t, "/s/docs/a%20b%25.txt"));
    CHECK_STR("404 ", page(t, "/s/nothing"));
    CHECK_STR("404 ", page(t, "/s/hello.txt/"));
    CHECK_STR("404 ", page(t, "/s/hello.txt/x"));
    /* directories */
    CHECK_STR("200 the index", page(t, "/s/"));
    CHECK_STR("200 own", page(t, "/"));
    CHECK_STR("200 the docs", page(t, "/s/docs/"));
    CHECK_STR("404 ", page(t, "/s/empty/"));
    r = fetch_with(t, "GET", "/s/docs?a=b", NULL, NULL);
    CHECK_STR("308 /s/docs/?a=b", said_of(r, "Location"));
    /* methods */
    r = fetch_with(t, "HEAD", "/s/big.bin", NULL, NULL);
    CHECK_STR("200 300000", said_of(r, "Content-Length"));
    r = fetch_with(t, "HEAD", "/s/hello.txt", NULL, NULL);
    CHECK_STR("200 5", said_of(r, "Content-Length"));
    r = fetch_with(t, "POST", "/s/hello.txt", NULL, NULL);
    CHECK_STR("405 GET, HEAD, OPTIONS", said_of(r, "Allow"));
    site_close(t);
}

TEST(files_on_condition)
{
    aw_test *t = site_open();
    const aw_response *r = aw_test_get(t, "/s/hello.txt");
    char tag[40], date[40];
    strcpy(tag, aw_response_header(r, "ETag"));
    strcpy(date, aw_response_header(r, "Last-Modified"));
    CHECK(tag[0] == '"');
    r = fetch_with(t, "GET", "/s/hello.txt", "If-None-Match", tag);
    CHECK_STR("304 -", said_of(r, "Content-Length"));
    CHECK_STR("304 max-age=3600", said_of(r, "Cache-Control"));
    CHECK_STR("304 Accept-Encoding", said_of(r, "Vary"));
    CHECK(strcmp(aw_response_header(r, "ETag"), tag) == 0);
    CHECK_STR("304 -", said_of(r, "Accept-Ranges"));
    r = fetch_with(t, "GET", "/s/big.bin", "If-Modified-Since", date);
    CHECK_EQ(304, r->status);
    r = fetch_with(t, "GET", "/s/big.bin", "If-Match", "\"no\"");
    CHECK_STR("412 -", said_of(r, "Cache-Control"));
    /* a version with other bytes, another time or another inode */
    put_aged("www/hello.txt", "HELLO", 5, 999);
    r = fetch_with(t, "GET", "/s/hello.txt", "If-None-Match", tag);
    CHECK_EQ(200, r->status);
    put_aged("www/other", "OTHER", 5, 999);
    strcpy(tag, aw_response_header(r, "ETag"));
    {
        char from[200];
        strcpy(from, in_tree("www/other"));
        CHECK_EQ(0, rename(from, in_tree("www/hello.txt")));
    }
    r = fetch_with(t, "GET", "/s/hello.txt", "If-None-Match", tag);
    CHECK_EQ(200, r->status);
    /* RFC 9110 8.8.1: it may change once more within the clock's tick */
    put_aged("www/hello.txt", "hello", 5, 0);
    r = aw_test_get(t, "/s/hello.txt");
    CHECK_STR("200 -", said_of(r, "ETag"));
    CHECK_STR("200 -", said_of(r, "Last-Modified"));
    /* 8.8.2.1: never in the future */
    put_aged("www/hello.txt", "hello", 5, -100);
    r = aw_test_get(t, "/s/hello.txt");
    CHECK_STR("200 -", said_of(r, "Last-Modified"));
    CHECK(aw_response_header(r, "ETag") != NULL);
    site_close(t);
}

TEST(files_in_ranges)
{
    aw_test *t = site_open();
    const aw_response *r;
    r = fetch_with(t, "GET", "/s/hello.txt", "Range", "bytes=1-2");
    CHECK_STR("206 bytes 1-2/5", said_of(r, "Content-Range"));
    CHECK_STR("206 2", said_of(r, "Content-Length"));
    CHECK_STR("el", r->body);
    r = fetch_with(t, "GET", "/s/big.bin", "Range", "bytes=-100000");
    CHECK_STR("206 bytes 200000-299999/300000", said_of(r, "Content-Range"));
    CHECK_EQ(100000, r->body_len);
    CHECK(memcmp(r->body, big_bytes + 200000, 100000) == 0);
    r = fetch_with(t, "GET", "/s/hello.txt", "Range", "bytes=5-");
    CHECK_STR("416 bytes */5", said_of(r, "Content-Range"));
    CHECK_STR("416 text/html; charset=utf-8", said_of(r, "Content-Type"));
    r = fetch_with(t, "HEAD", "/s/hello.txt", "Range", "bytes=1-2");
    CHECK_STR("200 5", said_of(r, "Content-Length"));
    r = fetch_with(t, "GET", "/s/hello.txt", "Range", "bytes=2-1");
    CHECK_STR("200 -", said_of(r, "Content-Range"));
    r = fetch_with(t, "GET", "/s/none", "Range", "bytes=0-");
    CHECK_STR("416 bytes */0", said_of(r, "Content-Range"));
    site_close(t);
}

/* Takes a multipart/byteranges body apart: "5-9 20-29", having compared the
   bytes. Anything unexpected ends it with "!". */
static const char *take_apart(const aw_response *r, const char *type,
                              const char *bytes, long size)
{
    static char text[2000];
    const char *head = aw_response_header(r, "Content-Type"), *p = r->body;
    const char *mark = head ? strstr(head, "boundary=") : NULL;
    char open[80], want[200];
    size_t at = 0;
    text[0] = 0;
    if (!mark || strncmp(head, "multipart/byteranges; ", 22) != 0) return "!";
    if (aw_response_header(r, "Content-Range")) return "!";
    snprintf(open, sizeof open, "--%s", mark + 9);
    for (;; p += 2) {
        long first, last, all;
        if (strncmp(p, open, strlen(open)) != 0) return "!mark";
        p += strlen(open);
        if (strcmp(p, "--\r\n") == 0) break;
        snprintf(want, sizeof want, "\r\nContent-Type: %s\r\nContent-Range: "
                 "bytes ", type);
        if (strncmp(p, want, strlen(want)) != 0) return "!head";
        p += strlen(want);
        if (sscanf(p, "%ld-%ld/%ld", &first, &last, &all) != 3) return "!";
        p = strstr(p, "\r\n\r\n");
        if (!p || all != size || first < 0 || last < first || last >= size)
            return "!range";
        p += 4;
        if (memcmp(p, bytes + first, (size_t)(last - first + 1)) != 0)
            return "!bytes";
        p += last - first + 1;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%ld-%ld",
                               at ? " " : "", first, last);
        if (strncmp(p, "\r\n", 2) != 0) return "!end";
    }
    if (p + 4 != r->body + r->body_len) return "!length";
    return text;
}

TEST(files_in_many_ranges)
{
    aw_test *t = site_open();
    const aw_response *r;
    const char *type = "application/octet-stream";
    r = fetch_with(t, "GET", "/s/big.bin", "Range",
                   "bytes=299999-,0-0, 1000-99999");
    CHECK_STR("299999-299999 0-0 1000-99999",
              take_apart(r, type, big_bytes, BIG));
    /* 15.3.7.2: what is one after uniting is no multipart */
    r = fetch_with(t, "GET", "/s/big.bin", "Range", "bytes=0-9,5-20,300000-");
    CHECK_STR("206 bytes 0-20/300000", said_of(r, "Content-Range"));
    /* each part has the type that the view gave */
    r = fetch_with(t, "GET", "/send?name=www/big.bin&type=x/y", "Range",
                   "bytes=0-0,200-200");
    CHECK_STR("0-0 200-200", take_apart(r, "x/y", big_bytes, BIG));
    for (long round = 0; round < test_rounds(200); round++) {
        char field[300] = "bytes=";
        int count = 1 + (int)rnd(6);
        for (int i = 0; i < count; i++) {
            size_t n = strlen(field);
            int first = (int)rnd(BIG);
            int last = first + (int)rnd(i % 2 ? 50 : 100000);
            snprintf(field + n, sizeof field - n, "%s%d-%d", i ? "," : "",
                     first, last);
        }
        NOTE("%.150s", field);
        r = fetch_with(t, "GET", "/s/big.bin", "Range", field);
        CHECK_EQ(206, r->status);
        if (!aw_response_header(r, "Content-Range"))
            CHECK(take_apart(r, type, big_bytes, BIG)[0] != '!');
    }
    site_close(t);
}

/* ---- nothing outside is reached ---- */

static const char *const outside[] = {
    "/s/../secret.txt", "/s/../../secret.txt", "/s/%2e%2e/secret.txt",
    "/s/..%2fsecret.txt", "/s/..%2Fsecret.txt", "/s/%2e%2e%2fsecret.txt",
    "/s/docs/../../secret.txt", "/s/docs/%2e%2e/%2e%2e/secret.txt",
    "/s/docs%2f..%2f..%2fsecret.txt", "/s/.%2e/secret.txt",
    "/s//etc/passwd", "/s/%2fetc/passwd", "/s/%2Fetc%2Fpasswd", "//etc/passwd",
    "/s/hello.txt%00.html", "/s/%00", "/s/..%00/secret.txt",
    "/s/..%5csecret.txt", "/s/..\\secret.txt", "/s/%5c..%5csecret.txt",
    "/s/docs//index.html", "/s/docs%2findex.html", "/s/./hello.txt%2f",
    "/s/%252e%252e/secret.txt", "/s/..%252fsecret.txt",
    "/s/%c0%ae%c0%ae/secret.txt", "/s/%c0%af..%c0%afsecret.txt",
    "/s/...", "/s/.hidden", "/s/%2ehidden", "/s/docs/../.hidden",
    "/s/link.txt", "/s/linkdir/secret.txt", "/s/linkdir/www/hello.txt",
    "/s/inside.txt", "/s/insidedir/index.html", "/s/loop", "/s/dangling",
    "/s/fifo", "/s/socket", "/s/insidedir/", "/s/linkdir/",
    "/shown/../secret.txt", "/shown/..%2fsecret.txt", "/shown/link.txt",
    "/shown/%2e%2e/secret.txt",
    "/in?name=../secret.txt", "/in?name=/etc/passwd", "/in?name=",
    "/in?name=docs/../hello.txt", "/in?name=./hello.txt", "/in?name=docs",
    "/in?name=docs//index.html", "/in?name=link.txt", "/in?name=.hidden",
    "/in?name=linkdir/secret.txt", "/in?name=docs/", "/in?name=fifo",
    "/in?name=hello.txt/", "/in?name=docs%2F..%2F..%2Fsecret.txt",
    "/send?name=www", "/send?name=www/fifo", "/send?name=nothing",
    "/send?name=www/dangling",
};

TEST(names_below)
{
    static const struct {
        const char *name;
        bool plain, dots;
    } rows[] = {
        {"a", true, true}, {"a/b.c/d", true, true}, {"a..b", true, true},
        {"", false, false}, {"/a", false, false}, {"a/", false, false},
        {"a//b", false, false}, {"/", false, false},
        {".", false, false}, {"..", false, false}, {"a/..", false, false},
        {"../a", false, false}, {"a/./b", false, false},
        {"...", false, true}, {"..a", false, true}, {".a", false, true},
        {"a/.b", false, true}, {".a/b", false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s", rows[i].name);
        CHECK_EQ(rows[i].plain, aw__file_name_fits(rows[i].name, false));
        CHECK_EQ(rows[i].dots, aw__file_name_fits(rows[i].name, true));
    }
}

static void link_to(const char *target, const char *name)
{
    CHECK_EQ(0, symlink(target, in_tree(name)));
}

static void socket_at(const char *name)
{
    struct { sa_family_t family; char path[100]; } a;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.family = AF_UNIX;
    snprintf(a.path, sizeof a.path, "%s", in_tree(name));
    (void)bind(fd, (struct sockaddr *)(void *)&a, sizeof a);
    close(fd);
}

static void none_is_found(aw_test *t)
{
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        const aw_response *r = aw_test_get(t, outside[i]);
        NOTE("%s", outside[i]);
        CHECK(r->status == 404 || r->status == 400);
        CHECK(!r->body || (!strstr(r->body, "SECRET") &&
                           !strstr(r->body, "root:")));
    }
    NOTE("%s", "");
}

TEST(nothing_outside)
{
    aw_test *t = site_open();
    link_to("../secret.txt", "www/link.txt");
    link_to("..", "www/linkdir");
    link_to("hello.txt", "www/inside.txt");
    link_to("docs", "www/insidedir");
    link_to("loop", "www/loop");
    link_to("nowhere", "www/dangling");
    CHECK_EQ(0, mkfifo(in_tree("www/fifo"), 0600));
    socket_at("www/socket");
    none_is_found(t);
    fault_set("openat2", 1, ENOSYS);        /* an old kernel: part by part */
    none_is_found(t);
    CHECK_STR("200 hello", page(t, "/s/hello.txt"));
    CHECK_STR("200 the docs", page(t, "/s/docs/"));
    CHECK_STR("308 ", page(t, "/s/docs"));
    CHECK(fault_count > 10);
    fault_set("openat2", 1, EPERM);         /* a sandbox */
    CHECK_STR("200 hello", page(t, "/s/hello.txt"));
    fault_set(NULL, 0, 0);
    CHECK_STR("200 SECRET", page(t, "/shown/.hidden"));
    CHECK_STR("200 hello", page(t, "/in?name=hello.txt"));
    CHECK_STR("200 the docs", page(t, "/in?name=docs/index.html"));
    /* a path of the program's own may be anything */
    CHECK_STR("200 SECRET", page(t, "/send?name=www/link.txt"));
    CHECK_STR("200 SECRET", page(t, "/send?name=www/../secret.txt"));
    site_close(t);
}

TEST(names_too_long)
{
    aw_test *t = site_open();
    char target[6000] = "/s/";
    memset(target + 3, 'a', 300);
    CHECK_STR("404 ", page(t, target));
    for (int i = 3; i + 2 < 5000; i += 2) memcpy(target + i, "d/", 3);
    CHECK_STR("404 ", page(t, target));
    fault_set("openat2", 1, ENOSYS);
    CHECK_STR("404 ", page(t, target));
    memset(target, 0, sizeof target);
    memcpy(target, "/s/", 3);
    memset(target + 3, 'a', 300);
    CHECK_STR("404 ", page(t, target));
    fault_set(NULL, 0, 0);
    site_close(t);
}

/* The directory's own name, where no other route has it; mounted. */
TEST(static_below_others)
{
    static aw_route inner[] = {STATIC("/s", NULL), AW__ROUTE_END};
    static const aw_route outer[] = {
        MOUNT("/m/<int:id>", inner), AW__ROUTE_END
    };
    aw_test *t, *all = site_open();
    const aw_response *r;
    inner[0].dir = site[0].dir;
    t = app_with(outer, NULL);
    r = fetch_with(t, "GET", "/m/7/s?a=b", NULL, NULL);
    CHECK_STR("308 /m/7/s/?a=b", said_of(r, "Location"));
    CHECK_STR("200 hello", page(t, "/m/7/s/hello.txt"));
    CHECK_STR("200 the docs", page(t, "/m/7/s/docs/"));
    CHECK_STR("200 the index", page(t, "/m/7/s/"));
    CHECK_STR("404 ", page(t, "/m/7/s/7"));
    CHECK_STR("404 ", page(t, "/m/7/7"));
    CHECK_EQ(0, aw_test_close(t));
    site_close(all);
}

/* What a refused file becomes; and the directory of the route itself. */
TEST(files_refused)
{
    static const struct {
        const char *call;
        int error, status;
    } rows[] = {
        {"openat2", EACCES, 403}, {"openat2", EMFILE, 503},
        {"openat2", ENFILE, 503}, {"openat2", EIO, 500},
        {"openat2", ENOMEM, 503}, {"openat2", ENXIO, 404},
        {"open", EMFILE, 503}, {"open", EIO, 500}, {"open", ENOENT, 500},
        {"fstat", EIO, 500}, {"pread", EIO, 500},
    };
    static const aw_header_field range[] = {{"Range", "bytes=0-1"},
                                            {NULL, NULL}};
    aw_test *t = site_open();
    const aw_response *r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fault_set(rows[i].call, 1, rows[i].error);
        NOTE("%s %s", rows[i].call, strerror(rows[i].error));
        r = ask(t, "GET", "/s/hello.txt", NULL, range);
        CHECK_EQ(rows[i].status, r->status);
        /* no cache may keep it for a year, in place of the file */
        CHECK(!aw_response_header(r, "Cache-Control"));
        CHECK(!aw_response_header(r, "ETag"));
        CHECK(!aw_response_header(r, "Last-Modified"));
        CHECK(!aw_response_header(r, "Content-Range"));
    }
    fault_set(NULL, 0, 0);
    site_close(t);
}

TEST(static_needs_its_directory)
{
    static const aw_route table[] = {
        STATIC("/s", "build/there/is/no/such"), AW__ROUTE_END
    };
    aw_config c = quiet_config();
    CHECK(app_with(table, &c) == NULL);
    CHECK(strstr(said, ": no such file") != NULL);
}

/* ---- answers of views ---- */

TEST(files_of_views)
{
    aw_test *t = site_open();
    const aw_response *r = aw_test_get(t, "/send?name=www/hello.txt");
    CHECK_STR("200 5", said_of(r, "Content-Length"));
    CHECK_STR("200 -", said_of(r, "Cache-Control"));
    CHECK_STR("200 -", said_of(r, "Vary"));
    r = fetch_with(t, "GET", "/send?name=www/hello.txt", "Range", "bytes=0-0");
    CHECK_STR("206 bytes 0-0/5", said_of(r, "Content-Range"));
    r = fetch_with(t, "GET", "/send?name=www/hello.txt&status=200", "Range",
                   "bytes=0-0");
    CHECK_STR("206 bytes 0-0/5", said_of(r, "Content-Range"));
    /* RFC 9110 13.2.1: a page of another status is no representation */
    r = fetch_with(t, "GET", "/send?name=www/hello.txt&status=404", "Range",
                   "bytes=0-0");
    CHECK_STR("404 5", said_of(r, "Content-Length"));
    CHECK_STR("404 -", said_of(r, "ETag"));
    r = fetch_with(t, "GET", "/send?name=www/hello.txt&status=404",
                   "If-None-Match", "*");
    CHECK_EQ(404, r->status);
    CHECK_STR("hello", r->body);
    r = fetch_with(t, "POST", "/send?name=www/hello.txt", "If-Match", "\"x\"");
    CHECK_STR("200 -", said_of(r, "ETag"));
    /* an answer before does not show through */
    r = fetch_with(t, "GET", "/send?name=www/hello.txt&text=", "Range",
                   "bytes=9-");
    CHECK_EQ(416, r->status);
    CHECK(strstr(r->body, "before") == NULL);
    CHECK_STR("200 instead", page(t, "/instead"));
    CHECK_STR("404 ", page(t, "/after"));
    r = aw_test_get(t, "/send?name=www/hello.txt&type=x/y");
    CHECK_STR("200 x/y", said_of(r, "Content-Type"));
    CHECK_STR("500 -", said_of(aw_test_get(t, "/in"), "ETag"));
    site_close(t);
}

/* ---- compressed copies ---- */

static const aw_response *fetch_coded(aw_test *t, const char *target,
                                      const char *accepts)
{
    return fetch_with(t, "GET", target, "Accept-Encoding", accepts);
}

static void coded_as(aw_test *t, const char *accepts, const char *coding,
                     const char *body)
{
    const aw_response *r = fetch_coded(t, "/s/app.js", accepts);
    char want[40];
    NOTE("%s", accepts);
    snprintf(want, sizeof want, "200 %s", coding);
    CHECK_STR(want, said_of(r, "Content-Encoding"));
    CHECK_STR("200 text/javascript; charset=utf-8",
              said_of(r, "Content-Type"));
    CHECK_STR("200 Accept-Encoding", said_of(r, "Vary"));
    CHECK_STR(body, r->body);
}

TEST(compressed_copies)
{
    aw_test *t = site_open();
    const aw_response *r;
    char tag[40];
    put("www/app.js", "plain text");
    put("www/app.js.gz", "GZIP");
    put("www/app.js.br", "BR");
    put("www/pic.png", "png");
    put("www/pic.png.gz", "GZIP");
    coded_as(t, "gzip, br", "br", "BR");
    coded_as(t, "gzip", "gzip", "GZIP");
    coded_as(t, "br;q=0.5, gzip", "gzip", "GZIP");
    coded_as(t, "br;q=0, *", "gzip", "GZIP");
    coded_as(t, "gzip;q=0.5, identity", "-", "plain text");
    coded_as(t, "deflate", "-", "plain text");
    coded_as(t, "", "-", "plain text");
    /* a tag of its own; ranges of what is sent */
    r = fetch_coded(t, "/s/app.js", "gzip");
    strcpy(tag, aw_response_header(r, "ETag"));
    CHECK(strcmp(tag, aw_response_header(aw_test_get(t, "/s/app.js"),
                                         "ETag")) != 0);
    {
        aw_header_field two[] = {{"Accept-Encoding", "gzip"},
                                 {"Range", "bytes=1-2"}, {NULL, NULL}};
        r = aw_test_fetch(t, "/s/app.js", .headers = two);
        CHECK_STR("206 bytes 1-2/4", said_of(r, "Content-Range"));
        CHECK_STR("206 gzip", said_of(r, "Content-Encoding"));
        CHECK_STR("ZI", r->body);
        two[1].name = "If-None-Match";
        two[1].value = tag;
        r = aw_test_fetch(t, "/s/app.js", .headers = two);
        CHECK_STR("304 Accept-Encoding", said_of(r, "Vary"));
        CHECK_STR("304 -", said_of(r, "Content-Encoding"));
    }
    r = fetch_coded(t, "/s/pic.png", "gzip");
    CHECK_STR("200 -", said_of(r, "Vary"));
    CHECK_STR("png", r->body);
    r = fetch_coded(t, "/s/app.js.gz", "gzip");
    CHECK_STR("200 application/gzip", said_of(r, "Content-Type"));
    CHECK_STR("200 -", said_of(r, "Content-Encoding"));
    /* one that was forgotten, one that leads out, one without the file */
    put_aged("www/app.js", "newer text", 10, 500);
    coded_as(t, "gzip, br", "-", "newer text");
    put("www/a.css", "css");
    link_to("../secret.txt", "www/a.css.gz");
    CHECK_STR("css", fetch_coded(t, "/s/a.css", "gzip")->body);
    put("www/b.css.gz", "GZIP");
    CHECK_EQ(404, fetch_coded(t, "/s/b.css", "gzip")->status);
    CHECK_STR("the index", fetch_coded(t, "/s/", "gzip")->body);
    put("www/index.html.gz", "GZINDEX");
    CHECK_STR("GZINDEX", fetch_coded(t, "/s/", "gzip")->body);
    site_close(t);
}

/* ---- large files ---- */

#define BIG_GET "GET /s/big.bin HTTP/1.1\r\nHost: h\r\n\r\n"

static const char *body_of(const wire *w)
{
    const char *end = strstr(w->got, "\r\n\r\n");
    return end ? end + 4 : "";
}

/* The client takes a little at a time; memory for the answer stays flat, and
   what was sent behind the request is answered afterwards. */
TEST(big_file_slowly)
{
    aw_test *t = site_open();
    wire w = wire_open(t);
    aw_loop *l = w.loop;
    const size_t before = l->mem.live;
    const char *ask = BIG_GET "GET /hello.txt HTTP/1.1\r\nHost: h\r\n\r\n";
    size_t most = 0, body;
    (void)aw__io_send(l, w.fd, ask, strlen(ask));
    for (int i = 0; i < 5000 && w.n < BIG + 600u; i++) {
        ptrdiff_t n;
        (void)aw_loop_step(l, 0);
        if (l->mem.live > most) most = l->mem.live;
        if (w.cap - w.n < 70000)
            w.got = (char *)realloc(w.got, w.cap = w.cap * 2 + 140000);
        n = aw__io_recv(l, w.fd, w.got + w.n, 1000);
        if (n > 0) w.n += (size_t)n;
    }
    wire_settle(&w);
    body = (size_t)(body_of(&w) - w.got);
    CHECK(body > 100 && w.n > body + BIG);
    CHECK(memcmp(body_of(&w), big_bytes, BIG) == 0);
    CHECK(strncmp(w.got + body + BIG, "HTTP/1.1 200 OK", 15) == 0);
    CHECK(strstr(w.got + body + BIG, "\r\n\r\nhello") != NULL);
    /* the pipe, the shared buffers, and little more */
    CHECK(most < before + 250000 && most > before);
    wire_close(&w);
    site_close(t);
}

/* A file that shrinks while it is sent: the client sees that it has less than
   it was promised. One that grows: it gets what was promised. */
TEST(big_file_changes)
{
    aw_test *t = site_open();
    wire w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd, BIG_GET, strlen(BIG_GET));
    (void)aw_loop_step(w.loop, 0);
    (void)aw_loop_step(w.loop, 0);
    CHECK_EQ(0, truncate(in_tree("www/big.bin"), BIG - 1));
    wire_settle(&w);
    CHECK(w.ended);
    CHECK(strstr(w.got, "Content-Length: 300000\r\n") != NULL);
    CHECK_EQ(BIG - 1, w.n - (size_t)(body_of(&w) - w.got));
    wire_close(&w);
    put_aged("www/big.bin", big_bytes, BIG, 1000);
    w = wire_open(t);
    (void)aw__io_send(w.loop, w.fd, BIG_GET, strlen(BIG_GET));
    (void)aw_loop_step(w.loop, 0);
    (void)aw_loop_step(w.loop, 0);
    CHECK_EQ(0, truncate(in_tree("www/big.bin"), BIG + 1));
    wire_settle(&w);
    CHECK(!w.ended);
    CHECK(w.n - (size_t)(body_of(&w) - w.got) == BIG);
    wire_close(&w);
    site_close(t);
}

TEST(big_file_client_leaves)
{
    aw_test *t = site_open();
    const int open_now = descriptors();
    for (int how = 0; how < 3; how++) {
        wire w = wire_open(t);
        (void)aw__io_send(w.loop, w.fd, BIG_GET, strlen(BIG_GET));
        (void)aw_loop_step(w.loop, 0);
        (void)aw_loop_step(w.loop, 0);
        NOTE("%d", how);
        CHECK_EQ(open_now + 1, descriptors());
        if (how == 1) aw__io_reset(w.loop, w.fd);
        if (how == 2) {                 /* takes nothing: write_ms */
            int64_t start = aw_test_now_ms(t);
            aw_test_advance(t, 61000);
            CHECK(aw_test_now_ms(t) >= start + 61000);
            wire_take(&w);
            wire_settle(&w);
            CHECK(w.ended);
        }
        if (how != 1) aw__io_close(w.loop, w.fd);
        free(w.got);
        (void)aw_loop_step(w.loop, 0);
        (void)aw_loop_step(w.loop, 0);
        CHECK_EQ(0, aw_test_loop(t)->server->connections);
        CHECK_EQ(open_now, descriptors());
    }
    site_close(t);
}

/* Requests in one write, and pieces of answers in every order. */
TEST(big_files_pipelined)
{
    aw_test *t = site_open();
    wire w = wire_open(t);
    const char *p;
    wire_say(&w, BIG_GET "GET /s/hello.txt HTTP/1.1\r\nHost: h\r\n\r\n"
             "HEAD /s/big.bin HTTP/1.1\r\nHost: h\r\n\r\n" BIG_GET
             "GET /s/big.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
             "Range: bytes=0-19999,200000-\r\n\r\n" BIG_GET);
    p = body_of(&w);
    CHECK(memcmp(p, big_bytes, BIG) == 0);
    p = strstr(p + BIG, "\r\n\r\nhelloHTTP/1.1 200 OK");
    CHECK(p != NULL);
    p = strstr(p + 9, "\r\n\r\nHTTP/1.1 200 OK");
    CHECK(p != NULL);
    p = strstr(p + 4, "\r\n\r\n") + 4;
    CHECK(memcmp(p, big_bytes, BIG) == 0);
    CHECK(strncmp(p + BIG, "HTTP/1.1 206 Partial", 20) == 0);
    CHECK(w.ended && strcmp(w.got + w.n - 4, "--\r\n") == 0);
    wire_close(&w);
    site_close(t);
}

/* ---- files in the program ---- */

static const aw_asset assets[] = {
    {"index.html", "the index", 9, NULL}, {"app.js", "plain", 5, NULL},
    {"app.js.br", "BR", 2, NULL}, {"big", big_bytes, BIG, "x/big"},
    {"docs/index.html", "docs", 4, NULL}, {"none", NULL, 0, NULL},
    {".hidden", "SECRET", 6, NULL}, {NULL, NULL, 0, NULL}
};

static const aw_route asset_site[] = {
    ASSETS("/a", assets, .max_age = 60), AW__ROUTE_END
};

TEST(assets_in_the_program)
{
    aw_test *t;
    const aw_response *r;
    char tag[40];
    fill_big();
    t = app_with(asset_site, NULL);
    CHECK_STR("200 the index", page(t, "/a/"));
    r = aw_test_get(t, "/a?q");
    CHECK_STR("308 /a/?q", said_of(r, "Location"));
    CHECK_STR("200 docs", page(t, "/a/docs/"));
    CHECK_STR("308 /a/docs/", said_of(aw_test_get(t, "/a/docs"), "Location"));
    CHECK_STR("404 ", page(t, "/a/docs/x"));
    CHECK_STR("404 ", page(t, "/a/.hidden"));
    CHECK_STR("404 ", page(t, "/a/docs%2Findex.html"));
    CHECK_STR("200 ", page(t, "/a/none"));
    r = fetch_coded(t, "/a/app.js", "gzip, br");
    CHECK_STR("200 br", said_of(r, "Content-Encoding"));
    CHECK_STR("BR", r->body);
    r = aw_test_get(t, "/a/app.js");
    CHECK_STR("200 max-age=60", said_of(r, "Cache-Control"));
    CHECK_STR("200 nosniff", said_of(r, "X-Content-Type-Options"));
    CHECK_STR("200 -", said_of(r, "Last-Modified"));
    CHECK_STR("plain", r->body);
    strcpy(tag, aw_response_header(r, "ETag"));
    r = fetch_with(t, "GET", "/a/app.js", "If-None-Match", tag);
    CHECK_EQ(304, r->status);
    r = aw_test_get(t, "/a/big");
    CHECK_STR("200 x/big", said_of(r, "Content-Type"));
    CHECK_EQ(BIG, r->body_len);
    CHECK(memcmp(r->body, big_bytes, BIG) == 0);
    r = fetch_with(t, "HEAD", "/a/big", NULL, NULL);
    CHECK_STR("200 300000", said_of(r, "Content-Length"));
    r = fetch_with(t, "GET", "/a/big", "Range", "bytes=5-,0-0,2-3");
    CHECK_STR("206 bytes 0-299999/300000", said_of(r, "Content-Range"));
    r = fetch_with(t, "GET", "/a/big", "Range", "bytes=-1,0-0");
    CHECK_STR("299999-299999 0-0", take_apart(r, "x/big", big_bytes, BIG));
    r = fetch_with(t, "GET", "/a/none", "Range", "bytes=0-");
    CHECK_EQ(416, r->status);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- adversity ---- */

/* Every allocation and every system call of a request fails in turn: an error
   page or the connection's end, and nothing is left behind. */
static void torture(const char *ask, int error)
{
    aw_test *t = site_open();
    const int open_now = descriptors();
    long count = 0, at = 0;
    put("www/app.js", "plain text");
    put("www/app.js.gz", "GZIP");
    do {
        wire w = wire_open(t);
        at++;
        NOTE("%.60s: %ld", ask, at);
        fault_set(NULL, at, error);
        (void)aw__io_send(w.loop, w.fd, ask, strlen(ask));
        wire_settle(&w);
        count = fault_count;
        fault_set(NULL, 0, 0);
        wire_settle(&w);
        CHECK(w.n == 0 || strncmp(w.got, "HTTP/1.1 ", 9) == 0);
        wire_close(&w);
        CHECK_EQ(open_now, descriptors());
        CHECK_STR("200 hello", page(t, "/s/hello.txt"));
    } while (count >= at && at < 500);
    CHECK(at > 5 && at < 500);
    site_close(t);
}

TEST(each_call_for_a_file_fails)
{
    static const char *const asks[] = {
        "GET /s/hello.txt HTTP/1.1\r\nHost: h\r\n\r\n", BIG_GET,
        "GET /s/app.js HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /s/docs HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /s/big.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1,500-600\r\n"
            "\r\n",
        "GET /in?name=hello.txt HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        torture(asks[i], 0);
        torture(asks[i], ENOSYS);       /* another way, then an error */
    }
}

/* ---- the kernel's sockets: sendfile() ---- */

typedef struct real {
    aw_loop *loop;
    int fd;
    char *got;
    size_t n;
} real;

static void real_open(real *r, const char *ask)
{
    aw__sys_address to;
    aw__address at = aw__address_loopback(4, aw_serve_port(r->loop));
    socklen_t n = aw__address_to(&at, &to);
    r->fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(r->fd, &to.any, n) == 0);
    CHECK(send(r->fd, ask, strlen(ask), 0) == (ssize_t)strlen(ask));
    CHECK(fcntl(r->fd, F_SETFL, O_NONBLOCK) == 0);
    r->got = (char *)malloc(2 * BIG);
    r->n = 0;
}

/* Steps until so much has come, or the end. */
static void real_take(real *r, size_t enough)
{
    for (int i = 0; i < 100000 && r->n < enough; i++) {
        ssize_t n;
        (void)aw_loop_step(r->loop, 0);
        n = recv(r->fd, r->got + r->n, 2 * BIG - 1 - r->n, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) break;
        if (n > 0) r->n += (size_t)n;
    }
    r->got[r->n] = 0;
}

static void real_close(real *r)
{
    close(r->fd);
    free(r->got);
    for (int i = 0; i < 3; i++) (void)aw_loop_step(r->loop, 0);
}

static void real_big(aw_loop *l, const char *ask, size_t first, size_t size)
{
    real r;
    const char *body;
    r.loop = l;
    real_open(&r, ask);
    real_take(&r, 100);
    body = strstr(r.got, "\r\n\r\n");
    CHECK(body != NULL);
    if (!body) return;
    body += 4;
    real_take(&r, (size_t)(body - r.got) + size);
    CHECK_EQ(size, r.n - (size_t)(body - r.got));
    CHECK(memcmp(body, big_bytes + first, size) == 0);
    real_close(&r);
}

TEST(sendfile_to_the_kernel)
{
    static const int refusals[] = {EINVAL, ENOSYS, EOPNOTSUPP};
    aw_test *t = site_open();           /* for its directory */
    aw_config c = quiet_config();
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);
    const int open_now = descriptors();
    aw_loop *l = aw_loop_new(NULL);
    real r;
    c.routes = site;
    c.port = AW_ANY_PORT;
    CHECK_EQ(0, aw_serve(l, &c));
    fault_set("sendfile", 100000, EIO);
    real_big(l, BIG_GET, 0, BIG);
    CHECK(fault_count > 0);
    real_big(l, "GET /s/big.bin HTTP/1.1\r\nHost: h\r\n"
             "Range: bytes=1000-200000\r\n\r\n", 1000, 199001);
    /* where it does not go: read and sent */
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        fault_set("sendfile", 1, refusals[i]);
        real_big(l, BIG_GET, 0, BIG);
    }
    /* interrupted, for good: the client is served when it stops */
    fault_set("sendfile", 1, EINTR);
    r.loop = l;
    real_open(&r, BIG_GET);
    for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 0);
    fault_set(NULL, 0, 0);
    real_take(&r, BIG + 100);
    CHECK(r.n > BIG);
    real_close(&r);
    /* an error of the disk: cut off */
    fault_set("sendfile", 1, EIO);
    real_open(&r, BIG_GET);
    real_take(&r, BIG);
    CHECK(r.n < 1000 && strstr(r.got, "Content-Length: 300000") != NULL);
    real_close(&r);
    /* where the signal would kill, the kernel is not asked */
    (void)signal(SIGPIPE, SIG_DFL);
    fault_set("sendfile", 100000, EIO);
    real_big(l, BIG_GET, 0, BIG);
#if defined(__linux__)
    CHECK_EQ(0, fault_count);
#endif
    fault_set(NULL, 0, 0);
    (void)signal(SIGPIPE, old);
    aw_loop_free(l);
    CHECK_EQ(open_now, descriptors());
    site_close(t);
}
