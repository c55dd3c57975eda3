/* refused: expected */
#include "misuse.h"

ASYNC(c, ())
{
    BEGIN { use(1); }
}

ASYNC(m, (), int r;)
{
    BEGIN { self->r = AWAIT(c); }
}
MAIN
