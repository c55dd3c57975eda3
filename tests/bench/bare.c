/* bare.c: what a server on epoll cannot be faster than. It counts blank lines
   and answers each with the same bytes; it reads nothing else of a request.

   bare PORT   at 127.0.0.1

   /upload is the other limit: whoever sends "POST" has its bytes received and
   thrown away, and is answered when it has sent all, as Content-Length says.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER \
    "HTTP/1.1 200 OK\r\n" \
    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" \
    "Content-Type: text/plain; charset=utf-8\r\n" \
    "Content-Length: 13\r\n" \
    "\r\n" \
    "Hello, World!"

enum { AT_ONCE = 512, MOST = 65536, SIZE = sizeof ANSWER - 1 };

static char answers[AT_ONCE * SIZE];
static char some[65536];
static unsigned char matched[MOST];     /* bytes of the blank line, so far */
static long long body[MOST];            /* bytes of an upload still to come */

/* How many requests end in these bytes: a request may come in pieces. */
static size_t count(int fd, const char *p, size_t n)
{
    static const char blank[] = "\r\n\r\n";
    const char *end = p + n;
    size_t found = 0, m = matched[fd];

    while (p < end) {
        if (m == 0) {
            p = memchr(p, '\r', (size_t)(end - p));
            if (!p) break;
        }
        m = *p == blank[m] ? m + 1 : *p == '\r';
        p++;
        if (m == 4) {
            found++;
            m = 0;
        }
    }
    matched[fd] = (unsigned char)m;
    return found;
}

/* The head of an upload is taken to come whole. */
static size_t upload(int fd, const char *p, size_t n)
{
    const char *length = memmem(p, n, "Content-Length: ", 16);
    const char *head_end = memmem(p, n, "\r\n\r\n", 4);

    if (body[fd] == 0) {
        if (!length || !head_end) return 0;
        body[fd] = atoll(length + 16);
        n -= (size_t)(head_end + 4 - p);
    }
    body[fd] -= (long long)n;
    return body[fd] == 0;
}

/* false: the client has gone. */
static bool serve(int fd)
{
    ssize_t n = recv(fd, some, sizeof some, 0);
    size_t found;

    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    if (body[fd] > 0 || memcmp(some, "POST", 4) == 0)
        found = upload(fd, some, (size_t)n);
    else
        found = count(fd, some, (size_t)n);
    if (found > AT_ONCE) return false;
    return found == 0 || send(fd, answers, found * SIZE, MSG_NOSIGNAL) ==
                             (ssize_t)(found * SIZE);
}

static void take(int poller, int listener)
{
    int fd, on = 1;
    struct epoll_event e;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MOST) exit(1);
        matched[fd] = 0;
        body[fd] = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static int listen_at(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in a = {0};

    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((unsigned short)port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) {
        perror("bare");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    int listener = listen_at(argc > 1 ? atoi(argv[1]) : 5000);
    int poller = epoll_create1(0), i, n;
    struct epoll_event e = {0}, ready[256];

    for (i = 0; i < AT_ONCE; i++) memcpy(answers + i * SIZE, ANSWER, SIZE);
    e.events = EPOLLIN;
    e.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        n = epoll_wait(poller, ready, 256, -1);
        for (i = 0; i < n; i++) {
            if (ready[i].data.fd == listener)
                take(poller, listener);
            else if (!serve(ready[i].data.fd))
                close(ready[i].data.fd);
        }
    }
}
