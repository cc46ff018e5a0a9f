// Models around the LSTM: n-gram models, linear interpolations, and the continuous cache. The states of all models are never
// changed, so a text continues from any of its words.
import { LSTM } from "./lstm.mjs";

// The counts of an n-gram model become its probabilities, as in models/ngram.py.
export class NGram {
  // description: order, discounts, lists; bytes: the lists one after another, of each the lowest bytes first.
  constructor(description, bytes) {
    let offset = 0;
    const lists = description.lists.map(([length, width]) => {
      const values = new Uint32Array(length);
      for (let place = 0; place < width; place++) for (let i = 0; i < length; i++) values[i] |= bytes[offset++] << (8 * place);
      return values;
    });
    this.order = description.order;
    const [[one, two, more], ...discounts] = description.discounts, [counts, ...rest] = lists;
    const take = (count, by = [0, one, two, more]) => by[Math.min(count, 3)];
    const total = counts.reduce((sum, count) => sum + count, 0), left = counts.reduce((sum, count) => sum + take(count), 0);
    this.unigrams = Float32Array.from(counts, (count) => (count - take(count)) / total + left / total / counts.length);
    this.tables = discounts.map((own, n) => this.table([0, ...own], ...rest.slice(4 * n, 4 * n + 4)));
  }

  // For each prefix the number of its n-grams and what was pruned, and for each n-gram its count and step to its last id.
  table(discounts, numbers, pruned, counts, steps) {
    const first = new Uint32Array(numbers.length + 1), ids = steps, probs = new Float32Array(counts.length);
    const backoffs = new Float32Array(numbers.length);
    for (let prefix = 0; prefix < numbers.length; prefix++) {
      const start = first[prefix], stop = first[prefix + 1] = start + numbers[prefix];
      let kept = pruned[prefix], rest = kept;
      for (let i = start; i < stop; i++) {
        kept += counts[i];
        rest += discounts[Math.min(counts[i], 3)];
        if (i > start) ids[i] += ids[i - 1];
      }
      for (let i = start; i < stop; i++) probs[i] = (counts[i] - discounts[Math.min(counts[i], 3)]) / kept;
      backoffs[prefix] = kept ? rest / kept : 1;
    }
    return { first, ids, probs, backoffs };
  }

  initialState() { return []; }
  read(id, state) { return this.order > 1 ? [...state, id].slice(1 - this.order) : state; }
  key() { return null; }

  // The n-gram of a prefix and an id, or -1.
  find({ first, ids }, prefix, id) {
    let low = first[prefix], high = first[prefix + 1];
    const end = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle] < id) low = middle + 1; else high = middle;
    }
    return low < end && ids[low] === id ? low : -1;
  }

  // Writes the probability of each token after a state.
  probs(state, out) {
    const found = [];
    for (let length = 1; length <= Math.min(state.length, this.tables.length); length++) {
      let node = state.at(-length);
      for (let n = 0; n < length - 1 && node >= 0; n++) node = this.find(this.tables[n], node, state.at(n + 1 - length));
      if (node < 0) break;
      found.push(node);
    }
    const scales = [1];
    for (let n = found.length - 1; n >= 0; n--) scales.unshift(scales[0] * this.tables[n].backoffs[found[n]]);
    for (let id = 0; id < out.length; id++) out[id] = this.unigrams[id] * scales[0];
    found.forEach((node, n) => {
      const { first, ids, probs } = this.tables[n], scale = scales[n + 1];
      for (let i = first[node]; i < first[node + 1]; i++) out[ids[i]] += probs[i] * scale;
    });
  }
}

// The LSTM as a part of others: probabilities.
class LSTMPart {
  constructor(lstm) {
    this.lstm = lstm;
    this.place = lstm.kernels.newFloats(lstm.size + 8, [], -Infinity);
  }

  initialState() { return this.lstm.initialState(); }
  read(id, state) { return this.lstm.read(id, state); }
  key(state) { return this.lstm.key(state); }

  probs(state, out) {
    this.lstm.logProbs(state, this.place);
    this.lstm.kernels.exp(this.place, this.lstm.size, this.place, 0);
    out.set(this.lstm.kernels.floats(this.place, out.length));
  }
}

class Mixture {
  constructor(models, weights) {
    this.models = models;
    this.weights = weights;
  }

  initialState() { return this.models.map((model) => model.initialState()); }
  read(id, state) { return this.models.map((model, i) => model.read(id, state[i])); }
  key(state) { return this.models.reduce((found, model, i) => found ?? model.key(state[i]), null); }

  probs(state, out) {
    this.part ??= new Float32Array(out.length);
    out.fill(0);
    this.models.forEach((model, i) => {
      const weight = this.weights[i];
      if (weight > 0) model.probs(state[i], this.part);
      if (weight > 0) for (let id = 0; id < out.length; id++) out[id] += this.part[id] * weight;
    });
  }
}

// The latest words become likelier by the similarity of the hidden states before them to that now; as models/continuous_cache.py.
class Cache {
  constructor(model, { cache_size: size, cache_weight: weight, theta }, bos) {
    Object.assign(this, { model, size, weight, theta, bos });
  }

  // Entries are shared by the states of a text: each knows how many are its own.
  initialState() { return { inner: this.model.initialState(), entries: [], count: 0, key: null }; }
  key(state) { return this.model.key(state.inner); }

  read(id, { inner, entries, count, key }) {
    if (entries.length > count || count > 2 * this.size) entries = entries.slice(Math.max(0, count - this.size), count);
    entries.push(key && id !== this.bos ? { id, key } : null);
    const after = this.model.read(id, inner);
    return { inner: after, entries, count: entries.length, key: (this.theta && this.model.key(after)) || [] };
  }

  probs({ inner, entries, count, key }, out) {
    this.model.probs(inner, out);
    const window = entries.slice(Math.max(0, count - this.size), count).filter((entry) => entry);
    if (!window.length) return;
    const scores = window.map((entry) => this.theta * product(key, entry.key));
    const highest = scores.reduce((a, b) => Math.max(a, b)), shares = scores.map((score) => Math.exp(score - highest));
    const scale = this.weight / shares.reduce((a, b) => a + b);
    for (let id = 0; id < out.length; id++) out[id] *= 1 - this.weight;
    window.forEach(({ id }, i) => { out[id] += shares[i] * scale; });
  }
}

function product(a, b) {
  let even = 0, odd = 0, i = 0;
  for (; i + 1 < a.length; i += 2) { even += a[i] * b[i]; odd += a[i + 1] * b[i + 1]; }
  return i < a.length ? even + odd + a[i] * b[i] : even + odd;
}

// A model of several parts, with log-probabilities as the LSTM has them.
class Combination {
  constructor(model, { kernels, size }) { Object.assign(this, { model, kernels, size }); }

  initialState() { return this.model.initialState(); }
  read(id, state) { return this.model.read(id, state); }

  logProbs(state, out) {
    const values = this.kernels.floats(out, this.size);
    this.model.probs(state, values);
    for (let id = 0; id < this.size; id++) values[id] = Math.log(Math.max(values[id], 1e-35));
  }
}

function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Opens the model of a page: its description, the weights of the LSTM, and the lists of the n-gram models, parted by spaces.
export async function openModel(description, weights, lists) {
  const lstm = new LSTM(description, decodeBase64(weights));
  const bytes = await Promise.all(lists.split(" ").filter((each) => each).map((each) => inflate(decodeBase64(each))));
  const ngrams = description.ngrams.map((each, i) => new NGram(each, bytes[i]));
  const build = (node) => {
    if (node.kind === "mixture") return new Mixture(node.models.map(build), node.weights);
    if (node.kind === "cache") return new Cache(build(node.model), node, description.bos);
    return node.kind === "ngram" ? ngrams[node.table] : new LSTMPart(lstm);
  };
  return description.model.kind === "lstm" ? lstm : new Combination(build(description.model), lstm);
}
