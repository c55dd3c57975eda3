/* refused: return|unused */
#include "misuse.h"

ASYNC(m, ())
{
    use(1);
}
MAIN
