/* aborts: in m: `p` points to a variable of a step that is over */
#include "misuse.h"

ASYNC(m, (), const char *p;)
{
    BEGIN {
        {
            char b[8];
            memcpy(b, "hi", 3);
            self->p = b;
        }
        AWAIT(aw_sleep_ms, 1);
        sink(self->p);
    }
}
MAIN
