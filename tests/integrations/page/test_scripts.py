"""The page's scripts and styles: unit tests in Node, the linter, and the contrast of the colours."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import zh_lstm_lm.integrations.page
from zh_lstm_lm.integrations.page import export

HERE = Path(__file__).parent
SOURCES = Path(zh_lstm_lm.integrations.page.__file__).parent
NODE, ESLINT = shutil.which("node"), shutil.which("eslint")


def run(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("tests", sorted(each.name for each in HERE.glob("*.test.mjs")))
def test_the_scripts_pass_their_unit_tests(tests: str) -> None:
    run(NODE, "--test", HERE / tests)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("script", sorted(each.relative_to(SOURCES) for each in SOURCES.rglob("*.mjs")), ids=str)
def test_a_script_is_well_formed(script: Path) -> None:
    run(NODE, "--check", SOURCES / script)


@pytest.mark.skipif(ESLINT is None, reason="eslint is not installed (npm install --global eslint)")
def test_the_scripts_pass_the_linter() -> None:
    run(ESLINT, "--config", HERE / "eslint.config.mjs", *SOURCES.rglob("*.mjs"))


def test_a_script_s_names_are_its_own() -> None:
    """The page joins its scripts, so what one declares at its top would replace what another does."""
    for scripts in (export.WORKER_SCRIPTS, export.PAGE_SCRIPTS):
        names = [
            name
            for script in scripts
            for name in re.findall(
                r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)",
                (SOURCES / script).read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        ]
        assert len(names) > 20
        assert sorted(names) == sorted(set(names))
    assert {*export.WORKER_SCRIPTS, *export.PAGE_SCRIPTS} == {
        each.relative_to(SOURCES).as_posix() for each in SOURCES.rglob("*.mjs")
    }


def test_every_element_has_a_name_of_its_own() -> None:
    html = (SOURCES / "page.html").read_text(encoding="utf-8")
    names = re.findall(r'\bid="([\w-]+)"', html)
    assert sorted(names) == sorted(set(names))
    # Labels, descriptions and lists name what is there, and every text stands in both languages.
    named = re.findall(r'\b(?:for|list|aria-labelledby|aria-describedby)="([^"]+)"', html)
    assert {name for each in named for name in each.split()} <= set(names)
    assert html.count("data-zh=") == html.count("data-en=") > 30


Colour = tuple[float, float, float]


def colour(value: str) -> Colour:
    digits = value.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * each for each in digits)
    red, green, blue = (int(digits[start : start + 2], 16) for start in (0, 2, 4))
    return red, green, blue


def contrast(first: Colour, second: Colour) -> float:
    """The contrast of WCAG 2.2."""

    def luminance(own: Colour) -> float:
        linear = [
            each / 255 / 12.92 if each <= 0.04045 * 255 else ((each / 255 + 0.055) / 1.055) ** 2.4 for each in own
        ]
        return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted([luminance(first), luminance(second)])
    return (lighter + 0.05) / (darker + 0.05)


def schemes() -> list[dict[str, str]]:
    """The colours by name, light and dark."""
    css = (SOURCES / "page.css").read_text(encoding="utf-8")
    found = [dict(re.findall(r"--([\w-]+): ([^;]+);", block)) for block in re.findall(r":root \{([^}]*)\}", css)]
    assert [sorted(each) for each in found] == [sorted(found[0])] * 2
    # No other colour is named in the rules.
    assert not re.search(r"#[0-9a-f]{3}", css.split("\n", 2)[2])
    return found


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
def test_text_has_contrast(scheme: dict[str, str]) -> None:
    colours = {name: colour(value) for name, value in scheme.items() if name != "heat"}
    for text, ground in itertools.product(["ink", "soft"], ["paper", "sheet"]):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["on-seal"], colours["seal"]) >= 4.5
    for ground in ("paper", "sheet"):
        # The borders of fields and buttons, and the outline of what has the focus.
        assert contrast(colours["edge"], colours[ground]) >= 3
        assert contrast(colours["seal"], colours[ground]) >= 3
    red, green, blue = (float(each) * 0.6 for each in scheme["heat"].split(","))
    sheet = colours["sheet"]
    strongest = red + 0.4 * sheet[0], green + 0.4 * sheet[1], blue + 0.4 * sheet[2]
    assert contrast(colours["ink"], strongest) >= 4.5
