// Small ways to make elements. Text is always set as text: no name of a file can become markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "label") element.setAttribute("aria-label", value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const PATHS = {
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Zm4.8 11.3L20 20",
  add: "M12 5v14M5 12h14",
  less: "M5 12h14",
  same: "M5 12.5l4.5 4.5L19 7.5",
  different: "M5 9.5h14M5 14.5h14M15.5 5l-7 14",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  why: "M9.2 9a3 3 0 1 1 4.2 2.8c-1 .5-1.4 1-1.4 2.2m0 3.2v.1",
};

export function drawn(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// With words beside the icon, or, where it is one of many, with the name of what it is about for who cannot see that.
export function iconButton(icon, word, name, onclick) {
  const picture = drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  picture.append(drawn("path", { d: PATHS[icon] }));
  const label = name ? `${word}: ${name}` : word;
  const shown = name ? [] : [make("span", { textContent: word })];
  return make("button", { type: "button", className: name ? "icon" : "icon wordy", title: word, label, onclick }, picture, ...shown);
}

// Names may hold half a character, which nothing can show.
export const readable = (text) => (text.toWellFormed ? text.toWellFormed() : text);

export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
