/* ws_client.c: a WebSocket from the command line: what you type is sent, what
   comes is shown, both at any time.

   cc examples/ws_client.c -o ws_client && ./ws_client ws://localhost:5000/echo

   ws_client URL [SUBPROTOCOLS]    ends with the input, or when the other side
                                   closes: status 0 after 1000, else 1; 2 when
                                   there was no connection

   $ echo hello | ./ws_client ws://127.0.0.1:1/; echo $?
   ws_client: connection refused
   2
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

static int status = 2;

/* How long the first line is, with its end; 0: not all there. One that is too
   long goes in several messages. */
static size_t line_of(const char *text, size_t n)
{
    const char *end = memchr(text, '\n', n);
    return end ? (size_t)(end - text) + 1 : n == 4096 ? n : 0;
}

/* Lines of the input, as they come and only as fast as they are taken, until
   its end closes the socket. */
ASYNC(send_lines, (aw_ws *ws;),
      char line[4096]; size_t n, len, text; int got;)
{
    BEGIN {
        for (;;) {
            AWAIT(aw_readable, 0);
            self->got = (int)read(0, self->line + self->n,
                                  sizeof self->line - self->n);
            if (self->got <= 0) break;
            self->n += (size_t)self->got;
            while ((self->len = line_of(self->line, self->n)) > 0) {
                self->text = self->len - (self->line[self->len - 1] == '\n');
                AWAIT_TO(self->got, aw_ws_send, self->ws, self->line,
                         self->text);
                if (self->got < 0) RETURN(0);
                self->n -= self->len;
                memmove(self->line, self->line + self->len, self->n);
            }
        }
        AWAIT(aw_sleep_ms, 200);        /* for the last answers */
        AWAIT(aw_ws_close, self->ws, 1000, NULL);
    }
}

ASYNC(talk, (const char *url; const char *protocols;),
      aw_ws *ws; aw_ws_message msg; int rc;)
{
    BEGIN {
        AWAIT_TO(self->rc, aw_ws_connect, .out = &self->ws, .url = self->url,
                 .protocols = self->protocols);
        DEFER(aw_ws_free, self->ws);        /* NULL is fine */
        if (self->rc < 0) RETURN(0);
        status = 1;
        SPAWN(send_lines, self->ws);
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, self->ws, &self->msg);
            if (self->rc <= 0) break;
            if (self->msg.binary) printf("[%lu bytes]\n",
                                         (unsigned long)self->msg.size);
            else printf("%s\n", self->msg.data);
            fflush(stdout);
        }
        if (self->rc < 0) {
            AWAIT(aw_sleep_ms, 200);    /* for the Close that tells them why */
            RETURN(0);
        }
        if (aw_ws_close_code(self->ws) == AW_WS_NORMAL) status = 0;
        else fprintf(stderr, "ws_client: closed: %d %s\n",
                     aw_ws_close_code(self->ws), aw_ws_close_reason(self->ws));
    } FINALLY {
        if (self->rc <= AW_HTTP(100))
            fprintf(stderr, "ws_client: status %d\n", AW_HTTP(0) - self->rc);
        else if (self->rc < 0)
            fprintf(stderr, "ws_client: %s\n", aw_strerror(self->rc));
        aw_loop_stop(AW_LOOP());
    }
}

int main(int argc, char **argv)
{
    aw_loop *loop;
    if (argc < 2) fprintf(stderr, "ws_client URL [SUBPROTOCOLS]\n");
    loop = argc < 2 ? NULL : aw_loop_new(NULL);
    if (!loop) return 2;
    SPAWN_ON(loop, talk, argv[1], argc > 2 ? argv[2] : NULL);
    aw_loop_run(loop);
    aw_loop_free(loop);
    return status;
}
