// Runs a page's model: `node run_page.mjs SOURCES PAGE CASES` prints the tokens of each case, and log-probabilities.
import { readFileSync } from "node:fs";

const [sources, page, cases] = process.argv.slice(2);
const { openModel } = await import(`${sources}/mixture.mjs`);
const { Draft } = await import(`${sources}/punctuation.mjs`);
const { Random, Sampler } = await import(`${sources}/sampling.mjs`);
const { Segmenter } = await import(`${sources}/segment.mjs`);
const html = readFileSync(page, "utf8");
const block = (id) => html.match(new RegExp(`<script id="${id}"[^>]*>(.*?)</script>`, "s"))[1];
const description = JSON.parse(block("description"));
const model = await openModel(description, block("weights"), block("ngrams"));
const sampler = new Sampler(description, model), segmenter = new Segmenter(description);
const { prompt, ids, settings, texts, seeds } = JSON.parse(readFileSync(cases, "utf8"));
let start = model.read(description.bos, model.initialState());
for (const id of ids) start = model.read(id, start);
const written = settings.map(({ options, limits, uniforms }) => {
  const draft = new Draft(sampler, prompt, limits), found = [];
  let state = start;
  while (!draft.finished) {
    const id = sampler.sample(draft, sampler.logProbs(state), options, uniforms[found.length]);
    const piece = sampler.textAfter(found.at(-1) ?? ids.at(-1) ?? description.bos, id);
    found.push(id);
    draft.add(piece);
    state = model.read(id, state);
  }
  return found;
});
const numbers = seeds.map((seed) => { const random = new Random(BigInt(seed)); return [random.random(), random.random()]; });
console.log(JSON.stringify({ written, logProbs: [...sampler.logProbs(start)], encoded: texts.map((text) => segmenter.encode(text)), numbers }));
