"""Painting one generated scene: regions of stuff from the horizon outwards, then things from far to near.

Positions are in units of the image height (x runs to W/H), so one scene looks alike at every size. Only
correctly rounded operations (+ - * / comparisons) decide about pixels: no sine, power or sum whose last bit
could differ between machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.randomness import Stream

SKY, FOLIAGE, WALL, GROUND, WATER, PATH, DISK, RING, SQUARE, TRIANGLE, STAR, POST = range(12)
THINGS = (DISK, RING, SQUARE, TRIANGLE, STAR, POST)

Colour = tuple[float, float, float]

_SKY_COLOURS = ((105, 160, 225), (150, 175, 205), (165, 168, 175))
_FOLIAGE_COLOURS = ((58, 104, 48), (88, 112, 52))
_WALL_COLOURS = ((158, 104, 84), (138, 136, 140), (186, 172, 148))
_GROUND_COLOURS = ((176, 152, 106), (112, 136, 72))
_WATER_COLOURS = ((82, 128, 172), (96, 138, 150))
_PATH_COLOURS = ((118, 118, 122), (142, 128, 116))
# Shapes share colours in pairs, so that colour alone does not tell them apart.
_THING_COLOURS = {
    DISK: ((206, 66, 48), (58, 82, 196)),
    RING: ((206, 66, 48), (58, 82, 196)),
    SQUARE: ((214, 170, 52), (126, 74, 166)),
    POST: ((214, 170, 52), (126, 74, 166)),
    TRIANGLE: ((196, 66, 160), (52, 176, 164)),
    STAR: ((196, 66, 160), (52, 176, 164)),
}


@dataclass(eq=False)
class Canvas:
    """What is being painted: semantic uint8 [H,W], instances int32 [H,W] (0 = none), colour float32 [3,H,W];
    y float64 [H,1] and x float64 [1,W]: centres of the pixels in units of H."""

    semantic: np.ndarray
    instances: np.ndarray
    colour: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @classmethod
    def blank(cls, height: int, width: int) -> Canvas:
        y = (np.arange(height)[:, None] + 0.5) / height
        x = (np.arange(width)[None, :] + 0.5) / height
        labels, numbers = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int32)
        return cls(labels, numbers, np.zeros((3, height, width), np.float32), y, x)

    @property
    def aspect(self) -> float:
        return self.semantic.shape[1] / self.semantic.shape[0]

    def paint(self, mask: np.ndarray, label: int, colour: Colour, shade: np.ndarray | float = 0.0) -> None:
        """Stuff: `colour` + `shade` ([H,W] or a number, grey levels) where `mask` [H,W]."""
        self.paint_part((slice(None), slice(None)), mask, label, colour, shade)

    def paint_part(
        self,
        part: tuple[slice, slice],
        mask: np.ndarray,
        label: int,
        colour: Colour,
        shade: np.ndarray | float = 0.0,
        number: int = 0,
    ) -> None:
        """The same inside the rectangle `part`, the size of mask and shade, as object `number` (0: stuff)."""
        np.copyto(self.semantic[part], label, where=mask, casting="unsafe")
        if number:
            np.copyto(self.instances[part], number, where=mask, casting="unsafe")
        tone = np.asarray(shade, np.float32)
        for plane, value in zip(self.colour, colour, strict=True):
            np.copyto(plane[part], tone + np.float32(value), where=mask)


def paint_scene(height: int, width: int, stream: Stream) -> Canvas:
    """A whole scene, before light, blur and noise."""
    canvas = Canvas.blank(height, width)
    coarse = _value_noise(stream, canvas, 7.0)
    fine = _value_noise(stream, canvas, 44.0)
    horizon = stream.uniform(0.28, 0.52) + stream.uniform(-0.12, 0.12) * (canvas.x - 0.5 * canvas.aspect)
    _paint_far(canvas, stream, horizon, coarse, fine)
    _paint_near(canvas, stream, horizon, coarse, fine)
    for number, thing in enumerate(_place_things(canvas, stream, horizon), start=1):
        _paint_thing(canvas, thing, number)
    _renumber(canvas)
    return canvas


def finish(canvas: Canvas, stream: Stream) -> np.ndarray:
    """uint8 [3,H,W]: the colours under a light that varies over the image, a little blur, sensor noise."""
    light = stream.uniform(0.72, 1.15) + stream.uniform(-0.22, 0.22) * (canvas.x / canvas.aspect - 0.5)
    tint = np.array([stream.uniform(0.93, 1.07) for _ in range(3)])
    lit = canvas.colour * (tint[:, None, None] * light).astype(np.float32)
    blurred = _blur(np.clip(lit, 0, 255).astype(np.int16))
    grain = stream.bytes(2, *blurred.shape)  # the sum of two is triangular
    noise = grain[0].astype(np.int16)
    noise += grain[1]
    noise -= 255
    noise *= np.int16(stream.below(17) + 8)
    noise >>= 7
    noise += blurred
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def _blur(planes: np.ndarray) -> np.ndarray:
    """Binomial (1 2 1)/4 down and across int16 [3,H,W]; the border keeps its value along the axis it ends."""
    for axis in (1, 2):
        first, middle, last = (tuple([slice(None)] * axis + [slice(i, i - 2 or None)]) for i in range(3))
        total = planes[first] + planes[last]
        total += planes[middle]
        total += planes[middle]
        total += 2
        total >>= 2
        planes = planes.copy()
        planes[middle] = total
    return planes


def _value_noise(stream: Stream, canvas: Canvas, cells: float) -> np.ndarray:
    """float32 [H,W] in [-1,1]: bilinear interpolation of a random lattice, `cells` cells a unit of height."""
    columns = int(canvas.aspect * cells) + 2
    lattice = stream.bytes(int(cells) + 2, columns).astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
    row, t = _cell(canvas.y[:, 0] * cells)
    rows = lattice[row] + (lattice[row + 1] - lattice[row]) * t[:, None]
    column, s = _cell(canvas.x[0] * cells)
    left = rows[:, column]
    return left + (rows[:, column + 1] - left) * s[None, :]


def _cell(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = position.astype(np.int64)
    return index, (position - index).astype(np.float32)


def _ridge(stream: Stream, canvas: Canvas, cells: float, height: float) -> np.ndarray:
    """float64 [1,W] in [0, height]: a broken line, for tree tops and shores."""
    knots = stream.bytes(int(canvas.aspect * cells) + 2).astype(np.float64) / 255
    index, t = _cell(canvas.x[0] * cells)
    return ((knots[index] + (knots[index + 1] - knots[index]) * t) * height)[None, :]


def _jitter(stream: Stream, colours: tuple[Colour, ...], amount: float) -> Colour:
    red, green, blue = stream.choice(colours)
    return tuple(c + stream.uniform(-amount, amount) for c in (red, green, blue))


def _paint_far(
    canvas: Canvas, stream: Stream, horizon: np.ndarray, coarse: np.ndarray, fine: np.ndarray
) -> None:
    """Sky, the trees before it, and walls that stand on the horizon."""
    everywhere = np.ones(canvas.semantic.shape, bool)
    clouds = np.maximum(coarse, 0) * stream.uniform(0, 55)
    canvas.paint(everywhere, SKY, _jitter(stream, _SKY_COLOURS, 10), clouds + 60 * (canvas.y - 0.3))
    if stream.chance(0.8):
        top = horizon - 0.02 - _ridge(stream, canvas, stream.uniform(4, 12), stream.uniform(0.1, 0.36))
        trees = (canvas.y > top) & (canvas.y < horizon)
        canvas.paint(trees, FOLIAGE, _jitter(stream, _FOLIAGE_COLOURS, 10), fine * 34 + coarse * 12)
    for _ in range(stream.below(4)):
        _paint_wall(canvas, stream, horizon, fine)


def _paint_wall(canvas: Canvas, stream: Stream, horizon: np.ndarray, fine: np.ndarray) -> None:
    left = stream.uniform(-0.1, canvas.aspect - 0.1)
    right = left + stream.uniform(0.15, 0.45)
    middle = int(min(max((left + right) / 2, 0), canvas.aspect - 0.01) * canvas.semantic.shape[0])
    top = float(horizon[0, middle]) - stream.uniform(0.1, 0.32)
    part = _part(canvas, top, float(horizon.max()) + 0.02, left, right)
    y, x = canvas.y[part[0]], canvas.x[:, part[1]]
    mask = (y >= top) & (y < horizon[:, part[1]] + 0.01) & (x >= left) & (x < right)
    even = (y * 36).astype(np.int64) % 2 == 0  # brickwork: every other course is shifted by half a brick
    joints = np.where(even, (x * 18) % 1.0 < 0.14, (x * 18 + 0.5) % 1.0 < 0.14) | ((y * 36) % 1.0 < 0.22)
    shade = fine[part] * 8 - 26 * joints.astype(np.float32)
    canvas.paint_part(part, mask, WALL, _jitter(stream, _WALL_COLOURS, 12), shade)


def _part(canvas: Canvas, top: float, bottom: float, left: float, right: float) -> tuple[slice, slice]:
    """Rows and columns whose pixels a rectangle in units of H can touch (one more on each side)."""
    height, width = canvas.semantic.shape
    spans = ((top, bottom, height), (left, right, width))
    return tuple(
        slice(min(max(int(low * height) - 1, 0), end), min(max(int(high * height) + 2, 0), end))
        for low, high, end in spans
    )


def _paint_near(
    canvas: Canvas, stream: Stream, horizon: np.ndarray, coarse: np.ndarray, fine: np.ndarray
) -> None:
    """Ground, water in front of it, and a path that narrows towards the horizon."""
    below = canvas.y >= horizon
    canvas.paint(below, GROUND, _jitter(stream, _GROUND_COLOURS, 12), coarse * 16 + fine * 14)
    depth = canvas.y - horizon
    if stream.chance(0.75):
        start = stream.uniform(0.0, 0.25) + _ridge(stream, canvas, 5.0, 0.08)
        stop = start + stream.uniform(0.12, 0.5)
        slope = stream.uniform(-2, 2)
        shore = slope * (canvas.x - stream.uniform(0, canvas.aspect)) + 0.4 * coarse > 0
        ripples = ((canvas.y * 30 + coarse) % 1.0 < 0.4).astype(np.float32)
        water = below & (depth > start) & (depth < stop) & shore
        canvas.paint(water, WATER, _jitter(stream, _WATER_COLOURS, 10), 22 * ripples + 40 * depth)
    if stream.chance(0.8):
        foot, head = stream.uniform(0.1, 0.9) * canvas.aspect, stream.uniform(0.3, 0.7) * canvas.aspect
        width = stream.uniform(0.25, 0.7)
        fraction = depth / (1.0 - horizon)  # 0 on the horizon, 1 at the bottom edge
        centre = head + (foot - head) * fraction
        path = below & (np.abs(canvas.x - centre) < width * (0.08 + fraction) * 0.5)
        canvas.paint(path, PATH, _jitter(stream, _PATH_COLOURS, 8), fine * 10)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object to paint: centre (y, x) and radius in units of H, `turn` = tan of half the rotation."""

    label: int
    y: float
    x: float
    radius: float
    turn: float
    colour: Colour
    texture: float


def _place_things(canvas: Canvas, stream: Stream, horizon: np.ndarray) -> list[Thing]:
    """Far ones first. Those on the ground grow towards the viewer, a few are far off, some in the sky."""
    depths = [stream.uniform(0.1, 1) for _ in range(7 + stream.below(6))]
    depths += [stream.uniform(0, 0.12) for _ in range(2 + stream.below(5))]
    things = [_grounded(canvas, stream, horizon, depth) for depth in depths]
    things += [_floating(canvas, stream, horizon) for _ in range(stream.below(4))]
    return sorted(things, key=lambda thing: thing.y + thing.radius)


def _grounded(canvas: Canvas, stream: Stream, horizon: np.ndarray, depth: float) -> Thing:
    x = stream.uniform(0, canvas.aspect)
    start = float(horizon[0, min(int(x * canvas.semantic.shape[0]), canvas.semantic.shape[1] - 1)])
    label = stream.choice(THINGS)
    radius = (0.018 + 0.1 * depth) * stream.uniform(0.75, 1.35) * (1.5 if label == POST else 1.0)
    foot = start + depth * (1.0 - start)
    return _thing(stream, label, foot - radius, x, radius)


def _floating(canvas: Canvas, stream: Stream, horizon: np.ndarray) -> Thing:
    x, radius = stream.uniform(0, canvas.aspect), stream.uniform(0.02, 0.075)
    y = stream.uniform(0.02, 0.85) * float(horizon[0, 0])
    return _thing(stream, stream.choice((DISK, RING, STAR)), y, x, radius)


def _thing(stream: Stream, label: int, y: float, x: float, radius: float) -> Thing:
    colour = _jitter(stream, _THING_COLOURS[label], 22)
    if stream.chance(0.12):
        colour = tuple(stream.uniform(40, 220) for _ in range(3))
    turn = stream.uniform(-0.04, 0.04) if label == POST else stream.uniform(-0.2, 0.2)
    texture = stream.uniform(18, 46)
    return Thing(label=label, y=y, x=x, radius=radius, turn=turn, colour=colour, texture=texture)


def _paint_thing(canvas: Canvas, thing: Thing, number: int) -> None:
    reach = thing.radius * 1.35  # a turned square sticks out of the circle
    part = _part(canvas, thing.y - reach, thing.y + reach, thing.x - reach, thing.x + reach)
    dy, dx = canvas.y[part[0]] - thing.y, canvas.x[:, part[1]] - thing.x
    scale = 1.0 / ((1.0 + thing.turn * thing.turn) * thing.radius)
    cosine, sine = (1.0 - thing.turn * thing.turn) * scale, 2.0 * thing.turn * scale
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    mask = _inside(thing.label, u, v)
    canvas.paint_part(part, mask, thing.label, thing.colour, _texture(thing, u, v), number)


def _inside(label: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """bool, where the shape is; u to the right, v down, both in radii from the centre."""
    if label == SQUARE:
        return np.maximum(np.abs(u), np.abs(v)) <= 0.86
    if label == TRIANGLE:
        return (v <= 0.8) & (np.abs(u) * 1.9 <= v + 1.0)
    if label == STAR:  # two triangles
        across = np.abs(u) * 1.75
        return ((v <= 0.5) & (across <= v + 1.0)) | ((v >= -0.5) & (across <= 1.0 - v))
    if label == POST:
        return (np.abs(v) <= 1.0) & (np.abs(u) <= np.where(v < -0.62, 0.32, 0.13))
    square = u * u + v * v
    return (square <= 1.0) & (square >= 0.3) if label == RING else square <= 1.0


def _texture(thing: Thing, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Grey levels to add at the given points."""
    if thing.label == DISK:  # a ball: light from above
        return thing.texture * (0.6 - (u * u + (v + 0.3) * (v + 0.3)))
    if thing.label == SQUARE:  # checks
        return thing.texture * ((u + 4.0) % 1.0 < 0.5).astype(float) * ((v + 4.0) % 1.0 < 0.5)
    if thing.label == POST:  # bands
        return thing.texture * 2.0 * ((v + 4.0) % 0.5 < 0.25)
    if thing.label == TRIANGLE:  # darker towards the foot
        return -thing.texture * 0.7 * (v + 1.0)
    return np.zeros_like(u)


def _renumber(canvas: Canvas) -> None:
    """Instance numbers 1..n without gaps for the things that are still visible."""
    visible = np.bincount(canvas.instances.ravel()) > 0
    visible[0] = False
    canvas.instances = np.where(visible, np.cumsum(visible), 0).astype(np.int32)[canvas.instances]
