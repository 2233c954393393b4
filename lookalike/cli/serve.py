"""The command that serves a collection over HTTP."""

import re
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.app import EncoderName, app
from lookalike.cli.output import note, refuse_unindexed
from lookalike.cli.pictures import open_address
from lookalike.errors import LookalikeError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHORTEST = 16
"""Letters of a token that cannot be guessed."""


@app.command(epilog="Example: lookalike serve ~/Pictures --port 8000")
def serve(
    paths: Annotated[
        list[Path], typer.Argument(metavar="COLLECTION", help="Indexed folders, or collections; the first on top.")
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; any address but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0: any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", envvar="LOOKALIKE_TOKEN", help="What requests have to show.", show_envvar=True),
    ] = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Fetch query images from public addresses.")] = False,
    writable: Annotated[bool, typer.Option("--writable", help="Let images be added, removed, trashed.")] = False,
    show_places: Annotated[
        bool, typer.Option("--show-places", help="Tell where photos were taken, and let filters test it.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Let pages of this origin call the API; repeatable.")
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, max=600, help="Go on answering this long after SIGTERM, not ready."),
    ] = 1.0,
    root_path: Annotated[
        str, typer.Option(metavar="PATH", help="Where a proxy mounts the service, such as /photos.")
    ] = "",
    encoder: EncoderName = None,
    is_shown: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a page and a JSON API for each COLLECTION, until Ctrl-C or SIGTERM. The address is printed on stdout."""
    is_local = host.strip("[]") in LOOPBACK
    if not is_local and not token:
        raise LookalikeError(f"--host {host} lets other machines in; give them a --token (or LOOKALIKE_TOKEN)")
    if token is not None and len(token) < SHORTEST:
        note(f"a token of {len(token)} letters can be guessed; take {SHORTEST} or more")
    if not re.fullmatch(r"(/[\w.~-]+)*/?", root_path):
        raise typer.BadParameter(f"--root-path {root_path}: begin with a slash, as in /photos")
    from lookalike.collection import collection as collections

    with ExitStack() as stack:
        opened = [stack.enter_context(collections.open(path, encoder=encoder)) for path in paths]
        for collection in opened:
            refuse_unindexed(collection)
        from lookalike.service import server
        from lookalike.service.app import create_app
        from lookalike.service.settings import Settings
        from lookalike.service.several import create_several

        settings = Settings(
            token=token or None, root_path=root_path.rstrip("/"), allow_urls=allow_urls, writable=writable,
            show_places=show_places, origins=tuple(allow_origin or ()),
            hosts=("127.0.0.1", "localhost", "[::1]") if is_local and not token else None,
        )  # fmt: skip
        with server.listen(host.strip("[]"), port) as listening:
            chosen = listening.getsockname()[1]
            name = f"[{host.strip('[]')}]" if ":" in host else host
            print(f"http://{name}:{chosen}/")
            sys.stdout.flush()
            if sys.stderr.isatty():
                note("Ctrl-C stops it")
            if is_shown:
                # In a thread: a browser in the terminal would otherwise wait for the service, which waits for it.
                page = f"http://{name if is_local else 'localhost'}:{chosen}{settings.root_path}/"
                threading.Thread(target=open_address, args=(page,), daemon=True).start()
            # Requests are encoded side by side; threads inside each matrix product would only wait for one another.
            from threadpoolctl import threadpool_limits

            with threadpool_limits(1, "blas"):
                single = len(opened) == 1
                served = create_app(opened[0], settings) if single else create_several(opened, settings)
                server.run(served, listening, drain_seconds)
