#!/bin/bash
# micro.sh: what the smallest things cost. Prints a table.

. "$(dirname "$0")/lib.sh"
need valgrind

# Instructions of one turn of PROGRAM NAME.
instructions() {
    local n all=()
    for n in 1000 11000; do
        all+=("$(valgrind --tool=callgrind --callgrind-out-file="$tmp/out" \
            "$@" "$n" 2>&1 | sed -n 's/^.*Collected : //p')")
    done
    compute %.0f "(${all[1]} - ${all[0]}) / 10000"
}

built micro "$bench/micro.c" -Wl,--wrap=malloc,--wrap=realloc || finish micro
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
done < <(on_server_core "$built/micro")
finish micro
