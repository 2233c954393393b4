// What all tabs share: the header with its tabs, the switch between collections, and the token.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { login } from "./login.js";
import * as together from "./together.js";
import { say, translate } from "./words.js";

const RETRY = 1000; // milliseconds between two tries while the collection is loaded
const tab = document.body.dataset.tab;

// What is served, once it can be had; `fail(error)` shows why it cannot be.
export async function start(fail) {
  translate();
  mark();
  for (;;) {
    try {
      const about = await api.about();
      if (about.names?.length) about.name = say("all");
      together.know(about);
      tell(about);
      // Nothing waits for the switch.
      offer().catch(() => {});
      return about;
    } catch (error) {
      if (error.status === 401) { await login(); continue; }
      fail(error);
      if (error.status !== 503) return null;
      await new Promise((done) => setTimeout(done, RETRY));
    }
  }
}

export function tell(about) {
  // Where vectors of several encoders do not compare, there is no map of all.
  document.querySelector("a[data-tab=map]").hidden = Boolean(about.mixes_encoders);
  byId("name").textContent = about.name;
  byId("about").textContent = `${about.name} · ${say("pictures", about.images)} · ${about.encoder}`;
}

function mark() {
  for (const link of document.querySelectorAll("[data-tab]")) if (link.tagName === "A" && link.dataset.tab === tab) link.setAttribute("aria-current", "page");
  // A menu closes where something else is pressed, and with Escape.
  const menus = [...document.querySelectorAll("details.menu")];
  addEventListener("pointerdown", (event) => menus.forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; }));
  addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && menus.find((menu) => menu.open);
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
}

// The other collections of this service, and all of them as one; each has the same tabs.
async function offer() {
  const { collections, all } = await api.collections(), select = byId("collections");
  together.list(collections);
  if (collections.length < 2) return;
  const places = [...collections, ...(all ? [{ ...all, name: say("all") }] : [])];
  select.replaceChildren(...places.map(({ name, path }) => make("option", { value: path, textContent: name })));
  select.value = places.find((one) => one.is_this).path;
  select.addEventListener("change", () => { location.href = select.value + (tab === "search" ? "" : tab); });
  byId("switch").hidden = false;
  byId("name").hidden = true;
}
