/* one_file.c: with ASYNCWEB_STATIC what no row of a table asks for is not
   there; what one asks for is. */
#define ASYNCWEB_STATIC
#include "http.h"

VIEW(hi) { return aw_text(req, "hello"); }
VIEW(form_a) { return aw_text(req, aw_form(req, "a") ? aw_form(req, "a") : "-"); }
VIEW(method) { return aw_text(req, aw_method(req)); }
VIEW(page) { return aw_text(req, "no such page"); }

VIEW(marks)
{
    (void)aw_set_header(req, "X-Hook", "ran");
    return 0;
}

static const char *submit(aw_test *t, const char *method, const char *path)
{
    static char out[500];
    static const char body[] = "--B\r\nContent-Disposition: form-data; "
        "name=a\r\n\r\n1\r\n--B--";
    char head[200];
    const int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: a\r\n"
                           "Content-Type: multipart/form-data; boundary=B\r\n"
                           "Content-Length: %d\r\nConnection: close\r\n\r\n",
                           method, path, (int)sizeof body - 1);
    char all[600];
    const char *got, *text;
    CHECK(n > 0 && (size_t)n < sizeof head);
    got = aw_test_raw(t, all, (size_t)snprintf(all, sizeof all, "%s%s", head,
                                               body), 0);
    text = strstr(got, "\r\n\r\n");
    snprintf(out, sizeof out, "%.3s %s%s", got + 9, text ? text + 4 : "",
             strstr(got, "X-Hook: ran") ? " hooked" : "");
    return out;
}

ROUTES(bare, GET("/", form_a))
ROUTES(forms, GET("/get", form_a), POST("/", form_a),
       ROUTE("PROPFIND", "/dav", method, .max_body = 1000))
ROUTES(inner, AFTER(marks), GET("/hi", hi), ON_ERROR(404, page))
ROUTES(hooked, GET("/", hi), MOUNT("/in", inner))

/* RFC 9110 9.3.1: a body of GET has no meaning, so it is no form. */
TEST(forms_come_with_a_method_for_them)
{
    aw_config config = quiet_config();
    aw_test *t = app_with(bare, &config);
    CHECK_STR("200 -", submit(t, "GET", "/"));
    CHECK_EQ(0, aw_test_close(t));
    t = app_with(forms, &config);
    CHECK_STR("200 1", submit(t, "POST", "/"));
    CHECK_STR("200 -", submit(t, "GET", "/get"));
    CHECK_STR("200 PROPFIND", submit(t, "PROPFIND", "/dav"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(hooks_come_with_their_rows)
{
    aw_config config = quiet_config();
    aw_test *t = app_with(hooked, &config);
    CHECK_STR("200 hello", submit(t, "GET", "/"));
    CHECK_STR("200 hello hooked", submit(t, "GET", "/in/hi"));
    CHECK_STR("404 no such page hooked", submit(t, "GET", "/in/none"));
    CHECK_EQ(0, aw_test_close(t));
}

/* Those do not say what they need. */
TEST(rows_made_by_hand)
{
    static const aw_route rows[][2] = {
        {{.method = "POST", .path = "/", .view = &aw_view_hi}, {.method = NULL}},
        {{.method = "AFTER", .view = &aw_view_marks, .kind = AW_ROW_AFTER},
         {.method = NULL}},
        {{.method = "GET", .path = "/", .view = &aw_view_marks,
          .kind = AW_ROW_BEFORE}, {.method = NULL}}};
    aw_config config = quiet_config();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(app_with(rows[i], &config) == NULL);
        CHECK(strstr(said, rows[i]->method) != NULL);
        CHECK(strstr(said, "made by hand") != NULL);
    }
}
