/* child.h: for tests of aw_run in a process of its own, and its clients. */
#ifndef CHILD_H
#define CHILD_H

#include "http.h"
#include <poll.h>
#include <sys/time.h>

typedef struct child {
    pid_t pid;
    int port, said;             /* the reading end of its log */
    char log[200000];
    size_t n;
} child;

/* Reads the child's log until it holds `text`, for 10 s at most. */
AW__UNUSED
static bool child_said(child *c, const char *text, int times)
{
    const int64_t end = aw__sys_now_ms() + 10000;
    struct pollfd ready = {c->said, POLLIN, 0};
    for (;;) {
        const char *p = c->log;
        int seen = 0;
        ssize_t n;
        for (; (p = strstr(p, text)) != NULL; p++) seen++;
        if (seen >= times) return true;
        if (poll(&ready, 1, end > aw__sys_now_ms()
                 ? (int)(end - aw__sys_now_ms()) : 0) <= 0) return false;
        n = read(c->said, c->log + c->n, sizeof c->log - 1 - c->n);
        if (n <= 0) return false;
        c->n += (size_t)n;
        c->log[c->n] = 0;
    }
}

AW__UNUSED
static int child_end(child *c)
{
    int status = -1;
    (void)child_said(c, "\1never\1", 1);        /* until it is gone */
    close(c->said);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

/* A listener that it gets as systemd would pass it. */
static int child_inherits = -1;

static void child_inherit(void)
{
    char pid[20];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    dup2(child_inherits, AW__INHERITED);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
}

/* It serves, in a group of its own with its workers. What all say on the
   standard error is its log; it ends when the last of them is gone. */
AW__UNUSED
static bool child_serves(child *c, const aw_config *config)
{
    int ends[2];
    const char *at;
    memset(c, 0, sizeof *c);
    fflush(stdout);
    if (pipe(ends) < 0) abort();
    c->pid = fork();
    if (c->pid < 0) abort();
    if (c->pid == 0) {
        (void)setpgid(0, 0);
        close(ends[0]);
        dup2(ends[1], 2);
        close(ends[1]);
        if (child_inherits >= 0) child_inherit();
        aw__say("rc %d", aw_run_config(*config));
        _exit(0);
    }
    (void)setpgid(c->pid, c->pid);
    close(ends[1]);
    c->said = ends[0];
    if (!child_said(c, "Ctrl-C", 1)) return false;
    at = strstr(c->log, "http://127.0.0.1:");
    c->port = at ? atoi(at + 17) : 0;
    return c->port > 0;
}

AW__UNUSED
static int dial(int port)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) abort();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

AW__UNUSED
static int say(int port, const char *text)
{
    const struct timeval most = {10, 0};        /* for hear() */
    int fd = dial(port);
    fcntl(fd, F_SETFL, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    CHECK_EQ(strlen(text), write(fd, text, strlen(text)));
    return fd;
}

/* Blocks until the other side has ended; closes. */
AW__UNUSED
static const char *hear(int fd)
{
    static char got[4096];
    static char text[4096];
    size_t n = 0;
    ssize_t r;
    while ((r = read(fd, got + n, sizeof got - 1 - n)) > 0) n += (size_t)r;
    got[n] = 0;
    close(fd);
    return r < 0 ? "reset" : digest_of(got, n, false, text, sizeof text);
}

#define GET_(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

#endif
