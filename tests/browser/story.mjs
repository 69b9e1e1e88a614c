// dock → list → play → case → bundle → download, as an investigator; an operator who sees no footage; a keyboard and no script.
// Reads what it needs as JSON in its argument, and prints a report as JSON: what was wrong, and where the bundle is.

import { join } from "node:path";
import { browser, judge, person, signIn, window } from "./chromium.mjs";

const given = JSON.parse(process.argv[2]);
const at = (path) => given.url + path;
const FOCUS_MS = 5000;
const wrong = [];
const report = { wrong, judged: [] };

function check(holds, what) {
  if (!holds) wrong.push(what);
}

async function judged(page, name) {
  report.judged.push(name);
  await window(page, name, given.pictures);
  wrong.push(...(await judge(page, name, given.pictures)));
}

/** Status and words of an address, asked for by this person's browser. */
async function ask(page, path) {
  const response = await page.goto(at(path));
  const kind = response.headers()["content-type"] ?? "";
  return { status: response.status(), kind, text: await page.locator("body").innerText() };
}

async function plays(page, seekTo) {
  return page.evaluate(async (seekTo) => {
    const video = document.querySelector("video");
    video.muted = true;
    await video.play();
    const started = video.currentTime;
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    for (let i = 0; i < 100 && video.currentTime < started + 0.3; i++) await wait(50);
    const advanced = video.currentTime - started;
    video.pause();
    const seeked = new Promise((done) => video.addEventListener("seeked", done, { once: true }));
    video.currentTime = seekTo;
    await seeked;
    return { advanced, seeked: video.currentTime, duration: video.duration, width: video.videoWidth };
  }, seekTo);
}

async function investigator(chromium) {
  const { context, page, wrong: faults } = await person(chromium);
  await page.goto(given.links.investigator);
  await judged(page, "sign-in");
  await signIn(page, given.links.investigator);
  await page.waitForLoadState("networkidle");
  const shown = await page.locator("img.x-poster").evaluateAll((all) => all.map((image) => image.naturalWidth));
  check(shown.length >= 4 && shown.every((width) => width > 0), `posters: ${shown}`);
  await judged(page, "items");

  // The link is used up, and says so.
  const again = await person(chromium);
  const used = await again.page.goto(given.links.investigator);
  check(used.status() === 410, `a used link: ${used.status()}`);
  await judged(again.page, "used-link");
  await again.context.close();

  await page.getByLabel("Name contains").fill("movie");
  await page.getByRole("button", { name: "Search" }).click();
  check((await page.locator(".x-item").count()) === 1, "the search finds one of several");
  const ranges = [];
  page.on("response", (response) => {
    if (response.url().endsWith("/proxy")) ranges.push(response.status());
  });
  await page.getByRole("link", { name: "movie-hello.mp4" }).click();
  const itemPath = new URL(page.url()).pathname;
  const watched = await plays(page, 6);
  check(watched.advanced > 0.2 && Math.abs(watched.seeked - 6) < 0.5 && watched.width > 0, `plays: ${JSON.stringify(watched)}`);
  check(ranges.length > 0 && ranges.every((status) => status === 206), `by range: ${ranges}`);
  await looksAlong(page, itemPath);
  const words = await page.locator("main").innerText();
  for (const expected of ["Camera signature", "This server’s clock", "One copy", "GMT", "UTC", "SHA-256", "BLAKE3", "Continuity", "Received"]) {
    check(words.includes(expected), `the item's page does not say ${expected}`);
  }
  const [receipt] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Receipt to check" }).click()]);
  check(receipt.suggestedFilename().endsWith(".tlog-proof"), receipt.suggestedFilename());
  await judged(page, "item");
  await looksAtAPhotograph(page);

  const casePath = await opensACase(context, page);
  await page.goto(at(itemPath));
  await page.getByLabel("Exhibit reference").fill("JSM/1");
  await page.getByRole("button", { name: "Put it into this case" }).click();
  await page.waitForURL((url) => url.hash === "#cases");
  await page.goto(at(casePath));
  check((await page.locator(".x-item").innerText()).includes("JSM/1"), "the case shows the exhibit reference");
  await page.getByLabel("Add somebody by number").fill("nobody");
  await page.getByRole("button", { name: "Add to this case" }).click();
  await inErrors(page, "adding nobody");
  await judged(page, "case-error");
  await takesOffTheCase(page, casePath, itemPath);
  await bundles(page, casePath);
  await page.goto(at("/nothing/of/the/kind"));
  await judged(page, "not-found");
  wrong.push(...faults);
  return { context, page, itemPath, casePath };
}

/** From a sheet of small pictures to a moment, by keyboard and without a script of ours. */
async function looksAlong(page, itemPath) {
  const summary = page.locator("summary", { hasText: "Look along the recording" });
  await summary.click();
  const sheet = await page.locator(".x-sheet img").evaluate((image) => image.decode().then(() => image.naturalWidth));
  check(sheet > 0, "the sheet of pictures is shown");
  await page.locator("map area").nth(3).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === itemPath && url.search === "?at=3");
  const now = () => page.evaluate(() => document.querySelector("video").currentTime);
  for (let waited = 0; (await now()) < 2.5 && waited < FOCUS_MS; waited += 100) await page.waitForTimeout(100);
  check(Math.abs((await now()) - 3) < 0.5, `the player begins at ${await now()} s`);
  const layout = await ask(page, `${itemPath.replace("/items/", "/media/")}/thumbnails.vtt`);
  check(layout.kind.startsWith("text/vtt") && layout.text.startsWith("WEBVTT"), `its layout: ${layout.kind}`);
  await page.goto(at(itemPath));
  await summary.click();
}

/** A photograph is shown, not played. */
async function looksAtAPhotograph(page) {
  await page.goto(at("/?text=IMG_"));
  await page.locator(".x-item a").first().click();
  const width = await page.locator("img.x-still").evaluate((image) => image.decode().then(() => image.naturalWidth));
  check(width > 1000, `the photograph is ${width} wide`);
}

/** An error summary stands on top and has the focus. */
async function inErrors(page, what) {
  // The browser gives the focus with its first picture, which on a busy machine comes after the page has loaded.
  let focused = "";
  for (let waited = 0; !focused.includes("govuk-error-summary") && waited < FOCUS_MS; waited += 100) {
    await page.waitForTimeout(100);
    focused = await page.evaluate(() => document.activeElement?.className ?? "");
  }
  check(focused.includes("govuk-error-summary"), `${what}: the focus is on '${focused}'`);
  check((await page.title()).startsWith("Error: "), `${what}: the title is ${await page.title()}`);
}

async function opensACase(context, page) {
  await page.getByRole("link", { name: "Cases" }).click();
  await page.getByRole("button", { name: "Open the case" }).click();
  await inErrors(page, "a case without a reference");
  await page.getByLabel("Reference").fill("01AB1234526");
  await page.getByLabel("Title").fill("Assault at the bus station, 22 November");
  const form = await page.locator("form[action='/cases']").evaluate((form) => Object.fromEntries(new FormData(form)));
  await judged(page, "cases");
  await page.getByRole("button", { name: "Open the case" }).click();
  await page.waitForURL((url) => url.pathname.startsWith("/cases/"));
  const casePath = new URL(page.url()).pathname;
  // The same form again, as a double click sends it, and one that another site made.
  const twice = await context.request.post(at("/cases"), { form, maxRedirects: 0 });
  check(twice.headers()["location"] === casePath, `sent twice: ${twice.status()} ${twice.headers()["location"]}`);
  const forged = await context.request.post(at("/cases"), { form: { ...form, form_token: "0".repeat(64) }, maxRedirects: 0 });
  check(forged.status() === 403, `a form of another site: ${forged.status()}`);
  return casePath;
}

/** Somebody joins and leaves, an item goes out and in again: each with a reason, which the case tells. */
async function takesOffTheCase(page, casePath, itemPath) {
  await page.goto(at(casePath));
  await page.getByLabel("Add somebody by number").fill("77");
  await page.getByRole("button", { name: "Add to this case" }).click();
  await page.waitForURL((url) => url.hash === "#members");
  await page.getByText("Take somebody off this case").click();
  await page.getByLabel("Who", { exact: true }).selectOption("77");
  await page.getByRole("button", { name: "Take them off this case" }).click();
  await inErrors(page, "taking off without a reason");
  check((await page.getByLabel("Who", { exact: true }).inputValue()) === "77", "what was chosen stays chosen");
  await judged(page, "case-member-error");
  await page.getByLabel("Why they are taken off").fill("moved to another team");
  await page.getByRole("button", { name: "Take them off this case" }).click();
  await page.waitForURL((url) => url.hash === "#members");
  await page.getByText("Take an item out of this case").click();
  await page.getByLabel("Why it is taken out").fill("put in by mistake");
  await page.getByRole("button", { name: "Take it out" }).click();
  await page.waitForURL((url) => url.hash === "#items");
  const told = await page.locator("main").innerText();
  check(told.includes("moved to another team") && told.includes("put in by mistake"), `the case tells why: ${told}`);
  await judged(page, "case-empty");
  await page.goto(at(itemPath));
  await page.getByLabel("Exhibit reference").fill("JSM/1");
  await page.getByRole("button", { name: "Put it into this case" }).click();
  await page.waitForURL((url) => url.hash === "#cases");
}

/** Restricted, named, refused, withdrawn, free again; then what is in quarantine, and a link of yesterday. */
async function restricts(chromium, { page }) {
  await page.goto(at("/"));
  await page.getByRole("link", { name: "bikes.mp4" }).click();
  const path = new URL(page.url()).pathname;
  await page.getByText("Restrict it to named people").click();
  await page.getByRole("button", { name: "Restrict it", exact: true }).click();
  await inErrors(page, "restricting without a reason");
  await judged(page, "restrict-error");
  await page.getByLabel("Why it is restricted").fill("a third party’s child is in it");
  await page.getByRole("button", { name: "Restrict it", exact: true }).click();
  await page.waitForURL((url) => url.hash === "#access");
  const other = await person(chromium);
  await signIn(other.page, given.links.other);
  const refused = await ask(other.page, path);
  check(refused.status === 404, `not named: ${refused.status}`);
  await judged(other.page, "refused");
  await page.goto(at(path));
  await page.getByLabel("Let somebody see it, by number").fill("78");
  await page.getByLabel("Why they may see it").fill("reviews it for disclosure");
  await page.getByRole("button", { name: "Let them see it", exact: true }).click();
  await page.waitForURL((url) => url.hash === "#access");
  check((await ask(other.page, path)).status === 200, "named by now");
  await judged(page, "restricted");
  const told = await page.locator("main").innerText();
  for (const said of ["a third party’s child", "reviews it for disclosure", "was refused", "Olga Other"]) check(told.includes(said), `not told: ${said}`);
  await page.goto(at("/"));
  await page.getByLabel("State").selectOption("restricted");
  await page.getByRole("button", { name: "Search" }).click();
  check((await page.locator(".x-item").count()) === 1, "the restricted one alone");
  await judged(page, "items-restricted");
  await page.goto(at(path));
  await page.getByText("Let somebody see it no more").first().click();
  await page.getByLabel("Who", { exact: true }).selectOption("78");
  await page.getByLabel("Why not any more").fill("has reviewed it");
  await page.getByRole("button", { name: "Let them see it no more" }).click();
  await page.waitForURL((url) => url.hash === "#access");
  check((await ask(other.page, path)).status === 404, "withdrawn by now");
  await page.getByText("End the restriction").first().click();
  await page.getByLabel("Why it need not be restricted").fill("the child cannot be recognised");
  await page.getByRole("button", { name: "End the restriction" }).click();
  await page.waitForURL((url) => url.hash === "#access");
  check((await ask(other.page, path)).status === 200, "free by now");
  wrong.push(...other.wrong);
  await other.context.close();

  await page.goto(at(`/items/${given.quarantined}`));
  check((await page.locator("main").innerText()).includes("In quarantine"), "the quarantine is said");
  await judged(page, "quarantined");
  await page.goto(at("/?handling=quarantined"));
  await judged(page, "items-quarantined");
  const late = await person(chromium);
  const expired = await late.page.goto(given.links.expired);
  check(expired.status() === 410, `an expired link: ${expired.status()}`);
  await judged(late.page, "expired-link");
  await late.context.close();
}

/** Accounts and devices: what is shown once, and what is wrong in words. Once judged, and once with scripts off. */
async function operates(chromium, { link: own, name, number, dock, scripts }) {
  const { context, page, wrong: faults } = await person(chromium, { javaScriptEnabled: scripts });
  // The judge is a script itself.
  const look = async (name) => scripts && judged(page, name);
  await page.goto(own);
  await page.getByRole("button", { name: /^Sign in as/ }).click();
  await page.getByRole("link", { name: "People" }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Number", { exact: true }).fill("1234");
  await page.getByRole("radio", { name: "investigator" }).check();
  await page.getByRole("button", { name: "Give them an account" }).click();
  await inErrors(page, "a number that somebody has");
  check((await page.getByLabel("Name", { exact: true }).inputValue()) === name, "what was typed stays");
  await look("people-error");
  await page.getByLabel("Number", { exact: true }).fill(number);
  await page.getByRole("button", { name: "Give them an account" }).click();
  const shown = async () => page.locator(".govuk-notification-banner .x-digest").innerText({ timeout: 2000 }).catch(() => "");
  const link = await shown();
  check(link.startsWith(given.url), `the link: ${link}`);
  await look("people");
  await page.reload();
  check((await shown()) === "", "shown once");
  const nia = await person(chromium);
  await signIn(nia.page, link);
  await nia.context.close();
  await page.getByText("End somebody’s account").click();
  await page.getByLabel("Whose").selectOption(number);
  await page.getByRole("button", { name: "End this account" }).click();
  await page.waitForURL((url) => url.hash === "#people");
  check((await page.getByRole("row", { name: new RegExp(name) }).innerText()).includes("Ended"), "the account has ended");
  await page.getByRole("link", { name: "Devices" }).click();
  await page.getByRole("button", { name: "Enrol it" }).click();
  await inErrors(page, "a device without a name");
  await look("devices-error");
  await page.getByLabel("Name", { exact: true }).fill(dock);
  await page.getByRole("button", { name: "Enrol it" }).click();
  const token = await shown();
  check(token.length >= 40, "a token is shown");
  await look("devices");
  await page.getByRole("button", { name: "Give it another token" }).click();
  const next = await shown();
  check(next.length >= 40 && next !== token, "another token is shown");
  await page.getByText("Shut a device out").click();
  await page.getByLabel("Which").last().selectOption({ label: dock });
  await page.getByRole("button", { name: "Shut it out" }).click();
  await page.waitForURL((url) => url.hash === "#devices");
  check((await page.getByRole("row", { name: new RegExp(dock) }).innerText()).includes("Shut out"), "it is shut out");
  await look("devices-out");
  wrong.push(...faults);
  await context.close();
}

async function bundles(page, casePath) {
  await page.goto(at(casePath));
  await page.getByRole("button", { name: "Make a bundle" }).click();
  await page.getByRole("button", { name: "Make the bundle" }).click();
  await inErrors(page, "a bundle for nobody");
  await judged(page, "bundle-error");
  await page.getByRole("radio", { name: "the prosecution" }).check();
  await page.getByLabel("Who gets it").fill("CPS East Midlands");
  await judged(page, "bundle");
  await page.getByRole("button", { name: "Make the bundle" }).click();
  await page.waitForURL((url) => url.searchParams.has("made"));
  await judged(page, "case");
  const link = page.getByRole("link", { name: /^Download/ });
  report.bundleHref = await link.getAttribute("href");
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  report.bundle = join(given.folder, download.suggestedFilename());
  await download.saveAs(report.bundle);
}

/** The page that opens from a bundle's folder, without this system. */
async function readMe(chromium) {
  const { context, page, wrong: faults } = await person(chromium);
  await page.goto(`file://${given.folder}/for-the-court/READ-ME-FIRST.html`);
  check((await page.locator("h1").innerText()).startsWith("Video from"), "the bundle's own page");
  await judged(page, "read-me-first");
  wrong.push(...faults);
  await context.close();
}

/** Names that try to be more than names are shown as text, and fit. */
async function hostileNames({ page }) {
  for (const item of given.hostile) {
    await page.goto(at(`/items/${item.item}`));
    const shown = await page.locator("h1 .x-name").evaluate((name) => name.textContent);
    check(shown === item.name, `shown as ${JSON.stringify(shown).slice(0, 200)}`);
    await judged(page, item.label);
  }
  await page.goto(at("/"));
  check((await page.locator(".x-item b, .x-item script").count()) === 0, "a name became markup");
  await judged(page, "items-hostile");
}

async function operator(chromium, itemPath, casePath) {
  const { context, page, wrong: faults } = await person(chromium);
  await signIn(page, given.links.operator);
  const start = await page.locator("main").innerText();
  check(start.includes("items held") && !start.includes("movie"), `the operator's page: ${start}`);
  await judged(page, "operator");
  const item = itemPath.split("/").pop();
  const closed = [itemPath, `${itemPath}/receipt`, `/media/${item}/proxy`, `/media/${item}/poster`, `/media/${item}/thumbnails`, `/media/${item}/thumbnails.vtt`, `/media/${item}/original`, "/cases", casePath, `${casePath}/bundles`, report.bundleHref];
  for (const path of closed) {
    const { status, kind, text } = await ask(page, path);
    const silent = !text.includes("movie") && !text.includes("bus station");
    check([403, 404].includes(status) && kind.startsWith("text/html") && silent, `${path}, as an operator: ${status} ${kind}`);
  }
  await judged(page, "closed");
  await page.getByRole("button", { name: "Sign out" }).click();
  check((await page.locator("h1").innerText()) === "You are signed out", "signing out");
  await judged(page, "signed-out");
  check((await ask(page, "/")).status === 401, "after signing out");
  await judged(page, "not-signed-in");
  wrong.push(...faults);
  await context.close();
}

/** From the link to the moving picture with keys alone and scripts off, as somebody who works on no case. */
async function keyboard(chromium, itemPath) {
  const { context, page, wrong: faults } = await person(chromium, { javaScriptEnabled: false });
  const focused = (of) => page.evaluate(of);
  const tabTo = async (what, found) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      if (await focused(found)) return;
    }
    wrong.push(`no key leads to ${what}`);
  };
  await page.goto(given.links.keyboard);
  await tabTo("the sign-in button", () => document.activeElement.matches("main button"));
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/");
  await page.keyboard.press("Tab");
  check(await focused(() => document.activeElement.matches(".govuk-skip-link")), "the skip link comes first");
  await page.keyboard.press("Enter");
  // What is in quarantine has nothing to play, nor has a photograph.
  await tabTo("an item", () => document.activeElement.matches(".x-item a") && !/unsigned|IMG_/.test(document.activeElement.textContent));
  const name = await focused(() => document.activeElement.textContent);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname.startsWith("/items/"));
  check((await page.locator("h1").innerText()).includes(name.trim()), "the item that was chosen");
  await tabTo("the player", () => document.activeElement.matches("video"));
  await page.keyboard.press("Space");
  let played = 0;
  for (let i = 0; i < 100 && played < 0.2; i++) {
    await page.waitForTimeout(50);
    played = await focused(() => document.querySelector("video").currentTime);
  }
  check(played >= 0.2, `by keyboard it played ${played} s`);
  await tabTo("restricting it", () => document.activeElement.matches("summary") && document.activeElement.textContent.includes("Restrict"));
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("shows a witness");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.hash === "#access");
  check((await page.locator("main").innerText()).includes("shows a witness"), "restricted by keyboard");
  // In a case of others by now: not there, as far as anybody else can tell.
  const theirs = await ask(page, itemPath);
  const nothing = await ask(page, `/items/${given.nothing}`);
  check(theirs.status === 404 && theirs.text === nothing.text, `another's item: ${theirs.status}`);
  wrong.push(...faults);
  await context.close();
}

const chromium = await browser();
try {
  const mine = await investigator(chromium);
  await restricts(chromium, mine);
  await operator(chromium, mine.itemPath, mine.casePath);
  const [link, linkWithoutScripts] = given.links.operators;
  await operates(chromium, { link, name: "Nia Newcomer", number: "4321", dock: "Dock by the stairs", scripts: true });
  await operates(chromium, { link: linkWithoutScripts, name: "Noah Next", number: "4322", dock: "Dock upstairs", scripts: false });
  await keyboard(chromium, mine.itemPath);
  await readMe(chromium);
  await hostileNames(mine);
} finally {
  await chromium.close();
}
console.log(JSON.stringify(report));
