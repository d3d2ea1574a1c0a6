"""Model artefacts on this machine: fetched once, unpacked in a folder named by their hash, the oldest removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scoreline.errors import ModelBroken, ServerUnavailable
from scoreline.serving.documents import Artifact
from scoreline.serving.upstream import Upstream

_HALF = ".new-"
_ABANDONED_SECONDS = 86_400.0  # longer than any download takes


class Artifacts:
    """The folder of unpacked artefacts; keeps the `keep` most recently used."""

    def __init__(self, folder: Path, upstream: Upstream, keep: int) -> None:
        self._folder = folder
        self._upstream = upstream
        self._keep = keep
        self._running: dict[str, asyncio.Task[Path]] = {}
        self._here: set[str] = set()
        self._sweep()

    async def get(self, sha256: str, *, trusted: bool) -> Artifact:
        """The artefact, fetched from the API unless it is here already.

        Raises NotFound, Overloaded, ServerUnavailable, or ModelBroken for an archive that cannot be unpacked.
        """
        path = self._folder / sha256
        if sha256 not in self._here:
            task = self._running.get(sha256)
            if task is None:
                task = asyncio.create_task(asyncio.to_thread(self._ensure, sha256))
                self._running[sha256] = task
                task.add_done_callback(lambda done: self._finished(sha256, done))
            path = await asyncio.shield(task)
        return Artifact(sha256, trusted, path)

    def _finished(self, sha256: str, task: asyncio.Task[Path]) -> None:
        del self._running[sha256]
        if not task.cancelled() and task.exception() is None:
            self._here.add(sha256)

    def _ensure(self, sha256: str) -> Path:
        """Fetch and unpack beside the final place, then move there at once: a folder with the name is whole."""
        target = self._folder / sha256
        if target.is_dir():
            os.utime(target)
            return target
        try:
            work = Path(tempfile.mkdtemp(prefix=_HALF, dir=self._folder))
        except OSError as error:
            raise _no_space(error) from error
        try:
            archive = work / "artifact.tar"
            self._upstream.download(sha256, archive)
            tree = work / "tree"
            with tarfile.open(archive, "r:") as tar:
                tar.extractall(tree, filter="data")
            archive.unlink()
            if not target.is_dir():
                tree.rename(target)
            self._make_room(target)
        except tarfile.TarError as error:
            raise ModelBroken(
                f"The model artefact {sha256[:12]} cannot be unpacked ({error}); upload it again."
            ) from error
        except OSError as error:
            if not target.is_dir():
                raise _no_space(error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target

    def _sweep(self) -> None:
        """Delete what processes left half fetched that were killed; others may be at work in the same folder."""
        limit = time.time() - _ABANDONED_SECONDS
        with suppress(OSError):
            for folder in self._folder.glob(f"{_HALF}*"):
                if folder.stat().st_mtime < limit:
                    shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, newest: Path) -> None:
        folders = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in folders[self._keep :]:
            if path != newest:
                self._here.discard(path.name)
                shutil.rmtree(path, ignore_errors=True)


def _no_space(error: OSError) -> ServerUnavailable:
    return ServerUnavailable(
        f"The prediction server cannot store a model artefact ({error.strerror or error}); "
        "make room in its cache folder."
    )
