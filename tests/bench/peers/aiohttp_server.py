"""aiohttp, on uvloop. python3 aiohttp_server.py PORT"""
import asyncio
import sys

import uvloop
from aiohttp import web


async def hello(request):
    return web.Response(text='Hello, World!')


async def sleeps(request):
    await asyncio.sleep(1)
    return web.Response(text='Hello, World!')


uvloop.install()
app = web.Application()
app.add_routes([web.get('/', hello), web.get('/sleep', sleeps)])
web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]), backlog=4096,
            access_log=None, print=None)
