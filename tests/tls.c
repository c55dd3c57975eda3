/* tls.c: TLS, client and server in one loop. Sockets are in memory and time is
   virtual; certificates are made by tests/certs.sh. */
#define ASYNCWEB_BEARSSL
#define ASYNCWEB_TLS_POISON
static int fault(const char *call);
#define ASYNCWEB_FAULT(call) fault(call)
#include "test.h"

#define CERTS "build/certs/"

enum { PORT = 8443 };

/* ---- faults ---- */

static struct {
    int count, at, error;       /* `at`: which call fails, 0 none */
    bool allocs, calls;         /* what is counted */
} faults;

static int fault(const char *call)
{
    bool alloc = call[0] == 'a' && call[1] == 'l';
    if (alloc ? !faults.allocs : !faults.calls) return 0;
    if (++faults.count != faults.at) return 0;
    errno = faults.error;
    return 1;
}

/* ---- loops ---- */

static char log_text[4000];

static void log_line(void *data, aw_log_level level, const char *line)
{
    size_t n = strlen(log_text);
    (void)data, (void)level;
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

enum { NOW = 1760000000 };      /* October 2025 */

static aw_loop *open_loop(void)
{
    aw_loop_config config;
    aw_loop *l;
    memset(&config, 0, sizeof config);
    config.debug = true;
    config.log = log_line;
    log_text[0] = 0;
    l = aw_loop_new(&config);
    if (!l || aw__sim_open(l) < 0) abort();
    l->tls_epoch = NOW;
    return l;
}

/* Nothing is left behind. */
static void close_loop(aw_loop *l)
{
    if (aw__loop_end(l) != 0) CHECK(!"memory was not given back");
}

/* ---- a server that sends back what it gets ---- */

static struct {
    aw__tls_site *site;
    aw_listener *listener;
    bool cut;                   /* ends without close_notify */
    bool mute;                  /* ends at once, in order */
    int accepts, ends, error;   /* error: of the last connection */
    char subject[100];
} echo;

ASYNC(echo_one, (aw_stream *stream;), char b[3000]; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_read, self->stream, self->b, sizeof self->b);
            if (self->n <= 0) break;
            if (aw__tls_on(AW_LOOP(), self->stream->fd)->subject)
                strcpy(echo.subject,
                       aw__tls_on(AW_LOOP(), self->stream->fd)->subject);
            AWAIT_TO(self->n, aw_write, self->stream, self->b,
                     (size_t)self->n);
            if (self->n < 0 || echo.cut || echo.mute) break;
        }
        echo.error = self->n < 0 ? self->n : 0;
    } FINALLY {
        echo.ends++;
        if (echo.cut) aw_stream_abort(self->stream);
        else AWAIT(aw_close, self->stream);
    }
}

ASYNC(echo_server, (), aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &echo.listener, "127.0.0.1", PORT);
        DEFER(aw_listener_close, echo.listener);
        for (;;) {
            AWAIT(aw_accept, echo.listener, &self->stream);
            echo.accepts++;
            if (aw__tls_accept(AW_LOOP(), self->stream->fd, echo.site))
                SPAWN(echo_one, self->stream);
            else
                aw_stream_abort(self->stream);
        }
    } FINALLY {
        aw__site_drop(echo.site);
    }
}

static aw_tls_server shows(const char *certificate, const char *key)
{
    aw_tls_server s;
    memset(&s, 0, sizeof s);
    s.certificate = certificate;
    s.key = key;
    return s;
}

/* Starts the server in l. */
static void serve_with(aw_loop *l, const aw_tls_server *config)
{
    memset(&echo, 0, sizeof echo);
    if (!aw__tls_of(l)) abort();
    CHECK_EQ(aw__site_open(l, &l->tls->roots, config, &echo.site), 0);
    SPAWN_ON(l, echo_server);
    aw_loop_step(l, 0);
}

static aw_tls trusts(const char *ca_file)
{
    aw_tls tls;
    memset(&tls, 0, sizeof tls);
    tls.ca_file = ca_file;
    tls.server_name = "good.test";
    return tls;
}

/* ---- a client ---- */

static struct {
    int rc, end;                /* of the connect; of the read at the end */
    size_t size, got;
    int piece;                  /* read by so many bytes */
} talk;

static char sent[100000], received[100000];

ASYNC(receiver, (aw_stream *stream;), int n;)
{
    BEGIN {
        while (talk.got < talk.size) {
            AWAIT_TO(self->n, aw_read, self->stream, received + talk.got,
                     talk.piece ? (size_t)talk.piece : sizeof received -
                     talk.got);
            if (self->n <= 0) RETURN(self->n < 0 ? self->n : AW_EEOF);
            talk.got += (size_t)self->n;
        }
    }
}

/* Sends and receives at the same time. */
ASYNC(talker, (const aw_tls *tls;), aw_stream *stream; char b[10];)
{
    BEGIN {
        AWAIT_TO(talk.rc, aw_connect_tls, &self->stream, "127.0.0.1", PORT,
                 self->tls);
        if (talk.rc < 0) {
            CHECK(self->stream == NULL);
            RETURN(talk.rc);
        }
        START(receiver, self->stream);
        AWAIT(aw_write, self->stream, sent, talk.size);
        GATHER();
        if (echo.cut || echo.mute)
            AWAIT_TO(talk.end, aw_read, self->stream, self->b, 10);
    } FINALLY {
        AWAIT(aw_close, self->stream);
    }
}

static int talk_on(aw_loop *l, const aw_tls *tls, size_t size)
{
    aw_task t;
    size_t i;
    int turns = 0;
    memset(&talk, 0, sizeof talk);
    memset(received, 0, sizeof received);
    for (i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7 ^ i >> 8);
    talk.size = size;
    talk.rc = 1;
    t = SPAWN_ON(l, talker, tls);
    while (aw_loop_step(l, 1000) > 0 && turns++ < 100000)
        if (!(l->slots[t.slot].generation == t.generation)) break;
    for (i = 0; i < 20; i++) aw_loop_step(l, 0);
    return talk.rc;
}

TEST(echoes)
{
    static const char *const pairs[][2] = {
        {CERTS "good.pem", CERTS "good.key"}, {CERTS "ec.pem", CERTS "ec.key"}};
    size_t i;
    for (i = 0; i < 2; i++) {
        aw_loop *l = open_loop();
        aw_tls_server s = shows(pairs[i][0], pairs[i][1]);
        aw_tls tls = trusts(CERTS "roots.pem");
        NOTE("%s", pairs[i][0]);
        serve_with(l, &s);
        CHECK_EQ(talk_on(l, &tls, 50000), 0);
        CHECK_EQ(talk.got, 50000);
        CHECK(memcmp(sent, received, 50000) == 0);
        CHECK_STR(log_text, "");
        CHECK_EQ(echo.accepts, 1);
        CHECK_EQ(echo.ends, 1);
        CHECK_EQ(echo.error, 0);
        close_loop(l);
    }
}
