/* refused: aw_ws_view_page */
#include "misuse.h"

VIEW(page) { return aw_text(req, "hello"); }
ROUTES(app, WS("/chat", page))

int main(void) { return aw_run(app); }
