/* refused: variabl[ey].*(modified|length)|protected scope|cross|VLA */
#include "misuse.h"

ASYNC(m, ())
{
    BEGIN {
        int n = get();
        char b[n];
        b[0] = 1;
        AWAIT(aw_sleep_ms, 1);
        use(b[0]);
    }
}
MAIN
