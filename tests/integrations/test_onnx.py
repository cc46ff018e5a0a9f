"""Exported models: onnxruntime computes what the model computes, by names and metadata that sherpa-onnx reads."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, Mixture, ModelConfig, NGramLanguageModel, TokenStream, Vocabulary, score
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.errors import CheckpointError, ConfigError, DataError
from zh_lstm_lm.integrations.onnx import export_onnx

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx", reason="onnx (extra onnx) is missing")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is missing")

FACTS = {
    "sos_id",
    "eos_id",
    "vocab_size",
    "num_layers",
    "hidden_size",
    "embedding_dim",
    "model_type",
    "version",
    "comment",
}
KINDS: dict[str, dict[str, Any]] = {
    "full": {"output": "full", "character_vectors": False},
    "characters": {"output": "full"},
    "adaptive": {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    "tied": {"tie_weights": True, "embedding_dim": 16},
    "tied and projected": {"tie_weights": True},
    "tied, adaptive": {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
    "tied, adaptive, words alone": {
        "tie_weights": True,
        "output": "adaptive",
        "cutoffs": (30,),
        "character_vectors": False,
    },
    "three layers": {"num_layers": 3},
    "bfloat16": {"dtype": "bfloat16"},
    "float64": {"dtype": "float64", "output": "adaptive", "cutoffs": (30,)},
}


def made(vocabulary: Vocabulary, **options: Any) -> LSTMLanguageModel:
    return LSTMLanguageModel(
        vocabulary, ModelConfig(**{"embedding_dim": 12, "hidden_size": 16, "seed": 7, **options})
    ).eval()


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_predicts_as_the_model_does(vocabulary: Vocabulary, tmp_path: Path, kind: str) -> None:
    model = made(vocabulary, **KINDS[kind])
    step = session(export_onnx(model, tmp_path / "out")[0])
    assert [each.name for each in step.get_inputs()] == ["x", "h", "c"]
    assert [each.name for each in step.get_outputs()] == ["log_probs", "next_h", "next_c"]

    model = model.float()
    ids = torch.randint(len(vocabulary), (3, 12), generator=torch.Generator().manual_seed(3))
    logits, _ = model(ids)
    expected = logits.log_softmax(-1).detach().numpy()
    h = c = np.zeros((model.config.num_layers, 3, 16), dtype=np.float32)
    found = []
    for start, stop in ((0, 1), (1, 2), (2, 7), (7, 12)):
        log_probs, h, c = step.run(None, {"x": ids[:, start:stop].numpy(), "h": h, "c": c})
        found.append(log_probs)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-4)
    assert log_probs.shape == (3, 5, len(vocabulary))


@pytest.mark.parametrize("kind", ["adaptive", "three layers"])
def test_the_scorer_gives_the_likelihood_of_whole_texts(vocabulary: Vocabulary, tmp_path: Path, kind: str) -> None:
    model = made(vocabulary, **KINDS[kind])
    scorer = session(export_onnx(model, tmp_path / "out")[1])
    assert [each.name for each in scorer.get_inputs()] == ["x", "x_lens"]
    assert [each.name for each in scorer.get_outputs()] == ["nll"]

    texts = ["展昭道：请。", "好大的雪！雪大，酒才好喝。", "", "白"]
    ids = [vocabulary.encode(text) for text in texts]
    x = np.zeros((len(texts), max(map(len, ids))), dtype=np.int64)
    for row, text in zip(x, ids, strict=True):
        row[: len(text)] = text
    (nll,) = scorer.run(None, {"x": x, "x_lens": np.array([len(text) for text in ids])})

    assert nll.dtype == np.float32
    expected = [-score(model, f"{text}\n").log_prob for text in texts]
    np.testing.assert_allclose(nll, expected, rtol=1e-4)
    (alone,) = scorer.run(None, {"x": x[:1, :6], "x_lens": np.array([6])})
    np.testing.assert_allclose(alone, nll[:1], rtol=1e-5)


def test_the_files_name_what_recognisers_read(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = made(vocabulary, num_layers=2)
    files = export_onnx(model, str(tmp_path / "out"))
    for path in files:
        facts = session(path).get_modelmeta().custom_metadata_map
        assert facts.keys() == FACTS
        assert (facts["num_layers"], facts["hidden_size"], facts["embedding_dim"]) == ("2", "16", "12")
        assert (facts["sos_id"], facts["eos_id"], facts["vocab_size"]) == ("0", "1", str(len(vocabulary)))
        onnx.checker.check_model(str(path), full_check=True)
        assert str(tmp_path) not in path.read_bytes().decode("latin-1")
    assert json.loads((tmp_path / "out" / "tokens.json").read_text(encoding="utf-8")) == list(vocabulary)
    assert [path.name for path in files] == ["step.onnx", "scorer.onnx"]


def test_the_ids_of_a_recogniser_are_those_of_the_exported_model(tmp_path: Path) -> None:
    tokens = ["<blk>", "<sos/eos>", "<unk>", *"展昭道好雪"]
    (tmp_path / "tokens.txt").write_text("".join(f"{token} {n}\n" for n, token in enumerate(tokens)), encoding="utf-8")
    model = made(Vocabulary.from_token_list(tmp_path / "tokens.txt"))
    scorer = session(export_onnx(model, tmp_path / "out")[1])
    facts = scorer.get_modelmeta().custom_metadata_map
    assert (facts["sos_id"], facts["eos_id"]) == (str(len(tokens)), "1")
    x = np.array([[tokens.index(token) for token in "展昭好"]])
    (nll,) = scorer.run(None, {"x": x, "x_lens": np.array([3])})
    assert -nll[0] == pytest.approx(score(model, "展昭好\n").log_prob, rel=1e-4)


def test_a_model_is_left_as_it_is(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = made(vocabulary, dtype="float64").train()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    export_onnx(model, tmp_path / "out")
    assert model.training
    assert model.config.dtype == "float64"
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


class Other(LSTMLanguageModel):
    """A model that predicts in a way of its own, which the graph does not have."""

    def log_probs(self, context: Any) -> torch.Tensor:
        return (super().log_probs(context) * 1.001).log_softmax(-1)


@pytest.mark.parametrize("there", [False, True])
def test_files_that_differ_are_removed_and_refused(vocabulary: Vocabulary, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "out"
    if there:
        export_onnx(made(vocabulary), folder)
        (folder / "mine.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if there else {}
    with pytest.raises(DataError, match=r"out: the exported files differ from the model by 0\.\d+ nats"):
        export_onnx(Other(vocabulary, ModelConfig(embedding_dim=12, hidden_size=16)), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before if there else not folder.exists()
    assert os.listdir(tmp_path) == ["out"] * there


def test_an_export_replaces_the_one_before_and_leaves_other_files(vocabulary: Vocabulary, tmp_path: Path) -> None:
    export_onnx(made(vocabulary), tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    first, _ = export_onnx(made(vocabulary, num_layers=2), tmp_path / "out")
    assert session(first).get_modelmeta().custom_metadata_map["num_layers"] == "2"
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_other_models_are_refused_by_name(stream: TokenStream, vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = made(vocabulary)
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, 2)
    for other, name in ((Mixture([model, ngram]), "Mixture"), (ngram, "NGramLanguageModel"), ("model", "str")):
        with pytest.raises(ConfigError, match=f"model is a {name}.*LSTMLanguageModel.from_pretrained"):
            export_onnx(other, tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="path must be"):
        export_onnx(model, 3)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        export_onnx(model, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_a_model_that_no_file_holds_is_refused(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zh_lstm_lm.integrations.onnx._MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"GB of weights, and a file of ONNX holds 2 GiB; export a model with"):
        export_onnx(made(vocabulary), tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_the_command_exports_a_saved_model(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made(vocabulary)
    model.save_pretrained(tmp_path / "model")
    arguments = ["--format", "onnx", "--output", str(tmp_path / "out")]
    assert main(["export", str(tmp_path / "model"), *arguments]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in shown] == [
        str(tmp_path / "out" / name) for name in ("step.onnx", "scorer.onnx")
    ]
    assert session(tmp_path / "out" / "step.onnx").get_inputs()[0].name == "x"

    # What `train` makes by default: its LSTM is exported, which is said.
    alone = (tmp_path / "out" / "step.onnx").read_bytes()
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, 2)
    Mixture([model, ngram]).save_pretrained(tmp_path / "mixture")
    assert main(["export", str(tmp_path / "mixture"), *arguments]) == 0
    assert "the files hold the LSTM alone; n-grams and a cache have no form in ONNX" in capsys.readouterr().out
    assert (tmp_path / "out" / "step.onnx").read_bytes() == alone
    ngram.save_pretrained(tmp_path / "ngram")
    assert main(["export", str(tmp_path / "ngram"), *arguments]) == 2
    assert "is a NGramLanguageModel, and only an LSTM has a form in ONNX" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none"), *arguments]) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path / "model"), "--format", "tflite", "--output", str(tmp_path / "out")])
    assert "invalid choice: 'tflite'" in capsys.readouterr().err
