"""Random damage to whatever the library reads; only errors of the library may come out.

    python benchmarks/fuzzing.py --inputs 1000000

Inputs are whole examples with bytes flipped, cut, doubled and spliced, and JSON with values put in place of others. All
is drawn from `--seed`. What comes out that is no error of the library ends the run, and the input is printed.
"""

import argparse
import collections
import json
import logging
import random
import struct
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zh_lstm_lm import (
    History,
    LSTMLanguageModel,
    ModelConfig,
    SamplerConfig,
    TokenStream,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    ZhLstmLmError,
)
from zh_lstm_lm.corpus.segmentation import DocumentSpan
from zh_lstm_lm.corpus.stream_cache import check_stored
from zh_lstm_lm.models.pretrained import open_model_folder, read_weights
from zh_lstm_lm.storage.safe_reading import MANIFEST, verify_manifest
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.tensors import read_kinds
from zh_lstm_lm.text.decoding import decode
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.user_dictionary import read_user_dictionary

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 1 << 31, 1 << 63, 10**400, 0.5, -0.0, 1e308, "", "a", "展昭", "\ud800", "../..", "/etc/passwd",
    "os.system", "jieba", "characters", "unk", "full", "adaptive", "nfc+width", [], [0], [[]], {}, {"a": 1}, [1, "a", None], "\n",
]  # fmt: skip
BITS = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"-",
    b"\n",
]
BITS += [struct.pack("<Q", 1 << 63), struct.pack("<I", 0), "展".encode(), "展".encode("gb18030"), b"9" * 400, b"\x1b$B"]


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """A whole example with a few random changes."""
    broken = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        place, length = chance.randrange(len(broken) + 1), chance.choice([0, 1, 2, 8, 40])
        how = chance.randrange(4)
        if how == 0 and place < len(broken):
            broken[place] ^= 1 << chance.randrange(8)
        elif how == 1:
            broken[place : place + length] = chance.choice(BITS)
        elif how == 2:
            del broken[place : place + length]
        else:
            other = chance.randrange(len(broken) + 1)
            broken[place:place] = broken[other : other + length]
    return bytes(broken)


def damaged_value(value: Any, chance: random.Random) -> Any:
    """Plain values with another one somewhere inside."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        changed = dict(value)
        key = chance.choice(list(changed))
        if chance.random() < 0.1:
            changed[str(chance.choice(ODD))] = changed.pop(key)
        else:
            changed[key] = damaged_value(changed[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], damaged_value(value[place], chance), *value[place + 1 :]]
    return chance.choice(ODD)


class Readers:
    """One reader after another, each with whole examples to damage."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "file"
        self._model = folder / "model"
        stream = TokenStream.from_texts(["展昭道：“好大的雪！”\n白玉堂笑道：“雪大。”\n"], tokenizer="characters")
        vocabulary = Vocabulary.from_stream(stream, unknown="unk")
        self._spelling = Vocabulary.from_stream(stream).to_dict()
        model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=2, hidden_size=2))
        model.save_pretrained(self._model)
        (self._model / MANIFEST).rename(folder / MANIFEST)
        self._manifest = (folder / MANIFEST).read_bytes()
        self._closed = vocabulary.to_dict()
        self._state = model.state_dict()
        self._whole = {file.name: file.read_bytes() for file in self._model.iterdir() if file.name != "README.md"}
        self._history = b'{"step": 7, "valid_loss": 3.5, "epoch": 1.0}\n{"step": 14, "valid_loss": 3.25}\n'
        self._texts = [
            text.encode(coding) for text in stream.texts() for coding in ("utf-8", "gb18030", "big5", "utf-16")
        ]

    def json(self, chance: random.Random) -> None:
        """Strict JSON."""
        parse_json(damaged_bytes(chance.choice([self._history[:44], self._whole["config.json"]]), chance), name="x")

    def config(self, chance: random.Random) -> None:
        """Options of the three config classes."""
        kind: Any = chance.choice([ModelConfig, TrainerConfig, SamplerConfig])
        config = kind.from_dict(damaged_value(kind().to_dict(), chance))
        if isinstance(config, ModelConfig):
            config.resolve(300)

    def vocabulary(self, chance: random.Random) -> None:
        """A saved vocabulary."""
        vocabulary = Vocabulary.from_dict(
            damaged_value(chance.choice([self._closed, self._closed, self._spelling]), chance)
        )
        vocabulary.decode(vocabulary.encode("展昭笑"))

    def state(self, chance: random.Random) -> None:
        """Where a run stands."""
        values = {**vars(TrainerState(step=3)), "best_loss": None, "history": [{"step": 3, "valid_loss": 3.5}]}
        damaged = damaged_value(values, chance)
        if isinstance(damaged, dict):
            TrainerState.from_dict(damaged)

    def history(self, chance: random.Random) -> None:
        """The records of a run."""
        self._file.write_bytes(damaged_bytes(self._history, chance))
        History.load(self._file)

    def tensors(self, chance: random.Random) -> None:
        """A file of weights."""
        (self._model / "model.safetensors").write_bytes(damaged_bytes(self._whole["model.safetensors"], chance))
        try:
            with open_model_folder(self._model) as files:
                read_kinds(files.open("model.safetensors"), self._model / "model.safetensors")
                read_weights(files, self._state)
        finally:
            (self._model / "model.safetensors").write_bytes(self._whole["model.safetensors"])

    def folder(self, chance: random.Random) -> None:
        """A model's whole folder."""
        name = chance.choice(["config.json", "vocabulary.json"])
        values = json.loads(self._whole[name])
        by_value = json.dumps(damaged_value(values, chance)).encode()
        (self._model / name).write_bytes(
            by_value if chance.random() < 0.5 else damaged_bytes(self._whole[name], chance)
        )
        try:
            LSTMLanguageModel.from_pretrained(self._model)
        finally:
            (self._model / name).write_bytes(self._whole[name])

    def manifest(self, chance: random.Random) -> None:
        """A folder's manifest."""
        (self._model / MANIFEST).write_bytes(damaged_bytes(self._manifest, chance))
        try:
            verify_manifest(self._model)
        finally:
            (self._model / MANIFEST).unlink()

    def dictionary(self, chance: random.Random) -> None:
        """A user's words."""
        self._file.write_bytes(damaged_bytes("展昭 20 n\n白玉堂\n乾坤大挪移 3\n".encode(), chance))
        read_user_dictionary(self._file)

    def decoder(self, chance: random.Random) -> None:
        """Text of any encoding."""
        coding = chance.choice(["auto", "auto", "utf-8", "gb18030", "big5", "utf-16"])
        decode(damaged_bytes(chance.choice(self._texts), chance), encoding=coding)

    def cache(self, chance: random.Random) -> None:
        """A stream in the cache, with a manifest that fits."""
        # What lies there is checked as a whole, so the parts are damaged in memory.
        numbers = struct.pack("<8i", 1, 2, 0, 3, 1, 0, 2, 0)
        data = bytearray(damaged_bytes(numbers, chance)) or bytearray(b"\0")
        tokens = torch.frombuffer(data[: len(data) // 4 * 4] or bytearray(4), dtype=torch.int32)
        spans = damaged_value([["a", 0, 3], ["b", 3, 8]], chance)
        try:
            stored = [DocumentSpan(str(name), start, stop) for name, start, stop in spans]
            lexicon = ["\n", *damaged_bytes("一\n二\n三".encode(), chance).decode("utf-8").split("\n")]
            check_stored(tokens, lexicon, stored, bounds=(int(tokens.min()), int(tokens.max())))
        except (ValueError, TypeError, RuntimeError):  # what TokenStream takes for a damaged cache
            return
        list(TokenStream(tokens, lexicon, stored, tokenizer=self._tokenizer(), clean="none", normalize="none"))

    @staticmethod
    def _tokenizer() -> Any:
        return get_tokenizer("characters")


SHARES = {
    "json": 30, "config": 20, "vocabulary": 8, "state": 10, "history": 8, "tensors": 4, "folder": 2, "manifest": 4, "dictionary": 6,
    "decoder": 4, "cache": 4,
}  # fmt: skip


def fuzz(inputs: int, seed: int) -> None:
    """Reads damaged inputs; whatever comes out that is no error of the library ends it."""
    taken: collections.Counter[str] = collections.Counter()
    refused: collections.Counter[str] = collections.Counter()
    names, shares, which = list(SHARES), list(SHARES.values()), random.Random(seed)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tokenizers that are other ones now
        readers = Readers(Path(place))
        for number in range(inputs):
            name = which.choices(names, shares)[0]
            read: Callable[[random.Random], None] = getattr(readers, name)
            try:
                read(random.Random(f"{seed} {number}"))
                taken[name] += 1
            except ZhLstmLmError:
                refused[name] += 1
            except BaseException:
                print(f"input {number} of seed {seed}, reader {name}:")
                raise
    print(f"fuzzing: {inputs:,} inputs, seed {seed}, nothing but errors of the library")
    for name in names:
        print(f"  {name:<11} {refused[name]:9,} refused  {taken[name]:9,} taken")


def main() -> None:
    """Runs the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    fuzz(parsed.inputs, parsed.seed)


if __name__ == "__main__":
    main()
