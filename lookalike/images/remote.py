"""A path or URI to the file system behind it: local, s3://, gs://, hdfs:// by Arrow, any other scheme by fsspec."""

import os
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, cast

from lookalike.errors import ImageError, LookalikeError, SourceError
from lookalike.images import decode
from lookalike.utils.extras import install_hint
from lookalike.utils.files import write_whole

STORES = "AWS_ENDPOINT_URL and the network"


def place(uri: str) -> tuple[Any, str]:
    """(pyarrow.fs.FileSystem, path in it); raises SourceError where the scheme or the address cannot be used.

    Credentials and endpoints come from the environment (AWS_*, GOOGLE_*), or from the URI's query as Arrow reads it.
    """
    try:
        from pyarrow import ArrowException, fs
    except ImportError as error:
        raise SourceError(f"{uri}: needs `{install_hint('ray')}`") from error
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (ArrowException, ValueError, OSError):
        return _by_fsspec(uri)
    return system, str(path)


def portable(system: Any) -> Any:
    """A file system that takes its keys along when it is sent to another machine, whose environment lacks them."""
    from pyarrow import fs

    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not isinstance(system, getattr(fs, "S3FileSystem", ())) or not (key and secret):
        return system
    rebuild, (options,) = cast("tuple[Any, tuple[dict[str, Any]]]", system.__reduce__())
    if options.get("access_key") or options.get("role_arn") or options.get("anonymous"):
        return system
    token = os.environ.get("AWS_SESSION_TOKEN") or None
    return rebuild({**options, "access_key": key, "secret_key": secret, "session_token": token})


def _by_fsspec(uri: str) -> tuple[Any, str]:
    import fsspec
    from pyarrow import fs

    try:
        system, path = fsspec.core.url_to_fs(uri)
    # The errors of fsspec's back ends have no common base class.
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise SourceError(f"{uri}: cannot be opened ({reason})") from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), str(path)


def join(uri: str, name: str) -> str:
    """The URI of `name` in the folder `uri`; a query (`?...`) stays at the end."""
    base, mark, query = uri.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def kind(uri: str) -> str:
    """`file`, `folder` or `nothing`; raises SourceError where the file system does not answer."""
    from pyarrow import fs

    system, path = place(uri)
    try:
        file_type = system.get_file_info(path).type
    # Back ends of fsspec have errors without a common base class.
    except Exception as error:
        raise SourceError(f"{uri}: {short(error)}") from error
    return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(file_type, "nothing")


def read_text(uri: str) -> str | None:
    """The text of a small file; None where there is no such file. Raises SourceError."""
    if kind(uri) != "file":
        return None
    system, path = place(uri)
    try:
        with system.open_input_stream(path) as file:
            return bytes(file.read()).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{uri}: {short(error)}") from error


def write_text(uri: str, text: str) -> None:
    """Write a small file, whole or not at all; raises SourceError."""
    from pyarrow import fs

    system, path = place(uri)
    try:
        make_folder(uri.partition("?")[0].rpartition("/")[0] or "/", system, path)
        if isinstance(system, fs.LocalFileSystem):
            write_whole(Path(path), text)
            return
        # An object appears when it is closed.
        with system.open_output_stream(path) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise SourceError(f"{uri}: cannot be written ({short(error)})") from error


def delete(uri: str) -> None:
    """Delete a file, if it is there; raises SourceError."""
    system, path = place(uri)
    try:
        system.delete_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SourceError(f"{uri}: {short(error)}") from error


def require_answer(uri: str, seconds: float = 15.0) -> None:
    """Raise SourceError where the store of a URI does not answer; its client would try again for minutes."""
    outcome: Queue[LookalikeError | None] = Queue()

    def ask() -> None:
        try:
            kind(uri)
            outcome.put(None)
        except LookalikeError as error:
            outcome.put(error)

    if not is_remote(uri):
        return
    # A thread that nobody waits for: its client cannot be interrupted.
    Thread(target=ask, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except Empty:
        raise SourceError(f"{uri}: the store has not answered for {seconds:g} s; check the address, {STORES}") from None
    if error is not None:
        raise SourceError(f"{error}; check the address, {STORES}") from error


def make_folder(uri: str, system: Any, path: str) -> None:
    """Make the parent folder of `path` on a local disk or HDFS; object stores need none."""
    from pyarrow import fs

    if isinstance(system, fs.LocalFileSystem) or uri.startswith("hdfs://"):
        system.create_dir(path.rpartition("/")[0] or "/", recursive=True)


def short(error: Exception) -> str:
    """The message of an Arrow error in at most 160 characters."""
    line = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return line if len(line) <= 160 else line[:159] + "…"


@dataclass(frozen=True)
class Remote:
    """The images of a collection that was embedded elsewhere, read one by one below a URI."""

    uri: str

    def read(self, key: str) -> bytes:
        """The bytes of one file; raises ImageError."""
        try:
            system, path = place(self.uri)
            with system.open_input_file(f"{path.rstrip('/')}/{key}") as file:
                if file.size() > decode.LIMITS.bytes:
                    raise ImageError(f"{file.size():,} bytes, over the limit of {decode.LIMITS.bytes:,}")
                return bytes(file.read())
        except (OSError, SourceError) as error:
            raise ImageError(f"{self.uri}: {short(error)}") from error

    def path(self, key: str) -> Path | None:
        """None: the image is no local file."""
        return None


def is_remote(location: str) -> bool:
    """Whether the location of a source is a URI."""
    return "://" in location


def located(base: Path, location: str) -> str:
    """The location of a source that is stored relative to the collection in `base`; a URI stays as it is."""
    return location if is_remote(location) else os.path.normpath(base / location)
