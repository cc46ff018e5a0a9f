"""The guide for writing runs as it stands."""

import re
from pathlib import Path

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.limits import LimitOptions

GUIDE = (Path(__file__).parents[1] / "docs" / "writing.md").read_text(encoding="utf-8")


def test_every_block_of_the_guide_runs(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = TokenStream.from_texts([text * 4 for text in texts], tokenizer="characters")
    model = LSTMLanguageModel(
        Vocabulary.from_stream(stream), ModelConfig(embedding_dim=16, hidden_size=32, dropout=0.0)
    )
    config = TrainerConfig(max_steps=60, batch_size=3, bptt_len=16, learning_rate=0.02, warmup_steps=0)
    Trainer(model, stream, None, config, progress=False).fit()
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("wuxia-lstm")
    Path("novels").mkdir()
    Path("novels", "三侠五义.txt").write_text(texts[0] * 4, encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert len(blocks) > 8
    exec("\n".join(blocks), {})
    shown = capsys.readouterr().out
    assert shown.startswith("话说")
    assert "\n0.9\n" in shown
    assert len((tmp_path / "novel.txt").read_text(encoding="utf-8")) == 3000


def test_the_guide_names_every_option() -> None:
    named = set(re.findall(r"`(\w+)(?:=[^`]*)?`", GUIDE)) | set(re.findall(r"(\w+)=", GUIDE))
    assert set(LimitOptions.__annotations__) <= named
    assert set(SamplerConfig.option_names()) <= named
