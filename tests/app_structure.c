/* app_structure.c: hooks, error pages, mounted tables, URLs, time-outs. */
#include "http.h"

/* What ran, in order; one letter or word each. */
static char trail[1000];

static void step(const char *what)
{
    size_t n = strlen(trail);
    snprintf(trail + n, sizeof trail - n, "%s%s", n ? " " : "", what);
}

/* What a step does is said by the query: ?b1=401, ?a2=-2. */
static int told(aw_req *req, const char *step_name)
{
    return (int)aw_query_int(req, step_name, 0);
}

typedef struct user {
    int seen;
    char name[20];
} user;

#define PLAIN_HOOK(name) \
    VIEW(name) \
    { \
        step(#name); \
        if (aw_query(req, #name "_text")) \
            return aw_text(req, aw_query(req, #name "_text")); \
        return told(req, #name); \
    }
#define ASYNC_HOOK(name) \
    ASYNC_VIEW(name) \
    { \
        BEGIN { \
            step(#name "("); \
            AWAIT(aw_sleep_ms, 10 + aw_query_int(req, #name "_ms", 0)); \
            if (aw_query(req, #name "_text")) \
                RETURN(aw_text(req, aw_query(req, #name "_text"))); \
            RETURN(told(req, #name)); \
        } FINALLY { \
            step(")" #name); \
        } \
    }

PLAIN_HOOK(b1)
PLAIN_HOOK(b2)
PLAIN_HOOK(b3)
PLAIN_HOOK(a1)
PLAIN_HOOK(a2)
PLAIN_HOOK(a3)
ASYNC_HOOK(s1)
ASYNC_HOOK(t1)

VIEW(hi)
{
    step("view");
    if (aw_query(req, "rc")) return told(req, "rc");
    return aw_text(req, "hello");
}

ASYNC_VIEW(hello_later)
{
    BEGIN {
        step("view(");
        AWAIT(aw_sleep_ms, 10 + aw_query_int(req, "ms", 0));
        if (aw_query(req, "rc")) RETURN(told(req, "rc"));
        RETURN(aw_text(req, "hello"));
    } FINALLY {
        step(")view");
    }
}

/* The answer; `trail` has what ran for it. */
static const char *walk(aw_test *t, const char *at)
{
    trail[0] = 0;
    return get(t, at);
}

/* ---- hooks ---- */

/* Rows of no route may stand anywhere. */
ROUTES(inner,
    GET("/plain", hi),
    BEFORE(b3),
    AFTER(a3),
    GET("/later", hello_later))

ROUTES(unadorned, GET("/plain", hi))

ROUTES(outer,
    BEFORE(b1),
    AFTER(a1),
    GET("/plain", hi),
    GET("/later", hello_later),
    MOUNT("/in", inner),
    MOUNT("/bare", unadorned),
    BEFORE(b2),
    AFTER(a2))

typedef struct row {
    const char *target, *want, *trail;
} row;

static void rows_are(const aw_route *routes, const aw_config *config,
                     const row *r, size_t n, uint64_t chaos)
{
    aw_test_config c;
    aw_test *t;
    memset(&c, 0, sizeof c);
    c.routes = routes;
    c.config = config;
    c.chaos = chaos;
    t = aw_test_open_config(c);
    if (!t) CHECK_STR("", said);
    for (; t && n-- > 0; r++) {
        NOTE("%s", r->target);
        CHECK_STR(r->want, walk(t, r->target));
        CHECK_STR(r->trail, trail);
    }
    if (t) CHECK_EQ(0, aw_test_close(t));
}
#define ROWS_ARE(routes, config, rows) \
    rows_are(routes, config, rows, sizeof(rows) / sizeof *(rows), 0)

TEST(hooks_run_in_order)
{
    static const row rows[] = {
        {"/plain", "200 hello", "b1 b2 view a2 a1"},
        {"/later", "200 hello", "b1 b2 view( )view a2 a1"},
        {"/in/plain", "200 hello", "b1 b2 b3 view a3 a2 a1"},
        {"/in/later", "200 hello", "b1 b2 b3 view( )view a3 a2 a1"},
        {"/bare/plain", "200 hello", "b1 b2 view a2 a1"},
        /* A BEFORE hook that answers ends what comes before the answer. */
        {"/plain?b1=401", "401 ", "b1 a2 a1"},
        {"/plain?b2_text=no", "200 no", "b1 b2 a2 a1"},
        {"/in/plain?b3=-2", "503 ", "b1 b2 b3 a3 a2 a1"},
        {"/later?b2=403", "403 ", "b1 b2 a2 a1"},
        /* AFTER hooks run after errors; 0 keeps the answer. */
        {"/plain?rc=404", "404 ", "b1 b2 view a2 a1"},
        {"/plain?rc=-14", "502 ", "b1 b2 view a2 a1"},
        {"/plain?rc=0", "500 ", "b1 b2 view a2 a1"},
        {"/later?rc=-2", "503 ", "b1 b2 view( )view a2 a1"},
        {"/plain?a2_text=new", "200 new", "b1 b2 view a2 a1"},
        {"/plain?rc=404&a1_text=new", "404 new", "b1 b2 view a2 a1"},
        {"/plain?a2=418", "418 hello", "b1 b2 view a2 a1"},
        {"/plain?a2=-2", "503 ", "b1 b2 view a2 a1"},
        {"/plain?a2=7", "500 ", "b1 b2 view a2 a1"},
        /* What no route takes belongs to the nearest table. */
        {"/none", "404 ", "b1 b2 a2 a1"},
        {"/in/none", "404 ", "b1 b2 b3 a3 a2 a1"},
        {"/in", "404 ", "b1 b2 b3 a3 a2 a1"},
        {"/inner", "404 ", "b1 b2 a2 a1"},
        {"/in/none?b3_text=x", "200 x", "b1 b2 b3 a3 a2 a1"},
        /* What is no path is not shown to BEFORE hooks. */
        {"/in/%00", "400 ", "a2 a1"},
        {"/in/..%2F..%2Fetc", "400 ", "a2 a1"},
        {"/../x", "400 ", "a2 a1"},
    };
    aw_config c = quiet_config();
    ROWS_ARE(outer, &c, rows);
}

ROUTES(async_hooks,
    BEFORE(s1),
    BEFORE(b1),
    AFTER(a1),
    AFTER(t1),
    GET("/plain", hi),
    GET("/later", hello_later))

TEST(async_hooks_run_in_order)
{
    static const row rows[] = {
        {"/plain", "200 hello", "s1( )s1 b1 view t1( )t1 a1"},
        {"/later", "200 hello", "s1( )s1 b1 view( )view t1( )t1 a1"},
        {"/later?s1=401", "401 ", "s1( )s1 t1( )t1 a1"},
        {"/later?b1=401", "401 ", "s1( )s1 b1 t1( )t1 a1"},
        {"/later?t1_text=other", "200 other",
         "s1( )s1 b1 view( )view t1( )t1 a1"},
        {"/later?t1=-2", "503 ", "s1( )s1 b1 view( )view t1( )t1 a1"},
        {"/none", "404 ", "s1( )s1 b1 t1( )t1 a1"},
    };
    aw_config c = quiet_config();
    ROWS_ARE(async_hooks, &c, rows);
    for (uint64_t seed = 1; seed < 6; seed++)
        rows_are(async_hooks, &c, rows, sizeof rows / sizeof *rows, seed);
}

/* What a hook said and took back is not what the view failed to say; and a
   new answer keeps the status of the old. */
VIEW(says_and_goes_on)
{
    CHECK_EQ(0, aw_set_header(req, "X-Hook", "was here"));
    (void)aw_text(req, "of the hook");
    return 0;
}
VIEW(created)
{
    if (aw_query(req, "rc")) return told(req, "rc");
    (void)aw_text(req, "made");
    return 201;
}

ROUTES(talkative, BEFORE(says_and_goes_on), AFTER(a1), GET("/", created))

TEST(hooks_that_take_back)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(talkative, &c);
    CHECK_STR("201 made", walk(t, "/"));
    CHECK_STR("404 ", walk(t, "/?rc=404"));
    CHECK_STR("201 new", walk(t, "/?a1_text=new"));
    CHECK_STR("was here", aw_response_header(aw_test_get(t, "/"), "X-Hook"));
    CHECK_EQ(0, aw_test_close(t));
}

/* HEAD, and what the server answers by itself. */
VIEW(preflight)
{
    if (strcmp(aw_method(req), "OPTIONS") != 0) return 0;
    CHECK_EQ(0, aw_set_header(req, "Access-Control-Allow-Origin", "*"));
    return 204;
}

ROUTES(shared, BEFORE(preflight), AFTER(a1), GET("/x", hi), GET("/y/", hi))

TEST(hooks_of_other_methods)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(shared, &c);
    const aw_response *r = aw_test_fetch(t, "/x", .method = "OPTIONS");
    CHECK_EQ(204, r->status);
    CHECK_STR("*", aw_response_header(r, "Access-Control-Allow-Origin"));
    trail[0] = 0;
    CHECK_EQ(200, aw_test_fetch(t, "/x", .method = "HEAD")->status);
    CHECK_STR("view a1", trail);
    CHECK_EQ(405, aw_test_fetch(t, "/x", .method = "PUT")->status);
    CHECK_STR("view a1 a1", trail);
    CHECK_STR("308 ", walk(t, "/y"));
    CHECK_STR("204+", raw(t, "OPTIONS * HTTP/1.1\r\nHost: x\r\n"
                          "Connection: close\r\n\r\n"));
    CHECK_STR("501+", raw(t, "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK_EQ(0, aw_test_close(t));
}

/* A step that ends by itself after the client has left is the last one. */
ASYNC_VIEW(commits)
{
    BEGIN {
        SHIELD(aw_sleep_ms, 20);
        step("committed");
        RETURN(aw_text(req, "done"));
    }
}

ROUTES(committing, AFTER(a1), GET("/", commits), ON_ERROR(AW_ANY_ERROR, b1))

TEST(no_step_after_the_client)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(committing, &c);
    wire w = wire_open(t);
    trail[0] = 0;
    wire_say(&w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wire_close(&w);
    aw_test_advance(t, 100);
    CHECK_STR("committed", trail);
    CHECK_EQ(0, aw_test_close(t));
}

/* An error's backtrace is the one of the step that failed. */
ASYNC_VIEW(fails_later)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        RETURN(AW_EIO);
    }
}

ROUTES(failing_hook, BEFORE(fails_later), GET("/<x>", hi))
ROUTES(failing_view, BEFORE(b1), MOUNT("/<y>", failing_hook))

TEST(backtrace_through_hooks)
{
    aw_config c = quiet_config();
    aw_test *t = (test_debug = true, app_with(failing_view, &c));
    const aw_response *r = aw_test_get(t, "/1/2");
    CHECK_EQ(500, r->status);
    CHECK(strstr(r->body, "view hi of /&lt;y&gt;/&lt;x&gt;") != NULL);
    CHECK(strstr(r->body, "in fails_later at " __FILE__ ":") != NULL);
    CHECK(strstr(said, "view fails_later (" __FILE__ "): input/output "
                 "error") != NULL);
    CHECK(strstr(said, "    in fails_later at " __FILE__ ":") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* AW_LOCAL is shared, by plain and async hooks and the view. */
VIEW(who)
{
    user *u = AW_LOCAL(user);
    if (!u) return AW_ENOMEM;
    u->seen++;
    snprintf(u->name, sizeof u->name, "%s", aw_query_or(req, "name", "nobody"));
    return 0;
}

ASYNC_VIEW(who_later)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 5);
        AW_LOCAL(user)->seen++;
    }
}

VIEW(greet)
{
    return aw_printf(req, "%s %d %s", AW_LOCAL(user)->name,
                     AW_LOCAL(user)->seen, AW_STATE(const char));
}

VIEW(stamp)
{
    char text[20];
    snprintf(text, sizeof text, "%d", aw_answer_status(req));
    CHECK_STR("ann", AW_LOCAL(user)->name);
    CHECK_EQ(0, aw_set_header(req, "X-Status", text));
    return 0;
}

ROUTES(locals, BEFORE(who), BEFORE(who_later), AFTER(stamp), GET("/", greet))

TEST(hooks_share_locals)
{
    aw_test_config c;
    aw_test *t;
    const aw_response *r;
    memset(&c, 0, sizeof c);
    c.routes = locals;
    c.data = (void *)(uintptr_t)"state";
    t = aw_test_open_config(c);
    CHECK_STR("200 ann 2 state", walk(t, "/?name=ann"));
    r = aw_test_get(t, "/?name=ann");
    CHECK_STR("200", aw_response_header(r, "X-Status"));
    r = aw_test_get(t, "/none?name=ann");
    CHECK_STR("404", aw_response_header(r, "X-Status"));
    CHECK_EQ(0, aw_test_close(t));
}

/* Plain hooks around a plain view need no task. */
TEST(plain_hooks_make_no_task)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(outer, &c);
    aw_loop *l = aw_test_loop(t);
    CHECK_STR("200 hello", walk(t, "/plain"));
    CHECK_EQ(0, l->slot_count);
    CHECK_STR("401 ", walk(t, "/later?b1=401"));
    CHECK_STR("404 ", walk(t, "/in/none"));
    CHECK_EQ(0, l->slot_count);
    CHECK_STR("200 hello", walk(t, "/later"));
    CHECK_EQ(1, l->slot_count);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(hooks_cancelled_at_every_await)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(async_hooks, &c);
    CHECK(aw_test_cancel_everywhere(t, "/later"));
    CHECK(aw_test_cancel_everywhere(t, "/plain"));
    CHECK(aw_test_cancel_everywhere(t, "/none"));
    /* Nobody's AFTER hooks run for a task that was cancelled. */
    trail[0] = 0;
    CHECK_EQ(503, aw_test_cancel_at(t, "/later", 2)->status);
    CHECK_STR("s1( )s1 b1 view( )view", trail);
    CHECK_EQ(0, aw_test_close(t));
}

/* A client that leaves ends the step that runs, and no other begins. */
TEST(hooks_of_a_client_that_left)
{
    static const int at[] = {5, 15, 25};
    static const char *const want[] = {
        "s1( )s1", "s1( )s1 b1 view( )view",
        "s1( )s1 b1 view( )view t1( )t1"
    };
    aw_config c = quiet_config();
    for (size_t i = 0; i < 3; i++) {
        aw_test *t = app_with(async_hooks, &c);
        wire w = wire_open(t);
        trail[0] = 0;
        wire_say(&w, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        aw_test_advance(t, at[i]);
        wire_close(&w);
        aw_test_advance(t, 100);
        CHECK_STR(want[i], trail);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* ---- a login, with a store that takes its time ---- */

ASYNC(session_load, (const char *sid; user *out;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 2);
        if (strcmp(self->sid, "down") == 0) RETURN(AW_ECONNREFUSED);
        if (strncmp(self->sid, "sid-", 4) != 0) RETURN(0);
        snprintf(self->out->name, sizeof self->out->name, "%s", self->sid + 4);
        RETURN(1);
    }
}

ASYNC(session_drop, (const char *sid;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 2);
        step(self->sid);
    }
}

ASYNC(session_make, (const char *name; char *sid; size_t cap;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 2);
        snprintf(self->sid, self->cap, "sid-%s", self->name);
    }
}

ASYNC(password_ok, (const char *name; const char *word;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 80);
        RETURN(strcmp(self->word, "x") == 0);
    }
}

VIEW(home) { return aw_printf(req, "Hello %s", AW_LOCAL(user)->name); }
VIEW(ask_name) { return aw_text(req, "name?"); }

ASYNC_VIEW(require_login, int found;)
{
    BEGIN {
        const char *sid = aw_cookie(req, "sid");
        if (!AW_LOCAL(user)) RETURN(AW_ENOMEM);
        if (!sid) RETURN(aw_redirect(req, aw_url_for(req, ask_name)));
        AWAIT_TO(self->found, session_load, sid, AW_LOCAL(user));
        if (self->found < 0) RETURN(aw_error(req, 503, "no sessions now"));
        if (!self->found) RETURN(aw_redirect(req, aw_url_for(req, ask_name)));
        RETURN(0);
    }
}

ASYNC_VIEW(login, int ok; char sid[64];)
{
    BEGIN {
        const char *name = aw_form(req, "name");
        const char *word = aw_form(req, "password");
        if (!name || !word) RETURN(aw_error(req, 400, "both, please"));
        AWAIT_TO(self->ok, password_ok, name, word);
        if (self->ok < 0) RETURN(self->ok);
        if (!self->ok) RETURN(aw_error(req, 401, "wrong password"));
        AWAIT(session_make, aw_form(req, "name"), self->sid, sizeof self->sid);
        self->ok = aw_set_cookie(req, "sid", self->sid, .max_age = 86400,
                                 .http_only = true, .same_site = "Lax");
        if (self->ok < 0) RETURN(self->ok);
        RETURN(aw_redirect(req, aw_url_for(req, home)));
    }
}

ASYNC_VIEW(logout, int rc;)
{
    BEGIN {
        AWAIT(session_drop, aw_cookie(req, "sid"));
        self->rc = aw_delete_cookie(req, "sid");
        if (self->rc < 0) RETURN(self->rc);
        RETURN(aw_redirect(req, aw_url_for(req, ask_name)));
    }
}

ROUTES(members, BEFORE(require_login), GET("/", home), POST("/logout", logout))
ROUTES(club, GET("/login", ask_name), POST("/login", login),
       MOUNT("/", members))

static const aw_response *with(aw_test *t, const char *method, const char *at,
                               const char *name, const char *value,
                               const char *body)
{
    aw_header_field headers[2];
    aw_test_request q;
    memset(&q, 0, sizeof q);
    memset(headers, 0, sizeof headers);
    headers[0].name = name;
    headers[0].value = value;
    q.target = at;
    q.method = method;
    q.body = body;
    q.headers = headers;
    return aw_test_send(t, q);
}

TEST(login_and_logout)
{
    static const char form[] = "application/x-www-form-urlencoded";
    aw_config c = quiet_config();
    aw_test *t = app_with(club, &c);
    const aw_response *r = aw_test_get(t, "/");
    CHECK_EQ(302, r->status);
    CHECK_STR("/login", aw_response_header(r, "Location"));
    CHECK_STR("200 name?", walk(t, "/login"));
    r = with(t, "POST", "/login", "Content-Type", form, "name=ann");
    CHECK_EQ(400, r->status);
    r = with(t, "POST", "/login", "Content-Type", form, "name=ann&password=y");
    CHECK_EQ(401, r->status);
    r = with(t, "POST", "/login", "Content-Type", form, "name=ann&password=x");
    CHECK_EQ(302, r->status);
    CHECK_STR("/", aw_response_header(r, "Location"));
    CHECK(strncmp(aw_response_header(r, "Set-Cookie"), "sid=sid-ann;",
                  12) == 0);
    CHECK_STR("Hello ann", with(t, "GET", "/", "Cookie", "sid=sid-ann",
                                NULL)->body);
    CHECK_EQ(302, with(t, "GET", "/", "Cookie", "sid=other", NULL)->status);
    CHECK_EQ(503, with(t, "GET", "/", "Cookie", "sid=down", NULL)->status);
    trail[0] = 0;
    r = with(t, "POST", "/logout", "Cookie", "sid=sid-ann", "");
    CHECK_STR("/login", aw_response_header(r, "Location"));
    CHECK_STR("sid-ann", trail);
    CHECK_EQ(302, with(t, "POST", "/logout", "X", "y", "")->status);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- error pages ---- */

VIEW(not_found)
{
    step("not_found");
    return aw_printf(req, "no page: %s", aw_error_message(req));
}

ASYNC_VIEW(any_error)
{
    BEGIN {
        step("any(");
        AWAIT(aw_sleep_ms, 10);
        if (aw_query(req, "err")) RETURN(told(req, "err"));
        RETURN(aw_printf(req, "%d: %s", aw_answer_status(req),
                         aw_error_message(req)));
    } FINALLY {
        step(")any");
    }
}

VIEW(teapot) { return aw_status(req, 418) < 0 ? 500 : aw_text(req, "teapot"); }
VIEW(bare) { step("bare"); return told(req, "bare"); }
VIEW(todo_missing) { return aw_error(req, 404, "no such todo"); }
VIEW(own_page)
{
    (void)aw_status(req, 404);
    return aw_text(req, "my own");
}

VIEW(half_done)
{
    CHECK_EQ(0, aw_set_header(req, "Content-Type", "image/png"));
    (void)aw_text(req, "half");
    return aw_error(req, 404, "half");
}

ROUTES(errors_inner,
    ON_ERROR(410, teapot),
    ON_ERROR(411, bare),
    GET("/half", half_done),
    ON_ERROR(404, bare),
    GET("/view", hi),
    POST("/post", hi))

ROUTES(errors,
    ON_ERROR(404, not_found),
    ON_ERROR(AW_ANY_ERROR, any_error),
    AFTER(a1),
    GET("/view", hi),
    GET("/todo", todo_missing),
    GET("/own", own_page),
    GET("/half", half_done),
    GET("/slash/", hi),
    MOUNT("/in", errors_inner))

TEST(error_pages)
{
    static const row rows[] = {
        {"/view", "200 hello", "view a1"},
        {"/todo", "404 no page: no such todo", "not_found a1"},
        {"/none", "404 no page: Not Found", "not_found a1"},
        {"/in/none?bare=404", "404 ", "bare a1"},
        {"/in/half?bare=404", "404 ", "bare a1"},
        {"/own", "404 my own", "a1"},
        {"/half", "404 no page: half", "not_found a1"},
        {"/view?rc=405", "405 405: Method Not Allowed", "view any( )any a1"},
        {"/view?rc=-14", "502 502: Bad Gateway", "view any( )any a1"},
        {"/view?rc=0", "500 500: Internal Server Error", "view any( )any a1"},
        {"/%00", "400 400: Bad Request", "any( )any a1"},
        {"/view?q=%00", "400 400: Bad Request", "any( )any a1"},
        /* Not of what is no error. */
        {"/view?rc=304", "304 ", "view a1"},
        {"/view?rc=204", "204 ", "view a1"},
        {"/slash", "308 ", "a1"},
        /* The nearest table that has one; its status may change. */
        {"/in/view?rc=410", "418 teapot", "view a1"},
        {"/view?rc=410", "410 410: Gone", "view any( )any a1"},
        {"/in/post", "405 405: Method Not Allowed", "any( )any a1"},
        /* What fails itself is the standard page, once. */
        {"/view?rc=500&err=-2", "500 ", "view any( )any a1"},
        {"/view?rc=503&err=404", "404 ", "view any( )any a1"},
        {"/view?rc=503&err=-10404", "503 ", "view any( )any a1"},
        {"/in/view?rc=411&bare=0", "411 ", "view bare a1"},
        {"/in/view?rc=411&bare=-3", "411 ", "view bare a1"},
        {"/in/view?rc=411&bare=411", "411 ", "view bare a1"},
    };
    aw_config c = quiet_config();
    ROWS_ARE(errors, &c, rows);
    CHECK(strstr(said, "view any_error") != NULL);
    CHECK(strstr(said, "view bare (" __FILE__ ") returned 0"));
    CHECK(strstr(said, "view hi (" __FILE__ ") returned 0"));
}

TEST(error_page_headers)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(errors, &c);
    const aw_response *r = aw_test_get(t, "/half");
    CHECK_STR("text/plain; charset=utf-8",
              aw_response_header(r, "Content-Type"));
    r = aw_test_fetch(t, "/view", .method = "DELETE");
    CHECK_STR("GET, HEAD, OPTIONS", aw_response_header(r, "Allow"));
    CHECK_STR("405: Method Not Allowed", r->body);
    CHECK(aw_test_cancel_everywhere(t, "/view?rc=500"));
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- mounts ---- */

VIEW(show)
{
    return aw_printf(req, "user %lld %s", (long long)aw_param_int(req, "id"),
                     aw_param(req, "what"));
}
VIEW(check_id)
{
    step(aw_param(req, "id"));
    return 0;
}
VIEW(size) { return aw_printf(req, "%d", (int)aw_body(req).n); }

ROUTES_DECLARE(elsewhere);
ROUTES(user_pages, BEFORE(check_id), GET("/<what>", show), GET("/", hi))
ROUTES(deep, MOUNT("/users/<int:id>", user_pages), MOUNT("/else", elsewhere))
ROUTES(mounts,
    MOUNT("/api", deep, .max_body = 10, .timeout_ms = 50),
    MOUNT("/", elsewhere),
    GET("/<a>/<b>/<c>/x/<d>/e", hi),
    GET("/api/users/me", hi))
ROUTES_DEFINE(elsewhere,
    POST("/size", size),
    POST("/more", size, .max_body = 20),
    GET("/later", hello_later),
    GET("/long", hello_later, .timeout_ms = AW_OFF))

TEST(mounted_tables)
{
    static const row rows[] = {
        {"/api/users/7/posts", "200 user 7 posts", "7"},
        {"/api/users/7/", "200 hello", "7 view"},
        {"/api/users/7", "308 ", "7"},
        {"/api/users/me", "200 hello", "view"},
        {"/api/users/x/posts", "404 ", ""},
        /* The parameters of the prefix are there for an unknown path, too. */
        {"/api/users/8/a/b/c", "404 ", "8"},
        {"/api/users/8/x/b/c", "404 ", "8"},
        {"/later", "200 hello", "view( )view"},
        {"/api/else/later", "200 hello", "view( )view"},
        {"/api/else/none", "404 ", ""},
    };
    aw_config c = quiet_config();
    ROWS_ARE(mounts, &c, rows);
}

TEST(mounts_hand_on_options)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(mounts, &c);
    const char *body = "0123456789ABCDE";
    CHECK_STR("15", aw_test_fetch(t, "/size", .body = body)->body);
    CHECK_EQ(413, aw_test_fetch(t, "/api/else/size", .body = body)->status);
    CHECK_STR("15", aw_test_fetch(t, "/api/else/more", .body = body)->body);
    CHECK_EQ(404, aw_test_fetch(t, "/api/none", .body = body)->status);
    CHECK_EQ(404, aw_test_fetch(t, "/none", .body = body)->status);
    CHECK_STR("200 hello", walk(t, "/later?ms=100"));
    CHECK_STR("503 ", walk(t, "/api/else/later?ms=100"));
    CHECK_STR("200 hello", walk(t, "/api/else/long?ms=100"));
    CHECK_EQ(0, aw_test_close(t));
}

/* What is wrong with a table is said at the start. */
TEST(wrong_tables)
{
    static const aw_route fine[] = {{.method = NULL}};
    static aw_route loop[2];
    static const aw_route id[] = {GET("/<id>", hi), {.method = NULL}};
    static const aw_route status[] = {
        {.method = "ERROR", .view = &aw_view_hi, .kind = AW_ROW_ERROR,
         .status = 200}, {.method = NULL}};
    static const aw_route twice[] = {
        ON_ERROR(404, hi), ON_ERROR(404, bare), {.method = NULL}};
    static const aw_route blind[] = {
        {.method = "BEFORE", .kind = AW_ROW_BEFORE}, {.method = NULL}};
    const struct {
        aw_route row;
        const char *want;
    } rows[] = {
        {MOUNT("api", fine), "begins with /"},
        {MOUNT("/api/", fine), "does not end with /"},
        {MOUNT("/<path:x>", fine), "<path:...> comes last"},
        {MOUNT("/<path:x>/y", fine), "<path:...> comes last"},
        {MOUNT("/x<y>", fine), "a parameter is a whole segment"},
        {MOUNT("/<int:id>", id), "two parameters of one name"},
        {MOUNT(NULL, fine), "it has no path"},
        {MOUNT("/x", loop), "mounted too deep"},
        {MOUNT("/x", status), "from 400 to 599"},
        {MOUNT("/x", twice), "another one for the same status"},
        {MOUNT("/x", blind), "it has no view"},
        {GET("x", hi), "begins with /"},
    };
    loop[0] = (aw_route)MOUNT("/x", loop);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_route table[2];
        aw_config c = quiet_config();
        memset(table, 0, sizeof table);
        table[0] = rows[i].row;
        NOTE("%s", rows[i].want);
        CHECK(app_with(table, &c) == NULL);
        CHECK(strstr(said, rows[i].want) != NULL);
    }
}

/* Two routes for the same, though one stands in a mounted table. */
TEST(duplicates_across_tables)
{
    static const aw_route one[] = {GET("/b", hi), {.method = NULL}};
    static const aw_route second[] = {
        MOUNT("/a", one), GET("/a/b", hi), {.method = NULL}};
    aw_config c = quiet_config();
    CHECK(app_with(second, &c) == NULL);
    CHECK(strstr(said, "GET /a/b: there is another route") != NULL);
}

/* ---- URLs for views ---- */

VIEW(one) { (void)req; return 200; }
VIEW(second) { (void)req; return 200; }
VIEW(rest_of_path) { return aw_text(req, aw_param(req, "rest")); }
VIEW(whole_path) { (void)req; return 200; }
VIEW(named) { return aw_text(req, aw_param(req, "name")); }
VIEW(nowhere) { (void)req; return 200; }

VIEW(urls)
{
    const struct {
        const char *got, *want;
    } rows[] = {
        {aw_url_for(req, urls), "/urls"},
        {aw_url_for(req, urls, "q", "x y"), "/urls?q=x%20y"},
        {aw_url_for(req, urls, "a&b", "c=d", "none", NULL, "e", ""),
         "/urls?a%26b=c%3Dd&e="},
        {aw_url_for(req, show, "id", "7", "what", "a/b?c", "q", "\xe2\x82\xac"),
         "/api/users/7/a%2Fb%3Fc?q=%E2%82%AC"},
        {aw_url_for(req, show, "what", "%", "id", "0"), "/api/users/0/%25"},
        {aw_url_for(req, rest_of_path, "rest", "a/b c/d"), "/files/a/b%20c/d"},
        {aw_url_for(req, named, "name", "~-._"), "/caf%C3%A9%20100%25/~-._"},
        /* The first route whose parameters are named. */
        {aw_url_for(req, one), "/one"},
        {aw_url_for(req, one, "n", "5"), "/one/5"},
        {aw_url_for(req, one, "n", "5", "m", "x"), "/one/5?m=x"},
        {aw_url_for(req, one, "n", NULL), "/one"},
        {aw_url_for(req, second, "x", "1.5"), "/two/1.5"},
        /* What would not lead there. */
        {aw_url_for(req, show, "id", "x", "what", "y"), NULL},
        {aw_url_for(req, show, "id", "-1", "what", "y"), NULL},
        {aw_url_for(req, show, "id", "", "what", "y"), NULL},
        {aw_url_for(req, show, "id", "1", "what", ".."), NULL},
        {aw_url_for(req, show, "id", "1", "what", "a/../b"), NULL},
        {aw_url_for(req, second, "x", "1"), NULL},
        {aw_url_for(req, rest_of_path, "rest", "a/./b"), NULL},
        {aw_url_for(req, rest_of_path, "rest", ""), NULL},
        {aw_url_for(req, rest_of_path, "rest", "/a"), "/files//a"},
        {aw_url_for(req, whole_path, "all", "a//b"), "/a//b"},
        {aw_url_for(req, whole_path, "all", "/a.example"), NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("row %d", (int)i);
        CHECK_STR(rows[i].want, rows[i].got);
    }
    return 204;
}

VIEW(url_unknown) { return aw_text(req, aw_url_for(req, nowhere)); }
VIEW(url_lacks) { return aw_text(req, aw_url_for(req, show, "id", "7")); }

ROUTES(linked_users, GET("/<what>", show))
ROUTES(linked_api, MOUNT("/users/<int:id>", linked_users))
ROUTES(linked,
    GET("/urls", urls),
    GET("/one/<int:n>", one),
    POST("/one", one),
    GET("/two/<float:x>", second),
    GET("/files/<path:rest>", rest_of_path),
    GET("/caf\xc3\xa9 100%/<name>", named),
    GET("/unknown", url_unknown),
    GET("/lacks", url_lacks),
    GET("/<path:all>", whole_path),
    MOUNT("/api", linked_api))

TEST(urls_for_views)
{
    aw_config c = quiet_config();
    aw_test *t = (test_debug = true, app_with(linked, &c));
    CHECK_STR("204 ", walk(t, "/urls"));
    /* They lead back to where they came from. */
    CHECK_STR("200 a/b c/d", walk(t, "/files/a/b%20c/d"));
    CHECK_STR("200 ~-._", walk(t, "/caf%C3%A9%20100%25/~-._"));
    CHECK_STR("200 user 7 a/b?c",
              walk(t, "/api/users/7/a%2Fb%3Fc?q=%E2%82%AC"));
    CHECK_ABORTS(walk(t, "/unknown"),
                 "aw_url_for(req, nowhere): no route has that view");
    CHECK_ABORTS(walk(t, "/lacks"), "aw_url_for(req, show): "
                 "\"/api/users/<int:id>/<what>\" wants a value for <what>");
    aw_test_loop(t)->debug = false;
    CHECK_STR("500 ", walk(t, "/unknown"));
    CHECK_STR("500 ", walk(t, "/lacks"));
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- time-outs ---- */

ASYNC_VIEW(inner_deadline)
{
    BEGIN {
        AWAIT_FOR(5, aw_sleep_ms, 10);
    }
}

ROUTES(timed,
    BEFORE(s1), AFTER(t1), ON_ERROR(503, not_found), ON_ERROR(409, any_error),
    GET("/late", hello_later, .timeout_ms = 50),
    GET("/inner", inner_deadline, .timeout_ms = 50),
    GET("/plain", hi, .timeout_ms = 50),
    GET("/none", hello_later, .timeout_ms = AW_OFF),
    GET("/default", hello_later))

TEST(views_in_time)
{
    static const row rows[] = {
        {"/late", "200 hello", "s1( )s1 view( )view t1( )t1"},
        {"/late?ms=100", "503 no page: Service Unavailable",
         "s1( )s1 view( )view not_found t1( )t1"},
        /* The hooks' time counts. */
        {"/late?ms=25", "200 hello", "s1( )s1 view( )view t1( )t1"},
        {"/late?ms=25&s1_ms=10", "503 no page: Service Unavailable",
         "s1( )s1 view( )view not_found t1( )t1"},
        {"/late?s1_ms=100", "503 no page: Service Unavailable",
         "s1( )s1 not_found t1( )t1"},
        {"/plain?s1_ms=100", "503 no page: Service Unavailable",
         "s1( )s1 not_found t1( )t1"},
        /* What follows has as much time once more. */
        {"/late?ms=20&t1_ms=20", "200 hello", "s1( )s1 view( )view t1( )t1"},
        {"/late?t1_ms=45", "503 ", "s1( )s1 view( )view t1( )t1"},
        {"/late?rc=409&t1_ms=25", "409 409: Conflict",
         "s1( )s1 view( )view any( )any t1( )t1"},
        {"/late?rc=409&t1_ms=35", "503 ",
         "s1( )s1 view( )view any( )any t1( )t1"},
        /* A deadline of the view's own is an upstream's. */
        {"/inner", "504 ", "s1( )s1 t1( )t1"},
        {"/none?ms=3000", "200 hello", "s1( )s1 view( )view t1( )t1"},
        {"/default?ms=300", "503 no page: Service Unavailable",
         "s1( )s1 view( )view not_found t1( )t1"},
    };
    aw_config c = quiet_config();
    aw_test *t;
    c.view_ms = 200;
    ROWS_ARE(timed, &c, rows);
    CHECK(strstr(said, "view hello_later (" __FILE__ "): not done "
                 "within its timeout_ms (50)") != NULL);
    t = app_with(timed, &c);
    CHECK(aw_test_cancel_everywhere(t, "/late?ms=100"));
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- bodies and answers in pieces ---- */

VIEW(key_wanted)
{
    step("key");
    return aw_query(req, "key") ? 0 : 401;
}

ASYNC_VIEW(upload, char b[100]; int n; int all;)
{
    BEGIN {
        step("view(");
        do {
            AWAIT_TO(self->n, aw_body_read, req, self->b, sizeof self->b);
            if (self->n < 0) RETURN(self->n);
            self->all += self->n;
        } while (self->n > 0);
        RETURN(aw_printf(req, "%d", self->all));
    } FINALLY {
        step(")view");
    }
}

ASYNC_VIEW(pieces, int i;)
{
    BEGIN {
        step("view(");
        self->i = aw_stream_begin(req, "text/plain");
        if (self->i < 0) RETURN(self->i);
        for (self->i = 0; self->i < aw_query_int(req, "n", 2); self->i++) {
            AWAIT(aw_send, req, "x", 1);
            AWAIT(aw_sleep_ms, 20);
        }
        RETURN(told(req, "rc"));
    } FINALLY {
        step(")view");
    }
}

/* A BEFORE hook that sends in pieces has answered; one that only began, not. */
ASYNC_VIEW(sends_first, int rc;)
{
    BEGIN {
        if (!aw_query(req, "begin")) RETURN(0);
        self->rc = aw_stream_begin(req, "text/plain");
        if (aw_query(req, "send")) AWAIT(aw_send, req, "hook", 4);
        RETURN(0);
    }
}

VIEW(mark)
{
    int rc;
    step("mark");
    rc = aw_set_header(req, "X-Mark", "yes");
    return aw_query(req, "late_text") ? aw_text(req, "late") : rc;
}

ROUTES(streams,
    BEFORE(key_wanted), BEFORE(sends_first), AFTER(mark), AFTER(t1),
    ON_ERROR(413, not_found), ON_ERROR(AW_ANY_ERROR, any_error),
    POST("/up", upload, .stream = true, .max_body = 500),
    POST("/size", size, .max_body = 10),
    GET("/down", pieces),
    GET("/plain", hi),
    GET("/timed", pieces, .timeout_ms = 50))

static const char *marks(wire *w)
{
    int n = 0;
    for (const char *p = w->got; (p = strstr(p, "X-Mark: yes")) != NULL; p++)
        n++;
    return n == 1 ? "marked" : n ? "marked twice" : "";
}

/* An upload without credentials is refused before a byte of it was read, and
   before it was asked for. */
TEST(upload_refused_early)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(streams, &c);
    wire w = wire_open(t);
    trail[0] = 0;
    wire_say(&w, "POST /up HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
             "Content-Length: 400\r\n\r\n");
    aw_test_advance(t, 50);
    wire_settle(&w);
    CHECK(strncmp(w.got, "HTTP/1.1 401 ", 13) == 0);
    CHECK(strstr(w.got, "\r\n\r\n401: Unauthorized") != NULL);
    CHECK_STR("key any( )any t1( )t1 mark", trail);
    CHECK_STR("marked", marks(&w));
    wire_close(&w);
    w = wire_open(t);
    trail[0] = 0;
    wire_say(&w, "POST /up?key=1 HTTP/1.1\r\nHost: x\r\n"
             "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    CHECK(strncmp(w.got, "HTTP/1.1 100 ", 13) == 0);
    wire_say(&w, "abc");
    aw_test_advance(t, 50);
    wire_settle(&w);
    CHECK(strstr(w.got, "\r\n\r\n3") != NULL);
    CHECK_STR("key view( )view t1( )t1 mark", trail);
    wire_close(&w);
    CHECK_EQ(0, aw_test_close(t));
}

/* Plain AFTER hooks run before the head of a streamed answer leaves, once; an
   async one at the end. They cannot spoil what has been sent. */
TEST(hooks_of_streamed_answers)
{
    static const struct {
        const char *target, *body, *trail;
    } rows[] = {
        {"/down?key=1", "1\r\nx\r\n1\r\nx\r\n0\r\n\r\n",
         "key view( mark )view t1( )t1"},
        {"/down?key=1&n=0", "0\r\n\r\n", "key view( )view t1( )t1 mark"},
        {"/down?key=1&t1=-2", "1\r\nx\r\n1\r\nx\r\n0\r\n\r\n",
         "key view( mark )view t1( )t1"},
        {"/down?key=1&t1_text=no&late_text=1",
         "1\r\nx\r\n1\r\nx\r\n0\r\n\r\n",
         "key view( mark )view t1( )t1"},
        {"/down?key=1&n=0&rc=-10404", "404: Not Found",
         "key view( )view any( )any t1( )t1 mark"},
        {"/down?key=1&n=0&t1_text=new", "new",
         "key view( )view t1( )t1 mark"},
        {"/down?key=1&begin=1&send=1", "4\r\nhook\r\n0\r\n\r\n",
         "key mark t1( )t1"},
        {"/down?key=1&begin=1&n=0&rc=-10404", "404: Not Found",
         "key view( )view any( )any t1( )t1 mark"},
        {"/plain?key=1&begin=1&rc=0", "500: Internal Server Error",
         "key view any( )any t1( )t1 mark"},
        {"/down?key=1&n=0&rc=-10404&err=0", "",
         "key view( )view any( )any t1( )t1 mark"},
        /* Cut off: the body has no end. */
        {"/down?key=1&n=1&rc=-2", "1\r\nx\r\n",
         "key view( mark )view t1( )t1"},
        {"/timed?key=1&n=9", "1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n",
         "key view( mark )view t1( )t1"},
    };
    aw_config c = quiet_config();
    aw_test *t = app_with(streams, &c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w = wire_open(t);
        char text[200];
        const char *body;
        trail[0] = 0;
        NOTE("%s", rows[i].target);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
                 rows[i].target);
        wire_say(&w, text);
        aw_test_advance(t, 300);
        wire_settle(&w);
        body = strstr(w.got, "\r\n\r\n");
        if (rows[i].body[0]) CHECK_STR(rows[i].body, body ? body + 4 : NULL);
        else CHECK(body && strncmp(body + 4, "<!doctype", 9) == 0);
        CHECK_STR(rows[i].trail, trail);
        if (!strstr(rows[i].target, "late_text"))
            CHECK_STR("marked", marks(&w));
        wire_close(&w);
    }
    CHECK(aw_test_cancel_everywhere(t, "/down?key=1"));
    CHECK_EQ(0, aw_test_close(t));
}

/* A body that is not taken: the table's page, and no view. */
TEST(pages_for_bodies)
{
    static const struct {
        const char *head, *want;
    } rows[] = {
        {"Content-Length: 11", "413=no page: Content Too Large+"},
        {"Transfer-Encoding: chunked\r\n\r\nF\r\n0123456789abcde\r\n",
         "413=no page: Content Too Large+"},
        {"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
         "400=400: Bad Request+"},
        {"Content-Length: 10\r\n\r\n01234", "408=408: Request Timeout+"},
    };
    aw_config c = quiet_config();
    aw_test *t = app_with(streams, &c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire w = wire_open(t);
        trail[0] = 0;
        NOTE("%s", rows[i].head);
        wire_say(&w, "POST /size?key=1 HTTP/1.1\r\nHost: x\r\n");
        wire_say(&w, rows[i].head);
        if (i < 3) wire_say(&w, "\r\n\r\nmore that nobody reads");
        aw_test_advance(t, i == 3 ? 31000 : 300);
        wire_settle(&w);
        CHECK_STR(rows[i].want, digest(&w));
        CHECK_STR(i < 2 ? "not_found t1( )t1 mark" : "any( )any t1( )t1 mark",
                  trail);
        CHECK_STR("marked", marks(&w));
        wire_close(&w);
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- failures ---- */

static size_t live_bytes(aw_test *t)
{
    aw__quarantine_end(aw_test_loop(t)->server);
    return aw_test_loop(t)->mem.live;
}

/* Each allocation fails in turn: something sensible is answered, and nothing
   is lost. */
static void fail_each(const aw_route *routes, const char *target)
{
    aw_config c = quiet_config();
    aw_test *t = app_with(routes, &c);
    const size_t before = (walk(t, target), live_bytes(t));
    for (long k = 1;; k++) {
        wire w = wire_open(t);
        char text[300];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
                 target);
        fault_set("alloc", k, 0);
        fault_only = NULL;
        wire_say(&w, text);
        aw_test_advance(t, 200);
        wire_take(&w);
        fault_at = 0;
        NOTE("%s, failing call %ld: %s", target, k, digest(&w));
        if (routes != streams) CHECK(strchr(w.text, '!') == NULL);
        wire_close(&w);
        if (fault_count < k) break;
    }
    aw_test_advance(t, 20000);
    CHECK_STR("200", (walk(t, target), "200"));
    CHECK(live_bytes(t) <= before + 4096);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(structure_each_call_fails)
{
    fail_each(async_hooks, "/later");
    fail_each(outer, "/in/plain");
    fail_each(errors, "/view?rc=500");
    fail_each(errors, "/none");
    fail_each(timed, "/late?ms=100");
    fail_each(streams, "/down?key=1");
    fail_each(linked, "/caf%C3%A9%20100%25/~-._");
}

/* At the start, too. */
TEST(each_allocation_of_the_start_fails)
{
    for (long k = 1; k < 100; k++) {
        aw_config c = quiet_config();
        aw_test *t;
        fault_set("alloc", k, 0);
        fault_only = NULL;
        t = app_with(mounts, &c);
        fault_at = 0;
        if (t) CHECK_EQ(0, aw_test_close(t));
        if (fault_count < k) break;
    }
}

/* ---- the application's state, from its beginning to its end ---- */

typedef struct app_state {
    int started, stopped, hooks, views, finals;
    bool fails;
} app_state;

ASYNC(keeper, ())
{
    BEGIN {
        AW_STATE(app_state)->started++;
        AWAIT(aw_sleep_ms, AW_FOREVER);
    } FINALLY {
        /* Tasks end before the state does. */
        CHECK_EQ(0, AW_STATE(app_state)->stopped);
        AW_STATE(app_state)->finals++;
    }
}

static int begin(aw_loop *loop, void *data)
{
    if (((app_state *)data)->fails) return AW_EIO;
    CHECK_EQ(0, aw_failed(SPAWN_ON(loop, keeper)));
    return 0;
}

static void end(void *data) { ((app_state *)data)->stopped++; }

VIEW(count_hook) { (void)req; AW_STATE(app_state)->hooks++; return 0; }
VIEW(count_view)
{
    AW_STATE(app_state)->views++;
    CHECK(aw_data(req) == AW_STATE(app_state));
    SPAWN(keeper);
    return aw_text(req, "counted");
}

ROUTES(counting, BEFORE(count_hook), GET("/", count_view))

TEST(state_from_start_to_stop)
{
    app_state state;
    aw_config c = quiet_config();
    aw_test *t;
    memset(&state, 0, sizeof state);
    c.data = &state;
    c.on_start = begin;
    c.on_stop = end;
    t = app_with(counting, &c);
    CHECK_STR("200 counted", walk(t, "/"));
    CHECK_EQ(0, aw_test_close(t));
    CHECK_EQ(1, state.hooks);
    CHECK_EQ(1, state.views);
    CHECK_EQ(2, state.started);
    CHECK_EQ(2, state.finals);
    CHECK_EQ(1, state.stopped);
    /* What did not begin does not end. */
    state.fails = true;
    CHECK(app_with(counting, &c) == NULL);
    CHECK_EQ(1, state.stopped);
}

VIEW(spawn_fails)
{
    aw_loop *l = aw_req_loop(req);
    aw_task none, task = SPAWN(keeper);
    memset(&none, 0, sizeof none);
    CHECK_EQ(0, aw_failed(task));
    CHECK_EQ(0, aw_failed(none));
    aw_cancel(task);
    CHECK_EQ(0, aw_failed(task));
    l->draining = true;
    CHECK_EQ(AW_ESHUTDOWN, aw_failed(SPAWN(keeper)));
    l->draining = false;
    fault_set("alloc", 1, 0);
    CHECK_EQ(AW_ENOMEM, aw_failed(SPAWN(keeper)));
    fault_at = 0;
    return 204;
}

ROUTES(spawning, GET("/", spawn_fails))

TEST(spawn_that_failed)
{
    app_state state;
    aw_config c = quiet_config();
    aw_test *t;
    memset(&state, 0, sizeof state);
    c.data = &state;
    t = app_with(spawning, &c);
    CHECK_STR("204 ", walk(t, "/"));
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- what C cannot hold, what nobody can serve ---- */

VIEW(fields)
{
    const char *a = aw_form(req, "a"), *b = aw_form(req, "b");
    return aw_printf(req, "%s %s", a ? a : "-", b ? b : "-");
}
ROUTES(texts, POST("/", fields), GET("/", hi))

TEST(nothing_is_cut_at_a_nul)
{
    static const aw_header_field type[] = {
        {"Content-Type", "application/x-www-form-urlencoded"}, {NULL, NULL}};
    static const char *const bad[] = {
        "/?a=%00b", "/?a=b%00", "/?a%00=b", "/?x&y=%41&z=%00"};
    static const char raw_body[] =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\na=x\0y&b=1";
    aw_config c = quiet_config();
    aw_test *t = app_with(texts, &c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("%s", bad[i]);
        CHECK_STR("400 ", walk(t, bad[i]));
    }
    CHECK_STR("200 hello", walk(t, "/?a=%0&b=%2500&c=%"));
    CHECK_STR("- 1", aw_test_fetch(t, "/", .body = "a=%00x&b=1",
                                   .headers = type)->body);
    CHECK(strstr(aw_test_raw(t, raw_body, sizeof raw_body - 1, 0), "- 1"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(no_routes_at_all)
{
    aw_config c = quiet_config();
    said[0] = 0;
    CHECK_EQ(1, aw_run_config(c));
    CHECK(strstr(said, "there are no routes") != NULL);
}
