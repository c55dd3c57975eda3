/* runs */
#include "misuse.h"

ASYNC(m, (), int x;)
{
    int *x = &self->x;              /* made anew at each resume */
    BEGIN {
        *x = 7;
        AWAIT(aw_sleep_ms, 1);
        if (*x != 7) RETURN(AW_EIO);
    }
}
MAIN
