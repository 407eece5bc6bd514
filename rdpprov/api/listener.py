"""IWRdsProtocolListener and its callback: how clients arrive."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import TaskStatus
from rdpprov.api.enums import ListenerSettingLevel
from rdpprov.api.structures import ConnectionSettings, ListenerSettings


class ProtocolListenerCallback(ABC):
    """IWRdsProtocolListenerCallback: implemented by the service, one per listener."""

    @abstractmethod
    async def on_connected(
        self, connection: ProtocolConnection, settings: ConnectionSettings
    ) -> ProtocolConnectionCallback:
        """IWRdsProtocolListenerCallback.OnConnected: a client is here, new or back again.

        The provider calls it once its client's own data is known; clients that are not so far are the listener's own
        affair. It is the one callback that takes time: the service starts the connection sequence, and returns when
        `ProtocolConnection.get_logon_error_redirector` is over, so OnReady may follow at once.

        Args:
            connection: a fresh object for this client.
            settings: what the client and the listener ask for; policies are folded in later.

        Returns:
            The connection's callback.

        Raises:
            HResultError: the service does not take the client: drop it.
        """


class ProtocolListener(ABC):
    """IWRdsProtocolListener: implemented by the provider, made by `ProtocolManager.create_listener`.

    A listener that listens on sockets says where, so that the service can print it: see `bound_addresses`.
    """

    bound_addresses: Sequence[tuple[str, int]] = ()
    """Our extension: address and port of each listening socket, from `start_listen`'s ``started()`` on."""

    fingerprint: str = ""
    """Our extension: what clients show their users of the listener's key, so that the service can print it; empty: they
    show nothing."""

    @property
    def half_open_count(self) -> int | None:
        """Our extension: clients of now that have not become connections yet; None: the listener does not count."""
        return None

    async def get_settings(self, level: ListenerSettingLevel = ListenerSettingLevel.LEVEL_1) -> ListenerSettings:
        """IWRdsProtocolListener.GetSettings: the listener's settings; the service asks before `start_listen`.

        Raises:
            HResultError: E_INVALIDARG for a level that is not known.
        """
        return ListenerSettings()

    @abstractmethod
    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """IWRdsProtocolListener.StartListen: accept clients, and hand each to ``callback.on_connected``.

        It is called the way `trio.Nursery.start` calls a task: ``task_status.started()`` is the return of the
        documented call, after which a client can connect; then the method goes on as the home of the listener's own
        tasks. It ends when `stop_listen` was called and its last connection is closed, or when it is cancelled.

        Raises:
            OSError: before ``started()``: the address cannot be used. The service's start fails.
            HResultError: the same, for another reason.
        """

    @abstractmethod
    async def stop_listen(self) -> None:
        """IWRdsProtocolListener.StopListen: accept no more clients. Those that are connected stay until their Close."""
