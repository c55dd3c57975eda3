#!/bin/bash
# size.sh: how large a program is that says hello, linked with musl, which is a
# verdict, and how long it takes to compile, which is none.
# size.sh sections [FLAG...]: which parts of asyncweb.h its bytes come from.

. "$(dirname "$0")/lib.sh"
need musl-gcc
options=$(grep -oE 'ASYNCWEB_NO_[A-Z_]+' asyncweb.h | sort -u |
    grep -v SHORT_NAMES | sed 's/^/-D/')

if [ "${1-}" = sections ]; then
    shift
    musl-gcc -w -Os -static -g "$@" "$bench/hello.c" -o "$tmp/hello" || exit
    nm -S -l --radix=d "$tmp/hello" | awk -F '\t' '
        FILENAME != "-" {
            if (!sub("^/[*] >>floor", "floor")) next
            sub(" *-*-- [*]/$", "")
            starts[++n] = FNR
            name[n] = $0
            next
        }
        {
            if (split($1, symbol, " ") < 4 || symbol[3] ~ /[bB]/) next
            k = 0
            if ($2 ~ /asyncweb[.]h:/) {
                sub(".*:", "", $2)
                for (k = n; starts[k] > $2 + 0;) k--
            }
            size[k] += symbol[2]
            all += symbol[2]
        }
        END {
            name[0] = "libc, the program"
            for (k in size) printf "%7d %s\n", size[k], name[k]
            printf "%7d all\n", all
        }' asyncweb.h - | sort -rn
    exit
fi

# size TEXT GOAL MOST SOURCE FLAG...: in KB (1,000 bytes); over MOST it fails.
size() {
    local text=$1 goal=$2 most=$3 source=$4 bytes
    shift 4
    if musl-gcc -w -Os -static -s "$@" "$source" -o "$tmp/hello" 2>"$tmp/said"
    then
        bytes=$(stat -c %s "$tmp/hello")
        echo "| $text | $(compute %.1f "$bytes / 1000") KB | $goal |"
        if [ "$bytes" -le $((most * 1000)) ]; then ok
        else bad "$text: more than $most KB"; fi
    else
        bad "$text" "$(head "$tmp/said")"
    fi
}
# seconds TEXT GOAL SOURCE FLAG...: CPU time of the compiler, the best of three
seconds() {
    local text=$1 goal=$2 taken best= TIMEFORMAT='%U %S'
    shift 2
    for _ in 1 2 3; do
        taken=$({ time cc -O2 -w "$@" -o "$tmp/hello" 2>"$tmp/said"; } 2>&1) ||
            { bad "$text" "$(head "$tmp/said")"; return; }
        taken=$(compute %.2f "${taken/ / + }")
        if [ "$(compute %d "(${best:-99} > $taken)")" = 1 ]; then best=$taken; fi
    done
    ok
    echo "| $text | $best s | $goal |"
}

echo '| hello | | goal |'
echo '|---|---|---|'
size 'musl-gcc -Os -static -s' '90 KB' 80 "$bench/hello.c"
# shellcheck disable=SC2086
size 'the same with all NO_ options' '45 KB' 66 "$bench/hello.c" $options
# shellcheck disable=SC2086
size 'and ASYNCWEB_FIXED_MEMORY: without malloc' '' 58 "$bench/hello.c" $options \
    -DASYNCWEB_FIXED_MEMORY
# shellcheck disable=SC2086
size 'and -Wl,-z,noseparate-code: without padding' '' 54 "$bench/hello.c" \
    $options -DASYNCWEB_FIXED_MEMORY -Wl,-z,noseparate-code
size 'bare, the same' '' 40 "$bench/bare.c" -D_GNU_SOURCE
seconds 'cc -O2 takes' '1.0 s' "$bench/hello.c"
seconds 'cc -O2 takes, all NO_ options' '' "$bench/hello.c" $options
seconds 'cc -O0 takes' '' "$bench/hello.c" -O0
finish size
