// ws_client.mjs PROGRAM: examples/ws_client.c against npm's ws. Prints `ok NAME`
// or `not ok NAME` for each test; see ws_client.sh.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'
const require = createRequire(path.resolve('build/npm') + path.sep)
const { WebSocketServer } = require('ws')

const program = process.argv[2]
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
    if (a !== b)
        throw new Error(JSON.stringify(a).slice(0, 200) + ' is not ' +
            JSON.stringify(b).slice(0, 200))
}

// Runs the program; input null: what is typed comes from p.stdin.
function start(input, ...args) {
    const from = typeof input === 'number' ? input : 'pipe'
    const p = spawn(program, args, { stdio: [from, 'pipe', 'pipe'] })
    p.out = p.err = ''
    p.stdout.setEncoding('utf8').on('data', d => { p.out += d })
    p.stderr.setEncoding('utf8').on('data', d => { p.err += d })
    p.stdin?.on('error', () => {})
    if (typeof input === 'string') p.stdin.end(input)
    p.over = once(p, 'close').then(([status]) => ({
        status, out: p.out, err: p.err }))
    return p
}

// What it prints, where nothing is typed.
const hear = (...args) => start(null, ...args).over

// What the server does with a socket, by its path.
const bits = { frame: null }
const roles = {
    '/echo': s => s.on('message', (data, binary) => s.send(data, { binary })),
    '/hello': s => s.send('hello'),
    '/binary': s => {
        for (const n of [0, 1, 125, 126, 65535, 65536])
            s.send(Buffer.alloc(n))
        s.close(1000)
    },
    '/large': s => { s.send('x'.repeat(1 << 20)); s.close(1000) },
    '/too-large': s => s.send('x'.repeat((1 << 20) + 1)),
    '/parts': s => {
        s.send('one ', { fin: false })
        s.ping('between')
        s.send('two ', { fin: false })
        s.send('', { fin: false })
        s.send('κόσμε', { fin: true })
        s.close(1000)
    },
    '/pings': s => {
        s.pongs = []
        s.on('pong', data => {
            s.pongs.push(data.toString())
            if (s.pongs.length === 3) s.send(s.pongs.join()), s.close(1000)
        })
        for (const text of ['', 'a', 'b'.repeat(125)]) s.ping(text)
    },
    '/close': (s, req) => {
        const at = new URL(req.url, 'http://x').searchParams
        if (at.has('code')) s.close(+at.get('code'), at.get('reason') ?? '')
        else s.close()
    },
    '/drop': s => { s.send('last'); setTimeout(() => s.terminate(), 100) },
    '/reset': s => setTimeout(() => s._socket.resetAndDestroy(), 100),
    '/raw': s => s._socket.write(bits.frame),
    '/many': s => {
        for (let i = 0; i < 10000; i++) s.send('message ' + i)
        s.close(1000)
    },
    '/cookie': (s, req) => {
        s.send(JSON.stringify([req.headers.authorization, req.headers.host]))
        s.close(1000)
    },
    '/slow': s => {
        let n = 0
        s.on('message', data => { n += data.length })
        s.on('close', () => s.told(n))
        s._socket.pause()
        setTimeout(() => s._socket.resume(), 500)
    }
}

const web = http.createServer()
const sockets = new WebSocketServer({ noServer: true, clientTracking: true,
    perMessageDeflate: true,
    handleProtocols: set => set.has('second') ? 'second' : false })
let last, tell
web.on('upgrade', (req, socket, head) => {
    const role = roles[req.url.split('?')[0]]
    if (!role) return socket.end('HTTP/1.1 404 Not Found\r\n\r\n')
    sockets.handleUpgrade(req, socket, head, s => {
        last = s
        s.on('error', error => { s.error = error })
        s.over = new Promise(r => s.on('close', (code, reason) =>
            r(code + ' ' + reason)))
        s.count = new Promise(r => { s.told = r })
        role(s, req)
    })
})
web.on('request', (req, res) =>
    res.writeHead(302, { Location: '/echo' }).end())
await new Promise(r => web.listen(0, '127.0.0.1', r))
const url = 'ws://127.0.0.1:' + web.address().port

const fine = out => ({ status: 0, out, err: '' })
const say = (status, out, err) => ({ status, out, err: 'ws_client: ' + err +
    '\n' })

async function ends(got, want) {
    const r = await got
    same(r.out, want.out)
    same(r.err, want.err)
    same(r.status, want.status)
}

await test('echo', async () => {
    const p = start('hello\n\nκόσμε 🐙\n', url + '/echo')
    await ends(p.over, fine('hello\n\nκόσμε 🐙\n'))
    same(await last.over, '1000 ')
})

await test('what is typed goes at once', async () => {
    const p = start(null, url + '/echo')
    for (const line of ['one', 'two']) {
        const came = once(p.stdout, 'data')
        p.stdin.write(line + '\n')
        same((await came)[0], line + '\n')
    }
    p.stdin.end()
    await ends(p.over, fine('one\ntwo\n'))
})

await test('the input is a file', async () => {
    const name = program + '.input'
    const text = 'a line of a file\n'.repeat(1000)
    fs.writeFileSync(name, text)
    const fd = fs.openSync(name, 'r')
    await ends(start(fd, url + '/echo').over, fine(text))
    fs.closeSync(fd)
})

await test('20 MB of lines to one who is slow', async () => {
    const line = 'x'.repeat(999) + '\n'
    const p = start(line.repeat(20000), url + '/slow')
    same((await p.over).err, '')
    same(await last.count, 999 * 20000)
    same(await last.over, '1000 ')
})

await test('binary messages', async () => ends(hear(url + '/binary'),
    fine([0, 1, 125, 126, 65535, 65536].map(n => `[${n} bytes]\n`).join(''))))
await test('a message of 1 MiB', async () => ends(hear(url + '/large'),
    fine('x'.repeat(1 << 20) + '\n')))
await test('a message of more', async () => {
    await ends(hear(url + '/too-large'), say(1, '', 'larger than the limit'))
    same(await last.over, '1009 ')
})
await test('a message in parts, a ping between', async () =>
    ends(hear(url + '/parts'), fine('one two κόσμε\n')))
await test('ten thousand in order', async () => ends(hear(url + '/many'),
    fine(Array.from({ length: 10000 }, (_, i) => `message ${i}\n`).join(''))))
await test('pings', async () => ends(hear(url + '/pings'),
    fine(',a,' + 'b'.repeat(125) + '\n')))

await test('subprotocols', async () => {
    const p = start(null, url + '/echo', 'first second')
    await once(web, 'upgrade')
    p.stdin.end()
    await ends(p.over, fine(''))
    same(last.protocol, 'second')
})
await test('a subprotocol that is not spoken', async () =>
    ends(start('x\n', url + '/echo', 'first').over, fine('x\n')))
await test('user and password', async () => ends(
    hear(url.replace('//', '//user:pass@') + '/cookie'),
    fine(JSON.stringify(['Basic dXNlcjpwYXNz', url.slice(5)]) + '\n')))

await test('close codes and reasons', async () => {
    await ends(hear(url + '/close?code=1000&reason=bye'), fine(''))
    await ends(hear(url + '/close?code=1001'), say(1, '', 'closed: 1001 '))
    await ends(hear(url + '/close?code=4999&reason=' + 'r'.repeat(123)),
        say(1, '', 'closed: 4999 ' + 'r'.repeat(123)))
    same(await last.over, '4999 ')
    await ends(hear(url + '/close'), say(1, '', 'closed: 1005 '))
    same(await last.over, '1005 ')
})
await test('the connection ends', async () => {
    const r = await hear(url + '/drop')
    same(r.status + r.out, '1last\n')
    same((await hear(url + '/reset')).status, 1)
})

// Frames that no server may send, and the code that they are answered with.
const broken = {
    'masked': [[0x81, 0x85, 0, 0, 0, 0, 1, 2, 3, 4, 5], 1002],
    'RSV1, compressed without an agreement': [[0xc1, 1, 65], 1002],
    'an opcode that is none': [[0x83, 0], 1002],
    'a ping in parts': [[0x09, 0], 1002],
    'a ping of 126 bytes': [[0x89, 126, 0, 126], 1002],
    'a continuation of nothing': [[0x80, 0], 1002],
    'a message within a message': [[0x01, 1, 65, 0x81, 1, 65], 1002],
    'a Close of one byte': [[0x88, 1, 3], 1002],
    'a Close with 1005': [[0x88, 2, 3, 0xed], 1002],
    'a reason that is not UTF-8': [[0x88, 3, 3, 0xe8, 0xff], 1007],
    'text that is not UTF-8': [[0x81, 1, 0xff], 1007],
    'half a character': [[0x81, 1, 0xc3], 1007]
}
for (const [name, [frame, code]] of Object.entries(broken))
    await test(name, async () => {
        bits.frame = Buffer.from(frame)
        same((await hear(url + '/raw')).status, 1)
        same(await last.over, code + ' ')
    })

await test('no such socket', async () =>
    ends(hear(url + '/nothing'), say(2, '', 'status 404')))
await test('nobody listens', async () =>
    ends(hear('ws://127.0.0.1:1/'), say(2, '', 'connection refused')))
await test('wss', async () => same((await hear('wss://127.0.0.1/')).status, 2))
await test('http', async () => same((await hear('http://127.0.0.1/')).status, 2))
await test('no URL', async () => same((await hear()).status, 2))

// Answers to the handshake; KEY stands for the right Sec-WebSocket-Accept.
const start101 = 'HTTP/1.1 101 Switching Protocols\r\n'
const all = start101 + 'Upgrade: websocket\r\nConnection: Upgrade\r\n'
const answers = {
    'the right answer, with a message': [0, all +
        'Sec-WebSocket-Accept: KEY\r\n\r\n\x81\x02hi\x88\x02\x03\xe8'],
    'odd case and more words': [0, start101 + 'upgrade: WebSocket\r\n' +
        'connection: keep-alive, UPGRADE\r\n' +
        'sec-websocket-accept:   KEY  \r\n\r\n\x81\x02hi\x88\x02\x03\xe8'],
    'an early hint before': [0, 'HTTP/1.1 103 Early Hints\r\n\r\n' + all +
        'Sec-WebSocket-Accept: KEY\r\n\r\n\x81\x02hi\x88\x02\x03\xe8'],
    'another key': [2, all + 'Sec-WebSocket-Accept: ' +
        's3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'],
    'no key': [2, all + '\r\n'],
    'no Upgrade': [2, start101 + 'Connection: Upgrade\r\n' +
        'Sec-WebSocket-Accept: KEY\r\n\r\n'],
    'no Connection': [2, start101 + 'Upgrade: websocket\r\n' +
        'Sec-WebSocket-Accept: KEY\r\n\r\n'],
    'an extension nobody offered': [2, all + 'Sec-WebSocket-Accept: KEY\r\n' +
        'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n'],
    'a subprotocol nobody offered': [2, all + 'Sec-WebSocket-Accept: KEY\r\n' +
        'Sec-WebSocket-Protocol: x\r\n\r\n'],
    'a redirect': [2, 'HTTP/1.1 302 Found\r\nLocation: /echo\r\n\r\n'],
    '200': [2, 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    'half a head': [2, start101],
    'no answer': [2, ''],
    'not HTTP': [2, 'SSH-2.0-x\r\n']
}
for (const [name, [status, answer]] of Object.entries(answers))
    await test('handshake: ' + name, async () => {
        const odd = net.createServer(s => s.on('error', () => {}).once('data',
            d => {
                const key = /sec-websocket-key: (.*)\r/i.exec(d)[1]
                const right = createHash('sha1').update(key +
                    '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
                s.end(Buffer.from(answer.replace('KEY', right), 'latin1'))
            }))
        await new Promise(r => odd.listen(0, '127.0.0.1', r))
        const r = await hear('ws://127.0.0.1:' + odd.address().port + '/')
        odd.close()
        same(r.out, status ? '' : 'hi\n')
        same(r.status, status)
        if (/Sanitizer|runtime error/.test(r.err)) throw new Error(r.err)
    })

process.exit(failed ? 1 : 0)
