/* retry.c: an async function that takes another one, with its arguments, and
   runs it until it succeeds.

   cc examples/retry.c -o retry && ./retry

   $ curl -s localhost:5000/patient
   fine, at last
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

/* AW_BIND makes `what`, aw_call runs it. This works for any of them. */
ASYNC(retry, (int tries; int64_t ms; aw_bound what;), int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_call, self->what);
            if (self->rc >= 0 || --self->tries <= 0) RETURN(self->rc);
            fprintf(stderr, "%s: again in %d ms\n", aw_strerror(self->rc),
                    (int)self->ms);
            AWAIT(aw_sleep_ms, self->ms);
            self->ms *= 2;
        }
    }
}

/* The client's result is the status, 503 as well as 200. Here 503 is a
   failure; so are those without an answer: AW_ECONNREFUSED, ... */
ASYNC(get_page, (aw_response **out; int port;), char url[64]; int status;)
{
    BEGIN {
        snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d/flaky",
                 self->port);
        AWAIT_TO(self->status, aw_get, self->out, self->url);
        RETURN(self->status == 503 ? AW_HTTP(503) : self->status);
    }
}

ASYNC_VIEW(patient, aw_response *page;)
{
    BEGIN {
        AWAIT(retry, 5, 100,
              AW_BIND(get_page, &self->page, aw_serve_port(AW_LOOP())));
        RETURN(aw_text(req, self->page->body));
    }
}

VIEW(flaky)
{
    return ++*AW_STATE(int) % 3 ? 503 : aw_text(req, "fine, at last\n");
}

ROUTES(app, GET("/patient", patient), GET("/flaky", flaky))

int main(int argc, char **argv)
{
    static int asked;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &asked);
}
