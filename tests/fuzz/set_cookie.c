/* set_cookie.c: Set-Cookie fields, a line each, into a jar: what goes back with
   a request is one line of pairs that were set, and nothing leaks. */
#include "fuzz.h"

static void set_cookie_take(aw__jar *jar, const aw__url *url, char *line)
{
    aw_header_field fields[2] = {{"Set-Cookie", NULL}, {NULL, NULL}};
    const char *p;
    for (p = line; *p; p++)
        if (!aw__http_is(*p, AW__C_VALUE)) return;
    fields[0].value = line;
    aw__jar_take(jar, url, fields);
    MUST(jar->count >= 0 && jar->count <= 300);
}

static void set_cookie_give(aw__jar *jar, const char *text)
{
    aw__url url;
    aw__buf b;
    size_t i;
    memset(&b, 0, sizeof b);
    MUST(aw__url_parse(text, &url) == AW_OK);
    aw__jar_give(jar, &url, &b);
    if (!b.n) return;
    MUST(b.n > 10 && memcmp(b.p, "Cookie: ", 8) == 0);
    MUST(memcmp(b.p + b.n - 2, "\r\n", 2) == 0);
    for (i = 0; i < b.n - 2; i++) MUST(aw__http_is(b.p[i], AW__C_VALUE));
    aw__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = fuzz_copy((const char *)data, n), *p = text, *end = text + n;
    aw_loop_config config;
    aw_loop *loop;
    aw__jar jar;
    aw__url url;
    memset(&config, 0, sizeof config);
    loop = aw_loop_new(&config);
    MUST(loop != NULL);
    fuzz_begin(data, n);
    aw__jar_init(&jar, loop);
    MUST(aw__url_parse(fuzz_random(2) ? "https://a.b/c/d" : "http://a.b/c/d",
                       &url) == AW_OK);
    while (p < end) {
        char *lf = (char *)memchr(p, '\n', (size_t)(end - p)), *line;
        const size_t len = (size_t)((lf ? lf : end) - p);
        line = fuzz_copy(p, len + 1 > (size_t)(end - p) ? len : len + 1);
        line = (char *)realloc(line, len + 1);
        line[len] = 0;
        set_cookie_take(&jar, &url, line);
        free(line);
        p += len + 1;
    }
    set_cookie_give(&jar, "http://a.b/c/d");
    set_cookie_give(&jar, "https://x.a.b/c/");
    set_cookie_give(&jar, "https://a.b/");
    aw__jar_free(&jar);
    MUST(jar.count == 0);
    aw_loop_free(loop);
    free(text);
    return 0;
}
