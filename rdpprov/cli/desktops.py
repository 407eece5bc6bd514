"""Which desktop sessions get: ``--desktop`` and ``[sessions] desktop``."""

import importlib
from typing import cast

from rdpprov.errors import ConfigurationError
from rdpprov.sessions.base import DesktopFactory

EXPECTED = "demo or package.module:Factory"


def load_desktop(name: str) -> DesktopFactory:
    """The factory of a desktop.

    Args:
        name: ``demo``, or a callable as ``package.module:Factory``.

    Raises:
        ConfigurationError: there is none of that name, or it cannot be imported.
    """
    kind, _, rest = name.partition(":")
    if kind in ("x11", "x11-attach"):
        raise ConfigurationError(f"desktop {name!r}: X11 desktops are not built yet, expected {EXPECTED}")
    if name == "demo":
        name, kind, rest = "rdpprov.sessions.demo:DemoDesktop", "rdpprov.sessions.demo", "DemoDesktop"
    if not rest:
        raise ConfigurationError(f"desktop {name!r}: unknown, expected {EXPECTED}")
    try:
        found: object = importlib.import_module(kind)
        for part in rest.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"desktop {name!r}: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"desktop {name!r}: {found!r} is no factory, which is called with a DesktopRequest")
    return cast(DesktopFactory, found)
