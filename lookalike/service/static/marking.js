// "The same" and "not the same": marks on results, the list of all marks, and what the collection learns from them.

import * as api from "./api.js";
import { byId, iconButton, make, readable } from "./dom.js";
import { tell } from "./keeping.js";
import { say, sayError } from "./words.js";

const PAUSE = 1000; // milliseconds between two looks at how far it is
const dialog = byId("marks-dialog"), line = byId("marks");

// `query` is the picture whose results can be marked, `given` its marks by the id of the other picture.
let query = null, given = new Map(), can = false, hooks = null, watching = false;

// `attempt(change)` shows what goes wrong; `changed()` shows everything anew after the vectors were exchanged.
export async function start(about, { attempt, changed }) {
  can = about.can_learn;
  if (!can) return;
  hooks = { attempt, changed };
  byId("learn").addEventListener("click", () => attempt(() => begin(api.learn)));
  byId("unlearn").addEventListener("click", () => attempt(() => begin(api.unlearn)));
  byId("marks-open").addEventListener("click", () => attempt(list));
  byId("marks-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  await refresh().catch(() => {});
}

// Marks go with one whole picture of the collection: they say what two files show.
export async function of(state) {
  const [image] = state.wanted, is = can && state.wanted.length === 1 && image.kind === "i" && !state.unwanted.length && !state.text && !state.box;
  query = is ? image.value : null;
  given = new Map();
  if (!query) return;
  const mine = query, { marks } = await api.marks(mine).catch(() => ({ marks: [] }));
  if (mine !== query) return;
  for (const mark of marks) for (const side of [mark.a, mark.b]) if (side && side.id !== query) given.set(side.id, mark);
  sync();
}

export function buttons(item, isWordy = false) {
  if (!query || item.id === query || item.score === undefined) return [];
  return [true, false].map((same) => {
    const word = say(same ? "markSame" : "markNot");
    const button = iconButton(same ? "same" : "different", word, isWordy ? "" : readable(item.key), () => hooks.attempt(() => press(item, same)));
    Object.assign(button.dataset, { item: item.id, same });
    return pressed(button);
  });
}

const pressed = (button) => { button.setAttribute("aria-pressed", String(given.get(button.dataset.item)?.same === (button.dataset.same === "true"))); return button; };
const sync = () => document.querySelectorAll("button[data-same]").forEach(pressed);

// What is pressed already is taken back.
async function press(item, same) {
  const of = query, before = given.get(item.id);
  if (before?.same === same) await api.unmark(before.mark);
  const after = before?.same === same ? null : await api.mark(of, item.id, same);
  if (of === query) {
    if (after) given.set(item.id, after); else given.delete(item.id);
    sync();
  }
  await refresh();
}

// How many marks there are, whether they are enough, and whether it learns.
async function refresh() {
  const state = await api.learning(), isRunning = state.state === "running", isEnough = state.groups >= state.least_groups;
  line.hidden = !state.marks && !state.adapted && !isRunning;
  byId("marks-said").textContent = isRunning ? say("learning") : say(state.adapted ? "adapted" : isEnough ? "enough" : "marked", state.marks, state.groups, state.least_groups);
  byId("learn").hidden = isRunning || state.adapted || !isEnough;
  byId("unlearn").hidden = isRunning || !state.adapted;
  byId("marks-open").hidden = isRunning || !state.marks;
  const bar = byId("learning");
  bar.hidden = !isRunning;
  if (state.total) { bar.max = state.total; bar.value = state.done; } else bar.removeAttribute("value");
  if (isRunning) watch();
  return state;
}

async function begin(call) {
  await call();
  await refresh();
}

async function watch() {
  if (watching) return;
  watching = true;
  let state = null;
  do {
    await new Promise((done) => setTimeout(done, PAUSE));
    state = await refresh().catch((error) => (error.status === 503 || error.code === "offline" ? { state: "running" } : null));
  } while (state?.state === "running");
  watching = false;
  if (!state) return;
  if (state.outcome?.applied || state.outcome?.undone) await hooks.changed();
  tell(outcome(state));
}

function outcome({ state, outcome: ended, error }) {
  if (state === "failed") return say("notLearned", sayError(error));
  if (ended.undone) return [say("unlearned"), ...(ended.without_former_vector ? [say("withoutVector", ended.without_former_vector)] : [])].join("\n");
  return ended.applied ? say("learned", ended.map.before.toFixed(3), ended.map.after.toFixed(3)) : say("noGain");
}

// All marks

async function list() {
  render(await api.marks());
  dialog.showModal();
}

function render({ marks, total }) {
  byId("marks-title").textContent = say("marksTitle", total);
  byId("marks-all").replaceChildren(...marks.map(entry));
  if (!marks.length) dialog.close();
}

function entry(mark) {
  const names = [mark.a, mark.b].map((item) => (item ? readable(item.key) : say("goneImage")));
  const pictures = [mark.a, mark.b].map((item, side) => (item ? make("img", { src: api.thumbnail(item.id, 160), alt: names[side], loading: "lazy" }) : make("span", { className: "no-picture", textContent: names[side] })));
  const button = make("button", { type: "button", textContent: say("unmark"), label: `${say("unmark")}: ${names.join(", ")}`, onclick: () => hooks.attempt(() => forget(mark, button)) });
  return make("li", {}, ...pictures, make("span", { textContent: say(mark.same ? "markSame" : "markNot") }), button);
}

async function forget(mark, button) {
  const place = [...byId("marks-all").querySelectorAll("button")].indexOf(button);
  render(await api.unmark(mark.mark));
  const rest = byId("marks-all").querySelectorAll("button");
  rest[Math.min(place, rest.length - 1)]?.focus();
  for (const [id, { mark: name }] of given) if (name === mark.mark) given.delete(id);
  sync();
  await refresh();
}
