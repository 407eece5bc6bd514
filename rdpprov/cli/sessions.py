"""``rdpprov sessions``: who is logged on, and what an administrator does about it."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from rdpprov.cli.administering import THE_SERVICE, Admin, amount, clean, duration, moment, table
from rdpprov.rcm.snapshots import SessionDetails, SessionInfo

app = App(name="sessions", result_action="return_value")

HEADS = ("SESSION", "STATE", "USER", "CLIENT", "ADDRESS", "PROTOCOL", "SIZE", "LOGGED ON", "IDLE")


@app.command(name="list")
def list_sessions(*, admin: Admin = THE_SERVICE) -> None:
    """List all sessions."""
    sessions = admin.ask(lambda service: service.sessions())
    admin.say(sessions, *(session_table(sessions) if sessions else ["there are no sessions"]))


@app.command
def show(session: int, /, *, admin: Admin = THE_SERVICE) -> None:
    """Show all about one session, and the settings in force there.

    Args:
        session: its number.
    """
    details = admin.ask(lambda service: service.session(session))
    admin.say(details, *_details(details))


@app.command
def disconnect(session: int, /, *, admin: Admin = THE_SERVICE) -> None:
    """Disconnect a session's client. The session stays, for its user to come back to.

    Args:
        session: its number.
    """
    admin.ask(lambda service: service.disconnect(session))
    admin.say({"session": session, "done": "disconnected"}, f"session {session}: disconnected")


@app.command
def logoff(session: int, /, *, admin: Admin = THE_SERVICE) -> None:
    """End a session, with everything that is open there.

    Args:
        session: its number.
    """
    admin.ask(lambda service: service.logoff(session))
    admin.say({"session": session, "done": "logged off"}, f"session {session}: logged off")


@app.command
def message(session: int, /, *text: str, admin: Admin = THE_SERVICE) -> None:
    """Show a message on a session's desktop.

    Args:
        session: its number.
        text: the message.
    """
    admin.ask(lambda service: service.message(session, " ".join(text)))
    admin.say({"session": session, "done": "told"}, f"session {session}: told")


@app.command
def shadow(
    target: int,
    /,
    *,
    viewer: Annotated[int | None, Parameter(name="--from")] = None,
    control: Annotated[bool, Parameter(negative="")] = False,
    stop: Annotated[bool, Parameter(negative="")] = False,
    admin: Admin = THE_SERVICE,
) -> None:
    """Let the client of another session see a session. Waits until its user has agreed.

    Args:
        target: number of the session to be seen.
        viewer: number of the session whose client is to see it; default: the only other one with a client.
        control: with keyboard and mouse.
        stop: let it be seen no longer.
    """
    if stop:
        admin.ask(lambda service: service.end_shadow(target))
        admin.say({"session": target, "done": "not shadowed"}, f"session {target}: not shadowed any more")
        return
    admin.ask(lambda service: service.shadow(target, viewer=viewer, control=control))
    admin.say({"session": target, "done": "shadowed"}, f"session {target}: shadowed")


def session_table(sessions: Sequence[SessionInfo]) -> list[str]:
    """Sessions as lines."""
    return table(HEADS, map(session_row, sessions))


def session_row(session: SessionInfo) -> tuple[object, ...]:
    """What stands below `HEADS`."""
    client = session.connection
    return (
        session.session,
        _state(session),
        session.user_label,
        client and client.client_name,
        client and client.client_address,
        client and client.protocol,
        f"{session.width}x{session.height}" if session.width else "",
        moment(session.logged_on_at),
        duration(session.idle if client else session.disconnected),
    )


def _state(session: SessionInfo) -> str:
    """What a session is doing, and who watches whom."""
    state = session.state.name.lower()
    if session.shadows is not None:
        return f"{state} of {session.shadows}"
    return state if session.shadowed_by is None else f"{state}, seen by {session.shadowed_by}"


def _details(details: SessionDetails) -> list[str]:
    session, client = details.info, details.info.connection
    facts: list[tuple[str, object]] = [
        ("session", session.session),
        ("state", _state(session)),
        ("user", session.user_label),
        ("logged on by", session.how),
        ("created", moment(session.created_at)),
        ("logged on", moment(session.logged_on_at)),
        ("disconnected for", duration(session.disconnected)),
        ("idle for", duration(session.idle)),
        ("shadowed by", session.shadowed_by),
        ("shadows", session.shadows),
        ("desktop", f"{session.width}x{session.height}" if session.width else ""),
    ]
    if client is not None:
        facts += [
            ("connection", client.connection),
            ("connected since", moment(client.opened_at)),
            ("protocol", client.protocol),
            ("listener", client.listener),
            ("client", client.client_name),
            ("client's address", client.client_address),
            ("client's build", client.client_build or ""),
            ("client's screen", f"{client.screen_width}x{client.screen_height}" if client.screen_width else ""),
            ("bits per pixel", client.color_depth or ""),
            ("received", amount(client.bytes_in)),
            ("sent", amount(client.bytes_out)),
            ("frames sent", client.frames_out),
        ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name.ljust(width)}  {clean(value)}" for name, value in facts]
    if details.settings:
        rows = [(setting.name, _value(setting.value), setting.origin) for setting in details.settings]
        lines += ["", *table(("SETTING", "VALUE", "FROM"), rows)]
    return lines


def _value(value: bool | int | str) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
