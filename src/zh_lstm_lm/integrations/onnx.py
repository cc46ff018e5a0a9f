"""Export to ONNX: a step with its state and a scorer, named as sherpa-onnx reads RNN language models.

The graphs are built node by node from the weights, in a version of ONNX that old runtimes read.
"""

import copy
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.models.lstm import LSTMLanguageModel, unwrapped
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax, FullSoftmax, SharedEmbedding
from zh_lstm_lm.models.pretrained import named_folder
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.strict_json import to_json

__all__ = ["export_onnx"]

_STEP, _SCORER, _TOKENS = "step.onnx", "scorer.onnx", "tokens.json"
_OPSET, _IR_VERSION = 13, 7
# A file of protocol buffers is smaller than 2 GiB; the rest is for the nodes.
_MAX_BYTES = (1 << 31) - (1 << 20)
_TOLERANCE = 1e-4
# Lengths of the calls that make 1,000 steps, for two texts at a time.
_CHECKED = [1] * 100 + [9] * 100
_SCORED_TEXTS = 20


@on_cpu_by_default
def export_onnx(model: LSTMLanguageModel, path: str | PathLike[str]) -> tuple[Path, Path]:
    """Exports a model to ONNX, and compares the files with the model over 1,000 steps in onnxruntime.

    ``step.onnx`` predicts the token after each input: ``x`` (batch, time) and the state ``h`` and ``c``, each (num_layers,
    batch, hidden_size), to ``log_probs`` (batch, time, vocab_size), ``next_h`` and ``next_c``. ``scorer.onnx`` takes texts
    without start and end, ``x`` (batch, time) with the lengths ``x_lens`` (batch,), to ``nll`` (batch,), their negative
    log-likelihood from the start to the paragraph end. ``tokens.json`` lists the tokens by id. The metadata of both have
    ``sos_id``, ``eos_id``, ``vocab_size``, ``num_layers``, ``hidden_size`` and ``embedding_dim``.

    The weights are exported in float32. Needs the extra ``onnx``.

    Args:
        model: The model.
        path: The folder; its three files are replaced together, or not at all.

    Returns:
        The paths of the step and the scorer.

    Raises:
        ConfigError: It is no LSTM, or too large for a file of ONNX.
        DataError: The files do not compute what the model computes; they are removed.
        CheckpointError: The folder cannot be written.
        MissingDependencyError: The extra is not installed.
    """
    check_type("path", path, str, PathLike)
    inner = unwrapped(model)
    if not isinstance(inner, LSTMLanguageModel):
        raise ConfigError(
            f"model is a {type(inner).__name__}, and only an LSTM has a form in ONNX; export the LSTM alone, which "
            "LSTMLanguageModel.from_pretrained loads from the folder of a mixture"
        )
    library, runtime = require("onnx", extra="onnx"), require("onnxruntime", extra="onnx")
    inner.check_weights()
    plain = copy.deepcopy(inner).cpu().float().eval()
    folder = named_folder(path)
    with torch.inference_mode(), atomic_directory(folder, owned=frozenset({_STEP, _SCORER, _TOKENS})) as staged:
        (staged / _STEP).write_bytes(_Graph(library, plain).step())
        (staged / _SCORER).write_bytes(_Graph(library, plain).scorer())
        (staged / _TOKENS).write_bytes(to_json(list(plain.vocabulary)))
        difference = max(_check_step(runtime, staged / _STEP, plain), _check_scorer(runtime, staged / _SCORER, plain))
        # A comparison with NaN is false.
        if not difference <= _TOLERANCE:
            raise DataError(
                f"{folder}: the exported files differ from the model by {difference:.2g} nats, {_TOLERANCE} at most were "
                "expected; nothing was written: update onnxruntime, or report it with the model's config"
            )
    return folder / _STEP, folder / _SCORER


class _Graph:
    """A graph in the making: its nodes in order, and the weights and constants that they use, in float32 on the CPU."""

    def __init__(self, library: Any, model: LSTMLanguageModel) -> None:
        self._library, self._helper, self._model = library, library.helper, model
        self._nodes: list[Any] = []
        self._constants: dict[int, Any] = {}

    def step(self) -> bytes:
        """Returns the file of the step."""
        num_layers, hidden_size = self._model.config.num_layers, self._model.config.hidden_size
        states = [self._add("Split", name, outputs=num_layers, axis=0) for name in ("h", "c")]
        steps, *after = self._read("x", [[each] if num_layers == 1 else each for each in states])
        self._add("Transpose", steps, name="log_probs", perm=[1, 0, 2])
        for name, parts in zip(("next_h", "next_c"), after, strict=True):
            self._add("Concat", *parts, name=name, axis=0)
        state = [num_layers, "batch", hidden_size]
        return self._file(
            {"x": ["batch", "time"], "h": state, "c": state},
            {"log_probs": ["batch", "time", len(self._model.vocabulary)], "next_h": state, "next_c": state},
            "a step with state",
        )

    def scorer(self) -> bytes:
        """Returns the file of the scorer."""
        vocabulary = self._model.vocabulary
        column = self._add(
            "Concat", self._add("Slice", self._add("Shape", "x"), *self._integers(0, 1)), *self._integers(1), axis=0
        )
        start, end = (
            self._add("Expand", self._integer(token_id), column)
            for token_id in (vocabulary.bos_id, vocabulary.paragraph_end_id)
        )
        inputs = self._add("Concat", start, "x", axis=1)
        length = self._add("Gather", self._add("Shape", inputs), self._integer(1))
        positions = self._add("Range", self._integer(0), length, self._integer(1))
        lengths = self._add("Unsqueeze", "x_lens", *self._integers(1))
        # The end takes the place of what follows a text.
        is_end = self._add("Equal", positions, lengths)
        targets = self._add(
            "Where", is_end, self._integer(vocabulary.paragraph_end_id), self._add("Concat", "x", end, axis=1)
        )
        log_probs = self._add("Transpose", self._read(inputs)[0], perm=[1, 0, 2])
        chosen = self._add("GatherElements", log_probs, self._add("Unsqueeze", targets, *self._integers(2)), axis=2)
        counted = self._add("Not", self._add("Greater", positions, lengths))
        kept = self._add(
            "Where", counted, self._add("Squeeze", chosen, *self._integers(2)), self._weight(torch.tensor(0.0))
        )
        self._add("Neg", self._add("ReduceSum", kept, *self._integers(1), keepdims=0), name="nll")
        return self._file({"x": ["batch", "time"], "x_lens": ["batch"]}, {"nll": ["batch"]}, "a scorer without state")

    def _read(self, ids: str, states: Sequence[Sequence[str]] = ()) -> tuple[str, list[str], list[str]]:
        """Reads ids, (batch, time); returns log-probabilities, (time, batch, vocab_size), and the layers' states after them."""
        model = self._model
        embedding = model.embedding
        # The vectors are computed once and for all, unless they are a weight, which the output layer may share.
        whole = embedding.characters is not None or isinstance(embedding, SharedEmbedding)
        table = embedding(torch.arange(len(model.vocabulary))) if whole else embedding.weight
        hidden = self._add("Gather", self._weight(table), self._add("Transpose", ids, perm=[1, 0]))
        after: list[Sequence[str]] = []
        for number, layer in enumerate(model.layers):
            weights = (_gates(layer.get_parameter(f"{name}_l0")) for name in ("weight_ih", "weight_hh"))
            bias = torch.cat([_gates(layer.get_parameter(f"bias_{name}_l0")) for name in ("ih", "hh")])
            inputs = [hidden, *(self._weight(weight[None]) for weight in weights), self._weight(bias[None])]
            inputs += ["", *(state[number] for state in states)] if states else []
            hidden, *state = self._add("LSTM", *inputs, outputs=3, hidden_size=model.config.hidden_size)
            hidden = self._add("Squeeze", hidden, *self._integers(1))
            after.append(state)
        h, c = (list(each) for each in zip(*after, strict=True))
        return self._log_probs(hidden), h, c

    def _log_probs(self, hidden: str) -> str:
        """Returns log-probabilities of all tokens."""
        layer = self._model.output
        if isinstance(layer, FullSoftmax):
            if layer.projection is not None:
                hidden = self._linear(hidden, layer.projection.weight)
            return self._softmax(self._linear(hidden, layer.shared_weight, layer.bias))
        assert isinstance(layer, AdaptiveSoftmax)
        head = self._softmax(self._linear(hidden, layer.head.weight, layer.head.bias))
        parts = [self._columns(head, 0, layer.head_size)]
        for number, (narrow, tail) in enumerate(layer.clusters(), layer.head_size):
            within = self._softmax(self._linear(self._linear(hidden, narrow.weight), tail.weight, tail.bias))
            parts.append(self._add("Add", within, self._columns(head, number, number + 1)))
        return str(self._add("Concat", *parts, axis=2))

    def _softmax(self, scores: str) -> str:
        return str(self._add("LogSoftmax", scores, axis=-1))

    def _linear(self, inputs: str, weight: Tensor, bias: Tensor | None = None) -> str:
        product = self._add("MatMul", inputs, self._add("Transpose", self._weight(weight), perm=[1, 0]))
        return str(product if bias is None else self._add("Add", product, self._weight(bias)))

    def _columns(self, values: str, start: int, stop: int) -> str:
        return str(self._add("Slice", values, *self._integers(start, stop, 2)))

    def _add(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of several."""
        number = len(self._nodes)
        names = [name] if name else [f"{kind.lower()}_{number}_{index}" for index in range(outputs)]
        self._nodes.append(self._helper.make_node(kind, list(inputs), names, f"{kind}_{number}", **attributes))
        return names if outputs > 1 else names[0]

    def _weight(self, values: Tensor) -> str:
        """Adds a tensor and returns its name; a weight that is used twice is kept once."""
        key = values.data_ptr() if isinstance(values, nn.Parameter) else -len(self._constants)
        if key not in self._constants:
            # The content of a safetensors file follows its header, whose length is in the first 8 bytes.
            file = save({"": values.detach().contiguous()})
            content = file[8 + int.from_bytes(file[:8], "little") :]
            kind = self._library.TensorProto.FLOAT if values.is_floating_point() else self._library.TensorProto.INT64
            name = f"constant_{len(self._constants)}"
            self._constants[key] = self._helper.make_tensor(name, kind, list(values.shape), content, raw=True)
        return str(self._constants[key].name)

    def _integer(self, value: int) -> str:
        return self._weight(torch.tensor(value))

    def _integers(self, *values: int) -> list[str]:
        """Adds inputs that are lists of one integer."""
        return [self._weight(torch.tensor([value])) for value in values]

    def _file(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]], about: str) -> bytes:
        size = sum(len(constant.raw_data) for constant in self._constants.values())
        if size > _MAX_BYTES:
            raise ConfigError(
                f"the model has {size / 1e9:.1f} GB of weights, and a file of ONNX holds 2 GiB; export a model with a "
                "smaller vocabulary or hidden_size"
            )
        kinds = {"x": self._library.TensorProto.INT64, "x_lens": self._library.TensorProto.INT64}
        values = [
            [
                self._helper.make_tensor_value_info(name, kinds.get(name, self._library.TensorProto.FLOAT), shape)
                for name, shape in each.items()
            ]
            for each in (inputs, outputs)
        ]
        graph = self._helper.make_graph(self._nodes, "language_model", *values, list(self._constants.values()))
        file = self._helper.make_model(
            graph,
            opset_imports=[self._helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="zh-lstm-lm",
        )
        vocabulary, config = self._model.vocabulary, self._model.config
        facts = {
            "model_type": "rnnlm",
            "version": 1,
            "comment": about,
            "sos_id": vocabulary.bos_id,
            "eos_id": vocabulary.paragraph_end_id,
            "vocab_size": len(vocabulary),
            "num_layers": config.num_layers,
            "hidden_size": config.hidden_size,
            "embedding_dim": config.embedding_dim,
        }
        self._helper.set_model_props(file, {name: str(value) for name, value in facts.items()})
        self._library.checker.check_model(file)
        return bytes(file.SerializeToString())


def _gates(weight: Tensor) -> Tensor:
    """Orders the gates as ONNX has them: input, output, forget, cell; PyTorch has the output gate last."""
    first, forget, cell, output = weight.detach().chunk(4)
    return torch.cat([first, output, forget, cell])


def _check_step(runtime: Any, path: Path, model: LSTMLanguageModel) -> float:
    """Returns the greatest difference between log-probabilities and states of a step and those of the model."""
    session = _session(runtime, path)
    ids = torch.randint(len(model.vocabulary), (2, sum(_CHECKED)), generator=torch.Generator().manual_seed(0))
    state = model.initial_state(2)
    h, c = state
    differences = []
    for window in torch.split(ids, _CHECKED, dim=1):
        context, state = model.read(window, state)
        expected = model.log_probs(context).view(*window.shape, -1)
        shapes = {"log_probs": expected.shape, "next_h": h.shape, "next_c": c.shape}
        log_probs, h, c = _run(session, {"x": window, "h": h, "c": c}, shapes)
        for ours, theirs in ((log_probs, expected), (h, state.h), (c, state.c)):
            differences.append((ours - theirs).abs().max())
    return float(torch.stack(differences).max())


def _check_scorer(runtime: Any, path: Path, model: LSTMLanguageModel) -> float:
    """Returns the greatest difference per token between the scores of texts of several lengths and those of the model."""
    vocabulary, longest = model.vocabulary, sum(_CHECKED) // _SCORED_TEXTS
    texts = torch.randint(len(vocabulary), (_SCORED_TEXTS, longest), generator=torch.Generator().manual_seed(1))
    lengths = torch.arange(_SCORED_TEXTS) * longest // (_SCORED_TEXTS - 1)
    (scores,) = _run(_session(runtime, path), {"x": texts, "x_lens": lengths}, {"nll": lengths.shape})
    targets = torch.cat([texts, texts[:, :1]], dim=1)
    positions = torch.arange(longest + 1)
    targets[positions == lengths[:, None]] = vocabulary.paragraph_end_id
    targets[positions > lengths[:, None]] = IGNORED
    context, _ = model.read(torch.cat([torch.full_like(texts[:, :1], vocabulary.bos_id), texts], dim=1))
    expected = -model.target_log_probs(context, targets.flatten()).view(targets.shape).sum(dim=1)
    return float(((scores - expected).abs() / (lengths + 1)).max())


def _session(runtime: Any, path: Path) -> Any:
    options = runtime.SessionOptions()
    # Threads that wait for the next of many short calls would keep all processors busy.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> list[Tensor]:
    """Runs a session on tensors in place, without arrays of NumPy."""
    binding = session.io_binding()
    held = {name: values.contiguous() for name, values in inputs.items()}
    results = {name: torch.empty(tuple(shape), device="cpu", dtype=torch.float32) for name, shape in shapes.items()}
    for bind, tensors in ((binding.bind_input, held), (binding.bind_output, results)):
        for name, values in tensors.items():
            kind = str(values.dtype).removeprefix("torch.")
            bind(name, "cpu", 0, kind, list(values.shape), values.data_ptr())
    session.run_with_iobinding(binding)
    return list(results.values())
