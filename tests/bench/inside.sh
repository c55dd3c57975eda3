#!/bin/bash
# inside.sh [SECONDS]: what can be measured in one process: tasks and timers, a
# million views asleep, the head parser and JSON beside other libraries. Prints
# tables. With 1 second it is a short round.

. "$(dirname "$0")/lib.sh"
seconds=${1:-3}
sources=$built/sources

# built NAME SOURCE FLAG...: or a failure
built() {
    make_c "$@" 2>"$tmp/cc.said" && return
    bad "$1 compiles" "$(head "$tmp/cc.said")"
    return 1
}
on_core() { taskset -c "$server_core" "$@"; }

# Instructions of one turn of PROGRAM NAME.
instructions() {
    local n all=()
    for n in 1000 11000; do
        all+=("$(valgrind --tool=callgrind --callgrind-out-file="$tmp/out" \
            "$@" "$n" 2>&1 | sed -n 's/^.*Collected : //p')")
    done
    compute %.0f "(${all[1]} - ${all[0]}) / 10000"
}

micro() {
    local name ns least most mallocs text bar
    built micro "$bench/micro.c" -Wl,--wrap=malloc,--wrap=realloc || return
    echo '| | ns | (range) | instructions | mallocs | goal, ns |'
    echo '|---|---|---|---|---|---|'
    while IFS=';' read -r name ns least most mallocs; do
        case $name in
            spawn) text='spawn, run and free a task' bar=60 ;;
            await) text='await a child that returns' bar=40 ;;
            timer) text='start and stop a timer' bar=60 ;;
        esac
        echo "| $text | $ns | $least-$most |" \
            "$(instructions "$built/micro" "$name") | $mallocs | $bar |"
        if [ "$mallocs" = 0 ]; then ok; else bad "$text: $mallocs mallocs"; fi
    done < <(on_core "$built/micro")
}

sleepers() {
    local n bytes all begin wake total counts='1000 10000 100000 1000000'
    built sleepers "$bench/sleepers.c" || return
    if [ "$seconds" -le 1 ]; then counts='1000 10000'; fi
    echo
    echo '| asleep at once | B each | with client and sockets | ns to begin' \
        '| ns to wake | s to wake all |'
    echo '|---|---|---|---|---|---|'
    for n in $counts; do
        IFS=';' read -r n bytes all begin wake total < <(
            on_core "$built/sleepers" "$n")
        echo "| $n | $bytes | $all | $begin | $wake | $total |"
        if [ -n "$total" ]; then ok; else bad "$n asleep"; fi
    done
}

# parser TEXT PROGRAM
parser() {
    local a b c d e f
    IFS=';' read -r a b c d e f < <(on_core "$built/$2")
    echo "| $1 | $a | $b-$c | $d | $e-$f |"
    if [ -n "$f" ]; then ok; else bad "$1"; fi
}
parse() {
    built parse "$bench/parse.c" || return
    echo
    echo '| head parser | ns, 703 B | (range) | ns, 27 B | (range) |'
    echo '|---|---|---|---|---|'
    parser asyncweb.h parse
    debian_source h2o 'picohttpparser.[ch]' ||
        { skip "no source of picohttpparser"; return; }
    built parse_pico "$bench/parse.c" -w -DPICO "-I$sources" \
        "$sources/picohttpparser.c" && parser picohttpparser parse_pico
    grep -q sse4_2 /proc/cpuinfo || return
    built parse_sse "$bench/parse.c" -w -DPICO -msse4.2 "-I$sources" \
        "$sources/picohttpparser.c" && parser "its -msse4.2" parse_sse
}

# documents TEXT PROGRAM
documents() {
    local size read write row="| $1 |"
    for size in 600 2000; do
        IFS=';' read -r read write < <(on_core "$built/$2" "$tmp/$size.json")
        row+=" $read | $write |"
        if [ -n "$write" ]; then ok; else bad "$1, $size KB"; fi
    done
    echo "$row"
}
json() {
    local size
    built json "$bench/json.c" || return
    for size in 600 2000; do
        "$built/json" make $size >"$tmp/$size.json"
    done
    echo
    echo '| JSON, MB/s | read 600 KB | write | read 2 MB | write |'
    echo '|---|---|---|---|---|'
    documents asyncweb.h json
    if make_c json_c "$bench/json.c" -w -DCJSON -lcjson 2>"$tmp/said"; then
        documents cJSON json_c
    else skip "cJSON is not installed"; fi
    if debian_source yyjson 'yyjson.[ch]'; then
        built json_yy "$bench/json.c" -w -DYYJSON "-I$sources" \
            "$sources/yyjson.c" && documents yyjson json_yy
    else skip "no source of yyjson"; fi
}

need valgrind
micro
sleepers
parse
json
finish inside
