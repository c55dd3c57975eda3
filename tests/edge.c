/* edge.c: where the outside begins: listeners, proxies, overload. */
#include "http.h"

/* A copy whose last byte is the last of its block: overreads are seen. */
static char *exactly(const void *p, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1);
    if (n) memcpy(copy, p, n);
    return copy;
}

static aw_slice text_of(const char *text)
{
    return aw__slice(text, strlen(text));
}

/* Networks from a list; the caller frees nothing: eight at most. */
static aw__nets nets_of(const char *list)
{
    static aw__net all[8];
    aw__nets nets = {all, 0};
    aw_slice rest = text_of(list), word;
    while (aw__word(&rest, &word))
        CHECK(aw__net_read(word, &all[nets.n++]) == NULL);
    return nets;
}

static aw__address address_of(const char *text)
{
    aw__address a = aw__address_any(AW__UNIX, 0);
    if (strcmp(text, "unix") != 0) CHECK(aw__address_read(text_of(text), &a));
    return a;
}

/* ---- addresses and networks ---- */

TEST(networks)
{
    static const struct { const char *net, *address; bool has; } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true}, {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "8.8.8.8", true}, {"0.0.0.0/0", "::1", false},
        {"::1", "::1", true}, {"::1", "::2", false}, {"::/0", "1.2.3.4", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"127.0.0.0/8", "::ffff:127.0.0.1", true},  /* RFC 4291 2.5.5.2 */
        {"::ffff:127.0.0.1", "127.0.0.1", true},
        {"unix", "unix", true}, {"unix", "127.0.0.1", false},
        {"0.0.0.0/0", "unix", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__nets nets = nets_of(rows[i].net);
        aw__address a = address_of(rows[i].address);
        NOTE("%s in %s", rows[i].address, rows[i].net);
        CHECK_EQ(rows[i].has, aw__nets_have(&nets, &a));
    }
}

TEST(networks_that_are_none)
{
    static const char *const rows[][2] = {
        {"", "is no"}, {"localhost", "is no"}, {"1.2.3", "is no"},
        {"10.0.0.0/", "number of bits"}, {"10.0.0.0/x", "number of bits"},
        {"10.0.0.0/8/8", "number of bits"}, {"10.0.0.0/-1", "number of bits"},
        {"10.0.0.0/33", "not that many"}, {"::/129", "not that many"},
        {"10.0.0.1/8", "behind its prefix"}, {"::1/64", "behind its prefix"},
        {"::ffff:10.0.0.0/104", "IPv4"}, {"unix/8", "is no"},
        {"[::1]", "is no"}, {"1.2.3.4:80", "is no"}, {"fe80::1%1", "is no"},
        {"1111:1111:1111:1111:1111:1111:111.111.111.1111", "is no"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__net net;
        const size_t n = strlen(rows[i][0]);
        char *text = exactly(rows[i][0], n);
        const char *wrong = aw__net_read(aw__slice(text, n), &net);
        NOTE("%s: %s", rows[i][0], wrong);
        CHECK(wrong && strstr(wrong, rows[i][1]));
        free(text);
    }
}

/* ---- Forwarded ---- */

/* "client proto host" of a result; the client "-" if unsaid. */
static const char *said_of(int rc, const aw__forwarded *f)
{
    static char to[300];
    char ip[AW_PEER_TEXT];
    if (rc < 0) return "bad";
    aw__address_format(&f->client, ip, sizeof ip);
    if (f->client.family == 4) *strchr(ip, ':') = 0;
    if (f->client.family == 6) *strrchr(ip, ':') = 0;
    snprintf(to, sizeof to, "%.*s %s %.*s", f->client.family || !f->node.n
             ? 60 : (int)f->node.n,
             f->client.family ? ip : f->node.n ? f->node.p : "-",
             f->proto ? f->proto : "-", f->host.n ? (int)f->host.n : 1,
             f->host.n ? f->host.p : "-");
    return to;
}

TEST(forwarded)
{
    /* Trusted: 10.0.0.0/8 and ::1. */
    static const char *const rows[][3] = {
        {"7239 4", "for=192.0.2.60;proto=http;by=203.0.113.43",
         "192.0.2.60 http -"},
        {"7239 4 case", "For=\"[2001:db8:cafe::17]:4711\"",
         "[2001:db8:cafe::17] - -"},
        {"7239 4 case", "FOR=192.0.2.1;PROTO=HTTPS;HOST=A.example",
         "192.0.2.1 https A.example"},
        {"7239 6 port", "for=\"192.0.2.1:80\"", "192.0.2.1 - -"},
        {"7239 6 obfuscated port", "for=\"192.0.2.1:_p\"", "192.0.2.1 - -"},
        {"7239 6 unquoted", "for=192.0.2.1:80", "bad"},
        {"7239 6 unquoted", "for=[::2]", "bad"},
        {"7239 6 bare IPv6", "for=\"2001:db8::1\"", "bad"},
        {"7239 6 IPv4 in brackets", "for=\"[192.0.2.1]\"", "bad"},
        {"7239 6 port", "for=\"192.0.2.1:\"", "bad"},
        {"7239 6 port", "for=\"192.0.2.1:123456\"", "bad"},
        {"7239 6 port", "for=\"[::2]80\"", "bad"},
        {"7239 6 mapped", "for=\"[::ffff:10.0.0.9]\"", "10.0.0.9 - -"},
        {"7239 6.2", "for=unknown", "unknown - -"},
        {"7239 6.3", "for=_hid.d-en_", "_hid.d-en_ - -"},
        {"7239 6.3", "for=_", "bad"},
        {"7239 6.3", "for=_a~", "bad"},
        {"7239 6.3", "for=hidden", "bad"},
        {"7239 4 empty value", "for=", "bad"},
        {"7239 4 empty value", "for=\"\"", "bad"},
        {"7239 4 blanks", "for = 192.0.2.1", "bad"},
        {"7239 4 blanks", "for= 192.0.2.1", "bad"},
        {"7239 4 blanks", "for=192.0.2.1 ; proto=https", "192.0.2.1 https -"},
        {"7239 4 blanks", "for=192.0.2.1 proto=https", "bad"},
        {"7239 4 twice", "for=192.0.2.1;for=192.0.2.2", "bad"},
        {"7239 4 twice", "proto=http;Proto=http", "bad"},
        {"7239 4 empty pairs", ";;for=192.0.2.1;;", "192.0.2.1 - -"},
        {"9110 5.6.1 empty elements", ",, for=192.0.2.1 ,,", "192.0.2.1 - -"},
        {"empty", "", "- - -"},
        {"empty", " , ", "- - -"},
        {"7239 5.5 extension", "x=\"a,b;c\\\"\";for=192.0.2.1", "192.0.2.1 - -"},
        {"9110 5.6.4", "for=\"192.0.2.1", "bad"},
        {"9110 5.6.4", "x=\"\\\";for=192.0.2.1", "bad"},
        {"9110 5.6.4", "x=\"a\"b;for=192.0.2.1", "bad"},
        {"9110 5.6.4 escapes", "for=\"192.0.2.\\1\"", "bad"},
        {"no value", "for;proto=http", "bad"},
        {"no value", "=192.0.2.1", "bad"},
        {"7239 5.4", "for=192.0.2.1;proto=gopher", "bad"},
        {"wss", "for=192.0.2.1;proto=wss", "192.0.2.1 https -"},
        {"ws", "for=192.0.2.1;proto=ws", "192.0.2.1 http -"},
        {"7239 5.3", "host=\"example.com:8080\"", "- - example.com:8080"},
        {"7239 5.3", "host=\"a/b\"", "bad"},
        {"7239 5.3", "host=\"user@a\"", "bad"},
        {"7239 5.3", "host=\"a, b\"", "bad"},
        {"7239 5.3", "host=\"[::1]:8080\"", "- - [::1]:8080"},
        /* Who is believed: RFC 7239 8.1. */
        {"8.1 from the right", "for=6.6.6.6;host=evil, for=192.0.2.1;proto=https",
         "192.0.2.1 https -"},
        {"8.1 a trusted hop", "for=6.6.6.6, for=192.0.2.1;proto=https;host=a, "
         "for=10.0.0.7;proto=http;host=b", "192.0.2.1 https a"},
        {"8.1 all trusted", "for=10.1.1.1;host=c, for=10.2.2.2;host=b",
         "10.1.1.1 - c"},
        {"8.1 a trusted one behind another", "for=10.6.6.6, for=192.0.2.1, "
         "for=\"[::1]\"", "192.0.2.1 - -"},
        {"8.1 hidden ends it", "for=192.0.2.1, for=_proxy, for=10.0.0.1",
         "_proxy - -"},
        {"8.1 unsaid ends it", "for=192.0.2.1, proto=https, for=10.0.0.1",
         "- https -"},
        {"8.1 a forged quote", "for=\"6.6.6.6, for=192.0.2.1", "bad"},
        {"8.1 a forged quote", "x=\", for=192.0.2.1;host=\"a:1\"", "bad"},
        {"8.1 forged garbage", "///, for=192.0.2.1", "bad"},
    };
    aw__nets nets = nets_of("10.0.0.0/8 ::1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__forwarded f;
        const size_t n = strlen(rows[i][1]);
        char *text = exactly(rows[i][1], n);
        int rc = aw__forwarded_read(aw__slice(text, n), &nets, &f);
        NOTE("%s: %s", rows[i][0], rows[i][1]);
        CHECK_STR(rows[i][2], said_of(rc, &f));
        /* Cut anywhere: no overread, and no byte behind the cut is seen. */
        for (size_t cut = 0; cut < n; cut++) {
            char *part = exactly(text, cut);
            rc = aw__forwarded_read(aw__slice(part, cut), &nets, &f);
            CHECK(rc == 0 || rc == AW_EBADMSG);
            if (f.node.n)
                CHECK(f.node.p >= part && f.node.p + f.node.n <= part + cut);
            free(part);
        }
        free(text);
    }
}

TEST(x_forwarded)
{
    /* For, Proto, Host. Trusted: 10.0.0.0/8 and ::1. */
    static const char *const rows[][4] = {
        {"192.0.2.1", "https", "example.com:1", "192.0.2.1 https example.com:1"},
        {"192.0.2.1:4711", "", "", "192.0.2.1 - -"},
        {"2001:db8::1", "", "", "[2001:db8::1] - -"},
        {"[2001:db8::1]", "", "", "[2001:db8::1] - -"},
        {"[2001:db8::1]:80", "", "", "[2001:db8::1] - -"},
        {"unknown", "http", "", "unknown http -"},
        {"", "https", "a", "- https a"},
        {"6.6.6.6, 192.0.2.1", "https", "", "192.0.2.1 https -"},
        {"6.6.6.6,192.0.2.1,10.0.0.1 , ::1", "", "", "192.0.2.1 - -"},
        {"10.0.0.2, 10.0.0.1", "", "", "10.0.0.2 - -"},
        /* What a stranger wrote is not even judged... */
        {"<script>, 192.0.2.1, 10.0.0.1", "", "", "192.0.2.1 - -"},
        /* ...but what is believed is. */
        {"192.0.2.1, <script>", "", "", "bad"},
        {"192.0.2.1, <script>, 10.0.0.1", "", "", "bad"},
        {"<script>, 10.0.0.1", "", "", "bad"},
        {"192.0.2.1:99999", "", "", "bad"},
        {"192.0.2.1", "gopher", "", "bad"},
        {"192.0.2.1", "", "a b", "bad"},
        /* Lists go with the hops, or are of one. */
        {"6.6.6.6, 192.0.2.1, 10.0.0.1", "http, https, http", "x, a, b",
         "192.0.2.1 https a"},
        {"6.6.6.6, 192.0.2.1, 10.0.0.1", "https, http", "", "bad"},
        {"192.0.2.1", "https, http", "", "bad"},
        {"192.0.2.1", "", "a, b", "bad"},
        {"", "https, http", "", "bad"},
    };
    aw__nets nets = nets_of("10.0.0.0/8 ::1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw__forwarded f;
        char *part[3];
        aw_slice in[3];
        for (int j = 0; j < 3; j++) {
            in[j] = text_of(rows[i][j]);
            in[j].p = part[j] = exactly(in[j].p, in[j].n);
        }
        NOTE("%s | %s | %s", rows[i][0], rows[i][1], rows[i][2]);
        CHECK_STR(rows[i][3], said_of(aw__forwarded_read_x(
            in[0], in[1], in[2], &nets, &f), &f));
        for (int j = 0; j < 3; j++) free(part[j]);
    }
}

/* ---- the PROXY protocol ---- */

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define IP4 "\300\0\2\1" "\300\0\2\2" "\022\147" "\0\120"
#define NULLS16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define IP6 "\040\001\015\270\0\0\0\0\0\0\0\0\0\0\0\1" NULLS16 "\022\147" "\0\120"
#define NULLS108 NULLS16 NULLS16 NULLS16 NULLS16 NULLS16 NULLS16 \
    "\0\0\0\0\0\0\0\0\0\0\0\0"
#define ROW(text, want) {text, sizeof(text) - 1, want}
#define A90 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaaaaaaaaa"

typedef struct proxy_row {
    const char *bytes;
    size_t n;
    const char *want;           /* as of proxied_of() */
} proxy_row;

static const proxy_row proxy_rows[] = {
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", "192.0.2.1:4711"),
    ROW("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255:65535"),
    ROW("PROXY TCP6 2001:db8::1 ::1 0 80\r\n", "[2001:db8::1]:0"),
    ROW("PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "bad"),
    ROW("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 80\r\n", "192.0.2.1:1"),
    ROW("PROXY UNKNOWN\r\n", "unknown"),
    ROW("PROXY UNKNOWN whatever 1 2 3 4 5\r\n", "unknown"),
    ROW("PROXY UNKNOWN " A90 "a\r\n", "unknown"),       /* 107 */
    ROW("PROXY UNKNOWN " A90 "aa\r\n", "bad"),
    ROW("PROXY UNKNOWN " A90 "aaaaaaaaaaaa", "bad"),
    ROW("PROXY UNKNOWNx\r\n", "bad"),
    ROW("PROXY TCP4\r\n", "bad"),
    ROW("PROXY TCP5 192.0.2.1 192.0.2.2 4711 80\r\n", "bad"),
    ROW("PROXY TCP4 ::1 ::1 4711 80\r\n", "bad"),
    ROW("PROXY TCP6 192.0.2.1 192.0.2.2 4711 80\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 \r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 9\r\n", "bad"),
    ROW("PROXY TCP4  192.0.2.1 192.0.2.2 4711 80\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 04711 80\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\n", "bad"),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.300 4711 80\r\n", "bad"),
    ROW("PROXY\r\n", "bad"),
    ROW("PROXY \n", "bad"),
    ROW("proxy TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", "bad"),
    ROW("POST / HTTP/1.1\r\n\r\n", "bad"),
    ROW("GET / HTTP/1.1\r\n\r\n", "bad"),
    ROW("\r\n\r\n", "more"),
    ROW("\r\nGET", "bad"),
    ROW(SIG "\041\021\0\014" IP4, "192.0.2.1:4711"),
    ROW(SIG "\041\022\0\014" IP4, "192.0.2.1:4711"),            /* datagrams */
    ROW(SIG "\041\041\0\044" IP6, "[2001:db8::1]:4711"),
    ROW(SIG "\041\061\0\330" NULLS108 NULLS108, "unix:"),
    ROW(SIG "\041\0\0\0", "unknown"),
    ROW(SIG "\041\0\0\3abc", "unknown"),
    ROW(SIG "\040\0\0\0", "local"),
    ROW(SIG "\040\021\0\014" IP4, "local"),
    ROW(SIG "\040\0\0\5abcde", "local"),
    ROW(SIG "\041\021\0\013\300\0\2\1\300\0\2\2\022\147\0", "bad"),   /* short */
    ROW(SIG "\041\041\0\014" IP4, "bad"),
    ROW(SIG "\061\021\0\014" IP4, "bad"),                       /* version 3 */
    ROW(SIG "\042\021\0\014" IP4, "bad"),                       /* command 2 */
    ROW(SIG "\041\101\0\014" IP4, "bad"),                       /* family 4 */
    ROW(SIG "\041\023\0\014" IP4, "bad"),                       /* transport 3 */
    ROW(SIG "\041\021\020\0", "bad"),                           /* 4,096 more */
    ROW(SIG "\041\021\0\023" IP4 "\4\0\4abcd", "192.0.2.1:4711"),
    ROW(SIG "\041\021\0\022" IP4 "\4\0\0\4\0\0", "192.0.2.1:4711"),
    ROW(SIG "\041\021\0\016" IP4 "\4\0", "bad"),                /* TLV cut */
    ROW(SIG "\041\021\0\017" IP4 "\4\0\1", "bad"),
    ROW(SIG "\041\021\0\023" IP4 "\3\0\4abcd", "bad"),          /* checksum */
    ROW(SIG "\041\021\0\022" IP4 "\3\0\3abc", "bad"),
    ROW("\r\n\r\n\0\r\nQUIT\r", "bad"),
};

static const char *proxied_of(int rc, const aw__proxied *x)
{
    static char to[AW_PEER_TEXT];
    if (rc == AW_EAGAIN) return "more";
    if (rc < 0) return rc == AW_EBADMSG ? "bad" : "?";
    if (x->who == AW__PROXY_LOCAL) return "local";
    if (x->who == AW__PROXY_UNKNOWN) return "unknown";
    return aw__address_format(&x->client, to, sizeof to);
}

TEST(proxy_protocol)
{
    for (size_t i = 0; i < sizeof proxy_rows / sizeof *proxy_rows; i++) {
        const proxy_row *r = &proxy_rows[i];
        char *whole = exactly(r->bytes, r->n), *more;
        aw__proxied x;
        int rc = aw__proxy_header(whole, r->n, &x);
        const bool bad = rc == AW_EBADMSG;
        NOTE("row %d: %.60s", (int)i, r->bytes);
        CHECK_STR(r->want, proxied_of(rc, &x));
        if (rc > 0) CHECK_EQ(r->n, rc);
        /* Byte by byte: incomplete, until it is what it is. */
        for (size_t n = 1; n < r->n; n++) {
            char *part = exactly(whole, n);
            rc = aw__proxy_header(part, n, &x);
            CHECK(rc == AW_EAGAIN || (bad && rc == AW_EBADMSG));
            free(part);
            if (rc == AW_EBADMSG) break;
        }
        /* What follows is not its business. */
        more = (char *)malloc(r->n + 5);
        memcpy(more, whole, r->n);
        memcpy(more + r->n, "GET /", 5);
        rc = aw__proxy_header(more, r->n + 5, &x);
        if (strcmp(r->want, "more") != 0)
            CHECK_STR(r->want, proxied_of(rc, &x));
        if (rc > 0) CHECK_EQ(r->n, rc);
        free(more);
        free(whole);
    }
}

/* RFC 3720 B.4; and a header with the sum over itself. */
TEST(proxy_protocol_checksum)
{
    unsigned char b[64] = SIG "\041\021\0\026" IP4 "\3\0\4\0\0\0\0\4\0\0";
    const size_t n = 16 + 22;
    aw__proxied x;
    uint32_t sum = ~aw__crc32c(UINT32_MAX, (const unsigned char *)"123456789", 9);
    CHECK_EQ(0xe3069283u, sum);
    sum = ~aw__crc32c(UINT32_MAX, b, n);
    for (int i = 0; i < 4; i++) b[31 + i] = (unsigned char)(sum >> (24 - 8 * i));
    CHECK_EQ(n, aw__proxy_header((char *)b, n, &x));
    for (size_t i = 16; i < n; i++) {   /* any bit that changes shows... */
        if (i == 28) continue;          /* ...but what makes it a checksum */
        b[i] ^= 1;
        CHECK(aw__proxy_header((char *)b, n, &x) < 0);
        b[i] ^= 1;
    }
    b[35] = 3;                          /* a second one */
    CHECK_EQ(AW_EBADMSG, aw__proxy_header((char *)b, n, &x));
}
