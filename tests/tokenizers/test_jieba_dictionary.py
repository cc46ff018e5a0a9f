"""jieba's dictionary, read as far as it is needed: the same words and frequencies, with and without a cache."""

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from zh_lstm_lm.tokenizers import jieba_dictionary
from zh_lstm_lm.tokenizers.jieba_dictionary import JiebaDictionary
from zh_lstm_lm.tokenizers.registry import get_tokenizer

WORDS = "B超 3 n\n一 100 m\n一刀 20 n\n一刀两断 7 i\n刀 50 n\n一刀 21 n\n刀剑笑 4 nr\n𠮷野家 2 n\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small dictionary file."""
    (tmp_path / "dict.txt").write_text(WORDS, encoding="utf-8")
    return tmp_path / "dict.txt"


def everything(path: Path) -> tuple[dict[str, int], int]:
    dictionary = JiebaDictionary(path)
    dictionary.load(path.read_text(encoding="utf-8"))
    return dictionary.frequencies, dictionary.total


def by_hand(path: Path) -> tuple[dict[str, int], int]:
    """The prefix dictionary as jieba documents it."""
    entries = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    frequencies = {word[:end]: 0 for word, _, _ in entries for end in range(1, len(word) + 1)}
    frequencies.update((word, int(frequency)) for word, frequency, _ in entries)
    return frequencies, sum(int(frequency) for _, frequency, _ in entries)


def test_the_whole_of_jieba_s_dictionary_is_as_jieba_reads_it(cache: Path) -> None:
    found = find_spec("jieba")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).with_name("dict.txt")

    assert everything(path) == by_hand(path)


def test_only_what_a_text_can_need_is_read(cache: Path, path: Path) -> None:
    dictionary = JiebaDictionary(path)

    assert (dictionary.frequencies, dictionary.total) == ({}, 207)
    dictionary.load("刀光")
    assert dictionary.frequencies == {"刀": 50, "刀剑": 0, "刀剑笑": 4}
    dictionary.load("一𠮷")
    assert dictionary.frequencies == {key: value for key, value in by_hand(path)[0].items() if key[0] != "B"}


def test_the_index_is_kept_and_used(cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = everything(path)

    # Any call would fail.
    monkeypatch.setattr(jieba_dictionary, "_make_index", None)
    assert everything(path) == expected
    monkeypatch.undo()
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(cache))
    path.write_text(WORDS.replace("100", "101"), encoding="utf-8")
    assert everything(path) == by_hand(path) != expected, "another dictionary has another index"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed", "manifest", "foreign"])
def test_a_damaged_index_is_made_again_in_silence(
    cache: Path, path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = everything(path)
    (index,) = cache.rglob("index.json")
    content = index.read_bytes()
    if damage == "truncated":
        index.write_bytes(content[: random.Random(0).randrange(len(content))])
    elif damage == "flipped":
        index.write_bytes(content.replace(b"207", b"208"))
    elif damage == "removed":
        index.unlink()
    elif damage == "manifest":
        (index.parent / "manifest.json").unlink()
    else:
        (index.parent / "manifest.json").write_text(json.dumps([1, 2]))

    assert everything(path) == expected
    assert index.read_bytes() == content
    assert capfd.readouterr() == ("", "")


def test_a_cache_that_no_place_is_known_for_is_done_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ZH_LSTM_LM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert everything(path) == by_hand(path)


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path / "file"))

    assert everything(path) == by_hand(path)
    assert get_tokenizer("jieba").tokenize("中国科学院") == ["中国科学院"]
    assert (tmp_path / "file").read_text() == "no folder"
