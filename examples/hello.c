/* hello.c: the smallest server, and a name from the path.

   cc examples/hello.c -o hello && ./hello

   $ curl -s localhost:5000/
   Hello, World!

   $ curl -s localhost:5000/hello/J%C3%BCrgen?times=2
   Hello, Jürgen!
   Hello, Jürgen!
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

VIEW(index)
{
    return aw_text(req, "Hello, World!\n");
}

VIEW(greet)
{
    const char *name = aw_param(req, "name");

    if (aw_query_int(req, "times", 1) == 2)
        return aw_printf(req, "Hello, %s!\nHello, %s!\n", name, name);
    return aw_printf(req, "Hello, %s!\n", name);
}

ROUTES(app,
    GET("/", index),
    GET("/hello/<name>", greet))

int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000);
}
