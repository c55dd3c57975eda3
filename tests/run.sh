#!/bin/bash
# run.sh PROGRAM...: runs test programs and test scripts side by side and adds
# up their closing lines, `name: N passed, N failed`. Shows what the failing
# ones said. The last line is the total.
#
# Paths are relative to the top of the repository. WRAP='valgrind -q' is put
# before the programs (not the scripts).

. "$(dirname "$0")/lib.sh"

run() {
    case $1 in
        *.sh) bash "$1" ;;
        *) ${WRAP-} "./$1" ;;
    esac
}

each run < <(printf '%s\n' "$@")

# names PROGRAM OUTPUT: the tests that passed, a line each.
names() {
    case $1 in
        *.sh) sed -n 's/^ok //p' "$2" ;;
        *) "./$1" -l ;;
    esac
}

closing='^[^ ]+: [0-9]+ passed, [0-9]+ failed$'
for ((n = 1; n <= lines; n++)); do
    rc=$(cat "$tmp/$n.rc")
    line=$(grep -aE "$closing" "$tmp/$n.out" | tail -n 1)
    if [ -z "$line" ]; then
        bad "$(cat "$tmp/$n.line"): exit $rc, no closing line" \
            "$(cat "$tmp/$n.out")"
        continue
    fi
    read -r _ p _ f _ <<<"$line"
    passed=$((passed + p))
    failed=$((failed + f))
    if [ "$f" -gt 0 ]; then
        cat "$tmp/$n.out"
    elif [ "$rc" -ne 0 ]; then      # e.g. a leak report after the last test
        bad "$(cat "$tmp/$n.line"): exit $rc" "$(cat "$tmp/$n.out")"
    else
        grep -a '^skip: ' "$tmp/$n.out"
        names "$(cat "$tmp/$n.line")" "$tmp/$n.out" | tr '\n' ' ' |
            fold -s -w 76 | sed 's/^/    /; s/ *$//; $a\'
        echo "$line"
    fi
done
finish
