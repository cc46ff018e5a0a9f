// The rules of quotes, brackets and paragraphs; see generation/punctuation.py.

export const PAIRS = new Map([..."“‘「『（《〈【〔"].map((mark, i) => [mark, [..."”’」』）》〉】〕"][i]]));
const OPENING = new Map([...PAIRS].map(([opening, closing]) => [closing, opening]));
const EMPTY = new Set(["：", ":", ...PAIRS.keys()]);
const SENTENCE_ENDS = new Set("。！？!?");
const CLAUSE_ENDS = new Set("，；：、");
const CHINESE_ENDS = new Set([...CLAUSE_ENDS, ..."。！？"]);
const NEVER_FIRST = new Set([..."，。！？；：、,.!?;:)]}·％%", ...OPENING.keys()]);
const NEVER_AFTER = new Map([
  ...[...PAIRS.keys(), ...CLAUSE_ENDS].map((mark) => [mark, CHINESE_ENDS]),
  ...[..."。！？"].map((mark) => [mark, CLAUSE_ENDS]),
  ["\n", NEVER_FIRST],
]);
export const lengthOf = (text) => [...text].length;
export const lastOf = (text) => [...text].at(-1) ?? "";

// Which tokens may follow, given the open marks and the last character; see generation/punctuation.py.
export class PunctuationRules {
  constructor(tokens, separator = "") {
    const words = tokens.map((token) => (separator && token.startsWith(separator) ? token.slice(separator.length) : token));
    const ids = new Map();
    for (const plain of [false, true]) {
      words.forEach((word, id) => { if (lengthOf(word) === 1 && (tokens[id] === word) !== plain) ids.set(word, id); });
    }
    this.markLength = 1 + lengthOf(separator);
    this.closing = new Map([...PAIRS].filter(([opening, closing]) => ids.has(opening) && ids.has(closing)));
    this.closingIds = new Map([...this.closing].map(([opening, closing]) => [opening, ids.get(closing)]));
    this.matched = new Set([...this.closing.keys(), ...this.closing.values()]);
    const first = new Set([...NEVER_AFTER.values()].flatMap((marks) => [...marks]));
    this.concerned = words.flatMap((word, id) => {
      const characters = [...word];
      const concerned = first.has(characters[0]) || characters.some((each) => this.matched.has(each) || each === "\n");
      return word && concerned ? [[id, word, characters, tokens[id]]] : [];
    });
    this.longest = Math.max(0, ...this.concerned.map(([, , , token]) => lengthOf(token)));
    this.verdicts = new Map();
  }

  read(text, opened = "") {
    for (const character of this.closing.size ? text : "") {
      if (character === "\n") opened = "";
      else if (this.closing.has(character)) opened = opened.split(character)[0] + character;
      else if (this.matched.has(character) && opened.includes(OPENING.get(character))) {
        opened = opened.slice(0, opened.lastIndexOf(OPENING.get(character)));
      }
    }
    return opened;
  }

  // roomAfter(token): the number of closing marks that there is room for after a token.
  verdict(opened, before, roomAfter) {
    const previous = lastOf(before) || "\n";
    const kind = NEVER_AFTER.has(previous) || EMPTY.has(previous) ? previous : "";
    const far = roomAfter("\0".repeat(this.longest)) > opened.length + this.longest, key = `${opened}\0${kind}`;
    if (far && this.verdicts.has(key)) return this.verdicts.get(key);
    const forbidden = new Set(), moved = new Map(), innermost = opened.at(-1);
    for (const [id, word, characters, token] of this.concerned) {
      if (this.allows(characters, opened, previous, far ? null : roomAfter(token))) continue;
      const waits = opened && (word === "\n" || opened.slice(0, -1).includes(OPENING.get(word) ?? word));
      if (waits && this.allows([PAIRS.get(innermost)], opened, previous, null)) moved.set(id, this.closingIds.get(innermost));
      else forbidden.add(id);
    }
    const verdict = { forbidden, moved };
    if (far) this.verdicts.set(key, verdict);
    return verdict;
  }

  allows(characters, opened, previous, room) {
    for (const character of characters) {
      if (NEVER_AFTER.get(previous)?.has(character)) return false;
      if (character === "\n" && opened) return false;
      if (this.closing.has(character)) {
        if (opened.includes(character)) return false;
        opened += character;
      } else if (this.matched.has(character)) {
        if (opened.at(-1) !== OPENING.get(character) || EMPTY.has(previous)) return false;
        opened = opened.slice(0, -1);
      }
      previous = character;
    }
    return room === null || opened.length <= room;
  }
}

export function endsSentence(piece, before) {
  let previous = lastOf(before), ends = false;
  for (const character of piece) {
    if (SENTENCE_ENDS.has(character)) ends ||= !SENTENCE_ENDS.has(previous);
    else if (character === "\n") ends ||= previous !== "" && previous !== "\n" && !SENTENCE_ENDS.has(previous) && !OPENING.has(previous);
    previous = character;
  }
  return ends;
}

// Whether a text ends with a sentence or a paragraph; closing quotes and brackets may follow the full stop.
export function isSentenceEnd(text) {
  const characters = [...text];
  if (characters.at(-1) === "\n") return true;
  while (characters.length && (OPENING.has(characters.at(-1)) || characters.at(-1) === " ")) characters.pop();
  return SENTENCE_ENDS.has(characters.at(-1));
}
