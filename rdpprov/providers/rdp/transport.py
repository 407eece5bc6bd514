"""One client's byte stream: TCP, then TLS on top of it. Joins what there is to write into few, large writes."""

import ssl
from collections.abc import Callable

import trio

from rdpprov.errors import RemoteProtocolError

RECEIVE_SIZE = 16 * 1024
"""Bytes read at a time: a client sends little, and every connection may be holding one such buffer."""

LINGER = 2.0
"""Seconds for the client to end its side after we have ended ours ([MS-RDPBCGR] 1.3.1.4.2): closing earlier can
reset the connection, and with it go the error info and the ultimatum that are still under way."""


class ClientGone(RemoteProtocolError):  # noqa: N818 - an event of the network as much as an error
    """The connection is closed, broken, or takes no bytes any more."""


class PrefixedStream(trio.abc.Stream):
    """A stream some of whose bytes have already been read: a ClientHello that came with the X.224 request."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """First the prefix, then the stream."""
        if not self._prefix:
            return bytes(await self._stream.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        cut = len(self._prefix) if max_bytes is None else max_bytes
        data, self._prefix = self._prefix[:cut], self._prefix[cut:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """To the stream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Of the stream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Of the stream."""
        await self._stream.aclose()


class Transport:
    """The bytes of one client.

    Args:
        stream: as accepted.
        pending: takes all that is waiting to be sent out of the machine.
        send_timeout: seconds after which a client that accepts nothing is given up.
    """

    def __init__(self, stream: trio.abc.Stream, pending: Callable[[], bytes], send_timeout: float) -> None:
        self._stream = stream
        self._pending = pending
        self._send_timeout = send_timeout
        self._sending = trio.Lock()
        self.bytes_in = 0
        self.bytes_out = 0
        self.writes = 0

    async def start_tls(self, context: ssl.SSLContext, already_received: bytes) -> None:
        """Let TLS begin.

        Raises:
            ClientGone: the handshake failed; the reason says how.
        """
        below = PrefixedStream(already_received, self._stream) if already_received else self._stream
        # Not https_compatible: the client's FIN without close_notify is reported either way, and ours is always sent.
        stream = trio.SSLStream(below, context, server_side=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            raise ClientGone(f"TLS handshake failed: {_cause(error)}") from error
        self._stream = stream

    async def receive_some(self) -> bytes:
        """Wait for bytes.

        Raises:
            ClientGone: there will be none.
        """
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(f"connection broke: {_cause(error)}") from error
        if not data:
            raise ClientGone("client closed the connection")
        self.bytes_in += len(data)
        return data

    async def flush(self) -> None:
        """Send all that is pending. Whoever waits for another's write finds its own bytes already joined to it.

        Raises:
            ClientGone: the connection broke, or the client accepted nothing for ``send_timeout``.
        """
        async with self._sending:
            data = self._pending()
            if not data:
                return
            try:
                with trio.fail_after(self._send_timeout):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                raise ClientGone(f"client accepted nothing for {self._send_timeout:g} s") from None
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ClientGone(f"connection broke: {_cause(error)}") from error
            self.bytes_out += len(data)
            self.writes += 1

    async def wait_writable(self) -> None:
        """Wait until the client may take something: a frame that is grabbed then is fresh when it leaves.

        Raises:
            ClientGone: the connection broke.
        """
        try:
            async with self._sending:
                await self._stream.wait_send_all_might_not_block()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(f"connection broke: {_cause(error)}") from error

    async def aclose(self) -> None:
        """Send what is pending, say goodbye (TLS close_notify, then FIN), and wait a little for the client's end.

        Nobody may be receiving any more. Never fails, and takes no longer than `LINGER`.
        """
        with trio.move_on_after(LINGER, shield=True):
            try:
                await self.flush()
                await self._goodbye()
            except ClientGone:
                pass
        await trio.aclose_forcefully(self._stream)

    async def _goodbye(self) -> None:
        try:
            if isinstance(self._stream, trio.SSLStream):
                # Without TLS 1.3's half-close: unwrap sends our close_notify and waits for the client's.
                below = await self._stream.unwrap()
                await trio.aclose_forcefully(below[0])
            elif isinstance(self._stream, trio.SocketStream):
                await self._stream.send_eof()
                while await self._stream.receive_some(RECEIVE_SIZE):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass


def _cause(error: BaseException) -> str:
    """The innermost reason: trio wraps what TLS and the socket say."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__
