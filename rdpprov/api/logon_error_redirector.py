"""IWRdsProtocolLogonErrorRedirector: a provider that shows logon errors itself."""

from abc import ABC

from rdpprov.api.enums import LogonErrorRedirectorResponse


class LogonErrorRedirector(ABC):  # noqa: B024 - every method has a default, and a redirector is still no thing of its own
    """IWRdsProtocolLogonErrorRedirector: implemented by the provider, from `get_logon_error_redirector`.

    All calls come while the logon desktop is at work. An error raised by one of them counts as NOT_HANDLED.
    """

    async def on_begin_painting(self) -> None:
        """IWRdsProtocolLogonErrorRedirector.OnBeginPainting: the logon desktop is ready to paint."""

    async def redirect_status(self, message: str) -> LogonErrorRedirectorResponse:
        """IWRdsProtocolLogonErrorRedirector.RedirectStatus: a status text, such as "Please wait"."""
        return LogonErrorRedirectorResponse.NOT_HANDLED

    async def redirect_message(self, caption: str, message: str, message_type: int) -> LogonErrorRedirectorResponse:
        """IWRdsProtocolLogonErrorRedirector.RedirectMessage: a message for the user.

        Args:
            caption: its title.
            message: its text.
            message_type: uType, the MB_* flags of MessageBox.
        """
        return LogonErrorRedirectorResponse.NOT_HANDLED

    async def redirect_logon_error(
        self, status: int, substatus: int, caption: str, message: str, message_type: int
    ) -> LogonErrorRedirectorResponse:
        """IWRdsProtocolLogonErrorRedirector.RedirectLogonError: a logon failed.

        Args:
            status: ntsStatus, an `NtStatus`, unsigned.
            substatus: ntsSubstatus; it means something only if the account is valid but the logon refused.
            caption: title of the message that the logon desktop would show.
            message: its text.
            message_type: uType, the MB_* flags of MessageBox.
        """
        return LogonErrorRedirectorResponse.NOT_HANDLED
