/* workers.c: aw_run with several processes. They are real ones, and so is the
   clock; but nothing waits for time to pass, only for what is to happen. */
#include "child.h"

/* ---- an application that says who it is ---- */

/* Shared by all processes: how often on_start was called, from when on it
   fails, and which never returns; who hangs in a view. */
typedef struct team_common {
    volatile int starts, fails_from, hangs_at, hung;
} team_common;

static team_common *team_shared;

VIEW(team_pid) { return aw_printf(req, "%d", (int)getpid()); }

VIEW(team_crash)
{
    (void)req;
    (void)raise(SIGKILL);
    return 0;
}

VIEW(team_hang)
{
    (void)req;
    team_shared->hung = (int)getpid();
    for (;;) (void)pause();
    return 0;
}

VIEW(team_halt)
{
    aw_serve_stop(aw_t->loop);
    return aw_text(req, "bye");
}

ASYNC_VIEW(team_nap)
{
    BEGIN {
        AWAIT(aw_sleep_ms, aw_query_int(req, "ms", 300));
        RETURN(aw_printf(req, "%d", (int)getpid()));
    } FINALLY {
        aw__say("FINALLY");
    }
}

ASYNC_VIEW(team_guard)
{
    BEGIN {
        AWAIT(aw_sleep_ms, AW_FOREVER);
    } FINALLY {
        aw_serve_stop(aw_t->loop);
    }
}

ROUTES(team_app, GET("/", team_pid), GET("/crash", team_crash),
       GET("/halt", team_halt), GET("/nap", team_nap),
       GET("/hang", team_hang), GET("/guard", team_guard))

static int team_start(aw_loop *l, void *data)
{
    (void)l, (void)data;
    while (team_shared->starts + 1 == team_shared->hangs_at) (void)pause();
    return ++team_shared->starts >= team_shared->fails_from ? AW_EACCES : 0;
}

static void team_stop(void *data)
{
    (void)data;
    aw__say("on_stop %d", (int)getpid());
}

static aw_config team_config(int workers)
{
    aw_config config;
    memset(&config, 0, sizeof config);
    config.routes = team_app;
    config.port = AW_ANY_PORT;
    config.workers = workers;
    config.on_start = team_start;
    config.on_stop = team_stop;
    config.access_log = AW_OFF;
    return config;
}

static bool team_open(child *c, const aw_config *config, int fails_from)
{
    if (!team_shared)
        team_shared = (team_common *)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    team_shared->starts = team_shared->hangs_at = team_shared->hung = 0;
    team_shared->fails_from = fails_from;
    return child_serves(c, config);
}

static bool team_at(child *c, int workers)
{
    const aw_config config = team_config(workers);
    return team_open(c, &config, INT_MAX);
}

/* Until all are gone: the last line tells what aw_run returned. -1: it did
   not return, or twice. */
static int team_end(child *c)
{
    const char *rc, *p;
    (void)child_said(c, "\1never\1", 1);
    if (c->pid > 1) (void)killpg(c->pid, SIGKILL);      /* who hangs */
    (void)child_end(c);
    rc = strstr(c->log, "rc ");
    for (p = c->log; (p = strstr(p, "rc ")) != NULL; p++)
        if (p != rc) return -1;
    return rc ? atoi(rc + 3) : -1;
}

/* The worker that was the n-th to serve; 0. */
static int team_worker(child *c, int n)
{
    const char *p = c->log;
    if (!child_said(c, " serves\n", n)) return 0;
    for (; n > 0; n--) p = strstr(p, " serves\n") + 1;
    for (p -= 2; *p >= '0' && *p <= '9'; p--) {}
    return atoi(p + 1);
}

/* Never all processes, which is what kill() takes -1 for, nor this group. */
static void team_kill(int pid, int number)
{
    CHECK(pid > 1);
    if (pid > 1) kill(pid, number);
}

static int team_times(const child *c, const char *text)
{
    const char *p = c->log;
    int n = 0;
    for (; (p = strstr(p, text)) != NULL; p++) n++;
    return n;
}

/* One answer on a connection that stays: its text, "" when there is none; *last
   when it says that the connection closes. */
static const char *team_ask(int fd, const char *request, bool *last)
{
    static char got[1000], text[400];
    size_t n = 0;
    const char *body;
    got[0] = 0;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) return "";
    while (!(body = strstr(got, "\r\n\r\n")) ||
           strlen(body + 4) < strtoul(strstr(got, "Length: ") + 8, NULL, 10)) {
        ssize_t r = read(fd, got + n, sizeof got - 1 - n);
        if (r <= 0) return "";
        n += (size_t)r;
        got[n] = 0;
    }
    *last = strstr(got, "Connection: close") != NULL;
    snprintf(text, sizeof text, "%.3s %s", got + 9, body + 4);
    return text;
}

static int team_dial(const child *c)
{
    return say(c->port, "");
}

/* How many sockets listen at its port; -1: nobody can tell. */
static int team_listeners(const child *c)
{
    FILE *f = fopen("/proc/net/tcp", "r");
    char line[300], at[20];
    int n = 0;
    if (!f) return -1;
    snprintf(at, sizeof at, ":%04X 00000000:", c->port);
    while (fgets(line, sizeof line, f))
        n += strstr(line, at) && strstr(line, ":0000 0A ");
    fclose(f);
    return n;
}

/* Who says so; 0: nobody. */
static int team_who(const char *answer)
{
    return *answer ? atoi(answer + 4) : 0;
}

/* A connection to that worker, which may be the other's turn often. */
static int team_dial_worker(const child *c, int pid)
{
    int i;
    for (i = 0; i < 1000; i++) {
        bool last;
        const int fd = team_dial(c);
        if (team_who(team_ask(fd, GET_("/"), &last)) == pid) return fd;
        close(fd);
    }
    return -1;
}

static int team_ask_worker(const child *c, int pid, const char *request)
{
    const int fd = team_dial_worker(c, pid);
    CHECK(fd >= 0);
    (void)!write(fd, request, strlen(request));
    return fd;
}

/* Whether the log says so by now; waits for nothing. */
static bool team_says(child *c, const char *text, int times)
{
    struct pollfd p = {c->said, POLLIN, 0};
    while (poll(&p, 1, 0) == 1) {
        const ssize_t n = read(c->said, c->log + c->n,
                               sizeof c->log - 1 - c->n);
        if (n <= 0) break;
        c->n += (size_t)n;
        c->log[c->n] = 0;
    }
    return team_times(c, text) >= times;
}

static bool team_gone(int pid)
{
    return pid > 1 && kill(pid, 0) < 0 && errno == ESRCH;
}

/* ---- without the kernel ---- */

TEST(team_rests_longer_and_longer)
{
    static const int ms[] = {0, 0, 100, 200, 400, 800, 1600, 3200, 3200, 3200};
    int i;
    for (i = 0; i < 10; i++) CHECK_EQ(ms[i], aw__team_rest(i));
    CHECK_EQ(3200, aw__team_rest(INT_MAX));
}

/* Who has not come to serve when it is asked to leave: the parent sleeps until
   it is to be killed. */
TEST(team_sleeps_until_one_is_to_be_killed)
{
    static aw_loop l;
    aw__place place;
    aw__team t;
    memset((void *)&t, 0, sizeof t);
    memset(&place, 0, sizeof place);
    l.now = 100000;
    t.loop = &l;
    t.places = &place;
    t.count = t.stops = place.now.pid = 1;
    place.now.kill_at = l.now + 500;
    place.before.kill_at = AW_FOREVER;
    CHECK_EQ(0, aw__team_wait(&t));
    place.now.leaves = true;
    CHECK_EQ(500, aw__team_wait(&t));
}

/* SIGHUP while one has not come to serve yet: when it does, it stays until who
   follows it serves. */
TEST(team_late_one_serves_before_its_successor)
{
    aw_loop *l = aw_loop_new(NULL);
    aw__place place;
    aw__team t;
    int ends[2];
    memset((void *)&t, 0, sizeof t);
    memset(&place, 0, sizeof place);
    CHECK_EQ(0, aw__sys_pair(ends));
    t.loop = l;
    place.before.line = ends[0];
    place.before.pid = place.now.pid = getpid();
    place.before.late = true;
    place.before.kill_at = AW_FOREVER;
    CHECK_EQ(1, aw__sys_send(ends[1], "r", 1));
    aw__team_letters(&t, &place, &place.before);
    CHECK(place.before.serves && !place.before.leaves);
    aw__sys_close(ends[0]);
    aw__sys_close(ends[1]);
    aw_loop_free(l);
}

static pid_t team_corpse(void)
{
    siginfo_t about;
    const pid_t pid = fork();
    if (pid < 0) abort();
    if (pid == 0) _exit(1);
    CHECK_EQ(0, waitid(P_PID, (id_t)pid, &about, WEXITED | WNOWAIT));
    return pid;
}

static void team_log(void *data, aw_log_level level, const char *line)
{
    (void)data, (void)level, (void)line;
}

/* A new worker and the one before it end, and one SIGCHLD tells of both. */
TEST(team_two_of_a_place_end_at_once)
{
    aw_loop *l = aw_loop_new(NULL);
    aw__place place;
    aw__team t;
    memset((void *)&t, 0, sizeof t);
    memset(&place, 0, sizeof place);
    l->log = team_log;
    t.loop = l;
    t.places = &place;
    t.count = 1;
    place.falls = 3;
    place.before.line = place.now.line = -1;
    place.before.kill_at = place.now.kill_at = AW_FOREVER;
    place.before.serves = true;
    place.before.pid = team_corpse();
    place.now.pid = team_corpse();
    CHECK_EQ(aw__team_rest(4), aw__team_step(&t));  /* until one starts */
    CHECK(!place.now.pid && !place.before.pid);
    aw_loop_free(l);
}

/* ---- serving ---- */

TEST(team_both_serve)
{
    child c;
    int a, b, fd;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1), b = team_worker(&c, 2);
    CHECK(a > 0 && b > 0 && a != b);
    CHECK(team_listeners(&c) == 2 || team_listeners(&c) < 0);
    CHECK((fd = team_dial_worker(&c, a)) >= 0);
    close(fd);
    CHECK((fd = team_dial_worker(&c, b)) >= 0);
    close(fd);
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
    CHECK(team_gone(a) && team_gone(b));
    CHECK_EQ(2, team_times(&c, "on_stop"));
}

/* Its parent alone hears of the second: both may have had the first. */
TEST(team_drains)
{
    child c;
    int fds[40], i, a;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1);
    for (i = 0; i < 40; i++) fds[i] = say(c.port, GET_("/nap?ms=200"));
    close(team_dial_worker(&c, a));     /* the naps have begun */
    if (c.pid > 1) killpg(c.pid, SIGTERM);
    for (i = 0; i < 40; i++) CHECK(strncmp(hear(fds[i]), "200=", 4) == 0);
    CHECK_EQ(0, team_end(&c));
    CHECK_EQ(40, team_times(&c, "FINALLY"));
    CHECK_EQ(2, team_times(&c, "on_stop"));
    CHECK(!strstr(c.log, "ended"));
}

TEST(team_second_signal_ends_the_drain)
{
    child c;
    int64_t start;
    int a, b, fds[2];
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1), b = team_worker(&c, 2);
    fds[0] = team_ask_worker(&c, a, GET_("/nap?ms=60000"));
    fds[1] = team_ask_worker(&c, b, GET_("/nap?ms=60000"));
    close(team_ask_worker(&c, a, ""));
    close(team_ask_worker(&c, b, ""));
    start = aw__sys_now_ms();
    team_kill(c.pid, SIGTERM);
    team_kill(c.pid, SIGUSR1);
    CHECK(child_said(&c, "in team_nap at ", 2));
    CHECK(!strstr(c.log, "FINALLY"));
    while (team_listeners(&c) > 0 && aw__sys_now_ms() - start < 3000)
        (void)poll(NULL, 0, 1);
    CHECK(team_listeners(&c) <= 0);     /* nobody waits in vain */
    team_kill(c.pid, SIGINT);
    CHECK_STR("503+", hear(fds[0]));
    CHECK_STR("503+", hear(fds[1]));
    CHECK_EQ(0, team_end(&c));
    CHECK_EQ(2, team_times(&c, "FINALLY"));
}

TEST(team_death_in_the_drain)
{
    child c;
    int a, fd;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1);
    fd = team_ask_worker(&c, a, GET_("/nap?ms=60000"));
    close(team_ask_worker(&c, a, ""));
    team_kill(c.pid, SIGTERM);
    team_kill(a, SIGKILL);
    close(fd);
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, "was killed by signal 9\n"));
    CHECK_EQ(1, team_times(&c, "on_stop"));
}

/* Each says who it is. */
TEST(team_sigusr1_dumps)
{
    child c;
    char by[30];
    int a, fd;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 2);
    fd = team_ask_worker(&c, a, GET_("/nap?ms=60000"));
    close(team_ask_worker(&c, a, ""));
    team_kill(c.pid, SIGUSR1);
    CHECK(child_said(&c, "in team_nap at ", 1));
    snprintf(by, sizeof by, "\n[%d] ", a);
    CHECK(strstr(c.log, by) != NULL);
    close(fd);
    team_kill(c.pid, SIGINT);
    CHECK_EQ(0, team_end(&c));
}

/* Two write to one pipe that is full all the time, and no line is torn. */
TEST(team_access_log_lines_are_whole)
{
    enum { CLIENTS = 60, EACH = 20 };
    aw_config config = team_config(2);
    child c;
    int i, k, fds[CLIENTS], lines = 0;
    char *line;
    config.access_log = 0;
    CHECK(team_open(&c, &config, INT_MAX));
#ifdef F_SETPIPE_SZ
    (void)fcntl(c.said, F_SETPIPE_SZ, 4096);
#endif
    for (i = 0; i < CLIENTS; i++) {
        char request[EACH * 60] = "";
        for (k = 1; k < EACH; k++) strcat(request, GET_("/"));
        strcat(request, "GET / HTTP/1.0\r\nHost: h\r\n\r\n");
        fds[i] = say(c.port, request);
    }
    CHECK(child_said(&c, " 200 ", CLIENTS * EACH));
    for (i = 0; i < CLIENTS; i++) CHECK_EQ('2', hear(fds[i])[0]);
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
    for (line = strtok(c.log, "\n"); line; line = strtok(NULL, "\n")) {
        if (!strstr(line, " - - ") && !strstr(line, " 200 ")) continue;
        NOTE("%.150s", line);
        CHECK(strncmp(line, "127.0.0.1 - - [", 15) == 0);
        CHECK(strstr(line, "] \"GET / HTTP/1.") != NULL);
        CHECK(strcmp(line + strlen(line) - 2, "ms") == 0);
        lines++;
    }
    CHECK_EQ(CLIENTS * EACH, lines);
}

/* ---- who dies is replaced ---- */

TEST(team_killed_worker_is_replaced)
{
    child c;
    int a, b, fd;
    bool last = false;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1), b = team_worker(&c, 2);
    fd = team_dial_worker(&c, b);
    team_kill(a, SIGKILL);
    CHECK(child_said(&c, "was killed by signal 9; another starts\n", 1));
    CHECK(child_said(&c, " serves\n", 3));
    CHECK_EQ(b, team_who(team_ask(fd, GET_("/"), &last)));
    CHECK(!last);
    close(fd);
    close(team_dial_worker(&c, team_worker(&c, 3)));
    CHECK(team_gone(a));        /* no zombie */
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

TEST(team_crash_loop_backs_off)
{
    child c;
    int i;
    CHECK(team_at(&c, 1));
    for (i = 1; i <= 4; i++) {
        CHECK(child_said(&c, " serves\n", i));
        CHECK_STR("", hear(say(c.port, GET_("/crash"))));
    }
    CHECK(child_said(&c, "another starts\n", 1));
    CHECK(child_said(&c, "another starts in 100 ms\n", 1));
    CHECK(child_said(&c, "another starts in 200 ms\n", 1));
    CHECK(child_said(&c, "another starts in 400 ms\n", 1));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* What was dealt to a place that rests is answered when all stop. */
TEST(team_stop_while_a_place_rests)
{
    child c;
    int i, fds[16];
    CHECK(team_at(&c, 2));
    for (i = 1; i <= 4; i++) {
        const int pid = team_worker(&c, i == 1 ? 1 : i + 1);
        team_kill(pid, SIGKILL);
        CHECK(child_said(&c, "was killed", i));
    }
    CHECK(child_said(&c, "in 400 ms", 1));
    for (i = 0; i < 16; i++) fds[i] = say(c.port, GET_("/"));
    team_kill(c.pid, SIGTERM);
    for (i = 0; i < 16; i++) CHECK(strncmp(hear(fds[i]), "200=", 4) == 0);
    CHECK_EQ(0, team_end(&c));
}

/* Somebody stops one: it drains, another comes. */
TEST(team_worker_told_to_stop)
{
    child c;
    int a, fd;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1);
    fd = team_ask_worker(&c, a, GET_("/nap?ms=200"));
    close(team_ask_worker(&c, a, ""));
    team_kill(a, SIGTERM);
    team_kill(a, SIGUSR1);
    CHECK(child_said(&c, "in team_nap at ", 1));
    team_kill(a, SIGTERM);      /* only the parent's second one ends it */
    CHECK(strncmp(hear(fd), "200=", 4) == 0);
    CHECK(child_said(&c, "ended with status 0; another starts\n", 1));
    CHECK(child_said(&c, " serves\n", 3));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

TEST(team_view_stops_all)
{
    child c;
    CHECK(team_at(&c, 2));
    CHECK_STR("200=bye+", hear(say(c.port, GET_("/halt"))));
    CHECK_EQ(0, team_end(&c));
    CHECK(team_times(&c, "on_stop") >= 2);      /* 3: its queue is looked at */
}

/* Its workers notice, finish what they do, and are gone. */
TEST(team_parent_dies)
{
    child c;
    int a, fd;
    CHECK(team_at(&c, 2));
    a = team_worker(&c, 1);
    fd = team_ask_worker(&c, a, GET_("/nap?ms=200"));
    close(team_ask_worker(&c, a, ""));
    team_kill(c.pid, SIGKILL);
    CHECK(strncmp(hear(fd), "200=", 4) == 0);
    CHECK_EQ(-1, team_end(&c));
    CHECK_EQ(2, team_times(&c, "on_stop"));
}

/* One that hangs in a view is killed when its time is over; the others drain as
   if it were not there. */
TEST(team_view_that_hangs)
{
    aw_config config = team_config(2);
    child c;
    char text[60];
    int a, b, fd, other;
    config.drain_ms = 800;
    config.cleanup_ms = 100;
    CHECK(team_open(&c, &config, INT_MAX));
    a = team_worker(&c, 1), b = team_worker(&c, 2);
    fd = team_dial_worker(&c, a);
    other = team_ask_worker(&c, b, GET_("/nap?ms=400"));
    close(team_dial_worker(&c, b));     /* it has begun */
    (void)!write(fd, GET_("/hang"), strlen(GET_("/hang")));
    while (team_shared->hung != a) (void)poll(NULL, 0, 1);
    team_kill(c.pid, SIGTERM);
    CHECK(strncmp(hear(other), "200=", 4) == 0);
    CHECK_EQ(1, team_end(&c));
    close(fd);
    snprintf(text, sizeof text, "worker %d does not end: killed\n", a);
    CHECK(strstr(c.log, text) != NULL);
    CHECK_EQ(1, team_times(&c, "was killed by signal 9"));
    CHECK_EQ(1, team_times(&c, "on_stop"));
    CHECK(team_gone(a));
}

/* One that hangs in on_start does not keep others from being replaced. */
TEST(team_start_that_hangs)
{
    aw_config config = team_config(2);
    child c;
    int b;
    config.drain_ms = 300;
    config.cleanup_ms = 100;
    CHECK(team_open(&c, &config, INT_MAX));
    b = team_worker(&c, 2);
    team_shared->hangs_at = 3;
    team_kill(team_worker(&c, 1), SIGKILL);
    CHECK(child_said(&c, "does not come to serve: on_start", 1));
    team_shared->hangs_at = 0;
    team_kill(b, SIGKILL);
    CHECK(child_said(&c, " serves\n", 3));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, "does not end: killed\n"));
}

/* ---- SIGHUP ---- */

/* One client after the other, on connections that stay and on new ones, while
   all workers are replaced three times: every request is answered. */
TEST(team_restart_loses_nothing)
{
    enum { CLIENTS = 12, ROUNDS = 3 };
    child c;
    int fds[CLIENTS], i, round, asked = 0, closed = 0;
    CHECK(team_at(&c, 2));
    for (i = 0; i < CLIENTS; i++) fds[i] = team_dial(&c);
    for (round = 1; round <= ROUNDS; round++) {
        team_kill(c.pid, SIGHUP);
        for (i = 0; !team_says(&c, "on_stop", 2 * round) ||
             !team_says(&c, "all workers are new", round); i++) {
            bool last = false;
            int *fd = &fds[i % CLIENTS];
            NOTE("request %d", asked++);
            CHECK(strncmp(team_ask(*fd, GET_("/"), &last), "200 ", 4) == 0);
            if (!last && i % 3) continue;
            closed += last;
            close(*fd);
            *fd = team_dial(&c);
            if (test_.failures) break;
        }
    }
    CHECK(closed > 0);
    CHECK_EQ(ROUNDS, team_times(&c, "all workers are new"));
    CHECK_EQ(2 * ROUNDS + 2, team_times(&c, " serves\n"));
    for (i = 0; i < CLIENTS; i++) close(fds[i]);
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* A connection that idles when its worker is to leave is still heard. */
TEST(team_restart_keeps_idle_connections)
{
    child c;
    int a, fd;
    bool last = false;
    CHECK(team_at(&c, 1));
    a = team_worker(&c, 1);
    fd = team_dial_worker(&c, a);
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 1));
    while (!last) {
        const int by = team_who(team_ask(fd, GET_("/"), &last));
        CHECK_EQ(a, by);
        if (by != a) break;
    }
    close(fd);
    CHECK(child_said(&c, "on_stop", 1));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* ... and whose view stops all. */
TEST(team_stop_by_one_that_leaves)
{
    child c;
    int fd;
    bool last = false;
    CHECK(team_at(&c, 1));
    fd = team_dial_worker(&c, team_worker(&c, 1));
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 1));
    while (!last && team_ask(fd, GET_("/halt"), &last)[0]) {}
    close(fd);
    CHECK_EQ(0, team_end(&c));
    CHECK_EQ(2, team_times(&c, "on_stop"));
}

/* What is cancelled at the end of one that leaves stops nobody else. */
TEST(team_stop_in_a_clean_up)
{
    aw_config config = team_config(1);
    child c;
    int fd;
    config.drain_ms = 100;
    CHECK(team_open(&c, &config, INT_MAX));
    fd = team_ask_worker(&c, team_worker(&c, 1), GET_("/guard"));
    close(team_dial_worker(&c, team_worker(&c, 1)));    /* it has begun */
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "on_stop", 1));
    close(fd);
    close(team_dial_worker(&c, team_worker(&c, 2)));
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 2));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* SIGTERM while somebody leaves gently: idle connections end at once. */
TEST(team_stop_during_a_restart)
{
    child c;
    int64_t start;
    int a, fds[2];
    bool last = false;
    char byte;
    CHECK(team_at(&c, 1));
    a = team_worker(&c, 1);
    fds[0] = team_dial_worker(&c, a);
    fds[1] = team_dial_worker(&c, a);
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 1));
    while (!last && team_ask(fds[0], GET_("/"), &last)[0]) {}
    close(fds[0]);
    team_kill(c.pid, SIGTERM);
    start = aw__sys_now_ms();
    CHECK_EQ(0, read(fds[1], &byte, 1));
    close(fds[1]);
    CHECK_EQ(0, team_end(&c));
    CHECK(aw__sys_now_ms() - start < 3000);     /* half of drain_ms is 5 s */
    CHECK_EQ(2, team_times(&c, "on_stop"));
}

TEST(team_restart_that_fails_changes_nothing)
{
    const aw_config config = team_config(2);
    child c;
    int a, b;
    CHECK(team_open(&c, &config, 4));       /* the second new one fails */
    b = team_worker(&c, 2);
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "; those before stay\n", 1));
    a = team_worker(&c, 3);
    close(team_dial_worker(&c, a));
    close(team_dial_worker(&c, b));
    team_shared->fails_from = INT_MAX;
    team_kill(c.pid, SIGHUP);
    CHECK(child_said(&c, "all workers are new", 1));
    CHECK(child_said(&c, "on_stop", 3));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
    CHECK_EQ(5, team_times(&c, " serves\n"));
}

/* ---- starting ---- */

TEST(team_says_why_it_does_not_start)
{
    aw_config config = team_config(3);
    child c;
    int used = -1, fd;
    aw__address at = aw__address_loopback(4, 0);
    CHECK(!team_open(&c, &config, 2));      /* the second worker fails */
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, "on_start failed; not serving"));
    CHECK_EQ(1, team_times(&c, "ended with status 1; not serving"));
    CHECK_EQ(1, team_times(&c, "on_stop"));
    fd = aw__sys_socket(AF_INET);
    CHECK_EQ(0, aw__io_bind(fd, &at, &used));
    config.port = used;
    CHECK(!team_open(&c, &config, INT_MAX));
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, aw_strerror(AW_EADDRINUSE)));
    CHECK_EQ(0, team_times(&c, "worker"));
    close(fd);
    config.workers = -3;
    CHECK(!team_open(&c, &config, INT_MAX));
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, aw_strerror(AW_EINVAL)));
}

/* Nobody else gets the port either, with SO_REUSEPORT or not. */
static int team_blind_fault(const char *call)
{
    errno = EBADF;
    return !strcmp(call, "epoll_wait") || !strcmp(call, "poll");
}

static int team_blind(aw_loop *l, void *data)
{
    (void)l, (void)data;
    test_fault = team_blind_fault;
    return 0;
}

/* A loop that cannot wait ends, and says so. */
TEST(team_says_why_it_stops)
{
    aw_config config = team_config(0);
    child c;
    config.on_start = team_blind;
    (void)team_open(&c, &config, INT_MAX);
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, "it cannot wait: "));
    config = team_config(1);
    test_fault = team_blind_fault;      /* of its parent, too */
    (void)team_open(&c, &config, INT_MAX);
    test_fault = NULL;
    CHECK_EQ(1, team_end(&c));
    CHECK_EQ(1, team_times(&c, "asyncweb: stops, ") -
                team_times(&c, "] asyncweb: stops, "));
}

TEST(team_port_in_use_is_found_out)
{
    child c, d;
    aw_config config = team_config(2);
    CHECK(team_at(&c, 2));
    config.port = c.port;
    CHECK(!team_open(&d, &config, INT_MAX));
    CHECK_EQ(1, team_end(&d));
    CHECK(strstr(d.log, aw_strerror(AW_EADDRINUSE)) != NULL);
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

TEST(team_is_one_process)
{
    aw_config config = team_config(4);
    child c;
    char text[40];
    int mode;
    for (mode = 0; mode < 3; mode++) {
        config.debug = mode == 0;
        config.workers = mode == 0 ? 4 : mode == 1 ? (int)AW_OFF : 0;
        CHECK(team_open(&c, &config, INT_MAX));
        CHECK_EQ(mode == 0, team_times(&c, "debug: one process"));
        snprintf(text, sizeof text, "200=%d+", (int)c.pid);
        CHECK_STR(text, hear(say(c.port, "GET / HTTP/1.1\r\nHost: h\r\n"
                                 "Connection: close\r\n\r\n")));
        team_kill(c.pid, SIGTERM);
        CHECK_EQ(0, team_end(&c));
    }
}

TEST(team_per_core)
{
    child c;
    CHECK(team_at(&c, AW_PER_CORE));
    CHECK(aw__sys_cores() >= 1);
    CHECK_EQ(aw__sys_cores(), team_times(&c, " serves\n"));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* Shared by all, and removed by the parent only. */
TEST(team_unix_socket)
{
    aw_config config = team_config(2);
    char dir[] = "/tmp/aw-workers-XXXXXX", path[60], list[80];
    aw__sys_address a;
    struct stat file;
    child c;
    int fd;
    bool last;
    if (!mkdtemp(dir)) abort();
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(list, sizeof list, "127.0.0.1:0 unix:%s", path);
    config.listen = list;
    CHECK(team_open(&c, &config, INT_MAX));
    team_kill(team_worker(&c, 1), SIGTERM);
    CHECK(child_said(&c, " serves\n", 3));
    memset(&a, 0, sizeof a);
    a.un.sun_family = AF_UNIX;
    memcpy(a.un.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(0, connect(fd, &a.any, sizeof a.un));
    CHECK(strncmp(team_ask(fd, GET_("/"), &last), "200 ", 4) == 0);
    close(fd);
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
    CHECK(lstat(path, &file) < 0);
    CHECK_EQ(0, rmdir(dir));
}

/* Sockets of systemd's, or of who speaks its protocol: all share the one, and
   it listens on when they have ended. */
TEST(team_inherits_sockets)
{
    aw_config config = team_config(2);
    aw__address at = aw__address_loopback(4, 0);
    child c;
    int i, fd;
    child_inherits = aw__sys_socket(AF_INET);
    CHECK_EQ(0, aw__io_bind(child_inherits, &at, &fd));
    CHECK_EQ(0, listen(child_inherits, 8));
    config.listen = "systemd";
    CHECK(team_open(&c, &config, INT_MAX));
    CHECK(team_listeners(&c) == 1 || team_listeners(&c) < 0);
    for (i = 1; i <= 5; i++) {
        if (i == 3) team_kill(team_worker(&c, 1), SIGKILL);
        if (i == 4) team_kill(c.pid, SIGHUP);
        if (i == 5) CHECK(child_said(&c, "all workers are new", 1));
        fd = team_dial_worker(&c, team_worker(&c, i));
        NOTE("worker %d", i);
        CHECK(fd >= 0);
        close(fd);
    }
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
    close(team_dial(&c));
    close(child_inherits);
    child_inherits = -1;
}

/* ---- faults ---- */

/* The call that fails is the k-th; workers begin with what the parent has
   counted. Whatever it is, nobody stays behind, and what can serve does. */
static int team_with_fault(child *c, const char *only, long k, bool once)
{
    const aw_config config = team_config(2);
    bool up;
    fault_set(only, k, 0);
    fault_once = once;
    up = team_open(c, &config, INT_MAX);
    fault_set(NULL, 0, 0);
    return up;
}

TEST(team_fork_fails)
{
    child c;
    int k;
    for (k = 1; k <= 2; k++) {
        CHECK(!team_with_fault(&c, "fork", k, false));
        CHECK_EQ(1, team_end(&c));
        CHECK_EQ(1, team_times(&c, "no worker: "));
        CHECK_EQ(k - 1, team_times(&c, "on_stop"));
    }
    CHECK(team_with_fault(&c, "fork", 3, true));
    team_kill(team_worker(&c, 1), SIGKILL);
    CHECK(child_said(&c, "no worker: ", 1));
    CHECK(child_said(&c, "; another starts in 100 ms\n", 1));
    CHECK(child_said(&c, " serves\n", 3));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

/* Who was to be replaced serves on, and is still the parent's. */
TEST(team_restart_without_fork)
{
    static const char *const calls[] = {"fork", "socketpair"};
    int i;
    for (i = 0; i < 2; i++) {
        child c;
        NOTE("%s", calls[i]);
        CHECK(team_with_fault(&c, calls[i], 3, true));
        team_kill(c.pid, SIGHUP);
        CHECK(child_said(&c, "; those before stay\n", 1));
        close(team_dial_worker(&c, team_worker(&c, 1)));
        team_kill(c.pid, SIGTERM);
        CHECK_EQ(0, team_end(&c));
        CHECK_EQ(2, team_times(&c, "on_stop"));
    }
}

TEST(team_listeners_are_shared_where_they_must)
{
    child c;
    CHECK(team_with_fault(&c, "setsockopt", 3, true));
    CHECK(team_listeners(&c) == 1 || team_listeners(&c) < 0);
    close(team_dial_worker(&c, team_worker(&c, 1)));
    close(team_dial_worker(&c, team_worker(&c, 2)));
    team_kill(c.pid, SIGTERM);
    CHECK_EQ(0, team_end(&c));
}

TEST(team_survives_any_fault)
{
    static const char *const calls[] = {
        "socketpair", "epoll_create", "epoll_ctl", "eventfd", "alloc",
        "socket", "bind", "listen", "getsockname", "setsockopt"};
    size_t i;
    long k;
    for (i = 0; i < sizeof calls / sizeof *calls; i++)
        for (k = 1; k <= 4; k++) {
            child c;
            NOTE("%s %ld", calls[i], k);
            if (team_with_fault(&c, calls[i], k, true)) {
                CHECK(strncmp(hear(say(c.port, "GET / HTTP/1.0\r\n\r\n")),
                              "200=", 4) == 0);
                team_kill(c.pid, SIGTERM);
                CHECK_EQ(0, team_end(&c));
            } else {
                CHECK_EQ(1, team_end(&c));
            }
        }
}
