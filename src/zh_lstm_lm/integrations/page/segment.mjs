// From text to ids, without the tokenizer of the model: the likeliest words of the vocabulary, by their rank.
// What is no word falls back to characters, and those to bytes or to <unk>.

export class Segmenter {
  constructor(description) {
    this.ids = new Map();
    description.tokens.forEach((token, id) => { if (token) this.ids.set(token, id); });
    Object.assign(this, { bytes: description.bytes, unk: description.unk, separator: description.separator });
    this.steps = description.normalize.split("+");
    this.longest = 1;
    for (const token of this.ids.keys()) this.longest = Math.max(this.longest, token.length);
    this.longest = Math.min(this.longest, 20);
  }

  normalize(text) {
    for (const step of this.steps) {
      if (step === "nfc") text = text.normalize("NFC");
      if (step === "nfkc") text = text.normalize("NFKC");
      if (step === "width") text = text.replace(/[０-９Ａ-Ｚａ-ｚ]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0));
    }
    text = text.replace(/\r\n?/g, "\n");
    return text.toWellFormed?.() ?? text;
  }

  // The id of a word of the vocabulary; undefined for none.
  idOf(word) { return this.ids.get(this.separator + word) ?? this.ids.get(word); }

  // The ids of a word, as it stands inside of a paragraph.
  encodeWord(word) { return this.ids.has(word) ? [this.ids.get(word)] : this.encode(word).map(([id]) => id); }

  // Returns [id, piece of the text] pairs; of several bytes the first has the piece.
  encode(text) {
    const found = [];
    text.split("\n").forEach((paragraph, number) => {
      if (number) found.push([this.ids.get("\n"), "\n"]);
      if (paragraph) this.encodeParagraph(paragraph, found);
    });
    return found;
  }

  encodeParagraph(paragraph, found) {
    const text = this.separator + paragraph, costs = [0], from = [0];
    for (let end = 1; end <= text.length; end++) {
      costs[end] = Infinity;
      for (let start = Math.max(0, end - this.longest); start < end; start++) {
        const id = this.ids.get(text.slice(start, end));
        const cost = costs[start] + (id === undefined ? (end - start === 1 ? 40 : Infinity) : Math.log(id + 20));
        if (cost < costs[end]) { costs[end] = cost; from[end] = start; }
      }
    }
    const cuts = [];
    for (let end = text.length; end > 0; end = from[end]) cuts.push(end);
    let start = 0;
    for (const end of cuts.reverse()) {
      // Both halves of a character beyond the basic plane stay together.
      if (end < text.length && /[\udc00-\udfff]/.test(text[end]) && /[\ud800-\udbff]/.test(text[end - 1])) continue;
      const word = text.slice(start, end), shown = start ? word : word.slice(this.separator.length);
      start = end;
      if (this.ids.has(word)) found.push([this.ids.get(word), shown]);
      else if (this.unk !== null) found.push([this.unk, shown]);
      else new TextEncoder().encode(word).forEach((byte, i) => found.push([this.bytes[byte], i ? "" : shown]));
    }
  }
}
