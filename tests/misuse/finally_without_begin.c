/* refused: else|expected */
#include "misuse.h"

ASYNC(m, ())
{
    FINALLY { use(1); }
}
MAIN
