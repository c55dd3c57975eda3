/* views.c: what the routes in main.c name. */
#include "app.h"

ASYNC_VIEW_DEFINE(slow)
{
    BEGIN {
        AWAIT(wait_for_turn, 300);
        RETURN(aw_text(req, "slow, but here\n"));
    }
}

VIEW_DEFINE(quick)
{
    return aw_text(req, "quick\n");
}
