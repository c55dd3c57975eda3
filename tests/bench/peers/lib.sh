# lib.sh: the servers that are measured beside ours; what is not installed is
# left out. For scripts that have sourced ../lib.sh.

# Those that are measured, ours first.
peers=(asyncweb nginx h2o microhttpd evhttp node aiohttp quart flask)
declare -A full=([asyncweb]=asyncweb.h [microhttpd]=libmicrohttpd
    [evhttp]='libevent evhttp' [aiohttp]='aiohttp, uvloop'
    [quart]='Quart, uvicorn' [flask]='Flask, gunicorn')

# peer_up NAME: starts it, one worker, no log; sets $pid to the process that
# answers, and $port. 77: not installed. The Python ones are Debian's.
peer_up() {
    local at py=/usr/bin/python3 here=$bench/peers
    case $1 in
        asyncweb) start "$built/server" @ ;;
        bare) start "$built/bare" @ ;;
        microhttpd) c_peer microhttpd -lmicrohttpd && start "$built/$1" @ ;;
        evhttp) c_peer evhttp -levent && start "$built/$1" @ ;;
        nginx) have nginx || return 77
            at=$(free_port) && nginx_conf >"$tmp/nginx.conf"
            start nginx -c "$tmp/nginx.conf" ;;
        h2o) have h2o || return 77
            at=$(free_port) && h2o_conf >"$tmp/h2o.conf"
            start h2o -c "$tmp/h2o.conf" ;;
        node) have node || return 77
            start node "$here/node.mjs" @ ;;
        aiohttp) has_python aiohttp uvloop || return 77
            start $py "$here/aiohttp_server.py" @ ;;
        quart) has_python quart uvicorn uvloop || return 77
            start $py -m uvicorn --app-dir "$here" --port @ --loop uvloop \
                --no-access-log --backlog 4096 --log-level error quart_app:app ;;
        flask) has_python flask gunicorn asgiref || return 77
            start $py -m gunicorn --chdir "$here" -b 127.0.0.1:@ -w 1 \
                -k gthread --threads 100 --keep-alive 60 --backlog 4096 \
                --log-level error flask_app:app && load -c 1 -n 1 "$port" \
                >"$tmp/load" || return      # then its worker is there
            pid=$(pgrep -P "$pid" | head -n 1) ;;
    esac
}
c_peer() {
    make_c "$1" "$bench/peers/$1.c" "$2" 2>"$tmp/cc.said" || return 77
}
has_python() {
    local m
    for m; do /usr/bin/python3 -c "import $m" 2>/dev/null || return; done
}
nginx_conf() {
    mkdir -p "$tmp/nginx"
    cat <<CONF
daemon off;
master_process off;
pid $tmp/nginx/pid;
error_log $tmp/nginx/error.log crit;
events { worker_connections 15000; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    client_body_temp_path $tmp/nginx/body;
    proxy_temp_path $tmp/nginx/proxy;
    fastcgi_temp_path $tmp/nginx/fastcgi;
    uwsgi_temp_path $tmp/nginx/uwsgi;
    scgi_temp_path $tmp/nginx/scgi;
    server {
        listen 127.0.0.1:$at backlog=4096;
        default_type text/plain;
        location = / { return 200 "Hello, World!"; }
        location /files/ { alias $tmp/; }
    }
}
CONF
}
h2o_conf() {
    mkdir -p "$tmp/h2o"
    printf 'Hello, World!' >"$tmp/h2o/index.txt"
    cat <<CONF
num-threads: 1
user: $(id -un)
max-connections: 15000
http1-request-timeout: 60
hosts:
  default:
    listen: { host: 127.0.0.1, port: $at }
    paths:
      /: { file.dir: $tmp/h2o, file.index: [ index.txt ] }
CONF
}
