#!/bin/bash
# sleepers.sh [SECONDS]: views asleep at once, up to a million; with 1 second up
# to 10,000. Prints a table.

. "$(dirname "$0")/lib.sh"
counts='1000 10000 100000 1000000'
built sleepers "$bench/sleepers.c" || finish sleepers
if [ "${1:-5}" -le 1 ]; then counts='1000 10000'; fi
echo '| asleep at once | B each | with client and sockets | ns to begin' \
    '| ns to wake | s to wake all |'
echo '|---|---|---|---|---|---|'
for n in $counts; do
    IFS=';' read -r n bytes all begin wake total < <(
        on_server_core "$built/sleepers" "$n")
    echo "| $n | $bytes | $all | $begin | $wake | $total |"
    if [ -n "$total" ]; then ok; else bad "$n asleep"; fi
done
finish sleepers
