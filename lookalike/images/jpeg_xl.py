"""The size of a JPEG XL image, from the first bits of its codestream: the plug-in decodes before it tells the size."""

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
BOXES = 64
NO_STREAM = "an unsupported JPEG XL without a codestream"
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by the number of three bits that stands for it, from 1."""


def is_jpeg_xl(head: bytes) -> bool:
    """Whether a file begins like JPEG XL."""
    return head.startswith((CODESTREAM, CONTAINER))


def size(data: bytes) -> tuple[int, int]:
    """(width, height) as stored; raises ValueError for a file without a header of a codestream."""
    start = 0 if data.startswith(CODESTREAM) else _codestream(data)
    header = data[start : start + 16]
    if not header.startswith(CODESTREAM):
        raise ValueError(NO_STREAM)
    bits = _Bits(int.from_bytes(header[2:], "little"))
    is_small = bits.take(1)
    height = _side(bits, bool(is_small))
    ratio = bits.take(3)
    if ratio:
        across, down = RATIOS[ratio - 1]
        return height * across // down, height
    return _side(bits, bool(is_small)), height


class _Bits:
    """Numbers from bits, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        """The next `count` bits."""
        taken, self._value = self._value & ((1 << count) - 1), self._value >> count
        return taken


def _side(bits: _Bits, is_small: bool) -> int:
    if is_small:
        return 8 * (bits.take(5) + 1)
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def _codestream(data: bytes) -> int:
    """Where the codestream begins in a container."""
    at = 0
    for _ in range(BOXES):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        head = 16 if length == 1 else 8
        if kind in (b"jxlc", b"jxlp"):
            return at + head + (4 if kind == b"jxlp" else 0)
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < head or at + length >= len(data):
            break
        at += length
    raise ValueError(NO_STREAM)
