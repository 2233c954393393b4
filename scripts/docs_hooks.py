"""Hooks of mkdocs: pages of the repository's root join the site, and no page of it loads anything from elsewhere."""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ABOVE = {name: name.lower() for name in ("CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")}
"""Pages of the root, which a clone shows, to their names in the site."""
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link(?![^>]*\brel=["']?(?:canonical|next|prev)\b))\b"""
    r"""[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'\s>]+"""
)
"""What a browser would fetch from another host; a link that a reader may follow is none of it."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root."""
    for name, place in ABOVE.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files that are in the repository and not in the site become what they say."""
    folder = ROOT if page.file.src_uri in ABOVE.values() else (ROOT / "docs" / page.file.src_uri).parent
    depth = "../" * page.file.src_uri.count("/")
    return LINK.sub(lambda link: _placed(link, folder, depth), markdown)


def _placed(link: re.Match[str], folder: Path, depth: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    path = (folder / target).resolve()
    if path.is_relative_to(ROOT / "docs"):
        return f"[{text}]({depth}{path.relative_to(ROOT / 'docs').as_posix()}{anchor})"
    if path.parent == ROOT and path.name in ABOVE:
        return f"[{text}]({depth}{ABOVE[path.name]}{anchor})"
    if path.exists() and path.is_relative_to(ROOT):
        return text
    return link[0]


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would load something from another host."""
    if loaded := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {loaded[0]}")
    return output
