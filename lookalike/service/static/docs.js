// The API on a page of its own, made from the service's description of it: nothing is asked of anybody else.

import * as api from "./api.js";
import { byId, make } from "./dom.js";
import { say, sayError, translate } from "./words.js";

let schemas = {};

const named = (schema) => schema?.$ref?.split("/").at(-1);
const seen = (schema) => (schema?.$ref ? schemas[named(schema)] : schema) || {};

// A schema in a few words: its type, its bounds, the other way it may be.
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return named(schema);
  if (schema.anyOf || schema.oneOf) return [...new Set((schema.anyOf || schema.oneOf).map(kind))].join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${kind(schema.items) || "…"}]`;
  const bounds = [["≥", schema.minimum ?? schema.exclusiveMinimum], ["≤", schema.maximum]].filter(([, bound]) => bound !== undefined);
  return [schema.format === "binary" ? "file" : schema.type || "any", ...bounds.map((bound) => bound.join(" "))].join(" ");
}

function fields(schema) {
  const whole = seen(schema), wanted = new Set(whole.required || []);
  const rows = Object.entries(whole.properties || {}).map(([name, one]) => make("tr", {},
    make("td", {}, make("code", { textContent: name + (wanted.has(name) ? "" : "?") })),
    make("td", {}, make("code", { textContent: kind(one) })),
    make("td", { textContent: [one.description, one.default !== undefined && one.default !== null ? `(${JSON.stringify(one.default)})` : ""].filter(Boolean).join(" ") })));
  return rows.length ? [make("table", {}, make("tbody", {}, ...rows))] : [make("code", { textContent: kind(schema) })];
}

function body(operation) {
  return Object.entries(operation.requestBody?.content || {}).flatMap(([type, { schema }]) => {
    const example = seen(schema).examples?.[0];
    return [make("h4", { textContent: `${say("docsBody")}: ${type}` }), ...fields(schema), ...(example ? [make("pre", { tabIndex: 0, textContent: JSON.stringify(example, null, 2) })] : [])];
  });
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, { description, content }]) => {
    const schema = Object.values(content || {})[0]?.schema;
    return make("tr", {}, make("td", {}, make("code", { textContent: status })), make("td", {}, make("code", { textContent: kind(schema) })), make("td", { textContent: description }));
  });
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1].content?.["application/json"]?.schema;
  return [make("h4", { textContent: say("docsAnswers") }), ...(good ? fields(good) : []), make("table", {}, make("tbody", {}, ...rows))];
}

function parameters(operation) {
  const rows = (operation.parameters || []).map((one) => make("tr", {},
    make("td", {}, make("code", { textContent: one.name + (one.required ? "" : "?") })), make("td", {}, make("code", { textContent: kind(one.schema) })), make("td", { textContent: one.description || one.schema?.description || one.in })));
  return rows.length ? [make("h4", { textContent: say("docsParameters") }), make("table", {}, make("tbody", {}, ...rows))] : [];
}

function route(path, method, operation) {
  const [first] = (operation.description || operation.summary || "").split("\n");
  const details = make("details", { className: "route" }, make("summary", {}, make("code", { className: "method", textContent: method.toUpperCase() }), make("code", { textContent: path }), make("span", { className: "soft", textContent: first })));
  // Made when it is looked at: most are not.
  details.addEventListener("toggle", () => { details.append(make("div", {}, ...(operation.description !== first ? [make("p", { textContent: operation.description })] : []), ...parameters(operation), ...body(operation), ...answers(operation))); }, { once: true });
  return details;
}

async function start() {
  translate();
  document.title = `${say("docsTitle")} · lookalike`;
  byId("title").textContent = say("docsTitle");
  byId("help").textContent = say("docsHelp");
  try {
    const document_ = await api.openapi();
    schemas = document_.components.schemas;
    byId("description").textContent = document_.info.description;
    const tags = new Map();
    for (const [path, methods] of Object.entries(document_.paths)) for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] || "";
      tags.set(tag, [...(tags.get(tag) || []), route(path, method, operation)]);
    }
    byId("routes").replaceChildren(...[...tags].map(([tag, routes]) => make("section", {}, make("h3", { textContent: tag }), ...routes)));
  } catch (error) {
    byId("error").textContent = sayError(error);
    byId("error").hidden = false;
  }
  document.body.dataset.ready = "true";
}

start();
