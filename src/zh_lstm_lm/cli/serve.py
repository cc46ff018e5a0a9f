"""The command ``serve``."""

import argparse
import sys

from zh_lstm_lm.cli.common import at_least, given, load_model, path, print_line, read_text

__all__ = ["add_serve"]

_LIMITS = {
    "max_body": "bytes of a request (default: 262144)",
    "max_tokens": "tokens of a text (default: 4096)",
    "max_texts": "texts of a request, and texts that are written at once (default: 64)",
}


def add_serve(serve: argparse.ArgumentParser) -> None:
    """Adds the options of ``serve``."""
    serve.set_defaults(run=_serve)
    add = serve.add_argument
    add("model", type=path, help="folder of a saved model")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    add("--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)")
    add("--key-file", type=path, metavar="FILE", help="file with the key that requests must give (default: no key)")
    for name, about in _LIMITS.items():
        add(f"--{name.replace('_', '-')}", type=at_least(1), help=about)
    add(
        "--max-time",
        type=float,
        metavar="SECONDS",
        help="time to send a request, and to write its texts (default: 120)",
    )


def _serve(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.integrations import http_server
    from zh_lstm_lm.integrations.completion_request import ServerLimits

    limits = ServerLimits.from_dict(given(parsed, *_LIMITS, "max_time"))
    key = read_text(parsed.key_file).strip() if parsed.key_file else None
    name = Path(parsed.model).resolve().name
    app = http_server.create_app(load_model(parsed.model), name=name, key=key, limits=limits)
    if key is None and parsed.host not in ("127.0.0.1", "::1", "localhost"):
        print_line("everyone who reaches this address may use the model; --key-file sets a key", file=sys.stderr)
    with http_server.listen(parsed.host, parsed.port) as listening:
        host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
        print_line(f"{name} at http://{host}:{listening.getsockname()[1]}/v1")
        http_server.run_server(app, listening)
    return 0
