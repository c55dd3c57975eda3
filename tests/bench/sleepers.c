/* sleepers.c: N views asleep at once, in sockets in memory: as many descriptors
   the kernel would not give. The clock is virtual, so that what passes between
   the hour of all and the last answer is what it costs to wake them.

   sleepers N...   N; bytes for each that the loop has taken, and of the whole
                   process, with the sockets and the clients; ns to begin and
                   ns to wake each; seconds to wake all
*/
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"
#include <time.h>

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost:5000\r\n\r\n";

ASYNC_VIEW(sleeps)
{
    BEGIN {
        AWAIT(aw_sleep_ms, AW_SECONDS(3600));
        RETURN(aw_text(req, aw_header(req, "Host") ? "Hello, World!" : "no"));
    }
}

ROUTES(app, GET("/", sleeps))

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What this process has written to, in KB. */
static long written(void)
{
    char line[200];
    long kb = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Dirty: %ld", &kb) == 1) break;
    if (f) fclose(f);
    return kb;
}

static void fail(const char *why)
{
    fprintf(stderr, "sleepers: %s\n", why);
    exit(1);
}

static aw_loop *serve(int n)
{
    aw_loop *l = aw_loop_new(NULL);
    aw_config c = {.routes = app, .access_log = AW_OFF, .port = AW_ANY_PORT};

    c.max_connections = n + 1;
    if (!l || aw__sim_open(l) < 0 || aw_serve(l, &c) < 0) fail("no server");
    return l;
}

/* A hundred at a time connect, then ask: the clock stands still meanwhile. */
static void ask(aw_loop *l, int *fds, int n)
{
    aw__address at = aw__address_loopback(4, aw_serve_port(l));
    int i, k, last, rc;

    for (i = 0; i < n; i = last) {
        last = i + 100 < n ? i + 100 : n;
        for (k = i; k < last; k++) {
            rc = aw__io_connect(l, &at, &fds[k]);
            if (rc < 0 && rc != AW_EAGAIN) fail("connect");
        }
        for (k = 0; k < 3; k++) aw_loop_step(l, 0);
        for (k = i; k < last; k++)
            if (aw__io_send(l, fds[k], request, sizeof request - 1) !=
                sizeof request - 1) fail("send");
        for (k = 0; k < 3; k++) aw_loop_step(l, 0);
    }
}

static void hear(aw_loop *l, const int *fds, int n)
{
    char answer[1000];
    ptrdiff_t got;
    int i;

    for (i = 0; i < n; i++) {
        got = aw__io_recv(l, fds[i], answer, sizeof answer - 1);
        if (got < 13 || memcmp(answer + got - 13, "Hello, World!", 13) != 0)
            fail("an answer");
    }
}

static void measure(int n)
{
    int *fds = (int *)malloc((size_t)n * sizeof *fds);
    aw_loop *l = serve(n);
    const long kb = written();
    const size_t used = aw_loop_memory(l).used;
    double begun = now(), asleep, awake;
    size_t ours;
    int64_t ms;
    long all;

    if (!fds) fail("memory");
    ask(l, fds, n);
    asleep = now();
    all = written() - kb;
    ours = aw_loop_memory(l).used - used;
    awake = now();
    ms = aw_now_ms(l);
    while (aw_now_ms(l) - ms < 3600 * 1000) aw_loop_step(l, AW_FOREVER);
    while (aw_loop_step(l, 0) > 0) {}
    awake = now() - awake;
    hear(l, fds, n);
    printf("%d;%.0f;%.0f;%.0f;%.0f;%.3f\n", n, (double)ours / n,
           (double)all * 1024 / n, (asleep - begun) * 1e9 / n, awake * 1e9 / n,
           awake);
    fflush(stdout);
    aw_loop_free(l);
    free(fds);
}

int main(int argc, char **argv)
{
    int i;
    for (i = 1; i < argc; i++) measure(atoi(argv[i]));
    return 0;
}
