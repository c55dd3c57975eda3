/* load.c: N clients at once, each sends one request and waits for the answer.

   load PORT PATH N: prints "N answered, WORST ms" and exits 0 when every answer
   was a whole 200. Plain poll(): it is a client of ours, not of our making. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16000 };

static struct pollfd sockets[MOST];
static char answers[MOST][1024];
static size_t sizes[MOST];

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int open_one(int port)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) return -1;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    return errno == EINPROGRESS ? fd : -1;
}

/* True when answer i is whole: its head says how long its body is. */
static int whole(int i)
{
    const char *body, *length;
    answers[i][sizes[i]] = 0;
    body = strstr(answers[i], "\r\n\r\n");
    length = strstr(answers[i], "Content-Length: ");
    if (!body || !length) return 0;
    return strlen(body + 4) >= strtoul(length + 16, NULL, 10);
}

/* One event of socket i. Returns 1 when it has its answer, -1 on an error. */
static int step(int i, const char *request)
{
    ssize_t n;
    if (sockets[i].events == POLLOUT) {
        n = send(sockets[i].fd, request, strlen(request), MSG_NOSIGNAL);
        if (n < 0) return -1;
        sockets[i].events = POLLIN;
        return 0;
    }
    n = recv(sockets[i].fd, answers[i] + sizes[i],
             sizeof answers[i] - 1 - sizes[i], 0);
    if (n <= 0) return -1;
    sizes[i] += (size_t)n;
    if (!whole(i)) return 0;
    return strncmp(answers[i], "HTTP/1.1 200 ", 13) == 0 ? 1 : -1;
}

int main(int argc, char **argv)
{
    char request[300];
    double start = now_ms(), worst = 0;
    int port = argc > 1 ? atoi(argv[1]) : 5000, answered = 0, failed = 0, i;
    int n = argc > 3 ? atoi(argv[3]) : 2000;
    if (argc < 3 || n > MOST) return 2;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n"
             "\r\n", argv[2]);
    for (i = 0; i < n; i++) {
        sockets[i].fd = open_one(port);
        sockets[i].events = POLLOUT;
        if (sockets[i].fd < 0) failed++;
    }
    while (answered + failed < n && now_ms() - start < 30000) {
        if (poll(sockets, (nfds_t)n, 1000) < 0) break;
        for (i = 0; i < n; i++) {
            int done = sockets[i].revents ? step(i, request) : 0;
            if (done > 0) answered++, worst = now_ms() - start;
            if (done < 0) failed++;
            if (done != 0) close(sockets[i].fd), sockets[i].fd = -1;
        }
    }
    printf("%d of %d answered, the last after %.0f ms\n", answered, n, worst);
    return answered != n;
}
