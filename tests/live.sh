#!/bin/bash
# What the README promises, seen on real sockets with a real clock: many clients
# at once, a stop under load, memory after a burst, system calls a request,
# workers that are killed and restarted under load.
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

# With the ACK that each would wait for it were 4 s.
no_wait_for_acks() {
    local ms
    serve "$tmp/workers"
    ms=$("$tmp/batch" "$port" 100)
    stop || return
    echo "100 batches, the client delays its ACKs: $ms ms"
    [ "${ms:-9999}" -le 2000 ]
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

# ---- several processes ----

# crew: two of them; their pids at a time in $workers.
crew() {
    WORKERS=2 serve "$tmp/workers"
    pids
}
pids() { workers=$(pgrep -P "$pid" | tr '\n' ' '); }

# until_true SECONDS COMMAND...: waits for it.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return
        sleep 0.05
    done
}
said() { [ "$(grep -c "$1" "$tmp/log")" -ge "$2" ]; }
gone() { ! kill -0 "$@" 2>/dev/null; }

both_work() {
    "$tmp/drive" "$port" / 32 1000 5 >"$tmp/out" 2>&1 || { cat "$tmp/out"; return 1; }
    cat "$tmp/out"
    awk '{ for (i = NF - 1; i <= NF; i++) { split($i, a, "*"); n[i] = a[2] } }
         END { exit NF != 11 || n[10] * 4 < n[11] || n[11] * 4 < n[10] }' "$tmp/out"
}

# Its connections break, 16 or so; nobody is refused, and its work goes on.
killed_under_load() {
    local victim=${workers%% *} load
    "$tmp/drive" "$port" / 32 1500 >"$tmp/out" 2>/dev/null &
    load=$!
    sleep 0.5
    kill -KILL "$victim"
    wait "$load"
    cut -d : -f 1 "$tmp/out"
    grep -Eq ' 0 refused, ([0-9]|[12][0-9]|3[0-2]) broken' "$tmp/out" &&
        said "worker $victim was killed by signal 9; another starts" 1 &&
        said ' serves$' 3 && ! ps -o stat= --ppid "$pid" | grep -q Z
}

restart_under_load() {
    local load round served
    served=$(grep -c ' serves$' "$tmp/log")
    "$tmp/drive" "$port" / 32 4000 7 >"$tmp/out" 2>&1 &
    load=$!
    for round in 1 2 3 4 5; do
        sleep 0.5
        kill -HUP "$pid"
        until_true 10 said 'all workers are new' $round || return
    done
    wait "$load" || { cat "$tmp/out"; return 1; }
    echo "$(cut -d : -f 1 "$tmp/out"), $(($(grep -c ' serves$' "$tmp/log") -
        served)) new workers"
}

crew_stops_under_load() {
    local load status
    "$tmp/load" "$port" /nap 500 >"$tmp/out" &
    load=$!
    sleep 0.5
    pids
    stop
    status=$?
    wait "$load" || { cat "$tmp/out"; return 1; }
    echo "$(cat "$tmp/out"), exit status $status"
    [ "$status" -eq 0 ] && ! ps -p ${workers// /,}1000000 -o pid= | grep -q .
}

parent_dies() {
    crew
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    until_true 5 eval '! ps -p ${workers// /,}1000000 -o pid= | grep -q .'
}

hanging_worker_is_killed() {
    local start=$SECONDS status
    crew
    "$tmp/drive" "$port" /hang 1 0 >/dev/null 2>&1 &
    until_true 5 eval 'ps -o stat= --ppid $pid | grep -q R'
    stop
    status=$?
    echo "exit status $status after $((SECONDS - start)) s"
    [ "$status" -eq 1 ] && said 'does not end: killed' 1 &&
        [ $((SECONDS - start)) -le 12 ]
}

for program in load keep drive batch; do
    cc -O2 tests/live/$program.c -o "$tmp/$program" || exit
done
for program in article hello; do
    cc -O2 -I. examples/$program.c -o "$tmp/$program" || exit
done
cc -O2 -I. tests/live/workers.c -o "$tmp/workers" || exit

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
check "no answer waits for an ACK" no_wait_for_acks
if have valgrind; then check "no malloc a request" no_malloc
else skip "valgrind is not installed"; fi
if have pgrep; then
    crew
    check "2 workers share the work" both_work
    check "kill -9 of a worker under load" killed_under_load
    check "SIGHUP under load" restart_under_load
    check "SIGTERM, views asleep in both" crew_stops_under_load
    check "kill -9 of the parent" parent_dies
    check "a worker that hangs" hanging_worker_is_killed
else
    skip "pgrep is not installed"
fi
finish live
