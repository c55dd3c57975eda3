/* behind.c: what the scripts here talk to.

   behind LISTEN [TRUSTED [proxy|plain [CONNECTIONS]]]

   GET /       the client, as the server sees it: "192.0.2.1 http a.example"
   ANY /length how many bytes of body have come
   POST /form  its field "a" and how many bytes its file "f" has
   GET /big    1,000,000 bytes, or ?n=
   GET /nap    after ?ms=
   WS  /echo   sends each message back
   WS  /push   never asks for a message
   GET /events "0", and then one event more for each POST /next
   GET /here   how many sockets at /push and readers of /events there are
*/
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"

VIEW(whoami)
{
    return aw_printf(req, "%s %s %s", aw_peer(req), aw_scheme(req),
                     aw_host(req));
}

VIEW(length) { return aw_printf(req, "%lu", (unsigned long)aw_body(req).n); }

VIEW(form)
{
    const aw_file *f = aw_file_of(req, "f");
    if (!f || !aw_form(req, "a")) return 400;
    return aw_printf(req, "%s %lu", aw_form(req, "a"), (unsigned long)f->size);
}

VIEW(big)
{
    static char all[32 << 20];
    int64_t n = aw_query_int(req, "n", 1000000);
    if (n < 0 || n > (int64_t)sizeof all) return 400;
    return aw_bytes_static(req, "text/plain", all, (size_t)n);
}

ASYNC_VIEW(nap)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 1000));
        RETURN(aw_text(req, "rested"));
    }
}

WS_VIEW(echo, aw_ws_message msg; int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            if (self->msg.binary)
                AWAIT(aw_ws_send_binary, ws, self->msg.data, self->msg.size);
            else
                AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    }
}

static int count, here;
static aw_event more;

WS_VIEW(push)
{
    BEGIN {
        here++;
        AWAIT(aw_ws_send, ws, "0", 1);
        AWAIT(aw_sleep_ms, AW_FOREVER);
    } FINALLY {
        here--;
    }
}

ASYNC_VIEW(events, int seen;)
{
    BEGIN {
        here++;
        self->seen = aw_sse_begin(req);
        if (self->seen < 0) RETURN(self->seen);
        for (self->seen = 0;; self->seen++) {
            char text[16];
            while (self->seen > count) AWAIT(aw_event_wait, &more);
            (void)snprintf(text, sizeof text, "%d", self->seen);
            AWAIT(aw_sse_send, req, NULL, text);
        }
    } FINALLY {
        here--;
    }
}

VIEW(next)
{
    count++;
    aw_event_pulse(&more);
    return aw_printf(req, "%d", count);
}

VIEW(who_is_here) { return aw_printf(req, "%d", here); }

ROUTES(app,
    WS("/echo", echo, .max_message = 2 << 20),
    WS("/push", push),
    GET("/events", events),
    POST("/next", next),
    GET("/here", who_is_here),
    GET("/", whoami),
    ANY("/length", length, .max_body = 64 << 20),
    POST("/form", form, .max_body = 64 << 20),
    GET("/big", big),
    GET("/nap", nap))

int main(int argc, char **argv)
{
    return aw_run(app, .listen = argc > 1 ? argv[1] : "127.0.0.1:0",
                  .access_log = AW_OFF, .ws_ping_ms = 1000,
                  .sse_ping_ms = 1000,
                  .trusted_proxies = argc > 2 ? argv[2] : "",
                  .proxy_protocol = argc > 3 && strcmp(argv[3], "proxy") == 0,
                  .max_connections = argc > 4 ? atoi(argv[4]) : 0);
}
