/* disposition.c: Content-Disposition, Content-Type and safe names of any
   bytes. */
#include "fuzz.h"

static void disposition_inside(aw_slice s, const char *p, size_t n)
{
    MUST(!s.p || (s.p >= p && s.p + s.n <= p + n));
}

static void disposition_safe(aw_slice s)
{
    char name[AW__SAFE_NAME + 1];
    aw__safe_name(name, s);
    MUST(name[0] && name[0] != '.' && !strpbrk(name, "/\\\r\n\x1b"));
    MUST(aw__utf8_valid(name, strlen(name)) == strlen(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *p = fuzz_copy(data, n);
    aw__disposition d;
    aw__multipart m;
    memset(&m, 0, sizeof m);
    if (aw__multipart_init(&m, aw__slice(p, n)) == 1) {
        MUST(m.n >= 5 && m.delimiter[m.n - 1] != ' ');
        MUST(!memchr(m.delimiter + 1, '\r', m.n - 1u));
    }
    disposition_safe(aw__slice(p, n));
    if (aw__disposition_parse(p, n, &d) == AW_OK) {
        disposition_inside(d.type, p, n);
        disposition_inside(d.name, p, n);
        disposition_inside(d.filename, p, n);
        if (d.filename.p) disposition_safe(d.filename);
    }
    free(p);
    return 0;
}
