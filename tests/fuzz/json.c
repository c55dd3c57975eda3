/* json.c: what was parsed, written and parsed again is the same. */
#include "fuzz.h"

typedef struct json_text {
    aw__mem mem;
    aw__arena arena;
    const aw_value *v;
    size_t at;
    int rc;
} json_text;

static void json_read(json_text *t, const void *p, size_t n)
{
    char *copy = fuzz_copy(p, n);
    memset(t, 0, sizeof *t);
    t->arena.mem = &t->mem;
    t->rc = aw__json_parse(&t->arena, copy, n, &t->v, &t->at);
    free(copy);                 /* nothing points into it */
    MUST((t->rc == 0) == (t->v != NULL) && t->at <= n);
    MUST(t->rc == 0 || t->rc == AW_EBADMSG || t->rc == AW_ETOOBIG);
}

static void json_end(json_text *t)
{
    aw__arena_free(&t->arena);
    MUST(t->mem.live == 0);
    aw__mem_close(&t->mem);
}

static aw__buf json_write(const aw_value *v)
{
    aw__buf b;
    aw_json_writer w;
    memset(&b, 0, sizeof b);
    aw__json_writer_init(&w, &b, NULL);
    aw_put_value(&w, NULL, v);
    MUST(aw__json_finish(&w) == 0);
    return b;
}

static bool json_same_text(const aw_value *a, const aw_value *b)
{
    const char *s = aw_json_str(a, NULL), *t = aw_json_str(b, NULL);
    size_t n = aw_json_len(a);
    MUST(s[n] == 0 && aw__utf8_valid(s, n) == n);
    return n == aw_json_len(b) && memcmp(s, t, n) == 0;
}

/* Deep equality, and that the ways to walk a document agree. */
static bool json_same(const aw_value *a, const aw_value *b)
{
    const aw_value *x = aw_json_first(a), *y = aw_json_first(b);
    double d, e;
    size_t i;
    if (aw_json_type(a) != aw_json_type(b)) return false;
    if (aw_json_len(a) != aw_json_len(b)) return false;
    if (!aw_json_key(a) != !aw_json_key(b)) return false;
    if (aw_json_key(a) && strcmp(aw_json_key(a), aw_json_key(b)) != 0)
        return false;
    switch (aw_json_type(a)) {
        case AW_JSON_BOOL: return aw_json_bool(a, 0) == aw_json_bool(b, 1);
        case AW_JSON_INT: return aw_json_int(a, 0) == aw_json_int(b, 1);
        case AW_JSON_STRING: return json_same_text(a, b);
        case AW_JSON_DOUBLE:
            d = aw_json_double(a, 0), e = aw_json_double(b, 1);
            return memcmp(&d, &e, sizeof d) == 0;
        default: break;
    }
    for (i = 0; x && y; i++) {
        MUST(aw_json_at(a, i) == x);
        if (!json_same(x, y)) return false;
        x = aw_json_next(x);
        y = aw_json_next(y);
    }
    if (aw_json_first(a)) MUST(i == aw_json_len(a) && !aw_json_at(a, i));
    return !x && !y;
}

/* Any bytes as a string: UTF-8 comes back as it was. */
static void json_string(const char *p, size_t n)
{
    char *copy = fuzz_copy(p, n);
    aw__buf b;
    aw_json_writer w;
    json_text t;
    memset(&b, 0, sizeof b);
    aw__json_writer_init(&w, &b, NULL);
    aw_put_strn(&w, NULL, copy, n);
    MUST(aw__json_finish(&w) == 0);
    json_read(&t, b.p, b.n);
    MUST(aw_json_type(t.v) == AW_JSON_STRING);
    MUST(aw__utf8_valid(copy, n) < n ||
         (aw_json_len(t.v) == n &&
          (n == 0 || memcmp(aw_json_str(t.v, ""), p, n) == 0)));
    aw__buf_free(&b);
    json_end(&t);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_text first, again;
    aw__buf one, two;
    json_read(&first, data, n);
    if (first.rc == 0) {
        one = json_write(first.v);
        json_read(&again, one.p, one.n);
        MUST(again.rc == 0 && json_same(first.v, again.v));
        two = json_write(again.v);
        MUST(one.n == two.n && memcmp(one.p, two.p, one.n) == 0);
        aw__buf_free(&one);
        aw__buf_free(&two);
        json_end(&again);
    }
    json_end(&first);
    json_string((const char *)data, n);
    return 0;
}
