// A treemap: rectangles whose areas are sizes, as square as they can be (Bruls, Huizing and van Wijk 2000).

/** Languages that have a colour; the others share one. */
const HUES = 8;

/** Folders and files as a tree: {name, path, bytes, files, children}; a file has no children and is `file`. */
export function treeOf(files) {
  const root = { name: "", path: "", bytes: 0, files: 0, children: new Map() };
  for (const file of files) {
    const parts = file.path.split("/");
    const size = Math.max(1, file.bytes);
    let at = root;
    parts.forEach((name, depth) => {
      at.bytes += size;
      at.files += 1;
      const path = parts.slice(0, depth + 1).join("/");
      const isFile = depth === parts.length - 1;
      if (!at.children.has(name))
        at.children.set(name, { name, path, bytes: 0, files: 0, children: isFile ? null : new Map(), file: null });
      at = at.children.get(name);
      if (isFile) Object.assign(at, { bytes: size, files: 1, file });
    });
  }
  return root;
}

/** The folder of a path, null where there is none. */
export function folderAt(root, path) {
  let at = root;
  for (const name of path ? path.split("/") : []) at = at?.children?.get(name);
  return at?.children ? at : null;
}

/** What a folder holds, the largest first; a folder that holds one folder alone is shown as both, a/b. */
export const childrenOf = (folder) =>
  [...folder.children.values()]
    .map((child) => {
      let one = child;
      let name = child.name;
      while (one.children?.size === 1 && [...one.children.values()][0].children) {
        [one] = one.children.values();
        name = `${name}/${one.name}`;
      }
      return { ...one, name };
    })
    .sort((one, other) => other.bytes - one.bytes || (one.path < other.path ? -1 : 1));

/** A rectangle {x, y, w, h} for each size, in its order, which fill `area` together; sizes fall. */
export function squarified(sizes, area) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= 0 || area.w <= 0 || area.h <= 0) return sizes.map(() => ({ x: area.x, y: area.y, w: 0, h: 0 }));
  const scale = (area.w * area.h) / total;
  const found = [];
  let { x, y, w, h } = area;
  let row = [];
  let held = 0;
  const worst = (some, sum) => {
    const side = Math.min(w, h);
    return Math.max((side * side * Math.max(...some)) / (sum * sum), (sum * sum) / (side * side * Math.min(...some)));
  };
  const place = () => {
    const along = w >= h;
    const thick = held / (along ? h : w);
    let at = along ? y : x;
    for (const size of row) {
      const long = size / thick;
      found.push(along ? { x, y: at, w: thick, h: long } : { x: at, y, w: long, h: thick });
      at += long;
    }
    if (along) [x, w] = [x + thick, Math.max(0, w - thick)];
    else [y, h] = [y + thick, Math.max(0, h - thick)];
    [row, held] = [[], 0];
  };
  for (const size of sizes) {
    const next = Math.max(size * scale, 1e-9);
    if (row.length > 0 && worst([...row, next], held + next) > worst(row, held)) place();
    row.push(next);
    held += next;
  }
  if (row.length > 0) place();
  return found;
}

/** Height of a folder's name, and what lies around its content. */
export const HEAD = 19;
const EDGE = 2;
/** Smaller rectangles than this many square pixels are shown together as "n more". */
const LEAST = 110;
const LEAST_FOLDER = { w: 56, h: 46 };

/** The boxes of a folder in an area: {node, x, y, w, h, open}, and {more, of} for what is too small to be shown. */
export function boxes(folder, area) {
  const all = childrenOf(folder);
  const room = (area.w * area.h) / Math.max(1, folder.bytes);
  let shown = all.filter((one) => one.bytes * room >= LEAST);
  if (shown.length === 0) shown = all.slice(0, 1);
  const left = all.slice(shown.length);
  const rest = left.reduce((sum, one) => sum + one.bytes, 0);
  const entries = [...shown.map((node) => ({ node, bytes: node.bytes }))];
  // Together they get room for their number.
  if (left.length > 0) entries.push({ more: left, of: folder, bytes: Math.max(rest, LEAST / room) });
  entries.sort((one, other) => other.bytes - one.bytes);
  const places = squarified(
    entries.map((entry) => entry.bytes),
    area,
  );
  return entries.flatMap((entry, at) => {
    const box = { ...entry, ...places[at] };
    const { node } = entry;
    if (!node?.children || box.w < LEAST_FOLDER.w || box.h < LEAST_FOLDER.h) return [box];
    const inner = { x: box.x + EDGE, y: box.y + HEAD, w: box.w - 2 * EDGE, h: box.h - HEAD - EDGE };
    return [{ ...box, open: true }, ...boxes(node, inner)];
  });
}

/** The languages that have a colour, the largest by bytes first. */
export function topLanguages(root) {
  const sizes = new Map();
  const add = (node) => {
    if (node.file) sizes.set(node.file.language, (sizes.get(node.file.language) ?? 0) + node.bytes);
    else for (const child of node.children.values()) add(child);
  };
  if (root) add(root);
  sizes.delete("");
  return [...sizes].sort((one, other) => other[1] - one[1]).slice(0, HUES).map(([name]) => name);
}

/** The box in a direction whose middle is the least far, sideways counting double; a folder's is in its name. */
export function nearest(drawn, from, [right, down]) {
  const middle = (box) => [box.x + box.w / 2, box.open ? box.y + 9 : box.y + box.h / 2];
  const [x, y] = middle(from);
  let [best, least] = [null, Infinity];
  for (const box of drawn) {
    const [otherX, otherY] = middle(box);
    const ahead = (otherX - x) * right + (otherY - y) * down;
    const aside = Math.abs((otherX - x) * down) + Math.abs((otherY - y) * right);
    const far = ahead + 2 * aside;
    if (box !== from && ahead > 0.5 && far < least) [best, least] = [box, far];
  }
  return best;
}
