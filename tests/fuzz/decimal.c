/* decimal.c: exact decimals; libc's strtod, which rounds exactly in glibc and
   musl, is the judge. */
#include "fuzz.h"

static bool decimal_same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Significant digits of a decimal: without zeros at either end. */
static int decimal_digits(const char *p)
{
    int digits = 0, zeros = 0;
    for (; *p && *p != 'e'; p++) {
        if (!aw__is_digit(*p) || (*p == '0' && !digits)) continue;
        digits++;
        zeros = *p == '0' ? zeros + 1 : 0;
    }
    return digits - zeros;
}

/* Written, a double is read back as the same; a digit less, and it is not. */
static void decimal_write(double d)
{
    char text[32], less[40];
    int n = aw__dec_write(text, d);
    MUST(n > 0 && n <= 24);
    text[n] = 0;
    MUST(decimal_same(strtod(text, NULL), d));
    n = decimal_digits(text);
    if (n < 2) return;
    snprintf(less, sizeof less, "%.*e", n - 2, d);
    MUST(!decimal_same(strtod(less, NULL), d));
}

/* A number of JSON's: the reader and strtod must agree to the last bit. */
static void decimal_read(const char *p, size_t n)
{
    aw__arena arena;
    const aw_value *v = NULL;
    size_t at = 0;
    char *text = (char *)malloc(n + 1), *end;
    memset(&arena, 0, sizeof arena);
    if (n) memcpy(text, p, n);
    text[n] = 0;
    if (aw__json_parse(&arena, p, n, &v, &at) == 0 &&
        (aw_json_type(v) == AW_JSON_DOUBLE || aw_json_type(v) == AW_JSON_INT)) {
        double want = strtod(text, &end), got = aw_json_double(v, 1e300);
        MUST(end > text);
        MUST(decimal_same(got, want) || (got == 0 && want == 0));
        decimal_write(got);
    }
    aw__arena_free(&arena);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    double d;
    char *copy;
    if (n > 2000) return 0;
    copy = fuzz_copy(data, n);
    decimal_read(copy, n);
    free(copy);
    if (n < sizeof d) return 0;
    memcpy(&d, data, sizeof d);
    if (d - d == 0) decimal_write(d);   /* finite */
    return 0;
}
