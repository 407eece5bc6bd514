"""IWTSPlugin and what belongs to it: the interfaces of dynamic virtual channels, both ends of them.

A plug-in listens for channels by name; the framework that loaded it hands it each channel that the server opens. The
server always opens, the plug-in only listens.

What the framework calls is async; what the plug-in calls (manager, listener, channel) is plain and returns at once. A
failure of a notification is ignored. Source: `tsvirtualchannels.h`, "Dynamic Virtual Channels".
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

RDCLIENT_BITMAP_RENDER_SERVICE: Final = uuid.UUID("e4cc08cb-942e-4b19-8504-bd5a89a747f5")
"""For `PluginServiceProvider.get_service`: draws bitmaps into the client's window."""

TS_VC_LISTENER_STATIC_CHANNEL: Final = 1
"""For `VirtualChannelManager.create_listener`: listen for a static channel. The page says flags are reserved."""

WTS_PROPERTY_DEFAULT_CONFIG: Final = "DefaultConfig"
"""In `Listener.get_configuration`: the configuration as text."""


class VirtualChannel(ABC):
    """IWTSVirtualChannel: implemented by the framework; one channel, live once it was accepted."""

    @abstractmethod
    def write(self, buffer: bytes) -> None:
        """IWTSVirtualChannel.Write: send one message. Takes a copy and returns at once; there is no flow control.

        Raises:
            HResultError: the channel is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """IWTSVirtualChannel.Close: give up what is not yet written; `VirtualChannelCallback.on_close` follows.

        Not to be called from `on_close`.
        """


class VirtualChannelCallback(ABC):
    """IWTSVirtualChannelCallback: implemented by the plug-in, one per channel."""

    @abstractmethod
    async def on_data_received(self, buffer: bytes) -> None:
        """IWTSVirtualChannelCallback.OnDataReceived: one whole message, as the other end wrote it, of any size."""

    async def on_close(self) -> None:
        """IWTSVirtualChannelCallback.OnClose: the channel is closed: by either end, or because the client left."""


class ListenerCallback(ABC):
    """IWTSListenerCallback: implemented by the plug-in, for `VirtualChannelManager.create_listener`."""

    @abstractmethod
    async def on_new_channel_connection(self, channel: VirtualChannel, data: str) -> VirtualChannelCallback | None:
        """IWTSListenerCallback.OnNewChannelConnection: the server opens a channel of the name listened for.

        Args:
            channel: live once this has returned a callback.
            data: not used.

        Returns:
            The channel's callback: it is accepted; None: it is refused.
        """


class Listener(ABC):
    """IWTSListener: implemented by the framework, from `VirtualChannelManager.create_listener`."""

    @abstractmethod
    def get_configuration(self) -> Mapping[str, str]:
        """IWTSListener.GetConfiguration: the listener's configuration; see `WTS_PROPERTY_DEFAULT_CONFIG`.

        Raises:
            NotImplementedByProvider: there is none.
        """


class VirtualChannelManager(ABC):
    """IWTSVirtualChannelManager: implemented by the framework, handed out in `Plugin.initialize`.

    One that is also a `PluginServiceProvider` derives from both.
    """

    @abstractmethod
    def create_listener(self, channel_name: str, flags: int, listener_callback: ListenerCallback) -> Listener:
        """IWTSVirtualChannelManager.CreateListener: listen for channels of a name.

        Several channels of one name may be open at once.

        Args:
            channel_name: of the endpoint, at most 260 characters (7 for a static channel).
            flags: 0, or `TS_VC_LISTENER_STATIC_CHANNEL`.
            listener_callback: told of each channel.

        Raises:
            HResultError: the name is taken, or too long.
        """


class PluginServiceProvider(ABC):
    """IWTSPluginServiceProvider: implemented by the framework, by the same object as its `VirtualChannelManager`."""

    @abstractmethod
    def get_service(self, service_id: uuid.UUID) -> object:
        """IWTSPluginServiceProvider.GetService: one of the framework's services.

        Args:
            service_id: such as `RDCLIENT_BITMAP_RENDER_SERVICE`.

        Raises:
            NotImplementedByProvider: there is no such service.
        """


class Plugin(ABC):
    """IWTSPlugin: implemented by the plug-in; loaded by the framework at the client's end of a connection."""

    @abstractmethod
    async def initialize(self, channel_mgr: VirtualChannelManager) -> None:
        """IWTSPlugin.Initialize: first call, once: create the listeners.

        Args:
            channel_mgr: may be kept until `terminated`.

        Raises:
            HResultError: the plug-in is let go.
        """

    async def connected(self) -> None:
        """IWTSPlugin.Connected: the client is connected to the server. May come again after `disconnected`."""

    async def disconnected(self, disconnect_code: int) -> None:
        """IWTSPlugin.Disconnected: the client is not connected any more.

        Args:
            disconnect_code: 0 nothing known, 1 by the client, 2 by the user at the server, 3 by the server; others are
                errors, the codes of IMsTscAxEvents.OnDisconnected.
        """

    async def terminated(self) -> None:
        """IWTSPlugin.Terminated: last call."""
