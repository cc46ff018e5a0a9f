"""The examples as scripts and as a notebook, on the bundled novella and on a folder of novels."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zh_lstm_lm import ContinuousCache, LSTMLanguageModel, from_pretrained

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*arguments: str, example: str = "jinyong.py") -> "subprocess.CompletedProcess[str]":
    if not (EXAMPLES / example).is_file():
        pytest.skip("the examples are not beside the tests")
    command = [sys.executable, "-X", "utf8", str(EXAMPLES / example), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def test_bundled_novella_trains_and_writes(tmp_path: Path) -> None:
    done = run("--epochs", "2", "--length", "300", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for epoch in (1, 2):
        assert re.search(rf"^epoch {epoch} .*valid perplexity", done.stdout, re.MULTILINE)
    assert len((tmp_path / "generated.txt").read_text(encoding="utf-8")) == 300
    assert isinstance(from_pretrained(tmp_path / "model"), ContinuousCache)
    bits = dict(re.findall(r"^test, (.*): (\d\.\d+) bits/character$", done.stdout, re.MULTILINE))
    assert [*bits] == ["LSTM", "4-gram", "LSTM + 4-gram"]
    whole = re.search(r"^test: (\d\.\d+) bits/character", done.stdout, re.MULTILINE)
    assert whole is not None
    assert float(whole[1]) < min(map(float, bits.values()))


def test_folder_with_its_list_of_titles_adverts_and_indents(tmp_path: Path, texts: list[str]) -> None:
    novels = tmp_path / "novels"
    novels.mkdir()
    (novels / "inf.txt").write_bytes("飞狐外传,雪山飞狐,连城诀,天龙八部".encode("gbk"))
    for number, text in enumerate(texts):
        body = "".join(f"　　{line}\r\n" for line in (text * 20).splitlines())
        advert = "本书来自www.example.com免费txt小说下载站\r\n更多更新免费电子书请关注www.example.com\r\n"
        broken = body.encode("gb18030") + b"\xb2 \r\n"  # half a character, as in circulating copies
        (novels / f"{number}.txt").write_bytes(advert.encode("gb18030") + broken + advert.strip().encode("gb18030"))
    done = run("--corpus", str(novels), "--minutes", "0.05", "--length", "100", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 documents")
    assert "inf.txt" in done.stderr
    assert len((tmp_path / "out" / "generated.txt").read_text(encoding="utf-8")) == 100


def test_missing_folder_is_reported_in_a_line() -> None:
    done = run("--corpus", "no-such-folder")
    assert done.returncode != 0
    assert done.stderr.strip() == "jinyong.py: no-such-folder: no such file or folder"


def test_study_of_window_lengths_goes_from_a_folder_to_claims(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "novel.txt").write_text("".join(texts) * 12, encoding="utf-8")
    options = ["--corpus", str(tmp_path / "novel.txt"), "--lengths", "4", "16", "--seeds", "0", "1", "--budget", "1"]
    done = run(*options, "--output", str(tmp_path / "study"), example="seq_length_study.py")
    assert done.returncode == 0, done.stderr
    assert "4/4  bptt_len 16, seed 1:" in done.stdout
    assert "Longer segments take more memory. holds: " in done.stdout
    assert "generated text" in done.stdout
    assert (tmp_path / "study" / "study.json").is_file()
    refused = run(*options[:-1], "2", "--output", str(tmp_path / "study"), example="seq_length_study.py")
    assert refused.returncode != 0
    assert refused.stderr.strip().startswith(f"seq_length_study.py: {tmp_path / 'study'}: holds a study with budget=1")


EXPECTED = {  # what each prints with a model of the tests, which is saved beside
    "embed_in_your_project.py": r"0: '雪下了.*'\n1: '雪下了.*'\nrefused: .* lone surrogate .*\n",
    "rescore_candidates.py": r"( +-\d+\.\d\d +-\d+\.\d\d  他把.*\n){3}doubtful: .* bits\)\n",
    "surprisal_table.py": r"sentence\tstart\tword\tsurprisal\n([12]\t\d\t\S+\t\d+\.\d{3}\n)+",
}


@pytest.mark.parametrize("example", EXPECTED)
def test_an_example_takes_a_saved_model(example: str, model: LSTMLanguageModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    done = run(str(tmp_path / "model"), example=example)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(EXPECTED[example], done.stdout), done.stdout


def test_a_text_is_told_to_be_of_its_author(tmp_path: Path, texts: list[str]) -> None:
    for name, text in zip(("one", "other"), texts, strict=False):
        (tmp_path / f"{name}.txt").write_text(text * 4, encoding="utf-8")
    done = run(*(str(tmp_path / f"{name}.txt") for name in ("one", "other", "one")), example="two_authors.py")
    assert done.returncode == 0, done.stderr
    difference = re.match(r"B - A: ([+-]\d+\.\d+) bits/character", done.stdout)
    assert difference is not None
    assert float(difference[1]) > 0


@pytest.mark.parametrize("example", [*EXPECTED, "jinyong.py", "seq_length_study.py", "two_authors.py"])
def test_an_example_is_short(example: str) -> None:
    if not (EXAMPLES / example).is_file():
        pytest.skip("the examples are not beside the tests")
    assert len((EXAMPLES / example).read_text(encoding="utf-8").splitlines()) < 60


def test_the_notebook_runs_and_shows_its_outputs() -> None:
    path = EXAMPLES / "first_steps.ipynb"
    if not path.is_file():
        pytest.skip("the examples are not beside the tests")
    names: dict[str, object] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)
            shown = "".join("".join(output["text"]) for output in cell["outputs"])
            assert bool(printed.getvalue()) == bool(shown), "run the notebook and save it with its outputs"
