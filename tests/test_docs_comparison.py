"""The comparison with the field: every answer of yes names a test that exists."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "comparison.md"


def test_every_yes_names_a_test_that_exists() -> None:
    if not PAGE.is_file():
        pytest.skip("the page is not beside the tests")
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.count(" | ") == 3]
    answers = [row for row in rows if row[1] in ("yes", "no")]
    assert len(answers) > 35
    for what, answer, _, held_by in answers:
        named = re.findall(r"`([\w/]*test_\w+\.py)::(test_\w+)`", held_by)
        assert named or answer == "no", what
        for file, test in named:
            assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8"), f"{what}: {file}::{test}"
