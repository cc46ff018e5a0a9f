import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zh_lstm_lm
from zh_lstm_lm.runtime.threads import _others_running, settle_threads

FORK = """
import os, sys
import torch
from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary, score

text = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))
model = LSTMLanguageModel(
    Vocabulary.from_stream(TokenStream.from_texts([text + "\\n"], tokenizer="characters")),
    ModelConfig(embedding_dim=256, hidden_size=512),
).eval()
expected = score(model, text).log_prob
assert torch.get_num_threads() == 2
child = os.fork()
if not child:
    same = abs(score(model, text).log_prob - expected) < 1e-3
    os._exit(0 if same and torch.get_num_threads() == 1 else 1)
status = os.waitpid(child, 0)[1]
print("child", status, "threads", torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes() -> None:
    """OpenMP's threads are not forked, and whoever waits for them waits for ever."""
    environment = os.environ | {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1]), "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        pytest.fail("the forked process waits for ever")
    assert out == "child 0 threads 2\n", err


NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment without the variables of OpenMP, on a machine of four processors with nothing to do."""
    before = dict(os.environ)
    for name in NAMES:
        os.environ.pop(name, None)
    monkeypatch.setattr("zh_lstm_lm.runtime.threads.available_cores", lambda: 4)
    monkeypatch.setattr("zh_lstm_lm.runtime.threads._others_running", lambda: 0)
    yield dict(os.environ)
    os.environ.clear()
    os.environ.update(before)


def test_spinning_is_bounded_for_what_is_loaded_later(environment: dict[str, str]) -> None:
    settle_threads(one=False)
    assert os.environ.keys() - environment.keys() == {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    done = subprocess.run([sys.executable, "-c", "import os; print(os.environ['GOMP_SPINCOUNT'])"], capture_output=True)
    assert int(done.stdout) == int(os.environ["GOMP_SPINCOUNT"]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays(environment: dict[str, str], name: str) -> None:
    os.environ[name] = "7"
    settle_threads(one=True)
    assert os.environ[name] == "7"
    changed = {"OMP_NUM_THREADS"} if name != "OMP_NUM_THREADS" else {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    assert os.environ.keys() - environment.keys() == changed | {name}


@pytest.mark.parametrize(
    ("others", "one", "expected"),
    [(0, False, None), (1, False, "3"), (3, False, "1"), (12, False, "1"), (0, True, "1")],
)
def test_there_are_no_more_threads_than_idle_processors(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, others: int, one: bool, expected: str | None
) -> None:
    monkeypatch.setattr("zh_lstm_lm.runtime.threads._others_running", lambda: others)
    settle_threads(one=one)
    assert os.environ.get("OMP_NUM_THREADS") == expected


@pytest.mark.skipif(not Path("/proc/loadavg").is_file(), reason="this system does not tell of its load")
def test_busy_processes_are_seen() -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        assert _others_running() >= 4
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_importing_the_library_changes_no_environment() -> None:
    code = "import os; before = dict(os.environ); import zh_lstm_lm.models.lstm; assert dict(os.environ) == before"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment["PYTHONPATH"] = str(Path(zh_lstm_lm.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
