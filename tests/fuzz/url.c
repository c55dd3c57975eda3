/* url.c: percent-encoding, paths, queries, absolute URLs. */
#include "fuzz.h"

static void url_add(aw__buf *b, const char *text)
{
    aw__buf_add(b, text, strlen(text));
}

/* Decoding in place gives the same, and nothing gets longer. */
static void url_check_decode(const char *p, size_t n, bool form)
{
    char *from = fuzz_copy(p, n), *to = fuzz_copy(p, n);
    size_t a = 0, b = 0;
    int rc = aw__url_decode(to, from, n, form, &a);
    MUST(rc == AW_OK || (rc == AW_EBADMSG && !form));
    MUST(aw__url_decode(from, from, n, form, &b) == rc);
    MUST(a == b && a <= n && memcmp(from, to, a) == 0);
    free(from);
    free(to);
}

/* Whether what a client asks for is what it gets: no segment of a canonical
   path is "." or "..", nothing in it decodes to NUL, and doing it again
   changes nothing. */
static void url_check_path(const char *p, size_t n)
{
    char *from = fuzz_copy(p, n), *to = (char *)malloc(n ? n : 1);
    char *again = (char *)malloc(n ? n : 1);
    size_t out = 0, more = 0, i;
    int rc = aw__url_path(to, from, n, &out);
    MUST(rc == AW_OK || rc == AW_EBADMSG);
    if (rc == AW_OK) {
        MUST(out >= 1 && out <= (n ? n : 1) && to[0] == '/');
        MUST(aw__url_path(again, to, out, &more) == AW_OK);
        MUST(more == out && memcmp(to, again, out) == 0);
        for (i = 0; i + 1 < out; i++) {
            size_t rest = out - i - 1, dots = 0;
            if (to[i] != '/') continue;
            while (dots < rest && to[i + 1 + dots] == '.') dots++;
            MUST(dots == 0 || dots > 2 ||
                 (dots < rest && to[i + 1 + dots] != '/'));
        }
        MUST(aw__url_decode(again, to, out, false, &more) == AW_OK);
        MUST(!memchr(again, 0, more));
        MUST(aw__url_path(from, from, n, &more) == AW_OK);
        MUST(more == out && memcmp(from, to, out) == 0);
    }
    free(from);
    free(to);
    free(again);
}

/* Path, '?' and query make up the target; "plain" is the truth. */
static void url_check_split(const char *p, size_t n)
{
    char *copy = (char *)malloc(n + AW__HEAD_SLACK);
    char *to = (char *)malloc(n ? n : 1);
    aw_slice path, query;
    size_t out;
    bool plain;
    memset(copy + n, 'a', AW__HEAD_SLACK);
    if (n) memcpy(copy, p, n);
    plain = aw__url_split(copy, n, &path, &query);
    bool mark = path.n < n;
    MUST(path.p == copy && path.n + mark + query.n == n);
    MUST(!mark || copy[path.n] == '?');
    MUST(!memchr(path.p, '?', path.n));
    if (plain) {
        MUST(aw__url_path(to, path.p, path.n, &out) == AW_OK);
        MUST(out == path.n && memcmp(to, path.p, out) == 0);
    }
    free(copy);
    free(to);
}

/* Pairs and the marks between them are all there is. */
static void url_check_pairs(const char *p, size_t n)
{
    char *copy = fuzz_copy(p, n);
    size_t at = 0, end = 0;
    aw_slice name, value;
    while (aw__url_pair(copy, n, &at, &name, &value)) {
        size_t begin = (size_t)(name.p - copy);
        MUST(begin >= end && (name.n || value.n || copy[begin] == '='));
        for (; end < begin; end++) MUST(copy[end] == '&');
        MUST(!memchr(name.p, '=', name.n) && !memchr(name.p, '&', name.n));
        MUST(!memchr(value.p, '&', value.n));
        end = (size_t)(value.p + value.n - copy);
        MUST(end <= n && end == at);
    }
    for (; end < n; end++) MUST(copy[end] == '&');
    free(copy);
}

static bool url_same(aw_slice a, aw_slice b)
{
    return a.n == b.n && !a.p == !b.p && (!a.n || !memcmp(a.p, b.p, a.n));
}

/* Put together from its parts it is read as the same parts. */
static void url_check_parse(const char *p, size_t n)
{
    char *text = (char *)malloc(n + 1), port[10];
    aw__url u, v;
    aw__buf b;
    int rc;
    if (n) memcpy(text, p, n);
    text[n] = 0;
    memset(&b, 0, sizeof b);
    rc = aw__url_parse(text, &u);
    MUST(rc == AW_OK || rc == AW_EURL);
    if (rc == AW_OK) {
        bool six = memchr(u.host.p, ':', u.host.n) != NULL;
        MUST(u.host.n > 0 && u.path.n > 0 && *u.path.p == '/' && u.port > 0);
        url_add(&b, u.ws ? u.tls ? "wss://" : "ws://"
                         : u.tls ? "https://" : "http://");
        aw__buf_add(&b, u.user.p, u.user.n);
        if (u.user.p) url_add(&b, "@");
        if (six || u.authority.p[0] == '[') url_add(&b, "[");
        aw__buf_add(&b, u.host.p, u.host.n);
        if (six || u.authority.p[0] == '[') url_add(&b, "]");
        snprintf(port, sizeof port, ":%d", u.port);
        url_add(&b, port);
        aw__buf_add(&b, u.path.p, u.path.n);
        if (u.query.p) url_add(&b, "?");
        aw__buf_add(&b, u.query.p, u.query.n);
        aw__buf_add(&b, "", 1);
        MUST(aw__url_parse(b.p, &v) == AW_OK);
        MUST(url_same(u.user, v.user) && url_same(u.host, v.host));
        MUST(url_same(u.path, v.path) && url_same(u.query, v.query));
        MUST(u.port == v.port && u.tls == v.tls && u.ws == v.ws);
    }
    aw__buf_free(&b);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *p = (const char *)data;
    fuzz_begin(data, n);
    url_check_decode(p, n, false);
    url_check_decode(p, n, true);
    url_check_path(p, n);
    url_check_split(p, n);
    url_check_pairs(p, n);
    url_check_parse(p, n);
    return 0;
}
