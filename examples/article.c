/* article.c: "Asynchronous Flask: Async Views and Tasks", its five steps in C.

   cc examples/article.c -o article && ./article

   $ curl -s localhost:5000/async-view
   This is an asynchronous response!

   $ curl -s localhost:5000/fetch-data
   {"userId":1,"id":1,"title":"A post","body":"Served by the program itself."}

   $ curl -s localhost:5000/start-task
   Task started!

   $ curl -s localhost:5000/sync-view
   This is a synchronous view!

   Five seconds after /start-task, when its client has long gone, the program
   prints "Background task completed!". /fetch-data takes another upstream
   from the environment: UPSTREAM=http://example.org/posts/1 ./article
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

/* 1. An async view. It sleeps two seconds; the thread serves others. */
ASYNC_VIEW(async_view)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 2000);
        RETURN(aw_text(req, "This is an asynchronous response!"));
    }
}

/* 2. Data from another server. What has to survive an await is declared in
   the head, and reached through self. When the upstream is down, the AWAIT
   leaves the view and the client gets a 502; after five seconds, a 504. */
static const char *upstream(aw_req *req)
{
    const char *url = getenv("UPSTREAM");
    return url ? url : aw_format(req, "http://127.0.0.1:%d/posts/1",
                                 aw_serve_port(aw_req_loop(req)));
}

ASYNC_VIEW(fetch_data, aw_response *reply;)
{
    BEGIN {
        AWAIT_FOR(AW_SECONDS(5), aw_get, &self->reply, upstream(req));
        RETURN(aw_json(req, aw_response_json(self->reply)));
    }
}

VIEW(post)
{
    return aw_json_object(req,
        aw_int("userId", 1),
        aw_int("id", aw_param_int(req, "id")),
        aw_str("title", "A post"),
        aw_str("body", "Served by the program itself."));
}

/* 3. A background task: it belongs to the application, not to the request. */
ASYNC(background_task, (int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        puts("Background task completed!");
        fflush(stdout);
    }
}

VIEW(start_task)
{
    SPAWN(background_task, AW_SECONDS(5));
    return aw_text(req, "Task started!");
}

/* 4. A synchronous view beside them: a plain function. */
VIEW(sync_view)
{
    return aw_text(req, "This is a synchronous view!");
}

ROUTES(app,
    GET("/async-view", async_view),
    GET("/fetch-data", fetch_data),
    GET("/start-task", start_task),
    GET("/sync-view", sync_view),
    GET("/posts/<int:id>", post))

/* 5. debug: the routes at the start, an error page that says where. */
int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .debug = true);
}
