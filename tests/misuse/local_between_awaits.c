/* runs */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        {
            int x = get();
            use(x);
        }
        AWAIT(aw_sleep_ms, 1);
        {
            int y = get();
            use(y);
        }
    }
}
MAIN
