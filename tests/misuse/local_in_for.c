/* refused: jump|cross */
/* by: gcc g++ clang++ flags: -Wjump-misses-init */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        for (int i = 0; i < 3; i++) {
            AWAIT(aw_sleep_ms, 1);
        }
    }
}
MAIN
