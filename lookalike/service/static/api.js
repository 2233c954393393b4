// The service's API: every refusal becomes an Error with the service's code.

export class Refused extends Error {
  constructor(status, { code, message, hint }) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

// Where the service is mounted, which need not be the top of its host; this module lies in its folder `static`.
export const ROOT = new URL("..", import.meta.url).pathname;

async function call(path, options) {
  let response;
  try {
    response = await fetch(ROOT + path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { code: "offline", message: "", hint: "" });
  }
  if (response.status === 204) return null;
  const body = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {};
  });
  if (!response.ok) throw new Refused(response.status, body.error || { code: "failed", message: "", hint: "" });
  return body;
}

const json = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

function form(values) {
  const body = new FormData();
  for (const [name, value] of Object.entries(values)) for (const one of [value].flat()) body.append(name, one);
  return { method: "POST", body };
}

const asked = (image) => (image.kind === "i" ? { id: image.value } : { vector_f16: image.value });

export const about = () => call("v1/collection");
export const collections = () => call("v1/collections");
export const facets = () => call("v1/facets");
export const some = (count, signal) => call(`v1/items?count=${count}`, { signal });
export const item = (id) => call(`v1/items/${id}`);
export const login = (token) => call("v1/login", json({ token }));
export const embedFile = (file, box, preview) =>
  call("v1/embed", form({ file, here: "true", ...(box ? { box: box.join(",") } : {}), ...(preview ? { preview: "true" } : {}) }));
export const embedUrl = (url, box) => call("v1/embed", json({ query: { url }, preview: true, ...(box ? { box } : {}) }));
export const add = (files) => call("v1/items", form({ file: files }));
export const takeOut = (id) => call(`v1/items/${id}`, { method: "DELETE" });
export const marks = (of) => call("v1/marks" + (of ? "?" + new URLSearchParams({ of, count: 1000 }) : ""));
export const mark = (a, b, same) => call("v1/marks", json({ a, b, same }));
export const unmark = (mark) => call(`v1/marks/${mark}`, { method: "DELETE" });
export const learning = () => call("v1/adapt");
export const learn = () => call("v1/adapt", { method: "POST" });
export const unlearn = () => call("v1/adapt", { method: "DELETE" });
export const embedPart = (id, box) => call("v1/embed", json({ query: { id }, box }));

// `picture` stands for the vector of the only query image, where the order depends on its pixels: { file or url, box }.
export function search(state, signal, picture = null) {
  const rest = { k: state.count, exclude_self: true, ...(state.least ? { min_score: state.least } : {}), ...(state.where ? { where: state.where } : {}), ...(state.order ? { rerank: state.order } : {}) };
  const region = picture?.box ? { box: picture.box.join(",") } : {};
  if (picture?.file) return call("v1/search", { ...form({ file: picture.file, ...region, ...rest }), signal });
  return call("v1/search", json({
    ...rest,
    ...(state.wanted.length ? { query: picture ? { url: picture.url } : state.wanted.map(asked) } : {}),
    ...(state.unwanted.length ? { negatives: state.unwanted.map(asked) } : {}),
    ...(state.text ? { text: state.text } : {}),
    ...(state.box || picture?.box ? { box: state.box || picture.box } : {}),
    ...(state.order ? { rerank: [state.order] } : {}),
  }, signal));
}

export function explain(query, file, box, id) {
  const region = box ? { box: box.join(",") } : {};
  if (file) return call("v1/explain", form({ file, item: id, ...region }));
  return call("v1/explain?" + new URLSearchParams({ query, item: id, ...region }));
}

export const thumbnail = (id, size) => `${ROOT}v1/items/${id}/thumbnail?size=${size}`;
export const whole = (id) => `${ROOT}v1/items/${id}/image`;

export const duplicates = (offset, count) => call(`v1/duplicates?${new URLSearchParams({ offset, count })}`);
export const find = (level, keep) => call("v1/duplicates", json({ level, keep }));
export const apart = (run, group, forget) => call("v1/duplicates/apart", json({ run, group, forget }));
export const plan = (run, decisions, others) => call("v1/duplicates/plan", json({ run, decisions, others }));
export const trash = (run, decisions, others) => call("v1/duplicates/trash", json({ run, decisions, others }));
export const untrash = () => call("v1/duplicates/trash", { method: "DELETE" });
export const journal = () => call("v1/duplicates/journal");
export const mapState = () => call("map/state");
export const mapData = (version) => call(`map/data?version=${version}`);
export const mapSheet = (version, number) => `${ROOT}map/sheets/${number}?version=${version}`;
export const openapi = () => call("openapi.json");
