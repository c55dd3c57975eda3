/* refused: division by zero|constant */
#include "misuse.h"

VIEW(page) { return aw_text(req, "no"); }
ROUTES(app, ON_ERROR(200, page))

int main(void) { return aw_run(app); }
