// Pictures that are not in the collection: kept by this page alone, for as long as its tab is open.

import * as api from "./api.js";

const kept = new Map();
const PREFIX = "lookalike:", SIDE = 360;

// vector -> { url, name, width, height, file, box, whole, here }
export const known = (vector) => kept.get(vector) || stored(vector);

export function keep(vector, picture) {
  kept.set(vector, picture);
  store(vector, picture);
}

// A file as an image of the state; the service says whether the collection has it already.
export async function fromFile(file) {
  const local = await opened(file);
  const answer = await api.embedFile(file, null, !local);
  const size = local || answer;
  keep(answer.vector_f16, { url: local?.url || answer.preview, name: file.name, width: size.width, height: size.height, file, here: answer.here });
  return { kind: "v", value: answer.vector_f16 };
}

export async function fromUrl(url) {
  const answer = await api.embedUrl(url);
  if (answer.id) return { kind: "i", value: answer.id };
  const small = Uint8Array.from(atob(answer.preview.split(",")[1]), (letter) => letter.charCodeAt(0));
  const file = new Blob([small], { type: "image/jpeg" });
  keep(answer.vector_f16, { url: answer.preview, name: url, width: answer.width, height: answer.height, file, remote: url });
  return { kind: "v", value: answer.vector_f16 };
}

// A region of a picture that is kept here, or the whole of it again.
export async function part(vector, box) {
  const picture = known(vector), whole = picture.whole || vector;
  if (!box) return { kind: "v", value: whole };
  const answer = picture.remote ? await api.embedUrl(picture.remote, box) : await api.embedFile(picture.file, box, false);
  keep(answer.vector_f16, { ...picture, box, whole, here: null });
  return { kind: "v", value: answer.vector_f16 };
}

async function opened(file) {
  const url = URL.createObjectURL(file), image = new Image();
  image.src = url;
  try {
    await image.decode();
    return { url, width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
}

// After a reload the file is gone, but a small picture of it can still be shown.
async function store(vector, picture) {
  if (!picture.url) return;
  try {
    const image = new Image();
    image.src = picture.url;
    await image.decode();
    const canvas = document.createElement("canvas"), scale = Math.min(1, SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    canvas.width = Math.max(1, image.naturalWidth * scale);
    canvas.height = Math.max(1, image.naturalHeight * scale);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const { name, width, height, box, whole, remote, here } = picture;
    sessionStorage.setItem(PREFIX + vector, JSON.stringify({ name, width, height, box, whole, remote, here, url: canvas.toDataURL("image/jpeg", 0.8) }));
  } catch {
    // The storage is full or forbidden: the picture is then shown until the page is left.
  }
}

function stored(vector) {
  try { return JSON.parse(sessionStorage.getItem(PREFIX + vector)); } catch { return null; }
}
