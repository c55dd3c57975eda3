/* fixed.c: ASYNCWEB_FIXED_MEMORY: the allocator against a model, then servers
   that live in a small buffer and are asked for more than it holds. */
#define ASYNCWEB_FIXED_MEMORY
#include "http.h"

/* ---- the heap against a model ---- */

/* Walks all blocks: they fill the heap, no two free ones lie side by side, the
   flags of neighbours agree, and what is free is as counted, and listed. */
static uint32_t heap_check(aw__heap *x)
{
    char *p = aw__heap_next(x->base, 1), *end = p + x->units * 16;
    uint32_t units = 0, free_units = 0, listed = 0, used = 0, at;
    bool was_free = false;
    for (; p < end; p = aw__heap_next(p, aw__heap_size(p))) {
        const uint32_t word = aw__heap_word(p - 4);
        const bool is_free = word & AW__HEAP_FREE;
        CHECK(aw__heap_size(p) > 0);
        CHECK_EQ(was_free, (word & AW__HEAP_BEHIND_FREE) != 0);
        CHECK(!(was_free && is_free));
        units += aw__heap_size(p);
        if (is_free) free_units += aw__heap_size(p);
        else used++;
        if (is_free)
            CHECK_EQ(aw__heap_size(p),
                     aw__heap_word(p + aw__heap_size(p) * 16 - 8));
        was_free = is_free;
        if (!aw__heap_size(p)) break;
    }
    CHECK(p == end);
    CHECK_EQ(was_free, (aw__heap_word(end - 4) & AW__HEAP_BEHIND_FREE) != 0);
    CHECK_EQ(x->units, units);
    CHECK_EQ(x->free, free_units);
    for (int c = 0; c <= aw__heap_class(x->units); c++) {
        CHECK_EQ(x->first[c] != 0, (x->some[c / 64] >> c % 64 & 1) != 0);
        for (at = x->first[c]; at;) {
            const char *block = x->base + at * 16;
            CHECK_EQ(c, aw__heap_class(aw__heap_size(block)));
            listed += aw__heap_size(block);
            at = aw__heap_word(block);
        }
    }
    CHECK_EQ(free_units, listed);
    return used;
}

typedef struct block {
    unsigned char *p;
    size_t n;
    unsigned char fill;
} block;

static void block_check(const block *b)
{
    size_t i = 0;
    while (i < b->n && b->p[i] == b->fill) i++;
    CHECK_EQ(b->n, i);
}

/* Mostly small, some up to half of the heap; 0 is a size, too. */
static size_t some_size(size_t all)
{
    switch (rnd(8)) {
        case 0: return rnd((uint32_t)(all / 2));
        case 1: return rnd((uint32_t)(all / 16));
        case 2: return rnd(20);
        default: return rnd(600);
    }
}

static void block_begin(block *b, void *p, size_t n)
{
    b->p = (unsigned char *)p;
    b->n = n;
    b->fill = (unsigned char)rnd(256);
    CHECK_EQ(0, (uintptr_t)p % 16);
    memset(p, b->fill, n);
}

static void block_resize(aw__mem *m, block *b, size_t n)
{
    void *p = aw__mem_resize(m, b->p, b->n, n);
    block kept = *b;
    if (!p) return;
    kept.p = (unsigned char *)p;
    kept.n = b->n < n ? b->n : n;
    block_check(&kept);
    block_begin(b, p, n);
}

/* Random blocks come, go and change their size, none touches another. A
   failure is only ever for want of a block that large; in the end all is one
   again. */
static void heap_play(size_t size, size_t misaligned, int steps)
{
    enum { BLOCKS = 64 };
    static block all[BLOCKS];
    char *buffer = (char *)malloc(size + misaligned);
    aw__mem m;
    memset(&m, 0, sizeof m);
    memset(all, 0, sizeof all);
    m.heap = aw__heap_open(buffer + misaligned, size);
    NOTE("%d bytes at %d", (int)size, (int)misaligned);
    CHECK(m.heap != NULL);
    if (!m.heap) return;
    CHECK_EQ(0, heap_check(m.heap));
    while (steps-- > 0) {
        block *b = &all[rnd(BLOCKS)];
        const size_t n = some_size(size);
        if (!b->p) {
            const size_t largest = aw__heap_largest(m.heap);
            void *p = aw__mem_get(&m, n);
            CHECK_EQ(p != NULL, n <= largest);
            if (p) block_begin(b, p, n);
        } else if (rnd(3) == 0) {
            block_check(b);
            block_resize(&m, b, n);
        } else {
            block_check(b);
            aw__mem_put(&m, b->p, b->n);
            b->p = NULL;
        }
        if (steps % 16 == 0) (void)heap_check(m.heap);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (all[i].p) block_check(&all[i]), aw__mem_put(&m, all[i].p, all[i].n);
    CHECK_EQ(0, heap_check(m.heap));
    CHECK_EQ(0, m.live);
    CHECK_EQ(m.heap->units, m.heap->free);
    CHECK_EQ(m.heap->units * 16 - 4, aw__heap_largest(m.heap));
    aw__heap_close(m.heap);
    memset(buffer, 0, size + misaligned);
    free(buffer);
}

TEST(heap_and_model)
{
    static const size_t sizes[] = {1400, 4096, 24576, 24577, 300000, 5000000};
    test_seed = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        heap_play(sizes[i], 0, (int)test_rounds(40000));
}

TEST(fixed_memory_misaligned)
{
    test_seed = 2;
    for (size_t i = 1; i < 33; i++) heap_play(9000, i, 300);
}

TEST(heap_too_small)
{
    char few[1200];
    for (size_t n = 0; n < sizeof few; n++) {
        aw__heap *x = aw__heap_open(few + n % 16, n - n % 16);
        if (x) CHECK_EQ(0, heap_check(x)), aw__heap_close(x);
        if (n < 1024) CHECK(x == NULL);
    }
    CHECK(aw__heap_open(NULL, 100000) == NULL);
}

/* What is asked for may be anything. */
TEST(heap_sizes_that_cannot_be)
{
    static char buffer[8192];
    aw__heap *x = aw__heap_open(buffer, sizeof buffer);
    void *p = aw__heap_get(x, 0);
    CHECK(p != NULL);
    CHECK(aw__heap_get(x, SIZE_MAX) == NULL);
    CHECK(aw__heap_get(x, SIZE_MAX - 15) == NULL);
    CHECK(aw__heap_get(x, SIZE_MAX / 2) == NULL);
    CHECK(aw__heap_get(x, (size_t)1 << 31) == NULL);
    CHECK(!aw__heap_resize(x, p, SIZE_MAX));
    CHECK(aw__heap_resize(x, p, 4000));
    aw__heap_put(x, p);
    CHECK_EQ(x->units, x->free);
    aw__heap_close(x);
}

/* Bodies of a sixth of the memory come and go a hundred thousand times among
   small blocks of which some stay for long: in the end as many bodies fit as in
   the beginning, less what the small ones take. */
TEST(heap_bursts)
{
    enum { SIZE = 1 << 20, SMALL = 400, LARGE = SIZE / 6 };
    static block small[SMALL];
    block large[4];
    char *buffer = (char *)malloc(SIZE);
    aw__heap *x = aw__heap_open(buffer, SIZE);
    int fits = 0, i;
    memset(small, 0, sizeof small);
    memset(large, 0, sizeof large);
    test_seed = 3;
    for (i = 0; i < 100000; i++) {
        block *b = rnd(4) ? &small[rnd(SMALL)] : &large[rnd(4)];
        /* Every tenth stays much longer. */
        if (b->p && (b < small || b >= small + SMALL || rnd(10) ||
                     (b - small) % 10)) {
            aw__heap_put(x, b->p);
            b->p = NULL;
        } else if (!b->p) {
            b->p = (unsigned char *)aw__heap_get(
                x, b >= small && b < small + SMALL ? rnd(600)
                    : LARGE / 2 + rnd(LARGE / 2));
            CHECK(b->p != NULL);
        }
    }
    (void)heap_check(x);
    for (i = 0; i < 4; i++) if (large[i].p) aw__heap_put(x, large[i].p);
    memset(large, 0, sizeof large);
    while (fits < 4 && (large[fits].p =
           (unsigned char *)aw__heap_get(x, LARGE * 9 / 10)) != NULL) fits++;
    CHECK_EQ(4, fits);
    for (i = 0; i < fits; i++) aw__heap_put(x, large[i].p);
    for (i = 0; i < SMALL; i++) if (small[i].p) aw__heap_put(x, small[i].p);
    CHECK_EQ(x->units, x->free);
    aw__heap_close(x);
    free(buffer);
}
