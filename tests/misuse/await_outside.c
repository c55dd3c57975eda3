/* refused: self|aw_t */
#include "misuse.h"

static int helper(void)
{
    AWAIT(aw_sleep_ms, 1);
    return 0;
}

ASYNC(m, ())
{
    BEGIN {
        use(helper());
        AWAIT(aw_sleep_ms, 1);
    }
}
MAIN
