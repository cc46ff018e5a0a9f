"""A kind of study is one class: added to the list, it runs, is kept, has a table and stands in a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import StudyConfig, StudyResult, TokenStream, study, write_report
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.studies import kinds
from zh_lstm_lm.studies.base import Study, Train
from zh_lstm_lm.studies.claims import Claim, Rows, compare, judge_sign, make_claim
from zh_lstm_lm.studies.kinds import KINDS
from zh_lstm_lm.studies.presentation import Column, Label, MetricPlot, by_epoch


class LuckStudy(Study):
    """A study that trains nothing."""

    kind = "luck"
    title = Label(en="Luck", zh="运气")
    setting_fields = ("coin",)
    columns = (Column(Label(en="heads", zh="正面"), "heads", ".1f"),)
    varied = ("weight", Label(en="weight", zh="重量"))
    plots = (
        MetricPlot(Label(en="Heads by weight", zh="正面与重量"), Label(en="heads", zh="正面"), ("heads",)),
        by_epoch(Label(en="Heads by epoch", zh="逐轮正面"), Label(en="heads", zh="正面"), "heads_by_epoch"),
    )
    settings = ({"coin": "penny"}, {"coin": "dollar"})
    winds = iter((0.0, 0.0, 0.1, 0.1))

    def run(self, setting: Mapping[str, Any], train: Train) -> dict[str, Any]:
        heads = len(setting["coin"]) + next(self.winds)
        return {"heads": heads, "weight": 10.0 * heads, "epoch": [1.0, 2.0], "heads_by_epoch": [heads, heads + 1]}

    @staticmethod
    def name_setting(setting: Mapping[str, Any]) -> Label:
        return Label(en=f"a {setting['coin']}", zh=f"一枚 {setting['coin']}")

    @staticmethod
    def claims(rows: Rows) -> list[Claim]:
        sign = compare(rows[:1], rows[1:2], "heads").sign
        text = Label(en="Dollars win.", zh="大币赢。")
        return [judge_sign("luck", text, sign, text, text)]


def test_a_new_kind_is_one_class(tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "luck", LuckStudy)
    corpus = TokenStream.from_texts([text * 12 for text in texts], tokenizer="characters")
    result = study("luck", corpus, StudyConfig(seeds=(0, 1)), output=tmp_path / "luck", progress=False)  # type: ignore[arg-type]
    assert StudyResult.load(tmp_path / "luck") == result
    assert [claim["verdict"] for claim in result.claims] == ["holds"]
    assert [cell.strip() for cell in result.table().splitlines()[2].split("|")[1:3]] == ["penny", "5.0 ± 0.1"]
    page = write_report(tmp_path / "luck", tmp_path / "page.html").read_text(encoding="utf-8")
    for told in ("研究：运气", "Study: luck", "Heads by weight", "逐轮正面", "a penny", "一枚 dollar", "Dollars win."):
        assert told in page


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_tells_everything_in_both_languages(kind: str) -> None:
    declared = KINDS[kind]
    texts = [declared.title, declared.varied[1], *(column.heading for column in declared.columns)]
    for plot in declared.plots:
        texts += [plot.title, plot.y, *(getattr(plot, "names", ()))]
        assert len(getattr(plot, "names", ())) in (0, len(getattr(plot, "fields", ())))
    assert all(text.en and text.zh for text in texts)
    damaged = declared.name_setting(dict.fromkeys(declared.setting_fields))
    assert all(damaged), "a setting of a damaged file has a name too"


def test_a_notebook_shows_a_study_as_a_table(tmp_path: Path) -> None:
    text = Label(en="Larger is better.", zh="越大越好。")
    claim = make_claim("size", text, "depends", text, text)
    row = dict.fromkeys([column.field for column in KINDS["epochs"].columns], 1.0)
    rows = [{**row, "train_share": 1.0, "seed": seed} for seed in (0, 1)]
    result = StudyResult("epochs", "Epochs", "tokens", {}, {}, {}, [0, 1], True, rows, [claim])
    shown = result._repr_markdown_()
    assert f"\n\n{result.table()}\n\n" in shown, "a Markdown table has an empty line before and after it"
    assert "- Larger is better. **depends**" in shown


def test_an_unknown_kind_is_refused_before_the_corpus_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "seqlen", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")]) == 2
    assert "'seq-len', 'epochs', 'vocabulary', got 'seqlen'; did you mean 'seq-len'?" in capsys.readouterr().err
