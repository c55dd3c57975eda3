// ws.mjs URL: npm's ws against examples/ws_echo.c. Prints `ok NAME` or
// `not ok NAME` for each test; see ws.sh.
import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'
const require = createRequire(path.resolve('build/npm') + path.sep)
const WebSocket = require('ws')

const url = process.argv[2]
let failed = 0

async function test(name, run) {
    let timer
    const late = new Promise((_, no) => {
        timer = setTimeout(() => no(new Error('time is over')), 20000)
    })
    try {
        await Promise.race([run(), late])
        console.log('ok ' + name)
    } catch (error) {
        failed++
        console.log('not ok ' + name + ': ' + error.message)
    }
    clearTimeout(timer)
}

function same(a, b) {
    if (Buffer.isBuffer(a) ? !a.equals(b) : a !== b)
        throw new Error(String(a).slice(0, 80) + ' is not ' +
            String(b).slice(0, 80))
}

// A socket whose messages and close wait in order: await s.next(), s.closed.
function open(where, protocols, options) {
    const s = new WebSocket(url + where, protocols, options)
    const got = [], wanting = []
    const give = m => wanting.length ? wanting.shift()(m) : got.push(m)
    s.on('message', (data, binary) => give(binary ? data : data.toString()))
    s.next = () => got.length ? Promise.resolve(got.shift())
        : new Promise(r => wanting.push(r))
    s.closed = new Promise(r => s.on('close', (code, reason) => {
        give(null)
        r(code + ' ' + reason)
    }))
    s.on('error', () => {})
    return new Promise((yes, no) => {
        s.on('open', () => yes(s))
        s.on('unexpected-response', (_, answer) => {
            no(new Error(String(answer.statusCode)))
            s.terminate()
        })
    })
}

async function refused(where, options) {
    try {
        (await open(where, [], options)).terminate()
        return 'opened'
    } catch (error) {
        return error.message
    }
}

await test('text', async () => {
    const s = await open('/echo')
    for (const text of ['hello', '', 'κόσμε 🐙', 'x'.repeat(126)]) {
        s.send(text)
        same(await s.next(), text)
    }
    s.close()
    same(await s.closed, '1005 ')
})

await test('binary', async () => {
    const s = await open('/echo')
    for (const n of [0, 1, 125, 126, 65535, 65536, 70000]) {
        const data = Buffer.alloc(n, n)
        s.send(data)
        same(await s.next(), data)
    }
    s.terminate()
})

await test('ten thousand in order', async () => {
    const s = await open('/echo')
    for (let i = 0; i < 10000; i++) s.send('message ' + i)
    for (let i = 0; i < 10000; i++) same(await s.next(), 'message ' + i)
    s.close(1000)
    same(await s.closed, '1000 ')
})

await test('fragments, pings between', async () => {
    const s = await open('/echo', [], { perMessageDeflate: false })
    const pongs = []
    s.on('pong', data => pongs.push(data.toString()))
    s.send('one ', { fin: false })
    s.ping('a')
    s.send('two ', { fin: false })
    s.ping('')
    s.send('', { fin: false })
    s.send('three', { fin: true })
    same(await s.next(), 'one two three')
    same(pongs.join(), 'a,')
    s.terminate()
})

await test('large messages', async () => {
    const s = await open('/echo')
    const data = Buffer.alloc(15 << 20)
    for (let i = 0; i < data.length; i += 7) data[i] = i
    s.send(data)
    same(await s.next(), data)
    s.send('y'.repeat(5 << 20))
    same((await s.next()).length, 5 << 20)
    s.close()
    await s.closed
})

await test('too large: 1009', async () => {
    const s = await open('/echo')
    s.send(Buffer.alloc((16 << 20) + 1))
    same(await s.closed, '1009 ')
})

await test('close codes and reasons', async () => {
    for (const [code, reason] of [[1000, ''], [1001, 'away'], [3000, 'x'],
                                  [4999, 'r'.repeat(123)]]) {
        const s = await open('/echo')
        s.close(code, reason)
        same(await s.closed, code + ' ')
    }
})

await test('permessage-deflate offered and declined', async () => {
    const s = await open('/echo', [], { perMessageDeflate: true })
    same(s.extensions, '')
    s.send('z'.repeat(5000))
    same(await s.next(), 'z'.repeat(5000))
    s.terminate()
})

await test('subprotocols', async () => {
    let s = await open('/echo', ['echo.v1', 'other', 'echo.v2'])
    same(s.protocol, 'echo.v2')
    s.terminate()
    s = await open('/echo')
    same(s.protocol, '')
    s.terminate()
    s = await open('/room')
    s.terminate()
})

await test('refused: origin, version, no such route', async () => {
    const host = url.slice(5)
    same(await refused('/echo', { origin: 'http://evil.example' }), '403')
    same(await refused('/echo', { origin: 'http://' + host }), 'opened')
    same(await refused('/echo', { protocolVersion: 8 }), '426')
    same(await refused('/nothing'), '404')
    same(await refused('/'), '200')
})

// What no client of good will sends, so without one.
async function raw(bytes) {
    const [host, port] = url.slice(5).split(':')
    const s = net.connect(+port, host)
    const parts = []
    s.on('data', data => parts.push(data))
    s.on('error', () => {})
    s.write('GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n' +
        'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
    s.write(Buffer.from(bytes))
    s.on('end', () => s.end())
    await new Promise(r => s.on('close', r))
    const all = Buffer.concat(parts), end = all.indexOf('\r\n\r\n') + 4
    return all.subarray(end).toString('hex')
}

await test('broken frames', async () => {
    same(await raw([0x81, 5, 1, 2, 3, 4, 5]), '880203ea')       // no mask
    same(await raw([0xc1, 0x80, 0, 0, 0, 0]), '880203ea')       // RSV1
    same(await raw([0x81, 0x90, 0, 0, 0, 0, 0xff]), '880203ef') // not UTF-8
    same(await raw([0x88, 0x80, 0, 0, 0, 0]), '8800')
})

await test('two hundred sockets in a room', async () => {
    const all = await Promise.all(Array.from({ length: 200 },
        () => open('/room')))
    for (const s of all) same(await s.next(), 'welcome')
    for (let i = 0; i < 20; i++) all[i].send('from ' + i)
    const orders = await Promise.all(all.map(async s => {
        const got = []
        for (let i = 0; i < 20; i++) got.push(await s.next())
        return got.join()
    }))
    for (const order of orders) same(order, orders[0])
    all.forEach(s => s.terminate())
})

await test('going away', async () => {
    const s = await open('/echo'), room = await open('/room')
    process.kill(+process.argv[3], 'SIGTERM')
    same(await s.closed, '1001 ')
    same(await room.closed, '1001 ')
})

process.exit(failed ? 1 : 0)
