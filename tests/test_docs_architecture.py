"""The architecture page lists every module of the package, each with a phrase."""

import re
from pathlib import Path

import pytest

import zh_lstm_lm

PACKAGE = Path(zh_lstm_lm.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_the_folder_tree_lists_every_module_with_a_phrase() -> None:
    if not PAGE.is_file():
        pytest.skip("the page is not beside the tests")
    tree = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
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
