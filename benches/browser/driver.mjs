// Opens one page in headless Chromium for benches/src/gateway/browser.rs. What the page says with `tell(lines)` goes to the
// standard output, and what goes wrong there as `fault<TAB>text`. Ends, and the browser with it, when the input does.
//
// usage: node driver.mjs <folder of playwright-core> <chromium> <address>
import { pathToFileURL } from 'node:url';

const [playwright, executablePath, url] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${playwright}/index.mjs`));

const browser = await chromium.launch({
    executablePath,
    args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
        '--disable-background-networking', '--disable-component-update',
        '--autoplay-policy=no-user-gesture-required',
    ],
});
const write = (lines) => process.stdout.write(lines.map((line) => `${line}\n`).join(''));
const page = await browser.newPage({ viewport: { width: 800, height: 600 } });
await page.exposeBinding('tell', (_, lines) => write(lines));
page.on('pageerror', (error) => write([`fault\t${String(error).replaceAll('\n', ' ')}`]));
// For who wants to know why: hls.js tells a lot with {"debug": true}.
if (process.env.THALWEG_BENCH_CONSOLE) page.on('console', (message) => console.error(Date.now(), message.text()));
page.on('crash', () => write(['fault\tthe page crashed']));
page.goto(url).catch((error) => write([`fault\t${String(error).replaceAll('\n', ' ')}`]));

process.stdin.resume();
await new Promise((resolve) => process.stdin.on('end', resolve));
await browser.close();
