# lib.sh: what the scripts here share, beside ../peers/lib.sh: programs in
# build/bench, servers on one core and those who ask them on the other.

. "$(dirname "${BASH_SOURCE[0]}")/../peers/lib.sh"
export PYTHONDONTWRITEBYTECODE=1
need taskset
bench=$PWD/tests/bench
built=$PWD/build/bench
results=$bench/results
mkdir -p "$built"

# The two cores; on a machine with one, both are that.
cores=$(taskset -cp $$ | sed 's/.*: //' | awk -F '[-,]' '{ print $1, $NF }')
read -r server_core load_core <<<"$cores"
load() { taskset -c "$load_core" "$built/load" "$@"; }

# make_c NAME SOURCE [FLAG...]: $built/NAME, unless it is newer than its source
# and the header.
make_c() {
    local name=$1 source=$2
    shift 2
    if [ "$built/$name" -nt "$source" ] && [ "$built/$name" -nt asyncweb.h ]
    then return; fi
    cc -std=gnu99 -D_GNU_SOURCE -O2 -g -Wall -Wextra -I. "$source" \
        -o "$built/$name" "$@"
}
# built NAME SOURCE FLAG...: or a failure
built() {
    make_c "$@" 2>"$tmp/cc.said" && return
    bad "$1 compiles" "$(head "$tmp/cc.said")"
    return 1
}
on_server_core() { taskset -c "$server_core" "$@"; }
make_tools() {
    make_c load "$bench/load.c" && make_c bare "$bench/bare.c" &&
        make_c server "$bench/server.c" -DASYNCWEB_STATIC
}

# start COMMAND...: on the server's core; sets $pid, and $port to a free one,
# which is written as @ in the arguments, unless $at is one.
# What it says is in $tmp/PORT.log.
start() {
    local arguments=() a
    port=${at:-$(free_port)}
    for a; do arguments+=("${a//@/$port}"); done
    taskset -c "$server_core" "${arguments[@]}" >"$tmp/$port.log" 2>&1 &
    pid=$!
    started+=("$pid")
    until_up "$port" || { cat "$tmp/$port.log"; return 1; }
}
stop() {
    kill -TERM "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return 0
}

finish() {
    end_all
    echo "${1:+$1: }$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# memory PID: KB that are this process's only, and that it has written to.
memory() { awk '/^Private_Dirty/ { print $2 }' "/proc/$1/smaps_rollup"; }
peak() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }
# cpu PID: ns, of all its threads
cpu() { awk '{ ns += $1 } END { printf "%.0f", ns }' /proc/$1/task/*/schedstat \
    2>/dev/null; }
compute() { awk "BEGIN { printf \"$1\", $2 }"; }

# median_of FORMAT < NUMBERS: and the quartiles; of fewer than 20 the least and
# the most.
median_of() {
    tr -s ' ' '\n' | grep . | sort -n | awk -v f="$1" '{ v[NR] = $1 } END {
        m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
        q = NR < 20 ? 1 : int((NR + 3) / 4)
        if (NR > 1) f = f " (" f "-" f ")"
        printf f, m, v[q], v[NR + 1 - q] }'
}

# debian_source PACKAGE PATTERN: $built/sources/FILE of a Debian source package,
# whatever Debian this is, from where its packages come from; nothing of it comes
# into the repository.
debian_source() {
    local at=$built/sources apt from
    [ -n "$(compgen -G "$at/$2")" ] && return
    have apt-get && mkdir -p "$at/list.d" "$at/lists/partial" || return
    from=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' |
        head -n 1)
    printf '%s\n' 'Types: deb-src' "URIs: $from" \
        'Suites: bookworm trixie' 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' \
        >"$at/list.d/debian.sources"
    apt=(timeout 120 apt-get -q -o Dir::Etc::SourceList=/dev/null
        -o "Dir::Etc::SourceParts=$at/list.d" -o "Dir::State::Lists=$at/lists")
    (cd "$at" && { compgen -G 'lists/*Sources*' || "${apt[@]}" update; } &&
        "${apt[@]}" source --download-only --tar-only "$1" &&
        tar xf "$1"_*.orig.tar.* --transform 's|.*/||' --wildcards "*/$2") \
        >"$tmp/source.said" 2>&1
    [ -n "$(compgen -G "$at/$2")" ]
}
