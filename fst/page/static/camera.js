// The camera, repainted frame by frame as fast as the painter is.

import { Cancelled } from "./painter.js";
import { pixelsOf } from "./photo.js";

const SIDE = 256; // pixels, shorter side of a live frame
const SMOOTH = 0.8; // of the rate that is shown

export class Camera {
  #stream = null;
  #asked = 0; // of streams; only the last one is wanted
  #video = document.createElement("video");

  get running() {
    return this.#stream !== null;
  }

  // `job` says style, strength and colors of the next frame; `shown` is given each and the rate,
  // which is null for the first; false where it was stopped, or asked for again, before there was one
  async start(painter, job, shown) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("this browser gives no camera to this address; 127.0.0.1 and https have one");
    }
    const mine = ++this.#asked;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1920 }, facingMode: "environment" },
      });
    } catch {
      if (mine !== this.#asked) return false;
      throw new Error("the camera was not allowed, or there is none");
    }
    if (mine !== this.#asked) {
      for (const track of stream.getTracks()) track.stop(); // else its light stays on
      return false;
    }
    this.#stream = stream;
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    if (mine !== this.#asked) return false;
    this.#run(painter, job, shown);
    return true;
  }

  async #run(painter, job, shown) {
    let rate = null;
    let first = true; // which waits for the runtime and the style to be loaded
    const stream = this.#stream;
    while (this.#stream === stream && stream !== null) {
      const begun = performance.now();
      const { rgba, size } = pixelsOf(this.#video, SIDE);
      let made;
      try {
        made = await painter.paint({ ...job(), rgba, size, side: null, quiet: true });
      } catch (error) {
        if (error instanceof Cancelled) continue;
        this.stop();
        shown(null, null, error);
        return;
      }
      const now = 1000 / (performance.now() - begun);
      if (!first) rate = rate === null ? now : rate * SMOOTH + now * (1 - SMOOTH);
      first = false;
      if (this.#stream === stream) shown(made, rate, null);
    }
  }

  // the frame as the camera has it, at its full size
  async shoot() {
    const { rgba, size } = pixelsOf(this.#video);
    const canvas = new OffscreenCanvas(...size);
    canvas.getContext("2d").putImageData(new ImageData(rgba, ...size), 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }

  stop() {
    this.#asked += 1;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }
}
