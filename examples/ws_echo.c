/* ws_echo.c: WebSockets: /echo sends each message back, /room to everybody.

   cc examples/ws_echo.c -o ws_echo && ./ws_echo

   $ curl -s -o /dev/null -w '%{http_code}\n' localhost:5000/echo
   426
   $ curl -s -o /dev/null -w '%{http_code}\n' -H 'Connection: Upgrade' \
       -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
       -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' \
       -H 'Origin: http://elsewhere.example' localhost:5000/echo
   403

   In the console of a browser at http://localhost:5000/:
     s = new WebSocket("/echo"); s.onmessage = m => console.log(m.data)
     s.send("hello")
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

WS_VIEW(echo, aw_ws_message msg; int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);    /* 0: it has closed */
            if (self->msg.binary)
                AWAIT(aw_ws_send_binary, ws, self->msg.data, self->msg.size);
            else
                AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    }
}

/* A broadcast waits for nobody: one who does not read is dropped. */
WS_VIEW(room, aw_ws_message msg; int rc;)
{
    aw_ws_room *everybody = AW_STATE(aw_ws_room);
    BEGIN {
        AWAIT(aw_ws_send, ws, "welcome", 7);
        (void)aw_ws_join(everybody, ws);
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            (void)aw_ws_broadcast(everybody, self->msg.data, self->msg.size);
        }
    }
}

VIEW(index) { return aw_html(req, "<!doctype html><title>Echo</title>"); }

ROUTES(app,
    GET("/", index),
    WS("/echo", echo, .max_message = 16 << 20, .protocols = "echo.v2 echo.v1"),
    WS("/room", room))

int main(int argc, char **argv)
{
    static aw_ws_room everybody;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000,
                  .data = &everybody, .access_log = AW_OFF);
}
