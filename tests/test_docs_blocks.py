"""Every block of code and every command of the pages and of the README runs, in order, in a folder with small models.

A block that a test cannot run says why in a comment before it: ``<!-- not run: needs a GPU -->``; a comment
``<!-- none is run: … -->`` speaks for all blocks of its page. Where a command is shown with its output, as in ``$ zh-lstm-lm …``, that is
what it prints, numbers within a quarter.
"""

import contextlib
import doctest
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zh_lstm_lm import LSTMLanguageModel, MissingDependencyError, TokenStream, sample_novel
from zh_lstm_lm.cli.main import main

ROOT = Path(__file__).parents[1]
# The twins in docs/zh have the same code, which tests/test_docs_pages.py holds.
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.is_file()]
MEND = "mend the page, or begin the block with <!-- not run: why -->"
# Shorter runs and texts than shown.
SHORTER = [
    (r"--minutes \d+", "--minutes 0.02"),
    (r"max_minutes=\d+", "max_minutes=0.02"),
    (r"max-minutes = \d+", "max-minutes = 0.02"),
    (r"max_epochs=\d+", "max_epochs=1"),
    (r"max_characters=10_000", "max_characters=300"),
    (r"(torchrun [^\n]*)", r"\1 --steps 2"),
    (r"(zh-lstm-lm study seq-len[^#\n]*)", r"\1 --lengths 4 8 --budget 1 --seeds 0 1 "),
    (r"(zh-lstm-lm study epochs[^#\n]*)", r"\1 --shares 0.5 1 --budget 1 --seeds 0 1 "),
    (r"(zh-lstm-lm study vocabulary[^#\n]*)", r"\1 --max-sizes 400 800 --tokenizers jieba --budget 1 --seeds 0 1 "),
    (r"zh-lstm-lm serve\b", "zh-lstm-lm serve --port 0"),
    (r"StudyConfig\(lengths=\(5, 35, 140\)\)", "StudyConfig(lengths=(4, 8), seeds=(0, 1), budget=1)"),
]


class Block(NamedTuple):
    """A block of a page."""

    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    text = page.read_text(encoding="utf-8")
    if re.search(r"^<!-- none is run: \S.* -->$", text, flags=re.MULTILINE):
        return []
    found = []
    fenced = r"(?P<skip><!-- not run: \S.* -->\s+)?^```(?P<language>python|pycon|console)\n(?P<text>.*?)^```$"
    for match in re.finditer(fenced, text, flags=re.MULTILINE | re.DOTALL):
        if not match["skip"]:
            line = text.count("\n", 0, match.start("text"))
            found.append(Block(line, match["language"], match["text"].replace("\\\n", " ")))
    return found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that most pages begin with: novels, a model of each kind and its run."""
    folder = tmp_path_factory.mktemp("made")
    text = sample_novel()
    for name, start in (
        ("novels/1.txt", 0),
        ("novels/三侠五义.txt", 3000),
        ("one-author/1.txt", 6000),
        ("test/1.txt", 9000),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text[start : start + 3000], encoding="utf-8")
    options = ["--epochs", "1", "--embedding-dim", "8", "--hidden-size", "8", "--min-freq", "1", "--quiet"]
    assert main(["train", str(folder / "novels"), "--output", str(folder / "wuxia"), *options]) == 0
    for name in ("wuxia-lstm", "other-model", "old-model", "new-model"):
        LSTMLanguageModel.from_pretrained(folder / "wuxia").save_pretrained(folder / name)
    return folder


def prepare(page: str, made: Path) -> dict[str, Any]:
    """Puts the files that pages name into the working folder, and returns the names that their code begins with."""
    for source in made.iterdir():
        if not (source.name.startswith("wuxia") and f"--output {source.stem} " in page):
            shutil.copytree(source, source.name)
    text = sample_novel()
    tokens = ["<blk>", *sorted(set(text[:6000]) - {"\n"})]
    for name, content in {
        "another-novel.txt": text[9000:11_000],
        "generated.txt": text[500:600],
        "written.txt": text[500:600],
        "lines.txt": "展爷大喜。\n白玉堂笑道：“好！”\n",
        "names.txt": "展昭 2000\n陷空岛\n",
        "n-best.txt": "utt1-1 展爷 大喜\nutt1-2 展爷 大戏\n",
        "n-best.tsv": "a\t-3.2\t展爷大喜\na\t-3.1\t展爷大戏\n",
        "n-best.jsonl": '{"list": "utt1", "score": -3.2, "text": "展爷大喜"}\n',
        "stimuli.tsv": "item\tsentence\tcontext\n1\t展爷大喜。\t白玉堂笑道：\n",
        "reading.csv": "sentence,region\n展爷大喜。,展爷\n展爷大喜。,大喜。\n",
        "given.tsv": "words\n展爷 大喜 。\n",
        "pairs.tsv": "good\tbad\n展爷笑道\t展爷道笑\n",
        "minimal-pairs.jsonl": '{"good": "二人都来了", "bad": "二人来了都"}\n',
        "zhoblimp.jsonl": '{"sentence_good": "二人都来了", "sentence_bad": "二人来了都", "paradigm": "quantifiers"}\n',
        "tokens.txt": "".join(f"{token} {number}\n" for number, token in enumerate(tokens)),
    }.items():
        Path(name).write_text(content, encoding="utf-8")
    train, valid, test = TokenStream.from_files("novels/").split(valid=0.1, test=0.1)
    model = LSTMLanguageModel.from_pretrained("wuxia-lstm")
    return {"__name__": "page", "model": model, "other": model, "train": train, "valid": valid, "test": test}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_a_page_run(
    page: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nobody types, and no server waits for requests.
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    monkeypatch.setattr("zh_lstm_lm.integrations.http_server.run_server", lambda *_: None)
    found = blocks(page)
    names = prepare(page.read_text(encoding="utf-8"), made) if found else {}
    for block in found:
        place = f"{page.name}:{block.line + 1}"
        text = block.text
        for shown, shorter in SHORTER:
            text = re.sub(shown, shorter, text)
        if block.language == "python":
            try:
                with contextlib.suppress(MissingDependencyError):
                    exec(compile("\n" * block.line + text, place, "exec"), names)
            except Exception as error:
                raise AssertionError(f"{place} does not run: {error!r}; {MEND}") from error
        elif block.language == "pycon":
            run_session(text, names, place)
        else:
            for command, output in commands(text):
                status = run(command, place)
                captured = capsys.readouterr()
                # An optional package that is not installed here is an error with the command that installs it.
                if "pip install 'zh-lstm-lm[" not in captured.err:
                    expected = 2 if any("error: " in line for line in output) else 0
                    assert status == expected, f"{place}: {command} fails; {MEND}\n{captured.err}"
                    compare(output, captured.err + captured.out, f"{place}: {command}")


def run_session(text: str, names: dict[str, Any], place: str) -> None:
    """Runs an interactive session and compares what it shows."""
    session = doctest.DocTestParser().get_doctest(text, names, place, place, 0)
    wrong: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(session, out=wrong.append, clear_globs=False)
    names.update(session.globs)
    assert not wrong, "".join(wrong)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines of output that are shown below it."""
    prompted = text.startswith("$ ")
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ ") or not prompted:
            found.append((line.removeprefix("$ "), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def run(command: str, place: str) -> int:
    """Runs a command line, the library's own commands in this process."""
    name, *arguments = shlex.split(command, comments=True)
    if (name, *arguments[:2]) == ("python", "-m", "zh_lstm_lm"):
        name, arguments = "zh-lstm-lm", arguments[2:]
    if name == "zh-lstm-lm":
        try:
            return main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)
    arguments = [str(ROOT / given) if given.startswith("examples/") else given for given in arguments]
    program = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
    assert name in program, f"{place}: {name} cannot be run here; begin the block with <!-- not run: why -->"
    done = subprocess.run([*program[name], *arguments], capture_output=True, encoding="utf-8", check=False)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def compare(shown: list[str], printed: str, place: str) -> None:
    """Every line that is shown was printed; … stands for what is left out.

    How much of a text that a model wrote is new depends on the text, which is another with another PyTorch or processor.
    """
    rest = printed.splitlines()
    of_written = "zh-lstm-lm novelty " in place
    for line in shown:
        if line.strip() != "…":
            found = next(
                (number for number, other in enumerate(rest) if alike(line, other, any_number=of_written)), None
            )
            assert found is not None, f"{place} does not print: {line}\n{printed}"
            rest.pop(found)


NUMBER = r"\d[\d,]*(?:\.\d+)?"
TIME = r"\s*(?:s|ms|min|seconds|minutes|tokens/s)\b"


def alike(shown: str, printed: str, *, any_number: bool = False) -> bool:
    """Whether two lines say the same: equal words, numbers within a quarter, and times of any length.

    Chinese text that a model wrote is like any other, since a seed gives other texts with another PyTorch.
    """
    if is_written(shown):
        return is_written(printed)
    parts = re.split(rf"({NUMBER}|…|\s+)", shown.strip())
    kinds = [
        ("(.*)" if part == "…" else rf"({NUMBER})" if re.fullmatch(NUMBER, part) else r"(\s+)") for part in parts[1::2]
    ]
    pattern = re.escape(parts[0]) + "".join(
        kind + re.escape(rest) for kind, rest in zip(kinds, parts[2::2], strict=True)
    )
    match = re.fullmatch(pattern, printed.strip())
    if match is None:
        return False
    for number, (part, rest) in enumerate(zip(parts[1::2], parts[2::2], strict=True), 1):
        if re.fullmatch(NUMBER, part):
            expected, value = (float(found.replace(",", "")) for found in (part, match[number]))
            following = rest or "".join(parts[2 * number + 1 : 2 * number + 3])
            if not any_number and abs(value - expected) > abs(expected) / 4 and not re.match(TIME, following):
                return False
    return True


def is_written(line: str) -> bool:
    """Whether a line is a passage of Chinese."""
    return len(re.findall("[\u4e00-\u9fff]", line)) > max(12, len(line) / 2)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("test: 6.41 bits/character, 12.1 s", "test: 6.52 bits/character, 90 s", True),
        ("test: 6.41 bits/character, 12.1 s", "test: 9.52 bits/character, 12.1 s", False),
        ("novels/: 3 files, 1,204 words", "novels/: 3 files, 1,190 words", True),
        ("novels/: 3 files, …", "novels/: 3 files, and more", True),
        ("3 files", "3 folders", False),
        ("话说展爷大喜，出了店门，只见白玉堂站在那里。", "二人来到酒店，店小二忙迎上来，说道请坐请坐。", True),
        ("话说展爷大喜，出了店门，只见白玉堂站在那里。", "error: no such file", False),
    ],
)
def test_lines_are_compared_loosely_but_not_blindly(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed) is same
