# lib.sh: what the test scripts share. A script that sources it goes on at the
# top of the repository, with a scratch directory $tmp that goes away at the
# end and the counts $passed and $failed.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
if [ "$jobs" -lt 2 ]; then jobs=2; fi
passed=0
failed=0

have() { command -v "$1" >/dev/null 2>&1; }

ok() { passed=$((passed + 1)); }

# implementation COMPILER: compiles asyncweb.h and prints the flags with which a
# program is linked with that and need not compile it again: with TEST_FULL=1,
# none. The system's headers, which it would have included, are among them.
implementation() {
    local object=$tmp/asyncweb-${1//[^a-z0-9]/-}.o language=c
    if [ -n "${TEST_FULL-}" ]; then return; fi
    case $1 in *++*) language=c++ ;; esac
    $1 -w -DASYNCWEB_IMPLEMENTATION -x $language -c asyncweb.h -o "$object" ||
        return
    echo -D_GNU_SOURCE -DASYNCWEB_IMPLEMENTED "$object" $(sed -n \
        '/>>floor0/,/^#if/s/^#include <\(.*\)>/-include \1/p' asyncweb.h)
}

# bad WHAT [OUTPUT]
bad() {
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$1"
    if [ -n "${2-}" ]; then printf '%s\n' "$2" | sed 's/^/    /'; fi
}

# Something is not installed: said, and a failure where CI=true.
skip() {
    if [ "${CI-}" = true ]; then bad "skip: $1"; else echo "skip: $1"; fi
}

# finish [NAME]: the closing line and the exit status.
finish() {
    echo "${1:+$1: }$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# each FUNCTION < LINES: calls FUNCTION with each line, $jobs at a time. Line N
# is left in $tmp/N.line, the output in $tmp/N.out, the status in $tmp/N.rc,
# and the number of lines in $lines.
each() {
    local line token
    mkfifo "$tmp/tokens"
    exec 9<>"$tmp/tokens"
    for ((token = 0; token < jobs; token++)); do echo >&9; done
    lines=0
    while IFS= read -r line; do
        lines=$((lines + 1))
        printf '%s\n' "$line" >"$tmp/$lines.line"
        read -r token <&9
        (
            "$1" "$line" >"$tmp/$lines.out" 2>&1 9>&-
            echo $? >"$tmp/$lines.rc"
            echo >&9
        ) &
    done
    wait
    exec 9>&-
    rm "$tmp/tokens"
}

# Counts what `each` left: status 0 passed, 77 skipped, anything else failed.
count() {
    local n
    for ((n = 1; n <= lines; n++)); do
        case $(cat "$tmp/$n.rc") in
            0) ok ;;
            77) skip "$(cat "$tmp/$n.out")" ;;
            *) bad "$(cat "$tmp/$n.line")" "$(head -n 40 "$tmp/$n.out")" ;;
        esac
    done
}
