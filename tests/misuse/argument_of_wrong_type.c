/* refused: incompatible|cannot convert|cannot initialize */
#include "misuse.h"

ASYNC(c, (int a; const char *p;))
{
    BEGIN { use(self->a), sink(self->p); }
}

ASYNC(m, ())
{
    BEGIN { AWAIT(c, 1, 5.5); }
}
MAIN
