/* runs */
/* by: g++ clang++ flags: -std=c++20 */
#include "misuse.h"

WS_VIEW(echo, aw_ws_message msg; int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    }
}

WS_VIEW(greets)
{
    BEGIN {
        AWAIT(aw_ws_send_part, ws, "hel", 3, 0);
        AWAIT(aw_ws_send_part, ws, "lo", 2, AW_WS_LAST);
        AWAIT(aw_ws_close, ws, 4000, "enough");
    }
}

/* Before C++20. */
static aw_route by_hand()
{
    aw_route r = aw_route();
    r.method = "GET";
    r.path = "/by-hand";
    r.view = &aw_ws_view_greets;
    r.websocket = true;
    return r;
}

ROUTES(app, WS("/echo", echo, .max_message = 4096, .origins = "*"),
       WS("/greets", greets), by_hand())

static bool same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

int main()
{
    aw_test *t = aw_test_open(app);
    aw_test_socket *w = aw_test_ws(t, "/echo");
    aw_test_ws_send(w, "hello");
    AW_EXPECT(t, same(aw_test_ws_recv(w, NULL), "hello"));
    AW_EXPECT(t, aw_test_ws_close(w, 1000) == 1000);
    w = aw_test_ws(t, "/by-hand");
    AW_EXPECT(t, same(aw_test_ws_recv(w, NULL), "hello"));
    AW_EXPECT(t, aw_test_ws_code(w) == 4000);
    return aw_test_close(t);
}
