/*
test.h: the harness of the tests in this directory.

   #include "test.h"

   TEST(buffers_grow)
   {
       CHECK(cond);                        goes on after a failure
       CHECK_EQ(2, 1 + 1);                 integers; prints both
       CHECK_STR("abc", text);             strings, NULL allowed; prints both
       NOTE("row %d", i);                  said with the failures that follow
       CHECK_ABORTS(aw_misuse(), "said on stderr");
   }

A test registers itself (by a constructor, which an old tcc ignores; a
program without tests fails). The tests of a file run in one process, shuffled,
because none may depend on another, and each must close what it opened.

   ./program [-l] [-q] [-v] [-s SEED] [PATTERN]

   -l        list the tests            -v       name each test, every failure
   -q        say failures only         -s SEED  this order again; 0: as written
   PATTERN   run the tests whose name contains it
*/
#ifndef TEST_H
#define TEST_H

#ifndef ASYNCWEB_IMPLEMENTATION
#define ASYNCWEB_IMPLEMENTATION
#endif
/* Until it ends, a test may decide here which system call or allocation fails,
   with the errno that it sets, or does less than it was asked for. */
static int (*test_fault)(const char *call), (*test_short)(const char *call);
#define ASYNCWEB_FAULT(call) (test_fault ? test_fault(call) : 0)
#define ASYNCWEB_SHORT(call) (test_short ? test_short(call) : 0)
/* Whether applications in memory are in debug mode: as the seed has it. A test
   of what that mode says sets it. */
static int test_debug;
#define AW__TEST_DEBUG test_debug
/* Of the parent of workers. */
#define AW__START_MS 1500
#define AW__KILL_MS 1500
#include "../asyncweb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A child that ends by abort() or _exit() tells what it reached, too. */
#ifdef TEST_COVERAGE
int __llvm_profile_write_file(void);
static void test_reached(int sig)
{
    (void)__llvm_profile_write_file();
    if (sig) signal(sig, SIG_DFL), raise(sig);
}
static void test_exit(int status)
{
    test_reached(0);
    _exit(status);
}
#define _exit test_exit
#define TEST_ABORTED test_reached
#define TEST_REACHED() test_reached(0)
#else
#define TEST_ABORTED SIG_DFL
#define TEST_REACHED() ((void)0)
#endif

static bool test_full(void)
{
    return getenv("TEST_FULL") != NULL;
}

/* A tenth of the rounds will do while you work; TEST_FULL=1 runs them all. */
__attribute__((unused))
static long test_rounds(long all)
{
    return test_full() ? all : all / 10;
}

/* Random, 0 ... below - 1, and the same in each run of a test. */
static uint32_t test_seed;

__attribute__((unused))
static uint32_t rnd(uint32_t below)
{
    test_seed = test_seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(test_seed >> 4) * below >> 28);
}

enum { TEST_MAX = 1000, TEST_SECONDS = 120, TEST_DESCRIPTORS = 256 };

typedef struct test_case {
    const char *name, *file;
    int line;
    void (*run)(void);
} test_case;

static struct {
    const test_case *all[TEST_MAX];
    const char *volatile running;   /* read by the signal handler */
    struct sigaction before[32];    /* what each signal did without it */
    volatile sig_atomic_t crashed;
    char note[200], again[60];
    int count, failures;            /* failures: of the running test */
    bool quiet, verbose;
} test_;

#define TEST(name) \
    static void test_run_##name(void); \
    __attribute__((constructor)) static void test_add_##name(void) \
    { \
        static const test_case c = {#name, __FILE__, __LINE__, \
                                    test_run_##name}; \
        test_add(&c); \
    } \
    static void test_run_##name(void)

#define CHECK(cond) \
    ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #cond))
#define CHECK_EQ(a, b) \
    test_eq(__FILE__, __LINE__, #a " == " #b, (long long)(a), (long long)(b))
#define CHECK_STR(a, b) test_str(__FILE__, __LINE__, #a " == " #b, a, b)
#define NOTE(...) \
    ((void)snprintf(test_.note, sizeof test_.note, __VA_ARGS__))

/* Runs stmt in a child, which must abort() and say `text` on stderr. */
#define CHECK_ABORTS(stmt, text) \
    do { \
        int test_pipe_ = -1; \
        pid_t test_child_ = test_fork(&test_pipe_); \
        if (test_child_ == 0) { \
            stmt; \
            _exit(0); \
        } \
        test_aborted(__FILE__, __LINE__, #stmt, test_child_, test_pipe_, \
                     text); \
    } while (0)

/* In the order of the file, whatever the compiler makes of constructors, so
   that a seed means the same order everywhere. */
static void test_add(const test_case *c)
{
    int i = test_.count;
    if (i == TEST_MAX) abort();
    for (; i > 0 && test_.all[i - 1]->line > c->line; i--)
        test_.all[i] = test_.all[i - 1];
    test_.all[i] = c;
    test_.count++;
}

/* Said once a test: what follows a first failure is rarely news. */
__attribute__((format(printf, 3, 4)))
static void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    if (test_.failures++ && !test_.verbose) return;
    printf("%s:%d: %s: ", file, line, test_.running);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    if (test_.note[0]) printf(" (%s)", test_.note);
    printf("\n");
    fflush(stdout);
}

__attribute__((unused))
static void test_eq(const char *file, int line, const char *text,
                    long long a, long long b)
{
    if (a != b) test_fail(file, line, "%s: %lld, %lld", text, a, b);
}

__attribute__((unused))
static void test_str(const char *file, int line, const char *text,
                     const char *a, const char *b)
{
    if (a && b ? !strcmp(a, b) : a == b) return;
    test_fail(file, line, "%s: \"%s\", \"%s\"", text, a ? a : "(null)",
              b ? b : "(null)");
}

__attribute__((unused))
static pid_t test_fork(int *from_child)
{
    static const struct rlimit no_core = {0, 0};
    int ends[2];
    pid_t pid;
    fflush(stdout);
    if (pipe(ends)) return -1;
    pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        signal(SIGABRT, TEST_ABORTED);
        setrlimit(RLIMIT_CORE, &no_core);
    }
    close(ends[1]);
    *from_child = ends[0];
    return pid;
}

__attribute__((unused))
static void test_aborted(const char *file, int line, const char *what,
                         pid_t pid, int from_child, const char *text)
{
    char said[4096], rest[512];
    size_t n = 0;
    ssize_t got;
    int status = 0;
    do {
        got = read(from_child, said + n, sizeof said - 1 - n);
        if (got > 0) n += (size_t)got;
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (n && said[n - 1] == '\n') said[n - 1] = 0;
    said[n] = 0;
    /* A full buffer reads as the end: the child must not block on the rest. */
    while (n == sizeof said - 1 && read(from_child, rest, sizeof rest) > 0) {}
    close(from_child);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        test_fail(file, line, "%s: no abort; stderr: \"%s\"", what, said);
    else if (!strstr(said, text))
        test_fail(file, line, "%s: no \"%s\" in: \"%s\"", what, text, said);
}

static int test_open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < TEST_DESCRIPTORS; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Names the test, then lets the signal do what it did before: the faulting
   instruction, or abort(), raises it again. */
static void test_crashed(int sig)
{
    const char *said[] = {NULL, ": crashed; ", test_.again};
    said[0] = test_.running ? test_.running : "no test";
    sigaction(sig, &test_.before[sig], NULL);
    if (test_.crashed) return;      /* a sanitizer's abort() after its report */
    test_.crashed = 1;
    if (sig == SIGALRM) said[1] = ": timed out; ";
    for (int i = 0; i < 3; i++)
        if (write(2, said[i], strlen(said[i])) < 0) _exit(2);
    if (sig == SIGALRM) _exit(2);
}

static void test_catch(int sig)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = test_crashed;
    sigaction(sig, &action, &test_.before[sig]);
}

/* A sanitizer's report ends in abort(), so the handler can name the test. */
#ifdef __cplusplus
extern "C" {
#endif
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}
#ifdef __cplusplus
}
#endif

static void test_shuffle(unsigned long seed)
{
    unsigned long x = seed;
    for (int i = test_.count - 1; seed && i > 0; i--) {
        const test_case *c = test_.all[i];
        int j;
        x = (x * 1103515245u + 12345u) & 0x7fffffffu;
        j = (int)((x >> 8) % (unsigned long)(i + 1));
        test_.all[i] = test_.all[j];
        test_.all[j] = c;
    }
}

/* True when the test passed. */
static bool test_run(const test_case *c)
{
    int before = test_open_descriptors(), after;
    test_.running = c->name;
    test_.failures = 0;
    test_.note[0] = 0;
    test_seed = 1;
    if (test_.verbose) printf("%s\n", c->name);
    fflush(stdout);
    alarm(TEST_SECONDS);
    c->run();
    alarm(0);
    test_fault = test_short = NULL;
    after = test_open_descriptors();
    if (after != before)
        test_fail(c->file, c->line,
                  "descriptors open: %d before, %d after", before, after);
    test_.running = NULL;
    return !test_.failures;
}

static int test_usage(const char *program)
{
    fprintf(stderr, "usage: %s [-l] [-q] [-v] [-s SEED] [PATTERN]\n", program);
    return 2;
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL,
                                SIGSEGV};
    const char *slash = strrchr(argv[0], '/'), *pattern;
    unsigned long seed = (unsigned long)time(NULL) ^ (unsigned long)getpid();
    bool list = false;
    int option, passed = 0, failed = 0;
    while ((option = getopt(argc, argv, "lqvs:")) != -1) {
        if (option == 'l') list = true;
        else if (option == 'q') test_.quiet = true;
        else if (option == 'v') test_.verbose = true;
        else if (option == 's') seed = strtoul(optarg, NULL, 10);
        else return test_usage(argv[0]);
    }
    pattern = optind < argc ? argv[optind] : "";
    snprintf(test_.again, sizeof test_.again,
             "run it again in this order: -s %lu\n", seed);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        test_catch(fatal[i]);
    if (!list) test_shuffle(seed);
    for (int i = 0; i < test_.count; i++) {
        if (!strstr(test_.all[i]->name, pattern)) continue;
        if (list) printf("%s\n", test_.all[i]->name);
        else if (test_debug = (seed >> 4 ^ (unsigned)i) & 1,
                 test_run(test_.all[i])) passed++;
        else failed++;
    }
    if (list) return 0;
    if (failed) fputs(test_.again, stdout);
    if (!test_.quiet || failed)
        printf("%s: %d passed, %d failed\n", slash ? slash + 1 : argv[0],
               passed, failed);
    return failed || !passed;
}

#endif /* TEST_H */
