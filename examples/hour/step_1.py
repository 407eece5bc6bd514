"""A remote desktop for terminals, step 1: a listener that listens."""

from typing import Any

import trio

from rdpprov import api


class HourListener(api.ProtocolListener):
    def __init__(self, options: Any) -> None:
        self.options = options
        self.accepting = trio.CancelScope()

    async def start_listen(self, callback: api.ProtocolListenerCallback, *, task_status: Any) -> None:
        self.callback = callback
        listeners = await trio.open_tcp_listeners(self.options["port"], host=self.options["host"])
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as clients:
            with self.accepting:
                await trio.serve_listeners(self.serve, listeners, handler_nursery=clients, task_status=task_status)

    async def stop_listen(self) -> None:
        self.accepting.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        await stream.aclose()


class HourManager(api.ProtocolManager):
    async def create_listener(self, listener_name: str) -> HourListener:
        return HourListener(self.settings.listener_options(listener_name))
