"""IWRdsProtocolShadowConnection and its callback: somebody looks on at a session, or works in it with its user."""

from abc import ABC, abstractmethod
from enum import IntEnum

from rdpprov.errors import NotImplementedByProvider


class HotkeyModifiers(IntEnum):
    """REMOTECONTROL_KBD*_HOTKEY: what is held down together with the hot key."""

    NONE = 0
    SHIFT = 1
    CTRL = 2
    ALT = 4


class ShadowCallback(ABC):
    """IWRdsProtocolShadowCallback: implemented by the service, one per shadowing. Its methods return at once."""

    @abstractmethod
    def stop_shadow(self) -> None:
        """IWRdsProtocolShadowCallback.StopShadow: the shadower wants to stop, by hot key or otherwise.

        The service answers with `ShadowConnection.stop`. May be called more than once, and late.
        """

    @abstractmethod
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
        """IWRdsProtocolShadowCallback.InvokeTargetShadow: begin the target's half.

        The service calls `ShadowConnection.do_target` of the target session's connection, with the same data.

        Args:
            target_server_name: the server that has the target session; empty: this one.
            target_session_id: number of the session that is looked at.
            param1: for the provider at the other end; opaque to the service, forwarded unchanged. Empty: none.
            param2: likewise.
            param3: likewise.
            param4: likewise.
            client_name: the shadower's, to be shown to the target's user.

        Raises:
            HResultError: there is no such session, or nobody is connected to it.
        """


class ShadowConnection(ABC):  # noqa: B024 - every method has a default
    """IWRdsProtocolShadowConnection: implemented by the provider, from `ProtocolConnection.get_shadow_connection`.

    Of two connections that the same provider carries, one can be shadowed by the other with the provider's own means:
    `start` is called on the shadower's object, `do_target` on the target's. Without them (E_NOTIMPL) the service
    shadows by itself: it shows the target's desktop on the shadower's connection, whatever their protocols.
    """

    async def start(
        self,
        target_server_name: str,
        target_session_id: int,
        hot_key_vk: int,
        hotkey_modifiers: int,
        shadow_callback: ShadowCallback,
    ) -> None:
        """IWRdsProtocolShadowConnection.Start: the service calls it on the shadower's side: shadowing has begun.

        To be answered, from a task of the provider's own, with `ShadowCallback.invoke_target_shadow`.

        Args:
            target_server_name: the server that has the target session. (The page says "the shadowing server".)
            target_session_id: number of the session that is looked at.
            hot_key_vk: virtual-key code, 0 to 255, of the key that ends the shadowing.
            hotkey_modifiers: `HotkeyModifiers`; the page does not list the bits.
            shadow_callback: kept until `stop`.

        Raises:
            NotImplementedByProvider: the service shadows by itself (default).
            HResultError: this shadowing does not come about.
        """
        raise NotImplementedByProvider("Start")

    async def stop(self) -> None:
        """IWRdsProtocolShadowConnection.Stop: the service calls it on both sides: shadowing has ended.

        Raises:
            HResultError: the service drops the connection.
        """

    async def do_target(self, param1: bytes, param2: bytes, param3: bytes, param4: bytes, client_name: str) -> None:
        """IWRdsProtocolShadowConnection.DoTarget: the service calls it on the target's side: start that half.

        Args:
            param1: what the shadower's side gave to `ShadowCallback.invoke_target_shadow`, unchanged.
            param2: likewise.
            param3: likewise.
            param4: likewise.
            client_name: the shadower's.

        Raises:
            NotImplementedByProvider: this side cannot be shadowed by the provider's own means (default).
            HResultError: this shadowing does not come about.
        """
        raise NotImplementedByProvider("DoTarget")
