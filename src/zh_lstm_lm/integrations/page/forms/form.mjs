// The form of a text: which tokens may follow, so that all that is asked for still fits; see generation/forms/form.py.
import { lengthOf } from "../punctuation.mjs";
import { FormError } from "./error.mjs";
import { Lines } from "./lines.mjs";
import { countCharacters, firstCharacter } from "./tokens.mjs";
import { Words } from "./words.mjs";

const leastOf = (room) => Math.min(room.characters, room.tokens);
const wordsOf = (required) => required.map((each) => each.word);

export class Form {
  // lines: Lines or null; words: see Words; place: {tail, room: {characters, tokens}, opened, mayEnd} where the form begins.
  constructor(tokens, lines, words, place) {
    const room = leastOf(place.room);
    this.tokens = tokens;
    this.lines = lines;
    this.mask = new Uint8Array(tokens.size);
    this.words = new Words(words, this.roomForWords(room));
    this.begun = new Map(); // the words that the next token may begin, by its id
    const needed = this.needed(room, true);
    if (needed !== null && needed <= room && Math.min(0, ...this.slacks(room)) >= 0) return;
    const field = words.length ? "words" : lines?.hasLengths ? "lengths" : "first", asked = words.map((word) => word.text);
    if (needed === null) throw new FormError(field, "noRoomInLines", asked);
    throw new FormError(field, words.length ? "noRoomForWords" : "noRoom", words.length ? asked : needed, room);
  }

  get isForced() { return this.words.forced.length > 0; } // while a word of several tokens is being written
  // Whether nothing is missing that the text can still get, so that other limits may end it.
  get met() { return !(this.words.pending.length || this.isForced || (this.lines?.number && !this.lines.complete)); }
  // Whether the text can end here without breaking off a word or a line that has a length.
  get atRest() { return !(this.isForced || (this.lines?.hasLengths && this.lines.count)); }

  // Whether there is no room for another line, of any number of them.
  isFull(room) {
    const { lines } = this;
    return Boolean(lines && !lines.number && !lines.count) && (lines.needed([], 0, true) ?? 0) > leastOf(room);
  }

  roomForWords(room) {
    if (!this.lines) return room;
    return this.lines.hasLengths ? this.lines.capacity(room) : room - (this.lines.needed() ?? 0);
  }

  // The characters that complete the form; null if words find no room in its lines.
  needed(room, another = false) {
    const { pending } = this.words, length = pending.reduce((sum, word) => sum + word.length, 0), forced = this.forcedLength;
    if (!this.lines) return length + forced;
    // A word may hold marks that do not count in a line.
    const marks = length - pending.reduce((sum, { word }) => sum + word.characters, 0);
    const needed = this.lines.needed(wordsOf(pending), this.until(room), another);
    return needed === null ? null : needed + marks + (this.lines.hasLengths ? 0 : forced);
  }

  get forcedLength() { return this.words.forced.reduce((sum, id) => sum + this.tokens.lengths[id], 0); }

  // The room before the first of the pending words has to have occurred.
  until(room) {
    return Math.min(room, ...this.words.pending.flatMap(({ within }) => (within === null ? [] : [within - this.words.position])));
  }

  // The characters that complete the form after a token, apart from pending words in lines.
  neededAfter(piece) {
    if (!this.lines) return this.needed(0) ?? 0;
    const lines = this.lines.copy();
    lines.read(piece);
    if (!lines.hasLengths) return Object.assign(Object.create(Form.prototype), this, { lines }).needed(0) ?? 0;
    // A mark before a line calls for the line.
    return lines.needed([], 0, lines.finished === this.lines.finished) ?? 0;
  }

  // How many characters each pending word can wait, or each but one that is written now.
  slacks(room, without = null) {
    const words = without ? this.words.without(without) : this.words.pending, before = without ? without.length : this.forcedLength;
    return this.words.slacks(words, this.roomForWords(room), before, without ? 0 : this.lines?.start ?? 0);
  }

  // Which tokens may follow, 1 in a mask until the next call, and what is added to the log-probabilities of some, by id.
  follow(place) {
    const { tokens, words, lines, mask } = this, room = leastOf(place.room), biases = new Map();
    this.begun = new Map();
    mask.fill(0);
    if (this.isForced) {
      mask[words.forced[0]] = 1;
      return { mask, biases };
    }
    const needed = this.needed(room, true);
    const slacks = words.giveUp(needed === null ? words.pending.map(() => -1) : this.slacks(room)), { pending } = words;
    const { allows, more } = lines ? lines.allowed(wordsOf(pending), this.until(room), place) : { allows: (id) => tokens.usable[id], more: (id) => tokens.lengths[id] };
    const spare = place.room.characters - (needed ?? 0), spareTokens = place.room.tokens - (needed ?? 0);
    const tight = spare < tokens.longest || spareTokens < 1;
    // There is room for closing marks.
    const fits = (id) => { const by = more(id) - (place.opened ? tokens.closing[id] : 0); return by <= spare && (by <= 0 || spareTokens > 0); };
    for (let id = 0; id < tokens.size; id++) mask[id] = allows(id) && (!tight || fits(id)) ? 1 : 0;
    if (!pending.length) return { mask, biases };
    if (!lines?.hasLengths) {
      const due = slacks.filter((_, i) => pending[i].within !== null), most = due.length ? Math.min(...due) : room;
      for (let id = 0; id < tokens.size; id++) if (tokens.lengths[id] > most) mask[id] = 0;
    }
    if (place.mayEnd && place.tail.endsWith("\n")) tokens.paragraphEnds.forEach((is, id) => { if (is) mask[id] = 0; });
    pending.forEach((word, i) => {
      const [id] = word.ids;
      if (this.begun.has(id) || !this.takes(word, room)) return;
      this.begun.set(id, word);
      biases.set(id, words.bias(word, slacks[i]));
    });
    for (const id of this.begun.keys()) mask[id] = 1;
    return { mask, biases };
  }

  // Whether a word may be written now.
  takes(word, room) {
    const others = wordsOf(this.words.without(word));
    if (this.lines && !this.lines.takes(word.word, others, this.until(room))) return false;
    if (word.within !== null && this.words.position + word.length > word.within) return false;
    return Math.min(0, ...this.slacks(room, word)) >= 0;
  }

  read(id, piece) {
    this.words.read(piece, this.begun.get(id));
    this.begun = new Map();
    this.lines?.read(piece);
  }

  unmet() { return [...(this.lines?.unmet() ?? []), ...this.words.unmet()]; }
}

// The form that limits ask for, at a place in a text; null if they ask for none. limits: lengths, first, words: [text, within].
export function makeForm(sampler, segmenter, { lengths = null, first = "", words = [] }, place) {
  if (lengths === null && !first && !words.length) return null;
  if (sampler.separator) throw new FormError(lengths === null ? (first ? "first" : "words") : "lengths", "spaced");
  const tokens = sampler.formTokens;
  const lines = lengths !== null || first ? new Lines(tokens, lengths, segmenter.normalize(first), place.tail) : null;
  const required = words.map(([word, within]) => {
    const text = segmenter.normalize(word), ids = segmenter.encodeWord(sampler.names.read(text, segmenter));
    if (ids.map((id) => sampler.tokens[id]).join("") !== text || !ids.every((id) => tokens.usable[id])) {
      throw new FormError("words", "unknownWord", word);
    }
    return { text, ids, within, length: lengthOf(text), word: { characters: countCharacters(text), first: firstCharacter(text) } };
  });
  return new Form(tokens, lines, required, place);
}
