/* misuse.h: what the cases in this directory need. Each shows one mistake (or
   a thing that looks like one); its first comment says what has to happen:
     refused: PATTERN    the compiler says so (a warning counts, -Werror)
     aborts: PATTERN     it stops with this on stderr
     runs                it is fine; it ends with 0
   `by: COMPILER...` names those that see it, `flags: ...` what they need;
   -DFULL says that the mistake shows in the implementation only. What runs is
   linked with an implementation that was compiled once: -DLINKED. */
#if !defined(DECLARATIONS) && !defined(LINKED)
#define ASYNCWEB_IMPLEMENTATION
#endif
#include "../../asyncweb.h"

#include <stdio.h>
#include <string.h>

int get(void);
int use(int x);
void sink(const char *text);

#ifdef DECLARATIONS
#define MAIN
#else
int get(void) { return 7; }
int use(int x) { return printf("%d\n", x); }
void sink(const char *text) { puts(text); }

/* Runs async function m with debug checks. */
#define MAIN \
    int main(void) \
    { \
        aw_loop_config config; \
        aw_loop *l; \
        int rc; \
        memset(&config, 0, sizeof config); \
        config.debug = true; \
        l = aw_loop_new(&config); \
        if (!l) return 1; \
        SPAWN_ON(l, m); \
        rc = aw_loop_run(l); \
        aw_loop_free(l); \
        return rc < 0; \
    }
#endif
