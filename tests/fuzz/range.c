/* range.c: the Range field. The first eight bytes are the size. */
#include "fuzz.h"

static void range_sound(const aw__range *r, int n, int64_t size)
{
    for (int i = 0; i < n; i++) {
        MUST(r[i].at >= 0 && r[i].n > 0 && r[i].n <= size - r[i].at);
        for (int k = 0; k < i; k++)
            MUST(r[k].at - (r[i].at + r[i].n) > AW__RANGE_GAP ||
                 r[i].at - (r[k].at + r[k].n) > AW__RANGE_GAP);
    }
}

/* Asked for once more, in plain words. */
static void range_again(const aw__range *r, int n, int64_t size)
{
    aw__range again[AW__RANGES_MAX];
    char text[AW__RANGES_MAX * 44 + 8] = "bytes=", *exact;
    size_t at = 6;
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%lld-%lld,",
                               (long long)r[i].at,
                               (long long)(r[i].at + r[i].n - 1));
    exact = fuzz_copy(text, at);
    MUST(aw__ranges_read(aw__slice(exact, at), size, again) == n);
    for (int i = 0; i < n; i++)
        MUST(again[i].at == r[i].at && again[i].n == r[i].n);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    aw__range r[AW__RANGES_MAX];
    int64_t size;
    char *field;
    int count;
    if (n < 8) return 0;
    memcpy(&size, data, 8);
    if (size < 0) size = size == INT64_MIN ? 0 : -size;
    field = fuzz_copy(data + 8, n - 8);
    count = aw__ranges_read(aw__slice(field, n - 8), size, r);
    MUST(count == AW_HTTP(416) || (count >= 0 && count <= AW__RANGES_MAX));
    MUST(count <= 0 || size > 0);
    range_sound(r, count, size);
    if (count > 0) range_again(r, count, size);
    free(field);
    return 0;
}
