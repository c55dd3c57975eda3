#!/bin/bash
# bench.sh [SECONDS [keep]]: what asyncweb.h costs, beside its peers: all of
# tests/bench, SECONDS a figure. With 1 it is a short round that checks that all
# of it works and that the answers are right: times are never a verdict.
# Instructions and system calls are, as they are the same in every run; their
# bars are in tests/bench/count.sh. The tables are left in build/bench/results,
# with pictures; keep: in tests/bench/results and in the README.
# PARTS='cpu json' runs only these.

. "$(dirname "$0")/lib.sh"
seconds=${1:-5} keep=${2-}
to=build/bench/results
mkdir -p $to

version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null | sed 's/[-+].*//'; }
package() { local v; v=$(version "$1") && printf ', %s %s' "${2:-$1}" "$v"; }
machine() {
    echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "$(getconf _NPROCESSORS_ONLN) cores, virtual; Linux $(uname -r |
            sed 's/[^0-9.].*//'); $(cc --version | head -n 1), -O2"
    printf 'Peers: %s%s%s%s%s' "$(nginx -v 2>&1 | sed 's/.*: //; s|/| |')" \
        "$(package h2o)" "$(package libmicrohttpd-dev libmicrohttpd)" \
        "$(package libevent-dev libevent)" \
        "$(have node && node -v | sed 's/^v/, node /')"
    printf '%s%s%s%s%s%s\n' "$(package python3-aiohttp aiohttp)" \
        "$(package python3-quart Quart)" "$(package python3-uvicorn uvicorn)" \
        "$(package python3-flask Flask)" "$(package gunicorn)" \
        "$(package libcjson-dev cJSON)"
}

all='count size micro sleepers parse json memory cpu bulk workers tls'
for part in ${PARTS:-$all}; do
    echo "== $part"
    start=$SECONDS
    if [ $part = count ]; then set --; else set -- "$seconds"; fi
    bash "tests/bench/$part.sh" "$@" 2>&1 | tee "$tmp/out"
    read -r p _ f _ <<<"$(tail -n 1 "$tmp/out" |
        sed -n 's/^\([a-z]*: \)*\([0-9]* passed, [0-9]* failed\)$/\2/p')"
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-1}))
    grep '^|' "$tmp/out" >"$to/$part.md"
    echo "== $part took $((SECONDS - start)) s"
done

# Parts that were not run now keep what they had.
for table in tests/bench/results/*.md; do
    [ -s "$to/${table##*/}" ] || cp "$table" $to/
done
machine >$to/machine.txt
chart() { awk -f tests/bench/chart.awk "${@:3}" $to/"$2".md >$to/"$1".svg; }
chart speed cpu -v column=2 -v title='Server CPU time for a request ÷ bare epoll'
chart pipelined cpu -v column=4 -v title='The same, 16 requests at once'
chart idle memory -v column=2 -v unit=B \
    -v title='User memory of an idle connection, of 10,000'
chart asleep memory -v column=5 -v unit=B \
    -v title='User memory of a view asleep and its connection, of 5,000'
if [ "$keep" = keep ]; then
    cp $to/*.svg $to/*.md $to/machine.txt tests/bench/results/
    # A table of the README is that which stands behind its name.
    awk -v to=$to '/^<!-- bench / { print; file = to "/" $3 ".md"
            while ((getline line <file) > 0) print line
            was = 1; next }
        was && /^[|]/ { next }
        { was = 0; print }' README.md >"$tmp/README" &&
        cp "$tmp/README" README.md
fi
finish bench
