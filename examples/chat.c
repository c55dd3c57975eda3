/* chat.c: a chat in the browser: rooms by path, names, who is present.

   cc examples/chat.c -o chat && ./chat

   $ curl -s localhost:5000/room/lobby | grep '<title>'
   <title>Chat</title>

   Then open http://localhost:5000/ twice.
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

/* What goes over the socket, in lines of words between tabs:
     from the page      text
     to all in a room   says NAME TEXT, and here NAME NAME ... at each change */

typedef struct person {
    struct person *next;
    char name[60];
} person;

typedef struct chat_room {
    struct chat_room *next;
    aw_ws_room sockets;
    person *people;
    char name[60];
} chat_room;

typedef struct chat_rooms {
    chat_room *first;
} chat_rooms;

/* The room of that name; made when the first comes. NULL: out of memory. */
static chat_room *room_of(chat_rooms *all, const char *name)
{
    chat_room *room = all->first;
    while (room && strcmp(room->name, name) != 0) room = room->next;
    if (room) return room;
    room = (chat_room *)calloc(1, sizeof *room);
    if (!room) return NULL;
    snprintf(room->name, sizeof room->name, "%s", name);
    room->next = all->first;
    all->first = room;
    return room;
}

static void tell_who_is_here(chat_room *room)
{
    char line[4000] = "here";
    size_t n = 4;
    for (person *p = room->people; p && n < sizeof line - 70; p = p->next)
        n += (size_t)snprintf(line + n, sizeof line - n, "\t%s", p->name);
    aw_ws_broadcast(&room->sockets, line, n);
}

static void tell(chat_room *room, const person *who, const aw_ws_message *msg)
{
    char line[4100];
    int n = snprintf(line, sizeof line, "says\t%s\t%s", who->name, msg->data);
    aw_ws_broadcast(&room->sockets, line, (size_t)n);
}

static void come(chat_room *room, person *me)
{
    me->next = room->people;
    room->people = me;
    tell_who_is_here(room);
}

/* The last one turns off the light. */
static void go(chat_rooms *all, chat_room *room, person *me, aw_ws *ws)
{
    person **p = &room->people;
    chat_room **r = &all->first;
    while (*p != me) p = &(*p)->next;
    *p = me->next;
    aw_ws_leave(&room->sockets, ws);
    tell_who_is_here(room);
    if (room->people) return;
    while (*r != room) r = &(*r)->next;
    *r = room->next;
    free(room);
}

/* A name fits, and would not be taken for something else. */
static bool is_name(const char *name)
{
    return name && *name && strlen(name) < sizeof((person *)0)->name &&
        !name[strcspn(name, "\t\r\n")];
}

WS_VIEW(chat, chat_room *room; person me; aw_ws_message msg; int rc;)
{
    chat_rooms *all = AW_STATE(chat_rooms);
    BEGIN {
        if (!is_name(aw_query(req, "name")) || !is_name(aw_param(req, "room")))
            RETURN(aw_error(req, 400, "Who, and where?"));
        strcpy(self->me.name, aw_query(req, "name"));
        self->room = room_of(all, aw_param(req, "room"));
        if (!self->room) RETURN(AW_ENOMEM);
        self->rc = aw_ws_join(&self->room->sockets, ws);
        come(self->room, &self->me);
        while (self->rc >= 0) {
            AWAIT_TO(self->rc, aw_ws_recv, ws, &self->msg);
            if (self->rc <= 0) break;
            tell(self->room, &self->me, &self->msg);
        }
        RETURN(self->rc);
    } FINALLY {
        if (self->room) go(all, self->room, &self->me, ws);
    }
}

static const char css[] =
    "* { box-sizing: border-box; margin: 0 }\n"
    "body { font: 16px/1.45 system-ui, sans-serif; height: 100vh;\n"
    "  display: grid; grid: auto 1fr auto / 1fr 200px; color: #222;\n"
    "  background: #f4f5f7 }\n"
    "header { grid-column: 1 / 3; padding: 12px 20px; background: #29434e;\n"
    "  color: #fff; display: flex; gap: 12px; align-items: baseline }\n"
    "header b { font-size: 20px }\n"
    "#state { margin-left: auto; font-size: 13px; opacity: .75 }\n"
    "#talk { overflow-y: auto; padding: 20px; display: flex;\n"
    "  flex-direction: column; gap: 8px }\n"
    "#talk p { max-width: 75%; padding: 7px 13px; border-radius: 14px;\n"
    "  background: #fff; box-shadow: 0 1px 2px #0002; width: fit-content;\n"
    "  overflow-wrap: anywhere; white-space: pre-wrap }\n"
    "#talk p.mine { align-self: end; background: #d7ecd9 }\n"
    "#talk p.news { align-self: center; background: none; color: #777;\n"
    "  box-shadow: none; font-size: 13px; padding: 0 }\n"
    "#talk small { display: block; font-weight: 600 }\n"
    "aside { padding: 20px; background: #fff; border-left: 1px solid #ddd;\n"
    "  overflow-y: auto }\n"
    "ul { padding: 0 }\n"
    "aside h2 { font-size: 13px; color: #777; font-weight: 500 }\n"
    "aside li { list-style: none; padding: 4px 0 }\n"
    "aside li::before { content: ''; display: inline-block; width: 8px;\n"
    "  height: 8px; border-radius: 4px; background: #4caf50;\n"
    "  margin-right: 8px }\n"
    "form { grid-column: 1 / 3; display: flex; gap: 10px; padding: 14px 20px;\n"
    "  background: #fff; border-top: 1px solid #ddd }\n"
    "input { flex: 1; font: inherit; padding: 9px 14px; border-radius: 20px;\n"
    "  border: 1px solid #bbb; min-width: 0 }\n"
    "button { font: inherit; padding: 9px 20px; border: 0; color: #fff;\n"
    "  border-radius: 20px; background: #29434e }\n"
    "@media (max-width: 600px) { aside { display: none }\n"
    "  #talk { grid-column: 1 / 3 } }\n";

static const char page[] =
    "<!doctype html><html lang=en><meta charset=utf-8>\n"
    "<meta name=viewport content='width=device-width'>\n"
    "<title>Chat</title>\n"
    "<link rel=stylesheet href=/chat.css>\n"
    "<header><b id=room></b><span id=who></span><span id=state></span></header>"
    "\n<div id=talk></div>\n"
    "<aside><h2>Here</h2><ul id=here></ul></aside>\n"
    "<form><input id=text autocomplete=off maxlength=2000 autofocus\n"
    "  placeholder='Your name'><button>Send</button></form>\n"
    "<script>\n"
    "const at = id => document.getElementById(id)\n"
    "const color = s => 'hsl(' + [...s].reduce((h, c) =>\n"
    "  (h * 31 + c.codePointAt(0)) % 360, 7) + ' 60% 35%)'\n"
    "const path = location.pathname\n"
    "let name = sessionStorage.getItem('name'), socket, here = [], wait = 500\n"
    "at('room').textContent = decodeURIComponent(path.split('/')[2])\n"
    "function show(text, kind, who) {\n"
    "  const p = document.createElement('p')\n"
    "  p.className = kind\n"
    "  if (who) {\n"
    "    const small = p.appendChild(document.createElement('small'))\n"
    "    small.textContent = who\n"
    "    small.style.color = color(who)\n"
    "  }\n"
    "  p.append(text)\n"
    "  at('talk').append(p)\n"
    "  p.scrollIntoView()\n"
    "}\n"
    "function present(names) {\n"
    "  const came = names.filter(n => !here.includes(n))\n"
    "  const went = here.filter(n => !names.includes(n))\n"
    "  if (here.length) {\n"
    "    came.forEach(n => show(n + ' has come', 'news'))\n"
    "    went.forEach(n => show(n + ' has gone', 'news'))\n"
    "  }\n"
    "  here = names\n"
    "  at('here').replaceChildren(...names.sort().map(n => {\n"
    "    const li = document.createElement('li')\n"
    "    li.textContent = n\n"
    "    return li\n"
    "  }))\n"
    "}\n"
    "function connect() {\n"
    "  at('who').textContent = 'as ' + name\n"
    "  at('text').placeholder = 'Message'\n"
    "  socket = new WebSocket(location.origin.replace(/^http/, 'ws') + path +\n"
    "    '/socket?name=' + encodeURIComponent(name))\n"
    "  socket.onopen = () => { at('state').textContent = 'connected'\n"
    "    wait = 500 }\n"
    "  socket.onmessage = m => {\n"
    "    const [what, ...rest] = m.data.split('\\t')\n"
    "    if (what === 'here') return present(rest)\n"
    "    const who = rest.shift()\n"
    "    show(rest.join('\\t'), who === name ? 'mine' : '', who)\n"
    "  }\n"
    "  socket.onclose = () => {\n"
    "    at('state').textContent = 'no connection, trying again'\n"
    "    here = []\n"
    "    setTimeout(connect, wait = Math.min(wait * 2, 20000))\n"
    "  }\n"
    "}\n"
    "document.forms[0].onsubmit = e => {\n"
    "  const text = at('text').value.trim()\n"
    "  e.preventDefault()\n"
    "  if (!text) return\n"
    "  at('text').value = ''\n"
    "  if (name && socket.readyState === 1) return socket.send(text)\n"
    "  if (name) return\n"
    "  sessionStorage.setItem('name', name = text.slice(0, 14))\n"
    "  connect()\n"
    "}\n"
    "if (name) connect()\n"
    "</script>\n";

VIEW(index) { return aw_redirect(req, "/room/lobby"); }
VIEW(style) { return aw_bytes_static(req, "text/css", css, sizeof css - 1); }
VIEW(room)
{
    return aw_bytes_static(req, "text/html; charset=utf-8", page,
                           sizeof page - 1);
}

ROUTES(app,
    GET("/", index),
    GET("/chat.css", style),
    GET("/room/<room>", room),
    WS("/room/<room>/socket", chat, .max_message = 4000))

int main(int argc, char **argv)
{
    static chat_rooms rooms;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &rooms);
}
