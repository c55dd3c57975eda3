/* https.c: a server that speaks TLS, for those who have no proxy in front, and
   sends those who come without to the right address. TLS 1.2, by BearSSL.

   cc -DASYNCWEB_BEARSSL examples/https.c -o https -lbearssl && ./https

   https [port] [certificate] [key] [plain port]: 5443, cert.pem, key.pem, off.
   The files are PEM, as certbot makes them (fullchain.pem, privkey.pem); after
   a renewal, kill -HUP. For a try on one's own machine:

   $ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
       -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 30 \
       -keyout key.pem -out cert.pem 2>/dev/null
   $ ./https 0 missing.pem; echo $?
   ...missing.pem: no such file...
   1

   and then: curl --cacert cert.pem https://localhost:5443/
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

VIEW(hello)
{
    return aw_html(req, aw_format(req, "<!doctype html><title>TLS</title>\n"
                                  "<p>Hello over %s, %s!\n",
                                  aw_scheme(req), aw_peer(req)));
}

/* HSTS (RFC 6797): who has been here once comes by TLS from then on. */
VIEW(secure)
{
    const int *port = aw_data(req);
    const char *host = aw_host(req);
    if (strcmp(aw_scheme(req), "https") == 0)
        return aw_set_header(req, "Strict-Transport-Security",
                             "max-age=31536000");
    if (!host) return 400;
    return aw_redirect(req, aw_format(req, "https://%.*s:%d%s",
                                      (int)strcspn(host, ":"), host, *port,
                                      aw_raw_target(req)));
}

ROUTES(app, BEFORE(secure), GET("/", hello))

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 5443;
    int plain = argc > 4 ? atoi(argv[4]) : 0;
    char listen[80] = "";
    if (plain) snprintf(listen, sizeof listen, "tls:*:%d *:%d", port, plain);
    return aw_run(app, .port = port, .listen = plain ? listen : NULL,
                  .data = &port,
                  .tls = {.certificate = argc > 2 ? argv[2] : "cert.pem",
                          .key = argc > 3 ? argv[3] : "key.pem"});
}
