/* conditional.c: preconditions. The input is field lines; a tag is its first
   bytes, up to a NUL. */
#include "fuzz.h"

static int conditional_judge(const char *method, const char *lines, size_t n,
                             const aw__validators *v)
{
    static const char host[] = " / HTTP/1.1\r\nHost: h\r\n";
    static const aw__head_limits limits = {8192, 65535};
    aw__field fields[50];
    aw__range ranges[AW__RANGES_MAX];
    aw__head h;
    aw__buf b;
    char *p;
    int rc;
    memset(&b, 0, sizeof b);
    memset(&h, 0, sizeof h);
    aw__buf_add(&b, method, strlen(method));
    aw__buf_add(&b, host, strlen(host));
    aw__buf_add(&b, lines, n);
    aw__buf_add(&b, "\r\n\r\n", 4);
    p = fuzz_head_copy(b.p, b.n, 0);
    h.fields = fields;
    h.max_fields = 50;
    rc = aw__http_head(p, b.n, 0, &limits, &h);
    aw__buf_free(&b);
    if (rc > 0) {
        rc = aw__preconditions(p, &h, v);
        MUST(rc == 0 || rc == 304 || rc == 412);
        MUST(aw__ranges(p, &h, v, 100, ranges) <= AW__RANGES_MAX);
    } else {
        rc = -1;
    }
    free(p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char tag[64] = "\"";
    char *list = fuzz_copy(data, n);
    const char *text = (const char *)data;
    const char *end = n ? (const char *)memchr(text, 0, n) : NULL;
    size_t len = end ? (size_t)(end - text) : 0;
    aw__validators v;
    int get, head, put, strong, weak;
    if (len > 60) len = 60;
    if (len) memcpy(tag + 1, text, len);
    strcpy(tag + 1 + len, "\"");
    v.etag = tag;
    v.modified = 784111777;
    strong = aw__etag_listed(aw__slice(list, n), tag, true);
    weak = aw__etag_listed(aw__slice(list, n), tag, false);
    MUST(strong != AW__YES || weak == AW__YES);
    MUST(weak == AW__YES || weak == strong);
    free(list);
    if (end) text = end + 1, n -= (size_t)(end - (const char *)data) + 1;
    get = conditional_judge("GET", text, n, &v);
    head = conditional_judge("HEAD", text, n, &v);
    put = conditional_judge("PUT", text, n, &v);
    MUST(get == head || get < 0 || head < 0);
    MUST(put != 304);
    MUST(get != 412 || put == 412 || put < 0);
    return 0;
}
