// The worker: keeps the tokens of the page's text with their states, reads, writes and proposes.
import { Draft } from "./draft.mjs";
import { FormError } from "./forms/error.mjs";
import { makeForm } from "./forms/form.mjs";
import { Names } from "./forms/names.mjs";
import { parseNames, readLimits } from "./forms/options.mjs";
import { openModel } from "./mixture.mjs";
import { Random, Sampler } from "./sampling.mjs";
import { Segmenter } from "./segment.mjs";

const STATES = 3000; // the latest tokens whose states are kept; an edit before them reads the text anew
const PAUSE = 40; // milliseconds between messages, after which a newer request is seen
let model, sampler, segmenter, opened, current = null, namesField = "", job = 0;
let entries = []; // {id, piece, bits, state after the token, whether the model wrote it}
const pause = () => new Promise((resolve) => setTimeout(resolve));

function push(id, piece, bits, state, written = false) {
  entries.push({ id, piece, bits, state, written });
  if (entries.length > STATES + 1) entries[entries.length - STATES].state = null;
}

// Brings the tokens up to date with a text; what it begins with as before is not read again.
async function sync(text, mine) {
  let kept = 1, length = 0, time = Date.now();
  while (kept < entries.length && text.startsWith(entries[kept].piece, length)) length += entries[kept++].piece.length;
  // What was typed in this paragraph is divided anew: a word may have come in parts.
  let start = kept;
  while (start > 1 && !entries[start - 1].written && entries[start - 1].piece !== "\n") length -= entries[--start].piece.length;
  const isSame = ([id, piece], i) => start + i < kept && entries[start + i].id === id && entries[start + i].piece === piece;
  let tokens = sampler.names.encode(text.slice(length), segmenter), same = tokens.findIndex((token, i) => !isSame(token, i));
  if (same < 0) same = tokens.length;
  if (!entries[start + same - 1].state) {
    tokens = sampler.names.encode(text, segmenter);
    start = 1;
    same = 0;
  }
  entries.length = start + same;
  for (const [id, piece] of tokens.slice(same)) {
    // The bytes of a character, of which the first has its text, stay together.
    if (piece && Date.now() - time > PAUSE) {
      postMessage({ type: "reading" });
      await pause();
      time = Date.now();
      if (mine !== job) return false;
    }
    const { state } = entries.at(-1);
    push(id, piece, -sampler.logProbs(state)[id] / Math.LN2, model.read(id, state));
  }
  return true;
}

const words = (from = 1) => entries.slice(from).map(({ piece, bits }) => [piece, bits]);
const text = () => entries.map(({ piece }) => piece).join("");

// Takes other names; the text is then read anew.
function useNames(field) {
  if (field === namesField) return;
  sampler.use(new Names(parseNames(field), segmenter));
  namesField = field;
  entries.length = 1;
}

// Returns what a reader asks for as a draft at the end of the text, or what is wrong with it.
function newDraft({ fields, turn }) {
  const limits = readLimits(fields, turn), draft = new Draft(sampler, text(), limits);
  draft.form = makeForm(sampler, segmenter, limits, draft.place);
  return draft;
}

function attempt(work) {
  try {
    return [work(), null];
  } catch (error) {
    if (!(error instanceof FormError)) throw error;
    return [null, { field: error.field, key: error.key, values: error.values }];
  }
}

async function write(draft, { options, seed }, mine) {
  const generator = new Random(seed);
  let time = 0, from = entries.length;
  while (!draft.finished && mine === job) {
    const last = entries.at(-1), logProbs = sampler.logProbs(last.state, model.writing);
    const id = sampler.sample(draft, logProbs, options, generator.random());
    if (id === null) break;
    const piece = sampler.textAfter(last.id, id);
    push(id, piece, -logProbs[id] / Math.LN2, model.read(id, last.state), true);
    draft.add(id, piece);
    entries.length -= draft.surplus;
    // A word of several tokens appears as a whole.
    if (Date.now() - time > PAUSE && !draft.form?.isForced) {
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
  sampler.use(new Names([], segmenter));
  entries = [{ id: description.bos, piece: "", bits: 0, state: model.read(description.bos, model.initialState()) }];
  postMessage({ type: "ready" });
}

async function answer(data) {
  const mine = ++job; // which stops whatever runs
  await opened;
  await pause();
  if (data.type === "stop") {
    postMessage({ type: "done", ...report(current) });
    return;
  }
  if (mine !== job) return;
  const [, badNames] = attempt(() => useNames(data.fields.names));
  if (!await sync(segmenter.normalize(data.text), mine)) return;
  postMessage({ type: "text", words: words() });
  const [draft, bad] = attempt(() => newDraft(data)), refused = badNames ?? bad;
  current = null;
  if (data.type === "write" && !refused) await write(current = draft, data, mine);
  if (mine !== job) return;
  const last = entries.at(-1), candidates = sampler.candidates(new Draft(sampler, text()), sampler.logProbs(last.state), 10);
  const offered = candidates.map(({ id, prob }) => [sampler.textAfter(last.id, id), prob]);
  postMessage({ type: "done", refused, candidates: offered, ...report(current) });
}

// What the draft that was written misses, and the names of the corpus that are left.
function report(draft) {
  const { replaced, unknown } = sampler.names;
  return { unmet: draft?.unmet ?? null, names: { replaced: replaced.length, unknown, left: sampler.names.left(entries.map(({ piece }) => piece), sampler.separator) } };
}

onmessage = ({ data }) => {
  const work = data.type === "open" ? opened = open(data) : answer(data);
  work.catch((error) => postMessage({ type: "failed", error: String(error) }));
};
