#!/bin/bash
# workers.sh [SECONDS]: what a second worker brings. A view that computes for
# third of a millisecond, so that the clients hardly matter, is asked by 16 of
# them; one and two workers in turns, five rounds. Others on the machine take
# their part: `a core` is what a second of CPU time does.

. "$(dirname "$0")/../lib.sh"
seconds=${1:-2}
rounds=${ROUNDS:-5}
for program in workers drive; do
    cc -O2 -I. tests/live/$program.c -o "$tmp/$program" || exit
done

# measure WORKERS: requests a second, and the part of two cores that the
# processes had.
measure() {
    local port= try pid cpu
    WORKERS=$1 "$tmp/workers" >"$tmp/log" 2>&1 &
    pid=$!
    for try in $(seq 300); do
        port=$(sed -n 's|^asyncweb: http://[^ ]*:\([0-9]*\).*|\1|p' "$tmp/log")
        [ -z "$port" ] || break
        sleep 0.1
    done
    [ -n "$port" ] || { cp "$tmp/log" "$tmp/out"; return 1; }
    "$tmp/drive" "$port" /work 16 $((seconds * 1000)) >"$tmp/out" || return
    cpu=$(cat /proc/"$pid"/stat $(pgrep -P "$pid" | sed 's|.*|/proc/&/stat|') |
        awk -v hz="$(getconf CLK_TCK)" '{ t += $14 + $15 } END { print t / hz }')
    kill -TERM "$pid"
    wait "$pid" || return
    sed "s|^\([0-9]*\) answered in \([0-9]*\) ms.*|\1 \2 $cpu|" "$tmp/out" |
        awk '{ printf "%.0f %.2f\n", $1 / $2 * 1000, $3 / $2 * 1000 }'
}

for ((round = 0; round < rounds; round++)); do
    for n in 1 2; do
        measure $n >>"$tmp/$n" || { bad "$n workers" "$(cat "$tmp/out")"; finish; }
    done
done
awk '
    FNR == 1 { file++ }
    { r[file, FNR] = $1; c[file, FNR] = $2; rounds = FNR }
    function median(x, f,    i, j, t, v) {
        for (i = 1; i <= rounds; i++) v[i] = x[f, i]
        for (i = 1; i <= rounds; i++)
            for (j = i + 1; j <= rounds; j++)
                if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
        low = v[1]; high = v[rounds]
        return v[int((rounds + 1) / 2)]
    }
    END {
        print "| workers | requests/s | of cores | requests/s of a core |"
        print "|---|---|---|---|"
        for (f = 1; f <= 2; f++) {
            m[f] = median(r, f)
            for (i = 1; i <= rounds; i++) p[f, i] = r[f, i] / c[f, i]
            printf "| %d | %.0f (%.0f-%.0f) | %.2f |", f, m[f], low, high,
                median(c, f)
            k[f] = median(p, f)
            printf " %.0f (%.0f-%.0f) |\n", k[f], low, high
        }
        printf "| 2 to 1 | x %.2f | | x %.2f |\n", m[2] / m[1], k[2] / k[1]
    }' "$tmp/1" "$tmp/2"
ok
finish workers
