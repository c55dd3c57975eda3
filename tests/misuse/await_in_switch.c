/* refused: case */
#include "misuse.h"

ASYNC(m, (), int z;)
{
    BEGIN {
        switch (self->z) {
            case 0:
                AWAIT(aw_sleep_ms, 1);
                break;
            default:
                break;
        }
    }
}
MAIN
