/* runs */
#include "misuse.h"

int from_other_file(aw_loop *l);

ASYNC(job, (int n;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        RETURN(self->n == 1 ? 0 : AW_EIO);
    }
}

ASYNC(m, ())
{
    BEGIN {
        if (from_other_file(AW_LOOP())) RETURN(AW_EIO);
        AWAIT(job, 1);
    }
}
MAIN
