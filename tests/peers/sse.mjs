// sse.mjs PORT [FILE.png]: a browser opens the page of examples/sse.c, starts
// the job, and sees the bar reach its end. Needs playwright-core, from
// build/npm/node_modules, and chromium. Prints `ok NAME` and `not ok NAME` lines.
import { createRequire } from 'node:module'

const { chromium } = createRequire(process.cwd() + '/build/npm/')('playwright-core')
const [port, picture] = process.argv.slice(2)
const at = `http://127.0.0.1:${port}/`
let failed = false

async function check(name, work) {
    try {
        const wrong = await work()
        if (wrong) throw new Error(wrong)
        console.log('ok', name)
    } catch (error) {
        failed = true
        console.log('not ok', name)
        console.log('    ' + String(error).split('\n')[0])
    }
}

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox'],
})
const first = await browser.newPage({ viewport: { width: 720, height: 420 } })
const second = await browser.newPage()
const percent = page =>
    page.locator('#track').getAttribute('aria-valuenow').then(Number)
const reaches = (page, n) => page.waitForFunction(
    n => +document.querySelector('#track').getAttribute('aria-valuenow') >= n,
    n, { timeout: 15000 })

await check('the page is there', async () => {
    await first.goto(at)
    await second.goto(at)
    await reaches(first, 0)
    return await first.title() === 'Job' ? '' : 'another title'
})
await check('the bar moves in both windows', async () => {
    await first.click('button')
    await reaches(first, 30)
    await reaches(second, 30)
    if (picture) await first.screenshot({ path: picture })
    const now = await percent(first)
    return now < 100 ? '' : 'no event came on its way'
})
await check('it sees many steps of it', async () => {
    const seen = new Set()
    while (await percent(first) < 90) seen.add(await percent(first))
    return seen.size > 10 ? '' : `only ${seen.size}`
})
await check('the bar reaches its end', async () => {
    await reaches(first, 100)
    await reaches(second, 100)
    await first.waitForFunction(() => {
        const width = s => document.querySelector(s).clientWidth
        return width('#bar') > 100 && width('#bar') === width('#track')
    })
    await first.waitForTimeout(600)         // its colour, too, takes a moment
    if (picture) await first.screenshot({ path: picture.replace('.', '-done.') })
    const said = await first.textContent('#say')
    return said === 'Done.' ? '' : said
})
await check('a second job', async () => {
    await first.click('button')
    await reaches(first, 100)
    await first.waitForFunction(() =>
        document.querySelector('#say').textContent === 'Done.')
})
await check('a browser asks again when the stream breaks off', async () => {
    const events = await first.evaluate(() => new Promise(resolve => {
        const seen = [], source = new EventSource('/events')
        source.addEventListener('done', e => {
            seen.push(e.data)
            if (seen.length === 2) { source.close(); resolve(seen) }
        })
    }))
    return events.join() === '100,100' ? '' : events.join()
})
await browser.close()
process.exit(failed ? 1 : 0)
