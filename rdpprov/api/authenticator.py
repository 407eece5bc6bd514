"""What the service asks who may log on."""

from typing import Protocol, runtime_checkable

from rdpprov.api.identity import AuthenticatedUser, UserToken
from rdpprov.api.structures import SerializedUserCredential, UserCredential


class Authenticator(Protocol):
    """Who may log on: one for NLA, the logon desktop, RFB, the web and the broker alike."""

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """Check a name and a password.

        Args:
            credential: as the wire or the logon desktop gave it.
            client_address: whose failures are counted; attempts from an address that fails often are slowed down.
            how: becomes `UserToken.how`.

        Raises:
            LogonError: it is not to be.
        """

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether this authenticator gave that verdict."""

    async def check_account(self, token: UserToken) -> None:
        """Check that the account still may log on, without a password: for a reconnect that is proved otherwise.

        Raises:
            LogonError: the account is gone, or disabled.
        """


@runtime_checkable
class SerializedAuthenticator(Protocol):
    """An authenticator that also understands what `ProtocolConnection2.get_serialized_user_credential` returns.

    What is in such a credential is between who made it and who checks it; the service does not look.
    """

    async def authenticate_serialized(
        self, credential: SerializedUserCredential, *, client_address: str, how: str
    ) -> AuthenticatedUser:
        """Check a serialized credential.

        Args:
            credential: as the provider gave it.
            client_address: as in `Authenticator.authenticate`.
            how: likewise.

        Raises:
            LogonError: it is not to be.
        """
