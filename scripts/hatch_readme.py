"""README.md to the description of a built package, in which no link depends on the folder that README.md lies in.

A package index shows the description without the repository. Where pyproject.toml has the address of the repository
(`[project.urls]`, `Source`), links lead there; where it has none, they become what they say, and pictures are left out.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):  # type: ignore[misc]
    """Fills the dynamic field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling for every build."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        home = metadata.get("urls", {}).get("Source", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": standing_alone(text, home)}


def standing_alone(text: str, home: str) -> str:
    """The text with absolute links below `home`, or without relative ones where `home` is empty."""

    def replaced(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        if home:
            return f"{mark}[{words}]({home.rstrip('/')}/{'raw' if mark else 'blob'}/main/{target})"
        return "" if mark else words

    return LINK.sub(replaced, text)
