/**
 * The explorer of class maps (paper sections 3.2 and 4.7), for the report's page and, by anywidget, for notebooks.
 *
 * `model.get("payload")` holds test images with their raw class maps; every other reading is computed here, as
 * niny.maps.views does. Where `model.get("live")` is true, a running network is asked by messages for the maps of any
 * other image. All text enters the page as text, never as markup.
 *
 * In reading order: numbers, colours, small pieces of a page, maps under a cursor, the explorer itself.
 */

// Numbers. A stack is { shape, values }: an array in row-major order.

/** Packed { shape, scale, data } (base64 of int16) -> stack. */
export function unpack({ shape, scale, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const whole = new Int16Array(bytes.buffer); // little-endian, as every machine with a browser
  return { shape, values: Float64Array.from(whole, (n) => n * scale) };
}

/** Part i of a stack along its first axis. */
function at({ shape, values }, i) {
  const size = values.length / shape[0];
  return { shape: shape.slice(1), values: values.subarray(i * size, (i + 1) * size) };
}

const parts = (stack) => Array.from({ length: stack.shape[0] }, (_, i) => at(stack, i));
const sum = (values) => values.reduce((a, b) => a + b, 0);
const mean = (values) => sum(values) / values.length;
const clamp = (n, low, high) => Math.min(Math.max(n, low), high);

/** Where the largest value is, NaN left out; 0 where all are. */
function largest(values) {
  return Math.max(0, values.indexOf(values.reduce((most, value) => (value > most ? value : most), -Infinity)));
}

/** K x h x w maps -> the same shape, where `read` makes of the K values of one cell K others. */
function byCell({ shape, values }, read) {
  const found = new Float64Array(values.length);
  const cells = values.length / shape[0];
  for (let cell = 0; cell < cells; cell++) {
    const column = Array.from({ length: shape[0] }, (_, k) => values[k * cells + cell]);
    read(column).forEach((value, k) => (found[k * cells + cell] = value));
  }
  return { shape, values: found };
}

function lessMean(column) {
  const shared = mean(column);
  return column.map((value) => value - shared);
}

function lessBestOther(column) {
  const [best, second] = [...column].sort((a, b) => b - a);
  return column.map((value) => value - (value === best ? second : best));
}

function softmax(column) {
  const most = Math.max(...column);
  const odds = column.map((value) => Math.exp(value - most));
  const total = sum(odds);
  return odds.map((value) => value / total);
}

/** The four readings of K x h x w maps, as niny.maps.views defines them. */
export const views = {
  raw: (maps) => maps,
  centred: (maps) => byCell(maps, lessMean),
  margin: (maps) => byCell(maps, lessBestOther),
  softmax: (maps) => byCell(maps, softmax),
};

/** Which of the K x h x w cells are the largest tenth (all that tie at the threshold), as niny.maps.figure4 says. */
export function top10({ values }) {
  const count = Math.max(1, Math.round(values.length / 10));
  const threshold = Float64Array.from(values).sort()[values.length - count];
  return Array.from(values, (value) => value >= threshold);
}

/** Maps in a reading; cells that it does not show are NaN. */
function read(maps, reading) {
  if (reading !== "top10") return views[reading](maps);
  const top = top10(maps);
  return { shape: maps.shape, values: maps.values.map((value, i) => (top[i] ? value : NaN)) };
}

/** What the switch offers, and what it says of it. */
const READINGS = {
  raw: ["Raw", "the maps as they are; the number is the map's mean, its logit"],
  centred: ["Centred", "each cell less its mean over the classes; the number is the map's mean"],
  margin: ["Margin", "each cell less the best other class, above 0 where the class wins; the number is the map's mean"],
  softmax: ["Softmax", "each cell as probabilities of the classes; the number is the map's mean"],
  top10: ["Top 10 %", "the largest tenth of all cells of the image; the number says how many are in the map"],
};

/** The images of a payload, each with its maps, its attributions and its maps at the epochs that were kept. */
function entriesOf({ images, maps, attributions, epochs }) {
  const [all, kept] = [unpack(maps), epochs && unpack(epochs.maps)];
  const methods = attributions.map((method) => ({ ...method, all: unpack(method.maps) }));
  return images.map((image, i) => ({
    image,
    maps: at(all, i),
    attributions: methods.map(({ name, all, agreement, other, centre }) => (
      { name, map: at(all, i), scores: [agreement[i], other[i], centre[i]] })),
    epochs: kept ? epochsOf(epochs, kept, epochs.image.indexOf(i)) : [],
  }));
}

function epochsOf({ epoch, test_error }, kept, place) {
  return place < 0 ? [] : epoch.map((number, i) => ({ number, error: test_error[i], maps: at(at(kept, i), place) }));
}

// Colours: one scale for all maps that may be compared.

const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"].map(bytesOf);
const PURPLE_ORANGE = ["#542788", "#998ec3", "#d8daeb", "#f7f7f7", "#fee0b6", "#f1a340", "#b35806"].map(bytesOf);

function bytesOf(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

/** From 0 to the largest value; where values are negative, as far below 0 as above it. NaN does not count. */
function scaleOf(stacks) {
  let [low, high] = [0, 0];
  for (const { values } of stacks) {
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const most = Math.max(-low, high);
  return low < 0 ? { low: -most, high: most, colours: PURPLE_ORANGE } : { low, high, colours: VIRIDIS };
}

/** A value's colour as four bytes; NaN is clear. */
function colourOf(value, { low, high, colours }) {
  if (Number.isNaN(value)) return [0, 0, 0, 0];
  const place = high > low ? ((value - low) / (high - low)) * (colours.length - 1) : 0;
  const from = clamp(Math.floor(place), 0, colours.length - 2);
  return [...colours[from].map((byte, i) => byte + (colours[from + 1][i] - byte) * (place - from)), 255];
}

/** A canvas with one pixel a cell, which the style enlarges. */
function paint({ shape: [height, width], values }, scale) {
  const canvas = h("canvas", { height, width, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  values.forEach((value, i) => pixels.data.set(colourOf(value, scale), 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function legend(scale, about) {
  const { low, high } = scale;
  const ramp = Float64Array.from({ length: 128 }, (_, i) => low + ((high - low) * i) / 127);
  const ends = [low, ...(low < 0 ? [0] : []), high].map((value) => h("span", {}, shorten(value)));
  const bar = h("div", { class: "bar" }, paint({ shape: [1, 128], values: ramp }, scale), h("div", {}, ends));
  return h("div", { class: "legend" }, bar, h("p", {}, about));
}

// Small pieces of a page.

/** An element with attributes ("onclick" and its like are listeners) and children; strings become text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat());
  return element;
}

const picture = (png, alt) => h("img", { src: `data:image/png;base64,${png}`, alt });
const labelled = (text, control) => h("label", {}, h("span", {}, text), control);
const button = (text, onclick) => h("button", { type: "button", onclick }, text);
const folded = (title, ...inside) => h("details", {}, h("summary", {}, title), inside);
const pairs = (of) => h("dl", {}, of.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))));

/** Two decimals, or the first digit of what is smaller; – for what is no number. */
function shorten(number) {
  if (!Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  return (size < 1e-9 ? "0.00" : size < 0.01 ? number.toPrecision(1) : number.toFixed(2)).replaceAll("-", "−");
}

/** A key or drop that is dealt with: the page shall not scroll, nor the notebook around go to another cell. */
function take(event) {
  event.preventDefault();
  event.stopPropagation();
}

const ALONG = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };

/** The children as one stop of the tab key: arrows, Home and End go along them and choose. */
function roving(container) {
  container.addEventListener("keydown", (event) => {
    if (!(event.key in ALONG)) return;
    take(event);
    const items = [...container.children];
    const next = items[clamp(items.indexOf(event.target) + ALONG[event.key], 0, items.length - 1)];
    next.focus();
    next.click();
  });
  return container;
}

function select(container, chosen) {
  [...container.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === chosen));
    item.tabIndex = i === Math.max(0, chosen) ? 0 : -1;
  });
}

// Maps under a cursor.

const BESIDE = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
  PageUp: [-1, 0, 0], PageDown: [1, 0, 0], Home: [-Infinity, 0, 0], End: [Infinity, 0, 0] };

/** Figures of `items`; `here()` is the cursor [map, row, column], `point(cursor, aloud)` moves it. */
function mapGroup(items, label, here, point) {
  const [height, width] = items[0].map.shape;
  const figures = items.map(mapFigure);
  const last = [items.length - 1, height - 1, width - 1];
  figures.forEach(({ firstChild: cells }, k) => {
    const follow = (event) => point([k, ...cellUnder(event, height, width)]);
    cells.addEventListener("pointermove", follow);
    cells.addEventListener("pointerdown", follow);
    cells.addEventListener("keydown", (event) => {
      if (!(event.key in BESIDE)) return;
      take(event);
      const next = here().map((n, i) => clamp(n + BESIDE[event.key][i], 0, last[i]));
      point(next, true);
      figures[next[0]].firstChild.focus();
    });
  });
  const help = "Arrow keys go over the cells, Page Up and Page Down from map to map.";
  return h("div", { class: "maps", role: "group", "aria-label": `${label}. ${help}`,
    style: `--height: ${height}; --width: ${width}` }, figures);
}

function cellUnder({ clientX, clientY, currentTarget }, height, width) {
  const { left, top, width: across, height: down } = currentTarget.getBoundingClientRect();
  const cell = (offset, size, count) => clamp(Math.floor((offset / size) * count), 0, count - 1);
  return [cell(clientY - top, down, height), cell(clientX - left, across, width)];
}

/** One map: `marks` are words beside its name, `line` stands below, `home` is its place in a 3 x 3 grid. */
function mapFigure({ name, marks = [], line, map, scale, home }) {
  const [row, column] = peak(map);
  const most = map.values[row * map.shape[1] + column];
  const where = Number.isNaN(most) ? [] : [`largest cell row ${row + 1}, column ${column + 1}: ${shorten(most)}`];
  const cells = h("div", { class: "cells", role: "application", "aria-roledescription": "map",
    "aria-label": [name, ...marks, line, ...where].join("; ") }, paint(map, scale));
  const place = `--row: ${Math.floor(home / 3)}; --column: ${home % 3}`;
  if (home !== undefined) cells.append(h("div", { class: "home", style: place }));
  const words = marks.map((word) => h("em", {}, word));
  return h("figure", { class: ["map", ...marks].join(" ") }, cells,
    h("figcaption", {}, h("b", {}, name), words, h("span", {}, line)));
}

/** [row, column] of the largest cell of an h x w map. */
function peak({ shape, values }) {
  const place = largest(values);
  return [Math.floor(place / shape[1]), place % shape[1]];
}

// The explorer.

const TABS = { maps: "Class maps", attribution: "Attribution", grids: "3 × 3 grids" };
const KINDS = {
  all: ["all", () => true],
  right: ["recognised", ({ image }) => image.label === image.predicted],
  wrong: ["mistaken", ({ image }) => image.label !== null && image.label !== image.predicted],
  followed: ["followed in training", ({ epochs }) => epochs.length > 0],
};
const AGREEMENT = `Under each method: Spearman's correlation of its map with the class map of the prediction, then two
  nulls that know nothing of this image: the same with another image's class map, and with a Gaussian at the centre.
  Agreement that is no larger says nothing. Methods differ in units, so each map has a scale of its own.`;
const POINTING = `Raw maps of each image's class on one scale, the image's own place framed. The numbers: the share of
  the map's positive part that lies in its place, by reading (chance: 1/9 = 0.11); ✓ where its largest cell does.`;
const LARGEST = 7 * 2 ** 20; // bytes of a file: as base64 it fits into one message of a Jupyter server

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.live = model.get("live") === true;
    this.payload = model.get("payload");
    this.id = `niny-${Math.random().toString(36).slice(2)}`; // a notebook may show several
    this.entries = entriesOf(this.payload);
    this.grids = this.payload.grids.map((grid) => ({ ...grid, maps: unpack(grid.maps) }));
    [this.entry, this.grid, this.reading, this.tab] = [this.entries[0], 0, "raw", "maps"];
    this.build(el);
    this.fill();
    this.choose(this.entry);
    this.say("");
  }

  // What stays on the page: tabs, choice of image, controls, the line that is read aloud. The stage is drawn anew.

  build(el) {
    const { title, label, data } = this.payload;
    this.stage = h("div", { class: "stage" });
    this.status = h("p", { class: "status", role: "status" });
    this.list = roving(h("div", { class: "thumbnails", role: "listbox", "aria-label": "Test images" }));
    this.choice = h("div", {}, this.filters(), this.list);
    this.controls = h("div", { class: "controls" }, this.readings(), this.slider());
    this.turner = h("div", { class: "controls" }, button("Previous grid", () => this.turn(-1)),
      button("Next grid", () => this.turn(1)));
    const inside = [this.choice, this.controls, this.turner, this.status, this.stage];
    this.panel = h("div", { role: "tabpanel", id: `${this.id}-panel` }, inside);
    const heading = h("p", {}, h("b", {}, `${title}, ${data}`), " ", h("em", {}, label));
    this.root = h("div", { class: "niny-explorer" }, heading, this.tabs(), this.panel);
    if (this.live) this.listen();
    el.replaceChildren(this.root);
  }

  tabs() {
    const has = { maps: true, attribution: this.payload.attributions.length, grids: this.grids.length };
    const tab = (name) => h("button", { type: "button", role: "tab", id: `${this.id}-${name}`,
      "aria-controls": `${this.id}-panel`, onclick: () => this.open(name) }, TABS[name]);
    this.offered = Object.keys(TABS).filter((name) => has[name]);
    this.tablist = roving(h("div", { role: "tablist", "aria-label": "What to explore" }, this.offered.map(tab)));
    return this.tablist;
  }

  open(tab) {
    this.tab = tab;
    this.cursor = null;
    this.draw();
    this.say(`${this.subject()}.`);
  }

  filters() {
    const option = ([value, text]) => h("option", { value }, text);
    const classes = [["", "every class"], ...this.payload.classes.entries()];
    const offered = Object.entries(KINDS).filter(([name, [, belongs]]) => name !== "followed" || this.entries.some(belongs));
    const kinds = offered.map(([value, [text]]) => [value, text]);
    this.ofClass = h("select", { onchange: () => this.filter() }, classes.map(option));
    this.kind = h("select", { onchange: () => this.filter() }, kinds.map(option));
    this.number = h("input", { type: "number", min: 0, step: 1, required: true });
    const which = labelled(this.live ? "Number of any test image" : "Number of a test image", this.number);
    const find = h("form", { onsubmit: (event) => { take(event); this.find(this.number.valueAsNumber); } }, which,
      h("button", {}, "Show"));
    const own = this.live ? [this.chooser()] : [];
    return h("div", { class: "controls" }, labelled("Class", this.ofClass), labelled("Images", this.kind), find, own);
  }

  readings() {
    const radio = (name) => h("label", {}, h("input", { type: "radio", name: this.id, value: name,
      checked: name === this.reading, onchange: () => this.turnTo(name) }), READINGS[name][0]);
    return h("fieldset", {}, h("legend", {}, "Reading"), Object.keys(READINGS).map(radio));
  }

  turnTo(reading) {
    this.reading = reading;
    this.draw();
    this.say(`${this.about()}.`);
  }

  slider() {
    this.epoch = h("input", { type: "range", min: 0, step: 1, oninput: () => this.leaf() });
    this.epochName = h("output", {});
    this.epochs = h("div", { class: "epochs" }, labelled("Epoch", this.epoch), this.epochName);
    return this.epochs;
  }

  leaf() {
    this.draw();
    this.say(`Predicted: ${this.payload.classes[this.predicted()]}.`);
  }

  turn(by) {
    this.grid = (this.grid + by + this.grids.length) % this.grids.length;
    this.cursor = null;
    this.draw();
    this.say(`${this.subject()}.`);
  }

  // Which image

  filter() {
    this.fill();
    if (!this.listed.length) this.say("No image here is of that kind.", true);
    else if (!this.listed.includes(this.entry)) this.choose(this.listed[0]);
    else this.say(`Images of that kind: ${this.listed.length}.`);
  }

  fill() {
    const ofClass = ({ image }) => !this.ofClass.value || image.label === Number(this.ofClass.value);
    this.listed = this.entries.filter((entry) => ofClass(entry) && KINDS[this.kind.value][1](entry));
    const option = (entry) => h("div", { role: "option", "aria-label": this.describe(entry.image),
      title: this.describe(entry.image), class: KINDS.wrong[1](entry) ? "wrong" : "",
      onclick: () => this.choose(entry) }, picture(entry.image.png, ""));
    this.list.replaceChildren(...this.listed.map(option));
    select(this.list, this.listed.indexOf(this.entry));
  }

  choose(entry) {
    this.entry = entry;
    this.cursor = null;
    select(this.list, this.listed.indexOf(entry));
    this.epochs.hidden = entry.epochs.length === 0;
    this.epoch.max = entry.epochs.length; // one place more than epochs: the last is the trained network
    this.epoch.value = entry.epochs.length;
    this.draw();
    this.say(`${this.subject()}.`);
  }

  find(index) {
    const entry = this.entries.find(({ image }) => image.index === index);
    if (entry) this.reveal(entry);
    else if (this.live) this.ask({ type: "index", index });
    else this.say(`Test image ${index} is not among the ${this.entries.length} kept here.`, true);
  }

  /** Choose an entry whatever the filters say. */
  reveal(entry) {
    this.ofClass.value = "";
    this.kind.value = "all";
    this.fill();
    this.choose(entry);
  }

  describe({ index, name, label, predicted, logits }) {
    const { classes } = this.payload;
    const sure = `(${Math.round(100 * softmax(logits)[predicted])} %)`;
    const who = name ?? (index === null ? "A picture" : `Test image ${index}`);
    const said = classes[predicted];
    if (label === null) return `${who}: seen as ${said} ${sure}`;
    return `${who}: ${classes[label]}, ${label === predicted ? "recognised" : `taken for ${said}`} ${sure}`;
  }

  // What the stage shows

  draw() {
    this.choice.hidden = this.tab === "grids";
    this.controls.hidden = this.tab !== "maps";
    this.turner.hidden = this.tab !== "grids";
    select(this.tablist, this.offered.indexOf(this.tab));
    this.panel.setAttribute("aria-labelledby", `${this.id}-${this.tab}`);
    const stages = { maps: () => this.classMaps(), attribution: () => this.methods(), grids: () => this.pointing() };
    this.stage.replaceChildren(...stages[this.tab]());
    this.point(this.cursor ?? this.start());
  }

  /** What the picture shows, in words. */
  subject() {
    if (this.tab !== "grids") return this.describe(this.entry.image);
    const names = this.grids[this.grid].labels.map((label) => this.payload.classes[label]);
    return `Grid ${this.grid + 1} of ${this.grids.length}: ${names.join(", ")}`;
  }

  /** The maps that the slider stands at, and the class predicted from them. */
  maps() {
    return this.entry.epochs[this.epoch.value]?.maps ?? this.entry.maps;
  }

  predicted() {
    const { epochs, image } = this.entry;
    const now = epochs[this.epoch.value]; // kept under global average pooling alone, where the mean is the logit
    return now ? largest(parts(now.maps).map((map) => mean(map.values))) : image.predicted;
  }

  classMaps() {
    const { image, maps, epochs } = this.entry;
    const scale = scaleOf([maps, ...epochs.map((epoch) => epoch.maps)].map((stack) => read(stack, this.reading)));
    const marks = (k) => [...(k === image.label ? ["true"] : []), ...(k === this.predicted() ? ["predicted"] : [])];
    const items = parts(read(this.maps(), this.reading)).map((map, k) => (
      { name: this.payload.classes[k], marks: marks(k), line: this.numberOf(map), map, scale }));
    const one = `One scale for all maps${epochs.length ? " and epochs" : ""} of this image.`;
    this.nameEpoch();
    return [this.frame(image.png), this.group(items, `Class maps, ${READINGS[this.reading][0]}`),
      legend(scale, `${this.about()}. ${one}`), this.scores("claim1_rate", "top10_share")];
  }

  nameEpoch() {
    const now = this.entry.epochs[this.epoch.value];
    const error = now && now.error !== null ? `, test error ${now.error.toFixed(1)} %` : "";
    this.epochName.value = now ? `epoch ${now.number}${error}` : "trained network";
    this.epoch.setAttribute("aria-valuetext", this.epochName.value);
  }

  about() {
    const [title, about] = READINGS[this.reading];
    return `${title}: ${about}`;
  }

  numberOf({ values }) {
    const shown = values.filter((value) => !Number.isNaN(value));
    return this.reading === "top10" ? `${shown.length} of ${values.length}` : shorten(mean(values));
  }

  methods() {
    const { image, maps, attributions } = this.entry;
    const told = Object.fromEntries(this.payload.attributions.map((method) => [method.name, method.title]));
    const own = { name: this.payload.classes[image.predicted], line: "class map", map: at(maps, image.predicted) };
    const others = attributions.map(({ name, map, scores }) => (
      { name: told[name] ?? name, line: agreement(scores), map }));
    const items = [own, ...others].map((item) => ({ ...item, scale: scaleOf([item.map]) }));
    const lines = this.payload.attributions.map(({ title, line }) => [title, line]);
    return [this.frame(image.png), this.group(items, `Attributions for ${own.name}`),
      h("p", { class: "legend" }, AGREEMENT), folded("The methods", pairs(lines))];
  }

  pointing() {
    const { labels, png, maps, mass, hit } = this.grids[this.grid];
    const scale = scaleOf([maps]);
    const line = (i) => Object.keys(mass).map((reading) =>
      `${reading}\u00a0${shorten(mass[reading][i])}${hit[reading][i] ? "\u00a0✓" : ""}`).join(", ");
    const items = parts(maps).map((map, i) => (
      { name: this.payload.classes[labels[i]], line: line(i), map, scale, home: i }));
    return [this.frame(png), this.group(items, "Maps of the nine classes"), legend(scale, POINTING),
      this.scores("gridpg3")];
  }

  /** Scores of the network over many images, those whose names begin so. */
  scores(...beginnings) {
    const exact = (number) => number.toFixed(3);
    const range = (interval) => (interval ? ` (${interval.map(exact).join(" to ")})` : "");
    const rows = Object.entries(this.payload.scores)
      .filter(([name]) => beginnings.some((beginning) => name.startsWith(beginning)))
      .map(([name, { value, interval }]) => [h("code", {}, name), exact(value) + range(interval)]);
    return rows.length ? folded("Over many test images, with 95 % intervals", pairs(rows)) : "";
  }

  // The image, and what the cell under the cursor sees of it

  frame(png) {
    const image = picture(png, this.subject());
    this.seen = h("div", { class: "seen", hidden: !this.payload.field });
    this.readout = h("p", {});
    const box = h("div", { class: "frame" }, image, this.seen);
    image.addEventListener("load", () => box.style.setProperty("--side", image.naturalWidth));
    return h("figure", { class: "picture" }, box, h("figcaption", {}, `${image.alt}.`, this.readout));
  }

  group(items, label) {
    this.items = items;
    this.mapsGroup = mapGroup(items, label, () => this.cursor, (...to) => this.point(...to));
    return this.mapsGroup;
  }

  /** The cursor starts at the largest cell of the predicted class's map, or of the first map. */
  start() {
    const k = this.tab === "maps" ? this.entry.image.predicted : 0;
    return [k, ...peak(this.items[k].map)];
  }

  point([k, row, column], aloud = false) {
    this.cursor = [k, row, column];
    this.mapsGroup.style.setProperty("--row", row);
    this.mapsGroup.style.setProperty("--column", column);
    [...this.mapsGroup.children].forEach(({ firstChild: cells }, i) => (cells.tabIndex = i === k ? 0 : -1));
    const { name, map } = this.items[k];
    const value = map.values[row * map.shape[1] + column];
    const number = Number.isNaN(value) ? "not in the top 10 %" : shorten(value);
    this.readout.textContent = `${name}, row ${row + 1}, column ${column + 1}: ${number}. ${this.look(row, column)}`;
    if (aloud) this.say(this.readout.textContent);
  }

  /** Frame what a cell sees of the image; the same in words. */
  look(row, column) {
    const { field } = this.payload;
    if (!field) return "What it sees of the image is not known.";
    const [top, left] = [row, column].map((cell) => field.start + cell * field.stride);
    for (const [name, value] of Object.entries({ top, left, size: field.size })) {
      this.seen.style.setProperty(`--${name}`, value);
    }
    const span = (first) => `${first} to ${first + field.size - 1}`.replaceAll("-", "−");
    return `It sees pixel rows ${span(top)} and columns ${span(left)}, as far as the image goes.`;
  }

  /** The line above the stage, which screen readers read when it changes. */
  say(text, error = false) {
    this.status.textContent = text;
    this.status.classList.toggle("error", error);
  }

  // A running network

  chooser() {
    const file = h("input", { type: "file", accept: "image/*", onchange: () => this.send(file.files[0]) });
    return labelled("Your own image, or drop it here", file);
  }

  listen() {
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      take(event);
      this.send(event.dataTransfer.files[0]);
    });
    this.answer = (message) => this.receive(message);
    this.model.on("msg:custom", this.answer);
  }

  async send(file) {
    if (!file) return this.say("That was no file: drop an image file, or choose one.", true);
    if (file.size > LARGEST) return this.say(`${file.name} has more than 7 MiB: shrink it first.`, true);
    const data = await toBase64(file).catch(() => null);
    if (data === null) return this.say(`${file.name} cannot be read: choose another file.`, true);
    return this.ask({ type: "file", name: file.name, data });
  }

  ask(message) {
    this.say("Asking the network …");
    this.model.send(message);
  }

  receive({ type, text, image, maps, attributions }) {
    if (type === "error") this.say(text, true);
    if (type !== "image") return;
    const found = attributions.map(({ name, map }) => ({ name, map: unpack(map) }));
    const entry = { image, maps: unpack(maps), attributions: found, epochs: [] };
    this.entries.push(entry);
    this.reveal(entry);
  }

  leave() {
    if (this.live) this.model.off("msg:custom", this.answer);
  }
}

function agreement(scores) {
  if (!scores) return "";
  const [own, other, centre] = scores.map(shorten);
  return `${own}; other image ${other}, centre ${centre}`;
}

function toBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** Put the explorer into `el`, as anywidget asks; returns what takes it down again. */
function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.leave();
}

export default { render };
