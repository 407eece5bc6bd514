"""The Remote Connection Manager: it drives providers through their sequences, and owns sessions, policy and limits."""

from collections.abc import Iterable

import structlog
import trio

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.enums import RcmDrainState
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.structures import ServiceState
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.administration import Administration
from rdpprov.rcm.configuration import Policies, ServiceConfiguration
from rdpprov.rcm.context import ServiceContext, TraceSource
from rdpprov.rcm.counters import Counters
from rdpprov.rcm.events import DrainChanged, Feed
from rdpprov.rcm.licensing_sequence import LicenseIssuer
from rdpprov.rcm.policies import change_policies
from rdpprov.rcm.session_table import Session
from rdpprov.rcm.start_sequence import ReadyListener, end_connections, start_sequence, stop_sequence
from rdpprov.rcm.watchdog import watching
from rdpprov.sessions.base import DesktopFactory, LogonDesktopFactory, OverlayFactory
from rdpprov.traces.recorder import NullRecorder

__all__ = ["ReadyListener", "RemoteConnectionManager"]

log = structlog.get_logger(__name__)

VALID_CLIENT = "valid-client"


class RemoteConnectionManager:
    """The service. It knows sessions, desktops and the provider API, and nothing about any protocol.

    Args:
        configuration: listeners, limits, policies.
        authenticator: who may log on.
        desktop_factory: makes the desktop of a user who has logged on.
        logon_desktop_factory: makes what asks those who have not.
        traces: where traces go; None: nowhere.
        license_issuer: for a license policy other than ``valid-client``.
        overlay_factory: makes what users are asked with whether somebody may shadow them; None: nobody may.

    Raises:
        ConfigurationError: two listeners have one name, or there is nobody to carry out the license policy.
    """

    def __init__(
        self,
        configuration: ServiceConfiguration,
        *,
        authenticator: Authenticator,
        desktop_factory: DesktopFactory,
        logon_desktop_factory: LogonDesktopFactory,
        traces: TraceSource | None = None,
        license_issuer: LicenseIssuer | None = None,
        overlay_factory: OverlayFactory | None = None,
    ) -> None:
        names = [listener.name for listener in configuration.listeners]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(f"listeners: more than one is named {', '.join(sorted(doubled))}")
        if configuration.license_policy != VALID_CLIENT and license_issuer is None:
            raise ConfigurationError(f"license policy {configuration.license_policy!r}, expected {VALID_CLIENT!r}")
        self._configuration = configuration
        self._authenticator = authenticator
        self._desktop_factory = desktop_factory
        self._logon_desktop_factory = logon_desktop_factory
        self._traces = traces
        self._license_issuer = license_issuer
        self._overlay_factory = overlay_factory
        self._stop_requested = trio.Event()
        self._draining = configuration.draining
        self._policies = configuration.policies
        self._feed = Feed()
        self._counters = Counters()
        self._context: ServiceContext | None = None
        self.administration = Administration(self._feed, lambda: self._context, self.set_draining)
        """What an administrator sees and does."""

    async def serve(self, *, task_status: trio.TaskStatus[list[ReadyListener]] = trio.TASK_STATUS_IGNORED) -> None:
        """Start, serve until `request_stop`, stop. Afterwards there is no task and no socket of ours.

        ``task_status.started`` gets the `ReadyListener`s, when clients can connect to all of them. Cancelling stops at
        once: clients get a moment to be told, managers are told nothing.

        Raises:
            ConfigurationError: a listener cannot start; none is left listening.
        """
        failure = None
        with self._feed, watching(self._configuration.limits.blocked_loop, self._counters.loop_lag):
            async with trio.open_nursery() as nursery:
                service = self._context = ServiceContext(
                    configuration=self._configuration,
                    authenticator=self._authenticator,
                    desktop_factory=self._desktop_factory,
                    logon_desktop_factory=self._logon_desktop_factory,
                    license_issuer=self._license_issuer,
                    traces=self._traces,
                    recorder=self._traces.service_recorder() if self._traces is not None else NullRecorder(),
                    nursery=nursery,
                    policies=self._policies,
                    draining=self._draining,
                    overlay_factory=self._overlay_factory,
                    feed=self._feed,
                    counters=self._counters,
                )
                try:
                    ready = await start_sequence(service)
                    task_status.started(ready)
                    await self._stop_requested.wait()
                except ConfigurationError as error:
                    failure = error  # raised below, outside the nurseries, which would wrap it
                except trio.Cancelled:
                    service.stop_deadline = trio.current_time() + self._configuration.limits.stop / 10
                    end_connections(service)
                    raise
                await stop_sequence(service)
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def request_stop(self) -> None:
        """Stop: no more clients, those that are here are told, `serve` returns. Plain; a second time does nothing."""
        self._stop_requested.set()

    def set_draining(self, draining: bool) -> None:
        """Begin or end to drain: new sessions are refused, users still get back into theirs. The managers are told."""
        if draining is self._draining:
            return
        self._draining = draining
        self._feed.publish(DrainChanged(draining))
        if self._context is None:
            return
        self._context.draining = draining
        change = ServiceState(rcm_drain_state=RcmDrainState.IN_DRAIN if draining else RcmDrainState.NOT_IN_DRAIN)
        for manager in self._context.managers.values():
            manager.notify(manager.manager.notify_service_state_change, change)

    async def set_policies(self, policies: Policies) -> None:
        """Put other policies in force, for new clients and for those that are here.

        Effective settings are worked out again, time limits armed again, reconnect secrets void where policy forbids
        them, all of it before the first wait. It returns when NotifySettingsChange has told every manager, once for
        each kind of policies that has changed.
        """
        self._policies = policies
        if self._context is None:
            await trio.lowlevel.checkpoint()
        else:
            await change_policies(self._context, policies)

    def provider_listener(self, name: str) -> ProtocolListener | None:
        """A listener of now, as its provider made it; None: there is none of this name.

        For clients that come to it otherwise than by its own sockets.
        """
        listeners = [] if self._context is None else self._context.listeners
        return next((known.listener for known in listeners if known.configuration.name == name), None)

    @property
    def sessions(self) -> Iterable[Session]:
        """All sessions of now, temporary ones too. To look at, not to change."""
        return [] if self._context is None else list(self._context.sessions)

    @property
    def connection_count(self) -> int:
        """Clients that have become connections and are not closed yet."""
        return 0 if self._context is None else len(self._context.connections)

    @property
    def logon_desktop_count(self) -> int:
        """Logon desktops that are shown now."""
        return 0 if self._context is None else self._context.logon_desktops
