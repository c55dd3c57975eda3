/* forwarded.c: what proxies say of a client. Whatever it is, a result is a
   piece of the input, of an allowed form, and no trusted address while a
   stranger's stands to the right of it; a list that a stranger has written in
   front of a true one changes nothing, or all is refused. */
#define ASYNCWEB_IMPLEMENTATION
#include "../../asyncweb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool x)
{
    if (!x) abort();
}

static void check(const aw__forwarded *f, const char *p, size_t n)
{
    aw__forwarded again;
    if (f->node.n) must(f->node.p >= p && f->node.p + f->node.n <= p + n);
    if (f->host.n) {
        must(f->host.p >= p && f->host.p + f->host.n <= p + n);
        must(aw__forwarded_host(f->host, &again));
    }
    if (f->node.n) must(aw__forwarded_node(f->node, true, &again));
    must(f->client.family == 0 || f->client.family == 4 ||
         f->client.family == 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static aw__net net;
    static const aw__nets nets = {&net, 1};
    static const char last[] = ", for=192.0.2.1;proto=https";
    char *text = (char *)malloc(size + sizeof last);
    aw__forwarded f;
    aw_slice in, none;
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    none = in = aw__slice(text, size);
    none.n = 0;
    must(!aw__net_read(aw__slice("10.0.0.0/8", 10), &net));
    if (aw__forwarded_read(in, &nets, &f) == 0) check(&f, text, size);
    if (aw__forwarded_read_x(in, none, none, &nets, &f) == 0)
        check(&f, text, size);
    if (aw__forwarded_read_x(none, in, in, &nets, &f) == 0)
        check(&f, text, size);
    (void)aw__net_read(in, &net);
    must(!aw__net_read(aw__slice("10.0.0.0/8", 10), &net));
    memcpy(text + size, last, sizeof last - 1);
    in = aw__slice(text, size + sizeof last - 1);
    if (aw__forwarded_read(in, &nets, &f) == 0)
        must(aw__slice_eq(f.node, "192.0.2.1") && f.proto[4] == 's');
    free(text);
    return 0;
}
