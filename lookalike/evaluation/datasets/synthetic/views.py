"""A photograph of a building: camera, light, surroundings, obstacles, and the visible share of the front."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike.evaluation.datasets.synthetic.buildings import PIXELS_PER_METRE, Building
from lookalike.evaluation.datasets.synthetic.paint import Canvas, Pixels, blend, noise, pick, pixels
from lookalike.evaluation.datasets.synthetic.surroundings import LIGHTS, THINGS, Light, ground, hills, lamplight, sky
from lookalike.types import Box

Matrix = NDArray[np.float64]
Mask = NDArray[np.uint8]
SIZES = ((640, 480), (640, 480), (480, 640), (600, 450), (576, 576))


@dataclass(frozen=True)
class View:
    """A finished picture; `visible` is the share of the front that is in the frame and not hidden."""

    rgb: Pixels
    box: Box
    visible: float


@dataclass(frozen=True)
class Shot:
    """Parameters of a photograph: angle and height, aim, and the share of the frame that the front fills."""

    yaw: float
    fill: float
    eye: float = 2.5
    roll: float = 0.0
    aim: tuple[float, float] = (0.0, 0.0)
    light: str = "noon"
    things: tuple[str, ...] = ()
    hidden: float = 0.0
    """Obstacles are added until at least this share of the front is out of sight."""


@dataclass
class Camera:
    """A pinhole camera. World: x to the right along the front, y up, z away behind the front; metres."""

    width: int
    height: int
    focal: float
    position: Matrix
    axes: Matrix = field(repr=False)
    """Rows: right, down, forward."""

    @property
    def matrix(self) -> Matrix:
        """Focal length and principal point as a 3 x 3 matrix."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    def plane(self, origin: Matrix, across: Matrix, down: Matrix) -> Matrix:
        """The homography from texture pixels (at PIXELS_PER_METRE) on a plane to pixels of the picture."""
        columns = [across / PIXELS_PER_METRE, down / PIXELS_PER_METRE, origin - self.position]
        return self.matrix @ self.axes @ np.stack(columns, axis=1)

    def project(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        """(x, y) of a world point in the picture, and the pixels of a metre there."""
        right, down, away = self.axes @ (np.array(point) - self.position)
        scale = self.focal / max(float(away), 0.1)
        return self.width / 2 + right * scale, self.height / 2 + down * scale, scale

    def rays(self) -> NDArray[np.float32]:
        """The viewing direction (height, width, 3) of every pixel."""
        columns = ((np.arange(self.width) - self.width / 2) / self.focal).astype(np.float32)
        rows = ((np.arange(self.height) - self.height / 2) / self.focal).astype(np.float32)
        right, down, forward = self.axes.astype(np.float32)
        return np.asarray(columns[:, None] * right + rows[:, None, None] * down + forward, np.float32)


def camera_for(building: Building, shot: Shot, size: tuple[int, int]) -> Camera:
    """A camera at the distance where the front fills `shot.fill` of the frame in the tighter direction."""
    width, height = size
    wide, tall = building.width / PIXELS_PER_METRE, building.height / PIXELS_PER_METRE
    focal = 0.95 * max(size)
    across = wide * np.cos(shot.yaw) + 0.3 * tall * abs(np.sin(shot.yaw))
    distance = focal * max(across / width, tall / height) / shot.fill
    target = np.array([shot.aim[0] * wide, tall * 0.5 + shot.aim[1] * tall, 0.0])
    position = np.array([distance * np.sin(shot.yaw), shot.eye, -distance * np.cos(shot.yaw)])
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    turn = np.array([[np.cos(shot.roll), -np.sin(shot.roll)], [np.sin(shot.roll), np.cos(shot.roll)]])
    right, down = turn @ np.stack([right, -up])
    return Camera(width, height, focal, position, np.stack([right, down, forward]))


def photograph(building: Building, place: str, shot: Shot, rng: np.random.Generator) -> View:
    """Paint the whole picture, back to front."""
    light = LIGHTS[shot.light]
    camera = camera_for(building, shot, pick(rng, SIZES))
    canvas = Canvas(_backdrop(camera, place, light, rng))
    _hills(canvas, camera, light, rng)
    _cast_shadow(canvas, camera, building, light)
    _plant(canvas, camera, building, ("tree",) * int(rng.integers(0, 4)), light, rng, behind=True)
    canvas.glow[:] = 0
    front = _stand(canvas, camera, building, light)
    canvas.cover[:] = 0
    _plant(canvas, camera, building, shot.things, light, rng)
    seen = _visible(canvas, camera, building, front)
    for _ in range(30):
        if 1 - seen >= shot.hidden:
            break
        _plant(canvas, camera, building, (pick(rng, ("tree", "tree", "bus")),), light, rng, near=True)
        seen = _visible(canvas, camera, building, front)
    rgb = _develop(lamplight(canvas.rgb, canvas.glow, light), rng)
    return View(rgb, _bounds(front), seen)


def _backdrop(camera: Camera, place: str, light: Light, rng: np.random.Generator) -> Pixels:
    rays = camera.rays()
    elevation = np.arctan2(rays[..., 1], np.hypot(rays[..., 0], rays[..., 2]))
    rgb = sky(rng, elevation, light)
    rows = np.flatnonzero((elevation < 0).any(1))
    if rows.size:
        low = np.s_[rows[0] :]
        reach = -np.float32(camera.position[1]) / np.minimum(rays[low][..., 1], np.float32(-1e-3))
        along = np.float32(camera.position[0]) + reach * rays[low][..., 0]
        away = np.float32(camera.position[2]) + reach * rays[low][..., 2]
        edge = pixels(-elevation[low] * camera.focal * 255)
        rgb[low] = blend(rgb[low], ground(rng, place, along, away, light), edge)
    return rgb


def _hills(canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator) -> None:
    """Along the horizon, which a rolled camera tilts."""
    right, down, forward = camera.axes[:, 1]
    columns = np.arange(camera.width, dtype=np.float64)
    rows = camera.height / 2 - camera.focal * (forward + (columns - camera.width / 2) / camera.focal * right) / down
    hills(canvas, rng, np.clip(rows, -500, camera.height + 500).astype(np.float32), light)


def _cast_shadow(canvas: Canvas, camera: Camera, building: Building, light: Light) -> None:
    half, deep = building.width / 2 / PIXELS_PER_METRE, building.side.rgb.shape[1] / PIXELS_PER_METRE
    corners = [(-half, 0.0), (half, 0.0), (half + 3.0, -1.8), (half + 3.0, deep), (half, deep)]
    canvas.shade([camera.project((x, 0.0, z))[:2] for x, z in corners], light.shadow, 2)
    strip = [(-half - 0.3, 0.1), (half + 0.3, 0.1), (half + 0.3, -0.7), (-half - 0.3, -0.7)]
    canvas.shade([camera.project((x, 0.0, z))[:2] for x, z in strip], 0.7, 2)


def _stand(canvas: Canvas, camera: Camera, building: Building, light: Light) -> Mask:
    """Paint roof slopes and side walls, then the front; returns the mask of the front."""
    half, body = building.width / 2 / PIXELS_PER_METRE, building.body / PIXELS_PER_METRE
    inset, rise = building.slope.inset / PIXELS_PER_METRE, building.slope.rise / PIXELS_PER_METRE
    gain = np.array(light.gain)
    back, down = np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0])
    deep = building.side.rgb.shape[1]
    for side, shade in ((-1, 0.86), (1, 0.6)):
        outside = side * (camera.position[0] - side * half) > 0
        if rise:
            lean = np.array([side * inset, -rise, 0.0])
            length = float(np.hypot(inset, rise))
            normal = np.array([side * rise, inset, 0.0])
            eave = np.array([side * half, body, 0.0])
            if normal @ (camera.position - eave) > 0:
                tiles = cv2.resize(building.tiles, (deep, max(2, round(length * PIXELS_PER_METRE))))
                top = eave - lean
                _lay(
                    canvas,
                    camera.plane(top, back, lean / length),
                    Canvas(np.asarray(tiles, np.uint8)),
                    gain * (shade + 0.1),
                )
        if outside:
            _lay(canvas, camera.plane(np.array([side * half, body, 0.0]), back, down), building.side, gain * shade)
    origin = np.array([-half - building.margin / PIXELS_PER_METRE, building.height / PIXELS_PER_METRE, 0.0])
    return _lay(canvas, camera.plane(origin, np.array([1.0, 0, 0]), down), building.front, gain, cut=True)


def _lay(canvas: Canvas, plane: Matrix, texture: Canvas, gain: Matrix, *, cut: bool = False) -> Mask:
    """Warp a texture into the picture (all of it, or what it covers); returns its mask."""
    height, width = canvas.rgb.shape[:2]
    rgb, glow = texture.rgb, texture.glow
    cover = texture.cover if cut else np.full(glow.shape, 255, np.uint8)
    while _scale(plane, glow.shape) < 0.6:  # Halve textures before they are reduced, or bricks become moiré.
        rgb, glow, cover = (np.asarray(cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
                            for part in (rgb, glow, cover))  # fmt: skip
        plane = plane @ np.diag([2.0, 2.0, 1.0])
    warped, mask, lights = (
        np.asarray(cv2.warpPerspective(part, plane, (width, height)), np.uint8) for part in (rgb, cover, glow)
    )
    canvas.rgb[:] = blend(canvas.rgb, pixels(warped * gain), mask)
    canvas.glow[:] = np.where(mask > 127, lights, canvas.glow)
    return mask


def _scale(plane: Matrix, shape: tuple[int, ...]) -> float:
    """Picture pixels per texture pixel, in the middle of the texture."""
    middle = np.array([[shape[1] / 2, shape[0] / 2, 1], [shape[1] / 2 + 1, shape[0] / 2 + 1, 1]]).T
    points = plane @ middle
    points = points[:2] / points[2]
    return float(np.linalg.norm(points[:, 1] - points[:, 0]) / np.sqrt(2))


def _plant(
    canvas: Canvas, camera: Camera, building: Building, things: tuple[str, ...], light: Light,
    rng: np.random.Generator, *, behind: bool = False, near: bool = False,
) -> None:  # fmt: skip
    """Put things on the ground: before the front, behind it, or near the camera; the farthest first."""
    half = building.width / 2 / PIXELS_PER_METRE
    spots = []
    for thing in things:
        if behind:
            x, z = pick(rng, (-1, 1)) * (half + rng.uniform(2, 8)), rng.uniform(0, 14)
        else:
            share = rng.uniform(0.5, 0.85) if near else rng.uniform(0.04, 0.5)
            x = rng.uniform(-1.1, 1.1) * half * (1 - share) + share * camera.position[0]
            z = share * camera.position[2]
        spots.append((z, x, thing))
    for z, x, thing in sorted(spots, reverse=True):
        u, foot, metre = camera.project((x, 0.0, z))
        if np.hypot(x - camera.position[0], z - camera.position[2]) > 4:
            THINGS[thing](canvas, u, foot, metre, rng, light)


def _visible(canvas: Canvas, camera: Camera, building: Building, front: Mask) -> float:
    """The share of the front's pixels, in the frame or out of it, that nothing hides."""
    visible = int(np.count_nonzero((front > 127) & (canvas.cover < 128)))
    half = building.width / 2 / PIXELS_PER_METRE + building.margin / PIXELS_PER_METRE
    plane = camera.plane(
        np.array([-half, building.height / PIXELS_PER_METRE, 0.0]), np.array([1.0, 0, 0]), np.array([0, -1.0, 0])
    )
    quarter, wider = np.diag([0.25, 0.25, 1.0]), np.array([[1.0, 0, camera.width], [0, 1, camera.height], [0, 0, 1]])
    size = (camera.width * 3 // 4, camera.height * 3 // 4)
    whole = cv2.warpPerspective(building.front.cover, quarter @ wider @ plane, size)
    return visible / max(1, 16 * int(np.count_nonzero(whole > 127)), visible)


def _bounds(mask: Mask) -> Box:
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    if not rows.size:
        return Box(0, 0, 1, 1)
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _develop(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Effects of lens and sensor: exposure, softness, darker corners, grain."""
    height, width = rgb.shape[:2]
    rows, columns = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    exposure = np.float32(rng.uniform(0.9, 1.08)) * (1 - np.float32(rng.uniform(0.05, 0.16)) * (rows**2 + columns**2))
    soft = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.35, 0.9))
    grain = noise(rng, height, width, 1, 1) * np.float32(rng.uniform(1, 5))
    return pixels(soft * exposure[..., None] + grain[..., None])
