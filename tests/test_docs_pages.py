"""The pages in both languages: every page, every section and every block of code has its twin."""

import io
import re
import runpy
import tokenize
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(
    {page.name for page in [*DOCS.parent.glob("README.md"), *DOCS.glob("*.md"), *(DOCS / "zh").glob("*.md")]}
)
FENCED = r"^(```+)(\S*)[^\n]*\n(.*?)^\1"


@pytest.fixture(params=PAGES)
def twins(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A page in English and in Chinese."""
    page = request.param
    if page == "README.md":
        return tuple((DOCS.parent / name).read_text(encoding="utf-8") for name in (page, "README.zh-CN.md"))  # type: ignore[return-value]
    for folder, other in ((DOCS, DOCS / "zh"), (DOCS / "zh", DOCS)):
        assert (folder / page).is_file(), f"{other / page} has no twin: write {folder / page}"
    return (DOCS / page).read_text(encoding="utf-8"), (DOCS / "zh" / page).read_text(encoding="utf-8")


def headings(text: str) -> list[tuple[int, str]]:
    """Level and text of each heading down to the third level."""
    plain = re.sub(FENCED, "", text, flags=re.MULTILINE | re.DOTALL)
    return [(len(signs), words) for signs, words in re.findall(r"^(#{1,3}) (.*)$", plain, flags=re.MULTILINE)]


def code(text: str) -> list[str]:
    """The blocks that are run, without their comments."""
    blocks = re.findall(FENCED, text, flags=re.MULTILINE | re.DOTALL)
    return [
        without_comments(block) if language == "python" else re.sub(r"(?<!\S)#.*", "", block)
        for _, language, block in blocks
        if language in ("python", "pycon", "console")
    ]


def without_comments(block: str) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(block).readline)
    return " ".join(
        token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE)
    )


def test_every_section_has_its_twin(twins: tuple[str, str]) -> None:
    english, chinese = map(headings, twins)
    for number in range(max(len(english), len(chinese))):
        here, there = (found[number] if number < len(found) else (0, "nothing") for found in (english, chinese))
        assert here[0] == there[0], f"section {number + 1}: {here[1]} is {there[1]} in Chinese; add what is missing"


def test_code_is_the_same_but_for_comments(twins: tuple[str, str]) -> None:
    english, chinese = map(code, twins)
    assert chinese == english


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, in the form that GitHub and Sphinx give them."""
    found = [re.sub(r"[`*]", "", words).strip().lower() for _, words in headings(page.read_text(encoding="utf-8"))]
    return {re.sub(r"[^\w\- ]", "", words).replace(" ", "-") for words in found}


@pytest.mark.parametrize(
    "page",
    [
        *(DOCS.parent / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted(DOCS.rglob("*.md")),
    ],
    ids=lambda page: page.relative_to(DOCS.parent).as_posix(),
)
def test_links_lead_somewhere(page: Path) -> None:
    if not page.is_file():
        pytest.skip("the files are not beside the tests")
    plain = re.sub(FENCED, "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for file, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", plain):
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name} links to {file}, which is not there; correct the link"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {file}#{anchor}; {target.name} has no such heading"


def test_the_script_of_chinese_search_names_a_stemmer_that_it_has() -> None:
    """Sphinx 9.0's own names one that it has not, and its search finds nothing."""
    sphinx = pytest.importorskip("sphinx", reason="Sphinx comes with the extra docs")
    extension = DOCS / "extensions" / "chinese_search.py"
    if not extension.is_file():
        pytest.skip("the documents are not beside the tests")
    search = runpy.run_path(str(extension))["_Search"]
    script = next(Path(sphinx.__file__).parent.glob(f"search/non-minified-js/{search.js_stemmer_rawcode}"))
    assert f"{search.language_name}Stemmer = function" in script.read_text(encoding="utf-8")
