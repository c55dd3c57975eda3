/* refused: aw_(fn|args)_get */
#include "misuse.h"

ASYNC(m, (), int r;)
{
    BEGIN { AWAIT_TO(self->r, get, 1); }
}
MAIN
