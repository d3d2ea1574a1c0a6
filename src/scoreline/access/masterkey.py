"""The installation's master keys: what secrets are sealed with. They are never in the database.

The first key seals; all of them open. They come from `SCORELINE_MASTER_KEY` (several, separated by commas), or from a
file with one key a line, by default `master.key` in the data folder, which is made when it is first needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scoreline.errors import SetupError
from scoreline.settings import Settings

FILE_NAME = "master.key"
_BYTES = 32
_HEAD = "# Scoreline's master key: who has it and the database can read all stored secrets. Keep a copy elsewhere.\n"


@dataclass(frozen=True, slots=True)
class Key:
    """256 bits; `id` tells keys apart and says nothing about them."""

    id: str
    value: bytes = field(repr=False)


class MasterKeys:
    """The keys of an installation, read when they are needed and again when their file has changed."""

    def __init__(self, settings: Settings) -> None:
        given = settings.master_key
        self._given = None if given is None else _parse(given.get_secret_value().split(","), "SCORELINE_MASTER_KEY")
        self._own_file = settings.master_key_file is None
        self._file = settings.master_key_file or settings.data_dir / FILE_NAME
        self._stamp: tuple[int, int, int] | None = None
        self._read: tuple[Key, ...] = ()

    @property
    def in_environment(self) -> bool:
        """True when the keys come from `SCORELINE_MASTER_KEY`."""
        return self._given is not None

    @property
    def where(self) -> str:
        """Where keys come from, for messages."""
        return "SCORELINE_MASTER_KEY" if self.in_environment else str(self._file)

    def all(self) -> tuple[Key, ...]:
        """Return the keys that this process has, the one that seals first; none without a file. Raises SetupError."""
        if self._given is not None:
            return self._given
        try:
            state = self._file.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unusable(error) from error
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        if stamp != self._stamp:
            if state.st_mode & 0o007:
                raise SetupError(
                    f"The master key in {self._file} can be read by every user of this machine: run "
                    f"`chmod 600 {self._file}`, and `scoreline secrets rotate` if somebody may have done so."
                )
            self._read, self._stamp = self._from_file(), stamp
        return self._read

    def get(self, key_id: str) -> Key | None:
        """Return a key by its id; None when this process does not have it. Raises SetupError."""
        return next((key for key in self.all() if key.id == key_id), None)

    def current(self) -> Key:
        """Return the key that seals; in an installation that has none yet, make it. Raises SetupError."""
        found = self.all()
        if not found and self._own_file:
            # Of two processes at once, the first one's file stays.
            with suppress(FileExistsError):
                self._write((new_key(),), replace=False)
            found = self.all()
        if not found:
            raise SetupError(
                f"There is no master key in {self.where}: write one there, for instance from `openssl rand -base64 32`."
            )
        return found[0]

    def store(self, keys: tuple[Key, ...]) -> None:
        """Replace the file's keys in one step. Raises SetupError."""
        self._write(keys, replace=True)

    def _write(self, keys: tuple[Key, ...], *, replace: bool) -> None:
        hidden = self._file.with_name(f".{self._file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        text = _HEAD + "".join(f"{base64.b64encode(key.value).decode()}\n" for key in keys)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 -- with its rights from the start
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                if replace:
                    hidden.replace(self._file)
                else:
                    os.link(hidden, self._file)
            finally:
                hidden.unlink(missing_ok=True)
            _sync(self._file.parent)
        except FileExistsError:
            raise
        except OSError as error:
            raise self._unusable(error) from error

    def _from_file(self) -> tuple[Key, ...]:
        try:
            lines = self._file.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(error) from error
        return _parse([line for line in lines if line.strip() and not line.startswith("#")], str(self._file))

    def _unusable(self, error: Exception) -> SetupError:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        return SetupError(
            f"The file of the master key, {self._file}, cannot be used ({cause}): mend it, or set SCORELINE_MASTER_KEY."
        )


def new_key() -> Key:
    """Return a fresh random key."""
    return _key(secrets.token_bytes(_BYTES))


def _parse(texts: list[str], where: str) -> tuple[Key, ...]:
    keys = tuple(_key(value) for text in texts if (value := _decoded(text.strip())) is not None)
    if len(keys) != len(texts) or not keys:
        raise SetupError(
            f"The master key in {where} is no key: it is 32 random bytes as Base64 or as 64 hexadecimal digits, for "
            "instance from `openssl rand -base64 32`."
        )
    return keys


def _decoded(text: str) -> bytes | None:
    with suppress(ValueError):
        if len(text) == 2 * _BYTES:
            return bytes.fromhex(text)
    with suppress(ValueError, binascii.Error):
        value = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        return value if len(value) == _BYTES else None
    return None


def _key(value: bytes) -> Key:
    return Key(hashlib.sha256(b"scoreline master key\0" + value).hexdigest()[:16], value)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
