"""A short share of what ``benchmarks/reliability/`` and ``benchmarks/fuzzing.py`` do, and state that no call may touch."""

import importlib.util
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    score,
)

AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]

SCRIPTS = Path(__file__).parents[1] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the scripts are not here"),
    # What is forked must have no threads of PyTorch's.
    pytest.mark.usefixtures("one_thread"),
]
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")


def script(path: str) -> ModuleType:
    name = Path(path).stem
    if name in sys.modules:
        return sys.modules[name]
    if path.startswith("reliability/") and name != "tiny_runs":
        script("reliability/tiny_runs.py")  # the others import it from their own folder
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@posix_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("file", "what", "times"),
    [
        ("resuming", "resume", 4),
        ("crashes", "kill", 12),
        ("storage", "full_disk", 2),
        ("storage", "damage", 60),
    ],
)
def test_promise_is_kept(file: str, what: str, times: int, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(script(f"reliability/{file}.py"), what)(times, 1)
    assert capsys.readouterr().out


@pytest.mark.usefixtures("exact_products")
def test_texts_do_not_depend_on_their_neighbours() -> None:
    script("reliability/exactness.py").neighbours(12, 1)


def test_threads_share_a_model() -> None:
    script("reliability/load.py").threads(4, 0, 0.3)


def test_only_errors_of_the_library_come_out() -> None:
    script("fuzzing.py").fuzz(1500, 1)


def global_state() -> dict[str, Any]:
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "PyTorch's random state": torch.get_rng_state().tolist(),
        "Python's random state": random.getstate(),
        "signal handlers": [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)],
        "warnings filters": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.getLogger("zh_lstm_lm").level),
        "locale": locale.setlocale(locale.LC_ALL),
        "working directory": os.getcwd(),
        "environment": dict(os.environ),
        "live threads": threading.active_count(),
        "recursion limit": sys.getrecursionlimit(),
    }


@pytest.mark.parametrize("output", [{"output": "full"}, {"output": "adaptive", "cutoffs": (20, 60)}])
def test_no_call_changes_what_is_global(tmp_path: Path, texts: list[str], output: dict[str, Any]) -> None:
    def unchanged(name: str) -> None:
        after = global_state()
        assert {key for key in before if before[key] != after[key]} == set(), name

    (tmp_path / "novel.txt").write_text("".join(texts), encoding="utf-8")
    # The first optimizer of a process loads PyTorch's compiler, which sets a variable and a filter of warnings.
    torch.optim.Adam([torch.zeros(1)])
    before = global_state()
    stream = TokenStream.from_files(tmp_path / "novel.txt", tokenizer="characters", cache_dir=tmp_path / "cache")
    unchanged("from_files")
    train, valid, _ = stream.split(valid=0.2, test=0.0)
    vocabulary = Vocabulary.from_stream(train)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=6, hidden_size=8, **output))
    unchanged("LSTMLanguageModel")
    config = TrainerConfig(max_steps=3, batch_size=2, bptt_len=8, run_dir=tmp_path / "run")
    Trainer(model, train, valid, config, progress=False).fit()
    unchanged("fit")
    evaluate(model, valid)
    score(model, "展昭道：好。")
    unchanged("evaluate and score")
    Sampler(model).generate("展昭", max_new_tokens=5)
    list(Sampler(model).stream("展昭", max_new_tokens=5))
    Sampler(model).generate(["展昭", "白玉堂"], max_new_tokens=5)
    Sampler(model).write(tmp_path / "text.txt", prompt="展昭", max_characters=20)
    unchanged("the sampler")
    model.save_pretrained(tmp_path / "model")
    LSTMLanguageModel.from_pretrained(tmp_path / "model")
    unchanged("saving and loading")
    assert model.training is False


def test_interrupted_text_is_kept_between_two_words(
    tmp_path: Path, model: LSTMLanguageModel, at_each_word: AtEachWord
) -> None:
    sampler = Sampler(model)
    whole = sampler.generate("展昭", max_new_tokens=200)
    before = signal.getsignal(signal.SIGINT)
    steps = 0

    def interrupt() -> None:
        nonlocal steps
        steps += 1
        if steps == 50:
            signal.raise_signal(signal.SIGINT)

    with at_each_word(interrupt), pytest.raises(KeyboardInterrupt):
        sampler.write(tmp_path / "text.txt", prompt="展昭", max_new_tokens=200)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "text.txt").exists()
    written = (tmp_path / "text.txt.part").read_text(encoding="utf-8")
    assert len(written) > 20
    assert whole.startswith(written)


def test_interrupted_segmentation_leaves_nothing_half_done(tmp_path: Path, texts: list[str]) -> None:
    class Interrupting:
        fingerprint = "interrupting"

        def tokenize(self, text: str) -> list[str]:
            signal.raise_signal(signal.SIGINT)
            return list(text)

        def detokenize(self, tokens: Any) -> str:
            return "".join(tokens)

    (tmp_path / "novel.txt").write_text(texts[1].splitlines()[1] + "\n", encoding="utf-8")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        TokenStream.from_files(tmp_path / "novel.txt", tokenizer=Interrupting(), cache_dir=tmp_path / "cache")
    assert signal.getsignal(signal.SIGINT) is before
    assert list((tmp_path / "cache" / "streams").iterdir()) == []
