"""IWRdsProtocolConnectionSettings: single settings of a connection, by their property's GUID."""

import uuid
from abc import ABC

from rdpprov.api.structures import PropertyValue
from rdpprov.errors import NotImplementedByProvider


class ProtocolConnectionSettings(ABC):  # noqa: B024 - both methods have a default
    """IWRdsProtocolConnectionSettings: implemented by the provider; a connection is one by deriving from it.

    No page describes it, the metadata has only its shape: that a provider implements it is what a public third-party
    provider does. Ours: the service may set and ask between any two steps from `ProtocolConnection.accept_connection`
    on, as with `ProtocolConnection.query_property`, and lives without an answer.
    """

    async def set_connection_setting(self, property_id: uuid.UUID, value: PropertyValue) -> None:
        """IWRdsProtocolConnectionSettings.SetConnectionSetting: the service tells the provider a setting.

        Args:
            property_id: which; see `rdpprov.api.properties`.
            value: its value.

        Raises:
            NotImplementedByProvider: the provider does not know the property (default).
            HResultError: E_INVALIDARG: a value of the wrong type.
        """
        raise NotImplementedByProvider(f"SetConnectionSetting {property_id}")

    async def get_connection_setting(self, property_id: uuid.UUID) -> PropertyValue:
        """IWRdsProtocolConnectionSettings.GetConnectionSetting: the service asks for a setting.

        Args:
            property_id: which.

        Raises:
            NotImplementedByProvider: the provider does not know the property (default).
        """
        raise NotImplementedByProvider(f"GetConnectionSetting {property_id}")
