#!/bin/bash
# count.sh [FILTER]: instructions and system calls that a request costs, from
# valgrind and strace: the same in every run, however busy the machine is.
# FILTER: only rows whose name has that in it.
# count.sh profile [LOAD'S OPTION...]: where ours spends them, by function.

. "$(dirname "$0")/lib.sh"
need valgrind strace
make_tools || { bad "the tools compile"; finish; }
few=1024
many=11264

# callgrind N SERVER OPTION...: instructions of the server in all, when it has
# been asked so often. SERVER is one word of words.
callgrind() {
    local n=$1 server=$2
    shift 2
    start valgrind --tool=callgrind --callgrind-out-file="$tmp/out.$n" \
        $server || return
    load -n "$n" -w 'Hello, World!' "$@" "$port" >"$tmp/$port.load"
    local rc=$?
    stop
    [ $rc = 0 ] || return
    sed -n 's/^.*Collected : //p' "$tmp/$port.log"
}

# trace N SERVER OPTION...: the same for system calls.
trace() {
    local n=$1 server=$2
    shift 2
    start strace -c -f -o "$tmp/calls.$n" $server || return
    load -n "$n" -w 'Hello, World!' "$@" "$port" >"$tmp/$port.load"
    local rc=$?
    kill -TERM "$(pgrep -P "$pid")"
    wait "$pid"
    [ $rc = 0 ] || return
    awk '$NF == "total" { print $4 }' "$tmp/calls.$n"
}

# each_of WHAT FORMAT SERVER OPTION...: of one request. What starting and
# accepting cost is in both numbers and cancels out.
each_of() {
    local what=$1 format=$2 a b
    shift 2
    a=$("$what" $few "$@") && b=$("$what" $many "$@") &&
        awk "BEGIN { printf \"$format\", ($b - $a) / ($many - $few) }"
}

if [ "${1-}" = profile ]; then
    shift
    a=$(callgrind $few "$built/server @" "$@")
    b=$(callgrind $many "$built/server @" "$@")
    for n in $few $many; do
        callgrind_annotate --threshold=100 --show-percs=no "$tmp/out.$n" |
            sed -n 's/^ *\([0-9,]\{1,\}\)  *[^ :]*:\([^ ]*\).*/\1 \2/p' |
            tr -d , >"$tmp/by.$n"
    done
    awk -v n=$((many - few)) 'NR == FNR { had[$2] += $1; next }
        { d = ($1 - had[$2]) / n; sum += d }
        d >= 1 { printf "%7.1f %s\n", d, $2 }
        END { printf "%7.1f all\n", sum }' \
        "$tmp/by.$few" "$tmp/by.$many" | sort -rn
    exit
fi

ours="$built/server @"
bare="$built/bare @"
# NAME; how much it may be, else this fails; how much it should be at most; the
# rest as each_of takes it.
rows=(
    "instructions: plain view, 40 B;1000;1000;callgrind;%.0f;$ours"
    "instructions: browser, 644 B;1850;1850;callgrind;%.0f;$ours;-b"
    "instructions: async view, 40 B;1250;1250;callgrind;%.0f;$ours;-p;/async"
    "instructions: async, awaits a child;;;callgrind;%.0f;$ours;-p;/await"
    "instructions: plain, access log;;;callgrind;%.0f;$ours log"
    "instructions: plain, 16 at once;;;callgrind;%.0f;$ours;-d;16"
    "instructions: bare, 40 B;;;callgrind;%.0f;$bare"
    "instructions: bare, 644 B;;;callgrind;%.0f;$bare;-b"
    "system calls: plain;2.08;2.08;trace;%.3f;$ours"
    "system calls: plain, 16 at once;0.13;0.13;trace;%.3f;$ours;-d;16"
    "system calls: bare;;;trace;%.3f;$bare"
    "system calls: bare, 16 at once;;;trace;%.3f;$bare;-d;16"
)

# row NAME MOST GOAL WHAT ...: a line of the table.
row() {
    local name=$1 most=$2 goal=$3 figure
    shift 3
    figure=$(each_of "$@")
    printf '| %s | %s | %s |\n' "$name" "$figure" "$goal"
    [ -n "$figure" ] && awk "BEGIN { exit !($figure <= ${most:-1e9}) }"
}

printf '| a request costs | | goal |\n|---|---|---|\n'
for r in "${rows[@]}"; do
    [[ ${r%%;*} == *"${1-}"* ]] || continue
    IFS=';' read -ra words <<<"$r"
    if row "${words[@]}"; then ok; else bad "${words[0]}"; fi
done
finish count
