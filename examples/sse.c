/* sse.c: a page whose bar follows a task in the background, without asking.
   Open http://localhost:5000/ in several windows: all of them see the same job.

   cc examples/sse.c -o sse && ./sse

   $ curl -s -X POST localhost:5000/start
   started
   $ curl -s -X POST -o /dev/null -w '%{http_code}\n' localhost:5000/start
   409
   $ curl -sN localhost:5000/events | tail -n 3
   event: done
   data: 100
*/
#define ASYNCWEB_STATIC
#include "../asyncweb.h"

typedef struct job {
    int percent;
    bool running;
    aw_event changed;
} job;

/* Belongs to the application: it goes on when nobody looks any more. */
ASYNC(work, (job *j;))
{
    BEGIN {
        for (self->j->percent = 0; self->j->percent < 100;) {
            AWAIT(aw_sleep_ms, 30);
            self->j->percent++;
            aw_event_pulse(&self->j->changed);
        }
    } FINALLY {
        self->j->running = false;
    }
}

VIEW(start)
{
    job *j = AW_STATE(job);
    aw_task task;
    if (j->running) return aw_error(req, 409, "it runs already");
    task = SPAWN(work, j);
    if (aw_failed(task)) return aw_failed(task);
    j->running = true;
    return aw_text(req, "started\n");
}

/* How far it is, now and whenever that changes. A slow client gets fewer
   events, not late ones. One that leaves ends the view. */
ASYNC_VIEW(events, int seen;)
{
    job *j = AW_STATE(job);
    BEGIN {
        self->seen = aw_sse_begin(req);
        if (self->seen < 0) RETURN(self->seen);
        for (self->seen = -1; self->seen < 100;) {
            char text[16];
            while (self->seen == j->percent)
                AWAIT(aw_event_wait, &j->changed);
            self->seen = j->percent;
            snprintf(text, sizeof text, "%d", self->seen);
            AWAIT(aw_sse_send, req, self->seen < 100 ? NULL : "done", text);
        }
    }
}

static const char page[] =
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta name=viewport content='width=device-width'><title>Job</title>\n"
    "<style>\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;"
    "font:16px/1.5 system-ui,sans-serif;color:#1d2733;"
    "background:linear-gradient(135deg,#dfe9f3,#f7f3ee)}\n"
    "main{width:min(30rem,92vw);padding:2rem;border-radius:1rem;"
    "background:#fff;box-shadow:0 1rem 3rem #1d273322}\n"
    "h1{margin:0;font-size:1.1rem}\n"
    "p{margin:.2rem 0 1.2rem;color:#667}\n"
    "output{float:right;font-size:1.1rem;font-variant-numeric:tabular-nums}\n"
    "#track{height:.9rem;border-radius:.45rem;background:#e8edf2;"
    "overflow:hidden}\n"
    "#bar{height:100%;width:0;border-radius:inherit;background:#2f7de1;"
    "transition:width .15s linear,background .4s}\n"
    ".done #bar{background:#1f9d61}\n"
    "button{margin-top:1.5rem;padding:.6rem 1.4rem;border:0;"
    "border-radius:.5rem;font:inherit;color:#fff;background:#1d2733;"
    "cursor:pointer}\n"
    "button:disabled{opacity:.35;cursor:default}\n"
    "</style>\n"
    "<main><output>0 %</output><h1>A job in the background</h1>"
    "<p id=say>Ready.</p>"
    "<div id=track role=progressbar aria-valuemin=0 aria-valuemax=100>"
    "<div id=bar></div></div><button>Start</button></main>\n"
    "<script>\n"
    "const $=s=>document.querySelector(s),button=$('button')\n"
    "function show(n,say,done){\n"
    "  $('output').value=n+' %'\n"
    "  $('#bar').style.width=n+'%'\n"
    "  $('#track').setAttribute('aria-valuenow',n)\n"
    "  $('#say').textContent=say\n"
    "  $('main').classList.toggle('done',done)\n"
    "  button.disabled=!done&&n>0\n"
    "}\n"
    "function follow(){\n"
    "  const events=new EventSource('/events')\n"
    "  events.onmessage=e=>show(+e.data,+e.data?'Working ...':'Ready.',false)\n"
    "  events.addEventListener('done',e=>{\n"
    "    show(100,'Done.',true)\n"
    "    events.close()\n"
    "  })\n"
    "}\n"
    "button.onclick=async()=>{\n"
    "  const again=$('main').classList.contains('done')\n"
    "  button.disabled=true\n"
    "  await fetch('/start',{method:'POST'})\n"
    "  if(again)follow()\n"
    "}\n"
    "follow()\n"
    "</script></html>\n";

VIEW(index)
{
    return aw_bytes_static(req, "text/html; charset=utf-8", page,
                           sizeof page - 1);
}

ROUTES(app, GET("/", index), POST("/start", start), GET("/events", events))

int main(int argc, char **argv)
{
    static job j;
    return aw_run(app, .port = argc > 1 ? atoi(argv[1]) : 5000, .data = &j);
}
