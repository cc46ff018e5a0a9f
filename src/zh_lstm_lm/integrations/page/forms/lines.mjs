// Lines of given lengths, or paragraphs, that begin with given characters; see generation/forms/lines.py.
import { isSentenceEnd } from "../punctuation.mjs";
import { FormError } from "./error.mjs";
import { LINE_ENDS, countCharacters, firstCharacter } from "./tokens.mjs";

const FAIR_SHARE = 0.6; // a paragraph that has used this proportion of its share of the room ends with its sentence
const PARAGRAPH_END = new Set("\n");
const lineKey = ({ free, first, cost }) => `${free} ${first} ${cost}`;

export class Lines {
  // lengths: a number for every line, a list for all of them, or null for paragraphs; begun: the text before.
  constructor(tokens, lengths, firstCharacters, begun = "") {
    this.tokens = tokens;
    this.firsts = [...firstCharacters];
    this.hasLengths = lengths !== null;
    this.ends = this.hasLengths ? LINE_ENDS : PARAGRAPH_END;
    this.number = (Array.isArray(lengths) ? lengths.length : this.firsts.length) || null;
    this.sizes = Array.isArray(lengths) ? lengths : Array(this.number ?? 1).fill(lengths ?? 0);
    this.finished = this.count = 0;
    this.usedCharacters = this.usedTokens = 0; // of the line that is being written
    for (const character of this.firsts) {
      if (this.cost(character) === Infinity) throw new FormError("first", "unknownFirst", character);
    }
    for (let index = 0; this.hasLengths && index < (this.number ?? 1); index++) this.checkLine(index);
    this.begin(begun);
  }

  checkLine(index) {
    const size = this.size(index), first = this.firstOf(index);
    if (this.tokens.wordsWith(first).sizes.some((n) => n <= size && this.tokens.fills(size - n))) return;
    throw new FormError("lengths", first ? "noLineWith" : "noLine", size, first);
  }

  begin(text) {
    const line = [...text].reduce((sum, each) => (this.ends.has(each) ? "" : sum + each), ""), first = firstCharacter(line);
    this.count = countCharacters(line);
    if (first && this.firstOf(0) && this.firstOf(0) !== first) throw new FormError("first", "begunFirst", first, this.firstOf(0));
    if (this.hasLengths && (this.count > this.size(0) || !this.tokens.fills(this.size(0) - this.count))) {
      throw new FormError("lengths", "begunLength", this.count, this.size(0));
    }
  }

  size(index) { return this.sizes[this.number ? index : 0]; }
  firstOf(index) { return this.firsts[index] ?? ""; }
  cost(first) { return first ? this.tokens.wordsWith(first).shortest : 0; }
  get first() { return this.count ? "" : this.firstOf(this.finished); } // of a line that has not begun
  get start() { return this.hasLengths ? 0 : this.cost(this.first); }
  get complete() { return this.finished === this.number; }
  copy() { return Object.assign(Object.create(Lines.prototype), this); }

  read(piece) {
    this.usedCharacters += [...piece].length;
    this.usedTokens += 1;
    for (const character of piece) {
      if (!this.ends.has(character)) this.count += countCharacters(character);
      else if (this.count) {
        this.finished += 1;
        this.count = this.usedCharacters = this.usedTokens = 0;
      }
    }
  }

  // The characters that lines with lengths still have, in a room if there may be any number of lines.
  capacity(room) {
    if (this.number) return this.sizes.slice(this.finished).reduce((sum, each) => sum + each, 0) - this.count;
    const size = this.size(0), left = size - this.count;
    return left + Math.floor(Math.max(0, room - left - 1) / (size + 1)) * size;
  }

  // The characters that finish the form and hold some words, each {characters, first}; null if the words find no room.
  needed(words = [], room = 0, another = false) {
    if (this.complete) return words.length ? null : 0;
    if (!(this.number || this.count || words.length || another)) return 0;
    if (!this.hasLengths) {
      const begun = this.count ? 1 : 0, starts = this.firsts.slice(this.finished + begun);
      return begun + starts.reduce((sum, first) => sum + this.cost(first) + 1, 0) + words.reduce((sum, word) => sum + word.characters, 0);
    }
    const size = this.size(this.finished), left = size - this.count;
    if (this.number) return this.findsRoom(words, left, this.number) ? this.capacity(room) + this.number - this.finished : null;
    for (let more = 0; more <= words.length; more++) {
      const needed = left + 1 + more * (size + 1);
      if ((!more || needed <= room) && this.findsRoom(words, left, this.finished + 1 + more)) return needed;
    }
    return null;
  }

  // Whether words find room in what is left of this line, and in the lines before a number.
  findsRoom(words, left, stop) {
    if (!words.length) return true;
    const kinds = new Map();
    const add = (free, first) => {
      const line = { free, first, cost: this.cost(first) }, key = lineKey(line), same = kinds.get(key) ?? [];
      // More equal lines than words make no difference.
      if (same.length < words.length) kinds.set(key, [...same, line]);
    };
    add(left, this.first);
    for (let index = this.finished + 1; index < stop; index++) add(this.size(index), this.firstOf(index));
    return fit([...words].sort((a, b) => b.characters - a.characters), [...kinds.values()].flat());
  }

  // Whether a word may be written now, so that others still find room.
  takes(word, others, room) {
    if (this.first && this.first !== word.first) return false;
    const left = this.size(this.finished) - this.count - word.characters;
    return !this.hasLengths || (left >= 0 && this.mayLeave(left, others, room));
  }

  // Whether this line can be filled, and words find room, once a number of its characters is left.
  mayLeave(left, words, room) {
    if (!this.tokens.fills(left)) return false;
    if (!words.length) return true;
    const after = this.copy();
    after.count = this.size(this.finished) - left;
    return after.needed(words, room) !== null;
  }

  // Which tokens may follow, and by how many characters each comes closer to the limits: functions of an id.
  allowed(words, until, place) {
    if (!this.hasLengths) return this.allowedInParagraph(words.length > 0, place);
    const { tokens } = this, left = this.size(this.finished) - this.count, extra = (id) => tokens.lengths[id] - tokens.counts[id];
    if (!left) {
      const ends = this.finished + 1 === this.number ? (id) => tokens.lineEnds[id] && tokens.sentenceEnds[id] : (id) => tokens.lineEnds[id];
      // Closing marks may come before the mark that ends the line.
      return { allows: place.opened ? (id) => ends(id) || tokens.closing[id] : ends, more: (id) => extra(id) - tokens.lineEnds[id] };
    }
    const fits = Array.from({ length: left + 1 }, (_, n) => n > 0 && this.mayLeave(left - n, words, until)), { first, count } = this;
    const last = [...place.tail].at(-1) ?? "", marks = first ? tokens.closing : !count || !countCharacters(last) ? tokens.pairs : tokens.marks;
    const ends = !count && last && (place.mayEnd || last !== "\n");
    const isWord = (id) => tokens.words[id] && fits[tokens.counts[id]] && (!first || tokens.firsts[id] === first);
    return { allows: (id) => isWord(id) || marks[id] || (ends && tokens.paragraphEnds[id]), more: extra };
  }

  allowedInParagraph(waits, place) {
    const { tokens, first, start } = this, lines = (this.number ?? 1) - this.finished;
    if (!this.count) {
      const isWord = (id) => tokens.words[id] && (!first || tokens.firsts[id] === first);
      return { allows: isWord, more: (id) => tokens.lengths[id] - (isWord(id) ? start : 0) };
    }
    const more = (id) => tokens.lengths[id] - tokens.paragraphEnds[id];
    if (waits && lines === 1) return { allows: (id) => tokens.usable[id] && !tokens.paragraphEnds[id], more };
    const over = (used, room) => used >= FAIR_SHARE * Math.floor((room + used) / lines);
    const long = over(this.usedCharacters, place.room.characters) || over(this.usedTokens, place.room.tokens);
    const kept = long && isSentenceEnd(place.tail) && !place.opened ? tokens.paragraphEnds : tokens.usable;
    return { allows: (id) => kept[id], more };
  }

  unmet() {
    if (this.number) return this.complete ? [] : [[this.hasLengths ? "lines" : "paragraphs", this.finished, this.number]];
    return this.count ? [["line", this.count, this.size(0)]] : [];
  }
}

// Whether words, the longest first, find room in lines: the others in what one leaves.
function fit(words, lines, known = new Map()) {
  if (!words.length) return true;
  const key = `${words.length} ${lines.map(lineKey).sort()}`;
  if (!known.has(key)) {
    const [{ characters, first }, ...others] = words, tried = new Set();
    known.set(key, lines.some((line, number) => {
      const left = line.free - characters - (!line.first || line.first === first ? 0 : line.cost);
      if (left < 0 || tried.has(lineKey(line))) return false;
      tried.add(lineKey(line));
      return fit(others, [...lines.slice(0, number), { free: left, first: "", cost: 0 }, ...lines.slice(number + 1)], known);
    }));
  }
  return known.get(key);
}
