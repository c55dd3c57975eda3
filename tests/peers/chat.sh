#!/bin/bash
# chat.sh: examples/chat.c, sanitized, through its page in two tabs of a real
# browser; build/chat.png shows one.
#   apt-get install chromium
#   npm install --prefix build/npm playwright-core

. "$(dirname "$0")/lib.sh"
need node chromium
[ -d build/npm/node_modules/playwright-core ] || need "npm's playwright-core"
cc -g -O1 -fsanitize=address,undefined examples/chat.c -o "$tmp/chat" || exit
serve chat -1
node tests/peers/chat.mjs "http://127.0.0.1:$port" "$pid" || failed=1
check 'the server ends in order' wait "$pid"
finish
