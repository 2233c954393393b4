"""The routes, a file for each thing that can be asked for."""

from fastapi import FastAPI

from lookalike.service.routes import aliases, embed, explain, items, page, search, status


def install(app: FastAPI) -> None:
    """Put all of them into the application."""
    for module in (status, search, embed, explain, items, aliases, page):
        app.include_router(module.router)
