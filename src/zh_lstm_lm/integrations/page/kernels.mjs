// The inner loops in WebAssembly, four numbers at a time. They are assembled here when the page opens: there is no build step.
// An expression is a list of bytes, after those of its operands; lists may be nested.

const I32 = 0x7f, F32 = 0x7d, F64 = 0x7c, V128 = 0x7b;
const PAGE = 65536;

function leb(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}
const sized = (bytes) => [leb(bytes.length), bytes].flat();
const listed = (items) => sized([leb(items.length), ...items].flat(Infinity));
const op = (...code) => (...operands) => [operands, code];
const simd = (code, ...rest) => op(0xfd, leb(code), ...rest);
const load = (address, offset = 0) => [address, 0xfd, 0, 2, offset];
const loadSteps = (address) => [address, 0xfd, 1, 0, 0]; // 8 numbers of 8 bits, made 16 bits wide
const store = (address, value) => [address, value, 0xfd, 11, 2, 0];
const i32 = (value) => [0x41, value & 63]; // from 0 to 63
const splat = (value) => [0xfd, 12, Array.from({ length: 4 }, () => [...new Uint8Array(Float32Array.of(value).buffer)])];
const splatInt = (value) => [0xfd, 12, Array.from({ length: 4 }, () => [...new Uint8Array(Int32Array.of(value).buffer)])];
const shuffle = (a, b, lanes) => [a, b, 0xfd, 13, lanes.map((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte))];
const add = op(0x6a), less = op(0x49), add64 = op(0xa0);
const plus = simd(0xe4), minus = simd(0xe5), times = simd(0xe6), greater = simd(0x44), maximum = simd(0xe9), and = simd(0x4e);
const nearest = simd(0x6a), convert = simd(0xfa), truncate = simd(0xf8), low = simd(0xa7), high = simd(0xa8);
const addInts = simd(0xae), shiftInts = simd(0xab), shiftRight = simd(0xac), divide = simd(0xe7), splat32 = simd(19), promote = simd(0x5f), plus64 = simd(0xf0);
const lane = (value, index) => [value, 0xfd, 31, index];
const lane64 = (value, index) => [value, 0xfd, 33, index];
const until = (condition, ...body) => [3, 0x40, body, condition, 0x0d, 0, 0x0b]; // repeats while the condition holds

// A function of named numbers, with named variables; `body` gets a getter of each as $.name and $.set(name, value).
function define(parameters, variables, results, body) {
  const names = [...Object.keys(parameters), ...Object.keys(variables)];
  const $ = { set: (name, value) => [value, 0x21, names.indexOf(name)] };
  names.forEach((name, index) => { $[name] = [0x20, index]; });
  const locals = Object.values(variables).map((type) => [1, type]);
  const type = [0x60, Object.keys(parameters).length, Object.values(parameters), results.length, results];
  return { type, code: sized([leb(locals.length), locals, body($), 0x0b].flat(Infinity)) };
}

// out[r] = scales[r] * (the sum of weight[r, j] * x[j]) + bias[r]; four rows and eight columns at a time.
const multiply = define(
  { weight: I32, scales: I32, bias: I32, x: I32, out: I32, rows: I32, columns: I32 },
  { j: I32, p: I32, w1: I32, w2: I32, w3: I32, x0: V128, x1: V128, s: V128, a0: V128, a1: V128, a2: V128, a3: V128 }, [],
  ($) => {
    const rows = [$.weight, $.w1, $.w2, $.w3];
    const pairs = (a, b) => plus(shuffle(a, b, [0, 4, 1, 5]), shuffle(a, b, [2, 6, 3, 7]));
    return until($.rows,
      [1, 2, 3].map((r) => $.set(`w${r}`, add(rows[r - 1], $.columns))),
      [0, 1, 2, 3].map((r) => $.set(`a${r}`, splat(0))),
      $.set("j", i32(0)), $.set("p", $.x),
      until(less($.j, $.columns),
        $.set("x0", load($.p)), $.set("x1", load($.p, 16)),
        rows.map((row, r) => [
          $.set("s", loadSteps(add(row, $.j))),
          $.set(`a${r}`, plus(plus($[`a${r}`], times($.x0, convert(low($.s)))), times($.x1, convert(high($.s))))),
        ]),
        $.set("j", add($.j, i32(8))), $.set("p", add($.p, i32(32)))),
      $.set("x0", pairs($.a0, $.a1)), $.set("x1", pairs($.a2, $.a3)),
      $.set("s", plus(shuffle($.x0, $.x1, [0, 1, 4, 5]), shuffle($.x0, $.x1, [2, 3, 6, 7]))),
      store($.out, plus(times($.s, load($.scales)), load($.bias))),
      $.set("weight", add($.w3, $.columns)),
      ["scales", "bias", "out"].map((name) => $.set(name, add($[name], i32(16)))),
      $.set("rows", op(0x6b)($.rows, i32(4))));
  });

const reduce = (value, of) => of(of(lane(value, 0), lane(value, 1)), of(lane(value, 2), lane(value, 3)));

// The greatest of some numbers.
const greatest = define({ x: I32, stop: I32 }, { m: V128 }, [F32], ($) => [
  $.set("m", load($.x)),
  until(less($.x, $.stop), $.set("m", maximum($.m, load($.x))), $.set("x", add($.x, i32(16)))),
  reduce($.m, op(0x97)),
]);

// out[i] = exp((x[i] - from) * factor), 0 below exp(-80); returns the sum. The polynomial is that of Cephes' expf.
const EXP = [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1];
const exponentials = define(
  { x: I32, stop: I32, out: I32, from: F32, factor: F32 }, { t: V128, n: V128, r: V128, y: V128, sum: V128 }, [F64],
  ($) => [
    until(less($.x, $.stop),
      $.set("t", times(minus(load($.x), splat32($.from)), splat32($.factor))),
      $.set("n", nearest(times($.t, splat(Math.LOG2E)))),
      $.set("r", minus(minus($.t, times($.n, splat(0.693359375))), times($.n, splat(-2.12194440e-4)))),
      $.set("y", EXP.map(splat).reduce((sum, each) => plus(times(sum, $.r), each))),
      $.set("y", plus(plus(times(times($.y, $.r), $.r), $.r), splat(1))),
      $.set("y", times($.y, shiftInts(addInts(truncate($.n), splatInt(127)), i32(23)))),
      $.set("y", and($.y, greater($.t, splat(-80)))),
      store($.out, $.y),
      $.set("sum", plus64($.sum, plus64(promote($.y), promote(shuffle($.y, $.y, [2, 3, 2, 3]))))),
      $.set("x", add($.x, i32(16))), $.set("out", add($.out, i32(16)))),
    add64(lane64($.sum, 0), lane64($.sum, 1)),
  ]);

// x[i] = log(x[i]), of numbers from 1e-35 on; what is less is taken for that. The polynomial is that of FreeBSD's logf.
const HALF_ROOT = 0x3f3504f3; // the bits of sqrt(1/2)
const logarithms = define({ x: I32, stop: I32 }, { k: V128, f: V128, s: V128, z: V128, h: V128, i: V128 }, [], ($) =>
  until(less($.x, $.stop),
    $.set("i", addInts(maximum(load($.x), splat(1e-35)), splatInt(0x3f800000 - HALF_ROOT))),
    $.set("k", convert(addInts(shiftRight($.i, i32(23)), splatInt(-127)))),
    $.set("f", minus(addInts(and($.i, splatInt(0x7fffff)), splatInt(HALF_ROOT)), splat(1))),
    $.set("s", divide($.f, plus(splat(2), $.f))),
    $.set("z", times($.s, $.s)),
    $.set("h", times(times(splat(0.5), $.f), $.f)),
    $.set("i", [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693].map(splat).reduce((sum, each) => plus(times(sum, $.z), each))),
    $.set("s", plus(times($.s, plus($.h, times($.i, $.z))), times($.k, splat(9.0580006145e-6)))),
    store($.x, plus(plus(minus($.s, $.h), $.f), times($.k, splat(0.69313812256)))),
    $.set("x", add($.x, i32(16)))));

// out[i] = out[i] * own + x[i] * other
const blended = define({ x: I32, stop: I32, out: I32, own: F32, other: F32 }, {}, [], ($) =>
  until(less($.x, $.stop),
    store($.out, plus(times(load($.out), splat32($.own)), times(load($.x), splat32($.other)))),
    $.set("x", add($.x, i32(16))), $.set("out", add($.out, i32(16)))));

function assemble(functions) {
  const names = Object.keys(functions), all = Object.values(functions), text = (name) => sized([...new TextEncoder().encode(name)]);
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    1, listed(all.map((each) => each.type)),
    3, listed(all.map((_, index) => [index])),
    5, listed([[0, 1]]),
    7, listed([[text("memory"), 2, 0], ...names.map((name, index) => [text(name), 0, index])]),
    10, listed(all.map((each) => each.code)),
  ].flat(Infinity));
}

const upTo = (value, multiple) => Math.ceil(value / multiple) * multiple;

// Arrays inside of the memory of the loops.
export class Kernels {
  constructor() {
    Object.assign(this, new WebAssembly.Instance(new WebAssembly.Module(assemble({ multiply, greatest, exponentials, logarithms, blended }))).exports);
    this.end = 16;
  }

  // Returns the position of new bytes; views of the memory that were made before are then no longer valid.
  allocate(size) {
    const start = this.end;
    this.end = upTo(start + size, 16);
    const missing = Math.ceil(this.end / PAGE) - this.memory.buffer.byteLength / PAGE;
    if (missing > 0) this.memory.grow(missing);
    return start;
  }

  floats(start, length) { return new Float32Array(this.memory.buffer, start, length); }

  // Room for numbers, filled up to whole groups of 8.
  newFloats(length, values = [], filling = 0) {
    const start = this.allocate(4 * upTo(length, 8));
    this.floats(start, upTo(length, 8)).fill(filling).set(values);
    return start;
  }

  // A place for a number of each token, and for what loops write after the last one.
  newPlace(size, values = []) { return this.newFloats(size + 8, values, -Infinity); }

  // A matrix of numbers of 8 bits with a scale for each row. Rows that fill it up give minus infinity where there is a bias.
  newMatrix(steps, scales, bias, rows, columns) {
    const wide = upTo(columns, 8), weight = this.allocate(upTo(rows, 4) * wide);
    const bytes = new Int8Array(this.memory.buffer, weight, rows * wide);
    if (wide === columns) bytes.set(steps);
    else for (let r = 0; r < rows; r++) for (let j = 0, p = r * wide, q = r * columns; j < columns; j++) bytes[p + j] = steps[q + j];
    return { weight, scales: this.newFloats(rows, scales), bias: this.newFloats(rows, bias, bias ? -Infinity : 0), rows, columns, wide };
  }

  apply(matrix, x, out) { this.multiply(matrix.weight, matrix.scales, matrix.bias, x, out, upTo(matrix.rows, 4), matrix.wide); }
  max(x, length) { return this.greatest(x, x + 4 * length); }
  log(x, length) { this.logarithms(x, x + 4 * length); }
  blend(x, length, out, own, other) { this.blended(x, x + 4 * length, out, own, other); }
  exp(x, length, out, from, factor = 1) { return this.exponentials(x, x + 4 * length, out, from, factor); }
}
