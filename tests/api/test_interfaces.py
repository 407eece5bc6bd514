"""The interfaces without an implementation: what may be left out is answered E_NOTIMPL, and only the rest is missed."""

import inspect

import pytest
import trio

from rdpprov import api
from rdpprov.api import dynamic_channels, graphics_channels, wtsprotocol
from rdpprov.errors import E_NOTIMPL, NotImplementedByProvider
from rdpprov.rcm.loader import INTERFACES, faults_of


class Everything(
    api.ProtocolConnection2,
    api.ProtocolConnectionSettings,
    api.EnhancedFastReconnectArbitrator,
    api.WddmIddProps,
    graphics_channels.RemoteFXGraphicsConnection,
):
    """A connection that is all that a connection can be."""

    async def accept_connection(self):
        """Do nothing."""

    async def get_client_data(self):
        return api.ClientData()

    async def close(self):
        """Do nothing."""


def test_one_class_can_be_all_that_a_connection_can_be():
    assert faults_of(Everything) == ()
    assert isinstance(Everything(), api.ProtocolConnection)


ANSWERED = {
    api.ProtocolConnection2: {"get_serialized_user_credential"},
    api.ProtocolConnectionSettings: {"set_connection_setting", "get_connection_setting"},
    api.EnhancedFastReconnectArbitrator: {"get_session_for_enhanced_fast_reconnect"},
    api.WddmIddProps: {"get_hardware_id", "on_driver_load", "on_driver_unload", "enable_wddm_idd"},
    api.WddmIddProps1: {"get_hardware_id", "on_driver_load", "on_driver_unload"},
    graphics_channels.RemoteFXGraphicsConnection: {"get_virtual_channel_transport"},
    graphics_channels.GraphicsChannelManager: {"create_channel"},
    graphics_channels.GraphicsChannel: {"write", "close", "open"},
    api.ShadowConnection: {"start", "do_target"},
    wtsprotocol.WtsProtocolConnection: {
        "get_logon_error_redirector",
        "get_user_credentials",
        "authenticate_client_to_session",
        "get_protocol_handles",
        "session_arbitration_enumeration",
        "get_user_data",
        "get_protocol_status",
        "get_last_input_time",
        "create_virtual_channel",
        "query_property",
        "get_shadow_connection",
    },
}


@pytest.mark.parametrize(
    ("interface", "name"),
    [(interface, name) for interface, names in ANSWERED.items() for name in sorted(names)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_may_be_left_out_is_answered_e_notimpl(interface, name):
    method = getattr(interface, name)
    arguments = [None] * len(inspect.signature(method).parameters)
    with pytest.raises(NotImplementedByProvider) as raised:
        trio.run(method, *arguments)
    assert raised.value.hresult == E_NOTIMPL


async def test_what_the_base_classes_do_not_refuse_they_do_without_a_word():
    await api.ShadowConnection().stop()
    assert await graphics_channels.RemoteFXGraphicsConnection().enable_remotefx_graphics() is False


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.__name__)
def test_the_loader_names_every_method_of_every_interface_that_is_not_async(interface):
    wrong = {
        name: lambda self: None
        for name, method in vars(interface).items()
        if not name.startswith("_") and inspect.iscoroutinefunction(method)
    }
    faults = faults_of(type("Wrong", (interface,), wrong))
    for name in wrong:
        assert f"has the method {name}, which is not `async def`" in faults


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.__name__)
def test_the_loader_names_every_method_of_every_interface_that_cannot_be_called(interface):
    async def too_many(self, a, b, c, d, e, f, g, h):
        """Nobody calls it with so much."""

    names = [
        name
        for name, method in vars(interface).items()
        if not name.startswith("_") and inspect.iscoroutinefunction(method)
    ]
    faults = faults_of(type("Wrong", (interface,), dict.fromkeys(names, too_many)))
    for name in names:
        assert any(fault.startswith(f"has the method {name}, which cannot be called as {name}(") for fault in faults)


def test_the_loader_knows_every_interface_that_somebody_else_than_the_service_implements(reference):
    known = {(interface.__doc__ or "").partition(":")[0] for interface in INTERFACES}
    written = {
        each["name"]
        for each in reference["interfaces"]
        if each["implemented_by"] == "provider" and "replaced_by" not in each
    }
    assert known - {"IWTSProtocolManager", "IWTSProtocolListener", "IWTSProtocolConnection"} == written


async def test_a_plug_in_that_takes_what_it_is_offered_needs_three_methods():
    class Echo(dynamic_channels.VirtualChannelCallback):
        def __init__(self, channel):
            self.channel = channel

        async def on_data_received(self, buffer):
            self.channel.write(buffer[::-1])

    class Listens(dynamic_channels.Plugin, dynamic_channels.ListenerCallback):
        async def initialize(self, channel_mgr):
            channel_mgr.create_listener("ECHO", 0, self)

        async def on_new_channel_connection(self, channel, data):
            return Echo(channel)

    class Channel(dynamic_channels.VirtualChannel):
        def __init__(self):
            self.written = []

        def write(self, buffer):
            self.written.append(buffer)

        def close(self):
            """Nothing is pending."""

    class Manager(dynamic_channels.VirtualChannelManager):
        def __init__(self):
            self.listeners = {}

        def create_listener(self, channel_name, flags, listener_callback):
            self.listeners[channel_name] = listener_callback

    assert faults_of(Listens) == faults_of(Echo) == ()
    plugin, manager, channel = Listens(), Manager(), Channel()
    await plugin.initialize(manager)
    await plugin.connected()
    callback = await manager.listeners["ECHO"].on_new_channel_connection(channel, "")
    await callback.on_data_received(b"abc")
    await callback.on_close()
    await plugin.disconnected(1)
    await plugin.terminated()
    assert channel.written == [b"cba"]
