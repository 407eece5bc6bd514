"""The reference RDP provider: the trio driver around the sans-I/O machines of `rdpprov.protocol.rdp`."""
