"""The public names with their members and signatures, as they were written down in ``public_api.txt``.

``python tests/test_api_snapshot.py`` writes the file anew.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import zh_lstm_lm

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def signature(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A function's call without the first argument of a method."""
    arguments = function.args
    if "." in name or function.name == "__init__":
        arguments.args = arguments.args[0 if any(is_named(d, "staticmethod") for d in function.decorator_list) else 1 :]
    returned = f" -> {ast.unparse(function.returns)}" if function.returns and function.name != "__init__" else ""
    return f"{name}({ast.unparse(arguments)}){returned}"


def is_named(node: ast.expr, *names: str) -> bool:
    return ast.unparse(node).rpartition(".")[2] in names


def members(name: str, definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The public members of a class, each by its name."""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
            yield node.target.id, f"{name}.{ast.unparse(node)}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name == "__init__":
                yield node.name, signature(name, node)
            elif node.name[0] != "_" and any(is_named(d, "property", "cached_property") for d in node.decorator_list):
                yield node.name, f"{name}.{node.name}: {ast.unparse(node.returns) if node.returns else ''}"
            elif node.name[0] != "_" and not any(is_named(d, "overload") for d in node.decorator_list):
                yield node.name, signature(f"{name}.{node.name}", node)


def public_api() -> str:
    """A line for each name and each of its members, inherited ones too."""
    lines = []
    for name in zh_lstm_lm.__all__:
        value = getattr(zh_lstm_lm, name)
        if inspect.isclass(value):
            found: dict[str, str] = {}
            for base in value.__mro__:
                if base.__module__.startswith("zh_lstm_lm"):
                    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
                    assert isinstance(tree, ast.ClassDef)
                    for member, line in members(name, tree):
                        found.setdefault(member, line)
            lines += [f"class {name}", *(f"    {found[member]}" for member in sorted(found))]
        elif callable(value):
            (tree,) = ast.parse(inspect.getsource(value)).body
            assert isinstance(tree, ast.FunctionDef)
            lines.append(signature(name, tree))
    return "\n".join(lines) + "\n"


def test_the_public_api_is_as_it_was() -> None:
    now, before = public_api().splitlines(), SNAPSHOT.read_text(encoding="utf-8").splitlines()
    changes = [f"+ {line}" for line in now if line not in before] + [f"- {line}" for line in before if line not in now]
    assert now == before, (
        "the public API has changed:\n"
        + "\n".join(changes)
        + "\nIf that is intended, add a line to [Unreleased] in CHANGELOG.md and run: python tests/test_api_snapshot.py"
    )


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api(), encoding="utf-8")
