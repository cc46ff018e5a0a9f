// Unit tests of the page's scripts: `node --test tests/integrations/page`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Draft } from "../../../src/zh_lstm_lm/integrations/page/draft.mjs";
import { Kernels } from "../../../src/zh_lstm_lm/integrations/page/kernels.mjs";
import { Cache, Mixture, NGram } from "../../../src/zh_lstm_lm/integrations/page/mixture.mjs";
import { PunctuationRules } from "../../../src/zh_lstm_lm/integrations/page/punctuation.mjs";
import { Random, Sampler, TokenPicker } from "../../../src/zh_lstm_lm/integrations/page/sampling.mjs";
import { Segmenter } from "../../../src/zh_lstm_lm/integrations/page/segment.mjs";

const random = new Random(1);
const some = (length, of = () => random.random() - 0.5) => Array.from({ length }, of);
const close = (found, expected, tolerance = 1e-5) => {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= tolerance * (1 + Math.abs(expected[i])), `${i}: ${value}, ${expected[i]}`));
};

test("products of matrices whose sizes fill no group", () => {
  for (const [rows, columns] of [[1, 1], [4, 8], [7, 13], [65, 33]]) {
    const kernels = new Kernels(), steps = Int8Array.from(some(rows * columns, () => Math.floor(random.random() * 255) - 127));
    const scales = some(rows), bias = some(rows), x = some(columns);
    const matrix = kernels.newMatrix(steps, scales, bias, rows, columns), out = kernels.newFloats(rows);
    kernels.apply(matrix, kernels.newFloats(columns, x), out);
    const sums = scales.map((scale, r) => x.reduce((sum, value, j) => sum + steps[r * columns + j] * value, 0) * scale + bias[r]);
    close(kernels.floats(out, rows), sums);
    assert.equal(kernels.max(out, rows), Math.max(...kernels.floats(out, rows)));
  }
});

test("exponentials, logarithms and interpolations", () => {
  const kernels = new Kernels(), count = 1001, values = some(count, () => -90 * random.random());
  const x = kernels.newPlace(count, values), out = kernels.newPlace(count);
  const expected = values.map((value) => (value / 2 > -80 ? Math.exp(value / 2) : 0)), sum = kernels.exp(x, count, out, 0, 0.5);
  close(kernels.floats(out, count), expected);
  close([sum], [expected.reduce((a, b) => a + b)]);
  kernels.blend(out, count, out, 2, 1);
  close(kernels.floats(out, count), expected.map((value) => 3 * value));
  kernels.log(out, count);
  close(kernels.floats(out, count), expected.map((value) => Math.log(Math.max(3 * value, 1e-35))), 1e-4);
});

test("random numbers are Python's", () => {
  // random.Random(0) and random.Random(2**64 + 3)
  assert.equal(new Random(0).random(), 0.8444218515250481);
  const large = new Random(2n ** 64n + 3n);
  assert.deepEqual([large.random(), large.random()], [0.9129684455472157, 0.9226991467077957]);
});

test("cut-offs keep the likeliest, among equals those of lower ids", () => {
  const weights = Float32Array.of(0.25, 1, 0.25, 0.5), total = 2, uniforms = some(200, () => random.random());
  const kept = (options, forbidden = []) => [...new Set(uniforms.map((each) => new TokenPicker(options).pick(weights, total, new Set(forbidden), each)))].sort();
  assert.deepEqual(kept({}), [0, 1, 2, 3]);
  assert.deepEqual(kept({ topP: 0.8 }), [0, 1, 3]);
  assert.deepEqual(kept({ topP: 0.5 }), [1]);
  assert.deepEqual(kept({ minP: 0.3 }), [1, 3]);
  assert.deepEqual(kept({ topK: 3 }), [0, 1, 2, 3]);
  assert.deepEqual(kept({ topK: 2 }, [1]), [3]);
  assert.deepEqual(kept({ topP: 0.5 }, [1]), [null]);
  // Top-p counts among what top-k keeps, however small the other weights are.
  const small = Float32Array.of(1, 0.3, 0.02, ...some(180, () => 0.001)), pick = (each) => new TokenPicker({ topK: 3, topP: 0.75 }).pick(small, 1.5, new Set(), each);
  assert.deepEqual([...new Set(uniforms.map(pick))], [0]);
});

const TOKENS = ["", "。", "“", "”", "\n", "好", "好人", "（", "）", "，"];
const id = (token) => TOKENS.indexOf(token);

test("marks are paired, and a paragraph ends after them", () => {
  const rules = new PunctuationRules(TOKENS), room = () => Infinity;
  assert.equal(rules.read("“好（"), "“（");
  assert.equal(rules.read("“好（\n"), "");
  const inside = rules.verdict("“", "好", room);
  assert.ok(inside.forbidden.has(id("“")) && inside.forbidden.has(id("）")) && !inside.forbidden.has(id("”")));
  assert.equal(inside.moved.get(id("\n")), id("”"));
  assert.ok(rules.verdict("", "", room).forbidden.has(id("，")));
  assert.ok(rules.verdict("", "好，", room).forbidden.has(id("。")));
});

test("a text ends in its room with its marks closed", () => {
  const model = { kernels: new Kernels(), logProbs: () => {} };
  const sampler = new Sampler({ tokens: TOKENS, bos: 0, newline: 4, separator: "" }, model);
  const scores = Float32Array.from(TOKENS, () => 0), draft = new Draft(sampler, "“", { maxCharacters: 6 });
  let text = "“";
  while (!draft.finished) {
    const next = sampler.sample(draft, scores, { temperature: 1 }, random.random());
    draft.add(next, TOKENS[next]);
    text += TOKENS[next];
  }
  assert.equal([...text].length, 7);
  assert.equal(new PunctuationRules(TOKENS).read(text), "");
  assert.deepEqual(sampler.candidates(new Draft(sampler, "好", {}), Float32Array.of(9, 1, 2, 8, 3, 5, 5, 0, 9, 4), 3).map((each) => each.id), [5, 6, 9]);
});

test("the words of a text are the likeliest, and lose nothing", () => {
  const bytes = Array.from({ length: 256 }, (_, i) => 100 + i), description = { tokens: TOKENS, bytes, unk: null, separator: "", normalize: "nfc" };
  const found = new Segmenter(description).encode("好人好\n“龙”");
  assert.deepEqual(found.map(([each]) => each), [id("好人"), id("好"), id("\n"), id("“"), 100 + 0xe9, 100 + 0xbe, 100 + 0x99, id("”")]);
  assert.equal(found.map(([, piece]) => piece).join(""), "好人好\n“龙”");
});

// Two ids; the bigrams 0 1 (twice) and 1 0, and one that was pruned after 0.
const NGRAMS = { order: 2, discounts: [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], lists: [[3, 1], [3, 1], [3, 1], [2, 1], [2, 1]] };
const LISTS = Uint8Array.of(1, 2, 0, /* n-grams of each prefix */ 1, 1, 0, /* pruned */ 1, 0, 0, /* counts */ 2, 1, /* ids */ 1, 0);

function probsOf(model, kernels, state) {
  const place = kernels.newPlace(3);
  model.probs(state, place);
  return [...kernels.floats(place, 3)];
}

test("n-grams back off to what pruning left", () => {
  const kernels = new Kernels(), model = new NGram(NGRAMS, LISTS, kernels), unigrams = probsOf(model, kernels, []);
  close(unigrams, [0.5 / 3 + 1 / 9, 1.5 / 3 + 1 / 9, 1 / 9]);
  close(probsOf(model, kernels, model.read(0, [])), unigrams.map((each, i) => 0.5 * each + (i === 1 ? 0.5 : 0)));
  close(probsOf(model, kernels, model.read(2, [])), unigrams);
});

test("a cache counts the latest words, and a text continues from any state", () => {
  const kernels = new Kernels(), part = { kernels, size: 3 }, model = new NGram(NGRAMS, LISTS, kernels);
  const mixture = new Mixture([model, model], [0.25, 0.75], part), cache = new Cache(mixture, { cache_size: 2, cache_weight: 0.5, theta: 0 }, 2, part);
  const after = (ids, state = cache.initialState()) => ids.reduce((before, each) => cache.read(each, before), state);
  const plain = (id) => probsOf(model, kernels, [id]);
  close(probsOf(cache, kernels, after([2])), plain(2));
  const start = after([2, 1, 1, 0]), [left, right] = [after([0], start), after([1], start)];
  close(probsOf(cache, kernels, left), plain(0).map((each, i) => 0.5 * each + [0.5, 0, 0][i]));
  close(probsOf(cache, kernels, right), plain(1).map((each, i) => 0.5 * each + [0.25, 0.25, 0][i]));
});
