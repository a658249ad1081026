// A page that is not public, asked for again with the token of the link or one that a person gives.

import { askForToken, authorization } from "./api.js";

const note = document.getElementById("note");
const button = document.getElementById("retoken"); // none in a frame, where nobody is asked

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
    note.textContent = "This token does not give access to these counts.";
  }
  if (!button) return;
  button.hidden = false;
  if (await askForToken(headers.Authorization ? note.textContent : "These counts are private.")) await look();
}

const failed = () => (note.textContent = "The server cannot be reached. Reload the page to try again.");
look().catch(failed);
button?.addEventListener("click", async () => {
  if (await askForToken("These counts are private.")) look().catch(failed);
});
