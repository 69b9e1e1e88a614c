// How long until the first picture, how long a seek takes, and how large pages are before any footage. Prints lines for people.

import { browser, person, signIn } from "./chromium.mjs";

const [url, link, item] = process.argv.slice(2);
const SEEKS = 20;
const FIRSTS = 5;

const chromium = await browser();
const { page } = await person(chromium);
await signIn(page, link);

const times = (all) => {
  const sorted = [...all].sort((a, b) => a - b).map(Math.round);
  return `median ${sorted[sorted.length >> 1]} ms, slowest ${sorted[sorted.length - 1]} ms of ${sorted.length}`;
};

async function bytes(path) {
  await page.goto(url + path);
  return page.evaluate(() => {
    const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const before = all.filter((entry) => !entry.name.includes("/media/"));
    return before.reduce((sum, entry) => sum + (entry.transferSize || entry.encodedBodySize), 0);
  });
}

console.log(`items page before media      ${(await bytes("/") / 1000).toFixed(1)} kB`);
console.log(`item page before media       ${(await bytes(`/items/${item}`) / 1000).toFixed(1)} kB`);

const firsts = [];
for (let i = 0; i < FIRSTS; i++) {
  await page.goto(`${url}/items/${item}`, { waitUntil: "commit" });
  firsts.push(await page.evaluate(async () => {
    while (!document.querySelector("video")) await new Promise((done) => setTimeout(done, 5));
    const video = document.querySelector("video");
    video.muted = true;
    const shown = new Promise((done) => video.requestVideoFrameCallback(() => done(performance.now())));
    await video.play();
    return shown;
  }));
}
console.log(`page asked for to first frame ${times(firsts)}`);

const { duration, seeks } = await page.evaluate(async (count) => {
  const video = document.querySelector("video");
  video.pause();
  const seeks = [];
  // A walk over the whole clip that repeats: steps of the golden section reach everywhere and land next to no earlier place.
  for (let i = 1; i <= count; i++) {
    const began = performance.now();
    const seeked = new Promise((done) => video.addEventListener("seeked", done, { once: true }));
    video.currentTime = ((i * 0.618034) % 1) * (video.duration - 1);
    await seeked;
    seeks.push(performance.now() - began);
  }
  return { duration: video.duration, seeks };
}, SEEKS);
console.log(`seek in a clip of ${Math.round(duration)} s     ${times(seeks)}`);
await chromium.close();
