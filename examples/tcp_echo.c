/* tcp_echo.c: streams without HTTP: sends each line back to whoever wrote it.

   cc examples/tcp_echo.c -o tcp_echo && ./tcp_echo

   $ printf 'one\ntwo\n' | nc -N localhost 5000
   one
   two
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"
#include <signal.h>

static volatile sig_atomic_t stop;
static void on_signal(int number) { stop = number; }

/* One for each client. However it ends, FINALLY closes the stream. */
ASYNC(echo, (aw_stream *client;), char line[1000]; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_read_until, self->client, self->line,
                     sizeof self->line, "\n");
            if (self->n < 0) RETURN(0);     /* it has left */
            AWAIT(aw_write, self->client, self->line, (size_t)self->n);
        }
    } FINALLY {
        AWAIT(aw_close, self->client);
    }
}

ASYNC(serve, (int port;), aw_listener *listener; aw_stream *client;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "localhost", self->port);
        DEFER(aw_listener_close, self->listener);
        fprintf(stderr, "asyncweb: tcp://localhost:%d\n",
                aw_listener_port(self->listener));
        for (;;) {
            AWAIT(aw_accept, self->listener, &self->client);
            SPAWN(echo, self->client);
        }
    }
}

/* A loop of one's own, turned until a signal comes. */
int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 5000;
    aw_loop *loop = aw_loop_new(NULL);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    SPAWN_ON(loop, serve, port > 0 ? port : 0);     /* 0: any free one */
    while (!stop && aw_loop_step(loop, 1000) > 0) {}
    aw_loop_free(loop);         /* cancels the tasks; each FINALLY runs */
    return 0;
}
