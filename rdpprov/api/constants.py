"""Constants of the provider API, in the standard's spelling; a name with WRDS_ in front is the same number.

Lengths count UTF-16 units without the terminator, as the structures here do. Numbers that belong together are
enumerations: see `rdpprov.api.enums`. Source: the Win32 metadata of `wtsdefs.h`, `wtsapi32.h` and `pchannel.h`.
"""

from typing import Final

S_OK: Final = 0

WTS_DOMAIN_LENGTH: Final = 255
WTS_USERNAME_LENGTH: Final = 255
WTS_PASSWORD_LENGTH: Final = 255
WTS_DIRECTORY_LENGTH: Final = 256
WTS_INITIALPROGRAM_LENGTH: Final = 256
WTS_PROTOCOL_NAME_LENGTH: Final = 8
WTS_DRIVER_NAME_LENGTH: Final = 8
WTS_DEVICE_NAME_LENGTH: Final = 19
WTS_IMEFILENAME_LENGTH: Final = 32
WTS_CLIENTNAME_LENGTH: Final = 20
WTS_CLIENTADDRESS_LENGTH: Final = 30
WTS_CLIENT_PRODUCT_ID_LENGTH: Final = 32

WTS_LISTENER_NAME_LENGTH: Final = 32
"""Of a listener's name, `ProtocolManager.create_listener`."""
WINSTATIONNAME_LENGTH: Final = 32
"""Of the name of the session's terminal."""

WTS_MAX_PROTOCOL_CACHE: Final = 4
"""`CacheStats.protocol_cache`."""
WTS_MAX_CACHE_RESERVED: Final = 20
"""`CacheStats.reserved`."""
WTS_MAX_RESERVED: Final = 100
"""`ProtocolCounters.reserved`."""
WTS_MAX_COUNTERS: Final = 100
"""`ProtocolStatus.counters`."""
WTS_MAX_DISPLAY_IOCTL_DATA: Final = 256
"""Bytes of `DisplayIoctl.data`."""

WTS_LICENSE_PROTOCOL_VERSION: Final = 0x10000
"""`LicenseCapabilities.protocol_ver`."""
WTS_LICENSE_PREAMBLE_VERSION: Final = 3

CHANNEL_NAME_LEN: Final = 7
"""Of a static channel's name, `ProtocolConnection.create_virtual_channel`."""
CHANNEL_MAX_COUNT: Final = 30
"""Static channels of a connection."""
CHANNEL_CHUNK_LENGTH: Final = 1600
"""Bytes that a message on a static channel is cut into."""
WTS_CHANNEL_OPTION_DYNAMIC: Final = 0x1
"""Flag of WTSVirtualChannelOpenEx: a dynamic channel, with a `ChannelPriority`."""
WTS_CHANNEL_OPTION_DYNAMIC_NO_COMPRESS: Final = 0x8
"""Likewise: do not compress what is written to it."""
