# lib.sh: what the scripts here share; see ../peers.sh. Each prints `ok NAME`
# and `not ok NAME` lines, and ends with status 0 when all were ok.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
export no_proxy='*'
started=()
trap 'end_all; rm -rf "$tmp"' EXIT

# By their numbers: nobody else's program is ended.
end_all() {
    local p
    for p in "${started[@]}"; do kill -TERM "$p" 2>/dev/null; done
    for p in "${started[@]}"; do wait "$p" 2>/dev/null; done
    started=()
}

# check NAME COMMAND...: ok if it succeeds; else what it said is shown.
check() {
    local name=$1
    shift
    if "$@" >"$tmp/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "not ok $name"
        tail -n 15 "$tmp/said" | sed 's/^/    /'
    fi
}

# need PROGRAM...: else nothing here can be tried; a failure where CI=true.
need() {
    local p
    for p; do
        have "$p" && continue
        if [ "${CI-}" = true ]; then echo "not ok $p is installed"; exit 1; fi
        echo "skip: $p is not installed"
        exit 0
    done
}

finish() { end_all; [ "$failed" -eq 0 ]; exit; }

# A port where nobody answers now.
free_port() {
    local p
    while :; do
        p=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
    done
    echo "$p"
}

# until_up PORT: waits until somebody accepts there.
until_up() {
    local try
    for try in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nobody listens at port $1"
    return 1
}

# build SOURCE: a program from a C file, as $tmp/NAME.
build() { cc -O2 -I. "$1" -o "$tmp/$(basename "$1" .c)" || exit; }

# serve NAME ARGUMENT...: starts $tmp/NAME, which says where it listens; sets
# $pid, and $port to the first TCP port.
serve() {
    local name=$1 log=$tmp/$1.$RANDOM.log try
    shift
    : >"$log"
    "$tmp/$name" "$@" >"$log" 2>&1 &
    pid=$!
    started+=("$pid")
    port=
    for try in $(seq 100); do
        port=$(sed -n 's|^asyncweb: https\{0,1\}://.*:\([0-9]*\).*|\1|p' "$log" |
            head -n 1)
        if [ -n "$port" ] || grep -q '^asyncweb: unix:' "$log"; then return; fi
        sleep 0.1
    done
    cat "$log"
    echo "not ok $name starts"
    exit 1
}

# says WANT COMMAND...: it prints exactly that.
says() {
    local want=$1 got
    shift
    got=$("$@") || { echo "status $?: $*"; return 1; }
    [ "$got" = "$want" ] && return
    printf 'wanted: %s\ngot:    %s\n' "$want" "$got"
    return 1
}

# live PORT: WebSockets and events through the proxy there.
live() {
    if have node && [ -d build/npm/node_modules/ws ]; then
        node tests/peers/live.mjs "127.0.0.1:$1" || failed=1
    elif [ "${CI-}" = true ]; then
        echo "not ok node and npm's ws are there"
        failed=1
    else
        echo "skip: node or npm's ws is not there"
    fi
}

fetch() { curl -sS -m 20 "$@"; }

rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
descriptors() { ls "/proc/$1/fd" | wc -l; }
