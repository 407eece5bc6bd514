"""The French layout (KBDFR): digits with Shift or Caps Lock, which shifts nearly every key, as on Windows."""

from rdpprov.sessions.layouts.table import Layout, composing

FR = Layout(
    name="fr",
    title="French",
    identifier=0x40C,
    plain=(
        "²&é\"'(-è_çà)=",
        "azertyuiop^$",
        "qsdfghjklmù*",
        "<wxcvbn,;:!",
    ),
    shifted=(
        " 1234567890°+",
        "AZERTYUIOP¨£",
        "QSDFGHJKLM%µ",
        ">WXCVBN?./§",
    ),
    alt_gr=(
        "  ~#{[|`\\^@]}",
        "  €        ¤",
        "            ",
        "           ",
    ),
    has_alt_gr=True,
    caps_lock="&é\"'(-è_çà)=$ù*,;:!",
    dead=("^", "¨", "~`"),
    composed={
        "^": composing("aeiouAEIOU", "âêîôûÂÊÎÔÛ"),
        "¨": composing("aeiouyAEIOU", "äëïöüÿÄËÏÖÜ"),
        "~": composing("anoANO", "ãñõÃÑÕ"),
        "`": composing("aeiouAEIOU", "àèìòùÀÈÌÒÙ"),
    },
)
