"""A text that goes into a file as it is made: it grows beside its place, can be resumed, and is completed at once.

``PATH.part`` is the text so far. ``PATH.part.state`` says how to go on from one of its paragraph ends: a safetensors
file with the state of generation and, as metadata, how long the text was. It is there before the text, and written anew
now and then; a ``PATH.part`` without it is somebody's own file.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.result import GenerationState
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.storage.atomic import atomic_write, replace_file
from zh_lstm_lm.storage.locks import lock_file
from zh_lstm_lm.storage.safe_reading import read_bytes
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.user_files import check_writable, is_special, keep_mode

__all__ = ["model_identity", "write_text_file"]

WORDS_BETWEEN_STATES = 1000
_MAX_STATE_BYTES = 1 << 30
_MAX_HEADER_BYTES = 1 << 20


def write_text_file(
    path: Path,
    begin: Callable[[GenerationState | None], Draft],
    go_on: Callable[[Draft], Iterator[str]],
    *,
    prompt: str,
    call: str,
    resume: bool,
    progress: Callable[[int], None] | None,
    model: LanguageModel,
) -> Path:
    """Writes a text into a file.

    Args:
        path: The file.
        begin: Makes the text, from its prompt or from a state.
        go_on: Adds to it word by word, and gives the words.
        prompt: What it begins with.
        call: Tells one text from another: equal for equal prompts, options and limits.
        resume: Whether to go on with what was interrupted.
        progress: Called now and then with the number of characters so far.
        model: The model.

    Returns:
        The path.

    Raises:
        DataError: The file cannot be written, another process is writing it, or what was interrupted is another text.
    """
    if not path.name:
        raise DataError(f"{str(path)!r} cannot be written: it is not the name of a file; give one")
    try:
        if is_special(path):
            with catch_interruption(), open(path, "ab", buffering=0) as file:
                _write_through(file, begin(None), go_on, prompt=prompt, progress=progress)
            return path
        target = Path(os.path.realpath(path))  # a symbolic link stays, and what it leads to is replaced
        part, saved = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.state")
        target.parent.mkdir(parents=True, exist_ok=True)
        check_writable(target)
        with catch_interruption(), lock_file(target):
            begun = _begun(part, saved)
            text, size, characters = begin(None), 0, 0
            if resume and begun is not None and begun.size:
                text, size, characters = _resumed(begin, begun, part, saved, call=call, model=model)
            try:
                if not size:
                    _claim(saved, call)
                with open(part, "r+b" if size else "wb", opener=_open_safely) as file:
                    file.truncate(size)
                    file.seek(size)
                    if not size:
                        file.write(prompt.encode("utf-8"))
                        characters = len(prompt)
                    for reached in _grow(file, saved, text, go_on(text), call=call, characters=characters):
                        if progress is not None:
                            progress(reached)
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


def _write_through(
    file: IO[bytes],
    text: Draft,
    go_on: Callable[[Draft], Iterator[str]],
    *,
    prompt: str,
    progress: Callable[[int], None] | None,
) -> None:
    """Writes a text to what is no regular file: it cannot be taken back, nor gone on with."""
    file.write(prompt.encode("utf-8"))
    characters = len(prompt)
    for number, piece in enumerate(go_on(text), 1):
        file.write(piece.encode("utf-8"))
        characters += len(piece)
        if progress is not None and number % WORDS_BETWEEN_STATES == 0:
            progress(characters)
    if progress is not None:
        progress(characters)


def _grow(
    file: IO[bytes], saved: Path, text: Draft, pieces: Iterator[str], *, call: str, characters: int
) -> Iterator[int]:
    """Adds the pieces of a text to its file; yields its characters whenever the state was saved, and at the end."""
    since = 0
    for piece in pieces:
        file.write(piece.encode("utf-8"))
        characters += len(piece)
        since += 1
        if "\n" in piece:
            file.flush()
        ends = text.closing is not None or text.finish_reason is not None
        if since >= WORDS_BETWEEN_STATES and not ends and not text.undecided:
            _flush(file)
            facts = {"call": call, "size": file.tell(), "characters": characters, "counts": text.counts()}
            atomic_write(saved, _packed(facts, text.state().to_tensors()))
            since = 0
            yield characters
    _flush(file)
    yield characters


def _complete(part: Path, target: Path, saved: Path) -> None:
    """Puts a text that is complete into its place."""
    try:
        keep_mode(part, target)
        replace_file(part, target)
    except OSError as error:
        if not _is_resumable(saved):  # then the whole text is its user's own file, and not written over
            saved.unlink(missing_ok=True)
        raise DataError(f"{target}: cannot be written ({error.strerror}); the whole text is in {part}") from error
    saved.unlink(missing_ok=True)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _open_safely(path: str, flags: int) -> int:
    """Opens a file, and neither what a symbolic link leads to nor a file with another name."""
    descriptor = os.open(path, flags & ~os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(None, f"{path} is no file of its own")
    return descriptor


# ---- the state beside the text


class _Begun(NamedTuple):
    """What a state tells of an unfinished text.

    Attributes:
        call: As in `write_text_file`.
        size: Bytes of the text to go on from; 0 to begin with its prompt.
        characters: Characters of them.
        counts: How far the limits were used up then.
        tensors: The state of generation; none at the beginning.
    """

    call: str
    size: int
    characters: int
    counts: dict[str, int]
    tensors: dict[str, Tensor]


def _packed(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save_tensors(contiguous, metadata={"text_file": json.dumps(facts)})


def _claim(saved: Path, call: str) -> None:
    """Writes the first state, which tells whose the text beside it is; raises OSError."""
    saved.unlink(missing_ok=True)
    with saved.open("xb") as file:
        file.write(_packed({"call": call, "size": 0, "characters": 0, "counts": {}}, {}))
        _flush(file)


def _begun(part: Path, saved: Path) -> _Begun | None:
    """Reads the state of an unfinished text, where there is one.

    Raises:
        DataError: What lies there is not the library's own.
    """
    if os.path.lexists(saved):
        return _read_state(saved)
    if os.path.lexists(part):
        raise DataError(
            f"{part}: is there already, and no unfinished text of this library, which has {saved.name} beside it; move "
            "it away"
        )
    return None


def _read_state(saved: Path) -> _Begun:
    """Reads a state; raises DataError where it is none."""
    try:
        data = read_bytes(saved, max_bytes=_MAX_STATE_BYTES)
        length = int.from_bytes(data[:8], "little")  # safetensors gives tensors only
        header = parse_json(data[8 : 8 + min(length, _MAX_HEADER_BYTES)], name=str(saved))
        facts = parse_json(header["__metadata__"]["text_file"].encode("utf-8"), name=str(saved))
        size, characters = int(facts["size"]), int(facts["characters"])
        return _Begun(str(facts["call"]), size, characters, dict(facts["counts"]), load_tensors(data))
    except (CheckpointError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{saved}: damaged or foreign ({error!r}); remove it to begin anew") from error


def _is_resumable(saved: Path) -> bool:
    with contextlib.suppress(DataError):
        return _read_state(saved).size > 0
    return False


def _resumed(
    begin: Callable[[GenerationState | None], Draft],
    begun: _Begun,
    part: Path,
    saved: Path,
    *,
    call: str,
    model: LanguageModel,
) -> tuple[Draft, int, int]:
    """The text that was interrupted, its bytes in the file and its characters; raises DataError if it is another."""
    if begun.call != call:
        raise DataError(
            f"{part}: was begun with another model, prompt, options or limits; give the same ones, or remove it and "
            f"{saved.name} to begin anew"
        )
    size = part.stat().st_size if os.path.lexists(part) else 0
    if size < begun.size:
        raise DataError(f"{part}: {size:,} bytes, fewer than the {begun.size:,} of its state; remove both")
    text = begin(GenerationState.from_tensors(begun.tensors, model=model))
    text.restore_counts(begun.counts)
    return text, begun.size, begun.characters


def model_identity(model: Any) -> list[Any]:
    """Returns plain values that distinguish a model from another one of the same vocabulary."""
    parts = [*getattr(model, "models", ()), *([model.model] if hasattr(model, "model") else [])]
    weights = model.parameters() if isinstance(model, torch.nn.Module) else ()
    values = [weight.detach().flatten()[:64].tolist() for weight in weights]
    options = [
        repr(value)
        for name, value in sorted(vars(model).items())
        if isinstance(value, (int, float, tuple)) and name != "models"
    ]
    return [type(model).__name__, values, [] if values else options, [model_identity(part) for part in parts]]
