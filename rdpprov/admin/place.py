"""Where the admin socket lies, and who may use it: a name in a private directory, the kernel's word for the peer."""

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import make_private_directory, reason_of

if sys.platform != "win32":
    import fcntl

SOCKET_NAME = "admin.sock"
"""In the state directory."""
IS_POSSIBLE = hasattr(socket, "AF_UNIX")
"""There are Unix sockets here."""
NONE = "none"
"""Instead of a path: there is no admin socket."""
MAX_NAME = 107 if sys.platform == "linux" else 103
"""Bytes of a Unix socket's path, without the terminator: ``sun_path`` of unix(7)."""
BACKLOG = 16

_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def default_place(state_dir: Path) -> Path:
    """Where a service with this state directory has its admin socket."""
    return state_dir / SOCKET_NAME


class PlaceTakenError(ConfigurationError):
    """Another service answers there."""


@contextlib.contextmanager
def listening_at(path: Path) -> Iterator[socket.socket]:
    """Listen at a path, for the length of the block. Only the user can connect, and only one service listens there.

    A lock beside the socket tells who listens; a socket without anybody is left over from a service that was killed,
    and replaced.

    Raises:
        PlaceTakenError: another service answers there.
        ConfigurationError: the path cannot be used; the message says why.
    """
    if sys.platform == "win32":
        raise ConfigurationError("admin socket: there are no Unix sockets here; --admin none does without")
    make_private_directory(path.parent)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(path))
        _remove_left_over(path)
        listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        with _short(path) as name, _explained(path):
            listening.bind(name)
            stack.callback(_unlink, path)
            os.chmod(name, 0o600)  # before anybody can connect, for nobody can before it listens
            listening.listen(BACKLOG)
        yield listening


def connected_to(path: Path) -> socket.socket:
    """Connect to a service.

    Raises:
        OSError: nobody answers there, or only to somebody else.
        ConfigurationError: the path is no place for a socket.
    """
    if sys.platform == "win32":
        raise ConfigurationError("admin socket: there are no Unix sockets here")
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            connecting.connect(name)
    except BaseException:
        connecting.close()
        raise
    return connecting


class HasOptions(Protocol):
    """A socket, trio's or Python's own."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """socket.getsockopt."""


def peer_uid(peer: HasOptions) -> int | None:
    """The user at the other end, as the kernel knows; None: it does not say, and the socket's mode has to do."""
    if sys.platform != "linux":
        return None
    _, uid, _ = _UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def may_use(uid: int | None) -> bool:
    """Whether a user may administrate the service of this process."""
    return uid is None or uid in (0, os.geteuid())


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Be the only one who listens there. The kernel gives the lock back whatever becomes of us."""
    lock = path.with_name(f".{path.name}.lock")
    with _explained(path):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ConfigurationError(f"admin socket {path}: {reason_of(error)}") from error
            raise PlaceTakenError(
                f"admin socket {path}: another service answers there; "
                "--state-dir or --admin names another place, --admin none does without"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _remove_left_over(path: Path) -> None:
    with _explained(path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigurationError(f"admin socket {path}: there is something else with that name")
        path.unlink()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"admin socket {path}: {reason_of(error)}") from error


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for a path that fits into a socket's address: its own, or on Linux one through its open directory.

    Raises:
        ConfigurationError: there is none.
    """
    name = os.fspath(path)
    if len(os.fsencode(name)) <= MAX_NAME:
        yield name
        return
    by_directory = len(b"/proc/self/fd/") + 10 + 1 + len(os.fsencode(path.name))
    if sys.platform != "linux" or by_directory > MAX_NAME:
        raise ConfigurationError(
            f"admin socket {path}: {len(os.fsencode(name))} bytes, expected at most {MAX_NAME}; "
            "--admin names another place"
        )
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
