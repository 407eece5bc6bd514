"""The connection's keyboard and mouse: what `GetInputHandles` hands out."""

from collections.abc import Iterable

import trio

from rdpprov.api.devices import InputEvent, InputSink


class RdpInputDevices:
    """`InputDevices` of one RDP client. Events that come while nothing is plugged in are dropped."""

    def __init__(self) -> None:
        self._sink: InputSink | None = None
        self._last_input = trio.current_time()
        self.events = 0
        """That the client has sent."""

    def plug(self, sink: InputSink) -> None:
        """Send events to ``sink`` from now on."""
        self._sink = sink

    def unplug(self) -> None:
        """Drop events from now on."""
        self._sink = None

    def deliver(self, events: Iterable[InputEvent]) -> None:
        """Hand on what the client sent, in its order."""
        self._last_input = trio.current_time()
        for event in events:
            self.events += 1
            if self._sink is None:  # looked at each time: an event may be the one that ends the session
                return
            self._sink.input_event(event)

    @property
    def idle_milliseconds(self) -> int:
        """Since the last input, or since the connection began."""
        return int((trio.current_time() - self._last_input) * 1000)
