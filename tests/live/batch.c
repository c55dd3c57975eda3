/* batch.c: one client, N times three requests at once; the second answer comes
   a millisecond after the first, and nothing is sent meanwhile. Its kernel
   delays each ACK for as long as it may, 40 ms: were answers to wait for that
   of those before, so would each batch.

   batch PORT N: exits 0 when all were answered; prints the milliseconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

/* Sends it, and takes so many bytes, or what comes first. 0: that is wrong. */
static size_t ask(int fd, const char *what, size_t want)
{
    static char got[4096];
    const int at_once = 0;
    size_t n = 0;
    ssize_t r;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &at_once, sizeof at_once);
    if (send(fd, what, strlen(what), MSG_NOSIGNAL) < 0) return 0;
    do {
        r = recv(fd, got + n, sizeof got - n, 0);
        if (r <= 0) return 0;
        n += (size_t)r;
    } while (n < want);
    return strncmp(got, "HTTP/1.1 200 ", 13) == 0 ? n : 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in to;
    struct timespec a, b;
    size_t each;
    int fd = socket(AF_INET, SOCK_STREAM, 0), i;
    if (argc < 3 || fd < 0) return 2;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 1;
    each = ask(fd, GET("/"), 1);        /* all are of one size */
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (i = 0; i < atoi(argv[2]); i++)
        if (each == 0 ||
            ask(fd, GET("/") GET("/soon") GET("/"), 3 * each) != 3 * each)
            return 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%ld\n", (long)(b.tv_sec - a.tv_sec) * 1000 +
           (b.tv_nsec - a.tv_nsec) / 1000000);
    return 0;
}
