"""The public function `write_report`: runs, studies and results on minimal pairs as one HTML page."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from zh_lstm_lm._config import check_choice, check_list, check_path, check_type
from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.markup import Label, Section, element, serialise
from zh_lstm_lm.report.pairs import pairs_sections, read_pairs
from zh_lstm_lm.report.plots import read_style
from zh_lstm_lm.report.run_sections import run_sections
from zh_lstm_lm.report.runs import Run, distinct_names, read_run
from zh_lstm_lm.storage.user_files import is_special, write_file

__all__ = ["check_page", "html_page", "write_report"]

MAX_BYTES = 500_000
_TITLE = Label("训练报告", "Training report")


def write_report(
    folders: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    language: Literal["zh", "en"] = "zh",
    overwrite: bool = False,
) -> Path:
    """Writes runs, studies and results on minimal pairs as one HTML page for reading, printing and sending.

    The page is one file under 500 KB without scripts or external resources. It holds both languages, and its reader
    can switch between them; plots are SVG. Equal folders give equal pages.

    Args:
        folders: Folders of runs and studies and JSON files that ``zh-lstm-lm pairs --output`` wrote, or one of them.
        output: The file to write.
        language: The language that is shown first: ``"zh"`` or ``"en"``.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The file.

    Raises:
        DataError: A folder is no run or study, a run has no history yet, the file is there already or cannot be
            written, or there is more than a page can hold.
        CheckpointError: A folder is damaged.
    """
    check_choice("language", language, ("zh", "en"))
    check_path("output", output)
    check_type("overwrite", overwrite, bool)
    named = check_list("folders", folders, "a list of paths", single=(str, PathLike))
    for folder in named:
        check_path("each of the folders", folder)
    paths, target = [Path(folder) for folder in named], Path(output)
    if not paths:
        raise DataError("folders is empty; give the folder of a run or of a study")
    check_page(target, overwrite=overwrite)
    runs: list[Run] = []
    studies: list[tuple[Path, str]] = []
    pairs: list[tuple[str, Mapping[str, Any]]] = []
    for path, name in zip(paths, distinct_names(paths), strict=True):
        if (path / "study.json").is_file():
            studies.append((path, name))
        elif path.is_file():
            pairs.append((name, read_pairs(path)))
        else:
            runs.append(read_run(path, name))
    write_file(target, _page(runs, studies, pairs, language))
    return target


def check_page(target: Path, *, overwrite: bool) -> None:
    """Checks, before long work, that a page can be written; raises a DataError if not."""
    if target.is_dir() or (target.exists() and not overwrite and not is_special(target)):
        hint = "give a file in it" if target.is_dir() else "give another file, or overwrite=True"
        raise DataError(f"{target}: exists already; {hint}")
    if not target.parent.is_dir():
        raise DataError(f"{target}: there is no folder {target.parent}; create it, or give another file")


def _page(
    runs: Sequence[Run],
    studies: Sequence[tuple[Path, str]],
    pairs: Sequence[tuple[str, Mapping[str, Any]]],
    language: str,
) -> bytes:
    """Returns the page, with as many points in its lines as fit into its size."""
    names = ", ".join([*(run.name for run in runs), *(name for _, name in studies), *(name for name, _ in pairs)])
    for max_points in (1500, 600, 200, 60):
        sections = run_sections(runs, max_points=max_points)
        if studies:
            # The kinds of study load torch, which a page of runs does not need.
            from zh_lstm_lm.report.study_sections import study_sections  # noqa: PLC0415

            sections += study_sections(studies, max_points=max_points)
        page = html_page([*sections, *pairs_sections(pairs)], names, language=language).encode("utf-8")
        if len(page) < MAX_BYTES:
            return page
    raise DataError(
        f"{len(runs) + len(studies) + len(pairs)} results do not fit into a page of {MAX_BYTES // 1000} KB; report fewer at a time"
    )


def html_page(sections: Sequence[Section], names: str, *, language: str = "zh") -> str:
    """Returns a page of sections, titled with the names of what they show."""
    # Whatever a folder holds, the browser fetches and runs nothing.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", f"{_TITLE.zh} {_TITLE.en}: {names}"),
        element("style", read_style("page.css") + read_style("plot.css")),
    )
    languages = [("zh", "中文"), ("en", "English")]
    choices = [
        element(
            "input", type="radio", name="language", id=code, class_="choice", aria_label=title,
            checked="checked" if code == language else None,
        )
        for code, title in languages
    ]  # fmt: skip
    labels = [element("label", title, for_=code) for code, title in languages]
    links = [element("a", words, href=f"#section-{anchor}") for anchor, words, _ in sections]
    header = element(
        "header",
        element("div", *labels, class_="languages"),
        element("h1", _TITLE),
        element("p", names),
        element("nav", *links),
    )
    bodies = [
        element("section", element("h2", words), *children, id=f"section-{anchor}")
        for anchor, words, children in sections
    ]
    made = Label(f"由 zh-lstm-lm {__version__} 生成。", f"Created by zh-lstm-lm {__version__}.")
    footer = element("footer", made)
    body = element("body", *choices, header, element("main", *bodies), footer)
    return "<!DOCTYPE html>\n" + serialise(element("html", head, body, lang="zh-CN" if language == "zh" else "en"))
