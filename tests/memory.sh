#!/bin/bash
# memory.sh [table]: what examples/tiny.c promises: with its variables it has 24
# KiB, it never calls malloc, and yet it serves eight connections that all want
# something at once, and those that come then. `table` tells the figures.

. "$(dirname "$0")/lib.sh"

CC=${CC:-cc}
most=$((24 * 1024))
# Constants with pointers would be variables, if the program could lie anywhere.
for pie in '-fno-pie -no-pie' ''; do
    if $CC -std=c99 -Os $pie examples/tiny.c -o "$tmp/tiny" 2>"$tmp/said"; then
        break
    fi
done
if [ ! -e "$tmp/tiny" ]; then cat "$tmp/said"; exit 1; fi

# What lies in .data and .bss.
if have size; then
    read -r _ data bss _ < <(size "$tmp/tiny" | tail -n 1)
    if [ $((data + bss)) -le $most ]; then ok
    else bad "tiny has $data + $bss bytes of variables"; fi
else
    skip "size not installed"
fi

# takes WHAT FILE: nothing of the libc's that takes memory, as names tell.
takes() {
    local names
    if ! nm -u "$2" >"$tmp/names"; then bad "nm of $1"; return; fi
    names=$(grep -wE '(m|c|re)alloc|free|mmap(64)?|s?brk|'\
'posix_memalign|strn?dup|getaddrinfo|f(d|re)?open(64)?|(fd)?opendir|scandir|'\
'getline|qsort|(v?as|v?f)?printf|pthread_create' "$tmp/names")
    if [ -z "$names" ]; then ok; else bad "$1 calls" "$names"; fi
}
if have nm; then
    takes tiny "$tmp/tiny"
    # All of it, but for names that are looked up.
    tls=-DASYNCWEB_BEARSSL
    if ! echo '#include <bearssl.h>' | $CC -fsyntax-only -x c - 2>/dev/null
    then tls=; fi
    if $CC -std=c99 -w $tls -DASYNCWEB_IMPLEMENTATION -DASYNCWEB_FIXED_MEMORY \
        -DASYNCWEB_NO_TEST -Dgetaddrinfo=names -x c -c asyncweb.h \
        -o "$tmp/all.o"; then takes "the whole header" "$tmp/all.o"
    else bad "the whole header compiles"; fi
else
    skip "nm not installed"
fi

"$tmp/tiny" -1 2>"$tmp/log" &
tiny=$!
trap 'kill "$tiny" 2>/dev/null; rm -rf "$tmp"' EXIT
for ((try = 0; try < 100; try++)); do
    port=$(sed -n 's|^asyncweb: http://.*:\([0-9]*\).*|\1|p' "$tmp/log")
    if [ -n "$port" ]; then break; fi
    sleep 0.05
done

# ask N METHOD PATH [BODY]: sends a request on connection N.
ask() {
    printf '%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s' \
        "$2" "$3" "${#4}" "${4-}" >&"${c[$1]}"
}

# answer N: the status and the body of its answer, whose last line that is.
answer() {
    local line size=0 status='' body=''
    read -r -t 5 _ status _ <&"${c[$1]}" || { echo none; return; }
    while read -r -t 5 line <&"${c[$1]}"; do
        line=${line%$'\r'}
        case $line in Content-Length:*) size=${line#*: } ;; '') break ;; esac
    done
    if [ "$size" -gt 0 ]; then read -r -N "$size" -t 5 body <&"${c[$1]}"; fi
    echo "$status" $body
}

# expect N TEXT
expect() {
    local got
    got=$(answer "$1")
    if [[ $got == $2 ]]; then ok; else bad "connection $1: $got, not $2"; fi
}

for n in 1 2 3 4 5 6 7 8; do exec {c[n]}<>"/dev/tcp/127.0.0.1/$port"; done
for n in 1 2 3 4 5 6 7 8; do ask $n GET /changed; done
sleep 0.1
# All are busy: the ninth waits, until somebody hangs up.
exec {c[9]}<>"/dev/tcp/127.0.0.1/$port"
ask 9 GET /
exec {c[1]}>&-
busy=$(answer 9)
case $busy in '200 {'*) ok ;; *) bad "the ninth got $busy" ;; esac
ask 9 POST /wanted 99.5
expect 9 204
for n in 2 3 4 5 6 7 8; do expect $n '200 99.5'; done
# All idle: who comes takes the place of one.
for n in 10 11 12; do
    exec {c[n]}<>"/dev/tcp/127.0.0.1/$port"
    ask $n GET /
    expect $n '200 {"wanted":99.5*'
done
stack=$(sed -n '/\[stack\]/,/^Rss/s/^Rss: *//p' "/proc/$tiny/smaps" 2>/dev/null)
kill "$tiny"
if wait "$tiny"; then ok; else bad "tiny ended" "$(cat "$tmp/log")"; fi

if [ "${1-}" = table ]; then
    echo "tiny.c: variables and buffer $((data + bss)) bytes of $most," \
        "of its stack ${stack:-?} were touched"
    echo "with seven views asleep and one that says: ${busy#200 }"
fi
finish memory
