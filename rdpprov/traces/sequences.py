"""The sequences of the provider API as data: ``rdpprov.protocol_specs/*.toml``, read into frozen structures.

A sequence is a list of *items*: a `Step` (one call), a `Repeated` group of steps, or an `Included` other sequence.
Beside them stand its `Branch` es (after which step another sequence may take over), its `Between` s (calls that may
come between any two steps) and its `Milestone` s (events that do not come before a certain call). `reconnect` has
*variants*, each a list of steps of its own.

What may follow a call that did not return is part of its step, one answer per way to fail (`Follow`). Whoever drives
the sequences, checks a recorded one or generates tests for each way to fail finds the same answer here.
"""

import enum
import functools
import importlib.resources
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs

from rdpprov.errors import RdpProvError

PACKAGE = "rdpprov.protocol_specs"
NAMES = ("start", "connection", "licensing", "reconnect", "disconnect", "shadow")
ACTORS = ("service", "manager", "listener", "connection", "license", "redirector", "shadow", "settings")
KINDS = ("connection", "service")


class SpecificationError(RdpProvError):
    """A file of ``protocol_specs/`` is not what this module reads; the message names file, entry and key."""


class Follow(enum.Enum):
    """What the sequence does after a call that did not return normally."""

    DROP = "drop"
    """The connection is dropped: disconnect.toml, from its first step. In start.toml the service gives up."""

    CONTINUE = "continue"
    """On with the next step; the failure is logged."""

    DEGRADE = "degrade"
    """On with the next step, and the service does itself what the call would have given (`Step.meaning`)."""

    DEFAULT = "default"
    """Of E_NOTIMPL only: no failure but an answer, "use your default" (`Step.meaning`)."""

    REFUSE = "refuse"
    """Of OnConnected only: the client never becomes a connection, and no call follows."""

    @property
    def goes_on(self) -> bool:
        """Whether the next step of the sequence follows."""
        return self in (Follow.CONTINUE, Follow.DEGRADE, Follow.DEFAULT)


@attrs.frozen
class Step:
    """One call of a sequence."""

    sequence: str
    """The file's name without ``.toml``."""

    variant: str | None
    """Of reconnect: "arbitrated" or "direct"; None elsewhere."""

    number: int
    """As in the figure (``provider_api.md`` 3); 0 for a step that no figure shows."""

    call: str
    """In the API's own spelling: "GetClientData"."""

    source: str
    """The actor that calls: one of `ACTORS`."""

    target: str
    """The actor that is called: one of `ACTORS`."""

    failure: Follow
    """After a failing HRESULT other than E_NOTIMPL."""

    not_implemented: Follow
    """After E_NOTIMPL."""

    exception: Follow
    """After an exception that carries no HRESULT: a mistake in the provider."""

    hang: Follow
    """After the call has used up its limit. For a step of the provider (OnReady): it has not come in time."""

    meaning: str
    """What "degrade" and "default" are here, for people."""

    limit: str | None
    """The name of the step's own time limit; None: only the limit of the whole sequence holds."""

    notification: bool
    """The provider has to return at once (``provider_api.md`` 2, rule 2)."""

    optional: bool
    """A sequence without it is right, too."""

    session: str | None
    """"attach": from here on the connection has a session. "detach": from here on it has none."""

    only_with: str | None
    """"session": the step comes if the connection has a session, and only then."""

    dropped_by: str | None
    """Of licensing: the call that tells the provider of the failure before the connection is dropped."""

    succeeds_with: Mapping[str, object]
    """Arguments with which the call means success; with others, the sequence drops after it."""

    waits_for: str | None
    """The call that has to have returned before this one starts."""

    per: str | None
    """Of start.toml: "manager" or "listener", the object that goes through the step once."""

    page: str
    """Microsoft's page of the call, as `provider_api.md` cites it."""

    def __str__(self) -> str:
        """For messages: ``NotifySessionId (connection.toml, step 14)``."""
        return f"{self.call} ({self.place})"

    @property
    def place(self) -> str:
        """Where the step stands: ``reconnect.toml direct, step 1``."""
        return f"{self.sequence}.toml{f' {self.variant}' if self.variant else ''}, step {self.number}"

    @property
    def by_service(self) -> bool:
        """The service calls a provider's object, rather than the other way round."""
        return self.source == "service"


@attrs.frozen
class Repeated:
    """Steps that come one after the other, as a round, `least` to `most` times."""

    number: int
    least: int
    most: int
    steps: tuple[Step, ...]


@attrs.frozen
class Included:
    """All of another sequence, in this place."""

    number: int
    sequence: str


Item = Step | Repeated | Included


@attrs.frozen
class Branch:
    """After step `after`, a variant of another sequence may take the place of the steps that are left."""

    after: int
    when: str
    """"returned": only if the step returned normally; "any": also after a failure that lets the sequence go on."""
    sequence: str
    variant: str

    needs: str | None
    """Only if this call, which may come between, has come; None: the step alone decides."""


@attrs.frozen
class Between:
    """A call that may come between any two steps."""

    call: str
    sources: tuple[str, ...]
    target: str

    after: str | None
    """From when this call has come (and did not drop the connection); None: from the beginning."""

    until: str | None
    """Until this call comes; None: until the end of the sequence, Close included."""

    needs: str | None
    """This call has to have *returned*: it gave the object that is called here."""

    failure: Follow | None
    """As in `Step`, for calls of the service; None: it does not say."""

    not_implemented: Follow | None
    exception: Follow | None
    meaning: str

    notification: bool
    page: str

    @property
    def by_service(self) -> bool:
        """The service calls a provider's object, rather than the other way round."""
        return self.sources == ("service",)


@attrs.frozen
class Milestone:
    """An event of a trace that does not come before a certain call."""

    event: str
    fields: Mapping[str, object]
    """What the event's fields have to be for this entry to mean it; others do not matter."""

    after: str

    def is_met_by(self, event: str, fields: Mapping[str, object]) -> bool:
        """Whether that event is this milestone."""
        return event == self.event and all(fields.get(key) == value for key, value in self.fields.items())


@attrs.frozen
class SequenceSpec:
    """One file."""

    name: str
    title: str

    kind: str
    """In which traces the sequence is found: "connection" or "service"."""

    limit: str | None
    """The name of the limit for all its steps together."""

    pages: tuple[str, ...]
    items: tuple[Item, ...]
    variants: Mapping[str, tuple[Step, ...]]
    branches: tuple[Branch, ...]
    between: tuple[Between, ...]
    milestones: tuple[Milestone, ...]

    def steps(self) -> Iterator[Step]:
        """Every step of this file, variants included, each once, in the file's order."""
        for item in self.items:
            match item:
                case Step():
                    yield item
                case Repeated(steps=steps):
                    yield from steps
                case Included():
                    pass
        for variant in self.variants.values():
            yield from variant

    def step(self, call: str, variant: str | None = None) -> Step:
        """The first step of this name.

        Raises:
            KeyError: there is none.
        """
        for step in self.steps():
            if step.call == call and step.variant == variant:
                return step
        raise KeyError(f"{self.name}.toml has no step {call}")


@attrs.frozen
class Sequences:
    """All sequences, which refer to each other by name."""

    specs: Mapping[str, SequenceSpec]

    def __getitem__(self, name: str) -> SequenceSpec:
        """The sequence of that file name."""
        return self.specs[name]

    def __iter__(self) -> Iterator[SequenceSpec]:
        """In the order of a connection's life."""
        return iter(self.specs.values())

    def steps(self) -> Iterator[Step]:
        """Every step of every file, once."""
        for spec in self:
            yield from spec.steps()

    def first_connection(self, rounds: int = 0) -> tuple[Step, ...]:
        """The figure of a client's first connection, from OnConnected to LogonNotify, with so many licensing rounds."""
        return tuple(self._flat(self["connection"].items, rounds))

    def reconnect(self, variant: str, rounds: int = 0) -> tuple[Step, ...]:
        """The figure of a connection that ends up in an existing session, from OnConnected to LogonNotify.

        Args:
            variant: "arbitrated", after SessionArbitrationEnumeration, or "direct", after AuthenticateClientToSession.
            rounds: licensing rounds.
        """
        spec = self["connection"]
        (branch,) = (branch for branch in spec.branches if branch.variant == variant and branch.needs is None)
        until = [item for item in spec.items if item.number <= branch.after]
        return (*self._flat(until, rounds), *self[branch.sequence].variants[variant])

    def disconnect(self, session: bool = True) -> tuple[Step, ...]:
        """The figure of the disconnect, of a connection with or without a session."""
        items = cast(tuple[Step, ...], self["disconnect"].items)
        return tuple(step for step in items if not step.optional and (session or step.only_with != "session"))

    def _flat(self, items: Sequence[Item], rounds: int) -> Iterator[Step]:
        for item in items:
            match item:
                case Step(optional=False):
                    yield item
                case Repeated(steps=steps):
                    for _ in range(rounds):
                        yield from steps
                case Included(sequence=name):
                    yield from self._flat(self[name].items, rounds)


@functools.cache
def load_sequences() -> Sequences:
    """The sequences that rdpprov comes with, from ``rdpprov.protocol_specs``.

    Raises:
        SpecificationError: a file is missing, or is not a sequence.
    """
    texts = {}
    for name in NAMES:
        try:
            texts[name] = importlib.resources.files(PACKAGE).joinpath(f"{name}.toml").read_text(encoding="utf-8")
        except (OSError, ImportError) as error:
            raise SpecificationError(f"cannot read {name}.toml of {PACKAGE}: {error}") from error
    return parse_sequences(texts)


def parse_sequences(texts: Mapping[str, str]) -> Sequences:
    """Sequences out of the texts of TOML files, by their names without ``.toml``.

    Raises:
        SpecificationError: with file, entry and key.
    """
    sequences = Sequences({name: _Reader(name, text).sequence() for name, text in texts.items()})
    for spec in sequences:
        _check_references(spec, sequences)
    return sequences


_REQUIRED = object()


class _Table:
    """A TOML table that is emptied as it is read, so that what is left is unknown."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, dict):
            raise SpecificationError(f"{where}: expected a table, found {table!r}")
        self.where = where
        self._left: dict[str, object] = dict(table)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, kind: type, default: object = _REQUIRED) -> object:
        value = self._left.pop(key, default)
        if value is _REQUIRED:
            raise SpecificationError(f"{self.where}: key {key!r} is missing")
        if value is not default and type(value) is not kind:
            raise SpecificationError(f"{self.where}: {key} = {value!r}, expected {kind.__name__}")
        return value

    def text(self, key: str) -> str:
        return cast(str, self.take(key, str))

    def optional_text(self, key: str) -> str | None:
        return cast("str | None", self.take(key, str, None))

    def number(self, key: str) -> int:
        value = cast(int, self.take(key, int))
        if value < 0:
            raise SpecificationError(f"{self.where}: {key} = {value}, expected 0 or more")
        return value

    def flag(self, key: str) -> bool:
        return cast(bool, self.take(key, bool, False))

    def texts(self, key: str) -> tuple[str, ...]:
        values = cast("list[object]", self.take(key, list, []))
        if not all(isinstance(value, str) for value in values):
            raise SpecificationError(f"{self.where}: {key} = {values!r}, expected a list of strings")
        return tuple(cast("list[str]", values))

    def tables(self, key: str) -> Iterator["_Table"]:
        for position, table in enumerate(cast("list[object]", self.take(key, list, [])), start=1):
            yield _Table(f"{self.where}, {key} {position}", table)

    def one_of(self, key: str, choices: Sequence[str], default: object = _REQUIRED) -> str:
        value = self.take(key, str, default)
        if value is not default and value not in choices:
            raise SpecificationError(f"{self.where}: {key} = {value!r}, expected one of {', '.join(choices)}")
        return cast(str, value)

    def follow(self, key: str, default: object = _REQUIRED) -> Follow:
        value = self.take(key, str, default)
        try:
            return value if isinstance(value, Follow) else Follow(value)
        except ValueError:
            choices = ", ".join(follow.value for follow in Follow)
            raise SpecificationError(f"{self.where}: {key} = {value!r}, expected one of {choices}") from None

    def done(self) -> None:
        if self._left:
            raise SpecificationError(f"{self.where}: unknown key {min(self._left)!r}")


class _Reader:
    """One file into one `SequenceSpec`."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.root = _Table(f"{name}.toml", tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SpecificationError(f"{name}.toml: {error}") from error

    def sequence(self) -> SequenceSpec:
        root = self.root
        head = _Table(f"{root.where}, sequence", root.take("sequence", dict))
        spec = SequenceSpec(
            name=self.name,
            title=head.text("title"),
            kind=head.one_of("kind", KINDS),
            limit=head.optional_text("limit"),
            pages=head.texts("pages"),
            items=tuple(self._item(table) for table in root.tables("step")),
            variants=self._variants(),
            branches=tuple(self._branch(table) for table in root.tables("branch")),
            between=tuple(self._between(table) for table in root.tables("between")),
            milestones=tuple(self._milestone(table) for table in root.tables("milestone")),
        )
        head.done()
        root.done()
        if not any(True for _ in spec.steps()) and not spec.between:
            raise SpecificationError(f"{root.where}: no steps")
        return spec

    def _variants(self) -> dict[str, tuple[Step, ...]]:
        variants = {}
        for name, table in cast("dict[str, object]", self.root.take("variant", dict, {})).items():
            reader = _Table(f"{self.root.where}, variant {name}", table)
            reader.text("title")
            variants[name] = tuple(self._step(step, name) for step in reader.tables("step"))
            reader.done()
        return variants

    def _item(self, table: _Table) -> Item:
        if "include" in table:
            included = Included(table.number("number"), table.text("include"))
            table.done()
            return included
        if "repeat" in table:
            bounds = _Table(f"{table.where}, repeat", table.take("repeat", dict))
            repeated = Repeated(
                number=table.number("number"),
                least=bounds.number("least"),
                most=bounds.number("most"),
                steps=tuple(self._step(step, None) for step in table.tables("step")),
            )
            bounds.done()
            table.done()
            if repeated.least > repeated.most or not repeated.steps:
                raise SpecificationError(
                    f"{table.where}: nothing can be repeated so often, or there is nothing to repeat"
                )
            return repeated
        return self._step(table, None)

    def _step(self, table: _Table, variant: str | None) -> Step:
        failure = table.follow("failure")
        step = Step(
            sequence=self.name,
            variant=variant,
            number=table.number("number"),
            call=table.text("call"),
            source=table.one_of("from", ACTORS),
            target=table.one_of("to", ACTORS),
            failure=failure,
            not_implemented=table.follow("notimplemented"),
            exception=table.follow("exception", Follow.DROP),
            hang=table.follow("hang", failure),
            meaning=table.optional_text("meaning") or "",
            limit=table.optional_text("limit"),
            notification=table.flag("notification"),
            optional=table.flag("optional"),
            session=table.one_of("session", ("attach", "detach"), None),
            only_with=table.one_of("only_with", ("session",), None),
            dropped_by=table.optional_text("dropped_by"),
            succeeds_with=cast("dict[str, object]", table.take("succeeds_with", dict, {})),
            waits_for=table.optional_text("waits_for"),
            per=table.one_of("per", ("manager", "listener"), None),
            page=table.text("page"),
        )
        table.done()
        follows = (step.failure, step.not_implemented, step.exception, step.hang)
        if any(follow in (Follow.DEGRADE, Follow.DEFAULT) for follow in follows) and not step.meaning:
            raise SpecificationError(f"{table.where}: a default is used, so key 'meaning' has to say which")
        return step

    def _branch(self, table: _Table) -> Branch:
        branch = Branch(
            after=table.number("after"),
            when=table.one_of("when", ("returned", "any")),
            sequence=table.text("sequence"),
            variant=table.text("variant"),
            needs=table.optional_text("needs"),
        )
        table.done()
        return branch

    def _between(self, table: _Table) -> Between:
        says = "failure" in table
        between = Between(
            call=table.text("call"),
            sources=table.texts("from"),
            target=table.one_of("to", ACTORS),
            after=table.optional_text("after"),
            until=table.optional_text("until"),
            needs=table.optional_text("needs"),
            failure=table.follow("failure") if says else None,
            not_implemented=table.follow("notimplemented") if says else None,
            exception=table.follow("exception", Follow.DROP) if says else None,
            meaning=table.text("meaning") if says else "",
            notification=table.flag("notification"),
            page=table.text("page"),
        )
        table.done()
        if not between.sources or not set(between.sources) <= set(ACTORS):
            raise SpecificationError(
                f"{table.where}: from = {list(between.sources)}, expected some of {', '.join(ACTORS)}"
            )
        return between

    def _milestone(self, table: _Table) -> Milestone:
        milestone = Milestone(
            event=table.text("event"),
            fields=cast("dict[str, object]", table.take("fields", dict, {})),
            after=table.text("after"),
        )
        table.done()
        return milestone


def _check_references(spec: SequenceSpec, sequences: Sequences) -> None:
    """Every name and number that one entry says of another has to exist."""
    where = f"{spec.name}.toml"
    included = [item.sequence for item in spec.items if isinstance(item, Included)]
    for name in [*included, *(branch.sequence for branch in spec.branches)]:
        if name not in sequences.specs:
            raise SpecificationError(f"{where}: there is no sequence {name!r}")
    for branch in spec.branches:
        if branch.variant not in sequences[branch.sequence].variants:
            raise SpecificationError(f"{where}: {branch.sequence}.toml has no variant {branch.variant!r}")
        if not any(isinstance(item, Step) and item.number == branch.after for item in spec.items):
            raise SpecificationError(f"{where}: branch after step {branch.after}, which is no step")
    between = {entry.call for entry in spec.between}
    for branch in spec.branches:
        if branch.needs is not None and branch.needs not in between:
            raise SpecificationError(f"{where}: there is no call {branch.needs!r} between steps")
    calls = {step.call for step in sequences.steps()} | {entry.call for each in sequences for entry in each.between}
    named: list[str | None] = [name for entry in spec.between for name in (entry.after, entry.until, entry.needs)]
    named += [entry.after for entry in spec.milestones]
    named += [found for step in spec.steps() for found in (step.waits_for, step.dropped_by)]
    for reference in named:
        if reference is not None and reference not in calls:
            raise SpecificationError(f"{where}: there is no step {reference!r}")
