// Drives Chromium through its debugging pipe: `node browse.mjs CHROMIUM PROFILE PAGE [WIDTH SCHEME PICTURE]`.
// Prints what the page wrote, its rate, all requests and all messages of the console.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

const [chromium, profile, page, width, scheme, picture] = process.argv.slice(2);
const quiet = ["quic", "background-networking", "component-update", "sync"].map((each) => `--disable-${each}`);
const options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", ...quiet, `--user-data-dir=${profile}`, "--remote-debugging-pipe", "about:blank"];
const browser = spawn(chromium, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const waiting = new Map(), requests = [], messages = [];
let number = 0, rest = "";
browser.stdio[4].setEncoding("utf8").on("data", (data) => {
  const parts = (rest + data).split("\0");
  rest = parts.pop();
  for (const message of parts.map((each) => JSON.parse(each))) {
    if (message.id) waiting.get(message.id)(message.result ?? message.error);
    if (message.method === "Network.requestWillBeSent") requests.push(message.params.request.url.slice(0, 200));
    if (/exceptionThrown|consoleAPICalled|entryAdded/.test(message.method)) messages.push(JSON.stringify(message.params));
  }
});
const send = (method, params = {}, sessionId) => new Promise((resolve) => {
  waiting.set(++number, resolve);
  browser.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
});
const { targetId } = await send("Target.createTarget", { url: "about:blank" });
const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
const tell = (method, params) => send(method, params, sessionId);
const value = async (expression) => (await tell("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true })).result.value;
for (const domain of ["Network", "Runtime", "Log", "Page"]) await tell(`${domain}.enable`);
if (width) {
  await tell("Emulation.setDeviceMetricsOverride", { width: Number(width), height: 1100, deviceScaleFactor: 1, mobile: false });
  await tell("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
}
await tell("Page.navigate", { url: page });
const until = async (expression) => { while (!await value(expression)) await new Promise((resolve) => setTimeout(resolve, 20)); };
const began = Date.now();
await until("document.getElementById('write') && !document.getElementById('write').disabled && document.getElementById('next').children.length === 10");
const opened = Date.now() - began;
await value("$('text').value = '话说'; $('length').value = 400; $('colour').checked = true; $('write').click()");
const started = Date.now();
await until("!document.getElementById('write').disabled");
const seconds = (Date.now() - started) / 1000;
const text = await value("$('text').value"), count = await value("words.length"), spans = await value("$('mirror').querySelectorAll('span').length");
if (picture) writeFileSync(picture, Buffer.from((await tell("Page.captureScreenshot", { captureBeyondViewport: true })).data, "base64"));
await value("$('again').click()");
await until("!document.getElementById('write').disabled");
const again = await value("$('text').value");
await value("$('undo').click()");
const undone = await value("$('text').value"), wide = await value("document.documentElement.scrollWidth - innerWidth");
console.log(JSON.stringify({ text, again, undone, spans, count, opened, rate: count / seconds, requests, messages, wide }));
await send("Browser.close");
