/* drive.c: N clients that never rest, on connections that stay and on new ones.

   drive PORT PATH N MS [FRESH]: each client sends a request, reads the answer
   and sends the next, for MS milliseconds, on the same connection until that
   says Connection: close; every FRESH-th request (never) has a new one anyhow.
   Prints "A answered in T ms, R refused, B broken" and how many answers there
   were of each body, up to 16 of them: "BODY*COUNT ...". Exits 0 when nothing
   was refused or broken. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000, BODIES = 16 };

static struct pollfd sockets[MOST];
static char answers[MOST][2048];
static size_t sizes[MOST];
static int served[MOST];        /* by this connection */
static struct { char text[40]; long count; } bodies[BODIES];
static struct sockaddr_in to;
static char request[300];
static long answered, refused, broken, asked;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void ask(int i)
{
    asked++;
    sizes[i] = 0;
    if (send(sockets[i].fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        broken++;
}

static void renew(int i)
{
    if (sockets[i].fd >= 0) close(sockets[i].fd);
    sockets[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    sockets[i].events = POLLIN;
    served[i] = 0;
    if (connect(sockets[i].fd, (struct sockaddr *)&to, sizeof to) < 0)
        refused++;
}

static void count(const char *text)
{
    int i;
    for (i = 0; i < BODIES; i++) {
        if (!bodies[i].text[0])
            snprintf(bodies[i].text, sizeof bodies[i].text, "%s", text);
        if (strncmp(bodies[i].text, text, sizeof bodies[i].text - 1)) continue;
        bodies[i].count++;
        return;
    }
}

/* What has come. True: this client is done with its request, well or not. */
static int hear(int i, int *last)
{
    const char *body, *length;
    const ssize_t n = recv(sockets[i].fd, answers[i] + sizes[i],
                           sizeof answers[i] - 1 - sizes[i], 0);
    if (n <= 0) {
        broken++;
        fprintf(stderr, "broken after %d answers and %zu bytes%s\n", served[i],
                sizes[i], n < 0 ? ": reset" : "");
        *last = 1;
        return 1;
    }
    sizes[i] += (size_t)n;
    answers[i][sizes[i]] = 0;
    body = strstr(answers[i], "\r\n\r\n");
    length = strstr(answers[i], "Content-Length: ");
    if (!body || !length || strlen(body + 4) < strtoul(length + 16, NULL, 10))
        return 0;
    if (strncmp(answers[i], "HTTP/1.1 200 ", 13) != 0) broken++;
    else answered++;
    served[i]++;
    count(body + 4);
    *last = strstr(answers[i], "Connection: close") != NULL;
    return 1;
}

int main(int argc, char **argv)
{
    const double start = now_ms();
    int n = argc > 3 ? atoi(argv[3]) : 0, waits = 0, i;
    const int ms = argc > 4 ? atoi(argv[4]) : 0;
    const int fresh = argc > 5 ? atoi(argv[5]) : 0;
    if (n < 1 || n > MOST) return 2;
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n"
             "\r\n", argv[2]);
    for (i = 0; i < n; i++) {
        sockets[i].fd = -1;
        renew(i);
        ask(i);
    }
    for (waits = n; waits > 0;) {
        const int over = now_ms() - start > ms;
        if (poll(sockets, (nfds_t)n, 10000) <= 0) {
            broken += waits;
            break;
        }
        for (i = 0; i < n; i++) {
            int last = 0;
            if (sockets[i].fd < 0 || !sockets[i].revents || !hear(i, &last))
                continue;
            if (over) {
                close(sockets[i].fd);
                sockets[i].fd = -1;
                waits--;
                continue;
            }
            if (last || (fresh && asked % fresh == 0)) renew(i);
            ask(i);
        }
    }
    printf("%ld answered in %.0f ms, %ld refused, %ld broken:", answered,
           now_ms() - start, refused, broken);
    for (i = 0; i < BODIES && bodies[i].count; i++)
        printf(" %s*%ld", bodies[i].text, bodies[i].count);
    printf("\n");
    return refused + broken > 0;
}
