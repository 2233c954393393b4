"""A collection over HTTP: a JSON API and one page, from one process and one origin."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.service.app import create_app as create_app
    from lookalike.service.settings import Settings as Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    # The command line needs Settings, and must not wait for FastAPI.
    if name == "Settings":
        from lookalike.service.settings import Settings

        return Settings
    if name == "create_app":
        from lookalike.service.app import create_app

        return create_app
    raise AttributeError(name)
