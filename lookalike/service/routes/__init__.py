"""The routes, in a file for each kind of resource."""

from fastapi import FastAPI

from lookalike.service.routes import aliases, duplicates, embed, explain, items, marks, page, search, status


def install(app: FastAPI) -> None:
    """Add all routes to the application."""
    for module in (status, search, embed, explain, items, marks, duplicates, aliases, page):
        app.include_router(module.router)
