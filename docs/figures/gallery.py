"""Draws the figures of the gallery from trained models: python docs/figures/gallery.py FOLDER.

FOLDER has the models ``first``, ``hong`` and ``wuxia`` with their runs, trained by the commands of docs/gallery.md.
"""

import sys
from pathlib import Path

from draw import save, text

from zh_lstm_lm import History, Score, from_pretrained, plot_history, score

HERE = Path(__file__).parent
SENTENCE = "白玉堂听了此言，心中大喜，忙与众人出了店门。只见一条黑影，如飞而去。"
SIZE, GAP, HEIGHT, PER_LINE = 24, 6, 40, 640
LIGHT = ("#ffffff", "#fff4e0", "#ffe6bf", "#ffd59a", "#ffc07a", "#ffa968", "#ff9064")
DARK = ("#1b1d21", "#2a2218", "#3d2c17", "#533615", "#6b3f14", "#834517", "#98481f")

DARK_PLOT = """@media (prefers-color-scheme: dark) {
  .zh-lstm-lm-plot > rect { fill: #1b1d21; } .zh-lstm-lm-plot text { fill: #e6e6e3; } .zh-lstm-lm-plot .tick { fill: #aab2ba; }
  .zh-lstm-lm-plot .grid { stroke: #33373d; } .zh-lstm-lm-plot .mark { stroke: #1b1d21; }
  .zh-lstm-lm-plot .c0 { color: #66b6f2; } .zh-lstm-lm-plot .c1 { color: #ff9a5c; }
}"""


def heat_map(scored: Score, *, zh: bool) -> tuple[list[str], int]:
    """Words as boxes whose colour is their surprisal, with the bits below, and the height of the figure."""
    style = "".join(f".s{n} {{ fill: {color}; }} " for n, color in enumerate(LIGHT))
    dark = "".join(f".s{n} {{ fill: {color}; }} " for n, color in enumerate(DARK))
    word_style = f".word {{ font-size: {SIZE}px; text-anchor: middle; }} .bits {{ font-size: 11px; opacity: .75; }}"
    parts = [f"<style>{style}{word_style}@media (prefers-color-scheme: dark) {{ {dark}}}</style>"]
    x, y = 20, 20
    for word in scored.words:
        width = SIZE * len(word.text) + 12
        if x + width > PER_LINE:
            x, y = 20, y + HEIGHT + 30
        level = min(int(word.surprisal / 2), len(LIGHT) - 1)
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="5" class="s{level}"/>')
        parts.append(text(x + width / 2, y + 29, word.text, "word"))
        parts.append(text(x + width / 2, y + HEIGHT + 15, f"{word.surprisal:.1f}", "middle bits"))
        x += width + GAP
    legend = (
        "每个词的惊讶度（比特）：颜色越浓越出人意料"
        if zh
        else "surprisal of each word in bits: the stronger the colour, the less expected"
    )
    return [*parts, text(20, y + HEIGHT + 48, legend, "small")], y + HEIGHT + 64


def main(folder: Path) -> None:
    """Draws the curves of each run, and a sentence as the model of 24 novels sees it."""
    scored = score(from_pretrained(folder / "wuxia"), SENTENCE)
    for language, zh in (("en", False), ("zh-CN", True)):
        for name in ("first", "hong", "wuxia"):
            history = History.load(folder / f"{name}.run" / "history.jsonl")
            plot = str(plot_history(history, language="zh" if zh else "en"))
            dark = plot.replace("</style>", f"{DARK_PLOT}</style>", 1)
            (HERE / f"curves-{name}.{language}.svg").write_text(dark, encoding="utf-8")
        parts, height = heat_map(scored, zh=zh)
        title = "每个词的惊讶度" if zh else "Surprisal of each word"
        save("heat-map", language, title, parts, width=PER_LINE + 20, height=height)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
