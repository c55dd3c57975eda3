#!/bin/bash
# ws.sh: examples/ws_echo.c, sanitized, and npm's ws: each kind of frame, large
# messages, broken ones, 200 sockets in a room, the end of the server.
#   npm install --prefix build/npm ws

. "$(dirname "$0")/lib.sh"
need node
[ -d build/npm/node_modules/ws ] || need "npm's ws"
cc -g -O1 -fsanitize=address,undefined examples/ws_echo.c -o "$tmp/ws_echo" ||
    exit
serve ws_echo -1
node tests/peers/ws.mjs "ws://127.0.0.1:$port" "$pid" || failed=1
check 'the server ends in order' wait "$pid"
finish
