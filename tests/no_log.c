/* no_log.c: with ASYNCWEB_NO_LOG nothing is written, and .log is not called;
   else all is as ever. */
#define ASYNCWEB_NO_LOG
#define ASYNCWEB_STATIC
#include "http.h"

VIEW(hi) { return aw_text(req, "hello"); }
VIEW(fails) { (void)req; return AW_EIO; }

ROUTES(app, GET("/", hi), GET("/fails", fails), POST("/x", hi))

TEST(nothing_is_said)
{
    static const aw_route wrong[] = {GET("x", hi), {.method = NULL}};
    aw_config config = quiet_config();
    aw_test *t;
    CHECK(app_with(wrong, &config) == NULL);
    CHECK_STR("", said);
    config.access_log = 0;
    config.debug = true;
    t = app_with(app, &config);
    CHECK_STR("200 hello", get(t, "/"));
    CHECK_STR("500 ", get(t, "/fails"));
    CHECK_EQ(405, ask(t, "GET", "/x", NULL, NULL)->status);
    CHECK_STR("POST, OPTIONS", aw_response_header(ask(t, "GET", "/x", NULL,
                                                      NULL), "Allow"));
    CHECK_EQ(0, aw_test_close(t));
    CHECK_STR("", said);
}

/* Where no .log is, it is the standard error that stays empty. */
TEST(nothing_is_written)
{
    aw_config config = quiet_config();
    int ends[2], was = dup(2);
    char byte;
    aw_test *t;
    config.log = NULL;
    config.access_log = 0;
    CHECK_EQ(0, pipe(ends));
    CHECK_EQ(2, dup2(ends[1], 2));
    t = app_with(app, &config);
    CHECK_STR("500 ", get(t, "/fails"));
    CHECK_EQ(0, aw_test_close(t));
    CHECK_EQ(2, dup2(was, 2));
    close(ends[1]);
    CHECK_EQ(0, (long long)read(ends[0], &byte, 1));
    close(ends[0]);
    close(was);
}
