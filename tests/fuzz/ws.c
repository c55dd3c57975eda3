/* ws.c: WebSocket frames and messages. */
#include "fuzz.h"

typedef struct ws_result {
    int rc;                     /* 0, or minus the code of the failure */
    size_t events;
    aw__buf again;              /* what was read, as whole frames, not masked */
} ws_result;

static ws_result ws_read(const void *data, size_t n, size_t split, size_t step,
                         bool masked)
{
    const char *text = (const char *)data;
    ws_result r;
    aw__ws_reader reader;
    size_t from = 0;
    memset(&r, 0, sizeof r);
    memset(&reader, 0, sizeof reader);
    reader.max_message = 4096;
    reader.masked = masked;
    do {
        size_t to = from < split ? split : from + step;
        aw_slice in, got;
        char *p;
        if (to > n) to = n;
        p = fuzz_copy(text + from, to - from);
        in = aw__slice(p, to - from);
        while ((r.rc = aw__ws_next(&reader, &in, &got)) > 0) {
            uint8_t head[AW__WS_HEAD];
            size_t head_n = aw__ws_write_head(head, r.rc, true, got.n, NULL);
            MUST(got.n <= (r.rc < AW__WS_CLOSE ? 4096 : AW__WS_CONTROL));
            MUST(r.rc != AW__WS_TEXT ||
                 (aw__utf8_valid(got.p, got.n) == got.n && got.p[got.n] == 0));
            aw__buf_add(&r.again, (const char *)head, head_n);
            aw__buf_add(&r.again, got.p, got.n);
            r.events++;
        }
        MUST(r.rc < 0 || in.n == 0);
        free(p);
        from = to;
    } while (r.rc == 0 && from < n);
    aw__buf_free(&reader.got);
    return r;
}

static void ws_agree(ws_result a, ws_result b)
{
    MUST(a.rc == b.rc && a.events == b.events && a.again.n == b.again.n);
    MUST(!a.again.n || memcmp(a.again.p, b.again.p, a.again.n) == 0);
    aw__buf_free(&b.again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const bool masked = n && (data[0] & 1);
    const uint8_t *p;
    ws_result r, second;
    size_t step;
    if (n-- == 0) return 0;
    p = data + 1;
    fuzz_begin(p, n);
    step = fuzz_step(n);
    r = ws_read(p, n, n, 1, masked);
    ws_agree(r, ws_read(p, n, 0, step, masked));
    ws_agree(r, ws_read(p, n, fuzz_random((uint32_t)n + 1), n + 1, masked));
    second = ws_read(r.again.n ? r.again.p : "", r.again.n, r.again.n, 1,
                     false);
    MUST(second.rc == 0);
    second.rc = r.rc;
    ws_agree(r, second);
    aw__buf_free(&r.again);
    return 0;
}
