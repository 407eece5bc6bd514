"""Reference pages out of what the program itself goes by: commands, configuration, codes, rules, differences.

Each directive here writes Markdown, which Sphinx reads as if it stood in the page. What is described by hand (a few
keys of the configuration) is compared with what the program asks for, and the build fails if the two differ.
"""

import enum
import importlib
import importlib.util
import inspect
import re
import textwrap
import types
import typing
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
from cyclopts import App
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from rdpprov.api.properties import PROPERTIES
from rdpprov.cli import configuration
from rdpprov.cli.main import app as commands
from rdpprov.errinfo import ErrInfo
from rdpprov.testing.rules import RULES
from rdpprov.traces.diagram import to_svg
from rdpprov.traces.format import read_trace

ROOT = Path(__file__).parents[2]

KEYS = {
    (
        "",
        "state_dir",
    ): "the self-signed certificate, the users file, the admin socket; default: the user's state directory",
    ("", "trace_dir"): "record every call of every connection in files of this directory; default: nowhere",
    ("", "trace_wire"): "`true`: record the bytes, too, without passwords",
    ("", "license"): "licensing policy: `valid-client`",
    ("", "draining"): "`true`: take no new sessions from the start on",
    ("sessions", "desktop"): "what sessions show: `demo`, or `package.module:Factory`",
    ("accounts", "users"): "the users file, made with `rdpprov user`; default: `users` in the state directory",
    ("accounts", "pam"): "a PAM service, in the place of a users file",
    ("admin", "socket"): "a path, or `none`; default: `admin.sock` in the state directory",
    ("listeners.NAME", "protocol"): "a name of the entry-point group `rdpprov.protocols`, or `package.module:Class`",
    ("listeners.NAME", "listen"): "`ADDR:PORT`; port 0 takes any free one",
    ("listeners.NAME", "max_connections"): "at once; default: as many as the protocol's listener allows",
    ("web", "listen"): "`ADDR:PORT`; without it there is no page",
    ("web", "tls"): "`true` or `false`; default: TLS, unless only this machine can connect",
    ("web", "certificate"): "PEM; default: the self-signed one of the state directory, where there is TLS",
    ("web", "key"): "PEM file of the certificate's key",
    ("web", "tls_keylog"): "append TLS secrets to this file, for Wireshark; it lays all traffic open",
    ("web", "listener"): "the listener that serves browsers; default: one without sockets is made, for RFB",
    (
        "web",
        "allowed_hosts",
    ): "a list: the names that browsers may call us by, as `desk.example` or `*.example`; default: "
    "the machine's and the certificate's",
    ("web", "origins"): "a list: pages besides our own that may connect, as `https://desk.example`",
    ("web", "trusted_proxies"): "a list: addresses and networks whose X-Forwarded-For is believed",
    ("web", "metrics"): "`true`: answer `/metrics`, for Prometheus, to programs on this machine; default: `false`",
    (
        "web",
        "metrics_token_file",
    ): "private file (0600) with a token of 16 characters or more: who sends it as Bearer may ask from elsewhere",
}
"""What the tables of the configuration have that is no field of a class."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry."""
    for name, directive in {
        "commands": Commands,
        "configuration": Configuration,
        "fields": Fields,
        "codes": Codes,
        "rules": Rules,
        "differences": Differences,
        "properties": Properties,
        "trace-figure": TraceFigure,
        "module-text": ModuleText,
    }.items():
        app.add_directive(name, directive)
    # What these modules write is as much a page's source as its file: pages made by others than these are made anew.
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": zlib.crc32(sources)}


class Written(SphinxDirective):
    """A directive that is the Markdown it writes."""

    def run(self) -> list[nodes.Node]:
        """Read what `markdown` writes; at every build, for it is made from all kinds of files."""
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(self.markdown()), allow_section_headings=True)

    def markdown(self) -> Iterator[str]:
        """Lines."""
        raise AssertionError("each has its own")


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]], *, wide: bool = True) -> Iterator[str]:
    """Lines of a table."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    if wide:
        yield "{.wide}"
    yield line(heads)
    yield "|" + "---|" * len(heads)
    yield from map(line, rows)
    yield ""


def markup(docstring: str | None) -> str:
    """A docstring's text: reStructuredText, of which all that ours use in tables is names in backticks."""
    text = " ".join(inspect.cleandoc(docstring or "").split())
    return re.sub(r"``(.+?)``", r"`\1`", text)


class Commands(Written):
    """Every command, with its arguments and options, from the program's own parser."""

    def markdown(self) -> Iterator[str]:
        """A section a command."""
        yield from self._app(commands, "rdpprov")

    def _app(self, parent: App, words: str) -> Iterator[str]:
        for name in parent:
            if name.startswith("-"):
                continue
            command, here = parent[name], f"{words} {name}"
            if any(not inner.startswith("-") for inner in command):
                yield from self._app(command, here)
            else:
                yield from self._command(command, here)

    def _command(self, command: App, words: str) -> Iterator[str]:
        arguments = command.assemble_argument_collection(parse_docstring=True)
        rows, usage = [], [words]
        for argument in arguments:
            if argument.names == ("*",):
                continue  # stands for the options in it
            positional = argument.field_info.kind is not inspect.Parameter.KEYWORD_ONLY
            names = [name for name in argument.names if not name.startswith("--no-")]
            shown = names[0].removeprefix("--").upper() if positional else names[0]
            many = argument.field_info.kind is inspect.Parameter.VAR_POSITIONAL
            if positional:
                usage.append(shown + "..." * many if argument.required else f"[{shown}{'...' * many}]")
            rows.append((f"`{shown}{value_of(names[0], argument.hint, positional)}`", sentence(argument)))
        if any(cell.startswith("`--") for cell, _ in rows):
            usage.insert(1, "[OPTIONS]")
        text = inspect.getdoc(command.default_command) or ""
        text = re.split(r"\n\s*\n?Args:\n", text)[0]
        yield from (f"## {words}", "", "```text", " ".join(usage), "```", "", re.sub(r"``(.+?)``", r"`\1`", text), "")
        if rows:
            yield from table(("Argument", "What it is"), rows)


def value_of(name: str, hint: Any, positional: bool) -> str:
    """What stands behind an option's name."""
    parts = [part for part in typing.get_args(hint) or (hint,) if part is not type(None) and part is not Ellipsis]
    if typing.get_origin(hint) is typing.Literal:
        return ("=" if positional else " ") + "|".join(typing.get_args(hint))
    kind = parts[0] if parts else hint
    if positional or kind is bool:
        return ""
    if kind is Path and name.endswith("-dir"):
        return " DIR"
    return {int: " N", float: " SECONDS"}.get(kind, " FILE" if kind is Path else " TEXT")


def sentence(argument: Any) -> str:
    """What a parameter is, and what if it is absent."""
    text = (argument.parameter.help or "").replace("\\\\", "\\").strip()
    text = re.sub(r"(?<![`\w])([A-Z]+\\[A-Za-z]+)", r"`\1`", text)
    default = argument.field_info.default
    if (
        isinstance(default, str | int | float)
        and not isinstance(default, bool)
        and default != ""
        and not argument.required
    ):
        text = f"{text.rstrip('.')}; default: `{default}`." if text else f"Default: `{default}`."
    return text


class Configuration(Written):
    """The keys of one table, compared with those that the program asks for."""

    required_arguments = 0
    optional_arguments = 1

    def markdown(self) -> Iterator[str]:
        """A table."""
        where = self.arguments[0] if self.arguments else ""
        asked = asked_keys()
        described = {place for place in KEYS if place[0] in asked}
        real = {(table, key) for table, keys in asked.items() for key in keys}
        if described != real:
            raise self.error(f"KEYS of {__name__} and the program differ in {sorted(described ^ real)}")
        yield from table(
            ("Key", "What it is"), [(f"`{key}`", text) for (own, key), text in KEYS.items() if own == where]
        )


def asked_keys() -> Mapping[str, set[str]]:
    """The keys that the program looks for in a configuration, by table, without what `Fields` describes."""
    asked: dict[str, set[str]] = {}
    values = {
        "listeners": {"NAME": {"protocol": "rdp", "settings": {}}},
        **{name: {} for name in ("sessions", "accounts", "admin", "web", "limits", "policies")},
    }

    class Noting(configuration.Table):
        def _get(self, key: str, kind: Any, expected: str) -> Any:
            where = re.sub(r"^file(: \[|$)", "", self.where).rstrip("]")
            if kind is not dict:
                asked.setdefault(where, set()).add(key)
            return super()._get(key, kind, expected)

    table = configuration.Table
    configuration.Table = Noting  # type: ignore[misc]  # what makes the tables inside tables
    try:
        configuration.configure(Noting("file", values), configuration.Options())
    finally:
        configuration.Table = table  # type: ignore[misc]
    sessions = {field.name for field in attrs.fields(configuration.SessionsPolicy)}
    ours = {where for where, _ in KEYS}
    return {
        where: keys - (sessions if where == "sessions" else set()) for where, keys in asked.items() if where in ours
    }


class Fields(Written):
    """The fields of a class as a table: ``{fields} package.module.Class``, ``:without:`` some of them."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"without": directives.unchanged, "plain": directives.flag}

    def markdown(self) -> Iterator[str]:
        """A table."""
        module_name, _, name = self.arguments[0].rpartition(".")
        cls = getattr(importlib.import_module(module_name), name)
        documented = ModuleAnalyzer.for_module(cls.__module__).find_attr_docs()
        without = set(self.options.get("without", "").split())
        rows = []
        for field in attrs.fields(cls):
            if field.name in without or not field.init:
                continue
            text = markup("\n".join(documented.get((name, field.name), [])))
            rows.append((f"`{field.name}`", kind_of(field), default_of(field.default), text))
        heads = ("Key", "Kind", "Default", "What it is")
        if "plain" in self.options:  # all default to "not set"
            heads, rows = (heads[0], heads[1], heads[3]), [(key, kind, text) for key, kind, _, text in rows]
        yield from table(heads, rows)


def kind_of(field: "attrs.Attribute[Any]") -> str:
    """A field's type, for people."""
    text = str(field.type.__name__ if isinstance(field.type, type) else field.type)
    text = re.sub(r"\b(?:\w+\.)+(\w)", r"\1", text)
    words = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text", "Path": "path"}
    kinds = [words.get(part.strip(), part.strip()) for part in text.split("|") if part.strip() != "None"]
    return "list of texts" if kinds[0].startswith(("tuple[str", "frozenset")) else " or ".join(kinds)


def default_of(default: object) -> str:
    """A default, for people."""
    if default is attrs.NOTHING or isinstance(default, attrs.Factory) or default is None or default == "":  # type: ignore[arg-type]
        return ""
    if isinstance(default, enum.Enum):
        return f"`{default.name}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{part}`" for part in default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


class Codes(Written):
    """The error info codes."""

    def markdown(self) -> Iterator[str]:
        """A table."""
        documented = ModuleAnalyzer.for_module(ErrInfo.__module__).find_attr_docs()
        rows = [
            (f"`0x{code:08X}`", f"`{code.name}`", markup("\n".join(documented.get(("ErrInfo", code.name), []))))
            for code in ErrInfo
        ]
        yield from table(("Code", "Name", "What the client is told"), rows)


class Rules(Written):
    """The rules that check-provider checks."""

    def markdown(self) -> Iterator[str]:
        """A section a rule would be too much: a definition list."""
        for rule in RULES:
            yield f"`{rule.name}`"
            yield f": {plain(rule.sentence)}"
            yield ""
            yield f"  *Seen by:* {plain(rule.provoked)}. *What to do:* {plain(rule.advice)}."
            if rule.needs:
                yield f"  *Needs* {plain(rule.needs)}."
            yield ""
            yield f"  *Source:* {plain(rule.source)}"
            yield ""


def plain(text: str) -> str:
    """A sentence that means no markup, but for names in backticks."""
    parts = markup(text).split("`")
    return "`".join(part if at % 2 else re.sub(r"([_*\[\]<>])", r"\\\1", part) for at, part in enumerate(parts))


class Properties(Written):
    """What QueryProperty can be asked."""

    def markdown(self) -> Iterator[str]:
        """A table."""
        rows = [
            (
                f"`{each.name}`",
                ", ".join(kind.name for kind in each.question) or "nothing",
                ", ".join(kind.name for kind in each.answer) or "nothing",
                "yes" if each.meaning_off_windows else "no",
            )
            for each in PROPERTIES.values()
        ]
        yield from table(("Property", "Asked with", "Answered with", "Asked here"), rows)


class Differences(Written):
    """What is different from Windows: the table that the test of the API goes by."""

    def markdown(self) -> Iterator[str]:
        """A table for each reason."""
        path = ROOT / "tests" / "api" / "test_api_matches_reference.py"
        self.env.note_dependency(str(path))
        module = loaded(path)
        for why in module.Why:
            rows = []
            for name, entry in module.DIFFERENCES.items():
                reason, here = entry if isinstance(entry, tuple) else (entry, "")
                if reason is not why:
                    continue
                published = "" if name.startswith("+") else f"`{name}`"
                rows.append((published, f"`{here or name[1:]}`" if here or name.startswith("+") else "none"))
            if rows:
                yield from (f"### {why.value[0].upper()}{why.value[1:]}", "")
                yield from table(("Windows", "Here"), rows)


def loaded(path: Path) -> types.ModuleType:
    """A module that is no part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TraceFigure(SphinxDirective):
    """A recorded trace as `rdpprov trace diagram` draws it: ``{trace-figure} tests/traces/good/...``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The figure."""
        path = ROOT / self.arguments[0]
        self.env.note_dependency(str(path))
        svg = to_svg(read_trace(path))
        scoped = re.sub(
            r"<style>(.*?)</style>", lambda found: f"<style>{of_figures(found[1])}</style>", svg, flags=re.S
        )
        return [nodes.raw("", f'<div class="trace-figure">{scoped}</div>', format="html")]


def of_figures(style: str) -> str:
    """A style sheet whose rules hold for figures of traces only: in a page it would be everybody's."""

    def rule(found: re.Match[str]) -> str:
        selectors = ", ".join(f".trace-figure {selector.strip()}" for selector in found[1].split(","))
        return f"{selectors} {{{found[2]}}}\n"

    return re.sub(r"([^{}]+)\{([^{}]*)\}", rule, style)


class ModuleText(SphinxDirective):
    """A module's docstring, as a part of the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """It is reStructuredText, in a page that is not."""
        text = inspect.getdoc(importlib.import_module(self.arguments[0])) or ""
        block = "\n".join(["```{eval-rst}", textwrap.dedent(text), "```"])
        return self.parse_text_to_nodes(block)
