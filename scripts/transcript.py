"""Write the transcript in docs/assistants.md: the protocol's own client asks `lookalike mcp` about a made-up town.

python scripts/transcript.py
"""

import asyncio
import base64
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "assistants.md"
BEGIN, END = "<!-- written by scripts/transcript.py -->\n", "<!-- end -->"
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("collections", {}),
    ("search", {"query": {"path": "church_000002.jpg"}, "k": 3}),
    ("search", {"query": {"path": "/etc/passwd"}}),
    ("similar", {"image": {"key": "church_000001.jpg"}, "k": 2, "where": "format = jpeg and not key:church*"}),
    ("explain", {"query": {"key": "church_000002.jpg"}, "item": {"key": "church_000001.jpg"}}),
    ("duplicates", {"level": "near", "groups": 1}),
    ("facts", {"image": {"key": "church_000002.jpg"}}),
]
LONGEST = 700
"""Letters of an answer that are shown."""


def shown(result: Any) -> str:
    """An answer as a client gets it: its document, and the sizes of its pictures."""
    text = json.dumps(result.structured_content, ensure_ascii=False)
    text = f"{text[:LONGEST]} …" if len(text) > LONGEST else text
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(content.data))) for content in result.content if content.type == "image"
    ]
    sizes = ", ".join(f"{picture.format} {picture.width} x {picture.height}" for picture in pictures)
    return f"{'refused' if result.is_error else 'answer':8} {text}" + (f"\npictures {sizes}" if sizes else "")


async def transcript(folder: Path) -> str:
    """Every call and its answer; the folder is called ~/Town."""
    command = StdioServerParameters(command=sys.executable, args=["-m", "lookalike", "mcp", str(folder)])
    parts = []
    async with Client(command) as client:
        listed = await client.list_tools()
        parts.append(f"tools    {', '.join(tool.name for tool in listed.tools)}")
        for name, arguments in CALLS:
            result = await client.call_tool(name, arguments)
            parts.append(f"call     {name} {json.dumps(arguments)}\n{shown(result)}")
        uri = "lookalike:///Town/church_000002.jpg"
        (read,) = (await client.read_resource(uri)).contents
        size = len(base64.b64decode(getattr(read, "blob", "")))
        parts.append(f"read     {uri}\nresource {read.mime_type}, {size:,} bytes")
    return "\n\n".join(parts).replace(str(folder), "~/Town")


def main() -> None:
    from lookalike.collection.collection import Collection
    from lookalike.evaluation.datasets import synthetic as scenes

    with tempfile.TemporaryDirectory() as place:
        scenes.render(Path(place) / "made", buildings=6, views=5, seed=0, distractors=4)
        town = (Path(place) / "made" / "images").rename(Path(place) / "Town")
        Image.open(town / "church_000002.jpg").save(town / "a copy.jpg", quality=70)
        with Collection(town / ".lookalike", "efficientnet-lite0", [town]) as collection:
            collection.index()
        text = f"{BEGIN}\n```text\n{asyncio.run(transcript(town))}\n```\n\n{END}"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: text, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
