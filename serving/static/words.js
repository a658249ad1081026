// What the pages say when something cannot be shown: what it means for the person, and what to do.

import { ApiError } from "./api.js";

const TOO_MUCH = "That is too much for one chart. Choose a shorter range or larger steps.";
const BY_PARAMETER = {
  start: TOO_MUCH,
  granularity: TOO_MUCH,
  counters: TOO_MUCH,
  keys: TOO_MUCH,
  end: "The range must end after it begins. Choose other dates.",
  compare: "There is no earlier range to compare with.",
  match_weekday: "There is no earlier range to compare with.",
  tz: "This time zone cannot be shown for this count.",
  key: "There is too much of this to show at once, or its name is too long. Choose a shorter range.",
  prefix: "Nothing can be counted under this name: it is too long.",
};

const UNREACHABLE = "The server cannot be reached. Trying again.";
export const PRIVATE = "These counts are private. A token is needed.";

// An error as a sentence. The API's own text is for programmers.
export function explain(error) {
  if (!(error instanceof ApiError)) {
    reportError(error); // a mistake of these scripts
    return "This page cannot show the counts. Reload it.";
  }
  if (error.status === 0) return UNREACHABLE;
  if (error.status === 400) {
    const known = error.errors.find((one) => BY_PARAMETER[one.parameter]);
    return known ? BY_PARAMETER[known.parameter] : "This cannot be shown. Choose another range.";
  }
  if (error.status === 401) return PRIVATE;
  if (error.status === 403) return "Your token does not give access to these counts.";
  if (error.status === 429) return "Too many requests. Trying again shortly.";
  return "The counts are not available right now. Trying again.";
}
