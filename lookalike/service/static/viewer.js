// The larger view, and in it the answer to "why": what matches, drawn on both pictures.

import * as api from "./api.js";
import { byId, drawn, make, readable } from "./dom.js";
import { takeOutButton } from "./keeping.js";
import * as marking from "./marking.js";
import * as pictures from "./pictures.js";
import { buttons } from "./results.js";
import { say, sayError } from "./words.js";

const dialog = byId("viewer"), body = byId("viewer-body"), facts = byId("viewer-facts"), row = byId("viewer-actions");
const COLOURS = ["#ff5d73", "#3ddc84", "#6aa8ff", "#ffb454", "#d58cff", "#2fd4d4"];
const CONVINCING = 15; // as the library has it: unrelated pictures hardly ever have as many
const SHOWN = 50, GAP = 12, SIDE = 1000;

let items = [], at = 0, actions = null, opener = null;

export function open(list, number, given) {
  [items, at, actions] = [list, number, given];
  if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
  show();
}

export const close = () => dialog.open && dialog.close();
dialog.addEventListener("close", () => { body.replaceChildren(); if (opener?.isConnected) opener.focus(); });
byId("viewer-close").addEventListener("click", close);
dialog.addEventListener("click", (event) => event.target === dialog && close());
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && items[at + step]) { at += step; show(); event.preventDefault(); }
});

function show() {
  const item = items[at], name = readable(item.key);
  byId("viewer-name").textContent = name;
  const image = make("img", { src: api.thumbnail(item.id, 1600), alt: name });
  image.style.aspectRatio = `${item.width} / ${item.height}`;
  body.replaceChildren(image);
  const score = item.score === undefined ? [] : [say("score", item.score.toFixed(3))];
  facts.replaceChildren([...score, `${item.width} × ${item.height}`].join(" · ") + " · ", make("a", { href: api.whole(item.id), target: "_blank", rel: "noopener", textContent: say("whole1") }));
  const step = (by, word) => make("button", { type: "button", textContent: say(word), disabled: !items[at + by], onclick: () => { at += by; show(); } });
  row.replaceChildren(step(-1, "previous"), step(1, "next"), ...buttons(item, { ...actions, why: explain }, true), ...marking.buttons(item, true), ...(actions.takeOut ? [takeOutButton(item, actions.takeOut)] : []));
}

export function why(list, number, given) {
  open(list, number, given);
  explain(items[at]);
}

async function explain(item) {
  const state = actions.state(), query = state.wanted[0], known = query?.kind === "v" ? pictures.known(query.value) : null;
  const tell = (text) => facts.replaceChildren(text);
  if (!query) { tell(say("onlyWords")); return; }
  if (query.kind === "v" && !known?.file) { tell(say("noPicture")); return; }
  tell(say("looking"));
  try {
    const box = state.box || (known?.remote ? null : known?.box) || null;
    const answer = await api.explain(query.value, known?.file, box, item.id);
    if (items[at] !== item || !dialog.open) return;
    body.replaceChildren(picture(answer, known ? known.url : api.thumbnail(query.value, 1600), api.thumbnail(item.id, 1600)));
    tell(sentence(answer));
  } catch (error) {
    tell(sayError(error));
  }
}

function sentence(answer) {
  if (answer.matrix) return say(answer.inliers < CONVINCING ? "perhaps" : "explained", answer.inliers);
  return answer.of === "patches" && answer.matches.length ? say("explainedPatches", answer.matches.length) : say("unexplained");
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
