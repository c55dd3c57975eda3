/* refused: return */
#include "misuse.h"

ASYNC(m, (), int z;)
{
    BEGIN {
        if (self->z) return;
        AWAIT(aw_sleep_ms, 1);
    }
}
MAIN
