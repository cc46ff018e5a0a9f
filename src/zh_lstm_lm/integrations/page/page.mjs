// The page: a text that its reader and the model write in turn.
import { $, clearFields, readFields, showForms, whenFieldsChange } from "./panel.mjs";
import { SAY } from "./sentences.mjs";

const MOST_BITS = 20; // the surprisal of the strongest colour
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let words = []; // [piece, bits] of the words that the model has read, from the start of the text
const steps = []; // [text before, whether the model wrote then]
let shown = "", typing = false; // the text as it was last seen, and whether its reader has changed it since the last step
let asked = "", timer = null, status = ["opening"];
let missing = [], waiting = false; // what the latest turn misses, and whether the fields of forms changed while it was written
let before = null; // text, seed and steps before a turn of the model that may be refused
const tail = document.createTextNode("");
const worker = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));
const lengthOf = (pieces) => pieces.reduce((sum, [piece]) => sum + piece.length, 0);
const isRead = () => $("text").value.startsWith(words.map(([piece]) => piece).join(""));

function say(...message) {
  const [key, ...values] = status = message, text = SAY[language][key];
  $("status").textContent = values.length ? text(...values) : text;
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of document.querySelectorAll("[data-zh]")) each.textContent = each.dataset[language];
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-CN";
  say(...status);
  showWord();
  showForms(language);
}

// Draws what lies behind the text: coloured words from one on, and the rest, which gives the sheet its height.
function draw(from = 0) {
  const coloured = $("colour").checked && isRead(), mirror = $("mirror");
  if (!coloured || mirror.childElementCount < from) from = 0;
  while (mirror.childElementCount > from) mirror.lastElementChild.remove();
  for (const [piece, bits] of coloured ? words.slice(from) : []) {
    const span = document.createElement("span");
    span.textContent = piece;
    span.style.background = `rgba(var(--heat), ${0.6 * Math.min(bits / MOST_BITS, 1)})`;
    mirror.append(span);
  }
  tail.data = `${$("text").value.slice(coloured ? lengthOf(words) : 0)}\n`;
  mirror.append(tail);
  showWord();
}

function showWord() {
  let end = 0;
  const place = $("text").selectionStart, found = words.find(([piece]) => (end += piece.length) > place || (end === place && end === $("text").value.length));
  $("scale").hidden = !$("colour").checked;
  $("word").textContent = $("colour").checked && found && isRead() ? SAY[language].word(found[0].trim() || "¶", found[1].toFixed(1)) : "";
}

function busy(on) {
  $("write").disabled = on;
  $("stop").disabled = !on;
  $("undo").disabled = on || !steps.length;
  $("again").disabled = on || !steps.at(-1)?.[1];
  $("text").readOnly = on;
  for (const button of $("next").children) button.disabled = on;
}

function ask(type) {
  clearTimeout(timer); // a later request would end this one
  const number = (id) => Number($(id).value), options = { temperature: number("temperature"), topP: number("topP"), minP: number("minP") };
  asked = $("text").value;
  worker.postMessage({ type, text: asked, options, fields: readFields(), turn: number("length"), seed: Math.max(0, Math.floor(number("seed"))) });
}

function setText(text) {
  $("text").value = shown = text;
  typing = false;
}

function write() {
  before ??= { text: $("text").value, seed: $("seed").value, steps: [...steps] };
  missing = [];
  steps.push([$("text").value, true]);
  typing = false;
  busy(true);
  say("busy");
  ask("write");
}

function refuse(refused) {
  steps.splice(0, steps.length, ...before.steps);
  setText(before.text);
  $("seed").value = before.seed;
  draw();
  $("forms").open = true;
  say("refused", refused);
}

function undo() {
  missing = [];
  setText(steps.pop()[0]);
  draw();
  busy(false);
}

// The same buttons stay, so that the focus does.
function offer(candidates) {
  while ($("next").childElementCount > candidates.length) $("next").lastElementChild.remove();
  candidates.forEach(([piece, prob], i) => {
    const button = $("next").children[i] ?? $("next").appendChild(document.createElement("button")), share = document.createElement("small");
    button.type = "button";
    share.textContent = `${(100 * prob).toFixed(1)}%`;
    button.replaceChildren(piece === "\n" ? "¶" : piece.trim() || "␣", share);
    button.onclick = () => { steps.push([$("text").value, false]); missing = []; setText($("text").value + piece); draw(); busy(false); ask("read"); };
  });
}

worker.onerror = () => say("failed");
worker.onmessage = ({ data }) => {
  if (data.type === "failed") { say("failed"); return; }
  if (data.type === "reading") { say("reading"); return; }
  if (data.type === "ready") { say("ready"); busy(false); ask("read"); return; }
  const read = words.length;
  if (data.type === "text") {
    // What was typed meanwhile is kept.
    const text = data.words.map(([piece]) => piece).join("");
    if ($("text").value === asked && text !== asked) setText(asked = text);
    words = data.words;
    draw();
  }
  if (data.type === "words") {
    words = words.concat(data.words);
    setText($("text").value + data.words.map(([piece]) => piece).join(""));
    draw(read);
  }
  if (data.type === "done") done(data);
};

function done(data) {
  if (data.candidates && !waiting) offer(data.candidates); else ask("read");
  waiting = false;
  if (data.unmet) missing = data.unmet;
  const count = [...$("text").value].length, bits = words.reduce((sum, [, each]) => sum + each, 0);
  if (before && data.refused) refuse(data.refused);
  else if (missing.length) say("unmet", missing);
  else if (count) say("mean", (bits / count).toFixed(2), count);
  else say("ready");
  before = null;
  busy(false);
  showForms(language, data);
}

const later = () => { clearTimeout(timer); timer = setTimeout(() => ask("read"), 400); };
const readForms = () => {
  showForms(language);
  if ($("text").readOnly) waiting = true; else later();
};
$("write").onclick = write;
$("stop").onclick = () => ask("stop");
$("undo").onclick = () => { undo(); ask("read"); };
$("again").onclick = () => { before = { text: $("text").value, seed: $("seed").value, steps: [...steps] }; undo(); $("seed").value = Math.floor(Number($("seed").value)) + 1; write(); };
$("copy").onclick = async () => {
  try { await navigator.clipboard.writeText($("text").value); } catch { $("text").select(); document.execCommand("copy"); }
  say("copied");
};
$("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([$("text").value], { type: "text/plain" }));
  link.download = `${document.title}.txt`;
  link.click();
  URL.revokeObjectURL(link.href);
  say("saved");
};
$("clear").onclick = () => { clearFields(); readForms(); };
$("length").addEventListener("change", readForms);
whenFieldsChange(readForms);
$("language").onclick = () => { language = language === "zh" ? "en" : "zh"; translate(); };
$("colour").onchange = () => draw();
$("text").oninput = (event) => {
  if (!typing) steps.push([shown, false]);
  typing = true;
  missing = [];
  shown = $("text").value;
  busy(false);
  draw();
  if (!event.isComposing) later();
};
$("text").addEventListener("compositionend", later);
for (const event of ["click", "keyup", "focus"]) $("text").addEventListener(event, showWord);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("write").disabled) { event.preventDefault(); write(); }
  if (event.key === "Escape" && !$("stop").disabled) ask("stop");
});
for (const input of document.querySelectorAll("input[type=range]")) {
  input.oninput = () => { input.nextElementSibling.textContent = input.value; };
  input.oninput();
}
translate();
draw();
worker.postMessage({ type: "open", description: JSON.parse($("description").textContent), weights: $("weights").textContent, ngrams: $("ngrams").textContent });
