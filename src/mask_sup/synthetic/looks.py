"""How people look: colours, clothes, light, and the rooms that they stand in."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull

from mask_sup.data.rooms import cloth_colour, painted_room, plain_room
from mask_sup.synthetic.bodies import CONTROLS, PARTS, SIDES, Bodies, all_bodies

__all__ = ["THINGS", "Held", "Look", "Outfit", "random_look", "wide_look", "worn"]


class Look(NamedTuple):
    """Colours and light of one run of moments; colours are BGR, 0 to 255."""

    colours: np.ndarray  # (p, 3) of each of `PARTS`
    grain: float  # spread of brightness from triangle to triangle
    light: np.ndarray  # (3,) where the light comes from, world
    ambient: float
    room: tuple[np.ndarray, ...]  # (h, w, 3) one background for each camera, 0 to 255
    paint: np.ndarray | None = None  # (f, 3) of each triangle; None: the colour of its part
    skirt: np.ndarray | None = None  # (v,) bool: the vertices that a skirt or a coat spans
    skirt_colour: np.ndarray | None = None  # (3,)
    held: "Held | None" = None  # in a hand


class Held(NamedTuple):
    """A thing in a hand."""

    side: str
    kind: str  # of `THINGS`
    size: float  # metres
    colour: np.ndarray  # (3,)
    in_mask: bool


class Outfit(NamedTuple):
    """What is drawn with a body besides its own surface."""

    vertices: np.ndarray  # (n, 3) the body's, then those of other things; metres, world
    faces: np.ndarray  # (k, 3) counter-clockwise seen from outside
    colours: np.ndarray  # (k, 3)
    in_mask: np.ndarray  # (k,) bool: it counts as the person


SKIN = np.array([[45, 60, 95], [70, 105, 160], [110, 150, 205], [150, 180, 230], [170, 195, 240]])
HAIR = np.array([[15, 15, 20], [20, 35, 60], [40, 70, 110], [90, 150, 190], [150, 150, 150]])


# ---------------------------------------------------------------------------------------------
# The quick world: a shirt, trousers and shoes


def random_look(rng: np.random.Generator, cameras: int, background: str) -> Look:
    """Random clothes, skin, hair, light and rooms."""
    colours = np.zeros((len(PARTS), 3))
    part = {name: i for i, name in enumerate(PARTS)}
    colours[part["skin"]] = _between(SKIN, rng)
    colours[part["hair"]] = _hair(colours[part["skin"]], rng)
    colours[part["eyes"]] = rng.uniform(15, 50, 3)
    shirt, trousers = cloth_colour(rng), cloth_colour(rng)
    colours[[part["shirt"], part["sleeves"]]] = shirt
    colours[part["trousers"]] = trousers
    colours[part["shoes"]] = cloth_colour(rng)
    # An open jacket, long or short sleeves, long or short trousers.
    colours[part["shirt_front"]] = cloth_colour(rng) if rng.uniform() < 0.5 else shirt
    colours[part["forearms"]] = shirt if rng.uniform() < 0.5 else colours[part["skin"]]
    colours[part["shins"]] = trousers if rng.uniform() < 0.75 else colours[part["skin"]]
    light = rng.normal(size=3)
    light[2] = abs(light[2]) + 0.6
    paint = painted_room if background == "scene" else plain_room
    return Look(
        colours=colours,
        grain=rng.uniform(0.0, 0.07),
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.35, 0.6),
        room=tuple(paint(rng) for _ in range(cameras)),
    )


# ---------------------------------------------------------------------------------------------
# The wide world: clothes that hide the front and the shape, things in the hands, any light

# Chances of what people wear; of each group at most one.
TOPS = {"bare": 0.08, "coat": 0.14, "skirt": 0.14}
HEADS = {"hood": 0.12, "cap": 0.15, "bald": 0.08, "veiled": 0.05}
DYES = {"one": 0.2, "camouflage": 0.1, "stripes": 0.12, "blotches": 0.1}
THINGS = {"ball": 0.06, "stick": 0.06, "bag": 0.06}
DARK = 0.2  # chance of little light
HEM = (0.35, 1.25)  # of the thigh's length that a skirt or a coat reaches down: 1 is the knee
STICK, BAG_HANGS = 0.014, 0.06  # metres: radius of a stick, a bag under its hand


def wide_look(
    rng: np.random.Generator, cameras: int, background: str, things_in_mask: bool = False
) -> Look:
    """Random clothes of any kind, a thing in the hand, hard, soft, coloured and little light.

    Args:
        rng: Where all randomness comes from.
        cameras: How many rooms there are.
        background: As for the quick world.
        things_in_mask: Whether what is in a hand counts as the person.
    """
    look = random_look(rng, cameras, background)
    bodies = all_bodies()
    colours = look.colours.copy()
    part = {name: i for i, name in enumerate(PARTS)}
    top, head, dye, thing = (_one_of(chances, rng) for chances in (TOPS, HEADS, DYES, THINGS))
    shirt = colours[part["shirt"]]
    if top == "bare":
        colours[[part[n] for n in ("shirt", "shirt_front", "sleeves", "forearms")]] = colours[
            part["skin"]
        ]
    if dye == "camouflage":
        shirt = np.mean([room.mean((0, 1)) for room in look.room], 0)
    if dye in ("one", "camouflage"):
        clothes = ["shirt", "shirt_front", "sleeves", "forearms", "trousers", "shins", "shoes"]
        colours[[part[n] for n in clothes]] = shirt
    if head == "bald":
        colours[part["hair"]] = colours[part["skin"]]
    paint = colours[bodies.part]
    if dye in ("stripes", "blotches"):
        _dyed(paint, bodies, dye, rng)
    _covered(paint, bodies, head, colours[part["shirt"]], cloth_colour(rng))
    skirt, cloth = None, colours[part["shirt"]] if top == "coat" else cloth_colour(rng)
    if dye in ("one", "camouflage"):
        cloth = shirt
    if top in ("coat", "skirt"):
        hem = rng.uniform(*HEM)
        skirt = bodies.thigh_part < hem
        paint[skirt[bodies.faces].all(1) & np.isin(bodies.part, [part["trousers"]])] = cloth
    held = None
    if thing is not None:
        side, size = str(rng.choice(SIDES)), rng.uniform(*SIZES[thing])
        held = Held(side, thing, size, cloth_colour(rng), things_in_mask)
    light = rng.normal(size=3)
    light[2] += 0.5
    tint = np.clip(rng.normal(1.0, 0.08, 3), 0.7, 1.3)
    tint = tint * (rng.uniform(0.2, 0.5) if rng.uniform() < DARK else rng.uniform(0.6, 1.15))
    return look._replace(
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.12, 0.85),
        room=tuple(np.clip(room * tint.astype(room.dtype), 0.0, 255.0) for room in look.room),
        paint=paint * tint,
        skirt=skirt,
        skirt_colour=cloth * tint,
        held=None if held is None else held._replace(colour=held.colour * tint),
    )


SIZES = {"ball": (0.05, 0.14), "stick": (0.4, 1.3), "bag": (0.18, 0.4)}  # metres


def _one_of(chances: dict[str, float], rng: np.random.Generator) -> str | None:
    """One of the names, or None with the chance that is left."""
    place = rng.uniform() - np.cumsum(list(chances.values()))
    return list(chances)[int((place > 0).sum())] if place[-1] < 0 else None


def _dyed(paint: np.ndarray, bodies: Bodies, dye: str, rng: np.random.Generator) -> None:
    """Stripes around the body or blotches, on the clothes."""
    centres = bodies.standing[bodies.faces].mean(1)
    cloth = np.isin(
        bodies.part, [PARTS.index(n) for n in PARTS if n not in ("skin", "hair", "eyes")]
    )
    if dye == "stripes":
        chosen = np.sin(2 * np.pi * (centres[:, 2] / rng.uniform(0.06, 0.25) + rng.uniform())) > 0
    else:
        ways = rng.normal(size=(3, 6)) * 14
        chosen = np.sin(centres @ ways + rng.uniform(0, 2 * np.pi, 6)).sum(1) > 0.5
    paint[cloth & chosen] = cloth_colour(rng)


def _covered(
    paint: np.ndarray, bodies: Bodies, head: str | None, hood: np.ndarray, cap: np.ndarray
) -> None:
    """A hood (all but the face), a cap, or a veil over the whole head."""
    centres = bodies.standing[bodies.faces].mean(1)
    on_head = bodies.owner[bodies.faces[:, 0]] == CONTROLS.index("head")
    high, front = centres[on_head, 2].max(), centres[on_head, 1].min()
    face = (centres[:, 1] < front + 0.085) & (centres[:, 2] < high - 0.05)
    if head == "veiled":
        paint[on_head] = hood
    elif head == "hood":
        paint[on_head & ~face] = hood
    elif head == "cap":
        paint[on_head & (centres[:, 2] > high - 0.085)] = cap


def worn(bodies: Bodies, vertices: np.ndarray, look: Look) -> Outfit:
    """What a look adds to a posed body: a skirt around the thighs, a thing in a hand.

    Args:
        bodies: The bodies, for their topology.
        vertices: (v, 3) posed surface, metres, world.
        look: What is worn.
    """
    parts = []
    if look.skirt is not None:
        faces = _hull(vertices, np.flatnonzero(look.skirt))
        parts.append((np.zeros((0, 3)), faces, look.skirt_colour, True))
    if look.held is not None:
        things, faces = _in_hand(bodies, vertices, look.held)
        parts.append((things, faces + len(vertices), look.held.colour, look.held.in_mask))
    if not parts:
        return Outfit(vertices, np.zeros((0, 3), int), np.zeros((0, 3)), np.zeros(0, bool))
    return Outfit(
        np.concatenate([vertices, *(more for more, *_ in parts)]),
        np.concatenate([faces for _, faces, _, _ in parts]),
        np.concatenate([np.tile(colour, (len(faces), 1)) for _, faces, colour, _ in parts]),
        np.concatenate([np.full(len(faces), in_mask) for _, faces, _, in_mask in parts]),
    )


def _hull(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(k, 3) triangles of the convex hull of chosen points, counter-clockwise from outside.

    A skirt is the cloth drawn tight around both thighs: their hull in every pose.
    """
    hull = ConvexHull(points[chosen])
    faces = chosen[hull.simplices]
    a, b, c = points[faces].transpose(1, 0, 2)
    inward = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return faces


def _in_hand(bodies: Bodies, vertices: np.ndarray, held: Held) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a thing at a hand."""
    hand = vertices[bodies.owner == CONTROLS.index(f"{held.side}_hand")]
    arm = vertices[bodies.owner == CONTROLS.index(f"{held.side}_lower_arm")].mean(0)
    palm = hand.mean(0)
    ahead = (palm - arm) / np.linalg.norm(palm - arm)
    if held.kind == "ball":
        points = palm + 0.8 * held.size * ahead + held.size * _SPHERE
    elif held.kind == "stick":
        # Across the hand, which holds it somewhere along its length.
        across = np.cross(ahead, vertices[0] - palm)
        across /= np.linalg.norm(across)
        third = np.cross(across, ahead)
        ring = _PRISM[:, :1] * ahead + _PRISM[:, 1:2] * third
        points = palm + STICK * ring + held.size * (_PRISM[:, 2:] - 0.25) * across
    else:
        low = palm - [0.0, 0.0, BAG_HANGS + held.size / 2]
        low[2] = max(low[2], held.size / 2)  # it stands on the ground
        points = low + held.size * _BOX
    return points, _hull(points, np.arange(len(points)))


def _sphere() -> np.ndarray:
    """(s, 3) points spread evenly over a ball of radius one."""
    n = np.arange(60) + 0.5
    up, turn = 1 - 2 * n / 60, n * np.pi * (1 + 5**0.5)
    flat = np.sqrt(1 - up**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), up], 1)


_SPHERE = _sphere()
_RING = np.linspace(0, 2 * np.pi, 6, endpoint=False)
_PRISM = np.array([[np.cos(a), np.sin(a), end] for end in (0.0, 1.0) for a in _RING])
_BOX = np.array([[x, y, z] for x in (-0.4, 0.4) for y in (-0.18, 0.18) for z in (-0.5, 0.5)])


# ---------------------------------------------------------------------------------------------
# Colours


def _between(palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random mixture of two neighbours of a palette."""
    first = rng.integers(len(palette) - 1)
    share = rng.uniform()
    return palette[first] * share + palette[first + 1] * (1 - share)


def _hair(skin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hair colour that is not that of the skin: the head must tell front from back."""
    for _ in range(20):
        hair = _between(HAIR, rng)
        if np.abs(hair - skin).mean() > 40:
            return hair
    return HAIR[0].astype(float)
