#!/bin/bash
# cpu.sh [SECONDS [NAME...]]: the server's CPU time for a request, as a ratio to
# that of bare.c, which answers in turn with it: bare, server, bare, server, ...
# 64 connections; one request at a time on each, and 16. Median and range of the
# rounds. Prints a table; with 1 second it is a short round.

. "$(dirname "$0")/lib.sh"
. "$bench/peers/lib.sh"
make_tools || { bad "the tools compile"; finish cpu; }
seconds=${1:-2}
shift
rounds=7
if [ "$seconds" -le 1 ]; then rounds=1 seconds=0.3; fi

# ns PID PORT OPTION...: of the server, for a request; and how busy it was, in
# percent: where that is well below 100, it has waited for its clients.
ns() {
    local of=$1 at=$2 n wrong wall used
    shift 2
    read -r n wrong wall used < <(load -t "$seconds" -w 'Hello, World!' \
        -P "$of" "$@" "$at" 2>"$tmp/load.said")
    if [ "${wrong:-1}" != 0 ] || [ "${n:-0}" -lt 1 ]; then return 1; fi
    compute '%.1f %.0f' "$used / $n, $used / $wall / 1e7"
}

# ratio OPTION...: sets $ratio, $micro (median, microseconds), $busy. The server
# is $pid at $port, bare $bare_pid at $bare_port.
ratio() {
    local r ours limit all= times=
    for ((r = 0; r < rounds; r++)); do
        limit=$(ns "$bare_pid" "$bare_port" "$@") &&
            ours=$(ns "$pid" "$port" "$@") || return
        busy=${ours#* }
        all+="$(compute %.4f "${ours% *} / ${limit% *}") "
        times+="$(compute %.3f "${ours% *} / 1000") "
    done
    ratio=$(median_of %.2f <<<"$all")
    micro=$(median_of %.2f <<<"$times")
}

# cells NAME OPTION...: of its line
cells() {
    local name=$1
    shift
    if ratio "$@"; then
        ok
        printf ' %s | %s |' "$ratio" "${micro% (*}"
    else
        printf ' fails | |'
        case $name in asyncweb* | bare*) bad "$name $*" "$(cat "$tmp/load.said")"
        esac
    fi
}

# line NAME TEXT OPTION...: for a server that is up
line() {
    local name=$1 text=$2
    shift 2
    printf '| %s |' "$text"
    cells "$name" "$@"
    printf ' %s |' "${busy:+$busy %}"
    cells "$name" -d 16 "$@"
    echo
}

peer_up bare
bare_pid=$pid bare_port=$port
echo "| CPU time ÷ bare | one at a time | µs | busy | 16 at a time | µs |"
echo '|---|---|---|---|---|---|'
[ $# -gt 0 ] || set -- bare "${peers[@]}"
for name; do
    busy=
    peer_up "$name"
    case $? in
        0) ;;
        77) skip "$name is not installed"; continue ;;
        *) bad "$name starts"; continue ;;
    esac
    line "$name" "$name"
    if [ "$name" = asyncweb ]; then
        line "$name" "asyncweb, async view" -p /async
        load -n 20000 -d 16 -o -p /number/00000000 "$port" >"$tmp/load" && ok ||
            bad "answers in the order of requests"
    fi
    case $name in
        asyncweb | nginx | h2o) line "$name" "$name, browser's 644 B" -b ;;
    esac
    stop
done
finish cpu
