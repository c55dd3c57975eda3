/* workers.c: several processes, for tests/live.sh and tests/bench/workers.sh.

   WORKERS=2 workers PORT; / says who it is, /nap sleeps for a second, /soon
   for a millisecond, /work computes for a while, /hang never ends. */
#define ASYNCWEB_STATIC
#include "asyncweb.h"

VIEW(who) { return aw_printf(req, "%d", (int)getpid()); }

ASYNC_VIEW(nap)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1000);
        RETURN(aw_printf(req, "%d", (int)getpid()));
    }
}

ASYNC_VIEW(soon)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        RETURN(aw_printf(req, "%d", (int)getpid()));
    }
}

VIEW(work)
{
    volatile uint64_t x = 88172645463325252u;
    int i;
    for (i = 0; i < 200000; i++) x = x * 6364136223846793005u + 1;
    return aw_printf(req, "%d", (int)getpid());
}

VIEW(hang)
{
    volatile bool never = true;
    while (never) {}
    return aw_text(req, "");
}

ROUTES(app, GET("/", who), GET("/nap", nap), GET("/soon", soon),
       GET("/work", work), GET("/hang", hang))

int main(int argc, char **argv)
{
    const char *workers = getenv("WORKERS");
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : AW_ANY_PORT,
                  .workers = workers ? atoi(workers) : 0, .access_log = AW_OFF,
                  .drain_ms = 3000, .cleanup_ms = 100);
}
