"""Structures that cannot be wrong in ways that would harm who looks into them."""

import pytest

from rdpprov.api.structures import ClientData, ConnectionSettings, ProtocolCounters, ProtocolStatus, UserCredential


@pytest.mark.parametrize(
    ("structure", "field", "value"),
    [
        (ClientData, "client_name", b"bytes"),
        (ClientData, "protocol_name", None),
        (ClientData, "client_sock_address", None),
        (ConnectionSettings, "client_sock_address", ("192.0.2.1", 3389)),
        (ProtocolStatus, "input", None),
        (ProtocolStatus, "output", {"bytes": 1}),
        (ProtocolStatus, "cache", ProtocolCounters()),
        (UserCredential, "password", b"secret"),
    ],
)
def test_a_field_of_another_type_is_a_mistake_at_once_and_not_for_an_administrator_later(structure, field, value):
    with pytest.raises(TypeError, match=field) as mistake:
        structure(**{field: value})
    assert "secret" not in str(mistake.value)
