// The difference of two texts by lines: the algorithm of Myers, with a limit on how different they may be.

const MOST_LINES = 20_000;
/** The steps grow with the square of the number of different lines. */
const MOST_EDITS = 1_000;

/**
 * `{rows: [{kind: ' ' | '-' | '+', text, a?, b?}], isCoarse}`: `a` and `b` are numbers of lines. `isCoarse`: the texts differ too much, so
 * what is between the equal ends is taken away and added as a whole.
 */
export function diff(before, after) {
  const a = before.split('\n');
  const b = after.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const left = a.slice(head, a.length - tail);
  const right = b.slice(head, b.length - tail);
  const steps = left.length + right.length <= MOST_LINES ? path(left, right) : undefined;
  const rows = [];
  let [x, y] = [0, 0];
  const keep = () => { rows.push({ kind: ' ', text: a[x], a: x + 1, b: y + 1 }); x += 1; y += 1; };
  const take = () => { rows.push({ kind: '-', text: a[x], a: x + 1 }); x += 1; };
  const give = () => { rows.push({ kind: '+', text: b[y], b: y + 1 }); y += 1; };
  for (let count = 0; count < head; count += 1) keep();
  for (const step of steps ?? [...left.map(() => '-'), ...right.map(() => '+')]) ({ ' ': keep, '-': take, '+': give })[step]();
  for (let count = 0; count < tail; count += 1) keep();
  return { rows, isCoarse: !steps };
}

/** The steps from one list of lines to another; undefined if there are too many. */
function path(before, after) {
  const numbers = new Map();
  const numbered = (lines) => Int32Array.from(lines, (line) => {
    if (!numbers.has(line)) numbers.set(line, numbers.size);
    return numbers.get(line);
  });
  const a = numbered(before);
  const b = numbered(after);
  const most = Math.min(a.length + b.length, MOST_EDITS);
  // How far each diagonal has come, after each number of edits.
  const reached = new Int32Array(2 * most + 3);
  const middle = most + 1;
  const trace = [];
  for (let edits = 0; edits <= most; edits += 1) {
    trace.push(reached.slice(middle - edits, middle + edits + 1));
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const at = middle + diagonal;
      let x = goesDown(reached, at, diagonal, edits) ? reached[at + 1] : reached[at - 1] + 1;
      while (x < a.length && x - diagonal < b.length && a[x] === b[x - diagonal]) x += 1;
      reached[at] = x;
      if (x >= a.length && x - diagonal >= b.length) return back(trace, a.length, b.length);
    }
  }
  return undefined;
}

const goesDown = (reached, at, diagonal, edits) => diagonal === -edits || (diagonal !== edits && reached[at - 1] < reached[at + 1]);

/** Walks from the end to the beginning. */
function back(trace, endX, endY) {
  const steps = [];
  let [x, y] = [endX, endY];
  for (let edits = trace.length - 1; edits > 0; edits -= 1) {
    const reached = trace[edits];
    const diagonal = x - y;
    const isDown = goesDown(reached, edits + diagonal, diagonal, edits);
    const from = isDown ? reached[edits + diagonal + 1] : reached[edits + diagonal - 1];
    const start = isDown ? from : from + 1;
    while (x > start) { steps.push(' '); x -= 1; y -= 1; }
    steps.push(isDown ? '+' : '-');
    x = from;
    y = x - (isDown ? diagonal + 1 : diagonal - 1);
  }
  while (x > 0) { steps.push(' '); x -= 1; }
  return steps.reverse();
}
