#!/bin/bash
# json.sh: JSON beside cJSON and yyjson. Prints a table.

. "$(dirname "$0")/lib.sh"
sources=$built/sources

# documents TEXT PROGRAM
documents() {
    local size read write row="| $1 |"
    for size in 600 2000; do
        IFS=';' read -r read write < <(
            on_server_core "$built/$2" "$tmp/$size.json")
        row+=" $read | $write |"
        if [ -n "$write" ]; then ok; else bad "$1, $size KB"; fi
    done
    echo "$row"
}

built json "$bench/json.c" || finish json
for size in 600 2000; do
    "$built/json" make $size >"$tmp/$size.json"
done
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
finish json
