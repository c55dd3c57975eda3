/* runs */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        AWAIT(aw_yield);
#line 16777215
        AWAIT(aw_sleep_ms, 1);
    } FINALLY {
#line 1
        AWAIT(aw_sleep_ms, 1);
    }
}
MAIN
