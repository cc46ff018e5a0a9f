"""A dry run of reading: what each file is, what would be taken out of it or joined, and what stands twice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.cleaning import Change, check_cleaning, clean_text, explain, find_repeated_lines
from zh_lstm_lm.text.decoding import check_encoding
from zh_lstm_lm.text.documents import FileSurvey, decoded_blocks, survey_file
from zh_lstm_lm.text.files import Paths, TextFile, find_files

__all__ = ["FileInspection", "inspect_files"]

_LONG_PARAGRAPH = 20  # characters; shorter ones stand in many books by chance
_DUPLICATE_SHARE = 0.2


@dataclass(frozen=True)
class FileInspection:
    """What reading a file would do.

    Attributes:
        file: The file.
        survey: Its encoding, size and faults; None if it cannot be read.
        error: Why it cannot be read; None if it can.
        changes: What cleaning would change, in the order of the lines.
        num_characters: Characters after cleaning.
        duplicates: Other files, and the share of this one's long paragraphs that stand in them too.
    """

    file: TextFile
    survey: FileSurvey | None = None
    error: str | None = None
    changes: tuple[Change, ...] = ()
    num_characters: int = 0
    duplicates: tuple[tuple[str, float], ...] = ()

    def lines(self, *, max_changes: int = 3) -> Iterator[str]:
        """Yields the inspection as lines of text.

        Args:
            max_changes: Changes of each kind that are shown as a diff; 0 for their numbers only.
        """
        if self.survey is None:
            yield f"BROKEN: {self.error}"
            return
        survey = self.survey
        yield (
            f"{self.file}: {survey.encoding} (confidence {survey.confidence:.2f}), {survey.num_characters:,} characters, "
            f"{self.num_characters:,} after cleaning"
            + (f"; would be skipped: {survey.skipped}" if survey.skipped else "")
        )
        if survey.faults:
            places = ", ".join(f"byte {fault.offset} (line {fault.line})" for fault in survey.faults[:5])
            yield f"  faults: {len(survey.faults)} undecodable places: {places}{', …' if len(survey.faults) > 5 else ''}"
        for kind, number in sorted(Counter(change.kind for change in self.changes).items()):
            yield f"  {kind}: {number}"
            shown = [change for change in self.changes if change.kind == kind and change.before.strip()]
            for change in shown[:max_changes]:
                yield f"    line {change.line}:"
                yield from (f"    - {_short(line)}" for line in change.before.split("\n"))
                yield from (f"    + {_short(line)}" for line in change.after.split("\n") if change.after)
        for name, share in self.duplicates:
            yield f"  duplicate: {share:.0%} of its long paragraphs also stand in {name}"


def inspect_files(paths: Paths, *, encoding: str = "auto", clean: str = "novel") -> list[FileInspection]:
    """Reads files as `TokenStream.from_files` would, changes nothing, and tells what it finds.

    Args:
        paths: A folder, a file, a glob pattern, or a list of these.
        encoding: ``"auto"``, or the encoding of all files.
        clean: The cleaning preset.

    Raises:
        DataError: Nothing to read. A file that cannot be read is told of in its inspection.
        ConfigError: There is no such preset.
    """
    check_cleaning(clean)
    check_encoding(encoding)
    files = find_files(paths)
    surveys: list[FileSurvey | str] = []
    for file in files:
        try:
            surveys.append(survey_file(file, encoding=encoding))
        except DataError as error:
            surveys.append(str(error))
    repeated = find_repeated_lines([survey.edges for survey in surveys if isinstance(survey, FileSurvey)])
    inspections: list[FileInspection] = []
    paragraphs: list[set[int]] = []
    for file, survey in zip(files, surveys, strict=True):
        if isinstance(survey, str):
            inspections.append(FileInspection(file, error=survey))
            paragraphs.append(set())
            continue
        changes: list[Change] = []
        characters, lines, before = 0, set(), 0
        for decoded in decoded_blocks(file, survey.encoding):
            found = explain(decoded.text.removesuffix("\n"), clean, repeated=repeated)  # a block ends with a line
            changes += (replace(change, line=before + change.line) for change in found)
            before += decoded.text.count("\n")
            text = clean_text(decoded.text, clean, repeated=repeated)
            characters += len(text)
            lines |= {hash(line) for line in text.split("\n") if len(line) >= _LONG_PARAGRAPH}
        paragraphs.append(lines)
        inspections.append(FileInspection(file, survey, None, tuple(changes), characters))
    return _with_duplicates(inspections, paragraphs)


def _with_duplicates(inspections: Sequence[FileInspection], paragraphs: Sequence[set[int]]) -> list[FileInspection]:
    owners: dict[int, list[int]] = {}
    for number, lines in enumerate(paragraphs):
        for line in lines:
            owners.setdefault(line, []).append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in owners.values():
        shared.update((one, other) for one in numbers for other in numbers if one != other)
    duplicates: list[list[tuple[str, float]]] = [[] for _ in inspections]
    for (one, other), count in sorted(shared.items()):
        if count >= _DUPLICATE_SHARE * len(paragraphs[one]):
            duplicates[one].append((str(inspections[other].file), count / len(paragraphs[one])))
    return [replace(one, duplicates=tuple(found)) for one, found in zip(inspections, duplicates, strict=True)]


def _short(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:40]}…{line[-18:]}"
