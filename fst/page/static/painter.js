// The page's side of the worker: one job at a time, and an end to it when nobody waits any more.

export class Cancelled extends Error {}

export class TooLarge extends Error {}

export class Painter {
  #worker = null;
  #waiting = null;
  #last = Promise.resolve();
  #stops = 0;
  threads = null;
  secondsAPixel = null;

  constructor(engine) {
    this.engine = engine;
  }

  // style, rgba, size, strength, colors, side -> rgba, size, seconds
  paint(job, told = () => {}) {
    return this.#ask({ kind: "paint", ...job, style: { ...job.style, engine: this.engine } }, told);
  }

  reduce(job) {
    return this.#ask({ kind: "reduce", ...job }, () => {});
  }

  // WebAssembly hears nobody while it works: its worker ends, and the next job has another one
  cancel() {
    this.#stops += 1;
    this.#end(new Cancelled("cancelled"));
  }

  #end(error) {
    this.#worker?.terminate();
    this.#worker = null;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.reject(error);
  }

  #ask(message, told) {
    const stops = this.#stops;
    const answer = this.#last.then(() => {
      if (stops !== this.#stops) throw new Cancelled("cancelled");
      return this.#send(message, told);
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  #send(message, told) {
    if (this.#worker === null) {
      this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      this.#worker.onmessage = ({ data }) => this.#hear(data);
      this.#worker.onerror = (event) => {
        event.preventDefault();
        this.#end(new Error(event.message || "the painter could not be loaded; the server of this page may be gone"));
      };
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject, told };
      this.#worker.postMessage(message);
    });
  }

  #hear(data) {
    const waiting = this.#waiting;
    if (waiting === null) return;
    if (data.kind === "progress") {
      waiting.told(data.words, data.share);
    } else if (data.kind === "failed") {
      // what has run out of memory is of no more use
      this.#end(new (data.memory ? TooLarge : Error)(data.sentence));
    } else {
      this.#waiting = null;
      this.threads = data.threads;
      if (data.seconds) this.secondsAPixel = data.seconds / (data.size[0] * data.size[1]);
      waiting.resolve(data);
    }
  }
}

// "webgpu" where the browser has a real one, else "wasm"; the address may ask: ?engine=wasm
export async function chooseEngine(engines) {
  const asked = new URLSearchParams(location.search).get("engine");
  if (engines.includes(asked)) return asked;
  if (engines.includes("webgpu") && navigator.gpu) {
    try {
      const adapter = await navigator.gpu.requestAdapter();
      // one that a processor plays is slower than WebAssembly
      if (adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) return "webgpu";
    } catch {
      // as if there were none
    }
  }
  return "wasm";
}
