#!/bin/bash
# readme.sh [FILE]: compiles every ```c block of README.md, without warnings.
#
# A block with `int main` is built to a program; one that includes asyncweb.h is
# compiled. Any other block says what it is on the line before its fence:
#
#   <!-- fragment: file -->                   declarations and functions
#   <!-- fragment: view -->                   statements of a VIEW
#   <!-- fragment: body -->                   statements between BEGIN { and }
#   <!-- fragment: body aw_response *r; -->   the same, with these locals
#   <!-- not compiled: why -->                skipped, and counted

readme=$(cd "$(dirname "${1:-README.md}")" && pwd)/$(basename "${1:-README.md}")
. "$(dirname "$0")/lib.sh"
[ -n "${1-}" ] || readme=README.md

# Writes each block to DIR/blockLINE.c; prints `block LINE`, `skipped` or
# `unmarked LINE`.
cat >"$tmp/blocks.awk" <<'AWK'
function begin(    locals) {
    block = ""
    head = "#include \"asyncweb.h\"\n#include <stdio.h>\n" \
        "#include <stdlib.h>\n#include <string.h>\n"
    tail = ""
    locals = mark
    sub(/^fragment: body */, "", locals)
    if (mark ~ /^fragment: body/) {
        head = head "ASYNC_VIEW(fragment, " locals ")\n{\nBEGIN {\n"
        tail = "}\n}\n"
    } else if (mark == "fragment: view") {
        head = head "VIEW(fragment)\n{\n"
        tail = "}\n"
    } else if (mark != "fragment: file") {
        head = ""
    }
    sub(/, \)/, ")", head)
    at = NR
    inside = 1
}
function finish() {
    inside = 0
    if (mark ~ /^not compiled: ./) { print "skipped"; return }
    if (head == "" && block !~ /int main|#include "asyncweb\.h"/) {
        print "unmarked " at
        return
    }
    file = dir "/block" at ".c"
    printf "%s#line %d \"%s\"\n%s%s", head, at + 1, name, block, tail >file
    close(file)
    print "block " at
}
inside && /^```/ { finish(); mark = ""; next }
inside { block = block $0 "\n"; next }
/^```c$/ { begin(); next }
/^<!-- .* -->$/ { mark = substr($0, 6, length($0) - 9); next }
{ mark = "" }
AWK

compile() {
    local block=$tmp/block${1##*:} flags='-c -Wno-unused'
    if grep -q 'int main' "$block.c"; then flags=$linked; fi
    ${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror -I. "$block.c" $flags \
        -o "$block.out"
}

linked=$(implementation "${CC:-cc}") || exit
name=$(basename "$readme")
awk -v dir="$tmp" -v name="$name" -f "$tmp/blocks.awk" "$readme" \
    >"$tmp/list" || bad "awk"
each compile < <(sed -n "s/^block /$name:/p" "$tmp/list")
count
while read -r line; do
    bad "$name:$line: a c block that does not say what it is"
done < <(awk '/^unmarked/ { print $2 }' "$tmp/list")
skipped=$(grep -c '^skipped' "$tmp/list")
if [ "$skipped" -gt 0 ]; then echo "readme: $skipped not compiled"; fi
finish readme
