"""What a check does with a shadow connection: both halves of a shadowing, and the end of each."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from rdpprov.api.shadow import HotkeyModifiers, ShadowCallback, ShadowConnection
from rdpprov.testing.kit_connection import SECOND_SESSION, DrivenConnection
from rdpprov.testing.kit_service import Observer, shown

THIS_SERVER = ""
TARGET_SESSION = SECOND_SESSION
VK_MULTIPLY = 0x6A
PARAMETERS = (b"one", b"", b"\0", b"four")
"""For DoTarget, where no InvokeTargetShadow has brought any."""

REFUSED: Final = object()
"""What stands for the answer of a half that does not come about."""


class KitShadowCallback(ShadowCallback):
    """The service's half of a shadowing: it notes."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.invoked = trio.Event()
        self.invocations: list[tuple[object, ...]] = []
        """The arguments of each InvokeTargetShadow."""

    def stop_shadow(self) -> None:
        """StopShadow: may come at any time, also late."""
        self._observer.called_back("StopShadow")

    def invoke_target_shadow(
        self,
        target_server_name: str,
        target_session_id: int,
        param1: bytes,
        param2: bytes,
        param3: bytes,
        param4: bytes,
        client_name: str,
    ) -> None:
        """InvokeTargetShadow."""
        self._observer.called_back("InvokeTargetShadow")
        self.invocations.append((target_server_name, target_session_id, param1, param2, param3, param4, client_name))
        self.invoked.set()


async def shadow(driven: DrivenConnection) -> None:
    """GetShadowConnection, and what it gives: a shadower first, then a target."""
    run, rule = driven.run, "optional-interfaces-answer"
    half: object = await run.call(driven.connection.get_shadow_connection, default=REFUSED, blame=rule)
    if half is REFUSED:
        return
    is_one = isinstance(half, ShadowConnection)
    run.findings.check(rule, is_one, f"GetShadowConnection returned {shown(half)}, expected a ShadowConnection")
    if isinstance(half, ShadowConnection):
        run.check_signatures(half)
        await _as_target(driven, half, await _as_shadower(driven, half))


async def _as_shadower(driven: DrivenConnection, half: ShadowConnection) -> tuple[object, ...]:
    """Start and Stop; the parameters for DoTarget."""
    run, rule = driven.run, "shadow-start-is-answered"
    callback = KitShadowCallback(run.kit.observer)
    args = (THIS_SERVER, TARGET_SESSION, VK_MULTIPLY, int(HotkeyModifiers.CTRL), callback)
    if not await _begins(driven, rule, half.start, *args):
        run.findings.does_not_apply(rule, "Start is refused, or not implemented")
        return PARAMETERS
    with trio.move_on_after(run.kit.patience):
        await callback.invoked.wait()
    seen = f"no InvokeTargetShadow within {run.kit.patience:g} s of Start"
    if run.findings.check(rule, bool(callback.invocations), seen):
        name, session_id, *parameters, client_name = callback.invocations[0]
        asked = (name, session_id) == (THIS_SERVER, TARGET_SESSION)
        seen = f"InvokeTargetShadow was for session {session_id!r} of {name!r}, expected {TARGET_SESSION} of ''"
        run.findings.check(rule, asked, seen)
        good = all(isinstance(each, bytes) for each in parameters) and isinstance(client_name, str)
        run.findings.check(rule, good, "InvokeTargetShadow brought something else than four times bytes, and text")
    before = len(callback.invocations)
    await _stop(driven, half, "Start")
    late = len(callback.invocations) - before
    run.findings.check("shadow-stop-is-taken", not late, "InvokeTargetShadow came after Stop")
    return tuple(callback.invocations[0][2:6]) if callback.invocations else PARAMETERS


async def _as_target(driven: DrivenConnection, half: ShadowConnection, parameters: tuple[object, ...]) -> None:
    """DoTarget and Stop."""
    rule = "shadow-stop-is-taken"
    if await _begins(driven, rule, half.do_target, *parameters, "check"):
        await _stop(driven, half, "DoTarget")


async def _begins(driven: DrivenConnection, rule: str, method: Callable[..., Awaitable[None]], *args: object) -> bool:
    """Start or DoTarget; whether it comes about. An HRESULT says that it does not, which breaks no rule."""
    passed = rule in driven.run.findings.passed
    answer = await driven.run.call(method, *args, default=REFUSED, blame=rule, late=rule, may_refuse=True)
    if answer is REFUSED and not passed:
        driven.run.findings.passed.discard(rule)  # nor has it been met by that
    return answer is not REFUSED


async def _stop(driven: DrivenConnection, half: ShadowConnection, begun: str) -> None:
    """Stop, and the connection stays what it is."""
    rule = "shadow-stop-is-taken"
    await driven.run.call(half.stop, blame=rule, late=rule)
    await trio.sleep(driven.run.kit.settle)
    driven.still_there(rule, f"after {begun} and Stop")
