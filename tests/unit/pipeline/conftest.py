"""The machine is shared: how long an example takes says nothing."""

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
