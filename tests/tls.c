/* tls.c: TLS, client and server in one loop. Sockets are in memory and time is
   virtual; certificates are made by tests/certs.sh. */
#define ASYNCWEB_BEARSSL
#include "child.h"

#define CERTS "build/certs/"

enum { PORT = 8443 };

/* ---- faults ---- */

static struct {
    int count, at, error;       /* `at`: which call fails, 0 none */
    bool allocs, calls;         /* what is counted */
} faults;

static int tls_fault(const char *call)
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
    char subject[100], name[100];       /* name: that was asked for */
} echo;

ASYNC(echo_one, (aw_stream *stream;), char b[3000]; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_read, self->stream, self->b, sizeof self->b);
            if (self->n <= 0) break;
            snprintf(echo.name, sizeof echo.name, "%s",
                     br_ssl_engine_get_server_name(
                         aw__tls_on(AW_LOOP(), self->stream->fd)->eng));
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
        if (i) tls.server_name = "good.test.";  /* RFC 6066 3 */
        CHECK_EQ(talk_on(l, &tls, 50000), 0);
        CHECK_STR(echo.name, "good.test");
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
    /* RFC 5280 4.2.1.12 */
    {P("both"), NULL, NULL, 0, 0, false},
    {P("server"), NULL, NULL, 0, 0, false},
    {P("any"), NULL, NULL, 0, 0, false},
    {P("client"), NULL, NULL, AW_ETLS_USE, 0, false},
    {P("client"), NULL, NULL, 0, 0, true},
    /* RFC 5280 4.2.1.9: who is no CA signs nothing */
    {CERTS "forged-chain.pem", CERTS "forged.key", CERTS "roots.pem", NULL,
     NULL, AW_ETLS_ISSUER, 0, false},
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
        aw__chaos_on(l, seed);
        serve_with(l, &s);
        echo.cut = seed % 3 == 0;
        l->sim->pipe_bytes = 300;
        CHECK_EQ(talk_on(l, &tls, 3000), 0);
        CHECK_EQ(talk.got, 3000);
        CHECK(memcmp(sent, received, 3000) == 0);
        close_loop(l);
    }
}

/* ---- an application ---- */

static int run_until_ended(aw_task task)
{
    int rc = 0, turns = 0;
    if (!task.loop) return task.slot;
    while (!aw_ended(task) && rc >= 0 && turns++ < 100000)
        rc = aw_loop_step(task.loop, AW_FOREVER);
    return rc < 0 ? rc : (int)task.loop->slots[task.slot].u.result;
}

ASYNC(sleeper, (int64_t ms;)) { BEGIN { AWAIT(aw_sleep_ms, self->ms); } }

static void pass(aw_loop *l, int64_t ms)
{
    run_until_ended(SPAWN_ON(l, sleeper, ms));
}

static int seen;                /* requests */

VIEW(hello)
{
    const char *subject = aw_tls_peer_subject(req);
    seen++;
    return aw_text(req, aw_format(req, "%s %s", aw_base_url(req),
                                  subject ? subject : "-"));
}

static char big[200000];

VIEW(large)
{
    return aw_text_static(req, big);
}

/* From here http, and to it. */
VIEW(away) { return aw_redirect(req, "http://127.0.0.1:8080/"); }

WS_VIEW(ws_echo, aw_ws_message msg; int rc;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) RETURN(self->rc);
            AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
        }
    }
}

/* A view that neither reads nor sends hears that its client has gone, though
   some of what it sent is still here. */
ASYNC_VIEW(sleepy)
{
    BEGIN {
        aw_stream_begin(req, "text/plain");
        AWAIT(aw_send, req, big, 600);
        AWAIT(aw_sleep_ms, 3600000);
    } FINALLY {
        seen = OUTCOME();
    }
}

ROUTES(app, GET("/", hello), GET("/large", large), GET("/away", away),
       POST("/sleepy", sleepy, .stream = true), WS("/ws", ws_echo))

static aw_config https_at(const char *certificate, const char *key)
{
    aw_config c;
    memset((void *)&c, 0, sizeof c);
    c.routes = app;
    c.access_log = AW_OFF;
    c.tls.certificate = certificate;
    c.tls.key = key;
    c.port = PORT;
    return c;
}

static struct {
    int rc;
    char body[300];
    size_t size;
} came;

ASYNC(fetch, (const char *url; const aw_tls *tls;), aw_response *reply;)
{
    BEGIN {
        came.body[0] = 0;
        came.size = 0;
        AWAIT_TO(came.rc, aw_fetch, .out = &self->reply, .url = self->url,
                 .tls = self->tls);
        if (!self->reply) RETURN(0);
        snprintf(came.body, sizeof came.body, "%s", self->reply->body);
        came.size = self->reply->body_len;
    }
}

static int fetch_on(aw_loop *l, const char *url, const aw_tls *tls)
{
    CHECK(run_until_ended(SPAWN_ON(l, fetch, url, tls)) >= 0);
    return came.rc;
}

#define URL "https://127.0.0.1:8443/"

/* The state of the only connection there is, from the server's side. */
static aw__tls *server_side(const aw_loop *l)
{
    int fd;
    for (fd = 0; fd < l->fd_end; fd++)
        if (l->fds[fd].kind == AW__FD_CONN) return l->fds[fd].tls;
    return NULL;
}

TEST(https_from_end_to_end)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls tls = trusts(CERTS "roots.pem"), other;
    int i;
    memset(big, 'b', sizeof big - 1);
    CHECK_EQ(aw_serve(l, &c), 0);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_STR(came.body, "https://127.0.0.1:8443 -");
    CHECK_EQ(l->tls->handshakes, 2);    /* both ends of one */
    /* On the same connection, whose buffers come and go. */
    for (i = 0; i < 100; i++) {
        CHECK_EQ(fetch_on(l, URL, &tls), 200);
        CHECK(server_side(l) && !server_side(l)->buffers);
        CHECK(!server_side(l)->hello && !server_side(l)->site);
    }
    CHECK_EQ(fetch_on(l, URL "large", &tls), 200);
    CHECK_EQ(came.size, sizeof big - 1);
    CHECK_EQ(l->tls->handshakes, 2);
    /* Who is asked otherwise is asked anew. */
    other = tls;
    other.server_name = "localhost";
    CHECK_EQ(fetch_on(l, URL, &other), 200);
    CHECK_EQ(l->tls->handshakes, 4);
    CHECK_EQ(l->tls->resumed, 0);
    other.ca_file = CERTS "ecroot.pem";
    CHECK_EQ(fetch_on(l, URL, &other), AW_ETLS_ISSUER);
    CHECK_EQ(l->tls->handshakes, 6);
    /* What is not verified is said each time, and never shared. */
    other.insecure = true;
    for (i = 0; i < 2; i++) {
        log_text[0] = 0;
        CHECK_EQ(fetch_on(l, URL, &other), 200);
        CHECK(strstr(log_text, URL ": TLS: .insecure: the certificate is not "
                     "verified") != NULL);
    }
    CHECK_EQ(l->tls->handshakes, 8);
    /* Later the session goes on. */
    pass(l, 60000);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_EQ(l->tls->handshakes, 10);
    CHECK_EQ(l->tls->resumed, 1);
    close_loop(l);
}

/* wss:// both ways, in pieces larger and smaller than a record. */
ASYNC(wss, (const aw_tls *tls;), aw_ws *ws; aw_ws_message msg; int i;)
{
    BEGIN {
        static const size_t sizes[] = {0, 1, 5000, 100000};
        AWAIT(aw_ws_connect, .out = &self->ws, .url = "wss://127.0.0.1:8443/ws",
              .tls = self->tls);
        DEFER(aw_ws_free, self->ws);
        for (self->i = 0; self->i < 4; self->i++) {
            AWAIT(aw_ws_send, self->ws, big, sizes[self->i]);
            AWAIT(aw_ws_recv, self->ws, &self->msg);
            CHECK_EQ(self->msg.size, sizes[self->i]);
            CHECK(memcmp(self->msg.data, big, self->msg.size) == 0);
        }
        AWAIT(aw_ws_close, self->ws, 1000, NULL);
        CHECK_EQ(aw_ws_close_code(self->ws), 1000);
        RETURN(1);
    }
}

TEST(websockets_over_tls)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    memset(big, 'b', sizeof big - 1);
    CHECK_EQ(aw_serve(l, &c), 0);
    CHECK_EQ(run_until_ended(SPAWN_ON(l, wss, &tls)), 1);
    tls.ca_file = CERTS "ecroot.pem";
    CHECK_EQ(run_until_ended(SPAWN_ON(l, wss, &tls)), AW_ETLS_ISSUER);
    close_loop(l);
}

/* ---- through a proxy (RFC 9110 9.3.6) ---- */

static struct {
    const char *says;           /* instead of a tunnel */
    const char *opens;          /* before it; NULL: a 200 */
    char asked[1000];
    int tunnels;
} relay;

ASYNC(relay_one_way, (aw_stream *from; aw_stream *to;), char b[2000]; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_read, self->from, self->b, sizeof self->b);
            if (self->n <= 0) break;
            AWAIT_TO(self->n, aw_write, self->to, self->b, (size_t)self->n);
            if (self->n < 0) break;
        }
    }
}

ASYNC(relay_one, (aw_stream *stream;), aw_stream *up; int n, a, b;)
{
    static const char yes[] = "HTTP/1.1 200 Connected\r\nX: y\r\n\r\n";
    const char *const says = relay.says ? relay.says
        : relay.opens ? relay.opens : yes;
    BEGIN {
        DEFER(aw_stream_abort, self->stream);
        AWAIT_TO(self->n, aw_read_until, self->stream, relay.asked,
                 sizeof relay.asked - 1, "\r\n\r\n");
        if (self->n < 0) RETURN(0);
        relay.asked[self->n] = 0;
        AWAIT(aw_write, self->stream, says, strlen(says));
        if (relay.says) RETURN(0);
        relay.tunnels++;
        AWAIT(aw_connect, &self->up, "127.0.0.1", 8443);
        DEFER(aw_stream_abort, self->up);
        START_TO(self->a, relay_one_way, self->stream, self->up);
        START_TO(self->b, relay_one_way, self->up, self->stream);
        RACE_TO(self->n);
    }
}

ASYNC(relay_server, (), aw_listener *listener; aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &self->listener, "127.0.0.1", 3128);
        DEFER(aw_listener_close, self->listener);
        for (;;) {
            AWAIT(aw_accept, self->listener, &self->stream);
            if (aw_ended(SPAWN(relay_one, self->stream)))
                aw_stream_abort(self->stream);
        }
    }
}

ASYNC(fetch_by, (aw_client *client; const char *url;), aw_response *reply;)
{
    BEGIN {
        came.body[0] = 0;
        AWAIT_TO(came.rc, aw_fetch, .out = &self->reply, .url = self->url,
                 .client = self->client, .max_redirects = 3);
        if (self->reply)
            snprintf(came.body, sizeof came.body, "%s", self->reply->body);
    }
}

static int fetch_through(aw_loop *l, aw_client *client, const char *url)
{
    CHECK(run_until_ended(SPAWN_ON(l, fetch_by, client, url)) >= 0);
    return came.rc;
}

ASYNC(fetch_sure, (aw_client *client; const aw_tls *tls;), aw_response *reply;)
{
    BEGIN {
        AWAIT_TO(came.rc, aw_fetch, .out = &self->reply, .url = URL,
                 .client = self->client, .tls = self->tls);
    }
}

/* What is said of a request is so: its own options come before its client's. */
TEST(one_that_is_verified_in_an_insecure_client)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls sure = trusts(CERTS "roots.pem"), not_sure = sure;
    aw_client_config config;
    aw_client *client;
    memset((void *)&config, 0, sizeof config);
    not_sure.insecure = true;
    config.tls = &not_sure;
    client = aw_client_new(l, &config);
    CHECK_EQ(aw_serve(l, &c), 0);
    run_until_ended(SPAWN_ON(l, fetch_sure, client, &sure));
    CHECK_EQ(came.rc, 200);
    CHECK(strstr(log_text, "not verified") == NULL);
    run_until_ended(SPAWN_ON(l, fetch_sure, client, (const aw_tls *)NULL));
    CHECK_EQ(came.rc, 200);
    CHECK(strstr(log_text, "not verified") != NULL);
    CHECK_EQ(l->tls->handshakes, 4);
    close_loop(l);
}

static aw_loop *open_tunnel(const char *says, aw_client **client)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_client_config with;
    aw_tls tls = trusts(CERTS "roots.pem");
    memset((void *)&with, 0, sizeof with);
    memset(&relay, 0, sizeof relay);
    relay.says = says;
    with.proxy = "http://me:secret@127.0.0.1:3128";
    with.tls = &tls;
    CHECK_EQ(aw_serve(l, &c), 0);
    SPAWN_ON(l, relay_server);
    pass(l, 1);
    *client = aw_client_new(l, &with);
    CHECK(*client != NULL);
    return l;
}

TEST(tunnels)
{
    aw_client *client;
    aw_loop *l = open_tunnel(NULL, &client);
    CHECK_EQ(fetch_through(l, client, URL), 200);
    CHECK_STR(came.body, "https://127.0.0.1:8443 -");
    CHECK_STR(relay.asked, "CONNECT 127.0.0.1:8443 HTTP/1.1\r\n"
              "Host: 127.0.0.1:8443\r\n"
              "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n");
    CHECK_EQ(fetch_through(l, client, URL), 200);
    CHECK_EQ(relay.tunnels, 1);
    /* The tunnel is for what was verified: another name is another one. */
    CHECK_EQ(fetch_through(l, client, "https://localhost:8443/"), 200);
    CHECK_EQ(relay.tunnels, 2);
    /* What leads from https to http is not followed. */
    log_text[0] = 0;
    CHECK_EQ(fetch_through(l, client, URL "away"), 302);
    CHECK(strstr(log_text, "from https to http") != NULL);
    close_loop(l);
}

TEST(tunnels_that_are_none)
{
    static const struct { const char *says; int rc; } rows[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\n"
         "Content-Length: 0\r\n\r\n", AW_ECONNREFUSED},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", AW_ECONNREFUSED},
        {"HTTP/1.0 503 No\r\n\r\n", AW_ECONNREFUSED},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 No\r\n\r\n",
         AW_ECONNREFUSED},
        {"nonsense\r\n\r\n", AW_EBADMSG}, {"HTTP/1.1 200 OK\r\n", AW_EEOF}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_client *client;
        aw_loop *l = open_tunnel(rows[i].says, &client);
        NOTE("row %d", (int)i);
        log_text[0] = 0;
        CHECK_EQ(fetch_through(l, client, URL), rows[i].rc);
        if (rows[i].rc == AW_ECONNREFUSED)
            CHECK(strstr(log_text, "the proxy refuses a tunnel") != NULL);
        CHECK(strstr(log_text, "secret") == NULL);
        close_loop(l);
    }
}

/* Behind a proxy nobody asks a resolver whether there can be such a host. */
TEST(a_tunnel_to_a_name_that_is_too_long)
{
    static const int lengths[] = {255, 256, 300, 2000};
    size_t i;
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        aw_client *client;
        aw_loop *l = open_tunnel(NULL, &client);
        aw_client_config config;
        aw_tls tls = trusts(CERTS "roots.pem");
        char url[2100];
        memset((void *)&config, 0, sizeof config);
        tls.server_name = NULL;
        config.tls = &tls;
        config.proxy = "http://127.0.0.1:3128";
        client = aw_client_new(l, &config);
        sprintf(url, "https://%0*d/", lengths[i], 0);
        NOTE("%d", lengths[i]);
        CHECK_EQ(fetch_through(l, client, url),
                 i == 0 ? AW_ETLS_NAME : AW_EURL);
        CHECK_EQ(relay.tunnels, i == 0);
        close_loop(l);
    }
}

/* What comes behind the head of the answer, and so before TLS, is the proxy's,
   or of somebody on the way to it: it must not pass for the origin's. */
TEST(a_tunnel_with_something_in_it)
{
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_client *client;
        aw_loop *l = open_tunnel(NULL, &client);
        relay.opens = rows[i];
        CHECK_EQ(fetch_through(l, client, URL), AW_EBADMSG);
        CHECK_STR(came.body, "");
        CHECK_EQ(relay.tunnels, 1);
        close_loop(l);
    }
}

/* RFC 9110 15.2 */
TEST(a_tunnel_behind_interim_answers)
{
    aw_client *client;
    aw_loop *l = open_tunnel(NULL, &client);
    relay.opens = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nX: y"
        "\r\n\r\nHTTP/1.1 299 Connected\r\n\r\n";
    CHECK_EQ(fetch_through(l, client, URL), 200);
    CHECK_STR(came.body, "https://127.0.0.1:8443 -");
    close_loop(l);
}

static aw_task tunnel_victim;
static int tunnel_waits, tunnel_cut;

static void tunnel_count(aw__task *t)
{
    (void)t;
    if (++tunnel_waits == tunnel_cut) aw_cancel(tunnel_victim);
}

/* kind 0: an allocation fails, 1: a call, 2: the task is cancelled. False: it
   had ended before. */
static bool tunnel_fault(aw_loop *l, aw_task task, int kind, int at)
{
    int turns;
    test_fault = tls_fault;
    faults.count = 0;
    faults.at = at;
    faults.error = kind ? ECONNRESET : ENOMEM;
    faults.allocs = kind == 0;
    faults.calls = kind == 1;
    tunnel_victim = task;
    tunnel_waits = 0;
    tunnel_cut = at;
    l->on_suspend = kind == 2 ? tunnel_count : NULL;
    for (turns = 0; turns < 10000 && !aw_ended(task); turns++)
        (void)aw_loop_step(l, AW_FOREVER);  /* which may be what fails */
    CHECK(aw_ended(task));
    faults.allocs = faults.calls = false;
    l->on_suspend = NULL;
    return kind == 2 ? tunnel_waits >= at : faults.count >= at;
}

/* Every call and allocation on the way fails once, and every wait is cut. */
TEST(tunnels_under_faults)
{
    static const char *const what[] = {"allocation", "call"};
    int kind, at;
    for (kind = 0; kind < 3; kind++) {
        bool reached = true;
        for (at = 1; reached; at += kind < 2 && at > 60 ? 7 : 1) {
            aw_client *client;
            aw_loop *l = open_tunnel(NULL, &client);
            aw_task task = SPAWN_ON(l, fetch_by, client, URL);
            NOTE("%s %d", kind < 2 ? what[kind] : "cancelled at", at);
            reached = tunnel_fault(l, task, kind, at);
            aw_client_free(client);
            close_loop(l);
        }
        CHECK(at > (kind < 2 ? 20 : 5));
    }
}

/* Without options the system's roots count; plain HTTP is none. */
TEST(https_to_strangers)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    CHECK_EQ(aw_serve(l, &c), 0);
    setenv("SSL_CERT_FILE", CERTS "ecroot.pem", 1);
    CHECK_EQ(fetch_on(l, URL, NULL), AW_ETLS_ISSUER);
    setenv("SSL_CERT_FILE", CERTS "root.pem", 1);
    CHECK_EQ(fetch_on(l, URL, NULL), 200);
    setenv("SSL_CERT_FILE", "/nowhere", 1);
    pass(l, 60000);
    CHECK_EQ(fetch_on(l, URL, NULL), AW_ETLS_ROOTS);
    unsetenv("SSL_CERT_FILE");
    CHECK_EQ(fetch_on(l, "http://127.0.0.1:8443/", &tls), 400);
    CHECK_STR(came.body, "This port speaks https://\n");
    close_loop(l);
    l = open_loop();
    memset((void *)&c.tls, 0, sizeof c.tls);
    CHECK_EQ(aw_serve(l, &c), 0);
    CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS);
    CHECK_EQ(fetch_on(l, "http://127.0.0.1:8443/", NULL), 200);
    CHECK_STR(came.body, "http://127.0.0.1:8443 -");
    close_loop(l);
}

/* SNI, and the kind of key. */
TEST(several_certificates)
{
    static const aw_tls_pair more[] = {
        {CERTS "wild.pem", CERTS "wild.key"},
        {CERTS "other.pem", CERTS "other.key"}, {NULL, NULL}};
    static const struct {
        const char *name;
        int rc;
    } names[] = {{"good.test", 200}, {"a.wild.test", 200}, {"other.test", 200},
                 {"unknown.test", AW_ETLS_NAME}, {"127.0.0.1", 200}};
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    size_t i;
    c.tls.more = more;
    CHECK_EQ(aw_serve(l, &c), 0);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        NOTE("%s", names[i].name);
        tls.server_name = names[i].name;
        CHECK_EQ(fetch_on(l, URL, &tls), names[i].rc);
    }
    close_loop(l);
}

TEST(certificates_of_clients)
{
    static const struct {
        const char *name, *subject; /* NULL: refused */
        bool required;
    } clients[] = {
        {NULL, "-", false}, {NULL, NULL, true},
        {"alice", "CN=alice,O=asyncweb tests", false},
        {"alice", "CN=alice,O=asyncweb tests", true},
        {"good", "CN=good,O=asyncweb tests", true},     /* with RSA */
        {"mallory", NULL, false}, {"mallory", NULL, true},
        {"both", "CN=both,O=asyncweb tests", true},
        {"client", "CN=client,O=asyncweb tests", true},
        {"server", NULL, true}, {"expired", NULL, true}};
    size_t i, again;
    for (i = 0; i < sizeof clients / sizeof *clients; i++) {
        aw_loop *l = open_loop();
        aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
        aw_tls tls = trusts(CERTS "roots.pem");
        char certificate[100], key[100], body[200];
        NOTE("client %d", (int)i);
        c.tls.client_ca = CERTS "roots.pem";
        c.tls.client_required = clients[i].required;
        snprintf(certificate, sizeof certificate, CERTS "%s.pem",
                 clients[i].name ? clients[i].name : "");
        snprintf(key, sizeof key, CERTS "%s.key",
                 clients[i].name ? clients[i].name : "");
        if (clients[i].name) tls.certificate = certificate, tls.key = key;
        CHECK_EQ(aw_serve(l, &c), 0);
        for (again = 0; again < 2; again++) {
            seen = 0;
            (void)fetch_on(l, URL, &tls);
            CHECK_EQ(came.rc == 200, clients[i].subject != NULL);
            CHECK_EQ(seen, clients[i].subject != NULL);
            if (!clients[i].subject) continue;
            snprintf(body, sizeof body, "https://127.0.0.1:8443 %s",
                     clients[i].subject);
            CHECK_STR(came.body, body);
            pass(l, 60000);
        }
        CHECK_EQ(l->tls->resumed, 0);
        close_loop(l);
    }
}

TEST(certificates_that_do_not_serve)
{
    static const struct {
        const char *certificate, *key, *said;
        int rc;
    } wrong[] = {
        {CERTS "good.pem", CERTS "ec.key", "its key is another's", AW_EINVAL},
        {CERTS "ec.pem", CERTS "other.key", "its key is another's", AW_EINVAL},
        {CERTS "good.pem", CERTS "short.key", "its key is another's",
         AW_EINVAL},
        {CERTS "good.pem", NULL, "no RSA or EC key", AW_EINVAL},
        {CERTS "good.key", CERTS "good.key", "no certificate in it", AW_EINVAL},
        {CERTS "none.pem", CERTS "good.key", "none.pem: no such file",
         AW_ENOENT},
        {CERTS "good.pem", CERTS, "cannot read", AW_EACCES}};
    aw_loop *l = open_loop();
    size_t i;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        aw_config c = https_at(wrong[i].certificate, wrong[i].key);
        log_text[0] = 0;
        CHECK_EQ(aw_serve(l, &c), wrong[i].rc);
        NOTE("%d: %.150s", (int)i, log_text);
        CHECK(strstr(log_text, wrong[i].said) != NULL);
    }
    close_loop(l);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[10000];
    FILE *f = fopen(from, "r"), *g = fopen(to, "w");
    size_t n;
    if (!f || !g) abort();
    n = fread(bytes, 1, sizeof bytes, f);
    fwrite(bytes, 1, n, g);
    fclose(f);
    fclose(g);
}

#define NEW CERTS "renewed"

TEST(certificates_are_read_again)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(NEW ".pem", NEW ".key");
    aw_tls tls = trusts(CERTS "roots.pem"), pinned = tls;
    char pin[60];
    copy_file(CERTS "good.pem", NEW ".pem");
    copy_file(CERTS "good.key", NEW ".key");
    CHECK_EQ(aw_serve(l, &c), 0);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    /* Bad ones change nothing. */
    copy_file(CERTS "ec.pem", NEW ".pem");
    log_text[0] = 0;
    CHECK_EQ(aw_serve_reload(l), AW_EINVAL);
    CHECK(strstr(log_text, "its key is another's") != NULL);
    CHECK(strstr(log_text, "old certificates stay") != NULL);
    pinned.pin = pin_of("good", pin);
    CHECK_EQ(fetch_on(l, URL, &pinned), 200);
    /* Good ones show up in new connections; the old one goes on. */
    copy_file(CERTS "ec.key", NEW ".key");
    CHECK_EQ(aw_serve_reload(l), 0);
    CHECK(strstr(log_text, "have been read again") != NULL);
    CHECK_EQ(l->tls->handshakes, 4);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_EQ(l->tls->handshakes, 4);
    pinned.pin = pin_of("ec", pin);
    CHECK_EQ(fetch_on(l, URL, &pinned), 200);
    CHECK_EQ(l->tls->handshakes, 6);
    close_loop(l);
    remove(NEW ".pem");
    remove(NEW ".key");
}

/* ---- time, and memory ---- */

ASYNC(mute, (size_t n;), aw_stream *stream; char b[10]; int rc; int64_t start;)
{
    BEGIN {
        self->start = aw_now_ms(AW_LOOP());
        AWAIT(aw_connect, &self->stream, "127.0.0.1", PORT);
        DEFER(aw_stream_abort, self->stream);
        /* The beginning of a hello. */
        AWAIT(aw_write, self->stream, "\x16\x03\x01\x01\x00\x01\x00",
              self->n);
        AWAIT_TO(self->rc, aw_read, self->stream, self->b, 10);
        CHECK_EQ(self->rc, 0);
        RETURN((int)(aw_now_ms(AW_LOOP()) - self->start));
    }
}

TEST(handshakes_have_a_deadline)
{
    static const size_t sizes[] = {0, 1, 5, 7};
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    size_t i;
    CHECK_EQ(aw_serve(l, &c), 0);
    for (i = 0; i < 4; i++)
        CHECK_EQ(run_until_ended(SPAWN_ON(l, mute, sizes[i])), 10000);
    CHECK_EQ(l->server->connections, 0);
    close_loop(l);
}

/* A client that never speaks costs no engine, and one at rest no buffers. */
TEST(what_an_idle_connection_takes)
{
    enum { MANY = 40 };
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    char name[MANY][30];
    size_t before, idle = 0;
    int i;
    CHECK_EQ(aw_serve(l, &c), 0);
    tls.insecure = true;
    for (i = 0; i < MANY; i++) {
        /* Another profile each, so that none goes to the pool's limit. */
        snprintf(name[i], sizeof name[i], "n%d.test", i);
        tls.server_name = name[i];
        before = l->mem.live;
        CHECK_EQ(fetch_on(l, URL, &tls), 200);
        if (i == 7) idle = l->mem.live - before;
    }
    CHECK(idle < 12000);        /* both ends: see README for each */
    if (getenv("TEST_FIGURES"))
        printf("both ends of an idle connection: %d bytes; server: %d + %d\n",
               (int)idle, (int)sizeof(aw__tls),
               (int)sizeof(br_ssl_server_context));
    close_loop(l);
}

/* What has been written arrives, though the writer has closed long ago. */
ASYNC(late_reader, (const aw_tls *tls;), aw_stream *stream; char b[1000];
      int n; size_t all;)
{
    BEGIN {
        AWAIT(aw_connect_tls, &self->stream, "127.0.0.1", PORT, self->tls);
        AWAIT(aw_write, self->stream, sent, 3000);
        AWAIT(aw_sleep_ms, 1000);
        CHECK_EQ(AW_LOOP()->tls_rests, 1);      /* the stop waits for it */
        for (;;) {
            AWAIT_TO(self->n, aw_read, self->stream, self->b, 1000);
            if (self->n <= 0) break;
            self->all += (size_t)self->n;
        }
        CHECK_EQ(self->n, 0);
        CHECK_EQ(self->all, 3000);
        CHECK_EQ(echo.ends, 1);
        CHECK_EQ(AW_LOOP()->tls_rests, 0);
    } FINALLY {
        AWAIT(aw_close, self->stream);
    }
}

TEST(what_was_sent_outlives_its_sender)
{
    aw_loop *l = open_loop();
    aw_tls_server s = shows(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    serve_with(l, &s);
    echo.mute = true;
    l->sim->pipe_bytes = 500;
    CHECK_EQ(run_until_ended(SPAWN_ON(l, late_reader, &tls)), 0);
    close_loop(l);
}

/* ---- adversity ---- */

static int finals;

ASYNC(scenario, (), aw_stream *stream; aw_response *reply; aw_tls tls;
      char b[100]; int rc;)
{
    BEGIN {
        self->tls = trusts(CERTS "roots.pem");
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .tls = &self->tls);
        AWAIT(aw_fetch, .out = &self->reply, .url = URL "large",
              .tls = &self->tls);
        self->tls.certificate = CERTS "alice.pem";
        self->tls.key = CERTS "alice.key";
        self->tls.server_name = "localhost";
        AWAIT(aw_connect_tls, &self->stream, "127.0.0.1", PORT, &self->tls);
        AWAIT(aw_write, self->stream, "GET / HTTP/1.1\r\nHost: a\r\n"
              "Connection: close\r\n\r\n", 46);
        do {
            AWAIT_TO(self->rc, aw_read, self->stream, self->b, 100);
            if (self->rc < 0) RETURN(self->rc);
        } while (self->rc > 0);
        RETURN(1);
    } FINALLY {
        finals++;
        AWAIT(aw_close, self->stream);
    }
}

static aw_loop *open_scenario(void)
{
    static const aw_tls_pair more[] = {{CERTS "ec.pem", CERTS "ec.key"},
                                       {NULL, NULL}};
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "wild.pem", CERTS "wild.key");
    memset(big, 'b', sizeof big - 1);
    finals = 0;
    c.tls.more = more;
    c.tls.client_ca = CERTS "ecroot.pem";
    CHECK_EQ(aw_serve(l, &c), 0);
    pass(l, 1);
    return l;
}

static void close_scenario(aw_loop *l)
{
    pass(l, 60000);
    CHECK_EQ(finals, 1);
    if (l->client) CHECK_EQ(l->client->idle_count, 0);
    CHECK_EQ(l->server->connections, 0);
    CHECK_EQ(l->sim->open, l->server->doors.count);
    close_loop(l);
}

static int run_scenario(const char *what, int at, int error, int *rc)
{
    aw_loop *l = open_scenario();
    aw_task task;
    NOTE("%s %d (%d)", what, at, error);
    task = SPAWN_ON(l, scenario);
    test_fault = tls_fault;
    faults.count = 0;
    faults.at = at;
    faults.error = error;
    faults.allocs = what[0] == 'a';
    faults.calls = what[0] == 'c';
    *rc = run_until_ended(task);
    faults.allocs = faults.calls = false;
    if (!aw_ended(task)) *rc = -1;
    close_scenario(l);
    return faults.count >= at;
}

TEST(scenario_is_fine_without_faults)
{
    int rc;
    run_scenario("nothing", 0, 0, &rc);
    CHECK_EQ(rc, 1);
    CHECK_STR(log_text, "");
}

/* In the quick run not every one: each costs four handshakes. */
static int step(void)
{
    return getenv("TEST_FULL") ? 1 : 3;
}

TEST(every_allocation_fails_once)
{
    int at = 1, rc;
    while (run_scenario("allocation", at, ENOMEM, &rc)) at += step();
    CHECK(at > 100);
}

TEST(every_call_fails_once)
{
    static const int errors[] = {ECONNRESET, EIO, EMFILE, EPIPE};
    const size_t n = getenv("TEST_FULL") ? sizeof errors / sizeof *errors : 1;
    size_t i;
    for (i = 0; i < n; i++) {
        int at = 1, rc;
        while (run_scenario("call", at, errors[i], &rc)) at += step();
        CHECK(at > 50);
    }
}

TEST(cancel_at_every_await)
{
    bool reached = true;
    int k = 0;
    while (reached) {
        aw_loop *l = open_scenario();
        aw_task task = SPAWN_ON(l, scenario);
        NOTE("cancelled at %d", ++k);
        aw__cancel_at(l, task, k);
        run_until_ended(task);
        reached = l->chaos.suspended >= k;
        l->on_suspend = NULL;
        close_scenario(l);
    }
    CHECK(k > 6);
}

/* ---- certificates that are none ---- */

static void read_cert(const unsigned char *p, size_t n)
{
    static const char *const hosts[] = {"good.test", "a.wild.test", "::1"};
    char *copy = (char *)malloc(n ? n : 1);     /* exactly: ASan sees more */
    aw__cert c;
    aw__buf b;
    size_t i;
    if (!copy) abort();
    memcpy(copy, p, n);
    memset(&b, 0, sizeof b);
    if (aw__cert_read(aw__slice(copy, n), &c)) {
        for (i = 0; i < 3; i++) (void)aw__cert_is_for(&c, hosts[i]);
        aw__dn_text(c.subject, &b);
        aw__dn_text(c.issuer, &b);
    }
    aw__buf_free(&b);
    free(copy);
}

static int mangle(void *to, const char *name, aw_slice der)
{
    static const unsigned char values[] = {0, 1, 2, 0x30, 0x7f, 0x80, 0x81,
                                           0x84, 0x87, 0xff};
    unsigned char bytes[2000];
    size_t at, k;
    CHECK_STR(name, "CERTIFICATE");
    CHECK(der.n < sizeof bytes);
    ++*(int *)to;
    memcpy(bytes, der.p, der.n);
    for (at = 0; at < der.n; at++) read_cert(bytes, at);
    for (at = 0; at < der.n; at++) {
        const unsigned char was = bytes[at];
        for (k = 0; k < sizeof values; k++) {
            bytes[at] = values[k];
            read_cert(bytes, der.n);
        }
        bytes[at] = was;
    }
    return 0;
}

TEST(mangled_certificates)
{
    static const char *const names[] = {"good", "wild", "address"};
    size_t i;
    int count = 0;
    for (i = 0; i < 3; i++) {
        char path[100];
        aw__buf text;
        memset(&text, 0, sizeof text);
        snprintf(path, sizeof path, CERTS "%s.pem", names[i]);
        CHECK_EQ(aw__tls_file(path, &text), 0);
        CHECK_EQ(aw__pem_read(NULL, aw__slice(text.p, text.n), mangle, &count),
                 0);
        aw__buf_free(&text);
    }
    CHECK_EQ(count, 3);
}

/* Dates (RFC 5280 4.1.2.5). */
TEST(dates_of_certificates)
{
    static const struct {
        const char *der;
        int64_t t;              /* -1: none */
    } dates[] = {
        {"\x17\x0d" "700101000000Z", 0}, {"\x17\x0d" "491231235959Z", 2524607999},
        {"\x17\x0d" "500101000000Z", -631152000},
        {"\x18\x0f" "20500101000000Z", 2524608000},
        {"\x17\x0d" "991332000000Z", -1}, {"\x17\x0c" "70010100000Z", -1},
        {"\x17\x0d" "7001010000000", -1}, {"\x18\x0d" "700101000000Z", -1},
        {"\x17\x0d" "70010100000 Z", -1}, {"\x16\x0d" "700101000000Z", -1}};
    size_t i;
    for (i = 0; i < sizeof dates / sizeof *dates; i++) {
        aw_slice in = aw__slice(dates[i].der, strlen(dates[i].der));
        int64_t t = -1;
        NOTE("%d", (int)i);
        CHECK_EQ(aw__der_time(&in, &t), dates[i].t != -1);
        CHECK_EQ(t, dates[i].t);
    }
}

/* ---- the real thing ---- */

TEST(over_the_kernel)
{
    aw_loop *l = aw_loop_new(NULL);
    aw_config c = https_at(CERTS "good.pem", CERTS "good.key");
    aw_tls tls = trusts(CERTS "root.pem");
    char url[60];
    int i;
    memset(big, 'b', sizeof big - 1);
    c.port = AW_ANY_PORT;
    CHECK_EQ(aw_serve(l, &c), 0);
    tls.server_name = NULL;
    snprintf(url, sizeof url, "https://127.0.0.1:%d/large", aw_serve_port(l));
    for (i = 0; i < 3; i++) {
        CHECK_EQ(fetch_on(l, url, &tls), 200);
        CHECK_EQ(came.size, sizeof big - 1);
    }
    CHECK_EQ(l->tls->handshakes, 2);
    CHECK(!server_side(l)->buffers);
    aw_loop_free(l);
}

/* ---- several processes ---- */

VIEW(pid) { return aw_printf(req, "%d", (int)getpid()); }

ROUTES(crew, GET("/", pid))

static void crew_stop(void *data)
{
    (void)data;
    aw__say("on_stop");
}

/* Somebody new asks: who serves; 0: nobody does. */
static int crew_asked(int port, const aw_tls *tls)
{
    aw_loop *l = aw_loop_new(NULL);
    char url[60];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
    (void)fetch_on(l, url, tls);
    aw_loop_free(l);
    return came.rc == 200 ? atoi(came.body) : 0;
}

/* Each is answered, until both were seen; none of them known from before. */
static void crew_serves(int port, const aw_tls *tls, int known[2])
{
    const int before[2] = {known[0], known[1]};
    int i, n = 0;
    for (i = 0; n < 2 && i < 200; i++) {
        const int by = crew_asked(port, tls);
        CHECK(by > 0);
        if (by <= 0) return;
        if (by == before[0] || by == before[1] || (n && by == known[0]))
            continue;
        known[n++] = by;
    }
    CHECK_EQ(2, n);
}

/* Each worker has TLS, at the listener that is to have it; and those that come
   with SIGHUP show what the files have then. */
TEST(workers_over_tls)
{
    aw_config config = https_at(NEW ".pem", NEW ".key");
    aw_tls tls = trusts(CERTS "roots.pem");
    char pin[60];
    const char *at;
    child c;
    int port, who[2] = {0, 0};
    copy_file(CERTS "good.pem", NEW ".pem");
    copy_file(CERTS "good.key", NEW ".key");
    config.routes = crew;
    config.on_stop = crew_stop;
    config.listen = "127.0.0.1:0 tls:127.0.0.1:0";
    config.workers = 2;
    CHECK(child_serves(&c, &config));
    CHECK(child_said(&c, "\n", 4));         /* both serve, at these two */
    at = strstr(c.log, "https://127.0.0.1:");
    port = at ? atoi(at + 18) : 0;
    tls.pin = pin_of("good", pin);
    crew_serves(port, &tls, who);
    CHECK_EQ('2', hear(say(c.port, "GET / HTTP/1.0\r\n\r\n"))[0]);
    copy_file(CERTS "ec.pem", NEW ".pem");
    copy_file(CERTS "ec.key", NEW ".key");
    if (c.pid > 1) kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 1));
    CHECK(child_said(&c, "on_stop", 2));
    tls.pin = pin_of("ec", pin);
    crew_serves(port, &tls, who);
    if (c.pid > 1) kill(c.pid, SIGTERM);
    CHECK(child_said(&c, "rc 0\n", 1));
    CHECK_EQ(0, child_end(&c));
    remove(NEW ".pem");
    remove(NEW ".key");
}

TEST(roots_as_text)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts("/nowhere");
    aw__buf text;
    memset(&text, 0, sizeof text);
    CHECK_EQ(aw__tls_file(CERTS "roots.pem", &text), 0);
    aw__buf_add(&text, "", 1);
    CHECK_EQ(aw_serve(l, &c), 0);
    tls.ca_pem = text.p;
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_EQ(l->tls->handshakes, 2);
    tls.ca_pem = "no PEM";
    CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS_ROOTS);
    tls.ca_pem = "-----BEGIN CERTIFICATE-----\nA*\n-----END CERTIFICATE-----";
    CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS_ROOTS);
    tls.ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS_ROOTS);
    aw__buf_free(&text);
    close_loop(l);
}

/* Roots that have changed are read again, and sessions begin anew. */
TEST(roots_that_change)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "changing.pem");
    copy_file(CERTS "roots.pem", CERTS "changing.pem");
    CHECK_EQ(aw_serve(l, &c), 0);
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    pass(l, 60000);
    copy_file(CERTS "root.pem", CERTS "changing.pem");
    CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS_ISSUER);
    copy_file(CERTS "roots.pem", CERTS "changing.pem");
    CHECK_EQ(fetch_on(l, URL, &tls), 200);
    CHECK_EQ(l->tls->resumed, 0);
    remove(CERTS "changing.pem");
    close_loop(l);
}

TEST(a_client_ca_that_is_none)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    c.tls.client_ca = CERTS "ec.key";
    CHECK_EQ(aw_serve(l, &c), AW_ETLS_ROOTS);
    CHECK(strstr(log_text, "client_ca " CERTS "ec.key: TLS: no root") != NULL);
    c = https_at(CERTS "ec.pem", CERTS "ec.key");
    c.proxy_protocol = true;
    c.trusted_proxies = "unix";
    CHECK_EQ(aw_serve(l, &c), AW_EINVAL);
    CHECK(strstr(log_text, "do not go together") != NULL);
    close_loop(l);
}

/* More than are kept: profiles, and the sessions of one. */
TEST(many_origins)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    aw__tls_profile *p;
    br_ssl_session_parameters data;
    aw__link *x;
    char name[30];
    int i, n = 0;
    CHECK_EQ(aw_serve(l, &c), 0);
    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        tls.server_name = name;
        CHECK_EQ(fetch_on(l, URL, &tls), AW_ETLS_NAME);
    }
    for (x = l->tls->profiles.next; x != &l->tls->profiles; x = x->next) n++;
    CHECK_EQ(n, AW__TLS_PROFILES);
    CHECK_EQ(l->tls->profile_count, n);
    CHECK_EQ(aw__profile_of(l, &tls, true, &p), 0);
    memset(&data, 0, sizeof data);
    data.session_id_len = 32;
    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        aw__session_keep(p, name, 443, &data);
        aw__session_keep(p, name, 443, &data);
    }
    CHECK_EQ(p->session_count, AW__TLS_SESSIONS);
    CHECK(aw__session_find(p, "n39.test", 443) != NULL);
    CHECK(!aw__session_find(p, "n39.test", 444));
    CHECK(!aw__session_find(p, "n3.test", 443));
    aw__profile_drop(p);
    close_loop(l);
}

/* Options on the C stack of a step that is over when the child runs. */
ASYNC(starter, (), aw_stream *stream; int rc;)
{
    BEGIN {
        {
            char ca[] = CERTS "roots.pem", name[] = "good.test";
            aw_tls tls = trusts(ca);
            tls.server_name = name;
            START_TO(self->rc, aw_connect_tls, &self->stream, "127.0.0.1",
                     PORT, &tls);
            memset(ca, 'x', sizeof ca);
            memset(name, 'x', sizeof name);
            memset((void *)&tls, 0xdb, sizeof tls);
        }
        GATHER();
        RETURN(self->rc);
    } FINALLY {
        AWAIT(aw_close, self->stream);
    }
}

TEST(options_are_copied)
{
    int at = 0, rc = 1;
    for (at = 0; at < 200; at++) {
        aw_loop *l = open_loop();
        aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
        NOTE("allocation %d", at);
        CHECK_EQ(aw_serve(l, &c), 0);
        pass(l, 1);
        test_fault = tls_fault;
        faults.allocs = true;
        faults.count = 0;
        faults.at = at;
        rc = run_until_ended(SPAWN_ON(l, starter));
        faults.allocs = false;
        pass(l, 60000);
        close_loop(l);
        if (at == 0) CHECK_EQ(rc, 0);
        if (at > 0 && faults.count < at) break;
    }
    CHECK(at > 20 && at < 200);
}

/* Whoever takes nothing does not keep a closed connection for ever. */
ASYNC(never_reads, (const aw_tls *tls;), aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_connect_tls, &self->stream, "127.0.0.1", PORT, self->tls);
        AWAIT(aw_write, self->stream, sent, 3000);
        AWAIT(aw_sleep_ms, 20000);
        CHECK_EQ(echo.ends, 1);
        /* The listener and this end. */
        CHECK_EQ(AW_LOOP()->sim->open, 2);
    } FINALLY {
        aw_stream_abort(self->stream);
    }
}

TEST(what_nobody_takes)
{
    aw_loop *l = open_loop();
    aw_tls_server s = shows(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    serve_with(l, &s);
    echo.mute = true;
    l->sim->pipe_bytes = 500;
    CHECK_EQ(run_until_ended(SPAWN_ON(l, never_reads, &tls)), 0);
    close_loop(l);
}

/* Answers what it has not read, and resets the connection. */
ASYNC(curt, (), aw_stream *stream; char b[1000];)
{
    BEGIN {
        AWAIT(aw_listen, &echo.listener, "127.0.0.1", PORT);
        DEFER(aw_listener_close, echo.listener);
        AWAIT(aw_accept, echo.listener, &self->stream);
        DEFER(aw_stream_abort, self->stream);
        if (!aw__tls_accept(AW_LOOP(), self->stream->fd, echo.site))
            RETURN(AW_ENOMEM);
        AWAIT(aw_read, self->stream, self->b, sizeof self->b);
        AWAIT(aw_sleep_ms, 100);
        AWAIT(aw_write, self->stream, "HTTP/1.1 413 No\r\n"
              "Content-Length: 2\r\n\r\nno", 40);
    }
}

ASYNC(uploader, (const aw_tls *tls;), aw_response *reply;)
{
    BEGIN {
        AWAIT_TO(came.rc, aw_fetch, .out = &self->reply, .url = URL,
                 .tls = self->tls, .body = big, .body_len = sizeof big);
        CHECK_STR(self->reply ? self->reply->body : "", "no");
    }
}

ASYNC(piecewise, (const aw_tls *tls;), aw_response *reply; int rc;)
{
    BEGIN {
        AWAIT(aw_fetch, .out = &self->reply, .url = URL, .tls = self->tls,
              .send = true, .body_len = 3000);
        AWAIT(aw_fetch_send, self->reply, big, 2000);
        AWAIT(aw_sleep_ms, 200);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, big, 500);
        AWAIT_TO(self->rc, aw_fetch_send, self->reply, big, 500);
        CHECK(self->rc < 0);
        AWAIT_TO(came.rc, aw_fetch_end, self->reply);
        CHECK_STR(self->reply->body, "no");
    }
}

/* What has come is decrypted by and by, however much is asked for. */
ASYNC(giver, (), aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_listen, &echo.listener, "127.0.0.1", PORT);
        DEFER(aw_listener_close, echo.listener);
        AWAIT(aw_accept, echo.listener, &self->stream);
        DEFER(aw_stream_abort, self->stream);
        if (!aw__tls_accept(AW_LOOP(), self->stream->fd, echo.site))
            RETURN(AW_ENOMEM);
        AWAIT(aw_write, self->stream, sent, sizeof sent);
        AWAIT(aw_sleep_ms, 1000);
    }
}

ASYNC(taker, (const aw_tls *tls;), aw_stream *stream; size_t at; int n;)
{
    BEGIN {
        AWAIT(aw_connect_tls, &self->stream, "127.0.0.1", PORT, self->tls);
        DEFER(aw_stream_abort, self->stream);
        AWAIT(aw_sleep_ms, 100);
        while (self->at < sizeof received) {
            AWAIT_TO(self->n, aw_read, self->stream, received + self->at,
                     sizeof received - self->at);
            if (self->n <= 0) RETURN(AW_EEOF);
            CHECK(self->n <= 16384);
            self->at += (size_t)self->n;
        }
    }
}

TEST(early_answers_and_large_ones)
{
    aw_tls_server s = shows(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    int i;
    for (i = 0; i < 3; i++) {
        aw_loop *l = open_loop();
        NOTE("%d", i);
        memset(&echo, 0, sizeof echo);
        if (!aw__tls_of(l)) abort();
        CHECK_EQ(aw__site_open(l, &l->tls->roots, &s, &echo.site), 0);
        if (i == 2) l->sim->pipe_bytes = 1 << 20;
        if (i == 2) SPAWN_ON(l, giver);
        else SPAWN_ON(l, curt);
        aw_loop_step(l, 0);
        CHECK_EQ(run_until_ended(i == 2 ? SPAWN_ON(l, taker, &tls)
                                 : i ? SPAWN_ON(l, piecewise, &tls)
                                 : SPAWN_ON(l, uploader, &tls)), 0);
        if (i == 2) CHECK(memcmp(sent, received, sizeof sent) == 0);
        else CHECK_EQ(came.rc, 413);
        pass(l, 2000);
        aw__site_drop(echo.site);
        close_loop(l);
    }
}

ASYNC(runaway, (const aw_tls *tls;), aw_stream *stream;)
{
    BEGIN {
        AWAIT(aw_connect_tls, &self->stream, "127.0.0.1", PORT, self->tls);
        DEFER(aw_stream_abort, self->stream);
        AWAIT(aw_write, self->stream, "POST /sleepy HTTP/1.1\r\nHost: a\r\n"
              "Content-Length: 9\r\n\r\nmore", 57);
        AWAIT(aw_sleep_ms, 1000);
        seen = 1;
    }
}

TEST(a_view_whose_client_is_gone)
{
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    aw_tls tls = trusts(CERTS "roots.pem");
    CHECK_EQ(aw_serve(l, &c), 0);
    l->sim->pipe_bytes = 500;
    CHECK_EQ(run_until_ended(SPAWN_ON(l, runaway, &tls)), 0);
    pass(l, 1000);
    CHECK_EQ(seen, AW_ECANCELED);
    close_loop(l);
}

TEST(listeners_with_and_without_tls)
{
    aw_loop_config config;
    aw_loop *l;
    aw_config c = https_at(NULL, NULL);
    aw_tls tls = trusts(CERTS "roots.pem");
    char url[60];
    memset(&config, 0, sizeof config);
    config.log = log_line;
    log_text[0] = 0;
    l = aw_loop_new(&config);
    c.listen = "127.0.0.1:0 tls:127.0.0.1:0";
    CHECK_EQ(aw_serve(l, &c), AW_ENOTLS);
    CHECK(strstr(log_text, "tls: needs .tls") != NULL);
    c.tls.certificate = CERTS "ec.pem";
    c.tls.key = CERTS "ec.key";
    CHECK_EQ(aw_serve(l, &c), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", aw_serve_port(l));
    CHECK_EQ(fetch_on(l, url, NULL), 200);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/",
             l->server->doors.at[1].at.port);
    CHECK_EQ(fetch_on(l, url, &tls), 200);
    CHECK(strncmp(came.body, "https://", 8) == 0);
    aw_loop_free(l);
}

TEST(scenario_in_any_order)
{
    int seed;
    for (seed = 1; seed <= (int)test_rounds(100); seed++) {
        aw_loop *l = open_scenario();
        NOTE("seed %d", seed);
        aw__chaos_on(l, (uint64_t)seed);
        if (seed % 2) l->sim->pipe_bytes = 700;
        CHECK_EQ(run_until_ended(SPAWN_ON(l, scenario)), 1);
        close_scenario(l);
    }
}

/* What is no handshake, and what only begins as one. */
static int first_byte;          /* of the answer; -1: none */

ASYNC(babble, (const char *bytes; size_t n;), aw_stream *stream; char b[500];)
{
    BEGIN {
        AWAIT(aw_connect, &self->stream, "127.0.0.1", PORT);
        DEFER(aw_stream_abort, self->stream);
        AWAIT(aw_write, self->stream, self->bytes, self->n);
        /* An alert, or nothing; then the end, by the deadline at last. */
        for (;;) {
            int n;
            AWAIT_TO(n, aw_read, self->stream, self->b, sizeof self->b);
            if (n <= 0) RETURN(0);
            if (first_byte < 0) first_byte = self->b[0];
        }
    }
}

/* ---- False Start (RFC 7918) ---- */

/* A client, as browsers are: its request goes together with its Finished. */
static struct {
    br_ssl_client_context client;
    br_x509_minimal_context unused;
    br_x509_knownkey_context key;
    unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
    char flight[4000], got[2000];
    size_t flown, n;
    bool asked;
} hasty;

static void hasty_fly(void)
{
    unsigned char *p;
    size_t n;
    while ((p = br_ssl_engine_sendrec_buf(&hasty.client.eng, &n)) != NULL) {
        if (n > sizeof hasty.flight - hasty.flown) abort();
        memcpy(hasty.flight + hasty.flown, p, n);
        hasty.flown += n;
        br_ssl_engine_sendrec_ack(&hasty.client.eng, n);
    }
}

static void hasty_say(const char *text)
{
    br_ssl_engine_context *e = &hasty.client.eng;
    size_t n, len = strlen(text);
    unsigned char *p;
    e->application_data = 1;        /* BearSSL would wait */
    e->record_type_out = 23;
    p = br_ssl_engine_sendapp_buf(e, &n);
    if (!p || n < len) abort();
    memcpy(p, text, len);
    br_ssl_engine_sendapp_ack(e, len);
    br_ssl_engine_flush(e, 0);
    hasty_fly();
    e->application_data = 0;
    e->record_type_out = 22;
}

/* Takes what has come; what it answers is in .flight. */
static void hasty_hear(const char *b, size_t len)
{
    br_ssl_engine_context *e = &hasty.client.eng;
    unsigned char *p;
    size_t n;
    while (len && (p = br_ssl_engine_recvrec_buf(e, &n)) != NULL) {
        if (n > len) n = len;
        memcpy(p, b, n);
        b += n;
        len -= n;
        br_ssl_engine_recvrec_ack(e, n);
        hasty_fly();
        p = br_ssl_engine_recvapp_buf(e, &n);
        if (!p) continue;
        if (n >= sizeof hasty.got - hasty.n) abort();
        memcpy(hasty.got + hasty.n, p, n);
        hasty.n += n;
        br_ssl_engine_recvapp_ack(e, n);
    }
}

ASYNC(hasty_client, (const char *request;), aw_stream *stream; char b[3000];
      int n;)
{
    BEGIN {
        AWAIT(aw_connect, &self->stream, "127.0.0.1", PORT);
        DEFER(aw_stream_abort, self->stream);
        hasty_fly();
        while (!hasty.n) {
            AWAIT(aw_write, self->stream, hasty.flight, hasty.flown);
            hasty.flown = 0;
            while (!hasty.flown && !hasty.n) {
                AWAIT_TO(self->n, aw_read, self->stream, self->b,
                         sizeof self->b);
                if (self->n <= 0) RETURN(AW_EEOF);
                hasty_hear(self->b, (size_t)self->n);
            }
            if (hasty.flown && !hasty.asked) {
                hasty.asked = true;
                hasty_say(self->request);
            }
        }
    }
}

static void hasty_new(br_x509_trust_anchor *own)
{
    const unsigned any = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    br_ssl_engine_context *e = &hasty.client.eng;
    memset(&hasty, 0, sizeof hasty);
    br_ssl_client_init_full(&hasty.client, &hasty.unused, NULL, 0);
    if (own->pkey.key_type == BR_KEYTYPE_RSA)
        br_x509_knownkey_init_rsa(&hasty.key, &own->pkey.key.rsa, any);
    else
        br_x509_knownkey_init_ec(&hasty.key, &own->pkey.key.ec, any);
    br_ssl_engine_set_x509(e, &hasty.key.vtable);
    br_ssl_engine_set_buffers_bidi(e, hasty.in, sizeof hasty.in, hasty.out,
                                   sizeof hasty.out);
    br_ssl_client_reset(&hasty.client, "good.test", 0);
}

/* In pieces, too; but the server's Finished has room: this client writes all
   before it reads. */
static void start_falsely(const char *pem, const char *key, uint32_t pipe)
{
    aw_loop *l = open_loop();
    aw__tls_roots *own = NULL;
    aw_config c = https_at(pem, key);
    NOTE("%s, %d at once", pem, (int)pipe);
    CHECK_EQ(aw_serve(l, &c), 0);
    l->sim->pipe_bytes = pipe;
    CHECK_EQ(aw__roots_load(l, &l->tls->roots, pem, &own), 0);
    hasty_new(own->p);
    CHECK_EQ(run_until_ended(SPAWN_ON(
        l, hasty_client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    CHECK(hasty.asked);
    CHECK(strncmp(hasty.got, "HTTP/1.1 200", 12) == 0);
    aw__roots_drop(own);
    close_loop(l);
}

TEST(false_start)
{
    uint32_t pipe;
    for (pipe = 52; pipe < 200; pipe += 3) {
        start_falsely(CERTS "good.pem", CERTS "good.key", pipe);
        start_falsely(CERTS "ec.pem", CERTS "ec.key", pipe);
    }
    start_falsely(CERTS "good.pem", CERTS "good.key", 5000);
}

TEST(babble_is_refused)
{
    static const char hello[] =
        "\x16\x03\x01\x00\x53\x01\x00\x00\x4f\x03\x03"
        "0123456789abcdef0123456789abcdef\x00\x00\x04\xc0\x2b\x00\xff\x01\x00"
        "\x00\x22\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0d\x00\x04\x00\x02\x04\x03"
        "\x00\x00\x00\x0e\x00\x0c\x00\x00\x09good.test";
    aw_loop *l = open_loop();
    aw_config c = https_at(CERTS "ec.pem", CERTS "ec.key");
    uint32_t x = 1;
    int round;
    CHECK_EQ(aw_serve(l, &c), 0);
    first_byte = -1;
    CHECK_EQ(run_until_ended(SPAWN_ON(l, babble, hello, sizeof hello - 1)), 0);
    CHECK_EQ(first_byte, 22);           /* unchanged it is fine */
    for (round = 0; round < (int)test_rounds(3000); round++) {
        char bytes[sizeof hello + 100];
        size_t i, n = 1 + (x >> 16) % (sizeof bytes - 1);
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, hello, sizeof hello);
        for (i = 0; i < 3; i++) {
            x = x * 1103515245u + 12345u;
            bytes[(x >> 8) % sizeof bytes] = (char)(x >> 24);
        }
        NOTE("round %d", round);
        CHECK_EQ(run_until_ended(SPAWN_ON(l, babble, bytes, n)), 0);
    }
    pass(l, 20000);
    CHECK_EQ(l->server->connections, 0);
    close_loop(l);
}
