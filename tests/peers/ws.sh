#!/bin/bash
# ws.sh: examples/ws_echo.c, under a sanitizer, and npm's ws. It takes node and
#   npm install --prefix build/npm ws
cd "$(dirname "$0")/../.." || exit
mkdir -p build
cc -g -O1 -fsanitize=address,undefined examples/ws_echo.c \
    -o build/ws_echo_peer || { echo 'not ok ws: build'; exit 1; }
./build/ws_echo_peer -1 2>build/ws_echo_peer.log &
server=$!
for ((try = 0; try < 100; try++)); do
    port=$(sed -n 's|^asyncweb: http://.*:\([0-9]*\) .*|\1|p' \
        build/ws_echo_peer.log)
    [ -n "$port" ] && break
    sleep 0.1
done
node tests/peers/ws.mjs "ws://127.0.0.1:$port" $server
status=$?
if wait $server; then
    echo 'ok ws: the server ends in order'
else
    echo 'not ok ws: the server ends in order'
    head -40 build/ws_echo_peer.log
    status=1
fi
exit $status
