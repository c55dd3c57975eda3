/*
asyncweb.h - v0.1 - MIT-0 or Unlicense, your choice (see the end of the file)

An async web micro-framework in one C header: async views, an awaited HTTP
client, background tasks and a router over an epoll, kqueue or poll loop.
*/
#ifndef ASYNCWEB_H
#define ASYNCWEB_H

/* The system shows POSIX and BSD names only when asked before the first
   system header; the implementation needs them, your own file loses nothing. */
#ifdef ASYNCWEB_IMPLEMENTATION
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(_FEATURES_H)
#define _GNU_SOURCE
#elif defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE
#elif defined(__NetBSD__) && !defined(_NETBSD_SOURCE)
#define _NETBSD_SOURCE
#endif
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

#ifdef __cplusplus
#define AW__LIT(T, ...) T{__VA_ARGS__}
extern "C" {
#else
#define AW__LIT(T, ...) ((T){__VA_ARGS__})
#endif

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
    X(ENOTLS, 18, "https needs TLS: build with -DASYNCWEB_BEARSSL") \
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
    X(EIO, 30, "input/output error")

enum {
#define AW__ERROR_ENUM(name, number, text) AW_##name = -(number),
    AW_ERRORS(AW__ERROR_ENUM)
#undef AW__ERROR_ENUM
    AW_OK = 0
};

/* An HTTP status as an error: `return AW_HTTP(404)` in a view, or in any
   function it calls, answers with the standard page of that status. */
#define AW_HTTP(status) (-10000 - (status))

/* What an error code means, in English. Static text; never NULL. */
const char *aw_strerror(int error);

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

void aw__fell(aw_frame *f);
void aw__bad_await(const aw_frame *f);
bool aw__failed(aw__ctx *t, aw_frame *f);
bool aw__deadline_end(aw__ctx *t, aw_frame *f);
aw_use_RETURN_not_return aw__leave(aw__ctx *t, aw_frame *f, int rc, int line);
aw_use_RETURN_not_return aw__call(aw__ctx *t, const aw_fn *fn, const void *args);
aw_use_RETURN_not_return aw__call_for(aw__ctx *t, int64_t ms, const aw_fn *fn,
                                      const void *args);
aw_use_RETURN_not_return aw__gather(aw__ctx *t, aw_frame *f, int64_t ms,
                                    bool race);
aw_task aw__start(aw__ctx *t, aw_frame *f, int *result, const aw_fn *fn,
                  const void *args);
aw_task aw__spawn(aw__ctx *t, const aw_fn *fn, const void *args);
aw_task aw__spawn_on(aw_loop *loop, const aw_fn *fn, const void *args);
aw_bound aw__bind(aw__ctx *t, const aw_fn *fn, const void *args);
int aw__defer(aw__ctx *t, aw_frame *f, void (*fn)(void *), void *arg);
void *aw__frame_get(aw__ctx *t, size_t n);
aw_task aw__self(const aw__ctx *t);

#ifdef __cplusplus
}
template <class T> static inline const void *aw__address(const T &args)
{
    return &args;
}
extern "C" {
#define AW__ADDRESS(T, ...) aw__address(T{__VA_ARGS__})
#define AW__ARGS_HEAD
#define AW__ARGS_FROM 0u
#define AW__ARGS_INIT
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
        AW__TEXT(args) " " AW__TEXT(__VA_ARGS__)}

#define AW__RUN(name) \
    static aw_use_RETURN_not_return aw_run_##name( \
        aw__ctx *aw_t, struct aw_frame_##name *self)

#define AW__ASYNC_1(name, args) AW__ASYNC(name, args, )
#define AW__ASYNC_M(name, args, ...) AW__ASYNC(name, args, __VA_ARGS__)
#define AW__ASYNC(name, args, ...) \
    AW__DECLARE_ARGS(name, args); \
    AW__DEFINE(static AW__UNUSED, name, args, __VA_ARGS__); \
    AW__RUN(name)

#define AW__DEFINE_1(name, args) AW__DEFINED(name, args, )
#define AW__DEFINE_M(name, args, ...) AW__DEFINED(name, args, __VA_ARGS__)
#define AW__DEFINED(name, args, ...) \
    AW__DEFINE(/* external */, name, args, __VA_ARGS__); \
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

/* An awaitable of the header's. Awaits: yes. */
#define AW__AWAITABLE(name, args) AW_ASYNC_DECLARE(name, args)

/* Sleeps for ms (<= 0: lets others run once; AW_FOREVER: until cancelled).
   0. Never early; late by what the loop is busy. */
AW__AWAITABLE(aw_sleep_ms, (int64_t ms;));

/* Lets every other ready task run once. 0. */
AW__AWAITABLE(aw_yield, ());

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
void aw_fd_closing(aw_loop *loop, int fd);

/* Waits for a task's end: its result, AW_ECHILDCANCELED when it was cancelled,
   AW_ENOTASK when its slot was reused (after at least 64 later tasks),
   AW_EDEADLK for oneself or an ancestor, AW_EINVAL for another loop's. */
AW__AWAITABLE(aw_join, (aw_task task;));

/* Runs a bound function; its result. AW_ENOMEM when AW_BIND had no memory. */
AW__AWAITABLE(aw_call, (aw_bound bound;));

/* Asks a task to end: at its next await, through every FINALLY. Cancelling an
   ended task does nothing. Awaits: no. */
void aw_cancel(aw_task task);

/* True once the task has ended (or never was). */
bool aw_ended(aw_task task);

/* An event: zeroed is a valid, unset one. set() wakes all waiters and stays
   set; pulse() wakes those waiting now. asyncio.Event, Condition.notify_all.
   It must outlive its waiters. */
typedef struct aw_event {
    void *waiters;
    bool is_set;
} aw_event;
void aw_event_set(aw_event *e);
void aw_event_clear(aw_event *e);
void aw_event_pulse(aw_event *e);
AW__AWAITABLE(aw_event_wait, (aw_event *event;));

/* A semaphore: { .value = n } permits. First come, first served. */
typedef struct aw_semaphore {
    int value;
    void *waiters;
} aw_semaphore;
void aw_semaphore_release(aw_semaphore *s);
bool aw_semaphore_try(aw_semaphore *s);
AW__AWAITABLE(aw_semaphore_acquire, (aw_semaphore *semaphore;));

/* A bounded queue of pointers over an array of yours. First come, first
   served on both sides. put: 0, AW_ECLOSED; get: 0, and AW_ECLOSED when the
   queue is closed and empty. try_*: AW_EAGAIN when full or empty. */
typedef struct aw_queue {
    void **items;
    size_t capacity, count, first;
    void *getters, *putters;
    bool closed;
} aw_queue;
void aw_queue_init(aw_queue *q, void **items, size_t capacity);
int aw_queue_try_put(aw_queue *q, void *item);
int aw_queue_try_get(aw_queue *q, void **item);
void aw_queue_close(aw_queue *q);
AW__AWAITABLE(aw_queue_put, (aw_queue *queue; void *item;));
AW__AWAITABLE(aw_queue_get, (aw_queue *queue; void **item;));

#ifndef ASYNCWEB_NO_THREADS
/* Runs fn(arg) on a helper thread (at most ASYNCWEB_MAX_THREADS, 4); its
   result. A cancellation waits for fn, so arg stays valid. AW_ENOMEM. */
AW__AWAITABLE(aw_thread, (int (*fn)(void *); void *arg;));
#endif

/* >>loop  The loop: to run, to stop, to embed ------------------------------ */

typedef enum aw_log_level {
    AW_LOG_ERROR, AW_LOG_WARNING, AW_LOG_INFO, AW_LOG_ACCESS
} aw_log_level;

/* Everything in it may be zero. */
typedef struct aw_loop_config {
    int64_t cleanup_ms;         /* for all FINALLY of a cancellation; 5,000 */
    size_t max_task_bytes;      /* frames of one task; 1 MiB */
    bool debug;                 /* look for pointers into the dead stack, ... */
    void (*log)(void *data, aw_log_level level, const char *line);
    void *log_data;             /* NULL log: lines go to stderr */
} aw_loop_config;

/* A loop of this thread's. NULL: out of memory or descriptors. */
aw_loop *aw_loop_new(const aw_loop_config *config);

/* Cancels what still runs, lets every FINALLY end, frees all. NULL is fine. */
void aw_loop_free(aw_loop *loop);

/* Runs until no task is left or aw_loop_stop was called. 0 or an error. */
int aw_loop_run(aw_loop *loop);
void aw_loop_stop(aw_loop *loop);

/* One turn, for a host with a loop of its own: waits at most max_wait_ms
   (AW_FOREVER: as long as it takes) for something to do, does it. Returns the
   number of tasks left, or an error. The host waits for aw_loop_fd to be
   readable, at most aw_loop_wait_ms. aw_loop_fd is AW_ENOTSUP with poll. */
int aw_loop_step(aw_loop *loop, int64_t max_wait_ms);
int aw_loop_fd(const aw_loop *loop);
int64_t aw_loop_wait_ms(aw_loop *loop);

/* The loop's time: monotonic milliseconds, read once a turn. */
int64_t aw_now_ms(const aw_loop *loop);

/* Calls fn(loop, arg) on the loop's thread, soon. The one call that other
   threads (not signal handlers) may make. 0; AW_ENOMEM; AW_ENOTSUP without
   threads. */
int aw_post(aw_loop *loop, void (*fn)(aw_loop *, void *), void *arg);

/* One log line per task and frame: function, file:line, what it waits for. */
void aw_loop_dump(aw_loop *loop);
/* >>short  Short names of the verbs ---------------------------------------- */

#ifndef ASYNCWEB_NO_SHORT_NAMES
#define ASYNC AW_ASYNC
#define ASYNC_DECLARE AW_ASYNC_DECLARE
#define ASYNC_DEFINE AW_ASYNC_DEFINE
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

/* >>floor0 platform  Includes, compiler shims, system calls -------------- */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#ifndef ASYNCWEB_NO_THREADS
#include <pthread.h>
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

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define AW__LIKELY(x) __builtin_expect(!!(x), 1)
#define AW__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AW__NOINLINE __attribute__((noinline))
#else
#define AW__LIKELY(x) (x)
#define AW__UNLIKELY(x) (x)
#define AW__NOINLINE
#endif

/* Tests define it: true makes this system call or allocation fail, with the
   errno it has set. The only place where faults come in. */
#ifndef ASYNCWEB_FAULT
#define ASYNCWEB_FAULT(call) 0
#endif

/* What errno says, as an error of ours. */
static int aw__error_of(int error)
{
    switch (error) {
        case ENOMEM: case ENOBUFS: return AW_ENOMEM;
        case EAGAIN: return AW_EAGAIN;
        case EINVAL: return AW_EINVAL;
        case EBADF: return AW_EBADF;
        case EPIPE: return AW_ECLOSED;
        case ECONNREFUSED: return AW_ECONNREFUSED;
        case ECONNRESET: case ECONNABORTED: return AW_ECONNRESET;
        case ENETUNREACH: case EHOSTUNREACH: case ENETDOWN: return AW_EUNREACH;
        case ETIMEDOUT: return AW_ETIMEDOUT;
        case EADDRINUSE: return AW_EADDRINUSE;
        case EADDRNOTAVAIL: return AW_EADDRNOTAVAIL;
        case EACCES: case EPERM: return AW_EACCES;
        case EMFILE: case ENFILE: return AW_EMFILE;
        case ENOENT: return AW_ENOENT;
        case EAFNOSUPPORT: case EOPNOTSUPP: return AW_ENOTSUP;
        default: return AW_EIO;
    }
}

static int aw__errno(void)
{
    return aw__error_of(errno);
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
    *read_end = *write_end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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

/* >>floor1 memory  Sized allocation, arena, buffer ----------------------- */

/* Your own allocator: all three macros, or none. It has to be thread-safe
   unless ASYNCWEB_NO_THREADS is defined. */
#if defined(ASYNCWEB_REALLOC) && defined(ASYNCWEB_FREE) && \
    defined(ASYNCWEB_ALLOC_CTX)
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

/* The memory of one loop. NULL stands for plain memory, uncounted. */
typedef struct aw__mem {
    size_t live;        /* bytes handed out and not yet given back */
} aw__mem;

/* n bytes aligned to 16, or NULL. Give them back with the same n. */
static void *aw__mem_get(aw__mem *m, size_t n)
{
    void *p = aw__plain_get(n);
    if (p && m) m->live += n;
    return p;
}

static void aw__mem_put(aw__mem *m, void *p, size_t n)
{
    if (!p) return;
    if (m) m->live -= n;
    aw__plain_put(p);
}

/* Grows or shrinks; on failure NULL, and the old block is untouched. */
static void *aw__mem_resize(aw__mem *m, void *p, size_t old, size_t n)
{
    void *q;
    if (ASYNCWEB_FAULT("alloc")) return NULL;
    q = ASYNCWEB_REALLOC(ASYNCWEB_ALLOC_CTX, p, n ? n : 1);
    if (q && m) m->live += n - old;
    return q;
}

static void aw__mem_close(aw__mem *m)
{
    (void)m;
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
    size_t size = last < 32768 ? last * 2 : last;
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
    char *to = aw__buf_room(b, n);
    if (to && n) memcpy(to, p, n);
    if (to) b->n += n;
}

static void aw__buf_free(aw__buf *b)
{
    aw__mem_put(b->mem, b->p, b->cap);
    b->p = NULL;
    b->n = b->cap = 0;
}

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

/* >>floor1 utf8 ----------------------------------------------------------- */

/* >>floor1 strerror -------------------------------------------------------- */

const char *aw_strerror(int error)
{
    switch (error) {
#define AW__ERROR_CASE(name, number, text) case AW_##name: return text;
        AW_ERRORS(AW__ERROR_CASE)
#undef AW__ERROR_CASE
        case AW_OK: return "no error";
        default: return "unknown error";
    }
}

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

enum { AW__WHEEL_LEVELS = 5, AW__WHEEL_BITS = 6, AW__WHEEL_SLOTS = 64 };

/* Level n holds the timers whose due time first differs from `tick` in its
   n-th group of six bits: each later moves down at most once per level. */
typedef struct aw__wheel {
    int64_t tick;               /* every timer up to here has fired */
    size_t count;
    uint64_t bits[AW__WHEEL_LEVELS];    /* slots that may hold timers */
    aw__link slots[AW__WHEEL_LEVELS][AW__WHEEL_SLOTS];
    aw__link far;               /* beyond the top level, 12 days */
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

/* Where an error came through: the innermost function first. */
enum { AW__TRACE_MAX = 15 };
typedef struct aw__trace {
    int count;
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
    AW__STATIC_TASK = 64        /* stands for a plain function; never runs */
};

/* A task: frames on a stack of its own that grows in chunks. */
struct aw__task {
    aw__ctx ctx;                /* first: macros see only this */
    aw_frame *top;
    char *at, *end;             /* free room of the newest chunk */
    aw__chunk *chunk;
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
    aw__kid *kid;
    void *joiners;              /* the oldest of them */
    aw__trace *trace;
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
    uint8_t registered, spare;
} aw__fd;

enum { AW__FD_FREE, AW__FD_WAKE, AW__FD_TASKS, AW__FD_SERVER, AW__FD_CONN,
       AW__FD_STREAM, AW__FD_KINDS };

typedef struct aw__post {
    struct aw__post *next;
    void (*fn)(aw_loop *, void *);
    void *arg;
} aw__post;

struct aw_loop {
    aw__mem mem;
    int64_t now;                /* milliseconds */
    aw__task *ready, **ready_tail;
    aw__task idle;              /* stands for plain views and code outside */
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
    void (*view_ended)(aw__task *);
    void (*req_keep)(aw_req *);
    void (*req_drop)(aw_req *);
    void *(*req_get)(aw_req *, size_t n);
    void (*on_suspend)(aw__task *);     /* debug checks, chaos mode */
    bool (*poll_more)(aw_loop *);       /* in-memory sockets */
    aw__task *(*pick)(aw_loop *);       /* chaos mode: moves it to the front */
    int poller;                 /* epoll or kqueue */
    void *poll_set;             /* poll: array of struct pollfd */
    int poll_cap;
    int wake_read, wake_write;  /* another thread or a signal says: look */
    void (*log)(void *, aw_log_level, const char *);
    void *log_data;
    struct aw__threads *threads;
    struct aw__sim *sim;        /* in-memory sockets and chaos, for tests */
    struct aw_app *app;
};

/* >>floor3 log ------------------------------------------------------------- */

static void AW__PRINTF(3, 4)
aw__log(const aw_loop *l, aw_log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (l && l->log) l->log(l->log_data, level, line);
    else fprintf(stderr, "%s\n", line);
}

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

/* A timer that is due after w->tick, or at it while it is being handled. */
static void aw__wheel_put(aw__wheel *w, aw__timer *t)
{
    int64_t when = t->due >> 2;
    uint64_t differs = (uint64_t)(when ^ w->tick);
    int level = differs ? aw__log2(differs) / AW__WHEEL_BITS : 0;
    int slot;
    if (level >= AW__WHEEL_LEVELS) {
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

/* Gives fresh timers their due time; l->now has just been read. */
static void aw__wheel_stamp(aw_loop *l)
{
    aw__wheel *w = &l->wheel;
    while (!aw__list_empty(&w->fresh)) {
        aw__timer *t = (aw__timer *)w->fresh.next;
        aw__list_remove(&t->link);
        /* The tick of `now` may have been handled: due then means next. */
        t->due += (l->now + (l->now <= w->tick && t->due < 4)) * 4;
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
                return ((w->tick >> shift) - at + *slot) * ((int64_t)1 << shift);
            w->bits[n] &= ~((uint64_t)1 << *slot);
        }
    }
    if (!w->count || aw__list_empty(&w->far)) return INT64_MAX;
    *level = AW__WHEEL_LEVELS;
    n = AW__WHEEL_LEVELS * AW__WHEEL_BITS;
    return ((w->tick >> n) + 1) * ((int64_t)1 << n);
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

enum { AW__ONCE = 4 };          /* with AW_READ, AW_WRITE: for one event */

/* The entry of fd, made when needed. NULL: out of memory. */
static aw__fd *aw__fd_entry(aw_loop *l, int fd)
{
    int cap = l->fd_cap ? l->fd_cap : 64;
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

/* An event of the kernel's. One that was queued for an earlier registration
   of the same descriptor carries another generation. */
static void aw__fd_event(aw_loop *l, int fd, uint32_t generation, int events)
{
    aw__fd *e = fd < l->fd_cap ? &l->fds[fd] : NULL;
    if (!e || e->kind == AW__FD_FREE || e->generation != generation) return;
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

static int aw__poll_ctl(aw_loop *l, int fd, aw__fd *e, int want)
{
    (void)l, (void)e, (void)want;
    return fcntl(fd, F_GETFD) < 0 ? AW_EBADF : 0;
}

static void aw__poll_close(aw_loop *l)
{
    aw__mem_put(&l->mem, l->poll_set,
                (size_t)l->poll_cap * sizeof(struct pollfd));
}

/* Fills the set anew each turn: this is the fallback that works everywhere,
   and the table is what a kernel queue would remember. */
static int aw__poll_fill(aw_loop *l)
{
    struct pollfd *set = (struct pollfd *)l->poll_set;
    int fd, n = 0;
    if (l->poll_cap < l->fd_cap) {
        set = (struct pollfd *)aw__mem_resize(
            &l->mem, set, (size_t)l->poll_cap * sizeof *set,
            (size_t)l->fd_cap * sizeof *set);
        if (!set) return AW_ENOMEM;
        l->poll_set = set;
        l->poll_cap = l->fd_cap;
    }
    for (fd = 0; fd < l->fd_cap; fd++) {
        const aw__fd *e = &l->fds[fd];
        if (e->kind == AW__FD_FREE || !(e->have & (AW_READ | AW_WRITE)))
            continue;
        set[n].fd = fd;
        set[n].events = (short)((e->have & AW_READ ? POLLIN : 0) |
                                (e->have & AW_WRITE ? POLLOUT : 0));
        set[n++].revents = 0;
    }
    return n;
}

static int aw__poll_wait(aw_loop *l, int ms)
{
    struct pollfd *set;
    int i, n = aw__poll_fill(l);
    if (n < 0) return n;
    set = (struct pollfd *)l->poll_set;
    if (aw__sys_poll(set, (nfds_t)n, ms) <= 0) return 0;
    for (i = 0; i < n; i++) {
        int events = 0;
        if (set[i].revents & ~POLLOUT) events |= AW_READ;
        if (set[i].revents & ~POLLIN) events |= AW_WRITE;
        if (set[i].fd < l->fd_cap)
            aw__fd_event(l, set[i].fd, l->fds[set[i].fd].generation,
                         events & l->fds[set[i].fd].have);
    }
    return 0;
}

#elif defined(__linux__)
#define AW__POLLER "epoll"

static int aw__poll_open(aw_loop *l)
{
    l->poller = epoll_create1(EPOLL_CLOEXEC);
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

static int aw__poll_wait(aw_loop *l, int ms)
{
    struct epoll_event events[256];
    int i, n = aw__sys_epoll_wait(l->poller, events, 256, ms);
    for (i = 0; i < n; i++) {
        uint32_t got = events[i].events;
        int ready = 0;
        if (got & ~(uint32_t)EPOLLOUT) ready |= AW_READ;
        if (got & ~(uint32_t)(EPOLLIN | EPOLLRDHUP)) ready |= AW_WRITE;
        aw__fd_event(l, (int)(uint32_t)events[i].data.u64,
                     (uint32_t)(events[i].data.u64 >> 32), ready);
    }
    return 0;
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
    int write;
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
    for (i = 0; i < n; i++) {
        uint32_t generation;
        int ready = events[i].filter == EVFILT_WRITE ? AW_WRITE : AW_READ;
        memcpy(&generation, &events[i].udata, sizeof generation);
        aw__fd_event(l, (int)events[i].ident, generation, ready);
    }
    return 0;
}

#else
#error "asyncweb.h: no epoll or kqueue here; build with -DASYNCWEB_POLL"
#endif

/* Watches fd for `want` (AW_READ | AW_WRITE, perhaps AW__ONCE); 0 for
   nothing. A system call only when that is a change. */
static int aw__fd_want(aw_loop *l, int fd, int want)
{
    aw__fd *e = &l->fds[fd];
    int rc = 0;
    if (e->have == want && !(want & AW__ONCE)) return 0;
    rc = aw__poll_ctl(l, fd, e, want);
    e->have = (uint8_t)(rc < 0 ? 0 : want);
    return rc;
}

/* From now on events of fd go to on_fd[kind]. 0; AW_ENOMEM. */
static int aw__fd_open(aw_loop *l, int fd, int kind, void *object)
{
    aw__fd *e = fd < 0 ? NULL : aw__fd_entry(l, fd);
    if (!e) return fd < 0 ? AW_EBADF : AW_ENOMEM;
    e->kind = (uint8_t)kind;
    e->object = object;
    e->have = e->registered = 0;
    l->fd_count++;
    return 0;
}

/* Before it is closed: the kernel would go on reporting a descriptor that
   some other process (or a dup) still holds open. */
static void aw__fd_forget(aw_loop *l, int fd)
{
    aw__fd *e = &l->fds[fd];
    if (e->kind == AW__FD_FREE) return;
    (void)aw__fd_want(l, fd, 0);
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
   - f->cancel is set on a run of frames up to and including t->unwind: those
     that were asked to end. A frame that stands in its FINALLY, or in a
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

/* ---- lists of waiters: of a task's end, an event, a semaphore, a queue ---- */

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

static AW__NOINLINE int aw__task_grow(aw__task *t, size_t n)
{
    aw_loop *l = t->ctx.loop;
    size_t size = t->chunk ? t->chunk->size : 256;
    aw__chunk *c;
    if (n > l->max_task_bytes) return AW_ESTACK;
    if (size < 16384) size *= 2;
    if (size < n + sizeof *c + 16) size = n + sizeof *c + 16;
    size = (size + 63) & ~(size_t)63;
    if (t->bytes + size > l->max_task_bytes) return AW_ESTACK;
    c = (aw__chunk *)aw__mem_get(&l->mem, size);
    if (!c) return AW_ENOMEM;
    c->prev = t->chunk;
    c->save_at = t->at;
    c->save_end = t->end;
    c->size = size;
    t->bytes += (uint32_t)size;
    t->chunk = c;
    t->at = (char *)(((uintptr_t)(c + 1) + 15) & ~(uintptr_t)15);
    t->end = (char *)c + size;
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
        aw__mem_put(&t->ctx.loop->mem, c, c->size);
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
enum { AW__SLOTS_RESTING = 64 };

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
    return aw__step(AW__AGAIN);
}

/* Every leaf await passes here: the one place where cancellation, the end of
   the grace time and chaos mode are met. */
static aw_use_RETURN_not_return aw__leaf(aw__task *t, const aw_fn *fn,
                                         const void *args)
{
    aw_frame *f = t->top;
    if (AW__UNLIKELY(f->cancel || (t->ctx.flags & AW__NO_GRACE))) {
        if (!aw__holds(f)) {
            t->ctx.flags |= AW__CUT;
            return aw__step(AW__AGAIN);
        }
        if (t->ctx.flags & AW__NO_GRACE) return aw__at_once(t, AW_EDEADLINE);
    }
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

#define AW__LEAF(name) \
    const aw_fn aw_fn_##name = { \
        #name, "asyncweb.h", aw__leaf_run, aw__##name, \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_frame) + sizeof(aw_args_##name) - AW__ARGS_FROM), \
        (uint32_t)(sizeof(aw_args_##name) - AW__ARGS_FROM), ""}

/* The arguments of a leaf, as its struct. */
#define AW__LEAF_ARGS(name, p) \
    ((const aw_args_##name *)(const void *)((const char *)(p) - AW__ARGS_FROM))

void aw__fell(aw_frame *f)
{
    if (f->phase != AW__BODY) {
        f->phase = AW__OVER;
        return;
    }
    f->phase = f->flags & AW__GROUP ? AW__LEAVING : AW__FINAL;
    f->pc = AW__PC_FINALLY;
}

void aw__bad_await(const aw_frame *f)
{
    fprintf(stderr,
            "%s:%u: in %s: this await stands inside a switch of the body's "
            "own; await outside of it (or use if/else)\n",
            f->fn->file, (unsigned)f->pc, f->fn->name);
    abort();
}

/* ---- where errors came through ---- */

static void aw__trace_add(aw__task *t, const aw_fn *fn, uint32_t line)
{
    aw__trace *trace = t->trace;
    if (!trace) {
        trace = (aw__trace *)aw__mem_get(&t->ctx.loop->mem, sizeof *trace);
        if (!trace) return;
        trace->count = 0;
        t->trace = trace;
    }
    if (trace->count == AW__TRACE_MAX) return;
    trace->at[trace->count].fn = fn;
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
    const aw__trace *trace = t->trace;
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
            aw__trace_add((aw__task *)ctx, f->fn, (uint32_t)line);
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
    aw__trace_add(t, f->fn, f->pc);
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

/* True when `to` lies further out than every frame asked to end so far. */
static bool aw__is_outermost(const aw__task *t, const aw_frame *to)
{
    const aw_frame *f;
    if (!t->unwind) return true;
    for (f = t->unwind->up; f; f = f->up)
        if (f == to) return true;
    return false;
}

/* Asks the frame `to` and all it awaits to end. A frame asked before keeps
   its reason; a request only ever moves outwards. */
static void aw__cancel_frame(aw__task *t, aw_frame *to, int why)
{
    aw_loop *l = t->ctx.loop;
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
    if (aw__is_outermost(t, to)) {
        t->unwind = to;
        aw__timer_stop(l, &t->grace);
        aw__timer_start(l, &t->grace, l->cleanup_ms, AW__TIMER_GRACE);
    }
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
            f->flags &= (uint16_t)~AW__SHIELD;
            if (!f->cancel) f->cancel = AW_EDEADLINE;
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

/* All children have ended, or nobody waits for them any more. */
static int aw__group_result(aw__group *g, aw_frame *f, bool race)
{
    int rc = race ? g->first : g->error;
    if (f->flags & AW__BY_GROUP) {
        f->flags &= (uint16_t)~AW__BY_GROUP;
        f->cancel = 0;
    }
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
    if (child && child->trace && !t->trace) {
        t->trace = child->trace;
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
    if (f->phase == AW__LEAVING) f->phase = AW__FINAL;
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
    if (!g || g->started == 0) return aw__at_once(t, race ? AW_EINVAL : 0);
    if (g->live == 0) return aw__at_once(t, aw__group_result(g, f, race));
    if (ctx->flags & AW__NO_GRACE) return aw__at_once(t, AW_EDEADLINE);
    if (!aw__deadline_begin(t, ms, true)) return aw__step(AW__AGAIN);
    g->racing = race;
    if (race && g->ended) aw__cancel_kids(g, AW_ECANCELED);
    return aw__wait_on(t, &aw__wait_children);
}

/* ---- birth, life and end of a task ---- */

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
    aw__trace_drop(t);
    aw__slot_leave(l, t->slot, rc);
    aw__task_put(t, (char *)t + sizeof *t);
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
    if (f == t->unwind) {
        t->unwind = NULL;
        aw__timer_stop(t->ctx.loop, &t->grace);
        t->ctx.flags &= ~(unsigned)AW__NO_GRACE;
    }
    if (!up && unwound && rc == AW_ECANCELED) t->ctx.flags |= AW__CANCELED;
    t->top = up;
    t->ctx.rc = rc;
    aw__task_put(t, f);
    /* What was asked to end together unwinds together; a result that came
       about by itself is delivered. */
    if (up && unwound && up->cancel && !aw__holds(up))
        t->ctx.flags |= AW__CUT;
}

/* After this many awaits in a row that completed at once, others run. */
enum { AW__BUDGET = 64 };

/* The task waits. Deadlines that were over from the start expire now. */
static void aw__suspended(aw__task *t)
{
    aw_loop *l = t->ctx.loop;
    t->since = (uint32_t)l->now;
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
        } else if (t->top == f && f->phase == AW__BODY) {
            awaits++;           /* a leaf that was done at once */
        }
        if (awaits > AW__BUDGET && !(t->ctx.flags & AW__CUT)) {
            t->ctx.loop->clock_due = true;
            aw__make_ready(t);
            return;
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
    child->kid->group = g;
    child->kid->result = result;
    aw__list_add(&g->kids, &child->kid->link);
    g->live++;
    g->started++;
    aw__req_keep(child, t->req);
    aw__make_ready(child);
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

static void aw__on_fd_tasks(aw_loop *l, int fd, int events)
{
    aw__fd_tasks_wake(l, fd, events, 0);
    (void)aw__fd_tasks_arm(l, fd);
}

static void aw__undo_fd(aw__task *t)
{
    aw__fd_tasks *w = (aw__fd_tasks *)t->ctx.loop->fds[t->w.io.fd].object;
    if (w->reader == t) w->reader = NULL;
    if (w->writer == t) w->writer = NULL;
    (void)aw__fd_tasks_arm(t->ctx.loop, t->w.io.fd);
}

static const aw__wait aw__wait_fd = {"a descriptor", aw__undo_fd};

void aw_fd_closing(aw_loop *l, int fd)
{
    if (fd < 0 || fd >= l->fd_cap || l->fds[fd].kind != AW__FD_TASKS) return;
    aw__fd_tasks_wake(l, fd, AW_READ | AW_WRITE, AW_ECLOSED);
    (void)aw__fd_tasks_arm(l, fd);
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
AW__LEAF(aw_event_wait);

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
AW__LEAF(aw_semaphore_acquire);

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
AW__LEAF(aw_queue_put);

static aw_use_RETURN_not_return aw__aw_queue_get(aw__ctx *ctx,
                                                 const void *args)
{
    const aw_args_aw_queue_get *a = AW__LEAF_ARGS(aw_queue_get, args);
    int rc = aw_queue_try_get(a->queue, a->item);
    if (rc != AW_EAGAIN) return aw__at_once((aw__task *)ctx, rc);
    return aw__wait_in((aw__task *)ctx, &a->queue->getters, a->item,
                       &aw__wait_queue);
}
AW__LEAF(aw_queue_get);

/* >>floor3 threads  Posts from other threads, helper threads --------------- */

#ifndef ASYNCWEB_MAX_THREADS
#define ASYNCWEB_MAX_THREADS 4
#endif

/* Work for a helper thread. `done` runs on the loop's thread afterwards, or
   never when the loop is gone by then: the thread frees the job in any case,
   with plain free(), so the job owns all it points to. */
typedef struct aw__job {
    struct aw__job *next;
    void (*work)(struct aw__job *);
    void (*done)(aw_loop *, struct aw__job *);
    void *task;                 /* NULL: nobody waits any more */
} aw__job;

#ifndef ASYNCWEB_NO_THREADS
/* Shared by the loop and its helper threads; the last one frees it. A thread
   lives as long as there is work: an idle program has none. */
typedef struct aw__threads {
    pthread_mutex_t lock;
    int users, running;
    int wake;                   /* -1: the loop is gone */
    aw__job *todo, **todo_tail, *done, **done_tail;
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
    aw__threads *x = (aw__threads *)arg;
    aw__job *j;
    pthread_mutex_lock(&x->lock);
    while ((j = x->todo) != NULL) {
        x->todo = j->next;
        if (!x->todo) x->todo_tail = &x->todo;
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
    x->running--;
    aw__threads_leave(x);
    return NULL;
}

static aw__threads *aw__threads_new(int wake)
{
    aw__threads *x = (aw__threads *)aw__plain_get(sizeof *x);
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    if (pthread_mutex_init(&x->lock, NULL) != 0) {
        aw__plain_put(x);
        return NULL;
    }
    x->users = 1;
    x->wake = wake;
    x->todo_tail = &x->todo;
    x->done_tail = &x->done;
    x->posts_tail = &x->posts;
    return x;
}

/* Hands j to a helper thread. AW_ENOMEM: no thread could be started; the job
   is the caller's again. */
static int aw__job_start(aw_loop *l, aw__job *j)
{
    aw__threads *x = l->threads;
    pthread_attr_t attr;
    pthread_t id;
    int rc = 0;
    pthread_mutex_lock(&x->lock);
    if (x->running < ASYNCWEB_MAX_THREADS) {
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        rc = ASYNCWEB_FAULT("thread")
            || pthread_create(&id, &attr, aw__thread_main, x);
        pthread_attr_destroy(&attr);
        if (rc == 0) x->running++, x->users++;
    }
    if (x->running == 0) {
        pthread_mutex_unlock(&x->lock);
        return AW_ENOMEM;
    }
    j->next = NULL;
    *x->todo_tail = j;
    x->todo_tail = &j->next;
    x->unfinished++;
    pthread_mutex_unlock(&x->lock);
    return 0;
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
        aw__plain_put(j);
        j = next;
    }
}

static void aw__threads_free(aw_loop *l)
{
    aw__threads *x = l->threads;
    if (!x) return;
    aw__threads_collect(l);
    pthread_mutex_lock(&x->lock);
    x->wake = -1;
    aw__threads_leave(x);
    l->threads = NULL;
}

typedef struct aw__thread_job {
    aw__job job;
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
    (void)l;
    aw__complete((aw__task *)j->task, ((aw__thread_job *)j)->rc);
}

static const aw__wait aw__wait_thread = {"a helper thread", NULL};

static aw_use_RETURN_not_return aw__aw_thread(aw__ctx *ctx, const void *args)
{
    const aw_args_aw_thread *a = AW__LEAF_ARGS(aw_thread, args);
    aw__task *t = (aw__task *)ctx;
    aw__thread_job *j = (aw__thread_job *)aw__plain_get(sizeof *j);
    int rc;
    if (!j) return aw__at_once(t, AW_ENOMEM);
    j->job.work = aw__thread_work;
    j->job.done = aw__thread_done;
    j->job.task = t;
    j->fn = a->fn;
    j->arg = a->arg;
    rc = aw__job_start(ctx->loop, &j->job);
    if (rc == 0) return aw__wait_on(t, &aw__wait_thread);
    aw__plain_put(j);
    return aw__at_once(t, rc);
}
AW__LEAF(aw_thread);

static int aw__jobs_unfinished(const aw_loop *l)
{
    return l->threads ? l->threads->unfinished : 0;
}
#else
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

/* >>floor3 turns  The loop itself ------------------------------------------ */

static void aw__clock_read(aw_loop *l)
{
    if (!l->is_virtual) l->now = aw__sys_now_ms();
    l->clock_due = false;
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

/* Tasks run in the order they became ready; a great many in a row leave the
   poller a chance in between. */
enum { AW__RUN_MOST = 1024 };

static void aw__run_ready(aw_loop *l)
{
    int n;
    for (n = 0; l->ready && n < AW__RUN_MOST; n++) {
        aw__task *t = l->pick ? l->pick(l) : l->ready;
        if (t == l->ready) {
            l->ready = t->next;
            if (!l->ready) l->ready_tail = &l->ready;
        }
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
    return ms == AW_FOREVER ? -1 : ms > 1 << 30 ? 1 << 30 : (int)ms;
}

/* Virtual time stands still while anything can happen, and then jumps to the
   next timer. False: nothing will ever happen any more. */
static bool aw__jump(aw_loop *l, int64_t max_wait_ms)
{
    int wait = aw__wait_limit(l, max_wait_ms);
    if (l->ready || wait == 0) return true;
    if (aw__jobs_unfinished(l)) return aw__poll_wait(l, 20) == 0;
    if (wait < 0) return false;
    l->now += wait;
    return true;
}

/* One turn: what is ready comes before what is late. A task that is due and
   whose descriptor is ready gets its bytes. */
static int aw__turn(aw_loop *l, int64_t max_wait_ms)
{
    bool more, alive = true;
    int rc;
    if (!aw__list_empty(&l->wheel.fresh)) {
        aw__clock_read(l);
        aw__wheel_stamp(l);
    }
    rc = aw__poll_wait(l, l->is_virtual ? 0 : aw__wait_limit(l, max_wait_ms));
    more = l->poll_more && l->poll_more(l);
    if (l->is_virtual && !more) alive = aw__jump(l, max_wait_ms);
    aw__clock_read(l);
    aw__run_ready(l);
    aw__expire(l);
    aw__run_ready(l);
    return rc < 0 ? rc : alive ? l->tasks : AW_EDEADLK;
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

static void aw__cancel_all(aw_loop *l)
{
    int32_t i;
    for (i = 0; i < l->slot_count; i++)
        if (l->slots[i].generation & 1)
            aw__cancel_task(l->slots[i].u.task, AW_ECANCELED);
}

void aw_loop_free(aw_loop *l)
{
    if (!l) return;
    l->draining = true;
    aw__cancel_all(l);
    while (l->tasks > 0 && aw__turn(l, AW_FOREVER) >= 0) {}
#ifndef ASYNCWEB_NO_THREADS
    aw__threads_free(l);
#endif
    aw__poll_close(l);
    aw__sys_wake_close(l->wake_read, l->wake_write);
    aw__mem_put(&l->mem, l->fds, (size_t)l->fd_cap * sizeof *l->fds);
    aw__mem_put(&l->mem, l->slots, (size_t)l->slot_cap * sizeof *l->slots);
    aw__mem_close(&l->mem);
    aw__plain_put(l);
}

static bool aw__loop_open(aw_loop *l)
{
    if (aw__poll_open(l) < 0) return false;
    if (aw__sys_wake_open(&l->wake_read, &l->wake_write) < 0) return false;
    if (aw__fd_open(l, l->wake_read, AW__FD_WAKE, NULL) < 0) return false;
    if (aw__fd_want(l, l->wake_read, AW_READ) < 0) return false;
#ifndef ASYNCWEB_NO_THREADS
    l->threads = aw__threads_new(l->wake_write);
    if (!l->threads) return false;
#endif
    return true;
}

aw_loop *aw_loop_new(const aw_loop_config *config)
{
    aw_loop *l = (aw_loop *)aw__plain_get(sizeof *l);
    if (!l) return NULL;
    memset(l, 0, sizeof *l);
    l->poller = l->wake_read = l->wake_write = -1;
    l->ready_tail = &l->ready;
    l->idle.ctx.loop = l;
    l->idle.ctx.flags = AW__STATIC_TASK;
    l->cleanup_ms = config && config->cleanup_ms ? config->cleanup_ms : 5000;
    l->max_task_bytes = config && config->max_task_bytes
        ? config->max_task_bytes : (size_t)1 << 20;
    if (config) {
        l->debug = config->debug;
        l->log = config->log;
        l->log_data = config->log_data;
    }
    aw__clock_read(l);
    aw__wheel_init(&l->wheel, l->now);
    l->on_fd[AW__FD_WAKE] = aw__on_wake;
    l->on_fd[AW__FD_TASKS] = aw__on_fd_tasks;
    if (aw__loop_open(l)) return l;
    aw_loop_free(l);
    return NULL;
}

void aw_loop_dump(aw_loop *l)
{
    int32_t i;
    for (i = 0; i < l->slot_count; i++) {
        const aw__task *t = l->slots[i].u.task;
        const aw_frame *f;
        if (!(l->slots[i].generation & 1)) continue;
        aw__log(l, AW_LOG_INFO, "task %d%s: %s%s for %u ms", (int)t->slot,
                t->unwind ? " (being cancelled)" : "",
                t->wait ? "waits for " : "ready", t->wait ? t->wait->what : "",
                (unsigned)((uint32_t)l->now - t->since));
        for (f = t->top; f; f = f->up)
            aw__log(l, AW_LOG_INFO, "    %s at %s:%u%s", f->fn->name,
                    f->fn->file,
                    (unsigned)(f->pc == AW__PC_FINALLY ? 0 : f->pc),
                    f->phase == AW__BODY ? "" : " (in FINALLY)");
    }
}

#ifdef __cplusplus
}
#endif
#endif /* ASYNCWEB_IMPLEMENTATION */
