"""The whole report: what was named is read, and one page is written."""

from collections.abc import Iterable, Sequence
from importlib import resources
from os import PathLike
from pathlib import Path

from zh_lstm_lm._config import check_choice, check_type
from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.labels import Label
from zh_lstm_lm.report.markup import element, in_two_languages, to_html
from zh_lstm_lm.report.parts import Section
from zh_lstm_lm.report.run_sections import run_sections
from zh_lstm_lm.report.runs import Run, distinct_names, read_run
from zh_lstm_lm.report.studies import Study, read_study
from zh_lstm_lm.report.study_sections import study_section
from zh_lstm_lm.user_files import is_special, write_file

__all__ = ["check_page", "write_report"]

MAX_BYTES = 500_000
_TITLE = Label("训练报告", "Training report")


def write_report(
    folders: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    language: str = "zh",
    overwrite: bool = False,
) -> Path:
    """Writes what runs and studies came to as one page of HTML, for reading, printing and sending on.

    The page is one file under 500 KB that needs no network and no scripts. It holds both languages, and its reader can
    change over; plots are SVG. Equal folders give equal pages.

    Args:
        folders: Folders of runs and studies, or one of them.
        output: The file to write.
        language: The language that is shown first: ``"zh"`` or ``"en"``.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        The file.

    Raises:
        DataError: A folder is no run or study, a run has no history yet, the file is there already or cannot be
            written, or there is more than a page can hold.
        CheckpointError: A folder is damaged.
    """
    check_choice("language", language, ("zh", "en"))
    check_type("output", output, str, PathLike)
    named = [folders] if isinstance(folders, (str, PathLike)) else list(folders)
    for folder in named:
        check_type("each of the folders", folder, str, PathLike)
    paths, target = [Path(folder) for folder in named], Path(output)
    if not paths:
        raise DataError("there is nothing to report; give the folder of a run or of a study")
    check_page(target, overwrite=overwrite)
    runs: list[Run] = []
    studies: list[Study] = []
    for path, name in zip(paths, distinct_names(paths), strict=True):
        if (path / "study.json").is_file():
            studies.append(read_study(path, name))
        else:
            runs.append(read_run(path, name))
    write_file(target, _page(runs, studies, language))
    return target


def check_page(target: Path, *, overwrite: bool) -> None:
    """Makes sure that a page can be written there, for before long work.

    Raises:
        DataError: There is something already, or no folder to write it into.
    """
    if target.is_dir() or (target.exists() and not overwrite and not is_special(target)):
        hint = "give a file in it" if target.is_dir() else "give another place, or overwrite=True (--overwrite)"
        raise DataError(f"{target}: exists already; {hint}")
    if not target.parent.is_dir():
        raise DataError(f"{target}: there is no folder {target.parent}; make it, or give another place")


def _page(runs: Sequence[Run], studies: Sequence[Study], language: str) -> bytes:
    """The page, with as many points in its lines as it has room for."""
    for max_points in (1500, 600, 200, 60):
        sections = run_sections(runs, max_points=max_points)
        sections += [study_section(study, number, max_points=max_points) for number, study in enumerate(studies, 1)]
        page = _html(
            sections, ", ".join([*(run.name for run in runs), *(study.name for study in studies)]), language
        ).encode("utf-8")
        if len(page) < MAX_BYTES:
            return page
    raise DataError(
        f"{len(runs) + len(studies)} folders are more than a page of {MAX_BYTES // 1000} KB can hold; report fewer at a time"
    )


def _html(sections: Sequence[Section], names: str, language: str) -> str:
    style = resources.files("zh_lstm_lm.report").joinpath("page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # whatever a folder may hold, nothing is fetched or run
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", f"{_TITLE.zh} {_TITLE.en}: {names}"),
        element("style", style),
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
    links = [element("a", *in_two_languages(words), href=f"#section-{anchor}") for anchor, words, _ in sections]
    header = element(
        "header",
        element("div", *labels, class_="languages"),
        element("h1", *in_two_languages(_TITLE)),
        element("p", names),
        element("nav", *links),
    )
    bodies = [
        element("section", element("h2", *in_two_languages(words)), *children, id=f"section-{anchor}")
        for anchor, words, children in sections
    ]
    made = Label(f"由 zh-lstm-lm {__version__} 生成。", f"Made by zh-lstm-lm {__version__}.")
    footer = element("footer", *in_two_languages(made))
    body = element("body", *choices, header, element("main", *bodies), footer)
    return "<!DOCTYPE html>\n" + to_html(element("html", head, body, lang="zh-CN" if language == "zh" else "en"))
