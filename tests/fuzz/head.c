/* head.c: request heads. */
#include "fuzz.h"

enum { HEAD_FIELDS = 20 };

typedef struct head_result {
    int rc;
    aw__head h;
    aw__field fields[HEAD_FIELDS];
} head_result;

static aw__head_limits head_limits;

static void head_parse(head_result *r, const void *p, size_t n, size_t seen,
                       uint32_t hostile)
{
    char *copy = fuzz_head_copy(p, n, hostile);
    memset(r, 0, sizeof *r);
    r->h.fields = r->fields;
    r->h.max_fields = HEAD_FIELDS;
    r->rc = aw__http_head(copy, n, seen, &head_limits, &r->h);
    r->h.fields = NULL;
    free(copy);
}

/* One byte at a time, or in two pieces. */
static int head_pieces(const uint8_t *data, size_t n, size_t split, size_t step)
{
    head_result r;
    size_t at = 0, seen = 0;
    do {
        at = at < split ? split : at + step;
        if (at > n) at = n;
        head_parse(&r, data, at, seen, fuzz_random(FUZZ_FILLS));
        seen = at;
    } while (r.rc == AW_EAGAIN && at < n);
    return r.rc;
}

/* What lies behind the end does not count: neither that of the whole nor of
   what has come so far, which often ends with a line or before its end. */
static void head_blind(head_result *r, const uint8_t *data, size_t n)
{
    head_result other;
    uint32_t i;
    head_parse(r, data, n, 0, 0);
    for (i = 1; i < FUZZ_FILLS; i++) {
        head_parse(&other, data, n, 0, i);
        MUST(other.rc == r->rc);
        MUST(r->rc < 0 || memcmp(r, &other, sizeof other) == 0);
    }
}

/* A verdict may come later in pieces, at the latest with the head's end. */
static void head_agree(const uint8_t *data, size_t n, int whole, int pieces)
{
    MUST(pieces == whole || (pieces == AW_EAGAIN && whole < 0 &&
                             fuzz_head_open(data, n)));
}

/* Written as it was understood, it is understood as the same. */
static void head_again(const head_result *r, const char *p)
{
    aw__buf b;
    head_result again;
    aw__head h = r->h;
    aw__head_limits all = head_limits;
    memset(&b, 0, sizeof b);
    h.fields = (aw__field *)(uintptr_t)r->fields;
    fuzz_head_sound(&h, p, (size_t)r->rc);
    MUST(h.target + h.target_len <= r->rc && h.path + h.path_len <= r->rc);
    MUST(h.host + h.host_len <= r->rc && h.target_len > 0);
    aw__buf_add(&b, p + h.method, h.method_len);
    aw__buf_add(&b, " ", 1);
    aw__buf_add(&b, p + h.target, h.target_len);
    aw__buf_add(&b, h.minor ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n", 11);
    fuzz_head_write(&b, &h, p);
    head_limits.max_head = 65535;       /* "a:b" becomes longer */
    head_parse(&again, b.p, b.n, 0, fuzz_random(FUZZ_FILLS));
    head_limits = all;
    MUST((size_t)again.rc == b.n);
    MUST(fuzz_head_same(&r->h, &again.h));
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    head_result r;
    int i;
    fuzz_begin(data, n);
    if (n > 2000) return 0;
    head_limits.max_line = fuzz_random(2) ? 200 : 8192;
    head_limits.max_head = fuzz_random(2) ? 600 : 32768;
    for (i = 0; i < 4; i++) head_blind(&r, data, fuzz_prefix(data, n));
    head_blind(&r, data, n);
    MUST(r.rc == AW_EAGAIN || r.rc == AW_HTTP(400) || r.rc == AW_HTTP(414) ||
         r.rc == AW_HTTP(431) || r.rc == AW_HTTP(501) ||
         r.rc == AW_HTTP(505) || (r.rc > 0 && (size_t)r.rc <= n));
    head_agree(data, n, r.rc, head_pieces(data, n, 0, 1));
    head_agree(data, n, r.rc,
               head_pieces(data, n, fuzz_random((uint32_t)n + 1), n));
    if (r.rc > 0) head_again(&r, (const char *)data);
    return 0;
}
