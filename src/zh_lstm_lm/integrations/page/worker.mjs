// The worker: keeps the tokens of the page's text with their states, reads, writes and proposes.
import { openModel } from "./mixture.mjs";
import { Draft } from "./punctuation.mjs";
import { Random, Sampler } from "./sampling.mjs";
import { Segmenter } from "./segment.mjs";

const STATES = 3000; // the latest tokens whose states are kept; an edit before them reads the text anew
const PAUSE = 40; // milliseconds between messages, after which a newer request is seen
let model, sampler, segmenter, opened, job = 0;
let entries = []; // {id, piece, bits, state after the token}
const pause = () => new Promise((resolve) => setTimeout(resolve));

function push(id, piece, bits, state) {
  entries.push({ id, piece, bits, state });
  if (entries.length > STATES + 1) entries[entries.length - STATES].state = null;
}

// Brings the tokens up to date with a text; what it begins with as before is not read again.
async function sync(text, mine) {
  let kept = 1, length = 0;
  while (kept < entries.length && text.startsWith(entries[kept].piece, length)) length += entries[kept++].piece.length;
  while (kept > 1 && length < text.length && entries[kept - 1].piece === "") length -= entries[--kept].piece.length;
  if (!entries[kept - 1].state) { kept = 1; length = 0; }
  entries.length = kept;
  let time = Date.now();
  for (const [id, piece] of segmenter.encode(text.slice(length))) {
    const { state } = entries.at(-1);
    push(id, piece, -sampler.logProbs(state)[id] / Math.LN2, model.read(id, state));
    if (Date.now() - time > PAUSE) {
      postMessage({ type: "reading" });
      await pause();
      time = Date.now();
      if (mine !== job) return false;
    }
  }
  return true;
}

const words = (from = 1) => entries.slice(from).map(({ piece, bits }) => [piece, bits]);
const text = () => entries.map(({ piece }) => piece).join("");

async function write({ options, seed, limits }, mine) {
  const draft = new Draft(sampler, text(), limits), generator = new Random(seed);
  let time = 0, from = entries.length;
  while (!draft.finished && mine === job) {
    const last = entries.at(-1), logProbs = sampler.logProbs(last.state);
    const id = sampler.sample(draft, logProbs, options, generator.random());
    if (id === null) break;
    const piece = sampler.textAfter(last.id, id);
    push(id, piece, -logProbs[id] / Math.LN2, model.read(id, last.state));
    draft.add(piece);
    if (Date.now() - time > PAUSE) {
      postMessage({ type: "words", words: words(from) });
      from = entries.length;
      await pause();
      time = Date.now();
    }
  }
  postMessage({ type: "words", words: words(from) });
}

async function open({ description, weights, ngrams }) {
  model = await openModel(description, weights, ngrams);
  sampler = new Sampler(description, model);
  segmenter = new Segmenter(description);
  entries = [{ id: description.bos, piece: "", bits: 0, state: model.read(description.bos, model.initialState()) }];
  postMessage({ type: "ready" });
}

async function answer(data) {
  const mine = ++job; // which stops whatever runs
  await opened;
  await pause();
  if (data.type === "stop") { postMessage({ type: "done" }); return; }
  if (mine !== job || !await sync(segmenter.normalize(data.text), mine)) return;
  postMessage({ type: "text", words: words() });
  if (data.type === "write") await write(data, mine);
  if (mine !== job) return;
  const last = entries.at(-1), draft = new Draft(sampler, text(), {});
  const candidates = sampler.candidates(draft, sampler.logProbs(last.state), 10);
  postMessage({ type: "done", candidates: candidates.map(({ id, prob }) => [sampler.textAfter(last.id, id), prob]) });
}

onmessage = ({ data }) => {
  const work = data.type === "open" ? opened = open(data) : answer(data);
  work.catch((error) => postMessage({ type: "failed", error: String(error) }));
};
