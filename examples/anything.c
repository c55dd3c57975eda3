/* anything.c: says what it was asked, whatever the method and the target.

   cc examples/anything.c -o anything && ./anything

   $ curl -s -X PATCH 'localhost:5000/a%20b?c=1' -H 'X-A: b' -d hello
   {"method":"PATCH","target":"/a%20b?c=1","headers":[...["X-A","b"],...
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

/* RFC 4648 section 4; the text belongs to the request. */
static const char *base64(aw_req *req, aw_slice from)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)from.p;
    char *text = (char *)aw_alloc(req, (from.n + 2) / 3 * 4 + 1), *to = text;
    if (!to) return NULL;
    for (size_t i = 0; i < from.n; i += 3) {
        size_t left = from.n - i;
        unsigned three = p[i] * 65536u + (left > 1 ? p[i + 1] * 256u : 0)
            + (left > 2 ? p[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    *to = 0;
    return text;
}

VIEW(anything)
{
    aw_json_writer *w = aw_json_begin(req);
    const char *name, *value;
    aw_put_object(w, NULL);
    aw_put_str(w, "method", aw_method(req));
    aw_put_str(w, "target", aw_raw_target(req));
    aw_put_array(w, "headers");
    for (size_t i = 0; aw_header_at(req, i, &name, &value); i++) {
        aw_put_array(w, NULL);
        aw_put_str(w, NULL, name);
        aw_put_str(w, NULL, value);
        aw_put_end(w);
    }
    aw_put_end(w);
    aw_put_str(w, "body_b64", base64(req, aw_body(req)));
    aw_put_end(w);
    return aw_json_send(w);
}

ROUTES(app, ANY("/", anything), ANY("/<path:rest>", anything))

int main(int argc, char **argv)
{
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000);
}
