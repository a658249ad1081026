// A page that is not public, asked for again with the token of the link or one that a person gives.

import { askForToken, authorization } from "./api.js";

const note = document.getElementById("note");

async function look() {
  const headers = authorization();
  if (headers.Authorization) {
    const response = await fetch(location.pathname + location.search, { headers, cache: "no-store" });
    if (response.ok) {
      const page = await response.text();
      if (response.redirected) history.replaceState(null, "", response.url + location.hash);
      document.open();
      document.write(page);
      document.close();
      return;
    }
    const problem = await response.json().catch(() => ({}));
    note.textContent = problem.detail ?? "Nothing is counted under this name for whoever has this token.";
  }
  const reason = headers.Authorization ? note.textContent : "These counts are not public.";
  if (document.getElementById("token") && (await askForToken(reason))) await look();
}

look().catch(() => (note.textContent = "the reader cannot be reached"));
