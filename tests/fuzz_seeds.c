/* fuzz_seeds.c: every fuzz target in one program. With test.h it replays their
   seeds, so that what a fuzzer once found stays found without one. With FUZZER
   it is the fuzzer, of the target that the program is named after. */
#ifdef FUZZER
#include "fuzz/fuzz.h"
#else
#include "test.h"
#endif
#include <dirent.h>
#include "../build/fuzz/targets.h"

#ifdef FUZZER

typedef int fuzz_target(const uint8_t *data, size_t n);
static fuzz_target *target;

#define NAMED(name) if (strcmp(program, #name) == 0) target = fuzz_##name;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *slash = strrchr(**argv, '/');
    const char *program = slash ? slash + 1 : **argv;
    (void)argc;
    FUZZ_TARGETS(NAMED)
    if (!target) fprintf(stderr, "%s: no such target\n", program), exit(2);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return target(data, n);
}

#else

static void replay_file(const char *path,
                        int (*target)(const uint8_t *, size_t))
{
    static uint8_t bytes[1 << 16];
    const char *test = test_.running;
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    uint8_t *exact = (uint8_t *)malloc(n ? n : 1);
    CHECK(f != NULL && n < sizeof bytes);
    if (f) fclose(f);
    memcpy(exact, bytes, n);
    test_.running = path;       /* said if it crashes */
    target(exact, n);
    test_.running = test;
    free(exact);
}

/* The seeds, and nothing. */
static void replay(const char *name, int (*target)(const uint8_t *, size_t))
{
    char path[600];
    struct dirent *entry;
    int seeds = 0;
    DIR *dir;
    snprintf(path, sizeof path, "tests/fuzz/%s", name);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "tests/fuzz/%s/%s", name, entry->d_name);
        replay_file(path, target);
        seeds++;
    }
    if (dir) closedir(dir);
    NOTE("tests/fuzz/%s", name);
    CHECK(seeds > 0);
    target((const uint8_t *)"", 0);
}

#define REPLAYED(name) TEST(name) { replay(#name, fuzz_##name); }
FUZZ_TARGETS(REPLAYED)

#endif
