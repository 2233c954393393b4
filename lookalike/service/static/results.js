// The grid: rows of one height, every picture in its shape, and how alike it is.

import * as api from "./api.js";
import { cell } from "./csv.js";
import { byId, iconButton, make, readable, save } from "./dom.js";
import { rows } from "./justify.js";
import * as marking from "./marking.js";
import * as together from "./together.js";
import { say } from "./words.js";

const grid = byId("grid"), GAP = 8;
const SIZES = [160, 240, 320, 480, 640];
const EAGER = 12; // pictures that are in sight at once
const BANDS = ["weak", "alike", "strong", "same"];
let laid = 0;

export function render(items, actions, hasScores = true) {
  grid.classList.toggle("plain", !hasScores);
  const rest = hasScores ? items.findIndex((item) => typeof item.confidence === "number" && item.confidence <= 0.5) : -1;
  const cards = items.map((item, number) => card(item, number, actions, hasScores, rest > 0 && number >= rest));
  if (rest >= 0) cards.splice(rest, 0, make("li", { className: "divider", textContent: say(rest ? "onlyAlike" : "probablyNot") }));
  grid.replaceChildren(...cards);
  lay(true);
}

// Every picture gets its place before it is there, so that nothing moves.
function lay(isNew = false) {
  const width = Math.floor(grid.getBoundingClientRect().width);
  if (!width || (width === laid && !isNew)) return;
  laid = width;
  const target = width < 560 ? 128 : width < 1000 ? 168 : 196;
  let run = [];
  for (const card of [...grid.children, null]) {
    if (card?.classList.contains("card")) { run.push(card); continue; }
    place(run, width, target);
    run = [];
  }
}

function place(cards, width, target) {
  for (const row of rows(cards.map((card) => Number(card.dataset.ratio)), width, target, GAP)) {
    cards.slice(row.from, row.to).forEach((card, number) => {
      card.style.width = `${row.widths[number]}px`;
      card.firstChild.style.height = `${row.height}px`;
      const image = card.querySelector("img");
      if (!image) return;
      const longest = Math.max(row.widths[number], row.height) * Math.min(2, devicePixelRatio);
      image.src ||= api.thumbnail(image.dataset.id, SIZES.find((size) => size >= longest) ?? SIZES.at(-1));
    });
  }
}
new ResizeObserver(() => lay()).observe(grid);

export function band(item) {
  if (typeof item.confidence !== "number") return null;
  return item.confidence > 0.9 ? "same" : item.confidence > 0.5 ? "strong" : item.confidence > 0.1 ? "alike" : "weak";
}

// The confidence as a bar of four steps and a word; the number alone where none was measured for the encoder.
export function scoreOf(item) {
  const name = band(item), number = item.score.toFixed(3);
  if (!name) return make("span", { className: "score", textContent: number, title: say("similarity"), data: { score: number } });
  const steps = BANDS.map((_, step) => make("i", { className: step <= BANDS.indexOf(name) ? "full" : "" }));
  const title = `${say("score", number)} · ${say("confidence", Math.round(100 * item.confidence))}`;
  return make("span", { className: `score band ${name}`, title, data: { score: number } }, make("span", { className: "steps" }, ...steps), say("bands")[name]);
}

function card(item, number, actions, hasScores, isWeak) {
  const name = readable(item.key), short = name.slice(name.lastIndexOf("/") + 1);
  // A strip of 20,000 x 1 pixels is shown within a shape that can still be pressed.
  const ratio = Math.max(0.5, Math.min(2.6, item.width / Math.max(1, item.height)));
  const image = make("img", { alt: "", loading: number < EAGER ? "eager" : "lazy", decoding: "async", data: { id: item.id } });
  const label = say("open", name) + (hasScores ? `, ${say("score", item.score.toFixed(3))}` : "");
  const open = make("button", { type: "button", className: "open", label, onclick: () => actions.open(number) }, image);
  const tile = make("li", { className: isWeak ? "card rest" : "card", data: { ratio } }, open);
  const part = hasScores ? regionOf(item) : null;
  if (part) open.append(part);
  const from = together.of(item);
  if (from !== null) open.append(make("span", { className: "from", textContent: readable(from) }));
  const marks = hasScores ? marking.buttons(item) : [];
  if (marks.length) tile.append(make("div", { className: "marks" }, ...marks));
  if (hasScores) tile.append(make("div", { className: "actions" }, ...buttons(item, actions)));
  const points = typeof item.inliers === "number" ? [make("span", { className: "points", textContent: say("points", item.inliers) })] : [];
  const caption = [...(hasScores ? [scoreOf(item)] : []), ...points, make("span", { className: "name", textContent: short, title: name })];
  tile.append(make("div", { className: "caption" }, ...caption));
  return tile;
}

// The part of a picture that is what was looked for, where the service says which.
export function regionOf(item) {
  if (!item.box || !item.width || !item.height) return null;
  const { left, top, right, bottom } = item.box, share = (value, whole) => `${(100 * value) / whole}%`;
  const part = make("span", { className: "part" });
  const shape = item.width / item.height, within = Math.max(0.5, Math.min(2.6, shape));
  // The picture lies within its frame where its shape is an extreme one.
  const [wide, high] = shape > within ? [1, within / shape] : [shape / within, 1];
  const frame = make("span", { className: "frame" }, part);
  Object.assign(frame.style, { width: share(wide, 1), height: share(high, 1) });
  Object.assign(part.style, { left: share(left, item.width), top: share(top, item.height), width: share(right - left, item.width), height: share(bottom - top, item.height) });
  return frame;
}

export function buttons(item, actions, isWordy = false) {
  const button = (icon, word, onclick) => iconButton(icon, say(word), isWordy ? "" : readable(item.key), onclick);
  return [
    button("search", "searchWith", () => actions.searchWith(item)),
    button("add", "addThis", () => actions.add("wanted", item)),
    button("less", "addNot", () => actions.add("unwanted", item)),
    button("why", "why", () => actions.why(item)),
  ];
}

// Nothing found: a sentence, and what can be done about it.
export function empty(sentence, word = "", onpress = null) {
  const place = byId("empty");
  place.hidden = !sentence;
  place.replaceChildren(...(sentence ? [make("p", { textContent: sentence })] : []), ...(word ? [make("button", { type: "button", textContent: word, onclick: onpress })] : []));
}

// The shape of a result while it is on its way.
export function wait(count) {
  const ratios = [1.5, 1.33, 0.75, 1.5, 1, 1.33];
  grid.replaceChildren(...Array.from({ length: count }, (_, number) =>
    make("li", { className: "card skeleton", data: { ratio: ratios[number % ratios.length] } }, make("span", { className: "open" }), make("div", { className: "caption" }))));
  lay(true);
}

export function saveJson(answer, address) {
  save("look-alikes.json", "application/json", JSON.stringify({ address, ...answer }, null, 2) + "\n");
}

export function saveCsv(answer) {
  const rows = answer.results.map((one) => [one.rank, one.key, one.score, one.width, one.height, one.id].map(cell).join(","));
  save("look-alikes.csv", "text/csv", ["rank,key,score,width,height,id", ...rows].join("\r\n") + "\r\n");
}
