"""``rdpprov watch``: what happens in the service, as it happens."""

import json as json_module
import sys
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
import trio

from rdpprov.admin.client import AdminClient
from rdpprov.admin.protocol import event_name, event_to_json, to_json
from rdpprov.cli.administering import THE_SERVICE, Admin, clean
from rdpprov.cli.sessions import HEADS, session_row
from rdpprov.rcm.events import Event
from rdpprov.rcm.snapshots import ListenerInfo, ServiceInfo, SessionInfo

if TYPE_CHECKING:
    from rich.console import Group

EVENTS_SHOWN = 200
GATHER = 0.2
"""Seconds that events are gathered for before the table is drawn again."""
REFRESH = 1.0
"""Seconds after which it is drawn again although nothing has happened."""


def watch(*, admin: Admin = THE_SERVICE) -> None:
    """Watch the service until Ctrl-C: a live table on a terminal, else JSON, one event a line.

    The first line of JSON is what there is: sessions, listeners, whether the service drains.
    """
    admin.ask(_print_events if admin.json or not sys.stdout.isatty() else _show_live)


@attrs.frozen
class _View:
    """What there is."""

    service: ServiceInfo
    listeners: list[ListenerInfo]
    sessions: list[SessionInfo]

    @classmethod
    async def ask(cls, client: AdminClient) -> "_View":
        return cls(await client.service(), await client.listeners(), await client.sessions())


async def _print_events(client: AdminClient) -> None:
    await client.watch()  # first, so that nothing is missed in between
    view = await _View.ask(client)
    print(json_module.dumps({"event": "watching", **attrs.asdict(view, recurse=False)}, default=to_json), flush=True)
    while True:
        print(json_module.dumps(event_to_json(await client.next_event())), flush=True)


async def _show_live(client: AdminClient) -> None:
    from rich.live import Live

    events: deque[Event] = deque(maxlen=EVENTS_SHOWN)
    await client.watch()
    with Live(screen=True, auto_refresh=False) as live:
        shown = -REFRESH
        has_news = True
        while True:
            if has_news or trio.current_time() - shown >= REFRESH:
                live.update(_drawn(await _View.ask(client), events, live.console.height), refresh=True)
                shown, has_news = trio.current_time(), False
            with trio.move_on_after(GATHER):
                while True:
                    events.append(await client.next_event())
                    has_news = True


def _drawn(view: _View, events: deque[Event], height: int) -> "Group":
    """The screen: the service in a line, its sessions, and below them what has happened, the newest last."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    service = view.service
    state = "stopping" if service.stopping else "draining" if service.draining else "running"
    listeners = "  ".join(
        f"{listener.listener} {' '.join(listener.addresses)}{'' if listener.up else ' (down)'}"
        for listener in view.listeners
    )
    head = Text.assemble(
        ("rdpprov ", "bold"),
        (state, "green" if state == "running" else "yellow"),
        f"  {service.sessions} sessions  {service.connections} connections  {clean(listeners)}",
    )
    sessions = Table(*HEADS, box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    room = max(1, (height - 6) * 2 // 3)
    for session in view.sessions[:room]:
        sessions.add_row(*(Text(clean(cell)) for cell in session_row(session)))
    if len(view.sessions) > room:
        sessions.add_row(f"... {len(view.sessions) - room} more")
    rest = max(1, height - 5 - min(len(view.sessions), room + 1))
    lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in map(_told, list(events)[-rest:])]
    return Group(head, sessions, *lines)


def _told(event: Event) -> str:
    """An event in a line."""
    at = datetime.fromtimestamp(event.at).strftime("%H:%M:%S")
    fields = attrs.asdict(event)
    del fields["at"]
    told = "  ".join(f"{name}={clean(value)}" for name, value in fields.items())
    return f"{at}  {event_name(type(event)).replace('-', ' ')}  {told}"
