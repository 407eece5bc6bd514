"""The United Kingdom layout (KBDUK): AltGr makes the euro sign, the broken bar and vowels with acute."""

from rdpprov.sessions.layouts.table import Layout

UK = Layout(
    name="uk",
    title="British English",
    identifier=0x809,
    plain=(
        "`1234567890-=",
        "qwertyuiop[]",
        "asdfghjkl;'#",
        "\\zxcvbnm,./",
    ),
    shifted=(
        '¬!"£$%^&*()_+',
        "QWERTYUIOP{}",
        "ASDFGHJKL:@~",
        "|ZXCVBNM<>?",
    ),
    alt_gr=(
        "¦   €        ",
        "  é   úíó   ",
        "á           ",
        "           ",
    ),
    shifted_alt_gr=(
        "             ",
        "  É   ÚÍÓ   ",
        "Á           ",
        "           ",
    ),
    has_alt_gr=True,
)
