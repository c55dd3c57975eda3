/* refused: aw_view_check */
#include "misuse.h"

static int check(aw_req *req) { return aw_path(req) == NULL; }

VIEW(page) { return aw_text(req, "yes"); }
ROUTES(app, BEFORE(check), GET("/", page))

int main(void) { return aw_run(app) + check(NULL); }
