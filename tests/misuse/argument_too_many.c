/* refused: excess|too many */
#include "misuse.h"

ASYNC(c, (int a;))
{
    BEGIN { use(self->a); }
}

ASYNC(m, ())
{
    BEGIN { AWAIT(c, 1, 2); }
}
MAIN
