/* app.h: what the two files know of each other. */
#ifndef APP_H
#define APP_H

#include "../../asyncweb.h"

ASYNC_DECLARE(wait_for_turn, (int64_t ms;));    /* an async function */
VIEW_DECLARE(slow);                             /* views, plain or async */
VIEW_DECLARE(quick);

#endif
