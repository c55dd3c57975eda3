/* refused: without a cast|makes pointer from integer|incompatible integer|cannot convert|cannot initialize|no matching|invalid conversion */
#include "misuse.h"

VIEW(article) { return aw_text(req, aw_url_for(req, article, "id", 7)); }
ROUTES(app, GET("/<id>", article))

int main(void) { return aw_run(app); }
