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
    return aw_run(app, .port = 5000);
}
