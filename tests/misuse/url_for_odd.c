/* refused: division by zero|a name without a value */
#include "misuse.h"

VIEW(article) { return aw_text(req, aw_url_for(req, article, "id")); }
ROUTES(app, GET("/<id>", article))

int main(void) { return aw_run(app); }
