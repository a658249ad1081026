// Rows and lists that are changed where they differ, so that a selection and the focus within them stay.

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function isolated(cell, { text, href }) {
  const kind = href ? "A" : "BDI";
  if (cell.firstElementChild?.tagName !== kind) cell.replaceChildren(document.createElement(kind));
  const [child] = cell.children;
  if (href) {
    if (child.getAttribute("href") !== href) child.href = href;
    if (!child.firstElementChild) child.append(document.createElement("bdi"));
    say(child.firstElementChild, text);
  } else say(child, text);
}

// rows: lists of cells { text, href, name, kind }; the first cell of a row is its heading, `name` is text of somebody
// else's, which may be written from right to left.
export function fill(body, rows) {
  rows.forEach((cells, at) => {
    const line = body.rows[at] ?? body.insertRow();
    cells.forEach((cell, n) => {
      if (!line.cells[n]) line.append(document.createElement(n === 0 ? "th" : "td"));
      const place = line.cells[n];
      if (n === 0) place.scope = "row";
      if (place.className !== (cell.kind ?? "")) place.className = cell.kind ?? "";
      if (cell.way !== undefined) place.dataset.way = cell.way;
      if (cell.name) isolated(place, cell);
      else say(place, cell.text);
    });
    while (line.cells.length > cells.length) line.lastElementChild.remove();
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}
