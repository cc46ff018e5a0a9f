"""A text that goes into a file as it is made: it grows beside its place, can be resumed, and is completed at once.

``PATH.part`` is the text so far. ``PATH.part.state`` says how to go on from one of its paragraph ends: a safetensors
file with the state of generation and, as metadata, how long the text was. It is written anew now and then.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.result import GenerationState
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.storage.atomic import atomic_write
from zh_lstm_lm.storage.locks import lock_file
from zh_lstm_lm.storage.safe_reading import read_bytes

__all__ = ["write_text_file"]

WORDS_BETWEEN_STATES = 1000


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
    part, saved = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.state")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        with catch_interruption(), lock_file(path):
            text, size, characters = _resumed(begin, part, saved, call, model) if resume else (begin(None), 0, 0)
            if not size:
                saved.unlink(missing_ok=True)
            try:
                with part.open("r+b" if size else "wb") as file:
                    file.truncate(size)
                    file.seek(size)
                    if not size:
                        file.write(prompt.encode("utf-8"))
                        characters = len(prompt)
                    for reached in _grow(file, saved, text, go_on(text), call=call, characters=characters):
                        if progress is not None:
                            progress(reached)
            except (OSError, CheckpointError):
                if not saved.exists():  # nothing that could be resumed
                    with contextlib.suppress(OSError):
                        part.unlink(missing_ok=True)
                raise
            _complete(part, path)
            saved.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
    except CheckpointError as error:
        raise DataError(str(error)) from error
    return path


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
            _save(saved, text, call, file.tell(), characters)
            since = 0
            yield characters
    _flush(file)
    yield characters


def _complete(part: Path, path: Path) -> None:
    """Puts a text that is complete into its place."""
    try:
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); the whole text is in {part}") from error


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _save(saved: Path, text: Draft, call: str, size: int, characters: int) -> None:
    facts = {"call": call, "size": size, "characters": characters, "counts": text.counts()}
    tensors = {name: tensor.contiguous() for name, tensor in text.state().to_tensors().items()}
    atomic_write(saved, save_tensors(tensors, metadata={"text_file": json.dumps(facts)}))


def _resumed(
    begin: Callable[[GenerationState | None], Draft],
    part: Path,
    saved: Path,
    call: str,
    model: LanguageModel,
) -> tuple[Draft, int, int]:
    """The text that was interrupted, its bytes in the file and its characters; one that begins, where there is none."""
    if not (part.is_file() and saved.is_file()):
        return begin(None), 0, 0
    try:
        data = read_bytes(saved)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors gives tensors only
        facts = json.loads(header["__metadata__"]["text_file"])
        state = GenerationState.from_tensors(load_tensors(data), model)
        size, characters, counts = int(facts["size"]), int(facts["characters"]), facts["counts"]
        told = facts["call"]
    except (CheckpointError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{saved}: damaged or foreign ({error!r}); remove it to begin anew") from error
    if told != call:
        raise DataError(
            f"{part}: was begun with another model, prompt, options or limits; give the same ones, or remove it and "
            f"{saved.name} to begin anew"
        )
    if part.stat().st_size < size:
        raise DataError(f"{part}: {part.stat().st_size:,} bytes, fewer than the {size:,} of its state; remove both")
    text = begin(state)
    text.restore_counts(counts)
    return text, size, characters
