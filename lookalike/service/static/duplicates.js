// Duplicates: groups found in the background, looked through with the keyboard, and their spare files put into the trash.

import * as api from "./api.js";
import * as copies from "./copies.js";
import { Decisions } from "./decisions.js";
import { byId, make, readable, save } from "./dom.js";
import { cell } from "./csv.js";
import * as shell from "./shell.js";
import * as together from "./together.js";
import { VirtualList } from "./virtual.js";
import { say, sayError } from "./words.js";

const PAUSE = 500; // milliseconds between two looks at how far it is
const PART = 50; // groups that are fetched at once
const ROW = 220, HEADER = 56; // CSS pixels, as the style has it

let about = null, run = null, groups = new Map(), asked = new Set(), decisions = new Decisions(), watching = false, isWalking = false;

const list = new VirtualList(byId("list"), { height: ROW, row: (number) => copies.row(number, groups.get(number), decisions, actions), need });
const actions = { writable: false, toggle, keepOnly, apart };

function fail(error) {
  byId("error").textContent = error.code === "offline" ? say("offline") : error.code ? sayError(error) : say("failed");
  byId("error").hidden = false;
  if (!error.code) console.warn(error);
}

async function attempt(change) {
  byId("error").hidden = true;
  try { await change(); } catch (error) { fail(error); }
}

function tell(text) {
  byId("note").textContent = text;
  byId("note").hidden = !text;
}

// Groups

async function need(from, to) {
  for (let part = Math.floor(from / PART); part * PART < to; part++) {
    if (asked.has(part)) continue;
    asked.add(part);
    const mine = run.run;
    api.duplicates(part * PART, PART).then((state) => {
      if (mine !== run.run) return;
      for (const group of state.groups) { groups.set(group.number, group); list.again(group.number); }
    }).catch((error) => { asked.delete(part); fail(error); });
  }
}

function show(state) {
  const isNew = run?.run !== state.run?.run;
  run = state.run;
  if (isNew) { decisions = new Decisions(); list.current = Number(/g=(\d+)/.exec(location.hash)?.[1] ?? 0); }
  byId("sum").hidden = byId("hint").hidden = !run?.groups_total;
  byId("title").textContent = run ? say("groupsFound", run.groups_total) : say("duplicatesTitle");
  const empty = byId("empty");
  empty.hidden = Boolean(run?.groups_total);
  empty.replaceChildren(make("p", { textContent: run ? say("noDuplicates") : say("duplicatesHelp") }));
  if (run) { byId("level").value = run.level; byId("rule").value = run.keep; }
  if (run?.unseen) tell(say("unseen", run.unseen));
  groups = new Map();
  asked = new Set();
  list.reset(run?.groups_total ?? 0);
  if (isNew && list.current) list.show(list.current, HEADER);
  sum();
}

function sum() {
  if (!run) return;
  const [files, bytes] = decisions.total(run);
  byId("sum-said").textContent = say("sum", files, say("bytes", bytes));
  byId("trash").disabled = byId("csv").disabled = !files;
  byId("undo").disabled = !decisions.steps.length;
}

// What the person decides

function toggle(group, member) {
  if (decisions.toggle(group, member.id)) tell("");
  else tell(say("keepsOne"));
  changed(group.number);
}

function keepOnly(group, member) {
  decisions.keepOnly(group, member.id);
  changed(group.number);
}

function changed(number) {
  list.current = number;
  list.again(number);
  sum();
}

function apart(group) {
  return attempt(async () => {
    const state = await api.apart(run.run, group.number, false);
    decisions.forget(group.number);
    decisions.remember({ kind: "apart", number: group.number });
    settled(state);
  });
}

function settled(state) {
  run = state.run;
  for (const group of state.groups) { groups.set(group.number, group); changed(group.number); }
  sum();
}

const undo = () => attempt(async () => {
  const step = decisions.undo();
  if (step?.kind === "set") { changed(step.number); list.show(step.number, HEADER); }
  else if (step?.kind === "apart") { settled(await api.apart(run.run, step.number, true)); list.show(step.number, HEADER); }
  else if (step?.kind === "trash") await watch(await api.untrash());
  sum();
});

async function trash() {
  byId("sure").close();
  await attempt(async () => {
    const state = await api.trash(run.run, decisions.toJson(), true);
    decisions = new Decisions();
    decisions.remember({ kind: "trash" });
    await watch(state);
  });
}

// Work in the background

async function watch(state) {
  if (watching) return;
  watching = true;
  let what = null;
  while (state.finding.state === "running" || state.moving.state === "running") {
    what = state.moving.state === "running" ? "moving" : "finding";
    working(state[what]);
    await new Promise((done) => setTimeout(done, PAUSE));
    state = await api.duplicates(0, 0);
  }
  watching = false;
  what ??= "moving";
  working(null);
  if (state[what].state === "failed") fail(state[what].error);
  show(state);
  if (what === "moving" && state.moving.outcome) tell(outcome(state.moving));
}

function working(job) {
  byId("working").hidden = !job;
  byId("find").disabled = byId("trash").disabled = Boolean(job);
  if (!job) return;
  const bar = byId("progress");
  if (job.total) { bar.max = job.total; bar.value = job.done; } else bar.removeAttribute("value");
  byId("working-said").textContent = say(job.what === "find" ? "finding" : job.what === "undo" ? "puttingBack" : "moving", job.done, job.total);
  if (job.what === "find" && !run) { byId("empty").hidden = true; byId("title").textContent = say("findingTitle"); }
}

function outcome({ what, outcome: ended }) {
  const said = [say(what === "undo" ? "putBack" : "movedAway", ended.moved)];
  return [...said, ...ended.reasons.map(({ key, reason }) => say("staysHere", readable(key), reason))].join("\n");
}

async function listFiles() {
  const plan = await api.plan(run.run, decisions.toJson(), true);
  const lines = [...plan.keys.map((key) => ["trash", key, ""]), ...plan.reasons.map(({ key, reason }) => ["stays", key, reason])];
  save("duplicates.csv", "text/csv", [["what", "key", "reason"], ...lines].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n");
}

async function showJournal() {
  const { total, moved } = await api.journal();
  byId("journal-title").textContent = say("journalTitle", total);
  byId("journal-all").replaceChildren(...moved.map(({ key, at }) => make("li", {}, make("span", { textContent: readable(key) }), make("span", { className: "soft", textContent: at.slice(0, 16).replace("T", " ") }))));
  byId("journal").showModal();
}

// The keyboard

function focused() {
  const group = document.activeElement?.closest?.(".group");
  return group ? Number(group.dataset.number) : null;
}

function go(by) {
  const at = focused() ?? (isWalking ? list.current : list.current - by), next = Math.max(0, Math.min(list.count - 1, at + by));
  isWalking = true;
  const row = list.show(next, HEADER + 8);
  (row?.querySelector(".pick:enabled") ?? row)?.focus({ preventScroll: true });
  history.replaceState(null, "", `#g=${next}`);
}

function beside(by) {
  const picks = [...document.activeElement.closest(".group").querySelectorAll(".pick")];
  const at = picks.indexOf(document.activeElement.closest(".copy")?.querySelector(".pick"));
  picks[Math.max(0, Math.min(picks.length - 1, at + by))]?.focus();
}

const KEYS = {
  j: () => go(1), k: () => go(-1), u: undo,
  x: () => document.activeElement.closest(".copy")?.querySelector(".pick").click(),
  n: () => { const group = groups.get(focused()); if (group?.state === "open" && actions.writable) apart(group); },
  ArrowRight: () => beside(1), ArrowLeft: () => beside(-1),
};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select") || document.querySelector("dialog[open]")) return;
  const act = KEYS[event.key];
  if (!act || !run?.groups_total || (event.key.startsWith("Arrow") && focused() === null)) return;
  event.preventDefault();
  act();
}

function wire() {
  byId("find-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => { tell(""); await watch(await api.find(byId("level").value, byId("rule").value)); });
  });
  byId("undo").addEventListener("click", undo);
  byId("csv").addEventListener("click", () => attempt(listFiles));
  byId("trash").addEventListener("click", () => {
    const [files, bytes] = decisions.total(run);
    byId("sure-said").textContent = say("sure", files, say("bytes", bytes));
    byId("sure").showModal();
  });
  byId("sure-yes").addEventListener("click", trash);
  byId("sure-no").addEventListener("click", () => byId("sure").close());
  byId("journal-open").addEventListener("click", () => attempt(showJournal));
  byId("journal-close").addEventListener("click", () => byId("journal").close());
  addEventListener("keydown", press);
}

function choices(select, words) {
  select.replaceChildren(...Object.entries(words).map(([value, textContent]) => make("option", { value, textContent })));
}

async function start() {
  about = await shell.start(fail);
  if (!about) return;
  byId("error").hidden = true;
  document.title = `${say("duplicates")} · ${about.name}`;
  actions.writable = about.writable;
  byId("trash").hidden = byId("journal-open").hidden = !about.writable;
  byId("of-one").hidden = !together.areSeveral();
  choices(byId("level"), say("levels"));
  choices(byId("rule"), say("rules"));
  byId("level").value = "near";
  wire();
  const state = await api.duplicates(0, 0);
  if (state.finding.state === "running" || state.moving.state === "running") watch(state).catch(fail);
  else show(state);
  document.body.dataset.ready = "true";
}

start();
