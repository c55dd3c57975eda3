#!/bin/bash
# slow.sh: slow heads, slow bodies and slow readers, 1,000 at a time, against a
# server with room for all of them and against one with a full table. Meanwhile
# somebody else is answered within a second, each time; afterwards memory and
# descriptors are what they were.

. "$(dirname "$0")/lib.sh"
need slowhttptest curl
ulimit -n 4096 2>/dev/null || ulimit -n "$(ulimit -Hn)"
build tests/peers/behind.c

# polite PORT: asks every 200 ms until $tmp/over is there; the slowest answer.
polite() {
    local ms worst=0 n=0
    while [ ! -e "$tmp/over" ]; do
        ms=$(curl -sS -m 1 -o /dev/null -w '%{time_total}' \
            "http://127.0.0.1:$1/" 2>&1) || { echo "after $n answers: $ms"; return 1; }
        ms=$(awk -v t="$ms" 'BEGIN { printf "%d", t * 1000 }')
        [ "$ms" -gt "$worst" ] && worst=$ms
        n=$((n + 1))
        sleep 0.2
    done
    echo "$n answers, the slowest after $worst ms"
    [ "$n" -gt 10 ]
}

# attack ROOM ARGUMENT...: slowhttptest with them, ROOM connections allowed.
attack() {
    local room=$1 before after fds good
    shift
    serve behind 127.0.0.1:0 "" plain "$room"
    ab -q -n 2000 -c 200 "http://127.0.0.1:$port/" >/dev/null 2>&1
    sleep 0.3
    before=$(rss "$pid")
    fds=$(descriptors "$pid")
    rm -f "$tmp/over"
    polite "$port" >"$tmp/polite" &
    good=$!
    timeout 30 slowhttptest -c 1000 -r 500 -l 12 -p 2 "$@" \
        -u "http://127.0.0.1:$port/$path" >"$tmp/slow" 2>&1
    touch "$tmp/over"
    wait "$good"
    good=$?
    cat "$tmp/polite"
    sleep 3
    after=$(rss "$pid")
    echo "RSS $before KiB, then $after KiB; descriptors $fds, then $(descriptors "$pid")"
    [ "$good" -eq 0 ] && [ $((after - before)) -le 2048 ] &&
        [ "$(descriptors "$pid")" -le $((fds + 5)) ] && end_all
}

for room in 2000; do
    path=
    check "slow heads, room for $room" attack $room -H -i 3 -t GET -x 24
    cat "$tmp/said"
    path=length
    check "slow bodies, room for $room" attack $room -B -i 3 -s 8192 -t POST -x 10
    cat "$tmp/said"
    path="big?n=200000"
    check "slow readers, room for $room" attack $room -X -w 512 -y 1024 -n 5 -z 32 -k 1
    cat "$tmp/said"
done
finish
