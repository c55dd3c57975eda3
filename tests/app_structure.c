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

VIEW(hello)
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

static const char *get(aw_test *t, const char *at)
{
    static char text[1500];
    const aw_response *r;
    const char *type;
    trail[0] = 0;
    r = aw_test_get(t, at);
    type = aw_response_header(r, "Content-Type");
    snprintf(text, sizeof text, "%d %s", r->status,
             type && strncmp(type, "text/plain", 10) == 0 ? r->body : "");
    return text;
}

/* ---- hooks ---- */

/* Rows of no route may stand anywhere. */
ROUTES(inner,
    GET("/plain", hello),
    BEFORE(b3),
    AFTER(a3),
    GET("/later", hello_later))

ROUTES(outer,
    BEFORE(b1),
    AFTER(a1),
    GET("/plain", hello),
    GET("/later", hello_later),
    MOUNT("/in", inner),
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
        CHECK_STR(r->want, get(t, r->target));
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
    GET("/plain", hello),
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
    CHECK_STR("200 ann 2 state", get(t, "/?name=ann"));
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
    CHECK_STR("200 hello", get(t, "/plain"));
    CHECK_EQ(0, l->slot_count);
    CHECK_STR("401 ", get(t, "/later?b1=401"));
    CHECK_STR("404 ", get(t, "/in/none"));
    CHECK_EQ(0, l->slot_count);
    CHECK_STR("200 hello", get(t, "/later"));
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
VIEW(no_todo) { return aw_error(req, 404, "no such todo"); }
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
    GET("/view", hello),
    POST("/post", hello))

ROUTES(errors,
    ON_ERROR(404, not_found),
    ON_ERROR(AW_ANY_ERROR, any_error),
    AFTER(a1),
    GET("/view", hello),
    GET("/todo", no_todo),
    GET("/own", own_page),
    GET("/half", half_done),
    GET("/slash/", hello),
    MOUNT("/in", errors_inner))

TEST(error_pages)
{
    static const row rows[] = {
        {"/view", "200 hello", "view a1"},
        {"/todo", "404 no page: no such todo", "not_found a1"},
        {"/none", "404 no page: Not Found", "not_found a1"},
        {"/in/none", "404 no page: Not Found", "not_found a1"},
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
    CHECK(strstr(said, "view bare (tests/app_structure.c) returned 0"));
    CHECK(strstr(said, "view hello (tests/app_structure.c) returned 0"));
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
ROUTES(user_pages, BEFORE(check_id), GET("/<what>", show), GET("/", hello))
ROUTES(deep, MOUNT("/users/<int:id>", user_pages), MOUNT("/else", elsewhere))
ROUTES(mounts,
    MOUNT("/api", deep, .max_body = 10, .timeout_ms = 50),
    MOUNT("/", elsewhere),
    GET("/api/users/me", hello))
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
    CHECK_EQ(413, aw_test_fetch(t, "/api/none", .body = body)->status);
    CHECK_EQ(404, aw_test_fetch(t, "/none", .body = body)->status);
    CHECK_STR("200 hello", get(t, "/later?ms=100"));
    CHECK_STR("503 ", get(t, "/api/else/later?ms=100"));
    CHECK_STR("200 hello", get(t, "/api/else/long?ms=100"));
    CHECK_EQ(0, aw_test_close(t));
}

/* What is wrong with a table is said at the start. */
TEST(wrong_tables)
{
    static const aw_route fine[] = {{.method = NULL}};
    static aw_route loop[2];
    static const aw_route id[] = {GET("/<id>", hello), {.method = NULL}};
    static const aw_route status[] = {
        {.method = "ERROR", .view = &aw_view_hello, .kind = AW_ROW_ERROR,
         .status = 200}, {.method = NULL}};
    static const aw_route twice[] = {
        ON_ERROR(404, hello), ON_ERROR(404, bare), {.method = NULL}};
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
        {GET("x", hello), "begins with /"},
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
    static const aw_route one[] = {GET("/b", hello), {.method = NULL}};
    static const aw_route two[] = {
        MOUNT("/a", one), GET("/a/b", hello), {.method = NULL}};
    aw_config c = quiet_config();
    CHECK(app_with(two, &c) == NULL);
    CHECK(strstr(said, "GET /a/b: there is another route") != NULL);
}

/* ---- time-outs ---- */

ASYNC_VIEW(inner_deadline)
{
    BEGIN {
        AWAIT_FOR(5, aw_sleep_ms, 10);
    }
}

ROUTES(timed,
    BEFORE(s1), AFTER(t1), ON_ERROR(503, not_found),
    GET("/late", hello_later, .timeout_ms = 50),
    GET("/inner", inner_deadline, .timeout_ms = 50),
    GET("/plain", hello, .timeout_ms = 50),
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
    CHECK(strstr(said, "view hello_later (tests/app_structure.c): not done "
                 "within its timeout_ms (50)") != NULL);
    t = app_with(timed, &c);
    CHECK(aw_test_cancel_everywhere(t, "/late?ms=100"));
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
    const size_t before = (get(t, target), live_bytes(t));
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
        CHECK(strchr(w.text, '!') == NULL);
        wire_close(&w);
        if (fault_count < k) break;
    }
    aw_test_advance(t, 20000);
    CHECK_STR("200", (get(t, target), "200"));
    CHECK(live_bytes(t) <= before + 4096);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(each_call_fails)
{
    fail_each(async_hooks, "/later");
    fail_each(outer, "/in/plain");
    fail_each(errors, "/view?rc=500");
    fail_each(errors, "/none");
    fail_each(timed, "/late?ms=100");
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
