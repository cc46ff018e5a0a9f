"""Folders that strangers made: each is refused by an error of the library, and nothing else happens."""

import json
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary, ZhLstmLmError
from zh_lstm_lm.storage.safe_reading import MANIFEST, NewerFormatError

Change = Callable[[Path], object]
CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocabulary.json", "model.safetensors"


def raw(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def edited(name: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / name).read_bytes())
        values.update(changes)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return change


def without(name: str, key: str) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / name).read_bytes())
        del values[key]
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return change


def inserted(name: str, text: str) -> Change:
    """Puts text behind the opening brace."""
    return lambda folder: (folder / name).write_bytes(b"{" + text.encode() + (folder / name).read_bytes()[1:])


def tokenizer(**changes: Any) -> Change:
    saved: dict[str, Any] = {"name": "characters", "options": {}, "fingerprint": "x", "probe": None}
    return edited(VOCABULARY, tokenizer=saved | changes)


def token(value: Any) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / VOCABULARY).read_bytes())
        values["tokens"][0] = value
        (folder / VOCABULARY).write_text(json.dumps(values), encoding="utf-8")

    return change


def header(change_of: Callable[[dict[str, Any]], object]) -> Change:
    """Rewrites the header of the weights, and leaves the values."""

    def change(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        described = json.loads(data[8 : 8 + length])
        change_of(described)
        new = json.dumps(described).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])

    return change


def many_tensors(number: int) -> Change:
    def change(entries: dict[str, Any]) -> None:
        end = max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
        entries.update({f"x{n}": {"dtype": "F32", "shape": [0], "data_offsets": [end, end]} for n in range(number)})

    return header(change)


def described(**changes: Any) -> Change:
    return header(lambda entries: entries["embedding.weight"].update(changes))


def link(name: str, target: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def replaced(name: str, make: Callable[[Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def pickled(path: Path) -> None:
    torch.save({"embedding.weight": torch.zeros(2)}, path)


def manifest(values: Any) -> Change:
    return raw(MANIFEST, json.dumps(values).encode())


ZOO: dict[str, tuple[Change, str]] = {
    # sizes that would fill the memory
    "a vocabulary of 10^12": (edited(CONFIG, vocab_size=10**12), "names 1000000000000 tokens, .* holds 335"),
    "a vocabulary of 10^400": (edited(CONFIG, vocab_size=10**400), "names 1000"),
    "an embedding of 10^6": (edited(CONFIG, embedding_dim=1 << 20), "'embedding.characters' is .* should be .*1048576"),
    "a state of 10^6": (edited(CONFIG, hidden_size=1 << 20), "should be .*4194304"),
    "a state of 10^12": (edited(CONFIG, hidden_size=10**12), "hidden_size must be from 1 to"),
    "10^9 layers": (edited(CONFIG, num_layers=10**9), "num_layers must be from 1 to 1000"),
    "20 layers": (edited(CONFIG, num_layers=20), "layers.1.* is missing"),
    "2,000 clusters": (edited(CONFIG, output="adaptive", cutoffs=list(range(1, 2001))), "cutoffs must be at most 1000"),
    "clusters beyond the vocabulary": (edited(CONFIG, output="adaptive", cutoffs=[10**9]), "smaller than the vocabul"),
    "a config of 2 MB": (inserted(CONFIG, " " * (2 << 20)), "more than the 1,048,576"),
    "weights of a terabyte": (replaced(WEIGHTS, sparse), "truncated, damaged"),
    "a tensor of 10^12 rows": (described(shape=[10**12, 6]), "by its header 24,0"),
    "a tensor of 10^400 rows": (described(shape=[10**400, 6]), "by its header|not valid JSON"),
    "a header of 2^63 bytes": (raw(WEIGHTS, struct.pack("<Q", 1 << 63) + b"{}"), "truncated, damaged"),
    "a header of 8 MB": (raw(WEIGHTS, struct.pack("<Q", 8 << 20) + b" " * (8 << 20)), "truncated, damaged"),
    # JSON that is none
    "NaN": (inserted(CONFIG, '"dropout": NaN, '), "config.json: not valid JSON"),
    "infinity": (inserted(CONFIG, '"dropout": -Infinity, '), "config.json: not valid JSON"),
    "a number beyond all floats": (inserted(CONFIG, '"dropout": 1e999, '), "1e999 is no finite number"),
    "a number of 5,000 digits": (inserted(CONFIG, f'"seed": {"1" * 5000}, '), "config.json"),
    "a key twice": (inserted(CONFIG, '"seed": 1, '), "a key stands twice"),
    "a key twice deep inside": (inserted(CONFIG, '"training": {"a": {"b": 1, "b": 2}}, '), "stands twice"),
    "100,000 lists in one another": (raw(CONFIG, b"[" * 100_000), "config.json: not valid JSON"),
    "100,000 objects in one another": (raw(VOCABULARY, b'{"a":' * 100_000), "vocabulary.json: not valid JSON"),
    "20 lists in one another": (inserted(VOCABULARY, f'"x": {"[" * 20}{"]" * 20}, '), "nested deeper than 16"),
    "a byte order mark": (raw(CONFIG, b"\xef\xbb\xbf{}"), "not valid JSON"),
    "UTF-16": (raw(CONFIG, "{}".encode("utf-16")), "not valid JSON"),
    "a list": (raw(CONFIG, b"[]"), "not a file of this library"),
    "a string": (raw(VOCABULARY, b'"tokens"'), "not a file of this library"),
    "nothing": (raw(CONFIG, b""), "not valid JSON"),
    "null": (raw(VOCABULARY, b"null"), "not a file of this library"),
    # names that would choose code, files or addresses
    "code of its own": (edited(CONFIG, auto_map={"AutoModel": "modeling.Model"}), "unknown 'auto_map'"),
    "a class": (edited(CONFIG, __class__="os.system"), "unknown '__class__'"),
    "another library's model": (edited(CONFIG, model_type="gpt2"), "model_type is not"),
    "a model type that is a list": (edited(CONFIG, model_type=["zh-lstm-lm"]), "model_type is not"),
    "a file of weights elsewhere": (edited(CONFIG, weight_map={"x": "../../secret"}), "unknown 'weight_map'"),
    "a tokenizer that is a module": (tokenizer(name="os.system"), "no tokenizer 'os.system'"),
    "a tokenizer that is a path": (tokenizer(name="../../evil.py"), "no tokenizer"),
    "a tokenizer that is a list": (tokenizer(name=["characters"]), "vocabulary.json"),
    "a tokenizer that is a number": (tokenizer(name=3), "vocabulary.json"),
    "an option that is a command": (tokenizer(options={"command": "ls"}), "does not take the options"),
    "a dictionary that is a path": (tokenizer(name="jieba", options={"user_dictionary": "/etc/passwd"}), "mapping"),
    "a path that would be read": (tokenizer(name="hf", options={"path": "/etc/passwd"}), "."),
    "a definition that is none": (tokenizer(name="hf", options={"definition": '{"model": 3}'}), "."),
    "a SentencePiece model that is none": (tokenizer(name="sentencepiece", options={"model": "AAAA"}), "."),
    "options that are a list": (tokenizer(options=["hmm"]), "vocabulary.json"),
    "a fingerprint that is a list": (tokenizer(fingerprint=[1]), "vocabulary.json"),
    "a probe of numbers": (tokenizer(probe=[1, 2]), "vocabulary.json"),
    "a normalisation that there is not": (edited(VOCABULARY, normalize="../nfc"), "vocabulary.json"),
    "a normalisation that is a list": (edited(VOCABULARY, normalize=["nfc"]), "vocabulary.json"),
    "a key that there is not": (edited(VOCABULARY, merges=[]), "unknown 'merges'"),
    "a key less": (without(VOCABULARY, "counts"), "no 'counts'"),
    # tokens
    "a byte of 256": (token(256), "out of range"),
    "a byte of -1": (token(-1), "out of range"),
    "a token that is a list": (token([1]), "must be a string"),
    "a token that is true": (token(True), "must be a string"),
    "a token that is a number with a point": (token(1.5), "must be a string"),
    "a lone surrogate": (token("\ud800"), "lone surrogate"),
    "an empty token": (token(""), "is empty"),
    "tokens that are text": (edited(VOCABULARY, tokens="展昭"), "vocabulary.json"),
    "counts that are text": (edited(VOCABULARY, counts="展昭"), "vocabulary.json"),
    "counts that are no integers": (edited(VOCABULARY, counts=[0.5] * 335), "integer count"),
    "counts beyond 64 bits": (edited(VOCABULARY, counts=[10**30] * 335), "vocabulary.json"),
    # weights
    "a pickle": (replaced(WEIGHTS, pickled), "truncated, damaged"),
    "a bare pickle": (raw(WEIGHTS, pickle.dumps(print)), "truncated, damaged"),
    "no weights": (raw(WEIGHTS, b""), "truncated, damaged"),
    "a header that is a list": (raw(WEIGHTS, struct.pack("<Q", 2) + b"[]"), "truncated, damaged"),
    "a header that is no JSON": (raw(WEIGHTS, struct.pack("<Q", 2) + b"{["), "not valid JSON"),
    "a tensor twice": (raw(WEIGHTS, struct.pack("<Q", 16) + b'{"a": 1, "a": 2}'), "a key stands twice"),
    "a negative side": (described(shape=[-335, 6]), "truncated, damaged"),
    "a side that is text": (described(shape=["335", 6]), "truncated, damaged"),
    "a type that there is not": (described(dtype="F7"), "truncated, damaged"),
    "a type that is a list": (described(dtype=["F32"]), "truncated, damaged"),
    "integers": (described(dtype="I32"), "'embedding.weight' is torch.int32"),
    "values that overlap": (described(data_offsets=[0, 0]), "model.safetensors"),
    "values out of the file": (described(data_offsets=[10**9, 10**9 + 335 * 24]), "model.safetensors"),
    "a tensor less": (header(lambda entries: entries.pop("output.bias")), "truncated, damaged"),
    "a tensor without values": (
        header(lambda e: e.update(x={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
        "x",
    ),
    # manifests
    "a manifest of paths": (manifest({"../../etc/passwd": {"bytes": 1, "sha256": "x"}}), "config.json"),
    "a manifest that is a list": (manifest([]), "not a manifest"),
    "a manifest of numbers": (manifest({CONFIG: 3}), "not a manifest"),
    "a manifest that names more": (manifest({CONFIG: {"bytes": 1, "sha256": "x", "url": "y"}}), "not a manifest"),
    "a manifest of other sums": (manifest({CONFIG: {"bytes": 1, "sha256": "x"}}), "config.json: truncated or changed"),
    # formats
    "no format": (without(CONFIG, "format"), "has no format number"),
    "a format that is text": (edited(CONFIG, format="1"), "has no format number"),
    "a format that is true": (edited(VOCABULARY, format=True), "has no format number"),
    "format 0": (edited(VOCABULARY, format=0), "has no format number"),
    "a format to come": (edited(CONFIG, format=2, zh_lstm_lm_version="3.1.4"), r"pip install -U 'zh-lstm-lm>=3\.1\.4'"),
    "a version that is a command": (edited(CONFIG, format=2, zh_lstm_lm_version="'; rm -rf ~'"), "-U 'zh-lstm-lm'$"),
    "a version that is a list": (edited(VOCABULARY, format=9, zh_lstm_lm_version=[]), "-U 'zh-lstm-lm'$"),
}
"""What is done to a whole folder, and what the error says."""

if os.name != "nt":
    ZOO |= {
        "a link to a file elsewhere": (link(CONFIG, "/etc/passwd"), "symbolic link out of its folder"),
        "a link upwards": (link(VOCABULARY, "../secret.json"), "symbolic link out of its folder"),
        "a link to an endless file": (link(WEIGHTS, "/dev/zero"), "symbolic link out of its folder"),
        "a link to itself": (link(WEIGHTS, WEIGHTS), "model.safetensors|no such file"),
        "a link to nothing": (link(VOCABULARY, "nothing"), "no such file"),
        "a manifest that is a link": (
            lambda folder: (folder / MANIFEST).symlink_to("/etc/passwd"),
            "symbolic link out",
        ),
        "a named pipe": (replaced(WEIGHTS, os.mkfifo), "no such file"),
        "a folder for a file": (replaced(VOCABULARY, Path.mkdir), "no such file"),
    }


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    """A whole model without a manifest, as a stranger would leave it away."""
    LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=6, hidden_size=4, output="full")).save_pretrained(
        tmp_path / "m"
    )
    (tmp_path / "m" / MANIFEST).unlink()
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    return tmp_path / "m"


def test_zoo_is_large_and_its_folder_whole(folder: Path) -> None:
    assert len(ZOO) >= 60
    assert len(LSTMLanguageModel.from_pretrained(folder).vocabulary) == 335


@pytest.mark.parametrize("name", ZOO)
def test_hostile_folder_is_refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, message = ZOO[name]
    change(folder)
    before = sorted(path.name for path in folder.parent.rglob("*"))

    def forbidden(*details: object, **options: object) -> None:
        raise AssertionError("something was unpickled")

    for target, function in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(target, function, forbidden)
    tracemalloc.start()
    try:
        with pytest.raises(ZhLstmLmError, match=message):
            LSTMLanguageModel.from_pretrained(folder)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert sorted(path.name for path in folder.parent.rglob("*")) == before


LISTS = b"[" + b",".join([b"[]"] * 1_500_000) + b"]"
HEAVY: dict[str, tuple[Change, str]] = {
    "lists": (raw(VOCABULARY, LISTS), "lists and objects, more than"),
    "objects": (raw(VOCABULARY, LISTS.replace(b"[]", b"{}")), "lists and objects, more than"),
    "lists behind a string": (raw(VOCABULARY, b'["\\"[", ' + LISTS + b"]"), "lists and objects, more than"),
    "numbers": (raw(VOCABULARY, b"[" + b"1," * 3_000_000 + b"1]"), "3,000,000 values, more than"),
    "strings": (raw(VOCABULARY, b"[" + b'"",' * 1_600_000 + b"1]"), "1,600,000 strings, more than"),
    "keys": (raw(VOCABULARY, b"{" + b",".join(b'"%d": 1' % n for n in range(1_400_000)) + b"}"), "keys, more than"),
    "a number of 4,000 digits": (raw(VOCABULARY, b"[" + b"1" * 4000 + b"]"), "a number of 1,000 digits or more"),
    "text that is four times as large in memory": (
        raw(VOCABULARY, b'["' + b'x","' * (13 << 20 >> 1) + "\U0001f600".encode() + b'"]'),
        "bytes of text, more than",
    ),
    "a string of 20 MB": (raw(VOCABULARY, b'"' + b"x" * (20 << 20) + b'"'), "a string of more than"),
    "a file of 65 MB": (raw(VOCABULARY, b" " * (65 << 20)), "more than the 67,108,864 expected"),
    "lists in the sampling options": (raw("generation_config.json", LISTS[:900_000]), "lists and objects, more than"),
    "lists in the config": (inserted(CONFIG, f'"training": [{"[]," * 100_000}[]], '), "lists and objects, more than"),
    "a probe of 20,000 characters": (tokenizer(probe=["话说" * 100] * 100), "vocabulary.json"),
    "a tokenizer's name of 1 MB": (tokenizer(name="x" * 1_000_000), "vocabulary.json"),
    "a fingerprint of 1 MB": (tokenizer(fingerprint="x" * 1_000_000), "vocabulary.json"),
    "a normalisation of 1 MB": (edited(VOCABULARY, normalize="nfc+" * 250_000), "vocabulary.json"),
    "words of 100 characters": (
        tokenizer(name="jieba", options={"user_dictionary": {f"{n}{'x' * 94}": None for n in range(100_000, 130_000)}}),
        "characters in all, expected at most",
    ),
    "a million tokens": (
        edited(VOCABULARY, tokens=[f"{n}" for n in range(1_000_000)], counts=[0] * 1_000_002),
        "holds 1,000,000 tokens besides",
    ),
    "two million tokens": (edited(VOCABULARY, tokens=[""] * 2_000_000, counts=[]), "strings, more than"),
    "40,000 tensors": (many_tensors(40_000), "truncated, damaged"),
    "5,000 tensors": (many_tensors(5_000), "lists and objects, more than"),
    "1,000 sides": (described(shape=[1] * 1000), "is no tensor"),
    "999 layers": (edited(CONFIG, num_layers=999), "layers.1.* is missing"),
    "a manifest of 100 KB": (raw(MANIFEST, b" " * 100_000), "more than the 65,536"),
}
"""Files that would take long, or much memory, to be refused."""


@pytest.mark.parametrize("name", HEAVY)
def test_work_is_bounded_whatever_a_file_holds(folder: Path, name: str) -> None:
    change, message = HEAVY[name]
    change(folder)
    tracemalloc.start()
    try:
        with pytest.raises(ZhLstmLmError, match=message) as caught:
            LSTMLanguageModel.from_pretrained(folder)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


def test_a_tokenizer_cuts_nothing_before_a_model_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zh_lstm_lm.tokenizers.plain_tokenizers import CharacterTokenizer

    tokenizer(probe=["话说 展昭"])(folder)
    header(lambda entries: entries["output.bias"].update(dtype="F64"))(folder)
    monkeypatch.setattr(CharacterTokenizer, "tokenize", lambda *given: pytest.fail("a text was cut"))
    with pytest.raises(ZhLstmLmError, match=r"model\.safetensors"):
        LSTMLanguageModel.from_pretrained(folder)


def test_a_vocabulary_of_a_million_words_is_loaded(tmp_path: Path) -> None:
    words = [*range(256), *(f"词{number}" for number in range(1_000_000))]
    counts = [10_000_000 + number for number in range(len(words) + 2)]
    vocabulary = Vocabulary(words, tokenizer="characters", counts=counts)
    config = ModelConfig(embedding_dim=1, hidden_size=1, output="full", character_vectors=False)
    LSTMLanguageModel(vocabulary, config).save_pretrained(tmp_path / "m")
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "m").vocabulary
    assert loaded.token_to_id("词999999") == len(loaded) - 1 == len(words) + 1
    assert loaded.counts == counts
    with pytest.raises(ZhLstmLmError, match="at most 1,048,576 entries"):
        Vocabulary([*words, *(f"字{number}" for number in range(50_000))], tokenizer="characters")


def test_newer_format_is_an_error_of_its_own(folder: Path) -> None:
    edited(VOCABULARY, format=7)(folder)
    with pytest.raises(NewerFormatError, match=r"its format is 7, and zh-lstm-lm .* reads up to 1"):
        LSTMLanguageModel.from_pretrained(folder)


# ---- the caches


CACHES: dict[str, Callable[[Path], object]] = {
    "numbers beyond the lexicon": lambda folder: (folder / "tokens.bin").write_bytes(struct.pack("<i", 10**6) * 60),
    "negative numbers": lambda folder: (folder / "tokens.bin").write_bytes(struct.pack("<i", -1) * 60),
    "no numbers": lambda folder: (folder / "tokens.bin").write_bytes(b""),
    "half a number": lambda folder: (folder / "tokens.bin").write_bytes(b"\0\0"),
    "a token twice": lambda folder: (folder / "lexicon.utf8").write_bytes(b"a\na"),
    "a token in another's place": lambda folder: (folder / "lexicon.utf8").write_bytes(
        b"\n".join(
            [(folder / "lexicon.utf8").read_bytes().split(b"\n")[0]] * 2
            + (folder / "lexicon.utf8").read_bytes().split(b"\n")[2:]
        )
    ),
    "no lexicon": lambda folder: (folder / "lexicon.utf8").write_bytes(b""),
    "a lexicon that is no UTF-8": lambda folder: (folder / "lexicon.utf8").write_bytes(b"\xff"),
    "documents out of order": edited("stream.json", documents=[["b", 30, 40], ["a", 0, 30]]),
    "documents beyond the end": edited("stream.json", documents=[["a", 0, 10**9]]),
    "documents before the start": edited("stream.json", documents=[["a", -5, 10]]),
    "a start that only looks like 0": lambda folder: edited(
        "stream.json", documents=[["a", -0.0, (folder / "tokens.bin").stat().st_size // 4]]
    )(folder),
    "documents that are text": edited("stream.json", documents="abc"),
    "documents that are numbers": edited("stream.json", documents=[1, 2]),
    "spans that are text": edited("stream.json", documents=[["a", "0", "10"]]),
    "no documents": edited("stream.json", documents=[]),
    "a key that there is not": edited("stream.json", code="print()"),
    "another format": edited("stream.json", format=99),
}


@pytest.mark.parametrize("name", CACHES)
def test_hostile_cache_of_tokens_is_made_again(tmp_path: Path, texts: list[str], name: str) -> None:
    """With a manifest that fits, since whoever writes the files writes that too."""
    (tmp_path / "novel.txt").write_text(texts[0], encoding="utf-8")
    cache = tmp_path / "cache"
    expected = list(TokenStream.from_files(tmp_path / "novel.txt", tokenizer="characters", cache_dir=cache))
    (folder,) = (cache / "streams").iterdir()
    CACHES[name](folder)
    sign(folder)
    assert list(TokenStream.from_files(tmp_path / "novel.txt", tokenizer="characters", cache_dir=cache)) == expected


def sign(folder: Path) -> None:
    """Makes a manifest that fits what lies in a folder."""
    from zh_lstm_lm.storage.safe_reading import digest

    files = [file for file in folder.iterdir() if file.name != MANIFEST]
    sums = {file.name: {"bytes": file.stat().st_size, "sha256": digest(file)} for file in files}
    (folder / MANIFEST).write_text(json.dumps(sums), encoding="utf-8")


INDEXES: dict[str, dict[str, Any]] = {
    "a start inside a line": {"starts": [0, 2]},
    "starts that fall": {"starts": [8, 0]},
    "a negative start": {"starts": [-1, 8]},
    "starts that are text": {"starts": "ab"},
    "starts that are numbers with a point": {"starts": [0.0, 0.5]},
    "a start too many": {"starts": [0, 9, 12]},
    "other characters": {"characters": "乙甲"},
    "characters that are a list": {"characters": ["甲", 3]},
    "no total": {"total": 0},
    "a total that is text": {"total": "30"},
    "a key more": {"code": 1},
}


@pytest.mark.parametrize("name", INDEXES)
def test_hostile_cache_of_a_dictionary_is_made_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zh_lstm_lm.tokenizers.jieba_dictionary import JiebaDictionary

    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "dict.txt").write_text("甲乙 10 n\n乙丙 20 n\n", encoding="utf-8")

    def frequencies() -> tuple[int, dict[str, int]]:
        dictionary = JiebaDictionary(tmp_path / "dict.txt")
        dictionary.load("甲乙丙")
        return dictionary.total, dictionary.frequencies

    expected = frequencies()
    (folder,) = (tmp_path / "cache" / "dictionaries").iterdir()
    edited("index.json", **INDEXES[name])(folder)
    sign(folder)
    assert frequencies() == expected == (30, {"甲乙": 10, "甲": 0, "乙丙": 20, "乙": 0})
