// Pictures of other sizes, as Pillow makes them, so that the page and `fst stylize` agree; and
// strokes of another size, as fst/inference/strokes.py has them.

const LANCZOS = { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) };
const BICUBIC = {
  support: 2,
  weight: (x) => {
    const a = -0.5;
    const t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
  },
};
const BITS = 22; // of Pillow's whole-number weights for bytes

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

// for each place of the result: where its pixels begin, how many there are, and their weights
function weightsOf(filter, from, to, whole) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float64Array(to * most);
  for (let at = 0; at < to; at++) {
    const center = (at + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let i = begin; i < end; i++) {
      const weight = filter.weight((i - center + 0.5) / stretch);
      weights[at * most + i - begin] = weight;
      sum += weight;
    }
    for (let i = 0; i < end - begin; i++) {
      const share = weights[at * most + i] / sum;
      weights[at * most + i] = whole ? Math.trunc(share * 2 ** BITS + (share < 0 ? -0.5 : 0.5)) : share;
    }
    first[at] = begin;
    count[at] = end - begin;
  }
  return { most, first, count, weights };
}

// one direction: `lines` lines of `from` pixels, which lie `step` apart
function pass(source, result, filter, from, to, lines, along, whole) {
  const { most, first, count, weights } = weightsOf(filter, from, to, whole);
  const half = whole ? 2 ** (BITS - 1) : 0;
  const down = 2 ** -BITS;
  if (along) {
    for (let line = 0; line < lines; line++) {
      for (let at = 0; at < to; at++) {
        let sum = half;
        const start = line * from + first[at];
        for (let i = 0; i < count[at]; i++) sum += source[start + i] * weights[at * most + i];
        result[line * to + at] = whole ? Math.floor(sum * down) : sum;
      }
    }
    return;
  }
  const sums = new Float64Array(lines);
  for (let at = 0; at < to; at++) {
    sums.fill(half);
    for (let i = 0; i < count[at]; i++) {
      const weight = weights[at * most + i];
      const start = (first[at] + i) * lines;
      for (let line = 0; line < lines; line++) sums[line] += source[start + line] * weight;
    }
    for (let line = 0; line < lines; line++) {
      result[at * lines + line] = whole ? Math.floor(sums[line] * down) : sums[line];
    }
  }
}

function plane(source, [width, height], [newWidth, newHeight], filter, Kind) {
  const whole = Kind === Uint8ClampedArray;
  let made = source;
  if (newWidth !== width) {
    made = new Kind(newWidth * height);
    pass(source, made, filter, width, newWidth, height, true, whole);
  }
  if (newHeight !== height) {
    const upright = new Kind(newWidth * newHeight);
    pass(made, upright, filter, height, newHeight, newWidth, false, whole);
    made = upright;
  }
  return made;
}

// planes of bytes one after the other -> the same of another size, by Lanczos
export function smaller(planes, size, newSize, many = 3) {
  const [area, newArea] = [size[0] * size[1], newSize[0] * newSize[1]];
  const result = new Uint8ClampedArray(many * newArea);
  for (let i = 0; i < many; i++) {
    const one = planes.subarray(i * area, (i + 1) * area);
    result.set(plane(one, size, newSize, LANCZOS, Uint8ClampedArray), i * newArea);
  }
  return result;
}

function floats(source, size, newSize) {
  return plane(Float32Array.from(source), size, newSize, BICUBIC, Float32Array);
}

// the size with the shorter side at `side` pixels; Python rounds halves to even
export function scaledSize([width, height], side) {
  const scale = side / Math.min(width, height);
  return [even(width * scale), even(height * scale)].map((length) => Math.max(1, length));
}

function even(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

// the largest shorter side at which a picture of this shape has at most so many pixels
export function sideWithin([width, height], most) {
  let side = Math.min(width, height);
  if (width * height <= most) return side;
  side = Math.floor(Math.sqrt(most * (side / Math.max(width, height))));
  while (side > 1 && scaledSize([width, height], side).reduce((a, b) => a * b) > most) side--;
  return side;
}

// `run` makes planes of planes; strokes as of a photo with this shorter side
export async function withStrokes(run, planes, size, side) {
  if (side === null || side === Math.min(...size)) return run(planes, size);
  const small = scaledSize(size, side);
  const target = await run(smaller(planes, size, small), small);
  const [area, smallArea] = [size[0] * size[1], small[0] * small[1]];
  const finer = side > Math.min(...size);
  const result = finer ? new Uint8ClampedArray(3 * area) : Uint8ClampedArray.from(await run(planes, size));
  for (let i = 0; i < 3; i++) {
    const wanted = target.subarray(i * smallArea, (i + 1) * smallArea);
    const place = result.subarray(i * area, (i + 1) * area);
    if (finer) {
      place.set(floats(wanted, small, size)); // which is rounded and clipped on its way
      continue;
    }
    const missing = floats(place, size, small);
    for (let k = 0; k < smallArea; k++) missing[k] = wanted[k] - missing[k];
    const added = floats(missing, small, size);
    for (let k = 0; k < area; k++) place[k] += added[k];
  }
  return result;
}
