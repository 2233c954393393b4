// A group of copies as a row: the kept one first, the reason, and in what each copy differs.

import * as api from "./api.js";
import { make, readable } from "./dom.js";
import * as together from "./together.js";
import { language, say } from "./words.js";

const SIDE = 240; // pixels of a thumbnail: 96 high, twice as many where the screen is that fine

export function row(number, group, decisions, actions) {
  if (!group) return make("section", { className: "group", role: "listitem", ariaBusy: "true" });
  const kept = group.members[0], isOver = group.state !== "open";
  const label = say("groupIs", number + 1, group.members.length, short(kept));
  const button = (word, name, onclick) => make("button", { type: "button", textContent: say(word), onclick, data: { focus: name } });
  const state = isOver ? [make("span", { textContent: say(group.state === "apart" ? "areApart" : "areSettled") })] : [];
  const act = isOver || !actions.writable ? [] : [button("notDuplicates", "apart", () => actions.apart(group))];
  const head = make("div", { className: "head" }, make("b", { textContent: say("groupNumber", number + 1) }), make("span", { className: "why", textContent: reason(group), title: reason(group) }), ...state, ...act);
  const differing = differences(group.members);
  // Copies of one name are told apart by their folders, those of several collections by these.
  const isOneName = together.areSeveral() || new Set(group.members.map(short)).size < group.members.length;
  const copies = group.members.map((member) => copy(group, member, isOneName ? readable(member.key) : short(member), differing, decisions, actions, isOver));
  return make("section", { className: isOver ? "group over" : "group", role: "listitem", tabIndex: -1, label, data: { number } }, head, make("ol", {}, ...copies));
}

const short = (member) => readable(member.key).split("/").at(-1);
const reason = (group) => (group.reason ? say("keptBecause", short(group.members[0]), group.reason) : say("keptFirst", short(group.members[0])));

function copy(group, member, shown, differing, decisions, actions, isOver) {
  const isGoing = decisions.isGoing(group, member.id), name = readable(member.key);
  const image = make("img", { src: api.thumbnail(member.id, SIDE), alt: "", loading: "lazy", decoding: "async" });
  const mark = make("span", { className: "mark", textContent: say(isGoing ? "goes" : "stays") });
  const pick = make("button", { type: "button", className: "pick", disabled: isOver, ariaPressed: String(!isGoing), label: `${say(isGoing ? "goes" : "stays")}: ${name}`, onclick: () => actions.toggle(group, member), data: { focus: member.id } }, image, mark);
  pick.style.width = `${Math.round(Math.max(64, Math.min(176, (96 * member.width) / Math.max(1, member.height))))}px`;
  const only = isOver || group.members.length < 2 ? [] : [make("button", { type: "button", className: "only", textContent: say("keepOnly"), label: `${say("keepOnly")}: ${name}`, onclick: () => actions.keepOnly(group, member), data: { focus: `only-${member.id}` } })];
  const line = facts(member).map(([fact, text]) => make(differing.has(fact) ? "b" : "span", { textContent: text }));
  const parts = line.flatMap((part, at) => (at ? [" · ", part] : [part]));
  return make("li", { className: "copy" }, pick, ...only, make("p", { textContent: shown, title: name }), make("p", { className: "facts" }, ...parts));
}

function facts(member) {
  const day = member.taken ? new Date(`${member.taken.slice(0, 10)}T12:00`).toLocaleDateString(language) : null;
  const all = [["size", `${member.width}×${member.height}`], ["bytes", say("bytes", member.bytes)], ["quality", member.quality ? `q${member.quality}` : null], ["taken", day], ["format", member.format]];
  return all.filter(([, text]) => text);
}

// The facts in which the copies are not all alike.
function differences(members) {
  const all = members.map((member) => new Map(facts(member)));
  const names = new Set(all.flatMap((one) => [...one.keys()]));
  return new Set([...names].filter((name) => new Set(all.map((one) => one.get(name))).size > 1));
}
