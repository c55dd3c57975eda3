#!/bin/bash
# fuzz.sh SECONDS: looks for inputs that break a target of tests/fuzz, for so
# many seconds each, two targets at a time. What it learns stays in
# build/fuzz/NAME.corpus, and an input that breaks one in build/fuzz/NAME.crash-*.
# FUZZ=PATTERN picks targets by name.
#
# It takes clang and its fuzzer; without them the seeds are replayed.

. "$(dirname "$0")/lib.sh"

seconds=${1:-10}
jobs=2
echo 'int LLVMFuzzerTestOneInput(const char *p, long n);
int LLVMFuzzerTestOneInput(const char *p, long n) { return p && n < 0; }' \
    >"$tmp/try.c"
if ! clang -fsanitize=fuzzer "$tmp/try.c" -o "$tmp/try" 2>/dev/null; then
    skip "no clang -fsanitize=fuzzer: the seeds only"
    make -s build/seeds/fuzz_seeds out=build/seeds || exit
    ./build/seeds/fuzz_seeds
    exit
fi

make -s build/fuzz/all || exit

fuzz() {
    local corpus=build/fuzz/$1.corpus crash
    mkdir -p "$corpus"
    rm -f "build/fuzz/$1".*-*
    ln -sf all "build/fuzz/$1"
    "build/fuzz/$1" -max_total_time="$seconds" -timeout=20 -max_len=4096 \
        -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="build/fuzz/$1." \
        "$corpus" "tests/fuzz/$1" >"$tmp/$1.log" 2>&1 && {
        awk -v name="$1" '/number_of_executed_units/ { n = $2 }
            / cov: / { sub(/.* cov: /, ""); c = $1 }
            END { printf "%-12s %9d inputs, %5d edges\n", name, n, c }' \
            "$tmp/$1.log"
        return
    }
    grep -aE -A 20 'not true|ERROR|runtime error' "$tmp/$1.log" |
        grep -av 'in fuzzer::'
    for crash in "build/fuzz/$1".*-*; do
        echo "$crash"
        od -A d -t x1z "$crash" | head -n 100
    done
    return 1
}

each fuzz < <(basename -as .c tests/fuzz/*.c | grep -E "${FUZZ-}")
for ((n = 1; n <= lines; n++)); do
    if [ "$(cat "$tmp/$n.rc")" -eq 0 ]; then cat "$tmp/$n.out"; fi
done
count
finish fuzz
