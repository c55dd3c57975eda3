#!/bin/bash
# cpu.sh [SECONDS [NAME...]]: the server's CPU time for a request, as a ratio to
# that of bare.c, which answers in turn with it: bare, server, bare, server, ...
# 64 connections; one request at a time on each, and 16; of 40 bytes, and a
# browser's of 644. Prints a table: the median of the rounds, which take SECONDS
# together, and the quartiles. With 1 second it is a short round.

. "$(dirname "$0")/lib.sh"
. "$bench/peers/lib.sh"
make_tools || { bad "the tools compile"; finish cpu; }
rounds=31
if [ "${1:-5}" -le 1 ]; then rounds=1; fi
seconds=$(compute %.2f "${1:-5} / $rounds")
shift

# ns PID PORT OPTION...: of the server, for a request
ns() {
    local of=$1 at=$2 n wrong used
    shift 2
    read -r n wrong _ used < <(load -t "$seconds" -w 'Hello, World!' \
        -P "$of" "$@" "$at" 2>"$tmp/load.said")
    if [ "${wrong:-1}" != 0 ] || [ "${n:-0}" -lt 1 ]; then return 1; fi
    compute %.1f "$used / $n"
}

# ratio OPTION...: sets $ratio and $micro (median, microseconds). The server is
# $pid at $port, bare $bare_pid at $bare_port.
ratio() {
    local r ours limit all= times=
    for ((r = 0; r < rounds; r++)); do
        limit=$(ns "$bare_pid" "$bare_port" "$@") &&
            ours=$(ns "$pid" "$port" "$@") || return
        all+="$(compute %.4f "$ours / $limit") "
        times+="$(compute %.3f "$ours / 1000") "
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
    cells "$name" -d 16 "$@"
    echo
}

# in_order OPTION...: of ours: answers come in the order of their requests.
in_order() {
    if load -o -p /number/00000000 "$@" "$port" >"$tmp/load" 2>&1; then ok
    else bad "order of answers, $*" "$(cat "$tmp/load")"; fi
}

peer_up bare
bare_pid=$pid bare_port=$port
echo "| CPU time ÷ bare | one at a time | µs | 16 at a time | µs |"
echo '|---|---|---|---|---|'
[ $# -gt 0 ] || set -- bare "${peers[@]}"
for name; do
    peer_up "$name"
    case $? in
        0) ;;
        77) skip "$name is not installed"; continue ;;
        *) bad "$name starts"; continue ;;
    esac
    text=${full[$name]:-$name}
    line "$name" "$text"
    if [ "$name" = asyncweb ]; then
        line "$name" "$text, async view" -p /async
        in_order -n 20000 -d 16
        in_order -k 1 -c 1 -n 320 -d 16
        # Were answers to wait for delayed ACKs, it took 4 s instead of 0.03.
        in_order -k 53 -c 1 -n 3200 -d 16 -g 2
    fi
    case $name in
        asyncweb | nginx | h2o) line "$name" "$text, browser" -b ;;
    esac
    stop
done
finish cpu
