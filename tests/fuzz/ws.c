/* WebSocket frames: however the bytes are cut, the reader says the same; what
   it accepts can be written again and says the same; masking undoes itself.
   The first two bytes are the settings and where to cut. */
#define ASYNCWEB_IMPLEMENTATION
#include "../../asyncweb.h"

typedef struct said {
    uint64_t hash;
    size_t events;
    int last;                   /* a failure, or 0 */
} said;

static void say(said *s, const void *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;
    size_t i;
    for (i = 0; i < n; i++) s->hash = (s->hash ^ c[i]) * 0x100000001b3u;
}

/* Reads it all, `piece` bytes at a time (0: at once); what comes out is written
   to `again`, if there is one, as whole frames without masks. */
static said read_all(const uint8_t *p, size_t n, size_t piece, bool masked,
                     aw__buf *again)
{
    aw__ws_reader r;
    said s = {0xcbf29ce484222325u, 0, 0};
    size_t i, k;
    memset(&r, 0, sizeof r);
    r.max_message = 4096;
    r.masked = masked;
    for (i = 0; i < n; i += k) {
        aw_slice in, data;
        uint8_t head[AW__WS_HEAD];
        char *exact;
        int rc;
        k = piece && piece < n - i ? piece : n - i;
        exact = (char *)malloc(k);
        if (!exact) abort();
        memcpy(exact, p + i, k);
        in = aw__slice(exact, k);
        while ((rc = aw__ws_next(&r, &in, &data)) > 0) {
            s.events++;
            say(&s, &rc, sizeof rc);
            say(&s, data.p, data.n);
            if (rc == AW__WS_TEXT && aw__utf8_valid(data.p, data.n) != data.n)
                abort();
            if (data.n > r.max_message) abort();
            if (!again) continue;
            k = aw__ws_write_head(head, rc, true, data.n, NULL);
            aw__buf_add(again, (const char *)head, k);
            aw__buf_add(again, data.p, data.n);
            k = piece && piece < n - i ? piece : n - i;
        }
        free(exact);
        s.last = rc;
        if (rc < 0) break;
        if (in.n) abort();
    }
    aw__buf_free(&r.got);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    aw__buf again;
    said whole, bytes, cut, second;
    bool masked;
    if (n < 2) return 0;
    masked = (p[0] & 1) != 0;
    memset(&again, 0, sizeof again);
    whole = read_all(p + 2, n - 2, 0, masked, &again);
    bytes = read_all(p + 2, n - 2, 1, masked, NULL);
    cut = read_all(p + 2, n - 2, 1 + p[1], masked, NULL);
    if (whole.hash != bytes.hash || whole.last != bytes.last) abort();
    if (whole.hash != cut.hash || whole.last != cut.last) abort();
    second = read_all((const uint8_t *)again.p, again.n, 0, false, NULL);
    if (second.hash != whole.hash || second.events != whole.events) abort();
    aw__buf_free(&again);
    return 0;
}
