// Every request of the page: where it goes, with which key, and what an error says.

import { parsed } from "./sse.js";

/** What went wrong with a request. `status` is 0 where the server did not answer. */
export class ApiError extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

const KEY = "tp.key";
let askKey = async () => null;

/** Say who asks the user for the server's key: a function of (whether one was refused) to the key or null. */
export function setKeyPrompt(prompt) {
  askKey = prompt;
}

const storedKey = () => {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return keptKey;
  }
};
let keptKey = null;

function storeKey(key) {
  keptKey = key;
  try {
    if (key === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, key);
  } catch {
    // Kept for as long as the page is open.
  }
}

/** Take the key out of the link that the server printed; what follows # never leaves the browser. */
function takeKey() {
  const found = /^#key=([\w-]+)$/.exec(location.hash);
  if (found === null) return false;
  storeKey(found[1]);
  history.replaceState(history.state, "", location.pathname);
  return true;
}

takeKey();
addEventListener("hashchange", () => takeKey() && location.reload());

let asking = null;
let declined = false;

/** One prompt, however many requests were refused at once; once declined, only what the user does asks again. */
async function newKey(refused, background) {
  if (storedKey() !== refused) return storedKey();
  if (background && declined) return null;
  asking ??= askKey(refused !== null).finally(() => {
    asking = null;
  });
  const key = await asking;
  declined = key === null;
  if (!declined) storeKey(key);
  return key;
}

async function send(path, { method, body, signal, background = false }) {
  let key = storedKey();
  for (;;) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key !== null) headers.Authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, {
        method: method ?? (body === undefined ? "GET" : "POST"),
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is “tp serve” still running?");
    }
    if (response.status !== 401) return response;
    key = await newKey(key, background);
    if (key === null) throw new ApiError("The server wants a key.", 401, "no_key");
  }
}

async function failure(response) {
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch {
    // Not JSON: the status must do.
  }
  const waits = response.headers.get("Retry-After");
  const fallback = {
    404: "The server does not know this.",
    429: "The server is busy.",
    503: "The server is still loading.",
  }[response.status];
  const message = said.message || fallback || `The server answered ${response.status}.`;
  return new ApiError(waits ? `${message} Try again in ${waits} s.` : message, response.status, said.code ?? "");
}

/** The JSON that the server answers; throws `ApiError`, or `AbortError` where `signal` says so. */
export async function request(path, options = {}) {
  const response = await send(path, options);
  if (!response.ok) throw await failure(response);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server's answer could not be read.", response.status);
  }
}

/** The events of a stream, {event, data}, data parsed; `[DONE]` ends it. An event `error` is thrown. */
export async function* stream(path, options = {}) {
  const response = await send(path, options);
  if (!response.ok) throw await failure(response);
  try {
    for await (const { event, data } of parsed(response.body)) {
      if (data === "[DONE]") return;
      let value;
      try {
        value = JSON.parse(data);
      } catch {
        throw new ApiError("The server's stream could not be read.", response.status);
      }
      if (event === "error" || value?.error) {
        const error = value.error ?? value;
        throw new ApiError(error.message ?? "The server stopped.", response.status, error.code ?? "");
      }
      yield { event, data: value };
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    throw new ApiError("The connection broke before the answer was whole.");
  }
}

/** A path with its query, values left out that say nothing. */
export function address(path, query) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") given.set(name, value);
  }
  return `${path}?${given}`;
}

export const isAbort = (error) => error?.name === "AbortError";
