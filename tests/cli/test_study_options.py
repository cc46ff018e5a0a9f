"""Each option of ``study``, held to its effect by a study that has all of them away from their defaults."""

import json
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import ModelConfig, StudyConfig, TrainerConfig
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.training.updater import Updater

SIZES = ["--embedding-dim", "4", "--hidden-size", "4"]
CONDITIONS: dict[str, Any] = {
    "lengths": [2, 4],
    "shares": [0.5, 1.0],
    "max_sizes": [300, 310],
    "tokenizers": ["characters"],
    "seeds": [3, 4],
    "equality": "updates",
    "budget": 2,
    "min_freq": 4,
    "max_size": 320,
    "prompt": "展昭",
}
MODEL = {"embedding_dim": 5, "hidden_size": 6, "num_layers": 2, "dropout": 0.125}
TRAINING = {"batch_size": 3, "bptt_len": 6, "learning_rate": 0.02, "max_grad_norm": 0.25, "device": "cpu"}
OPTIONS = {**CONDITIONS, **MODEL, **TRAINING}


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def flat(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(flat(value) if isinstance(value, dict) else {name: value})
    return found


@pytest.fixture(scope="module")
def study(folder: Path) -> dict[str, Any]:
    """The file of the study."""
    words = [
        word
        for name, value in OPTIONS.items()
        for word in (option(name), *map(str, value if isinstance(value, list) else [value]))
    ]
    words += ["--reset-state", "--report", str(folder / "study.html"), "--overwrite", "--clean", "empty_lines"]
    words += ["--user-dictionary", str(folder / "words.txt"), "--tokenizer", "jieba", "--normalize", "nfc"]
    words += ["--encoding", "gb18030", "--workers", "1", "--cache-dir", str(folder / "study-cache"), "--quiet"]
    (folder / "study.html").write_text("a page that is replaced", encoding="utf-8")
    assert main(["study", "epochs", str(folder / "novels"), "--output", str(folder / "study"), *words]) == 0
    return dict(json.loads((folder / "study" / "study.json").read_text(encoding="utf-8")))


def test_every_option_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("study")


@pytest.mark.options("study", *map(option, OPTIONS), "--output")
@pytest.mark.parametrize("name", OPTIONS)
def test_conditions_model_and_training(name: str, study: dict[str, Any]) -> None:
    found = flat({**study["options"], "seeds": study["seeds"], "equality": study["equality"]})
    assert found[name] == OPTIONS[name]
    defaults = {**TrainerConfig().to_dict(), **ModelConfig().to_dict(), **StudyConfig().to_dict()}
    assert defaults[name] != OPTIONS[name] or name == "device"


@pytest.mark.options(
    *(
        "study",
        "--tokenizer",
        "--user-dictionary",
        "--encoding",
        "--clean",
        "--normalize",
        "--cache-dir",
        "--reset-state",
    )
)
def test_reading(study: dict[str, Any], place: Any) -> None:
    corpora = []
    for other in ({}, {"clean": "novel"}, {"tokenizer": "jieba"}):
        tokenizer = get_tokenizer("jieba", user_dictionary="words.txt")
        stream = place.stream(**{"tokenizer": tokenizer, "clean": "empty_lines", "normalize": "nfc", **other})
        corpora.append((stream.num_characters, len(stream)))
    assert (study["corpus"]["characters"], study["corpus"]["tokens"]) == corpora[0]
    assert corpora[0][1] != corpora[2][1]
    assert flat(study["options"])["carry_state"] is False
    assert list((place.folder / "study-cache").rglob("*"))
    place.run("study", "epochs", "novels", "--output", "x", "--encoding", "utf-8", status=2)
    place.run("study", "epochs", "novels", "--output", "x", "--normalize", "nfx", status=2)
    place.run("study", "epochs", "novels", "--output", "x", "--clean", "dust", status=2)


@pytest.mark.options("study", "--report", "--overwrite")
def test_page(study: dict[str, Any], place: Any) -> None:
    assert study["complete"]
    assert "</html>" in (place.folder / "study.html").read_text(encoding="utf-8")
    place.run("study", "epochs", "novels", "--output", "x", "--report", "study.html", status=2)
    assert "exists already" in place.err


def test_a_study_of_another_kind_is_reported_before_the_corpus_is_read(study: dict[str, Any], place: Any) -> None:
    place.run("study", "seq-len", "novels", "--output", "study", "--cache-dir", "unread", status=2)
    assert "study: holds a study of epochs, got seq-len; give another --output" in place.err
    assert not Path("unread").exists()


@pytest.mark.options("study", "--text-field")
def test_records(place: Any) -> None:
    Path("records.jsonl").write_text('{"body": "展昭"}\n', encoding="utf-8")
    place.run("study", "epochs", "records.jsonl", "--text-field", "title", "--output", "x", status=2)
    assert "title" in place.err


@pytest.mark.options("study", "--separator")
def test_words_that_are_given(place: Any) -> None:
    Path("given.txt").write_text("展昭  笑  道  ：  好  大雪\n" * 90, encoding="utf-8")
    command = [
        "study",
        "epochs",
        "given.txt",
        "--tokenizer",
        "whitespace",
        "--separator",
        "  ",
        "--clean",
        "none",
        *SIZES,
    ]
    command += ["--seeds", "0", "1", "--shares", "0.5", "1", "--budget", "1", "--equality", "updates"]
    place.run(*command, "--output", "given", "--quiet")
    assert place.json("given", "study.json")["corpus"]["tokens"] == 90 * 7


@pytest.mark.options("study", "--workers", "--quiet")
def test_workers_and_quiet(place: Any) -> None:
    command = ["study", "epochs", "novels", *SIZES, "--shares", "0.5", "1", "--seeds", "0", "1", "--budget", "1"]
    quiet = place.run(*command, "--output", "quiet", "--quiet", "--cache-dir", "quiet-cache") + place.err
    assert "2/4" not in quiet
    assert "segmenting" not in quiet
    assert "2/4" in place.run(*command, "--output", "loud", "--workers", "2", "--cache-dir", "loud-cache")
    assert "in 2 processes" in place.err


def test_sizes_that_are_not_given_are_those_of_the_library(place: Any) -> None:
    command = ["study", "epochs", "novels", "--tokenizer", "characters", "--budget", "1", "--equality", "updates"]
    place.run(*command, "--output", "sizes", "--shares", "0.5", "1", "--seeds", "0", "1", "--quiet", "--dropout", "0.3")
    sizes = flat(place.json("sizes", "study.json")["options"])
    assert (sizes["embedding_dim"], sizes["hidden_size"], sizes["num_layers"]) == (64, 128, 1)


def test_a_study_that_is_interrupted_tells_what_it_has_and_continues(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["study", "epochs", "novels", "--output", "stopped", "--tokenizer", "characters", *SIZES]
    command += ["--seeds", "0", "1", "--shares", "0.5", "1", "--budget", "1", "--equality", "updates"]
    update, calls = Updater.update, count(1)

    def interrupt(*arguments: Any) -> Any:
        if next(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Updater, "update", interrupt)
        place.run(*command, status=130)
    rows = place.json("stopped", "study.json")["rows"]
    assert 0 < len(rows) < 4
    assert f"interrupted; {len(rows)} runs are in stopped; the same command continues" in place.err
    assert place.run(*command).endswith("saved in stopped\n")
    assert place.json("stopped", "study.json")["rows"][: len(rows)] == rows
