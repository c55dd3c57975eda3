/* chunked.c: the chunked transfer coding. */
#include "fuzz.h"

typedef struct chunked_result {
    int rc;
    size_t left;                /* bytes behind the body's end */
    aw__buf body;
} chunked_result;

static chunked_result chunked_read(const void *data, size_t n, size_t split,
                                   size_t step)
{
    const char *text = (const char *)data;
    chunked_result r;
    aw__chunked c;
    size_t from = 0;
    memset(&r, 0, sizeof r);
    memset(&c, 0, sizeof c);
    do {
        size_t to = from < split ? split : from + step;
        aw_slice in, part;
        char *p;
        if (to > n) to = n;
        p = fuzz_copy(text + from, to - from);
        in = aw__slice(p, to - from);
        while ((r.rc = aw__chunked_next(&c, &in, &part)) == AW_OK) {
            MUST(part.n > 0 && part.p >= p && part.p + part.n == in.p);
            aw__buf_add(&r.body, part.p, part.n);
        }
        MUST(r.rc != AW_EAGAIN || in.n == 0);
        r.left = in.n + (n - to);
        free(p);
        from = to;
    } while (r.rc == AW_EAGAIN && from < n);
    return r;
}

static void chunked_agree(chunked_result a, chunked_result b)
{
    MUST(a.rc == b.rc);
    MUST(a.rc != 1 || a.left == b.left);
    MUST(a.body.n == b.body.n);
    MUST(!a.body.n || memcmp(a.body.p, b.body.p, a.body.n) == 0);
    aw__buf_free(&b.body);
}

/* A body, written in chunks and read again. */
static void chunked_again(chunked_result r)
{
    aw__buf b;
    char line[18];
    size_t at = 0, part;
    memset(&b, 0, sizeof b);
    for (; at < r.body.n; at += part) {
        part = 1 + fuzz_random((uint32_t)(r.body.n - at));
        aw__buf_add(&b, line, aw__chunked_line(line, part));
        aw__buf_add(&b, r.body.p + at, part);
        aw__buf_add(&b, "\r\n", 2);
    }
    aw__buf_add(&b, "0\r\n\r\n", 5);
    r.left = 0;
    chunked_agree(r, chunked_read(b.p, b.n, b.n, 1));
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    chunked_result r;
    fuzz_begin(data, n);
    r = chunked_read(data, n, n, 1);
    MUST(r.rc == AW_EAGAIN || r.rc == AW_EBADMSG || r.rc == AW_ETOOBIG ||
         r.rc == 1);
    MUST(r.left + r.body.n <= n);
    chunked_agree(r, chunked_read(data, n, 0, 1));
    chunked_agree(r, chunked_read(data, n, fuzz_random((uint32_t)n + 1), n));
    aw__buf_free(&r.body);
    /* And the input as a body. */
    aw__buf_add(&r.body, (const char *)data, n);
    r.rc = 1;
    chunked_again(r);
    aw__buf_free(&r.body);
    return 0;
}
