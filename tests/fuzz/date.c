/* date.c: HTTP dates. */
#include "fuzz.h"

static void date_again(int64_t t)
{
    char text[30];
    int64_t back = 0;
    aw__date_format(text, t);
    MUST(strlen(text) == 29);
    MUST(aw__date_parse(text, 29, &back) == AW_OK);
    MUST(back == t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const int64_t first = -INT64_C(62135596800), last = INT64_C(253402300799);
    char *copy = fuzz_copy(data, n), text[30];
    int64_t t = 0;
    int rc = aw__date_parse(copy, n, &t);
    MUST(rc == AW_OK || rc == AW_EBADMSG);
    /* What was read is what was said, but for the name of the day. */
    if (rc == AW_OK && n == 29 && memcmp(copy + 23, "60", 2) != 0) {
        aw__date_format(text, t);
        MUST(memcmp(text + 3, copy + 3, 26) == 0);
    }
    /* The last leap second is in the year after the last one. */
    if (rc == AW_OK) MUST(t >= first && t <= last + 1);
    if (rc == AW_OK && t <= last) date_again(t);
    if (n >= sizeof t) memcpy(&t, data, sizeof t);
    aw__date_format(text, t);
    MUST(strlen(text) == 29);
    if (t >= first && t <= last) date_again(t);
    free(copy);
    return 0;
}
