"""Devices and precision. Where there is no CUDA, its settings are looked at, and PyTorch's meta device stands in for it:
whatever would have to wait for a value from the device fails there.
"""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.models.gradients import clip_gradients, settle_rows, sparse_embedding
from zh_lstm_lm.runtime.devices import autocast, autocast_dtype, choose_device, matrix_precision, on_device

CUDA = torch.device("cuda", 0)
LAYERS: list[dict[str, Any]] = [
    {"output": "full"},
    {"output": "adaptive", "cutoffs": (20, 60)},
    {"tie_weights": True, "num_layers": 2},
    {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
]


def make(vocabulary: Vocabulary, **options: Any) -> LSTMLanguageModel:
    return LSTMLanguageModel(
        vocabulary, ModelConfig(**{"embedding_dim": 8, "hidden_size": 12, "dropout": 0.0, **options})
    )


def window(vocabulary: Vocabulary, seed: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.randint(len(vocabulary), (4, 9), generator=torch.Generator().manual_seed(seed))
    ids[0, 4] = -100
    return ids[:, :-1].clamp(min=0), ids[:, 1:]


# ---- which device


def test_a_device_that_is_not_here_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("cpu", local_rank=3) == torch.device("cpu")
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(ConfigError, match="device='auto'"):
            choose_device(name)


def test_every_process_of_a_machine_has_a_cuda_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert [choose_device("auto", local_rank=rank).index for rank in (0, 1)] == [0, 1]
    with pytest.raises(ConfigError, match=r"process 3 .* there are 2"):
        choose_device("cuda", local_rank=2)


# ---- precision


@pytest.mark.parametrize(("precision", "allowed"), [("auto", True), ("tf32", True), ("float32", False)])
def test_settings_of_cuda_hold_inside_the_block_only(
    monkeypatch: pytest.MonkeyPatch, precision: str, allowed: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    settings = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in settings]
    with contextlib.suppress(KeyError), matrix_precision(CUDA, precision):
        assert [backend.allow_tf32 for backend in settings] == [allowed, allowed]
        raise KeyError
    assert [backend.allow_tf32 for backend in settings] == before


def test_tf32_without_cuda_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tf32' is one of CUDA"), matrix_precision(torch.device("cpu"), "tf32"):
        pass


@pytest.mark.parametrize("options", LAYERS)
def test_bfloat16_comes_close_to_float32(vocabulary: Vocabulary, options: dict[str, Any]) -> None:
    """And is not the same, so it is another path; weights and gradients stay float32."""
    cpu = torch.device("cpu")
    found = {}
    for precision in ("float32", "bfloat16"):
        model = make(vocabulary, **options)
        with autocast(cpu, precision):
            loss, (h, _) = model.loss(*window(vocabulary))
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert {tensor.dtype for tensor in (loss, h, *gradients)} == {torch.float32}
        found[precision] = (loss.detach(), h.detach(), torch.cat([gradient.flatten() for gradient in gradients]))
    exact, close = found["float32"], found["bfloat16"]
    assert not torch.equal(exact[1], close[1])
    torch.testing.assert_close(close[1], exact[1], rtol=0, atol=5e-3)
    assert not torch.equal(exact[0], close[0])
    torch.testing.assert_close(close[0], exact[0], rtol=5e-3, atol=0)
    assert torch.nn.functional.cosine_similarity(close[2], exact[2], dim=0) > 0.999


@pytest.mark.parametrize(
    ("precision", "hidden_size", "native", "expected"),
    [
        ("auto", 256, True, torch.bfloat16),
        ("auto", 256, False, None),
        ("auto", 64, True, None),
        ("float32", 256, True, None),
        ("bfloat16", 64, False, torch.bfloat16),
    ],
)
def test_the_processor_decides_about_bfloat16(
    monkeypatch: pytest.MonkeyPatch, precision: str, hidden_size: int, native: bool, expected: torch.dtype | None
) -> None:
    monkeypatch.setattr("zh_lstm_lm.runtime.devices.has_bfloat16", lambda: native)
    with autocast(torch.device("cpu"), precision, hidden_size=hidden_size):
        assert autocast_dtype(torch.device("cpu")) is expected


# ---- nothing waits for the device


def test_a_tensor_that_is_there_is_not_copied() -> None:
    tensor = torch.arange(3)
    assert on_device(tensor, torch.device("cpu")) is tensor
    assert on_device(tensor, torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_update_needs_no_value_from_the_device(
    vocabulary: Vocabulary, options: dict[str, Any], precision: str
) -> None:
    device = torch.device("meta")
    model = make(vocabulary, **options).to(device)
    inputs, targets = window(vocabulary)
    with sparse_embedding(model):
        loss, _ = model.loss(on_device(inputs, device), targets, num_targets=31)
        loss.backward()  # type: ignore[no-untyped-call]
    for table, rows in model.embedding.touched_rows(inputs):
        assert table.grad is not None
        if table.grad.is_sparse:
            table.grad = settle_rows(table.grad, on_device(rows, device))
    norm = clip_gradients(model.parameters(), 0.5)
    assert norm.device.type == "meta"
    with pytest.raises(RuntimeError):  # what this test leans on
        float(norm)


@pytest.mark.parametrize("options", LAYERS)
def test_loss_of_a_part_is_a_part_of_the_loss(vocabulary: Vocabulary, options: dict[str, Any]) -> None:
    model = make(vocabulary, **options).double()
    inputs, targets = window(vocabulary)
    whole, _ = model.loss(inputs, targets)
    parts = [model.loss(inputs[rows], targets[rows], num_targets=31)[0] for rows in (slice(1), slice(1, 4))]
    torch.testing.assert_close(sum(parts), whole)
