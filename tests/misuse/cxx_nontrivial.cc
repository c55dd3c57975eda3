/* refused: only_plain_data_in_a_frame */
#include "misuse.h"
#include <string>

ASYNC(m, (), std::string text;)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        sink(self->text.c_str());
    }
}
MAIN
