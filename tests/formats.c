/* The HTTP formats: words, heads, chunked, URLs, dates, base64. */
#include "test.h"

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Woverlength-strings"
#endif

static bool in_set(int c, const char *set)
{
    return c && strchr(set, c) != NULL;
}

static bool alnum(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
        (c >= 'a' && c <= 'z');
}

/* ---- words ------------------------------------------------------------- */

TEST(http_class_table)
{
    int c;
    for (c = 0; c < 256; c++) {
        bool path = alnum(c) || in_set(c, "-._~!$&'()*+,;=:@/%[]^|");
        int want = 0;
        if (alnum(c) || in_set(c, "!#$%&'*+-.^_`|~")) want |= AW__C_TOKEN;
        if (c == '\t' || (c >= ' ' && c != 127)) want |= AW__C_VALUE;
        if (path) want |= AW__C_PATH;
        if (path || in_set(c, "?\\`{}")) want |= AW__C_QUERY;
        if (alnum(c) || in_set(c, "-._~")) want |= AW__C_HOST;
        if (in_set(c, "0123456789abcdefABCDEF")) want |= AW__C_HEX;
        if (path && c != '%' && c != '.') want |= AW__C_PLAIN;
        CHECK_EQ(aw__http_class[c], want);
    }
}

/* A skipper may stop early, but never passes a byte outside its class, and
   the common ones it must pass. */
TEST(http_skippers)
{
    char in[64 + AW__HEAD_SLACK];
    int c, at;
    for (c = 0; c < 256; c++) {
        for (at = 0; at < 40; at++) {
            const char *end = in + 40;
            memset(in, 'a', sizeof in);
            in[at] = (char)c;
            if (!aw__http_is((char)c, AW__C_HOST))
                CHECK_EQ((int)aw__http_skip_host(in, end), at);
            if (!aw__http_is((char)c, AW__C_TOKEN))
                CHECK((int)aw__http_skip_name(in, end) <= at);
            if (!aw__http_is((char)c, AW__C_PLAIN))
                CHECK((int)aw__http_skip_path(in, end) <= at);
            if (!aw__http_is((char)c, AW__C_PATH) && c != '?')
                CHECK((int)aw__http_skip_target(in, end) <= at);
            if (!aw__http_is((char)c, AW__C_VALUE) || (c == ' ' && !at))
                CHECK((int)aw__http_skip_value(in, end) <= at);
            memset(in, '5', 16);
            in[at % 16] = (char)c;
            CHECK_EQ(aw__http_skip_digits(in),
                     aw__is_digit((char)c) ? 15 : at % 16);
            memset(in, 'a', sizeof in);
            in[at] = (char)c;
            in[40] = ':';
#if defined(AW__SSE2) || defined(AW__NEON)
            CHECK_EQ((int)aw__http_skip_name(in, end) > at,
                     (alnum(c) && !aw__is_digit((char)c)) || c == '-');
            CHECK_EQ((int)aw__http_skip_host(in, end) > at,
                     alnum(c) || in_set(c, "-."));
            CHECK_EQ((int)aw__http_skip_path(in, end) > at,
                     alnum(c) || in_set(c, "-/"));
            CHECK_EQ((int)aw__http_skip_target(in, end) > at,
                     alnum(c) || in_set(c, "-._$&'()*+,;=:@/%[]?"));
            CHECK_EQ((int)aw__http_skip_value(in, end) > at,
                     c >= ' ' && c < 127 && (c != ' ' || at));
#endif
        }
    }
}

TEST(http_words)
{
    aw_slice list = aw__slice(" , a ,,b\t, c d ,", 16), item;
    CHECK(aw__is_token("x-Y!", 4));
    CHECK(!aw__is_token("", 0));
    CHECK(!aw__is_token("a b", 3));
    CHECK(aw__slice_ieq(aw__slice("ChunKed", 7), "chUNKED"));
    CHECK(!aw__slice_ieq(aw__slice("chunked", 7), "chunke"));
    CHECK(!aw__slice_ieq(aw__slice("chunke", 6), "chunked"));
    CHECK(!aw__slice_ieq(aw__slice("@", 1), "`"));
    CHECK(aw__http_list(&list, &item) && aw__slice_ieq(item, "a"));
    CHECK(aw__http_list(&list, &item) && aw__slice_ieq(item, "b"));
    CHECK(aw__http_list(&list, &item) && aw__slice_ieq(item, "c d"));
    CHECK(!aw__http_list(&list, &item));
}

/* A status that the table does not have, has none. */
TEST(http_reasons)
{
    static const struct { int status; const char *rfc, *reason; } t[] = {
        { 100, "9110 15.2.1", "Continue" },
        { 101, "9110 15.2.2", "Switching Protocols" },
        { 103, "8297 2", "Early Hints" }, { 200, "9110 15.3.1", "OK" },
        { 201, "9110 15.3.2", "Created" }, { 202, "9110 15.3.3", "Accepted" },
        { 203, "9110 15.3.4", "Non-Authoritative Information" },
        { 204, "9110 15.3.5", "No Content" },
        { 205, "9110 15.3.6", "Reset Content" },
        { 206, "9110 15.3.7", "Partial Content" },
        { 300, "9110 15.4.1", "Multiple Choices" },
        { 301, "9110 15.4.2", "Moved Permanently" },
        { 302, "9110 15.4.3", "Found" }, { 303, "9110 15.4.4", "See Other" },
        { 304, "9110 15.4.5", "Not Modified" },
        { 305, "9110 15.4.6", "Use Proxy" },
        { 307, "9110 15.4.8", "Temporary Redirect" },
        { 308, "9110 15.4.9", "Permanent Redirect" },
        { 400, "9110 15.5.1", "Bad Request" },
        { 401, "9110 15.5.2", "Unauthorized" },
        { 402, "9110 15.5.3", "Payment Required" },
        { 403, "9110 15.5.4", "Forbidden" },
        { 404, "9110 15.5.5", "Not Found" },
        { 405, "9110 15.5.6", "Method Not Allowed" },
        { 406, "9110 15.5.7", "Not Acceptable" },
        { 407, "9110 15.5.8", "Proxy Authentication Required" },
        { 408, "9110 15.5.9", "Request Timeout" },
        { 409, "9110 15.5.10", "Conflict" }, { 410, "9110 15.5.11", "Gone" },
        { 411, "9110 15.5.12", "Length Required" },
        { 412, "9110 15.5.13", "Precondition Failed" },
        { 413, "9110 15.5.14", "Content Too Large" },
        { 414, "9110 15.5.15", "URI Too Long" },
        { 415, "9110 15.5.16", "Unsupported Media Type" },
        { 416, "9110 15.5.17", "Range Not Satisfiable" },
        { 417, "9110 15.5.18", "Expectation Failed" },
        { 418, "2324 2.3.2", "I'm a teapot" },
        { 421, "9110 15.5.20", "Misdirected Request" },
        { 422, "9110 15.5.21", "Unprocessable Content" },
        { 425, "8470 5.2", "Too Early" },
        { 426, "9110 15.5.22", "Upgrade Required" },
        { 428, "6585 3", "Precondition Required" },
        { 429, "6585 4", "Too Many Requests" },
        { 431, "6585 5", "Request Header Fields Too Large" },
        { 451, "7725 3", "Unavailable For Legal Reasons" },
        { 500, "9110 15.6.1", "Internal Server Error" },
        { 501, "9110 15.6.2", "Not Implemented" },
        { 502, "9110 15.6.3", "Bad Gateway" },
        { 503, "9110 15.6.4", "Service Unavailable" },
        { 504, "9110 15.6.5", "Gateway Timeout" },
        { 505, "9110 15.6.6", "HTTP Version Not Supported" },
        { 507, "4918 11.5", "Insufficient Storage" },
        { 511, "6585 6", "Network Authentication Required" }
    };
    size_t i = 0;
    int status;
    for (status = -1; status < 1000; status++) {
        bool known = i < sizeof t / sizeof t[0] && t[i].status == status;
        NOTE("%d, %s", status, known ? t[i].rfc : "not in the table");
        CHECK_STR(aw__http_reason(status), known ? t[i].reason : "");
        i += known;
    }
    CHECK_EQ(i, sizeof t / sizeof t[0]);
}

/* ---- heads: the table -------------------------------------------------- */

enum { OK = 0, MORE = 1, MAX_FIELDS = 20 };
static const aw__head_limits limits = { 200, 1000 };

typedef struct row {
    const char *rfc;
    int want;                   /* OK, MORE or a status */
    const char *text;
} row;

#define H "Host: a\r\n"
#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define F5 "a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n"
#define REQ(fields) "GET / HTTP/1.1\r\n" H fields "\r\n"

static const row requests[] = {
    { "9112 2.1", OK, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "9112 2.1", OK, "GET / HTTP/1.1\r\nhost:a\r\n\r\n" },
    { "9112 2.2 one empty line", OK, "\r\nGET / HTTP/1.1\r\n" H "\r\n" },
    { "9112 2.2 two", 400, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n" },
    { "9112 2.2 bare LF", 400, "\nGET / HTTP/1.1\r\n" H "\r\n" },
    { "9112 2.2 bare CR", 400, "\rGET / HTTP/1.1\r\n" H "\r\n" },
    { "9112 2.2 LF as line end", 400, "GET / HTTP/1.1\n" H "\r\n" },
    { "9112 2.2 LF as line end", 400, "GET / HTTP/1.1\r\nHost: a\n\r\n" },
    { "9112 2.2 LF as last line end", 400, "GET / HTTP/1.1\r\n" H "\n" },
    { "9112 2.2 bare CR in value", 400, REQ("x: a\rb\r\n") },
    { "9112 2.2 CR CR LF", 400, REQ("x: a\r\r\n") },
    { "9112 2.2 bare CR ends head", 400, "GET / HTTP/1.1\r\n" H "\r" "x" },
    { "9112 2.2 space before the fields", 400,
      "GET / HTTP/1.1\r\n Host: a\r\n\r\n" },
    { "more", MORE, "" },
    { "more", MORE, "\r" },
    { "more", MORE, "\r\n" },
    { "more", MORE, "G" },
    { "more", MORE, "GET" },
    { "more", MORE, "GET " },
    { "more", MORE, "GET /" },
    { "more", MORE, "GET / HTTP/1.1" },
    { "more", MORE, "GET / HTTP/1.1\r" },
    { "more", MORE, "GET / HTTP/1.1\r\n" },
    { "more", MORE, "GET / HTTP/1.1\r\nHost" },
    { "more", MORE, "GET / HTTP/1.1\r\nHost: a\r" },
    { "more", MORE, "GET / HTTP/1.1\r\n" H },
    { "more", MORE, "GET / HTTP/1.1\r\n" H "\r" },
    /* method */
    { "9110 9.1", OK, "POST / HTTP/1.1\r\n" H "\r\n" },
    { "9110 9.1 case", OK, "get / HTTP/1.1\r\n" H "\r\n" },
    { "9110 9.1 token", OK, "M-SEARCH!#$%&'*+.^_`|~09 / HTTP/1.1\r\n" H "\r\n" },
    { "9110 9.1 32", OK, A10 A10 A10 "aa / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 33", 501, A10 A10 A10 "aaa / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 33 so far", 501, A10 A10 A10 "aaa" },
    { "9112 3.1 empty", 400, " / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.1 not a token", 400, "G@T / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.1 not a token", 400, "GET/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.1 tab", 400, "GET\t/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.1 non-ASCII", 400, "G\xc3\x89T / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.1 TLS ClientHello", 400, "\x16\x03\x01\x02" },
    { "9112 3.1 SSH", 501, "SSH-2.0-OpenSSH_9.2p1-Debian-2+deb12u2" },
    { "9112 3.1 HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
    /* request line */
    { "9112 3 two spaces", 400, "GET  / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 two spaces", 400, "GET /  HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 tab", 400, "GET /\tHTTP/1.1\r\n" H "\r\n" },
    { "9112 3 trailing space", 400, "GET / HTTP/1.1 \r\n" H "\r\n" },
    { "9112 3 HTTP/0.9", 400, "GET /\r\n" },
    { "9112 3 empty target", 400, "GET  HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 space in target", 400, "GET /a b HTTP/1.1\r\n" H "\r\n" },
    /* version */
    { "9112 2.3", OK, "GET / HTTP/1.0\r\n\r\n" },
    { "9112 2.3", 505, "GET / HTTP/1.2\r\n" H "\r\n" },
    { "9112 2.3", 505, "GET / HTTP/2.0\r\n" H "\r\n" },
    { "9112 2.3", 505, "GET / HTTP/0.9\r\n" H "\r\n" },
    { "9112 2.3", 505, "GET / HTTP/3.1\r\n" },
    { "9112 2.3", 400, "GET / HTTP/1.10\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTP/11.1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTP/1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTP/1.\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTP/1,1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTP/+1.1\r\n" H "\r\n" },
    { "9112 2.3 case", 400, "GET / http/1.1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / HTTPS/1.1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / ICY/1.1\r\n" H "\r\n" },
    { "9112 2.3", 400, "GET / \r\n" H "\r\n" },
    { "9112 2.3 early", 400, "GET / X" },
    /* target */
    { "9112 3.2.1", OK, "GET /a/b;c=1,2/%20?x=y&z=/? HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 brackets, pipe, caret", OK,
      "GET /a[1]|^ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 query as browsers send it", OK,
      "GET /?a=[{`^|\\}] HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 query after ! (slow path)", OK,
      "GET /a!~b?{} HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 brace in path", 400, "GET /{a} HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 backslash in path", 400, "GET /a\\b HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 backtick in path", 400, "GET /a`b HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 quote", 400, "GET /\" HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 quote in query", 400, "GET /?\" HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 < in query", 400, "GET /?<a HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 > in path", 400, "GET /a> HTTP/1.1\r\n" H "\r\n" },
    { "9110 7.1 fragment", 400, "GET /a#b HTTP/1.1\r\n" H "\r\n" },
    { "9110 7.1 fragment in query", 400, "GET /a?b#c HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 DEL", 400, "GET /a\x7f HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 non-ASCII", 400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 no slash", 400, "GET a HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.1 no slash", 400, "GET ?a HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2", OK, "GET http://b/c HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2", OK, "GET HTTPS://b:443/c?d HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2", OK, "GET http://b HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2", OK, "GET http://b?q HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2", OK, "GET http://[::1]:80/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2 Host still needed", 400,
      "GET http://b/c HTTP/1.1\r\n\r\n" },
    { "9112 3.2.2 no Host in 1.0", OK, "GET http://b/c HTTP/1.0\r\n\r\n" },
    { "9110 4.2.1 empty host", 400, "GET http:///c HTTP/1.1\r\n" H "\r\n" },
    { "9110 4.2.4 userinfo", 400, "GET http://u@b/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2 port", 400, "GET http://b:x/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2 scheme", 400, "GET ftp://b/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2 scheme", 400, "GET http:/b/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.2 scheme", 400, "GET http:// HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3", OK, "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n" },
    { "9112 3.2.3", OK, "CONNECT [::1]:443 HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 no port", 400, "CONNECT b HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 no port", 400, "CONNECT b: HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 no host", 400, "CONNECT :443 HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 path", 400, "CONNECT / HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 path", 400, "CONNECT b:443/ HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.3 only CONNECT", 400, "GET b:443 HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.4", OK, "OPTIONS * HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.4 only OPTIONS", 400, "GET * HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.4", 400, "OPTIONS ** HTTP/1.1\r\n" H "\r\n" },
    { "9112 3.2.4", OK, "OPTIONS /x HTTP/1.1\r\n" H "\r\n" },
    /* limits */
    { "9112 3 line of 200", OK,
      "GET /" A100 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaa HTTP/1.1\r\n" H "\r\n" },
    { "9112 3 line of 201", 414,
      "GET /" A100 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaa HTTP/1.1\r\n" H "\r\n" },
    { "9110 15.5.15 so far", 414, "GET /" A100 A100 },
    { "9110 15.5.15 so far", MORE,
      "GET /" A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaa" },
    { "9110 15.5.15 error before it counts", 400, "GET /\"" A100 A100 },
    { "9110 15.5.15 error behind it does not", 414, "GET /" A100 A100 "\"" },
    { "6585 5 20 fields", OK,
      "GET / HTTP/1.0\r\n" F5 F5 F5 F5 "\r\n" },
    { "6585 5 21 fields", 431,
      "GET / HTTP/1.0\r\n" F5 F5 F5 F5 "f: 6\r\n\r\n" },
    { "6585 5 21 fields so far", 431, "GET / HTTP/1.0\r\n" F5 F5 F5 F5 "f" },
    { "6585 5 20 fields so far", MORE, "GET / HTTP/1.0\r\n" F5 F5 F5 F5 },
    { "6585 5 too long", 431,
      REQ("x: " A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 "\r\n") },
    { "6585 5 too long so far", 431,
      "GET / HTTP/1.1\r\n" A100 A100 A100 A100 A100 A100 A100 A100 A100 A100 },
    /* field lines */
    { "9112 5", OK, REQ("a:b\r\n") },
    { "9112 5", OK, REQ("a: \t b c \t \r\n") },
    { "9112 5 empty value", OK, REQ("a:\r\n") },
    { "9112 5 empty value", OK, REQ("a: \r\n") },
    { "9112 5 empty value", OK, REQ("a:  \t \r\n") },
    { "9112 5 colon in value", OK, REQ("a::\r\n") },
    { "9112 5 token", OK, REQ("x!#$%&'*+-.^_`|~09AZ: b\r\n") },
    { "9112 5 long name", OK, REQ(A10 A10 A10 A10 ": b\r\n") },
    { "9112 5 long name", OK, REQ(A10 "_" A10 A10 A10 ": b\r\n") },
    { "9110 5.5 tab in value", OK, REQ("a: b\tc\r\n") },
    { "9110 5.5 obs-text", OK, REQ("a: \xc3\xa9t\xff\x80 x\r\n") },
    { "9110 5.5 obs-text ends value", OK, REQ("a: x\xff\r\n") },
    { "9110 5.5 obs-text begins value", OK, REQ("a:\x80x\r\n") },
    { "9110 5.5 DEL", 400, REQ("a: b\x7f\r\n") },
    { "9110 5.5 control", 400, REQ("a: b\x01\r\n") },
    { "9110 5.5 control", 400, REQ("a:\x0b" "b\r\n") },
    { "9110 5.5 escape", 400, REQ("a: b\x1b[0m\r\n") },
    { "9110 5.1 non-ASCII name", 400, REQ("\xc3\xa9: b\r\n") },
    { "9112 5.1 space before colon", 400, REQ("a : b\r\n") },
    { "9112 5.1 tab before colon", 400, REQ("a\t: b\r\n") },
    { "9112 5.1 Content-Length with it", 400, REQ("Content-Length : 5\r\n") },
    { "9112 5.1 space in name", 400, REQ("a b: c\r\n") },
    { "9112 5.1 empty name", 400, REQ(": b\r\n") },
    { "9112 5.1 no colon", 400, REQ("abc\r\n") },
    { "9112 5.1 no colon", 400, REQ("a/b\r\n") },
    { "9110 5.1 separators", 400, REQ("a(b): c\r\n") },
    { "9110 5.1 separators", 400, REQ("a,b: c\r\n") },
    { "9110 5.1 separators", 400, REQ("\"a\": c\r\n") },
    { "9112 5.2 obs-fold", 400, REQ("a: b\r\n c\r\n") },
    { "9112 5.2 obs-fold tab", 400, REQ("a: b\r\n\tc\r\n") },
    { "9112 5.2 obs-fold of nothing", 400, REQ("a:\r\n \r\n") },
    /* Host */
    { "9112 3.2 none", 400, "GET / HTTP/1.1\r\n\r\n" },
    { "9112 3.2 none", 400, "GET / HTTP/1.1\r\nHosts: a\r\n\r\n" },
    { "9112 3.2 none in 1.0", OK, "GET / HTTP/1.0\r\nx: y\r\n\r\n" },
    { "9112 3.2 twice", 400, REQ(H) },
    { "9112 3.2 twice, case", 400, REQ("hOST: b\r\n") },
    { "9112 3.2 twice in 1.0", 400, "GET / HTTP/1.0\r\n" H H "\r\n" },
    { "9110 7.2 empty", OK, "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
    { "9110 7.2 empty", OK, "GET / HTTP/1.1\r\nHost: \r\n\r\n" },
    { "9110 7.2 empty, twice", 400,
      "GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n" },
    { "9110 7.2", OK, "GET / HTTP/1.1\r\nHost: a-b.c_d~1.example:8080\r\n\r\n" },
    { "9110 7.2", OK, "GET / HTTP/1.1\r\nHost: 127.0.0.1:80 \r\n\r\n" },
    { "3986 3.2.2", OK, "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n" },
    { "3986 3.2.2", OK, "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n" },
    { "3986 3.2.2", 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
    { "3986 3.2.2", 400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n" },
    { "3986 3.2.2", 400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n" },
    { "6874 zone", 400, "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n" },
    { "3986 3.2.2", 400, "GET / HTTP/1.1\r\nHost: a[b]\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n" },
    { "3986 3.2.3", 400, "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n" },
    { "3986 3.2.1 userinfo", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" },
    { "9110 7.2 list", 400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n" },
    { "9110 7.2 space", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" },
    { "9110 7.2 path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
    { "9110 7.2 escape", 400, "GET / HTTP/1.1\r\nHost: a%62\r\n\r\n" },
    { "9110 7.2 non-ASCII", 400, "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n" },
    { "9110 7.2 long", OK,
      "GET / HTTP/1.1\r\nHost: " A10 A10 A10 ".example:80\r\n\r\n" },
    { "9110 7.2 long", 400,
      "GET / HTTP/1.1\r\nHost: " A10 A10 A10 ".exam,ple\r\n\r\n" },
    /* Content-Length */
    { "9110 8.6", OK, REQ("Content-Length: 0\r\n") },
    { "9110 8.6", OK, REQ("content-length:5\r\n") },
    { "9110 8.6", OK, REQ("Content-Length: 007\r\n") },
    { "9110 8.6", OK, REQ("Content-Length: 9223372036854775807\r\n") },
    { "9110 8.6", 400, REQ("Content-Length: 9223372036854775808\r\n") },
    { "9110 8.6", 400, REQ("Content-Length: 18446744073709551616\r\n") },
    { "9110 8.6", 400, REQ("Content-Length: 99999999999999999999999\r\n") },
    { "9110 8.6 empty", 400, REQ("Content-Length:\r\n") },
    { "9110 8.6 sign", 400, REQ("Content-Length: +5\r\n") },
    { "9110 8.6 sign", 400, REQ("Content-Length: -5\r\n") },
    { "9110 8.6 hex", 400, REQ("Content-Length: 0x5\r\n") },
    { "9110 8.6 hex", 400, REQ("Content-Length: 5a\r\n") },
    { "9110 8.6 space", 400, REQ("Content-Length: 5 5\r\n") },
    { "9110 8.6 list", 400, REQ("Content-Length: 5, 5\r\n") },
    { "9110 8.6 list", 400, REQ("Content-Length: 5,\r\n") },
    { "9110 8.6 fraction", 400, REQ("Content-Length: 5.0\r\n") },
    { "9110 8.6 non-ASCII digit", 400, REQ("Content-Length: \xb2\r\n") },
    { "9110 8.6 twice", 400,
      REQ("Content-Length: 5\r\nContent-Length: 5\r\n") },
    { "9110 8.6 twice", 400,
      REQ("Content-Length: 5\r\ncontent-length: 6\r\n") },
    { "9110 8.6 near miss", OK, REQ("Content_Length: x\r\n") },
    { "9110 8.6 near miss", OK, REQ("Content-Lengthy: x\r\n") },
    { "9110 8.6 near miss", OK, REQ("Content-Lengti: x\r\n") },
    /* Transfer-Encoding */
    { "9112 6.1", OK, REQ("Transfer-Encoding: chunked\r\n") },
    { "9112 6.1 case", OK, REQ("TRANSFER-ENCODING:\tChunKED \r\n") },
    { "9112 6.1 with length", 400,
      REQ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") },
    { "9112 6.1 with length", 400,
      REQ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") },
    { "9112 6.1 with length 0", 400,
      REQ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n") },
    { "9112 6.1 in 1.0", 400,
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" },
    { "9112 6.1 unknown", 501, REQ("Transfer-Encoding: gzip\r\n") },
    { "9112 6.1 unknown", 501, REQ("Transfer-Encoding: identity\r\n") },
    { "9112 6.1 unknown", 501, REQ("Transfer-Encoding: xchunked\r\n") },
    { "9112 6.1 unknown", 501, REQ("Transfer-Encoding: chunked1\r\n") },
    { "9112 6.1 unknown", 501, REQ("Transfer-Encoding: gzip, chunked\r\n") },
    { "9112 6.3 not last", 400, REQ("Transfer-Encoding: chunked, gzip\r\n") },
    { "9112 6.1 twice", 400, REQ("Transfer-Encoding: chunked, chunked\r\n") },
    { "9112 6.1 empty", 400, REQ("Transfer-Encoding:\r\n") },
    { "9112 6.1 empty", 400, REQ("Transfer-Encoding: ,\r\n") },
    { "9112 6.1 empty element", 400, REQ("Transfer-Encoding: ,chunked\r\n") },
    { "9112 6.1 empty element", 400, REQ("Transfer-Encoding: chunked,\r\n") },
    { "9112 7 parameter", 400, REQ("Transfer-Encoding: chunked;a=b\r\n") },
    { "9112 6.1 quoted", 400, REQ("Transfer-Encoding: \"chunked\"\r\n") },
    { "9112 6.1 quoted", 400, REQ("Transfer-Encoding: 'chunked\"\r\n") },
    { "9112 6.1 junk", 400, REQ("Transfer-Encoding: chunked x\r\n") },
    { "9112 6.1 junk", 400, REQ("Transfer-Encoding: chunk\xc3\xa9\r\n") },
    { "9112 6.1 repeated field", 400,
      REQ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") },
    { "9112 6.1 repeated field", 501,
      REQ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") },
    { "9112 6.1 near miss", OK, REQ("Transfer_Encoding: x\r\n") },
    { "9112 5.1 space before colon", 400,
      REQ("Transfer-Encoding : chunked\r\n") },
    /* Connection, Expect, Upgrade */
    { "9110 7.6.1", OK, REQ("Connection: keep-alive\r\n") },
    { "9110 7.6.1", OK, REQ("Connection: close\r\nConnection: x\r\n") },
    { "9110 7.6.1 empty", OK, REQ("Connection:\r\n") },
    { "9110 7.6.1 empty elements", OK, REQ("Connection: ,, close ,\r\n") },
    { "9110 7.6.1 not a token", 400, REQ("Connection: a b\r\n") },
    { "9110 7.6.1 not a token", 400, REQ("Connection: close, \"x\"\r\n") },
    { "9110 10.1.1", OK, REQ("Expect: 100-continue\r\n") },
    { "9110 10.1.1 unknown", OK, REQ("Expect: the unexpected\r\n") },
    { "9110 7.8", OK, REQ("Connection: Upgrade\r\nUpgrade: websocket\r\n") }
};

enum { N_REQUESTS = sizeof requests / sizeof requests[0] };

static int as_result(const row *r)
{
    if (r->want == OK) return (int)strlen(r->text);
    return r->want == MORE ? AW_EAGAIN : AW_HTTP(r->want);
}

/* The text in a block of exactly its size and the slack, which is hostile. */
static char *block(const char *text, size_t n, int hostile)
{
    static const char *const fill[] = { "\r\n\r\n", "a", "0", ":", " ", "\n",
        "\r", "Host: b\r\n\r\n", " HTTP/1.1\r\n", "\xff", "GET ", "\t" };
    const char *with = fill[hostile % 12];
    char *p = (char *)malloc(n + AW__HEAD_SLACK);
    size_t i, len = strlen(with);
    if (n) memcpy(p, text, n);
    for (i = 0; i < AW__HEAD_SLACK; i++) p[n + i] = with[i % len];
    return p;
}

typedef struct parsed {
    int r;
    aw__head h;
    aw__field fields[MAX_FIELDS];
} parsed;

static void parse(parsed *out, const char *text, size_t n, size_t seen,
                  int hostile)
{
    char *p = block(text, n, hostile);
    memset(out, 0, sizeof *out);
    out->h.fields = out->fields;
    out->h.max_fields = MAX_FIELDS;
    out->r = aw__http_head(p, n, seen, &limits, &out->h);
    free(p);
}

TEST(head_table_whole)
{
    int i, hostile;
    parsed o;
    printf("     %d requests\n", (int)N_REQUESTS);
    for (i = 0; i < N_REQUESTS; i++) {
        for (hostile = 0; hostile < 12; hostile++) {
            const row *r = &requests[i];
            parse(&o, r->text, strlen(r->text), 0, hostile);
            if (o.r != as_result(r))
                printf("row %s: %s", r->rfc, r->text);
            CHECK_EQ(o.r, as_result(r));
        }
    }
}

/* Each prefix, as if it were the first read: never another verdict than the
   whole text has, and at first only AW_EAGAIN. */
TEST(head_table_prefixes)
{
    int i;
    for (i = 0; i < N_REQUESTS; i++) {
        size_t n, len = strlen(requests[i].text);
        int want = as_result(&requests[i]);
        for (n = 0; n < len; n++) {
            parsed o;
            parse(&o, requests[i].text, n, 0, (int)rnd(12));
            CHECK(o.r == AW_EAGAIN || o.r == want);
            if (o.r == AW_EAGAIN) continue;
            CHECK(want < 0);
            break;
        }
    }
}

/* In two pieces, at every offset: the first is a full parse, the second goes
   on from it. A verdict that a full parse finds may come later, not change,
   and comes at the latest with the end of the head. */
TEST(head_table_splits)
{
    int i;
    for (i = 0; i < N_REQUESTS; i++) {
        const char *text = requests[i].text;
        size_t n, len = strlen(text);
        int want = as_result(&requests[i]);
        for (n = 0; n < len; n++) {
            parsed o;
            parse(&o, text, n, 0, (int)rnd(12));
            if (o.r == AW_EAGAIN) parse(&o, text, len, n, (int)rnd(12));
            CHECK(o.r == want || (o.r == AW_EAGAIN && want < 0 &&
                                  !strstr(text, "\r\n\r\n")));
        }
    }
}

TEST(head_table_bytewise)
{
    int i;
    for (i = 0; i < N_REQUESTS; i++) {
        const char *text = requests[i].text;
        size_t n, len = strlen(text);
        int want = as_result(&requests[i]);
        parsed o;
        o.r = AW_EAGAIN;
        for (n = 0; n <= len && o.r == AW_EAGAIN; n++)
            parse(&o, text, n, n ? n - 1 : 0, (int)rnd(12));
        CHECK(o.r == want || (o.r == AW_EAGAIN && want < 0 &&
                              !strstr(text, "\r\n\r\n")));
    }
}

/* Every byte value in every kind of place. */
TEST(head_every_byte)
{
    static const char *const frames[] = {
        "\1ET / HTTP/1.1\r\n" H "\r\n", "GET /a\1b HTTP/1.1\r\n" H "\r\n",
        "GET /?a\1b HTTP/1.1\r\n" H "\r\n", REQ("a\1b: c\r\n"),
        REQ("a: b\1c\r\n"), "GET / HTTP/1.1\r\nHost: a\1b\r\n\r\n",
        REQ("a: 1234567890123456789012345678901234567890\1c\r\n") };
    static const int classes[] = { AW__C_TOKEN, AW__C_PATH, AW__C_QUERY,
        AW__C_TOKEN, AW__C_VALUE, AW__C_HOST, AW__C_VALUE };
    int f, c;
    for (f = 0; f < 7; f++) {
        for (c = 0; c < 256; c++) {
            char text[128];
            size_t n = strlen(frames[f]);
            bool fine = aw__http_is((char)c, classes[f]);
            parsed o;
            memcpy(text, frames[f], n);
            *strchr(text, 1) = (char)c;
            if (f == 1 && c == '?') fine = true;    /* a query begins */
            if (f == 3 && c == ':') fine = true;    /* ends the name early */
            parse(&o, text, n, 0, (int)rnd(12));
            CHECK_EQ(o.r, fine ? (int)n : AW_HTTP(400));
        }
    }
}

static bool is(const char *base, size_t at, size_t n, const char *want)
{
    return n == strlen(want) && memcmp(base + at, want, n) == 0;
}

TEST(head_contents)
{
    const char *t = "\r\nPUT /a?b HTTP/1.1\r\nX:  1 \t\r\nhost: h:1\r\n"
        "Content-Length: 42\r\nCONNECTION: x, Close\r\nExpect: 100-Continue\r\n"
        "y:\r\nUpgrade: h2c\r\n\r\nrest";
    size_t n = strlen(t) - 4;
    parsed o;
    const aw__field *f = o.fields;
    parse(&o, t, n + 4, 0, 0);
    CHECK_EQ(o.r, n);
    CHECK_EQ(o.h.verb, AW__PUT);
    CHECK(is(t, o.h.method, o.h.method_len, "PUT"));
    CHECK(is(t, o.h.target, o.h.target_len, "/a?b"));
    CHECK(is(t, o.h.path, o.h.path_len, "/a?b"));
    CHECK(is(t, o.h.host, o.h.host_len, "h:1"));
    CHECK_EQ(o.h.minor, 1);
    CHECK_EQ(o.h.count, 7);
    CHECK(is(t, f[0].name, f[0].name_len, "X"));
    CHECK(is(t, f[0].value, f[0].value_len, "1"));
    CHECK(is(t, f[5].value, f[5].value_len, ""));
    CHECK_EQ(o.h.known[AW__F_HOST], 1);
    CHECK_EQ(o.h.known[AW__F_LENGTH], 2);
    CHECK_EQ(o.h.known[AW__F_CONNECTION], 3);
    CHECK_EQ(o.h.known[AW__F_EXPECT], 4);
    CHECK_EQ(o.h.known[AW__F_UPGRADE], 6);
    CHECK_EQ(o.h.known[AW__F_TRANSFER], AW__NO_FIELD);
    CHECK_EQ(o.h.content_length, 42);
    CHECK(!o.h.chunked && !o.h.keep_alive && !o.h.upgrade);
    CHECK(o.h.options & AW__O_CONTINUE);
    CHECK_EQ(aw__head_find(t, &o.h, "UPGRADE", 0), 6);
    CHECK_EQ(aw__head_find(t, &o.h, "upgrade", 7), -1);
    CHECK_EQ(aw__head_find(t, &o.h, "none", 0), -1);
}

TEST(head_framing)
{
    static const struct { const char *text; int keep, expect, upgrade; } t[] = {
        { REQ(""), 1, 0, 0 },
        { "GET / HTTP/1.0\r\n\r\n", 0, 0, 0 },
        { REQ("Connection: close\r\n"), 0, 0, 0 },
        { REQ("Connection: keep-alive, CLOSE\r\n"), 0, 0, 0 },
        { REQ("Connection: close\r\nConnection: keep-alive\r\n"), 0, 0, 0 },
        { REQ("Connection: closed\r\n"), 1, 0, 0 },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 1, 0, 0 },
        { "GET / HTTP/1.0\r\nConnection: x\r\nConnection: keep-alive\r\n\r\n",
          1, 0, 0 },
        { REQ("Connection: upgrade\r\n"), 1, 0, 0 },
        { REQ("Upgrade: websocket\r\n"), 1, 0, 0 },
        { REQ("Connection: keep-alive, Upgrade\r\nUpgrade: x\r\n"), 1, 0, 1 },
        { "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
          "Expect: 100-continue\r\n\r\n", 0, 0, 0 },
        { REQ("Expect: 100-CONTINUE\r\n"), 1, 1, 0 },
        { REQ("Expect: 100-continue2\r\n"), 1, 0, 0 }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        parsed o;
        parse(&o, t[i].text, strlen(t[i].text), 0, 0);
        CHECK(o.r > 0);
        CHECK_EQ(o.h.keep_alive, t[i].keep);
        CHECK_EQ((o.h.options & AW__O_CONTINUE) != 0, t[i].expect);
        CHECK_EQ(o.h.upgrade, t[i].upgrade);
        CHECK_EQ(o.h.content_length, -1);
    }
}

TEST(head_target_forms)
{
    static const struct { const char *text, *path, *host; } t[] = {
        { "GET /x HTTP/1.1\r\n" H "\r\n", "/x", "a" },
        { "GET http://b:8/c?d HTTP/1.1\r\n" H "\r\n", "/c?d", "b:8" },
        { "GET http://b HTTP/1.1\r\n" H "\r\n", "", "b" },
        { "GET https://b?q HTTP/1.1\r\n" H "\r\n", "?q", "b" },
        { "OPTIONS * HTTP/1.1\r\n" H "\r\n", "*", "a" },
        { "CONNECT b:443 HTTP/1.1\r\n" H "\r\n", "", "b:443" },
        { "GET / HTTP/1.0\r\n\r\n", "/", "" }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        parsed o;
        parse(&o, t[i].text, strlen(t[i].text), 0, 0);
        CHECK(o.r > 0);
        CHECK(is(t[i].text, o.h.path, o.h.path_len, t[i].path));
        CHECK(is(t[i].text, o.h.host, o.h.host_len, t[i].host));
    }
}

TEST(head_verbs)
{
    static const char *const names[] = { "GET", "HEAD", "POST", "PUT", "DELETE",
        "PATCH", "OPTIONS", "CONNECT", "TRACE", "Get", "GE", "GETS", "XXXX" };
    int i;
    for (i = 0; i < 13; i++)
        CHECK_EQ(aw__http_verb(names[i], strlen(names[i])),
                 i < AW__OTHER ? i : AW__OTHER);
}

/* What lies behind the input looks like a line that does not end. */
TEST(head_slack_suffices)
{
    const char *text = "GET / HTTP/1.1\r\n";
    const size_t n = strlen(text);
    size_t i, k;
    for (i = 0; i < 20; i++) {
        for (k = 1; k <= n; k++) {
            aw__field fields[4];
            aw__head h;
            char *p = block(text, k, 1);
            memcpy(p + k + i, ": ", 2);
            h.fields = fields;
            h.max_fields = 4;
            CHECK_EQ(AW_EAGAIN, aw__http_head(p, k, 0, &limits, &h));
            free(p);
        }
    }
}

/* 32 KB byte by byte: how often is it really parsed? */
TEST(head_bytewise_linear)
{
    static const aw__head_limits big = { 8192, 65535 };
    static char text[32768 + AW__HEAD_SLACK];
    static aw__field fields[4000];
    aw__head h;
    size_t n, at = 0, parses = 0;
    int r = AW_EAGAIN;
    h.fields = fields;
    h.max_fields = 4000;
    memcpy(text, "GET / HTTP/1.1\r\nHost: a\r\n", 25);
    for (at = 25; at + 12 < 32768; at += 10) memcpy(text + at, "abc: def\r\n", 10);
    memcpy(text + at, "\r\n", 2);
    at += 2;
    for (n = 1; n <= at; n++) {
        CHECK_EQ(r, AW_EAGAIN);
        parses += n == 1 || aw__http_head_news(text, n, n - 1, &big);
        r = aw__http_head(text, n, n - 1, &big, &h);
    }
    CHECK_EQ(r, at);
    CHECK(parses <= 3);
}

/* What the fast reader of a line takes, the other takes for the same. */
TEST(head_lines)
{
    static const char *const parts[] = { "a", "Host", "x-y", "9", ":", ": ",
        ": b", " ", "\t", "\r\n", "\n", "1 2", "\x80", "abcdefghijklmnopq",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "" };
    int i, fast = 0;
    for (i = 0; i < 20000; i++) {
        char text[512] = "", *p;
        size_t n, at = rnd(2) ? 0 : 2;
        aw__field a, b;
        aw__line l;
        memcpy(text, "\r\n", at);
        strcat(text, parts[rnd(16)]);
        if (rnd(4)) strcat(text, ": ");
        while (rnd(4)) strcat(text, parts[rnd(16)]);
        if (rnd(4)) strcat(text, "\r\n");
        n = strlen(text);
        p = block(text, n, (int)rnd(12));
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        if (aw__http_line(p, at, n, &a, &l)) {
            const int next = aw__http_field(p, at, p + n, &b);
            fast++;
            if (a.name_len) CHECK_EQ(next, l.next);
            else CHECK_EQ(next, AW_HTTP(400));
            if (a.name_len) CHECK(memcmp(&a, &b, sizeof a) == 0);
            CHECK(a.name == at && a.name_len == l.name_len);
            CHECK(a.value == l.value && a.value_len == l.value_len);
        }
        free(p);
    }
    CHECK(fast > 1000);
    printf("     %d of 20000 fast\n", fast);
}

/* Whatever its case, a name that counts is found; and no name is an error. */
TEST(head_known_names)
{
    int k, i;
    for (k = 0; k < AW__F_COUNT; k++) {
        const char *name = aw__http_names[k].text;
        const size_t n = strlen(name);
        CHECK(aw__http_known >> AW__KNOWN(name[1], n) & 1);
        CHECK(aw__http_known >> AW__KNOWN(name[1] - 32, n) & 1);
        CHECK_EQ(aw__http_names[k].n, n);
        for (i = 0; i < k; i++) CHECK(aw__http_names[i].n != n);
    }
    CHECK(aw__http_known >> AW__KNOWN(' ', 0) & 1);
}

/* A bare LF is news at once, an endless line is at the limit. */
TEST(head_bytewise_rejects)
{
    size_t n;
    parsed o;
    const char *bad = "GET / HTTP/1.1\r\n" H "abc: d\n";
    char text[1200];
    for (n = 0; n < strlen(bad); n++) {
        parse(&o, bad, n, n ? n - 1 : 0, 0);
        CHECK_EQ(o.r, AW_EAGAIN);
    }
    parse(&o, bad, n, n - 1, 0);
    CHECK_EQ(o.r, AW_HTTP(400));
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    for (n = 0; n < 202; n++) {
        parse(&o, text, n, n ? n - 1 : 0, 0);
        CHECK_EQ(o.r, AW_EAGAIN);
    }
    parse(&o, text, 202, 201, 0);
    CHECK_EQ(o.r, AW_HTTP(414));
    memcpy(text + 30, " HTTP/1.1\r\n", 11);
    for (n = 1; n < 1000; n++) {
        parse(&o, text, n, n - 1, 0);
        CHECK_EQ(o.r, AW_EAGAIN);
    }
    parse(&o, text, 1000, 999, 0);
    CHECK_EQ(o.r, AW_HTTP(431));
}

/* ---- heads: a second reader -------------------------------------------- */

/* The same rules, written once more as plainly as possible, byte by byte. The
   fast parser must agree with it about any input. */
enum { END = -1 };

typedef struct oracle {
    const char *s;
    size_t n, i;
} oracle;

static int peek(const oracle *o, size_t i)
{
    return i < o->n ? (unsigned char)o->s[i] : END;
}

static int oracle_bad(const oracle *o)
{
    if (peek(o, o->i) == END) return AW_EAGAIN;
    if (peek(o, o->i) == '\r' && peek(o, o->i + 1) == END) return AW_EAGAIN;
    return AW_HTTP(400);
}

static bool oracle_tchar(int c)
{
    return c > 0 && (alnum(c) || in_set(c, "!#$%&'*+-.^_`|~"));
}

static bool oracle_host(const char *t)
{
    size_t n = 0, digits;
    if (t[0] == '[') {
        n = 1 + strspn(t + 1, "0123456789abcdefABCDEF:.");
        if (n < 3 || t[n] != ']') return false;
        n++;
    } else {
        while (t[n] > 0 && (alnum(t[n]) || in_set(t[n], "-._~"))) n++;
    }
    if (n == 0) return false;
    if (t[n] == 0) return true;
    if (t[n] != ':') return false;
    digits = strspn(t + n + 1, "0123456789");
    return digits >= 1 && digits <= 5 && t[n + 1 + digits] == 0;
}

static int oracle_line(oracle *o, int *minor)
{
    char method[40], target[1200];
    size_t m, t, k;
    bool query = false;
    const char *v;
    if (peek(o, 0) == '\r') {
        if (peek(o, 1) != '\n') return oracle_bad(o);
        o->i = 2;
    }
    for (m = o->i; oracle_tchar(peek(o, o->i)); o->i++)
        if (o->i - m >= 32) return AW_HTTP(501);
    if (peek(o, o->i) != ' ' || o->i == m) return oracle_bad(o);
    memcpy(method, o->s + m, o->i - m);
    method[o->i - m] = 0;
    for (t = ++o->i; peek(o, o->i) != ' '; o->i++) {
        int c = peek(o, o->i);
        bool fine = c > ' ' && c < 127 && !in_set(c, "\"<>#");
        if (!query && in_set(c, "\\`{}")) fine = false;
        if (c == '?') query = true;
        if (!fine) return oracle_bad(o);
    }
    if (o->i == t) return oracle_bad(o);
    memcpy(target, o->s + t, o->i - t);
    target[o->i - t] = 0;
    for (v = "_HTTP/#.#\r\n", k = 0; v[k]; k++, o->i++) {
        int c = peek(o, o->i);
        if (k && (v[k] == '#' ? c < '0' || c > '9' : c != v[k]))
            return oracle_bad(o);
    }
    if (o->s[o->i - 5] != '1' || o->s[o->i - 3] > '1') return AW_HTTP(505);
    *minor = o->s[o->i - 3] - '0';
    if (!strcmp(method, "CONNECT"))
        return oracle_host(target) && (target[0] == '[' ? strstr(target, "]:")
            : strchr(target, ':')) ? AW_OK : AW_HTTP(400);
    if (target[0] == '/') return AW_OK;
    if (!strcmp(target, "*"))
        return strcmp(method, "OPTIONS") ? AW_HTTP(400) : AW_OK;
    for (k = 0; target[k] && target[k] != '/'; k++)
        if (target[k] >= 'A' && target[k] <= 'Z') target[k] += 32;
    if (strncmp(target, "http://", 7) && strncmp(target, "https://", 8))
        return AW_HTTP(400);
    v = strstr(target, "//") + 2;
    k = strcspn(v, "/?");
    ((char *)v)[k] = 0;
    return oracle_host(v) ? AW_OK : AW_HTTP(400);
}

/* Lower case, trimmed list elements of a value; number of them. */
static int oracle_list(const char *value, char items[][1200], bool *tokens)
{
    int count = 0;
    *tokens = true;
    for (;;) {
        size_t n = strcspn(value, ","), a = 0, b = n, k;
        while (a < b && in_set(value[a], " \t")) a++;
        while (b > a && in_set(value[b - 1], " \t")) b--;
        if (b > a && count < 30) {
            for (k = a; k < b; k++) {
                char c = value[k];
                if (!oracle_tchar((unsigned char)c)) *tokens = false;
                items[count][k - a] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
            }
            items[count++][b - a] = 0;
        }
        if (!value[n]) return count;
        value += n + 1;
    }
}

typedef struct oracle_seen {
    int host, length, transfer;
} oracle_seen;

static int oracle_field(oracle *o, oracle_seen *seen)
{
    static char name[1200], value[1200], items[31][1200];
    size_t n = 0, v = 0;
    bool tokens;
    int count, k;
    for (; oracle_tchar(peek(o, o->i)); o->i++) name[n++] = o->s[o->i];
    name[n] = 0;
    if (peek(o, o->i) != ':' || !n) return oracle_bad(o);
    for (o->i++; peek(o, o->i) == ' ' || peek(o, o->i) == '\t'; o->i++) {}
    while (peek(o, o->i) == '\t' || (peek(o, o->i) >= ' ' && peek(o, o->i) != 127))
        value[v++] = o->s[o->i++];
    if (peek(o, o->i) != '\r' || peek(o, o->i + 1) != '\n') return oracle_bad(o);
    o->i += 2;
    while (v && in_set(value[v - 1], " \t")) v--;
    value[v] = 0;
    for (n = 0; name[n]; n++)
        if (name[n] >= 'A' && name[n] <= 'Z') name[n] += 32;
    count = oracle_list(value, items, &tokens);
    if (!strcmp(name, "host")) {
        if (seen->host++) return AW_HTTP(400);
        if (*value && !oracle_host(value)) return AW_HTTP(400);
    }
    if (!strcmp(name, "content-length")) {
        size_t zeros = strspn(value, "0"), digits = v - zeros;
        if (seen->length++ || !v || strspn(value, "0123456789") != v)
            return AW_HTTP(400);
        if (digits > 19 || (digits == 19 &&
            strcmp(value + zeros, "9223372036854775807") > 0))
            return AW_HTTP(400);
    }
    if (!strcmp(name, "connection") && count && !tokens) return AW_HTTP(400);
    if (!strcmp(name, "transfer-encoding")) {
        bool other = false;
        if (seen->transfer++) return AW_HTTP(400);
        if (count == 1 && !strcmp(items[0], "chunked") && v == 7) return AW_OK;
        for (k = 0; k < count; k++) {
            const char *t = items[k];
            while (*t) if (!oracle_tchar((unsigned char)*t++)) return AW_HTTP(400);
            if (strcmp(items[k], "chunked")) other = true;
            else if (k + 1 < count) return AW_HTTP(400);
        }
        return AW_HTTP(other ? 501 : 400);
    }
    return AW_OK;
}

static int oracle_head(const char *s, size_t n)
{
    oracle o;
    oracle_seen seen = { 0, 0, 0 };
    int r, minor = 0, fields = 0;
    o.s = s;
    o.i = 0;
    o.n = n < 202 ? n : 202;
    r = oracle_line(&o, &minor);
    if (r < 0) return r == AW_EAGAIN && n >= 202 ? AW_HTTP(414) : r;
    o.n = n < 1000 ? n : 1000;
    while (peek(&o, o.i) != '\r') {
        if (peek(&o, o.i) == END) r = AW_EAGAIN;
        else if (fields++ == MAX_FIELDS) return AW_HTTP(431);
        else r = oracle_field(&o, &seen);
        if (r < 0) return r == AW_EAGAIN && n >= 1000 ? AW_HTTP(431) : r;
    }
    if (peek(&o, o.i + 1) != '\n') {
        r = oracle_bad(&o);
        return r == AW_EAGAIN && n >= 1000 ? AW_HTTP(431) : r;
    }
    if (minor && !seen.host) return AW_HTTP(400);
    if (seen.transfer && (seen.length || !minor)) return AW_HTTP(400);
    return (int)o.i + 2;
}

TEST(head_oracle_table)
{
    int i;
    for (i = 0; i < N_REQUESTS; i++)
        CHECK_EQ(oracle_head(requests[i].text, strlen(requests[i].text)),
                 as_result(&requests[i]));
}

#ifndef MUTATIONS
#define MUTATIONS test_rounds(300000)
#endif

static size_t mutate(char *text, size_t n, size_t max)
{
    static const char *const pieces[] = { "\r\n", "\r", "\n", " ", "\t", ":",
        ": ", ",", "\r\n\r\n", "Host: b\r\n", "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "chunked",
        "HTTP/1.1", "HTTP/1.0", "?", "/", "http://", "*", "CONNECT ", "[::1]",
        "a:80", "%", "!", "~", "^", "`", "{", "<", "\\", "\x7f", "\x80", "\xff",
        "_", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "0", "x: y\r\n" };
    int edits = rnd(3) ? 1 : 1 + (int)rnd(4);
    while (edits--) {
        size_t i = rnd((uint32_t)n + 1), k;
        const char *piece = pieces[rnd(sizeof pieces / sizeof pieces[0])];
        switch (rnd(5)) {
            case 0: if (i < n) text[i] = (char)rnd(256); break;
            case 1: if (i < n) text[i] ^= (char)(1 << rnd(8)); break;
            case 2:
                k = rnd(4) ? 1 : rnd(20);
                if (i + k > n) break;
                memmove(text + i, text + i + k, n - i - k);
                n -= k;
                break;
            case 3: if (i < n && !rnd(4)) n = i; break;
            default:
                k = strlen(piece);
                if (n + k > max) break;
                memmove(text + i + k, text + i, n - i);
                memcpy(text + i, piece, k);
                n += k;
        }
    }
    return n;
}

TEST(head_oracle_random)
{
    long i, fine = 0, counts[2] = { 0, 0 };
    for (i = 0; i < MUTATIONS; i++) {
        const char *seed = requests[rnd(N_REQUESTS)].text;
        char text[1400];
        size_t n = strlen(seed);
        int want;
        parsed o;
        memcpy(text, seed, n);
        n = mutate(text, n, 1150);
        want = oracle_head(text, n);
        parse(&o, text, n, 0, (int)rnd(12));
        if (o.r != want) {
            printf("---- %.*s\n----\n", (int)n, text);
            CHECK_EQ(o.r, want);
            if (++fine > 1000000 || ++counts[1] > 5) break;
        }
        counts[0] += o.r > 0;
    }
    printf("     %ld of %ld fine\n", counts[0], i);
}

/* ---- response heads ---------------------------------------------------- */

#define RES(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"

static const row responses[] = {
    { "9112 4", OK, "HTTP/1.1 200 OK\r\n\r\n" },
    { "9112 4", OK, "HTTP/1.0 404 Not Found\r\nx: y\r\n\r\n" },
    { "9112 4 empty reason", OK, "HTTP/1.1 200 \r\n\r\n" },
    { "9112 4 no space", OK, "HTTP/1.1 200\r\n\r\n" },
    { "9112 4 obs-text", OK, "HTTP/1.1 200 \xc3\xa9\tx\r\n\r\n" },
    { "9112 4", OK, "HTTP/1.1 999 x\r\n\r\n" },
    { "9110 15", 400, "HTTP/1.1 099 x\r\n\r\n" },
    { "9112 4", 400, "HTTP/1.1 20 x\r\n\r\n" },
    { "9112 4", 400, "HTTP/1.1 2000 x\r\n\r\n" },
    { "9112 4", 400, "HTTP/1.1  200 x\r\n\r\n" },
    { "9112 4", 400, "HTTP/1.1 200\tOK\r\n\r\n" },
    { "9112 4 control", 400, "HTTP/1.1 200 O\x01K\r\n\r\n" },
    { "9112 2.3", 400, "HTTP/2.0 200 OK\r\n\r\n" },
    { "9112 2.3", 400, "HTTP/1.2 200 OK\r\n\r\n" },
    { "9112 2.3", 400, "ICY 200 OK\r\n\r\n" },
    { "9112 2.2", 400, "\r\nHTTP/1.1 200 OK\r\n\r\n" },
    { "9112 2.2", 400, "HTTP/1.1 200 OK\n\r\n" },
    { "9112 2.2", 400, "HTTP/1.1 200 O\rK\r\n\r\n" },
    { "more", MORE, "" },
    { "more", MORE, "HTTP/1.1 20" },
    { "more", MORE, "HTTP/1.1 200" },
    { "more", MORE, "HTTP/1.1 200 OK\r" },
    { "more", MORE, "HTTP/1.1 200 OK\r\n" },
    { "more", MORE, "HTTP/1.1 200 OK\r\nx: y\r\n" },
    { "9112 6.3", OK, RES("Content-Length: 5\r\n") },
    { "9112 6.3", OK, RES("Transfer-Encoding: chunked\r\n") },
    { "9112 6.3", 400, RES("Content-Length: 5\r\nContent-Length: 5\r\n") },
    { "9112 6.3", 400, RES("Content-Length: 5, 5\r\n") },
    { "9112 6.3", 400, RES("Content-Length: -5\r\n") },
    { "9112 6.3", 400,
      RES("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") },
    { "9112 6.1", 400,
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
    { "9112 7", 400, RES("Transfer-Encoding: gzip\r\n") },
    { "9112 7", 400, RES("Transfer-Encoding: gzip, chunked\r\n") },
    { "9112 5.1", 400, RES("a : b\r\n") },
    { "9112 5.2", 400, RES("a: b\r\n c\r\n") },
    { "limits", OK, "HTTP/1.1 200 OK\r\n" F5 F5 F5 F5 "\r\n" },
    { "limits", 431, "HTTP/1.1 200 OK\r\n" F5 F5 F5 F5 "x: y\r\n\r\n" },
    { "limits", 431, "HTTP/1.1 200 " A100 A100 A100 A100 A100 A100 A100 A100
      A100 A100 "\r\n\r\n" }
};

enum { N_RESPONSES = sizeof responses / sizeof responses[0] };

static int response(parsed *out, const char *text, size_t n, size_t seen)
{
    char *p = block(text, n, (int)rnd(12));
    out->h.fields = out->fields;
    out->h.max_fields = MAX_FIELDS;
    out->r = aw__http_response_head(p, n, seen, 1000, &out->h);
    free(p);
    return out->r;
}

TEST(response_table)
{
    int i;
    for (i = 0; i < N_RESPONSES; i++) {
        const row *w = &responses[i];
        size_t n, len = strlen(w->text);
        int want = w->want == OK ? (int)len : w->want == MORE ? AW_EAGAIN
            : w->want == 431 ? AW_ETOOBIG : AW_EBADMSG;
        parsed o;
        for (n = 0; n < 12; n++) CHECK_EQ(response(&o, w->text, len, 0), want);
        for (n = 0; n < len; n++) {
            int r = response(&o, w->text, n, 0);
            if (r == AW_EAGAIN) r = response(&o, w->text, len, n);
            CHECK_EQ(r, want);
        }
    }
}

TEST(response_contents)
{
    const char *t = "HTTP/1.0 301 Moved  on\r\nContent-Length: 7\r\n"
        "Connection: Keep-Alive\r\n\r\n";
    parsed o;
    CHECK_EQ(response(&o, t, strlen(t), 0), strlen(t));
    CHECK_EQ(o.h.status, 301);
    CHECK_EQ(o.h.minor, 0);
    CHECK_EQ(o.h.count, 2);
    CHECK_EQ(o.h.content_length, 7);
    CHECK(o.h.keep_alive);
    t = "HTTP/1.1 204\r\n\r\n";
    CHECK_EQ(response(&o, t, strlen(t), 0), strlen(t));
    CHECK_EQ(o.h.content_length, -1);
    CHECK(o.h.keep_alive && !o.h.chunked);
}

/* ---- chunked ----------------------------------------------------------- */

#define C10 ";aaaaaaaaa"
#define C100 C10 C10 C10 C10 C10 C10 C10 C10 C10 C10
#define C1000 C100 C100 C100 C100 C100 C100 C100 C100 C100 C100
#define T10 "a: b\r\nc:\r\n"
#define T100 T10 T10 T10 T10 T10 T10 T10 T10 T10 T10
#define LONG8K C1000 C1000 C1000 C1000 C1000 C1000 C1000 C1000 C100 C100

static const struct { const char *rfc; int want; const char *text, *body; }
chunked[] = {
    { "9112 7.1", 1, "0\r\n\r\n", "" },
    { "9112 7.1", 1, "5\r\nhello\r\n0\r\n\r\n", "hello" },
    { "9112 7.1", 1, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world" },
    { "9112 7.1 hex", 1, "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
      "01234567890123456789a" },
    { "9112 7.1 leading zeros", 1, "000000000000005\r\nhello\r\n00\r\n\r\n",
      "hello" },
    { "9112 7.1 16 digits", 1, "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello" },
    { "9112 7.1 17 digits", AW_EBADMSG, "00000000000000005\r\nhello", "" },
    { "9112 7.1 CRLF in data", 1, "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n" },
    { "9112 7.1 max", AW_EAGAIN, "7fffffffffffffff\r\nab", "ab" },
    { "9112 7.1 overflow", AW_EBADMSG, "8000000000000000\r\nab", "" },
    { "9112 7.1 overflow", AW_EBADMSG, "ffffffffffffffff\r\nab", "" },
    { "9112 7.1 overflow", AW_EBADMSG, "10000000000000005\r\nhello", "" },
    { "9112 7.1 no size", AW_EBADMSG, "\r\n", "" },
    { "9112 7.1 no size", AW_EBADMSG, ";a\r\n", "" },
    { "9112 7.1 sign", AW_EBADMSG, "+5\r\nhello", "" },
    { "9112 7.1 sign", AW_EBADMSG, "-5\r\nhello", "" },
    { "9112 7.1 0x", AW_EBADMSG, "0x5\r\nhello", "" },
    { "9112 7.1 space", AW_EBADMSG, " 5\r\nhello", "" },
    { "9112 7.1 space", AW_EBADMSG, "5 \r\nhello", "" },
    { "9112 7.1 space", AW_EBADMSG, "5 ;a\r\nhello", "" },
    { "9112 7.1 digit", AW_EBADMSG, "g\r\nhello", "" },
    { "9112 7.1 underscore", AW_EBADMSG, "1_0\r\n", "" },
    { "9112 7.1 bare LF", AW_EBADMSG, "5\nhello", "" },
    { "9112 7.1 bare CR", AW_EBADMSG, "5\rhello", "" },
    { "9112 7.1 data too long", AW_EBADMSG, "5\r\nhelloX\r\n", "hello" },
    { "9112 7.1 LF after data", AW_EBADMSG, "5\r\nhello\n0\r\n\r\n", "hello" },
    { "9112 7.1 CR after data", AW_EBADMSG, "5\r\nhello\r0\r\n", "hello" },
    { "9112 7.1 end", AW_EBADMSG, "0\r\n\n", "" },
    { "9112 7.1 end", AW_EBADMSG, "0\r\n\r\r\n", "" },
    { "9112 7.1 end", AW_EBADMSG, "0\n\r\n", "" },
    { "9112 7.1.1", 1, "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n", "hello" },
    { "9112 7.1.1 bare LF", AW_EBADMSG, "5;a\nhello", "" },
    { "9112 7.1.1 bare CR", AW_EBADMSG, "5;a\rb\r\nhello", "" },
    { "9112 7.1.1 control", AW_EBADMSG, "5;a\x01\r\nhello", "" },
    { "9112 7.1.1 DEL", AW_EBADMSG, "5;a\x7f\r\nhello", "" },
    { "9112 7.1.1 long", 1, "1" C1000 C1000 C1000 C1000 "\r\na\r\n0\r\n\r\n", "a" },
    { "9112 7.1.1 too long", AW_EBADMSG,
      "1" C1000 C1000 C1000 C1000 C100 "\r\na\r\n0\r\n\r\n", "" },
    { "9112 7.1.1 too long in all", AW_EBADMSG,
      "1" C1000 C1000 C1000 "\r\na\r\n1" C1000 C100 "\r\nb", "a" },
    { "9112 7.1.2", 1, "0\r\na: b\r\nc:\r\n\r\n", "" },
    { "9112 7.1.2", 1, "1\r\nx\r\n0\r\na: b\tc\xff\r\n\r\n", "x" },
    { "9112 7.1.2 name", AW_EBADMSG, "0\r\na b: c\r\n\r\n", "" },
    { "9112 7.1.2 name", AW_EBADMSG, "0\r\n: c\r\n\r\n", "" },
    { "9112 7.1.2 name", AW_EBADMSG, "0\r\nabc\r\n\r\n", "" },
    { "9112 7.1.2 space before colon", AW_EBADMSG, "0\r\na : c\r\n\r\n", "" },
    { "9112 7.1.2 fold", AW_EBADMSG, "0\r\na: b\r\n c\r\n\r\n", "" },
    { "9112 7.1.2 control", AW_EBADMSG, "0\r\na: b\x01\r\n\r\n", "" },
    { "9112 7.1.2 bare LF", AW_EBADMSG, "0\r\na: b\n\r\n", "" },
    { "9112 7.1.2 bare CR", AW_EBADMSG, "0\r\na: b\rc\r\n\r\n", "" },
    { "9112 7.1.2 100 fields", 1, "0\r\n" T100 T100 T100 T100 T100 "\r\n", "" },
    { "9112 7.1.2 101 fields", AW_ETOOBIG,
      "0\r\n" T100 T100 T100 T100 T100 "a: b\r\n\r\n", "" },
    { "9112 7.1.2 too long", AW_ETOOBIG, "0\r\na: " LONG8K "\r\n\r\n", "" },
    { "more", AW_EAGAIN, "", "" },
    { "more", AW_EAGAIN, "5", "" },
    { "more", AW_EAGAIN, "5\r\nhel", "hel" },
    { "more", AW_EAGAIN, "5\r\nhello\r\n0\r\n\r", "hello" }
};

/* Feeds the text in pieces: [0, split), then `step` bytes at a time. */
static int feed(const char *text, size_t len, size_t split, size_t step,
                char *body, size_t *left)
{
    aw__chunked c;
    size_t from = 0, n = 0;
    int r = AW_EAGAIN;
    memset(&c, 0, sizeof c);
    body[0] = 0;
    *left = 0;
    do {
        size_t to = from < split ? split : from + step;
        aw_slice in, data;
        char *p;
        if (to > len) to = len;
        p = (char *)malloc(to - from + !(to - from));
        if (to > from) memcpy(p, text + from, to - from);
        in = aw__slice(p, to - from);
        while ((r = aw__chunked_next(&c, &in, &data)) == AW_OK) {
            CHECK(data.n > 0);
            memcpy(body + n, data.p, data.n);
            n += data.n;
            body[n] = 0;
        }
        if (r == AW_EAGAIN) CHECK_EQ(in.n, 0);
        *left = in.n + (len - to);
        free(p);
        from = to;
    } while (r == AW_EAGAIN && from < len);
    return r;
}

TEST(chunked_table)
{
    static char body[20000];
    size_t i, split, left;
    for (i = 0; i < sizeof chunked / sizeof chunked[0]; i++) {
        const char *text = chunked[i].text;
        size_t len = strlen(text), splits = len < 200 ? len : 50;
        int want = chunked[i].want;
        CHECK_EQ(feed(text, len, len, 1, body, &left), want);
        CHECK_STR(body, chunked[i].body);
        CHECK_EQ(feed(text, len, 0, 1, body, &left), want);
        CHECK_STR(body, chunked[i].body);
        for (split = 0; split < splits; split++) {
            CHECK_EQ(feed(text, len, split, len, body, &left), want);
            CHECK_STR(body, chunked[i].body);
        }
    }
}

TEST(chunked_rest_is_the_next_message)
{
    const char *t = "3\r\nabc\r\n0\r\na: b\r\n\r\nGET / HTTP/1.1\r\n";
    char body[100];
    size_t left;
    CHECK_EQ(feed(t, strlen(t), strlen(t), 1, body, &left), 1);
    CHECK_EQ(left, 16);
    CHECK_EQ(feed(t, strlen(t), 0, 1, body, &left), 1);
    CHECK_EQ(left, 16);
}

TEST(chunked_lines)
{
    static const struct { size_t n; const char *line; } t[] = {
        { 0, "0\r\n" }, { 9, "9\r\n" }, { 15, "f\r\n" }, { 16, "10\r\n" },
        { 255, "ff\r\n" }, { 4096, "1000\r\n" }, { 0xdeadbeefu, "deadbeef\r\n" } };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        char out[18 + 1];
        out[aw__chunked_line(out, t[i].n)] = 0;
        CHECK_STR(out, t[i].line);
    }
    {
        char out[18];
        CHECK_EQ(aw__chunked_line(out, SIZE_MAX), 2 * sizeof(size_t) + 2);
        CHECK(out[0] == 'f' && out[2 * sizeof(size_t)] == '\r');
    }
}

/* ---- URLs -------------------------------------------------------------- */

static const char *decode(const char *text, bool form)
{
    static char out[200];
    size_t n = strlen(text), k;
    char *p = (char *)malloc(n + 1), *q = (char *)malloc(n + 1);
    int r;
    memcpy(p, text, n);
    r = aw__url_decode(q, p, n, form, &k);
    if (r == AW_OK) {
        memcpy(out, q, k);
        out[k] = 0;
        CHECK_EQ(aw__url_decode(p, p, n, form, &k), AW_OK);     /* in place */
        CHECK(memcmp(p, out, k) == 0);
    }
    free(p);
    free(q);
    return r == AW_OK ? out : NULL;
}

TEST(url_decode)
{
    CHECK_STR(decode("", false), "");
    CHECK_STR(decode("a%20b+c", false), "a b+c");
    CHECK_STR(decode("a%20b+c", true), "a b c");
    CHECK_STR(decode("%c3%A9%2F%25", false), "\xc3\xa9/%");
    CHECK_STR(decode("%2541", false), "%41");
    CHECK_STR(decode("%", false), NULL);
    CHECK_STR(decode("%4", false), NULL);
    CHECK_STR(decode("a%4g", false), NULL);
    CHECK_STR(decode("%%41", false), NULL);
    CHECK_STR(decode("%u0041", false), NULL);
    CHECK_STR(decode("100%", true), "100%");
    CHECK_STR(decode("%%41%4", true), "%A%4");
    CHECK_STR(decode("%zz+", true), "%zz ");
}

static const char *path(const char *text)
{
    static char out[200];
    size_t n = strlen(text), k;
    char *p = (char *)malloc(n + 1), *q = (char *)malloc(n ? n : 1);
    int r;
    memcpy(p, text, n + 1);
    r = aw__url_path(q, p, n, &k);
    if (r == AW_OK) {
        CHECK(k <= (n ? n : 1));
        memcpy(out, q, k);
        out[k] = 0;
        CHECK_EQ(aw__url_path(p, p, n, &k), AW_OK);             /* in place */
        CHECK(memcmp(p, out, k) == 0);
        p = (char *)realloc(p, k);
        CHECK_EQ(aw__url_path(p, p, k, &k), AW_OK);             /* stable */
        CHECK(memcmp(p, out, k) == 0);
    }
    free(p);
    free(q);
    return r == AW_OK ? out : NULL;
}

TEST(url_path)
{
    static const struct { const char *rfc, *in, *want; } t[] = {
        { "plain", "/", "/" }, { "empty", "", "/" }, { "plain", "/a/b", "/a/b" },
        { "plain", "/a/b/", "/a/b/" }, { "empty segments", "//a//", "//a//" },
        { "3986 5.2.4", "/.", "/" }, { "3986 5.2.4", "/./", "/" },
        { "3986 5.2.4", "/a/.", "/a/" }, { "3986 5.2.4", "/a/./b", "/a/b" },
        { "3986 5.2.4", "/a/..", "/" }, { "3986 5.2.4", "/a/../", "/" },
        { "3986 5.2.4", "/a/b/../c", "/a/c" },
        { "3986 5.2.4", "/a/b/../../c", "/c" },
        { "3986 5.2.4", "/a/b/..", "/a/" }, { "3986 5.2.4", "//..", "/" },
        { "above the root", "/..", NULL }, { "above the root", "/../a", NULL },
        { "above the root", "/a/../../b", NULL },
        { "above the root", "/./..", NULL },
        { "above the root", "/%2e%2E/a", NULL },
        { "above the root", "/a/.%2e/%2e./b", NULL },
        { "dots", "/...", "/..." }, { "dots", "/.a/..b/c.", "/.a/..b/c." },
        { "encoded dots", "/a/%2e/b", "/a/b" },
        { "encoded dots", "/a/%2e%2e/b", "/b" },
        { "once only", "/%252e%252e/a", "/%252e%252e/a" },
        { "2F is no separator", "/a%2fb", "/a%2Fb" },
        { "2F is no separator", "/a%2f../b", "/a%2F../b" },
        { "2F is no separator", "/a/..%2fb", "/a/..%2Fb" },
        { "6.2.2.2", "/%61%2D%7e", "/a-~" },
        { "6.2.2.1", "/caf%c3%a9", "/caf%C3%A9" },
        { "sub-delims", "/%21%24%26%27%28%29%2a%2b%2c%3b%3d%3a%40",
          "/!$&'()*+,;=:@" },
        { "stays", "/%3f%23%25%20%7b%5c", "/%3F%23%25%20%7B%5C" },
        { "plus", "/a+b", "/a+b" },
        { "NUL", "/a%00b", NULL }, { "escape", "/a%", NULL },
        { "escape", "/%4", NULL }, { "escape", "/%4/1", NULL },
        { "escape", "/%g1", NULL }, { "raw", "/a b", NULL },
        { "raw", "/a\\b", NULL }, { "raw", "/\xc3\xa9", NULL },
        { "raw", "/a?b", NULL }, { "no slash", "a", NULL },
        { "no slash", "*", NULL }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        const char *got = path(t[i].in);
        if (got != t[i].want) CHECK_STR(got, t[i].want);
    }
}

TEST(url_split)
{
    static const struct { const char *in, *path, *query; bool plain; } t[] = {
        { "/", "/", "", true }, { "/a.b/c?d=%41", "/a.b/c", "d=%41", true },
        { "/a/.b", "/a/.b", "", false }, { "/a%41", "/a%41", "", false },
        { "/a..", "/a..", "", true }, { "?x", "", "x", false },
        { "", "", "", false }, { "*", "*", "", false },
        { "/?a?b", "/", "a?b", true }, { "/.", "/.", "", false }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        char in[16 + AW__HEAD_SLACK];
        aw_slice p, q;
        memset(in, 'x', sizeof in);
        memcpy(in, t[i].in, strlen(t[i].in));
        CHECK_EQ(aw__url_split(in, strlen(t[i].in), &p, &q), t[i].plain);
        CHECK(is(p.p, 0, p.n, t[i].path));
        CHECK(is(q.p, 0, q.n, t[i].query));
    }
}

/* What url_split calls plain is what url_path leaves as it is. */
TEST(url_split_agrees_with_path)
{
    static const char bytes[] = "/./%2e4ab?.:";
    char in[12 + AW__HEAD_SLACK] = "", out[12];
    long i;
    for (i = 0; i < test_rounds(200000); i++) {
        size_t n = 1 + rnd(11), k, len;
        aw_slice p, q;
        bool plain;
        for (k = 0; k < n; k++) in[k] = bytes[rnd(12)];
        in[0] = '/';
        plain = aw__url_split(in, n, &p, &q);
        if (aw__url_path(out, p.p, p.n, &len) < 0) CHECK(!plain);
        else if (plain) CHECK(len == p.n && !memcmp(out, p.p, len));
    }
}

TEST(url_pairs)
{
    static const struct { const char *in, *want; } t[] = {
        { "", "" }, { "&&", "" }, { "a", "[a][]" }, { "a=", "[a][]" },
        { "=b", "[][b]" }, { "=", "[][]" }, { "a=b&c=d", "[a][b][c][d]" },
        { "&a=b&&c&", "[a][b][c][]" }, { "a=b=c", "[a][b=c]" },
        { "a;b=c", "[a;b][c]" }, { "a%26=%3D&+", "[a%26][%3D][+][]" }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        char out[100], *o = out;
        size_t n = strlen(t[i].in), pos = 0;
        char *p = (char *)malloc(n + !n);
        aw_slice name, value;
        memcpy(p, t[i].in, n);
        while (aw__url_pair(p, n, &pos, &name, &value))
            o += sprintf(o, "[%.*s][%.*s]", (int)name.n, name.p, (int)value.n,
                         value.p);
        *o = 0;
        CHECK_STR(out, t[i].want);
        CHECK(!aw__url_pair(p, n, &pos, &name, &value));
        free(p);
    }
}

TEST(url_parse)
{
    static const struct { const char *in, *want; } t[] = {
        { "http://a", "a|a|80|/|-|-|" },
        { "HTTPS://A.b/c", "A.b|A.b|443|/c|-|-|tls" },
        { "ws://a:8/x?y", "a:8|a|8|/x|y|-|ws" },
        { "wss://a", "a|a|443|/|-|-|tls ws" },
        { "http://a?b#c", "a|a|80|/|b|-|" },
        { "http://a/?#", "a|a|80|/||-|" },
        { "http://a#/x?y", "a|a|80|/|-|-|" },
        { "http://u:p@a:1/", "a:1|a|1|/|-|u:p|" },
        { "http://@a/", "a|a|80|/|-||" },
        { "http://[::1]/", "[::1]|::1|80|/|-|-|" },
        { "http://[::1]:65535", "[::1]:65535|::1|65535|/|-|-|" },
        { "http://a/b?c=[1]|{}", "a|a|80|/b|c=[1]|{}|-|" },
        { "http://a/%zz", "a|a|80|/%zz|-|-|" },
        { "", NULL }, { "a", NULL }, { "/a", NULL }, { "//a/", NULL },
        { "ftp://a/", NULL }, { "http:a", NULL }, { "http:/a", NULL },
        { "http://", NULL }, { "http:///x", NULL }, { "http://:80/", NULL },
        { "http://#a", NULL }, { "http://?a", NULL },
        { "http://a:/", "a|a|80|/|-|-|" },
        { "https://u:@[::1]:?b", "[::1]|::1|443|/|b|u:|tls" },
        { "http://a::/", NULL }, { "http://a:0/", NULL },
        { "http://a:65536/", NULL }, { "http://a:+1/", NULL },
        { "http://a:00080", "a:00080|a|80|/|-|-|" },
        { "http://a:000080/", NULL },
        { "http://a:1x/", NULL }, { "http://a b/", NULL },
        { "http://a/ b", NULL }, { "http://a/b\n", NULL },
        { "http://a/\xc3\xa9", NULL }, { "http://\xc3\xa9/", NULL },
        { "http://a/b\\c", NULL }, { "http://a\\b/", NULL },
        { "http://[::1/", NULL }, { "http://[::1%25lo]/", NULL },
        { "http://u@v@a/", NULL }, { "http://u p@a/", NULL },
        { "http://a%41/", NULL }, { " http://a/", NULL },
        { "http://a/?b c", NULL }, { "http://a/?b\r\nX: y", NULL }
    };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        size_t n = strlen(t[i].in);
        char *p = (char *)malloc(n + 1), out[200];
        aw__url u;
        int r;
        memcpy(p, t[i].in, n + 1);
        r = aw__url_parse(p, &u);
        CHECK_EQ(r, t[i].want ? AW_OK : AW_EURL);
        if (r == AW_OK && t[i].want) {
            sprintf(out, "%.*s|%.*s|%d|%.*s|%.*s|%.*s|%s%s%s",
                    (int)u.authority.n, u.authority.p, (int)u.host.n, u.host.p,
                    u.port, (int)u.path.n, u.path.p,
                    u.query.p ? (int)u.query.n : 1, u.query.p ? u.query.p : "-",
                    u.user.p ? (int)u.user.n : 1, u.user.p ? u.user.p : "-",
                    u.tls ? "tls" : "", u.tls && u.ws ? " " : "",
                    u.ws ? "ws" : "");
            CHECK_STR(out, t[i].want);
        }
        free(p);
    }
}

/* ---- dates ------------------------------------------------------------- */

static bool leap(int y)
{
    return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

/* Every day of the years 1..9999, counted by the calendar's own rules. */
TEST(date_every_day)
{
    static const int len[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t t = -INT64_C(62135596800), back;
    int y, m, d, week = 1, second = 0;          /* 1 January 0001: a Monday */
    char want[64], got[30];
    const int years = test_full() ? 1 : 5;
    for (y = 1; y <= 9999; y++) {
        for (m = 0; m < 12; m++) {
            for (d = 1; d <= len[m] + (m == 1 && leap(y)); d++) {
                bool look = y % 100 == 0 ||
                    (y % years == 0 && (d == 1 || d >= 28));
                if (look) {
                    aw__date_format(got, t + second);
                    sprintf(want, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                            aw__date_days + 3 * week, d,
                            aw__date_months + 3 * m, y, second / 3600,
                            second / 60 % 60, second % 60);
                    if (strcmp(got, want)) CHECK_STR(got, want);
                    if (aw__date_parse(got, 29, &back) || back != t + second)
                        CHECK_EQ(back, t + second);
                }
                t += 86400;
                week = (week + 1) % 7;
                second = (second + 7919) % 86400;
            }
        }
    }
    CHECK_EQ(t - 1, INT64_C(253402300799));
}

TEST(date_forms)
{
    static const struct { const char *in; int64_t want; } t[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
        { "Sun Nov  6 08:49:37 1994", 784111777 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Thursday, 01-Jan-70 00:00:00 GMT", 0 },
        { "Wednesday, 31-Dec-69 00:00:00 GMT", 3155673600 },
        { "Wed, 31 Dec 1969 23:59:59 GMT", -1 },
        { "Tue, 29 Feb 2000 00:00:00 GMT", 951782400 },
        { "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800 },
        { "Fri, 31 Dec 9999 23:59:60 GMT", 253402300800 },
        { "Mon Nov 16 08:49:37 1994", 784975777 }
    };
    static const char *const bad[] = { "", "0", "Sun", "Sun, 06 Nov 1994",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT", "Sun, 29 Feb 2001 08:49:37 GMT",
        "Sun, 32 Jan 1994 08:49:37 GMT", "Sun, 99 Jan 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT", "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT", "Sunday, 6-Nov-94 08:49:37 GMT",
        "Sun Nov x6 08:49:37 1994", "Sun Nov   08:49:37 1994",
        "Sun Nov  0 08:49:37 1994", "Sun Nov  6 08:49:37 +994",
        "Sunday, 06-Nov-94 08:49:37 GMTx", "Thursnay, 01-Jan-70 00:00:00 GMT",
        "Sun, 06 NovX1994 08:49:37 GMT", "SunMonTueWedThuFriSatSun" };
    size_t i;
    char out[30];
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        size_t n = strlen(t[i].in);
        char *p = (char *)malloc(n);
        int64_t got = 12345;
        memcpy(p, t[i].in, n);
        CHECK_EQ(aw__date_parse(p, n, &got), AW_OK);
        CHECK_EQ(got, t[i].want);
        free(p);
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t n = strlen(bad[i]);
        char *p = (char *)malloc(n + !n);
        int64_t got;
        int r;
        memcpy(p, bad[i], n);
        r = aw__date_parse(p, n, &got);
        if (r != AW_EBADMSG) printf("%s\n", bad[i]);
        CHECK_EQ(r, AW_EBADMSG);
        free(p);
    }
    aw__date_format(out, INT64_MIN);
    CHECK_STR(out, "Mon, 01 Jan 0001 00:00:00 GMT");
    aw__date_format(out, INT64_MAX);
    CHECK_STR(out, "Fri, 31 Dec 9999 23:59:59 GMT");
}

/* ---- base64 ------------------------------------------------------------ */

TEST(base64_rfc4648_10)
{
    static const char *const t[][2] = { { "", "" }, { "f", "Zg==" },
        { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
        { "\xfb\xff\xbf", "+/+/" } };
    static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zh==",
        "Zm9=", "Zm9vYg=", "=", "==", "===", "====", "Z===", "Zg==Zg==", "Zm8=Zm8=",
        "Zm 9", "Zm9{", "Zm9`", "Zm9[", "Zm9v\n", "Zm9\n", "Zm-v", "Zm_v", "Zm9\x80", "Z=g=", "=g==" };
    size_t i, n;
    char out[100];
    for (i = 0; i < 8; i++) {
        n = strlen(t[i][1]);
        out[aw__base64_encode(out, t[i][0], strlen(t[i][0]))] = 0;
        CHECK_STR(out, t[i][1]);
        CHECK_EQ(aw__base64_decode(out, t[i][1], n, &n), AW_OK);
        out[n] = 0;
        CHECK_STR(out, t[i][0]);
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(aw__base64_decode(out, bad[i], strlen(bad[i]), &n), AW_EBADMSG);
}

TEST(base64_round_trip)
{
    unsigned char in[64], out[64];
    char text[96];
    int i;
    for (i = 0; i < 20000; i++) {
        size_t n = rnd(64), k, len;
        for (k = 0; k < n; k++) in[k] = (unsigned char)rnd(256);
        len = aw__base64_encode(text, in, n);
        CHECK_EQ(len, (n + 2) / 3 * 4);
        CHECK_EQ(aw__base64_decode(text, text, len, &k), AW_OK);
        CHECK(k == n && memcmp(text, in, n) == 0);
    }
    (void)out;
}

/* ---- formatted text ------------------------------------------------------ */

/* Both give the same text and length, at every size of the buffer. */
#define SAME_PRINT(...) \
    do { \
        char want_[200], got_[200]; \
        const int n_ = snprintf(want_, sizeof want_, __VA_ARGS__); \
        size_t size_; \
        CHECK_EQ(n_, aw__print(got_, sizeof got_, __VA_ARGS__)); \
        CHECK_STR(want_, got_); \
        for (size_ = 1; size_ <= (size_t)n_ + 1; size_++) { \
            char *tight_ = (char *)malloc(size_); \
            (void)snprintf(want_, size_, __VA_ARGS__); \
            CHECK_EQ(n_, aw__print(tight_, size_, __VA_ARGS__)); \
            CHECK_STR(want_, tight_); \
            free(tight_); \
        } \
        CHECK_EQ(n_, aw__print(got_, 0, __VA_ARGS__)); \
    } while (0)

TEST(print_is_printf)
{
    static const char five[5] = {'f', 'i', 'v', 'e', '!'};
    const char *const s = "text";
    SAME_PRINT("%s", "");
    SAME_PRINT("100%% of %s, %s", s, s);
    SAME_PRINT("[%.*s|%.*s|%.*s]", 2, s, 0, s, 9, s);
    SAME_PRINT("%.*s", 5, five);            /* has no end of its own */
    SAME_PRINT("[%.2s|%.9s|%.0s]", s, s, s);
    SAME_PRINT("[%7s|%-7s|%2s|%-2s|%-7.2s]", s, s, s, s, s);
    SAME_PRINT("%d %d %d %d", 0, -1, INT_MAX, INT_MIN);
    SAME_PRINT("%u %u %x %x", 0u, UINT_MAX, 0u, UINT_MAX);
    SAME_PRINT("%ld %ld %lu %lx", LONG_MAX, LONG_MIN, ULONG_MAX, ULONG_MAX);
    SAME_PRINT("%lld %lld", LLONG_MAX, LLONG_MIN);
    SAME_PRINT("%llu %llx", ULLONG_MAX, ULLONG_MAX);
    SAME_PRINT("[%5d|%-5d|%05d|%05d|%02d]", 42, -42, 42, -42, 123);
    SAME_PRINT("%08lx%08lx", 0xbeeful, 0xffffffffful);
}

TEST(put_numbers)
{
    static const uint64_t numbers[] = {0, 1, 9, 10, 15, 16, 99, 100, 4096,
                                       UINT32_MAX, UINT64_MAX};
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char want[24], got[24];
        snprintf(want, sizeof want, "%llu", (unsigned long long)numbers[i]);
        *aw__put_number(got, numbers[i]) = 0;
        CHECK_STR(want, got);
        snprintf(want, sizeof want, "%llx", (unsigned long long)numbers[i]);
        *aw__put_hex(got, numbers[i]) = 0;
        CHECK_STR(want, got);
    }
    for (i = 0; i < 1000; i++) {
        char want[24], got[24];
        snprintf(want, sizeof want, "%u", (unsigned)i);
        *aw__put_three(got, (unsigned)i) = 0;
        CHECK_STR(want, got);
    }
}

/* ---- addresses ------------------------------------------------------------ */

/* As the system reads it, and as RFC 5952 says that it is written. */
TEST(address_text)
{
    static const struct {
        const char *text, *written; /* NULL: it is no address */
    } rows[] = {
        {"0.0.0.0", "0.0.0.0"}, {"192.0.2.1", "192.0.2.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"256.0.0.1", NULL}, {"1.2.3", NULL}, {"1.2.3.4.5", NULL},
        {"1.2.3.4 ", NULL}, {" 1.2.3.4", NULL}, {"1..3.4", NULL},
        {"1.2.3.", NULL}, {"01.2.3.4", NULL}, {"1.2.3.0004", NULL},
        {"", NULL}, {"localhost", NULL}, {"0x7f.0.0.1", NULL},
        {"::", "::"}, {"::1", "::1"}, {"1::", "1::"}, {"fe80::1", "fe80::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},  /* 4.2.3: the first */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},       /* 4.2.2 */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},        /* 4.2.3: the longest */
        {"2001:DB8::00Ff", "2001:db8::ff"},             /* 4.1, 4.3 */
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"0:0:0:0:0:0:0:1", "::1"}, {"1:0:0:0:0:0:0:0", "1::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},       /* 5 */
        {"0:0:0:0:0:ffff:c000:201", "::ffff:192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:7", NULL}, {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL}, {"1::2::3", NULL}, {":::", NULL},
        {":", NULL}, {":1", NULL}, {"1:", NULL}, {"1:2:", NULL},
        {"::12345", NULL}, {"::g", NULL}, {"::1%1", NULL}, {"[::1]", NULL},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL}, {"::1.2.3", NULL},
        {"::1.2.3.4:5", NULL}, {"::1.2.3.256", NULL}, {"1.2.3.4::", NULL},
        {"::12345.1.1.1", NULL}, {"::1 ", NULL},
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i].text) + 1;
        char *tight = (char *)memcpy(malloc(n), rows[i].text, n);
        char text[INET6_ADDRSTRLEN];
        unsigned char want[16];
        aw__address a;
        bool is;
        NOTE("\"%s\"", rows[i].text);
        is = aw__address_parse(tight, 80, &a);
        free(tight);
        CHECK_EQ(rows[i].written != NULL, is);
        CHECK_EQ(is, inet_pton(AF_INET, rows[i].text, want) == 1 ||
                 inet_pton(AF_INET6, rows[i].text, want) == 1);
        if (!is || !rows[i].written) continue;
        CHECK_EQ(0, memcmp(want, a.bytes, a.family == 6 ? 16 : 4));
        CHECK_EQ(80, a.port);
        *aw__address_put(text, &a) = 0;
        CHECK_STR(rows[i].written, text);
    }
}

/* Any mix of groups that are 0 comes back, and as the system writes it. */
TEST(address_round_trips)
{
    unsigned mix;
    for (mix = 0; mix < 3 * 256; mix++) {
        char text[INET6_ADDRSTRLEN], theirs[INET6_ADDRSTRLEN];
        aw__address a = aw__address_any(6, 0), b;
        int i;
        for (i = 0; i < 8; i++)
            if (mix >> i & 1)
                a.bytes[2 * i + (mix >> 8 == 1)] = mix >> 8 == 2 ? 0xff : 7;
        *aw__address_put(text, &a) = 0;
        NOTE("%s", text);
        CHECK(aw__address_parse(text, 0, &b));
        CHECK_EQ(0, memcmp(a.bytes, b.bytes, 16));
        if (memcmp(a.bytes, "\0\0\0\0\0\0\0\0\0\0\0", 12) == 0)
            continue;           /* the system takes ::7:7 for IPv4's */
        CHECK(inet_ntop(AF_INET6, a.bytes, theirs, sizeof theirs) != NULL);
#ifdef __GLIBC__
        CHECK_STR(theirs, text);
#else                           /* RFC 5952 4.2.3: the first of equal runs */
        CHECK(inet_pton(AF_INET6, text, &b.bytes) == 1);
        CHECK_EQ(0, memcmp(a.bytes, b.bytes, 16));
#endif
    }
}
