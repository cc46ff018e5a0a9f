// The step of the language model: embedding, LSTM, and the softmax, in one part or in clusters by frequency.
// Weights are numbers of 8 bits with a scale for each row; all sums are taken in double precision.

export function decodeBase64(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// out[r] = bias[r] + the sum of weight[r, j] * x[j]; four rows at a time.
function multiply(weight, bias, x, out, rows, offset = 0) {
  const columns = x.length;
  let row = 0;
  for (; row + 3 < rows; row += 4) {
    const p0 = row * columns, p1 = p0 + columns, p2 = p1 + columns, p3 = p2 + columns;
    let a = 0, b = 0, c = 0, d = 0;
    for (let j = 0; j < columns; j++) {
      const value = x[j];
      a += weight[p0 + j] * value;
      b += weight[p1 + j] * value;
      c += weight[p2 + j] * value;
      d += weight[p3 + j] * value;
    }
    out[offset + row] = a; out[offset + row + 1] = b; out[offset + row + 2] = c; out[offset + row + 3] = d;
  }
  for (; row < rows; row++) {
    let sum = 0;
    for (let j = 0, p = row * columns; j < columns; j++) sum += weight[p + j] * x[j];
    out[offset + row] = sum;
  }
  if (bias) for (let r = 0; r < rows; r++) out[offset + r] += bias[r];
}

// Turns scores between two positions into log-probabilities plus a constant.
function logSoftmax(scores, start, stop, plus = 0) {
  let highest = -Infinity, sum = 0;
  for (let i = start; i < stop; i++) if (scores[i] > highest) highest = scores[i];
  for (let i = start; i < stop; i++) sum += Math.exp(scores[i] - highest);
  const shift = plus - highest - Math.log(sum);
  for (let i = start; i < stop; i++) scores[i] += shift;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

export class Decoder {
  // description: the sizes of the layers; bytes: all numbers of 4 bytes, then all of 1 byte, in its order.
  constructor(description, bytes) {
    this.size = description.tokens.length;
    this.hidden = description.hidden;
    this.layers = description.layers;
    this.cutoffs = description.cutoffs;
    this.weights = {}; this.biases = {}; this.scales = {};
    let offset = 0;
    const floats = (count) => new Float32Array(bytes.buffer, bytes.byteOffset + (offset += 4 * count) - 4 * count, count);
    for (const [name, count] of description.biases) this.biases[name] = floats(count);
    for (const [name, rows] of description.matrices) this.scales[name] = floats(rows);
    for (const [name, rows, columns] of description.matrices) {
      const steps = new Int8Array(bytes.buffer, bytes.byteOffset + offset, rows * columns);
      offset += rows * columns;
      if (name === "embedding") { this.embedding = steps; this.width = columns; }
      if (name === "embedding" && description.matrices.some(([other]) => other === "head")) continue;
      const weight = this.weights[name === "embedding" ? "head" : name] = new Float32Array(rows * columns);
      for (let r = 0, i = 0; r < rows; r++) for (let j = 0; j < columns; j++, i++) weight[i] = steps[i] * this.scales[name][r];
    }
    this.gates = new Float64Array(4 * this.hidden);
  }

  initialState() {
    return Array.from({ length: this.layers }, () => [new Float64Array(this.hidden), new Float64Array(this.hidden)]);
  }

  // Returns the state after a token; a state is never changed.
  read(id, state) {
    const n = this.hidden, gates = this.gates, after = [];
    let input = new Float64Array(this.width);
    const scale = this.scales.embedding[id];
    for (let j = 0; j < input.length; j++) input[j] = Math.fround(this.embedding[id * this.width + j] * scale);
    for (let layer = 0; layer < this.layers; layer++) {
      const [h, c] = state[layer], joined = new Float64Array(input.length + n);
      joined.set(input);
      joined.set(h, input.length);
      multiply(this.weights[`lstm${layer}`], this.biases[`lstm${layer}`], joined, gates, 4 * n);
      const hidden = new Float64Array(n), cell = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        cell[i] = sigmoid(gates[n + i]) * c[i] + sigmoid(gates[i]) * Math.tanh(gates[2 * n + i]);
        hidden[i] = sigmoid(gates[3 * n + i]) * Math.tanh(cell[i]);
      }
      after.push([hidden, cell]);
      input = hidden;
    }
    return after;
  }

  // Returns the log-probability of each token after a state, in nats.
  logProbs(state) {
    const out = new Float64Array(this.size);
    let hidden = state[this.layers - 1][0];
    if (!this.cutoffs) {
      if (this.weights.projection) {
        const projected = new Float64Array(this.width);
        multiply(this.weights.projection, null, hidden, projected, this.width);
        hidden = projected;
      }
      multiply(this.weights.head, this.biases.head, hidden, out, this.size);
      logSoftmax(out, 0, this.size);
      return out;
    }
    const inHead = this.cutoffs[0], entries = inHead + this.cutoffs.length - 1, head = new Float64Array(entries);
    multiply(this.weights.head, this.biases.head, hidden, head, entries);
    logSoftmax(head, 0, entries);
    out.set(head.subarray(0, inHead));
    for (let t = 0; t + 1 < this.cutoffs.length; t++) {
      const start = this.cutoffs[t], stop = this.cutoffs[t + 1], narrow = this.weights[`narrow${t}`];
      const narrowed = new Float64Array(narrow.length / this.hidden);
      multiply(narrow, null, hidden, narrowed, narrowed.length);
      multiply(this.weights[`tail${t}`], this.biases[`tail${t}`], narrowed, out, stop - start, start);
      logSoftmax(out, start, stop, head[inHead + t]);
    }
    return out;
  }
}
