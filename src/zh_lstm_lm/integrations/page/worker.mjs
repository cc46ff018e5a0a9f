// The worker: keeps the tokens of the page's text with their states, reads, writes and proposes.
import { LSTM, decodeBase64 } from "./lstm.mjs";
import { Draft, Random, Sampler } from "./sampling.mjs";
import { Segmenter } from "./segment.mjs";

let model, sampler, segmenter, bos, job = 0;
let entries = []; // {id, piece, bits, state after the token}; the states of old tokens are dropped
const pause = () => new Promise((resolve) => setTimeout(resolve));

function push(id, piece) {
  const last = entries.at(-1);
  const bits = -sampler.logProbs(last.state)[id] / Math.LN2;
  entries.push({ id, piece, bits, state: model.read(id, last.state) });
}

// Brings the tokens up to date with a text; what it begins with as before is not read again.
async function sync(text, mine) {
  let kept = 1, length = 0;
  while (kept < entries.length && text.startsWith(entries[kept].piece, length)) length += entries[kept++].piece.length;
  while (kept > 1 && length < text.length && entries[kept - 1].piece === "") length -= entries[--kept].piece.length;
  entries.length = kept;
  let time = Date.now();
  for (const [id, piece] of segmenter.encode(text.slice(length))) {
    push(id, piece);
    if (Date.now() - time > 30) { await pause(); time = Date.now(); if (mine !== job) return false; }
  }
  return true;
}

const words = (from = 1) => entries.slice(from).map(({ piece, bits }) => [piece, bits]);
const text = () => entries.map(({ piece }) => piece).join("");

async function write({ options, seed, limits }, mine) {
  const draft = new Draft(sampler, text(), limits), generator = new Random(seed);
  let time = Date.now(), from = entries.length;
  while (!draft.finished && mine === job) {
    const last = entries.at(-1), logProbs = sampler.logProbs(last.state);
    const id = sampler.sample(draft, logProbs, options, generator.random());
    if (id === null) break;
    const piece = sampler.textAfter(last.id, id);
    entries.push({ id, piece, bits: -logProbs[id] / Math.LN2, state: model.read(id, last.state) });
    draft.add(piece);
    if (Date.now() - time > 100) {
      postMessage({ type: "words", words: words(from) });
      from = entries.length;
      await pause();
      time = Date.now();
    }
  }
  postMessage({ type: "words", words: words(from) });
}

onmessage = async ({ data }) => {
  if (data.type === "open") {
    model = new LSTM(data.description, decodeBase64(data.weights));
    sampler = new Sampler(data.description, model);
    segmenter = new Segmenter(data.description);
    bos = data.description.bos;
    entries = [{ id: bos, piece: "", bits: 0, state: model.read(bos, model.initialState()) }];
    postMessage({ type: "ready" });
    return;
  }
  const mine = ++job; // which stops whatever runs
  await pause();
  if (data.type === "stop") { postMessage({ type: "done" }); return; }
  const normal = segmenter.normalize(data.text);
  if (!await sync(normal, mine)) return;
  postMessage({ type: "text", words: words() });
  if (data.type === "write") await write(data, mine);
  if (mine !== job) return;
  const last = entries.at(-1), draft = new Draft(sampler, text(), {});
  const candidates = sampler.candidates(draft, sampler.logProbs(last.state), 10);
  postMessage({ type: "done", candidates: candidates.map(({ id, prob }) => [sampler.textAfter(last.id, id), prob]) });
};
