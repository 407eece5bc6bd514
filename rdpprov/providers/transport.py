"""One client's byte stream: TCP, then TLS on top of it, or what a protocol has in its place.

TLS runs on memory buffers here, not in `trio.SSLStream`: so the buffers have a bound, and the goodbye can be said
without waiting for, or stumbling over, what the client was still sending.

Nearly all that is sent fits into the socket's buffer. So sending does not wait, and only what does not fit is waited
for, with a time limit: cheaper by a turn of the event loop for every write.
"""

import os
import select
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import trio

from rdpprov.errors import RemoteProtocolError

RECEIVE_SIZE = 16 * 1024
"""Bytes read at a time: a client sends little, and every connection may be holding one such buffer."""

RECORD_SIZE = 16 * 1024
"""Bytes that are encrypted at a time, a whole TLS record: a memory buffer keeps the size that it once had."""

WRITE_SIZE = 64 * 1024
"""Bytes that are written at a time, each time within the limit: a slow client makes progress, a dead one does not."""

LINGER = 2.0
"""Seconds for the client to end its side after we have ended ours ([MS-RDPBCGR] 1.3.1.4.2): closing earlier can
reset the connection, and with it go the error info and the ultimatum that are still under way."""


NOTHING: Final = memoryview(b"")
"""No bytes. The empty end of a view would keep what was sent alive: a whole picture, while nothing changes."""


class ClientGone(RemoteProtocolError):  # noqa: N818 - an event of the network as much as an error
    """The connection is closed, broken, or takes no bytes any more."""


class Layer(Protocol):
    """What encrypts between the stream and the protocol, without I/O of its own. What it raises ends the connection."""

    @property
    def unclean_end(self) -> str:
        """What is missing when the stream ends without a word of the layer, for the log."""

    def receive_records(self, records: bytes) -> None:
        """Take what came in."""

    def decrypt(self) -> bytes | None:
        """Bytes of the client; empty if it says that it ends, None if more records are needed."""

    def encrypt(self, data: bytes) -> bytes:
        """The records of these bytes."""

    def close(self) -> bytes:
        """The record that says that nothing more comes, if there is one."""


class _Tls:
    """The server's end of TLS, on memory buffers."""

    unclean_end = "without TLS close_notify"

    def __init__(self, context: ssl.SSLContext, already_received: bytes) -> None:
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._received.write(already_received)
        self._end = context.wrap_bio(self._received, self._to_send, server_side=True)

    def receive_records(self, records: bytes) -> None:
        """Take what came in."""
        self._received.write(records)

    def records_to_send(self) -> bytes:
        """What is to go out."""
        return self._to_send.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over."""
        try:
            self._end.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self) -> bytes | None:
        """Bytes of the client; empty at its close_notify, None if more records are needed."""
        if not self._received.pending and not self._end.pending():
            return None  # as OpenSSL would say with an exception
        try:
            return self._end.read(RECEIVE_SIZE)
        except ssl.SSLWantReadError:
            return None

    def encrypt(self, data: bytes) -> bytes:
        """The records of these bytes, behind what TLS itself had to say (a key update)."""
        view, records = memoryview(data), []
        for start in range(0, len(data), RECORD_SIZE):
            self._end.write(view[start : start + RECORD_SIZE])
            records.append(self._to_send.read())
        return b"".join(records)

    def close(self) -> bytes:
        """The record that says that nothing more comes: close_notify."""
        with suppress(ssl.SSLError):  # always: the client's is not here yet, and not waited for
            self._end.unwrap()
        return self._to_send.read()


class Transport:
    """The bytes of one client. One task may receive while another sends.

    Args:
        stream: as accepted.
        send_timeout: seconds after which a client that accepts nothing is given up.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, send_timeout: float) -> None:
        self._stream = stream
        # Only a socket of POSIX is a file, too: other streams are asked to send and to receive, and may wait.
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) and os.name == "posix" else None
        self._send_timeout = send_timeout
        self._layer: Layer | None = None
        self._unsent = NOTHING
        """The end of what `send` was given. Where nobody drains it, a write was given up: half a record is the end."""
        self._closing = trio.Lock()
        self._closed = False
        self.bytes_in = 0
        """Inside TLS, or what is in its place, like `bytes_out`."""
        self.bytes_out = 0
        self.writes = 0

    async def start_tls(self, context: ssl.SSLContext, already_received: bytes) -> None:
        """Let TLS begin.

        Args:
            context: of a server.
            already_received: a ClientHello that came with the X.224 request, or the beginning of one.

        Raises:
            ClientGone: the handshake failed; the reason says how.
        """
        self._layer = tls = _Tls(context, already_received)
        try:
            while not tls.shake_hands():
                await self._send_all_records(tls.records_to_send())
                tls.receive_records(await self._receive("in the TLS handshake"))
        except ssl.SSLError as error:
            with suppress(ClientGone):  # the alert
                await self._send_all_records(tls.records_to_send())
            raise ClientGone(f"TLS handshake failed: {_reason(error)}") from error
        await self._send_all_records(tls.records_to_send())

    def start_layer(self, layer: Layer, already_received: bytes) -> None:
        """Let a layer of the protocol's own begin, whose keys are agreed upon. All that was sent has been drained.

        Args:
            layer: through which all goes from now on.
            already_received: what came of it with what was before it.
        """
        layer.receive_records(already_received)
        self._layer = layer

    async def receive_some(self) -> bytes:
        """Wait for bytes.

        Raises:
            ClientGone: there will be none.
            RemoteProtocolError: a layer of the protocol's own finds that they are not the client's.
        """
        data = await (self._receive() if self._layer is None else self._receive_through(self._layer))
        self.bytes_in += len(data)
        return data

    async def _receive_through(self, layer: Layer) -> bytes:
        try:
            while (data := layer.decrypt()) is None:
                layer.receive_records(await self._receive(layer.unclean_end))
        except ssl.SSLError as error:
            raise ClientGone(f"TLS failed: {_reason(error)}") from error
        if not data:
            raise ClientGone("client closed the connection")
        return data

    async def _receive(self, how: str = "") -> bytes:
        try:
            data = await self._read()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise ClientGone(f"connection broke: {_reason(error)}") from error
        if not data:
            raise ClientGone(f"client closed the connection {how}".rstrip())
        return data

    async def _read(self) -> bytes:
        if self._socket is None:
            return bytes(await self._stream.receive_some(RECEIVE_SIZE))
        # The stream would try first, mostly in vain, and after success go round the event loop once more.
        while (descriptor := self._socket.fileno()) >= 0:
            await trio.lowlevel.wait_readable(descriptor)
            try:
                return os.read(descriptor, RECEIVE_SIZE)
            except BlockingIOError:
                pass  # somebody else's wake-up
        raise trio.ClosedResourceError("closed already")

    @property
    def has_unsent(self) -> bool:
        """Whether `send` has left something to `drain`."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Send as many bytes as can be without waiting; `drain` sends the rest. Not while there is such a rest.

        Raises:
            ClientGone: the connection broke.
        """
        self.bytes_out += len(data)
        self.writes += 1
        if self._layer is not None:
            try:
                data = self._layer.encrypt(data)
            except ssl.SSLError as error:  # it failed in receiving before
                raise ClientGone(f"TLS failed: {_reason(error)}") from error
        self._send_records(data)

    def _send_records(self, data: bytes) -> None:
        if self._unsent:
            raise ClientGone("connection broke: a write was given up")
        unsent = memoryview(data)
        try:
            while self._socket is not None and unsent:  # more than once: a client that reads makes room meanwhile
                unsent = unsent[os.write(self._socket.fileno(), unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ClientGone(f"connection broke: {_reason(error)}") from error
        self._unsent = unsent or NOTHING

    async def drain(self) -> None:
        """Wait until all is sent. Cancelled, it has sent a part, and nothing can be sent any more.

        Raises:
            ClientGone: the connection broke, or the client accepted nothing for ``send_timeout``.
        """
        while self._unsent:
            await self._patiently(self._stream.send_all, self._unsent[:WRITE_SIZE])
            self._unsent = self._unsent[WRITE_SIZE:] or NOTHING

    async def send_all(self, data: bytes) -> None:
        """`send`, and `drain` if need be."""
        self.send(data)
        await self.drain()

    async def _send_all_records(self, data: bytes) -> None:
        self._send_records(data)
        await self.drain()

    def is_writable(self) -> bool:
        """Whether the client takes something just now; False also where only `wait_writable` can tell."""
        if self._socket is None or (descriptor := self._socket.fileno()) < 0:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    async def wait_writable(self) -> None:
        """Wait until the client may take something: a frame that is grabbed then is fresh when it leaves.

        Raises:
            ClientGone: the connection broke, or the client accepted nothing for ``send_timeout``.
        """
        await self._patiently(self._stream.wait_send_all_might_not_block)

    async def _patiently(self, operation: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            with trio.fail_after(self._send_timeout):
                await operation(*args)
        except trio.TooSlowError:
            raise ClientGone(f"client accepted nothing for {self._send_timeout:g} s") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(f"connection broke: {_reason(error)}") from error

    async def aclose(self, last_words: bytes = b"") -> None:
        """Send the last bytes, say goodbye (TLS close_notify, then FIN), and wait a little for the client's end.

        Nobody may be sending or receiving any more. Never fails, and takes no longer than `LINGER`. A second caller
        waits for the first.
        """
        with trio.CancelScope(shield=True):
            async with self._closing:
                if not self._closed:
                    self._closed = True
                    with trio.move_on_after(LINGER), suppress(ClientGone):
                        await self._say_goodbye(last_words)
                    await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, last_words: bytes) -> None:
        if last_words:
            await self.send_all(last_words)
        if self._layer is not None:
            await self._send_all_records(self._layer.close())
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()
        # Read on, whatever it is: closing a socket with unread bytes resets the connection.
        while await self._receive():
            pass


def _reason(error: BaseException) -> str:
    """The innermost one: trio wraps what the socket says."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__
