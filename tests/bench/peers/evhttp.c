/* evhttp.c: libevent's HTTP server. evhttp PORT */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <arpa/inet.h>
#include <stdlib.h>

static void answer(struct evhttp_request *req)
{
    struct evbuffer *body = evbuffer_new();

    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
                      "text/plain; charset=utf-8");
    evbuffer_add(body, "Hello, World!", 13);
    evhttp_send_reply(req, 200, "OK", body);
    evbuffer_free(body);
}

static void hello(struct evhttp_request *req, void *base)
{
    (void)base;
    answer(req);
}

static void awake(evutil_socket_t fd, short what, void *req)
{
    (void)fd, (void)what;
    answer(req);
}

static void sleeps(struct evhttp_request *req, void *base)
{
    const struct timeval second = {1, 0};
    event_base_once(base, -1, EV_TIMEOUT, awake, req, &second);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    struct sockaddr_in a = {0};

    if (argc < 2) return 2;
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((unsigned short)atoi(argv[1]));
    if (!evhttp_bind_listener(http, evconnlistener_new_bind(
            base, NULL, NULL, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE, 4096,
            (struct sockaddr *)&a, sizeof a))) return 1;
    evhttp_set_cb(http, "/", hello, base);
    evhttp_set_cb(http, "/sleep", sleeps, base);
    event_base_dispatch(base);
}
