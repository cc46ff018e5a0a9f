"""Models on the Hugging Face Hub: fetched into its cache, and pushed; only safetensors, JSON and the card ever move."""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError, ConfigError
from zh_lstm_lm.storage.safe_reading import MANIFEST, open_regular
from zh_lstm_lm.storage.saved_folder import SavedFolder

__all__ = ["names_a_repository", "open_repository", "push_folder"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_CARD = "README.md"
_PUSHED = ["*.safetensors", "*.json", _CARD]


def push_folder(
    get_library: Callable[[], Any],
    save: Callable[[Path], None],
    repo_id: str,
    *,
    private: bool | None,
    revision: str | None,
    token: str | bool | None,
    commit_message: str,
) -> str:
    """Uploads what `save` writes into a new folder; see `HubModel.push_to_hub`. `get_library` imports ``huggingface_hub``."""
    if not isinstance(repo_id, str) or not _REPOSITORY.fullmatch(repo_id):
        raise ConfigError(f"repo_id must be of the form 'user/model', got {repo_id!r:.100}")
    library = get_library()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        save(folder)
        card = (folder / _CARD).read_text(encoding="utf-8").replace('"this-folder"', f'"{repo_id}"')
        with _clear_errors(library, repo_id, revision):
            api = library.HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            with contextlib.suppress(library.errors.EntryNotFoundError):
                theirs = Path(api.hf_hub_download(repo_id, _CARD, revision=revision))
                card = _merged(library, theirs.read_text(encoding="utf-8"), card, repo_id)
            (folder / _CARD).write_text(card, encoding="utf-8")
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=commit_message,
                allow_patterns=_PUSHED,
            )
    return str(commit.commit_url)


def names_a_repository(path: str | PathLike[str], *, asked: bool) -> bool:
    """Returns True for what is to be fetched: a ``user/model`` that is no local folder.

    Unless it was `asked` for by options of the Hub, a name inside a folder that is here is a missing file.
    """
    if not isinstance(path, str) or not _REPOSITORY.fullmatch(path) or os.path.lexists(path):
        return False
    return asked or not os.path.isdir(os.path.dirname(path))


@contextlib.contextmanager
def open_repository(
    library: Any,
    repo_id: str,
    names: Collection[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Iterator[SavedFolder]:
    """Fetches files of a repository of the Hub into its cache and opens them; those that are not there are left out.

    For `revision`, `token` and `local_files_only` see `zh_lstm_lm.from_pretrained`. Raises CheckpointError if there is
    no such repository or revision, or if it cannot be reached and is not in the cache.
    """
    names = [MANIFEST, *names]
    with _clear_errors(library, repo_id, revision):
        folder = Path(
            library.snapshot_download(
                repo_id, revision=revision, token=token, local_files_only=local_files_only, allow_patterns=names
            )
        )
    with contextlib.ExitStack() as opened:
        # The cache has links to files that several revisions share.
        files = {
            name: opened.enter_context(open_regular((folder / name).resolve()))
            for name in names
            if (folder / name).exists()
        }
        yield SavedFolder(folder, files)


@contextlib.contextmanager
def _clear_errors(library: Any, repo_id: str, revision: str | None) -> Iterator[None]:
    """Turns the errors of the Hub's library into errors of this one with the next step."""
    errors = library.errors
    at = f" at {revision}" if revision else ""
    # The first that fits counts: some are bases of others.
    meanings = {
        errors.RevisionNotFoundError: f"has no revision {revision!r}; give a branch, a tag or a commit of it",
        errors.GatedRepoError: "access is restricted; ask for it on the Hub, and give your token",
        errors.RepositoryNotFoundError: "no such folder here, and no such repository on the Hub; check the name, and "
        "give your token if it is private",
        errors.LocalEntryNotFoundError: f"no such folder here, not in the Hub's cache{at}, and not to be fetched (no "
        "network, or offline mode); connect, or give a local folder",
    }
    try:
        yield
    # The base of all errors of the connection, too.
    except (*meanings, errors.HTTPError, errors.HFValidationError, OSError) as error:
        refused = (
            f"the Hub cannot be reached or refuses ({str(error).strip():.500}); check the connection, the name and"
        )
        told = (text for kind, text in meanings.items() if isinstance(error, kind))
        raise CheckpointError(f"{repo_id}: {next(told, f'{refused} your token')}") from error


def _merged(library: Any, theirs: str, ours: str, repo_id: str) -> str:
    """Returns a card that was there, with the metadata that it lacks; raises CheckpointError if it is damaged."""
    try:
        card = library.ModelCard(theirs)
    # The errors of its parser have no common base.
    except Exception as error:
        raise CheckpointError(
            f"{repo_id}: the metadata of its {_CARD} cannot be read ({error}); correct them there"
        ) from error
    known = card.data.to_dict()
    for name, value in library.ModelCard(ours).data.to_dict().items():
        if not known.get(name):
            card.data[name] = value
    return str(card)
