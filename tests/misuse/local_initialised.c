/* refused: jump|cross */
/* by: gcc g++ clang++ flags: -Wjump-misses-init */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        int x = get();              /* gone after the await */
        AWAIT(aw_sleep_ms, 1);
        use(x);
    }
}
MAIN
