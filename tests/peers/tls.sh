#!/bin/bash
# tls.sh: TLS against openssl, curl, sslscan, testssl.sh and a real browser.
#   apt-get install chromium
#   npm install --prefix build/npm playwright-core

. "$(dirname "$0")/lib.sh"
need curl openssl sslscan testssl
echo '#include <bearssl.h>' | cc -fsyntax-only -x c - 2>/dev/null || {
    skip "BearSSL is not installed"
    finish
}
certs=$PWD/build/certs
bash tests/certs.sh "$certs" || { echo "not ok certificates"; exit 1; }
cc -O2 -I. tests/peers/tls.c -o "$tmp/tls" -lbearssl || exit

head -c 8000000 /dev/urandom >"$tmp/8M"
repository=$PWD
cd "$tmp" || exit
serve tls serve "tls:127.0.0.1:0 127.0.0.1:0" "" optional \
    "$certs/good.pem" "$certs/good.key" "$certs/ec.pem" "$certs/ec.key" \
    "$certs/wild.pem" "$certs/wild.key"
server=$pid
at=https://localhost:$port
roots="$certs/roots.pem"
plain=$(sed -n 's|^asyncweb: http://.*:\([0-9]*\)$|\1|p' "$tmp"/tls.*.log)

get() { fetch --cacert "$roots" "$@"; }

# s_client ARGUMENT...: a request, with what openssl says of the connection.
s_client() {
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
        timeout 10 openssl s_client -connect "127.0.0.1:$port" \
            -CAfile "$roots" -ign_eof "$@" 2>&1
}

# ---- our server, their client ----

check "curl" says "https -" get "$at/"
check "curl, at the plain port beside it" says "http -" fetch \
    "http://127.0.0.1:$plain/"
check "curl with a name of its own" says "https -" get \
    --resolve "a.wild.test:$port:127.0.0.1" "https://a.wild.test:$port/"
unknown() { ! get --resolve "x.test:$port:127.0.0.1" "https://x.test:$port/"; }
check "curl refuses a name that is not ours" unknown
for suite in ECDHE-{RSA,ECDSA}-{CHACHA20-POLY1305,AES128-GCM-SHA256,AES256-GCM-SHA384}
do
    check "$suite" says "https -" get --tls-max 1.2 --ciphers "$suite" "$at/"
done
reused() {
    says "1 0 0 " get -o "$tmp/got" -w '%{num_connects} ' "$at/" \
        -o "$tmp/got2" "$at/big" -o "$tmp/got3" "$at/"
}
check "a connection is used again" reused
large() { get "$at/files/8M" | cmp - "$tmp/8M"; }
check "a file" large
part() {
    get -r 1000000-4999999 "$at/files/8M" |
        cmp - <(tail -c +1000001 "$tmp/8M" | head -c 4000000)
}
check "a part of a file" part
check "a slow reader" says 3000000 get --limit-rate 2M -o "$tmp/got" \
    -w '%{size_download}' "$at/big?n=3000000"
check "a streamed answer" says 10 grep -c line <(get "$at/drip")
until_close() { says 10 grep -c line <(get --http1.0 "$at/drip"); }
check "a streamed answer that ends with the connection" until_close
many() {
    local i
    for i in $(seq 300); do echo "url = $at/?$i"; done >"$tmp/urls"
    says 300 grep -o "https -" -c <(get --parallel --parallel-max 30 \
        -K "$tmp/urls" | sed 's/https -/&\n/g' | grep 'https -')
}
check "many at a time" many
idle() {
    local before after i
    before=$(rss "$server")
    for i in $(seq 100); do
        timeout 20 openssl s_client -connect "127.0.0.1:$port" -quiet \
            </dev/null >"$tmp/idle" 2>&1 &
    done
    sleep 2
    after=$(rss "$server")
    echo "100 connections: $((after - before)) KB"
    [ $((after - before)) -lt 3000 ]
}
check "connections at rest are small" idle
websocket() {
    { printf 'GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n'
      printf 'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
      printf 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
      printf '\201\205\0\0\0\0hello'
      sleep 1; } | timeout 10 openssl s_client -connect "127.0.0.1:$port" \
        -quiet 2>/dev/null | grep -aq "$(printf '\201\005hello')"
}
check "a WebSocket" websocket
check "plain HTTP at the TLS port is told so" \
    says "This port speaks https://" fetch "http://127.0.0.1:$port/"

modern() { s_client -tls1_2 | grep -q 'Verify return code: 0 (ok)'; }
check "openssl s_client" modern
for old in tls1 tls1_1; do
    refused_version() {
        ! s_client -"$old" -cipher ALL:@SECLEVEL=0 | grep -q 'HTTP/1.1'
    }
    check "$old is refused" refused_version
done
refused_suite() {
    local out
    out=$(s_client -tls1_2 -cipher "$1:@SECLEVEL=0")
    ! grep -q 'HTTP/1.1' <<<"$out" && grep -q 'alert handshake failure' <<<"$out"
}
for suite in AES128-SHA AES128-GCM-SHA256 ECDHE-RSA-AES128-SHA256 \
    DHE-RSA-AES128-GCM-SHA256; do
    check "$suite is refused" refused_suite "$suite"
done
renegotiates() {    # `R` on a line asks for it
    { printf 'GET /nap?ms=10 HTTP/1.1\r\nHost: a\r\n\r\n'; sleep 1; echo R
      sleep 1; printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'; sleep 1; } |
        timeout 10 openssl s_client -connect "127.0.0.1:$port" -tls1_2 \
            >"$tmp/renegotiation" 2>&1
    grep -q 'RENEGOTIATING' "$tmp/renegotiation" &&
        grep -qi 'no renegotiation' "$tmp/renegotiation"
}
check "renegotiation is refused" renegotiates
shown() {
    s_client -tls1_2 -servername "$1" ${3:+-cipher "$3"} |
        grep -q "subject=.*CN = $2"
}
check "SNI: the first, for its name" shown localhost good ECDHE-RSA-AES128-GCM-SHA256
check "SNI: the other kind of key" shown localhost ec ECDHE-ECDSA-AES128-GCM-SHA256
check "SNI: by a wildcard" shown b.wild.test wild
check "SNI: the first, for an unknown name" shown x.test good ECDHE-RSA-AES128-GCM-SHA256
resumed() {
    s_client -tls1_2 -sess_out "$tmp/session" >"$tmp/first" || return
    s_client -tls1_2 -sess_in "$tmp/session" | grep -q '^Reused'
}
check "a session goes on" resumed
alpn() { s_client -tls1_2 -alpn h2,http/1.1 | grep -q 'ALPN protocol: http/1.1'; }
check "ALPN" alpn
garbage() {
    head -c 100000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/127.0.0.1/$port"
    says "https -" get "$at/"
}
check "garbage harms nobody" garbage

# ---- SIGHUP ----

cp "$certs/good.pem" "$tmp/now.pem"
cp "$certs/good.key" "$tmp/now.key"
serve tls serve tls:127.0.0.1:0 "" optional "$tmp/now.pem" "$tmp/now.key"
renewing=$pid
hup() {
    cp "$certs/$1.pem" "$tmp/now.pem"
    cp "$certs/$2.key" "$tmp/now.key"
    kill -HUP "$renewing"
    sleep 0.5
}
check "before SIGHUP" shown localhost good
renewed() {
    get "https://localhost:$port/nap?ms=1500" >"$tmp/nap" &
    local curl=$!
    sleep 0.5
    hup ec ec
    shown localhost ec || return
    wait "$curl" && says rested cat "$tmp/nap"
}
check "after SIGHUP, and no connection is lost" renewed
kept() { hup good ec && shown localhost ec; }
check "bad files change nothing" kept

# ---- certificates of clients ----

serve tls serve tls:127.0.0.1:0 "$certs/ecroot.pem" optional \
    "$certs/good.pem" "$certs/good.key"
at=https://localhost:$port
alice=(--cert "$certs/alice.pem" --key "$certs/alice.key")
mallory=(--cert "$certs/mallory.pem" --key "$certs/mallory.key")
check "a client without a certificate" says "https -" get "$at/"
check "a client with one" says "https CN=alice,O=asyncweb tests" \
    get "${alice[@]}" "$at/"
not_mallory() { ! get "${mallory[@]}" "$at/"; }
check "a client with a stranger's" not_mallory
serve tls serve tls:127.0.0.1:0 "$certs/ecroot.pem" required \
    "$certs/good.pem" "$certs/good.key"
at=https://localhost:$port
nobody() { ! get "$at/"; }
check "none where one is required" nobody
check "one where one is required" says "https CN=alice,O=asyncweb tests" \
    get "${alice[@]}" "$at/"

# ---- our client, their server ----

# s_server ARGUMENT...: starts it; sets $port
s_server() {
    port=$(free_port)
    openssl s_server -accept "$port" -www "$@" >"$tmp/s_server" 2>&1 &
    started+=("$!")
    until_up "$port" >"$tmp/up"
}
answer() { says "$1" sh -c '"$@" | head -n 1 | cut -c1-30' - \
    "$tmp/tls" fetch "https://127.0.0.1:$port/" "${@:2}"; }
fetches() { "$tmp/tls" fetch "https://127.0.0.1:$port/" "$@" | grep -q '^200 '; }
while read -r certificate name want; do
    s_server -cert "$certs/$certificate.pem" -key "$certs/${certificate/chain/under}.key" \
        $([ "$certificate" = short ] || [ "$certificate" = sha1 ] &&
            echo -cipher ALL:@SECLEVEL=0) \
        $([ "$certificate" = chain ] && echo "-cert_chain $certs/middle.pem")
    if [ "$want" = 200 ]; then
        check "$certificate for $name" fetches "$roots" "$name"
    else
        check "$certificate for $name: $want" answer "$want" "$roots" "$name"
    fi
done <<ROWS
good good.test 200
ec good.test 200
good 127.0.0.1 200
wild a.wild.test 200
chain good.test 200
under good.test AW_ETLS_ISSUER
good other.test AW_ETLS_NAME
wild a.b.wild.test AW_ETLS_NAME
expired good.test AW_ETLS_EXPIRED
early good.test AW_ETLS_NOT_YET
self good.test AW_ETLS_SELF_SIGNED
strange good.test AW_ETLS_ISSUER
sha1 good.test AW_ETLS_WEAK
short good.test AW_ETLS_WEAK
ROWS
good=(-cert "$certs/good.pem" -key "$certs/good.key")
s_server "${good[@]}" -tls1_1 -cipher ALL:@SECLEVEL=0
check "TLS 1.1" answer AW_ETLS_VERSION "$roots" good.test
s_server "${good[@]}" -tls1_3
check "TLS 1.3 alone" answer AW_ETLS_VERSION "$roots" good.test
s_server "${good[@]}" -tls1_2 -cipher AES128-SHA
check "an old cipher" answer AW_ETLS_VERSION "$roots" good.test
s_server "${good[@]}" -Verify 1 -CAfile "$roots"
check "a server that wants a certificate: none" answer AW_ETLS "$roots" good.test
check "a server that wants a certificate" fetches "$roots" good.test \
    "$certs/alice.pem" "$certs/alice.key"
for version in 7 8; do
    s_server "${good[@]}" -no_tls1_3 -curves "$([ $version = 7 ] && echo X25519 || echo P-256)"
    check "curve $version" fetches "$roots" good.test
done
own_server() {
    says 10 grep -c line <("$tmp/tls" fetch "https://127.0.0.1:$port/drip" \
        "$roots" good.test)
}
serve tls serve tls:127.0.0.1:0 "" optional "$certs/ec.pem" "$certs/ec.key"
check "our own server" own_server

# ---- a browser ----

browser() {
    serve tls serve tls:127.0.0.1:0 "" optional "$certs/$1.pem" "$certs/$1.key"
    (cd "$repository" && node tests/peers/tls.mjs "https://localhost:$port/" \
        "$1") || failed=1
}
if have node && have chromium &&
    [ -d "$repository/build/npm/node_modules/playwright-core" ]; then
    browser good
    browser ec
else
    skip "chromium or npm's playwright-core is not installed"
fi

# ---- what scanners say ----

serve tls serve tls:127.0.0.1:0 "" optional "$certs/good.pem" \
    "$certs/good.key" "$certs/ec.pem" "$certs/ec.key"
scanned() {
    timeout 60 sslscan --no-colour "127.0.0.1:$port" >"$tmp/scan" || return
    cat "$tmp/scan"
    grep -q 'TLSv1.2   enabled' "$tmp/scan" &&
        ! grep -E '(SSLv|TLSv1\.[01]|TLSv1.3).*enabled' "$tmp/scan" &&
        ! grep -E '(Accepted|Preferred).*(CBC|SHA |AES(128|256)-SHA)' "$tmp/scan" &&
        ! grep -qi 'vulnerable to heartbleed' <(grep -v 'not vulnerable' "$tmp/scan") &&
        grep -q 'Session renegotiation not supported' "$tmp/scan"
}
check "sslscan" scanned
tested() {
    timeout 280 testssl --quiet --color 0 --warnings off --nodns none \
        -p -s -f -U --jsonfile "$tmp/test.json" "127.0.0.1:$port" \
        >"$tmp/test" 2>&1
    [ -s "$tmp/test.json" ] || { tail "$tmp/test"; return 1; }
    # One object a finding; what is worse than LOW is shown.
    tr -d '\n' <"$tmp/test.json" | sed 's/},/}\n/g' |
        grep -E '"severity" *: *"(LOW|MEDIUM|HIGH|CRITICAL|FATAL|WARN)"' \
            >"$tmp/findings"
    cat "$tmp/findings"
    # That there is no TLS 1.3 is known.
    ! grep -vE '"id" *: *"(engine_problem|TLS1_3|BREACH|scanTime|clientProblem1)"' \
        "$tmp/findings"
}
check "testssl.sh" tested
cd "$repository" || exit
finish
