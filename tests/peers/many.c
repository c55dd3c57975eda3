/* many.c: requests with random bodies, many at a time, each framed and read in
   one way or another; what comes back has to be what was sent.

   many URL COUNT AT_A_TIME    the server at URL echoes bodies, and X-Id
*/
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"

enum { MOST = 100000 };

static struct {
    const char *url;
    aw_client *client;
    long count, begun, right, wrong;
    int64_t bytes;
    uint64_t chance;
    char noise[2 * MOST];
} all;

static size_t below(size_t n)
{
    all.chance = all.chance * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)((all.chance >> 33) % n);
}

/* Most are small, some empty, a few much larger than any buffer. */
static size_t some_size(void)
{
    const size_t dice = below(100);
    return dice < 5 ? 0 : dice < 90 ? below(2000) : dice < 99 ? below(20000)
                                                              : below(MOST);
}

static void wrong(const char *id, const char *why)
{
    if (all.wrong++ < 5) fprintf(stderr, "%s: %s\n", id, why);
}

/* One of them. Its body is all.noise from `at` on. */
ASYNC(one, (long number;), aw_response *reply; const char *data; size_t size,
      at, n; int rc, how; char id[24]; aw_header_field fields[2];
      char url[300]; char came[MOST]; char some[5000];)
{
    BEGIN {
        self->how = (int)below(16);
        self->size = some_size();
        self->data = self->size ? all.noise + below(MOST) : "";
        snprintf(self->id, sizeof self->id, "%ld", self->number);
        snprintf(self->url, sizeof self->url, "%s%s", all.url,
                 self->how & 1 ? "?chunked" : "");
        self->fields[0].name = "X-Id";
        self->fields[0].value = self->id;
        /* .send is for those with a body; so is half of the rest. */
        AWAIT_TO(self->rc, aw_fetch, .out = &self->reply, .url = self->url,
                 .method = self->how & 2 ? "PUT" : "POST",
                 .headers = self->fields, .client = all.client,
                 .body = self->how < 4 ? NULL : self->data,
                 .body_len = self->how < 2 ? 0 : self->size,
                 .send = self->how < 4, .stream = self->how % 4 == 3);
        for (self->at = 0; self->how < 4 && self->rc >= 0 &&
             self->at < self->size; self->at += self->n) {
            self->n = 1 + below(5000);
            if (self->n > self->size - self->at)
                self->n = self->size - self->at;
            AWAIT_TO(self->rc, aw_fetch_send, self->reply,
                     self->data + self->at, self->n);
        }
        if (self->how < 4 && self->rc >= 0)
            AWAIT_TO(self->rc, aw_fetch_end, self->reply);
        self->n = 0;
        while (self->how % 4 == 3 && self->rc > 0) {
            AWAIT_TO(self->rc, aw_response_read, self->reply, self->some,
                     1 + below(sizeof self->some));
            if (self->rc <= 0) break;
            if (self->n + (size_t)self->rc > self->size) break;
            memcpy(self->came + self->n, self->some, (size_t)self->rc);
            self->n += (size_t)self->rc;
        }
    } FINALLY {
        const aw_response *r = self->reply;
        const bool pieces = self->how % 4 == 3;
        const char *id = aw_response_header(r, "X-Id");
        if (self->rc < 0) wrong(self->id, aw_strerror(self->rc));
        else if (!r || r->status != 200) wrong(self->id, "not 200");
        else if (!id || strcmp(id, self->id) != 0) wrong(self->id, "another's");
        else if ((pieces ? self->n : r->body_len) != self->size ||
                 memcmp(pieces ? self->came : r->body, self->data,
                        self->size) != 0) wrong(self->id, "another body");
        else all.right++, all.bytes += (int64_t)self->size;
        aw_response_free(self->reply);
    }
}

ASYNC(worker, ())
{
    BEGIN {
        while (all.begun < all.count) AWAIT(one, all.begun++);
    }
}

ASYNC(work, (int at_a_time;), int i;)
{
    BEGIN {
        for (self->i = 0; self->i < self->at_a_time; self->i++) START(worker);
        GATHER();
    }
}

int main(int argc, char **argv)
{
    aw_loop *loop = aw_loop_new(NULL);
    aw_client_config config = {.max_connections = 1000, .max_per_origin = 1000};
    int64_t start;
    double s;
    if (argc != 4 || !loop) return 2;
    all.url = argv[1];
    all.count = atol(argv[2]);
    all.chance = (uint64_t)getpid();
    all.client = aw_client_new(loop, &config);
    if (!all.client) return 2;
    for (size_t i = 0; i < sizeof all.noise; i++)
        all.noise[i] = (char)below(256);
    start = aw_now_ms(loop);
    SPAWN_ON(loop, work, atoi(argv[3]));
    aw_loop_run(loop);
    s = (double)(aw_now_ms(loop) - start) / 1000;
    printf("%ld right, %ld wrong, %.1f s, %.0f requests/s, %.0f MB each way\n",
           all.right, all.wrong, s, (double)all.count / s,
           (double)all.bytes / 1e6);
    aw_loop_free(loop);
    return all.right == all.count && !all.wrong ? 0 : 1;
}
