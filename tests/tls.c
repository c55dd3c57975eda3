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

/* ---- who is believed ---- */

static const struct verdict {
    const char *certificate, *key, *ca;
    const char *name, *pin;     /* NULL: good.test */
    int rc;
    int64_t now;                /* 0: NOW */
    bool insecure;
} verdicts[] = {
#define P(n) CERTS n ".pem", CERTS n ".key", CERTS "roots.pem"
    {P("good"), NULL, NULL, 0, 0, false},
    {P("ec"), NULL, NULL, 0, 0, false},
    {P("good"), "127.0.0.1", NULL, 0, 0, false},
    {P("good"), "::1", NULL, 0, 0, false},
    {P("good"), "GOOD.Test.", NULL, 0, 0, false},
    {P("good"), "127.0.0.2", NULL, AW_ETLS_NAME, 0, false},
    {P("good"), "good.test.evil", NULL, AW_ETLS_NAME, 0, false},
    {P("good"), "ood.test", NULL, AW_ETLS_NAME, 0, false},
    {P("address"), "192.0.2.7", NULL, 0, 0, false},
    {P("address"), "2001:db8:0::7", NULL, 0, 0, false},
    {P("address"), "192.0.2.8", NULL, AW_ETLS_NAME, 0, false},
    /* RFC 9525 2: the subject, here CN=address, is no name */
    {P("address"), "address", NULL, AW_ETLS_NAME, 0, false},
    /* RFC 9525 6.3 */
    {P("wild"), "a.wild.test", NULL, 0, 0, false},
    {P("wild"), "A.Wild.TEST", NULL, 0, 0, false},
    {P("wild"), "wild.test", NULL, AW_ETLS_NAME, 0, false},
    {P("wild"), "a.b.wild.test", NULL, AW_ETLS_NAME, 0, false},
    {P("wild"), ".wild.test", NULL, AW_ETLS_NAME, 0, false},
    {P("wide"), NULL, NULL, AW_ETLS_NAME, 0, false},
    {P("other"), NULL, NULL, AW_ETLS_NAME, 0, false},
    {P("expired"), NULL, NULL, AW_ETLS_EXPIRED, 0, false},
    {P("expired"), NULL, NULL, 0, 1590000000, false},
    {P("early"), NULL, NULL, AW_ETLS_NOT_YET, 0, false},
    {P("good"), NULL, NULL, AW_ETLS_CLOCK, 1000, false},
    {P("good"), NULL, NULL, AW_ETLS_EXPIRED, INT64_C(4200000000), false},
    {P("self"), NULL, NULL, AW_ETLS_SELF_SIGNED, 0, false},
    {P("strange"), NULL, NULL, AW_ETLS_ISSUER, 0, false},
    {P("under"), NULL, NULL, AW_ETLS_ISSUER, 0, false},
    {CERTS "chain.pem", CERTS "under.key", CERTS "roots.pem", NULL, NULL, 0,
     0, false},
    {P("sha1"), NULL, NULL, AW_ETLS_WEAK, 0, false},
    {P("short"), NULL, NULL, AW_ETLS_WEAK, 0, false},
    /* own roots */
    {CERTS "self.pem", CERTS "self.key", CERTS "self.pem", NULL, NULL, 0, 0,
     false},
    {CERTS "strange.pem", CERTS "strange.key", CERTS "stranger.pem", NULL,
     NULL, 0, 0, false},
    {CERTS "under.pem", CERTS "under.key", CERTS "middle.pem", NULL, NULL, 0,
     0, false},
    {CERTS "good.pem", CERTS "good.key", CERTS "good.der", NULL, NULL, 0, 0,
     false},
    {CERTS "good.pem", CERTS "good.key", CERTS "ecroot.pem", NULL, NULL,
     AW_ETLS_ISSUER, 0, false},
    {CERTS "good.pem", CERTS "good.key", CERTS "good.key", NULL, NULL,
     AW_ETLS_ROOTS, 0, false},
    {CERTS "good.pem", CERTS "good.key", "/nowhere", NULL, NULL,
     AW_ETLS_ROOTS, 0, false},
    /* pins */
    {P("good"), NULL, "good", 0, 0, false},
    {P("good"), NULL, "ec", AW_ETLS_PIN, 0, false},
    {P("ec"), NULL, "ec", 0, 0, false},
    {P("other"), NULL, "ec", AW_ETLS_NAME, 0, false},
    /* insecure */
    {P("self"), NULL, NULL, 0, 0, true},
    {P("expired"), NULL, NULL, 0, 0, true},
    {P("other"), NULL, NULL, 0, 1000, true},
    {P("short"), NULL, NULL, 0, 0, true},
    {P("good"), NULL, "good", 0, 0, true},
    {P("good"), NULL, "ec", AW_ETLS_PIN, 0, true},
#undef P
};

static const char *pin_of(const char *name, char text[60])
{
    char path[100];
    FILE *f;
    snprintf(path, sizeof path, CERTS "%s.pin", name);
    memcpy(text, "sha256//", 9);
    f = fopen(path, "r");
    if (!f || !fgets(text + 8, 50, f)) abort();
    fclose(f);
    return text;
}

TEST(verdicts_on_certificates)
{
    size_t i;
    for (i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        const struct verdict *v = &verdicts[i];
        aw_loop *l = open_loop();
        aw_tls_server s = shows(v->certificate, v->key);
        aw_tls tls = trusts(v->ca);
        char pin[60];
        if (v->name) tls.server_name = v->name;
        if (v->pin) tls.pin = pin_of(v->pin, pin);
        tls.insecure = v->insecure;
        NOTE("row %d, %s for %s", (int)i, v->certificate, tls.server_name);
        serve_with(l, &s);
        log_text[0] = 0;
        if (v->now) l->tls_epoch = v->now;
        CHECK_EQ(talk_on(l, &tls, 100), v->rc);
        CHECK_EQ(talk.got, v->rc == 0 ? 100 : 0);
        CHECK_EQ(strstr(log_text, "not verified") != NULL, v->insecure);
        close_loop(l);
    }
}

TEST(pins_that_are_none)
{
    static const char *const bad[] = {
        "", "sha256//", "sha1//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        aw_loop *l = open_loop();
        aw_tls tls = trusts(CERTS "roots.pem");
        tls.pin = bad[i];
        NOTE("%s", bad[i]);
        CHECK_EQ(talk_on(l, &tls, 1), AW_EINVAL);
        CHECK(strstr(log_text, "a pin is") != NULL);
        close_loop(l);
    }
}

/* RFC 5246 7.2.1: only close_notify ends a stream. */
TEST(a_stream_that_is_cut_off)
{
    int cut;
    for (cut = 0; cut <= 1; cut++) {
        aw_loop *l = open_loop();
        aw_tls_server s = shows(CERTS "ec.pem", CERTS "ec.key");
        aw_tls tls = trusts(CERTS "roots.pem");
        NOTE("cut %d", cut);
        serve_with(l, &s);
        echo.cut = cut;
        echo.mute = !cut;
        CHECK_EQ(talk_on(l, &tls, 1000), 0);
        CHECK_EQ(talk.got, 1000);
        CHECK_EQ(talk.end, cut ? (int)AW_EEOF : 0);
        close_loop(l);
    }
}

/* A socket that takes a byte at a time, and readers of little pieces. */
TEST(byte_by_byte)
{
    static const int pieces[] = {1, 7, 0};
    size_t i;
    for (i = 0; i < 3; i++) {
        aw_loop *l = open_loop();
        aw_tls_server s = shows(CERTS "good.pem", CERTS "good.key");
        aw_tls tls = trusts(CERTS "roots.pem");
        aw_task t;
        NOTE("piece %d", pieces[i]);
        serve_with(l, &s);
        l->sim->pipe_bytes = i == 2 ? 100 : 1;
        memset(&talk, 0, sizeof talk);
        talk.piece = pieces[i];
        talk.size = 5000;
        talk.rc = 1;
        t = SPAWN_ON(l, talker, &tls);
        while (l->slots[t.slot].generation == t.generation &&
               aw_loop_step(l, 1000) > 0) {}
        CHECK_EQ(talk.rc, 0);
        CHECK_EQ(talk.got, 5000);
        CHECK(memcmp(sent, received, 5000) == 0);
        close_loop(l);
    }
}

TEST(in_any_order)
{
    uint64_t seed;
    for (seed = 1; seed <= 60; seed++) {
        aw_loop *l = open_loop();
        aw_tls_server s = shows(CERTS "ec.pem", CERTS "ec.key");
        aw_tls tls = trusts(CERTS "roots.pem");
        NOTE("seed %d", (int)seed);
        l->chaos.seed = seed;
        serve_with(l, &s);
        echo.cut = seed % 3 == 0;
        l->sim->pipe_bytes = 300;
        CHECK_EQ(talk_on(l, &tls, 3000), 0);
        CHECK_EQ(talk.got, 3000);
        CHECK(memcmp(sent, received, 3000) == 0);
        close_loop(l);
    }
}
