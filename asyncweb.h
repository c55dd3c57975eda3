/*
asyncweb.h - v0.1 - MIT-0 or Unlicense, your choice (texts at the end)

An async web micro-framework in one C header: async views, an awaited HTTP
client, background tasks and a router, over an epoll, kqueue or poll loop.
It needs a C99 (or C++11) compiler, libc and POSIX sockets; nothing else.

    #define ASYNCWEB_IMPLEMENTATION
    #include "asyncweb.h"

    ASYNC_VIEW(hello)
    {
        BEGIN {
            AWAIT(aw_sleep_ms, 2000);
            RETURN(aw_text(req, "Hello, World!"));
        }
    }

    ROUTES(app, GET("/", hello))

    int main(void) { return aw_run(app, .port = 5000); }

    $ cc hello.c -o hello && ./hello
    $ curl localhost:5000/

In exactly one file define ASYNCWEB_IMPLEMENTATION before the include, and
include it there before any system header; elsewhere just include it. A program
of one file defines ASYNCWEB_STATIC instead: what it does not use is left out.


CONTENTS (search for the tag)

  Part I, this manual: build options, ideas, rules, limits
  Part II, declarations: what you call
  >>base          errors, slices
  >>async         async functions, tasks, awaitables
  >>loop          the loop: to run, to stop, to embed
  >>json          reading, lookup, writing
  >>stream        streams: any protocol over TCP
  >>tls           TLS (needs BearSSL)
  >>client        the HTTP client
  >>http          requests and answers
  >>forms         forms and uploads
  >>cookies       cookies, credentials, CORS
  >>sse           server-sent events
  >>route         views, routes, configuration, aw_run
  >>ws            WebSocket
  >>test          an application in memory, for your tests
  >>short         the short names of the verbs
  Part III, implementation: each floor uses only what is above it
  >>floor0        platform: includes, shims, system calls
  >>floor1        memory, lists, UTF-8, numbers, base64, SHA-1
  >>floor2        formats, without I/O: JSON, HTTP heads, chunks, URLs, dates,
                  conditions, ranges, forms, cookies, addresses, what proxies
                  say, WebSocket frames
  >>floor3        loop: timers, poller, tasks, awaitables, threads
  >>floor4        transport: sockets, TLS, where to listen, names, streams
  >>floor5        protocols: client, requests, answers, server connections
  >>floor6        framework: router, application, run, workers, test


BUILD OPTIONS, defined before the include

  ASYNCWEB_IMPLEMENTATION   the code, not only the declarations
  ASYNCWEB_STATIC           the code, for a program of one file: what it does
                            not use is left out, which compiles in a fraction
                            of the time and makes a smaller program
  ASYNCWEB_NO_SHORT_NAMES   AW_ASYNC, AW_AWAIT, AW_GET ... only
  ASYNCWEB_NO_JSON          without JSON
  ASYNCWEB_NO_CLIENT        without the HTTP client (and the test mode)
  ASYNCWEB_NO_WS            without WebSocket
  ASYNCWEB_NO_SSE           without server-sent events
  ASYNCWEB_NO_TEST          without the test mode
  ASYNCWEB_NO_FORMS         without multipart/form-data
  ASYNCWEB_NO_COOKIES       without cookies, Authorization and CORS
  ASYNCWEB_NO_THREADS       without threads: names are resolved in place, which
                            blocks the loop; no aw_thread, no aw_post
  ASYNCWEB_NO_WORKERS       without .workers: always one process
  ASYNCWEB_NO_STATIC_FILES  without files: no STATIC, no aw_send_file
  ASYNCWEB_NO_SENDFILE      files are read and sent, not sent by the kernel
  ASYNCWEB_BEARSSL          TLS: https:// in client and server; link with
                            -lbearssl, and define it for every file
  ASYNCWEB_NO_SIMD          without SSE2 and NEON
  ASYNCWEB_NO_SLABS         small blocks come from malloc, too
  ASYNCWEB_FIXED_MEMORY     all memory comes from a buffer of yours, .memory,
                            never from malloc; for every file, and it implies
                            ASYNCWEB_NO_THREADS
  ASYNCWEB_POLL             poll() instead of epoll or kqueue
  ASYNCWEB_JSON_DEPTH       how deep JSON may nest, 64
  ASYNCWEB_MAX_THREADS      helper threads at most, 4; as many look up names
  ASYNCWEB_REALLOC(ctx, p, n), ASYNCWEB_FREE(ctx, p), ASYNCWEB_ALLOC_CTX
                            your own allocator: all three or none

Linux needs no library (an old glibc wants -pthread). NDEBUG leaves out the
text that debug messages quote.


ASYNC FUNCTIONS

One thread serves everybody. An async function can wait (for a timer, a
socket, another server, another async function) while others run. ASYNC
defines one; its arguments stand in parentheses, each ended by a semicolon,
and then the locals that have to survive an await:

    ASYNC(copy, (aw_stream *from; aw_stream *to;), char b[4096]; int n;)
    {
        BEGIN {
            do {
                AWAIT_TO(self->n, aw_read, self->from, self->b, 4096);
                if (self->n < 0) RETURN(self->n);
                AWAIT(aw_write, self->to, self->b, (size_t)self->n);
            } while (self->n > 0);
        } FINALLY {
            AWAIT(aw_close, self->to);
        }
    }

A call is a frame in the task's own memory, so it costs bytes, not a stack.
AWAIT waits for any async function, yours or the header's; a negative result
leaves the caller too, as an exception would. AWAIT_TO stores the result
instead; AWAIT_FOR gives the wait a deadline. FINALLY runs exactly once, how-
ever the body ends: its end, RETURN, an error, a cancellation, a deadline.

Tasks. A view or a SPAWN is a task: a stack of frames. START runs a function
beside the body as a child task that the frame owns; GATHER waits for all
children, RACE_TO for the first. The first error of a child cancels the
others and leaves the body. A frame never ends before its children have.

Cancellation. aw_cancel, a client that leaves, an expired deadline and the end
of the program ask frames to end. They do so at their next await, outwards
from the innermost, each through its FINALLY. FINALLY may await; it has
cleanup_ms (5 s) in all, then its awaits fail. SHIELD holds a cancellation
off for one await. An await that is done is always delivered: no accepted
socket, no queue item is ever lost.

Memory. Arguments are copied when a function is called (what they point to is
not, but the header's own functions copy strings before they first wait).
Strings of a request live until its view, all that the view owns and every
task spawned in it have ended. A reply belongs to the request, or outside of
requests to the task, that fetched it.


RULES OF ASYNC FUNCTIONS

What the compiler catches, at least as a warning:
  - `return x;` in a body; RETURN(x) it is
  - an await outside of BEGIN, in a function that is not async, or inside a
    switch of your own (else the program stops there and says so)
  - two awaits on one line; a wrong number or type of arguments
  - in C++, a local with a constructor in a frame, or one that an await jumps
    over; in C, many uses of a plain local after an await
What debug mode (aw_config.debug, the test mode) catches:
  - a pointer to a plain local, in a frame or in arguments, that would outlive
    its step; the message names the field
  - aw_param of a name that the route does not have; aw_url_for a view that
    has no route, or without one of its parameters
What nobody catches:
  - a plain local does not survive an await: put it into self->
  - what stands between { and BEGIN runs again at each resume: fine for a
    short name, `state *s = AW_STATE(state);`, never for a side effect
  - goto or longjmp into or out of BEGIN and FINALLY
  - a pointer into a structure that others change while this one waits
  - blocking calls (sleep, a file on a slow disk): use aw_sleep_ms, aw_thread


ERRORS

Functions return an int: >= 0 is success or a count, negative an AW_E... (see
the section >>base), which aw_strerror explains. What leaves a view becomes
its status: AW_HTTP(404) is 404 (so are `return 404;` and aw_error, which adds
a message), an upstream's failure 502, a time-out or deadline 504, no memory
503, all else 500 and a log line with the way it came, function by function.


LIMITS AND SECURITY

Every limit has a default and a field in aw_config (>>route). Requests are read
strictly by RFC 9112: what two readers could understand differently is
refused with 400 and the connection closed. Header values that you set cannot
smuggle CR, LF or NUL. The server speaks HTTP/1.1, with ASYNCWEB_BEARSSL over
TLS 1.2, too; for TLS 1.3 and HTTP/2 put a proxy in front of it, and name it in
trusted_proxies. Certificates of servers are verified unless .insecure says
otherwise, and then the log says it. Out of memory is a result everywhere,
never an abort.
*/
#ifndef ASYNCWEB_H
#define ASYNCWEB_H

#ifdef ASYNCWEB_IMPLEMENTED     /* it comes from somewhere else */
#undef ASYNCWEB_STATIC
#endif
#if defined(ASYNCWEB_STATIC) && !defined(ASYNCWEB_IMPLEMENTATION)
#define ASYNCWEB_IMPLEMENTATION
#endif

/* The system shows POSIX and BSD names only when asked before the first
   system header; the implementation needs them, your own file loses nothing. */
#ifdef ASYNCWEB_IMPLEMENTATION
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(_FEATURES_H)
#define _GNU_SOURCE
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64    /* files of any size on 32-bit systems */
#endif
#elif defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE
#elif defined(__NetBSD__) && !defined(_NETBSD_SOURCE)
#define _NETBSD_SOURCE
#endif
#endif

/* A thread's stack would lie elsewhere. */
#if defined(ASYNCWEB_FIXED_MEMORY) && !defined(ASYNCWEB_NO_THREADS)
#define ASYNCWEB_NO_THREADS
#endif

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(ASYNCWEB_IMPLEMENTATION) && defined(__GLIBC__) && \
    !defined(__USE_XOPEN2K8)
#error "asyncweb.h: include it before every system header of this file"
#endif

/* ======================================================================== */
/*  Part II: declarations                                                   */
/* ======================================================================== */

/* >>base  Errors, slices, numbers ---------------------------------------- */

#if defined(__GNUC__) || defined(__clang__)
#define AW__UNUSED __attribute__((unused))
#define AW__PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define AW__UNUSED
#define AW__PRINTF(f, a)
#endif

/* With ASYNCWEB_STATIC the code is this file's own, and compilers leave out
   what it does not use. C++ cannot announce an object that is: there the
   awaitables stay. */
#ifdef ASYNCWEB_STATIC
#define AW_API static AW__UNUSED
#else
#define AW_API
#endif
#if defined(ASYNCWEB_STATIC) && !defined(__cplusplus)
#define AW__OBJECT_API static AW__UNUSED
#define AW__OBJECT static AW__UNUSED
#else
#define AW__OBJECT_API extern
#define AW__OBJECT
#endif

/* In front of few functions that choose features by fields of a config. In a
   program of one file they become part of their caller, where most fields are
   constants: what those leave out is not in the program. */
#if defined(ASYNCWEB_STATIC) && (defined(__GNUC__) || defined(__clang__))
#define AW__FOLD inline __attribute__((always_inline))
#else
#define AW__FOLD
#endif

#ifdef __cplusplus
#define AW__LIT(T, ...) T{__VA_ARGS__}
extern "C" {
#else
#define AW__LIT(T, ...) ((T){__VA_ARGS__})
#endif

/* Members of a struct that is filled by name, .port = 80, may be left out: zero
   is the default. C++ wants to be told. */
#if defined(__cplusplus) && __cplusplus >= 201402L
#define AW__OPT = {}
#else
#define AW__OPT
#endif

enum {
    AW_OFF = -1,                /* for limits and switches */
    AW_ANY_PORT = -1,           /* for .port: the system chooses */
    AW_PER_CORE = -2            /* for .workers */
};

/* Every error the header reports: a negative int. A result >= 0 is success
   or a count. aw_strerror() makes the sentence. */
#define AW_ERRORS(X) \
    X(EAGAIN, 1, "more input is needed") \
    X(ENOMEM, 2, "out of memory") \
    X(EINVAL, 3, "invalid argument") \
    X(ECANCELED, 4, "cancelled") \
    X(EDEADLINE, 5, "the deadline of this await has passed") \
    X(ECHILDCANCELED, 6, "the task that was waited for was cancelled") \
    X(ENOTASK, 7, "no such task: it ended and its slot was reused") \
    X(EDEADLK, 8, "a task cannot wait for itself or its ancestor") \
    X(ESHUTDOWN, 9, "the loop is shutting down") \
    X(ESTACK, 10, "the task has used all of its max_task_bytes") \
    X(EBUSY, 11, "another task waits there already") \
    X(EBADF, 12, "not an open descriptor") \
    X(ECLOSED, 13, "closed") \
    X(EEOF, 14, "the peer ended its stream too early") \
    X(ETOOBIG, 15, "larger than the limit") \
    X(EBADMSG, 16, "the peer broke the protocol") \
    X(EURL, 17, "not a URL this client can fetch") \
    X(ENOTLS, 18, "https needs TLS, which is not built in: use a local proxy, " \
      "or build with -DASYNCWEB_BEARSSL and -lbearssl") \
    X(EDNS, 19, "the host name could not be resolved") \
    X(ECONNREFUSED, 20, "connection refused") \
    X(ECONNRESET, 21, "connection reset by the peer") \
    X(EUNREACH, 22, "host or network unreachable") \
    X(ETIMEDOUT, 23, "the peer did not answer in time") \
    X(EADDRINUSE, 24, "the address is in use") \
    X(EADDRNOTAVAIL, 25, "the address is not available here") \
    X(EACCES, 26, "permission denied") \
    X(EMFILE, 27, "out of file descriptors") \
    X(ENOENT, 28, "no such file") \
    X(ENOTSUP, 29, "not supported here") \
    X(EIO, 30, "input/output error") \
    X(EEXIST, 31, "there is a file of that name") \
    X(ENOSPC, 32, "the disk is full") \
    X(ETLS, 33, "the TLS handshake failed") \
    X(ETLS_ISSUER, 34, "TLS: nobody trusted has signed the certificate, or the " \
      "server does not send all of its chain; name another root in ca_file") \
    X(ETLS_SELF_SIGNED, 35, "TLS: the certificate is signed by itself; if it " \
      "is yours, name it in ca_file") \
    X(ETLS_NAME, 36, "TLS: the certificate is for another host") \
    X(ETLS_EXPIRED, 37, "TLS: the certificate has expired") \
    X(ETLS_NOT_YET, 38, "TLS: the certificate is not valid yet, or the clock " \
      "of this machine is slow") \
    X(ETLS_CLOCK, 39, "TLS: the clock of this machine is not set, so no " \
      "certificate can be checked") \
    X(ETLS_VERSION, 40, "TLS: the peer has no TLS 1.2 with ECDHE and AES-GCM " \
      "or ChaCha20") \
    X(ETLS_WEAK, 41, "TLS: the certificate's key or signature is too weak " \
      "(RSA below 2048 bits, SHA-1), or of an unknown kind") \
    X(ETLS_PIN, 42, "TLS: the server has another key than the pinned one") \
    X(ETLS_ROOTS, 43, "TLS: no root certificates: install ca-certificates, or " \
      "set SSL_CERT_FILE or ca_file") \
    X(ETLS_USE, 44, "TLS: the certificate is not for this use: " \
      "serverAuth or clientAuth is missing in its extendedKeyUsage")

enum {
#define AW__ERROR_ENUM(name, number, text) AW_##name = -(number),
    AW_ERRORS(AW__ERROR_ENUM)
#undef AW__ERROR_ENUM
    AW_OK = 0
};

/* An HTTP status as an error: `return AW_HTTP(404)` in a view, or in any
   function it calls, answers with the standard page of that status. */
#define AW_HTTP(status) (-10000 - (status))

/* What an error code means, in English; the reason of AW_HTTP(status). Static
   text; never NULL. */
AW_API const char *aw_strerror(int error);

/* A piece of memory somebody else owns; not NUL-terminated. */
typedef struct aw_slice {
    const char *p;
    size_t n;
} aw_slice;

/* >>async  Async functions, tasks, awaitables ----------------------------- */

/* Milliseconds everywhere are int64_t. */
#define AW_FOREVER INT64_MAX
#define AW_SECONDS(s) ((int64_t)(s) * 1000)
#define AW_MINUTES(m) ((int64_t)(m) * 60000)

typedef struct aw_loop aw_loop;
typedef struct aw_req aw_req;
typedef struct aw_frame aw_frame;

/* What a step of an async function tells the loop. Its name is what the
   compiler prints when a plain `return 0;` stands in an async body. */
typedef struct aw_use_RETURN_not_return {
    int aw_v;
} aw_use_RETURN_not_return;

/* The running task as the macros see it; `aw_t` in every body and view. */
typedef struct aw__ctx {
    int rc;                     /* result of the await that just ended */
    unsigned flags;
    aw_loop *loop;
} aw__ctx;

/* One async function, yours or the header's: what a verb takes by name. */
typedef struct aw_fn {
    const char *name, *file;
    aw_use_RETURN_not_return (*run)(aw__ctx *, aw_frame *);
    aw_use_RETURN_not_return (*leaf)(aw__ctx *, const void *args);
    uint32_t size, locals, args;    /* frame bytes, where locals begin, ... */
    const char *fields;             /* their text, for messages */
    /* Runs on the caller's C stack, before the frame does: the last moment to
       copy what its arguments point to. NULL: nothing. */
    void (*enter)(aw__ctx *, aw_frame *);
} aw_fn;

/* Head of each frame. A multiple of 16 bytes, so that arguments lie alike
   behind it and in the struct that a call fills. Plain words: bit-fields
   here cost a store-forwarding stall at every resume. */
struct aw_frame {
    const aw_fn *fn;
    aw_frame *up;               /* who awaits this frame */
    uint32_t pc;                /* line of the await it stands at */
    int32_t rc;                 /* the outcome that is leaving */
    int32_t cancel;             /* why it has to end at its next await, or 0 */
    uint16_t phase, flags;
    void (*defer)(void *);      /* one DEFER is always possible */
    void *defer_arg;
};

/* A task as others hold it. Always safe to join or cancel: an ended task is
   recognised by its generation. A failed SPAWN gives one with loop NULL,
   whose join tells the reason. */
typedef struct aw_task {
    aw_loop *loop;
    int32_t slot;
    uint32_t generation;
} aw_task;

/* An async function with its arguments as a value: AW_BIND makes one, aw_call
   runs it, as often as you like. Up to 32 bytes of arguments travel inside;
   larger ones live in the request's memory, outside requests in the frame's. */
typedef struct aw_bound {
    const aw_fn *fn;            /* NULL: out of memory */
    const void *far;            /* the arguments, NULL: in near */
    union {
        char bytes[32];
        void *pointer;
        int64_t number;
        double real;
    } near;
} aw_bound;

enum { AW__BODY, AW__LEAVING, AW__FINAL, AW__OVER };
enum { AW__SUSPEND, AW__AGAIN, AW__DONE };
enum { AW__SHIELD = 1, AW__UNWOUND = 2, AW__GROUP = 4, AW__BY_GROUP = 8 };

AW_API void aw__fell(aw_frame *f);
AW_API void aw__bad_await(const aw_frame *f);
AW_API bool aw__failed(aw__ctx *t, aw_frame *f);
AW_API bool aw__deadline_end(aw__ctx *t, aw_frame *f);
AW_API aw_use_RETURN_not_return aw__leave(aw__ctx *t, aw_frame *f, int rc,
                                          int line);
AW_API aw_use_RETURN_not_return aw__call(aw__ctx *t, const aw_fn *fn,
                                         const void *args);
AW_API aw_use_RETURN_not_return aw__call_for(aw__ctx *t, int64_t ms,
                                             const aw_fn *fn, const void *args);
AW_API aw_use_RETURN_not_return aw__gather(aw__ctx *t, aw_frame *f, int64_t ms,
                                           bool race);
AW_API aw_task aw__start(aw__ctx *t, aw_frame *f, int *result, const aw_fn *fn,
                         const void *args);
AW_API aw_task aw__spawn(aw__ctx *t, const aw_fn *fn, const void *args);
AW_API aw_task aw__spawn_on(aw_loop *loop, const aw_fn *fn, const void *args);
AW_API aw_bound aw__bind(aw__ctx *t, const aw_fn *fn, const void *args);
AW_API int aw__defer(aw__ctx *t, aw_frame *f, void (*fn)(void *), void *arg);
AW_API void *aw__frame_get(aw__ctx *t, size_t n);
AW_API aw_task aw__self(const aw__ctx *t);

#ifdef __cplusplus
}
template <class T> static inline const void *aw__args_at(const T &args)
{
    return &args;
}
extern "C" {
#define AW__ADDRESS(T, ...) aw__args_at(T{__VA_ARGS__})
#define AW__ARGS_HEAD
#define AW__ARGS_FROM 0u
#define AW__ARGS_INIT
#define AW__NO_ARGS char none;      /* an empty struct differs in C and C++ */
#define AW__ASSERT(what, name) static_assert(what, #name)
#define AW__TRIVIAL(T) AW__ASSERT(__is_trivial(T), only_plain_data_in_a_frame)
#else
/* C has no empty struct: two words stand in front of the arguments. */
typedef struct aw__args_head {
    int64_t unused[2];
} aw__args_head;
#define AW__ADDRESS(T, ...) ((const char *)&(T){__VA_ARGS__} + AW__ARGS_FROM)
#define AW__ARGS_HEAD aw__args_head aw;
#define AW__ARGS_FROM sizeof(aw__args_head)
#define AW__ARGS_INIT {{0, 0}},
#define AW__NO_ARGS
#define AW__ASSERT(what, name) \
    typedef char aw__assert_##name[(what) ? 1 : -1] AW__UNUSED
#define AW__TRIVIAL(T) AW__ASSERT(1, T)
#endif

#ifdef NDEBUG
#define AW__TEXT(...) ""
#else
#define AW__TEXT(...) #__VA_ARGS__
#endif

#define AW__UNPACK(...) __VA_ARGS__
#define AW__FIRST(a, ...) a
#define AW__REST(a, ...) __VA_ARGS__
#define AW__JOIN(a, b) AW__JOIN_(a, b)
#define AW__JOIN_(a, b) a##b

/* 1 for one argument, M for up to 63 more: `int a, b;` counts as two. */
#define AW__COUNT(...) AW__COUNT_(__VA_ARGS__, \
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, \
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, \
    M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, 1, )
#define AW__COUNT_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, \
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5, c6, c7, \
    c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, \
    e6, e7, e8, e9, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, g0, g1, g2, g3, \
    N, ...) N

/* The value a switch sees is wider than int: an await inside a switch of
   your own then has a case label that cannot be reached, which compilers
   report. A line number over 2^24 divides by zero here. */
#define AW__PC_AT(pc) (0x5A0000000000LL + (int64_t)(pc))
#define AW__PC(line) AW__PC_AT((line) / ((line) < 0x1000000))
#define AW__PC_FINALLY 0x1000000

static inline aw_use_RETURN_not_return aw__step(int v)
{
    aw_use_RETURN_not_return s;
    s.aw_v = v;
    return s;
}

#define AW__DECLARE_ARGS(name, args) \
    typedef struct aw_args_##name { \
        AW__ARGS_HEAD \
        AW__UNPACK args \
    } aw_args_##name

#define AW__DEFINE(linkage, name, args, ...) \
    struct aw_frame_##name { \
        aw_frame aw; \
        AW__UNPACK args \
        char aw_locals; \
        __VA_ARGS__ \
    }; \
    struct aw_aligned_##name { \
        char c; \
        struct aw_frame_##name f; \
    }; \
    AW__ASSERT(offsetof(struct aw_aligned_##name, f) <= 16, \
               alignment_over_16_in_a_frame_##name); \
    AW__TRIVIAL(aw_frame_##name); \
    static aw_use_RETURN_not_return aw_run_##name( \
        aw__ctx *aw_t, struct aw_frame_##name *self); \
    static aw_use_RETURN_not_return aw_thunk_##name(aw__ctx *t, aw_frame *f) \
    { \
        return aw_run_##name(t, (struct aw_frame_##name *)(void *)f); \
    } \
    linkage const aw_fn aw_fn_##name = { \
        #name, __FILE__, aw_thunk_##name, NULL, \
        (uint32_t)sizeof(struct aw_frame_##name), \
        (uint32_t)offsetof(struct aw_frame_##name, aw_locals), \
        (uint32_t)(sizeof(aw_args_##name) - AW__ARGS_FROM), \
        AW__TEXT(args) " " AW__TEXT(__VA_ARGS__), NULL}

#define AW__RUN(name) \
    static aw_use_RETURN_not_return aw_run_##name( \
        aw__ctx *aw_t, struct aw_frame_##name *self)

#define AW__ASYNC_1(name, args) AW__ASYNC(name, args, )
#define AW__ASYNC_M(name, args, ...) AW__ASYNC(name, args, __VA_ARGS__)
#define AW__ASYNC(name, args, ...) \
    AW__DECLARE_ARGS(name, args); \
    AW__DEFINE(static AW__UNUSED, name, args, __VA_ARGS__); \
    AW__RUN(name)

#define AW__DEFINE_1(name, args) AW__DEFINED(/* external */, name, args, )
#define AW__DEFINE_M(name, args, ...) \
    AW__DEFINED(/* external */, name, args, __VA_ARGS__)
#define AW__DEFINED(linkage, name, args, ...) \
    AW__DEFINE(linkage, name, args, __VA_ARGS__); \
    struct aw_same_##name { \
        AW__ARGS_HEAD \
        AW__UNPACK args \
    }; \
    AW__ASSERT(sizeof(struct aw_same_##name) == sizeof(aw_args_##name), \
               differs_from_its_ASYNC_DECLARE_##name); \
    AW__RUN(name)

/* ASYNC(name, (int arg; char *other;), int local; char buf[80];)
   defines an async function; `self->arg`, `self->local` in its body.
   Arguments are copied when it is called, locals start as zero. Locals of
   the plain kind do not survive an await. Returns int through RETURN. */
#define AW_ASYNC(name, ...) \
    AW__JOIN(AW__ASYNC_, AW__COUNT(__VA_ARGS__))(name, __VA_ARGS__)

/* ASYNC_MAX(name, 256); behind an async function or view: a frame of more bytes
   does not compile. That is its arguments, its locals and some 40 bytes of the
   header's; each call that waits has one. */
#define AW_ASYNC_MAX(name, bytes) \
    AW__ASSERT(sizeof(struct aw_frame_##name) <= (size_t)(bytes), \
               ASYNC_MAX_of_##name##_exceeded_shrink_its_locals_or_raise_it)

/* The same in two steps, for several files or mutual recursion:
   ASYNC_DECLARE(name, (args;)); in the shared header, then in one file
   ASYNC_DEFINE(name, (args;), locals;) { ... } */
#define AW_ASYNC_DECLARE(name, args) \
    AW__DECLARE_ARGS(name, args); \
    extern const aw_fn aw_fn_##name
#define AW_ASYNC_DEFINE(name, ...) \
    AW__JOIN(AW__DEFINE_, AW__COUNT(__VA_ARGS__))(name, __VA_ARGS__)

/* BEGIN { body } FINALLY { clean-up }: FINALLY is optional, and runs exactly
   once, however the body ends. `break` out of the body leaves through it. */
#define AW_BEGIN \
    for (;; aw__fell(&self->aw)) \
        if (self->aw.phase & 1) return (void)aw_t, aw__step(AW__DONE); \
        else if (self->aw.phase == AW__BODY) \
            switch (AW__PC_AT(self->aw.pc)) \
            default: for (aw__bad_await(&self->aw); 0;) case AW__PC(0):
#define AW_FINALLY \
        else switch (AW__PC_AT(self->aw.pc)) \
            default: for (aw__bad_await(&self->aw); 0;) \
            case AW__PC_AT(AW__PC_FINALLY):

/* Leaves the function with a result: >= 0, or a negative AW_E... which the
   caller's AWAIT passes on. In FINALLY it ends the FINALLY; the outcome
   stays what it was. */
#define AW_RETURN(v) return aw__leave(aw_t, &self->aw, (v), __LINE__)

#define AW__CALL(how, ...) \
    AW__CALL_(how, AW__FIRST(__VA_ARGS__, ), AW__REST(__VA_ARGS__, ))
#define AW__CALL_(how, fn, ...) AW__CALL__(how, fn, __VA_ARGS__)
#define AW__CALL__(how, fn, ...) \
    (AW__UNPACK how &aw_fn_##fn, \
     AW__ADDRESS(aw_args_##fn, AW__ARGS_INIT __VA_ARGS__))

#define AW__AT(line, step) \
    self->aw.pc = (line); \
    return step; \
    case AW__PC(line):

/* AWAIT(fn, args...) waits for an async function. A negative result leaves
   this function with it, as an exception would (in FINALLY it is logged). */
#define AW_AWAIT(...) do { \
        AW__AT(__LINE__, aw__call AW__CALL((aw_t, ), __VA_ARGS__)) \
        if (aw_t->rc < 0 && aw__failed(aw_t, &self->aw)) \
            return aw__step(AW__AGAIN); \
    } while (0)

/* AWAIT_TO(lvalue, fn, args...): the result, negative or not, lands there. */
#define AW_AWAIT_TO(lv, ...) do { \
        AW__AT(__LINE__, aw__call AW__CALL((aw_t, ), __VA_ARGS__)) \
        (lv) = aw_t->rc; \
    } while (0)

/* The same within ms milliseconds; then fn is cancelled, its FINALLY has run,
   and the result is AW_EDEADLINE. ms <= 0: at its first suspension. */
#define AW_AWAIT_FOR(ms, ...) do { \
        AW__AT(__LINE__, aw__call_for AW__CALL((aw_t, (ms), ), __VA_ARGS__)) \
        if (aw__deadline_end(aw_t, &self->aw) && aw__failed(aw_t, &self->aw)) \
            return aw__step(AW__AGAIN); \
    } while (0)
#define AW_AWAIT_FOR_TO(ms, lv, ...) do { \
        AW__AT(__LINE__, aw__call_for AW__CALL((aw_t, (ms), ), __VA_ARGS__)) \
        (void)aw__deadline_end(aw_t, &self->aw); \
        (lv) = aw_t->rc; \
    } while (0)

/* Waits for fn; a cancellation of this task waits too (up to cleanup_ms):
   for a COMMIT that must not be cut in half. */
#define AW_SHIELD(...) do { \
        self->aw.flags |= AW__SHIELD; \
        AW__AT(__LINE__, aw__call AW__CALL((aw_t, ), __VA_ARGS__)) \
        self->aw.flags &= (uint16_t)~AW__SHIELD; \
        if (aw_t->rc < 0 && aw__failed(aw_t, &self->aw)) \
            return aw__step(AW__AGAIN); \
    } while (0)

/* START(fn, args...): runs fn beside this body, as its child. The frame does
   not end before its children have; the first error of one cancels the
   others and leaves this body at its await. START_TO(lvalue, ...): the
   result lands in the int lvalue (in self!) and disturbs nobody. Both give
   an aw_task; out of memory counts as the child's error AW_ENOMEM. */
#define AW_START(...) \
    aw__start AW__CALL((aw_t, &self->aw, NULL, ), __VA_ARGS__)
#define AW_START_TO(lv, ...) \
    aw__start AW__CALL((aw_t, &self->aw, &(lv), ), __VA_ARGS__)

/* GATHER(): all children have ended; an error leaves. GATHER_FOR(ms) ends
   those still running then, with AW_EDEADLINE. RACE_TO(lv): the result of
   the first to end, the others are cancelled and have ended. */
#define AW_GATHER() AW_GATHER_FOR(AW_FOREVER)
#define AW_GATHER_FOR(ms) do { \
        AW__AT(__LINE__, aw__gather(aw_t, &self->aw, (ms), false)) \
        if (aw__deadline_end(aw_t, &self->aw) && aw__failed(aw_t, &self->aw)) \
            return aw__step(AW__AGAIN); \
    } while (0)
#define AW_GATHER_TO(lv) AW_GATHER_FOR_TO(AW_FOREVER, lv)
#define AW_GATHER_FOR_TO(ms, lv) do { \
        AW__AT(__LINE__, aw__gather(aw_t, &self->aw, (ms), false)) \
        (void)aw__deadline_end(aw_t, &self->aw); \
        (lv) = aw_t->rc; \
    } while (0)
#define AW_RACE_TO(lv) do { \
        AW__AT(__LINE__, aw__gather(aw_t, &self->aw, AW_FOREVER, true)) \
        (lv) = aw_t->rc; \
    } while (0)

/* SPAWN(fn, args...): a task of the application's; it outlives the frame, and
   inside a view the request (whose memory it keeps). It first runs after the
   spawner's next await or, in a plain VIEW, its return. Gives an aw_task;
   when it fails: AW_ENOMEM, in a drain AW_ESHUTDOWN, told by aw_join.
   SPAWN_ON(loop, ...) is for code outside tasks, on the loop's thread. */
#define AW_SPAWN(...) aw__spawn AW__CALL((aw_t, ), __VA_ARGS__)
#define AW_SPAWN_ON(loop, ...) aw__spawn_on AW__CALL(((loop), ), __VA_ARGS__)

/* AW_BIND(fn, args...) -> aw_bound; AWAIT(aw_call, bound) runs it. */
#define AW_BIND(...) aw__bind AW__CALL((aw_t, ), __VA_ARGS__)

/* DEFER(fn, arg): calls fn(arg) when this frame ends, the newest first, after
   FINALLY. Out of memory (never for a frame's first): fn(arg) is called at
   once, and the function left with AW_ENOMEM. */
#define AW_DEFER(fn, arg) do { \
        if (aw__defer(aw_t, &self->aw, (fn), (arg)) < 0) \
            return aw__leave(aw_t, &self->aw, AW_ENOMEM, __LINE__); \
    } while (0)

/* In FINALLY: the result that is leaving; negative: an error, AW_ECANCELED
   or AW_EDEADLINE. */
#define AW_OUTCOME() (self->aw.rc)

/* Zeroed memory that lives as long as this frame; NULL: out of memory. */
#define aw_frame_new(T) ((T *)aw__frame_get(aw_t, sizeof(T)))

/* The task and the loop that run this function. */
#define AW_SELF() aw__self(aw_t)
#define AW_LOOP() (aw_t->loop)

/* An awaitable of the header's own: whatever is declared with this Awaits, and
   works with every verb. */
#define AW__AWAITABLE(name, args) \
    AW__DECLARE_ARGS(name, args); \
    AW__OBJECT_API const aw_fn aw_fn_##name
#define AW__AWAITABLE_DEFINE(...) AW__DEFINED(AW__OBJECT, __VA_ARGS__)

/* Sleeps for ms (<= 0: lets others run once; AW_FOREVER: until cancelled).
   0. Never early; late by what the loop is busy. */
AW__AWAITABLE(aw_sleep_ms, (int64_t ms;));

/* Lets every other ready task run once. 0. */
AW__AWAITABLE(aw_yield, (AW__NO_ARGS));

/* Until fd is readable (data, end of stream, an error to be read) or
   writable. The descriptor stays yours. AW_EBUSY: another task waits for the
   same; AW_EBADF; AW_ECLOSED: aw_fd_closing was called. Regular files are
   always ready. The result is what it is: a sum of AW_READ and AW_WRITE. */
AW__AWAITABLE(aw_readable, (int fd;));
AW__AWAITABLE(aw_writable, (int fd;));
AW__AWAITABLE(aw_readable_or_writable, (int fd;));
enum { AW_READ = 1, AW_WRITE = 2 };

/* To be called before you close a descriptor that a task may be waiting for:
   those waits end with AW_ECLOSED, and the poller forgets it. */
AW_API void aw_fd_closing(aw_loop *loop, int fd);

/* Waits for a task's end: its result, AW_ECHILDCANCELED when it was cancelled,
   AW_ENOTASK when its slot was reused (after at least 64 later tasks),
   AW_EDEADLK for oneself or an ancestor, AW_EINVAL for another loop's. */
AW__AWAITABLE(aw_join, (aw_task task;));

/* Runs a bound function; its result. AW_ENOMEM when AW_BIND had no memory. */
AW__AWAITABLE(aw_call, (aw_bound bound;));

/* Asks a task to end: at its next await, through every FINALLY. Cancelling an
   ended task does nothing. Awaits: no. */
AW_API void aw_cancel(aw_task task);

/* True once the task has ended (or never was). aw_failed: why a SPAWN or START
   gave no task (AW_ENOMEM, AW_ESTACK, AW_ESHUTDOWN), 0 for a task. */
AW_API bool aw_ended(aw_task task);
AW_API int aw_failed(aw_task task);

/* An event: zeroed is a valid, unset one. set() wakes all waiters and stays
   set; pulse() wakes those waiting now. asyncio.Event, Condition.notify_all.
   It must outlive its waiters, as the two below. The wait's result is 0. */
typedef struct aw_event {
    void *waiters;
    bool is_set;
} aw_event;
AW_API void aw_event_set(aw_event *e);
AW_API void aw_event_clear(aw_event *e);
AW_API void aw_event_pulse(aw_event *e);
AW__AWAITABLE(aw_event_wait, (aw_event *event;));

/* A semaphore: { .value = n } permits. First come, first served. */
typedef struct aw_semaphore {
    int value;
    void *waiters;
} aw_semaphore;
AW_API void aw_semaphore_release(aw_semaphore *s);
AW_API bool aw_semaphore_try(aw_semaphore *s);
AW__AWAITABLE(aw_semaphore_acquire, (aw_semaphore *semaphore;));

/* A bounded queue of pointers over an array of yours. First come, first
   served on both sides. put: 0, AW_ECLOSED; get: 0, and AW_ECLOSED when the
   queue is closed and empty: what is in it can still be taken. try_*: AW_EAGAIN
   when full or empty. All of the loop's thread. */
typedef struct aw_queue {
    void **items;
    size_t capacity, count, first;
    void *getters, *putters;
    bool closed;
} aw_queue;
AW_API void aw_queue_init(aw_queue *q, void **items, size_t capacity);
AW_API int aw_queue_try_put(aw_queue *q, void *item);
AW_API int aw_queue_try_get(aw_queue *q, void **item);
AW_API void aw_queue_close(aw_queue *q);
AW__AWAITABLE(aw_queue_put, (aw_queue *queue; void *item;));
AW__AWAITABLE(aw_queue_get, (aw_queue *queue; void **item;));

#ifndef ASYNCWEB_NO_THREADS
/* Runs fn(arg) on a helper thread; its result. There are ASYNCWEB_MAX_THREADS
   (4), and as many to look up names; more work waits its turn. Cancellations
   and deadlines wait until fn has returned, so that arg stays valid: the end
   of the program, too. AW_ENOMEM: no thread. Awaits: yes. */
AW__AWAITABLE(aw_thread, (int (*fn)(void *); void *arg;));
#endif

/* >>loop  The loop: to run, to stop, to embed ------------------------------ */

typedef enum aw_log_level {
    AW_LOG_ERROR, AW_LOG_WARNING, AW_LOG_INFO, AW_LOG_ACCESS
} aw_log_level;

/* Everything in it may be zero. */
typedef struct aw_loop_config {
    int64_t cleanup_ms;         /* for all FINALLY of a cancellation; 5,000;
                                   negative: no limit */
    size_t max_task_bytes;      /* frames of one task; 1 MiB */
    int64_t names_ms;           /* that a name's addresses are kept; 30,000;
                                   AW_OFF */
    bool debug;                 /* look for pointers into the dead stack, ... */
    void (*log)(void *data, aw_log_level level, const char *line);
    void *log_data;             /* NULL log: lines go to stderr */
    void *memory;               /* with ASYNCWEB_FIXED_MEMORY, and only then: */
    size_t memory_size;         /* the loop takes nothing else; see aw_config */
} aw_loop_config;

/* A loop of this thread's. NULL: out of memory or descriptors, or .memory does
   not go with the build (said in the log). */
AW_API aw_loop *aw_loop_new(const aw_loop_config *config);

/* Cancels what still runs, lets every FINALLY end, frees all. NULL is fine. */
AW_API void aw_loop_free(aw_loop *loop);

/* Runs until no task is left or aw_loop_stop was called, which cancels nothing:
   the loop can be run again. 0 or an error. */
AW_API int aw_loop_run(aw_loop *loop);
AW_API void aw_loop_stop(aw_loop *loop);

/* One turn, for a host with a loop of its own: waits at most max_wait_ms
   (AW_FOREVER: as long as it takes) for something to do, does it. Returns the
   number of tasks left, or an error: the poller's, or AW_EDEADLK when time is
   virtual and nothing can happen any more. The host waits for aw_loop_fd to be
   readable, at most aw_loop_wait_ms. aw_loop_fd is AW_ENOTSUP with poll. */
AW_API int aw_loop_step(aw_loop *loop, int64_t max_wait_ms);
AW_API int aw_loop_fd(const aw_loop *loop);
AW_API int64_t aw_loop_wait_ms(aw_loop *loop);

/* The loop's time: monotonic milliseconds, read once a turn. */
AW_API int64_t aw_now_ms(const aw_loop *loop);

/* Calls fn(loop, arg) on the loop's thread, soon. The one call that other
   threads (not signal handlers) may make. 0; AW_ENOMEM; AW_ENOTSUP without
   threads. */
AW_API int aw_post(aw_loop *loop, void (*fn)(aw_loop *, void *), void *arg);

/* To be called first in a forked child that goes on with the loop: gives it a
   poller of its own. Helper threads stayed behind: an aw_thread or a look-up of
   a name that was under way gives AW_EIO. An error leaves a loop that can only
   be freed. A child that has no use for the loop does without, and must not
   free it. */
AW_API int aw_loop_after_fork(aw_loop *loop);

/* One log line per task and frame: function, file:line, what it waits for. */
AW_API void aw_loop_dump(aw_loop *loop);

/* Bytes in use, what the blocks cost beside included with
   ASYNCWEB_FIXED_MEMORY; elsewhere all but `used` is 0. */
typedef struct aw_memory {
    size_t size, used;          /* what the buffer has room for */
    size_t most;                /* in use at any time so far */
    size_t largest;             /* block that could be had now */
} aw_memory;
AW_API aw_memory aw_loop_memory(const aw_loop *loop);
/* >>json  JSON: reading, lookup, writing --------------------------------- */

#ifndef ASYNCWEB_NO_JSON

/* How deep arrays and objects may nest, read or written: 1 to 1000. */
#ifndef ASYNCWEB_JSON_DEPTH
#define ASYNCWEB_JSON_DEPTH 64
#endif

/* A value of a parsed document: read-only, owned by whoever parsed it. Every
   function below takes NULL, and a value of another type, for "not there":
   chains of lookups need no checks. */
typedef struct aw_value aw_value;

enum {
    AW_JSON_NONE,       /* no value: NULL */
    AW_JSON_NULL,
    AW_JSON_BOOL,
    AW_JSON_INT,        /* a number without fraction or exponent in int64_t */
    AW_JSON_DOUBLE,     /* every other number: the nearest double */
    AW_JSON_STRING,
    AW_JSON_ARRAY,
    AW_JSON_OBJECT
};

/* One of AW_JSON_... */
AW_API int aw_json_type(const aw_value *v);

/* The value at a path of names and indexes, or NULL: "user.name", "items.0.id".
   "" is v itself. A name that contains a dot needs aw_json_member(). */
AW_API const aw_value *aw_json_get(const aw_value *v, const char *path);

/* The member of exactly this name, or NULL. Of several the last one counts.
   Takes time in proportion to the number of members. */
AW_API const aw_value *aw_json_member(const aw_value *v, const char *name);

/* The item of an array, or the member of an object, by its number from 0, in
   the order of the text; NULL past the end. Constant time. */
AW_API const aw_value *aw_json_at(const aw_value *v, size_t index);

/* Items of an array, members of an object, bytes of a string; else 0. */
AW_API size_t aw_json_len(const aw_value *v);

/* A string's text: UTF-8, NUL-terminated, owned by the document. It may hold
   NULs of its own (\u0000): aw_json_len() counts them. Else def. */
AW_API const char *aw_json_str(const aw_value *v, const char *def);

/* A number that is a whole one in the range of int64_t (3.0 and 3e2 count),
   else def. */
AW_API int64_t aw_json_int(const aw_value *v, int64_t def);

/* A number, an integer rounded to the nearest double; else def. */
AW_API double aw_json_double(const aw_value *v, double def);

/* true or false; for all that is not a JSON boolean, def. */
AW_API bool aw_json_bool(const aw_value *v, bool def);

/* The first item or member, and the one behind it; NULL at the end:
   for (v = aw_json_first(list); v; v = aw_json_next(v)) ... */
AW_API const aw_value *aw_json_first(const aw_value *v);
AW_API const aw_value *aw_json_next(const aw_value *v);

/* The name of an object's member; NULL for every other value. */
AW_API const char *aw_json_key(const aw_value *v);

/* Writes JSON, and cannot write anything else. Give a name inside an object,
   NULL inside an array and for the one value at the top. The first mistake
   sticks and shows when the text is sent: AW_EINVAL for a name missing or
   out of place, a second value at the top, an end too many or too few, or
   nesting beyond ASYNCWEB_JSON_DEPTH; AW_ENOMEM. Calls after it do nothing,
   nor do calls with a NULL writer. Names are not checked for duplicates. */
typedef struct aw_json_writer aw_json_writer;

/* Begin an object or an array; aw_put_end() closes the innermost one. */
AW_API void aw_put_object(aw_json_writer *w, const char *name);
AW_API void aw_put_array(aw_json_writer *w, const char *name);
AW_API void aw_put_end(aw_json_writer *w);

AW_API void aw_put_null(aw_json_writer *w, const char *name);
AW_API void aw_put_bool(aw_json_writer *w, const char *name, bool value);
AW_API void aw_put_int(aw_json_writer *w, const char *name, int64_t i);

/* The shortest text that reads back as the same double: 0.1, 3.0, 1e+30. NaN
   and the infinities, which JSON has not, become null. */
AW_API void aw_put_double(aw_json_writer *w, const char *name, double d);

/* A string, n bytes of one, or null for NULL. What is not UTF-8 in it becomes
   U+FFFD. */
AW_API void aw_put_str(aw_json_writer *w, const char *name, const char *s);
AW_API void aw_put_strn(aw_json_writer *w, const char *name, const char *p,
                        size_t n);

/* A copy of a parsed value with all that is in it; null for NULL. */
AW_API void aw_put_value(aw_json_writer *w, const char *name,
                         const aw_value *v);

/* A member of an answer in one line; made by the functions below. Borrows the
   name, the string and the value. */
typedef struct aw_field {
    const char *name;
    int type;                   /* AW_JSON_...; AW_JSON_NONE: as.value */
    union aw__field_as {
        bool b;
        int64_t i;
        double d;
        const char *s;
        const aw_value *value;
    } as;
} aw_field;

AW_API aw_field aw_null(const char *name);
AW_API aw_field aw_bool(const char *name, bool b);
AW_API aw_field aw_int(const char *name, int64_t i);
AW_API aw_field aw_double(const char *name, double d);
AW_API aw_field aw_str(const char *name, const char *s);       /* NULL: null */
AW_API aw_field aw_val(const char *name, const aw_value *v);   /* NULL: null */

/* Documents of your own: a WebSocket's messages, a body for aw_fetch, a file.
   Zeroed is an empty one; it keeps what is read and written in it until
   aw_json_free, after which it is empty again. In an async function it belongs
   into the frame, and DEFER(aw_json_free, &self->doc) behind it. */
typedef struct aw_json_doc {
    void *memory;
#ifdef ASYNCWEB_FIXED_MEMORY
    aw_loop *loop;              /* to be set: it is that one's memory */
#endif
} aw_json_doc;

/* Reads text, n bytes of it; NULL: it is no JSON, or out of memory. */
AW_API const aw_value *aw_json_parse(aw_json_doc *doc, const char *text,
                                     size_t n);

/* A writer, NULL: out of memory; and the text it has written, NUL-terminated,
   *n (which may be NULL) bytes without that. NULL: a mistake was made, or there
   was no memory. aw_json_text is for writers of a request, too. */
AW_API aw_json_writer *aw_json_write(aw_json_doc *doc);
AW_API const char *aw_json_text(aw_json_writer *w, size_t *n);

/* Gives its memory back. For DEFER, hence void *. */
AW_API void aw_json_free(void *doc);

#endif /* ASYNCWEB_NO_JSON */

/* >>stream  Streams: any protocol over TCP -------------------------------- */

typedef struct aw_stream aw_stream;
typedef struct aw_listener aw_listener;

/* Opens a stream to host (a name, an IPv4 or an IPv6 address) and port. Of a
   name up to 8 addresses are tried, IPv6 and IPv4 in turns, each 250 ms after
   the one before or as soon as one fails; the first to connect wins, the
   others are closed (RFC 8305). The system gives up after minutes: AWAIT_FOR.
   0, and *out; or *out is NULL and the result the last error, though "cannot
   be reached" only when there is no other: AW_EDNS (logged), AW_ECONNREFUSED,
   AW_EUNREACH, AW_ETIMEDOUT, AW_EMFILE, AW_ENOMEM, ...
   Names are asked for once at a time and kept for names_ms (see
   aw_loop_config), but not when none of their addresses was of use.
   A cancelled one leaves nothing open. Awaits: yes. */
AW__AWAITABLE(aw_connect, (aw_stream **out; const char *host; int port;));

/* Waits for connections at host (NULL: every address; a name: its first IPv6
   and its first IPv4 address) and port (0 or AW_ANY_PORT: a free one, see
   aw_listener_port).
   0, or *out is NULL and the result AW_EADDRINUSE, AW_EADDRNOTAVAIL, AW_EACCES,
   AW_EDNS, AW_EMFILE, AW_ENOMEM. Awaits: only for the name. */
AW__AWAITABLE(aw_listen, (aw_listener **out; const char *host; int port;));

/* The next connection. 0; AW_EMFILE (it stays queued: wait a while), AW_EBUSY:
   another task accepts here, AW_ECLOSED: the listener was closed. */
AW__AWAITABLE(aw_accept, (aw_listener *listener; aw_stream **out;));

/* What is there, at least one byte; 0 at the end of the stream. One task at a
   time may read: AW_EBUSY. AW_ECONNRESET; AW_ECLOSED: aw_close was called
   meanwhile; AW_EINVAL: size is over INT_MAX. The buffer must stay alive until
   the await ends.
   No read that fails or is cancelled consumes a byte: the next one gets what
   it had. (If there is no memory to keep that: AW_ENOMEM from then on.) */
AW__AWAITABLE(aw_read, (aw_stream *stream; void *buffer; size_t size;));

/* All of size, which is the result; AW_EEOF: the stream ended before. */
AW__AWAITABLE(aw_read_exactly, (aw_stream *stream; void *buffer; size_t size;));

/* Up to and with the delimiter, a string: the count. Not NUL-terminated.
   AW_ETOOBIG: it is not within size bytes; AW_EEOF: nor in the rest. */
AW__AWAITABLE(aw_read_until, (aw_stream *stream; void *buffer; size_t size;
                              const char *delimiter;));

/* Writes all of it: size. One task at a time: AW_EBUSY. AW_ECLOSED or
   AW_ECONNRESET: the peer is gone. After an error or a cancellation an unknown
   part is on its way. The data must stay alive until the await ends. */
AW__AWAITABLE(aw_write, (aw_stream *stream; const void *data; size_t size;));

/* Ends the stream in order, what was written arrives, and frees it; waits of
   other tasks there end with AW_ECLOSED. Always 0; NULL is fine. It belongs
   in FINALLY: in the body, a cancelled task does not get there. */
AW__AWAITABLE(aw_close, (aw_stream *stream;));

/* Closes and frees at once, unread input makes that a reset. For DEFER, hence
   void *. NULL is fine. A stream nobody closed, aw_loop_free does. */
AW_API void aw_stream_abort(void *stream);

/* The peer, as "192.0.2.1:80" or "[2001:db8::1]:80", in text. Give it
   AW_PEER_TEXT bytes. Returns text. */
enum { AW_PEER_TEXT = 64 };
AW_API const char *aw_stream_peer(const aw_stream *stream, char *text,
                                  size_t size);

/* The port it listens at. */
AW_API int aw_listener_port(const aw_listener *listener);

/* Stops listening and frees it; a task in aw_accept gets AW_ECLOSED. For DEFER,
   too. NULL is fine. */
AW_API void aw_listener_close(void *listener);

/* >>tls  TLS (needs BearSSL) ----------------------------------------------- */

/* With -DASYNCWEB_BEARSSL for every file of the program, and -lbearssl, the
   HTTP client fetches https://, a server with .tls speaks it, and streams can
   be opened to TLS servers. Without, that is AW_ENOTLS, and there is no code
   for it. TLS 1.2, ECDHE with AES-GCM or ChaCha20-Poly1305: BearSSL has no TLS
   1.3. */

/* How a client makes sure whom it talks to. All zero: the certificate is for
   the host that was asked for, is valid now, and a root of the system's has
   signed it: of SSL_CERT_FILE, or of the usual bundles of Debian, Red Hat,
   SUSE, Alpine, the BSDs and macOS. Files are read when they have changed;
   connections and sessions are shared by equal options only. */
typedef struct aw_tls {
    const char *ca_file AW__OPT;        /* these roots instead, PEM or DER; a
                                           self-signed certificate is one, too */
    const char *ca_pem AW__OPT;         /* the same as text; before ca_file */
    const char *pin AW__OPT;            /* and its key has this hash: "sha256//"
                                           and base64, as curl's pinnedpubkey */
    const char *server_name AW__OPT;    /* instead of the host's name */
    const char *certificate AW__OPT;    /* shown to the server: PEM file, chain */
    const char *key AW__OPT;            /* its key; NULL: in the same file */
    bool insecure AW__OPT;              /* nothing of it (but the pin) is
                                           checked; logged each time */
} aw_tls;

/* A certificate with its chain, the server's own first, and its key: PEM files,
   RSA or EC. key NULL: in the same file. */
typedef struct aw_tls_pair {
    const char *certificate, *key;
} aw_tls_pair;

/* What a server shows: .tls = {.certificate = "chain.pem", .key = "key.pem"}.
   aw_run reads the files again at SIGHUP; when one is bad the old ones stay,
   and connections stay in any case. */
typedef struct aw_tls_server {
    const char *certificate AW__OPT, *key AW__OPT;
    /* Others, ended by {NULL}: the first that is for the name a client asks for
       (SNI) and of a kind it takes is shown, else the first of all. */
    const aw_tls_pair *more AW__OPT;
    const char *client_ca AW__OPT;      /* roots: clients are asked for a
                                           certificate by one of them... */
    bool client_required AW__OPT;       /* ...and refused without */
    int64_t handshake_ms AW__OPT;       /* for a handshake, 10,000 */
} aw_tls_server;

#ifdef ASYNCWEB_BEARSSL
/* As aw_connect, and then the handshake; tls NULL: all zero. Reads and writes
   are those of any stream; aw_read gives 0 only when the peer has said that
   this is the end, and AW_EEOF when the connection just ended.
   Besides aw_connect's results: AW_ETLS_ISSUER, AW_ETLS_SELF_SIGNED,
   AW_ETLS_NAME, AW_ETLS_EXPIRED, AW_ETLS_NOT_YET, AW_ETLS_CLOCK, AW_ETLS_WEAK,
   AW_ETLS_USE, AW_ETLS_PIN, AW_ETLS_VERSION, AW_ETLS_ROOTS, AW_ETLS: anything
   else, a refusal of our certificate too; AW_EINVAL: options that make no sense
   (logged).
   Awaits: yes. */
AW__AWAITABLE(aw_connect_tls, (aw_stream **out; const char *host; int port;
                               const aw_tls *tls;));

/* Whom the client's certificate, which client_ca has vouched for, names:
   "CN=alice,O=Example", as it stands there; NULL: there is none, or the
   client has gone. The request's. */
AW_API const char *aw_tls_peer_subject(aw_req *req);

/* Reads the files of .tls again, as aw_run does at SIGHUP. 0; or what is wrong
   with them (logged), and the old ones stay; AW_EINVAL: no .tls is served. */
AW_API int aw_serve_reload(aw_loop *loop);
#endif

/* >>client  HTTP client ---------------------------------------------------- */

#ifndef ASYNCWEB_NO_CLIENT

/* A header field. Lists of them end with {NULL, NULL}. */
typedef struct aw_header_field {
    const char *name, *value;
} aw_header_field;

/* What another server answered. It belongs to the request it was fetched in
   or, outside of requests, to the task (inside a group: to the outermost
   task), and is freed with it, all it points to included. */
typedef struct aw_response {
    int status;                 /* 200..599 */
    const char *body;           /* NUL-terminated; "" when there is none */
    size_t body_len;
    const aw_header_field *headers;     /* as they came */
    const char *url;            /* that answered: behind the redirects */
} aw_response;

/* GETs an http:// or, with TLS (>>tls), an https:// URL. The result is the
   status, 404 as well as 200, and *out the reply; a reply that *out held
   before is freed then. On an error *out is NULL. Strings are copied before
   the caller goes on. Awaits: yes.
   AW_EURL, AW_ENOTLS (both logged), AW_EDNS, AW_ECONNREFUSED, AW_EUNREACH,
   AW_ETIMEDOUT: no connection in 10 s, or not all there in 30 s.
   AW_ECONNRESET, AW_EEOF: it ended before the answer did. AW_EBADMSG: not
   HTTP/1.x (RFC 9112). AW_ETOOBIG: body above 16 MiB, or head above 64 KiB or
   256 fields. AW_ENOMEM, AW_EMFILE. Of https also as of aw_connect_tls. */
AW__AWAITABLE(aw_get, (aw_response **out; const char *url;));

typedef struct aw_client aw_client;

/* A field of a form that is sent. Lists of them end with {NULL}. */
typedef struct aw_form_field {
    const char *name;
    const char *value AW__OPT;
    size_t size AW__OPT;        /* of value, bytes; 0: strlen(value) */
    /* Of a file: any of these three makes the form multipart/form-data. The
       file at path is read while it is sent, and value not looked at. */
    const char *path AW__OPT;
    const char *filename AW__OPT;       /* NULL: the last part of path */
    const char *type AW__OPT;           /* NULL: by the name's extension */
} aw_form_field;

/* Any request: AWAIT(aw_fetch, &self->reply, .url = "http://host/",
   .method = "PUT", .body = text). In C++20 name all: .out = &self->reply.
   Results as for aw_get, and AW_EINVAL (logged): bad method, field or form.
   Connections are kept and shared (aw_client). GET, HEAD, OPTIONS, TRACE, PUT
   and DELETE are sent once more when a kept one turns out to have been closed.
   Awaits: yes. */
AW__AWAITABLE(aw_fetch, (
    aw_response **out AW__OPT;      /* NULL: only the status matters */
    const char *url AW__OPT;        /* http[s]://[user:password@]host[:port]/ */
    const char *method AW__OPT;     /* NULL: GET; with a body POST */
    /* Yours replace ours (Host, User-Agent, Accept, Authorization,
       Content-Type) and the client's; one with value NULL is left out. */
    const aw_header_field *headers AW__OPT;
    /* Copied up to 16 KiB; a longer one has to stay until the end. */
    const char *body AW__OPT;
    size_t body_len AW__OPT;        /* 0: strlen(body) */
    const char *content_type AW__OPT;
    /* For everything together; 0: 30 s; AW_FOREVER. A deadline around this
       await may be shorter, and gives AW_EDEADLINE. */
    int64_t timeout_ms AW__OPT;
    size_t max_body AW__OPT;        /* of the reply, bytes; 0: 16 MiB */
    aw_client *client AW__OPT;      /* NULL: the loop's own */
    /* How many to follow; 0: as the client says; AW_OFF: none. 303, and 301 and
       302 of a POST, go on with GET and no body (RFC 9110 15.4). To another
       origin no credentials go, nor cookies. Past the last, without a Location
       that can be followed, from https to http, with .send: the redirect
       itself is the reply. */
    int max_redirects AW__OPT;
    const char *basic AW__OPT;      /* "user:password" (RFC 7617) */
    const char *bearer AW__OPT;     /* a token (RFC 6750) */
    /* Instead of a body: as application/x-www-form-urlencoded, or with files
       multipart/form-data (RFC 7578), both UTF-8. Copied, but for files, which
       are opened at once: AW_ENOENT, AW_EACCES, ... (logged); AW_EIO: it got
       shorter meanwhile. */
    const aw_form_field *form AW__OPT;
    /* The result comes with the head, and aw_response_read has the body: any
       length in flat memory. timeout_ms is for the head, and for each read. */
    bool stream AW__OPT;
    /* The result, 0, comes when the request's head is sent; aw_fetch_send sends
       the body and aw_fetch_end gets the answer, whole or with .stream. Then
       body_len is its length; 0: unknown, it is sent in chunks. */
    bool send AW__OPT;
    const aw_tls *tls AW__OPT;));   /* of https; NULL: the client's */

/* The next piece of the body of a reply with .stream: up to size bytes, at
   least one; 0 at its end, AW_ECLOSED behind it or when there is no .stream.
   AW_EEOF, AW_ECONNRESET, AW_EBADMSG: it was cut off or broken, and stays so;
   AW_ETIMEDOUT: nothing for timeout_ms. AW_EBUSY: another task is at it. A
   read that is cancelled has consumed nothing. Awaits: yes.
   Example: proxy.c. */
AW__AWAITABLE(aw_response_read, (aw_response *reply; void *buffer;
                                 size_t size;));

/* The next piece of a body, after .send: size, once it is on its way. AW_EINVAL:
   longer than body_len said, or no .send. AW_ECLOSED, AW_ECONNRESET,
   AW_ETIMEDOUT (in timeout_ms): the server takes no more; what it says,
   aw_fetch_end tells. AW_ECLOSED, too, behind a piece that was cut short or
   cancelled. AW_EBUSY: another task is at it. The data must stay alive until
   the await ends. Awaits: yes, while the server is slow. */
AW__AWAITABLE(aw_fetch_send, (aw_response *reply; const void *data;
                              size_t size;));

/* The end of that body, and what is answered: the status, or an error as of
   aw_fetch; AW_EINVAL: less than body_len was sent, or there was an end before
   (also one that was cancelled). AW_EBUSY. Awaits: yes. */
AW__AWAITABLE(aw_fetch_end, (aw_response *reply;));

/* The value of the first field of that name, in any case; NULL: none. NULL
   for no reply. */
AW_API const char *aw_response_header(const aw_response *reply,
                                      const char *name);

#ifndef ASYNCWEB_NO_JSON
/* The body as JSON, read at the first call, owned by the reply. NULL when it
   is none (which is logged), is too deep, or for no reply. */
AW_API const aw_value *aw_response_json(const aw_response *reply);
#endif

/* Gives a reply back early: for tasks that go on fetching into new variables.
   A .stream that is not at its end closes its connection; another task that is
   at it gets AW_ECLOSED. NULL is fine. */
AW_API void aw_response_free(aw_response *reply);

/* What the fetches of a client have in common. Fetches that name none share
   one with the defaults. 0 is the default, AW_OFF no limit; strings and lists
   are copied. */
typedef struct aw_client_config {
    /* What a URL that begins with / is put behind: "http://host/v1". */
    const char *base_url AW__OPT;
    /* With every fetch that has none of that name, whatever origin it is for:
       what is secret belongs into basic or bearer. */
    const aw_header_field *headers AW__OPT;
    const char *basic AW__OPT, *bearer AW__OPT; /* to base_url's origin only */
    /* Connects there, whatever host the URL names: "/run/docker.sock". */
    const char *unix_socket AW__OPT;
    /* http://[user:password@]host[:port]. NULL: as the environment says in
       http_proxy, https_proxy and no_proxy; "": none. https and WebSockets go
       through a tunnel (CONNECT, RFC 9110 9.3.6). */
    const char *proxy AW__OPT;
    int max_redirects AW__OPT;          /* 0: none is followed */
    /* Keeps the cookies that are set, 300 at most, and sends them where they
       belong (RFC 6265bis), unless a fetch or .headers has a Cookie field.
       There is no list of public suffixes: a Domain of one label is taken for
       the host alone. */
    bool cookies AW__OPT;
    const aw_tls *tls AW__OPT;          /* of https; NULL: verified, all zero */
    /* Connections, also those that are idle or being made; fetches that find
       none free wait, first come, first served. */
    int max_connections AW__OPT;        /* 100 */
    int max_per_origin AW__OPT;         /* 50, to one host and port */
    int64_t idle_ms AW__OPT;            /* 10 s they are kept; AW_OFF: not */
    int64_t connect_timeout_ms AW__OPT; /* 10 s */
    int64_t timeout_ms AW__OPT;         /* 30 s, for everything together */
    size_t max_body AW__OPT;            /* 16 MiB, of a reply that is whole */
} aw_client_config;

/* A client of its own; NULL: out of memory, or something in the config is wrong
   (logged). Not for other threads. Awaits: no. Example: fetch.c. */
AW_API aw_client *aw_client_new(aw_loop *loop, const aw_client_config *config);

/* Gives it back: it ends with its last fetch. For DEFER, hence void *. NULL is
   fine. One nobody freed, aw_loop_free does. */
AW_API void aw_client_free(void *client);

/* An upstream that a test pretends to have. Tables end with {NULL}. */
typedef struct aw_mock {
    const char *url;            /* exact, or without the query */
    int status;                 /* 0: 200 */
    const char *body;           /* NULL: "" */
    const aw_header_field *headers;
    int64_t delay_ms;           /* before it answers; AW_FOREVER: silent */
    int error;                  /* AW_E...: fails with it, after the delay */
    const char *method;         /* NULL: any */
} aw_mock;

/* From now on every fetch of this loop is answered from the table (which has
   to stay), https:// too; no byte leaves the process. A URL that is not in it
   gets AW_ECONNREFUSED and a log line. NULL: the network again. */
AW_API void aw_loop_mock(aw_loop *loop, const aw_mock *mocks);

#endif /* ASYNCWEB_NO_CLIENT */

/* >>http  Requests and answers -------------------------------------------- */

/* A request lives until its view, all that the view owns and every task
   spawned in it have ended, and the answer is out. Strings these functions
   give are NUL-terminated and live as long; NULL: not there, or no memory. */

/* "GET", ...; the target as it was sent ("/a%20b?x=1"); its path, decoded
   once and without dot-segments ("/a b"); its query, raw, "" for none. */
AW_API const char *aw_method(aw_req *req);
AW_API const char *aw_raw_target(aw_req *req);
AW_API const char *aw_path(aw_req *req);
AW_API const char *aw_query_string(aw_req *req);

/* What <name> in the route matched, decoded. In debug, a name that the route
   does not have aborts with a message. aw_param_int: of <int:name>. */
AW_API const char *aw_param(aw_req *req, const char *name);
AW_API int64_t aw_param_int(aw_req *req, const char *name);

/* The first value of that name in the query, decoded; "" for `?name`. The
   int form gives otherwise when there is none or it is no integer. */
AW_API const char *aw_query(aw_req *req, const char *name);
AW_API const char *aw_query_or(aw_req *req, const char *name,
                               const char *otherwise);
AW_API int64_t aw_query_int(aw_req *req, const char *name, int64_t otherwise);

/* A header field; several of one name are joined by ", " (RFC 9110 5.3).
   aw_header_at: the i-th field as it came; false past the last. */
AW_API const char *aw_header(aw_req *req, const char *name);
AW_API bool aw_header_at(aw_req *req, size_t i, const char **name,
                         const char **value);

/* The whole body; .p is NUL-terminated, and "" for none, or on a route with
   .stream = true. */
AW_API aw_slice aw_body(aw_req *req);

/* The next piece of the body: up to size bytes, at least one; 0 at its end. On
   a route with .stream = true (an ASYNC_VIEW) the view starts when the head
   has come, and this reads from the socket, which is backpressure: nothing
   is read ahead. On other routes it reads what has come.
   AW_HTTP(400): bad chunks; AW_HTTP(408): slower than min_rate, or nothing
   for body_ms; AW_HTTP(413): longer than max_body. They stay, and the
   connection closes after the answer. AW_EBUSY: another task reads;
   AW_ECLOSED: the request is over; AW_EINVAL: size is 0 or over INT_MAX.
   The buffer must stay alive until the await ends; a read that is cancelled
   has taken nothing. What a view leaves unread is dropped, if it is little;
   else the connection closes. A client that asks for 100 Continue gets it at
   the first read. Awaits: yes. examples/upload.c (RFC 9112 6, 7.1) */
AW__AWAITABLE(aw_body_read, (aw_req *req; void *buffer; size_t size;));

/* The client: "127.0.0.1", "::1"; "unix:" of a UNIX socket; as trusted proxies
   say (aw_config.trusted_proxies) also what hides it, "unknown" or "_name"
   (RFC 7239 6). "" when it has gone. */
AW_API const char *aw_peer(aw_req *req);

/* How the client called this site: "http" or "https"; "example.com:8080", the
   authority of the target or Host, well-formed (RFC 9112 3.2), "" for none in
   HTTP/1.0; and both as "https://example.com", or "" without a host, so that
   aw_format(req, "%s/x", aw_base_url(req)) is a URL in any case. Trusted
   proxies are believed here, too. Anybody can send any Host: compare it with
   your names before it goes into a mail. */
AW_API const char *aw_scheme(aw_req *req);
AW_API const char *aw_host(aw_req *req);
AW_API const char *aw_base_url(aw_req *req);

/* Memory of the request's, aligned to 16; AW_NEW(req, T) is zeroed. */
AW_API void *aw_alloc(aw_req *req, size_t n);
AW_API char *aw_strdup(aw_req *req, const char *text);

/* Text like printf's, owned by the request. aw_url_encode makes any text fit
   for one segment of a path, or one value of a query: "a/b" is "a%2Fb"
   (RFC 3986 2.1). NULL: out of memory. */
AW_API const char *aw_format(aw_req *req, const char *format, ...) AW__PRINTF(2,
                             3);
AW_API const char *aw_url_encode(aw_req *req, const char *text);
AW_API void *aw__new(aw_req *req, size_t n);
#define AW_NEW(req, T) ((T *)aw__new((req), sizeof(T)))

/* aw_config.data of the application; AW_STATE(T) in any view or task. */
AW_API void *aw_data(aw_req *req);
AW_API void *aw__state(aw__ctx *t);
#define AW_STATE(T) ((T *)aw__state(aw_t))

/* One zeroed T a request, made at the first use: what a hook leaves for the
   view. NULL: out of memory, no request here, or a T of another size. */
AW_API void *aw__local(aw__ctx *t, size_t n);
#define AW_LOCAL(T) ((T *)aw__local(aw_t, sizeof(T)))

AW_API aw_loop *aw_req_loop(aw_req *req);

/* Answers. Each copies what it is given, replaces an earlier answer, and
   returns the status for the view to return: 200, or what aw_status set. On
   failure they return AW_ENOMEM or AW_EINVAL (NULL, a bad status, a bad
   header); a view that returns that is answered with 503 or 500. Awaits: no. */
AW_API int aw_text(aw_req *req, const char *text);     /* text/plain, UTF-8 */
AW_API int aw_html(aw_req *req, const char *html);
AW_API int aw_bytes(aw_req *req, const char *type, const void *p, size_t n);
AW_API int aw_printf(aw_req *req, const char *format, ...) AW__PRINTF(2, 3);
AW_API int aw_empty(aw_req *req, int status);
AW_API int aw_redirect(aw_req *req, const char *location);     /* 302 */

#ifndef ASYNCWEB_NO_STATIC_FILES
/* The answer is a file, of any size: it is sent from where it lies. Type by
   name, ETag, Last-Modified, ranges and conditions (206, 304, 412, 416) as for
   STATIC; with another aw_status than 200 it goes out whole. aw_send_file:
   `path` is yours, absolute or relative to the working directory, and symbolic
   links are followed. aw_send_file_in: `name` may be anybody's; what is not
   below `dir`, lies behind a symbolic link there, or has a name with a dot in
   front is not found. AW_HTTP(404); AW_HTTP(403): no permission; AW_ENOENT,
   AW_EACCES: of `dir`; AW_EMFILE, AW_ENOMEM, AW_EIO; AW_EINVAL for NULL. A
   file that shrinks meanwhile ends the connection. Reads the disk: on a slow
   one the loop waits. Awaits: no. */
AW_API int aw_send_file(aw_req *req, const char *path);
AW_API int aw_send_file_in(aw_req *req, const char *dir, const char *name);
#endif

/* These two do not copy: what they are given must live for ever. */
AW_API int aw_text_static(aw_req *req, const char *text);
AW_API int aw_bytes_static(aw_req *req, const char *type, const void *p,
                           size_t n);

/* Answers in pieces. aw_stream_begin says that the answer is what aw_send will
   send: chunked, until the connection's end for HTTP/1.0 (RFC 9112 7.1, 6.3);
   or with its length, when that is known. 0; AW_EINVAL: a bad type, or pieces
   were sent already; AW_ENOMEM. The head leaves with the first piece: until
   then status, fields and answer can still change. Awaits: no. */
AW_API int aw_stream_begin(aw_req *req, const char *type);
AW_API int aw_stream_begin_sized(aw_req *req, const char *type, int64_t size);

/* Sends a piece, and waits while the client does not take it: memory stays
   flat. The result is size; of 0 bytes the first sends the head alone. HEAD:
   nothing is sent. AW_EINVAL: not begun, or size is over INT_MAX; AW_ETOOBIG:
   more than the length that was told; AW_EBUSY: another task sends;
   AW_ECLOSED: the client is gone, or the request is over; AW_ENOMEM.
   The data must stay alive until the await ends. One that is cancelled is
   sent whole, or not at all.
   The view ends with 0. An error after the first piece, or fewer bytes than
   told, cut the connection off, so that the client knows. Awaits: yes. */
AW__AWAITABLE(aw_send, (aw_req *req; const void *data; size_t size;));

/* The status of the answer to come or already given: 200 to 599. */
AW_API int aw_status(aw_req *req, int status);

/* Sets a header field of the answer; add: beside others of that name. 0, or
   AW_EINVAL for what is no field name or value (CR, LF, NUL cannot get out),
   when aw_send has sent the head, and for Content-Length, Transfer-Encoding,
   Connection and Date, which are not yours; AW_ENOMEM. A Content-Type set here
   wins over the answer's own. */
AW_API int aw_set_header(aw_req *req, const char *name, const char *value);
AW_API int aw_add_header(aw_req *req, const char *name, const char *value);

/* For an answer that the client may have already, and for a change that must
   not undo another's (RFC 9110 13). `etag` names this version, "v7", and may
   be in the form of the field, W/"v7"; `modified` is in seconds since 1970;
   NULL and 0: none. Sets ETag and Last-Modified of a GET's answer and judges
   If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since. 0: go on;
   304 or 412: return that. AW_EINVAL: no tag has such a byte (a space, a quote,
   a control); AW_ENOMEM. Awaits: no. */
AW_API int aw_conditional(aw_req *req, const char *etag, int64_t modified);

/* Whatever is answered becomes a download under this name, any text in UTF-8
   (RFC 6266). 0; AW_EINVAL: NULL; AW_ENOMEM. */
AW_API int aw_attachment(aw_req *req, const char *name);

/* return aw_error(req, 404, "no such todo"): the standard page with this
   message. Returns AW_HTTP(status), so it travels up through AWAIT.
   A client that accepts JSON and not HTML gets it as a JSON object. */
AW_API int aw_error(aw_req *req, int status, const char *message);

/* For hooks and error views: the status of the answer so far, 0 before there
   is one; and what aw_error said, else the reason of the status: never NULL. */
AW_API int aw_answer_status(aw_req *req);
AW_API const char *aw_error_message(aw_req *req);

#ifndef ASYNCWEB_NO_JSON
/* The body as JSON; NULL: it is none (answer 400). Parsed once. */
AW_API const aw_value *aw_req_json(aw_req *req);

/* Answers with a parsed value. AW_EBADMSG for NULL: what was to be passed on is
   no JSON, so the client gets a 502. */
AW_API int aw_json(aw_req *req, const aw_value *value);

/* aw_json_object(req, aw_int("id", 1), aw_str("title", "milk")) */
AW_API int aw__json_object(aw_req *req, const aw_field *fields, size_t n);
#ifdef __cplusplus
} /* a template cannot have C linkage */
template <size_t N>
static inline int aw__json_fields(aw_req *req, const aw_field (&fields)[N])
{
    return aw__json_object(req, fields, N);
}
extern "C" {
#define aw_json_object(req, ...) aw__json_fields((req), {__VA_ARGS__})
#else
/* tcc takes structs only into an array whose length it is told. */
#define AW__HOW_MANY(...) AW__COUNT_(__VA_ARGS__, \
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, \
    46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, \
    28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, \
    10, 9, 8, 7, 6, 5, 4, 3, 2, 1, )
#define aw_json_object(req, ...) \
    aw__json_object((req), (const aw_field[AW__HOW_MANY(__VA_ARGS__)]) \
        {__VA_ARGS__}, AW__HOW_MANY(__VA_ARGS__))
#endif

/* A writer for an answer: begin, aw_put_..., then return aw_json_send(w), which
   gives the status, AW_EINVAL for a misused writer, AW_ENOMEM. Without memory
   the writer is NULL, which every call takes. It is the request's. */
AW_API aw_json_writer *aw_json_begin(aw_req *req);
AW_API int aw_json_send(aw_json_writer *w);
#endif

/* >>forms  Forms and uploads ----------------------------------------------- */

/* The first field of that name in a body of application/x-www-form-urlencoded
   (decoded) or multipart/form-data; NULL: there is none, the body is of
   another type, the route streams, or the value holds a NUL, where it would
   seem to end. Files are no fields. (A target with %00 is answered 400 before
   any view sees it.) */
AW_API const char *aw_form(aw_req *req, const char *name);

/* The i-th field, also of a name that comes several times; false past the
   last. One with a NUL does not count. From 0 on, each costs the same.
   aw_query_at: the same of the query. */
AW_API bool aw_form_at(aw_req *req, size_t i, const char **name,
                       const char **value);
AW_API bool aw_query_at(aw_req *req, size_t i, const char **name,
                        const char **value);

#ifndef ASYNCWEB_NO_FORMS

/* A file of a multipart/form-data body (RFC 7578), on a route without .stream:
   it was read while it came, so aw_body is empty. A file of more than
   aw_config.file_memory lies on disk, unlinked: it goes with the request. */
typedef struct aw_file {
    const char *field;          /* its name in the form */
    const char *filename;       /* as sent: to be shown, never to be opened */
    const char *safe_name;      /* the same fit to be a file's name: without
                                   directories, controls, a dot in front; "_"
                                   when nothing is left */
    const char *type;           /* Content-Type as sent, "" for none */
    int64_t size;
    const char *bytes;          /* all of it, NUL-terminated; NULL: on disk */
    struct aw__disk *disk;      /* ours */
    int64_t at;                 /* ours: its place there */
} aw_file;

/* The first file of that field; NULL: none was sent. One that a browser sends
   for an empty choice, without a name and without bytes, is none. aw_files:
   all of them, in order. They live as long as the request. */
AW_API const aw_file *aw_file_of(aw_req *req, const char *field);
AW_API const aw_file *aw_files(aw_req *req, size_t *n);

/* Up to size bytes from offset `at` on; 0 at the end; AW_EINVAL, AW_EIO. It
   may block on a slow disk. */
AW_API int aw_file_read(const aw_file *file, int64_t at, void *buffer,
                        size_t size);

/* Makes it the file `path`, whole or not at all, with the rights that the
   umask leaves of 0666; it is not waited for the disk. save: AW_EEXIST if
   there is one; replace takes its place. AW_ENOENT: no such directory;
   AW_EACCES, AW_ENOSPC, AW_EMFILE, AW_EIO; AW_EINVAL: no path, or too long.
   Never make the path of .filename; .safe_name may be taken by another file.
   What lies on disk as the only one of its request, on the same file system
   as the path, is linked there at no cost (Linux); else it is copied, which
   blocks: for large files call it in aw_thread. */
AW_API int aw_file_save(const aw_file *file, const char *path);
AW_API int aw_file_replace(const aw_file *file, const char *path);

/* On a route with .stream = true, the parts as they come:

       AWAIT_TO(self->n, aw_part_next, req, &self->part);

   1: self->part is the next one; what was left of the one before is skipped.
   0: there are no more. AW_HTTP(400): malformed, or no multipart/form-data;
   AW_HTTP(413): more than max_parts, or a head over max_part_head; else as
   aw_body_read. The part's texts are good until the next call, or AW_ENOMEM.
   aw_part_read gives its content: up to size bytes, 0 at its end. The buffer
   must stay alive until the await ends. Awaits: yes. */
typedef struct aw_part {
    const char *field;
    const char *filename;       /* NULL: a field, no file */
    const char *safe_name;      /* as of aw_file; NULL for a field */
    const char *type;           /* "" for none */
} aw_part;
AW__AWAITABLE(aw_part_next, (aw_req *req; aw_part *part;));
AW__AWAITABLE(aw_part_read, (aw_req *req; void *buffer; size_t size;));

#endif /* ASYNCWEB_NO_FORMS */

/* >>cookies  Cookies, credentials, CORS ------------------------------------ */

#ifndef ASYNCWEB_NO_COOKIES

/* The value of a cookie as the client sent it, the first of that name; NULL:
   it sent none. Anybody can send anything: look it up, or check a signature. */
AW_API const char *aw_cookie(aw_req *req, const char *name);

/* aw_set_cookie(req, "sid", id, .max_age = 86400, .http_only = true) adds a
   Set-Cookie field (RFC 6265, 6265bis 4.1). 0, and AW_EINVAL for what browsers
   would not take: a name that is no token; a space, quote, comma, semicolon,
   backslash or anything outside ASCII in the value (aw_url_encode it); an
   attribute with a semicolon; a path that does not begin with a slash; a
   __Secure- or __Host- name or SameSite=None without .secure; a __Host- name
   with a domain or another path. AW_ETOOBIG: over 4096 bytes. AW_ENOMEM. */
typedef struct aw_cookie_config {
    const char *name AW__OPT;
    const char *value AW__OPT;
    const char *path AW__OPT;           /* NULL: "/", the whole site */
    int64_t max_age AW__OPT;            /* seconds; 0: until the browser ends;
                                           below: it is deleted */
    bool http_only AW__OPT;             /* not for scripts */
    bool secure AW__OPT;                /* over TLS only */
    const char *same_site AW__OPT;      /* "Lax", "Strict", "None"; NULL: what
                                           the browser thinks best */
    const char *domain AW__OPT;         /* and its subdomains; NULL: only the
                                           host that was asked */
} aw_cookie_config;
AW_API int aw_set_cookie_config(aw_req *req, aw_cookie_config cookie);
#define aw_set_cookie(req, cookie, ...) \
    aw_set_cookie_config((req), AW__LIT(aw_cookie_config, .name = (cookie), \
                                        .value = __VA_ARGS__))

/* aw_delete_cookie(req, "sid"). It has to be told the .path and .domain that
   the cookie was set with. Results as above. */
AW_API int aw_delete_cookie_config(aw_req *req, aw_cookie_config cookie);
#define aw_delete_cookie(req, ...) \
    aw_delete_cookie_config((req), AW__LIT(aw_cookie_config, \
                                           .name = __VA_ARGS__))

/* User and password of Authorization: Basic (RFC 7617). False, and both NULL:
   there are none, or they are malformed; then `return aw_ask_auth(...)`. */
AW_API bool aw_basic_auth(aw_req *req, const char **user,
                          const char **password);

/* 401 with the question for user and password: WWW-Authenticate: Basic. The
   realm is shown to people. Returns AW_HTTP(401) as aw_error does; AW_EINVAL:
   a control character in the realm; AW_ENOMEM. */
AW_API int aw_ask_auth(aw_req *req, const char *realm);

/* The token of Authorization: Bearer (RFC 6750 2.1); NULL: none, malformed. */
AW_API const char *aw_bearer(aw_req *req);

/* Whether what a client gave is the secret, in a time that tells nothing of
   where they differ. False for NULL. */
AW_API bool aw_same_secret(const char *given, const char *secret);

/* Which pages of other origins may read our answers (Fetch, "CORS protocol"),
   as lists "a, b". An origin is "https://host" or "http://host:port", compared
   byte for byte. */
typedef struct aw_cors_config {
    const char *origins AW__OPT;    /* "*": any, without credentials */
    const char *methods AW__OPT;    /* NULL: GET, HEAD, POST only */
    const char *headers AW__OPT;    /* that scripts may set, "Content-Type" */
    const char *exposed AW__OPT;    /* of the answer, that they may read */
    bool credentials AW__OPT;       /* cookies and Authorization come along */
    int64_t max_age AW__OPT;        /* seconds a preflight holds; 0: 5 */
} aw_cors_config;

/* Sets what belongs into the answer, "Vary: Origin" included, for a hook: 0,
   go on. A preflight is answered: 204, for the hook to return; where it is not
   allowed, without the fields that would allow it. AW_EINVAL: "*" together
   with credentials, or no field value; AW_ENOMEM. */
AW_API int aw_cors(aw_req *req, const aw_cors_config *cors);

#endif /* ASYNCWEB_NO_COOKIES */

/* >>sse  Server-sent events (WHATWG HTML 9.2) ------------------------------ */

#ifndef ASYNCWEB_NO_SSE

/* The answer becomes a stream of events, as a page reads them by `new
   EventSource("/events")`; its head leaves at once. Then the ASYNC_VIEW sends
   events for as long as it likes; its end ends the stream, and the browser
   asks again after some seconds. When the client goes, the view is cancelled.
   A comment is sent when there was nothing for sse_ping_ms, so that a client
   that has vanished is noticed, and proxies keep the connection. 0;
   AW_EINVAL: pieces were sent already; AW_ECLOSED: the client is gone;
   AW_ENOMEM. Awaits: no. examples/sse.c */
AW_API int aw_sse_begin(aw_req *req);

/* Sends an event, and waits while the client does not take it. event: NULL is
   "message". The lines of data end with LF, CR or CRLF; the browser sees LF.
   aw_sse_send_id: with an id for aw_last_event_id; NULL: none, "": forget it.
   The result is what aw_send gives: a count of bytes, or an error. AW_EINVAL
   also for data NULL, and a line end in event or id. The texts are copied.
   Awaits: yes. */
AW__AWAITABLE(aw_sse_send, (aw_req *req; const char *event; const char *data;));
AW__AWAITABLE(aw_sse_send_id, (aw_req *req; const char *event;
                               const char *data; const char *id;));

/* Tells the browser how long to wait before it asks again. The result is as
   above; AW_EINVAL: less than 0. Awaits: yes. */
AW__AWAITABLE(aw_sse_retry, (aw_req *req; int64_t ms;));

/* The id of the last event that this browser has got, when it asks again;
   else NULL. Anybody can send anything. */
AW_API const char *aw_last_event_id(aw_req *req);

#endif

/* >>route  Views, routes, the application ---------------------------------- */

/* What routes of some kind need besides their view. Only views of that kind
   refer to it, so that a program without any does not have the code. */
struct aw__server;
struct aw__conn;
struct aw__table;
struct aw_route;
typedef struct aw__view_ops {
    /* STATIC, ASSETS: enters the row. */
    bool (*add)(struct aw__server *, const struct aw__table *,
                const struct aw_route *row);
    /* WS: the request has come; its view has said rc, and that is no answer;
       it has ended; the connection is lost; the handshake is out; the drain
       begins. */
    int (*begin)(aw_req *, const struct aw_route *);
    bool (*upgraded)(aw_req *, int rc);
    bool (*ended)(aw_req *, int rc, bool cancelled);
    void (*gone)(aw_req *);
    void (*upgrade)(struct aw__server *, struct aw__conn *);
    void (*stop)(struct aw__server *);
} aw__view_ops;

/* A view: what VIEW and ASYNC_VIEW define, as routes name it. */
typedef struct aw_view {
    const char *name, *file;
    const aw_fn *fn;                        /* of an ASYNC_VIEW */
    int (*plain)(aw__ctx *, aw_req *);      /* of a VIEW */
    const aw__view_ops *ops;                /* of WS, STATIC; else NULL */
} aw_view;

/* A file in the program: its name below the path of ASSETS, its bytes. */
typedef struct aw_asset {
    const char *name;
    const void *data;
    size_t size;
    const char *type AW__OPT;               /* NULL: by name */
} aw_asset;

typedef struct aw_route {
    const char *method AW__OPT;             /* "*": any */
    const char *path AW__OPT;
    const aw_view *view AW__OPT;
    int64_t max_body AW__OPT;               /* bytes; the application's */
    bool half_close AW__OPT;                /* a FIN of the client is no end */
    int64_t timeout_ms AW__OPT;             /* of the view: 503; view_ms */
    int kind AW__OPT;                       /* AW_ROW_... */
    int status AW__OPT;                     /* of AW_ROW_ERROR */
    const struct aw_route *routes AW__OPT;  /* of AW_ROW_MOUNT */
    bool stream AW__OPT;                    /* aw_body_read reads the body */
    size_t max_message AW__OPT;             /* of WS: bytes; ws_max_message */
    const char *origins AW__OPT;            /* of WS: who else may connect */
    const char *protocols AW__OPT;          /* of WS: the best first */
    bool websocket AW__OPT;                 /* WS(...) says so */
    const char *dir AW__OPT;                /* of STATIC */
    const aw_asset *assets AW__OPT;         /* of ASSETS */
    size_t asset_count AW__OPT;
    int max_age AW__OPT;                    /* of both: seconds; see below */
    bool dot_files AW__OPT;                 /* of both: not hidden */
} aw_route;

/* The rows of a table; the method of those that are no route is not NULL. */
enum {
    AW_ROW_ROUTE, AW_ROW_BEFORE, AW_ROW_AFTER, AW_ROW_ERROR, AW_ROW_MOUNT,
    AW_ROW_FILES
};

/* VIEW(name) { return aw_text(req, "Hello"); } */
#define AW__VIEW(linkage, name_) \
    static int aw_plain_##name_(aw__ctx *aw_t, aw_req *req); \
    linkage const aw_view aw_view_##name_ = { \
        #name_, __FILE__, NULL, aw_plain_##name_, NULL}; \
    static int aw_plain_##name_(AW__UNUSED aw__ctx *aw_t, \
                                AW__UNUSED aw_req *req)
#define AW_VIEW(name) AW__VIEW(static, name)

/* ASYNC_VIEW(name, locals;) { BEGIN { ... RETURN(aw_text(req, "Hi")); } } */
#define AW__VIEW_1(linkage, name) AW__ASYNC_VIEW(linkage, name, )
#define AW__VIEW_M(linkage, name, ...) \
    AW__ASYNC_VIEW(linkage, name, __VA_ARGS__)
#define AW__ASYNC_VIEW(linkage, name_, ...) \
    AW__DECLARE_ARGS(name_, (aw_req *req;)); \
    AW__DEFINE(static AW__UNUSED, name_, (aw_req *req;), __VA_ARGS__); \
    static aw_use_RETURN_not_return aw_body_##name_( \
        aw__ctx *aw_t, struct aw_frame_##name_ *self, aw_req *req); \
    AW__RUN(name_) \
    { \
        return aw_body_##name_(aw_t, self, self->req); \
    } \
    linkage const aw_view aw_view_##name_ = { \
        #name_, __FILE__, &aw_fn_##name_, NULL, NULL}; \
    static aw_use_RETURN_not_return aw_body_##name_( \
        aw__ctx *aw_t, struct aw_frame_##name_ *self, AW__UNUSED aw_req *req)
#define AW_ASYNC_VIEW(...) \
    AW__VIEW_N(AW__COUNT(__VA_ARGS__), static, __VA_ARGS__)
#define AW__VIEW_N(count, ...) AW__JOIN(AW__VIEW_, count)(__VA_ARGS__)

/* The same over several files: VIEW_DECLARE(name); in the shared header. */
#define AW_VIEW_DECLARE(name) extern const aw_view aw_view_##name
#define AW_VIEW_DEFINE(name) AW__VIEW(/* external */, name)
#define AW_ASYNC_VIEW_DEFINE(...) \
    AW__VIEW_N(AW__COUNT(__VA_ARGS__), /* external */, __VA_ARGS__)

/* ROUTES(app, GET("/", index), POST("/todos", create, .max_body = 4096))
   A path has segments: text, <name> (one segment), <int:name>, <float:name>,
   or, as the last, <path:name> (all the rest). The most specific route wins,
   wherever it stands. GET answers HEAD too; OPTIONS and 405 are automatic;
   "/x/" also redirects "/x" there (308). */
#define AW_ROUTES(name, ...) \
    static const aw_route name[] = {__VA_ARGS__, AW__ROUTE_END};
#define AW__ROUTE_END AW__ROUTE(NULL, NULL, NULL, )
#define AW__ROUTE(m, p, v, ...) \
    {.method = m, .path = p, .view = v, __VA_ARGS__}
#define AW__ROUTE_TO(m, p, v, ...) AW__ROUTE(m, p, &aw_view_##v, __VA_ARGS__)
#define AW_GET(...) AW__ROUTE_TO("GET", __VA_ARGS__, )
#define AW_POST(...) AW__ROUTE_TO("POST", __VA_ARGS__, )
#define AW_PUT(...) AW__ROUTE_TO("PUT", __VA_ARGS__, )
#define AW_PATCH(...) AW__ROUTE_TO("PATCH", __VA_ARGS__, )
#define AW_DELETE(...) AW__ROUTE_TO("DELETE", __VA_ARGS__, )
#define AW_ANY(...) AW__ROUTE_TO("*", __VA_ARGS__, )

/* The same over several files: ROUTES_DECLARE(name); in the shared header. */
#define AW_ROUTES_DECLARE(name) extern const aw_route name[]
#define AW_ROUTES_DEFINE(name, ...) \
    const aw_route name[] = {__VA_ARGS__, AW__ROUTE_END};

/* MOUNT("/api", api), MOUNT("/users/<int:id>", user_pages, .max_body = 4096):
   the routes of another table below this prefix. Its options hold for those
   that say nothing. A path that no route takes (404, 405) belongs to the table
   with the longest prefix of it. */
#define AW_MOUNT(...) AW__MOUNT(__VA_ARGS__, )
#define AW__MOUNT(p, table, ...) \
    {.method = "MOUNT", .path = p, __VA_ARGS__ \
     .kind = AW_ROW_MOUNT, .routes = table}

/* BEFORE(hook), AFTER(hook): views, plain or async, around each view of this
   table and of what is mounted in it, wherever they stand in it. They share
   AW_LOCAL and one task with the view.
   BEFORE hooks run in the order of the table, the outer table's first. 0: go
   on; anything else is the answer, as if the view had given it. They see the
   body; those of a .stream route run ahead of it.
   AFTER hooks run in the opposite order: the last first, the inner table's
   first. They run after errors, too, but not for a task that was cancelled (a
   client that left): FINALLY is for that. 0 keeps the answer, whose status
   aw_answer_status tells; a hook may add headers, or answer anew. An error in
   one puts the standard page in the answer's place. When the head of a
   streamed answer leaves, plain AFTER hooks run just before, async ones when
   the view has ended; neither can change that answer any more.
   What cannot be read as a path (400, 501) is not shown to BEFORE hooks, nor is
   what is refused for its body (413). */
#define AW_BEFORE(hook) AW__ROW("BEFORE", hook, AW_ROW_BEFORE, 0)
#define AW_AFTER(hook) AW__ROW("AFTER", hook, AW_ROW_AFTER, 0)

/* ON_ERROR(404, view), ON_ERROR(AW_ANY_ERROR, view): the view makes the page
   in place of the standard one, for this table and what is mounted in it. The
   innermost table that has one decides, and in it the exact status. The status
   of its answer is the error's unless it says otherwise; when it fails, the
   standard page is sent. */
#define AW_ON_ERROR(status, view) \
    AW__ROW("ERROR", view, AW_ROW_ERROR, AW__ERROR_STATUS(status))
#define AW_ANY_ERROR 0
#define AW__ERROR_STATUS(s) ((s) / ((s) == 0 || ((s) >= 400 && (s) <= 599)))
#define AW__ROW(m, v, k, s) \
    {.method = m, .view = &aw_view_##v, .kind = k, .status = s}

/* aw_url_for(req, article, "id", "7", "q", "x y") -> "/articles/7?q=x%20y": the
   path of the first route of that view, in the order of the tables, whose
   parameters are all named; names that are no parameters make the query. All
   values are text and are percent-encoded (a <path:...> keeps its slashes); a
   name whose value is NULL counts as not named. The URL is the request's.
   NULL: out of memory; a value that the route would not take (<int:id> of
   "x", "", ".."). No such route, or one that wants more: NULL as well, and in
   debug an abort that says so. */
AW_API const char *aw__url_for(aw_req *req, const aw_view *view,
                               const char *const *pairs, size_t n);
#define aw_url_for(...) AW__URL_FOR(__VA_ARGS__, )
#ifdef __cplusplus
}
template <class... T>
static inline const char *aw__url_with(aw_req *req, const aw_view *view,
                                       T... pairs)
{
    const char *const all[] = {pairs...};
    static_assert(sizeof...(pairs) % 2, "aw_url_for: a name without a value");
    return aw__url_for(req, view, all, sizeof...(pairs) - 1);
}
extern "C" {
#define AW__URL_FOR(req, view, ...) \
    aw__url_with((req), &aw_view_##view, __VA_ARGS__ (const char *)0)
#else
#define AW__URL_FOR(req, view, ...) \
    aw__url_for((req), &aw_view_##view, AW__TEXTS(__VA_ARGS__), \
                AW__EVEN(sizeof AW__TEXTS(__VA_ARGS__) / sizeof(char *) - 1))
#define AW__TEXTS(...) ((const char *const[]){__VA_ARGS__ NULL})
#define AW__EVEN(n) ((n) / ((n) % 2 == 0))  /* a name without a value */
#endif

/* STATIC("/assets", "dir", .max_age = 3600): what lies below a directory, to
   GET and HEAD. ASSETS("/assets", table): the same from an array of aw_asset.
   A directory is its index.html. Names with a dot in front are hidden,
   .dot_files shows them; nothing outside is reached, and no symbolic link below
   the directory followed. A file next to it, app.js.br or app.js.gz and not
   older, is sent instead to who accepts that. .max_age: how long the client
   need not ask again (Cache-Control), 0: it always asks, AW_OFF: it is not
   told. Any other route for the same path wins. */
#ifndef ASYNCWEB_NO_STATIC_FILES
#define AW_STATIC(...) AW__STATIC(__VA_ARGS__, )
#define AW__STATIC(p, d, ...) \
    {.method = "GET", .path = p, .view = &aw__files_view, \
     .kind = AW_ROW_FILES, .dir = d, __VA_ARGS__}
#endif
#define AW_ASSETS(...) AW__ASSETS(__VA_ARGS__, )
#define AW__ASSETS(p, a, ...) \
    {.method = "GET", .path = p, .view = &aw__files_view, \
     .kind = AW_ROW_FILES, .assets = a, \
     .asset_count = sizeof(a) / sizeof *(a), __VA_ARGS__}
AW__OBJECT_API const aw_view aw__files_view;

/* How an application runs. Zero is the default; AW_OFF switches a limit
   off. Times are milliseconds, sizes bytes.

   listen: where, separated by blanks, 32 sockets at most:
     127.0.0.1:80  [::1]:80    one socket each, of IPv4 or of IPv6 only; port 0
                               is a free one
     tls:*:443  tls:unix:...   any of these that speaks TLS, with .tls
     localhost:80  *:80        two: IPv4 and, where the machine has it, IPv6
     unix:/run/app.sock        made with unix_mode, removed at the stop. One
                               that nobody answers on (its process died) is
                               replaced; any other file there is AW_EADDRINUSE
     systemd  systemd:NAME     what the parent process opened, all or those of
                               that name (LISTEN_PID, LISTEN_FDS,
                               LISTEN_FDNAMES; the three are then removed from
                               the environment); AW_ENOENT: nothing, or
                               AW_EINVAL: no stream socket that listens, was
                               passed

   trusted_proxies: networks, addresses and "unix", separated by blanks. What
   a connection from there says in Forwarded (RFC 7239) or, if it has none, in
   X-Forwarded-For, -Proto and -Host, holds for aw_peer, aw_scheme, aw_host and
   the access log: the lists are read from the right, past trusted addresses.
   A list that is malformed or contradicts itself counts as absent, and so do
   those of anybody else.
   proxy_protocol: each connection begins with a PROXY header, version 1 or 2,
   as HAProxy's send-proxy and send-proxy-v2 write it; aw_peer is the client it
   names, whose own Forwarded counts only if that one is trusted, too. A
   connection from elsewhere, or without it, is closed.

   workers: so many processes serve the sockets that aw_run opens (aw_serve
   does not; nor is it done in debug). Each has memory of its own, calls
   on_start and on_stop, and takes the limits for itself alone. It ends with
   on_stop: only in the parent does aw_run return, and only there atexit
   functions run. One that dies is replaced, at once the first time, later after
   up to 3.2 s; if one fails before all have served, aw_run does. SIGHUP
   replaces all, one after the other, a new one before each old one, which then
   has drain_ms: nobody is refused, no request is lost, and a new one that fails
   leaves the old in place. aw_serve_stop in one stops all. Who still runs 3 s
   after drain_ms and cleanup_ms is killed. Workers drain when their parent is
   gone. Threads, loops and connections that exist before aw_run do not survive
   in workers: make them in on_start. AW_PER_CORE: one for each processor that
   this process may use. With ASYNCWEB_NO_WORKERS: AW_ENOTSUP.

   memory: with ASYNCWEB_FIXED_MEMORY aw_run and the test mode take all they
   need from these memory_size bytes, aligned or not, which are yours again
   when they have returned; without that, it is refused. Limits that are not
   set follow its size M: max_head and max_line M/16 (1 KiB at least),
   max_fields M/1024 (24 at least), max_body M/4, form_memory, file_memory,
   ws_max_message and ws_max_queue M/8; none is more than what stands below. */
typedef struct aw_config {
    const aw_route *routes AW__OPT;
    const char *host AW__OPT;       /* "127.0.0.1"; "::" is every address */
    int port AW__OPT;               /* 5000; AW_ANY_PORT */
    const char *listen AW__OPT;     /* instead of both: see above */
    aw_tls_server tls AW__OPT;      /* without listen, the port speaks it */
    int unix_mode AW__OPT;          /* of UNIX sockets, 0660; else by umask */
    const char *trusted_proxies AW__OPT;    /* "10.0.0.0/8 ::1 unix" */
    bool proxy_protocol AW__OPT;    /* they, and only they, may connect */
    bool debug AW__OPT;             /* tell clients what went wrong, check */
    int workers AW__OPT;            /* processes that aw_run starts; AW_PER_CORE;
                                       0: it serves itself. See above */
    void *data AW__OPT;             /* AW_STATE */
    int (*on_start)(aw_loop *loop, void *data) AW__OPT; /* < 0: do not start */
    void (*on_stop)(void *data) AW__OPT;    /* all have ended, the loop too */
    int access_log AW__OPT;         /* a line a request; AW_OFF */
    void (*log)(void *data, aw_log_level level, const char *line) AW__OPT;
    void *log_data AW__OPT;
    size_t max_line AW__OPT;        /* request line, 8 KiB: 414 */
    size_t max_head AW__OPT;        /* request head, 32 KiB (64 at most): 431 */
    size_t max_fields AW__OPT;      /* header fields, 100: 431 */
    int64_t max_body AW__OPT;       /* body of a request, 1 MiB: 413 */
    size_t max_parts AW__OPT;       /* of a multipart form, 1,000: 413 */
    size_t max_part_head AW__OPT;   /* of each, 8 KiB: 413 */
    size_t form_memory AW__OPT;     /* its fields and small files, 1 MiB: 413
                                       for a field, a file goes to disk */
    size_t file_memory AW__OPT;     /* a larger one goes to disk, 64 KiB;
                                       AW_OFF: never, but max_body holds */
    const char *upload_dir AW__OPT; /* there; $TMPDIR, or /tmp */
    int64_t head_ms AW__OPT;        /* for a whole head, 10,000: 408 */
    int64_t body_ms AW__OPT;        /* between bytes of a body, 30,000: 408 */
    int64_t idle_ms AW__OPT;        /* keep-alive, 15,000 */
    int64_t write_ms AW__OPT;       /* for the client to take more, 30,000 */
    int64_t sse_ping_ms AW__OPT;    /* a comment into quiet events, 15,000 */
    int64_t min_rate AW__OPT;       /* bytes/s of body or answer: 500... */
    int64_t rate_grace_ms AW__OPT;  /* ...after so long a wait, 10,000: 408 */
    int max_connections AW__OPT;    /* RLIMIT_NOFILE less 64, half at least */
    int max_per_address AW__OPT;    /* of them, or of an IPv6 /64: off */
    int max_tasks AW__OPT;          /* an async view past it: 503; off */
    int max_descriptors AW__OPT;    /* aw_run raises the soft RLIMIT_NOFILE to
                                       this, 65,536, or to the hard one */
    int64_t view_ms AW__OPT;        /* for an async view, none: 503 */
    size_t ws_max_message AW__OPT;  /* that a WebSocket takes, 1 MiB: 1009 */
    size_t ws_max_queue AW__OPT;    /* posted, not taken, 1 MiB: dropped */
    int64_t ws_ping_ms AW__OPT;     /* of silence, or of a frame slower than
                                       min_rate, until a ping, 30,000 */
    int64_t ws_pong_ms AW__OPT;     /* for its answer, 20,000: gone */
    int64_t ws_close_ms AW__OPT;    /* for the peer's Close, 5,000 */
    int64_t drain_ms AW__OPT;       /* to finish at SIGTERM, 10,000 */
    int64_t cleanup_ms AW__OPT;     /* for FINALLY of the cancelled, 5,000 */
    size_t max_task_bytes AW__OPT;  /* frames of one task, 1 MiB */
    int64_t names_ms AW__OPT;       /* that a name's addresses are kept,
                                       30,000; AW_OFF */
    void *memory AW__OPT;           /* see above */
    size_t memory_size AW__OPT;
} aw_config;

/* Serves until SIGINT or SIGTERM, then drains: no new connection, idle ones
   closed, views and tasks may finish for drain_ms, then they are cancelled;
   every FINALLY has run when it returns. A second signal ends the drain.
   SIGUSR1 logs every task. Returns 0, or 1 after saying what is wrong, with
   workers also when one of them did not end well after the signal.
   aw_run(app, .port = 5000, .debug = true) is the short form. */
AW_API int aw_run_config(aw_config config);
#define aw_run(...) aw_run_config(AW__LIT(aw_config, .routes = __VA_ARGS__))

/* In a loop of yours: opens the listener and returns; the loop's turns serve.
   0; AW_EBUSY: the loop serves already; AW_EINVAL: a route or the port is
   wrong (logged); AW_EADDRNOTAVAIL: host is no address of this machine (names
   but "localhost" are not looked up); AW_EADDRINUSE, AW_EACCES, AW_EMFILE,
   AW_ENOMEM; what is wrong with .tls (logged). Awaits: no. aw_serve_port: the one it listens at, of several the
   first; 0 when that is a UNIX socket.
   aw_serve_stop begins the drain: nobody is accepted any more, answers say
   Connection: close, idle connections end, one that has not said anything yet
   has 250 ms. It may be called in a view; aw_run then drains and returns. */
AW_API int aw_serve(aw_loop *loop, const aw_config *config);
AW_API void aw_serve_stop(aw_loop *loop);
AW_API int aw_serve_port(const aw_loop *loop);

/* >>ws  WebSocket (RFC 6455) ---------------------------------------------- */

#ifndef ASYNCWEB_NO_WS

/* Why a WebSocket ends (RFC 6455 7.4.1). 3000 to 4999 are for applications.
   NO_CODE and ABNORMAL are never sent: the first says that a Close had none,
   the second that there was no Close. */
enum {
    AW_WS_NORMAL = 1000, AW_WS_GOING_AWAY = 1001, AW_WS_PROTOCOL_ERROR = 1002,
    AW_WS_NO_CODE = 1005, AW_WS_ABNORMAL = 1006, AW_WS_BAD_TEXT = 1007,
    AW_WS_POLICY = 1008, AW_WS_TOO_BIG = 1009, AW_WS_INTERNAL_ERROR = 1011
};

typedef struct aw_ws aw_ws;

/* WS("/chat/<room>", chat, .origins = "https://a.example") in ROUTES, and

       WS_VIEW(chat, aw_ws_message msg; int rc;)
       {
           BEGIN {
               for (;;) {
                   AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
                   if (self->rc <= 0) RETURN(self->rc);
                   AWAIT(aw_ws_send, ws, self->msg.data, self->msg.size);
               }
           }
       }

   An async view with `ws` beside `req`, whose parameters, query, cookies and
   headers are there as in any other. What is no handshake, comes from another
   origin than its Host or .origins ("*": any) is refused before: 426, 400, 403.
   .protocols = "v2 v1": the first of them that the client offers is chosen.
   The handshake is answered with the first call of a function below: until
   then the view may set headers, or refuse as any other does, with a status or
   aw_error. That call belongs into the view itself; plain AFTER hooks run in
   it, for they may set headers, too.
   When the view ends, the socket is closed: with 1000 after a result >= 0, 1008
   after AW_HTTP(400) to (499), 1011 after other errors. A client that goes
   without a Close, that answers no ping, or that does not read what is sent,
   cancels the view; so does one that closed, when the view has not asked for
   ws_close_ms. That holds for a view that only sends, too: what it never asks
   for lies unread, 16 KiB behind the first message, and does not hide the end.
   With more unread the client has to wait, and its pongs cannot be seen: if it
   vanishes then, TCP has to find out by the pings that nobody acknowledges (in
   Linux after 15 minutes). At the stop of the server clients are closed with
   1001. */
AW__OBJECT_API const aw__view_ops aw__ws_ops;
#define AW__WS_1(linkage, name) AW__WS_VIEW(linkage, name, )
#define AW__WS_M(linkage, name, ...) AW__WS_VIEW(linkage, name, __VA_ARGS__)
#define AW__WS_VIEW(linkage, name_, ...) \
    AW__DECLARE_ARGS(name_, (aw_req *req;)); \
    AW__DEFINE(static AW__UNUSED, name_, (aw_req *req;), __VA_ARGS__); \
    static aw_use_RETURN_not_return aw_body_##name_( \
        aw__ctx *aw_t, struct aw_frame_##name_ *self, aw_req *req, aw_ws *ws); \
    AW__RUN(name_) \
    { \
        return aw_body_##name_(aw_t, self, self->req, aw__req_ws(self->req)); \
    } \
    linkage const aw_view aw_ws_view_##name_ = { \
        #name_, __FILE__, &aw_fn_##name_, NULL, &aw__ws_ops}; \
    static aw_use_RETURN_not_return aw_body_##name_( \
        aw__ctx *aw_t, struct aw_frame_##name_ *self, AW__UNUSED aw_req *req, \
        AW__UNUSED aw_ws *ws)
#define AW_WS_VIEW(...) AW__WS_N(AW__COUNT(__VA_ARGS__), static, __VA_ARGS__)
#define AW__WS_N(count, ...) AW__JOIN(AW__WS_, count)(__VA_ARGS__)
#define AW_WS_VIEW_DECLARE(name) extern const aw_view aw_ws_view_##name
#define AW_WS_VIEW_DEFINE(...) \
    AW__WS_N(AW__COUNT(__VA_ARGS__), /* external */, __VA_ARGS__)
#define AW_WS(...) AW__WS_ROUTE(__VA_ARGS__, )
#define AW__WS_ROUTE(p, v, ...) \
    {.method = "GET", .path = p, .view = &aw_ws_view_##v, __VA_ARGS__ \
     .websocket = true}
AW_API aw_ws *aw__req_ws(aw_req *req);

typedef struct aw_ws_message {
    const char *data;           /* NUL-terminated; until the next aw_ws_recv */
    size_t size;                /* without the NUL */
    bool binary;                /* else text, which is valid UTF-8 */
} aw_ws_message;

/* The next message, whole: 1. 0: there will be none, for one side has closed
   (aw_ws_close_code); those that came before a Close are still given, while
   the view asks at least each ws_close_ms. Pings are answered by themselves.
   AW_EBADMSG: the peer broke the protocol, or its text is not UTF-8;
   AW_ETOOBIG: a message over .max_message; AW_ENOMEM: the socket has been
   closed then, with 1002, 1007, 1009 or 1011. AW_EBUSY: another task waits
   here. Of other tasks than the view: AW_ECONNRESET, AW_EEOF, AW_ETIMEDOUT: the
   peer is gone. Awaits: yes. */
AW__AWAITABLE(aw_ws_recv, (aw_ws *ws; aw_ws_message *out;));

/* Sends a message, text or binary: size, once all of it is on its way. Several
   tasks may send: first come, first served, each message in one piece.
   AW_ECLOSED: it has been closed, or the peer is gone: a harmless end.
   AW_EINVAL: the text is not UTF-8, or over INT_MAX bytes. The data must stay
   alive until the await ends. Awaits: yes, while the peer is slow. */
AW__AWAITABLE(aw_ws_send, (aw_ws *ws; const void *data; size_t size;));
AW__AWAITABLE(aw_ws_send_binary, (aw_ws *ws; const void *data; size_t size;));

/* One message in parts; how: AW_WS_BINARY with the first part of a binary one,
   AW_WS_LAST with the last. Until then other messages wait. The same; AW_EBUSY:
   another task is sending one in parts. A part whose await is cancelled still
   goes out; a message whose task ends before its end closes the socket. */
enum { AW_WS_LAST = 1, AW_WS_BINARY = 2 };
AW__AWAITABLE(aw_ws_send_part, (aw_ws *ws; const void *data; size_t size;
                                int how;));

/* Closes, behind what has been sent: 0 once the peer has answered. code 0:
   1000. reason: at most 123 bytes of UTF-8, or NULL. AW_ETIMEDOUT: no answer
   within ws_close_ms; it is cut off. AW_EINVAL: no such code or reason.
   Awaits: yes. */
AW__AWAITABLE(aw_ws_close, (aw_ws *ws; int code; const char *reason;));

/* Of the Close that the peer sent: its code, AW_WS_NO_CODE, AW_WS_ABNORMAL:
   none has come; its reason, "" for none. */
AW_API int aw_ws_close_code(const aw_ws *ws);
AW_API const char *aw_ws_close_reason(const aw_ws *ws);

/* The subprotocol that was chosen; NULL: none. */
AW_API const char *aw_ws_protocol(const aw_ws *ws);

/* Sends without awaiting, from any code on the loop's thread: what the peer
   does not take at once is copied and queued, in order with what is awaited.
   0. One for whom more than ws_max_queue bytes wait does not read: it is
   dropped, and its view cancelled (AW_ETOOBIG, and a log line); so is one for
   whom there is no memory (AW_ENOMEM). AW_ECLOSED; AW_EINVAL. Awaits: no. */
AW_API int aw_ws_post(aw_ws *ws, const void *data, size_t size);
AW_API int aw_ws_post_binary(aw_ws *ws, const void *data, size_t size);

#ifndef ASYNCWEB_NO_CLIENT
/* Opens a WebSocket as a client: AWAIT(aw_ws_connect, &self->ws,
   .url = "ws://host/chat", .protocols = "v2 v1"). 0, and *out, for which the
   functions above work as for a server's (AW_ECONNRESET, AW_EEOF, AW_ETIMEDOUT
   of aw_ws_recv: the peer is gone). An error, and *out is NULL: as of aw_fetch;
   AW_HTTP(status): the server answered with that, redirects too; AW_EBADMSG
   (logged): what it says is no handshake. Strings are copied. Awaits: yes.
   It is yours until aw_ws_free. Example: ws_client.c. */
AW__AWAITABLE(aw_ws_connect, (
    aw_ws **out AW__OPT;
    const char *url AW__OPT;        /* ws[s]://[user:password@]host[:port]/ */
    const char *protocols AW__OPT;      /* offered, the best first */
    const aw_header_field *headers AW__OPT;     /* Origin, ... */
    const char *basic AW__OPT, *bearer AW__OPT;
    int64_t timeout_ms AW__OPT;         /* until it is open; the client's */
    size_t max_message AW__OPT;         /* bytes; 0: 1 MiB */
    struct aw_client *client AW__OPT;   /* NULL: the loop's own */
    const aw_tls *tls AW__OPT;));       /* of wss; NULL: the client's */

/* Gives it back. One that is open is closed with 1000, by itself. For DEFER,
   hence void *. NULL is fine. One nobody freed, aw_loop_free does. */
AW_API void aw_ws_free(void *ws);
#endif

/* Sockets that get the same messages, each encoded once and shared. Zeroed is
   an empty room; it stays where it is while it has members. A socket leaves by
   itself when it is closed, by either side, and may be in many rooms. */
typedef struct aw_ws_room {
    void *members;
    size_t count;
} aw_ws_room;

/* join: 0, also when it is in there; AW_ECLOSED, AW_ENOMEM. leave: also when
   it is not. broadcast: posts to each member; how many got it, or AW_EINVAL:
   the text is not UTF-8. Awaits: no. */
AW_API int aw_ws_join(aw_ws_room *room, aw_ws *ws);
AW_API void aw_ws_leave(aw_ws_room *room, aw_ws *ws);
AW_API int aw_ws_broadcast(aw_ws_room *room, const void *data, size_t size);
AW_API int aw_ws_broadcast_binary(aw_ws_room *room, const void *data,
                                  size_t size);

#endif

/* >>test  An application in memory, for your tests ------------------------- */

#if !defined(ASYNCWEB_NO_TEST) && !defined(ASYNCWEB_NO_CLIENT)

/* Drives an application without a network and with a virtual clock: an hour's
   sleep passes at once. Debug checks are on. See "Tests" in README.md. */
typedef struct aw_test aw_test;

typedef struct aw_test_config {
    const aw_route *routes AW__OPT;
    const aw_mock *mocks AW__OPT;       /* the upstreams; ends with {NULL} */
    void *data AW__OPT;                 /* AW_STATE */
    const aw_config *config AW__OPT;    /* limits and the rest; or NULL */
    uint64_t chaos AW__OPT;             /* a seed: ready tasks run in random
                                           order, every await suspends, reads
                                           and writes are short; 0: off */
} aw_test_config;

/* NULL: out of memory, or the routes are wrong (said on stderr). */
AW_API aw_test *aw_test_open_config(aw_test_config config);
#define aw_test_open(...) \
    aw_test_open_config(AW__LIT(aw_test_config, .routes = __VA_ARGS__))

/* Sends a request on a connection of its own and lets time pass until it is
   answered. The reply is the test's until aw_test_close; never NULL: status
   0 means that no answer will ever come. */
typedef struct aw_test_request {
    const char *target AW__OPT;
    const char *method AW__OPT;         /* NULL: GET, or POST with a body */
    const aw_header_field *headers AW__OPT;
    const char *body AW__OPT;
} aw_test_request;
AW_API const aw_response *aw_test_send(aw_test *t, aw_test_request request);
AW_API const aw_response *aw_test_get(aw_test *t, const char *target);
#define aw_test_fetch(t, ...) \
    aw_test_send((t), AW__LIT(aw_test_request, .target = __VA_ARGS__))

/* Sends these bytes as they are, in pieces of `piece` bytes (0: at once), and
   gives all that comes back until the server closes or has no more to say.
   Time passes only while views or tasks wait. */
AW_API const char *aw_test_raw(aw_test *t, const char *bytes, size_t n,
                               size_t piece);

/* Sends the request again and again, its view cancelled at its first await,
   its second, ... until it has no more. True: each time all memory, tasks and
   descriptors were given back; else what was not is said on stderr. */
AW_API bool aw_test_cancel_everywhere(aw_test *t, const char *target);

/* aw_test_get with the view cancelled at its k-th await, from 1 on; one that
   has fewer is answered as usual. */
AW_API const aw_response *aw_test_cancel_at(aw_test *t, const char *target,
                                            int64_t k);

#ifndef ASYNCWEB_NO_WS
/* A client of a WebSocket route: aw_test_ws(t, "/chat", .headers = fields).
   It answers pings and a Close by itself, while the test lets time pass. The
   test's until aw_test_close; NULL: out of memory. aw_test_ws_status: 101 when
   it was opened, else the status that refused it, 0: no answer. */
typedef struct aw_test_socket aw_test_socket;
AW_API aw_test_socket *aw_test_ws_open(aw_test *t, aw_test_request request);
#define aw_test_ws(t, ...) \
    aw_test_ws_open((t), AW__LIT(aw_test_request, .target = __VA_ARGS__))
AW_API int aw_test_ws_status(const aw_test_socket *w);

/* Sends a text; a binary message. */
AW_API void aw_test_ws_send(aw_test_socket *w, const char *text);
AW_API void aw_test_ws_send_binary(aw_test_socket *w, const void *p, size_t n);

/* The next message, NUL-terminated; an hour passes at most until it comes.
   NULL: the server has closed or is silent. *n, if not NULL: its size. */
AW_API const char *aw_test_ws_recv(aw_test_socket *w, size_t *n);

/* The code that the server closed with, after a while; 0: it has not;
   AW_WS_ABNORMAL: without a Close. aw_test_ws_close sends a Close before; with
   code 0 it cuts the connection, and gives 0. */
AW_API int aw_test_ws_code(aw_test_socket *w);
AW_API int aw_test_ws_close(aw_test_socket *w, int code);
#endif

/* Virtual milliseconds since the test was opened; lets some pass. */
AW_API int64_t aw_test_now_ms(const aw_test *t);
AW_API void aw_test_advance(aw_test *t, int64_t ms);
AW_API aw_loop *aw_test_loop(aw_test *t);

/* Notes and says a failed expectation. */
#define AW_EXPECT(t, what) \
    ((what) ? (void)0 : aw__test_failed((t), #what, __FILE__, __LINE__))
AW_API void aw__test_failed(aw_test *t, const char *what, const char *file,
                            int line);

/* Stops the application, frees all. 0; 1 when an expectation failed, or
   memory or a descriptor was lost. */
AW_API int aw_test_close(aw_test *t);

#endif

/* >>short  Short names of the verbs ---------------------------------------- */

#ifndef ASYNCWEB_NO_SHORT_NAMES
#define ASYNC AW_ASYNC
#define ASYNC_DECLARE AW_ASYNC_DECLARE
#define ASYNC_DEFINE AW_ASYNC_DEFINE
#define ASYNC_MAX AW_ASYNC_MAX
#define BEGIN AW_BEGIN
#define FINALLY AW_FINALLY
#define RETURN AW_RETURN
#define AWAIT AW_AWAIT
#define AWAIT_TO AW_AWAIT_TO
#define AWAIT_FOR AW_AWAIT_FOR
#define AWAIT_FOR_TO AW_AWAIT_FOR_TO
#define SHIELD AW_SHIELD
#define START AW_START
#define START_TO AW_START_TO
#define GATHER AW_GATHER
#define GATHER_TO AW_GATHER_TO
#define GATHER_FOR AW_GATHER_FOR
#define GATHER_FOR_TO AW_GATHER_FOR_TO
#define RACE_TO AW_RACE_TO
#define SPAWN AW_SPAWN
#define SPAWN_ON AW_SPAWN_ON
#define DEFER AW_DEFER
#define OUTCOME AW_OUTCOME
#define VIEW AW_VIEW
#define VIEW_DECLARE AW_VIEW_DECLARE
#define VIEW_DEFINE AW_VIEW_DEFINE
#define ASYNC_VIEW AW_ASYNC_VIEW
#define ASYNC_VIEW_DEFINE AW_ASYNC_VIEW_DEFINE
#define ROUTES AW_ROUTES
#define WS AW_WS
#define WS_VIEW AW_WS_VIEW
#define WS_VIEW_DECLARE AW_WS_VIEW_DECLARE
#define WS_VIEW_DEFINE AW_WS_VIEW_DEFINE
#define GET AW_GET
#define POST AW_POST
#define PUT AW_PUT
#define PATCH AW_PATCH
#define DELETE AW_DELETE
#define ANY AW_ANY
#define MOUNT AW_MOUNT
#define BEFORE AW_BEFORE
#define AFTER AW_AFTER
#define ON_ERROR AW_ON_ERROR
#define ROUTES_DECLARE AW_ROUTES_DECLARE
#define ROUTES_DEFINE AW_ROUTES_DEFINE
#define ASSETS AW_ASSETS
#ifndef ASYNCWEB_NO_STATIC_FILES
#define STATIC AW_STATIC
#endif
#endif

#ifdef __cplusplus
}
#endif
#endif /* ASYNCWEB_H */

/* ======================================================================== */
/*  Part III: implementation                                                */
/* ======================================================================== */

#if defined(ASYNCWEB_IMPLEMENTATION) && !defined(ASYNCWEB_IMPLEMENTED)
#define ASYNCWEB_IMPLEMENTED

/* What a build option leaves out may have been the only user of something. */
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

/* >>floor0 platform  Includes, compiler shims, system calls -------------- */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/mman.h>
#ifndef ASYNCWEB_NO_WORKERS
#include <sys/wait.h>
#if defined(__linux__)
#include <sched.h>
#endif
#endif
#include <time.h>
#include <unistd.h>
#ifndef ASYNCWEB_NO_THREADS
#include <pthread.h>
#endif
/* glibc hides from tcc that struct epoll_event is packed. */
#if defined(__TINYC__) && !defined(ASYNCWEB_POLL)
#define ASYNCWEB_POLL
#endif
#if defined(ASYNCWEB_POLL)
#include <poll.h>
#elif defined(__linux__)
#include <sys/epoll.h>
#else
#include <sys/event.h>
#include <sys/time.h>
#endif
#if defined(__linux__)
#include <sys/eventfd.h>
#endif
#ifdef ASYNCWEB_BEARSSL
#include <bearssl.h>
#endif
#ifdef ASYNCWEB_FIXED_MEMORY
#ifdef __SANITIZE_ADDRESS__
#define AW__ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AW__ASAN
#endif
#endif
#ifdef AW__ASAN
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASYNCWEB_NO_STATIC_FILES
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/sendfile.h>
#include <sys/syscall.h>
#endif
#endif

/* Sixteen bytes at a time where the compiler has them without a flag; with
   ASYNCWEB_NO_SIMD, or elsewhere, plain C does the same work. */
#if !defined(ASYNCWEB_NO_SIMD) && defined(__GNUC__) && !defined(__TINYC__)
#if defined(__SSE2__)
#define AW__SSE2 1
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define AW__NEON 1
#include <arm_neon.h>
#endif
#endif

/* For the few functions whose call would cost more than their work. */
#if defined(__GNUC__) || defined(__clang__)
#define AW__INLINE inline __attribute__((always_inline))
#else
#define AW__INLINE inline
#endif

/* Tables for unwinding are a tenth of a small program, and C does not unwind:
   with -Os they go to where only debuggers look, and strip takes them. */
#if defined(ASYNCWEB_STATIC) && defined(__OPTIMIZE_SIZE__) && \
    defined(__ELF__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__cplusplus) && !defined(__EXCEPTIONS) && \
    !defined(__SANITIZE_ADDRESS__) && defined(__GCC_HAVE_DWARF2_CFI_ASM)
__asm__(".cfi_sections .debug_frame");
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define AW__LIKELY(x) __builtin_expect(!!(x), 1)
#define AW__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AW__NOINLINE __attribute__((noinline))
/* Of start and end, mistakes and rare events: small rather than fast. */
#define AW__COLD __attribute__((cold, noinline))
#else
#define AW__LIKELY(x) (x)
#define AW__UNLIKELY(x) (x)
#define AW__NOINLINE
#define AW__COLD
#endif

/* Tests define them, and only through them faults come in. FAULT: true makes
   this system call or allocation fail, with the errno it has set. SHORT, asked
   before: true makes it move one byte only. */
#ifndef ASYNCWEB_FAULT
#define ASYNCWEB_FAULT(call) 0
#endif
#ifndef ASYNCWEB_SHORT
#define ASYNCWEB_SHORT(call) 0
#endif

/* Tables and buffers, in a process that has memory, and in a buffer. */
#ifdef ASYNCWEB_FIXED_MEMORY
#define AW__SIZED(usual, fixed) (fixed)
#else
#define AW__SIZED(usual, fixed) (usual)
#endif

/* The highest bit set of x != 0. */
static int aw__log2(uint64_t x)
{
#if defined(__GNUC__) || defined(__clang__)
    return 63 - __builtin_clzll(x);
#else
    int n = 0;
    while (x >>= 1) n++;
    return n;
#endif
}

/* The lowest bit set of x != 0. */
static int aw__lowest(uint64_t x)
{
    return aw__log2(x & (0 - x));
}

/* What errno says, as an error of ours. */
static int aw__error_of(int error)
{
    switch (error) {
        case ENOMEM: case ENOBUFS: return AW_ENOMEM;
        case EAGAIN: return AW_EAGAIN;
        case EINVAL: case ENAMETOOLONG: return AW_EINVAL;
        case EBADF: return AW_EBADF;
        case EPIPE: return AW_ECLOSED;
        case ECONNREFUSED: return AW_ECONNREFUSED;
        case ECONNRESET: case ECONNABORTED: return AW_ECONNRESET;
        case ENETUNREACH: case EHOSTUNREACH: case ENETDOWN: return AW_EUNREACH;
        case ETIMEDOUT: return AW_ETIMEDOUT;
        case EADDRINUSE: return AW_EADDRINUSE;
        case EADDRNOTAVAIL: return AW_EADDRNOTAVAIL;
        case EACCES: case EPERM: case EROFS: return AW_EACCES;
        case EMFILE: case ENFILE: return AW_EMFILE;
        case ENOENT: case ENOTDIR: return AW_ENOENT;
        case EEXIST: case EISDIR: return AW_EEXIST;
        case ENOSPC: case EDQUOT: case EFBIG: return AW_ENOSPC;
        case EAFNOSUPPORT: case EOPNOTSUPP: return AW_ENOTSUP;
        default: return AW_EIO;
    }
}

static int aw__errno(void)
{
    return aw__error_of(errno);
}

/* Bytes that nobody can guess. False: the system has none to give. */
static bool aw__sys_random(void *p, size_t n)
{
    int fd = ASYNCWEB_FAULT("random") ? -1
        : open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool all = fd >= 0 && (size_t)read(fd, p, n) == n;
    if (fd >= 0) close(fd);
    return all;
}

/* The time of day, for Date. */
static int64_t aw__sys_unix_seconds(void)
{
    return (int64_t)time(NULL);
}

/* How many descriptors this process may have open. */
static int aw__sys_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 256;
    return limit.rlim_cur > 1 << 20 ? 1 << 20 : (int)limit.rlim_cur;
}

/* The soft limit, up to the hard one. What fails leaves it as it is. */
static void aw__sys_raise_descriptors(int most)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)most;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    if (limit.rlim_max != RLIM_INFINITY && want > limit.rlim_max)
        want = limit.rlim_max;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= want) return;
    limit.rlim_cur = want;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Best effort: what a log cannot take is lost, not waited for. */
static bool aw__sys_write(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static int64_t aw__sys_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#if defined(ASYNCWEB_POLL)
static int aw__sys_poll(struct pollfd *set, nfds_t n, int ms)
{
    return ASYNCWEB_FAULT("poll") ? -1 : poll(set, n, ms);
}
#elif defined(__linux__)
static int aw__sys_epoll_open(void)
{
    return ASYNCWEB_FAULT("epoll_create") ? -1 : epoll_create1(EPOLL_CLOEXEC);
}

static int aw__sys_epoll_ctl(int poller, int op, int fd, struct epoll_event *e)
{
    return ASYNCWEB_FAULT("epoll_ctl") ? -1 : epoll_ctl(poller, op, fd, e);
}

static int aw__sys_epoll_wait(int poller, struct epoll_event *e, int n, int ms)
{
    return ASYNCWEB_FAULT("epoll_wait") ? -1 : epoll_wait(poller, e, n, ms);
}
#endif

/* ---- the wake-up descriptor: an eventfd, or a pipe ---- */

static int aw__sys_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -1;
    return fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int aw__sys_wake_open(int *read_end, int *write_end)
{
#if defined(__linux__)
    *read_end = *write_end = ASYNCWEB_FAULT("eventfd") ? -1
        : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return *read_end < 0 ? aw__errno() : 0;
#else
    int ends[2];
    if (pipe(ends) < 0) return aw__errno();
    *read_end = ends[0];
    *write_end = ends[1];
    if (aw__sys_nonblocking(ends[0]) < 0) return aw__errno();
    return aw__sys_nonblocking(ends[1]) < 0 ? aw__errno() : 0;
#endif
}

static void aw__sys_wake_close(int read_end, int write_end)
{
    if (read_end >= 0) close(read_end);
    if (write_end >= 0 && write_end != read_end) close(write_end);
}

/* Safe in a signal handler. A full pipe is as good as one byte more. */
static void aw__sys_wake(int fd)
{
    const uint64_t one = 1;
    const int saved = errno;
    if (write(fd, &one, sizeof one) < 0) errno = saved;
}

static void aw__sys_wake_drain(int fd)
{
    char bytes[256];
    while (read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {}
}

/* ---- files, to be read ---- */

#ifndef ASYNCWEB_NO_STATIC_FILES
/* O_NONBLOCK: nobody may write to a FIFO, but its open must not wait. */
#ifdef O_LARGEFILE
enum { AW__SYS_OPEN = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
       O_LARGEFILE };
#else
enum { AW__SYS_OPEN = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };
#endif

/* A directory to go through need not be readable. */
#if defined(O_PATH)
enum { AW__SYS_DIR = O_DIRECTORY | O_PATH };
#elif defined(O_SEARCH)
enum { AW__SYS_DIR = O_DIRECTORY | O_SEARCH };
#else
enum { AW__SYS_DIR = O_DIRECTORY };
#endif

static int aw__sys_open(int dir, const char *path, int flags)
{
    int fd;
    do fd = ASYNCWEB_FAULT("open") ? -1
        : openat(dir, path, AW__SYS_OPEN | flags);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens what lies below dir, and goes through no symbolic link. ENOSYS: the
   system cannot do that in one call; Linux can from 5.6 on. */
static int aw__sys_open_beneath(int dir, const char *path)
{
#if defined(SYS_openat2) && (defined(__USE_MISC) || !defined(__GLIBC__))
    /* struct open_how: flags, mode, and to resolve BENEATH, NO_SYMLINKS,
       NO_MAGICLINKS. Older systems have no header for it. */
    static const uint64_t how[3] = {AW__SYS_OPEN, 0, 8 | 4 | 2};
    int fd;
    do fd = ASYNCWEB_FAULT("openat2") ? -1
        : (int)syscall(SYS_openat2, dir, path, how, sizeof how);
    while (fd < 0 && errno == EINTR);
    return fd;
#else
    (void)dir, (void)path;
    errno = ENOSYS;
    return -1;
#endif
}

static int aw__sys_stat(int fd, struct stat *st)
{
    return ASYNCWEB_FAULT("fstat") ? -1 : fstat(fd, st);
}

static ptrdiff_t aw__sys_pread(int fd, void *p, size_t n, int64_t at)
{
    ssize_t got;
    if (ASYNCWEB_SHORT("pread") && n) n = 1;
    do got = ASYNCWEB_FAULT("pread") ? -1 : pread(fd, p, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Sends bytes of a file to a socket: how many; 0: the file ends before them.
   ENOSYS: the system cannot do that. */
static ptrdiff_t aw__sys_sendfile(int to, int file, int64_t at, size_t n)
{
    off_t from = (off_t)at, sent;
    if (ASYNCWEB_SHORT("sendfile") && n) n = 1;
    sent = (off_t)n;
    (void)to, (void)file, (void)from, (void)sent;
    if (ASYNCWEB_FAULT("sendfile")) return -1;
#if defined(ASYNCWEB_NO_SENDFILE)
    errno = ENOSYS;
    return -1;
#elif defined(__linux__)
    return sendfile(to, file, &from, n);
#elif defined(__FreeBSD__)
    sent = 0;
    if (sendfile(file, to, from, n, NULL, &sent, 0) < 0 && !sent) return -1;
    return (ptrdiff_t)sent;
#elif defined(__APPLE__)
    if (sendfile(file, to, from, &sent, NULL, 0) < 0 && !sent) return -1;
    return (ptrdiff_t)sent;
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* On Linux nothing keeps sendfile() from the signal when the client has left;
   aw_run ignores it, but the loop may be another program's. */
static bool aw__sys_sigpipe_kills(void)
{
#if defined(__linux__)
    struct sigaction now;
    return sigaction(SIGPIPE, NULL, &now) < 0 || now.sa_handler == SIG_DFL;
#else
    return false;               /* SO_NOSIGPIPE */
#endif
}
#endif

/* >>floor1 list  Intrusive circular lists ---------------------------------- */

/* A member of a list, or its head. Zeroed: in no list. It is the first field
   of what it links, so that a cast leads back. */
typedef struct aw__link {
    struct aw__link *next, *prev;
} aw__link;

static void aw__list_init(aw__link *head)
{
    head->next = head->prev = head;
}

static bool aw__list_empty(const aw__link *head)
{
    return head->next == head;
}

static void aw__list_add(aw__link *head, aw__link *x)
{
    x->next = head;
    x->prev = head->prev;
    head->prev->next = x;
    head->prev = x;
}

static void aw__list_remove(aw__link *x)
{
    x->prev->next = x->next;
    x->next->prev = x->prev;
    x->next = x->prev = NULL;
}

/* Moves all of `from` to `to`, in order. */
static void aw__list_move(aw__link *to, aw__link *from)
{
    aw__list_init(to);
    if (aw__list_empty(from)) return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    aw__list_init(from);
}

/* ---- sockets; EINTR is nobody's business above here ---- */

typedef union aw__sys_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
} aw__sys_address;

/* BSD and macOS have it as a socket option instead, if at all. */
#ifdef MSG_NOSIGNAL
enum { AW__SYS_SEND = MSG_NOSIGNAL };
#else
enum { AW__SYS_SEND = 0 };
#endif

static ptrdiff_t aw__sys_recv(int fd, void *p, size_t n)
{
    ssize_t got;
    if (ASYNCWEB_SHORT("recv") && n) n = 1;
    do got = ASYNCWEB_FAULT("recv") ? -1 : recv(fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ptrdiff_t aw__sys_send(int fd, const void *p, size_t n)
{
    ssize_t sent;
    if (ASYNCWEB_SHORT("send") && n) n = 1;
    do sent = ASYNCWEB_FAULT("send") ? -1 : send(fd, p, n, AW__SYS_SEND);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static ptrdiff_t aw__sys_sendmsg(int fd, struct iovec *parts, int count)
{
    struct msghdr m;
    ssize_t sent;
    memset(&m, 0, sizeof m);
    if (ASYNCWEB_SHORT("send")) {
        while (count > 1 && !parts->iov_len) parts++, count--;
        if (parts->iov_len) parts->iov_len = 1;
        count = 1;
    }
    m.msg_iov = parts;
    /* The type of the count differs from system to system. */
    while (count-- > 0) m.msg_iovlen++;
    do sent = ASYNCWEB_FAULT("send") ? -1 : sendmsg(fd, &m, AW__SYS_SEND);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static void aw__sys_close(int fd)
{
    /* Not again after EINTR: the number may be another thread's by now. */
    (void)close(fd);
}

static int aw__sys_option(int fd, int level, int name, int value)
{
    if (ASYNCWEB_FAULT("setsockopt")) return -1;
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* What is missing from a new descriptor where socket() and accept() take no
   flags. Closes it when that fails. */
static int aw__sys_prepare(int fd)
{
    const int error = errno;
    if (fd < 0) return -1;
#ifdef SO_NOSIGPIPE
    (void)aw__sys_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    if (aw__sys_nonblocking(fd) == 0) return errno = error, fd;
    aw__sys_close(fd);
    return -1;
}

/* A stream socket, non-blocking and closed by exec; -1. */
static int aw__sys_socket(int family)
{
    if (ASYNCWEB_FAULT("socket")) return -1;
#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK) && defined(MSG_NOSIGNAL)
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    return aw__sys_prepare(socket(family, SOCK_STREAM, 0));
#endif
}

static int aw__sys_accept(int listener, aw__sys_address *from)
{
    socklen_t n = sizeof *from;
    memset(from, 0, sizeof *from);
    if (ASYNCWEB_FAULT("accept")) return -1;
#if defined(__linux__) && \
    (defined(__USE_GNU) || (defined(_GNU_SOURCE) && !defined(__GLIBC__)))
    return accept4(listener, &from->any, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    return aw__sys_prepare(accept(listener, &from->any, &n));
#endif
}

static int aw__sys_connect(int fd, const aw__sys_address *to, socklen_t n)
{
    /* An interrupted one is on its way all the same. */
    const int rc = connect(fd, &to->any, n);
    return ASYNCWEB_FAULT("connect") ? -1 : rc;
}

static int aw__sys_bind(int fd, const aw__sys_address *at, socklen_t n)
{
    return ASYNCWEB_FAULT("bind") ? -1 : bind(fd, &at->any, n);
}

static int aw__sys_listen(int fd, int backlog)
{
    return ASYNCWEB_FAULT("listen") ? -1 : listen(fd, backlog);
}

static int aw__sys_name(int fd, aw__sys_address *name)
{
    socklen_t n = sizeof *name;
    if (ASYNCWEB_FAULT("getsockname")) return -1;
    return getsockname(fd, &name->any, &n);
}

/* The error a socket has met since it was last asked for, an errno; 0. */
static int aw__sys_socket_error(int fd)
{
    int error = 0;
    socklen_t n = sizeof error;
    if (ASYNCWEB_FAULT("getsockopt")) return errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) ? errno : error;
}

/* ---- processes ---- */

#ifndef ASYNCWEB_NO_WORKERS
/* What stdio holds would be written by both. */
static pid_t aw__sys_fork(void)
{
    if (ASYNCWEB_FAULT("fork")) return -1;
    (void)fflush(NULL);
    return fork();
}

/* 0: it still runs. Else it is no child any more, with that *status. */
static pid_t aw__sys_wait(pid_t pid, int *status)
{
    pid_t got;
    do got = waitpid(pid, status, WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got < 0) *status = 0;   /* somebody else has taken it */
    return got;
}

/* Two stream sockets that are connected to each other. */
static int aw__sys_pair(int ends[2])
{
    if (ASYNCWEB_FAULT("socketpair")) return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) return -1;
    if (aw__sys_prepare(ends[0]) < 0) {
        aw__sys_close(ends[1]);
        return -1;
    }
    if (aw__sys_prepare(ends[1]) >= 0) return 0;
    aw__sys_close(ends[0]);
    return -1;
}

/* The processors that this process may use. */
static int aw__sys_cores(void)
{
    long n;
#if defined(__linux__) && defined(CPU_COUNT)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 4096 ? (int)n : 1;
}
#endif

#ifdef ASYNCWEB_FIXED_MEMORY
/* >>floor1 heap  All memory in one buffer of the caller's ------------------ */

/* Blocks lie one behind the other, in units of 16 bytes. In front of a block's
   bytes, which are aligned to 16, stand four more: its size and two flags. A
   free block has two links in its first bytes and its size again in its last
   four, where the one behind finds it. So both neighbours of a block that is
   given back are known, and

   - no two free blocks lie side by side: what was cut becomes whole again;
   - a free block stands in the list of its class, a quarter of an octave of
     sizes, and a bit tells which lists have members: to find one that fits is
     a few instructions, whatever the heap's size;
   - small blocks are cut from the low end of the lowest large one, large blocks
     from the high end of one that fits: so what stays for long does not lie
     between the bursts, and a hole that a burst leaves fits the next one.

   It fails only when no free block is large enough: before it does, it looks
   at every block of the one class whose members may or may not fit. */
enum {
    AW__HEAP_UNIT = 16,
    AW__HEAP_FREE = 1,          /* this block... */
    AW__HEAP_BEHIND_FREE = 2,   /* ...the one in front of it */
    AW__HEAP_LARGE = 64,        /* units */
    AW__HEAP_LOOK = 8,          /* so many of a class are looked at first */
    AW__HEAP_MOST = 1 << 28     /* units: 4 GiB */
};

typedef struct aw__heap {
    char *base;                 /* block n's bytes lie at base + 16 n, n > 0 */
    uint32_t units, free;       /* in all; in free blocks */
    uint32_t least;             /* free ones there ever were */
    uint64_t some[2];           /* classes whose list has members */
    uint32_t *first;            /* of each class; 0: none */
} aw__heap;

static uint32_t aw__heap_word(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static void aw__heap_put_word(char *p, uint32_t word)
{
    memcpy(p, &word, sizeof word);
}

/* ASan is told who may touch what, but for the last eight bytes of a block:
   they share what it keeps account of with the size of the next one. */
static void aw__heap_guard(char *p, uint32_t units, size_t used)
{
#ifdef AW__ASAN
    const size_t end = (size_t)units * AW__HEAP_UNIT - 8;
    ASAN_UNPOISON_MEMORY_REGION(p, end);
    if (used < end) ASAN_POISON_MEMORY_REGION(p + used, end - used);
#else
    (void)p, (void)units, (void)used;
#endif
}

static uint32_t aw__heap_size(const char *p)
{
    return aw__heap_word(p - 4) >> 2;
}

static char *aw__heap_next(char *p, uint32_t units)
{
    return p + (size_t)units * AW__HEAP_UNIT;
}

/* Sizes below 8 have a class each, others four an octave. */
static int aw__heap_class(uint32_t units)
{
    const int octave = units < 8 ? 0 : aw__log2(units);
    return octave ? 8 + (octave - 3) * 4 + (int)(units >> (octave - 2) & 3)
        : (int)units;
}

/* The first class from `from` on with members; -1: there is none. */
static int aw__heap_some(const aw__heap *x, int from)
{
    int i;
    for (i = from / 64; i < 2; i++, from = 0) {
        const uint64_t some = x->some[i] & ~(uint64_t)0 << from % 64;
        if (some) return i * 64 + aw__lowest(some);
    }
    return -1;
}

/* Makes a used block, whose neighbours are used, a free one. */
static void aw__heap_link(aw__heap *x, char *p, uint32_t units)
{
    const int class_ = aw__heap_class(units);
    const uint32_t next = x->first[class_];
    const uint32_t at = (uint32_t)((p - x->base) / AW__HEAP_UNIT);
    char *behind = aw__heap_next(p, units);
    aw__heap_guard(p, units, 8);
    aw__heap_put_word(p - 4, units << 2 | AW__HEAP_FREE);
    aw__heap_put_word(p, next);
    aw__heap_put_word(p + 4, 0);
    aw__heap_put_word(behind - 8, units);
    aw__heap_put_word(behind - 4, aw__heap_word(behind - 4) |
                                  AW__HEAP_BEHIND_FREE);
    if (next) aw__heap_put_word(aw__heap_next(x->base, next) + 4, at);
    x->first[class_] = at;
    x->some[class_ / 64] |= (uint64_t)1 << class_ % 64;
    x->free += units;
}

static void aw__heap_unlink(aw__heap *x, char *p)
{
    const uint32_t units = aw__heap_size(p);
    const uint32_t next = aw__heap_word(p), prev = aw__heap_word(p + 4);
    const int class_ = aw__heap_class(units);
    char *behind = aw__heap_next(p, units);
    aw__heap_guard(p, units, SIZE_MAX);
    if (next) aw__heap_put_word(aw__heap_next(x->base, next) + 4, prev);
    if (prev) aw__heap_put_word(aw__heap_next(x->base, prev), next);
    else x->first[class_] = next;
    if (!x->first[class_])
        x->some[class_ / 64] &= ~((uint64_t)1 << class_ % 64);
    aw__heap_put_word(behind - 4, aw__heap_word(behind - 4) &
                                  ~(uint32_t)AW__HEAP_BEHIND_FREE);
    x->free -= units;
}

/* The first of at most `most` blocks of a class that has room; or NULL. */
static char *aw__heap_look(const aw__heap *x, int class_, uint32_t units,
                           uint32_t most)
{
    uint32_t at = x->first[class_];
    for (; at && most > 0; most--) {
        char *p = aw__heap_next(x->base, at);
        if (aw__heap_size(p) >= units) return p;
        at = aw__heap_word(p);
    }
    return NULL;
}

/* The lowest large block of those at the head of each class; or NULL. */
static char *aw__heap_lowest(const aw__heap *x)
{
    uint32_t lowest = 0;
    int i = aw__heap_class(AW__HEAP_LARGE);
    for (; (i = aw__heap_some(x, i)) >= 0; i++) {
        uint32_t at = x->first[i], look = AW__HEAP_LOOK;
        for (; at && look > 0; look--) {
            if (!lowest || at < lowest) lowest = at;
            at = aw__heap_word(aw__heap_next(x->base, at));
        }
    }
    return lowest ? aw__heap_next(x->base, lowest) : NULL;
}

static char *aw__heap_find(const aw__heap *x, uint32_t units)
{
    const int class_ = aw__heap_class(units);
    char *p;
    int larger;
    if (class_ > aw__heap_class(x->units)) return NULL;
    p = aw__heap_look(x, class_, units, AW__HEAP_LOOK);
    if (p) return p;
    larger = aw__heap_some(x, class_ + 1);
    if (larger < 0) return aw__heap_look(x, class_, units, UINT32_MAX);
    p = units < AW__HEAP_LARGE && larger >= aw__heap_class(AW__HEAP_LARGE)
        ? aw__heap_lowest(x) : NULL;
    return p ? p : aw__heap_next(x->base, x->first[larger]);
}

/* How many units n bytes take. */
static uint32_t aw__heap_units(size_t n)
{
    const size_t most = (size_t)AW__HEAP_MOST * (AW__HEAP_UNIT - 1);
    return n > most ? (uint32_t)AW__HEAP_MOST
        : (uint32_t)((n + 4 + AW__HEAP_UNIT - 1) / AW__HEAP_UNIT);
}

/* Cuts a used block: it keeps `units`, what is more is free. */
static void aw__heap_cut(aw__heap *x, char *p, uint32_t units)
{
    const uint32_t word = aw__heap_word(p - 4), more = (word >> 2) - units;
    if (!more) return;
    aw__heap_put_word(p - 4, units << 2 | (word & AW__HEAP_BEHIND_FREE));
    aw__heap_link(x, aw__heap_next(p, units), more);
}

/* n bytes aligned to 16, or NULL. */
static void *aw__heap_get(aw__heap *x, size_t n)
{
    const uint32_t units = aw__heap_units(n);
    char *p = aw__heap_find(x, units);
    uint32_t more;
    if (!p) return NULL;
    aw__heap_unlink(x, p);
    more = aw__heap_size(p) - units;
    aw__heap_put_word(p - 4, (more + units) << 2);
    if (more && units >= AW__HEAP_LARGE) {
        aw__heap_put_word(aw__heap_next(p, more) - 4, units << 2);
        aw__heap_link(x, p, more);
        p = aw__heap_next(p, more);
    } else {
        aw__heap_cut(x, p, units);
    }
    if (x->free < x->least) x->least = x->free;
    aw__heap_guard(p, units, n);
    return p;
}

static void aw__heap_put(aw__heap *x, void *block)
{
    char *p = (char *)block, *behind;
    uint32_t units = aw__heap_size(p);
    if (aw__heap_word(p - 4) & AW__HEAP_BEHIND_FREE) {
        const uint32_t before = aw__heap_word(p - 8);
        p -= (size_t)before * AW__HEAP_UNIT;
        aw__heap_unlink(x, p);
        units += before;
    }
    behind = aw__heap_next(p, units);
    if (aw__heap_word(behind - 4) & AW__HEAP_FREE) {
        aw__heap_unlink(x, behind);
        units += aw__heap_size(behind);
    }
    aw__heap_link(x, p, units);
}

/* Makes a block n bytes where it lies. False: there is no room behind it. */
static bool aw__heap_resize(aw__heap *x, void *block, size_t n)
{
    char *p = (char *)block, *behind;
    const uint32_t units = aw__heap_units(n), had = aw__heap_size(p);
    uint32_t more = 0;
    behind = aw__heap_next(p, had);
    if (aw__heap_word(behind - 4) & AW__HEAP_FREE) more = aw__heap_size(behind);
    if (had + more < units) return false;
    aw__heap_guard(p, had, SIZE_MAX);
    if (more) {
        aw__heap_unlink(x, behind);
        aw__heap_put_word(p - 4, aw__heap_word(p - 4) + (more << 2));
    }
    aw__heap_cut(x, p, units);
    if (x->free < x->least) x->least = x->free;
    aw__heap_guard(p, units, n);
    return true;
}

/* Bytes that the next block may have at most. */
static size_t aw__heap_largest(const aw__heap *x)
{
    uint32_t at, most = 0;
    int i, class_ = -1;
    for (i = 0; (i = aw__heap_some(x, i)) >= 0; i++) class_ = i;
    for (at = class_ < 0 ? 0 : x->first[class_]; at;) {
        const char *p = aw__heap_next(x->base, at);
        if (aw__heap_size(p) > most) most = aw__heap_size(p);
        at = aw__heap_word(p);
    }
    return most ? (size_t)most * AW__HEAP_UNIT - 4 : 0;
}

/* Nothing in the buffer is of the heap's any more. */
static void aw__heap_close(aw__heap *x)
{
#ifdef AW__ASAN
    ASAN_UNPOISON_MEMORY_REGION(x->base, ((size_t)x->units + 1) *
                                         AW__HEAP_UNIT);
#else
    (void)x;
#endif
}

/* A heap in n bytes at p, aligned or not; its own data is in there. NULL: they
   are too few. */
static aw__heap *aw__heap_open(void *p, size_t n)
{
    const size_t unit = AW__HEAP_UNIT, pad = (0 - (uintptr_t)p) % unit;
    const size_t most = (size_t)AW__HEAP_MOST * (AW__HEAP_UNIT - 1);
    size_t own = sizeof(aw__heap), units;
    aw__heap *x = (aw__heap *)(void *)((char *)p + pad);
    if (!p || n < pad + own + 1024) return NULL;
    n = n - pad < most ? n - pad : most;
    own += (size_t)(aw__heap_class((uint32_t)(n / unit)) + 1) * 4;
    own = (own + 4 + unit - 1) / unit * unit;
    units = (n - own) / unit;
    memset(x, 0, own);
    x->first = (uint32_t *)(void *)(x + 1);
    x->base = (char *)x + own - unit;
    x->units = x->least = (uint32_t)units;
    /* The size behind the last one never says free. */
    aw__heap_put_word(aw__heap_next(x->base, x->units + 1) - 4, 0);
    aw__heap_link(x, aw__heap_next(x->base, 1), x->units);
    return x;
}

#endif

/* >>floor1 memory  Sized allocation, arena, buffer ----------------------- */

/* Your own allocator: all three macros, or none. It has to be thread-safe
   unless ASYNCWEB_NO_THREADS is defined. */
#if defined(ASYNCWEB_FIXED_MEMORY)
#ifdef ASYNCWEB_REALLOC
#error "ASYNCWEB_FIXED_MEMORY has its own allocator: no ASYNCWEB_REALLOC"
#endif
/* What a test needs for itself, sockets in memory and replies, is no part of
   what it tests. */
#if defined(ASYNCWEB_NO_TEST) || defined(ASYNCWEB_NO_CLIENT)
#define ASYNCWEB_REALLOC(ctx, p, n) ((void)(p), (void)(n), (void *)NULL)
#define ASYNCWEB_FREE(ctx, p) ((void)(p))
#else
#define ASYNCWEB_REALLOC(ctx, p, n) realloc(p, n)
#define ASYNCWEB_FREE(ctx, p) free(p)
#endif
#define ASYNCWEB_ALLOC_CTX NULL
#elif defined(ASYNCWEB_REALLOC) && defined(ASYNCWEB_FREE) && \
    defined(ASYNCWEB_ALLOC_CTX)
#define AW__OWN_ALLOCATOR
#elif defined(ASYNCWEB_REALLOC) || defined(ASYNCWEB_FREE) || \
    defined(ASYNCWEB_ALLOC_CTX)
#error "define ASYNCWEB_REALLOC, ASYNCWEB_FREE and ASYNCWEB_ALLOC_CTX together"
#else
#define ASYNCWEB_REALLOC(ctx, p, n) realloc(p, n)
#define ASYNCWEB_FREE(ctx, p) free(p)
#define ASYNCWEB_ALLOC_CTX NULL
#endif

static void *aw__plain_get(size_t n)
{
    if (ASYNCWEB_FAULT("alloc")) return NULL;
    return ASYNCWEB_REALLOC(ASYNCWEB_ALLOC_CTX, NULL, n ? n : 1);
}

static void aw__plain_put(void *p)
{
    ASYNCWEB_FREE(ASYNCWEB_ALLOC_CTX, p);
}

/* Small blocks come from slabs of one size each: no header before a block, and
   a slab without blocks goes back to the system at once, so that a burst of
   sleeping views leaves nothing behind. Sanitizers see more without them. */
#if defined(__SANITIZE_ADDRESS__) || defined(AW__OWN_ALLOCATOR) || \
    defined(ASYNCWEB_NO_SLABS) || defined(ASYNCWEB_FIXED_MEMORY) || \
    !defined(MAP_ANON)
#define AW__SLABS 0
#elif defined(__has_feature)
#define AW__SLABS (!__has_feature(address_sanitizer))
#else
#define AW__SLABS 1
#endif

enum {
    AW__SLAB_BYTES = 65536,     /* their address is a multiple of it, too */
    AW__SLAB_HEAD = 64, AW__SLAB_STEP = 64,
    AW__SLAB_MOST = 1024,       /* larger blocks are plain memory */
    AW__SLAB_SIZES = AW__SLAB_MOST / AW__SLAB_STEP
};

typedef struct aw__slab {
    aw__link link;              /* of those with room, by size */
    void *free;                 /* blocks given back: a list through them */
    uint32_t used, carved;      /* blocks in use; ever handed out */
} aw__slab;

/* The memory of one loop; all zero at first. NULL stands for plain memory,
   uncounted. */
typedef struct aw__mem {
    size_t live;                /* bytes handed out and not yet given back */
#ifdef ASYNCWEB_FIXED_MEMORY
    aw__heap *heap;
#endif
    aw__link slabs[AW__SLABS ? AW__SLAB_SIZES : 1];
} aw__mem;

#if AW__SLABS
static void *aw__slab_pages(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The system aligns to pages only: if need be, take twice as much, and cut. */
static aw__slab *aw__slab_map(void)
{
    const size_t size = AW__SLAB_BYTES;
    char *p = (char *)aw__slab_pages(size);
    size_t before;
    if (p && (uintptr_t)p % size != 0) {
        (void)munmap(p, size);
        p = (char *)aw__slab_pages(2 * size);
        if (!p) return NULL;
        before = (size - (uintptr_t)p % size) % size;
        if (before) (void)munmap(p, before);
        (void)munmap(p + before + size, size - before);
        p += before;
    }
    return (aw__slab *)(void *)p;
}

static void *aw__slab_get(aw__link *list, size_t size)
{
    aw__slab *s;
    char *p;
    if (!list->next) aw__list_init(list);
    s = (aw__slab *)list->next;
    if (aw__list_empty(list)) {
        s = aw__slab_map();
        if (!s) return NULL;
        memset(s, 0, sizeof *s);
        aw__list_add(list, &s->link);
    }
    p = (char *)s->free;
    if (p) memcpy(&s->free, p, sizeof s->free);
    else p = (char *)s + AW__SLAB_HEAD + size * s->carved++;
    if (++s->used == (AW__SLAB_BYTES - AW__SLAB_HEAD) / size)
        aw__list_remove(&s->link);
    return p;
}

static void aw__slab_put(aw__link *list, void *p)
{
    aw__slab *s = (aw__slab *)((uintptr_t)p & ~(uintptr_t)(AW__SLAB_BYTES - 1));
    if (!s->link.next) aw__list_add(list, &s->link);    /* it was full */
    memcpy(p, &s->free, sizeof s->free);
    s->free = p;
    if (--s->used > 0 || (list->next == &s->link && list->prev == &s->link))
        return;                 /* the last one with room stays */
    aw__list_remove(&s->link);
    (void)munmap(s, AW__SLAB_BYTES);
}
#endif

static aw__link *aw__mem_list(aw__mem *m, size_t n)
{
    if (!AW__SLABS || !m || n > AW__SLAB_MOST) return NULL;
    return &m->slabs[n ? (n - 1) / AW__SLAB_STEP : 0];
}

/* n bytes aligned to 16, or NULL. Give them back with the same n. */
static void *aw__mem_get(aw__mem *m, size_t n)
{
    void *p;
#ifdef ASYNCWEB_FIXED_MEMORY
    if (m) {
        p = ASYNCWEB_FAULT("alloc") ? NULL : aw__heap_get(m->heap, n);
        if (p) m->live += n;
        return p;
    }
#endif
#if AW__SLABS
    aw__link *list = aw__mem_list(m, n);
    if (list) {
        if (ASYNCWEB_FAULT("alloc")) return NULL;
        p = aw__slab_get(list, (size_t)(list - m->slabs + 1) * AW__SLAB_STEP);
        if (p) m->live += n;
        return p;
    }
#endif
    p = aw__plain_get(n);
    if (p && m) m->live += n;
    return p;
}

static void aw__mem_put(aw__mem *m, void *p, size_t n)
{
    if (!p) return;
    if (m) m->live -= n;
#ifdef ASYNCWEB_FIXED_MEMORY
    if (m) {
        aw__heap_put(m->heap, p);
        return;
    }
#endif
#if AW__SLABS
    if (aw__mem_list(m, n)) {
        aw__slab_put(aw__mem_list(m, n), p);
        return;
    }
#endif
    aw__plain_put(p);
}

/* Whether there is room for n bytes, as far as that can be known. */
static AW__INLINE bool aw__mem_has(const aw__mem *m, size_t n)
{
#ifdef ASYNCWEB_FIXED_MEMORY
    return aw__heap_find(m->heap, aw__heap_units(n)) != NULL;
#else
    (void)m, (void)n;
    return true;
#endif
}

/* Grows or shrinks; on failure NULL, and the old block is untouched. */
static void *aw__mem_resize(aw__mem *m, void *p, size_t old, size_t n)
{
    void *q;
    bool moves = aw__mem_list(m, old) || aw__mem_list(m, n);
#ifdef ASYNCWEB_FIXED_MEMORY
    if (m && p && ASYNCWEB_FAULT("alloc")) return NULL;
    if (m && p && aw__heap_resize(m->heap, p, n)) {
        m->live += n - old;
        return p;
    }
    moves = m != NULL;
#endif
    if (moves) {
        q = aw__mem_get(m, n);
        if (q && p) memcpy(q, p, old < n ? old : n);
        if (q) aw__mem_put(m, p, old);
        return q;
    }
    if (ASYNCWEB_FAULT("alloc")) return NULL;
    q = ASYNCWEB_REALLOC(ASYNCWEB_ALLOC_CTX, p, n ? n : 1);
    if (q && m) m->live += n - old;
    return q;
}

/* Everything has been given back: the slabs that were kept go, too. */
static void aw__mem_close(aw__mem *m)
{
    int i;
    for (i = 0; AW__SLABS && i < AW__SLAB_SIZES; i++) {
        while (m->slabs[i].next && !aw__list_empty(&m->slabs[i])) {
            aw__link *s = m->slabs[i].next;
            aw__list_remove(s);
#if AW__SLABS
            (void)munmap(s, AW__SLAB_BYTES);
#endif
        }
    }
}

/* Memory that is given back all at once: a request's, a reply's. */
typedef struct aw__arena_block {
    struct aw__arena_block *next;
    size_t size;
} aw__arena_block;

typedef struct aw__arena {
    char *at, *end;             /* free room of the newest block */
    aw__arena_block *blocks;    /* newest first */
    aw__mem *mem;
} aw__arena;

enum { AW__ARENA_MIN = 512, AW__ARENA_HEAD = 16 };

/* Makes room for n bytes in a new block. False: out of memory. */
static AW__NOINLINE bool aw__arena_grow(aw__arena *a, size_t n)
{
    size_t last = a->blocks ? a->blocks->size : AW__ARENA_MIN / 2;
    size_t size = last < AW__SIZED(32768, 2048) ? last * 2 : last;
    aw__arena_block *b;
    if (n > SIZE_MAX / 2) return false;
    if (size < n + AW__ARENA_HEAD + 16) size = n + AW__ARENA_HEAD + 16;
    b = (aw__arena_block *)aw__mem_get(a->mem, size);
    if (!b) return false;
    b->next = a->blocks;
    b->size = size;
    a->blocks = b;
    a->at = (char *)b + AW__ARENA_HEAD;
    a->end = (char *)b + size;
    return true;
}

/* n bytes aligned to 16, not zeroed; NULL when out of memory. */
static void *aw__arena_get(aw__arena *a, size_t n)
{
    size_t pad = (size_t)(0 - (uintptr_t)a->at) & 15u;
    char *p;
    if ((size_t)(a->end - a->at) < pad || (size_t)(a->end - a->at) - pad < n) {
        if (!aw__arena_grow(a, n)) return NULL;
        pad = (size_t)(0 - (uintptr_t)a->at) & 15u;
    }
    p = a->at + pad;
    a->at = p + n;
    return p;
}

/* A NUL-terminated copy, unaligned; NULL when out of memory. */
static char *aw__arena_text(aw__arena *a, const char *text, size_t n)
{
    char *p;
    if ((size_t)(a->end - a->at) <= n && !aw__arena_grow(a, n + 1)) return NULL;
    p = a->at;
    if (n) memcpy(p, text, n);
    p[n] = 0;
    a->at = p + n + 1;
    return p;
}

static void aw__arena_free(aw__arena *a)
{
    while (a->blocks) {
        aw__arena_block *b = a->blocks;
        a->blocks = b->next;
        aw__mem_put(a->mem, b, b->size);
    }
    a->at = a->end = NULL;
}

/* A growing run of bytes. The first failure sticks: later adds do nothing. */
typedef struct aw__buf {
    char *p;
    size_t n, cap;
    aw__mem *mem;
    aw__arena *arena;           /* if set, the bytes live there instead */
    bool failed;
} aw__buf;

static char *aw__buf_resize(aw__buf *b, size_t cap)
{
    char *p;
    if (!b->arena) return (char *)aw__mem_resize(b->mem, b->p, b->cap, cap);
    p = (char *)aw__arena_get(b->arena, cap);
    if (p && b->n) memcpy(p, b->p, b->n);
    return p;
}

/* Room for n more bytes behind p + n, or NULL (and `failed`). */
static char *aw__buf_room(aw__buf *b, size_t n)
{
    size_t want = b->cap ? b->cap : 64;
    char *p;
    if (b->failed) return NULL;
    if (b->cap - b->n >= n) return b->p + b->n;
    while (want - b->n < n && want <= SIZE_MAX / 4) want *= 2;
    p = want - b->n < n ? NULL : aw__buf_resize(b, want);
    if (!p) {
        b->failed = true;
        return NULL;
    }
    b->p = p;
    b->cap = want;
    return p + b->n;
}

static void aw__buf_add(aw__buf *b, const char *p, size_t n)
{
    char *to = n ? aw__buf_room(b, n) : NULL;
    if (!to) return;
    memcpy(to, p, n);
    b->n += n;
}

static void aw__buf_free(aw__buf *b)
{
    aw__mem_put(b->mem, b->p, b->cap);
    b->p = NULL;
    b->n = b->cap = 0;
}

static void aw__put_text(aw__buf *b, const char *text)
{
    aw__buf_add(b, text, strlen(text));
}

/* >>floor1 print  Formatted text, without stdio --------------------------- */

/* What this file says is plain: no locale, no floating point. printf would cost
   a small static program 15 KB, and each line of a log a thousand
   instructions. */

/* n: how many bytes there would be, were there room for all. */
typedef struct aw__print_to {
    char *at, *end;
    size_t n;
} aw__print_to;

static void aw__print_add(aw__print_to *to, const char *p, size_t n)
{
    const size_t room = (size_t)(to->end - to->at), fits = n < room ? n : room;
    memcpy(to->at, p, fits);
    to->at += fits;
    to->n += n;
}

static void aw__print_fill(aw__print_to *to, char c, size_t n)
{
    for (; n; n--) aw__print_add(to, &c, 1);
}

/* What stands between % and the letter. */
typedef struct aw__print_how {
    bool left, zeros, capped;
    size_t width, most;         /* most: precision, if capped */
} aw__print_how;

static void aw__print_field(aw__print_to *to, const aw__print_how *how,
                            const char *p, size_t n)
{
    const size_t sign = how->zeros && n && *p == '-';
    const size_t pad = how->width > n ? how->width - n : 0;
    if (!how->left && !how->zeros) aw__print_fill(to, ' ', pad);
    aw__print_add(to, p, sign);
    if (!how->left && how->zeros) aw__print_fill(to, '0', pad);
    aw__print_add(to, p + sign, n - sign);
    if (how->left) aw__print_fill(to, ' ', pad);
}

static void aw__print_number(aw__print_to *to, const aw__print_how *how,
                             uint64_t v, unsigned base, bool negative)
{
    char digits[24], *const end = digits + sizeof digits, *p = end;
    do *--p = "0123456789abcdef"[v % base];
    while ((v /= base) != 0);
    if (negative) *--p = '-';
    aw__print_field(to, how, p, (size_t)(end - p));
}

/* Reads flags, width and precision; what follows them. */
static const char *aw__print_read(const char *f, aw__print_how *how)
{
    memset(how, 0, sizeof *how);
    for (; *f == '-' || *f == '0'; f++)
        *(*f == '-' ? &how->left : &how->zeros) = true;
    for (; *f >= '0' && *f <= '9'; f++)
        how->width = how->width * 10 + (size_t)(*f - '0');
    if (*f != '.') return f;
    how->capped = true;
    while (*++f >= '0' && *f <= '9')
        how->most = how->most * 10 + (size_t)(*f - '0');
    return f;
}

/* As vsnprintf(), of: %s %d %u %x %%, with - 0 width l ll, and for %s .* or a
   precision. */
static int aw__vprint(char *text, size_t size, const char *f, va_list args)
{
    aw__print_to to;
    to.at = text;
    to.end = text + (size ? size - 1 : 0);
    to.n = 0;
    for (;;) {
        aw__print_how how;
        const char *p = f;
        int longs = 0;
        char c;
        int64_t v;
        while (*f && *f != '%') f++;
        aw__print_add(&to, p, (size_t)(f - p));
        if (!*f) break;
        f = aw__print_read(f + 1, &how);
        if (*f == '*') {
            how.most = (size_t)va_arg(args, int);
            f++;
        }
        for (; *f == 'l'; f++) longs++;
        switch (c = *f++) {
            case 's':
                p = va_arg(args, const char *);
                if (!how.capped || memchr(p, 0, how.most)) how.most = strlen(p);
                aw__print_field(&to, &how, p, how.most);
                break;
            case 'd':
                v = longs > 1 ? va_arg(args, long long)
                    : longs ? va_arg(args, long) : va_arg(args, int);
                aw__print_number(&to, &how, v < 0 ? 0 - (uint64_t)v
                                 : (uint64_t)v, 10, v < 0);
                break;
            case 'u': case 'x':
                aw__print_number(&to, &how, longs > 1
                                 ? va_arg(args, unsigned long long)
                                 : longs ? va_arg(args, unsigned long)
                                 : va_arg(args, unsigned),
                                 c == 'x' ? 16 : 10, false);
                break;
            default:            /* %% */
                aw__print_add(&to, &c, 1);
        }
    }
    if (size) *to.at = 0;
    return (int)to.n;
}

/* As snprintf(): how long all of it is; text holds as much as fits. */
static int AW__PRINTF(3, 4)
aw__print(char *text, size_t size, const char *format, ...)
{
    va_list args;
    int n;
    va_start(args, format);
    n = aw__vprint(text, size, format, args);
    va_end(args);
    return n;
}

/* ---- faster: what fits for certain; the end is the result ---- */

static char *aw__put(char *to, const char *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

#define AW__PUT(to, text) aw__put(to, text, sizeof(text) - 1)

static char *aw__put_number(char *to, uint64_t v)
{
    char digits[20];
    int n = 0;
    do digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n) *to++ = digits[--n];
    return to;
}

static char *aw__put_hex(char *to, uint64_t v)
{
    char digits[16];
    int n = 0;
    do digits[n++] = "0123456789abcdef"[v & 15];
    while ((v >>= 4) != 0);
    while (n) *to++ = digits[--n];
    return to;
}

/* ---- numbers in text ---- */

/* [-+]digits that fill p..p+n and fit. */
static bool aw__text_int(const char *p, size_t n, int64_t *out)
{
    const char *end = p + n;
    bool negative = n && *p == '-';
    uint64_t v = 0, most = (uint64_t)INT64_MAX + negative;
    if (n && (*p == '-' || *p == '+')) p++;
    if (p == end) return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (digit > 9 || v > (most - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* ---- lines ---- */

enum { AW__LINE = 1024 };

/* A line to the standard error, in one write. */
static void aw__vsay(const char *format, va_list args)
{
    char line[AW__LINE + 1];
    int n = aw__vprint(line, AW__LINE, format, args);
    if (n >= AW__LINE) n = AW__LINE - 1;
    line[n] = '\n';
    (void)aw__sys_write(2, line, (size_t)n + 1);
}

static void AW__PRINTF(1, 2) aw__say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    aw__vsay(format, args);
    va_end(args);
}

/* A mistake in the program: says which, and aborts. */
static AW__COLD void AW__PRINTF(1, 2) aw__die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    aw__vsay(format, args);
    va_end(args);
    abort();
}

/* >>floor1 utf8  Unicode's encoding, checked ----------------------------- */

/* What a sequence still needs. Zeroed: none has begun. */
typedef struct aw__utf8 {
    uint8_t left;               /* bytes... */
    uint8_t low, high;          /* ...of which the next lies in here */
} aw__utf8;

/* Begins a sequence with its first byte. False: none begins so (Unicode 3.9,
   table 3-7). */
static bool aw__utf8_begin(aw__utf8 *u, unsigned char c)
{
    if (c < 0xC2 || c > 0xF4) return false;
    u->left = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    u->low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;    /* overlong */
    /* Above: surrogates, and what is past U+10FFFF. */
    u->high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return true;
}

static bool aw__utf8_next(aw__utf8 *u, unsigned char c)
{
    if (c < u->low || c > u->high) return false;
    u->left--;
    u->low = 0x80;
    u->high = 0xBF;
    return true;
}

/* The length of the valid sequence at p (n >= 1), or minus the length of the
   broken one: what a reader replaces by a single U+FFFD (Unicode 3.9, table
   3-7 and "maximal subpart"). */
static int aw__utf8_step(const char *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;
    aw__utf8 u;
    int i;
    if (c[0] < 0x80) return 1;
    if (!aw__utf8_begin(&u, c[0])) return -1;
    for (i = 1; u.left; i++)
        if ((size_t)i == n || !aw__utf8_next(&u, c[i])) return -i;
    return i;
}

/* How many bytes at the front are complete, valid UTF-8: n when all are. */
static size_t aw__utf8_valid(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight = UINT64_MAX;
        int step;
        if (n - i >= 8) memcpy(&eight, p + i, 8);
        if (!(eight & 0x8080808080808080u)) {
            i += 8;
            continue;
        }
        step = aw__utf8_step(p + i, n - i);
        if (step < 0) break;
        i += (size_t)step;
    }
    return i;
}

/* The same for text that comes in pieces: false at the first byte that no
   valid text can have there. At the end, u->left tells whether it is whole. */
static bool aw__utf8_more(aw__utf8 *u, const char *p, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (u->left) {
            if (!aw__utf8_next(u, (unsigned char)p[i])) return false;
            continue;
        }
        i += aw__utf8_valid(p + i, n - i);
        if (i < n && !aw__utf8_begin(u, (unsigned char)p[i])) return false;
    }
    return true;
}

#ifndef ASYNCWEB_NO_JSON

/* >>floor1 decimal  Exact decimal to double and back --------------------- */

/* Both directions compute with integers only, on the IEEE 754 bits of the
   double: no rounding mode, x87 register or locale can bend a result. Numbers
   of up to 19 digits and a small power of ten fit 128 bits; aw__big does the
   rest, and everything where the compiler has no such type. */

enum {
    /* A midpoint of two doubles has at most 768 digits: any digit beyond
       these only says "and a little more". */
    AW__DEC_DIGITS = 800,
    /* 801 digits against 5^1131, with 96 bits to shift them into place. */
    AW__BIG_LIMBS = 88
};

#define AW__DEC_INFINITY ((uint64_t)0x7FF << 52)

/* A natural number, least limb first; the limb at n - 1 is not 0. */
typedef struct aw__big {
    int n;
    uint32_t limb[AW__BIG_LIMBS];
} aw__big;

/* How many bits x needs. */
static int aw__dec_bits(uint64_t x)
{
#if defined(__GNUC__) || defined(__clang__)
    return x ? 64 - __builtin_clzll(x) : 0;
#else
    int n = 0;
    for (; x; x >>= 1) n++;
    return n;
#endif
}

static void aw__big_set(aw__big *b, uint64_t x)
{
    b->limb[0] = (uint32_t)x;
    b->limb[1] = (uint32_t)(x >> 32);
    b->n = b->limb[1] ? 2 : b->limb[0] ? 1 : 0;
}

static int aw__big_bits(const aw__big *b)
{
    return b->n ? b->n * 32 - 32 + aw__dec_bits(b->limb[b->n - 1]) : 0;
}

/* b = b * factor + plus */
static void aw__big_multiply(aw__big *b, uint32_t factor, uint32_t plus)
{
    uint64_t carry = plus;
    int i;
    for (i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) b->limb[b->n++] = (uint32_t)carry;
}

/* b = b * 5^exponent */
static void aw__big_multiply5(aw__big *b, int exponent)
{
    for (; exponent >= 13; exponent -= 13) aw__big_multiply(b, 1220703125, 0);
    for (; exponent > 0; exponent--) aw__big_multiply(b, 5, 0);
}

/* b = b * 2^bits */
static void aw__big_shift(aw__big *b, int bits)
{
    int limbs = bits / 32, i;
    aw__big_multiply(b, (uint32_t)1 << bits % 32, 0);
    if (!limbs || !b->n) return;
    for (i = b->n; i-- > 0;) b->limb[i + limbs] = b->limb[i];
    for (i = 0; i < limbs; i++) b->limb[i] = 0;
    b->n += limbs;
}

static bool aw__big_less(const aw__big *a, const aw__big *b)
{
    int i = a->n - 1;
    if (a->n != b->n) return a->n < b->n;
    while (i > 0 && a->limb[i] == b->limb[i]) i--;
    return i >= 0 && a->limb[i] < b->limb[i];
}

/* a = a - b * factor, which is not negative. */
static void aw__big_subtract(aw__big *a, const aw__big *b, uint32_t factor)
{
    uint64_t carry = 0;
    int i;
    for (i = 0; i < a->n; i++) {
        uint32_t low;
        if (i < b->n) carry += (uint64_t)b->limb[i] * factor;
        low = (uint32_t)carry;
        carry = (carry >> 32) + (a->limb[i] < low);
        a->limb[i] -= low;
    }
    while (a->n && !a->limb[a->n - 1]) a->n--;
}

/* floor(a / b), and a becomes the remainder. Asks for a / b < 2^32 and for
   the highest bit of b's highest limb: then the quotient of the highest limbs
   is at most 3 too small, and never too large. */
static uint32_t aw__big_digit(aw__big *a, const aw__big *b)
{
    int top = b->n - 1;
    uint64_t high = 0;
    uint32_t q;
    if (a->n > top) high = a->limb[top];
    if (a->n > top + 1) high |= (uint64_t)a->limb[top + 1] << 32;
    q = (uint32_t)(high / ((uint64_t)b->limb[top] + 1));
    aw__big_subtract(a, b, q);
    for (; !aw__big_less(a, b); q++) aw__big_subtract(a, b, 1);
    return q;
}

/* floor(a / b) < 2^64; *more: the division leaves a rest. Destroys both. */
static uint64_t aw__big_divide(aw__big *a, aw__big *b, bool *more)
{
    int up = 32 - aw__dec_bits(b->limb[b->n - 1]);
    uint64_t q;
    aw__big_shift(a, up);
    aw__big_shift(b, up + 32);
    q = (uint64_t)aw__big_digit(a, b) << 32;
    aw__big_shift(a, 32);
    q |= aw__big_digit(a, b);
    *more = a->n != 0;
    return q;
}

/* The bits of the double nearest to m * 2^e, ties to even (m != 0; `more`: and
   a little more than that); AW__DEC_INFINITY when it is too large. */
static uint64_t aw__dec_round(uint64_t m, int e, bool more)
{
    uint64_t half, kept, rest;
    int drop = 64 - 53;
    int up = 64 - aw__dec_bits(m);
    m <<= up;
    e += 63 - up;                       /* now m / 2^63 is in [1, 2) */
    if (e > 1023) return AW__DEC_INFINITY;
    if (e < -1022) drop += -1022 - e;   /* subnormal: fewer bits */
    if (drop > 64) return 0;
    half = (uint64_t)1 << (drop - 1);
    kept = drop < 64 ? m >> drop : 0;
    rest = m & (half | (half - 1));
    if (rest > half || (rest == half && (more || (kept & 1)))) kept++;
    /* The leading bit of m, and a carry out of it, add to the exponent. */
    if (drop == 11) kept += (uint64_t)(e + 1022) << 52;
    return kept;
}

#ifdef __SIZEOF_INT128__

__extension__ typedef unsigned __int128 aw__u128;

/* 5^27 is the largest power of five below 2^64. */
enum { AW__DEC_EXACT = 27 };

static const uint64_t aw__dec_power5[AW__DEC_EXACT + 1] = {
    1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125,
    244140625, 1220703125, 6103515625, 30517578125, 152587890625, 762939453125,
    3814697265625, 19073486328125, 95367431640625, 476837158203125,
    2384185791015625, 11920928955078125, 59604644775390625, 298023223876953125,
    1490116119384765625, 7450580596923828125
};

/* The bits of the double nearest to w / 10^places (w != 0, up to
   AW__DEC_EXACT places): a quotient of at least 63 bits, the rest known. */
static uint64_t aw__dec_nearest_small(uint64_t w, int places)
{
    uint64_t five = aw__dec_power5[places], q;
    int up = 127 - aw__dec_bits(w), down = 64 - aw__dec_bits(five);
    aw__u128 wide = (aw__u128)w << up;
    five <<= down;
    q = (uint64_t)(wide / five);
    return aw__dec_round(q, down - up - places, (uint64_t)wide != q * five);
}

#endif

/* The bits of the double nearest to num * 10^e10 (num != 0). Destroys num. */
static uint64_t aw__dec_nearest_big(aw__big *num, int e10)
{
    aw__big den;
    uint64_t q;
    bool more;
    int up;
    aw__big_set(&den, 1);
    aw__big_multiply5(e10 < 0 ? &den : num, e10 < 0 ? -e10 : e10);
    up = aw__big_bits(&den) + 63 - aw__big_bits(num);
    aw__big_shift(up < 0 ? &den : num, up < 0 ? -up : up);
    q = aw__big_divide(num, &den, &more);       /* is in (2^62, 2^64) */
    return aw__dec_round(q, e10 - up, more);
}

/* The bits of the double nearest to w * 10^e10, ties to even. */
static uint64_t aw__dec_nearest(uint64_t w, int64_t e10)
{
    aw__big num;
    if (!w || e10 < -345) return 0;     /* below half of 4.9e-324 */
    if (e10 > 309) return AW__DEC_INFINITY;
#ifdef __SIZEOF_INT128__
    if (e10 <= 0 && e10 >= -AW__DEC_EXACT)
        return aw__dec_nearest_small(w, (int)-e10);
#endif
    aw__big_set(&num, w);
    return aw__dec_nearest_big(&num, (int)e10);
}

/* The same for digits of any length, a point somewhere among them ignored. */
static uint64_t aw__dec_nearest_text(const char *p, const char *end,
                                     int64_t e10)
{
    aw__big num;
    int digits = 0;
    bool more = false;
    aw__big_set(&num, 0);
    for (; p < end; p++) {
        if (*p == '.' || (!digits && *p == '0')) continue;
        if (digits < AW__DEC_DIGITS) {
            aw__big_multiply(&num, 10, (uint32_t)(*p - '0'));
            digits++;
        } else {
            more = more || *p != '0';
            e10++;
        }
    }
    if (!digits || e10 + digits < -330) return 0;
    if (e10 + digits > 310) return AW__DEC_INFINITY;
    if (!more) return aw__dec_nearest_big(&num, (int)e10);
    aw__big_multiply(&num, 10, 1);
    return aw__dec_nearest_big(&num, (int)e10 - 1);
}

/* floor(m * 2^e2 * 10^e10) for a result in [10^17, 10^19); *more: not exact. */
static uint64_t aw__dec_scale(uint64_t m, int e2, int e10, bool *more)
{
    aw__big num, den;
    int up = e2 + e10;
#ifdef __SIZEOF_INT128__
    if (e10 >= 0 && e10 <= AW__DEC_EXACT) {
        aw__u128 wide = (aw__u128)m * aw__dec_power5[e10];
        aw__u128 whole = up < 0 ? wide >> -up : wide << up;
        *more = up < 0 && (whole << -up) != wide;
        return (uint64_t)whole;
    }
#endif
    aw__big_set(&num, m);
    aw__big_set(&den, 1);
    aw__big_multiply5(e10 < 0 ? &den : &num, e10 < 0 ? -e10 : e10);
    aw__big_shift(up < 0 ? &den : &num, up < 0 ? -up : up);
    return aw__big_divide(&num, &den, more);
}

/* The multiple of unit nearest to w that reads back as the double `bits`, then
   the one on the other side of w; 0 if neither does. (At a power of two the
   doubles below lie closer: the farther one can be right.) */
static uint64_t aw__dec_try(uint64_t w, bool more, uint64_t unit, int e10,
                            uint64_t bits)
{
    uint64_t below = w / unit * unit, above = below + unit;
    uint64_t rest = w - below, half = unit / 2;
    bool odd = w / unit % 2 != 0;
    bool up = rest > half || (rest == half && (more || odd));
    uint64_t near = up ? above : below, far = up ? below : above;
    if (aw__dec_nearest(near, -e10) == bits) return near;
    if (aw__dec_nearest(far, -e10) == bits) return far;
    return 0;
}

/* The shortest digits that read back as the positive double `bits`, of these
   the closest: the double is *digits * 10^result. The reader is the judge of
   what reads back, so the two cannot disagree. */
static int aw__dec_shortest(uint64_t bits, uint64_t *digits)
{
    uint64_t m = bits & (((uint64_t)1 << 52) - 1), unit, w, found;
    int e2 = (int)(bits >> 52), log2, e10;
    bool normal = e2 != 0, more;
    if (normal) m |= (uint64_t)1 << 52;
    e2 = (normal ? e2 : 1) - 1075;
    log2 = e2 + aw__dec_bits(m) - 1;
    /* 0.30103 is log10(2): this is at most 1 below the decimal exponent. */
    e10 = 17 - (log2 * 30103 / 100000 - (log2 < 0));
    w = aw__dec_scale(m, e2, e10, &more);
    /* No two decimals of 15 digits are the same normal double: what works
       with 15 is the shortest once its zeros are gone. 17 always do. */
    unit = w < 1000000000000000000u ? 1000 : 10000;
    if (!normal) unit *= 100000000000000u;
    for (;; unit /= 10) {
        found = aw__dec_try(w, more, unit, e10, bits);
        if (found) break;
    }
    e10 = -e10;
    if (found % 100000000 == 0) {       /* most often: 8 of them at once */
        found /= 100000000;
        e10 += 8;
    }
    for (; found % 10 == 0; found /= 10) e10++;
    *digits = found;
    return e10;
}

/* Writes w in decimal, without NUL; how many digits it took. */
static int aw__dec_digits(char *to, uint64_t w)
{
    char back[20];
    int n = 0, i;
    do {
        back[n++] = (char)('0' + w % 10);
        w /= 10;
    } while (w);
    for (i = 0; i < n; i++) to[i] = back[n - 1 - i];
    return n;
}

/* Writes a finite double as Python does: the shortest text that reads back as
   the same, always with a point or an exponent. At most 24 bytes, no NUL. */
static int aw__dec_write(char *to, double d)
{
    char digit[20];
    uint64_t bits, w = 0;
    int at = 0, i = 0, n, point;        /* the point is behind so many digits */
    memcpy(&bits, &d, 8);
    if (bits >> 63) to[at++] = '-';
    bits &= ~((uint64_t)1 << 63);
    point = bits ? aw__dec_shortest(bits, &w) : 0;
    n = aw__dec_digits(digit, w);
    point += n;
    if (point > 16 || point < -3) {
        to[at++] = digit[i++];
        if (n > 1) to[at++] = '.';
        while (i < n) to[at++] = digit[i++];
        to[at++] = 'e';
        to[at++] = point > 0 ? '+' : '-';
        point = point > 0 ? point - 1 : 1 - point;
        if (point < 10) to[at++] = '0';
        return at + aw__dec_digits(to + at, (uint64_t)point);
    }
    if (point <= 0) to[at++] = '0';
    for (; i < point; i++) to[at++] = i < n ? digit[i] : '0';
    to[at++] = '.';
    for (; point < 0; point++) to[at++] = '0';
    if (i >= n) to[at++] = '0';
    while (i < n) to[at++] = digit[i++];
    return at;
}
#endif /* ASYNCWEB_NO_JSON */

/* >>floor1 base64  RFC 4648 section 4 ------------------------------------- */

/* Writes 4 characters for each 3 bytes begun, no NUL; returns their number. */
static size_t aw__base64_encode(char *to, const void *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)from;
    size_t at = 0, i;
    for (i = 0; i < n; i += 3) {
        uint32_t w = (uint32_t)p[i] << 16;
        if (n - i > 1) w |= (uint32_t)p[i + 1] << 8;
        if (n - i > 2) w |= p[i + 2];
        to[at++] = digits[w >> 18];
        to[at++] = digits[w >> 12 & 63];
        to[at++] = n - i > 1 ? digits[w >> 6 & 63] : '=';
        to[at++] = n - i > 2 ? digits[w & 63] : '=';
    }
    return at;
}

/* The value 0..63 of a base64 digit, or -1. */
static int aw__base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* Decodes into `to` (3 bytes for each 4 characters; it may be `from`) and
   stores how many bytes came out. Strict: whole groups, padded, no white
   space, and unused bits must be zero, so that a text has one spelling only
   (RFC 4648 3.5). AW_OK or AW_EBADMSG. */
static int aw__base64_decode(void *to, const char *from, size_t n, size_t *out)
{
    unsigned char *o = (unsigned char *)to;
    size_t i, k, pad = 0, at = 0;
    *out = 0;
    if (n % 4) return AW_EBADMSG;
    while (pad < 2 && pad < n && from[n - 1 - pad] == '=') pad++;
    for (i = 0; i < n; i += 4) {
        size_t bytes = i + 4 == n ? 3 - pad : 3;
        uint32_t w = 0;
        for (k = 0; k < 4; k++) {
            int digit = k <= bytes ? aw__base64_digit(from[i + k]) : 0;
            if (digit < 0) return AW_EBADMSG;
            w = w << 6 | (uint32_t)digit;
        }
        for (k = 0; k < bytes; k++, w <<= 8)
            o[at++] = (unsigned char)(w >> 16);
        if (w & 0xffffff) return AW_EBADMSG;
    }
    *out = at;
    return AW_OK;
}

#ifndef ASYNCWEB_NO_WS
/* >>floor1 sha1  FIPS 180-4, for the handshake of WebSocket -------------- */

static uint32_t aw__sha1_turn(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

/* One block of 64 bytes (6.1.2). */
static void aw__sha1_block(uint32_t h[5], const unsigned char *p)
{
    static const uint32_t k[4] = {0x5A827999u, 0x6ED9EBA1u, 0x8F1BBCDCu,
                                  0xCA62C1D6u};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, t;
    int i;
    for (i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
            (uint32_t)p[2] << 8 | p[3];
    for (; i < 80; i++)
        w[i] = aw__sha1_turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (i = 0; i < 80; i++) {
        f = i < 20 ? (b & c) | (~b & d)
            : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        t = aw__sha1_turn(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = aw__sha1_turn(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void aw__sha1(const void *p, size_t n, unsigned char out[20])
{
    uint32_t h[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u,
                     0xC3D2E1F0u};
    const unsigned char *at = (const unsigned char *)p;
    unsigned char last[128];
    const size_t rest = n % 64, end = rest < 56 ? 64 : 128;
    int i;
    for (; n >= 64; at += 64, n -= 64) aw__sha1_block(h, at);
    memset(last, 0, sizeof last);
    if (rest) memcpy(last, at, rest);
    last[rest] = 0x80;          /* padding (5.1.1): the length in bits */
    n = rest + (size_t)(at - (const unsigned char *)p);
    for (i = 0; i < 8; i++)
        last[end - 1 - (size_t)i] = (unsigned char)((uint64_t)n * 8 >> 8 * i);
    aw__sha1_block(h, last);
    if (end == 128) aw__sha1_block(h, last + 64);
    for (i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}
#endif

#ifndef ASYNCWEB_NO_JSON
/* >>floor2 json  Reader, lookup, writer (RFC 8259) ----------------------- */

#if ASYNCWEB_JSON_DEPTH < 1 || ASYNCWEB_JSON_DEPTH > 1000
#error "asyncweb.h: ASYNCWEB_JSON_DEPTH must be from 1 to 1000"
#endif
#define AW__JSON_DEPTH ASYNCWEB_JSON_DEPTH

/* Names have 28 bits for their length; no part is longer than the text. */
#define AW__JSON_MAX (((size_t)1 << 28) - 1)

/* 24 bytes on 64-bit machines. Siblings lie one behind the other: the next
   one is v + 1, and looking one up by its number takes no walk. */
struct aw_value {
    const char *key;            /* NULL but for the member of an object */
    union aw__json_as {
        bool b;
        int64_t i;
        double d;
        const char *s;
        const aw_value *items;
        size_t outer;           /* while open: the container around it */
    } as;
    uint32_t n;                 /* bytes or items */
    unsigned key_n : 28;
    unsigned type : 3;
    unsigned last : 1;          /* no sibling behind it */
};

/* Zero when none of eight bytes ends a plain run inside a string: a quote, a
   backslash, a control character, a byte above ASCII. Otherwise the lowest
   bit set is exact: a borrow runs upwards only. */
static inline uint64_t aw__json_marks(uint64_t eight)
{
    const uint64_t ones = 0x0101010101010101u;
    return ((eight - ones * 0x20) | ((eight ^ ones * '"') - ones) |
            ((eight ^ ones * '\\') - ones) | eight) & ones * 0x80;
}

/* Copies the plain run at the front of p and returns its length. May write
   more than that, but no more than n bytes. */
static inline size_t aw__json_copy(char *to, const char *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t eight, marks;
        memcpy(&eight, p + i, 8);
        memcpy(to + i, &eight, 8);
        marks = aw__json_marks(eight);
        if (!marks) continue;
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return i + (size_t)__builtin_ctzll(marks) / 8;
#else
        break;
#endif
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
        to[i] = p[i];
    }
    return i;
}

/* Not recursive: an open container lies on the stack of nodes below the items
   it has so far, and they move to the arena together when it closes. */
typedef struct aw__json_reader {
    const char *p, *end;        /* what is left of the text */
    char *room;                 /* for strings: never longer than in the text */
    aw__arena *arena;
    aw__buf stack;              /* of aw_value */
    size_t open;                /* the innermost open container's place */
    int depth;                  /* how many are open */
} aw__json_reader;

static inline aw_value *aw__json_node(aw__json_reader *r, size_t i)
{
    return (aw_value *)(void *)r->stack.p + i;
}

/* The next byte that is not white space (RFC 8259 section 2), or -1. */
static inline int aw__json_peek(aw__json_reader *r)
{
    const char *p = r->p, *end = r->end;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    r->p = p;
    return p < end ? (unsigned char)*p : -1;
}

/* Four hexadecimal digits, or -1. */
static int aw__json_hex(const char *p)
{
    int value = 0, i;
    for (i = 0; i < 4; i++) {
        char c = p[i];
        int digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        else return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* UTF-8 of a code point; its length. */
static size_t aw__json_encode(char *to, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (i = n; i-- > 1; c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)(lead[n] | c);
    return n;
}

/* \uXXXX, or two of them for one character beyond U+FFFF (RFC 8259 section 7);
   *to moves behind it. How many bytes of the text it took; 0: malformed. */
static size_t aw__json_unicode(const char *p, size_t n, char **to)
{
    int high = n >= 6 ? aw__json_hex(p + 2) : -1;
    int low;
    if (high < 0) return 0;
    if (high < 0xD800 || high > 0xDFFF) {
        *to += aw__json_encode(*to, (uint32_t)high);
        return 6;
    }
    /* Section 8.2: what half a pair means is anybody's guess; refused. */
    if (high > 0xDBFF || n < 12 || p[6] != '\\' || p[7] != 'u') return 0;
    low = aw__json_hex(p + 8);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    high = 0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00);
    *to += aw__json_encode(*to, (uint32_t)high);
    return 12;
}

/* The escape at p; as aw__json_unicode(). */
static size_t aw__json_escape(const char *p, size_t n, char **to)
{
    char c;
    if (n < 2) return 0;
    switch (p[1]) {
        case '"': case '\\': case '/': c = p[1]; break;
        case 'b': c = '\b'; break;
        case 'f': c = '\f'; break;
        case 'n': c = '\n'; break;
        case 'r': c = '\r'; break;
        case 't': c = '\t'; break;
        case 'u': return aw__json_unicode(p, n, to);
        default: return 0;
    }
    *(*to)++ = c;
    return 2;
}

/* What stops a plain run and is not the end: an escape or a character beyond
   ASCII. As aw__json_unicode(). */
static size_t aw__json_special(const char *p, size_t n, char **to)
{
    int step;
    if (*p == '\\') return aw__json_escape(p, n, to);
    if ((unsigned char)*p < 0x20) return 0;     /* section 7: escape these */
    step = aw__utf8_step(p, n);
    if (step < 0) return 0;                     /* section 8.1 */
    memcpy(*to, p, (size_t)step);
    *to += step;
    return (size_t)step;
}

/* A string behind its opening quote: the text in r->room, its length in *n;
   NULL: malformed at r->p. The room is as large as the whole text, and what
   was decoded never longer than what was read: no check of it is needed. */
static const char *aw__json_string(aw__json_reader *r, size_t *n)
{
    const char *p = r->p;
    char *text = r->room, *to = text;
    for (;;) {
        size_t run = aw__json_copy(to, p, (size_t)(r->end - p));
        p += run;
        to += run;
        if (p < r->end && *p == '"') break;
        run = p < r->end ? aw__json_special(p, (size_t)(r->end - p), &to) : 0;
        if (!run) {
            r->p = p;
            return NULL;
        }
        p += run;
    }
    *to = 0;                    /* where the text has the closing quote */
    r->p = p + 1;
    r->room = to + 1;
    *n = (size_t)(to - text);
    return text;
}

/* "name" : of a member. */
static int aw__json_name(aw__json_reader *r, aw_value *v)
{
    size_t n;
    if (aw__json_peek(r) != '"') return AW_EBADMSG;
    r->p++;
    v->key = aw__json_string(r, &n);
    if (!v->key) return AW_EBADMSG;
    v->key_n = n & AW__JSON_MAX;
    if (aw__json_peek(r) != ':') return AW_EBADMSG;
    r->p++;
    return 0;
}

/* Adds the digits at p to *w, which wraps around after 19 of them. */
static inline const char *aw__json_digits(const char *p, const char *end,
                                          uint64_t *w)
{
    uint64_t value = *w;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    *w = value;
    return p;
}

/* The exponent behind the 'e'; NULL: malformed at r->p. Stops counting where
   no text is long enough to make up for it. */
static const char *aw__json_exponent(aw__json_reader *r, const char *p,
                                     int64_t *exponent)
{
    bool minus = p < r->end && *p == '-';
    const char *from;
    if (p < r->end && (*p == '-' || *p == '+')) p++;
    for (from = p; p < r->end && *p >= '0' && *p <= '9'; p++) {
        if (*exponent < (int64_t)AW__JSON_MAX * 2)
            *exponent = *exponent * 10 + (*p - '0');
    }
    if (minus) *exponent = -*exponent;
    r->p = p;
    return p > from ? p : NULL;
}

/* The number at r->p (RFC 8259 section 6). */
static int aw__json_number(aw__json_reader *r, aw_value *v)
{
    const char *p = r->p, *from = p, *end = r->end, *digits, *until;
    bool minus = *p == '-', whole = true;
    uint64_t w = 0, bits;
    int64_t e10 = 0;
    size_t n;
    digits = p += minus;
    p = aw__json_digits(p, end, &w);
    n = (size_t)(p - digits);
    r->p = p;
    if (!n) return AW_EBADMSG;
    if (*digits == '0' && n > 1) {
        r->p = digits + 1;              /* no leading zeros */
        return AW_EBADMSG;
    }
    until = p;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        r->p = until = p = aw__json_digits(p, end, &w);
        whole = false;
        if (p == fraction) return AW_EBADMSG;
        e10 = fraction - p;
        n += (size_t)(p - fraction);
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t exponent = 0;
        p = aw__json_exponent(r, p + 1, &exponent);
        if (!p) return AW_EBADMSG;
        e10 += exponent;
        whole = false;
    }
    /* 19 digits fit a uint64_t; two's complement has one more below zero. */
    if (whole && n <= 19 && w <= (uint64_t)INT64_MAX + minus) {
        v->type = AW_JSON_INT;
        v->as.i = (int64_t)(minus ? 0 - w : w);
        return 0;
    }
    bits = n <= 19 ? aw__dec_nearest(w, e10)
                   : aw__dec_nearest_text(digits, until, e10);
    if (bits >= AW__DEC_INFINITY) {
        r->p = from;                    /* JSON has no infinity to fall to */
        return AW_EBADMSG;
    }
    bits |= (uint64_t)minus << 63;
    v->type = AW_JSON_DOUBLE;
    memcpy(&v->as.d, &bits, 8);
    return 0;
}

/* true, false or null. */
static int aw__json_word(aw__json_reader *r, const char *word, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++, r->p++)
        if (r->p == r->end || *r->p != word[i]) return AW_EBADMSG;
    return 0;
}

/* What is read so far is complete, or another item must follow. */
enum { AW__JSON_DONE = 0, AW__JSON_MORE = 1 };

/* Behind a bracket: an empty container is complete, another one stays open. */
static int aw__json_open(aw__json_reader *r, aw_value *v, int type)
{
    bool object = type == AW_JSON_OBJECT;
    if (r->depth == AW__JSON_DEPTH) return AW_ETOOBIG;
    v->type = object ? AW_JSON_OBJECT : AW_JSON_ARRAY;
    r->p++;
    if (aw__json_peek(r) == (object ? '}' : ']')) {
        r->p++;
        v->as.items = NULL;
        return AW__JSON_DONE;
    }
    v->as.outer = r->open;
    r->open = (size_t)(v - aw__json_node(r, 0));
    r->depth++;
    return AW__JSON_MORE;
}

/* A value, or the beginning of one that contains others. */
static int aw__json_value(aw__json_reader *r, aw_value *v)
{
    size_t n;
    switch (aw__json_peek(r)) {
        case '{': return aw__json_open(r, v, AW_JSON_OBJECT);
        case '[': return aw__json_open(r, v, AW_JSON_ARRAY);
        case '"':
            r->p++;
            v->type = AW_JSON_STRING;
            v->as.s = aw__json_string(r, &n);
            if (!v->as.s) return AW_EBADMSG;
            v->n = (uint32_t)n;
            return AW__JSON_DONE;
        case 't':
            v->type = AW_JSON_BOOL;
            v->as.b = true;
            return aw__json_word(r, "true", 4);
        case 'f':
            v->type = AW_JSON_BOOL;
            v->as.b = false;
            return aw__json_word(r, "false", 5);
        case 'n':
            v->type = AW_JSON_NULL;
            return aw__json_word(r, "null", 4);
        case -1:
            return AW_EBADMSG;
        default:
            return aw__json_number(r, v);
    }
}

/* One item with its name, on top of the stack. */
static inline int aw__json_item(aw__json_reader *r)
{
    aw_value *v = (aw_value *)(void *)aw__buf_room(&r->stack, sizeof *v);
    if (!v) return AW_ENOMEM;
    r->stack.n += sizeof *v;
    v->key = NULL;
    v->n = v->key_n = v->last = 0;
    if (r->depth && aw__json_node(r, r->open)->type == AW_JSON_OBJECT) {
        int error = aw__json_name(r, v);
        if (error) return error;
    }
    return aw__json_value(r, v);
}

/* The innermost container is complete: its items go to the arena. */
static int aw__json_close(aw__json_reader *r)
{
    aw_value *v = aw__json_node(r, r->open);
    size_t n = r->stack.n / sizeof *v - r->open - 1;
    aw_value *items = (aw_value *)aw__arena_get(r->arena, n * sizeof *v);
    if (!items) return AW_ENOMEM;
    memcpy(items, v + 1, n * sizeof *v);
    items[n - 1].last = 1;
    r->stack.n -= n * sizeof *v;
    r->open = v->as.outer;
    v->as.items = items;
    v->n = (uint32_t)n;
    r->depth--;
    r->p++;
    return 0;
}

/* Behind a complete value: closes what ends here. */
static int aw__json_behind(aw__json_reader *r)
{
    while (r->depth) {
        bool object = aw__json_node(r, r->open)->type == AW_JSON_OBJECT;
        int c = aw__json_peek(r), error;
        if (c == ',') {
            r->p++;
            return AW__JSON_MORE;
        }
        if (c != (object ? '}' : ']')) return AW_EBADMSG;
        error = aw__json_close(r);
        if (error) return error;
    }
    if (aw__json_peek(r) >= 0) return AW_EBADMSG;
    return AW__JSON_DONE;
}

/* The whole text; the tree's root is left on the stack. */
static int aw__json_document(aw__json_reader *r)
{
    int got;
    do {
        got = aw__json_item(r);
        if (got == AW__JSON_DONE) got = aw__json_behind(r);
    } while (got == AW__JSON_MORE);
    return got;
}

/* Reads a document of n bytes (RFC 8259, strictly: no byte order mark). The
   tree lies in the arena and needs n bytes and 24 per value there; the text
   may go. AW_EBADMSG: not JSON, or a number no double can hold; *error_at is
   the offset where it went wrong (n: it ended too early). AW_ETOOBIG: nested
   deeper than AW__JSON_DEPTH, or above 256 MiB. AW_ENOMEM. */
static int aw__json_parse(aw__arena *arena, const char *text, size_t n,
                          const aw_value **out, size_t *error_at)
{
    aw__json_reader r;
    aw_value *root = NULL;
    int error = AW_ENOMEM;
    *out = NULL;
    *error_at = 0;
    if (n > AW__JSON_MAX) return AW_ETOOBIG;
    memset(&r, 0, sizeof r);
    r.p = text;
    r.end = text + n;
    r.arena = arena;
    r.stack.mem = arena->mem;
    r.room = (char *)aw__arena_get(arena, n + 1);
    if (r.room) error = aw__json_document(&r);
    if (!error) {
        root = (aw_value *)aw__arena_get(arena, sizeof *root);
        if (!root) error = AW_ENOMEM;
    }
    if (!error) {
        *root = *aw__json_node(&r, 0);
        root->last = 1;
        *out = root;
    }
    *error_at = error ? (size_t)(r.p - text) : 0;
    aw__buf_free(&r.stack);
    return error;
}

/* Lookup. */

int aw_json_type(const aw_value *v)
{
    return v ? (int)v->type : AW_JSON_NONE;
}

size_t aw_json_len(const aw_value *v)
{
    return v ? v->n : 0;
}

const aw_value *aw_json_first(const aw_value *v)
{
    int type = aw_json_type(v);
    if (type != AW_JSON_ARRAY && type != AW_JSON_OBJECT) return NULL;
    return v->as.items;
}

const aw_value *aw_json_next(const aw_value *v)
{
    return v && !v->last ? v + 1 : NULL;
}

const char *aw_json_key(const aw_value *v)
{
    return v ? v->key : NULL;
}

const aw_value *aw_json_at(const aw_value *v, size_t index)
{
    const aw_value *items = aw_json_first(v);
    return items && index < v->n ? items + index : NULL;
}

/* From the back: of duplicate names the last one counts. */
static const aw_value *aw__json_find(const aw_value *v, const char *key,
                                     size_t n)
{
    uint32_t i;
    if (aw_json_type(v) != AW_JSON_OBJECT) return NULL;
    for (i = v->n; i-- > 0;) {
        const aw_value *item = v->as.items + i;
        if (item->key_n == n && !memcmp(item->key, key, n)) return item;
    }
    return NULL;
}

const aw_value *aw_json_member(const aw_value *v, const char *name)
{
    return name ? aw__json_find(v, name, strlen(name)) : NULL;
}

/* A step of a path into an array: digits only. */
static const aw_value *aw__json_index(const aw_value *v, const char *p,
                                      size_t n)
{
    size_t index = 0, i;
    if (!n || n > 9) return NULL;       /* above 256 Mi there are no items */
    for (i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return NULL;
        index = index * 10 + (size_t)(p[i] - '0');
    }
    return aw_json_at(v, index);
}

const aw_value *aw_json_get(const aw_value *v, const char *path)
{
    if (!path) return NULL;
    if (!*path) return v;
    while (v) {
        const char *dot = strchr(path, '.');
        size_t n = dot ? (size_t)(dot - path) : strlen(path);
        v = aw_json_type(v) == AW_JSON_ARRAY ? aw__json_index(v, path, n)
                                             : aw__json_find(v, path, n);
        if (!dot) break;
        path = dot + 1;
    }
    return v;
}

const char *aw_json_str(const aw_value *v, const char *def)
{
    return aw_json_type(v) == AW_JSON_STRING ? v->as.s : def;
}

int64_t aw_json_int(const aw_value *v, int64_t def)
{
    double d;
    if (aw_json_type(v) == AW_JSON_INT) return v->as.i;
    if (aw_json_type(v) != AW_JSON_DOUBLE) return def;
    d = v->as.d;
    /* 2^63, unlike INT64_MAX, is a double; converting more is undefined. */
    if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) return def;
    return (double)(int64_t)d == d ? (int64_t)d : def;
}

double aw_json_double(const aw_value *v, double def)
{
    if (aw_json_type(v) == AW_JSON_INT) return (double)v->as.i;
    return aw_json_type(v) == AW_JSON_DOUBLE ? v->as.d : def;
}

bool aw_json_bool(const aw_value *v, bool def)
{
    return aw_json_type(v) == AW_JSON_BOOL ? v->as.b : def;
}

/* The writer. */

struct aw_json_writer {
    struct aw_req *req;         /* the framework's, who sends the text */
    aw__buf *out;
    int error;                  /* sticky */
    int depth;                  /* how many containers are open */
    bool any;                   /* the innermost one has a value already */
    bool object[AW__JSON_DEPTH];
};

static void aw__json_writer_init(aw_json_writer *w, aw__buf *out,
                                 struct aw_req *req)
{
    memset(w, 0, sizeof *w);
    w->out = out;
    w->req = req;
}

/* 0 when the text in the buffer is one complete document; AW_EINVAL, AW_ENOMEM.
   With an error the buffer holds no JSON. */
static int aw__json_finish(aw_json_writer *w)
{
    if (!w) return AW_ENOMEM;
    if (w->error) return w->error;
    if (w->out->failed) return AW_ENOMEM;
    return w->depth || !w->any ? AW_EINVAL : 0;
}

/* Section 7: a quote, a backslash and the control characters. */
static void aw__json_put_escape(aw__buf *b, char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *short_form = c ? strchr(from, c) : NULL;
    char text[6] = {'\\', 'u', '0', '0', '0', '0'};
    if (short_form) {
        text[1] = to[short_form - from];
        aw__buf_add(b, text, 2);
        return;
    }
    text[4] = hex[c >> 4 & 15];
    text[5] = hex[c & 15];
    aw__buf_add(b, text, 6);
}

/* Appends n bytes as a JSON string, with its quotes. */
static void aw__json_quote(aw__buf *b, const char *p, size_t n)
{
    aw__buf_add(b, "\"", 1);
    while (n) {
        char *to = aw__buf_room(b, n);
        size_t run = to ? aw__json_copy(to, p, n) : n;
        if (!to) return;
        b->n += run;
        p += run;
        n -= run;
        if (!n) break;
        run = 1;
        if ((unsigned char)*p < 0x80) {
            aw__json_put_escape(b, *p);
        } else {
            int step = aw__utf8_step(p, n);
            run = (size_t)(step < 0 ? -step : step);
            if (step < 0) aw__buf_add(b, "\xEF\xBF\xBD", 3);
            else aw__buf_add(b, p, run);
        }
        p += run;
        n -= run;
    }
    aw__buf_add(b, "\"", 1);
}

static void aw__json_add_bool(aw__buf *b, bool value)
{
    aw__buf_add(b, value ? "true" : "false", value ? 4 : 5);
}

static void aw__json_add_int(aw__buf *b, int64_t i)
{
    char text[21];
    int n = 0;
    if (i < 0) text[n++] = '-';
    /* Unsigned, where the negation of INT64_MIN is defined. */
    n += aw__dec_digits(text + n, i < 0 ? 0 - (uint64_t)i : (uint64_t)i);
    aw__buf_add(b, text, (size_t)n);
}

static void aw__json_add_double(aw__buf *b, double d)
{
    char text[32];
    bool finite = d - d == 0;           /* else NaN - NaN, or inf - inf */
    int n = finite ? aw__dec_write(text, d) : 4;
    aw__buf_add(b, finite ? text : "null", (size_t)n);
}

/* What stands before every value: a comma, a name. The buffer the value goes
   to, or NULL: it has no place here. */
static aw__buf *aw__json_begin(aw_json_writer *w, const char *name, size_t n)
{
    bool object;
    if (!w || w->error) return NULL;
    object = w->depth && w->object[w->depth - 1];
    if (object != (name != NULL) || (!w->depth && w->any)) {
        w->error = AW_EINVAL;
        return NULL;
    }
    if (w->any) aw__buf_add(w->out, ",", 1);
    w->any = true;
    if (name) {
        aw__json_quote(w->out, name, n);
        aw__buf_add(w->out, ":", 1);
    }
    return w->out;
}

/* The same with a name from the application. */
static aw__buf *aw__json_named(aw_json_writer *w, const char *name)
{
    return aw__json_begin(w, name, name ? strlen(name) : 0);
}

/* Behind aw__json_begin(): the value is a container. */
static void aw__json_nest(aw_json_writer *w, bool object)
{
    if (w->depth == AW__JSON_DEPTH) {
        w->error = AW_EINVAL;
        return;
    }
    aw__buf_add(w->out, object ? "{" : "[", 1);
    w->object[w->depth++] = object;
    w->any = false;
}

void aw_put_object(aw_json_writer *w, const char *name)
{
    if (aw__json_named(w, name)) aw__json_nest(w, true);
}

void aw_put_array(aw_json_writer *w, const char *name)
{
    if (aw__json_named(w, name)) aw__json_nest(w, false);
}

void aw_put_end(aw_json_writer *w)
{
    if (!w || w->error) return;
    if (!w->depth) {
        w->error = AW_EINVAL;
        return;
    }
    aw__buf_add(w->out, w->object[--w->depth] ? "}" : "]", 1);
    w->any = true;
}

void aw_put_null(aw_json_writer *w, const char *name)
{
    aw__buf *b = aw__json_named(w, name);
    if (b) aw__buf_add(b, "null", 4);
}

void aw_put_bool(aw_json_writer *w, const char *name, bool value)
{
    aw__buf *b = aw__json_named(w, name);
    if (b) aw__json_add_bool(b, value);
}

void aw_put_int(aw_json_writer *w, const char *name, int64_t i)
{
    aw__buf *b = aw__json_named(w, name);
    if (b) aw__json_add_int(b, i);
}

void aw_put_double(aw_json_writer *w, const char *name, double d)
{
    aw__buf *b = aw__json_named(w, name);
    if (b) aw__json_add_double(b, d);
}

void aw_put_strn(aw_json_writer *w, const char *name, const char *p, size_t n)
{
    aw__buf *b = aw__json_named(w, name);
    if (b && p) aw__json_quote(b, p, n);
    if (b && !p) aw__buf_add(b, "null", 4);
}

void aw_put_str(aw_json_writer *w, const char *name, const char *s)
{
    aw_put_strn(w, name, s, s ? strlen(s) : 0);
}

/* Recursion: no deeper than AW__JSON_DEPTH, for the reader made v. */
static void aw__json_put_tree(aw_json_writer *w, const char *name, size_t n,
                              const aw_value *v)
{
    aw__buf *b = aw__json_begin(w, name, n);
    const aw_value *item;
    if (!b) return;
    switch (aw_json_type(v)) {
        case AW_JSON_BOOL: aw__json_add_bool(b, v->as.b); return;
        case AW_JSON_INT: aw__json_add_int(b, v->as.i); return;
        case AW_JSON_DOUBLE: aw__json_add_double(b, v->as.d); return;
        case AW_JSON_STRING: aw__json_quote(b, v->as.s, v->n); return;
        case AW_JSON_ARRAY: case AW_JSON_OBJECT: break;
        default: aw__buf_add(b, "null", 4); return;
    }
    aw__json_nest(w, v->type == AW_JSON_OBJECT);
    for (item = aw_json_first(v); item; item = aw_json_next(item))
        aw__json_put_tree(w, item->key, item->key_n, item);
    aw_put_end(w);
}

void aw_put_value(aw_json_writer *w, const char *name, const aw_value *v)
{
    aw__json_put_tree(w, name, name ? strlen(name) : 0, v);
}

/* Fields. */

static aw_field aw__json_field(const char *name, int type)
{
    aw_field f;
    memset(&f, 0, sizeof f);
    f.name = name;
    f.type = type;
    return f;
}

aw_field aw_null(const char *name)
{
    return aw__json_field(name, AW_JSON_NULL);
}

aw_field aw_bool(const char *name, bool b)
{
    aw_field f = aw__json_field(name, AW_JSON_BOOL);
    f.as.b = b;
    return f;
}

aw_field aw_int(const char *name, int64_t i)
{
    aw_field f = aw__json_field(name, AW_JSON_INT);
    f.as.i = i;
    return f;
}

aw_field aw_double(const char *name, double d)
{
    aw_field f = aw__json_field(name, AW_JSON_DOUBLE);
    f.as.d = d;
    return f;
}

aw_field aw_str(const char *name, const char *s)
{
    aw_field f = aw__json_field(name, AW_JSON_STRING);
    f.as.s = s;
    return f;
}

aw_field aw_val(const char *name, const aw_value *v)
{
    aw_field f = aw__json_field(name, AW_JSON_NONE);
    f.as.value = v;
    return f;
}

static void aw__put_field(aw_json_writer *w, const aw_field *f)
{
    switch (f->type) {
        case AW_JSON_BOOL: aw_put_bool(w, f->name, f->as.b); break;
        case AW_JSON_INT: aw_put_int(w, f->name, f->as.i); break;
        case AW_JSON_DOUBLE: aw_put_double(w, f->name, f->as.d); break;
        case AW_JSON_STRING: aw_put_str(w, f->name, f->as.s); break;
        default: aw_put_value(w, f->name, f->as.value);
    }
}

/* ---- documents of the user's ---- */

typedef struct aw__json_writing {
    aw_json_writer writer;
    aw__buf out;
} aw__json_writing;

/* The memory of a document, made when it is first needed; NULL: there is none. */
static aw__arena *aw__json_memory(aw_json_doc *doc)
{
    if (!doc->memory) {
#ifdef ASYNCWEB_FIXED_MEMORY
        aw__mem *m = (aw__mem *)(void *)doc->loop;     /* is its first field */
        if (!m) return NULL;
#else
        aw__mem *m = NULL;
#endif
        doc->memory = aw__mem_get(m, sizeof(aw__arena));
        if (!doc->memory) return NULL;
        memset(doc->memory, 0, sizeof(aw__arena));
        ((aw__arena *)doc->memory)->mem = m;
    }
    return (aw__arena *)doc->memory;
}

const aw_value *aw_json_parse(aw_json_doc *doc, const char *text, size_t n)
{
    aw__arena *arena = aw__json_memory(doc);
    const aw_value *v = NULL;
    size_t at;
    if (!arena || aw__json_parse(arena, text, n, &v, &at) < 0) return NULL;
    return v;
}

aw_json_writer *aw_json_write(aw_json_doc *doc)
{
    aw__arena *arena = aw__json_memory(doc);
    aw__json_writing *w = arena
        ? (aw__json_writing *)aw__arena_get(arena, sizeof *w) : NULL;
    if (!w) return NULL;
    memset(&w->out, 0, sizeof w->out);
    w->out.arena = arena;
    aw__json_writer_init(&w->writer, &w->out, NULL);
    return &w->writer;
}

const char *aw_json_text(aw_json_writer *w, size_t *n)
{
    char *end = NULL;
    if (aw__json_finish(w) == 0) end = aw__buf_room(w->out, 1);
    if (n) *n = end ? w->out->n : 0;
    if (!end) return NULL;
    *end = 0;
    return w->out->p;
}

void aw_json_free(void *document)
{
    aw_json_doc *doc = (aw_json_doc *)document;
    aw__arena *arena = (aw__arena *)doc->memory;
    if (!arena) return;
    aw__arena_free(arena);
    aw__mem_put(arena->mem, arena, sizeof *arena);
    doc->memory = NULL;
}

#endif /* ASYNCWEB_NO_JSON */

/* >>floor2 http words  Character classes, lists, reason phrases ---------- */

/* Which bytes may stand where; aw__http_class answers with one bit each. */
enum {
    AW__C_TOKEN = 1,    /* tchar: methods, field names (RFC 9110 5.6.2) */
    AW__C_VALUE = 2,    /* field values: HTAB, SP, VCHAR, obs-text (5.5) */
    AW__C_PATH = 4,     /* raw in the path of a request target, see below */
    AW__C_QUERY = 8,    /* raw in its query */
    AW__C_HOST = 16,    /* a host name, see aw__http_host() */
    AW__C_HEX = 32,
    AW__C_PLAIN = 64    /* AW__C_PATH without % and dot: nothing to decode */
};

/* Path and query take what RFC 3986 allows and besides only what the WHATWG
   URL serializer leaves as it is, because browsers send it: [ ] ^ | in a path,
   and \ ` { } too in a query. Refused with 400: " < > # (no client of good
   will sends them), controls, DEL and everything above it. (nginx refuses
   controls, space and DEL only and takes # as the start of a fragment.) */
static const uint8_t aw__http_class[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
/* SP   !   "   #   $   %   &   '   (   )   *   +   ,   -   .   / */
     2, 79,  2,  3, 79, 15, 79, 79, 78, 78, 79, 79, 78, 95, 31, 78,
/*  0   1   2   3   4   5   6   7   8   9   :   ;   <   =   >   ? */
   127,127,127,127,127,127,127,127,127,127, 78, 78,  2, 78,  2, 10,
/*  @   A   B   C   D   E   F   G   H   I   J   K   L   M   N   O */
    78,127,127,127,127,127,127, 95, 95, 95, 95, 95, 95, 95, 95, 95,
/*  P   Q   R   S   T   U   V   W   X   Y   Z   [   \   ]   ^   _ */
    95, 95, 95, 95, 95, 95, 95, 95, 95, 95, 95, 78, 10, 78, 79, 95,
/*  `   a   b   c   d   e   f   g   h   i   j   k   l   m   n   o */
    11,127,127,127,127,127,127, 95, 95, 95, 95, 95, 95, 95, 95, 95,
/*  p   q   r   s   t   u   v   w   x   y   z   {   |   }   ~  DEL */
    95, 95, 95, 95, 95, 95, 95, 95, 95, 95, 95, 10, 79, 10, 95,  0,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2
};

static bool aw__http_is(char c, int class_bits)
{
    return (aw__http_class[(unsigned char)c] & class_bits) != 0;
}

static bool aw__is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The first byte from p on that is not of the class, or end. */
static const char *aw__http_span(const char *p, const char *end, int class_bit)
{
    while (p < end && aw__http_is(*p, class_bit)) p++;
    return p;
}

static bool aw__is_token(const char *p, size_t n)
{
    return n && aw__http_span(p, p + n, AW__C_TOKEN) == p + n;
}

/* 0..15, or -1. */
static int aw__hex_digit(char c)
{
    if (aw__is_digit(c)) return c - '0';
    if (!aw__http_is(c, AW__C_HEX)) return -1;
    return (c | 0x20) - 'a' + 10;
}

static char aw__ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool aw__slice_eq(aw_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* Equal but for the case of ASCII letters; `text` in any case. */
static bool aw__slice_ieq(aw_slice s, const char *text)
{
    size_t i;
    for (i = 0; i < s.n && text[i]; i++)
        if (aw__ascii_lower(s.p[i]) != aw__ascii_lower(text[i])) return false;
    return i == s.n && !text[i];
}

/* s ends with `tail`, which is no longer, in any case. */
static bool aw__slice_tail(aw_slice s, aw_slice tail)
{
    const char *p = s.p + (s.n - tail.n);
    size_t i = 0;
    while (i < tail.n && aw__ascii_lower(p[i]) == aw__ascii_lower(tail.p[i]))
        i++;
    return i == tail.n;
}

static aw_slice aw__slice(const char *p, size_t n)
{
    aw_slice s;
    s.p = p;
    s.n = n;
    return s;
}

static aw_slice aw__slice_trim(aw_slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

/* Takes the next element off a comma-separated list, trimmed; empty ones do
   not count (RFC 9110 5.6.1.2). For lists without quoted strings. */
static bool aw__http_list(aw_slice *list, aw_slice *item)
{
    do {
        const char *comma;
        if (!list->n) return false;
        comma = (const char *)memchr(list->p, ',', list->n);
        *item = aw__slice(list->p,
                          comma ? (size_t)(comma - list->p) : list->n);
        list->p += item->n + (comma != NULL);
        list->n -= item->n + (comma != NULL);
        *item = aw__slice_trim(*item);
    } while (!item->n);
    return true;
}

/* The reason phrase of a status (RFC 9110 15, RFC 6585, RFC 8470, RFC 7725);
   empty for a status without one, as RFC 9112 4 allows. Never NULL. */
static const char *aw__http_reason(int status)
{
    switch (status) {
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 103: return "Early Hints";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 203: return "Non-Authoritative Information";
        case 204: return "No Content";
        case 205: return "Reset Content";
        case 206: return "Partial Content";
        case 300: return "Multiple Choices";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 305: return "Use Proxy";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 402: return "Payment Required";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 406: return "Not Acceptable";
        case 407: return "Proxy Authentication Required";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 411: return "Length Required";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 417: return "Expectation Failed";
        case 418: return "I'm a teapot";
        case 421: return "Misdirected Request";
        case 422: return "Unprocessable Content";
        case 425: return "Too Early";
        case 426: return "Upgrade Required";
        case 428: return "Precondition Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 451: return "Unavailable For Legal Reasons";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        case 507: return "Insufficient Storage";
        case 511: return "Network Authentication Required";
        default: return "";
    }
}

const char *aw_strerror(int error)
{
    const char *reason = "";
    switch (error) {
#define AW__ERROR_CASE(name, number, text) case AW_##name: return text;
        AW_ERRORS(AW__ERROR_CASE)
#undef AW__ERROR_CASE
        case AW_OK: return "no error";
    }
    if (error <= AW_HTTP(100) && error >= AW_HTTP(599))
        reason = aw__http_reason(AW_HTTP(0) - error);
    return *reason ? reason : "unknown error";
}

/* A value of a header field: no CR, LF or NUL, no space at either end. NULL
   is what the lookups give, also when there was no memory. */
static bool aw__is_value(const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (!text || (n && (text[0] == ' ' || text[n - 1] == ' '))) return false;
    return aw__http_span(text, text + n, AW__C_VALUE) == text + n;
}

/* >>floor2 head  Request and response heads (RFC 9112) ------------------- */

/* One pass in place, strict: wherever two readers could disagree about where
   a message ends (request smuggling), the message is refused.

   The scanners look at 16 bytes at a time and may look at bytes that have not
   arrived: up to 64 bytes behind the input must be readable, whatever they
   hold. What keeps those bytes out of every result is one rule: a verdict
   counts only if all bytes it rests on lie before `end`; any other verdict
   becomes AW_EAGAIN. So the fast path needs no bound check for each byte. */

enum { AW__HEAD_SLACK = 64 };   /* readable bytes behind every head */

enum {
    AW__GET, AW__HEAD, AW__POST, AW__PUT, AW__DELETE, AW__PATCH, AW__OPTIONS,
    AW__CONNECT, AW__TRACE, AW__OTHER
};

/* The fields the header itself acts upon. */
enum {
    AW__F_HOST, AW__F_EXPECT, AW__F_UPGRADE, AW__F_CONNECTION, AW__F_LENGTH,
    AW__F_TRANSFER, AW__F_COUNT
};

enum { AW__NO_FIELD = 0xffff };

/* One field line: offsets into the head, of at most 65,535 bytes. */
typedef struct aw__field {
    uint16_t name, name_len, value, value_len;
} aw__field;

typedef struct aw__head {
    aw__field *fields;              /* the caller's array... */
    uint16_t max_fields;            /* ...and its length */
    uint16_t count;                 /* fields used */
    uint16_t known[AW__F_COUNT];    /* index of the first, or AW__NO_FIELD */
    int64_t content_length;         /* -1 none */
    uint16_t path, path_len;        /* of the target, from the path on; "*";
                                       empty for http://host and in CONNECT */
    uint16_t host, host_len;        /* authority of the target, else Host */
    uint8_t options;                /* AW__O_... that were seen */
    bool chunked, keep_alive, expect_100, upgrade;
    uint8_t verb, minor;            /* AW__GET...; 0 or 1 of HTTP/1.x */
    uint16_t method, method_len;
    uint16_t target, target_len;    /* the request target as it was sent */
    uint16_t status;                /* of a response */
    uint16_t reason, reason_len;
} aw__head;

typedef struct aw__head_limits {
    size_t max_line;                /* request line without its CRLF */
    size_t max_head;                /* the whole head; 65,535 at most */
} aw__head_limits;

enum { AW__O_CLOSE = 1, AW__O_KEEP = 2, AW__O_UPGRADE = 4, AW__O_CONTINUE = 8 };

/* The vector operations that are needed, and no more. Of a condition only the
   top bit of each lane counts. LESS is signed: bytes >= 0x80 are less than
   ASCII. */
#if defined(AW__SSE2)

typedef __m128i aw__v16;
#define AW__V16(c) _mm_set1_epi8((char)(c))
#define AW__V16_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define AW__V16_ADD(a, b) _mm_add_epi8(a, b)
#define AW__V16_AND(a, b) _mm_and_si128(a, b)
#define AW__V16_OR(a, b) _mm_or_si128(a, b)
#define AW__V16_EQUAL(a, b) _mm_cmpeq_epi8(a, b)
#define AW__V16_LESS(a, b) _mm_subs_epi8(a, b)
#define AW__V16_MASK(v) ((uint64_t)(unsigned)_mm_movemask_epi8(v))
#define AW__V16_FIRST(mask) __builtin_ctzll(mask)

#elif defined(AW__NEON)

typedef uint8x16_t aw__v16;
#define AW__V16(c) vdupq_n_u8((uint8_t)(c))
#define AW__V16_LOAD(p) vld1q_u8((const uint8_t *)(const void *)(p))
#define AW__V16_ADD(a, b) vaddq_u8(a, b)
#define AW__V16_AND(a, b) vandq_u8(a, b)
#define AW__V16_OR(a, b) vorrq_u8(a, b)
#define AW__V16_EQUAL(a, b) vceqq_u8(a, b)
#define AW__V16_LESS(a, b) \
    vcltq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b))
/* NEON has no movemask: narrowing by 4 bits leaves a nibble for each lane. */
#define AW__V16_MASK(v) vget_lane_u64(vreinterpret_u64_u8( \
    vshrn_n_u16(vreinterpretq_u16_u8(v), 4)), 0)
#define AW__V16_FIRST(mask) (__builtin_ctzll(mask) >> 2)

#endif

/* Three skippers: over bytes that are certainly in the class, up to the first
   that may not be; the table decides about that one. They may run past end,
   by less than 16 bytes. */
#if defined(AW__SSE2) || defined(AW__NEON)

/* Returns from the skipper at the first lane where `stop` holds. */
#define AW__V16_STEP(p, stop) do { \
    const uint64_t mask_ = AW__V16_MASK(stop); \
    if (AW__LIKELY(mask_)) return (p) + AW__V16_FIRST(mask_); \
    (p) += 16; \
} while (0)

/* Letters, digits, - and dot: most of every field name and host. Adding moves
   the end of a range to 0x7f: what is above it becomes negative, so that one
   LESS decides about both ends. */
static AW__INLINE const char *aw__http_skip_name(const char *p,
                                                 const char *end)
{
    do {
        aw__v16 x = AW__V16_LOAD(p), letter, digit, stop;
        letter = AW__V16_ADD(AW__V16_OR(x, AW__V16(0x20)), AW__V16(0x7f - 'z'));
        digit = AW__V16_ADD(x, AW__V16(0x7f - '9'));    /* - . / 0..9 */
        stop = AW__V16_AND(AW__V16_LESS(letter, AW__V16('a' + 0x7f - 'z')),
                           AW__V16_LESS(digit, AW__V16('-' + 0x7f - '9')));
        AW__V16_STEP(p, AW__V16_OR(stop, AW__V16_EQUAL(x, AW__V16('/'))));
    } while (p < end);
    return p;
}

/* All of a target but controls, space, non-ASCII and ! " # < > \ ^ ` { | } ~
   (adding 5 makes '{' and what is above it negative, or less than '$' + 5). */
static AW__INLINE const char *aw__http_skip_target(const char *p,
                                                   const char *end)
{
    do {
        aw__v16 x = AW__V16_LOAD(p), stop, four;
        stop = AW__V16_LESS(AW__V16_ADD(x, AW__V16(5)), AW__V16('$' + 5));
        four = AW__V16_AND(x, AW__V16(0x9d));   /* < > \ ^ become 0x1c */
        stop = AW__V16_OR(stop, AW__V16_EQUAL(four, AW__V16(0x1c)));
        AW__V16_STEP(p, AW__V16_OR(stop, AW__V16_EQUAL(x, AW__V16('`'))));
    } while (p < end);
    return p;
}

/* Printable ASCII and space (adding 1 makes DEL and what is above it negative,
   and 0xff 0). */
static AW__INLINE const char *aw__http_skip_value(const char *p,
                                                  const char *end)
{
    do {
        aw__v16 x = AW__V16_ADD(AW__V16_LOAD(p), AW__V16(1));
        AW__V16_STEP(p, AW__V16_LESS(x, AW__V16(' ' + 1)));
    } while (p < end);
    return p;
}

#else

static const char *aw__http_skip_name(const char *p, const char *end)
{
    return aw__http_span(p, end, AW__C_HOST);
}

static const char *aw__http_skip_target(const char *p, const char *end)
{
    (void)end;
    return p;
}

/* Eight bytes of printable ASCII at once. A borrow or carry comes only out of
   a byte that stops the loop anyway, so byte order does not matter. */
static const char *aw__http_skip_value(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; p < end; p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        if ((w | (w - ones * ' ') | (w + ones)) & ones * 0x80) break;
    }
    return p;
}

#endif

/* What it means that *q fits nowhere: an error, unless q is not there yet. A
   CR is judged together with the byte after it. */
static AW__NOINLINE int aw__http_stop(const char *q, const char *end)
{
    if (*q == '\r') q++;
    return q >= end ? AW_EAGAIN : AW_HTTP(400);
}

static bool aw__http_below(char c, char limit)
{
    return (unsigned char)c < (unsigned char)limit;
}

/* The rare bytes of a value, HTAB and obs-text, stop the skipper. */
static AW__NOINLINE const char *aw__http_value_slow(const char *p,
                                                    const char *end)
{
    while (p < end && aw__http_is(*p, AW__C_VALUE))
        p = aw__http_skip_value(p + 1, end);
    return p;
}

/* Equal but for case; `name` is of letters and '-' in lower case, 4 at least.
   `| 0x20` would make a '-' of a CR, but no name or value holds one. */
static AW__INLINE bool aw__http_eq(const char *p, const char *name, size_t n)
{
    uint32_t a, b;
    size_t i = 0;
    for (;;) {
        memcpy(&a, p + i, 4);
        memcpy(&b, name + i, 4);
        if ((a | 0x20202020u) != b) return false;
        if (i + 4 == n) return true;
        i = i + 8 <= n ? i + 4 : n - 4;
    }
}

/* The end of a uri-host, or p if there is none; p..q is known to be fine. Of
   reg-name (RFC 3986 3.2.2) only unreserved characters: no DNS name needs
   more, "a,b" is two Host fields that a proxy has joined, and %61 is read
   differently by different readers. */
static const char *aw__http_host_end(const char *p, const char *q,
                                     const char *end)
{
    if (*p != '[') return aw__http_span(q, end, AW__C_HOST);
    for (q = p + 1; q < end; q++)
        if (!aw__http_is(*q, AW__C_HEX) && *q != ':' && *q != '.') break;
    return q < end && *q == ']' && q - p > 2 ? q + 1 : p;
}

/* uri-host [ ":" port ] (RFC 9110 7.2); no userinfo, no empty host; p..q as
   above. Nobody connects to this port: up to 5 digits will do. */
static bool aw__http_host(const char *p, const char *q, const char *end)
{
    if (q == p || *q != ':') q = aw__http_host_end(p, q, end);
    if (q == p) return false;
    if (q == end) return true;
    if (*q != ':' || end - q > 6 || q + 1 == end) return false;
    while (++q < end)
        if (!aw__is_digit(*q)) return false;
    return true;
}

/* Content-Length is digits and nothing else (RFC 9110 8.6): a list, a sign
   or a number past INT64_MAX is an attack or a broken peer. */
static int aw__http_length(const char *p, size_t n, int64_t *out)
{
    int64_t v = 0;
    size_t i;
    if (!n) return AW_HTTP(400);
    for (i = 0; i < n; i++) {
        int digit = p[i] - '0';
        if (!aw__is_digit(p[i])) return AW_HTTP(400);
        if (v > (INT64_MAX - digit) / 10) return AW_HTTP(400);
        v = v * 10 + digit;
    }
    *out = v;
    return AW_OK;
}

/* Transfer-Encoding must be `chunked` alone. RFC 9112 6.1 asks for 501 when a
   coding is unknown, 6.3 for 400 when chunked is not the last one. */
static int aw__http_transfer(aw_slice value)
{
    bool chunked = false, other = false;
    aw_slice item;
    if (value.n == 7 && aw__http_eq(value.p, "chunked", 7)) return AW_OK;
    while (aw__http_list(&value, &item)) {
        if (chunked || !aw__is_token(item.p, item.n)) return AW_HTTP(400);
        if (aw__slice_ieq(item, "chunked")) chunked = true;
        else other = true;
    }
    return AW_HTTP(other ? 501 : 400);
}

/* The options of one Connection field (RFC 9110 7.6.1), or AW_HTTP(400). */
static int aw__http_connection(aw_slice value)
{
    int options = 0;
    aw_slice item;
    if (value.n == 10 && aw__http_eq(value.p, "keep-alive", 10))
        return AW__O_KEEP;
    while (aw__http_list(&value, &item)) {
        if (!aw__is_token(item.p, item.n)) return AW_HTTP(400);
        if (aw__slice_ieq(item, "close")) options |= AW__O_CLOSE;
        if (aw__slice_ieq(item, "keep-alive")) options |= AW__O_KEEP;
        if (aw__slice_ieq(item, "upgrade")) options |= AW__O_UPGRADE;
    }
    return options;
}

static const char aw__http_names[AW__F_COUNT][18] = {
    "host", "expect", "upgrade", "connection", "content-length",
    "transfer-encoding"
};

/* By length of name: the initial of the one known name, and which it is. */
static const char aw__http_initial[] = "\0\0\0\0h\0eu\0\0c\0\0\0c\0\0t";
static const uint8_t aw__http_known[] = {
    0, 0, 0, 0, AW__F_HOST, 0, AW__F_EXPECT, AW__F_UPGRADE, 0, 0,
    AW__F_CONNECTION, 0, 0, 0, AW__F_LENGTH, 0, 0, AW__F_TRANSFER
};

/* Looks at a Host. There is one, and well-formed (RFC 9112 3.2). */
static int aw__http_note_host(aw__head *h, const char *base,
                              const aw__field *f)
{
    const char *p = base + f->value, *end = p + f->value_len, *q;
    if (h->known[AW__F_HOST] != AW__NO_FIELD) return AW_HTTP(400);
    h->known[AW__F_HOST] = (uint16_t)(f - h->fields);
    if (!h->host_len) {             /* 3.2.2: the authority of a target wins */
        h->host = f->value;
        h->host_len = f->value_len;
    }
    q = aw__http_skip_name(p, end);
    if (q >= end) return AW_OK;
    return aw__http_host(p, q, end) ? AW_OK : AW_HTTP(400);
}

/* Looks at another known field. */
static AW__NOINLINE int aw__http_note_more(aw__head *h, const char *base,
                                           const aw__field *f, int known)
{
    const bool again = h->known[known] != AW__NO_FIELD;
    const aw_slice value = aw__slice(base + f->value, f->value_len);
    int r;
    if (!again) h->known[known] = (uint16_t)(f - h->fields);
    switch (known) {
        case AW__F_LENGTH:          /* RFC 9110 8.6: even the same twice */
            if (again) return AW_HTTP(400);
            return aw__http_length(value.p, value.n, &h->content_length);
        case AW__F_TRANSFER:
            h->chunked = true;
            return again ? AW_HTTP(400) : aw__http_transfer(value);
        case AW__F_CONNECTION:
            r = aw__http_connection(value);
            if (r > 0) h->options |= (uint8_t)r;
            return r;
        case AW__F_EXPECT:          /* other expectations: RFC 9110 10.1.1 */
            if (aw__slice_ieq(value, "100-continue"))
                h->options |= AW__O_CONTINUE;
            return AW_OK;
        default: return AW_OK;
    }
}

/* Looks at a field whose length and initial promise a known one. */
static AW__NOINLINE int aw__http_note(aw__head *h, const char *base,
                                      const aw__field *f)
{
    const char *name = base + f->name;
    const size_t n = f->name_len;
    if (n == 4)
        return aw__http_eq(name, "host", 4) ? aw__http_note_host(h, base, f)
                                            : AW_OK;
    if (!aw__http_eq(name, aw__http_names[aw__http_known[n]], n)) return AW_OK;
    return aw__http_note_more(h, base, f, aw__http_known[n]);
}

/* The field lines from p to the end of the head (RFC 9112 5). Returns the
   length of the head, counted from base, AW_EAGAIN, AW_HTTP(400), (431) or
   (501). No obs-fold, no space before a colon: a name begins its line and its
   colon follows at once (5.1, 5.2). */
static int aw__http_fields(aw__head *h, const char *base, const char *p,
                           const char *end)
{
    aw__field *f = h->fields, *const full = f + h->max_fields;
    for (; *p != '\r'; f++) {
        const char *q = aw__http_skip_name(p, end), *v = q + 2;
        size_t n;
        if (AW__UNLIKELY(f == full)) return p < end ? AW_HTTP(431) : AW_EAGAIN;
        f->name = (uint16_t)(p - base);
        if (AW__UNLIKELY(memcmp(q, ": ", 2) != 0 || aw__http_below(*v, '!'))) {
            q = aw__http_span(q, end, AW__C_TOKEN);
            if (*q != ':') return aw__http_stop(q, end);
            for (v = q + 1; v < end && (*v == ' ' || *v == '\t'); ) v++;
        }
        n = (size_t)(q - p);
        if (!n) return aw__http_stop(q, end);
        f->name_len = (uint16_t)n;
        f->value = (uint16_t)(v - base);
        q = aw__http_skip_value(v, end);
        if (AW__UNLIKELY(memcmp(q, "\r\n", 2) != 0)) {
            q = aw__http_value_slow(q, end);
            if (memcmp(q, "\r\n", 2) != 0) return aw__http_stop(q, end);
        }
        if (q + 2 > end) return AW_EAGAIN;
        f->value_len = (uint16_t)(q - v);
        if (AW__UNLIKELY(aw__http_below(q[-1], '!')))
            f->value_len = (uint16_t)aw__slice_trim(
                aw__slice(v, (size_t)(q - v))).n;
        if (n < sizeof aw__http_initial && (*p | 0x20) == aw__http_initial[n]) {
            int r = aw__http_note(h, base, f);
            if (r < 0) return r;
        }
        p = q + 2;
    }
    if (p[1] != '\n') return aw__http_stop(p, end);
    if (p + 2 > end) return AW_EAGAIN;
    h->count = (uint16_t)(f - h->fields);
    return (int)(p + 2 - base);
}

/* What frames the message and the connection, once all fields are known. */
static int aw__http_framing(aw__head *h)
{
    h->keep_alive = h->minor > 0;                           /* 9112 9.3 */
    h->expect_100 = h->upgrade = false;
    if (AW__LIKELY(!h->options && !h->chunked)) return AW_OK;
    /* RFC 9112 6.1: both at once, or chunked in HTTP/1.0, is how requests are
       smuggled; 6.3 lets us refuse what others may repair. */
    if (h->chunked && (h->content_length >= 0 || !h->minor))
        return AW_HTTP(400);
    if (h->options & AW__O_KEEP) h->keep_alive = true;
    if (h->options & AW__O_CLOSE) h->keep_alive = false;
    if (!h->minor) return AW_OK;    /* 1.0 has neither: 9110 10.1.1, 7.8 */
    h->expect_100 = (h->options & AW__O_CONTINUE) != 0;
    h->upgrade = (h->options & AW__O_UPGRADE) &&
        h->known[AW__F_UPGRADE] != AW__NO_FIELD;
    return AW_OK;
}

static void aw__head_clear(aw__head *h)
{
    memset(h->known, 0xff, sizeof h->known);
    h->content_length = -1;
    h->path = h->path_len = h->host = h->host_len = 0;
    h->options = 0;
    h->chunked = false;
}

/* Matches `pattern`, where # stands for a digit; returns the first byte that
   does not match or is not there. */
static const char *aw__http_match(const char *p, const char *end,
                                  const char *pattern)
{
    for (; *pattern && p < end; p++, pattern++)
        if (*pattern == '#' ? !aw__is_digit(*p) : *p != *pattern) break;
    return p;
}

/* AW__GET... of a method; names are case-sensitive (RFC 9110 9.1). */
static uint8_t aw__http_verb(const char *p, size_t n)
{
    static const char names[][8] = { "GET", "HEAD", "POST", "PUT", "DELETE",
                                     "PATCH", "OPTIONS", "CONNECT", "TRACE" };
    uint8_t verb = 0;
    while (verb < AW__OTHER &&
           (strlen(names[verb]) != n || memcmp(p, names[verb], n) != 0)) verb++;
    return verb;
}

/* The end of a target that has bytes the skipper does not decide about. */
static AW__NOINLINE const char *aw__http_target_slow(const char *p,
                                                     const char *q,
                                                     const char *end)
{
    if (q < end && !memchr(p, '?', (size_t)(q - p))) {
        q = aw__http_span(q, end, AW__C_PATH);
        if (q >= end || *q != '?') return q;
    }
    return aw__http_span(q, end, AW__C_QUERY);
}

/* The forms of RFC 9112 3.2 other than a path: sets path and host. */
static AW__NOINLINE int aw__http_target_form(aw__head *h, const char *base)
{
    const char *p = base + h->target, *end = p + h->target_len, *q;
    size_t scheme = 0;
    if (h->verb == AW__CONNECT) {               /* 3.2.3: host:port only */
        q = aw__http_host_end(p, p, end);
        if (q == end || !aw__http_host(p, p, end)) return AW_HTTP(400);
        h->host = h->target;
        h->host_len = h->target_len;
        return AW_OK;
    }
    if (h->target_len == 1 && *p == '*') {      /* 3.2.4 */
        h->path = h->target;
        h->path_len = 1;
        return h->verb == AW__OPTIONS ? AW_OK : AW_HTTP(400);
    }
    if (h->target_len > 7 && aw__slice_ieq(aw__slice(p, 7), "http://"))
        scheme = 7;
    if (h->target_len > 8 && aw__slice_ieq(aw__slice(p, 8), "https://"))
        scheme = 8;
    if (!scheme) return AW_HTTP(400);
    p += scheme;
    for (q = p; q < end && *q != '/' && *q != '?'; q++) {}
    if (!aw__http_host(p, p, q)) return AW_HTTP(400);
    h->host = (uint16_t)(p - base);
    h->host_len = (uint16_t)(q - p);
    h->path = (uint16_t)(q - base);
    h->path_len = (uint16_t)(end - q);
    return AW_OK;
}

/* A version other than HTTP/1.1: 0, AW_EAGAIN, AW_HTTP(400) or (505). */
static AW__NOINLINE int aw__http_old_version(const char *p, const char *end)
{
    const char *q = aw__http_match(p, end, "HTTP/#.#\r\n");
    if (q - p < 10) return aw__http_stop(q, end);
    return p[5] == '1' && p[7] == '0' ? 0 : AW_HTTP(505);
}

/* The request line (RFC 9112 3): its length with CRLF, or an error. */
static int aw__http_request_line(aw__head *h, const char *base,
                                 const char *end)
{
    const char *p = base, *q;
    if (AW__UNLIKELY(*p == '\r')) {     /* 2.2: an empty line before it */
        if (p[1] != '\n') return aw__http_stop(p, end);
        p += 2;
    }
    q = p + 3;
    h->verb = AW__GET;
    if (AW__UNLIKELY(memcmp(p, "GET ", 4) != 0)) {
        q = aw__http_span(p, end, AW__C_TOKEN);
        if (q - p > 32) return AW_HTTP(501);
        if (q >= end || *q != ' ' || q == p) return aw__http_stop(q, end);
        h->verb = aw__http_verb(p, (size_t)(q - p));
    }
    h->method = (uint16_t)(p - base);
    h->method_len = (uint16_t)(q - p);
    p = q + 1;
    q = aw__http_skip_target(p, end);
    if (AW__UNLIKELY(*q != ' ')) {
        q = aw__http_target_slow(p, q, end);
        if (*q != ' ') return aw__http_stop(q, end);
    }
    if (q == p) return aw__http_stop(q, end);
    h->target = (uint16_t)(p - base);
    h->target_len = (uint16_t)(q - p);
    h->minor = 1;
    if (AW__UNLIKELY(memcmp(q, " HTTP/1.1\r\n", 11) != 0)) {
        int r = aw__http_old_version(q + 1, end);
        if (r < 0) return r;
        h->minor = 0;
    }
    if (q + 11 > end) return AW_EAGAIN;
    if (AW__UNLIKELY(*p != '/' || h->verb == AW__CONNECT)) {
        int r = aw__http_target_form(h, base);
        if (r < 0) return r;
    } else {
        h->path = h->target;
        h->path_len = h->target_len;
    }
    return (int)(q + 11 - base);
}

/* Whether bytes seen..n can change the verdict AW_EAGAIN on 0..seen: the head
   ends there, a line end is wrong, or a limit is reached. It is what makes a
   head that trickles in linear: it is parsed for real a few times only. */
static bool aw__http_head_news(const char *p, size_t n, size_t seen,
                               const aw__head_limits *limits)
{
    size_t line = limits->max_line + 2, i = seen;
    if (seen < line && n >= line) return true;
    if (seen < limits->max_head && n >= limits->max_head) return true;
    while (i < n) {
        const char *lf = (const char *)memchr(p + i, '\n', n - i);
        if (!lf) return false;
        i = (size_t)(lf - p);
        if (i == 0 || lf[-1] != '\r') return true;
        if (i >= 2 && lf[-2] == '\n') return true;
        i++;
    }
    return false;
}

/* Parses the request head at p[0..n): its length (> 0), AW_EAGAIN when it is
   incomplete so far, AW_HTTP(400), (414), (431), (501) or (505). `seen` is
   how many of these bytes an earlier call has answered with AW_EAGAIN, else
   0. The caller has set h->fields and h->max_fields; slices count from p, and
   AW__HEAD_SLACK bytes behind p + n are readable. */
static int aw__http_head(const char *p, size_t n, size_t seen,
                         const aw__head_limits *limits, aw__head *h)
{
    size_t head = limits->max_head, line = limits->max_line + 2;
    int r;
    if (line > head) line = head;
    if (seen && !aw__http_head_news(p, n, seen, limits)) return AW_EAGAIN;
    aw__head_clear(h);
    /* A limit cuts the view: what would need bytes behind it is too large. */
    r = aw__http_request_line(h, p, p + (n < line ? n : line));
    if (r < 0) return r == AW_EAGAIN && n >= line ? AW_HTTP(414) : r;
    r = aw__http_fields(h, p, p + r, p + (n < head ? n : head));
    if (r < 0) return r == AW_EAGAIN && n >= head ? AW_HTTP(431) : r;
    if (h->known[AW__F_HOST] == AW__NO_FIELD && h->minor)
        return AW_HTTP(400);                            /* RFC 9112 3.2 */
    return aw__http_framing(h) < 0 ? AW_HTTP(400) : r;
}

/* The index of the first field with that name at or after `from`, or -1. */
static int aw__head_find(const char *base, const aw__head *h,
                         const char *name, size_t from)
{
    size_t i, n = strlen(name);
    for (i = from; i < h->count; i++) {
        const aw__field *f = &h->fields[i];
        if (f->name_len != n) continue;
        if (aw__slice_ieq(aw__slice(base + f->name, n), name)) return (int)i;
    }
    return -1;
}

/* >>floor2 response head  The client's side ------------------------------ */

/* The status line (RFC 9112 4): its length, AW_EAGAIN or AW_HTTP(400). */
static int aw__http_status_line(aw__head *h, const char *base, const char *end)
{
    const char *p = aw__http_match(base, end, "HTTP/1.# ###"), *q;
    if (p - base < 12) return aw__http_stop(p, end);
    h->minor = (uint8_t)(base[7] - '0');
    h->status = (uint16_t)((base[9] - '0') * 100 + (base[10] - '0') * 10 +
                           (base[11] - '0'));
    if (h->minor > 1 || h->status < 100) return AW_HTTP(400);
    /* Some servers leave out the space before an empty reason. */
    if (p < end && *p == ' ') p++;
    else if (p < end && *p != '\r') return AW_HTTP(400);
    q = aw__http_span(p, end, AW__C_VALUE);
    if (q + 2 > end || q[0] != '\r' || q[1] != '\n')
        return aw__http_stop(q, end);
    h->reason = (uint16_t)(p - base);
    h->reason_len = (uint16_t)(q - p);
    return (int)(q + 2 - base);
}

/* Parses a response head like aw__http_head() a request's: its length, or
   AW_EAGAIN, AW_EBADMSG, AW_ETOOBIG (past max_head, at most 65,535, or past
   h->max_fields). What has neither length nor chunks ends with the connection
   unless its status or method says it has no content (RFC 9112 6.3). */
static int aw__http_response_head(const char *p, size_t n, size_t seen,
                                  size_t max_head, aw__head *h)
{
    aw__head_limits limits;
    const char *end = p + (n < max_head ? n : max_head);
    int r;
    limits.max_line = limits.max_head = max_head;
    if (seen && !aw__http_head_news(p, n, seen, &limits)) return AW_EAGAIN;
    aw__head_clear(h);
    r = aw__http_status_line(h, p, end);
    if (r > 0) r = aw__http_fields(h, p, p + r, end);
    if (r > 0 && aw__http_framing(h) < 0) return AW_EBADMSG;
    if (r == AW_EAGAIN && n < max_head) return AW_EAGAIN;
    if (r == AW_EAGAIN || r == AW_HTTP(431)) return AW_ETOOBIG;
    return r > 0 ? r : AW_EBADMSG;
}

/* >>floor2 chunked  Transfer coding (RFC 9112 7.1) ----------------------- */

enum { AW__CHUNK_EXTENSIONS = 4096, AW__TRAILER_BYTES = 8192,
       AW__TRAILER_FIELDS = 100 };

/* What the next byte is. A chunk is: size, extension, LF, data, CR, LF. */
typedef enum aw__chunk_state {
    AW__CHUNK_SIZE, AW__CHUNK_EXTENSION, AW__CHUNK_SIZE_LF, AW__CHUNK_DATA,
    AW__CHUNK_DATA_CR, AW__CHUNK_DATA_LF, AW__CHUNK_TRAILER,
    AW__CHUNK_TRAILER_NAME, AW__CHUNK_TRAILER_VALUE, AW__CHUNK_TRAILER_LF,
    AW__CHUNK_LAST_LF, AW__CHUNK_DONE
} aw__chunk_state;

/* All zero at the start of a body. */
typedef struct aw__chunked {
    uint64_t left;              /* bytes of the chunk still to come */
    uint16_t extensions;        /* bytes of extensions, all chunks together */
    uint16_t trailer;           /* bytes of the trailer section */
    uint8_t fields;             /* field lines in it */
    uint8_t digits;             /* of the current size */
    uint8_t state;              /* aw__chunk_state */
} aw__chunked;

/* A byte of the size. No sign, no 0x, no space: hex digits (7.1), at most 16
   and at most INT64_MAX, so that no reader can overflow into another size. */
static int aw__chunked_size(aw__chunked *c, char ch)
{
    int digit = aw__hex_digit(ch);
    if (digit >= 0) {
        if (c->digits == 16 || c->left >> 59) return AW_EBADMSG;
        c->digits++;
        c->left = c->left << 4 | (unsigned)digit;
        return AW_OK;
    }
    if (!c->digits) return AW_EBADMSG;
    if (ch == '\r') c->state = AW__CHUNK_SIZE_LF;
    else if (ch == ';') c->state = AW__CHUNK_EXTENSION;
    else return AW_EBADMSG;
    return AW_OK;
}

/* Extensions (7.1.1) are skipped, but an endless one is an attack. */
static int aw__chunked_extension(aw__chunked *c, char ch)
{
    if (ch == '\r') {
        c->state = AW__CHUNK_SIZE_LF;
        return AW_OK;
    }
    if (!aw__http_is(ch, AW__C_VALUE)) return AW_EBADMSG;
    return ++c->extensions > AW__CHUNK_EXTENSIONS ? AW_EBADMSG : AW_OK;
}

/* Trailer fields (7.1.2) must be well-formed, and are dropped: a field that
   comes after the body was already judged could only deceive. */
static int aw__chunked_trailer(aw__chunked *c, char ch)
{
    if (++c->trailer > AW__TRAILER_BYTES) return AW_ETOOBIG;
    if (c->state == AW__CHUNK_TRAILER_VALUE) {
        if (ch == '\r') c->state = AW__CHUNK_TRAILER_LF;
        else if (!aw__http_is(ch, AW__C_VALUE)) return AW_EBADMSG;
        return AW_OK;
    }
    if (c->state == AW__CHUNK_TRAILER_NAME && ch == ':') {
        c->state = AW__CHUNK_TRAILER_VALUE;
        return AW_OK;
    }
    if (c->state == AW__CHUNK_TRAILER && ch == '\r') {
        c->state = AW__CHUNK_LAST_LF;
        return AW_OK;
    }
    if (!aw__http_is(ch, AW__C_TOKEN)) return AW_EBADMSG;
    if (c->state == AW__CHUNK_TRAILER && ++c->fields > AW__TRAILER_FIELDS)
        return AW_ETOOBIG;
    c->state = AW__CHUNK_TRAILER_NAME;
    return AW_OK;
}

/* A CR or LF that must be exactly here. */
static int aw__chunked_expect(aw__chunked *c, char ch, char want, int next)
{
    c->state = (uint8_t)next;
    return ch == want ? AW_OK : AW_EBADMSG;
}

/* One byte that is not chunk data. */
static int aw__chunked_byte(aw__chunked *c, char ch)
{
    switch (c->state) {
        case AW__CHUNK_SIZE:
            return aw__chunked_size(c, ch);
        case AW__CHUNK_EXTENSION:
            return aw__chunked_extension(c, ch);
        case AW__CHUNK_SIZE_LF:
            c->digits = 0;
            return aw__chunked_expect(c, ch, '\n', c->left ? AW__CHUNK_DATA
                                                           : AW__CHUNK_TRAILER);
        case AW__CHUNK_DATA_CR:
            return aw__chunked_expect(c, ch, '\r', AW__CHUNK_DATA_LF);
        case AW__CHUNK_DATA_LF:
            return aw__chunked_expect(c, ch, '\n', AW__CHUNK_SIZE);
        case AW__CHUNK_TRAILER_LF:
            return aw__chunked_expect(c, ch, '\n', AW__CHUNK_TRAILER);
        case AW__CHUNK_LAST_LF:
            return aw__chunked_expect(c, ch, '\n', AW__CHUNK_DONE);
        default:
            return aw__chunked_trailer(c, ch);
    }
}

/* Takes bytes off `in`. AW_OK: *data is the next run of the body, in place;
   call again. AW_EAGAIN: `in` is used up. 1: the body has ended, and `in`
   begins with what follows it. AW_EBADMSG; AW_ETOOBIG (trailer section). */
static int aw__chunked_next(aw__chunked *c, aw_slice *in, aw_slice *data)
{
    while (c->state != AW__CHUNK_DONE) {
        int r;
        if (!in->n) return AW_EAGAIN;
        if (c->state == AW__CHUNK_DATA) {
            size_t n = in->n < c->left ? in->n : (size_t)c->left;
            *data = aw__slice(in->p, n);
            in->p += n;
            in->n -= n;
            c->left -= n;
            if (!c->left) c->state = AW__CHUNK_DATA_CR;
            return AW_OK;
        }
        r = aw__chunked_byte(c, *in->p);
        if (r < 0) return r;
        in->p++;
        in->n--;
    }
    return 1;
}

/* The line before a chunk of n bytes; returns its length, at most 18. A chunk
   ends with CRLF, a body with "0\r\n\r\n". */
static size_t aw__chunked_line(char out[18], size_t n)
{
    return (size_t)(AW__PUT(aw__put_hex(out, n), "\r\n") - out);
}

/* >>floor2 url  Percent-encoding, paths, queries, URLs ------------------- */

enum { AW__HOST_MAX = 255 };    /* no name is longer (RFC 1035 2.3.4) */

/* The byte that %XX at p stands for, or -1. */
static int aw__url_escape(const char *p, const char *end)
{
    int high, low;
    if (end - p < 3 || *p != '%') return -1;
    high = aw__hex_digit(p[1]);
    low = aw__hex_digit(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Writes a byte as %XX; its length. */
static size_t aw__url_put(char to[3], unsigned byte)
{
    static const char hex[] = "0123456789ABCDEF";
    to[0] = '%';
    to[1] = hex[byte >> 4];
    to[2] = hex[byte & 15];
    return 3;
}

/* Decodes %XX into `to` (at most n bytes; it may be `from`) and stores the
   length. A form or query has + for a space, and a % that is no escape stands
   for itself, as in browsers (WHATWG URL, 5.1); elsewhere it is AW_EBADMSG. */
static int aw__url_decode(char *to, const char *from, size_t n, bool form,
                          size_t *out)
{
    const char *end = from + n;
    char *o = to;
    while (from < end) {
        int byte = aw__url_escape(from, end);
        if (byte >= 0) {
            *o++ = (char)byte;
            from += 3;
            continue;
        }
        if (*from == '%' && !form) return AW_EBADMSG;
        *o++ = form && *from == '+' ? ' ' : *from;
        from++;
    }
    *out = (size_t)(o - to);
    return AW_OK;
}

/* Paths are compared in one canonical spelling: a byte stands for itself where
   AW__C_PATH allows it, else as %XX in upper case, and there are no
   dot-segments. So a slash in canonical form always separates and %2F never
   does; equal segments are equal bytes; and every %XX decodes. A router
   compares bytes, and decodes what it captures. */

/* Brings one segment into that form; sets its length. NUL is refused: C code
   behind us would see the text end there. */
static int aw__url_segment(char *to, const char *p, const char *end,
                           size_t *out)
{
    char *o = to;
    while (p < end) {
        int c = (unsigned char)*p;
        if (c == '%') c = aw__url_escape(p, end);
        else if (!aw__http_is(*p, AW__C_PATH)) return AW_EBADMSG;
        if (c <= 0) return AW_EBADMSG;
        p += *p == '%' ? 3 : 1;
        if (c != '%' && c != '/' && aw__http_is((char)c, AW__C_PATH)) {
            *o++ = (char)c;
        } else {
            o += aw__url_put(o, (unsigned)c);
        }
    }
    *out = (size_t)(o - to);
    return AW_OK;
}

/* Makes the canonical form of the path p[0..n) in `to`, which has room for n
   bytes, 1 at least, and may be p. Empty counts as "/". Dot-segments go once,
   after decoding (RFC 3986 5.2.4, 6.2.2); one that climbs above the root is
   refused, as are a bad escape and %00: AW_EBADMSG. */
static int aw__url_path(char *to, const char *p, size_t n, size_t *out)
{
    const char *end = p + n, *next;
    size_t at = 0, len;
    if (n && *p != '/') return AW_EBADMSG;
    for (; p < end; p = next) {
        next = (const char *)memchr(p + 1, '/', (size_t)(end - p - 1));
        if (!next) next = end;
        if (aw__url_segment(to + at + 1, p + 1, next, &len) < 0)
            return AW_EBADMSG;
        if (len == 2 && to[at + 1] == '.' && to[at + 2] == '.') {
            if (!at) return AW_EBADMSG;
            while (to[--at] != '/') {}
        } else if (len != 1 || to[at + 1] != '.') {
            to[at] = '/';
            at += 1 + len;
            continue;
        }
        if (next == end) to[at++] = '/';    /* "/a/.." is the directory "/" */
    }
    if (!at) to[at++] = '/';
    *out = at;
    return AW_OK;
}

/* Splits a target at its first '?'. True: its path is canonical as it is, as
   most are, so no copy is needed. */
static bool aw__url_split(const char *p, size_t n, aw_slice *path,
                          aw_slice *query)
{
    const char *q = p, *end = p + n;
    bool plain = n && *p == '/';
    while (q < end) {
        if (aw__http_is(*q, AW__C_PLAIN)) {
            q++;
            continue;
        }
        if (*q == '?') break;
        if (*q != '.' || (q > p && q[-1] == '/')) plain = false;
        q++;
    }
    *path = aw__slice(p, (size_t)(q - p));
    if (q < end) q++;
    *query = aw__slice(q, (size_t)(end - q));
    return plain;
}

/* The next name=value of a query or form, raw, for aw__url_decode(). *at
   begins as 0. Only '&' separates (WHATWG URL 5.1); empty pairs are passed
   over. False: there are no more. */
static bool aw__url_pair(const char *p, size_t n, size_t *at, aw_slice *name,
                         aw_slice *value)
{
    const char *end = p + n, *q, *stop, *equals;
    q = p + *at;
    while (q < end && *q == '&') q++;
    *at = n;
    if (q >= end) return false;
    stop = (const char *)memchr(q, '&', (size_t)(end - q));
    if (!stop) stop = end;
    equals = (const char *)memchr(q, '=', (size_t)(stop - q));
    if (!equals) equals = stop;
    *name = aw__slice(q, (size_t)(equals - q));
    if (equals < stop) equals++;
    *value = aw__slice(equals, (size_t)(stop - equals));
    *at = (size_t)(stop - p);
    return true;
}

/* A URL for the client; all slices point into its text. */
typedef struct aw__url {
    aw_slice user;              /* userinfo before '@', p NULL if none */
    aw_slice authority;         /* host[:port] as written, for Host */
    aw_slice host;              /* without the brackets of an IPv6 address */
    aw_slice path;              /* "/" if there is none */
    aw_slice query;             /* without '?', p NULL if none */
    uint16_t port;              /* the scheme's own if there is none */
    bool tls, ws;               /* https and wss; ws and wss */
} aw__url;

/* The text behind "scheme://", or NULL if it is none of the four. */
static const char *aw__url_scheme(const char *text, size_t n, aw__url *u)
{
    static const char schemes[][9] = { "http://", "https://", "ws://",
                                       "wss://" };
    size_t i;
    for (i = 0; i < 4; i++) {
        size_t len = strlen(schemes[i]);
        if (n < len || !aw__slice_ieq(aw__slice(text, len), schemes[i]))
            continue;
        u->tls = i & 1;
        u->ws = i >= 2;
        u->port = u->tls ? 443 : 80;
        return text + len;
    }
    return NULL;
}

/* A port of 1 to 5 digits, 0..65535, that fills p..end; else -1. */
static int aw__url_port(const char *p, const char *end)
{
    int port = 0;
    if (p == end || end - p > 5) return -1;
    for (; p < end; p++) {
        if (!aw__is_digit(*p)) return -1;
        port = port * 10 + (*p - '0');
    }
    return port <= 65535 ? port : -1;
}

/* host [":" port] between p and end. The host is not empty (RFC 9110 4.2.1),
   nor too long, for not every one is shown to a resolver: proxies have their
   own. An IPv6 zone is refused, for it means nothing to another machine. */
static int aw__url_authority(const char *p, const char *end, aw__url *u)
{
    const char *q = aw__http_host_end(p, p, end);
    if (q == p) return AW_EURL;
    u->authority = aw__slice(p, (size_t)(end - p));
    u->host = aw__slice(p, (size_t)(q - p));
    if (*p == '[') u->host = aw__slice(p + 1, (size_t)(q - p) - 2);
    if (u->host.n > AW__HOST_MAX) return AW_EURL;
    if (q < end) {
        int port = *q == ':' ? aw__url_port(q + 1, end) : -1;
        if (port <= 0) return AW_EURL;
        u->port = (uint16_t)port;
    }
    return AW_OK;
}

/* Reads an absolute URL (RFC 3986 3): AW_OK, or AW_EURL for another scheme, no
   host, a bad port, or a byte that a request may not carry (encode it as
   %XX). The fragment stays at home (RFC 9110 7.1). */
static int aw__url_parse(const char *text, aw__url *u)
{
    size_t n = strcspn(text, "#"), len;
    const char *end = text + n, *p, *q, *at;
    memset(u, 0, sizeof *u);
    p = aw__url_scheme(text, n, u);
    if (!p) return AW_EURL;
    len = strcspn(p, "/?#");
    q = p + len;
    at = (const char *)memchr(p, '@', len);
    if (at) {
        u->user = aw__slice(p, (size_t)(at - p));
        if (aw__http_span(p, at, AW__C_PATH) != at) return AW_EURL;
        p = at + 1;
    }
    if (aw__url_authority(p, q, u) < 0) return AW_EURL;
    p = aw__http_span(q, end, AW__C_PATH);
    u->path = p > q ? aw__slice(q, (size_t)(p - q)) : aw__slice("/", 1);
    if (p == end) return AW_OK;
    if (*p != '?') return AW_EURL;
    u->query = aw__slice(p + 1, (size_t)(end - p) - 1);
    return aw__http_span(p, end, AW__C_QUERY) == end ? AW_OK : AW_EURL;
}

/* Who answers is the same (RFC 6454 4). */
static bool aw__url_same_origin(const aw__url *a, const aw__url *b)
{
    size_t i = 0;
    if (a->tls != b->tls || a->port != b->port || a->host.n != b->host.n)
        return false;
    while (i < a->host.n && aw__ascii_lower(a->host.p[i]) ==
                            aw__ascii_lower(b->host.p[i])) i++;
    return i == a->host.n;
}

/* "http://host/v1" and "/users" make "http://host/v1/users"; base NULL: a copy
   of url. NULL: out of memory. */
static const char *aw__url_behind(aw__arena *arena, const char *base,
                                  const char *url)
{
    size_t n = base ? strlen(base) : 0, m = strlen(url);
    char *text;
    while (n && base[n - 1] == '/') n--;
    text = (char *)aw__arena_get(arena, n + m + 1);
    if (!text) return NULL;
    if (n) memcpy(text, base, n);
    memcpy(text + n, url, m + 1);
    return text;
}

/* How much of a reference is its scheme with the colon, 0: none. */
static size_t aw__url_scheme_n(const char *ref)
{
    size_t n = strcspn(ref, ":/?#");
    return ref[n] == ':' ? n + 1 : 0;
}

/* Takes the dot-segments out of the path p[0..n), without a look at escapes
   (RFC 3986 5.2.4). Returns how long it is then. */
static size_t aw__url_undot(char *p, size_t n)
{
    size_t at = 0, to = 0, len;
    for (; at < n; at += 1 + len) {
        const char *next = (const char *)memchr(p + at + 1, '/', n - at - 1);
        bool last = !next, up;
        len = last ? n - at - 1 : (size_t)(next - (p + at + 1));
        up = len == 2 && p[at + 1] == '.' && p[at + 2] == '.';
        if (up) while (to > 0 && p[--to] != '/') {}
        if (up || (len == 1 && p[at + 1] == '.')) {
            if (last) p[to++] = '/';
            continue;
        }
        memmove(p + to, p + at, 1 + len);
        to += 1 + len;
    }
    return to;
}

/* How much of an absolute URL a reference stands behind (RFC 3986 5.2.2). */
static size_t aw__url_base_n(const char *base, const char *ref)
{
    const size_t scheme = aw__url_scheme_n(base);
    const size_t root = scheme + 2 + strcspn(base + scheme + 2, "/?#");
    size_t n = root + strcspn(base + root, "?#");
    if (aw__url_scheme_n(ref)) return 0;
    if (ref[0] == '/') return ref[1] == '/' ? scheme : root;
    if (ref[0] == '?') return n;
    if (!*ref || *ref == '#') return n + strcspn(base + n, "#");
    while (n > root && base[n - 1] != '/') n--;
    return n;
}

/* Where a reference leads from an absolute URL (RFC 3986 5.2). Bytes that no
   URL may have become %XX, as in browsers. NULL: out of memory. */
static const char *aw__url_join(aw__arena *arena, const char *base,
                                const char *ref)
{
    const size_t n = aw__url_base_n(base, ref);
    char *text = (char *)aw__arena_get(arena, n + 3 * strlen(ref) + 2);
    char *to = text + n, *path;
    size_t len;
    if (!text) return NULL;
    memcpy(text, base, n);
    /* A base without a path has one now. */
    if (n && *ref && !strchr("/?#", *ref) && to[-1] != '/') *to++ = '/';
    for (; *ref; ref++) {
        if (aw__http_is(*ref, AW__C_PATH) || *ref == '?' || *ref == '#')
            *to++ = *ref;
        else
            to += aw__url_put(to, (unsigned char)*ref);
    }
    *to = 0;
    path = text + aw__url_scheme_n(text);
    if (path[0] != '/' || path[1] != '/') return text;
    path += 2 + strcspn(path + 2, "/?#");
    len = *path == '/' ? strcspn(path, "?#") : 0;
    if (len) {
        size_t left = aw__url_undot(path, len);
        memmove(path + left, path + len, strlen(path + len) + 1);
    }
    return text;
}

/* >>floor2 date  HTTP dates (RFC 9110 5.6.7) ----------------------------- */

static const char aw__date_days[] = "SunMonTueWedThuFriSat";
static const char aw__date_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* Days before each month of a year that begins in March: the leap day is its
   last, so it disturbs no other month. */
static const uint16_t aw__date_before[] = { 0, 31, 61, 92, 122, 153, 184, 214,
                                            245, 275, 306, 337 };

enum { AW__DATE_EPOCH = 719468 };   /* days from 1 March 0000 to 1970 */

/* Seconds since 1970 of a date that exists in the Gregorian calendar. */
static int64_t aw__date_seconds(int year, int month, int day, int second)
{
    int y = month > 2 ? year : year - 1;
    int days = 365 * y + y / 4 - y / 100 + y / 400 - AW__DATE_EPOCH +
        aw__date_before[(month + 9) % 12] + day - 1;
    return (int64_t)days * 86400 + second;
}

/* Splits days since 1 March 0000; year, month 1..12 and day 1..31. */
static void aw__date_civil(int days, int *year, int *month, int *day)
{
    int eras = days / 146097, centuries, fours, years, m = 11;
    days -= eras * 146097;
    /* The last day of a cycle is the leap day: no cycle of its own. */
    centuries = days / 36524 < 4 ? days / 36524 : 3;
    days -= centuries * 36524;
    fours = days / 1461;
    days -= fours * 1461;
    years = days / 365 < 4 ? days / 365 : 3;
    days -= years * 365;
    while (aw__date_before[m] > days) m--;
    *year = eras * 400 + centuries * 100 + fours * 4 + years + (m >= 10);
    *month = (m + 2) % 12 + 1;
    *day = days - aw__date_before[m] + 1;
}

/* n decimal digits; returns what follows. */
static char *aw__date_put(char *to, int value, int n)
{
    int i;
    for (i = n; i--; value /= 10) to[i] = (char)('0' + value % 10);
    return to + n;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL. A time outside the years 1..9999
   is moved to the nearest second within. */
static void aw__date_format(char out[30], int64_t t)
{
    const int64_t first = -INT64_C(62135596800), last = INT64_C(253402300799);
    int days, second, year, month, day;
    char *p = out;
    t = t < first ? first : t > last ? last : t;
    days = (int)((t - first) / 86400) + 306;    /* 1 January 0001 */
    second = (int)((t - first) % 86400);
    aw__date_civil(days, &year, &month, &day);
    memcpy(p, aw__date_days + (days + 3) % 7 * 3, 3);
    memcpy(p + 3, ", ", 2);
    p = aw__date_put(p + 5, day, 2);
    *p++ = ' ';
    memcpy(p, aw__date_months + (month - 1) * 3, 3);
    p[3] = ' ';
    p = aw__date_put(p + 4, year, 4);
    *p = ' ';
    p = aw__date_put(p + 1, second / 3600, 2);
    *p = ':';
    p = aw__date_put(p + 1, second / 60 % 60, 2);
    *p = ':';
    p = aw__date_put(p + 1, second % 60, 2);
    memcpy(p, " GMT", 5);
}

/* The index of the three letters at p in a list of names, or -1. */
static int aw__date_name(const char *p, const char *names)
{
    int i;
    for (i = 0; names[3 * i]; i++)
        if (memcmp(p, names + 3 * i, 3) == 0) return i;
    return -1;
}

/* A month by its first three letters, in any case: 1 to 12, or 0. */
static int aw__date_month(const char *p)
{
    char three[4] = "";
    const char *name = aw__date_months;
    int month;
    for (month = 1; *name; month++, name += 3)
        if (aw__slice_ieq(aw__slice(p, 3),
                          (const char *)memcpy(three, name, 3)))
            return month;
    return 0;
}

/* Whether text has this shape: # a digit, * anything, else itself. */
static bool aw__date_shape(const char *p, const char *shape)
{
    for (; *shape; p++, shape++) {
        if (*shape == '*') continue;
        if (*shape == '#' ? !aw__is_digit(*p) : *p != *shape) return false;
    }
    return true;
}

/* A number of n digits; a space counts as 0 (asctime has "Nov  6"). */
static int aw__date_number(const char *p, int n)
{
    int value = 0;
    for (; n--; p++) value = value * 10 + (*p == ' ' ? 0 : *p - '0');
    return value;
}

/* Checks the parts and puts them together; clock is hh:mm:ss. */
static int aw__date_join(int year, const char *month, const char *day,
                         const char *clock, int64_t *out)
{
    int m = aw__date_name(month, aw__date_months) + 1;
    int d = aw__date_number(day, 2);
    int hour = aw__date_number(clock, 2);
    int minute = aw__date_number(clock + 3, 2);
    int second = aw__date_number(clock + 6, 2);
    int64_t t;
    char back[30];
    if (!m || !year || hour > 23 || minute > 59 || second > 60)
        return AW_EBADMSG;                      /* 60: a leap second */
    if (*day != ' ' && !aw__is_digit(*day)) return AW_EBADMSG;
    t = aw__date_seconds(year, m, d, hour * 3600 + minute * 60 + second);
    /* 31 April comes back as another day. */
    aw__date_format(back, t - second);
    if (aw__date_number(back + 5, 2) != d) return AW_EBADMSG;
    *out = t;
    return AW_OK;
}

/* Reads any of the three forms that RFC 9110 5.6.7 asks for. The day of the
   week must be one, but may be wrong. AW_OK or AW_EBADMSG. */
static int aw__date_parse(const char *p, size_t n, int64_t *out)
{
    int year;
    if (n < 24 || aw__date_name(p, aw__date_days) < 0) return AW_EBADMSG;
    if (n == 29 && aw__date_shape(p, "***, ## *** #### ##:##:## GMT"))
        return aw__date_join(aw__date_number(p + 12, 4), p + 8, p + 5, p + 17,
                             out);
    if (n == 24 && aw__date_shape(p, "*** *** *# ##:##:## ####"))
        return aw__date_join(aw__date_number(p + 20, 4), p + 4, p + 8, p + 11,
                             out);
    if (n < 30 || n > 33) return AW_EBADMSG;    /* Sunday to Wednesday */
    p += n - 27;
    if (!aw__date_shape(p, "day, ##-***-## ##:##:## GMT")) return AW_EBADMSG;
    /* "More than 50 years in the future" needs a clock, and this has none. */
    year = aw__date_number(p + 12, 2);
    year += year < 70 ? 2000 : 1900;
    return aw__date_join(year, p + 8, p + 5, p + 15, out);
}

/* >>floor2 conditional  Validators, ranges, codings (RFC 9110) ------------ */

/* What conditions look at in the representation that a request selects. */
typedef struct aw__validators {
    const char *etag;           /* as it is sent, "x" or W/"x"; NULL: none */
    int64_t modified;           /* seconds since 1970; 0: not known */
} aw__validators;

static aw_slice aw__head_value(const char *base, const aw__head *h, int i)
{
    return aw__slice(base + h->fields[i].value, h->fields[i].value_len);
}

/* The value of a field that is no list, so that a second one spoils it. */
static bool aw__head_only(const char *base, const aw__head *h,
                          const char *name, aw_slice *value)
{
    int i = aw__head_find(base, h, name, 0);
    if (i < 0 || aw__head_find(base, h, name, (size_t)i + 1) >= 0) return false;
    *value = aw__head_value(base, h, i);
    return true;
}

/* A tag out of what tells versions apart: FNV-1a, from 0 on. No secret is
   needed, and 64 bits do not meet by chance. */
static uint64_t aw__etag_hash(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data, *end = p + n;
    if (!hash) hash = UINT64_C(14695981039346656037);
    while (p < end) hash = (hash ^ *p++) * UINT64_C(1099511628211);
    return hash;
}

enum { AW__ETAG_TEXT = 20 };

static void aw__etag_format(char out[AW__ETAG_TEXT], uint64_t hash)
{
    aw__print(out, AW__ETAG_TEXT, "\"%08lx%08lx\"", (unsigned long)(hash >> 32),
              (unsigned long)(hash & 0xffffffff));
}

/* Reads an entity tag (8.8.3): `tag` is what stands between its quotes, which
   may hold a comma. What follows it, or NULL. */
static const char *aw__etag_read(const char *p, const char *end, aw_slice *tag,
                                 bool *weak)
{
    const char *q;
    *weak = end - p > 2 && p[0] == 'W' && p[1] == '/';
    if (*weak) p += 2;
    if (p == end || *p++ != '"') return NULL;
    for (q = p; q < end && *q != '"'; q++)
        if ((unsigned char)*q <= ' ' || *q == 127) return NULL;
    *tag = aw__slice(p, (size_t)(q - p));
    return q < end ? q + 1 : NULL;
}

/* Compares with a tag of ours (8.8.3.2). Strong: neither may be weak. */
static bool aw__etag_same(aw_slice tag, bool weak, const char *etag,
                          bool strong)
{
    aw_slice own;
    bool own_weak;
    if (!etag || !aw__etag_read(etag, etag + strlen(etag), &own, &own_weak))
        return false;
    if (strong && (weak || own_weak)) return false;
    return tag.n == own.n && memcmp(tag.p, own.p, own.n) == 0;
}

typedef enum aw__answer_to {
    AW__NO, AW__YES, AW__ABSENT, AW__UNREADABLE
} aw__answer_to;

/* Whether the tag is in a list, "*" or #entity-tag. */
static aw__answer_to aw__etag_listed(aw_slice list, const char *etag,
                                     bool strong)
{
    const char *p = list.p, *end = p + list.n;
    if (list.n == 1 && *p == '*') return AW__YES;
    for (;;) {
        aw_slice tag;
        bool weak;
        while (p < end && (*p == ' ' || *p == '\t' || *p == ',')) p++;
        if (p == end) return AW__NO;
        p = aw__etag_read(p, end, &tag, &weak);
        if (!p) return AW__UNREADABLE;
        if (aw__etag_same(tag, weak, etag, strong)) return AW__YES;
        while (p < end && (*p == ' ' || *p == '\t')) p++;
        if (p < end && *p != ',') return AW__UNREADABLE;
    }
}

/* The same over all fields of that name. */
static aw__answer_to aw__etag_matches(const char *base, const aw__head *h,
                                      const char *name, const char *etag,
                                      bool strong)
{
    aw__answer_to all = AW__ABSENT;
    int i = -1;
    while ((i = aw__head_find(base, h, name, (size_t)(i + 1))) >= 0) {
        aw__answer_to one = aw__etag_listed(aw__head_value(base, h, i), etag,
                                            strong);
        if (one == AW__YES) return one;
        if (all != AW__UNREADABLE) all = one;
    }
    return all;
}

/* True if the field is there and a date to compare with; else it does not
   count (13.1.3, 13.1.4), nor does it when no date of ours is known. */
static bool aw__since(const char *base, const aw__head *h, const char *name,
                      const aw__validators *v, int64_t *date)
{
    aw_slice s;
    return v->modified && aw__head_only(base, h, name, &s) &&
        aw__date_parse(s.p, s.n, date) == AW_OK;
}

/* Judges a request whose answer would be a success, in the order of 13.2.2:
   0 go on, 304 or 412. A list that cannot be read is no reason to act: what
   would change something is refused, and who only reads gets it all. */
static int aw__preconditions(const char *base, const aw__head *h,
                             const aw__validators *v)
{
    const bool reads = h->verb == AW__GET || h->verb == AW__HEAD;
    int64_t date;
    aw__answer_to found = aw__etag_matches(base, h, "If-Match", v->etag, true);
    if (found == AW__NO || found == AW__UNREADABLE) return 412;
    if (found == AW__ABSENT && v->modified &&
        aw__since(base, h, "If-Unmodified-Since", v, &date) &&
        v->modified > date) return 412;
    found = aw__etag_matches(base, h, "If-None-Match", v->etag, false);
    if (found == AW__YES) return reads ? 304 : 412;
    if (found == AW__UNREADABLE) return reads ? 0 : 412;
    if (found == AW__ABSENT && reads &&
        aw__since(base, h, "If-Modified-Since", v, &date) &&
        v->modified <= date) return 304;
    return 0;
}

/* Whether the client has a part of just this representation (13.1.5). A date
   counts when it is exactly ours: a client that got it within the second that
   it names must not send it. */
static bool aw__if_range(const char *base, const aw__head *h,
                         const aw__validators *v)
{
    aw_slice s, tag;
    const char *end;
    int64_t date;
    bool weak;
    if (aw__head_find(base, h, "If-Range", 0) < 0) return true;
    if (!aw__head_only(base, h, "If-Range", &s)) return false;
    end = aw__etag_read(s.p, s.p + s.n, &tag, &weak);
    if (end)
        return end == s.p + s.n && aw__etag_same(tag, weak, v->etag, true);
    return v->modified && aw__date_parse(s.p, s.n, &date) == AW_OK &&
        date == v->modified;
}

typedef struct aw__range {
    int64_t at, n;
} aw__range;

/* Many ranges cost us more than they save (14.2, 17.15), and the head of a
   part is about as long as the gap. */
enum { AW__RANGES_MAX = 32, AW__RANGE_GAP = 80 };

/* Digits, as many as there are; what does not fit is the largest. -1: none. */
static int64_t aw__range_number(const char **p, const char *end)
{
    int64_t v = *p < end && aw__is_digit(**p) ? 0 : -1;
    for (; *p < end && aw__is_digit(**p); ++*p) {
        int digit = **p - '0';
        v = v > (INT64_MAX - digit) / 10 ? INT64_MAX : v * 10 + digit;
    }
    return v;
}

/* first-last, first- or -suffix (14.1.1) of a representation of this size.
   False: none of these. r->at < 0: not satisfiable. */
static bool aw__range_read(aw_slice s, int64_t size, aw__range *r)
{
    const char *p = s.p, *end = p + s.n;
    int64_t first = aw__range_number(&p, end), last;
    if (p == end || *p++ != '-') return false;
    last = aw__range_number(&p, end);
    if (p != end || (first < 0 && last < 0)) return false;
    if (first < 0) {
        r->n = last < size ? last : size;
        r->at = last ? size - r->n : -1;
        return true;
    }
    if (last >= 0 && last < first) return false;
    if (last < 0 || last >= size) last = size - 1;
    r->at = first < size ? first : -1;
    r->n = last - first + 1;
    return true;
}

static bool aw__range_near(const aw__range *a, const aw__range *b)
{
    return a->at - (b->at + b->n) <= AW__RANGE_GAP &&
        b->at - (a->at + a->n) <= AW__RANGE_GAP;
}

/* Adds one to ranges none of which is near another, united with those it is
   near, in the place of the first of them (15.3.7.2). Returns how many they
   are then. Uniting brings it near no other: that one would have been near
   to what it was united with. */
static int aw__range_add(aw__range *all, int count, aw__range r)
{
    int i, n = 0, place = -1;
    for (i = 0; i < count; i++) {
        const aw__range one = all[i];
        const int64_t end = r.at + r.n, one_end = one.at + one.n;
        if (!aw__range_near(&one, &r)) {
            all[n++] = one;
            continue;
        }
        if (place < 0) place = n++;
        if (one.at < r.at) r.at = one.at;
        r.n = (one_end > end ? one_end : end) - r.at;
    }
    all[place < 0 ? n++ : place] = r;
    return n;
}

/* What a Range field asks of `size` bytes (14.2): how many ranges, disjoint,
   in the order they were asked for; 0: it does not count; AW_HTTP(416). */
static int aw__ranges_read(aw_slice field, int64_t size,
                           aw__range out[AW__RANGES_MAX])
{
    aw_slice item;
    int n = 0, asked = 0;
    if (field.n < 6 || !aw__slice_ieq(aw__slice(field.p, 6), "bytes="))
        return 0;
    field = aw__slice(field.p + 6, field.n - 6);
    while (aw__http_list(&field, &item)) {
        aw__range r;
        if (++asked > AW__RANGES_MAX) return 0;
        if (!aw__range_read(item, size, &r)) return 0;
        if (r.at < 0) continue;
        if (r.n == 0) return 0;     /* the end of nothing: all of it */
        n = aw__range_add(out, n, r);
    }
    return n || !asked ? n : AW_HTTP(416);
}

/* The same for a request, whose preconditions hold. */
static int aw__ranges(const char *base, const aw__head *h,
                      const aw__validators *v, int64_t size,
                      aw__range out[AW__RANGES_MAX])
{
    aw_slice field;
    if (h->verb != AW__GET) return 0;           /* 14.2 */
    if (!aw__head_only(base, h, "Range", &field)) return 0;
    if (!aw__if_range(base, h, v)) return 0;
    return aw__ranges_read(field, size, out);
}

/* 0 to 1, with three decimals at most (12.4.2), as 0 to 1000; -1: bad. */
static int aw__qvalue(const char *p, const char *end)
{
    int q, unit = 100;
    if (p == end || (*p != '0' && *p != '1')) return -1;
    q = (*p++ - '0') * 1000;
    if (p < end && *p++ != '.') return -1;
    for (; p < end && unit; unit /= 10, p++) {
        if (!aw__is_digit(*p)) return -1;
        q += (*p - '0') * unit;
    }
    return p == end && q <= 1000 ? q : -1;
}

/* Splits "name;q=0.5"; the weight, 1000 when there is none, 0 for a bad one,
   so that what cannot be read is not sent. */
static int aw__weighted(aw_slice item, aw_slice *name)
{
    const char *semicolon = (const char *)memchr(item.p, ';', item.n);
    aw_slice q;
    int weight;
    *name = item;
    if (!semicolon) return 1000;
    name->n = (size_t)(semicolon - item.p);
    *name = aw__slice_trim(*name);
    q = aw__slice_trim(aw__slice(semicolon + 1, item.n - (size_t)(semicolon -
                                                                  item.p) - 1));
    if (q.n < 2 || !aw__slice_ieq(aw__slice(q.p, 2), "q=")) return 0;
    weight = aw__qvalue(q.p + 2, q.p + q.n);
    return weight < 0 ? 0 : weight;
}

/* How much a client wants this content coding (12.5.3), 0 not at all to 1000.
   One that says nothing gets none: it may be too simple to decode. */
static int aw__coding_weight(const char *base, const aw__head *h,
                             const char *coding)
{
    int i = -1, any = 0;
    while ((i = aw__head_find(base, h, "Accept-Encoding",
                              (size_t)(i + 1))) >= 0) {
        aw_slice list = aw__head_value(base, h, i), item, name;
        while (aw__http_list(&list, &item)) {
            int weight = aw__weighted(item, &name);
            if (aw__slice_ieq(name, coding)) return weight;
            if (name.n == 1 && *name.p == '*') any = weight;
        }
    }
    return any;
}

/* The media type of a file, by the end of its name. Sorted by extension.
   JavaScript is text/javascript (RFC 9239). */
typedef struct aw__type {
    const char *extension, *type;
} aw__type;

static const aw__type aw__types[] = {
    {"aac", "audio/aac"}, {"avif", "image/avif"}, {"bmp", "image/bmp"},
    {"css", "text/css; charset=utf-8"}, {"csv", "text/csv; charset=utf-8"},
    {"epub", "application/epub+zip"}, {"flac", "audio/flac"},
    {"gif", "image/gif"}, {"gz", "application/gzip"},
    {"htm", "text/html; charset=utf-8"}, {"html", "text/html; charset=utf-8"},
    {"ico", "image/x-icon"}, {"ics", "text/calendar; charset=utf-8"},
    {"jpeg", "image/jpeg"}, {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"}, {"json", "application/json"},
    {"jsonld", "application/ld+json"}, {"m4a", "audio/mp4"},
    {"map", "application/json"}, {"md", "text/markdown; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"}, {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"}, {"mp4", "video/mp4"}, {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"}, {"ogv", "video/ogg"}, {"opus", "audio/ogg"},
    {"otf", "font/otf"}, {"pdf", "application/pdf"}, {"png", "image/png"},
    {"rtf", "application/rtf"}, {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"}, {"tif", "image/tiff"},
    {"tiff", "image/tiff"}, {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"vtt", "text/vtt; charset=utf-8"}, {"wasm", "application/wasm"},
    {"wav", "audio/wav"}, {"weba", "audio/webm"}, {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"}, {"webp", "image/webp"},
    {"woff", "font/woff"}, {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"}, {"xml", "application/xml"},
    {"zip", "application/zip"}
};

/* Compares ASCII in any case with lower-case text, as strcmp does. */
static int aw__compare_lower(const char *p, const char *lower)
{
    while (*p && aw__ascii_lower(*p) == *lower) p++, lower++;
    return (unsigned char)aw__ascii_lower(*p) - (unsigned char)*lower;
}

static const char *aw__type_of(const char *name)
{
    size_t low = 0, high = sizeof aw__types / sizeof *aw__types;
    const char *dot = strrchr(name, '.');
    while (dot && low < high) {
        size_t i = low + (high - low) / 2;
        int order = aw__compare_lower(dot + 1, aw__types[i].extension);
        if (order == 0) return aw__types[i].type;
        if (order < 0) high = i;
        else low = i + 1;
    }
    return "application/octet-stream";
}

/* What is text in some way, and worth a compressed copy. */
static bool aw__type_compresses(const char *type)
{
    return strncmp(type, "text/", 5) == 0 || strstr(type, "json") ||
        strstr(type, "xml") || strstr(type, "wasm");
}

typedef struct aw__coding {
    const char *name, *suffix;  /* of the file next to the one asked for */
} aw__coding;

/* The codings that a client likes no less than none, best first; of equals
   the smaller. Returns how many. */
static int aw__codings(const char *base, const aw__head *h,
                       const aw__coding *out[2])
{
    static const aw__coding all[2] = {{"br", ".br"}, {"gzip", ".gz"}};
    int none = aw__coding_weight(base, h, "identity"), i, n = 0, weight[2];
    for (i = 0; i < 2; i++) {
        weight[i] = aw__coding_weight(base, h, all[i].name);
        if (weight[i] > 0 && weight[i] >= none) out[n++] = &all[i];
    }
    if (n == 2 && weight[1] > weight[0]) {
        out[0] = &all[1];
        out[1] = &all[0];
    }
    return n;
}

/* A name exactly (RFC 8187); no byte of it is a control or separates paths. */
static void aw__put_name(aw__buf *b, const char *name)
{
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        char escaped[3];
        if (c < ' ' || c == 127 || c == '/' || c == '\\') c = '_';
        escaped[0] = (char)c;
        if (aw__http_is((char)c, AW__C_HOST)) aw__buf_add(b, escaped, 1);
        else aw__buf_add(b, escaped, aw__url_put(escaped, c));
    }
}

/* "attachment; filename=...", NUL-terminated (RFC 6266): first in ASCII, with
   an underscore for each character that some browser would misread; where
   that changed it, exactly, too. */
static void aw__put_disposition(aw__buf *b, const char *name)
{
    const size_t n = strlen(name);
    bool exact = true;
    size_t i;
    aw__buf_add(b, "attachment; filename=\"", 22);
    for (i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)name[i];
        const bool plain = c >= ' ' && c < 127 && !strchr("\"\\%/", c);
        if (plain) aw__buf_add(b, name + i, 1);
        else if ((c & 0xc0) != 0x80) aw__buf_add(b, "_", 1);
        exact = exact && plain;
    }
    aw__buf_add(b, "\"", 1);
    if (!exact && aw__utf8_valid(name, n) == n) {
        aw__buf_add(b, "; filename*=UTF-8''", 19);
        aw__put_name(b, name);
    }
    aw__buf_add(b, "", 1);
}

/* >>floor2 address  Numeric addresses and networks ------------------------- */

typedef struct aw__address {
    uint8_t bytes[16];          /* the first four, when family is 4 */
    uint32_t scope;             /* RFC 4007: which link, of a link-local one */
    uint16_t port;
    uint8_t family, spare;      /* 4, 6, AW__UNIX; 0: none */
} aw__address;

enum { AW__UNIX = 1 };          /* as a family: of a UNIX socket, unnamed */

/* The address of every interface. */
static aw__address aw__address_any(int family, int port)
{
    aw__address a;
    memset(&a, 0, sizeof a);
    a.family = (uint8_t)family;
    a.port = (uint16_t)port;
    return a;
}

static aw__address aw__address_loopback(int family, int port)
{
    aw__address a = aw__address_any(family, port);
    a.bytes[family == 4 ? 3 : 15] = 1;
    if (family == 4) a.bytes[0] = 127;
    return a;
}

/* Four decimals, without leading zeros: elsewhere those are octal. */
static bool aw__address_parse4(const char *p, uint8_t to[4])
{
    int i;
    for (i = 0; i < 4; i++) {
        const char *start = p;
        unsigned v = 0;
        while (*p >= '0' && *p <= '9' && p - start < 3)
            v = v * 10 + (unsigned)(*p++ - '0');
        if (p == start || v > 255 || (*start == '0' && p - start > 1) ||
            *p != (i < 3 ? '.' : 0)) return false;
        to[i] = (uint8_t)v;
        p++;
    }
    return true;
}

/* RFC 4291 2.2: eight groups, of which :: stands for one or more that are 0;
   the last two may be written as an IPv4 address. */
static bool aw__address_parse6(const char *p, uint8_t to[16])
{
    int n = 0, gap = -1;
    if (*p == ':' && *++p != ':') return false;
    for (;; p++) {
        const char *start;
        unsigned v = 0;
        if (*p == ':') {
            if (gap >= 0) return false;
            gap = n;
            if (!*++p) break;
        }
        for (start = p; aw__hex_digit(*p) >= 0 && p - start < 4; p++)
            v = v << 4 | (unsigned)aw__hex_digit(*p);
        if (p == start || n == 16) return false;
        if (*p == '.') {
            if (n > 12 || !aw__address_parse4(start, to + n)) return false;
            n += 4;
            break;
        }
        to[n++] = (uint8_t)(v >> 8);
        to[n++] = (uint8_t)v;
        if (!*p) break;
        if (*p != ':') return false;
    }
    if (gap < 0 || n == 16) return gap < 0 && n == 16;
    memmove(to + 16 - (n - gap), to + gap, (size_t)(n - gap));
    memset(to + gap, 0, (size_t)(16 - n));
    return true;
}

/* A numeric address, without brackets. False: it is none. */
static bool aw__address_parse(const char *text, int port, aw__address *a)
{
    *a = aw__address_any(4, port);
    if (aw__address_parse4(text, a->bytes)) return true;
    *a = aw__address_any(6, port);
    return aw__address_parse6(text, a->bytes);
}

static char *aw__address_put4(char *to, const uint8_t *p)
{
    int i;
    for (i = 0; i < 4; i++) {
        if (i) *to++ = '.';
        to = aw__put_number(to, p[i]);
    }
    return to;
}

/* RFC 5952: the longest run of groups that are 0, of two at least and the first
   of equal ones, is "::". */
static char *aw__address_put6(char *to, const uint8_t *p)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    const bool dotted = memcmp(p, mapped, 12) == 0;
    int at, gap = 16, end = 18, zeros = 0;
    for (at = 0; at < (dotted ? 12 : 16); at += 2) {
        zeros = p[at] | p[at + 1] ? 0 : zeros + 2;
        if (zeros > end - gap) {
            gap = at + 2 - zeros;
            end = at + 2;
        }
    }
    for (at = 0; at < 16; at += 2) {
        if (at == gap) {
            *to++ = ':';
            at = end;
            if (at == 16) *to++ = ':';
            if (at == 16) break;
        }
        if (at) *to++ = ':';
        if (dotted && at == 12) return aw__address_put4(to, p + 12);
        to = aw__put_hex(to, (unsigned)(p[at] << 8 | p[at + 1]));
    }
    return to;
}

/* The number only, without its port; text has INET6_ADDRSTRLEN bytes, of which
   the result is the end. No NUL. */
static char *aw__address_put(char *text, const aw__address *a)
{
    return a->family == 6 ? aw__address_put6(text, a->bytes)
        : aw__address_put4(text, a->bytes);
}

/* ::ffff:192.0.2.1 is 192.0.2.1 (RFC 4291 2.5.5.2): in one form only, or a
   rule about the one could be passed by with the other. */
static void aw__address_unmap(aw__address *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    if (a->family != 6 || memcmp(a->bytes, mapped, 12) != 0) return;
    memcpy(a->bytes, a->bytes + 12, 4);
    memset(a->bytes + 4, 0, 12);
    a->scope = 0;
    a->family = 4;
}

/* The same of text that does not end with NUL, for comparing. */
static bool aw__address_read(aw_slice text, aw__address *a)
{
    char copy[INET6_ADDRSTRLEN];
    if (!text.n || text.n >= sizeof copy || memchr(text.p, 0, text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (!aw__address_parse(copy, 0, a)) return false;
    aw__address_unmap(a);
    return true;
}

/* Takes the next word off a list that blanks separate. */
static bool aw__word(aw_slice *list, aw_slice *word)
{
    const char *p = list->p, *const end = p + list->n;
    while (p < end && (unsigned char)*p <= ' ') p++;
    word->p = p;
    while (p < end && (unsigned char)*p > ' ') p++;
    word->n = (size_t)(p - word->p);
    *list = aw__slice(p, (size_t)(end - p));
    return word->n > 0;
}

/* A network: the addresses whose first bits are those of `at`. */
typedef struct aw__net {
    aw__address at;
    unsigned bits;
} aw__net;

typedef struct aw__nets {
    aw__net *p;
    size_t n;
} aw__nets;

static bool aw__net_has(const aw__net *net, const aw__address *a)
{
    const size_t whole = net->bits / 8;
    const unsigned rest = net->bits % 8;
    if (a->family != net->at.family) return false;
    if (memcmp(a->bytes, net->at.bytes, whole) != 0) return false;
    return !rest || (a->bytes[whole] ^ net->at.bytes[whole]) >> (8 - rest) == 0;
}

static bool aw__nets_have(const aw__nets *nets, const aw__address *a)
{
    size_t i;
    for (i = 0; i < nets->n; i++)
        if (aw__net_has(&nets->p[i], a)) return true;
    return false;
}

/* Reads "10.0.0.0/8", "2001:db8::1" or "unix" (RFC 4632 3.1, RFC 4291 2.3).
   NULL, or what is wrong. A bit set behind the prefix is a slip of the pen:
   which of two networks was meant? */
static const char *aw__net_read(aw_slice text, aw__net *net)
{
    const char *slash = (const char *)memchr(text.p, '/', text.n);
    const aw_slice host = aw__slice(text.p, slash ? (size_t)(slash - text.p)
                                                  : text.n);
    unsigned most, i;
    net->at = aw__address_any(AW__UNIX, 0);
    net->bits = 0;
    if (aw__slice_ieq(text, "unix")) return NULL;
    if (!aw__address_read(host, &net->at))
        return "is no IPv4 or IPv6 address, and not \"unix\"";
    if (slash && net->at.family == 4 && memchr(host.p, ':', host.n))
        return "is a network of IPv4 addresses: write it as one";
    net->bits = most = net->at.family == 4 ? 32 : 128;
    if (slash) {
        const int bits = aw__url_port(slash + 1, text.p + text.n);
        if (bits < 0) return "needs a number of bits behind the slash";
        if ((unsigned)bits > most) return "has not that many bits";
        net->bits = (unsigned)bits;
    }
    for (i = net->bits; i < most; i++)
        if (net->at.bytes[i / 8] >> (7 - i % 8) & 1)
            return "has bits set behind its prefix";
    return NULL;
}

/* >>floor2 forwarded  What proxies say of the client (RFC 7239) ------------ */

/* Each proxy adds, on the right, whom it was called by. So a list is believed
   from the right for as long as trusted proxies wrote it: the first address
   that is not one of theirs is the client, and what is left of it could be
   anybody's invention. If all are trusted it is the leftmost. */

typedef struct aw__forwarded {
    aw_slice node;              /* the client as it stands there; .n 0: none */
    aw__address client;         /* family 0: node is hidden, "unknown", none */
    const char *proto;          /* "http", "https"; NULL: unsaid */
    aw_slice host;              /* .n 0: unsaid */
} aw__forwarded;

/* Reads a node (RFC 7239 6): an address, "unknown" or "_hidden", perhaps with
   a port. `loose`: as X-Forwarded-For has it, IPv6 without brackets. */
static bool aw__forwarded_node(aw_slice text, bool loose, aw__forwarded *f)
{
    const char *p = text.p, *end = p + text.n, *q;
    f->client = aw__address_any(0, 0);
    f->node = text;
    if (!text.n) return false;
    if (loose && aw__address_read(text, &f->client)) return true;
    q = (const char *)memchr(p, *p == '[' ? ']' : ':', text.n);
    if (*p == '[') {
        f->node = aw__slice(p + 1, q ? (size_t)(q - p) - 1 : 0);
        if (!memchr(f->node.p, ':', f->node.n)) return false;
        q++;
    } else {
        if (!q) q = end;
        f->node = aw__slice(p, (size_t)(q - p));
    }
    if (q < end) {              /* node-port, 6.3 */
        if (*q++ != ':' || q == end) return false;
        if (*q != '_' && aw__url_port(q, end) < 0) return false;
        if (aw__http_span(q, end, AW__C_HOST) != end) return false;
    }
    if (aw__address_read(f->node, &f->client)) return true;
    f->client = aw__address_any(0, 0);
    p = f->node.p;              /* 6.2 and 6.3: _ and letters, digits, . _ - */
    return aw__slice_ieq(f->node, "unknown") ||
        (*p == '_' && f->node.n > 1 && !memchr(p, '~', f->node.n) &&
         aw__http_span(p, p + f->node.n, AW__C_HOST) == p + f->node.n);
}

/* The scheme of a page behind it; proxies also name WebSockets'. */
static bool aw__forwarded_proto(aw_slice text, aw__forwarded *f)
{
    if (aw__slice_ieq(text, "https") || aw__slice_ieq(text, "wss"))
        f->proto = "https";
    else if (aw__slice_ieq(text, "http") || aw__slice_ieq(text, "ws"))
        f->proto = "http";
    else return false;
    return true;
}

static bool aw__forwarded_host(aw_slice text, aw__forwarded *f)
{
    f->host = text;
    return text.n && aw__http_host(text.p, text.p, text.p + text.n);
}

/* A value behind '=': a token, or a string in quotes, whose raw inside it
   gives (RFC 9110 5.6.4). Returns its end; NULL: it is neither. */
static const char *aw__forwarded_value(const char *p, const char *end,
                                       aw_slice *value)
{
    const char *q = aw__http_span(p, end, AW__C_TOKEN);
    *value = aw__slice(p, (size_t)(q - p));
    if (q > p) return q;
    if (p == end || *p != '"') return NULL;
    for (q = ++p; q < end && *q != '"'; q++) {
        if (*q == '\\' && ++q == end) return NULL;
        if (!aw__http_is(*q, AW__C_VALUE)) return NULL;
    }
    if (q == end) return NULL;
    *value = aw__slice(p, (size_t)(q - p));
    return q + 1;
}

/* One name=value of an element into *f. A backslash in what is read here is
   refused: no address and no host needs one. No name comes twice (4). */
static bool aw__forwarded_pair(aw_slice name, aw_slice value, unsigned *seen,
                               aw__forwarded *f)
{
    static const char *const names[] = {"for", "proto", "host", "by"};
    unsigned i = 0;
    while (i < 4 && !aw__slice_ieq(name, names[i])) i++;
    if (i == 4) return true;    /* an extension: 5.5 */
    if (*seen >> i & 1) return false;
    *seen |= 1u << i;
    if (i == 0) return aw__forwarded_node(value, false, f);
    if (i == 1) return aw__forwarded_proto(value, f);
    return i == 3 || aw__forwarded_host(value, f);
}

static const char *aw__skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    return p;
}

/* Takes the next element off a Forwarded list: 1; 0: there are no more;
   AW_EBADMSG. Blanks beside a semicolon are not in the grammar, but common. */
static int aw__forwarded_next(aw_slice *in, aw__forwarded *f)
{
    const char *p = in->p, *const end = p + in->n, *q;
    unsigned seen = 0;
    aw_slice name, value = aw__slice(NULL, 0);
    memset(f, 0, sizeof *f);
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t')) p++;
    if (p == end) return 0;
    for (;;) {
        p = aw__skip_blanks(p, end);
        q = aw__http_span(p, end, AW__C_TOKEN);
        if (q > p) {
            name = aw__slice(p, (size_t)(q - p));
            p = q < end && *q == '=' ? aw__forwarded_value(q + 1, end, &value)
                                     : NULL;
            if (!p || !aw__forwarded_pair(name, value, &seen, f))
                return AW_EBADMSG;
            p = aw__skip_blanks(p, end);
        }
        if (p == end || *p == ',') break;
        if (*p++ != ';') return AW_EBADMSG;
    }
    *in = aw__slice(p, (size_t)(end - p));
    return 1;
}

/* Reads a whole Forwarded, its lines joined by ", ". 0, AW_EBADMSG: one quote
   too many in a forged element may swallow the true ones behind it, so a list
   with a fault anywhere says nothing. */
static int aw__forwarded_read(aw_slice list, const aw__nets *trusted,
                              aw__forwarded *f)
{
    aw__forwarded hop;
    bool first = true;
    int rc;
    memset(f, 0, sizeof *f);
    while ((rc = aw__forwarded_next(&list, &hop)) > 0) {
        if (first || !aw__nets_have(trusted, &hop.client)) *f = hop;
        first = false;
    }
    return rc;
}

/* The item that belongs to the at-th of n hops: a list is as long as theirs,
   or one proxy wrote it alone. False: it contradicts them. */
static bool aw__forwarded_pick(aw_slice list, size_t at, size_t n,
                               aw_slice *one)
{
    aw_slice item;
    size_t i;
    one->n = 0;
    for (i = 0; aw__http_list(&list, &item); i++)
        if (i == 0 || i == at) *one = item;
    return i <= 1 || i == n;
}

/* The same of X-Forwarded-For, -Proto and -Host; .n 0: not there. Commas
   cannot be hidden here, so only what is believed is judged. */
static int aw__forwarded_read_x(aw_slice from, aw_slice proto, aw_slice host,
                                const aw__nets *trusted, aw__forwarded *f)
{
    aw__forwarded hop;
    aw_slice item;
    size_t n = 0, at = 0;
    bool fine = true;
    memset(f, 0, sizeof *f);
    memset(&hop, 0, sizeof hop);
    for (; aw__http_list(&from, &item); n++) {
        const bool good = aw__forwarded_node(item, true, &hop);
        if (n && good && aw__nets_have(trusted, &hop.client)) continue;
        *f = hop;
        fine = good;
        at = n;
    }
    if (!aw__forwarded_pick(proto, at, n, &item)) return AW_EBADMSG;
    if (item.n && !aw__forwarded_proto(item, f)) return AW_EBADMSG;
    if (!aw__forwarded_pick(host, at, n, &item)) return AW_EBADMSG;
    if (item.n && !aw__forwarded_host(item, f)) return AW_EBADMSG;
    return fine ? 0 : AW_EBADMSG;
}

/* >>floor2 proxy protocol  PROXY, versions 1 and 2, as HAProxy speaks it --- */

/* A proxy that only passes bytes on says in front of them who called it. */
enum { AW__PROXY_LOCAL, AW__PROXY_UNKNOWN, AW__PROXY_CLIENT };
enum { AW__PROXY_V1_MOST = 107, AW__PROXY_V2_MOST = 4096 };

typedef struct aw__proxied {
    int who;                    /* the proxy itself, nobody knows, or... */
    aw__address client;         /* ...this one, AW__PROXY_CLIENT */
} aw__proxied;

/* The text up to the next space, which goes as well; *more: there was one. */
static aw_slice aw__proxy_word(aw_slice *in, bool *more)
{
    const char *space = in->n ? (const char *)memchr(in->p, ' ', in->n) : NULL;
    aw_slice word = aw__slice(in->p, space ? (size_t)(space - in->p) : in->n);
    *more = space != NULL;
    in->p += word.n + *more;
    in->n -= word.n + *more;
    return word;
}

static int aw__proxy_port(aw_slice w)
{
    return w.n > 1 && *w.p == '0' ? -1 : aw__url_port(w.p, w.p + w.n);
}

/* "TCP4 192.0.2.1 192.0.2.2 4711 80": what stands between PROXY and CRLF. */
static int aw__proxy_v1_line(aw_slice line, aw__proxied *to)
{
    bool more, six;
    aw_slice w = aw__proxy_word(&line, &more), ip[2];
    aw__address a;
    int i, port[2];
    memset(&a, 0, sizeof a);
    to->who = AW__PROXY_UNKNOWN;
    if (aw__slice_eq(w, "UNKNOWN")) return 0;
    six = aw__slice_eq(w, "TCP6");
    if (!six && !aw__slice_eq(w, "TCP4")) return AW_EBADMSG;
    for (i = 0; i < 2 && more; i++) ip[i] = aw__proxy_word(&line, &more);
    if (i < 2) return AW_EBADMSG;
    for (i = 0; i < 2 && more; i++)
        port[i] = aw__proxy_port(aw__proxy_word(&line, &more));
    if (i < 2 || more || port[0] < 0 || port[1] < 0) return AW_EBADMSG;
    for (i = 1; i >= 0; i--)
        if (!ip[i].n || six != (memchr(ip[i].p, ':', ip[i].n) != NULL) ||
            !aw__address_read(ip[i], &a)) return AW_EBADMSG;
    to->who = AW__PROXY_CLIENT;
    to->client = a;
    to->client.port = (uint16_t)port[0];
    return 0;
}

static int aw__proxy_v1(const char *p, size_t n, aw__proxied *to)
{
    const size_t most = AW__PROXY_V1_MOST, look = n < most ? n : most;
    const char *lf = (const char *)memchr(p, '\n', look);
    if (memcmp(p, "PROXY ", look < 6 ? look : 6) != 0) return AW_EBADMSG;
    if (!lf) return n < most ? AW_EAGAIN : AW_EBADMSG;
    if (lf[-1] != '\r') return AW_EBADMSG;
    if (aw__proxy_v1_line(aw__slice(p + 6, (size_t)(lf - p) - 7), to) < 0)
        return AW_EBADMSG;
    return (int)(lf + 1 - p);
}

/* CRC32c (RFC 3720 B.4), of what is mostly absent: bit by bit will do. */
static uint32_t aw__crc32c(uint32_t crc, const unsigned char *p, size_t n)
{
    int bit;
    for (; n; p++, n--) {
        crc ^= *p;
        for (bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return crc;
}

/* The extensions behind the addresses: {type, length, value}. Of interest is
   the checksum (type 3), of all with itself as zeros. */
static bool aw__proxy_extras(const unsigned char *b, size_t at, size_t n)
{
    static const unsigned char zeros[4] = {0, 0, 0, 0};
    bool checked = false;
    while (at < n) {
        const unsigned char *v = b + at + 3;
        size_t len = n - at < 3 ? n : (size_t)(b[at + 1] << 8 | b[at + 2]);
        if (n - at < 3 || n - at - 3 < len) return false;
        at += 3 + len;
        if (v[-3] == 3) {
            uint32_t crc = aw__crc32c(UINT32_MAX, b, (size_t)(v - b));
            if (len != 4 || checked) return false;
            crc = aw__crc32c(crc, zeros, 4);
            crc = ~aw__crc32c(crc, b + at, n - at);
            if (crc != ((uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 |
                        (uint32_t)v[2] << 8 | v[3])) return false;
            checked = true;
        }
    }
    return true;
}

/* Binary: 12 bytes signature, version and command, family and transport, how
   much follows; the addresses and ports of both ends; extensions. */
static int aw__proxy_v2(const unsigned char *b, size_t n, aw__proxied *to)
{
    static const uint8_t bytes[] = {0, 12, 36, 216};    /* of both ends */
    const unsigned family = n > 13 ? b[13] >> 4 : 0;
    size_t all, ip;
    if (memcmp(b, "\r\n\r\n\0\r\nQUIT\n", n < 12 ? n : 12) != 0)
        return AW_EBADMSG;
    if (n > 12 && (b[12] & 0xfe) != 0x20) return AW_EBADMSG;
    if (n > 13 && (family > 3 || (b[13] & 15) > 2)) return AW_EBADMSG;
    if (n < 16) return AW_EAGAIN;
    all = 16 + (size_t)(b[14] << 8 | b[15]);
    if (all > AW__PROXY_V2_MOST) return AW_EBADMSG;
    if (n < all) return AW_EAGAIN;
    to->who = b[12] & 1 ? AW__PROXY_UNKNOWN : AW__PROXY_LOCAL;
    if (to->who == AW__PROXY_LOCAL || family == 0) return (int)all;
    if (all < 16u + bytes[family]) return AW_EBADMSG;
    if (!aw__proxy_extras(b, 16u + bytes[family], all)) return AW_EBADMSG;
    to->who = AW__PROXY_CLIENT;
    to->client.family = family == 1 ? 4 : family == 2 ? 6 : AW__UNIX;
    if (family == 3) return (int)all;
    ip = family == 1 ? 4 : 16;
    memcpy(to->client.bytes, b + 16, ip);
    to->client.port = (uint16_t)(b[16 + 2 * ip] << 8 | b[17 + 2 * ip]);
    aw__address_unmap(&to->client);
    return (int)all;
}

/* Reads the header at p[0..n), n > 0: its length, AW_EAGAIN when it is not
   complete, AW_EBADMSG when it can be none. */
static int aw__proxy_header(const char *p, size_t n, aw__proxied *to)
{
    memset(to, 0, sizeof *to);
    return *p == 'P' ? aw__proxy_v1(p, n, to)
                     : aw__proxy_v2((const unsigned char *)p, n, to);
}

/* >>floor2 parameters  name=value behind a ; (RFC 9110 5.6.6) -------------- */

typedef struct aw__parameter {
    aw_slice name, value;       /* value: as it stands between the quotes */
    bool quoted;                /* it is for aw__unquote() then */
} aw__parameter;

/* Behind the closing quote of the quoted string that begins at p (RFC 9110
   5.6.4); NULL: it does not end, or holds a control character. */
static const char *aw__quoted_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\' && ++p == end) return NULL;
        if (!aw__http_is(*p, AW__C_VALUE)) return NULL;
    }
    return p < end ? p + 1 : NULL;
}

/* Takes the next parameter off what stands behind a media type or the like.
   Empty ones are passed over; = has no space around it. 1: here it is; 0: no
   more; AW_EBADMSG. */
static int aw__http_parameter(aw_slice *in, aw__parameter *found)
{
    const char *p = in->p, *end = in->p + in->n, *q;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p < end && *p != ';') return AW_EBADMSG;
    while (p < end && (*p == ';' || *p == ' ' || *p == '\t')) p++;
    if (p == end) return 0;
    q = aw__http_span(p, end, AW__C_TOKEN);
    if (q == p || q == end || *q != '=') return AW_EBADMSG;
    found->name = aw__slice(p, (size_t)(q - p));
    p = q + 1;
    found->quoted = p < end && *p == '"';
    q = found->quoted ? aw__quoted_end(p, end)
        : aw__http_span(p, end, AW__C_TOKEN);
    if (!q || q == p) return AW_EBADMSG;
    *in = aw__slice(q, (size_t)(end - q));
    if (found->quoted) p++, q--;
    found->value = aw__slice(p, (size_t)(q - p));
    return 1;
}

/* Takes the backslashes out of a quoted string; `to` may be its place. Returns
   the length. Not `every`: one that stands before neither a quote nor another
   one is meant, as in "C:\dir\file" of old browsers. */
static size_t aw__unquote(char *to, aw_slice s, bool every)
{
    size_t i, n = 0;
    for (i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n &&
            (every || s.p[i + 1] == '"' || s.p[i + 1] == '\\')) i++;
        to[n++] = s.p[i];
    }
    return n;
}

/* Splits "type/subtype; a=b" before its parameters. */
static aw_slice aw__media_type(aw_slice value, aw_slice *parameters)
{
    const char *end = value.p + value.n, *p = value.p;
    while (p < end && *p != ';' && *p != ' ' && *p != '\t') p++;
    *parameters = aw__slice(p, (size_t)(end - p));
    return aw__slice(value.p, (size_t)(p - value.p));
}

#ifndef ASYNCWEB_NO_FORMS
/* >>floor2 disposition  Content-Disposition (RFC 6266, 7578 4.2) ----------- */

typedef struct aw__disposition {
    aw_slice type, name, filename;      /* p NULL: it is not there */
} aw__disposition;

/* UTF-8'en'na%C3%AFve.txt (RFC 8187 3.2) into `to`, which may be its place.
   No other charset has to be understood (3.2.1); what is not UTF-8 behind the
   escapes, or holds NUL, is refused. */
static int aw__ext_value(char *to, aw_slice s, size_t *n)
{
    const char *a = (const char *)memchr(s.p, '\'', s.n), *b = NULL;
    const char *end = s.p + s.n;
    if (a) b = (const char *)memchr(a + 1, '\'', (size_t)(end - a) - 1);
    if (!b || !aw__slice_ieq(aw__slice(s.p, (size_t)(a - s.p)), "UTF-8"))
        return AW_EBADMSG;
    b++;
    if (aw__url_decode(to, b, (size_t)(end - b), false, n) < 0)
        return AW_EBADMSG;
    if (memchr(to, 0, *n) || aw__utf8_valid(to, *n) < *n) return AW_EBADMSG;
    return AW_OK;
}

/* Reads a field value p[0..n), without control characters, and decodes its
   parameters in place. A parameter that comes twice is refused (RFC 6266
   4.1); filename* goes before filename (4.3). AW_OK or AW_EBADMSG. */
static int aw__disposition_parse(char *p, size_t n, aw__disposition *d)
{
    aw_slice in, extended = aw__slice(NULL, 0), *to;
    aw__parameter got;
    int rc;
    memset(d, 0, sizeof *d);
    d->type = aw__media_type(aw__slice(p, n), &in);
    if (!aw__is_token(d->type.p, d->type.n)) return AW_EBADMSG;
    while ((rc = aw__http_parameter(&in, &got)) > 0) {
        char *at = p + (got.value.p - p);
        size_t len = got.value.n;
        if (aw__slice_ieq(got.name, "name")) to = &d->name;
        else if (aw__slice_ieq(got.name, "filename")) to = &d->filename;
        else if (aw__slice_ieq(got.name, "filename*")) to = &extended;
        else continue;
        if (to->p) return AW_EBADMSG;
        if (to == &extended) {
            if (got.quoted || aw__ext_value(at, got.value, &len) < 0)
                return AW_EBADMSG;
        } else if (got.quoted) {
            len = aw__unquote(at, got.value, false);
        }
        *to = aw__slice(at, len);
    }
    if (extended.p) d->filename = extended;
    return rc;
}

/* >>floor2 multipart  multipart/form-data (RFC 7578, RFC 2046 5.1) --------- */

/* A body is: preamble, delimiter, tail, head, content, delimiter, tail, ...,
   delimiter, "--", epilogue. A delimiter is CRLF "--" boundary at the begin-
   ning of a line, and its CRLF is no content. The tail is white space and a
   CRLF. Nothing is judged by where the input was split. */

enum { AW__BOUNDARY_MOST = 70 };        /* RFC 2046 5.1.1 */

typedef enum aw__multipart_state {
    AW__MP_PREAMBLE, AW__MP_CONTENT, AW__MP_TAIL, AW__MP_DASH, AW__MP_SPACE,
    AW__MP_LF, AW__MP_HEAD, AW__MP_CLOSED, AW__MP_LAST_LF, AW__MP_EPILOGUE
} aw__multipart_state;

/* What aw__multipart_next() has found. */
enum { AW__PART_BEGINS = 1, AW__PART_DATA, AW__PART_ENDS };

typedef struct aw__multipart {
    aw__buf head;               /* of the part; `part` points into it */
    aw__disposition part;       /* filename.p: it is a file */
    aw_slice type;              /* its Content-Type, raw; p NULL: none */
    size_t max_head, parts;     /* limits: bytes; parts still allowed */
    uint8_t state, n, matched;  /* matched: of the delimiter's n bytes... */
    uint8_t before;             /* ...of which so many are no content */
    char delimiter[4 + AW__BOUNDARY_MOST];
} aw__multipart;

/* RFC 2046 5.1.1: no space at the end, and bchars only. */
static bool aw__boundary_fits(const char *p, size_t n)
{
    size_t i;
    if (!n || n > AW__BOUNDARY_MOST || p[n - 1] == ' ') return false;
    for (i = 0; i < n; i++) {
        const char c = p[i];
        bool alnum = aw__is_digit(c) ||
            (aw__ascii_lower(c) >= 'a' && aw__ascii_lower(c) <= 'z');
        if (!alnum && (!c || !strchr("'()+_,-./:=? ", c))) return false;
    }
    return true;
}

/* Begins to read a body of this Content-Type; the limits and m->head.mem are
   set then. 1; 0: it is no multipart/form-data; AW_EBADMSG: without a good
   boundary. */
static int aw__multipart_init(aw__multipart *m, aw_slice content_type)
{
    char boundary[2 * AW__BOUNDARY_MOST];
    aw_slice in;
    aw__parameter got;
    size_t n = 0;
    int rc;
    if (!aw__slice_ieq(aw__media_type(content_type, &in),
                       "multipart/form-data")) return 0;
    memset(m, 0, sizeof *m);
    while ((rc = aw__http_parameter(&in, &got)) > 0) {
        if (!aw__slice_ieq(got.name, "boundary")) continue;
        if (n || got.value.n > sizeof boundary) return AW_EBADMSG;
        memcpy(boundary, got.value.p, got.value.n);
        n = got.quoted ? aw__unquote(boundary, got.value, true) : got.value.n;
        if (!aw__boundary_fits(boundary, n)) return AW_EBADMSG;
    }
    if (rc < 0 || !n) return AW_EBADMSG;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, n);
    m->n = (uint8_t)(n + 4);
    m->state = AW__MP_PREAMBLE;
    m->matched = 2;             /* the first one needs no line before it */
    return 1;
}

/* How much of p[0..n) is surely content: up to the delimiter or to what may
   become one. Only its first byte is a CR, so nothing is looked at twice. */
static size_t aw__multipart_span(const aw__multipart *m, const char *p,
                                 size_t n)
{
    const char *at = p, *end = p + n;
    while (at < end &&
           (at = (const char *)memchr(at, '\r', (size_t)(end - at))) != NULL) {
        size_t left = (size_t)(end - at);
        if (memcmp(at, m->delimiter, left < m->n ? left : m->n) == 0)
            return (size_t)(at - p);
        at++;
    }
    return n;
}

/* Content: AW__PART_DATA; AW__PART_ENDS: the delimiter; AW_EAGAIN. What of a
   delimiter has come before it turned out to be none is handed out of m. */
static int aw__multipart_content(aw__multipart *m, aw_slice *in,
                                 aw_slice *data)
{
    for (;;) {
        size_t n = m->matched ? 0 : aw__multipart_span(m, in->p, in->n);
        *data = aw__slice(in->p, n);
        in->p += n;
        in->n -= n;
        if (n) return AW__PART_DATA;
        for (; in->n && m->matched < m->n &&
               *in->p == m->delimiter[m->matched]; in->p++, in->n--)
            m->matched++;
        if (m->matched == m->n) {
            m->matched = 0;
            m->state = AW__MP_TAIL;
            return AW__PART_ENDS;
        }
        if (!in->n) return AW_EAGAIN;
        *data = aw__slice(m->delimiter + m->before,
                          (size_t)(m->matched - m->before));
        m->matched = m->before = 0;
        if (data->n) return AW__PART_DATA;
    }
}

/* A byte between the delimiter and the next head, or after the last. Anything
   but white space there is refused: where one reader sees the end of a part,
   another might see content. */
static int aw__multipart_tail(aw__multipart *m, char c)
{
    if (m->state == AW__MP_TAIL) {
        m->state = c == '-' ? AW__MP_DASH : AW__MP_SPACE;
        if (c == '-') return AW_OK;
    }
    switch (m->state) {
        case AW__MP_SPACE: case AW__MP_CLOSED:
            if (c == ' ' || c == '\t') return AW_OK;
            m->state = m->state == AW__MP_SPACE ? AW__MP_LF : AW__MP_LAST_LF;
            return c == '\r' ? AW_OK : AW_EBADMSG;
        case AW__MP_DASH:
            m->state = AW__MP_CLOSED;
            return c == '-' ? AW_OK : AW_EBADMSG;
        case AW__MP_LAST_LF:
            m->state = AW__MP_EPILOGUE;
            return c == '\n' ? AW_OK : AW_EBADMSG;
        default:
            m->state = AW__MP_HEAD;
            m->head.n = 0;
            if (c != '\n') return AW_EBADMSG;
            return m->parts-- ? AW_OK : AW_ETOOBIG;
    }
}

/* A line of a part's head, without its CRLF. */
static int aw__part_line(aw__multipart *m, char *p, size_t n)
{
    const char *end = p + n, *colon = aw__http_span(p, end, AW__C_TOKEN);
    aw_slice name = aw__slice(p, (size_t)(colon - p)), value;
    if (!name.n || colon == end || *colon != ':') return AW_EBADMSG;
    value = aw__slice_trim(aw__slice(colon + 1, (size_t)(end - colon) - 1));
    if (aw__http_span(value.p, end, AW__C_VALUE) != end) return AW_EBADMSG;
    if (aw__slice_ieq(name, "Content-Disposition")) {
        if (m->part.type.p) return AW_EBADMSG;
        return aw__disposition_parse(p + (value.p - p), value.n, &m->part);
    }
    if (aw__slice_ieq(name, "Content-Type")) {
        if (m->type.p) return AW_EBADMSG;
        m->type = value;
    }
    /* RFC 7578 4.7: nobody sends base64, and as it is it would be wrong. */
    if (aw__slice_ieq(name, "Content-Transfer-Encoding") &&
        !aw__slice_ieq(value, "binary") && !aw__slice_ieq(value, "8bit") &&
        !aw__slice_ieq(value, "7bit")) return AW_EBADMSG;
    return AW_OK;
}

/* The whole head of a part, its empty line included. It must be form-data and
   have a name (RFC 7578 4.2). */
static int aw__part_head(aw__multipart *m)
{
    char *p = m->head.p, *end = p + m->head.n - 2, *lf;
    memset(&m->part, 0, sizeof m->part);
    m->type = aw__slice(NULL, 0);
    for (; p < end; p = lf + 1) {
        lf = (char *)memchr(p, '\n', (size_t)(end - p));
        /* A folded line (RFC 5322 2.2.3): some MIME libraries write them. */
        while (lf + 1 < end && (lf[1] == ' ' || lf[1] == '\t')) {
            lf[-1] = lf[0] = ' ';
            lf = (char *)memchr(lf, '\n', (size_t)(end - lf));
        }
        if (aw__part_line(m, p, (size_t)(lf - p) - 1) < 0) return AW_EBADMSG;
    }
    if (!m->part.name.p || !aw__slice_ieq(m->part.type, "form-data"))
        return AW_EBADMSG;
    m->state = AW__MP_CONTENT;
    m->matched = m->before = 2; /* empty content: the delimiter at once */
    return AW__PART_BEGINS;
}

/* Gathers the head of a part, a line at a time. */
static int aw__multipart_head(aw__multipart *m, aw_slice *in)
{
    while (in->n) {
        const char *lf = (const char *)memchr(in->p, '\n', in->n);
        size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;
        const char *end;
        if (n > m->max_head - m->head.n) return AW_ETOOBIG;
        aw__buf_add(&m->head, in->p, n);
        if (m->head.failed) return AW_ENOMEM;
        in->p += n;
        in->n -= n;
        if (!lf) break;
        end = m->head.p + m->head.n;
        n = m->head.n;
        if (n < 2 || end[-2] != '\r') return AW_EBADMSG;
        if (n == 2 || (n >= 4 && memcmp(end - 4, "\r\n", 2) == 0))
            return aw__part_head(m);
    }
    return AW_EAGAIN;
}

/* Takes bytes off `in`; call again until AW_EAGAIN: `in` is used up. A part is
   AW__PART_BEGINS (m->part and m->type are good until the next part), then
   AW__PART_DATA (*data, in `in` or in m) any number of times, AW__PART_ENDS.
   AW_EBADMSG; AW_ETOOBIG: parts, or the head of one; AW_ENOMEM. */
static int aw__multipart_next(aw__multipart *m, aw_slice *in, aw_slice *data)
{
    int rc;
    while (in->n) {
        switch (m->state) {
            case AW__MP_PREAMBLE:
                (void)aw__multipart_content(m, in, data);
                break;
            case AW__MP_CONTENT:
                return aw__multipart_content(m, in, data);
            case AW__MP_HEAD:
                return aw__multipart_head(m, in);
            case AW__MP_EPILOGUE:
                in->p += in->n;
                in->n = 0;
                break;
            default:
                rc = aw__multipart_tail(m, *in->p);
                if (rc < 0) return rc;
                in->p++;
                in->n--;
        }
    }
    return AW_EAGAIN;
}

/* Whether the body may end here. */
static bool aw__multipart_whole(const aw__multipart *m)
{
    return m->state == AW__MP_CLOSED || m->state == AW__MP_EPILOGUE;
}

enum { AW__SAFE_NAME = 200 };

/* What may safely become the name of a file in a directory of ours: the last
   part of a path as any system writes it; no control character, no dot in
   front, UTF-8. `to` has room for AW__SAFE_NAME and a NUL. */
static void aw__safe_name(char *to, aw_slice s)
{
    size_t i = 0, n = 0, len;
    for (len = 0; len < s.n; len++)
        if (s.p[len] == '/' || s.p[len] == '\\') i = len + 1;
    for (; i < s.n; i += len) {
        const unsigned char c = (unsigned char)s.p[i];
        int step = aw__utf8_step(s.p + i, s.n - i);
        len = (size_t)(step < 0 ? -step : step);
        if (n + len > AW__SAFE_NAME) break;
        if (step < 0 || c == ':') {
            to[n++] = '_';
            continue;
        }
        if (c < 32 || c == 127 || (!n && (c == '.' || c == ' '))) continue;
        if (c == 0xC2 && (unsigned char)s.p[i + 1] < 0xA0) continue;   /* C1 */
        memcpy(to + n, s.p + i, len);
        n += len;
    }
    while (n && (to[n - 1] == '.' || to[n - 1] == ' ')) n--;
    if (!n) to[n++] = '_';
    to[n] = 0;
}
#endif

#ifndef ASYNCWEB_NO_COOKIES
/* >>floor2 cookie  Cookies (RFC 6265, and 6265bis which replaces it) ------- */

/* Looks for a cookie in one Cookie field. What a browser sends is split at
   every semicolon and each pair at its first =; a pair without one has no
   name (6265bis 5.7). Quotes belong to the value (4.1.1). Of several the
   first is of the longest path (5.8.3). */
static bool aw__cookie_find(aw_slice in, const char *name, aw_slice *value)
{
    size_t want = strlen(name);
    while (in.n) {
        const char *stop = (const char *)memchr(in.p, ';', in.n), *equals;
        aw_slice pair = aw__slice(in.p, stop ? (size_t)(stop - in.p) : in.n);
        in = aw__slice(pair.p + pair.n + (stop != NULL),
                       in.n - pair.n - (stop != NULL));
        equals = (const char *)memchr(pair.p, '=', pair.n);
        if (!equals) continue;
        *value = aw__slice_trim(aw__slice(
            equals + 1, (size_t)(pair.p + pair.n - equals) - 1));
        pair = aw__slice_trim(aw__slice(pair.p, (size_t)(equals - pair.p)));
        if (pair.n == want && memcmp(pair.p, name, want) == 0) return true;
    }
    return false;
}

/* cookie-value (6265bis 4.1.1), with its quotes or without. */
static bool aw__cookie_value_fits(const char *p, size_t n)
{
    size_t i;
    if (n >= 2 && p[0] == '"' && p[n - 1] == '"') p++, n -= 2;
    for (i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (c <= 32 || c >= 127 || strchr("\",;\\", c)) return false;
    }
    return true;
}

/* Printable ASCII without ;, and not empty: an attribute's value. */
static bool aw__cookie_attribute_fits(const char *text)
{
    const char *p = text;
    while (*p >= 32 && *p < 127 && *p != ';') p++;
    if (*p || p == text || p - text > 1024) return false;
    return text[0] != ' ' && p[-1] != ' ';
}

static bool aw__cookie_prefix(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    return strlen(name) >= n && aw__slice_ieq(aw__slice(name, n), prefix);
}

/* What a browser would not take is refused here, where it can be found. */
static bool aw__cookie_fits(const aw_cookie_config *o, const char *path)
{
    const char *name = o->name, *d = o->domain, *same_site = o->same_site;
    bool host = aw__cookie_prefix(name, "__Host-");
    if (!aw__is_token(name, strlen(name))) return false;
    if (!aw__cookie_value_fits(o->value, strlen(o->value))) return false;
    if (*path != '/' || !aw__cookie_attribute_fits(path)) return false;
    if (d && (!*d || aw__http_span(d, d + strlen(d), AW__C_HOST)[0]))
        return false;
    /* 6265bis 4.1.3: prefixes promise something about the cookie. */
    if (host && (!o->secure || d || strcmp(path, "/") != 0)) return false;
    if (aw__cookie_prefix(name, "__Secure-") && !o->secure) return false;
    if (!same_site) return true;
    if (aw__cookie_prefix(same_site, "None") && !o->secure) return false;
    return aw__slice_ieq(aw__slice(same_site, strlen(same_site)), "Strict") ||
        aw__slice_ieq(aw__slice(same_site, strlen(same_site)), "Lax") ||
        aw__slice_ieq(aw__slice(same_site, strlen(same_site)), "None");
}

static void aw__cookie_add(aw__buf *b, const char *name, const char *value)
{
    aw__buf_add(b, name, strlen(name));
    aw__buf_add(b, value, strlen(value));
}

/* Writes the value of a Set-Cookie field and a NUL. 0, AW_EINVAL, AW_ETOOBIG:
   name and value over 4096 bytes (6265bis 5.6), AW_ENOMEM. */
static int aw__cookie_write(aw__buf *b, const aw_cookie_config *o)
{
    const char *path = o->path ? o->path : "/";
    char age[24];
    if (!o->name || !o->value || !aw__cookie_fits(o, path)) return AW_EINVAL;
    if (strlen(o->name) + strlen(o->value) > 4096) return AW_ETOOBIG;
    aw__cookie_add(b, o->name, "=");
    aw__cookie_add(b, o->value, "");
    aw__cookie_add(b, "; Path=", path);
    if (o->domain) aw__cookie_add(b, "; Domain=", o->domain);
    aw__print(age, sizeof age, "%lld",
              o->max_age > 0 ? (long long)o->max_age : 0);
    if (o->max_age) aw__cookie_add(b, "; Max-Age=", age);
    if (o->max_age < 0)         /* for who does not know Max-Age */
        aw__cookie_add(b, "; Expires=", "Thu, 01 Jan 1970 00:00:00 GMT");
    if (o->secure) aw__cookie_add(b, "; Secure", "");
    if (o->http_only) aw__cookie_add(b, "; HttpOnly", "");
    if (o->same_site) aw__cookie_add(b, "; SameSite=", o->same_site);
    aw__buf_add(b, "", 1);
    return b->failed ? AW_ENOMEM : AW_OK;
}

#ifndef ASYNCWEB_NO_CLIENT
/* >>floor2 set-cookie  What a client reads (RFC 6265bis 5.6) --------------- */

/* One Set-Cookie field. Slices point into it. */
typedef struct aw__set_cookie {
    aw_slice name, value, domain, path;     /* path: p NULL, the default */
    int64_t expires;                        /* INT64_MAX: with the session */
    bool secure;
} aw__set_cookie;

/* What stands between the words of a date: 6265bis 5.1.1. */
static bool aw__cookie_between(char c)
{
    return c == '\t' || (c >= ' ' && c <= '/') || (c >= ';' && c <= '@') ||
        (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* How many digits, 0 to `most`, stand at p; more are none. */
static int aw__cookie_digits(const char *p, const char *end, int most)
{
    int n = 0;
    while (p + n < end && aw__is_digit(p[n])) n++;
    return n <= most ? n : 0;
}

/* hh:mm:ss, each of one or two digits: seconds of the day, or -1. */
static int aw__cookie_clock(const char *p, const char *end)
{
    int part[3], i;
    for (i = 0; i < 3; i++) {
        int n = aw__cookie_digits(p, end, 2);
        if (!n || (i < 2 && (p + n == end || p[n] != ':'))) return -1;
        part[i] = aw__date_number(p, n);
        p += n + 1;
    }
    if (part[0] > 23 || part[1] > 59 || part[2] > 59) return -1;
    return part[0] * 3600 + part[1] * 60 + part[2];
}

/* A date in any of the forms that servers write it in (6265bis 5.1.1). */
static bool aw__cookie_date(aw_slice s, int64_t *out)
{
    const char *p = s.p, *end = s.p + s.n, *next;
    int clock = -1, day = 0, month = 0, year = -1;
    for (; p < end; p = next) {
        int n;
        for (next = p; next < end && !aw__cookie_between(*next); next++) {}
        n = aw__cookie_digits(p, next, 4);
        if (clock < 0 && (clock = aw__cookie_clock(p, next)) >= 0) {}
        else if (!day && n > 0 && n <= 2) day = aw__date_number(p, n);
        else if (!month && next - p >= 3 &&
                 (month = aw__date_month(p)) > 0) {}
        else if (year < 0 && n >= 2) year = aw__date_number(p, n);
        if (next == p) next++;
    }
    if (year >= 0 && year < 70) year += 2000;
    else if (year >= 70 && year < 100) year += 1900;
    if (clock < 0 || day < 1 || day > 31 || !month || year < 1601) return false;
    *out = aw__date_seconds(year, month, day, clock);
    return true;
}

/* Seconds from now; what does not fit is for ever. False: no number. */
static bool aw__cookie_age(aw_slice s, int64_t now, int64_t *out)
{
    const bool below = s.n && *s.p == '-';
    int64_t n = 0;
    size_t i = below;
    if (i == s.n) return false;
    for (; i < s.n; i++) {
        if (!aw__is_digit(s.p[i])) return false;
        if (n < INT32_MAX) n = n * 10 + (s.p[i] - '0');
    }
    *out = below || n == 0 ? INT64_MIN : now + n;
    return true;
}

static void aw__cookie_attribute(aw__set_cookie *c, aw_slice name,
                                 aw_slice value, int64_t now, bool *aged)
{
    int64_t when;
    if (aw__slice_ieq(name, "secure")) {
        c->secure = true;
    } else if (aw__slice_ieq(name, "domain")) {
        if (value.n && *value.p == '.') value.p++, value.n--;
        c->domain = value;
    } else if (aw__slice_ieq(name, "path")) {
        c->path = value.n && *value.p == '/' ? value : aw__slice(NULL, 0);
    } else if (aw__slice_ieq(name, "max-age")) {
        if (!aw__cookie_age(value, now, &when)) return;
        c->expires = when;              /* stronger than Expires (5.6.3) */
        *aged = true;
    } else if (aw__slice_ieq(name, "expires") && !*aged) {
        if (aw__cookie_date(value, &when)) c->expires = when;
    }
}

/* Splits off what stands before the next semicolon, trimmed, and that at its
   first =. */
static aw_slice aw__cookie_next(aw_slice *in, aw_slice *value)
{
    const char *stop = (const char *)memchr(in->p, ';', in->n), *equals;
    aw_slice s = aw__slice(in->p, stop ? (size_t)(stop - in->p) : in->n);
    *in = aw__slice(s.p + s.n + (stop != NULL), in->n - s.n - (stop != NULL));
    equals = (const char *)memchr(s.p, '=', s.n);
    *value = aw__slice(s.p + s.n, 0);
    if (!equals) return aw__slice_trim(s);
    *value = aw__slice_trim(aw__slice(equals + 1,
                                      (size_t)(s.p + s.n - equals) - 1));
    return aw__slice_trim(aw__slice(s.p, (size_t)(equals - s.p)));
}

/* Reads the value of a Set-Cookie field. False: it is to be ignored. */
static bool aw__cookie_read(aw_slice in, int64_t now, aw__set_cookie *c)
{
    const bool named = memchr(in.p, '=', strcspn(in.p, ";")) != NULL;
    bool aged = false;
    memset(c, 0, sizeof *c);
    c->expires = INT64_MAX;
    c->name = aw__cookie_next(&in, &c->value);
    if (!named) c->value = c->name, c->name.n = 0;
    if (c->name.n + c->value.n == 0 || c->name.n + c->value.n > 4096)
        return false;
    while (in.n) {
        aw_slice value, name = aw__cookie_next(&in, &value);
        if (value.n <= 1024)
            aw__cookie_attribute(c, name, value, now, &aged);
    }
    return true;
}
#endif
#endif

#ifndef ASYNCWEB_NO_WS
/* >>floor2 ws  WebSocket frames and messages (RFC 6455) ------------------ */

enum { AW__WS_MORE, AW__WS_TEXT, AW__WS_BINARY, AW__WS_CLOSE = 8, AW__WS_PING,
       AW__WS_PONG };           /* opcodes (11.8); from 8 on: control frames */
enum { AW__WS_FIN = 0x80, AW__WS_RESERVED = 0x70, AW__WS_OPCODE = 15,
       AW__WS_MASKED = 0x80, AW__WS_HEAD = 14, AW__WS_CONTROL = 125 };

/* Reads the frames of one peer. All zero at first but for the two settings
   and got.mem. */
typedef struct aw__ws_reader {
    aw__buf got;                /* of a message; behind it a control frame's */
    size_t max_message;         /* a setting: bytes */
    uint64_t left;              /* payload of this frame still to come */
    uint8_t head[AW__WS_HEAD];  /* of this frame, */
    uint8_t head_n;             /* so far */
    uint8_t turn;               /* which byte of its masking key is next */
    uint8_t kind;               /* AW__WS_TEXT or _BINARY: in a message */
    aw__utf8 utf8;              /* of a text so far */
    bool masked;                /* a setting: the peer is a client */
    bool whole;                 /* the head is; its payload comes */
    bool closed;                /* nothing counts after a Close (5.5.1) */
    bool frame;                 /* one became whole; who asks resets it */
} aw__ws_reader;

/* XORs n bytes with the key, whose byte `turn` comes first (5.3), a word at a
   time. `to` may be `from`. */
static void aw__ws_mask(char *to, const char *from, size_t n,
                        const uint8_t *key, unsigned turn)
{
    uint8_t keys[8];
    uint64_t word, x;
    size_t i;
    for (i = 0; i < 8; i++) keys[i] = key[(turn + i) & 3];
    memcpy(&x, keys, 8);
    for (i = 0; n - i >= 8; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= x;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++) to[i] = (char)(from[i] ^ keys[i & 7]);
}

/* Writes the head of a frame (5.2), with the shortest length there is; key
   NULL: not masked. Returns its size. */
static size_t aw__ws_write_head(uint8_t head[AW__WS_HEAD], int opcode,
                                bool last, uint64_t n, const uint8_t *key)
{
    const int more = n < 126 ? 0 : n < 65536 ? 2 : 8;
    int i;
    head[0] = (uint8_t)(opcode | (last ? AW__WS_FIN : 0));
    head[1] = (uint8_t)((more == 0 ? (int)n : more == 2 ? 126 : 127) |
                        (key ? AW__WS_MASKED : 0));
    for (i = 0; i < more; i++)
        head[2 + i] = (uint8_t)(n >> 8 * (more - 1 - i));
    if (key) memcpy(head + 2 + more, key, 4);
    return 2 + (size_t)more + (key ? 4 : 0);
}

/* A code that may stand in a Close frame (7.4): those of the RFC and of the
   registry (1012 to 1014), and of applications. 1005, 1006 and 1015 say that
   there was none. */
static bool aw__ws_code_valid(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
        (code >= 3000 && code <= 4999);
}

/* The status in the payload of a Close frame, AW_WS_NO_CODE: there is none
   (5.5.1, 7.1.5). The rest is the reason. */
static int aw__ws_close_code(aw_slice payload)
{
    if (payload.n < 2) return AW_WS_NO_CODE;
    return (uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
}

static int aw__ws_close_check(aw_slice payload)
{
    if (payload.n == 0) return AW__WS_CLOSE;
    if (payload.n == 1 || !aw__ws_code_valid(aw__ws_close_code(payload)))
        return -AW_WS_PROTOCOL_ERROR;
    if (aw__utf8_valid(payload.p + 2, payload.n - 2) != payload.n - 2)
        return -AW_WS_BAD_TEXT;
    return AW__WS_CLOSE;
}

/* How long the head will be, by its first two bytes. */
static unsigned aw__ws_head_size(const uint8_t *head)
{
    const int n = head[1] & 127;
    return 2u + (n == 126 ? 2 : n == 127 ? 8 : 0) +
        (head[1] & AW__WS_MASKED ? 4 : 0);
}

/* The first byte: may such a frame come now? */
static int aw__ws_check_first(const aw__ws_reader *r)
{
    const int opcode = r->head[0] & AW__WS_OPCODE;
    if (r->head[0] & AW__WS_RESERVED) return -AW_WS_PROTOCOL_ERROR; /* 5.2 */
    if (opcode >= AW__WS_CLOSE)
        return opcode <= AW__WS_PONG && (r->head[0] & AW__WS_FIN)   /* 5.5 */
            ? 0 : -AW_WS_PROTOCOL_ERROR;
    /* A message begins when none is under way, else goes on (5.4). */
    return opcode <= AW__WS_BINARY && (opcode == AW__WS_MORE) == (r->kind != 0)
        ? 0 : -AW_WS_PROTOCOL_ERROR;
}

static int aw__ws_check_second(const aw__ws_reader *r)
{
    const bool masked = (r->head[1] & AW__WS_MASKED) != 0;
    if (masked != r->masked) return -AW_WS_PROTOCOL_ERROR;          /* 5.1 */
    return (r->head[0] & AW__WS_CLOSE) &&
        (r->head[1] & 127) > AW__WS_CONTROL ? -AW_WS_PROTOCOL_ERROR : 0;
}

/* The length: written as short as it goes, and of 63 bits (5.2). */
static int aw__ws_check_length(aw__ws_reader *r)
{
    const int first = r->head[1] & 127, more = first == 126 ? 2 : 8;
    int i;
    r->left = (uint64_t)first;
    if (first > 125)
        for (r->left = 0, i = 0; i < more; i++)
            r->left = r->left << 8 | r->head[2 + i];
    if ((first == 126 && r->left < 126) || (first == 127 && r->left < 65536) ||
        r->left >> 63) return -AW_WS_PROTOCOL_ERROR;
    if (!(r->head[0] & AW__WS_CLOSE) && r->left > r->max_message - r->got.n)
        return -AW_WS_TOO_BIG;
    return 0;
}

/* Takes the bytes of a head, and judges each as soon as it can be. 1: the
   head is whole; 0: more input. */
static int aw__ws_head(aw__ws_reader *r, aw_slice *in)
{
    int rc = 0;
    while (in->n && rc == 0 && !r->whole) {
        r->head[r->head_n++] = (uint8_t)*in->p++;
        in->n--;
        if (r->head_n == 1) rc = aw__ws_check_first(r);
        if (r->head_n == 2) rc = aw__ws_check_second(r);
        r->whole = r->head_n >= 2 && r->head_n == aw__ws_head_size(r->head);
    }
    if (rc < 0 || !r->whole) return rc;
    if ((r->head[0] & AW__WS_OPCODE) - 1u < AW__WS_BINARY)
        r->kind = r->head[0] & AW__WS_OPCODE;
    r->turn = 0;
    rc = aw__ws_check_length(r);
    return rc < 0 ? rc : 1;
}

/* Takes payload. 1: that of the frame is whole; 0: more input. */
static int aw__ws_payload(aw__ws_reader *r, aw_slice *in)
{
    const size_t n = in->n < r->left ? in->n : (size_t)r->left;
    char *to = aw__buf_room(&r->got, n + 1);    /* and a NUL */
    if (!to) return -AW_WS_INTERNAL_ERROR;
    if (r->masked)
        aw__ws_mask(to, in->p, n, r->head + r->head_n - 4, r->turn);
    else if (n) memcpy(to, in->p, n);
    in->p += n;
    in->n -= n;
    r->got.n += n;
    r->left -= n;
    r->turn = (uint8_t)((r->turn + n) & 3);
    /* Text that cannot become valid is refused at once (8.1), though the rest
       of its message may be long in coming. */
    if (!(r->head[0] & AW__WS_CLOSE) && r->kind == AW__WS_TEXT &&
        !aw__utf8_more(&r->utf8, to, n)) return -AW_WS_BAD_TEXT;
    return r->left == 0;
}

/* A frame is whole. What it completes, or 0: it is part of a message. */
static int aw__ws_frame(aw__ws_reader *r, aw_slice *data)
{
    const int opcode = r->head[0] & AW__WS_OPCODE, kind = r->kind;
    const size_t n = (size_t)(r->head[1] & 127);
    r->whole = false;
    r->head_n = 0;
    r->frame = true;
    if (opcode >= AW__WS_CLOSE) {
        r->got.n -= n;
        *data = aw__slice(r->got.p + r->got.n, n);
        r->closed = opcode == AW__WS_CLOSE;
        return r->closed ? aw__ws_close_check(*data) : opcode;
    }
    if (!(r->head[0] & AW__WS_FIN)) return 0;
    if (r->utf8.left) return -AW_WS_BAD_TEXT;
    *data = aw__slice(r->got.p, r->got.n);
    r->got.p[r->got.n] = 0;
    r->got.n = 0;
    r->kind = 0;
    return kind;
}

/* Takes frames off `in` until one completes something: AW__WS_TEXT or _BINARY,
   a message; AW__WS_PING, _PONG, _CLOSE. *data lies in r->got and is valid
   until the next call; one who keeps a message takes r->got. 0: `in` is used
   up. Negative: minus the code to close with (7.4.1), and no further call:
   AW_WS_PROTOCOL_ERROR, _BAD_TEXT, _TOO_BIG, _INTERNAL_ERROR: no memory. */
static int aw__ws_next(aw__ws_reader *r, aw_slice *in, aw_slice *data)
{
    int rc = 0;
    while (rc == 0 && !r->closed) {
        rc = r->whole ? 1 : aw__ws_head(r, in);
        if (rc == 1) rc = aw__ws_payload(r, in);
        if (rc <= 0) return rc;
        rc = aw__ws_frame(r, data);
    }
    in->n = r->closed ? 0 : in->n;
    return rc;
}

/* Sec-WebSocket-Accept for a key (4.2.2): 28 characters and a NUL. */
static void aw__ws_accept_key(aw_slice key, char out[29])
{
    static const char salt[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[24 + sizeof salt];
    unsigned char hash[20];
    memcpy(text, key.p, 24);
    memcpy(text + 24, salt, sizeof salt - 1);
    aw__sha1(text, 24 + sizeof salt - 1, hash);
    out[aw__base64_encode(out, hash, 20)] = 0;
}

/* A key is 16 bytes in base64 (4.1): 24 characters. */
static bool aw__ws_key_valid(aw_slice key)
{
    unsigned char bytes[18];
    size_t n = 0;
    return key.n == 24 && aw__base64_decode(bytes, key.p, 24, &n) == AW_OK &&
        n == 16;
}

/* May a page of this origin connect (10.2)? "*": any; NULL: only one whose
   host and port are those it asks for. Schemes differ behind a proxy. */
static bool aw__ws_origin_fits(const char *allowed, aw_slice origin,
                               aw_slice host)
{
    aw_slice list = aw__slice("", 0), word;
    size_t i = 0;
    if (allowed) list = aw__slice(allowed, strlen(allowed));
    while (aw__word(&list, &word))
        if ((word.n == 1 && *word.p == '*') || (word.n == origin.n &&
            memcmp(word.p, origin.p, word.n) == 0)) return true;
    if (allowed) return false;
    while (i + 3 <= origin.n && memcmp(origin.p + i, "://", 3) != 0) i++;
    if (i + 3 > origin.n || origin.n - i - 3 != host.n) return false;
    origin = aw__slice(origin.p + i + 3, host.n);
    for (i = 0; i < host.n; i++)
        if (aw__ascii_lower(origin.p[i]) != aw__ascii_lower(host.p[i]))
            return false;
    return true;
}
#endif

#ifdef ASYNCWEB_BEARSSL
/* >>floor2 certificate  What is asked of one (RFC 5280) -------------------- */

/* BearSSL decides whether a chain holds. What it does not tell, for whom a
   certificate is and from when to when, is read here. */

/* One element of a DER text; `all` is with its header. */
typedef struct aw__der {
    int tag;
    aw_slice all, in;
} aw__der;

/* Takes the first element off `rest`. False: there is none, or no DER. */
static bool aw__der_next(aw_slice *rest, aw__der *e)
{
    const unsigned char *p = (const unsigned char *)rest->p;
    size_t n, i, head = 2;
    if (rest->n < 2) return false;
    n = p[1];
    if (n & 0x80) {
        head += n & 0x7f;
        if (head == 2 || head > 5 || rest->n < head) return false;
        for (n = 0, i = 2; i < head; i++) n = n << 8 | p[i];
    }
    if (n > rest->n - head) return false;
    e->tag = p[0];
    e->all = aw__slice(rest->p, head + n);
    e->in = aw__slice(rest->p + head, n);
    *rest = aw__slice(rest->p + head + n, rest->n - head - n);
    return true;
}

enum {
    AW__DER_OID = 6, AW__DER_UTC = 0x17, AW__DER_TIME = 0x18, AW__DER_SEQ = 0x30,
    AW__DER_SET = 0x31, AW__DER_BYTES = 4
};

static bool aw__der_take(aw_slice *rest, int tag, aw__der *e)
{
    return aw__der_next(rest, e) && e->tag == tag;
}

/* Slices of its DER text. */
typedef struct aw__cert {
    aw_slice issuer, subject;   /* with their headers */
    aw_slice key;               /* SubjectPublicKeyInfo, with its header */
    aw_slice names;             /* in subjectAltName */
    aw_slice uses;              /* in extKeyUsage; p NULL: for any */
    int64_t from, until;        /* unix time */
} aw__cert;

/* YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ (4.1.2.5). */
static bool aw__der_time(aw_slice *rest, int64_t *t)
{
    aw__der e;
    int v[7], i, count, at = 0;
    if (!aw__der_next(rest, &e)) return false;
    count = e.tag == AW__DER_TIME ? 7 : 6;
    if ((e.tag != AW__DER_UTC && count == 6) ||
        e.in.n != (size_t)count * 2 + 1 || e.in.p[count * 2] != 'Z')
        return false;
    for (i = 7 - count; i < 7; i++, at += 2) {
        const char a = e.in.p[at], b = e.in.p[at + 1];
        if (a < '0' || a > '9' || b < '0' || b > '9') return false;
        v[i] = (a - '0') * 10 + b - '0';
    }
    if (count == 6) v[0] = v[1] >= 50 ? 19 : 20;
    if (v[2] < 1 || v[2] > 12 || v[3] < 1 || v[3] > 31) return false;
    *t = aw__date_seconds(v[0] * 100 + v[1], v[2], v[3],
                          v[4] * 3600 + v[5] * 60 + v[6]);
    return true;
}

/* Looks for subjectAltName, 2.5.29.17, and extKeyUsage, 2.5.29.37. */
static void aw__cert_extensions(aw_slice in, aw__cert *c)
{
    aw__der list, one, id, value;
    if (!aw__der_take(&in, AW__DER_SEQ, &list)) return;
    while (aw__der_take(&list.in, AW__DER_SEQ, &one)) {
        if (!aw__der_take(&one.in, AW__DER_OID, &id)) return;
        do if (!aw__der_next(&one.in, &value)) return;
        while (value.tag != AW__DER_BYTES);     /* past `critical` */
        if (id.in.n == 3 && memcmp(id.in.p, "\x55\x1d\x11", 3) == 0 &&
            aw__der_take(&value.in, AW__DER_SEQ, &one)) c->names = one.in;
        if (id.in.n == 3 && memcmp(id.in.p, "\x55\x1d\x25", 3) == 0 &&
            aw__der_take(&value.in, AW__DER_SEQ, &one)) c->uses = one.in;
    }
}

static bool aw__cert_read(aw_slice der, aw__cert *c)
{
    aw__der e, body;
    memset(c, 0, sizeof *c);
    if (!aw__der_take(&der, AW__DER_SEQ, &e) ||
        !aw__der_take(&e.in, AW__DER_SEQ, &body)) return false;
    if (body.in.n && *body.in.p == (char)0xa0 &&
        !aw__der_next(&body.in, &e)) return false;      /* version */
    if (!aw__der_next(&body.in, &e) ||                  /* serial number */
        !aw__der_take(&body.in, AW__DER_SEQ, &e)) return false;
    if (!aw__der_take(&body.in, AW__DER_SEQ, &e)) return false;
    c->issuer = e.all;
    if (!aw__der_take(&body.in, AW__DER_SEQ, &e) ||
        !aw__der_time(&e.in, &c->from) || !aw__der_time(&e.in, &c->until))
        return false;
    if (!aw__der_take(&body.in, AW__DER_SEQ, &e)) return false;
    c->subject = e.all;
    if (!aw__der_take(&body.in, AW__DER_SEQ, &e)) return false;
    c->key = e.all;
    while (aw__der_next(&body.in, &e))
        if (e.tag == 0xa3) aw__cert_extensions(e.in, c);
    return true;
}

static bool aw__slice_same(aw_slice a, aw_slice b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* RFC 9525 6.3: a wildcard stands for one whole label, the first; not above
   two others. */
static bool aw__cert_name_fits(aw_slice name, aw_slice host)
{
    size_t i;
    if (name.n > 2 && memcmp(name.p, "*.", 2) == 0) {
        const char *dot = (const char *)memchr(host.p, '.', host.n);
        if (!dot || dot == host.p || !memchr(name.p + 2, '.', name.n - 2))
            return false;
        host = aw__slice(dot, host.n - (size_t)(dot - host.p));
        name = aw__slice(name.p + 1, name.n - 1);
    }
    if (name.n != host.n || name.n == 0) return false;
    for (i = 0; i < name.n; i++) {
        const char a = name.p[i], b = host.p[i];
        if (a != b && ((a ^ b) != 0x20 || (a | 0x20) < 'a' || (a | 0x20) > 'z'))
            return false;
    }
    return true;
}

/* Whether it is for that host, a name or an address. Only subjectAltName
   counts, never the subject (RFC 9525 2). */
static bool aw__cert_is_for(const aw__cert *c, const char *host)
{
    aw_slice rest = c->names, name = aw__slice(host, strlen(host));
    aw__address a;
    aw__der e;
    const bool numeric = aw__address_parse(host, 0, &a);
    if (name.n && host[name.n - 1] == '.') name.n--;
    while (aw__der_next(&rest, &e)) {
        if (numeric && e.tag == 0x87 && e.in.n == (a.family == 4 ? 4u : 16u) &&
            memcmp(e.in.p, a.bytes, e.in.n) == 0) return true;
        if (!numeric && e.tag == 0x82 && aw__cert_name_fits(e.in, name))
            return true;
    }
    return false;
}

/* Whether it may be shown by a server (1), or a client (2): 4.2.1.12. */
static bool aw__cert_serves(const aw__cert *c, char use)
{
    aw_slice rest = c->uses;
    aw__der e;
    if (!rest.p) return true;
    while (aw__der_take(&rest, AW__DER_OID, &e)) {
        if (e.in.n == 8 && e.in.p[7] == use &&
            memcmp(e.in.p, "\x2b\x06\x01\x05\x05\x07\x03", 7) == 0) return true;
        if (e.in.n == 4 && memcmp(e.in.p, "\x55\x1d\x25", 4) == 0)
            return true;                /* anyExtendedKeyUsage */
    }
    return false;
}

/* A value of a name, as RFC 4514 2.4 writes it. */
static void aw__dn_value(aw__buf *b, aw_slice value)
{
    size_t i;
    for (i = 0; i < value.n; i++) {
        char two[2];
        two[0] = '\\';
        two[1] = value.p[i];
        if ((unsigned char)two[1] < 32 || two[1] == 127) two[1] = '?';
        if (strchr("\",+<>;=\\", two[1])) aw__buf_add(b, two, 2);
        else aw__buf_add(b, two + 1, 1);
    }
}

/* "CN=alice,O=Example": the parts of a name that have letters, in the order of
   the certificate. */
static void aw__dn_text(aw_slice dn, aw__buf *b)
{
    static const struct {
        char id;                /* 2.5.4.x */
        const char *letters;
    } types[] = {{3, "CN="}, {6, "C="}, {7, "L="}, {8, "ST="}, {10, "O="},
                 {11, "OU="}};
    aw__der all, set, one, id, value;
    size_t i;
    if (!aw__der_take(&dn, AW__DER_SEQ, &all)) return;
    while (aw__der_take(&all.in, AW__DER_SET, &set)) {
        while (aw__der_take(&set.in, AW__DER_SEQ, &one)) {
            if (!aw__der_take(&one.in, AW__DER_OID, &id) ||
                !aw__der_next(&one.in, &value) || id.in.n != 3 ||
                memcmp(id.in.p, "\x55\x04", 2) != 0) continue;
            for (i = 0; i < sizeof types / sizeof *types; i++) {
                if (types[i].id != id.in.p[2]) continue;
                if (b->n) aw__buf_add(b, ",", 1);
                aw__buf_add(b, types[i].letters, strlen(types[i].letters));
                aw__dn_value(b, value.in);
            }
        }
    }
}
#endif

/* >>floor3 structs  What a loop is made of --------------------------------- */

/* A timer: in the wheel or among the fresh ones, or in no list. */
typedef struct aw__timer {
    aw__link link;
    int64_t due;                /* milliseconds << 2 | kind */
} aw__timer;

/* A timer of the header's own: calls fn when it is due. */
typedef struct aw__call_timer {
    aw__timer timer;
    void (*fn)(aw_loop *, struct aw__call_timer *);
} aw__call_timer;

enum { AW__TIMER_SLEEP, AW__TIMER_DEADLINE, AW__TIMER_GRACE, AW__TIMER_CALL };

enum {
    AW__WHEEL_LEVELS = AW__SIZED(5, 8), AW__WHEEL_BITS = AW__SIZED(6, 3),
    AW__WHEEL_SLOTS = 1 << AW__WHEEL_BITS
};

/* Level n holds the timers whose due time first differs from `tick` in its
   n-th group of AW__WHEEL_BITS: each later moves down at most once per level. */
typedef struct aw__wheel {
    int64_t tick;               /* every timer up to here has fired */
    size_t count;
    uint64_t bits[AW__WHEEL_LEVELS];    /* slots that may hold timers */
    aw__link slots[AW__WHEEL_LEVELS][AW__WHEEL_SLOTS];
    aw__link far;               /* beyond the top level, 12 days or 4 hours */
    int64_t far_first;          /* none of them is due before, >> 30 */
    aw__link fresh;             /* started since the clock was last read */
} aw__wheel;

/* One waiter of a list that somebody else owns; FIFO. */
typedef struct aw__waiter {
    aw__link link;
    void *on, *arg;
} aw__waiter;

typedef struct aw__task aw__task;

/* What a suspended task waits for. undo() takes the registration back; it
   never fails and never wakes the task. */
typedef struct aw__wait {
    const char *what;
    void (*undo)(aw__task *t);
} aw__wait;

/* Things a frame owns besides its locals: newest first, all frames' of a task
   in one list, in the task's own memory. */
typedef struct aw__extra {
    struct aw__extra *next;
    aw_frame *owner;
    int kind;
} aw__extra;

enum { AW__DEFER, AW__DEADLINE, AW__CHILDREN };

typedef struct aw__defer_record {
    aw__extra extra;
    void (*fn)(void *);
    void *arg;
} aw__defer_record;

typedef struct aw__deadline {
    aw__extra extra;
    bool due_now, gathers;
    aw__task *task;
    aw__timer timer;
} aw__deadline;

/* The children of one frame. */
typedef struct aw__group {
    aw__extra extra;
    int error;                  /* first error of a START, 0 none */
    int first;                  /* result of the first to end */
    bool ended, racing;
    size_t live, started;
    aw__task *task;
    aw__link kids;
} aw__group;

/* What a child has more than other tasks; lies behind its aw__task. */
typedef struct aw__kid {
    aw__link link;
    aw__group *group;
    aw__task *task;
    int *result;                /* of START_TO */
} aw__kid;

/* Where an error came through: the innermost function first. One that a
   function dealt with is not taken back; the next error begins anew, as it
   comes from another frame or has another number. */
enum { AW__TRACE_MAX = 15 };
typedef struct aw__trace {
    const aw_frame *to;         /* the frame it reaches next */
    int rc, count;
    struct {
        const aw_fn *fn;
        uint32_t line;
    } at[AW__TRACE_MAX];
} aw__trace;

typedef struct aw__chunk {
    struct aw__chunk *prev;
    char *save_at, *save_end;
    size_t size;
} aw__chunk;

enum {
    AW__READY = 1,              /* in the ready queue */
    AW__CUT = 2,                /* the top frame goes to its FINALLY next */
    AW__NO_GRACE = 4,           /* cleanup_ms are over: nothing waits */
    AW__DUE = 8,                /* a deadline expires at the next suspension */
    AW__CANCELED = 16,          /* ended by aw_cancel */
    AW__VIEW_TASK = 32,
    AW__STATIC_TASK = 64,       /* stands for a plain function; never runs */
    AW__CHECKED = 128           /* debug mode */
};

/* A task: frames on a stack of its own that grows in chunks. */
struct aw__task {
    aw__ctx ctx;                /* first: macros see only this */
    aw_frame *top;
    char *at, *end;             /* free room of the newest chunk */
    aw__chunk *chunk, *spare;
    aw__extra *extras;
    aw_req *req;                /* whose memory this task keeps */
    aw__task *next;             /* ready queue */
    const aw__wait *wait;       /* NULL: running or ready */
    union {
        aw__timer timer;
        aw__waiter waiter;
        struct {
            int fd, mask;
        } io;
    } w;
    aw__timer grace;
    aw_frame *unwind;           /* outermost frame that was asked to end */
    aw_frame *wider;            /* one further out that was asked meanwhile */
    aw__kid *kid;
    void *joiners;              /* the oldest of them */
    aw__trace *trace;
    struct aw__reply *replies;  /* fetched here or in its children */
    int32_t slot;
    uint32_t size, bytes;       /* of this block, of all frames */
    uint32_t since;             /* low bits of the time it began to wait */
};

/* Where a handle leads. */
typedef struct aw__slot {
    union {
        aw__task *task;
        int64_t result;         /* after its end */
    } u;
    uint32_t generation;        /* odd: the task lives */
    int32_t next;               /* free slot after this one, -1 none */
} aw__slot;

/* What the poller knows of a descriptor. */
typedef struct aw__fd {
    void *object;               /* by kind */
    uint32_t generation;        /* of the registration; stale events differ */
    uint8_t kind, have;         /* have: what the kernel watches */
    uint8_t registered;         /* the kernel knows it, perhaps disarmed */
    uint8_t polled;             /* by poll: is a member of this turn's set */
#ifdef ASYNCWEB_BEARSSL
    struct aw__tls *tls;        /* NULL: plain; it outlives a registration */
#endif
} aw__fd;

enum { AW__FD_FREE, AW__FD_WAKE, AW__FD_TASKS, AW__FD_SERVER, AW__FD_CONN,
       AW__FD_STREAM, AW__FD_LISTENER, AW__FD_DIAL, AW__FD_WS, AW__FD_LINE,
#ifdef ASYNCWEB_BEARSSL
       AW__FD_GREET, AW__FD_TLS_REST,
#endif
       AW__FD_KINDS };

/* In a loop with in-memory sockets, descriptors from here on are such. */
enum { AW__SIM_FD = AW__SIZED(1 << 12, 128) };

typedef struct aw__post {
    struct aw__post *next;
    void (*fn)(aw_loop *, void *);
    void *arg;
} aw__post;

/* Adversity on demand; see >>floor3 chaos. */
typedef struct aw__chaos {
    uint64_t seed;
    int64_t suspended;          /* how often any task has suspended so far */
    int64_t cancel_at;          /* `victim` is cancelled at this one */
    aw_task victim;
} aw__chaos;

/* Debug mode's; see >>floor3 stale. */
typedef struct aw__checks {
    void (*frame)(const aw__task *t, const aw_frame *f);
    void (*args)(const aw__task *t, const aw_fn *fn, const void *args);
    void (*result)(const aw__task *t, const aw_frame *f, const int *result);
} aw__checks;

struct aw_loop {
    aw__mem mem;
    int64_t now;                /* milliseconds */
    aw__task *ready, **ready_tail;
    aw__task idle;              /* stands for plain views and code outside */
    int ready_count;
    int budget;                 /* awaits done at once before others run */
    int tasks;                  /* alive */
    bool stopped, draining, debug, is_virtual, clock_due;
    int64_t cleanup_ms;
    size_t max_task_bytes;
    aw__wheel wheel;
    aw__slot *slots;
    int32_t slot_count, slot_cap, slot_free, slot_last, slots_free;
    aw__fd *fds;
    int fd_cap, fd_count;       /* fd_count: registered ones */
    void (*on_fd[AW__FD_KINDS])(aw_loop *, int fd, int events);
    void (*on_lost[AW__FD_KINDS])(aw_loop *, int fd);   /* open at the end */
    void (*view_ended)(aw__task *);
    void (*req_keep)(aw_req *);
    void (*req_drop)(aw_req *);
    void *(*req_get)(aw_req *, size_t n);
    struct aw__reply **(*req_replies)(aw_req *);
    void (*replies_free)(struct aw__reply **);
    void (*client_free)(aw_loop *);
    struct aw_client *client;   /* the first one is its own */
    const struct aw_mock *mocks;        /* of upstreams, for tests */
    void (*on_suspend)(aw__task *);     /* chaos mode, cancel at an await */
    bool (*poll_more)(aw_loop *);       /* in-memory sockets */
    int (*sim_want)(aw_loop *, int fd);
    void (*sim_free)(aw_loop *);
    void (*before_run)(aw_loop *);      /* chaos mode: reorders `ready` */
    aw__chaos chaos;
    const aw__checks *checks;   /* if `debug` */
    const char *stack;          /* where it was when the turn began, or NULL */
    int poller;                 /* epoll or kqueue */
    void *poll_set;             /* poll: array of struct pollfd */
    int poll_cap;
    int wake_read, wake_write;  /* another thread or a signal says: look */
    void (*log)(void *, aw_log_level, const char *);
    void *log_data;
    int worker;                 /* its pid; 0: this process is none */
    struct aw__threads *threads;
    int64_t names_ms;
    struct aw__name *names;     /* known or asked for; the last used first */
    void (*names_lost)(aw_loop *);
    void (*names_free)(aw_loop *);
    struct aw__sim *sim;        /* in-memory sockets and chaos, for tests */
    struct aw__server *server;
    void (*server_free)(aw_loop *);
#ifdef ASYNCWEB_BEARSSL
    struct aw__tls_loop *tls;   /* NULL: nobody has spoken TLS yet */
    int64_t tls_epoch;          /* unix time of virtual time 0, for tests */
    int (*tls_want)(aw_loop *, int fd, int want);
    int (*tls_wanted)(const aw_loop *, int fd);
    int (*tls_event)(aw_loop *, int fd, int events);
    bool (*tls_soon)(const aw_loop *);  /* has tls_poll anything to tell? */
    bool (*tls_poll)(aw_loop *);
    void (*tls_free)(aw_loop *);
#endif
};

/* >>floor3 log ------------------------------------------------------------- */

static void AW__PRINTF(3, 4)
aw__log(const aw_loop *l, aw_log_level level, const char *format, ...)
{
    char line[AW__LINE];
    va_list args;
    va_start(args, format);
    (void)aw__vprint(line, sizeof line, format, args);
    va_end(args);
    if (l && l->log) l->log(l->log_data, level, line);
    else if (l && l->worker) aw__say("[%d] %s", l->worker, line);
    else aw__say("%s", line);
}

/* >>floor3 stale  Pointers into the dead C stack --------------------------- */

/* Debug mode. When a task suspends, the C stack of its step is gone, so what
   its frame and arguments hold is looked through for pointers in there. The
   text of the declarations tells where pointers are, and what to call them;
   plain data and padding may hold anything. Without text (NDEBUG, awaitables
   that copy what they are given) nothing is looked at. */

/* How far below the turn the variables of a step may lie. */
enum { AW__STALE_REACH = 65536 };

#if defined(__GNUC__) || defined(__clang__) || defined(__TINYC__)
#define AW__STACK_HERE ((const char *)__builtin_frame_address(0))
#else
#define AW__STACK_HERE NULL
#endif

/* name NULL: of unknown type, and all that follows it. */
typedef struct aw__stale_field {
    const char *name;
    int name_size;
    bool points;
    size_t offset, size, align;
} aw__stale_field;

#define AW__STALE_TYPES(X) \
    X("bool", bool) X("char", char) X("int", int) X("short", short) \
    X("long", long) X("long int", long) X("long long", long long) \
    X("float", float) X("double", double) X("size_t", size_t) \
    X("int8_t", int8_t) X("int16_t", int16_t) X("int32_t", int32_t) \
    X("int64_t", int64_t) X("uint8_t", uint8_t) X("uint16_t", uint16_t) \
    X("uint32_t", uint32_t) X("uint64_t", uint64_t) X("aw_task", aw_task) \
    X("aw_slice", aw_slice) X("aw_bound", aw_bound) X("aw_event", aw_event) \
    X("aw_semaphore", aw_semaphore) X("aw_queue", aw_queue)

/* The size of a type, and its alignment, at most 8: a struct has that of its
   widest member, which is a pointer or an int64_t here. */
static size_t aw__stale_type_size(const char *name, size_t *align)
{
    struct aligned { char c; int64_t x; };
    static const struct {
        const char *name;
        size_t size;
    } types[] = {
#define AW__STALE_ROW(text, T) {text, sizeof(T)},
        AW__STALE_TYPES(AW__STALE_ROW)
#undef AW__STALE_ROW
    };
    size_t i, n = sizeof types / sizeof *types;
    for (i = 0; i < n && strcmp(types[i].name, name) != 0; i++) {}
    *align = offsetof(struct aligned, x);
    if (i == n) return 0;
    if (strncmp(name, "aw_", 3) == 0) {
        if (strcmp(name, "aw_bound") != 0) *align = sizeof(void *);
    } else if (types[i].size < *align) {
        *align = types[i].size;
    }
    return types[i].size;
}

static const char *aw__stale_word_end(const char *p)
{
    while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
           (*p >= '0' && *p <= '9') || *p == '_') p++;
    return p;
}

/* Reads the words in front of the first declarator into `type`, without what
   does not change the size. */
static const char *aw__stale_read_type(const char *p, char *type, size_t cap)
{
    size_t n = 0;
    bool sign = false;
    for (;;) {
        const char *end = aw__stale_word_end(p), *next = end + strspn(end, " ");
        const size_t size = (size_t)(end - p);
        if (size == 0 ||
            (aw__stale_word_end(next) == next && !strchr("*(", *next)))
            break;
        if ((size == 5 && memcmp(p, "const", 5) == 0) ||
            (size == 8 && memcmp(p, "volatile", 8) == 0)) {
        } else if ((size == 8 && memcmp(p, "unsigned", 8) == 0) ||
                   (size == 6 && memcmp(p, "signed", 6) == 0)) {
            sign = true;
        } else if (n + size + 2 < cap) {
            if (n) type[n++] = ' ';
            memcpy(type + n, p, size);
            n += size;
        }
        p = next;
    }
    type[n] = 0;
    if ((n == 0 && sign) || strncmp(type, "enum ", 5) == 0)
        memcpy(type, "int", 4);
    return p;
}

/* Reads a declarator: `name`, `*name`, `(*name)(...)`, `name[10]`. */
static const char *aw__stale_read_declarator(const char *p, const char *type,
                                       aw__stale_field *f)
{
    int depth = 0;
    f->points = false;
    for (; *p && strchr("* (", *p); p++) {
        f->points |= *p == '*';
        depth += *p == '(';
        if (strncmp(p + 1, "const ", 6) == 0) p += 5;
    }
    f->name = p;
    p = aw__stale_word_end(p);
    f->name_size = (int)(p - f->name);
    f->size = aw__stale_type_size(f->points ? "size_t" : type, &f->align);
    /* A bound call's arguments are looked at when it runs. */
    f->points |= strncmp(type, "aw_", 3) == 0 && strcmp(type, "aw_bound") != 0;
    while (*p == '[' && p[1] >= '0' && p[1] <= '9') {
        size_t n = 0;
        while (*++p >= '0' && *p <= '9') n = n * 10 + (size_t)(*p - '0');
        f->size *= n;
        if (*p == ']') p++;
    }
    if (*p == '[' || *p == ':') f->size = 0;
    for (; *p && (depth || !strchr(",;", *p)); p++)
        depth += (*p == '(' || *p == '[') - (*p == ')' || *p == ']');
    return p;
}

/* A walk over the fields of fn's frame: arguments, then locals. */
typedef struct aw__stale_walk {
    const aw_fn *fn;
    const char *p;              /* their text, from here on */
    size_t offset;
    bool in_args, in_list;
    char type[64];
} aw__stale_walk;

static void aw__stale_begin(aw__stale_walk *w, const aw_fn *fn)
{
    memset(w, 0, sizeof *w);
    w->fn = fn;
    w->in_args = *fn->fields == '(';
    w->p = fn->fields + w->in_args;
    w->offset = sizeof(aw_frame);
}

/* A field of unknown size makes one of all that follows it in its part. It
   may be aligned to 16: what lies before is padding, and never written. */
static void aw__stale_unknown(aw__stale_walk *w, aw__stale_field *f)
{
    const size_t end = w->in_args ? w->fn->locals : w->fn->size;
    int depth = 0;
    for (; *w->p && (depth || !w->in_args || *w->p != ')'); w->p++)
        depth += (*w->p == '(') - (*w->p == ')');
    f->name = NULL;
    f->points = true;
    f->offset = (w->offset + 15) & ~(size_t)15;
    f->size = end > f->offset ? end - f->offset : 0;
    w->in_list = false;
}

/* False: there are no more. */
static bool aw__stale_next(aw__stale_walk *w, aw__stale_field *f)
{
    if (!w->in_list) {
        w->p += strspn(w->p, " ;\n\t");
        if (w->in_args && *w->p == ')') {
            w->in_args = false;
            w->offset = (size_t)w->fn->locals + 1;      /* aw_locals */
            w->p++;
            w->p += strspn(w->p, " ;\n\t");
        }
        if (!*w->p) return false;
        w->p = aw__stale_read_type(w->p, w->type, sizeof w->type);
    }
    w->p = aw__stale_read_declarator(w->p + (*w->p == ','), w->type, f);
    w->in_list = *w->p == ',';
    if (f->size == 0) {
        aw__stale_unknown(w, f);
        return true;
    }
    f->offset = (w->offset + f->align - 1) / f->align * f->align;
    w->offset = f->offset + f->size;
    return true;
}

static void aw__stale_found(const aw_frame *f, const aw_fn *fn,
                            const aw__stale_field *field, size_t at)
{
    char name[100];
    if (field->name)
        aw__print(name, sizeof name, "`%.*s`", field->name_size, field->name);
    else
        aw__print(name, sizeof name, "byte %u of its frame", (unsigned)at);
    aw__die("%s:%u: in %s: %s%s%s points to a variable of a step that is over; "
            "copy it or make it a local of the ASYNC",
            f->fn->file, (unsigned)(f->pc < AW__PC_FINALLY ? f->pc : 0),
            f->fn->name, name,
            fn == f->fn ? "" : " of ", fn == f->fn ? "" : fn->name);
}

/* Looks through what fn's declarations say of a frame, or of arguments. */
static void aw__stale_scan(const aw_loop *l, const aw_frame *f,
                           const aw_fn *fn, const char *base)
{
    const uintptr_t top = (uintptr_t)l->stack;
    aw__stale_walk walk;
    aw__stale_field field;
    uintptr_t value;
    if (!top) return;
    aw__stale_begin(&walk, fn);
    while (aw__stale_next(&walk, &field)) {
        size_t at = field.offset, end = at + field.size;
        for (; field.points && at + sizeof value <= end; at += sizeof value) {
            memcpy(&value, base + at - sizeof(aw_frame), sizeof value);
            if (value < top && top - value <= AW__STALE_REACH)
                aw__stale_found(f, fn, &field, at);
        }
    }
}

static AW__NOINLINE void aw__stale_frame(const aw__task *t, const aw_frame *f)
{
    aw__stale_scan(t->ctx.loop, f, f->fn, (const char *)(f + 1));
}

/* Arguments of a leaf that has begun to wait in the top frame. */
static void aw__stale_args(const aw__task *t, const aw_fn *fn,
                           const void *args)
{
    aw__stale_scan(t->ctx.loop, t->top, fn, (const char *)args);
}

/* Where START_TO will put a result. */
static void aw__stale_result(const aw__task *t, const aw_frame *f,
                             const int *result)
{
    const uintptr_t top = (uintptr_t)t->ctx.loop->stack;
    const uintptr_t value = (uintptr_t)result;
    if (!result || value >= top || top - value > AW__STALE_REACH) return;
    aw__die("%s:%u: in %s: the result of START_TO has to be a local of the "
            "ASYNC: self->...", f->fn->file, (unsigned)f->pc, f->fn->name);
}

static const aw__checks aw__stale_checks = {
    aw__stale_frame, aw__stale_args, aw__stale_result};

/* >>floor3 timers  A hierarchical wheel ------------------------------------ */

static void aw__wheel_init(aw__wheel *w, int64_t now)
{
    int level, slot;
    for (level = 0; level < AW__WHEEL_LEVELS; level++)
        for (slot = 0; slot < AW__WHEEL_SLOTS; slot++)
            aw__list_init(&w->slots[level][slot]);
    aw__list_init(&w->far);
    aw__list_init(&w->fresh);
    w->tick = now;
}

/* A timer that is due after w->tick, or at it while it is being handled. */
static void aw__wheel_put(aw__wheel *w, aw__timer *t)
{
    int64_t when = t->due >> 2;
    uint64_t differs = (uint64_t)(when ^ w->tick);
    int level = differs ? aw__log2(differs) / AW__WHEEL_BITS : 0;
    int slot;
    if (level >= AW__WHEEL_LEVELS) {
        when >>= AW__WHEEL_LEVELS * AW__WHEEL_BITS;
        if (aw__list_empty(&w->far) || when < w->far_first) w->far_first = when;
        aw__list_add(&w->far, &t->link);
        return;
    }
    slot = (int)(when >> (level * AW__WHEEL_BITS)) & (AW__WHEEL_SLOTS - 1);
    w->bits[level] |= (uint64_t)1 << slot;
    aw__list_add(&w->slots[level][slot], &t->link);
}

/* Starts t, to fire ms after the next clock read: a step may have taken long
   since the last one, and no timer may be early. AW_FOREVER: not at all. */
static void aw__timer_start(aw_loop *l, aw__timer *t, int64_t ms, int kind)
{
    const int64_t longest = INT64_MAX >> 4;
    t->link.next = NULL;
    if (ms == AW_FOREVER) return;
    if (ms < 0) ms = 0;
    if (ms > longest) ms = longest;
    t->due = ms * 4 + kind;
    aw__list_add(&l->wheel.fresh, &t->link);
    l->wheel.count++;
}

static void aw__timer_stop(aw_loop *l, aw__timer *t)
{
    if (!t->link.next) return;
    aw__list_remove(&t->link);
    l->wheel.count--;
}

/* Gives fresh timers their due time; l->now has just been read. The clock was
   rounded down, so a full millisecond more keeps timers from being early. */
static void aw__wheel_stamp(aw_loop *l)
{
    aw__wheel *w = &l->wheel;
    const int64_t now = l->now + !l->is_virtual;
    while (!aw__list_empty(&w->fresh)) {
        aw__timer *t = (aw__timer *)w->fresh.next;
        aw__list_remove(&t->link);
        /* The tick of `now` may have been handled: due then means next. */
        t->due += (now + (now <= w->tick && t->due < 4)) * 4;
        aw__wheel_put(w, t);
    }
}

/* The next tick at which a slot has to be looked at; INT64_MAX: none. A slot
   of a higher level is looked at when its span begins. Bits of slots whose
   timers were all stopped are dropped here, so that nobody wakes for them. */
static int64_t aw__wheel_next(aw__wheel *w, int *level, int *slot)
{
    int n;
    for (n = 0; w->count && n < AW__WHEEL_LEVELS; n++) {
        int shift = n * AW__WHEEL_BITS;
        int at = (int)(w->tick >> shift) & (AW__WHEEL_SLOTS - 1);
        for (;;) {
            uint64_t mask = at == 63 ? 0 : ~(uint64_t)0 << (at + 1);
            if (!(w->bits[n] & mask)) break;
            *level = n;
            *slot = aw__lowest(w->bits[n] & mask);
            if (!aw__list_empty(&w->slots[n][*slot]))
                return ((w->tick >> shift) - at + *slot) *
                    ((int64_t)1 << shift);
            w->bits[n] &= ~((uint64_t)1 << *slot);
        }
    }
    if (!w->count || aw__list_empty(&w->far)) return INT64_MAX;
    *level = AW__WHEEL_LEVELS;
    return w->far_first * ((int64_t)1 << (AW__WHEEL_LEVELS * AW__WHEEL_BITS));
}

/* Puts the timers of a higher level's slot where they belong now. */
static void aw__wheel_cascade(aw__wheel *w, aw__link *head)
{
    aw__link list;
    aw__list_move(&list, head);
    while (!aw__list_empty(&list)) {
        aw__timer *t = (aw__timer *)list.next;
        aw__list_remove(&t->link);
        aw__wheel_put(w, t);
    }
}

/* Goes to the next occupied tick <= l->now. Timers due at it are moved to
   `due`, in the order they were started. False: there is none. */
static bool aw__wheel_turn(aw_loop *l, aw__link *due)
{
    aw__wheel *w = &l->wheel;
    int level = 0, slot = 0;
    for (;;) {
        int64_t next = aw__wheel_next(w, &level, &slot);
        if (next > l->now) break;
        w->tick = next;
        if (level == AW__WHEEL_LEVELS) aw__wheel_cascade(w, &w->far);
        else if (level > 0) aw__wheel_cascade(w, &w->slots[level][slot]);
        /* What is due right at this tick lies in the slot of the tick
           itself, where aw__wheel_next does not look. */
        slot = (int)(w->tick & (AW__WHEEL_SLOTS - 1));
        aw__list_move(due, &w->slots[0][slot]);
        if (!aw__list_empty(due)) return true;
    }
    if (l->now > w->tick) w->tick = l->now;
    return false;
}

/* >>floor3 poller  epoll, kqueue or poll behind five functions ------------- */

/* With AW_READ, AW_WRITE. AW__ONCE: for one event. AW__RESET, alone: to hear of
   a reset although nothing is to be read or written; never with kqueue. */
enum { AW__ONCE = 4, AW__RESET = 8 };

/* The entry of fd, made when needed. NULL: out of memory. */
static aw__fd *aw__fd_entry(aw_loop *l, int fd)
{
    int cap = l->fd_cap ? l->fd_cap : AW__SIZED(64, 16);
    aw__fd *fds;
    if (fd < l->fd_cap) return &l->fds[fd];
    while (cap <= fd) cap *= 2;
    fds = (aw__fd *)aw__mem_resize(&l->mem, l->fds,
                                   (size_t)l->fd_cap * sizeof *fds,
                                   (size_t)cap * sizeof *fds);
    if (!fds) return NULL;
    memset(fds + l->fd_cap, 0, (size_t)(cap - l->fd_cap) * sizeof *fds);
    l->fds = fds;
    l->fd_cap = cap;
    return &l->fds[fd];
}

/* Right after the wait: what its events lead to is stamped with the time they
   came, not with that of the turn before. */
static void aw__clock_read(aw_loop *l)
{
    if (!l->is_virtual) l->now = aw__sys_now_ms();
    l->clock_due = false;
}

/* An event of the kernel's. One that was queued for an earlier registration
   of the same descriptor carries another generation. Who did not ask to hear
   of resets reads or writes, and finds out. */
static void aw__fd_event(aw_loop *l, int fd, uint32_t generation, int events)
{
    aw__fd *e = fd < l->fd_cap ? &l->fds[fd] : NULL;
    if (!e || e->kind == AW__FD_FREE || e->generation != generation) return;
    if (!(e->have & AW__RESET)) events &= ~AW__RESET;
    else if (events & AW__RESET) events = AW__RESET;
#ifdef ASYNCWEB_BEARSSL
    if (e->tls) events = l->tls_event(l, fd, events);
#endif
    if (e->have & AW__ONCE) e->have = 0;
    if (events && l->on_fd[e->kind]) l->on_fd[e->kind](l, fd, events);
}

#if defined(ASYNCWEB_POLL)
#define AW__POLLER "poll"

static int aw__poll_open(aw_loop *l)
{
    l->poller = -1;
    return 0;
}

/* The set grows here, where running out of memory is the result of an await,
   and not in the turn, where it would be nobody's. */
static int aw__poll_ctl(aw_loop *l, int fd, aw__fd *e, int want)
{
    void *set;
    (void)e;
    if (want && fcntl(fd, F_GETFD) < 0) return AW_EBADF;
    if (!want || l->poll_cap >= l->fd_cap) return 0;
    set = aw__mem_resize(&l->mem, l->poll_set,
                         (size_t)l->poll_cap * sizeof(struct pollfd),
                         (size_t)l->fd_cap * sizeof(struct pollfd));
    if (!set) return AW_ENOMEM;
    l->poll_set = set;
    l->poll_cap = l->fd_cap;
    return 0;
}

static void aw__poll_close(aw_loop *l)
{
    aw__mem_put(&l->mem, l->poll_set,
                (size_t)l->poll_cap * sizeof(struct pollfd));
    l->poll_set = NULL;
    l->poll_cap = 0;
}

/* Fills the set anew each turn: this is the fallback that works everywhere,
   and the table is what a kernel queue would remember. */
static int aw__poll_fill(aw_loop *l)
{
    struct pollfd *set = (struct pollfd *)l->poll_set;
    const int end = l->sim && l->fd_cap > AW__SIM_FD ? AW__SIM_FD : l->fd_cap;
    int fd, n = 0;
    for (fd = 0; fd < end; fd++) {
        const aw__fd *e = &l->fds[fd];
        if (e->kind == AW__FD_FREE ||
            !(e->have & (AW_READ | AW_WRITE | AW__RESET))) continue;
        l->fds[fd].polled = 1;
        set[n].fd = fd;
        set[n].events = (short)((e->have & AW_READ ? POLLIN : 0) |
                                (e->have & AW_WRITE ? POLLOUT : 0));
        set[n++].revents = 0;
    }
    return n;
}

/* An event of an earlier member may have closed this descriptor, and opened
   it for something else: then it was not polled. */
static void aw__poll_event(aw_loop *l, const struct pollfd *p)
{
    const aw__fd *e = &l->fds[p->fd];
    int events = 0;
    if (!e->polled || !p->revents) return;
    if (p->revents & ~POLLOUT) events |= AW_READ;
    if (p->revents & ~POLLIN) events |= AW_WRITE;
    if (p->revents & (POLLERR | POLLHUP)) events |= AW__RESET;
    aw__fd_event(l, p->fd, e->generation, events & e->have);
}

static int aw__poll_wait(aw_loop *l, int ms)
{
    int i, ready, n = aw__poll_fill(l);
    ready = aw__sys_poll((struct pollfd *)l->poll_set, (nfds_t)n, ms);
    aw__clock_read(l);
    if (ready < 0) return errno == EINTR ? 0 : aw__errno();
    for (i = 0; ready && i < n; i++)
        aw__poll_event(l, (struct pollfd *)l->poll_set + i);
    return ready;
}

#elif defined(__linux__)
#define AW__POLLER "epoll"

static int aw__poll_open(aw_loop *l)
{
    l->poller = aw__sys_epoll_open();
    return l->poller < 0 ? aw__errno() : 0;
}

static void aw__poll_close(aw_loop *l)
{
    if (l->poller >= 0) close(l->poller);
}

/* Nothing wanted means taken out: the kernel reports errors and hang-ups of
   every descriptor it has, again and again. */
static int aw__poll_ctl(aw_loop *l, int fd, aw__fd *e, int want)
{
    struct epoll_event ev;
    int op = !want ? EPOLL_CTL_DEL
        : e->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    memset(&ev, 0, sizeof ev);
    ev.events = (want & AW_READ ? EPOLLIN | EPOLLRDHUP : 0u) |
                (want & AW_WRITE ? (uint32_t)EPOLLOUT : 0u) |
                (want & AW__ONCE ? (uint32_t)EPOLLONESHOT : 0u);
    ev.data.u64 = (uint64_t)e->generation << 32 | (uint32_t)fd;
    if (!want && !e->registered) return 0;
    e->registered = want != 0;
    if (aw__sys_epoll_ctl(l->poller, op, fd, &ev) == 0 || !want) return 0;
    /* The user closed and opened it again behind our back, or it is known
       to the kernel although we forgot. */
    if (errno == ENOENT || errno == EEXIST) {
        op = op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        if (aw__sys_epoll_ctl(l->poller, op, fd, &ev) == 0) return 0;
    }
    e->registered = 0;
    return aw__errno();
}

static void aw__poll_event(aw_loop *l, const struct epoll_event *e)
{
    int ready = 0;
    if (e->events & ~(uint32_t)EPOLLOUT) ready |= AW_READ;
    if (e->events & ~(uint32_t)(EPOLLIN | EPOLLRDHUP)) ready |= AW_WRITE;
    if (e->events & (EPOLLERR | EPOLLHUP)) ready |= AW__RESET;
    aw__fd_event(l, (int)(uint32_t)e->data.u64, (uint32_t)(e->data.u64 >> 32),
                 ready);
}

static int aw__poll_wait(aw_loop *l, int ms)
{
    enum { MOST = AW__SIZED(256, 32) };
    struct epoll_event events[MOST];
    const int all = l->fd_count;
    int i, n, seen = 0;
    do {
        n = aw__sys_epoll_wait(l->poller, events, MOST, seen ? 0 : ms);
        if (!seen) aw__clock_read(l);
        if (n < 0) return errno == EINTR ? seen : aw__errno();
        for (i = 0; i < n; i++) aw__poll_event(l, &events[i]);
        seen += n;
    } while (n == MOST && seen < all);
    return seen;
}

#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || \
    defined(__OpenBSD__) || defined(__DragonFly__)
#define AW__POLLER "kqueue"

static int aw__poll_open(aw_loop *l)
{
    l->poller = kqueue();
    if (l->poller < 0) return aw__errno();
    (void)fcntl(l->poller, F_SETFD, FD_CLOEXEC);
    return 0;
}

static void aw__poll_close(aw_loop *l)
{
    if (l->poller >= 0) close(l->poller);
}

/* One filter of one descriptor. The generation travels in udata. */
static int aw__poll_filter(aw_loop *l, int fd, const aw__fd *e, bool write,
                           int flags)
{
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, write ? EVFILT_WRITE : EVFILT_READ,
           (unsigned short)flags, 0, 0, 0);
    memcpy(&change.udata, &e->generation, sizeof e->generation);
    return kevent(l->poller, &change, 1, NULL, 0, NULL);
}

static int aw__poll_ctl(aw_loop *l, int fd, aw__fd *e, int want)
{
    struct stat about;
    int write;
    /* At its end a regular file counts as never readable: refuse it, as epoll
       does; the caller knows that it is always ready. */
    if (want && fstat(fd, &about) == 0 && S_ISREG(about.st_mode))
        return AW_EACCES;
    for (write = 0; write <= 1; write++) {
        int bit = write ? AW_WRITE : AW_READ;
        int add = EV_ADD | (want & AW__ONCE ? EV_ONESHOT : 0);
        if (want & bit) {
            if (aw__poll_filter(l, fd, e, write, add) < 0) return aw__errno();
        } else if (e->registered & bit) {
            (void)aw__poll_filter(l, fd, e, write, EV_DELETE);
        }
    }
    e->registered = (uint8_t)(want & (AW_READ | AW_WRITE));
    return 0;
}

static int aw__poll_wait(aw_loop *l, int ms)
{
    struct kevent events[256];
    struct timespec limit;
    int i, n;
    limit.tv_sec = ms / 1000;
    limit.tv_nsec = (long)(ms % 1000) * 1000000;
    n = kevent(l->poller, NULL, 0, events, 256, ms < 0 ? NULL : &limit);
    aw__clock_read(l);
    if (n < 0) return errno == EINTR ? 0 : aw__errno();
    for (i = 0; i < n; i++) {
        uint32_t generation;
        int ready = events[i].filter == EVFILT_WRITE ? AW_WRITE : AW_READ;
        memcpy(&generation, &events[i].udata, sizeof generation);
        aw__fd_event(l, (int)events[i].ident, generation, ready);
    }
    return n;
}

#else
#error "asyncweb.h: no epoll or kqueue here; build with -DASYNCWEB_POLL"
#endif

/* Has the kernel watch fd for `want`. A system call only when that is a
   change. */
static int aw__fd_watch(aw_loop *l, int fd, int want)
{
    aw__fd *e = &l->fds[fd];
    int rc = 0;
    if (e->have == want && !(want & AW__ONCE)) return 0;
    rc = AW__UNLIKELY(l->sim != NULL) && fd >= AW__SIM_FD
        ? l->sim_want(l, fd) : aw__poll_ctl(l, fd, e, want);
    e->have = (uint8_t)(rc < 0 ? 0 : want);
    return rc;
}

/* What the owner of fd waits for: AW_READ | AW_WRITE, perhaps AW__ONCE; 0 for
   nothing. Under TLS, to read may need a socket that takes bytes. */
static int aw__fd_want(aw_loop *l, int fd, int want)
{
#ifdef ASYNCWEB_BEARSSL
    if (l->fds[fd].tls) return l->tls_want(l, fd, want);
#endif
    return aw__fd_watch(l, fd, want);
}

static int aw__fd_wanted(const aw_loop *l, int fd)
{
#ifdef ASYNCWEB_BEARSSL
    if (l->fds[fd].tls) return l->tls_wanted(l, fd);
#endif
    return l->fds[fd].have;
}

/* From now on events of fd go to on_fd[kind]. 0; AW_ENOMEM. */
static int aw__fd_open(aw_loop *l, int fd, int kind, void *object)
{
    aw__fd *e = fd < 0 ? NULL : aw__fd_entry(l, fd);
    if (!e) return fd < 0 ? AW_EBADF : AW_ENOMEM;
    e->kind = (uint8_t)kind;
    e->object = object;
    e->have = e->polled = 0;
    l->fd_count++;
    return 0;
}

/* Before it is closed: the kernel would go on reporting a descriptor that
   some other process (or a dup) still holds open. One whose only event has
   been had (AW__ONCE) stays registered, but is silent until armed again. */
static void aw__fd_forget(aw_loop *l, int fd)
{
    aw__fd *e = &l->fds[fd];
    if (e->kind == AW__FD_FREE) return;
    (void)aw__fd_want(l, fd, 0);
    (void)aw__fd_watch(l, fd, 0);
    e->kind = AW__FD_FREE;
    e->object = NULL;
    e->generation++;
    l->fd_count--;
}

/* >>floor3 tasks  Frames, cancellation, children --------------------------- */

/* The invariants of this section:
   - t->wait is set exactly while the task is suspended in a leaf; what ends
     that wait clears it, stores t->ctx.rc and makes the task ready. From then
     on the result will be delivered, whatever else happens (rule 6).
   - f->cancel is set on the frames that were asked to end: a run of them up
     to t->unwind, and perhaps another up to t->wider. A frame that stands in
     its FINALLY, or in a
     SHIELD, holds its await: frames it awaits are not marked (rule 4).
   - AW__CUT: the top frame is marked, holds nothing, and its await was not
     done or was taken back: it goes to its FINALLY instead of its body. */

static bool aw__holds(const aw_frame *f)
{
    return f->phase != AW__BODY || (f->flags & AW__SHIELD);
}

static void aw__make_ready(aw__task *t)
{
    aw_loop *l = t->ctx.loop;
    if (t->ctx.flags & AW__READY) return;
    t->ctx.flags |= AW__READY;
    l->ready_count++;
    t->next = NULL;
    *l->ready_tail = t;
    l->ready_tail = &t->next;
}

/* A leaf's wait is over: its result will be delivered. */
static void aw__complete(aw__task *t, int rc)
{
    t->wait = NULL;
    t->ctx.rc = rc;
    aw__make_ready(t);
}

/* A leaf begins to wait. */
static aw_use_RETURN_not_return aw__wait_on(aw__task *t, const aw__wait *w)
{
    t->wait = w;
    return aw__step(AW__SUSPEND);
}

/* A leaf is done without waiting. */
static aw_use_RETURN_not_return aw__at_once(aw__task *t, int rc)
{
    t->ctx.rc = rc;
    return aw__step(AW__AGAIN);
}

static void aw__undo_wait(aw__task *t)
{
    if (t->wait->undo) t->wait->undo(t);
    t->wait = NULL;
}

/* ---- waiters: for a task's end, an event, a semaphore, a queue ---- */

/* The head of such a list lies in a user's struct as a pointer to the oldest
   waiter, so that a zeroed struct is valid. */
static void aw__undo_waiter(aw__task *t)
{
    aw__waiter *w = &t->w.waiter, **head = (aw__waiter **)w->on;
    if (*head == w)
        *head = w->link.next == &w->link ? NULL : (aw__waiter *)w->link.next;
    aw__list_remove(&w->link);
}

static aw_use_RETURN_not_return aw__wait_in(aw__task *t, void **head,
                                            void *arg, const aw__wait *what)
{
    aw__waiter *w = &t->w.waiter;
    w->on = head;
    w->arg = arg;
    if (*head) aw__list_add((aw__link *)*head, &w->link);
    else *head = w, aw__list_init(&w->link);
    return aw__wait_on(t, what);
}

/* The oldest waiter leaves the list, its await done. NULL: there is none. */
static aw__task *aw__wake_first(void **head, int rc)
{
    aw__waiter *w = (aw__waiter *)*head;
    aw__task *t;
    if (!w) return NULL;
    t = (aw__task *)(void *)((char *)w - offsetof(aw__task, w));
    aw__undo_waiter(t);
    aw__complete(t, rc);
    return t;
}

/* ---- memory of a task: frames and what they own, last in, first out ---- */

static void aw__chunk_use(aw__task *t, aw__chunk *c)
{
    c->prev = t->chunk;
    c->save_at = t->at;
    c->save_end = t->end;
    t->bytes += (uint32_t)c->size;
    t->chunk = c;
    t->at = (char *)(((uintptr_t)(c + 1) + 15) & ~(uintptr_t)15);
    t->end = (char *)c + c->size;
}

/* A chunk that has become empty is kept until the task waits: a body that
   calls in a loop shall not allocate each time. */
static void aw__chunk_drop(aw__task *t, aw__chunk *c)
{
    aw__chunk *old = t->spare;
    t->spare = c;
    if (old) aw__mem_put(&t->ctx.loop->mem, old, old->size);
}

static AW__NOINLINE int aw__task_grow(aw__task *t, size_t n)
{
    aw_loop *l = t->ctx.loop;
    size_t size = t->chunk ? t->chunk->size : 256;
    aw__chunk *c = t->spare;
    if (n > l->max_task_bytes) return AW_ESTACK;
    if (c && c->size >= n + sizeof *c + 16 &&
        t->bytes + c->size <= l->max_task_bytes) {
        t->spare = NULL;
        aw__chunk_use(t, c);
        return 0;
    }
    if (size < AW__SIZED(16384, 1024)) size *= 2;
    if (size < n + sizeof *c + 16) size = n + sizeof *c + 16;
    size = (size + 63) & ~(size_t)63;
    if (t->bytes + size > l->max_task_bytes) return AW_ESTACK;
    c = (aw__chunk *)aw__mem_get(&l->mem, size);
    if (!c) return AW_ENOMEM;
    c->size = size;
    aw__chunk_use(t, c);
    return 0;
}

/* n bytes aligned to 16. NULL: the reason is in t->ctx.rc. */
static void *aw__task_get(aw__task *t, size_t n)
{
    char *p;
    int rc;
    n = n > SIZE_MAX - 15 ? n : (n + 15) & ~(size_t)15;
    if ((size_t)(t->end - t->at) < n && (rc = aw__task_grow(t, n)) < 0) {
        t->ctx.rc = rc;
        return NULL;
    }
    p = t->at;
    t->at += n;
    return p;
}

/* Drops everything from `to` on. */
static void aw__task_put(aw__task *t, void *to)
{
    const uintptr_t at = (uintptr_t)to;
    aw__chunk *c;
    while ((c = t->chunk) != NULL &&
           (at <= (uintptr_t)c || at > (uintptr_t)t->end)) {
        t->chunk = c->prev;
        t->at = c->save_at;
        t->end = c->save_end;
        t->bytes -= (uint32_t)c->size;
        aw__chunk_drop(t, c);
    }
    t->at = (char *)to;
}

static void *aw__extra_add(aw__task *t, aw_frame *owner, int kind, size_t size)
{
    aw__extra *x = (aw__extra *)aw__task_get(t, size);
    if (!x) return NULL;
    memset(x, 0, size);
    x->owner = owner;
    x->kind = kind;
    x->next = t->extras;
    t->extras = x;
    return x;
}

/* ---- slots: where handles lead ---- */

/* Freed slots are used again in order, and not before this many are free, so
   that the result of an ended task can be asked for a while. */
enum { AW__SLOTS_RESTING = AW__SIZED(64, 8) };

static bool aw__slots_grow(aw_loop *l)
{
    int32_t i, cap = l->slot_cap ? l->slot_cap * 2 : 2 * AW__SLOTS_RESTING;
    aw__slot *slots;
    if (l->slot_cap > INT32_MAX / 2) return false;
    slots = (aw__slot *)aw__mem_resize(&l->mem, l->slots,
                                       (size_t)l->slot_cap * sizeof *slots,
                                       (size_t)cap * sizeof *slots);
    if (!slots) return false;
    for (i = l->slot_cap; i < cap; i++) {
        memset(&slots[i], 0, sizeof slots[i]);
        slots[i].u.result = AW_ENOTASK;
    }
    l->slots = slots;
    l->slot_cap = cap;
    return true;
}

/* Gives t a slot. False: out of memory. */
static bool aw__slot_take(aw_loop *l, aw__task *t)
{
    int32_t i = l->slot_free;
    if (l->slots_free > AW__SLOTS_RESTING) {
        l->slot_free = l->slots[i].next;
        l->slots_free--;
    } else {
        if (l->slot_count == l->slot_cap && !aw__slots_grow(l)) return false;
        i = l->slot_count++;
    }
    t->slot = i;
    l->slots[i].u.task = t;
    l->slots[i].generation++;
    return true;
}

/* A slot whose generation would come round is never used again. */
static void aw__slot_leave(aw_loop *l, int32_t i, int result)
{
    aw__slot *s = &l->slots[i];
    s->u.result = result;
    s->generation++;
    if (s->generation == 0) return;
    s->next = -1;
    if (l->slots_free++ == 0) l->slot_free = i;
    else l->slots[l->slot_last].next = i;
    l->slot_last = i;
}

static aw_task aw__handle(const aw__task *t)
{
    aw_task h;
    h.loop = t->ctx.loop;
    h.slot = t->slot;
    h.generation = h.loop->slots[t->slot].generation;
    return h;
}

/* A handle that tells why there is no task. */
static aw_task aw__no_task(int error)
{
    aw_task h;
    h.loop = NULL;
    h.slot = error;
    h.generation = 0;
    return h;
}

/* The task behind a handle, NULL when it has ended. */
static aw__task *aw__find(aw_task h)
{
    if (!h.loop || h.slot < 0 || h.slot >= h.loop->slot_count) return NULL;
    if (h.loop->slots[h.slot].generation != h.generation) return NULL;
    return h.generation & 1 ? h.loop->slots[h.slot].u.task : NULL;
}

/* ---- frames ---- */

static aw_use_RETURN_not_return aw__push(aw__task *t, const aw_fn *fn,
                                         const void *args)
{
    aw_frame *up = t->top, *f = (aw_frame *)aw__task_get(t, fn->size);
    if (!f) return aw__step(AW__AGAIN);
    if (AW__UNLIKELY(t->ctx.flags & AW__CHECKED) && up)
        t->ctx.loop->checks->frame(t, up);
    f->fn = fn;
    f->up = up;
    f->pc = 0;
    f->rc = 0;
    /* A function that was called is entered even when its caller was
       cancelled: it runs to its first await, and owns its arguments. */
    f->cancel = !up ? 0 : !aw__holds(up) ? up->cancel
        : t->ctx.flags & AW__NO_GRACE ? AW_EDEADLINE : 0;
    f->phase = AW__BODY;
    f->flags = 0;
    f->defer = NULL;
    memcpy(f + 1, args, fn->args);
    memset((char *)f + fn->locals, 0, fn->size - fn->locals);
    t->top = f;
    if (AW__UNLIKELY(fn->enter != NULL)) fn->enter(&t->ctx, f);
    return aw__step(AW__AGAIN);
}

static AW__NOINLINE aw_use_RETURN_not_return
aw__leaf_special(aw__task *t, const aw_fn *fn, const void *args)
{
    const aw_frame *f = t->top;
    aw_use_RETURN_not_return step;
    if (f->cancel && !aw__holds(f)) {
        t->ctx.flags |= AW__CUT;
        return aw__step(AW__AGAIN);
    }
    if (t->ctx.flags & AW__NO_GRACE) return aw__at_once(t, AW_EDEADLINE);
    step = fn->leaf(&t->ctx, args);
    if ((t->ctx.flags & AW__CHECKED) && step.aw_v == AW__SUSPEND)
        t->ctx.loop->checks->args(t, fn, args);
    return step;
}

/* Every leaf await passes here: the one place where cancellation and the end
   of the grace time are met. */
static aw_use_RETURN_not_return aw__leaf(aw__task *t, const aw_fn *fn,
                                         const void *args)
{
    if (AW__UNLIKELY(t->top->cancel ||
                     (t->ctx.flags & (AW__NO_GRACE | AW__CHECKED))))
        return aw__leaf_special(t, fn, args);
    return fn->leaf(&t->ctx, args);
}

aw_use_RETURN_not_return aw__call(aw__ctx *ctx, const aw_fn *fn,
                                  const void *args)
{
    aw__task *t = (aw__task *)ctx;
    return fn->leaf ? aw__leaf(t, fn, args) : aw__push(t, fn, args);
}

/* The body of a leaf that has a frame of its own: START(aw_sleep_ms, 5). */
static aw_use_RETURN_not_return aw__leaf_run(aw__ctx *ctx, aw_frame *f)
{
    if (f->phase & 1) return aw__step(AW__DONE);
    if (f->phase == AW__BODY && f->pc == 0) {
        f->pc = 1;
        return aw__leaf((aw__task *)ctx, f->fn, f + 1);
    }
    if (f->phase == AW__BODY) f->rc = ctx->rc;
    f->phase = AW__OVER;
    return aw__step(AW__DONE);
}

/* `fields` are those arguments whose pointers must stay valid while it waits:
   debug mode looks where they point. */
#define AW__LEAF(name) AW__LEAF_FN(name, "", NULL)
#define AW__LEAF_KEEPS(name, fields) AW__LEAF_FN(name, fields, NULL)
#define AW__LEAF_FN(name, fields, enter) \
    AW__OBJECT AW__LEAF_OF(name, fields, enter)
#define AW__LEAF_PRIVATE(name) static AW__LEAF_OF(name, "", NULL)
#define AW__LEAF_OF(name, fields, enter) \
    const aw_fn aw_fn_##name = { \
        #name, "asyncweb.h", aw__leaf_run, aw__##name, \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_args_##name) - AW__ARGS_FROM), fields, enter}

/* The arguments of a leaf, as its struct. */
#define AW__LEAF_ARGS(name, p) \
    ((const aw_args_##name *)(const void *)((const char *)(p) - AW__ARGS_FROM))

/* A leaf that was not awaited but started has a frame, and runs when the
   caller's C stack is gone: this copies its text before. */
static const char aw__text_lost[] = "";

static void aw__text_keep(aw__ctx *ctx, const char **text)
{
    const size_t n = *text ? strlen(*text) + 1 : 0;
    char *copy;
    if (n == 0) return;
    copy = (char *)aw__task_get((aw__task *)ctx, n);
    if (copy) memcpy(copy, *text, n);
    *text = copy ? copy : aw__text_lost;
}

/* The arguments in a frame, as the struct that a call fills. */
static void *aw__frame_args(aw_frame *f)
{
    return (char *)(f + 1) - AW__ARGS_FROM;
}

void aw__fell(aw_frame *f)
{
    if (f->phase != AW__BODY) {
        f->phase = AW__OVER;
        return;
    }
    if (f->flags & AW__GROUP) {
        f->phase = AW__LEAVING;     /* pc still tells where, for the dump */
        return;
    }
    f->phase = AW__FINAL;
    f->pc = AW__PC_FINALLY;
}

void aw__bad_await(const aw_frame *f)
{
    aw__die("%s:%u: in %s: this await stands inside a switch of the body's "
            "own; await outside of it (or use if/else)",
            f->fn->file, (unsigned)f->pc, f->fn->name);
}

/* ---- where errors came through ---- */

static void aw__trace_add(aw__task *t, const aw_frame *f, int rc, uint32_t line)
{
    aw__trace *trace = t->trace;
    if (!trace) {
        trace = (aw__trace *)aw__mem_get(&t->ctx.loop->mem, sizeof *trace);
        if (!trace) return;
        t->trace = trace;
        trace->to = NULL;
    }
    if (trace->to != f || trace->rc != rc) trace->count = 0;
    trace->to = f->up;
    trace->rc = rc;
    if (trace->count == AW__TRACE_MAX) return;
    trace->at[trace->count].fn = f->fn;
    trace->at[trace->count++].line = line;
}

static void aw__trace_drop(aw__task *t)
{
    if (t->trace) aw__mem_put(&t->ctx.loop->mem, t->trace, sizeof *t->trace);
    t->trace = NULL;
}

/* Logs an error and the way it came, the outermost function first. */
static void aw__log_error(const aw__task *t, const char *what, int rc)
{
    const aw__trace *trace = t->trace && t->trace->rc == rc ? t->trace : NULL;
    int i;
    if (rc <= AW_HTTP(100) && rc >= AW_HTTP(599))
        aw__log(t->ctx.loop, AW_LOG_ERROR, "%s: HTTP status %d", what,
                AW_HTTP(0) - rc);
    else
        aw__log(t->ctx.loop, AW_LOG_ERROR, "%s: %s (%d)", what,
                aw_strerror(rc), rc);
    for (i = trace ? trace->count - 1 : -1; i >= 0; i--)
        aw__log(t->ctx.loop, AW_LOG_ERROR, "    in %s at %s:%u",
                trace->at[i].fn->name, trace->at[i].fn->file,
                (unsigned)trace->at[i].line);
}

aw_use_RETURN_not_return aw__leave(aw__ctx *ctx, aw_frame *f, int rc, int line)
{
    if (f->phase == AW__BODY) {
        f->rc = rc;
        /* A status is an answer more than an error: no trail. */
        if (rc < 0 && rc > AW_HTTP(0))
            aw__trace_add((aw__task *)ctx, f, rc, (uint32_t)line);
        f->pc = (uint32_t)line;
    }
    aw__fell(f);
    return aw__step(AW__AGAIN);
}

/* A negative result reached an AWAIT. True: the function is to be left. */
bool aw__failed(aw__ctx *ctx, aw_frame *f)
{
    aw__task *t = (aw__task *)ctx;
    if (f->phase == AW__BODY) {
        (void)aw__leave(ctx, f, ctx->rc, (int)f->pc);
        return true;
    }
    if (ctx->rc == f->rc) aw__trace_drop(t);
    aw__trace_add(t, f, ctx->rc, f->pc);
    aw__log_error(t, "an await in FINALLY failed", ctx->rc);
    aw__trace_drop(t);
    return false;
}

/* ---- cancellation ---- */

/* The wait of the top frame is taken back, for it has been asked to end. One
   without undo (a helper thread that works on the frame's memory) cannot be:
   its result is delivered, and the await after it is cut. */
static void aw__cut_wait(aw__task *t)
{
    if (!t->wait || !t->wait->undo) return;
    aw__undo_wait(t);
    t->ctx.flags |= AW__CUT;
    aw__make_ready(t);
}

/* True when `to` lies further out than the frame `f`. */
static bool aw__is_around(const aw_frame *to, const aw_frame *f)
{
    while ((f = f->up) != NULL)
        if (f == to) return true;
    return false;
}

/* All up to the frame `to` is to be cleaned up. Each unwinding has one time
   for it: asking again does not prolong it, and when more is asked to end
   while an inner one is under way, the time for the rest begins after it. */
static void aw__unwind(aw__task *t, aw_frame *to)
{
    aw_loop *l = t->ctx.loop;
    if (t->unwind) {
        if (aw__is_around(to, t->wider ? t->wider : t->unwind)) t->wider = to;
        return;
    }
    t->unwind = to;
    aw__timer_start(l, &t->grace, l->cleanup_ms, AW__TIMER_GRACE);
}

/* The unwinding that frame f was the outermost part of is over. */
static void aw__unwound(aw__task *t, const aw_frame *f)
{
    aw_frame *wider = t->wider;
    if (f != t->unwind) return;
    t->unwind = t->wider = NULL;
    t->ctx.flags &= ~(unsigned)AW__NO_GRACE;
    aw__timer_stop(t->ctx.loop, &t->grace);
    if (wider) aw__unwind(t, wider);
}

/* Asks the frame `to` and all it awaits to end. A frame asked before keeps
   its reason; a request only ever moves outwards. */
static void aw__cancel_frame(aw__task *t, aw_frame *to, int why)
{
    aw_frame *f, *first = t->top;
    bool held = false;
    for (f = t->top;; f = f->up) {
        if (aw__holds(f)) first = f, held = true;
        if (f == to) break;
    }
    for (f = first;; f = f->up) {
        if (!f->cancel || (f->flags & AW__BY_GROUP)) f->cancel = why;
        f->flags &= (uint16_t)~AW__BY_GROUP;
        if (f == to) break;
    }
    aw__unwind(t, to);
    if (!held) aw__cut_wait(t);
}

/* cleanup_ms after it was asked to end, a task still waits in some FINALLY or
   SHIELD: from now on nothing in there waits. */
static void aw__grace_over(aw__task *t)
{
    aw_frame *f;
    t->ctx.flags |= AW__NO_GRACE;
    aw__log(t->ctx.loop, AW_LOG_WARNING,
            "%s: its clean-up took more than cleanup_ms (%lld ms); the awaits "
            "left in it fail now", t->top->fn->name,
            (long long)t->ctx.loop->cleanup_ms);
    for (f = t->top;; f = f->up) {
        if (f->phase == AW__BODY) {
            if (!f->cancel || (f->flags & AW__BY_GROUP))
                f->cancel = AW_EDEADLINE;
            f->flags &= (uint16_t)~(AW__SHIELD | AW__BY_GROUP);
        }
        if (f == t->unwind) break;
    }
    if (t->top->phase == AW__BODY) {
        aw__cut_wait(t);
    } else if (t->wait && t->wait->undo) {
        aw__undo_wait(t);
        aw__complete(t, AW_EDEADLINE);
    }
}

static void aw__cancel_task(aw__task *t, int why)
{
    aw_frame *root = t->top;
    while (root->up) root = root->up;
    aw__cancel_frame(t, root, why);
}

void aw_cancel(aw_task task)
{
    aw__task *t = aw__find(task);
    if (t) aw__cancel_task(t, AW_ECANCELED);
}

bool aw_ended(aw_task task)
{
    return !aw__find(task);
}

int aw_failed(aw_task task)
{
    return task.loop ? 0 : (int)task.slot;
}

/* ---- children ---- */

/* The group of frame f, NULL: it never started a child. */
static aw__group *aw__group_of(const aw__task *t, const aw_frame *f)
{
    aw__extra *x;
    if (!(f->flags & AW__GROUP)) return NULL;
    for (x = t->extras; x; x = x->next)
        if (x->owner == f && x->kind == AW__CHILDREN) break;
    return (aw__group *)x;
}

static void aw__cancel_kids(aw__group *g, int why)
{
    aw__link *k;
    for (k = g->kids.next; k != &g->kids; k = k->next)
        aw__cancel_task(((aw__kid *)k)->task, why);
}

/* Waiting for the children to have ended; for GATHER and RACE. */
static void aw__undo_children(aw__task *t)
{
    aw__group_of(t, t->top)->racing = false;
}

static const aw__wait aw__wait_children = {"its children",
                                           aw__undo_children};
/* The same at the end of a frame: nothing interrupts that. */
static const aw__wait aw__wait_drain = {"the end of its children", NULL};

/* A body that was asked to end because of a child learns of the error now,
   as the result of its GATHER: it need not end any more. */
static int aw__forgive(aw__task *t, aw_frame *f)
{
    int rc = f->cancel;
    if (!(f->flags & AW__BY_GROUP)) return 0;
    f->flags &= (uint16_t)~AW__BY_GROUP;
    f->cancel = 0;
    aw__unwound(t, f);
    return rc;
}

/* All children have ended, or nobody waits for them any more. */
static int aw__group_result(aw__group *g, aw_frame *f, bool race)
{
    int rc = race ? g->first : g->error;
    (void)aw__forgive(g->task, f);
    g->error = g->first = 0;
    g->ended = g->racing = false;
    g->started = 0;
    return rc;
}

/* The first error of a child: its siblings end, and the body leaves with it
   at the await it stands in, or the next one if that is just done. */
static void aw__group_fail(aw__group *g, aw__task *child, int rc)
{
    aw__task *t = g->task;
    aw_frame *f = g->extra.owner;
    g->error = rc;
    aw__cancel_kids(g, AW_ECANCELED);
    if (child && child->trace && (!t->trace || t->top == f)) {
        aw__trace_drop(t);
        t->trace = child->trace;
        t->trace->to = f;
        child->trace = NULL;
    }
    if (f->phase != AW__BODY || f->cancel) return;
    if (t->top == f && t->wait == &aw__wait_children) return;
    if (t->top != f) aw__cancel_frame(t, f, AW_ECANCELED);
    f->cancel = rc;
    f->flags |= AW__BY_GROUP;
    if (t->top == f && !aw__holds(f)) aw__cut_wait(t);
}

static void aw__kid_error(aw__group *g, aw__task *child, int rc)
{
    if (!g->error && !g->racing) aw__group_fail(g, child, rc);
    else if (rc != AW_EDEADLINE)
        aw__log_error(child, "a further child of the group failed", rc);
}

static void aw__kid_ended(aw__task *child, int rc)
{
    aw__kid *k = child->kid;
    aw__group *g = k->group;
    bool first = !g->ended;
    aw__list_remove(&k->link);
    g->live--;
    if (k->result) *k->result = rc;
    if (first) g->first = rc;
    g->ended = true;
    if (first && g->racing) aw__cancel_kids(g, AW_ECANCELED);
    else if (rc < 0 && rc != AW_ECHILDCANCELED && !k->result)
        aw__kid_error(g, child, rc);
    if (g->live > 0 || g->task->top != g->extra.owner) return;
    if (g->task->wait == &aw__wait_drain)
        aw__complete(g->task, 0);
    else if (g->task->wait == &aw__wait_children)
        aw__complete(g->task, aw__group_result(g, g->extra.owner, g->racing));
}

/* True when f has no child left; else they are cancelled and awaited. */
static bool aw__drained(aw__task *t, aw_frame *f)
{
    aw__group *g = aw__group_of(t, f);
    if (!g || g->live == 0) return true;
    aw__cancel_kids(g, AW_ECANCELED);
    t->wait = &aw__wait_drain;
    return false;
}

/* Body and FINALLY each have their own children: what the body's left
   behind is told, and forgotten. */
static void aw__group_leave(aw__task *t, aw_frame *f)
{
    aw__group *g = aw__group_of(t, f);
    if (g && g->error && g->error != f->rc)
        aw__log_error(t, "a child failed, and its parent did not wait for it",
                      g->error);
    if (g) (void)aw__group_result(g, f, false);
    if (f->phase != AW__LEAVING) return;
    f->phase = AW__FINAL;
    f->pc = AW__PC_FINALLY;
}

/* ---- deadlines ---- */

/* The deadline of an await has come. An await that is done already will be
   delivered: nothing happens then. */
static void aw__deadline_fire(aw__deadline *d)
{
    aw__task *t = d->task;
    aw_frame *f = t->top;
    if (f != d->extra.owner) {
        while (f->up != d->extra.owner) f = f->up;
        aw__cancel_frame(t, f, AW_EDEADLINE);
    } else if (t->wait == &aw__wait_children && d->gathers) {
        aw__cancel_kids(aw__group_of(t, f), AW_EDEADLINE);
    } else if (t->wait && t->wait->undo) {
        aw__undo_wait(t);
        aw__complete(t, AW_EDEADLINE);
    }
}

/* Records a deadline of the top frame's next await. False: out of memory. */
static bool aw__deadline_begin(aw__task *t, int64_t ms, bool gathers)
{
    aw__deadline *d;
    if (ms == AW_FOREVER) return true;
    d = (aw__deadline *)aw__extra_add(t, t->top, AW__DEADLINE, sizeof *d);
    if (!d) return false;
    d->task = t;
    d->gathers = gathers;
    d->due_now = ms <= 0;
    if (d->due_now) t->ctx.flags |= AW__DUE;
    else aw__timer_start(t->ctx.loop, &d->timer, ms, AW__TIMER_DEADLINE);
    return true;
}

/* Takes back what aw__deadline_begin recorded. True: the await failed. */
bool aw__deadline_end(aw__ctx *ctx, aw_frame *f)
{
    aw__task *t = (aw__task *)ctx;
    aw__extra *x = t->extras;
    if (x && x->kind == AW__DEADLINE && x->owner == f) {
        aw__timer_stop(ctx->loop, &((aw__deadline *)x)->timer);
        t->extras = x->next;
        aw__task_put(t, x);
    }
    return ctx->rc < 0;
}

aw_use_RETURN_not_return aw__call_for(aw__ctx *ctx, int64_t ms,
                                      const aw_fn *fn, const void *args)
{
    aw__task *t = (aw__task *)ctx;
    if (!aw__deadline_begin(t, ms, false)) return aw__step(AW__AGAIN);
    return aw__call(ctx, fn, args);
}

/* Deadlines of no time at all expire when the task first suspends. */
static void aw__deadlines_due(aw__task *t)
{
    aw__extra *x, *next;
    t->ctx.flags &= ~(unsigned)AW__DUE;
    for (x = t->extras; x; x = next) {
        aw__deadline *d = (aw__deadline *)x;
        next = x->next;
        if (x->kind != AW__DEADLINE || !d->due_now) continue;
        d->due_now = false;
        aw__deadline_fire(d);
    }
}

aw_use_RETURN_not_return aw__gather(aw__ctx *ctx, aw_frame *f, int64_t ms,
                                    bool race)
{
    aw__task *t = (aw__task *)ctx;
    aw__group *g = aw__group_of(t, f);
    if (f->cancel && !(f->flags & AW__BY_GROUP) && !aw__holds(f)) {
        ctx->flags |= AW__CUT;
        return aw__step(AW__AGAIN);
    }
    if (!g && (f->flags & AW__BY_GROUP))    /* START had no memory */
        return aw__at_once(t, aw__forgive(t, f));
    if (!g || g->started == 0) return aw__at_once(t, race ? AW_EINVAL : 0);
    if (g->live == 0) return aw__at_once(t, aw__group_result(g, f, race));
    if (ctx->flags & AW__NO_GRACE) return aw__at_once(t, AW_EDEADLINE);
    if (!aw__deadline_begin(t, ms, true)) return aw__step(AW__AGAIN);
    g->racing = race;
    if (race && g->ended) aw__cancel_kids(g, AW_ECANCELED);
    return aw__wait_on(t, &aw__wait_children);
}

/* >>floor3 life  A task from birth to end; the verbs ----------------------- */

/* A task about to run fn. NULL: *error tells why. */
static aw__task *aw__task_new(aw_loop *l, const aw_fn *fn, const void *args,
                              bool kid, int *error)
{
    const size_t head = (sizeof(aw__task) + 15) & ~(size_t)15;
    size_t size = head + (kid ? (sizeof(aw__kid) + 15) & ~(size_t)15 : 0);
    aw__task *t;
    *error = fn->size > l->max_task_bytes ? AW_ESTACK : AW_ENOMEM;
    if (*error == AW_ESTACK) return NULL;
    size = (size + fn->size + 63) & ~(size_t)63;
    t = (aw__task *)aw__mem_get(&l->mem, size);
    if (!t) return NULL;
    memset(t, 0, head);
    t->ctx.loop = l;
    t->size = (uint32_t)size;
    if (!aw__slot_take(l, t)) {
        aw__mem_put(&l->mem, t, size);
        return NULL;
    }
    t->at = (char *)t + head;
    t->end = (char *)t + size;
    if (kid) {
        t->kid = (aw__kid *)(void *)t->at;
        t->at += (sizeof(aw__kid) + 15) & ~(size_t)15;
        t->kid->task = t;
    }
    (void)aw__push(t, fn, args);
    if (l->debug) {
        t->ctx.flags |= AW__CHECKED;
        l->checks->frame(t, t->top);
    }
    l->tasks++;
    return t;
}

/* The outermost frame has ended. */
static void aw__task_end(aw__task *t)
{
    aw_loop *l = t->ctx.loop;
    bool cancelled = t->ctx.flags & AW__CANCELED;
    int rc = cancelled ? AW_ECHILDCANCELED : t->ctx.rc;
    if (rc < 0 && !cancelled && !t->kid && !t->joiners &&
        !(t->ctx.flags & AW__VIEW_TASK))
        aw__log_error(t, "a task ended with an error", rc);
    if (t->ctx.flags & AW__VIEW_TASK) l->view_ended(t);
    if (t->kid) aw__kid_ended(t, rc);
    while (aw__wake_first(&t->joiners, rc)) {}
    if (t->req) l->req_drop(t->req);
    if (t->replies) l->replies_free(&t->replies);
    aw__trace_drop(t);
    aw__slot_leave(l, t->slot, rc);
    aw__task_put(t, (char *)t + sizeof *t);
    aw__chunk_drop(t, NULL);
    aw__mem_put(&l->mem, t, t->size);
    l->tasks--;
}

/* The top frame was asked to end and stands at an await: to its FINALLY. */
static void aw__cut(aw__task *t)
{
    aw_frame *f = t->top;
    t->ctx.flags &= ~(unsigned)AW__CUT;
    t->ctx.rc = 0;
    (void)aw__deadline_end(&t->ctx, f);
    f->rc = f->cancel;
    if (f->flags & AW__BY_GROUP) aw__trace_add(t, f, f->rc, f->pc);
    f->flags |= AW__UNWOUND;
    aw__fell(f);
}

/* Runs what DEFER recorded for f, the newest first. */
static void aw__run_defers(aw__task *t, aw_frame *f)
{
    while (t->extras && t->extras->owner == f) {
        aw__extra *x = t->extras;
        t->extras = x->next;
        if (x->kind == AW__DEFER)
            ((aw__defer_record *)x)->fn(((aw__defer_record *)x)->arg);
    }
    if (f->defer) f->defer(f->defer_arg);
}

/* The top frame is over: its result goes to the frame that awaits it. */
static void aw__pop(aw__task *t)
{
    aw_frame *f = t->top, *up = f->up;
    bool unwound = f->flags & AW__UNWOUND;
    int rc = f->rc;
    aw__run_defers(t, f);
    aw__unwound(t, f);
    if (!up && unwound && rc == AW_ECANCELED) t->ctx.flags |= AW__CANCELED;
    t->top = up;
    t->ctx.rc = rc;
    aw__task_put(t, f);
    /* What was asked to end together unwinds together; a result that came
       about by itself is delivered. */
    if (up && unwound && up->cancel && !aw__holds(up))
        t->ctx.flags |= AW__CUT;
}

/* The task waits, or makes room for others with the result of an await in
   its hands. Deadlines that were over from the start expire now. */
static void aw__suspended(aw__task *t)
{
    aw_loop *l = t->ctx.loop;
    t->since = (uint32_t)l->now;
    if (t->spare) aw__chunk_drop(t, NULL);
    if (AW__UNLIKELY(t->ctx.flags & AW__CHECKED)) l->checks->frame(t, t->top);
    if (t->ctx.flags & AW__DUE) aw__deadlines_due(t);
    if (AW__UNLIKELY(l->on_suspend != NULL)) l->on_suspend(t);
}

/* Runs a ready task until it suspends or ends. */
static void aw__resume(aw__task *t)
{
    int awaits = 0;
    for (;;) {
        aw_frame *f = t->top;
        int step;
        if (AW__UNLIKELY(t->ctx.flags & AW__CUT)) aw__cut(t);
        if (f->phase == AW__LEAVING) {
            if (!aw__drained(t, f)) break;
            aw__group_leave(t, f);
        }
        step = f->fn->run(&t->ctx, f).aw_v;
        if (step == AW__SUSPEND) break;
        if (step == AW__DONE && f->phase == AW__OVER) {
            if ((f->flags & AW__GROUP) && !aw__drained(t, f)) break;
            if (f->flags & AW__GROUP) aw__group_leave(t, f);
            aw__pop(t);
            if (!t->top) {
                aw__task_end(t);
                return;
            }
            awaits++;
        } else if (t->top == f) {
            awaits++;           /* a leaf that was done at once */
        }
        if (awaits > t->ctx.loop->budget && !(t->ctx.flags & AW__CUT)) {
            t->ctx.loop->clock_due = true;
            aw__make_ready(t);
            break;
        }
    }
    aw__suspended(t);
}

/* ---- the verbs ---- */

static void aw__req_keep(aw__task *t, aw_req *req)
{
    t->req = req;
    if (req) t->ctx.loop->req_keep(req);
}

static aw__group *aw__group_make(aw__task *t, aw_frame *f)
{
    aw__group *g = aw__group_of(t, f);
    if (g) return g;
    g = (aw__group *)aw__extra_add(t, f, AW__CHILDREN, sizeof *g);
    if (!g) return NULL;
    g->task = t;
    aw__list_init(&g->kids);
    f->flags |= AW__GROUP;
    return g;
}

/* START without memory: as if the child had failed at once. */
static aw_task aw__start_failed(aw_frame *f, aw__group *g, int *result,
                                int error)
{
    if (g) g->started++;
    if (g && !g->ended) g->ended = true, g->first = error;
    if (result) *result = error;
    else if (g && g->error) return aw__no_task(error);
    else if (g) aw__group_fail(g, NULL, error);
    else if (f->phase == AW__BODY && !f->cancel) {
        f->cancel = error;
        f->flags |= AW__BY_GROUP;
    }
    return aw__no_task(error);
}

aw_task aw__start(aw__ctx *ctx, aw_frame *f, int *result, const aw_fn *fn,
                  const void *args)
{
    aw__task *t = (aw__task *)ctx, *child;
    aw__group *g = aw__group_make(t, f);
    int error = ctx->rc;
    child = g ? aw__task_new(ctx->loop, fn, args, true, &error) : NULL;
    if (!child) return aw__start_failed(f, g, result, error);
    if (ctx->flags & AW__CHECKED) ctx->loop->checks->result(t, f, result);
    child->kid->group = g;
    child->kid->result = result;
    aw__list_add(&g->kids, &child->kid->link);
    g->live++;
    g->started++;
    aw__req_keep(child, t->req);
    aw__make_ready(child);
    if (g->error) aw__cancel_task(child, AW_ECANCELED);
    return aw__handle(child);
}

static aw_task aw__spawn_for(aw_loop *l, aw_req *req, const aw_fn *fn,
                             const void *args)
{
    int error;
    aw__task *t;
    if (l->draining) return aw__no_task(AW_ESHUTDOWN);
    t = aw__task_new(l, fn, args, false, &error);
    if (!t) return aw__no_task(error);
    aw__req_keep(t, req);
    aw__make_ready(t);
    return aw__handle(t);
}

aw_task aw__spawn(aw__ctx *ctx, const aw_fn *fn, const void *args)
{
    return aw__spawn_for(ctx->loop, ((aw__task *)ctx)->req, fn, args);
}

aw_task aw__spawn_on(aw_loop *loop, const aw_fn *fn, const void *args)
{
    return aw__spawn_for(loop, NULL, fn, args);
}

int aw__defer(aw__ctx *ctx, aw_frame *f, void (*fn)(void *), void *arg)
{
    aw__task *t = (aw__task *)ctx;
    aw__defer_record *d;
    if (!f->defer) {
        f->defer = fn;
        f->defer_arg = arg;
        return 0;
    }
    d = (aw__defer_record *)aw__extra_add(t, f, AW__DEFER, sizeof *d);
    if (!d) {
        fn(arg);
        return AW_ENOMEM;
    }
    d->fn = fn;
    d->arg = arg;
    return 0;
}

void *aw__frame_get(aw__ctx *ctx, size_t n)
{
    void *p = aw__task_get((aw__task *)ctx, n);
    return p ? memset(p, 0, n) : NULL;
}

aw_task aw__self(const aw__ctx *ctx)
{
    return ctx->flags & AW__STATIC_TASK ? aw__no_task(AW_EINVAL)
        : aw__handle((const aw__task *)ctx);
}

aw_bound aw__bind(aw__ctx *ctx, const aw_fn *fn, const void *args)
{
    aw__task *t = (aw__task *)ctx;
    aw_bound b;
    void *far;
    memset(&b, 0, sizeof b);
    b.fn = fn;
    if (fn->args <= sizeof b.near) {
        memcpy(b.near.bytes, args, fn->args);
        return b;
    }
    far = t->req ? ctx->loop->req_get(t->req, fn->args)
        : aw__task_get(t, fn->args);
    if (far) memcpy(far, args, fn->args);
    else b.fn = NULL;
    b.far = far;
    return b;
}

/* >>floor3 awaitables  Sleep, descriptors, join, event, semaphore, queue --- */

static void aw__undo_timer(aw__task *t)
{
    aw__timer_stop(t->ctx.loop, &t->w.timer);
}

static const aw__wait aw__wait_timer = {"a timer", aw__undo_timer};

static aw_use_RETURN_not_return aw__aw_yield(aw__ctx *ctx, const void *args)
{
    (void)args;
    aw__complete((aw__task *)ctx, 0);
    return aw__step(AW__SUSPEND);
}
AW__LEAF(aw_yield);

static aw_use_RETURN_not_return aw__aw_sleep_ms(aw__ctx *ctx, const void *args)
{
    aw__task *t = (aw__task *)ctx;
    int64_t ms = AW__LEAF_ARGS(aw_sleep_ms, args)->ms;
    if (ms <= 0) return aw__aw_yield(ctx, args);
    aw__timer_start(ctx->loop, &t->w.timer, ms, AW__TIMER_SLEEP);
    return aw__wait_on(t, &aw__wait_timer);
}
AW__LEAF(aw_sleep_ms);

/* ---- descriptors of the user's ---- */

/* The tasks that wait for one descriptor; the poller's object for it. */
typedef struct aw__fd_tasks {
    aw__task *reader, *writer;
} aw__fd_tasks;

static int aw__fd_tasks_want(const aw__fd_tasks *w)
{
    return (w->reader ? AW_READ : 0) | (w->writer ? AW_WRITE : 0);
}

/* Arms what is still wanted, or forgets a descriptor nobody waits for: the
   user may close it any time now. */
static int aw__fd_tasks_arm(aw_loop *l, int fd)
{
    aw__fd_tasks *w = (aw__fd_tasks *)l->fds[fd].object;
    int want = aw__fd_tasks_want(w);
    if (want) return aw__fd_want(l, fd, want | AW__ONCE);
    aw__fd_forget(l, fd);
    aw__mem_put(&l->mem, w, sizeof *w);
    return 0;
}

static void aw__fd_tasks_wake(aw_loop *l, int fd, int events, int rc)
{
    aw__fd_tasks *w = (aw__fd_tasks *)l->fds[fd].object;
    aw__task *reader = events & AW_READ ? w->reader : NULL;
    aw__task *writer = events & AW_WRITE ? w->writer : NULL;
    if (reader) w->reader = NULL;
    if (writer) w->writer = NULL;
    /* One that waits for either stands in both places. */
    if (reader && w->writer == reader) w->writer = NULL;
    if (writer && w->reader == writer) w->reader = NULL;
    if (reader) aw__complete(reader, rc < 0 ? rc : reader->w.io.mask & events);
    if (writer && writer != reader)
        aw__complete(writer, rc < 0 ? rc : writer->w.io.mask & events);
}

/* Someone has left: the others wait on. When that fails they hear of it now,
   for they would never be woken. */
static void aw__fd_tasks_rest(aw_loop *l, int fd)
{
    int rc = aw__fd_tasks_arm(l, fd);
    if (rc == 0) return;
    aw__fd_tasks_wake(l, fd, AW_READ | AW_WRITE, rc);
    (void)aw__fd_tasks_arm(l, fd);
}

static void aw__on_fd_tasks(aw_loop *l, int fd, int events)
{
    aw__fd_tasks_wake(l, fd, events, 0);
    aw__fd_tasks_rest(l, fd);
}

static void aw__undo_fd(aw__task *t)
{
    aw__fd_tasks *w = (aw__fd_tasks *)t->ctx.loop->fds[t->w.io.fd].object;
    if (w->reader == t) w->reader = NULL;
    if (w->writer == t) w->writer = NULL;
    aw__fd_tasks_rest(t->ctx.loop, t->w.io.fd);
}

static const aw__wait aw__wait_fd = {"a descriptor", aw__undo_fd};

void aw_fd_closing(aw_loop *l, int fd)
{
    if (fd < 0 || fd >= l->fd_cap || l->fds[fd].kind != AW__FD_TASKS) return;
    aw__fd_tasks_wake(l, fd, AW_READ | AW_WRITE, AW_ECLOSED);
    aw__fd_tasks_rest(l, fd);
}

/* The waiters' record of fd. NULL: *error tells why. */
static aw__fd_tasks *aw__fd_tasks_of(aw_loop *l, int fd, int *error)
{
    aw__fd_tasks *w;
    *error = AW_EBUSY;
    if (fd < l->fd_cap && l->fds[fd].kind == AW__FD_TASKS)
        return (aw__fd_tasks *)l->fds[fd].object;
    if (fd < l->fd_cap && l->fds[fd].kind != AW__FD_FREE) return NULL;
    *error = AW_ENOMEM;
    w = (aw__fd_tasks *)aw__mem_get(&l->mem, sizeof *w);
    if (!w) return NULL;
    w->reader = w->writer = NULL;
    *error = aw__fd_open(l, fd, AW__FD_TASKS, w);
    if (*error == 0) return w;
    aw__mem_put(&l->mem, w, sizeof *w);
    return NULL;
}

static aw_use_RETURN_not_return aw__wait_io(aw__ctx *ctx, int fd, int mask)
{
    aw__task *t = (aw__task *)ctx;
    aw__fd_tasks *w;
    int rc = AW_EBADF;
    w = fd < 0 ? NULL : aw__fd_tasks_of(ctx->loop, fd, &rc);
    if (!w) return aw__at_once(t, rc);
    if ((mask & AW_READ && w->reader) || (mask & AW_WRITE && w->writer))
        return aw__at_once(t, AW_EBUSY);
    if (mask & AW_READ) w->reader = t;
    if (mask & AW_WRITE) w->writer = t;
    t->w.io.fd = fd;
    t->w.io.mask = mask;
    rc = aw__fd_tasks_arm(ctx->loop, fd);
    if (rc == 0) return aw__wait_on(t, &aw__wait_fd);
    t->wait = &aw__wait_fd;
    aw__undo_wait(t);
    /* epoll refuses regular files, which never block. */
    return aw__at_once(t, rc == AW_EACCES ? mask : rc);
}

static aw_use_RETURN_not_return aw__aw_readable(aw__ctx *ctx, const void *args)
{
    return aw__wait_io(ctx, AW__LEAF_ARGS(aw_readable, args)->fd, AW_READ);
}
AW__LEAF(aw_readable);

static aw_use_RETURN_not_return aw__aw_writable(aw__ctx *ctx, const void *args)
{
    return aw__wait_io(ctx, AW__LEAF_ARGS(aw_writable, args)->fd, AW_WRITE);
}
AW__LEAF(aw_writable);

static aw_use_RETURN_not_return
aw__aw_readable_or_writable(aw__ctx *ctx, const void *args)
{
    return aw__wait_io(ctx, AW__LEAF_ARGS(aw_readable_or_writable, args)->fd,
                       AW_READ | AW_WRITE);
}
AW__LEAF(aw_readable_or_writable);

/* ---- join, event, semaphore, queue ---- */

static const aw__wait aw__wait_event = {"an event", aw__undo_waiter};
static const aw__wait aw__wait_semaphore = {"a semaphore", aw__undo_waiter};
static const aw__wait aw__wait_queue = {"a queue", aw__undo_waiter};
static const aw__wait aw__wait_join = {"a task's end", aw__undo_waiter};

/* True when `t` is, or works for, the task `other`. */
static bool aw__works_for(const aw__task *t, const aw__task *other)
{
    while (t != other && t->kid) t = t->kid->group->task;
    return t == other;
}

static aw_use_RETURN_not_return aw__aw_join(aw__ctx *ctx, const void *args)
{
    aw__task *t = (aw__task *)ctx, *other;
    aw_task h = AW__LEAF_ARGS(aw_join, args)->task;
    if (!h.loop) return aw__at_once(t, h.slot < 0 ? h.slot : AW_ENOTASK);
    if (h.loop != ctx->loop) return aw__at_once(t, AW_EINVAL);
    other = aw__find(h);
    if (other && aw__works_for(t, other)) return aw__at_once(t, AW_EDEADLK);
    if (other) return aw__wait_in(t, &other->joiners, NULL, &aw__wait_join);
    if (h.slot >= 0 && h.slot < ctx->loop->slot_count &&
        ctx->loop->slots[h.slot].generation == h.generation + 1)
        return aw__at_once(t, (int)ctx->loop->slots[h.slot].u.result);
    return aw__at_once(t, AW_ENOTASK);
}
AW__LEAF(aw_join);

static aw_use_RETURN_not_return aw__aw_call(aw__ctx *ctx, const void *args)
{
    const aw_bound *b = &AW__LEAF_ARGS(aw_call, args)->bound;
    if (!b->fn) return aw__at_once((aw__task *)ctx, AW_ENOMEM);
    return aw__call(ctx, b->fn, b->far ? b->far : b->near.bytes);
}
AW__LEAF(aw_call);

void aw_event_pulse(aw_event *e)
{
    while (aw__wake_first(&e->waiters, 0)) {}
}

void aw_event_set(aw_event *e)
{
    e->is_set = true;
    aw_event_pulse(e);
}

void aw_event_clear(aw_event *e)
{
    e->is_set = false;
}

static aw_use_RETURN_not_return aw__aw_event_wait(aw__ctx *ctx,
                                                  const void *args)
{
    aw_event *e = AW__LEAF_ARGS(aw_event_wait, args)->event;
    if (e->is_set) return aw__at_once((aw__task *)ctx, 0);
    return aw__wait_in((aw__task *)ctx, &e->waiters, NULL, &aw__wait_event);
}
AW__LEAF_KEEPS(aw_event_wait, "(aw_event *event;)");

/* A permit goes straight to the oldest waiter: nobody can slip in between,
   and as a wait that is done is always delivered, none is lost. */
void aw_semaphore_release(aw_semaphore *s)
{
    if (!aw__wake_first(&s->waiters, 0)) s->value++;
}

bool aw_semaphore_try(aw_semaphore *s)
{
    if (s->value <= 0) return false;
    s->value--;
    return true;
}

static aw_use_RETURN_not_return aw__aw_semaphore_acquire(aw__ctx *ctx,
                                                         const void *args)
{
    aw_semaphore *s = AW__LEAF_ARGS(aw_semaphore_acquire, args)->semaphore;
    if (aw_semaphore_try(s)) return aw__at_once((aw__task *)ctx, 0);
    return aw__wait_in((aw__task *)ctx, &s->waiters, NULL,
                       &aw__wait_semaphore);
}
AW__LEAF_KEEPS(aw_semaphore_acquire, "(aw_semaphore *semaphore;)");

void aw_queue_init(aw_queue *q, void **items, size_t capacity)
{
    memset(q, 0, sizeof *q);
    q->items = items;
    q->capacity = capacity;
}

/* Where a waiting getter wants its item, or a putter has its own. */
static void *aw__waiter_arg(const void *waiter)
{
    return ((const aw__waiter *)waiter)->arg;
}

int aw_queue_try_put(aw_queue *q, void *item)
{
    if (q->closed) return AW_ECLOSED;
    if (q->getters) {
        *(void **)aw__waiter_arg(q->getters) = item;
        (void)aw__wake_first(&q->getters, 0);
        return 0;
    }
    if (q->count == q->capacity) return AW_EAGAIN;
    q->items[(q->first + q->count++) % q->capacity] = item;
    return 0;
}

int aw_queue_try_get(aw_queue *q, void **item)
{
    if (q->count == 0 && q->putters) {      /* a queue of capacity 0 */
        *item = aw__waiter_arg(q->putters);
        (void)aw__wake_first(&q->putters, 0);
        return 0;
    }
    if (q->count == 0) return q->closed ? AW_ECLOSED : AW_EAGAIN;
    *item = q->items[q->first];
    q->first = (q->first + 1) % q->capacity;
    q->count--;
    if (q->putters) {
        q->items[(q->first + q->count++) % q->capacity] =
            aw__waiter_arg(q->putters);
        (void)aw__wake_first(&q->putters, 0);
    }
    return 0;
}

void aw_queue_close(aw_queue *q)
{
    q->closed = true;
    while (aw__wake_first(&q->getters, AW_ECLOSED)) {}
    while (aw__wake_first(&q->putters, AW_ECLOSED)) {}
}

static aw_use_RETURN_not_return aw__aw_queue_put(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw_queue_put *a = AW__LEAF_ARGS(aw_queue_put, args);
    int rc = aw_queue_try_put(a->queue, a->item);
    if (rc != AW_EAGAIN) return aw__at_once((aw__task *)ctx, rc);
    return aw__wait_in((aw__task *)ctx, &a->queue->putters, a->item,
                       &aw__wait_queue);
}
AW__LEAF_KEEPS(aw_queue_put, "(aw_queue *queue; void *item;)");

static aw_use_RETURN_not_return aw__aw_queue_get(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw_queue_get *a = AW__LEAF_ARGS(aw_queue_get, args);
    int rc = aw_queue_try_get(a->queue, a->item);
    if (rc != AW_EAGAIN) return aw__at_once((aw__task *)ctx, rc);
    return aw__wait_in((aw__task *)ctx, &a->queue->getters, a->item,
                       &aw__wait_queue);
}
AW__LEAF_KEEPS(aw_queue_get, "(aw_queue *queue; void **item;)");

/* >>floor3 threads  Posts from other threads, helper threads --------------- */

#ifndef ASYNCWEB_MAX_THREADS
#define ASYNCWEB_MAX_THREADS 4
#endif

/* Work for a helper thread. `done` runs on the loop's thread afterwards, where
   the job is the loop's again; or never, when the loop is gone by then: the
   thread frees the job, a plain block that owns all it points to. */
typedef struct aw__job {
    struct aw__job *next;
    void (*work)(struct aw__job *);
    void (*done)(aw_loop *, struct aw__job *);
} aw__job;

/* Names have threads of their own: a silent name server must not hold up the
   user's work, nor that the names. */
enum { AW__WORKERS, AW__ASKERS, AW__CREWS };

#ifndef ASYNCWEB_NO_THREADS
typedef struct aw__crew {
    struct aw__threads *threads;
    aw__job *todo, **tail;
    int running;
} aw__crew;

/* Shared by the loop and its helper threads; the last one frees it. A thread
   lives as long as there is work: an idle program has none. */
typedef struct aw__threads {
    pthread_mutex_t lock;
    int users;
    int wake;                   /* -1: the loop is gone */
    aw__crew crews[AW__CREWS];
    aw__job *done, **done_tail;
    aw__post *posts, **posts_tail;
    int unfinished;             /* the loop's own count of jobs */
} aw__threads;

static void aw__threads_leave(aw__threads *x)
{
    bool last = --x->users == 0;
    pthread_mutex_unlock(&x->lock);
    if (!last) return;
    pthread_mutex_destroy(&x->lock);
    aw__plain_put(x);
}

static void *aw__thread_main(void *arg)
{
    aw__crew *crew = (aw__crew *)arg;
    aw__threads *x = crew->threads;
    aw__job *j;
    pthread_mutex_lock(&x->lock);
    while ((j = crew->todo) != NULL) {
        crew->todo = j->next;
        if (!crew->todo) crew->tail = &crew->todo;
        pthread_mutex_unlock(&x->lock);
        j->work(j);
        pthread_mutex_lock(&x->lock);
        j->next = NULL;
        if (x->wake < 0) {
            aw__plain_put(j);
            continue;
        }
        *x->done_tail = j;
        x->done_tail = &j->next;
        aw__sys_wake(x->wake);
    }
    crew->running--;
    aw__threads_leave(x);
    return NULL;
}

static aw__threads *aw__threads_new(int wake)
{
    aw__threads *x = (aw__threads *)aw__plain_get(sizeof *x);
    int i;
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    if (pthread_mutex_init(&x->lock, NULL) != 0) {
        aw__plain_put(x);
        return NULL;
    }
    x->users = 1;
    x->wake = wake;
    for (i = 0; i < AW__CREWS; i++) {
        x->crews[i].threads = x;
        x->crews[i].tail = &x->crews[i].todo;
    }
    x->done_tail = &x->done;
    x->posts_tail = &x->posts;
    return x;
}

/* One more helper thread, when there may be; signals are for others. */
static void aw__thread_start(aw__crew *crew)
{
    pthread_attr_t attr;
    pthread_t id;
    sigset_t all, before;
    if (crew->running >= ASYNCWEB_MAX_THREADS) return;
    if (ASYNCWEB_FAULT("thread")) return;
    if (pthread_attr_init(&attr) != 0) return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&id, &attr, aw__thread_main, crew) == 0)
        crew->running++, crew->threads->users++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* Hands j to a helper thread. AW_ENOMEM: no thread could be started; the job
   is the caller's again. */
static int aw__job_start(aw_loop *l, int kind, aw__job *j)
{
    aw__threads *x = l->threads;
    aw__crew *crew = &x->crews[kind];
    pthread_mutex_lock(&x->lock);
    aw__thread_start(crew);
    if (crew->running == 0) {
        pthread_mutex_unlock(&x->lock);
        return AW_ENOMEM;
    }
    j->next = NULL;
    *crew->tail = j;
    crew->tail = &j->next;
    x->unfinished++;
    pthread_mutex_unlock(&x->lock);
    return 0;
}

/* Takes back a job that was started. False: a thread has begun with it. */
static bool aw__job_revoke(aw_loop *l, int kind, aw__job *j)
{
    aw__threads *x = l->threads;
    aw__crew *crew = &x->crews[kind];
    aw__job **at = &crew->todo;
    bool waits;
    pthread_mutex_lock(&x->lock);
    while (*at && *at != j) at = &(*at)->next;
    waits = *at != NULL;
    if (waits) {
        *at = j->next;
        if (!*at) crew->tail = at;
        x->unfinished--;
    }
    pthread_mutex_unlock(&x->lock);
    return waits;
}

int aw_post(aw_loop *l, void (*fn)(aw_loop *, void *), void *arg)
{
    aw__threads *x = l->threads;
    aw__post *p = (aw__post *)aw__plain_get(sizeof *p);
    if (!p) return AW_ENOMEM;
    p->next = NULL;
    p->fn = fn;
    p->arg = arg;
    pthread_mutex_lock(&x->lock);
    *x->posts_tail = p;
    x->posts_tail = &p->next;
    aw__sys_wake(x->wake);
    pthread_mutex_unlock(&x->lock);
    return 0;
}

/* Takes what other threads left: posts, and jobs that are done. */
static void aw__threads_collect(aw_loop *l)
{
    aw__threads *x = l->threads;
    aw__job *j;
    aw__post *p;
    pthread_mutex_lock(&x->lock);
    j = x->done;
    p = x->posts;
    x->done = NULL;
    x->done_tail = &x->done;
    x->posts = NULL;
    x->posts_tail = &x->posts;
    pthread_mutex_unlock(&x->lock);
    while (p) {
        aw__post *next = p->next;
        p->fn(l, p->arg);
        aw__plain_put(p);
        p = next;
    }
    while (j) {
        aw__job *next = j->next;
        x->unfinished--;
        j->done(l, j);
        j = next;
    }
}

static void aw__threads_free(aw_loop *l)
{
    aw__threads *x = l->threads;
    if (!x) return;
    pthread_mutex_lock(&x->lock);
    x->wake = -1;               /* from here on threads keep their jobs */
    pthread_mutex_unlock(&x->lock);
    aw__threads_collect(l);
    pthread_mutex_lock(&x->lock);
    aw__threads_leave(x);
    l->threads = NULL;
}

typedef struct aw__thread_job {
    aw__job job;
    aw__task *task;
    int (*fn)(void *);
    void *arg;
    int rc;
} aw__thread_job;

static void aw__thread_work(aw__job *j)
{
    aw__thread_job *job = (aw__thread_job *)j;
    job->rc = job->fn(job->arg);
}

static void aw__thread_done(aw_loop *l, aw__job *j)
{
    aw__thread_job *job = (aw__thread_job *)j;
    (void)l;
    aw__complete(job->task, job->rc);
    aw__plain_put(job);
}

static const aw__wait aw__wait_thread = {"a helper thread", NULL};

/* In a forked child: nobody works for the tasks that wait for a thread. */
static void aw__threads_lost(aw_loop *l)
{
    int32_t i;
    for (i = 0; i < l->slot_count; i++)
        if ((l->slots[i].generation & 1) &&
            l->slots[i].u.task->wait == &aw__wait_thread)
            aw__complete(l->slots[i].u.task, AW_EIO);
}

static aw_use_RETURN_not_return aw__aw_thread(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_thread *a = AW__LEAF_ARGS(aw_thread, args);
    aw__task *t = (aw__task *)ctx;
    aw__thread_job *j = (aw__thread_job *)aw__plain_get(sizeof *j);
    int rc;
    if (!j) return aw__at_once(t, AW_ENOMEM);
    j->job.work = aw__thread_work;
    j->job.done = aw__thread_done;
    j->task = t;
    j->fn = a->fn;
    j->arg = a->arg;
    rc = aw__job_start(ctx->loop, AW__WORKERS, &j->job);
    if (rc == 0) return aw__wait_on(t, &aw__wait_thread);
    aw__plain_put(j);
    return aw__at_once(t, rc);
}
AW__LEAF_KEEPS(aw_thread, "(int (*fn)(void *); void *arg;)");

static int aw__jobs_unfinished(const aw_loop *l)
{
    return l->threads ? l->threads->unfinished : 0;
}
#else
/* The whole loop waits. */
static int aw__job_start(aw_loop *l, int kind, aw__job *j)
{
    (void)kind;
    j->work(j);
    j->done(l, j);
    return 0;
}

static bool aw__job_revoke(aw_loop *l, int kind, aw__job *j)
{
    (void)l, (void)kind, (void)j;
    return false;
}

static void aw__threads_collect(aw_loop *l)
{
    (void)l;
}

static int aw__jobs_unfinished(const aw_loop *l)
{
    (void)l;
    return 0;
}

int aw_post(aw_loop *l, void (*fn)(aw_loop *, void *), void *arg)
{
    (void)l, (void)fn, (void)arg;
    return AW_ENOTSUP;
}
#endif

/* >>floor3 chaos  Adversity on demand, for tests --------------------------- */

/* The next of a seeded series of numbers; good enough to shuffle with. */
static uint32_t aw__chaos_random(aw_loop *l)
{
    uint64_t x = l->chaos.seed;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    l->chaos.seed = x;
    return (uint32_t)(x >> 16);
}

/* Whoever still points at a step's variables shall not find them there. */
static AW__NOINLINE void aw__chaos_poison(void)
{
    volatile unsigned char dead[4096];
    size_t i;
    for (i = 0; i < sizeof dead; i++) dead[i] = 0xA5;
}

/* A ready task chosen at random goes to the front. */
static void aw__chaos_shuffle(aw_loop *l)
{
    uint32_t n = aw__chaos_random(l) % (uint32_t)l->ready_count;
    aw__task **at = &l->ready, *t;
    while (n--) at = &(*at)->next;
    t = *at;
    *at = t->next;
    if (!*at) l->ready_tail = at;
    t->next = l->ready;
    l->ready = t;
    if (!t->next) l->ready_tail = &t->next;
    aw__chaos_poison();
}

/* From now on every await makes room for others, even when it was done at
   once, and ready tasks run in an order that the seed decides. */
static AW__UNUSED void aw__chaos_on(aw_loop *l, uint64_t seed)
{
    l->chaos.seed = seed * 0x9E3779B97F4A7C15u | 1;
    l->budget = 0;
    l->before_run = aw__chaos_shuffle;
}

static void aw__chaos_count(aw__task *t)
{
    aw__chaos *c = &t->ctx.loop->chaos;
    if (++c->suspended == c->cancel_at) aw_cancel(c->victim);
}

/* Cancels the task when the loop's tasks have suspended k times from now on;
   0 only counts. When chaos.suspended < k afterwards, it was never reached. */
static AW__UNUSED void aw__cancel_at(aw_loop *l, aw_task victim, int64_t k)
{
    l->chaos.suspended = 0;
    l->chaos.cancel_at = k;
    l->chaos.victim = victim;
    l->on_suspend = aw__chaos_count;
}

/* >>floor3 turns  The loop itself ------------------------------------------ */

static void aw__sys_pause(int ms)
{
    struct timespec t;
    t.tv_sec = 0;
    t.tv_nsec = ms * 1000000L;
    (void)nanosleep(&t, NULL);
}


int64_t aw_now_ms(const aw_loop *l)
{
    return l->now;
}

static void aw__on_wake(aw_loop *l, int fd, int events)
{
    (void)events;
    aw__sys_wake_drain(fd);
    aw__threads_collect(l);
}

/* Tasks run in the order they became ready: all that are ready now, for no
   deadline may overtake them, and some more; then the poller has its turn. */
enum { AW__RUN_MOST = 1024 };

static void aw__run_ready(aw_loop *l)
{
    int n = l->ready_count > AW__RUN_MOST ? l->ready_count : AW__RUN_MOST;
    while (l->ready && n-- > 0) {
        aw__task *t;
        if (AW__UNLIKELY(l->before_run != NULL)) l->before_run(l);
        t = l->ready;
        l->ready = t->next;
        if (!l->ready) l->ready_tail = &l->ready;
        l->ready_count--;
        t->ctx.flags &= ~(unsigned)AW__READY;
        aw__resume(t);
        if (l->clock_due) aw__clock_read(l);
    }
}

static void aw__fire(aw_loop *l, aw__timer *timer)
{
    char *p = (char *)timer;
    l->wheel.count--;
    switch (timer->due & 3) {
        case AW__TIMER_SLEEP:
            aw__complete((aw__task *)(void *)(p - offsetof(aw__task, w)), 0);
            break;
        case AW__TIMER_DEADLINE:
            aw__deadline_fire((aw__deadline *)(void *)
                              (p - offsetof(aw__deadline, timer)));
            break;
        case AW__TIMER_GRACE:
            aw__grace_over((aw__task *)(void *)(p - offsetof(aw__task, grace)));
            break;
        default:
            ((aw__call_timer *)(void *)p)->fn(l, (aw__call_timer *)(void *)p);
    }
}

/* Fires what is due, in the order of time. */
static void aw__expire(aw_loop *l)
{
    aw__link due;
    while (aw__wheel_turn(l, &due)) {
        while (!aw__list_empty(&due)) {
            aw__timer *t = (aw__timer *)due.next;
            aw__list_remove(&t->link);
            aw__fire(l, t);
        }
    }
}

/* How long the poller may sleep, -1: as long as it likes. */
static int aw__wait_limit(aw_loop *l, int64_t max_wait_ms)
{
    int level, slot;
    int64_t next = aw__wheel_next(&l->wheel, &level, &slot);
    int64_t ms = next == INT64_MAX ? AW_FOREVER : next - l->now;
    if (ms > max_wait_ms) ms = max_wait_ms;
    if (l->ready || ms <= 0) return 0;
#ifdef ASYNCWEB_BEARSSL
    if (l->tls && l->tls_soon(l)) return 0;
#endif
    return ms == AW_FOREVER ? -1 : ms > 1 << 30 ? 1 << 30 : (int)ms;
}

/* Virtual time stands still while anything can happen, and then jumps to the
   next timer. False: nothing will ever happen any more. */
static bool aw__jump(aw_loop *l, int64_t max_wait_ms)
{
    int wait = aw__wait_limit(l, max_wait_ms);
    if (wait == 0) return true;
    if (aw__jobs_unfinished(l)) return aw__poll_wait(l, 20) >= 0;
    if (wait < 0) return l->tasks == 0;
    l->now += wait;
    return true;
}

/* One turn: what is ready comes before what is late. A task that is due and
   whose descriptor is ready gets its bytes. */
static int aw__turn(aw_loop *l, int64_t max_wait_ms)
{
    bool more, alive = true;
    int events;
    l->stack = AW__STACK_HERE;
    if (!aw__list_empty(&l->wheel.fresh)) {
        aw__clock_read(l);
        aw__wheel_stamp(l);
    }
    events = aw__poll_wait(l, l->is_virtual ? 0
                           : aw__wait_limit(l, max_wait_ms));
    more = l->poll_more && l->poll_more(l);
#ifdef ASYNCWEB_BEARSSL
    if (l->tls && l->tls_poll(l)) more = true;
#endif
    if (l->is_virtual && events <= 0 && !more) alive = aw__jump(l, max_wait_ms);
    aw__run_ready(l);
    aw__expire(l);
    aw__run_ready(l);
    l->stack = NULL;
    return events < 0 ? events : alive ? l->tasks : AW_EDEADLK;
}

int aw_loop_step(aw_loop *l, int64_t max_wait_ms)
{
    return aw__turn(l, max_wait_ms);
}

int64_t aw_loop_wait_ms(aw_loop *l)
{
    int ms = aw__list_empty(&l->wheel.fresh) ? aw__wait_limit(l, AW_FOREVER)
        : 0;
    return ms < 0 ? AW_FOREVER : ms;
}

int aw_loop_fd(const aw_loop *l)
{
    return l->poller < 0 ? AW_ENOTSUP : l->poller;
}

void aw_loop_stop(aw_loop *l)
{
    l->stopped = true;
}

int aw_loop_run(aw_loop *l)
{
    int rc = 0;
    l->stopped = false;
    while (l->tasks > 0 && !l->stopped && rc >= 0) rc = aw__turn(l, AW_FOREVER);
    return rc < 0 ? rc : 0;
}

static void aw__loop_close(aw_loop *l)
{
    aw__poll_close(l);
    aw__sys_wake_close(l->wake_read, l->wake_write);
    l->poller = l->wake_read = l->wake_write = -1;
}

static void aw__cancel_all(aw_loop *l)
{
    int32_t i;
    for (i = 0; i < l->slot_count; i++)
        if (l->slots[i].generation & 1)
            aw__cancel_task(l->slots[i].u.task, AW_ECANCELED);
}

/* What nobody closed, and has an owner of the header's to do it. */
static void aw__close_lost(aw_loop *l)
{
    int fd;
    for (fd = 0; fd < l->fd_cap; fd++)
        if (l->on_lost[l->fds[fd].kind])
            l->on_lost[l->fds[fd].kind](l, fd);
    if (l->sim_free) l->sim_free(l);
}

/* A loop, zeroed but for its memory; NULL: out of it. */
static aw_loop *aw__loop_get(const aw_loop_config *config)
{
    aw_loop *l;
#ifdef ASYNCWEB_FIXED_MEMORY
    aw__heap *heap = config
        ? aw__heap_open(config->memory, config->memory_size) : NULL;
    const char *wrong = heap ? NULL : "asyncweb: ASYNCWEB_FIXED_MEMORY wants "
        ".memory and .memory_size, some KiB at least";
#else
    const char *wrong = config && config->memory
        ? "asyncweb: .memory needs ASYNCWEB_FIXED_MEMORY, defined for every "
          "file" : NULL;
#endif
    if (wrong && config && config->log)
        config->log(config->log_data, AW_LOG_ERROR, wrong);
    else if (wrong)
        aw__say("%s", wrong);
    if (wrong) return NULL;
#ifdef ASYNCWEB_FIXED_MEMORY
    l = (aw_loop *)aw__heap_get(heap, sizeof *l);
#else
    l = (aw_loop *)aw__plain_get(sizeof *l);
#endif
    if (l) memset(l, 0, sizeof *l);
#ifdef ASYNCWEB_FIXED_MEMORY
    if (l) l->mem.heap = heap;
#endif
    return l;
}

static void aw__loop_drop(aw_loop *l)
{
#ifdef ASYNCWEB_FIXED_MEMORY
    aw__heap *heap = l->mem.heap;
    aw__heap_put(heap, l);
    aw__heap_close(heap);
#else
    aw__plain_put(l);
#endif
}

aw_memory aw_loop_memory(const aw_loop *l)
{
    aw_memory m;
    memset(&m, 0, sizeof m);
    m.used = l->mem.live;
#ifdef ASYNCWEB_FIXED_MEMORY
    m.size = (size_t)l->mem.heap->units * AW__HEAP_UNIT;
    m.used = m.size - (size_t)l->mem.heap->free * AW__HEAP_UNIT;
    m.most = m.size - (size_t)l->mem.heap->least * AW__HEAP_UNIT;
    m.largest = aw__heap_largest(l->mem.heap);
#endif
    return m;
}

/* Frees it all. Returns how many bytes were not given back. */
static size_t aw__loop_end(aw_loop *l)
{
    size_t live;
    l->draining = true;
    aw__cancel_all(l);
    /* A poller that fails must not keep the clean-up from its end, which
       cleanup_ms bound; short waits then instead of long ones. */
    while (l->tasks > 0) {
        int rc = aw__turn(l, AW_FOREVER);
        if (rc == AW_EDEADLK) break;
        if (rc < 0) aw__sys_pause(1);
    }
    aw__task_put(&l->idle, NULL);
    aw__chunk_drop(&l->idle, NULL);
    if (l->server_free) l->server_free(l);
    if (l->client_free) l->client_free(l);      /* requests hold replies */
    aw__close_lost(l);
#ifdef ASYNCWEB_BEARSSL
    if (l->tls) l->tls_free(l);
#endif
#ifndef ASYNCWEB_NO_THREADS
    aw__threads_free(l);
#endif
    if (l->names_free) l->names_free(l);    /* those no thread has */
    aw__loop_close(l);
    aw__mem_put(&l->mem, l->fds, (size_t)l->fd_cap * sizeof *l->fds);
    aw__mem_put(&l->mem, l->slots, (size_t)l->slot_cap * sizeof *l->slots);
    live = l->mem.live;
    aw__mem_close(&l->mem);
    aw__loop_drop(l);
    return live;
}

void aw_loop_free(aw_loop *l)
{
    if (l) (void)aw__loop_end(l);
}

static int aw__loop_open(aw_loop *l)
{
    int rc = aw__poll_open(l);
    if (rc == 0) rc = aw__sys_wake_open(&l->wake_read, &l->wake_write);
    if (rc == 0) rc = aw__fd_open(l, l->wake_read, AW__FD_WAKE, NULL);
    if (rc == 0) rc = aw__fd_want(l, l->wake_read, AW_READ);
#ifndef ASYNCWEB_NO_THREADS
    if (rc == 0) l->threads = aw__threads_new(l->wake_write);
    if (rc == 0 && !l->threads) rc = AW_ENOMEM;
#endif
    return rc;
}

/* The poller is shared with the parent: nothing may be taken out of it here,
   it is only closed. So is the wake-up descriptor. Of the threads only their
   lock came along, in whatever state: it is left alone. */
int aw_loop_after_fork(aw_loop *l)
{
    int rc, fd;
    aw__fd *wake = &l->fds[l->wake_read];
    wake->kind = AW__FD_FREE;
    wake->generation++;
    l->fd_count--;
    for (fd = 0; fd < l->fd_cap; fd++) l->fds[fd].registered = 0;
    aw__loop_close(l);
#ifndef ASYNCWEB_NO_THREADS
    l->threads = NULL;
    aw__threads_lost(l);
#endif
    if (l->names_lost) l->names_lost(l);
    rc = aw__loop_open(l);
    for (fd = 0; rc == 0 && fd < l->fd_cap; fd++) {
        aw__fd *e = &l->fds[fd];
        int want = e->have;
        if (e->kind == AW__FD_FREE || fd == l->wake_read || !want) continue;
        e->have = 0;
        if (e->kind == AW__FD_TASKS) aw__fd_tasks_rest(l, fd);
        else rc = aw__fd_watch(l, fd, want);
    }
    return rc;
}

/* After this many awaits in a row that were done at once, others run. */
enum { AW__BUDGET = 64 };

/* Sizes of frames are kept in 32 bits. */
enum { AW__TASK_BYTES_MAX = 1 << 30 };

static aw_loop *aw__loop_new(const aw_loop_config *config,
                             const aw__checks *checks)
{
    aw_loop *l = aw__loop_get(config);
    if (!l) return NULL;
    l->poller = l->wake_read = l->wake_write = -1;
    l->ready_tail = &l->ready;
    l->budget = AW__BUDGET;
    l->idle.ctx.loop = l;
    l->idle.ctx.flags = AW__STATIC_TASK;
    l->cleanup_ms = config && config->cleanup_ms ? config->cleanup_ms : 5000;
    if (l->cleanup_ms < 0) l->cleanup_ms = AW_FOREVER;
    l->names_ms = config && config->names_ms ? config->names_ms : 30000;
    if (l->names_ms > INT64_MAX / 2) l->names_ms = INT64_MAX / 2;
    l->max_task_bytes = config && config->max_task_bytes
        ? config->max_task_bytes : (size_t)1 << 20;
    if (l->max_task_bytes > AW__TASK_BYTES_MAX)
        l->max_task_bytes = AW__TASK_BYTES_MAX;
    if (config) {
        l->debug = config->debug;
        l->checks = checks;
        l->log = config->log;
        l->log_data = config->log_data;
    }
    aw__clock_read(l);
    aw__wheel_init(&l->wheel, l->now);
    l->on_fd[AW__FD_WAKE] = aw__on_wake;
    l->on_fd[AW__FD_TASKS] = aw__on_fd_tasks;
    if (aw__loop_open(l) == 0) return l;
    aw_loop_free(l);
    return NULL;
}

AW__FOLD aw_loop *aw_loop_new(const aw_loop_config *config)
{
    return aw__loop_new(config, config && config->debug ? &aw__stale_checks
                        : NULL);
}

static void aw__dump_wait(const aw__task *t, char *text, size_t n)
{
    const int64_t now = t->ctx.loop->now, due = t->w.timer.due >> 2;
    if (!t->wait)
        aw__print(text, n, t->ctx.flags & AW__READY ? "is ready" : "runs");
    else if (t->wait == &aw__wait_timer && due >= now)
        aw__print(text, n, "waits for a timer, due in %lld ms",
                  (long long)(due - now));
    else if (t->wait == &aw__wait_fd)
        aw__print(text, n, "waits for descriptor %d to be %s", t->w.io.fd,
                  t->w.io.mask == AW_READ ? "readable"
                  : t->w.io.mask == AW_WRITE ? "writable" : "ready");
    else
        aw__print(text, n, "waits for %s", t->wait->what);
}

static void aw__dump_frame(const aw_loop *l, const aw_frame *f)
{
    char line[16] = "";
    if (f->pc && f->pc < AW__PC_FINALLY && f->fn->leaf == NULL)
        aw__print(line, sizeof line, ":%u", (unsigned)f->pc);
    aw__log(l, AW_LOG_INFO, "    in %s at %s%s%s", f->fn->name, f->fn->file,
            line, f->phase == AW__LEAVING ? " (ends when its children have)"
            : f->phase == AW__FINAL ? " (in FINALLY)" : "");
}

void aw_loop_dump(aw_loop *l)
{
    int32_t i;
    for (i = 0; i < l->slot_count; i++) {
        const aw__task *t = l->slots[i].u.task;
        const aw_frame *f;
        char text[100];
        if (!(l->slots[i].generation & 1)) continue;
        aw__dump_wait(t, text, sizeof text);
        aw__log(l, AW_LOG_INFO, "task %d%s %s, for %u ms now", (int)i,
                t->unwind ? ", being cancelled," : "", text,
                (unsigned)((uint32_t)l->now - t->since));
        for (f = t->top; f; f = f->up) aw__dump_frame(l, f);
    }
}

/* The time of day, which may be virtual, too. */
static int64_t aw__unix_seconds(const aw_loop *l)
{
    return l->is_virtual ? l->now / 1000 : aw__sys_unix_seconds();
}

/* >>floor4 sockaddr  Addresses for people, and for the kernel -------------- */

/* "192.0.2.1:80", "[2001:db8::1%2]:80" or "unix:"; AW_PEER_TEXT bytes hold
   each. */
static const char *aw__address_format(const aw__address *a, char *text,
                                      size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    char scope[16] = "";
    if (a->family == AW__UNIX) {
        aw__print(text, size, "unix:");
        return text;
    }
    if (!a->family) memcpy(host, "unknown", 8);
    else *aw__address_put(host, a) = 0;
    if (a->scope) aw__print(scope, sizeof scope, "%%%u", (unsigned)a->scope);
    aw__print(text, size, a->family == 6 ? "[%s%s]:%u" : "%s%s:%u", host, scope,
              (unsigned)a->port);
    return text;
}

static aw__address aw__address_from(const aw__sys_address *from)
{
    aw__address a = aw__address_any(0, 0);
    if (from->any.sa_family == AF_INET) {
        a.family = 4;
        a.port = ntohs(from->v4.sin_port);
        memcpy(a.bytes, &from->v4.sin_addr, 4);
    } else if (from->any.sa_family == AF_INET6) {
        a.family = 6;
        a.port = ntohs(from->v6.sin6_port);
        a.scope = from->v6.sin6_scope_id;
        memcpy(a.bytes, &from->v6.sin6_addr, 16);
        aw__address_unmap(&a);
    } else if (from->any.sa_family == AF_UNIX) {
        a.family = AW__UNIX;
    }
    return a;
}

static socklen_t aw__address_to(const aw__address *a, aw__sys_address *to)
{
    memset(to, 0, sizeof *to);
    if (a->family == 4) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(a->port);
        memcpy(&to->v4.sin_addr, a->bytes, 4);
        return sizeof to->v4;
    }
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(a->port);
    to->v6.sin6_scope_id = a->scope;
    memcpy(&to->v6.sin6_addr, a->bytes, 16);
    return sizeof to->v6;
}

/* >>floor4 memory sockets  Sockets without a kernel, for tests ------------ */

/* A loop after aw__sim_open() has a virtual clock, and its sockets are pairs
   of queues in memory: connect, accept, half-close, reset, back-pressure and
   level-triggered readiness are as the kernel has them. Above this floor
   nobody can tell. Like the kernel's, they keep memory only for bytes under
   way: about 150 bytes for a socket at rest. */

/* One end. The error is told once, to whoever asks first, as SO_ERROR is. */
typedef struct aw__sim_end {
    aw__link link;              /* to be looked at, or to be accepted */
    struct aw__sim_end *peer;   /* NULL: it is gone */
    char *bytes;                /* what the peer sent; NULL: nothing */
    uint32_t at, count, cap;    /* its unread part, its room */
    int32_t fd;                 /* -1: not accepted yet */
    int16_t error;
    bool ended, shut;           /* the peer, this end sends no more */
    bool listens, silent, spare[2];     /* silent: never connects */
    aw__address address;        /* the peer's; where it listens */
} aw__sim_end;

typedef struct aw__sim_listener {
    aw__sim_end end;            /* first */
    aw__link all, queue;        /* of listeners; of ends to be accepted */
} aw__sim_listener;

typedef struct aw__sim_slot {
    aw__sim_end *end;           /* NULL: free */
    int next;                   /* the free one after this, -1: none */
} aw__sim_slot;

typedef struct aw__sim {
    aw__sim_slot *slots;        /* by descriptor, from AW__SIM_FD on */
    int cap, free;
    int open;                   /* descriptors, for tests to balance */
    uint32_t pipe_bytes;        /* under way in one direction, at most */
    int next_port;
    aw__link look;              /* ends that may be ready */
    aw__link listeners;
    /* Of a test: does a job of aw__name's, at any time; who never answers. */
    void (*ask)(aw_loop *, aw__job *);
    bool (*silent)(const aw__address *);
} aw__sim;

/* They are no part of an application that has a buffer to live in. */
static aw__mem *aw__sim_mem(aw_loop *l)
{
    return AW__SIZED(&l->mem, ((void)l, (aw__mem *)NULL));
}

/* True when this one is not the kernel's. */
static bool aw__sim_has(const aw_loop *l, int fd)
{
    return AW__UNLIKELY(l->sim != NULL) && fd >= AW__SIM_FD;
}

/* One of 0 ... sides - 1; without chaos always 0. */
static uint32_t aw__sim_dice(aw_loop *l, uint32_t sides)
{
    return l->chaos.seed ? aw__chaos_random(l) % sides : 0;
}

static aw__sim_end *aw__sim_find(const aw_loop *l, int fd)
{
    const int i = fd - AW__SIM_FD;
    return i >= 0 && i < l->sim->cap ? l->sim->slots[i].end : NULL;
}

/* Something about e changed: the next turn looks whether it is ready. */
static void aw__sim_touch(aw__sim *s, aw__sim_end *e)
{
    if (e && e->fd >= 0 && !e->link.next) aw__list_add(&s->look, &e->link);
}

static int aw__sim_want(aw_loop *l, int fd)
{
    aw__sim_end *e = aw__sim_find(l, fd);
    if (!e) return AW_EBADF;
    aw__sim_touch(l->sim, e);
    return 0;
}

/* ---- descriptors ---- */

static bool aw__sim_grow(aw_loop *l)
{
    aw__sim *s = l->sim;
    int i, cap = s->cap ? s->cap * 2 : 64;
    aw__sim_slot *slots = (aw__sim_slot *)aw__mem_resize(
        aw__sim_mem(l), s->slots, (size_t)s->cap * sizeof *slots,
        (size_t)cap * sizeof *slots);
    if (!slots) return false;
    for (i = s->cap; i < cap; i++) {
        slots[i].end = NULL;
        slots[i].next = i + 1 < cap ? i + 1 : -1;
    }
    s->free = s->cap;
    s->slots = slots;
    s->cap = cap;
    return true;
}

/* Gives e a descriptor. 0; AW_ENOMEM. */
static int aw__sim_name(aw_loop *l, aw__sim_end *e)
{
    aw__sim *s = l->sim;
    int i;
    if (s->free < 0 && !aw__sim_grow(l)) return AW_ENOMEM;
    i = s->free;
    s->free = s->slots[i].next;
    s->slots[i].end = e;
    e->fd = AW__SIM_FD + i;
    s->open++;
    return 0;
}

static size_t aw__sim_size(bool listens)
{
    return listens ? sizeof(aw__sim_listener) : sizeof(aw__sim_end);
}

static aw__sim_end *aw__sim_new(aw_loop *l, const aw__address *a, bool listens)
{
    aw__sim_end *e = (aw__sim_end *)aw__mem_get(aw__sim_mem(l), aw__sim_size(listens));
    if (!e) return NULL;
    memset(e, 0, aw__sim_size(listens));
    e->listens = listens;
    e->fd = -1;
    e->address = *a;
    return e;
}

static void aw__sim_drop(aw_loop *l, aw__sim_end *e)
{
    aw__mem_put(aw__sim_mem(l), e->bytes, e->cap);
    e->bytes = NULL;
    e->at = e->count = e->cap = 0;
}

/* The end of e. What it had not read, or a reset, is lost for the peer as
   well, who hears of it as of a reset (RFC 1122 section 4.2.2.13). */
static void aw__sim_free_end(aw_loop *l, aw__sim_end *e, bool reset)
{
    aw__sim *s = l->sim;
    if (e->peer) {
        e->peer->peer = NULL;
        e->peer->ended = true;
        if (reset || e->count) e->peer->error = AW_ECONNRESET;
        aw__sim_touch(s, e->peer);
    }
    if (e->link.next) aw__list_remove(&e->link);
    if (e->fd >= 0) {
        s->slots[e->fd - AW__SIM_FD].end = NULL;
        s->slots[e->fd - AW__SIM_FD].next = s->free;
        s->free = e->fd - AW__SIM_FD;
        s->open--;
    }
    aw__sim_drop(l, e);
    aw__mem_put(aw__sim_mem(l), e, aw__sim_size(e->listens));
}

static void aw__sim_close(aw_loop *l, int fd, bool reset)
{
    aw__sim_end *e = aw__sim_find(l, fd);
    if (e && e->listens) {
        aw__sim_listener *x = (aw__sim_listener *)e;
        while (!aw__list_empty(&x->queue))
            aw__sim_free_end(l, (aw__sim_end *)x->queue.next, true);
        aw__list_remove(&x->all);
    }
    if (e) aw__sim_free_end(l, e, reset);
}

/* ---- listen, accept, connect ---- */

static bool aw__sim_is_any(const aw__address *a)
{
    static const uint8_t none[16] = {0};
    return memcmp(a->bytes, none, sizeof none) == 0;
}

/* Who listens at a; with `both`, also who would collide with it. */
static aw__sim_listener *aw__sim_listener_at(const aw__sim *s,
                                             const aw__address *a, bool both)
{
    aw__link *i;
    for (i = s->listeners.next; i != &s->listeners; i = i->next) {
        aw__sim_listener *x = (aw__sim_listener *)(void *)
            ((char *)i - offsetof(aw__sim_listener, all));
        const aw__address *at = &x->end.address;
        if (at->port != a->port || at->family != a->family) continue;
        if (aw__sim_is_any(at) || (both && aw__sim_is_any(a)) ||
            memcmp(at->bytes, a->bytes, sizeof a->bytes) == 0) return x;
    }
    return NULL;
}

/* As the kernel gives them: from the dynamic range, RFC 6335 section 6. */
static uint16_t aw__sim_port(aw__sim *s)
{
    s->next_port = s->next_port < 49152 || s->next_port >= 65535
        ? 49152 : s->next_port + 1;
    return (uint16_t)s->next_port;
}

static int aw__sim_listen(aw_loop *l, const aw__address *at, int *fd)
{
    aw__sim *s = l->sim;
    aw__address a = *at;
    aw__sim_listener *x;
    if (ASYNCWEB_FAULT("socket") || ASYNCWEB_FAULT("listen"))
        return aw__errno();
    while (at->port == 0 && (a.port == 0 || aw__sim_listener_at(s, &a, true)))
        a.port = aw__sim_port(s);
    if (aw__sim_listener_at(s, &a, true)) return AW_EADDRINUSE;
    x = (aw__sim_listener *)aw__sim_new(l, &a, true);
    if (!x) return AW_ENOMEM;
    if (aw__sim_name(l, &x->end) < 0) {
        aw__sim_free_end(l, &x->end, false);
        return AW_ENOMEM;
    }
    aw__list_init(&x->queue);
    aw__list_add(&s->listeners, &x->all);
    *fd = x->end.fd;
    return a.port;
}

static int aw__sim_accept(aw_loop *l, int listener, aw__address *peer)
{
    aw__sim_listener *x = (aw__sim_listener *)aw__sim_find(l, listener);
    aw__sim_end *e;
    int rc;
    if (!x) return AW_EBADF;
    if (!x->end.listens) return AW_EINVAL;
    if (ASYNCWEB_FAULT("accept")) return aw__errno();
    if (aw__list_empty(&x->queue)) return AW_EAGAIN;
    e = (aw__sim_end *)x->queue.next;
    rc = aw__sim_name(l, e);
    if (rc < 0) return rc;
    aw__list_remove(&e->link);
    *peer = e->address;
    return e->fd;
}

/* The far end of e, for x to accept. False: out of memory. */
static bool aw__sim_pair(aw_loop *l, aw__sim_end *e, aw__sim_listener *x)
{
    aw__address from = aw__address_loopback(e->address.family,
                                            aw__sim_port(l->sim));
    aw__sim_end *peer = aw__sim_new(l, &from, false);
    if (!peer) return false;
    peer->peer = e;
    e->peer = peer;
    aw__list_add(&x->queue, &peer->link);
    aw__sim_touch(l->sim, &x->end);
    return true;
}

/* What socket() or connect() has failed with. AW_EAGAIN, which means "on its
   way" here, is Linux' word for being out of local ports. */
static int aw__connect_error(void)
{
    return errno == EAGAIN ? AW_EADDRNOTAVAIL : aw__errno();
}

/* The answer, a refusal too, comes a turn later, as over a wire. */
static int aw__sim_connect(aw_loop *l, const aw__address *to, int *fd)
{
    aw__sim_listener *x = aw__sim_listener_at(l->sim, to, false);
    aw__sim_end *e;
    if (ASYNCWEB_FAULT("socket") || ASYNCWEB_FAULT("connect"))
        return aw__connect_error();
    e = aw__sim_new(l, to, false);
    if (!e) return AW_ENOMEM;
    if (aw__sim_name(l, e) < 0 || (x && !aw__sim_pair(l, e, x))) {
        aw__sim_free_end(l, e, false);
        return AW_ENOMEM;
    }
    *fd = e->fd;
    e->silent = l->sim->silent && l->sim->silent(to);
    if (e->silent) return AW_EAGAIN;
    if (x && aw__sim_dice(l, 2)) return 0;
    if (!x) e->error = AW_ECONNREFUSED;
    return AW_EAGAIN;
}

/* ---- bytes ---- */

/* The error of e, once; after it there is nothing to be had. */
static int aw__sim_take_error(aw__sim_end *e)
{
    int error = e->error;
    if (error) e->ended = e->shut = true;
    e->error = 0;
    return error;
}

/* How much of n bytes goes now: chaos makes it less, 0 stands for EAGAIN. */
static uint32_t aw__sim_part(aw_loop *l, size_t n, uint32_t most)
{
    if (n < most) most = (uint32_t)n;
    if (!l->chaos.seed || most == 0) return most;
    return aw__sim_dice(l, 8) ? 1 + aw__sim_dice(l, most) : 0;
}

static ptrdiff_t aw__sim_recv(aw_loop *l, int fd, void *p, size_t n)
{
    aw__sim_end *e = aw__sim_find(l, fd);
    uint32_t part;
    if (!e) return AW_EBADF;
    if (e->listens) return AW_EINVAL;
    if (ASYNCWEB_SHORT("recv") && n) n = 1;
    if (ASYNCWEB_FAULT("recv")) return aw__errno();
    if (e->count == 0 && e->error) return aw__sim_take_error(e);
    if (e->count == 0) return e->ended ? 0 : AW_EAGAIN;
    part = aw__sim_part(l, n, e->count);
    if (part == 0) return n ? AW_EAGAIN : 0;
    memcpy(p, e->bytes + e->at, part);
    e->at += part;
    e->count -= part;
    if (e->count == 0) aw__sim_drop(l, e);
    aw__sim_touch(l->sim, e->peer);
    return (ptrdiff_t)part;
}

/* Room for n more bytes behind what e has not read. False: out of memory. */
static bool aw__sim_room(aw_loop *l, aw__sim_end *e, uint32_t n)
{
    uint32_t cap = e->cap ? e->cap : 64;
    char *bytes;
    if (e->cap - e->at - e->count >= n) return true;
    while (cap < e->count + n) cap *= 2;
    if (cap == e->cap) {
        memmove(e->bytes, e->bytes + e->at, e->count);
        e->at = 0;
        return true;
    }
    bytes = (char *)aw__mem_get(aw__sim_mem(l), cap);
    if (!bytes) return false;
    if (e->count) memcpy(bytes, e->bytes + e->at, e->count);
    aw__mem_put(aw__sim_mem(l), e->bytes, e->cap);
    e->bytes = bytes;
    e->cap = cap;
    e->at = 0;
    return true;
}

static ptrdiff_t aw__sim_send(aw_loop *l, int fd, const void *p, size_t n)
{
    aw__sim_end *e = aw__sim_find(l, fd), *to;
    uint32_t part;
    if (!e) return AW_EBADF;
    if (e->listens) return AW_EINVAL;
    if (ASYNCWEB_SHORT("send") && n) n = 1;
    if (ASYNCWEB_FAULT("send")) return aw__errno();
    if (e->error) return aw__sim_take_error(e);
    if (e->shut) return AW_ECLOSED;
    to = e->peer;
    if (!to) {
        /* On the wire it has gone; the answer will be a reset. */
        e->error = AW_ECONNRESET;
        aw__sim_touch(l->sim, e);
        return n > INT_MAX ? INT_MAX : (ptrdiff_t)n;
    }
    if (to->count >= l->sim->pipe_bytes) return AW_EAGAIN;
    part = aw__sim_part(l, n, l->sim->pipe_bytes - to->count);
    if (part == 0) return n ? AW_EAGAIN : 0;
    if (!aw__sim_room(l, to, part)) return AW_ENOMEM;
    memcpy(to->bytes + to->at + to->count, p, part);
    to->count += part;
    aw__sim_touch(l->sim, to);
    return (ptrdiff_t)part;
}

static void aw__sim_shutdown(aw_loop *l, int fd)
{
    aw__sim_end *e = aw__sim_find(l, fd);
    if (!e || e->shut) return;
    e->shut = true;
    if (e->peer) e->peer->ended = true;
    aw__sim_touch(l->sim, e->peer);
}

static int aw__sim_error(aw_loop *l, int fd)
{
    aw__sim_end *e = aw__sim_find(l, fd);
    if (!e) return AW_EBADF;
    if (ASYNCWEB_FAULT("getsockopt")) return aw__errno();
    return aw__sim_take_error(e);
}

/* ---- readiness ---- */

static int aw__sim_ready(const aw__sim *s, const aw__sim_end *e)
{
    bool full = e->peer && e->peer->count >= s->pipe_bytes && !e->shut;
    if (e->silent) return 0;
    if (e->listens)
        return aw__list_empty(&((const aw__sim_listener *)e)->queue) ? 0
            : AW_READ;
    return (e->count || e->ended ? AW_READ : 0) | (full ? 0 : AW_WRITE);
}

/* What e's owner is to be told. An error is always told to one who waits for
   anything, as by the kernel. */
static int aw__sim_events(const aw_loop *l, const aw__sim_end *e)
{
    int have = e->fd < l->fd_cap ? l->fds[e->fd].have : 0;
    if (have && e->error) return AW_READ | AW_WRITE | AW__RESET;
    return aw__sim_ready(l->sim, e) & have;
}

/* Takes the list of those to look at; chaos turns its order over. */
static void aw__sim_order(aw_loop *l, aw__link *due)
{
    aw__link all;
    aw__list_move(&all, &l->sim->look);
    aw__list_init(due);
    while (!aw__list_empty(&all)) {
        aw__link *e = all.next;
        aw__list_remove(e);
        aw__list_add(aw__sim_dice(l, 2) ? due->next : due, e);
    }
}

/* Tells what is ready, again each turn while it is: level-triggered. True:
   something was. */
static bool aw__sim_poll(aw_loop *l)
{
    aw__sim *s = l->sim;
    aw__link due;
    bool more = false;
    aw__sim_order(l, &due);
    while (!aw__list_empty(&due)) {
        aw__sim_end *e = (aw__sim_end *)due.next;
        int events = aw__sim_events(l, e);
        aw__list_remove(&e->link);
        if (!events) continue;
        more = true;
        aw__list_add(&s->look, &e->link);
        /* Chaos: this one comes later. */
        if (aw__sim_dice(l, 4) == 3) continue;
        aw__fd_event(l, e->fd, l->fds[e->fd].generation, events);
    }
    return more;
}

static void aw__sim_free(aw_loop *l)
{
    aw__sim *s = l->sim;
    int i;
    for (i = 0; i < s->cap; i++)
        if (s->slots[i].end) aw__sim_close(l, AW__SIM_FD + i, false);
    aw__mem_put(aw__sim_mem(l), s->slots, (size_t)s->cap * sizeof *s->slots);
    aw__mem_put(aw__sim_mem(l), s, sizeof *s);
    l->sim = NULL;
}

/* From now on the sockets of l are in memory, and its time is virtual. Only
   before it has opened any. 0; AW_ENOMEM; AW_EMFILE: the process has so many
   descriptors that the two kinds could be confused. */
static AW__UNUSED int aw__sim_open(aw_loop *l)
{
    aw__sim *s;
    if (l->wake_read >= AW__SIM_FD) return AW_EMFILE;
    s = (aw__sim *)aw__mem_get(aw__sim_mem(l), sizeof *s);
    if (!s) return AW_ENOMEM;
    memset(s, 0, sizeof *s);
    s->free = -1;
    s->pipe_bytes = 65536;
    aw__list_init(&s->look);
    aw__list_init(&s->listeners);
    l->sim = s;
    l->is_virtual = true;
    if (l->wheel.count == 0) {  /* the same steps each time */
        l->now = 0;
        aw__wheel_init(&l->wheel, 0);
    }
    l->poll_more = aw__sim_poll;
    l->sim_want = aw__sim_want;
    l->sim_free = aw__sim_free;
    return 0;
}

/* >>floor4 raw  Bytes as they are on the wire ------------------------------ */

/* Results >= 0, or an error of ours; AW_EAGAIN: not now. */

static ptrdiff_t aw__io_result(ptrdiff_t n)
{
    if (n >= 0) return n;
    return errno == EWOULDBLOCK ? AW_EAGAIN : aw__errno();
}

/* 0: the end of the stream. */
static ptrdiff_t aw__raw_recv(aw_loop *l, int fd, void *p, size_t n)
{
    if (aw__sim_has(l, fd)) return aw__sim_recv(l, fd, p, n);
    return aw__io_result(aw__sys_recv(fd, p, n));
}

static ptrdiff_t aw__raw_send(aw_loop *l, int fd, const void *p, size_t n)
{
    if (aw__sim_has(l, fd)) return aw__sim_send(l, fd, p, n);
    return aw__io_result(aw__sys_send(fd, p, n));
}

static void aw__raw_shutdown(aw_loop *l, int fd)
{
    if (aw__sim_has(l, fd)) aw__sim_shutdown(l, fd);
    else (void)shutdown(fd, SHUT_WR);
}

/* The poller forgets it first (rule 23). */
static void aw__raw_close(aw_loop *l, int fd)
{
    if (fd < l->fd_cap) aw__fd_forget(l, fd);
    if (aw__sim_has(l, fd)) aw__sim_close(l, fd, false);
    else aw__sys_close(fd);
}

#ifdef ASYNCWEB_BEARSSL
/* >>floor4 trust  Roots, certificates and keys, and who may be believed ---- */

enum {
    AW__TLS_FILE = 8 << 20,     /* a larger one is no bundle */
    AW__TLS_CERT = 65536,       /* nor this a certificate */
    AW__TLS_CHAIN = 16,
    AW__TLS_RSA = 4096,         /* bits: what BearSSL takes */
    AW__TLS_SINCE = 1577836800, /* 2020: a clock before that was never set */
    AW__TLS_CACHE = 32768,      /* sessions a server remembers: about 300 */
    AW__TLS_SESSIONS = 16,      /* that a client keeps for one aw_tls */
    AW__TLS_PROFILES = 16       /* of aw_tls that nobody uses just now */
};

/* The time that certificates are held against. */
static int64_t aw__tls_seconds(const aw_loop *l)
{
    return l->is_virtual ? l->tls_epoch + l->now / 1000
        : aw__sys_unix_seconds();
}

/* ---- files ---- */

/* All of a file. 0 or an error. */
static int aw__tls_file(const char *path, aw__buf *to)
{
    ptrdiff_t n = 1;
    char *room;
    int fd, rc = 0;
    do fd = ASYNCWEB_FAULT("open") ? -1
        : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return aw__errno();
    while (n > 0 && to->n < AW__TLS_FILE && (room = aw__buf_room(to, 16384))) {
        do n = ASYNCWEB_FAULT("read") ? -1 : read(fd, room, 16384);
        while (n < 0 && errno == EINTR);
        if (n > 0) to->n += (size_t)n;
        if (n < 0) rc = errno == EISDIR ? AW_EACCES : aw__errno();
    }
    aw__sys_close(fd);
    if (to->n >= AW__TLS_FILE) return AW_ETOOBIG;
    return to->failed ? AW_ENOMEM : rc;
}

static void aw__pem_put(void *to, const void *p, size_t n)
{
    aw__buf_add((aw__buf *)to, (const char *)p, n);
}

/* Calls found() for each object of a PEM text; one certificate may also be
   bare DER. 0, or the first error. */
static int aw__pem_read(aw__mem *mem, aw_slice text,
                        int (*found)(void *to, const char *name, aw_slice der),
                        void *to)
{
    br_pem_decoder_context x;
    aw__buf der;
    int rc = 0;
    bool ended = false;
    memset(&der, 0, sizeof der);
    der.mem = mem;
    if (text.n > 1 && *text.p == AW__DER_SEQ && (text.p[1] & 0x80))
        return found(to, "CERTIFICATE", text);
    br_pem_decoder_init(&x);
    while (rc == 0 && (text.n || !ended)) {
        size_t n;
        if (!text.n) {          /* the last line may lack its end */
            text = aw__slice("\n", 1);
            ended = true;
        }
        n = br_pem_decoder_push(&x, text.p, text.n);
        text = aw__slice(text.p + n, text.n - n);
        switch (br_pem_decoder_event(&x)) {
            case BR_PEM_BEGIN_OBJ:
                der.n = 0;
                br_pem_decoder_setdest(&x, aw__pem_put, &der);
                break;
            case BR_PEM_END_OBJ:
                rc = der.failed ? AW_ENOMEM
                    : found(to, br_pem_decoder_name(&x), aw__slice(der.p, der.n));
                break;
            case BR_PEM_ERROR:
                rc = AW_EBADMSG;
                break;
            default: break;
        }
    }
    if (der.failed) rc = AW_ENOMEM;
    /* Keys lay in there. */
    if (der.p) memset(der.p, 0, der.cap);
    aw__buf_free(&der);
    return rc;
}

static bool aw__pem_is_cert(const char *name)
{
    return strcmp(name, "CERTIFICATE") == 0 ||
        strcmp(name, "X509 CERTIFICATE") == 0;
}

static unsigned char *aw__der_keep(aw__arena *a, const void *p, size_t n)
{
    unsigned char *copy = (unsigned char *)aw__arena_get(a, n ? n : 1);
    if (copy && n) memcpy(copy, p, n);
    return copy;
}

/* ---- trust anchors ---- */

/* Shared by all that name the same file; read anew when that has changed. */
typedef struct aw__tls_roots {
    aw__link link;              /* in tls->roots; of a text: in no list */
    aw_loop *loop;
    int refs;
    aw__arena memory;
    const char *path;
    int64_t changed, size;      /* of the file, when it was read */
    br_x509_trust_anchor *p;
    size_t n, cap;
} aw__tls_roots;

static void aw__roots_drop(aw__tls_roots *r)
{
    aw_loop *l = r ? r->loop : NULL;
    if (!r || --r->refs > 0) return;
    if (r->link.next) aw__list_remove(&r->link);
    aw__arena_free(&r->memory);
    aw__mem_put(&l->mem, r->p, r->cap * sizeof *r->p);
    aw__mem_put(&l->mem, r, sizeof *r);
}

static aw__tls_roots *aw__roots_new(aw_loop *l)
{
    aw__tls_roots *r = (aw__tls_roots *)aw__mem_get(&l->mem, sizeof *r);
    if (!r) return NULL;
    memset(r, 0, sizeof *r);
    r->loop = l;
    r->refs = 1;
    r->memory.mem = &l->mem;
    return r;
}

static br_x509_trust_anchor *aw__roots_room(aw__tls_roots *r)
{
    size_t cap = r->cap ? r->cap * 2 : 16;
    br_x509_trust_anchor *p;
    if (r->n < r->cap) return &r->p[r->n];
    p = (br_x509_trust_anchor *)aw__mem_resize(
        &r->loop->mem, r->p, r->cap * sizeof *p, cap * sizeof *p);
    if (!p) return NULL;
    r->p = p;
    r->cap = cap;
    return &r->p[r->n];
}

/* The key of a certificate outlives its decoder. False: out of memory. */
static bool aw__key_keep(aw__arena *a, const br_x509_pkey *from,
                         br_x509_pkey *to)
{
    *to = *from;
    if (from->key_type == BR_KEYTYPE_EC) {
        to->key.ec.q = aw__der_keep(a, from->key.ec.q, from->key.ec.qlen);
        return to->key.ec.q != NULL;
    }
    to->key.rsa.n = aw__der_keep(a, from->key.rsa.n, from->key.rsa.nlen);
    to->key.rsa.e = aw__der_keep(a, from->key.rsa.e, from->key.rsa.elen);
    return to->key.rsa.n && to->key.rsa.e;
}

/* One that cannot be understood (an algorithm BearSSL has not got) is left
   out: in a bundle of 140 it is missed by few. */
static int aw__roots_add(void *to, const char *name, aw_slice der)
{
    aw__tls_roots *r = (aw__tls_roots *)to;
    br_x509_trust_anchor *root = aw__roots_room(r);
    br_x509_decoder_context x;
    const br_x509_pkey *key;
    aw__cert c;
    if (!root) return AW_ENOMEM;
    if (!aw__pem_is_cert(name) || !aw__cert_read(der, &c)) return 0;
    br_x509_decoder_init(&x, NULL, NULL);
    br_x509_decoder_push(&x, der.p, der.n);
    key = br_x509_decoder_get_pkey(&x);
    if (!key) return 0;
    root->flags = br_x509_decoder_isCA(&x) ? BR_X509_TA_CA : 0;
    root->dn.len = c.subject.n;
    root->dn.data = aw__der_keep(&r->memory, c.subject.p, c.subject.n);
    if (!root->dn.data || !aw__key_keep(&r->memory, key, &root->pkey))
        return AW_ENOMEM;
    r->n++;
    return 0;
}

/* *out: those of a file, perhaps as they were read before. AW_ETLS_ROOTS: none
   is in there. */
static int aw__roots_load(aw_loop *l, aw__link *known, const char *path,
                          aw__tls_roots **out)
{
    struct stat now;
    aw__tls_roots *r;
    aw__link *i;
    aw__buf text;
    int rc;
    if (stat(path, &now) < 0) return aw__errno();
    for (i = known->next; i != known; i = i->next) {
        r = (aw__tls_roots *)i;
        if (strcmp(r->path, path) != 0 || r->changed != (int64_t)now.st_mtime ||
            r->size != (int64_t)now.st_size) continue;
        r->refs++;
        *out = r;
        return 0;
    }
    r = aw__roots_new(l);
    if (!r) return AW_ENOMEM;
    memset(&text, 0, sizeof text);
    text.mem = &l->mem;
    r->path = aw__arena_text(&r->memory, path, strlen(path));
    r->changed = (int64_t)now.st_mtime;
    r->size = (int64_t)now.st_size;
    rc = r->path ? aw__tls_file(path, &text) : AW_ENOMEM;
    if (rc == 0)
        rc = aw__pem_read(&l->mem, aw__slice(text.p, text.n), aw__roots_add, r);
    aw__buf_free(&text);
    if (rc == 0 && r->n == 0) rc = AW_ETLS_ROOTS;
    if (rc < 0) {
        aw__roots_drop(r);
        return rc;
    }
    aw__list_add(known, &r->link);
    *out = r;
    return 0;
}

/* The system's: the first bundle there is. */
static int aw__roots_system(aw_loop *l, aw__link *known, aw__tls_roots **out)
{
    static const char *const files[] = {
        "/etc/ssl/certs/ca-certificates.crt",           /* Debian, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",             /* Red Hat */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",                       /* SUSE */
        "/etc/ssl/cert.pem",            /* Alpine, OpenBSD, FreeBSD, macOS */
        "/usr/local/share/certs/ca-root-nss.crt",       /* FreeBSD */
        "/etc/openssl/certs/ca-certificates.crt"        /* NetBSD */
    };
    const char *own = getenv("SSL_CERT_FILE");
    size_t i;
    int rc;
    if (own && *own) {
        rc = aw__roots_load(l, known, own, out);
        return rc == AW_ENOMEM || rc == AW_EMFILE ? rc
            : rc < 0 ? (int)AW_ETLS_ROOTS : 0;
    }
    for (i = 0; i < sizeof files / sizeof *files; i++) {
        rc = aw__roots_load(l, known, files[i], out);
        if (rc == 0 || rc == AW_ENOMEM || rc == AW_EMFILE) return rc;
    }
    return AW_ETLS_ROOTS;
}

/* ---- own certificates ---- */

/* A chain and its key; in the arena of its owner, where it does not move. */
typedef struct aw__tls_identity {
    struct aw__tls_identity *next;
    br_x509_certificate *chain;
    size_t count;
    aw__cert leaf;              /* slices of chain[0] */
    int key_type, issuer_type;
    br_skey_decoder_context key;
} aw__tls_identity;

typedef struct aw__tls_loading {
    aw__arena *memory;
    aw__tls_identity *to;
} aw__tls_loading;

static int aw__identity_cert(void *to, const char *name, aw_slice der)
{
    aw__tls_loading *x = (aw__tls_loading *)to;
    br_x509_certificate *c;
    if (!aw__pem_is_cert(name)) return 0;
    if (x->to->count == AW__TLS_CHAIN) return AW_ETOOBIG;
    c = &x->to->chain[x->to->count];
    c->data = aw__der_keep(x->memory, der.p, der.n);
    c->data_len = der.n;
    if (!c->data) return AW_ENOMEM;
    x->to->count++;
    return 0;
}

static int aw__identity_key(void *to, const char *name, aw_slice der)
{
    aw__tls_identity *id = ((aw__tls_loading *)to)->to;
    if (strcmp(name, "PRIVATE KEY") != 0 &&
        strcmp(name, "RSA PRIVATE KEY") != 0 &&
        strcmp(name, "EC PRIVATE KEY") != 0) return 0;
    br_skey_decoder_init(&id->key);
    br_skey_decoder_push(&id->key, der.p, der.n);
    id->key_type = br_skey_decoder_key_type(&id->key);
    return id->key_type ? 0 : AW_EBADMSG;
}

static bool aw__bytes_same(const void *a, size_t n, const void *b, size_t m)
{
    const unsigned char *p = (const unsigned char *)a;
    const unsigned char *q = (const unsigned char *)b;
    while (n && !*p) p++, n--;
    while (m && !*q) q++, m--;
    return n == m && memcmp(p, q, n) == 0;
}

/* Whether the key is that of the certificate. */
static bool aw__identity_fits(const aw__tls_identity *id,
                              const br_x509_pkey *key)
{
    unsigned char pub[BR_EC_KBUF_PUB_MAX_SIZE], n[AW__TLS_RSA / 8];
    if (key->key_type != id->key_type) return false;
    if (id->key_type == BR_KEYTYPE_EC) {
        const size_t size = br_ec_compute_pub(br_ec_get_default(), NULL, pub,
                                              &id->key.key.ec);
        return size == key->key.ec.qlen &&
            memcmp(pub, key->key.ec.q, size) == 0;
    }
    if (id->key.key.rsa.n_bitlen > AW__TLS_RSA) return false;
    return aw__bytes_same(
        n, br_rsa_compute_modulus_get_default()(n, &id->key.key.rsa),
        key->key.rsa.n, key->key.rsa.nlen);
}

/* What is wrong with a pair, NULL: nothing. */
static const char *aw__identity_check(aw__tls_identity *id)
{
    const br_x509_certificate *first = id->chain;
    br_x509_decoder_context x;
    if (!id->count) return "there is no certificate in it";
    if (!id->key_type) return "there is no RSA or EC key in its key file "
        "(BearSSL reads no key with a passphrase: openssl pkey -in ... takes "
        "it off)";
    br_x509_decoder_init(&x, NULL, NULL);
    br_x509_decoder_push(&x, first->data, first->data_len);
    if (!br_x509_decoder_get_pkey(&x) ||
        !aw__cert_read(aw__slice((const char *)first->data, first->data_len),
                       &id->leaf)) return "it cannot be understood";
    id->issuer_type = br_x509_decoder_get_signer_key_type(&x);
    return aw__identity_fits(id, br_x509_decoder_get_pkey(&x)) ? NULL
        : "its key is another's; the server's own certificate comes first in "
          "the file";
}

static int aw__identity_read(aw_loop *l, aw__tls_loading *x, const char *path,
                             int (*found)(void *, const char *, aw_slice))
{
    aw__buf text;
    int rc;
    memset(&text, 0, sizeof text);
    text.mem = &l->mem;
    rc = aw__tls_file(path, &text);
    if (rc == 0)
        rc = aw__pem_read(&l->mem, aw__slice(text.p, text.n), found, x);
    if (text.p) memset(text.p, 0, text.cap);
    aw__buf_free(&text);
    if (rc < 0 && rc != AW_ENOMEM)
        aw__log(l, AW_LOG_ERROR, "asyncweb: TLS: cannot read %s: %s", path,
                rc == AW_EBADMSG ? "not a PEM file of this kind"
                : aw_strerror(rc));
    return rc;
}

/* Reads a chain and its key; key NULL: from the same file. What is wrong is
   logged: AW_EINVAL, or the file's error. */
static int aw__identity_load(aw_loop *l, aw__arena *memory,
                             const char *certificate, const char *key,
                             aw__tls_identity **out)
{
    aw__tls_loading x;
    const char *wrong;
    int rc;
    x.memory = memory;
    x.to = (aw__tls_identity *)aw__arena_get(memory, sizeof *x.to);
    if (!x.to) return AW_ENOMEM;
    memset(x.to, 0, sizeof *x.to);
    x.to->chain = (br_x509_certificate *)aw__arena_get(
        memory, AW__TLS_CHAIN * sizeof *x.to->chain);
    if (!x.to->chain) return AW_ENOMEM;
    rc = aw__identity_read(l, &x, certificate, aw__identity_cert);
    if (rc == 0)
        rc = aw__identity_read(l, &x, key ? key : certificate,
                               aw__identity_key);
    if (rc < 0) return rc;
    wrong = aw__identity_check(x.to);
    if (wrong) {
        aw__log(l, AW_LOG_ERROR, "asyncweb: TLS: %s: %s", certificate, wrong);
        return AW_EINVAL;
    }
    if (aw__tls_seconds(l) > x.to->leaf.until)
        aw__log(l, AW_LOG_WARNING, "asyncweb: TLS: %s has expired; clients "
                "will refuse it", certificate);
    *out = x.to;
    return 0;
}

/* ---- what a server shows ---- */

/* All that handshakes need. A new one takes its place when the files are read
   again; handshakes under way keep theirs. */
typedef struct aw__tls_site {
    aw_loop *loop;
    int refs;
    bool required;              /* a client's certificate */
    aw__arena memory;
    aw__tls_identity *first;
    aw__tls_roots *clients;     /* who may sign clients' certificates, or NULL */
    br_ssl_session_cache_lru cache;
    unsigned char sessions[AW__TLS_CACHE];
} aw__tls_site;

static void aw__site_drop(aw__tls_site *s)
{
    if (!s || --s->refs > 0) return;
    aw__roots_drop(s->clients);
    /* Keys lay in there. */
    for (; s->first; s->first = s->first->next)
        memset(&s->first->key, 0, sizeof s->first->key);
    aw__arena_free(&s->memory);
    aw__mem_put(&s->loop->mem, s, sizeof *s);
}

static int aw__site_load(aw__tls_site *s, aw__link *known,
                         const aw_tls_server *config)
{
    const aw_tls_pair *more = config->more;
    aw__tls_identity **next = &s->first;
    int rc = aw__identity_load(s->loop, &s->memory, config->certificate,
                               config->key, next);
    for (; rc == 0 && more && more->certificate; more++) {
        next = &(*next)->next;
        rc = aw__identity_load(s->loop, &s->memory, more->certificate,
                               more->key, next);
    }
    if (rc < 0 || !config->client_ca) return rc;
    rc = aw__roots_load(s->loop, known, config->client_ca, &s->clients);
    if (rc < 0)
        aw__log(s->loop, AW_LOG_ERROR, "asyncweb: TLS: client_ca %s: %s",
                config->client_ca, aw_strerror(rc));
    return rc;
}

/* 0 and *out, or an error, which is logged. */
static int aw__site_open(aw_loop *l, aw__link *known,
                         const aw_tls_server *config, aw__tls_site **out)
{
    aw__tls_site *s = (aw__tls_site *)aw__mem_get(&l->mem, sizeof *s);
    int rc;
    if (!s) return AW_ENOMEM;
    memset(s, 0, sizeof *s);
    s->loop = l;
    s->refs = 1;
    s->memory.mem = &l->mem;
    s->required = config->client_required;
    br_ssl_session_cache_lru_init(&s->cache, s->sessions, sizeof s->sessions);
    rc = aw__site_load(s, known, config);
    if (rc == 0) *out = s;
    else aw__site_drop(s);
    return rc;
}

/* Who is served: a policy of BearSSL's, for one handshake. */
typedef struct aw__tls_policy {
    const br_ssl_server_policy_class *vtable;   /* first */
    const aw__tls_site *site;
    const aw__tls_identity *chosen;
} aw__tls_policy;

/* SHA-256, -384 or -512 of those that a client takes; 0: none. */
static unsigned aw__policy_hash(uint32_t hashes)
{
    unsigned id;
    for (id = br_sha256_ID; id <= br_sha512_ID; id++)
        if (hashes >> id & 1) return id;
    return 0;
}

static bool aw__policy_try(aw__tls_policy *p, const aw__tls_identity *id,
                           const br_ssl_server_context *cc,
                           br_ssl_server_choices *choices)
{
    const bool ec = id->key_type == BR_KEYTYPE_EC;
    const unsigned hash = aw__policy_hash(
        br_ssl_server_get_client_hashes(cc) >> (ec ? 8 : 0) & 0xff);
    const br_suite_translated *suites;
    size_t i, n;
    suites = br_ssl_server_get_client_suites(cc, &n);
    for (i = 0; hash && i < n; i++) {
        if (suites[i][1] >> 12 !=
            (ec ? BR_SSLKEYX_ECDHE_ECDSA : BR_SSLKEYX_ECDHE_RSA)) continue;
        choices->cipher_suite = suites[i][0];
        choices->algo_id = 0xff00 + hash;
        choices->chain = id->chain;
        choices->chain_len = id->count;
        p->chosen = id;
        return true;
    }
    return false;
}

/* The first certificate for the name that the client can use; for a name that
   none is for, or no name, the first of all: what it is for, the client
   judges. */
static int aw__policy_choose(const br_ssl_server_policy_class **self,
                             const br_ssl_server_context *cc,
                             br_ssl_server_choices *choices)
{
    aw__tls_policy *p = (aw__tls_policy *)(void *)self;
    const char *name = br_ssl_engine_get_server_name(&cc->eng);
    const aw__tls_identity *id;
    for (id = p->site->first; id && *name; id = id->next)
        if (aw__cert_is_for(&id->leaf, name) &&
            aw__policy_try(p, id, cc, choices)) return 1;
    for (id = p->site->first; id; id = id->next)
        if (aw__policy_try(p, id, cc, choices)) return 1;
    return 0;
}

/* Key exchange without ECDHE is not offered. */
static uint32_t aw__policy_keyx(const br_ssl_server_policy_class **self,
                                unsigned char *data, size_t *len)
{
    (void)self, (void)data, (void)len;
    return 0;
}

static size_t aw__policy_sign(const br_ssl_server_policy_class **self,
                              unsigned algo_id, unsigned char *data,
                              size_t hv_len, size_t len)
{
    static const unsigned char *const oids[] = {
        BR_HASH_OID_SHA256, BR_HASH_OID_SHA384, BR_HASH_OID_SHA512};
    static const br_hash_class *const hashes[] = {
        &br_sha256_vtable, &br_sha384_vtable, &br_sha512_vtable};
    const aw__tls_policy *p = (const aw__tls_policy *)(const void *)self;
    const br_skey_decoder_context *key = &p->chosen->key;
    const unsigned hash = (algo_id & 0xff) - br_sha256_ID;
    unsigned char hv[64];
    size_t n;
    memcpy(hv, data, hv_len);
    if (key->key_type == BR_KEYTYPE_EC)
        return len < 139 ? 0 : br_ecdsa_sign_asn1_get_default()(
            br_ec_get_default(), hashes[hash], hv, &key->key.ec, data);
    n = (key->key.rsa.n_bitlen + 7) / 8;
    return n <= len && br_rsa_pkcs1_sign_get_default()(
        oids[hash], hv, hv_len, &key->key.rsa, data) ? n : 0;
}

static const br_ssl_server_policy_class aw__policy_class = {
    sizeof(aw__tls_policy), aw__policy_choose, aw__policy_keyx, aw__policy_sign
};

/* ---- what a client asks for ---- */

typedef struct aw__tls_session {
    aw__link link;              /* the oldest first */
    br_ssl_session_parameters data;
    size_t size;
    int port;
    char host[1];
} aw__tls_session;

/* An aw_tls, read and kept: the same options are the same profile, so that
   connections and sessions are shared by those of one profile only. */
typedef struct aw__tls_profile {
    aw__link link;              /* in tls->profiles */
    aw_loop *loop;
    int refs;
    unsigned char id[br_sha256_SIZE];
    unsigned char pin[br_sha256_SIZE];
    bool insecure, pinned;
    bool http;                  /* says so (ALPN) */
    aw__arena memory;
    const char *ca_file, *server_name;
    aw__tls_roots *roots;       /* of ca_pem; else of the last handshake */
    aw__tls_identity *identity;
    aw__link sessions;
    int session_count;
} aw__tls_profile;

static void aw__session_free(aw__tls_profile *p, aw__tls_session *s)
{
    aw__list_remove(&s->link);
    p->session_count--;
    memset(&s->data, 0, sizeof s->data);
    aw__mem_put(&p->loop->mem, s, s->size);
}

static void aw__sessions_free(aw__tls_profile *p)
{
    while (!aw__list_empty(&p->sessions))
        aw__session_free(p, (aw__tls_session *)p->sessions.next);
}

static void aw__profile_free(aw__tls_profile *p)
{
    aw__sessions_free(p);
    aw__list_remove(&p->link);
    aw__roots_drop(p->roots);
    if (p->identity) memset(&p->identity->key, 0, sizeof p->identity->key);
    aw__arena_free(&p->memory);
    aw__mem_put(&p->loop->mem, p, sizeof *p);
}

static aw__tls_session *aw__session_find(const aw__tls_profile *p,
                                         const char *host, int port)
{
    aw__link *i;
    for (i = p->sessions.next; i != &p->sessions; i = i->next) {
        aw__tls_session *s = (aw__tls_session *)i;
        if (s->port == port && strcmp(s->host, host) == 0) return s;
    }
    return NULL;
}

/* Without memory for it the next handshake is a full one. */
static void aw__session_keep(aw__tls_profile *p, const char *host, int port,
                             const br_ssl_session_parameters *data)
{
    const size_t size = sizeof(aw__tls_session) + strlen(host);
    aw__tls_session *s = aw__session_find(p, host, port);
    if (s) aw__session_free(p, s);
    if (!data->session_id_len) return;
    if (p->session_count >= AW__TLS_SESSIONS)
        aw__session_free(p, (aw__tls_session *)p->sessions.next);
    s = (aw__tls_session *)aw__mem_get(&p->loop->mem, size);
    if (!s) return;
    memset(s, 0, sizeof *s);
    s->data = *data;
    s->size = size;
    s->port = port;
    memcpy(s->host, host, strlen(host) + 1);
    aw__list_add(&p->sessions, &s->link);
    p->session_count++;
}

/* "sha256//" and base64, as curl has it. */
static int aw__profile_pin(aw__tls_profile *p, const char *pin)
{
    char bytes[36];
    size_t n;
    if (strncmp(pin, "sha256//", 8) != 0 || strlen(pin) != 8 + 44 ||
        aw__base64_decode(bytes, pin + 8, 44, &n) < 0 || n != sizeof p->pin)
        return AW_EINVAL;
    memcpy(p->pin, bytes, n);
    p->pinned = true;
    return 0;
}

static int aw__profile_read(aw__tls_profile *p, const aw_tls *tls)
{
    aw_loop *l = p->loop;
    int rc = 0;
    p->insecure = tls->insecure;
    if (tls->ca_file) {
        p->ca_file = aw__arena_text(&p->memory, tls->ca_file,
                                    strlen(tls->ca_file));
        if (!p->ca_file) return AW_ENOMEM;
    }
    if (tls->server_name) {
        if (strlen(tls->server_name) > 255) return AW_EINVAL;
        p->server_name = aw__arena_text(&p->memory, tls->server_name,
                                        strlen(tls->server_name));
        if (!p->server_name) return AW_ENOMEM;
    }
    if (tls->ca_pem) {
        p->roots = aw__roots_new(l);
        if (!p->roots) return AW_ENOMEM;
        rc = aw__pem_read(&l->mem, aw__slice(tls->ca_pem, strlen(tls->ca_pem)),
                          aw__roots_add, p->roots);
        if (rc == AW_ENOMEM) return rc;
        if (rc < 0 || !p->roots->n) return AW_ETLS_ROOTS;
    }
    if (tls->pin) rc = aw__profile_pin(p, tls->pin);
    if (rc < 0) {
        aw__log(l, AW_LOG_ERROR, "asyncweb: TLS: a pin is \"sha256//\" and 44 "
                "characters of base64");
        return rc;
    }
    if (tls->certificate)
        rc = aw__identity_load(l, &p->memory, tls->certificate, tls->key,
                               &p->identity);
    return rc;
}

static void aw__profile_hash(br_sha256_context *h, const char *text)
{
    const uint32_t n = text ? (uint32_t)strlen(text) + 1 : 0;
    br_sha256_update(h, &n, sizeof n);
    if (n) br_sha256_update(h, text, n - 1);
}

/* Two aw_tls of one content have one number. */
static void aw__profile_id(const aw_tls *tls, bool http, unsigned char *id)
{
    br_sha256_context h;
    br_sha256_init(&h);
    aw__profile_hash(&h, tls->ca_file);
    aw__profile_hash(&h, tls->ca_pem);
    aw__profile_hash(&h, tls->pin);
    aw__profile_hash(&h, tls->server_name);
    aw__profile_hash(&h, tls->certificate);
    aw__profile_hash(&h, tls->key);
    br_sha256_update(&h, tls->insecure ? "i" : "s", 1);
    br_sha256_update(&h, http ? "h" : "-", 1);
    br_sha256_out(&h, id);
}

/* The roots of p as they are now; when they changed, whom they vouched for is
   to be asked anew. */
static int aw__profile_roots(aw__tls_profile *p, aw__link *known)
{
    aw__tls_roots *now = NULL;
    int rc;
    if (p->insecure || (p->roots && !p->roots->path)) return 0;
    rc = p->ca_file ? aw__roots_load(p->loop, known, p->ca_file, &now)
        : aw__roots_system(p->loop, known, &now);
    if (rc < 0) {
        if (p->ca_file && rc != AW_ENOMEM)
            aw__log(p->loop, AW_LOG_ERROR, "asyncweb: TLS: ca_file %s: %s",
                    p->ca_file, aw_strerror(rc));
        return rc == AW_ENOMEM || rc == AW_EMFILE ? rc : (int)AW_ETLS_ROOTS;
    }
    if (now != p->roots) aw__sessions_free(p);
    aw__roots_drop(p->roots);
    p->roots = now;
    return 0;
}

/* ---- the judgement ---- */

/* Looks at the peer's certificates for one handshake, as a validator of
   BearSSL's. It hands them on to BearSSL's own, which follows the chain to an
   anchor, and adds what that does not tell. */
typedef struct aw__tls_check {
    const br_x509_class *vtable;        /* first */
    union {
        br_x509_minimal_context chain;
        br_x509_decoder_context key;    /* insecure: only the key is read */
    } u;
    const aw_loop *loop;
    const aw__tls_roots *roots;
    const unsigned char *pin;           /* NULL: any key */
    const char *host;                   /* NULL: a client is looked at */
    bool insecure, named, serves, fits, self_signed, early;
    aw__buf cert;                       /* the one that is coming in */
    aw__buf subject;                    /* of a client */
    int count, error;
} aw__tls_check;

static aw__tls_check *aw__check_of(const br_x509_class **self)
{
    return (aw__tls_check *)(void *)self;
}

static void aw__check_begin(const br_x509_class **self, const char *name)
{
    aw__tls_check *c = aw__check_of(self);
    const int64_t now = aw__tls_seconds(c->loop);
    br_x509_minimal_context *m = &c->u.chain;
    (void)name;                         /* judged here, by more than that */
    c->count = 0;
    if (c->insecure) return;
    br_x509_minimal_init(m, &br_sha256_vtable, c->roots->p, c->roots->n);
    br_x509_minimal_set_hash(m, br_sha256_ID, &br_sha256_vtable);
    br_x509_minimal_set_hash(m, br_sha384_ID, &br_sha384_vtable);
    br_x509_minimal_set_hash(m, br_sha512_ID, &br_sha512_vtable);
    br_x509_minimal_set_rsa(m, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(m, br_ec_get_default(),
                              br_ecdsa_vrfy_asn1_get_default());
    br_x509_minimal_set_minrsa(m, 2048 / 8);
    /* Its days begin with the year 0. */
    br_x509_minimal_set_time(m, (uint32_t)(now / 86400 + 719528),
                             (uint32_t)(now % 86400));
    m->vtable->start_chain(&m->vtable, NULL);
}

static void aw__check_cert(const br_x509_class **self, uint32_t length)
{
    aw__tls_check *c = aw__check_of(self);
    c->cert.n = 0;
    if (length > AW__TLS_CERT) c->error = AW_ETOOBIG;
    if (!c->insecure) c->u.chain.vtable->start_cert(&c->u.chain.vtable, length);
    else if (c->count == 0) br_x509_decoder_init(&c->u.key, NULL, NULL);
}

static void aw__check_bytes(const br_x509_class **self,
                            const unsigned char *p, size_t n)
{
    aw__tls_check *c = aw__check_of(self);
    if (!c->error) aw__buf_add(&c->cert, (const char *)p, n);
    if (!c->insecure) c->u.chain.vtable->append(&c->u.chain.vtable, p, n);
    else if (c->count == 0) br_x509_decoder_push(&c->u.key, p, n);
}

/* The peer's own, the first. */
static void aw__check_first(aw__tls_check *c, const aw__cert *cert)
{
    unsigned char key[br_sha256_SIZE];
    br_sha256_context h;
    br_sha256_init(&h);
    br_sha256_update(&h, cert->key.p, cert->key.n);
    br_sha256_out(&h, key);
    c->fits = !c->pin || memcmp(key, c->pin, sizeof key) == 0;
    c->named = !c->host || aw__cert_is_for(cert, c->host);
    c->serves = aw__cert_serves(cert, c->host ? 1 : 2);
    c->self_signed = aw__slice_same(cert->issuer, cert->subject);
    if (!c->host) aw__dn_text(cert->subject, &c->subject);
}

static void aw__check_cert_end(const br_x509_class **self)
{
    aw__tls_check *c = aw__check_of(self);
    aw__cert cert;
    if (!c->insecure) c->u.chain.vtable->end_cert(&c->u.chain.vtable);
    if (c->cert.failed) c->error = AW_ENOMEM;
    if (!c->error && aw__cert_read(aw__slice(c->cert.p, c->cert.n), &cert)) {
        if (c->count == 0) aw__check_first(c, &cert);
        if (cert.from > aw__tls_seconds(c->loop)) c->early = true;
    }
    c->count++;
}

/* What BearSSL's judgement means; 0: it is content. */
static int aw__check_chain(const aw__tls_check *c, unsigned rc)
{
    switch (rc) {
        case BR_ERR_OK: return 0;
        case BR_ERR_X509_EXPIRED:
            return c->early ? AW_ETLS_NOT_YET : AW_ETLS_EXPIRED;
        case BR_ERR_X509_NOT_TRUSTED:
            return c->self_signed ? AW_ETLS_SELF_SIGNED : AW_ETLS_ISSUER;
        case BR_ERR_X509_DN_MISMATCH: case BR_ERR_X509_NOT_CA:
            return AW_ETLS_ISSUER;
        case BR_ERR_X509_WEAK_PUBLIC_KEY: case BR_ERR_X509_UNSUPPORTED:
            return AW_ETLS_WEAK;
        default: return AW_ETLS;
    }
}

static unsigned aw__check_end(const br_x509_class **self)
{
    aw__tls_check *c = aw__check_of(self);
    unsigned rc = 0;
    if (!c->insecure) {
        rc = c->u.chain.vtable->end_chain(&c->u.chain.vtable);
        if (!c->error && aw__tls_seconds(c->loop) < AW__TLS_SINCE)
            c->error = AW_ETLS_CLOCK;
        if (!c->error) c->error = aw__check_chain(c, rc);
        if (!c->error && !c->named) c->error = AW_ETLS_NAME;
        if (!c->error && !c->serves) c->error = AW_ETLS_USE;
    } else if (!c->error && !br_x509_decoder_get_pkey(&c->u.key)) {
        c->error = AW_ETLS_WEAK;
    }
    if (!c->error && !c->fits) c->error = AW_ETLS_PIN;
    if (!c->error && c->subject.failed) c->error = AW_ENOMEM;
    return !c->error ? 0 : rc ? rc : BR_ERR_X509_NOT_TRUSTED;
}

static const br_x509_pkey *aw__check_key(const br_x509_class *const *self,
                                         unsigned *usages)
{
    aw__tls_check *c = (aw__tls_check *)(uintptr_t)(const void *)self;
    if (!c->insecure)
        return c->u.chain.vtable->get_pkey(&c->u.chain.vtable, usages);
    if (usages) *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return br_x509_decoder_get_pkey(&c->u.key);
}

static const br_x509_class aw__check_class = {
    sizeof(aw__tls_check), aw__check_begin, aw__check_cert, aw__check_bytes,
    aw__check_cert_end, aw__check_end, aw__check_key
};

static void aw__check_open(aw__tls_check *c, aw_loop *l)
{
    memset(c, 0, sizeof *c);
    c->vtable = &aw__check_class;
    c->loop = l;
    c->cert.mem = c->subject.mem = &l->mem;
}

static void aw__check_close(aw__tls_check *c)
{
    aw__buf_free(&c->cert);
    aw__buf_free(&c->subject);
}

/* >>floor4 tls  TLS 1.2 by BearSSL, between a socket and its owner ---------- */

/* It lies below aw__io_recv and aw__io_send, found by descriptor: streams,
   connections and WebSockets do not know that they are encrypted.

   BearSSL's engine does no I/O: it is moved [aw__tls_work]. What it waits for
   need not be what the owner waits for (to read may need a socket that takes
   bytes), so aw__fd_want tells aw__tls_want, which has the kernel watch what
   the engine needs [aw__tls_needs], and events come by aw__tls_event, which
   tells the owner of what it wants only. The kernel knows nothing of bytes
   that have been decrypted, nor of an end that was read with them: who has
   some stands in the list `soon` and is told in each turn, so that it is
   level-triggered, too.

   Sent means encrypted into the engine's buffer. What of it the kernel has not
   taken when the owner closes is sent by and by [aw__tls_leave], as the kernel
   does with its own buffers.

   The two buffers of a record are there only while something is in one. That
   is sound with BearSSL 0.6: the engine keeps positions in them, never
   pointers into them, and each of its calls takes `ibuf` and `obuf` anew;
   before the first byte of a record (recvrec_buf gives 5 bytes at the start of
   `ibuf`) and with no record to send, it reads nothing that it wrote there
   before. In debug mode what is given back is overwritten. */

enum {
    AW__TLS_IN = 16384 + 325,   /* BR_SSL_BUFSIZE_INPUT: any record */
    AW__TLS_OUT = 16384 + 85,   /* BR_SSL_BUFSIZE_OUTPUT */
    AW__TLS_SPARE = 8,          /* pairs kept for the next records */
    AW__TLS_GREET = 4,          /* steps of handshakes in one turn: each takes
                                   milliseconds, and others wait */
    AW__TLS_FILLS = 16,
    AW__TLS_REST_MS = 10000     /* to take what was sent, after the end */
};

typedef struct aw__tls_buffers {
    struct aw__tls_buffers *next;
    unsigned char in[AW__TLS_IN], out[AW__TLS_OUT];
} aw__tls_buffers;

/* What only a handshake needs. */
typedef struct aw__tls_hello {
    aw__tls_check check;
    aw__tls_policy policy;
    aw__tls_roots *roots;       /* of the check */
    int port;                   /* the client's part: of whom */
    char host[AW__HOST_MAX + 1];
} aw__tls_hello;

typedef struct aw__tls {
    aw__link link;              /* in tls->soon, or in no list */
    aw_loop *loop;
    int fd;
    int want;                   /* the owner's */
    int error;                  /* it stays */
    bool done;                  /* the handshake is */
    bool ended, over;           /* the peer's FIN; its close_notify */
    bool shut;                  /* ours has been said */
    bool drained;               /* the kernel had no more just now */
    bool sends, takes, holds;   /* a record to send; input; plaintext */
    bool server;
    uint16_t extra, extra_at;   /* input in `in` that the engine has not had */
    br_ssl_engine_context *eng; /* NULL: a client that has not spoken yet */
    aw__tls_buffers *buffers;
    aw__tls_hello *hello;       /* until it is done */
    aw__tls_site *site;         /* the server's, as long */
    aw__tls_profile *profile;   /* the client's, to the end */
    char *subject;              /* of the client's certificate, or NULL */
} aw__tls;

/* What is left of a connection that its owner has closed. */
typedef struct aw__tls_rest {
    aw__call_timer timer;       /* first */
    aw__tls *tls;
} aw__tls_rest;

typedef struct aw__tls_loop {
    aw__link soon, profiles, roots;
    int profile_count;          /* that nobody uses */
    aw__tls_buffers *spare;
    int spares;
    int greeted;                /* steps of handshakes in this turn */
    int64_t handshakes, resumed;        /* for tests */
} aw__tls_loop;

static aw__tls *aw__tls_on(const aw_loop *l, int fd)
{
    return fd < l->fd_cap ? l->fds[fd].tls : NULL;
}

/* ---- buffers ---- */

/* Puts buffers under the engine. False: out of memory. */
static bool aw__tls_open(aw__tls *t)
{
    aw__tls_loop *x = t->loop->tls;
    aw__tls_buffers *b = x->spare;
    if (t->buffers) return true;
    if (b) {
        x->spare = b->next;
        x->spares--;
    } else {
        b = (aw__tls_buffers *)aw__mem_get(&t->loop->mem, sizeof *b);
    }
    if (!b) return false;
    t->buffers = b;
    if (t->eng) {
        t->eng->ibuf = b->in;
        t->eng->obuf = b->out;
    }
    return true;
}

static void aw__tls_put_buffers(aw__tls *t)
{
    aw__tls_loop *x = t->loop->tls;
    aw__tls_buffers *b = t->buffers;
    if (!b) return;
    t->buffers = NULL;
    if (t->eng) t->eng->ibuf = t->eng->obuf = NULL;
    if (t->loop->debug) memset(b->in, 0xdb, sizeof b->in + sizeof b->out);
    if (x->spares >= AW__TLS_SPARE) {
        aw__mem_put(&t->loop->mem, b, sizeof *b);
        return;
    }
    b->next = x->spare;
    x->spare = b;
    x->spares++;
}

/* ---- the engine ---- */

static const char *aw__tls_protocols[] = {"http/1.1"};

/* TLS 1.2, ECDHE and AEAD, and nothing else (RFC 9325 4.2). Where the CPU has
   no AES, ChaCha20 comes first. */
static void aw__tls_setup(br_ssl_engine_context *e)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    };
    const bool aes = br_aes_x86ni_ctr_get_vtable() || br_aes_pwr8_ctr_get_vtable();
    br_ssl_engine_set_versions(e, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(e, suites + (aes ? 2 : 0), 6);
    br_ssl_engine_set_default_rsavrfy(e);
    br_ssl_engine_set_default_ecdsa(e);
    br_ssl_engine_set_default_aes_gcm(e);
    br_ssl_engine_set_default_chapol(e);
    br_ssl_engine_set_hash(e, br_sha256_ID, &br_sha256_vtable);
    br_ssl_engine_set_hash(e, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(e, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(e, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(e, &br_tls12_sha384_prf);
    br_ssl_engine_add_flags(e, BR_OPT_NO_RENEGOTIATION);
}

static size_t aw__tls_eng_size(const aw__tls *t)
{
    return t->server ? sizeof(br_ssl_server_context)
        : sizeof(br_ssl_client_context);
}

static aw__tls_hello *aw__tls_hello_new(aw_loop *l)
{
    aw__tls_hello *h = (aw__tls_hello *)aw__mem_get(&l->mem, sizeof *h);
    if (!h) return NULL;
    memset(h, 0, sizeof *h);
    aw__check_open(&h->check, l);
    return h;
}

static void aw__tls_hello_end(aw__tls *t)
{
    if (t->hello) {
        aw__check_close(&t->hello->check);
        aw__roots_drop(t->hello->roots);
        aw__mem_put(&t->loop->mem, t->hello, sizeof *t->hello);
        t->hello = NULL;
    }
    aw__site_drop(t->site);
    t->site = NULL;
}

/* Engine, buffers and what the handshake needs. False: out of memory; what has
   been got goes with t. */
static bool aw__tls_begin(aw__tls *t)
{
    aw_loop *l = t->loop;
    if (!aw__tls_open(t)) return false;
    if (t->eng) return true;
    t->hello = t->hello ? t->hello : aw__tls_hello_new(l);
    if (!t->hello) return false;
    t->eng = (br_ssl_engine_context *)aw__mem_get(&l->mem, aw__tls_eng_size(t));
    if (!t->eng) return false;
    if (t->server) br_ssl_server_zero((br_ssl_server_context *)(void *)t->eng);
    else br_ssl_client_zero((br_ssl_client_context *)(void *)t->eng);
    aw__tls_setup(t->eng);
    br_ssl_engine_set_buffers_bidi(t->eng, t->buffers->in, AW__TLS_IN,
                                   t->buffers->out, AW__TLS_OUT);
    l->tls->handshakes++;
    return true;
}

/* A client has spoken: what it is answered with. */
static bool aw__tls_serve(aw__tls *t)
{
    br_ssl_server_context *s;
    aw__tls_check *c;
    aw__tls_site *site = t->site;
    if (!aw__tls_begin(t)) return false;
    s = (br_ssl_server_context *)(void *)t->eng;
    c = &t->hello->check;
    br_ssl_engine_set_protocol_names(t->eng, aw__tls_protocols, 1);
    br_ssl_engine_add_flags(t->eng, BR_OPT_ENFORCE_SERVER_PREFERENCES);
    t->hello->policy.vtable = &aw__policy_class;
    t->hello->policy.site = site;
    br_ssl_server_set_policy(s, &t->hello->policy.vtable);
    if (site->clients) {
        /* A session does not say whose certificate it began with: so no
           session goes on that a certificate began. */
        c->roots = site->clients;       /* the site keeps them */
        br_ssl_engine_set_x509(t->eng, &c->vtable);
        br_ssl_server_set_trust_anchor_names_alt(s, site->clients->p,
                                                 site->clients->n);
        if (!site->required)
            br_ssl_engine_add_flags(t->eng, BR_OPT_TOLERATE_NO_CLIENT_AUTH);
    } else {
        br_ssl_server_set_cache(s, &site->cache.vtable);
    }
    (void)br_ssl_server_reset(s);       /* what fails is the engine's error */
    return true;
}

/* The engine and its buffers are there. False: out of memory. */
static bool aw__tls_ready(aw__tls *t)
{
    return t->server && !t->eng ? aw__tls_serve(t) : aw__tls_open(t);
}

/* ---- moving ---- */

/* What ends it: for each later call, and for who waits. */
static void aw__tls_fail(aw__tls *t, int error)
{
    if (!t->error) t->error = error;
    t->takes = t->sends = t->holds = false;
}

/* What the engine gave up for. */
static int aw__tls_why(const aw__tls *t)
{
    const int rc = br_ssl_engine_last_error(t->eng);
    const int type = t->eng->record_type_in;
    if (t->done) return AW_EBADMSG;
    if (t->hello->check.error) return t->hello->check.error;
    switch (rc) {
        case BR_ERR_UNSUPPORTED_VERSION:
            /* So is what is no TLS at all. */
            return type >= 20 && type <= 23 ? AW_ETLS_VERSION : AW_ETLS;
        case BR_ERR_BAD_VERSION: case BR_ERR_BAD_CIPHER_SUITE:
        case BR_ERR_RECV_FATAL_ALERT + 70:      /* protocol_version */
        case BR_ERR_RECV_FATAL_ALERT + 71:      /* insufficient_security */
            return AW_ETLS_VERSION;
        case BR_ERR_RECV_FATAL_ALERT + 40:      /* handshake_failure */
            return t->hello->check.count || t->server ? AW_ETLS
                : AW_ETLS_VERSION;
        default: return AW_ETLS;
    }
}

/* The handshake is done: what it needed goes. */
static void aw__tls_established(aw__tls *t)
{
    aw__tls_hello *h = t->hello;
    aw_loop *l = t->loop;
    br_ssl_session_parameters now;
    t->done = true;
    br_ssl_engine_get_session_parameters(t->eng, &now);
    if (t->profile) {
        if (!h->check.count) l->tls->resumed++;
        aw__session_keep(t->profile, h->host, h->port, &now);
    } else if (h->check.error) {
        /* BearSSL tolerates a bad certificate where none would do, too. */
        aw__tls_fail(t, h->check.error);
    } else if (h->check.subject.n) {
        t->subject = (char *)aw__mem_get(&l->mem, h->check.subject.n + 1);
        if (!t->subject) {
            aw__tls_fail(t, AW_ENOMEM);
        } else {
            memcpy(t->subject, h->check.subject.p, h->check.subject.n);
            t->subject[h->check.subject.n] = 0;
        }
    }
    memset(&now, 0, sizeof now);
    t->eng->x509ctx = NULL;
    aw__tls_hello_end(t);
}

/* Hands the engine what has been received. True: it took some. Browsers send a
   request right behind their Finished (False Start, RFC 7918), which BearSSL
   refuses until its own has gone. */
static bool aw__tls_feed(aw__tls *t)
{
    bool fed = false;
    unsigned char *to;
    size_t n;
    while (t->extra &&
           (t->done || !br_ssl_engine_sendrec_buf(t->eng, &n)) &&
           (to = br_ssl_engine_recvrec_buf(t->eng, &n)) != NULL) {
        /* It lies where it was received, or further back. */
        const unsigned char *from = t->buffers->in + t->extra_at;
        if (n > t->extra) n = t->extra;
        if (to != from) memmove(to, from, n);
        t->extra = (uint16_t)(t->extra - n);
        t->extra_at = (uint16_t)(t->extra_at + n);
        br_ssl_engine_recvrec_ack(t->eng, n);
        fed = true;
    }
    return fed;
}

/* Sends records. True: some bytes went. */
static bool aw__tls_flush(aw__tls *t)
{
    bool sent = false;
    unsigned char *from;
    size_t n;
    while (!t->error &&
           (from = br_ssl_engine_sendrec_buf(t->eng, &n)) != NULL) {
        const ptrdiff_t gone = aw__raw_send(t->loop, t->fd, from, n);
        if (gone == AW_EAGAIN) break;
        if (gone < 0) aw__tls_fail(t, (int)gone);
        else br_ssl_engine_sendrec_ack(t->eng, (size_t)gone);
        sent |= gone > 0;
    }
    return sent;
}

/* Receives as much as there is room for, perhaps more than the one record: the
   rest waits behind it. True: something came. */
static bool aw__tls_fill(aw__tls *t)
{
    size_t n, room;
    unsigned char *to = br_ssl_engine_recvrec_buf(t->eng, &n);
    ptrdiff_t got;
    if (!to || t->extra || t->ended || t->drained || t->error) return false;
    room = (size_t)(t->buffers->in + AW__TLS_IN - to);
    got = aw__raw_recv(t->loop, t->fd, to, room);
    if (got < 0 && got != AW_EAGAIN) aw__tls_fail(t, (int)got);
    if (got == 0) t->ended = true;
    t->drained = got < (ptrdiff_t)room;
    if (got <= 0) return false;
    t->extra = (uint16_t)got;
    t->extra_at = (uint16_t)(to - t->buffers->in);
    return true;
}

/* Moves all that can be moved until there is plaintext, or something to wait
   for; not for ever, for a peer may send empty records as fast as it likes. The
   buffers are there. */
static void aw__tls_work(aw__tls *t)
{
    unsigned state;
    int fills = 0;
    bool moved;
    do {
        moved = aw__tls_feed(t);
        moved |= aw__tls_flush(t);
        state = br_ssl_engine_current_state(t->eng);
        if (!t->done && state & (BR_SSL_SENDAPP | BR_SSL_RECVAPP))
            aw__tls_established(t);
        if (!moved && !(state & BR_SSL_RECVAPP) && fills++ < AW__TLS_FILLS)
            moved = aw__tls_fill(t);
    } while (moved && !t->error && !(state & BR_SSL_RECVAPP));
}

/* Tells the peer what is wrong with its certificate (RFC 5246 7.2.2), which
   BearSSL does not; nothing is encrypted yet. Best effort. */
static void aw__tls_alert(const aw__tls *t)
{
    unsigned char alert[7] = {21, 3, 3, 0, 2, 2, 42};   /* bad_certificate */
    switch (t->error) {
        case AW_ETLS_ISSUER: case AW_ETLS_SELF_SIGNED: alert[6] = 48; break;
        case AW_ETLS_EXPIRED: case AW_ETLS_NOT_YET: alert[6] = 45; break;
        case AW_ETLS_WEAK: case AW_ETLS_USE: alert[6] = 43; break;
        default: break;
    }
    (void)aw__raw_send(t->loop, t->fd, alert, sizeof alert);
}

/* A browser that was sent to http://host:8443 is told why nothing comes. */
static void aw__tls_hint(const aw__tls *t)
{
    static const char hint[] = "HTTP/1.1 400 Bad Request\r\n"
        "Content-Type: text/plain\r\nConnection: close\r\n\r\n"
        "This port speaks https://\n";
    (void)aw__raw_send(t->loop, t->fd, hint, sizeof hint - 1);
}

/* The engine has closed: in order, or not. */
static void aw__tls_closed(aw__tls *t)
{
    t->takes = t->sends = t->holds = false;
    if (t->error) return;
    if (br_ssl_engine_last_error(t->eng)) aw__tls_fail(t, aw__tls_why(t));
    if (t->error && !t->done && t->hello->check.error) aw__tls_alert(t);
    else if (t->error && !t->done && t->server &&
             aw__http_is((char)t->eng->record_type_in, AW__C_TOKEN) &&
             t->eng->record_type_in >= 'A') aw__tls_hint(t);
    if (t->error) return;
    if (!t->done) aw__tls_fail(t, AW_EEOF);
    else t->over = true;
}

/* Notes what the engine is at; one that is at rest gives its buffers back. */
static void aw__tls_note(aw__tls *t)
{
    const unsigned char *in;
    size_t n, room = 0;
    if (!t->buffers || !t->eng) return;
    in = br_ssl_engine_recvrec_buf(t->eng, &room);
    t->takes = in != NULL && !t->extra;
    t->sends = br_ssl_engine_sendrec_buf(t->eng, &n) != NULL;
    t->holds = br_ssl_engine_recvapp_buf(t->eng, &n) != NULL;
    if (br_ssl_engine_current_state(t->eng) == BR_SSL_CLOSED)
        aw__tls_closed(t);
    if (t->error || t->over ||
        (t->done && !t->extra && !t->sends && in == t->eng->ibuf && room == 5))
        aw__tls_put_buffers(t);
}

/* ---- what is to be waited for ---- */

static int aw__tls_needs(const aw__tls *t)
{
    int want = t->want & (AW_READ | AW_WRITE);
    if (t->error || t->over) return 0;
    if (!t->eng) return want ? (int)AW_READ : t->want;
    if (!t->done) want = want ? AW_READ : 0;
    if ((!t->takes && !t->holds) || t->ended) want &= ~AW_READ;
    if (t->sends) want |= AW_WRITE;
    return want ? want : t->want & AW__RESET;
}

/* True: the kernel has nothing more to say that the owner waits for. */
static bool aw__tls_tells(const aw__tls *t)
{
    if (t->error || t->over) return t->want != 0;
    return t->want & AW_READ && (t->holds || (t->ended && t->done));
}

/* The watch fits the engine again. */
static int aw__tls_arm(aw__tls *t)
{
    int rc;
    if (t->ended && !t->done && !t->over) aw__tls_fail(t, AW_EEOF);
    rc = aw__fd_watch(t->loop, t->fd, aw__tls_needs(t));
    if (rc < 0) aw__tls_fail(t, rc);
    if (aw__tls_tells(t) == (t->link.next != NULL)) return rc;
    if (t->link.next) aw__list_remove(&t->link);
    else aw__list_add(&t->loop->tls->soon, &t->link);
    return rc;
}

static int aw__tls_want(aw_loop *l, int fd, int want)
{
    aw__tls *t = l->fds[fd].tls;
    t->want = want;
    return aw__tls_arm(t);
}

static int aw__tls_wanted(const aw_loop *l, int fd)
{
    return l->fds[fd].tls->want;
}

/* Notes and watches, after the engine has been moved. */
static void aw__tls_settle(aw__tls *t)
{
    aw__tls_note(t);
    (void)aw__tls_arm(t);
}

/* The kernel's event becomes the owner's. */
static int aw__tls_event(aw_loop *l, int fd, int events)
{
    aw__tls *t = l->fds[fd].tls;
    const bool was = t->done;
    if (!events || events & AW__RESET) return events & t->want;
    t->drained = false;
    if (!t->done || (t->sends && events & AW_WRITE)) {
        /* The kernel will say it again. */
        if (!t->done && l->tls->greeted++ >= AW__TLS_GREET) return 0;
        if (!aw__tls_ready(t)) aw__tls_fail(t, AW_ENOMEM);
        else if (!t->done) aw__tls_work(t);
        else (void)aw__tls_flush(t);
        aw__tls_settle(t);
        if (t->shut && !t->sends) aw__raw_shutdown(l, fd);
    }
    if (t->error || t->over) return t->want;
    if (!t->done) return 0;
    if (t->holds || t->ended) events |= AW_READ;
    if (!was) events |= AW_WRITE;
    if (t->sends) events &= ~AW_WRITE;
    return events & t->want;
}

static bool aw__tls_soon(const aw_loop *l)
{
    return !aw__list_empty(&l->tls->soon);
}

/* Tells those who have what the kernel does not know of. True: there was
   one. */
static bool aw__tls_poll(aw_loop *l)
{
    aw__link due;
    bool any = false;
    l->tls->greeted = 0;
    aw__list_move(&due, &l->tls->soon);
    while (!aw__list_empty(&due)) {
        aw__tls *t = (aw__tls *)due.next;
        const aw__fd *e = &l->fds[t->fd];
        int events = t->error || t->over ? t->want : t->want & AW_READ;
        aw__list_remove(&t->link);
        if (!aw__tls_tells(t)) continue;
        aw__list_add(&l->tls->soon, &t->link);
        any = true;
        if (events & AW__RESET) events = AW__RESET;
        if (e->kind != AW__FD_FREE && l->on_fd[e->kind])
            l->on_fd[e->kind](l, t->fd, events);
    }
    return any;
}

/* ---- the face ---- */

/* The end, an error, or AW_EAGAIN. A FIN without close_notify may come from
   anybody on the way: what ends by it counts as cut off (RFC 5246 7.2.1). */
static ptrdiff_t aw__tls_nothing(aw__tls *t)
{
    if (t->error) return t->error;
    if (t->over || (t->ended && t->shut)) return 0;
    if (!t->ended) return AW_EAGAIN;
    aw__tls_fail(t, AW_EEOF);
    return t->error;
}

static ptrdiff_t aw__tls_recv(aw__tls *t, void *p, size_t n)
{
    size_t done = 0, have;
    unsigned char *from;
    if (t->error || t->over) return aw__tls_nothing(t);
    if (!aw__tls_ready(t)) return AW_ENOMEM;
    t->drained = false;
    do {
        if (!br_ssl_engine_recvapp_buf(t->eng, &have)) aw__tls_work(t);
        if (t->error || t->over) break;
        from = br_ssl_engine_recvapp_buf(t->eng, &have);
        if (!from) break;
        if (have > n - done) have = n - done;
        memcpy((char *)p + done, from, have);
        br_ssl_engine_recvapp_ack(t->eng, have);
        done += have;
        (void)aw__tls_feed(t);
    } while (done < n);
    aw__tls_settle(t);
    return done ? (ptrdiff_t)done : aw__tls_nothing(t);
}

/* Fills records with the parts, from *at on. */
static size_t aw__tls_take(aw__tls *t, const aw_slice *parts, int count,
                           size_t at)
{
    size_t room, all = 0;
    unsigned char *to = br_ssl_engine_sendapp_buf(t->eng, &room);
    int i;
    for (i = 0; to && i < count && room; i++) {
        size_t n = parts[i].n;
        if (at >= n) {
            at -= n;
            continue;
        }
        n = n - at < room ? n - at : room;
        memcpy(to + all, parts[i].p + at, n);
        all += n;
        room -= n;
        at = 0;
    }
    if (!all) return 0;
    br_ssl_engine_sendapp_ack(t->eng, all);
    br_ssl_engine_flush(t->eng, 0);
    return all;
}

static ptrdiff_t aw__tls_send(aw__tls *t, const aw_slice *parts, int count)
{
    size_t all = 0, done = 0, took;
    int i;
    for (i = 0; i < count; i++) all += parts[i].n;
    if (t->error) return t->error;
    if (t->over || t->shut) return AW_ECLOSED;
    if (all == 0) return 0;
    if (!aw__tls_ready(t)) return AW_ENOMEM;
    if (!t->done) aw__tls_work(t);
    while (t->done && !t->error) {
        (void)aw__tls_flush(t);
        took = t->error ? 0 : aw__tls_take(t, parts, count, done);
        done += took;
        if (!took) break;
    }
    aw__tls_settle(t);
    if (t->error) return t->error;
    if (done) return (ptrdiff_t)done;
    return t->over ? AW_ECLOSED : AW_EAGAIN;
}

/* Says close_notify, and ends the sending side when that is out. */
static void aw__tls_shutdown(aw__tls *t)
{
    if (t->shut) return;
    t->shut = true;
    if (t->error || t->over || !t->done || !aw__tls_open(t)) {
        aw__raw_shutdown(t->loop, t->fd);
        return;
    }
    (void)aw__tls_flush(t);
    br_ssl_engine_close(t->eng);
    (void)aw__tls_flush(t);
    aw__tls_settle(t);
    if (!t->sends) aw__raw_shutdown(t->loop, t->fd);
}

static void aw__profile_drop(aw__tls_profile *p)
{
    aw__tls_loop *x = p ? p->loop->tls : NULL;
    aw__link *i, *next;
    if (!p || --p->refs > 0) return;
    if (++x->profile_count <= AW__TLS_PROFILES) return;
    for (i = x->profiles.next; i != &x->profiles; i = next) {
        next = i->next;
        if (((aw__tls_profile *)i)->refs) continue;
        aw__profile_free((aw__tls_profile *)i);
        x->profile_count--;
        return;
    }
}

/* Forgets it; the descriptor is plain from now on. */
static void aw__tls_drop(aw__tls *t)
{
    aw_loop *l = t->loop;
    if (t->link.next) aw__list_remove(&t->link);
    l->fds[t->fd].tls = NULL;
    aw__tls_put_buffers(t);
    aw__tls_hello_end(t);
    if (t->eng) {
        memset(t->eng, 0, aw__tls_eng_size(t));
        aw__mem_put(&l->mem, t->eng, aw__tls_eng_size(t));
    }
    if (t->subject) aw__mem_put(&l->mem, t->subject, strlen(t->subject) + 1);
    aw__profile_drop(t->profile);
    aw__mem_put(&l->mem, t, sizeof *t);
}

/* ---- what is left to send ---- */

static void aw__tls_left(aw_loop *l, int fd)
{
    aw__tls_rest *r = (aw__tls_rest *)l->fds[fd].object;
    aw__timer_stop(l, &r->timer.timer);
    aw__tls_drop(r->tls);
    aw__mem_put(&l->mem, r, sizeof *r);
    aw__raw_close(l, fd);
}

static void aw__on_tls_rest(aw_loop *l, int fd, int events)
{
    const aw__tls *t = l->fds[fd].tls;
    (void)events;
    if (!t->sends) aw__tls_left(l, fd);
}

static void aw__tls_rest_due(aw_loop *l, aw__call_timer *timer)
{
    aw__tls_left(l, ((aw__tls_rest *)timer)->tls->fd);
}

/* The owner has closed. True: something is still to be sent, so the descriptor
   stays open for a while, as nobody's. */
static bool aw__tls_leave(aw__tls *t)
{
    aw_loop *l = t->loop;
    const int fd = t->fd;
    aw__tls_rest *r = NULL;
    if (fd < l->fd_cap) aw__fd_forget(l, fd);
    if (t->sends && !t->error && !l->draining)
        r = (aw__tls_rest *)aw__mem_get(&l->mem, sizeof *r);
    if (r && aw__fd_open(l, fd, AW__FD_TLS_REST, r) == 0) {
        memset(r, 0, sizeof *r);
        r->tls = t;
        r->timer.fn = aw__tls_rest_due;
        l->on_fd[AW__FD_TLS_REST] = aw__on_tls_rest;
        l->on_lost[AW__FD_TLS_REST] = aw__tls_left;
        aw__timer_start(l, &r->timer.timer, AW__TLS_REST_MS, AW__TIMER_CALL);
        if (aw__tls_want(l, fd, AW_WRITE) < 0) aw__tls_left(l, fd);
        return true;
    }
    aw__mem_put(&l->mem, r, sizeof *r);
    aw__tls_drop(t);
    return false;
}

/* ---- beginning ---- */

static void aw__tls_free(aw_loop *l)
{
    aw__tls_loop *x = l->tls;
    while (!aw__list_empty(&x->profiles))
        aw__profile_free((aw__tls_profile *)x->profiles.next);
    while (x->spare) {
        aw__tls_buffers *b = x->spare;
        x->spare = b->next;
        aw__mem_put(&l->mem, b, sizeof *b);
    }
    aw__mem_put(&l->mem, x, sizeof *x);
    l->tls = NULL;
}

/* What the loop's connections share, made when it is first needed. NULL: out
   of memory. */
static aw__tls_loop *aw__tls_of(aw_loop *l)
{
    aw__tls_loop *x = l->tls;
    if (x) return x;
    x = (aw__tls_loop *)aw__mem_get(&l->mem, sizeof *x);
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    aw__list_init(&x->soon);
    aw__list_init(&x->profiles);
    aw__list_init(&x->roots);
    l->tls = x;
    l->tls_want = aw__tls_want;
    l->tls_wanted = aw__tls_wanted;
    l->tls_event = aw__tls_event;
    l->tls_soon = aw__tls_soon;
    l->tls_poll = aw__tls_poll;
    l->tls_free = aw__tls_free;
    return x;
}

static aw__tls *aw__tls_new(aw_loop *l, int fd)
{
    aw__tls *t = aw__tls_of(l) ? (aw__tls *)aw__mem_get(&l->mem, sizeof *t)
        : NULL;
    if (!t) return NULL;
    memset(t, 0, sizeof *t);
    t->loop = l;
    t->fd = fd;
    t->takes = true;
    return t;
}

/* The client at fd, which is open here, is to speak TLS. False: out of
   memory. */
static bool aw__tls_accept(aw_loop *l, int fd, aw__tls_site *site)
{
    aw__tls *t = aw__tls_new(l, fd);
    if (!t) return false;
    t->server = true;
    t->site = site;
    site->refs++;
    l->fds[fd].tls = t;
    return true;
}

/* *out: the profile of these options, with a reference. What is wrong with
   them is logged. */
static int aw__profile_of(aw_loop *l, const aw_tls *tls, bool http,
                          aw__tls_profile **out)
{
    aw__tls_loop *x = aw__tls_of(l);
    aw__tls_profile *p;
    unsigned char id[br_sha256_SIZE];
    aw_tls none;
    aw__link *i;
    int rc;
    memset((void *)&none, 0, sizeof none);
    if (!tls) tls = &none;
    if (!x) return AW_ENOMEM;
    aw__profile_id(tls, http, id);
    for (i = x->profiles.next; i != &x->profiles; i = i->next) {
        p = (aw__tls_profile *)i;
        if (memcmp(p->id, id, sizeof id) != 0) continue;
        if (p->refs++ == 0) x->profile_count--;
        *out = p;
        return 0;
    }
    p = (aw__tls_profile *)aw__mem_get(&l->mem, sizeof *p);
    if (!p) return AW_ENOMEM;
    memset(p, 0, sizeof *p);
    p->loop = l;
    p->refs = 1;
    p->http = http;
    p->memory.mem = &l->mem;
    memcpy(p->id, id, sizeof id);
    aw__list_init(&p->sessions);
    aw__list_add(&x->profiles, &p->link);
    rc = aw__profile_read(p, tls);
    if (rc == 0) *out = p;
    else aw__profile_free(p);
    return rc;
}

static void aw__tls_show(br_ssl_client_context *c, const aw__tls_identity *id)
{
    if (id->key_type == BR_KEYTYPE_EC)
        br_ssl_client_set_single_ec(
            c, id->chain, id->count, &id->key.key.ec, BR_KEYTYPE_SIGN,
            (unsigned)id->issuer_type, br_ec_get_default(),
            br_ecdsa_sign_asn1_get_default());
    else
        br_ssl_client_set_single_rsa(c, id->chain, id->count, &id->key.key.rsa,
                                     br_rsa_pkcs1_sign_get_default());
}

/* The stream at fd, which is connected to host and port, becomes TLS; the
   handshake goes on by itself while its owner waits for anything. 0 or an
   error. */
static int aw__tls_connect(aw_loop *l, int fd, aw__tls_profile *p,
                           const char *host, int port)
{
    const char *name = p->server_name ? p->server_name : host;
    aw__tls_session *old;
    br_ssl_client_context *c;
    aw__tls_hello *h;
    aw__address numeric;
    aw__tls *t;
    const int rc = aw__profile_roots(p, &l->tls->roots);
    if (rc < 0) return rc;
    t = aw__tls_new(l, fd);
    if (!t) return AW_ENOMEM;
    t->profile = p;
    p->refs++;
    l->fds[fd].tls = t;
    if (!aw__tls_begin(t)) return AW_ENOMEM;
    h = t->hello;
    h->port = port;
    if (strlen(name) > AW__HOST_MAX) return AW_EINVAL;
    memcpy(h->host, name, strlen(name) + 1);
    h->check.host = h->host;
    h->check.roots = h->roots = p->roots;
    if (h->roots) h->roots->refs++;
    h->check.pin = p->pinned ? p->pin : NULL;
    h->check.insecure = p->insecure;
    if (p->insecure && !p->http)   /* the HTTP client says it of each request */
        aw__log(l, AW_LOG_WARNING, "asyncweb: TLS: .insecure: the certificate "
                "of %s port %d is not verified", name, port);
    c = (br_ssl_client_context *)(void *)t->eng;
    br_ssl_client_set_default_rsapub(c);
    br_ssl_engine_set_x509(t->eng, &h->check.vtable);
    if (p->http) br_ssl_engine_set_protocol_names(t->eng, aw__tls_protocols, 1);
    if (p->identity) aw__tls_show(c, p->identity);
    old = aw__session_find(p, name, port);
    if (old) br_ssl_engine_set_session_parameters(t->eng, &old->data);
    /* RFC 6066 3: no address is sent as a name. */
    (void)br_ssl_client_reset(c, aw__address_parse(name, 0, &numeric) ? NULL
                              : name, old != NULL);
    aw__tls_work(t);
    aw__tls_settle(t);
    return 0;
}
#endif /* ASYNCWEB_BEARSSL */

/* >>floor4 socket  One face: the kernel's and those in memory, plain and TLS  */

static ptrdiff_t aw__io_recv(aw_loop *l, int fd, void *p, size_t n)
{
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd)) return aw__tls_recv(aw__tls_on(l, fd), p, n);
#endif
    return aw__raw_recv(l, fd, p, n);
}

static ptrdiff_t aw__io_send(aw_loop *l, int fd, const void *p, size_t n)
{
#ifdef ASYNCWEB_BEARSSL
    aw_slice part;
    if (aw__tls_on(l, fd)) {
        part = aw__slice((const char *)p, n);
        return aw__tls_send(aw__tls_on(l, fd), &part, 1);
    }
#endif
    return aw__raw_send(l, fd, p, n);
}

/* Part by part, until one does not go whole. */
static ptrdiff_t aw__sim_send2(aw_loop *l, int fd, const aw_slice *parts,
                               int count)
{
    ptrdiff_t n, sent = 0;
    int i;
    for (i = 0; i < count; i++) {
        if (parts[i].n == 0) continue;
        n = aw__sim_send(l, fd, parts[i].p, parts[i].n);
        if (n < 0) return sent ? sent : n;
        sent += n;
        if ((size_t)n < parts[i].n) break;
    }
    return sent;
}

/* Up to four pieces as one. */
static AW__UNUSED ptrdiff_t aw__io_send2(aw_loop *l, int fd,
                                         const aw_slice *parts, int count)
{
    struct iovec v[4];
    int i;
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd)) return aw__tls_send(aw__tls_on(l, fd), parts, count);
#endif
    if (aw__sim_has(l, fd)) return aw__sim_send2(l, fd, parts, count);
    for (i = 0; i < count; i++) {
        /* sendmsg() does not write there; its struct cannot say so. */
        memcpy(&v[i].iov_base, &parts[i].p, sizeof v[i].iov_base);
        v[i].iov_len = parts[i].n;
    }
    return aw__io_result(aw__sys_sendmsg(fd, v, count));
}

/* False: a file cannot be sent from where it lies. */
static AW__UNUSED bool aw__io_is_plain(const aw_loop *l, int fd)
{
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd)) return false;
#endif
    return !aw__sim_has(l, fd);
}

/* What happened to fd, 0: nothing bad. After a connect that had to wait. */
static int aw__io_error(aw_loop *l, int fd)
{
    int error;
    if (aw__sim_has(l, fd)) return aw__sim_error(l, fd);
    error = aw__sys_socket_error(fd);
    return error ? aw__error_of(error) : 0;
}

/* Ends the sending side: the peer reads what is under way, then 0. */
static void aw__io_shutdown(aw_loop *l, int fd)
{
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd)) {
        aw__tls_shutdown(aw__tls_on(l, fd));
        return;
    }
#endif
    aw__raw_shutdown(l, fd);
}

static void aw__io_close(aw_loop *l, int fd)
{
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd) && aw__tls_leave(aw__tls_on(l, fd))) return;
#endif
    aw__raw_close(l, fd);
}

/* The same with a reset: the peer's reads fail instead of ending in order. */
static void aw__io_reset(aw_loop *l, int fd)
{
    struct linger at_once;
    at_once.l_onoff = 1;
    at_once.l_linger = 0;
#ifdef ASYNCWEB_BEARSSL
    if (aw__tls_on(l, fd)) aw__tls_drop(aw__tls_on(l, fd));
#endif
    if (fd < l->fd_cap) aw__fd_forget(l, fd);
    if (aw__sim_has(l, fd)) {
        aw__sim_close(l, fd, true);
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    aw__sys_close(fd);
}

static int aw__io_socket(const aw__address *a)
{
    int fd = aw__sys_socket(a->family == 6 ? AF_INET6 : AF_INET);
    return fd < 0 ? aw__connect_error() : fd;
}

/* 0: connected. AW_EAGAIN: on its way; wait until *fd is writable and ask
   aw__io_error. Any other error: there is no *fd. */
static int aw__io_connect(aw_loop *l, const aw__address *to, int *fd)
{
    aw__sys_address a;
    const socklen_t n = aw__address_to(to, &a);
    int s, rc;
    if (l->sim) return aw__sim_connect(l, to, fd);
    s = aw__io_socket(to);
    if (s < 0) return s;
    /* Small writes go out at once: a reply must not wait for an ACK. */
    (void)aw__sys_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
    *fd = s;
    if (aw__sys_connect(s, &a, n) == 0) return 0;
    /* An interrupted one goes on by itself; a second call would fail. */
    if (errno == EINPROGRESS || errno == EINTR) return AW_EAGAIN;
    rc = aw__connect_error();
    aw__sys_close(s);
    *fd = -1;
    return rc;
}

enum { AW__BACKLOG = 4096 };

static int aw__io_bind(int fd, const aw__address *at, int *port)
{
    aw__sys_address a;
    socklen_t n = aw__address_to(at, &a);
    if (aw__sys_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0) return -1;
    /* Whatever the system's default: IPv4 has a listener of its own. */
    if (at->family == 6 &&
        aw__sys_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0) return -1;
    /* Accepted sockets inherit it on Linux: a call less for each. */
    (void)aw__sys_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (aw__sys_bind(fd, &a, n) < 0) return -1;
    if (aw__sys_listen(fd, AW__BACKLOG) < 0) return -1;
    if (aw__sys_name(fd, &a) < 0) return -1;
    *port = aw__address_from(&a).port;
    return 0;
}

/* 0, *fd and the *port it really has. */
static int aw__io_listen(aw_loop *l, const aw__address *at, int *fd, int *port)
{
    int s, rc;
    if (l->sim) {
        rc = aw__sim_listen(l, at, fd);
        if (rc > 0) *port = rc;
        return rc > 0 ? 0 : rc;
    }
    s = aw__io_socket(at);
    if (s < 0) return s;
    if (aw__io_bind(s, at, port) < 0) {
        rc = aw__errno();
        aw__sys_close(s);
        return rc;
    }
    *fd = s;
    return 0;
}

/* What became of one connection is no error of the listener's: it went before
   it was accepted, a firewall forbids it, its network is down (accept(2) of
   Linux names them). */
static bool aw__io_accept_again(int error)
{
    switch (error) {
        case EINTR: case ECONNABORTED: case EPROTO: case EPERM: case ENETDOWN:
        case ENOPROTOOPT: case EHOSTDOWN: case EHOSTUNREACH: case EOPNOTSUPP:
        case ENETUNREACH:
            return true;
        default: return false;
    }
}

enum { AW__ACCEPT_TRIES = 16 }; /* were it for ever, the caller should rest */

/* The new descriptor, or AW_EAGAIN, AW_EMFILE, ... */
static int aw__io_accept(aw_loop *l, int listener, aw__address *peer)
{
    aw__sys_address from;
    int fd, tries = AW__ACCEPT_TRIES;
    if (aw__sim_has(l, listener)) return aw__sim_accept(l, listener, peer);
    do fd = aw__sys_accept(listener, &from);
    while (fd < 0 && aw__io_accept_again(errno) && --tries > 0);
    if (fd < 0) return (int)aw__io_result(-1);
    *peer = aw__address_from(&from);
#if !defined(__linux__)
    (void)aw__sys_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#endif
    return fd;
}

/* >>floor4 doors  Where a server listens: TCP, UNIX sockets, inherited ones  */

typedef struct aw__door {
    int fd;                     /* -1: closed */
    aw__address at;
    char *path;                 /* of a UNIX socket */
    bool tls;
    bool inherited;             /* opened by somebody else */
    bool ours;                  /* this file is removed at the end... */
    dev_t device;               /* ...if it is still the one we made */
    ino_t inode;
} aw__door;

enum { AW__DOORS = AW__SIZED(32, 4), AW__INHERITED = 3 };     /* SD_LISTEN_FDS_START */

typedef struct aw__doors {
    aw_loop *loop;
    aw__arena *memory;          /* of paths */
    int mode;                   /* permissions of UNIX sockets; 0: by umask */
    int count;
    bool inherits;              /* the environment was asked */
    bool has_tls;               /* "tls:" may stand in the list */
    aw__door at[AW__DOORS];
} aw__doors;

/* Not so when somebody has put another one in its place. While our socket is
   open its inode cannot be another file's, so this comes before closing. */
static void aw__door_remove(const aw__door *d)
{
    struct stat now;
    if (d->ours && lstat(d->path, &now) == 0 && now.st_dev == d->device &&
        now.st_ino == d->inode) (void)unlink(d->path);
}

static void aw__door_close(aw__doors *x, int i)
{
    aw__door *d = &x->at[i];
    if (d->fd < 0) return;
    aw__door_remove(d);
    aw__io_close(x->loop, d->fd);
    d->fd = -1;
}

static void aw__doors_close(aw__doors *x)
{
    int i;
    for (i = 0; i < x->count; i++) aw__door_close(x, i);
}

/* One more; NULL: there are too many. */
static aw__door *aw__door_new(aw__doors *x)
{
    aw__door *d = x->count < AW__DOORS ? &x->at[x->count] : NULL;
    if (!d) return NULL;
    memset(d, 0, sizeof *d);
    d->fd = -1;
    return d;
}

/* At the address of one family. 0 or an error. */
static int aw__door_tcp(aw__doors *x, const aw__address *at)
{
    aw__door *d = aw__door_new(x);
    int port = 0, rc;
    if (!d) return AW_ETOOBIG;
    d->at = *at;
    rc = aw__io_listen(x->loop, at, &d->fd, &port);
    d->at.port = (uint16_t)port;
    if (rc == 0) x->count++;
    return rc;
}

/* "localhost" and "*", every address, are two: one of IPv4 and one of IPv6, if
   the machine has that. */
static int aw__doors_tcp(aw__doors *x, const char *host, int port)
{
    static const char *const pairs[][2] = {{"127.0.0.1", "::1"},
                                           {"0.0.0.0", "::"}};
    const bool every = strcmp(host, "*") == 0;
    const bool both = every || strcmp(host, "localhost") == 0;
    const bool any = port == 0;
    int i, rc = 0;
    for (i = 0; i < (both ? 2 : 1); i++) {
        aw__address at;
        if (!aw__address_parse(both ? pairs[every][i] : host, port, &at))
            return AW_EADDRNOTAVAIL;
        rc = aw__door_tcp(x, &at);
        if (i == 1 && (rc == AW_ENOTSUP || rc == AW_EADDRNOTAVAIL ||
                       (rc == AW_EADDRINUSE && any))) return 0;
        if (rc < 0) return rc;
        port = x->at[x->count - 1].at.port;
    }
    return 0;
}

/* ---- UNIX sockets ---- */

/* True: a process that is no more has left this socket behind. */
static bool aw__unix_stale(const aw__sys_address *a)
{
    struct stat file;
    bool stale;
    int fd;
    if (lstat(a->un.sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
        return false;
    fd = aw__sys_socket(AF_UNIX);
    if (fd < 0) return false;
    /* Anything else, a full backlog too, is somebody's answer. */
    stale = aw__sys_connect(fd, a, sizeof a->un) < 0 && errno == ECONNREFUSED;
    aw__sys_close(fd);
    return stale;
}

/* Nobody gets in before listen(), so the mode is set in time. */
static int aw__unix_bind(aw__doors *x, aw__door *d, const aw__sys_address *a)
{
    struct stat file;
    int rc = aw__sys_bind(d->fd, a, sizeof a->un) < 0 ? aw__errno() : 0;
    if (rc == AW_EADDRINUSE && aw__unix_stale(a)) {
        (void)unlink(d->path);
        rc = aw__sys_bind(d->fd, a, sizeof a->un) < 0 ? aw__errno() : 0;
    }
    if (rc < 0) return rc;
    if (lstat(d->path, &file) < 0) return aw__errno();
    d->device = file.st_dev;
    d->inode = file.st_ino;
    d->ours = true;
    if (x->mode && chmod(d->path, (mode_t)x->mode) < 0) return aw__errno();
    return aw__sys_listen(d->fd, AW__BACKLOG) < 0 ? aw__errno() : 0;
}

static int aw__doors_unix(aw__doors *x, aw_slice path)
{
    aw__door *d = aw__door_new(x);
    aw__sys_address a;
    int rc;
    if (!d) return AW_ETOOBIG;
    memset(&a, 0, sizeof a);
    a.un.sun_family = AF_UNIX;
    if (!path.n || path.n >= sizeof a.un.sun_path) {
        aw__log(x->loop, AW_LOG_ERROR, "asyncweb: the path of a UNIX socket "
                "has 1 to %d bytes, not %lu", (int)sizeof a.un.sun_path - 1,
                (unsigned long)path.n);
        return AW_EINVAL;
    }
    memcpy(a.un.sun_path, path.p, path.n);
    d->path = aw__arena_text(x->memory, path.p, path.n);
    if (!d->path) return AW_ENOMEM;
    d->fd = aw__sys_socket(AF_UNIX);
    if (d->fd < 0) return aw__errno();
    d->at = aw__address_any(AW__UNIX, 0);
    x->count++;
    rc = aw__unix_bind(x, d, &a);
    if (rc < 0) aw__door_close(x, --x->count);
    return rc;
}

/* ---- sockets that the parent process has opened: systemd's protocol ---- */

/* How many, from AW__INHERITED on; 0 when they were meant for another. */
static int aw__inherited(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    int64_t for_whom, count;
    if (!pid || !n || !aw__text_int(pid, strlen(pid), &for_whom) ||
        !aw__text_int(n, strlen(n), &count)) return 0;
    return for_whom != (int64_t)getpid() || count < 0 ||
        count > INT_MAX - AW__INHERITED ? 0 : (int)count;
}

/* Whether fd is a stream socket that listens; says what else it is. */
static int aw__inherited_check(aw_loop *l, int fd, aw__sys_address *a)
{
    int type = 0, listens = 1;
    socklen_t n = sizeof type, m = sizeof listens;
    const char *wrong = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
        wrong = "is no socket";
    else if (type != SOCK_STREAM)
        wrong = "is no stream socket";
    else if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) == 0 &&
             !listens)
        wrong = "does not listen: Accept=no is what is needed";
    if (!wrong) return aw__sys_name(fd, a) < 0 ? aw__errno() : 0;
    aw__log(l, AW_LOG_ERROR, "asyncweb: inherited descriptor %d %s", fd, wrong);
    return AW_EINVAL;
}

static int aw__door_inherit(aw__doors *x, int fd)
{
    aw__door *d = aw__door_new(x);
    aw__sys_address a;
    int rc;
    if (!d) return AW_ETOOBIG;
    memset(&a, 0, sizeof a);
    rc = aw__inherited_check(x->loop, fd, &a);
    if (rc < 0) return rc;
    /* It may come as a blocking one, and all share that flag. */
    if (aw__sys_nonblocking(fd) < 0) return aw__errno();
    d->at = aw__address_from(&a);
    if (d->at.family == AW__UNIX) {
        d->path = aw__arena_text(x->memory, a.un.sun_path,
                                 strlen(a.un.sun_path));
        if (!d->path) return AW_ENOMEM;
    } else {
        (void)aw__sys_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    d->fd = fd;
    d->inherited = true;
    x->count++;
    return 0;
}

/* Those of that name, or all for "". AW_ENOENT: there are none. */
static int aw__doors_inherit(aw__doors *x, aw_slice name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    const int n = aw__inherited(), before = x->count;
    int i, rc = 0;
    x->inherits = true;
    for (i = 0; i < n && rc == 0; i++) {
        const size_t len = names ? strcspn(names, ":") : 0;
        const int fd = AW__INHERITED + i;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (!name.n || (len == name.n && memcmp(names, name.p, len) == 0))
            rc = aw__door_inherit(x, fd);
        if (names) names += len + (names[len] != 0);
    }
    return rc < 0 ? rc : x->count > before ? 0 : AW_ENOENT;
}

/* ---- the list ---- */

/* "127.0.0.1:80", "[::1]:80", "localhost:80", "*:80". */
static int aw__doors_address(aw__doors *x, aw_slice text)
{
    char host[INET6_ADDRSTRLEN];
    const char *end = text.p + text.n, *colon = end, *p = text.p;
    int port;
    while (colon > p && *colon != ':') colon--;
    port = colon > p ? aw__url_port(colon + 1, end) : -1;
    if (port < 0) return AW_EINVAL;
    if (*p == '[' && colon[-1] == ']') p++, colon--;
    if ((size_t)(colon - p) >= sizeof host) return AW_EADDRNOTAVAIL;
    /* Brackets are IPv6's, and it needs them: ::1:80 could be either. */
    if ((p > text.p) != (memchr(p, ':', (size_t)(colon - p)) != NULL))
        return AW_EINVAL;
    memcpy(host, p, (size_t)(colon - p));
    host[colon - p] = 0;
    return aw__doors_tcp(x, host, port);
}

static int aw__doors_add(aw__doors *x, aw_slice word)
{
    if (word.n >= 4 && memcmp(word.p, "tls:", 4) == 0) {
        const int first = x->count;
        int i, rc;
        if (!x->has_tls) return AW_ENOTLS;
        rc = aw__doors_add(x, aw__slice(word.p + 4, word.n - 4));
        for (i = first; i < x->count; i++) x->at[i].tls = true;
        return rc;
    }
    if (word.n >= 5 && memcmp(word.p, "unix:", 5) == 0)
        return aw__doors_unix(x, aw__slice(word.p + 5, word.n - 5));
    if (aw__slice_eq(word, "systemd"))
        return aw__doors_inherit(x, aw__slice(word.p, 0));
    if (word.n > 8 && memcmp(word.p, "systemd:", 8) == 0)
        return aw__doors_inherit(x, aw__slice(word.p + 8, word.n - 8));
    return aw__doors_address(x, word);
}

static const char *aw__doors_wrong(int rc, aw_slice word)
{
    if (rc == AW_ETOOBIG) return "too many sockets";
    if (rc == AW_ENOTLS)
        return "tls: needs .tls, and a build with ASYNCWEB_BEARSSL";
    if (rc == AW_ENOENT && *word.p == 's')
        return "no such socket was passed to this process";
    if (rc == AW_EINVAL && *word.p != 's' && *word.p != 'u')
        return "write ADDRESS:PORT, [ADDRESS]:PORT, unix:PATH or systemd";
    return aw_strerror(rc);
}

/* Opens all of the list. 0; or an error, which is logged: then none is. */
static int aw__doors_open(aw__doors *x, const char *list)
{
    aw_slice rest = aw__slice(list, strlen(list)), word;
    int rc = 0;
    while (rc == 0 && aw__word(&rest, &word)) {
        rc = aw__doors_add(x, word);
        if (rc < 0)
            aw__log(x->loop, AW_LOG_ERROR, "asyncweb: cannot listen at %.*s: "
                    "%s", (int)word.n, word.p, aw__doors_wrong(rc, word));
    }
    if (x->inherits) {          /* not for the children of this process */
        (void)unsetenv("LISTEN_PID");
        (void)unsetenv("LISTEN_FDS");
        (void)unsetenv("LISTEN_FDNAMES");
    }
    if (rc == 0 && x->count == 0) rc = AW_EINVAL;
    if (rc < 0) aw__doors_close(x);
    return rc;
}

/* Where a client finds it. */
static const char *aw__door_name(const aw__door *d, char *text, size_t size)
{
    char at[AW_PEER_TEXT];
    if (d->at.family == AW__UNIX) aw__print(text, size, "unix:%s", d->path);
    else aw__print(text, size, "http%s://%s", d->tls ? "s" : "",
                   aw__address_format(&d->at, at, sizeof at));
    return text;
}

/* >>floor4 names  From host names to addresses ---------------------------- */

/* The invariants of this section:
   - A name is asked for once at a time, however many wait for it. They wait in
     its list, and leave it at any time; the thread that asks knows nothing of
     them.
   - While it is `asked`, its answer (rc, why, found) is the thread's. It may
     outlive the loop: then the thread frees it, as any job.
   - getaddrinfo does not say how long its answer holds (DNS has a TTL), so it
     is kept for a short time, names_ms; one of no use is not kept at all. */

enum { AW__ADDRESSES = 8 };

/* How many names that nobody waits for are kept; how long it is that a name
   has no address. */
enum { AW__NAMES = 64, AW__NO_NAME_MS = 1000 };

typedef struct aw__addresses {
    int count, port;            /* port: of all of them */
    aw__address at[AW__ADDRESSES];
} aw__addresses;

typedef struct aw__name {
    aw__job job;                /* first */
    struct aw__name *next;
    void *waiters;              /* arg: the aw__addresses to fill */
    int64_t until;              /* its answer holds before */
    bool asked;
    int rc;
    const char *why;            /* the resolver's word on a failure */
    aw__addresses found;        /* without port */
    char host[AW__HOST_MAX + 1];
} aw__name;

static void aw__addresses_add(aw__addresses *list, aw__address a)
{
    if (list->count < AW__ADDRESSES) list->at[list->count++] = a;
}

static bool aw__ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* No resolver is asked for such a thing, nor a log told of it. */
static bool aw__host_fits(const char *host)
{
    size_t n = 0;
    while (host[n] && aw__http_is(host[n], AW__C_VALUE)) n++;
    return n > 0 && n <= AW__HOST_MAX && !host[n];
}

/* What can be told without asking anybody. True: *list, empty when there can
   be no address. host NULL: every interface. */
static bool aw__resolve_here(const aw_loop *l, const char *host,
                             aw__addresses *list)
{
    const int port = list->port;
    aw__address a;
    list->count = 0;
    if (!host) {
        aw__addresses_add(list, aw__address_any(6, port));
        aw__addresses_add(list, aw__address_any(4, port));
        return true;
    }
    if (!aw__host_fits(host)) return true;
    if (aw__address_parse(host, port, &a)) {
        aw__addresses_add(list, a);
        return true;
    }
    if (!l->sim || l->sim->ask) return false;
    /* In memory every name is this host's, but for those that RFC 6761
       section 6.4 promises to have no address. */
    if (aw__ends_with(host, ".invalid")) return true;
    aw__addresses_add(list, aw__address_loopback(6, port));
    aw__addresses_add(list, aw__address_loopback(4, port));
    return true;
}

static const struct addrinfo *aw__next_of(const struct addrinfo *i, int family)
{
    while (i && i->ai_family != family) i = i->ai_next;
    return i;
}

/* The system's order (RFC 6724), but the families take turns, so that a
   broken one costs one attempt only (RFC 8305 section 4). */
static void aw__addresses_fill(aw__addresses *list,
                               const struct addrinfo *found)
{
    const int first = found ? found->ai_family : AF_INET6;
    const int other = first == AF_INET6 ? AF_INET : AF_INET6;
    const struct addrinfo *next[2];
    int turn;
    next[0] = aw__next_of(found, first);
    next[1] = aw__next_of(found, other);
    for (turn = 0; next[0] || next[1]; turn ^= 1) {
        aw__sys_address a;
        const struct addrinfo *i = next[turn];
        if (!i) continue;
        next[turn] = aw__next_of(i->ai_next, i->ai_family);
        memset(&a, 0, sizeof a);
        if (i->ai_addrlen > sizeof a) continue;
        memcpy(&a, i->ai_addr, i->ai_addrlen);
        aw__addresses_add(list, aw__address_from(&a));
    }
}

/* Asks the system, which may take seconds: hosts file, nsswitch, DNS. Runs on
   any thread. */
static void aw__name_work(aw__job *job)
{
    aw__name *n = (aw__name *)job;
    struct addrinfo hints, *found = NULL;
    int rc;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    n->found.count = 0;
    rc = getaddrinfo(n->host, NULL, &hints, &found);
    n->why = rc ? gai_strerror(rc) : "no address";
    aw__addresses_fill(&n->found, rc ? NULL : found);
    if (rc == 0) freeaddrinfo(found);
    n->rc = rc == EAI_MEMORY ? AW_ENOMEM : n->found.count ? 0 : AW_EDNS;
}

/* A thread may free one: not memory of the loop, but where there are none. */
static aw__mem *aw__name_mem(aw_loop *l)
{
    return AW__SIZED(((void)l, (aw__mem *)NULL), &l->mem);
}

static void aw__name_drop(aw_loop *l, aw__name *n)
{
    aw__mem_put(aw__name_mem(l), n, sizeof *n);
}

/* Nobody asks for n any more. Names that were not used for long go. */
static void aw__name_rest(aw_loop *l, aw__name *n)
{
    aw__name **at = &l->names;
    int kept = 0;
    n->asked = false;
    while ((n = *at) != NULL) {
        if (n->asked || kept++ < AW__NAMES) {
            at = &n->next;
        } else {
            *at = n->next;
            aw__name_drop(l, n);
        }
    }
}

/* What is known of n. */
static int aw__name_give(const aw__name *n, aw__addresses *list)
{
    const int port = list->port;
    int i;
    if (n->rc < 0) return n->rc;
    *list = n->found;
    list->port = port;
    for (i = 0; i < list->count; i++) list->at[i].port = (uint16_t)port;
    return 0;
}

static void aw__name_tell(aw__name *n)
{
    while (n->waiters) {
        aw__addresses *list = (aw__addresses *)aw__waiter_arg(n->waiters);
        (void)aw__wake_first(&n->waiters, aw__name_give(n, list));
    }
}

static void aw__name_done(aw_loop *l, aw__job *job)
{
    aw__name *n = (aw__name *)job;
    int64_t ms = l->names_ms;
    if (n->rc < 0 && ms > AW__NO_NAME_MS) ms = AW__NO_NAME_MS;
    n->until = n->rc == AW_ENOMEM ? 0 : l->now + ms;
    if (n->rc == AW_EDNS)
        aw__log(l, AW_LOG_WARNING, "asyncweb: no address of %s: %s", n->host,
                n->why);
    aw__name_tell(n);
    aw__name_rest(l, n);
}

/* In a forked child: nobody asks any more. */
static void aw__names_lost(aw_loop *l)
{
    aw__name *n;
    for (n = l->names; n; n = n->next) {
        if (!n->asked) continue;
        n->asked = false;
        n->until = 0;
        n->rc = AW_EIO;
        aw__name_tell(n);
    }
}

/* The threads are gone, or have what they are asked for. */
static void aw__names_free(aw_loop *l)
{
    while (l->names) {
        aw__name *n = l->names;
        l->names = n->next;
        if (!n->asked) aw__name_drop(l, n);
    }
}

/* The one of that name, now the last used. NULL: there is none. */
static aw__name *aw__name_find(aw_loop *l, const char *host)
{
    aw__name **at = &l->names, *n;
    while ((n = *at) != NULL && strcmp(n->host, host) != 0) at = &n->next;
    if (!n) return NULL;
    *at = n->next;
    n->next = l->names;
    l->names = n;
    return n;
}

static aw__name *aw__name_new(aw_loop *l, const char *host)
{
    aw__name *n = (aw__name *)aw__mem_get(aw__name_mem(l), sizeof *n);
    if (!n) return NULL;
    memset(n, 0, sizeof *n);
    n->job.work = aw__name_work;
    n->job.done = aw__name_done;
    memcpy(n->host, host, strlen(host) + 1);
    n->next = l->names;
    l->names = n;
    l->names_lost = aw__names_lost;
    l->names_free = aw__names_free;
    return n;
}

/* It was of no use: the next one asks again. */
static void aw__name_forget(aw_loop *l, const char *host)
{
    aw__name *n = aw__name_find(l, host);
    if (n) n->until = 0;
}

/* Begins to ask for n; without threads, that is all. */
static int aw__name_ask(aw_loop *l, aw__name *n)
{
    int rc = 0;
    if (ASYNCWEB_FAULT("getaddrinfo")) return AW_EDNS;
    n->asked = true;
    if (l->sim) l->sim->ask(l, &n->job);
    else rc = aw__job_start(l, AW__ASKERS, &n->job);
    if (rc < 0) aw__name_rest(l, n);
    return rc;
}

/* Nobody wants it any more: what no thread has begun with need not be. */
static void aw__undo_name(aw__task *t)
{
    aw__name *n = (aw__name *)(void *)
        ((char *)t->w.waiter.on - offsetof(aw__name, waiters));
    aw__undo_waiter(t);
    if (!n->waiters && aw__job_revoke(t->ctx.loop, AW__ASKERS, &n->job))
        aw__name_rest(t->ctx.loop, n);
}

static const aw__wait aw__wait_name = {"a host name", aw__undo_name};

/* The addresses of host, at least one, in *list, which stays where it is. 0;
   AW_EDNS, of which the log tells more; AW_EINVAL: not a port; AW_ENOMEM. An
   awaitable of ours only. */
AW__DECLARE_ARGS(aw__resolve, (const char *host; int port;
                               aw__addresses *list;));

static aw_use_RETURN_not_return aw__aw__resolve(aw__ctx *ctx, const void *args)
{
    const aw_args_aw__resolve *a = AW__LEAF_ARGS(aw__resolve, args);
    aw__task *t = (aw__task *)ctx;
    aw_loop *l = ctx->loop;
    aw__name *n;
    int rc = 0;
    if (a->port < 0 || a->port > 65535) return aw__at_once(t, AW_EINVAL);
    a->list->port = a->port;
    if (aw__resolve_here(l, a->host, a->list))
        return aw__at_once(t, a->list->count ? 0 : AW_EDNS);
    n = aw__name_find(l, a->host);
    if (!n) n = aw__name_new(l, a->host);
    if (!n) return aw__at_once(t, AW_ENOMEM);
    if (!n->asked && n->until <= l->now) rc = aw__name_ask(l, n);
    if (rc < 0) return aw__at_once(t, rc);
    if (!n->asked) return aw__at_once(t, aw__name_give(n, a->list));
    return aw__wait_in(t, &n->waiters, a->list, &aw__wait_name);
}
AW__LEAF_PRIVATE(aw__resolve);

/* >>floor4 stream  Streams and listeners ---------------------------------- */

/* The invariants of this section:
   - Each operation is tried first, in the caller's own time, and waits only
     when the kernel says so; from then on it is tried at each event.
   - While it waits, its record lies on top of its task's own memory, where
     only the task itself could put something: last in, first out.
   - s->reader and s->writer are set exactly while a task waits there. Who
     clears one gives its record back and completes the wait, or undoes it.
   - While a reader waits there is no read-ahead.
   - Read interest stays when a reader has got its bytes, for there will be
     more; it goes when an event comes and nobody waits. So does write
     interest. Nothing spins, and a stream in use makes no system call but
     recv and send. */

enum { AW__READ_SOME, AW__READ_EXACTLY, AW__READ_UNTIL, AW__WRITE_ALL };

typedef struct aw__stream_op {
    aw__task *task;
    aw_stream *stream;
    char *buffer;               /* to be filled */
    const char *data;           /* to be written */
    const char *until;
    size_t until_n;
    size_t size, done;
    int how;
} aw__stream_op;

struct aw_stream {
    aw_loop *loop;
    int fd;
    int error;                  /* of the receiving side; it stays */
    aw__stream_op *reader, *writer;
    char *ahead;                /* received, not yet read; NULL: nothing */
    size_t ahead_at, ahead_end, ahead_cap;
    aw__address peer;
};

struct aw_listener {
    aw_loop *loop;
    aw__task *acceptor;
    int fds[2], count, next;    /* IPv6 and IPv4; who is asked first */
    int port;
};

/* An operation gets so many system calls at a time: others wait, too. */
enum { AW__STREAM_TRIES = 16 };

/* ---- read-ahead ---- */

/* An idle stream has none. */
static void aw__ahead_trim(aw_stream *s)
{
    if (s->ahead_at < s->ahead_end) return;
    aw__mem_put(&s->loop->mem, s->ahead, s->ahead_cap);
    s->ahead = NULL;
    s->ahead_at = s->ahead_end = s->ahead_cap = 0;
}

/* Makes room for n bytes in front of the read-ahead. False: out of memory. */
static bool aw__ahead_room(aw_stream *s, size_t n)
{
    const size_t have = s->ahead_end - s->ahead_at;
    const size_t cap = (n + have + 63) & ~(size_t)63;
    char *p;
    if (s->ahead_at >= n) return true;
    p = (char *)aw__mem_get(&s->loop->mem, cap);
    if (!p) return false;
    if (have) memcpy(p + n, s->ahead + s->ahead_at, have);
    aw__mem_put(&s->loop->mem, s->ahead, s->ahead_cap);
    s->ahead = p;
    s->ahead_cap = cap;
    s->ahead_at = n;
    s->ahead_end = n + have;
    return true;
}

/* Puts bytes that were taken back in front: the next read gets them. Without
   memory there is a hole in the stream, so that it can go on no more. */
static int aw__stream_unread(aw_stream *s, const char *p, size_t n)
{
    if (n == 0) return 0;
    if (!aw__ahead_room(s, n)) {
        s->error = AW_ENOMEM;
        s->ahead_at = s->ahead_end;
        return AW_ENOMEM;
    }
    s->ahead_at -= n;
    memcpy(s->ahead + s->ahead_at, p, n);
    return 0;
}

/* ---- reading ---- */

/* Up to n bytes out of the read-ahead. A search takes little at a time, for
   what is behind the delimiter has to go back. */
static size_t aw__ahead_take(aw__stream_op *op)
{
    aw_stream *s = op->stream;
    size_t n = s->ahead_end - s->ahead_at;
    if (n > op->size - op->done) n = op->size - op->done;
    if (op->how == AW__READ_UNTIL && n > 256) n = 256;
    if (n) memcpy(op->buffer + op->done, s->ahead + s->ahead_at, n);
    s->ahead_at += n;
    return n;
}

/* Where the delimiter ends in p[0 ... n), 0: it is not there. */
static size_t aw__find_until(const char *p, size_t n, const char *until,
                             size_t until_n)
{
    const char *at = p, *end = p + n;
    while ((size_t)(end - at) >= until_n) {
        size_t room = (size_t)(end - at) - until_n + 1;
        at = (const char *)memchr(at, until[0], room);
        if (!at) return 0;
        if (memcmp(at, until, until_n) == 0) return (size_t)(at - p) + until_n;
        at++;
    }
    return 0;
}

/* n more bytes have come. The result, or AW_EAGAIN: not enough yet. */
static int aw__read_got(aw__stream_op *op, size_t n)
{
    size_t overlap = op->until_n ? op->until_n - 1 : 0;
    size_t from = op->done > overlap ? op->done - overlap : 0;
    size_t end;
    op->done += n;
    if (op->how == AW__READ_SOME) return (int)op->done;
    if (op->how == AW__READ_EXACTLY)
        return op->done == op->size ? (int)op->done : AW_EAGAIN;
    end = aw__find_until(op->buffer + from, op->done - from, op->until,
                         op->until_n);
    if (!end) return op->done == op->size ? AW_ETOOBIG : AW_EAGAIN;
    end += from;
    n = op->done - end;
    op->done = end;
    return aw__stream_unread(op->stream, op->buffer + end, n) < 0
        ? AW_ENOMEM : (int)end;
}

/* One recv. The result, or AW_EAGAIN; *more: there may be more at once. */
static int aw__read_more(aw__stream_op *op, bool *more)
{
    aw_stream *s = op->stream;
    size_t room = op->size - op->done;
    ptrdiff_t n = s->error ? s->error
        : aw__io_recv(s->loop, s->fd, op->buffer + op->done, room);
    if (n < 0 && n != AW_EAGAIN) s->error = (int)n;
    if (n < 0) return (int)n;
    if (n == 0) return op->how == AW__READ_SOME ? 0 : AW_EEOF;
    /* A short read has drained the socket; if not, an event says so. */
    *more = (size_t)n == room;
    return aw__read_got(op, (size_t)n);
}

/* As much as there is. The result, or AW_EAGAIN: wait for an event. */
static int aw__read_try(aw__stream_op *op)
{
    int rc = AW_EAGAIN, tries = 0;
    bool more = true;
    size_t n;
    while (rc == AW_EAGAIN && (n = aw__ahead_take(op)) > 0)
        rc = aw__read_got(op, n);
    while (rc == AW_EAGAIN && more && tries++ < AW__STREAM_TRIES) {
        more = false;
        rc = aw__read_more(op, &more);
    }
    return rc;
}

/* A read has its result: one that failed has consumed nothing. */
static int aw__read_over(aw__stream_op *op, int rc)
{
    if (rc < 0) (void)aw__stream_unread(op->stream, op->buffer, op->done);
    aw__ahead_trim(op->stream);
    return rc;
}

static int aw__write_try(aw__stream_op *op)
{
    const aw_stream *s = op->stream;
    int tries;
    for (tries = 0; tries < AW__STREAM_TRIES; tries++) {
        ptrdiff_t n = aw__io_send(s->loop, s->fd, op->data + op->done,
                                  op->size - op->done);
        if (n < 0) return (int)n;
        op->done += (size_t)n;
        if (op->done == op->size) return (int)op->size;
    }
    return AW_EAGAIN;
}

/* ---- waiting ---- */

/* The record of a wait is given back. */
static aw__task *aw__op_drop(aw__stream_op **place)
{
    aw__stream_op *op = *place;
    aw__task *t = op->task;
    *place = NULL;
    aw__task_put(t, op);
    return t;
}

static void aw__reader_end(aw_stream *s, int rc)
{
    if (!s->reader) return;
    rc = aw__read_over(s->reader, rc);
    aw__complete(aw__op_drop(&s->reader), rc);
}

static void aw__writer_end(aw_stream *s, int rc)
{
    if (s->writer) aw__complete(aw__op_drop(&s->writer), rc);
}

/* A poller that refuses would leave them waiting for ever. */
static void aw__stream_want(aw_stream *s, int want)
{
    int rc = aw__fd_want(s->loop, s->fd, want);
    if (rc == 0) return;
    aw__reader_end(s, rc);
    aw__writer_end(s, rc);
}

static void aw__undo_read(aw__task *t)
{
    aw_stream *s = (aw_stream *)t->w.waiter.on;
    (void)aw__read_over(s->reader, AW_ECANCELED);
    (void)aw__op_drop(&s->reader);
}

static void aw__undo_write(aw__task *t)
{
    (void)aw__op_drop(&((aw_stream *)t->w.waiter.on)->writer);
}

static const aw__wait aw__wait_read = {"a stream to read", aw__undo_read};
static const aw__wait aw__wait_write = {"a stream to write", aw__undo_write};

/* The operation becomes a wait; with a copy of the delimiter (rule 15). */
static aw_use_RETURN_not_return aw__op_wait(const aw__stream_op *tried)
{
    aw__task *t = tried->task;
    aw_stream *s = tried->stream;
    const bool reads = tried->how != AW__WRITE_ALL;
    aw__stream_op *op = (aw__stream_op *)aw__task_get(
        t, sizeof *op + tried->until_n);
    if (!op) {
        aw__stream_op failed = *tried;
        if (reads) (void)aw__read_over(&failed, t->ctx.rc);
        return aw__step(AW__AGAIN);
    }
    *op = *tried;
    op->until = (const char *)memcpy(op + 1, tried->until, tried->until_n);
    *(reads ? &s->reader : &s->writer) = op;
    t->w.waiter.on = s;
    t->wait = reads ? &aw__wait_read : &aw__wait_write;
    /* When this fails, the wait is over before it began. */
    aw__stream_want(s, (aw__fd_wanted(s->loop, s->fd) & AW_READ) |
                       (s->reader ? AW_READ : 0) | (s->writer ? AW_WRITE : 0));
    return aw__step(AW__SUSPEND);
}

static void aw__on_stream(aw_loop *l, int fd, int events)
{
    aw_stream *s = (aw_stream *)l->fds[fd].object;
    const int waited = (s->reader ? AW_READ : 0) | (s->writer ? AW_WRITE : 0);
    int rc = AW_EAGAIN;
    if (events & waited & AW_READ) rc = aw__read_try(s->reader);
    if (rc != AW_EAGAIN) aw__reader_end(s, rc);
    rc = AW_EAGAIN;
    if (events & waited & AW_WRITE) rc = aw__write_try(s->writer);
    if (rc != AW_EAGAIN) aw__writer_end(s, rc);
    if (events & ~waited)
        aw__stream_want(s, aw__fd_wanted(l, fd) & (~events | waited));
}

/* ---- birth and end ---- */

void aw_stream_abort(void *stream)
{
    aw_stream *s = (aw_stream *)stream;
    if (!s) return;
    aw__reader_end(s, AW_ECLOSED);
    aw__writer_end(s, AW_ECLOSED);
    aw__io_close(s->loop, s->fd);
    s->ahead_at = s->ahead_end;
    aw__ahead_trim(s);
    aw__mem_put(&s->loop->mem, s, sizeof *s);
}

static void aw__stream_lost(aw_loop *l, int fd)
{
    aw_stream *s = (aw_stream *)l->fds[fd].object;
    char peer[AW_PEER_TEXT];
    if (l->debug)
        aw__log(l, AW_LOG_WARNING, "the stream to %s was never closed",
                aw__address_format(&s->peer, peer, sizeof peer));
    aw_stream_abort(s);
}

/* A stream over fd, which is closed when there is no memory: NULL. */
static aw_stream *aw__stream_new(aw_loop *l, int fd, const aw__address *peer)
{
    aw_stream *s = (aw_stream *)aw__mem_get(&l->mem, sizeof *s);
    if (s && aw__fd_open(l, fd, AW__FD_STREAM, s) < 0) {
        aw__mem_put(&l->mem, s, sizeof *s);
        s = NULL;
    }
    if (!s) {
        aw__io_close(l, fd);
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->loop = l;
    s->fd = fd;
    s->peer = *peer;
    l->on_fd[AW__FD_STREAM] = aw__on_stream;
    l->on_lost[AW__FD_STREAM] = aw__stream_lost;
    return s;
}

const char *aw_stream_peer(const aw_stream *s, char *text, size_t size)
{
    return aw__address_format(&s->peer, text, size);
}

/* ---- the awaitables of a stream ---- */

static aw_use_RETURN_not_return aw__read(aw__stream_op *op)
{
    int rc;
    if (!op->stream || op->size > INT_MAX)
        return aw__at_once(op->task, AW_EINVAL);
    if (op->stream->reader) return aw__at_once(op->task, AW_EBUSY);
    if (op->size == 0)
        return aw__at_once(op->task,
                           op->how == AW__READ_UNTIL ? AW_ETOOBIG : 0);
    rc = aw__read_try(op);
    if (rc == AW_EAGAIN) return aw__op_wait(op);
    return aw__at_once(op->task, aw__read_over(op, rc));
}

static aw__stream_op aw__op_new(aw__ctx *ctx, aw_stream *s, size_t size,
                                int how)
{
    aw__stream_op op;
    memset(&op, 0, sizeof op);
    op.task = (aw__task *)ctx;
    op.stream = s;
    op.size = size;
    op.how = how;
    op.until = "";
    return op;
}

static aw_use_RETURN_not_return aw__aw_read(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_read *a = AW__LEAF_ARGS(aw_read, args);
    aw__stream_op op = aw__op_new(ctx, a->stream, a->size, AW__READ_SOME);
    op.buffer = (char *)a->buffer;
    return aw__read(&op);
}
AW__LEAF_KEEPS(aw_read, "(void *stream; void *buffer;)");

static aw_use_RETURN_not_return aw__aw_read_exactly(aw__ctx *ctx,
                                                    const void *args)
{
    const aw_args_aw_read_exactly *a = AW__LEAF_ARGS(aw_read_exactly, args);
    aw__stream_op op = aw__op_new(ctx, a->stream, a->size, AW__READ_EXACTLY);
    op.buffer = (char *)a->buffer;
    return aw__read(&op);
}
AW__LEAF_KEEPS(aw_read_exactly, "(void *stream; void *buffer;)");

static aw_use_RETURN_not_return aw__aw_read_until(aw__ctx *ctx,
                                                  const void *args)
{
    const aw_args_aw_read_until *a = AW__LEAF_ARGS(aw_read_until, args);
    aw__stream_op op = aw__op_new(ctx, a->stream, a->size, AW__READ_UNTIL);
    op.buffer = (char *)a->buffer;
    op.until = a->delimiter;
    op.until_n = strlen(a->delimiter);
    if (a->delimiter == aw__text_lost) return aw__at_once(op.task, AW_ENOMEM);
    if (op.until_n == 0) return aw__at_once(op.task, AW_EINVAL);
    return aw__read(&op);
}

static void aw__read_until_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__text_keep(ctx, &((aw_args_aw_read_until *)
                         aw__frame_args(f))->delimiter);
}
/* The delimiter has been copied: it may point where it likes. */
AW__LEAF_FN(aw_read_until, "(void *stream; void *buffer; size_t size; "
                              "size_t delimiter;)",
            aw__read_until_enter);

static aw_use_RETURN_not_return aw__aw_write(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_write *a = AW__LEAF_ARGS(aw_write, args);
    aw__stream_op op = aw__op_new(ctx, a->stream, a->size, AW__WRITE_ALL);
    int rc;
    op.data = (const char *)a->data;
    if (!a->stream || a->size > INT_MAX)
        return aw__at_once(op.task, AW_EINVAL);
    if (a->stream->writer) return aw__at_once(op.task, AW_EBUSY);
    rc = a->size ? aw__write_try(&op) : 0;
    if (rc == AW_EAGAIN) return aw__op_wait(&op);
    return aw__at_once(op.task, rc);
}
AW__LEAF_KEEPS(aw_write, "(void *stream; void *data;)");

/* Input left unread would make the kernel answer with a reset, which can
   destroy what the peer has not read yet (RFC 2525 section 2.17). */
static aw_use_RETURN_not_return aw__aw_close(aw__ctx *ctx, const void *args)
{
    aw_stream *s = AW__LEAF_ARGS(aw_close, args)->stream;
    char unread[4096];
    int tries = 0;
    if (s) {
        aw__io_shutdown(s->loop, s->fd);
        while (tries++ < AW__STREAM_TRIES &&
               aw__io_recv(s->loop, s->fd, unread, sizeof unread) > 0) {}
        aw_stream_abort(s);
    }
    return aw__at_once((aw__task *)ctx, 0);
}
AW__LEAF(aw_close);

/* ---- connecting ---- */

/* A function that has a frame is entered when the step of its caller, and all
   that lay on the stack there, is over. So who is given a string copies it
   in a leaf, and hands it on by value (rule 15). */
typedef struct aw__host {
    bool given;
    char name[AW__HOST_MAX + 1];
} aw__host;

static aw__host aw__host_copy(const char *name)
{
    aw__host h;
    memset(&h, 0, sizeof h);
    h.given = name != NULL;
    /* One that is too long becomes one that has no address. */
    if (name && strlen(name) <= AW__HOST_MAX)
        memcpy(h.name, name, strlen(name));
    return h;
}

/* Attempts to connect to one of several addresses, each some time after the
   one before or when that has failed (RFC 8305 section 5, "happy eyeballs").
   The stream of an attempt exists from the start, and is closed with it. */
enum { AW__ATTEMPT_MS = 250 };

typedef struct aw__dials {
    aw__call_timer next;        /* first: of the next attempt */
    aw__task *task;
    aw_stream **out;
    aw_stream *open[AW__ADDRESSES];     /* under way */
    int count, at, rc;          /* of `open`; the next address; the result */
    aw__addresses to;
} aw__dials;

static void aw__dials_stop(aw__dials *d)
{
    aw__timer_stop(d->task->ctx.loop, &d->next.timer);
    while (d->count) aw_stream_abort(d->open[--d->count]);
}

static void aw__undo_dial(aw__task *t)
{
    aw__dials_stop((aw__dials *)t->w.waiter.on);
}

static const aw__wait aw__wait_dial = {"a connection", aw__undo_dial};

static aw_stream *aw__dial_take(aw__dials *d, int i)
{
    aw_stream *s = d->open[i];
    d->open[i] = d->open[--d->count];
    return s;
}

/* The first to connect: the others are closed. */
static void aw__dial_won(aw__dials *d, aw_stream *s)
{
    aw__dials_stop(d);
    d->rc = 0;
    *d->out = s;
}

/* A fault of ours ends it: no other address would do better. That one cannot
   be reached from here at all tells less than what became of another. */
static void aw__dial_failed(aw__dials *d, int rc)
{
    if (rc == AW_ENOMEM || rc == AW_EMFILE) d->at = d->to.count;
    if (d->rc == 0 || (rc != AW_EUNREACH && rc != AW_EADDRNOTAVAIL &&
                       rc != AW_ENOTSUP)) d->rc = rc;
}

/* One attempt. 1: it is under way; 0: *s is connected. */
static int aw__dial_one(aw__dials *d, const aw__address *to, aw_stream **s)
{
    aw_loop *l = d->task->ctx.loop;
    int fd = -1, rc = aw__io_connect(l, to, &fd);
    const bool waits = rc == AW_EAGAIN;
    if (rc < 0 && !waits) return rc;
    *s = aw__stream_new(l, fd, to);
    if (!*s) return AW_ENOMEM;
    if (!waits) return 0;
    rc = aw__fd_want(l, fd, AW_WRITE);
    if (rc < 0) {
        aw_stream_abort(*s);
        return rc;
    }
    l->fds[fd].kind = AW__FD_DIAL;
    l->fds[fd].object = d;
    d->open[d->count++] = *s;
    return 1;
}

/* Goes on to the next address that is not refused at once. True: it is over,
   d->rc says how; otherwise something is under way. */
static bool aw__dial_next(aw__dials *d)
{
    aw_stream *s = NULL;
    aw__timer_stop(d->task->ctx.loop, &d->next.timer);
    while (d->at < d->to.count) {
        int rc = aw__dial_one(d, &d->to.at[d->at++], &s);
        if (rc == 0) {
            aw__dial_won(d, s);
            return true;
        }
        if (rc > 0) break;
        aw__dial_failed(d, rc);
    }
    if (d->at < d->to.count)
        aw__timer_start(d->task->ctx.loop, &d->next.timer, AW__ATTEMPT_MS,
                        AW__TIMER_CALL);
    return d->count == 0;
}

static void aw__dial_late(aw_loop *l, aw__call_timer *timer)
{
    aw__dials *d = (aw__dials *)timer;
    (void)l;
    if (aw__dial_next(d)) aw__complete(d->task, d->rc);
}

static void aw__on_dial(aw_loop *l, int fd, int events)
{
    aw__dials *d = (aw__dials *)l->fds[fd].object;
    int rc = aw__io_error(l, fd), i = 0;
    aw_stream *s;
    (void)events;
    while (d->open[i]->fd != fd) i++;
    s = aw__dial_take(d, i);
    if (rc == 0) {
        l->fds[fd].kind = AW__FD_STREAM;
        l->fds[fd].object = s;
        aw__dial_won(d, s);
    } else {
        aw_stream_abort(s);
        aw__dial_failed(d, rc);
        if (!aw__dial_next(d)) return;
    }
    aw__complete(d->task, d->rc);
}

/* To d->to, from zeroes; d stays where it is. */
AW__DECLARE_ARGS(aw__dial, (aw_stream **out; aw__dials *dials;));

static aw_use_RETURN_not_return aw__aw__dial(aw__ctx *ctx, const void *args)
{
    const aw_args_aw__dial *a = AW__LEAF_ARGS(aw__dial, args);
    aw__task *t = (aw__task *)ctx;
    aw__dials *d = a->dials;
    ctx->loop->on_fd[AW__FD_DIAL] = aw__on_dial;
    d->next.fn = aw__dial_late;
    d->task = t;
    d->out = a->out;
    if (aw__dial_next(d)) return aw__at_once(t, d->rc);
    t->w.waiter.on = d;
    return aw__wait_on(t, &aw__wait_dial);
}
AW__LEAF_PRIVATE(aw__dial);

AW_ASYNC(aw__connect, (aw_stream **out; aw__host host; int port;),
         aw__dials dials; int rc;)
{
    AW_BEGIN {
        AW_AWAIT(aw__resolve, self->host.name, self->port, &self->dials.to);
        AW_AWAIT_TO(self->rc, aw__dial, self->out, &self->dials);
        if (self->rc < 0) aw__name_forget(AW_LOOP(), self->host.name);
        AW_RETURN(self->rc);
    }
}

static aw_use_RETURN_not_return aw__aw_connect(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_connect *a = AW__LEAF_ARGS(aw_connect, args);
    *a->out = NULL;
    if (!a->host) return aw__at_once((aw__task *)ctx, AW_EINVAL);
    if (a->host == aw__text_lost)
        return aw__at_once((aw__task *)ctx, AW_ENOMEM);
    return aw__call AW__CALL((ctx, ), aw__connect, a->out,
                             aw__host_copy(a->host), a->port);
}

static void aw__connect_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__text_keep(ctx, &((aw_args_aw_connect *)aw__frame_args(f))->host);
}
AW__LEAF_FN(aw_connect, "", aw__connect_enter);

/* A stream to a UNIX socket: 0, or an error. AW_EAGAIN: its queue is full. */
static int aw__stream_unix(aw_loop *l, const char *path, aw_stream **out)
{
    aw__address peer = aw__address_any(0, 0);
    aw__sys_address a;
    int fd;
    *out = NULL;
    if (l->sim) return AW_ENOTSUP;
    memset(&a, 0, sizeof a);
    a.un.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof a.un.sun_path) return AW_EINVAL;
    memcpy(a.un.sun_path, path, strlen(path));
    fd = aw__sys_socket(AF_UNIX);
    if (fd < 0) return aw__errno();
    if (aw__sys_connect(fd, &a, sizeof a.un) < 0) {
        int rc = aw__errno();
        aw__sys_close(fd);
        return rc;
    }
    peer.family = AW__UNIX;
    *out = aw__stream_new(l, fd, &peer);
    return *out ? 0 : AW_ENOMEM;
}

/* ---- listening ---- */

void aw_listener_close(void *listener)
{
    aw_listener *x = (aw_listener *)listener;
    int i;
    if (!x) return;
    if (x->acceptor) aw__complete(x->acceptor, AW_ECLOSED);
    for (i = 0; i < x->count; i++) aw__io_close(x->loop, x->fds[i]);
    aw__mem_put(&x->loop->mem, x, sizeof *x);
}

static void aw__listener_lost(aw_loop *l, int fd)
{
    aw_listener *x = (aw_listener *)l->fds[fd].object;
    if (l->debug)
        aw__log(l, AW_LOG_WARNING, "the listener at port %d was never closed",
                x->port);
    aw_listener_close(x);
}

int aw_listener_port(const aw_listener *x)
{
    return x->port;
}

/* The next connection of any family. 0; AW_EAGAIN: there is none. */
static int aw__accept_try(aw_listener *x, aw_stream **out)
{
    int i, fd = AW_EAGAIN;
    aw__address peer;
    for (i = 0; i < x->count && fd == AW_EAGAIN; i++) {
        fd = aw__io_accept(x->loop, x->fds[x->next], &peer);
        x->next = (x->next + 1) % x->count;
    }
    if (fd < 0) return fd;
    *out = aw__stream_new(x->loop, fd, &peer);
    return *out ? 0 : AW_ENOMEM;
}

static void aw__acceptor_end(aw_listener *x, int rc)
{
    aw__task *t = x->acceptor;
    x->acceptor = NULL;
    if (t) aw__complete(t, rc);
}

static void aw__undo_accept(aw__task *t)
{
    ((aw_listener *)t->w.waiter.on)->acceptor = NULL;
}

static const aw__wait aw__wait_accept = {"a connection to accept",
                                         aw__undo_accept};

static void aw__on_listener(aw_loop *l, int fd, int events)
{
    aw_listener *x = (aw_listener *)l->fds[fd].object;
    int rc;
    (void)events;
    if (!x->acceptor) {
        (void)aw__fd_want(l, fd, 0);
        return;
    }
    rc = aw__accept_try(x, (aw_stream **)x->acceptor->w.waiter.arg);
    if (rc != AW_EAGAIN) aw__acceptor_end(x, rc);
}

static aw_use_RETURN_not_return aw__aw_accept(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_accept *a = AW__LEAF_ARGS(aw_accept, args);
    aw_listener *x = a->listener;
    aw__task *t = (aw__task *)ctx;
    int i, rc;
    *a->out = NULL;
    if (!x) return aw__at_once(t, AW_EINVAL);
    if (x->acceptor) return aw__at_once(t, AW_EBUSY);
    rc = aw__accept_try(x, a->out);
    if (rc != AW_EAGAIN) return aw__at_once(t, rc);
    for (i = 0; i < x->count; i++) {
        rc = aw__fd_want(x->loop, x->fds[i], AW_READ);
        if (rc < 0) return aw__at_once(t, rc);
    }
    x->acceptor = t;
    t->w.waiter.on = x;
    t->w.waiter.arg = a->out;
    return aw__wait_on(t, &aw__wait_accept);
}
AW__LEAF_KEEPS(aw_accept, "(void *listener; void *out;)");

/* Listens at one more address. */
static int aw__listener_add(aw_listener *x, aw__address at)
{
    int fd = -1, rc;
    if (x->count) at.port = (uint16_t)x->port;
    rc = aw__io_listen(x->loop, &at, &fd, &x->port);
    if (rc < 0) return rc;
    rc = aw__fd_open(x->loop, fd, AW__FD_LISTENER, x);
    if (rc < 0) {
        aw__io_close(x->loop, fd);
        return rc;
    }
    x->fds[x->count++] = fd;
    return 0;
}

/* At the first address of each family. One that this machine has not got is
   left out, unless there is no other. */
static int aw__listener_fill(aw_listener *x, const aw__addresses *list)
{
    int i, family = 0, rc, missing = 0;
    for (i = 0; i < list->count && x->count < 2; i++) {
        if (list->at[i].family == family) continue;
        rc = aw__listener_add(x, list->at[i]);
        if (rc == AW_ENOTSUP || rc == AW_EADDRNOTAVAIL) missing = rc;
        else if (rc < 0) return rc;
        else family = list->at[i].family;
    }
    return x->count ? 0 : missing;
}

static int aw__listener_open(aw_loop *l, const aw__addresses *list,
                             aw_listener **out)
{
    aw_listener *x = (aw_listener *)aw__mem_get(&l->mem, sizeof *x);
    int rc;
    if (!x) return AW_ENOMEM;
    memset(x, 0, sizeof *x);
    x->loop = l;
    l->on_fd[AW__FD_LISTENER] = aw__on_listener;
    l->on_lost[AW__FD_LISTENER] = aw__listener_lost;
    rc = aw__listener_fill(x, list);
    if (rc == 0) *out = x;
    else aw_listener_close(x);
    return rc;
}

AW_ASYNC(aw__listen, (aw_listener **out; aw__host host; int port;),
         aw__addresses list; int tries; int rc;)
{
    AW_BEGIN {
        AW_AWAIT_TO(self->rc, aw__resolve,
                    self->host.given ? self->host.name : NULL, self->port,
                    &self->list);
        if (self->rc < 0) AW_RETURN(self->rc);
        /* A free port of one family may be taken in the other. */
        do self->rc = aw__listener_open(AW_LOOP(), &self->list, self->out);
        while (self->rc == AW_EADDRINUSE && self->port == 0 &&
               ++self->tries < 8);
        AW_RETURN(self->rc);
    }
}

static aw_use_RETURN_not_return aw__aw_listen(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_listen *a = AW__LEAF_ARGS(aw_listen, args);
    *a->out = NULL;
    if (a->host == aw__text_lost)
        return aw__at_once((aw__task *)ctx, AW_ENOMEM);
    return aw__call AW__CALL((ctx, ), aw__listen, a->out,
                             aw__host_copy(a->host),
                             a->port == AW_ANY_PORT ? 0 : a->port);
}

static void aw__listen_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__text_keep(ctx, &((aw_args_aw_listen *)aw__frame_args(f))->host);
}
AW__LEAF_FN(aw_listen, "", aw__listen_enter);

#ifdef ASYNCWEB_BEARSSL
/* >>floor4 tls streams  aw_connect_tls ------------------------------------- */

/* The handshake on a stream that is connected: it is over when the stream
   takes plaintext, or has an error. */
AW__DECLARE_ARGS(aw__greet, (aw_stream *stream; aw__tls_profile *profile;
                             const char *host; int port;));

static void aw__undo_greet(aw__task *t)
{
    const aw_stream *s = (const aw_stream *)t->w.waiter.on;
    aw_loop *l = t->ctx.loop;
    l->fds[s->fd].kind = AW__FD_STREAM;
    l->fds[s->fd].object = t->w.waiter.on;
    (void)aw__fd_want(l, s->fd, 0);
}

static const aw__wait aw__wait_greet = {"a TLS handshake", aw__undo_greet};

static void aw__on_greet(aw_loop *l, int fd, int events)
{
    aw__task *t = (aw__task *)l->fds[fd].object;
    (void)events;
    aw__undo_greet(t);
    aw__complete(t, l->fds[fd].tls->error);
}

static aw_use_RETURN_not_return aw__aw__greet(aw__ctx *ctx, const void *args)
{
    const aw_args_aw__greet *a = AW__LEAF_ARGS(aw__greet, args);
    aw__task *t = (aw__task *)ctx;
    aw_loop *l = ctx->loop;
    const int fd = a->stream->fd;
    int rc = aw__tls_connect(l, fd, a->profile, a->host, a->port);
    if (rc == 0) rc = l->fds[fd].tls->error;
    if (rc == 0) rc = aw__fd_want(l, fd, AW_READ | AW_WRITE);
    if (rc < 0 || l->fds[fd].tls->done) return aw__at_once(t, rc);
    l->fds[fd].kind = AW__FD_GREET;
    l->fds[fd].object = t;
    l->on_fd[AW__FD_GREET] = aw__on_greet;
    t->w.waiter.on = a->stream;
    return aw__wait_on(t, &aw__wait_greet);
}
AW__LEAF_PRIVATE(aw__greet);

static void aw__profile_release(void *p)
{
    aw__profile_drop((aw__tls_profile *)p);
}

/* The profile has to stay. */
AW_ASYNC(aw__connect_tls,
         (aw_stream **out; aw__host host; int port; aw__tls_profile *p;),
         aw_stream *stream;)
{
    AW_BEGIN {
        AW_AWAIT(aw__connect, &self->stream, self->host, self->port);
        AW_AWAIT(aw__greet, self->stream, self->p, self->host.name, self->port);
        *self->out = self->stream;
    } AW_FINALLY {
        if (AW_OUTCOME() < 0) aw_stream_abort(self->stream);
    }
}

static aw_use_RETURN_not_return aw__aw_connect_tls(aw__ctx *ctx,
                                                   const void *args)
{
    const aw_args_aw_connect_tls *a = AW__LEAF_ARGS(aw_connect_tls, args);
    aw__task *t = (aw__task *)ctx;
    const aw_frame *caller = t->top;
    aw_use_RETURN_not_return step;
    aw__tls_profile *p;
    int rc;
    *a->out = NULL;
    if (!a->host) return aw__at_once(t, AW_EINVAL);
    if (a->host == aw__text_lost) return aw__at_once(t, AW_ENOMEM);
    rc = aw__profile_of(ctx->loop, a->tls, false, &p);
    if (rc < 0) return aw__at_once(t, rc);
    step = aw__call AW__CALL((ctx, ), aw__connect_tls, a->out,
                             aw__host_copy(a->host), a->port, p);
    if (t->top != caller) {
        t->top->defer = aw__profile_release;
        t->top->defer_arg = p;
    } else {
        aw__profile_drop(p);    /* there was no memory for its frame */
    }
    return step;
}

/* Started, it runs when what the options point to may be gone. */
static void aw__connect_tls_enter(aw__ctx *ctx, aw_frame *f)
{
    aw_args_aw_connect_tls *a = (aw_args_aw_connect_tls *)aw__frame_args(f);
    aw_tls *copy;
    aw__text_keep(ctx, &a->host);
    if (!a->tls) return;
    copy = (aw_tls *)aw__task_get((aw__task *)ctx, sizeof *copy);
    if (!copy) {
        a->host = aw__text_lost;
        return;
    }
    *copy = *a->tls;
    aw__text_keep(ctx, &copy->ca_file);
    aw__text_keep(ctx, &copy->ca_pem);
    aw__text_keep(ctx, &copy->pin);
    aw__text_keep(ctx, &copy->server_name);
    aw__text_keep(ctx, &copy->certificate);
    aw__text_keep(ctx, &copy->key);
    if (copy->ca_file == aw__text_lost || copy->ca_pem == aw__text_lost ||
        copy->pin == aw__text_lost || copy->server_name == aw__text_lost ||
        copy->certificate == aw__text_lost || copy->key == aw__text_lost)
        a->host = aw__text_lost;
    a->tls = copy;
}
AW__LEAF_FN(aw_connect_tls, "", aw__connect_tls_enter);
#endif /* ASYNCWEB_BEARSSL */

/* >>floor4 files  Files that are sent -------------------------------------- */

/* A relative path that stays below: no empty part, no "." or "..", and none
   with a dot in front unless that is wanted. */
static bool aw__file_name_fits(const char *name, bool dots)
{
    for (;;) {
        const size_t n = strcspn(name, "/");
        if (n == 0) return false;
        if (*name == '.' && (!dots || n == 1 || (n == 2 && name[1] == '.')))
            return false;
        if (!name[n]) return true;
        name += n + 1;
    }
}

#ifndef ASYNCWEB_NO_STATIC_FILES

/* An open regular file. */
typedef struct aw__file {
    int fd;
    int64_t size, changed;      /* bytes; seconds since 1970 */
    int64_t modified;           /* the same, or 0: no validator */
    char etag[AW__ETAG_TEXT];   /* "": none */
} aw__file;

/* What may not be served, or is no file at all, is not there. */
static int aw__file_error(void)
{
    switch (errno) {
        case ENOENT: case ENOTDIR: case ELOOP: case EMLINK: case ENAMETOOLONG:
        case ENXIO: case ENODEV: case EOPNOTSUPP: case EILSEQ:
            return AW_HTTP(404);
        case EACCES: case EPERM:
            return AW_HTTP(403);
        case EMFILE: case ENFILE: case ENOMEM:
            return aw__errno();
        default:
            return AW_EIO;
    }
}

/* Nanoseconds of the last change. */
static int64_t aw__file_nanoseconds(const struct stat *st)
{
#if defined(__APPLE__)
    return (int64_t)st->st_mtimespec.tv_nsec;
#else
    return (int64_t)st->st_mtim.tv_nsec;
#endif
}

enum { AW__FILE_SETTLED = 3 };  /* seconds */

/* The tag tells versions apart by time, size and inode: another file may take
   over the name with the first two. But clocks of file systems tick up to two
   seconds apart: of a file that has just changed, two versions might look the
   same, so it has no validators at all (8.8.1). Last-Modified is never in the
   future (8.8.2.1). */
static void aw__file_validators(aw__file *f, const struct stat *st)
{
    const int64_t age = aw__sys_unix_seconds() - (int64_t)st->st_mtime;
    int64_t what[4];
    if (age >= 0 && age < AW__FILE_SETTLED) return;
    what[0] = (int64_t)st->st_size;
    what[1] = (int64_t)st->st_mtime;
    what[2] = aw__file_nanoseconds(st);
    what[3] = (int64_t)st->st_ino;
    aw__etag_format(f->etag, aw__etag_hash(0, what, sizeof what));
    if (age >= 0 && st->st_mtime > 0) f->modified = (int64_t)st->st_mtime;
}

enum { AW__IS_DIRECTORY = 1 };

/* Takes over what was opened, -1: it failed, with errno. 0; AW__IS_DIRECTORY
   or an error, and it is closed. */
static int aw__file_take(int fd, aw__file *f)
{
    struct stat st;
    int rc = 0;
    memset(f, 0, sizeof *f);
    f->fd = fd;
    if (fd < 0) return aw__file_error();
    if (aw__sys_stat(fd, &st) < 0) rc = aw__errno();
    else if (S_ISDIR(st.st_mode)) rc = AW__IS_DIRECTORY;
    else if (!S_ISREG(st.st_mode)) rc = AW_HTTP(404);
    if (rc) {
        aw__sys_close(fd);
        f->fd = -1;
        return rc;
    }
    f->size = (int64_t)st.st_size;
    f->changed = (int64_t)st.st_mtime;
    aw__file_validators(f, &st);
    return 0;
}

/* A directory to look below; its own path may have symbolic links. */
static int aw__file_directory(const char *path)
{
    int dir = aw__sys_open(AT_FDCWD, path, AW__SYS_DIR);
    return dir < 0 ? aw__errno() : dir;
}

/* Part by part, so that none is a symbolic link, even if somebody is just
   exchanging one. */
static int aw__file_walk(int dir, const char *name)
{
    char part[256];
    int at = dir, next, error;
    for (;;) {
        const size_t n = strcspn(name, "/");
        if (n < sizeof part) {
            memcpy(part, name, n);
            part[n] = 0;
            next = aw__sys_open(at, part,
                                O_NOFOLLOW | (name[n] ? AW__SYS_DIR : 0));
        } else {
            next = -1;
            errno = ENAMETOOLONG;
        }
        error = errno;
        if (at != dir) aw__sys_close(at);
        errno = error;
        if (next < 0 || !name[n]) return next;
        at = next;
        name += n + 1;
    }
}

/* What lies below the directory under a name that fits, as aw__file_take.
   Where a sandbox does not know the call that does it all, it says EPERM. */
static int aw__file_below(int dir, const char *name, aw__file *f)
{
    int fd = aw__sys_open_beneath(dir, name);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN))
        fd = aw__file_walk(dir, name);
    return aw__file_take(fd, f);
}

/* Reads all of p[0..n): 0; AW_EEOF: the file has shrunk. */
static int aw__file_read(int fd, char *p, size_t n, int64_t at)
{
    while (n > 0) {
        ptrdiff_t got = aw__sys_pread(fd, p, n, at);
        if (got <= 0) return got < 0 ? aw__errno() : AW_EEOF;
        p += got;
        n -= (size_t)got;
        at += got;
    }
    return 0;
}
#endif

/* >>floor5 jar  Cookies that a client keeps (RFC 6265bis 5) ---------------- */

#ifndef ASYNCWEB_NO_CLIENT

typedef struct aw__jar {
    aw__link cookies;                   /* the oldest first */
    int count;
    aw_loop *loop;
} aw__jar;

static void aw__jar_init(aw__jar *jar, aw_loop *l)
{
    aw__list_init(&jar->cookies);
    jar->count = 0;
    jar->loop = l;
}

#ifndef ASYNCWEB_NO_COOKIES

/* There is no list of public suffixes in here: a cookie for a domain of one
   label, or for an address, is taken for that host alone. */

enum { AW__JAR_MOST = 300 };

/* Its texts lie behind it, in the order of the lengths, each with a NUL. */
typedef struct aw__cookie {
    aw__link link;
    int64_t expires;
    size_t name_n, value_n, domain_n, path_n;
    bool host_only, secure;
} aw__cookie;

static size_t aw__cookie_size(const aw__cookie *c)
{
    return sizeof *c + c->name_n + c->value_n + c->domain_n + c->path_n;
}

static aw_slice aw__cookie_name(const aw__cookie *c)
{
    return aw__slice((const char *)(c + 1), c->name_n);
}

static aw_slice aw__cookie_value(const aw__cookie *c)
{
    return aw__slice((const char *)(c + 1) + c->name_n, c->value_n);
}

static aw_slice aw__cookie_domain(const aw__cookie *c)
{
    return aw__slice((const char *)(c + 1) + c->name_n + c->value_n,
                     c->domain_n);
}

static aw_slice aw__cookie_path(const aw__cookie *c)
{
    return aw__slice((const char *)(c + 1) + c->name_n + c->value_n +
                     c->domain_n, c->path_n);
}

static void aw__jar_remove(aw__jar *jar, aw__link *i)
{
    aw__cookie *c = (aw__cookie *)i;
    aw__list_remove(i);
    jar->count--;
    aw__mem_put(&jar->loop->mem, c, aw__cookie_size(c));
}

static void aw__jar_free(aw__jar *jar)
{
    while (jar->count > 0)
        aw__jar_remove(jar, jar->cookies.next);
}

/* In any case. */
static bool aw__slice_starts(aw_slice s, const char *with)
{
    const size_t n = strlen(with);
    return s.n >= n && aw__slice_ieq(aw__slice(s.p, n), with);
}

static bool aw__slice_is(aw_slice a, aw_slice b)
{
    return a.n == b.n && (!a.n || memcmp(a.p, b.p, a.n) == 0);
}

/* The host is the domain, or below it (6265bis 5.1.3). An address is below
   nothing. */
static bool aw__domain_match(aw_slice host, aw_slice domain)
{
    aw__address a;
    char text[AW__HOST_MAX + 1];
    if (host.n < domain.n || !aw__slice_tail(host, domain)) return false;
    if (host.n == domain.n) return true;
    if (host.p[host.n - domain.n - 1] != '.' || host.n > AW__HOST_MAX)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    return !aw__address_parse(text, 0, &a);
}

/* 6265bis 5.1.4. */
static bool aw__path_match(aw_slice path, aw_slice of)
{
    if (path.n < of.n || memcmp(path.p, of.p, of.n) != 0) return false;
    return path.n == of.n || of.p[of.n - 1] == '/' || path.p[of.n] == '/';
}

/* The directory of the request's path. */
static aw_slice aw__cookie_default_path(aw_slice path)
{
    while (path.n > 1 && path.p[path.n - 1] != '/') path.n--;
    if (path.n > 1) path.n--;
    return path;
}

/* Whether an answer from url may set it; completes domain and path. */
static bool aw__cookie_allowed(const aw__url *url, aw__set_cookie *c,
                               bool *host_only)
{
    const aw_slice host = url->host, d = c->domain;
    const bool dotted = d.n && memchr(d.p, '.', d.n);
    *host_only = d.n == 0;
    if (!c->path.p) c->path = aw__cookie_default_path(url->path);
    if (d.n && !aw__domain_match(host, d)) return false;
    if (d.n && !dotted && d.n != host.n) return false;
    if (d.n && !dotted) *host_only = true;
    if (*host_only) c->domain = host;
    if (c->secure && !url->tls) return false;
    /* One without a name goes out as its value, which could look like one
       with a prefix (6265bis 5.7). */
    if (!c->name.n) return !aw__slice_starts(c->value, "__Secure-") &&
        !aw__slice_starts(c->value, "__Host-");
    if (aw__slice_starts(c->name, "__Secure-") && !c->secure) return false;
    return !aw__slice_starts(c->name, "__Host-") ||
        (c->secure && *host_only && c->path.n == 1);
}

/* Who listens in on http: may not put one over a Secure one, nor beside it
   (5.7, "leave secure cookies alone"). */
static bool aw__jar_guards(const aw__jar *jar, const aw__url *url,
                           const aw__set_cookie *s)
{
    const aw__link *i = jar->cookies.next;
    for (; !url->tls && i != &jar->cookies; i = i->next) {
        const aw__cookie *c = (const aw__cookie *)i;
        const aw_slice domain = aw__cookie_domain(c);
        if (c->secure && aw__slice_is(aw__cookie_name(c), s->name) &&
            (aw__domain_match(domain, s->domain) ||
             aw__domain_match(s->domain, domain)) &&
            aw__path_match(s->path, aw__cookie_path(c))) return true;
    }
    return false;
}

/* The one that a new one of that name takes the place of, or NULL. */
static aw__cookie *aw__jar_find(const aw__jar *jar,
                                const aw__set_cookie *s, bool host_only)
{
    aw__link *i = jar->cookies.next;
    for (; jar->count && i != &jar->cookies; i = i->next) {
        aw__cookie *c = (aw__cookie *)i;
        if (c->host_only == host_only && c->domain_n == s->domain.n &&
            aw__slice_tail(aw__cookie_domain(c), s->domain) &&
            aw__slice_is(aw__cookie_name(c), s->name) &&
            aw__slice_is(aw__cookie_path(c), s->path)) return c;
    }
    return NULL;
}

static aw__cookie *aw__cookie_new(aw__jar *jar, const aw__set_cookie *s)
{
    const aw_slice *const texts[] = {&s->name, &s->value, &s->domain, &s->path};
    aw__cookie *c, head;
    char *to;
    size_t i;
    memset(&head, 0, sizeof head);
    head.name_n = s->name.n;
    head.value_n = s->value.n;
    head.domain_n = s->domain.n;
    head.path_n = s->path.n;
    head.expires = s->expires;
    head.secure = s->secure;
    c = (aw__cookie *)aw__mem_get(&jar->loop->mem, aw__cookie_size(&head));
    if (!c) return NULL;
    *c = head;
    to = (char *)(c + 1);
    for (i = 0; i < 4; to += texts[i++]->n)
        if (texts[i]->n) memcpy(to, texts[i]->p, texts[i]->n);
    return c;
}

/* It replaces the old one in its place, for that decides the order; one that
   has expired only deletes it. What there is no memory for is not kept. */
static void aw__jar_put(aw__jar *jar, const aw__set_cookie *s,
                        bool host_only, int64_t now)
{
    aw__cookie *old = aw__jar_find(jar, s, host_only), *c = NULL;
    aw__link *behind = old ? old->link.next : &jar->cookies;
    if (s->expires > now) c = aw__cookie_new(jar, s);
    if (old) aw__jar_remove(jar, &old->link);
    if (!c) return;
    c->host_only = host_only;
    aw__list_add(behind, &c->link);
    if (++jar->count > AW__JAR_MOST)
        aw__jar_remove(jar, jar->cookies.next);
}

/* Keeps what an answer sets. */
static void aw__jar_take(aw__jar *jar, const aw__url *url,
                         const aw_header_field *f)
{
    const int64_t now = aw__unix_seconds(jar->loop);
    aw__set_cookie s;
    bool host_only;
    for (; f && f->name; f++)
        if (aw__slice_ieq(aw__slice(f->name, strlen(f->name)), "set-cookie") &&
            aw__cookie_read(aw__slice(f->value, strlen(f->value)), now, &s) &&
            aw__cookie_allowed(url, &s, &host_only) &&
            !aw__jar_guards(jar, url, &s))
            aw__jar_put(jar, &s, host_only, now);
}

/* The longest path that fits the URL's and is shorter than `below`. */
static size_t aw__jar_longest(const aw__jar *jar, const aw__url *url,
                              size_t below)
{
    const aw__link *i = jar->cookies.next;
    size_t longest = 0;
    for (; i != &jar->cookies; i = i->next) {
        const aw__cookie *c = (const aw__cookie *)i;
        if (c->path_n > longest && c->path_n < below &&
            aw__path_match(url->path, aw__cookie_path(c)))
            longest = c->path_n;
    }
    return longest;
}

static bool aw__cookie_goes(const aw__url *url, const aw__cookie *c)
{
    const aw_slice domain = aw__cookie_domain(c);
    return aw__domain_match(url->host, domain) &&
        (!c->host_only || url->host.n == domain.n) &&
        (!c->secure || url->tls) &&
        aw__path_match(url->path, aw__cookie_path(c));
}

/* Cookie: those with the longest path first, of equals the oldest (5.8.3). */
static void aw__jar_give(aw__jar *jar, const aw__url *url, aw__buf *b)
{
    const int64_t now = aw__unix_seconds(jar->loop);
    size_t n = SIZE_MAX;
    bool any = false;
    aw__link *i, *next;
    while (jar->count && (n = aw__jar_longest(jar, url, n)) > 0) {
        for (i = jar->cookies.next; i != &jar->cookies; i = next) {
            const aw__cookie *c = (const aw__cookie *)i;
            next = i->next;
            if (c->path_n != n || !aw__cookie_goes(url, c)) continue;
            if (c->expires <= now) {
                aw__jar_remove(jar, i);
                continue;
            }
            aw__put_text(b, any ? "; " : "Cookie: ");
            aw__buf_add(b, aw__cookie_name(c).p, c->name_n);
            if (c->name_n) aw__buf_add(b, "=", 1);
            aw__buf_add(b, aw__cookie_value(c).p, c->value_n);
            any = true;
        }
    }
    if (any) aw__put_text(b, "\r\n");
}
#else
#define aw__jar_free(jar) ((void)(jar))
#define aw__jar_take(jar, url, fields) ((void)0)
#define aw__jar_give(jar, url, to) ((void)0)
#endif
#endif

/* >>floor5 pool  A client's connections ------------------------------------ */

#ifndef ASYNCWEB_NO_CLIENT

/* A connection belongs to its client from aw__pool_take until aw__conn_free,
   and counts there and at its origin as long: while it is made, in use, idle.
   One without a stream is the permit to make one. So a connection that has
   served goes, alive or not, to the fetch that has waited longest, and none
   that could be used is ever idle beside somebody who waits for it:

   - A fetch waits only when its origin is full, or the client is and nothing
     is idle [aw__pool_take].
   - What comes back is handed to the oldest waiter that may have it, and is
     idle only when there is none [aw__pool_give]. */

enum {
    AW__CLIENT_CONNECTIONS = 100,
    AW__CLIENT_PER_ORIGIN = 50,
    AW__CLIENT_IDLE_MS = 10000,         /* below what servers usually grant */
    AW__CLIENT_CONNECT_MS = 10000,
    AW__CLIENT_MS = 30000,
    AW__CLIENT_MAX_BODY = 16 << 20
};

/* How https is spoken; without TLS there is no such thing. */
#ifdef ASYNCWEB_BEARSSL
typedef aw__tls_profile aw__secure;
static aw__secure *aw__secure_keep(aw__secure *p)
{
    if (p) p->refs++;
    return p;
}

static void aw__secure_drop(aw__secure *p)
{
    aw__profile_drop(p);
}

static int aw__secure_of(aw_loop *l, const aw_tls *tls, aw__secure **out)
{
    return aw__profile_of(l, tls, true, out);
}
#else
typedef struct aw__secure aw__secure;
#define aw__secure_keep(p) (p)
#define aw__secure_drop(p) ((void)(p))
static int aw__secure_of(aw_loop *l, const aw_tls *tls, aw__secure **out)
{
    (void)l, (void)tls, (void)out;
    return AW_ENOTLS;
}
#endif

/* Who answers: a host and port, and how it was made sure that it is they. */
typedef struct aw__origin {
    aw__link link;                      /* in its client */
    aw__link waiting;                   /* the oldest first */
    int open;                           /* its connections */
    int users;                          /* who points here */
    size_t size;
    const char *host;                   /* lies behind it */
    aw__secure *secure;                 /* NULL: not at all */
    uint16_t port;
} aw__origin;

typedef struct aw__client_conn {
    aw__link link;                      /* while idle */
    aw_stream *stream;                  /* NULL: to be made */
    aw__origin *origin;
    int64_t until;                      /* idle: when it is closed */
} aw__client_conn;

/* A fetch that waits for a connection. */
typedef struct aw__pool_wait {
    aw__link link;
    aw__task *task;
    aw__origin *origin;
    uint64_t ticket;                    /* who came first, of all origins */
    aw__client_conn **out;
} aw__pool_wait;

typedef struct aw__proxy {
    aw__url url;                        /* its host is empty: none */
    aw_slice user;                      /* user:password; p NULL: none */
} aw__proxy;

struct aw_client {
    aw_loop *loop;
    aw_client *next;                    /* in the loop; its own is the first */
    aw_client_config config;            /* no 0 in it; its text is in arena */
    int error;                          /* what is wrong with that */
    aw__arena arena;
    aw__url base;                       /* of base_url, if there is one */
    aw__proxy proxies[2];               /* for http, and for https */
    const char *no_proxy;
    aw__link origins;
    aw__link idle;                      /* the oldest first */
    int open, idle_count, waiting;
    int users;                          /* its owner, its fetches */
    uint64_t tickets;
    aw__jar jar;
    struct aw_ws *sockets;              /* that it connected */
    void (*socket_free)(struct aw_ws *);
    uint8_t chance[256];                /* for their keys, as many are left */
    size_t chances;
    bool own;                           /* the loop's */
    bool timing;
    aw__call_timer timer;               /* closes the oldest when it is due */
};

/* ---- origins ---- */

static bool aw__origin_is(const aw__origin *o, aw_slice host, int port,
                          const aw__secure *secure)
{
    return o->port == port && o->secure == secure &&
        aw__slice_ieq(host, o->host);
}

/* The one of that host and port; NULL: out of memory. */
static aw__origin *aw__origin_get(aw_client *client, aw_slice host, int port,
                                  aw__secure *secure)
{
    aw__link *i;
    size_t size = sizeof(aw__origin) + host.n + 1;
    aw__origin *o;
    for (i = client->origins.next; i != &client->origins; i = i->next) {
        o = (aw__origin *)i;
        if (!aw__origin_is(o, host, port, secure)) continue;
        o->users++;
        return o;
    }
    o = (aw__origin *)aw__mem_get(&client->loop->mem, size);
    if (!o) return NULL;
    memset(o, 0, size);
    memcpy(o + 1, host.p, host.n);
    o->host = (const char *)(o + 1);
    o->port = (uint16_t)port;
    o->secure = aw__secure_keep(secure);
    o->size = size;
    o->users = 1;
    aw__list_init(&o->waiting);
    aw__list_add(&client->origins, &o->link);
    return o;
}

static void aw__origin_put(aw_client *client, aw__origin *o)
{
    if (!o || --o->users > 0) return;
    aw__list_remove(&o->link);
    aw__secure_drop(o->secure);
    aw__mem_put(&client->loop->mem, o, o->size);
}

/* ---- connections ---- */

static void aw__conn_hang_up(aw__client_conn *c)
{
    aw_stream_abort(c->stream);
    c->stream = NULL;
}

static void aw__conn_free(aw_client *client, aw__client_conn *c)
{
    aw__conn_hang_up(c);
    c->origin->open--;
    client->open--;
    aw__origin_put(client, c->origin);
    aw__mem_put(&client->loop->mem, c, sizeof *c);
}

static aw__client_conn *aw__conn_new(aw_client *client, aw__origin *o)
{
    aw__client_conn *c =
        (aw__client_conn *)aw__mem_get(&client->loop->mem, sizeof *c);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->origin = o;
    o->users++;
    o->open++;
    client->open++;
    return c;
}

/* It becomes the permit for a connection to `o`, or stays what it is. */
static void aw__conn_move(aw_client *client, aw__client_conn *c, aw__origin *o)
{
    if (c->origin == o) return;
    aw__conn_hang_up(c);
    o->users++;
    o->open++;
    c->origin->open--;
    aw__origin_put(client, c->origin);
    c->origin = o;
}

/* An idle connection that has anything to read is of no use: its peer has
   closed it, or speaks without having been asked. */
static bool aw__client_quiet(const aw_stream *s)
{
    char byte;
    return !s->error && !s->ahead &&
        aw__io_recv(s->loop, s->fd, &byte, 1) == AW_EAGAIN;
}

/* ---- the idle ones ---- */

static aw__client_conn *aw__idle_remove(aw_client *client, aw__link *i)
{
    aw__list_remove(i);
    client->idle_count--;
    return (aw__client_conn *)i;
}

/* Times the oldest one: all stay equally long. */
static void aw__idle_time(aw_client *client)
{
    aw_loop *l = client->loop;
    if (client->timing) aw__timer_stop(l, &client->timer.timer);
    client->timing = client->idle_count > 0;
    if (client->timing)
        aw__timer_start(l, &client->timer.timer,
                        ((aw__client_conn *)client->idle.next)->until - l->now,
                        AW__TIMER_CALL);
}

static void aw__idle_due(aw_loop *l, aw__call_timer *timer)
{
    aw_client *client = (aw_client *)(void *)
        ((char *)timer - offsetof(struct aw_client, timer));
    while (client->idle_count > 0 &&
           ((aw__client_conn *)client->idle.next)->until <= l->now)
        aw__conn_free(client, aw__idle_remove(client, client->idle.next));
    client->timing = false;
    aw__idle_time(client);
}

static void aw__idle_add(aw_client *client, aw__client_conn *c)
{
    c->until = client->loop->now + client->config.idle_ms;
    aw__list_add(&client->idle, &c->link);
    client->idle_count++;
    if (!client->timing) aw__idle_time(client);
}

/* An idle connection to this origin, or NULL. The latest is the freshest. */
static aw__client_conn *aw__idle_take(aw_client *client, const aw__origin *o)
{
    aw__link *i, *prev;
    for (i = client->idle.prev; i != &client->idle; i = prev) {
        aw__client_conn *c = (aw__client_conn *)i;
        prev = i->prev;
        if (c->origin != o) continue;
        (void)aw__idle_remove(client, i);
        if (aw__client_quiet(c->stream)) return c;
        aw__conn_free(client, c);
    }
    return NULL;
}

/* ---- who gets which ---- */

/* A connection for the origin, or the permit to make one: 0. AW_EAGAIN: wait
   for it. AW_ENOMEM. */
static int aw__pool_take(aw_client *client, aw__origin *o,
                         aw__client_conn **out)
{
    *out = aw__idle_take(client, o);
    if (*out) return 0;
    if (o->open >= client->config.max_per_origin) return AW_EAGAIN;
    if (client->open < client->config.max_connections) {
        *out = aw__conn_new(client, o);
        return *out ? 0 : AW_ENOMEM;
    }
    if (!client->idle_count) return AW_EAGAIN;
    *out = aw__idle_remove(client, client->idle.next);
    aw__conn_move(client, *out, o);
    return 0;
}

/* Who has waited longest of those that may have what `from` gives back. */
static aw__pool_wait *aw__pool_next(const aw_client *client,
                                    const aw__origin *from)
{
    aw__pool_wait *first = NULL;
    const aw__link *i;
    if (!client->waiting) return NULL;
    for (i = client->origins.next; i != &client->origins; i = i->next) {
        const aw__origin *o = (const aw__origin *)i;
        aw__pool_wait *w = (aw__pool_wait *)o->waiting.next;
        if (aw__list_empty(&o->waiting)) continue;
        if (o != from && o->open >= client->config.max_per_origin) continue;
        if (!first || w->ticket < first->ticket) first = w;
    }
    return first;
}

static void aw__pool_leave(aw_client *client, aw__pool_wait *w)
{
    aw__list_remove(&w->link);
    w->task = NULL;
    client->waiting--;
}

/* A connection has served: to be kept, or not. */
static void aw__pool_give(aw_client *client, aw__client_conn *c, bool keep)
{
    aw__pool_wait *w = aw__pool_next(client, c->origin);
    if (!keep || client->loop->draining || client->config.idle_ms < 0)
        aw__conn_hang_up(c);
    if (w) {
        aw__task *t = w->task;
        aw__conn_move(client, c, w->origin);
        *w->out = c;
        aw__pool_leave(client, w);
        aw__complete(t, 0);
    } else if (c->stream) {
        aw__idle_add(client, c);
    } else {
        aw__conn_free(client, c);
    }
}

/* Waits for w->out. Whoever is handed it has it, even when cancelled in the
   same turn. */
AW__DECLARE_ARGS(aw__pool_get, (aw_client *client; aw__pool_wait *wait;));

static void aw__undo_pool(aw__task *t)
{
    aw__pool_leave((aw_client *)t->w.waiter.on,
                   (aw__pool_wait *)t->w.waiter.arg);
}

static const aw__wait aw__wait_pool = {"a connection of its client",
                                       aw__undo_pool};

static aw_use_RETURN_not_return aw__aw__pool_get(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw__pool_get *a = AW__LEAF_ARGS(aw__pool_get, args);
    aw__task *t = (aw__task *)ctx;
    aw__pool_wait *w = a->wait;
    int rc = aw__pool_take(a->client, w->origin, w->out);
    if (rc != AW_EAGAIN) return aw__at_once(t, rc);
    w->task = t;
    w->ticket = a->client->tickets++;
    aw__list_add(&w->origin->waiting, &w->link);
    a->client->waiting++;
    t->w.waiter.on = a->client;
    t->w.waiter.arg = w;
    return aw__wait_on(t, &aw__wait_pool);
}
AW__LEAF_PRIVATE(aw__pool_get);

/* ---- clients ---- */

static void aw__client_destroy(aw_client *client)
{
    aw_loop *l = client->loop;
    aw_client **at = &l->client;
    while (*at != client) at = &(*at)->next;
    *at = client->next;
    while (client->idle_count > 0)
        aw__conn_free(client, aw__idle_remove(client, client->idle.next));
    if (client->timing) aw__timer_stop(l, &client->timer.timer);
    while (client->sockets) client->socket_free(client->sockets);
    aw__jar_free(&client->jar);
    aw__arena_free(&client->arena);
    aw__mem_put(&l->mem, client, sizeof *client);
}

static void aw__client_put(aw_client *client)
{
    if (client && --client->users == 0) aw__client_destroy(client);
}

/* With the loop, which has no tasks any more. A client's sockets may be the
   last that hold it, and are freed in there. */
static void aw__clients_free(aw_loop *l)
{
    while (l->client) {
        l->client->users++;
        aw__client_destroy(l->client);
    }
}

/* ---- what they are configured with ---- */

static bool aw__client_text(aw_client *client, const char **text)
{
    if (!*text) return true;
    *text = aw__arena_text(&client->arena, *text, strlen(*text));
    return *text != NULL;
}

static bool aw__client_tls_copy(aw_client *client, const aw_tls **tls)
{
    aw_tls *copy;
    if (!*tls) return true;
    copy = (aw_tls *)aw__arena_get(&client->arena, sizeof *copy);
    if (!copy) return false;
    *copy = **tls;
    *tls = copy;
    return aw__client_text(client, &copy->ca_file) &&
        aw__client_text(client, &copy->ca_pem) &&
        aw__client_text(client, &copy->pin) &&
        aw__client_text(client, &copy->server_name) &&
        aw__client_text(client, &copy->certificate) &&
        aw__client_text(client, &copy->key);
}

static bool aw__client_headers(aw_client *client, const aw_header_field **list)
{
    aw_header_field *copy;
    size_t n = 0, i;
    if (!*list) return true;
    while ((*list)[n].name) n++;
    copy = (aw_header_field *)aw__arena_get(&client->arena,
                                            (n + 1) * sizeof *copy);
    if (!copy) return false;
    memset(copy, 0, (n + 1) * sizeof *copy);
    for (i = 0; i < n; i++) {
        copy[i] = (*list)[i];
        if (!aw__client_text(client, &copy[i].name) ||
            !aw__client_text(client, &copy[i].value)) return false;
    }
    *list = copy;
    return true;
}

/* user:password@ of a URL, decoded; without a colon the password is empty. */
static int aw__url_user(aw__arena *arena, aw_slice user, aw_slice *out)
{
    size_t n = user.n + 1;
    char *plain = (char *)aw__arena_get(arena, n);
    if (!plain) return AW_ENOMEM;
    if (aw__url_decode(plain, user.p, user.n, false, &n) < 0) return AW_EURL;
    if (!memchr(user.p, ':', user.n)) plain[n++] = ':';
    *out = aw__slice(plain, n);
    return 0;
}

static int aw__proxy_read(aw_client *client, aw__proxy *p, const char *url,
                          const char *shown)
{
    int rc;
    if (!url || !*url) return 0;
    if (!aw__client_text(client, &url)) return AW_ENOMEM;
    rc = aw__url_parse(url, &p->url);
    if (rc == 0 && (p->url.tls || p->url.ws)) rc = AW_EURL;
    if (rc == 0 && p->url.user.p)
        rc = aw__url_user(&client->arena, p->url.user, &p->user);
    if (rc == 0) {                      /* with a NUL behind it */
        p->url.host.p = aw__arena_text(&client->arena, p->url.host.p,
                                       p->url.host.n);
        if (!p->url.host.p) rc = AW_ENOMEM;
    }
    if (rc == AW_EURL)
        aw__log(client->loop, AW_LOG_WARNING, "%s is to be "
                "http://[user:password@]host[:port]", shown);
    return rc;
}

/* Only http_proxy in lower case counts: HTTP_PROXY is what a client's "Proxy"
   field becomes in a CGI program. */
static int aw__client_proxy(aw_client *client)
{
    const char *http = client->config.proxy, *https = http;
    const char *shown[2] = {"the proxy", "the proxy"};
    int rc;
    if (!http && !client->loop->sim) {
        http = getenv(shown[0] = "http_proxy");
        https = getenv(shown[1] = "https_proxy");
        client->no_proxy = getenv("no_proxy");
    }
    if (!aw__client_text(client, &client->no_proxy)) return AW_ENOMEM;
    rc = aw__proxy_read(client, &client->proxies[0], http, shown[0]);
    return rc < 0 ? rc
        : aw__proxy_read(client, &client->proxies[1], https, shown[1]);
}

/* no_proxy: hosts, and domains with all below them, between commas or blanks;
   "*" is every host. */
static bool aw__client_direct(const char *list, aw_slice host)
{
    while (list && *list) {
        const size_t n = strcspn(list, ", ");
        aw_slice item = aw__slice(list, n);
        list += n + (list[n] != 0);
        if (n == 1 && *item.p == '*') return true;
        if (n && *item.p == '.') item.p++, item.n--;
        if (!item.n || item.n > host.n) continue;
        if (!aw__slice_tail(host, item)) continue;
        if (item.n == host.n || host.p[host.n - item.n - 1] == '.') return true;
    }
    return false;
}

/* The proxy that a request for this URL goes through, or NULL. */
static const aw__proxy *aw__client_via(const aw_client *client,
                                       const aw__url *url)
{
    const aw__proxy *p = &client->proxies[url->tls];
    if (!p->url.host.n || client->config.unix_socket ||
        aw__client_direct(client->no_proxy, url->host)) return NULL;
    return p;
}

static int aw__client_limit(int n, int otherwise)
{
    return n == 0 ? otherwise : n < 0 ? INT_MAX : n;
}

static int64_t aw__client_ms(int64_t ms, int64_t otherwise)
{
    return ms == 0 ? otherwise : ms < 0 ? AW_FOREVER : ms;
}

static void aw__client_defaults(aw_client_config *c)
{
    if (c->max_redirects < 0) c->max_redirects = 0;
    c->max_connections = aw__client_limit(c->max_connections,
                                          AW__CLIENT_CONNECTIONS);
    c->max_per_origin = aw__client_limit(c->max_per_origin,
                                         AW__CLIENT_PER_ORIGIN);
    if (!c->idle_ms) c->idle_ms = AW__CLIENT_IDLE_MS;
    c->connect_timeout_ms = aw__client_ms(c->connect_timeout_ms,
                                          AW__CLIENT_CONNECT_MS);
    c->timeout_ms = aw__client_ms(c->timeout_ms, AW__CLIENT_MS);
    if (c->idle_ms > INT64_MAX / 2) c->idle_ms = INT64_MAX / 2;
    if (!c->max_body) c->max_body = AW__CLIENT_MAX_BODY;
}

/* What frames a message is not theirs to say: two readings of where it ends
   are how requests are smuggled. */
static bool aw__field_fits(const aw_header_field *f)
{
    const size_t name_n = strlen(f->name);
    return aw__is_token(f->name, name_n) &&
        aw__is_value(f->value ? f->value : "") &&
        !aw__slice_ieq(aw__slice(f->name, name_n), "content-length") &&
        !aw__slice_ieq(aw__slice(f->name, name_n), "transfer-encoding");
}

/* user:password without control characters (RFC 7617 2). */
static bool aw__basic_fits(const char *text)
{
    const char *end = text + strlen(text);
    return strchr(text, ':') && !strchr(text, '\t') &&
        aw__http_span(text, end, AW__C_VALUE) == end;
}

/* What is wrong with the texts of a config, NULL: nothing. */
static const char *aw__client_unfit(aw_client *client)
{
    const aw_client_config *c = &client->config;
    const aw_header_field *f;
    aw__sys_address a;
    if (c->base_url && (aw__url_parse(c->base_url, &client->base) < 0 ||
                        client->base.ws || strpbrk(c->base_url, "?#")))
        return "a base_url is http://host[:port][/path]";
    if ((c->basic || c->bearer) && !c->base_url)
        return "basic and bearer go to base_url only, and there is none";
    if (c->basic && !aw__basic_fits(c->basic))
        return "basic is user:password";
    if (c->bearer && !aw__is_value(c->bearer))
        return "a bearer token that cannot be sent";
    if (c->unix_socket && strlen(c->unix_socket) >= sizeof a.un.sun_path)
        return "the path of its unix_socket is too long";
    for (f = c->headers; f && f->name; f++)
        if (!aw__field_fits(f)) return "a header field that cannot be sent";
    return NULL;
}

static int aw__client_configure(aw_client *client)
{
    aw_client_config *c = &client->config;
    const char *wrong;
    aw__client_defaults(c);
    if (!aw__client_text(client, &c->base_url) ||
        !aw__client_text(client, &c->unix_socket) ||
        !aw__client_text(client, &c->basic) ||
        !aw__client_text(client, &c->bearer) ||
        !aw__client_headers(client, &c->headers) ||
        !aw__client_tls_copy(client, &c->tls)) return AW_ENOMEM;
    wrong = aw__client_unfit(client);
    if (!wrong) return aw__client_proxy(client);
    aw__log(client->loop, AW_LOG_WARNING, "a client's config: %s", wrong);
    return AW_EINVAL;
}

/* NULL: out of memory. What else is wrong is in its `error`. */
static aw_client *aw__client_make(aw_loop *l, const aw_client_config *config)
{
    aw_client *client = (aw_client *)aw__mem_get(&l->mem, sizeof *client);
    if (!client) return NULL;
    memset((void *)client, 0, sizeof *client);
    client->loop = l;
    client->users = 1;
    client->arena.mem = &l->mem;
    client->timer.fn = aw__idle_due;
    if (config) client->config = *config;
    aw__list_init(&client->origins);
    aw__list_init(&client->idle);
    aw__jar_init(&client->jar, l);
    client->next = l->client;
    l->client = client;
    l->client_free = aw__clients_free;
    client->error = aw__client_configure(client);
    if (client->error != AW_ENOMEM) return client;
    aw__client_put(client);
    return NULL;
}

/* The loop's own, made when it is first needed, and the first in the list from
   then on. NULL: out of memory. */
static aw_client *aw__client_of(aw_loop *l)
{
    aw_client *client = l->client;
    if (client && client->own) return client;
    client = aw__client_make(l, NULL);
    if (client) client->own = true;
    return client;
}

/* Others go behind it. */
static void aw__client_behind(aw_client *client)
{
    aw_client *own = client->next;
    if (!own || !own->own) return;
    client->next = own->next;
    own->next = client;
    client->loop->client = own;
}

aw_client *aw_client_new(aw_loop *loop, const aw_client_config *config)
{
    aw_client *client = aw__client_make(loop, config);
    if (!client) return NULL;
    aw__client_behind(client);
    if (!client->error) return client;
    aw__client_put(client);
    return NULL;
}

void aw_client_free(void *client)
{
    aw__client_put((aw_client *)client);
}

#endif

/* >>floor5 replies  Exchanges of a client, and what becomes of them --------- */

#ifndef ASYNCWEB_NO_CLIENT

/* An exchange is one request and its answer, behind redirects the last of
   several. It is made before the caller goes on and freed with the frame of
   its aw_get or aw_fetch, however that ends, or with the reply when that comes
   in pieces; a connection it still holds then is closed, for nobody knows what
   is left on it. Its states:

   AW__CLIENT_HEAD      nothing of the answer is complete; bytes gather in
                        `in`. Interim answers (1xx) leave here again.
                        -> LENGTH, CHUNKED, CLOSE, DONE [aw__client_body]
   AW__CLIENT_LENGTH    `left` bytes to come, read straight into the body
   AW__CLIENT_CHUNKED   `in` holds coded bytes, empty between two reads
   AW__CLIENT_CLOSE     the body ends with the connection; straight into it
                        -> DONE [aw__client_feed, aw__client_eof, with .stream
                        aw__client_take, aw__client_came]
   AW__CLIENT_DONE      complete: the connection goes to the pool if both
                        sides keep it and nothing else came on it
                        [aw__client_settle]

   A pooled connection that dies in AW__CLIENT_HEAD before a byte arrived is
   forgotten, and a new one tried [aw__client_once]. */
enum {
    AW__CLIENT_HEAD, AW__CLIENT_LENGTH, AW__CLIENT_CHUNKED, AW__CLIENT_CLOSE,
    AW__CLIENT_DONE
};

enum {
    AW__CLIENT_MAX_HEAD = 65535,
    AW__CLIENT_FIELDS = 256,
    AW__CLIENT_INTERIM = 32,            /* 1xx before the final answer */
    AW__CLIENT_READ = AW__SIZED(16384, 2048) - AW__HEAD_SLACK,  /* no odd size */
    AW__CLIENT_COPY = AW__SIZED(16384, 1024),   /* a body up to here is copied */
    AW__CLIENT_BOUNDARY = 45,           /* of multipart, with its NUL */
    AW__CLIENT_MANY = 1000              /* replies of one owner */
};

/* ---- replies ---- */

struct aw__exchange;

typedef struct aw__reply {
    aw_response face;                   /* first: what users see */
    struct aw__reply *next, **back;     /* the owner's list, newest first */
    aw_loop *loop;
    aw__arena arena;                    /* URL, head, JSON */
    aw__buf body;
    struct aw__exchange *live;          /* .stream, .send: not at its end */
#ifndef ASYNCWEB_NO_JSON
    const aw_value *json;
    bool parsed;
#endif
    int held;                           /* added since it was last counted */
} aw__reply;

/* What aw_get and aw_fetch were asked for. */
typedef aw_args_aw_fetch aw__client_ask;

/* A piece of a body that is not copied: bytes, or a file's. */
typedef struct aw__body_piece {
    struct aw__body_piece *next;
    const char *p;
    int64_t n;
    int fd;                             /* -1: bytes at p */
} aw__body_piece;

typedef struct aw__exchange {
    aw_client *client;
    aw_loop *loop;
    int users;                          /* its frame or reply; who is at it */
    bool ended;                         /* by its frame or reply */
    int error;                          /* of the arguments, or what broke it */
    int rc;
    int64_t timeout_ms;
    size_t max_body;
    aw__url url;                        /* its text is reply->face.url */
    int redirects;                      /* that may still be followed */
    int verb;
    const char *method;
    aw__buf out;                        /* head, and a body that was copied */
    size_t head_n;                      /* of out: where the body begins */
    aw__body_piece *upload;                 /* a body that was not */
    bool mocked;
    const aw_mock *mock;                /* NULL: in no row of the table */
    aw__secure *secure;                 /* a reference; NULL: none needed */
    bool insecure;
    const aw__proxy *via;
    bool proxied;                       /* the target is the whole URL */
    bool single;                        /* the caller speaks of Connection */
    bool baked;                         /* and of Cookie: then no jar does */
    bool upgrade;                       /* it asks for a WebSocket, */
    char key[25];                       /* and this is the proof it wants */
    const char *protocols;
    bool stream, send;
    bool sending;                       /* .send: before aw_fetch_end */
    bool send_chunks;
    bool keep;                          /* the connection may go on */
    bool arrived;                       /* a byte of the answer */
    bool uploading;
    uint8_t state;
    int interim;
    int64_t send_left;
    aw__pool_wait wait;
    aw__client_conn *conn;
    aw__buf in;
    size_t at;                          /* of `in`: .stream has taken it */
    size_t seen;                        /* of `in`, by the head parser */
    uint64_t left;
    aw__head head;
    aw__chunked chunked;
    aw__reply *reply;
    struct aw_ws *ws;                   /* what became of it */
} aw__exchange;

static aw__reply *aw__reply_new(aw_loop *l)
{
    aw__reply *r = (aw__reply *)aw__mem_get(&l->mem, sizeof *r);
    if (!r) return NULL;
    memset(r, 0, sizeof *r);
    r->loop = l;
    r->arena.mem = r->body.mem = &l->mem;
    r->face.body = "";
    return r;
}

/* The connection goes back, or, when who knows what is left on it, ends. */
static void aw__exchange_release(aw__exchange *x, bool keep)
{
    if (x->conn) aw__pool_give(x->client, x->conn, keep);
    aw__origin_put(x->client, x->wait.origin);
    x->conn = NULL;
    x->wait.origin = NULL;
}

static void aw__body_drop(aw__exchange *x)
{
    const aw__body_piece *u;
    for (u = x->upload; u; u = u->next)
        if (u->fd >= 0) aw__sys_close(u->fd);
    x->upload = NULL;
}

static void aw__exchange_put(aw__exchange *x)
{
    if (x && --x->users == 0) aw__mem_put(&x->loop->mem, x, sizeof *x);
}

/* Who waits for its connection gets AW_ECLOSED, and finds `ended`. */
static void aw__exchange_end(aw__exchange *x)
{
    x->ended = true;
    aw__exchange_release(x, false);
    aw__body_drop(x);
    aw__secure_drop(x->secure);
    aw__client_put(x->client);
    aw__buf_free(&x->out);
    aw__buf_free(&x->in);
    aw__exchange_put(x);
}

static void aw__reply_free(aw__reply *r)
{
    if (!r) return;
    if (r->live) aw__exchange_end(r->live);
    if (r->back) *r->back = r->next;
    if (r->next) r->next->back = r->back;
    aw__arena_free(&r->arena);
    aw__buf_free(&r->body);
    aw__mem_put(&r->loop->mem, r, sizeof *r);
}

/* With its reply, which nobody has got. */
static void aw__exchange_free(void *p)
{
    aw__exchange *x = (aw__exchange *)p;
    aw__reply *r = x->reply;
    aw__exchange_end(x);
    aw__reply_free(r);
}

static void aw__replies_free(aw__reply **owner)
{
    while (*owner) aw__reply_free(*owner);
}

/* Where the replies belong that t fetches (rule 15). A child's belong to its
   ancestors: the parent reads them when the child has long ended. */
static aw__reply **aw__replies_of(aw__task *t)
{
    aw_loop *l = t->ctx.loop;
    if (t->req && l->req_replies) return l->req_replies(t->req);
    while (t->kid) t = t->kid->group->task;
    return &t->replies;
}

/* Gives r to its owner. One who holds very many has a loop that fetches into
   a new variable each time round. */
static void aw__reply_own(aw__reply **owner, aw__reply *r)
{
    int n = 0;
    r->next = *owner;
    r->back = owner;
    r->held = r->next ? r->next->held + 1 : 1;
    if (r->next) r->next->back = &r->next;
    *owner = r;
    if (r->held < AW__CLIENT_MANY) return;
    /* Those behind it may have gone since. */
    for (; r; r = r->next) n++;
    (*owner)->held = 0;
    if (n >= AW__CLIENT_MANY)
        aw__log((*owner)->loop, AW_LOG_WARNING,
                "a task or request holds %d replies: fetch into the same "
                "variable again, or call aw_response_free", n);
}

/* Stores a reply, or NULL, in the caller's variable. What that held before is
   freed only if it is a reply of the same owner: it may be anything. */
static void aw__reply_deliver(aw__task *t, aw_response **out, aw__reply *r)
{
    aw__reply **owner = aw__replies_of(t), *old = NULL;
    if (!out) {
        aw__reply_free(r);
        return;
    }
    if (*out)
        for (old = *owner; old && &old->face != *out; old = old->next) {}
    aw__reply_free(old);
    if (r) aw__reply_own(owner, r);
    *out = r ? &r->face : NULL;
}

/* Names and values get their NULs in place of the ':' and CR (or OWS) that
   stand behind each in a head. */
static int aw__reply_head(aw__reply *r, const char *head, size_t n,
                          const aw__head *h)
{
    char *text = aw__arena_text(&r->arena, head, n);
    aw_header_field *f = (aw_header_field *)aw__arena_get(
        &r->arena, (h->count + (size_t)1) * sizeof *f);
    size_t i;
    if (!text || !f) return AW_ENOMEM;
    for (i = 0; i < h->count; i++) {
        const aw__field *at = &h->fields[i];
        f[i].name = text + at->name;
        f[i].value = text + at->value;
        text[at->name + at->name_len] = 0;
        text[at->value + at->value_len] = 0;
    }
    f[i].name = f[i].value = NULL;
    r->face.status = h->status;
    r->face.headers = f;
    return 0;
}

/* Ends the body with a NUL, and gives back room that is much too much. */
static int aw__reply_close(aw__reply *r)
{
    aw__buf *b = &r->body;
    char *end = b->n ? aw__buf_room(b, 1) : NULL, *p;
    if (!b->n) return 0;
    if (!end) return AW_ENOMEM;
    *end = 0;
    if (b->cap - b->n > 4096) {
        p = (char *)aw__mem_resize(b->mem, b->p, b->cap, b->n + 1);
        if (p) b->p = p, b->cap = b->n + 1;
    }
    r->face.body = b->p;
    r->face.body_len = b->n;
    return 0;
}

void aw_response_free(aw_response *reply)
{
    aw__reply_free((aw__reply *)reply);
}

const char *aw_response_header(const aw_response *reply, const char *name)
{
    const aw_header_field *f = reply ? reply->headers : NULL;
    for (; f && f->name; f++)
        if (aw__slice_ieq(aw__slice(f->name, strlen(f->name)), name))
            return f->value;
    return NULL;
}

/* A line about a URL. It comes from elsewhere, and must not forge lines; nor is
   a password for the log. */
static void aw__client_log(const aw_loop *l, const char *url, const char *text)
{
    char shown[200];
    const char *host = strstr(url, "://");
    const size_t end = host ? (size_t)(host - url) + 3 : 0;
    const size_t user = end ? strcspn(url + end, "/?#@") : 0;
    size_t i, n = 0;
    for (i = 0; url[i] && n + 1 < sizeof shown; i++) {
        if (end && i == end && url[end + user] == '@') i += user + 1;
        shown[n] = aw__http_is(url[i], AW__C_VALUE) ? url[i] : '?';
        if (url[i]) n++;
        else break;
    }
    shown[n] = 0;
    aw__log(l, AW_LOG_WARNING, "%s: %s", shown, text);
}

#ifndef ASYNCWEB_NO_JSON
const aw_value *aw_response_json(const aw_response *reply)
{
    /* Public replies are read-only; they all lie in an aw__reply. */
    aw__reply *r = (aw__reply *)(uintptr_t)reply;
    size_t at;
    int rc;
    if (!r || r->parsed) return r ? r->json : NULL;
    r->parsed = true;
    rc = aw__json_parse(&r->arena, reply->body, reply->body_len, &r->json, &at);
    if (rc < 0) {
        char text[100];
        aw__print(text, sizeof text, "the body is not JSON: %s at byte %lu",
                  rc == AW_EBADMSG ? "syntax error" : aw_strerror(rc),
                  (unsigned long)at);
        aw__client_log(r->loop, reply->url, text);
    }
    return r->json;
}
#endif

#endif

/* >>floor5 asking  What a client sends ------------------------------------ */

#ifndef ASYNCWEB_NO_CLIENT

static aw__exchange *aw__exchange_new(aw_client *client)
{
    aw_loop *l;
    aw__exchange *x;
    if (!client) return NULL;
    l = client->loop;
    x = (aw__exchange *)aw__mem_get(&l->mem, sizeof *x);
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    x->client = client;
    client->users++;
    x->users = 1;
    x->loop = l;
    x->out.mem = x->in.mem = &l->mem;
    x->wait.out = &x->conn;
    x->reply = aw__reply_new(l);
    if (x->reply) return x;
    aw__exchange_end(x);
    return NULL;
}

static void aw__put_line(aw__buf *b, const char *name, const char *value,
                          size_t n)
{
    aw__put_text(b, name);
    aw__buf_add(b, ": ", 2);
    aw__buf_add(b, value, n);
    aw__buf_add(b, "\r\n", 2);
}

static bool aw__fields_have(const aw_header_field *f, const char *name)
{
    for (; f && f->name; f++)
        if (aw__slice_ieq(aw__slice(name, strlen(name)), f->name)) return true;
    return false;
}

/* A field that is ours, unless the fetch or its client has that name. */
static void aw__client_put_ours(aw__exchange *x, const aw__client_ask *ask,
                                const char *name, const char *value, size_t n)
{
    if (aw__fields_have(ask->headers, name) ||
        aw__fields_have(x->client->config.headers, name)) return;
    aw__put_line(&x->out, name, value, n);
}

/* What a fetch says itself, its client's fields do not. */
static bool aw__client_says(const aw__exchange *x, const aw__client_ask *ask,
                            const char *name)
{
    const aw_slice s = aw__slice(name, strlen(name));
    if (aw__fields_have(ask->headers, name)) return true;
    if (aw__slice_ieq(s, "content-type")) return ask->content_type || ask->form;
    return (ask->basic || ask->bearer || x->url.user.p) &&
        aw__slice_ieq(s, "authorization");
}

/* Adds fields: those of the fetch, or its client's (`ask` is not NULL). */
static int aw__client_put_list(aw__exchange *x, const aw_header_field *f,
                               const aw__client_ask *ask)
{
    for (; f && f->name; f++) {
        if (!aw__field_fits(f)) return AW_EINVAL;
        if (ask && aw__client_says(x, ask, f->name)) continue;
        if (aw__slice_ieq(aw__slice(f->name, strlen(f->name)), "connection"))
            x->single = true;
        if (f->value)
            aw__put_line(&x->out, f->name, f->value, strlen(f->value));
    }
    return 0;
}

static void aw__put_bearer(aw__buf *b, const char *token)
{
    aw__put_text(b, "Authorization: Bearer ");
    aw__put_text(b, token);
    aw__put_text(b, "\r\n");
}

/* Adds "Basic " and user:password (RFC 7617 section 2). */
static void aw__put_basic(aw__buf *b, const char *name, const char *user,
                          size_t n)
{
    char *to;
    aw__put_text(b, name);
    aw__put_text(b, ": Basic ");
    to = aw__buf_room(b, (n + 2) / 3 * 4);
    if (to) b->n += aw__base64_encode(to, user, n);
    aw__buf_add(b, "\r\n", 2);
}

/* Authorization: what the fetch says, else its URL, else its client. */
static int aw__client_put_auth(aw__exchange *x, const aw__client_ask *ask)
{
    static const char name[] = "Authorization";
    const aw_client_config *c = &x->client->config;
    const char *basic = ask->basic, *bearer = ask->bearer;
    aw_slice user = {NULL, 0};
    int rc = 0;
    if (aw__fields_have(ask->headers, name)) return 0;
    if (!basic && !bearer && x->url.user.p) {
        rc = aw__url_user(&x->reply->arena, x->url.user, &user);
    } else if (!basic && !bearer && !aw__fields_have(c->headers, name) &&
               c->base_url && aw__url_same_origin(&x->client->base, &x->url)) {
        basic = c->basic;
        bearer = c->bearer;
    }
    if (basic) user = aw__slice(basic, strlen(basic));
    if (user.p) aw__put_basic(&x->out, name, user.p, user.n);
    else if (bearer) aw__put_bearer(&x->out, bearer);
    return rc;
}

/* The request line: origin-form, or to a proxy absolute-form (RFC 9112 3.2;
   the fragment and the user stay here). */
static void aw__client_put_line(aw__exchange *x, aw__buf *b)
{
    const aw__url *u = &x->url;
    aw__put_text(b, x->method);
    aw__buf_add(b, " ", 1);
    if (x->proxied) {
        aw__put_text(b, "http://");
        aw__buf_add(b, u->authority.p, u->authority.n);
    }
    aw__buf_add(b, u->path.p, u->path.n);
    if (u->query.p) aw__buf_add(b, "?", 1);
    aw__buf_add(b, u->query.p, u->query.n);
    aw__put_text(b, " HTTP/1.1\r\n");
    if (x->proxied && x->via->user.p)
        aw__put_basic(b, "Proxy-Authorization", x->via->user.p,
                      x->via->user.n);
}

static int aw__client_bad(aw__exchange *x, const char *text)
{
    aw__client_log(x->loop, x->reply->face.url, text);
    return AW_EINVAL;
}

/* The header fields, but for those of the body. */
static int aw__client_put_fields(aw__exchange *x, const aw__client_ask *ask)
{
    const aw_header_field *list = x->client->config.headers;
    int rc;
    aw__client_put_ours(x, ask, "Host", x->url.authority.p,
                        x->url.authority.n);
    aw__client_put_ours(x, ask, "User-Agent", "asyncweb/0.1", 12);
    aw__client_put_ours(x, ask, "Accept", "*/*", 3);
    x->baked = aw__fields_have(list, "Cookie") ||
        aw__fields_have(ask->headers, "Cookie");
    if (x->client->config.cookies && !x->baked)
        aw__jar_give(&x->client->jar, &x->url, &x->out);
    rc = aw__client_put_auth(x, ask);
    if (rc < 0) return rc;
    rc = aw__client_put_list(x, list, ask);
    if (rc == 0) rc = aw__client_put_list(x, ask->headers, NULL);
    if (rc < 0) return aw__client_bad(x, "a header field that cannot be sent");
    return 0;
}

/* ---- its body ---- */

static aw__body_piece *aw__body_add(aw__exchange *x, const char *p, int64_t n,
                                  int fd)
{
    aw__body_piece **end = &x->upload, *u;
    while (*end) end = &(*end)->next;
    u = (aw__body_piece *)aw__arena_get(&x->reply->arena, sizeof *u);
    if (!u) return NULL;
    u->next = NULL;
    u->p = p;
    u->n = n;
    u->fd = fd;
    return *end = u;
}

static size_t aw__form_size(const aw_form_field *f)
{
    return f->size || !f->value ? f->size : strlen(f->value);
}

/* application/x-www-form-urlencoded (WHATWG URL 5.2). */
static void aw__put_form_text(aw__buf *b, const char *p, size_t n)
{
    char escaped[3];
    for (; n; p++, n--) {
        if (*p == ' ') aw__buf_add(b, "+", 1);
        else if (aw__http_is(*p, AW__C_HOST)) aw__buf_add(b, p, 1);
        else aw__buf_add(b, escaped, aw__url_put(escaped, (unsigned char)*p));
    }
}

static void aw__put_form(aw__buf *b, const aw_form_field *f)
{
    const aw_form_field *first = f;
    for (; f->name; f++) {
        if (f != first) aw__buf_add(b, "&", 1);
        aw__put_form_text(b, f->name, strlen(f->name));
        aw__buf_add(b, "=", 1);
        aw__put_form_text(b, f->value, aw__form_size(f));
    }
}

/* A quoted name as browsers write it (WHATWG HTML, multipart/form-data):
   there are no backslashes, for servers read them in two ways. */
static void aw__put_quoted(aw__buf *b, const char *p)
{
    aw__buf_add(b, "\"", 1);
    for (; *p; p++) {
        if (*p == '"') aw__buf_add(b, "%22", 3);
        else if (*p == '\r') aw__buf_add(b, "%0D", 3);
        else if (*p == '\n') aw__buf_add(b, "%0A", 3);
        else aw__buf_add(b, p, 1);
    }
    aw__buf_add(b, "\"", 1);
}

static const char *aw__form_filename(const aw_form_field *f)
{
    const char *slash;
    if (f->filename || !f->path) return f->filename;
    slash = strrchr(f->path, '/');
    return slash ? slash + 1 : f->path;
}

static bool aw__form_is_file(const aw_form_field *f)
{
    return f->path || f->filename || f->type;
}

/* The head of a part (RFC 7578 4.2). */
static void aw__put_part(aw__buf *b, const aw_form_field *f,
                         const char *boundary)
{
    const char *filename = aw__form_filename(f);
    const char *type = f->type || !filename ? f->type
                                            : aw__type_of(filename);
    aw__put_text(b, "--");
    aw__put_text(b, boundary);
    aw__put_text(b, "\r\nContent-Disposition: form-data; name=");
    aw__put_quoted(b, f->name);
    if (filename) {
        aw__put_text(b, "; filename=");
        aw__put_quoted(b, filename);
    }
    aw__put_text(b, "\r\n");
    if (type) aw__put_line(b, "Content-Type", type, strlen(type));
    aw__put_text(b, "\r\n");
}

/* What has gathered in `text` becomes a piece of the upload. */
static int aw__body_text(aw__exchange *x, aw__buf *text)
{
    char *p = aw__arena_text(&x->reply->arena, text->p ? text->p : "",
                             text->n);
    if (text->failed || !p) return AW_ENOMEM;
    if (!aw__body_add(x, p, (int64_t)text->n, -1)) return AW_ENOMEM;
    text->n = 0;
    return 0;
}

/* A file to be sent: its descriptor, or an error; and a piece of it. */
#ifdef ASYNCWEB_NO_STATIC_FILES
static int aw__body_open(const char *path, int64_t *size)
{
    (void)path, (void)size;
    return AW_ENOTSUP;
}

static int aw__body_read(int fd, char *p, size_t n, int64_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return AW_ENOTSUP;
}
#else
static int aw__body_open(const char *path, int64_t *size)
{
    aw__file file;
    const int rc = aw__file_take(aw__sys_open(AT_FDCWD, path, 0), &file);
    *size = file.size;
    if (rc == 0) return file.fd;
    return rc > 0 || rc <= AW_HTTP(0) ? AW_ENOENT : rc;
}

static int aw__body_read(int fd, char *p, size_t n, int64_t at)
{
    const int rc = aw__file_read(fd, p, n, at);
    return rc == AW_EEOF ? AW_EIO : rc;
}
#endif

/* The file at f->path, which is there from now on, whatever its name does. */
static int aw__body_file(aw__exchange *x, const aw_form_field *f)
{
    int64_t size = 0;
    const int fd = aw__body_open(f->path, &size);
    if (fd < 0) {
        aw__log(x->loop, AW_LOG_WARNING, "%s: %s", f->path, aw_strerror(fd));
        return fd;
    }
    if (aw__body_add(x, NULL, size, fd)) return 0;
    aw__sys_close(fd);
    return AW_ENOMEM;
}

/* multipart/form-data (RFC 7578). */
static int aw__client_multipart(aw__exchange *x, const aw_form_field *f,
                                const char *boundary, aw__buf *text)
{
    int rc = 0;
    for (; f->name && rc == 0; f++) {
        if (f->type && !aw__is_value(f->type))
            return aw__client_bad(x, "a type of a file that cannot be sent");
        aw__put_part(text, f, boundary);
        if (f->path) rc = aw__body_text(x, text);
        if (f->path && rc == 0) rc = aw__body_file(x, f);
        if (!f->path) aw__buf_add(text, f->value, aw__form_size(f));
        aw__put_text(text, "\r\n");
    }
    aw__put_text(text, "--");
    aw__put_text(text, boundary);
    aw__put_text(text, "--\r\n");
    return rc < 0 ? rc : aw__body_text(x, text);
}

/* What nobody else writes into a file. */
static bool aw__boundary_make(char boundary[AW__CLIENT_BOUNDARY])
{
    uint32_t part[4];
    if (!aw__sys_random(part, sizeof part)) return false;
    aw__print(boundary, AW__CLIENT_BOUNDARY, "----asyncweb%08lx%08lx%08lx%08lx",
              (unsigned long)part[0], (unsigned long)part[1],
              (unsigned long)part[2], (unsigned long)part[3]);
    return true;
}

/* A form as the body. Nobody but us knows the boundary. */
static int aw__client_form(aw__exchange *x, const aw__client_ask *ask)
{
    const aw_form_field *const f = ask->form, *i;
    const bool typed = aw__fields_have(ask->headers, "Content-Type");
    char boundary[AW__CLIENT_BOUNDARY];
    aw__buf text;
    int rc = 0;
    memset(&text, 0, sizeof text);
    text.mem = &x->loop->mem;
    for (i = f; i->name && !aw__form_is_file(i); i++) {}
    if (i->name) {
        if (typed) return aw__client_bad(x, "a form with files and a "
                                         "Content-Type of yours");
        if (!aw__boundary_make(boundary)) return AW_EIO;
        aw__put_text(&x->out, "Content-Type: multipart/form-data; boundary=");
        aw__put_text(&x->out, boundary);
        aw__put_text(&x->out, "\r\n");
        rc = aw__client_multipart(x, f, boundary, &text);
    } else {
        if (!typed)
            aw__put_text(&x->out, "Content-Type: "
                         "application/x-www-form-urlencoded\r\n");
        aw__put_form(&text, f);
        rc = aw__body_text(x, &text);
    }
    aw__buf_free(&text);
    return rc;
}

static void aw__put_length(aw__buf *b, int64_t n)
{
    char text[24];
    int len = aw__print(text, sizeof text, "%lld", (long long)n);
    aw__put_line(b, "Content-Length", text, (size_t)len);
}

/* What makes a request a WebSocket's handshake (RFC 6455 4.1). */
static void aw__client_put_upgrade(aw__exchange *x)
{
    aw__put_text(&x->out, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\n");
    aw__put_line(&x->out, "Sec-WebSocket-Key", x->key, 24);
    if (x->protocols) {
        const char *p = x->protocols;
        aw__put_text(&x->out, "Sec-WebSocket-Protocol: ");
        for (; *p; p++)
            aw__buf_add(&x->out, *p == ' ' ? ", " : p, *p == ' ' ? 2 : 1);
        aw__put_text(&x->out, "\r\n");
    }
}

/* How the body is framed, and the end of the head. A method that is meant to
   have one says so even if it is empty (RFC 9110 8.6). */
static void aw__client_frame(aw__exchange *x, bool has, int64_t n)
{
    const int verb = x->verb;
    if (x->upgrade) aw__client_put_upgrade(x);
    if (x->send && n == 0) {
        x->send_chunks = true;
        aw__put_text(&x->out, "Transfer-Encoding: chunked\r\n");
    } else if (has || verb == AW__POST || verb == AW__PUT ||
               verb == AW__PATCH) {
        aw__put_length(&x->out, n);
    }
    aw__put_text(&x->out, "\r\n");
    x->head_n = x->out.n;
}

static int aw__client_put_body(aw__exchange *x, const aw__client_ask *ask)
{
    const size_t n = ask->body_len || !ask->body ? ask->body_len
                                                 : strlen(ask->body);
    const aw__body_piece *u;
    int64_t all = 0;
    int rc = 0;
    if (ask->form) rc = aw__client_form(x, ask);
    if (rc < 0) return rc;
    if (!ask->form && ask->content_type) {
        if (!aw__is_value(ask->content_type))
            return aw__client_bad(x, "a content_type that cannot be sent");
        if (!aw__fields_have(ask->headers, "Content-Type"))
            aw__put_line(&x->out, "Content-Type", ask->content_type,
                         strlen(ask->content_type));
    }
    for (u = x->upload; u; u = u->next) all += u->n;
    x->send_left = (int64_t)n;
    aw__client_frame(x, ask->form || ask->body || x->send, ask->form ? all : (int64_t)n);
    if (!ask->body) return 0;
    if (n <= AW__CLIENT_COPY) aw__buf_add(&x->out, ask->body, n);
    else if (!aw__body_add(x, ask->body, (int64_t)n, -1)) return AW_ENOMEM;
    return 0;
}

static const char *aw__client_method(const aw__client_ask *ask)
{
    if (ask->method) return ask->method;
    return ask->body || ask->form || ask->send ? "POST" : "GET";
}

/* What is wrong with the arguments, NULL: nothing. */
static const char *aw__client_wrong(const aw__client_ask *ask, int verb)
{
    const char *method = aw__client_method(ask);
    const aw_form_field *f;
    if (!aw__is_token(method, strlen(method)) || verb == AW__CONNECT)
        return "not a method that can be fetched with";
    if (ask->body_len && !ask->body && !ask->send)
        return "a body_len without a body";
    if (!!ask->body + !!ask->form + ask->send > 1)
        return "more than one of .body, .form and .send";
    if (ask->body_len > (ask->send ? (uint64_t)INT64_MAX : INT_MAX))
        return "a body of more than 2 GiB goes with .send";
    if (ask->form && ask->content_type)
        return "a form has a type of its own";
    for (f = ask->form; f && f->name; f++)
        if (f->size && !f->value && !f->path)
            return "a form's field with a size and no value";
    if (ask->basic && !aw__basic_fits(ask->basic))
        return "basic is user:password";
    if (ask->bearer && !aw__is_value(ask->bearer))
        return "a bearer token that cannot be sent";
    if ((ask->stream || ask->send) && !ask->out)
        return ".stream and .send need a variable for the reply";
    return NULL;
}

static int aw__client_request(aw__exchange *x, const aw__client_ask *ask)
{
    const char *method = aw__client_method(ask), *wrong;
    int rc;
    x->verb = aw__http_verb(method, strlen(method));
    wrong = aw__client_wrong(ask, x->verb);
    if (wrong) return aw__client_bad(x, wrong);
    x->method = aw__arena_text(&x->reply->arena, method, strlen(method));
    if (!x->method) return AW_ENOMEM;
    aw__client_put_line(x, &x->out);
    rc = aw__client_put_fields(x, ask);
    if (rc == 0) rc = aw__client_put_body(x, ask);
    if (rc < 0) return rc;
    return x->out.failed ? AW_ENOMEM : 0;
}

/* The row of the table for this request, or NULL. */
static const aw_mock *aw__mock_find(const aw__exchange *x)
{
    const aw_mock *m = x->loop->mocks;
    const char *url = x->reply->face.url;
    size_t n = strcspn(url, "?");
    for (; m->url; m++) {
        bool same = strcmp(m->url, url) == 0 ||
            (strlen(m->url) == n && memcmp(m->url, url, n) == 0);
        if (same && (!m->method || strcmp(m->method, x->method) == 0))
            return m;
    }
    return NULL;
}

/* How https is to be spoken: as the fetch says, else as the client does. That
   nothing is verified is said of each request. */
static int aw__client_secure(aw__exchange *x, const aw_tls *tls)
{
    const char *url = x->reply->face.url;
    int rc = 0;
    if (!x->secure) {
        rc = aw__secure_of(x->loop, tls, &x->secure);
        x->insecure = tls && tls->insecure;
    }
    if (rc == AW_ENOTLS) aw__client_log(x->loop, url, aw_strerror(rc));
    if (rc == 0 && x->insecure)
        aw__client_log(x->loop, url, "TLS: .insecure: the certificate is not "
                       "verified");
    return rc;
}

/* Where the request goes, for this URL: x->url and its text is set. */
static int aw__client_target(aw__exchange *x, const char *url)
{
    aw_client *client = x->client;
    aw_loop *l = x->loop;
    int rc = 0;
    x->reply->face.url = url;
    if (aw__url_parse(url, &x->url) < 0 || (x->url.ws && !x->upgrade)) {
        aw__client_log(l, url, "not a URL this client can fetch; it takes "
                       "http[s]://host[:port]/path, other bytes as %XX");
        return AW_EURL;
    }
    x->mocked = l->mocks != NULL;
    if (x->mocked) return 0;
    if (x->url.tls) rc = aw__client_secure(x, client->config.tls);
    if (rc < 0) return rc;
    x->via = aw__client_via(client, &x->url);
    x->proxied = x->via && !x->url.tls && !x->upgrade;  /* RFC 6455 4.1 */
    x->wait.origin = x->proxied
        ? aw__origin_get(client, x->via->url.host, x->via->url.port, NULL)
        : aw__origin_get(client, x->url.host, x->url.port,
                         x->url.tls ? x->secure : NULL);
    return x->wait.origin ? 0 : AW_ENOMEM;
}

/* Reads and copies all that the caller passed. 0, or what is wrong with it. */
static int aw__client_prepare(aw__exchange *x, const aw__client_ask *ask)
{
    const aw_client_config *c = &x->client->config;
    const char *url = ask->url ? ask->url : "";
    int rc;
    if (x->client->error) return x->client->error;
    x->timeout_ms = ask->timeout_ms ? ask->timeout_ms : c->timeout_ms;
    x->max_body = ask->max_body ? ask->max_body : c->max_body;
    x->redirects = ask->max_redirects ? ask->max_redirects : c->max_redirects;
    x->stream = ask->stream;
    x->send = ask->send;
    url = aw__url_behind(&x->reply->arena, *url == '/' ? c->base_url : NULL,
                         url);
    if (!url) return AW_ENOMEM;
    x->insecure = ask->tls && ask->tls->insecure;
    rc = ask->tls ? aw__secure_of(x->loop, ask->tls, &x->secure) : 0;
    if (rc == AW_ENOTLS) rc = 0;        /* that is said where it matters */
    if (rc == 0) rc = aw__client_target(x, url);
    if (rc == 0) rc = aw__client_request(x, ask);
    if (rc == 0 && x->mocked) x->mock = aw__mock_find(x);
    return rc;
}

#endif

/* >>floor5 client  HTTP/1.1 client (RFC 9112) ------------------------------ */

#ifndef ASYNCWEB_NO_CLIENT

/* Makes room for the next read; *n is how much. NULL: out of memory. */
static char *aw__client_room(aw__exchange *x, size_t *n)
{
    aw__buf *b = &x->reply->body;
    *n = AW__CLIENT_READ;
    if (x->state == AW__CLIENT_LENGTH) {        /* the room is there */
        *n = x->left < INT_MAX ? (size_t)x->left : INT_MAX;
        return b->p + b->n;
    }
    if (x->state == AW__CLIENT_CLOSE) return aw__buf_room(b, *n + 1);
    if (x->state == AW__CLIENT_HEAD) *n = 4096 - AW__HEAD_SLACK;
    return aw__buf_room(&x->in, *n + AW__HEAD_SLACK);
}

/* A body whose length is known gets its room once; the NUL included. */
static int aw__client_reserve(aw__exchange *x)
{
    aw__buf *b = &x->reply->body;
    if (x->left > x->max_body || x->left >= SIZE_MAX) return AW_ETOOBIG;
    b->p = (char *)aw__mem_get(b->mem, (size_t)x->left + 1);
    if (!b->p) return AW_ENOMEM;
    b->cap = (size_t)x->left + 1;
    return 0;
}

static int aw__client_add(aw__exchange *x, const char *p, size_t n)
{
    aw__buf *b = &x->reply->body;
    if (!n) return 0;
    if (n > x->max_body - b->n) return AW_ETOOBIG;
    aw__buf_add(b, p, n);
    return b->failed ? AW_ENOMEM : 0;
}

/* Drops the first n bytes of `in`. */
static void aw__client_drop(aw__exchange *x, size_t n)
{
    x->in.n -= n;
    memmove(x->in.p, x->in.p + n, x->in.n);
    x->seen = 0;
}

/* A final head is there: what body follows (RFC 9112 6.3). */
static int aw__client_body(aw__exchange *x)
{
    const aw__head *h = &x->head;
    if (!h->keep_alive) x->keep = false;
    if (h->status == 101) {             /* another protocol follows */
        x->state = AW__CLIENT_CLOSE;
        return 0;
    }
    if (x->verb == AW__HEAD || h->status == 204 || h->status == 304 ||
        (h->content_length == 0 && !h->chunked)) {
        x->state = AW__CLIENT_DONE;
    } else if (h->chunked) {
        x->state = AW__CLIENT_CHUNKED;
    } else if (h->content_length > 0) {
        x->state = AW__CLIENT_LENGTH;
        x->left = (uint64_t)h->content_length;
        return x->stream ? 0 : aw__client_reserve(x);
    } else {
        x->state = AW__CLIENT_CLOSE;
        x->keep = false;
    }
    return 0;
}

/* 0: the final head is done with. AW_EAGAIN, or an error. */
static int aw__client_feed_head(aw__exchange *x)
{
    aw__field fields[AW__CLIENT_FIELDS];
    aw__head *h = &x->head;
    int rc;
    for (;;) {
        if (!x->in.n) return AW_EAGAIN;
        memset(x->in.p + x->in.n, 0, AW__HEAD_SLACK);
        h->fields = fields;
        h->max_fields = AW__CLIENT_FIELDS;
        rc = aw__http_response_head(x->in.p, x->in.n, x->seen,
                                    AW__CLIENT_MAX_HEAD, h);
        if (rc == AW_EAGAIN) x->seen = x->in.n;
        if (rc < 0) return rc;
        if (h->status >= 200 || (h->status == 101 && x->upgrade)) break;
        /* RFC 9110 15.2: any number may come first, but not without end; and
           101 (15.2.2) would answer an Upgrade. */
        if (h->status == 101 || ++x->interim > AW__CLIENT_INTERIM)
            return AW_EBADMSG;
        aw__client_drop(x, (size_t)rc);
    }
    if (h->status > 599) return AW_EBADMSG;
    if (aw__reply_head(x->reply, x->in.p, (size_t)rc, h) < 0) return AW_ENOMEM;
    aw__client_drop(x, (size_t)rc);
    return aw__client_body(x);
}

static int aw__client_feed_chunks(aw__exchange *x)
{
    aw_slice in = aw__slice(x->in.p, x->in.n), data;
    int rc;
    while ((rc = aw__chunked_next(&x->chunked, &in, &data)) == AW_OK) {
        rc = aw__client_add(x, data.p, data.n);
        if (rc < 0) return rc;
    }
    aw__client_drop(x, x->in.n - in.n);
    if (rc == 1) x->state = AW__CLIENT_DONE;
    return rc == 1 ? 0 : rc;
}

/* Takes bytes that came with the head into a body that is read directly. */
static int aw__client_feed_rest(aw__exchange *x)
{
    size_t n = x->in.n;
    int rc;
    if (x->state == AW__CLIENT_LENGTH && n > x->left) n = (size_t)x->left;
    rc = aw__client_add(x, x->in.p, n);
    if (rc < 0) return rc;
    aw__client_drop(x, n);
    if (x->state == AW__CLIENT_LENGTH && (x->left -= n) == 0)
        x->state = AW__CLIENT_DONE;
    return 0;
}

/* Works on what has come. 1: the answer is complete, or as complete as it was
   asked for. AW_EAGAIN: more. */
static int aw__client_feed(aw__exchange *x)
{
    int rc = 0;
    if (x->state == AW__CLIENT_HEAD) rc = aw__client_feed_head(x);
    if (rc == 0 && x->stream) return 1;
    if (rc == 0 && x->state == AW__CLIENT_CHUNKED)
        rc = aw__client_feed_chunks(x);
    else if (rc == 0 && x->in.n && x->state != AW__CLIENT_DONE)
        rc = aw__client_feed_rest(x);
    if (rc == 0 && x->state == AW__CLIENT_DONE) rc = aw__reply_close(x->reply);
    if (rc == 0) rc = x->state == AW__CLIENT_DONE ? 1 : AW_EAGAIN;
    return rc;
}

/* The peer has ended the connection. Only a body without a length of its own
   may end so; to take part of another for the whole is a cut-off attack
   (RFC 9112 8). */
static int aw__client_eof(aw__exchange *x)
{
    if (x->state != AW__CLIENT_CLOSE) return AW_EEOF;
    x->state = AW__CLIENT_DONE;
    return aw__client_feed(x);
}

/* n > 0 bytes came where aw__client_room said. As aw__client_feed. */
static int aw__client_got(aw__exchange *x, size_t n)
{
    x->arrived = true;
    if (x->state == AW__CLIENT_HEAD || x->state == AW__CLIENT_CHUNKED) {
        x->in.n += n;
        return aw__client_feed(x);
    }
    x->reply->body.n += n;
    if (x->state == AW__CLIENT_LENGTH && (x->left -= n) == 0)
        x->state = AW__CLIENT_DONE;
    if (x->reply->body.n > x->max_body) return AW_ETOOBIG;
    return aw__client_feed(x);
}

/* What has come of the body, up to n bytes of it. 0: its end; AW_EAGAIN. */
static ptrdiff_t aw__client_take(aw__exchange *x, char *to, size_t n)
{
    aw_slice in = aw__slice(x->in.p, 0), data = in;
    int rc = AW_EAGAIN;
    if (x->state == AW__CLIENT_DONE) return 0;
    while (rc == AW_EAGAIN && !data.n && x->at < x->in.n) {
        /* Who is given no more than n bytes finds no more than n in them. */
        in.p = x->in.p + x->at;
        in.n = x->in.n - x->at < n ? x->in.n - x->at : n;
        if (x->state == AW__CLIENT_LENGTH && in.n > x->left)
            in.n = (size_t)x->left;
        if (x->state == AW__CLIENT_CHUNKED)
            rc = aw__chunked_next(&x->chunked, &in, &data);
        else
            data = in, in.p += in.n;
        x->at = (size_t)(in.p - x->in.p);
        if (rc == 1) x->state = AW__CLIENT_DONE;
        if (rc < 0 && rc != AW_EAGAIN) return rc;
    }
    n = data.n;
    if (n) memcpy(to, data.p, n);
    if (x->state == AW__CLIENT_LENGTH && (x->left -= n) == 0)
        x->state = AW__CLIENT_DONE;
    if (x->at == x->in.n) x->at = x->in.n = 0;
    if (n || x->state == AW__CLIENT_DONE) return (ptrdiff_t)n;
    return AW_EAGAIN;
}

/* ---- the exchange ---- */

/* The answer is complete. Bytes behind it belong to nothing we asked. */
static void aw__client_settle(aw__exchange *x)
{
    const bool clean = x->at == x->in.n && !x->uploading;
    if (x->state == AW__CLIENT_DONE)
        aw__exchange_release(x, x->keep && clean);
}

static bool aw__client_hung_up(int rc)
{
    return rc == AW_EEOF || rc == AW_ECONNRESET || rc == AW_ECLOSED;
}

/* Sends a piece that is a file's. In the turn in which one has gone the answer
   may have come, too, and the connection with it. */
AW_ASYNC(aw__client_send_file, (aw__exchange *x; const aw__body_piece *u;),
         int64_t at; size_t n; char bytes[16384];)
{
    const aw__body_piece *const u = self->u;
    AW_BEGIN {
        for (; self->at < u->n && self->x->conn;
             self->at += (int64_t)self->n) {
            int rc;
            self->n = sizeof self->bytes;
            if (u->n - self->at < (int64_t)self->n)
                self->n = (size_t)(u->n - self->at);
            rc = aw__body_read(u->fd, self->bytes, self->n, self->at);
            if (rc < 0) AW_RETURN(rc);
            AW_AWAIT(aw_write, self->x->conn->stream, self->bytes, self->n);
        }
    }
}

/* Sends a large body while the answer is being read: a peer may answer, and
   even close, before it has taken all of it. What it said then counts. */
AW_ASYNC(aw__client_upload, (aw__exchange *x;), const aw__body_piece *u; int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        for (self->u = x->upload; self->u && x->conn && self->rc >= 0;
             self->u = self->u->next) {
            if (self->u->fd >= 0)
                AW_AWAIT_TO(self->rc, aw__client_send_file, x, self->u);
            else
                AW_AWAIT_TO(self->rc, aw_write, x->conn->stream, self->u->p,
                            (size_t)self->u->n);
        }
        x->uploading = false;
        if (self->rc < 0) x->keep = false;
        AW_RETURN(aw__client_hung_up(self->rc) ? 0 : self->rc);
    }
}

/* The answer on x->conn, or with .stream its head: 1. */
AW_ASYNC(aw__client_answer, (aw__exchange *x;), int rc; size_t n; char *room;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        self->rc = AW_EAGAIN;
        while (self->rc == AW_EAGAIN) {
            self->room = aw__client_room(x, &self->n);
            if (!self->room) AW_RETURN(AW_ENOMEM);
            AW_AWAIT_TO(self->rc, aw_read, x->conn->stream, self->room,
                        self->n);
            if (x->ended) AW_RETURN(AW_ECLOSED);
            if (self->rc < 0) AW_RETURN(self->rc);
            self->rc = self->rc > 0 ? aw__client_got(x, (size_t)self->rc)
                : aw__client_eof(x);
        }
        AW_RETURN(self->rc);
    }
}

/* One request and its answer on x->conn: 1. With .send, only its head: 0. */
AW_ASYNC(aw__client_turn, (aw__exchange *x;), int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        x->keep = !x->single;
        AW_AWAIT_TO(self->rc, aw_write, x->conn->stream, x->out.p, x->out.n);
        if (self->rc < 0 && (x->send || !aw__client_hung_up(self->rc)))
            AW_RETURN(self->rc);
        if (self->rc < 0) x->keep = false;
        x->sending = x->send;
        if (x->send) AW_RETURN(0);
        x->uploading = self->rc >= 0 && x->upload;
        if (x->uploading) AW_START(aw__client_upload, x);
        AW_AWAIT_TO(self->rc, aw__client_answer, x);
        /* The body of an answer that is read later may rest on all of this. */
        if (self->rc > 0 && x->uploading && x->reply->face.status < 300 &&
            x->state != AW__CLIENT_DONE) AW_GATHER();
        if (self->rc > 0) aw__client_settle(x);
        AW_RETURN(self->rc);
    }
}

/* A UNIX socket connects at once, or its listener's queue is full. */
AW_ASYNC(aw__client_unix, (aw__exchange *x;), int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        for (;;) {
            self->rc = aw__stream_unix(x->loop, x->client->config.unix_socket,
                                       &x->conn->stream);
            if (self->rc != AW_EAGAIN) AW_RETURN(self->rc);
            AW_AWAIT(aw_sleep_ms, 10);
        }
    }
}

/* Asks the proxy for a tunnel to the origin (RFC 9110 9.3.6). */
static size_t aw__tunnel_ask(aw__exchange *x, aw__buf *b)
{
    const aw_slice host = x->url.host;
    const bool six = memchr(host.p, ':', host.n) != NULL;
    char to[AW__HOST_MAX + 10];
    aw__print(to, sizeof to, six ? "[%.*s]:%d" : "%.*s:%d", (int)host.n, host.p,
              (int)x->url.port);
    b->n = 0;
    aw__put_text(b, "CONNECT ");
    aw__put_text(b, to);
    aw__put_text(b, " HTTP/1.1\r\n");
    aw__put_line(b, "Host", to, strlen(to));
    if (x->via->user.p)
        aw__put_basic(b, "Proxy-Authorization", x->via->user.p,
                      x->via->user.n);
    aw__put_text(b, "\r\n");
    return b->failed ? 0 : b->n;
}

/* Its answer, up to its empty line: 0, or what is wrong with it; AW_EAGAIN: it
   is not the final one. Only a 2xx makes a tunnel. The origin is silent until
   TLS is spoken to it: what stands behind the head already is not its word, and
   would be read as if it were. */
static int aw__tunnel_answer(aw__exchange *x, size_t n)
{
    char text[60];
    aw__field fields[AW__CLIENT_FIELDS];
    aw__head h;
    int rc;
    memset(&h, 0, sizeof h);
    memset(x->in.p + n, 0, AW__HEAD_SLACK);
    h.fields = fields;
    h.max_fields = AW__CLIENT_FIELDS;
    rc = aw__http_response_head(x->in.p, n, 0, AW__CLIENT_MAX_HEAD, &h);
    if (rc < 0) return AW_EBADMSG;
    if (h.status < 200 && h.status != 101)
        return ++x->interim > AW__CLIENT_INTERIM ? AW_EBADMSG : AW_EAGAIN;
    x->interim = 0;
    if (h.status >= 200 && h.status < 300)
        return x->conn->stream->ahead ? AW_EBADMSG : 0;
    aw__print(text, sizeof text, "the proxy refuses a tunnel with %d",
              h.status);
    aw__client_log(x->loop, x->reply->face.url, text);
    return AW_ECONNREFUSED;
}

AW_ASYNC(aw__client_tunnel, (aw__exchange *x;), aw__buf ask; int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        self->ask.mem = &x->loop->mem;
        AW_AWAIT(aw_connect, &x->conn->stream, x->via->url.host.p,
                 x->via->url.port);
        if (!aw__tunnel_ask(x, &self->ask) ||
            !aw__buf_room(&x->in, 8192 + AW__HEAD_SLACK)) AW_RETURN(AW_ENOMEM);
        AW_AWAIT(aw_write, x->conn->stream, self->ask.p, self->ask.n);
        do {
            AW_AWAIT_TO(self->rc, aw_read_until, x->conn->stream, x->in.p, 8192,
                        "\r\n\r\n");
            if (self->rc == AW_ETOOBIG) self->rc = AW_EBADMSG;
            if (self->rc > 0) self->rc = aw__tunnel_answer(x, (size_t)self->rc);
        } while (self->rc == AW_EAGAIN);
        AW_RETURN(self->rc);
    } AW_FINALLY {
        aw__buf_free(&self->ask);
    }
}

/* A new connection to the origin, by the way that leads there. */
AW_ASYNC(aw__client_dial, (aw__exchange *x;))
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        if (x->client->config.unix_socket)
            AW_AWAIT(aw__client_unix, x);
        else if (x->via && !x->proxied)
            AW_AWAIT(aw__client_tunnel, x);
        else
            AW_AWAIT(aw_connect, &x->conn->stream, x->conn->origin->host,
                     x->conn->origin->port);
#ifdef ASYNCWEB_BEARSSL
        if (x->conn->origin->secure)
            AW_AWAIT(aw__greet, x->conn->stream, x->conn->origin->secure,
                     x->conn->origin->host, x->conn->origin->port);
#endif
    }
}

/* Makes x->conn a connection: 1, it has served before; 0, it is new. */
AW_ASYNC(aw__client_connect, (aw__exchange *x;), int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        if (!x->conn) AW_AWAIT(aw__pool_get, x->client, &x->wait);
        if (x->conn->stream && aw__client_quiet(x->conn->stream))
            AW_RETURN(1);
        aw__conn_hang_up(x->conn);
        AW_AWAIT_FOR_TO(x->client->config.connect_timeout_ms, self->rc,
                        aw__client_dial, x);
        AW_RETURN(self->rc == AW_EDEADLINE ? AW_ETIMEDOUT : self->rc);
    }
}

/* RFC 9112 9.3.1: only what is safe to do twice (RFC 9110 9.2.2), and only when
   the peer may have closed the connection before it saw the request. */
static bool aw__client_again(const aw__exchange *x, int rc)
{
    return aw__client_hung_up(rc) && !x->arrived && x->verb != AW__POST &&
        x->verb != AW__PATCH && x->verb != AW__OTHER;
}

AW_ASYNC(aw__client_once, (aw__exchange *x;), int rc; int pooled;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        do {
            AW_AWAIT_TO(self->pooled, aw__client_connect, x);
            if (self->pooled < 0) AW_RETURN(self->pooled);
            AW_AWAIT_TO(self->rc, aw__client_turn, x);
            if (self->rc < 0) aw__conn_hang_up(x->conn);
        } while (self->pooled && aw__client_again(x, self->rc));
        AW_RETURN(self->rc);
    }
}

static void aw__client_cookies(aw__exchange *x)
{
    if (x->client->config.cookies)
        aw__jar_take(&x->client->jar, &x->url, x->reply->face.headers);
}

/* ---- redirects (RFC 9110 15.4) ---- */

static bool aw__client_drops(aw_slice name, bool get, bool cross, bool jar)
{
    static const char *const mine[] = {"host", "proxy-authorization"};
    static const char *const secret[] = {"authorization", "cookie"};
    static const char *const body[] = {"content-", "transfer-encoding"};
    size_t i;
    for (i = 0; i < 2; i++) {
        aw_slice start = aw__slice(name.p, strlen(body[i]));
        if (aw__slice_ieq(name, mine[i])) return true;
        if (jar && aw__slice_ieq(name, "cookie")) return true;
        if (cross && aw__slice_ieq(name, secret[i])) return true;
        if (get && start.n <= name.n && aw__slice_ieq(start, body[i]))
            return true;
    }
    return false;
}

/* The same request for another URL: as GET without a body, or as it was; to
   another origin without what is secret. */
static int aw__client_rewrite(aw__exchange *x, bool get, bool cross)
{
    const bool jar = x->client->config.cookies && (!x->baked || cross);
    const char *p = (const char *)memchr(x->out.p, '\n', x->head_n) + 1;
    const char *end = x->out.p + x->head_n - 2, *next;
    aw__buf to;
    memset(&to, 0, sizeof to);
    to.mem = x->out.mem;
    if (get) x->method = "GET", x->verb = AW__GET;
    aw__client_put_line(x, &to);
    if (cross) x->baked = false;
    if (jar) aw__jar_give(&x->client->jar, &x->url, &to);
    aw__put_line(&to, "Host", x->url.authority.p, x->url.authority.n);
    for (; p < end; p = next) {
        const char *colon = (const char *)memchr(p, ':', (size_t)(end - p));
        next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
        if (!aw__client_drops(aw__slice(p, (size_t)(colon - p)), get, cross,
                              jar))
            aw__buf_add(&to, p, (size_t)(next - p));
    }
    aw__buf_add(&to, "\r\n", 2);
    if (!get) aw__buf_add(&to, p + 2, x->out.n - x->head_n);
    x->head_n = to.n - (get ? 0 : x->out.n - x->head_n);
    aw__buf_free(&x->out);
    x->out = to;
    if (get) aw__body_drop(x);
    return to.failed ? AW_ENOMEM : 0;
}

/* The answer is forgotten, and its connection given back. */
static void aw__client_forget(aw__exchange *x)
{
    aw__exchange_release(x, false);
    aw__buf_free(&x->reply->body);
    x->reply->body.mem = &x->loop->mem;
    x->reply->face.body = "";
    x->reply->face.body_len = 0;
    x->reply->face.status = 0;
    memset(&x->chunked, 0, sizeof x->chunked);
    x->in.n = x->at = x->seen = 0;
    x->state = AW__CLIENT_HEAD;
    x->interim = 0;
    x->arrived = false;
}

/* Where the answer sends us. NULL: nowhere, or that we do not go. *rc */
static const char *aw__client_location(aw__exchange *x, aw__url *url, int *rc)
{
    const int status = x->reply->face.status;
    const char *to = aw_response_header(&x->reply->face, "Location");
    const char *mark = strchr(x->reply->face.url, '#');
    *rc = 0;
    if (!to || x->redirects <= 0 || x->send) return NULL;
    if ((status < 301 || status > 303) && status != 307 && status != 308)
        return NULL;
    to = aw__url_join(&x->reply->arena, x->reply->face.url, to);
    if (!to) *rc = AW_ENOMEM;
    if (!to || aw__url_parse(to, url) < 0 || url->ws) return NULL;
    if (x->url.tls && !url->tls) {
        aw__client_log(x->loop, to, "a redirect from https to http is not "
                       "followed");
        return NULL;
    }
    /* RFC 9110 10.2.2: one without a fragment leads to ours. */
    if (mark && !strchr(to, '#'))
        to = aw__url_join(&x->reply->arena, to, mark);
    if (!to) *rc = AW_ENOMEM;
    return to;
}

/* 1: there is another request to be made. 0: the answer is the answer. */
static int aw__client_redirect(aw__exchange *x)
{
    const int status = x->reply->face.status;
    aw__url url;
    int rc;
    const char *to = aw__client_location(x, &url, &rc);
    const bool get = status == 303 ? x->verb != AW__HEAD
        : status < 303 && x->verb == AW__POST;
    bool cross;
    if (!to) return rc;
    cross = !aw__url_same_origin(&url, &x->url);
    x->redirects--;
    aw__client_forget(x);
    rc = aw__client_target(x, to);
    if (rc == 0) rc = aw__client_rewrite(x, get, cross);
    if (rc == 0 && x->mocked) x->mock = aw__mock_find(x);
    return rc < 0 ? rc : 1;
}

/* ---- pretended upstreams ---- */

void aw_loop_mock(aw_loop *l, const aw_mock *mocks)
{
    l->mocks = mocks;
}

/* Copies a list of fields into the reply. */
static int aw__mock_headers(aw__reply *r, const aw_header_field *from)
{
    aw_header_field *to;
    size_t i, n = 0;
    while (from && from[n].name) n++;
    to = (aw_header_field *)aw__arena_get(&r->arena, (n + 1) * sizeof *to);
    if (!to) return AW_ENOMEM;
    for (i = 0; i < n; i++) {
        const char *value = from[i].value ? from[i].value : "";
        to[i].name = aw__arena_text(&r->arena, from[i].name,
                                    strlen(from[i].name));
        to[i].value = aw__arena_text(&r->arena, value, strlen(value));
        if (!to[i].name || !to[i].value) return AW_ENOMEM;
    }
    to[n].name = to[n].value = NULL;
    r->face.headers = to;
    return 0;
}

static int aw__mock_reply(aw__exchange *x)
{
    const aw_mock *m = x->mock;
    const char *body = m->body && x->verb != AW__HEAD ? m->body : "";
    int rc;
    if (m->error < 0) return m->error;
    x->reply->face.status = m->status ? m->status : 200;
    rc = aw__mock_headers(x->reply, m->headers);
    if (rc == 0 && x->stream) {
        x->left = strlen(body);
        x->state = x->left ? AW__CLIENT_LENGTH : AW__CLIENT_DONE;
        aw__buf_add(&x->in, body, strlen(body));
        return x->in.failed ? AW_ENOMEM : 0;
    }
    if (rc == 0) rc = aw__client_add(x, body, strlen(body));
    return rc < 0 ? rc : aw__reply_close(x->reply);
}

AW_ASYNC(aw__mock_fetch, (aw__exchange *x;))
{
    AW_BEGIN {
        self->x->sending = self->x->send;
        if (self->x->send) AW_RETURN(0);
        if (!self->x->mock) {
            aw__client_log(aw_t->loop, self->x->reply->face.url,
                           "not in the table of mocks");
            AW_RETURN(AW_ECONNREFUSED);
        }
        AW_AWAIT(aw_sleep_ms, self->x->mock->delay_ms);
        AW_RETURN(aw__mock_reply(self->x));
    }
}

/* ---- aw_get, aw_fetch ---- */

AW_ASYNC(aw__client_fetch, (aw__exchange *x;), int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        do {
            if (x->mocked) AW_AWAIT_TO(self->rc, aw__mock_fetch, x);
            else AW_AWAIT_TO(self->rc, aw__client_once, x);
            if (self->rc < 0 || x->sending) AW_RETURN(self->rc);
            aw__client_cookies(x);
            self->rc = aw__client_redirect(x);
        } while (self->rc > 0);
        AW_RETURN(self->rc);
    }
}

/* How the frames of both begin. The exchange hangs on the frame's defer. */
typedef struct aw__fetch_frame {
    aw_frame aw;
    aw_response **out;
} aw__fetch_frame;

/* The peer's time-out, unless it is the clean-up that has no time left. */
static int aw__fetch_error(const aw__ctx *t, int rc)
{
    return rc == AW_EDEADLINE && !(t->flags & AW__NO_GRACE) ? AW_ETIMEDOUT
                                                            : rc;
}

/* The reply is the caller's. Where there is more to come, the exchange goes
   with it. */
static aw__reply *aw__fetch_reply(aw_frame *f, aw__exchange *x)
{
    aw__reply *r = x->reply;
    if (x->sending || x->stream) {
        r->live = x;
        f->defer = NULL;
    } else {
        aw__body_drop(x);               /* its pieces lie in the reply */
        x->reply = NULL;
    }
    return r;
}

static aw_use_RETURN_not_return aw__fetch_run(aw__ctx *aw_t, aw_frame *f)
{
    aw__fetch_frame *self = (aw__fetch_frame *)f;
    aw__exchange *x = (aw__exchange *)f->defer_arg;
    aw__reply *reply = NULL;
    AW_BEGIN {
        if (!x) AW_RETURN(AW_ENOMEM);
        if (x->error < 0) AW_RETURN(x->error);
        AW_AWAIT_FOR_TO(x->timeout_ms, x->rc, aw__client_fetch, x);
        if (x->rc < 0) AW_RETURN(aw__fetch_error(aw_t, x->rc));
        AW_RETURN(x->reply->face.status);
    } AW_FINALLY {
        if (AW_OUTCOME() >= 0) reply = aw__fetch_reply(f, x);
        aw__reply_deliver((aw__task *)aw_t, self->out, reply);
    }
}

/* Copies what the arguments point to, and drops the pointers: what they point
   to may be gone when the frame first runs. */
static void aw__fetch_enter(aw__ctx *ctx, aw_frame *f,
                            const aw__client_ask *ask)
{
    aw_loop *l = ctx->loop;
    aw__exchange *x = aw__exchange_new(ask->client ? ask->client
                                                   : aw__client_of(l));
    f->defer = x ? aw__exchange_free : NULL;
    f->defer_arg = x;
    l->replies_free = aw__replies_free;
    if (x) x->error = x->loop == l ? aw__client_prepare(x, ask) : AW_EINVAL;
    memset((aw__fetch_frame *)f + 1, 0,
           f->fn->size - sizeof(aw__fetch_frame));
}

static void aw__get_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__client_ask ask;
    memset((void *)&ask, 0, sizeof ask);
    ask.url = AW__LEAF_ARGS(aw_get, f + 1)->url;
    aw__fetch_enter(ctx, f, &ask);
}

static void aw__ask_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__fetch_enter(ctx, f, AW__LEAF_ARGS(aw_fetch, f + 1));
}

#define AW__FETCH_FN(name, enter) \
    AW__OBJECT const aw_fn aw_fn_##name = { \
        #name, "asyncweb.h", aw__fetch_run, NULL, \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_args_##name) - AW__ARGS_FROM), \
        "(aw_response **out;)", enter}

AW__FETCH_FN(aw_get, aw__get_enter);
AW__FETCH_FN(aw_fetch, aw__ask_enter);

/* ---- in pieces ---- */

/* One task at a time is at the exchange of a reply that has one. */
static int aw__exchange_enter(const aw_response *reply, aw__exchange **out)
{
    const aw__reply *r = (const aw__reply *)(const void *)reply;
    if (!r || !r->live) return AW_ECLOSED;
    if (r->live->users > 1) return AW_EBUSY;
    *out = r->live;
    (*out)->users++;
    return 0;
}

/* It is over, and the reply stays. */
static void aw__reply_settle(aw_response *reply)
{
    aw__reply *r = (aw__reply *)(void *)reply;
    aw__client_settle(r->live);
    aw__exchange_end(r->live);
    r->live = NULL;
}

/* Where the next read of the body goes: into the caller's buffer, unless there
   is more than the body in it. */
static char *aw__client_into(aw__exchange *x, void *buffer, size_t *n)
{
    if (x->state == AW__CLIENT_CHUNKED) {
        *n = AW__CLIENT_READ;
        return aw__buf_room(&x->in, *n);
    }
    if (x->state == AW__CLIENT_LENGTH && *n > x->left) *n = (size_t)x->left;
    return (char *)buffer;
}

/* A read of the body came back with rc: how many bytes of it lie in the
   caller's buffer, 0: its end, AW_EAGAIN: none yet, or an error. */
static int aw__client_came(aw__exchange *x, int rc)
{
    if (rc == 0) {
        if (x->state == AW__CLIENT_CLOSE) x->state = AW__CLIENT_DONE;
        return x->state == AW__CLIENT_DONE ? 0 : AW_EEOF;
    }
    if (rc > 0 && x->state == AW__CLIENT_CHUNKED) {
        x->in.n += (size_t)rc;
        return AW_EAGAIN;
    }
    if (rc > 0 && x->state == AW__CLIENT_LENGTH &&
        (x->left -= (size_t)rc) == 0) x->state = AW__CLIENT_DONE;
    return rc;
}

/* What was cut off or broken stays so. */
static void aw__client_fails(aw__exchange *x, int rc)
{
    if (rc != AW_EDEADLINE && rc != AW_ECANCELED) x->error = rc;
}

AW__AWAITABLE_DEFINE(aw_response_read,
                     (aw_response *reply; void *buffer; size_t size;),
                     aw__exchange *x; int rc; size_t n; char *to;)
{
    aw__exchange *x = self->x;
    AW_BEGIN {
        self->rc = aw__exchange_enter(self->reply, &self->x);
        if (self->rc < 0) AW_RETURN(self->rc);
        x = self->x;
        if (x->sending) AW_RETURN(AW_ECLOSED);
        if (!self->size || self->size > INT_MAX) AW_RETURN(AW_EINVAL);
        if (x->error) AW_RETURN(x->error);
        for (;;) {
            self->rc = (int)aw__client_take(x, (char *)self->buffer,
                                            self->size);
            if (self->rc != AW_EAGAIN) break;
            self->n = self->size;
            self->to = aw__client_into(x, self->buffer, &self->n);
            if (!self->to) AW_RETURN(AW_ENOMEM);
            AW_AWAIT_FOR_TO(x->timeout_ms, self->rc, aw_read, x->conn->stream,
                            self->to, self->n);
            if (x->ended) AW_RETURN(AW_ECLOSED);
            self->rc = aw__client_came(x, self->rc);
            if (self->rc != AW_EAGAIN) break;
        }
        aw__client_settle(x);           /* others may have the connection */
        if (self->rc == 0) aw__reply_settle(self->reply);
        else if (self->rc < 0) aw__client_fails(x, self->rc);
        AW_RETURN(aw__fetch_error(aw_t, self->rc));
    } AW_FINALLY {
        aw__exchange_put(self->x);
    }
}

/* The line in front of a chunk ends the one before; size 0: the last one. */
static int aw__client_chunk_line(aw__exchange *x, char text[32], size_t size)
{
    const char *before = x->send_left ? "\r\n" : "";
    x->send_left = 1;
    return aw__print(text, 32, "%s%lx\r\n%s", before, (unsigned long)size,
                     size ? "" : "\r\n");
}

/* Writes a piece as it is. */
AW_ASYNC(aw__client_push, (aw__exchange *x; const void *data; size_t size;),
         int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        AW_AWAIT_FOR_TO(x->timeout_ms, self->rc, aw_write, x->conn->stream,
                        self->data, self->size);
        if (self->rc < 0) x->keep = false;
        AW_RETURN(aw__fetch_error(aw_t, self->rc));
    }
}

AW__AWAITABLE_DEFINE(aw_fetch_send,
                     (aw_response *reply; const void *data; size_t size;),
                     aw__exchange *x; int rc; char line[32];)
{
    aw__exchange *x = self->x;
    AW_BEGIN {
        self->rc = aw__exchange_enter(self->reply, &self->x);
        x = self->x;
        if (self->rc == AW_EBUSY) AW_RETURN(AW_EBUSY);
        if (self->rc < 0 || !x->sending || self->size > INT_MAX)
            AW_RETURN(AW_EINVAL);
        if (!x->send_chunks && (int64_t)self->size > x->send_left)
            AW_RETURN(AW_EINVAL);
        if (x->error || !self->size) AW_RETURN(x->error);
        if (!x->send_chunks) x->send_left -= (int64_t)self->size;
        if (x->mocked) AW_RETURN((int)self->size);
        /* A piece that is cut short is the last: what the connection would
           carry next is not what it seems. */
        x->error = AW_ECLOSED;
        if (x->send_chunks)
            AW_AWAIT(aw__client_push, x, self->line,
                     (size_t)aw__client_chunk_line(x, self->line, self->size));
        if (x->ended) AW_RETURN(AW_ECLOSED);
        AW_AWAIT(aw__client_push, x, self->data, self->size);
        x->error = 0;
        AW_RETURN((int)self->size);
    } AW_FINALLY {
        aw__exchange_put(self->x);
    }
}

/* What is left to be said of a body that is whole, then the answer. */
AW_ASYNC(aw__client_finish, (aw__exchange *x; bool whole;),
         char line[32]; int rc;)
{
    aw__exchange *const x = self->x;
    AW_BEGIN {
        if (x->mocked) {
            AW_AWAIT(aw__mock_fetch, x);
            AW_RETURN(0);
        }
        self->rc = self->whole ? 0 : AW_ECLOSED;
        if (self->whole && x->send_chunks)
            AW_AWAIT_TO(self->rc, aw__client_push, x, self->line,
                        (size_t)aw__client_chunk_line(x, self->line, 0));
        if (x->ended) AW_RETURN(AW_ECLOSED);
        if (self->rc < 0) {
            /* No more comes: then the peer need not wait for it, nor we. */
            x->keep = false;
            aw__io_shutdown(x->loop, x->conn->stream->fd);
        }
        AW_AWAIT_TO(self->rc, aw__client_answer, x);
        if (self->rc > 0) aw__client_settle(x);
        if (self->rc > 0) aw__client_cookies(x);
        AW_RETURN(self->rc);
    }
}

AW__AWAITABLE_DEFINE(aw_fetch_end, (aw_response *reply;),
                     aw__exchange *x; int rc;)
{
    aw__exchange *x = self->x;
    AW_BEGIN {
        self->rc = aw__exchange_enter(self->reply, &self->x);
        x = self->x;
        if (self->rc == AW_EBUSY) AW_RETURN(AW_EBUSY);
        if (self->rc < 0 || !x->sending) AW_RETURN(AW_EINVAL);
        x->sending = x->send = false;
        self->rc = x->error;
        x->error = AW_ECLOSED;          /* until there is something to read */
        if (!x->send_chunks && x->send_left && !self->rc) {
            aw__exchange_release(x, false);
            AW_RETURN(aw__client_bad(x, "less than body_len was sent"));
        }
        AW_AWAIT_FOR_TO(x->timeout_ms, self->rc, aw__client_finish, x,
                        self->rc == 0);
        if (x->ended) AW_RETURN(AW_ECLOSED);
        if (self->rc < 0) {
            aw__exchange_release(x, false);
            AW_RETURN(aw__fetch_error(aw_t, self->rc));
        }
        x->error = 0;
        self->rc = self->reply->status;
        if (!x->stream) aw__reply_settle(self->reply);
        AW_RETURN(self->rc);
    } AW_FINALLY {
        aw__exchange_put(self->x);
    }
}

#endif /* ASYNCWEB_NO_CLIENT */

/* >>floor5 request  What a view sees of a request -------------------------- */

/* What a route captured: raw pieces of the canonical path. */
enum { AW__PARAMS_MAX = 8 };
typedef struct aw__param {
    const char *name;           /* in the route's pattern, up to '>' */
    uint16_t at, n;             /* in req->path */
} aw__param;

/* A header line of the answer, ready to be sent. */
typedef struct aw__out_header {
    struct aw__out_header *next;
    size_t name_len, n;
    char line[1];
} aw__out_header;

enum {
    AW__ANSWERED = 1, AW__SETTLED = 2, AW__JSON_READ = 4,
    AW__CHOSEN = 8,             /* its status, by aw_status */
    AW__SHOWN = 16              /* AFTER hooks see it, or have */
};

/* How fast the client is while we wait for it. */
typedef struct aw__pace {
    int64_t waited, since;      /* ms before, and since when again */
    int64_t bytes;
} aw__pace;

/* A task in aw_body_read, and in aw_send; records of the task's. */
typedef struct aw__body_op {
    aw__task *task;
    char *to;
    size_t size;
} aw__body_op;

typedef struct aw__send_op {
    aw__task *task;
    const char *data;
    size_t size, done;
    bool begun;                 /* its chunk's line is out */
    aw__pace pace;
} aw__send_op;

/* A body that is being received. */
typedef struct aw__receiving {
    int64_t left;               /* of a Content-Length body */
    int64_t got, limit;
    aw__chunked chunked;
    aw__buf buf;                /* all of it, when the view wants it whole */
    aw__pace pace;
    aw__body_op *reader;
    int error;                  /* what every further read gives */
    bool streamed, whole;
    bool drained;               /* nothing more is there before an event */
} aw__receiving;

/* An answer in pieces. */
enum { AW__CHUNKS = -1, AW__UNTIL_CLOSE = -2, AW__NO_BODY = -3 };
typedef struct aw__sse {
    aw__call_timer ping;        /* first */
    aw_req *req;
    int64_t last;               /* when an event was sent */
    aw__buf text;               /* of the event that is being sent */
} aw__sse;

typedef struct aw__sending {
    int64_t left;               /* of its length, or one of the above */
    int64_t sent;
    aw__send_op *writer;
    bool head_out, broken;
    bool fixed;                 /* no other answer in its place any more */
    struct aw__sse *sse;
} aw__sending;

/* A piece of an answer: memory that outlives it, or bytes of its file. */
typedef struct aw__piece {
    const char *p;              /* NULL: in the file */
    int64_t at, n;
} aw__piece;

/* An answer that is sent from where it lies: first the request has it, then
   the connection. */
typedef struct aw__pieces {
    int64_t total;
    size_t size;                /* of this block */
    int file;                   /* -1: none; is closed with it */
    int count, at;              /* the part being sent */
    bool copied;                /* read and sent: there is no sendfile() */
    aw__piece piece[1];
} aw__pieces;

struct aw_req {
    aw_loop *loop;
    struct aw__conn *conn;      /* NULL: the client has gone */
    struct aw_ws *ws;           /* of a WebSocket route */
    aw__task *task;             /* of an async view */
    const aw_route *route;
    const char *base;           /* the head's bytes: on loan, or settled */
    aw_slice path, query;       /* path: canonical */
    const char *body;
    size_t body_len, body_at;   /* aw_body_read has given out so much */
    aw__receiving *receiving;
    aw__sending *sending;       /* NULL: the answer is `out` */
    const char *type, *out;     /* the answer */
    size_t out_len;
    aw__pieces *pieces;         /* the answer is these instead */
    const char *message;        /* of aw_error */
    aw__out_header *headers, **headers_tail;
    const aw__forwarded *forwarded;     /* once it was read */
    struct aw__form *form;      /* its body as a form, once asked for */
    void *local;                /* of AW_LOCAL */
    size_t local_size;
    struct aw__reply *replies;  /* fetched in it */
    const struct aw_value *json;
    aw__arena arena;
    int64_t start;              /* for the access log */
    int32_t refs;
    int16_t status;             /* of the answer; 0 not known yet */
    int16_t fate;               /* floor 6's: a status instead of a view */
    uint8_t flags, params;
    bool proxied;               /* it came from a trusted proxy */
    bool secure;                /* over TLS */
    aw__param param[AW__PARAMS_MAX];
    aw__head head;
};

/* A request's struct and the first of its memory are one block. */
enum { AW__REQ_BYTES = 1024 };
AW__ASSERT(sizeof(aw_req) <= AW__REQ_BYTES / 2, a_request_leaves_room);

static void aw__req_room(aw_req *req)
{
    req->arena.at = (char *)(req + 1);
    req->arena.end = (char *)req + AW__REQ_BYTES;
}

/* Room for so many pieces and, behind them, for text of some. */
static aw__pieces *aw__pieces_new(aw_loop *l, int count, size_t text)
{
    size_t size = sizeof(aw__pieces) + (size_t)count * sizeof(aw__piece) + text;
    aw__pieces *pieces = (aw__pieces *)aw__mem_get(&l->mem, size);
    if (!pieces) return NULL;
    memset(pieces, 0, sizeof *pieces);
    pieces->size = size;
    pieces->file = -1;
    return pieces;
}

static void aw__pieces_free(aw_loop *l, aw__pieces **pieces)
{
    if (*pieces && (*pieces)->file >= 0) aw__sys_close((*pieces)->file);
    if (*pieces) aw__mem_put(&l->mem, *pieces, (*pieces)->size);
    *pieces = NULL;
}

static void aw__pieces_add(aw__pieces *pieces, const char *p, int64_t at,
                           int64_t n)
{
    aw__piece *piece = &pieces->piece[pieces->count++];
    piece->p = p;
    piece->at = at;
    piece->n = n;
    pieces->total += n;
}

/* Makes a block, perhaps a used one, a fresh request. */
static void aw__req_reset(aw_req *req, aw_loop *l)
{
    memset(req, 0, offsetof(aw_req, param));
    req->loop = l;
    req->refs = 1;
    req->arena.mem = &l->mem;
    req->headers_tail = &req->headers;
    req->body = "";
    aw__req_room(req);
}

void *aw_alloc(aw_req *req, size_t n)
{
    return aw__arena_get(&req->arena, n);
}

void *aw__new(aw_req *req, size_t n)
{
    void *p = aw_alloc(req, n);
    return p ? memset(p, 0, n) : NULL;
}

char *aw_strdup(aw_req *req, const char *text)
{
    return text ? aw__arena_text(&req->arena, text, strlen(text)) : NULL;
}

/* The head lies in a buffer that the next read overwrites: a request that
   lives on takes a copy. Strings handed out before are copies already.
   False: out of memory. */
static bool aw__req_settle(aw_req *req)
{
    aw__head *h = &req->head;
    size_t n = (size_t)h->target + h->target_len, i;
    size_t fields = h->count * sizeof *h->fields;
    aw__field *to;
    char *base;
    if (req->flags & AW__SETTLED) return true;
    for (i = 0; i < h->count; i++) {
        size_t end = (size_t)h->fields[i].value + h->fields[i].value_len;
        if (end > n) n = end;
    }
    to = (aw__field *)aw__arena_get(&req->arena, fields);
    base = aw__arena_text(&req->arena, req->base, n);
    if (!to || !base) return false;
    if (fields) memcpy(to, h->fields, fields);
    h->fields = to;
    if (req->path.p >= req->base && req->path.p <= req->base + n)
        req->path.p = base + (req->path.p - req->base);
    if (req->query.p >= req->base && req->query.p <= req->base + n)
        req->query.p = base + (req->query.p - req->base);
    req->base = base;
    req->flags |= AW__SETTLED;
    return true;
}

const char *aw_format(aw_req *req, const char *format, ...)
{
    va_list args;
    char *text;
    int n;
    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = n < 0 ? NULL : (char *)aw_alloc(req, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

/* Percent-encodes all but what is unreserved (RFC 3986 2.3), and `keep`. */
static char *aw__put_encoded(char *to, const char *text, char keep)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        const unsigned c = (unsigned char)*text;
        if (aw__http_is(*text, AW__C_HOST) || *text == keep) {
            *to++ = *text;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to = 0;
    return to;
}

const char *aw_url_encode(aw_req *req, const char *text)
{
    char *encoded = (char *)aw_alloc(req, 3 * strlen(text) + 1);
    if (encoded) (void)aw__put_encoded(encoded, text, 0);
    return encoded;
}

/* There is no head to be seen: it was bad, or there was no memory for it. */
static void aw__req_forget_head(aw_req *req)
{
    aw__head *h = &req->head;
    memset(h, 0, sizeof *h);
    h->verb = AW__GET;
    h->minor = 1;
    req->base = "";
    req->path = req->query = aw__slice("", 0);
    req->params = 0;
    req->flags |= AW__SETTLED;
}

static const char *aw__req_text(aw_req *req, const char *p, size_t n)
{
    return aw__arena_text(&req->arena, p, n);
}

const char *aw_method(aw_req *req)
{
    static const char *const names[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT",
        "TRACE"
    };
    const aw__head *h = &req->head;
    if (h->verb < AW__OTHER) return names[h->verb];
    return aw__req_text(req, req->base + h->method, h->method_len);
}

const char *aw_raw_target(aw_req *req)
{
    const aw__head *h = &req->head;
    return aw__req_text(req, req->base + h->target, h->target_len);
}

/* A decoded, NUL-terminated copy. In a path every escape is valid. */
static const char *aw__req_decode(aw_req *req, aw_slice s, bool form)
{
    char *p = aw__arena_text(&req->arena, s.p, s.n);
    size_t n;
    if (!p) return NULL;
    if (aw__url_decode(p, p, s.n, form, &n) < 0) n = s.n;
    p[n] = 0;
    return form && memchr(p, 0, n) ? NULL : p;
}

const char *aw_path(aw_req *req)
{
    return aw__req_decode(req, req->path, false);
}

const char *aw_query_string(aw_req *req)
{
    return aw__req_text(req, req->query.p, req->query.n);
}

static const aw__param *aw__req_param(aw_req *req, const char *name)
{
    size_t n = strlen(name);
    int i;
    for (i = 0; i < req->params; i++) {
        const aw__param *p = &req->param[i];
        if (strncmp(p->name, name, n) == 0 && p->name[n] == '>') return p;
    }
    if (req->loop->debug)
        aw__die("aw_param(req, \"%s\"): the route \"%s\" of view %s has no "
                "<%s>", name, req->route ? req->route->path : "",
                req->route && req->route->view ? req->route->view->name : "",
                name);
    return NULL;
}

const char *aw_param(aw_req *req, const char *name)
{
    const aw__param *p = aw__req_param(req, name);
    if (!p) return NULL;
    return aw__req_decode(req, aw__slice(req->path.p + p->at, p->n), false);
}

int64_t aw_param_int(aw_req *req, const char *name)
{
    const aw__param *p = aw__req_param(req, name);
    int64_t v = 0;
    if (p) (void)aw__text_int(req->path.p + p->at, p->n, &v);
    return v;
}

/* True when raw, once decoded, is `name`. */
static bool aw__pair_is(aw_slice raw, const char *name)
{
    const char *p = raw.p, *end = p + raw.n;
    for (; p < end && *name; name++) {
        int c = *p == '+' ? ' ' : aw__url_escape(p, end);
        p += c >= 0 && *p == '%' ? 3 : 1;
        if (c < 0) c = (unsigned char)p[-1];
        if (c != (unsigned char)*name) return false;
    }
    return p == end && !*name;
}

static const char *aw__pairs_find(aw_req *req, aw_slice in, const char *want)
{
    aw_slice name, value;
    size_t at = 0;
    while (aw__url_pair(in.p, in.n, &at, &name, &value))
        if (aw__pair_is(name, want)) return aw__req_decode(req, value, true);
    return NULL;
}

const char *aw_query(aw_req *req, const char *name)
{
    return aw__pairs_find(req, req->query, name);
}

const char *aw_query_or(aw_req *req, const char *name, const char *otherwise)
{
    const char *value = aw_query(req, name);
    return value ? value : otherwise;
}

int64_t aw_query_int(aw_req *req, const char *name, int64_t otherwise)
{
    const char *value = aw_query(req, name);
    int64_t v;
    return value && aw__text_int(value, strlen(value), &v) ? v : otherwise;
}

/* The field's index, first of its name; -1 none. */
static int aw__req_field(const aw_req *req, const char *name, int from)
{
    return aw__head_find(req->base, &req->head, name, (size_t)from);
}

static aw_slice aw__field_value(const aw_req *req, int i)
{
    return aw__head_value(req->base, &req->head, i);
}

const char *aw_header(aw_req *req, const char *name)
{
    int i = aw__req_field(req, name, 0), next;
    aw_slice v;
    char *text, *to;
    size_t n;
    if (i < 0) return NULL;
    v = aw__field_value(req, i);
    if (aw__req_field(req, name, i + 1) < 0) return aw__req_text(req, v.p, v.n);
    for (n = v.n, next = i; (next = aw__req_field(req, name, next + 1)) >= 0;)
        n += aw__field_value(req, next).n + 2;
    text = to = (char *)aw_alloc(req, n + 1);
    if (!text) return NULL;
    for (; i >= 0; i = aw__req_field(req, name, i + 1)) {
        v = aw__field_value(req, i);
        if (to > text) memcpy(to, ", ", 2), to += 2;
        if (v.n) memcpy(to, v.p, v.n);
        to += v.n;
    }
    *to = 0;
    return text;
}

bool aw_header_at(aw_req *req, size_t i, const char **name, const char **value)
{
    const aw__field *f;
    if (i >= req->head.count) return false;
    f = &req->head.fields[i];
    *name = aw__req_text(req, req->base + f->name, f->name_len);
    *value = aw__req_text(req, req->base + f->value, f->value_len);
    return *name && *value;
}

aw_slice aw_body(aw_req *req)
{
    return aw__slice(req->body, req->body_len);
}

aw_loop *aw_req_loop(aw_req *req)
{
    return req->loop;
}

/* >>floor5 proxied  How the client called, as trusted proxies say ---------- */

static aw_slice aw__req_all(aw_req *req, const char *name)
{
    const char *text = aw_header(req, name);
    return aw__slice(text, text ? strlen(text) : 0);
}

/* NULL: nobody is to be believed, or what they say is no good. Read once. */
static const aw__forwarded *aw__req_forwarded(aw_req *req,
                                              const aw__nets *trusted)
{
    aw__forwarded *f;
    aw_slice list;
    int rc;
    if (req->forwarded) return req->forwarded;
    f = (aw__forwarded *)aw_alloc(req, sizeof *f);
    if (!f) return NULL;
    list = aw__req_all(req, "Forwarded");
    if (list.p) rc = aw__forwarded_read(list, trusted, f);
    else rc = aw__forwarded_read_x(aw__req_all(req, "X-Forwarded-For"),
                                   aw__req_all(req, "X-Forwarded-Proto"),
                                   aw__req_all(req, "X-Forwarded-Host"),
                                   trusted, f);
    if (rc < 0) memset(f, 0, sizeof *f);
    req->forwarded = f;
    return f;
}

/* >>floor5 forms  Fields and files of a body ------------------------------- */

/* Where the i-th pair was found, so that the next one is not looked for from
   the beginning. */
typedef struct aw__cursor {
    size_t i, at;
} aw__cursor;

#ifndef ASYNCWEB_NO_FORMS
/* The files of a request that are too large for memory, one behind the other
   in one that has no name, so nothing is left whatever happens. */
typedef struct aw__disk {
    int64_t size;
    int fd;                     /* -1: not needed so far */
    bool linked;                /* aw_file_save has given it a name */
} aw__disk;

typedef struct aw__form_field {
    const char *name, *value;
} aw__form_field;

/* A multipart body that is being received, and what was found in it. */
typedef struct aw__upload {
    aw__multipart parser;
    aw__buf fields, files;      /* of aw__form_field and aw_file */
    aw__buf content;            /* of the part being received */
    aw_file part;               /* the same; disk: it goes there */
    aw__disk disk;
    size_t memory, file_memory; /* left for the form; for each file */
    const char *dir;
} aw__upload;
#endif

struct aw__form {
    aw__cursor query, body;
#ifndef ASYNCWEB_NO_FORMS
    aw__upload *upload;         /* of a route that gets its body whole */
    struct aw__parts *parts;    /* of one that streams */
#endif
};

static struct aw__form *aw__req_form(aw_req *req)
{
    if (!req->form) req->form = (struct aw__form *)aw__new(req,
                                                           sizeof *req->form);
    return req->form;
}

/* ---- pairs ---- */

/* No NUL, as it is or as %00. */
static bool aw__pair_fits(aw_slice raw)
{
    const char *p = raw.p, *end = p + raw.n;
    for (; p < end; p++)
        if (!*p || aw__url_escape(p, end) == 0) return false;
    return true;
}

static bool aw__pairs_at(aw_req *req, aw_slice in, aw__cursor *c, size_t i,
                         const char **name, const char **value)
{
    aw_slice n, v;
    if (i < c->i) c->i = c->at = 0;
    do {
        do if (!aw__url_pair(in.p, in.n, &c->at, &n, &v)) return false;
        while (!aw__pair_fits(n) || !aw__pair_fits(v));
    } while (c->i++ < i);
    *name = aw__req_decode(req, n, true);
    *value = aw__req_decode(req, v, true);
    return *name && *value;
}

bool aw_query_at(aw_req *req, size_t i, const char **name, const char **value)
{
    struct aw__form *form = aw__req_form(req);
    return form && aw__pairs_at(req, req->query, &form->query, i, name, value);
}

static bool aw__req_is_form(aw_req *req)
{
    int i = aw__req_field(req, "Content-Type", 0);
    aw_slice parameters;
    return i >= 0 &&
        aw__slice_ieq(aw__media_type(aw__field_value(req, i), &parameters),
                      "application/x-www-form-urlencoded");
}

#ifndef ASYNCWEB_NO_FORMS
/* ---- files on disk ---- */

/* A name that is perhaps free: "base.4711-0", ... 0; AW_EINVAL: too long. */
static int aw__disk_name(char *to, size_t cap, const char *base, int i)
{
    int n = aw__print(to, cap, "%s.%ld-%d", base, (long)getpid(), i);
    return n < 0 || (size_t)n >= cap ? AW_EINVAL : 0;
}

/* Only where there is nothing of that name. */
static int aw__disk_make(const char *path, int mode)
{
    int fd;
    do fd = ASYNCWEB_FAULT("file_open") ? -1
        : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? aw__errno() : fd;
}

enum { AW__DISK_PATH = 1024, AW__DISK_TRIES = 100 };

static int aw__disk_open(const char *dir)
{
    char base[AW__DISK_PATH], path[AW__DISK_PATH];
    int fd = AW_EEXIST, i, n;
    if (!dir || !*dir) dir = getenv("TMPDIR");
    if (!dir || !*dir) dir = "/tmp";
#ifdef O_TMPFILE
    /* It never has a name, and may be given one: see aw__file_make. Not every
       file system can do it. */
    fd = ASYNCWEB_FAULT("file_open") ? -1
        : open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    fd = AW_EEXIST;
#endif
    n = aw__print(base, sizeof base, "%s/asyncweb", dir);
    if (n < 0 || (size_t)n >= sizeof base) return AW_EINVAL;
    for (i = 0; fd == AW_EEXIST && i < AW__DISK_TRIES; i++) {
        fd = aw__disk_name(path, sizeof path, base, i);
        if (fd == 0) fd = aw__disk_make(path, 0600);
    }
    if (fd >= 0) (void)unlink(path);
    return fd;
}

static int aw__disk_write(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const size_t most = ASYNCWEB_SHORT("file_write") ? 1 : n;
        ssize_t done = ASYNCWEB_FAULT("file_write") ? -1 : write(fd, p, most);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return aw__errno();
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

static int aw__disk_add(aw__disk *d, const char *p, size_t n)
{
    int rc = aw__disk_write(d->fd, p, n);
    if (rc == 0) d->size += (int64_t)n;
    return rc;
}

int aw_file_read(const aw_file *file, int64_t at, void *buffer, size_t size)
{
    int64_t left = at < 0 ? 0 : file->size - at;
    ssize_t n;
    if (at < 0 || size > INT_MAX) return AW_EINVAL;
    if (left <= 0) return 0;
    if ((uint64_t)left < size) size = (size_t)left;
    if (file->bytes) {
        memcpy(buffer, file->bytes + at, size);
        return (int)size;
    }
    if (ASYNCWEB_SHORT("file_read") && size) size = 1;
    do n = ASYNCWEB_FAULT("file_read") ? -1
        : pread(file->disk->fd, buffer, size, (off_t)(file->at + at));
    while (n < 0 && errno == EINTR);
    return n < 0 ? aw__errno() : (int)n;
}

/* The bytes of a file go to the end of fd. */
static int aw__file_copy(const aw_file *file, int fd)
{
    char bytes[16384];
    int64_t at = 0;
    if (file->bytes) return aw__disk_write(fd, file->bytes, (size_t)file->size);
    while (at < file->size) {
        int n = aw_file_read(file, at, bytes, sizeof bytes), rc;
        if (n <= 0) return n < 0 ? n : AW_EIO;
        rc = aw__disk_write(fd, bytes, (size_t)n);
        if (rc < 0) return rc;
        at += n;
    }
    return 0;
}

/* The whole file under a name that is not taken; AW_EEXIST. */
static int aw__file_make(const aw_file *file, const char *path)
{
    int fd, rc;
#ifdef O_TMPFILE
    aw__disk *d = file->disk;
    char from[40];
    if (d && !d->linked && file->size == d->size) {
        aw__print(from, sizeof from, "/proc/self/fd/%d", d->fd);
        if (!ASYNCWEB_FAULT("file_link") &&
            linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0) {
            d->linked = true;   /* a second name would be the same file */
            return 0;
        }
    }
#endif
    fd = aw__disk_make(path, 0666);
    if (fd < 0) return fd;
    rc = aw__file_copy(file, fd);
    if (close(fd) < 0 && rc == 0) rc = aw__errno();
    if (rc < 0) (void)unlink(path);
    return rc;
}

/* Gives the complete file `made` its name. Not `replace`: link() fails where
   there is a file; where there are no links, the name is claimed first. */
static int aw__file_publish(const char *made, const char *path, bool replace)
{
    int fd, rc;
    if (!replace) {
        if (!ASYNCWEB_FAULT("file_link") && link(made, path) == 0) {
            (void)unlink(made);
            return 0;
        }
        if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
            return aw__errno();
        fd = aw__disk_make(path, 0600);
        if (fd < 0) return fd;
        close(fd);
    }
    if (!ASYNCWEB_FAULT("file_rename") && rename(made, path) == 0) return 0;
    rc = aw__errno();
    if (!replace) (void)unlink(path);
    return rc;
}

static int aw__file_put(const aw_file *file, const char *path, bool replace)
{
    char made[AW__DISK_PATH];
    int rc = AW_EEXIST, i;
    if (!file || !path || !*path) return AW_EINVAL;
    if (!replace && access(path, F_OK) == 0) return AW_EEXIST;  /* early */
    for (i = 0; rc == AW_EEXIST && i < AW__DISK_TRIES; i++) {
        rc = aw__disk_name(made, sizeof made, path, i);
        if (rc == 0) rc = aw__file_make(file, made);
    }
    if (rc < 0) return rc;
    rc = aw__file_publish(made, path, replace);
    if (rc < 0) (void)unlink(made);
    return rc;
}

int aw_file_save(const aw_file *file, const char *path)
{
    return aw__file_put(file, path, false);
}

int aw_file_replace(const aw_file *file, const char *path)
{
    return aw__file_put(file, path, true);
}

/* ---- a multipart body, taken apart while it comes ---- */

static aw__upload *aw__req_upload(const aw_req *req)
{
    return req->form ? req->form->upload : NULL;
}

static int aw__upload_status(aw_req *req, int rc)
{
    switch (rc) {
        case AW_EBADMSG: return 400;
        case AW_ETOOBIG: return 413;
        case AW_ENOMEM: return 503;
        default:
            aw__log(req->loop, AW_LOG_ERROR, "asyncweb: an upload cannot be "
                    "kept: %s", aw_strerror(rc));
            return rc == AW_ENOSPC ? 507 : 503;
    }
}

/* Whether the body that begins is a form of parts, which is 0 as well as any
   other; or the status of a refusal. The config's limits are set. */
static int aw__upload_begin(aw_req *req, const aw_config *config)
{
    int i = aw__req_field(req, "Content-Type", 0), rc;
    aw__multipart parser;
    aw__upload *u;
    if (i < 0) return 0;
    rc = aw__multipart_init(&parser, aw__field_value(req, i));
    if (rc <= 0) return rc == 0 ? 0 : 400;
    u = aw__req_form(req) ? (aw__upload *)aw__new(req, sizeof *u) : NULL;
    if (!u) return 503;
    u->parser = parser;
    u->parser.parts = config->max_parts;
    u->parser.max_head = config->max_part_head;
    u->parser.head.mem = u->content.mem = &req->loop->mem;
    u->fields.arena = u->files.arena = &req->arena;
    u->memory = config->form_memory;
    u->file_memory = config->file_memory;
    u->dir = config->upload_dir;
    u->disk.fd = -1;
    req->form->upload = u;
    return 0;
}

static const char *aw__upload_text(aw_req *req, aw_slice s)
{
    return s.p ? aw__req_text(req, s.p, s.n) : "";
}

static int aw__part_begins(aw_req *req, aw__upload *u)
{
    const aw__multipart *m = &u->parser;
    aw_file *part = &u->part;
    char safe[AW__SAFE_NAME + 1];
    memset(part, 0, sizeof *part);
    u->content.n = 0;
    /* Names are memory, too. */
    if (m->head.n > u->memory) return AW_ETOOBIG;
    u->memory -= m->head.n;
    part->field = aw__upload_text(req, m->part.name);
    if (!part->field) return AW_ENOMEM;
    if (!m->part.filename.p) return 0;
    aw__safe_name(safe, m->part.filename);
    part->safe_name = aw_strdup(req, safe);
    part->filename = aw__upload_text(req, m->part.filename);
    part->type = aw__upload_text(req, m->type);
    return part->safe_name && part->filename && part->type ? 0 : AW_ENOMEM;
}

/* How much of the part stays in memory. Where files never go to disk, only
   the length of the body limits them. */
static size_t aw__part_room(const aw__upload *u)
{
    const size_t most = u->file_memory;
    if (!u->part.filename || (most < SIZE_MAX / 2 && most > u->memory))
        return u->memory;
    return most;
}

static int aw__part_data(aw__upload *u, aw_slice data)
{
    aw_file *part = &u->part;
    int rc = 0;
    part->size += (int64_t)data.n;
    if (!part->disk) {
        if (data.n <= aw__part_room(u) - u->content.n) {
            aw__buf_add(&u->content, data.p, data.n);
            return u->content.failed ? AW_ENOMEM : 0;
        }
        if (!part->filename) return AW_ETOOBIG;
        if (u->disk.fd < 0) u->disk.fd = aw__disk_open(u->dir);
        if (u->disk.fd < 0) return u->disk.fd;
        part->disk = &u->disk;
        part->at = u->disk.size;
        rc = aw__disk_add(part->disk, u->content.p, u->content.n);
        u->content.n = 0;
    }
    return rc < 0 ? rc : aw__disk_add(part->disk, data.p, data.n);
}

static int aw__part_ends(aw_req *req, aw__upload *u)
{
    aw_file *part = &u->part;
    const size_t n = u->content.n;
    const char *bytes = part->disk ? NULL : aw__req_text(req, u->content.p, n);
    aw__form_field field;
    if (!part->disk && !bytes) return AW_ENOMEM;
    u->memory -= n < u->memory ? n : u->memory;
    if (!part->filename) {
        if (memchr(bytes, 0, n)) return 0;
        field.name = part->field;
        field.value = bytes;
        aw__buf_add(&u->fields, (const char *)&field, sizeof field);
    } else if (part->size || *part->filename) {
        part->bytes = bytes;
        aw__buf_add(&u->files, (const char *)part, sizeof *part);
    }
    return u->fields.failed || u->files.failed ? AW_ENOMEM : 0;
}

/* Bytes of the body have come into `got`, the last of them if it is `whole`:
   they are taken. 0, or a status. */
static int aw__upload_received(aw_req *req, aw__buf *got, bool whole)
{
    aw__upload *u = aw__req_upload(req);
    aw_slice in = aw__slice(got->p, got->n), data;
    int rc;
    if (!u) return 0;
    got->n = 0;
    while ((rc = aw__multipart_next(&u->parser, &in, &data)) > 0) {
        rc = rc == AW__PART_BEGINS ? aw__part_begins(req, u)
            : rc == AW__PART_DATA ? aw__part_data(u, data)
            : aw__part_ends(req, u);
        if (rc < 0) return aw__upload_status(req, rc);
    }
    if (rc != AW_EAGAIN) return aw__upload_status(req, rc);
    if (!whole) return 0;
    aw__buf_free(&u->content);
    aw__buf_free(&u->parser.head);
    return aw__multipart_whole(&u->parser) ? 0 : 400;
}

static void aw__upload_free(aw_req *req)
{
    aw__upload *u = aw__req_upload(req);
    if (!u) return;
    aw__buf_free(&u->content);
    aw__buf_free(&u->parser.head);
    if (u->disk.fd >= 0) close(u->disk.fd);
}

const aw_file *aw_files(aw_req *req, size_t *n)
{
    const aw__upload *u = aw__req_upload(req);
    *n = u ? u->files.n / sizeof(aw_file) : 0;
    return u ? (const aw_file *)(const void *)u->files.p : NULL;
}

const aw_file *aw_file_of(aw_req *req, const char *field)
{
    size_t n, i;
    const aw_file *files = aw_files(req, &n);
    for (i = 0; i < n; i++)
        if (strcmp(files[i].field, field) == 0) return &files[i];
    return NULL;
}

/* The i-th field of a multipart body, or NULL. */
static const aw__form_field *aw__upload_field(const aw_req *req, size_t i)
{
    const aw__upload *u = aw__req_upload(req);
    if (!u || i >= u->fields.n / sizeof(aw__form_field)) return NULL;
    return (const aw__form_field *)(const void *)u->fields.p + i;
}
#else
static int aw__upload_begin(aw_req *req, const aw_config *config)
{
    return (void)req, (void)config, 0;
}

static int aw__upload_received(aw_req *req, aw__buf *got, bool whole)
{
    return (void)req, (void)got, (void)whole, 0;
}

static void aw__upload_free(aw_req *req)
{
    (void)req;
}
#endif

const char *aw_form(aw_req *req, const char *name)
{
#ifndef ASYNCWEB_NO_FORMS
    const aw__form_field *f;
    size_t i;
    for (i = 0; (f = aw__upload_field(req, i)) != NULL; i++)
        if (strcmp(f->name, name) == 0) return f->value;
#endif
    if (!aw__req_is_form(req)) return NULL;
    return aw__pairs_find(req, aw_body(req), name);
}

bool aw_form_at(aw_req *req, size_t i, const char **name, const char **value)
{
    struct aw__form *form = aw__req_form(req);
#ifndef ASYNCWEB_NO_FORMS
    const aw__form_field *f = aw__upload_field(req, i);
    if (f) {
        *name = f->name;
        *value = f->value;
        return true;
    }
#endif
    return form && aw__req_is_form(req) &&
        aw__pairs_at(req, aw_body(req), &form->body, i, name, value);
}

/* >>floor5 answers  What a view says --------------------------------------- */

int aw_status(aw_req *req, int status)
{
    if (status < 200 || status > 599) return AW_EINVAL;
    req->status = (int16_t)status;
    req->flags |= AW__CHOSEN;
    return status;
}

static aw__task *aw__sender_drop(aw__sending *sending)
{
    aw__send_op *op = sending->writer;
    aw__task *t = op->task;
    sending->writer = NULL;
    aw__task_put(t, op);
    return t;
}

/* Another answer comes in place of one in pieces, of which nothing is out: who
   waits to send the first waits no longer. */
static void aw__sending_forget(aw_req *req)
{
    if (req->sending && req->sending->writer)
        aw__complete(aw__sender_drop(req->sending), AW_ECLOSED);
    req->sending = NULL;
}

/* What is given here must live on, and the type be a field value. */
static int aw__answer(aw_req *req, int status, const char *type,
                      const char *p, size_t n)
{
    if (req->sending && req->sending->fixed) return AW_EINVAL;
    aw__sending_forget(req);
    aw__pieces_free(req->loop, &req->pieces);
    req->type = type;
    req->out = p;
    req->out_len = n;
    req->flags |= AW__ANSWERED;
    if (!(req->flags & AW__CHOSEN)) req->status = (int16_t)status;
    return req->status;
}

int aw_bytes_static(aw_req *req, const char *type, const void *p, size_t n)
{
    if (!aw__is_value(type) || (!p && n)) return AW_EINVAL;
    return aw__answer(req, 200, type, (const char *)p, n);
}

int aw_bytes(aw_req *req, const char *type, const void *p, size_t n)
{
    const char *copy;
    if (!aw__is_value(type) || (!p && n)) return AW_EINVAL;
    copy = aw__req_text(req, (const char *)p, n);
    type = aw_strdup(req, type);
    if (!copy || !type) return AW_ENOMEM;
    return aw__answer(req, 200, type, copy, n);
}

static int aw__stream_new_answer(aw_req *req, const char *type, int64_t left)
{
    const bool old = req->head.minor == 0;
    aw__sending *sending;
    int rc;
    if (type && !aw__is_value(type)) return AW_EINVAL;
    sending = (aw__sending *)aw__new(req, sizeof *sending);
    if (type) type = aw_strdup(req, type);
    if (!sending) return AW_ENOMEM;
    rc = aw__answer(req, 200, type, "", 0);
    if (rc < 0) return rc;
    sending->left = left == AW__CHUNKS && old ? (int)AW__UNTIL_CLOSE : left;
    req->sending = sending;
    return 0;
}

int aw_stream_begin(aw_req *req, const char *type)
{
    return aw__stream_new_answer(req, type, AW__CHUNKS);
}

int aw_stream_begin_sized(aw_req *req, const char *type, int64_t size)
{
    if (size < 0) return AW_EINVAL;
    return aw__stream_new_answer(req, type, size);
}

static const char aw__plain[] = "text/plain; charset=utf-8";
static const char aw__html[] = "text/html; charset=utf-8";

static int aw__answer_text(aw_req *req, const char *type, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    const char *copy = text ? aw__req_text(req, text, n) : NULL;
    if (!copy) return text ? AW_ENOMEM : AW_EINVAL;
    return aw__answer(req, 200, type, copy, n);
}

int aw_text(aw_req *req, const char *text)
{
    return aw__answer_text(req, aw__plain, text);
}

int aw_html(aw_req *req, const char *html)
{
    return aw__answer_text(req, aw__html, html);
}

int aw_text_static(aw_req *req, const char *text)
{
    if (!text) return AW_EINVAL;
    return aw__answer(req, 200, aw__plain, text, strlen(text));
}

int aw_printf(aw_req *req, const char *format, ...)
{
    va_list args;
    char *text;
    int n;
    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) return AW_EINVAL;
    text = (char *)aw_alloc(req, (size_t)n + 1);
    if (!text) return AW_ENOMEM;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return aw__answer(req, 200, aw__plain, text, (size_t)n);
}

int aw_empty(aw_req *req, int status)
{
    status = aw_status(req, status);
    return status < 0 ? status : aw__answer(req, status, NULL, "", 0);
}

/* Fields that the connection writes itself. */
static bool aw__header_is_ours(aw_slice name)
{
    return aw__slice_ieq(name, "Content-Length") ||
        aw__slice_ieq(name, "Transfer-Encoding") ||
        aw__slice_ieq(name, "Connection") || aw__slice_ieq(name, "Date");
}

static void aw__header_remove(aw_req *req, const char *name)
{
    aw__out_header **p = &req->headers;
    while (*p) {
        aw__out_header *h = *p;
        if (aw__slice_ieq(aw__slice(h->line, h->name_len), name))
            *p = h->next;
        else
            p = &h->next;
    }
    req->headers_tail = p;
}

static bool aw__header_has(const aw_req *req, const char *name)
{
    const aw__out_header *h = req->headers;
    while (h && !aw__slice_ieq(aw__slice(h->line, h->name_len), name))
        h = h->next;
    return h != NULL;
}

static bool aw__header_fits(aw_slice name, const char *value)
{
    return aw__is_token(name.p, name.n) && !aw__header_is_ours(name) &&
        aw__is_value(value);
}

/* Any field, ours too. 0; AW_ENOMEM. */
static int aw__header_add(aw_req *req, aw_slice s, const char *value)
{
    const size_t n = s.n + 2 + strlen(value) + 2;
    aw__out_header *h = (aw__out_header *)aw_alloc(req, sizeof *h + n);
    if (!h) return AW_ENOMEM;
    memcpy(h->line, s.p, s.n);
    memcpy(h->line + s.n, ": ", 2);
    memcpy(h->line + s.n + 2, value, n - s.n - 4);
    memcpy(h->line + n - 2, "\r\n", 2);
    h->name_len = s.n;
    h->n = n;
    h->next = NULL;
    *req->headers_tail = h;
    req->headers_tail = &h->next;
    return 0;
}

int aw_add_header(aw_req *req, const char *name, const char *value)
{
    const aw_slice s = aw__slice(name, name ? strlen(name) : 0);
    if (!aw__header_fits(s, value)) return AW_EINVAL;
    if (req->sending && req->sending->head_out) return AW_EINVAL;
    return aw__header_add(req, s, value);
}

int aw_set_header(aw_req *req, const char *name, const char *value)
{
    aw_slice s = aw__slice(name, name ? strlen(name) : 0);
    if (!aw__header_fits(s, value)) return AW_EINVAL;
    aw__header_remove(req, name);
    return aw_add_header(req, name, value);
}

int aw_redirect(aw_req *req, const char *location)
{
    int rc = aw_set_header(req, "Location", location);
    return rc < 0 ? rc : aw__answer(req, 302, NULL, "", 0);
}

int aw_error(aw_req *req, int status, const char *message)
{
    if (status < 100 || status > 599) return AW_EINVAL;
    req->message = message ? aw_strdup(req, message) : NULL;
    return AW_HTTP(status);
}

int aw_answer_status(aw_req *req)
{
    return req->status;
}

const char *aw_error_message(aw_req *req)
{
    return req->message ? req->message : aw__http_reason(req->status);
}

#ifndef ASYNCWEB_NO_JSON
const aw_value *aw_req_json(aw_req *req)
{
    size_t at;
    if (req->flags & AW__JSON_READ) return req->json;
    req->flags |= AW__JSON_READ;
    if (aw__json_parse(&req->arena, req->body, req->body_len, &req->json,
                       &at) < 0)
        req->json = NULL;
    return req->json;
}

/* A writer that lives in the request; its text is given to the answer. */
aw_json_writer *aw_json_begin(aw_req *req)
{
    aw_json_writer *w = (aw_json_writer *)aw_alloc(req, sizeof *w);
    aw__buf *out = (aw__buf *)aw__new(req, sizeof *out);
    if (!w || !out) return NULL;
    out->arena = &req->arena;
    aw__json_writer_init(w, out, req);
    return w;
}

int aw_json_send(aw_json_writer *w)
{
    int rc = w ? aw__json_finish(w) : AW_ENOMEM;
    if (rc < 0) return rc;
    return aw__answer(w->req, 200, "application/json", w->out->p, w->out->n);
}

int aw_json(aw_req *req, const aw_value *value)
{
    aw_json_writer *w = value ? aw_json_begin(req) : NULL;
    if (!value) return AW_EBADMSG;
    aw_put_value(w, NULL, value);
    return aw_json_send(w);
}

int aw__json_object(aw_req *req, const aw_field *fields, size_t n)
{
    aw_json_writer *w = aw_json_begin(req);
    size_t i;
    aw_put_object(w, NULL);
    for (i = 0; i < n; i++) aw__put_field(w, &fields[i]);
    aw_put_end(w);
    return aw_json_send(w);
}
#endif

/* >>floor5 validators  Answers that the client may have -------------------- */

/* The tag in the form of the field; NULL: none, or a bad one, or no memory. */
static const char *aw__etag_quoted(aw_req *req, const char *etag)
{
    const size_t n = etag ? strlen(etag) : 0;
    const char *end = etag + n;
    aw_slice tag;
    bool weak;
    if (!etag || aw__etag_read(etag, end, &tag, &weak) == end) return etag;
    return aw_format(req, "\"%s\"", etag);
}

/* Sets the fields of what is judged; 0 or an error. */
static int aw__validators_set(aw_req *req, const aw__validators *v)
{
    char date[30];
    int rc = v->etag ? aw_set_header(req, "ETag", v->etag) : 0;
    if (rc < 0 || !v->modified) return rc;
    aw__date_format(date, v->modified);
    return aw_set_header(req, "Last-Modified", date);
}

int aw_conditional(aw_req *req, const char *etag, int64_t modified)
{
    const aw__head *h = &req->head;
    aw__validators v;
    aw_slice tag;
    bool weak;
    int rc = 0;
    v.etag = aw__etag_quoted(req, etag);
    v.modified = modified;
    if (etag && !v.etag) return AW_ENOMEM;
    if (etag && !aw__etag_read(v.etag, v.etag + strlen(v.etag), &tag, &weak))
        return AW_EINVAL;
    /* After a PUT the tag would be taken for that of what was put (9.3.4). */
    if (h->verb == AW__GET || h->verb == AW__HEAD)
        rc = aw__validators_set(req, &v);
    return rc < 0 ? rc : aw__preconditions(req->base, h, &v);
}

int aw_attachment(aw_req *req, const char *name)
{
    aw__buf b;
    if (!name) return AW_EINVAL;
    memset(&b, 0, sizeof b);
    b.arena = &req->arena;
    aw__put_disposition(&b, name);
    return b.failed ? AW_ENOMEM
        : aw_set_header(req, "Content-Disposition", b.p);
}

#ifndef ASYNCWEB_NO_COOKIES
/* >>floor5 cookies  Cookies, credentials, CORS ----------------------------- */

/* Cookie has no list form (RFC 6265 5.4 allows one field), but proxies that
   speak HTTP/2 split it (RFC 9113 8.2.3): each is looked through by itself. */
const char *aw_cookie(aw_req *req, const char *name)
{
    aw_slice value;
    int i = -1;
    while ((i = aw__req_field(req, "Cookie", i + 1)) >= 0)
        if (aw__cookie_find(aw__field_value(req, i), name, &value))
            return aw__req_text(req, value.p, value.n);
    return NULL;
}

int aw_set_cookie_config(aw_req *req, aw_cookie_config cookie)
{
    aw__buf b;
    int rc;
    memset(&b, 0, sizeof b);
    b.arena = &req->arena;
    rc = aw__cookie_write(&b, &cookie);
    return rc < 0 ? rc : aw_add_header(req, "Set-Cookie", b.p);
}

int aw_delete_cookie_config(aw_req *req, aw_cookie_config cookie)
{
    cookie.value = "";
    cookie.max_age = -1;
    /* Without it a browser would not believe the deletion either. */
    if (cookie.name && aw__cookie_prefix(cookie.name, "__"))
        cookie.secure = cookie.secure ||
            aw__cookie_prefix(cookie.name, "__Secure-") ||
            aw__cookie_prefix(cookie.name, "__Host-");
    return aw_set_cookie_config(req, cookie);
}

/* What follows the scheme in Authorization (RFC 9110 11.4), p NULL if it is
   another one. Two fields: nobody knows which of them a proxy has checked. */
static aw_slice aw__credentials(const aw_req *req, const char *scheme)
{
    int i = aw__req_field(req, "Authorization", 0);
    size_t n = strlen(scheme);
    aw_slice v = aw__slice(NULL, 0);
    if (i < 0 || aw__req_field(req, "Authorization", i + 1) >= 0) return v;
    v = aw__field_value(req, i);
    if (v.n <= n || v.p[n] != ' ' ||
        !aw__slice_ieq(aw__slice(v.p, n), scheme)) return aw__slice(NULL, 0);
    return aw__slice_trim(aw__slice(v.p + n, v.n - n));
}

bool aw_basic_auth(aw_req *req, const char **user, const char **password)
{
    aw_slice v = aw__credentials(req, "Basic");
    char *text = v.p ? (char *)aw_alloc(req, v.n + 1) : NULL, *colon;
    size_t n, i;
    *user = *password = NULL;
    if (!text || aw__base64_decode(text, v.p, v.n, &n) < 0) return false;
    for (i = 0; i < n; i++)     /* RFC 7617 2: no control characters */
        if ((unsigned char)text[i] < 32 || text[i] == 127) return false;
    text[n] = 0;
    colon = strchr(text, ':');
    if (!colon) return false;
    *colon = 0;
    *user = text;
    *password = colon + 1;
    return true;
}

int aw_ask_auth(aw_req *req, const char *realm)
{
    size_t n = realm ? strlen(realm) : 0;
    char *text = (char *)aw_alloc(req, 2 * n + 48), *to = text;
    int rc;
    if (!aw__is_value(realm)) return AW_EINVAL;
    if (!text) return AW_ENOMEM;
    memcpy(to, "Basic realm=\"", 13);
    for (to += 13; *realm; realm++) {
        if (*realm == '"' || *realm == '\\') *to++ = '\\';
        *to++ = *realm;
    }
    memcpy(to, "\", charset=\"UTF-8\"", 19);     /* RFC 7617 2.1 */
    rc = aw_set_header(req, "WWW-Authenticate", text);
    return rc < 0 ? rc : aw_error(req, 401, NULL);
}

/* b64token: letters, digits and -._~+/, then any number of = */
const char *aw_bearer(aw_req *req)
{
    aw_slice v = aw__credentials(req, "Bearer");
    size_t i = 0;
    while (i < v.n && (aw__http_is(v.p[i], AW__C_HOST) || v.p[i] == '+' ||
                       v.p[i] == '/')) i++;
    if (!i) return NULL;
    while (i < v.n && v.p[i] == '=') i++;
    return i == v.n ? aw__req_text(req, v.p, v.n) : NULL;
}

bool aw_same_secret(const char *given, const char *secret)
{
    size_t n = given ? strlen(given) : 0, m = secret ? strlen(secret) : 0, i;
    volatile unsigned char differ = n != m;
    if (!given || !secret) return false;
    for (i = 0; i < n; i++)     /* volatile: to the end, whatever is found */
        differ = (unsigned char)(differ | (given[i] ^ secret[i % (m + 1)]));
    return !differ;
}

/* Whether a list "a, b" has this element; "*" does not count. */
static bool aw__cors_lists(const char *list, aw_slice want)
{
    aw_slice in = aw__slice(list, strlen(list)), item;
    while (aw__http_list(&in, &item))
        if (item.n == want.n && memcmp(item.p, want.p, item.n) == 0)
            return true;
    return false;
}

/* The fields that let a page of this origin read the answer (Fetch 3.2.3). */
static int aw__cors_allow(aw_req *req, const aw_cors_config *cors,
                          const char *origin, bool preflight)
{
    char age[24];
    int rc;
    aw__print(age, sizeof age, "%lld", (long long)cors->max_age);
    rc = aw_set_header(req, "Access-Control-Allow-Origin", origin);
    if (rc >= 0 && cors->credentials)
        rc = aw_set_header(req, "Access-Control-Allow-Credentials", "true");
    if (rc >= 0 && cors->exposed && !preflight)
        rc = aw_set_header(req, "Access-Control-Expose-Headers", cors->exposed);
    if (rc >= 0 && cors->methods && preflight)
        rc = aw_set_header(req, "Access-Control-Allow-Methods", cors->methods);
    if (rc >= 0 && cors->headers && preflight)
        rc = aw_set_header(req, "Access-Control-Allow-Headers", cors->headers);
    if (rc >= 0 && cors->max_age > 0 && preflight)
        rc = aw_set_header(req, "Access-Control-Max-Age", age);
    return rc;
}

int aw_cors(aw_req *req, const aw_cors_config *cors)
{
    const char *origins = cors->origins ? cors->origins : "", *origin = "*";
    bool any = strcmp(origins, "*") == 0, preflight;
    int i = aw__req_field(req, "Origin", 0), rc = 0;
    aw_slice from = i < 0 ? aw__slice("", 0) : aw__field_value(req, i);
    if (aw__cors_lists(origins, aw__slice("*", 1)) &&
        (!any || cors->credentials)) return AW_EINVAL;
    /* Also without an Origin: a cache keeps the answer for who sends one. */
    if (!any) rc = aw_add_header(req, "Vary", "Origin");
    if (rc < 0 || i < 0) return rc;
    preflight = req->head.verb == AW__OPTIONS &&
        aw__req_field(req, "Access-Control-Request-Method", 0) >= 0;
    if (any || aw__cors_lists(origins, from)) {
        if (!any) origin = aw__req_text(req, from.p, from.n);
        if (!origin) return AW_ENOMEM;
        rc = aw__cors_allow(req, cors, origin, preflight);
    }
    if (rc < 0) return rc;
    return preflight ? aw_empty(req, 204) : 0;
}
#endif

/* >>floor5 crowd  How many connections an address has ---------------------- */

/* By address, or the /64 of an IPv6 one, which a single customer has whole
   (RFC 6177). Open addressing, at most half full; count 0 is a free entry. */
typedef struct aw__crowd_entry {
    uint64_t key;
    size_t count;
} aw__crowd_entry;

typedef struct aw__crowd {
    aw__mem *mem;
    aw__crowd_entry *at;
    size_t cap, used;           /* cap: a power of two */
    uint64_t seed;              /* nobody outside knows who collides */
} aw__crowd;

/* No /64 in use begins with 0000:0001. */
static uint64_t aw__crowd_key(const aw__address *a)
{
    const int n = a->family == 4 ? 4 : 8;
    uint64_t key = a->family == 4;
    int i;
    for (i = 0; i < n; i++) key = key << 8 | a->bytes[i];
    return key;
}

static size_t aw__crowd_home(const aw__crowd *c, uint64_t key)
{
    uint64_t x = (key ^ c->seed) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (size_t)(x >> 32) & (c->cap - 1);
}

/* Where the key is, or would be. */
static aw__crowd_entry *aw__crowd_find(const aw__crowd *c, uint64_t key)
{
    size_t i = aw__crowd_home(c, key);
    while (c->at[i].count && c->at[i].key != key) i = (i + 1) & (c->cap - 1);
    return &c->at[i];
}

static bool aw__crowd_grow(aw__crowd *c)
{
    const aw__crowd old = *c;
    size_t i;
    c->cap = old.cap ? old.cap * 2 : 64;
    c->at = (aw__crowd_entry *)aw__mem_get(c->mem, c->cap * sizeof *c->at);
    if (!c->at) {
        *c = old;
        return false;
    }
    memset(c->at, 0, c->cap * sizeof *c->at);
    for (i = 0; i < old.cap; i++)
        if (old.at[i].count) *aw__crowd_find(c, old.at[i].key) = old.at[i];
    aw__mem_put(c->mem, old.at, old.cap * sizeof *old.at);
    return true;
}

/* One more. False: it would be more than `most`, or there is no memory. */
static bool aw__crowd_add(aw__crowd *c, const aw__address *a, size_t most)
{
    const uint64_t key = aw__crowd_key(a);
    aw__crowd_entry *e;
    if (2 * c->used >= c->cap && !aw__crowd_grow(c)) return false;
    e = aw__crowd_find(c, key);
    if (e->count >= most) return false;
    if (!e->count++) c->used++;
    e->key = key;
    return true;
}

/* One less. Whoever stands away from home because of the entry that becomes
   free moves up, so that nobody is searched for past a gap. */
static void aw__crowd_leave(aw__crowd *c, const aw__address *a)
{
    const size_t mask = c->cap - 1;
    aw__crowd_entry *e = aw__crowd_find(c, aw__crowd_key(a));
    size_t hole = (size_t)(e - c->at), i;
    if (--e->count) return;
    c->used--;
    for (i = (hole + 1) & mask; c->at[i].count; i = (i + 1) & mask) {
        const size_t home = aw__crowd_home(c, c->at[i].key);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        c->at[hole] = c->at[i];
        c->at[i].count = 0;
        hole = i;
    }
}

static void aw__crowd_free(aw__crowd *c)
{
    aw__mem_put(c->mem, c->at, c->cap * sizeof *c->at);
    c->at = NULL;
    c->cap = c->used = 0;
}

#ifndef ASYNCWEB_NO_WS
/* >>floor5 ws  WebSocket connections (RFC 6455) --------------------------- */

/* State     what holds in it                          leaves by
   ASKED     a view runs, nothing has been answered    its first call -> OPEN
   OPEN      messages go both ways                     Close [shut, answer]
   CLOSING   ours is queued; theirs alone counts now   theirs, time
   CLOSED    theirs has come, or we failed them        ours is sent, time
   LINGER    all is said; reads until the stream ends  its end, time -> OVER
   OVER      there is no stream any more

   A socket works by itself, whether a task waits for it or not: it reads,
   answers pings, sends what is queued. Messages that nobody takes lie unread,
   and behind the first of them AW__WS_BEHIND bytes at most: so a Close, the
   stream's end or a Pong is seen behind some. With more it is full and reads
   no further: the peer has to wait, and is not blamed for its silence. Pings
   go on, for one that is gone altogether does not acknowledge them, which TCP
   makes an error. Only while it is full bytes lie in the stream's read-ahead.

   Frames go out in the order they were sent or posted, each as one piece. While
   somebody sends a message in parts, other messages are held behind its last
   part (5.4). An awaited frame lies in the memory of its task, a posted one in
   a record that shares its bytes with those of other sockets. */
typedef enum aw__ws_state {
    AW__WS_ASKED, AW__WS_OPEN, AW__WS_CLOSING, AW__WS_CLOSED, AW__WS_LINGER,
    AW__WS_OVER
} aw__ws_state;

enum {
    AW__WS_READ = AW__SIZED(16384, 4096), AW__WS_BEHIND = AW__SIZED(16384, 1024)
};

typedef struct aw__ws_limits {
    size_t max_message, max_queue;
    int64_t ping_ms, pong_ms, close_ms, write_ms, min_rate;
} aw__ws_limits;

/* A message that nobody has taken yet. It lies in the buffer that it describes,
   behind the message's bytes. */
typedef struct aw__ws_unread {
    struct aw__ws_unread *next;
    char *p;
    size_t cap, n;
    bool binary;
} aw__ws_unread;

/* A whole frame, made once for all it goes to; its bytes follow. */
typedef struct aw__ws_shared {
    size_t n, refs;
} aw__ws_shared;

/* One frame on its way. */
typedef struct aw__ws_out {
    aw__link link;              /* in ws->out or ws->held */
    aw__task *task;             /* that waits until it is out; NULL: nobody */
    aw__ws_shared *shared;      /* where its data lie; NULL: with the task */
    const char *data;
    size_t size, at;            /* at: sent, of head and data */
    uint8_t head[AW__WS_HEAD];
    uint8_t head_n, opcode;
    bool part;                  /* of a message in parts */
    int result;                 /* bytes of the message in it */
} aw__ws_out;

/* That a socket is in a room. */
typedef struct aw__ws_member {
    struct aw__ws_member *next, **from;     /* in the room */
    struct aw__ws_member *other;            /* of the same socket */
    aw_ws *ws;
    aw_ws_room *room;
} aw__ws_member;

struct aw_ws {
    aw_loop *loop;
    aw_stream *stream;
    aw_req *req;                /* of a server's; NULL: a client's */
    struct aw_client *client;   /* of a client's */
    aw_ws *next, **back;        /* in it */
    const aw__ws_limits *limits;
    aw__ws_reader in;
    char *given;                /* the message that the reader has */
    size_t given_cap;
    aw__ws_unread *unread, **unread_end;
    size_t behind;              /* bytes of those but the first */
    aw__task *reader;           /* waits for a message */
    void *closers;              /* wait for the closing handshake */
    aw__link out, held;
    aw__ws_out *pong;           /* that stands in `out` */
    size_t queued;              /* bytes of posted frames */
    aw__ws_member *rooms;
    aw_task streamer;           /* sends a message in parts */
    int64_t heard, since;       /* when: input, see aw__ws_hear; state or output
                                   moved */
    aw__call_timer timer;
    const char *protocol;
    char *reason;               /* of the peer's Close; NULL: none */
    int error;                  /* why we failed the peer */
    uint16_t code;              /* of the peer's Close */
    uint8_t state;
    bool pinged;
    bool doomed;                /* a frame was cut short: nothing goes out */
    bool told, ended;           /* the view knows that it is over; has ended */
    uint8_t streaming;          /* what the message in parts is, or 0 */
    aw__utf8 utf8;              /* of that */
    /* Stored by the owner: makes a key to mask with; opens an ASKED one; ends
       who works for the peer, which is lost; frees it, for the view has ended
       and the stream, too. */
    bool (*random)(aw_ws *, uint8_t key[4]);
    int (*open)(aw_ws *);
    void (*lost)(aw_ws *);
    void (*over)(aw_ws *);
};

/* ---- frames on their way ---- */

static size_t aw__ws_out_size(const aw__ws_out *o)
{
    return o->head_n + o->size;
}

static aw__ws_out aw__ws_out_of(int opcode, bool last, const void *data,
                                size_t n)
{
    aw__ws_out o;
    memset(&o, 0, sizeof o);
    o.opcode = (uint8_t)opcode;
    o.data = (const char *)data;
    o.size = n;
    o.result = (int)n;
    o.head_n = (uint8_t)aw__ws_write_head(o.head, opcode, last, n, NULL);
    return o;
}

/* What is left of it. Returns how many slices. */
static int aw__ws_out_rest(const aw__ws_out *o, aw_slice rest[2])
{
    const size_t head = o->at < o->head_n ? o->head_n - o->at : 0;
    const size_t data = head ? 0 : o->at - o->head_n;
    int n = 0;
    if (head)
        rest[n++] = aw__slice((const char *)o->head + o->at, head);
    if (o->size > data) rest[n++] = aw__slice(o->data + data, o->size - data);
    return n;
}

static void aw__ws_shared_drop(aw_loop *l, aw__ws_shared *s)
{
    if (s && --s->refs == 0) aw__mem_put(&l->mem, s, sizeof *s + s->n);
}

/* All of a frame, or its rest. NULL: out of memory. */
static aw__ws_shared *aw__ws_share(aw_loop *l, const aw__ws_out *o)
{
    const size_t n = aw__ws_out_size(o);
    aw__ws_shared *s = n > SIZE_MAX / 2 ? NULL
        : (aw__ws_shared *)aw__mem_get(&l->mem, sizeof *s + n);
    if (!s) return NULL;
    s->n = n;
    s->refs = 1;
    memcpy(s + 1, o->head, o->head_n);
    if (o->size) memcpy((char *)(s + 1) + o->head_n, o->data, o->size);
    return s;
}

/* A record of a frame that lies in *shared, made when first needed; with how
   much is sent. NULL: out of memory. */
static aw__ws_out *aw__ws_record(aw_ws *ws, const aw__ws_out *o,
                                 aw__ws_shared **shared)
{
    aw__ws_out *r;
    if (!*shared) *shared = aw__ws_share(ws->loop, o);
    r = *shared ? (aw__ws_out *)aw__mem_get(&ws->loop->mem, sizeof *r) : NULL;
    if (!r) return NULL;
    *r = *o;
    r->task = NULL;
    r->shared = *shared;
    r->shared->refs++;
    r->data = (const char *)(r->shared + 1);
    r->size = r->shared->n;
    r->head_n = 0;
    ws->queued += r->size;
    return r;
}

/* A frame of a client is masked, with a key of its own that nobody can guess
   (5.3, 10.3): it lies in a copy. 0, AW_ENOMEM, AW_EIO. */
static int aw__ws_cover(aw_ws *ws, aw__ws_out *o)
{
    aw__ws_shared *s;
    uint8_t key[4];
    char *data;
    if (ws->in.masked || o->shared) return 0;
    if (!ws->random(ws, key)) return AW_EIO;
    o->head_n = (uint8_t)aw__ws_write_head(
        o->head, o->opcode, (o->head[0] & AW__WS_FIN) != 0, o->size, key);
    s = aw__ws_share(ws->loop, o);
    if (!s) return AW_ENOMEM;
    data = (char *)(s + 1) + o->head_n;
    aw__ws_mask(data, data, o->size, key, 0);
    o->shared = s;
    o->data = (const char *)(s + 1);
    o->size = s->n;
    o->head_n = 0;
    return 0;
}

/* A frame leaves the queue: it is out, or will never be. */
static void aw__ws_out_end(aw_ws *ws, aw__ws_out *o, int rc)
{
    aw__ws_shared *shared = o->shared;
    aw__task *t = o->task;
    aw__list_remove(&o->link);
    if (ws->pong == o) ws->pong = NULL;
    if (!t) ws->queued -= o->size;
    if (t) aw__task_put(t, o);
    else aw__mem_put(&ws->loop->mem, o, sizeof *o);
    aw__ws_shared_drop(ws->loop, shared);
    if (t) aw__complete(t, rc);
}

/* These frames do not go out any more; one that has begun perhaps does. */
static void aw__ws_drop(aw_ws *ws, aw__link *list, bool begun)
{
    aw__link *x, *next;
    for (x = list->next; x != list; x = next) {
        next = x->next;
        if (begun || ((aw__ws_out *)x)->at == 0)
            aw__ws_out_end(ws, (aw__ws_out *)x, AW_ECLOSED);
    }
}

/* ---- time ---- */

/* The next moment at which something is to be done by itself. */
static int64_t aw__ws_due(const aw_ws *ws)
{
    const aw__ws_limits *x = ws->limits;
    const int64_t wait = ws->pinged ? x->pong_ms : x->ping_ms;
    int64_t due = wait == AW_FOREVER ? wait : ws->heard + wait;
    if (ws->doomed || (ws->ended && ws->state == AW__WS_OVER))
        return ws->loop->now;
    if (ws->told && ws->state == AW__WS_OVER) return AW_FOREVER;
    if (ws->state != AW__WS_OPEN)
        return x->close_ms == AW_FOREVER ? AW_FOREVER
            : ws->since + x->close_ms;
    /* Its handshake may wait, too. */
    if ((!ws->stream || !aw__list_empty(&ws->out)) &&
        x->write_ms != AW_FOREVER && ws->since + x->write_ms < due)
        due = ws->since + x->write_ms;
    return due;
}

static void aw__ws_arm(aw_ws *ws)
{
    aw_loop *l = ws->loop;
    const int64_t due = aw__ws_due(ws);
    aw__timer_stop(l, &ws->timer.timer);
    if (due != AW_FOREVER)
        aw__timer_start(l, &ws->timer.timer, due > l->now ? due - l->now : 0,
                        AW__TIMER_CALL);
}

static void aw__ws_enter(aw_ws *ws, int state)
{
    ws->state = (uint8_t)state;
    ws->since = ws->loop->now;
    aw__ws_arm(ws);
}

/* A sign of life. The timer may stand at pong_ms, the next ping be due before. */
static void aw__ws_alive(aw_ws *ws)
{
    const bool arm = ws->pinged;
    ws->heard = ws->loop->now;
    ws->pinged = false;
    if (arm) aw__ws_arm(ws);
}

/* ---- rooms ---- */

static void aw__ws_member_end(aw__ws_member *m)
{
    aw__ws_member **at = &m->ws->rooms;
    while (*at != m) at = &(*at)->other;
    *at = m->other;
    *m->from = m->next;
    if (m->next) m->next->from = m->from;
    m->room->count--;
    aw__mem_put(&m->ws->loop->mem, m, sizeof *m);
}

static aw__ws_member *aw__ws_member_of(const aw_ws *ws, const aw_ws_room *room)
{
    aw__ws_member *m = ws->rooms;
    while (m && m->room != room) m = m->other;
    return m;
}

/* ---- the end ---- */

/* Who waits for a message, or for the closing handshake, waits no longer. */
static void aw__ws_wake(aw_ws *ws, int reader, int closer)
{
    aw__task *t = ws->reader;
    ws->reader = NULL;
    if (t) ws->told = true;
    if (t) aw__complete(t, reader);
    while (aw__wake_first(&ws->closers, closer)) {}
}

/* The stream goes. The socket itself stays for who still asks it; when nobody
   does, its timer frees it, so that no function here loses it. */
static void aw__ws_over(aw_ws *ws, int rc)
{
    if (ws->state == AW__WS_OVER) return;
    while (ws->rooms) aw__ws_member_end(ws->rooms);
    aw_stream_abort(ws->stream);
    ws->stream = NULL;
    ws->streaming = 0;
    ws->doomed = false;
    aw__ws_drop(ws, &ws->held, true);
    aw__ws_drop(ws, &ws->out, true);
    aw__ws_wake(ws, ws->error, rc);
    aw__ws_enter(ws, AW__WS_OVER);
}

/* The peer is gone, or given up, without a closing handshake: nobody is there
   to work for any more (rule 16). */
static void aw__ws_gone(aw_ws *ws, int rc)
{
    if (ws->state <= AW__WS_OPEN) {
        ws->error = rc;
        ws->told = true;
        ws->lost(ws);
    }
    aw__ws_over(ws, rc);
}

/* The same from where no task may be cancelled. */
static void aw__ws_doom(aw_ws *ws)
{
    ws->doomed = true;
    aw__ws_arm(ws);
}

/* Whether so much lies unread that nothing is read any more. */
static bool aw__ws_full(const aw_ws *ws)
{
    return ws->unread && ws->behind + ws->in.got.n >= AW__WS_BEHIND;
}

/* All that could be done has been done: what comes next? */
static void aw__ws_settle(aw_ws *ws)
{
    int want = aw__ws_full(ws) ? 0 : AW_READ;
    if (!ws->stream) return;
    if (!aw__list_empty(&ws->out) && !ws->doomed) want |= AW_WRITE;
    if (aw__fd_want(ws->loop, ws->stream->fd, want ? want : (int)AW__RESET) < 0)
        aw__ws_doom(ws);
}

/* ---- output ---- */

/* Sends as much of one frame as goes. 0: all; AW_EAGAIN; an error. */
static int aw__ws_try(aw_ws *ws, aw__ws_out *o)
{
    aw_slice rest[2];
    int count, tries = 0;
    if (!ws->stream) return AW_EAGAIN;
    while ((count = aw__ws_out_rest(o, rest)) > 0) {
        ptrdiff_t n = tries++ < AW__STREAM_TRIES
            ? aw__io_send2(ws->loop, ws->stream->fd, rest, count)
            : (ptrdiff_t)AW_EAGAIN;
        if (n < 0) return (int)n;
        o->at += (size_t)n;
    }
    return 0;
}

/* Some of the queue is out. True: a Close was. */
static bool aw__ws_sent(aw_ws *ws, size_t n)
{
    bool closed = false;
    while (n > 0) {
        aw__ws_out *o = (aw__ws_out *)ws->out.next;
        const size_t left = aw__ws_out_size(o) - o->at;
        o->at += n < left ? n : left;
        if (n < left) break;
        n -= left;
        closed |= o->opcode == AW__WS_CLOSE;
        aw__ws_out_end(ws, o, o->result);
    }
    return closed;
}

/* Sends the queue, a few frames at a time. 0: all is out; AW_EAGAIN; an
   error; 1: our Close is out. */
static int aw__ws_flush(aw_ws *ws)
{
    int tries;
    for (tries = 0; tries < AW__STREAM_TRIES; tries++) {
        aw_slice parts[4];
        const aw__link *x;
        int count = 0;
        ptrdiff_t n;
        for (x = ws->out.next; x != &ws->out && count <= 2; x = x->next)
            count += aw__ws_out_rest((const aw__ws_out *)x, parts + count);
        if (count == 0) return 0;
        n = aw__io_send2(ws->loop, ws->stream->fd, parts, count);
        if (n < 0) return (int)n;
        if (ws->state == AW__WS_OPEN) ws->since = ws->loop->now;
        if (aw__ws_sent(ws, (size_t)n)) return 1;
    }
    return AW_EAGAIN;
}

/* Whether o has to wait for the end of a message in parts. Should its sender
   have ended without, it never ends: see aw__on_ws_timer. */
static bool aw__ws_holds(const aw_ws *ws, const aw__ws_out *o)
{
    return ws->streaming && !o->part && o->opcode < AW__WS_CLOSE;
}

/* A record joins the queue. Pings and pongs pass what has not begun. */
static void aw__ws_queue(aw_ws *ws, aw__ws_out *o)
{
    aw__link *at = &ws->out;
    if (aw__ws_holds(ws, o)) at = &ws->held;
    if (o->opcode > AW__WS_CLOSE) {
        at = ws->out.next;
        if (at != &ws->out && ((aw__ws_out *)at)->at) at = at->next;
    }
    if (aw__list_empty(&ws->out) && ws->state == AW__WS_OPEN)
        ws->since = ws->loop->now;
    aw__list_add(at, &o->link);
    aw__ws_arm(ws);
    aw__ws_settle(ws);
}

/* The message in parts is over: the others go on. */
static void aw__ws_release(aw_ws *ws)
{
    ws->streaming = 0;
    while (!aw__list_empty(&ws->held)) {
        aw__link *x = ws->held.next;
        aw__list_remove(x);
        aw__list_add(&ws->out, x);
    }
    aw__ws_settle(ws);
}

/* A frame that is given its turn now, if it has one. 0: it is out. AW_EAGAIN:
   it has to be queued. Else the peer is gone. */
static int aw__ws_begin(aw_ws *ws, aw__ws_out *o)
{
    int rc = AW_EAGAIN, covered = ws->doomed ? AW_ECLOSED : 0;
    if (!covered) covered = aw__ws_cover(ws, o);
    if (covered < 0) return covered;
    if (aw__list_empty(&ws->out) && !aw__ws_holds(ws, o))
        rc = aw__ws_try(ws, o);
    if (rc < 0 && rc != AW_EAGAIN) aw__ws_gone(ws, rc);
    return rc;
}

/* Sends or queues a frame that nobody waits for. One that cannot be taken
   would be missing in what the peer gets: it is given up (AW_ENOMEM). */
static int aw__ws_give(aw_ws *ws, aw__ws_out *o, aw__ws_shared **shared)
{
    aw__ws_out *r = NULL;
    int rc = aw__ws_begin(ws, o);
    if (rc == AW_EAGAIN) {
        r = aw__ws_record(ws, o, ws->in.masked ? shared : &o->shared);
        if (!r) rc = AW_ENOMEM;
    }
    aw__ws_shared_drop(ws->loop, o->shared);
    if (rc == AW_ENOMEM || rc == AW_EIO) aw__ws_gone(ws, rc);
    if (!r) return rc;
    aw__ws_queue(ws, r);
    if (r->opcode == AW__WS_PONG) ws->pong = r;
    return AW_EAGAIN;
}

/* A control frame (5.5): at most 125 bytes of payload. 0: it is out. */
static int aw__ws_control(aw_ws *ws, int opcode, const char *p, size_t n)
{
    aw__ws_out o = aw__ws_out_of(opcode, true, p, n);
    aw__ws_shared *shared = NULL;
    const int rc = aw__ws_give(ws, &o, &shared);
    aw__ws_shared_drop(ws->loop, shared);
    return rc;
}

/* Both sides have said all: the sending side ends first, so that the peer
   does not lose what it has not read (7.1.1; RFC 2525 2.17). */
static void aw__ws_linger(aw_ws *ws)
{
    aw__ws_enter(ws, AW__WS_LINGER);
    aw__ws_wake(ws, ws->error, 0);
    if (ws->stream) aw__io_shutdown(ws->loop, ws->stream->fd);
}

/* Our Close (5.5.1), the last frame; code AW_WS_NO_CODE: without one. Then
   `state`, which waits for theirs, or for ours to be out. */
static void aw__ws_say_close(aw_ws *ws, int state, int code, const char *reason,
                             size_t n)
{
    char payload[AW__WS_CONTROL];
    while (ws->rooms) aw__ws_member_end(ws->rooms);
    ws->streaming = 0;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (n) memcpy(payload + 2, reason, n);
    aw__ws_enter(ws, state);
    if (aw__ws_control(ws, AW__WS_CLOSE, payload,
                       code == AW_WS_NO_CODE ? 0 : 2 + n) == 0 &&
        state == AW__WS_CLOSED) aw__ws_linger(ws);
}

/* Begins the closing handshake, behind what is queued. */
static void aw__ws_shut(aw_ws *ws, int code, const char *reason, size_t n)
{
    if (ws->state != AW__WS_OPEN) return;
    /* Behind a message that stays without its end nothing can follow. */
    aw__ws_drop(ws, &ws->held, true);
    aw__ws_say_close(ws, AW__WS_CLOSING, code, reason, n);
    aw__ws_settle(ws);
}

/* Frames that have not begun are for nobody now. */
static void aw__ws_answer_close(aw_ws *ws, int code)
{
    aw__ws_drop(ws, &ws->held, false);
    aw__ws_drop(ws, &ws->out, false);
    aw__ws_say_close(ws, AW__WS_CLOSED, code, NULL, 0);
}

/* ---- input ---- */

/* The peer's Close. Ours answers it with the same code, unless it is said. */
static void aw__ws_on_close(aw_ws *ws, aw_slice payload)
{
    const int code = aw__ws_close_code(payload);
    const size_t n = payload.n > 2 ? payload.n - 2 : 0;
    ws->code = (uint16_t)code;
    ws->reason = n ? (char *)aw__mem_get(&ws->loop->mem, n + 1) : NULL;
    if (ws->reason) {
        memcpy(ws->reason, payload.p + 2, n);
        ws->reason[n] = 0;
    }
    if (ws->state == AW__WS_OPEN) aw__ws_answer_close(ws, code);
    else if (aw__list_empty(&ws->out)) aw__ws_linger(ws);
    else aw__ws_enter(ws, AW__WS_CLOSED);
    if (ws->state != AW__WS_OVER) aw__ws_wake(ws, 0, 0);
}

/* A peer that floods us with pings and reads nothing gets an answer to the
   last one only (5.5.3). */
static void aw__ws_on_ping(aw_ws *ws, aw_slice payload)
{
    if (ws->state != AW__WS_OPEN) return;
    if (ws->pong && ws->pong->at == 0) aw__ws_out_end(ws, ws->pong, AW_OK);
    (void)aw__ws_control(ws, AW__WS_PONG, payload.p, payload.n);
}

/* We fail the connection (7.1.7): what they say from now on does not count. */
static void aw__ws_fail(aw_ws *ws, int code)
{
    ws->error = code == AW_WS_TOO_BIG ? AW_ETOOBIG
        : code == AW_WS_INTERNAL_ERROR ? AW_ENOMEM : AW_EBADMSG;
    if (ws->state == AW__WS_OPEN) aw__ws_answer_close(ws, code);
    else aw__ws_linger(ws);
    if (ws->state != AW__WS_OVER) aw__ws_wake(ws, ws->error, 0);
}

/* A message becomes the reader's, until its next call. */
static void aw__ws_hand(aw_ws *ws, aw_ws_message *out, const aw__ws_unread *m)
{
    out->data = ws->given = m->p;
    ws->given_cap = m->cap;
    out->size = m->n;
    out->binary = m->binary;
}

/* The first that lies unread becomes the reader's. What waited in the kernel
   behind a full socket comes only now: its silence was ours. */
static void aw__ws_take(aw_ws *ws, aw_ws_message *out)
{
    const aw__ws_unread *m = ws->unread;
    if (aw__ws_full(ws)) aw__ws_alive(ws);
    ws->unread = m->next;
    if (m->next) ws->behind -= m->next->cap;
    else ws->unread_end = &ws->unread;
    aw__ws_hand(ws, out, m);
}

static void aw__ws_forget_unread(aw_ws *ws)
{
    aw__ws_unread *m, *next;
    for (m = ws->unread; m; m = next) {
        next = m->next;
        aw__mem_put(&ws->loop->mem, m->p, m->cap);
    }
    ws->unread = NULL;
    ws->unread_end = &ws->unread;
    ws->behind = 0;
}

/* What is in in.got, of n bytes and a NUL, waits for somebody to ask. */
static void aw__ws_keep(aw_ws *ws, aw__ws_unread m)
{
    aw__buf *got = &ws->in.got;
    aw__ws_unread *at;
    got->n = (m.n + 8) & ~(size_t)7;            /* aligned, and past the NUL */
    at = (aw__ws_unread *)(void *)aw__buf_room(got, sizeof *at);
    if (!at) {
        aw__ws_fail(ws, AW_WS_INTERNAL_ERROR);
        return;
    }
    m.p = got->p;
    m.cap = got->cap;
    *at = m;
    if (ws->unread) ws->behind += m.cap;
    *ws->unread_end = at;
    ws->unread_end = &at->next;
}

static void aw__ws_on_message(aw_ws *ws, bool binary, size_t n)
{
    aw__buf *got = &ws->in.got;
    aw__task *t = ws->reader;
    aw__ws_unread m;
    if (ws->state != AW__WS_OPEN) return;
    m.next = NULL;
    m.p = got->p;
    m.cap = got->cap;
    m.n = n;
    m.binary = binary;
    if (!t) aw__ws_keep(ws, m);
    else aw__ws_hand(ws, (aw_ws_message *)t->w.waiter.arg, &m);
    if (got->failed) return;
    got->p = NULL;
    got->cap = got->n = 0;
    if (!t) return;
    ws->reader = NULL;
    aw__complete(t, 1);
}

static void aw__ws_on_frame(aw_ws *ws, int what, aw_slice data)
{
    switch (what) {
        case AW__WS_TEXT: case AW__WS_BINARY:
            aw__ws_on_message(ws, what == AW__WS_BINARY, data.n);
            break;
        case AW__WS_PING: aw__ws_on_ping(ws, data); break;
        case AW__WS_PONG: break;
        case AW__WS_CLOSE: aw__ws_on_close(ws, data); break;
        default: aw__ws_fail(ws, -what);
    }
}

/* Reads p[0..n) until the socket is full. Returns how much is used. */
static size_t aw__ws_parse(aw_ws *ws, const char *p, size_t n)
{
    aw_slice in = aw__slice(p, n), data = aw__slice(NULL, 0);
    int rc = 1;
    while (rc > 0 && !aw__ws_full(ws) && ws->state <= AW__WS_CLOSING) {
        rc = aw__ws_next(&ws->in, &in, &data);
        if (rc) aw__ws_on_frame(ws, rc, data);
    }
    if (ws->in.got.n == 0) aw__buf_free(&ws->in.got);
    return ws->state <= AW__WS_CLOSING ? n - in.n : n;
}

static void aw__ws_read_ahead(aw_ws *ws)
{
    aw_stream *s = ws->stream;
    size_t n;
    if (!s || s->ahead_at == s->ahead_end) return;
    n = aw__ws_parse(ws, s->ahead + s->ahead_at, s->ahead_end - s->ahead_at);
    if (!ws->stream) return;
    s->ahead_at += n;
    aw__ahead_trim(s);
    aw__ws_settle(ws);
}

/* n bytes came. A whole frame is a sign of life; what only makes one longer
   counts for no more time than it takes at min_rate, for no pong can come
   within it (5.4): who trickles is pinged in the end, and given up. */
static void aw__ws_hear(aw_ws *ws, int64_t n)
{
    const int64_t now = ws->loop->now, rate = ws->limits->min_rate;
    if (ws->in.frame || rate < 0) aw__ws_alive(ws);
    else if (n * 1000 / rate > now - ws->heard) ws->heard = now;
    else ws->heard += n * 1000 / rate;
}

static void aw__ws_readable(aw_ws *ws)
{
    char bytes[AW__WS_READ];
    aw_stream *s = ws->stream;
    ptrdiff_t n = aw__io_recv(ws->loop, s->fd, bytes, sizeof bytes);
    size_t used;
    if (n == AW_EAGAIN) return;
    if (n <= 0) {
        aw__ws_gone(ws, n < 0 ? (int)n : AW_EEOF);
        return;
    }
    ws->in.frame = false;
    used = aw__ws_parse(ws, bytes, (size_t)n);
    aw__ws_hear(ws, n);
    if (ws->stream && aw__stream_unread(s, bytes + used, (size_t)n - used) < 0)
        aw__ws_gone(ws, AW_ENOMEM);
}

/* ---- events ---- */

static void aw__ws_writable(aw_ws *ws)
{
    const int rc = ws->doomed ? 0 : aw__ws_flush(ws);
    if (rc < 0 && rc != AW_EAGAIN) aw__ws_gone(ws, rc);
    else if (rc == 1 && ws->state == AW__WS_CLOSED) aw__ws_linger(ws);
}

static void aw__on_ws(aw_loop *l, int fd, int events)
{
    aw_ws *ws = (aw_ws *)l->fds[fd].object;
    if (events & AW__RESET) {
        aw__ws_gone(ws, AW_ECONNRESET);
        return;
    }
    if (events & AW_WRITE) aw__ws_writable(ws);
    if (events & AW_READ && ws->stream && !aw__ws_full(ws))
        aw__ws_readable(ws);
    aw__ws_settle(ws);
}

/* One timer for all: it is late rather than set anew for each message. */
static void aw__on_ws_timer(aw_loop *l, aw__call_timer *timer)
{
    aw_ws *ws = (aw_ws *)(void *)((char *)timer - offsetof(aw_ws, timer));
    if (aw__ws_full(ws)) {              /* an answer could not be seen, */
        ws->pinged = false;
        if (!aw__list_empty(&ws->out)) ws->heard = l->now;  /* or left out */
    }
    if (ws->streaming && aw_ended(ws->streamer))
        aw__ws_shut(ws, AW_WS_INTERNAL_ERROR, NULL, 0);
    if (aw__ws_due(ws) > l->now) {
        aw__ws_arm(ws);
    } else if (ws->state == AW__WS_OVER) {
        if (ws->ended) ws->over(ws);
        else ws->lost(ws);      /* the view has not asked for so long */
    } else if (ws->state == AW__WS_OPEN && !ws->doomed && !ws->pinged &&
               l->now - ws->heard >= ws->limits->ping_ms) {
        ws->pinged = true;
        ws->heard = l->now;
        if (aw__ws_control(ws, AW__WS_PING, NULL, 0) == 0) aw__ws_arm(ws);
    } else {
        aw__ws_gone(ws, AW_ETIMEDOUT);
    }
}

static void aw__ws_stream_lost(aw_loop *l, int fd)
{
    aw__ws_over((aw_ws *)l->fds[fd].object, AW_ESHUTDOWN);
}

/* ---- birth ---- */

static void aw__ws_init(aw_ws *ws, aw_loop *l, const aw__ws_limits *limits)
{
    ws->loop = l;
    ws->limits = limits;
    ws->in.got.mem = &l->mem;
    ws->in.max_message = limits->max_message;
    ws->unread_end = &ws->unread;
    ws->code = AW_WS_ABNORMAL;
    ws->timer.fn = aw__on_ws_timer;
    aw__list_init(&ws->out);
    aw__list_init(&ws->held);
    l->on_fd[AW__FD_WS] = aw__on_ws;
    l->on_lost[AW__FD_WS] = aw__ws_stream_lost;
}

/* From now on the stream is the socket's, with what was read ahead; what was
   queued meanwhile goes out. */
static void aw__ws_attach(aw_ws *ws, aw_stream *s)
{
    ws->stream = s;
    ws->loop->fds[s->fd].kind = AW__FD_WS;
    ws->loop->fds[s->fd].object = ws;
    ws->heard = ws->since = ws->loop->now;
    aw__ws_arm(ws);
    aw__ws_writable(ws);
    aw__ws_read_ahead(ws);
    aw__ws_settle(ws);
}

/* Nobody uses it any more: the view has ended, and the stream. */
static void aw__ws_free(aw_ws *ws)
{
    aw__timer_stop(ws->loop, &ws->timer.timer);
    aw__ws_forget_unread(ws);
    aw__buf_free(&ws->in.got);
    aw__mem_put(&ws->loop->mem, ws->given, ws->given_cap);
    if (ws->reason)
        aw__mem_put(&ws->loop->mem, ws->reason, strlen(ws->reason) + 1);
    ws->given = ws->reason = NULL;
}

/* Who closes asks for no message any more: those that lie unread must not keep
   the peer's Close from being read. */
static void aw__ws_leave_off(aw_ws *ws, int code, const char *reason, size_t n)
{
    aw__ws_forget_unread(ws);
    ws->told = true;
    aw__ws_shut(ws, code, reason, n);
    aw__ws_read_ahead(ws);
}

#endif

#ifndef ASYNCWEB_NO_WS
/* >>floor5 ws verbs  What tasks ask of a WebSocket ------------------------- */

static const aw__wait aw__wait_ws_close = {"the end of a WebSocket",
                                           aw__undo_waiter};

/* 0: it is open, or ends; else why it never was. */
static int aw__ws_opened(aw_ws *ws)
{
    return ws->state == AW__WS_ASKED ? ws->open(ws) : 0;
}

static void aw__undo_ws_recv(aw__task *t)
{
    ((aw_ws *)t->w.waiter.on)->reader = NULL;
}

static const aw__wait aw__wait_ws_recv = {"a WebSocket message",
                                          aw__undo_ws_recv};

static aw_use_RETURN_not_return aw__aw_ws_recv(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_ws_recv *a = AW__LEAF_ARGS(aw_ws_recv, args);
    aw_ws *ws = a->ws;
    aw__task *t = (aw__task *)ctx;
    const int rc = ws->reader ? AW_EBUSY : aw__ws_opened(ws);
    if (rc < 0) return aw__at_once(t, rc);
    aw__mem_put(&ws->loop->mem, ws->given, ws->given_cap);
    ws->given = NULL;
    if (ws->unread) {
        aw__ws_take(ws, a->out);
        aw__ws_read_ahead(ws);
        aw__ws_settle(ws);
        if (ws->state == AW__WS_OVER) aw__ws_enter(ws, AW__WS_OVER);
        return aw__at_once(t, 1);
    }
    memset(a->out, 0, sizeof *a->out);
    a->out->data = "";
    if (ws->state > AW__WS_CLOSING) {
        ws->told = true;
        return aw__at_once(t, ws->error);
    }
    ws->reader = t;
    t->w.waiter.on = ws;
    t->w.waiter.arg = a->out;
    return aw__wait_on(t, &aw__wait_ws_recv);
}
AW__LEAF_KEEPS(aw_ws_recv, "(void *ws; void *out;)");

/* A sender is unwound. What has begun has to be finished, from a copy: a frame
   or, with all of its parts, a message. */
static void aw__undo_ws_send(aw__task *t)
{
    aw_ws *ws = (aw_ws *)t->w.waiter.on;
    aw__ws_out *o = (aw__ws_out *)t->w.waiter.arg, *r;
    aw__ws_shared *shared = NULL;
    if (o->at || o->opcode == AW__WS_MORE) {
        r = aw__ws_record(ws, o, &shared);
        if (r) aw__list_add(o->link.next, &r->link);
        else aw__ws_doom(ws);
        aw__ws_shared_drop(ws->loop, shared);
    } else if (o->part && !(o->head[0] & AW__WS_FIN)) {
        ws->streaming = 0;
    }
    aw__list_remove(&o->link);
    if (!ws->streaming) aw__ws_release(ws);
    shared = o->shared;
    aw__task_put(t, o);
    aw__ws_shared_drop(ws->loop, shared);
}

static const aw__wait aw__wait_ws_send = {"a WebSocket to take a message",
                                          aw__undo_ws_send};

static aw_use_RETURN_not_return aw__ws_send(aw__ctx *ctx, aw_ws *ws,
                                            aw__ws_out *o)
{
    aw__task *t = (aw__task *)ctx;
    aw__ws_out *mine;
    int rc = aw__ws_begin(ws, o);
    mine = rc == AW_EAGAIN ? (aw__ws_out *)aw__task_get(t, sizeof *mine) : NULL;
    if (!mine) {
        aw__ws_shared_drop(ws->loop, o->shared);
        if (rc != AW_EAGAIN) return aw__at_once(t, rc == 0 ? o->result : rc);
        rc = t->ctx.rc;
        if (o->at) aw__ws_gone(ws, rc);
        return aw__at_once(t, rc);
    }
    *mine = *o;
    mine->task = t;
    t->w.waiter.on = ws;
    t->w.waiter.arg = mine;
    t->wait = &aw__wait_ws_send;
    aw__ws_queue(ws, mine);
    return aw__step(AW__SUSPEND);
}

/* Whether a message may be sent now: 0, or why not. */
static int aw__ws_may_send(aw_ws *ws, size_t n)
{
    int rc = aw__ws_opened(ws);
    if (rc < 0) return rc;
    if (ws->state == AW__WS_OPEN)
        return n > INT_MAX ? AW_EINVAL : 0;
    ws->told = true;
    return AW_ECLOSED;
}

static int aw__ws_may_text(aw_ws *ws, const void *data, size_t n)
{
    if (aw__utf8_valid((const char *)data, n) != n) return AW_EINVAL;  /* 5.6 */
    return aw__ws_may_send(ws, n);
}

static aw_use_RETURN_not_return aw__aw_ws_send(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_ws_send *a = AW__LEAF_ARGS(aw_ws_send, args);
    aw__ws_out o = aw__ws_out_of(AW__WS_TEXT, true, a->data, a->size);
    const int rc = aw__ws_may_text(a->ws, a->data, a->size);
    if (rc < 0) return aw__at_once((aw__task *)ctx, rc);
    return aw__ws_send(ctx, a->ws, &o);
}
AW__LEAF_KEEPS(aw_ws_send, "(void *ws; void *data;)");

static aw_use_RETURN_not_return aw__aw_ws_send_binary(aw__ctx *ctx,
                                                      const void *args)
{
    const aw_args_aw_ws_send_binary *a = AW__LEAF_ARGS(aw_ws_send_binary, args);
    aw__ws_out o = aw__ws_out_of(AW__WS_BINARY, true, a->data, a->size);
    const int rc = aw__ws_may_send(a->ws, a->size);
    if (rc < 0) return aw__at_once((aw__task *)ctx, rc);
    return aw__ws_send(ctx, a->ws, &o);
}
AW__LEAF_KEEPS(aw_ws_send_binary, "(void *ws; void *data;)");

/* Whether this part may come now; and then its text is well-formed so far. */
static int aw__ws_may_part(aw_ws *ws, const aw_args_aw_ws_send_part *a,
                           aw_task me)
{
    const bool begins = !ws->streaming;
    int rc = aw__ws_may_send(ws, a->size);
    if (rc < 0) return rc;
    if (!begins && (ws->streamer.slot != me.slot ||
                    ws->streamer.generation != me.generation)) return AW_EBUSY;
    if (begins ? a->how & AW_WS_BINARY : ws->streaming == AW__WS_BINARY)
        return 0;
    if (begins) memset(&ws->utf8, 0, sizeof ws->utf8);
    if (!aw__utf8_more(&ws->utf8, (const char *)a->data, a->size))
        return AW_EINVAL;
    return a->how & AW_WS_LAST && ws->utf8.left ? AW_EINVAL : 0;
}

static aw_use_RETURN_not_return aw__aw_ws_send_part(aw__ctx *ctx,
                                                    const void *args)
{
    const aw_args_aw_ws_send_part *a = AW__LEAF_ARGS(aw_ws_send_part, args);
    aw_ws *ws = a->ws;
    const aw_task me = aw__handle((aw__task *)ctx);
    const bool last = (a->how & AW_WS_LAST) != 0;
    const int kind = a->how & AW_WS_BINARY ? AW__WS_BINARY : AW__WS_TEXT;
    aw_use_RETURN_not_return step;
    aw__ws_out o = aw__ws_out_of(ws->streaming ? AW__WS_MORE : kind, last,
                                 a->data, a->size);
    const int rc = aw__ws_may_part(ws, a, me);
    if (rc < 0) return aw__at_once((aw__task *)ctx, rc);
    o.part = true;
    step = aw__ws_send(ctx, ws, &o);
    if (step.aw_v == AW__AGAIN && ctx->rc < 0) return step;
    ws->streamer = me;
    if (last) aw__ws_release(ws);
    else if (!ws->streaming) ws->streaming = (uint8_t)kind;
    return step;
}
AW__LEAF_KEEPS(aw_ws_send_part, "(void *ws; void *data;)");

static aw_use_RETURN_not_return aw__aw_ws_close(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_ws_close *a = AW__LEAF_ARGS(aw_ws_close, args);
    aw_ws *ws = a->ws;
    aw__task *t = (aw__task *)ctx;
    const int code = a->code ? a->code : AW_WS_NORMAL;
    const size_t n = a->reason ? strlen(a->reason) : 0;
    int rc = a->reason == aw__text_lost ? AW_ENOMEM : 0;
    if (!aw__ws_code_valid(code) || n > AW__WS_CONTROL - 2 ||
        (n && aw__utf8_valid(a->reason, n) != n)) rc = AW_EINVAL;
    if (rc == 0) rc = aw__ws_opened(ws);
    if (rc < 0) return aw__at_once(t, rc);
    aw__ws_leave_off(ws, code, a->reason, n);
    if (ws->state != AW__WS_CLOSING) return aw__at_once(t, 0);
    return aw__wait_in(t, &ws->closers, NULL, &aw__wait_ws_close);
}

static void aw__ws_close_enter(aw__ctx *ctx, aw_frame *f)
{
    aw__text_keep(ctx, &((aw_args_aw_ws_close *)aw__frame_args(f))->reason);
}
AW__LEAF_FN(aw_ws_close, "(void *ws;)", aw__ws_close_enter);

/* ---- without awaiting ---- */

static int aw__ws_post(aw_ws *ws, aw__ws_out o, aw__ws_shared **shared)
{
    int rc;
    if (ws->queued + aw__ws_out_size(&o) > ws->limits->max_queue &&
        !(aw__list_empty(&ws->out) && aw__list_empty(&ws->held))) {
        aw__log(ws->loop, AW_LOG_INFO, "asyncweb: a WebSocket was dropped: it "
                "does not read, and %lu bytes wait", (unsigned long)ws->queued);
        aw__ws_gone(ws, AW_ETOOBIG);
        return AW_ETOOBIG;
    }
    rc = aw__ws_give(ws, &o, shared);
    return rc == AW_EAGAIN ? 0 : rc;
}

static int aw__ws_post_one(aw_ws *ws, int opcode, const void *data, size_t n,
                           int rc)
{
    aw__ws_shared *shared = NULL;
    if (rc < 0) return rc;
    rc = aw__ws_post(ws, aw__ws_out_of(opcode, true, data, n), &shared);
    aw__ws_shared_drop(ws->loop, shared);
    return rc;
}

int aw_ws_post(aw_ws *ws, const void *data, size_t size)
{
    return aw__ws_post_one(ws, AW__WS_TEXT, data, size,
                           aw__ws_may_text(ws, data, size));
}

int aw_ws_post_binary(aw_ws *ws, const void *data, size_t size)
{
    return aw__ws_post_one(ws, AW__WS_BINARY, data, size,
                           aw__ws_may_send(ws, size));
}

int aw_ws_join(aw_ws_room *room, aw_ws *ws)
{
    aw__ws_member *m;
    const int rc = aw__ws_may_send(ws, 0);
    if (rc < 0 || aw__ws_member_of(ws, room)) return rc;
    m = (aw__ws_member *)aw__mem_get(&ws->loop->mem, sizeof *m);
    if (!m) return AW_ENOMEM;
    m->ws = ws;
    m->room = room;
    m->other = ws->rooms;
    ws->rooms = m;
    m->next = (aw__ws_member *)room->members;
    m->from = (aw__ws_member **)&room->members;
    if (m->next) m->next->from = &m->next;
    room->members = m;
    room->count++;
    return 0;
}

void aw_ws_leave(aw_ws_room *room, aw_ws *ws)
{
    aw__ws_member *m = aw__ws_member_of(ws, room);
    if (m) aw__ws_member_end(m);
}

/* Whoever is dropped leaves the room meanwhile; nobody else does, for no code
   of the user's runs. */
static int aw__ws_broadcast(aw_ws_room *room, int opcode, const void *data,
                            size_t n)
{
    aw__ws_member *m = (aw__ws_member *)room->members, *next;
    aw_loop *l = m ? m->ws->loop : NULL;
    aw__ws_shared *shared = NULL;
    int given = 0;
    if (n > INT_MAX) return AW_EINVAL;
    for (; m; m = next) {
        next = m->next;
        if (aw__ws_post(m->ws, aw__ws_out_of(opcode, true, data, n), &shared)
            == 0) given++;
    }
    if (l) aw__ws_shared_drop(l, shared);
    return given;
}

int aw_ws_broadcast(aw_ws_room *room, const void *data, size_t size)
{
    if (aw__utf8_valid((const char *)data, size) != size) return AW_EINVAL;
    return aw__ws_broadcast(room, AW__WS_TEXT, data, size);
}

int aw_ws_broadcast_binary(aw_ws_room *room, const void *data, size_t size)
{
    return aw__ws_broadcast(room, AW__WS_BINARY, data, size);
}

int aw_ws_close_code(const aw_ws *ws)
{
    return ws->code;
}

const char *aw_ws_close_reason(const aw_ws *ws)
{
    return ws->reason ? ws->reason : "";
}

const char *aw_ws_protocol(const aw_ws *ws)
{
    return ws->protocol;
}
#endif

#if !defined ASYNCWEB_NO_WS && !defined ASYNCWEB_NO_CLIENT
/* >>floor5 ws client  The other side of the handshake (RFC 6455 4.1) ------- */

/* A socket of a client works by itself as a server's does; nobody is cancelled
   when its peer goes, for its tasks are told by what they await. It belongs to
   the client, and lives until it is over and aw_ws_free was called. */

static const aw__ws_limits aw__ws_defaults = {
    1 << 20, 1 << 20, 30000, 20000, 5000, 30000, 500};

static bool aw__ws_client_random(aw_ws *ws, uint8_t key[4])
{
    aw_client *c = ws->client;
    if (!c->chances && !aw__sys_random(c->chance, sizeof c->chance))
        return false;
    if (!c->chances) c->chances = sizeof c->chance;
    c->chances -= 4;
    memcpy(key, c->chance + c->chances, 4);
    return true;
}

static void aw__ws_client_lost(aw_ws *ws)
{
    (void)ws;
}

static void aw__ws_client_free(aw_ws *ws)
{
    aw_client *client = ws->client;
    aw_loop *l = ws->loop;
    aw__ws_over(ws, AW_ECLOSED);
    *ws->back = ws->next;
    if (ws->next) ws->next->back = ws->back;
    if (ws->protocol)
        aw__mem_put(&l->mem, (char *)(uintptr_t)ws->protocol,
                    strlen(ws->protocol) + 1);
    aw__ws_free(ws);
    aw__mem_put(&l->mem, ws, sizeof *ws);
    aw__client_put(client);
}

void aw_ws_free(void *socket)
{
    aw_ws *ws = (aw_ws *)socket;
    if (!ws || ws->req) return;
    ws->ended = true;
    if (ws->state == AW__WS_OVER) aw__ws_client_free(ws);
    else aw__ws_leave_off(ws, AW_WS_NORMAL, NULL, 0);
}

static bool aw__words_have(const char *text, const char *word)
{
    aw_slice list = aw__slice(text, strlen(text)), item;
    while (aw__word(&list, &item))
        if (aw__slice_eq(item, word)) return true;
    return false;
}

/* A field that may be there once only (11.3.3, 11.3.4). NULL: it is not; "",
   which is none of its values: it is there more often. */
static const char *aw__ws_only(const aw_response *r, const char *name)
{
    const aw_header_field *f;
    const char *value = NULL;
    for (f = r->headers; f->name; f++)
        if (aw__slice_ieq(aw__slice(f->name, strlen(f->name)), name))
            value = value ? "" : f->value;
    return value;
}

/* What is wrong with the answer to the handshake; NULL: nothing. */
static const char *aw__ws_unwelcome(const aw__exchange *x)
{
    const aw_response *r = &x->reply->face;
    const char *upgrade = aw_response_header(r, "Upgrade");
    const char *accept = aw__ws_only(r, "Sec-WebSocket-Accept");
    const char *protocol = aw__ws_only(r, "Sec-WebSocket-Protocol");
    char right[29];
    aw__ws_accept_key(aw__slice(x->key, 24), right);
    if (!x->head.upgrade ||
        !upgrade || !aw__slice_ieq(aw__slice(upgrade, strlen(upgrade)),
                                   "websocket"))
        return "no WebSocket: Upgrade or Connection does not say so";
    if (!accept || strcmp(accept, right) != 0)
        return "no WebSocket: Sec-WebSocket-Accept is not right";
    if (aw_response_header(r, "Sec-WebSocket-Extensions"))
        return "an extension was chosen that nobody offered";
    if (protocol && !aw__words_have(x->protocols ? x->protocols : "", protocol))
        return "a subprotocol was chosen that nobody offered";
    return NULL;
}

/* The connection's stream becomes a socket's, with what has come on it. */
static int aw__ws_adopt(aw__exchange *x)
{
    const char *protocol = aw_response_header(&x->reply->face,
                                              "Sec-WebSocket-Protocol");
    const size_t size = protocol ? strlen(protocol) + 1 : 0;
    aw_loop *l = x->loop;
    aw_stream *s = x->conn->stream;
    aw_ws *ws = (aw_ws *)aw__mem_get(&l->mem, sizeof *ws);
    char *copy = ws && size ? (char *)aw__mem_get(&l->mem, size) : NULL;
    if (!ws || (size && !copy)) {
        aw__mem_put(&l->mem, ws, sizeof *ws);
        return AW_ENOMEM;
    }
    memset(ws, 0, sizeof *ws);
    aw__ws_init(ws, l, &aw__ws_defaults);
    ws->in.max_message = x->max_body;
    ws->protocol = size ? (char *)memcpy(copy, protocol, size) : NULL;
    ws->random = aw__ws_client_random;
    ws->lost = aw__ws_client_lost;
    ws->over = aw__ws_client_free;
    ws->client = x->client;
    x->client->users++;
    x->client->socket_free = aw__ws_client_free;
    ws->next = x->client->sockets;
    ws->back = &x->client->sockets;
    if (ws->next) ws->next->back = &ws->next;
    x->client->sockets = x->ws = ws;
    x->conn->stream = NULL;
    aw__ws_enter(ws, AW__WS_OPEN);
    if (aw__stream_unread(s, x->in.p, x->in.n) < 0) aw__ws_doom(ws);
    aw__ws_attach(ws, s);
    return 0;
}

static int aw__ws_welcome(aw__exchange *x)
{
    const int status = x->reply->face.status;
    const char *wrong;
    if (status != 101) return AW_HTTP(status);
    aw__client_cookies(x);
    wrong = aw__ws_unwelcome(x);
    if (wrong) aw__client_log(x->loop, x->reply->face.url, wrong);
    return wrong ? AW_EBADMSG : aw__ws_adopt(x);
}

typedef struct aw__ws_frame_of {
    aw_frame aw;
    aw_ws **out;
} aw__ws_frame_of;

static aw_use_RETURN_not_return aw__ws_connect_run(aw__ctx *aw_t, aw_frame *f)
{
    aw__ws_frame_of *self = (aw__ws_frame_of *)f;
    aw__exchange *x = (aw__exchange *)f->defer_arg;
    AW_BEGIN {
        if (!x) AW_RETURN(AW_ENOMEM);
        if (x->error < 0) AW_RETURN(x->error);
        if (x->mocked) {
            aw__client_log(x->loop, x->reply->face.url,
                           "WebSockets are not in the table of mocks");
            AW_RETURN(AW_ECONNREFUSED);
        }
        AW_AWAIT_FOR_TO(x->timeout_ms, x->rc, aw__client_once, x);
        if (x->rc < 0) AW_RETURN(aw__fetch_error(aw_t, x->rc));
        AW_RETURN(aw__ws_welcome(x));
    } AW_FINALLY {
        if (self->out) *self->out = AW_OUTCOME() >= 0 ? x->ws : NULL;
    }
}

/* Words between single blanks, each a token. */
static bool aw__ws_protocols_fit(const char *text)
{
    aw_slice list = aw__slice(text, strlen(text)), word;
    size_t n = 0;
    while (aw__word(&list, &word)) {
        if (!aw__is_token(word.p, word.n)) return false;
        n += word.n + 1;
    }
    return n == strlen(text) + 1;
}

static int aw__ws_prepare(aw__exchange *x, const aw_args_aw_ws_connect *a)
{
    aw__client_ask ask;
    unsigned char key[16];
    memset((void *)&ask, 0, sizeof ask);
    ask.url = a->url;
    ask.headers = a->headers;
    ask.basic = a->basic;
    ask.bearer = a->bearer;
    ask.timeout_ms = a->timeout_ms;
    ask.tls = a->tls;
    ask.max_body = a->max_message ? a->max_message
                                  : aw__ws_defaults.max_message;
    ask.out = (aw_response **)&ask;     /* somebody takes what is streamed */
    ask.stream = true;
    if (!a->out) return AW_EINVAL;
    x->upgrade = true;
    if (!aw__sys_random(key, sizeof key)) return AW_EIO;
    (void)aw__base64_encode(x->key, key, sizeof key);
    if (a->protocols) {
        x->protocols = aw__arena_text(&x->reply->arena, a->protocols,
                                      strlen(a->protocols));
        if (!x->protocols) return AW_ENOMEM;
        if (!aw__ws_protocols_fit(a->protocols)) {
            aw__client_log(x->loop, a->url ? a->url : "", "its protocols are "
                           "to be words between blanks");
            return AW_EINVAL;
        }
    }
    return aw__client_prepare(x, &ask);
}

static void aw__ws_connect_enter(aw__ctx *ctx, aw_frame *f)
{
    const aw_args_aw_ws_connect *a = AW__LEAF_ARGS(aw_ws_connect, f + 1);
    aw_loop *l = ctx->loop;
    aw__exchange *x = aw__exchange_new(a->client ? a->client
                                                 : aw__client_of(l));
    f->defer = x ? aw__exchange_free : NULL;
    f->defer_arg = x;
    if (x) x->error = x->loop == l ? aw__ws_prepare(x, a) : AW_EINVAL;
    memset((aw__ws_frame_of *)f + 1, 0, f->fn->size - sizeof(aw__ws_frame_of));
}

AW__OBJECT const aw_fn aw_fn_aw_ws_connect = {
    "aw_ws_connect", "asyncweb.h", aw__ws_connect_run, NULL,
    (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_aw_ws_connect) -
               AW__ARGS_FROM),
    (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_aw_ws_connect) -
               AW__ARGS_FROM),
    (uint32_t)(sizeof(aw_args_aw_ws_connect) - AW__ARGS_FROM),
    "(aw_ws **out;)", aw__ws_connect_enter};
#endif

/* >>floor5 files  Representations: whole, in ranges, not at all ------------ */

/* What there is to answer with, and where its bytes are. */
typedef struct aw__source {
    aw__validators v;
    const char *type, *coding;  /* coding: NULL for none */
    const char *p;              /* NULL: in the file */
    int64_t size;
    int file;                   /* -1: none. Whoever gets it closes it */
    int max_age;
    bool varies;                /* another coding might have been chosen */
} aw__source;

enum {
    AW__SOURCE_SMALL = AW__SIZED(16384, 2048)   /* is read into the answer */
};

static void aw__source_close(aw__source *src)
{
    if (src->file >= 0) aw__sys_close(src->file);
    src->file = -1;
}

/* What the view has said itself stands. */
static int aw__header_default(aw_req *req, const char *name, const char *value)
{
    return aw__header_has(req, name) ? 0 : aw_add_header(req, name, value);
}

/* The fields of 200, 206 and 304 (RFC 9110 15.4.5). */
static int aw__source_fields(aw_req *req, const aw__source *src)
{
    char age[40];
    int rc = aw__validators_set(req, &src->v);
    if (src->max_age > 0)
        aw__print(age, sizeof age, "max-age=%d", src->max_age);
    else memcpy(age, "no-cache", 9);
    if (rc == 0 && src->max_age >= 0)
        rc = aw__header_default(req, "Cache-Control", age);
    if (rc == 0 && src->varies)
        rc = aw_add_header(req, "Vary", "Accept-Encoding");
    return rc;
}

/* Those of what has content. */
static int aw__source_content_fields(aw_req *req, const aw__source *src)
{
    int rc = aw_set_header(req, "Accept-Ranges", "bytes");
    if (rc == 0) rc = aw__header_default(req, "X-Content-Type-Options",
                                         "nosniff");
    if (rc == 0 && src->coding)
        rc = aw_set_header(req, "Content-Encoding", src->coding);
    return rc;
}

enum { AW__CONTENT_RANGE = 80 };

static void aw__content_range(char out[AW__CONTENT_RANGE], const aw__range *r,
                              int64_t size)
{
    aw__print(out, AW__CONTENT_RANGE, "bytes %lld-%lld/%lld", (long long)r->at,
              (long long)(r->at + r->n - 1), (long long)size);
}

/* A whole or one range, short, in a copy: one send with the head. */
static int aw__source_copy(aw_req *req, const aw__source *src, int status,
                           const aw__range *r)
{
    const char *p = src->p ? src->p + r->at : NULL;
#ifndef ASYNCWEB_NO_STATIC_FILES
    char *copy = p ? NULL : (char *)aw_alloc(req, (size_t)r->n + 1);
    int rc = copy ? aw__file_read(src->file, copy, (size_t)r->n, r->at) : 0;
    if (!p && !copy) return AW_ENOMEM;
    if (rc < 0) return rc == AW_EEOF ? AW_EIO : rc;
    if (copy) p = copy;
#endif
    return aw__answer(req, status, src->type, p, (size_t)r->n);
}

/* Pieces become the answer, and the file is theirs. */
static int aw__source_pieces(aw_req *req, aw__source *src, int status,
                             const char *type, aw__pieces *pieces)
{
    int rc = aw__answer(req, status, type, "", 0);
    pieces->file = src->file;
    src->file = -1;
#ifndef ASYNCWEB_NO_STATIC_FILES
    pieces->copied = pieces->file >= 0 && aw__sys_sigpipe_kills();
#endif
    if (rc < 0) aw__pieces_free(req->loop, &pieces);
    else req->pieces = pieces;
    return rc;
}

static int aw__source_one(aw_req *req, aw__source *src, int status,
                          const aw__range *r)
{
    char text[AW__CONTENT_RANGE];
    aw__pieces *pieces;
    int rc = 0;
    aw__content_range(text, r, src->size);
    if (status == 206) rc = aw_set_header(req, "Content-Range", text);
    if (rc < 0) return rc;
    if (r->n <= AW__SOURCE_SMALL && (src->p || req->head.verb != AW__HEAD))
        return aw__source_copy(req, src, status, r);
    pieces = aw__pieces_new(req->loop, 1, 0);
    if (!pieces) return AW_ENOMEM;
    aw__pieces_add(pieces, src->p ? src->p + r->at : NULL, r->at, r->n);
    return aw__source_pieces(req, src, status, src->type, pieces);
}

/* multipart/byteranges (RFC 9110 14.6): a boundary that stands in the data by
   a chance of 2 to the 64th. */
static int aw__source_many(aw_req *req, aw__source *src, const aw__range *r,
                           int n)
{
    static const char final[] = "\r\n--%s--\r\n";
    const size_t each = strlen(src->type) + AW__CONTENT_RANGE + 100;
    aw__pieces *pieces;
    uint64_t salt[3];
    char boundary[AW__ETAG_TEXT], range[AW__CONTENT_RANGE], *to;
    const char *type;
    int i, len;
    salt[0] = (uint64_t)(uintptr_t)req;
    salt[1] = (uint64_t)req->start;
    salt[2] = aw__etag_hash(0, src->v.etag,
                            src->v.etag ? AW__ETAG_TEXT - 1 : 0);
    aw__etag_format(boundary, aw__etag_hash(0, salt, sizeof salt));
    boundary[strlen(boundary) - 1] = 0;
    type = aw_format(req, "multipart/byteranges; boundary=%s", boundary + 1);
    pieces = aw__pieces_new(req->loop, 2 * n + 1, (size_t)(n + 1) * each);
    if (!type || !pieces) {
        aw__pieces_free(req->loop, &pieces);
        return AW_ENOMEM;
    }
    to = (char *)&pieces->piece[2 * n + 1];
    for (i = 0; i < n; i++, to += len) {
        aw__content_range(range, &r[i], src->size);
        len = aw__print(to, each, "%s--%s\r\nContent-Type: %s\r\n"
                        "Content-Range: %s\r\n\r\n", i ? "\r\n" : "",
                        boundary + 1, src->type, range);
        aw__pieces_add(pieces, to, 0, len);
        aw__pieces_add(pieces, src->p ? src->p + r[i].at : NULL, r[i].at,
                      r[i].n);
    }
    aw__pieces_add(pieces, to, 0, aw__print(to, each, final, boundary + 1));
    return aw__source_pieces(req, src, 206, type, pieces);
}

/* 416 says how much there is (RFC 9110 15.5.17). */
static int aw__source_refuse(aw_req *req, const aw__source *src, int status)
{
    char text[AW__CONTENT_RANGE];
    int rc = 0;
    aw__print(text, sizeof text, "bytes */%lld", (long long)src->size);
    if (status == 416) rc = aw_set_header(req, "Content-Range", text);
    req->flags &= (uint8_t)~AW__ANSWERED;
    return rc < 0 ? rc : status;
}

/* A Content-Type of the view's wins, within each range, too. */
static int aw__source_type(aw_req *req, aw__source *src)
{
    const aw__out_header *h = req->headers;
    while (h && !aw__slice_ieq(aw__slice(h->line, h->name_len), "Content-Type"))
        h = h->next;
    if (!h) return 0;
    src->type = aw__req_text(req, h->line + h->name_len + 2,
                             h->n - h->name_len - 4);
    aw__header_remove(req, "Content-Type");
    return src->type ? 0 : AW_ENOMEM;
}

static int aw__source_choose(aw_req *req, aw__source *src)
{
    const aw__head *h = &req->head;
    /* Another status than 200 is about something else: 404 with a page. */
    const bool judged = (h->verb == AW__GET || h->verb == AW__HEAD) &&
        !(req->flags & AW__CHOSEN && req->status != 200);
    aw__range r[AW__RANGES_MAX];
    int rc = judged ? aw__preconditions(req->base, h, &src->v) : 0, n = 0;
    if (rc == 412) return aw__source_refuse(req, src, 412);
    if (rc == 0 && judged)
        n = aw__ranges(req->base, h, &src->v, src->size, r);
    if (n < 0) return aw__source_refuse(req, src, 416);
    if (!judged) memset(&src->v, 0, sizeof src->v);
    if (!judged) src->max_age = AW_OFF;
    if (judged) req->flags &= (uint8_t)~AW__CHOSEN;
    n = rc == 0 && n == 0 ? -1 : n;         /* the whole of it */
    if (aw__source_fields(req, src) < 0) return AW_ENOMEM;
    if (rc == 304) return aw__answer(req, 304, NULL, "", 0);
    if (aw__source_content_fields(req, src) < 0) return AW_ENOMEM;
    if (n > 1) return aw__source_many(req, src, r, n);
    if (n == 1) return aw__source_one(req, src, 206, r);
    r->at = 0;
    r->n = src->size;
    return aw__source_one(req, src, 200, r);
}

/* The answer is this, or what of it the client asks for. Takes the file. */
static int aw__source_answer(aw_req *req, aw__source *src)
{
    int rc = aw__source_type(req, src);
    if (rc == 0) rc = aw__source_choose(req, src);
    aw__source_close(src);
    return rc;
}

#ifndef ASYNCWEB_NO_STATIC_FILES
static aw__source aw__source_of_file(const aw__file *f, const char *name)
{
    aw__source src;
    memset(&src, 0, sizeof src);
    src.v.etag = f->etag[0] ? f->etag : NULL;
    src.v.modified = f->modified;
    src.type = aw__type_of(name);
    src.size = f->size;
    src.file = f->fd;
    return src;
}

static int aw__file_answer(aw_req *req, int rc, const aw__file *f,
                           const char *name)
{
    aw__source src;
    if (rc != 0) return rc == AW__IS_DIRECTORY ? AW_HTTP(404) : rc;
    src = aw__source_of_file(f, name);
    src.max_age = AW_OFF;
    return aw__source_answer(req, &src);
}

int aw_send_file(aw_req *req, const char *path)
{
    aw__file f;
    int rc;
    if (!path) return AW_EINVAL;
    rc = aw__file_take(aw__sys_open(AT_FDCWD, path, 0), &f);
    return aw__file_answer(req, rc, &f, path);
}

int aw_send_file_in(aw_req *req, const char *dir, const char *name)
{
    aw__file f;
    int rc, at;
    if (!dir || !name) return AW_EINVAL;
    if (!aw__file_name_fits(name, false)) return AW_HTTP(404);
    at = aw__file_directory(dir);
    if (at < 0) return at;
    rc = aw__file_below(at, name, &f);
    aw__sys_close(at);
    return aw__file_answer(req, rc, &f, name);
}
#endif

/* >>floor5 connection  A connection's states, and what it sends ------------ */

/* State      what holds in it                        leaves by
   IDLE       no byte of a request has come           a byte -> HEAD
   HEAD       in: part of a head                      whole -> BODY, VIEW, IDLE
   BODY       req: receiving its body                 whole -> VIEW, IDLE
   VIEW       req: an async view runs; in: pipelined  its end -> IDLE, DRAIN
   READ       the same, and it waits in aw_body_read  bytes -> VIEW
   SEND       the same, and it waits in aw_send       all taken -> VIEW
   WRITE      out: bytes the client has not taken     all taken -> IDLE, DRAIN
   DRAIN      req: answered, its body still comes     whole -> IDLE
   WS         a WebSocket; when out is empty it has   its end -> closed
              the descriptor, and this counts it
   LINGER     all said; reads until the client ends   its end, time -> closed
   HELLO      a TLS handshake is under way            done -> IDLE

   A plain view runs within the parse: IDLE -> IDLE. Answers gather in the
   server's one buffer and leave in one send when the input is used up: what
   is in there is always for `current`, the connection being worked for. In
   each state a connection stands in the list of its time-out, in the order
   of its last progress: the first of a list is the first to expire, and of
   the idle ones also the first to go when there is no room. */
typedef enum aw__conn_state {
    AW__IDLE, AW__IN_HEAD, AW__IN_BODY, AW__IN_VIEW, AW__IN_READ, AW__IN_SEND,
    AW__IN_WRITE, AW__IN_DRAIN, AW__LINGER, AW__IN_WS, AW__IN_HELLO,
    AW__CONN_STATES
} aw__conn_state;

/* Bytes that wait: input not yet parsed, output not yet taken. */
typedef struct aw__held {
    size_t at, n, cap;          /* at: parsed or sent so far, of n */
    aw__pace pace;              /* of the client, with output */
    aw__pieces *pieces;         /* output that follows; NULL: none */
    aw_req *owner;              /* whose memory they lie in; NULL: nobody's */
} aw__held;

typedef struct aw__conn {
    aw__link link;              /* in server->lists[state] */
    int64_t since;              /* last progress */
    aw__held *in, *out;
    aw_req *req;
    int fd;
    uint8_t state, last, ended; /* last: close when all is out */
    bool expected, served;      /* waits for 100 Continue; had an answer */
    bool trusted, preface;      /* a proxy; its PROXY header is still to come */
    bool reset;                 /* close with a reset */
    bool counted;               /* in server->crowd */
    bool tls;
    uint32_t lingered;          /* bytes dropped in LINGER */
    aw__address peer;
} aw__conn;

enum {
    AW__INPUT_BYTES = 65536,    /* the shared read buffer, with slack */
    AW__PIPELINE_MOST = AW__SIZED(65536, 1024), /* input kept for a view's end */
    AW__DRAIN_MOST = 65536,     /* of a body that its view did not read */
    AW__LINGER_MS = 2000, AW__LINGER_MOST = 262144,
    AW__STOP_MS = 250,          /* in a drain, to complete a head */
    AW__RESUME_MS = 100,        /* to accept again after EMFILE */
    AW__FULL_GRACE_MS = 2000,   /* instead of rate_grace_ms, in a full table */
    AW__ACCEPT_MOST = 1024,     /* in one go */
    AW__QUARANTINE = AW__SIZED(32, 2)
};
/* Features that a config asks for. NULL: it does not, and what is behind the
   pointer is perhaps not in the program. */
typedef struct aw__with {
    int (*several)(aw_loop *l, const aw_config *config,
                   const struct aw__with *with);        /* workers */
    const struct aw__list_ops *list;                    /* listen */
    const struct aw__proxy_ops *proxies;                /* trusted_proxies */
    const struct aw__crowd_ops *crowd;                  /* max_per_address */
    const struct aw__debug_ops *debug;
} aw__with;

typedef struct aw__list_ops {
    int (*open)(aw__doors *x, const char *list);
    const char *(*name)(const aw__door *d, char *text, size_t size);
} aw__list_ops;

typedef struct aw__proxy_ops {
    int (*read)(struct aw__server *s);
    bool (*have)(const aw__nets *nets, const aw__address *a);
    const aw__forwarded *(*forwarded)(aw_req *req, const aw__nets *trusted);
    size_t (*preface)(struct aw__server *s, struct aw__conn *c, const char *p,
                      size_t n);
} aw__proxy_ops;

typedef struct aw__crowd_ops {
    bool (*add)(aw__crowd *c, const aw__address *a, size_t most);
    void (*leave)(aw__crowd *c, const aw__address *a);
} aw__crowd_ops;

typedef struct aw__debug_ops {
    void (*ended)(struct aw__server *s, aw_req *req);
    void (*page)(aw__buf *b, const aw_req *req, int rc, const aw__trace *trace);
    void (*routes)(const struct aw__server *s);
    const aw__checks *checks;
} aw__debug_ops;

typedef struct aw__server {
    aw__with with;
    aw_loop *loop;
    aw_config config;
    aw__head_limits limits;
    aw__link lists[AW__CONN_STATES];
    int64_t time_outs[AW__CONN_STATES];
    aw__call_timer sweep;       /* looks at the heads of the lists... */
    int64_t sweep_at;           /* ...then */
    aw__call_timer resume;      /* accepts again after EMFILE */
    aw__call_timer stop;        /* begins a drain that a view asked for */
    aw__conn *current;          /* whom `out` is for; NULL: nobody */
    aw_req *spare;              /* the next request's block */
    aw_req *ended[AW__QUARANTINE];      /* in debug, the last ones */
    unsigned ended_at;
    aw__buf out;                /* answers of `current` */
    aw__buf log;                /* access log lines not yet written */
    aw__call_timer log_timer;
    char *input;                /* aw__input_bytes of them */
    size_t input_bytes;         /* with ASYNCWEB_FIXED_MEMORY */
    aw__field *fields;          /* config.max_fields of them */
    aw__doors doors;
    aw__nets trusted;           /* proxies */
    aw__crowd crowd;            /* with max_per_address */
#ifndef ASYNCWEB_NO_WS
    aw__ws_limits ws;
#endif
    int connections, max_connections;
    int dumps;                  /* SIGUSR1 that were heard */
#ifdef ASYNCWEB_BEARSSL
    aw__tls_site *site;         /* for new connections; NULL: no TLS */
    int reloads;                /* SIGHUP that were heard */
#endif
    bool paused, stopping;      /* not accepting for a while; for good */
    bool gentle;                /* then idle connections may go on idling */
    struct aw__seat *seat;      /* of a worker; NULL: this process is none */
    aw__head head;              /* of the request being parsed */
    aw_req *handling;           /* whose view runs for the first time */
    int64_t sent_at;            /* bytes of large answers at this loop->now */
    size_t sent;
    int64_t date_second;
    char date[40];              /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */
    struct aw__router *router;  /* floor 6's, in `memory` */
    aw__arena memory;
    /* Stored by floor 6: finds the route; runs the view (afterwards there is
       an answer, or req->task sleeps); the same for a request whose body is
       not taken; makes the standard page; the head of a streamed answer is
       about to leave. */
    void (*route)(aw_req *req);
    void (*handle)(aw_req *req);
    void (*refuse)(aw_req *req, int status);
    void (*page)(aw_req *req, int status);
    void (*before_head)(aw_req *req);
    const aw__view_ops *sockets;        /* NULL: there are no WebSockets */
} aw__server;

/* The size of the shared read buffer; so much of answers gathers, too. */
static AW__INLINE size_t aw__input_bytes(const aw__server *s)
{
    return AW__SIZED(((void)s, (size_t)AW__INPUT_BYTES), s->input_bytes);
}

/* The rest is for the slack behind what is read. */
static AW__INLINE size_t aw__read_bytes(const aw__server *s)
{
    return aw__input_bytes(s) - AW__HEAD_SLACK;
}

static void aw__req_keep_one(aw_req *req)
{
    req->refs++;
}

static struct aw__reply **aw__req_replies(aw_req *req)
{
    return &req->replies;
}

/* Debug mode fills the block of an ended request, and keeps it for a while:
   who still has a pointer into it reads garbage, and is told of what he
   writes. */
static void aw__req_quarantine(aw__server *s, aw_req *req)
{
    aw_req **at = &s->ended[s->ended_at++ % AW__QUARANTINE], *old = *at;
    const unsigned char *p = (const unsigned char *)old;
    size_t i = 0;
    while (old && i < AW__REQ_BYTES && p[i] == 0xdb) i++;
    if (old && i < AW__REQ_BYTES)
        aw__log(s->loop, AW_LOG_ERROR, "asyncweb: memory of a request was "
                "written to after the request had ended");
    aw__mem_put(&s->loop->mem, old, AW__REQ_BYTES);
    if (req) memset(req, 0xdb, AW__REQ_BYTES);
    *at = req;
}

static void aw__quarantine_end(aw__server *s)
{
    int i;
    for (i = 0; i < AW__QUARANTINE && s->with.debug; i++)
        s->with.debug->ended(s, NULL);
}

static void aw__req_free(aw_req *req)
{
    aw_loop *l = req->loop;
    aw__server *s = l->server;
    if (req->replies) l->replies_free(&req->replies);
    if (req->receiving) aw__buf_free(&req->receiving->buf);
    aw__upload_free(req);
    aw__pieces_free(l, &req->pieces);
    aw__arena_free(&req->arena);
    if (s && l->debug) s->with.debug->ended(s, req);
    else if (AW__SIZED(true, false) && s && !s->spare) s->spare = req;
    else aw__mem_put(&l->mem, req, AW__REQ_BYTES);
}

static void aw__req_drop_one(aw_req *req)
{
    if (--req->refs == 0) aw__req_free(req);
}

static aw_req *aw__req_new(aw__server *s)
{
    aw_req *req = s->spare;
    if (req) s->spare = NULL;
    else req = (aw_req *)aw__mem_get(&s->loop->mem, AW__REQ_BYTES);
    if (req) aw__req_reset(req, s->loop);
    return req;
}

/* ---- bytes that wait ---- */

static void aw__held_free(aw_loop *l, aw__held **h)
{
    if (!*h) return;
    aw__pieces_free(l, &(*h)->pieces);
    if ((*h)->owner) aw__req_drop_one((*h)->owner);
    aw__mem_put(&l->mem, *h, sizeof **h + (*h)->cap);
    *h = NULL;
}

static char *aw__held_bytes(aw__held *h)
{
    return (char *)(h + 1);
}

/* Holds n more bytes, and behind them the slack that the head parser looks
   at, but does not judge by. False: out of memory; what is held stays. */
static bool aw__held_add(aw_loop *l, aw__held **hold, const char *p, size_t n)
{
    aw__held *h = *hold;
    size_t cap = h ? h->cap : 0, need, most;
    if (h && h->at) {           /* once a read at most */
        h->n -= h->at;
        memmove(aw__held_bytes(h), aw__held_bytes(h) + h->at, h->n);
        h->at = 0;
    }
    need = (h ? h->n : 0) + n + AW__HEAD_SLACK;
    if (need > cap) {
        most = cap ? cap * 2 : 256;
        if (most < need) most = need;
        h = (aw__held *)aw__mem_resize(&l->mem, h, h ? sizeof *h + cap : 0,
                                       sizeof *h + most);
        if (!h) return false;
        if (!*hold) memset(h, 0, sizeof *h);
        h->cap = most;
        *hold = h;
    }
    memcpy(aw__held_bytes(h) + h->n, p, n);
    h->n += n;
    memset(aw__held_bytes(h) + h->n, 0, AW__HEAD_SLACK);
    return true;
}

/* ---- states and time-outs ---- */

/* The sweep timer runs to the first time at which any list may expire; a
   connection that moves on does not touch it. */
static void aw__sweep_by(aw__server *s, int64_t when)
{
    aw_loop *l = s->loop;
    if (s->sweep.timer.link.next && s->sweep_at <= when) return;
    aw__timer_stop(l, &s->sweep.timer);
    s->sweep_at = when;
    aw__timer_start(l, &s->sweep.timer, when <= l->now ? 1 : when - l->now,
                    AW__TIMER_CALL);
}

/* Progress: into the list of that state, as its newest. */
static void aw__conn_enter(aw__server *s, aw__conn *c, int state)
{
    int64_t now = s->loop->now, limit = s->time_outs[state];
    aw__list_remove(&c->link);
    c->state = (uint8_t)state;
    c->since = now;
    aw__list_add(&s->lists[state], &c->link);
    if (limit != AW_FOREVER) aw__sweep_by(s, now + limit);
}

/* A view has the request: what is read now is its body, or comes after. */
static bool aw__conn_in_view(const aw__conn *c)
{
    return c->state == AW__IN_VIEW || c->state == AW__IN_READ ||
        c->state == AW__IN_SEND;
}

/* n bytes more after a wait. False: the client is too slow. A full table has
   less patience. */
static bool aw__pace_fits(const aw__server *s, aw__pace *p, size_t n)
{
    const int64_t now = s->loop->now, rate = s->config.min_rate;
    const bool full = s->connections >= s->max_connections;
    int64_t grace = s->config.rate_grace_ms;
    if (full && grace > AW__FULL_GRACE_MS) grace = AW__FULL_GRACE_MS;
    p->waited += now - p->since;
    p->since = now;
    p->bytes += (int64_t)n;
    return rate < 0 || p->waited <= grace ||
        p->bytes / rate >= p->waited / 1000;
}

/* 0: the listeners rest until a connection closes, or for a while. */
static void aw__listeners_want(aw__server *s, int want)
{
    aw_loop *l = s->loop;
    int i;
    s->paused = want == 0;
    for (i = 0; i < s->doors.count; i++)
        if (s->doors.at[i].fd >= 0 &&
            aw__fd_want(l, s->doors.at[i].fd, want) < 0) s->paused = true;
    aw__timer_stop(l, &s->resume.timer);
    if (s->paused)
        aw__timer_start(l, &s->resume.timer, AW__RESUME_MS, AW__TIMER_CALL);
}

static void aw__date_update(aw__server *s)
{
    int64_t second = aw__unix_seconds(s->loop);
    memcpy(s->date, "Date: ", 6);
    aw__date_format(s->date + 6, second);
    memcpy(s->date + 35, "\r\n", 2);
    s->date_second = s->loop->now / 1000;
}

/* The address of a peer, without its port; text has AW_PEER_TEXT bytes. */
static const char *aw__peer_host(const aw__address *a, char *text)
{
    if (a->family == AW__UNIX) memcpy(text, "unix:", 6);
    else if (!a->family) memcpy(text, "-", 2);
    else *aw__address_put(text, a) = 0;
    return text;
}

/* What trusted proxies say of its client; NULL: none do. */
static const aw__forwarded *aw__req_proxied(aw_req *req)
{
    const aw__server *s = req->loop->server;
    return req->proxied ? s->with.proxies->forwarded(req, &s->trusted) : NULL;
}

/* The client of a request, in text or elsewhere. */
static const char *aw__req_peer(aw_req *req, char *text)
{
    const aw__forwarded *f = aw__req_proxied(req);
    if (f && f->client.family) return aw__peer_host(&f->client, text);
    if (f && f->node.n) {
        aw__print(text, AW_PEER_TEXT, "%.*s", (int)f->node.n, f->node.p);
        return text;
    }
    return aw__peer_host(&req->conn->peer, text);
}

/* ---- the access log: Common Log Format, and the milliseconds it took ---- */

enum { AW__LOG_PIECE = AW__SIZED(4096, 512) };  /* PIPE_BUF of Linux */

static void aw__log_flush(aw__server *s)
{
    aw__timer_stop(s->loop, &s->log_timer.timer);
    if (s->log.n) (void)aw__sys_write(2, s->log.p, s->log.n);
    s->log.n = 0;
    s->log.failed = false;
}

static void aw__on_log_timer(aw_loop *l, aw__call_timer *t)
{
    (void)t;
    aw__log_flush(l->server);
}

/* "22/Nov/2026:17:31:02 +0000", made of "Date: Sun, 22 Nov 2026 17:31:02". */
static void aw__log_time(const char *date, char *to)
{
    memcpy(to, date + 11, 20);
    to[2] = to[6] = '/';
    to[11] = ':';
    memcpy(to + 20, " +0000", 7);
}

static void aw__access_log(aw__server *s, aw_req *req, int64_t n)
{
    char line[600], peer[AW_PEER_TEXT], when[27];
    const aw__head *h = &req->head;
    int len, target = h->target_len < 300 ? h->target_len : 300;
    int method = h->method_len < 32 ? h->method_len : 32;
    if (s->config.access_log == AW_OFF) return;
    if (s->date_second != s->loop->now / 1000) aw__date_update(s);
    aw__log_time(s->date, when);
    len = aw__print(line, sizeof line, "%s - - [%s] \"%.*s %.*s HTTP/1.%d\" %d "
                    "%lld %lldms\n", aw__req_peer(req, peer), when,
                    method, req->base + h->method, target,
                    req->base + h->target, h->minor, req->status,
                    (long long)n, (long long)(s->loop->now - req->start));
    if (s->config.log) {
        line[len - 1] = 0;
        s->config.log(s->config.log_data, AW_LOG_ACCESS, line);
        return;
    }
    /* Lines wait a moment so that a busy server writes many at once; no more
       than a pipe takes in one piece, where other processes write, too. */
    if (s->log.n + (size_t)len > AW__LOG_PIECE) aw__log_flush(s);
    aw__buf_add(&s->log, line, (size_t)len);
    if (s->log.failed) aw__log_flush(s);
    else if (!s->log_timer.timer.link.next)
        aw__timer_start(s->loop, &s->log_timer.timer, 100, AW__TIMER_CALL);
}

/* In a buffer of little memory a long head leaves nothing behind. */
static void aw__out_trim(aw__server *s)
{
    const size_t keep = 1024;
    char *p = NULL;
    if (AW__SIZED(true, s->out.n > 0 || s->out.cap <= keep)) return;
    p = (char *)aw__mem_resize(s->out.mem, s->out.p, s->out.cap, keep);
    if (!p) return;
    s->out.p = p;
    s->out.cap = keep;
}

/* ---- the end of a connection ---- */

/* Who clears reader or writer gives the record back, and completes the wait
   or undoes it. */
static aw__task *aw__reader_drop(aw__receiving *r)
{
    aw__body_op *op = r->reader;
    aw__task *t = op->task;
    r->reader = NULL;
    aw__task_put(t, op);
    return t;
}

/* The request is over: tasks that are not its view's may wait there still. */
static void aw__req_wake(aw_req *req)
{
    if (req->receiving && req->receiving->reader)
        aw__complete(aw__reader_drop(req->receiving), AW_ECLOSED);
    if (req->sending && req->sending->writer)
        aw__complete(aw__sender_drop(req->sending), AW_ECLOSED);
    if (req->sending && req->sending->sse)
        aw__timer_stop(req->loop, &req->sending->sse->ping.timer);
}

/* c and its request part: an answer that is due goes nowhere, a view that
   still runs is cancelled. */
enum { AW__CLIENT_GONE = 499 }; /* in the access log only, as nginx has it */

static void aw__conn_abandon(aw__server *s, aw__conn *c)
{
    aw_req *req = c->req;
    if (!req) return;
    c->req = NULL;
    if (c->state == AW__IN_WS) {
        s->sockets->gone(req);
    } else if (req->task) {
        if (!(req->sending && req->sending->head_out))
            req->status = AW__CLIENT_GONE;
        aw__access_log(s, req, req->sending ? req->sending->sent : 0);
    }
    req->conn = NULL;
    if (req->task) aw__cancel_task(req->task, AW_ECANCELED);
    aw__req_wake(req);
    aw__req_drop_one(req);
}

/* The client is gone, or we are done with it. A view that still runs is
   cancelled, and what it says from now on goes nowhere. */
static void aw__conn_close(aw__server *s, aw__conn *c)
{
    aw_loop *l = s->loop;
    aw__conn_abandon(s, c);
    aw__list_remove(&c->link);
    aw__held_free(l, &c->in);
    aw__held_free(l, &c->out);
    if (c->reset) aw__io_reset(l, c->fd);
    else if (c->fd >= 0) aw__io_close(l, c->fd);
    if (c->counted) s->with.crowd->leave(&s->crowd, &c->peer);
    if (s->current == c) {
        s->current = NULL;
        s->out.n = 0;
        s->out.failed = false;
    }
    aw__out_trim(s);
    aw__mem_put(&l->mem, c, sizeof *c);
    s->connections--;
    if (s->paused && !s->stopping) aw__listeners_want(s, AW_READ);
}

/* ---- output ---- */

static char *aw__put_status(char *to, int status)
{
    const char *reason = aw__http_reason(status);
    if (status == 200) return AW__PUT(to, "HTTP/1.1 200 OK\r\n");
    to = AW__PUT(to, "HTTP/1.1 ");
    to = aw__put_number(to, (unsigned)status);
    *to++ = ' ';
    to = aw__put(to, reason, strlen(reason));
    return AW__PUT(to, "\r\n");
}

/* Everything but the header lines of the application fits in this. */
enum { AW__ANSWER_HEAD = 320 };

static size_t aw__headers_size(const aw_req *req)
{
    const aw__out_header *h;
    size_t n = AW__ANSWER_HEAD + (req->type ? strlen(req->type) : 0);
    for (h = req->headers; h; h = h->next) n += h->n;
    return n;
}

/* How long the body is (RFC 9110 8.6: 204 and 304 do not say). */
static char *aw__put_framing(char *to, const aw_req *req)
{
    const aw__sending *sending = req->sending;
    const aw__pieces *pieces = req->pieces;
    if (req->status == 204 || req->status == 304) return to;
    if (sending && sending->left == AW__UNTIL_CLOSE) return to;
    if (sending && sending->left == AW__CHUNKS)
        return AW__PUT(to, "Transfer-Encoding: chunked\r\n");
    to = AW__PUT(to, "Content-Length: ");
    to = aw__put_number(to, sending ? (uint64_t)sending->left
                        : pieces ? (uint64_t)pieces->total : req->out_len);
    return AW__PUT(to, "\r\n");
}

/* The head of the answer (RFC 9112 4). False: out of memory. */
static bool aw__answer_head(aw__server *s, aw_req *req)
{
    const aw__conn *c = req->conn;
    const aw__out_header *h;
    const int status = req->status;
    char *to = aw__buf_room(&s->out, aw__headers_size(req));
    if (!to) return false;
    if (s->date_second != s->loop->now / 1000) aw__date_update(s);
    to = aw__put_status(to, status);
    to = aw__put(to, s->date, 37);
    if (req->type && !aw__header_has(req, "Content-Type")) {
        to = AW__PUT(to, "Content-Type: ");
        to = aw__put(to, req->type, strlen(req->type));
        to = AW__PUT(to, "\r\n");
    }
    to = aw__put_framing(to, req);
    if (c->last) to = AW__PUT(to, "Connection: close\r\n");
    else if (req->head.minor == 0)
        to = AW__PUT(to, "Connection: keep-alive\r\n");
    for (h = req->headers; h; h = h->next) to = aw__put(to, h->line, h->n);
    to = AW__PUT(to, "\r\n");
    s->out.n = (size_t)(to - s->out.p);
    return true;
}

/* Sends what has gathered for c; what the client does not take now is held.
   False: c is gone. */
static bool aw__conn_send(aw__server *s, aw__conn *c)
{
    aw_loop *l = s->loop;
    const size_t n = s->out.n;
    ptrdiff_t sent = 0;
    bool fine;
    s->out.n = 0;
    s->out.failed = false;
    if (n == 0) return true;
    if (!c->out) sent = aw__io_send(l, c->fd, s->out.p, n);
    if (sent == AW_EAGAIN) sent = 0;
    fine = sent >= 0 && ((size_t)sent == n ||
                         aw__held_add(l, &c->out, s->out.p + sent,
                                      n - (size_t)sent));
    if (fine && c->out) c->out->pace.since = l->now;
    if (!fine) aw__conn_close(s, c);
    return fine;
}

/* ---- answers that are sent from where they lie ---- */

enum {
    AW__PIECE_READ = AW__SIZED(65536, 2048),    /* of a file, where the kernel does not send */
    AW__PIECE_MOST = 1 << 20,   /* at a time: others wait */
    AW__PIECE_MANY = 65536,     /* the same, behind... */
    AW__TURN_MOST = 4 << 20     /* ...so much in one turn */
};

/* How much of a large answer may go now. The kernel takes what it can hold,
   and a thousand clients who are slow to read, but ready in the same turn,
   would have everybody else wait for gigabytes to be copied. */
static size_t aw__piece_most(aw__server *s)
{
    if (s->sent_at != s->loop->now) s->sent = 0;
    s->sent_at = s->loop->now;
    return s->sent < AW__TURN_MOST ? AW__PIECE_MOST : AW__PIECE_MANY;
}

#ifndef ASYNCWEB_NO_STATIC_FILES
/* 0: the file ends before these bytes. */
static ptrdiff_t aw__pieces_send_file(aw__server *s, int fd,
                                      aw__pieces *pieces, int64_t at, size_t n)
{
    aw_loop *l = s->loop;
    ptrdiff_t got;
    char *room;
    if (!pieces->copied && aw__io_is_plain(l, fd)) {
        got = aw__sys_sendfile(fd, pieces->file, at, n);
        if (got < 0 && errno == EINTR) return AW_EAGAIN;
        if (got >= 0 || (errno != ENOSYS && errno != EINVAL &&
                         errno != EOPNOTSUPP)) return aw__io_result(got);
        pieces->copied = true;   /* not from every file system */
    }
    if (n > AW__PIECE_READ) n = AW__PIECE_READ;
    room = aw__buf_room(&s->out, n);    /* behind what may be in there */
    if (!room) {
        s->out.failed = false;
        return AW_ENOMEM;
    }
    got = aw__sys_pread(pieces->file, room, n, at);
    if (got <= 0) return got < 0 ? aw__errno() : 0;
    return aw__io_send(l, fd, room, (size_t)got);
}
#endif

/* Sends some of what is left: at most n bytes, AW_EAGAIN or an error. */
static ptrdiff_t aw__pieces_send(aw__server *s, int fd, aw__pieces *pieces,
                                 size_t n)
{
    aw__piece *piece = &pieces->piece[pieces->at];
    ptrdiff_t sent = 0;
    if ((uint64_t)piece->n < n) n = (size_t)piece->n;
    if (piece->p) sent = aw__io_send(s->loop, fd, piece->p, n);
#ifndef ASYNCWEB_NO_STATIC_FILES
    else sent = aw__pieces_send_file(s, fd, pieces, piece->at, n);
#endif
    /* More was promised in the head than the file has now. */
    if (sent == 0) return AW_EEOF;
    if (sent < 0) return sent;
    if (piece->p) piece->p += sent;
    piece->at += sent;
    piece->n -= sent;
    if (piece->n == 0) pieces->at++;
    return sent;
}

static bool aw__held_done(const aw__held *h)
{
    return h->at == h->n && (!h->pieces || h->pieces->at == h->pieces->count);
}

/* Sends what is held, as far as the client takes it now: bytes, AW_EAGAIN for
   none, or an error. */
static ptrdiff_t aw__held_send(aw__server *s, int fd, aw__held *h)
{
    const size_t most = aw__piece_most(s);
    ptrdiff_t sent, all = 0;
    do {
        if (h->at == h->n) {
            sent = aw__pieces_send(s, fd, h->pieces, most);
        } else {
            sent = aw__io_send(s->loop, fd, aw__held_bytes(h) + h->at,
                               h->n - h->at);
            if (sent > 0) h->at += (size_t)sent;
        }
        if (sent > 0) all += sent;
    } while (sent > 0 && (size_t)all < most && !aw__held_done(h));
    s->sent += (size_t)all;
    if (sent < 0 && sent != AW_EAGAIN) return sent;
    return all ? all : (ptrdiff_t)AW_EAGAIN;
}

/* What follows when an answer has gathered, or is out. */
static void aw__conn_next(aw__server *s, aw__conn *c)
{
    aw__conn_enter(s, c, c->out ? AW__IN_WRITE : c->req ? AW__IN_DRAIN
                                                        : AW__IDLE);
}

/* Sends what is held. False: c is gone. */
static bool aw__conn_flush(aw__server *s, aw__conn *c)
{
    aw__held *out = c->out;
    ptrdiff_t n = aw__held_send(s, c->fd, out);
    if (n == AW_EAGAIN) return true;
    if (n < 0 || !aw__pace_fits(s, &out->pace, (size_t)n)) {
        aw__conn_close(s, c);
        return false;
    }
    if (aw__held_done(out)) aw__held_free(s->loop, &c->out);
    if (c->state == AW__IN_WRITE) aw__conn_next(s, c);
    else if (c->state == AW__IN_SEND) aw__conn_enter(s, c, AW__IN_SEND);
    return true;
}

/* Behind the head, which has gathered, the pieces follow. False: c is gone. */
static bool aw__conn_send_pieces(aw__server *s, aw__conn *c,
                                 aw__pieces **pieces)
{
    if (!aw__conn_send(s, c)) return false;
    if (!aw__held_add(s->loop, &c->out, "", 0)) {
        aw__conn_close(s, c);
        return false;
    }
    c->out->pieces = *pieces;
    c->out->pace.since = s->loop->now;
    *pieces = NULL;
    return aw__conn_flush(s, c);
}

/* Sends what has gathered, and behind it a large body. What the client does
   not take now stays where it is, in the memory of the request, which lives
   on for that: a copy for each of a thousand slow readers would be felt. */
static bool aw__conn_send_large(aw__server *s, aw__conn *c, aw_req *req)
{
    aw_loop *l = s->loop;
    aw_slice parts[2];
    const size_t head = s->out.n, most = aw__piece_most(s);
    size_t gone;
    ptrdiff_t sent = 0;
    aw__pieces *rest = NULL;
    parts[0] = aw__slice(s->out.p, head);
    parts[1] = aw__slice(req->out, req->out_len < most ? req->out_len : most);
    s->out.n = 0;
    if (!c->out) sent = aw__io_send2(l, c->fd, parts, 2);
    if (sent == AW_EAGAIN) sent = 0;
    if (sent > 0) s->sent += (size_t)sent;
    if (sent >= 0 && (size_t)sent == head + req->out_len) return true;
    if (sent >= 0) rest = aw__pieces_new(l, 1, 0);
    gone = (size_t)sent < head ? (size_t)sent : head;
    if (!rest || !aw__held_add(l, &c->out, parts[0].p + gone, head - gone)) {
        aw__pieces_free(l, &rest);
        aw__conn_close(s, c);
        return false;
    }
    gone = (size_t)sent - gone;
    aw__pieces_add(rest, req->out + gone, 0, (int64_t)(req->out_len - gone));
    aw__req_keep_one(req);
    c->out->owner = req;
    c->out->pieces = rest;
    c->out->pace.since = l->now;
    return true;
}

static bool aw__answer_has_body(const aw_req *req)
{
    return req->head.verb != AW__HEAD && req->status != 204 &&
        req->status != 304;
}

/* The answer in req goes out, or gathers. False: the connection is gone. */
static bool aw__conn_answer(aw__server *s, aw_req *req)
{
    aw__conn *c = req->conn;
    size_t n = aw__answer_has_body(req) ? req->out_len : 0;
    bool large = n > aw__input_bytes(s) / 4, fine = aw__answer_head(s, req);
    if (fine && !large) {
        aw__buf_add(&s->out, req->out, n);
        fine = !s->out.failed;
    }
    if (!fine) {
        aw__conn_close(s, c);
        return false;
    }
    if (req->pieces && aw__answer_has_body(req)) {
        aw__access_log(s, req, req->pieces->total);
        return aw__conn_send_pieces(s, c, &req->pieces);
    }
    aw__access_log(s, req, (int64_t)n);
    if (large) return aw__conn_send_large(s, c, req);
    return s->out.n < aw__input_bytes(s) || aw__conn_send(s, c);
}

/* >>floor5 pieces  Views that read and send in pieces -------------------- */

/* The view has not been given all of its body. */
static bool aw__conn_streams(const aw__conn *c)
{
    const aw__receiving *r = c->req ? c->req->receiving : NULL;
    return r && r->streamed && !r->whole;
}

static aw__send_op *aw__conn_writer(const aw__conn *c)
{
    return c->req && c->req->sending ? c->req->sending->writer : NULL;
}

/* The state of a view's connection: whom it waits for, if for anybody. One
   that has both to read and to send is seen as sending. */
static void aw__conn_waits(aw__server *s, aw__conn *c)
{
    const aw__receiving *r = c->req->receiving;
    aw__conn_enter(s, c, aw__conn_writer(c) ? AW__IN_SEND
                         : r && r->reader ? AW__IN_READ : AW__IN_VIEW);
}

/* Answers gather for one connection at a time; a view may send on another's.
   Returns whose turn it was, for aw__out_back. */
static aw__conn *aw__out_lend(aw__server *s, aw__conn *c)
{
    aw__conn *was = s->current;
    if (was == c) return c;
    if (was && !aw__conn_send(s, was)) was = NULL;
    s->current = c;
    return was;
}

static void aw__out_back(aw__server *s, aw__conn *was, const aw__conn *c)
{
    if (was != c) s->current = was;
}

/* Moves body bytes from `in` to to[0..cap), or drops them for NULL. Returns
   how much of `in` is used, *got of that is the body's, or AW_HTTP(400) or
   (413). There is an end when r->whole is set. */
static ptrdiff_t aw__body_take(aw_req *req, aw_slice in, char *to, size_t cap,
                               size_t *got)
{
    aw__receiving *r = req->receiving;
    aw_slice rest = in, part, data;
    int rc = AW_OK;
    *got = 0;
    if (!req->head.chunked) {
        if (cap > in.n) cap = in.n;
        if ((uint64_t)r->left < cap) cap = (size_t)r->left;
        if (to && cap) memcpy(to, in.p, cap);
        *got = cap;
        r->got += (int64_t)cap;
        r->left -= (int64_t)cap;
        r->whole = r->left == 0;
        return r->got > r->limit ? AW_HTTP(413) : (ptrdiff_t)cap;
    }
    while (rc == AW_OK && *got < cap && rest.n) {
        /* Never more input than there is room: what is data must fit. */
        part = aw__slice(rest.p, rest.n < cap - *got ? rest.n : cap - *got);
        rc = aw__chunked_next(&r->chunked, &part, &data);
        rest.n -= (size_t)(part.p - rest.p);
        rest.p = part.p;
        if (rc == AW_EAGAIN) rc = AW_OK;
        else if (rc == AW_OK) {
            if ((int64_t)data.n > r->limit - r->got) return AW_HTTP(413);
            if (to) memcpy(to + *got, data.p, data.n);
            *got += data.n;
            r->got += (int64_t)data.n;
        }
    }
    r->whole = rc == 1;
    return rc < 0 ? AW_HTTP(400) : rest.p - in.p;
}

/* Takes from what has come already. */
static ptrdiff_t aw__body_held(aw_req *req, char *to, size_t size, size_t *got)
{
    aw__conn *c = req->conn;
    aw__held *in = c->in;
    ptrdiff_t used = aw__body_take(
        req, aw__slice(aw__held_bytes(in) + in->at, in->n - in->at), to, size,
        got);
    if (used > 0) in->at += (size_t)used;
    if (in->at == in->n) aw__held_free(req->loop, &c->in);
    return used;
}

/* Takes from the socket. In chunks comes less data than bytes, so that at most
   what follows the body is left over. AW_EAGAIN; 0 bytes: it has ended. */
static ptrdiff_t aw__body_recv(aw__server *s, aw_req *req, char *to,
                               size_t size, size_t *got)
{
    aw__conn *c = req->conn;
    aw__receiving *r = req->receiving;
    ptrdiff_t n, used;
    /* Somebody else's input may lie in the shared buffer. */
    if (r->drained || (s->handling && s->handling != req)) return AW_EAGAIN;
    if (!req->head.chunked) {
        if ((uint64_t)r->left < size) size = (size_t)r->left;
        n = aw__io_recv(s->loop, c->fd, to, size);
        r->drained = n > 0 && (size_t)n < size;
        if (n > 0) {
            (void)aw__body_take(req, aw__slice(to, (size_t)n), NULL, size, got);
            if (r->got > r->limit) return AW_HTTP(413);
        }
        return n;
    }
    if (size > aw__read_bytes(s)) size = aw__read_bytes(s);
    n = aw__io_recv(s->loop, c->fd, s->input, size);
    if (n <= 0) return n;
    r->drained = (size_t)n < size;
    used = aw__body_take(req, aw__slice(s->input, (size_t)n), to, size, got);
    if (used >= 0 && used < n &&
        !aw__held_add(s->loop, &c->in, s->input + used, (size_t)(n - used)))
        return AW_HTTP(503);
    return used < 0 ? used : n;
}

/* A result for aw_body_read, or AW_EAGAIN. c may be gone then: AW_ECLOSED. */
static int aw__body_try(aw__server *s, aw_req *req, char *to, size_t size)
{
    aw__conn *c = req->conn;
    aw__receiving *r = req->receiving;
    size_t got = 0;
    while (!r->error && !r->whole && !got) {
        const bool held = c->in != NULL;
        ptrdiff_t n = held ? aw__body_held(req, to, size, &got)
            : aw__body_recv(s, req, to, size, &got);
        if (n == AW_EAGAIN) return AW_EAGAIN;
        if (n <= AW_HTTP(100)) r->error = (int)n;
        else if (n < 0 || (n == 0 && !held)) {
            aw__conn_close(s, c);       /* it broke off: the view ends */
            return AW_ECLOSED;
        }
        else if (!held && !r->whole && !aw__pace_fits(s, &r->pace, (size_t)n))
            r->error = AW_HTTP(408);
    }
    if (r->error) c->last = 1;
    return got ? (int)got : r->error;
}

/* Whoever reads is told. */
static void aw__body_over(aw__server *s, aw_req *req, int rc)
{
    aw__receiving *r = req->receiving;
    if (rc <= AW_HTTP(100)) {
        r->error = rc;
        req->conn->last = 1;
    }
    aw__complete(aw__reader_drop(r), rc);
    aw__conn_waits(s, req->conn);
}

/* The client has sent something, or left. When the view does not ask for
   that now, nothing is read: it has to wait, too. */
static void aw__conn_body_event(aw__server *s, aw__conn *c)
{
    aw_req *req = c->req;
    aw__body_op *op = req->receiving->reader;
    int rc;
    req->receiving->drained = false;
    if (!op) {
        if (aw__fd_want(s->loop, c->fd, c->out || aw__conn_writer(c)
                        ? (int)AW_WRITE : (int)AW__RESET) < 0)
            aw__conn_close(s, c);
        return;
    }
    rc = aw__body_try(s, req, op->to, op->size);
    if (rc == AW_EAGAIN) aw__conn_enter(s, c, c->state);
    else if (req->conn) aw__body_over(s, req, rc);
}

static void aw__undo_body_read(aw__task *t)
{
    aw_req *req = (aw_req *)t->w.waiter.on;
    (void)aw__reader_drop(req->receiving);
    if (req->conn) aw__conn_waits(req->loop->server, req->conn);
}

static const aw__wait aw__wait_body = {"the body of its request",
                                       aw__undo_body_read};

/* The client waits to be told that the body is wanted (RFC 9110 10.1.1). */
static bool aw__conn_say_continue(aw__server *s, aw__conn *c)
{
    aw__conn *was;
    bool alive;
    if (!c->expected || (c->req->sending && c->req->sending->head_out))
        return true;
    c->expected = false;
    was = aw__out_lend(s, c);
    aw__buf_add(&s->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    alive = aw__conn_send(s, c);
    aw__out_back(s, was, c);
    return alive;
}

/* Waits for the client's next bytes. */
static aw_use_RETURN_not_return aw__body_wait(aw__task *t, aw_req *req,
                                              char *to, size_t size)
{
    aw__conn *c = req->conn;
    aw_loop *l = req->loop;
    aw__body_op *op = (aw__body_op *)aw__task_get(t, sizeof *op);
    int rc;
    if (!op) return aw__step(AW__AGAIN);
    rc = aw__fd_want(l, c->fd, AW_READ |
                     (c->out || aw__conn_writer(c) ? AW_WRITE : 0));
    if (rc < 0) {
        aw__task_put(t, op);
        return aw__at_once(t, rc);
    }
    op->task = t;
    op->to = to;
    op->size = size;
    req->receiving->reader = op;
    t->w.waiter.on = req;
    t->wait = &aw__wait_body;
    aw__conn_waits(l->server, c);
    return aw__step(AW__SUSPEND);
}

static aw_use_RETURN_not_return aw__aw_body_read(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw_body_read *a = AW__LEAF_ARGS(aw_body_read, args);
    aw__task *t = (aw__task *)ctx;
    aw_req *req = a->req;
    aw__receiving *r = req ? req->receiving : NULL;
    size_t n = req ? req->body_len - req->body_at : 0;
    int rc;
    if (!req || a->size == 0 || a->size > INT_MAX)
        return aw__at_once(t, AW_EINVAL);
    if (!r || !r->streamed) {
        if (n > a->size) n = a->size;
        if (n) memcpy(a->buffer, req->body + req->body_at, n);
        req->body_at += n;
        return aw__at_once(t, (int)n);
    }
    if (!req->conn) return aw__at_once(t, AW_ECLOSED);
    if (r->reader) return aw__at_once(t, AW_EBUSY);
    r->pace.since = req->loop->now;     /* it was the view that took long */
    rc = aw__body_try(req->loop->server, req, (char *)a->buffer, a->size);
    if (rc != AW_EAGAIN) return aw__at_once(t, rc);
    if (!aw__conn_say_continue(req->loop->server, req->conn))
        return aw__at_once(t, AW_ECLOSED);
    return aw__body_wait(t, req, (char *)a->buffer, a->size);
}
AW__LEAF_KEEPS(aw_body_read, "(void *req; void *buffer;)");

/* ---- sending ---- */

/* Sends what has gathered, then what is left of the piece. The rest of that
   stays where it is; the rest of all others is held. AW_EAGAIN: not all of
   the piece is on its way; AW_ECLOSED: c is gone. */
static int aw__send_parts(aw__server *s, aw__conn *c, aw__send_op *op)
{
    aw_loop *l = s->loop;
    aw_slice parts[3];
    ptrdiff_t sent;
    size_t gone[3];
    bool fine = true;
    int i;
    parts[0] = aw__slice(s->out.p, s->current == c ? s->out.n : 0);
    parts[1] = aw__slice(op->data + op->done, op->size - op->done);
    parts[2] = aw__slice("\r\n", c->req->sending->left == AW__CHUNKS &&
                         op->size ? 2 : 0);
    sent = aw__io_send2(l, c->fd, parts, 3);
    if (sent == AW_EAGAIN) sent = 0;
    fine = sent >= 0 && aw__pace_fits(s, &op->pace, (size_t)sent);
    for (i = 0; fine && i < 3; i++) {
        gone[i] = (size_t)sent < parts[i].n ? (size_t)sent : parts[i].n;
        sent -= (ptrdiff_t)gone[i];
    }
    if (fine && gone[0] < parts[0].n)
        fine = aw__held_add(l, &c->out, parts[0].p + gone[0],
                            parts[0].n - gone[0]);
    if (fine && gone[1] == parts[1].n && gone[2] < parts[2].n)
        fine = aw__held_add(l, &c->out, parts[2].p + gone[2],
                            parts[2].n - gone[2]);
    if (!fine) {
        aw__conn_close(s, c);
        return AW_ECLOSED;
    }
    if (s->current == c) s->out.n = 0;
    if (c->out) c->out->pace.since = l->now;
    op->done += gone[1];
    return op->done == op->size ? (int)op->size : AW_EAGAIN;
}

/* What comes before the piece: the head of the answer, the line of the
   chunk. False: out of memory. */
static bool aw__send_line(aw__server *s, aw_req *req, size_t size)
{
    aw__sending *sending = req->sending;
    char line[18];
    if (!sending->head_out) {
        sending->fixed = true;
        s->before_head(req);
        if (s->stopping || sending->left == AW__UNTIL_CLOSE)
            req->conn->last = 1;
        if (!aw__answer_head(s, req)) return false;
        sending->head_out = true;
        if (!aw__answer_has_body(req)) sending->left = AW__NO_BODY;
    }
    if (sending->left == AW__CHUNKS && size)
        aw__buf_add(&s->out, line, aw__chunked_line(line, size));
    return !s->out.failed;
}

/* The result of aw_send, or AW_EAGAIN. */
static int aw__send_try(aw__server *s, aw_req *req, aw__send_op *op)
{
    aw__conn *c = req->conn, *was;
    aw__sending *sending = req->sending;
    bool fine;
    int rc;
    if (c->out) return AW_EAGAIN;
    if (op->begun) return aw__send_parts(s, c, op);
    op->begun = true;
    op->pace.since = s->loop->now;      /* until now, others' bytes came */
    was = aw__out_lend(s, c);
    fine = aw__send_line(s, req, op->size);
    if (!fine) {
        aw__conn_close(s, c);
        rc = AW_ENOMEM;
    } else if (sending->left == AW__NO_BODY) {
        rc = aw__conn_send(s, c) ? (int)op->size : AW_ECLOSED;
    } else {
        sending->sent += (int64_t)op->size;
        if (sending->left > 0) sending->left -= (int64_t)op->size;
        rc = aw__send_parts(s, c, op);
    }
    aw__out_back(s, was, c);
    return rc;
}

/* The client takes more of what a view sends. */
static void aw__conn_send_event(aw__server *s, aw__conn *c)
{
    aw_req *req = c->req;
    int rc = aw__send_try(s, req, req->sending->writer);
    if (!req->conn) return;
    if (rc != AW_EAGAIN) aw__complete(aw__sender_drop(req->sending), rc);
    /* Interest in writing stays: it will send more, or an event that finds
       nothing to do takes it back. */
    aw__conn_waits(s, c);
}

/* Nobody waits for the rest of a piece that has begun. It is held, for what
   comes next must not land in the middle of it. */
static void aw__send_hold(aw_req *req, const aw__send_op *op)
{
    aw__sending *sending = req->sending;
    aw__conn *c = req->conn;
    if (op->begun && (!aw__held_add(req->loop, &c->out, op->data + op->done,
                                    op->size - op->done) ||
                      (sending->left == AW__CHUNKS &&
                       !aw__held_add(req->loop, &c->out, "\r\n", 2))))
        sending->broken = true;
    if (c->out) c->out->pace.since = req->loop->now;
    aw__conn_waits(req->loop->server, c);
}

static void aw__undo_send(aw__task *t)
{
    aw_req *req = (aw_req *)t->w.waiter.on;
    aw__send_op op = *req->sending->writer;
    (void)aw__sender_drop(req->sending);
    if (req->conn) aw__send_hold(req, &op);
}

/* The answer ends while another task sends: what has begun is finished. */
static void aw__send_leave(aw_req *req)
{
    aw__send_op op = *req->sending->writer;
    aw__complete(aw__sender_drop(req->sending), AW_ECLOSED);
    aw__send_hold(req, &op);
}

static const aw__wait aw__wait_send = {"its client to take more",
                                       aw__undo_send};

static aw_use_RETURN_not_return aw__send_wait(aw__send_op *tried, aw_req *req)
{
    aw__task *t = tried->task;
    aw__conn *c = req->conn;
    aw__send_op *op = (aw__send_op *)aw__task_get(t, sizeof *op);
    if (!op || aw__fd_want(req->loop, c->fd, AW_WRITE |
                           (aw__fd_wanted(req->loop, c->fd) & AW_READ)) < 0) {
        if (op) aw__task_put(t, op);
        if (tried->begun) aw__conn_close(req->loop->server, c);
        return aw__at_once(t, AW_ENOMEM);
    }
    *op = *tried;
    req->sending->writer = op;
    t->w.waiter.on = req;
    t->wait = &aw__wait_send;
    aw__conn_waits(req->loop->server, c);
    return aw__step(AW__SUSPEND);
}

static int aw__send_check(const aw_args_aw_send *a)
{
    const aw_req *req = a->req;
    const aw__sending *sending = req ? req->sending : NULL;
    if (!sending || a->size > INT_MAX || (!a->data && a->size))
        return AW_EINVAL;
    if (!req->conn || sending->broken) return AW_ECLOSED;
    if (sending->writer) return AW_EBUSY;
    if (sending->left >= 0 && (int64_t)a->size > sending->left)
        return AW_ETOOBIG;
    return 0;
}

static aw_use_RETURN_not_return aw__aw_send(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_send *a = AW__LEAF_ARGS(aw_send, args);
    aw_req *req = a->req;
    aw__send_op op;
    int rc = aw__send_check(a);
    memset(&op, 0, sizeof op);
    op.task = (aw__task *)ctx;
    if (rc < 0) return aw__at_once(op.task, rc);
    op.data = (const char *)a->data;
    op.size = a->size;
    op.pace.since = req->loop->now;
    if (req->sending->head_out &&
        (a->size == 0 || req->sending->left == AW__NO_BODY))
        return aw__at_once(op.task, (int)a->size);
    rc = aw__send_try(req->loop->server, req, &op);
    if (rc == AW_EAGAIN) return aw__send_wait(&op, req);
    return aw__at_once(op.task, rc);
}
AW__LEAF_KEEPS(aw_send, "(void *req; void *data;)");

/* A streamed answer is over. One that is not whole must not look as if it
   were: where only the connection's end marks that, it is reset. False: the
   connection is gone. */
static bool aw__conn_stream_end(aw__server *s, aw_req *req)
{
    aw__sending *sending = req->sending;
    aw__conn *c = req->conn;
    bool fine = !sending->broken &&
        (sending->head_out || aw__send_line(s, req, 0));
    if (fine && sending->left > 0)
        aw__log(s->loop, AW_LOG_ERROR, "view %s ended %lld bytes short of the "
                "size it told", req->route ? req->route->view->name : "?",
                (long long)sending->left);
    aw__access_log(s, req, sending->sent);
    if (fine && sending->left == AW__CHUNKS)
        aw__buf_add(&s->out, "0\r\n\r\n", 5);
    if (fine && sending->left <= 0 && !s->out.failed) return true;
    c->reset = sending->left == AW__UNTIL_CLOSE;
    aw__conn_close(s, c);
    return false;
}

/* Sends what was answered, and lets the request go. One that tasks were
   spawned in lives on without the connection. A little of a body that the
   view did not read may still come, and is dropped; but what comes instead of
   an expected 100, nobody knows (RFC 9110 10.1.1). */
static void aw__conn_finish(aw__server *s, aw_req *req)
{
    aw__conn *c = req->conn;
    aw__receiving *r = req->receiving;
    bool alive, drain = r && !r->whole;
    if (s->stopping || (drain && (c->expected || r->error)) ||
        (drain && r->left > AW__DRAIN_MOST)) c->last = 1;
    if (req->sending && req->sending->writer) aw__send_leave(req);
    c->req = NULL;
    c->expected = false;
    aw__req_wake(req);
    alive = req->sending ? aw__conn_stream_end(s, req)
        : aw__conn_answer(s, req);
    req->conn = NULL;
    drain = drain && alive && !c->last;
    if (drain) {
        r->limit = r->got + AW__DRAIN_MOST;
        c->req = req;
    } else if (req->refs > 1 && !aw__req_settle(req)) {
        aw__req_forget_head(req);
    }
    if (alive) {
        c->served = true;
        aw__conn_next(s, c);
    }
    if (!drain) aw__req_drop_one(req);
}

/* A request that cannot be read is answered, and the connection closed: where
   its next request would begin, nobody knows. */
static void aw__conn_reject(aw__server *s, aw__conn *c, int status)
{
    aw_req *req = c->req ? c->req : aw__req_new(s);
    c->last = 1;
    if (!req) {
        aw__conn_close(s, c);
        return;
    }
    if (!c->req) {
        aw__req_forget_head(req);
        req->start = s->loop->now;
    }
    req->conn = c;
    s->page(req, status);
    aw__conn_finish(s, req);
}

/* >>floor5 server  What comes in: bytes, connections, the end -------------- */

/* Whom a full table can do without, or a full buffer, after how long in a state: first those
   that want nothing any more, then those that make no progress. */
typedef struct aw__patience {
    aw__conn_state state;
    int ms;
} aw__patience;

static const aw__patience aw__dispensable[] = {
    {AW__LINGER, 1}, {AW__IDLE, 1}, {AW__IN_HELLO, 1000},
    {AW__IN_DRAIN, 1000}, {AW__IN_HEAD, 1000},
    {AW__IN_WRITE, 5000}, {AW__IN_BODY, 5000}, {AW__IN_SEND, 5000},
    {AW__IN_READ, 5000}
};

/* Closes the connection that can best be done without. False: there is none.
   One that idles only since this moment has perhaps not been heard yet. */
static bool aw__server_evict(aw__server *s)
{
    size_t i;
    for (i = 0; i < sizeof aw__dispensable / sizeof *aw__dispensable; i++) {
        aw__link *list = &s->lists[aw__dispensable[i].state];
        aw__conn *c = (aw__conn *)list->next;
        if (&c->link != list && c == s->current) c = (aw__conn *)c->link.next;
        if (&c->link == list) continue;
        if (s->loop->now - c->since < aw__dispensable[i].ms) continue;
        aw__conn_close(s, c);
        return true;
    }
    return false;
}

/* With ASYNCWEB_FIXED_MEMORY: whether a block of n bytes can be had. Idle
   connections make room for it. */
static bool aw__server_room(aw__server *s, size_t n)
{
    while (!aw__mem_has(&s->loop->mem, n)) if (!aw__server_evict(s)) return false;
    return true;
}

/* Runs the request's view; with a status, what its table has for that. */
static AW__INLINE void aw__conn_run(aw__server *s, aw__conn *c, int status)
{
    aw_req *req = c->req;
    c->state = AW__IN_VIEW;
    aw__req_keep_one(req);      /* a view may find that its client is gone */
    s->handling = req;
    if (status) s->refuse(req, status);
    else s->handle(req);
    s->handling = NULL;
    if (!req->conn) {
        aw__req_drop_one(req);
        return;
    }
    req->refs--;
    if (!req->task && c->state != AW__IN_WS) {
        aw__conn_finish(s, req);
        return;
    }
    if (c->state != AW__IN_WS) aw__conn_waits(s, c);
    if (aw__req_settle(req)) return;
    aw__req_forget_head(req);
    if (c->state == AW__IN_WS || (req->sending && req->sending->head_out)) {
        aw__conn_close(s, c);
        return;
    }
    aw__conn_abandon(s, c);
    aw__conn_reject(s, c, 503);
}

/* Hands the complete request to its view. */
static void aw__conn_dispatch(aw__server *s, aw__conn *c)
{
    aw_req *req = c->req;
    aw__receiving *r = req->receiving;
    if (r && r->whole) {
        aw__buf_add(&r->buf, "", 1);
        if (r->buf.failed) {
            aw__conn_reject(s, c, 503);
            return;
        }
        req->body = r->buf.p;
        req->body_len = r->buf.n - 1;
    }
    aw__conn_run(s, c, 0);
}

/* The head was fine, but its body is not taken. */
static void aw__conn_refuse(aw__server *s, aw__conn *c, int status)
{
    c->last = 1;
    aw__conn_run(s, c, status);
}

/* Room for n more bytes of a body. */
static char *aw__body_room(aw__server *s, aw__receiving *r, size_t n)
{
    char *to = aw__buf_room(&r->buf, n);
    while (AW__SIZED(false, !to) && aw__server_evict(s)) {
        r->buf.failed = false;
        to = aw__buf_room(&r->buf, n);
    }
    return to;
}

/* Bytes of a body that is received whole, or of one that nobody wants. */
static size_t aw__conn_body(aw__server *s, aw__conn *c, const char *p, size_t n)
{
    aw_req *req = c->req;
    aw__receiving *r = req->receiving;
    const bool drains = c->state == AW__IN_DRAIN;
    char *to = drains ? NULL : aw__body_room(s, r, n);
    size_t got = 0;
    ptrdiff_t used = to || drains ? aw__body_take(req, aw__slice(p, n), to, n,
                                                  &got) : AW_HTTP(503);
    if (!drains) r->buf.n += got;
    c->expected = false;
    aw__conn_enter(s, c, c->state);
    if (used >= 0 && !drains) {
        int status = aw__upload_received(req, &r->buf, r->whole);
        if (status) used = AW_HTTP(status);
    }
    if (used >= 0 && !r->whole && !aw__pace_fits(s, &r->pace, n))
        used = AW_HTTP(408);
    if (used >= 0 && !r->whole) return (size_t)used;
    if (!drains) {
        if (used < 0) aw__conn_refuse(s, c, (int)(AW_HTTP(0) - used));
        else aw__conn_dispatch(s, c);
    } else {
        if (used < 0) c->last = 1;
        c->req = NULL;
        aw__req_drop_one(req);
        aw__conn_next(s, c);
    }
    return used < 0 ? n : (size_t)used;
}

/* The head says that a body comes. Where there is no view for it, nobody
   waits for it. Returns how much of the input behind the head is taken. */
static size_t aw__conn_expect_body(aw__server *s, aw__conn *c, aw_req *req,
                                   aw_slice rest)
{
    aw__receiving *r = (aw__receiving *)aw__new(req, sizeof *r);
    const aw_route *route = req->route;
    if (!r || !aw__req_settle(req)) {
        aw__conn_reject(s, c, 503);
        return 0;
    }
    r->buf.mem = &s->loop->mem;
    r->left = req->head.content_length;
    r->limit = s->config.max_body;
    if (route->max_body)
        r->limit = route->max_body < 0 ? INT64_MAX : route->max_body;
    r->streamed = req->fate || route->stream;
    r->pace.since = s->loop->now;
    req->receiving = r;
    if (!req->fate && r->left > r->limit) {
        aw__conn_refuse(s, c, 413);
        return 0;
    }
    c->expected = req->head.expect_100;
    if (!r->streamed) {
        int status = aw__upload_begin(req, &s->config);
        if (status) aw__conn_reject(s, c, status);
        else aw__conn_enter(s, c, AW__IN_BODY);
        return 0;
    }
    /* The view may read while the shared buffer holds this. */
    if (rest.n && !aw__held_add(s->loop, &c->in, rest.p, rest.n)) {
        aw__conn_reject(s, c, 503);
        return 0;
    }
    aw__conn_dispatch(s, c);
    return rest.n;
}

/* A head has been read, the first n bytes of `in`. Returns how much of that
   is used up. */
static size_t aw__conn_begin(aw__server *s, aw__conn *c, aw_slice in, size_t n)
{
    const aw__head *head = &s->head;
    aw_req *req = aw__server_room(s, AW__REQ_BYTES + 512) ? aw__req_new(s)
        : NULL;
    if (!req) {
        aw__conn_reject(s, c, 503);
        return n;
    }
    req->conn = c;
    req->head = *head;
    req->base = in.p;
    req->start = s->loop->now;
    req->proxied = c->trusted;
    req->secure = c->tls;
    c->req = req;
    /* What follows a CONNECT might be meant for somebody else. */
    if (!head->keep_alive || head->verb == AW__CONNECT) c->last = 1;
    s->route(req);
    if (head->chunked || head->content_length > 0)
        return n + aw__conn_expect_body(s, c, req,
                                        aw__slice(in.p + n, in.n - n));
    aw__conn_dispatch(s, c);
    return n;
}

/* Whether its address may have one more connection. Proxies speak for many,
   and UNIX sockets have no addresses to tell apart. */
static bool aw__conn_admit(aw__server *s, aw__conn *c)
{
    if (!s->config.max_per_address || c->trusted || c->preface) return true;
    if (c->peer.family != 4 && c->peer.family != 6) return true;
    c->counted = s->with.crowd->add(&s->crowd, &c->peer,
                                    (size_t)s->config.max_per_address);
    return c->counted;
}

/* Who speaks through a proxy. Returns how much is used up; 0: the header is
   incomplete, or was none, and c is gone: what it speaks nobody knows. */
static size_t aw__conn_preface(aw__server *s, aw__conn *c, const char *p,
                               size_t n)
{
    aw__proxied x;
    const int rc = aw__proxy_header(p, n, &x);
    if (rc == AW_EAGAIN && c->state == AW__IDLE)
        aw__conn_enter(s, c, AW__IN_HEAD);
    if (rc < 0 && rc != AW_EAGAIN) aw__conn_close(s, c);
    if (rc < 0) return 0;
    c->preface = false;
    if (x.who == AW__PROXY_CLIENT) c->peer = x.client;
    /* The proxy itself, or a client that is one: its own UNIX sockets are not
       ours. */
    c->trusted = x.who == AW__PROXY_LOCAL || (x.who == AW__PROXY_CLIENT &&
        x.client.family != AW__UNIX && aw__nets_have(&s->trusted, &c->peer));
    aw__conn_enter(s, c, AW__IDLE);
    if (x.who != AW__PROXY_CLIENT || aw__conn_admit(s, c)) return (size_t)rc;
    aw__conn_close(s, c);
    return 0;
}

static const aw__crowd_ops aw__with_crowd = {aw__crowd_add, aw__crowd_leave};

static bool aw__conn_takes_input(const aw__conn *c)
{
    if (c->state == AW__IN_BODY || c->state == AW__IN_DRAIN) return true;
    return c->state <= AW__IN_HEAD && !c->last;
}

/* An empty line, or its first half. Some clients send one behind a body
   (RFC 9112 2.2): no head has begun with it. */
static bool aw__is_crlf(const char *p, size_t n)
{
    return n <= 2 && memcmp(p, "\r\n", n) == 0;
}

/* Parses p[0..n) as far as it can, having seen the first `seen` bytes before;
   returns how much is used up. When c ends meanwhile, s->current is no more
   c, and the rest does not matter. */
static size_t aw__conn_parse(aw__server *s, aw__conn *c, const char *p,
                             size_t n, size_t seen)
{
    size_t at = 0;
    while (at < n && s->current == c && aw__conn_takes_input(c)) {
        int rc;
        if (c->state == AW__IN_BODY || c->state == AW__IN_DRAIN) {
            at += aw__conn_body(s, c, p + at, n - at);
            continue;
        }
        if (AW__UNLIKELY(c->preface)) {
            const size_t used = s->with.proxies->preface(s, c, p + at, n - at);
            if (!used) break;
            at += used;
            seen = 0;
            continue;
        }
        s->head.fields = s->fields;
        s->head.max_fields = (uint16_t)s->config.max_fields;
        rc = aw__http_head(p + at, n - at, seen, &s->limits, &s->head);
        seen = 0;
        if (rc == AW_EAGAIN) {
            if (c->state == AW__IDLE && !aw__is_crlf(p + at, n - at))
                aw__conn_enter(s, c, AW__IN_HEAD);
            break;
        }
        if (rc < 0) {
            aw__conn_reject(s, c, AW_HTTP(0) - rc);
            break;
        }
        at += aw__conn_begin(s, c, aw__slice(p + at, n - at), (size_t)rc);
    }
    return at;
}

/* Nothing more is read while an answer waits, while a view is to read and does
   not, or when enough requests were sent ahead of one. */
static bool aw__conn_reads(const aw__conn *c)
{
    if (c->ended || c->state == AW__IN_WRITE || c->state == AW__IN_WS)
        return false;
    if (!aw__conn_in_view(c)) return true;
    if (aw__conn_streams(c)) return c->req->receiving->reader != NULL;
    return !c->in || c->in->n - c->in->at < AW__PIPELINE_MOST;
}

/* What is of interest: in any case the end by a reset. */
static int aw__conn_wants(const aw__conn *c)
{
    int want = c->out || aw__conn_writer(c) ? AW_WRITE : 0;
    if (aw__conn_reads(c)) want |= AW_READ;
    return want ? want : AW__RESET;
}

/* Everything that could be done with c's input has been done: send, and see
   what comes next. */
static void aw__conn_settle(aw__server *s, aw__conn *c)
{
    bool busy = aw__conn_in_view(c) || c->state == AW__IN_BODY ||
        c->state == AW__IN_WS || (c->state == AW__IN_DRAIN && !c->last);
    if (c->expected && c->state == AW__IN_BODY) {
        aw__buf_add(&s->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        c->expected = false;
    }
    if (!aw__conn_send(s, c)) return;
    s->current = NULL;
    aw__out_trim(s);
    if (c->out && !busy) {
        if (c->state != AW__IN_WRITE) aw__conn_enter(s, c, AW__IN_WRITE);
    } else if (c->ended && (!busy || c->state == AW__IN_DRAIN)) {
        aw__conn_close(s, c);
        return;
    } else if (c->last && !busy) {
        /* To close with input unread would reset the connection, and the
           answer could be lost (RFC 9112 9.6). */
        aw__io_shutdown(s->loop, c->fd);
        aw__held_free(s->loop, &c->in);
        aw__conn_enter(s, c, AW__LINGER);
    }
    if (c->state == AW__IN_WS && !c->out) {
        s->sockets->upgrade(s, c);
        return;
    }
    if (aw__fd_want(s->loop, c->fd, aw__conn_wants(c)) < 0)
        aw__conn_close(s, c);
}

/* Goes on with c, with what is held of its input; `seen` bytes of that were
   parsed in vain before. A view that reads its own body takes over what is
   left of the input, and may have ended without it. */
static void aw__conn_continue(aw__server *s, aw__conn *c, size_t seen)
{
    bool again = true;
    s->current = c;
    while (again && s->current == c && c->in && aw__conn_takes_input(c)) {
        aw__held *in = c->in;
        c->in = NULL;           /* a connection that ends must not free it */
        in->at += aw__conn_parse(s, c, aw__held_bytes(in) + in->at,
                                 in->n - in->at, seen);
        again = s->current == c && c->in != NULL;
        if (s->current != c || in->at == in->n) aw__held_free(s->loop, &in);
        else c->in = in;
        seen = 0;
    }
    if (s->current == c) aw__conn_settle(s, c);
}

/* A view that had to wait has ended; its result is in the request. */
static void aw__view_done(aw_req *req)
{
    aw__server *s = req->loop->server;
    aw__conn *c = req->conn;
    req->task = NULL;
    if (!c || s->handling == req) return;
    s->current = c;
    aw__conn_finish(s, req);
    if (s->current == c) aw__conn_continue(s, c, 0);
}

/* New bytes. In the usual case they are parsed where they were read, and
   nothing is left over. */
static void aw__conn_input(aw__server *s, aw__conn *c, const char *p, size_t n)
{
    size_t used = 0, before = c->in ? c->in->n - c->in->at : 0;
    s->current = c;
    if (!before) used = aw__conn_parse(s, c, p, n, 0);
    if (s->current != c) return;
    if (used < n && !aw__held_add(s->loop, &c->in, p + used, n - used))
        aw__conn_close(s, c);
    else if (before || (used == n && c->in))
        aw__conn_continue(s, c, before);
    else
        aw__conn_settle(s, c);
}

/* The client has sent its last byte. A view that runs is cancelled: TCP
   cannot tell one who left from one who only stopped talking. */
static void aw__conn_end(aw__server *s, aw__conn *c)
{
    bool waits = aw__conn_in_view(c) && !aw__conn_streams(c) &&
        c->req->route && c->req->route->half_close;
    c->ended = 1;
    s->current = c;
    if (waits || c->state == AW__IN_WRITE) aw__conn_settle(s, c);
    else aw__conn_close(s, c);
}

/* False: nothing has come. */
static bool aw__conn_readable(aw__server *s, aw__conn *c)
{
    ptrdiff_t n;
    if (aw__conn_in_view(c) && aw__conn_streams(c)) {
        aw__conn_body_event(s, c);
        return true;
    }
    n = aw__io_recv(s->loop, c->fd, s->input, aw__read_bytes(s));
    if (n == AW_EAGAIN) return false;
    if (n < 0) {
        aw__conn_close(s, c);
    } else if (n == 0) {
        aw__conn_end(s, c);
    } else if (c->state == AW__LINGER) {
        c->lingered += (uint32_t)n;
        if (c->lingered > AW__LINGER_MOST) aw__conn_close(s, c);
    } else {
        aw__conn_input(s, c, s->input, (size_t)n);
    }
    return true;
}

#ifdef ASYNCWEB_BEARSSL
/* The handshake is over, well or not. */
static void aw__conn_greeted(aw__server *s, aw__conn *c)
{
    const aw__tls *t = aw__tls_on(s->loop, c->fd);
    if (t->done && !t->error) {
        aw__conn_enter(s, c, AW__IDLE);
        if (aw__fd_want(s->loop, c->fd, AW_READ) == 0) return;
    }
    if (s->loop->debug) {
        char peer[AW_PEER_TEXT];
        aw__log(s->loop, AW_LOG_INFO, "asyncweb: no TLS with %s: %s",
                aw__address_format(&c->peer, peer, sizeof peer),
                aw_strerror(t->error));
    }
    aw__conn_close(s, c);
}
#endif

/* The client takes more. False: c is gone, or has been seen to. */
static bool aw__conn_writable(aw__server *s, aw__conn *c)
{
    const bool held = c->out != NULL;
    if (held && !aw__conn_flush(s, c)) return false;
    if (c->out) return true;
    if (aw__conn_writer(c)) {
        aw__conn_send_event(s, c);
        return false;
    }
    if (held) {
        aw__conn_continue(s, c, 0);
        return false;
    }
    if (aw__fd_want(s->loop, c->fd, aw__conn_wants(c)) == 0) return true;
    aw__conn_close(s, c);
    return false;
}

static void aw__on_conn(aw_loop *l, int fd, int events)
{
    aw__conn *c = (aw__conn *)l->fds[fd].object;
#ifdef ASYNCWEB_BEARSSL
    if (c->state == AW__IN_HELLO) {
        aw__conn_greeted(l->server, c);
        return;
    }
#endif
    if (events & AW__RESET) {
        aw__conn_close(l->server, c);
        return;
    }
    if (events & AW_WRITE && !aw__conn_writable(l->server, c)) return;
    if (events & AW_READ) (void)aw__conn_readable(l->server, c);
}

/* ---- time-outs, new connections ---- */

static void aw__conn_expired(aw__server *s, aw__conn *c)
{
    if (c->state == AW__IN_READ) {
        aw__body_over(s, c->req, AW_HTTP(408));
        return;
    }
    if (c->state != AW__IN_HEAD && c->state != AW__IN_BODY) {
        aw__conn_close(s, c);
        return;
    }
    s->current = c;
    if (c->req) aw__conn_refuse(s, c, 408);
    else aw__conn_reject(s, c, 408);
    if (s->current == c) aw__conn_settle(s, c);
}

static void aw__on_sweep(aw_loop *l, aw__call_timer *t)
{
    aw__server *s = l->server;
    int i;
    (void)t;
    for (i = 0; i < AW__CONN_STATES; i++) {
        int64_t limit = s->time_outs[i];
        if (limit == AW_FOREVER) continue;
        while (!aw__list_empty(&s->lists[i])) {
            aw__conn *c = (aw__conn *)s->lists[i].next;
            if (l->now - c->since < limit) {
                aw__sweep_by(s, c->since + limit);
                break;
            }
            aw__conn_expired(s, c);
        }
    }
}

/* Whether the listener at fd speaks TLS. */
static bool aw__server_is_tls(const aw__server *s, int fd)
{
    int i;
    for (i = 0; i < s->doors.count; i++)
        if (s->doors.at[i].fd == fd) return s->doors.at[i].tls;
    return false;
}

/* The first state of c. False: out of memory, or of room for its address. */
static bool aw__conn_welcome(aw__server *s, aw__conn *c)
{
    aw__conn_enter(s, c, c->tls ? AW__IN_HELLO : AW__IDLE);
    if (!aw__conn_admit(s, c)) return false;
#ifdef ASYNCWEB_BEARSSL
    if (c->tls && !aw__tls_accept(s->loop, c->fd, s->site)) return false;
#endif
    return aw__fd_want(s->loop, c->fd, c->tls ? AW_READ | AW_WRITE
                       : (int)AW_READ) == 0;
}

static void aw__server_accepted(aw__server *s, int listener, int fd,
                                const aw__address *peer)
{
    aw_loop *l = s->loop;
    const bool trusted = s->trusted.n &&
        s->with.proxies->have(&s->trusted, peer);
    aw__conn *c = NULL;
    if (trusted || !s->config.proxy_protocol)
        c = (aw__conn *)aw__mem_get(&l->mem, sizeof *c);
    if (!c || aw__fd_open(l, fd, AW__FD_CONN, c) < 0) {
        aw__mem_put(&l->mem, c, sizeof *c);
        aw__io_close(l, fd);
        return;
    }
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->peer = *peer;
    c->trusted = trusted;
    c->preface = s->config.proxy_protocol;
    c->tls = aw__server_is_tls(s, listener);
    aw__list_init(&c->link);
    s->connections++;
    if (!aw__conn_welcome(s, c)) aw__conn_close(s, c);
}

static void aw__on_resume(aw_loop *l, aw__call_timer *t)
{
    (void)t;
    aw__listeners_want(l->server, AW_READ);
}

/* Accepts those that wait. Where there is no room for one, the connection
   that can best be done without makes some; else the listeners rest, so that
   nothing spins, and clients wait in the backlog. */
static void aw__on_server(aw_loop *l, int fd, int events)
{
    aw__server *s = l->server;
    bool evicted = false;
    int i;
    (void)events;
    for (i = 0; i < AW__ACCEPT_MOST; i++) {
        aw__address peer;
        int client = AW_EMFILE;
        if (s->connections < s->max_connections &&
            aw__server_room(s, sizeof(aw__conn)))
            client = aw__io_accept(l, fd, &peer);
        else if (i > 0)
            return;             /* does one more wait? the next turn knows */
        if (client == AW_EAGAIN) return;
        if (client >= 0) {
            evicted = false;
            aw__server_accepted(s, fd, client, &peer);
        } else if (!evicted && !s->stopping &&
                   (client == AW_EMFILE || client == AW_ENOMEM) &&
                   aw__server_evict(s)) {
            evicted = true;     /* one each; perhaps it did not help */
        } else {
            aw__listeners_want(s, 0);
            return;
        }
    }
}

/* ---- stopping ---- */

/* Connections that have idled since their last answer are closed. But what
   lies in the kernel has been sent in good faith: requests are read a last
   time, and the new have a moment to say what they want. */
static void aw__server_hush(aw__server *s)
{
    aw__link idle;
    s->time_outs[AW__IDLE] = s->time_outs[AW__IN_HEAD] = AW__STOP_MS;
    s->time_outs[AW__IN_HELLO] = AW__STOP_MS;
    aw__sweep_by(s, s->loop->now + AW__STOP_MS);
    aw__list_move(&idle, &s->lists[AW__IDLE]);
    while (!aw__list_empty(&idle)) {
        aw__conn *c = (aw__conn *)idle.next;
        const bool served = c->served;
        aw__conn_enter(s, c, AW__IDLE);
        if (!aw__conn_readable(s, c) && served) aw__conn_close(s, c);
    }
}

/* Nobody is accepted any more but those that wait already. Not while a
   connection is worked for. */
static void aw__server_stop(aw__server *s)
{
    int i, before;
    s->stopping = true;
    for (i = 0; i < s->doors.count; i++) {
        if (s->doors.at[i].fd < 0) continue;
        /* All that wait have perhaps sent their request already. */
        for (before = -1; before != s->connections;) {
            before = s->connections;
            aw__on_server(s->loop, s->doors.at[i].fd, AW_READ);
        }
        aw__door_close(&s->doors, i);
    }
    aw__timer_stop(s->loop, &s->resume.timer);
    if (s->sockets) s->sockets->stop(s);
    if (!s->gentle) aw__server_hush(s);
}

static void aw__on_stop(aw_loop *l, aw__call_timer *t)
{
    (void)t;
    aw__server_stop(l->server);
}

#ifndef ASYNCWEB_NO_SSE
/* >>floor5 sse  Server-sent events (WHATWG HTML 9.2) ----------------------- */

/* Sends a comment. False: the connection is gone. */
static bool aw__sse_comment(aw__server *s, aw_req *req)
{
    aw__conn *c = req->conn;
    aw__send_op op;
    memset(&op, 0, sizeof op);
    op.data = ":\n\n";
    op.size = 3;
    op.pace.since = s->loop->now;
    if (aw__send_try(s, req, &op) == AW_EAGAIN) aw__send_hold(req, &op);
    if (req->conn && aw__fd_want(s->loop, c->fd, aw__conn_wants(c)) < 0)
        aw__conn_close(s, c);
    return req->conn != NULL;
}

/* It is time to look whether the client is still there. A task that sends
   finds out by itself; one that does not take what was held has write_ms. */
static void aw__on_sse_ping(aw_loop *l, aw__call_timer *t)
{
    aw__sse *e = (aw__sse *)(void *)t;
    aw__server *s = l->server;
    aw_req *req = e->req;
    aw__conn *c = req->conn;
    const int64_t pause = s->config.sse_ping_ms;
    bool alive = true;
    aw__req_keep_one(req);
    if (aw__conn_writer(c)) {
        e->last = l->now;
    } else if (c->out && l->now - c->out->pace.since >= s->config.write_ms) {
        aw__conn_close(s, c);
        alive = false;
    } else if (!c->out && l->now - e->last >= pause) {
        e->last = l->now;
        alive = aw__sse_comment(s, req);
    }
    if (alive) {
        int64_t due = e->last + pause - l->now;
        aw__timer_start(l, &t->timer, due > 0 ? due : pause, AW__TIMER_CALL);
    }
    aw__req_drop_one(req);
}

int aw_sse_begin(aw_req *req)
{
    aw__server *s = req->loop->server;
    aw__sse *e = (aw__sse *)aw__new(req, sizeof *e);
    aw__send_op head;
    int rc = e ? aw_stream_begin(req, "text/event-stream") : AW_ENOMEM;
    if (rc == 0) rc = aw_set_header(req, "Cache-Control", "no-store");
    /* nginx would gather events until it has enough of them. */
    if (rc == 0) rc = aw_set_header(req, "X-Accel-Buffering", "no");
    if (rc < 0) return rc;
    if (!req->conn) return AW_ECLOSED;
    e->req = req;
    e->ping.fn = aw__on_sse_ping;
    e->text.arena = &req->arena;
    e->last = req->loop->now;
    req->sending->sse = e;
    req->sending->fixed = true;         /* the timer must not lose it */
    memset(&head, 0, sizeof head);
    head.pace.since = e->last;
    rc = aw__send_try(s, req, &head);
    if (rc < 0 && rc != AW_EAGAIN) return rc;
    if (req->conn->out && aw__fd_want(s->loop, req->conn->fd,
                                      aw__conn_wants(req->conn)) < 0) {
        aw__conn_close(s, req->conn);
        return AW_ECLOSED;
    }
    if (s->config.sse_ping_ms != AW_FOREVER)
        aw__timer_start(req->loop, &e->ping.timer, s->config.sse_ping_ms,
                        AW__TIMER_CALL);
    return 0;
}

/* One line: a field and its value up to a line end. Returns what follows
   that; NULL: it was the last. */
static const char *aw__sse_line(aw__buf *b, const char *field,
                                const char *value)
{
    const size_t n = strcspn(value, "\r\n");
    aw__buf_add(b, field, strlen(field));
    aw__buf_add(b, ": ", 2);
    aw__buf_add(b, value, n);
    aw__buf_add(b, "\n", 1);
    value += n;
    if (!*value) return NULL;
    return value + (value[0] == '\r' && value[1] == '\n' ? 2 : 1);
}

/* A field of one line. */
static int aw__sse_field(aw__buf *b, const char *field, const char *value)
{
    if (value == aw__text_lost) return AW_ENOMEM;
    if (value && aw__sse_line(b, field, value)) return AW_EINVAL;
    return 0;
}

/* What is to be sent next may be put together: the text, empty. */
static int aw__sse_open(const aw_req *req, aw__buf **b)
{
    aw__sse *e = req && req->sending ? req->sending->sse : NULL;
    if (!e) return AW_EINVAL;
    if (!req->conn) return AW_ECLOSED;
    if (req->sending->writer) return AW_EBUSY;      /* it sends that text */
    e->last = req->loop->now;
    e->text.n = 0;
    e->text.failed = false;
    *b = &e->text;
    return 0;
}

/* Sends what was put together, if that went well. */
static aw_use_RETURN_not_return aw__sse_out(aw__ctx *ctx, aw_req *req,
                                            aw__buf *b, int rc)
{
    if (rc == 0) aw__buf_add(b, "\n", 1);
    if (rc == 0 && b->failed) rc = AW_ENOMEM;
    if (rc < 0) return aw__at_once((aw__task *)ctx, rc);
    return aw__call AW__CALL((ctx, ), aw_send, req, b->p, b->n);
}

static aw_use_RETURN_not_return aw__sse_event(aw__ctx *ctx, aw_req *req,
                                              const char *event,
                                              const char *data, const char *id)
{
    aw__buf *b = NULL;
    int rc = aw__sse_open(req, &b);
    if (rc == 0) rc = aw__sse_field(b, "id", id);
    if (rc == 0) rc = aw__sse_field(b, "event", event);
    if (rc == 0 && !data) rc = AW_EINVAL;
    if (rc == 0 && data == aw__text_lost) rc = AW_ENOMEM;
    while (rc == 0 && data) data = aw__sse_line(b, "data", data);
    return aw__sse_out(ctx, req, b, rc);
}

static aw_use_RETURN_not_return aw__aw_sse_send(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_sse_send *a = AW__LEAF_ARGS(aw_sse_send, args);
    return aw__sse_event(ctx, a->req, a->event, a->data, NULL);
}

static void aw__sse_send_enter(aw__ctx *ctx, aw_frame *f)
{
    aw_args_aw_sse_send *a = (aw_args_aw_sse_send *)aw__frame_args(f);
    aw__text_keep(ctx, &a->event);
    aw__text_keep(ctx, &a->data);
}
AW__LEAF_FN(aw_sse_send, "(void *req;)", aw__sse_send_enter);

static aw_use_RETURN_not_return aw__aw_sse_send_id(aw__ctx *ctx,
                                                   const void *args)
{
    const aw_args_aw_sse_send_id *a = AW__LEAF_ARGS(aw_sse_send_id, args);
    return aw__sse_event(ctx, a->req, a->event, a->data, a->id);
}

static void aw__sse_send_id_enter(aw__ctx *ctx, aw_frame *f)
{
    aw_args_aw_sse_send_id *a = (aw_args_aw_sse_send_id *)aw__frame_args(f);
    aw__text_keep(ctx, &a->event);
    aw__text_keep(ctx, &a->data);
    aw__text_keep(ctx, &a->id);
}
AW__LEAF_FN(aw_sse_send_id, "(void *req;)", aw__sse_send_id_enter);

static aw_use_RETURN_not_return aw__aw_sse_retry(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw_sse_retry *a = AW__LEAF_ARGS(aw_sse_retry, args);
    aw__buf *b = NULL;
    char ms[24];
    int rc = a->ms < 0 ? (int)AW_EINVAL : aw__sse_open(a->req, &b);
    aw__print(ms, sizeof ms, "%lld", (long long)a->ms);
    if (rc == 0) rc = aw__sse_field(b, "retry", ms);
    return aw__sse_out(ctx, a->req, b, rc);
}
AW__LEAF_KEEPS(aw_sse_retry, "(void *req;)");

const char *aw_last_event_id(aw_req *req)
{
    return aw_header(req, "Last-Event-ID");
}
#endif

#ifndef ASYNCWEB_NO_FORMS
/* >>floor5 parts  Multipart bodies that their view reads ------------------ */

typedef struct aw__parts {
    aw__multipart parser;
    aw_slice in, data;          /* to be parsed; to be given out */
    int error;                  /* what every further call gives */
    bool inside;                /* a part */
    char safe_name[AW__SAFE_NAME + 1], buffer[16384];
} aw__parts;

/* 0, or an error; `out` is made at the first use. */
static int aw__parts_of(aw_req *req, aw__parts **out)
{
    struct aw__form *form = aw__req_form(req);
    int i = aw__req_field(req, "Content-Type", 0);
    const aw_config *config = &req->loop->server->config;
    aw__multipart m;
    if (!form) return AW_ENOMEM;
    *out = form->parts;
    if (*out) return 0;
    if (!req->route || !req->route->stream) return AW_EINVAL;
    if (i < 0 || aw__multipart_init(&m, aw__field_value(req, i)) != 1)
        return AW_HTTP(400);
    *out = form->parts = (aw__parts *)aw__new(req, sizeof **out);
    if (!*out) return AW_ENOMEM;
    m.parts = config->max_parts;
    m.max_head = config->max_part_head;
    m.head.arena = &req->arena;
    (*out)->parser = m;
    return 0;
}

/* What is next in as much of the body as was read: AW__PART_..., AW_EAGAIN,
   or an error, which stays. */
static int aw__parts_next(aw__parts *p)
{
    int rc;
    p->data = aw__slice(NULL, 0);
    if (p->error) return p->error;
    rc = aw__multipart_next(&p->parser, &p->in, &p->data);
    if (rc > 0) p->inside = rc != AW__PART_ENDS;
    if (rc > 0 || rc == AW_EAGAIN) return rc;
    return p->error = rc == AW_ENOMEM ? rc
        : AW_HTTP(rc == AW_ETOOBIG ? 413 : 400);
}

/* Reads on: > 0; 0: that was the body. */
AW_ASYNC(aw__parts_more, (aw_req *req; aw__parts *parts;), int n;)
{
    AW_BEGIN {
        AW_AWAIT_TO(self->n, aw_body_read, self->req, self->parts->buffer,
                    sizeof self->parts->buffer);
        if (self->n == 0 && !aw__multipart_whole(&self->parts->parser))
            self->n = AW_HTTP(400);
        if (self->n > 0)
            self->parts->in = aw__slice(self->parts->buffer, (size_t)self->n);
        AW_RETURN(self->n);
    }
}

/* The texts lie in the part's head, each followed by a byte that is not
   needed any more. */
static const char *aw__parts_text(aw__parts *p, aw_slice s)
{
    char *head = p->parser.head.p;
    if (!s.p) return "";
    head[s.p - head + (ptrdiff_t)s.n] = 0;
    return s.p;
}

static void aw__parts_show(aw__parts *p, aw_part *part)
{
    const aw__multipart *m = &p->parser;
    const bool file = m->part.filename.p != NULL;
    aw__safe_name(p->safe_name, m->part.filename);
    part->field = aw__parts_text(p, m->part.name);
    part->filename = file ? aw__parts_text(p, m->part.filename) : NULL;
    part->safe_name = file ? p->safe_name : NULL;
    part->type = aw__parts_text(p, m->type);
}

AW__AWAITABLE_DEFINE(aw_part_next, (aw_req *req; aw_part *part;),
                     aw__parts *parts; int rc;)
{
    AW_BEGIN {
        self->rc = aw__parts_of(self->req, &self->parts);
        if (self->rc < 0) AW_RETURN(self->rc);
        while ((self->rc = aw__parts_next(self->parts)) != AW__PART_BEGINS) {
            if (self->rc == AW_EAGAIN)
                AW_AWAIT_TO(self->rc, aw__parts_more, self->req, self->parts);
            if (self->rc <= 0) AW_RETURN(self->rc);
        }
        aw__parts_show(self->parts, self->part);
        AW_RETURN(1);
    }
}

static int aw__parts_take(aw__parts *p, void *buffer, size_t size)
{
    size_t n = size < p->data.n ? size : p->data.n;
    if (!n) return 0;
    memcpy(buffer, p->data.p, n);
    p->data = aw__slice(p->data.p + n, p->data.n - n);
    return (int)n;
}

AW__AWAITABLE_DEFINE(aw_part_read, (aw_req *req; void *buffer; size_t size;),
                     aw__parts *parts; int rc;)
{
    AW_BEGIN {
        self->parts = self->req->form ? self->req->form->parts : NULL;
        if (!self->parts || !self->size) AW_RETURN(AW_EINVAL);
        while (!self->parts->data.n && self->parts->inside) {
            self->rc = aw__parts_next(self->parts);
            if (self->rc == AW_EAGAIN)
                AW_AWAIT_TO(self->rc, aw__parts_more, self->req, self->parts);
            if (self->rc < 0) AW_RETURN(self->rc);
        }
        AW_RETURN(aw__parts_take(self->parts, self->buffer, self->size));
    }
}

#endif

#ifndef ASYNCWEB_NO_WS
/* >>floor5 upgrade  From HTTP to WebSocket (RFC 6455 section 4) ---------- */

aw_ws *aw__req_ws(aw_req *req)
{
    return req->ws;
}

/* The value of a field that must be there once; n is 0: it is not. */
static aw_slice aw__ws_field(const aw_req *req, const char *name)
{
    const int i = aw__req_field(req, name, 0);
    if (i < 0 || aw__req_field(req, name, i + 1) >= 0) return aw__slice("", 0);
    return aw__field_value(req, i);
}

/* True when a field of that name, a list in one or more lines, has the word. */
static bool aw__ws_offers(const aw_req *req, const char *name, aw_slice word,
                          bool any_case)
{
    aw_slice list, item;
    int i = -1;
    while ((i = aw__req_field(req, name, i + 1)) >= 0)
        for (list = aw__field_value(req, i); aw__http_list(&list, &item);)
            if (item.n == word.n &&
                (any_case ? aw__slice_ieq(item, word.p)
                          : memcmp(item.p, word.p, word.n) == 0)) return true;
    return false;
}

/* What the client needs besides, and what a status cannot say. */
static int aw__ws_refuse(aw_req *req)
{
    (void)aw_set_header(req, "Upgrade", "websocket");  /* RFC 9110 15.5.22 */
    (void)aw__header_add(req, aw__slice("Connection", 10), "Upgrade");
    (void)aw_set_header(req, "Sec-WebSocket-Version", "13");        /* 4.4 */
    return 426;
}

/* Is the request the handshake of one who may (4.2.1, 4.2.2)? 0; a status. */
static int aw__ws_check(aw_req *req, const aw_route *route)
{
    const aw_slice version = aw__ws_field(req, "Sec-WebSocket-Version");
    const int origin = aw__req_field(req, "Origin", 0);
    const char *host;
    if (req->head.verb != AW__GET || !req->head.upgrade ||
        !aw__ws_offers(req, "Upgrade", aw__slice("websocket", 9), true) ||
        !aw__slice_ieq(version, "13")) return aw__ws_refuse(req);
    if (!aw__ws_key_valid(aw__ws_field(req, "Sec-WebSocket-Key"))) return 400;
    if (origin < 0) return 0;   /* no browser */
    host = aw_host(req);
    if (!host) return 503;
    return aw__ws_origin_fits(route->origins,
                              aw__ws_field(req, "Origin"),
                              aw__slice(host, strlen(host))) ? 0 : 403;
}

/* The first subprotocol of ours that is offered. False: out of memory. */
static bool aw__ws_choose(aw_req *req, aw_ws *ws, const char *ours)
{
    aw_slice list = aw__slice("", 0), word;
    if (ours) list = aw__slice(ours, strlen(ours));
    while (aw__word(&list, &word)) {
        if (!aw__ws_offers(req, "Sec-WebSocket-Protocol", word, false))
            continue;
        ws->protocol = aw__arena_text(&req->arena, word.p, word.n);
        return ws->protocol != NULL;
    }
    return true;
}

/* 101, and what the view has said besides (4.2.2). */
static bool aw__ws_answer(aw__server *s, aw_req *req)
{
    const aw__out_header *h;
    char accept[29];
    aw__ws_accept_key(aw__ws_field(req, "Sec-WebSocket-Key"), accept);
    aw__buf_add(&s->out, "HTTP/1.1 101 Switching Protocols\r\n", 34);
    aw__buf_add(&s->out, "Upgrade: websocket\r\nConnection: Upgrade\r\n", 41);
    aw__buf_add(&s->out, "Sec-WebSocket-Accept: ", 22);
    aw__buf_add(&s->out, accept, 28);
    if (req->ws->protocol) {
        aw__buf_add(&s->out, "\r\nSec-WebSocket-Protocol: ", 26);
        aw__buf_add(&s->out, req->ws->protocol, strlen(req->ws->protocol));
    }
    aw__buf_add(&s->out, "\r\n", 2);
    for (h = req->headers; h; h = h->next)
        aw__buf_add(&s->out, h->line, h->n);
    aw__buf_add(&s->out, "\r\n", 2);
    return !s->out.failed;
}

/* All of the handshake is out: from now on the descriptor is a stream's, and
   the stream its WebSocket's. */
static void aw__conn_upgrade(aw__server *s, aw__conn *c)
{
    aw_ws *ws = c->req->ws;
    aw__held *in = c->in;
    aw_stream *stream;
    int rc = 0;
    aw__fd_forget(s->loop, c->fd);
    stream = aw__stream_new(s->loop, c->fd, &c->peer);
    c->fd = -1;
    if (stream && in)
        rc = aw__stream_unread(stream, aw__held_bytes(in) + in->at,
                               in->n - in->at);
    aw__held_free(s->loop, &c->in);
    if (stream && ws->state == AW__WS_OVER) aw_stream_abort(stream);
    else if (stream) aw__ws_attach(ws, stream);
    if (!stream || rc < 0) aw__ws_gone(ws, AW_ENOMEM);
}

static void aw__ws_stop_all(aw__server *s)
{
    const aw__link *x = s->lists[AW__IN_WS].next;
    for (; x != &s->lists[AW__IN_WS]; x = x->next)
        aw__ws_shut(((const aw__conn *)x)->req->ws, AW_WS_GOING_AWAY, NULL, 0);
}

/* The view's first call. In the turn that read the request its connection is
   settled by and by; later, it is done here. */
static int aw__ws_accept(aw_ws *ws)
{
    aw_req *req = ws->req;
    aw__server *s = ws->loop->server;
    aw__conn *c = req->conn;
    const bool later = !s->current;
    const size_t before = s->out.n;
    aw__sending *said = (aw__sending *)aw__new(req, sizeof *said);
    if (!c) return AW_ECLOSED;
    if (!later && s->current != c) return AW_EBUSY;
    if (req->sending) return AW_EINVAL;     /* aw_stream_begin came before */
    if (!said) return AW_ENOMEM;
    said->fixed = true;
    req->sending = said;
    req->status = 101;
    s->before_head(req);
    if (!aw__ws_answer(s, req)) {
        s->out.n = before;      /* the view can still answer otherwise */
        s->out.failed = false;
        req->sending = NULL;
        return AW_ENOMEM;
    }
    s->current = c;
    said->head_out = true;
    aw__access_log(s, req, 0);
    aw__conn_enter(s, c, AW__IN_WS);
    ws->heard = s->loop->now;
    aw__ws_enter(ws, AW__WS_OPEN);
    if (s->stopping) aw__ws_shut(ws, AW_WS_GOING_AWAY, NULL, 0);
    if (later) aw__conn_settle(s, c);
    return 0;
}

static void aw__ws_on_lost(aw_ws *ws)
{
    if (ws->req->task) aw__cancel_task(ws->req->task, AW_ECANCELED);
}

static void aw__ws_on_over(aw_ws *ws)
{
    aw__conn_close(ws->loop->server, ws->req->conn);
}

/* A request of a WebSocket route: 0, or the status that refuses it. */
static int aw__ws_begin_request(aw_req *req, const aw_route *route)
{
    aw__server *s = req->loop->server;
    const int status = aw__ws_check(req, route);
    aw_ws *ws = status ? NULL : (aw_ws *)aw__new(req, sizeof *ws);
    if (!ws) return status ? status : 503;
    aw__ws_init(ws, req->loop, &s->ws);
    if (route->max_message) ws->in.max_message = route->max_message;
    ws->in.masked = true;
    ws->req = req;
    ws->open = aw__ws_accept;
    ws->lost = aw__ws_on_lost;
    ws->over = aw__ws_on_over;
    req->ws = ws;
    return aw__ws_choose(req, ws, route->protocols) ? 0 : 503;
}

/* True when the view's result is no answer: the socket is open, or opened now
   by a view that has nothing to say. */
static bool aw__ws_upgraded(aw_req *req, int rc)
{
    aw_ws *ws = req->ws;
    if (ws->state == AW__WS_ASKED && rc == 0) (void)aw__ws_accept(ws);
    return ws->state != AW__WS_ASKED;
}

/* Why the socket is closed, by how the view ended. */
static int aw__ws_code_of(const aw__server *s, int rc, bool cancelled)
{
    if (cancelled && s->stopping) return AW_WS_GOING_AWAY;
    if (rc <= AW_HTTP(400) && rc > AW_HTTP(500)) return AW_WS_POLICY;
    return rc < 0 && rc != AW_ECLOSED ? AW_WS_INTERNAL_ERROR : AW_WS_NORMAL;
}

/* The view has ended: the socket goes on by itself to its end. True: that was
   an error to be logged. */
static bool aw__ws_view_ended(aw_req *req, int rc, bool cancelled)
{
    aw_ws *ws = req->ws;
    aw__server *s = ws->loop->server;
    const bool fine = rc >= 0 || rc <= AW_HTTP(0) || cancelled ||
        rc == AW_ECLOSED || rc == ws->error;
    ws->ended = true;
    aw__ws_leave_off(ws, aw__ws_code_of(s, rc, cancelled), NULL, 0);
    if (!req->conn) aw__ws_free(ws);
    else if (ws->state == AW__WS_OVER) aw__ws_on_over(ws);
    return !fine;
}

static void aw__ws_conn_gone(aw_req *req)
{
    aw__ws_gone(req->ws, AW_ECLOSED);
    if (req->ws->ended) aw__ws_free(req->ws);
}

AW__OBJECT const aw__view_ops aw__ws_ops = {
    NULL, aw__ws_begin_request, aw__ws_upgraded, aw__ws_view_ended,
    aw__ws_conn_gone, aw__conn_upgrade, aw__ws_stop_all};
#endif

/* >>floor6 router  A tree of path segments --------------------------------- */

/* Siblings are tried in this order: the most specific first. */
typedef enum aw__node_kind {
    AW__N_TEXT, AW__N_INT, AW__N_FLOAT, AW__N_SEGMENT, AW__N_PATH
} aw__node_kind;

/* One route at the end of its path. */
typedef struct aw__target {
    aw_route route;             /* first; its whole path, all options */
    struct aw__target *next;    /* at the same node */
    struct aw__target *later;   /* in the order of the tables */
    const struct aw__table *table;
    const aw_view *view;        /* the route's own; NULL: there is none */
    aw_view steps;              /* what stands for it when more is to run */
    const uint64_t *tags;       /* what the assets' entity tags are made of */
    int params;
    const char *names[AW__PARAMS_MAX];      /* of what it captures */
} aw__target;

/* A table of routes where it is mounted, and what holds for all of it. */
typedef struct aw__table {
    const struct aw__table *up;
    const aw_route *rows;
    const aw_view **before, **after;    /* in the order in which they run */
    size_t befores, afters;
    bool hooked;                /* there is something besides the views */
    aw__target nowhere;         /* for a path that no route takes */
} aw__table;

typedef struct aw__node {
    struct aw__node *next, *child;
    aw__target *targets;
    const aw__table *table;     /* the first that is mounted here */
    const char *text;           /* canonical; of AW__N_TEXT */
    size_t n;
    aw__node_kind kind;
} aw__node;

typedef struct aw__router {
    aw__node *nodes;
    aw__table *top;
    aw__target *first, **last;  /* all routes */
} aw__router;

static bool aw__is_int(const char *p, size_t n)
{
    int64_t v;
    return n && aw__is_digit(*p) && aw__text_int(p, n, &v);
}

static bool aw__is_float(const char *p, size_t n)
{
    size_t i = 0, dot;
    while (i < n && aw__is_digit(p[i])) i++;
    dot = i;
    if (i == 0 || i == n || p[i++] != '.') return false;
    while (i < n && aw__is_digit(p[i])) i++;
    return i == n && i > dot + 1;
}

static AW__INLINE bool aw__node_takes(const aw__node *node, const char *p,
                                      size_t n)
{
    switch (node->kind) {
        case AW__N_TEXT: return node->n == n && memcmp(node->text, p, n) == 0;
        case AW__N_INT: return aw__is_int(p, n);
        case AW__N_FLOAT: return aw__is_float(p, n);
        default: return n > 0;
    }
}

/* What is being looked for, and what was seen on the way. */
typedef struct aw__search {
    aw_req *req;
    const char *method;
    size_t method_len;
    unsigned allowed;           /* bits of AW__GET... of routes that fit */
    bool any_method;            /* stop at the first path that fits */
} aw__search;

static bool aw__method_is(const aw_route *route, const char *p, size_t n)
{
    return strlen(route->method) == n && memcmp(route->method, p, n) == 0;
}

/* The route of a node for the method: its own, GET for HEAD, or any. */
static const aw__target *aw__node_target(const aw__node *node, aw__search *s)
{
    const aw__target *t, *get = NULL, *any = NULL;
    for (t = node->targets; t; t = t->next) {
        const char *method = t->route.method;
        size_t n = strlen(method);
        if (aw__method_is(&t->route, s->method, s->method_len)) return t;
        s->allowed |= 1u << aw__http_verb(method, n);
        if (method[0] == '*') any = t;
        else if (aw__method_is(&t->route, "GET", 3)) get = t;
    }
    if (get && s->req->head.verb == AW__HEAD) return get;
    return any ? any : s->any_method ? node->targets : NULL;
}

/* Follows the path from `at`, just behind a slash. Depth: its segments, and
   no deeper than the longest route. */
static const aw__target *aw__route_walk(const aw__node *node, size_t at,
                                        int params, aw__search *s)
{
    aw_req *req = s->req;
    const char *slash = (const char *)memchr(req->path.p + at, '/',
                                             req->path.n - at);
    size_t end = slash ? (size_t)(slash - req->path.p) : req->path.n;
    for (; node; node = node->next) {
        const aw__target *found;
        size_t stop = node->kind == AW__N_PATH ? req->path.n : end;
        int n = params;
        if (!aw__node_takes(node, req->path.p + at, stop - at)) continue;
        if (node->kind != AW__N_TEXT) {
            req->param[n].at = (uint16_t)at;
            req->param[n++].n = (uint16_t)(stop - at);
        }
        found = stop == req->path.n ? aw__node_target(node, s)
            : aw__route_walk(node->child, stop + 1, n, s);  /* recursion */
        if (found) return found;
    }
    return NULL;
}

/* ---- compiling ---- */

/* Text as it stands in a canonical path. */
static const char *aw__route_text(aw__arena *a, const char *p, size_t n,
                                  size_t *out)
{
    static const char hex[] = "0123456789ABCDEF";
    char *text = (char *)aw__arena_get(a, 3 * n + 1), *to = text;
    size_t i;
    for (i = 0; text && i < n; i++) {
        unsigned c = (unsigned char)p[i];
        if (c != '%' && aw__http_is(p[i], AW__C_PATH)) {
            *to++ = p[i];
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *out = (size_t)(to - text);
    return text;
}

/* Reads one segment of a pattern into `n`; the parameter's name, or NULL.
   False: it is none. */
static bool aw__route_segment(const char *p, size_t n, aw__node *node,
                              const char **name)
{
    static const struct {
        const char *text;
        aw__node_kind kind;
    } kinds[] = {{"int:", AW__N_INT}, {"float:", AW__N_FLOAT},
                 {"path:", AW__N_PATH}, {"string:", AW__N_SEGMENT}};
    size_t i;
    *name = NULL;
    node->kind = AW__N_TEXT;
    if (n == 0 || *p != '<') return memchr(p, '<', n) == NULL;
    if (p[n - 1] != '>') return false;
    node->kind = AW__N_SEGMENT;
    *name = p + 1;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].text);
        if (n <= len + 2 || strncmp(p + 1, kinds[i].text, len) != 0) continue;
        node->kind = kinds[i].kind;
        *name += len;
    }
    return aw__is_token(*name, (size_t)(p + n - 1 - *name));
}

/* The sibling that is like `want`, made when there is none. NULL: no memory. */
static aw__node *aw__node_child(aw__arena *a, aw__node **list,
                                const aw__node *want)
{
    aw__node **at = list, *node;
    for (; *at && (*at)->kind <= want->kind; at = &(*at)->next) {
        if ((*at)->kind != want->kind) continue;
        if (want->kind != AW__N_TEXT || ((*at)->n == want->n &&
            memcmp((*at)->text, want->text, want->n) == 0)) return *at;
    }
    node = (aw__node *)aw__arena_get(a, sizeof *node);
    if (!node) return NULL;
    *node = *want;
    node->next = *at;
    *at = node;
    return node;
}

/* Follows the pattern t->route.path to its last node, made where there is
   none, and takes the names of the parameters. NULL, or what is wrong. */
static const char *aw__route_node(aw__arena *a, aw__node **list, aw__target *t,
                                  aw__node **out)
{
    const char *p = t->route.path;
    if (*p != '/') return "a path begins with /";
    for (*out = NULL; *p; list = &(*out)->child) {
        const char *end = p + 1 + strcspn(p + 1, "/"), *name;
        const size_t n = (size_t)(end - p - 1);
        aw__node want;
        int i;
        memset(&want, 0, sizeof want);
        if (!aw__route_segment(p + 1, n, &want, &name))
            return "a parameter is a whole segment: /<name>/ or /<int:name>/";
        if (want.kind == AW__N_PATH && *end) return "<path:...> comes last";
        if (name && t->params == AW__PARAMS_MAX) return "too many parameters";
        for (i = 0; name && i < t->params; i++)
            if (strncmp(t->names[i], name, (size_t)(end - name)) == 0)
                return "two parameters of one name";
        if (name) t->names[t->params++] = name;
        else want.text = aw__route_text(a, p + 1, n, &want.n);
        *out = name || want.text ? aw__node_child(a, list, &want) : NULL;
        if (!*out) return "out of memory";
        p = end;
    }
    return NULL;
}

/* >>floor6 app  Views, their results, the standard pages ------------------- */

/* The header field of a 405 or OPTIONS answer (RFC 9110 10.2.1). */
static void aw__app_allow(aw_req *req, unsigned allowed)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE",
                                        "PATCH"};
    char text[80];
    size_t n = 0, i;
    if (allowed & 1u << AW__GET) allowed |= 1u << AW__HEAD;
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (allowed >> i & 1)
            n += (size_t)aw__print(text + n, sizeof text - n, "%s, ", names[i]);
    aw__print(text + n, sizeof text - n, "OPTIONS");
    (void)aw_set_header(req, "Allow", text);
}

/* The path with a slash behind it, then the query. NULL: it has one, or no
   memory, or the redirect to //host would leave this site. */
static const char *aw__app_slashed(aw_req *req)
{
    aw_slice path = req->path;
    char *text = (char *)aw_alloc(req, path.n + req->query.n + 3), *to = text;
    if (!to || path.p[path.n - 1] == '/' || path.p[1] == '/') return NULL;
    memcpy(to, path.p, path.n);
    to += path.n;
    *to++ = '/';
    if (req->query.n) {
        *to++ = '?';
        memcpy(to, req->query.p, req->query.n);
        to += req->query.n;
    }
    *to = 0;
    return text;
}

/* "/x" where only "/x/" is: the address that answers. */
static bool aw__app_slash(aw_req *req, aw__search *search, const aw__node *all)
{
    aw_slice path = req->path;
    const char *text = aw__app_slashed(req);
    const aw__target *found;
    if (!text) return false;
    req->path = aw__slice(text, path.n + 1);
    search->any_method = true;
    found = aw__route_walk(all, 1, 0, search);
    req->path = path;
    return found && aw_set_header(req, "Location", text) == 0;
}

/* No route takes this method and path: why, as a status. */
static int aw__app_fate(aw_req *req, aw__search *search, const aw__node *all)
{
    if (search->allowed) {
        aw__app_allow(req, search->allowed);
        return req->head.verb == AW__OPTIONS ? 204 : 405;
    }
    return aw__app_slash(req, search, all) ? 308 : 404;
}

/* The table with the longest prefix of a path, and what its prefix captures:
   a hook may ask for that. */
typedef struct aw__nearest {
    aw_req *req;
    const aw__table *table;
    int depth;
    aw__param param[AW__PARAMS_MAX];
} aw__nearest;

static void aw__nearest_walk(const aw__node *node, size_t at, int params,
                             int depth, aw__nearest *best)
{
    aw_req *req = best->req;
    const char *slash = (const char *)memchr(req->path.p + at, '/',
                                             req->path.n - at);
    size_t end = slash ? (size_t)(slash - req->path.p) : req->path.n;
    for (; node; node = node->next) {
        int n = params;
        if (node->kind == AW__N_PATH ||
            !aw__node_takes(node, req->path.p + at, end - at)) continue;
        if (node->kind != AW__N_TEXT) {
            req->param[n].at = (uint16_t)at;
            req->param[n++].n = (uint16_t)(end - at);
        }
        if (node->table && depth > best->depth) {
            best->table = node->table;
            best->depth = depth;
            memcpy(best->param, req->param, sizeof best->param);
        }
        if (end < req->path.n)
            aw__nearest_walk(node->child, end + 1, n, depth + 1, best);
    }                                                   /* recursion */
}

/* The request is the target's. */
static AW__INLINE void aw__app_found(aw_req *req, const aw__target *t)
{
    int i;
    req->route = &t->route;
    req->params = (uint8_t)t->params;
    for (i = 0; i < t->params; i++) req->param[i].name = t->names[i];
}

/* No route takes the request; what its table does about that may be more than
   a standard page. A path that could not be read is not shown to anybody. */
static void aw__app_nowhere(aw_req *req, bool readable)
{
    const aw__router *router = req->loop->server->router;
    aw__nearest best;
    best.req = req;
    best.table = router->top;
    best.depth = 0;
    if (readable) aw__nearest_walk(router->nodes, 1, 0, 1, &best);
    else req->path = req->query = aw__slice("", 0);
    if (best.depth) memcpy(req->param, best.param, sizeof best.param);
    aw__app_found(req, &best.table->nowhere);
}

/* A view that takes a parameter for a file's name must not be led out by one
   that decodes to "a/../b": %2F separates here, and dot-segments are refused.
   The path is canonical, so no other escape can hide one. */
static bool aw__app_climbs(aw_slice path)
{
    const char *p = path.p, *end = p + path.n, *q;
    for (; p < end; p = q) {
        p += *p == '/' ? 1 : *p == '%' ? 3 : 0;
        for (q = p; q < end && *q != '/'; q++)
            if (*q == '%' && end - q >= 3 && q[1] == '2' && q[2] == 'F') break;
        if (q - p == 1 && *p == '.') return true;
        if (q - p == 2 && p[0] == '.' && p[1] == '.') return true;
        if (q == end) break;
    }
    return false;
}

/* C would see the text end there: what follows must not be lost silently. */
static bool aw__query_has_nul(aw_slice query)
{
    const char *p = query.p, *end = p + query.n;
    while ((p = (const char *)memchr(p, '%', (size_t)(end - p))) != NULL)
        if (aw__url_escape(p++, end) == 0) return true;
    return false;
}

static int aw__app_path(aw_req *req)
{
    const aw__head *h = &req->head;
    size_t n;
    char *to;
    bool canonical = aw__url_split(req->base + h->path, h->path_len,
                                   &req->path, &req->query);
    if (req->query.n && aw__query_has_nul(req->query)) return 400;
    if (canonical) return 0;
    to = (char *)aw_alloc(req, req->path.n + 1);
    if (!to) return 503;
    if (aw__url_path(to, req->path.p, req->path.n, &n) < 0) return 400;
    req->path = aw__slice(to, n);
    return aw__app_climbs(req->path) ? 400 : 0;
}

static void aw__app_route(aw_req *req)
{
    const aw__node *all = req->loop->server->router->nodes;
    const aw__head *h = &req->head;
    const aw__target *found;
    aw__search search;
    memset(&search, 0, sizeof search);
    search.req = req;
    search.method = req->base + h->method;
    search.method_len = h->method_len;
    if (h->verb == AW__OPTIONS && h->path_len == 1 &&
        req->base[h->path] == '*') {
        req->fate = 204;
        aw__app_allow(req, 0x3f);
    } else if (h->verb == AW__CONNECT) {
        req->fate = 501;                            /* RFC 9110 9.3.6 */
    } else {
        req->fate = (int16_t)aw__app_path(req);
    }
    if (req->fate) {
        aw__app_nowhere(req, false);
        return;
    }
    found = aw__route_walk(all, 1, 0, &search);
    if (found) {
        aw__app_found(req, found);
        if (AW__UNLIKELY(found->route.websocket))
            req->fate = (int16_t)found->view->ops->begin(req, &found->route);
        if (!req->fate) return;
    } else {
        req->fate = (int16_t)aw__app_fate(req, &search, all);
    }
    aw__app_nowhere(req, true);
}

static void aw__put_escaped(aw__buf *b, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
            case '<': aw__buf_add(b, "&lt;", 4); break;
            case '>': aw__buf_add(b, "&gt;", 4); break;
            case '&': aw__buf_add(b, "&amp;", 5); break;
            case '"': aw__buf_add(b, "&quot;", 6); break;
            default: aw__buf_add(b, text, 1);
        }
    }
}

/* What a developer wants to know, and nobody else: in debug only. */
static void aw__page_debug(aw__buf *b, const aw_req *req, int rc,
                           const aw__trace *trace)
{
    char text[64];
    int i;
    aw__put_text(b, "<pre>");
    if (req->route && req->route->view) {
        aw__put_text(b, "view ");
        aw__put_escaped(b, req->route->view->name);
        aw__put_text(b, " of ");
        aw__put_escaped(b, req->route->path);
        aw__put_text(b, "\n");
    }
    if (rc < 0 && rc > AW_HTTP(0)) {
        aw__print(text, sizeof text, " (%d)\n", rc);
        aw__put_escaped(b, aw_strerror(rc));
        aw__put_text(b, text);
    }
    for (i = trace && trace->rc == rc ? trace->count - 1 : -1; i >= 0; i--) {
        aw__put_text(b, "  in ");
        aw__put_escaped(b, trace->at[i].fn->name);
        aw__put_text(b, " at ");
        aw__put_escaped(b, trace->at[i].fn->file);
        aw__print(text, sizeof text, ":%u\n", (unsigned)trace->at[i].line);
        aw__put_text(b, text);
    }
    aw__put_text(b, "</pre>\n");
}

#ifndef ASYNCWEB_NO_JSON
/* A client that asks for JSON, and not for HTML, is told in JSON; without the
   writer, which would come with its decimals. */
static bool aw__app_wants_json(const aw_req *req)
{
    int i = aw__req_field(req, "Accept", 0);
    aw_slice v;
    bool json = false;
    if (i < 0) return false;
    for (v = aw__field_value(req, i); v.n >= 4; v.p++, v.n--) {
        if (aw__slice_ieq(aw__slice(v.p, 4), "html")) return false;
        if (aw__slice_ieq(aw__slice(v.p, 4), "json")) json = true;
    }
    return json;
}

static bool aw__app_page_json(aw_req *req, int status)
{
    const char *const reason = aw__http_reason(status);
    char head[40];
    aw__buf b;
    if (!aw__app_wants_json(req)) return false;
    memset(&b, 0, sizeof b);
    b.arena = &req->arena;
    aw__print(head, sizeof head, "{\"status\":%d,\"error\":", status);
    aw__put_text(&b, head);
    aw__json_quote(&b, reason, strlen(reason));
    if (req->message) {
        aw__put_text(&b, ",\"message\":");
        aw__json_quote(&b, req->message, strlen(req->message));
    }
    aw__put_text(&b, "}");
    return !b.failed &&
        aw__answer(req, status, "application/json", b.p, b.n) > 0;
}
#endif

/* Overload passes: a polite client comes back (RFC 9110 10.2.3). */
static void aw__app_retry(aw_req *req, int status)
{
    if (status == 503 && !aw__header_has(req, "Retry-After"))
        (void)aw_set_header(req, "Retry-After", "1");
}

/* The standard page of a status becomes the answer. */
static void aw__app_page(aw_req *req, int status, int rc,
                         const aw__trace *trace)
{
    const char *reason = aw__http_reason(status);
    char number[16];
    aw__buf b;
    /* What the view said of another answer does not hold for this one. */
    aw__header_remove(req, "Content-Type");
    aw__header_remove(req, "Content-Encoding");
    aw__app_retry(req, status);
    (void)aw_status(req, status);
    if (status == 204 || status == 205 || status == 304) {
        (void)aw__answer(req, status, NULL, "", 0);
        return;
    }
#ifndef ASYNCWEB_NO_JSON
    if (aw__app_page_json(req, status)) return;
#endif
    memset(&b, 0, sizeof b);
    b.arena = &req->arena;
    aw__print(number, sizeof number, "%d ", status);
    aw__put_text(&b, "<!doctype html>\n<title>");
    aw__put_text(&b, number);
    aw__put_text(&b, reason);
    aw__put_text(&b, "</title>\n<h1>");
    aw__put_text(&b, reason);
    aw__put_text(&b, "</h1>\n");
    if (req->message) {
        aw__put_text(&b, "<p>");
        aw__put_escaped(&b, req->message);
        aw__put_text(&b, "</p>\n");
    }
    if (req->loop->debug && status >= 500)
        req->loop->server->with.debug->page(&b, req, rc, trace);
    if (b.failed) (void)aw_text_static(req, reason);
    else (void)aw__answer(req, status, aw__html, b.p, b.n);
}

/* Which status an error that leaves a view becomes (rule 18). */
static int aw__status_of(int rc)
{
    if (rc <= AW_HTTP(100) && rc >= AW_HTTP(599)) return AW_HTTP(0) - rc;
    switch (rc) {
        case AW_EDNS: case AW_ECONNREFUSED: case AW_ECONNRESET:
        case AW_EUNREACH: case AW_EBADMSG: case AW_EEOF: case AW_ECLOSED:
        case AW_ENOTLS: case AW_ETOOBIG:
        case AW_ETLS: case AW_ETLS_ISSUER: case AW_ETLS_SELF_SIGNED:
        case AW_ETLS_NAME: case AW_ETLS_EXPIRED: case AW_ETLS_NOT_YET:
        case AW_ETLS_VERSION: case AW_ETLS_WEAK: case AW_ETLS_PIN:
        case AW_ETLS_USE:
            return 502;
        case AW_ETIMEDOUT: case AW_EDEADLINE:
            return 504;
        case AW_ENOSPC:
            return 507;
        case AW_ENOMEM: case AW_EMFILE: case AW_ESHUTDOWN: case AW_ECANCELED:
            return 503;
        default:
            return 500;
    }
}

/* Says in the log what went wrong with a view. */
static void aw__app_complain(const aw_req *req, const aw_view *view, int rc,
                             const aw__task *t)
{
    char what[200];
    aw__print(what, sizeof what, "view %s (%s)", view->name, view->file);
    if (rc < 0 && t) aw__log_error(t, what, rc);
    else if (rc < 0) aw__log(req->loop, AW_LOG_ERROR, "%s: %s (%d)", what,
                             aw_strerror(rc), rc);
    else aw__log(req->loop, AW_LOG_ERROR, "%s returned %d: return an answer "
                 "(aw_text(...)), a status, or an error", what, rc);
}

/* True when the view has answered, and says with which status. What has been
   sent cannot be taken back: an error cuts the answer off. */
static bool aw__app_answered(aw_req *req, const aw_view *view, int rc,
                             const aw__task *t)
{
    aw__sending *sending = req->sending;
    if (sending && sending->fixed) {
        sending->broken = sending->broken || rc < 0;
        if (rc < 0 && rc != AW_ECANCELED) aw__app_complain(req, view, rc, t);
        return true;
    }
    if (sending && rc == 0) return true;
    if (rc < 200 || rc > 599 || !(req->flags & AW__ANSWERED)) return false;
    req->status = (int16_t)rc;
    return true;
}

/* The status of the page that is to be made, for the view did not answer. */
static int aw__app_status(const aw_req *req, const aw_view *view, int rc,
                          const aw__task *t)
{
    int status = rc < 0 ? aw__status_of(rc) : rc;
    bool fits = status >= 200 && status <= 599;
    /* A status was meant, and an end that was asked for is no error. */
    if (!(fits && (rc > 0 || rc == AW_HTTP(status))) && rc != AW_ECANCELED)
        aw__app_complain(req, view, rc, t);
    return fits ? status : 500;
}

/* Makes an answer of what the view returned. */
static void aw__app_answer(aw_req *req, int rc, const aw__task *t)
{
    const aw_view *view = req->route->view;
    if (aw__app_answered(req, view, rc, t)) return;
    aw__app_page(req, aw__app_status(req, view, rc, t), rc,
                 t ? t->trace : NULL);
}

/* What could not become a request is answered like this. */
static void aw__app_standard(aw_req *req, int status)
{
    aw__app_page(req, status, AW_HTTP(status), NULL);
}

/* What a view has said, and there is no answer to be: it has become a
   WebSocket's; else NULL. */
static const aw__view_ops *aw__req_upgraded(aw_req *req, int rc)
{
    const aw__view_ops *ws = req->ws ? req->loop->server->sockets : NULL;
    return ws && ws->upgraded(req, rc) ? ws : NULL;
}

static void aw__app_view_ended(aw__task *t)
{
    aw_req *req = t->req;
    bool cancelled = (t->ctx.flags & AW__CANCELED) != 0;
    const aw__view_ops *ws = aw__req_upgraded(req, cancelled ? AW_ECANCELED
                                              : t->ctx.rc);
    if (ws) {
        req->task = NULL;
        if (ws->ended(req, t->ctx.rc, cancelled))
            aw__app_complain(req, req->route->view, t->ctx.rc, t);
        return;
    }
    if (req->conn)
        aw__app_answer(req, cancelled ? AW_ECANCELED : t->ctx.rc, t);
    else if (t->ctx.rc < 0 && t->ctx.rc > AW_HTTP(0) && !cancelled &&
             t->ctx.rc != AW_ECLOSED)   /* it found that its client left */
        aw__app_complain(req, req->route->view, t->ctx.rc, t);
    aw__view_done(req);
}

static AW__INLINE int aw__view_plain(aw_req *req, const aw_view *view)
{
    aw_loop *l = req->loop;
    int rc;
    l->idle.req = req;
    rc = view->plain(&l->idle.ctx, req);
    l->idle.req = NULL;
    if (l->idle.chunk) aw__task_put(&l->idle, NULL);
    return rc;
}

/* Makes the task of the request's view and runs it: it may have ended
   afterwards. 0, or why there is none. */
static int aw__view_start(aw_req *req, const aw_fn *fn, const void *args)
{
    aw_loop *l = req->loop;
    aw__task *t;
    int rc;
    if (l->tasks >= l->server->config.max_tasks) return AW_HTTP(503);
    t = aw__task_new(l, fn, args, false, &rc);
    if (!t) return rc;
    t->ctx.flags |= AW__VIEW_TASK;
    aw__req_keep(t, req);
    req->task = t;
    if (AW__UNLIKELY(l->on_suspend != NULL)) l->chaos.victim = aw__handle(t);
    aw__resume(t);
    return 0;
}

void *aw_data(aw_req *req)
{
    return req->loop->server->config.data;
}

void *aw__state(aw__ctx *t)
{
    return t->loop->server ? t->loop->server->config.data : NULL;
}

void *aw__local(aw__ctx *ctx, size_t n)
{
    aw_req *req = ((aw__task *)ctx)->req;
    if (!req) return NULL;
    if (!req->local) {
        req->local = aw__new(req, n);
        req->local_size = n;
    }
    return n == req->local_size ? req->local : NULL;
}

const char *aw_peer(aw_req *req)
{
    char text[AW_PEER_TEXT];
    if (!req->conn) return "";
    return aw_strdup(req, aw__req_peer(req, text));
}

const char *aw_scheme(aw_req *req)
{
    const aw__forwarded *f = aw__req_proxied(req);
    if (f && f->proto) return f->proto;
    return req->secure ? "https" : "http";
}

#ifdef ASYNCWEB_BEARSSL
const char *aw_tls_peer_subject(aw_req *req)
{
    const aw__tls *t = req->conn && req->conn->fd >= 0
        ? aw__tls_on(req->loop, req->conn->fd) : NULL;
    return t ? aw_strdup(req, t->subject) : NULL;
}
#endif

const char *aw_host(aw_req *req)
{
    const aw__forwarded *f = aw__req_proxied(req);
    aw_slice host = aw__slice(req->base + req->head.host, req->head.host_len);
    if (f && f->host.n) host = f->host;
    return aw__arena_text(&req->arena, host.n ? host.p : "", host.n);
}

const char *aw_base_url(aw_req *req)
{
    const char *host = aw_host(req);
    return host && *host ? aw_format(req, "%s://%s", aw_scheme(req), host)
        : host;
}

/* >>floor6 hooks  What runs around a view, and in place of error pages ----- */

/* BEFORE     hooks, until one answers        -> VIEW, or what it said: PAGE
   VIEW       the view itself                 its result -> PAGE
   PAGE       an error view, if there is one  -> AFTER
   AFTER      hooks; whatever went before     -> the end

   The steps of a request run one after the other, the plain ones as plain
   calls. The first async one gets a task, in which it and all later ones run:
   their frames are awaited in turn by one that holds the state. */
typedef struct aw__steps {
    const aw_view *view;        /* the one that runs now; NULL: all have */
    int stage, rc;
    size_t at;                  /* the next hook */
    int page;                   /* PAGE: the status */
    bool sent;                  /* AFTER: the plain ones have run already */
    int64_t due;                /* the end of the time for BEFORE and VIEW, or
                                   for PAGE and AFTER */
} aw__steps;

enum { AW__BEFORE, AW__VIEW, AW__PAGE, AW__AFTER };

/* How long the steps of these stages have from now on. */
static void aw__steps_stage(aw__steps *s, const aw_req *req, int stage)
{
    int64_t ms = req->route->timeout_ms, now = req->loop->now;
    if (stage == AW__BEFORE || stage == AW__PAGE)
        s->due = ms == AW_FOREVER ? ms : now + ms;
    s->stage = stage;
    s->at = 0;
}

/* What is left of it, for the await of the next step. */
static int64_t aw__steps_left(const aw__steps *s, const aw_req *req)
{
    return s->due == AW_FOREVER ? AW_FOREVER : s->due - req->loop->now;
}

/* What a step said is not the answer. */
static void aw__answer_forget(aw_req *req)
{
    req->flags &= (uint8_t)~AW__ANSWERED;
    aw__sending_forget(req);
}

static bool aw__head_is_out(const aw_req *req)
{
    return req->sending && req->sending->fixed;
}

static const aw__target *aw__req_target(const aw_req *req)
{
    return (const aw__target *)(const void *)req->route;
}

/* The view that makes the page for a status: the innermost table's. */
static const aw_view *aw__page_view(const aw__table *table, int status)
{
    for (; table; table = table->up) {
        const aw_view *any = NULL;
        const aw_route *r;
        for (r = table->rows; r && r->method; r++) {
            if (r->kind != AW_ROW_ERROR) continue;
            if (r->status == status) return r->view;
            if (r->status == AW_ANY_ERROR) any = r->view;
        }
        if (any) return any;
    }
    return NULL;
}

/* A step was cut off because the time of the view was over: RFC 9110 15.6.4
   fits; a 504 would blame another server. */
static int aw__steps_late(const aw__steps *s, const aw_req *req, int rc)
{
    if (rc != AW_EDEADLINE || aw__steps_left(s, req) > 0) return rc;
    aw__log(req->loop, AW_LOG_ERROR, "view %s (%s): not done within its "
            "timeout_ms (%lld)", s->view->name, s->view->file,
            (long long)req->route->timeout_ms);
    return AW_HTTP(503);
}

/* The result of BEFORE hooks or the view is there: the page it asks for is
   made, unless a view does that, which is given then. */
static const aw_view *aw__steps_page(aw__steps *s, aw_req *req, int rc,
                                     const aw__task *t)
{
    const aw__target *target = aw__req_target(req);
    const aw_view *view = NULL;
    int page;
    if (aw__app_answered(req, s->view, rc, t)) return NULL;
    page = aw__app_status(req, s->view, rc, t);
    if (page >= 400) view = aw__page_view(target->table, page);
    if (!view) aw__app_page(req, page, rc, t ? t->trace : NULL);
    if (!view) return NULL;
    /* What was said of another answer does not hold for the page. */
    aw__header_remove(req, "Content-Type");
    aw__header_remove(req, "Content-Encoding");
    aw__answer_forget(req);
    aw__app_retry(req, page);
    (void)aw_status(req, page);
    s->page = page;
    return view;
}

/* An error view or an AFTER hook has said something; its failure is answered
   with the standard page, so that there is no loop. */
static void aw__steps_judge(aw__steps *s, aw_req *req, int rc,
                            const aw__task *t)
{
    int page;
    if (s->stage == AW__AFTER && aw__head_is_out(req)) {
        if (rc < 0) aw__app_complain(req, s->view, rc, t);
        return;                 /* the answer is whole all the same */
    }
    if (aw__app_answered(req, s->view, rc, t)) return;
    page = aw__app_status(req, s->view, rc, t);
    if (s->stage == AW__PAGE && rc <= 0) page = s->page;
    aw__app_page(req, page, rc, t ? t->trace : NULL);
}

/* The step before has ended with rc: which is next? */
static const aw_view *aw__steps_next(aw__steps *s, aw_req *req, int rc,
                                     const aw__task *t)
{
    const aw__target *target = aw__req_target(req);
    const aw__table *table = target->table;
    rc = aw__steps_late(s, req, rc);
    if (s->stage == AW__BEFORE && rc == 0 && !aw__head_is_out(req)) {
        aw__answer_forget(req);
        if (req->path.n && s->at < table->befores)
            return table->before[s->at++];
        aw__steps_stage(s, req, AW__VIEW);
        if (target->view) return target->view;
        rc = AW_HTTP(req->fate);
    }
    if (s->stage <= AW__VIEW) {
        const aw_view *view = aw__steps_page(s, req, rc, t);
        aw__steps_stage(s, req, AW__PAGE);
        if (view) return view;
    } else if (s->stage == AW__PAGE || rc != 0) {
        aw__steps_judge(s, req, rc, t);
    }
    if (s->stage == AW__PAGE) {
        aw__steps_stage(s, req, AW__AFTER);
        s->sent = (req->flags & AW__SHOWN) != 0;
        /* A new answer keeps the status. */
        req->flags |= AW__SHOWN | AW__CHOSEN;
    }
    while (s->at < table->afters) {
        const aw_view *hook = table->after[s->at++];
        if (!hook->plain || !s->sent) return hook;
    }
    return NULL;
}

/* The head of a streamed answer leaves in the middle of the view: plain AFTER
   hooks run now, with their last chance to add to it. */
static void aw__app_before_head(aw_req *req)
{
    const aw__table *table = aw__req_target(req)->table;
    size_t i;
    if (req->flags & AW__SHOWN) return;
    req->flags |= AW__SHOWN;
    for (i = 0; i < table->afters; i++) {
        const aw_view *hook = table->after[i];
        int rc = hook->plain ? aw__view_plain(req, hook) : 0;
        if (rc < 0) aw__app_complain(req, hook, rc, NULL);
    }
}

/* The step before has ended with rc. False: there is none left. */
static bool aw__steps_go(aw__steps *s, aw_req *req, int rc, const aw__task *t)
{
    bool over = !req->conn;
    if (s->stage == AW__VIEW && aw__req_upgraded(req, rc)) over = true;
    s->view = over ? NULL : aw__steps_next(s, req, rc, t);
    s->rc = over ? rc : req->status;
    return s->view != NULL;
}

AW_ASYNC(aw__steps_task, (aw_req *req; aw__steps steps;), int rc;)
{
    AW_BEGIN {
        do {
            if (self->steps.view->plain)
                self->rc = self->steps.view->plain(aw_t, self->req);
            else
                AW_AWAIT_FOR_TO(aw__steps_left(&self->steps, self->req),
                                self->rc, aw_call,
                                aw__bind(aw_t, self->steps.view->fn,
                                         &self->req));
        } while (aw__steps_go(&self->steps, self->req, self->rc,
                              (aw__task *)(void *)aw_t));
        AW_RETURN(self->steps.rc);
    }
}

/* Runs the steps of a request as far as they are plain. */
static void aw__steps_run(aw_req *req, int stage, int rc)
{
    aw__steps s;
    memset(&s, 0, sizeof s);
    aw__steps_stage(&s, req, AW__BEFORE);
    s.stage = stage;
    while (aw__steps_go(&s, req, rc, NULL)) {
        if (s.view->plain) {
            rc = aw__view_plain(req, s.view);
            continue;
        }
        rc = aw__view_start AW__CALL((req, ), aw__steps_task, req, s);
        if (rc == 0) return;
    }
}

static void aw__app_handle(aw_req *req)
{
    const aw_view *view = req->route->view;
    int rc;
    if (view && view->plain) {
        aw__app_answer(req, aw__view_plain(req, view), NULL);
    } else if (view && view->fn) {
        /* The one argument of a view's frame is its request. */
        rc = aw__view_start(req, view->fn, &req);
        if (rc < 0) aw__app_answer(req, rc, NULL);
    } else if (view) {
        aw__steps_run(req, AW__BEFORE, 0);
    } else {
        aw__app_page(req, req->fate, 0, NULL);
    }
}

/* It has a route, but its view shall not run: as if there were none. */
static void aw__app_refuse(aw_req *req, int status)
{
    req->fate = (int16_t)status;
    req->route = &aw__req_target(req)->table->nowhere.route;
    if (req->route->view) aw__steps_run(req, AW__VIEW, AW_HTTP(status));
    else aw__app_page(req, status, AW_HTTP(status), NULL);
}

/* >>floor6 static  Directories and assets as routes ------------------------ */

static int aw__tree_redirect(aw_req *req)
{
    const char *to = aw__app_slashed(req);
    int rc = to ? aw_set_header(req, "Location", to) : AW_HTTP(404);
    return rc < 0 ? rc : 308;
}

static const char *aw__tree_sibling(aw_req *req, const char *name,
                                    const char *suffix)
{
    return aw_format(req, "%s%s", name, suffix);
}

/* Which codings to look for: none when the client may be sent but one. */
static int aw__tree_codings(const aw_req *req, aw__source *src,
                            const aw__coding *codings[2])
{
    src->max_age = req->route->max_age;
    src->varies = aw__type_compresses(src->type);
    return src->varies ? aw__codings(req->base, &req->head, codings) : 0;
}

static int aw__asset_find(const aw_route *route, const char *name)
{
    size_t i;
    for (i = 0; i < route->asset_count; i++)
        if (route->assets[i].name && strcmp(route->assets[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int aw__asset_answer(aw_req *req, const char *name)
{
    const aw_route *route = req->route;
    const aw__coding *codings[2];
    const char *sibling;
    char etag[AW__ETAG_TEXT];
    aw__source src;
    int i = aw__asset_find(route, name), n, k, other;
    if (i < 0) {
        sibling = aw__tree_sibling(req, name, "/index.html");
        if (!sibling) return AW_ENOMEM;
        return aw__asset_find(route, sibling) < 0 ? AW_HTTP(404)
            : aw__tree_redirect(req);
    }
    memset(&src, 0, sizeof src);
    src.file = -1;
    src.type = route->assets[i].type;
    if (!src.type) src.type = aw__type_of(name);
    n = aw__tree_codings(req, &src, codings);
    for (k = 0; k < n && !src.coding; k++) {
        sibling = aw__tree_sibling(req, name, codings[k]->suffix);
        if (!sibling) return AW_ENOMEM;
        other = aw__asset_find(route, sibling);
        if (other < 0) continue;
        i = other;
        src.coding = codings[k]->name;
    }
    src.p = route->assets[i].size ? (const char *)route->assets[i].data : "";
    src.size = (int64_t)route->assets[i].size;
    aw__etag_format(etag, aw__req_target(req)->tags[i]);
    src.v.etag = etag;
    return aw__source_answer(req, &src);
}

#ifndef ASYNCWEB_NO_STATIC_FILES
/* A compressed copy, unless it is older than the file: then it is forgotten,
   and wrong. */
static int aw__file_compressed(aw_req *req, int dir, const char *name,
                               const char *suffix, const aw__file *plain,
                               aw__file *f)
{
    const char *sibling = aw__tree_sibling(req, name, suffix);
    int rc = sibling ? aw__file_below(dir, sibling, f) : AW_ENOMEM;
    if (rc == 0 && f->changed >= plain->changed) return 0;
    if (rc == 0) aw__sys_close(f->fd);
    return AW_HTTP(404);
}

static int aw__file_in_tree(aw_req *req, int dir, const char *name)
{
    const aw__coding *codings[2];
    aw__file plain, other;
    aw__source src;
    int i, n, rc = aw__file_below(dir, name, &plain);
    if (rc == AW__IS_DIRECTORY) return aw__tree_redirect(req);
    if (rc != 0) return rc;
    src = aw__source_of_file(&plain, name);
    n = aw__tree_codings(req, &src, codings);
    for (i = 0; i < n && !src.coding; i++) {
        const char *type = src.type;
        if (aw__file_compressed(req, dir, name, codings[i]->suffix, &plain,
                                &other) < 0) continue;
        aw__sys_close(plain.fd);
        src = aw__source_of_file(&other, name);
        src.type = type;
        src.coding = codings[i]->name;
        src.varies = true;
        src.max_age = req->route->max_age;
    }
    return aw__source_answer(req, &src);
}
#endif

/* What the request names, below the route's path; NULL: nothing that is. An
   encoded slash is no slash to the router, and so must not become one. */
static const char *aw__tree_name(aw_req *req, int *rc)
{
    const aw__param *p = &req->param[req->params ? req->params - 1 : 0];
    aw_slice raw = aw__slice("", 0);
    const char *name;
    size_t i;
    *rc = AW_HTTP(404);
    /* Those of a prefix come first, and none of them ends the path. */
    if (req->params && (size_t)p->at + p->n == req->path.n)
        raw = aw__slice(req->path.p + p->at, p->n);
    for (i = 0; i + 3 <= raw.n; i++)
        if (memcmp(raw.p + i, "%2F", 3) == 0) return NULL;
    name = aw__req_decode(req, raw, false);
    if (name && (raw.n == 0 || raw.p[raw.n - 1] == '/'))
        name = aw_format(req, "%sindex.html", name);
    if (!name) *rc = AW_ENOMEM;
    if (name && !aw__file_name_fits(name, req->route->dot_files)) name = NULL;
    return name;
}

static int aw__tree_view(aw__ctx *t, aw_req *req)
{
    int rc;
    const char *name = aw__tree_name(req, &rc);
    (void)t;
    if (!name) return rc;
    if (req->route->assets) return aw__asset_answer(req, name);
#ifndef ASYNCWEB_NO_STATIC_FILES
    rc = aw__file_directory(req->route->dir);
    if (rc >= 0) {
        const int dir = rc;
        rc = aw__file_in_tree(req, dir, name);
        aw__sys_close(dir);
    }
#endif
    return rc;
}

/* >>floor6 tables  From tables of routes to one tree ----------------------- */

enum { AW__MOUNTS_DEEP = 16 };

static size_t aw__limit(size_t value, size_t otherwise)
{
    return value == 0 ? otherwise : value == (size_t)AW_OFF ? SIZE_MAX / 2
        : value;
}

static int64_t aw__limit_ms(int64_t value, int64_t otherwise)
{
    if (value == 0) return otherwise;
    return value < 0 || value > AW_FOREVER / 2 ? AW_FOREVER : value;
}

/* Says what is wrong with a row. */
static bool aw__row_wrong(const aw__server *s, const aw_route *row,
                          const char *path, const char *why)
{
    aw__log(s->loop, AW_LOG_ERROR, "asyncweb: route %s %s: %s", row->method,
            path ? path : "(NULL)", why);
    return false;
}

static const char *aw__path_join(aw__arena *a, const char *prefix,
                                 const char *path)
{
    const size_t n = strlen(prefix), len = strlen(path) + 1;
    char *whole = (char *)aw__arena_get(a, n + len);
    if (!whole) return NULL;
    memcpy(whole, prefix, n);
    memcpy(whole + n, path, len);
    return whole;
}

/* Options that a row does not have are those of what it stands in. */
static void aw__options_inherit(aw_route *row, const aw_route *from)
{
    if (!row->max_body) row->max_body = from->max_body;
    if (!row->half_close) row->half_close = from->half_close;
    if (!row->timeout_ms) row->timeout_ms = from->timeout_ms;
    else row->timeout_ms = aw__limit_ms(row->timeout_ms, 0);
    if (row->websocket) row->timeout_ms = AW_FOREVER;   /* it lives long */
}

/* A target that has more to run than its view gets a view that is neither
   plain nor async: its steps. */
static void aw__target_steps(aw__target *t)
{
    bool timed = t->view && t->view->fn && t->route.timeout_ms != AW_FOREVER;
    if (!t->table->hooked && !timed) return;
    t->steps.name = t->view ? t->view->name : "(no route)";
    t->steps.file = t->view ? t->view->file : "asyncweb.h";
    t->route.view = &t->steps;
}

/* A row's own copy, at its place. NULL, with *wrong: out of memory or a path
   that is none. */
static aw__target *aw__target_new(aw__server *s, const aw__table *table,
                                  const aw_route *row, const char **wrong)
{
    aw__arena *a = &s->memory;
    aw__target *t = (aw__target *)aw__arena_get(a, sizeof *t);
    *wrong = row->path ? "out of memory" : "it has no path";
    if (!row->path || !t) return NULL;
    memset((void *)t, 0, sizeof *t);
    t->route = *row;
    t->route.path = aw__path_join(a, table->nowhere.route.path, row->path);
    if (!t->route.path) return NULL;
    t->table = table;
    aw__options_inherit(&t->route, &table->nowhere.route);
    *wrong = NULL;
    return t;
}

static bool aw__route_add(aw__server *s, const aw__table *table,
                          const aw_route *row)
{
    const char *wrong;
    aw__router *router = s->router;
    aw__target *t = aw__target_new(s, table, row, &wrong), *other;
    aw__node *node = NULL;
    if (!t) return aw__row_wrong(s, row, row->path, wrong);
    wrong = row->view ? aw__route_node(&s->memory, &router->nodes, t, &node)
        : "it has no view";
    if (!wrong && row->stream && !row->view->fn)
        wrong = ".stream needs an ASYNC_VIEW, that awaits its body";
    if (!wrong && row->websocket && (!row->view->ops || !row->view->ops->begin))
        wrong = "WS needs a WS_VIEW";
    for (other = node && !wrong ? node->targets : NULL; other;
         other = other->next) {
        if (strcmp(other->route.method, row->method) != 0) continue;
        if (row->kind == AW_ROW_FILES) return true;     /* that one wins */
        wrong = "there is another route for the same";
    }
    if (wrong) return aw__row_wrong(s, row, t->route.path, wrong);
    t->view = row->view;
    if (row->websocket) s->sockets = row->view->ops;
    t->next = node->targets;
    node->targets = t;
    *router->last = t;
    router->last = &t->later;
    aw__target_steps(t);
    return true;
}

/* Checks the rows that are neither routes nor mounts, and counts them. */
static const char *aw__table_count(aw__table *t)
{
    const aw_route *r, *q;
    for (r = t->rows; r && r->method; r++) {
        if (r->kind == AW_ROW_ROUTE || r->kind == AW_ROW_MOUNT ||
            r->kind == AW_ROW_FILES) continue;
        if (!r->view) return "it has no view";
        t->hooked = true;
        t->befores += r->kind == AW_ROW_BEFORE;
        t->afters += r->kind == AW_ROW_AFTER;
        if (r->kind != AW_ROW_ERROR) continue;
        if (r->status && (r->status < 400 || r->status > 599))
            return "an error has a status from 400 to 599";
        for (q = t->rows; q < r; q++)
            if (q->kind == AW_ROW_ERROR && q->status == r->status)
                return "there is another one for the same status";
    }
    return NULL;
}

/* The hooks that run for a table, its own and those of the tables around
   it. False: out of memory. */
static bool aw__table_hooks(aw__server *s, aw__table *t)
{
    const aw__table *up = t->up;
    const size_t befores = up ? up->befores : 0, afters = t->afters;
    const aw_route *r;
    size_t b = 0, a = afters, i;
    t->befores += befores;
    t->afters += up ? up->afters : 0;
    if (up && up->hooked) t->hooked = true;
    t->before = (const aw_view **)aw__arena_get(
        &s->memory, (t->befores + t->afters + 1) * sizeof *t->before);
    if (!t->before) return false;
    t->after = t->before + t->befores;
    for (; b < befores; b++) t->before[b] = up->before[b];
    for (r = t->rows; r && r->method; r++) {
        if (r->kind == AW_ROW_BEFORE) t->before[b++] = r->view;
        if (r->kind == AW_ROW_AFTER) t->after[--a] = r->view;
    }
    for (i = afters; i < t->afters; i++) t->after[i] = up->after[i - afters];
    return true;
}

/* Enters what STATIC and ASSETS say. */
static bool aw__row_files(aw__server *s, const aw__table *t,
                          const aw_route *row)
{
    if (row->view && row->view->ops && row->view->ops->add)
        return row->view->ops->add(s, t, row);
    return aw__row_wrong(s, row, row->path, "it has no view");
}

/* Enters a table: `row` mounts it in the table `up`. */
static bool aw__table_add(aw__server *s, const aw__table *up,
                          const aw_route *row, int depth)
{
    aw__table *t = (aw__table *)aw__arena_get(&s->memory, sizeof *t);
    const char *wrong = NULL, *path = row->path;
    const aw_route *r;
    aw__target *at;
    aw__node *node = NULL;
    if (!t) return aw__row_wrong(s, row, path, "out of memory");
    memset((void *)t, 0, sizeof *t);
    t->up = up;
    t->rows = row->routes;
    at = &t->nowhere;
    if (up) {
        aw__target *made = aw__target_new(s, up, row, &wrong);
        if (made) *at = *made;
    } else {
        at->route = *row;
        s->router->top = t;
    }
    at->table = t;
    if (!wrong && depth > AW__MOUNTS_DEEP)
        wrong = "mounted too deep: within itself?";
    if (!wrong && strcmp(path, "/") == 0)
        at->route.path = up ? up->nowhere.route.path : "";
    else if (!wrong && *path && path[strlen(path) - 1] == '/')
        wrong = "a prefix does not end with /";
    if (!wrong && *path && at->route.path[0])
        wrong = aw__route_node(&s->memory, &s->router->nodes, at, &node);
    if (!wrong && node && node->kind == AW__N_PATH)
        wrong = "<path:...> comes last";
    if (wrong) return aw__row_wrong(s, row, path, wrong);
    if (node && !node->table) node->table = t;
    wrong = aw__table_count(t);
    if (wrong) return aw__row_wrong(s, row, path, wrong);
    if (!aw__table_hooks(s, t))
        return aw__row_wrong(s, row, path, "out of memory");
    aw__target_steps(at);
    for (r = t->rows; r && r->method; r++)
        if (r->kind == AW_ROW_ROUTE ? !aw__route_add(s, t, r)
            : r->kind == AW_ROW_MOUNT && !aw__table_add(s, t, r, depth + 1))
            return false;                               /* recursion */
    /* Last, because any other route for the same path wins. */
    for (r = t->rows; r && r->method; r++)
        if (r->kind == AW_ROW_FILES && !aw__row_files(s, t, r)) return false;
    return true;
}

/* ---- STATIC and ASSETS ---- */

/* The tags of assets, by their content; NULL: out of memory. */
static uint64_t *aw__assets_hash(aw__arena *a, const aw_route *r)
{
    uint64_t *tags = (uint64_t *)aw__arena_get(a, r->asset_count * 8);
    size_t i;
    for (i = 0; tags && i < r->asset_count; i++)
        tags[i] = aw__etag_hash(0, r->assets[i].data, r->assets[i].size);
    return tags;
}

/* STATIC and ASSETS are two routes: the directory, and what is below. */
static bool aw__files_add(aw__server *s, const aw__table *table,
                          const aw_route *row)
{
    static const char *const behind[] = {"/", "/<path:name>"};
    aw__arena *a = &s->memory;
    aw_route one = *row;
    size_t n = row->path ? strlen(row->path) : 0, i;
    char *prefix = n ? aw__arena_text(a, row->path, n) : NULL;
    aw__target *t;
    uint64_t *tags;
    if (!n || (!row->dir && !row->assets))
        return aw__row_wrong(s, row, row->path, "it has no path or directory");
#ifndef ASYNCWEB_NO_STATIC_FILES
    if (row->dir) {
        const int dir = aw__file_directory(row->dir);
        char why[200];
        aw__print(why, sizeof why, "its directory \"%s\": %s", row->dir,
                  aw_strerror(dir));
        if (dir < 0) return aw__row_wrong(s, row, row->path, why);
        aw__sys_close(dir);
    }
#endif
    while (prefix && n && prefix[n - 1] == '/') prefix[--n] = 0;
    for (i = 0; i < 2; i++) {
        one.path = prefix ? aw__path_join(a, prefix, behind[i]) : NULL;
        if (!one.path) return aw__row_wrong(s, row, row->path, "out of memory");
        if (!aw__route_add(s, table, &one)) return false;
    }
    tags = aw__assets_hash(a, row);
    if (!tags) return aw__row_wrong(s, row, row->path, "out of memory");
    for (t = s->router->first; t; t = t->later)
        if (t->route.assets == row->assets) t->tags = tags;
    return true;
}

static const aw__view_ops aw__files_ops = {
    aw__files_add, NULL, NULL, NULL, NULL, NULL, NULL};
AW__OBJECT const aw_view aw__files_view = {
    "static", __FILE__, NULL, aw__tree_view, &aw__files_ops};

/* ---- the way back: a URL for a view ---- */

/* The value that goes with a name, which n bytes long; NULL: none. */
static const char *aw__url_value(const char *const *pairs, size_t count,
                                 const char *name, size_t n)
{
    for (; count > 1; pairs += 2, count -= 2)
        if (strlen(pairs[0]) == n && memcmp(pairs[0], name, n) == 0)
            return pairs[1];
    return NULL;
}

/* The first parameter of t that has no value, up to its '>'; NULL: none. */
static const char *aw__url_missing(const aw__target *t,
                                   const char *const *pairs, size_t n)
{
    int i;
    for (i = 0; i < t->params; i++)
        if (!aw__url_value(pairs, n, t->names[i], strcspn(t->names[i], ">")))
            return t->names[i];
    return NULL;
}

static bool aw__url_is_param(const aw__target *t, const char *name)
{
    const size_t n = strlen(name);
    int i;
    for (i = 0; i < t->params; i++)
        if (strncmp(t->names[i], name, n) == 0 && t->names[i][n] == '>')
            return true;
    return false;
}

static void aw__url_add(aw__buf *b, const char *text, char keep)
{
    char *to = aw__buf_room(b, 3 * strlen(text) + 1);
    if (to) b->n += (size_t)(aw__put_encoded(to, text, keep) - to);
}

/* The path of t with those values. False: it would not lead there. */
static bool aw__url_path_of(aw__buf *b, const aw__target *t,
                            const char *const *pairs, size_t count)
{
    const char *p = t->route.path, *end, *name, *text;
    for (; *p; p = end) {
        aw__node node;
        size_t n = strcspn(p + 1, "/");
        memset(&node, 0, sizeof node);
        node.text = "";                 /* for compilers that wonder */
        end = p + 1 + n;
        aw__buf_add(b, "/", 1);
        (void)aw__route_segment(p + 1, n, &node, &name);
        if (!name) {
            text = aw__route_text(b->arena, p + 1, n, &n);
            if (!text) return false;
            aw__buf_add(b, text, n);
            continue;
        }
        text = aw__url_value(pairs, count, name, strcspn(name, ">"));
        if (!aw__node_takes(&node, text, strlen(text))) return false;
        aw__url_add(b, text, node.kind == AW__N_PATH ? '/' : 0);
    }
    return !b->failed && !aw__app_climbs(aw__slice(b->p, b->n));
}

/* No route of that view does: a mistake in the program. */
static void aw__url_abort(const aw_view *view, const aw__target *near,
                          const char *missing)
{
    if (!near) aw__die("aw_url_for(req, %s): no route has that view",
                       view->name);
    aw__die("aw_url_for(req, %s): \"%s\" wants a value for <%.*s>", view->name,
            near->route.path, (int)strcspn(missing, ">"), missing);
}

/* The route that is meant; NULL: there is none. */
static const aw__target *aw__url_target(const aw_req *req, const aw_view *view,
                                        const char *const *pairs, size_t n)
{
    const aw__target *t, *near = NULL;
    for (t = req->loop->server->router->first; t; t = t->later) {
        if (t->view != view) continue;
        if (!aw__url_missing(t, pairs, n)) return t;
        if (!near) near = t;
    }
    if (req->loop->debug)
        aw__url_abort(view, near, near ? aw__url_missing(near, pairs, n) : "");
    return NULL;
}

const char *aw__url_for(aw_req *req, const aw_view *view,
                        const char *const *pairs, size_t n)
{
    const aw__target *t = aw__url_target(req, view, pairs, n);
    const char *mark = "?";
    aw__buf b;
    memset(&b, 0, sizeof b);
    b.arena = &req->arena;
    if (!t || !aw__url_path_of(&b, t, pairs, n)) return NULL;
    for (; n > 1; pairs += 2, n -= 2) {
        if (!pairs[1] || aw__url_is_param(t, pairs[0])) continue;
        aw__put_text(&b, mark);
        aw__url_add(&b, pairs[0], 0);
        aw__put_text(&b, "=");
        aw__url_add(&b, pairs[1], 0);
        mark = "&";
    }
    aw__buf_add(&b, "", 1);
    return b.failed ? NULL : b.p;
}

/* >>floor6 run  Serving, stopping, signals --------------------------------- */

static int64_t aw__limit_bytes(int64_t value, int64_t otherwise)
{
    return value == 0 ? otherwise : value < 0 ? INT64_MAX : value;
}

/* What is usual; with ASYNCWEB_FIXED_MEMORY this part of it, if that is less,
   but at least so much. */
static size_t aw__part(const aw_loop *l, size_t usual, size_t part,
                       size_t least)
{
    size_t n = AW__SIZED(usual, aw_loop_memory(l).size / part);
    (void)l, (void)part;
    if (n < least) n = least;
    return n < usual ? n : usual;
}

static void aw__config_defaults(aw_config *c, const aw_loop *l)
{
    if (!c->host) c->host = "127.0.0.1";
    if (!c->port) c->port = 5000;
    c->max_line = aw__limit(c->max_line, aw__part(l, 8192, 16, 1024));
    c->max_head = aw__limit(c->max_head, aw__part(l, 32768, 16, 1024));
    if (c->max_head > 65535) c->max_head = 65535;
    c->max_fields = aw__limit(c->max_fields, aw__part(l, 100, 1024, 24));
    if (c->max_fields > 1000) c->max_fields = 1000;
    c->max_body = aw__limit_bytes(c->max_body,
                                  (int64_t)aw__part(l, 1 << 20, 4, 0));
    if (!c->min_rate) c->min_rate = 500;
    c->rate_grace_ms = aw__limit_ms(c->rate_grace_ms, 10000);
    c->max_parts = aw__limit(c->max_parts, 1000);
    c->max_part_head = aw__limit(c->max_part_head, 8192);
    c->form_memory = aw__limit(c->form_memory, aw__part(l, 1 << 20, 8, 0));
    c->file_memory = aw__limit(c->file_memory, aw__part(l, 65536, 8, 0));
    c->head_ms = aw__limit_ms(c->head_ms, 10000);
    c->body_ms = aw__limit_ms(c->body_ms, 30000);
    c->sse_ping_ms = aw__limit_ms(c->sse_ping_ms, 15000);
    c->idle_ms = aw__limit_ms(c->idle_ms, 15000);
    c->write_ms = aw__limit_ms(c->write_ms, 30000);
    c->view_ms = aw__limit_ms(c->view_ms, AW_FOREVER);
    c->ws_max_message = aw__limit(c->ws_max_message, aw__part(l, 1 << 20, 8, 0));
    c->ws_max_queue = aw__limit(c->ws_max_queue, aw__part(l, 1 << 20, 8, 0));
    c->ws_ping_ms = aw__limit_ms(c->ws_ping_ms, 30000);
    c->ws_pong_ms = aw__limit_ms(c->ws_pong_ms, 20000);
    c->ws_close_ms = aw__limit_ms(c->ws_close_ms, 5000);
    c->drain_ms = aw__limit_ms(c->drain_ms, 10000);
    c->tls.handshake_ms = aw__limit_ms(c->tls.handshake_ms, 10000);
    if (!c->max_connections) {
        /* Views need descriptors, too. */
        int all = aw__sys_descriptors();
        c->max_connections = all > 128 ? all - 64 : all / 2;
    }
    if (c->max_connections < 0) c->max_connections = INT_MAX;
    if (c->max_per_address < 0) c->max_per_address = 0;
    if (c->max_tasks <= 0) c->max_tasks = INT_MAX;
}

/* Reads the list of proxies; says what is wrong with it. */
static int aw__server_trust(aw__server *s)
{
    const char *list = s->config.trusted_proxies ? s->config.trusted_proxies
                                                 : "";
    aw_slice all = aw__slice(list, strlen(list)), rest = all, word;
    size_t n = 0;
    while (aw__word(&rest, &word)) n++;
    s->trusted.p = (aw__net *)aw__arena_get(&s->memory,
                                            n * sizeof *s->trusted.p);
    if (!s->trusted.p) return AW_ENOMEM;
    while (aw__word(&all, &word)) {
        const char *wrong = aw__net_read(word, &s->trusted.p[s->trusted.n++]);
        if (!wrong) continue;
        aw__log(s->loop, AW_LOG_ERROR, "asyncweb: trusted_proxies: %.*s %s",
                (int)word.n, word.p, wrong);
        return AW_EINVAL;
    }
    if (n || !s->config.proxy_protocol) return 0;
    aw__log(s->loop, AW_LOG_ERROR, "asyncweb: proxy_protocol needs "
            "trusted_proxies: from whom?");
    return AW_EINVAL;
}

static const aw__proxy_ops aw__with_proxies = {
    aw__server_trust, aw__nets_have, aw__req_forwarded, aw__conn_preface};

/* Compiles the routes; says what is wrong with one. */
static bool aw__server_routes(aw__server *s)
{
    aw_route top;
    if (!s->config.routes) {
        aw__log(s->loop, AW_LOG_ERROR, "asyncweb: there are no routes: "
                "ROUTES(app, ...), then aw_run(app, ...)");
        return false;
    }
    memset((void *)&top, 0, sizeof top);
    top.method = "";
    top.path = "";
    top.timeout_ms = s->config.view_ms;
    top.routes = s->config.routes;
    s->router = (aw__router *)aw__arena_get(&s->memory, sizeof *s->router);
    if (!s->router) return false;
    memset(s->router, 0, sizeof *s->router);
    s->router->last = &s->router->first;
    return aw__table_add(s, NULL, &top, 0);
}

static void aw__server_free(aw_loop *l)
{
    aw__server *s = l->server;
    size_t fields;
    int i;
    if (!s) return;
    fields = s->config.max_fields * sizeof *s->fields;
    for (i = 0; i < AW__CONN_STATES; i++)
        while (!aw__list_empty(&s->lists[i]))
            aw__conn_close(s, (aw__conn *)s->lists[i].next);
    aw__doors_close(&s->doors);
#ifdef ASYNCWEB_BEARSSL
    aw__site_drop(s->site);
#endif
    aw__quarantine_end(s);
    aw__log_flush(s);
    aw__timer_stop(l, &s->sweep.timer);
    aw__timer_stop(l, &s->resume.timer);
    aw__timer_stop(l, &s->stop.timer);
    aw__arena_free(&s->memory);
    aw__buf_free(&s->out);
    aw__buf_free(&s->log);
    aw__crowd_free(&s->crowd);
    aw__mem_put(&l->mem, s->input, aw__input_bytes(s));
    aw__mem_put(&l->mem, s->fields, fields);
    aw__mem_put(&l->mem, s->spare, AW__REQ_BYTES);
    l->server = NULL;
    aw__mem_put(&l->mem, s, sizeof *s);
}

static bool aw__server_open(aw__server *s)
{
    aw_loop *l = s->loop;
    aw_config *c = &s->config;
    int i;
    for (i = 0; i < AW__CONN_STATES; i++) aw__list_init(&s->lists[i]);
    s->time_outs[AW__IDLE] = c->idle_ms;
    s->time_outs[AW__IN_HEAD] = c->head_ms;
    s->time_outs[AW__IN_BODY] = c->body_ms;
    s->time_outs[AW__IN_VIEW] = AW_FOREVER;
    s->time_outs[AW__IN_READ] = c->body_ms;
    s->time_outs[AW__IN_DRAIN] = AW__LINGER_MS;
    s->time_outs[AW__IN_SEND] = s->time_outs[AW__IN_WRITE] = c->write_ms;
    s->time_outs[AW__LINGER] = AW__LINGER_MS;
    s->time_outs[AW__IN_WS] = AW_FOREVER;
    s->time_outs[AW__IN_HELLO] = c->tls.handshake_ms;
#ifndef ASYNCWEB_NO_WS
    s->ws.max_message = c->ws_max_message;
    s->ws.max_queue = c->ws_max_queue;
    s->ws.ping_ms = c->ws_ping_ms;
    s->ws.pong_ms = c->ws_pong_ms;
    s->ws.close_ms = c->ws_close_ms;
    s->ws.write_ms = c->write_ms;
    s->ws.min_rate = c->min_rate;
#endif
    s->limits.max_line = c->max_line;
    s->limits.max_head = c->max_head;
    s->max_connections = c->max_connections;
    s->sweep.fn = aw__on_sweep;
    s->resume.fn = aw__on_resume;
    s->stop.fn = aw__on_stop;
    s->log_timer.fn = aw__on_log_timer;
    s->route = aw__app_route;
    s->handle = aw__app_handle;
    s->refuse = aw__app_refuse;
    s->page = aw__app_standard;
    s->before_head = aw__app_before_head;
    s->date_second = -1;
    s->memory.mem = s->out.mem = s->log.mem = s->crowd.mem = &l->mem;
    s->crowd.seed = (uint64_t)(uintptr_t)s ^ (uint64_t)aw__sys_now_ms() << 20;
    s->input_bytes = aw__part(l, AW__INPUT_BYTES, 16, 1024);
    s->input = (char *)aw__mem_get(&l->mem, aw__input_bytes(s));
    s->fields = (aw__field *)aw__mem_get(&l->mem,
                                         c->max_fields * sizeof *s->fields);
    if (s->input) memset(s->input, 0, aw__input_bytes(s));
    return s->input && s->fields &&
        aw__buf_room(&s->out, AW__SIZED(4096, 1024));
}

/* Reads the certificates; what is wrong is logged. */
static int aw__server_tls(aw__server *s)
{
#ifdef ASYNCWEB_BEARSSL
    const aw_tls_server *config = &s->config.tls;
    if (!config->certificate) return 0;
    if (s->config.proxy_protocol) {
        aw__log(s->loop, AW_LOG_ERROR, "asyncweb: .tls and .proxy_protocol do "
                "not go together");
        return AW_EINVAL;
    }
    s->doors.has_tls = true;
    return aw__tls_of(s->loop) ? aw__site_open(s->loop, &s->loop->tls->roots,
                                               config, &s->site) : AW_ENOMEM;
#else
    if (!s->config.tls.certificate) return 0;
    aw__log(s->loop, AW_LOG_ERROR, "asyncweb: .tls: %s",
            aw_strerror(AW_ENOTLS));
    return AW_ENOTLS;
#endif
}

/* In memory there is one place to listen at, whatever .listen says. */
static int aw__server_doors(aw__doors *x, const aw_config *c,
                            const aw__with *with)
{
    const bool list = c->listen && !x->loop->sim;
    const int port = c->port == AW_ANY_PORT || (c->listen && !list) ? 0
        : c->port;
    int i, rc;
    x->mode = c->unix_mode;
    if (port < 0 || port > 65535) return AW_EINVAL;
    rc = list ? with->list->open(x, c->listen)
        : aw__doors_tcp(x, strcmp(c->host, "::") == 0 ? "*" : c->host, port);
    for (i = 0; !list && x->has_tls && i < x->count; i++) x->at[i].tls = true;
    return rc;
}

/* What a worker is given by its parent. */
typedef struct aw__seat {
    const aw__doors *doors;     /* open already */
    int line;                   /* orders come in, letters go out */
    int told;                   /* to stop: as if by so many signals */
} aw__seat;

static int aw__server_listen(aw__server *s)
{
    aw__doors *x = &s->doors;
    int i, rc = 0;
    if (s->seat) *x = *s->seat->doors;
    x->loop = s->loop;
    x->memory = &s->memory;
    if (!s->seat) rc = aw__server_doors(x, &s->config, &s->with);
    for (i = 0; i < x->count && rc == 0; i++) {
        rc = aw__fd_open(s->loop, x->at[i].fd, AW__FD_SERVER, s);
        if (rc == 0) rc = aw__fd_want(s->loop, x->at[i].fd, AW_READ);
    }
    return rc;
}

static int aw__serve(aw_loop *l, const aw_config *config, const aw__with *with,
                     aw__seat *seat)
{
    aw__server *s;
    int rc;
    if (l->server) return AW_EBUSY;
    s = (aw__server *)aw__mem_get(&l->mem, sizeof *s);
    if (!s) return AW_ENOMEM;
    memset((void *)s, 0, sizeof *s);
    s->loop = l;
    s->config = *config;
    s->with = *with;
    s->seat = seat;
    aw__config_defaults(&s->config, l);
    l->server = s;
    l->server_free = aw__server_free;
    l->view_ended = aw__app_view_ended;
    l->req_keep = aw__req_keep_one;
    l->req_drop = aw__req_drop_one;
    l->req_get = aw_alloc;
    l->req_replies = aw__req_replies;
    l->on_fd[AW__FD_SERVER] = aw__on_server;
    l->on_fd[AW__FD_CONN] = aw__on_conn;
    rc = !aw__server_open(s) ? AW_ENOMEM : !aw__server_routes(s) ? AW_EINVAL
        : s->with.proxies ? s->with.proxies->read(s) : 0;
    if (rc == 0) rc = aw__server_tls(s);
    if (rc == 0) rc = aw__server_listen(s);
    if (rc < 0) aw__server_free(l);
    return rc;
}

int aw_serve_port(const aw_loop *l)
{
    return l->server ? (int)l->server->doors.at[0].at.port : (int)AW_EINVAL;
}

void aw_serve_stop(aw_loop *l)
{
    aw__server *s = l->server;
    if (!s || s->stopping) return;
    s->stopping = true;
    if (!s->current) aw__server_stop(s);
    else aw__timer_start(l, &s->stop.timer, 0, AW__TIMER_CALL);
}

/* ---- signals ---- */

/* The two things of the process that are not a loop's: what signals have
   come, and whom to wake. They belong to the loop that runs aw_run. Only the
   handler writes to the first: two bits count requests to stop, up to 2, two
   SIGHUP, the others SIGUSR1. SIGCHLD only wakes. */
static volatile sig_atomic_t aw__signals;
static int aw__signal_fd = -1;

static void aw__on_signal(int number)
{
    const int had = (int)aw__signals;
    if (number == SIGUSR1) aw__signals = (had + 16) & 127;
    else if (number == SIGHUP) aw__signals = (had & ~12) | ((had + 4) & 12);
    else if (number != SIGCHLD && (had & 3) < 2) aw__signals = had + 1;
    if (aw__signal_fd >= 0) aw__sys_wake(aw__signal_fd);
}

static void aw__on_other_signal(int number)
{
    (void)number;
}

enum { AW__SIGNALS = 6 };
static const int aw__signal_numbers[AW__SIGNALS] = {SIGINT, SIGTERM, SIGUSR1,
                                                    SIGPIPE, SIGHUP, SIGCHLD};

/* Who takes signals: a server of one process, the parent of workers, one of
   these. */
typedef enum aw__role { AW__ALONE, AW__PARENT, AW__WORKER } aw__role;

/* SIGHUP is for those who speak TLS, and for parents; for others it means what
   it did. Of what a terminal or `kill` sends to all of them, a parent tells
   its workers. */
static void aw__signal_take(int number, aw__role role, bool tls,
                            struct sigaction *old)
{
    const bool ours = number == SIGHUP ? role != AW__ALONE || tls
        : number != SIGCHLD || role == AW__PARENT;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigfillset(&action.sa_mask);
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    action.sa_handler = number == SIGPIPE ? SIG_IGN
        : role == AW__WORKER && (number == SIGINT || number == SIGHUP)
        ? aw__on_other_signal : aw__on_signal;
    sigaction(number, ours ? &action : NULL, old);
}

static void aw__signals_take(aw_loop *l, aw__role role,
                             struct sigaction old[AW__SIGNALS])
{
    const bool tls = l->server && l->server->doors.has_tls;
    int i;
    aw__signals = 0;
    aw__signal_fd = l->wake_write;
    for (i = 0; i < AW__SIGNALS; i++)
        aw__signal_take(aw__signal_numbers[i], role, tls, &old[i]);
}

static void aw__signals_leave(struct sigaction old[AW__SIGNALS])
{
    int i;
    for (i = 0; i < AW__SIGNALS; i++)
        sigaction(aw__signal_numbers[i], &old[i], NULL);
}

#ifdef ASYNCWEB_BEARSSL
int aw_serve_reload(aw_loop *l)
{
    aw__server *s = l->server;
    aw__tls_site *site = NULL;
    const int rc = !s || !s->site ? AW_EINVAL
        : aw__site_open(l, &l->tls->roots, &s->config.tls, &site);
    if (rc == 0) {
        aw__site_drop(s->site);
        s->site = site;
    }
    aw__log(l, rc < 0 ? AW_LOG_ERROR : AW_LOG_INFO, "asyncweb: TLS: %s",
            rc < 0 ? "the old certificates stay in use"
            : "the certificates have been read again");
    return rc;
}
#endif

/* How often it was asked to stop. Sees to what else has come. A worker hears
   the second time from its parent: both may have got the same signal. */
static int aw__signals_stop(aw_loop *l)
{
    const int came = (int)aw__signals;
    const aw__seat *seat = l->server->seat;
    if (l->server->dumps != came >> 4) aw_loop_dump(l);
    l->server->dumps = came >> 4;
#ifdef ASYNCWEB_BEARSSL
    if (l->server->reloads != (came >> 2 & 3)) (void)aw_serve_reload(l);
    l->server->reloads = came >> 2 & 3;
#endif
    if (!seat) return came & 3;
    return (came & 3) && !seat->told ? 1 : seat->told;
}

/* ---- aw_run ---- */

static void aw__run_banner(const aw_loop *l, const aw_config *c,
                           const aw__with *with, const aw__doors *x)
{
    char name[AW_PEER_TEXT + sizeof(struct sockaddr_un)];
    bool six = strchr(c->host, ':') != NULL;
    int i;
    if (!c->listen)
        aw__log(l, AW_LOG_INFO, "asyncweb: http%s://%s%s%s:%d (Ctrl-C stops)",
                x->at[0].tls ? "s" : "", six ? "[" : "", c->host,
                six ? "]" : "", x->at[0].at.port);
    for (i = 0; c->listen && i < x->count; i++)
        aw__log(l, AW_LOG_INFO, "asyncweb: %s%s",
                with->list->name(&x->at[i], name, sizeof name),
                i == 0 ? " (Ctrl-C stops)" : "");
}

static void aw__run_routes(const aw__server *s)
{
    const aw__target *t;
    for (t = s->router->first; t; t = t->later)
        aw__log(s->loop, AW_LOG_INFO, "  %-7s %-30s %s%s", t->route.method,
                t->route.path, t->view->fn ? "async " : "", t->view->name);
}

static void aw__run_out(aw_loop *l, int64_t ms)
{
    const aw__server *s = l->server;
    const int64_t end = ms == AW_FOREVER ? ms : l->now + ms;
    while ((l->tasks > 0 || s->connections > 0 || s->doors.at[0].fd >= 0) &&
           l->now < end && aw__signals_stop(l) < 2)
        if (aw__turn(l, ms == AW_FOREVER ? ms : end - l->now) < 0) break;
}

/* Lets what is under way finish, for drain_ms at most. Half of it, but not
   without end, is for clients to notice a gentle stop by an answer that says
   Connection: close. */
static void aw__run_drain(aw_loop *l)
{
    aw__server *s = l->server;
    int64_t limit = s->config.drain_ms, half = limit > 10000 ? 5000 : limit / 2;
    aw_serve_stop(l);
    aw__clock_read(l);
    if (s->gentle) {
        aw__run_out(l, half);
        aw__server_hush(s);
        if (limit != AW_FOREVER) limit -= half;
    }
    aw__run_out(l, limit);
}

static int aw__run_failed(const aw_config *c, const char *what, int rc)
{
    aw_loop l;
    memset(&l, 0, sizeof l);
    l.log = c->log;
    l.log_data = c->log_data;
    if (c->listen)
        aw__log(&l, AW_LOG_ERROR, "asyncweb: %s at %s: %s", what, c->listen,
                aw_strerror(rc));
    else
        aw__log(&l, AW_LOG_ERROR, "asyncweb: %s at %s port %d: %s", what,
                c->host ? c->host : "127.0.0.1", c->port ? c->port : 5000,
                aw_strerror(rc));
    return 1;
}

/* A worker's letters to its parent: it serves; a view has stopped it, which
   means all. */
enum { AW__I_SERVE = 'r', AW__WE_STOP = 'S' };

static void aw__seat_say(const aw__seat *seat, char letter)
{
    (void)aw__sys_send(seat->line, &letter, 1);
}

/* Its parent's orders: to drain, gently (it has a successor) or not; to end the
   drain; to log its tasks. */
enum { AW__LEAVE = 'l', AW__DRAIN = 's', AW__END = 'e', AW__DUMP = 'd' };

static void aw__seat_order(aw_loop *l, aw__seat *seat, char order)
{
    aw__server *s = l->server;
    if (order == AW__DUMP) {
        aw_loop_dump(l);
        return;
    }
    if (order == AW__LEAVE && !seat->told && !s->stopping) s->gentle = true;
    if (order == AW__DRAIN && s->gentle) {
        s->gentle = false;
        if (s->stopping) aw__server_hush(s);
    }
    seat->told = order == AW__END || seat->told == 2 ? 2 : 1;
}

static void aw__on_orders(aw_loop *l, int fd, int events)
{
    aw__seat *seat = (aw__seat *)l->fds[fd].object;
    char orders[16];
    ptrdiff_t n = aw__sys_recv(fd, orders, sizeof orders), i;
    (void)events;
    if (n < 0 && errno == EAGAIN) return;
    for (i = 0; i < n; i++) aw__seat_order(l, seat, orders[i]);
    if (n > 0) return;
    aw__fd_forget(l, fd);       /* the parent is no more */
    aw__seat_order(l, seat, AW__DRAIN);
}

static int aw__seat_take(aw_loop *l, aw__seat *seat)
{
    int rc = aw__fd_open(l, seat->line, AW__FD_LINE, seat);
    l->on_fd[AW__FD_LINE] = aw__on_orders;
    return rc < 0 ? rc : aw__fd_want(l, seat->line, AW_READ);
}

/* Serves until it is to stop; the exit status. Frees the loop. */
static int aw__run_loop(aw_loop *l, const aw_config *config,
                        const aw__with *with, aw__seat *seat)
{
    struct sigaction old[AW__SIGNALS];
    const char *what = "cannot serve";
    int rc = aw__serve(l, config, with, seat);
    if (rc == 0 && seat) rc = aw__seat_take(l, seat);
    if (rc == 0 && config->on_start) {
        what = "on_start failed; not serving";
        rc = config->on_start(l, config->data);
    }
    if (rc < 0) {
        aw_loop_free(l);
        return aw__run_failed(config, what, rc);
    }
    rc = 0;
    if (seat) {
        aw__seat_say(seat, AW__I_SERVE);
    } else {
        aw__signals_take(l, AW__ALONE, old);
        aw__run_banner(l, &l->server->config, with, &l->server->doors);
        if (config->debug) with->debug->routes(l->server);
    }
    while (aw__signals_stop(l) == 0 && rc >= 0 && !l->stopped &&
           !l->server->stopping)
        rc = aw__turn(l, AW_FOREVER);
    if (seat && rc >= 0 && aw__signals_stop(l) == 0)
        aw__seat_say(seat, AW__WE_STOP);
    aw__run_drain(l);
    aw__signal_fd = -1;
    aw_loop_free(l);
    if (!seat) aw__signals_leave(old);
    if (config->on_stop) config->on_stop(config->data);
    return rc < 0;
}

#ifndef ASYNCWEB_NO_WORKERS
/* >>floor6 workers  Several processes at the same sockets ------------------ */

/* A parent opens the sockets and serves nobody. It has places, and sees to it
   that in each there is a worker: a forked child that serves as a process by
   itself would. Where the system deals connections out (SO_REUSEPORT of
   Linux), each place has a listener of its own. Connections that nobody has
   accepted yet belong to the listener, and all stay open in the parent: so a
   worker that dies, or is followed by another, loses none of them.

   A place: state -> event -> state
     empty      its rest is over, nobody else starts [aw__team_fill] -> starting
     starting   it says that it serves -> serving; who was here before leaves
                it ends -> empty, after a rest; or who was here before stays;
                or, before all have ever served, the parent gives up
     serving    it ends -> empty, after a rest
                SIGHUP, and nobody else starts -> starting, with one before */
typedef struct aw__worker {
    pid_t pid;                  /* 0: nobody */
    int line;                   /* our end; -1: lost */
    int round;                  /* so many SIGHUP came before it */
    bool serves, leaves;        /* has said so; was asked to */
    int64_t since;              /* it serves */
    int64_t kill_at;
} aw__worker;

typedef struct aw__place {
    aw__worker now, before;     /* before: is here until `now` serves, drains */
    int falls;                  /* in a row */
    int64_t rest_until;
    int fds[AW__DOORS];         /* perhaps those of the others */
} aw__place;

typedef struct aw__team {
    aw_loop *loop;
    const aw_config *given;     /* the workers' */
    const aw__with *with;
    aw_config config;           /* with the defaults */
    aw__arena memory;
    aw__doors doors;
    aw__place *places;
    int count;
    int round, said;            /* the last that was told complete; -1 none */
    int signals;                /* what was seen of them */
    int stops;                  /* how often it was asked to stop */
    bool asked, failed;         /* to stop, by a view; the exit status is 1 */
    struct sigaction old[AW__SIGNALS];
} aw__team;

enum {
    AW__STEADY_MS = 10000,      /* who served so long did not fall */
    AW__REST_MS = 100,          /* doubled by each fall in a row... */
    AW__REST_DOUBLED = 5,       /* ...so often */
    AW__KILL_MS = 3000          /* after all that an end may take */
};

/* How long a place rests after that many falls. One may happen to anybody;
   clients whom the system has dealt to this place wait meanwhile. */
static int64_t aw__team_rest(int falls)
{
    const int doubled = falls - 2 < AW__REST_DOUBLED ? falls - 2
        : (int)AW__REST_DOUBLED;
    return falls < 2 ? 0 : (int64_t)AW__REST_MS << doubled;
}

/* ---- listeners ---- */

/* One more at the address of d, which has been bound by itself first: so a
   port in use is still found out. -1: the system does not deal out. */
static int aw__door_twin(const aw__door *d)
{
#if defined(__linux__) && defined(SO_REUSEPORT)
    aw__sys_address a;
    int port, fd;
    if (d->inherited || d->at.family == AW__UNIX) return -1;
    if (aw__sys_option(d->fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) return -1;
    fd = aw__sys_socket(aw__address_to(&d->at, &a) == sizeof a.v6 ? AF_INET6
                        : AF_INET);
    if (fd < 0) return -1;
    if (aw__sys_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0 &&
        aw__io_bind(fd, &d->at, &port) == 0) return fd;
    aw__sys_close(fd);
#else
    (void)d;
#endif
    return -1;
}

static void aw__place_close(const aw__team *t, const aw__place *p)
{
    int i;
    for (i = 0; i < t->doors.count; i++)
        if (p->fds[i] != t->doors.at[i].fd) aw__sys_close(p->fds[i]);
}

static void aw__team_close(aw__team *t)
{
    int i;
    for (i = 0; i < t->count; i++) aw__place_close(t, &t->places[i]);
    aw__doors_close(&t->doors);
    t->doors.count = 0;
}

static int aw__team_open(aw__team *t)
{
    aw__doors *x = &t->doors;
    const size_t bytes = (size_t)t->count * sizeof *t->places;
    int i, k, rc;
    x->loop = t->loop;
    x->memory = &t->memory;
#ifdef ASYNCWEB_BEARSSL
    x->has_tls = t->config.tls.certificate != NULL;
#endif
    t->memory.mem = &t->loop->mem;
    t->places = (aw__place *)aw__arena_get(&t->memory, bytes);
    if (!t->places) return AW_ENOMEM;
    memset(t->places, 0, bytes);
    rc = aw__server_doors(x, &t->config, t->with);
    for (k = 0; k < t->count; k++) {
        aw__place *p = &t->places[k];
        p->now.line = p->before.line = -1;
        for (i = 0; i < x->count; i++) {
            const int twin = k && rc == 0 ? aw__door_twin(&x->at[i]) : -1;
            p->fds[i] = twin >= 0 ? twin : x->at[i].fd;
        }
    }
    return rc;
}

/* ---- a worker's beginning and end ---- */

static void aw__worker_unline(const aw__team *t, aw__worker *w)
{
    if (w->line >= 0) aw__io_close(t->loop, w->line);
    w->line = -1;
}

static void aw__worker_gone(const aw__team *t, aw__worker *w)
{
    aw__worker_unline(t, w);
    memset(w, 0, sizeof *w);
    w->line = -1;
}

/* In the child: of the parent only its loop goes on, and the listeners of one
   place. It leaves from here: what follows aw_run is the parent's. */
static void aw__team_child(aw__team *t, int place, int line,
                           const sigset_t *mask)
{
    aw__place *p = &t->places[place];
    aw__seat seat;
    int i, rc = aw_loop_after_fork(t->loop);
    aw__signals_leave(t->old);
    aw__signals_take(t->loop, AW__WORKER, t->old);
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    for (i = 0; i < t->count; i++) {
        aw__worker_unline(t, &t->places[i].now);
        aw__worker_unline(t, &t->places[i].before);
    }
    for (i = 0; i < t->count; i++)
        if (i != place) aw__place_close(t, &t->places[i]);
    for (i = 0; i < t->doors.count; i++) {
        aw__door *d = &t->doors.at[i];
        if (p->fds[i] != d->fd) aw__sys_close(d->fd);
        d->fd = p->fds[i];
        d->ours = false;        /* files are removed by the parent */
    }
    seat.doors = &t->doors;
    seat.line = line;
    seat.told = 0;
    t->loop->worker = (int)getpid();
    if (rc == 0) rc = aw__run_loop(t->loop, t->given, t->with, &seat);
    (void)fflush(NULL);
    _exit(rc != 0);
}

/* Who was here goes on until the new one serves. 0 or an error. */
static int aw__team_start(aw__team *t, int place)
{
    aw__worker *w = &t->places[place].now;
    sigset_t all, mask;
    int ends[2], rc;
    if (aw__sys_pair(ends) < 0) return aw__errno();
    if (w->pid) t->places[place].before = *w;
    memset(w, 0, sizeof *w);
    w->line = ends[0];
    w->round = t->round;
    w->kill_at = AW_FOREVER;
    rc = aw__fd_open(t->loop, w->line, AW__FD_LINE, t);
    if (rc == 0) rc = aw__fd_want(t->loop, w->line, AW_READ);
    if (rc == 0) {
        sigfillset(&all);
        (void)sigprocmask(SIG_BLOCK, &all, &mask);
        w->pid = aw__sys_fork();
        if (w->pid == 0) aw__team_child(t, place, ends[1], &mask);
        if (w->pid < 0) rc = aw__errno();
        (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    }
    aw__sys_close(ends[1]);
    return rc;
}

static void aw__team_tell(aw__worker *w, char order)
{
    if (!w->pid || (w->line >= 0 && aw__sys_send(w->line, &order, 1) == 1))
        return;
    if (order != AW__DUMP) (void)kill(w->pid, order == AW__END ? SIGKILL
                                      : SIGTERM);
}

static void aw__team_dismiss(const aw__team *t, aw__worker *w, char order)
{
    const int64_t drain = order == AW__END ? 0 : t->config.drain_ms;
    const int64_t cleanup = t->loop->cleanup_ms;
    int64_t at = AW_FOREVER;
    aw__team_tell(w, order);
    w->leaves = true;
    if (drain != AW_FOREVER && cleanup != AW_FOREVER)
        at = t->loop->now + drain + cleanup + AW__KILL_MS;
    if (at < w->kill_at) w->kill_at = at;
}

static void aw__team_letters(aw__team *t, aw__place *p, aw__worker *w)
{
    char letters[16];
    ptrdiff_t n = aw__sys_recv(w->line, letters, sizeof letters), i;
    if (n == 0 || (n < 0 && errno != EAGAIN)) aw__worker_unline(t, w);
    for (i = 0; i < n; i++) {
        if (letters[i] == AW__WE_STOP) t->asked = true;
        if (letters[i] != AW__I_SERVE) continue;
        w->serves = true;
        w->since = t->loop->now;
        aw__log(t->loop, AW_LOG_INFO, "asyncweb: worker %d serves",
                (int)w->pid);
        if (p->before.pid) aw__team_dismiss(t, &p->before, AW__LEAVE);
    }
}

static void aw__on_letter(aw_loop *l, int fd, int events)
{
    aw__team *t = (aw__team *)l->fds[fd].object;
    int i;
    (void)events;
    for (i = 0; i < t->count; i++) {
        aw__place *p = &t->places[i];
        if (p->now.line == fd) aw__team_letters(t, p, &p->now);
        else if (p->before.line == fd) aw__team_letters(t, p, &p->before);
    }
}

/* An end that nobody asked for, or a start that came to nothing. */
static void aw__team_fell(aw__team *t, aw__place *p, const aw__worker *was,
                          const char *what)
{
    const int64_t now = t->loop->now;
    char next[60] = "not serving";
    int i;
    if (t->said < 0 && !was->serves) {
        t->asked = t->failed = true;
    } else if (p->before.pid && !p->before.leaves) {
        p->now = p->before;
        memset(&p->before, 0, sizeof p->before);
        p->before.line = -1;
        for (i = 0; i < t->count; i++) t->places[i].now.round = t->round;
        t->said = t->round;
        aw__print(next, sizeof next, "those before stay");
    } else {
        if (was->serves && now - was->since >= AW__STEADY_MS) p->falls = 0;
        p->rest_until = now + aw__team_rest(++p->falls);
        aw__print(next, sizeof next, p->rest_until > now
                 ? "another starts in %d ms" : "another starts",
                  (int)(p->rest_until - now));
    }
    aw__log(t->loop, AW_LOG_ERROR, "asyncweb: %s; %s", what, next);
}

static void aw__team_ended(aw__team *t, aw__place *p, aw__worker *w, int status)
{
    const bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    aw__worker was;
    char what[120];
    if (w->line >= 0) aw__team_letters(t, p, w);    /* its last words */
    was = *w;
    aw__worker_gone(t, w);
    if (WIFSIGNALED(status))
        aw__print(what, sizeof what, "worker %d was killed by signal %d",
                  (int)was.pid, WTERMSIG(status));
    else
        aw__print(what, sizeof what, "worker %d ended with status %d",
                  (int)was.pid, WEXITSTATUS(status));
    if (t->stops && !fine) t->failed = true;
    if (!t->stops && !t->asked && !was.leaves && w == &p->now)
        aw__team_fell(t, p, &was, what);
    else if (!fine)
        aw__log(t->loop, AW_LOG_ERROR, "asyncweb: %s", what);
}

/* ---- what the parent does ---- */

/* Starts who is due, one at a time: so an error is seen once, and a restart
   takes little more memory than there was. */
static void aw__team_fill(aw__team *t)
{
    char what[100];
    int i, rc;
    for (i = 0; i < t->count; i++)
        if (t->places[i].now.pid && !t->places[i].now.serves) return;
    for (i = 0; i < t->count; i++) {
        aw__place *p = &t->places[i];
        if (p->now.pid ? p->now.round == t->round || p->before.pid
            : p->rest_until > t->loop->now) continue;
        rc = aw__team_start(t, i);
        if (rc == 0) return;
        aw__print(what, sizeof what, "no worker: %s", aw_strerror(rc));
        aw__worker_gone(t, &p->now);
        aw__team_fell(t, p, &p->now, what);
        return;
    }
}

/* A place may just rest: what waits at its listener is answered, too. */
static void aw__team_stop(aw__team *t)
{
    const char order = t->stops++ ? AW__END : AW__DRAIN;
    int i;
    for (i = 0; i < t->count && order == AW__DRAIN && t->said >= 0; i++)
        if (!t->places[i].now.pid && aw__team_start(t, i) < 0)
            aw__worker_gone(t, &t->places[i].now);
    aw__team_close(t);
    for (i = 0; i < t->count; i++) {
        aw__team_dismiss(t, &t->places[i].now, order);
        aw__team_dismiss(t, &t->places[i].before, order);
    }
}

static void aw__team_signals(aw__team *t)
{
    const int came = (int)aw__signals, news = came ^ t->signals;
    int i;
    t->signals = came;
    for (i = 0; i < t->count && news >> 4; i++) {
        aw__team_tell(&t->places[i].now, AW__DUMP);
        aw__team_tell(&t->places[i].before, AW__DUMP);
    }
    if (news & 12) t->round++;
    while (t->stops < (came & 3)) aw__team_stop(t);
}

static void aw__team_look_after(aw__team *t, aw__place *p, aw__worker *w)
{
    int status = 0;
    if (!w->pid) return;
    if (aw__sys_wait(w->pid, &status) != 0) {
        aw__team_ended(t, p, w, status);
    } else if (w->kill_at <= t->loop->now) {
        aw__log(t->loop, AW_LOG_ERROR, "asyncweb: worker %d does not end: "
                "killed", (int)w->pid);
        (void)kill(w->pid, SIGKILL);
        w->kill_at = AW_FOREVER;
    }
}

/* Everybody serves whom the last SIGHUP asked for. */
static void aw__team_announce(aw__team *t)
{
    int i;
    if (t->said == t->round) return;
    for (i = 0; i < t->count; i++)
        if (!t->places[i].now.serves || t->places[i].now.round != t->round)
            return;
    if (t->said < 0)
        aw__run_banner(t->loop, &t->config, t->with, &t->doors);
    else aw__log(t->loop, AW_LOG_INFO, "asyncweb: all workers are new");
    t->said = t->round;
}

/* How long until there is something to do, unless a worker speaks or ends, or
   a signal comes. -1: all is over. */
static int64_t aw__team_wait(const aw__team *t)
{
    int64_t at = AW_FOREVER, rest = AW_FOREVER;
    bool anybody = false, starting = false;
    int i;
    for (i = 0; i < t->count; i++) {
        const aw__place *p = &t->places[i];
        anybody |= p->now.pid || p->before.pid;
        starting |= p->now.pid && !p->now.serves;
        if (p->now.pid && p->now.kill_at < at) at = p->now.kill_at;
        if (p->before.pid && p->before.kill_at < at) at = p->before.kill_at;
        if (!p->now.pid && p->rest_until < rest) rest = p->rest_until;
    }
    if (t->stops && !anybody) return -1;
    if (!t->stops && !starting && rest < at) at = rest;
    return at == AW_FOREVER ? at : at > t->loop->now ? at - t->loop->now : 0;
}

static int64_t aw__team_step(aw__team *t)
{
    int i;
    aw__team_signals(t);
    for (i = 0; i < t->count; i++) {
        aw__team_look_after(t, &t->places[i], &t->places[i].now);
        aw__team_look_after(t, &t->places[i], &t->places[i].before);
    }
    if (!t->stops && !t->asked) aw__team_fill(t);
    if (!t->stops && t->asked) aw__team_stop(t);
    if (!t->stops) aw__team_announce(t);
    return aw__team_wait(t);
}

/* The exit status. Frees the loop. In a worker it does not return. */
static int aw__team_run(aw_loop *l, const aw_config *config,
                        const aw__with *with)
{
    aw__team t;
    int64_t wait;
    int rc;
    memset((void *)&t, 0, sizeof t);
    t.loop = l;
    t.given = config;
    t.with = with;
    t.config = *config;
    aw__config_defaults(&t.config, l);
    t.said = -1;
    t.count = config->workers == AW_PER_CORE ? aw__sys_cores()
        : config->workers;
    rc = t.count > 0 ? aw__team_open(&t) : (int)AW_EINVAL;
    if (rc == 0) {
        l->on_fd[AW__FD_LINE] = aw__on_letter;
        aw__signals_take(l, AW__PARENT, t.old);
        while ((wait = aw__team_step(&t)) >= 0) {
            if (aw__turn(l, wait) >= 0) continue;
            t.asked = t.failed = true;
            aw__sys_pause(10);
        }
        aw__signal_fd = -1;
        aw__signals_leave(t.old);
    }
    if (t.places) aw__team_close(&t);
    aw__arena_free(&t.memory);
    aw_loop_free(l);
    return rc < 0 ? aw__run_failed(config, "cannot serve", rc) : t.failed;
}
#endif

/* >>floor6 aw_run  What a config asks for; one process, or several --------- */

static const aw__list_ops aw__with_list = {aw__doors_open, aw__door_name};
static const aw__debug_ops aw__with_debug = {
    aw__req_quarantine, aw__page_debug, aw__run_routes, &aw__stale_checks};

static AW__FOLD aw__with aw__with_of(const aw_config *c, bool debug)
{
    aw__with with;
    with.several = NULL;
#ifndef ASYNCWEB_NO_WORKERS
    if (c->workers && c->workers != AW_OFF) with.several = aw__team_run;
#endif
    with.list = c->listen ? &aw__with_list : NULL;
    with.proxies = c->trusted_proxies || c->proxy_protocol ? &aw__with_proxies
        : NULL;
    with.crowd = c->max_per_address > 0 ? &aw__with_crowd : NULL;
    with.debug = debug ? &aw__with_debug : NULL;
    return with;
}

/* The loop is in debug mode, or not. */
AW__FOLD int aw_serve(aw_loop *l, const aw_config *config)
{
    const aw__with with = aw__with_of(config, true);
    return aw__serve(l, config, &with, NULL);
}

static int aw__run(const aw_config *config, const aw__with *with)
{
    const bool several = config->workers != 0 && config->workers != AW_OFF;
    aw_loop_config loop;
    aw_loop *l;
    memset(&loop, 0, sizeof loop);
    loop.cleanup_ms = config->cleanup_ms;
    loop.max_task_bytes = config->max_task_bytes;
    loop.names_ms = config->names_ms;
    loop.debug = config->debug;
    loop.log = config->log;
    loop.log_data = config->log_data;
    loop.memory = config->memory;
    loop.memory_size = config->memory_size;
    if (config->max_descriptors != AW_OFF)
        aw__sys_raise_descriptors(config->max_descriptors > 0
                                  ? config->max_descriptors : 65536);
    l = aw__loop_new(&loop, with->debug ? with->debug->checks : NULL);
    if (!l) return aw__run_failed(config, "cannot serve", AW_ENOMEM);
#ifdef ASYNCWEB_NO_WORKERS
    if (several) {
        aw_loop_free(l);
        return aw__run_failed(config, ".workers", AW_ENOTSUP);
    }
#else
    if (several && !config->debug) return with->several(l, config, with);
    if (several)
        aw__log(l, AW_LOG_INFO, "asyncweb: debug: one process, not .workers");
#endif
    return aw__run_loop(l, config, with, NULL);
}

AW__FOLD int aw_run_config(aw_config config)
{
    const aw__with with = aw__with_of(&config, config.debug);
    return aw__run(&config, &with);
}

#if !defined(ASYNCWEB_NO_TEST) && !defined(ASYNCWEB_NO_CLIENT)
/* >>floor6 test  An application in memory ---------------------------------- */

typedef struct aw__test_reply {
    aw_response r;              /* first */
    struct aw__test_reply *next;
} aw__test_reply;

struct aw_test {
    aw_loop *loop;
    aw__arena memory;           /* of replies; not the loop's */
    aw__buf got;
    int64_t start;
    int background;             /* tasks of on_start */
    int failures;
    struct aw_test_socket *sockets;     /* they are attended to each turn */
    void (*attend)(struct aw_test_socket *);
};

/* What is in use when the application rests. */
typedef struct aw__test_use {
    size_t bytes;
    int tasks, descriptors;
} aw__test_use;

static void aw__test_quiet(void *data, aw_log_level level, const char *line)
{
    (void)data, (void)level, (void)line;
}

void aw__test_failed(aw_test *t, const char *what, const char *file, int line)
{
    aw__say("%s:%d: expected %s", file, line, what);
    t->failures++;
}

aw_loop *aw_test_loop(aw_test *t)
{
    return t->loop;
}

static int aw__test_turn(aw_test *t, int64_t ms)
{
    int left;
    if (t->attend) t->attend(t->sockets);
    left = aw__turn(t->loop, ms);
    if (t->attend) t->attend(t->sockets);
    return left;
}

int64_t aw_test_now_ms(const aw_test *t)
{
    return t->loop->now - t->start;
}

static aw_test *aw__test_start(aw_test *t, const aw_test_config *config)
{
    aw_config c;
    memset((void *)&c, 0, sizeof c);
    if (config->config) c = *config->config;
    if (config->routes) c.routes = config->routes;
    if (config->data) c.data = config->data;
    if (!config->config) c.access_log = AW_OFF;
    memset((void *)&c.tls, 0, sizeof c.tls);    /* a test's client has none */
    if (aw__sim_open(t->loop) < 0 || aw_serve(t->loop, &c) < 0) return NULL;
    if (config->chaos) aw__chaos_on(t->loop, config->chaos);
    aw_loop_mock(t->loop, config->mocks);
    if (c.on_start && c.on_start(t->loop, c.data) < 0) return NULL;
    t->background = t->loop->tasks;
    t->start = t->loop->now;
    return t;
}

aw_test *aw_test_open_config(aw_test_config config)
{
    aw_test *t = (aw_test *)aw__plain_get(sizeof *t);
    aw_loop_config loop;
    memset(&loop, 0, sizeof loop);
    loop.debug = true;
    loop.log = aw__test_quiet;
    if (config.config) {
        loop.cleanup_ms = config.config->cleanup_ms;
        loop.max_task_bytes = config.config->max_task_bytes;
        loop.names_ms = config.config->names_ms;
        if (config.config->log) loop.log = config.config->log;
        loop.log_data = config.config->log_data;
        loop.memory = config.config->memory;
        loop.memory_size = config.config->memory_size;
    }
    if (!t) return NULL;
    memset(t, 0, sizeof *t);
    t->loop = aw_loop_new(&loop);
    if (t->loop && aw__test_start(t, &config)) return t;
    aw_loop_free(t->loop);
    aw__plain_put(t);
    return NULL;
}

/* Sends bytes from *p, takes what has come. Returns whether anything moved;
   *ended: the server has closed. */
static bool aw__test_pump(aw_test *t, int fd, aw_slice *bytes, size_t piece,
                          bool *ended)
{
    size_t n = piece && bytes->n > piece ? piece : bytes->n;
    ptrdiff_t sent = n ? aw__io_send(t->loop, fd, bytes->p, n) : 0, got;
    char *to = aw__buf_room(&t->got, 4096);
    if (sent > 0) bytes->p += sent, bytes->n -= (size_t)sent;
    got = to ? aw__io_recv(t->loop, fd, to, 4096 - 1)
        : (ptrdiff_t)AW_ENOMEM;
    if (got > 0) t->got.n += (size_t)got;
    if (got == 0 || (got < 0 && got != AW_EAGAIN)) *ended = true;
    return sent > 0 || got > 0;
}

/* 1: t->got holds a whole answer to a `head` or other request, and *head_n
   is the length of its head; 0: not yet; negative: it never will. */
static int aw__test_whole(aw_test *t, aw__head *h, int *head_n, bool no_body,
                          bool ended, size_t *body)
{
    char *slack = aw__buf_room(&t->got, AW__HEAD_SLACK);
    if (!slack) return AW_ENOMEM;
    memset(slack, 0, AW__HEAD_SLACK);
    *head_n = aw__http_response_head(t->got.p, t->got.n, 0, 65535, h);
    if (*head_n == AW_EAGAIN) return ended ? AW_EEOF : 0;
    if (*head_n < 0) return *head_n;
    *body = t->got.n - (size_t)*head_n;
    if (no_body || h->status == 204 || h->status == 304) *body = 0;
    else if (h->content_length >= 0 && (uint64_t)h->content_length > *body)
        return ended ? AW_EEOF : 0;
    else if (h->content_length >= 0) *body = (size_t)h->content_length;
    else if (!ended) return 0;
    return 1;
}

/* Turns in which nothing happens to the connection, until it is given up: of
   those in which nothing can, and of others. */
enum { AW__TEST_PATIENCE = 3, AW__TEST_TURNS = 100000 };

/* Opens a connection and keeps turning until what comes back is an answer, or,
   with no head wanted, until nothing more can happen. */
static int aw__test_exchange(aw_test *t, aw_slice bytes, size_t piece,
                             bool no_body, aw__head *h, int *head_n,
                             size_t *body)
{
    aw_loop *l = t->loop;
    aw__address at = aw__address_loopback(4, aw_serve_port(l));
    const int patience = AW__TEST_PATIENCE * (l->chaos.seed ? 30 : 1);
    bool ended = false, moved = false;
    int fd = -1, rc, idle = 0, turns = 0;
    t->got.n = 0;
    t->got.failed = false;
    rc = aw__io_connect(l, &at, &fd);
    if (rc < 0 && rc != AW_EAGAIN) return rc;
    rc = 0;
    while (rc == 0 && idle < patience && turns++ < AW__TEST_TURNS) {
        /* Where the clock is virtual, no turn may be skipped: time only jumps
           when nothing else can happen, here neither. */
        bool waits = !ended && (h || l->tasks > t->background);
        int left = aw__test_turn(t, waits && !moved ? AW_FOREVER : 0);
        int tries = l->chaos.seed ? 8 : 1;      /* it may say "not now" */
        moved = false;
        while (tries-- > 0)
            moved |= aw__test_pump(t, fd, &bytes, piece, &ended);
        if (h) rc = aw__test_whole(t, h, head_n, no_body, ended, body);
        if (moved) turns = 0;
        if (moved || (waits && left != AW_EDEADLK)) idle = 0;
        else idle++;
    }
    aw__io_close(l, fd);
    (void)aw__test_turn(t, 0);
    return rc;
}

const char *aw_test_raw(aw_test *t, const char *bytes, size_t n, size_t piece)
{
    const char *text;
    (void)aw__test_exchange(t, aw__slice(bytes, n), piece, false, NULL, NULL,
                            NULL);
    text = aw__arena_text(&t->memory, t->got.n ? t->got.p : "", t->got.n);
    return text ? text : "";
}

/* The reply that t->got holds, in memory of its own. */
static bool aw__test_reply_of(aw_test *t, const aw__head *h, int head_n,
                              size_t body, aw_response *r)
{
    aw__arena *a = &t->memory;
    aw_header_field *f;
    size_t i;
    f = (aw_header_field *)aw__arena_get(a, (h->count + 1u) * sizeof *f);
    if (!f) return false;
    memset(f, 0, (h->count + 1u) * sizeof *f);
    for (i = 0; i < h->count; i++) {
        const aw__field *x = &h->fields[i];
        f[i].name = aw__arena_text(a, t->got.p + x->name, x->name_len);
        f[i].value = aw__arena_text(a, t->got.p + x->value, x->value_len);
    }
    r->headers = f;
    r->body_len = body;
    r->body = aw__arena_text(a, t->got.p + head_n, body);
    r->status = h->status;
    return r->body != NULL;
}

static void aw__test_write(aw__buf *b, const aw_test_request *q)
{
    const aw_header_field *f;
    char length[64];
    const char *method = q->method ? q->method : q->body ? "POST" : "GET";
    aw__put_text(b, method);
    aw__put_text(b, " ");
    aw__put_text(b, q->target);
    aw__put_text(b, " HTTP/1.1\r\nHost: localhost\r\n");
    for (f = q->headers; f && f->name; f++) {
        aw__put_text(b, f->name);
        aw__put_text(b, ": ");
        aw__put_text(b, f->value);
        aw__put_text(b, "\r\n");
    }
    if (q->body) {
        aw__print(length, sizeof length, "Content-Length: %lu\r\n",
                  (unsigned long)strlen(q->body));
        aw__put_text(b, length);
    }
    aw__put_text(b, "\r\n");
    if (q->body) aw__put_text(b, q->body);
}

const aw_response *aw_test_send(aw_test *t, aw_test_request q)
{
    static const aw_response none = {0, "", 0, NULL, ""};
    aw_response *r = (aw_response *)aw__arena_get(&t->memory, sizeof *r);
    aw__field fields[100];
    aw__head h;
    aw__buf request;
    int head_n = 0;
    size_t body = 0;
    bool no_body = q.method && strcmp(q.method, "HEAD") == 0;
    memset(&request, 0, sizeof request);
    memset(&h, 0, sizeof h);
    h.fields = fields;
    h.max_fields = 100;
    aw__test_write(&request, &q);
    if (!r || request.failed ||
        aw__test_exchange(t, aw__slice(request.p, request.n), 0, no_body, &h,
                          &head_n, &body) < 1 ||
        !aw__test_reply_of(t, &h, head_n, body, r)) {
        aw__buf_free(&request);
        return &none;
    }
    r->url = q.target;
    aw__buf_free(&request);
    return r;
}

const aw_response *aw_test_get(aw_test *t, const char *target)
{
    aw_test_request q;
    memset((void *)&q, 0, sizeof q);
    q.target = target;
    return aw_test_send(t, q);
}

void aw_test_advance(aw_test *t, int64_t ms)
{
    int64_t end = t->loop->now + ms;
    while (t->loop->now < end)
        if (aw__test_turn(t, end - t->loop->now) == AW_EDEADLK)
            t->loop->now = end;
    (void)aw__test_turn(t, 0);
}

/* Lets tasks that outlive their requests end, and everything settle. */
static aw__test_use aw__test_rest(aw_test *t)
{
    aw_loop *l = t->loop;
    aw__test_use use;
    int turns, least = l->chaos.seed ? 100 : 4;
    for (turns = 0; turns < AW__TEST_TURNS; turns++) {
        bool busy = l->tasks > t->background;
        if (!busy && turns >= least) break;
        if (aw__test_turn(t, busy ? AW_FOREVER : 0) == AW_EDEADLK &&
            turns >= least) break;
    }
    aw__quarantine_end(l->server);
    use.bytes = l->mem.live;
    use.tasks = l->tasks;
    use.descriptors = l->sim->open;
    return use;
}

/* Says what is more than before. */
static bool aw__test_same(aw__test_use a, aw__test_use b, const char *target,
                          int64_t k)
{
    if (a.bytes == b.bytes && a.tasks == b.tasks &&
        a.descriptors == b.descriptors) return true;
    aw__say("%s cancelled at its await %ld: %ld bytes, %d tasks, %d "
            "descriptors were not given back", target, (long)k,
            (long)(b.bytes - a.bytes), b.tasks - a.tasks,
            b.descriptors - a.descriptors);
    return false;
}

const aw_response *aw_test_cancel_at(aw_test *t, const char *target, int64_t k)
{
    const aw_response *r;
    aw_task nobody;             /* until the view's task is there */
    memset(&nobody, 0, sizeof nobody);
    aw__cancel_at(t->loop, nobody, k);
    r = aw_test_get(t, target);
    t->loop->on_suspend = NULL;
    return r;
}

bool aw_test_cancel_everywhere(aw_test *t, const char *target)
{
    aw_loop *l = t->loop;
    aw__test_use before;
    int64_t k;
    bool fine = true;
    /* The first ones make what stays: tables grow, blocks are kept. */
    for (k = 0; k < 3; k++) (void)aw_test_get(t, target);
    before = aw__test_rest(t);
    for (k = 1; fine; k++) {
        bool reached;
        (void)aw_test_cancel_at(t, target, k);
        reached = l->chaos.suspended >= k;
        fine = aw__test_same(before, aw__test_rest(t), target, k);
        if (!reached) break;
    }
    if (!fine) t->failures++;
    return fine;
}

#ifndef ASYNCWEB_NO_WS
/* ---- clients of WebSocket routes ---- */

typedef struct aw__test_message {
    struct aw__test_message *next;
    size_t n;
    char *text;
} aw__test_message;

struct aw_test_socket {
    aw_test *test;
    aw_test_socket *next;
    int fd, status, code;       /* fd -1: it is over */
    aw__buf in, out;            /* in: what came before the first frame */
    aw__ws_reader reader;
    aw__test_message *first, **last;
    char accept[29];
};

static void aw__test_ws_over(aw_test_socket *w)
{
    if (w->fd >= 0) aw__io_close(w->test->loop, w->fd);
    w->fd = -1;
    if (!w->code) w->code = AW_WS_ABNORMAL;
    aw__buf_free(&w->in);
    aw__buf_free(&w->out);
    aw__buf_free(&w->reader.got);
}

static void aw__test_ws_frame(aw_test_socket *w, int opcode, const void *p,
                              size_t n)
{
    static const uint8_t key[4] = {0x5A, 0x01, 0xF0, 0x3C};
    uint8_t head[AW__WS_HEAD];
    size_t head_n = aw__ws_write_head(head, opcode, true, n, key);
    char *to = aw__buf_room(&w->out, head_n + n);
    if (!to || w->fd < 0) return;
    memcpy(to, head, head_n);
    aw__ws_mask(to + head_n, (const char *)p, n, key, 0);
    w->out.n += head_n + n;
}

static void aw__test_ws_event(aw_test_socket *w, int what, aw_slice data)
{
    aw__arena *a = &w->test->memory;
    aw__test_message *m;
    if (what == AW__WS_PING) aw__test_ws_frame(w, AW__WS_PONG, data.p, data.n);
    if (what == AW__WS_CLOSE && !w->code) {
        w->code = aw__ws_close_code(data);
        aw__test_ws_frame(w, AW__WS_CLOSE, data.p, data.n < 2 ? 0 : 2);
    }
    if (what < 0) aw__test_ws_over(w);
    if (what != AW__WS_TEXT && what != AW__WS_BINARY) return;
    m = (aw__test_message *)aw__arena_get(a, sizeof *m);
    if (!m) return;
    m->next = NULL;
    m->n = data.n;
    m->text = aw__arena_text(a, data.p, data.n);
    *w->last = m;
    w->last = &m->next;
}

/* Reads the answer to the handshake. Returns how many of its bytes are
   frames already. */
static size_t aw__test_ws_answer(aw_test_socket *w)
{
    char *slack = aw__buf_room(&w->in, AW__HEAD_SLACK);
    aw__field fields[100];
    aw__head h;
    int n, i;
    if (!slack) return 0;
    memset(slack, 0, AW__HEAD_SLACK);
    memset(&h, 0, sizeof h);
    h.fields = fields;
    h.max_fields = 100;
    n = aw__http_response_head(w->in.p, w->in.n, 0, 65535, &h);
    if (n == AW_EAGAIN) return 0;
    if (n > 0) w->status = h.status;
    i = n < 0 ? -1 : aw__head_find(w->in.p, &h, "Sec-WebSocket-Accept", 0);
    if (w->status == 101 && (i < 0 || !aw__slice_ieq(
        aw__head_value(w->in.p, &h, i), w->accept))) w->status = 0;
    if (w->status == 101) return w->in.n - (size_t)n;
    aw__test_ws_over(w);
    return 0;
}

/* Sends what is to be sent, reads what has come. False: there is no more. */
static bool aw__test_ws_pump(aw_test_socket *w)
{
    aw_loop *l = w->test->loop;
    char bytes[4096];
    aw_slice in, data;
    ptrdiff_t n = w->out.n ? aw__io_send(l, w->fd, w->out.p, w->out.n) : 0;
    int rc;
    if (n > 0) {
        w->out.n -= (size_t)n;
        memmove(w->out.p, w->out.p + n, w->out.n);
    }
    n = aw__io_recv(l, w->fd, bytes, sizeof bytes);
    if (n == AW_EAGAIN) return false;
    if (n <= 0) {
        aw__test_ws_over(w);
        return false;
    }
    in = aw__slice(bytes, (size_t)n);
    if (w->status != 101) {
        aw__buf_add(&w->in, bytes, in.n);
        in.n = aw__test_ws_answer(w);
        if (in.n) in.p = w->in.p + w->in.n - in.n;
    }
    while (w->fd >= 0 && (rc = aw__ws_next(&w->reader, &in, &data)) != 0)
        aw__test_ws_event(w, rc, data);
    if (w->status == 101) aw__buf_free(&w->in);
    return w->fd >= 0;
}

static void aw__test_ws_attend(aw_test_socket *w)
{
    for (; w; w = w->next) {
        int tries = w->test->loop->chaos.seed ? 8 : 1;  /* it may say no */
        while (w->fd >= 0 && (aw__test_ws_pump(w) || --tries > 0)) {}
    }
}

/* Lets time pass until `done`, or nothing more can be expected. */
static void aw__test_ws_wait(aw_test_socket *w,
                             bool (*done)(const aw_test_socket *))
{
    aw_loop *l = w->test->loop;
    const int64_t end = l->now + 3600000;
    int idle = 0, patience = AW__TEST_PATIENCE * (l->chaos.seed ? 60 : 2);
    /* No turn before it is needed: time could jump in it. */
    for (;;) {
        aw__test_ws_attend(w);
        if (done(w) || w->fd < 0 || l->now >= end || idle >= patience) return;
        idle = aw__test_turn(w->test, end - l->now) == AW_EDEADLK ? idle + 1
            : 0;
    }
}

static bool aw__test_ws_answered(const aw_test_socket *w)
{
    return w->status != 0;
}

aw_test_socket *aw_test_ws_open(aw_test *t, aw_test_request q)
{
    aw_test_socket *w = (aw_test_socket *)aw__arena_get(&t->memory, sizeof *w);
    aw__address at = aw__address_loopback(4, aw_serve_port(t->loop));
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    int rc;
    if (!w) return NULL;
    memset(w, 0, sizeof *w);
    w->test = t;
    w->last = &w->first;
    w->fd = -1;
    w->reader.max_message = SIZE_MAX / 2;
    aw__ws_accept_key(aw__slice(key, 24), w->accept);
    aw__test_write(&w->out, &q);
    w->out.n -= 2;
    aw__put_text(&w->out, "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    aw__put_text(&w->out, key);
    aw__put_text(&w->out, "\r\n\r\n");
    rc = w->out.failed ? AW_ENOMEM : aw__io_connect(t->loop, &at, &w->fd);
    if (rc < 0 && rc != AW_EAGAIN) {
        aw__test_ws_over(w);
        return w;
    }
    w->next = t->sockets;
    t->sockets = w;
    t->attend = aw__test_ws_attend;
    aw__test_ws_wait(w, aw__test_ws_answered);
    return w;
}

int aw_test_ws_status(const aw_test_socket *w)
{
    return w->status;
}

void aw_test_ws_send(aw_test_socket *w, const char *text)
{
    aw__test_ws_frame(w, AW__WS_TEXT, text, strlen(text));
}

void aw_test_ws_send_binary(aw_test_socket *w, const void *p, size_t n)
{
    aw__test_ws_frame(w, AW__WS_BINARY, p, n);
}

static bool aw__test_ws_has(const aw_test_socket *w)
{
    return w->first != NULL;
}

const char *aw_test_ws_recv(aw_test_socket *w, size_t *n)
{
    aw__test_message *m;
    aw__test_ws_wait(w, aw__test_ws_has);
    m = w->first;
    if (n) *n = m ? m->n : 0;
    if (!m) return NULL;
    w->first = m->next;
    if (!w->first) w->last = &w->first;
    return m->text;
}

static bool aw__test_ws_closed(const aw_test_socket *w)
{
    return w->code != 0;
}

int aw_test_ws_code(aw_test_socket *w)
{
    aw__test_ws_wait(w, aw__test_ws_closed);
    return w->code;
}

int aw_test_ws_close(aw_test_socket *w, int code)
{
    char payload[2];
    int closed;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (code && !w->code) aw__test_ws_frame(w, AW__WS_CLOSE, payload, 2);
    closed = code ? aw_test_ws_code(w) : 0;
    aw__test_ws_over(w);
    (void)aw__test_turn(w->test, 0);
    return closed;
}
#endif

int aw_test_close(aw_test *t)
{
    aw_loop *l = t->loop;
    void (*on_stop)(void *) = l->server->config.on_stop;
    void *data = l->server->config.data;
    size_t live;
    int failed;
#ifndef ASYNCWEB_NO_WS
    for (; t->sockets; t->sockets = t->sockets->next)
        aw__test_ws_over(t->sockets);
#endif
    aw_serve_stop(l);
    live = aw__loop_end(l);
    if (on_stop) on_stop(data);
    if (live) aw__say("%lu bytes were not given back", (unsigned long)live);
    failed = t->failures > 0 || live > 0;
    aw__arena_free(&t->memory);
    aw__buf_free(&t->got);
    aw__plain_put(t);
    return failed;
}
#endif

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif /* ASYNCWEB_IMPLEMENTATION */

/*
asyncweb.h and everything in this repository may be used under either of the
two licences below, MIT-0 or the Unlicense, whichever you prefer.

------------------------------------------------------------------------------
Alternative A: MIT No Attribution (MIT-0)
------------------------------------------------------------------------------

Copyright (c) the asyncweb.h authors

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

------------------------------------------------------------------------------
Alternative B: The Unlicense (public domain)
------------------------------------------------------------------------------

This is free and unencumbered software released into the public domain.

Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.

In jurisdictions that recognize copyright laws, the author or authors of this
software dedicate any and all copyright interest in the software to the public
domain. We make this dedication for the benefit of the public at large and to
the detriment of our heirs and successors. We intend this dedication to be an
overt act of relinquishment in perpetuity of all present and future rights to
this software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

For more information, please refer to <https://unlicense.org/>
*/
