// The API as the pages ask it: tokens, errors in words, and the reader's own clock.

const TOKEN = "stitch-token";

// The token of a link comes after the #, which no server and no log sees. Others are kept as long as the tab is; a
// frame on another site may have no storage.
const ofLink = new URLSearchParams(location.hash.slice(1)).get("token");
let given = null;

function token() {
  try {
    return ofLink ?? given ?? sessionStorage.getItem(TOKEN);
  } catch {
    return ofLink ?? given;
  }
}

function keep(text) {
  given = text;
  try {
    sessionStorage.setItem(TOKEN, text);
  } catch {
    // it is had by this document alone
  }
}

if (ofLink && window === window.top) keep(ofLink); // other addresses of this page have no #

export function authorization() {
  const held = token();
  return held ? { Authorization: `Bearer ${held}` } : {};
}

export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    const wrong = problem.errors?.map((one) => `${one.parameter}: ${one.detail}`).join("; ");
    super(wrong || problem.detail || `error ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

export function address(path, asked) {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "" && value != null));
  return `${path}?${query}`;
}

// "no-cache" asks with the ETag that the browser holds: what did not change is a 304 without a body.
export async function ask(path, asked, signal) {
  const response = await fetch(address(path, asked), { headers: authorization(), cache: "no-cache", signal });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new ApiError(response.status, problem, Number(response.headers.get("Retry-After")) || 0);
  }
  const date = response.headers.get("Date");
  return { body: await response.json(), now: date ? Date.parse(date) : Date.now() };
}

// Asks for a token until one is given or the person gives up; resolves to whether there is one now.
export function askForToken(reason) {
  const dialog = document.getElementById("token");
  if (dialog.open) return Promise.resolve(false);
  document.getElementById("token-reason").textContent = reason;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const text = dialog.querySelector("input").value;
        if (dialog.returnValue === "use" && text) keep(text);
        dialog.querySelector("input").value = "";
        resolve(dialog.returnValue === "use");
      },
      { once: true },
    );
  });
}

// Polls while the page is seen: every `seconds`, later after errors, at once when the page is seen again.
export function poll(seconds, turn) {
  let timer = 0;
  let failures = 0;
  let running = false;
  const next = (delay) => {
    clearTimeout(timer);
    timer = document.hidden ? 0 : setTimeout(run, delay);
  };
  async function run() {
    if (running) return;
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
      next(1000 * Math.max(wait, seconds * 2 ** Math.min(failures, 4)));
    }
  }
  document.addEventListener("visibilitychange", () => next(0));
  run();
  return run;
}
