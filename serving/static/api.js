// The API as the pages ask it: tokens, errors, and the reader's own clock.

const TOKEN = "stitch-token";

// The token of a link comes after the #, which no server and no log sees. Others are kept as long as the tab is; a
// frame on another site may have no storage.
const ofLink = new URLSearchParams(location.hash.slice(1)).get("token");
let given = null;

function held() {
  try {
    return given ?? ofLink ?? sessionStorage.getItem(TOKEN);
  } catch {
    return given ?? ofLink;
  }
}

function keep(text) {
  given = text;
  try {
    sessionStorage.setItem(TOKEN, text);
  } catch {
    // this document alone has it
  }
}

if (ofLink && window === window.top) keep(ofLink); // other addresses of this page have no #

export function authorization() {
  const token = held();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export const ROOT = document.documentElement.dataset.root ?? ""; // the path that a proxy serves the reader below
let declined = false; // somebody closed the dialog: it opens again by a button alone

// status: of HTTP, or 0 where nothing answered.
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? `error ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

export function address(path, asked) {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "" && value != null));
  return `${ROOT}${path}?${query}`;
}

// The page of a thing. Only a plain key may stand in a path: others would be changed on the way.
export function link(field, key) {
  const plain = /^[A-Za-z0-9_][A-Za-z0-9_.~-]*$/.test(key);
  return `${ROOT}/stats/${field}${plain ? `/${key}` : `?key=${encodeURIComponent(key)}`}`;
}

// "no-cache" asks with the ETag that the browser holds: what did not change is a 304 without a body.
async function answered(path, asked, signal) {
  const response = await fetch(address(path, asked), { headers: authorization(), cache: "no-cache", signal }).catch(
    (error) => {
      throw error.name === "AbortError" ? error : new ApiError(0, { detail: error.message }, 0);
    },
  );
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(response.status, problem, Number(response.headers.get("Retry-After")) || 0);
}

export async function ask(path, asked, signal) {
  const response = await answered(path, asked, signal);
  const date = response.headers.get("Date");
  return { body: await response.json(), now: date ? Date.parse(date) : Date.now() };
}

// Saves an answer as a file: a link alone could not carry the token.
export async function download(path, asked, name) {
  const response = await answered(path, asked);
  const anchor = document.createElement("a");
  // Spreadsheets know UTF-8 by the mark before it.
  anchor.href = URL.createObjectURL(new Blob(["\ufeff", await response.text()], { type: "text/csv" }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

// Whether there is another token to try, after one was missing or refused. A person who closes the dialog is not asked
// again until `again`.
export async function otherToken(error, again = false) {
  if (![401, 403].includes(error.status) || (declined && !again)) return false;
  const reason = held()
    ? "This token does not give access to these counts. Check it, or use another one."
    : "These counts are private. Enter your access token to see them.";
  declined = !(await askForToken(reason));
  return !declined;
}

// Resolves to whether a token was given.
export function askForToken(reason) {
  const dialog = document.getElementById("token");
  if (dialog.open) return Promise.resolve(false);
  const input = dialog.querySelector("input");
  document.getElementById("token-reason").textContent = reason;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => {
      const used = dialog.returnValue === "use" && input.value !== "";
      if (used) keep(input.value);
      input.value = "";
      resolve(used);
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

// Polls while the page is seen: every `seconds`, later after errors, at once when the page is seen again.
export function poll(seconds, turn) {
  let timer = 0;
  let failures = 0;
  let running = false;
  let again = false;
  const next = (delay) => {
    clearTimeout(timer);
    timer = document.hidden ? 0 : setTimeout(run, delay);
  };
  async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    let wait = 0;
    try {
      await turn();
      failures = 0;
    } catch (error) {
      failures += 1;
      wait = error.retryAfter ?? 0;
    } finally {
      running = false;
      next(again ? 0 : 1000 * Math.max(wait, seconds * 2 ** Math.min(failures, 4)));
      again = false;
    }
  }
  document.addEventListener("visibilitychange", () => next(0));
  run();
  return run;
}
