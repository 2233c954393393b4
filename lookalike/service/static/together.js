// All collections asked as one: which of them an image is of, the way to it there, and what there is to say of an answer.

import { readable } from "./dom.js";
import { say } from "./words.js";

let names = [], listed = [];

// What is served, and, once they are known, all collections of the service.
export const know = (about) => { names = about.names || []; };
export const list = (collections) => { listed = collections; };

export const areSeveral = () => names.length > 0;

// The collection that an image is of; none where one alone is asked. Its name is the first part of the key.
export const of = (item) => (areSeveral() ? item.key.slice(0, item.key.indexOf("/")) : null);

// The address of an image in its own collection, where its key is the rest.
export function home(item) {
  const name = of(item), place = name === null ? null : listed.find((one) => one.key_prefix === `${name}/`);
  return place ? { name: readable(name), href: `${place.path}#q=i.${rest(item.id)}` } : null;
}

// An id is the bytes of a key as base64url, which need not be text.
function rest(id) {
  const bytes = atob(id.replaceAll("-", "+").replaceAll("_", "/"));
  return btoa(bytes.slice(bytes.indexOf("/") + 1)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// Lines about an answer, or about what is served: who is away, and that scores do not compare.
export function notes({ away = [], mixes_encoders: isMixed = false }) {
  const missing = away.length ? [say("away", away.map(({ name }) => readable(name)).join(", "))] : [];
  return [...missing, ...(isMixed ? [say("isMixed")] : [])].join("\n");
}
