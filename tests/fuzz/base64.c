/* base64.c: a text has one spelling, and it is the one that is written. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *from = fuzz_copy(data, n), *to = (char *)malloc(n + 1);
    char *text = (char *)malloc(n / 3 * 4 + 4);
    size_t out = 0, len;
    int rc = aw__base64_decode(to, from, n, &out);
    MUST(rc == AW_OK || rc == AW_EBADMSG);
    if (rc == AW_OK) {
        MUST(aw__base64_encode(text, to, out) == n);
        MUST(memcmp(text, from, n) == 0);
        MUST(aw__base64_decode(from, from, n, &len) == AW_OK);
        MUST(len == out && memcmp(from, to, out) == 0);
        if (n) memcpy(from, data, n);
    }
    len = aw__base64_encode(text, from, n);
    MUST(len == (n + 2) / 3 * 4);
    MUST(aw__base64_decode(text, text, len, &out) == AW_OK);
    MUST(out == n && memcmp(text, from, n) == 0);
    free(from);
    free(to);
    free(text);
    return 0;
}
