// Chips for columns and facts: each adds a test to the filter, or takes it out again.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { say, sayFact } from "./words.js";

const AND = " and ";
let known = null;

export async function render(state, go) {
  const place = byId("facets");
  known ??= (await api.facets()).facets;
  const tests = parts(state.where);
  place.replaceChildren(...known.filter((facet) => facet.values.length).map((facet) => group(facet, tests, state, go)));
}

function group({ name, values }, tests, state, go) {
  const chips = values.map(({ value, count, test }) => {
    const isOn = tests.includes(test);
    const rest = isOn ? tests.filter((one) => one !== test) : [...tests, test];
    const press = () => go({ ...state, where: rest.join(AND) });
    return make("button", { type: "button", className: "chip", ariaPressed: String(isOn), title: test, onclick: press }, `${value} `, make("span", { className: "soft", textContent: count }));
  });
  const heading = sayFact(name);
  return make("div", { className: "facet", role: "group", label: say("filterBy", heading) }, make("span", { className: "soft small", textContent: heading }), ...chips);
}

// The tests of a filter that chips wrote; another filter is one part, to which chips add.
function parts(where) {
  if (!where) return [];
  const tests = known.flatMap((facet) => facet.values.map((one) => one.test)), rest = [];
  const own = where.split(AND).filter((part) => tests.includes(part) || (rest.push(part), false));
  if (!rest.length) return own;
  const kept = rest.join(AND);
  return [/ or /.test(kept) && !/^\(.*\)$/.test(kept) ? `(${kept})` : kept, ...own];
}
