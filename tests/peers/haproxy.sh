#!/bin/bash
# haproxy.sh: behind HAProxy: HTTP with kept connections, and the PROXY protocol,
# versions 1 and 2, with checks of its own; WebSockets and events, if node is
# there: npm install --prefix build/npm ws

. "$(dirname "$0")/lib.sh"
need haproxy curl ab
build tests/peers/behind.c
serve behind "127.0.0.1:0" "127.0.0.1"
http=$port
serve behind "127.0.0.1:0" "127.0.0.1" proxy
proxied=$port
for name in front live v1 v2 crc; do declare "$name=$(free_port)"; done
cat >"$tmp/haproxy.cfg" <<CONF
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    timeout check 5s
frontend front
    bind 127.0.0.1:$front
    http-request set-header Forwarded "for=%[src];proto=https;host=a.example" if { req.hdr(X-Ask) -m found }
    option forwardfor if-none
    default_backend plain
backend plain
    http-reuse always
    server a 127.0.0.1:$http
listen live
    bind 127.0.0.1:$live
    timeout client 3s
    timeout server 3s
    timeout tunnel 3s
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request del-header X-Forwarded-Host
    http-request del-header Forwarded
    server a 127.0.0.1:$http
listen v1
    mode tcp
    bind 127.0.0.1:$v1
    server a 127.0.0.1:$proxied send-proxy check inter 200ms check-send-proxy
listen v2
    mode tcp
    bind 127.0.0.1:$v2
    server a 127.0.0.1:$proxied send-proxy-v2 check inter 200ms
listen crc
    bind 127.0.0.1:$crc
    http-reuse safe
    server a 127.0.0.1:$proxied send-proxy-v2 proxy-v2-options crc32c,unique-id
CONF
haproxy -db -f "$tmp/haproxy.cfg" >"$tmp/haproxy.log" 2>&1 &
started+=($!)
until_up "$crc" || { cat "$tmp/haproxy.log"; echo "not ok haproxy starts"; exit 1; }

load() {
    ab -q -k -n 5000 -c 50 "http://127.0.0.1:$1/" >"$tmp/ab" 2>&1 ||
        { cat "$tmp/ab"; return 1; }
    grep -q '^Complete requests: *5000$' "$tmp/ab" &&
        grep -q '^Failed requests: *0$' "$tmp/ab" &&
        ! grep -q '^Non-2xx' "$tmp/ab" || { cat "$tmp/ab"; return 1; }
}

# seen PORT [ARGUMENT...]: the address of this client, and no other.
seen() {
    local port=$1
    shift
    says "127.0.0.7 http 127.0.0.1:$port" fetch --interface 127.0.0.7 \
        "http://127.0.0.1:$port/" "$@"
}

healthy() {
    sleep 1
    if grep 'is DOWN' "$tmp/haproxy.log"; then return 1; fi
}

check "X-Forwarded-For" seen "$front"
check "Forwarded" says "127.0.0.7 https a.example" \
    fetch --interface 127.0.0.7 -H 'X-Ask: 1' "http://127.0.0.1:$front/"
check "what the client says is not believed" seen "$live" \
    -H 'Forwarded: for=10.1.1.1;proto=https' -H 'X-Forwarded-For: 10.1.1.1' \
    -H 'X-Forwarded-Host: b.example' -H 'X-Forwarded-Proto: https'
check "PROXY 1" seen "$v1"
check "PROXY 2" seen "$v2"
check "PROXY 2 with a checksum" seen "$crc"
check "what its client says is not believed" seen "$v2" \
    -H 'Forwarded: for=10.1.1.1;proto=https'
head -c 8000000 /dev/zero >"$tmp/8M"
check "an upload" says 8000000 fetch -T - "http://127.0.0.1:$v2/length" \
    <"$tmp/8M"
check "5,000 over HTTP" load "$front"
check "5,000 over PROXY 1" load "$v1"
check "5,000 over PROXY 2" load "$v2"
check "5,000 with checksums" load "$crc"
live "$live"
check "its health checks are answered" healthy
finish
