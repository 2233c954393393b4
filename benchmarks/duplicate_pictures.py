"""Pictures for benchmarks/duplicates.py: changed copies of photos, and different pictures that look alike."""

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

Change = Callable[[Image.Image], bytes]
INK, PAPER = (20, 20, 30), (255, 255, 255)


def saved(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of the width and the height, half of it on either side."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


def watermarked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    draw = ImageDraw.Draw(marked, "RGBA")
    font = ImageFont.load_default(size=max(10, image.height // 10))
    box = (0.05 * image.width, 0.8 * image.height, 0.95 * image.width, 0.95 * image.height)
    draw.rectangle(box, fill=(255, 255, 255, 110))
    draw.text(box[:2], "(c) somebody, 2026", font=font, fill=(0, 0, 0, 200))
    return marked


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def framed(image: Image.Image, colour: tuple[int, int, int] = PAPER) -> Image.Image:
    return ImageOps.expand(image, round(0.12 * max(image.size)), colour)


def paged(image: Image.Image) -> Image.Image:
    """A photo in the middle of a white page."""
    page = Image.new("RGB", (900, 1270), PAPER)
    page.paste(image, ((page.width - image.width) // 2, (page.height - image.height) // 2))
    return page


def screenshot(image: Image.Image, number: int = 7) -> Image.Image:
    """A photo in an application on a phone: bars above and below, which show another time each time."""
    screen = Image.new("RGB", (360, 720), (18, 18, 18))
    draw, font = ImageDraw.Draw(screen), ImageFont.load_default(14)
    draw.rectangle((0, 0, 360, 28), fill=(40, 40, 40))
    draw.text((8, 6), f"{number % 24}:{number * 7 % 60:02}", font=font, fill="white")
    draw.text((300, 6), f"{number * 13 % 100} %", font=font, fill="white")
    draw.rectangle((0, 28, 360, 84), fill=(60, 60, 160))
    draw.text((60, 48), "Gallery   Share   Edit", font=font, fill="white")
    draw.rectangle((0, 660, 360, 720), fill=(40, 40, 40))
    for left in range(40, 360, 80):
        draw.ellipse((left, 675, left + 30, 705), outline="white", width=2)
    picture = scaled(image, min(360 / image.width, 480 / image.height))
    screen.paste(picture, ((360 - picture.width) // 2, 84 + (576 - picture.height) // 2))
    return screen


def turned(image: Image.Image, how: Image.Transpose) -> bytes:
    return saved(image.transpose(how))


CHANGES: dict[str, Change] = {
    "re-encoded, JPEG 30": lambda image: saved(image, quality=30),
    "re-encoded, WebP 50": lambda image: saved(image, "WEBP", 50),
    "resized to 1/2": lambda image: saved(scaled(image, 1 / 2)),
    "resized to 1/3": lambda image: saved(scaled(image, 1 / 3)),
    "enlarged twice": lambda image: saved(scaled(image, 2)),
    "brighter by 25 %": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.25)),
    "watermarked": lambda image: saved(watermarked(image)),
    "cropped 10 %": lambda image: saved(cropped(image, 0.10)),
    "cropped 30 %": lambda image: saved(cropped(image, 0.30)),
    "rotated 5 degrees": lambda image: saved(image.rotate(5, Image.Resampling.BICUBIC)),
    "turned by 90": lambda image: turned(image, Image.Transpose.ROTATE_90),
    "turned by 180": lambda image: turned(image, Image.Transpose.ROTATE_180),
    "turned by 270": lambda image: turned(image, Image.Transpose.ROTATE_270),
    "mirrored": lambda image: turned(image, Image.Transpose.FLIP_LEFT_RIGHT),
    "framed": lambda image: saved(framed(image)),
    "screenshot": lambda image: saved(screenshot(image)),
}
SAME_PICTURE = [name for name in CHANGES if name.startswith(("re-encoded", "resized", "enlarged"))]


def invoice(rng: np.random.Generator) -> Image.Image:
    """One layout, other numbers."""
    page = Image.new("RGB", (620, 877), PAPER)
    draw = ImageDraw.Draw(page)
    small, large = ImageFont.load_default(15), ImageFont.load_default(28)
    draw.text((50, 40), "Example Trading Company", font=large, fill=INK)
    draw.text((50, 90), "12 Market Street, Anytown", font=small, fill=INK)
    draw.text((50, 150), f"Invoice {rng.integers(10_000, 99_999)}", font=large, fill=INK)
    for row in range(8):
        top = 240 + 40 * row
        draw.line((50, top + 28, 570, top + 28), fill=(180, 180, 180))
        draw.text((50, top), f"Article {row + 1}", font=small, fill=INK)
        draw.text((480, top), f"{rng.integers(100, 9_999) / 100:9.2f}", font=small, fill=INK)
    draw.text((380, 600), f"Total {rng.integers(1_000, 99_999) / 100:.2f}", font=large, fill=INK)
    return page


WORDS = "yes no when where are you coming today tomorrow see there fine thanks maybe late bus train home dinner".split()


def chat(rng: np.random.Generator) -> Image.Image:
    """Bubbles of one shape, other words."""
    screen = Image.new("RGB", (360, 720), (230, 225, 215))
    draw, font = ImageDraw.Draw(screen), ImageFont.load_default(15)
    draw.rectangle((0, 0, 360, 60), fill=(20, 110, 90))
    draw.text((60, 20), "Family", font=font, fill="white")
    for row in range(9):
        left, top = (20, 140)[row % 2], 80 + 66 * row
        draw.rounded_rectangle((left, top, left + 200, top + 52), 10, fill=PAPER if row % 2 else (210, 245, 200))
        for line in range(2):
            text = " ".join(rng.choice(WORDS, 4))
            draw.text((left + 10, top + 6 + 20 * line), text, font=font, fill=INK)
    return screen


def nearly_blank(rng: np.random.Generator) -> Image.Image:
    """A page with a page number."""
    page = Image.new("RGB", (620, 877), PAPER)
    ImageDraw.Draw(page).text((300, 840), str(rng.integers(1, 10**9)), font=ImageFont.load_default(15), fill=INK)
    return page


def white_art(rng: np.random.Generator) -> Image.Image:
    """White shapes on transparency."""
    art = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    draw = ImageDraw.Draw(art)
    for _ in range(4):
        left, top = rng.integers(0, 180, 2).tolist()
        draw.ellipse((left, top, left + int(rng.integers(30, 76)), top + int(rng.integers(30, 76))), fill="white")
    return art


Draw = Callable[[np.random.Generator], Image.Image]
DRAWN: dict[str, Draw] = {
    "invoices": invoice, "chats": chat, "nearly blank pages": nearly_blank, "white art": white_art,
}  # fmt: skip
LAYOUTS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "photos in one frame": lambda image, _: framed(image.resize((300, 220)), (120, 70, 30)),
    "photos on one page": lambda image, _: paged(image),
    "photos on one screen": screenshot,
}


def negatives(photos: list[Image.Image], rng: np.random.Generator) -> Iterator[tuple[str, int, bytes]]:
    """(kind, number, PNG) of different pictures of one layout, as many of each kind as there are photos."""
    for kind, draw in DRAWN.items():
        for number in range(len(photos)):
            yield kind, number, saved(draw(rng), "PNG")
    for kind, layout in LAYOUTS.items():
        for number, photo in enumerate(photos):
            yield kind, number, saved(layout(photo, number), "PNG")
