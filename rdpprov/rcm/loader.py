"""Finding a protocol by its name, and checking what it brings before anything relies on it.

On Windows the service reads LoadableProtocol_Object from the listener's registry key and creates that class; here it is
an entry point of the group ``rdpprov.protocols``, or ``package.module:ManagerClass``.
"""

import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator

from rdpprov.api.connection import ProtocolConnection, ProtocolConnection2
from rdpprov.api.connection_settings import ProtocolConnectionSettings
from rdpprov.api.dynamic_channels import ListenerCallback, Plugin, VirtualChannelCallback
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.graphics_channels import GraphicsChannel, GraphicsChannelManager, RemoteFXGraphicsConnection
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.shadow import ShadowConnection
from rdpprov.api.wddm import WddmIddProps, WddmIddProps1
from rdpprov.api.wtsprotocol import WtsProtocolConnection, WtsProtocolListener, WtsProtocolManager
from rdpprov.errors import ProviderLoadError

ENTRY_POINTS = "rdpprov.protocols"

INTERFACES: tuple[type, ...] = (
    ProtocolManager,
    ProtocolListener,
    ProtocolConnection,
    ProtocolConnection2,
    ProtocolConnectionSettings,
    EnhancedFastReconnectArbitrator,
    WddmIddProps,
    WddmIddProps1,
    RemoteFXGraphicsConnection,
    GraphicsChannelManager,
    GraphicsChannel,
    LicenseConnection,
    LogonErrorRedirector,
    ShadowConnection,
    Plugin,
    ListenerCallback,
    VirtualChannelCallback,
    WtsProtocolManager,
    WtsProtocolListener,
    WtsProtocolConnection,
)
"""What a provider implements, or what comes with one."""


def load_protocol(name: str) -> type[ProtocolManager]:
    """The manager class of a protocol, checked.

    Args:
        name: of an entry point, or ``package.module:ManagerClass``.

    Raises:
        ProviderLoadError: it is not there, cannot be imported, or is no `ProtocolManager`; the message names everything
            that is missing or has a wrong signature.
    """
    found = _import_class(name) if ":" in name else _entry_point(name)
    if not (isinstance(found, type) and issubclass(found, ProtocolManager)):
        raise ProviderLoadError(f"protocol {name}: {found!r} is no class derived from rdpprov.api.ProtocolManager")
    if faults := faults_of(found):
        raise ProviderLoadError(f"protocol {name}: {found.__qualname__} " + "; ".join(faults))
    return found


def protocol_names() -> list[str]:
    """The names of all installed protocols."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)})


def _import_class(name: str) -> object:
    module_name, _, class_name = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in class_name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProviderLoadError(f"protocol {name}: {error}") from error
    except Exception as error:  # the module's own code failed
        raise ProviderLoadError(f"protocol {name}: importing {module_name} failed: {error!r}") from error
    return found


def _entry_point(name: str) -> object:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        try:
            loaded: object = entry.load()
        except Exception as error:
            raise ProviderLoadError(f"protocol {name}: {entry.value} cannot be loaded: {error!r}") from error
        return loaded
    known = ", ".join(protocol_names()) or "none"
    raise ProviderLoadError(
        f"protocol {name!r} is not installed (installed: {known}); a class is named as package.module:Class"
    )


@functools.lru_cache(maxsize=256)
def faults_of(implementation: type) -> tuple[str, ...]:
    """What a class lacks to be what it claims to be: missing methods, methods of a wrong shape. Empty: nothing.

    Looks at the interfaces of the provider API that the class derives from. A class that stands in for another, which
    it names as its ``adapts``, is as good as that one. Cheap the second time.
    """
    faults = []
    if missing := sorted(getattr(implementation, "__abstractmethods__", ())):
        faults.append(f"does not implement {', '.join(missing)}")
    for interface in INTERFACES:
        if issubclass(implementation, interface):
            faults.extend(_wrong_signatures(implementation, interface))
    if isinstance(adapts := getattr(implementation, "adapts", None), type):
        faults.extend(faults_of(adapts))
    return tuple(faults)


def _wrong_signatures(implementation: type, interface: type) -> Iterator[str]:
    for name, wanted in vars(interface).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(wanted):
            continue
        found = getattr(implementation, name)
        if found is wanted or name in implementation.__abstractmethods__:  # type: ignore[attr-defined]
            continue
        if not inspect.iscoroutinefunction(inspect.unwrap(found)):
            yield f"has the method {name}, which is not `async def`"
            continue
        try:
            _call_like_the_service(inspect.signature(found), inspect.signature(wanted))
        except TypeError as error:
            yield f"has the method {name}, which cannot be called as {name}{_shown(wanted)}: {error}"


def _call_like_the_service(found: inspect.Signature, wanted: inspect.Signature) -> None:
    """Bind the arguments that the service passes: those without names by position, the others by name.

    Raises:
        TypeError: they do not fit.
    """
    parameters = wanted.parameters.values()
    by_name = {parameter.name: None for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    found.bind(*(None for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY), **by_name)


def _shown(wanted: object) -> str:
    names = list(inspect.signature(wanted).parameters.values())  # type: ignore[arg-type]
    return f"({', '.join(('*, ' if name.kind is name.KEYWORD_ONLY else '') + name.name for name in names[1:])})"
