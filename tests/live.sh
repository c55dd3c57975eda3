#!/bin/bash
# What the README promises, seen on real sockets with a real clock: many clients
# at once, a stop under load, memory after a burst, system calls a request.
# Needs cc; curl, strace and valgrind for their parts. Takes about half a minute.

. "$(dirname "$0")/lib.sh"

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    if "$@" >"$tmp/said" 2>&1; then ok; echo "ok $what: $(cat "$tmp/said")"
    else bad "$what" "$(cat "$tmp/said")"; fi
}

# serve PROGRAM [WRAPPER...]: starts it on a free port; sets $port and $pid.
serve() {
    local program=$1 try
    shift
    "$@" "$program" -1 >"$tmp/log" 2>&1 &
    pid=$!
    for try in $(seq 100); do
        port=$(sed -n 's|^asyncweb: http://[^ ]*:\([0-9]*\).*|\1|p' "$tmp/log")
        if [ -n "$port" ]; then return; fi
        sleep 0.1
    done
    cat "$tmp/log"
}

# stop: SIGTERM; the exit status is the server's.
stop() { kill -TERM "$pid"; wait "$pid"; }

rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }

burst_in_time() {
    local ms
    "$tmp/load" "$port" /async-view 2000 >"$tmp/out" || { cat "$tmp/out"; return 1; }
    ms=$(sed 's/.*after \([0-9]*\) ms.*/\1/' "$tmp/out")
    echo "2,000 clients, each view sleeps 2 s: the last answer after $ms ms"
    [ "$ms" -le 2600 ]
}

task_outlives_client() {
    local answer try
    answer=$(curl -s -m 2 "localhost:$port/start-task") || return
    [ "$answer" = "Task started!" ] || return
    if grep -q completed "$tmp/log"; then echo "too early"; return 1; fi
    for try in $(seq 70); do
        if grep -q 'Background task completed!' "$tmp/log"; then return 0; fi
        sleep 0.1
    done
    return 1
}

upstream_down() {
    UPSTREAM=http://127.0.0.1:1/ serve "$tmp/article"
    [ "$(curl -s -o "$tmp/page" -w '%{http_code}' "localhost:$port/fetch-data")" = 502 ]
}

memory_returns() {
    local before after
    "$tmp/load" "$port" /sync-view 100 >/dev/null
    before=$(rss)
    "$tmp/load" "$port" /async-view 5000 >"$tmp/out" || return
    sleep 1
    after=$(rss)
    echo "RSS $before KiB, after 5,000 sleeping views $after KiB"
    [ $((after - before)) -le 1024 ]
}

# 500 views sleep when the signal comes: each still gets its answer.
stop_under_load() {
    local load start status
    "$tmp/load" "$port" /async-view 500 >"$tmp/out" &
    load=$!
    sleep 1
    start=$(date +%s%N)
    stop
    status=$?
    echo "exit status $status after $((($(date +%s%N) - start) / 1000000)) ms"
    wait "$load" && [ "$status" -eq 0 ]
}

# Two system calls a request beside the shared epoll_wait.
calls_per_request() {
    serve "$tmp/hello" strace -f -c -o "$tmp/strace"
    local child requests=2000
    "$tmp/keep" "$port" / "$requests" || return
    child=$(pgrep -P "$pid")
    kill -TERM "$child"
    wait "$pid"
    awk -v n="$requests" '
        $NF ~ /^(sendto|recvfrom|epoll_wait|epoll_ctl|brk|mmap|write)$/ {
            printf "%s %.2f  ", $NF, $4 / n
            if ($NF ~ /^(sendto|recvfrom|epoll_wait)$/ && $4 > 1.02 * n) bad = 1
            if ($NF !~ /^(sendto|recvfrom|epoll_wait)$/ && $4 > 0.05 * n) bad = 1
        }
        END { print "calls a request"; exit bad }' "$tmp/strace"
}

heap_blocks() {
    serve "$tmp/hello" valgrind --log-file="$tmp/valgrind"
    "$tmp/keep" "$port" / "$1" || return
    stop || return
    sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' "$tmp/valgrind" | tr -d ,
}

no_malloc() {
    local few many
    few=$(heap_blocks 100) && many=$(heap_blocks 2100) || return
    echo "$few allocations with 100 requests, $many with 2,100"
    [ "$few" -eq "$many" ]
}

for program in load keep; do
    cc -O2 tests/live/$program.c -o "$tmp/$program" || exit
done
for program in article hello; do
    cc -O2 -I. examples/$program.c -o "$tmp/$program" || exit
done

serve "$tmp/article"
check "2,000 clients at once" burst_in_time
check "memory is given back" memory_returns
if have curl; then check "a task outlives its client" task_outlives_client
else skip "curl is not installed"; fi
check "SIGTERM under load" stop_under_load
if have curl; then
    upstream_down && ok || bad "upstream down: 502" "$(cat "$tmp/page")"
    stop || bad "exit status after SIGTERM"
fi
if have strace && have pgrep; then check "system calls" calls_per_request
else skip "strace is not installed"; fi
if have valgrind; then check "no malloc a request" no_malloc
else skip "valgrind is not installed"; fi
finish live
