// The LSTM language model: embedding, LSTM, and the softmax, in one part or in clusters by frequency.
import { Kernels } from "./kernels.mjs";

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

export class LSTM {
  // description: the sizes of the layers; bytes: all numbers of 4 bytes, then all of 1 byte, in its order.
  constructor(description, bytes) {
    this.size = description.tokens.length;
    this.hidden = description.hidden;
    this.cutoffs = description.cutoffs ?? [this.size];
    const kernels = this.kernels = new Kernels();
    let offset = 0;
    const next = (kind, count) => {
      const values = new kind(bytes.buffer, bytes.byteOffset + offset, count);
      offset += values.byteLength;
      return values;
    };
    const biases = {}, scales = {};
    for (const [name, count] of description.biases) biases[name] = next(Float32Array, count);
    for (const [name, rows] of description.matrices) scales[name] = next(Float32Array, rows);
    for (const [name, rows, columns] of description.matrices) {
      const steps = next(Int8Array, rows * columns), tied = name === "embedding" && !("head" in scales);
      if (name === "embedding") this.embedding = { steps, scales: scales[name], columns };
      if (name !== "embedding" || tied) this[tied ? "head" : name] = kernels.newMatrix(steps, scales[name], biases[tied ? "head" : name], rows, columns);
    }
    this.layers = Array.from({ length: description.layers }, (_, number) => this[`lstm${number}`]);
    this.gates = kernels.newFloats(4 * this.hidden);
    this.input = kernels.newFloats(Math.max(...this.layers.map((layer) => layer.columns)));
    this.output = kernels.newFloats(this.hidden);
    this.narrowed = kernels.newFloats(Math.max(this.hidden, this.embedding.columns));
    this.scores = kernels.newFloats(this.head.rows);
    this.scratch = kernels.newPlace(this.size);
  }

  initialState() { return this.layers.map(() => [new Float32Array(this.hidden), new Float32Array(this.hidden)]); }

  // Returns the state after a token; a state is never changed.
  read(id, state) {
    const n = this.hidden, { steps, scales, columns } = this.embedding;
    let below = Float32Array.from({ length: columns }, (_, j) => steps[id * columns + j] * scales[id]);
    return this.layers.map((layer, number) => {
      const [h, c] = state[number], input = this.kernels.floats(this.input, layer.columns), gates = this.kernels.floats(this.gates, 4 * n);
      input.set(below);
      input.set(h, below.length);
      this.kernels.apply(layer, this.input, this.gates);
      const hidden = new Float32Array(n), cell = new Float32Array(n);
      for (let i = 0; i < n; i++) {
        cell[i] = sigmoid(gates[n + i]) * c[i] + sigmoid(gates[i]) * Math.tanh(gates[2 * n + i]);
        hidden[i] = sigmoid(gates[3 * n + i]) * Math.tanh(cell[i]);
      }
      below = hidden;
      return [hidden, cell];
    });
  }

  // The hidden state by which a cache compares.
  key(state) { return state[this.layers.length - 1][0]; }

  // Writes the log-probability of each token after a state, in nats, to a place of the kernels.
  logProbs(state, out) {
    const { kernels, cutoffs } = this, [inHead] = cutoffs;
    kernels.floats(this.output, this.hidden).set(this.key(state));
    let hidden = this.output;
    if (this.projection) kernels.apply(this.projection, hidden, hidden = this.narrowed);
    kernels.apply(this.head, hidden, this.scores);
    this.normalize(this.scores, this.head.rows, 0);
    const head = kernels.floats(this.scores, this.head.rows);
    for (let t = 0; t + 1 < cutoffs.length; t++) {
      const tail = this[`tail${t}`], start = out + 4 * cutoffs[t];
      kernels.apply(this[`narrow${t}`], hidden, this.narrowed);
      kernels.apply(tail, this.narrowed, start);
      this.normalize(start, tail.rows, head[inHead + t]);
    }
    kernels.floats(out, inHead).set(head.subarray(0, inHead));
  }

  // The same as probabilities.
  probs(state, out) {
    this.logProbs(state, out);
    this.kernels.exp(out, this.size, out, 0);
  }

  // Turns scores, after which there is room up to a multiple of 4, into log-probabilities plus a constant.
  normalize(scores, count, constant) {
    const highest = this.kernels.max(scores, count);
    const shift = constant - highest - Math.log(this.kernels.exp(scores, count, this.scratch, highest));
    const values = this.kernels.floats(scores, count);
    for (let i = 0; i < count; i++) values[i] += shift;
  }
}
