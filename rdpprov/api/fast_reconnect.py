"""IWRdsEnhancedFastReconnectArbitrator: a provider that chooses the session itself, before anybody logs on."""

from abc import ABC
from collections.abc import Sequence

from rdpprov.errors import NotImplementedByProvider


class EnhancedFastReconnectArbitrator(ABC):  # noqa: B024 - its one method has a default: the service chooses
    """IWRdsEnhancedFastReconnectArbitrator: implemented by the provider; a connection is one by deriving from it.

    Fast reconnect is driven by properties: the service asks for `PROPERTY_TYPE_GET_FAST_RECONNECT`; if the answer is
    ENHANCED, it asks for `PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID` too, keeps the disconnected sessions of that user,
    and lets this object choose. Since Windows Server 2022.
    """

    async def get_session_for_enhanced_fast_reconnect(self, session_id_array: Sequence[int]) -> int | None:
        """IWRdsEnhancedFastReconnectArbitrator.GetSessionForEnhancedFastReconnect: which of these sessions?

        Args:
            session_id_array: the numbers of the sessions that match; not empty.

        Returns:
            One of them; None for none, which the page has no value for. What is not among them is no answer either.

        Raises:
            NotImplementedByProvider: the service chooses the most recently disconnected (default).
            HResultError: no fast reconnect: the connection goes on as any other.
        """
        raise NotImplementedByProvider("GetSessionForEnhancedFastReconnect")
