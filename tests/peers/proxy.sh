#!/bin/bash
# proxy.sh: examples/proxy.c in front of nginx and of node: heads, framing,
# uploads and downloads by their hash, upstreams and clients that go, 2 GiB in
# flat memory each way, and MANY=100000 requests with random bodies, each of
# which has to come back as it was.

. "$(dirname "$0")/lib.sh"
need nginx node curl
many=${MANY:-100000}
build examples/proxy.c
build tests/peers/many.c

# ---- who is asked ----

web=$(free_port)
mkdir "$tmp/nginx" "$tmp/www"
head -c 100000000 /dev/urandom >"$tmp/www/big"
truncate -s 2G "$tmp/www/huge"
echo small >"$tmp/www/small"
echo small >"$tmp/www/index.html"
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
        root $tmp/www;
        location /ssi/ { alias $tmp/www/; ssi on; ssi_types *; }
        location /once/ { alias $tmp/www/; keepalive_timeout 0; }
        location /limited { client_max_body_size 1m; proxy_pass http://127.0.0.1:1; }
    }
}
CONF
nginx -c "$tmp/nginx.conf" 2>"$tmp/nginx/said" &
started+=($!)
node tests/peers/upstream.mjs >"$tmp/ports" &
upstream=$!
started+=($upstream)
until_up "$web" || { cat "$tmp/nginx/said"; echo "not ok nginx starts"; exit 1; }
for try in $(seq 100); do
    [ -s "$tmp/ports" ] && break
    sleep 0.1
done
read -r script raw <"$tmp/ports"
for name in none raw script web; do
    case $name in none) serve proxy -1 http://127.0.0.1:1 ;;
        *) serve proxy -1 "http://127.0.0.1:${!name}" ;;
    esac
    declare "$name=http://127.0.0.1:$port" "${name}_pid=$pid"
done

# ---- what is wanted ----

peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
sum() { sha256sum | cut -d ' ' -f 1; }
status() { fetch -o "$tmp/answer" -w '%{http_code}\n' "$@"; }

# cut_off ARGUMENT...: curl sees that the body is not whole: status 18, or 56
# when the connection was reset.
cut_off() {
    fetch -o "$tmp/answer" "$@"
    case $? in 18 | 56) ;; *) return 1 ;; esac
}

# flat COMMAND...: with no more than 16 MB in any proxy that did it.
flat() {
    local p
    "$@" || return
    for p in $web_pid $script_pid; do
        [ "$(peak "$p")" -lt 16000 ] || { peak "$p"; return 1; }
    done
}

# What the upstream is told, as curl says it.
told() {
    cat >"$tmp/want" <<HEAD
PUT /head?a=%20&b=//..
X-Kept: one
Accept-Language: en
X-Kept: two
Hop: 3
Cookie: a=1; b=2
X-Forwarded-For: 192.0.2.1, 127.0.0.1
X-Forwarded-Proto: http
X-Forwarded-Host: a.example:81
HEAD
    fetch --path-as-is -X PUT -H User-Agent: -H Accept: -H 'Host: a.example:81' \
        -H 'X-Kept: one' -H 'Accept-Language: en' -H 'X-Kept: two' \
        -H 'Hop: 3' -H 'Cookie: a=1; b=2' -H 'X-Forwarded-For: 192.0.2.1' \
        -H 'X-Forwarded-Proto: gopher' -H 'X-Forwarded-Host: b.example' \
        -H 'Connection: keep-alive, x-hop,X-Two' -H 'X-Hop: 1' -H 'X-Two: 2' \
        -H 'Keep-Alive: 5' -H 'TE: trailers' -H 'Proxy-Authorization: Basic x' \
        -H 'Upgrade: x' -H 'Trailer: x' "$script/head?a=%20&b=//.." >"$tmp/got"
    grep -v '^Host: \|^Content-Length: 0$' "$tmp/got" | diff "$tmp/want" -
}

# What the client is told.
answered() {
    cat >"$tmp/want" <<HEAD
Content-Length: 3
Content-Type: text/x-strange
HTTP/1.1 203 Non-Authoritative Information
Hop: 3
Server: upstream
Set-Cookie: a=1
Set-Cookie: b=2
X-Kept: one
X-Kept: two
HEAD
    fetch -D "$tmp/got" -o "$tmp/answer" "$script/fields" || return
    tr -d '\r' <"$tmp/got" | sed '/^$/d; /^Date: .* GMT$/d' | LC_ALL=C sort |
        diff "$tmp/want" -
}

# head_is LINE ARGUMENT...: an answer without a body has that in its head.
head_is() {
    local line=$1
    shift
    fetch -i "$@" | tr -d '\r' >"$tmp/got"
    grep "^$line\$" "$tmp/got" && [ -z "$(sed '1,/^$/d' "$tmp/got")" ] ||
        { cat "$tmp/got"; return 1; }
}

aborted() { fetch "$script/counts" | sed 's/.*aborted":\([0-9]*\).*/\1/'; }

# Its client goes in the middle: the upstream hears of it.
client_goes() {
    local try before=$(aborted)
    head -c 3000000 /dev/zero |
        fetch -m 1 --limit-rate 1M -T - "$script/count" 2>/dev/null
    for try in $(seq 50); do
        [ "$(aborted)" -gt "$before" ] && return
        sleep 0.1
    done
    return 1
}

# Many read slowly, and not to the end: others need not wait for them.
slow_readers() {
    local i
    for i in $(seq 60); do
        fetch -m 3 --limit-rate 1M -o "$tmp/slow.$i" "$web/huge" 2>/dev/null &
    done
    sleep 1
    says small fetch -m 1 "$web/small"
    i=$?
    wait $(jobs -p | tail -n 60)
    return $i
}

upload() {
    says 2147483648 bash -c "head -c 2147483648 /dev/zero |
        curl -sS -m 120 -H Expect: -T - '$script/count'"
}

download() { says 2147483648 bash -c "curl -sS -m 120 '$1' | wc -c"; }

check "a request's head" told
check "an answer's head" answered
check "a whole URL" says hello \
    fetch --request-target http://host.invalid/hello "$script/"
check "with nothing but a host" says small \
    fetch --request-target 'http://host.invalid?a' "$web/"
check "a small file" says small fetch "$web/small"
want=$(sum <"$tmp/www/big")
check "100 MB" says "$want" bash -c "curl -sS '$web/big' | sha256sum | cut -c -64"
check "in chunks" says "$want" \
    bash -c "curl -sS '$web/ssi/big' | sha256sum | cut -c -64"
check "of a connection that ends" says "$want" \
    bash -c "curl -sS '$web/once/big' | sha256sum | cut -c -64"
check "a range" says mal fetch -r 1-3 "$web/small"
check "100 MB up" says "$want" fetch -T "$tmp/www/big" "$script/sha"
check "in chunks, too" says "$want" bash -c \
    "curl -sS -T - '$script/sha' <'$tmp/www/big'"
check "and back" says "$want" bash -c "curl -sS -H Expect: -X POST \
    --data-binary @'$tmp/www/big' '$script/echo?c' | sha256sum | cut -c -64"
check "HEAD" head_is 'Content-Length: 100000000' -I "$web/big"
check "HEAD of what is chunked" head_is 'HTTP/1.1 200 OK' -I "$web/ssi/big"
check "204" head_is 'X-Kept: yes' "$script/empty"
etag=$(fetch -I "$web/big" | tr -d '\r' | sed -n 's/^ETag: //p')
check "304" head_is "ETag: $etag" -H "If-None-Match: $etag" "$web/big"
check "304 is one" says 304 status -H "If-None-Match: $etag" "$web/big"
three() {
    fetch -o "$tmp/1" -o "$tmp/2" -o "$tmp/3" \
        -w '%{http_code} %{num_connects}\n' -H "If-None-Match: $etag" "$@"
}
check "the connection goes on behind 204" says $'200 1\n204 0\n200 0' \
    three "$script/hello" "$script/empty" "$script/hello"
check "and behind 304" says $'200 1\n304 0\n200 0' \
    three "$web/small" "$web/big" "$web/small"
check "404" says 404 status "$web/nothing"
check "103 is not the answer" says hinted fetch "$script/hints"
check "HTTP/1.0 of a client" says "$want" \
    bash -c "curl -sS -0 '$web/ssi/big' | sha256sum | cut -c -64"
check "HTTP/1.0 of an upstream" says "old and open-ended" fetch "$raw/1.0"
check "an upload that is refused" says 413 status -H Expect: \
    -T "$tmp/www/big" "$script/refuse"
check "by nginx" says 413 status -H Expect: -T "$tmp/www/big" "$web/limited"
check "before it is sent" says 413 status -T "$tmp/www/big" "$web/limited"

check "nobody listens" says 502 status "$none/"
check "nor to an upload" says 502 status -T "$tmp/www/small" "$none/"
check "closed without an answer" says 502 status "$raw/nothing"
check "not HTTP" says 502 status "$raw/garbage"
check "a chunk that is none" says 502 status "$raw/chunk"
check "two lengths" says 502 status "$raw/lengths"
check "cut off" cut_off "$script/cut"
check "cut off in chunks" cut_off "$script/cut-chunks"
check "shorter than it says" cut_off "$raw/short"
check "a client that goes" client_goes

check "2 GiB down" flat download "$web/huge"
check "2 GiB down in chunks" flat download "$script/zeros?n=2147483648"
check "2 GiB up" flat upload
check "60 who read slowly, and one who does not" flat slow_readers
echo "peak of memory: $(peak "$web_pid") kB down, $(peak "$script_pid") kB both"
check "$many with random bodies" "$tmp/many" "$script/echo" "$many" 50
tail -n 1 "$tmp/said"
echo "peak of memory: $(peak "$script_pid") kB"
check "no connection is left" bash -c "sleep 0.5; for i in \$(seq 150); do
    [ \$(ls /proc/$script_pid/fd | wc -l) -lt 20 ] && exit; sleep 0.1; done; exit 1"
fetch "$script/race" >"$tmp/answer"
check "2,000 while the upstream's connections end" says 2000 \
    bash -c "curl -sS '$script/hello?[1-2000]' | grep -c hello"
kill "$upstream"
wait "$upstream"
check "an upstream that has gone" says 502 status "$script/hello"
finish
