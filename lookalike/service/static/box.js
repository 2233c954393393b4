// Drawing a box on the query picture: with a mouse, a finger or the keyboard.

import { byId } from "./dom.js";
import { say } from "./words.js";

const stage = byId("stage"), shown = byId("shown"), region = byId("region"), help = byId("region-help");
const LEAST = 8; // CSS pixels: less was a click
const REACH = 24; // CSS pixels around a corner that take hold of it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let size = null, box = null, drag = null, timer = 0, url = null;
let told = () => {};
const select = byId("select"), whole = byId("whole");

// `onchange(box or null)` is called when a region has been drawn; boxes are in pixels of the upright picture.
export function listen(onchange) { told = onchange; }

export function show(picture, current) {
  size = picture.width && picture.height && picture.canSelect ? [picture.width, picture.height] : null;
  // While the box is being changed, an answer to an earlier one does not put it back.
  if (picture.url !== url || !(drag || timer)) {
    clearTimeout(timer);
    [box, drag, timer] = [current, null, 0];
  }
  url = picture.url;
  stage.classList.toggle("still", !size);
  select.hidden = help.hidden = !size;
  draw();
}

function draw() {
  region.hidden = whole.hidden = !box || !size;
  if (!size) { region.hidden = true; return; }
  help.textContent = box ? say("regionIs", Math.round(box[2] - box[0]), Math.round(box[3] - box[1])) : say("regionHelp");
  if (!box) return;
  const [width, height] = size;
  region.style.left = `${(100 * box[0]) / width}%`;
  region.style.top = `${(100 * box[1]) / height}%`;
  region.style.width = `${(100 * (box[2] - box[0])) / width}%`;
  region.style.height = `${(100 * (box[3] - box[1])) / height}%`;
}

function point(event) {
  const area = shown.getBoundingClientRect();
  const limit = (value, most) => Math.max(0, Math.min(most, value));
  return [limit(((event.clientX - area.left) / area.width) * size[0], size[0]), limit(((event.clientY - area.top) / area.height) * size[1], size[1])];
}

// What a press takes hold of: a corner, the inside, or nothing, which begins a new box.
function held([x, y]) {
  if (!box) return null;
  const reach = (REACH * size[0]) / shown.clientWidth;
  for (const [cx, cy] of [[0, 1], [2, 1], [0, 3], [2, 3]])
    if (Math.abs(x - box[cx]) < reach && Math.abs(y - box[cy]) < reach) return { corner: [cx, cy] };
  return x > box[0] && x < box[2] && y > box[1] && y < box[3] ? { from: [x, y], box } : null;
}

stage.addEventListener("pointerdown", (event) => {
  const touch = event.pointerType === "touch" && select.getAttribute("aria-pressed") !== "true";
  if (!size || event.button || touch) return;
  event.preventDefault();
  stage.focus({ preventScroll: true });
  stage.setPointerCapture(event.pointerId);
  const at = point(event);
  drag = { at, held: held(at), before: box };
});

stage.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = point(event), { at, held } = drag;
  if (held?.corner) {
    const next = [...drag.before], [cx, cy] = held.corner;
    next[cx] = x; next[cy] = y;
    box = ordered(next);
  } else if (held) box = moved(held.box, x - held.from[0], y - held.from[1]);
  else box = ordered([at[0], at[1], x, y]);
  draw();
});

function lift(event) {
  if (!drag) return;
  const before = drag.before, isNew = !drag.held;
  drag = null;
  const wide = box && ((box[2] - box[0]) * shown.clientWidth) / size[0], high = box && ((box[3] - box[1]) * shown.clientHeight) / size[1];
  if (event.type === "pointercancel" || (isNew && (wide < LEAST || high < LEAST))) { box = before; draw(); return; }
  tell();
}
stage.addEventListener("pointerup", lift);
stage.addEventListener("pointercancel", lift);

stage.addEventListener("keydown", (event) => {
  if (!size || event.ctrlKey || event.metaKey || event.altKey) return;
  const [width, height] = size;
  if (event.key === "Enter" && !box) box = [width / 4, height / 4, (3 * width) / 4, (3 * height) / 4];
  else if (event.key === "Escape" && box) box = null;
  else if (ARROWS[event.key] && box) {
    const [dx, dy] = ARROWS[event.key], stepX = (dx * width) / 40, stepY = (dy * height) / 40;
    box = event.shiftKey ? resized(stepX, stepY) : moved(box, stepX, stepY);
  } else return;
  event.preventDefault();
  draw();
  // Several presses are one search.
  clearTimeout(timer);
  timer = setTimeout(() => { timer = 0; tell(); }, box && ARROWS[event.key] ? 400 : 0);
});

select.addEventListener("click", () => {
  const on = select.getAttribute("aria-pressed") !== "true";
  select.setAttribute("aria-pressed", String(on));
  stage.classList.toggle("drawing", on);
  byId("ask").classList.toggle("drawing", on);
  if (on) stage.focus();
});
whole.addEventListener("click", () => { box = null; draw(); tell(); });

function tell() {
  told(box && box.map(Math.round));
}

function resized(dx, dy) {
  const least = [size[0] / 40, size[1] / 40];
  return [box[0], box[1], Math.min(size[0], Math.max(box[0] + least[0], box[2] + dx)), Math.min(size[1], Math.max(box[1] + least[1], box[3] + dy))];
}

function moved([left, top, right, bottom], dx, dy) {
  const x = Math.max(-left, Math.min(size[0] - right, dx)), y = Math.max(-top, Math.min(size[1] - bottom, dy));
  return [left + x, top + y, right + x, bottom + y];
}

const ordered = ([a, b, c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
