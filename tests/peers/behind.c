/* behind.c: what the scripts here talk to.

   behind LISTEN [TRUSTED [proxy|plain [CONNECTIONS]]]

   GET /       the client, as the server sees it: "192.0.2.1 http a.example"
   ANY /length how many bytes of body have come
   POST /form  its field "a" and how many bytes its file "f" has
   GET /big    1,000,000 bytes, or ?n=
   GET /nap    after ?ms=
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

ROUTES(app,
    GET("/", whoami),
    ANY("/length", length, .max_body = 64 << 20),
    POST("/form", form, .max_body = 64 << 20),
    GET("/big", big),
    GET("/nap", nap))

int main(int argc, char **argv)
{
    return aw_run(app, .listen = argc > 1 ? argv[1] : "127.0.0.1:0",
                  .access_log = AW_OFF,
                  .trusted_proxies = argc > 2 ? argv[2] : "",
                  .proxy_protocol = argc > 3 && strcmp(argv[3], "proxy") == 0,
                  .max_connections = argc > 4 ? atoi(argv[4]) : 0);
}
