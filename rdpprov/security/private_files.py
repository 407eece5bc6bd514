"""Files that hold secrets: readable by their owner alone, replaced as a whole or not at all, changed by one at a time.

Where there are no owner and mode (Windows), the checks of them pass and the user's own directories are what protects.
"""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rdpprov.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MAX_SIZE = 16 * 1024 * 1024
"""Bytes. Whoever names a device or a disk image as a users file is told so, instead of filling the memory."""


def make_private_directory(path: Path) -> Path:
    """Make a directory for secrets, mode 0700, with the parents that it needs; return it.

    Raises:
        ConfigurationError: it cannot be made, or it exists and others may write in it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"directory {path}: {reason_of(error)}") from error
    if os.name == "posix":
        if status.st_uid != os.geteuid():
            raise ConfigurationError(f"directory {path}: belongs to uid {status.st_uid}, expected {os.geteuid()}")
        if status.st_mode & 0o022:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigurationError(f"directory {path}: mode {mode:04o} lets others write in it, expected 0700")
    return path


def read_private(path: Path, what: str) -> tuple[bytes, os.stat_result]:
    """Read a file of secrets and say what state it was in.

    Args:
        path: the file.
        what: names it in messages, as ``users file``.

    Raises:
        ConfigurationError: it is missing, not a regular file, too large, or not its owner's alone.
    """
    try:
        # The checks are made on what was opened, not on what the name meant a moment before. Opening a FIFO for
        # reading would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _check_private(path, status, what)
            return file.read(MAX_SIZE), status
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {reason_of(error)}") from error


def _check_private(path: Path, status: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{what} {path}: not a regular file")
    if status.st_size > MAX_SIZE:
        raise ConfigurationError(f"{what} {path}: {status.st_size} bytes, expected at most {MAX_SIZE}")
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise ConfigurationError(f"{what} {path}: belongs to uid {status.st_uid}, expected {os.geteuid()}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigurationError(f"{what} {path}: mode {mode:04o} is open to others, expected 0600")


def write_private(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path` at one stroke, mode 0600: readers see the old file or the new one.

    Raises:
        ConfigurationError: it cannot be written.
    """
    # A symbolic link is followed: it is the file behind it that is meant.
    path = Path(os.path.realpath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp's mode is 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path}: {reason_of(error)}") from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep other processes that also use this from changing `path` meanwhile. Waits for them; readers need no lock.

    The lock is on a file beside it, for `path` itself is replaced by every change.

    Raises:
        ConfigurationError: the lock file cannot be made.
    """
    path = Path(os.path.realpath(path))
    lock = path.with_name(f".{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{lock}: {reason_of(error)}") from error
    with open(descriptor, "r+b"):  # closing unlocks
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def reason_of(error: OSError) -> str:
    """The operating system's words for what went wrong, in the case of our messages: ``no such file or directory``."""
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]
