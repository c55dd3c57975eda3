#!/bin/bash
# misuse.sh [PATTERN]: compiles each case of tests/misuse and checks that what
# its first comment says happens. See misuse/misuse.h. With TEST_FULL=1 every
# compiler that is installed takes each case, else one of C and one of C++.
# Prints `ok NAME` for each case.

pattern=${1-}
. "$(dirname "$0")/lib.sh"

warnings="-Wall -Wextra -Wpedantic -Wno-unused-function"

# Both makers come first once.
compilers="gcc clang++ clang g++"

# chosen COMPILER...: those of them that take a case.
chosen() {
    local compiler c='' cxx=''
    for compiler in $compilers; do
        case " $* " in *" $compiler "*) have "$compiler" ;; *) false ;; esac ||
            continue
        if [ -n "${TEST_FULL-}" ]; then echo "$compiler"; continue; fi
        case $compiler in
            *++) cxx=${cxx:-$compiler} ;;
            *) c=${c:-$compiler} ;;
        esac
    done
    echo $c $cxx
}

# The words that follow `KEY:` in the comments on top, up to the next key.
told() {
    sed -n "/^\/\*/!q; / $1: /"'!d;'" s/.* $1: *//; s/ *\*\/\$//; p" "$2" |
        sed 's/ *\(by\|flags\): .*//; q'
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

# case_with COMPILER FILE, whose comment is in by, flags, refused and aborts:
# says what is wrong, nothing when all is well.
case_with() {
    local file=$2 out=$tmp/$1-${2##*/} other=${2%.c}.b.c flags=$flags
    local command want=$refused rc
    command=$(command_of "$1" "$file")
    [ -n "$command" ] || return
    case $1 in clang* | g++) flags=${flags/-Wjump-misses-init/} ;; esac
    [ -f "$other" ] || other=
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
    want=$aborts
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
    local compiler wrong by flags refused aborts
    by=$(told by "$1")
    flags=$(told flags "$1")
    refused=$(told refused "$1")
    aborts=$(told aborts "$1")
    wrong=$(for compiler in $(chosen ${by:-$compilers}); do
        case_with "$compiler" "$1" 2>&1
    done)
    [ -z "$wrong" ] || { echo "$wrong"; return 1; }
}

for compiler in $compilers; do
    have "$compiler" || skip "misuse: no $compiler"
done
for compiler in $(chosen $compilers); do
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
