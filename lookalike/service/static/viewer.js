// The larger view: the query beside the hit, both at one zoom, what is known of the hit, and why it is one.

import * as api from "./api.js";
import { byId, drawn, make, readable } from "./dom.js";
import { takeOutButton } from "./keeping.js";
import * as marking from "./marking.js";
import { Pane, Zoom } from "./panes.js";
import * as pictures from "./pictures.js";
import { facts as known } from "./query.js";
import { buttons, scoreOf } from "./results.js";
import * as together from "./together.js";
import { language, say, sayError, sayFact } from "./words.js";

const dialog = byId("viewer"), body = byId("viewer-body"), facts = byId("viewer-facts"), row = byId("viewer-actions"), said = byId("viewer-said");
const COLOURS = ["#ff5d73", "#3ddc84", "#6aa8ff", "#ffb454", "#d58cff", "#2fd4d4"];
const SHOWN = 50, GAP = 12, SIDE = 1000;
const FACTS = ["taken", "camera", "lens", "exposure", "focal_length", "iso", "format"];

let items = [], at = 0, actions = null, opener = null, zoom = null, own = null;

export function open(list, number, given) {
  [items, at, actions] = [list, number, given];
  if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
  show();
}

export const close = () => dialog.open && dialog.close();
dialog.addEventListener("close", () => { body.replaceChildren(); if (opener?.isConnected) opener.focus(); });
byId("viewer-close").addEventListener("click", close);
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], factor = { "+": 1.4, "=": 1.4, "-": 1 / 1.4 }[event.key];
  if (step) go(step);
  else if (factor) new Set([zoom, own]).forEach((one) => one?.by(factor));
  else if (event.key === "0") new Set([zoom, own]).forEach((one) => one?.reset());
  else if (event.key === "?") explain(items[at]);
  else return;
  event.preventDefault();
});

function go(step) {
  if (!items[at + step]) return;
  at += step;
  show();
}

function show() {
  const item = items[at], name = readable(item.key);
  byId("viewer-name").textContent = name;
  byId("viewer-place").textContent = say("place", at + 1, items.length);
  zoom = new Zoom();
  // A part that was found is shown large, and then has a zoom of its own.
  own = item.box ? new Zoom() : zoom;
  const hit = new Pane(own, { url: api.thumbnail(item.id, 1600), sharp: api.whole(item.id), width: item.width, height: item.height, name, box: corners(item.box), title: "" });
  const panes = [...asked(), hit];
  body.className = panes.length > 1 ? "two" : "";
  body.replaceChildren(...panes.map((pane) => pane.element));
  if (item.box) own.to(hit, corners(item.box), item.width, item.height);
  said.hidden = true;
  facts.replaceChildren(...(item.score === undefined ? [] : [scoreOf(item), ` ${say("score", item.score.toFixed(3))}`]));
  tellFacts(item);
  const step = (by, word) => make("button", { type: "button", textContent: say(word), disabled: !items[at + by], onclick: () => { go(by); } });
  row.replaceChildren(step(-1, "previous"), step(1, "next"), ...buttons(item, { ...actions, why: explain }, true), ...marking.buttons(item, true), ...(actions.takeOut ? [takeOutButton(item, actions.takeOut)] : []));
}

const corners = (box) => (box ? [box.left, box.top, box.right, box.bottom] : null);

// The picture that was searched with, where it is one that can be shown.
function asked() {
  const state = actions.state(), [image] = state.wanted;
  if (state.wanted.length !== 1 || state.unwanted.length) return [];
  const title = say("yourQuery");
  if (image.kind === "v") {
    const picture = pictures.known(image.value);
    return picture?.url ? [new Pane(zoom, { ...picture, name: picture.name || say("uploaded"), box: picture.box || null, title })] : [];
  }
  const pane = new Pane(zoom, { url: api.thumbnail(image.value, 1600), sharp: api.whole(image.value), name: title, box: null, title });
  known(image.value).then((item) => pane.size(item.width, item.height, state.box)).catch(() => {});
  return [pane];
}

async function tellFacts(item) {
  const entry = await api.item(item.id).catch(() => null);
  if (items[at] !== item || !dialog.open) return;
  const size = `${item.width} × ${item.height}`, more = entry?.facts || {};
  const line = [size, ...(entry ? [say("bytes", entry.bytes)] : []), ...FACTS.filter((name) => more[name] !== undefined).map((name) => value(name, more[name]))];
  facts.append(" ", ...line.map((text) => make("span", { className: "fact", textContent: text })));
  const copy = make("button", { type: "button", className: "quiet", textContent: say("copyPath"), onclick: () => copied(copy, item.key) });
  const folder = item.key.slice(0, item.key.lastIndexOf("/") + 1);
  const reveal = make("button", { type: "button", className: "quiet", textContent: say("onlyFolder"), title: readable(folder), onclick: () => actions.folder(folder) });
  const home = together.home(item), there = home ? [make("a", { href: home.href, textContent: say("openIn", home.name) })] : [];
  facts.append(copy, ...(folder && actions.folder ? [reveal] : []), ...there, make("a", { href: api.whole(item.id), target: "_blank", rel: "noopener", textContent: say("whole1") }));
}

function value(name, given) {
  if (name === "taken") {
    const [day, time] = String(given).split("T"), [year, month, date] = day.split("-").map(Number);
    const text = new Date(year, month - 1, date).toLocaleDateString(language, { dateStyle: "medium" });
    return time ? `${text}, ${time.slice(0, 5)}` : text;
  }
  if (name === "exposure") return given > 0 && given < 0.5 ? `1/${Math.round(1 / given)} s` : `${given} s`;
  if (name === "focal_length") return `${given} mm`;
  return name === "iso" ? `ISO ${given}` : String(given);
}

async function copied(button, text) {
  try { await navigator.clipboard.writeText(text); } catch { return; }
  button.textContent = say("copied");
  setTimeout(() => { button.textContent = say("copyPath"); }, 1500);
}

export function why(list, number, given) {
  open(list, number, given);
  explain(items[at]);
}

function tell(...parts) {
  said.replaceChildren(...parts);
  said.hidden = false;
}

async function explain(item) {
  const state = actions.state(), query = state.wanted[0], known = query?.kind === "v" ? pictures.known(query.value) : null;
  if (!query) { tell(say("onlyWords")); return; }
  if (query.kind === "v" && !known?.file) { tell(say("noPicture")); return; }
  tell(say("looking"));
  try {
    const box = state.box || (known?.remote ? null : known?.box) || null;
    const answer = await api.explain(query.value, known?.file, box, item.id);
    if (items[at] !== item || !dialog.open) return;
    zoom = own = null;
    body.className = "why";
    body.replaceChildren(picture(answer, known ? known.url : api.thumbnail(query.value, 1600), api.thumbnail(item.id, 1600)));
    tell(sentence(answer), ...legend(answer));
  } catch (error) {
    tell(sayError(error));
  }
}

// The sentence of the service, which is the command line's, or the same one in the reader's language.
function sentence(answer) {
  return language === "en" ? answer.text : say("verdicts")[answer.verdict](answer.matches.length);
}

function legend(answer) {
  if (!answer.matches.length) return [];
  const key = (name, word) => make("span", { className: `key ${name}`, textContent: say(word) });
  return [key("line", "keyPoints"), ...(answer.overlap ? [key("outline", "keyOverlap")] : [])];
}

// Both pictures in one drawing, at one height side by side, or at one width one above the other on a narrow screen.
function picture({ query, item, matches, overlap }, from, to) {
  const stacked = innerWidth < 700, side = (size) => SIDE / (stacked ? size.width : size.height);
  const scales = [side(query), side(item)];
  const sizes = [query, item].map((size, number) => [size.width * scales[number], size.height * scales[number]]);
  const shift = stacked ? [0, sizes[0][1] + GAP] : [sizes[0][0] + GAP, 0];
  const width = stacked ? SIDE : sizes[0][0] + GAP + sizes[1][0], height = stacked ? sizes[0][1] + GAP + sizes[1][1] : SIDE;
  const art = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": say("whyTitle") });
  [[from, [0, 0]], [to, shift]].forEach(([href, [x, y]], number) =>
    art.append(drawn("image", { href, x, y, width: sizes[number][0], height: sizes[number][1], preserveAspectRatio: "none" })));
  const b = ([x, y]) => [(x + 0.5) * scales[1] + shift[0], (y + 0.5) * scales[1] + shift[1]];
  if (overlap) art.append(drawn("polygon", { points: overlap.map((corner) => b(corner).join(",")).join(" "), class: "overlap" }));
  const every = Math.max(1, Math.ceil(matches.length / SHOWN));
  matches.filter((_, number) => number % every === 0).forEach((match, number) => {
    const start = match.a.map((value) => (value + 0.5) * scales[0]), end = b(match.b), stroke = COLOURS[number % COLOURS.length];
    art.append(drawn("line", { x1: start[0], y1: start[1], x2: end[0], y2: end[1], stroke, class: "match" }));
    for (const [cx, cy] of [start, end]) art.append(drawn("circle", { cx, cy, r: 6, stroke, class: "match" }));
  });
  return art;
}
