/* refused: aw_view_chat */
#include "misuse.h"

WS_VIEW(chat)
{
    BEGIN { AWAIT(aw_ws_send, ws, "hello", 5); }
}
ROUTES(app, GET("/chat", chat))

int main(void) { return aw_run(app); }
