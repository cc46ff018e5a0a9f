"""The architecture as a test: the packages that each may import, and nothing that is loaded can run code."""

import ast
import graphlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import zh_lstm_lm

PACKAGE = Path(zh_lstm_lm.__file__).parent
ROOT = "zh_lstm_lm"

DOORS = {  # the packages that each may import, besides itself and what is open to all
    "cli": {
        *("integrations", "report", "studies", "training", "generation", "evaluation", "models", "corpus"),
        *("tokenizers", "text"),
    },
    "integrations": {"studies", "training", "generation", "evaluation", "models", "corpus", "tokenizers", "text"},
    "report": {"studies", "training.history", "evaluation.scored_text"},
    "studies": {"training", "generation", "evaluation", "models", "corpus"},
    "training": {"evaluation", "models", "corpus"},
    "generation": {"models", "corpus", "text"},
    "evaluation": {"models", "corpus", "tokenizers", "text"},
    "models": {"corpus", "tokenizers.base"},
    "corpus": {"text", "tokenizers"},
    "text": set(),
    "tokenizers": set(),
}
OPEN_TO_ALL = {"errors", "_config", "_version", "storage", "runtime"}
BELOW_ALL = {  # what those that are open to all may import themselves
    "errors": set(),
    "_version": set(),
    "_config": {"errors"},
    "runtime": {"errors"},
    "storage": {"errors", "_version"},
}
KNOWN = {  # imports that pass no door, each with its reason
    # A notebook shows a result as the page or the plot of it, which is made only then.
    ("evaluation.scored_text", "report.heat_map"),
    ("training.history", "report.run_plots"),
}
MOST_ROOT_ENTRIES, MOST_MODULES, MOST_LINES = 20, 15, 350
DEPENDENCIES = {"torch", "jieba", "typing_extensions", "safetensors"}


def dotted(path: Path) -> str:
    """The module's name inside the package: ``model``, ``tokenizers.base``; a package's own is that of its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = [name for name in FILES if name != "__init__"]
MODULE_NAMES = {f"{ROOT}.{name}" for name in MODULES}
every_module = pytest.mark.parametrize("module", MODULES)


def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"), filename=str(FILES[module]))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def nodes_of(tree: ast.AST, *, in_functions: bool, for_types: bool) -> Iterator[ast.AST]:
    """All nodes below one, with or without those in functions and in blocks for type checkers."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child) and not for_types:
            continue
        yield child
        if in_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from nodes_of(child, in_functions=in_functions, for_types=for_types)


def imported(tree: ast.Module, module: str = "", *, in_functions: bool = True, for_types: bool = True) -> Iterator[str]:
    """Full names of everything imported anywhere in the tree, unless functions and type checkers' blocks are left out."""
    for node in nodes_of(tree, in_functions=in_functions, for_types=for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                is_package = module in FILES and FILES[module].name == "__init__.py"
                parents = [ROOT, *module.split(".")]
                base = [*parents[: len(parents) - node.level + is_package], *base]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Constant) and node.value in MODULE_NAMES:  # for importlib.import_module
            yield str(node.value)


def own_imports(module: str, *, in_functions: bool = True, for_types: bool = False) -> set[str]:
    """The modules of this package that a module imports."""
    found = set()
    for name in imported(tree_of(module), module, in_functions=in_functions, for_types=for_types):
        if name.split(".")[0] != ROOT:
            continue
        inside = name.split(".")[1:]
        while inside and ".".join(inside) not in FILES:
            inside.pop()
        assert inside, f"{module} imports {name} from the package itself; import it from its own module"
        found.add(".".join(inside))
    return found - {module}


def package_of(module: str) -> str:
    return module.partition(".")[0]


def passes(module: str, other: str) -> bool:
    """Whether there is a door from a module to another one."""
    own, theirs = package_of(module), package_of(other)
    if own in (theirs, "__main__"):
        return own == theirs or other == "cli.main"
    if own in BELOW_ALL:
        return theirs in BELOW_ALL[own]
    return theirs in OPEN_TO_ALL or not {theirs, other}.isdisjoint(DOORS[own])


def test_the_imports_are_seen_wherever_they_stand() -> None:
    source = """
import a.b
from c import d as e
if TYPE_CHECKING:
    from f import g
def h():
    try:
        import i
    except ImportError:
        from j.k import l
NAME = "zh_lstm_lm.tokenizers.base"
from . import m
from .n import o
"""
    tree = ast.parse(source)
    expected = {"a.b", "c.d", "f.g", "i", "j.k.l", "zh_lstm_lm.tokenizers.base"}
    assert set(imported(tree, "errors")) == {*expected, "zh_lstm_lm.m", "zh_lstm_lm.n.o"}
    assert "f.g" not in set(imported(tree, "errors", for_types=False))
    assert set(imported(tree, "errors", in_functions=False)).isdisjoint({"i", "j.k.l"})
    assert own_imports("models.lstm") >= {"corpus.vocabulary", "errors"}
    assert "zh_lstm_lm.tokenizers.m" in set(imported(tree, "tokenizers"))
    assert "zh_lstm_lm.tokenizers.m" in set(imported(tree, "tokenizers.base"))


@pytest.mark.parametrize(
    ("module", "other", "expected"),
    [
        ("models.lstm", "corpus.vocabulary", True),
        ("models.lstm", "tokenizers.base", True),
        ("models.lstm", "tokenizers.registry", False),
        ("models.lstm", "generation.sampler", False),
        ("models.lstm", "storage.atomic", True),
        ("generation.sampler", "evaluation.score", False),
        ("report.runs", "training.history", True),
        ("report.runs", "training.trainer", False),
        ("text.lines", "tokenizers.base", False),
        ("storage.atomic", "_config", False),
        ("runtime.devices", "storage.atomic", False),
        ("studies.study", "cli.common", False),
        ("__main__", "cli.main", True),
        ("__main__", "cli.train", False),
    ],
)
def test_a_door_is_open_or_closed(module: str, other: str, expected: bool) -> None:
    assert passes(module, other) is expected


def test_every_package_has_its_row() -> None:
    assert {package_of(module) for module in MODULES} == {*DOORS, *BELOW_ALL, "__main__"}
    assert len(MODULES) > 100


@every_module
def test_imports_go_through_the_doors(module: str) -> None:
    closed = {other for other in own_imports(module) if not passes(module, other)}
    assert {(module, other) for other in closed} <= KNOWN


def test_every_known_exception_is_still_one() -> None:
    assert all(other in own_imports(module) and not passes(module, other) for module, other in KNOWN)


def test_no_module_needs_itself() -> None:
    needed = {module: own_imports(module, in_functions=False) for module in MODULES}
    graphlib.TopologicalSorter(needed).prepare()


def test_the_ends_of_the_order() -> None:
    assert own_imports("__main__") == {"cli.main"}
    for package in {package_of(module) for module in MODULES if "." in module}:
        assert not list(imported(tree_of(package))), f"{package} itself imports nothing"


def test_the_package_is_small_at_its_root_and_so_are_its_parts() -> None:
    entries = [entry.name for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= MOST_ROOT_ENTRIES, sorted(entries)
    # A package inside of a package is one of its parts.
    sizes = Counter(module.rpartition(".")[0] for module in MODULES if "." in module)
    assert {package: size for package, size in sizes.items() if size > MOST_MODULES} == {}


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_short(module: str) -> None:
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@every_module
def test_only_the_dependencies_are_imported(module: str) -> None:
    others = {name.split(".")[0] for name in imported(tree_of(module), module)} - sys.stdlib_module_names
    assert others <= {ROOT, *DEPENDENCIES}


def test_the_package_itself_imports_no_library() -> None:
    at_the_top = [node for node in tree_of("__init__").body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = set(imported(ast.Module(body=list(at_the_top), type_ignores=[])))
    assert names == {f"{ROOT}._version.__version__"}


# --- what may not be in the source at all -------------------------------------------------------------------------

UNSAFE_MODULES = {  # they run what they are given, or reach what does
    *("pickle", "_pickle", "marshal", "shelve", "copyreg", "dill", "cloudpickle", "joblib", "multiprocessing"),
    *("code", "codeop", "runpy", "importlib", "imp", "zipimport", "pkgutil", "builtins", "timeit", "doctest", "pdb"),
    *("ctypes", "_ctypes", "cffi", "subprocess", "pty", "numpy"),
}
HARMLESS_PARTS = {"importlib.metadata", "importlib.resources"}
UNSAFE_NAMES = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "__builtins__",
    "__loader__",
    "breakpoint",
    "globals",
    "locals",
}
UNSAFE_ATTRIBUTES = {
    *("__subclasses__", "__globals__", "__builtins__", "__code__", "__loader__", "__reduce__", "__reduce_ex__"),
    *("__setstate__", "exec_module", "load_module", "load_library", "numpy", "from_numpy"),
}
UNSAFE_FUNCTIONS = (  # beginnings of full names
    *("torch.load", "torch.save", "torch.serialization", "torch.jit", "torch.hub", "torch.package", "torch.export"),
    *("torch.utils.cpp_extension", "torch.compile", "torch.distributed.broadcast_object_list"),
    *("torch.distributed.all_gather_object", "torch.distributed.recv_object_list", "torch.distributed.rpc"),
    *("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.startfile", "os.fork", "sys.modules"),
    *("types.FunctionType", "types.CodeType", "operator.attrgetter", "operator.methodcaller", "sys.setprofile"),
    *("sys.settrace", "inspect.currentframe", "sys._getframe"),
)
EXCEPTIONS = {  # each is what the module is for
    "__init__": {"importlib", "globals", "getattr of a module"},  # public names from a table in the module
    "cli.main": {"importlib"},  # modules of commands from a table in the module
    "runtime.memory": {"ctypes"},  # `malloc_trim` of the C library that runs already
    "runtime.optional": {"importlib"},  # whose callers give literal names, see below
    "tokenizers.registry": {"importlib", "getattr of a module"},  # names from a table in the module
    "tokenizers.jieba_tokenizer": {  # a private copy of jieba
        *("importlib.util.find_spec", "importlib.util.module_from_spec", "importlib.util.spec_from_file_location"),
        *("exec_module", "sys.modules"),
    },
    "tokenizers.workers": {"subprocess"},  # this very Python, see below
}


def full_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
    return names


def offences(tree: ast.Module) -> set[str]:
    """Whatever could run code that was loaded, reach a shell, or needs NumPy."""
    found = {
        name
        for name in imported(tree)
        if name.split(".")[0] in UNSAFE_MODULES and ".".join(name.split(".")[:2]) not in HARMLESS_PARTS
    }
    known = full_names(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}

    def full_name(node: ast.AST) -> str:
        """The name behind a chain of attributes that begins with an import; else empty."""
        if isinstance(node, ast.Name):
            return known.get(node.id, "")
        if isinstance(node, ast.Attribute):
            before = full_name(node.value)
            return before and f"{before}.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            before, name = full_name(node.args[0]), node.args[1]
            return f"{before}.{name.value!r}".replace("'", "") if before and isinstance(name, ast.Constant) else ""
        return ""

    def is_module(node: ast.AST) -> bool:
        """Whether it may be a module; a class that was imported is written with a capital."""
        if isinstance(node, ast.Call):
            return full_name(node.func) in {"importlib.import_module", "zh_lstm_lm.runtime.optional.require"}
        name = full_name(node).rpartition(".")[2]
        return bool(name) and name == name.lower()

    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in UNSAFE_NAMES:
            found.add(node.id)
        elif isinstance(node, ast.Name) and node.id in {"getattr", "vars"} and id(node) not in called:
            found.add(f"{node.id} by another name")
        elif isinstance(node, ast.Attribute) and node.attr == "__dict__" and is_module(node.value):
            found.add("getattr of a module")
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE_ATTRIBUTES:
            found.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            found.add("shell")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            literal = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id in {"getattr", "vars"} and not literal and is_module(node.args[0]):
                found.add("getattr of a module")
            if node.func.id == "getattr" and literal:
                name = str(node.args[1].value)  # type: ignore[attr-defined]
                found |= {name} & (UNSAFE_NAMES | UNSAFE_ATTRIBUTES)
        found.update(
            unsafe
            for unsafe in UNSAFE_FUNCTIONS
            if (full_name(node) + ".").startswith((unsafe + ".",))
            or (unsafe in {"os.exec", "os.spawn", "os.posix_spawn", "os.fork"} and full_name(node).startswith(unsafe))
        )
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np", "numpy"),
        ("from numpy import array", "numpy.array"),
        ("def f(x):\n    return x.detach().numpy()", "numpy"),
        ("torch.from_numpy(x)", "from_numpy"),
        ("import pickle", "pickle"),
        ("import pickle as harmless", "pickle"),
        ("def f():\n    from marshal import loads", "marshal.loads"),
        ("import shelve", "shelve"),
        ("from multiprocessing import Pool", "multiprocessing.Pool"),
        ("import ctypes.util", "ctypes.util"),
        ("import builtins\nbuiltins.eval('1')", "builtins"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import torch as harmless\nharmless.load('x')", "torch.load"),
        ("from torch import load as harmless\nharmless('x')", "torch.load"),
        ("import torch\nread = torch.load", "torch.load"),
        ("import torch.serialization\ntorch.serialization.load('x')", "torch.serialization"),
        ("from torch import serialization\nserialization.load('x')", "torch.serialization"),
        ("import torch\ntorch.jit.load('x')", "torch.jit"),
        ("import torch\ntorch.hub.load('x', 'y')", "torch.hub"),
        ("import torch\ntorch.ops.load_library('x')", "load_library"),
        ("from torch import distributed\ndistributed.broadcast_object_list(x)", "torch.distributed.broadcast_object_list"),
        ("eval('1')", "eval"),
        ("run = exec", "exec"),
        ("compile(x, 'x', 'exec')", "compile"),
        ("__import__('os')", "__import__"),
        ("__builtins__['eval']('1')", "__builtins__"),
        ("globals()['eval']", "globals"),
        ("import importlib\nimportlib.import_module(config['tokenizer'])", "importlib"),
        ("from importlib import import_module", "importlib.import_module"),
        ("from importlib.util import spec_from_file_location", "importlib.util.spec_from_file_location"),
        ("import runpy", "runpy"),
        ("spec.loader.exec_module(module)", "exec_module"),
        ("import sys\nsys.modules[name]", "sys.modules"),
        ("from sys import modules\nmodules[name]", "sys.modules"),
        ("import torch\ngetattr(torch, 'load')('x')", "torch.load"),
        ("import torch\ngetattr(torch, name)('x')", "getattr of a module"),
        ("from zh_lstm_lm import errors\ngetattr(errors, name)", "getattr of a module"),
        ("import torch\nvars(torch)[name]", "getattr of a module"),
        ("import torch\ntorch.__dict__[name]", "getattr of a module"),
        ("get = getattr", "getattr by another name"),
        ("getattr(x, '__globals__')", "__globals__"),
        ("import operator\noperator.attrgetter('load')(torch)", "operator.attrgetter"),
        ("().__class__.__base__.__subclasses__()", "__subclasses__"),
        ("f.__code__ = x", "__code__"),
        ("class A:\n    def f(self):\n        return self.__reduce__()", "__reduce__"),
        ("import types\ntypes.FunctionType(code, {})", "types.FunctionType"),
        ("import os\nos.system('x')", "os.system"),
        ("import os\nos.popen('x')", "os.popen"),
        ("import os\nos.execvp('x', [])", "os.exec"),
        ("from os import spawnlp\nspawnlp(0, 'x')", "os.spawn"),
        ("import subprocess", "subprocess"),
        ("run('x', shell=True)", "shell"),
    ],
)  # fmt: skip
def test_an_offence_would_be_found(source: str, expected: str) -> None:
    assert expected in offences(ast.parse(source))


def test_what_only_looks_like_an_offence_is_none() -> None:
    source = """
import re, torch, safetensors.torch, json, os
from importlib.metadata import version
model.eval()
re.compile("x")
safetensors.torch.load(data)
json.load(file)
getattr(self, name)
getattr(os, "O_NOFOLLOW", 0)
torch.loaded
os.environ
vars(result)
"""
    assert offences(ast.parse(source)) == set()


@pytest.mark.parametrize("module", FILES)
def test_nothing_runs_loaded_code_or_needs_numpy(module: str) -> None:
    assert offences(tree_of(module)) == EXCEPTIONS.get(module, set())


@every_module
def test_optional_libraries_are_named_in_the_source(module: str) -> None:
    tree = tree_of(module)
    known = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and known.get(node.id) == "zh_lstm_lm.runtime.optional.require":
            calls = [call for call in ast.walk(tree) if isinstance(call, ast.Call) and call.func is node]
            assert len(calls) == 1, "require goes by no other name"
            assert isinstance(calls[0].args[0], ast.Constant), ast.unparse(calls[0])


def test_the_only_process_that_is_started_is_this_python() -> None:
    tree = tree_of("tokenizers.workers")
    used = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "subprocess"
    ]
    assert {node.attr for node in used} == {"Popen", "PIPE"}
    starts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen"
    ]
    assert [ast.unparse(node.args[0]) for node in starts] == ["command"]
    commands = [
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "command"
    ]
    assert commands == ["[sys.executable, '-c', code, str(Path(__file__).parents[2])]"]
