// Debian's Chromium, driven by playwright-core. Nothing is downloaded and nothing of an earlier run is kept: each session has
// a new, empty folder. EXHIBIT_BROWSER_NPM names the folder that scripts/setup filled from package-lock.json.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(join(process.env.EXHIBIT_BROWSER_NPM, "package.json"));
const { chromium } = require("playwright-core");
export const { AxeBuilder } = require("@axe-core/playwright");

const PROGRAM = "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--lang=en-GB", "--disable-component-update", "--disable-sync",
];
const PATIENCE_MS = 30_000;

/** A session of somebody's own: cookies, cache and downloads of nobody else. */
export async function session(options = {}) {
  const folder = await mkdtemp(join(tmpdir(), "exhibit-browser-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: PROGRAM,
    args: ARGUMENTS,
    acceptDownloads: true,
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    ...options,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = context.pages()[0] ?? (await context.newPage());
  const end = async () => {
    await context.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { context, page, end };
}

/** Opens a one-time link and presses its button. */
export async function signIn(page, link) {
  await page.goto(link);
  await Promise.all([page.waitForURL((url) => url.pathname === "/"), page.getByRole("button", { name: /Sign in as/ }).click()]);
}
