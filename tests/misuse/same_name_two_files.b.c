#define DECLARATIONS
#include "misuse.h"

int from_other_file(aw_loop *l);

ASYNC(job, (const char *text; int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(strcmp(self->text, "two") == 0 ? 0 : AW_EIO);
    }
}

int from_other_file(aw_loop *l)
{
    return SPAWN_ON(l, job, "two", 1).loop != l;
}
