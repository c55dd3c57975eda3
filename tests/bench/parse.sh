#!/bin/bash
# parse.sh: the head parser beside picohttpparser. Prints a table.

. "$(dirname "$0")/lib.sh"
sources=$built/sources

# parser TEXT PROGRAM
parser() {
    local a b c d e f
    IFS=';' read -r a b c d e f < <(on_server_core "$built/$2")
    echo "| $1 | $a | $b-$c | $d | $e-$f |"
    if [ -n "$f" ]; then ok; else bad "$1"; fi
}

built parse "$bench/parse.c" || finish parse
echo '| head parser | ns, 703 B | (range) | ns, 27 B | (range) |'
echo '|---|---|---|---|---|'
parser asyncweb.h parse
debian_source h2o 'picohttpparser.[ch]' ||
    { skip "no source of picohttpparser"; finish parse; }
built parse_pico "$bench/parse.c" -w -DPICO "-I$sources" \
    "$sources/picohttpparser.c" && parser picohttpparser parse_pico
grep -q sse4_2 /proc/cpuinfo || finish parse
built parse_sse "$bench/parse.c" -w -DPICO -msse4.2 "-I$sources" \
    "$sources/picohttpparser.c" && parser "its -msse4.2" parse_sse
finish parse
