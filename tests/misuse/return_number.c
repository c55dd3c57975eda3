/* refused: aw_use_RETURN_not_return */
#include "misuse.h"

ASYNC(m, (), int z;)
{
    BEGIN {
        if (self->z) return 0;
        AWAIT(aw_sleep_ms, 1);
    }
}
MAIN
