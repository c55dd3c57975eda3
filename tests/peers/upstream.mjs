// upstream.mjs: servers for fetch.sh and proxy.sh to ask. Prints the ports of
// an HTTP server and of one that speaks bytes of its own: "HTTP RAW".
import crypto from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import { pipeline } from 'node:stream/promises'

const counts = { requests: 0, connections: 0, aborted: 0 }
let race = false

// n bytes that can be told from others.
function bytes(n) {
    const b = Buffer.alloc(n)
    for (let i = 0; i < n; i++) b[i] = i * 31 + (i >> 8)
    return b
}

async function whole(req) {
    const parts = []
    for await (const part of req) parts.push(part)
    return Buffer.concat(parts)
}

// Only as fast as it is read.
function pour(res, total) {
    const some = Buffer.alloc(1 << 16)
    return pipeline(function* () {
        for (let left = total; left > 0; left -= some.length)
            yield left < some.length ? some.subarray(0, left) : some
    }, res)
}

const pages = {
    '/hello': (req, res) => res.end('hello\n'),
    // In chunks of all sizes, with trailers behind.
    '/chunks': (req, res) => {
        const all = bytes(1000000)
        res.setHeader('Trailer', 'X-Sum')
        for (let at = 0, n = 1; at < all.length; at += n, n = n * 3 % 60013)
            res.write(all.subarray(at, at + n))
        res.addTrailers({ 'X-Sum': 'there' })
        res.end()
    },
    '/bytes': (req, res) => res.end(bytes(1000000)),
    '/hints': (req, res) => {
        res.writeEarlyHints({ link: '</a.css>; rel=preload' })
        res.writeProcessing()
        res.writeEarlyHints({ link: '</b.css>; rel=preload' })
        res.end('hinted\n')
    },
    '/slow': (req, res) => setTimeout(() => res.end('slow\n'), 2000),
    // A piece each 300 ms: never silent for long, and long in all.
    '/drops': (req, res) => {
        let left = 5
        const timer = setInterval(() => {
            res.write('drop\n')
            if (--left === 0) clearInterval(timer), res.end()
        }, 300)
    },
    '/cut': (req, res) => {
        res.setHeader('Content-Length', 1000000)
        res.write(bytes(300000), () => res.destroy())
    },
    '/cut-chunks': (req, res) =>
        res.write(bytes(300000), () => res.destroy()),
    '/empty': (req, res) => res.writeHead(204, { 'X-Kept': 'yes' }).end(),
    '/what': async (req, res) => {
        const body = await whole(req)
        res.end(`${req.method} ${req.url} ${req.headers['content-type']} ` +
            `${body.length}\n${body}`)
    },
    '/head': (req, res) => {
        let text = `${req.method} ${req.url}\n`
        for (let i = 0; i < req.rawHeaders.length; i += 2)
            text += `${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}\n`
        res.end(text)
    },
    // Fields for the client, and for who stands between.
    '/fields': (req, res) => {
        res.writeHead(203, 'Strange', [
            'Connection', 'keep-alive', 'Connection', 'X-Two, X-Hop',
            'X-Two', '2', 'X-Hop', 'for the next', 'Hop', '3',
            'Keep-Alive', 'timeout=5', 'Proxy-Authenticate', 'Basic',
            'X-Kept', 'one', 'X-Kept', 'two', 'Set-Cookie', 'a=1',
            'Set-Cookie', 'b=2', 'Server', 'upstream',
            'Content-Type', 'text/x-strange', 'Content-Length', '3'])
        res.end('ok\n')
    },
    '/sha': async (req, res) => {
        const sum = crypto.createHash('sha256')
        for await (const part of req) sum.update(part)
        res.end(sum.digest('hex') + '\n')
    },
    '/count': async (req, res) => {
        let n = 0
        for await (const part of req) n += part.length
        res.end(n + '\n')
    },
    '/zeros': (req, res, at) => pour(res, +at.searchParams.get('n')),
    // What came goes back, framed in one way or the other.
    '/echo': async (req, res, at) => {
        const body = await whole(req)
        const fields = { 'X-Id': req.headers['x-id'] ?? '' }
        if (!at.search) fields['Content-Length'] = body.length
        res.writeHead(200, fields)
        res.end(body)
    },
    // It has heard enough, and says so before the end.
    '/refuse': (req, res) => {
        res.writeHead(413, { Connection: 'close' })
        res.end('too much\n')
        setTimeout(() => req.destroy(), 500)
    },
    // From here on each connection ends a moment after an answer.
    '/race': (req, res) => { race = true; res.end('raced\n') },
    '/counts': (req, res) => res.end(JSON.stringify(counts) + '\n')
}

const server = http.createServer(async (req, res) => {
    const at = new URL(req.url, 'http://x')
    const page = pages[at.pathname]
    counts.requests++
    req.on('error', () => {})
    req.on('close', () => { if (!req.complete) counts.aborted++ })
    if (race) res.on('finish', () => setTimeout(() => {
        if (!req.socket.writableEnded) req.socket.destroySoon()
    }, Math.random() * 3))
    if (!page) return res.writeHead(404).end('no such page\n')
    try { await page(req, res, at) } catch { res.destroy() }
})
server.on('connection', () => counts.connections++)
server.on('checkContinue', (req, res) => {
    if (req.url !== '/refuse') res.writeContinue()
    server.emit('request', req, res)
})

const said = {
    '/1.0': 'HTTP/1.0 200 OK\r\n\r\nold and open-ended\n',
    '/short': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort',
    '/nothing': '',
    '/garbage': 'SSH-2.0-OpenSSH_9.2\r\n',
    '/lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n' +
        'Content-Length: 4\r\n\r\nabcd',
    '/chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
        'zz\r\nabcd',
    '/both': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n' +
        'Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n',
    '/more': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK',
    '/switch': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n',
    '/half': 'HTTP/1.1 200 OK\r\nX-Half: '
}
const raw = net.createServer(s => {
    s.on('error', () => {})
    s.once('data', d => s.end(said[d.toString().split(' ')[1]] ?? ''))
})

server.listen(0, '127.0.0.1', () => raw.listen(0, '127.0.0.1', () =>
    console.log(server.address().port + ' ' + raw.address().port)))
