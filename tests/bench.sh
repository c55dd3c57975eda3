#!/bin/bash
# bench.sh [SECONDS]: what asyncweb.h costs, beside its peers. Runs what is in
# tests/bench, SECONDS a figure: with 1 it is a check that all of it works and
# that answers are right; times are never a verdict. Each part prints a table
# and ends in `NAME: N passed, N failed`.

. "$(dirname "$0")/lib.sh"

seconds=${1:-3}
for part in count size inside memory tls workers; do
    case $part in count | size) set -- ;; *) set -- "$seconds" ;; esac
    echo "== $part"
    bash "tests/bench/$part.sh" "$@" 2>&1 | tee "$tmp/out"
    read -r _ p _ f _ <<<"$(tail -n 1 "$tmp/out" | grep ' passed, ')"
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-1}))
done
finish bench
