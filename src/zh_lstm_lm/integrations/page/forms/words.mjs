// Words that must occur in a text, each within a number of characters; see generation/forms/words.py.
import { lengthOf } from "../punctuation.mjs";

// Added to the log-probability of a word that has waited for this proportion of the time that it can wait; less before.
const GREATEST_BIAS = 12, LONG_WAIT = 0.7;

export class Words {
  // words: each {text, ids, within, length, word}, where `within` is null for the whole text and `word` is what lines need.
  constructor(words, room) {
    this.all = [...words].sort((a, b) => (a.within ?? room) - (b.within ?? room));
    this.pending = this.all;
    this.position = 0;
    this.forced = []; // the ids that complete a word that has begun
    this.missed = [];
    this.recent = "";
    this.kept = Math.max(0, ...words.map((word) => word.text.length));
    const slacks = this.slacks(this.all, room);
    this.longest = new Map(this.all.map((word, i) => [word, Math.max(slacks[i], 1)])); // what each could wait at the start
  }

  // How many characters each of some words can wait, with those before it, in a text of so much room.
  slacks(words, room, before = 0, start = 0) {
    let length = before;
    return words.map((word) => {
      length += word.length;
      return Math.min(room, word.within === null ? Infinity : word.within - this.position - start) - length;
    });
  }

  // Leaves out the words that can no longer occur in time; returns the slacks of the others.
  giveUp(slacks) {
    this.missed = [...this.missed, ...this.pending.filter((_, i) => slacks[i] < 0)];
    this.pending = this.pending.filter((_, i) => slacks[i] >= 0);
    return slacks.filter((slack) => slack >= 0);
  }

  bias(word, slack) { return GREATEST_BIAS * Math.min(Math.max((1 - slack / this.longest.get(word)) / LONG_WAIT, 0), 1); }
  without(word) { return this.pending.filter((other) => other !== word); }

  // Adds a token to the text; if it begins a word of several tokens, its other ids follow.
  read(piece, begun) {
    this.forced = (begun ? begun.ids : this.forced).slice(1);
    const text = this.recent + piece;
    this.recent = this.kept ? text.slice(-this.kept) : "";
    this.position += lengthOf(piece);
    this.pending = this.pending.filter((word) => !text.includes(word.text));
    const late = this.pending.filter((word) => word.within !== null && this.position >= word.within);
    this.missed = [...this.missed, ...late];
    this.pending = this.pending.filter((word) => !late.includes(word));
  }

  unmet() {
    return this.all.filter((word) => this.pending.includes(word) || this.missed.includes(word)).map((word) => ["missing", word.text]);
  }
}
