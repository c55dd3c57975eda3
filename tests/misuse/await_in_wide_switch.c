/* aborts: await_in_wide_switch.c:10: in m: this await stands inside a switch */
#include "misuse.h"

ASYNC(m, (), int64_t z;)
{
    BEGIN {
        switch (self->z) {          /* wide enough to hide it */
            case 0:
                use(1);
                AWAIT(aw_sleep_ms, 1);
                break;
            default:
                break;
        }
    }
}
MAIN
