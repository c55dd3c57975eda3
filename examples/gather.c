/* gather.c: three upstreams at once, 800 ms for all of them together. What came
   in time is shown, what did not is null.

   cc examples/gather.c -o gather && ./gather

   $ curl -s localhost:5000/
   {"user":{"from":"user"},"orders":{"from":"orders"},"news":null}

   $ curl -s -w ' after %{time_total} s\n' localhost:5000/
   {"user":...,"orders":...,"news":null} after 0.8... s
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

/* The upstreams are views of this program, so that it runs anywhere. */
ASYNC_VIEW(part)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_param_int(req, "ms"));
        RETURN(aw_json_object(req, aw_str("from", aw_param(req, "name"))));
    }
}

static const char *part_url(aw_req *req, const char *name, int ms)
{
    return aw_format(req, "http://127.0.0.1:%d/part/%s/%d",
                     aw_serve_port(aw_req_loop(req)), name, ms);
}

/* START runs a child beside this view. START_TO keeps its result to itself:
   one that fails does not disturb the others. */
ASYNC_VIEW(dashboard, aw_response *user, *orders, *news; int rc[3], all;)
{
    BEGIN {
        START_TO(self->rc[0], aw_get, &self->user, part_url(req, "user", 50));
        START_TO(self->rc[1], aw_get, &self->orders,
                 part_url(req, "orders", 300));
        START_TO(self->rc[2], aw_get, &self->news,
                 part_url(req, "news", 5000));
        GATHER_FOR_TO(800, self->all);      /* AW_EDEADLINE: some were late */
        if (!self->user) RETURN(aw_error(req, 502, "no user service"));
        RETURN(aw_json_object(req,
            aw_val("user", aw_response_json(self->user)),
            aw_val("orders", aw_response_json(self->orders)),
            aw_val("news", aw_response_json(self->news))));
    }
}

ROUTES(app,
    GET("/", dashboard),
    GET("/part/<name>/<int:ms>", part))

int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000);
}
