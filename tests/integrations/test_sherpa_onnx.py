"""The exported files inside sherpa-onnx itself: where a recogniser hears two words alike, the model decides."""

from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.integrations.onnx import export_onnx

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx", reason="onnx (extra onnx) is missing")
pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is missing")
sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is missing")

TOKENS = ["<blk>", "<sos/eos>", "<unk>", *"展昭道"]
SIZE = len(TOKENS)
FLOAT, INTEGER = 1, 7
SILENCE = np.full((1, 3, SIZE), -9, dtype=np.float32)
SILENCE[0, :, 0] = 9
HEARD = SILENCE.copy()
HEARD[0, 0, [0, 3]] = -9, 9
HEARD[0, 1, [0, 4, 5]] = -9, 9, 9


def write(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    constants: dict[str, Any],
    **facts: Any,
) -> str:
    """Writes a graph; nodes are (kind, inputs, output, attributes), values (type, shape)."""
    helper = onnx.helper
    made = [helper.make_node(kind, ins.split(), [out], **attributes) for kind, ins, out, attributes in nodes]
    values = [[helper.make_tensor_value_info(name, *kind) for name, kind in each.items()] for each in (inputs, outputs)]
    held = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    options = {"opset_imports": [helper.make_opsetid("", 13)], "ir_version": 7}
    model = helper.make_model(helper.make_graph(made, path.stem, *values, held), **options)
    helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser that hears 展, then 昭 and 道 alike, in whatever sound."""
    folder = tmp_path_factory.mktemp("recogniser")
    (folder / "tokens.txt").write_text("".join(f"{token} {n}\n" for n, token in enumerate(TOKENS)), encoding="utf-8")
    scores, state = (FLOAT, ["N", 3, SIZE]), (FLOAT, [1, "N", 1])
    sound = [("ReduceMean", "x", "mean", {"axes": [1, 2], "keepdims": 1}), ("Mul", "mean nought", "none", {})]
    write(
        folder / "offline.onnx",
        [
            *sound,
            ("Add", "none heard", "scores", {}),
            ("Mul", "x_lens zero", "zeros", {}),
            ("Add", "zeros three", "lengths", {}),
        ],
        {"x": (FLOAT, ["N", "T", 80]), "x_lens": (INTEGER, ["N"])},
        {"scores": scores, "lengths": (INTEGER, ["N"])},
        {"heard": HEARD, "nought": np.float32(0), "zero": np.int64(0), "three": np.int64(3)},
    )
    write(
        folder / "online.onnx",
        [
            *sound,
            # After the first chunk there is silence.
            ("Transpose", "h", "age", {"perm": [1, 0, 2]}),
            ("Greater", "age nought", "later", {}),
            ("Where", "later silence heard", "chosen", {}),
            ("Add", "none chosen", "scores", {}),
            ("Add", "h one", "next_h", {}),
            ("Identity", "c", "next_c", {}),
        ],
        {"x": (FLOAT, ["N", "T", 80]), "h": state, "c": state},
        {"scores": scores, "next_h": state, "next_c": state},
        {"heard": HEARD, "silence": SILENCE, "nought": np.float32(0), "one": np.float32(1)},
        model_type="lstm",
        num_encoder_layers=1,
        T=16,
        decode_chunk_len=12,
        rnn_hidden_size=1,
        d_model=1,
    )
    write(
        folder / "decoder.onnx",
        [
            ("Cast", "y", "read", {"to": FLOAT}),
            ("ReduceMean", "read", "mean", {"axes": [1], "keepdims": 1}),
            ("Mul", "mean none", "out", {}),
        ],
        {"y": (INTEGER, ["N", 2])},
        {"out": (FLOAT, ["N", SIZE])},
        {"none": np.zeros((1, SIZE), dtype=np.float32)},
        vocab_size=SIZE,
        context_size=2,
    )
    row = (FLOAT, ["N", SIZE])
    write(
        folder / "joiner.onnx", [("Add", "a b", "logit", {})], {"a": row, "b": row}, {"logit": row}, {}, joiner_dim=SIZE
    )
    return folder


@pytest.fixture(params=["昭", "道"])
def liked(request: pytest.FixtureRequest) -> str:
    """The word that the model expects."""
    return str(request.param)


@pytest.fixture
def exported(folder: Path, tmp_path: Path, liked: str) -> tuple[Path, Path]:
    """A model of the recogniser's ids that expects a word."""
    vocabulary = Vocabulary.from_token_list(folder / "tokens.txt")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, num_layers=2))
    with torch.no_grad():
        model.output.get_parameter("bias")[vocabulary.token_to_id(liked)] += 4
    return export_onnx(model, tmp_path / "model")


def options(folder: Path, encoder: str, lm: Path) -> dict[str, Any]:
    files = {name: str(folder / f"{name}.onnx") for name in ("decoder", "joiner")}
    options = {"tokens": str(folder / "tokens.txt"), "encoder": str(folder / encoder), **files}
    return {**options, "decoding_method": "modified_beam_search", "lm": str(lm), "lm_scale": 0.5}


def test_the_scorer_decides_for_an_offline_recogniser(folder: Path, exported: tuple[Path, Path], liked: str) -> None:
    recognizer = sherpa_onnx.OfflineRecognizer.from_transducer(**options(folder, "offline.onnx", exported[1]))
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, np.zeros(16000, dtype=np.float32))
    recognizer.decode_stream(stream)
    assert "".join(stream.result.text.split()) == f"展{liked}"


def test_the_step_decides_for_an_online_recogniser(folder: Path, exported: tuple[Path, Path], liked: str) -> None:
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(**options(folder, "online.onnx", exported[0]))
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, np.zeros(16000, dtype=np.float32))
    stream.input_finished()
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
    assert "".join(recognizer.get_result(stream).split()) == f"展{liked}"
