"""Desktops by name, as `--desktop` and the configuration spell them."""

import importlib
from difflib import get_close_matches

from rdpprov.errors import ConfigurationError
from rdpprov.sessions.base import DesktopFactory, LogonDesktopFactory, OverlayFactory
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.logon import PanelLogonDesktop
from rdpprov.sessions.shadow_consent import DesktopOverlay

BUILT_IN: dict[str, DesktopFactory] = {"demo": DemoDesktop}
NOT_BUILT_YET = {
    "x11": "a desktop of programs on an X server",
    "x11-attach": "an X server that runs already",
}
"""Names that the configuration knows already, and what will stand behind them."""


def load_desktop_factory(name: str) -> DesktopFactory:
    """Find what makes the sessions' desktops.

    Args:
        name: ``demo``, or ``package.module:Factory``: any callable that makes a `Desktop` from a `DesktopRequest`.

    Raises:
        ConfigurationError: there is no such factory; the message says which there are.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    kind, colon, rest = name.partition(":")
    if kind in NOT_BUILT_YET:
        raise ConfigurationError(f"desktop {name!r}: {NOT_BUILT_YET[kind]} is not built yet; there are {_choices()}")
    if not colon:
        near = get_close_matches(name, BUILT_IN, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"there is no desktop {name!r}{hint}; there are {_choices()}")
    try:
        module = importlib.import_module(kind)
    except Exception as error:  # whatever somebody else's module does wrong, it is the configuration that named it
        raise ConfigurationError(
            f"desktop {name!r}: cannot import {kind!r}: {error or type(error).__name__}"
        ) from error
    factory = getattr(module, rest, None)
    if factory is None:
        raise ConfigurationError(f"desktop {name!r}: module {kind!r} has no {rest!r}")
    if not callable(factory):
        raise ConfigurationError(
            f"desktop {name!r}: {type(factory).__name__} is not callable; it must make a Desktop from a DesktopRequest"
        )
    made: DesktopFactory = factory
    return made


def logon_desktop_factory() -> LogonDesktopFactory:
    """What makes the desktops on which users log on."""
    return PanelLogonDesktop


def overlay_factory() -> OverlayFactory:
    """What makes that which users see over their desktops while they are shadowed."""
    return DesktopOverlay


def _choices() -> str:
    return ", ".join(sorted(BUILT_IN)) + " and package.module:Factory"
