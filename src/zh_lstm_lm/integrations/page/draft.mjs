// One text while it is written, within its limits and its form; see generation/draft.py.
import { endsSentence, lengthOf } from "./punctuation.mjs";

const NO_LIMIT = 2 ** 52;
const TAIL = 1000; // characters of the latest text that limits look at

export class Draft {
  // limits: maxTokens; maxCharacters, which are met exactly; enough, the characters after which a sentence end ends the text;
  // stop, strings that end it; document, whether the end of a document does.
  constructor(sampler, text, { maxTokens = NO_LIMIT, maxCharacters = NO_LIMIT, enough = NO_LIMIT, stop = [], document = false } = {}) {
    this.rules = sampler.rules;
    this.tail = text.slice(-TAIL);
    this.opened = this.rules.read(text);
    this.left = maxTokens;
    this.room = maxCharacters;
    this.enough = enough;
    this.stop = stop;
    this.document = document;
    this.form = null;
    this.written = 0;
    this.closing = this.reason = null; // the limit that ends the text once all pairs are closed, and that which ended it
    this.lineStart = null; // where a text that ends with its document is cut back to
    this.checkRoom();
    this.notePosition();
  }

  get finished() { return this.reason !== null; }
  get atRest() { return this.form?.atRest ?? true; }
  get roomForToken() { return Math.max(1, this.room - this.opened.length * this.rules.markLength); }

  // The place of the next token in a form.
  get place() {
    const marks = this.opened.length;
    return { tail: this.tail, room: { characters: this.room - marks, tokens: this.left - marks }, opened: marks > 0, mayEnd: this.document };
  }

  verdict() { return this.rules.verdict(this.opened, this.tail, (token) => this.roomForMarks(token)); }

  roomForMarks(token) {
    const needed = this.form?.neededAfter(token) ?? 0;
    return Math.min(this.left - needed - (token ? 1 : 0), Math.floor((this.room - needed - lengthOf(token)) / this.rules.markLength));
  }

  // The closing mark that has to follow because the text is about to end; null for none.
  forcedId() {
    if (!this.opened || this.form?.isForced) return null;
    const due = (this.closing && this.atRest) || this.roomForMarks("") <= this.opened.length;
    return due ? this.rules.closingIds.get(this.opened.at(-1)) : null;
  }

  add(id, piece) {
    const before = this.tail, length = lengthOf(piece);
    this.written += 1;
    this.left -= 1;
    this.room -= length;
    this.enough -= length;
    this.opened = this.rules.read(piece, this.opened);
    this.tail = (before + piece).slice(-Math.max(TAIL, ...this.stop.map((each) => each.length)));
    if (this.form) {
      this.form.read(id, piece);
      if (this.form.lines?.complete) this.closing = "form";
      else if (!this.closing && this.form.isFull(this.place.room)) this.closing = "room";
    }
    this.checkLimits(before, piece);
    this.checkRoom();
    this.notePosition();
  }

  checkLimits(before, piece) {
    const met = this.closing !== "form" && (this.form?.met ?? true), reached = met ? this.reached(before + piece, before.length) : null;
    if (reached && this.atRest) this.reason = reached;
    else if (reached) this.closing = reached;
    else if (met && this.enough <= 0 && endsSentence(piece, before)) this.closing = "enough";
    if (this.closing && !this.opened && !this.reason && this.atRest) this.reason = this.closing;
  }

  // The limit that the text has reached, open quotes or not.
  reached(text, before) {
    // A stop string ends in the new piece; it may start before it.
    if (this.stop.some((each) => text.indexOf(each, Math.max(0, before + 1 - each.length)) >= 0)) return "stop";
    return this.document && text.length > before && text.slice(before).includes("\n") && text.endsWith("\n\n") ? "document" : null;
  }

  checkRoom() { if (!this.reason && (this.room <= 0 || this.left <= 0)) this.reason = "room"; }

  notePosition() {
    const starts = !this.tail || this.tail.endsWith("\n");
    if (this.document && !this.reason && starts) this.lineStart = { written: this.written, unmet: this.form?.unmet() ?? [] };
  }

  // The number of the latest tokens that do not belong to the finished text, and what its form misses.
  get cut() { return this.reason === "document" ? this.lineStart : null; }
  get surplus() { return this.cut ? this.written - this.cut.written : 0; }
  get unmet() { return this.cut?.unmet ?? this.form?.unmet() ?? []; }
}
