#!/bin/bash
# peers.sh [NAME...]: server and client against real programs: curl, nginx, HAProxy,
# slow attackers, browsers. Runs tests/peers/NAME.sh, or all of them, one after
# the other; each prints `ok NAME` and `not ok NAME` lines. What is not installed
# is skipped, and a failure where CI=true.

. "$(dirname "$0")/lib.sh"

if [ $# -eq 0 ]; then
    set -- $(cd tests/peers && ls *.sh | sed 's/\.sh$//' | grep -vx lib)
fi
for name; do
    start=$SECONDS
    timeout -k 5 300 bash "tests/peers/$name.sh" 2>&1 | tee "$tmp/out" |
        sed "s/^ok /ok $name: /; s/^not ok /not ok $name: /"
    rc=${PIPESTATUS[0]}
    good=$(grep -c '^ok ' "$tmp/out")
    wrong=$(grep -c '^not ok ' "$tmp/out")
    if [ "$rc" -ne 0 ] && [ "$wrong" -eq 0 ]; then
        echo "not ok $name: exit status $rc"
        wrong=1
    fi
    passed=$((passed + good))
    failed=$((failed + wrong))
    echo "$name took $((SECONDS - start)) s"
done
finish peers
