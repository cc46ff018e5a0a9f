"""A text file that grows beside its place while the text is generated, and can be resumed.

``PATH.part`` is the text so far. ``PATH.part.state`` is a safetensors file from which the text continues: the state of
generation and, as metadata, the length of the text at that point. It is created before the text and replaced now and
then; a ``PATH.part`` without it is not the library's.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_path, check_type
from zh_lstm_lm.errors import CheckpointError, ConfigError, DataError
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.result import GenerationState
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.storage.atomic import atomic_write, replace_file
from zh_lstm_lm.storage.file_systems import flush_open_file
from zh_lstm_lm.storage.locks import lock_file
from zh_lstm_lm.storage.safe_reading import read_bytes
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.tensors import load_tensors
from zh_lstm_lm.storage.user_files import check_writable, is_special, keep_earlier, keep_mode

__all__ = ["Start", "call_identity", "write_text_file"]

Start: TypeAlias = Callable[[GenerationState | None, Mapping[str, int]], tuple[Draft, Iterator[str]]]
"""Starts the text from its prompt, or from a state and `Draft.counts`; returns the draft and its coming pieces."""

WORDS_BETWEEN_STATES = 1000
_MAX_STATE_BYTES = 1 << 27
_MAX_HEADER_BYTES = 1 << 20


def write_text_file(
    path: str | PathLike[str],
    start: Start,
    model: LanguageModel,
    *,
    prompt: str,
    call: str,
    resume: bool,
    progress: Callable[[int], None] | None,
) -> Path:
    """Writes a text into a file, or continues it where `resume` is True and it was interrupted; returns the path.

    `call` is the identity of the text: equal for equal prompts, options and limits. Raises DataError if the file cannot
    be written, another process is writing it, or the interrupted text is another one, and ConfigError for a wrong type.
    """
    check_path("path", path)
    check_type("resume", resume, bool)
    if progress is not None and not callable(progress):
        raise ConfigError(f"progress must be a function of a number of characters, got {progress!r:.60}")
    path = Path(path)
    if not path.name:
        raise DataError(f"{str(path)!r} cannot be written: it is not the name of a file; give one")
    try:
        with catch_interruption():
            if is_special(path):
                with open(path, "ab", buffering=0) as file:
                    file.write(prompt.encode("utf-8"))
                    _grow(file, None, *start(None, {}), call=call, characters=len(prompt), progress=progress)
                return path
            # A symbolic link stays, and its target is replaced.
            target = Path(os.path.realpath(path))
            part, saved = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.state")
            target.parent.mkdir(parents=True, exist_ok=True)
            check_writable(target)
            with lock_file(target):
                begun = _find_begun(part, saved)
                draft, pieces = start(None, {})
                point = _Point(call, 0, len(prompt), {}, {})
                if resume and begun is not None and begun.size:
                    point = _checked(begun, part, saved, call=call)
                    draft, pieces = start(GenerationState.from_tensors(point.tensors, model=model), point.counts)
                try:
                    if not point.size:
                        _claim(saved, call)
                    with open(part, "r+b" if point.size else "wb", opener=_open_safely) as file:
                        file.truncate(point.size)
                        file.seek(point.size)
                        if not point.size:
                            file.write(prompt.encode("utf-8"))
                        _grow(file, saved, draft, pieces, call=call, characters=point.characters, progress=progress)
                except (OSError, CheckpointError):
                    if not _is_resumable(saved):
                        for leftover in (part, saved):
                            with contextlib.suppress(OSError):
                                leftover.unlink(missing_ok=True)
                    raise
                _complete(part, target, saved)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
    except CheckpointError as error:
        raise DataError(str(error)) from error
    return path


def _grow(
    file: IO[bytes],
    saved: Path | None,
    draft: Draft,
    pieces: Iterator[str],
    *,
    call: str,
    characters: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Adds the pieces of a text to its file; without `saved` the text cannot be resumed, as on a pipe."""
    since = 0
    for piece in pieces:
        file.write(piece.encode("utf-8"))
        characters += len(piece)
        since += 1
        if "\n" in piece:
            file.flush()
        ends = draft.closing is not None or draft.finish_reason is not None
        if since >= WORDS_BETWEEN_STATES and not ends and not draft.undecided:
            if saved is not None:
                _flush(file)
                point = _Point(call, file.tell(), characters, draft.counts(), draft.state().to_tensors())
                atomic_write(saved, point.to_bytes())
            since = 0
            if progress is not None:
                progress(characters)
    if saved is not None:
        _flush(file)
    if progress is not None:
        progress(characters)


def _complete(part: Path, target: Path, saved: Path) -> None:
    """Moves a complete text to its place."""
    try:
        keep_mode(part, target)
        with keep_earlier(target, part):
            replace_file(part, target)
    except OSError as error:
        # Without a state the complete text is the user's own file, which is not overwritten.
        if not _is_resumable(saved):
            saved.unlink(missing_ok=True)
        raise DataError(f"{target}: cannot be written ({error.strerror}); the whole text is in {part}") from error
    saved.unlink(missing_ok=True)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    flush_open_file(file.fileno())


def _open_safely(path: str, flags: int) -> int:
    """Opens a file, but neither the target of a symbolic link nor a file with another name."""
    descriptor = os.open(path, flags & ~os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(None, f"{path} is no file of its own")
    return descriptor


class _Point(NamedTuple):
    """The point of a text from which it is resumed; `size` counts bytes, and is 0 to start with the prompt."""

    call: str
    size: int
    characters: int
    counts: Mapping[str, int]
    tensors: Mapping[str, Tensor]

    def to_bytes(self) -> bytes:
        facts = json.dumps({name: value for name, value in self._asdict().items() if name != "tensors"})
        contiguous = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return save_tensors(contiguous, metadata={"text_file": facts})

    @classmethod
    def read(cls, saved: Path) -> Self:
        """Reads a saved point; raises a `DataError` if the file is damaged or foreign."""
        try:
            data = read_bytes(saved, max_bytes=_MAX_STATE_BYTES)
            # The loader of safetensors returns tensors only, so the metadata are read from the header.
            length = min(int.from_bytes(data[:8], "little"), _MAX_HEADER_BYTES)
            header = parse_json(data[8 : 8 + length], name=str(saved))
            facts = parse_json(header["__metadata__"]["text_file"].encode("utf-8"), name=str(saved))
            size, characters = int(facts["size"]), int(facts["characters"])
            return cls(str(facts["call"]), size, characters, dict(facts["counts"]), load_tensors(data, saved))
        except (CheckpointError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{saved}: damaged or foreign ({error!r}); remove it to start a new text") from error


def _claim(saved: Path, call: str) -> None:
    """Writes the first point, which shows that the text beside it is the library's; raises OSError."""
    saved.unlink(missing_ok=True)
    with saved.open("xb") as file:
        file.write(_Point(call, 0, 0, {}, {}).to_bytes())
        _flush(file)


def _find_begun(part: Path, saved: Path) -> _Point | None:
    """Reads the latest point of an unfinished text, if there is one; raises a `DataError` for foreign files."""
    if os.path.lexists(saved):
        return _Point.read(saved)
    if os.path.lexists(part):
        raise DataError(
            f"{part}: exists, but is no unfinished text of this library, which has {saved.name} beside it; move it away"
        )
    return None


def _is_resumable(saved: Path) -> bool:
    with contextlib.suppress(DataError):
        return _Point.read(saved).size > 0
    return False


def _checked(point: _Point, part: Path, saved: Path, *, call: str) -> _Point:
    """Returns the point if the text that was interrupted is this one and complete up to it; else raises a `DataError`."""
    if point.call != call:
        raise DataError(
            f"{part}: was begun with another model, prompt, options or limits; give the same ones, or remove it and "
            f"{saved.name} to start a new text"
        )
    size = part.stat().st_size if os.path.lexists(part) else 0
    if size < point.size:
        raise DataError(f"{part}: {size:,} bytes, fewer than the {point.size:,} of its state; remove both")
    return point


def call_identity(model: LanguageModel, *values: Any) -> str:
    """Returns a hash that distinguishes a call by its model and by the plain values of its arguments."""
    compared = [model.vocabulary.fingerprint(), _model_identity(model), *values]
    return hashlib.sha256(repr(compared).encode()).hexdigest()


def _model_identity(model: Any) -> list[Any]:
    """Returns plain values that distinguish a model from another one of the same vocabulary."""
    parts = [*getattr(model, "models", ()), *([model.model] if hasattr(model, "model") else [])]
    weights = model.parameters() if isinstance(model, torch.nn.Module) else ()
    values = [weight.detach().flatten()[:64].tolist() for weight in weights]
    options = [
        repr(value)
        for name, value in sorted(vars(model).items())
        if isinstance(value, (int, float, tuple)) and name != "models"
    ]
    return [type(model).__name__, values, [] if values else options, [_model_identity(part) for part in parts]]
