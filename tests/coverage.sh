#!/bin/bash
# coverage.sh: which lines and branches of asyncweb.h the tests reach: those of
# all test programs together, compiled by clang. Code that was not compiled,
# other platforms' and left-out options', does not count. What is missing is
# listed in build/coverage/missing.

. "$(dirname "$0")/lib.sh"

# The bars, in per cent.
floors_lines=98         # of floors 1 and 2, which are pure
all_lines=92
all_branches=85

for tool in clang llvm-profdata llvm-cov; do
    have $tool || { skip "no $tool: no coverage"; finish coverage; }
done

out=build/coverage
mkdir -p $out
rm -f $out/*.profraw $out/missing
flags='-std=c99 -g -O0 -DTEST_COVERAGE'
flags="$flags -fprofile-instr-generate -fcoverage-mapping"
make -s -j"$jobs" out=$out CC=clang SANITIZE= CFLAGS="$flags" groups= programs || exit
names=$(basename -as .c tests/*.c)
[ -e $out/tls ] || names=$(grep -vx tls <<<"$names")    # no BearSSL
LLVM_PROFILE_FILE=$PWD/$out/%2m.profraw TEST_FULL=1 \
    bash tests/run.sh $(printf "$out/%s " $names) >"$tmp/run" || {
    cat "$tmp/run"
    exit 1
}
llvm-profdata merge -o "$tmp/profile" $out/*.profraw || exit
first=${names%%$'\n'*}
llvm-cov show $out/$first $(printf -- "-object $out/%s " $names) \
    -instr-profile="$tmp/profile" -show-branches=count \
    -show-instantiations=false "$PWD/asyncweb.h" >"$tmp/shown" || exit

# Each program has its own copy of a function and of its branches: a branch
# was taken when it was in any of them.
awk -v floors_bar=$floors_lines -v lines_bar=$all_lines \
    -v branches_bar=$all_branches '
function percent(part, all) { return all ? 100 * part / all : 100 }
function row(name, i) {
    printf "%-36s %5d %6.1f %%  %5d %6.1f %%\n", name, lines[i],
        percent(lines_hit[i], lines[i]), sides[i],
        percent(sides_hit[i], sides[i])
}
function bar(what, got, least) {
    printf "%-36s %6.1f %%, at least %d %%\n", what, got, least
    if (got >= least) passed++; else failed++
}
function side(key, way, count) {
    key = key " " way
    if (!(key in taken)) order[++keys] = key
    taken[key] += count ~ /[1-9]/
}
function add(i, from) {
    lines[i] += lines[from]; lines_hit[i] += lines_hit[from]
    sides[i] += sides[from]; sides_hit[i] += sides_hit[from]
}
FNR == NR {                     # asyncweb.h
    text[FNR] = $0
    if (match($0, /^\/\* >>[a-z0-9]+( [a-z0-9]+)*/)) {
        names[++sections] = substr($0, 6, RLENGTH - 5)
    }
    section[FNR] = sections
    next
}
/Branch \([0-9]+:[0-9]+\): \[True/ {
    split($0, part, /[(): ,\]]+/)       # | | Branch L C [True N False N
    for (i = 1; part[i] != "Branch"; i++) {}
    side(part[i + 1] + 0 " " part[i + 2], "true", part[i + 4])
    side(part[i + 1] + 0 " " part[i + 2], "false", part[i + 6])
    next
}
/^ *[0-9]+\| *[0-9]/ {
    split($0, part, "|")
    i = section[part[1] + 0]
    lines[i]++
    if (part[2] + 0 > 0) lines_hit[i]++
    else miss[part[1] + 0] = "never"
}
END {
    for (k = 1; k <= keys; k++) {
        split(order[k], part, " ")
        i = section[part[1]]
        sides[i]++
        if (taken[order[k]]) sides_hit[i]++
        else if (miss[part[1]] != "never")
            miss[part[1]] = miss[part[1]] " " part[2] ":" part[3]
    }
    for (i = 1; i <= FNR && i <= 100000; i++)
        if (i in miss)
            printf "%d: [%s] %s\n", i, miss[i], text[i] >missing
    printf "%-36s %5s %8s  %5s %8s\n", "", "lines", "", "sides", ""
    for (i = 1; i <= sections; i++) {
        if (!lines[i] && !sides[i]) continue
        row(names[i], i)
        add("all", i)
        if (names[i] ~ /^floor[12] /) add("pure", i)
    }
    row("all", "all")
    bar("lines of floors 1 and 2", percent(lines_hit["pure"], lines["pure"]),
        floors_bar)
    bar("lines", percent(lines_hit["all"], lines["all"]), lines_bar)
    bar("branches", percent(sides_hit["all"], sides["all"]), branches_bar)
    printf "coverage: %d passed, %d failed\n", passed, failed
    exit failed > 0
}' missing=$out/missing asyncweb.h "$tmp/shown"
