/* load.c: asks a server at 127.0.0.1 again and again, and checks each byte of
   what it answers but the date. It is lean, and spins rather than sleeps, so
   that it is the server that is measured.

   load [OPTION...] PORT
     -c 64     connections, each of its own address and port
     -d 1      requests sent at once on each; the next when all are answered
     -n 100000 requests in all, or
     -t 5      for so many seconds
     -p /      the target
     -b        as a browser asks: 644 bytes; else the shortest, of 40
     -k BYTES  sends in pieces of so many, a segment each, and delays its ACKs
     -o        each target ends in a number of its own, and so has the body:
               answers that change places are seen
     -w TEXT   the body has to be this, not only always the same
     -P PID    tells the CPU time of that process, in ns, of all its threads
     -g 60     gives up after so many seconds
     -i        when done, keeps the connections, says "held", and waits for a
               line; asks once more on the last of them, then says "alive"

   A line at the end: requests, errors, seconds, CPU time.
*/
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_DEPTH = 256, DIGITS = 8, DATE = 29 };

typedef struct client {
    int fd, waiting;            /* answers still to come */
    size_t at;                  /* bytes of the first of them that came */
    unsigned number;            /* of that one */
} client;

static struct {
    int connections, depth, port, pid;
    long requests;
    double seconds, limit;
    bool browser, ordered, hold;
    const char *target, *want;
    size_t piece;
} args = {64, 1, 0, 0, 0, 0, 60, false, false, false, "/", NULL, 0};

static client *clients;
static char request[MOST_DEPTH * 1024];     /* depth copies of the one */
static size_t request_size, number_at;
static char answer[65536], some[65536];     /* what each has to be like */
static size_t answer_size, date_at, tail_at;
static long done, errors;

static void give_up(const char *why)
{
    fprintf(stderr, "load: %.*s: %s\n", (int)strcspn(why, "\r\n"), why,
            errno ? strerror(errno) : "wrong");
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What the threads of the process have used, as the scheduler counts it. */
static long long cpu(void)
{
    char path[512];
    long long sum = 0, ns;
    struct dirent *d;
    DIR *dir;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task", args.pid);
    dir = args.pid ? opendir(path) : NULL;
    while (dir && (d = readdir(dir))) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", args.pid,
                 d->d_name);
        f = fopen(path, "r");
        if (f && fscanf(f, "%lld", &ns) == 1) sum += ns;
        if (f) fclose(f);
    }
    if (dir) closedir(dir);
    return sum;
}

/* More connections than an address has ports: each has one of many. */
static int open_one(int i)
{
    struct sockaddr_in a = {0};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(0x7f000001 + ((unsigned)i % 200 << 8));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        give_up("socket");
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((unsigned short)args.port);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) give_up("connect");
    return fd;
}

static void make_request(void)
{
    static const char browser[] =
        "Connection: keep-alive\r\n"
        "Cache-Control: max-age=0\r\n"
        "Upgrade-Insecure-Requests: 1\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,"
        "image/avif,image/webp,*/*;q=0.8\r\n"
        "Sec-Fetch-Site: same-origin\r\n"
        "Sec-Fetch-Mode: navigate\r\n"
        "Sec-Fetch-Dest: document\r\n"
        "Referer: http://localhost:5000/index.html\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        "Accept-Language: en-US,en;q=0.9\r\n"
        "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=light; "
        "consent=yes; seen=2026-11-22T09:15:00Z; tz=Europe/Berlin\r\n";
    char *p = request;
    int i, n = 0;

    for (i = 0; i < args.depth; i++, p += n)
        n = snprintf(p, 1024, "GET %s HTTP/1.1\r\n"
                     "Host: localhost:5000\r\n%s\r\n",
                     args.target, args.browser ? browser : "");
    request_size = (size_t)n;
    number_at = 4 + strlen(args.target) - DIGITS;
}

static void put_number(char *p, unsigned number)
{
    int i;
    for (i = DIGITS; i-- > 0; number /= 10) p[i] = (char)('0' + number % 10);
}

static void ask(client *c)
{
    const size_t all = request_size * (size_t)args.depth;
    const int at_once = 0;
    size_t at, piece;
    unsigned i;

    if (args.piece) setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &at_once,
                               sizeof at_once);
    for (i = 0; args.ordered && i < (unsigned)args.depth; i++)
        put_number(request + request_size * i + number_at, c->number + i);
    for (at = 0; at < all; at += piece) {
        piece = args.piece && args.piece < all - at ? args.piece : all - at;
        if (send(c->fd, request + at, piece, MSG_NOSIGNAL) != (ssize_t)piece)
            give_up("send");
    }
    c->waiting = args.depth;
}

static const char *field(const char *name)
{
    const size_t n = strlen(name);
    const char *p = answer;

    while ((p = strchr(p, '\n')) && p[1] != '\r')
        if (strncasecmp(++p, name, n) == 0) return p + n;
    return NULL;
}

/* The first answer is looked at closely; all others have to be like it. */
static void learn(void)
{
    client c = {open_one(0), 0, 0, 0};
    const char *body = NULL, *length = NULL, *date;
    const int depth = args.depth;
    ssize_t n;

    args.depth = 1;
    ask(&c);
    args.depth = depth;
    while (!body || (size_t)(body - answer) + strtoul(length, NULL, 10) >
                        answer_size) {
        n = recv(c.fd, answer + answer_size, sizeof answer - 1 - answer_size,
                 0);
        if (n <= 0) give_up("the first answer");
        answer_size += (size_t)n;
        body = strstr(answer, "\r\n\r\n");
        if (!body) continue;
        body += 4;
        length = field("Content-Length: ");
        if (!length) give_up("an answer without Content-Length");
    }
    close(c.fd);
    errno = 0;
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0 ||
        body + strtoul(length, NULL, 10) != answer + answer_size ||
        (args.want && strcmp(body, args.want) != 0)) give_up(answer);
    date = field("Date: ");
    date_at = date ? (size_t)(date - answer) : answer_size;
    tail_at = answer_size - (args.ordered ? DIGITS : 0);
}

/* p[0..n) has come of an answer, from c->at on: is it what it has to be? The
   date may be another, the number has to be. */
static bool is_right(const client *c, const char *p, size_t n)
{
    char number[DIGITS];
    size_t i, at = c->at;
    const char *want;

    if (at == 0 && n == answer_size && !args.ordered && date_at < answer_size)
        return memcmp(p, answer, date_at) == 0 &&
               memcmp(p + date_at + DATE, answer + date_at + DATE,
                      answer_size - date_at - DATE) == 0;
    put_number(number, c->number);
    for (i = 0; i < n; i++, at++) {
        want = at >= tail_at ? number + (at - tail_at) : answer + at;
        if (p[i] != *want && (at < date_at || at >= date_at + DATE))
            return false;
    }
    return true;
}

/* Takes what has come; false: nothing has. */
static bool hear(client *c)
{
    ssize_t got = recv(c->fd, some, sizeof some, MSG_DONTWAIT);
    const char *p = some;
    size_t n;

    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) give_up("closed");
    while (got > 0) {
        n = answer_size - c->at;
        if (n > (size_t)got) n = (size_t)got;
        if (c->waiting == 0 || !is_right(c, p, n)) errors++;
        if (errors > 0) return true;
        p += n;
        got -= (ssize_t)n;
        c->at += n;
        if (c->at < answer_size) continue;
        c->at = 0;
        c->number++;
        c->waiting--;
        done++;
    }
    return true;
}

static void rest(void)
{
    const struct timespec ms = {0, 1000000};
    nanosleep(&ms, NULL);
}

/* Asks until enough is done; many connections are mostly asleep, and then so
   is this. */
static double run(double begun)
{
    double end = begun + (args.seconds > 0 ? args.seconds : args.limit);
    long asked = (long)args.connections * args.depth;
    bool more = true, heard;
    int i;

    while (done < asked && errors == 0) {
        for (heard = false, i = 0; i < args.connections; i++) {
            client *c = &clients[i];
            if (c->waiting == 0 || !hear(c)) continue;
            heard = true;
            if (c->waiting > 0 || !more) continue;
            if (args.seconds <= 0 && asked >= args.requests) continue;
            ask(c);
            asked += args.depth;
        }
        more = now() < end;
        if (!more && (args.seconds <= 0 || now() > end + args.limit)) break;
        if (!heard && args.connections > 1000) rest();
    }
    return now() - begun;
}

static void hold(void)
{
    char line[9];
    int i = args.connections < 20 ? 0 : args.connections - 20;

    puts("held");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
    for (; i < args.connections; i++) {
        ask(&clients[i]);
        while (clients[i].waiting && !errors)
            if (!hear(&clients[i])) rest();
    }
    puts(errors ? "wrong" : "alive");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void read_args(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "c:d:n:t:p:bk:ow:P:g:i")) != -1) {
        if (o == 'c') args.connections = atoi(optarg);
        else if (o == 'd') args.depth = atoi(optarg);
        else if (o == 'n') args.requests = atol(optarg);
        else if (o == 't') args.seconds = atof(optarg);
        else if (o == 'p') args.target = optarg;
        else if (o == 'b') args.browser = true;
        else if (o == 'k') args.piece = (size_t)atoi(optarg);
        else if (o == 'o') args.ordered = true;
        else if (o == 'w') args.want = optarg;
        else if (o == 'P') args.pid = atoi(optarg);
        else if (o == 'g') args.limit = atof(optarg);
        else if (o == 'i') args.hold = true;
        else exit(2);
    }
    if (optind + 1 != argc || args.depth < 1 || args.depth > MOST_DEPTH ||
        args.connections < 1 || strlen(args.target) > 100) exit(2);
    args.port = atoi(argv[optind]);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    double begun, taken;
    long long used;
    int i;

    read_args(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc((size_t)args.connections, sizeof *clients);
    make_request();
    learn();
    begun = now();
    used = cpu();
    for (i = 0; i < args.connections; i++) {
        clients[i].fd = open_one(i);
        clients[i].number = (unsigned)i * 100000;
        ask(&clients[i]);
    }
    taken = run(begun);
    printf("%ld %ld %.3f %lld\n", done, errors, taken, cpu() - used);
    fflush(stdout);
    if (args.hold) hold();
    return errors > 0 || done < args.requests;
}
