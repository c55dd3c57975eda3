#!/bin/bash
# curl.sh: what people type.

. "$(dirname "$0")/lib.sh"
need curl
build tests/peers/behind.c
serve behind "127.0.0.1:0 unix:$tmp/sock" "unix 127.0.0.1"
at=http://127.0.0.1:$port
head -c 8000000 /dev/zero >"$tmp/8M"

reused() {
    says "1 0 0 " fetch -o /dev/null -w '%{num_connects} ' "$at/" \
        -o /dev/null "$at/big" -o /dev/null "$at/"
}

head_only() {
    fetch -I "$at/big" | tr -d '\r' | grep -qx 'Content-Length: 1000000'
}

continued() {
    fetch -v -H 'Expect: 100-continue' -d hello "$at/length" 2>&1 |
        tr -d '\r' | grep -q '^< HTTP/1.1 100 Continue'
}

refused() {     # before the body is sent
    says "413 0" fetch -o /dev/null -w '%{http_code} %{size_upload}' \
        -H 'Expect: 100-continue' -T "$tmp/80M" "$at/length"
}

limited() {
    local start=$SECONDS
    says 30000000 fetch --limit-rate 10M -o /dev/null -w '%{size_download}' \
        "$at/big?n=30000000" || return
    [ $((SECONDS - start)) -ge 1 ]
}

many() {
    local i
    for i in $(seq 1000); do echo "url = $at/?$i"; done >"$tmp/urls"
    fetch --parallel --parallel-max 50 -K "$tmp/urls" >"$tmp/many" || return
    says 1000 grep -o "127.0.0.1 http" -c <(sed 's/127.0.0.1 http/&\n/g' \
        "$tmp/many" | grep 'http$')
}

truncate -s 80000000 "$tmp/80M"
check "HTTP/1.0" says "127.0.0.1 http 127.0.0.1:$port" fetch --http1.0 "$at/"
check "HTTP/1.1" says "127.0.0.1 http 127.0.0.1:$port" fetch --http1.1 "$at/"
check "a connection is used again" reused
check "HEAD" head_only
check "-T file" says 8000000 fetch -T "$tmp/8M" "$at/length"
check "-T, HTTP/1.0" says 8000000 fetch --http1.0 -T "$tmp/8M" "$at/length"
check "-T -, in chunks" says 8000000 fetch -T - "$at/length" <"$tmp/8M"
check "-F" says "b 8000000" fetch -F a=b -F "f=@$tmp/8M" "$at/form"
check "100 Continue" continued
check "413 before the body is sent" refused
check "--limit-rate" limited
check "slow upload" says 300000 fetch --limit-rate 200k -T - "$at/length" \
    < <(head -c 300000 /dev/zero)
check "1,000 in parallel" many
check "UNIX socket" says "unix: http localhost" \
    fetch --unix-socket "$tmp/sock" http://localhost/
check "believed from there" says "192.0.2.1 https a.example" \
    fetch --unix-socket "$tmp/sock" http://localhost/ \
    -H 'Forwarded: for=192.0.2.1;proto=https;host=a.example'
end_all
serve behind "127.0.0.1:0" "127.0.0.0/8" proxy
at=http://127.0.0.1:$port
unread() { fetch "$at/" && return 1; [ $? -eq 52 ]; }     # an empty answer
check "--haproxy-protocol" says "127.0.0.9 http 127.0.0.1:$port" \
    fetch --interface 127.0.0.9 --haproxy-protocol "$at/"
check "without it" unread
finish
