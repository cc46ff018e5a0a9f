// The rules of ESLint for the page's sources: `eslint --config tests/integrations/page/eslint.config.mjs src/zh_lstm_lm/integrations/page`.
const names = "Blob DecompressionStream Response TextEncoder URL Worker atob clearTimeout document navigator onmessage postMessage setTimeout WebAssembly";

export default [{
  files: ["**/*.mjs"],
  languageOptions: { globals: Object.fromEntries(names.split(" ").map((name) => [name, name === "onmessage" ? "writable" : "readonly"])) },
  rules: Object.fromEntries([
    "array-callback-return", "eqeqeq", "no-const-assign", "no-dupe-keys", "no-fallthrough", "no-implicit-globals", "no-redeclare", "no-self-assign",
    "no-undef", "no-unreachable", "no-unused-vars", "no-use-before-define", "no-var", "prefer-const", "valid-typeof",
  ].map((rule) => [rule, rule === "no-use-before-define" ? ["error", { functions: false }] : "error"])),
}];
