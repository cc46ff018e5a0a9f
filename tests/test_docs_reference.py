"""The pages of reference are complete: every module has a phrase, every public name a description."""

import argparse
import re
from pathlib import Path

import pytest

import zh_lstm_lm
from zh_lstm_lm import LimitOptions, SamplerConfig, errors
from zh_lstm_lm.cli.main import _parser

PACKAGE = Path(zh_lstm_lm.__file__).parent
TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


def page(name: str) -> str:
    if not (DOCS / name).is_file():
        pytest.skip("the documents are not beside the tests")
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_folder_tree_lists_every_module_with_a_phrase() -> None:
    tree = re.findall(r"```text\n(.*?)```", page("architecture.md"), flags=re.DOTALL)[0]
    listed, folder = [], ""
    for line in tree.splitlines():
        indent, name, phrase = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        assert phrase
        if name.endswith("/"):
            folder = name
        else:
            listed.append(folder + name if indent else name)
    modules = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" or path.parent == PACKAGE
    ]
    assert sorted(listed) == sorted(modules)


def test_the_reference_has_every_public_name() -> None:
    described = set(re.findall(r"auto(?:class|function):: (\w+)", page("api.md")))
    public = {name for name in zh_lstm_lm.__all__ if name != "__version__" and not hasattr(errors, name)}
    assert described == public


def test_the_members_of_the_reference_exist() -> None:
    listed = re.findall(r"autoclass:: (\w+)\n +:members: ([\w, ]+)", page("api.md"))
    assert len(listed) > 10
    for name, members in listed:
        for member in members.split(", "):
            known = getattr(zh_lstm_lm, name)
            assert hasattr(known, member) or member in known.__annotations__, f"{name}.{member}"


def test_tests_that_the_guide_to_reading_names_exist() -> None:
    rows = [line for line in page("reading.md").splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) > 30
    for row in rows:
        file = ""
        for named, test in re.findall(r"`(?:([\w/]+\.py)|…)::(test_\w+)`", row):
            file = named or file
            assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8"), row


def test_the_guide_to_writing_names_every_option() -> None:
    guide = page("writing.md")
    named = set(re.findall(r"`(\w+)(?:=[^`]*)?`", guide)) | set(re.findall(r"(\w+)=", guide))
    assert set(LimitOptions.__annotations__) <= named
    assert set(SamplerConfig.option_names()) <= named


def test_every_public_name_has_an_example_that_runs() -> None:
    """The blocks are run by tests/test_docs_blocks.py."""
    examples = "".join(
        re.findall(r"^```(?:pycon|python)\n(.*?)^```", page("api.md") + page("errors.md"), re.MULTILINE | re.DOTALL)
    )
    public = {name for name in zh_lstm_lm.__all__ if name != "__version__"}
    assert {name for name in public if not re.search(rf"\b{name}\b", examples)} == set()


def test_the_page_of_the_command_line_has_every_command() -> None:
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    described = re.findall(r"^```\{command\} (\w+)$", page("cli.md"), re.MULTILINE)
    assert sorted(described) == sorted(commands.choices)


def test_the_page_on_installing_has_every_extra() -> None:
    project = (TESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    table = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", table, re.MULTILINE)) - {"dev", "docs", "kenlm"}
    rows = [line.partition(" | ")[0] for line in page("install.md").splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == extras
