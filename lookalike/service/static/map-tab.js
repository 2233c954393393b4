// The map as a tab: what was made before is there at once, and how far a new one is, is told.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import * as shell from "./shell.js";
import { say, sayError } from "./words.js";

const PAUSE = 500; // milliseconds between two looks at how far it is

let data = null;

function fail(error) {
  byId("error").textContent = error.code === "offline" ? say("offline") : error.code ? sayError(error) : say("failed");
  byId("error").hidden = false;
  if (!error.code) console.warn(error);
}

function tell(state) {
  byId("making").hidden = !state.is_running;
  if (!state.is_running) return;
  byId("making-said").textContent = state.version ? say("mapOld") : say("mapMaking", state.done, state.total);
  const bar = byId("progress");
  if (state.total) { bar.max = state.total; bar.value = state.done; } else bar.removeAttribute("value");
}

// The data of what was made before, while the header still waits for its own.
function follow(state) {
  if (state.version) data = api.mapData(state.version).catch(() => null);
  return state;
}

// The script of the map takes its data from the document, as in the page that stands alone.
async function show(state) {
  const places = (await data) ?? (await api.mapData(state.version));
  byId("summary").textContent = say("mapOf", state.images, state.groups);
  for (const part of document.querySelectorAll("#map, #groups, .buttons")) part.hidden = false;
  const sheets = Array.from({ length: state.sheets }, (_, number) => make("img", { className: "sheet", alt: "", src: api.mapSheet(state.version, number) }));
  byId("sheets").append(...sheets, make("script", { type: "application/json", id: "data", textContent: JSON.stringify(places) }));
  document.body.append(make("script", { src: "static/map.js" }));
}

async function start() {
  byId("newer").addEventListener("click", () => location.reload());
  // Asked for at once: where a token is wanted first, again afterwards.
  const early = api.mapState().then(follow).catch(() => null);
  const about = await shell.start(fail);
  if (!about) return;
  byId("error").hidden = true;
  document.title = `${say("map")} · ${about.name}`;
  document.body.dataset.group = say("mapGroup", "{number}", "{count}");
  if (!about.images) { byId("summary").textContent = say("mapEmpty"); document.body.dataset.ready = "true"; return; }
  let state = (await early) ?? (await api.mapState()), shown = 0;
  for (;;) {
    tell(state);
    if (state.version && !shown) { shown = state.version; await show(state); }
    if (!state.is_running && shown) {
      if (state.version !== shown) byId("newer").hidden = false;
      return;
    }
    await new Promise((done) => setTimeout(done, PAUSE));
    state = await api.mapState();
  }
}

start().catch(fail);
