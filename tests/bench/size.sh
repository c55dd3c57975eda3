#!/bin/bash
# size.sh: how large a program is that says hello, linked with musl, and how
# long it takes to compile.

. "$(dirname "$0")/lib.sh"
need musl-gcc
options=$(grep -oE 'ASYNCWEB_NO_[A-Z_]+' asyncweb.h | sort -u |
    grep -v SHORT_NAMES | sed 's/^/-D/')

# size TEXT GOAL SOURCE FLAG...: in KB (1,000 bytes)
size() {
    local text=$1 goal=$2 source=$3
    shift 3
    if musl-gcc -w -Os -static -s "$@" "$source" -o "$tmp/hello" 2>"$tmp/said"
    then
        echo "| $text | $(compute %.1f "$(stat -c %s "$tmp/hello") / 1000") KB" \
            "| $goal |"
        ok
    else
        bad "$text" "$(head "$tmp/said")"
    fi
}
# seconds TEXT GOAL SOURCE FLAG...: CPU time of the compiler
seconds() {
    local text=$1 goal=$2 taken TIMEFORMAT='%U %S'
    shift 2
    taken=$({ time cc -O2 -w "$@" -o "$tmp/hello" 2>"$tmp/said"; } 2>&1) &&
        ok || bad "$text" "$(head "$tmp/said")"
    echo "| $text | $(compute %.2f "${taken/ / + }") s | $goal |"
}

echo '| hello | | goal |'
echo '|---|---|---|'
size 'musl-gcc -Os -static -s' '90 KB' "$bench/hello.c"
# shellcheck disable=SC2086
size 'the same with all NO_ options' '45 KB' "$bench/hello.c" $options
size 'bare, the same' '' "$bench/bare.c" -D_GNU_SOURCE
seconds 'cc -O2 takes' '1.0 s' "$bench/hello.c"
seconds 'cc -O2 takes, all NO_ options' '' "$bench/hello.c" $options
seconds 'cc -O0 takes' '' "$bench/hello.c" -O0
finish size
