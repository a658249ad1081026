// A series as a line without axes, small enough for a tile.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];

export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("spark");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

// counts: numbers, decimal strings, or null where a count is not known.
export function draw(svg, counts) {
  const known = counts.map((count) => (count === null ? null : Number(count)));
  const values = known.filter((count) => count !== null);
  const [low, high] = [Math.min(0, ...values), Math.max(1, ...values)];
  const step = WIDTH / Math.max(1, known.length - 1);
  const at = (count) => HEIGHT - 2 - ((count - low) / (high - low)) * (HEIGHT - 4);
  const line = known
    .map((count, n) => {
      if (count === null) return "";
      const begins = n === 0 || known[n - 1] === null;
      return `${begins ? "M" : "L"}${(n * step).toFixed(1)} ${at(count).toFixed(1)}`;
    })
    .join("");
  const [path] = svg.children;
  if (path.getAttribute("d") !== line) path.setAttribute("d", line);
}
