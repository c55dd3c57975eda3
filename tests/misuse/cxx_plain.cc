/* runs */
#include "misuse.h"

struct plain {
    int a;
    double b;
};

enum class color { red, green };

ASYNC(c, (plain p; color k;), plain copy;)
{
    BEGIN {
        self->copy = self->p;
        AWAIT(aw_sleep_ms, 1);
        RETURN(self->copy.a == 1 && self->k == color::green ? 0 : AW_EIO);
    }
}

ASYNC(m, ())
{
    BEGIN {
        AWAIT(c, {1, 2.5}, color::green);
        START(c, plain{1, 2.5}, color::green);
        GATHER();
    }
}
MAIN
