#!/bin/bash
# examples.sh [FILE...]: builds and tries every example as its comment says.
#
# The comment on top of examples/NAME.c is the user's guide and the test:
#
#   /* hello.c: the smallest server.
#
#      cc examples/hello.c -o hello && ./hello
#
#      $ curl -s localhost:5000/
#      Hello, World!
#   */
#
#   cc ...   builds it, from the top of the repository, without a word from the
#            compiler (what follows && is for the reader). With TEST_FULL=1 to
#            the letter, else all share one copy of the implementation
#   $ ...    a command; a trailing \ continues it. The lines up to the next
#            blank line or command are what it prints; `...` stands for any
#            text. Without such lines it only has to succeed.
#
# An example is a server, unless it has commands and none mentions port 5000. A
# server takes the port as its argument, says `asyncweb: http://ADDRESS:PORT` as
# it starts, and ends with status 0 after SIGTERM. Here it gets port -1, any free
# one, and 5000 becomes that port in the commands and what they print.
#
# An example of several files lives in examples/NAME/, its comment in main.c.

. "$(dirname "$0")/lib.sh"
export no_proxy='*'

# The comment: one line for each `cc` line, command and line of its output, as
# `cc TEXT`, `$ TEXT` and `> TEXT`.
cat >"$tmp/comment.awk" <<'AWK'
done { next }
{ done = sub(/ *\*\/.*/, "") }
NR == 1 { next }
{ raw = $0; sub(/^ *(\* )? */, "") }
more { text = text " " $0 }
!more { text = $0 }
more || /^\$ / {
    if (!more) indent = length(raw) - length($0)
    more = sub(/ *\\$/, "", text)
    if (!more) print text
    output = 1
    next
}
output && $0 == "" { output = 0 }
output { print "> " substr(raw, indent + 1) }
!output && /^cc / && !built++ { sub(/ *&&.*/, ""); print }
AWK

# Waits for a server to say its address in FILE; prints the port.
port_of() {
    local try port
    for ((try = 0; try < 100; try++)); do
        port=$(sed -n 's|^asyncweb: [a-z]*://[^ ]*:\([0-9]*\).*|\1|p' "$1")
        if [ -n "$port" ]; then echo "${port%%$'\n'*}"; return 0; fi
        sleep 0.05
    done
    return 1
}

# SIGTERM, then the server's exit status; SIGKILL after ten seconds.
stop() {
    local try
    kill -TERM "$1" 2>/dev/null
    for ((try = 0; try < 100; try++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null
    wait "$1"
}

# What a command printed, against the lines it should have.
matches() {
    local pattern
    pattern=$(printf '%s' "$2" | sed 's/[][\*?]/\\&/g; s/\.\.\./*/g')
    [[ $1 == $pattern ]]
}

# Runs `command`, compares with `expected`. 77: a tool is not installed.
attempt() {
    local got rc tool=${command%%[ ;|&]*}
    have "$tool" || [ -x "$tool" ] || {
        echo "$tool not installed"
        return 77
    }
    got=$(timeout 20 bash -c "${command//5000/$port}" 2>&1)
    rc=$?
    if [ -z "$expected" ] && [ $rc -eq 0 ]; then return 0; fi
    if [ -n "$expected" ] && matches "$got" "${expected//5000/$port}"; then
        return 0
    fi
    printf '$ %s\n%s\nexit status %d\n' "$command" "$got" $rc
    if [ -n "$expected" ]; then printf 'expected:\n%s\n' "$expected"; fi
    return 1
}

# Runs the commands of the script in file descriptor 3, one after another.
converse() {
    local kind text command='' expected='' rc=0
    while IFS= read -r text <&3; do
        kind=${text%% *}
        text=${text#* }
        case $kind in
            '$')
                if [ -n "$command" ]; then attempt 3<&- || return; fi
                command=$text
                expected=
                ;;
            '>') expected=$expected${expected:+$'\n'}$text ;;
        esac
    done
    if [ -n "$command" ]; then attempt 3<&-; fi
}

bearssl() {
    echo '#include <bearssl.h>' | cc -fsyntax-only -x c - 2>/dev/null
}

# One example, in a directory of its own.
try() {
    local source=$1 main=$1 dir port='' program=0 rc said
    local name=${1#examples/}
    [ -d "$source" ] && main=$source/main.c
    dir=$tmp/run/${name%.c}
    mkdir -p "$dir"
    ln -s "$PWD/asyncweb.h" "$PWD/examples" "$dir/"
    awk -f "$tmp/comment.awk" "$main" >"$dir/script"
    cd "$dir" || return 1

    build=$(grep '^cc ' script) || { echo "no cc line"; return 1; }
    case $build in
        *-lbearssl*) bearssl || { echo "BearSSL not installed"; return 77; } ;;
        *)  # A buffer's server is compiled another way.
            grep -q 'define ASYNCWEB_FIXED_MEMORY' "$main" ||
                build=${build/ -o / $linked -o }
            ;;
    esac
    said=$($build 2>&1)
    rc=$?
    if [ -n "$said" ] || [ $rc -ne 0 ]; then
        printf '%s\n%s\n' "$build" "$said"
        return 1
    fi
    [ -z "${TEST_FULL-}" ] ||       # make matrix does more of this
        ${build/ -o / -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -o } ||
        return 1

    if ! grep -q '^\$ ' script || grep -q '^\$ .*5000' script; then
        program=${build##* -o }
        "./${program%% *}" -1 >log 2>&1 &
        program=$!
        port=$(port_of log) || { echo "no address:"; cat log; }
    fi
    converse 3<script
    rc=$?
    if [ $program -ne 0 ]; then
        stop $program || { echo "exit status $? after SIGTERM"; rc=1; }
        [ -n "$port" ] || rc=1
        if [ $rc -eq 1 ]; then echo "log:"; cat log; fi
    fi
    return $rc
}

linked=$(implementation cc) || exit
[ $# -gt 0 ] || set -- examples/*.c examples/*/
each try < <(for f; do [ -e "$f" ] && printf '%s\n' "${f%/}"; done)
count
finish examples
