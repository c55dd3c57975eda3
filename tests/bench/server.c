/* server.c: ours, as make bench measures it: routes, the strict parser, Date,
   all as in any program. Without the access log, as the peers are, unless
   asked for it.

   server PORT [log]   at 127.0.0.1; files of the current directory in /files

   Compiled with ASYNCWEB_STATIC it is the whole of it.
*/
#include "asyncweb.h"

VIEW(hello)
{
    return aw_text(req, "Hello, World!");
}

/* Async, but neither of these two ever suspends. */
ASYNC_VIEW(hello_async)
{
    BEGIN { RETURN(aw_text(req, "Hello, World!")); }
}

ASYNC(answer, (aw_req *req;))
{
    BEGIN { RETURN(aw_text(self->req, "Hello, World!")); }
}

ASYNC_VIEW(hello_await, int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, answer, req);
        RETURN(self->rc);
    }
}

/* Its head is there when it wakes. */
ASYNC_VIEW(sleeps)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1000);
        RETURN(aw_text(req, aw_header(req, "Host") ? "Hello, World!" : "no"));
    }
}

/* To see that answers come in the order of their requests. */
VIEW(number)
{
    return aw_text(req, aw_param(req, "n"));
}

ASYNC_VIEW(upload, char some[65536]; int n;)
{
    BEGIN {
        do {
            AWAIT_TO(self->n, aw_body_read, req, self->some,
                     sizeof self->some);
        } while (self->n > 0);
        if (self->n < 0) RETURN(self->n);
        RETURN(aw_text(req, "Hello, World!"));
    }
}

ROUTES(app,
    GET("/", hello),
    GET("/async", hello_async),
    GET("/await", hello_await),
    GET("/sleep", sleeps),
    GET("/number/<n>", number),
    POST("/upload", upload, .stream = true, .max_body = AW_OFF),
    STATIC("/files", "."))

int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000,
                  .access_log = argc > 2 ? 0 : AW_OFF, .idle_ms = 60000);
}
