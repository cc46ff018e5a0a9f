"""The architecture as a test: imports point down one list of layers, and nothing that is loaded can run code."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zh_lstm_lm

PACKAGE = Path(zh_lstm_lm.__file__).parent
ROOT = "zh_lstm_lm"

LAYERS = [  # a module imports only from rows below its own
    {"__main__"},
    {"cli"},
    {"commands"},
    {"inspection", "integrations", "report"},
    {"estimates", "studies", "sample"},
    {"epoch_samples"},
    {"co_writing"},
    {"trainer", "sampler"},
    {"beam_search", "text_file"},
    {"dynamic_evaluation", "heat_map", "rescoring", "suggestion"},
    {"scoring"},
    {"callbacks", "distributed", "run_records", "time_budget", "trainer_config", "update_figures"},
    {"prompt_reading", "token_drawing"},
    {"adaptive_sampling", "checkpoint", "evaluation", "optimization"},
    {"bootstrap"},
    {"logits_processors", "written_text"},
    {"generation", "training_state"},
    {"punctuation", "sampler_config", "stopping"},
    {"history_plot", "model"},
    {"memory", "model_folder", "sizing"},
    {"output_layers", "recurrent", "regularization", "word_embedding", "tensor_files"},
    {"batches", "devices", "rare_characters"},
    {"memorization"},
    {"vocabulary"},
    {"coverage"},
    {"token_stream"},
    {"segmentation"},
    {"tokenizers"},
    {"text"},
]
OPEN_TO_ALL = {
    "errors",
    "storage",
    "strict_json",
    "folder_lock",
    "_optional",
    "_config",
    "_version",
    "_scratch",
    "interruption",
}
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
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


def imported(tree: ast.Module, module: str = "") -> Iterator[str]:
    """Full names of everything imported anywhere in the tree, in functions and type-checking blocks too."""
    for node in ast.walk(tree):
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


def own_imports(module: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = set()
    for name in imported(tree_of(module), module):
        if name.split(".")[0] != ROOT:
            continue
        inside = name.split(".")[1:]
        while inside and ".".join(inside) not in FILES:
            inside.pop()
        assert inside, f"{module} imports {name} from the package itself; import it from its own module"
        found.add(".".join(inside))
    return found - {module}


def layer(module: str) -> str:
    return module.partition(".")[0]


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
    expected = {"a.b", "c.d", "f.g", "i", "j.k.l", "zh_lstm_lm.tokenizers.base"}
    assert set(imported(ast.parse(source), "model")) == {*expected, "zh_lstm_lm.m", "zh_lstm_lm.n.o"}
    assert own_imports("model") >= {"vocabulary", "errors"}
    assert "zh_lstm_lm.tokenizers.m" in set(imported(ast.parse(source), "tokenizers"))
    assert "zh_lstm_lm.tokenizers.m" in set(imported(ast.parse(source), "tokenizers.base"))


def test_every_module_has_its_place_in_the_order() -> None:
    assert {layer(module) for module in MODULES} - RANK.keys() - OPEN_TO_ALL == set()
    assert len(MODULES) > 30


@every_module
def test_imports_point_down_and_siblings_do_not_know_each_other(module: str) -> None:
    own = layer(module)
    for name in own_imports(module):
        other = layer(name)
        if other in OPEN_TO_ALL or other == own:
            continue
        assert own not in OPEN_TO_ALL, f"{module} is open to all and imports {name}"
        assert RANK[own] < RANK[other], f"{module} imports {name}, which is not below it"


def test_no_module_needs_itself() -> None:
    graphlib.TopologicalSorter({module: own_imports(module) for module in MODULES}).prepare()


def test_the_ends_of_the_order() -> None:
    assert own_imports("__main__") == {"cli"}
    for module in ("errors", "sample", "_version", "interruption"):
        assert own_imports(module) == set(), module
    for package in ("commands", "text", "tokenizers"):
        assert not list(imported(tree_of(package))), f"{package} itself imports nothing"


@every_module
def test_only_the_dependencies_are_imported(module: str) -> None:
    if layer(module) == "integrations":
        return
    others = {name.split(".")[0] for name in imported(tree_of(module), module)} - sys.stdlib_module_names
    assert others <= {ROOT, *DEPENDENCIES}


def test_the_package_itself_imports_no_library() -> None:
    at_the_top = [node for node in tree_of("__init__").body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = set(imported(ast.Module(body=list(at_the_top), type_ignores=[])))
    assert names == {f"{ROOT}._version.__version__"}


# --- what may not be in the source at all -------------------------------------------------------------------------

CODE_RUNNING_MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "runpy"}
CODE_RUNNING_NAMES = {"eval", "exec", "compile", "__import__"}
CODE_RUNNING_CALLS = {"torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "builtins.eval", "builtins.exec"}


def offences(tree: ast.Module) -> set[str]:
    """Whatever could run code that was loaded, and every use of NumPy."""
    found = set()
    for name in imported(tree):
        if name.split(".")[0] in CODE_RUNNING_MODULES | {"numpy"} or name in CODE_RUNNING_CALLS:
            found.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in CODE_RUNNING_NAMES:
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node) in CODE_RUNNING_CALLS:
                found.add(ast.unparse(node))
            if node.attr in {"numpy", "from_numpy"}:
                found.add(node.attr)
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np", "numpy"),
        ("from numpy import array", "numpy.array"),
        ("def f(x):\n    return x.detach().numpy()", "numpy"),
        ("import pickle", "pickle"),
        ("def f():\n    from marshal import loads", "marshal.loads"),
        ("torch.load('x')", "torch.load"),
        ("from torch import load", "torch.load"),
        ("eval('1')", "eval"),
        ("run = exec", "exec"),
        ("__import__('os')", "__import__"),
    ],
)
def test_an_offence_would_be_found(source: str, expected: str) -> None:
    assert expected in offences(ast.parse(source))


def test_what_only_looks_like_an_offence_is_none() -> None:
    assert offences(ast.parse("model.eval()\nre.compile('x')\nsafetensors.torch.load(data)\njson.load(file)")) == set()


@pytest.mark.parametrize("module", FILES)
def test_nothing_runs_loaded_code_or_needs_numpy(module: str) -> None:
    assert offences(tree_of(module)) == set()
