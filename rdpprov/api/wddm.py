"""IWRdsWddmIddProps and IWRdsWddmIddProps1: a session with a display driver of the provider's choice.

On Windows the service loads an indirect display driver (IDD) of the Windows Display Driver Model into a remote session.
Elsewhere there is no driver to load, and the service asks none of this: a session's desktop is plugged into the
connection's `VideoDevice`. The interfaces are here so that a provider written for both can have both.
"""

from abc import ABC

from rdpprov.errors import NotImplementedByProvider


class WddmIddProps(ABC):  # noqa: B024 - every method has a default
    """IWRdsWddmIddProps: implemented by the provider; a connection is one by deriving from it. Called by the service.

    When, in the connection sequence, no page says.
    """

    async def get_hardware_id(self) -> str:
        """IWRdsWddmIddProps.GetHardwareId: the hardware id of the driver to load.

        Raises:
            NotImplementedByProvider: no driver of its own (default).
        """
        raise NotImplementedByProvider("GetHardwareId")

    async def on_driver_load(self, session_id: int, driver_handle: int) -> None:
        """IWRdsWddmIddProps.OnDriverLoad: the driver is loaded.

        Args:
            session_id: number of the session that it was loaded for.
            driver_handle: the opened driver; the provider's from now on, which closes it.
        """
        raise NotImplementedByProvider("OnDriverLoad")

    async def on_driver_unload(self, session_id: int) -> None:
        """IWRdsWddmIddProps.OnDriverUnload: Plug and Play unloaded the driver.

        Args:
            session_id: number of the session that it was loaded for.
        """
        raise NotImplementedByProvider("OnDriverUnload")

    async def enable_wddm_idd(self, enabled: bool) -> None:
        """IWRdsWddmIddProps.EnableWddmIdd: whether the service runs in WDDM IDD mode.

        Args:
            enabled: it does.
        """
        raise NotImplementedByProvider("EnableWddmIdd")


class WddmIddProps1(ABC):  # noqa: B024 - every method has a default
    """IWRdsWddmIddProps1: the same, with the driver's name instead of a handle. No page describes it."""

    async def get_hardware_id(self) -> str:
        """IWRdsWddmIddProps1.GetHardwareId: the hardware id of the driver to load.

        Raises:
            NotImplementedByProvider: no driver of its own (default).
        """
        raise NotImplementedByProvider("GetHardwareId")

    async def on_driver_load(self, session_id: int, device_instance: str) -> None:
        """IWRdsWddmIddProps1.OnDriverLoad: the driver is loaded.

        Args:
            session_id: number of the session that it was loaded for.
            device_instance: path of the device instance.
        """
        raise NotImplementedByProvider("OnDriverLoad")

    async def on_driver_unload(self, session_id: int) -> None:
        """IWRdsWddmIddProps1.OnDriverUnload: Plug and Play unloaded the driver.

        Args:
            session_id: number of the session that it was loaded for.
        """
        raise NotImplementedByProvider("OnDriverUnload")
