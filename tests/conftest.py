"""What holds for all tests."""

from hypothesis import settings

# How long an example takes says more about the machine, and what else runs on it, than about what is tested.
settings.register_profile("rdpprov", deadline=None)
settings.load_profile("rdpprov")
