/* runs */
#include "misuse.h"
#include "two_tus.h"

ASYNC_DEFINE(doubled, (int n; int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(2 * self->n);
    }
}

ASYNC(m, (), int rc; int other;)
{
    BEGIN {
        START_TO(self->rc, doubled_by_two, 21, 1);
        START_TO(self->other, doubled, 4, 1);
        GATHER();
        RETURN(self->rc == 42 && self->other == 8 ? 0 : AW_EIO);
    }
}
MAIN
