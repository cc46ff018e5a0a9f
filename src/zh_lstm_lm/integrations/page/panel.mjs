// The fold-out of forms: its fields, what is wrong with them, and the report on names.
import { SAY } from "./sentences.mjs";

export const $ = (id) => document.getElementById(id);
const TEXTS = ["lengths", "first", "words", "names", "stopAt"], CHECKS = ["atEnd", "exact"];
let wrong = null, report = null;

export const readFields = () => Object.fromEntries([...TEXTS.map((name) => [name, $(name).value]), ...CHECKS.map((name) => [name, $(name).checked])]);

// Texts that stay the same are not read out again.
function show(element, text) { if (element.textContent !== text) element.textContent = text; }

// found: {refused, names}, as the worker knows them; without, what is known is shown in another language.
export function showForms(language, found = { refused: wrong, names: report }) {
  ({ refused: wrong, names: report } = found);
  const say = SAY[language], { replaced = 0, left = [], unknown = [] } = report ?? {};
  for (const name of [...TEXTS, "exact"]) {
    show($(`${name}-wrong`), wrong?.field === name ? say[wrong.key](...wrong.values) : "");
    $(name).setAttribute("aria-invalid", String(wrong?.field === name));
  }
  const sentences = [left.length ? say.left(left) : replaced ? say.noneLeft(replaced) : "", unknown.length ? say.unknown(unknown) : ""];
  show($("left"), sentences.filter((each) => each).join(language === "zh" ? "" : " "));
  const used = [...TEXTS.map((name) => $(name).value.trim()), ...CHECKS.map((name) => $(name).checked)].filter((each) => each).length;
  show($("used"), used ? say.inUse(used) : "");
}

export function clearFields() {
  for (const name of TEXTS) $(name).value = "";
  for (const name of CHECKS) $(name).checked = false;
}

export function whenFieldsChange(listener) {
  for (const name of [...TEXTS, ...CHECKS]) $(name).addEventListener("input", listener);
}
