"""Scored texts as an HTML page without scripts: every word coloured by its surprisal, in light and dark schemes."""

from collections.abc import Iterator, Sequence
from html import escape

from zh_lstm_lm._config import check_list, check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.scored_text import Score
from zh_lstm_lm.runtime.control_characters import control_pictures

__all__ = ["Page", "heat_map"]

_BITS_PER_LEVEL = 2.0
_LIGHT = ("#ffffff", "#fff4e0", "#ffe6bf", "#ffd59a", "#ffc07a", "#ffa968", "#ff9064", "#f97a6a", "#f2668b")
_DARK = ("#16161a", "#2a2218", "#3d2c17", "#533615", "#6b3f14", "#834517", "#98481f", "#a9452c", "#b33a4a")
_INKS = ("#111111", "#f2f2f2")
_TOP = len(_LIGHT) - 1

_STYLE = """
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; font: 1.15rem/2 "Noto Serif CJK SC", "Songti SC", SimSun, serif;
  background: var(--paper); color: var(--ink); }
p { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .3rem; }
span { border-radius: .2em; padding: .12em .03em; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.pieces { border-bottom: 2px dotted currentColor; border-radius: 0; }
small { display: block; font: .8rem/1.6 system-ui, sans-serif; margin-bottom: 1.4rem; }
"""


class Page(str):
    """An HTML page as a string; notebooks display it in a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width: 100%; height: 24rem; border: 0"></iframe>'


def heat_map(scores: Score | Sequence[Score], *, title: str = "Surprisal") -> Page:
    """Draws scored texts as one self-contained HTML page.

    The colour of a word shows its surprisal in steps of 2 bits, its tooltip the exact value. A word outside the
    vocabulary, which character or byte fallback encodes in pieces, is underlined. Control characters are shown as symbols, such as ␛.

    Args:
        scores: Results of `score`, or one of them.
        title: The title of the page.

    Returns:
        The page, a string that notebooks display.

    Raises:
        ConfigError: An argument has the wrong type.
    """
    listed = check_list("scores", scores, "a list of results of score", single=Score, error=ConfigError)
    for score in listed:
        check_type("each of the scores", score, Score)
    check_type("title", title, str)
    texts = "\n".join(f"<p>{''.join(_words(score))}</p>\n<small>{_metrics(score)}</small>" for score in listed)
    steps = [f"{level * _BITS_PER_LEVEL:g}–" for level in range(_TOP + 1)]
    legend = "".join(f'<span class="s{level}">&nbsp;{step}&nbsp;</span>' for level, step in enumerate(steps))
    return Page(f"""<!DOCTYPE html>
<html lang="zh">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_visible(title)}</title>
<style>{_STYLE}{_colours(_LIGHT, _INKS[0])}
@media (prefers-color-scheme: dark) {{
{_colours(_DARK, _INKS[1])}
}}
</style>
</head>
<body>
<small>bits per word {legend} <span class="pieces">in pieces</span></small>
{texts}
</body>
</html>
""")


def _colours(levels: Sequence[str], ink: str) -> str:
    rules = [f":root {{ --paper: {levels[0]}; --ink: {ink}; }}"]
    return "\n".join([*rules, *(f".s{level} {{ background: {colour}; }}" for level, colour in enumerate(levels))])


def _words(score: Score) -> Iterator[str]:
    """Yields the words as elements; words that normalisation made of one character are joined."""
    reached = 0
    bits = score.character_surprisals
    for word in score.words:
        if word.kind == "end":
            yield _element("¶", word.surprisal, "paragraph end")
        elif word.stop > reached:
            text = score.text[reached : word.stop]
            pieces = " ".join(word.tokens) if len(word.tokens) > 1 or word.kind == "bytes" else ""
            yield _element(text, sum(bits[reached : word.stop]), text.strip() or "space", pieces)
            reached = word.stop


def _element(text: str, bits: float, name: str, pieces: str = "") -> str:
    level = min(int(bits / _BITS_PER_LEVEL), _TOP)
    title = f"{name}: {bits:.2f} bits" + (f", pieces {pieces}" if pieces else "")
    return f'<span class="s{level}{" pieces" * bool(pieces)}" title="{_visible(title)}">{_visible(text)}</span>'


def _visible(text: str) -> str:
    return escape(control_pictures(text))


def _metrics(score: Score) -> str:
    bits = score.bits_per_character
    measured = f"{bits:.3f} bits per character, " if bits is not None else ""
    return f"{measured}perplexity {score.perplexity:,.1f} per token, {score.num_tokens:,} tokens"
