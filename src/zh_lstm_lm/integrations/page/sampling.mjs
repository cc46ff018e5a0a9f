// From log-probabilities to a text: cut-offs, one random number a token, the rules of quotes, brackets and paragraphs.
// The same numbers give the same tokens as zh_lstm_lm's Sampler.
import { Bans } from "./forms/names.mjs";
import { FormTokens } from "./forms/tokens.mjs";
import { PunctuationRules, lengthOf } from "./punctuation.mjs";

// The Mersenne Twister as Python's random.Random uses it, with an integer as its seed.
export class Random {
  constructor(seed) {
    const key = [];
    for (let rest = BigInt(seed); rest > 0n || !key.length; rest >>= 32n) key.push(Number(rest & 0xffffffffn));
    const mt = this.numbers = new Uint32Array(624);
    mt[0] = 19650218;
    for (let i = 1; i < 624; i++) mt[i] = Math.imul(1812433253, mt[i - 1] ^ (mt[i - 1] >>> 30)) + i;
    let i = 1, j = 0;
    const wrap = () => { if (++i >= 624) { mt[0] = mt[623]; i = 1; } };
    for (let k = Math.max(624, key.length); k; k--, wrap()) {
      mt[i] = (mt[i] ^ Math.imul(mt[i - 1] ^ (mt[i - 1] >>> 30), 1664525)) + key[j] + j;
      j = (j + 1) % key.length;
    }
    for (let k = 623; k; k--, wrap()) mt[i] = (mt[i] ^ Math.imul(mt[i - 1] ^ (mt[i - 1] >>> 30), 1566083941)) - i;
    mt[0] = 0x80000000;
    this.next = 624;
  }

  integer() {
    const mt = this.numbers;
    if (this.next === 624) {
      for (let k = 0; k < 624; k++) {
        const y = (mt[k] & 0x80000000) | (mt[(k + 1) % 624] & 0x7fffffff);
        mt[k] = mt[(k + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.next = 0;
    }
    let y = mt[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  random() {
    const a = this.integer() >>> 5, b = this.integer() >>> 6;
    return (a * 67108864 + b) / 9007199254740992;
  }
}

// random.Random(x) of a number in [0, 1) is seeded by Python's hash of it, modulo 2**61 - 1.
const randomOf = (uniform) => new Random((BigInt(uniform * 2 ** 53) << 8n) % ((1n << 61n) - 1n));

const ATTEMPTS = 4;

// Picks among weights, which are at most 1 and need not sum to 1.
export class TokenPicker {
  constructor({ topK = 0, topP = 1, minP = 0 }) { Object.assign(this, { topK, topP, minP }); }

  // Returns an id, or null where everything that is kept is forbidden.
  pick(weights, total, forbidden, uniform) {
    if (!(total > 0)) return null;
    if (this.topK) return this.pickSorted(weights, total, forbidden, uniform);
    let generator = null;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const id = draw(weights, total, uniform);
      if (!forbidden.has(id) && this.keeps(weights, total, id)) return id;
      generator ??= randomOf(uniform);
      uniform = generator.random();
    }
    return this.pickSorted(weights, total, forbidden, uniform);
  }

  // The likeliest token has the weight 1.
  keeps(weights, total, id) {
    const weight = weights[id];
    if (weight < this.minP) return false;
    if (this.topP === 1) return true;
    let above = 0;
    for (let i = 0; i < weights.length; i++) if (weights[i] > weight || (weights[i] === weight && i < id)) above += weights[i];
    return above < this.topP * total;
  }

  pickSorted(weights, total, forbidden, uniform) {
    for (const least of [1e-2, 1e-4, 0]) {
      const ids = [];
      for (let i = 0; i < weights.length; i++) if (weights[i] >= least) ids.push(i);
      ids.sort((a, b) => weights[b] - weights[a] || a - b);
      const kept = this.numKept(ids.map((id) => weights[id]), total, least === 0);
      if (kept === null) continue;
      const steps = [];
      let sum = 0;
      for (const id of ids.slice(0, kept)) steps.push(sum += forbidden.has(id) ? 0 : weights[id]);
      return sum > 0 ? ids[position(steps, uniform * sum)] : null;
    }
  }

  // The number of first weights in falling order that are kept; null if more have to be known.
  numKept(values, total, complete) {
    let kept = values.length, known = complete;
    // The next weight may tie with the last one that top-k keeps.
    if (this.topK && kept <= this.topK && !complete) return null;
    const sums = [];
    let sum = 0;
    for (const value of values) sums.push(sum += value);
    if (this.topK && this.topK < kept) {
      const last = values[this.topK - 1];
      kept = values.filter((value) => value >= last).length;
      total = sums[kept - 1];
      known = true;
    }
    if (this.topP < 1) {
      const reached = sums.filter((each) => each < this.topP * total).length + 1;
      known ||= reached < values.length;
      kept = Math.min(kept, reached);
    }
    if (this.minP) {
      known ||= values[values.length - 1] < this.minP;
      kept = Math.min(kept, values.filter((value) => value >= this.minP).length);
    }
    return known ? kept : null;
  }
}

// The first position whose sum is above a point; a remainder of rounding belongs to the last one with a weight.
function position(sums, point) {
  const total = sums[sums.length - 1];
  const found = sums.findIndex((sum) => sum > point);
  const last = sums.findIndex((sum) => sum >= total);
  return found < 0 ? last : Math.min(found, last);
}

function draw(weights, total, uniform) {
  const point = uniform * total;
  let sum = 0, last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] > 0) last = i;
    sum += weights[i];
    if (sum > point) return i;
  }
  return last;
}

const NO_NAMES = { written: new Map(), replaced: [], write: (texts) => texts, read: (text) => text };

export class Sampler {
  // description: tokens, bos, newline, separator, topK.
  constructor(description, model) {
    this.model = model;
    this.kernels = model.kernels;
    this.own = description.tokens;
    this.separator = description.separator;
    this.topK = description.topK;
    this.paragraphStarts = [description.bos, description.newline];
    [this.predicted, this.scores, this.weights] = [0, 0, 0].map(() => this.kernels.newPlace(this.own.length));
    this.use(NO_NAMES);
  }

  // Writes with names of the writer's own from here on.
  use(names) {
    this.names = names;
    this.tokens = names.write(this.own);
    this.lengths = Int32Array.from(this.tokens, lengthOf);
    this.longest = this.lengths.reduce((a, b) => Math.max(a, b), 0);
    this.unwritable = [...this.lengths.keys()].filter((id) => !this.lengths[id]);
    this.rules = new PunctuationRules(this.tokens, this.separator);
    this.bans = names.replaced.length ? new Bans(names.replaced, this.tokens.map((token) => this.withoutSeparator(token))) : null;
    this.texts = null;
  }

  get formTokens() {
    if (!this.texts) {
      const usable = Uint8Array.from(this.lengths, (length) => (length ? 1 : 0));
      for (const id of this.bans?.always ?? []) usable[id] = 0;
      this.texts = new FormTokens(this.tokens, usable);
    }
    return this.texts;
  }

  withoutSeparator(text) { return this.separator && text.startsWith(this.separator) ? text.slice(this.separator.length) : text; }
  textAfter(lastId, id) { return this.paragraphStarts.includes(lastId) ? this.withoutSeparator(this.tokens[id]) : this.tokens[id]; }
  bannedAfter(text) { return this.bans?.after(this.separator ? text.replaceAll(this.separator, "") : text) ?? []; }

  // The log-probability of each token after a state, until the next call, by the model that reads or that writes.
  logProbs(state, model = this.model) {
    model.logProbs(state, this.predicted);
    return this.kernels.floats(this.predicted, this.tokens.length);
  }

  // Returns the next id, or null where nothing may follow. options: temperature, topK, topP, minP.
  sample(draft, logProbs, options, uniform) {
    const forced = draft.forcedId(), banned = [...this.bannedAfter(draft.tail)];
    if (forced !== null && !banned.includes(forced)) return forced;
    const scores = this.fitting(draft, logProbs, banned), count = this.tokens.length;
    const biases = draft.form ? this.restrict(scores, draft) : [], { forbidden, moved } = draft.verdict();
    let id = null;
    if (options.temperature > 0) {
      const temperature = Math.min(Math.max(options.temperature, 1e-6), 1e30);
      const total = this.kernels.exp(this.scores, count, this.weights, this.kernels.max(this.scores, count), 1 / temperature);
      id = new TokenPicker({ topK: this.topK, ...options }).pick(this.kernels.floats(this.weights, count), total, forbidden, uniform);
    } else id = likeliest(scores, 1, (each) => !forbidden.has(each))[0] ?? null;
    for (const [each, own] of biases) scores[each] = own;
    id ??= likeliest(scores, 1, (each) => !forbidden.has(each))[0] ?? likeliest(scores, 1)[0] ?? null;
    const mark = moved.get(id), free = !this.bans && !draft.form;
    return mark !== undefined && (free || scores[mark] > -Infinity) ? mark : id;
  }

  // The scores of the tokens that have a text, fit into the room and are not banned.
  fitting(draft, logProbs, banned) {
    const room = draft.roomForToken, count = this.tokens.length, scores = this.kernels.floats(this.scores, count);
    scores.set(logProbs);
    for (const id of this.unwritable) scores[id] = -Infinity;
    for (const id of banned) scores[id] = -Infinity;
    if (room < this.longest) for (let i = 0; i < count; i++) if (this.lengths[i] > room) scores[i] = -Infinity;
    return scores;
  }

  // Leaves the scores of the tokens that a form allows; returns the ids with a bias, each with its score before.
  restrict(scores, draft) {
    const { mask, biases } = draft.form.follow(draft.place);
    for (let i = 0; i < scores.length; i++) if (!mask[i]) scores[i] = -Infinity;
    return [...biases].map(([id, bias]) => {
      const own = scores[id];
      scores[id] += bias;
      return [id, own];
    });
  }

  // The likeliest tokens that may follow, with the model's probabilities.
  candidates(draft, logProbs, count) {
    const { forbidden, moved } = draft.verdict(), banned = new Set(this.bannedAfter(draft.tail));
    const ids = likeliest(logProbs, count, (id) => this.lengths[id] && !forbidden.has(id) && !moved.has(id) && !banned.has(id));
    return ids.map((id) => ({ id, prob: Math.exp(logProbs[id]) }));
  }
}

// The ids of the greatest scores in falling order.
function likeliest(scores, count, allowed = () => true) {
  const best = [];
  for (let id = 0; id < scores.length; id++) {
    if (!(scores[id] > (best.length < count ? -Infinity : scores[best.at(-1)])) || !allowed(id)) continue;
    let place = best.length;
    while (place && scores[best[place - 1]] < scores[id]) place--;
    best.splice(place, 0, id);
    best.length = Math.min(best.length, count);
  }
  return best;
}
