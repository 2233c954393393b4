"""How long decoding could take, by the header: what is cheap is decoded at once, what may be slow in a process."""

PARTS = 2000
"""Segments or chunks above which a file goes to a process: Pillow takes seconds over 100,000 empty ones."""
TRIED_BYTES = 256 * 1024
"""Bytes above which files of other formats, whose parts are not counted here, go to a process."""
TRIED_COST = 30_000_000
"""Pixels times passes above which an image goes to a process; below, no format takes a second or two."""
COSTS = {"JPEG2000": 10, "AVIF": 3, "HEIF": 4, "WEBP": 2, "TIFF": 2}


def cost(kind: str, width: int, height: int, passes: int) -> int:
    """Pixels times passes, and times what the format takes for a pixel."""
    return width * height * passes * COSTS.get(kind, 1)


def is_crowded(data: bytes) -> bool:
    """Whether a file has so many parts that reading its header alone could take long."""
    if data.startswith(b"\x89PNG"):
        return _count_chunks(data) > PARTS
    if data.startswith(b"\xff\xd8"):
        return _count_segments(data) > PARTS
    return len(data) > TRIED_BYTES


def _count_chunks(data: bytes) -> int:
    """The chunks of a PNG, counted up to one above the limit."""
    count, at = 0, 8
    while at + 8 <= len(data) and count <= PARTS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def _count_segments(data: bytes) -> int:
    """The segments of a JPEG before its first scan, counted likewise; bytes between segments count too."""
    count, at = 0, 2
    while at + 4 <= len(data) and data[at : at + 2] != b"\xff\xda" and count <= PARTS:
        is_segment = data[at] == 0xFF and data[at + 1] not in (0, 0xFF)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if is_segment else 1
        count += 1
    return count
