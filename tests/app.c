/* app.c: the router, what views see and say, the application's life. */
#include "child.h"

/* ---- views ---- */

VIEW(hello) { return aw_text(req, "hello"); }

VIEW(where)
{
    return aw_printf(req, "%s %s ?%s", aw_method(req), aw_path(req),
                     aw_query_string(req));
}

VIEW(user) { return aw_printf(req, "user %s", aw_param(req, "name")); }
VIEW(me) { return aw_text(req, "me"); }
VIEW(by_id)
{
    return aw_printf(req, "id %lld", (long long)aw_param_int(req, "id"));
}
VIEW(ratio) { return aw_printf(req, "ratio %s", aw_param(req, "x")); }
VIEW(rest) { return aw_printf(req, "rest %s", aw_param(req, "rest")); }
VIEW(two)
{
    return aw_printf(req, "%s+%s", aw_param(req, "a"), aw_param(req, "b"));
}
VIEW(posted) { return aw_text(req, "posted"); }
VIEW(any) { return aw_printf(req, "any %s", aw_method(req)); }
VIEW(unknown) { return aw_text(req, aw_param(req, "nobody")); }

/* What a view returns becomes a status. */
VIEW(result)
{
    if (aw_query(req, "text")) (void)aw_text(req, aw_query(req, "text"));
    return (int)aw_query_int(req, "rc", 0);
}

ASYNC(fails, (int rc;)) { BEGIN { AWAIT(aw_yield); RETURN(self->rc); } }

ASYNC_VIEW(result_later)
{
    BEGIN {
        AWAIT(fails, (int)aw_query_int(req, "rc", 0));
        RETURN((int)aw_query_int(req, "rc", 0));
    }
}

VIEW(no_such)
{
    return aw_error(req, 404, "no <script>\"todo\"</script> & such");
}

VIEW(asked)
{
    const char *all = aw_header(req, "X-Many"), *none = aw_header(req, "None");
    return aw_printf(req, "[%s] [%s] [%s] [%s] [%lld] [%s]", all ? all : "-",
                     none ? none : "-", aw_query_or(req, "a b", "-"),
                     aw_query_or(req, "c", "-"),
                     (long long)aw_query_int(req, "n", -7),
                     aw_query(req, "empty") ? aw_query(req, "empty") : "-");
}

VIEW(form)
{
    const char *a = aw_form(req, "na me"), *b = aw_form(req, "b");
    return aw_printf(req, "[%s] [%s]", a ? a : "-", b ? b : "-");
}

/* Answers: a letter of ?do= each. */
VIEW(answers)
{
    const char *p = aw_query_or(req, "do", "");
    char text[10] = "local";
    int rc = 0;
    for (; *p; p++) {
        switch (*p) {
            case 't': rc = aw_text(req, text); break;
            case 'h': rc = aw_html(req, "<p>"); break;
            case 'e': rc = aw_empty(req, 204); break;
            case 'r': rc = aw_redirect(req, "/there?x=1"); break;
            case 'R':
                rc = aw_redirect(req, "/\xc3\xa9 x\\%20?q=\"[|]\"&b=#\t{");
                break;
            case 's': rc = aw_status(req, 201); break;
            case 'm': rc = aw_status(req, 304); break;
            case 'b': rc = aw_bytes(req, "image/png", "\0\1", 2); break;
            case 'L': rc = aw_text_static(req, "static"); break;
            case 'S': rc = aw_bytes_static(req, "a/b", "static", 6); break;
            case '1': CHECK_EQ(0, aw_set_header(req, "X-A", "1")); break;
            case '2': CHECK_EQ(0, aw_set_header(req, "x-a", "2")); break;
            case '3': CHECK_EQ(0, aw_add_header(req, "X-A", "3")); break;
            case 'T':
                CHECK_EQ(0, aw_set_header(req, "content-type", "my/own"));
                break;
            default: rc = 500;
        }
    }
    memset(text, 'X', sizeof text);     /* it was copied */
    return rc;
}

/* Nothing that breaks a line gets out, whichever way it is tried. */
VIEW(inject)
{
    static const char *const bad[] = {
        "a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "\r\n\r\n<html>",
        "a\x7f", "\x01", " a", "a ", NULL
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("value %d", (int)i);
        CHECK_EQ(AW_EINVAL, aw_set_header(req, "X-A", bad[i]));
        CHECK_EQ(AW_EINVAL, aw_add_header(req, "X-A", bad[i]));
        CHECK_EQ(AW_EINVAL, aw_redirect(req, bad[i]));
        CHECK_EQ(AW_EINVAL, aw_bytes(req, bad[i], "x", 1));
        CHECK_EQ(AW_EINVAL, aw_bytes_static(req, bad[i], "x", 1));
        if (bad[i]) CHECK_EQ(AW_EINVAL, aw_set_header(req, bad[i], "v"));
    }
    CHECK_EQ(AW_EINVAL, aw_set_header(req, NULL, "v"));
    CHECK_EQ(AW_EINVAL, aw_set_header(req, "", "v"));
    CHECK_EQ(AW_EINVAL, aw_set_header(req, "X:", "v"));
    CHECK_EQ(AW_EINVAL, aw_set_header(req, "Content-Length", "1"));
    CHECK_EQ(AW_EINVAL, aw_set_header(req, "transfer-encoding", "chunked"));
    CHECK_EQ(AW_EINVAL, aw_add_header(req, "Connection", "close"));
    CHECK_EQ(AW_EINVAL, aw_add_header(req, "Date", "now"));
    CHECK_EQ(AW_EINVAL, aw_status(req, 199));
    CHECK_EQ(AW_EINVAL, aw_status(req, 600));
    CHECK_EQ(AW_EINVAL, aw_empty(req, 100));
    CHECK_EQ(AW_EINVAL, aw_error(req, 99, "x"));
    CHECK_EQ(AW_EINVAL, aw_text(req, NULL));
    CHECK_EQ(AW_EINVAL, aw_html(req, NULL));
    CHECK_EQ(AW_EINVAL, aw_text_static(req, NULL));
    CHECK_EQ(AW_EINVAL, aw_bytes(req, NULL, "x", 1));
    CHECK_EQ(AW_EINVAL, aw_bytes(req, "a/b", NULL, 1));
    CHECK_EQ(AW_EINVAL, aw_bytes_static(req, "a/b", NULL, 1));
    CHECK(aw_strdup(req, NULL) == NULL);
    return aw_text(req, "safe");
}

VIEW(locals)
{
    int *a = AW_LOCAL(int), *b;
    if (!a) return 503;
    *a += 40;
    b = AW_LOCAL(int);
    CHECK(a == b);
    CHECK(AW_LOCAL(int64_t) == NULL);   /* it is an int by now */
    CHECK(aw_data(req) == AW_STATE(char));
    CHECK(aw_req_loop(req) == AW_LOOP());
    CHECK_STR("127.0.0.1", aw_peer(req));
    return aw_printf(req, "%d %s", *b + 2, AW_STATE(char));
}

VIEW(frame_memory)      /* of a plain view: given back when it returns */
{
    char *p = (char *)aw__frame_get(aw_t, 100000);
    return p ? aw_printf(req, "%d", p[99999]) : AW_ENOMEM;
}

/* ---- requests that tasks outlive ---- */

static char heard[300];
static int finals;

ASYNC(use_later, (aw_req *r; const char *to; const char *body;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 50);
        snprintf(heard, sizeof heard, "%s %s %s %s %s %s", self->to,
                 self->body, aw_header(self->r, "X-Note"),
                 aw_query_or(self->r, "q", "-"), aw_path(self->r),
                 aw_raw_target(self->r));
        (void)aw_text(self->r, "to nobody");
    }
}

VIEW(spawn_plain)
{
    SPAWN(use_later, req, aw_param(req, "to"), aw_body(req).p);
    return aw_text(req, "started");
}

ASYNC_VIEW(spawn_async)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 5);
        SPAWN(use_later, req, aw_param(req, "to"), aw_body(req).p);
        RETURN(aw_text(req, "started"));
    }
}

ASYNC_VIEW(from_frame, char text[64];)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1);
        strcpy(self->text, "from the frame");
        RETURN(aw_text(req, self->text));
    } FINALLY {
        memset(self->text, 'X', sizeof self->text);
    }
}

ASYNC_VIEW(nap)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 1000));
        RETURN(aw_text(req, "nap"));
    } FINALLY {
        finals++;
    }
}

static aw_req *kept;
VIEW(keep)
{
    kept = req;
    return aw_text(req, "kept");
}

static aw_loop *stopping;
VIEW(quit)
{
    aw_serve_stop(stopping);
    return aw_text(req, "bye");
}

ASYNC_VIEW(quit_later)
{
    BEGIN {
        AWAIT(aw_yield);
        aw_serve_stop(stopping);
        aw_serve_stop(stopping);
        AWAIT(aw_sleep_ms, 100);
        RETURN(aw_text(req, "bye"));
    }
}

ROUTES(app,
    GET("/", hello),
    GET("/user/<name>", user),
    GET("/user/me", me),
    GET("/user/<int:id>", by_id),
    GET("/user/<float:x>", ratio),
    GET("/files/<path:rest>", rest),
    GET("/a/<a>/b/<b>", two),
    GET("/where/<path:rest>", where),
    GET("/slash/", where),
    GET("/deep/<x>/", unknown),
    POST("/slash/", posted),
    GET("/method", where),
    POST("/method", posted),
    PUT("/put", posted),
    ANY("/any", any),
    DELETE("/any", posted),
    GET("/caf\xc3\xa9 100%", me),
    GET("/unknown", unknown),
    ANY("/result", result),
    GET("/later", result_later),
    GET("/no-such", no_such),
    GET("/asked", asked),
    POST("/form", form),
    ANY("/answers", answers),
    GET("/inject", inject),
    GET("/locals", locals),
    GET("/frame", frame_memory),
    POST("/spawn/<to>", spawn_plain),
    POST("/spawn-async/<to>", spawn_async),
    GET("/from-frame", from_frame),
    GET("/nap", nap),
    GET("/keep", keep),
    GET("/quit", quit),
    GET("/quit-later", quit_later))

static const char *whole(aw_test *t, const char *bytes)
{
    return aw_test_raw(t, bytes, strlen(bytes), 0);
}

static const char *field(const aw_response *r, const char *name)
{
    const char *v = aw_response_header(r, name);
    return v ? v : "-";
}

/* ---- the router ---- */

TEST(parameters_and_precedence)
{
    static const struct {
        const char *target;
        const char *want;
    } rows[] = {
        {"/user/me", "200 me"},
        {"/user/%6d%65", "200 me"},             /* RFC 3986 6.2.2.2 */
        {"/user/you", "200 user you"},
        {"/user/7", "200 id 7"},
        {"/user/-7", "200 user -7"},
        {"/user/9223372036854775807", "200 id 9223372036854775807"},
        {"/user/9223372036854775808", "200 user 9223372036854775808"},
        {"/user/1.5", "200 ratio 1.5"},
        {"/user/1.", "200 user 1."},
        {"/user/a%2Fb%20c", "200 user a/b c"},
        {"/user/%E2%82%AC", "200 user \xe2\x82\xac"},
        {"/user/", "404 "},
        {"/user/a/b", "404 "},
        {"/user/x/../me", "200 me"},            /* 5.2.4 */
        {"/user/./x/%2e%2E/me", "200 me"},
        {"/../user/me", "400 "},
        {"/user/%00", "400 "},
        {"/user/%zz", "400 "},
        {"/files/a/b%2Fc/d", "200 rest a/b/c/d"},
        {"/files/a/../../user/me", "200 me"},
        {"/files/", "404 "},
        {"/files", "404 "},
        {"/a/1/b/2", "200 1+2"},
        {"/a/1/b/", "404 "},
        {"/a//b/2", "404 "},
        {"/caf%c3%a9%20100%25", "200 me"},
        {"http://other/user/me?x", "200 me"},   /* RFC 9112 3.2.2 */
        {"http://other", "200 hello"},
        {"/?x=1", "200 hello"},
        {"/User/me", "404 "},
    };
    aw_test *t = app_with(app, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s", rows[i].target);
        CHECK_STR(rows[i].want, get(t, rows[i].target));
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* The same whatever the order of the routes. */
TEST(precedence_without_order)
{
    enum { N = 6 };
    const aw_route all[N] = {
        GET("/user/<name>", user), GET("/user/me", me),
        GET("/user/<int:id>", by_id), GET("/user/<path:rest>", rest),
        GET("/<a>/<b>", two), GET("/user/<float:x>", ratio)
    };
    for (int order = 0; order < 720; order += 7) {
        aw_route some[N + 1];
        int left[N] = {0, 1, 2, 3, 4, 5}, code = order;
        aw_test *t;
        memset(some, 0, sizeof some);
        for (int i = 0; i < N; i++) {
            int k = code % (N - i);
            code /= N - i;
            some[i] = all[left[k]];
            memmove(left + k, left + k + 1,
                    (size_t)(N - 1 - k) * sizeof *left);
        }
        t = app_with(some, NULL);
        NOTE("order %d", order);
        CHECK_STR("200 me", get(t, "/user/me"));
        CHECK_STR("200 id 3", get(t, "/user/3"));
        CHECK_STR("200 ratio 3.5", get(t, "/user/3.5"));
        CHECK_STR("200 user x", get(t, "/user/x"));
        CHECK_STR("200 rest x/y", get(t, "/user/x/y"));
        CHECK_STR("200 x+y", get(t, "/x/y"));
        CHECK_EQ(0, aw_test_close(t));
    }
}

VIEW(method_of) { return aw_text(req, aw_method(req)); }
ROUTES(dav, GET("/x", method_of), ROUTE("PROPFIND", "/x", method_of),
       ROUTE("REPORT", "/x", method_of), ROUTE("PROPFIND", "/y", method_of))

TEST(methods)
{
    aw_test *t = app_with(app, NULL);
    const aw_response *r = ask(t, "POST", "/", "x", NULL);
    CHECK_EQ(405, r->status);                           /* RFC 9110 15.5.6 */
    CHECK_STR("GET, HEAD, OPTIONS", field(r, "Allow"));
    r = ask(t, "PATCH", "/method", "x", NULL);
    CHECK_EQ(405, r->status);
    CHECK_STR("GET, HEAD, POST, OPTIONS", field(r, "Allow"));
    r = ask(t, "OPTIONS", "/put", NULL, NULL);
    CHECK_EQ(204, r->status);
    CHECK_STR("PUT, OPTIONS", field(r, "Allow"));
    CHECK_STR("-", field(r, "Content-Length"));
    r = ask(t, "OPTIONS", "*", NULL, NULL);             /* 9.3.7 */
    CHECK_EQ(204, r->status);
    CHECK_STR("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS",
              field(r, "Allow"));
    CHECK_EQ(404, ask(t, "OPTIONS", "/none", NULL, NULL)->status);
    r = ask(t, "HEAD", "/", NULL, NULL);                /* 9.3.2 */
    CHECK_EQ(200, r->status);
    CHECK_STR("5", field(r, "Content-Length"));
    CHECK_EQ(0, r->body_len);
    CHECK_EQ(405, ask(t, "HEAD", "/put", NULL, NULL)->status);
    CHECK_STR("any BREW", ask(t, "BREW", "/any", NULL, NULL)->body);
    CHECK_STR("any OPTIONS", ask(t, "OPTIONS", "/any", NULL, NULL)->body);
    CHECK_STR("posted", ask(t, "DELETE", "/any", NULL, NULL)->body);
    CHECK_EQ(405, ask(t, "get", "/", NULL, NULL)->status);      /* 9.1 */
    CHECK_EQ(405, ask(t, "TRACE", "/", NULL, NULL)->status);
    CHECK_EQ(0, aw_test_close(t));
    t = app_with(dav, NULL);            /* those of other standards, too */
    r = ask(t, "POST", "/x", "x", NULL);
    CHECK_EQ(405, r->status);
    CHECK_STR("GET, HEAD, REPORT, PROPFIND, OPTIONS", field(r, "Allow"));
    r = ask(t, "GET", "/y", NULL, NULL);
    CHECK_EQ(405, r->status);
    CHECK_STR("PROPFIND, OPTIONS", field(r, "Allow"));
    CHECK_STR("PROPFIND", ask(t, "PROPFIND", "/y", NULL, NULL)->body);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(trailing_slash)
{
    static const struct {
        const char *target;
        const char *want;       /* its Location, "-" 404 */
    } rows[] = {
        {"/slash", "/slash/"},
        {"/slash?a=%20b&c", "/slash/?a=%20b&c"},
        {"/./x/../slash?", "/slash/"},
        {"/deep/a%2Fb", "/deep/a%2Fb/"},
        {"//evil.com/..//slash", "-"},
        {"//slash", "-"},
        {"/%2Fslash", "-"},
        {"//deep/x", "-"},
        {"/%5Cslash", "-"},
        {"/method/", "-"},
    };
    aw_test *t = app_with(app, NULL);
    const aw_response *r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r = aw_test_get(t, rows[i].target);
        NOTE("%s", rows[i].target);
        CHECK_EQ(rows[i].want[0] == '-' ? 404 : 308, r->status);
        CHECK_STR(rows[i].want, field(r, "Location"));
    }
    r = ask(t, "POST", "/slash", "x", NULL);    /* 308 keeps the method */
    CHECK_EQ(308, r->status);
    CHECK_STR("posted", ask(t, "POST", "/slash/", "x", NULL)->body);
    CHECK_EQ(0, aw_test_close(t));
}

/* A path of slashes could stand for another host in a redirect: /<x>/ matches
   "//evil", which must not come back as "//evil/". */
TEST(redirect_stays_here)
{
    static const aw_route any_segment[] = {
        GET("/<a>/<b>/", two), GET("/<path:rest>", rest), {NULL}
    };
    static const aw_route folder[] = { GET("/<a>/", user), {NULL} };
    static const char *const targets[] = {
        "//evil.com", "/%2Fevil.com", "//evil.com/x", "/.//evil.com",
        "/x/..//evil.com", "/%5Cevil.com", "http://h//evil.com",
    };
    for (int k = 0; k < 2; k++) {
        aw_test *t = app_with(k ? folder : any_segment, NULL);
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
            const char *to = field(aw_test_get(t, targets[i]), "Location");
            NOTE("%s", targets[i]);
            CHECK(to[0] == '-' || (to[0] == '/' && to[1] != '/' &&
                                   to[1] != '\\'));
        }
        CHECK_EQ(0, aw_test_close(t));
    }
}

TEST(route_errors_at_start)
{
    static const struct {
        const char *path;
        const char *other;
    } rows[] = {
        {"", NULL}, {"x", NULL}, {"/<name", NULL}, {"/a<name>", NULL},
        {"/<name>b", NULL}, {"/<>", NULL}, {"/<int:>", NULL},
        {"/<bad:name>", NULL}, {"/<path:rest>/x", NULL}, {"/<a b>", NULL},
        {"/x", "/x"}, {"/<a>", "/<b>"}, {"/<int:a>/x", "/<int:b>/x"},
        {"/<a>/<b>/<c>/<d>/<e>/<f>/<g>/<h>/<i>", NULL},
    };
    aw_config c = quiet_config();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        aw_route routes[3];
        memset(routes, 0, sizeof routes);
        routes[0].method = routes[1].method = "GET";
        routes[0].view = routes[1].view = &aw_view_hello;
        routes[0].path = rows[i].path;
        routes[1].path = rows[i].other;
        if (!rows[i].other) routes[1].method = NULL;
        NOTE("row %d", (int)i);
        CHECK(app_with(routes, &c) == NULL);
        CHECK(strstr(said, "asyncweb: route GET ") != NULL);
    }
}

TEST(unknown_parameter_aborts)
{
    aw_test *t = (test_debug = true, app_with(app, NULL));
    CHECK_ABORTS(aw_test_get(t, "/unknown"),
                 "the route \"/unknown\" of view unknown has no <nobody>");
    aw_test_loop(t)->debug = false;     /* in production it is not there */
    CHECK_STR("500 ", get(t, "/unknown"));
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- what a view sees ---- */

TEST(queries_and_headers)
{
    static const aw_header_field many[] = {
        {"X-Many", "a"}, {"x-many", "b, c"}, {"X-MANY", ""}, {NULL, NULL}
    };
    aw_test *t = app_with(app, NULL);
    const aw_response *r;
    CHECK_STR("200 [-] [-] [-] [-] [-7] [-]", get(t, "/asked"));
    CHECK_STR("200 [-] [-] [x y] [1+] [42] []",
              get(t, "/asked?a+b=x%20y&c=1%2B&c=2&n=42&empty"));
    CHECK_STR("200 [-] [-] [-] [%zz] [-7] []",
              get(t, "/asked?&&c=%zz&n=4x&=9&empty="));
    CHECK_STR("200 [-] [-] [-] [-] [-9223372036854775808] [-]",
              get(t, "/asked?n=-9223372036854775808"));
    CHECK_STR("200 [-] [-] [-] [-] [-7] [-]",
              get(t, "/asked?n=9223372036854775808"));
    r = ask(t, NULL, "/asked", NULL, many);
    CHECK_STR("[a, b, c, ] [-] [-] [-] [-7] [-]", r->body);
    CHECK_STR("200 GET /where/a b/% ?x=%20&y",
              get(t, "/where/a%20b/x/../%25?x=%20&y"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(forms)
{
    static const aw_header_field type[] = {
        {"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"},
        {NULL, NULL}
    };
    static const aw_header_field other[] = {
        {"Content-Type", "application/x-www-form-urlencodedx"}, {NULL, NULL}
    };
    aw_test *t = app_with(app, NULL);
    const char *body = "na+me=a+b%26c&b=%E2%82%AC";
    CHECK_STR("[a b&c] [\xe2\x82\xac]",
              ask(t, NULL, "/form", body, type)->body);
    CHECK_STR("[-] [-]", ask(t, NULL, "/form", body, other)->body);
    CHECK_STR("[-] [-]", ask(t, NULL, "/form", body, NULL)->body);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(data_and_locals)
{
    static char data[] = "state";
    aw_test_config c;
    aw_test *t;
    memset(&c, 0, sizeof c);
    c.routes = app;
    c.data = data;
    t = aw_test_open_config(c);
    CHECK_STR("200 42 state", get(t, "/locals"));
    CHECK_STR("200 42 state", get(t, "/locals"));   /* new for each request */
    CHECK_STR("200 0", get(t, "/frame"));
    CHECK(aw_test_loop(t)->idle.chunk == NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- what a view says ---- */

TEST(answer_functions)
{
    static const struct {
        const char *calls;
        int status;
        const char *type, *body;
    } rows[] = {
        {"t", 200, "text/plain; charset=utf-8", "local"},
        {"h", 200, "text/html; charset=utf-8", "<p>"},
        {"S", 200, "a/b", "static"},
        {"L", 200, "text/plain; charset=utf-8", "static"},
        {"e", 204, "-", ""},
        {"r", 302, "-", ""},
        {"st", 201, "text/plain; charset=utf-8", "local"},
        {"ts", 201, "text/plain; charset=utf-8", "local"},
        {"sr", 201, "-", ""},
        {"tr", 302, "-", ""},           /* the last answer counts */
        {"rt", 200, "text/plain; charset=utf-8", "local"},
        {"th", 200, "text/html; charset=utf-8", "<p>"},
        {"tm", 304, "text/plain; charset=utf-8", ""},
        {"Tt", 200, "my/own", "local"},
        {"tT", 200, "my/own", "local"},
        {"", 500, "text/html; charset=utf-8", NULL},
        {"T", 500, "text/html; charset=utf-8", NULL},
    };
    aw_test *t = app_with(app, NULL);
    const aw_response *r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char at[60];
        snprintf(at, sizeof at, "/answers?do=%s", rows[i].calls);
        r = aw_test_get(t, at);
        NOTE("%s", at);
        CHECK_EQ(rows[i].status, r->status);
        CHECK_STR(rows[i].type, field(r, "Content-Type"));
        if (rows[i].body) CHECK_STR(rows[i].body, r->body);
        CHECK_STR(r->status == 302 || strchr(rows[i].calls, 'r')
                  ? "/there?x=1" : "-", field(r, "Location"));
    }
    CHECK_STR("/%C3%A9%20x%5C%20?q=%22[|]%22&b=#%09%7B",     /* 9110 10.2.2 */
              field(aw_test_get(t, "/answers?do=R"), "Location"));
    r = aw_test_get(t, "/answers?do=b");
    CHECK_EQ(2, r->body_len);
    CHECK_EQ(0, memcmp(r->body, "\0\1", 2));
    CHECK_STR("2", field(aw_test_get(t, "/answers?do=12t"), "X-A"));
    CHECK_STR("2", field(aw_test_get(t, "/answers?do=132t"), "X-A"));
    CHECK(strstr(whole(t, "GET /answers?do=13t HTTP/1.1\r\nHost: h\r\n\r\n"),
                 "X-A: 1\r\nX-A: 3\r\n") != NULL);
    r = ask(t, "HEAD", "/answers?do=t", NULL, NULL);
    CHECK_STR("5", field(r, "Content-Length"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(nothing_can_be_injected)
{
    aw_test *t = app_with(app, NULL);
    CHECK_STR("200 safe", get(t, "/inject"));
    CHECK_EQ(0, aw_test_close(t));
}

/* 204 and 304 have no body and no Content-Length, HEAD has no body: what the
   client reads next is the next answer. */
TEST(answers_without_body)
{
    aw_test *t = app_with(app, NULL);
    const char *next = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", *got;
    static const char *const firsts[] = {
        "GET /answers?do=te HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /answers?do=tm HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD /answers?do=t HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD /none HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /result?rc=204 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /result?rc=304&text=x HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        char both[200];
        snprintf(both, sizeof both, "%s%s", firsts[i], next);
        got = whole(t, both);
        NOTE("row %d", (int)i);
        CHECK(strstr(got, "\r\n\r\nHTTP/1.1 200 OK") != NULL);
        if (firsts[i][0] == 'G')
            CHECK(strstr(got, "Content-Length") > strstr(got, "200 OK"));
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* Rule 18, for plain and async views alike. */
TEST(results_of_views)
{
    static const struct {
        int rc, status;
        bool logged;
    } rows[] = {
        {200, 200, false}, {201, 201, false}, {404, 404, false},
        {599, 599, false}, {0, 500, true}, {1, 500, true}, {99, 500, true},
        {100, 500, true}, {199, 500, true}, {600, 500, true},
        {INT_MAX, 500, true}, {INT_MIN, 500, true},
        {AW_HTTP(404), 404, false}, {AW_HTTP(503), 503, false},
        {AW_HTTP(204), 204, false}, {AW_HTTP(100), 500, true},
        {AW_HTTP(600), 500, true},
        {AW_ENOMEM, 503, true}, {AW_EINVAL, 500, true}, {AW_EDNS, 502, true},
        {AW_ECONNREFUSED, 502, true}, {AW_ECONNRESET, 502, true},
        {AW_EBADMSG, 502, true}, {AW_EUNREACH, 502, true},
        {AW_ETIMEDOUT, 504, true}, {AW_EDEADLINE, 504, true},
        {AW_EMFILE, 503, true}, {AW_EIO, 500, true},
    };
    aw_config c = quiet_config();
    aw_test *t = app_with(app, &c);
    for (int later = 0; later < 2; later++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char at[60];
            snprintf(at, sizeof at, "/%s?rc=%d", later ? "later" : "result",
                     rows[i].rc);
            said[0] = 0;
            NOTE("%s", at);
            CHECK_EQ(rows[i].status, aw_test_get(t, at)->status);
            CHECK_EQ(rows[i].logged, said[0] != 0);
        }
    }
    CHECK_STR("404 mine", get(t, "/result?rc=404&text=mine"));
    CHECK_STR("500 ", get(t, "/result?rc=0&text=mine"));
    CHECK(strstr(said, "return an answer") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(pages_escape)
{
    aw_test *t = app_with(app, NULL);
    const aw_response *r = aw_test_get(t, "/no-such");
    CHECK_EQ(404, r->status);
    CHECK(strstr(r->body, "no &lt;script&gt;&quot;todo&quot;&lt;/script&gt; "
                 "&amp; such") != NULL);
    CHECK(strstr(r->body, "<script") == NULL);
    r = aw_test_get(t, "/<script>");
    CHECK_EQ(400, r->status);
    CHECK(strstr(r->body, "<script") == NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* The way an error came, on the page in debug mode, in the log always. */
TEST(debug_page_shows_the_way)
{
    aw_config c = quiet_config();
    aw_test *t = (test_debug = true, app_with(app, &c));
    const char *body = aw_test_get(t, "/later?rc=-23")->body, *a, *b;
    CHECK(strstr(body, "view result_later of /later") != NULL);
    CHECK(strstr(body, aw_strerror(AW_ETIMEDOUT)) != NULL);
    a = strstr(body, "in result_later at ");
    b = strstr(body, "in fails at ");
    CHECK(a && b && a < b && strstr(b, "app.c:"));
    CHECK(strstr(said, "in fails at ") != NULL);
    aw_test_loop(t)->debug = false;
    said[0] = 0;
    body = aw_test_get(t, "/later?rc=-23")->body;
    CHECK(!strstr(body, "fails") && !strstr(body, "view") &&
          !strstr(body, "app.c"));
    CHECK(strstr(said, "in fails at ") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(access_log)
{
    aw_config c = quiet_config();
    aw_test *t;
    c.access_log = 0;
    t = app_with(app, &c);
    (void)aw_test_get(t, "/?a=%20b");
    CHECK(strstr(said, "127.0.0.1 - - [") == said);
    CHECK(strstr(said, " +0000] \"GET /?a=%20b HTTP/1.1\" 200 5 0ms\n") ==
          said + 15 + 20);
    CHECK(strncmp(said + 15 + 11, ":", 1) == 0);
    said[0] = 0;
    (void)aw_test_get(t, "/nap?ms=70");
    CHECK(strstr(said, "200 3 70ms") != NULL);
    said[0] = 0;
    (void)whole(t, "GET /\"\x1b[1m HTTP/1.1\r\n\r\n");
    CHECK(strstr(said, "\"  HTTP/1.1\" 400") != NULL);
    CHECK(strstr(said, "\x1b") == NULL);
    said[0] = 0;
    (void)ask(t, "HEAD", "/", NULL, NULL);
    CHECK(strstr(said, "\"HEAD / HTTP/1.1\" 200 0 ") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* To standard error: a line that comes alone at once, others 10 times a
   second. */
TEST(access_log_lines_gather)
{
    aw_config c = quiet_config();
    const int was = dup(2);
    FILE *f = tmpfile();
    aw_test *t;
    off_t line;
    int i;
    c.access_log = 0;
    c.log = NULL;
    fflush(stderr);
    CHECK(f && was >= 0 && dup2(fileno(f), 2) == 2);
    t = app_with(app, &c);
    (void)aw_test_get(t, "/");
    line = lseek(2, 0, SEEK_END);
    CHECK(line > 50);
    for (i = 0; i < 10; i++) (void)aw_test_get(t, "/");
    CHECK_EQ(line, lseek(2, 0, SEEK_END));
    aw_test_advance(t, 100);
    CHECK_EQ(11 * line, lseek(2, 0, SEEK_END));
    aw_test_advance(t, 100);
    (void)aw_test_get(t, "/");
    CHECK_EQ(12 * line, lseek(2, 0, SEEK_END));
    (void)aw_test_get(t, "/");
    CHECK_EQ(0, aw_test_close(t));
    CHECK_EQ(13 * line, lseek(2, 0, SEEK_END));
    CHECK(dup2(was, 2) == 2);
    close(was);
    fclose(f);
}

/* The date is made once a second. */
TEST(cached_date)
{
    aw_test *t = app_with(app, NULL);
    char *first = strdup(field(aw_test_get(t, "/"), "Date"));
    CHECK_EQ(29, strlen(first));
    CHECK(strstr(first, " GMT") == first + 25);
    aw_test_loop(t)->server->ok[32]++;
    CHECK(strcmp(first, field(aw_test_get(t, "/"), "Date")) != 0);
    aw_test_advance(t, 1000);
    CHECK(strcmp(first, field(aw_test_get(t, "/"), "Date")) != 0);
    aw_test_advance(t, 1000);
    CHECK(strncmp(first, field(aw_test_get(t, "/"), "Date"), 16) == 0);
    free(first);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- memory of requests ---- */

TEST(answer_from_frame_buffer)
{
    aw_test *t = app_with(app, NULL);
    CHECK_STR("200 from the frame", get(t, "/from-frame"));
    CHECK_EQ(0, aw_test_close(t));
}

/* A task spawned in a view uses the request's strings after its end. */
TEST(spawned_uses_dead_req)
{
    static const char *const names[] = {"spawn", "spawn-async"};
    for (int i = 0; i < 2; i++) {
        aw_test *t = app_with(app, NULL);
        aw_loop *l = aw_test_loop(t);
        wire w = wire_open(t);
        char text[300], want[300];
        heard[0] = 0;
        snprintf(text, sizeof text, "POST /%s/a%%20b?q=%%21 HTTP/1.1\r\n"
                 "Host: h\r\nX-Note: note\r\nContent-Length: 4\r\n\r\nbody",
                 names[i]);
        wire_say(&w, text);
        aw_test_advance(t, 5);
        wire_settle(&w);
        CHECK_STR("200=started", digest(&w));
        for (int k = 0; k < 40; k++)    /* the read buffer is used anew */
            wire_say(&w, "GET /XXXXXXXXXXXXXXXXXXXXXXXXXXXX HTTP/1.1\r\n"
                     "Host: XXXXXXXXXXXXXXXXXXXXXXX\r\n\r\n");
        if (i) wire_close(&w);          /* and the connection may end */
        CHECK_EQ(1, l->tasks);
        aw_test_advance(t, 50);
        CHECK_EQ(0, l->tasks);
        snprintf(want, sizeof want, "a b body note ! /%s/a b /%s/a%%20b?q=%%21",
                 names[i], names[i]);
        CHECK_STR(want, heard);
        if (!i) wire_close(&w);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* Rule 15: in debug an ended request is garbage at once, stays so for the next
   32, and who writes to it is told. */
TEST(ended_requests_are_quarantined)
{
    aw_config c = quiet_config();
    aw_test *t = (test_debug = true, app_with(app, &c));
    const unsigned char *p;
    int i;
    (void)aw_test_get(t, "/keep");
    p = (const unsigned char *)kept;
    for (i = 0; i < AW__REQ_BYTES && p[i] == 0xdb; i++) {}
    CHECK_EQ(AW__REQ_BYTES, i);
    for (i = 0; i < 31; i++) (void)aw_test_get(t, "/");
    CHECK_EQ(0xdb, *p);
    ((char *)kept)[100] = 'x';
    CHECK_STR("", said);
    (void)aw_test_get(t, "/");
    CHECK(strstr(said, "was written to after the request had ended") != NULL);
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- stopping ---- */

TEST(drain)
{
    aw_test *t = app_with(app, NULL);
    aw_loop *l = aw_test_loop(t);
    wire idle = wire_open(t), busy = wire_open(t), sent = wire_open(t),
         fresh = wire_open(t), half = wire_open(t), late, unread;
    aw__address at = aw__address_loopback(4, aw_serve_port(l));
    const char *hello_ = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    int fd;
    wire_say(&idle, hello_);
    wire_say(&busy, "GET /nap?ms=500 HTTP/1.1\r\nHost: h\r\n\r\n");
    wire_say(&half, "GET / HTTP/1.1\r\n");
    wire_say(&sent, hello_);
    /* Sent, but not read; connected, but not accepted. */
    (void)aw__io_send(l, sent.fd, hello_, strlen(hello_));
    memset(&unread, 0, sizeof unread);
    unread.loop = l;
    (void)aw__io_connect(l, &at, &unread.fd);
    (void)aw__io_send(l, unread.fd, hello_, strlen(hello_));
    aw_serve_stop(l);
    aw_serve_stop(l);
    late = idle;
    wire_settle(&idle);
    CHECK(idle.ended);                  /* at once */
    wire_settle(&sent);
    CHECK_STR("200=hello 200=hello+", digest(&sent));
    wire_settle(&unread);
    CHECK_STR("200=hello+", digest(&unread));
    CHECK(aw__io_connect(l, &at, &fd) == AW_EAGAIN);    /* nobody listens */
    for (int i = 0; i < 4; i++) (void)aw_loop_step(l, 0);
    CHECK_EQ(AW_ECONNREFUSED, aw__io_error(l, fd));
    aw__io_close(l, fd);
    aw_test_advance(t, 100);
    wire_say(&fresh, hello_);           /* it had not said anything yet */
    CHECK_STR("200=hello+", digest(&fresh));
    CHECK(!half.ended);
    aw_test_advance(t, 150);
    wire_settle(&half);
    CHECK_STR("408+", digest(&half));
    aw_test_advance(t, 250);
    wire_settle(&busy);
    CHECK_STR("200=nap+", digest(&busy));
    CHECK(busy.ended);
    (void)late;
    wire_close(&idle);
    wire_close(&busy);
    wire_close(&sent);
    wire_close(&fresh);
    wire_close(&half);
    wire_close(&unread);
    CHECK_EQ(0, l->server->connections);
    CHECK_EQ(0, aw_test_close(t));
}

/* A view may stop the server that runs it. */
TEST(stop_from_a_view)
{
    static const char *const targets[] = {"/quit", "/quit-later"};
    for (int i = 0; i < 2; i++) {
        aw_test *t = app_with(app, NULL);
        wire other = wire_open(t), w = wire_open(t);
        char text[100];
        stopping = aw_test_loop(t);
        wire_say(&other, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
                 "GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
                 "GET / HTTP/1.1\r\nHost: h\r\n\r\n", targets[i]);
        wire_say(&w, text);
        aw_test_advance(t, 101);
        wire_settle(&w);
        CHECK_STR("200=hello 200=bye+", digest(&w));
        wire_settle(&other);
        CHECK_STR("200=hello", digest(&other));
        CHECK(w.ended && other.ended);
        wire_close(&w);
        wire_close(&other);
        CHECK_EQ(0, aw_test_loop(t)->server->connections);
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* ---- the article ---- */

ASYNC_VIEW(async_view)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 2000);
        RETURN(aw_text(req, "This is an asynchronous response!"));
    }
}

ASYNC_VIEW(fetch_data, aw_response *reply;)
{
    BEGIN {
        AWAIT(aw_get, &self->reply, "http://up/posts/1");
        RETURN(aw_json(req, aw_response_json(self->reply)));
    }
}

static int completed;
ASYNC(background_task, (int64_t ms;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        completed++;
    }
}

VIEW(start_task)
{
    SPAWN(background_task, 5000);
    return aw_text(req, "Task started!");
}

VIEW(sync_view) { return aw_text(req, "This is a synchronous view!"); }

ASYNC_VIEW(dashboard, aw_response *a, *b; int ra, rb;)
{
    BEGIN {
        START_TO(self->ra, aw_get, &self->a, "http://up/posts/1");
        START_TO(self->rb, aw_get, &self->b, "http://up/slow");
        GATHER_FOR(800);
        RETURN(aw_json_object(req, aw_int("a", self->ra),
                              aw_int("b", self->rb)));
    }
}

static const aw_route article[] = {
    GET("/async-view", async_view), GET("/fetch-data", fetch_data),
    GET("/start-task", start_task), GET("/sync-view", sync_view),
    GET("/dashboard", dashboard), GET("/user/<name>", user),
    POST("/spawn/<to>", spawn_plain), {NULL}
};

static const aw_mock upstreams[] = {
    {.url = "http://up/posts/1", .status = 200, .body = "{\"id\":1}",
     .delay_ms = 10},
    {.url = "http://up/slow", .status = 200, .body = "[]", .delay_ms = 5000},
    {NULL}
};

static aw_test *article_with(uint64_t chaos)
{
    aw_test_config c;
    memset(&c, 0, sizeof c);
    c.routes = article;
    c.mocks = upstreams;
    c.chaos = chaos;
    return aw_test_open_config(c);
}

TEST(article_views)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        aw_test *t = article_with(seed);
        const aw_response *r;
        int64_t start = aw_test_now_ms(t);
        NOTE("seed %d", (int)seed);
        CHECK_STR("200 This is an asynchronous response!",
                  get(t, "/async-view"));
        CHECK_EQ(2000, aw_test_now_ms(t) - start);
        r = aw_test_get(t, "/fetch-data");
        CHECK_STR("{\"id\":1}", r->body);
        CHECK_STR("application/json", field(r, "Content-Type"));
        CHECK_STR("200 This is a synchronous view!", get(t, "/sync-view"));
        completed = 0;
        start = aw_test_now_ms(t);
        CHECK_STR("200 Task started!", get(t, "/start-task"));
        CHECK_EQ(0, aw_test_now_ms(t) - start);
        aw_test_advance(t, 4999);
        CHECK_EQ(0, completed);
        aw_test_advance(t, 1);
        CHECK_EQ(1, completed);
        CHECK_STR("{\"a\":200,\"b\":-5}", aw_test_get(t, "/dashboard")->body);
        CHECK_EQ(0, aw_test_close(t));
    }
}

TEST(cancel_everywhere)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        aw_test *t = article_with(seed);
        for (const aw_route *r = article; r->method; r++) {
            NOTE("%s, seed %d", r->path, (int)seed);
            CHECK(aw_test_cancel_everywhere(t, r->path));
        }
        CHECK_EQ(0, aw_test_close(t));
    }
}

/* ---- torture: each allocation and each system call fails once ---- */

static const char scene[] =
    "GET /sync-view HTTP/1.1\r\nHost: h\r\n\r\n"
    "GET /fetch-data?with=a&long=query HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"
    "POST /spawn/a%20b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    "X-Note: n\r\nExpect: 100-continue\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    "GET /start-task HTTP/1.1\r\nHost: h\r\n\r\n"
    "GET /user/a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n"
    "GET /none HTTP/1.1\r\nHost: h\r\n\r\n"
    "GET /dashboard HTTP/1.1\r\nHost: h\r\n\r\n"
    "bad\r\n\r\n";

TEST(torture_in_memory)
{
    aw_test *t = article_with(0);
    aw_loop *l = aw_test_loop(t);
    aw__test_use before, after;
    long k, reached = 1;
    for (k = 0; k < 3; k++) {
        (void)aw_test_raw(t, scene, sizeof scene - 1, 7);
        (void)get(t, "/sync-view");
    }
    before = aw__test_rest(t);
    for (k = 1; reached; k++) {
        fault_set(NULL, k, 0);
        (void)aw_test_raw(t, scene, sizeof scene - 1, k % 2 ? 0 : 50);
        reached = fault_count >= k;
        fault_set(NULL, 0, 0);
        NOTE("call %ld fails", k);
        CHECK_STR("200 This is a synchronous view!", get(t, "/sync-view"));
        aw_test_advance(t, 20000);
        after = aw__test_rest(t);
        CHECK_EQ(before.bytes, after.bytes);
        CHECK_EQ(before.descriptors, after.descriptors);
        CHECK_EQ(0, l->tasks);
        CHECK_EQ(0, l->server->connections);
    }
    CHECK(k > 50);
    CHECK_EQ(0, aw_test_close(t));
}

/* Turns until it has ended or nothing more comes: all that came. */
static const char *converse(aw_loop *l, int port, const char *text)
{
    static char got[8192];
    size_t n = 0;
    int fd = dial(port), quiet = 0;
    (void)!write(fd, text, strlen(text));
    while (quiet < 300) {
        ssize_t r;
        (void)aw_loop_step(l, 1);
        r = recv(fd, got + n, sizeof got - 1 - n, 0);
        if (r == 0 || (r < 0 && errno != EAGAIN)) break;
        if (r < 0) quiet++;
        else n += (size_t)r, quiet = 0;
    }
    close(fd);
    got[n] = 0;
    return got;
}

TEST(torture_real_sockets)
{
    static const char both[] =
        "GET /sync-view HTTP/1.1\r\nHost: h\r\n\r\n"
        "GET /nap?ms=1 HTTP/1.1\r\nHost: h\r\n\r\nbad\n";
    static const aw_route few[] = {
        GET("/sync-view", sync_view), GET("/nap", nap), {NULL}
    };
    aw_config c = quiet_config();
    long k, reached = 1;
    c.routes = few;
    c.port = AW_ANY_PORT;
    for (k = 1; reached; k++) {
        aw_loop_config lc;
        aw_loop *l;
        int rc = AW_ENOMEM, port;
        memset(&lc, 0, sizeof lc);
        lc.log = keep_log;
        lc.debug = k % 2;
        said[0] = 0;
        fault_set(NULL, k, 0);
        l = aw_loop_new(&lc);
        if (l) rc = aw_serve(l, &c);
        NOTE("call %ld fails", k);
        if (rc < 0) {
            CHECK(fault_count >= k);
            fault_set(NULL, 0, 0);
            aw_loop_free(l);
            continue;
        }
        port = aw_serve_port(l);
        (void)converse(l, port, both);
        reached = fault_count >= k;
        fault_set(NULL, 0, 0);
        CHECK(strstr(converse(l, port, both), "nap") != NULL);
        for (int i = 0; i < 50 && l->server->connections; i++)
            (void)aw_loop_step(l, 1);
        CHECK_EQ(0, l->server->connections);
        CHECK_EQ(0, l->tasks);
        CHECK_EQ(0, aw__loop_end(l));
    }
    CHECK(k > 20);
}

/* No memory for a route is not a wrong route. */
TEST(routes_without_memory)
{
    static const aw_asset asset[] = {{"x", "x", 1, NULL}};
    static const aw_route inner[] = {
        BEFORE(sync_view), GET("/long/enough/for/a/block", sync_view), {NULL}
    };
    static const aw_route outer[] = {
        GET("/", sync_view), MOUNT("/inner/<name>", inner),
        ASSETS("/assets/of/many", asset), {NULL}
    };
    aw_config c = quiet_config();
    long k;
    int rc = AW_ENOMEM;
    c.port = AW_ANY_PORT;
    c.routes = outer;
    for (k = 1; rc == AW_ENOMEM; k++) {
        aw_loop_config lc;
        aw_loop *l;
        memset(&lc, 0, sizeof lc);
        lc.log = keep_log;
        l = aw_loop_new(&lc);
        fault_set("alloc", k, ENOMEM);
        rc = aw_serve(l, &c);
        NOTE("allocation %ld fails", k);
        CHECK(rc == 0 || fault_count >= k);
        fault_set(NULL, 0, 0);
        CHECK_EQ(0, aw__loop_end(l));
    }
    CHECK_EQ(0, rc);
    CHECK(k > 8);
}

/* ---- aw_run, with signals ---- */

static void log_to_pipe(void *data, aw_log_level level, const char *line)
{
    int fd = *(const int *)data;
    (void)level;
    (void)!write(fd, line, strlen(line));
    (void)!write(fd, "\n", 1);
}

static int note_fd;

ASYNC_VIEW(nap_and_tell)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 100));
        RETURN(aw_text(req, "nap"));
    } FINALLY {
        log_to_pipe(&note_fd, AW_LOG_INFO, "FINALLY");
    }
}

static const aw_route run_routes[] = {
    GET("/", hello), GET("/nap", nap_and_tell), {NULL}
};

static int start_fails(aw_loop *l, void *data)
{
    (void)l, (void)data;
    return AW_EACCES;
}

static void child_start(child *c, int64_t drain_ms, bool debug,
                        int (*on_start)(aw_loop *, void *))
{
    int ends[2];
    const char *at;
    memset(c, 0, sizeof *c);
    fflush(stdout);
    if (pipe(ends) < 0) abort();
    c->pid = fork();
    if (c->pid == 0) {
        aw_config config;
        memset(&config, 0, sizeof config);
        close(ends[0]);
        note_fd = ends[1];
        config.routes = run_routes;
        config.port = AW_ANY_PORT;
        config.log = log_to_pipe;
        config.log_data = &ends[1];
        config.drain_ms = drain_ms;
        config.debug = debug;
        config.on_start = on_start;
        _exit(aw_run_config(config));
    }
    close(ends[1]);
    c->said = ends[0];
    if (!child_said(c, "Ctrl-C", 1)) return;
    at = strstr(c->log, "http://127.0.0.1:");
    c->port = at ? atoi(at + 17) : 0;
}

/* Whatever was sent before the signal is answered. */
TEST(run_sigterm_loses_nothing)
{
    enum { N = 60 };
    child c;
    int fds[N], status;
    int64_t start;
    child_start(&c, 0, true, NULL);
    CHECK(c.port > 0);
    CHECK(child_said(&c, "GET     /nap", 1));   /* the routes, in debug */
    for (int i = 0; i < N; i++)
        fds[i] = say(c.port, i % 3 == 0 ? GET_("/nap?ms=300") : i % 3 == 1
                     ? GET_("/") GET_("/nap?ms=200") : GET_("/"));
    kill(c.pid, SIGTERM);
    start = aw__sys_now_ms();
    for (int i = 0; i < N; i++) {
        const char *got = hear(fds[i]);
        NOTE("client %d", i);
        if (i % 3 == 0) CHECK_STR("200=nap+", got);
        else if (i % 3 == 2) CHECK(strncmp(got, "200=hello", 9) == 0);
        else CHECK(strncmp(got, "200=hello", 9) == 0);
    }
    status = child_end(&c);
    CHECK_EQ(0, status);
    CHECK(aw__sys_now_ms() - start < 5000);
}

/* SIGUSR1 says what is under way; a client that has gone is no loss. */
TEST(run_sigusr1_dumps)
{
    child c;
    int fd;
    child_start(&c, 0, false, NULL);
    fd = say(c.port, GET_("/") GET_("/nap?ms=60000"));
    CHECK(child_said(&c, "\"GET / HTTP/1.1\" 200 5 ", 1));
    kill(c.pid, SIGUSR1);
    CHECK(child_said(&c, "in nap_and_tell at ", 1));
    CHECK(strstr(c.log, "waits for a timer") != NULL);
    kill(c.pid, SIGUSR1);
    CHECK(child_said(&c, "in nap_and_tell at ", 2));
    close(fd);
    CHECK(child_said(&c, "FINALLY", 1));
    kill(c.pid, SIGINT);
    CHECK_EQ(0, child_end(&c));
}

/* What does not finish in drain_ms is cancelled, and its FINALLY runs. */
TEST(run_drain_ends)
{
    child c;
    int fd;
    int64_t start;
    child_start(&c, 100, false, NULL);
    fd = say(c.port, GET_("/") GET_("/nap?ms=60000"));
    CHECK(child_said(&c, "\"GET / HTTP/1.1\" 200 5 ", 1));
    start = aw__sys_now_ms();
    kill(c.pid, SIGTERM);
    CHECK_STR("200=hello 503+", hear(fd));
    CHECK_EQ(0, child_end(&c));
    CHECK(strstr(c.log, "FINALLY") != NULL);
    CHECK(aw__sys_now_ms() - start < 3000);
}

TEST(run_second_signal_ends_the_drain)
{
    child c;
    int fd;
    int64_t start;
    child_start(&c, AW_OFF, false, NULL);
    fd = say(c.port, GET_("/") GET_("/nap?ms=60000"));
    CHECK(child_said(&c, "\"GET / HTTP/1.1\" 200 5 ", 1));
    start = aw__sys_now_ms();
    kill(c.pid, SIGTERM);
    kill(c.pid, SIGUSR1);       /* an answer: the first was heard */
    CHECK(child_said(&c, "in nap_and_tell at ", 1));
    kill(c.pid, SIGTERM);
    CHECK_STR("200=hello 503+", hear(fd));
    CHECK_EQ(0, child_end(&c));
    CHECK(strstr(c.log, "FINALLY") != NULL);
    CHECK(aw__sys_now_ms() - start < 5000);
}

TEST(run_says_why_it_does_not)
{
    aw_config config = quiet_config();
    child c;
    child_start(&c, 0, false, start_fails);
    CHECK_EQ(1, child_end(&c));
    CHECK(strstr(c.log, "on_start failed") != NULL);
    CHECK(strstr(c.log, aw_strerror(AW_EACCES)) != NULL);
    config.routes = run_routes;
    config.host = "not an address";
    said[0] = 0;
    CHECK_EQ(1, aw_run_config(config));
    CHECK(strstr(said, "cannot serve at not an address port 5000") != NULL);
    config.host = NULL;
    config.port = 70000;
    CHECK_EQ(1, aw_run_config(config));
}

/* ---- what programs written against the first draft were missing ---- */

VIEW(formats)
{
    const char *encoded = aw_url_encode(req, aw_query_or(req, "q", ""));
    return aw_text(req, aw_format(req, "http://up/%s?n=%d", encoded, 7));
}

VIEW(no_todo) { return aw_error(req, 404, "no such \"todo\""); }
VIEW(passes_nothing) { return aw_json(req, NULL); }

ROUTES(small_app, GET("/formats", formats), GET("/no-todo", no_todo),
       GET("/nothing", passes_nothing))

TEST(format_and_url_encode)
{
    aw_test *t = aw_test_open(small_app);
    CHECK_STR(aw_test_get(t, "/formats?q=a/b%20c%3F%C3%A9-._~")->body,
              "http://up/a%2Fb%20c%3F%C3%A9-._~?n=7");
    CHECK_EQ(aw_test_get(t, "/nothing")->status, 502);
    CHECK_EQ(aw_test_close(t), 0);
}

TEST(errors_as_json)
{
    static const aw_header_field json[] = {
        {"Accept", "application/json"}, {NULL, NULL}};
    static const aw_header_field browser[] = {
        {"Accept", "text/html,application/json;q=0.9"}, {NULL, NULL}};
    aw_test *t = aw_test_open(small_app);
    const aw_response *r = aw_test_fetch(t, "/no-todo", .headers = json);
    CHECK_EQ(r->status, 404);
    CHECK_STR(r->body, "{\"status\":404,\"error\":\"Not Found\","
              "\"message\":\"no such \\\"todo\\\"\"}");
    CHECK_STR(aw_test_fetch(t, "/none", .headers = json)->body,
              "{\"status\":404,\"error\":\"Not Found\"}");
    r = aw_test_fetch(t, "/no-todo", .headers = browser);
    CHECK(strstr(r->body, "<p>no such &quot;todo&quot;</p>") != NULL);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- the fast ways and the plain ones ---- */

VIEW(of_length)
{
    const size_t n = (size_t)aw_query_int(req, "n", 0);
    char *text = (char *)aw_alloc(req, n + 1);
    if (!text) return AW_ENOMEM;
    memset(text, 'x', n);
    text[n] = 0;
    return aw_text(req, text);
}

ASYNC_VIEW(of_length_later)
{
    BEGIN { RETURN(aw_plain_of_length(aw_t, req)); }
}

VIEW(seen)
{
    return aw_printf(req, "%s %s", req->route->path, aw_path(req));
}

ROUTES(lengths, GET("/n", of_length), GET("/later", of_length_later))
ROUTES(places,
    GET("/", seen), POST("/", seen), GET("/a", seen), GET("/a/", seen),
    GET("/a/b", seen), PUT("/a/b", seen), GET("/a/<x>", seen),
    POST("/a/<x>", seen), GET("/abcdefgh", seen), GET("/abcdefgh0", seen),
    GET("/a/sixteen-bytes", seen), GET("/a/seventeen-byte", seen),
    GET("/a/seventeen-bytes", seen), GET("/a/seventeen-bytez", seen),
    ANY("/any", seen), GET("/any/<int:n>", seen), GET("/any/1", seen),
    DELETE("/any/<path:rest>", seen), GET("/s/./t", seen),
    GET("/s/u/../t", seen), GET("/a b", seen), GET("/a.txt", seen),
    GET("/..", seen), GET("/50%", seen), GET("/~;@", seen))

/* What most answers get in one go are the bytes that others are put together
   of: date_until in the past leads there. */
TEST(answers_in_one_go_are_the_same)
{
    static const int lengths_of[] = {0, 1, 9, 10, 11, 99, 100, 101, 3000, 16383,
                                     16384, 16385};
    aw_test *t = app_with(lengths, NULL);
    size_t i;
    int k;
    aw_test_loop(t)->debug = false;
    for (i = 0; i < sizeof lengths_of / sizeof *lengths_of; i++)
        for (k = 0; k < 2; k++) {
            char target[80], *first;
            snprintf(target, sizeof target, "GET /%s?n=%d HTTP/1.1\r\n"
                     "Host: x\r\n\r\n", k ? "later" : "n", lengths_of[i]);
            aw_test_loop(t)->server->date_until = INT64_MIN;
            first = strdup(aw_test_raw(t, target, strlen(target), 0));
            CHECK(aw_test_loop(t)->server->date_until > 0);
            CHECK_STR(first, aw_test_raw(t, target, strlen(target), 0));
            free(first);
        }
    CHECK_EQ(0, aw_test_close(t));
}

/* Routes without parameters are found by a table, others in the tree, which
   knows them all. */
TEST(routes_in_the_table_and_in_the_tree)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT",
                                          "DELETE", "PATCH", "OPTIONS"};
    static const char *const paths[] = {
        "/", "/a", "/a/", "/a/b", "/a/c", "/a/b/", "/b", "/abcdefgh",
        "/abcdefgh0", "/abcdefg", "/abcdefghi", "/a/sixteen-bytes",
        "/a/sixteen-bytez", "/a/seventeen-byte", "/a/seventeen-bytes",
        "/a/seventeen-bytez", "/a/seventeen-bytex", "/any", "/any/1", "/any/2",
        "/any/x", "/a?b", "/a%2e", "/%61", "/A", "/s/./t", "/s/u/../t", "/s/t",
        "/a%20b", "/a.txt", "/..", "/50%25", "/50%", "/~;@", "/~%3B@"};
    aw_test *t = app_with(places, NULL);
    aw__router *r = aw_test_loop(t)->server->router;
    size_t i, m;
    CHECK(r->exact != NULL && r->mask >= 15);
    for (i = 0; i < sizeof paths / sizeof *paths; i++)
        for (m = 0; m < sizeof methods / sizeof *methods; m++) {
            aw__exact *exact = r->exact;
            char target[80], *first;
            snprintf(target, sizeof target, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n",
                     methods[m], paths[i]);
            NOTE("%s %s", methods[m], paths[i]);
            r->exact = NULL;
            first = strdup(aw_test_raw(t, target, strlen(target), 0));
            r->exact = exact;
            CHECK_STR(first, aw_test_raw(t, target, strlen(target), 0));
            free(first);
        }
    CHECK_EQ(0, aw_test_close(t));
}

/* Async views that end in every way that there is, at once or later. */
typedef struct kinds_much { char some[600]; } kinds_much;
static int kinds_deferred, kinds_final;
static void kinds_defer(void *p) { (void)p; kinds_deferred++; }

ASYNC(kinds_child, (int64_t ms; int rc;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, self->ms);
        RETURN(self->rc);
    }
}

ASYNC(kinds_spawned, (aw_req *req; const char *text;))
{
    BEGIN {
        AWAIT(aw_sleep_ms, 3);
        CHECK_STR("kept", self->text);
        CHECK_STR("v", aw_query(self->req, "q"));
    }
}

ASYNC_VIEW(kinds, const char *how; int a, b; char large[300]; aw_task task;)
{
    BEGIN {
        self->how = aw_param(req, "how");
        if (!strcmp(self->how, "defers")) DEFER(kinds_defer, NULL);
        if (!strcmp(self->how, "status")) RETURN(204);
        if (!strcmp(self->how, "chosen")) {
            aw_status(req, 201);
            RETURN(aw_text(req, "made"));
        }
        if (!strcmp(self->how, "other")) {
            aw_text(req, "said one, returned another");
            RETURN(418);
        }
        if (!strcmp(self->how, "error")) RETURN(AW_EINVAL);
        if (!strcmp(self->how, "http")) RETURN(AW_HTTP(409));
        if (!strcmp(self->how, "message"))
            RETURN(aw_error(req, 404, "no such thing"));
        if (!strcmp(self->how, "nothing")) RETURN(0);
        if (!strcmp(self->how, "strange")) RETURN(77);
        if (!strcmp(self->how, "header")) aw_set_header(req, "X-A", "b");
        if (!strcmp(self->how, "fails"))
            AWAIT(kinds_child, 0, AW_EBADMSG);
        if (!strcmp(self->how, "fails-later"))
            AWAIT(kinds_child, 2, AW_EBADMSG);
        if (!strcmp(self->how, "children")) {
            START_TO(self->a, kinds_child, 1, 7);
            START_TO(self->b, kinds_child, 2, 8);
            GATHER();
        }
        if (!strcmp(self->how, "left")) START(kinds_child, 1000, 0);
        if (!strcmp(self->how, "child-fails")) {
            START(kinds_child, 0, AW_EIO);
            AWAIT(aw_sleep_ms, 5);
        }
        if (!strcmp(self->how, "deadline"))
            AWAIT_FOR(1, kinds_child, 50, 0);
        if (!strcmp(self->how, "cancels")) aw_cancel(AW_SELF());
        if (!strcmp(self->how, "cancels-late")) {
            aw_cancel(AW_SELF());
            AWAIT(aw_sleep_ms, 1);
        }
        if (!strcmp(self->how, "joins")) {
            self->task = SPAWN(kinds_child, 0, 5);
            AWAIT_TO(self->a, aw_join, self->task);
        }
        if (!strcmp(self->how, "spawns"))
            SPAWN(kinds_spawned, req, aw_strdup(req, "kept"));
        if (!strcmp(self->how, "much")) memset(aw_alloc(req, 5000), 1, 5000);
        if (!strcmp(self->how, "frame")) (void)aw_frame_new(kinds_much);
        if (!strcmp(self->how, "sleeps")) {
            self->large[299] = 1;
            AWAIT(aw_sleep_ms, 2);
        }
        if (!strcmp(self->how, "sleeps-twice")) {
            AWAIT(aw_sleep_ms, 0);
            AWAIT(aw_sleep_ms, 1);
        }
        RETURN(aw_printf(req, "%s %s %s %s %d %d %s", self->how, aw_path(req),
                         aw_query(req, "q") ? aw_query(req, "q") : "-",
                         aw_header(req, "B") ? aw_header(req, "B")
                             : "-", self->a, self->b,
                         aw_method(req)));
    } FINALLY {
        kinds_final++;
        if (!strcmp(self->how, "final-waits")) AWAIT(aw_sleep_ms, 1);
        if (!strcmp(self->how, "final-fails")) AWAIT(kinds_child, 0, AW_EIO);
        if (!strcmp(self->how, "final-at-once")) AWAIT(kinds_child, 0, 0);
    }
}

ASYNC_VIEW(kinds_bare) { BEGIN { RETURN(aw_text(req, "bare")); } }
ASYNC_VIEW(kinds_bare_error) { BEGIN { RETURN(AW_EINVAL); } }
ASYNC_VIEW(kinds_falls) { BEGIN { aw_text(req, "no RETURN"); } }

ROUTES(kinds_app, ANY("/<how>", kinds), ANY("/k/bare", kinds_bare),
       ANY("/k/error", kinds_bare_error), ANY("/k/falls", kinds_falls))

static void kinds_no_op(aw__task *t) { (void)t; }

/* What the request is answered with, and what the log says. Somebody else asks
   for something else meanwhile. */
static char *kinds_ask(aw_test *t, const char *request, int times)
{
    static const char other[] = "GET /sleeps?q=other&longer=yes HTTP/1.1\r\n"
        "Host: another\r\nX: 1\r\nB: other\r\nY: 2\r\n\r\n";
    wire w = wire_open(t), o;
    char *all;
    size_t n;
    said[0] = 0;
    kinds_deferred = kinds_final = 0;
    wire_say(&w, request);
    o = wire_open(t);
    wire_say(&o, other);
    aw_test_advance(t, 3000);
    wire_settle(&o);
    wire_settle(&w);
    CHECK(strstr(o.got, "sleeps /sleeps other other 0 0 GET") != NULL);
    CHECK(w.n > 0);
    if (!w.n) w.got = strdup("");
    if (strstr(w.got, "Date: ")) memset(strstr(w.got, "Date: "), '-', 35);
    n = strlen(w.got) + strlen(said) + 60;
    all = (char *)malloc(n);
    snprintf(all, n, "%s|%s|%d %d", w.got, said, kinds_deferred, kinds_final);
    wire_close(&w);
    wire_close(&o);
    aw_test_advance(t, 10);
    NOTE("%.40s, time %d", request, times);
    CHECK_EQ(0, aw_test_loop(t)->tasks);
    return all;
}

/* The plain way of a view: by the loop, in the usual block. The fast ones: it
   runs where its head was parsed; its task lies in its request; once a view
   has slept, its requests get blocks that fit. All say the same, and leave the
   same behind. */
TEST(views_in_fast_ways_and_in_the_plain_one)
{
    static const struct {
        const char *how;
        int status;
    } rows[] = {
        {"plain", 200}, {"defers", 200}, {"status", 204}, {"chosen", 201},
        {"other", 418}, {"error", 500}, {"http", 409}, {"message", 404},
        {"nothing", 500},
        {"strange", 500}, {"header", 200}, {"fails", 502},
        {"fails-later", 502}, {"children", 200}, {"left", 200},
        {"child-fails", 500}, {"deadline", 504}, {"cancels", 200},
        {"cancels-late", 503}, {"joins", 200}, {"spawns", 200}, {"much", 200},
        {"frame", 200}, {"sleeps", 200}, {"sleeps-twice", 200},
        {"final-waits", 200}, {"final-fails", 200}, {"final-at-once", 200},
        {"k/bare", 200}, {"k/error", 500}, {"k/falls", 500}};
    static const char *const forms[] = {
        "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%s?q=v HTTP/1.1\r\nHost: h\r\nB: c\r\nD: %.250s\r\n\r\n",
        "GET http://h/%s?q=v HTTP/1.1\r\nHost: h\r\nB: c\r\n\r\n",
        "HEAD /%s?q=v HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /z/../%s?q=%%76 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%s?q=v HTTP/1.0\r\nB: %.900s\r\n\r\n",
        "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"};
    aw_config c = quiet_config();
    aw_test *t = app_with(kinds_app, &c);
    aw_loop *l = aw_test_loop(t);
    char long_value[1000], request[2000];
    size_t i, k;
    int times;
    memset(long_value, 'e', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = 0;
    l->debug = false;
    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        for (k = 0; k < sizeof forms / sizeof *forms; k++) {
            char *plain, *fast;
            aw__target *target = l->server->router->first;
            if (!strcmp(rows[i].how, "spawns") && !strstr(forms[k], "q=v"))
                continue;
            snprintf(request, sizeof request, forms[k], rows[i].how, long_value);
            for (; target; target = target->later) target->sleeper = 0;
            l->on_suspend = kinds_no_op;
            plain = kinds_ask(t, request, 0);
            CHECK_EQ(rows[i].status, atoi(plain + 9));
            l->on_suspend = NULL;
            target = l->server->router->first;
            for (; target; target = target->later) target->sleeper = 0;
            for (times = 1; times < 4; times++) {
                fast = kinds_ask(t, request, times);
                CHECK_STR(plain, fast);
                free(fast);
            }
            free(plain);
        }
    CHECK_EQ(0, aw_test_close(t));
}

/* The slot of a view that ended at once is taken again: a handle of the last
   one stays that of one that has ended. */
static aw_task own_handle;
static int own_result;
ASYNC_VIEW(joins_own)
{
    BEGIN {
        AWAIT_TO(own_result, aw_join, own_handle);
        RETURN(aw_text(req, "joined"));
    }
}
ASYNC_VIEW(tells_its_handle)
{
    BEGIN {
        own_handle = AW_SELF();
        RETURN(aw_text(req, "told"));
    }
}
ROUTES(handles_app, GET("/", tells_its_handle), GET("/bare", kinds_bare),
       GET("/joins", joins_own))

TEST(handles_of_views_that_ended)
{
    /* What debug mode calls is there then. */
    aw_test *t = (test_debug = true, app_with(handles_app, NULL));
    int i, k;
    for (k = 0; k < 2; k++) {
        aw_test_loop(t)->debug = k == 1;
        for (i = 0; i < 3; i++) {
            CHECK_STR("200 told", get(t, "/"));
            for (int n = 0; n < i; n++) CHECK_STR("200 bare", get(t, "/bare"));
            aw_cancel(own_handle);
            CHECK_STR("200 joined", get(t, "/joins"));
            CHECK(own_result == 200 || own_result == AW_ENOTASK);
        }
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* ---- what a fresh eye found ---- */

VIEW(captured) { return aw_text(req, aw_param(req, "rest")); }
ROUTES(captured_app, GET("/f/<path:rest>", captured),
       GET("/one/<rest>", captured))

TEST(no_parameter_climbs)
{
    static const struct {
        const char *target;
        int status;
    } rows[] = {
        {"/f/a/b", 200}, {"/f/a%2Fb", 200}, {"/f/a%20b", 200},
        {"/f/..%2f..%2fetc/passwd", 400}, {"/f/a%2f..%2fb", 400},
        {"/f/a%2F.%2Fb", 400}, {"/f/a%2f..", 400}, {"/one/..%2fx", 400},
        {"/one/a%2f%2e%2e", 400}, {"/one/..x%2fy..", 200}, {"/one/%2e%2e", 404},
        {"/f/...%2f...", 200}, {"/one/%252e%252e%252f", 200}
    };
    aw_test *t = aw_test_open(captured_app);
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s", rows[i].target);
        CHECK_EQ(aw_test_get(t, rows[i].target)->status, rows[i].status);
    }
    CHECK_EQ(aw_test_close(t), 0);
}

/* Events are stamped with the time they came: a connection that spoke after a
   long wait is idle from then on. */
TEST(idle_counts_from_the_last_word)
{
    aw_config c;
    aw_test *t;
    aw_loop *l;
    aw__address at;
    int fd = -1;
    char got[400];
    memset(&c, 0, sizeof c);
    c.idle_ms = 3000;
    t = aw_test_open(small_app, .config = &c);
    l = aw_test_loop(t);
    (void)aw__address_parse("127.0.0.1", aw_serve_port(l), &at);
    (void)aw__io_connect(l, &at, &fd);
    aw_test_advance(t, 2500);
    CHECK_EQ(31, aw__io_send(l, fd, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
                             31));
    aw_test_advance(t, 2900);
    CHECK(aw__io_recv(l, fd, got, sizeof got) > 0);
    CHECK_EQ(aw__io_recv(l, fd, got, sizeof got), AW_EAGAIN);
    aw_test_advance(t, 200);
    CHECK_EQ(aw__io_recv(l, fd, got, sizeof got), 0);
    aw__io_close(l, fd);
    CHECK_EQ(aw_test_close(t), 0);
}

/* ---- /fetch-data of the tutorial: upstream down, silent, client gone ---- */

static int asked, asked_finally;

ASYNC_VIEW(asks_upstream, aw_response *reply;)
{
    BEGIN {
        asked++;
        AWAIT_FOR(5000, aw_get, &self->reply, "http://127.0.0.1:7777/posts/1");
        RETURN(aw_json(req, aw_response_json(self->reply)));
    } FINALLY { asked_finally++; }
}

ROUTES(asking_app, GET("/fetch-data", asks_upstream))

TEST(upstream_down_silent_or_client_gone)
{
    aw_test *t = aw_test_open(asking_app);
    aw_loop *l = aw_test_loop(t);
    aw__address at, up;
    int upstream = -1, port, fd = -1, before;
    int64_t start;
    asked = asked_finally = 0;
    CHECK_EQ(aw_test_get(t, "/fetch-data")->status, 502);
    (void)aw__address_parse("127.0.0.1", 7777, &up);
    CHECK(aw__io_listen(l, &up, &upstream, &port) >= 0);
    start = aw_test_now_ms(t);
    CHECK_EQ(aw_test_get(t, "/fetch-data")->status, 504);
    CHECK_EQ(aw_test_now_ms(t) - start, 5000);
    before = l->sim->open;
    (void)aw__address_parse("127.0.0.1", aw_serve_port(l), &at);
    (void)aw__io_connect(l, &at, &fd);
    CHECK_EQ(37, aw__io_send(l, fd, "GET /fetch-data HTTP/1.1\r\nHost: a\r\n"
                             "\r\n", 37));
    aw_test_advance(t, 100);
    CHECK_EQ(asked, 3);
    CHECK_EQ(asked_finally, 2);
    CHECK_EQ(l->sim->open, before + 3);     /* both ends, and the fetch */
    aw__io_close(l, fd);
    aw_test_advance(t, 10);
    CHECK_EQ(asked_finally, 3);
    CHECK_EQ(l->sim->open, before);
    aw__io_close(l, upstream);
    CHECK_EQ(aw_test_close(t), 0);
}

/* Without ASYNCWEB_FIXED_MEMORY nobody may think that he has it. */
TEST(memory_refused)
{
    static char buffer[100000];
    aw_config c = quiet_config();
    aw_loop_config lc;
    memset(&lc, 0, sizeof lc);
    lc.log = keep_log;
    lc.memory = c.memory = buffer;
    lc.memory_size = c.memory_size = sizeof buffer;
    said[0] = 0;
    CHECK(aw_loop_new(&lc) == NULL);
    CHECK(strstr(said, ".memory needs ASYNCWEB_FIXED_MEMORY") != NULL);
    said[0] = 0;
    CHECK_EQ(1, aw_run_config(c));
    CHECK(strstr(said, ".memory needs ASYNCWEB_FIXED_MEMORY") != NULL);
}
