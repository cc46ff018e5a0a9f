"""From what the user names (a folder, a file, a glob, a list of them) to documents."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.cleaning import clean_text
from zh_lstm_lm.text.decoding import check_encoding, decode, normalize_line_ends

__all__ = ["Document", "Paths", "TextFile", "find_files", "read_document", "read_documents"]

logger = logging.getLogger(__name__)

Paths: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

_NOT_NOVELS = re.compile(r"(readme|license|licence|copying|changelog|inf|index)\.txt", re.IGNORECASE)
_SENTENCE_END = re.compile("[。！？!?…”」』]")
_LIST_SEPARATOR = re.compile("[,，、;；\t]")


@dataclass(frozen=True)
class TextFile:
    """A file to read.

    Attributes:
        path: Where it is.
        name: What to call it: its path inside the folder that was named, or its own name.
        chosen: Whether the user named this very file (rather than the folder or pattern that holds it).
    """

    path: Path
    name: str
    chosen: bool

    def read(self) -> bytes:
        """Returns the file's bytes.

        Raises:
            DataError: It cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); check its permissions") from error


@dataclass(frozen=True)
class Document:
    r"""One text, such as a novel.

    Attributes:
        name: What to call it.
        text: Its text after cleaning; lines end in ``\n``.
    """

    name: str
    text: str

    def paragraphs(self) -> list[str]:
        """The lines, without their ends; a newline at the very end of the text ends the last one."""
        lines = self.text.split("\n")
        return lines[:-1] if not lines[-1] else lines


def find_files(paths: Paths) -> list[TextFile]:
    """Lists the text files that the user named, each once, in an order that does not depend on the file system.

    Args:
        paths: A folder (its ``*.txt`` files, at any depth), a file, a glob pattern, or a list of these.

    Raises:
        DataError: Something named does not exist, or there is no text file in it.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    elif not isinstance(paths, Iterable):
        raise DataError(f"paths must be a folder, a file, a glob pattern or a list of these, got {paths!r}")
    found: dict[Path, TextFile] = {}
    for item in paths:
        if not isinstance(item, (str, os.PathLike)):
            raise DataError(
                f"paths must be a folder, a file, a glob pattern or a list of these, got {item!r} in a list"
            )
        for file in _expand(item):
            key = file.path.resolve()
            known = found.get(key, file)
            found[key] = replace(known, chosen=known.chosen or file.chosen)
    if not found:
        raise DataError("no file was named; give a folder, a file, a glob pattern or a list of these")
    return list(found.values())


def _expand(item: str | os.PathLike[str]) -> list[TextFile]:
    path = Path(item)
    try:
        is_file, is_folder = path.is_file(), path.is_dir() and bool(os.fspath(item))
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        raise DataError(
            f"{os.fspath(item)[:40]!r}…: no path of a file or folder; "
            "a text itself is read with TokenStream.from_texts([text])"
        ) from None
    if is_file:
        return [TextFile(path, path.name, chosen=True)]
    if is_folder:
        files = [TextFile(file, file.relative_to(path).as_posix(), chosen=False) for file in _text_files(path)]
        if not files:
            raise DataError(f"{path}: no .txt file in this folder; name the files themselves if they end otherwise")
        return files
    if glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        files = [TextFile(match, match.name, chosen=False) for match in matches if match.is_file()]
        if not files:
            raise DataError(f"{path}: no file matches this pattern")
        return files
    raise DataError(f"{os.fspath(item) or repr('')}: no such file or folder")


def _text_files(folder: Path) -> list[Path]:
    """The ``*.txt`` files below a folder, hidden ones left out, sorted."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += (Path(parent, name) for name in names if name.lower().endswith(".txt") and not name.startswith("."))
    return sorted(file for file in found if file.is_file())


def read_document(file: TextFile, *, encoding: str, clean: str, report: bool = False) -> Document | None:
    """Reads, decodes and cleans one file.

    Args:
        file: The file.
        encoding: ``"auto"``, or the name of an encoding.
        clean: The cleaning preset.
        report: Whether to log what could not be decoded, and why a file is skipped.

    Returns:
        The document; None if there is no text in it, or if it only lies among the novels (a list of their names,
        a README) without having been named itself.

    Raises:
        DataError: It cannot be read or decoded.
    """
    decoded = decode(file.read(), encoding=encoding, name=str(file.path))
    if decoded.faults and report:
        first = decoded.faults[0]
        logger.warning(
            "%s: %d places are not valid %s and stand as U+FFFD, the first at byte %d, line %d",
            file.path, len(decoded.faults), decoded.encoding, first.offset, first.line,
        )  # fmt: skip
    text = clean_text(normalize_line_ends(decoded.text), clean)
    if text.strip() and (file.chosen or not _is_stray(file.path.name, text)):
        return Document(file.name, text)
    if report:
        reason = "not a novel but a note beside them; name it itself to read it" if text.strip() else "no text in it"
        logger.warning("%s: skipped (%s)", file.path, reason)
    return None


def _is_stray(name: str, text: str) -> bool:
    """Whether a file is one like the ``inf.txt`` beside a set of novels: one line of names, or a README."""
    if _NOT_NOVELS.fullmatch(name):
        return True
    line = text.strip()
    names = _LIST_SEPARATOR.split(line)
    return (
        "\n" not in line
        and not _SENTENCE_END.search(line)
        and len(names) > 2
        and all(len(name) <= 20 for name in names)
    )


def read_documents(files: Sequence[TextFile], *, encoding: str, clean: str) -> Iterator[Document]:
    """Reads every file once to name all broken ones before any long work starts, then yields the documents in order.

    Reading twice costs little beside segmenting, and no more than one document is held at a time.

    Args:
        files: The files.
        encoding: ``"auto"``, or the name of an encoding.
        clean: The cleaning preset.

    Raises:
        DataError: Files that cannot be read or decoded, all of them named; or there is no text in any.
    """
    check_encoding(encoding)
    broken, readable = [], []
    for file in files:
        try:
            if read_document(file, encoding=encoding, clean=clean, report=True) is not None:
                readable.append(file)
        except DataError as error:
            broken.append(str(error))
    if broken:
        raise DataError("\n".join(broken[:20]) + (f"\n… and {len(broken) - 20} more" if len(broken) > 20 else ""))
    if not readable:
        raise DataError(f"there is no text to learn from in {', '.join(str(file.path) for file in files[:3])}")
    documents = (read_document(file, encoding=encoding, clean=clean) for file in readable)
    return (document for document in documents if document is not None)
