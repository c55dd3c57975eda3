/* refused: define ASYNCWEB_REALLOC, ASYNCWEB_FREE and ASYNCWEB_ALLOC_CTX */
/* flags: -DFULL -Wfatal-errors */
#define ASYNCWEB_FREE(ctx, p) free(p)
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN { AWAIT(aw_sleep_ms, 1); }
}
MAIN
