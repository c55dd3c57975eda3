/* refused: include it before every system header of this file */
/* by: gcc clang flags: -DFULL -Wfatal-errors */
#include <stdio.h>
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN { AWAIT(aw_sleep_ms, 1); }
}
MAIN
