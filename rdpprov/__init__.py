"""rdpprov: the Remote Desktop Protocol Provider API, its Remote Connection Manager and its reference providers."""
