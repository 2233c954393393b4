// Pictures to rows of one height each, as wide as the page; the last row keeps the height of those before it.

// `ratios` are widths over heights. Rows of { from, to, height, widths }: whole pixels, which fill `width` exactly.
export function rows(ratios, width, target, gap) {
  const all = [];
  for (let from = 0; from < ratios.length;) {
    const to = end(ratios, from, width, target, gap);
    const natural = high(ratios, from, to, width, gap), isLast = to === ratios.length;
    const height = isLast && natural > target ? Math.min(natural, all.at(-1)?.height ?? target) : natural;
    all.push({ from, to, height: Math.round(height), widths: widths(ratios.slice(from, to), width, height, gap, isLast && natural > height) });
    from = to;
  }
  return all;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const high = (ratios, from, to, width, gap) => (width - gap * (to - from - 1)) / sum(ratios.slice(from, to));

// The end of the row whose height is nearest to the target.
function end(ratios, from, width, target, gap) {
  let to = from + 1;
  while (to < ratios.length && high(ratios, from, to, width, gap) > target) to++;
  if (to - from < 2) return to;
  const lower = high(ratios, from, to, width, gap), higher = high(ratios, from, to - 1, width, gap);
  return lower < target && target / lower > higher / target ? to - 1 : to;
}

// Each edge is rounded, not each width, so that the edges of full rows are in one line.
function widths(ratios, width, height, gap, isShort) {
  const room = width - gap * (ratios.length - 1), total = sum(ratios);
  const scale = isShort ? height : room / total;
  let edge = 0;
  return ratios.map((ratio) => {
    const before = Math.round(edge);
    edge += ratio * scale;
    return Math.round(edge) - before;
  });
}
