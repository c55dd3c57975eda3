#!/bin/bash
# bulk.sh [SECONDS]: the server's CPU time for a GB: of a file that is sent,
# beside nginx with sendfile, and of an upload that is read in pieces, beside a
# loop that only receives. In turn; median and range. Prints a table.

. "$(dirname "$0")/lib.sh"
. "$bench/peers/lib.sh"
need curl
make_tools || { bad "the tools compile"; finish bulk; }
rounds=7
mb=1000
if [ "${1:-3}" -le 1 ]; then rounds=1 mb=100; fi
cd "$tmp" || exit
head -c $((mb * 1000000)) /dev/urandom >file

# What each does once: curl's exit status and what came are checked.
download() {
    taskset -c "$load_core" curl -sS -m 60 "http://127.0.0.1:$1/files/file" |
        cmp - file
}
upload() {
    [ "$(taskset -c "$load_core" curl -sS -m 60 -X POST -T file -H Expect: \
        "http://127.0.0.1:$1/upload")" = 'Hello, World!' ]
}

# spent WHAT PID PORT: ms of its CPU for a GB
spent() {
    local before
    before=$(cpu "$2")
    "$1" "$3" || return
    compute %.1f "($(cpu "$2") - $before) / 1e6 / $mb * 1000"
}

# row TEXT GOAL WHAT: ours, $pid at $port, against $other_pid at $other_port
row() {
    local r a b ratios= ours= theirs=
    for ((r = 0; r < rounds; r++)); do
        b=$(spent "$3" "$other_pid" "$other_port") &&
            a=$(spent "$3" "$pid" "$port") || { bad "$1"; return; }
        ratios+="$(compute %.4f "$a / $b") " ours+="$a " theirs+="$b "
    done
    ok
    echo "| $1 | $(median_of %.0f <<<"$ours") |" \
        "$(median_of %.0f <<<"$theirs") |" \
        "$(median_of %.2f <<<"$ratios") | $2 |"
}

echo '| CPU time, ms a GB | ours | theirs | ratio | goal |'
echo '|---|---|---|---|---|'
if have nginx; then
    peer_up nginx
    other_pid=$pid other_port=$port
    peer_up asyncweb
    row 'a file, beside nginx' 1.05 download
else
    skip "nginx is not installed"
    peer_up asyncweb
fi
before=$(peak "$pid")
ours_pid=$pid ours_port=$port
peer_up bare
other_pid=$pid other_port=$port pid=$ours_pid port=$ours_port
row 'an upload in pieces, beside bare' 1.1 upload
grown=$(($(peak "$pid") - before))
echo
echo "Peak memory has grown by $grown KB in the uploads of $mb MB."
if [ "$grown" -lt 2000 ]; then ok; else bad "uploads in flat memory"; fi
finish bulk
