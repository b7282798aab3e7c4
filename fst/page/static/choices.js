// The styles as tiles, the sliders, and what they say together.

const $ = (id) => document.getElementById(id);

const LONGEST = 24; // characters of a title that fits under its picture

// a style's own short title, or its name in words
export function titled({ name, title }) {
  if (title && title.length <= LONGEST && !title.includes("(")) return title;
  const capitals = /(^| )([ivx]{2,}\b|\S)/g; // VII is a number
  return name.replaceAll("_", " ").replace(capitals, (letters) => letters.toUpperCase());
}

// a path of styles.json as a part of an address
export function address(path) {
  return `./${path.split("/").map(encodeURIComponent).join("/")}`;
}

export class Choices {
  #styles;
  #changed;

  constructor(styles, changed) {
    this.#styles = styles;
    this.#changed = changed;
    $("tiles").append(...styles.map((style) => this.#tile(style)));
    $("several").onchange = () => {
      if (!$("several").checked) this.#only(this.chosen()[0]?.name);
    };
    for (const id of ["strength", "colors", "stroke"]) {
      $(id).oninput = () => this.say();
      $(id).onchange = () => changed();
    }
    this.say();
  }

  chosen() {
    const names = [...document.querySelectorAll("#tiles input:checked")].map((box) => box.value);
    return this.#styles.filter((style) => names.includes(style.name));
  }

  get strength() {
    return Number($("strength").value) / 100;
  }

  get colors() {
    return Number($("colors").value) / 100;
  }

  // the shorter side of the photo on which strokes would be as large, or null for this one
  side([width, height], most = Infinity) {
    const power = Number($("stroke").value) / 2;
    const own = Math.min(width, height);
    if (power === 0) return null;
    const finest = own * Math.sqrt(most / (width * height));
    const side = Math.round(Math.min(own * 2 ** power, Math.max(own, finest)));
    return Math.min(own, 64) > side ? Math.min(own, 64) : side;
  }

  // strokes are of a size only where there is a photo
  say(size = this.size) {
    this.size = size;
    const told = (id, words) => {
      document.querySelector(`output[for=${id}]`).value = words;
      $(id).setAttribute("aria-valuetext", words);
    };
    told("strength", `${$("strength").value} %`);
    told("colors", $("colors").value === "0" ? "the painting’s" : `${$("colors").value} % the photo’s`);
    const power = Number($("stroke").value);
    const words = ["as trained", "finer", "fine"][power] ?? ["coarsest", "coarser", "coarse", "a little coarser"][power + 4];
    const side = size ? this.side(size) : null;
    told("stroke", side === null ? words : `${words}: as at ${side} px`);
  }

  #only(name) {
    for (const box of document.querySelectorAll("#tiles input")) box.checked = box.value === name;
    this.#changed();
  }

  #tile(style) {
    const tile = document.createElement("label");
    tile.className = "tile";
    tile.title = [style.title, style.artist, style.year].filter(Boolean).join(", ");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = style.name;
    box.setAttribute("aria-label", [titled(style), style.artist].filter(Boolean).join(", "));
    let more = false;
    tile.onclick = (event) => {
      more = event.ctrlKey || event.metaKey || event.shiftKey;
    };
    box.onchange = () => {
      if ($("several").checked || more) {
        if (more) $("several").checked = true;
        this.#changed();
      } else {
        this.#only(style.name); // a second click on the only one keeps it
      }
      more = false;
    };
    const picture = style.picture ? document.createElement("img") : document.createElement("span");
    picture.className = "picture";
    if (style.picture) {
      Object.assign(picture, { src: address(style.picture), alt: "", width: 96, height: 96, loading: "lazy" });
    } else {
      picture.textContent = titled(style)[0];
    }
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = titled(style);
    tile.append(box, picture, name);
    return tile;
  }
}
