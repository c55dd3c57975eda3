#!/bin/bash
# upload.sh: examples/upload.c and curl: large files, forms, a client that goes.
# Prints `ok NAME` or `not ok NAME` for each check; status 1 if one failed.

cd "$(dirname "$0")/../.." || exit 2
command -v curl >/dev/null || { echo "skip: curl is not installed"; exit 0; }
export no_proxy='*'
dir=$(mktemp -d) || exit 2
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
failed=0

check() {
    if [ "$2" = "$3" ]; then echo "ok $1"; return; fi
    echo "not ok $1"
    printf '    %s\n' "got:  $2" "want: $3"
    failed=1
}

# until COMMAND...: for at most five seconds.
until_true() {
    local try
    for try in $(seq 50); do "$@" && return; sleep 0.1; done
    return 1
}

memory() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$server/status"; }
status() { curl -s -o "$dir/answer" -w '%{http_code}' "$@"; }
same() { cmp -s "$1" "$2" && echo same; }

${CC:-cc} -O1 examples/upload.c -o "$dir/upload" || exit 2
root=$PWD
cd "$dir" || exit 2
./upload -1 >log 2>&1 &
server=$!
said_port() { grep -q 'asyncweb: http' log; }
until_true said_port
url=http://127.0.0.1:$(sed -n 's|.*http://[^ ]*:\([0-9]*\).*|\1|p' log | head -1)

head -c 20000000 /dev/urandom >big
echo small >small                   # not the log: it grows while curl reads it
before=$(memory)
check "put, sized" "$(curl -s -T big "$url/up/a")" "a: 20000000 bytes"
check "the same bytes" "$(same big uploads/a)" same
check "put, chunked" "$(curl -s -T - "$url/up/b" <big)" "b: 20000000 bytes"
check "the same bytes, chunked" "$(same big uploads/b)" same
check "form" "$(curl -s -F x=y -F 'file=@big;filename=c d.bin' "$url/")" \
    "c d.bin: 20000000 bytes"
check "the same bytes, form" "$(same big "uploads/c d.bin")" same
check "form with two files" "$(curl -s -F 'f=@big;filename=e' \
    -F 'f=@small;filename=../../f' "$url/")" "f: 6 bytes"
check "the same bytes, two files" "$(same big uploads/e)$(same small uploads/f)" \
    samesame
check "a gigabyte" "$(head -c 1073741824 /dev/zero | curl -s -T - "$url/up/g")" \
    "g: 1073741824 bytes"
rm -f uploads/g
after=$(memory)
check "flat memory: $before kB, then $after kB" \
    "$([ $((after - before)) -lt 2000 ] && echo flat)" flat
check "no form" "$(status -d a=b "$url/")" 400
check "a bad name" "$(status -T small "$url/up/.x")" 400
check "a bad name, escaped" "$(status -T small --path-as-is "$url/up/a%2Fb")" 400

curl -s --limit-rate 1M -T big "$url/up/slow" >/dev/null &
client=$!
partial() { [ -s uploads/.slow.part ]; }
until_true partial
check "a partial file" "$(partial && echo there)" there
check "progress" "$(curl -s "$url/progress" | grep -c '^{"slow":[1-9][0-9]*}$')" 1
check "the same name" "$(status -T small "$url/up/slow")" 409
kill $client
wait $client 2>/dev/null
gone() { ! [ -e uploads/.slow.part ]; }
until_true gone
check "the client has gone" "$(gone && ! [ -e uploads/slow ] && echo gone)" gone
check "no progress" "$(curl -s "$url/progress")" "{}"

kill -TERM $server
wait $server
check "exit status" $? 0
server=
cd "$root" || exit 2
exit $failed
