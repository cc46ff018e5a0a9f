"""The command line: what a user types, sees, and gets back as exit status."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, __version__, evaluate, from_pretrained, novelty
from zh_lstm_lm.cli.main import main

SMALL = ["--tokenizer", "characters", "--embedding-dim", "8", "--hidden-size", "16", "--min-freq", "1"]


@pytest.fixture(scope="module")
def novels(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("novels")
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text * 8, encoding="gb18030")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, novels: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    assert main(["train", str(novels), "--output", str(folder), "--epochs", "2", "--quiet", *SMALL]) == 0
    return folder


def run(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **dict(options.pop("env", {}))}  # type: ignore[call-overload]
    command = [sys.executable, "-m", "zh_lstm_lm", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_help_loads_neither_torch_nor_jieba() -> None:
    code = "import sys, zh_lstm_lm.cli.main as c\ntry: c.main(['train', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'jieba', 'numpy', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.endswith("[]\n")
    assert "--max-minutes" in done.stdout


@pytest.mark.parametrize(
    ("words", "one"),
    [
        (["generate", "no-model"], True),
        (["suggest", "no-model", "展"], True),
        (["rescore", "no-model", "no-file"], True),
        (["serve", "no-model"], True),
        (["score", "no-model", "展"], False),
        (["evaluate", "no-model", "no-file"], False),
        (["train", "no-file", "--output", "m"], False),
    ],
)
def test_threads_are_settled_for_a_process_of_its_own(
    words: list[str], one: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settled: list[bool] = []
    monkeypatch.setattr("zh_lstm_lm.cli.main.settle_threads", lambda *, one: settled.append(one))
    monkeypatch.setattr(sys, "argv", ["zh-lstm-lm", *words])
    assert main() == 2
    assert settled == [one]
    assert main(words) == 2
    assert settled == [one]


def test_threads_are_settled_before_torch_is_loaded() -> None:
    code = "import sys, zh_lstm_lm.cli.main as c\nsys.argv = ['zh-lstm-lm', 'info', 'no-model']\n"
    code += "c.settle_threads = lambda one: print('torch' in sys.modules)\nc.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "False\n"


def test_train_prints_each_epoch_and_saves_a_model(
    novels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    assert main(["train", str(novels), "--output", str(output), "--epochs", "3", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert shown.count("valid perplexity") == 3
    assert shown.count("bits/character") >= 4
    assert LSTMLanguageModel.from_pretrained(output).training_summary["epochs"] == 3.0
    assert len((tmp_path / "model.run" / "history.jsonl").read_text().splitlines()) == 3


def test_minutes_alone_choose_the_size(novels: Path, tmp_path: Path, options_of: Callable[..., Any]) -> None:
    output = tmp_path / "model"
    asked = options_of(ModelConfig, "for_budget")
    command = ["train", str(novels), "--output", str(output), "--minutes", "0.01", "--tokenizer", "characters"]
    assert main(command) == 0
    assert json.loads((output / "config.json").read_text())["hidden_size"] == 128
    assert asked == [{"minutes": 0.01, "device": "auto"}]
    given = ["--dropout", "0.5", "--num-layers", "2", "--seed", "3", "--device", "cpu"]
    assert main([*command[:3], str(tmp_path / "others"), *command[4:], *given]) == 0
    config = json.loads((tmp_path / "others" / "config.json").read_text())
    assert [config[name] for name in ("hidden_size", "dropout", "num_layers", "seed")] == [128, 0.5, 2, 3]
    assert asked[1]["device"] == "cpu"


@pytest.mark.parametrize(
    "words", [["--hidden-size", "8"], ["--embedding-dim", "8"], ["--steps", "1"], ["--epochs", "1"]]
)
def test_minutes_beside_a_size_or_another_budget_leave_the_sizes(
    words: list[str], novels: Path, tmp_path: Path
) -> None:
    command = ["train", str(novels / "0.txt"), "--output", str(tmp_path / "m"), "--tokenizer", "characters"]
    assert main([*command, "--no-ngram", "--minutes", "0.02", *words]) == 0
    sizes = {"embedding_dim": 192, "hidden_size": 384}
    sizes.update({words[0][2:].replace("-", "_"): 8} if words[1] == "8" else {})
    assert sizes.items() <= json.loads((tmp_path / "m" / "config.json").read_text()).items()


def test_finished_run_is_refused_without_resume_and_loaded_with_it(
    novels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(novels), "--output", str(tmp_path / "m"), "--epochs", "1", *SMALL]
    assert main(command) == 0
    first = (tmp_path / "m" / "model.safetensors").read_bytes()
    assert main(command) == 2
    assert "resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == first


def test_train_goes_on_from_a_saved_model_with_its_vocabulary(trained: Path, novels: Path, tmp_path: Path) -> None:
    output = tmp_path / "next"
    command = ["train", str(novels / "2.txt"), "--from", str(trained), "--output", str(output), "--epochs", "6"]
    assert main([*command, "--learning-rate", "0.01", "--quiet"]) == 0
    before, after = LSTMLanguageModel.from_pretrained(trained), LSTMLanguageModel.from_pretrained(output)
    assert list(after.vocabulary) == list(before.vocabulary)
    stream = TokenStream.from_files(novels / "2.txt", tokenizer="characters")
    assert evaluate(after, stream).loss < evaluate(before, stream).loss


@pytest.mark.parametrize(
    "settled",
    [
        *(["--min-freq", "2"], ["--hidden-size", "16"], ["--softmax", "full"], ["--tie-weights"]),
        *(["--tokenizer", "jieba"], ["--user-dictionary", "words.txt"], ["--normalize", "none"]),
    ],
)
def test_what_a_model_has_settled_is_not_asked_for_again(
    trained: Path, novels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settled: list[str]
) -> None:
    assert main(["train", str(novels), "--from", str(trained), "--output", str(tmp_path / "m"), *settled]) == 2
    assert f"leave out {settled[0]}" in capsys.readouterr().err
    assert not (tmp_path / "m.run").exists()


def test_a_reader_that_goes_away_is_no_failure(trained: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "zh_lstm_lm", "info", str(trained)]
    with os.fdopen(writes, "wb") as gone:
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_options_may_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--vers"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"zh-lstm-lm {__version__}\n")


def test_an_empty_text_is_told_of(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(trained), "", "--end", "--per", "character"]) == 2
    assert "nothing to score" in capsys.readouterr().err


def test_evaluate_prints_what_the_library_measures(
    trained: Path, novels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained), str(novels)]) == 0
    expected = evaluate(from_pretrained(trained), TokenStream.from_files(novels, tokenizer="characters"))
    shown = capsys.readouterr().out
    for each in (expected, *expected.parts.values()):
        assert f"{each.bits_per_character:.4f} bits/character" in shown
    assert f"{expected.num_tokens:,} tokens" in shown


def test_score_prints_every_word(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(trained), "展昭𠮷"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["line", "word", "bits", "kind", "start", "stop", "tokens"]
    assert [line[1] for line in lines[1:-1]] == ["展", "昭", "𠮷"]
    assert lines[3][3:] == ["bytes", "2", "3", "<0xF0> <0xA0> <0xAE> <0xB7>"]
    assert lines[-1][0].startswith("# 3 characters")


def test_score_reads_standard_input_in_any_encoding(trained: Path) -> None:
    command = [sys.executable, "-m", "zh_lstm_lm", "score", str(trained), "-"]
    text = "展昭道：“好大的雪！”白玉堂笑道：“雪大，酒才好喝。”二人推门进了酒店。"
    done = subprocess.run(command, input=text.encode("gb18030"), capture_output=True, check=True)
    assert "\t展\t" in done.stdout.decode("utf-8", errors="replace") or b"\\u5c55" in done.stdout


def test_generate_prints_and_writes_the_same_text(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(trained), "--prompt", "展昭", "--max-characters", "80", "--end", "none", "--seed", "3"]
    assert main(["generate", *options]) == 0
    shown = capsys.readouterr().out
    assert len(shown) == 81
    assert shown.startswith("展昭")
    assert main(["generate", *options, "--output", str(tmp_path / "text.txt")]) == 0
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == shown[:-1]


def test_what_was_copied_is_told_beside_what_was_generated(
    trained: Path, novels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    command = ["generate", str(trained), "--prompt", "展昭", "--max-characters", "80", "--novelty", str(novels)]
    assert main([*command, "--output", str(path)]) == 0
    expected = novelty(path.read_text(encoding="utf-8"), TokenStream.from_files(novels, tokenizer="characters"))
    assert (tmp_path / "text.txt.novelty.txt").read_text(encoding="utf-8") == f"{expected}\n"
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.out == path.read_text(encoding="utf-8") + "\n"
    assert str(expected) in shown.err
    assert main([*command, "--interactive"]) == 2
    assert "--novelty needs a complete text" in capsys.readouterr().err


def test_the_model_card_tells_what_the_models_writing_copies(trained: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert re.search(r"- novelty: longest copy \d+ of [\d,]+ characters; new n-grams of words 1: \d+\.\d%", card)
    assert LSTMLanguageModel.from_pretrained(trained).training_summary["novelty"] in card


def test_info_tells_what_a_model_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert "hidden_size=16" in shown
    assert "characters 1" in shown
    assert "valid_perplexity=" in shown


def test_info_sends_nothing_to_a_terminal_but_text(model: LSTMLanguageModel, tmp_path: Path) -> None:
    model.training_summary = {"\x1b[2Jnovels": "射雕\x1b]0;x\x07"}
    model.save_pretrained(tmp_path / "model")
    done = run("info", str(tmp_path / "model"))
    assert "training    [2Jnovels=射雕]0;x" in done.stdout
    assert "\x1b" not in done.stdout


def test_cache_tells_its_size_and_clears_only_its_own(
    tmp_path: Path, novels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["cache", "--cache-dir", str(tmp_path)]) == 0
    assert main(["cache", "--cache-dir", str(tmp_path), "--clear"]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "no-such-folder", "--output", "m"], "no such file or folder"),
        (["train", "novels", "--output", "m", "--hiden-size", "3"], "--hidden-size"),
        (["train", "novels", "--output", "m", "--hidden-size", "0"], "--hidden-size must be"),
        (["train", "novels", "--output", "m", "--hidden-size", "big"], "invalid int value"),
        (["train", "novels", "--output", "m", "--max-size", "100", "--tokenizer", "characters"], "--max-size"),
        (["train", "novels", "--output", "m", "--tokenizer", "jeiba"], "'jieba'"),
        (["train", "novels", "--output", "m", "--encoding", "utf-9"], "--encoding: must be"),
        (["train", "novels", "--output", "m", "--clean", "novle"], "'novel'"),
        (["train", "novels", "--output", "m", "--valid", "0.9", "--test", "0.2"], "valid + test"),
        (["train", "novels", "--output", "m", "--minutes", "-1"], "--max-minutes must be"),
        (["train", "novels", "--output", "file/m", "--epochs", "1", *SMALL], "cannot be"),
        (["evaluate", "no-such-model", "novels"], "no such folder"),
        (["evaluate", "novels", "novels"], "not a saved model"),
        (["generate", "no-such-model"], "no such folder"),
        (["info", "file"], "no such folder"),
        (["info", "novls"], "did you mean 'novels'?"),
        (["sing"], "invalid choice"),
        (["trian", "novels"], "did you mean 'train'?"),
        (["--verson"], "no such option: --verson; did you mean '--version'?"),
        (["info", "m", "--quite=a-value-that-is-long"], "did you mean '--quiet'?"),
        (["info", "m", "more"], "nothing takes the argument 'more'"),
        (["demo", "--output", "file"], "file: File exists"),
        (["train", "novels", "--output", ""], "--output: must be a path, got ''"),
        (["train", "novels", "--output", "m", "--learning-rate", "1e300"], "--learning-rate must be at most 1e+38"),
        ([], "required"),
    ],
)
def test_bad_input_ends_with_two_lines_and_status_2(
    arguments: list[str],
    said: str,
    novels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    os.symlink(novels, tmp_path / "novels")
    try:
        status = main([*arguments])
    except SystemExit as ended:  # argparse's own way to end
        status = int(ended.code or 0)
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert len(error.strip().splitlines()) <= 3
    assert "Traceback" not in error
    assert not (tmp_path / "m").exists()


def test_ctrl_c_saves_and_resume_goes_on(novels: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zh_lstm_lm", "train", str(novels), "--output", str(tmp_path / "m"), *SMALL]
    process = subprocess.Popen(
        [*command, "--epochs", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    while "epoch 2" not in process.stdout.readline():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "weights 0.4, 0.4, 0.2, not fitted on a validation set" in shown
    assert "saved in" not in shown
    assert "--resume" in error
    assert LSTMLanguageModel.from_pretrained(tmp_path / "m").training_summary["epochs"] >= 2
    steps = int(sorted((tmp_path / "m.run").glob("checkpoint-*"))[-1].name.split("-")[1])
    resumed = subprocess.run(
        [*command, "--steps", str(steps + 3), "--resume"], capture_output=True, encoding="utf-8", check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    last = json.loads((tmp_path / "m.run" / "history.jsonl").read_text().splitlines()[-1])
    assert last["step"] == steps + 3


def test_a_study_and_its_page_are_one_command(novels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, folder = tmp_path / "page.html", tmp_path / "lengths"
    command = ["study", "seq-len", str(novels), "--output", str(folder), "--report", str(page), "--quiet"]
    command += ["--lengths", "2", "4", "--budget", "1", "--seeds", "0", "1", "--batch-size", "2", *SMALL]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Segments that are too long hurt." in printed
    assert f"{page}: " in printed
    text = page.read_text(encoding="utf-8")
    assert "Longer segments predict better." in text
    assert main(command) == 2  # before anything is trained
    assert "exists already; give another file, or --overwrite\n" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert page.read_text(encoding="utf-8") == text
