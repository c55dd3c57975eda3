#!/bin/bash
# memory.sh SECONDS [NAME...]: what connections cost that do nothing, and views
# that sleep: memory that is written to and the process's own (Private_Dirty), so
# without the kernel's. Prints a table. Names are those of peers/lib.sh. With
# 1 second it is a short round.

. "$(dirname "$0")/lib.sh"
. "$bench/peers/lib.sh"
make_tools || { bad "the tools compile"; finish memory; }
ulimit -n "$(ulimit -Hn)"
seconds=${1:-3}
shift
idle=10000
asleep=5000
if [ "$seconds" -le 1 ]; then idle=1000 asleep=500; fi
if [ "$(ulimit -n)" -lt $((idle + 500)) ]; then idle=$(($(ulimit -n) - 500)); fi

# Bytes for each of so many.
bytes() { compute %.0f "($2 - $1) * 1024 / $3"; }

# idle NAME: sets $idle_bytes, $kept_bytes (after they have closed) and
# $idle_cpu, in percent.
idle() {
    local before after said ns
    peer_up "$1" || return
    load -n 64 "$port" >"$tmp/load" || return
    sleep 0.2
    before=$(memory "$pid")
    coproc hold { load -i -g 120 -c $idle -n $idle "$port" 2>&1; }
    read -r -t 120 said <&"${hold[0]}"
    read -r -t 5 said <&"${hold[0]}"
    if [ "$said" != held ]; then
        kill "$hold_PID"
        return 1
    fi
    sleep 0.5
    after=$(memory "$pid")
    ns=$(cpu "$pid")
    sleep "$seconds"
    ns=$(($(cpu "$pid") - ns))
    echo >&"${hold[1]}"
    read -r -t 20 said <&"${hold[0]}"
    echo >&"${hold[1]}"
    wait "$hold_PID" 2>/dev/null
    [ "$said" = alive ] || return
    sleep 1
    idle_bytes=$(bytes "$before" "$after" $idle)
    kept_bytes=$(bytes "$before" "$(memory "$pid")" $idle)
    idle_cpu=$(compute %.2f "$ns / $seconds / 1e7")
    stop
}

# asleep NAME: sets $asleep_bytes, $wall (seconds), $answered and $peak (MB).
asleep() {
    local before most=0 now loader
    peer_up "$1" || return
    load -n 64 "$port" >"$tmp/load" || return
    before=$(memory "$pid")
    load -c $asleep -n $asleep -p /sleep -g 12 -w 'Hello, World!' "$port" \
        >"$tmp/load" 2>&1 &
    loader=$!
    while kill -0 $loader 2>/dev/null; do
        now=$(memory "$pid")
        if [ "${now:-0}" -gt "$most" ]; then most=$now; fi
        sleep 0.1
    done
    wait $loader
    peak=$(compute %.1f "$(peak "$pid") / 1024")
    stop
    read -r answered _ wall _ <"$tmp/load"
    asleep_bytes=$(bytes "$before" "$most" $asleep)
    [[ $answered == [0-9]* ]]
}

echo "| user memory | idle, of $idle | left when closed | CPU of those idle" \
    "| asleep, of $asleep | all of these answered in | peak |"
echo '|---|---|---|---|---|---|---|'
[ $# -gt 0 ] || set -- "${peers[@]}"
for name; do
    idle_bytes= asleep_bytes= answered=
    idle "$name"
    case $? in
        0) ok; idle_bytes+=" B" kept_bytes+=" B" idle_cpu+=" %" ;;
        77) skip "$name is not installed"; continue ;;
        *) stop; idle_bytes=fails kept_bytes= idle_cpu=
            if [ "$name" = asyncweb ]; then bad "$idle idle"; fi ;;
    esac
    case $name in
        nginx | h2o) asleep_bytes= answered= peak= ;;
        *) if asleep "$name"; then ok; else stop; bad "$name, asleep"; fi
            asleep_bytes+=" B" peak+=" MB"
            if [ "$answered" = $asleep ]; then answered="$wall s"
            else answered+=" in 12 s"; fi ;;
    esac
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' \
        "${full[$name]:-$name}" "$idle_bytes" "$kept_bytes" \
        "$idle_cpu" "$asleep_bytes" "$answered" "$peak"
done
finish memory
