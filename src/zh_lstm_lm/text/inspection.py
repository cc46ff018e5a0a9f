"""A dry run of reading: the encoding and content of each file, the changes of cleaning, and duplicates."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.cleaning import Change, check_cleaning, clean_text, explain
from zh_lstm_lm.text.decoding import check_encoding
from zh_lstm_lm.text.files import Paths, TextFile, find_files
from zh_lstm_lm.text.survey import FileSurvey, decoded_blocks, find_boilerplate, find_duplicates, survey_file

__all__ = ["FileInspection", "inspect_files"]


@dataclass(frozen=True)
class FileInspection:
    """The outcome of reading a file.

    Attributes:
        survey: Its encoding, content, size and faults; None if it cannot be read, for the reason in `error`.
        changes: The changes that cleaning would make, in the order of the lines.
        num_characters: Characters after cleaning.
        duplicates: Other files that hold long paragraphs of this one, with the proportion of them.
    """

    file: TextFile
    survey: FileSurvey | None = None
    error: str | None = None
    changes: tuple[Change, ...] = ()
    num_characters: int = 0
    duplicates: tuple[tuple[str, float], ...] = ()

    def lines(self, *, max_changes: int = 3) -> Iterator[str]:
        """Yields the inspection as lines of text, with at most so many changes of each kind as a diff."""
        if self.survey is None:
            yield f"BROKEN: {self.error}"
            return
        survey = self.survey
        yield (
            f"{self.file}: {survey.encoding} (confidence {survey.confidence:.2f}), {survey.num_characters:,} characters, "
            f"{self.num_characters:,} after cleaning, {survey.han_proportion:.0%} of its letters Han"
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
    """Reads files as `TokenStream.from_files` would, changes nothing, and reports the findings, errors among them."""
    check_cleaning(clean)
    check_encoding(encoding)
    files = find_files(paths)
    surveys: list[FileSurvey | str] = []
    for file in files:
        try:
            surveys.append(survey_file(file, encoding=encoding, clean=clean))
        except DataError as error:
            surveys.append(str(error))
    sound = [survey for survey in surveys if isinstance(survey, FileSurvey)]
    repeated = find_boilerplate(sound)
    duplicates = iter(find_duplicates(sound))
    inspections: list[FileInspection] = []
    for file, found in zip(files, surveys, strict=True):
        if isinstance(found, str):
            inspections.append(FileInspection(file, error=found))
            continue
        changes: list[Change] = []
        characters = before = 0
        for decoded in decoded_blocks(file, found.encoding):
            # A block ends with a line.
            explained = explain(decoded.text.removesuffix("\n"), clean, repeated=repeated)
            changes += (replace(change, line=before + change.line) for change in explained)
            before += decoded.text.count("\n")
            characters += len(clean_text(decoded.text, clean, repeated=repeated))
        others = tuple((str(other.file), proportion) for other, proportion in next(duplicates))
        inspections.append(FileInspection(file, found, None, tuple(changes), characters, others))
    return inspections


def _short(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:40]}…{line[-18:]}"
