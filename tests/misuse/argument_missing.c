/* refused: missing.*initializer */
#include "misuse.h"

ASYNC(c, (int a; const char *p;))
{
    BEGIN { use(self->a), sink(self->p); }
}

ASYNC(m, ())
{
    BEGIN { AWAIT(c, 1); }
}
MAIN
