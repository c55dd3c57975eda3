/* json_api.c: a small REST API. A todo that is done is deleted.

   cc examples/json_api.c -o json_api && ./json_api

   $ curl -s localhost:5000/todos -d '{"title":"milk"}'
   {"id":0,"title":"milk"}
   $ curl -s localhost:5000/todos
   [{"id":0,"title":"milk"}]
   $ curl -sf localhost:5000/todos/0 -X DELETE
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

typedef struct todos { char title[100][80]; } todos;    /* "": free */

VIEW(list)
{
    const todos *t = AW_STATE(todos);
    aw_json_writer *w = aw_json_begin(req);
    aw_put_array(w, NULL);
    for (int i = 0; i < 100; i++) {
        if (!*t->title[i]) continue;
        aw_put_object(w, NULL);
        aw_put_int(w, "id", i);
        aw_put_str(w, "title", t->title[i]);
        aw_put_end(w);
    }
    aw_put_end(w);
    return aw_json_send(w);
}

VIEW(create)
{
    todos *t = AW_STATE(todos);
    const char *title = aw_json_str(aw_json_get(aw_req_json(req), "title"), "");
    int i = 0;
    if (!*title || strlen(title) > 79) return aw_error(req, 400, "no title");
    while (*t->title[i]) if (++i == 100) return aw_error(req, 409, "full");
    strcpy(t->title[i], title);     /* the request's memory ends with it */
    aw_status(req, 201);
    return aw_json_object(req, aw_int("id", i), aw_str("title", title));
}

VIEW(done)
{
    todos *t = AW_STATE(todos);
    int64_t i = aw_param_int(req, "id");
    if (i >= 100 || !*t->title[i]) return aw_error(req, 404, "no such todo");
    *t->title[i] = 0;
    return aw_empty(req, 204);
}

ROUTES(app, GET("/todos", list), POST("/todos", create),
    DELETE("/todos/<int:id>", done))

int main(int argc, char **argv)
{
    static todos t;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &t);
}
