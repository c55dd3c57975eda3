/* tls.c: what tls.sh talks to, and with.

   tls serve LISTEN CLIENT_CA|"" (required|optional) CERTIFICATE KEY
             [CERTIFICATE KEY]...
   tls fetch URL CA|"" [SERVER_NAME|"" [CERTIFICATE KEY]]
                            prints the status and the body, or AW_E...

   GET /       "https CN=client", or "https -"
   GET /big    1,000,000 bytes, or ?n=
   GET /drip   ten lines, one at a time
   GET /nap    after ?ms=
   WS /echo    sends back what comes
   GET /files/ what is in the working directory
*/
#define ASYNCWEB_BEARSSL
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"

VIEW(whoami)
{
    const char *subject = aw_tls_peer_subject(req);
    return aw_printf(req, "%s %s", aw_scheme(req), subject ? subject : "-");
}

VIEW(big)
{
    static char all[32 << 20];
    int64_t n = aw_query_int(req, "n", 1000000);
    if (n < 0 || n > (int64_t)sizeof all) return 400;
    return aw_bytes_static(req, "text/plain", all, (size_t)n);
}

ASYNC_VIEW(drip, int i;)
{
    BEGIN {
        aw_stream_begin(req, "text/plain");
        for (; self->i < 10; self->i++) {
            AWAIT(aw_send, req, "line\n", 5);
            AWAIT(aw_sleep_ms, 10);
        }
    }
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
            if (self->rc < 0) RETURN(0);
            AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    }
}

ROUTES(app,
    GET("/", whoami),
    GET("/big", big),
    GET("/drip", drip),
    GET("/nap", nap),
    WS("/echo", echo),
    STATIC("/files", "."))

static const char *error_name(int rc)
{
#define NAME(name, number, text) if (rc == -(number)) return "AW_" #name;
    AW_ERRORS(NAME)
#undef NAME
    return "?";
}

ASYNC(fetch, (char **argv; int argc;), aw_response *reply; aw_tls tls; int rc;)
{
    BEGIN {
        if (*self->argv[1]) self->tls.ca_file = self->argv[1];
        if (self->argc > 2 && *self->argv[2])
            self->tls.server_name = self->argv[2];
        if (self->argc > 4) {
            self->tls.certificate = self->argv[3];
            self->tls.key = self->argv[4];
        }
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply,
                 .url = self->argv[0], .tls = &self->tls);
        if (self->rc < 0) puts(error_name(self->rc));
        else printf("%d %s\n", self->rc, self->reply->body);
    }
}

static int serve(char **argv, int argc)
{
    static aw_tls_pair more[10];
    int i;
    for (i = 5; i + 1 < argc; i += 2) {
        more[(i - 5) / 2].certificate = argv[i];
        more[(i - 5) / 2].key = argv[i + 1];
    }
    return aw_run(app, .listen = argv[0], .access_log = AW_OFF,
                  .tls = {.certificate = argv[3], .key = argv[4],
                          .more = more,
                          .client_ca = *argv[1] ? argv[1] : NULL,
                          .client_required = strcmp(argv[2], "required") == 0});
}

int main(int argc, char **argv)
{
    aw_loop *l;
    if (argc >= 7 && strcmp(argv[1], "serve") == 0)
        return serve(argv + 2, argc - 2);
    if (argc < 4 || strcmp(argv[1], "fetch") != 0) return 2;
    l = aw_loop_new(NULL);
    SPAWN_ON(l, fetch, argv + 2, argc - 2);
    aw_loop_run(l);
    aw_loop_free(l);
    return 0;
}
