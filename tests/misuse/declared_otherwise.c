/* refused: differs_from_its_ASYNC_DECLARE_doubled */
#include "misuse.h"
#include "two_tus.h"

ASYNC_DEFINE(doubled, (int n; int64_t ms; int more;))
{
    BEGIN { AWAIT(aw_sleep_ms, self->ms); }
}

ASYNC(m, ())
{
    BEGIN { AWAIT(doubled, 1, 1); }
}
MAIN
