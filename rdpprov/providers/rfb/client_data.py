"""What is known of a client, in the provider API's words. RFB clients say next to nothing about themselves."""

from rdpprov.api.enums import AddressFamily, ProtocolType
from rdpprov.api.structures import ClientData, ConnectionSettings, SockAddr

COLOR_DEPTH = 32


def client_data(*, peer: tuple[str, int], user_name: str, domain: str, keyboard_layout: int) -> ClientData:
    """WTS_CLIENT_DATA of an RFB client. Its size is 0 by 0: it takes what the session has.

    Args:
        peer: where the connection comes from.
        user_name: that it has proved, if any.
        domain: likewise.
        keyboard_layout: of the listener's options.
    """
    address, port = peer
    family = AddressFamily.INET6 if ":" in address else AddressFamily.INET
    return ClientData(
        mouse=True,
        enable_windows_key=True,
        inherit_auto_logon=bool(user_name),
        user_name=user_name,
        domain=domain,
        color_depth=COLOR_DEPTH,
        keyboard_layout=keyboard_layout,
        protocol_name="RFB",
        protocol_type=ProtocolType.CUSTOM.value,  # a number, as a trace of it is read again
        client_address_family=family.value,
        client_address=address[:30],
        client_sock_address=SockAddr(family, address, port),
    )


def connection_settings(data: ClientData) -> ConnectionSettings:
    """WRDS_CONNECTION_SETTINGS for OnConnected: the client's data, and nothing asked for beyond it."""
    return ConnectionSettings(**{name: getattr(data, name) for name in _CLIENT_DATA_FIELDS})


_CLIENT_DATA_FIELDS = tuple(attribute.name for attribute in ClientData.__attrs_attrs__)
