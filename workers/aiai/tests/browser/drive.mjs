// Drives a real Chromium for browser.rs: node drive.mjs <node_modules> <chromium>.
//
// One JSON command a line on standard input, one JSON answer a line on standard output: {"ok": …} or {"error": …}.
// What goes wrong in a page is collected: errors on its console, uncaught ones, requests to elsewhere. While an outage
// was announced, failed requests for what the page keeps trying are expected; nothing else ever is.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const TRIED_AGAIN = ["/live", "/models/panel"];

// Chromium refuses its own sandbox to root.
const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath, args });
let context, page, devtools, origin;
let outage = false;
let problems = [];

const isRefusal = (text) => /^Failed to load resource: net::ERR_/.test(text);
function isExpected(message) {
  const { url } = message.location();
  return outage && isRefusal(message.text()) && url.startsWith(origin) && TRIED_AGAIN.includes(new URL(url).pathname);
}

// Not page.evaluate(): a page's content security policy holds for that, too.
async function evaluate(expression) {
  const options = { expression, returnByValue: true, awaitPromise: true, allowUnsafeEvalBlockedByCSP: true };
  const { result, exceptionDetails } = await devtools.send("Runtime.evaluate", options);
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

const commands = {
  async open({ url, dark = false, width = 1280, javascript = true }) {
    await context?.close();
    origin = new URL(url).origin;
    context = await browser.newContext({
      colorScheme: dark ? "dark" : "light",
      javaScriptEnabled: javascript,
      viewport: { width, height: 900 },
    });
    page = await context.newPage();
    page.on("console", (message) => {
      if (message.type() === "error" && !isExpected(message)) problems.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== origin) problems.push(`request to ${request.url()}`);
    });
    devtools = await context.newCDPSession(page);
    const answer = await page.goto(url, { waitUntil: "load", timeout: 20_000 });
    return answer.status();
  },
  evaluate: ({ js }) => evaluate(js),
  async wait({ js, ms }) {
    const started = Date.now();
    for (;;) {
      if (await evaluate(js)) return Date.now() - started;
      if (Date.now() - started > ms) {
        throw new Error(`waited ${ms} ms in vain for ${js}; the page says: ${await evaluate("document.body.innerText")}`);
      }
      await new Promise((resume) => setTimeout(resume, 20));
    }
  },
  async press({ key }) {
    await page.keyboard.press(key);
  },
  async hover({ selector }) {
    await page.hover(selector);
  },
  async axe() {
    await evaluate(axe);
    const found = await evaluate("axe.run(document).then(({ violations, passes }) => ({ violations, passes: passes.length }))");
    const words = found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n  ")}`);
    return { violations: words, passes: found.passes };
  },
  async screenshot({ path }) {
    await page.screenshot({ path, fullPage: true });
  },
  outage({ now }) {
    outage = now;
  },
  problems() {
    const found = problems;
    problems = [];
    return found;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await commands[command.do](command)) ?? null };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
