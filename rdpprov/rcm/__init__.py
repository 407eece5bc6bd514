"""The Remote Connection Manager (RCM): what Windows calls the Remote Desktop Services service.

It drives providers through Microsoft's sequences, and owns what is the same for every protocol: sessions, who may log
on, arbitration, time limits, what follows a failure. It knows nothing of any wire.

Where to begin: `connection_sequence` reads like its figure; `failure_policy` is the table of all that can go wrong;
`service.RemoteConnectionManager` is what is used from outside. Everything goes through two gates: `asking.Asker` for
the service's calls into a provider, `connection_callback.ConnectionCallback` for a provider's calls into the service.
"""
