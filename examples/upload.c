/* upload.c: files of any size to disk, in flat memory. A client that is faster
   than the disk waits; of one that leaves, nothing stays behind.

   cc examples/upload.c -o upload && ./upload

   $ printf hello | curl -s -T - localhost:5000/up/hello.txt
   hello.txt: 5 bytes
   $ cat uploads/hello.txt
   hello
   $ curl -s -F 'file=@uploads/hello.txt;filename=/tmp/copy.txt' localhost:5000
   copy.txt: 5 bytes
   $ cmp uploads/hello.txt uploads/copy.txt
   $ printf x | curl -s -T - localhost:5000/up/.profile
   <!doctype html>...no such name...
   $ curl -s localhost:5000/progress
   {}
   $ ls -A uploads
   copy.txt
   hello.txt
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"
#include <sys/stat.h>

typedef struct upload {
    struct upload *next;
    const char *name;
    int64_t got;
} upload;

typedef struct state { upload *first; } state;

static upload **find(state *s, const char *name)
{
    upload **u = &s->first;
    while (*u && strcmp((*u)->name, name) != 0) u = &(*u)->next;
    return u;
}

/* Files are always ready, so this blocks for as long as the disk needs: not
   long, as the kernel takes it into memory first. For a slow disk: aw_thread.
   */
static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* The body, or its part that has come, becomes uploads/<name>. Until it is
   complete it has another name, which FINALLY takes away: also when the client
   goes, which cancels the read. */
ASYNC(store, (aw_req *req; const char *name; bool part;),
      upload me; const char *path, *temporary; bool open; int fd; int n;
      char some[65536];)
{
    BEGIN {
        if (*self->name == '.' || strchr(self->name, '/'))
            RETURN(aw_error(self->req, 400, "no such name"));
        if (*find(AW_STATE(state), self->name))
            RETURN(aw_error(self->req, 409, "this file is being uploaded"));
        self->path = aw_format(self->req, "uploads/%s", self->name);
        self->temporary = aw_format(self->req, "uploads/.%s.part", self->name);
        if (!self->path || !self->temporary) RETURN(AW_ENOMEM);
        self->fd = open(self->temporary, O_CREAT | O_TRUNC | O_WRONLY, 0666);
        if (self->fd < 0) RETURN(AW_HTTP(507));
        self->open = true;
        self->me.name = self->name;
        *find(AW_STATE(state), self->name) = &self->me;
        do {
            if (self->part)
                AWAIT_TO(self->n, aw_part_read, self->req, self->some,
                         sizeof self->some);
            else
                AWAIT_TO(self->n, aw_body_read, self->req, self->some,
                         sizeof self->some);
            if (self->n < 0) RETURN(self->n);
            if (!write_all(self->fd, self->some, (size_t)self->n))
                RETURN(AW_HTTP(507));
            self->me.got += self->n;
        } while (self->n > 0);
        if (rename(self->temporary, self->path) != 0) RETURN(AW_HTTP(507));
        RETURN(aw_printf(self->req, "%s: %lld bytes\n", self->name,
                         (long long)self->me.got));
    } FINALLY {
        if (self->open) {
            close(self->fd);
            unlink(self->temporary);        /* gone, if it was renamed */
            *find(AW_STATE(state), self->name) = self->me.next;
        }
    }
}

ASYNC_VIEW(put)
{
    BEGIN { AWAIT(store, req, aw_param(req, "name"), false); RETURN(200); }
}

ASYNC_VIEW(form, aw_part part; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            if (self->n <= 0) break;
            if (self->part.filename && *self->part.filename)
                AWAIT(store, req, self->part.safe_name, true);
        }
        RETURN(self->n < 0 ? self->n : 200);
    }
}

VIEW(page)
{
    return aw_html(req, "<!doctype html><title>Upload</title>"
        "<form method=post enctype=multipart/form-data>"
        "<input type=file name=file multiple> <button>Upload</button></form>");
}

VIEW(progress)
{
    aw_json_writer *w = aw_json_begin(req);
    const upload *u;
    aw_put_object(w, NULL);
    for (u = AW_STATE(state)->first; u; u = u->next)
        aw_put_int(w, u->name, u->got);
    aw_put_end(w);
    return aw_json_send(w);
}

static int start(aw_loop *loop, void *data)
{
    (void)loop, (void)data;
    return mkdir("uploads", 0777) < 0 && errno != EEXIST ? AW_EACCES : 0;
}

ROUTES(app,
    GET("/", page), GET("/progress", progress),
    POST("/", form, .stream = true, .max_body = AW_OFF),
    PUT("/up/<name>", put, .stream = true, .max_body = AW_OFF))

int main(int argc, char **argv)
{
    static state s;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &s,
                  .on_start = start);
}
