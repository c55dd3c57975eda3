/* main.c: an application in two source files. One of them, this one, defines
   ASYNCWEB_IMPLEMENTATION; all include asyncweb.h, here through app.h.

   cc examples/two_files/main.c examples/two_files/views.c -o two && ./two

   $ curl -s localhost:5000/slow
   slow, but here

   $ curl -s localhost:5000/quick
   quick
*/
#define ASYNCWEB_IMPLEMENTATION
#include "app.h"
#include <stdlib.h>

/* The arguments are those of ASYNC_DECLARE; locals are nobody's business. */
ASYNC_DEFINE(wait_for_turn, (int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
    }
}

ROUTES(app,
    GET("/slow", slow),
    GET("/quick", quick))

int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000);
}
