/* hello.c: the smallest server, for its size and the time that cc takes. */
#define ASYNCWEB_STATIC
#include "../../asyncweb.h"

VIEW(hello)
{
    return aw_text(req, "Hello, World!\n");
}

ROUTES(app, GET("/", hello))

int main(void)
{
#ifdef ASYNCWEB_FIXED_MEMORY
    static char memory[65536];
    return aw_run(app, .port = 5000, .memory = memory,
                  .memory_size = sizeof memory);
#else
    return aw_run(app, .port = 5000);
#endif
}
