"""What a check does with a license connection that exchanges packets: rounds, failures, and a client that goes."""

import struct

import trio

from rdpprov.api.license_connection import AlwaysLicensed
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_NOTIMPL, HResultError
from rdpprov.testing.kit_connection import DrivenConnection, arrived
from rdpprov.testing.kit_run import Check, running

CARRIED = "license-packets-are-carried"
FAILS = "license-rounds-may-fail"
ANSWERS = "license-answers-are-the-clients"


def packet(message_type: int, filler: bytes) -> bytes:
    """A packet of the server: [MS-RDPELE] 2.2.2, a preamble of version 3.0, and then nothing that means anything."""
    return struct.pack("<BBH", message_type, 3, 4 + len(filler)) + filler


REQUEST = packet(1, b"SERVER_LICENSE_REQUEST")
CHALLENGE = packet(2, bytes(range(256)))
LICENSE = packet(3, b"SERVER_NEW_LICENSE")
"""The last: it has no answer."""


async def licensing_rounds(check: Check) -> None:
    """Two rounds and a license, and on to the logon."""
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)
        await driven.walk("RequestLicensingCapabilities")
        if not await _has_rounds(driven):
            await driven.leave()
            return
        answers = [await _answer(driven, CARRIED)]
        await _send(driven, CHALLENGE, CARRIED)
        answers.append(await _answer(driven, CARRIED))
        await _send(driven, LICENSE, CARRIED)
        await driven.walk(since="ProtocolComplete")
        check.findings.check(CARRIED, True)
        came = getattr(guest.client, "license_packets", None)
        if came is not None:
            wanted = [REQUEST, CHALLENGE, LICENSE]
            same = await check.comes(lambda: list(came) == wanted)
            check.findings.check(CARRIED, same, _difference(list(came), wanted))
        said = list(guest.client.license_answers)
        seen = "RequestClientLicense did not return what the client had answered, packet by packet"
        check.findings.check(CARRIED, said == answers, seen)
        await driven.leave()


def _difference(came: list[bytes], sent: list[bytes]) -> str:
    """Between the packets that a client got and those that it should have got."""
    if len(came) != len(sent):
        return f"the client got {len(came)} license packets, and {len(sent)} were sent"
    for number, (arrived_as, was) in enumerate(zip(came, sent, strict=True), 1):
        if arrived_as != was:
            sizes = f"{len(was)} bytes when it was sent and {len(arrived_as)} when it came"
            return f"license packet {number} of {len(sent)} was changed on the way: {sizes}"
    return ""


async def licensing_rounds_fail(check: Check) -> None:
    """ProtocolComplete(0) after a round, and in the middle of one."""
    for is_whole in (True, False):
        async with running(check) as run, run.guest() as guest:
            driven = await arrived(run, guest)
            await driven.walk("RequestLicensingCapabilities")
            if not await _has_rounds(driven):
                await driven.leave()
                return
            if is_whole:
                await _answer(driven, FAILS)
            await run.call(driven.license.protocol_complete, 0, default=None, blame=FAILS, late=FAILS)
            await trio.sleep(check.settle)
            admitted = getattr(guest.client, "admitted", False)
            when = "a round" if is_whole else "a packet without its answer"
            check.findings.check(FAILS, not admitted, f"the client was let on by ProtocolComplete(0) after {when}")
            await driven.leave(ErrInfo.ERRINFO_LICENSE_NO_LICENSE)


async def licensing_client_goes(check: Check) -> None:
    """A client that goes while its answer is waited for."""
    for resets in (False, True):
        async with running(check) as run, run.guest() as guest:
            driven = await arrived(run, guest)
            await driven.walk("RequestLicensingCapabilities")
            if not await _has_rounds(driven):
                await driven.leave()
                return
            await _answer(driven, ANSWERS)
            waiting = _Waiting(driven)
            run.nursery.start_soon(waiting.run)
            await trio.sleep(check.settle)
            seen = f"RequestClientLicense {waiting.outcome}, and the client had not been asked anything"
            check.findings.check(ANSWERS, not waiting.outcome, seen)
            await (guest.break_line() if resets else guest.leave(check.patience))
            await check.comes(waiting.has_ended)
            how = "was reset" if resets else "left"
            seen = f"RequestClientLicense {waiting.outcome or 'went on'} when the client {how}"
            good = waiting.is_refused or (not waiting.is_over and driven.callback.is_broken.is_set())
            check.findings.check(ANSWERS, good, seen)
            waiting.scope.cancel()
            await driven.leave(ErrInfo.ERRINFO_PEER_DISCONNECTED, client_gone=True)


class _Waiting:
    """A RequestClientLicense in a task of its own."""

    def __init__(self, driven: DrivenConnection) -> None:
        self._driven = driven
        self.scope = trio.CancelScope()
        self.outcome = ""
        """How it ended, if it has."""
        self.is_refused = False
        self.is_over = False

    def has_ended(self) -> bool:
        """Whether it has, or BrokenConnection has come, at which the service would give it up."""
        return self.is_over or self._driven.callback.is_broken.is_set()

    async def run(self) -> None:
        """Wait."""
        observer = self._driven.run.kit.observer
        try:
            with self.scope, observer.calling("RequestClientLicense"):
                answer = await self._driven.license.request_client_license(b"")
                self.outcome = f"returned {len(answer)} bytes"
        except HResultError as error:
            observer.told("the reason of an error in RequestClientLicense", error.reason)
            self.is_refused = True
        except Exception as error:
            self.outcome = f"raised {type(error).__name__}"
        self.is_over = not self.scope.cancelled_caught


async def _has_rounds(driven: DrivenConnection) -> bool:
    """Send the first packet; whether this license connection exchanges any."""
    findings = driven.run.findings
    own = type(driven.license)
    if own.send_client_license is AlwaysLicensed.send_client_license:
        why = "the license connection is AlwaysLicensed"
    else:
        is_there = True

        async def send_client_license(data: bytes) -> None:
            nonlocal is_there
            try:
                await driven.license.send_client_license(data)
            except HResultError as error:
                if error.hresult != E_NOTIMPL:
                    raise
                is_there = False

        await driven.run.call(send_client_license, REQUEST, blame=CARRIED, late=CARRIED)
        if is_there and getattr(driven.guest.client, "license_answers", None) is not None:
            return True
        why = (
            "the check's client does not say what it answers to license packets (license_answers)"
            if is_there
            else "SendClientLicense is not implemented"
        )
    for rule in (CARRIED, FAILS, ANSWERS):
        findings.passed.discard(rule)
        findings.does_not_apply(rule, why)
    return False


async def _send(driven: DrivenConnection, data: bytes, rule: str) -> None:
    await driven.run.call(driven.license.send_client_license, data, blame=rule, late=rule)


async def _answer(driven: DrivenConnection, rule: str) -> bytes:
    answer: bytes = await driven.run.call(driven.license.request_client_license, b"", blame=rule, late=rule)
    return answer
