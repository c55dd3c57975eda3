/* refused: ASYNC_MAX_of_m_exceeded_shrink_its_locals_or_raise_it */
#include "misuse.h"

ASYNC(m, (), char line[300];)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        sink(self->line);
    }
}
ASYNC_MAX(m, 300);
MAIN
