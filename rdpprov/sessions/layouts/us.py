"""The US layout (KBDUS): no AltGr, no dead keys."""

from rdpprov.sessions.layouts.table import Layout

US = Layout(
    name="us",
    title="US English",
    identifier=0x409,
    plain=(
        "`1234567890-=",
        "qwertyuiop[]",
        "asdfghjkl;'\\",
        "\\zxcvbnm,./",
    ),
    shifted=(
        "~!@#$%^&*()_+",
        "QWERTYUIOP{}",
        'ASDFGHJKL:"|',
        "|ZXCVBNM<>?",
    ),
)
