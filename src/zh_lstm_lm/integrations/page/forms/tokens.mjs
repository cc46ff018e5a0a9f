// The tokens as forms see them: characters apart from punctuation, ends of lines, first characters; see generation/forms/tokens.py.
import { PAIRS, lengthOf } from "../punctuation.mjs";

export const LINE_ENDS = new Set("，。！？；：,.!?;:\n");
const LAST_ENDS = new Set("。！？!?\n");
const CLOSING_MARKS = new Set(PAIRS.values());
export const PAIRED_MARKS = new Set([...PAIRS.keys(), ...CLOSING_MARKS]);
const UNCOUNTED = /[\p{P}\p{Z}\p{Cc}\p{Cf}]/u;
const HAS_SPACE = /[\p{Z}\t-\r\x1c-\x1f\x85]/u;

export const countCharacters = (text) => [...text].filter((each) => !UNCOUNTED.test(each)).length;
export const firstCharacter = (text) => [...text].find((each) => !UNCOUNTED.test(each)) ?? "";

export class FormTokens {
  // texts: the text of each id; usable: 1 for those that may be written at all.
  constructor(texts, usable) {
    const characters = texts.map((text) => [...text]);
    const mask = (of) => Uint8Array.from(texts, (text, id) => usable[id] && text !== "" && of(id));
    const has = (marks) => (id) => characters[id].some((each) => marks.has(each));
    const only = (marks) => (id) => characters[id].every((each) => marks.has(each));
    this.size = texts.length;
    this.usable = usable;
    this.lengths = Int32Array.from(texts, lengthOf);
    this.longest = this.lengths.reduce((a, b) => Math.max(a, b), 0);
    this.counts = Int32Array.from(texts, countCharacters);
    this.firsts = texts.map(firstCharacter);
    this.words = mask((id) => this.counts[id] && !has(LINE_ENDS)(id));
    this.marks = mask((id) => !this.counts[id] && !has(LINE_ENDS)(id) && !HAS_SPACE.test(texts[id]));
    this.lineEnds = mask((id) => !this.counts[id] && has(LINE_ENDS)(id));
    this.sentenceEnds = mask(has(LAST_ENDS));
    this.paragraphEnds = mask((id) => texts[id] === "\n");
    this.closing = mask(only(CLOSING_MARKS));
    this.pairs = mask(only(PAIRED_MARKS));
    this.known = new Map();
    this.filled = [true];
  }

  // The numbers of characters of the words that begin so, and the length of the shortest; all words for no character.
  wordsWith(first) {
    if (!this.known.has(first)) {
      const sizes = new Set();
      let shortest = Infinity;
      for (let id = 0; id < this.size; id++) {
        if (!this.words[id] || (first && this.firsts[id] !== first)) continue;
        sizes.add(this.counts[id]);
        shortest = Math.min(shortest, this.lengths[id]);
      }
      this.known.set(first, { sizes: [...sizes], shortest });
    }
    return this.known.get(first);
  }

  // Whether words can have this number of characters together.
  fills(number) {
    while (this.filled.length <= number) {
      const size = this.filled.length;
      this.filled.push(this.wordsWith("").sizes.some((each) => each <= size && this.filled[size - each]));
    }
    return this.filled[number];
  }
}
