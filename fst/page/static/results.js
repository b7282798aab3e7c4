// Pictures that were made, each over its photo with a divider to move, and their files.

import { titled } from "./choices.js";
import { drawn } from "./photo.js";

const QUALITY = 0.95;
const LEAVE_MS = 10_000; // that a file may still be read: by an image, or as a download
const box = document.getElementById("results");

export class Results {
  #at = 50; // per cent of the width that shows the photo, the same for all
  #urls = [];

  // photo, [{ style, rgba, size, seconds } or { style, blob, seconds }] -> shown in place of all;
  // `many` are to come
  show(photo, made, many, format) {
    this.clear();
    shaped(many > 1 ? null : photo);
    box.append(...made.map((one) => this.#figure(photo, one, format)));
    box.hidden = false;
  }

  // the photo alone, while there is no picture of it
  photo(photo) {
    this.clear();
    const { figure, frame } = framed(photo);
    frame.append(described(photo.canvas(), "Your photo"));
    shaped(photo);
    box.append(figure);
    box.hidden = false;
  }

  clear() {
    const urls = this.#urls.splice(0);
    setTimeout(() => urls.forEach((url) => URL.revokeObjectURL(url)), LEAVE_MS);
    for (const canvas of box.querySelectorAll("canvas")) canvas.width = canvas.height = 0; // frees it at once
    box.replaceChildren();
  }

  #figure(photo, made, format) {
    const { figure, frame } = framed(photo);
    const title = titled(made.style);
    let after;
    if (made.blob) {
      after = document.createElement("img");
      after.src = this.#url(made.blob);
      after.alt = `Your photo in the manner of ${title}`;
    } else {
      after = described(drawn(made.rgba, made.size), `Your photo in the manner of ${title}`);
    }
    after.classList.add("after");
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = 100;
    slider.value = this.#at;
    slider.setAttribute("aria-label", `${title}: how much of the photo is shown`);
    slider.setAttribute("aria-valuetext", share(this.#at));
    slider.oninput = () => this.#move(slider.value);
    const rule = document.createElement("span");
    rule.className = "rule";
    frame.append(described(photo.canvas(), "Your photo"), after, rule, slider);
    frame.style.setProperty("--at", `${this.#at}%`);
    const caption = document.createElement("figcaption");
    const words = document.createElement("span");
    const name = document.createElement("strong");
    name.textContent = title;
    const artist = document.createElement("small");
    artist.textContent = [made.style.artist, made.style.year].filter(Boolean).join(", ");
    words.append(name, artist);
    const save = document.createElement("button");
    save.type = "button";
    save.className = "save";
    save.textContent = "Download";
    save.setAttribute("aria-label", `Download ${title}`);
    save.onclick = async () => {
      const kind = made.blob ? kindOf(made.blob) : format();
      const blob = made.blob ?? (await encoded(after, made.rgba, kind));
      const link = document.createElement("a");
      link.href = this.#url(blob);
      link.download = `${photo.name.replace(/\.[^.]*$/, "") || "photo"}_${made.style.name}.${kind}`;
      link.click();
    };
    caption.append(words, save);
    figure.append(caption);
    return figure;
  }

  #move(at) {
    this.#at = at;
    for (const frame of box.querySelectorAll(".frame")) {
      frame.style.setProperty("--at", `${at}%`);
      const slider = frame.querySelector("input");
      if (slider) {
        slider.value = at;
        slider.setAttribute("aria-valuetext", share(at));
      }
    }
  }

  #url(blob) {
    this.#urls.push(URL.createObjectURL(blob));
    return this.#urls.at(-1);
  }
}

// what lies below one picture begins at its edge
function shaped(one) {
  box.dataset.many = String(one === null);
  if (one === null) box.parentElement.style.removeProperty("--ratio");
  else box.parentElement.style.setProperty("--ratio", one.size[0] / one.size[1]);
}

function framed(photo) {
  const figure = document.createElement("figure");
  figure.style.setProperty("--ratio", photo.size[0] / photo.size[1]);
  const frame = document.createElement("div");
  frame.className = "frame";
  figure.append(frame);
  return { figure, frame };
}

function described(canvas, words) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  return canvas;
}

function share(at) {
  return `${at} % photo`;
}

function kindOf(blob) {
  return blob.type === "image/png" ? "png" : "jpg";
}

async function encoded(canvas, rgba, kind) {
  let source = canvas;
  if (kind === "jpg" && rgba.some((value, i) => i % 4 === 3 && value < 255)) {
    source = document.createElement("canvas"); // JPEG has no transparency: on white
    source.width = canvas.width;
    source.height = canvas.height;
    const context = source.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(canvas, 0, 0);
  }
  const type = kind === "png" ? "image/png" : "image/jpeg";
  return new Promise((resolve) => source.toBlob(resolve, type, QUALITY));
}
