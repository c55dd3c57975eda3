/* microhttpd.c: libmicrohttpd with its own epoll thread. microhttpd PORT */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Its answers to come, in the order of their time: all sleep for a second. */
static struct asleep {
    struct MHD_Connection *connection;
    struct timespec until;
} asleep[20000];
static size_t first, last;
enum { MOST = sizeof asleep / sizeof *asleep };

static enum MHD_Result hello(void *data, struct MHD_Connection *connection,
                             const char *url, const char *method,
                             const char *version, const char *upload,
                             size_t *upload_size, void **state)
{
    struct MHD_Response *response;
    struct asleep *a;
    enum MHD_Result rc;

    (void)data, (void)method, (void)version, (void)upload, (void)upload_size;
    if (!*state) {          /* the head has come; the next call is for all */
        *state = connection;
        return MHD_YES;
    }
    if (strcmp(url, "/sleep") == 0 && *state == connection) {
        *state = asleep;
        a = &asleep[last];
        a->connection = connection;
        clock_gettime(CLOCK_MONOTONIC, &a->until);
        a->until.tv_sec++;
        MHD_suspend_connection(connection);
        last = (last + 1) % MOST;
        return MHD_YES;
    }
    response = MHD_create_response_from_buffer(13, "Hello, World!",
                                               MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type",
                            "text/plain; charset=utf-8");
    rc = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return rc;
}

/* Wakes whose second is over; milliseconds until there is more to do. */
static int wake(void)
{
    const size_t before = first;
    struct timespec now;
    long ms;

    clock_gettime(CLOCK_MONOTONIC, &now);
    for (; first != last; first = (first + 1) % MOST) {
        ms = (long)(asleep[first].until.tv_sec - now.tv_sec) * 1000 +
             (asleep[first].until.tv_nsec - now.tv_nsec) / 1000000;
        if (ms > 0) return first != before ? 0 : (int)ms;
        MHD_resume_connection(asleep[first].connection);
    }
    return first != before ? 0 : -1;
}

/* One thread: its loop is turned here. */
int main(int argc, char **argv)
{
    struct sockaddr_in a = {0};
    struct MHD_Daemon *d;
    struct pollfd p = {0, POLLIN, 0};
    int ms;

    if (argc < 2) return 2;
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((unsigned short)atoi(argv[1]));
    d = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
                         NULL, hello, NULL, MHD_OPTION_SOCK_ADDR, &a,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096u,
                         MHD_OPTION_CONNECTION_LIMIT, 15000u, MHD_OPTION_END);
    if (!d) return 1;
    p.fd = MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    for (;;) {
        MHD_UNSIGNED_LONG_LONG timeout;
        ms = wake();
        if (MHD_get_timeout(d, &timeout) == MHD_YES &&
            (ms < 0 || timeout < (unsigned)ms)) ms = (int)timeout;
        poll(&p, 1, ms);
        MHD_run(d);
    }
}
