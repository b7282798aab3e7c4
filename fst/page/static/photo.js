// A file, a pasted picture or a frame of the camera -> pixels, upright, in sRGB, not too many.

import { sideWithin } from "./resize.js";

export const MOST_PIXELS = 4e6; // whose pass fits into a browser's memory
const MOST_OF_CANVAS = 16.7e6; // of Safari's canvas

export class Photo {
  constructor(name, file, rgba, size, fullSize) {
    Object.assign(this, { name, file, rgba, size, fullSize });
  }

  get reduced() {
    return this.size[0] !== this.fullSize[0];
  }

  // a canvas to look at
  canvas() {
    return drawn(this.rgba, this.size);
  }
}

export function drawn(rgba, [width, height]) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

export async function readPhoto(file, name, painter, least) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`“${name}” is not a picture that this browser can read; give a JPEG, PNG or WebP`);
  }
  const fullSize = [bitmap.width, bitmap.height];
  if (Math.min(...fullSize) < least) {
    bitmap.close();
    throw new Error(`“${name}” has ${fullSize.join("×")} pixels; at least ${least} a side are needed`);
  }
  const { rgba, size } = pixelsOf(bitmap);
  bitmap.close();
  return reduced(new Photo(name, file, rgba, size, fullSize), painter, MOST_PIXELS, least);
}

export async function reduced(photo, painter, most, least) {
  const side = sideWithin(photo.size, most);
  if (side === Math.min(...photo.size)) return photo;
  if (side < least) throw new Error(`“${photo.name}” is too long and narrow to be made smaller`);
  const made = await painter.reduce({ rgba: photo.rgba, size: photo.size, side });
  return new Photo(photo.name, photo.file, made.rgba, made.size, photo.fullSize);
}

// of a bitmap or a video's frame; `side` asks for another shorter side
export function pixelsOf(source, side = null) {
  const full = [source.videoWidth || source.width, source.videoHeight || source.height];
  const fitting = sideWithin(full, MOST_OF_CANVAS);
  const scale = Math.min(side ?? fitting, fitting) / Math.min(...full);
  const size = full.map((length) => Math.round(length * scale));
  const canvas = new OffscreenCanvas(...size);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, ...size);
  return { rgba: context.getImageData(0, 0, ...size).data, size };
}
