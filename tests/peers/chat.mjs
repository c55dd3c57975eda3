// chat.mjs URL: two tabs of a real browser in examples/chat.c, through its
// page. Prints `ok NAME` or `not ok NAME`; build/chat.png shows it. See chat.sh.
import { createRequire } from 'node:module'
import path from 'node:path'
const require = createRequire(path.resolve('build/npm') + path.sep)
const { chromium } = require('playwright-core')

const url = process.argv[2]
let failed = 0
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--no-proxy-server'] })

async function test(name, run) {
    try {
        await run()
        console.log('ok ' + name)
    } catch (error) {
        failed++
        console.log('not ok ' + name + ': ' + error.message.split('\n')[0])
    }
}

async function tab(name, where) {
    const context = await browser.newContext({
        viewport: { width: 900, height: 560 } })
    const page = await context.newPage()
    page.setDefaultTimeout(10000)
    await page.goto(url + where)
    await say(page, name)
    await page.getByText('connected', { exact: true }).waitFor()
    return page
}

async function say(page, text) {
    await page.locator('#text').fill(text)
    await page.getByRole('button', { name: 'Send' }).click()
}

const reads = (page, text) => page.locator('#talk').getByText(text).waitFor()

async function here(page, names) {
    const list = page.locator('#here')
    await page.waitForFunction(names =>
        [...document.querySelectorAll('#here li')].map(li => li.textContent)
            .join() === names, names)
    return list
}

let ann, bob
await test('two tabs come in', async () => {
    ann = await tab('Ann', '/')
    await here(ann, 'Ann')
    bob = await tab('Bob', '/room/lobby')
    await here(ann, 'Ann,Bob')
    await here(bob, 'Ann,Bob')
    await reads(ann, 'Bob has come')
})

await test('both read what is said', async () => {
    await say(ann, 'Hello Bob, can you read this?')
    await reads(bob, 'Hello Bob')
    await say(bob, 'Every word: κόσμε 🐙 <b>not bold</b> & "quoted"')
    await reads(ann, 'κόσμε 🐙 <b>not bold</b>')
    await reads(bob, 'κόσμε 🐙 <b>not bold</b>')
    await say(ann, 'One socket each, one frame for all.')
    await reads(bob, 'one frame for all')
})

await test('other rooms are other rooms', async () => {
    const eve = await tab('Eve', '/room/garden')
    await say(eve, 'anybody in the garden?')
    await reads(eve, 'anybody in the garden')
    await here(ann, 'Ann,Bob')
    if (await bob.getByText('garden').count()) throw new Error('Bob heard it')
    await eve.close()
})

await test('a third comes, and goes', async () => {
    const cid = await tab('Cid', '/room/lobby')
    await here(bob, 'Ann,Bob,Cid')
    await ann.screenshot({ path: 'build/chat.png' })
    await cid.close()
    await here(ann, 'Ann,Bob')
    await reads(bob, 'Cid has gone')
})

await test('a page that is loaded again is the same person', async () => {
    await bob.reload()
    await here(bob, 'Ann,Bob')
    await say(bob, 'back again')
    await reads(ann, 'back again')
})

await test('the page says when the server goes', async () => {
    process.kill(+process.argv[3], 'SIGTERM')
    await ann.getByText('no connection').waitFor()
})

await browser.close()
process.exit(failed ? 1 : 0)
