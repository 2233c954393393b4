// The page: what happens becomes a state, the state goes into the address, and the address is what is shown.

import * as api from "./api.js";
import * as boxes from "./box.js";
import { byId, make, readable } from "./dom.js";
import * as filters from "./filters.js";
import * as keeping from "./keeping.js";
import * as marking from "./marking.js";
import * as pictures from "./pictures.js";
import * as query from "./query.js";
import * as results from "./results.js";
import * as shell from "./shell.js";
import * as states from "./state.js";
import * as together from "./together.js";
import * as viewer from "./viewer.js";
import { say, sayError } from "./words.js";

let about = null, state = states.blank(), shown = [], answer = null, running = null, jobs = 0;

const title = byId("title"), errorLine = byId("error");

function fail(error) {
  if (error.name === "AbortError") return;
  errorLine.textContent = error.code === "offline" ? say("offline") : error.code ? sayError(error) : say("failed");
  errorLine.hidden = false;
  if (!error.code) console.warn(error);
}

function busy(by) {
  jobs += by;
  document.body.classList.toggle("busy", jobs > 0);
}

// Changes

function go(next) {
  viewer.close();
  const hash = states.write({ ...states.blank(), ...next });
  if (hash !== location.hash) history.pushState(null, "", hash || location.pathname);
  return show();
}

const actions = {
  state: () => state,
  open: (number) => viewer.open(shown, number, actions),
  why: (item) => viewer.why(shown, shown.indexOf(item), actions),
  searchWith: (item) => { go({ wanted: [{ kind: "i", value: item.id }], ...manner() }); scrollTo({ top: 0 }); },
  add: (side, item) => attempt(() => addImage(side, { kind: "i", value: item.id })),
  remove: (side, image) => {
    const rest = { ...state, [side]: state[side].filter((one) => !states.isSame(one, image)) };
    go(states.isEmpty(rest) ? states.blank() : rest);
  },
};

// What goes on as it was when something else is searched with.
const manner = () => ({ count: state.count, least: state.least, order: state.order, where: state.where });

async function attempt(change) {
  errorLine.hidden = true;
  busy(+1);
  try { await change(); } catch (error) { fail(error); } finally { busy(-1); }
}

async function addImage(side, image) {
  let wanted = state.wanted;
  if (state.box) {
    // A region goes with one image; beside others it becomes a picture of its own.
    const part = await api.embedPart(wanted[0].value, state.box), item = await query.facts(wanted[0].value);
    pictures.keep(part.vector_f16, { url: api.thumbnail(item.id, 360), name: say("part") + ": " + item.key });
    wanted = [{ kind: "v", value: part.vector_f16 }];
  }
  const other = side === "wanted" ? "unwanted" : "wanted";
  const lists = { wanted, unwanted: state.unwanted };
  lists[other] = lists[other].filter((one) => !states.isSame(one, image));
  lists[side] = query.put(lists[side], image);
  await go({ ...state, ...lists, box: null });
}

async function takeFiles(files, side = null) {
  const images = [...files].slice(0, about.limits.files), limit = about.limits.upload_bytes;
  if (!images.length) return;
  if (images.some((file) => file.size > limit)) { fail({ code: "too_large_here", message: say("tooLarge", Math.floor(limit / 2 ** 20)) }); return; }
  await attempt(async () => {
    const found = [];
    for (const file of images) found.push(await pictures.fromFile(file));
    if (!side) await go({ wanted: found, text: state.text, ...manner() });
    else for (const image of found) await addImage(side, image);
  });
}

const takeUrl = (url) => attempt(async () => go({ wanted: [await pictures.fromUrl(url)], ...manner() }));

// Into the collection and out of it

const keep = (files) => attempt(async () => {
  const { items, refused } = await keeping.add(files, about.limits);
  await count();
  if (items.length === 1) await go({ wanted: [{ kind: "i", value: items[0].id }], ...manner() });
  else await show();
  keeping.tell([say("added", items.length), ...refused].join("\n"));
});

const takeOut = (item) => attempt(async () => {
  await api.takeOut(item.id);
  query.forget(item.id);
  await count();
  const others = (list) => list.filter((one) => one.kind !== "i" || one.value !== item.id);
  const rest = { ...state, wanted: others(state.wanted), unwanted: others(state.unwanted) };
  await go(states.isEmpty(rest) ? states.blank() : rest);
  keeping.tell(say("taken", item.key));
});

async function count() {
  about = await api.about();
  shell.tell(about);
}

// Vectors in the address are of before: pictures that are here still are embedded anew, others are left out.
async function relearned() {
  const anew = async (image) => (image.kind === "i" ? image : pictures.known(image.value)?.file ? pictures.fromFile(pictures.known(image.value).file) : null);
  const all = async (list) => (await Promise.all(list.map(anew))).filter(Boolean);
  await attempt(async () => {
    await count();
    const rest = { ...state, wanted: await all(state.wanted), unwanted: await all(state.unwanted) };
    await go(states.isEmpty(rest) ? states.blank() : rest);
  });
}

// Showing

// What the address says. Where it changes meanwhile, the newest is shown, however late an older answer comes.
async function show() {
  running?.abort();
  const mine = running = new AbortController();
  state = states.read(location.hash);
  errorLine.hidden = true;
  keeping.tell("");
  byId("more").hidden = true;
  const isEmpty = states.isEmpty(state);
  results.empty("");
  document.body.classList.toggle("asking", !isEmpty);
  document.title = isEmpty ? `lookalike · ${about.name}` : `${say("search")} · ${about.name}`;
  busy(+1);
  byId("results").setAttribute("aria-busy", "true");
  try {
    await Promise.all([query.render(state, about, actions), isEmpty ? begin(mine.signal) : search(mine.signal)]);
  } catch (error) {
    if (mine === running) nothing(error);
  } finally {
    busy(-1);
  }
  if (mine !== running) return;
  byId("results").removeAttribute("aria-busy");
  document.body.dataset.shown = location.hash;
}

function nothing(error) {
  [shown, answer, title.textContent] = [[], null, ""];
  results.render([], actions);
  fail(error);
}

// What an action has said meanwhile stays where there is nothing to remark.
function remark(text) {
  if (text) keeping.tell(text);
}

async function begin(signal) {
  const { items } = await api.some(24, signal);
  shown = items;
  answer = null;
  query.remember(items);
  title.textContent = items.length ? say("start") : "";
  remark(together.notes(about));
  if (!items.length) results.empty(say("empty"));
  results.render(items, { ...actions, open: (number) => actions.searchWith(shown[number]) }, false);
}

async function search(signal) {
  title.textContent = say("searching");
  if (!shown.length || !answer) results.wait(12);
  const method = about.rerankers.find((one) => one.name === state.order), one = query.onePicture(state);
  if (method?.compares_pictures && !one) throw new api.Refused(0, { code: "no_picture" });
  // A vector is of one encoder; where several search, each needs the picture.
  const isMixed = about.mixes_encoders && state.wanted.concat(state.unwanted).some(({ kind }) => kind === "v");
  if (isMixed && !one) throw new api.Refused(0, { code: "no_picture_for_all" });
  const marked = marking.of(state), asked = api.search(state, signal, (method?.compares_pictures || isMixed) && !one.id ? one : null);
  marked.then(() => filters.render(state, go)).catch(() => {});
  answer = await asked;
  await marked;
  shown = answer.results;
  query.remember(shown);
  const time = make("span", { className: "wide", textContent: ` · ${Math.round(answer.took_ms)} ms` });
  title.replaceChildren(...(shown.length ? [say("found", shown.length, about.images), time] : [say("nothing")]));
  results.render(shown, actions);
  remark(together.notes(answer));
  byId("more").hidden = shown.length < state.count || state.count >= 500;
  if (!shown.length) await nearest(signal);
}

// Nothing was found: what the best would have been, and how to get it.
async function nearest(signal) {
  const asked = state, without = (part) => go({ ...asked, ...part });
  const { results: [best] } = asked.least ? await api.search({ ...asked, least: 0, count: 1 }, signal) : { results: [] };
  if (best) {
    const limit = Math.max(0, Math.floor(100 * best.score) / 100);
    results.empty(say("bestWas", best.score.toFixed(2), readable(best.key)), say("lower", limit.toFixed(2)), () => without({ least: limit }));
  } else if (asked.where) results.empty(say("noneWhere"), say("withoutWhere"), () => without({ where: "" }));
  else results.empty(say("none"));
}

// What the person does

function wire() {
  byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("results").focus(); });
  document.querySelector(".brand").addEventListener("click", (event) => { event.preventDefault(); go(states.blank()); });
  const file = byId("file");
  let side = null;
  const choose = (where) => () => { side = where; file.click(); };
  byId("add-wanted").addEventListener("click", choose("wanted"));
  byId("add-unwanted").addEventListener("click", choose("unwanted"));
  byId("choose").addEventListener("click", () => { side = null; });
  byId("replace").addEventListener("click", choose(null));
  byId("drawer-open").addEventListener("click", (event) => {
    const isOpen = byId("ask").classList.toggle("open");
    event.currentTarget.setAttribute("aria-expanded", String(isOpen));
  });
  file.addEventListener("change", () => { takeFiles(file.files, side); file.value = ""; side = null; });
  byId("clear").addEventListener("click", () => go({ ...states.blank(), text: state.text }));
  byId("more").addEventListener("click", () => go({ ...state, count: Math.min(500, state.count + states.COUNT) }));
  byId("json").addEventListener("click", () => answer && results.saveJson(answer, location.href));
  byId("csv").addEventListener("click", () => answer && results.saveCsv(answer));
  byId("link").addEventListener("click", copyLink);
  byId("count").addEventListener("change", (event) => go({ ...state, count: Math.max(1, Math.min(500, Number(event.target.value) || states.COUNT)) }));
  const least = byId("least");
  least.addEventListener("input", () => { byId("least-shown").textContent = Number(least.value).toFixed(2); });
  // A key that is held down is one search, and one step back.
  let waiting = 0;
  least.addEventListener("change", () => {
    clearTimeout(waiting);
    least.dataset.moving = "true";
    waiting = setTimeout(() => { delete least.dataset.moving; go({ ...state, least: Number(least.value) }); }, 250);
  });
  byId("order").addEventListener("change", (event) => go({ ...state, order: event.target.value }));
  if (about.writable) wireKeeping();
  byId("where-form").addEventListener("submit", (event) => { event.preventDefault(); go({ ...state, where: byId("where").value.trim() }); });
  byId("text-form").addEventListener("submit", (event) => { event.preventDefault(); go({ ...state, text: byId("text").value.trim() }); });
  byId("url-form").addEventListener("submit", (event) => { event.preventDefault(); takeUrl(byId("url").value.trim()); });
  boxes.listen(takeBox);
  addEventListener("popstate", () => { viewer.close(); show(); });
  addEventListener("paste", paste);
  wireDrop();
}

function wireKeeping() {
  actions.takeOut = takeOut;
  byId("keep").hidden = false;
  keeping.listen(keep);
  byId("keep-this").addEventListener("click", () => {
    const { file, name } = pictures.known(state.wanted[0].value);
    keep([file.name ? file : new File([file], name)]);
  });
}

function takeBox(box) {
  const image = state.wanted[0];
  if (image.kind === "i") go({ ...state, box });
  else attempt(async () => go({ ...state, wanted: [await pictures.part(image.value, box)] }));
}

function paste(event) {
  if (event.target.matches("input:not([type=file])")) return;
  const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
  const text = event.clipboardData.getData("text/plain").trim();
  if (files.length) takeFiles(files);
  else if (about.allow_urls && /^https?:\/\//.test(text)) takeUrl(text);
}

function wireDrop() {
  let depth = 0;
  const over = byId("over"), isFile = (event) => [...event.dataTransfer.types].includes("Files");
  const settle = () => { over.hidden = depth <= 0; };
  addEventListener("dragenter", (event) => { if (isFile(event)) { depth++; settle(); } });
  addEventListener("dragleave", (event) => { if (isFile(event)) { depth--; settle(); } });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    settle();
    if (event.dataTransfer.files.length) takeFiles(event.dataTransfer.files);
  });
}

async function copyLink(event) {
  const button = event.currentTarget;
  try { await navigator.clipboard.writeText(location.href); } catch {
    const field = make("input", { value: location.href });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.textContent = say("copied");
  setTimeout(() => { button.textContent = say("copyLink"); }, 1500);
}

async function start() {
  results.wait(12);
  about = await shell.start(fail);
  if (!about) { results.render([], actions); return; }
  errorLine.hidden = true;
  wire();
  await marking.start(about, { attempt, changed: relearned });
  await show();
  document.body.dataset.ready = "true";
}

start();
