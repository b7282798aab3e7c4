// What takes long, beside the page: the runtime, the nets, and pictures made smaller.

import { scaledSize, smaller, withStrokes } from "./resize.js";

const MOST_THREADS = 8;
const MOST_SESSIONS = 3; // nets that are kept ready

let ort = null;
let engine = null;
const sessions = new Map();

function tell(words, share = null) {
  self.postMessage({ kind: "progress", words, share });
}

async function fetched(path, words) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} is missing on the server (${answer.status})`);
  const total = Number(answer.headers.get("Content-Length")) || 0;
  const parts = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    tell(words, total ? Math.min(1, length / total) : null);
  }
  return new Blob(parts);
}

async function unpacked(blob) {
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (start[0] !== 0x1f || start[1] !== 0x8b) return blob.arrayBuffer(); // a server has unpacked it
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function load(asked) {
  if (ort !== null) return;
  engine = asked;
  const [binary, module] = await Promise.all([
    fetched(`./runtime/${engine}.wasm.gz`, "Loading the painter").then(unpacked),
    import(`./runtime/ort.${engine}.js`),
  ]);
  ort = module;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = { mjs: new URL(`./runtime/${engine}.js`, import.meta.url).href };
  const threads = Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
  ort.env.wasm.numThreads = self.crossOriginIsolated ? threads : 1;
}

async function session(graph) {
  if (sessions.has(graph)) {
    const found = sessions.get(graph);
    sessions.delete(graph);
    sessions.set(graph, found); // the last one used
    return found;
  }
  const address = `./${graph.split("/").map(encodeURIComponent).join("/")}`;
  const bytes = await (await fetched(address, "Loading the style")).arrayBuffer();
  tell("Preparing the style");
  const made = await ort.InferenceSession.create(new Uint8Array(bytes), {
    executionProviders: engine === "webgpu" ? ["webgpu", "wasm"] : ["wasm"],
    enableCpuMemArena: false, // it would keep several times what a pass takes
    enableMemPattern: false,
    logSeverityLevel: 3, // that shapes are computed on the processor is no news
  });
  for (const [name, old] of sessions) {
    if (sessions.size < MOST_SESSIONS) break;
    sessions.delete(name);
    await old.release();
  }
  sessions.set(graph, made);
  return made;
}

function toPlanes(rgba, area) {
  const planes = new Uint8ClampedArray(3 * area);
  for (let i = 0, k = 0; i < area; i++, k += 4) {
    planes[i] = rgba[k];
    planes[area + i] = rgba[k + 1];
    planes[2 * area + i] = rgba[k + 2];
  }
  return planes;
}

function toRgba(planes, area, alpha) {
  const rgba = new Uint8ClampedArray(4 * area);
  for (let i = 0, k = 0; i < area; i++, k += 4) {
    rgba[k] = planes[i];
    rgba[k + 1] = planes[area + i];
    rgba[k + 2] = planes[2 * area + i];
    rgba[k + 3] = alpha[k + 3];
  }
  return rgba;
}

async function paint({ style, rgba, size, strength, colors, side, quiet }) {
  await load(style.engine);
  const net = await session(style.graph);
  const begun = performance.now();
  if (!quiet) tell("Painting");
  const scalar = (value) => new ort.Tensor("float32", [value], [1]);
  const run = async (planes, [width, height]) => {
    const bytes = new Uint8Array(planes.buffer, planes.byteOffset, planes.length);
    const feeds = {
      pixels: new ort.Tensor("uint8", bytes, [1, 3, height, width]),
      strength: scalar(strength),
      colors: scalar(colors),
    };
    if (style.rows) {
      const shares = new Float32Array(style.rows);
      shares[style.row] = 1;
      feeds.styles = new ort.Tensor("float32", shares, [style.rows]);
    }
    const { stylized } = await net.run(feeds);
    const made = Uint8ClampedArray.from(await stylized.getData());
    stylized.dispose();
    return made;
  };
  const area = size[0] * size[1];
  const made = await withStrokes(run, toPlanes(rgba, area), size, side);
  return { rgba: toRgba(made, area, rgba), size, seconds: (performance.now() - begun) / 1000 };
}

function reduce({ rgba, size, side }) {
  const newSize = scaledSize(size, side);
  const area = size[0] * size[1];
  const planes = new Uint8ClampedArray(4 * area);
  planes.set(toPlanes(rgba, area));
  for (let i = 0; i < area; i++) planes[3 * area + i] = rgba[4 * i + 3];
  const made = smaller(planes, size, newSize, 4);
  const newArea = newSize[0] * newSize[1];
  const result = new Uint8ClampedArray(4 * newArea);
  for (let c = 0; c < 4; c++) {
    for (let i = 0; i < newArea; i++) result[4 * i + c] = made[c * newArea + i];
  }
  return { rgba: result, size: newSize };
}

self.onmessage = async ({ data }) => {
  try {
    const result = await { paint, reduce }[data.kind](data);
    result.threads = ort === null ? null : ort.env.wasm.numThreads;
    self.postMessage({ kind: "done", ...result }, [result.rgba.buffer]);
  } catch (error) {
    const said = String(error?.message ?? error);
    const memory = error instanceof RangeError || /memory|bad_alloc|abort|allocat/i.test(said);
    self.postMessage({ kind: "failed", sentence: said.slice(0, 300), memory });
  }
};
