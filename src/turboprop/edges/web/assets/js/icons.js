// Drawn on a grid of 16, strokes of 1.5, in the colour of the text around them.

const SHAPES = {
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3 13.5 13.5",
  ask: "M2.5 3h11v8h-5L5 13.5V11H2.5zM8 8V7.2c1.3-.3 1.6-2.2 0-2.2-.8 0-1.2.4-1.3 1M8 9.4v.1",
  chat: "M2.5 3h11v8h-5L5 13.5V11H2.5zM5 6h6M5 8.3h4",
  map: "M2.5 2.5h11v11h-11zM8.5 2.5v11M2.5 8h6M8.5 6h5",
  index: "M8 2 14 5 8 8 2 5zM2.5 8 8 10.8 13.5 8M2.5 11 8 13.8 13.5 11",
  models: "M8 1.8 13.5 5v6L8 14.2 2.5 11V5zM2.5 5 8 8.1 13.5 5M8 8.1v6",
  edit: "M3 13l.6-2.8 7-7 2.2 2.2-7 7zM9.5 4.3l2.2 2.2",
  close: "M4 4l8 8M12 4l-8 8",
  stop: "M4.5 4.5h7v7h-7z",
  send: "M8 13V3.5M4 7.3 8 3.3l4 4",
  open: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  light:
    "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  dark: "M13 9.6A5.5 5.5 0 0 1 6.4 3a5.5 5.5 0 1 0 6.6 6.6z",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M8 2.5v11M10 4v8M12 5.5v5",
  tune: "M2.5 4.5h6M11.5 4.5h2M8.5 3v3M2.5 11.5h2M7.5 11.5h6M5.5 10v3",
  down: "M4 6.2 8 10.2 12 6.2",
  help: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M6.3 6.5c.1-2.2 3.5-2.1 3.4 0C9.7 7.7 8 7.7 8 9.2M8 11.3v.1",
  similar: "M3 5.5h4v4H3zM9.5 3h3.5v3.5H9.5zM9.5 9.5h3.5V13H9.5z",
  more: "M8 3v10M3 8h10",
  less: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  warning: "M8 2.2 14.3 13.3H1.7zM8 6.5v3.2M8 11.5v.1",
  good: "M3 8.5 6.5 12 13 4.5",
  download: "M8 2.5v7.5M4.5 6.8 8 10.3l3.5-3.5M2.5 13.3h11",
  refresh: "M13 8a5 5 0 1 1-1.6-3.7M13.3 2v3h-3",
};

const SVG = "http://www.w3.org/2000/svg";

/** An icon; it is decoration, the control around it carries the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 16 16",
    width: 16,
    height: 16,
    class: "icon",
    "aria-hidden": "true",
    focusable: "false",
  })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** The mark of the project: three blades. */
export function mark() {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 32 32",
    width: 22,
    height: 22,
    class: "mark",
    "aria-hidden": "true",
    focusable: "false",
  })) {
    svg.setAttribute(key, value);
  }
  for (const turn of [0, 120, 240]) {
    const blade = document.createElementNS(SVG, "path");
    blade.setAttribute("d", "M16 13.6C13.4 11.8 12 8.9 12.6 3.4c.2-1.6 5.9-1.9 6.8.4 1 2.6-.2 7.1-3.4 9.8z");
    blade.setAttribute("transform", `rotate(${turn} 16 16)`);
    svg.append(blade);
  }
  const hub = document.createElementNS(SVG, "circle");
  for (const [key, value] of Object.entries({ cx: 16, cy: 16, r: 2.6 })) hub.setAttribute(key, value);
  svg.append(hub);
  return svg;
}
