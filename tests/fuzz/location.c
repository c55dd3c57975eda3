/* location.c: a base URL, a line end, and a reference to be resolved there, as
   of a redirect: what comes out is a URL that can be fetched or is refused, in
   no case one with dot-segments. */
#include "fuzz.h"

static void location_check_path(aw_slice path)
{
    size_t i, dots;
    MUST(path.n >= 1 && *path.p == '/');
    for (i = 0; i < path.n; i++) {
        if (path.p[i] != '/') continue;
        for (dots = 0; i + 1 + dots < path.n && path.p[i + 1 + dots] == '.';)
            dots++;
        MUST(dots == 0 || dots > 2 ||
             (i + 1 + dots < path.n && path.p[i + 1 + dots] != '/'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = (char *)malloc(n + 1), *ref;
    aw__arena arena;
    aw__url base, url;
    const char *to, *again;
    memset(&arena, 0, sizeof arena);
    memcpy(text, data, n);
    text[n] = 0;
    ref = strchr(text, '\n');
    if (ref) *ref++ = 0;
    if (ref && strlen(text) + strlen(ref) + 1 == n &&
        aw__url_parse(text, &base) == AW_OK) {
        to = aw__url_join(&arena, text, ref);
        MUST(to != NULL);
        if (aw__url_parse(to, &url) == AW_OK) {
            if (!strpbrk(text, "?#") && !aw__url_scheme_n(ref) && *ref &&
                strncmp(ref, "//", 2) != 0)
                MUST(url.port == base.port && url.tls == base.tls);
            /* Resolved is resolved, but for bytes of the base that no URL may
               have: they are escaped when they are read themselves. */
            to = aw__url_join(&arena, text, to);
            again = to ? aw__url_join(&arena, text, to) : NULL;
            MUST(again && strcmp(again, to) == 0);
            if (strpbrk(ref, "/.") || strpbrk(to, ".") == NULL)
                location_check_path(url.path);
        }
    }
    aw__arena_free(&arena);
    free(text);
    return 0;
}
