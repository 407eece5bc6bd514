"""The service's half of the admin socket: `serve_admin`."""

import socket
from contextlib import suppress
from functools import partial
from typing import NoReturn

import structlog
import trio

from rdpprov.admin import protocol
from rdpprov.admin.lines import LineStream
from rdpprov.admin.place import may_use, peer_uid
from rdpprov.errors import AdministrationError, RemoteProtocolError, for_log
from rdpprov.rcm.administration import Administration

log = structlog.get_logger(__name__)

MAX_CLIENTS = 32
"""At once; further ones are told so and disconnected."""


async def serve_admin(administration: Administration, listening: socket.socket) -> NoReturn:
    """Answer administrators until cancelled.

    Args:
        administration: what they see and do.
        listening: of `rdpprov.admin.place.listening_at`; closed in the end.
    """
    clients = trio.CapacityLimiter(MAX_CLIENTS)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    await trio.serve_listeners(partial(_serve_client, administration, clients), [listener])


async def _serve_client(
    administration: Administration, clients: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    """One administrator, whatever happens there."""
    lines = LineStream(stream, protocol.MAX_LINE)
    try:
        async with stream:
            uid = peer_uid(stream.socket)
            if not may_use(uid):
                log.warning("admin socket refused a user", uid=uid)
                await lines.send(
                    protocol.pack_error(None, "not-allowed", f"user {uid} may not administrate this service")
                )
                return
            try:
                clients.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                many = f"there are {MAX_CLIENTS} administrators, as many as are served at once"
                await lines.send(protocol.pack_error(None, "busy", many))
                return
            try:
                await _Client(administration, lines).run()
            finally:
                clients.release_on_behalf_of(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # gone, before it could be told
    except Exception as error:
        log.error("admin socket failed", **for_log(error))


class _Client:
    """One who may.

    Args:
        administration: what they see and do.
        lines: to and from them.
    """

    def __init__(self, administration: Administration, lines: LineStream) -> None:
        self._administration = administration
        self._lines = lines
        self._watches = False

    async def run(self) -> None:
        """Answer until they go. Requests are fulfilled one after the other; events come in between."""
        async with trio.open_nursery() as nursery:
            try:
                while (line := await self._lines.receive()) is not None:
                    await self._answer(line, nursery)
            except RemoteProtocolError as error:  # nobody knows where the next request begins
                await self._tell(protocol.pack_error(None, protocol.BAD_REQUEST, str(error)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

    async def _answer(self, line: bytes, nursery: trio.Nursery) -> None:
        try:
            request = protocol.unpack_request(line)
        except protocol.RequestError as error:
            await self._lines.send(protocol.pack_error(error.request_id, error.code, str(error)))
            return
        try:
            if request.call == "watch":
                await self._watch(request, nursery)
            else:
                result = await self._fulfil(request)
                await self._lines.send(protocol.pack_result(request.id, result))
        except AdministrationError as error:
            await self._lines.send(protocol.pack_error(request.id, error.code, str(error)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception as error:  # a mistake of ours costs this request
            log.error("administration failed", call=request.call, **for_log(error))
            await self._lines.send(protocol.pack_error(request.id, "failed", f"failed: {type(error).__name__}"))

    async def _fulfil(self, request: protocol.Request) -> object:
        administration, arguments = self._administration, request.arguments
        match request.call:
            case "service":
                return await administration.service()
            case "sessions":
                return await administration.sessions()
            case "session":
                return await administration.session(arguments["session"])
            case "listeners":
                return await administration.listeners()
            case "disconnect":
                await administration.disconnect(arguments["session"])
            case "logoff":
                await administration.logoff(arguments["session"])
            case "message":
                await administration.message(arguments["session"], arguments["text"])
            case "shadow":
                await self._shadow(**arguments)
            case "end_shadow":
                await administration.end_shadow(arguments["target"])
            case "drain":
                await administration.drain(arguments["on"])
        return None

    async def _shadow(self, target: int, viewer: int | None, control: bool) -> None:
        """Ask a session's user, for as long as the administrator waits for the answer."""
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hang_up, nursery.cancel_scope)
            try:
                await self._administration.shadow(target, viewer=viewer, control=control)
            except AdministrationError as error:
                failure = error  # raised below, outside the nursery, which would wrap it
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _hang_up(self, waiting: trio.CancelScope) -> None:
        await self._lines.until_end()
        waiting.cancel()

    async def _watch(self, request: protocol.Request, nursery: trio.Nursery) -> None:
        if self._watches:
            raise AdministrationError("this connection watches already", protocol.BAD_REQUEST)
        self._watches = True
        await nursery.start(self._send_events, request.id, nursery.cancel_scope)

    async def _send_events(
        self,
        request_id: int,
        connection: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """The answer to ``watch``, and events from then on, until the service has ended. Who takes them slowly holds up
        nobody, and misses some."""
        with self._administration.watch() as watcher:
            task_status.started()
            await self._tell(protocol.pack_result(request_id, None))
            async for event in watcher:
                await self._tell(protocol.pack_event(request_id, event))
        connection.cancel()

    async def _tell(self, line: bytes) -> None:
        """Say something to someone who may be gone; whoever receives will notice."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._lines.send(line)
