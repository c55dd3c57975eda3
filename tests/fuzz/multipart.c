/* multipart.c: what is read of a body does not depend on how it is split. */
#include "fuzz.h"

static const char multipart_type[] = "multipart/form-data; boundary=B";

/* Writes what was found to `out`, in pieces of at most `piece` bytes; returns
   the last result. */
static int multipart_take(const void *body, size_t n, size_t piece,
                          aw__buf *out)
{
    const char *p = (const char *)body;
    aw__multipart m;
    aw_slice in, data;
    size_t at = 0;
    int rc = AW_EAGAIN;
    MUST(aw__multipart_init(&m, aw__slice(multipart_type,
                                          sizeof multipart_type - 1)) == 1);
    m.max_head = 300;
    m.parts = 20;
    while (at < n && rc == AW_EAGAIN) {
        size_t len = n - at < piece ? n - at : piece;
        char *copy = fuzz_copy(p + at, len);
        in = aw__slice(copy, len);
        while ((rc = aw__multipart_next(&m, &in, &data)) > 0) {
            if (rc == AW__PART_BEGINS) {
                aw__buf_add(out, m.part.name.p, m.part.name.n);
                aw__buf_add(out, "=", 1);
                aw__buf_add(out, m.part.filename.p, m.part.filename.n);
                aw__buf_add(out, m.type.p, m.type.n);
            } else if (rc == AW__PART_DATA) {
                MUST(data.n > 0);
                aw__buf_add(out, data.p, data.n);
            }
            if (rc != AW__PART_DATA) aw__buf_add(out, rc == AW__PART_BEGINS ? "[" : "]", 1);
        }
        MUST(rc != AW_EAGAIN || !in.n);
        at += len;
        free(copy);
    }
    if (rc == AW_EAGAIN && aw__multipart_whole(&m)) rc = 0;
    aw__buf_free(&m.head);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64};
    aw__buf whole, again;
    int rc;
    memset(&whole, 0, sizeof whole);
    rc = multipart_take(data, n, n, &whole);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        memset(&again, 0, sizeof again);
        MUST(multipart_take(data, n, pieces[i], &again) == rc);
        MUST(again.n == whole.n);
        MUST(!whole.n || memcmp(again.p, whole.p, whole.n) == 0);
        aw__buf_free(&again);
    }
    aw__buf_free(&whole);
    return 0;
}
