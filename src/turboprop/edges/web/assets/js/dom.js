// Elements are made here and nowhere from text: whatever a repository or a model says becomes a text node.

import { visiblePart } from "./format.js";

const FORBIDDEN = /^(on|style$|srcdoc$)/i;
/** Attributes that people read. */
const READ = /^(title|aria-label|placeholder)$/;

/**
 * An element. Of `props`, functions named `onX` become listeners, true and false set or leave out an attribute,
 * `dataset` and everything else become attributes. Children are nodes, texts, arrays of them, or nothing.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function" && name.startsWith("on"))
      element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (FORBIDDEN.test(name)) throw new Error(`the attribute ${name} is not set from here`);
    else if (READ.test(name)) element.setAttribute(name, visiblePart(String(value)));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return fill(element, ...children);
}

/** Append children to an element and return it. */
export function fill(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(typeof child === "string" ? visiblePart(child) : child);
  }
  return element;
}

/** Put children in the place of all that an element holds. */
export function refill(element, ...children) {
  element.replaceChildren();
  return fill(element, ...children);
}

let lastId = 0;

/** An id that no other element of the page has. */
export function freshId(name) {
  lastId += 1;
  return `${name}-${lastId}`;
}

/** Let `work` run once, `wait` milliseconds after the last call. */
export function debounced(work, wait) {
  let timer = 0;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
