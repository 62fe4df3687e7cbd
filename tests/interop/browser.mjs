// Drives the vendor's Web SDK in headless Chromium: one JSON object a line in, one JSON object a line out.
//
// In   {"id":1,"page":7,"open":"127.0.0.1:8443"}                           a page of its own, with the SDK ready for that host
//      {"id":2,"page":7,"on":"messenger","call":"getUser","args":["…"]}    a method of the SDK
//      {"id":3,"page":7,"on":"message:…","set":{"text":"…"},"call":"update","args":[]}    after setting properties
//      {"id":4,"page":7,"close":true}
// Out  {"id":2,"result":…}, {"id":2,"error":…} when the SDK refuses, {"id":2,"broken":"…"} when it was not even asked
//      {"page":7,"event":"SendMessage","payload":{…}}                      as the SDK fires it
//
// `on` is `client`, `messenger`, `conversation:<uuid>`, `message:<uuid>` (objects that the SDK has given to this page
// before) or `socket`, the SDK's own. Ends, with the browser, when standard input does.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const SDK = new URL("node_modules/voximplant-websdk/voximplant.min.js", import.meta.url);
const IN_PAGE = new URL("page.js", import.meta.url);

// The page is made up here and never leaves this process: the SDK wants a secure origin, not a web server.
const ORIGIN = "https://interop.test/";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--ignore-certificate-errors",
];

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const pages = new Map();

async function open(browser, name, host) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  // A page of another origin may not reach the loop-back address without a person's consent.
  await context.grantPermissions(["local-network-access"]);
  const page = await context.newPage();
  page.on("pageerror", (error) => say({ page: name, event: "PageError", payload: String(error) }));
  await page.route(`${ORIGIN}**`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(ORIGIN);
  await page.exposeFunction("tell", (event, payload) => say({ page: name, event, payload }));
  await page.addScriptTag({ content: readFileSync(SDK, "utf8") });
  await page.addScriptTag({ content: readFileSync(IN_PAGE, "utf8") });
  await page.evaluate((host) => window.start(host), host);
  pages.set(name, { context, page });
}

async function perform(browser, command) {
  if (command.open) return open(browser, command.page, command.open);
  const { context, page } = pages.get(command.page);
  if (command.close) return context.close();
  return page.evaluate((command) => window.perform(command), command);
}

async function answer(browser, command) {
  const outcome = await perform(browser, command).catch((error) => ({ broken: String(error) }));
  say({ id: command.id, ...(outcome ?? { result: null }) });
}

const browser = await chromium.launch({ executablePath: process.argv[2], args: ARGUMENTS });
// A test run that was broken off listens no more.
process.stdout.on("error", () => process.exit());
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => answer(browser, JSON.parse(line)));
lines.on("close", () => browser.close());
