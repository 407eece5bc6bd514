"""``rdpprov listeners``: where the service listens."""

from rdpprov.cli.administering import THE_SERVICE, Admin, table

HEADS = ("LISTENER", "PROTOCOL", "STATE", "ADDRESS", "CLIENTS")


def listeners(*, admin: Admin = THE_SERVICE) -> None:
    """List the service's listeners, and how many clients each has."""
    found = admin.ask(lambda service: service.listeners())
    rows = [
        (
            listener.listener,
            listener.protocol,
            "up" if listener.up else "down",
            " ".join(listener.addresses),
            listener.connections,
        )
        for listener in found
    ]
    admin.say(found, *table(HEADS, rows))
