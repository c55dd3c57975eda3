#!/bin/bash
# nginx.sh: behind nginx, which keeps its connections, over TCP and a UNIX socket;
# WebSockets and events, if node is there: npm install --prefix build/npm ws

. "$(dirname "$0")/lib.sh"
need nginx curl ab
build tests/peers/behind.c
serve behind "127.0.0.1:0 unix:$tmp/sock" "unix"
front=$(free_port)
mkdir "$tmp/nginx"
cat >"$tmp/nginx.conf" <<CONF
daemon off;
master_process off;
pid $tmp/nginx/pid;
error_log $tmp/nginx/error.log error;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path $tmp/nginx/body;
    proxy_temp_path $tmp/nginx/proxy;
    fastcgi_temp_path $tmp/nginx/fastcgi;
    uwsgi_temp_path $tmp/nginx/uwsgi;
    scgi_temp_path $tmp/nginx/scgi;
    client_max_body_size 64m;
    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        '' '';
    }
    upstream tcp { server 127.0.0.1:$port; keepalive 32; }
    upstream local { server unix:$tmp/sock; keepalive 32; }
    server {
        listen 127.0.0.1:$front;
        proxy_http_version 1.1;
        proxy_read_timeout 3s;
        proxy_set_header Upgrade \$http_upgrade;
        proxy_set_header Connection \$connection_upgrade;
        proxy_set_header Host \$http_host;
        proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto \$scheme;
        proxy_set_header X-Forwarded-Host "";
        proxy_set_header Forwarded "";
        location /tcp/ { proxy_pass http://tcp/; }
        location / { proxy_pass http://local/; }
        location /plain/ {
            proxy_http_version 1.0;
            proxy_pass http://local/;
        }
        location /stream/ {
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://local/;
        }
    }
}
CONF
nginx -c "$tmp/nginx.conf" 2>"$tmp/nginx/said" &
started+=($!)
until_up "$front" || { cat "$tmp/nginx/said"; echo "not ok nginx starts"; exit 1; }
at=http://127.0.0.1:$front

# load PATH: thousands, and none fails.
load() {
    ab -q -k -n 5000 -c 50 "$at$1" >"$tmp/ab" 2>&1 || { cat "$tmp/ab"; return 1; }
    grep -q '^Complete requests: *5000$' "$tmp/ab" &&
        grep -q '^Failed requests: *0$' "$tmp/ab" &&
        ! grep -q '^Non-2xx' "$tmp/ab" || { cat "$tmp/ab"; return 1; }
}

comes() { curl -sS -N -m 3 "$1" | grep -q "$2"; }
no_errors() { says "" cat "$tmp/nginx/error.log"; }

head -c 8000000 /dev/zero >"$tmp/8M"
check "the client's address" says "127.0.0.7 http 127.0.0.1:$front" \
    fetch --interface 127.0.0.7 "$at/"
check "what the client says is not believed" \
    says "127.0.0.7 http 127.0.0.1:$front" fetch --interface 127.0.0.7 "$at/" \
    -H 'X-Forwarded-For: 10.1.1.1' -H 'X-Forwarded-Proto: https'
check "whatever it says" \
    says "127.0.0.7 http 127.0.0.1:$front" fetch --interface 127.0.0.7 "$at/" \
    -H 'Forwarded: for=10.1.1.1;proto=https' -H 'X-Forwarded-Host: b.example'
check "a proxy that is not trusted" says "127.0.0.1 http 127.0.0.1:$front" \
    fetch --interface 127.0.0.7 "$at/tcp/"
check "an upload" says 8000000 fetch -T "$tmp/8M" "$at/length"
check "an upload that nginx passes on" says 8000000 \
    fetch -T - "$at/stream/length" <"$tmp/8M"
check "a download" says 8000000 fetch -o /dev/null -w '%{size_download}' \
    "$at/stream/big?n=8000000"
check "HEAD" says 200 fetch -I -o /dev/null -w '%{http_code}' "$at/big"
check "5,000 over TCP" load /tcp/
check "5,000 over a UNIX socket" load /
check "5,000 that rest" load "/nap?ms=1"
live "$front"
check "events over HTTP/1.0, which nginx would gather" \
    comes "$at/plain/events" 'data: *0'
check "nginx has nothing to complain about" no_errors
check "the socket's file goes with the server" bash -c \
    "kill -TERM $pid; for i in \$(seq 50); do [ -e $tmp/sock ] || exit 0; sleep 0.1; done; exit 1"
finish
