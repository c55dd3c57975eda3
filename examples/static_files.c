/* static_files.c: serves a directory: types, ranges, conditions, compressed
   copies; nothing outside of it.

   cc examples/static_files.c -o static_files && ./static_files

   Another directory: ./static_files 5000 /var/www

   $ printf 'hello, file\n' >hello.txt
   $ curl -s localhost:5000/hello.txt
   hello, file
   $ curl -s -r 7-10 localhost:5000/hello.txt
   file
   $ curl -s -o /dev/null -w '%{http_code}\n' localhost:5000/nothing
   404
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

ROUTES(app,
    STATIC("/", ".", .max_age = 60))

int main(int argc, char **argv)
{
    if (argc > 2 && chdir(argv[2]) < 0) {
        perror(argv[2]);
        return 1;
    }
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000);
}
