// The grid: every picture keeps its shape, and says how alike it is.

import * as api from "./api.js";
import { byId, iconButton, make, readable, save } from "./dom.js";
import * as marking from "./marking.js";
import { say } from "./words.js";

const grid = byId("grid");

export function render(items, actions, hasScores = true) {
  grid.classList.toggle("plain", !hasScores);
  const cards = items.map((item, number) => card(item, number, actions, hasScores));
  const rest = hasScores ? items.findIndex((item) => typeof item.confidence === "number" && item.confidence <= 0.5) : -1;
  if (rest >= 0) cards.splice(rest, 0, make("li", { className: "divider", textContent: say(rest ? "onlyAlike" : "probablyNot") }));
  grid.replaceChildren(...cards);
}

// The confidence as a word; none where none was measured for the encoder.
function band(item) {
  if (typeof item.confidence !== "number") return [];
  const name = item.confidence > 0.9 ? "same" : item.confidence > 0.5 ? "strong" : item.confidence > 0.1 ? "alike" : "weak";
  return [make("span", { className: `band ${name}`, textContent: say("bands")[name], title: say("confidence", Math.round(100 * item.confidence)) })];
}

function card(item, number, actions, hasScores) {
  const name = readable(item.key), short = name.slice(name.lastIndexOf("/") + 1);
  // A strip of 20,000 x 1 pixels is shown within a shape that can still be pressed.
  const ratio = Math.max(0.5, Math.min(2.6, item.width / Math.max(1, item.height)));
  const image = make("img", { src: api.thumbnail(item.id, 400), alt: "", loading: number < 12 ? "eager" : "lazy", decoding: "async" });
  const open = make("button", { type: "button", className: "open", label: say("open", name) + (hasScores ? `, ${say("score", item.score.toFixed(3))}` : ""), onclick: () => actions.open(number) }, image);
  const tile = make("li", { className: "card" }, open);
  tile.style.setProperty("--ratio", String(ratio));
  if (hasScores) tile.append(make("div", { className: "caption" }, make("span", { className: "score", textContent: item.score.toFixed(3), title: say("similarity") }), ...band(item), make("span", { className: "name", textContent: short, title: name })));
  else tile.append(make("div", { className: "caption" }, make("span", { className: "name", textContent: short, title: name })));
  const marks = hasScores ? marking.buttons(item) : [];
  if (marks.length) tile.append(make("div", { className: "marks" }, ...marks));
  if (hasScores) tile.append(make("div", { className: "actions" }, ...buttons(item, actions)));
  return tile;
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

export function saveJson(answer, address) {
  save("look-alikes.json", "application/json", JSON.stringify({ address, ...answer }, null, 2) + "\n");
}

export function saveCsv(answer) {
  const rows = answer.results.map((one) => [one.rank, one.key, one.score, one.width, one.height, one.id].map(cell).join(","));
  save("look-alikes.csv", "text/csv", ["rank,key,score,width,height,id", ...rows].join("\r\n") + "\r\n");
}

// A name that a spreadsheet would take for a formula gets an apostrophe before it.
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
