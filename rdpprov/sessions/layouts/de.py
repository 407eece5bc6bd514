"""The German layout (KBDGR). Its Caps Lock shifts digits and most signs too, as on Windows."""

from rdpprov.sessions.layouts.table import Layout, composing

DE = Layout(
    name="de",
    title="German",
    identifier=0x407,
    plain=(
        "^1234567890ß´",
        "qwertzuiopü+",
        "asdfghjklöä#",
        "<yxcvbnm,.-",
    ),
    shifted=(
        '°!"§$%&/()=?`',
        "QWERTZUIOPÜ*",
        "ASDFGHJKLÖÄ'",
        ">YXCVBNM;:_",
    ),
    alt_gr=(
        "  ²³   {[]}\\ ",
        "@ €        ~",
        "            ",
        "|      µ   ",
    ),
    shifted_alt_gr=(
        "           ẞ ",
        "            ",
        "            ",
        "           ",
    ),
    has_alt_gr=True,
    caps_lock="1234567890ßüöä+#,.",
    dead=("^´", "`", ""),
    composed={
        "^": composing("aeiouAEIOU", "âêîôûÂÊÎÔÛ"),
        "´": composing("aeiouyAEIOUY", "áéíóúýÁÉÍÓÚÝ"),
        "`": composing("aeiouAEIOU", "àèìòùÀÈÌÒÙ"),
    },
    decimal=",",
)
