#define DECLARATIONS
#include "misuse.h"
#include "two_tus.h"

ASYNC_DEFINE(doubled_by_two, (int n; int64_t ms;), int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, doubled, self->n, self->ms);
        RETURN(self->rc);
    }
}
