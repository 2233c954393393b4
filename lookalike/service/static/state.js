// What is asked, as the fragment of the address: a link shows the same results, and Back works.
//
//   #q=i.ID,v.VECTOR&n=i.ID&t=words&k=40&s=0.30&r=alpha-qe&w=filter&b=left,top,right,bottom
//
// i. is an image of the collection. v. is the vector of any other picture, which is not kept by the service: its
// float16 numbers are all that a search needs. A fragment is never sent to a server.

export const COUNT = 30;

export function blank() {
  return { wanted: [], unwanted: [], text: "", count: COUNT, least: 0, order: "", where: "", box: null };
}

export function read(hash) {
  const state = blank();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("="), name = part.slice(0, at), value = part.slice(at + 1);
    if (name === "q") state.wanted = images(value);
    else if (name === "n") state.unwanted = images(value);
    else if (name === "t") state.text = decoded(value).slice(0, 2000);
    else if (name === "k") state.count = within(Number(value), 1, 500, COUNT);
    else if (name === "s") state.least = within(Number(value), 0, 1, 0);
    else if (name === "r") state.order = /^[a-z0-9-]{1,40}$/.test(value) ? value : "";
    else if (name === "w") state.where = decoded(value).slice(0, 1024);
    else if (name === "b") state.box = box(value);
  }
  if (!canHaveBox(state)) state.box = null;
  return state;
}

export function write(state) {
  const parts = [];
  if (state.wanted.length) parts.push("q=" + state.wanted.map(word).join(","));
  if (state.unwanted.length) parts.push("n=" + state.unwanted.map(word).join(","));
  if (state.text) parts.push("t=" + encodeURIComponent(state.text));
  if (state.count !== COUNT) parts.push("k=" + state.count);
  if (state.least) parts.push("s=" + state.least.toFixed(2));
  if (state.order) parts.push("r=" + state.order);
  if (state.where) parts.push("w=" + encodeURIComponent(state.where));
  if (state.box && canHaveBox(state)) parts.push("b=" + state.box.map(Math.round).join(","));
  return parts.length ? "#" + parts.join("&") : "";
}

export const isEmpty = (state) => !state.wanted.length && !state.text;
export const isSame = (one, other) => one.kind === other.kind && one.value === other.value;

// A region goes with an image that the service has; of any other picture it is in the vector already.
const canHaveBox = (state) => state.wanted.length === 1 && state.wanted[0].kind === "i";
const word = (image) => `${image.kind}.${image.value}`;

function images(text) {
  return text.split(",").slice(0, 16).map((one) => ({ kind: one[0], value: one.slice(2) }))
    .filter((one) => "iv".includes(one.kind) && /^[A-Za-z0-9_-]+$/.test(one.value));
}

function box(text) {
  const corners = text.split(",").map(Number);
  return corners.length === 4 && corners.every(Number.isFinite) && corners[2] > corners[0] && corners[3] > corners[1] ? corners : null;
}

// Nothing of what is not percent-encoded as it should be.
export function decoded(text) {
  try { return decodeURIComponent(text); } catch { return ""; }
}

const within = (number, low, high, otherwise) => (number >= low && number <= high ? number : otherwise);
