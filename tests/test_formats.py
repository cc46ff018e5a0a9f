"""Folders that earlier versions wrote, kept as they are: every format that was ever written is read for good."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from zh_lstm_lm import LSTMLanguageModel, TokenStream, Trainer, TrainerConfig, score

FORMATS = sorted((Path(__file__).parent / "fixtures").glob("format-*"))
TEXTS = [
    "第一回　风雪\n展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n",
    "第二回　夜行\n夜里三更，展昭换了夜行衣，出了店门。\n",
]
every_format = pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)


def test_there_is_a_folder_of_every_format() -> None:
    assert [folder.name for folder in FORMATS] == ["format-1"]


@every_format
def test_model_of_an_earlier_version_says_what_it_said(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    model = LSTMLanguageModel.from_pretrained(folder / "model")
    text = "展昭笑道：“好！”\n"
    assert model.vocabulary.encode(text) == expected["ids"]
    assert score(model, text).log_probs == pytest.approx(expected["log_probs"], abs=1e-4)


@every_format
def test_run_of_an_earlier_version_is_resumed(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    begun = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    stream = TokenStream.from_texts(TEXTS, tokenizer="characters")
    saved = LSTMLanguageModel.from_pretrained(folder / "model")
    model = LSTMLanguageModel(saved.vocabulary, saved.config)
    config = TrainerConfig.from_dict(begun["options"] | {"run_dir": str(tmp_path / "run")})
    trainer = Trainer(model, stream, stream, config, progress=False)
    with caplog.at_level(logging.ERROR, logger="zh_lstm_lm"):
        history = trainer.fit(resume=True)
    assert [record["step"] for record in history] == [4, 8, 12, 16]
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]
    assert LSTMLanguageModel.from_pretrained(tmp_path / "run" / "best").vocabulary.fingerprint() == begun["vocabulary"]
