// live.mjs HOST:PORT: WebSockets and events of behind.c through a proxy there, whose
// time-outs are 3 s. Prints `ok NAME` and `not ok NAME` lines.
import { createRequire } from 'node:module'

const WebSocket = createRequire(process.cwd() + '/build/npm/')('ws')
const at = process.argv[2]
const sleep = ms => new Promise(done => setTimeout(done, ms))
let failed = 0

async function test(name, run) {
    const late = sleep(15000).then(() => { throw new Error('time is over') })
    try {
        await Promise.race([run(), late])
        console.log('ok', name)
    } catch (error) {
        failed++
        console.log('not ok', name)
        console.log('    ' + error)
    }
}

function same(a, b) {
    if (String(a) !== String(b))
        throw new Error(`${String(a).slice(0, 60)} is not ` +
            String(b).slice(0, 60))
}

function open(path, options) {
    const s = new WebSocket(`ws://${at}${path}`, [], options)
    const got = [], wanting = []
    s.on('message', (data, binary) => {
        const m = binary ? data : data.toString()
        if (wanting.length) wanting.shift()(m)
        else got.push(m)
    })
    s.next = () => got.length ? Promise.resolve(got.shift())
        : new Promise(done => wanting.push(done))
    s.closed = new Promise(done => s.on('close', done))
    return new Promise((yes, no) => {
        s.on('open', () => yes(s))
        s.on('error', no)
    })
}

const ask = (path, method) =>
    fetch(`http://${at}${path}`, { method }).then(answer => answer.text())

// Within a few seconds nobody is left.
async function alone() {
    for (let i = 0; i < 40 && await ask('/here') !== '0'; i++) await sleep(100)
    same(await ask('/here'), '0')
}

// The events of /events, one at a time: await e.next().
async function events() {
    const stop = new AbortController()
    const answer = await fetch(`http://${at}/events`, { signal: stop.signal })
    same(answer.headers.get('content-type'), 'text/event-stream')
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    return {
        leave: () => stop.abort(),
        next: async () => {
            for (;;) {
                const event = /^data:\s?(.*)\n\n/m.exec(text)
                if (event) {
                    text = text.slice(event.index + event[0].length)
                    return event[1]
                }
                const { value, done } = await reader.read()
                if (done) return 'the end'
                text += value
            }
        },
    }
}

await test('a WebSocket: text, 1 MB, 1000', async () => {
    const s = await open('/echo', { origin: `http://${at}` })
    s.send('hello')
    same(await s.next(), 'hello')
    const data = Buffer.alloc(1000000, 'abcdefg')
    s.send(data)
    if (!data.equals(await s.next())) throw new Error('other bytes')
    s.close(1000)
    same(await s.closed, 1000)
})
await test('a WebSocket of another site is refused', async () => {
    try {
        await open('/echo', { origin: 'http://evil.example' })
    } catch (error) {
        same(error.message, 'Unexpected server response: 403')
        return
    }
    throw new Error('opened')
})
await test('pings keep a silent WebSocket', async () => {
    const s = await open('/echo')
    await sleep(4500)
    s.send('still here')
    same(await s.next(), 'still here')
    s.close(1000)
    same(await s.closed, 1000)
})
await test('each event comes when it is sent', async () => {
    const e = await events()
    same(await e.next(), '0')
    for (let i = 1; i < 20; i++) {
        same(await ask('/next', 'POST'), i)
        same(await e.next(), i)
    }
    e.leave()
    await alone()
})
await test('comments keep silent events', async () => {
    const e = await events()
    for (let i = 0; i < 20; i++) same(await e.next(), i)
    await sleep(4500)
    same(await ask('/next', 'POST'), 20)
    same(await e.next(), 20)
    e.leave()
    await alone()
})
await test('the end of a WebSocket whose messages nobody takes', async () => {
    const leave = [s => s.close(1000), s => s.terminate()]
    for (const how of leave) {
        const s = await open('/push')
        same(await s.next(), '0')
        s.send('one')
        s.send('two')
        await sleep(200)
        same(await ask('/here'), '1')
        how(s)
        same(await s.closed, how === leave[0] ? 1000 : 1006)
        if (how === leave[0]) await sleep(5000)     // ws_close_ms
        await alone()
    }
})
process.exit(failed ? 1 : 0)
