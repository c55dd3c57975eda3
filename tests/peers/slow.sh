#!/bin/bash
# slow.sh: slow heads, slow bodies and slow readers, 1,000 at a time. Meanwhile
# somebody else is answered within a second, each time; with less room, as soon as
# a slow one had its time, see Overload in README.md. Afterwards memory
# and descriptors are what they were.

. "$(dirname "$0")/lib.sh"
need slowhttptest curl ab
ulimit -n 4096 2>/dev/null || ulimit -n "$(ulimit -Hn)"
build tests/peers/behind.c

# polite PORT SECONDS: asks every 200 ms until $tmp/over is there, and is answered
# within these seconds each time; says how long the slowest answer took.
polite() {
    local ms worst=0 n=0
    while [ ! -e "$tmp/over" ]; do
        ms=$(curl -sS -m "$2" -o /dev/null -w '%{time_total}' \
            "http://127.0.0.1:$1/" 2>&1) || { echo "after $n answers: $ms"; return 1; }
        ms=$(awk -v t="$ms" 'BEGIN { printf "%d", t * 1000 }')
        [ "$ms" -gt "$worst" ] && worst=$ms
        n=$((n + 1))
        sleep 0.2
    done
    echo "$n answers, the slowest after $worst ms"
    [ "$n" -gt 5 ]
}

# attack ROOM SECONDS ARGUMENT...: slowhttptest with these arguments; ROOM
# connections are allowed.
attack() {
    local room=$1 within=$2 before after fds good
    shift 2
    serve behind 127.0.0.1:0 "" plain "$room"
    ab -q -n 2000 -c 200 "http://127.0.0.1:$port/" >/dev/null 2>&1
    sleep 0.3
    before=$(rss "$pid")
    fds=$(descriptors "$pid")
    rm -f "$tmp/over"
    polite "$port" "$within" >"$tmp/polite" &
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

heads() {
    path=
    check "slow heads, room for $1" attack "$1" "$2" -H -i 3 -t GET -x 24
    cat "$tmp/said"
}

bodies() {
    path=length
    check "slow bodies, room for $1" attack "$1" "$2" -B -i 3 -s 8192 -t POST \
        -x 10
    cat "$tmp/said"
}

readers() {
    path="big?n=1000000"
    check "slow readers, room for $1" attack "$1" "$2" -X -w 512 -y 1024 -n 5 \
        -z 32 -k 1
    cat "$tmp/said"
}

heads 2000 1
bodies 2000 1
readers 2000 1
heads 400 2
bodies 700 10
readers 700 10
finish
