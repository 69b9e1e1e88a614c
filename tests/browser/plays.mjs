// Plays files to their end, some at a time, on one page, and prints what came of each as JSON.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { browser, person } from "./chromium.mjs";

const AT_ONCE = 6;
const PATIENCE_MS = 30_000;

const { folder, files } = JSON.parse(process.argv[2]);
const home = join(folder, "page.html");
writeFileSync(home, "<!doctype html><title>Plays</title>");

const chromium = await browser();
const { page } = await person(chromium);
await page.goto(pathToFileURL(home).href);
const played = [];
for (let at = 0; at < files.length; at += AT_ONCE) {
  const some = files.slice(at, at + AT_ONCE);
  played.push(...await Promise.all(some.map((one) => page.evaluate(play, { ...one, patience: PATIENCE_MS }))));
}
await chromium.close();
console.log(JSON.stringify(played));

/** In the page: nothing of this file is known there. */
async function play({ file, isStill, patience }) {
  if (isStill) {
    const image = new Image();
    image.src = file;
    try {
      await image.decode();
    } catch (error) {
      return { error: String(error) };
    }
    return { width: image.naturalWidth, height: image.naturalHeight, frames: 1, readyState: image.complete ? 4 : 0 };
  }
  const video = document.createElement("video");
  video.muted = true;
  video.width = 160;
  video.src = file;
  document.body.append(video);
  const ended = new Promise((done, failed) => {
    video.addEventListener("ended", done);
    video.addEventListener("error", () => failed(video.error?.message || `code ${video.error?.code}`));
    setTimeout(() => failed(`at ${video.currentTime} s of ${video.duration} after ${patience} ms`), patience);
  });
  let error;
  try {
    await Promise.all([video.play(), ended]);
  } catch (thrown) {
    error = String(thrown);
  }
  const result = {
    width: video.videoWidth,
    height: video.videoHeight,
    seconds: Number.isFinite(video.duration) ? video.duration : 0,
    reached: video.currentTime,
    readyState: video.readyState,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    soundBytes: video.webkitAudioDecodedByteCount,
    error,
  };
  video.remove();
  return result;
}
