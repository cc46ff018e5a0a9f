"""``--config FILE.toml``: every option of every command, what wins, and files that are refused."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm.cli.main import _parser, main

Actions = dict[tuple[str, str], argparse.Action]
POSITIONAL = {
    "train": ["novels"],
    "evaluate": ["model", "novels"],
    "score": ["model"],
    "rescore": ["model", "file"],
    "suggest": ["model", "left"],
    "novelty": ["text", "novels"],
    "pairs": ["model", "file"],
    "generate": ["model"],
    "study": ["seq-len"],
    "report": ["run"],
    "export": ["model"],
    "serve": ["model"],
    "info": ["model"],
    "inspect": ["novels"],
    "cache": [],
    "demo": [],
}
VALUES = ["3", "0.5", "utf-8", "wuxia", "展昭=2", "wuxia.html"]


def parse(*words: str) -> dict[str, Any]:
    """The options of a command without those that are no options."""
    parsed = vars(_parser().parse_args([*words]))
    return {name: value for name, value in parsed.items() if name not in ("parser", "config", "run")}


def required(actions: Actions, command: str, *, without: str) -> list[str]:
    words = []
    for (name, option), action in actions.items():
        if name == command and action.required and option != without:
            words += [option, str(next(iter(action.choices or ["file.html"])))]
    return words


def accepted(command: str, rest: list[str], option: str, action: argparse.Action) -> tuple[list[str], str]:
    """Words that the command line takes for an option, and the same in TOML."""
    if action.nargs == 0:
        return [option], "true"
    several = action.nargs == "+" or isinstance(action, argparse._AppendAction)
    for word in (*(map(str, action.choices or ())), *VALUES):
        try:
            value = parse(command, *rest, option, word)[action.dest]
        except SystemExit:
            continue
        single = value[0] if several else value
        literal = word if isinstance(single, (int, float)) else json.dumps(word)
        if not several:
            return [option, word], literal
        again = [option, word] if isinstance(action, argparse._AppendAction) else [word]
        return [option, word, *again], f"[{literal}, {literal}]"
    raise AssertionError(f"no value for {command} {option}")


def test_every_option_of_every_command_may_stand_in_a_file(
    actions: Actions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {command for command, _ in actions} == POSITIONAL.keys()
    file = tmp_path / "options.toml"
    for (command, option), action in actions.items():
        if option in ("--config", "-k"):
            continue
        before = POSITIONAL[command]
        rest = required(actions, command, without=option)
        words, literal = accepted(command, [*before, *rest], option, action)
        file.write_text(f"{option[2:]} = {literal}\n", encoding="utf-8")
        typed = parse(command, *before, *rest, *words)
        assert parse(command, *before, *rest, "--config", str(file)) == typed, (command, option)
        file.write_text(f"{option[2:].replace('-', '_')} = {literal}\n", encoding="utf-8")
        assert parse(command, f"--config={file}", *before, *rest) == typed, (command, option)
    capsys.readouterr()


def write(folder: Path, text: str, name: str = "options.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfmax-epochs = 7\r\nquiet = true\r\n")
    parsed = parse("train", "novels", "--output", "m", "--config", str(tmp_path / "a.toml"))
    assert (parsed["max_epochs"], parsed["quiet"]) == (7, True)


@pytest.mark.parametrize(
    "words",
    [
        ["score", "m", "--per", "text", "展昭"],
        ["score", "--per", "text", "m", "展昭"],
        ["score", "m", "展昭", "--per", "text"],
        ["suggest", "m", "--quiet", "展", "昭"],
        ["suggest", "m", "展", "--quiet", "昭"],
        ["train", "a.txt", "--output", "m", "b.txt"],
        ["evaluate", "m", "--temperature", "1", "a.txt", "--quiet", "b.txt"],
        ["novelty", "a.txt", "--quiet", "b.txt"],
    ],
)
def test_options_stand_anywhere_among_the_other_arguments(words: list[str]) -> None:
    options = [(at, word) for at, word in enumerate(words) if word.startswith("--")]
    last = {at + extra for at, word in options for extra in range(1 if word == "--quiet" else 2)}
    plain = [word for at, word in enumerate(words) if at not in last]
    assert parse(*words) == parse(*plain, *(words[at] for at in sorted(last)))


def test_a_text_and_a_file_exclude_each_other_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["m", "展昭", "--file", "a"], ["m", "--file", "a", "展昭"], ["--file", "a", "m", "展昭"]):
        with pytest.raises(SystemExit):
            parse("score", *words)
        assert "not allowed with argument" in capsys.readouterr().err


def test_the_command_line_wins(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
epochs = 7          # an option's other name
learning-rate = 1
tie-weights = true
valid-file = ["a.txt", "b.txt"]
test-file = "c.txt"
output = "~/model"
""",
    )
    parsed = parse("train", "novels", "--config", file, "--max-epochs", "2", "--valid-file", "d.txt")
    assert (parsed["max_epochs"], parsed["valid_file"]) == (2, ["d.txt"])
    assert (parsed["learning_rate"], parsed["tie_weights"], parsed["test_file"]) == (1.0, True, ["c.txt"])
    assert parsed["output"] == str(Path("~/model").expanduser())
    assert parse("train", "novels", "--config", file)["max_epochs"] == 7
    file = write(tmp_path, 'stop = ["甲", "乙"]\ncache = false')
    assert parse("generate", "m", "--config", file, "--stop", "丙")["stop"] == ["丙"], "it is not added to the file's"
    assert parse("generate", "m", "--config", file, "--cache")["cache"] is True
    assert parse("generate", "m", "--config", file)["cache"] is False


def test_an_option_drops_those_of_the_file_that_it_excludes(tmp_path: Path) -> None:
    file = write(tmp_path, "temperature = 1.5")
    assert parse("evaluate", "m", "t", "--config", file)["temperature"] == 1.5
    parsed = parse("evaluate", "m", "t", "--config", file, "--dynamic")
    assert (parsed["dynamic"], parsed["temperature"]) == (True, 1.0)


def test_a_false_switch_is_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, "no-ngram = false\nresume = false")
    assert parse("train", "t", "--output", "m", "--config", file) == parse("train", "t", "--output", "m")
    file = write(tmp_path, "tie-weights = false")
    assert parse("train", "t", "--output", "m", "--config", file)["tie_weights"] is False, "its default is another one"


def test_later_files_win(tmp_path: Path) -> None:
    first = write(tmp_path, "max-tokens = 5\nport = 1", "a.toml")
    second = write(tmp_path, "max-tokens = 6", "b.toml")
    parsed = parse("serve", "m", "--config", first, "--config", second)
    assert (parsed["max_tokens"], parsed["port"]) == (6, 1)


def test_commands_run_with_a_file(place: Any) -> None:
    Path("score.toml").write_text('per = "text"\nformat = "jsonl"\nfile = "novels/0.txt"\nencoding = "gb18030"\n')
    assert place.run("score", "model", "--config", "score.toml") == place.run(
        "score", "model", "--per", "text", "--format", "jsonl", "--file", "novels/0.txt", "--encoding", "gb18030"
    )
    Path("write.toml").write_text('seed = 3\nmax-characters = 40\nban = ["展"]\n', encoding="utf-8")
    shown = place.run("generate", "model", "--config", "write.toml")
    assert shown == place.run("generate", "model", "--seed", "3", "--max-characters", "40", "--ban", "展")
    assert shown != place.run("generate", "model", "--config", "write.toml", "--seed", "4")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max-epoch = 3", "options.toml: no such option: max-epoch; did you mean 'max-epochs'?"),
        ("config = 'a'", "no such option: config"),
        ("max-epochs = '3'", "options.toml: max-epochs must be a number, got '3'"),
        ("max-epochs = 3.5", "options.toml: max-epochs: invalid int value: '3.5'"),
        ("max-epochs = true", "max-epochs must be a number or a string, got True"),
        ("max-epochs = [1, 2]", "max-epochs must be a number or a string, got [1, 2]"),
        ("max-epochs = 2020-01-01", "max-epochs must be a number or a string, got datetime.date"),
        ("device = 3", "device must be a string, got 3"),
        ('run-dir = "a\\u0000"', "options.toml: run-dir: must be a path, got 'a\\x00'"),
        ("unknown = 'bytes'", "unknown: invalid choice: 'bytes'"),
        ("workers = 0", "workers: must be an integer of at least 1, got '0'"),
        ("resume = 1", "resume must be true or false, got 1"),
        ("valid-file = []", "valid-file must have at least one value"),
        ("valid-file = [['a']]", "valid-file must be a number or a string or a list, got ['a']"),
        ("[train]\nseed = 1", "no such option: train"),
        ("epochs = 1\nmax-epochs = 1", "max-epochs and max-epochs exclude each other"),
        ("seed = ", "options.toml: not valid TOML"),
        ("seed = 1\nseed = 2", "not valid TOML"),
        ("\udcff", "not valid TOML"),
    ],
)
def test_files_that_are_refused(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("options.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["train", "novels", "--output", "model", "--config", "options.toml"]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "options.toml"]


def test_options_that_exclude_each_other_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "m", "t", "--config", write(tmp_path, "cache = true\ndynamic = true")]) == 2
    assert "dynamic and cache exclude each other" in capsys.readouterr().err


def test_a_file_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "no.toml", tmp_path):
        assert main(["info", "m", "--config", str(path)]) == 2
        assert f"{path}: cannot be read" in capsys.readouterr().err


def test_what_the_file_lacks_is_still_required(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "novels", "--config", write(tmp_path, "seed = 1")])
    assert "required: --output" in capsys.readouterr().err


def test_python_3_10_reads_toml_by_tomli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "seed = 5\noutput = 'm'")
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    monkeypatch.setitem(sys.modules, "tomli", None)
    assert main(["train", "t", "--config", file]) == 2
    assert "pip install 'zh-lstm-lm[toml]'" in capsys.readouterr().err
    monkeypatch.undo()
    pytest.importorskip("tomli", reason="Python 3.11 needs no tomli")
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert parse("train", "t", "--config", file)["seed"] == 5
