// The page: a text that its reader and the model write in turn.
const $ = (id) => document.getElementById(id);
const SAY = {
  zh: {
    opening: "正在打开模型……", ready: "可以写了。", busy: "正在写……", reading: "正在读……", copied: "已复制。", saved: "已存为文本文件。",
    mean: (bits, count) => `平均每字 ${bits} 比特，共 ${count} 字。`, word: (word, bits) => `光标处：「${word}」${bits} 比特`,
    failed: "模型打不开：浏览器太旧（要 2023 年以来的版本），或者这个文件已损坏。",
  },
  en: {
    opening: "Opening the model…", ready: "Ready.", busy: "Writing…", reading: "Reading…", copied: "Copied.", saved: "Saved as a text file.",
    mean: (bits, count) => `${bits} bits per character over ${count} characters.`, word: (word, bits) => `At the cursor: “${word}”, ${bits} bits`,
    failed: "The model cannot be opened: the browser is too old (it must be of 2023 or later), or this file is damaged.",
  },
};
const MOST_BITS = 20; // the surprisal of the strongest colour
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let words = []; // [piece, bits] of the words that the model has read, from the start of the text
const steps = []; // [text before, whether the model wrote then]
let shown = "", typing = false; // the text as it was last seen, and whether its reader has changed it since the last step
let asked = "", timer = null, status = ["opening"];
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
  const number = (id) => Number($(id).value), options = { temperature: number("temperature"), topP: number("topP"), minP: number("minP") };
  const limits = { enough: number("length"), maxCharacters: number("length") + 300 };
  asked = $("text").value;
  worker.postMessage({ type, text: asked, options, limits, seed: Math.max(0, Math.floor(number("seed"))) });
}

function setText(text) {
  $("text").value = shown = text;
  typing = false;
}

function write() {
  steps.push([$("text").value, true]);
  typing = false;
  busy(true);
  say("busy");
  ask("write");
}

function undo() {
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
    button.onclick = () => { steps.push([$("text").value, false]); setText($("text").value + piece); draw(); busy(false); ask("read"); };
  });
}

worker.onerror = () => say("failed");
worker.onmessage = ({ data }) => {
  if (data.type === "failed") { say("failed"); return; }
  if (data.type === "reading") { say("reading"); return; }
  if (data.type === "ready") { say("ready"); busy(false); ask("read"); return; }
  const before = words.length;
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
    draw(before);
  }
  if (data.type === "done") {
    if (data.candidates) offer(data.candidates); else ask("read");
    busy(false);
    const count = [...$("text").value].length, bits = words.reduce((sum, [, each]) => sum + each, 0);
    if (count) say("mean", (bits / count).toFixed(2), count); else say("ready");
  }
};

const later = () => { clearTimeout(timer); timer = setTimeout(() => ask("read"), 400); };
$("write").onclick = write;
$("stop").onclick = () => ask("stop");
$("undo").onclick = () => { undo(); ask("read"); };
$("again").onclick = () => { undo(); $("seed").value = Math.floor(Number($("seed").value)) + 1; write(); };
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
$("language").onclick = () => { language = language === "zh" ? "en" : "zh"; translate(); };
$("colour").onchange = () => draw();
$("text").oninput = (event) => {
  if (!typing) steps.push([shown, false]);
  typing = true;
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
