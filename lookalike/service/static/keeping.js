// Pictures into the collection and out of it, where the service lets that be done.

import * as api from "./api.js";
import { byId, iconButton } from "./dom.js";
import { say, sayError } from "./words.js";

const ARMED = 4000; // milliseconds within which a second press takes a picture out
const note = byId("note");

export function tell(text) {
  note.textContent = text;
  note.hidden = !text;
}

// `onfiles(files)` is called with what is to be added.
export function listen(onfiles) {
  const input = byId("new-files");
  byId("keep").addEventListener("click", () => input.click());
  input.addEventListener("change", () => { const files = [...input.files]; input.value = ""; if (files.length) onfiles(files); });
}

// Adds as many at a time as one request may hold; what is refused is told by name and does not stop the others.
export async function add(files, limits) {
  const items = [], refused = [];
  for (const group of groups(files, limits)) {
    tell(say("adding", items.length, files.length));
    try {
      items.push(...(await api.add(group)).items);
    } catch (error) {
      if (group.length === 1) refused.push(`${group[0].name}: ${sayError(error)}`);
      else for (const file of group) await add([file], limits).then((one) => { items.push(...one.items); refused.push(...one.refused); });
    }
  }
  return { items, refused };
}

function* groups(files, { upload_bytes: most, files: count }) {
  let group = [], bytes = 0;
  for (const file of files) {
    if (group.length && (bytes + file.size > most || group.length === count)) { yield group; group = []; bytes = 0; }
    group.push(file);
    bytes += file.size;
  }
  if (group.length) yield group;
}

// A button that wants to be pressed twice: there is no way back but to index the collection anew.
export function takeOutButton(item, ontaken) {
  let until = 0;
  const button = iconButton("bin", say("takeOut"), "", async () => {
    const label = button.querySelector("span");
    if (Date.now() > until) {
      until = Date.now() + ARMED;
      button.classList.add("armed");
      button.setAttribute("aria-label", label.textContent = say("takeOutReally"));
      setTimeout(() => { button.classList.remove("armed"); button.setAttribute("aria-label", label.textContent = say("takeOut")); }, ARMED);
      return;
    }
    button.disabled = true;
    ontaken(item);
  });
  return button;
}
