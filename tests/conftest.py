"""How pytest runs all tests: no claim may depend on how quick the machine is."""

from hypothesis import settings

settings.register_profile("torua", deadline=None)
settings.load_profile("torua")
