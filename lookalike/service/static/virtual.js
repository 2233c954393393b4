// A list of any length: only what is in sight, and a little more, is in the document.

const MORE = 4; // rows beyond what is in sight

export class VirtualList {
  // `row(number)` makes the element of a row; `need(from, to)` is told which rows are in sight.
  constructor(place, { height, row, need }) {
    Object.assign(this, { place, height, row, need, count: 0, current: 0, rows: new Map(), waiting: false });
    addEventListener("scroll", () => this.later(), { passive: true });
    addEventListener("resize", () => this.later());
  }

  reset(count) {
    this.count = count;
    this.place.style.height = `${count * this.height}px`;
    this.rows.forEach((element) => element.remove());
    this.rows.clear();
    this.draw();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  inSight() {
    const top = -this.place.getBoundingClientRect().top;
    const first = Math.floor(top / this.height), last = Math.ceil((top + innerHeight) / this.height);
    return [Math.max(0, Math.min(this.count, first - MORE)), Math.max(0, Math.min(this.count, last + MORE))];
  }

  draw() {
    const [from, to] = this.inSight(), kept = new Set([this.current]);
    for (let number = from; number < to; number++) kept.add(number);
    for (const [number, element] of this.rows) if (!kept.has(number)) { element.remove(); this.rows.delete(number); }
    for (const number of [...kept].sort((a, b) => a - b)) if (number < this.count && !this.rows.has(number)) this.put(number);
    if (from < to) this.need(from, to);
  }

  // In the order of their numbers, so that Tab goes from row to row.
  put(number) {
    const element = this.row(number);
    element.style.top = `${number * this.height}px`;
    const next = [...this.rows.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
    this.place.insertBefore(element, next === undefined ? null : this.rows.get(next));
    this.rows.set(number, element);
  }

  // A row anew, where it is in the document; what had the focus in it gets it back by its `data-focus`.
  again(number) {
    const old = this.rows.get(number);
    if (!old) return;
    const name = old.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    old.remove();
    this.rows.delete(number);
    this.put(number);
    if (name) this.rows.get(number).querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
  }

  // Brings a row into sight and gives it back.
  show(number, margin) {
    this.current = number;
    const top = this.place.getBoundingClientRect().top + number * this.height;
    if (top < margin || top + this.height > innerHeight - margin) scrollBy({ top: top - margin - 8, behavior: "instant" });
    this.draw();
    return this.rows.get(number);
  }
}
