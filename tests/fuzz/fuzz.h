/*
fuzz.h: what the fuzz targets share.

A target is a file tests/fuzz/NAME.c that defines LLVMFuzzerTestOneInput, and a
folder tests/fuzz/NAME with seeds. It checks what holds for any input, with
MUST. `make fuzz` looks for an input for which it does not; `make test` replays
the seeds. The header takes its time to compile, so all targets make one
program: what a target calls its own begins with its name.
*/
#ifndef FUZZ_H
#define FUZZ_H

#ifndef ASYNCWEB_IMPLEMENTATION
#define ASYNCWEB_IMPLEMENTATION
#endif
/* Applications in memory are in debug mode or not, as the input has it. */
static int fuzz_debug;
#ifndef AW__TEST_DEBUG
#define AW__TEST_DEBUG fuzz_debug
#endif
#include "../../asyncweb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(cond) ((cond) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #cond))

static void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    abort();
}

/* Where to split, what to vary: random, but the same for the same input. */
static uint32_t fuzz_state;

AW__UNUSED
static void fuzz_begin(const uint8_t *data, size_t n)
{
    fuzz_state = 2166136261u;
    for (size_t i = 0; i < n; i++)
        fuzz_state = (fuzz_state ^ data[i]) * 16777619u;
    fuzz_debug = fuzz_state >> 7 & 1;
}

/* 0 ... below - 1. */
AW__UNUSED
static uint32_t fuzz_random(uint32_t below)
{
    fuzz_state = fuzz_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)fuzz_state * below) >> 32);
}

/* The length of some of the input; half of the time a line ends there. */
AW__UNUSED
static size_t fuzz_prefix(const uint8_t *data, size_t n)
{
    size_t k = fuzz_random((uint32_t)n + 1);
    bool line = fuzz_random(2);
    while (line && k < n && data[k] != '\r' && data[k] != '\n') k++;
    return k;
}

/* The size of small pieces: of short inputs each byte, of long ones some. */
AW__UNUSED
static size_t fuzz_step(size_t n)
{
    return n <= 400 ? 1 : 1 + fuzz_random((uint32_t)n / 20);
}

/* A block of exactly n bytes, so that no byte can be read behind it; free(). */
AW__UNUSED
static char *fuzz_copy(const void *from, size_t n)
{
    char *p = (char *)malloc(n ? n : 1);
    if (n) memcpy(p, from, n);
    return p;
}

/* The same, with what the parsers of heads may look at behind it, hostile in
   one of many ways. */
enum { FUZZ_FILLS = 12 };

AW__UNUSED
static char *fuzz_head_copy(const void *from, size_t n, uint32_t hostile)
{
    static const char *const fill[FUZZ_FILLS] = {
        "\r\n\r\n", "a", "0", ":", " ", "\n", "\r", "Host: b\r\n\r\n",
        " HTTP/1.1\r\n", "\xff", "GET ", "\t" };
    const char *with = fill[hostile];
    size_t i, len = strlen(with);
    char *p = (char *)malloc(n + AW__HEAD_SLACK);
    if (n) memcpy(p, from, n);
    for (i = 0; i < AW__HEAD_SLACK; i++) p[n + i] = with[i % len];
    return p;
}

/* Whether an incomplete head can still become one: no line of it is empty or
   ends with a bare LF. */
AW__UNUSED
static bool fuzz_head_open(const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] != '\n') continue;
        if (i == 0 || data[i - 1] != '\r') return false;
        if (i >= 2 && data[i - 2] == '\n') return false;
    }
    return true;
}

/* What lies in a head that was accepted lies inside of it. */
AW__UNUSED
static void fuzz_head_sound(const aw__head *h, const char *p, size_t n)
{
    for (int i = 0; i < h->count; i++) {
        const aw__field *f = &h->fields[i];
        MUST(f->name_len > 0 && f->name + f->name_len < f->value + 1u);
        MUST(f->value + f->value_len + 2u <= n);
        MUST(aw__is_token(p + f->name, f->name_len));
        MUST(aw__http_span(p + f->value, p + f->value + f->value_len,
                           AW__C_VALUE) == p + f->value + f->value_len);
        MUST(aw__head_find(p, h, "Host", (size_t)i) != i ||
             h->known[AW__F_HOST] == i);
    }
    for (int i = 0; i < AW__F_COUNT; i++)
        MUST(h->known[i] == AW__NO_FIELD || h->known[i] < h->count);
    MUST(h->content_length >= -1);
    MUST(!h->chunked || (h->content_length < 0 && h->minor == 1));
    MUST(h->minor <= 1);
}

/* Equal but for where in the text things lie. */
AW__UNUSED
static bool fuzz_head_same(const aw__head *a, const aw__head *b)
{
    return a->count == b->count && a->minor == b->minor &&
        a->verb == b->verb && a->chunked == b->chunked &&
        a->content_length == b->content_length &&
        a->keep_alive == b->keep_alive &&
        a->upgrade == b->upgrade && a->options == b->options &&
        a->status == b->status && a->method_len == b->method_len &&
        a->target_len == b->target_len && a->path_len == b->path_len &&
        a->host_len == b->host_len &&
        memcmp(a->known, b->known, sizeof a->known) == 0;
}

/* The fields and the empty line, written anew. */
AW__UNUSED
static void fuzz_head_write(aw__buf *b, const aw__head *h, const char *p)
{
    for (int i = 0; i < h->count; i++) {
        const aw__field *f = &h->fields[i];
        aw__buf_add(b, p + f->name, f->name_len);
        aw__buf_add(b, ": ", 2);
        aw__buf_add(b, p + f->value, f->value_len);
        aw__buf_add(b, "\r\n", 2);
    }
    aw__buf_add(b, "\r\n", 2);
}

#endif /* FUZZ_H */
