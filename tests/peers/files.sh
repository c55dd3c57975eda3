#!/bin/bash
# files.sh: examples/static_files.c and curl. Prints `ok NAME` or `not ok NAME`
# for each check, `skip WHY` when there is no curl; status 1 if one failed.

cd "$(dirname "$0")/../.." || exit 2
command -v curl >/dev/null || { echo "skip curl is not installed"; exit 0; }
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

same() { cmp -s "$1" "$2" && echo same; }

mkdir "$dir/www" "$dir/www/docs"
${CC:-cc} -O1 examples/static_files.c -o "$dir/server" || exit 2
head -c 20000000 /dev/urandom >"$dir/www/big"
echo 'var x = 1;' >"$dir/www/app.js"
gzip -k "$dir/www/app.js"
echo '<p>docs' >"$dir/www/docs/index.html"
echo secret >"$dir/secret"
ln -s ../secret "$dir/www/link"
touch -d '2020-01-02 03:04:05 UTC' "$dir/www/"* 2>/dev/null

"$dir/server" -1 "$dir/www" >"$dir/log" 2>&1 &
server=$!
for ((try = 0; try < 100; try++)); do
    port=$(sed -n 's|^asyncweb: http://[^ ]*:\([0-9]*\).*|\1|p' "$dir/log")
    [ -n "$port" ] && break
    sleep 0.05
done
url=http://127.0.0.1:$port
get() { curl -s --max-time 60 "$@"; }
code() { curl -s --max-time 60 -o /dev/null -w '%{http_code}' "$@"; }

get "$url/big" -o "$dir/a"
check whole "$(same "$dir/a" "$dir/www/big")" same

head -c 7654321 "$dir/www/big" >"$dir/b"
get -C - "$url/big" -o "$dir/b"
check resume "$(same "$dir/b" "$dir/www/big")" same

get -C - "$url/big" -o "$dir/b"
check resume_complete "$(same "$dir/b" "$dir/www/big")" same

get -r 1000000-1999999 "$url/big" -o "$dir/c"
head -c 2000000 "$dir/www/big" | tail -c 1000000 >"$dir/d"
check range "$(same "$dir/c" "$dir/d")" same

get -r -5 "$url/big" -o "$dir/c"
tail -c 5 "$dir/www/big" >"$dir/d"
check suffix "$(same "$dir/c" "$dir/d")" same

check several "$(get -r 0-0,500-500 "$url/big" | grep -ac '^Content-Range: ')" 2
check unsatisfiable "$(code -r 20000000- "$url/big")" 416

# Slower than the socket's buffers, so that the server has to wait.
get --limit-rate 8M "$url/big" -o "$dir/e"
check slow "$(same "$dir/e" "$dir/www/big")" same

# Four at once, and one that leaves.
for i in 1 2 3 4; do get "$url/big" -o "$dir/p$i" & pids[i]=$!; done
curl -s --max-time 1 --limit-rate 100k "$url/big" -o /dev/null
wait "${pids[@]}"
all=
for i in 1 2 3 4; do all+=$(same "$dir/p$i" "$dir/www/big"); done
check at_once "$all" samesamesamesame

check head "$(get -I "$url/big" | tr -d '\r' |
    sed -n 's/^Content-Length: //p')" 20000000
check date "$(get -I "$url/big" | tr -d '\r' |
    sed -n 's/^Last-Modified: //p')" 'Thu, 02 Jan 2020 03:04:05 GMT'
check not_newer "$(code -z 'Thu, 02 Jan 2020 03:04:05 GMT' "$url/big")" 304
check newer "$(code -z 'Thu, 02 Jan 2020 03:04:04 GMT' "$url/big")" 200
check newer_than_file "$(code -z "$dir/www/big" "$url/big")" 304

get --etag-save "$dir/etag" "$url/app.js" -o /dev/null
check etag "$(code --etag-compare "$dir/etag" "$url/app.js")" 304

check compressed "$(get --compressed "$url/app.js")" 'var x = 1;'
check compressed_field "$(get -I --compressed "$url/app.js" | tr -d '\r' |
    sed -n 's/^Content-Encoding: //p')" gzip
check plain "$(get "$url/app.js")" 'var x = 1;'

check index "$(get "$url/docs/")" '<p>docs'
check redirect "$(get -L "$url/docs")" '<p>docs'
check climb "$(code --path-as-is "$url/../secret")" 400
check climb_encoded "$(code --path-as-is "$url/..%2fsecret")" 400
check link "$(code "$url/link")" 404
check post "$(code -d x "$url/app.js")" 405

kill -TERM "$server"
wait "$server"
check stop $? 0
server=
exit $failed
