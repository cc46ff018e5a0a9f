// What a reader asks for in the fields of the page, as limits of a text; see generation/forms/options.py and generation/limits.py.
import { lengthOf } from "../punctuation.mjs";
import { FormError } from "./error.mjs";
import { LINE_ENDS, PAIRED_MARKS, countCharacters } from "./tokens.mjs";

const MOST_LINES = 1000, LONGEST_LINE = 1000, MOST_WORDS = 50;
const MORE = 300; // characters after those of a turn in which a sentence end is awaited
const DIGITS = "一二三四五六七八九";
const STANZAS = { 绝: 4, 律: 8 };

const partsOf = (text) => text.split(/[\s,，、;；]+/).filter((part) => part);

// 7; 5,7,5,7; 五言 for any number of lines; 五言绝句 and 七律 for 4 and 8 of them. Returns a number, a list, or null.
function parseLengths(text) {
  const [, digit, stanza] = text.trim().match(/^([一二三四五六七八九])言?(绝|律)?[句诗]?$/) ?? [], number = DIGITS.indexOf(digit) + 1;
  if (digit) return stanza ? Array(STANZAS[stanza]).fill(number) : number;
  const parts = partsOf(text);
  if (!parts.every((part) => /^[-+]?\d+(\.\d+)?$/.test(part))) throw new FormError("lengths", "badLengths");
  const lengths = parts.map(Number);
  if (lengths.length > MOST_LINES) throw new FormError("lengths", "manyLines", MOST_LINES);
  for (const length of lengths) if (!Number.isInteger(length) || length < 1 || length > LONGEST_LINE) throw new FormError("lengths", "badLength", length, LONGEST_LINE);
  return lengths.length > 1 ? lengths : lengths[0] ?? null;
}

function parseFirst(text) {
  const first = partsOf(text).join("");
  if (lengthOf(first) > MOST_LINES) throw new FormError("first", "manyLines", MOST_LINES);
  if (countCharacters(first) < lengthOf(first)) throw new FormError("first", "badFirst");
  return first;
}

// 展昭 宝剑=60: words, and the characters within which they must occur.
function parseWords(text) {
  const words = partsOf(text).map((part) => {
    const [word, number] = part.split(/[=＝]/, 2), within = number === undefined ? null : Number(number);
    if (!word || [...word].some((each) => LINE_ENDS.has(each) || PAIRED_MARKS.has(each))) throw new FormError("words", "badWord", part);
    if (within !== null && !(Number.isInteger(within) && within >= lengthOf(word))) throw new FormError("words", "badWithin", word, lengthOf(word));
    return [word, within];
  });
  if (words.length > MOST_WORDS) throw new FormError("words", "manyWords", MOST_WORDS);
  words.forEach(([word], i) => { if (words.slice(0, i).some(([other]) => other === word)) throw new FormError("words", "twice", word); });
  return words;
}

// A line for each name of the corpus: 展昭=李寻欢, or with a tab.
export function parseNames(text) {
  const names = text.split("\n").filter((line) => line.trim()).map((line) => {
    const parts = line.split(line.includes("\t") ? "\t" : /[=＝]/), [old, name] = [parts[0], parts.slice(1).join("=")].map((each) => each.trim());
    if (!old || !name) throw new FormError("names", "badName", line.trim());
    return [old, name];
  });
  names.forEach(([old], i) => { if (names.slice(0, i).some(([other]) => other === old)) throw new FormError("names", "twice", old); });
  return names;
}

// The limits of a turn. fields: lengths, first, words, stopAt, atEnd, exact; turn: its number of characters.
export function readLimits(fields, turn) {
  const lengths = parseLengths(fields.lengths), first = parseFirst(fields.first), words = parseWords(fields.words);
  const firsts = lengthOf(first), lines = Array.isArray(lengths) ? lengths.length : firsts;
  if (Array.isArray(lengths) && first && lengths.length !== firsts) throw new FormError("first", "differentNumbers", lengths.length, firsts);
  if (lengths !== null && words.some(([, within]) => within !== null)) throw new FormError("words", "withinLines");
  if (fields.exact && lines) throw new FormError("exact", "exactLines");
  // Words occur in the whole text if it has a length, else in the characters of a turn.
  const whole = lines || lengths !== null || fields.exact, form = { lengths, first, words: words.map(([word, within]) => [word, within ?? (whole ? null : turn)]) };
  return { ...form, ...room(form, lines, turn, fields.exact), stop: fields.stopAt.split(/\s+/).filter((part) => part), document: fields.atEnd };
}

function room({ lengths, first, words }, lines, turn, exact) {
  // Marks inside of lines are tokens as well.
  if (lines && lengths !== null) return { maxTokens: 3 * (lines + [lengths].flat().reduce((sum, each) => sum + each, 0) * (Array.isArray(lengths) ? 1 : lines)) };
  if (first || exact) return { maxCharacters: turn };
  return { enough: turn, maxCharacters: Math.max(turn, ...words.map(([, within]) => within ?? 0)) + MORE };
}
