"""The directive ``command``: usage and options of a command of the command line, from its parser."""

import argparse
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from zh_lstm_lm.cli.main import _parser


def parsers() -> dict[str, Any]:
    """The parser of each command."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


class _Command(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        parser = parsers()[name]
        parser.complete()
        # {program} makes the options of each command links of their own: {option}`zh-lstm-lm train --minutes`.
        lines = [f"```{{program}} zh-lstm-lm {name}", "```"]
        for group in parser._action_groups:
            shown = [action for action in group._group_actions if action.dest not in ("help", "quiet", "config")]
            if shown:
                lines += ["", f"```{{rubric}} {str(group.title).capitalize()}", "```", "", group.description or ""]
            for action in shown:
                lines += ["", f"````{{option}} {_signature(parser, action)}", _help(parser, action), "````"]
        return self.parse_text_to_nodes("\n".join(lines))


def _signature(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    if not action.option_strings:
        return formatter._format_args(action, action.dest)
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return ", ".join(f"{option} {value}" for option in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action)
    return text.replace("<", "\\<").replace("*", "\\*")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("command", _Command)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
