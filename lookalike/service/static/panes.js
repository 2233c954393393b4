// Two pictures at one zoom: what is shown of one is shown of the other.

import { make } from "./dom.js";

const MOST = 12, SHARP = 1.6; // the largest zoom, and the zoom from which the whole picture is loaded
const FILL = 0.7; // of a pane, by a part that is shown

export class Zoom {
  constructor() { this.panes = []; this.reset(); }

  reset() { Object.assign(this, { scale: 1, x: 0.5, y: 0.5 }); this.apply(); }

  // `x` and `y` are the place in the pane, 0 to 1, that stays where it is.
  by(factor, x = 0.5, y = 0.5) {
    const before = this.scale;
    this.scale = Math.max(1, Math.min(MOST, before * factor));
    this.x += (x - 0.5) * (1 / before - 1 / this.scale);
    this.y += (y - 0.5) * (1 / before - 1 / this.scale);
    this.apply();
  }

  // Shows a part of a pane's picture as large as it fits.
  to(pane, [left, top, right, bottom], width, height) {
    const area = pane.element.getBoundingClientRect(), frame = pane.frame.getBoundingClientRect();
    const wide = ((right - left) / width) * frame.width, high = ((bottom - top) / height) * frame.height;
    this.scale = Math.max(1, Math.min(6, (FILL * area.width) / wide, (FILL * area.height) / high));
    this.x = (frame.left - area.left + ((left + right) / 2 / width) * frame.width) / area.width;
    this.y = (frame.top - area.top + ((top + bottom) / 2 / height) * frame.height) / area.height;
    this.apply();
  }

  pan(dx, dy) { this.x -= dx / this.scale; this.y -= dy / this.scale; this.apply(); }

  apply() {
    const edge = 0.5 / this.scale;
    this.x = Math.max(edge, Math.min(1 - edge, this.x));
    this.y = Math.max(edge, Math.min(1 - edge, this.y));
    for (const pane of this.panes) pane.show(this);
  }
}

export class Pane {
  constructor(zoom, { url, sharp = null, width, height, name, box, title }) {
    this.sharp = sharp;
    this.image = make("img", { src: url, alt: name, draggable: false });
    this.frame = make("div", { className: "frame" }, this.image);
    this.sheet = make("div", { className: "sheet" }, this.frame);
    this.element = make("figure", { className: "pane" }, this.sheet, ...(title ? [make("figcaption", { textContent: title })] : []));
    if (width && height) this.size(width, height, box);
    zoom.panes.push(this);
    this.listen(zoom);
  }

  // Its place is there before the picture is.
  size(width, height, box) {
    this.frame.style.setProperty("--ratio", String(width / height));
    this.frame.style.aspectRatio = `${width} / ${height}`;
    if (!box) return;
    const part = make("span", { className: "part" }), share = (value, whole) => `${(100 * value) / whole}%`;
    Object.assign(part.style, { left: share(box[0], width), top: share(box[1], height), width: share(box[2] - box[0], width), height: share(box[3] - box[1], height) });
    this.frame.append(part);
  }

  show({ scale, x, y }) {
    this.sheet.style.transform = scale === 1 ? "" : `scale(${scale}) translate(${100 * (0.5 - x)}%, ${100 * (0.5 - y)}%)`;
    if (scale > SHARP && this.sharp) { this.image.src = this.sharp; this.sharp = null; }
  }

  listen(zoom) {
    const area = this.element, fingers = new Map();
    const place = (event) => { const box = area.getBoundingClientRect(); return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]; };
    const apart = ([[ax, ay], [bx, by]]) => Math.max(0.01, Math.hypot(ax - bx, ay - by));
    area.addEventListener("wheel", (event) => { event.preventDefault(); zoom.by(Math.exp(-event.deltaY / 300), ...place(event)); }, { passive: false });
    area.addEventListener("dblclick", (event) => (zoom.scale > 1 ? zoom.reset() : zoom.by(2.5, ...place(event))));
    area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); fingers.set(event.pointerId, place(event)); });
    area.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = place(event), both = [...fingers.values()];
      fingers.set(event.pointerId, now);
      if (fingers.size === 2) zoom.by(apart([...fingers.values()]) / apart(both), ...now);
      else zoom.pan(now[0] - before[0], now[1] - before[1]);
    });
    for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
}
