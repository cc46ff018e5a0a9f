"""The public function `study`: every setting with every seed, each saved as soon as it is measured."""

import contextlib
import hashlib
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch

from zh_lstm_lm._config import check_choice, check_type
from zh_lstm_lm._version import __version__
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError, escape_controls
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import choose_device
from zh_lstm_lm.storage.atomic import check_place
from zh_lstm_lm.storage.locks import lock_folder
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import Interrupted
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.kinds import KINDS
from zh_lstm_lm.studies.result import STUDY_FILE, StudyResult
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.run_folder import remove_run

__all__ = ["check_study_folder", "study"]

logger: logging.Logger = get_logger(__name__)

_IDENTITY = ("kind", "corpus", "equality", "seeds", "options")


def study(
    kind: Literal["seq-len", "epochs", "vocabulary"],
    corpus: TokenStream,
    config: StudyConfig | None = None,
    *,
    model_config: ModelConfig | None = None,
    trainer_config: TrainerConfig | None = None,
    output: str | PathLike[str] | None = None,
    progress: bool = True,
) -> StudyResult:
    """Trains and measures one model for each setting and seed, with one option varied between settings.

    The corpus is split at the tail of every document: 5 % for validation, 5 % for the test.

    Args:
        kind: ``"seq-len"`` varies the length of BPTT segments, ``"epochs"`` the amount of training text, and
            ``"vocabulary"`` the size of the vocabulary, character fallback and tokenizer.
        corpus: The corpus.
        config: The settings; None takes the defaults.
        model_config: The sizes of the models; None takes small ones (embedding 64, hidden size 128, dropout 0.3).
        trainer_config: The options of training; None takes the defaults with 16 batch rows. Budgets, seed and
            `run_dir` come from the study.
        output: Folder for ``study.json``, which is written after every run; the same call resumes an unfinished study
            in it, even inside a run. None writes nothing.
        progress: Whether to show a progress bar and print a line for every run.

    Returns:
        The result; its `complete` is False if Ctrl-C interrupted the study.

    Raises:
        ConfigError: An option is out of range or does not fit the corpus, or `output` holds something else.
        DataError: There is too little text.
        CheckpointError: `output` cannot be written.
    """
    check_choice("kind", kind, KINDS)
    check_type("corpus", corpus, TokenStream)
    check_type("config", config, StudyConfig, type(None))
    check_type("model_config", model_config, ModelConfig, type(None))
    check_type("trainer_config", trainer_config, TrainerConfig, type(None))
    check_type("output", output, str, PathLike, type(None))
    check_type("progress", progress, bool)
    plan = KINDS[kind](
        corpus,
        config or StudyConfig(),
        model_config or ModelConfig(embedding_dim=64, hidden_size=128, dropout=0.3),
        trainer_config or TrainerConfig(),
    )
    fresh = _describe(kind, plan, corpus)
    if output is None:
        return _run(plan, fresh, None, progress)
    folder = Path(output)
    _begin(folder, fresh)
    with lock_folder(folder):
        return _run(plan, StudyResult.load(folder), folder, progress)


def _run(plan: Study, result: StudyResult, folder: Path | None, progress: bool) -> StudyResult:
    """Runs the missing settings and seeds of a study."""
    cells = [(setting, seed) for seed in plan.config.seeds for setting in plan.settings]
    for number, (setting, seed) in enumerate(cells, start=1):
        key = {**setting, "seed": seed}
        if any(key.items() <= row.items() for row in result.rows):
            continue
        run_dir = _run_dir(folder, key) if folder is not None else None
        try:
            row = {**key, **plan.run(setting, partial(plan.train, seed=seed, run_dir=run_dir, progress=progress))}
        except Interrupted:
            return result
        rows = [*result.rows, row]
        complete = len(rows) == len(cells)
        result = replace(result, rows=rows, complete=complete, claims=plan.claims(rows) if complete else [])
        if folder is not None:
            result.save(folder)
            # A crash may have left the runs of earlier rows too.
            for done in rows:
                remove_run(_run_dir(folder, {name: done[name] for name in key}))
            with contextlib.suppress(OSError):
                (folder / "runs").rmdir()
        if progress:
            names = [f"{name} {value}" for name, value in key.items()]
            shown = [f"{c.heading.en} {row[c.field]:{c.form}}" for c in plan.columns if row[c.field] is not None]
            print(escape_controls(f"{number}/{len(cells)}  {', '.join(names)}:  {',  '.join(shown)}"), flush=True)
    return result


def _run_dir(folder: Path, key: Mapping[str, Any]) -> Path:
    return folder / "runs" / "-".join(map(str, key.values()))


def _describe(kind: str, plan: Study, corpus: TokenStream) -> StudyResult:
    """Describes a study without any run."""
    sha256 = hashlib.sha256()
    for text in corpus.texts():
        sha256.update(text.encode("utf-8"))
    # Either the study sets them, or they change no metric.
    free = ("max_epochs", "max_steps", "max_minutes", "run_dir", "checkpoint_minutes", "keep_last", "seed")
    training = {name: value for name, value in plan.trainer_config.to_dict().items() if name not in free}
    sizes = {name: value for name, value in plan.model_config.to_dict().items() if name != "seed"}
    options = {name: value for name, value in plan.config.to_dict().items() if name not in ("seeds", "equality")}
    return StudyResult(
        kind=kind,
        title=plan.title.en,
        equality=plan.config.equality,
        corpus={
            "documents": corpus.num_documents,
            "characters": corpus.num_characters,
            "tokens": corpus.num_tokens,
            **{f"{name}_tokens": part.num_tokens for name, part in plan.parts._asdict().items()},
            "tokenizer": corpus.tokenizer.fingerprint,
            "clean": corpus.clean,
            "normalize": corpus.normalize,
            "sha256": sha256.hexdigest(),
        },
        environment={
            "zh_lstm_lm": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(choose_device(plan.trainer_config.device)),
            "date": date.today().isoformat(),
        },
        options={**options, "model": sizes, "training": training},
        seeds=list(plan.config.seeds),
    )


def check_study_folder(folder: Path, *, hint: str) -> bool:
    """Returns True for a folder that holds a study, False where one can begin; refuses others, before long work."""
    if (folder / STUDY_FILE).exists():
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is not empty and holds no study; {hint}")
    check_place(folder)
    return False


def _begin(folder: Path, fresh: StudyResult) -> None:
    """Creates the folder of a study, or checks that it holds the same one."""
    if not check_study_folder(folder, hint="give the study a folder of its own"):
        folder.mkdir(exist_ok=True)
        fresh.save(folder)
    begun = StudyResult.load(folder)
    before, now = (_flat({name: getattr(result, name) for name in _IDENTITY}) for result in (begun, fresh))
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{folder}: holds a study with {name}={before.get(name)!r}, got {value!r}; give the same again, or "
                "another output"
            )
    if {**begun.environment, "date": None} != {**fresh.environment, "date": None}:
        logger.warning("%s: begun in another environment; times are not comparable", folder)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested values by their innermost names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat
