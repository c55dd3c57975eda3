/* refused: duplicate case */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1); AWAIT(aw_sleep_ms, 2);
    }
}
MAIN
