"""The reference RFB (VNC) provider: the trio driver around the sans-I/O machine of `rdpprov.protocol.rfb`."""
