"""IWRdsRemoteFXGraphicsConnection and the graphics channels that it leads to: the deprecated path of RemoteFX.

On Windows the service's own graphics stack draws into channels that the provider carries. Here a provider draws by
itself, from the `Screen` that is plugged into its `VideoDevice`; the interfaces are for providers that had both.
Before AcceptConnection the service would ask `RemoteFXGraphicsConnection`; then, for each channel,
`GraphicsChannelManager.create_channel` and `GraphicsChannel.open`, and wait for `on_channel_opened`.
"""

import uuid
from abc import ABC, abstractmethod
from typing import Final

from rdpprov.api.enums import GraphicsChannelType
from rdpprov.errors import NotImplementedByProvider

LOSSY_CHANNEL_MAX_MESSAGE_SIZE: Final = 988
"""WRdsGraphicsChannels_LossyChannelMaxMessageSize: bytes of a message on a channel of BEST_EFFORT_DELIVERY."""

WRDS_SERVICE_ID_GRAPHICS_GUID: Final = uuid.UUID("d2993f4d-02cf-4280-8c48-1624b44f8706")
"""In the metadata, without a page."""


class GraphicsChannelEvents(ABC):
    """IWRdsGraphicsChannelEvents: implemented by the service, one per channel. Its methods return at once."""

    @abstractmethod
    def on_data_received(self, buffer: bytes) -> None:
        """IWRdsGraphicsChannelEvents.OnDataReceived: one complete message of the client."""

    @abstractmethod
    def on_close(self) -> None:
        """IWRdsGraphicsChannelEvents.OnClose: the channel is closed; nothing follows."""

    @abstractmethod
    def on_channel_opened(self, open_result: int, open_context: object) -> None:
        """IWRdsGraphicsChannelEvents.OnChannelOpened: the channel can be used, or could not be opened.

        Args:
            open_result: an HRESULT, unsigned; 0 is success.
            open_context: of `GraphicsChannel.open`.
        """

    @abstractmethod
    def on_data_sent(self, write_context: object, cancelled: bool, buffer: bytes) -> None:
        """IWRdsGraphicsChannelEvents.OnDataSent: a write is over, and its buffer the service's again.

        Args:
            write_context: of `GraphicsChannel.write`.
            cancelled: the connection was dropped meanwhile.
            buffer: of `GraphicsChannel.write`.
        """

    @abstractmethod
    def on_metrics_update(self, bandwidth: int, rtt: int, last_sent_byte_index: int) -> None:
        """IWRdsGraphicsChannelEvents.OnMetricsUpdate: how the network does.

        Args:
            bandwidth: bytes a second.
            rtt: milliseconds.
            last_sent_byte_index: of the last byte sent, from 0; 64 bits, wraps to 0.
        """


class GraphicsChannel(ABC):  # noqa: B024 - every method has a default
    """IWRdsGraphicsChannel: implemented by the provider, from `GraphicsChannelManager.create_channel`."""

    async def write(self, buffer: bytes, context: object) -> None:
        """IWRdsGraphicsChannel.Write: send a message; `GraphicsChannelEvents.on_data_sent` follows.

        Args:
            buffer: the message; the channel's until `on_data_sent`.
            context: handed back with `on_data_sent`.

        Raises:
            NotImplementedByProvider: the provider carries no graphics channels (default).
        """
        raise NotImplementedByProvider("Write")

    async def close(self) -> None:
        """IWRdsGraphicsChannel.Close: `GraphicsChannelEvents.on_close` follows when it is fully closed."""
        raise NotImplementedByProvider("Close")

    async def open(self, channel_events: GraphicsChannelEvents, open_context: object) -> None:
        """IWRdsGraphicsChannel.Open: `GraphicsChannelEvents.on_channel_opened` follows, whether or not it can be used.

        Args:
            channel_events: kept until `on_close`.
            open_context: handed back with `on_channel_opened`.
        """
        raise NotImplementedByProvider("Open")


class GraphicsChannelManager(ABC):  # noqa: B024 - its one method has a default
    """IWRdsGraphicsChannelManager: implemented by the provider, from `RemoteFXGraphicsConnection`."""

    async def create_channel(self, channel_name: str, channel_type: GraphicsChannelType) -> GraphicsChannel:
        """IWRdsGraphicsChannelManager.CreateChannel: a channel to the client.

        Args:
            channel_name: ``Microsoft::Windows::RDS::Graphics``, ``rdpgrfx``, or one for video.
            channel_type: wanted; where the provider has no such channel, it returns one of another type.

        Raises:
            NotImplementedByProvider: the provider carries no graphics channels (default).
        """
        raise NotImplementedByProvider("CreateChannel")


class RemoteFXGraphicsConnection(ABC):  # noqa: B024 - both methods have a default
    """IWRdsRemoteFXGraphicsConnection: implemented by the provider; a connection is one by deriving from it.

    Deprecated: both pages say "do not use", the metadata has forgotten it. Asked before AcceptConnection. Its
    `ProtocolConnection.get_video_handle` answers E_NOTIMPL.
    """

    async def enable_remotefx_graphics(self) -> bool:
        """IWRdsRemoteFXGraphicsConnection.EnableRemoteFXGraphics: whether the service's own graphics are wanted.

        By default they are not: there are none here.
        """
        return False

    async def get_virtual_channel_transport(self) -> GraphicsChannelManager:
        """IWRdsRemoteFXGraphicsConnection.GetVirtualChannelTransport: what carries the channels.

        Raises:
            NotImplementedByProvider: nothing does (default).
        """
        raise NotImplementedByProvider("GetVirtualChannelTransport")
