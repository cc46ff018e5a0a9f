"""Models on the Hub: what is pushed is loaded again, only models' files move, and every refusal is a clear error."""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, Mixture, NGramLanguageModel, TokenStream, from_pretrained
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.errors import CheckpointError, ConfigError, MissingDependencyError

hub_library = pytest.importorskip("huggingface_hub", reason="huggingface_hub (extra hub) is missing")

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
assert _spec is not None
assert _spec.loader is not None
hub_server = importlib.util.module_from_spec(_spec)
sys.modules["hub_server"] = hub_server
_spec.loader.exec_module(hub_server)

LOADED = {"config.json", "vocabulary.json", "model.safetensors", "manifest.json"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A stand-in for the Hub, with an empty cache, in an empty working directory."""
    with hub_server.serve() as served:
        constants = importlib.import_module("huggingface_hub.constants")
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
            monkeypatch.setattr(constants, name, str(tmp_path / "cache" / name))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        yield served


def files_of(model: Any, folder: Path) -> dict[str, bytes]:
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def published(hub: Any, model: LSTMLanguageModel, tmp_path: Path) -> Any:
    """The hub with ``user/model``, in which more files lie than a model has."""
    files = files_of(model, tmp_path / "saved")
    others = {"evil.py": b"import os", "model.pkl": b"\x80", "pytorch_model.bin": b"PK", "sub/config.json": b"{}"}
    hub.files["user/model"] = {"main": {**files, **others, ".gitattributes": b""}}
    return hub


def same(one: LSTMLanguageModel, other: LSTMLanguageModel) -> bool:
    ids = torch.tensor([one.vocabulary.encode("展昭道：好。")])
    return torch.equal(one(ids)[0], other(ids)[0])


def test_a_model_is_fetched_and_nothing_else(published: Any, model: LSTMLanguageModel) -> None:
    loaded = from_pretrained("user/model")
    assert same(loaded, model)
    assert published.downloads() == LOADED
    assert same(LSTMLanguageModel.from_pretrained("user/model"), model)
    assert published.downloads() == set(), "what was fetched stays in the cache"


def test_a_revision_is_the_one_that_is_named(published: Any, model: LSTMLanguageModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.embedding.weight += 1
    published.files["user/model"]["v2"] = newer = files_of(model, tmp_path / "newer")
    for revision in ("v2", hub_server.commit_of(newer)):
        assert same(from_pretrained("user/model", revision=revision), model)
        assert same(LSTMLanguageModel.from_pretrained("user/model", revision=revision), model)
    assert not same(from_pretrained("user/model"), model)
    with pytest.raises(CheckpointError, match=r"user/model: has no revision 'v3'; give a branch, a tag or a commit"):
        from_pretrained("user/model", revision="v3")


def test_mixtures_are_pushed_and_fetched(hub: Any, model: LSTMLanguageModel, stream: TokenStream) -> None:
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, 2)
    mixture = Mixture([model, ngram], [0.25, 0.75])
    assert mixture.push_to_hub("user/mixture", token="secret").startswith(f"{hub.address}/user/mixture/commit/")
    assert set(hub.files["user/mixture"]["main"]) == {*LOADED, "mixture.json", "ngram.safetensors", "README.md"}
    loaded = from_pretrained("user/mixture")
    assert isinstance(loaded, Mixture)
    assert loaded.weights == (0.25, 0.75)
    assert Mixture.from_pretrained("user/mixture").weights == (0.25, 0.75)
    assert same(LSTMLanguageModel.from_pretrained("user/mixture"), model)
    assert NGramLanguageModel.from_pretrained("user/mixture").num_ngrams == ngram.num_ngrams
    ngram.push_to_hub("user/ngram", token="secret")
    assert isinstance(from_pretrained("user/ngram"), NGramLanguageModel)


def test_the_card_has_its_metadata_and_keeps_what_its_author_wrote(hub: Any, model: LSTMLanguageModel) -> None:
    model.push_to_hub("user/new", token="secret")
    card = hub.files["user/new"]["main"]["README.md"].decode()
    metadata = hub_library.ModelCard(card).data.to_dict()
    assert metadata == {"language": "zh", "library_name": "zh-lstm-lm", "pipeline_tag": "text-generation"}
    assert 'from_pretrained("user/new")' in card

    written = card.replace("language: zh", "language: [zh, lzh]\nlicense: cc0-1.0").replace("# A", "Mine.\n\n# A")
    hub.files["user/new"]["main"]["README.md"] = written.replace("pipeline_tag: text-generation\n", "").encode()
    model.push_to_hub("user/new", token="secret", commit_message="again")
    after = hub_library.ModelCard(hub.files["user/new"]["main"]["README.md"].decode())
    assert after.data.to_dict() == {**metadata, "language": ["zh", "lzh"], "license": "cc0-1.0"}
    assert "Mine." in after.text

    hub.files["user/new"]["main"]["README.md"] = b"---\na: [\n---\n"
    before = dict(hub.files["user/new"]["main"])
    with pytest.raises(CheckpointError, match=r"user/new: the metadata of its README.md cannot be read"):
        model.push_to_hub("user/new", token="secret")
    assert hub.files["user/new"]["main"] == before


def test_private_models_need_a_token(hub: Any, model: LSTMLanguageModel) -> None:
    model.push_to_hub("user/secret", private=True, token="secret")
    with pytest.raises(CheckpointError, match=r"no such repository on the Hub; check the name, and give your token"):
        LSTMLanguageModel.from_pretrained("user/secret", revision="main", token=False)
    assert same(from_pretrained("user/secret", token="secret"), model)
    with pytest.raises(CheckpointError, match=r"user/other: .*refuses.*token"):
        model.push_to_hub("user/other", token="wrong")
    with pytest.raises(CheckpointError, match="has no revision 'draft'"):
        model.push_to_hub("user/secret", token="secret", revision="draft")


def test_a_local_folder_wins(published: Any, stream: TokenStream, model: LSTMLanguageModel) -> None:
    NGramLanguageModel.from_stream(stream, model.vocabulary, 2).save_pretrained("user/model")
    assert isinstance(from_pretrained("user/model"), NGramLanguageModel)
    assert isinstance(from_pretrained("user/model", revision="main"), NGramLanguageModel)
    with pytest.raises(CheckpointError, match="no such folder"):
        from_pretrained("user/modle")
    with pytest.raises(CheckpointError, match="no such folder"):
        from_pretrained(Path("other/model"))
    assert published.requests == [], "a mistyped name of a local model stays here"


def test_without_network_the_cache_is_enough(
    published: Any, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match=r"user/model: .*not in the Hub's cache.*connect, or give a local folder"):
        from_pretrained("user/model", local_files_only=True)
    assert published.requests == []
    from_pretrained("user/model")
    published.requests.clear()
    assert same(from_pretrained("user/model", local_files_only=True), model)
    assert same(LSTMLanguageModel.from_pretrained("user/model", local_files_only=True), model)
    assert published.requests == []
    # Nothing answers at this port.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert same(from_pretrained("user/model"), model)
    with pytest.raises(CheckpointError, match=r"user/else: .*not to be fetched \(no network"):
        from_pretrained("user/else")
    with pytest.raises(CheckpointError, match=r"user/else: the Hub cannot be reached"):
        model.push_to_hub("user/else", token="secret")


def test_what_is_no_model_is_refused(published: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder here, and no such repository on the Hub"):
        from_pretrained("user/none")
    published.files["user/bert"] = {"main": {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""}}
    with pytest.raises(CheckpointError, match="not a file of this library"):
        from_pretrained("user/bert")
    published.files["user/empty"] = {"main": {"README.md": b"#"}}
    with pytest.raises(CheckpointError, match="not a saved model"):
        from_pretrained("user/empty")
    changed = {**published.files["user/model"]["main"]}
    changed["model.safetensors"] = changed["model.safetensors"][:-1] + b"\xff"
    published.files["user/changed"] = {"main": changed}
    with pytest.raises(CheckpointError, match="truncated or changed"):
        from_pretrained("user/changed")


@pytest.mark.parametrize("name", ["model", "user/model/more", "", "user/", "../model", 3, None])
def test_a_name_that_is_no_repository_cannot_be_pushed_to(hub: Any, model: LSTMLanguageModel, name: Any) -> None:
    with pytest.raises(ConfigError, match=f"repo_id must be of the form 'user/model', got {re.escape(repr(name))}"):
        model.push_to_hub(name, token="secret")
    assert hub.requests == []


@pytest.mark.parametrize(("options", "said"), [({"revision": 3}, "revision must be"), ({"token": 3}, "token must be")])
def test_an_option_of_a_wrong_type_is_refused(hub: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_pretrained("user/model", **options)
    assert hub.requests == []


def test_a_command_takes_the_name_of_a_repository(published: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "user/model"]) == 0
    assert "user/model, LSTM" in capsys.readouterr().out
    assert main(["info", "user/none"]) == 2
    assert "no such repository" in capsys.readouterr().err


def test_without_the_library_the_folder_and_the_extra_are_named(
    model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"user/model: no such folder, .*pip install 'zh-lstm-lm\[hub\]'"):
        from_pretrained("user/model")
    with pytest.raises(MissingDependencyError, match=r"zh-lstm-lm\[hub\]"):
        model.push_to_hub("user/model")


def test_the_manifest_of_a_pushed_model_holds(hub: Any, model: LSTMLanguageModel) -> None:
    model.push_to_hub("user/new", token="secret")
    files = hub.files["user/new"]["main"]
    manifest = json.loads(files["manifest.json"])
    assert all(manifest[name]["bytes"] == len(files[name]) for name in LOADED - {"manifest.json"})
