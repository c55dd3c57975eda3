#!/bin/bash
# sse.sh: a browser reads the events of examples/sse.c; sse.mjs drives it.
# Leaves pictures of the page in build/.

. "$(dirname "$0")/lib.sh"
need node chromium
if [ ! -d build/node_modules/playwright-core ]; then
    mkdir -p build
    have npm && npm install --prefix build --no-audit --no-fund --silent \
        playwright-core >/dev/null 2>&1
fi
if [ ! -d build/node_modules/playwright-core ]; then
    if [ "${CI-}" = true ]; then echo "not ok playwright-core is there"; exit 1; fi
    echo "skip: playwright-core is not there"
    exit 0
fi
build examples/sse.c
serve sse -1
timeout 100 node tests/peers/sse.mjs "$port" build/sse.png
