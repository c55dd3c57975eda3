#!/bin/bash
# tls.sh [SECONDS]: what TLS costs a server, beside nginx with OpenSSL: TLS
# 1.2, the same suites, one process each. It is the servers' own CPU time that
# is divided by, so that neither clients nor neighbours count. Prints a table.

. "$(dirname "$0")/lib.sh"
need nginx curl openssl python3
echo '#include <bearssl.h>' | cc -fsyntax-only -x c - 2>/dev/null || {
    skip "BearSSL is not installed"
    finish tls
}
seconds=${1:-3}
certs=$PWD/build/certs
bash tests/certs.sh "$certs" || { bad certificates; finish tls; }
cc -O2 -I. tests/peers/tls.c -o "$tmp/tls" -lbearssl || exit
cd "$tmp" || exit
ulimit -n "$(ulimit -Hn)"

suites=ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256
suites=$suites:ECDHE-RSA-CHACHA20-POLY1305
connections=1000
mkdir nginx
head -c 50000000 /dev/urandom >file
serve tls serve tls:127.0.0.1:0 "" optional "$certs/good.pem" \
    "$certs/good.key" "$certs/ec.pem" "$certs/ec.key"
declare -A process=([ours]=$pid) at=([ours]=$port [nginx]=$(free_port))
cat >nginx.conf <<CONF
daemon off;
master_process off;
pid $tmp/nginx/pid;
error_log $tmp/nginx/error.log crit;
events { worker_connections 4000; }
http {
    access_log off;
    client_body_temp_path $tmp/nginx/body;
    proxy_temp_path $tmp/nginx/proxy;
    fastcgi_temp_path $tmp/nginx/fastcgi;
    uwsgi_temp_path $tmp/nginx/uwsgi;
    scgi_temp_path $tmp/nginx/scgi;
    server {
        listen 127.0.0.1:${at[nginx]} ssl;
        root $tmp;
        ssl_protocols TLSv1.2;
        ssl_ciphers $suites;
        ssl_session_cache builtin:1000;
        ssl_session_tickets off;
        ssl_certificate $certs/good.pem;
        ssl_certificate_key $certs/good.key;
        ssl_certificate $certs/ec.pem;
        ssl_certificate_key $certs/ec.key;
        location /files/ { alias $tmp/; }
        location = / { return 200 "https -"; }
    }
}
CONF
nginx -c "$tmp/nginx.conf" 2>nginx/said &
process[nginx]=$!
started+=($!)
until_up "${at[nginx]}" || { bad "nginx starts" "$(cat nginx/said)"; finish tls; }

# Opens that many, asks for a page on each, says so, and asks again when told.
cat >idle.py <<'PYTHON'
import socket, ssl, sys
port, n, suites = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.maximum_version = ssl.TLSVersion.TLSv1_2
context.set_ciphers(suites)
held = []
def ask(s):
    s.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    got = b''
    while not got.endswith(b'https -'):
        some = s.recv(4096)
        if not some: sys.exit('closed')
        got += some
for i in range(n):
    s = context.wrap_socket(socket.create_connection(('127.0.0.1', port)))
    ask(s)
    held.append(s)
print('held', flush=True)
sys.stdin.readline()
for s in held[n - 20:]: ask(s)
print('alive', flush=True)
PYTHON

# The CPU time of process $1, in ms.
cpu() {
    local rest fields
    rest=$(cat "/proc/$1/stat")
    read -ra fields <<<"${rest##*) }"
    echo $(((fields[11] + fields[12]) * 1000 / $(getconf CLK_TCK)))
}

# handshakes WHO SUITE new|reuse: how many for a second of CPU time
handshakes() {
    local before count
    before=$(cpu "${process[$1]}")
    count=$(openssl s_time -connect "127.0.0.1:${at[$1]}" -tls1_2 -cipher "$2" \
        "-$3" -time "$seconds" 2>/dev/null |
        sed -n 's/^\([0-9]*\) connections in .* real seconds.*/\1/p')
    divide "$count" "$(($(cpu "${process[$1]}") - before))" 1
}

# bulk WHO SUITE: MB for a second of CPU time
bulk() {
    local before bytes urls=() i
    for ((i = 0; i < 4 * seconds; i++)); do
        urls+=("https://127.0.0.1:${at[$1]}/files/file")
    done
    before=$(cpu "${process[$1]}")
    bytes=$(curl -sS -m 300 -k --tls-max 1.2 --ciphers "$2" "${urls[@]}" | wc -c)
    [ "$bytes" -eq $((50000000 * 4 * seconds)) ] || return
    divide "$bytes" "$(($(cpu "${process[$1]}") - before))" 1000000
}

# idle WHO N: KB of the process while N connections have been served and wait
idle() {
    local after answer
    coproc hold { python3 idle.py "${at[$1]}" "$2" "$suites"; }
    read -r -t 120 answer <&"${hold[0]}"
    after=$(rss "${process[$1]}")
    echo >&"${hold[1]}"
    read -r -t 20 answer <&"${hold[0]}"
    wait "$hold_PID" 2>/dev/null
    [ "$answer" = alive ] && echo "$after"
}
# memory WHO: KB for each
memory() {
    local before after
    before=$(idle "$1" 1) && after=$(idle "$1" "$connections") &&
        awk "BEGIN { printf \"%.1f\", ($after - $before) / $connections }"
}

# divide COUNT MS DIVISOR: to two digits, more mean nothing
divide() {
    awk -v count="$1" -v ms="$2" -v by="$3" 'BEGIN {
        if (count <= 0 || ms <= 0) exit
        n = count * 1000 / ms / by
        unit = 10 ^ (length(int(n)) - 2)
        print unit < 1 ? n : int(n / unit + 0.5) * unit
    }'
}

# row TEXT COMMAND ARGUMENT...: measured once for each of the two
row() {
    local text=$1 what=$2 ours theirs
    shift 2
    ours=$("$what" ours "$@")
    theirs=$("$what" nginx "$@")
    local figure
    for figure in "$ours" "$theirs"; do
        if [ -n "$figure" ]; then ok; else bad "$text"; fi
    done
    printf '| %s | %s | %s |\n' "$text" "$ours" "$theirs"
}

version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null | sed 's/[-+].*//'; }
model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
echo "${model:-$(uname -m)}, $(uname -s), TLS 1.2; for each second of the"
echo "server's CPU time, two digits (make bench SECONDS=$seconds):"
echo
echo "| | asyncweb.h, BearSSL $(version libbearssl-dev) |" \
    "$(nginx -v 2>&1 | sed 's/.*: //; s|/| |'), $(openssl version |
        cut -d ' ' -f 1,2) |"
echo "|---|---|---|"
row "full handshakes, EC P-256" handshakes ECDHE-ECDSA-AES128-GCM-SHA256 new
row "full handshakes, RSA-2048" handshakes ECDHE-RSA-AES128-GCM-SHA256 new
row "handshakes that go on with a session" handshakes \
    ECDHE-ECDSA-AES128-GCM-SHA256 reuse
row "MB of a file, AES-128-GCM" bulk ECDHE-RSA-AES128-GCM-SHA256
row "MB of a file, ChaCha20-Poly1305" bulk ECDHE-RSA-CHACHA20-POLY1305
row "KB of memory of an idle connection, of $connections" memory
end_all
finish tls
