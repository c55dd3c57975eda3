"""Quart. uvicorn quart_app:app"""
import asyncio

from quart import Quart

app = Quart(__name__)


@app.route('/')
async def hello():
    return 'Hello, World!', 200, {'Content-Type': 'text/plain; charset=utf-8'}


@app.route('/sleep')
async def sleeps():
    await asyncio.sleep(1)
    return 'Hello, World!', 200, {'Content-Type': 'text/plain; charset=utf-8'}
