/* runs */
/* by: gcc clang */
#include "misuse.h"

ASYNC(c, (int a; const char *p;))
{
    BEGIN {
        if (self->a != 0 || strcmp(self->p, "x") != 0) RETURN(AW_EIO);
    }
}

ASYNC(m, ())
{
    BEGIN { AWAIT(c, .p = "x"); }
}
MAIN
