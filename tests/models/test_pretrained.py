"""One folder holds a model; whatever happens to its files, loading gives the model or a CheckpointError that names them."""

import errno
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import zh_lstm_lm
from zh_lstm_lm import (
    CheckpointError,
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    TokenStream,
    Vocabulary,
    VocabularyError,
    ZhLstmLmError,
)
from zh_lstm_lm.storage.safe_reading import verify_manifest

FILES = ("config.json", "vocabulary.json", "model.safetensors")
KINDS: dict[str, dict[str, Any]] = {
    "adaptive": {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    "tied, two layers": {"tie_weights": True, "num_layers": 2},
    "full": {"output": "full"},
    "tied, adaptive": {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
}
PROBE = torch.tensor([[0, 5, 6, 7, 1], [0, 30, 70, 200, 2]])


def make(vocabulary: Vocabulary, kind: str = "adaptive", **options: Any) -> LSTMLanguageModel:
    options = {"embedding_dim": 6, "hidden_size": 8, **KINDS[kind], **options}
    return LSTMLanguageModel(vocabulary, ModelConfig(**options)).eval()


def scores(model: LSTMLanguageModel) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(PROBE)[0]
    return result


@pytest.fixture
def folder(tmp_path: Path, model: LSTMLanguageModel) -> Path:
    """A saved model."""
    path = tmp_path / "saved"
    model.save_pretrained(path)
    return path


@pytest.fixture
def loose(folder: Path) -> Path:
    """A saved model without its manifest, as one that was put together by hand."""
    (folder / "manifest.json").unlink()
    return folder


@pytest.fixture(params=["as saved", "without its manifest"])
def either(folder: Path, request: pytest.FixtureRequest) -> Path:
    """A saved model, with its manifest and without."""
    if request.param != "as saved":
        (folder / "manifest.json").unlink()
    return folder


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a JSON file by hand."""
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def repr_start(content: bytes) -> str:
    return repr(content[:16])


def refused(folder: Path, *named: str) -> str:
    """The message of the CheckpointError that loading must raise."""
    with pytest.raises(CheckpointError) as caught:
        LSTMLanguageModel.from_pretrained(folder)
    message = str(caught.value)
    for name in named:
        assert name in message
    return message


# --- what is saved comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_is_the_saved_one(tmp_path: Path, vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind, dropout=0.2, seed=7)
    model.training_summary = {"perplexity": 12.5}
    model.train()
    model.save_pretrained(tmp_path / "m")
    assert model.training, "saving leaves the mode alone"
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "m")
    assert not loaded.training
    assert torch.equal(scores(loaded), scores(model.eval()))
    assert loaded.config == model.config
    assert loaded.training_summary == {"perplexity": 12.5}
    assert list(loaded.vocabulary) == list(vocabulary)
    assert loaded.vocabulary.counts == vocabulary.counts
    text = "展昭笑道：\n“😀 <bos>”"
    assert loaded.vocabulary.encode(text) == vocabulary.encode(text)
    assert loaded.num_parameters == model.num_parameters


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_can_be_trained_on(tmp_path: Path, vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind, dropout=0.0)
    model.save_pretrained(tmp_path / "m")
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "m").train()
    losses = []
    for one in (model, loaded):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.5)
        loss, _ = one.loss(PROBE[:, :-1], PROBE[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(one.loss(PROBE[:, :-1], PROBE[:, 1:])[0].item())
    assert losses[0] == losses[1] < loss.item()


def test_another_process_computes_the_same_bits(tmp_path: Path, vocabulary: Vocabulary) -> None:
    for number, kind in enumerate(KINDS):
        model = make(vocabulary, kind)
        model.save_pretrained(tmp_path / f"m{number}")
        (tmp_path / f"m{number}.expected").write_bytes(safetensors.torch.save({"scores": scores(model)}))
    script = f"""
import pathlib, safetensors.torch, torch
from zh_lstm_lm import LSTMLanguageModel
for number in range({len(KINDS)}):
    with torch.no_grad():
        scores = LSTMLanguageModel.from_pretrained(f"m{{number}}")(torch.tensor({PROBE.tolist()}))[0]
    expected = safetensors.torch.load(pathlib.Path(f"m{{number}}.expected").read_bytes())["scores"]
    print(torch.equal(scores, expected))
"""
    source = Path(zh_lstm_lm.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * len(KINDS)


def test_loading_runs_no_pickle(folder: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
    assert torch.equal(scores(LSTMLanguageModel.from_pretrained(folder)), scores(model))


def test_the_closed_vocabulary_comes_back(tmp_path: Path, stream: TokenStream) -> None:
    vocabulary = Vocabulary.from_stream(stream, min_freq=2, unknown="unk")
    config = ModelConfig(embedding_dim=4, hidden_size=4, output="full")
    LSTMLanguageModel(vocabulary, config).save_pretrained(tmp_path / "m")
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "m")
    assert loaded.vocabulary.unknown == "unk"
    assert loaded.vocabulary.encode("展昭飞😀") == vocabulary.encode("展昭飞😀")


class PairTokenizer:
    """A user's own tokenizer: two characters a token."""

    def tokenize(self, text: str) -> list[str]:
        return [text[start : start + 2] for start in range(0, len(text), 2)]

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


def test_a_users_own_tokenizer_has_to_be_given_again(tmp_path: Path, texts: list[str]) -> None:
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer=PairTokenizer()))
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    model.save_pretrained(tmp_path / "m")
    with pytest.raises(VocabularyError, match="tokenizer="):
        LSTMLanguageModel.from_pretrained(tmp_path / "m")
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "m", tokenizer=PairTokenizer())
    assert loaded.vocabulary.encode("展昭道") == vocabulary.encode("展昭道")
    assert torch.equal(loaded(PROBE)[0], model(PROBE)[0])


# --- the folder ---------------------------------------------------------------------------------------------------


def test_the_folder_holds_the_files_promised_and_nothing_is_left_beside_it(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert names >= {*FILES, "README.md"}
    assert names - {*FILES, "README.md"} <= {"manifest.json"}
    assert list(folder.parent.iterdir()) == [folder]
    verify_manifest(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["hidden_size"], config["cutoffs"]) == ("zh-lstm-lm", 16, [20, 60])
    assert json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))["unknown"] == "characters"
    tensors = safetensors.torch.load((folder / "model.safetensors").read_bytes())
    assert "embedding.weight" in tensors
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())


def test_the_model_card_tells_sizes_and_training(tmp_path: Path, model: LSTMLanguageModel) -> None:
    model.training_summary = {"valid perplexity per token": 123.25}
    model.save_pretrained(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert f"{model.num_parameters:,}" in card
    assert f"{len(model.vocabulary):,} tokens" in card
    assert "valid perplexity per token: 123.25" in card
    assert "from_pretrained" in card


def test_a_weight_that_is_shared_is_saved_once(tmp_path: Path, vocabulary: Vocabulary) -> None:
    make(vocabulary, "tied, two layers").save_pretrained(tmp_path / "m")
    tensors = safetensors.torch.load((tmp_path / "m" / "model.safetensors").read_bytes())
    assert [name for name, tensor in tensors.items() if tensor.shape == (len(vocabulary), 6)] == ["embedding.weight"]


def test_equal_models_give_equal_files(tmp_path: Path, vocabulary: Vocabulary) -> None:
    for name in ("first", "second"):
        make(vocabulary).save_pretrained(tmp_path / name)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


def test_the_three_files_alone_are_enough(folder: Path, model: LSTMLanguageModel) -> None:
    for file in folder.iterdir():
        if file.name not in FILES:
            file.unlink()
    assert torch.equal(scores(LSTMLanguageModel.from_pretrained(folder)), scores(model))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_file_modes_follow_the_umask(tmp_path: Path, model: LSTMLanguageModel, umask: int) -> None:
    before = os.umask(umask)
    try:
        model.save_pretrained(tmp_path / "m")
    finally:
        os.umask(before)
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o777 & ~umask
    for file in (tmp_path / "m").iterdir():
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask, file.name


def test_saving_over_a_folder_replaces_the_model_and_keeps_foreign_files(folder: Path, vocabulary: Vocabulary) -> None:
    (folder / "notes.txt").write_text("my notes", encoding="utf-8")
    (folder / "drafts").mkdir()
    (folder / "drafts" / "a.txt").write_text("a draft", encoding="utf-8")
    other = make(vocabulary, "full", seed=5)
    other.save_pretrained(folder)
    other.save_pretrained(folder)
    assert torch.equal(scores(LSTMLanguageModel.from_pretrained(folder)), scores(other))
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "my notes"
    assert (folder / "drafts" / "a.txt").read_text(encoding="utf-8") == "a draft"
    assert list(folder.parent.iterdir()) == [folder]


def test_saving_takes_any_form_of_path(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("plain", "deep/er/folder", "slash/", Path("路径"), str(tmp_path / "absolute")):
        model.save_pretrained(path)
        assert torch.equal(scores(LSTMLanguageModel.from_pretrained(path)), scores(model))


def test_a_path_that_names_nothing_is_refused(model: LSTMLanguageModel, stream: TokenStream) -> None:
    for saved in (model, NGramLanguageModel.from_stream(stream, model.vocabulary, order=2)):
        with pytest.raises(CheckpointError, match="cannot name a folder"):
            saved.save_pretrained("a\0b")


def test_a_file_is_not_overwritten_by_a_folder(tmp_path: Path, model: LSTMLanguageModel) -> None:
    (tmp_path / "novel.txt").write_text("话说", encoding="utf-8")
    for path in (tmp_path / "novel.txt", tmp_path / "novel.txt" / "model"):
        with pytest.raises(CheckpointError, match=r"novel\.txt"):
            model.save_pretrained(path)
    assert (tmp_path / "novel.txt").read_text(encoding="utf-8") == "话说"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_model_as_it_was(
    folder: Path, model: LSTMLanguageModel, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "model.safetensors":
            write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            make(vocabulary, "full").save_pretrained(folder)
    assert torch.equal(scores(LSTMLanguageModel.from_pretrained(folder)), scores(model))
    assert list(folder.parent.iterdir()) == [folder]


# --- damaged, foreign and missing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing-here", "empty", "file.txt", "话" * 300])
def test_a_folder_that_is_no_model_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("话说", encoding="utf-8")
    refused(tmp_path / name, name[:50])


@pytest.mark.parametrize("path", [None, 3, b"saved", ["saved"]])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(ZhLstmLmError, match="path"):
        LSTMLanguageModel.from_pretrained(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(either: Path, name: str) -> None:
    (either / name).unlink()
    refused(either, name)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_files_place_is_refused(either: Path, name: str) -> None:
    (either / name).unlink()
    (either / name).mkdir()
    refused(either, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_anywhere_is_refused(either: Path, name: str) -> None:
    data = (either / name).read_bytes()
    whole = len(data.rstrip()) if name.endswith(".json") else len(data)
    edges = [0, 1, 7, 8, 9, whole // 2, whole - 1]
    for length in sorted({*edges, *random.Random(name).sample(range(whole), 60)}):
        (either / name).write_bytes(data[:length])
        refused(either, name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 64,
        b"\xff\xfe\xfd",
        "话说天下大势".encode("gb18030"),
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"[" * 100_000,
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b'{"format": "1"}',
        b'{"format": [1]}',
        b'{"format": 1}',
        b'{"format": 1' + b"0" * 5000 + b"}",
        pickle.dumps({"format": 1}),
    ],
    ids=repr_start,
)
def test_a_foreign_file_is_refused(either: Path, name: str, content: bytes) -> None:
    (either / name).write_bytes(content)
    refused(either, name)


@pytest.mark.parametrize("name", FILES)
def test_garbage_behind_a_file_is_refused(either: Path, name: str) -> None:
    with (either / name).open("ab") as file:
        file.write(b"}}garbage")
    refused(either, name)


@pytest.mark.filterwarnings("ignore::zh_lstm_lm.TokenizerMismatchWarning")
@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_give_a_checkpoint_error_or_a_model_that_works(loose: Path, name: str) -> None:
    data = (loose / name).read_bytes()
    behind_header = 8 + int.from_bytes(data[:8], "little") if name == "model.safetensors" else len(data)
    draw = random.Random(name)
    places = [*range(min(64, behind_header)), *draw.sample(range(64, behind_header), 150), len(data) - 1]
    raised = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << draw.randrange(8)
        (loose / name).write_bytes(damaged)
        try:
            model = LSTMLanguageModel.from_pretrained(loose)
        except CheckpointError as error:
            assert name in str(error) or "model.safetensors" in str(error)  # noqa: PT017 (the loop goes on)
            raised += 1
        else:
            assert model(PROBE)[0].shape[:2] == PROBE.shape
            model.vocabulary.decode(model.vocabulary.encode("展昭"))
    assert raised > len(places) // 2


@pytest.mark.parametrize("name", FILES)
def test_the_manifest_finds_every_flipped_bit(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    draw = random.Random(name)
    for place in [0, len(data) - 1, *draw.sample(range(len(data)), 40)]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << draw.randrange(8)
        (folder / name).write_bytes(damaged)
        refused(folder, name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"config.json": 3}', b"\xff", b"[" * 100_000], ids=repr_start)
def test_a_damaged_manifest_is_refused_by_name(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    refused(folder, "manifest.json")


def test_the_model_card_may_be_edited(folder: Path, model: LSTMLanguageModel) -> None:
    (folder / "README.md").write_text("my own words", encoding="utf-8")
    assert torch.equal(scores(LSTMLanguageModel.from_pretrained(folder)), scores(model))


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_a_newer_format_asks_for_an_update(loose: Path, name: str) -> None:
    edit(loose / name, lambda values: values.update(format=2))
    assert "newer version" in refused(loose, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"hiden_size": 16},
        {"hidden_size": "16"},
        {"hidden_size": 16.0},
        {"hidden_size": None},
        {"hidden_size": 0},
        {"hidden_size": -1},
        {"hidden_size": 10**30},
        {"num_layers": 0},
        {"num_layers": True},
        {"dropout": 2.0},
        {"dropout": "none"},
        {"div_value": 10**400},
        {"div_value": 1e300},
        {"output": "other"},
        {"output": ["adaptive"]},
        {"tie_weights": 1},
        {"tie_weights": False},
        {"cutoffs": [60, 20]},
        {"cutoffs": [20, 60_000]},
        {"cutoffs": []},
        {"cutoffs": ["20"]},
        {"cutoffs": {"20": 60}},
        {"cutoffs": 20},
        {"seed": -1},
        {"vocab_size": 17},
        {"vocab_size": None},
        {"vocab_size": "335"},
        {"model_type": "gpt2"},
        {"model_type": ["zh-lstm-lm"]},
        {"model_type": None},
        {"format": None},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_a_damaged_config_is_refused_by_name(loose: Path, changes: dict[str, Any]) -> None:
    edit(loose / "config.json", lambda values: values.update(changes))
    refused(loose, "config.json")


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": 17}, {"embedding_dim": 11}, {"num_layers": 2}, {"output": "full"}, {"cutoffs": [21, 60]}],
    ids=json.dumps,
)
def test_a_config_of_another_model_is_refused(loose: Path, changes: dict[str, Any]) -> None:
    edit(loose / "config.json", lambda values: values.update(changes))
    refused(loose, "model.safetensors", "config.json")


VOCABULARY_DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a word twice": lambda values: values["tokens"].__setitem__(0, values["tokens"][1]),
    "an empty word": lambda values: values["tokens"].__setitem__(0, ""),
    "a paragraph end as a word": lambda values: values["tokens"].__setitem__(0, "\n"),
    "a word that is a list": lambda values: values["tokens"].__setitem__(0, ["展"]),
    "a word that is null": lambda values: values["tokens"].__setitem__(0, None),
    "a lone surrogate": lambda values: values["tokens"].__setitem__(0, "\ud800"),
    "a byte twice": lambda values: values["tokens"].__setitem__(values["tokens"].index(255), 254),
    "a byte out of range": lambda values: values["tokens"].__setitem__(values["tokens"].index(255), 256),
    "no tokens": lambda values: values.pop("tokens"),
    "tokens are text": lambda values: values.update(tokens="展昭"),
    "tokens are null": lambda values: values.update(tokens=None),
    "a word too few": lambda values: (values["tokens"].pop(0), values["counts"].pop(2)),
    "a count too few": lambda values: values["counts"].pop(),
    "no counts": lambda values: values.pop("counts"),
    "counts are words": lambda values: values.update(counts=["many"] * len(values["counts"])),
    "counts are negative": lambda values: values.update(counts=[-1] * len(values["counts"])),
    "no unknown": lambda values: values.pop("unknown"),
    "another unknown": lambda values: values.update(unknown="other"),
    "unknown is a list": lambda values: values.update(unknown=["characters"]),
    "no tokenizer": lambda values: values.pop("tokenizer"),
    "tokenizer is a word": lambda values: values.update(tokenizer="characters"),
    "tokenizer without a name": lambda values: values["tokenizer"].pop("name"),
    "a tokenizer that there is not": lambda values: values["tokenizer"].update(name="os.system"),
    "a tokenizer name that is a list": lambda values: values["tokenizer"].update(name=["characters"]),
    "tokenizer options that there are not": lambda values: values["tokenizer"].update(options={"command": "ls"}),
    "tokenizer options that are a list": lambda values: values["tokenizer"].update(options=["hmm"]),
}


@pytest.mark.parametrize("damage", VOCABULARY_DAMAGE)
def test_a_damaged_vocabulary_is_refused_by_name(loose: Path, damage: str) -> None:
    edit(loose / "vocabulary.json", VOCABULARY_DAMAGE[damage])
    refused(loose, "vocabulary.json")


@contextmanager
def edited_tensors(folder: Path) -> Iterator[dict[str, Tensor]]:
    """The saved weights, written back with what the block does to them."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    yield tensors
    path.write_bytes(safetensors.torch.save(tensors))


WEIGHT_DAMAGE: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "a tensor is missing": lambda tensors: tensors.pop("embedding.weight"),
    "another name": lambda tensors: tensors.update({"embedding.wait": tensors.pop("embedding.weight")}),
    "another shape": lambda tensors: tensors.update({"embedding.weight": tensors["embedding.weight"].T.contiguous()}),
    "a row less": lambda tensors: tensors.update({"embedding.weight": tensors["embedding.weight"][1:].clone()}),
    "half precision": lambda tensors: tensors.update({"embedding.weight": tensors["embedding.weight"].half()}),
    "integers": lambda tensors: tensors.update({"embedding.weight": tensors["embedding.weight"].int()}),
}


@pytest.mark.parametrize("damage", WEIGHT_DAMAGE)
def test_weights_that_do_not_fit_are_refused_by_name(loose: Path, damage: str) -> None:
    with edited_tensors(loose) as tensors:
        WEIGHT_DAMAGE[damage](tensors)
    refused(loose, "model.safetensors", "embedding.")


def test_a_tensor_too_many_is_refused_by_name(loose: Path) -> None:
    with edited_tensors(loose) as tensors:
        tensors["extra.weight"] = torch.zeros(2)
    refused(loose, "model.safetensors", "extra.weight")


def test_files_of_two_models_are_not_mixed(tmp_path: Path, loose: Path, stream: TokenStream) -> None:
    small = Vocabulary.from_stream(stream, max_size=300)
    other = LSTMLanguageModel(small, ModelConfig(embedding_dim=12, hidden_size=16, cutoffs=(20, 60)))
    other.save_pretrained(tmp_path / "other")
    for name in FILES:
        kept = (loose / name).read_bytes()
        (loose / name).write_bytes((tmp_path / "other" / name).read_bytes())
        refused(loose)
        (loose / name).write_bytes(kept)
    LSTMLanguageModel.from_pretrained(loose)
