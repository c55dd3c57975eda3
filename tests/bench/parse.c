/* parse.c: ns to parse a request's head: 703 bytes of a browser, and 27.

   parse   703 bytes' median;least;most;27 bytes' median;least;most

   With -DPICO it is picohttpparser's function, to be linked with it. Ours does
   more in that time: it is strict, and finds Host, framing and keep-alive.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef PICO
#include "picohttpparser.h"
#else
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"
#endif

static const char browser[] =
    "GET /articles/2026/11/how-to-count-instructions.html?from=news HTTP/1.1\r\n"
    "Host: www.example.com:5000\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, "
    "like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,"
    "image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Referer: http://www.example.com:5000/index.html\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=light; "
    "consent=yes; seen=2026-11-22T09:15:00Z; tz=Europe/Berlin; a=xxxxxxxxxxxx\r\n"
    "\r\n";
static const char least[] = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";

typedef char browser_is_703_bytes[sizeof browser == 703 + 1 ? 1 : -1];
typedef char least_is_27_bytes[sizeof least == 27 + 1 ? 1 : -1];

enum { ROUNDS = 21, TIMES = 100000 };

/* Its length, if it is right. */
#ifdef PICO
static int parse(const char *p, size_t n)
{
    struct phr_header fields[100];
    size_t count = 100, method_n, path_n;
    const char *method, *path;
    int minor;

    return phr_parse_request(p, n, &method, &method_n, &path, &path_n, &minor,
                             fields, &count, 0);
}
#else
static int parse(const char *p, size_t n)
{
    static const aw__head_limits limits = {8192, 32768};
    aw__field fields[100];
    aw__head h;

    h.fields = fields;
    h.max_fields = 100;
    return aw__http_head(p, n, 0, &limits, &h);
}
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *head, const char *end)
{
    static char text[4096];
    volatile size_t n = strlen(head);   /* not known to the compiler */
    double ns[ROUNDS], begun;
    int i, k;

    memcpy(text, head, n);
    for (i = 0; i < ROUNDS; i++) {
        begun = now();
        for (k = 0; k < TIMES; k++)
            if (parse(text, n) != (int)n) exit(1);
        ns[i] = (now() - begun) / TIMES;
    }
    qsort(ns, ROUNDS, sizeof *ns, by_size);
    printf("%.1f;%.1f;%.1f%s", ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1], end);
}

/* parse WHICH COUNT: for callgrind. */
int main(int argc, char **argv)
{
    const char *head = argc > 2 && *argv[1] == 'b' ? browser : least;
    long i;

    if (argc > 2) {
        for (i = atol(argv[2]); i > 0; i--) parse(head, strlen(head));
        return 0;
    }
    measure(browser, ";");
    measure(least, "\n");
    return 0;
}
