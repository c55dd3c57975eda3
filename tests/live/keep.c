/* keep.c: one client, N requests one after the other on one connection.

   keep PORT PATH N: exits 0 when each was answered 200. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in to;
    char request[300], answer[4096];
    int fd = socket(AF_INET, SOCK_STREAM, 0), i, n;
    if (argc < 4 || fd < 0) return 2;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    n = snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) return 1;
    for (i = 0; i < atoi(argv[3]); i++) {
        if (send(fd, request, (size_t)n, 0) != n) return 1;
        if (recv(fd, answer, sizeof answer, 0) < 15) return 1;
        if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0) return 1;
    }
    close(fd);
    return 0;
}
