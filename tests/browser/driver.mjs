// Drives headless Chromium for tests/src/browser.rs: one command a line of JSON on the standard input, one answer a
// line on the standard output. Ends, and the browser with it, when the input does.
//
// usage: node driver.mjs <folder of playwright-core> <chromium>
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [playwright, executablePath] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${playwright}/index.mjs`));

// How long a command may take; the Rust side waits a little longer.
const PATIENCE_MS = 30_000;
const LOOK_MS = 50;

const browser = await chromium.launch({
    executablePath,
    args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
        '--disable-background-networking', '--disable-component-update',
        // A camera that shows a clock, and nobody is asked whether it may be used.
        '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
        '--autoplay-policy=no-user-gesture-required',
        // A name that is no loopback name: pages there are no secure context, as on a local network.
        '--host-resolver-rules=MAP gateway.test 127.0.0.1',
    ],
});
const pages = [];

async function open({ url, view }) {
    const context = await browser.newContext({
        viewport: { width: view.width, height: view.height },
        colorScheme: view.dark ? 'dark' : 'light',
        deviceScaleFactor: view.scale,
        hasTouch: view.touch,
        isMobile: view.touch,
        javaScriptEnabled: view.script,
    });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => {});
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    page.on('console', (message) => {
        if (message.type() === 'error') {
            complaints.push(`console: ${message.text()} (${message.location().url})`);
        }
    });
    page.on('pageerror', (error) => complaints.push(`uncaught: ${error.stack ?? error}`));
    page.on('crash', () => complaints.push('the page crashed'));
    // Violations that are only reported are in no console.
    await page.exposeBinding('tellViolation', (_, text) => complaints.push(`policy: ${text}`));
    await page.addInitScript(() => {
        addEventListener('securitypolicyviolation', (event) => globalThis.tellViolation(
            `${event.effectiveDirective} forbids ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`,
        ));
    });
    const session = await context.newCDPSession(page);
    pages.push({ page, context, session, complaints });
    await page.goto(url, { waitUntil: 'load' });
    return pages.length - 1;
}

// Not page.evaluate, which needs eval() and so fails under a strict policy.
async function evaluate({ session }, expression) {
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
        expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) {
        throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value ?? null;
}

async function until(place, expression) {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
        const value = await evaluate(place, expression);
        if (value) return value;
        if (performance.now() > end) throw new Error(`waited in vain, last saw ${JSON.stringify(value)}`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
}

const commands = {
    open,
    evaluate: ({ page, expression }) => evaluate(pages[page], expression),
    until: ({ page, expression }) => until(pages[page], expression),
    text: ({ page, selector }) => pages[page].page.innerText(selector),
    click: ({ page, selector }) => pages[page].page.click(selector),
    fill: ({ page, selector, text }) => pages[page].page.fill(selector, text),
    press: ({ page, key }) => pages[page].page.keyboard.press(key),
    screenshot: ({ page, path, full }) => pages[page].page.screenshot({ path, fullPage: full }),
    complaints: ({ page }) => pages[page].complaints,
    close: ({ page }) => pages[page].context.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...rest } = JSON.parse(line);
    let answer;
    try {
        const value = await commands[command](rest);
        answer = { value: Buffer.isBuffer(value) ? null : value ?? null };
    } catch (error) {
        answer = { error: String(error.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
