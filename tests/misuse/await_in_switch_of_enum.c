/* refused: case */
#include "misuse.h"

enum color { RED, GREEN };

ASYNC(m, (), enum color z;)
{
    BEGIN {
        switch (self->z) {
            case RED:
                AWAIT(aw_sleep_ms, 1);
                break;
            case GREEN:
                break;
        }
    }
}
MAIN
