// Which folders have a colour of their own on the map, and which colour.

const MOST = 10;
// Hues around the accent (35 to 75) are left to what is lit.
const HUES = [255, 150, 322, 98, 200, 288, 125, 350, 228, 172];

/**
 * The group of each point, and the groups: {name, count}, the largest first. The deepest folder that holds
 * everything is the root; the largest folder is split up for as long as there are colours.
 */
export function groupsOf(points) {
  const folders = points.map((point) => point.path.split("/").slice(0, -1));
  const parts = new Map([["", points.map((_, at) => at)]]);
  const whole = new Set();
  for (;;) {
    const largest = [...parts]
      .filter(([name]) => !whole.has(name))
      .sort((one, other) => other[1].length - one[1].length)[0];
    // Nothing to be gained where the largest is small beside the rest.
    if (!largest || (parts.size > 1 && largest[1].length < points.length / (2 * MOST))) break;
    const [name, members] = largest;
    const depth = name ? name.split("/").length : 0;
    const split = new Map();
    for (const at of members) {
      const key = folders[at].length > depth ? folders[at].slice(0, depth + 1).join("/") : name;
      if (!split.has(key)) split.set(key, []);
      split.get(key).push(at);
    }
    if ((split.size === 1 && split.has(name)) || parts.size - 1 + split.size > 2 * MOST) {
      whole.add(name);
      continue;
    }
    parts.delete(name);
    for (const [key, some] of split) parts.set(key, some);
    if (split.has(name)) whole.add(name);
  }
  const ordered = [...parts].sort((one, other) => other[1].length - one[1].length);
  const named = ordered.length > MOST ? ordered.slice(0, MOST - 1) : ordered;
  const others = ordered.slice(named.length).flatMap(([, members]) => members);
  if (others.length > 0) named.push([null, others]);
  const groupOf = new Int16Array(points.length);
  named.forEach(([, members], group) =>
    members.forEach((at) => {
      groupOf[at] = group;
    }),
  );
  const groups = named.map(([name, members], at) => ({
    name: name === null ? "other folders" : name || "(top)",
    count: members.length,
    hue: name === null ? null : HUES[at],
  }));
  // The end of a path tells folders apart, where no other ends alike.
  const ends = groups.map((group) => group.name.split("/").slice(-2).join("/"));
  groups.forEach((group, at) => {
    group.label = ends.indexOf(ends[at]) === ends.lastIndexOf(ends[at]) ? ends[at] : group.name;
  });
  return { groupOf, groups };
}

/** The colour of a group on a dark or a light page. */
export function colourOf({ hue }, dark) {
  if (hue === null) return "oklch(0.62 0.01 250)";
  return dark ? `oklch(0.74 0.105 ${hue})` : `oklch(0.56 0.115 ${hue})`;
}
