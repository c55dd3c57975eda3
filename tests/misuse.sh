#!/bin/bash
# misuse.sh [PATTERN]: compiles each case of tests/misuse with every compiler
# that is installed, and checks that what its first comment says happens. See
# misuse/misuse.h. Prints `ok NAME` for each case.

pattern=${1-}
. "$(dirname "$0")/lib.sh"

warnings="-Wall -Wextra -Wpedantic -Wno-unused-function"

# The words that follow `KEY:` in the comments on top, up to the next key.
told() {
    sed -n '/^\/\*/!q; s/^\/\* *\(.*[^ ]\) *\*\/$/\1/p' "$2" |
        sed -n "s/.*$1: *//p" | sed 's/ *\(by\|flags\): .*//' | head -n 1
}

# The command line of a compiler for a case, or nothing.
command_of() {
    local standard=-std=c99
    case $1$2 in
        *.cc) standard=-std=c++11 ;;
        *++*) standard='-x c++ -std=c++11' ;;
    esac
    case $1 in
        gcc | clang) [ "${2##*.}" = c ] || return ;;
    esac
    echo "$1 $standard"
}

# case_with COMPILER FILE: says what is wrong, nothing when all is well.
case_with() {
    local file=$2 out=$tmp/$1-$(basename "$2") other=${2%.c}.b.c by flags
    local command want rc
    by=$(told by "$file")
    case " ${by:-$1} " in *" $1 "*) ;; *) return ;; esac
    command=$(command_of "$1" "$file")
    [ -n "$command" ] || return
    flags=$(told flags "$file")
    case $1 in clang* | g++) flags=${flags/-Wjump-misses-init/} ;; esac
    [ -f "$other" ] || other=
    want=$(told 'refused' "$file")
    if [ -n "$want" ]; then
        # The implementation has nothing to do with it, as a rule.
        case $flags in *-DFULL*) ;; *) flags+=" -DDECLARATIONS" ;; esac
        if $command $warnings -Werror $flags -fsyntax-only "$file" \
            >"$out.said" 2>&1; then
            echo "$1: was not refused"
        elif ! grep -qE "$want" "$out.said"; then
            echo "$1: does not say $want:"
            head -n 20 "$out.said"
        fi
        return
    fi
    want=$(told 'aborts' "$file")
    # What aborts may have been warned of: that is not looked at.
    if [ -n "$want" ]; then flags+=" -w"; else flags+=" $warnings -Werror"; fi
    if ! $command $flags -DLINKED "$file" $other -x none "$tmp/header-$1.o" \
        -o "$out" -lpthread \
        >"$out.said" 2>&1; then
        echo "$1: was refused:"
        head -n 20 "$out.said"
        return
    fi
    (ulimit -c 0; "$out"; exit $?) >"$out.said" 2>&1
    rc=$?
    if [ -z "$want" ]; then
        [ $rc = 0 ] || { echo "$1: exit $rc:"; cat "$out.said"; }
    elif [ $rc != 134 ] || ! grep -qF "$want" "$out.said"; then
        echo "$1: exit $rc, without $want:"
        head -n 20 "$out.said"
    fi
}

check() {
    local compiler wrong=0
    for compiler in gcc clang g++ clang++; do
        have "$compiler" || continue
        case_with "$compiler" "$1" 2>&1
    done >"$tmp/wrong-$(basename "$1")"
    [ -s "$tmp/wrong-$(basename "$1")" ] && wrong=1
    cat "$tmp/wrong-$(basename "$1")"
    return $wrong
}

for compiler in gcc clang g++ clang++; do
    have "$compiler" || { skip "misuse: no $compiler"; continue; }
    language=c
    case $compiler in *++) language=c++ ;; esac
    "$compiler" -w -DASYNCWEB_IMPLEMENTATION -x $language -c asyncweb.h \
        -o "$tmp/header-$compiler.o" &
done
wait
each check < <(ls tests/misuse/*.c tests/misuse/*.cc |
    grep -v '\.b\.c$' | grep -- "$pattern")
for ((n = 1; n <= lines; n++)); do
    if [ "$(cat "$tmp/$n.rc")" = 0 ]; then
        echo "ok $(basename "$(cat "$tmp/$n.line")" | sed 's/\.cc*$//')"
    fi
done
count
finish misuse
