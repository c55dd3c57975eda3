// tls.mjs URL: a page of tests/peers/tls.c in a real browser: what it says of
// the connection, and a wss:// socket of the page. Prints `ok NAME` or `not ok
// NAME`; see tls.sh.
import { createRequire } from 'node:module'
import path from 'node:path'
const require = createRequire(path.resolve('build/npm') + path.sep)
const { chromium } = require('playwright-core')

const url = process.argv[2]
let failed = 0
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--no-proxy-server'] })
const page = await browser.newPage({ ignoreHTTPSErrors: true })
page.setDefaultTimeout(20000)

async function test(name, run) {
    try {
        await run()
        console.log('ok ' + name)
    } catch (error) {
        failed++
        console.log('not ok ' + name + ': ' + error.message.split('\n')[0])
    }
}

function same(a, b) {
    if (a !== b) throw new Error(JSON.stringify(a) + ' is not ' +
        JSON.stringify(b))
}

await test('Chromium refuses a root it does not know', async () => {
    const strict = await browser.newPage()
    const said = await strict.goto(url).then(() => 'nothing', e => e.message)
    await strict.close()
    if (!said.includes('ERR_CERT_AUTHORITY_INVALID')) throw new Error(said)
})

await test('Chromium reads a page', async () => {
    const answer = await page.goto(url)
    same(await page.textContent('body'), 'https -')
    const security = await answer.securityDetails()
    same(security.protocol, 'TLS 1.2')
    same(security.subjectName, process.argv[3])
    same(await page.evaluate(() => isSecureContext), true)
})

await test('Chromium fetches', async () => {
    const sizes = await page.evaluate(() => Promise.all(
        [1, 1000, 100000, 10000000, 30000000].map(async n =>
            (await (await fetch('/big?n=' + n)).arrayBuffer()).byteLength)))
    same(sizes.join(), '1,1000,100000,10000000,30000000')
    same(await page.evaluate(async () => (await fetch('/drip')).text()),
        'line\n'.repeat(10))
})

await test('Chromium opens a WebSocket', async () => {
    const heard = await page.evaluate(() => new Promise((yes, no) => {
        const ws = new WebSocket(location.href.replace('http', 'ws') + 'echo')
        const heard = []
        ws.onopen = () => {
            for (const text of ['one', 'κόσμε 🐙', 'x'.repeat(100000)])
                ws.send(text)
        }
        ws.onmessage = message => {
            heard.push(message.data)
            if (heard.length === 3) ws.close(1000)
        }
        ws.onclose = end => yes([end.code, ...heard])
        ws.onerror = () => no(new Error('no socket'))
    }))
    same(heard.join(), '1000,one,κόσμε 🐙,' + 'x'.repeat(100000))
})

await browser.close()
process.exit(failed ? 1 : 0)
