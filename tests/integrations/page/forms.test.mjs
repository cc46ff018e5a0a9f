// Unit tests of forms in the page: texts of a model that knows nothing, by rules that are written here again.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { Draft } from "../../../src/zh_lstm_lm/integrations/page/draft.mjs";
import { makeForm } from "../../../src/zh_lstm_lm/integrations/page/forms/form.mjs";
import { Bans, Names } from "../../../src/zh_lstm_lm/integrations/page/forms/names.mjs";
import { parseNames, readLimits } from "../../../src/zh_lstm_lm/integrations/page/forms/options.mjs";
import { Kernels } from "../../../src/zh_lstm_lm/integrations/page/kernels.mjs";
import { Random, Sampler } from "../../../src/zh_lstm_lm/integrations/page/sampling.mjs";
import { Segmenter } from "../../../src/zh_lstm_lm/integrations/page/segment.mjs";
import { SAY } from "../../../src/zh_lstm_lm/integrations/page/sentences.mjs";

const TOKENS = [
  "", "\n", ..."，。！？“”（）：、", "！？", "……", ..."好风雪春夏秋冬山水月白玉堂展昭宝剑𠮷", "展昭", "春风", "秋水", "夏日炎", "冬雪", "你来我往", "白玉", "𠮷风",
];
const NUMBER = 1000;
const DESCRIPTION = { tokens: TOKENS, bos: 0, newline: 1, separator: "", bytes: Array(256).fill(0), unk: null, normalize: "nfc" };
const NOTHING = { lengths: "", first: "", words: "", names: "", stopAt: "", atEnd: false, exact: false };
const segmenter = new Segmenter(DESCRIPTION), random = new Random(5);
const newSampler = () => new Sampler(DESCRIPTION, { kernels: new Kernels(), logProbs: () => {} });
const logProbs = Float32Array.from(TOKENS, () => -3);

function write(sampler, text, fields, turn = 40) {
  const limits = readLimits({ ...NOTHING, ...fields }, turn), draft = new Draft(sampler, text, limits), pieces = [];
  draft.form = makeForm(sampler, segmenter, limits, draft.place);
  while (!draft.finished) {
    const id = sampler.sample(draft, logProbs, { temperature: 1 }, random.random());
    assert.notEqual(id, null);
    pieces.push(sampler.textAfter(0, id));
    draft.add(id, pieces.at(-1));
  }
  return { draft, pieces, text: pieces.slice(0, pieces.length - draft.surplus).join("") };
}

const linesOf = (text) => text.split(/[，。！？：\n]/).map((line) => [...line.replace(/[“”（）、…]/g, "")]).filter((line) => line.length);
const refusal = (fields, turn = 40, text = "") => { try { write(newSampler(), text, fields, turn); } catch (error) { return error.key ?? error; } };

function writeMany(fields, check, { text = "", turn = 40, number = NUMBER } = {}) {
  const sampler = newSampler();
  for (let i = 0; i < number; i++) {
    const written = write(sampler, text, fields, turn);
    assert.deepEqual(written.draft.unmet, []);
    // A stop breaks off.
    for (const paragraph of written.draft.reason === "stop" ? [] : written.text.split("\n")) {
      for (const [opening, closing] of ["“”", "（）"]) assert.equal(paragraph.split(opening).length, paragraph.split(closing).length, written.text);
    }
    check(written.text, written.draft);
  }
}

test("lines have their lengths and first characters", () => {
  writeMany({ lengths: "七绝", first: "春夏𠮷冬" }, (text, draft) => {
    assert.deepEqual(linesOf(text).map((line) => [line.length, line[0]]), [..."春夏𠮷冬"].map((first) => [7, first]));
    assert.equal(draft.reason, "form");
  });
});

test("lines of one length end with a sentence, or in the room with a whole line", () => {
  writeMany({ lengths: "5" }, (text) => {
    assert.ok(linesOf(text).every((line) => line.length === 5) && /[。！？\n][”）]*$/.test(text), text);
    assert.ok([...text].length >= 40);
  });
  writeMany({ lengths: "五言", exact: true }, (text) => {
    assert.ok(linesOf(text).every((line) => line.length === 5), text);
    assert.ok([...text].length > 33 && [...text].length <= 40, text);
  });
});

test("paragraphs begin with their characters, and share the room", () => {
  writeMany({ first: "春夏秋冬" }, (text) => {
    assert.deepEqual(text.split("\n").slice(0, -1).map((each) => [...each].find((one) => !"“”（）".includes(one))), [..."春夏秋冬"]);
    assert.ok([...text].length <= 60, text);
  }, { turn: 60 });
});

test("words occur in lines, in a turn, and within their number of characters", () => {
  writeMany({ lengths: "5,3,4", words: "展昭 白玉堂、宝剑，春风 雪山" }, (text) => {
    assert.deepEqual(linesOf(text).map((line) => line.length), [5, 3, 4]);
    for (const word of ["展昭", "白玉堂", "宝剑", "春风", "雪山"]) assert.ok(linesOf(text).some((line) => line.join("").includes(word)), text);
  });
  writeMany({ words: "展昭=6 白玉堂=20 宝剑" }, (text) => {
    const within = (word, number) => assert.ok([...text].slice(0, number).join("").includes(word), text);
    within("展昭", 6);
    within("白玉堂", 20);
    within("宝剑", 40);
  });
});

test("a text of exactly so many characters has its words, and waits for them at its stops", () => {
  writeMany({ words: "展昭 白玉堂", exact: true }, (text) => assert.ok([...text].length === 20 && text.includes("展昭") && text.includes("白玉堂"), text), { turn: 20 });
  writeMany({ words: "展昭", stopAt: "。 玉雪" }, (text, draft) => {
    assert.ok(text.includes("展昭"), text);
    if (draft.reason === "stop") assert.ok(/(。|玉雪)$/.test(text), text);
  });
});

test("a text ends with its document, without the empty paragraph", () => {
  const ended = [];
  writeMany({ atEnd: true }, (text, draft) => { if (draft.reason === "document") ended.push(text); }, { text: "好。\n", turn: 300 });
  assert.ok(ended.length > NUMBER / 20);
  for (const text of ended) assert.ok(/^$|[^\n]\n$/.test(text) && !text.includes("\n\n"), JSON.stringify(text));
});

test("what contradicts or cannot be written is refused", () => {
  const cases = [
    [{ lengths: "0" }, "badLength"], [{ lengths: "5,0" }, "badLength"], [{ lengths: "-3" }, "badLength"], [{ lengths: "2.5" }, "badLength"],
    [{ lengths: "5,x" }, "badLengths"], [{ lengths: "1001" }, "badLength"], [{ first: "春。夏" }, "badFirst"], [{ first: "春龘" }, "unknownFirst"],
    [{ lengths: "5,5,5", first: "春夏" }, "differentNumbers"], [{ words: "展昭=60", lengths: "5,5" }, "withinLines"], [{ words: "展昭=1" }, "badWithin"],
    [{ words: "展昭=x" }, "badWithin"], [{ words: "“好”" }, "badWord"], [{ words: "好 好" }, "twice"], [{ words: "龘" }, "unknownWord"],
    [{ words: "你来我往", lengths: "3,3" }, "noRoomInLines"], [{ words: "展昭=3 宝剑=3" }, "noRoomForWords"], [{ lengths: "5,5", exact: true }, "exactLines"],
  ];
  for (const [fields, key] of cases) assert.equal(refusal(fields), key, JSON.stringify(fields));
  assert.equal(refusal({ first: "春夏秋冬" }, 7), "noRoom");
  assert.equal(refusal({ lengths: "5,5", first: "春夏" }, 40, "好。好"), "begunFirst");
  assert.equal(refusal({ lengths: "2,2" }, 40, "好风雪"), "begunLength");
  assert.equal(refusal({ lengths: "2,2" }, 40, "好风雪。"), undefined);
  const spaced = new Sampler({ ...DESCRIPTION, separator: " " }, { kernels: new Kernels() });
  assert.throws(() => makeForm(spaced, segmenter, { lengths: 5 }, {}), { key: "spaced" });
  const even = { ...DESCRIPTION, tokens: ["", "\n", "。", "展昭", "春风"] }, sampler = new Sampler(even, { kernels: new Kernels() });
  const lines = (lengths, first = "") => makeForm(sampler, new Segmenter(even), { lengths, first }, new Draft(sampler, "").place);
  assert.throws(() => lines(5), { key: "noLine" });
  assert.throws(() => lines([4, 3], "展春"), { key: "noLineWith" });
  assert.ok(lines([4, 6], "展春"));
});

test("a text that is stopped says what it misses", () => {
  const sampler = newSampler(), limits = readLimits({ ...NOTHING, lengths: "5,5", words: "宝剑" }, 40), draft = new Draft(sampler, "", limits);
  draft.form = makeForm(sampler, segmenter, limits, draft.place);
  assert.deepEqual(draft.unmet, [["lines", 0, 2], ["missing", "宝剑"]]);
});

test("names of the writer's own are written, read and counted", () => {
  const sampler = newSampler(), pairs = parseNames("展昭=李寻欢\n白玉\t叶\n\n山水 = 江湖 \n玉=石\n"), names = new Names(pairs, segmenter);
  assert.deepEqual(pairs, [["展昭", "李寻欢"], ["白玉", "叶"], ["山水", "江湖"], ["玉", "石"]]);
  assert.deepEqual(names.unknown, ["山水"]);
  sampler.use(names);
  let own = 0;
  for (let i = 0; i < NUMBER; i++) {
    const { text, pieces } = write(sampler, "", { exact: true }, 20);
    assert.ok(!/展昭|白玉|山水/.test(text) && !pieces.includes("玉"), text);
    assert.deepEqual(names.left(pieces), []);
    own += text.includes("李寻欢");
  }
  assert.ok(own > NUMBER / 20);
  assert.equal(names.read("李寻欢好", segmenter), "展昭好");
  assert.deepEqual(names.encode("好李寻欢，叶", segmenter), [[TOKENS.indexOf("好"), "好"], [TOKENS.indexOf("展昭"), "李寻欢"], [TOKENS.indexOf("，"), "，"], [TOKENS.indexOf("白玉"), "叶"]]);
  assert.deepEqual(names.left(["展", "昭", "白玉堂", "玉", "展昭好", "展昭"]), [["展昭", 2], ["玉", 1]]);
  assert.deepEqual([...new Bans(["展昭", "昭"], TOKENS).after("好展")].map((id) => TOKENS[id]).sort(), ["展昭", "昭"]);
  assert.throws(() => parseNames("展昭"), { key: "badName" });
  assert.throws(() => parseNames("展昭=李\n展昭=王"), { key: "twice" });
  // Names may be exchanged.
  assert.deepEqual(new Names([["展昭", "白玉"], ["白玉", "展昭"]], segmenter).left(["展昭"]), []);
});

test("every refusal has a sentence in both languages", () => {
  assert.deepEqual(Object.keys(SAY.zh), Object.keys(SAY.en));
  const sources = new URL("../../../src/zh_lstm_lm/integrations/page/forms/", import.meta.url);
  const keys = readdirSync(sources).flatMap((file) => [...readFileSync(new URL(file, sources), "utf8").matchAll(/FormError\((.*)\)/g)].flatMap(([, values]) => [...values.matchAll(/"(\w+)"/g)].map(([, key]) => key)));
  const fields = ["lengths", "first", "words", "names", "exact"], said = new Set(keys.filter((key) => !fields.includes(key)));
  assert.ok(said.size > 20);
  for (const key of said) assert.equal(typeof SAY.zh[key], "function", key);
});
