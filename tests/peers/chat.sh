#!/bin/bash
# chat.sh: examples/chat.c, under a sanitizer, in a real browser. It takes
#   apt-get install chromium
#   npm install --prefix build/npm playwright-core
cd "$(dirname "$0")/../.." || exit
mkdir -p build
cc -g -O1 -fsanitize=address,undefined examples/chat.c \
    -o build/chat_peer || { echo 'not ok chat: build'; exit 1; }
./build/chat_peer -1 2>build/chat_peer.log &
server=$!
for ((try = 0; try < 100; try++)); do
    port=$(sed -n 's|^asyncweb: http://.*:\([0-9]*\) .*|\1|p' \
        build/chat_peer.log)
    [ -n "$port" ] && break
    sleep 0.1
done
node tests/peers/chat.mjs "http://127.0.0.1:$port" $server
status=$?
if wait $server; then
    echo 'ok chat: the server ends in order'
else
    echo 'not ok chat: the server ends in order'
    head -40 build/chat_peer.log
    status=1
fi
exit $status
