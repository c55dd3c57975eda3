/* refused: alignment_over_16_in_a_frame_m */
#include "misuse.h"

ASYNC(m, (), __attribute__((aligned(64))) char line[64];)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        use(self->line[0]);
    }
}
MAIN
