/* response.c: heads of responses. */
#include "fuzz.h"

enum { RESPONSE_FIELDS = 20, RESPONSE_MAX = 700 };

typedef struct response_result {
    int rc;
    aw__head h;
    aw__field fields[RESPONSE_FIELDS];
} response_result;

static void response_parse(response_result *r, const void *p, size_t n,
                           size_t seen, size_t max_head, uint32_t hostile)
{
    char *copy = fuzz_head_copy(p, n, hostile);
    memset(r, 0, sizeof *r);
    r->h.fields = r->fields;
    r->h.max_fields = RESPONSE_FIELDS;
    r->rc = aw__http_response_head(copy, n, seen, max_head, &r->h);
    r->h.fields = NULL;
    free(copy);
}

static int response_pieces(const uint8_t *data, size_t n, size_t split,
                           size_t step)
{
    response_result r;
    size_t at = 0, seen = 0;
    do {
        at = at < split ? split : at + step;
        if (at > n) at = n;
        response_parse(&r, data, at, seen, RESPONSE_MAX,
                       fuzz_random(FUZZ_FILLS));
        seen = at;
    } while (r.rc == AW_EAGAIN && at < n);
    return r.rc;
}

static void response_blind(response_result *r, const uint8_t *data, size_t n)
{
    response_result other;
    uint32_t i;
    response_parse(r, data, n, 0, RESPONSE_MAX, 0);
    for (i = 1; i < FUZZ_FILLS; i++) {
        response_parse(&other, data, n, 0, RESPONSE_MAX, i);
        MUST(other.rc == r->rc);
        MUST(r->rc < 0 || memcmp(r, &other, sizeof other) == 0);
    }
}

static void response_agree(const uint8_t *data, size_t n, int whole, int pieces)
{
    MUST(pieces == whole || (pieces == AW_EAGAIN && whole < 0 &&
                             fuzz_head_open(data, n)));
}

static void response_again(const response_result *r, const char *p)
{
    aw__buf b;
    response_result again;
    aw__head h = r->h;
    const char *end = (const char *)memchr(p, '\n', (size_t)r->rc);
    char line[20];
    memset(&b, 0, sizeof b);
    h.fields = (aw__field *)(uintptr_t)r->fields;
    fuzz_head_sound(&h, p, (size_t)r->rc);
    MUST(h.status >= 100 && h.status <= 999);
    snprintf(line, sizeof line, "HTTP/1.%d %d", h.minor, h.status);
    MUST(memcmp(p, line, 12) == 0);
    aw__buf_add(&b, p, (size_t)(end + 1 - p));
    fuzz_head_write(&b, &h, p);
    response_parse(&again, b.p, b.n, 0, 65535, fuzz_random(FUZZ_FILLS));
    MUST((size_t)again.rc == b.n);
    MUST(fuzz_head_same(&r->h, &again.h));
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    response_result r;
    int i;
    fuzz_begin(data, n);
    if (n > 2000) return 0;
    for (i = 0; i < 4; i++) response_blind(&r, data, fuzz_prefix(data, n));
    response_blind(&r, data, n);
    MUST(r.rc == AW_EAGAIN || r.rc == AW_EBADMSG || r.rc == AW_ETOOBIG ||
         (r.rc > 0 && (size_t)r.rc <= n));
    response_agree(data, n, r.rc, response_pieces(data, n, 0, 1));
    response_agree(data, n, r.rc,
                   response_pieces(data, n, fuzz_random((uint32_t)n + 1), n));
    if (r.rc > 0) response_again(&r, (const char *)data);
    return 0;
}
