// Models around the LSTM: n-gram models, linear interpolations, and the continuous cache. The states of all models are never
// changed, so a text continues from any of its words.
import { LSTM } from "./lstm.mjs";

// The counts of an n-gram model become its probabilities, as in models/ngram.py.
export class NGram {
  // description: order, discounts, lists; bytes: the lists one after another, of each the lowest bytes first.
  constructor(description, bytes, kernels) {
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
    this.size = counts.length;
    this.kernels = kernels;
    this.unigrams = kernels.newPlace(this.size, Float64Array.from(counts, (count) => (count - take(count)) / total + left / total / this.size));
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

  // Writes the probability of each token after a state to a place of the kernels.
  probs(state, place) {
    const found = [], out = this.kernels.floats(place, this.size);
    for (let length = 1; length <= Math.min(state.length, this.tables.length); length++) {
      let node = state.at(-length);
      for (let n = 0; n < length - 1 && node >= 0; n++) node = this.find(this.tables[n], node, state.at(n + 1 - length));
      if (node < 0) break;
      found.push(node);
    }
    const scales = [1];
    for (let n = found.length - 1; n >= 0; n--) scales.unshift(scales[0] * this.tables[n].backoffs[found[n]]);
    out.set(this.kernels.floats(this.unigrams, this.size));
    this.kernels.blend(place, this.size, place, scales[0], 0);
    found.forEach((node, n) => {
      const { first, ids, probs } = this.tables[n], scale = scales[n + 1];
      for (let i = first[node]; i < first[node + 1]; i++) out[ids[i]] += probs[i] * scale;
    });
  }
}

export class Mixture {
  constructor(models, weights, { kernels, size }) {
    const used = [...models.keys()].filter((i) => weights[i] > 0);
    Object.assign(this, { models, weights, kernels, size, used, part: kernels.newPlace(size) });
  }

  initialState() { return this.models.map((model) => model.initialState()); }
  read(id, state) { return this.models.map((model, i) => model.read(id, state[i])); }
  key(state) { return this.models.reduce((found, model, i) => found ?? model.key(state[i]), null); }

  probs(state, place) {
    this.used.forEach((i, number) => {
      this.models[i].probs(state[i], number ? this.part : place);
      if (number) this.kernels.blend(this.part, this.size, place, 1, this.weights[i]);
      else this.kernels.blend(place, this.size, place, this.weights[i], 0);
    });
  }
}

// The latest words become likelier by the similarity of the hidden states before them to that now; as models/continuous_cache.py.
export class Cache {
  constructor(model, { cache_size: entries, cache_weight: weight, theta }, bos, { kernels, size }) {
    Object.assign(this, { model, entries, weight, theta, bos, kernels, size });
  }

  // Entries are shared by the states of a text: each knows how many are its own.
  initialState() { return { inner: this.model.initialState(), entries: [], count: 0, key: null }; }
  key(state) { return this.model.key(state.inner); }

  read(id, { inner, entries, count, key }) {
    if (entries.length > count || count > 2 * this.entries) entries = entries.slice(Math.max(0, count - this.entries), count);
    entries.push(key && id !== this.bos ? { id, key } : null);
    const after = this.model.read(id, inner);
    return { inner: after, entries, count: entries.length, key: in8Bits((this.theta && this.model.key(after)) || []) };
  }

  probs({ inner, entries, count, key }, place) {
    this.model.probs(inner, place);
    const window = entries.slice(Math.max(0, count - this.entries), count).filter((entry) => entry);
    if (!window.length) return;
    const scores = window.map((entry) => this.theta * product(key, entry.key));
    const highest = scores.reduce((a, b) => Math.max(a, b)), shares = scores.map((score) => Math.exp(score - highest));
    const scale = this.weight / shares.reduce((a, b) => a + b);
    const out = this.kernels.floats(place, this.size);
    this.kernels.blend(place, this.size, place, 1 - this.weight, 0);
    window.forEach(({ id }, i) => { out[id] += shares[i] * scale; });
  }
}

// A vector as integers, and what they are multiplied by.
function in8Bits(values) {
  const scale = values.reduce((most, each) => Math.max(most, Math.abs(each)), 0) / 127 || 1;
  return { scale, integers: Int8Array.from(values, (each) => Math.round(each / scale)) };
}

function product({ scale, integers: a }, { scale: other, integers: b }) {
  let even = 0, odd = 0, i = 0;
  for (; i + 1 < a.length; i += 2) { even += a[i] * b[i]; odd += a[i + 1] * b[i + 1]; }
  return scale * other * (i < a.length ? even + odd + a[i] * b[i] : even + odd);
}

// A model of several parts, with log-probabilities as the LSTM has them.
class Combination {
  constructor(model, { kernels, size }) { Object.assign(this, { model, kernels, size }); }

  initialState() { return this.model.initialState(); }
  read(id, state) { return this.model.read(id, state); }

  logProbs(state, place) {
    this.model.probs(state, place);
    this.kernels.log(place, this.size);
    // Places are filled up with minus infinity.
    this.kernels.floats(place + 4 * this.size, 8).fill(-Infinity);
  }
}

function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// WebKit reads no Blob in the worker of a local page, so the bytes are written to the stream.
async function inflate(bytes) {
  const { readable, writable } = new DecompressionStream("deflate"), writer = writable.getWriter();
  const written = [writer.write(bytes), writer.close()];
  const [buffer] = await Promise.all([new Response(readable).arrayBuffer(), ...written]);
  return new Uint8Array(buffer);
}

// Opens the model of a page: its description, the weights of the LSTM, and the lists of the n-gram models, parted by spaces.
// `writing` is the model that writes, whose cache has a smaller weight than that which reads; both have the same states.
export async function openModel(description, weights, lists) {
  const lstm = new LSTM(description, decodeBase64(weights));
  const bytes = await Promise.all(lists.split(" ").filter((each) => each).map((each) => inflate(decodeBase64(each))));
  const ngrams = description.ngrams.map((each, i) => new NGram(each, bytes[i], lstm.kernels));
  const build = (node) => {
    if (node.kind === "mixture") return new Mixture(node.models.map(build), node.weights, lstm);
    if (node.kind === "cache") return new Cache(build(node.model), node, description.bos, lstm);
    return node.kind === "ngram" ? ngrams[node.table] : lstm;
  };
  const whole = (node) => (node.kind === "lstm" ? lstm : new Combination(build(node), lstm));
  const model = whole(description.model);
  model.writing = JSON.stringify(description.writing) === JSON.stringify(description.model) ? model : whole(description.writing);
  return model;
}
