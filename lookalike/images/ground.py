"""What is seen through the transparent parts of a picture: white, or black where white would hide the picture."""

from PIL import Image, ImageChops

LIGHT = 204
"""Four fifths of white: what is lighter can hardly be told from a white ground."""
SHARE = 0.9
"""The ground is black where this share of what can be seen is light."""


def on_ground(image: Image.Image) -> Image.Image:
    """An RGBA picture as RGB, on a ground that its own pixels choose; one that is fully transparent becomes white."""
    ground = Image.new("RGB", image.size, "black" if is_light(image) else "white")
    ground.paste(image, mask=image)
    return ground


def is_light(image: Image.Image) -> bool:
    """Whether an RGBA picture would vanish on white; pixels count by their opacity."""
    alpha = image.getchannel("A")
    visible = _sum(alpha)
    light = image.convert("RGB").convert("L").point(lambda value: 255 if value >= LIGHT else 0)
    return visible > 0 and _sum(ImageChops.multiply(alpha, light)) >= SHARE * visible


def _sum(channel: Image.Image) -> int:
    return sum(value * count for value, count in enumerate(channel.histogram()))
