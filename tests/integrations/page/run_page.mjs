// Runs a page's model: `node run_page.mjs SOURCES PAGE CASES` prints the tokens of each case, and log-probabilities.
import { readFileSync } from "node:fs";

const [sources, page, cases] = process.argv.slice(2);
const { openModel } = await import(`${sources}/mixture.mjs`);
const { Draft } = await import(`${sources}/draft.mjs`);
const { makeForm } = await import(`${sources}/forms/form.mjs`);
const { Names } = await import(`${sources}/forms/names.mjs`);
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

function write({ options, limits, uniforms, names = [] }) {
  sampler.use(new Names(names, segmenter));
  const draft = new Draft(sampler, prompt, limits), found = [], pieces = [];
  try {
    draft.form = makeForm(sampler, segmenter, limits, draft.place);
  } catch (error) {
    return { refused: error.key ?? String(error.stack) };
  }
  let state = start;
  while (!draft.finished) {
    const id = sampler.sample(draft, sampler.logProbs(state, model.writing), options, uniforms[found.length]);
    if (id === null) break;
    found.push(id);
    pieces.push(sampler.textAfter(found.at(-2) ?? ids.at(-1) ?? description.bos, id));
    draft.add(id, pieces.at(-1));
    state = model.read(id, state);
  }
  found.length -= draft.surplus;
  return { ids: found, text: pieces.slice(0, found.length).join(""), unmet: draft.unmet };
}

const written = settings.map(write);
sampler.use(new Names([], segmenter));
const numbers = seeds.map((seed) => { const random = new Random(BigInt(seed)); return [random.random(), random.random()]; });
console.log(JSON.stringify({ written, logProbs: [...sampler.logProbs(start)], encoded: texts.map((text) => segmenter.encode(text)), numbers }));
