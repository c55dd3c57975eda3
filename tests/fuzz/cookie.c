/* cookie.c: a Cookie field, and a cookie made of the same bytes: what may be
   written is found again. */
#include "fuzz.h"

/* name, value, path, domain, same_site: up to a NUL each. */
static void cookie_round_trip(const char *p, const char *end)
{
    static const char *empty = "";
    const char *parts[5];
    aw_cookie_config c;
    aw_slice value;
    aw__buf b;
    int i;
    for (i = 0; i < 5; i++) {
        parts[i] = p < end ? p : empty;
        if (p < end) p += strlen(p) + 1;
    }
    memset(&c, 0, sizeof c);
    memset(&b, 0, sizeof b);
    c.name = parts[0];
    c.value = parts[1];
    c.path = *parts[2] ? parts[2] : NULL;
    c.domain = *parts[3] ? parts[3] : NULL;
    c.same_site = *parts[4] ? parts[4] : NULL;
    c.secure = *parts[1] > 'a';
    c.max_age = *parts[1] - 'a';
    if (aw__cookie_write(&b, &c) == AW_OK) {
        MUST(!strpbrk(b.p, "\r\n") && strlen(b.p) + 1 == b.n);
        MUST(aw__cookie_find(aw__slice(b.p, b.n - 1), c.name, &value));
        MUST(value.n == strlen(c.value));
        MUST(memcmp(value.p, c.value, value.n) == 0);
    }
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *p = fuzz_copy(data, n), *text = (char *)malloc(n + 1);
    aw_slice value;
    if (aw__cookie_find(aw__slice(p, n), "a", &value)) {
        MUST(value.p >= p && value.p + value.n <= p + n);
        MUST(!value.n || !memchr(value.p, ';', value.n));
    }
    (void)aw__cookie_find(aw__slice(p, n), "", &value);
    memcpy(text, p, n);
    text[n] = 0;
    cookie_round_trip(text, text + n);
    free(text);
    free(p);
    return 0;
}
