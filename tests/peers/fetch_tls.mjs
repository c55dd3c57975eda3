// fetch_tls.mjs DIRECTORY: a proxy that speaks CONNECT, by which every name is
// this machine, and a server of https and wss with the certificate there.
// Prints their ports; see fetch_tls.sh.
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'
const require = createRequire(path.resolve('build/npm') + path.sep)
const { WebSocketServer } = require('ws')

const directory = process.argv[2]
const user = 'Basic ' + Buffer.from('user:word').toString('base64')
const odd = {
    'forbidden.test': 'HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno',
    'nothing.test': '',
    'half.test': 'HTTP/1.1 200 O',
    'garbage.test': 'SSH-2.0-x\r\n\r\n',
    'early.test': 'HTTP/1.1 200 OK\r\n\r\nthis is not TLS',
    'large.test': 'HTTP/1.1 200 OK\r\nX: ' + 'x'.repeat(9000) + '\r\n\r\n'
}

const proxy = http.createServer((req, res) => res.writeHead(501).end())
proxy.on('connect', (req, socket, head) => {
    const [, host, port] = /^(.*):(\d+)$/.exec(req.url)
    socket.on('error', () => {})
    if (req.headers['proxy-authorization'] !== user)
        return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n' +
            'Proxy-Authenticate: Basic realm="here"\r\n' +
            'Content-Length: 100000\r\n\r\n' + 'x'.repeat(100000))
    if (host in odd) return socket.end(odd[host])
    if (host === 'slow.test') return
    // Somebody between us and the proxy answers in the place of the server.
    const forged = host !== 'forged.test' ? ''
        : 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforged\n'
    const to = net.connect(+port, '127.0.0.1', () => {
        // A length means nothing here (RFC 9110 9.3.6); the head is in parts.
        socket.write('HTTP/1.1 200 Connection est')
        setTimeout(() => {
            socket.write('ablished\r\nContent-Length: 5\r\n\r\n' + forged)
            to.write(head)
            to.pipe(socket).pipe(to)
        }, 20)
    })
    to.on('error', () => socket.destroy())
})

const page = Buffer.alloc(300000, 'page ')
const server = https.createServer({
    cert: fs.readFileSync(directory + '/good.pem'),
    key: fs.readFileSync(directory + '/good.key')
}, (req, res) => {
    const raw = res.socket
    switch (req.url) {
    case '/until-close':        // an end that says so, with close_notify
        raw.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n' + page)
        break
    case '/cut':                // and one that does not
        raw.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n' + page)
        setTimeout(() => raw._parent.destroy(), 200)
        break
    case '/small-records':
        res.writeHead(200)
        raw.setMaxSendFragment(512)
        res.end(page)
        break
    case '/authorization':
        res.end(String(req.headers.authorization))
        break
    default:
        res.writeHead(200, { 'Content-Length': page.length }).end(page)
    }
})
server.on('tlsClientError', () => {})
new WebSocketServer({ server, path: '/echo' }).on('connection', s => {
    s.on('message', (data, binary) => s.send(data, { binary }))
    s.on('error', () => {})
})

proxy.listen(0, '127.0.0.1', () => server.listen(0, '127.0.0.1', () =>
    console.log(proxy.address().port, server.address().port)))
