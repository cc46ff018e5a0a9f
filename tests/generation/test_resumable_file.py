"""Files that grow as a text is made: interrupted, resumed, completed."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import DataError, LSTMLanguageModel, Sampler, SamplerConfig
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.generation import resumable_file


@pytest.fixture(autouse=True)
def _states_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", 10)


AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]


class Interruption:
    """Presses Ctrl-C at one of the words."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.2, "penalty_window": 7}, {"no_repeat_ngram_size": 3}])
@pytest.mark.parametrize("limits", [{"max_characters": 120}, {"max_new_tokens": 90}, {"max_sentences": 20}])
def test_interrupted_text_is_resumed_exactly(
    model: LSTMLanguageModel,
    tmp_path: Path,
    at_each_word: AtEachWord,
    options: dict[str, Any],
    limits: dict[str, Any],
) -> None:
    sampler = Sampler(model, SamplerConfig(**{"temperature": 1.0, "seed": 2, **options}))
    whole = sampler.generate("展昭道：“", **limits)
    path = tmp_path / "novel.txt"
    path.write_text("an older novel", encoding="utf-8")
    for after in (5, 27, 31):  # before the first state, after it, and again
        with at_each_word(Interruption(after)), pytest.raises(KeyboardInterrupt):
            sampler.write(path, prompt="展昭道：“", resume=True, **limits)
        assert path.read_text(encoding="utf-8") == "an older novel"
    assert sorted(os.listdir(tmp_path)) == ["novel.txt", "novel.txt.part", "novel.txt.part.state"]
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with at_each_word(count):
        assert sampler.write(path, prompt="展昭道：“", resume=True, **limits) == path
    assert path.read_text(encoding="utf-8") == whole
    assert sorted(os.listdir(tmp_path)) == ["novel.txt", "novel.txt.~1~"]
    assert (tmp_path / "novel.txt.~1~").read_text(encoding="utf-8") == "an older novel"
    assert 0 < steps < len(sampler.generate("展昭道：“", **limits, return_results=True).ids) - 30


def test_without_resume_the_text_begins_anew(
    model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord
) -> None:
    sampler = Sampler(model)
    with at_each_word(Interruption(40)), pytest.raises(KeyboardInterrupt):
        sampler.write(tmp_path / "a.txt", max_new_tokens=60)
    sampler.write(tmp_path / "a.txt", max_new_tokens=30)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == sampler.generate(max_new_tokens=30)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_another_text_is_not_resumed(model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord) -> None:
    path = tmp_path / "novel.txt"
    with at_each_word(Interruption(40)), pytest.raises(KeyboardInterrupt):
        Sampler(model).write(path, prompt="展昭", max_new_tokens=60)
    part = (tmp_path / "novel.txt.part").read_bytes()
    other = SamplerConfig(seed=9)
    for config, prompt, number in ((other, "展昭", 60), (None, "白玉堂", 60), (None, "展昭", 61)):
        with pytest.raises(DataError, match=r"was begun with another model, prompt, options or limits"):
            Sampler(model, config).write(path, prompt=prompt, max_new_tokens=number, resume=True)
    with torch.no_grad():
        model.layers[0].get_parameter("bias_hh_l0").add_(0.01)
    with pytest.raises(DataError, match=r"was begun with another model"):
        Sampler(model).write(path, prompt="展昭", max_new_tokens=60, resume=True)
    assert (tmp_path / "novel.txt.part").read_bytes() == part


@pytest.mark.parametrize("damage", ["state", "part", "huge"])
def test_damaged_remains_are_told_of(
    model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord, damage: str
) -> None:
    path = tmp_path / "novel.txt"
    with at_each_word(Interruption(40)), pytest.raises(KeyboardInterrupt):
        Sampler(model).write(path, prompt="展昭", max_new_tokens=60)
    target = tmp_path / ("novel.txt.part" if damage == "part" else "novel.txt.part.state")
    if damage == "huge":
        # A sparse file of 200 MB, which takes no place on the disk.
        os.truncate(target, 200 << 20)
    else:
        target.write_bytes(target.read_bytes()[:20])
    with pytest.raises(DataError, match=r"novel\.txt\.part"):
        Sampler(model).write(path, prompt="展昭", max_new_tokens=60, resume=True)


def test_progress_is_told_in_characters(model: LSTMLanguageModel, tmp_path: Path) -> None:
    told: list[int] = []
    path = Sampler(model).write(tmp_path / "a.txt", prompt="展昭", max_characters=99, progress=told.append)
    assert len(path.read_text(encoding="utf-8")) == told[-1] == 99
    assert told == sorted(told)
    assert len(told) > 5


def test_full_disk_leaves_what_can_be_resumed(
    model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "a.txt", os.replace

    def only_states(source: Path, target: Path) -> None:
        if target == path:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", only_states)
        with pytest.raises(DataError, match="No space left on device"):
            Sampler(model).write(path, max_new_tokens=60)
    assert sorted(os.listdir(tmp_path)) == ["a.txt.part", "a.txt.part.state"]
    Sampler(model).write(path, max_new_tokens=60, resume=True)
    assert path.read_text(encoding="utf-8") == Sampler(model).generate(max_new_tokens=60)


def test_a_file_that_is_being_written_is_refused_to_another(model: LSTMLanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    alone = Sampler(model).generate(max_new_tokens=60)

    tried = 0

    def meanwhile(*_: object) -> None:
        nonlocal tried
        if path.exists():  # it is complete
            return
        tried += 1
        with pytest.raises(DataError, match=rf"a\.txt: process {os.getpid()} on .* is writing it"):
            Sampler(model).write(path, max_new_tokens=20)

    Sampler(model).write(path, max_new_tokens=60, progress=meanwhile)
    assert tried
    assert path.read_text(encoding="utf-8") == alone
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_text_that_is_complete_is_not_lost_with_its_last_step(
    model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", 1000)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=r"Permission denied.*the whole text is in .*a\.txt\.part"):
        Sampler(model).write(tmp_path / "a.txt", max_new_tokens=30)
    text = (tmp_path / "a.txt.part").read_text(encoding="utf-8")
    assert text == Sampler(model).generate(max_new_tokens=30)


def test_command_resumes_a_file(
    model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "novel.txt"
    with at_each_word(Interruption(40)), pytest.raises(KeyboardInterrupt):
        Sampler(model, SamplerConfig(seed=5)).write(path, prompt="展昭", max_new_tokens=60)
    command = ["generate", str(tmp_path / "model"), "--prompt", "展昭", "--max-new-tokens", "60", "--output", str(path)]
    assert main([*command, "--resume"]) == 2
    assert "was begun with another model, prompt, options or limits" in capsys.readouterr().err
    assert main([*command, "--seed", "5", "--resume"]) == 0
    text = path.read_text(encoding="utf-8")
    assert f"{len(text):,} characters in {path}" in capsys.readouterr().out
    assert text == Sampler(model, SamplerConfig(seed=5)).generate("展昭", max_new_tokens=60)
