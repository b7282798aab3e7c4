// The page as a whole: a photo comes in, styles are chosen, pictures come out.

import { Camera } from "./camera.js";
import { Choices, titled } from "./choices.js";
import { Cancelled, Painter, TooLarge, chooseEngine } from "./painter.js";
import { MOST_PIXELS, readPhoto, reduced } from "./photo.js";
import { Results } from "./results.js";

const $ = (id) => document.getElementById(id);
const SMALLER = 0.6; // of the pixels, where the memory was not enough
const LOST = /failed to fetch|networkerror|load failed|dynamically imported/i; // as browsers say it
// a file that is dropped before the page is ready must not take its place
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
const about = await listed();
const painter = new Painter(about.engines.length ? await chooseEngine(about.engines) : "wasm");
const results = new Results();
const camera = new Camera();
const choices = new Choices(about.styles, () => work());
const ready = new Map(); // pictures of this photo that are shown, by all that was asked for
let photo = null;
let turn = 0; // of the work under way; an older one has nothing more to say
let abort = null; // of a request to the server

function onServer() {
  return document.querySelector("[name=where]:checked").value === "server";
}

async function listed() {
  try {
    return await (await fetch("./styles.json")).json();
  } catch (error) {
    say("");
    const lost = LOST.test(error.message);
    complain(lost ? error : new Error("the page's list of styles, styles.json, is missing or damaged"));
    throw error;
  }
}

function say(words) {
  if ($("status").textContent !== words) $("status").textContent = words; // else it is read out again
}

function complain(error) {
  const lost = "the server of this page does not answer; try again once it runs";
  const sentence = LOST.test(error.message) ? lost : error.message;
  $("trouble").textContent = sentence ? `${sentence[0].toUpperCase()}${sentence.slice(1)}.` : "";
}

function busy(words, share = null) {
  $("work").hidden = false;
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
  say(words);
}

function idle(words = "") {
  $("work").hidden = true;
  say(words);
}

async function take(file, name) {
  complain({ message: "" });
  stopCamera();
  cancel();
  const mine = ++turn;
  busy(`Reading ${name} …`);
  try {
    const read = await readPhoto(file, name, painter, about.least_side);
    if (mine !== turn) return;
    photo = read;
    ready.clear();
    choices.say(onServer() ? photo.fullSize : photo.size);
    $("empty").hidden = true;
    document.body.dataset.photo = "true";
    results.photo(photo);
    idle("Choose a style.");
    if (choices.chosen().length) await work();
  } catch (error) {
    if (mine !== turn || error instanceof Cancelled) return;
    idle();
    complain(error);
  }
}

async function work() {
  if (camera.running || photo === null) return;
  const styles = choices.chosen();
  cancel();
  const mine = ++turn;
  complain({ message: "" });
  if (!styles.length) {
    results.photo(photo);
    idle("Choose a style.");
    return;
  }
  const made = [];
  try {
    for (const style of styles) {
      const count = styles.length > 1 ? ` (${made.length + 1} of ${styles.length})` : "";
      const key = asked(style);
      if (!ready.has(key)) {
        const one = await (onServer() ? byServer : inBrowser)(style, count);
        if (mine !== turn) return;
        ready.set(key, one);
      }
      made.push(ready.get(key));
      results.show(photo, made, styles.length, () => $("format").value);
    }
    for (const key of ready.keys()) if (!styles.some((style) => asked(style) === key)) ready.delete(key);
    idle(finished(made));
  } catch (error) {
    if (mine !== turn || error instanceof Cancelled || error.name === "AbortError") return;
    if (error instanceof TooLarge && !onServer() && photo.size[0] * photo.size[1] > 1e5) {
      const most = photo.size[0] * photo.size[1] * SMALLER;
      photo = await reduced(photo, painter, most, about.least_side);
      ready.clear();
      choices.say(photo.size);
      return work();
    }
    if (painter.engine === "webgpu" && !onServer() && !LOST.test(error.message)) {
      painter.cancel();
      painter.engine = "wasm";
      engine();
      return work();
    }
    idle();
    complain(error);
  }
}

function asked(style) {
  const where = onServer() ? $("format").value : "here";
  const { strength, colors } = choices;
  return JSON.stringify([style.name, strength, colors, choices.side(photo.fullSize), where]);
}

async function inBrowser(style, count) {
  const expected = painter.secondsAPixel && painter.secondsAPixel * photo.size[0] * photo.size[1];
  let ticking = null;
  busy(`Preparing ${titled(style)}${count} …`);
  const told = (words, share) => {
    clearInterval(ticking);
    busy(`${words}${words === "Painting" ? ` ${titled(style)}` : ""}${count} …`, share);
    if (words !== "Painting" || !expected) return;
    const begun = performance.now();
    ticking = setInterval(() => {
      const share = Math.min(0.97, (performance.now() - begun) / 1000 / expected);
      const left = Math.ceil(expected * (1 - share));
      $("progress").value = share;
      $("progress").title = left > 1 ? `about ${left} s` : "nearly there";
    }, 200);
  };
  try {
    const job = {
      style,
      rgba: photo.rgba,
      size: photo.size,
      strength: choices.strength,
      colors: choices.colors,
      side: choices.side(photo.size, MOST_PIXELS),
    };
    return { style, ...(await painter.paint(job, told)) };
  } finally {
    clearInterval(ticking);
  }
}

async function byServer(style, count) {
  if (photo.file.size > about.most_bytes) {
    throw new Error(`“${photo.name}” has more than ${about.most_bytes / 1e6} MB; make it smaller first`);
  }
  busy(`Painting ${titled(style)}${count} at full size …`);
  const begun = performance.now();
  abort = new AbortController();
  const query = new URLSearchParams({
    style: style.name,
    strength: choices.strength,
    colors: choices.colors,
    format: $("format").value,
  });
  const side = choices.side(photo.fullSize);
  if (side !== null) query.set("stroke", side);
  const answer = await fetch(`./stylize?${query}`, { method: "POST", body: photo.file, signal: abort.signal });
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 400));
  const blob = await answer.blob();
  return { style, blob, seconds: (performance.now() - begun) / 1000 };
}

function finished(made) {
  const seconds = made.reduce((sum, one) => sum + one.seconds, 0);
  const full = `${photo.fullSize[0]}×${photo.fullSize[1]}`;
  let size = `${photo.size[0]}×${photo.size[1]} pixels`;
  if (onServer()) size = `${full} pixels`;
  else if (photo.reduced) size += `, reduced from ${full}: more does not fit into the browser`;
  return `${seconds.toFixed(1)} s, ${size}.`;
}

function cancel() {
  turn += 1;
  abort?.abort();
  abort = null;
  if (!$("work").hidden) painter.cancel();
  $("work").hidden = true;
}

async function startCamera() {
  if (camera.running) return;
  complain({ message: "" });
  cancel();
  const first = () => choices.chosen()[0] ?? about.styles[0];
  const job = () => ({ style: first(), strength: choices.strength, colors: choices.colors });
  try {
    const started = await camera.start(painter, job, (made, rate, error) => {
      if (error) {
        stopCamera();
        complain(error);
        return;
      }
      const canvas = $("live-picture");
      [canvas.width, canvas.height] = made.size;
      canvas.getContext("2d").putImageData(new ImageData(made.rgba, ...made.size), 0, 0);
      const speed = rate === null ? "" : `, ${rate.toFixed(rate < 10 ? 1 : 0)} frames a second`;
      $("rate").textContent = titled(first()) + speed;
    });
    if (!started) return;
    for (const id of ["empty", "results"]) $(id).hidden = true;
    $("live").hidden = false;
    document.body.dataset.photo = "true";
    say("The camera is on.");
  } catch (error) {
    if (error.name !== "AbortError") complain(error); // a stream that is stopped before it plays
  }
}

function stopCamera() {
  const shown = !$("live").hidden;
  camera.stop(); // also one that is being asked for
  if (!shown) return;
  painter.cancel();
  $("live").hidden = true;
  $("rate").textContent = "Starting the camera …";
  $("empty").hidden = photo !== null;
  $("results").hidden = photo === null;
  if (photo === null) delete document.body.dataset.photo;
  say("");
}

function engine() {
  const threads = self.crossOriginIsolated ? "with threads" : "in one thread";
  const words = painter.engine === "webgpu" ? "on this machine’s GPU (WebGPU)" : `by WebAssembly ${threads}`;
  const place = onServer() ? "by fst on this machine" : `in this browser, ${words}`;
  $("engine").textContent = `Painted ${place}. fst ${about.fst}. Nothing is sent anywhere, and nothing is counted.`;
}

for (const button of document.querySelectorAll(".choose")) button.onclick = () => $("file").click();
$("file").onchange = () => {
  const [file] = $("file").files;
  if (file) take(file, file.name);
  $("file").value = "";
};
$("cancel").onclick = () => {
  cancel();
  say("Cancelled.");
};
for (const button of document.querySelectorAll(".start-camera")) button.onclick = startCamera;
$("stop-camera").onclick = stopCamera;
$("shoot").onclick = async () => take(await camera.shoot(), "camera.png");
$("format").onchange = () => onServer() && work(); // the browser's own are encoded when they are saved
$("choices").onsubmit = (event) => event.preventDefault();
for (const radio of document.querySelectorAll("[name=where]")) {
  radio.onchange = () => {
    engine();
    if (photo) choices.say(onServer() ? photo.fullSize : photo.size);
    work();
  };
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("work").hidden) $("cancel").click();
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) take(file, file.name || "pasted.png");
});
let over = 0; // how many elements a dragged file is over
const dragged = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (dragged(event)) $("drop").hidden = ++over === 0;
});
document.addEventListener("dragleave", (event) => {
  if (dragged(event)) $("drop").hidden = --over <= 0;
});
document.addEventListener("drop", (event) => {
  over = 0;
  $("drop").hidden = true;
  const [file] = event.dataTransfer.files;
  if (file) take(file, file.name);
});

if (about.server) {
  $("where").hidden = false;
  if (!about.engines.length) {
    document.querySelector("[value=server]").checked = true;
    document.querySelector("[value=browser]").disabled = true;
    for (const button of document.querySelectorAll(".start-camera")) button.hidden = true;
  }
}
engine();
for (const button of document.querySelectorAll("#empty button")) button.disabled = false;
say("");
document.body.dataset.ready = painter.engine;
