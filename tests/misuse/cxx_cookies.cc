/* runs */
/* by: g++ clang++ flags: -std=c++20 */
#include "misuse.h"

static const aw_cors_config cors = {.origins = "*", .methods = "GET"};

VIEW(named)
{
    if (aw_set_cookie(req, "a", "1") != 0) return 500;
    if (aw_set_cookie(req, "b", "2", .path = "/x", .max_age = 60,
                      .http_only = true, .secure = true, .same_site = "None",
                      .domain = "d") != 0) return 500;
    if (aw_delete_cookie(req, "c") != 0) return 500;
    if (aw_delete_cookie(req, "d", .path = "/x") != 0) return 500;
    return aw_cors(req, &cors) < 0 ? 500 : 204;
}

/* Before C++20. */
VIEW(by_hand)
{
    aw_cookie_config c = aw_cookie_config();
    c.name = "a";
    c.value = "1";
    return aw_set_cookie_config(req, c) < 0 ? 500 : 204;
}

ROUTES(app, GET("/", named), GET("/by-hand", by_hand))

int main()
{
    aw_test *t = aw_test_open(app);
    const aw_response *r = aw_test_get(t, "/");
    int cookies = 0;
    for (const aw_header_field *h = r->headers; h && h->name; h++)
        cookies += strcmp(h->name, "Set-Cookie") == 0;
    AW_EXPECT(t, r->status == 204 && cookies == 4);
    AW_EXPECT(t, aw_test_get(t, "/by-hand")->status == 204);
    return aw_test_close(t);
}
