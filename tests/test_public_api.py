"""The names that users import: all there, typed, and loaded only when they are used."""

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typing_extensions import assert_type

import zh_lstm_lm
from zh_lstm_lm import (
    EvaluationResult,
    History,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    Score,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    score,
)

PACKAGE = Path(zh_lstm_lm.__file__).parent
ERRORS = ["CheckpointError", "ConfigError", "DataError", "MissingDependencyError", "VocabularyError"]
PROMISED = {
    *("LSTMLanguageModel", "ModelConfig", "Sampler", "SamplerConfig", "TokenStream", "Trainer", "TrainerConfig"),
    *("Vocabulary", "evaluate", "score", "ZhLstmLmError", "Callback", "History", "Tokenizer", "__version__"),
    *ERRORS,
}


def python(code: str, tmp_path: Path) -> str:
    """What a fresh Python prints that runs this code, warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "ZH_LSTM_LM_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_all_is_the_sorted_list_of_public_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    typed = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    public = {name for name in typed if name is not None}
    assert zh_lstm_lm.__all__ == sorted(public), "what type checkers see is what there is"
    assert set(zh_lstm_lm.__all__) >= PROMISED
    assert len(set(zh_lstm_lm.__all__)) == len(zh_lstm_lm.__all__)


@pytest.mark.parametrize("name", zh_lstm_lm.__all__)
def test_every_name_resolves_to_the_object_of_its_home(name: str) -> None:
    value = getattr(zh_lstm_lm, name)
    assert name in dir(zh_lstm_lm)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+|\.dev\d+)?", value)
        return
    home = importlib.import_module(value.__module__)
    assert getattr(home, name) is value
    assert name in home.__all__
    assert value.__doc__


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        zh_lstm_lm.Modle  # noqa: B018
    assert not hasattr(zh_lstm_lm, "model_config")
    with pytest.raises(ImportError, match="Modle"):
        exec("from zh_lstm_lm import Modle", {})


def test_importing_loads_no_library_prints_nothing_and_starts_nothing(tmp_path: Path) -> None:
    code = """
import json, logging, sys, threading, warnings
loggers, handlers, filters = set(logging.root.manager.loggerDict), logging.root.handlers[:], warnings.filters[:]
import zh_lstm_lm
dir(zh_lstm_lm), zh_lstm_lm.__all__, zh_lstm_lm.__version__
assert set(logging.root.manager.loggerDict) == loggers and logging.root.handlers == handlers
assert warnings.filters == filters
assert threading.active_count() == 1
from zh_lstm_lm import ZhLstmLmError, ConfigError
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(json.loads(python(code, tmp_path)))  # it is one line: nothing else was printed
    for library in ("torch", "jieba", "numpy", "safetensors", "rjieba", "tqdm", "multiprocessing"):
        assert library not in loaded
    assert {name for name in loaded if name.startswith("zh_lstm_lm.")} <= {"zh_lstm_lm._version", "zh_lstm_lm.errors"}
    assert list(tmp_path.iterdir()) == []


def test_the_whole_library_is_imported_without_a_word_jieba_or_random_numbers(tmp_path: Path) -> None:
    code = """
import torch
before = torch.get_rng_state()
from zh_lstm_lm import *
print(sorted(name for name in globals() if name[:2] != "__" and name not in ("torch", "before")))
import importlib, pkgutil, sys, zh_lstm_lm
for module in pkgutil.walk_packages(zh_lstm_lm.__path__, "zh_lstm_lm."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert torch.equal(torch.get_rng_state(), before)
assert "jieba" not in sys.modules and "rjieba" not in sys.modules
"""
    star = ast.literal_eval(python(code, tmp_path))  # it is one line: nothing else was printed
    assert star == [name for name in zh_lstm_lm.__all__ if name[:2] != "__"], "a star import brings all names"
    assert list(tmp_path.iterdir()) == []


def test_every_modules_all_is_true_and_sorted_out() -> None:
    names = [module.name for module in pkgutil.walk_packages(zh_lstm_lm.__path__, "zh_lstm_lm.")]
    for name in names:
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):  # a folder of modules
            continue
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name} does not have {public}"
        assert name.endswith("_version") or module.__all__, f"{name} says what is public"


@pytest.mark.parametrize("name", ERRORS)
def test_one_except_catches_all_errors_and_each_is_a_builtin_too(name: str) -> None:
    error = getattr(zh_lstm_lm, name)
    assert issubclass(error, zh_lstm_lm.ZhLstmLmError)
    assert issubclass(error, ImportError if name == "MissingDependencyError" else ValueError)
    assert str(error("novel.txt: …")) == "novel.txt: …"


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_typed_usage_runs(tmp_path: Path) -> None:
    text = "展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n二人推门进了酒店。\n" * 4
    corpus = TokenStream.from_texts([text, text], tokenizer="characters")
    train, valid, test = assert_type(corpus.split(valid=0.2, test=0.2), tuple[TokenStream, TokenStream, TokenStream])
    vocabulary = assert_type(Vocabulary.from_stream(train, min_freq=1, max_size=60_000), Vocabulary)
    assert_type(vocabulary.encode("展昭"), list[int])
    assert_type(vocabulary.decode([1, 2]), str)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=8, dropout=0.0))
    config = TrainerConfig(max_epochs=1, run_dir=str(tmp_path / "run"), seed=0)
    trainer = Trainer(model, train, valid, config, progress=False)
    history = assert_type(trainer.fit(resume=True), History)
    assert_type(history[0], dict[str, Any])
    model.save_pretrained(tmp_path / "model")
    loaded = assert_type(LSTMLanguageModel.from_pretrained(tmp_path / "model"), LSTMLanguageModel)
    result = assert_type(evaluate(loaded, test), EvaluationResult)
    assert_type(result.perplexity, float)
    assert_type(result.bits_per_character, float | None)
    assert_type(result.num_characters, int | None)
    scored = assert_type(score(loaded, "展昭大喜。"), Score)
    assert_type(scored.tokens, tuple[str, ...])
    assert_type(scored.log_probs, tuple[float, ...])
    sampler = Sampler(loaded, SamplerConfig(temperature=0.8, top_p=0.95, seed=0))
    written = assert_type(sampler.generate("展昭", max_new_tokens=5), str)
    assert "".join(sampler.stream("展昭", max_new_tokens=5)) == written
    assert sampler.write(tmp_path / "novel.txt", prompt="展昭", max_characters=30).stat().st_size > 0
    logits, (h, c) = loaded(torch.tensor([vocabulary.encode("展昭")]))
    assert logits.shape == (1, 2, len(vocabulary))
    assert h.shape == c.shape == (1, 1, 8)
