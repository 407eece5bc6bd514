"""Holding a trace against the sequences: at which line it goes wrong, what came there and what was expected.

For connections the sequences of ``protocol_specs/`` are unrolled into a non-deterministic automaton (`_Graph`): a node
is a place between two steps, an edge a step. A trace is right if its calls lead from the beginning to the end. It is
non-deterministic because a trace does not say why: SessionArbitrationEnumeration may be followed by the rest of the
connection sequence, by a reconnect or by a disconnect, and only what comes then tells. Beside the order of the calls
are checked: that calls of the service do not overlap, that OnReady waits for GetLogonErrorRedirector to return, and
that all calls are about the session that NotifySessionId has named.

A service trace has no single sequence, but managers and listeners that each go through the steps of start.toml, those
of a listener within those of its manager (`_ServiceChecker`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from rdpprov.errors import E_NOTIMPL
from rdpprov.traces.format import CallLine, EventLine, Outcome, Trace
from rdpprov.traces.recorder import E_TIMEOUT
from rdpprov.traces.sequences import (
    Between,
    Follow,
    Included,
    Item,
    Repeated,
    Sequences,
    SequenceSpec,
    Step,
    load_sequences,
)

CLOCK_STEP: Final = 1e-6
"""Traces tell time in microseconds."""


@attrs.frozen
class Finding:
    """One place where a trace is wrong."""

    line_number: int
    """In the file, from 1; of a trace that ends too early, its last line."""

    n: int
    """The call's number; 0 if no call has come at all."""

    call: str
    """The call that came; "" where the trace ends too early."""

    expected: tuple[str, ...]
    """The steps that could have come instead, the usual ones first: ``Close (disconnect.toml, step 3)``."""

    message: str
    """What is wrong, without the line number."""

    def __str__(self) -> str:
        """One line for people."""
        return f"line {self.line_number}: {self.message}"


def check_trace(trace: Trace, *, running: bool = False, sequences: Sequences | None = None) -> list[Finding]:
    """What is wrong with a trace; nothing, if it is right.

    Of wrong orders only the first is found, because after it nobody can say where the sequence stands.

    Args:
        trace: of a connection or of a service.
        running: its connection is not over yet, so that it need not be complete.
        sequences: what is right; by default what rdpprov comes with.
    """
    sequences = sequences or load_sequences()
    if trace.header.kind == "service":
        return list(_first(_ServiceChecker(sequences).check(trace, running)))
    findings = [*_first(_ConnectionChecker(sequences).check(trace, running))]
    findings += _overlaps(trace.calls)
    findings += _early(trace.calls, sequences)
    findings += _other_sessions(trace.calls, sequences)
    return sorted(findings, key=lambda finding: finding.n)


def started_inside(call: CallLine, other: CallLine) -> bool:
    """Whether `call` started after `other`, but before `other` had ended."""
    if call.n <= other.n:
        return False
    if other.d is None:
        return True
    # On a clock that stands still (tests) times say nothing, but a line is written when its call returns: one that
    # started later and returned earlier was inside.
    nested = 0 < call.line_number < other.line_number and call.outcome is not Outcome.OPEN
    return nested or call.t < other.t + other.d - CLOCK_STEP / 2


def follow_of(step: Step, call: CallLine) -> Follow | None:
    """What the step says of how this call ended; None: it returned, or was still open."""
    if call.error is None:
        return None
    if call.error.exception is not None:
        return step.exception
    match call.error.hresult:
        case code if code == E_NOTIMPL:
            return step.not_implemented
        case code if code == E_TIMEOUT:
            return step.hang
        case _:
            return step.failure


def _first(findings: Iterator[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        return


def _actor(name: str) -> str:
    """What is called: "listener:desk" is a "listener"."""
    return name.partition(":")[0]


def _matches(step: Step, call: CallLine) -> bool:
    return (step.call, step.source, step.target) == (call.call, _actor(call.source), _actor(call.target))


def _may_come_between(between: Between, call: CallLine) -> bool:
    return (
        between.call == call.call and _actor(call.source) in between.sources and between.target == _actor(call.target)
    )


def _unexpected(call: CallLine, came: str, steps: Sequence[Step], step: Step | None = None) -> Finding:
    """A call that should not have come, where one of `steps` should have; `step` is what it would have been."""
    message = f"{step if step is not None and not steps else call.call} {came}"
    usual = [step for step in steps if not step.optional] or steps
    turned = next((step for step in steps if step.call == call.call and not _matches(step, call)), None)
    if turned is not None:
        message += f" from {call.source} to {call.target}, expected it from {turned.source} to {turned.target}"
    elif usual:
        message += f", expected {_either(str(step) for step in usual)}"
    else:
        message += ", expected nothing more"
    return Finding(call.line_number, call.n, call.call, tuple(dict.fromkeys(map(str, steps))), message)


def _missing(trace: Trace, steps: Sequence[Step]) -> Finding:
    """A trace that ends where one of `steps` should have come."""
    usual = [step for step in steps if not step.optional] or steps
    last = trace.calls[-1] if trace.calls else None
    after = f"after {last.call}" if last else "without any call"
    message = f"the trace ends {after}, expected {_either(str(step) for step in usual)}"
    return Finding(trace.last_line_number, last.n if last else 0, "", tuple(dict.fromkeys(map(str, steps))), message)


def _either(texts: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(texts))


# --- Connections ------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Edge:
    """A step from one node to another."""

    step: Step
    end: int
    only_returned: bool = False
    """The edge is not taken after a failure, not even one that lets the sequence go on."""

    tells_failure: bool = False
    """The edge is taken only if the call's arguments mean failure."""

    needs: str | None = None
    """The edge is taken only after this call has come."""


@attrs.define
class _Node:
    """A place between two steps."""

    edges: list[_Edge] = attrs.field(factory=list)
    skips: list[int] = attrs.field(factory=list)
    """Nodes where the sequence may be just as well, without a call."""


class _Graph:
    """The sequences of a connection, unrolled: optional steps skipped, rounds repeated, branches taken.

    From every node after OnConnected the disconnect sequence may begin.
    """

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        self.nodes: list[_Node] = []
        self.end = self._new()
        self.leaving = self._disconnect(sequences["disconnect"])
        self._disconnect_nodes = len(self.nodes)
        self.start = self._new()
        self._failed_licensing: dict[str, int] = {}
        self._build_connection(sequences["connection"])
        for node in self.nodes[self._disconnect_nodes :]:
            if node is not self.nodes[self.start]:
                node.skips.append(self.leaving)

    def dropped(self, step: Step) -> int:
        """Where the sequence stands after a failure of `step` that drops the connection."""
        if step.dropped_by is None:
            return self.leaving
        # The provider is told by one more call; but not if it is the client that has gone.
        if step.dropped_by not in self._failed_licensing:
            node = self._new()
            self.nodes[node].skips.append(self.leaving)
            told = self._sequences[step.sequence].step(step.dropped_by)
            self.nodes[node].edges.append(_Edge(told, self.leaving, tells_failure=True))
            self._failed_licensing[step.dropped_by] = node
        return self._failed_licensing[step.dropped_by]

    def is_leaving(self, node: int) -> bool:
        """Whether the node belongs to the disconnect sequence."""
        return node < self._disconnect_nodes

    def _new(self) -> int:
        self.nodes.append(_Node())
        return len(self.nodes) - 1

    def _disconnect(self, spec: SequenceSpec) -> int:
        start = node = self._new()
        steps = list(spec.steps())
        for step in steps:
            end = self.end if step is steps[-1] else self._new()
            node = self._step(step, node, end)
        return start

    def _build_connection(self, spec: SequenceSpec) -> None:
        node = self.start
        branches: list[tuple[int, tuple[Step, ...], str | None]] = []
        for item in spec.items:
            before = node
            node = self._item(item, node)
            for branch in spec.branches:
                if branch.after != item.number:
                    continue
                steps = self._sequences[branch.sequence].variants[branch.variant]
                if branch.when == "any":
                    branches.append((node, steps, branch.needs))
                else:
                    beginning = self._new()
                    self.nodes[before].edges += [
                        _Edge(edge.step, beginning, only_returned=True)
                        for edge in self.nodes[before].edges
                        if edge.end == node
                    ]
                    branches.append((beginning, steps, branch.needs))
        for beginning, steps, needs in branches:
            position = beginning
            for step in steps:
                position = self._step(step, position, node if step is steps[-1] else self._new(), needs)

    def _item(self, item: Item, node: int) -> int:
        match item:
            case Step():
                return self._step(item, node, self._new())
            case Repeated(least=least, most=most, steps=steps):
                ends = [node] if least == 0 else []
                for count in range(1, most + 1):
                    for step in steps:
                        node = self._step(step, node, self._new())
                    if count >= least:
                        ends.append(node)
                after = self._new()
                for end in ends:
                    self.nodes[end].skips.append(after)
                return after
            case Included(sequence=name):
                for included in self._sequences[name].items:
                    node = self._item(included, node)
                return node

    def _step(self, step: Step, start: int, end: int, needs: str | None = None) -> int:
        self.nodes[start].edges.append(_Edge(step, end, needs=needs))
        if step.optional:
            self.nodes[start].skips.append(end)
        return end


@attrs.frozen
class _State:
    """One of the places where the sequence may stand."""

    node: int

    session: str = "none"
    """"none", "attached", or "unclear": it exists, but the provider may not have been told."""

    came: frozenset[str] = frozenset()
    """The calls that have come, of those that a `Between` refers to."""

    returned: frozenset[str] = frozenset()
    """Those of them that returned."""

    why: str = ""
    """What dropped the connection, or ended it."""


class _ConnectionChecker:
    """The automaton, and the set of states that a trace may be in."""

    def __init__(self, sequences: Sequences) -> None:
        self._graph = _Graph(sequences)
        self._spec = sequences["connection"]
        self._between = (*self._spec.between, *sequences["shadow"].between)
        self._milestones = self._spec.milestones
        self._referred = {name for entry in self._between for name in (entry.after, entry.until, entry.needs)}
        self._referred |= {entry.after for entry in self._milestones}
        self._referred |= {branch.needs for branch in self._spec.branches}
        self._states = {_State(self._graph.start)}

    def check(self, trace: Trace, running: bool) -> Iterator[Finding]:
        """Take the calls one by one; stops at the first that is wrong."""
        seen: set[str] = set()
        ended: CallLine | None = None
        for line in trace.lines:
            if isinstance(line, EventLine):
                if (finding := self._milestone(line, trace)) is not None:
                    yield finding
                    return
                continue
            if not isinstance(line, CallLine):
                continue
            call = line
            if ended is not None and call.source != "service" and started_inside(call, ended):
                continue  # the provider's tasks may call back until Close has returned
            states = {after for state in self._closure() for after in self._take(state, call)}
            if not states:
                yield self._finding(call, seen)
                return
            self._states = states
            seen.add(call.call)
            if all(state.node == self._graph.end for state in states):
                ended = call
        if not running and not any(state.node == self._graph.end for state in self._states):
            yield _missing(trace, self._expected())

    def _milestone(self, line: EventLine, trace: Trace) -> Finding | None:
        """An event that only comes after a call: the states without that call are out."""
        after = {entry.after for entry in self._milestones if entry.is_met_by(line.event, line.fields)}
        if not after:
            return None
        states = {state for state in self._states if after <= state.came}
        if states:
            self._states = states
            return None
        last = max((call.n for call in trace.calls if call.t <= line.t), default=0)
        steps = [step for step in self._expected() if step.call in after]
        steps = steps or [step for step in self._spec.steps() if step.call in after]
        what = " ".join([line.event, *(str(value) for value in line.fields.values() if isinstance(value, str))])
        message = f"the event {what} came, expected {_either(str(step) for step in steps)} before it"
        return Finding(line.line_number, last, "", tuple(dict.fromkeys(map(str, steps))), message)

    def _take(self, state: _State, call: CallLine) -> Iterator[_State]:
        """The states that a call leads to."""
        for edge in self._graph.nodes[state.node].edges:
            if _matches(edge.step, call) and self._is_open(edge, state):
                yield from self._after(state, edge, call)
        if state.node != self._graph.end and any(self._allows(entry, state, call) for entry in self._between):
            yield attrs.evolve(state, came=self._add(state.came, call), returned=self._add_returned(state, call))

    def _after(self, state: _State, edge: _Edge, call: CallLine) -> Iterator[_State]:
        step = edge.step
        follow = follow_of(step, call)
        session = state.session
        if step.session == "attach":
            session = "unclear" if follow is not None else "attached"
        elif step.session == "detach":
            session = "none" if self._graph.is_leaving(edge.end) else "unclear"
        elif step.only_with is not None:
            session = "attached"  # the disconnect has begun as one with a session, so it goes on as one
        moved = attrs.evolve(
            state, session=session, came=self._add(state.came, call), returned=self._add_returned(state, call)
        )
        dropped = self._graph.end if step.failure is Follow.REFUSE else self._graph.dropped(step)
        if follow is None and _means_failure(step, call):
            yield attrs.evolve(moved, node=self._graph.leaving, why=f"{step} told of failure")
            return
        if edge.tells_failure and step.succeeds_with.keys() <= call.args.keys():
            return
        if (follow is None or follow.goes_on) and not (edge.only_returned and follow is not None):
            why = f"{step} ended the connection" if edge.end == self._graph.end else moved.why
            yield attrs.evolve(moved, node=edge.end, why=why)
        if follow is Follow.DROP or follow is Follow.REFUSE:
            yield attrs.evolve(moved, node=dropped, why=f"{step} failed with {call.error}")
        if call.outcome is Outcome.OPEN and step.failure is not Follow.CONTINUE:
            yield attrs.evolve(moved, node=dropped, why=f"{step} never returned")

    def _closure(self) -> set[_State]:
        """All states that are reached without a call."""
        found: set[_State] = set()
        todo = list(self._states)
        while todo:
            state = todo.pop()
            if state in found:
                continue
            found.add(state)
            node = self._graph.nodes[state.node]
            todo += [attrs.evolve(state, node=skipped) for skipped in node.skips]
            for edge in node.edges:
                if edge.step.session == "attach" and state.session == "none":
                    # The session is there before anybody is told of it, so leaving here is with or without one.
                    todo.append(attrs.evolve(state, session="unclear"))
                if edge.step.only_with == "session" and state.session != "attached":
                    todo.append(attrs.evolve(state, node=edge.end, session="none"))
        return found

    def _is_open(self, edge: _Edge, state: _State) -> bool:
        if edge.needs is not None and edge.needs not in state.came:
            return False
        return edge.step.only_with is None or state.session != "none"

    def _allows(self, entry: Between, state: _State, call: CallLine) -> bool:
        return (
            _may_come_between(entry, call)
            and (entry.after is None or entry.after in state.came)
            and (entry.until is None or entry.until not in state.came)
            and (entry.needs is None or entry.needs in state.returned)
        )

    def _add(self, names: frozenset[str], call: CallLine) -> frozenset[str]:
        return names | {call.call} if call.call in self._referred else names

    def _add_returned(self, state: _State, call: CallLine) -> frozenset[str]:
        return state.returned if call.error is not None else self._add(state.returned, call)

    def _expected(self) -> list[Step]:
        """The steps that may come now: those of the figure, then those of the disconnect."""
        closure = self._closure()
        found = [
            (self._graph.is_leaving(state.node), state.node, edge.step)
            for state in closure
            for edge in self._graph.nodes[state.node].edges
            if self._is_open(edge, state)
        ]
        found.sort(key=lambda entry: entry[:2])
        steps: list[Step] = []
        for _leaving, _node, step in found:
            if step not in steps:
                steps.append(step)
        return steps

    def _finding(self, call: CallLine, seen: set[str]) -> Finding:
        states = self._states
        why = next((state.why for state in states), "") if all(state.why for state in states) else ""
        came = f"came after {why}" if why else "came again" if call.call in seen else "came"
        expected = self._expected()
        finding = _unexpected(call, came, _main(expected) or expected)
        return attrs.evolve(finding, expected=tuple(dict.fromkeys(map(str, expected))))


def _main(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.sequence != "disconnect"]


def _means_failure(step: Step, call: CallLine) -> bool:
    return any(name in call.args and call.args[name] != value for name, value in step.succeeds_with.items())


def _overlaps(calls: Sequence[CallLine]) -> Iterator[Finding]:
    """Calls of the service into a provider that started before the one before had ended."""
    open_call: CallLine | None = None
    for call in calls:
        if call.source != "service":
            continue
        if open_call is not None and started_inside(call, open_call):
            message = f"{call.call} came while {open_call.call} (line {open_call.line_number}) was still open"
            yield Finding(call.line_number, call.n, call.call, (), f"{message}, expected it to end first")
        if open_call is None or open_call.d is None or _end(call) >= _end(open_call):
            open_call = call


def _end(call: CallLine) -> float:
    return float("inf") if call.d is None else call.t + call.d


def _early(calls: Sequence[CallLine], sequences: Sequences) -> Iterator[Finding]:
    """Calls that started before one that they have to wait for had returned."""
    waiting = {step.call: step for step in sequences.steps() if step.waits_for is not None}
    by_name: dict[str, CallLine] = {}
    for call in calls:
        step = waiting.get(call.call)
        if step is not None and step.waits_for in by_name and _matches(step, call):
            awaited = by_name[step.waits_for]
            if started_inside(call, awaited):
                message = f"{step} came while {awaited.call} (line {awaited.line_number}) was still open"
                yield Finding(call.line_number, call.n, call.call, (), f"{message}, expected it after its return")
        by_name.setdefault(call.call, call)


def _other_sessions(calls: Sequence[CallLine], sequences: Sequences) -> Iterator[Finding]:
    """Calls about another session than the one that the connection has been told."""
    attaching = {step.call for step in sequences.steps() if step.session == "attach"}
    told: CallLine | None = None
    for call in calls:
        if call.source != "service" or "session_id" not in call.args:
            continue
        if call.call in attaching:
            told = call
        elif told is not None and _session_of(call) != _session_of(told):
            about = f"{call.call} is about session {_session_of(call)}"
            expected = f"expected session {_session_of(told)}, which {told.call} named (line {told.line_number})"
            yield Finding(call.line_number, call.n, call.call, (), f"{about}, {expected}")


def _session_of(call: CallLine) -> object:
    value = call.args["session_id"]
    return value.get("session_id", 0) if isinstance(value, Mapping) else value


# --- Start and stop of the service ------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Object:
    """A manager or a listener, and how far it has come."""

    kind: str
    name: str
    """What follows the colon in "listener:desk"; "" if the trace does not tell objects of a kind apart."""

    manager: "_Object | None"
    done: int
    """How many steps of its life are done."""

    failed: bool = False

    def is_called(self, name: str) -> bool:
        """Whether the trace may mean this object."""
        return "" in (name, self.name) or name == self.name


class _ServiceChecker:
    """Managers and listeners, each on its way through the steps of start.toml."""

    def __init__(self, sequences: Sequences) -> None:
        spec = sequences["start"]
        steps = list(spec.steps())
        self._life = {kind: [step for step in steps if step.per == kind] for kind in ("manager", "listener")}
        self._between = spec.between
        self._objects: list[_Object] = []
        self._given_up: CallLine | None = None

    def check(self, trace: Trace, running: bool) -> Iterator[Finding]:
        """Take the calls one by one; stops at the first that is wrong."""
        for call in trace.calls:
            step = next((step for life in self._life.values() for step in life if _matches(step, call)), None)
            if step is not None:
                finding = self._take(step, call)
            elif any(self._allows(entry, call) for entry in self._between):
                finding = None
            else:
                finding = _unexpected(call, "came", self._expected())
            if finding is not None:
                yield finding
                return
        if not running and (missing := self._expected_at_end()):
            yield _missing(trace, missing)

    def _take(self, step: Step, call: CallLine) -> Finding | None:
        assert step.per is not None
        life = self._life[step.per]
        position = life.index(step)
        given_up = self._given_up
        if given_up is not None and not _is_stopping(step) and not started_inside(call, given_up):
            came = f"came after {given_up.call} failed with {given_up.error}, which gives up the start"
            return _unexpected(call, came, self._expected_at_end())
        found = self._born(step, call) if position == 0 else self._find(step.per, _name(call.target), position)
        if found is None:
            return _unexpected(call, self._came(step, call), self._expected(), step)
        if step.per == "manager" and position == len(life) - 1:
            listeners = [one for one in self._objects if one.manager is found and not self._is_over(one)]
            if listeners:
                steps = [self._life["listener"][one.done] for one in listeners]
                return _unexpected(call, "came", steps)
        found.done = position + 1
        follow = follow_of(step, call)
        if follow is Follow.DROP:
            found.failed = True
            self._given_up = call
        return None

    def _born(self, step: Step, call: CallLine) -> _Object | None:
        """A new manager, or a new listener of a manager that is ready for one."""
        if step.per == "manager":
            name = _name(call.target)
            if name and any(
                one.kind == "manager" and one.name == name and not self._is_over(one) for one in self._objects
            ):
                return None
            manager = None
        else:
            name = str(call.args.get("listener_name", ""))
            manager = self._find("manager", _name(call.target), 1)
            if manager is None:
                return None
            if name and any(
                one.kind == "listener" and one.name == name and not self._is_over(one) for one in self._objects
            ):
                return None
        assert step.per is not None
        born = _Object(step.per, name, manager, 0)
        self._objects.append(born)
        return born

    def _find(self, kind: str, name: str, done: int) -> _Object | None:
        for one in self._objects:
            if one.kind == kind and one.done == done and one.is_called(name) and not one.failed:
                return one
        return None

    def _allows(self, entry: Between, call: CallLine) -> bool:
        if not _may_come_between(entry, call):
            return False
        if entry.after is None:
            return True
        for life in self._life.values():
            names = [step.call for step in life]
            if entry.after in names:
                done = names.index(entry.after) + 1
                kind = life[0].per
                name = _name(call.target if entry.by_service else call.source)
                return any(
                    one.kind == kind and done <= one.done < len(life) and one.is_called(name) for one in self._objects
                )
        return False

    def _is_over(self, one: _Object) -> bool:
        """Nothing more has to come for this object."""
        if one.failed or one.done == len(self._life[one.kind]):
            return True
        # A listener that was made, but not started because the start was given up meanwhile.
        return self._given_up is not None and not _is_stopping(self._life[one.kind][one.done])

    def _expected(self) -> list[Step]:
        """What may come next: for the objects that there are, and for a new one."""
        steps = [self._life[one.kind][one.done] for one in self._objects if not self._is_over(one)]
        if not any(one.kind == "manager" for one in self._objects):
            steps.append(self._life["manager"][0])
        elif not any(one.kind == "listener" for one in self._objects):
            steps.insert(0, self._life["listener"][0])
        return sorted(steps, key=lambda step: step.number)

    def _expected_at_end(self) -> list[Step]:
        steps = [self._life[one.kind][one.done] for one in self._objects if not self._is_over(one)]
        if not self._objects:
            steps = [self._life["manager"][0]]
        return sorted(steps, key=lambda step: step.number)

    def _came(self, step: Step, call: CallLine) -> str:
        position = self._life[step.per or ""].index(step)
        again = any(
            one.kind == step.per and one.done > position and one.is_called(_name(call.target)) for one in self._objects
        )
        return "came again" if again else "came"


def _is_stopping(step: Step) -> bool:
    """The steps of the stop are those after which nothing is dropped: there is nothing left to drop."""
    return step.failure is Follow.CONTINUE


def _name(actor: str) -> str:
    """Which one it is: "listener:desk" is "desk"."""
    return actor.partition(":")[2]
