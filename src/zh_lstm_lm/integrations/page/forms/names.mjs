// Names to use: words of the corpus that are written as the writer's own, and read back; see generation/forms/names.py.
import { lengthOf } from "../punctuation.mjs";

const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

// The positions between the words of a text, with the separator that a word implies before it.
function edgesOf(pieces, separator) {
  const edges = new Set([0]);
  let place = 0;
  for (const piece of pieces) {
    if (!piece) continue;
    place += piece.length;
    edges.add(place);
    edges.add(place - piece.length + (separator && piece.startsWith(separator) ? separator.length : 0));
  }
  return edges;
}

export class Names {
  // pairs: names of the corpus, each with the writer's own; segmenter: the words of the vocabulary.
  constructor(pairs, segmenter) {
    const own = new Set(pairs.map(([, name]) => name)), known = pairs.filter(([old]) => segmenter.idOf(old) !== undefined);
    this.unknown = pairs.filter((pair) => !known.includes(pair)).map(([old]) => old);
    // Names may be exchanged, so one that is the writer's own as well may stay.
    this.replaced = pairs.map(([old]) => old).filter((old) => !own.has(old));
    this.written = new Map(known.map(([old, name]) => [segmenter.idOf(old), segmenter.separator + name]));
    this.corpus = new Map([...known].reverse().map(([old, name]) => [name, old]));
    const longestFirst = [...this.corpus.keys()].sort((a, b) => b.length - a.length);
    this.pattern = longestFirst.length ? new RegExp(longestFirst.map(escaped).join("|"), "gu") : null;
  }

  // The texts of all ids, with the writer's names.
  write(texts) { return texts.map((text, id) => this.written.get(id) ?? text); }

  // The writer's names in a text where they are words: each [start, end, name of the corpus].
  found(text, segmenter) {
    if (!this.pattern || text.search(this.pattern) < 0) return [];
    const edges = edgesOf(segmenter.encode(text).map(([, piece]) => piece), segmenter.separator);
    const spans = [...text.matchAll(this.pattern)].map(({ 0: name, index }) => [index, index + name.length, this.corpus.get(name)]);
    return spans.filter(([start, end]) => edges.has(start) && edges.has(end));
  }

  // A text with the names of the corpus in their place.
  read(text, segmenter) {
    let after = 0, read = "";
    for (const [start, end, old] of this.found(text, segmenter)) {
      read += text.slice(after, start) + old;
      after = end;
    }
    return read + text.slice(after);
  }

  // The ids of a text that is read so, with the pieces of the text as it was given.
  encode(text, segmenter) {
    const found = this.found(text, segmenter), read = segmenter.encode(this.read(text, segmenter));
    let place = 0, shown = 0;
    return found.length === 0 ? read : read.map(([id, piece]) => {
      place += piece.length;
      const start = shown;
      shown = originalPlace(place, found);
      return [id, text.slice(start, shown)];
    });
  }

  // How often names of the corpus are left in a text of words, apart from those inside of longer words: [name, count] pairs.
  left(pieces, separator = "") {
    const words = pieces.map((piece) => (separator && piece.startsWith(separator) ? piece.slice(separator.length) : piece)).filter((word) => word);
    const whole = words.join(""), wordAt = new Int32Array(whole.length), ends = [];
    words.forEach((word, number) => { wordAt.fill(number, ends.at(-1) ?? 0, (ends.at(-1) ?? 0) + word.length); ends.push((ends.at(-1) ?? 0) + word.length); });
    const counts = this.replaced.map((name) => {
      const inside = ({ index }) => index + name.length <= ends[wordAt[index]] && words[wordAt[index]] !== name;
      return [name, [...whole.matchAll(new RegExp(escaped(name), "gu"))].filter((each) => !inside(each)).length];
    });
    return counts.filter(([, count]) => count).sort(([, a], [, b]) => b - a);
  }
}

// The position in a text of one in the text that was read; inside of a name its end.
function originalPlace(place, found) {
  let shift = 0;
  for (const [start, end, old] of found) {
    const begin = start + shift;
    if (place <= begin) break;
    if (place < begin + old.length) return end;
    shift += old.length - (end - start);
  }
  return place - shift;
}

// Words that are not written in pieces either; see generation/logits_processors.py.
export class Bans {
  constructor(words, texts) {
    const banned = new Set(words), byFirst = new Map();
    this.always = [];
    this.completing = new Map(); // the ends of a text, and the tokens that complete a word then
    texts.forEach((text, id) => {
      if (banned.has(text)) this.always.push(id);
      if (text) byFirst.set(text[0], [...(byFirst.get(text[0]) ?? []), id]);
    });
    for (const word of banned) {
      for (let cut = 1; cut < word.length; cut++) {
        const rest = word.slice(cut), ids = (byFirst.get(rest[0]) ?? []).filter((id) => texts[id].startsWith(rest));
        if (ids.length) this.completing.set(word.slice(0, cut), [...(this.completing.get(word.slice(0, cut)) ?? []), ...ids]);
      }
    }
    this.longest = Math.max(0, ...[...this.completing.keys()].map(lengthOf));
  }

  // The ids that must not follow a text.
  after(text) {
    const last = [...text].slice(-this.longest), ids = new Set(this.always);
    for (let start = 0; this.longest && start < last.length; start++) {
      for (const id of this.completing.get(last.slice(start).join("")) ?? []) ids.add(id);
    }
    return ids;
  }
}
