/* accept_encoding.c: weights of content codings. */
#include "fuzz.h"

/* -1: no head. The list in one field, or in two, broken at a comma. */
static int accept_encoding_weight(const char *list, size_t n, size_t broken,
                                  const char *coding)
{
    static const char name[] = "Accept-Encoding: ";
    static const aw__head_limits limits = {8192, 65535};
    aw__field fields[3];
    aw__head h;
    aw__buf b;
    char *p;
    int rc;
    memset(&b, 0, sizeof b);
    memset(&h, 0, sizeof h);
    aw__buf_add(&b, "GET / HTTP/1.1\r\nHost: h\r\n", 25);
    aw__buf_add(&b, name, strlen(name));
    aw__buf_add(&b, list, broken);
    if (broken < n) {
        aw__buf_add(&b, "\r\n", 2);
        aw__buf_add(&b, name, strlen(name));
        aw__buf_add(&b, list + broken + 1, n - broken - 1);
    }
    aw__buf_add(&b, "\r\n\r\n", 4);
    p = fuzz_head_copy(b.p, b.n, 0);
    h.fields = fields;
    h.max_fields = 3;
    rc = aw__http_head(p, b.n, 0, &limits, &h);
    rc = rc > 0 ? aw__coding_weight(p, &h, coding) : -1;
    MUST(rc >= -1 && rc <= 1000);
    aw__buf_free(&b);
    free(p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *list = (const char *)data;
    const char *comma = n ? (const char *)memchr(list, ',', n) : NULL;
    int whole;
    /* No line end may be smuggled in: the head would be another. */
    if (n && (memchr(list, '\n', n) || memchr(list, '\r', n))) return 0;
    whole = accept_encoding_weight(list, n, n, "gzip");
    MUST(whole == accept_encoding_weight(list, n, n, "GZip"));
    if (!comma) return 0;
    MUST(whole == accept_encoding_weight(list, n, (size_t)(comma - list),
                                         "gzip"));
    return 0;
}
