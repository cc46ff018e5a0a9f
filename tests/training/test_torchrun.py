"""Two processes against one: the same losses and weights; they stop, end and fail together."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zh_lstm_lm
from zh_lstm_lm import ConfigError
from zh_lstm_lm.training.distributed import Ranks, join_ranks

WORKER = Path(__file__).with_name("ranks_worker.py")
TOGETHER = [
    "plain",
    "dropout",
    "own",
    "interrupted",
    "resumed",
    "callback",
    "timed",
    "different",
    "rows",
    "command",
    "death",
]
JOINING = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def start(folder: Path, scenarios: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in JOINING}
    source = str(Path(zh_lstm_lm.__file__).parents[1])
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *scenarios],
        env={**inherited, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What two processes, and one alone, tell of every scenario, as ``told["0"]["plain"]``; "alone" goes on last."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = {
        rank: start(
            folder / "together",
            TOGETHER,
            {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        )
        for rank in ("0", "1")
    }
    errors = {rank: process.communicate(timeout=300)[1] for rank, process in processes.items()}
    assert (processes["0"].returncode, processes["1"].returncode) == (0, 9), errors
    (folder / "together" / "death").rename(folder / "death")
    alone = start(folder, ["plain", "dropout", "own", "death"], {})
    error = alone.communicate(timeout=300)[1]
    assert alone.returncode == 0, error

    def read(path: Path, scenarios: list[str]) -> dict[str, Any]:
        return {name: json.loads(Path(f"{path / name}-{rank}.json").read_text("utf-8")) for name in scenarios}

    found: dict[str, dict[str, Any]] = {}
    for rank in ("0", "1"):
        found[rank] = read(folder / "together", TOGETHER if rank == "0" else TOGETHER[:-1])
    rank = "0"
    found["alone"] = read(folder, ["plain", "dropout", "own", "death"])
    for name in ("plain", "dropout", "own"):
        found["alone"][name]["weights"] = load_file(folder / f"{name}.safetensors")
        found["0"][name]["weights"] = load_file(folder / "together" / f"{name}.safetensors")
    return found


@pytest.mark.parametrize(("scenario", "steps"), [("plain", 200), ("dropout", 40), ("own", 40)])
def test_two_processes_are_one(told: dict[str, dict[str, Any]], scenario: str, steps: int) -> None:
    """With five batch rows over two processes, in float64; dropout masks do not depend on the division either."""
    alone, first, second = (told[who][scenario] for who in ("alone", "0", "1"))
    assert len(alone["losses"]) == steps
    assert first["losses"] == pytest.approx(alone["losses"], rel=0, abs=1e-9)
    assert len(alone["history"]) > 1
    for ours, expected in zip(first["history"], alone["history"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-9)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(first["weights"][name], weight, rtol=0, atol=1e-9)
    assert second["losses"] == first["losses"]
    assert second["history"] == first["history"]
    assert second["digest"] == first["digest"]


def test_all_stop_when_one_is_interrupted_and_go_on_exactly(told: dict[str, dict[str, Any]]) -> None:
    for rank in ("0", "1"):
        interrupted, resumed, whole = (told[rank][name] for name in ("interrupted", "resumed", "dropout"))
        assert (interrupted["step"], interrupted["reason"]) == (17, "interrupted")
        assert interrupted["losses"] + resumed["losses"] == whole["losses"]
        assert resumed["history"] == whole["history"]
        assert resumed["digest"] == whole["digest"]


def test_a_callback_of_one_process_stops_all(told: dict[str, dict[str, Any]]) -> None:
    assert [told[rank]["callback"]["step"] for rank in ("0", "1")] == [17, 17]
    assert told["1"]["callback"]["reason"] == "enough"
    assert "another process" in told["0"]["callback"]["reason"]
    assert told["0"]["callback"]["digest"] == told["1"]["callback"]["digest"]


def test_time_is_that_of_the_first_process(told: dict[str, dict[str, Any]]) -> None:
    first, second = told["0"]["timed"], told["1"]["timed"]
    assert 100 < 0.9 * first["planned"] < first["step"] <= first["planned"]
    for told_of in ("planned", "step", "digest"):
        assert second[told_of] == first[told_of]


def test_what_cannot_be_trained_together_is_refused_by_all(told: dict[str, dict[str, Any]]) -> None:
    for rank in ("0", "1"):
        for scenario, message in (
            ("different", "were given different"),
            ("rows", "2 processes cannot divide 1 batch row"),
        ):
            assert told[rank][scenario]["error"] == "ConfigError"
            assert message in told[rank][scenario]["message"]


def test_the_command_reads_prints_and_saves_once(told: dict[str, dict[str, Any]]) -> None:
    first, second = told["0"]["command"], told["1"]["command"]
    assert (first["status"], second["status"]) == (0, 0)
    assert second["printed"] == ""
    for line in ("documents", "epoch 1", "test ", "saved in "):
        assert sum(line in printed for printed in first["printed"].splitlines()) == 1, line


def test_when_one_dies_the_other_says_so_and_the_checkpoint_is_whole(told: dict[str, dict[str, Any]]) -> None:
    """A single process goes on from it, to the same end."""
    assert told["0"]["death"]["error"] == "RankError"
    assert "checkpoints so far are whole" in told["0"]["death"]["message"]
    rest, plain = told["alone"]["death"], told["alone"]["plain"]
    assert 0 < len(rest["losses"]) < 200
    assert rest["step"] == 200
    assert rest["losses"] == pytest.approx(plain["losses"][-len(rest["losses"]) :], rel=0, abs=1e-9)


# ---- alone


def test_a_process_that_was_started_alone_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in JOINING:
        monkeypatch.delenv(name, raising=False)
    ranks = join_ranks()
    assert (ranks.rank, ranks.size, ranks.together) == (0, 1, False)
    rows = torch.arange(6).view(3, 2)
    assert torch.equal(ranks.own_rows(rows), rows)
    assert ranks.gather_rows(rows, 3, 0) is rows
    assert (ranks.sum(2.5), ranks.from_first(3), ranks.bytes_from_first(b"x")) == ([2.5], 3, b"x")
    assert ranks.agree(7.0, "enough") == (7.0, "enough")
    ranks.check_same(b"")
    with ranks.first_here_first():
        assert ranks.by_first(lambda: "done") == "done"


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ConfigError, match="MASTER_ADDR and MASTER_PORT not set"):
        join_ranks()


@pytest.mark.parametrize(("size", "num_rows"), [(1, 1), (2, 5), (3, 4), (4, 4), (7, 30)])
def test_batch_rows_are_divided_evenly_and_none_is_lost(size: int, num_rows: int) -> None:
    rows = torch.arange(num_rows)
    parts = [Ranks(rank, size).own_rows(rows) for rank in range(size)]
    assert torch.equal(torch.cat(parts), rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
