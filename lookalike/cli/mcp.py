"""The command that lets an assistant ask collections, over the Model Context Protocol."""

import importlib.util
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.app import app
from lookalike.cli.output import refuse_unindexed
from lookalike.errors import LookalikeError
from lookalike.utils.extras import install_hint
from lookalike.utils.statuses import INTERRUPTED


@app.command(epilog="Example: lookalike mcp ~/Pictures")
def mcp(
    paths: Annotated[list[Path], typer.Argument(metavar="COLLECTION", help="Indexed folders, or collections.")],
    show_places: Annotated[
        bool, typer.Option("--show-places", help="Tell where photos were taken, and let filters test it.")
    ] = False,
) -> None:
    """Let an assistant search COLLECTION: a server of the Model Context Protocol on stdin and stdout.

    An assistant starts it by itself, once it is told this command. It changes nothing and opens no connection.
    """
    if importlib.util.find_spec("mcp") is None:
        raise LookalikeError(f"`lookalike mcp` needs `{install_hint('mcp')}`")
    import anyio
    from threadpoolctl import threadpool_limits

    from lookalike import __version__
    from lookalike.collection import collection as collections
    from lookalike.images.decode import Limits
    from lookalike.service.mcp.server import serve
    from lookalike.service.mcp.shelf import Shelf
    from lookalike.service.settings import Settings

    with ExitStack() as stack:
        opened = [stack.enter_context(collections.open(path)) for path in paths]
        for collection in opened:
            refuse_unindexed(collection)
        shelf = Shelf(opened, Settings(show_places=show_places, limits=Limits()))
        with threadpool_limits(1, "blas"):
            # A thread waits for the next line of stdin, and any other way to end would wait for that thread.
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
            anyio.run(serve, shelf, __version__)
