/* proxy.c: the header of the PROXY protocol: cut anywhere, it is incomplete
   and nothing else; what follows it does not matter. */
#define ASYNCWEB_IMPLEMENTATION
#include "../../asyncweb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_part(const uint8_t *data, size_t n, aw__proxied *x)
{
    char *part = (char *)malloc(n);
    int rc;
    if (!part) abort();
    memcpy(part, data, n);
    rc = aw__proxy_header(part, n, x);
    free(part);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aw__proxied whole, part;
    size_t n, end;
    int rc, cut;
    if (!size) return 0;
    rc = read_part(data, size, &whole);
    if (rc > (int)size || rc == 0) abort();
    if (rc < 0 && rc != AW_EAGAIN && rc != AW_EBADMSG) abort();
    end = rc > 0 ? (size_t)rc : size;
    for (n = 1; n <= end; n++) {
        cut = read_part(data, n, &part);
        if (cut == AW_EAGAIN && n < end) continue;
        if (cut != rc) abort();
        if (rc > 0 && (n < end || memcmp(&whole, &part, sizeof part) != 0))
            abort();
        break;
    }
    return 0;
}
