// Debian's Chromium, driven by playwright-core. Nothing is downloaded and nothing of an earlier run is kept.
// EXHIBIT_BROWSER_NPM names the folder that scripts/setup filled from package-lock.json.

import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.EXHIBIT_BROWSER_NPM, "package.json"));
const { chromium } = require("playwright-core");
const { AxeBuilder } = require("@axe-core/playwright");

const PROGRAM = "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--lang=en-GB",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const PATIENCE_MS = 30_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };

/** One browser with a new, empty profile; each person gets a context of their own. */
export async function browser() {
  return chromium.launch({ executablePath: PROGRAM, args: ARGUMENTS });
}

/** Somebody's window: no cookie or cache of anybody else, and a list of what went wrong in it. */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: DESKTOP, acceptDownloads: true, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    // A status that the story expects is not a fault of the page.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== "file:" && hostname !== "127.0.0.1") wrong.push(`asked ${request.url()}`);
  });
  return { context, page, wrong };
}

/** Opens a one-time link and presses its button. */
export async function signIn(page, link) {
  await page.goto(link);
  await page.getByRole("button", { name: /^Sign in as/ }).click();
  await page.waitForURL((url) => url.pathname === "/");
}

/**
 * What is wrong with the page as it stands: everything that axe finds, and what does not fit a telephone's width. Saves pictures
 * of it at both widths and as it is printed when `pictures` names a folder.
 */
export async function judge(page, name, pictures) {
  const found = await new AxeBuilder({ page }).analyze();
  const wrong = found.violations.map((v) => `${name}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 200)).join(" | ")}`);
  await picture(page, name, pictures);
  await page.setViewportSize(PHONE);
  const [wide, fits] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (wide > fits) wrong.push(`${name}: ${wide} px wide on a screen of ${fits}`);
  await picture(page, `${name}-phone`, pictures);
  await page.setViewportSize(DESKTOP);
  if (pictures) {
    await page.emulateMedia({ media: "print" });
    await picture(page, `${name}-print`, pictures);
    await page.emulateMedia({ media: null });
  }
  return wrong;
}

async function picture(page, name, folder) {
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** What the README shows: the top of the page, as a window has it. */
export async function window(page, name, folder) {
  if (!folder) return;
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path: join(folder, `window-${name}.png`) });
}
