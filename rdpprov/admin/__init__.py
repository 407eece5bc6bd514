"""The admin socket: a Unix socket on which a running service answers its administrator. `protocol` says how."""
