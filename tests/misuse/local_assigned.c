/* refused: uninitialized */
/* by: clang clang++ flags: -Wconditional-uninitialized */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        int x;
        x = get();
        AWAIT(aw_sleep_ms, 1);
        use(x);
    }
}
MAIN
