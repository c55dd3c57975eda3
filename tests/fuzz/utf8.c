/* utf8.c: against a decoder that is too simple to be wrong. */
#include "fuzz.h"

/* The length of the character that p begins with, or 0. */
static size_t utf8_simple(const uint8_t *p, size_t n)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2
        : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
    uint32_t c = len == 1 ? p[0] : len ? p[0] & (0x7fu >> len) : 0;
    if (!len || len > n) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *copy = fuzz_copy(data, n);
    size_t valid = 0, i = 0, len;
    while (valid < n && (len = utf8_simple(data + valid, n - valid)) > 0)
        valid += len;
    MUST(aw__utf8_valid(copy, n) == valid);
    while (i < n) {
        int step = aw__utf8_step(copy + i, n - i);
        len = utf8_simple(data + i, n - i);
        MUST(step != 0 && (step > 0 ? (size_t)step == len : len == 0));
        MUST(step >= -3 && step <= 4);
        /* What is passed over as broken holds no character's begin. */
        for (int k = 1; k < -step; k++)
            MUST((data[i + (size_t)k] & 0xc0) == 0x80);
        i += (size_t)(step < 0 ? -step : step);
        MUST(i <= n);
    }
    free(copy);
    return 0;
}
