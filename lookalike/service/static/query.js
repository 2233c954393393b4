// The left side: what is looked for, and the ways to say it.

import * as api from "./api.js";
import * as boxes from "./box.js";
import { byId, make, readable } from "./dom.js";
import * as pictures from "./pictures.js";
import { isEmpty, isSame } from "./state.js";
import { say, sayOrder } from "./words.js";

const items = new Map();

// What the service knows of an item, asked once.
export async function facts(id) {
  if (!items.has(id)) items.set(id, api.item(id).catch((error) => { items.delete(id); throw error; }));
  return items.get(id);
}

export const forget = (id) => items.delete(id);

export function remember(found) {
  for (const one of found) items.set(one.id, Promise.resolve(one));
}

// An image of the state as something to show: an address, a name, its size where it has one.
async function shown(image) {
  if (image.kind === "i") {
    const item = await facts(image.value);
    return { url: api.thumbnail(image.value, 640), name: item.key, width: item.width, height: item.height, canSelect: true };
  }
  const known = pictures.known(image.value);
  if (!known) return { url: null, name: say("notKept") };
  return { ...known, name: known.name || say("uploaded"), canSelect: Boolean(known.file || known.remote) };
}

let turn = 0;

export async function render(state, about, actions) {
  const mine = ++turn, single = state.wanted.length === 1 && !state.unwanted.length;
  const all = await Promise.all([...state.wanted, ...state.unwanted].map(shown));
  if (mine !== turn) return;
  const hasPictures = state.wanted.length + state.unwanted.length > 0;
  byId("query").hidden = isEmpty(state);
  byId("picture").hidden = !single;
  byId("several").hidden = single || !hasPictures;
  document.querySelector(".beside").hidden = byId("select").hidden = !single;
  if (!single) byId("whole").hidden = byId("keep-this").hidden = byId("here").hidden = true;
  byId("replace").hidden = byId("clear").hidden = !hasPictures;
  byId("drop").hidden = hasPictures;
  byId("drop").classList.toggle("small", !isEmpty(state));
  byId("options").hidden = isEmpty(state);
  byId("manner").hidden = isEmpty(state);
  byId("url-form").hidden = !about.allow_urls;
  byId("text-form").hidden = !about.reads_text;
  byId("count").value = state.count;
  const least = byId("least");
  if (!least.dataset.moving) {
    least.value = state.least;
    byId("least-shown").textContent = state.least.toFixed(2);
  }
  orders(state, about);
  for (const name of ["text", "where"]) if (document.activeElement !== byId(name)) byId(name).value = state[name];
  if (single) renderOne(state, all[0], about.writable);
  chips(byId("wanted"), state.wanted, all, (image) => actions.remove("wanted", image));
  chips(byId("unwanted"), state.unwanted, all.slice(state.wanted.length), (image) => actions.remove("unwanted", image));
  byId("unlike-title").hidden = !state.unwanted.length;
}

// The only picture that is asked with, where there is one that the service can be shown.
export function onePicture(state) {
  if (state.wanted.length !== 1 || state.unwanted.length || state.text) return null;
  const [image] = state.wanted;
  if (image.kind === "i") return { id: image.value };
  const known = pictures.known(image.value);
  if (known?.remote) return { url: known.remote, box: known.box };
  return known?.file ? { file: known.file, box: known.box } : null;
}

// The ways to order what was found; some compare pictures, and want one.
function orders(state, about) {
  const select = byId("order"), has = Boolean(onePicture(state));
  const all = [{ name: "", compares_pictures: false }, ...about.rerankers];
  if (!all.some((one) => one.name === state.order)) all.push({ name: state.order });
  select.replaceChildren(...all.map((one) => make("option", { value: one.name, textContent: sayOrder(one.name), disabled: Boolean(one.compares_pictures) && !has })));
  select.value = state.order;
}

function renderOne(state, picture, writable) {
  const image = byId("shown"), stage = byId("stage");
  stage.hidden = !picture.url;
  // Its place is there before the picture is, so that nothing moves under a finger that draws on it.
  const ratio = picture.width / picture.height || 1;
  stage.style.setProperty("--ratio", String(Math.max(1 / 6, Math.min(8, ratio))));
  if (picture.url && image.getAttribute("src") !== picture.url) image.src = picture.url;
  image.alt = readable(picture.name);
  byId("picture-name").textContent = readable(picture.name);
  badge(picture.here);
  byId("keep-this").hidden = !writable || !picture.file || Boolean(picture.remote || picture.box || picture.here);
  boxes.show(picture, state.box || picture.box || null);
}

// An upload that the collection has: by its bytes, or by its pixels.
function badge(here) {
  const line = byId("here");
  line.hidden = !here;
  if (here) line.replaceChildren(say(here.by === "bytes" ? "isHere" : "looksHere") + " ", make("a", { href: `#q=i.${here.id}`, textContent: readable(here.key) }));
}

function chips(list, images, all, onremove) {
  list.replaceChildren(...images.map((image, number) => {
    const name = readable(all[number].name);
    const picture = all[number].url ? make("img", { src: all[number].url, alt: name }) : make("span", { className: "no-picture", textContent: name });
    const button = make("button", { type: "button", className: "icon", textContent: "×", label: say("remove", name), onclick: () => onremove(image) });
    return make("li", {}, picture, button);
  }));
}

// Images put into one side of the question; one that is there already stays once.
export function put(list, image) {
  return [...list.filter((one) => !isSame(one, image)), image].slice(-16);
}
