"""The command that adds an extra to this installation, wherever it came from."""

import importlib.util
import shlex
import sys
from pathlib import Path


def install_hint(extra: str) -> str:
    """The command for a terminal, in quotation marks that zsh needs: `pip install "lookalike[heic]"`.

    Where lookalike is installed, pip takes the extra's list from what is there, so it also works for a clone and a
    wheel, whose name no index has. pipx has a pip of its own, and environments of uv have none.
    """
    what, prefix = f'"lookalike[{extra}]"', Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx runpip {prefix.name} install {what}"
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(str(prefix))} {what}"
    return f"pip install {what}"
