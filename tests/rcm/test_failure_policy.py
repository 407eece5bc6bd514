"""The one table of what follows a failure, held against the API and against protocol_specs."""

import inspect

import pytest

from rdpprov.errors import E_FAIL, HResultError, NotImplementedByProvider
from rdpprov.rcm.asking import call_of
from rdpprov.rcm.configuration import Limits
from rdpprov.rcm.ending import TimeLimitError
from rdpprov.rcm.failure_policy import FAILURE_POLICY, Effect
from rdpprov.rcm.loader import INTERFACES
from rdpprov.testing.scripted import Answers, ScriptedConnection
from rdpprov.traces.sequences import Follow, load_sequences

BETWEEN = [entry for spec in load_sequences() for entry in spec.between if entry.failure is not None]
SPECIFIED = [step for step in load_sequences().steps() if step.by_service]


# Interfaces of a provider that the service does not call by itself.
NOT_CALLED = {
    "ProtocolConnectionSettings": "no page says who calls it, and when",
    "WddmIddProps": "display drivers of Windows",
    "WddmIddProps1": "display drivers of Windows",
    "RemoteFXGraphicsConnection": "deprecated; a provider's display is its VideoDevice",
    "GraphicsChannelManager": "with RemoteFXGraphicsConnection",
    "GraphicsChannel": "with RemoteFXGraphicsConnection",
    "Plugin": "the client's end of dynamic channels",
    "ListenerCallback": "the client's end of dynamic channels",
    "VirtualChannelCallback": "the client's end of dynamic channels",
    "WtsProtocolManager": "the deprecated family, behind its adapter",
    "WtsProtocolListener": "the deprecated family, behind its adapter",
    "WtsProtocolConnection": "the deprecated family, behind its adapter",
}


def methods_of(interfaces):
    return {
        name
        for interface in interfaces
        for name, method in vars(interface).items()
        if inspect.iscoroutinefunction(method)
    }


def test_every_method_that_the_service_calls_has_a_row():
    called = [interface for interface in INTERFACES if interface.__name__ not in NOT_CALLED]
    assert methods_of(called) <= set(FAILURE_POLICY) <= methods_of(INTERFACES)


@pytest.mark.parametrize("step", SPECIFIED, ids=lambda step: f"{step.sequence}-{step.variant}-{step.call}")
def test_the_table_says_what_the_sequences_say(step):
    call = next(call for call in FAILURE_POLICY.values() if (call.name, call.target) == (step.call, step.target))
    assert call.effect_of(HResultError("", E_FAIL)) is Effect(step.failure.value)
    assert call.effect_of(NotImplementedByProvider()) is Effect(step.not_implemented.value)
    assert call.effect_of(TimeLimitError()) is Effect(step.hang.value)
    if step.sequence == "disconnect" and step.call == "DisconnectNotify":
        return  # also a step of a reconnect, where it drops; the disconnect sequence goes on by itself
    assert call.effect_of(ZeroDivisionError()) is Effect(step.exception.value)
    if step.limit is not None:
        assert call.limit == step.limit


@pytest.mark.parametrize("entry", BETWEEN, ids=lambda entry: f"{entry.call}-after-{entry.after}")
def test_the_table_says_what_the_sequences_say_of_calls_between_steps(entry):
    call = next(call for call in FAILURE_POLICY.values() if (call.name, call.target) == (entry.call, entry.target))
    assert call.effect_of(HResultError("", E_FAIL)) is Effect(entry.failure.value)
    assert call.effect_of(TimeLimitError()) is Effect(entry.failure.value)
    assert call.effect_of(NotImplementedByProvider()) is Effect(entry.not_implemented.value)
    assert call.effect_of(ZeroDivisionError()) is Effect(entry.exception.value)


def test_the_effects_are_those_of_the_specs():
    assert {effect.value for effect in Effect} == {follow.value for follow in Follow} - {"refuse"}


def test_an_answer_that_the_service_relies_on_has_a_type_that_is_checked():
    unchecked = {name for name, call in FAILURE_POLICY.items() if call.returns is None and not call.is_notification}
    assert unchecked == {
        "initialize",
        "start_listen",
        "stop_listen",
        "uninitialize",
        "accept_connection",
        "get_input_handles",  # a typing Protocol
        "get_video_handle",  # likewise
        "is_user_allowed_to_logon",
        "send_client_license",
        "create_virtual_channel",  # a typing Protocol
        "query_property",  # judged by the property
        "get_shadow_connection",
        "start",
        "do_target",
        "get_session_for_enhanced_fast_reconnect",  # what is none of the session ids is no answer
        "close",
    }


@pytest.mark.parametrize("call", FAILURE_POLICY.values(), ids=lambda call: call.name)
def test_every_limit_is_a_setting(call):
    assert call.limit is None or hasattr(Limits(), call.limit)
    assert call.limit is not None or call.target == "license"


async def test_a_method_is_recognised_whatever_a_decorator_makes_of_its_name(autojump_clock):
    class Decorated(ScriptedConnection):
        async def wrapper(self):
            """What a decorator without functools.wraps leaves behind."""

        accept_connection = wrapper
        accept_connection.__name__ = "wrapper"

    connection = Decorated(Answers({}), None)
    assert call_of(connection.accept_connection).name == "AcceptConnection"
    with pytest.raises(LookupError):
        call_of(connection.until)
