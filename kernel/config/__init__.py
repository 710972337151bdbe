"""Settings: what can be set, one file a subject; `Settings` is all of it, checked."""

from kernel.config.settings import Settings

__all__ = ["Settings"]
