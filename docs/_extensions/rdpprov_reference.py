"""The package's docstrings as Sphinx wants them: names that are imported from elsewhere, attrs classes, enums."""

import enum
import importlib
import re
from typing import Any

import attrs
from docutils import nodes
from sphinx.application import Sphinx

PACKAGES = ("rdpprov.api", "rdpprov.testing", "rdpprov.traces", "rdpprov.sessions", "rdpprov")


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry."""
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-process-docstring", keep, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", as_written, priority=600)  # after it
    app.connect("doctree-read", without_object)
    app.connect("autodoc-skip-member", only_ours)
    app.connect("missing-reference", found_elsewhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def without_fields(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None, returned: str
) -> tuple[str, str | None] | None:
    """A structure's fields stand below it with their docstrings; once is enough."""
    if signature and isinstance(thing, type) and (attrs.has(thing) or issubclass(thing, enum.Enum | BaseException)):
        return "", None
    return None


_kept: dict[str, list[str]] = {}


def keep(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Remember a docstring as it is."""
    _kept[name] = list(lines)


def as_written(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Ours are in reStructuredText, but a few begin in ways that it takes for markup."""
    if what in ("attribute", "data", "property"):
        lines[:] = _kept[name]  # napoleon takes what stands in front of a colon for a type
    for number, line in enumerate(lines):
        # "`Branch` es": a plural behind a name
        line = re.sub(r"(?<!`)(`[\w.]+`)(?= ?(?:es|s)\b)", r"\1\\", line)
        # "WRDS_": a prefix, no link
        lines[number] = re.sub(r"(?<![`\w])([A-Z]{2,})_(?!\w)", r"\1\\_", line)


def without_object(app: Sphinx, doctree: nodes.document) -> None:
    """That everything is an object need not be said."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def only_ours(app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object) -> bool | None:
    """What attrs and enum put into a class is not ours."""
    if name in ("LAYOUT", "__attrs_attrs__", "__match_args__") or type(thing).__name__ == "TypeVar":
        return True
    return None


def found_elsewhere(app: Sphinx, env: Any, node: Any, content: nodes.Element) -> nodes.Node | None:
    """``rdpprov.api.ClientData`` is documented where it is written: ``rdpprov.api.structures.ClientData``."""
    if node.get("refdomain") != "py":
        return None
    first, _, member = node["reftarget"].removeprefix("rdpprov.api.").partition(".")
    objects = env.get_domain("py").objects
    for module in [node.get("py:module") or "", *PACKAGES]:
        try:
            thing = getattr(importlib.import_module(module), first, None) if module else None
        except ImportError:
            continue
        where = getattr(thing, "__module__", None)
        full = ".".join(filter(None, [where, getattr(thing, "__qualname__", None), member]))
        if where and full in objects:
            found = objects[full]
            target = app.builder.get_relative_uri(node["refdoc"], found.docname) + "#" + found.node_id
            return nodes.reference("", "", content, internal=True, refuri=target)
    return None
