/* refused: case */
#include "misuse.h"

ASYNC(m, ())
{
    AWAIT(aw_sleep_ms, 1);
}
MAIN
