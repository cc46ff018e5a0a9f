"""Mutation testing of what saves and reads: small changes of the source, each of which should make a test fail.

    python benchmarks/mutation.py --times 300

Comparisons, signs, numbers, conditions, results and whole statements inside functions are changed, one at a time, drawn
from `--seed`. The tests are collected once; each mutant is a child of that process in which the code of one function is
another. It runs the tests that execute the changed line, fastest first, until one fails. What survives is printed.
Needs coverage, and a system with `fork`.
"""

import argparse
import ast
import copy
import functools
import importlib
import inspect
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import coverage
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    "training.run_folder", "training.run_identity", "training.state", "training.history", "storage.atomic", "storage.safe_reading",
    "storage.strict_json", "storage.tensors", "models.pretrained", "corpus.vocabulary", "corpus.token_table",
    "corpus.vocabulary_selection", "corpus.stream_encoder", "tokenizers.saved_tokenizer", "corpus.token_stream",
    "corpus.stream_cache", "text.decoding", "text.documents", "text.files",
]  # fmt: skip
TESTS = [
    "training/test_run_folder", "training/test_run_identity", "training/test_state", "storage/test_storage",
    "storage/test_hostile_folders", "models/test_pretrained", "corpus/test_vocabulary", "corpus/test_coverage",
    "corpus/test_token_stream", "text/test_decoding", "text/test_documents", "test_formats",
]  # fmt: skip
SECONDS = 60  # of the processor, after which a mutant counts as noticed: it does not end
OTHERS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change.

    Attributes:
        module: The module's name in the package.
        path: Class and function, outermost first.
        line: Where it is.
        told: What it is.
        code: The changed function.
    """

    module: str
    path: tuple[str, ...]
    line: int
    told: str
    code: CodeType


def change_comparison(node: ast.Compare, *, place: int) -> None:
    """Changes one of the comparisons of a chain."""
    node.ops[place] = OTHERS[type(node.ops[place])]()


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What can be changed of a node itself: a name of the change, and what makes it."""
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            if type(op) in OTHERS:
                yield "comparison", functools.partial(change_comparison, place=place)
    elif isinstance(node, (ast.BoolOp, ast.BinOp, ast.AugAssign)) and type(node.op) in OTHERS:
        yield "operator", lambda node: setattr(node, "op", OTHERS[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        other = not node.value if isinstance(node.value, bool) else node.value + 1
        yield "constant", lambda node: setattr(node, "value", other)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield "condition", lambda node: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "result", lambda node: setattr(node, "value", ast.Constant(None))


def inner(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, Any]]:
    """Every node inside a function that counts: its parent, field, place in it, and itself."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "args", "type_comment"} and not isinstance(
            node, ast.Call
        ):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, (ast.JoinedStr, ast.Assert)):
                continue
            yield node, field, place, child
            yield from inner(child)


def functions(body: list[ast.stmt], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.FunctionDef]]:
    """The functions of a module and the methods of its classes."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, (*path, node.name))
        elif isinstance(node, ast.FunctionDef) and node.name != "__repr__":
            yield (*path, node.name), node


def code_of(tree: ast.Module, path: tuple[str, ...], line: int) -> CodeType:
    """The code of a function in a changed module."""
    code = compile(ast.fix_missing_locations(tree), "mutant", "exec")
    for name in path:
        found = [const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name]
        code = min(found, key=lambda each: abs(each.co_firstlineno - line))
    return code


def mutants_of(module: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    file = ROOT / "src" / "zh_lstm_lm" / Path(*module.split(".")).with_suffix(".py")
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for path, function in functions(tree.body):
        for number, (_, _, _, node) in enumerate(list(inner(function))):
            kinds = [name for name, _ in changes(node)]
            statement = isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
            for kind, name in enumerate([*kinds, *(["left out"] if statement else [])]):
                changed = copy.deepcopy(tree)
                same = next(
                    other
                    for where, other in functions(changed.body)
                    if where == path and other.lineno == function.lineno
                )
                parent, field, place, target = list(inner(same))[number]
                before = ast.unparse(target)
                if name == "left out":
                    assert place is not None
                    getattr(parent, field)[place] = ast.copy_location(ast.Pass(), target)
                    after = "pass"
                else:
                    list(changes(target))[kind][1](target)
                    after = ast.unparse(ast.fix_missing_locations(target))
                told = f"{before.splitlines()[0]:.90}  →  {after.splitlines()[0]:.90}"
                yield Mutant(module, path, node.lineno, told, code_of(changed, path, function.lineno))


def function_at(module: ModuleType, path: tuple[str, ...]) -> Any:
    """The function object behind decorators."""
    found: Any = module
    for name in path:
        found = vars(found)[name]
    for name in ("__func__", "fget", "func"):
        found = getattr(found, name, found)
    return inspect.unwrap(found)


class Mutation:
    """A plugin of pytest that runs mutants in place of the tests."""

    def __init__(self, times: int, seed: int, only: list[int]) -> None:
        self._times, self._seed, self._only = times, seed, only
        self._durations: dict[str, float] = {}
        self._coverage: coverage.Coverage | None = None
        self._failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes how a test went."""
        self._durations[report.nodeid] = self._durations.get(report.nodeid, 0.0) + report.duration
        self._failed += [report.nodeid] * report.failed

    def _run(self, items: list[pytest.Item]) -> bool:
        """Whether a test fails."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            if self._coverage is not None:
                self._coverage.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                break
        return bool(self._failed)

    def _survey(self, items: list[pytest.Item], place: Path) -> None:
        """Which test executes which line, and how long it takes; in a child."""
        self._coverage = coverage.Coverage(
            data_file=str(place / "data"), source=[str(ROOT / "src" / "zh_lstm_lm")], messages=False
        )
        self._coverage.start()
        self._run(items)
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            Path(file).relative_to(ROOT / "src" / "zh_lstm_lm").as_posix(): data.contexts_by_lineno(file)
            for file in data.measured_files()
        }
        (place / "survey.json").write_text(json.dumps([self._failed, lines, self._durations]), encoding="utf-8")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs mutants."""
        by_name = {item.nodeid: item for item in session.items}
        with tempfile.TemporaryDirectory() as place:
            in_child(lambda: self._survey(session.items, Path(place)), seconds=3600)
            failed, lines, durations = json.loads((Path(place) / "survey.json").read_text(encoding="utf-8"))
        assert not failed, f"{failed} fails without any mutant"
        print(f"\n{len(session.items)} tests, {sum(durations.values()):.0f} s", flush=True)
        modules = {name: importlib.import_module(f"zh_lstm_lm.{name}") for name in MODULES}
        mutants = [mutant for name in MODULES for mutant in mutants_of(name)]
        chosen = random.Random(self._seed).sample(mutants, min(self._times, len(mutants)))
        survivors, counts = [], {name: [0, 0] for name in MODULES}
        again = [(number, mutant) for number, mutant in enumerate(chosen, 1) if not self._only or number in self._only]
        for number, mutant in again:
            executed = lines.get(mutant.module.replace(".", "/") + ".py", {}).get(str(mutant.line), [])
            items = [
                by_name[name] for name in sorted(executed, key=lambda name: durations.get(name, 0.0)) if name in by_name
            ]

            def work(mutant: Mutant = mutant, items: list[pytest.Item] = items) -> int:
                function_at(modules[mutant.module], mutant.path).__code__ = mutant.code
                return int(self._run(items))

            began = time.monotonic()
            noticed = in_child(work, seconds=SECONDS) != 0
            counts[mutant.module][0] += noticed
            counts[mutant.module][1] += 1
            if not noticed:
                survivors.append(mutant)
                print(
                    f"  {number}: {mutant.module}:{mutant.line} {mutant.path[-1]}: {mutant.told} ({len(items)} tests, {time.monotonic() - began:.0f} s)",
                    flush=True,
                )
        for name, (killed, all_) in counts.items():
            print(f"  {killed:3d} of {all_:3d}  {name}")
        print(
            f"mutation: {len(again)} of {len(mutants):,} mutants, seed {self._seed}: {len(again) - len(survivors)} noticed "
            f"({1 - len(survivors) / len(again):.1%}), {len(survivors)} survived"
        )
        return True


def in_child(work: Callable[[], object], *, seconds: int) -> int:
    """Does work in a forked process, and returns its exit status; not 0 where it does not end in time."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # of the processor, however busy the machine is
            signal.alarm(20 * seconds)  # for what waits
            status = int(bool(work()))
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def main() -> None:
    """Runs mutants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", default=[], help="numbers of those that survived, say")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    files = [str(ROOT / "tests" / f"{name}.py") for name in TESTS]
    options = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:terminal",
        "-o",
        "addopts=--import-mode=importlib",
        "--hypothesis-seed=0",
        f"--rootdir={ROOT}",
    ]
    pytest.main([*options, *files], plugins=[Mutation(parsed.times, parsed.seed, parsed.only)])


if __name__ == "__main__":
    main()
