"""Draws the figures of the background pages, each in both languages: python docs/figures/draw.py."""

from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
STYLE = """
.paper { fill: #fdfdfb; } text { fill: #22262a; font: 15px system-ui, "PingFang SC", "Noto Sans CJK SC", sans-serif; }
.small { font-size: 13px; } .symbol { font: italic 18px Georgia, serif; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.line { stroke: #4b535b; stroke-width: 1.6; fill: none; } .dash { stroke-dasharray: 5 4; } .head { fill: #4b535b; }
.box { fill: #e8eef5; stroke: #4b535b; stroke-width: 1.2; } .gate { fill: #fbe6cf; } .cell { fill: #dff0e2; }
.a { stroke: #0b6fb8; } .b { stroke: #c8500a; } .c { stroke: #13805f; } .curve { fill: none; stroke-width: 2.4; }
.bar { fill: #0b6fb8; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #1b1d21; } text { fill: #e6e6e3; } .line { stroke: #aab2ba; } .head { fill: #aab2ba; }
  .box { fill: #29323d; stroke: #aab2ba; } .gate { fill: #4a3620; } .cell { fill: #1f3d2a; }
  .a { stroke: #66b6f2; } .b { stroke: #ff9a5c; } .c { stroke: #56cfa8; } .bar { fill: #66b6f2; }
}
"""
SURPRISALS = [
    *(("叶归舟", 7.68), ("道", 3.69), ("：", 0.03), ("“", 0.01), ("你", 3.82)),
    *(("走", 9.00), ("罢", 9.39), ("。", 2.75), ("”", 1.21)),
]
CLUSTERS = (
    *((500, 0.584), (500, 0.072), (1_000, 0.073), (2_000, 0.073), (4_000, 0.067)),
    *((8_000, 0.057), (16_000, 0.045), (16_000, 0.020), (12_000, 0.008)),
)


def text(x: float, y: float, words: str, kind: str = "middle") -> str:
    """Words at a place."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{words}</text>'


def box(x: float, y: float, width: float, height: float, words: str, *, kind: str = "") -> str:
    """A box with words in it."""
    rectangle = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="box {kind}"/>'
    return rectangle + text(x + width / 2, y + height / 2 + 6, words)


def arrow(*points: tuple[float, float], kind: str = "") -> str:
    """A line through points, with a head at the end."""
    path = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="M{path}" class="line {kind}" marker-end="url(#head)"/>'


def save(name: str, language: str, title: str, parts: Iterable[str], *, width: int, height: int) -> None:
    """Writes a figure with paper of its own, so that it can be read on a page of any colour."""
    triangle = '<path d="M0 0L8 4L0 8z" class="head"/>'
    place = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
    head = f'<marker id="head" {place}>{triangle}</marker>'
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"><title>{title}</title>'
    )
    paper = f'<defs>{head}</defs><rect width="{width}" height="{height}" rx="10" class="paper"/>'
    body = "\n".join(parts)
    (HERE / f"{name}.{language}.svg").write_text(
        f"{opening}<style>{STYLE}</style>{paper}\n{body}\n</svg>\n", encoding="utf-8"
    )


def lstm_cell(zh: bool) -> list[str]:
    """The cell: three gates around a sum that is carried."""

    def say(chinese: str, english: str) -> str:
        return chinese if zh else english

    parts = [
        text(70, 46, say("记忆单元", "cell state"), "middle small"),
        arrow((40, 70), (183, 70)), arrow((207, 70), (393, 70)), arrow((417, 70), (660, 70)),
        text(28, 76, "c", "symbol middle"), text(40, 84, "t−1", "small"),
        text(674, 76, "c", "symbol middle"), text(682, 84, "t", "small"),
    ]  # fmt: skip
    for x, y, sign in ((195, 70, "×"), (405, 70, "+"), (405, 150, "×"), (560, 190, "×")):
        parts.append(f'<circle cx="{x}" cy="{y}" r="12" class="box"/>' + text(x, y + 6, sign))
    gates = ((195, "σ", say("遗忘门 f", "forget gate f"), "gate"), (325, "σ", say("输入门 i", "input gate i"), "gate"),
             (405, "tanh", say("候选值 g", "candidate g"), "cell"), (510, "σ", say("输出门 o", "output gate o"), "gate"))  # fmt: skip
    for number, (x, function, name, kind) in enumerate(gates):
        parts.append(box(x - 32, 220, 64, 36, function, kind=kind))
        beside, anchor = (x - 8, "small end") if number == 1 else (x + 8, "small")
        parts.append(text(beside, 282 if number % 2 == 0 else 306, name, anchor))
        parts.append(f'<path d="M{x} 330V256" class="line" marker-end="url(#head)"/>')
    parts += [
        arrow((195, 220), (195, 82)), arrow((325, 220), (325, 150), (393, 150)), arrow((405, 220), (405, 162)),
        arrow((405, 138), (405, 82)), arrow((510, 220), (510, 190), (548, 190)),
        box(532, 108, 56, 34, "tanh", kind="cell"), arrow((560, 70), (560, 108)), arrow((560, 142), (560, 178)),
        arrow((572, 190), (620, 190), (620, 330), (660, 330)), text(674, 336, "h", "symbol middle"), text(682, 344, "t", "small"),
        '<path d="M40 330H510" class="line"/>', text(28, 336, "h", "symbol middle"), text(40, 344, "t−1", "small"),
        arrow((110, 384), (110, 332)), text(96, 404, "x", "symbol middle"), text(106, 410, "t", "small"),
        text(240, 404, say("输入：词向量", "input: the token’s embedding"), "small"),
        text(560, 372, say("隐状态", "hidden state"), "middle small"),
    ]  # fmt: skip
    return parts


def windows(zh: bool) -> list[str]:
    """BPTT segments of a long text: the state is carried on, gradients are not."""
    state = "状态传下去" if zh else "the state is carried on"
    gradient = "梯度到此为止" if zh else "gradients end here"
    parts = []
    for window in range(3):
        left = 30 + 225 * window
        name = f"窗口 {window + 1}" if zh else f"segment {window + 1}"
        parts.append(
            f'<rect x="{left}" y="52" width="190" height="120" rx="8" class="line dash"/>' + text(left + 95, 40, name)
        )
        for place in range(4):
            x = left + 12 + 46 * place
            parts.append(box(x, 84, 28, 34, "", kind="cell"))
            if place < 3:
                parts.append(arrow((x + 28, 93), (x + 45, 93)))
                parts.append(f'<path d="M{x + 46} 109H{x + 30}" class="line b" marker-end="url(#head)"/>')
            parts.append(arrow((x + 14, 152), (x + 14, 120)))
            parts.append(text(x + 14, 168, "x", "middle small"))
        if window < 2:
            parts.append(arrow((left + 178, 93), (left + 236, 93)))
    return [*parts, text(237, 208, f"→ {state}"), text(460, 208, f"← {gradient}")]


def decay(zh: bool) -> list[str]:
    """Powers of the forget gate over the distance."""
    left, top, width, height = 70, 40, 560, 220
    parts = [f'<path d="M{left} {top}V{top + height}H{left + width}" class="line"/>']
    for step in range(0, 141, 20):
        x = left + width * step / 140
        parts.append(
            f'<path d="M{x:g} {top + height}v5" class="line"/>' + text(x, top + height + 22, str(step), "middle small")
        )
    for level in (0, 0.5, 1):
        parts.append(text(left - 22, top + height * (1 - level) + 5, f"{level:g}", "middle small"))
    for factor, kind, place in ((0.99, "a", 70), (0.9, "c", 10), (0.6, "b", 5)):
        points = [(left + width * k / 140, top + height * (1 - factor**k)) for k in range(141)]
        parts.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" class="curve {kind}"/>')
        parts.append(
            text(left + width * place / 140 + 8, top + height * (1 - factor**place) - 4, f"f = {factor}", "small")
        )
    across = "往回的距离 k（词）" if zh else "distance k, in tokens"
    return [*parts, text(left + width / 2, 306, across), text(left, 24, "fᵏ", "small")]


def surprisal(zh: bool) -> list[str]:
    """The surprisal of each token of a sentence."""
    parts = [text(20, 26, "惊讶度（比特）" if zh else "surprisal in bits", "small")]
    for place, (token, bits) in enumerate(SURPRISALS):
        x = 36 + 72 * place
        parts.append(f'<rect x="{x}" y="{250 - 21 * bits:g}" width="44" height="{21 * bits:g}" class="bar"/>')
        parts.append(text(x + 22, 242 - 21 * bits, f"{bits:.2f}", "middle small") + text(x + 22, 274, token))
    return [*parts, '<path d="M20 250H680" class="line"/>']


def adaptive(zh: bool) -> list[str]:
    """The clusters of the adaptive softmax: how many words each has, and what share of the tokens."""
    heads = ("词数", "占词次") if zh else ("words", "share of tokens")
    parts = [text(150, 30, heads[0], "middle small"), text(450, 30, heads[1], "middle small")]
    for place, (size, share) in enumerate(CLUSTERS):
        y = 44 + 34 * place
        name = ("头部" if zh else "head") if place == 0 else (f"第 {place} 簇" if zh else f"cluster {place}")
        parts.append(text(20, y + 17, name, "small"))
        for left, length, told in ((110, 180 * size / 16_000, f"{size:,}"), (400, 200 * share / 0.62, f"{share:.1%}")):
            parts.append(f'<rect x="{left}" y="{y}" width="{max(length, 2):.1f}" height="22" class="bar"/>')
            parts.append(text(left + max(length, 2) + 8, y + 16, told, "small"))
    return parts


FIGURES = {
    "lstm-cell": (lstm_cell, "LSTM 单元", "An LSTM cell", 720, 420),
    "windows": (windows, "截断的窗口", "BPTT segments", 720, 226),
    "decay": (decay, "梯度的衰减", "How gradients fade", 680, 320),
    "surprisal": (surprisal, "每个词的惊讶度", "Surprisal of each token", 700, 290),
    "adaptive-softmax": (adaptive, "自适应 softmax 的簇", "Clusters of the adaptive softmax", 720, 358),
}

if __name__ == "__main__":
    for figure, (draw, chinese, english, width, height) in FIGURES.items():
        save(figure, "zh-CN", chinese, draw(True), width=width, height=height)
        save(figure, "en", english, draw(False), width=width, height=height)
