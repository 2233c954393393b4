"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { cell: SIDE, columns: COLUMNS, places, groups, keys, links, ids, islands } = data;
  const colours = Uint8Array.from(atob(data.colours), (letter) => letter.charCodeAt(0));
  const count = keys.length, PER_SHEET = COLUMNS * COLUMNS;
  const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
  const panel = document.getElementById("picture"), hint = document.getElementById("hint");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const sheets = [];

  // Where everything is, in cells.
  const bounds = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  const at = new Map(), members = islands.map(() => []);
  for (let i = 0; i < count; i++) {
    const x = places[2 * i], y = places[2 * i + 1];
    bounds.left = Math.min(bounds.left, x); bounds.right = Math.max(bounds.right, x + 1);
    bounds.top = Math.min(bounds.top, y); bounds.bottom = Math.max(bounds.bottom, y + 1);
    at.set(x + "," + y, i);
    members[groups[i]].push(i);
  }

  // The view: the cell in the middle of the window, and how many CSS pixels a cell has.
  const view = { x: 0, y: 0, scale: 10 };
  let width = 0, height = 0, above = 0, ratio = 1, waiting = false, flight = null, selected = -1;

  // Where the pictures themselves can be had, close ones are as sharp as the screen is.
  const near = new Map(), AT_ONCE = 6;
  let loading = 0;

  function sharp(i, pixels) {
    if (!ids || pixels <= SIDE) return null;
    const size = pixels <= 160 ? 160 : pixels <= 320 ? 320 : 640;
    const known = near.get(i);
    if (known?.size >= size) return known.image;
    if (loading < AT_ONCE && !known?.isLoading) fetchNear(i, size, known);
    return known?.image ?? null;
  }

  async function fetchNear(i, size, known) {
    const image = new Image();
    near.set(i, { ...known, isLoading: true });
    if (near.size > 400) near.delete(near.keys().next().value);
    loading++;
    image.src = `v1/items/${ids[i]}/thumbnail?size=${size}`;
    try { await image.decode(); near.set(i, { image, size }); } catch { near.set(i, { ...known, size: Infinity }); }
    loading--;
    redraw();
  }

  // The whole map in small, drawn once: far out, a frame is then a single copy.
  const overview = document.createElement("canvas");
  const spanX = bounds.right - bounds.left, spanY = bounds.bottom - bounds.top;
  const small = Math.max(1, Math.min(16, Math.floor(4096 / Math.max(spanX, spanY))));
  overview.width = Math.ceil(spanX * small); overview.height = Math.ceil(spanY * small);
  const smallPen = overview.getContext("2d");

  function tile(target, i, x, y, size, inset = 0) {
    const close = target === smallPen ? null : sharp(i, size * (target === pen ? ratio : 1));
    if (close) {
      const side = Math.min(close.naturalWidth, close.naturalHeight);
      target.drawImage(close, (close.naturalWidth - side) / 2, (close.naturalHeight - side) / 2, side, side,
        x + inset, y + inset, size - 2 * inset, size - 2 * inset);
      return;
    }
    const sheet = sheets[Math.floor(i / PER_SHEET)], place = i % PER_SHEET;
    if (sheet) {
      // A pixel less on every side, so that smoothing takes nothing from the neighbours on the sheet.
      target.drawImage(sheet, (place % COLUMNS) * SIDE + 1, Math.floor(place / COLUMNS) * SIDE + 1, SIDE - 2, SIDE - 2,
        x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    } else {
      target.fillStyle = `rgb(${colours[3 * i]},${colours[3 * i + 1]},${colours[3 * i + 2]})`;
      target.fillRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    }
  }

  function drawOverview(from, to) {
    smallPen.imageSmoothingQuality = "high";
    for (let i = from; i < Math.min(to, count); i++)
      tile(smallPen, i, (places[2 * i] - bounds.left) * small, (places[2 * i + 1] - bounds.top) * small, small);
  }

  const toScreen = (x, y) => [(x - view.x) * view.scale + width / 2, (y - view.y) * view.scale + height / 2];
  const toWorld = (x, y) => [(x - width / 2) / view.scale + view.x, (y - height / 2) / view.scale + view.y];

  function draw() {
    waiting = false;
    if (flight) step(performance.now());
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.imageSmoothingQuality = "high";
    if (view.scale <= small) {
      const [x, y] = toScreen(bounds.left, bounds.top);
      pen.drawImage(overview, x, y, overview.width / small * view.scale, overview.height / small * view.scale);
    } else drawTiles();
    if (selected >= 0) { drawSelected(); if (ids) drawPanel(); }
    drawRepresentatives();
    drawNames();
    drawMini();
    canvas.dataset.drawn = String(Number(canvas.dataset.drawn || 0) + 1);
  }

  function drawTiles() {
    const inset = view.scale > 24 ? Math.min(2, view.scale / 40) : 0;
    islands.forEach(([x, y, radius], group) => {
      const [cx, cy] = toScreen(x + 0.5, y + 0.5), reach = (radius + 1) * view.scale;
      if (cx + reach < 0 || cy + reach < 0 || cx - reach > width || cy - reach > height) return;
      for (const i of members[group]) {
        const [px, py] = toScreen(places[2 * i], places[2 * i + 1]);
        if (px > -view.scale && py > -view.scale && px < width && py < height) tile(pen, i, px, py, view.scale, inset);
      }
    });
  }

  function drawSelected() {
    const [x, y] = toScreen(places[2 * selected], places[2 * selected + 1]);
    pen.lineWidth = 3; pen.strokeStyle = dark.matches ? "#6cb2ff" : "#0a66d8";
    pen.strokeRect(x - 1, y - 1, view.scale + 2, view.scale + 2);
  }

  // Far out, each group shows its most typical picture; closer, it gives way to the pictures themselves.
  function drawRepresentatives() {
    const fade = Math.max(0, Math.min(1, (21 - view.scale) / 4));
    if (!fade) return;
    pen.globalAlpha = fade;
    islands.forEach(([x, y, radius, representative]) => {
      const size = Math.max(18, Math.min(76, radius * view.scale * 0.85));
      if (size > radius * view.scale * 2) return;
      const [cx, cy] = toScreen(x + 0.5, y + 0.5), left = cx - size / 2, top = cy - size / 2, corner = size / 7;
      pen.save();
      pen.shadowColor = "#00000088"; pen.shadowBlur = 12; pen.fillStyle = "#fff";
      pen.beginPath(); pen.roundRect(left - 2.5, top - 2.5, size + 5, size + 5, corner + 2); pen.fill();
      pen.shadowBlur = 0;
      pen.beginPath(); pen.roundRect(left, top, size, size, corner); pen.clip();
      tile(pen, representative, left, top, size);
      pen.restore();
    });
    pen.globalAlpha = 1;
  }

  // A group has the name of the folder in which most of it lies.
  const folder = (i) => keys[i].slice(0, Math.max(0, keys[i].lastIndexOf("/"))).split("/").at(-1);
  const names = members.map((group) => {
    const counts = new Map();
    for (const i of group) counts.set(folder(i), (counts.get(folder(i)) || 0) + 1);
    const [name, count] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), ["", 0]);
    return 2 * count > group.length ? name : "";
  });

  function drawNames() {
    pen.font = "600 13px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "top";
    pen.lineWidth = 4; pen.lineJoin = "round";
    pen.strokeStyle = dark.matches ? "#111c" : "#fffc"; pen.fillStyle = dark.matches ? "#f1f1f4" : "#1d1d1f";
    islands.forEach(([x, y, radius], group) => {
      const [cx, cy] = toScreen(x + 0.5, y + 0.5), high = radius * view.scale;
      if (!names[group] || high < 34 || cx < 0 || cx > width || cy + high < 0 || cy + high > height) return;
      pen.strokeText(names[group], cx, cy + high + 4); pen.fillText(names[group], cx, cy + high + 4);
    });
  }

  // Where the window is on the whole map, once it does not show all of it.
  const mini = document.getElementById("mini");

  function drawMini() {
    if (!mini) return;
    mini.hidden = view.scale < 1.3 * fitScale() || width < 620;
    if (mini.hidden) return;
    const side = 150, scale = side / Math.max(spanX, spanY), ink = mini.getContext("2d");
    mini.width = Math.ceil(spanX * scale * ratio); mini.height = Math.ceil(spanY * scale * ratio);
    mini.style.width = `${spanX * scale}px`; mini.style.height = `${spanY * scale}px`;
    ink.drawImage(overview, 0, 0, mini.width, mini.height);
    ink.lineWidth = 2 * ratio; ink.strokeStyle = dark.matches ? "#6cb2ff" : "#0a66d8";
    const [left, top] = toWorld(0, 0), per = scale * ratio;
    ink.strokeRect((left - bounds.left) * per, (top - bounds.top) * per, (width / view.scale) * per, (height / view.scale) * per);
  }
  mini?.addEventListener("pointerdown", (event) => {
    const box = mini.getBoundingClientRect(), share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    fly(bounds.left + share[0] * spanX, bounds.top + share[1] * spanY, view.scale);
  });

  function redraw() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  // Moving

  const fitScale = () => Math.min((width - 40) / spanX, (height - 190) / spanY);

  function limit() {
    view.scale = Math.max(fitScale() / 2, Math.min(256, view.scale));
    view.x = Math.max(bounds.left, Math.min(bounds.right, view.x));
    view.y = Math.max(bounds.top, Math.min(bounds.bottom, view.y));
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    flight = null;
    const [wx, wy] = toWorld(x, y);
    view.scale *= factor;
    limit();
    view.x = wx - (x - width / 2) / view.scale;
    view.y = wy - (y - height / 2) / view.scale;
    limit();
    redraw();
  }

  function pan(dx, dy) {
    flight = null;
    view.x -= dx / view.scale; view.y -= dy / view.scale;
    limit();
    redraw();
  }

  function fly(x, y, scale) {
    if (calm.matches) { Object.assign(view, { x, y, scale }); limit(); }
    else flight = { from: { ...view }, to: { x, y, scale }, start: performance.now() };
    redraw();
  }

  function step(now) {
    const share = Math.min(1, (now - flight.start) / 450), eased = 1 - (1 - share) ** 3;
    const { from, to } = flight;
    view.scale = from.scale * (to.scale / from.scale) ** eased;
    view.x = from.x + (to.x - from.x) * eased;
    view.y = from.y + (to.y - from.y) * eased;
    limit();
    if (share === 1) flight = null; else redraw();
  }

  function fit(animated = true) {
    const target = [(bounds.left + bounds.right) / 2, (bounds.top + bounds.bottom) / 2 + 30 / fitScale(), fitScale()];
    if (animated) fly(...target);
    else { [view.x, view.y, view.scale] = target; limit(); redraw(); }
  }

  const visit = (group) => {
    const [x, y, radius] = islands[group];
    fly(x + 0.5, y + 0.5, Math.min(72, Math.min(width, height - 190) / (2 * radius + 2)));
  };

  // One picture

  const label = (i) => keys[i].toWellFormed ? keys[i].toWellFormed() : keys[i];
  const NAMED = document.body.dataset.group || "Group {number}: {count} pictures";
  const describe = (group) => NAMED.replace("{number}", group + 1).replace("{count}", members[group].length.toLocaleString("en")) + (names[group] ? ` · ${names[group]}` : "");

  function select(i) {
    selected = i;
    panel.hidden = i < 0;
    if (i >= 0) {
      panel.querySelector(".key").textContent = label(i);
      panel.querySelector(".group").textContent = describe(groups[i]);
      drawPanel();
      const link = panel.querySelector("a");
      link.hidden = !links && !ids;
      if (ids) link.href = `./#q=i.${ids[i]}`;
      else if (links) link.href = links[i];
    }
    redraw();
  }

  function drawPanel() {
    const card = panel.querySelector("canvas"), side = Math.round(192 * ratio);
    if (card.width !== side) card.width = card.height = side;
    tile(card.getContext("2d"), selected, 0, 0, side);
  }

  function pictureAt(x, y) {
    const [wx, wy] = toWorld(x, y);
    return at.get(Math.floor(wx) + "," + Math.floor(wy)) ?? -1;
  }

  function press(x, y) {
    const i = pictureAt(x, y);
    if (i >= 0 && view.scale < 14) visit(groups[i]);
    else select(i);
  }

  function neighbour(dx, dy) {
    let x = places[2 * selected], y = places[2 * selected + 1];
    for (let tries = 0; tries < spanX + spanY; tries++) {
      x += dx; y += dy;
      const i = at.get(x + "," + y);
      if (i !== undefined) { select(i); fly(x + 0.5, y + 0.5, view.scale); return; }
    }
  }

  // Mouse and touch

  const fingers = new Map();
  let moved = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY - above]);
    if (fingers.size === 1) moved = 0;
    canvas.classList.add("dragging");
    hint.hidden = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) { hover(event); return; }
    const now = [event.clientX, event.clientY - above];
    if (fingers.size === 1) pan(now[0] - before[0], now[1] - before[1]);
    else if (fingers.size === 2) pinch(event.pointerId, before, now);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    fingers.set(event.pointerId, now);
  });
  function lift(event) {
    const known = fingers.delete(event.pointerId);
    if (fingers.size) { moved = Infinity; return; }
    canvas.classList.remove("dragging");
    if (known && event.type === "pointerup" && moved < 6) press(event.clientX, event.clientY - above);
  }
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { hint.hidden = true; });

  function pinch(id, before, now) {
    const [, other] = [...fingers].find(([key]) => key !== id);
    const apart = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
    zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  function hover(event) {
    const i = view.scale < 14 ? -1 : pictureAt(event.clientX, event.clientY - above);
    hint.hidden = i < 0 || event.pointerType === "touch";
    if (hint.hidden) return;
    hint.textContent = label(i);
    hint.style.left = Math.min(event.clientX + 14, width - hint.offsetWidth - 8) + "px";
    hint.style.top = Math.min(event.clientY + 16, innerHeight - hint.offsetHeight - 8) + "px";
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) / 300), event.clientX, event.clientY - above);
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(2, event.clientX, event.clientY - above));

  // Keyboard

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) {
      if (document.activeElement?.closest("nav, header, select, input")) return;
      const [dx, dy] = ARROWS[event.key];
      if (selected >= 0) neighbour(dx, dy); else pan(-dx * 80, -dy * 80);
    } else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") { select(-1); canvas.focus(); }
    else if (event.key === "Enter" && document.activeElement === canvas) select(pictureAt(width / 2, height / 2));
    else return;
    event.preventDefault();
  });
  document.getElementById("in").addEventListener("click", () => zoom(1.6));
  document.getElementById("out").addEventListener("click", () => zoom(1 / 1.6));
  document.getElementById("fit").addEventListener("click", () => fit());
  panel.querySelector("button").addEventListener("click", () => select(-1));

  // The list of groups, also for those who cannot use the map itself

  const nav = document.getElementById("groups");
  const icons = islands.map((_, group) => {
    const button = document.createElement("button"), icon = document.createElement("canvas");
    button.type = "button";
    icon.width = icon.height = 104;
    button.title = describe(group);
    button.setAttribute("aria-label", describe(group));
    button.append(icon, members[group].length.toLocaleString("en"));
    button.addEventListener("click", () => visit(group));
    nav.append(button);
    return icon;
  });
  const drawIcons = () => icons.forEach((icon, group) => tile(icon.getContext("2d"), islands[group][3], 0, 0, 104));

  function resize() {
    ({ width, height, top: above } = canvas.getBoundingClientRect());
    ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    redraw();
  }
  addEventListener("resize", () => { resize(); limit(); });
  dark.addEventListener("change", redraw);

  resize();
  drawOverview(0, count);
  drawIcons();
  fit(false);

  // The sheets follow this script in the file; until one is there, its pictures are patches of their mean colour.
  const begin = async () => {
    const found = [...document.querySelectorAll("img.sheet")];
    await Promise.all(found.map(async (image, number) => {
      try { await image.decode(); } catch { return; }
      sheets[number] = image;
      drawOverview(number * PER_SHEET, (number + 1) * PER_SHEET);
      redraw();
    }));
    drawIcons();
    if (selected >= 0) select(selected);
    document.getElementById("state").textContent = "";
    document.body.dataset.ready = "true";
  };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin); else begin();
})();
