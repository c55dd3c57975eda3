/* refused: division by zero|not an integer constant|not a constant */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
#line 16777216
        AWAIT(aw_sleep_ms, 1);
    }
}
MAIN
