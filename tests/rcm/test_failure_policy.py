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

# Queries: the service does not make them yet, so nothing can follow from them.
NOT_ASKED = {
    "get_protocol_status",
    "get_last_input_time",
    "create_virtual_channel",
    "query_property",
    "get_shadow_connection",
}

SPECIFIED = [step for step in load_sequences().steps() if step.by_service]


def test_every_method_of_the_provider_api_has_a_row():
    methods = {
        name
        for interface in INTERFACES
        for name, method in vars(interface).items()
        if inspect.iscoroutinefunction(method)
    }
    assert methods == set(FAILURE_POLICY) | NOT_ASKED


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
