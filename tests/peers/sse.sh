#!/bin/bash
# sse.sh: a browser reads the events of examples/sse.c. It takes
#   apt-get install chromium
#   npm install --prefix build/npm playwright-core
# and leaves pictures of the page in build/.

. "$(dirname "$0")/lib.sh"
need node chromium
if [ ! -d build/npm/node_modules/playwright-core ]; then
    if [ "${CI-}" = true ]; then echo "not ok playwright-core is there"; exit 1; fi
    echo "skip: playwright-core is not there"
    exit 0
fi
build examples/sse.c
serve sse -1
timeout 100 node tests/peers/sse.mjs "$port" build/sse.png
