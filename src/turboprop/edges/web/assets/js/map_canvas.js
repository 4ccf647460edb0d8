// The map as it is drawn and moved: points, what is lit, names of folders; zoom and pan by wheel, fingers and keys.

import { h } from "./dom.js";
import { visible } from "./format.js";
import { colourOf } from "./map_groups.js";
import { isDark } from "./theme.js";

const MOST_ZOOM = 60;
const MARGIN = 28;
/** Pixels at the top that the search field covers. */
const HEAD = 48;
const MOST_STRETCH = 1.6;
/** Pixels around the pointer in which a point is meant. */
const REACH = 9;

/** A canvas; `hovered(point index or -1, x, y)` and `chosen(index)` are told of what is pointed at. */
export function mapCanvas({ hovered, chosen }) {
  const canvas = h("canvas", {
    class: "map-canvas",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "map",
  });
  const pen = canvas.getContext("2d");
  const probe = h("span", { hidden: true });
  let scene = { points: [], groupOf: [], groups: [] };
  let lit = new Map();
  let only = null;
  let ringed = -1;
  let view = { scale: 1, x: 0, y: 0 };
  let size = { width: 0, height: 0 };
  let bounds = { left: -1, right: 1, bottom: -1, top: 1 };
  let unit = { x: 1, y: 1 };
  let frame = 0;

  const paint = () => {
    frame ||= requestAnimationFrame(draw);
  };

  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  /** Pixels of one unit along the axes: all points fit, and neither axis is stretched much beside the other. */
  function measure() {
    const wide = Math.max(40, size.width - 2 * MARGIN) / (bounds.right - bounds.left || 1);
    const high = Math.max(40, size.height - 2 * MARGIN - HEAD) / (bounds.top - bounds.bottom || 1);
    unit = { x: Math.min(wide, high * MOST_STRETCH), y: Math.min(high, wide * MOST_STRETCH) };
  }

  const screenX = (point) =>
    size.width / 2 + view.x + (point.x - (bounds.left + bounds.right) / 2) * unit.x * view.scale;
  // Screens count downwards.
  const screenY = (point) =>
    (size.height + HEAD) / 2 + view.y - (point.y - (bounds.top + bounds.bottom) / 2) * unit.y * view.scale;

  function draw() {
    frame = 0;
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(size.width * ratio) || canvas.height !== Math.round(size.height * ratio)) {
      canvas.width = Math.round(size.width * ratio);
      canvas.height = Math.round(size.height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, size.width, size.height);
    const dark = isDark();
    const radius = Math.min(7, 2.6 * Math.sqrt(view.scale) * (scene.points.length > 2500 ? 0.8 : 1));
    const dim = lit.size > 0 || only !== null;
    scene.groups.forEach((group, at) => {
      pen.fillStyle = colourOf(group, dark);
      pen.globalAlpha = only === at ? 0.95 : dim ? 0.36 : 0.8;
      pen.beginPath();
      scene.points.forEach((point, index) => {
        if (scene.groupOf[index] !== at || lit.has(index)) return;
        const x = screenX(point);
        const y = screenY(point);
        if (x < -9 || y < -9 || x > size.width + 9 || y > size.height + 9) return;
        pen.moveTo(x + radius, y);
        pen.arc(x, y, radius, 0, 2 * Math.PI);
      });
      pen.fill();
    });
    drawNames();
    drawLit(radius);
    if (ringed >= 0) drawRing(scene.points[ringed], radius + 5);
    pen.globalAlpha = 1;
  }

  function drawLit(radius) {
    const accent = colour("--accent");
    const paper = colour("--paper");
    // The best on top.
    const ordered = [...lit].sort((one, other) => other[1] - one[1]);
    for (const [index, rank] of ordered) {
      const x = screenX(scene.points[index]);
      const y = screenY(scene.points[index]);
      const wide = radius + 3.2 - Math.min(2.2, rank * 0.16);
      pen.fillStyle = accent;
      pen.globalAlpha = 0.2;
      pen.beginPath();
      pen.arc(x, y, wide + 6, 0, 2 * Math.PI);
      pen.fill();
      pen.globalAlpha = 1;
      pen.beginPath();
      pen.arc(x, y, wide, 0, 2 * Math.PI);
      pen.fill();
      pen.lineWidth = 1.5;
      pen.strokeStyle = paper;
      pen.stroke();
    }
  }

  function drawRing(point, radius) {
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(screenX(point), screenY(point), radius, 0, 2 * Math.PI);
    pen.stroke();
  }

  /** A folder's name stands where its points are thickest; names that would overlap are left out. */
  function drawNames() {
    pen.font = `600 12px ${getComputedStyle(canvas).fontFamily}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.globalAlpha = 1;
    const taken = [];
    scene.groups.forEach((group, at) => {
      if (group.hue === null || (only !== null && only !== at) || !group.middle) return;
      const x = screenX(group.middle);
      const y = screenY(group.middle);
      const label = visible(group.label);
      const wide = pen.measureText(label).width / 2 + 8;
      if (x < 0 || x > size.width || y < 0 || y > size.height) return;
      if (taken.some((box) => Math.abs(box.x - x) < box.wide + wide && Math.abs(box.y - y) < 20)) return;
      taken.push({ x, y, wide });
      pen.lineWidth = 4;
      pen.strokeStyle = colour("--paper");
      pen.strokeText(label, x, y);
      pen.fillStyle = colour("--ink");
      pen.fillText(label, x, y);
    });
  }

  function at(x, y) {
    let best = -1;
    let least = REACH * REACH;
    scene.points.forEach((point, index) => {
      // What is lit is meant rather than what lies beside it.
      const distance = (screenX(point) - x) ** 2 + (screenY(point) - y) ** 2 - (lit.has(index) ? 30 : 0);
      if (distance < least) {
        least = distance;
        best = index;
      }
    });
    return best;
  }

  function zoom(factor, x = size.width / 2, y = size.height / 2) {
    const scale = Math.min(MOST_ZOOM, Math.max(0.6, view.scale * factor));
    const real = scale / view.scale;
    const middle = { x: size.width / 2, y: (size.height + HEAD) / 2 };
    view = {
      scale,
      x: x - middle.x - (x - middle.x - view.x) * real,
      y: y - middle.y - (y - middle.y - view.y) * real,
    };
    paint();
  }

  function fit() {
    view = { scale: 1, x: 0, y: 0 };
    paint();
  }

  function move(x, y) {
    view = { ...view, x: view.x + x, y: view.y + y };
    paint();
  }

  function ring(index) {
    if (index === ringed) return;
    ringed = index;
    canvas.classList.toggle("pointing", index >= 0);
    paint();
  }

  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = { x: event.offsetX, y: event.offsetY };
    const before = fingers.get(event.pointerId);
    if (!before) {
      const index = at(here.x, here.y);
      ring(index);
      hovered(index, here.x, here.y);
      return;
    }
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const wide = Math.hypot(before.x - other.x, before.y - other.y) || 1;
      zoom(Math.hypot(here.x - other.x, here.y - other.y) / wide, (here.x + other.x) / 2, (here.y + other.y) / 2);
      moved = 99;
    } else {
      moved += Math.hypot(here.x - before.x, here.y - before.y);
      if (moved > 4) {
        move(here.x - before.x, here.y - before.y);
        hovered(-1, 0, 0);
      }
    }
    fingers.set(event.pointerId, here);
  });
  const lifted = (event) => {
    const was = fingers.delete(event.pointerId);
    if (!was || event.type !== "pointerup" || moved > 4 || fingers.size > 0) return;
    const index = at(event.offsetX, event.offsetY);
    if (index >= 0) chosen(index);
  };
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("pointerleave", () => {
    ring(-1);
    hovered(-1, 0, 0);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60;
    const does = {
      "+": () => zoom(1.4),
      "=": () => zoom(1.4),
      "-": () => zoom(1 / 1.4),
      0: fit,
      ArrowLeft: () => move(step, 0),
      ArrowRight: () => move(-step, 0),
      ArrowUp: () => move(0, step),
      ArrowDown: () => move(0, -step),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  new ResizeObserver(() => {
    size = { width: canvas.clientWidth, height: canvas.clientHeight };
    measure();
    paint();
  }).observe(canvas);

  return {
    elements: [canvas, probe],
    canvas,
    zoom,
    fit,
    paint,
    ring,
    /** Show other points; what was lit is forgotten. */
    show(given) {
      scene = given;
      scene.groups.forEach((group, number) => {
        const members = scene.points.filter((_, index) => scene.groupOf[index] === number);
        group.middle =
          members.length > 0
            ? { x: median(members.map((point) => point.x)), y: median(members.map((point) => point.y)) }
            : null;
      });
      const across = scene.points.map((point) => point.x);
      const up = scene.points.map((point) => point.y);
      if (across.length > 0)
        bounds = {
          left: least(across),
          right: -least(across.map((x) => -x)),
          bottom: least(up),
          top: -least(up.map((y) => -y)),
        };
      measure();
      lit = new Map();
      only = null;
      ringed = -1;
      fit();
      canvas.setAttribute(
        "aria-label",
        `Map of ${scene.points.length} chunks. Arrow keys move, plus and minus zoom, 0 shows all. The list names them.`,
      );
    },
    /** Light points: a map from index to rank. */
    light(given) {
      lit = given;
      paint();
    },
    /** Show one group alone; null for all. */
    only(group) {
      only = group;
      paint();
    },
    /** Where a point is on the canvas, in CSS pixels. */
    place: (index) => ({ x: screenX(scene.points[index]), y: screenY(scene.points[index]) }),
    scale: () => view.scale,
  };
}

const least = (values) => values.reduce((one, other) => Math.min(one, other));

function median(values) {
  const ordered = values.sort((one, other) => one - other);
  return ordered[ordered.length >> 1];
}
