"""Writing together with a model, in Python and in the terminal."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zh_lstm_lm import ConfigError, CoWriter, LSTMLanguageModel, Sampler, SamplerConfig
from zh_lstm_lm.cli.main import main


@pytest.fixture
def sampler(model: LSTMLanguageModel) -> Sampler:
    return Sampler(model, SamplerConfig(temperature=1.0, seed=1))


def test_turns_make_one_text(sampler: Sampler) -> None:
    writer = CoWriter(sampler, "展昭", max_new_tokens=10)
    first = writer.go_on()
    assert writer.text == sampler.generate("展昭", max_new_tokens=10) == "展昭" + first
    writer.add("白玉堂道：")
    second = writer.go_on()
    assert writer.text == "展昭" + first + "白玉堂道：" + second
    state = sampler.generate("展昭", max_new_tokens=10, return_results=True).state
    assert (
        sampler.generate("白玉堂道：", state=state, max_new_tokens=10, return_results=True).text
        == "白玉堂道：" + second
    )


def test_again_writes_the_last_turn_otherwise_each_time(sampler: Sampler) -> None:
    writer = CoWriter(sampler, "展昭", max_new_tokens=12)
    turns = [writer.go_on(), *(writer.again() for _ in range(4))]
    assert len(set(turns)) == 5
    assert writer.text == "展昭" + turns[-1]
    writer.add("。")
    with pytest.raises(ConfigError, match="no turn of the model"):
        writer.again()


def test_another_seed_takes_effect_with_the_next_turn(sampler: Sampler) -> None:
    turns = set()
    for seed in (1, 2, 3):
        writer = CoWriter(sampler, "展昭", max_new_tokens=12)
        writer.go_on()
        writer.sampler = Sampler(sampler.model, SamplerConfig(temperature=1.0, seed=seed))
        turns.add((writer.go_on(), writer.go_on()))
    assert len({first for first, _ in turns}) == len({second for _, second in turns}) == 3


def test_a_turn_stays_until_another_is_there(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    writer = CoWriter(sampler, "展昭", max_new_tokens=12)
    turn = writer.go_on()
    with monkeypatch.context() as patch:
        patch.setattr(sampler, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.again()
    assert writer.text == "展昭" + turn
    assert writer.again() != turn


def test_choices_are_offered_and_one_is_taken(sampler: Sampler) -> None:
    writer = CoWriter(sampler, "展昭", max_new_tokens=8)
    offered = writer.choices(3)
    assert len(set(offered)) == 3
    assert writer.text == "展昭"
    assert writer.choose(2) == offered[1]
    assert writer.text == "展昭" + offered[1]
    with pytest.raises(ConfigError, match="ask for choices first"):
        writer.choose(1)
    assert writer.again() not in offered
    writer.choices(2)
    for number in (0, 3):
        with pytest.raises(ConfigError, match="from 1 to 2"):
            writer.choose(number)


def test_steps_are_taken_back_to_the_prompt(sampler: Sampler) -> None:
    writer = CoWriter(sampler, "展昭")
    texts = [writer.text]
    for step in range(4):
        if step == 2:
            writer.add("只见")
        else:
            writer.go_on()
        texts.append(writer.text)
    after = texts[-1]
    for text in reversed(texts[:-1]):
        assert writer.undo()
        assert writer.text == text
    assert not writer.undo()
    writer.go_on()
    writer.go_on()
    writer.add("只见")
    writer.go_on()
    assert writer.text == after


def test_a_turn_is_a_sentence_where_nothing_else_is_asked(sampler: Sampler) -> None:
    assert CoWriter(sampler).go_on()[-1] in "。！？”\n"


def test_terminal(model: LSTMLanguageModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    lines = [
        "",
        "again",
        "next 3",
        "2",
        "+只见",
        "",
        "undo",
        "bad",
        "next x",
        "save",
        "7",
        "save out.txt",
        "text",
        "quit",
    ]
    command = [sys.executable, "-m", "zh_lstm_lm", "generate", "model", "--prompt", "展昭", "--interactive"]
    done = subprocess.run(
        [*command, "--max-new-tokens", "9", "--seed", "1", "--temperature", "1"],
        input=("\n".join(lines) + "\n").encode(),
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    assert done.stderr == b""
    writer = CoWriter(Sampler(model, SamplerConfig(temperature=1.0, seed=1)), "展昭", max_new_tokens=9)
    shown = [writer.go_on(), writer.again(), *writer.choices(3), writer.choose(2)]
    writer.add("只见")
    shown.append(writer.text)
    output = done.stdout.decode().replace("\r\n", "\n")
    for text in shown:
        assert text in output
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == writer.text
    assert output.count("! ") == 4
    assert "! no command 'bad'" in output
    assert "! next needs a number from 1 to 20, as in 'next 3', got 'x'" in output
    assert "! no choice 7: none is offered" in output


def test_end_of_the_input_ends_it(
    model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    command = ["generate", str(tmp_path / "model"), "--interactive"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(command) == 0
    assert CoWriter(Sampler(model)).go_on() in capsys.readouterr().out
    assert main([*command[:2], "--resume"]) == 2
    assert "name it with --output FILE" in capsys.readouterr().err
