/* tiny.c: a server for a machine that has little: an oven's thermostat. All its
   memory is 24 KiB, its own variables included, and none comes from malloc. It
   serves eight connections at once; a ninth takes the place of one that idles,
   or waits until there is one. What it needs at most it tells itself.

   cc -Os examples/tiny.c -o tiny && ./tiny

   $ curl -s localhost:5000/
   {"wanted":18.0,"memory":...,"of":...,"most":...}
   $ curl -s -d 21.5 localhost:5000/wanted

   Who waits for somebody to turn the knob:

   $ curl -s localhost:5000/changed & sleep 0.2; \
     curl -s -d 99 localhost:5000/wanted; wait
   99.0
   $ curl -s -d hot localhost:5000/wanted
   ...degrees, please: 0 to 300...
*/
#define ASYNCWEB_STATIC             /* what it does not use is left out */
#define ASYNCWEB_FIXED_MEMORY
#define ASYNCWEB_NO_CLIENT
#define ASYNCWEB_NO_WS
#define ASYNCWEB_NO_FORMS
#define ASYNCWEB_NO_STATIC_FILES
#include "../asyncweb.h"

#include <stdlib.h>

static char memory[22 * 1024 + 512];    /* with all others: 24 KiB */

static struct {
    int wanted;                     /* tenths of a degree */
    aw_event changed;
} oven = {.wanted = 180};

VIEW(show)
{
    const aw_memory m = aw_loop_memory(aw_req_loop(req));
    return aw_json_object(req, aw_double("wanted", oven.wanted / 10.0),
                          aw_int("memory", (int64_t)m.used),
                          aw_int("of", (int64_t)m.size),
                          aw_int("most", (int64_t)m.most));
}

VIEW(set)
{
    const double degrees = aw_json_double(aw_req_json(req), -1);
    if (degrees < 0 || degrees > 300)
        return aw_error(req, 400, "degrees, please: 0 to 300");
    oven.wanted = (int)(degrees * 10 + 0.5);
    aw_event_pulse(&oven.changed);
    return aw_empty(req, 204);
}

ASYNC_VIEW(changed)
{
    BEGIN {
        AWAIT_FOR(AW_SECONDS(30), aw_event_wait, &oven.changed);
        RETURN(aw_printf(req, "%d.%d\n", oven.wanted / 10, oven.wanted % 10));
    }
}
ASYNC_MAX(changed, 96);

ROUTES(app,
    GET("/", show),
    POST("/wanted", set, .max_body = 16),
    GET("/changed", changed))

int main(int argc, char **argv)
{
    return aw_run(app, .memory = memory, .memory_size = sizeof memory,
                  .port = argc > 1 ? atoi(argv[1]) : 5000,
                  .max_connections = 8);
}
