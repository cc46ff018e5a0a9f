// The page: a text that its reader and the model write in turn.
const $ = (id) => document.getElementById(id);
const SAY = {
  zh: { opening: "正在打开模型……", ready: "可以写了。", busy: "正在写……", copied: "已复制。", mean: (b, n) => `平均每字 ${b} 比特，共 ${n} 字。`, damaged: "模型打不开：这个文件已损坏，请重新导出。" },
  en: { opening: "Opening the model…", ready: "Ready.", busy: "Writing…", copied: "Copied.", mean: (b, n) => `${b} bits per character over ${n} characters.`, damaged: "The model cannot be opened: this file is damaged; export it again." },
};
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let words = [], steps = [], before = null;
const say = (key, ...values) => { const message = SAY[language][key]; $("status").textContent = values.length ? message(...values) : message; };
const worker = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of document.querySelectorAll("[data-zh]")) each.textContent = each.dataset[language];
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-CN";
}

function draw() {
  const parts = [];
  let known = "";
  if ($("colour").checked) for (const [piece, bits] of words) {
    const span = document.createElement("span");
    span.textContent = piece;
    span.style.background = `rgba(var(--heat), ${Math.min(bits / 20, 1) * 0.6})`;
    parts.push(span);
    known += piece;
  }
  if (!$("text").value.startsWith(known)) { parts.length = 0; known = ""; }
  $("mirror").replaceChildren(...parts, $("text").value.slice(known.length) + "\n");
}

function busy(on) {
  $("write").disabled = on;
  $("stop").disabled = !on;
  $("undo").disabled = on || !steps.length;
  $("again").disabled = on || !steps.length;
  $("text").readOnly = on;
}

function ask(type) {
  const number = (id) => Number($(id).value), options = { temperature: number("temperature"), topP: number("topP"), minP: number("minP") };
  const limits = { enough: number("length"), maxCharacters: number("length") + 300 };
  worker.postMessage({ type, text: $("text").value, options, limits, seed: Math.max(0, Math.floor(number("seed"))) });
}

function write() {
  steps.push($("text").value);
  busy(true);
  say("busy");
  ask("write");
}

function undo() {
  $("text").value = steps.pop();
  draw();
  busy(false);
}

function offer(candidates) {
  $("next").replaceChildren(...candidates.map(([piece, prob]) => {
    const button = document.createElement("button"), share = document.createElement("small");
    button.type = "button";
    button.textContent = piece === "\n" ? "¶" : piece.trim() || "␣";
    share.textContent = `${(100 * prob).toFixed(1)}%`;
    button.append(share);
    button.onclick = () => { steps.push($("text").value); $("text").value += piece; draw(); ask("read"); };
    return button;
  }));
}

worker.onmessage = ({ data }) => {
  if (data.type === "failed") { say("damaged"); return; }
  if (data.type === "ready") { say("ready"); busy(false); ask("read"); return; }
  if (data.type === "text") { words = data.words; $("text").value = words.map(([piece]) => piece).join(""); }
  if (data.type === "words") { words = words.concat(data.words); $("text").value += data.words.map(([piece]) => piece).join(""); }
  if (data.type === "done") {
    busy(false);
    if (data.candidates) offer(data.candidates);
    const length = [...$("text").value].length, bits = words.reduce((sum, [, each]) => sum + each, 0);
    if (length) say("mean", (bits / length).toFixed(2), length); else say("ready");
  }
  draw();
};

$("write").onclick = write;
$("stop").onclick = () => ask("stop");
$("undo").onclick = () => { undo(); ask("read"); };
$("again").onclick = () => { undo(); $("seed").value = Number($("seed").value) + 1; write(); };
$("copy").onclick = async () => {
  try { await navigator.clipboard.writeText($("text").value); } catch { $("text").select(); document.execCommand("copy"); }
  say("copied");
};
$("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([$("text").value], { type: "text/plain" }));
  link.download = `${document.title}.txt`;
  link.click();
};
$("language").onclick = () => { language = language === "zh" ? "en" : "zh"; translate(); };
$("colour").onchange = draw;
$("text").oninput = () => { draw(); clearTimeout(before); before = setTimeout(() => ask("read"), 500); };
for (const input of document.querySelectorAll("input[type=range]")) {
  input.oninput = () => { input.nextElementSibling.textContent = input.value; };
  input.oninput();
}
translate();
say("opening");
worker.postMessage({ type: "open", description: JSON.parse($("description").textContent), weights: $("weights").textContent, ngrams: $("ngrams").textContent });
