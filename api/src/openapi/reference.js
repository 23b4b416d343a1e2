// Renders /api/v1/openapi.json as a page. Text is only ever set as text.
"use strict";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function resolve(api, schema) {
  const seen = schema && schema.$ref && /^#\/components\/schemas\/(.+)$/.exec(schema.$ref);
  return seen ? api.components.schemas[decodeURIComponent(seen[1])] : schema;
}

function typeName(schema) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf || schema.anyOf) return (schema.oneOf || schema.anyOf).map(typeName).join(" or ");
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(" | ");
  const types = [].concat(schema.type || "anything");
  return types.map((t) => (t === "array" ? "list of " + typeName(schema.items) : t)).join(" or ")
    + (schema.format ? " (" + schema.format + ")" : "");
}

function table(rows) {
  const made = element("table");
  for (const [name, type, required, description] of rows) {
    const row = made.insertRow();
    row.append(element("td", "name", name + (required ? "" : "?")), element("td", "type", type), element("td", "", description || ""));
  }
  return made;
}

function fields(api, schema) {
  const whole = resolve(api, schema) || {};
  const parts = whole.allOf ? whole.allOf.map((s) => resolve(api, s)) : [whole];
  const rows = [];
  for (const part of parts) {
    for (const [name, field] of Object.entries(part.properties || {})) {
      rows.push([name, typeName(field), (part.required || []).includes(name), field.description]);
    }
  }
  return rows.length ? table(rows) : element("p", "type", typeName(schema));
}

function body(api, title, content) {
  const out = element("section");
  out.append(element("h3", "", title));
  for (const [kind, media] of Object.entries(content || {})) {
    out.append(element("p", "type", kind + ": " + typeName(media.schema)), fields(api, media.schema));
  }
  return out;
}

function operation(api, path, method, op) {
  const article = element("article");
  article.id = op.operationId;
  const heading = element("h2");
  heading.append(element("span", "method " + method, method.toUpperCase()), element("code", "", path));
  article.append(heading, element("p", "", [op.summary, op.description].filter(Boolean).join(" ")));
  if (op.security && op.security.every((s) => Object.keys(s).length === 0)) article.append(element("p", "type", "needs no token"));
  if ((op.parameters || []).length) {
    article.append(element("h3", "", "Parameters"));
    article.append(table(op.parameters.map((p) => [p.name, p.in + ", " + typeName(p.schema), p.required, p.description])));
  }
  if (op.requestBody) article.append(body(api, "Request", op.requestBody.content));
  for (const [status, response] of Object.entries(op.responses || {})) {
    article.append(body(api, status + " " + (response.description || ""), response.content));
  }
  return article;
}

async function show() {
  const api = await (await fetch("/api/v1/openapi.json")).json();
  const contents = document.getElementById("contents");
  const operations = document.getElementById("operations");
  contents.append(element("h1", "", api.info.title + " " + api.info.version));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      if (!item[method]) continue;
      const link = element("a", "", method.toUpperCase() + " " + path);
      link.href = "#" + item[method].operationId;
      contents.append(link);
      operations.append(operation(api, path, method, item[method]));
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show();
