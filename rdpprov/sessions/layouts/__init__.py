"""Keyboard layouts as tables, one file each; facts from the layouts that Windows ships (KBDUS, KBDUK, KBDGR, KBDFR)."""

from rdpprov.sessions.layouts.de import DE
from rdpprov.sessions.layouts.fr import FR
from rdpprov.sessions.layouts.table import Layout
from rdpprov.sessions.layouts.uk import UK
from rdpprov.sessions.layouts.us import US

LAYOUTS = {layout.identifier: layout for layout in (US, UK, DE, FR)}
"""By Windows's keyboard layout id."""

FALLBACK = US
"""For every other id."""

__all__ = ["DE", "FALLBACK", "FR", "LAYOUTS", "UK", "US", "Layout"]
