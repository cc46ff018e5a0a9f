"""The background pages say the same in both languages, and their figures are what the script draws."""

import re
import runpy
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from zh_lstm_lm import EvaluationResult

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "background.md", DOCS / "zh" / "background.md"]


def test_both_pages_have_the_same_sections_formulas_and_code() -> None:
    english, chinese = (page.read_text(encoding="utf-8") for page in PAGES)
    for pattern in (r"^#+ ", r"^\$\$", r"^```.*?^```", r"^- ", r"!\[", r"\d\.\d\d"):
        found = [re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL) for text in (english, chinese)]
        assert len(found[0]) == len(found[1]), pattern
    code = [re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL) for text in (english, chinese)]
    assert code[0] == code[1]
    for text in (english, chinese):
        assert text.count("$$") % 2 == 0
        assert re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL).count("$") % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_are_there_and_drawn_by_the_script(page: Path, tmp_path: Path) -> None:
    shutil.copy(DOCS / "figures" / "draw.py", tmp_path / "draw.py")
    runpy.run_path(str(tmp_path / "draw.py"), run_name="__main__")
    named = re.findall(r"!\[.*?\]\((?:../)?figures/(.*?)\)", page.read_text(encoding="utf-8"))
    assert len(named) == 5
    for name in named:
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert (DOCS / "figures" / name).read_text(encoding="utf-8") == drawn
        assert "prefers-color-scheme: dark" in drawn
        ET.fromstring(drawn)


def test_the_sums_of_the_pages_are_right() -> None:
    bits = [
        float(number)
        for number in re.findall(
            r"(?<=middle small\">)\d+\.\d\d", (DOCS / "figures" / "surprisal.en.svg").read_text("utf-8")
        )
    ]
    assert len(bits) == 9
    sentence = EvaluationResult(-sum(bits) * 0.6931471805599453, num_tokens=9, num_characters=11)
    assert sentence.bits_per_character == pytest.approx(3.42, abs=0.005)
    assert sentence.perplexity == pytest.approx(18.1, abs=0.05)
