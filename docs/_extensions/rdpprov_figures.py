"""The sequences of the provider API as figures, drawn from ``protocol_specs`` while the documentation is built.

``{sequence} connection`` draws a whole file, ``{sequence} reconnect direct`` one variant of it. Arrows go from caller
to called, and link to the method; below each stands what follows a failure. Drawn into the page, so that they take
its colours, dark ones too.
"""

import html
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from rdpprov.traces.diagram import NAMES, ORDER
from rdpprov.traces.sequences import Branch, Follow, Included, Item, Repeated, SequenceSpec, Step, load_sequences

LANE = 158
SERVICE_LANE = 380
"""Pixels to the service's lifeline: this gap has the text."""
MARGIN = 84
HEAD = 26
ROW = 50

INTERFACES = {
    "manager": "rdpprov.api.manager.ProtocolManager",
    "listener": "rdpprov.api.listener.ProtocolListener",
    "connection": "rdpprov.api.connection.ProtocolConnection",
    "license": "rdpprov.api.license_connection.LicenseConnection",
}
CALLBACKS = {
    "listener": "rdpprov.api.listener.ProtocolListenerCallback",
    "connection": "rdpprov.api.connection.ProtocolConnectionCallback",
}

FOLLOWS = {
    Follow.DROP: "the connection is dropped",
    Follow.CONTINUE: "on with the next step",
    Follow.DEGRADE: "the service does without",
    Follow.REFUSE: "the client is refused",
    Follow.DEFAULT: "the default",
}

Linked = Callable[[str], str | None]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry."""
    app.add_directive("sequence", SequenceDirective)
    app.add_node(sequence_figure, html=(visit, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class sequence_figure(nodes.General, nodes.Element):  # noqa: N801 - as docutils names its nodes
    """A figure. It becomes a picture when the page is written, for then it is known where the links go."""


class SequenceDirective(SphinxDirective):
    """``{sequence} NAME [VARIANT]``."""

    required_arguments: ClassVar[int] = 1
    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """The figure, and a note to build the page again when the file has changed."""
        name, variant = [*self.arguments, None][:2]
        spec = load_sequences()[name]
        if (variant or None) not in (spec.variants or {None: ()}):
            raise self.error(f"{name}.toml has no variant {variant}")
        self.env.note_dependency(f"{self.env.srcdir}/../protocol_specs/{name}.toml")
        return [sequence_figure("", name=name, variant=variant)]


def visit(translator: Any, node: sequence_figure) -> None:
    """Write the figure into the page."""
    builder = translator.builder
    objects = builder.env.get_domain("py").objects

    def link(name: str) -> str | None:
        found = objects.get(name)
        if found is None:
            return None
        return str(builder.get_relative_uri(builder.current_docname, found.docname) + "#" + found.node_id)

    translator.body.append(Figure(load_sequences()[node["name"]], node["variant"], link).draw())
    raise nodes.SkipNode


class Figure:
    """One picture, from the top down."""

    def __init__(self, spec: SequenceSpec, variant: str | None, link: Linked) -> None:
        self.spec = spec
        self.link = link
        self.items: tuple[Item, ...] = spec.variants[variant] if variant else spec.items
        self.branches = () if variant else spec.branches
        actors = {actor for step in flat(self.items) for actor in (step.source, step.target)} - {"service"}
        self.lanes = {actor: MARGIN + LANE * at for at, actor in enumerate(sorted(actors, key=ORDER.index))}
        self.service = max(self.lanes.values()) + SERVICE_LANE
        self.lanes["service"] = self.service
        self.width = self.service + MARGIN
        self.y = HEAD
        self.parts: list[str] = []

    def draw(self) -> str:
        """The picture."""
        for item in self.items:
            self._item(item)
        height = self.y + 34
        label = html.escape(self.spec.title)
        return (
            f'<div class="sequence"><svg viewBox="0 0 {self.width} {height}" role="img" aria-label="{label}" '
            f'style="max-width: {self.width}px">'
            + "".join([*self._lifelines(height - 12), *self.parts])
            + "</svg></div>\n"
        )

    def _lifelines(self, bottom: int) -> Iterator[str]:
        for actor, x in self.lanes.items():
            kind = "actor service" if actor == "service" else "actor"
            yield (
                f'<line class="life" x1="{x}" y1="30" x2="{x}" y2="{bottom}"/><g class="{kind}">'
                f'<rect x="{x - 72}" y="2" width="144" height="28" rx="5"/>'
                f'<text x="{x}" y="20">{NAMES[actor]}</text></g>'
            )

    def _item(self, item: Item) -> None:
        match item:
            case Step():
                self._step(item)
                for branch in self.branches:
                    if branch.after == item.number and branch.needs is None:
                        self._branch(branch)
            case Repeated():
                top = self.y + 28
                self.y += 36
                for step in item.steps:
                    self._step(step)
                self.y += 14
                self._frame(top, f"{item.least} to {item.most} rounds")
            case Included():
                title = load_sequences()[item.sequence].title
                self._box(f"{title}: a figure of its own, below", "included")

    def _step(self, step: Step) -> None:
        self.y += ROW
        y, start, end = self.y, self.lanes[step.source], self.lanes[step.target]
        direction = 1 if end > start else -1
        left = self.service - SERVICE_LANE + 12
        number = f"{step.number}. " if step.number else ""
        name = f"{number}{step.call}"
        interface = (INTERFACES if step.by_service else CALLBACKS).get(step.target if step.by_service else step.source)
        target = self.link(f"{interface}.{method(step.call)}")
        text = f'<text class="name" x="{left}" y="{y - 7}">{name}</text>'
        if target:
            text = f'<a href="{target}">{text}</a>'
        kind = "call" if step.by_service else "call back"
        self.parts.append(
            f'<g class="{kind}"><line x1="{start + direction * 4}" y1="{y}" x2="{end - direction * 12}" y2="{y}"/>'
            f'<path d="M{end - direction * 4},{y} l{-direction * 9},-4.5 v9 z"/>{text}'
            f'<text class="note" x="{left}" y="{y + 15}">{html.escape(note(step, self.spec.kind))}</text></g>'
        )
        tags = [
            *(["may be left out"] if step.optional else []),
            *(["only with a session"] if step.only_with else []),
        ]
        if tags:
            self.parts.append(f'<text class="tag" x="{self.service - 14}" y="{y - 7}">{", ".join(tags)}</text>')

    def _branch(self, branch: Branch) -> None:
        when = {"direct": "a session that the client has proved", "arbitrated": "a session that the user has already"}
        self._box(f"{when[branch.variant]}: Reconnect, {branch.variant}", "branch")

    def _box(self, text: str, kind: str) -> None:
        self.y += 28
        left = min(self.lanes.values()) - 14
        self.parts.append(
            f'<g class="{kind}"><rect x="{left}" y="{self.y}" width="{self.service + 14 - left}" height="26" rx="6"/>'
            f'<text x="{left + 14}" y="{self.y + 17}">{html.escape(text)}</text></g>'
        )
        self.y += 22

    def _frame(self, top: int, text: str) -> None:
        left = min(self.lanes.values()) - 30
        self.parts.append(
            f'<g class="frame"><rect x="{left}" y="{top}" width="{self.service + 30 - left}" '
            f'height="{self.y + 12 - top}" rx="6"/><text x="{left + 10}" y="{top + 16}">{text}</text></g>'
        )
        self.y += 10


def note(step: Step, kind: str) -> str:
    """What follows a failure, in a line."""
    dropped = "the service does not start" if kind == "service" else FOLLOWS[Follow.DROP]
    after = dropped if step.failure is Follow.DROP else FOLLOWS[step.failure]
    if step.failure is Follow.CONTINUE and step.meaning:
        return f"a failure is {step.meaning}" if step.meaning.startswith("logged") else f"a failure: {step.meaning}"
    if step.not_implemented is Follow.DEFAULT:
        text = f"E_NOTIMPL: {step.meaning}"
        return text if len(text) > 34 or step.failure is Follow.DEGRADE else f"{text}; a failure: {after}"
    return f"a failure: {after}"


def flat(items: tuple[Item, ...]) -> Iterator[Step]:
    """The steps, without those of included sequences."""
    for item in items:
        match item:
            case Step():
                yield item
            case Repeated(steps=steps):
                yield from steps


def method(call: str) -> str:
    """``AcceptConnection`` is ``accept_connection``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", call).lower()
