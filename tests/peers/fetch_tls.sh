#!/bin/bash
# fetch_tls.sh: examples/fetch.c and ws_client.c with TLS, sanitized, against
# nginx and node: certificates of all kinds, pinned keys, redirects between
# http and https, a proxy's tunnels, wss, and the exit status of each.
#   npm install --prefix build/npm ws

. "$(dirname "$0")/lib.sh"
need nginx node openssl
[ -d build/npm/node_modules/ws ] || need "npm's ws"
echo '#include <bearssl.h>' | cc -fsyntax-only -x c - 2>/dev/null || {
    skip "BearSSL is not installed"
    finish
}
certs=$PWD/build/certs
bash tests/certs.sh "$certs" || { echo "not ok certificates"; exit 1; }
for n in fetch ws_client; do
    cc -g -O1 -fsanitize=address,undefined -DASYNCWEB_BEARSSL examples/$n.c \
        -o "$tmp/$n" -lbearssl || exit
done
roots=$certs/roots.pem
unset SSL_CERT_FILE

get() { "$tmp/fetch" --cacert "$roots" "$@"; }

# ---- who is asked ----

mkdir "$tmp/nginx" "$tmp/www"
head -c 20000000 /dev/urandom >"$tmp/www/big"
echo small >"$tmp/www/small"
plain=$(free_port)
declare -A at
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
    ssl_protocols TLSv1.2;
    ssl_session_cache builtin;
    root $tmp/www;
CONF

# listens NAME CERTIFICATE KEY [WHAT ELSE]: an https server, at ${at[NAME]}
listens() {
    local port
    port=$(free_port)
    while [[ " ${at[*]} $plain " = *" $port "* ]]; do port=$(free_port); done
    at[$1]=$port
    cat >>"$tmp/nginx.conf" <<CONF
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $certs/$2.pem;
        ssl_certificate_key $certs/$3.key;
        location /method { return 200 "\$request_method \$content_length\n"; }
        location /down { return 302 http://localhost:$plain/small; }
        location /on { return 307 /method; }
        location /away { return 302 https://127.0.0.1:$port/credentials; }
        location /credentials { return 200 "[\$http_authorization]\n"; }
        location /once/ { alias $tmp/www/; keepalive_timeout 0; }
        ${4-}
    }
CONF
}
listens good good good
for name in ec other expired early self strange under; do
    listens $name $name $name
done
listens chain chain under
listens new good good 'ssl_protocols TLSv1.3;'
listens cbc good good 'ssl_ciphers AES128-SHA;'
listens asks good good "ssl_client_certificate $certs/ecroot.pem;
        ssl_verify_client on;"
cat >>"$tmp/nginx.conf" <<CONF
    server {
        listen 127.0.0.1:$plain;
        location /small { return 301 https://localhost:${at[good]}/small; }
        location /post { return 308 https://localhost:${at[good]}/method; }
        location /expired { return 301 https://localhost:${at[expired]}/small; }
        location /away { return 302 https://localhost:${at[good]}/credentials; }
    }
}
CONF
nginx -c "$tmp/nginx.conf" 2>"$tmp/nginx/said" &
started+=($!)
node tests/peers/fetch_tls.mjs "$certs" >"$tmp/ports" &
started+=($!)
until_up "$plain" || { cat "$tmp/nginx/said"; echo "not ok nginx starts"; exit 1; }
for try in $(seq 100); do
    [ -s "$tmp/ports" ] && break
    sleep 0.1
done
read -r proxy node <"$tmp/ports"
web=https://localhost:${at[good]}
plain=http://localhost:$plain
node=https://localhost:$node

# ---- what is wanted ----

# ends STATUS WORD ARGUMENT...: with that exit status and that in its one line.
ends() {
    local want=$1 word=$2 rc
    shift 2
    get "$@" >"$tmp/body" 2>"$tmp/word"
    rc=$?
    cat "$tmp/word"
    [ "$rc" -eq "$want" ] || { echo "status $rc"; return 1; }
    grep -q "^fetch: .*$word" "$tmp/word" && [ "$(wc -l <"$tmp/word")" -eq 1 ]
}

# warns WORD ARGUMENT...: goes well, but there is a line about that.
warns() {
    local word=$1
    shift
    get "$@" >"$tmp/body" 2>"$tmp/word" || { cat "$tmp/word"; return 1; }
    cat "$tmp/word"
    [ "$(wc -l <"$tmp/word")" -eq 1 ] && grep -q "$word" "$tmp/word"
}

# refuses STATUS WORD ARGUMENT...: the same, where the log says why before.
refuses() {
    local want=$1 word=$2 rc
    shift 2
    get "$@" >"$tmp/body" 2>"$tmp/word"
    rc=$?
    cat "$tmp/word"
    [ "$rc" -eq "$want" ] || { echo "status $rc"; return 1; }
    grep -q "$word" "$tmp/word" && [ "$(wc -l <"$tmp/word")" -eq 2 ]
}

# ---- tests ----

check "a page" says small get "$web/small"
check "a name that is an address" says small get "https://127.0.0.1:${at[good]}/small"
check "a large file" cmp "$tmp/www/big" <(get "$web/big")
check "whose connection is not kept" cmp "$tmp/www/big" <(get "$web/once/big")
check "an EC key" says small get "https://localhost:${at[ec]}/small"
check "a form" says "POST 3" get -d a=1 "$web/method"
check "a redirect within" says "POST 3" get -L -d a=1 "$web/on"
check "HEAD" grep -q 'Content-Length: 20000000' <(get -i -X HEAD "$web/big")
check "404 with -f" ends 22 400 -f "$web/nothing"
many() {
    local n urls=()
    for n in $(seq 100); do urls+=("$web/small"); done
    says 100 grep -c '^small$' <(get "${urls[@]}")
}
check "100 at once" many
check "another's certificate" ends 60 "for another host" \
    "https://localhost:${at[other]}/small"
check "one that has expired" ends 60 "has expired" \
    "https://localhost:${at[expired]}/small"
check "one that is not valid yet" ends 60 "not valid yet" \
    "https://localhost:${at[early]}/small"
self=https://localhost:${at[self]}/small
check "one that has signed itself" ends 60 "signed by itself" "$self"
check "the same with -k, which is said" warns "not verified" -k "$self"
check "which says it of an expired one, too" warns "not verified" -k \
    "https://localhost:${at[expired]}/small"
check "the same, believed" says small "$tmp/fetch" --cacert "$certs/self.pem" \
    "$self"
check "a stranger's" ends 60 "nobody trusted" \
    "https://localhost:${at[strange]}/small"
check "without its intermediate" ends 60 "does not send all of its chain" \
    "https://localhost:${at[under]}/small"
check "roots that are not there" refuses 77 "none.pem" --cacert "$tmp/none.pem" \
    "$web/small"
check "roots of the environment" says small env SSL_CERT_FILE="$roots" \
    "$tmp/fetch" "$web/small"
check "and those of the system do not do" bash -c \
    "'$tmp/fetch' '$web/small'; [ \$? -eq 60 ] || [ \$? -eq 77 ]"

pin=sha256//$(cat "$certs/good.pin")
check "the pinned key" says small get --pinnedpubkey "$pin" "$web/small"
check "another key" ends 90 "another key than the pinned" \
    --pinnedpubkey "sha256//$(cat "$certs/ec.pin")" "$web/small"
check "a pin is checked with -k, too" refuses 90 "another key" -k \
    --pinnedpubkey "sha256//$(cat "$certs/ec.pin")" "$web/small"
check "and is no excuse for a bad certificate" ends 60 "has expired" \
    --pinnedpubkey "$pin" "https://localhost:${at[expired]}/small"
check "a pin that is none" refuses 2 "sha256//" --pinnedpubkey sha256//x "$web/small"

check "from http to https" says small get -L "$plain/small"
check "with a form" says "POST 3" get -L -d a=1 "$plain/post"
check "to a certificate that has expired" ends 60 "has expired" -L \
    "$plain/expired"
check "credentials stay with http" says "[]" get -L -u a:b "$plain/away"
check "credentials stay with their host" says "[]" get -L -u a:b "$web/away"
down() { warns "from https to http is not followed" -L -i "$web/down" &&
    grep -q '^HTTP/1.1 302' "$tmp/body"; }
check "from https to http is not gone, which is said" down
check "http at the TLS port" says "HTTP/1.1 400" bash -c \
    "'$tmp/fetch' -i 'http://localhost:${at[good]}/' | head -n 1 | tr -d '\r'"
check "https at the plain port" ends 35 "TLS" "${plain/http:/https:}/small"
check "TLS 1.3 alone" ends 35 "no TLS 1.2" "https://localhost:${at[new]}/"
check "an old cipher alone" ends 35 "no TLS 1.2" "https://localhost:${at[cbc]}/"
check "a server that asks for a certificate" ends 22 400 -f \
    "https://localhost:${at[asks]}/"
check "nobody there" ends 7 refused https://127.0.0.1:1/

check "node" cmp <(yes 'page ' | tr -d '\n' | head -c 300000) <(get "$node/")
check "node, small records" cmp <(yes 'page ' | tr -d '\n' | head -c 300000) \
    <(get "$node/small-records")
check "an end that says so" says 300000 bash -c \
    "'$tmp/fetch' --cacert '$roots' '$node/until-close' | wc -c"
check "an end that does not" ends 56 "" "$node/cut"

by=http://user:word@127.0.0.1:$proxy
far=https://good.test:${at[good]}
check "by a proxy, which knows the name" says small get --proxy "$by" "$far/small"
check "a large file by it" cmp "$tmp/www/big" <(get --proxy "$by" "$far/big")
check "wrong names by it" ends 60 "another host" --proxy "$by" \
    "https://good.test:${at[other]}/"
check "pinned by it" ends 90 "another key" --proxy "$by" --pinnedpubkey \
    "sha256//$(cat "$certs/ec.pin")" "$far/"
https_proxy_says() { https_proxy="$by" no_proxy='' says small get "$far/small"; }
check "https_proxy" https_proxy_says
check "it wants a user" refuses 7 "the proxy refuses a tunnel with 407" \
    --proxy "${by/user:word@/}" "$far/small"
check "it forbids" refuses 7 "the proxy refuses a tunnel with 403" \
    --proxy "$by" https://forbidden.test/
check "it is silent" ends 28 "time" --timeout 300 --proxy "$by" \
    https://slow.test/
check "it just closes" ends 52 "" --proxy "$by" https://nothing.test/
check "it closes within its head" ends 52 "" --proxy "$by" https://half.test/
check "it is none" ends 8 "" --proxy "$by" https://garbage.test/
check "a head without end" ends 8 "" --proxy "$by" https://large.test/
check "behind it is no TLS" ends 8 "" --proxy "$by" https://early.test/
check "it cannot answer before the server" refuses 8 protocol -k --proxy "$by" \
    "https://forged.test:${at[good]}/small"
check "nobody behind it" ends 52 "" --proxy "$by" https://good.test:1/
check "no proxy there" ends 7 "refused" --proxy http://127.0.0.1:1 "$far/"

export SSL_CERT_FILE=$roots
wss=${node/https:/wss:}
socket() { echo "$1" | "$tmp/ws_client" "$2"; }
check "wss" says 'hello κόσμε' socket 'hello κόσμε' "$wss/echo"
large() {
    local line
    line=$(head -c 4000 "$tmp/www/big" | base64 -w 0 | head -c 3000)
    says 200 grep -c "^$line$" <(yes "$line" | head -n 200 |
        "$tmp/ws_client" "$wss/echo")
}
check "wss, 200 messages of 3,000 bytes" large
strange() {
    socket x "wss://localhost:${at[$1]}/" >"$tmp/body" 2>&1
    [ $? -eq 2 ] && grep "$2" "$tmp/body"
}
check "wss, another's certificate" strange other "another host"
check "wss, one that has expired" strange expired "has expired"
by_tunnel() { https_proxy="$by" no_proxy='' says hi socket hi \
    "${wss/localhost/good.test}/echo"; }
check "wss by a proxy" by_tunnel
check "wss where there is none" strange good "status 403"
finish
