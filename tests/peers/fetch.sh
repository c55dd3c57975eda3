#!/bin/bash
# fetch.sh: examples/fetch.c, sanitized, against nginx, node and Python: each
# kind of framing, redirects, credentials, a UNIX socket, a proxy, many at once,
# files, forms, time-outs, what is broken, and the exit status of each.

. "$(dirname "$0")/lib.sh"
need nginx node python3 htpasswd
cc -g -O1 -fsanitize=address,undefined examples/fetch.c -o "$tmp/fetch" || exit

get() { "$tmp/fetch" "$@"; }

# ---- who is asked ----

web=$(free_port)
forward=$(free_port)
mkdir "$tmp/nginx" "$tmp/www"
head -c 100000000 /dev/urandom >"$tmp/www/big"
head -c 70000 "$tmp/www/big" >"$tmp/www/page"
echo small >"$tmp/www/small"
for n in $(seq 100); do echo "this is number $n" >"$tmp/www/$n"; done
htpasswd -bc "$tmp/users" 'A. Nyone' 'p:w"d' 2>/dev/null
cat >"$tmp/nginx.conf" <<CONF
daemon off;
master_process off;
pid $tmp/nginx/pid;
error_log $tmp/nginx/error.log crit;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path $tmp/nginx/body;
    proxy_temp_path $tmp/nginx/proxy;
    fastcgi_temp_path $tmp/nginx/fastcgi;
    uwsgi_temp_path $tmp/nginx/uwsgi;
    scgi_temp_path $tmp/nginx/scgi;
    server {
        listen 127.0.0.1:$web;
        listen unix:$tmp/sock;
        root $tmp/www;
        location /ssi/ { alias $tmp/www/; ssi on; ssi_types *; }
        location /once/ { alias $tmp/www/; keepalive_timeout 0; }
        location /slowly/ { alias $tmp/www/; limit_rate 30k; }
        location /private/ {
            alias $tmp/www/;
            auth_basic here;
            auth_basic_user_file $tmp/users;
        }
        location /301 { return 301 /small; }
        location /302 { return 302 http://127.0.0.1:$web/method; }
        location /303 { return 303 method; }
        location /307 { return 307 ?again; }
        location /308 { return 308 /method; }
        location /round { return 302 /round; }
        location /away { return 302 http://localhost:$web/credentials; }
        location /method { return 200 "\$request_method \$content_length\n"; }
        location /credentials { return 200 "[\$http_authorization]\n"; }
        location /query { return 200 "\$request_uri\n"; }
        location /host { return 200 "\$http_host \$http_user_agent\n"; }
        if (\$args = again) { rewrite .* /method? last; }
    }
    server {
        listen 127.0.0.1:$forward;
        location / {
            if (\$http_proxy_authorization = "") { return 407; }
            proxy_set_header Via "1.1 nginx";
            proxy_set_header Host \$http_host;
            proxy_pass http://\$http_host\$request_uri;
        }
    }
}
CONF
nginx -c "$tmp/nginx.conf" 2>"$tmp/nginx/said" &
started+=($!)
node tests/peers/upstream.mjs >"$tmp/ports" &
started+=($!)
cat >"$tmp/old.py" <<'PYTHON'
import functools, http.server, sys
class Old(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != '/open-ended': return super().do_GET()
        self.send_response(200)
        self.end_headers()
        with open(self.directory + '/page', 'rb') as page:
            while some := page.read(7000): self.wfile.write(some)
    def log_message(self, *_): pass
at = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
    functools.partial(Old, directory=sys.argv[1]))
print(at.server_port, flush=True)
at.serve_forever()
PYTHON
python3 "$tmp/old.py" "$tmp/www" >"$tmp/old" &
started+=($!)
until_up "$web" || { cat "$tmp/nginx/said"; echo "not ok nginx starts"; exit 1; }
for try in $(seq 100); do
    [ -s "$tmp/ports" ] && [ -s "$tmp/old" ] && break
    sleep 0.1
done
read -r script raw <"$tmp/ports"
web=http://127.0.0.1:$web
script=http://127.0.0.1:$script
raw=http://127.0.0.1:$raw
old=http://127.0.0.1:$(cat "$tmp/old")

# ---- what is wanted ----

# gives FILE ARGUMENT...: the body is that, byte by byte.
gives() {
    local file=$1
    shift
    get "$@" >"$tmp/body" || { echo "status $?"; return 1; }
    cmp "$file" "$tmp/body"
}

# ends STATUS ARGUMENT...: with that exit status, and a word on it.
ends() {
    local want=$1 rc
    shift
    get "$@" >"$tmp/body" 2>"$tmp/word"
    rc=$?
    cat "$tmp/word"
    [ "$rc" -eq "$want" ] || { echo "status $rc"; return 1; }
    grep -q '^fetch: ' "$tmp/word" && [ "$(wc -l <"$tmp/word")" -eq 1 ]
}

# heads TEXT ARGUMENT...: there is that in the head.
heads() {
    local text=$1
    shift
    get -i "$@" >"$tmp/body" || { echo "status $?"; return 1; }
    sed '/^\r$/q' "$tmp/body" | grep -i "^$text"$'\r$' ||
        { head "$tmp/body"; return 1; }
}

# at_least SECONDS COMMAND...
at_least() {
    local start=${EPOCHREALTIME/[.,]/} n=$1
    shift
    "$@" && [ $((${EPOCHREALTIME/[.,]/} - start)) -ge $((n * 1000000)) ]
}

# at_most SECONDS COMMAND...
at_most() {
    local start=${EPOCHREALTIME/[.,]/} n=$1
    shift
    "$@" && [ $((${EPOCHREALTIME/[.,]/} - start)) -le $((n * 1000000)) ]
}

# The first hundred in their order, some of them late.
in_order() {
    local n urls=() all="$tmp/all"
    : >"$all"
    for n in $(seq 100); do
        case $n in
            3) urls+=("$script/drops"); printf 'drop\n%.0s' 1 2 3 4 5 ;;
            50) urls+=("$web/slowly/page"); cat "$tmp/www/page" ;;
            *) urls+=("$1/$n"); cat "$tmp/www/$n" ;;
        esac >>"$all"
    done
    gives "$all" "${urls[@]}"
}

to_files() {
    rm -f "$tmp/one" "$tmp/two"
    says small get -o "$tmp/one" -o "$tmp/two" "$web/page" "$web/ssi/page" \
        "$web/small" && cmp "$tmp/www/page" "$tmp/one" &&
        cmp "$tmp/www/page" "$tmp/two"
}

# Some fail: the others are whole, and the status is the first error's.
some_fail() {
    echo small >"$tmp/want"
    echo small >>"$tmp/want"
    get -f "$web/small" "$web/nothing" "$raw/garbage" "$web/small" \
        >"$tmp/body" 2>"$tmp/word"
    says 22 echo $? && cmp "$tmp/want" "$tmp/body" &&
        says 2 grep -c . "$tmp/word"
}

nobody_reads() {
    { get "$web/big" 2>"$tmp/word"; echo $? >"$tmp/rc"; } | head -c 100 | wc -c
    cat "$tmp/rc"
}

# A hundred over the 50 connections that there may be.
kept() {
    local n urls=() before after
    for n in $(seq 100); do urls+=("$script/hello"); done
    before=$(get "$script/counts" | sed 's/.*connections":\([0-9]*\).*/\1/')
    get "${urls[@]}" >"$tmp/body" || return
    after=$(get "$script/counts" | sed 's/.*connections":\([0-9]*\).*/\1/')
    echo "$before to $after connections"
    [ $((after - before)) -eq 51 ]
}

# Kept connections whose server ends them a moment after each answer.
races() {
    local n urls=()
    for n in $(seq 100); do urls+=("$script/hello"); done
    yes hello | head -n 100 >"$tmp/want"
    get "$script/race" >"$tmp/body" || return
    for n in 1 2 3 4 5; do gives "$tmp/want" "${urls[@]}" || return; done
}

check "a file of nginx" says small get "$web/small"
check "a larger one" gives "$tmp/www/page" "$web/page"
check "100 MB" gives "$tmp/www/big" "$web/big"
check "in chunks" gives "$tmp/www/page" "$web/ssi/page"
check "whose connection is not kept" gives "$tmp/www/page" "$web/once/page"
check "that is slow" at_least 1 gives "$tmp/www/page" "$web/slowly/page"
check "a query, a fragment" says '/query?a=1&b=%20' \
    get "$web/query?a=1&b=%20#top"
check "an empty query" says '/query?' get "$web/query?#top"
check "a status line" heads "HTTP/1.1 200" "$web/small"
check "HEAD" heads "Content-Length: 100000000" -X HEAD "$web/big"
check "a range" says mal get -H 'Range: bytes=1-3' "$web/small"
check "304" heads "HTTP/1.1 304" "$web/small" \
    -H "If-None-Match: $(get -i "$web/small" | sed -n 's/^ETag: \(.*\)\r/\1/p')"
check "a field of ours" says "a.example me/1" get "$web/host" \
    -H 'Host: a.example' -H 'User-Agent: me/1'
check "404" grep -q 'nginx' <(get "$web/nothing")
check "404 with -f" ends 22 -f "$web/nothing"

check "301 is an answer" heads "Location: $web/small" "$web/301"
check "301 is followed" says small get -L "$web/301"
check "302 of a POST" says "GET " get -L -d a=1 "$web/302"
check "303 of a POST" says "GET " get -L -d a=1 "$web/303"
check "302 of a PUT" says "PUT 3" get -L -X PUT -d a=1 "$web/302"
check "307 of a POST" says "POST 3" get -L -d a=1 "$web/307"
check "308 of a POST" says "POST 3" get -L -d a=1 "$web/308"
check "without end" heads "HTTP/1.1 302" -L "$web/round"

check "no user" ends 22 -f "$web/private/small"
check "a user" says small get -f -u 'A. Nyone:p:w"d' "$web/private/small"
check "a user in the URL" says small \
    get -f "http://A.%20Nyone:p:w%22d@${web#http://}/private/small"
check "another's password" ends 22 -f -u 'A. Nyone:p' "$web/private/small"
check "credentials stay with their origin" says "[]" \
    get -L -u a:b "$web/away"

check "a UNIX socket" gives "$tmp/www/big" --unix-socket "$tmp/sock" \
    http://anything/big
check "whose host is the URL's" says "anything:81 x" get -H 'User-Agent: x' \
    --unix-socket "$tmp/sock" http://anything:81/host
check "no UNIX socket" ends 7 --unix-socket "$tmp/none" http://anything/

proxy=http://user:word@127.0.0.1:$forward
check "a proxy" gives "$tmp/www/big" --proxy "$proxy" "$web/big"
check "which is told the host" says "${web#http://} x" get -H 'User-Agent: x' \
    --proxy "$proxy" "$web/host?"
check "a form through it" says "POST 3" get --proxy "$proxy" -d a=1 "$web/method"
check "redirects through it" says small get -L --proxy "$proxy" "$web/301"
check "it wants a user" heads "HTTP/1.1 407" --proxy "${proxy/user:word@/}" \
    "$web/small"
check "it resolves names" ends 22 -f --proxy "$proxy" http://host.invalid/
check "http_proxy" env -u no_proxy http_proxy="${proxy/user:word@/}" bash -c \
    "'$tmp/fetch' -i '$web/small' | grep -q '^HTTP/1.1 407'"
check "no_proxy" env no_proxy=a.example,127.0.0.1 http_proxy="$proxy" \
    bash -c "'$tmp/fetch' '$web/host' | grep -v 1.1.nginx"
check "no proxy" ends 7 --proxy http://127.0.0.1:1 "$web/small"
check "a proxy that is none" ends 5 --proxy ftp://127.0.0.1/ "$web/small"

get "$script/bytes" >"$tmp/bytes"
check "a million bytes of node" says 1000000 stat -c %s "$tmp/bytes"
check "in chunks of all sizes, with trailers" gives "$tmp/bytes" "$script/chunks"
check "103 comes before" says hinted get "$script/hints"
check "204" heads "X-Kept: yes" "$script/empty"
check "a form" says "POST /what application/x-www-form-urlencoded 9
a=1&b=%20" get -d a=1 -d b=%20 "$script/what"
check "a body of another type" says "PUT /what text/plain 3
a=1" get -X PUT -d a=1 -H 'Content-Type: text/plain' "$script/what"
check "slowly, but never silent for long" at_least 1 gives \
    <(yes drop | head -n 5) --timeout 1000 "$script/drops"
check "too late" at_most 2 ends 28 --timeout 500 "$script/slow"
check "cut off" ends 56 "$script/cut"
check "what had come is there" cmp -n 300000 "$tmp/body" "$tmp/bytes"
check "cut off in chunks" ends 56 "$script/cut-chunks"

check "HTTP/1.0 of Python" gives "$tmp/www/big" "$old/big"
check "and without a length" gives "$tmp/www/page" "$old/open-ended"
check "a directory's redirect" says "" get -L -X HEAD "$old/."
check "HTTP/1.0 without fields" says "old and open-ended" get "$raw/1.0"
check "closed without an answer" ends 52 "$raw/nothing"
check "half a head" ends 52 "$raw/half"
check "shorter than it says" ends 56 "$raw/short"
check "longer than it says" says abc get "$raw/more"
check "not HTTP" ends 8 "$raw/garbage"
check "two lengths" ends 8 "$raw/lengths"
check "a length and chunks" ends 8 "$raw/both"
check "a chunk that is none" ends 8 "$raw/chunk"
check "101 that nobody asked for" ends 8 "$raw/switch"

check "100 in their order" in_order "$web"
check "100 of Python" in_order "$old"
check "100 over a UNIX socket" says 7000000 bash -c "'$tmp/fetch' \
    --unix-socket '$tmp/sock' \$(yes http://x/page | head -n 100) | wc -c"
check "to files" to_files
check "to a file that cannot be" ends 23 -o "$tmp/none/file" "$web/small"
check "nobody reads on: SIGPIPE" says $'100\n141' nobody_reads
check "the disk is full" ends 23 -o /dev/full "$web/page"
check "some fail" some_fail
check "connections are kept" kept
check "500 while connections end" races

check "no URL" ends 2
check "no option" ends 2 --nothing "$web/"
check "a field that cannot be" ends 2 -H $'A: b\rc' "$web/"
check "not a URL" ends 3 nothing://here
check "https" ends 1 https://127.0.0.1/
check "no such host" ends 6 http://host.invalid/
check "nobody there" ends 7 http://127.0.0.1:1/
finish
