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

/* ---- listeners, for real ---- */

#define GET_(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

VIEW(peer) { return aw_text(req, aw_peer(req)); }

ROUTES(plain, GET("/", peer))

/* A server on real sockets: turned by whoever waits for it. */
typedef struct served {
    aw_loop *loop;
    aw_config config;
    int rc;
} served;

static void quiet(void *data, aw_log_level level, const char *line)
{
    keep_log(data, level, line);
}

static served serve_at(const char *listen_at, aw_config c)
{
    served s;
    aw_loop_config l;
    memset(&l, 0, sizeof l);
    l.log = quiet;
    said[0] = 0;
    s.loop = aw_loop_new(&l);
    if (!c.routes) c.routes = plain;
    c.listen = listen_at;
    s.config = c;
    s.rc = aw_serve(s.loop, &c);
    return s;
}

static int dial_address(const aw__sys_address *a, socklen_t n)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    if (connect(fd, &a->any, n) < 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int dial_tcp(int family, int port)
{
    aw__address at = aw__address_loopback(family, port);
    aw__sys_address a;
    const socklen_t n = aw__address_to(&at, &a);
    return dial_address(&a, n);
}

static int dial_unix(const char *path)
{
    aw__sys_address a;
    memset(&a, 0, sizeof a);
    a.un.sun_family = AF_UNIX;
    snprintf(a.un.sun_path, sizeof a.un.sun_path, "%s", path);
    return dial_address(&a, sizeof a.un);
}

/* What is answered to the bytes, up to `until` or the end; "" for nothing. */
static const char *heard_by(aw_loop *l, int fd, const char *bytes,
                         const char *until)
{
    static char to[70000];
    size_t n = 0, len = strlen(bytes);
    to[0] = 0;
    if (len && send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) return "-";
    for (int i = 0; i < 2000; i++) {
        ssize_t got;
        (void)aw_loop_step(l, 1);
        got = recv(fd, to + n, sizeof to - 1 - n, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) break;
        if (got < 0) continue;
        n += (size_t)got;
        to[n] = 0;
        if (until && strstr(to, until)) break;
    }
    return to;
}

static bool answers(aw_loop *l, int fd, const char *text)
{
    const bool fine = fd >= 0 && strstr(heard_by(l, fd, GET_("/"), text), text);
    if (fd >= 0) close(fd);
    return fine;
}

static bool has_ipv6(void)
{
    aw__address at = aw__address_loopback(6, 0);
    aw__sys_address a;
    const socklen_t n = aw__address_to(&at, &a);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    const bool has = fd >= 0 && bind(fd, &a.any, n) == 0;
    if (fd >= 0) close(fd);
    return has;
}

static char dir[40];

static const char *scratch(void)
{
    snprintf(dir, sizeof dir, "/tmp/aw-edge-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    return dir;
}

static const char *in_scratch(const char *name)
{
    static char path[4][200];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
    return path[at];
}

TEST(listen_at_several)
{
    char list[300];
    served s;
    struct stat file;
    scratch();
    snprintf(list, sizeof list, "127.0.0.1:0 %s\tunix:%s\n",
             has_ipv6() ? "[::1]:0" : "127.0.0.1:0", in_scratch("a.sock"));
    s = serve_at(list, quiet_config());
    CHECK_EQ(0, s.rc);
    CHECK_EQ(3, s.loop->server->doors.count);
    CHECK(aw_serve_port(s.loop) > 0);
    CHECK(answers(s.loop, dial_tcp(4, aw_serve_port(s.loop)), "127.0.0.1"));
    if (has_ipv6())
        CHECK(answers(s.loop, dial_tcp(6, s.loop->server->doors.at[1].at.port),
                      "::1"));
    CHECK(answers(s.loop, dial_unix(in_scratch("a.sock")), "unix:"));
    aw_loop_free(s.loop);
    CHECK(lstat(in_scratch("a.sock"), &file) < 0);
    CHECK_EQ(0, rmdir(dir));
}

TEST(listen_at_pairs)
{
    static const char *const lists[] = {"*:0", "localhost:0"};
    for (int i = 0; i < 2; i++) {
        served s = serve_at(lists[i], quiet_config());
        CHECK_EQ(0, s.rc);
        CHECK(answers(s.loop, dial_tcp(4, aw_serve_port(s.loop)), "127.0.0.1"));
        if (s.loop->server->doors.count > 1)
            CHECK(answers(s.loop, dial_tcp(6, aw_serve_port(s.loop)), "::1"));
        aw_loop_free(s.loop);
    }
    if (has_ipv6()) {                   /* V6ONLY, whatever the system's way */
        served s = serve_at("[::]:0", quiet_config());
        CHECK_EQ(0, s.rc);
        CHECK_EQ(-1, dial_tcp(4, aw_serve_port(s.loop)));
        CHECK(answers(s.loop, dial_tcp(6, aw_serve_port(s.loop)), "::1"));
        aw_loop_free(s.loop);
    }
}

TEST(listen_mistakes)
{
    static const struct { const char *list; int rc; const char *said; } rows[] = {
        {"", AW_EINVAL, ""}, {" ", AW_EINVAL, ""},
        {"5000", AW_EINVAL, "at 5000: write ADDRESS:PORT"},
        {"127.0.0.1", AW_EINVAL, "ADDRESS:PORT"},
        {"127.0.0.1:", AW_EINVAL, "ADDRESS:PORT"},
        {"127.0.0.1:65536", AW_EINVAL, "ADDRESS:PORT"},
        {"127.0.0.1:80x", AW_EINVAL, "ADDRESS:PORT"},
        {":80", AW_EINVAL, "ADDRESS:PORT"},
        {"::1:80", AW_EINVAL, "ADDRESS:PORT"}, {"[::1]", AW_EINVAL, "ADDRESS"},
        {"[127.0.0.1]:80", AW_EINVAL, "ADDRESS:PORT"},
        {"[::1:80", AW_EINVAL, "ADDRESS:PORT"},
        {"example.com:80", AW_EADDRNOTAVAIL, "example.com:80"},
        {"127.0.0.1:0 nowhere:0", AW_EADDRNOTAVAIL, "nowhere:0"},
        {"192.0.2.1:0", AW_EADDRNOTAVAIL, "192.0.2.1:0"},
        {"unix:", AW_EINVAL, "1 to 107 bytes, not 0"},
        {"unix:/" A90 A90, AW_EINVAL, "1 to 107 bytes, not 181"},
        {"unix:/nowhere/at/all", AW_ENOENT, "no such file"},
        {"unix:.", AW_EADDRINUSE, "in use"},
        {"systemd", AW_ENOENT, "no such socket was passed"},
        {"127.0.0.1:0 systemd:x", AW_ENOENT, "no such socket was passed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        served s = serve_at(rows[i].list, quiet_config());
        NOTE("\"%s\": %d %.90s", rows[i].list, s.rc, said);
        CHECK_EQ(rows[i].rc, s.rc);
        CHECK(strstr(said, rows[i].said) != NULL);
        aw_loop_free(s.loop);
    }
    char many[40 * 12] = "";
    for (int i = 0; i < 33; i++) strcat(many, "127.0.0.1:0 ");
    served s = serve_at(many, quiet_config());
    CHECK_EQ(AW_ETOOBIG, s.rc);
    CHECK(strstr(said, "too many sockets") != NULL);
    aw_loop_free(s.loop);
}

TEST(unix_mode_and_removal)
{
    aw_config c = quiet_config();
    char list[300];
    struct stat file;
    served a, b;
    int fd;
    scratch();
    snprintf(list, sizeof list, "unix:%s", in_scratch("s"));
    c.unix_mode = 0620;
    a = serve_at(list, c);
    CHECK_EQ(0, a.rc);
    CHECK_EQ(0, aw_serve_port(a.loop));
    CHECK_EQ(0, lstat(in_scratch("s"), &file));
    CHECK_EQ(0620, file.st_mode & 0777);
    /* Somebody answers there. */
    b = serve_at(list, c);
    CHECK_EQ(AW_EADDRINUSE, b.rc);
    aw_loop_free(b.loop);
    CHECK(answers(a.loop, dial_unix(in_scratch("s")), "unix:"));
    /* Replaced by another one: that is not ours to remove. */
    CHECK_EQ(0, unlink(in_scratch("s")));
    b = serve_at(list, c);
    CHECK_EQ(0, b.rc);
    aw_loop_free(a.loop);
    CHECK(answers(b.loop, dial_unix(in_scratch("s")), "unix:"));
    /* A stop removes it at once, even while the drain goes on. */
    fd = dial_unix(in_scratch("s"));
    aw_serve_stop(b.loop);
    CHECK(lstat(in_scratch("s"), &file) < 0);
    close(fd);
    aw_loop_free(b.loop);
    /* What a dead process has left. */
    a = serve_at(list, c);
    a.loop->server->doors.at[0].remove = NULL;
    aw_loop_free(a.loop);
    CHECK_EQ(0, lstat(in_scratch("s"), &file));
    a = serve_at(list, c);
    CHECK_EQ(0, a.rc);
    CHECK(answers(a.loop, dial_unix(in_scratch("s")), "unix:"));
    aw_loop_free(a.loop);
    /* A file that is no socket stays. */
    fd = open(in_scratch("s"), O_CREAT | O_WRONLY, 0600);
    close(fd);
    a = serve_at(list, c);
    CHECK_EQ(AW_EADDRINUSE, a.rc);
    aw_loop_free(a.loop);
    CHECK_EQ(0, unlink(in_scratch("s")));
    CHECK_EQ(0, rmdir(dir));
}

/* Each system call fails in turn: nothing stays open, no file is left. */
TEST(listen_torture)
{
    char list[300];
    long n = 1;
    scratch();
    snprintf(list, sizeof list, "127.0.0.1:0 unix:%s", in_scratch("s"));
    for (;; n++) {
        served s;
        struct stat file;
        bool reached;
        fault_set(NULL, 0, 0);
        s.loop = aw_loop_new(NULL);
        s.config = quiet_config();
        s.config.routes = plain;
        s.config.listen = list;
        s.loop->log = quiet;
        fault_set(NULL, n, ENOMEM);
        s.rc = aw_serve(s.loop, &s.config);
        reached = fault_count >= n;
        fault_set(NULL, 0, 0);
        NOTE("failing call %ld: %d", n, s.rc);
        if (s.rc == 0)
            CHECK(answers(s.loop, dial_unix(in_scratch("s")), "unix:"));
        aw_loop_free(s.loop);
        CHECK(lstat(in_scratch("s"), &file) < 0);
        if (!reached) break;
    }
    CHECK(n > 12);
    CHECK_EQ(0, rmdir(dir));
}

/* ---- inherited sockets ---- */

/* Runs `child` as systemd would, with these descriptors from 3 on; what it
   returns. */
static int with_sockets(const int *fds, int n, const char *names, bool mine,
                        int (*child)(void))
{
    int status = -1;
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        char text[20];
        int copy[8];
        for (int i = 0; i < n; i++) copy[i] = fcntl(fds[i], F_DUPFD, 20);
        for (int i = 0; i < n; i++) dup2(copy[i], 3 + i);
        for (int i = 0; i < n; i++) close(copy[i]);
        snprintf(text, sizeof text, "%ld", (long)getpid() + !mine);
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof text, "%d", n);
        setenv("LISTEN_FDS", text, 1);
        if (names) setenv("LISTEN_FDNAMES", names, 1);
        status = child();
        fflush(stdout);
        _exit(test_.failures ? 1 : status);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int listening(int family, const char *path)
{
    aw__address at = aw__address_loopback(4, 0);
    aw__sys_address a;
    socklen_t n = aw__address_to(&at, &a);
    int fd = socket(family, SOCK_STREAM, 0);
    if (family == AF_UNIX) {
        memset(&a, 0, sizeof a);
        a.un.sun_family = AF_UNIX;
        snprintf(a.un.sun_path, sizeof a.un.sun_path, "%s", path);
        n = sizeof a.un;
    }
    CHECK_EQ(0, bind(fd, &a.any, n));
    CHECK_EQ(0, listen(fd, 8));
    return fd;
}

static int inherit_all(void)
{
    served s = serve_at("systemd", quiet_config());
    int port;
    CHECK_EQ(0, s.rc);
    CHECK_EQ(2, s.loop->server->doors.count);
    port = aw_serve_port(s.loop);
    CHECK(port > 0);
    CHECK_EQ(FD_CLOEXEC, fcntl(3, F_GETFD));
    CHECK_EQ(FD_CLOEXEC, fcntl(4, F_GETFD));
    CHECK(fcntl(3, F_GETFL) & O_NONBLOCK);
    CHECK(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS"));
    CHECK(!getenv("LISTEN_FDNAMES"));
    CHECK(answers(s.loop, dial_tcp(4, port), "127.0.0.1"));
    CHECK(answers(s.loop, dial_unix(in_scratch("in")), "unix:"));
    aw_loop_free(s.loop);
    return 7;
}

static int inherit_named(void)
{
    served s = serve_at("systemd:web", quiet_config());
    CHECK_EQ(0, s.rc);
    CHECK_EQ(1, s.loop->server->doors.count);
    CHECK_EQ(4, s.loop->server->doors.at[0].fd);
    CHECK_EQ(FD_CLOEXEC, fcntl(3, F_GETFD));
    aw_loop_free(s.loop);
    return 7;
}

/* All, and one of them by its name before: it stands there once. */
static int inherit_both(void)
{
    served s = serve_at("systemd:web systemd", quiet_config());
    CHECK_EQ(0, s.rc);
    CHECK_EQ(2, s.loop->server->doors.count);
    CHECK_EQ(4, s.loop->server->doors.at[0].fd);
    CHECK_EQ(3, s.loop->server->doors.at[1].fd);
    aw_loop_free(s.loop);
    return 7;
}

static int inherit_none(void)
{
    served s = serve_at("systemd", quiet_config());
    CHECK_EQ(AW_ENOENT, s.rc);
    CHECK_EQ(0, fcntl(3, F_GETFD));     /* somebody else's: left alone */
    aw_loop_free(s.loop);
    return 7;
}

static int inherit_wrong(void)
{
    served s = serve_at("systemd", quiet_config());
    CHECK_EQ(AW_EINVAL, s.rc);
    CHECK(strstr(said, "inherited descriptor 3 ") != NULL);
    aw_loop_free(s.loop);
    return strstr(said, "is no socket") ? 8 : strstr(said, "no stream") ? 9
        : strstr(said, "does not listen") ? 10 : 1;
}

TEST(inherited_sockets)
{
    int fds[2], datagrams, alone, file;
    struct stat st;
    scratch();
    fds[0] = listening(AF_INET, NULL);
    fds[1] = listening(AF_UNIX, in_scratch("in"));
    CHECK_EQ(7, with_sockets(fds, 2, "a:b", true, inherit_all));
    CHECK_EQ(0, lstat(in_scratch("in"), &st));          /* not ours */
    CHECK_EQ(7, with_sockets(fds, 2, "admin:web", true, inherit_named));
    CHECK_EQ(7, with_sockets(fds, 2, "admin:web", true, inherit_both));
    CHECK_EQ(7, with_sockets(fds, 2, "x", false, inherit_none));
    CHECK_EQ(7, with_sockets(fds, 0, NULL, true, inherit_none));
    datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    alone = socket(AF_INET, SOCK_STREAM, 0);
    file = open("/dev/null", O_RDONLY);
    CHECK_EQ(8, with_sockets(&file, 1, NULL, true, inherit_wrong));
    CHECK_EQ(9, with_sockets(&datagrams, 1, NULL, true, inherit_wrong));
    CHECK_EQ(10, with_sockets(&alone, 1, NULL, true, inherit_wrong));
    close(file);
    close(alone);
    close(datagrams);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(0, unlink(in_scratch("in")));
    CHECK_EQ(0, rmdir(dir));
}

/* ---- behind proxies, in memory ---- */

/* A connection that seems to come from there. */
static wire wire_from(aw_test *t, const char *address)
{
    aw__address at = aw__address_loopback(4, aw_serve_port(aw_test_loop(t)));
    const aw__address from = address_of(address);
    wire w;
    memset(&w, 0, sizeof w);
    w.loop = aw_test_loop(t);
    w.fd = -1;
    (void)aw__io_connect(w.loop, &at, &w.fd);
    w.loop->sim->caller = &from;
    wire_settle(&w);
    w.loop->sim->caller = NULL;
    return w;
}

VIEW(outside)
{
    return aw_printf(req, "%s %s %s [%s]", aw_peer(req), aw_scheme(req),
                     aw_host(req), aw_base_url(req));
}

static char late[200];

ASYNC(mail, (aw_req *req;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1000);
        snprintf(late, sizeof late, "%s|%s", aw_base_url(self->req),
                 aw_peer(self->req));
    }
}

VIEW(later)
{
    SPAWN(mail, req);
    return aw_text(req, "sent");
}

ROUTES(behind, GET("/", outside), GET("/later", later))

#define FROM(fields) "GET / HTTP/1.1\r\nHost: inside\r\n" fields "\r\n"

static aw_test *behind_proxies(aw_config c)
{
    if (!c.trusted_proxies) c.trusted_proxies = "127.0.0.0/8 ::1 10.0.0.0/8";
    return app_with(behind, &c);
}

TEST(proxies_believed)
{
    static const char *const rows[][3] = {
        {"10.0.0.1", FROM(""), "10.0.0.1 http inside [http://inside]"},
        {"10.0.0.1", FROM("Forwarded: for=192.0.2.1;proto=https;host=a.example\r\n"),
         "192.0.2.1 https a.example [https://a.example]"},
        {"::1", FROM("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
                     "X-Forwarded-Host: b:8443\r\n"),
         "192.0.2.1 https b:8443 [https://b:8443]"},
        /* From anybody else: nothing of it. */
        {"192.0.2.9", FROM("Forwarded: for=1.2.3.4;proto=https;host=evil\r\n"),
         "192.0.2.9 http inside [http://inside]"},
        {"192.0.2.9", FROM("X-Forwarded-For: 10.0.0.1\r\n"),
         "192.0.2.9 http inside [http://inside]"},
        {"unix", FROM("X-Forwarded-For: 192.0.2.1\r\n"),
         "unix: http inside [http://inside]"},
        /* Forwarded wins, the good and the bad one. */
        {"10.0.0.1", FROM("X-Forwarded-For: 6.6.6.6\r\nForwarded: for=192.0.2.1\r\n"
                          "X-Forwarded-Proto: https\r\n"),
         "192.0.2.1 http inside [http://inside]"},
        {"10.0.0.1", FROM("X-Forwarded-For: 6.6.6.6\r\nForwarded: for=\r\n"),
         "10.0.0.1 http inside [http://inside]"},
        {"10.0.0.1", FROM("X-Forwarded-For: 192.0.2.1\r\n"
                          "X-Forwarded-Proto: http, https\r\n"),
         "10.0.0.1 http inside [http://inside]"},
        /* Lines are one list (RFC 9110 5.3). */
        {"10.0.0.1", FROM("Forwarded: for=6.6.6.6\r\nForwarded: for=192.0.2.1\r\n"
                          "Forwarded: for=10.0.0.2\r\n"),
         "192.0.2.1 http inside [http://inside]"},
        {"10.0.0.1", FROM("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: "
                          "192.0.2.1\r\n"), "192.0.2.1 http inside [http://inside]"},
        {"10.0.0.1", FROM("Forwarded: for=_secret\r\n"),
         "_secret http inside [http://inside]"},
        {"10.0.0.1", FROM("Forwarded: proto=https\r\n"),
         "10.0.0.1 https inside [https://inside]"},
        {"192.0.2.9", "GET / HTTP/1.0\r\n\r\n", "192.0.2.9 http  []+"},
        {"192.0.2.9", "GET http://target:81/ HTTP/1.1\r\nHost: x\r\n\r\n",
         "192.0.2.9 http target:81 [http://target:81]"},
    };
    aw_test *t = behind_proxies(quiet_config());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w = wire_from(t, rows[i][0]);
        char want[200];
        NOTE("%s: %.150s", rows[i][0], rows[i][1]);
        wire_say(&w, rows[i][1]);
        snprintf(want, sizeof want, "200=%s", rows[i][2]);
        CHECK_STR(want, digest(&w));
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(proxies_in_the_log_and_afterwards)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.access_log = 0;
    t = behind_proxies(c);
    w = wire_from(t, "10.0.0.1");
    wire_say(&w, FROM("Forwarded: for=\"[2001:db8::1]:4711\"\r\n"));
    CHECK(strstr(said, "2001:db8::1 - - ") != NULL);
    wire_say(&w, "GET /later HTTP/1.1\r\nHost: inside\r\nForwarded: for=1.2.3.4;"
             "proto=https;host=site\r\nConnection: close\r\n\r\n");
    wire_close(&w);
    aw_test_advance(t, 2000);
    CHECK_STR("https://site|", late);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(proxies_mistakes)
{
    static const char *const lists[] = {"10.0.0.0/8, ::1", "localhost",
                                        "::1 10.0.0.1/8"};
    aw_config c = quiet_config();
    for (int i = 0; i < 3; i++) {
        c.trusted_proxies = lists[i];
        CHECK(app_with(behind, &c) == NULL);
        CHECK(strstr(said, "trusted_proxies: ") != NULL);
    }
    c.trusted_proxies = " ";
    c.proxy_protocol = true;
    CHECK(app_with(behind, &c) == NULL);
    CHECK(strstr(said, "needs trusted_proxies") != NULL);
}

/* ---- the PROXY protocol, in memory ---- */

#define LINE "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"
static const char binary[] = SIG "\041\021\0\023" IP4 "\4\0\4abcd";

static aw_test *through_proxy(void)
{
    aw_config c = quiet_config();
    c.proxy_protocol = true;
    c.head_ms = 3000;
    c.idle_ms = 9000;
    return behind_proxies(c);
}

/* Whole, byte by byte and split anywhere: the same. */
TEST(proxy_protocol_splits)
{
    static const struct { const char *p; size_t n; const char *want; } rows[] = {
        {LINE, sizeof LINE - 1, "192.0.2.1"},
        {binary, sizeof binary - 1, "192.0.2.1"},
        {"PROXY UNKNOWN\r\n", 15, "10.0.0.1"},
        {SIG "\040\0\0\0", 16, "10.0.0.1"},
    };
    static const char two[] = FROM("") FROM("");
    aw_test *t = through_proxy();
    for (size_t i = 0; i < 4; i++) {
        const size_t n = rows[i].n + sizeof two - 1;
        char all[400], want[200];
        memcpy(all, rows[i].p, rows[i].n);
        memcpy(all + rows[i].n, two, sizeof two);
        snprintf(want, sizeof want, "200=%s http inside [http://inside] "
                 "200=%s http inside [http://inside]", rows[i].want,
                 rows[i].want);
        for (size_t cut = 0; cut < n; cut++) {
            wire w = wire_from(t, "10.0.0.1");
            NOTE("row %d cut at %d", (int)i, (int)cut);
            for (size_t at = 0; cut == 0 && at < n; at++) {
                wire_send(&w, all + at, 1);
                wire_settle(&w);
            }
            if (cut) {
                wire_send(&w, all, cut);
                wire_settle(&w);
                wire_send(&w, all + cut, n - cut);
                wire_settle(&w);
            }
            CHECK_STR(want, digest(&w));
            wire_close(&w);
        }
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* What the client of the proxy says of others does not count, unless it is a
   trusted proxy as well. */
TEST(proxy_protocol_and_forwarded)
{
    static const char *const rows[][2] = {
        {LINE, "192.0.2.1 http inside [http://inside]"},
        {"PROXY TCP4 10.0.0.7 10.0.0.1 1 80\r\n",
         "1.2.3.4 https evil [https://evil]"},
        {"PROXY UNKNOWN\r\n", "10.0.0.1 http inside [http://inside]"},
    };
    aw_test *t = through_proxy();
    for (int i = 0; i < 3; i++) {
        wire w = wire_from(t, "10.0.0.1");
        char want[200];
        wire_say(&w, rows[i][0]);
        wire_say(&w, FROM("Forwarded: for=1.2.3.4;proto=https;host=evil\r\n"));
        snprintf(want, sizeof want, "200=%s", rows[i][1]);
        CHECK_STR(want, digest(&w));
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* The client of a proxy may be a UNIX socket there; ours are not meant. */
TEST(proxy_protocol_and_unix)
{
    static const char head[] = SIG "\041\061\0\330" NULLS108 NULLS108;
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.proxy_protocol = true;
    c.trusted_proxies = "unix 10.0.0.0/8";
    t = behind_proxies(c);
    w = wire_from(t, "10.0.0.1");
    wire_send(&w, head, sizeof head - 1);
    wire_say(&w, FROM("Forwarded: for=1.2.3.4;proto=https;host=evil\r\n"));
    CHECK_STR("200=unix: http inside [http://inside]", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* What was seen of the header counts as nothing seen of the request, neither
   of its bytes nor of its time. */
TEST(proxy_protocol_then_a_short_head)
{
    static const char line[] = "PROXY UNKNOWN " A90 "a\r\n";
    aw_test *t = through_proxy();
    wire w = wire_from(t, "10.0.0.1");
    wire_send(&w, line, sizeof line - 3);
    wire_settle(&w);
    wire_say(&w, "\r\n" FROM(""));
    CHECK_STR("200=10.0.0.1 http inside [http://inside]", digest(&w));
    wire_close(&w);
    w = wire_from(t, "10.0.0.1");
    wire_send(&w, line, sizeof line - 3);
    wire_settle(&w);
    wire_say(&w, "\r\n");
    aw_test_advance(t, 8900);           /* longer than head_ms: it idles */
    wire_settle(&w);
    CHECK(!w.ended);
    wire_say(&w, FROM(""));
    CHECK_STR("200=10.0.0.1 http inside [http://inside]", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(proxy_protocol_refuses)
{
    aw_test *t = through_proxy();
    wire w = wire_from(t, "192.0.2.9");         /* not a proxy */
    CHECK(w.ended && w.n == 0);
    wire_close(&w);
    w = wire_from(t, "10.0.0.1");               /* no header */
    wire_say(&w, FROM(""));
    CHECK(w.ended && w.n == 0);
    wire_close(&w);
    w = wire_from(t, "10.0.0.1");               /* it comes once */
    wire_say(&w, LINE LINE FROM(""));
    CHECK_STR("400+", digest(&w));
    wire_close(&w);
    w = wire_from(t, "10.0.0.1");               /* not in time */
    wire_say(&w, "PROXY TCP4 ");
    aw_test_advance(t, 2900);
    wire_settle(&w);
    CHECK(!w.ended);
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK(w.ended);
    wire_close(&w);
    w = wire_from(t, "10.0.0.1");               /* then silence: it idles */
    wire_say(&w, LINE);
    aw_test_advance(t, 8900);
    wire_settle(&w);
    CHECK(!w.ended);
    aw_test_advance(t, 200);
    wire_settle(&w);
    CHECK(w.ended && w.n == 0);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- descriptors ---- */

static int raise_limits(void)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = 100;
    r.rlim_max = 300;
    CHECK_EQ(0, setrlimit(RLIMIT_NOFILE, &r));
    aw__sys_raise_descriptors(200);
    CHECK_EQ(200, aw__sys_descriptors());
    aw__sys_raise_descriptors(150);         /* never down */
    CHECK_EQ(200, aw__sys_descriptors());
    aw__sys_raise_descriptors(65536);
    CHECK_EQ(300, aw__sys_descriptors());
    return 7;
}

TEST(descriptors_raised)
{
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "valgrind")) return; /* it refuses */
    CHECK_EQ(7, with_sockets(NULL, 0, NULL, true, raise_limits));
}

/* ---- overload, in memory ---- */

ASYNC_VIEW(naps)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 1000));
        RETURN(aw_text(req, "rested"));
    }
}

VIEW(size) { return aw_printf(req, "%lu", (unsigned long)aw_body(req).n); }

VIEW(large)
{
    const size_t n = 300000;
    char *p = (char *)aw_alloc(req, n);
    if (!p) return AW_ENOMEM;
    memset(p, 'x', n);
    return aw_bytes(req, "text/html", p, n);
}

VIEW(poor) { (void)req; return AW_ENOMEM; }

ROUTES(crowded,
    GET("/", peer), GET("/nap", naps), POST("/size", size),
    GET("/large", large), GET("/poor", poor),
    GET("/half", naps, .half_close = true))

/* Slow heads fill the table: they have a second. */
TEST(overload_by_slow_heads)
{
    enum { N = 10 };
    aw_config c = quiet_config();
    wire slow[N], w;
    aw_test *t;
    int closed = 0;
    c.max_connections = N;
    t = app_with(crowded, &c);
    for (int i = 0; i < N; i++) {
        slow[i] = wire_open(t);
        wire_say(&slow[i], "GET / HTTP/1.1\r\nX-");
    }
    aw_test_advance(t, 500);
    w = wire_open(t);
    wire_say(&w, GET_("/"));
    aw_test_advance(t, 400);
    wire_settle(&w);
    CHECK_STR("", digest(&w));
    aw_test_advance(t, 250);            /* looked at again each 100 ms */
    wire_settle(&w);
    CHECK_STR("200=127.0.0.1", digest(&w));
    for (int i = 0; i < N; i++) {
        wire_settle(&slow[i]);
        closed += slow[i].ended;
        wire_close(&slow[i]);
    }
    CHECK_EQ(1, closed);                /* no more than were in the way */
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* A view that sends on another's connection, for which there is no room: its
   own is not the one that makes some. */
static aw_req *lends_to;

ASYNC_VIEW(lends_first)
{
    BEGIN {
        lends_to = req;
        AWAIT(aw_sleep_ms, 100000);
        RETURN(aw_text(req, "first"));
    }
}

VIEW(lends)
{
    aw__server *s = aw__req_loop(req)->server;
    aw__conn *was = aw__out_lend(s, lends_to->conn);
    const bool evicted = aw__server_evict(s, 1000, lends_to->conn->fd);
    CHECK(req->conn != NULL);
    aw__out_back(s, was, lends_to->conn);
    return aw_text(req, evicted ? "somebody" : "nobody");
}

ROUTES(lending, GET("/", peer), GET("/first", lends_first), GET("/lend", lends))

TEST(overload_evicts_nobody_whose_view_runs)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(lending, &c);
    wire w[3];
    for (int i = 0; i < 3; i++) w[i] = wire_open(t);
    wire_say(&w[0], GET_("/first"));
    wire_say(&w[1], GET_("/"));
    CHECK_STR("200=127.0.0.1", digest(&w[1]));
    aw_test_advance(t, 10);
    wire_say(&w[2], GET_("/"));
    CHECK_STR("200=127.0.0.1", digest(&w[2]));
    aw_test_advance(t, 10);
    wire_say(&w[1], GET_("/lend"));     /* the oldest that idled */
    wire_settle(&w[2]);
    CHECK(w[2].ended);
    CHECK_STR("200=127.0.0.1 200=somebody", digest(&w[1]));
    aw_test_advance(t, 10);
    wire_say(&w[1], GET_("/lend"));
    CHECK_STR("200=127.0.0.1 200=somebody 200=nobody", digest(&w[1]));
    for (int i = 0; i < 3; i++) wire_close(&w[i]);
    CHECK_EQ(0, aw_test_close(t));
}

/* Who goes first when there is no room. */
TEST(overload_evicts_in_order)
{
    enum { LINGERS, IDLES, HEAD_, WRITES, BODY_, VIEW_, N };
    static const char *const texts[N] = {
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", GET_("/"),
        "GET / HTTP/1.1\r\nX-", GET_("/large"),
        "POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1",
        GET_("/nap?ms=100000"),
    };
    aw_config c = quiet_config();
    wire old[N], fresh[N];
    aw_test *t;
    c.max_connections = N;
    c.write_ms = c.body_ms = c.head_ms = 60000;
    t = app_with(crowded, &c);
    for (int i = N - 1; i >= 0; i--) {
        old[i] = wire_open(t);
        wire_send(&old[i], texts[i], strlen(texts[i]));
        for (int j = 0; j < 8; j++) (void)aw_loop_step(old[i].loop, 0);
        if (i == HEAD_) aw_test_advance(t, 6000);
    }
    aw_test_advance(t, 1000);           /* LINGER ends after 2,000 */
    for (int i = 0; i < VIEW_; i++) {
        fresh[i] = wire_open(t);
        wire_say(&fresh[i], GET_("/nap?ms=100000"));
        NOTE("eviction %d", i);
        CHECK_EQ(N, old[0].loop->server->connections);
        for (int j = i == LINGERS ? 0 : LINGERS + 1; j < N; j++) {
            if (j != WRITES) wire_take(&old[j]);
            if (j != WRITES) CHECK_EQ(j <= i, old[j].ended);
        }
    }
    CHECK(aw__list_empty(&old[0].loop->server->lists[AW__IN_WRITE]));
    CHECK(!aw__list_empty(&old[0].loop->server->lists[AW__IN_VIEW]));
    fresh[VIEW_] = wire_open(t);        /* views stay: it has to wait */
    wire_say(&fresh[VIEW_], GET_("/"));
    CHECK_EQ(0, fresh[VIEW_].n);
    for (int i = 0; i < N; i++) wire_close(&old[i]), wire_close(&fresh[i]);
    CHECK_EQ(0, aw_test_close(t));
}

/* One that has only just come is not yet idle: the next one waits. */
TEST(overload_lets_newcomers_speak)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire first, next;
    c.max_connections = 1;
    t = app_with(crowded, &c);
    first = wire_open(t);
    for (int i = 0; i < 8; i++) (void)aw_loop_step(first.loop, 0);
    aw_test_advance(t, 50);
    next = wire_open(t);
    wire_say(&next, GET_("/"));
    CHECK_EQ(0, next.n);
    wire_say(&first, GET_("/"));
    CHECK_STR("200=127.0.0.1", digest(&first));
    aw_test_advance(t, 150);
    wire_settle(&next);
    CHECK_STR("200=127.0.0.1", digest(&next));
    wire_close(&next);
    wire_close(&first);
    first = wire_open(t);               /* who says nothing has to go */
    for (int i = 0; i < 8; i++) (void)aw_loop_step(first.loop, 0);
    aw_test_advance(t, 90);
    next = wire_open(t);
    wire_say(&next, GET_("/"));
    CHECK_EQ(0, next.n);
    aw_test_advance(t, 150);
    wire_settle(&next);
    CHECK_STR("200=127.0.0.1", digest(&next));
    wire_close(&next);
    wire_close(&first);
    CHECK_EQ(0, aw_test_close(t));
}

/* It does not guard who was answered since, at the cost of one that is busy. */
TEST(overload_behind_newcomers)
{
    aw_config c = quiet_config();
    wire busy, mute, idle, next;
    aw_test *t;
    c.max_connections = 3;
    c.write_ms = 60000;
    t = app_with(crowded, &c);
    busy = wire_open(t);
    wire_send(&busy, GET_("/large"), strlen(GET_("/large")));
    for (int i = 0; i < 8; i++) (void)aw_loop_step(busy.loop, 0);
    aw_test_advance(t, 6000);
    mute = wire_open(t);
    for (int i = 0; i < 8; i++) (void)aw_loop_step(mute.loop, 0);
    aw_test_advance(t, 20);
    idle = wire_open(t);
    wire_say(&idle, GET_("/"));
    aw_test_advance(t, 20);
    next = wire_open(t);
    wire_say(&next, GET_("/"));
    CHECK_STR("200=127.0.0.1", digest(&next));
    wire_take(&idle);
    CHECK(idle.ended);
    CHECK(!aw__list_empty(&busy.loop->server->lists[AW__IN_WRITE]));
    wire_close(&busy), wire_close(&mute);
    wire_close(&idle), wire_close(&next);
    CHECK_EQ(0, aw_test_close(t));
}

/* What came while the loop was busy is heard before somebody has to go. */
TEST(overload_hears_before_it_evicts)
{
    static const char get_[] = GET_("/"), post_[] =
        "POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    static const struct {
        const char *text, *answer;
        size_t said;
        int busy_ms;
    } rows[] = {{get_, "200=127.0.0.1", 0, 150}, {get_, "200=127.0.0.1", 9, 1500},
                {post_, "200=3", sizeof post_ - 3, 6000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_config c = quiet_config();
        const char *text = rows[i].text;
        const size_t n = rows[i].said;
        wire first, next;
        aw_test *t;
        NOTE("%d bytes before", (int)n);
        c.max_connections = 1;
        t = app_with(crowded, &c);
        first = wire_open(t);
        wire_send(&first, text, n);
        for (int k = 0; k < 8; k++) (void)aw_loop_step(first.loop, 0);
        next = wire_ask(t);
        wire_send(&first, text + n, strlen(text + n));
        first.loop->now += rows[i].busy_ms;
        wire_settle(&first);
        CHECK_STR(rows[i].answer, digest(&first));
        wire_say(&next, get_);
        aw_test_advance(t, 150);
        wire_settle(&next);
        CHECK_STR("200=127.0.0.1", digest(&next));
        wire_close(&first), wire_close(&next);
        CHECK_EQ(0, aw_test_close(t));
    }
}

TEST(max_per_address)
{
    static const char *const four[] = {"192.0.2.1", "192.0.2.2", "10.0.0.1",
                                       "unix", "2001:db8::1", "2001:db8:0:1::1"};
    aw_config c = quiet_config();
    aw_test *t;
    wire w[3], other;
    c.max_per_address = 3;
    c.trusted_proxies = "10.0.0.0/8";
    t = app_with(crowded, &c);
    for (int i = 0; i < 6; i++) {
        const bool exempt = i == 2 || i == 3;
        for (int j = 0; j < 3; j++) w[j] = wire_from(t, four[i]);
        NOTE("%s", four[i]);
        other = wire_from(t, i == 4 ? "2001:db8::ffff:1:2:3" : four[i]);
        CHECK_EQ(!exempt, other.ended);
        wire_close(&other);
        for (int j = 0; j < 3; j++) CHECK(!w[j].ended);
        wire_close(&w[0]);              /* one less: one more */
        w[0] = wire_from(t, four[i]);
        wire_say(&w[0], GET_("/"));
        CHECK_EQ(3, digest(&w[0])[0] == '2' ? 3 : 0);
        for (int j = 1; j < 3; j++) wire_close(&w[j]);
        /* w[0] stays for a while: the next address does not care. */
        wire_close(&w[0]);
    }
    CHECK_EQ(0, aw_test_loop(t)->server->crowd.used);
    CHECK_EQ(0, aw_test_close(t));
}

/* Views that stream and wait for their client: it has 5 s in a full table. */
ASYNC_VIEW(upload, char bytes[100]; int n;)
{
    BEGIN {
        do AWAIT_TO(self->n, aw_body_read, req, self->bytes, 100);
        while (self->n > 0);
        RETURN(self->n < 0 ? self->n : aw_text(req, "all"));
    }
}

ASYNC_VIEW(download)
{
    static char all[300000];
    BEGIN {
        if (aw_stream_begin(req, "text/html") < 0) RETURN(500);
        AWAIT(aw_send, req, all, sizeof all);
        RETURN(0);
    }
}

ROUTES(streamed,
    GET("/", peer), POST("/upload", upload, .stream = true),
    GET("/download", download))

TEST(overload_evicts_streams)
{
    static const char *const asks[] = {
        "POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1",
        GET_("/download"),
    };
    aw_config c = quiet_config();
    c.max_connections = 1;
    c.write_ms = c.body_ms = 60000;
    for (int i = 0; i < 2; i++) {
        aw_test *t = app_with(streamed, &c);
        wire old = wire_open(t), w;
        wire_send(&old, asks[i], strlen(asks[i]));
        for (int j = 0; j < 8; j++) (void)aw_loop_step(old.loop, 0);
        CHECK_EQ(1, old.loop->tasks);
        aw_test_advance(t, 4000);
        w = wire_open(t);
        wire_say(&w, GET_("/"));
        CHECK_EQ(0, w.n);
        aw_test_advance(t, 1200);
        wire_settle(&w);
        NOTE("view %d", i);
        CHECK_STR("200=127.0.0.1", digest(&w));
        CHECK_EQ(0, w.loop->tasks);
        wire_close(&w);
        wire_close(&old);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Below min_rate, a client has 2 s in a full table instead of 10. */
TEST(overload_shortens_grace)
{
    for (int full = 0; full < 2; full++) {
        aw_config c = quiet_config();
        aw_test *t;
        wire w;
        c.max_connections = full ? 1 : 2;
        t = app_with(crowded, &c);
        w = wire_open(t);
        wire_say(&w, "POST /size HTTP/1.1\r\nHost: h\r\n"
                 "Content-Length: 100\r\n\r\n");
        for (int i = 0; i < 4; i++) {
            aw_test_advance(t, 900);
            wire_say(&w, "x");
        }
        CHECK_STR(full ? "408+" : "", digest(&w));
        wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* The client behind a proxy is counted, not the proxy. */
TEST(max_per_address_through_proxy)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w[4];
    c.max_per_address = 2;
    c.proxy_protocol = true;
    t = behind_proxies(c);
    for (int i = 0; i < 3; i++) {
        w[i] = wire_from(t, "10.0.0.1");
        wire_say(&w[i], LINE FROM(""));
        CHECK_EQ(i == 2, w[i].ended);
    }
    CHECK_EQ(0, w[2].n);
    w[3] = wire_from(t, "10.0.0.1");
    wire_say(&w[3], "PROXY TCP4 192.0.2.9 192.0.2.2 1 80\r\n" FROM(""));
    CHECK(!w[3].ended && w[3].n);
    for (int i = 0; i < 4; i++) wire_close(&w[i]);
    CHECK_EQ(0, aw_test_loop(t)->server->crowd.used);
    CHECK_EQ(0, aw_test_close(t));
}

/* Against a plain table, with few homes, so that all collide. */
TEST(crowd_counts)
{
    enum { KEYS = 60, MOST = 3 };
    static int model[KEYS];
    uint32_t x = 1;
    for (uint64_t seed = 0; seed < 20; seed++) {
        aw__crowd c;
        size_t used;
        memset(&c, 0, sizeof c);
        memset(model, 0, sizeof model);
        c.seed = seed;
        for (int i = 0; i < 3000; i++) {
            aw__address a = aw__address_any(i & 1 ? 4 : 6, 0);
            int key;
            x = x * 1664525u + 1013904223u;
            key = (int)(x >> 16) % KEYS;
            a.family = key & 1 ? 4 : 6;
            a.bytes[3] = (uint8_t)key;
            a.bytes[8] = (uint8_t)x;    /* in the same /64 */
            if (key & 1) a.bytes[8] = 0;
            if (x >> 8 & 1) {
                CHECK_EQ(model[key] < MOST, aw__crowd_add(&c, &a, MOST));
                if (model[key] < MOST) model[key]++;
            } else if (model[key]) {
                aw__crowd_leave(&c, &a);
                model[key]--;
            }
        }
        used = 0;
        for (int key = 0; key < KEYS; key++) {
            aw__address a = aw__address_any(key & 1 ? 4 : 6, 0);
            a.bytes[3] = (uint8_t)key;
            used += model[key] > 0;
            CHECK_EQ(model[key],
                     aw__crowd_find(&c, aw__crowd_key(&a))->count);
        }
        CHECK_EQ(used, c.used);
        aw__crowd_free(&c);
    }
}

TEST(crowd_without_memory)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w;
    c.max_per_address = 3;
    t = app_with(crowded, &c);
    w = wire_open(t);                   /* the table is made... */
    wire_close(&w);
    CHECK_EQ(0, aw_test_loop(t)->server->crowd.used);
    aw__crowd_free(&aw_test_loop(t)->server->crowd);
    w = wire_open(t);                   /* ...again */
    wire_say(&w, GET_("/"));
    CHECK_STR("200=127.0.0.1", digest(&w));
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(max_tasks_and_retry_after)
{
    aw_config c = quiet_config();
    aw_test *t;
    wire w[3];
    c.max_tasks = 2;
    t = app_with(crowded, &c);
    for (int i = 0; i < 3; i++) {
        w[i] = wire_open(t);
        wire_say(&w[i], GET_("/nap"));
    }
    CHECK_STR("503", digest(&w[2]));
    CHECK(strstr(w[2].got, "\r\nRetry-After: 1\r\n") != NULL);
    CHECK_EQ(0, strlen(said));          /* it is no error of the view's */
    wire_say(&w[2], GET_("/"));         /* a plain view needs no task */
    aw_test_advance(t, 1000);
    wire_say(&w[2], GET_("/nap?ms=0"));
    aw_test_advance(t, 10);
    wire_settle(&w[2]);
    CHECK_STR("503 200=127.0.0.1 200=rested", digest(&w[2]));
    for (int i = 0; i < 3; i++) wire_close(&w[i]);
    CHECK_STR("503", raw(t, GET_("/poor")));
    CHECK(strstr(aw_test_raw(t, GET_("/poor"), sizeof GET_("/poor") - 1, 0),
                 "\r\nRetry-After: 1\r\n") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* Each allocation of an exchange fails in turn: an answer, perhaps 503 with
   Retry-After, or the connection closes; and then the next is served. */
TEST(overload_without_memory)
{
    long n;
    bool reached = true;
    aw_test *t = app_with(crowded, NULL);
    aw_test_loop(t)->debug = false;
    for (n = 1; reached; n++) {
        wire w = wire_open(t);
        wire_send(&w, GET_("/nap?ms=0") GET_("/large"),
                  sizeof GET_("/nap?ms=0") GET_("/large") - 1);
        fault_set("alloc", n, ENOMEM);
        wire_settle(&w);
        reached = fault_count >= n;
        fault_set(NULL, 0, 0);
        NOTE("allocation %ld", n);
        wire_settle(&w);
        if (strstr(w.got, " 503 "))
            CHECK(strstr(w.got, "Retry-After: 1") || !strstr(w.got, "<h1>"));
        CHECK(w.ended || w.n);
        wire_close(&w);
        CHECK_STR("200=127.0.0.1", raw(t, GET_("/")));
    }
    CHECK(n > 3);
    CHECK_EQ(0, aw_test_close(t));
}

/* An empty line behind a body begins no head (RFC 9112 2.2). */
TEST(stray_crlf_behind_body)
{
    static const char post[] =
        "POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    static const char *const tails[] = {"\r\n", "\r", "\r\nG"};
    aw_config c = quiet_config();
    aw_test *t;
    c.head_ms = 1000;
    c.idle_ms = 5000;
    t = app_with(crowded, &c);
    for (int i = 0; i < 3; i++) {
        wire w = wire_open(t);
        wire_say(&w, post);
        wire_say(&w, tails[i]);
        aw_test_advance(t, 1500);
        wire_settle(&w);
        NOTE("tail %d", i);
        CHECK_STR(i == 2 ? "200=2 408+" : "200=2", digest(&w));
        if (i < 2) {
            wire_say(&w, i == 0 ? "" : "\n");
            wire_say(&w, post);
            CHECK_STR("200=2 200=2", digest(&w));
        }
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* A reset is noticed although nothing is read: the pipeline is full, or the
   client has already ended its side. */
TEST(reset_while_not_reading)
{
    aw_test *t = app_with(crowded, NULL);
    aw_loop *l = aw_test_loop(t);
    char *many = (char *)malloc(70000);
    size_t n = 0;
    wire w = wire_open(t);
    wire_say(&w, GET_("/nap?ms=100000"));
    while (n + 60 < 70000) n += (size_t)sprintf(many + n, GET_("/"));
    wire_send(&w, many, n);
    wire_settle(&w);
    CHECK_EQ(1, l->tasks);
    CHECK_EQ(0, l->fds[((aw__conn *)l->server->lists[AW__IN_VIEW].next)->fd].have
             & AW_READ);
    aw__io_reset(l, w.fd);
    for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 0);
    CHECK_EQ(0, l->tasks);
    CHECK_EQ(0, l->server->connections);
    free(w.got);
    w = wire_open(t);
    wire_say(&w, GET_("/half?ms=100000"));
    wire_finish(&w);
    CHECK_EQ(1, l->tasks);
    aw__io_reset(l, w.fd);
    for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 0);
    CHECK_EQ(0, l->tasks);
    free(w.got);
    free(many);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- floods ---- */

/* As many bytes as it takes, made of one piece, 16 KiB in a second; how much
   was taken. */
static size_t flood(aw_test *t, wire *w, const char *piece, size_t most)
{
    const size_t one = strlen(piece);
    size_t n = 0, many = 8192 / one * one;
    char *block = (char *)malloc(8192);
    for (size_t i = 0; i < many; i += one) memcpy(block + i, piece, one);
    for (int stuck = 0; n < most && stuck < 50 && !w->ended;) {
        ptrdiff_t sent = aw__io_send(w->loop, w->fd, block + n % one,
                                     many - n % one);
        stuck = sent > 0 ? 0 : stuck + 1;
        if (sent > 0) n += (size_t)sent;
        else if (sent != AW_EAGAIN) break;
        (void)aw_loop_step(w->loop, 0);
        if (sent > 0) aw_test_advance(t, 500);
        if (!stuck) continue;
        wire_take(w);
    }
    wire_take(w);
    free(block);
    return n;
}

/* What never becomes a request ends, in time and in little memory. */
TEST(floods)
{
    static const struct { const char *begin, *piece, *want; } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n", "X: y\r\n", "431+"},
        {"GET / HTTP/1.1\r\nHost: h\r\n", "x", "431+"},
        {"GET /", "x", "414+"},
        {"", "\r\n", "400+"},
        {"", "x", "501+"},
        {"POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
         "1\r\nx\r\n", "413+"},
        {"POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
         "1;x=y\r\nx\r\n", "400+"},
        {"POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
         "0", "400+"},
        {"POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
         "1;", "x", "400+"},
        {"POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n", "X: y\r\n", "400+"},
    };
    aw_config c = quiet_config();
    aw_test *t;
    c.max_body = 20000;
    t = app_with(crowded, &c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w = wire_open(t);
        size_t before = w.loop->mem.live, n;
        wire_say(&w, rows[i].begin);
        n = flood(t, &w, rows[i].piece, 8 << 20);
        wire_settle(&w);
        NOTE("flood %d: %lu bytes: %s", (int)i, (unsigned long)n, digest(&w));
        CHECK(n < 2 << 20);
        CHECK(w.loop->mem.live < before + 300000);
        CHECK_STR(rows[i].want, digest(&w));
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* Clients that ask and never read: each holds one answer, and not for long. */
TEST(never_reading)
{
    enum { N = 20 };
    aw_config c = quiet_config();
    aw_test *t;
    wire w[N];
    size_t before;
    c.write_ms = 3000;
    t = app_with(crowded, &c);
    before = aw_test_loop(t)->mem.live;
    for (int i = 0; i < N; i++) {
        w[i] = wire_open(t);
        for (int j = 0; j < 50; j++)
            (void)aw__io_send(w[i].loop, w[i].fd, GET_("/large"),
                              sizeof GET_("/large") - 1);
        for (int j = 0; j < 20; j++) (void)aw_loop_step(w[i].loop, 0);
    }
    /* What the view made and its copy, 600,000 bytes; and what is on its way. */
    CHECK(aw_test_loop(t)->mem.live < before + N * 1000000);
    CHECK_STR("200=127.0.0.1", raw(t, GET_("/")));
    aw_test_advance(t, 3100);
    CHECK_EQ(0, aw_test_loop(t)->server->connections);
    for (int i = 0; i < N; i++) wire_close(&w[i]);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- overload and resets, for real ---- */

static served serve_crowded(void)
{
    aw_config c = quiet_config();
    c.routes = crowded;
    return serve_at("127.0.0.1:0", c);
}

/* Whatever accept() says: no spin, and service when it is over. */
TEST(accept_errors)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED,
                                 EPERM, EPROTO, ENETDOWN, EHOSTUNREACH, EINTR,
                                 EOPNOTSUPP, EINVAL, EBADF};
    served s = serve_crowded();
    int again = 0;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        int fd = dial_tcp(4, aw_serve_port(s.loop)), turns = 0;
        int64_t end = aw__sys_now_ms() + 40;
        fault_set("accept", 1, errors[i]);
        while (aw__sys_now_ms() < end)
            (void)aw_loop_step(s.loop, end - aw__sys_now_ms()), turns++;
        NOTE("errno %d: %d turns, %ld calls", errors[i], turns, fault_count);
        CHECK(turns < 6);
        CHECK(fault_count >= 1 && fault_count <= 3 * AW__ACCEPT_TRIES);
        /* What befell one connection does not keep the next one waiting. */
        if (aw__io_accept_again(errors[i])) {
            again++;
            CHECK_EQ(0, fault_count % AW__ACCEPT_TRIES);
        } else {
            CHECK(fault_count < AW__ACCEPT_TRIES);
        }
        fault_set(NULL, 0, 0);
        CHECK(answers(s.loop, fd, "127.0.0.1"));
    }
    CHECK_EQ(7, again);
    aw_loop_free(s.loop);
}

static void reset(int fd)
{
    static const struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

/* After any byte of any kind of exchange. SIGPIPE would end this program. */
TEST(reset_at_any_moment)
{
    static const char text[] =
        "POST /size HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\n\r\n" GET_("/nap?ms=1") GET_("/large") GET_("/half");
    served s = serve_crowded();
    int port = aw_serve_port(s.loop);
    for (size_t n = 0; n <= sizeof text - 1; n += n < 60 ? 13 : 3) {
        for (int half = 0; half < 2; half++) {
            int fd = dial_tcp(4, port);
            if (n) CHECK_EQ(n, send(fd, text, n, MSG_NOSIGNAL));
            if (half) shutdown(fd, SHUT_WR);
            for (int i = 0; i < 3; i++) (void)aw_loop_step(s.loop, i == 2);
            reset(fd);
            NOTE("reset after %d bytes%s", (int)n, half ? " and FIN" : "");
            for (int i = 0; i < 200 && (s.loop->server->connections ||
                                        s.loop->tasks); i++)
                (void)aw_loop_step(s.loop, 10);
            CHECK_EQ(0, s.loop->server->connections);
            CHECK_EQ(0, s.loop->tasks);
        }
    }
    aw_loop_free(s.loop);
}

/* The same as in memory, by the kernel: no read interest, and yet a reset. */
TEST(real_reset_while_not_reading)
{
    served s = serve_crowded();
    int port = aw_serve_port(s.loop);
    for (int half = 0; half < 2; half++) {
        int fd = dial_tcp(4, port);
        const char *ask = half ? GET_("/half?ms=100000") : GET_("/nap?ms=100000");
        CHECK_EQ(strlen(ask), send(fd, ask, strlen(ask), MSG_NOSIGNAL));
        for (int i = 0; i < 50 && !s.loop->tasks; i++)
            (void)aw_loop_step(s.loop, 10);
        if (half) shutdown(fd, SHUT_WR);
        for (int i = 0; i < 3000 && !half; i++)
            if (send(fd, GET_("/"), sizeof GET_("/") - 1, MSG_NOSIGNAL) < 0) break;
        for (int i = 0; i < 20; i++) (void)aw_loop_step(s.loop, 0);
        CHECK_EQ(1, s.loop->tasks);
        reset(fd);
        for (int i = 0; i < 50 && s.loop->tasks; i++)
            (void)aw_loop_step(s.loop, 10);
        NOTE("half %d", half);
#if defined(ASYNCWEB_POLL) || defined(__linux__)
        CHECK_EQ(0, s.loop->tasks);
#endif
    }
    aw_loop_free(s.loop);
}

/* Nobody reads the log any more: that is no reason to die. */
static int broken_log(void)
{
    aw_config c = quiet_config();
    aw_loop *l = aw_loop_new(NULL);
    struct sigaction old[AW__SIGNALS];
    int ends[2], fd;
    if (pipe(ends) < 0) return 1;
    close(ends[0]);
    dup2(ends[1], 2);
    c.access_log = 0;
    c.log = NULL;
    c.routes = crowded;
    c.port = AW_ANY_PORT;
    if (!l || aw_serve(l, &c) < 0) return 1;
    aw__signals_take(l, AW__ALONE, old);
    fd = dial_tcp(4, aw_serve_port(l));
    if (!answers(l, fd, "127.0.0.1")) return 1;
    for (int i = 0; i < 20; i++) (void)aw_loop_step(l, 10);
    aw_loop_free(l);
    return 7;
}

TEST(sigpipe_never)
{
    CHECK_EQ(7, with_sockets(NULL, 0, NULL, true, broken_log));
}
