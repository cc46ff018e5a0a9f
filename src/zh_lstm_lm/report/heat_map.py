"""A scored text as a page: every word coloured by its surprisal, readable without scripts, in light and in dark."""

from collections.abc import Iterator, Sequence
from html import escape

from zh_lstm_lm.evaluation.scored_text import Score
from zh_lstm_lm.runtime.control_characters import control_pictures

__all__ = ["heat_map"]

_BITS_A_LEVEL = 2.0
_LIGHT = ("#ffffff", "#fff4e0", "#ffe6bf", "#ffd59a", "#ffc07a", "#ffa968", "#ff9064", "#f97a6a", "#f2668b")
_DARK = ("#16161a", "#2a2218", "#3d2c17", "#533615", "#6b3f14", "#834517", "#98481f", "#a9452c", "#b33a4a")
_INKS = ("#111111", "#f2f2f2")
_TOP = len(_LIGHT) - 1

_STYLE = """
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; font: 1.15rem/2 "Noto Serif CJK SC", "Songti SC", SimSun, serif;
  background: var(--paper); color: var(--ink); }
p { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .3rem; }
span { border-radius: .2em; padding: .12em .03em; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.spelled { border-bottom: 2px dotted currentColor; border-radius: 0; }
small { display: block; font: .8rem/1.6 system-ui, sans-serif; margin-bottom: 1.4rem; }
"""


def heat_map(scores: Sequence[Score], *, title: str = "Surprisal") -> str:
    """Draws texts as one HTML page that needs nothing else.

    The colour of a word tells its surprisal in steps of 2 bits, its title (what is shown when it is pointed at) the
    figure; a word that the vocabulary spells has a dotted line. Control characters stand as symbols, such as ␛.

    Args:
        scores: The texts, scored.
        title: The page's title.

    Returns:
        The page.
    """
    texts = "\n".join(f"<p>{''.join(_words(score))}</p>\n<small>{_figures(score)}</small>" for score in scores)
    steps = [f"{number * _BITS_A_LEVEL:g}–" for number in range(_TOP + 1)]
    legend = "".join(f'<span class="s{number}">&nbsp;{step}&nbsp;</span>' for number, step in enumerate(steps))
    return f"""<!DOCTYPE html>
<html lang="zh">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_shown(title)}</title>
<style>{_STYLE}{_colours(_LIGHT, _INKS[0])}
@media (prefers-color-scheme: dark) {{
{_colours(_DARK, _INKS[1])}
}}
</style>
</head>
<body>
<small>bits a word {legend} <span class="spelled">spelled</span></small>
{texts}
</body>
</html>
"""


def _colours(levels: Sequence[str], ink: str) -> str:
    rules = [f":root {{ --paper: {levels[0]}; --ink: {ink}; }}"]
    return "\n".join([*rules, *(f".s{number} {{ background: {colour}; }}" for number, colour in enumerate(levels))])


def _words(score: Score) -> Iterator[str]:
    """The words as elements; those that one given character became are one."""
    reached = 0
    bits = score.character_surprisals
    for word in score.words:
        if word.kind == "end":
            yield _element("¶", word.surprisal, "the end")
        elif word.stop > reached:
            text = score.text[reached : word.stop]
            spelled = " ".join(word.tokens) if len(word.tokens) > 1 or word.kind == "bytes" else ""
            yield _element(text, sum(bits[reached : word.stop]), text.strip() or "space", spelled)
            reached = word.stop


def _element(text: str, bits: float, name: str, spelled: str = "") -> str:
    level = min(int(bits / _BITS_A_LEVEL), _TOP)
    title = f"{name}: {bits:.2f} bits" + (f", spelled {spelled}" if spelled else "")
    return f'<span class="s{level}{" spelled" * bool(spelled)}" title="{_shown(title)}">{_shown(text)}</span>'


def _shown(text: str) -> str:
    return escape(control_pictures(text))


def _figures(score: Score) -> str:
    bits = score.bits_per_character
    measured = f"{bits:.3f} bits a character, " if bits is not None else ""
    return f"{measured}perplexity {score.perplexity:,.1f} a token, {score.num_tokens:,} tokens"
