/* json.c: MB/s to read a JSON text into a tree and to write the tree as text.

   json make KB    prints a text of that size
   json FILE       reads and writes it: read;write (MB/s, medians)

   With -DCJSON or -DYYJSON it is that library that does it.
*/
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(CJSON)
#include <cjson/cJSON.h>
#elif defined(YYJSON)
#include "yyjson.h"
#else
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"
#endif

enum { ROUNDS = 15 };

/* read: a tree, or NULL; write: its text, *n bytes. */
#if defined(CJSON)
typedef cJSON *tree;
#define read_it(p, n) cJSON_ParseWithLength((p), (n))
#define drop_tree(t) cJSON_Delete(t)
static char *written;
static size_t write_it(tree t)
{
    written = cJSON_PrintUnformatted(t);
    return written ? strlen(written) : 0;
}
static void drop_text(void) { free(written); }

#elif defined(YYJSON)
typedef yyjson_doc *tree;
#define read_it(p, n) yyjson_read((p), (n), 0)
#define drop_tree(t) yyjson_doc_free(t)
static char *written;
static size_t write_it(tree t)
{
    size_t n = 0;
    written = yyjson_write(t, 0, &n);
    return n;
}
static void drop_text(void) { free(written); }

#else
typedef const aw_value *tree;
static aw_json_doc in, out;
static const char *written;
#define read_it(p, n) aw_json_parse(&in, (p), (n))
#define drop_tree(t) aw_json_free(&in)
static size_t write_it(tree t)
{
    aw_json_writer *w = aw_json_write(&out);
    size_t n = 0;
    aw_put_value(w, NULL, t);
    written = aw_json_text(w, &n);
    return n;
}
static void drop_text(void) { aw_json_free(&out); }

/* What an interface answers: text, some of it not ASCII or escaped, numbers of
   all kinds, nesting. */
static int make(size_t size)
{
    static const char *const names[] = {
        "Ada Lovelace", "J\xc3\xbcrgen \"J\" Schmidt", "\xe5\xb1\xb1\xe7\x94\xb0",
        "a line\nand another", "C:\\path\\file", "plain text of some length"};
    aw_json_doc doc = {NULL};
    aw_json_writer *w = aw_json_write(&doc);
    uint64_t chance = 1;
    int64_t i;
    int k;

    /* An item has about 266 bytes. */
    aw_put_array(w, NULL);
    for (i = 0; i < (int64_t)size / 266; i++) {
        aw_put_object(w, NULL);
        aw_put_int(w, "id", i);
        aw_put_str(w, "name", names[i % 6]);
        aw_put_str(w, "text", "The quick brown fox jumps over the lazy dog, and "
                              "then it sleeps for a second.");
        aw_put_bool(w, "active", i % 3 == 0);
        aw_put_null(w, "parent");
        aw_put_array(w, "point");
        for (k = 0; k < 4; k++) {
            chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
            aw_put_double(w, NULL, (double)(chance >> 40) / (k < 2 ? 1e4 : 7));
        }
        aw_put_end(w);
        aw_put_object(w, "counts");
        aw_put_int(w, "seen", (int64_t)(chance >> 44));
        aw_put_int(w, "liked", (int64_t)(chance >> 56));
        aw_put_double(w, "share", 0.25);
        aw_put_end(w);
        aw_put_end(w);
    }
    aw_put_end(w);
    size = 0;
    written = aw_json_text(w, &size);
    if (written) fwrite(written, 1, size, stdout);
    aw_json_free(&doc);
    return written == NULL;
}
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static char *file(const char *name, size_t *n)
{
    FILE *f = fopen(name, "rb");
    char *text = (char *)malloc(16 << 20);

    *n = f && text ? fread(text, 1, (16 << 20) - 1, f) : 0;
    if (f) fclose(f);
    if (*n == 0) exit(1);
    text[*n] = '\0';
    return text;
}

/* What is written reads back, and is written the same again. */
static bool is_right(const char *text, size_t n)
{
    tree t = read_it(text, n);
    const size_t size = t ? write_it(t) : 0;
    char *copy = (char *)malloc(size + 1);
    bool same;

    if (size == 0 || !copy) return false;
    memcpy(copy, written, size);
    drop_text();
    drop_tree(t);
    t = read_it(copy, size);
    same = t && write_it(t) == size && memcmp(copy, written, size) == 0;
    drop_text();
    drop_tree(t);
    free(copy);
    return same;
}

int main(int argc, char **argv)
{
    double reads[ROUNDS], writes[ROUNDS], begun;
    size_t n, size;
    char *text;
    tree t;
    int i;

#if !defined(CJSON) && !defined(YYJSON)
    if (argc > 2) return make((size_t)atoi(argv[2]) * 1000);
#endif
    if (argc < 2) return 2;
    text = file(argv[1], &n);
    if (!is_right(text, n)) return 1;
    for (i = 0; i < ROUNDS; i++) {
        begun = now();
        t = read_it(text, n);
        drop_tree(t);
        reads[i] = (double)n * 1000 / (now() - begun);
        t = read_it(text, n);
        begun = now();
        size = write_it(t);
        drop_text();
        writes[i] = (double)size * 1000 / (now() - begun);
        drop_tree(t);
    }
    qsort(reads, ROUNDS, sizeof *reads, by_size);
    qsort(writes, ROUNDS, sizeof *writes, by_size);
    printf("%.0f;%.0f\n", reads[ROUNDS / 2], writes[ROUNDS / 2]);
    free(text);
    return 0;
}
