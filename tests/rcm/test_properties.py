"""Properties at the moments where they mean something: program, logon screen, time zone, cursor."""

import pytest
import trio

from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.properties import (
    CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED,
    PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION,
    WTS_QUERY_ALLOWED_INITIAL_APP,
    WTS_QUERY_LOGON_SCREEN_SIZE,
    InitialAppVerdict,
    LogonScreenSize,
)
from rdpprov.api.structures import ClientData, PropertyValue, TimeZoneInformation, UserCredential
from rdpprov.api.time_zones import DynamicTimeZoneInformation
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm.desktops import split_command
from rdpprov.rcm.logon_errors import PROGRAM_REFUSED
from rdpprov.sessions.base import CursorBlink, InitialProgram
from rdpprov.testing.scripted import NOT_IMPLEMENTED, Fails, QueriedConnection, ScriptedProvider, Takes

ANN = UserCredential("ann", "right")
APP, SIZE = WTS_QUERY_ALLOWED_INITIAL_APP, WTS_QUERY_LOGON_SCREEN_SIZE
ZONE, BLINK = PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION, CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED

CLIENT = ClientData(
    inherit_initial_program=True,
    initial_program='"C:\\Program Files\\editor.exe" -new file.txt',
    work_directory="C:\\work",
    maximize_shell=True,
    h_res=640,
    v_res=480,
    client_time_zone=TimeZoneInformation(bias=-60, standard_name="CET"),
)


async def test_a_program_that_the_client_names_is_asked_for_and_started_as_the_provider_says(autojump_clock, checked):
    verdict = InitialAppVerdict("C:\\safe\\editor.exe", "-readonly")
    provider = ScriptedProvider({"GetClientData": CLIENT, APP.name: APP.pack_answer(verdict)})
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection)
        asked = [entry.value for entry in client.args_of(APP.name)]
        assert asked == ["C:\\Program Files\\editor.exe", "-new file.txt", 0]
        (desktop,) = provider.desktops
        assert desktop.request.program == InitialProgram("C:\\safe\\editor.exe", "-readonly", "C:\\work", True)
        assert client.names.index(APP.name) < client.names.index("LogonNotify")
    checked(provider)


@pytest.mark.parametrize("answer", [NOT_IMPLEMENTED, Fails(HResultError("no")), [PropertyValue(1)]], ids=str)
async def test_a_program_of_which_the_provider_says_nothing_is_started_as_named(autojump_clock, checked, answer):
    provider = ScriptedProvider({"GetClientData": CLIENT, APP.name: answer})
    async with provider.service():
        await provider.log_on("ann", connection_class=QueriedConnection)
        program = provider.desktops[0].request.program
        assert program == InitialProgram("C:\\Program Files\\editor.exe", "-new file.txt", "C:\\work", True)
    checked(provider)


@pytest.mark.parametrize("response", LogonErrorRedirectorResponse)
async def test_a_program_that_the_provider_refuses_ends_the_logon(autojump_clock, checked, response):
    refused = APP.pack_answer(InitialAppVerdict("", "", allowed=False))
    provider = ScriptedProvider({"GetClientData": CLIENT, APP.name: refused, "RedirectMessage": response})
    async with provider.service() as service:
        client = await provider.connect(
            answers={
                "GetLogonErrorRedirector": lambda: None,
                "GetUserCredentials": ANN,
            },
            connection_class=QueriedConnection,
        )
        await client.closed.wait()
        assert client.args_of("RedirectMessage")[1] == PROGRAM_REFUSED
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES,)
        assert list(service.sessions) == []
        assert provider.desktops == []
    checked(provider)


async def test_nobody_asks_for_a_program_that_is_not_named_or_runs_already(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        first = await provider.log_on("ann", connection_class=QueriedConnection)
        unwanted = ClientData(initial_program="editor.exe")  # without the flag it is none
        bob = await provider.log_on("bob", answers={"GetClientData": unwanted}, connection_class=QueriedConnection)
        again = await provider.log_on("ann", answers={"GetClientData": CLIENT}, connection_class=QueriedConnection)
        assert all(APP.name not in client.names for client in (first, bob, again))
        assert [desktop.request.program for desktop in provider.desktops] == [None, None]
    checked(provider)


async def test_two_logons_at_once_end_up_in_one_session_though_the_provider_thinks_about_the_program(
    autojump_clock, checked
):
    answer = APP.pack_answer(InitialAppVerdict("editor"))
    provider = ScriptedProvider({"GetClientData": CLIENT, APP.name: Takes(5, answer)})
    async with provider.service() as service, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: provider.log_on("ann", connection_class=QueriedConnection))
        await trio.sleep(20)
        assert len(list(service.sessions)) == 1
        assert service.connection_count == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("editor", ("editor", "")),
        ("editor  -a b ", ("editor", "-a b")),
        ('"my editor" -a', ("my editor", "-a")),
        ('"never closed', ("never closed", "")),
        ("   ", ("", "")),
    ],
)
def test_a_command_line_is_taken_apart(command, parts):
    assert split_command(command) == parts


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (SIZE.pack_answer(LogonScreenSize(800, 600)), (800, 600)),
        (SIZE.pack_answer(LogonScreenSize(0, 65535)), (200, 8192)),
        (NOT_IMPLEMENTED, (640, 480)),
        ([PropertyValue("large")], (640, 480)),
    ],
    ids=["answered", "out of bounds", "default", "another type"],
)
async def test_a_logon_desktop_is_as_large_as_the_provider_says(autojump_clock, checked, answer, size):
    provider = ScriptedProvider({SIZE.name: answer})
    async with provider.service():
        client = await provider.connect(connection_class=QueriedConnection)
        desktop = await provider.logon_desktop()
        assert (desktop.width, desktop.height) == size
        client.goes()
        await client.closed.wait()
    checked(provider)


async def test_who_sees_no_logon_desktop_is_not_asked_for_its_size(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection)
        assert SIZE.name not in client.names


async def test_the_time_zone_of_the_client_is_kept_with_the_session(autojump_clock, checked):
    dynamic = DynamicTimeZoneInformation(bias=300, standard_name="EST", time_zone_key_name="Eastern Standard Time")
    provider = ScriptedProvider({"GetClientData": CLIENT})
    async with provider.service() as service:
        first = await provider.log_on("ann")
        (session,) = service.sessions
        assert session.time_zone == CLIENT.client_time_zone
        first.goes()
        await first.closed.wait()
        answers = {ZONE.name: ZONE.pack_answer(dynamic)}
        await provider.log_on("ann", answers=answers, connection_class=QueriedConnection)
        assert session.time_zone == dynamic
    checked(provider)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (BLINK.pack_answer(True), [CursorBlink(allowed=False)]),
        (BLINK.pack_answer(False), []),
        (NOT_IMPLEMENTED, []),
        ([PropertyValue("no")], []),
    ],
    ids=["disabled", "enabled", "default", "another type"],
)
async def test_a_desktop_is_told_that_its_cursor_must_not_blink(autojump_clock, checked, answer, told):
    provider = ScriptedProvider({BLINK.name: answer})
    async with provider.service():
        for _ in range(2):  # in a new session, and in one that is got back
            await provider.log_on("ann", connection_class=QueriedConnection)
            (desktop,) = provider.desktops
            assert [message for message in desktop.messages if isinstance(message, CursorBlink)] == told
            desktop.messages.clear()
    checked(provider)


async def test_a_mistake_in_a_query_of_the_sequence_ends_its_connection_and_leaves_the_session(autojump_clock, checked):
    provider = ScriptedProvider({ZONE.name: Fails(ZeroDivisionError("a mistake"))})
    async with provider.service() as service:
        client = await provider.connect(answers={"GetUserCredentials": ANN}, connection_class=QueriedConnection)
        await client.closed.wait()
        (session,) = service.sessions
        assert session.holder is None
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
    checked(provider)


async def test_who_begins_to_drain_while_the_provider_thinks_about_a_program_gets_no_session_more(
    autojump_clock, checked
):
    answer = Takes(5, APP.pack_answer(InitialAppVerdict("editor")))
    provider = ScriptedProvider({"GetClientData": CLIENT, APP.name: answer, "GetUserCredentials": ANN})
    async with provider.service() as service:
        client = await provider.connect(connection_class=QueriedConnection)
        await client.until(APP.name)
        service.set_draining(True)
        await trio.sleep(10)
        assert client.closed.is_set()
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
        assert provider.desktops == []
    checked(provider)
