#!/bin/bash
# ws_client.sh: examples/ws_client.c, sanitized, and npm's ws as its server:
# messages of all kinds and sizes, how sockets end, broken frames, handshakes
# that are none.
#   npm install --prefix build/npm ws

. "$(dirname "$0")/lib.sh"
need node
[ -d build/npm/node_modules/ws ] || need "npm's ws"
cc -g -O1 -fsanitize=address,undefined examples/ws_client.c \
    -o "$tmp/ws_client" || exit
node tests/peers/ws_client.mjs "$tmp/ws_client"
