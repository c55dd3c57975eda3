/* refused: implicit|undeclared|not declared */
#include "misuse.h"

ASYNC(c, (int a;))
{
    BEGIN { use(self->a); }
}

ASYNC(m, ())
{
    BEGIN { c(1); }
}
MAIN
