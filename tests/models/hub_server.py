"""A stand-in for the Hugging Face Hub: repositories in memory, behind the calls that its library makes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories.

    Attributes:
        files: Content by repository, revision and name.
        private: Repositories that only the token ``"secret"`` opens.
        requests: Method and path of every call.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.address = ""

    def downloads(self) -> set[str]:
        """Returns the names of the files whose content was fetched, and forgets the calls."""
        names = {call.rpartition("/")[2] for call in self.requests if call.startswith("GET") and "/resolve/" in call}
        self.requests.clear()
        return names


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """Runs a hub on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: Any = None, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def fail(self, status: int, code: str) -> None:
            self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

        def found(self, repo: str, revision: str) -> dict[str, bytes] | None:
            """Returns the files of a revision, or answers with the Hub's error."""
            hidden = repo in hub.private and self.headers["Authorization"] != "Bearer secret"
            if repo not in hub.files or hidden:
                self.fail(401, "RepoNotFound")
                return None
            revisions = hub.files[repo]
            named = {**{commit_of(files): files for files in revisions.values()}, **revisions}
            files = named.get(revision)
            if files is None:
                self.fail(404, "RevisionNotFound")
            return files

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                revision = parts[5] if parts[4:5] in (["revision"], ["tree"]) else "main"
                files = self.found("/".join(parts[2:4]), revision)
                if files is not None and parts[4:5] == ["tree"]:
                    oids = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
                    entries = [
                        {"type": "file", "path": name, "size": len(files[name]), "oid": oid}
                        for name, oid in oids.items()
                    ]
                    self.answer(200, entries)
                elif files is not None:
                    siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
                    self.answer(200, {"id": "/".join(parts[2:4]), "sha": commit_of(files), "siblings": siblings})
            elif parts[2:3] == ["resolve"]:
                files = self.found("/".join(parts[:2]), parts[3])
                name = "/".join(parts[4:])
                if files is not None and name not in files:
                    self.fail(404, "EntryNotFound")
                elif files is not None:
                    etag = hashlib.sha256(files[name]).hexdigest()
                    self.answer(200, files[name], ETag=f'"{etag}"', X_Repo_Commit=commit_of(files))
            else:
                self.fail(404, "NotFound")

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = path.strip("/").split("/")
            repo, revision = "/".join(parts[2:4]), "/".join(parts[5:])
            if self.headers["Authorization"] != "Bearer secret":
                self.fail(401, "Unauthorized")
            elif path == "/api/repos/create":
                asked = json.loads(body)
                repo = f"{asked.get('organization') or 'user'}/{asked['name']}"
                if "private" in (asked.get("visibility"), asked.get("private") and "private"):
                    hub.private.add(repo)
                status = 409 if repo in hub.files else 200
                hub.files.setdefault(repo, {"main": {}})
                self.answer(status, {"url": f"{hub.address}/{repo}", "name": repo})
            elif path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif self.found(repo, revision) is None:
                pass
            elif parts[4] == "preupload":
                files = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in json.loads(body)["files"]
                ]
                self.answer(200, {"files": files})
            else:
                new = dict(hub.files[repo][revision])
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        new[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                hub.files[repo][revision] = new
                commit = commit_of(new)
                self.answer(
                    200, {"success": True, "commitOid": commit, "commitUrl": f"{hub.address}/{repo}/commit/{commit}"}
                )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
