/* runs */
#include "misuse.h"

ASYNC(m, (), char line[300];)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
    }
}
ASYNC_MAX(m, 400);
MAIN
