// Chromium, led through steps that a test writes on stdin; what it saw, as JSON on stdout.
//
// { url, executable, flags, width, height, dark, steps: [[name, ...words], ...] }

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const { chromium } = createRequire(`${process.env.FST_NODE_MODULES}/`)("playwright-core");
const asked = JSON.parse(readFileSync(0, "utf8"));
const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const MOST_MS = 150_000; // on a busy machine; seconds on a quiet one
const browser = await chromium.launch({
  executablePath: asked.executable,
  args: [...FLAGS, ...(asked.flags ?? ["--disable-gpu"])],
});
const context = await browser.newContext({
  viewport: { width: asked.width ?? 1280, height: asked.height ?? 900 },
  colorScheme: asked.dark ? "dark" : "light",
  permissions: asked.flags?.includes("--use-fake-device-for-media-stream") ? ["camera"] : [],
});
const page = await context.newPage();
page.setDefaultTimeout(MOST_MS);
const requests = [];
const errors = [];
context.on("request", (request) => requests.push(request.url()));
page.on("filechooser", () => {}); // from the beginning, else the first dialog may be the browser's own
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => {
  if (message.type() === "error") errors.push(message.text());
});
const status = () => page.textContent("#status");
const seconds = (text) => Number(/([\d.]+) s,/.exec(text)?.[1]);
const done = () =>
  page.waitForFunction(
    () =>
      document.querySelector("#work").hidden &&
      (/ s, /.test(document.querySelector("#status").textContent) ||
        document.querySelector("#trouble").textContent),
  );
const come = () =>
  page.waitForFunction(
    () =>
      document.querySelector("#work").hidden &&
      (document.querySelector("#status").textContent || document.querySelector("#trouble").textContent),
  );
const said = async () => [await status(), await page.textContent("#trouble")];
const actions = {
  photo: async (path) => {
    await page.setInputFiles("#file", path);
    await come();
    return said();
  },
  // by the key that is to open the browser's own dialog
  choose: async (key, path) => {
    const coming = page.waitForEvent("filechooser", { timeout: 20_000 });
    await page.keyboard.press(key);
    await (await coming).setFiles(path);
    await come();
    return said();
  },
  style: async (name) => {
    await page.locator(`.tile:has(input[value="${name}"])`).click();
    await done();
    return said();
  },
  click: (selector) => page.locator(selector).first().click(),
  check: (selector) => page.locator(selector).check(),
  select: (selector, value) => page.selectOption(selector, value),
  set: async (id, value) => {
    await page.locator(`#${id}`).fill(String(value));
    await page.locator(`#${id}`).dispatchEvent("change");
    await done();
    return status();
  },
  download: async (path) => {
    const coming = page.waitForEvent("download");
    await page.locator(".save").first().click();
    const download = await coming;
    await download.saveAs(path);
    return download.suggestedFilename();
  },
  press: (key) => page.keyboard.press(key),
  focus: (selector) => page.locator(selector).first().focus(),
  wait: (selector) => page.waitForSelector(selector),
  until: async (expression) => {
    for (const begun = Date.now(); !(await page.evaluate(expression)); await sleep(100)) {
      if (Date.now() - begun > MOST_MS) throw new Error(`never: ${expression}`);
    }
  },
  sleep: (ms) => sleep(ms),
  offline: (is) => context.setOffline(is),
  evaluate: (expression) => page.evaluate(expression),
  screenshot: async (path) => {
    await page.screenshot({ path });
  },
  // bytes that the process of the page holds
  memory: async () => {
    const session = await browser.newBrowserCDPSession();
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    let most = 0;
    for (const { id, type } of processInfo) {
      if (type !== "renderer") continue;
      const told = readFileSync(`/proc/${id}/status`, "utf8");
      most = Math.max(most, Number(/VmRSS:\s+(\d+)/.exec(told)[1]) * 1024);
    }
    return most;
  },
  seconds: async () => seconds(await status()),
};
const results = [];
try {
  await page.goto(asked.url);
  await page.waitForSelector("body[data-ready], #trouble:not(:empty)");
  for (const [name, ...words] of asked.steps) results.push((await actions[name](...words)) ?? null);
  const isolated = await page.evaluate("crossOriginIsolated");
  const engine = await page.evaluate("document.body.dataset.ready");
  const wide = await page.evaluate("document.documentElement.scrollWidth");
  console.log(JSON.stringify({ results, requests, errors, isolated, engine, wide }));
} catch (error) {
  const said = await page.textContent("#trouble").catch(() => "");
  console.log(JSON.stringify({ failed: String(error), results, errors, said, requests }));
} finally {
  await browser.close();
}
