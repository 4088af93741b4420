"""Movements over the whole range of the joints: on the floor, at sports, in the air.

Each kind is a few postures; a movement goes smoothly through key poses of them. A posture says
what lies on the ground, the solver of `contact.py` makes it do so.

Convention: that of `motion.py`.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from mask_sup.synthetic.bodies import CONTROLS, SIDES, Shape, all_bodies
from mask_sup.synthetic.contact import (
    CONTROL,
    LIMITS,
    Contacts,
    Figure,
    Poses,
    faults,
    figure_of,
    joints_and_balls,
    limited,
    resting_heights,
    rotations_of,
    solved,
)
from mask_sup.synthetic.motion import GESTURES, LEG, Motion

__all__ = ["KINDS", "cleared", "movement", "wide_motion"]

Leg = tuple[float, float, float, float, float]
"""Thigh forward, apart and turned inward, knee, toes pointed: degrees."""

Arm = tuple[float, float, float, float, float]
"""As `motion.ARM_ANGLES`: forward, apart, turned inward, elbow, hand bent to the palm: degrees."""

STRAIGHT: Leg = (2, 6, -5, 4, 0)
FREE = "free"  # an arm that does anything: an everyday gesture, or any angles at all


class Posture(NamedTuple):
    """What a key pose is near to; angles in degrees, the left before the right."""

    pitch: float = 0  # of the pelvis forward: 90 is on the belly, -90 on the back
    roll: float = 0  # ... to the right: 90 is on the right side
    trunk: tuple[float, float, float] = (6, 0, 0)  # lean forward, bend to the left, twist to it
    legs: tuple[Leg, Leg] = (STRAIGHT, STRAIGHT)
    arms: tuple[str | Arm, str | Arm] = (FREE, FREE)
    head: tuple[float, float, float] = (0, 0, 0)  # nod, tilt, turn
    ground: tuple[str, ...] = ("feet",)  # what lies on the ground; nothing: in the air
    touch: tuple[tuple[str, str], ...] = ()  # parts that touch each other
    balanced: bool = True  # False: something out of the picture holds the person up
    spread: float = 9.0  # of all angles
    lift: tuple[float, float] = (0.0, 0.0)  # metres over the ground, in the air


# What can lie on the ground, by the balls of `contact.py`; `left_knees` is that of one side.
PARTS = {
    "feet": ("heel", "ball", "toes"),
    "heels": ("heel",),
    "balls": ("ball",),
    "toes": ("toes",),
    "ankles": ("ankle",),
    "calves": ("calf",),
    "knees": ("knee",),
    "thighs": ("thigh",),
    "buttocks": ("buttock",),
    "hips": ("hips",),
    "ribs": ("ribs",),
    "blades": ("breast",),  # of the shoulders
    "shoulders": ("shoulder",),
    "elbows": ("elbow",),
    "forearms": ("elbow", "wrist"),
    "hands": ("palm", "fingers"),
    "palms": ("palm",),
    "fingers": ("fingers",),
}
MIDDLE = ("head",)  # balls that have no side

DOWN: Arm = (2, 10, 5, 12, 0)
PROP_BEHIND: Arm = (-45, 22, -10, 12, -75)
PROP_FRONT: Arm = (75, 10, 10, 15, -75)
PUSH: Arm = (85, 12, 10, 8, -80)
ON_KNEE: Arm = (45, 8, 10, 40, 10)
HUG: Arm = (62, 8, 30, 60, 10)
UP: Arm = (165, 15, 0, 12, 0)
RUN_FRONT: Arm = (45, 6, 15, 95, 0)
RUN_BACK: Arm = (-45, 12, 10, 90, 0)


def both(leg: Leg) -> tuple[Leg, Leg]:
    return leg, leg


def pair(arm: str | Arm) -> tuple[str | Arm, str | Arm]:
    return arm, arm


SIT_LONG = Posture(-8, 0, (8, 0, 0), both((82, 10, -5, 8, 15)), ground=("buttocks", "heels"))
SIT_BENT = Posture(-20, 0, (25, 0, 0), both((112, 10, 0, 98, 5)), ground=("buttocks", "feet"))
SIT_CROSS = Posture(
    -8, 0, (16, 0, 0), both((102, 38, -62, 125, 25)), ground=("buttocks", "ankles"), spread=7
)
SIT_SIDE = Posture(
    -2, -8, (8, 8, 0), ((88, 38, -65, 122, 20), (72, 28, 42, 128, 40)),
    ground=("left_buttocks", "knees", "ankles"), spread=5,
)  # fmt: skip
SIT_CHAIR = Posture(-5, 0, (8, 0, 0), both((85, 10, 0, 86, 0)), balanced=False, ground=("feet",))
KNEEL = Posture(2, 0, (4, 0, 0), both((6, 8, 0, 92, 50)), ground=("knees", "toes"), spread=7)
ON_HEELS = Posture(
    8, 0, (8, 0, 0), both((82, 9, 0, 148, 65)), ground=("knees", "toes"), spread=4,
)  # fmt: skip
ONE_KNEE = Posture(
    4, 0, (8, 0, 0), ((88, 12, 0, 90, 0), (2, 6, 0, 92, 35)),
    ground=("left_feet", "right_knees", "right_toes"),
)  # fmt: skip
SQUAT = Posture(22, 0, (20, 0, 0), both((118, 20, -15, 138, -20)), arms=pair("front"))
HALF_SQUAT = Posture(22, 0, (12, 0, 0), both((72, 16, -12, 82, -18)))
CROUCH = Posture(
    28, 0, (30, 0, 0), both((125, 14, -8, 140, 20)), ground=("toes", "balls"), arms=pair(ON_KNEE)
)
STAND = Posture()
IN_THE_AIR = Posture(ground=())
LUNGE = Posture(
    5, 0, (6, 0, 0), ((78, 6, 0, 80, 0), (-18, 4, 0, 28, -10)),
    ground=("left_feet", "right_toes"),
)  # fmt: skip
SIDE_LUNGE = Posture(
    12, 0, (18, 0, 0), ((85, 25, -25, 105, -15), (10, 45, -10, 4, 0)), ground=("feet",)
)
ALL_FOURS = Posture(
    82, 0, (4, 0, 0), both((82, 8, 0, 88, 50)), pair(PUSH), (-22, 0, 0),
    ("knees", "toes", "hands"), spread=6,
)  # fmt: skip
CRAWL_LEFT = ALL_FOURS._replace(
    legs=((98, 8, 0, 98, 50), (60, 8, 0, 78, 50)),
    arms=((70, 12, 10, 8, -75), (105, 12, 10, 8, -75)),
)
BEAR = Posture(
    78, 0, (10, 0, 0), both((100, 10, 0, 70, 0)), pair((105, 14, 10, 10, -70)), (-15, 0, 0),
    ("toes", "hands"), spread=7,
)  # fmt: skip
PLANK = Posture(
    76, 0, (2, 0, 0), both((4, 7, 0, 4, -15)), pair(PUSH), (-10, 0, 0), ("toes", "hands"), spread=5
)
PUSHED_DOWN = PLANK._replace(pitch=84, arms=pair((28, 52, 20, 105, -70)))
ELBOW_PLANK = PLANK._replace(pitch=84, arms=pair((82, 10, 25, 92, 0)), ground=("toes", "forearms"))
DOG = Posture(
    118, 0, (0, 0, 0), both((92, 10, 0, 8, -15)), pair((160, 16, 0, 6, -45)), (0, 0, 0),
    ("toes", "hands"), spread=5,
)  # fmt: skip
ON_BELLY = Posture(
    88, 0, (-6, 0, 0), both((2, 10, 0, 8, 50)), pair((110, 45, 10, 80, 0)), (-18, 0, 25),
    ("ribs", "hips", "knees", "toes", "forearms"), spread=8,
)  # fmt: skip
BELLY_STRETCHED = ON_BELLY._replace(
    arms=pair((155, 18, 0, 15, 0)),
    ground=("ribs", "hips", "knees", "toes", "elbows", "hands"),
)
SPHINX = Posture(
    80, 0, (-26, 0, 0), both((-4, 8, 0, 8, 50)), pair((72, 12, 20, 88, 0)), (-10, 0, 0),
    ("thighs", "knees", "toes", "forearms"), spread=6,
)  # fmt: skip
ON_BACK = Posture(
    -90, 0, (4, 0, 0), both((4, 10, -15, 8, 30)), pair((-8, 28, -10, 18, 0)), (8, 0, 0),
    ("buttocks", "blades", "head", "calves", "heels", "elbows", "palms"), spread=7,
)  # fmt: skip
BACK_SPREAD = ON_BACK._replace(legs=both((4, 24, -25, 12, 30)), arms=pair((5, 88, -60, 35, 0)))
BACK_BENT = ON_BACK._replace(
    legs=both((55, 10, 0, 98, 10)), arms=pair(FREE),
    ground=("buttocks", "blades", "head", "feet"), spread=8,
)  # fmt: skip
LEGS_UP = ON_BACK._replace(
    legs=both((82, 10, 0, 25, 20)),
    ground=("buttocks", "blades", "head", "elbows", "palms"), spread=10,
)  # fmt: skip
BEHIND_HEAD = BACK_BENT._replace(arms=pair((125, 55, 20, 130, 0)))
SAT_UP = SIT_BENT._replace(arms=pair((70, 10, 0, 20, 0)))
BRIDGE = ON_BACK._replace(
    pitch=-115, trunk=(-8, 0, 0), legs=both((8, 10, 0, 88, 0)), head=(25, 0, 0),
    ground=("blades", "head", "feet", "elbows", "palms"), spread=5,
)  # fmt: skip
ON_SIDE = Posture(
    0, 97, (12, 0, 0), ((78, -18, 5, 75, 25), (12, 2, 0, 35, 25)),
    ((55, 5, 30, 60, 0), (125, 5, 20, 100, 0)), (5, -10, 0),
    ("right_shoulders", "right_ribs", "right_hips", "right_knees", "right_ankles",
     "left_knees", "left_ankles"), spread=7,
)  # fmt: skip
CURLED = Posture(
    0, 90, (35, 0, 0), ((100, 0, 5, 110, 20), (90, 2, 0, 108, 20)),
    ((55, 5, 40, 100, 0), (70, 0, 20, 110, 0)), (22, -8, 0),
    ("right_shoulders", "right_ribs", "right_hips", "right_knees", "right_ankles"),
    (("left_knee", "right_knee"), ("left_ankle", "right_ankle")), spread=6,
)  # fmt: skip
SIDE_PROPPED = Posture(
    0, 70, (5, 8, 0), ((25, -5, 5, 35, 20), (12, 4, 0, 20, 20)),
    ((30, 5, 30, 50, 0), (35, 55, 0, 95, 0)), (0, 12, 0),
    ("right_hips", "right_thighs", "right_knees", "right_ankles", "right_forearms"),
    (("left_ankle", "right_ankle"),), spread=6,
)  # fmt: skip
V_SIT = Posture(-42, 0, (22, 0, 0), both((88, 8, 0, 12, 25)), pair((68, 8, 0, 8, 0)),
                (8, 0, 0), ("buttocks",), spread=6)  # fmt: skip
HANDSTAND = Posture(
    180, 0, (-4, 0, 0), both((0, 8, 0, 8, 35)), pair((168, 14, 0, 6, -70)), (-25, 0, 0),
    ("hands",), spread=7,
)  # fmt: skip
HANDSTAND_SPLIT = HANDSTAND._replace(legs=((60, 8, 0, 25, 30), (-20, 8, 0, 10, 30)))
SHOULDER_STAND = Posture(
    -165, 0, (30, 0, 0), both((15, 6, 0, 8, 20)), pair((-38, 18, 5, 95, 0)), (28, 0, 0),
    ("head", "blades", "elbows"), spread=5,
)  # fmt: skip
BOW = Posture(42, 0, (45, 0, 0), both((52, 8, -5, 10, 0)))
TOE_TOUCH = Posture(
    70, 0, (62, 0, 0), both((98, 9, -5, 12, 0)), pair((95, 4, 0, 8, 0)), (10, 0, 0),
    ("feet", "fingers"), spread=7,
)  # fmt: skip
ON_KNEES = Posture(
    32, 0, (28, 0, 0), both((62, 16, -10, 38, -10)), pair((52, 10, 10, 15, 20)), (-15, 0, 0),
    touch=(("left_palm", "left_knee"), ("right_palm", "right_knee")), spread=6,
)  # fmt: skip
LEAN_SIDE = Posture(
    4, -14, (4, 30, 0), both((4, 24, -12, 8, 0)), ((10, 10, 5, 15, 0), (150, 35, 0, 20, 0))
)
TWISTED = Posture(5, 0, (8, 5, 40), both((12, 20, -12, 20, 0)), head=(0, 0, 50))
BENT_BACK = Posture(-12, 0, (-26, 0, 0), both((-12, 12, -8, 20, 0)), pair(UP), (-35, 0, 0))
STRADDLE = Posture(10, 0, (15, 0, 0), both((16, 40, -15, 6, 0)))
CHAMBER = Posture(
    -4, 0, (8, 0, 0), ((85, 6, 0, 100, 25), STRAIGHT), ground=("right_feet",), spread=8
)
FRONT_KICK = CHAMBER._replace(pitch=-12, legs=((98, 6, 0, 10, 30), (8, 6, -12, 10, 0)))
SIDE_KICK = Posture(
    8, 38, (5, -18, 0), ((25, 62, 25, 10, 0), (6, 20, -25, 8, 0)), ground=("right_feet",), spread=8
)
BACK_KICK = Posture(
    52, 0, (22, 0, 0), ((-18, 10, 0, 25, 30), (58, 6, -10, 14, 0)), ground=("right_feet",),
    head=(-20, 0, 0), spread=8,
)  # fmt: skip
TREE = Posture(
    0, 0, (2, 0, 0), ((65, 55, -50, 120, 20), STRAIGHT), pair((150, 20, 0, 40, 0)),
    ground=("right_feet",), touch=(("left_toes", "right_knee"),), spread=6,
)  # fmt: skip
SCALE = Posture(
    78, 0, (-12, 0, 0), ((-16, 8, 0, 8, 40), (82, 6, -8, 8, 0)),
    ((35, 85, 0, 6, 0), (150, 20, 0, 6, 0)), (-25, 0, 0), ("right_feet",), spread=7,
)  # fmt: skip
STRIDE = Posture(
    10, 0, (10, 0, 12), ((72, 6, 0, 85, 0), (-16, 5, 0, 22, 25)), (RUN_BACK, RUN_FRONT),
    ground=("right_toes",), balanced=False,
)  # fmt: skip
FLIGHT = STRIDE._replace(legs=((55, 6, 0, 40, 0), (-20, 5, 0, 75, 40)), ground=(), lift=(0.03, 0.2))
WIND_UP = Posture(
    -4, 0, (-8, 0, -30), ((25, 12, 0, 25, 0), (-8, 15, -20, 15, 0)),
    ((80, 15, 0, 20, 0), (5, 88, -80, 90, -30)), head=(0, 0, 20),
)  # fmt: skip
RELEASE = Posture(
    15, 0, (22, 0, 25), ((50, 10, 0, 45, 0), (-16, 8, 0, 18, 0)),
    ((-10, 25, 10, 60, 0), (100, 25, 0, 15, 20)), ground=("left_feet", "right_toes"),
)  # fmt: skip
THROUGH = RELEASE._replace(trunk=(38, 0, 35), arms=((-30, 25, 10, 50, 0), (45, -25, 20, 15, 10)))
SWING_BACK = Posture(
    25, 0, (20, 0, -38), both((38, 18, -8, 30, 0)),
    ((75, -40, 0, 15, 0), (65, 35, 10, 70, 0)), touch=(("left_palm", "right_palm"),), spread=7,
)  # fmt: skip
SWING_THROUGH = SWING_BACK._replace(
    trunk=(10, 0, 38), arms=((75, 45, 0, 60, 0), (85, -30, 0, 20, 0))
)
GUARD = Posture(
    8, 0, (12, 0, -12), ((35, 12, 0, 30, 0), (2, 14, -20, 22, 0)),
    ((60, 8, 20, 125, 0), (40, 8, 25, 130, 0)),
)  # fmt: skip
PUNCH = GUARD._replace(trunk=(14, 0, 25), arms=((40, 8, 25, 130, 0), (88, -5, 30, 8, 0)))
UPPERCUT = GUARD._replace(trunk=(4, 8, 25), arms=((40, 8, 25, 130, 0), (115, 5, 0, 85, 0)))
STAR = Posture(
    0, 0, (-4, 0, 0), both((4, 45, -10, 8, 30)), pair((60, 110, 0, 10, 0)), ground=(),
    lift=(0.1, 0.45),
)  # fmt: skip
TUCK = Posture(
    8, 0, (28, 0, 0), both((112, 12, 0, 120, 25)), pair(HUG), ground=(), lift=(0.15, 0.6)
)
SPLIT = Posture(
    5, 0, (5, 0, 0), ((85, 8, 0, 12, 40), (-22, 8, 0, 20, 40)), ground=(), lift=(0.1, 0.5)
)
PIKE = Posture(
    5, 0, (38, 0, 0), both((95, 18, 0, 8, 35)), pair((75, 15, 0, 8, 0)), ground=(), lift=(0.1, 0.5)
)
ARCHED = Posture(
    0, 0, (-24, 0, 0), both((-18, 8, 0, 60, 40)), pair((150, 30, 0, 20, 0)), (-20, 0, 0), (),
    lift=(0.1, 0.5),
)  # fmt: skip
LANDED = SQUAT._replace(arms=pair((40, 20, 0, 20, 0)))


class Kind(NamedTuple):
    """A movement: key poses of one of its postures, or of several."""

    postures: tuple[Posture, ...]
    tempo: tuple[float, float] = (0.6, 1.6)  # seconds between key poses
    share: float = 1.0  # how often it is chosen, relative to others
    order: str = "any"  # of `ORDERS`
    alternates: bool = False  # left and right swap from each round of postures to the next
    any_joint: float = 0.0  # chance that a free limb goes anywhere within its limits
    tumbles: bool = False  # the trunk may have any orientation


ORDERS = {
    "one": "all key poses are of one posture",
    "any": "now and then another posture, if the trunk is about as upright in all that come",
    "turn": "one after the other",
}
QUICK, SLOW = (0.25, 0.6), (0.8, 2.2)
KINDS = {
    "sit": Kind(
        (SIT_LONG, SIT_BENT, SIT_CROSS, SIT_SIDE)
        + (SIT_LONG._replace(pitch=-22, arms=pair(PROP_BEHIND),
                             ground=("buttocks", "heels", "hands")),
           SIT_BENT._replace(pitch=-28, arms=pair(PROP_BEHIND),
                             ground=("buttocks", "feet", "hands")),
           SIT_BENT._replace(trunk=(40, 0, 0), arms=pair(HUG),
                             touch=(("left_wrist", "left_calf"), ("right_wrist", "right_calf"))),
           SIT_BENT._replace(arms=pair(ON_KNEE),
                             touch=(("left_palm", "left_knee"), ("right_palm", "right_knee"))),
           SIT_CROSS._replace(arms=pair((35, 18, 0, 45, 0)))),
        share=2.5,
    ),
    "sit_high": Kind(
        (SIT_CHAIR, SIT_CHAIR._replace(trunk=(30, 0, 0), arms=pair(ON_KNEE))), share=1.5
    ),
    "kneel": Kind((KNEEL, ON_HEELS, ONE_KNEE), share=2.0),
    "crouch": Kind((SQUAT, CROUCH, HALF_SQUAT), share=1.2),
    "squat": Kind((STAND, SQUAT), order="turn", tempo=(0.5, 1.2)),
    "lunge": Kind((LUNGE, SIDE_LUNGE, LUNGE), share=1.2),
    "crawl": Kind(
        (CRAWL_LEFT, ALL_FOURS), share=1.2, tempo=(0.4, 1.0), order="turn", alternates=True
    ),
    "bear": Kind((BEAR, DOG, PLANK), share=1.0),
    "push_up": Kind((PLANK, PUSHED_DOWN), order="turn", tempo=(0.4, 1.0)),
    "plank": Kind((ELBOW_PLANK, PLANK), tempo=SLOW, order="one", share=0.5),
    "lie_front": Kind((ON_BELLY, BELLY_STRETCHED, SPHINX), tempo=SLOW, order="one", share=1.5),
    "lie_back": Kind(
        (ON_BACK, BACK_SPREAD, BACK_BENT, LEGS_UP, BEHIND_HEAD),
        tempo=SLOW, order="one", share=2.0
    ),
    "lie_side": Kind((ON_SIDE, CURLED, SIDE_PROPPED), tempo=SLOW, order="one", share=1.5),
    "sit_up": Kind((BACK_BENT, SAT_UP), order="turn", tempo=(0.6, 1.2), share=0.6),
    "bridge": Kind((BRIDGE, BACK_BENT), order="turn", share=0.5),
    "balance": Kind((TREE, SCALE, CHAMBER, V_SIT, BACK_KICK), tempo=SLOW, order="one", share=1.2),
    "handstand": Kind((HANDSTAND, HANDSTAND_SPLIT), share=0.5),
    "shoulder_stand": Kind((SHOULDER_STAND,), share=0.3),
    "bend": Kind((BOW, TOE_TOUCH, ON_KNEES, BENT_BACK), share=2.0),
    "lean": Kind((LEAN_SIDE, TWISTED, STRADDLE), share=1.5),
    "kick": Kind((CHAMBER, FRONT_KICK, SIDE_KICK, BACK_KICK), tempo=QUICK, share=1.5),
    "run": Kind((STRIDE, FLIGHT), order="turn", alternates=True, tempo=(0.2, 0.35), share=1.0),
    "throw": Kind((WIND_UP, RELEASE, THROUGH), order="turn", tempo=(0.3, 0.7)),
    "swing": Kind((SWING_BACK, SWING_THROUGH), order="turn", tempo=(0.4, 0.8)),
    "box": Kind((GUARD, PUNCH, UPPERCUT), tempo=QUICK),
    "jump": Kind((CROUCH, STAR, LANDED, TUCK, HALF_SQUAT, SPLIT, LANDED, PIKE, HALF_SQUAT, ARCHED),
                 order="turn", tempo=(0.35, 0.6), share=1.5),
    "tumble": Kind((TUCK, PIKE, ARCHED), tempo=(0.4, 0.8), share=0.5, tumbles=True),
    "range": Kind((STAND, HALF_SQUAT, CHAMBER, STRADDLE, KNEEL), tempo=(0.8, 1.8), order="one",
                  any_joint=0.8, share=2.5),
}  # fmt: skip
"""The kinds of movement, by the names that become a moment's action."""

CHANGES = 0.5  # of the movements in any order, those with more than one posture
MOST_TILTED = 50  # degrees of the trunk between two postures that follow each other
SPIN = (40.0, 130.0)  # degrees that who tumbles turns from key to key
TUMBLING = (3.0, 1.0, 1.0)  # about these axes of the body rather than others: somersaults
TURNING = 12.0  # degrees, spread of the heading from key to key
LATER = 0.5  # of a posture's spread that differs from key pose to key pose
CALM = (1.0, 0.7, 0.4, 0.1)  # of a posture's spread, at each try
WORST = {"off": 0.035, "below": 0.03, "inside": 0.025}  # metres: a key pose beyond is drawn again
KEY_STEPS, SKIN_STEPS, FRAME_STEPS = 40, 12, 12  # of the solver
BLADE, BLADE_FROM = 0.3, np.radians(60)  # part of an arm's raise beyond, by the shoulder blade
LEAST_BENT = np.radians(1.0)  # a knee or an elbow is never quite straight
STAYS = 0.5  # of free limbs
GESTURED = 0.65  # of free arms do an everyday gesture, the others anything


def wide_motion(
    rng: np.random.Generator, *, seconds: float, fps: float, person: int | Shape = 0
) -> Motion:
    """A random movement of a random kind; the same generator state gives the same movement.

    Args:
        rng: Where all randomness comes from.
        seconds: How long it lasts.
        fps: Frames a second.
        person: For whom the contacts with the ground are right; about right for others.

    Returns:
        About `seconds * fps` frames, headed anywhere; `action` names the kind.
    """
    names = list(KINDS)
    shares = np.array([KINDS[name].share for name in names])
    return movement(str(rng.choice(names, p=shares / shares.sum())), rng, seconds, fps, person)


def movement(
    name: str, rng: np.random.Generator, seconds: float, fps: float, person: int | Shape = 0
) -> Motion:
    """A random movement of one of `KINDS`: as `wide_motion`."""
    figure = figure_of(all_bodies(), person)
    kind = KINDS[name]
    times = np.arange(round(seconds * fps)) / fps
    tempo = rng.uniform(*kind.tempo)
    keys = [-rng.uniform(0, tempo)]
    while keys[-1] <= times[-1] or len(keys) < 3:
        keys.append(keys[-1] + tempo * rng.uniform(0.75, 1.3))
    keys = np.array(keys)
    told = _sequence(kind, len(keys), rng)
    poses, contacts = _key_poses(person, figure, kind, told, rng)
    lift = np.array([rng.uniform(*posture.lift) for posture, _ in told])
    return _joined(name, figure, keys, poses, contacts, lift, times, fps)


def cleared(motion: Motion, person: int | Shape) -> Motion:
    """The same movement for somebody of another build: no limb is inside another part."""
    figure = figure_of(all_bodies(), person)
    frames = len(motion.rotations)
    wanted = Poses(motion.rotations, np.zeros((frames, 3)))
    made = solved(figure, wanted, _contacts(figure, [IN_THE_AIR] * frames), FRAME_STEPS)
    return motion._replace(rotations=made.rotations)


def _sequence(kind: Kind, n: int, rng: np.random.Generator) -> list[tuple[Posture, int]]:
    """The posture of each key pose, and the seed of what lasts from one to the next."""
    count = len(kind.postures)
    first = int(rng.integers(count))
    mirror, seed = rng.uniform() < 0.5, int(rng.integers(2**31))
    steps = [first] * n
    if kind.order == "turn":
        steps = [(first + key) % count for key in range(n)]
    elif kind.order == "any" and rng.uniform() < CHANGES:
        steps = [int(rng.choice([first, rng.integers(count)])) for _ in range(n)]
        steps = steps if _joinable(kind, steps) else [first] * n
    told = []
    for key, step in enumerate(steps):
        swapped = mirror ^ (kind.alternates and key // count % 2 == 1)
        told.append((_mirrored(kind.postures[step]) if swapped else kind.postures[step], seed))
    return told


def _joinable(kind: Kind, steps: list[int]) -> bool:
    """Whether the trunk is about as upright in all of these postures."""
    pitches = [kind.postures[step].pitch for step in steps]
    return max(pitches) - min(pitches) < MOST_TILTED


def _mirrored(posture: Posture) -> Posture:
    """Left and right swapped."""

    def other(name: str) -> str:
        if name.startswith("left_"):
            return "right_" + name.removeprefix("left_")
        return "left_" + name.removeprefix("right_") if name.startswith("right_") else name

    lean, bend, twist = posture.trunk
    nod, tilt, turn = posture.head
    return posture._replace(
        roll=-posture.roll,
        trunk=(lean, -bend, -twist),
        head=(nod, -tilt, -turn),
        legs=posture.legs[::-1],
        arms=posture.arms[::-1],
        ground=tuple(other(name) for name in posture.ground),
        touch=tuple((other(a), other(b)) for a, b in posture.touch),
    )


# ---------------------------------------------------------------------------------------------
# Key poses


def _key_poses(
    person: int | Shape,
    figure: Figure,
    kind: Kind,
    told: list[tuple[Posture, int]],
    rng: np.random.Generator,
) -> tuple[Poses, Contacts]:
    """Solved key poses and what they touch; those that came out badly are drawn again."""
    contacts = _contacts(figure, [posture for posture, _ in told])
    turning = rng.uniform(*SPIN, len(told)) if kind.tumbles else rng.normal(0, TURNING, len(told))
    heading = np.cumsum(turning) + rng.uniform(-180, 180)
    poses, worst = None, np.full(len(told), np.inf)
    for calm in CALM:
        again = np.flatnonzero(worst > 1.0)
        if not len(again):
            break
        rotations = np.stack([_wanted(kind, *told[key], rng, heading[key], calm) for key in again])
        start = Poses(rotations, _on_ground(figure, rotations))
        some = Contacts(*(array[again] for array in contacts))
        tried = solved(figure, start, some, KEY_STEPS)
        skin = resting_heights(all_bodies(), person, figure, tried, some.ground)
        some = some._replace(height=skin)
        tried = solved(figure, Poses(rotations, tried.root), some, SKIN_STEPS, tried)
        missed = faults(figure, tried, some)
        score = np.max([missed[name] / limit for name, limit in WORST.items()], 0)
        if poses is None:
            poses = tried
        better = score < worst[again]
        for old, new in zip(poses, tried, strict=True):
            old[again[better]] = new[better]
        contacts.height[again[better]] = skin[better]
        worst[again] = np.minimum(worst[again], score)
    return poses, contacts


def _contacts(figure: Figure, postures: list[Posture]) -> Contacts:
    index = {name: i for i, name in enumerate(figure.names)}
    shape = len(postures), len(figure.names)
    ground, touching = np.zeros(shape, bool), np.zeros((*shape, shape[1]), bool)
    for key, posture in enumerate(postures):
        ground[key, [index[ball] for part in posture.ground for ball in _balls(part)]] = True
        for one, other in posture.touch:
            touching[key, index[one], index[other]] = True
    return Contacts(
        ground,
        np.tile(figure.radius, (shape[0], 1)),
        np.full((*shape, 2), np.nan),
        touching,
        np.array([not posture.ground for posture in postures]),
        np.array([posture.balanced for posture in postures]),
    )


def _balls(part: str) -> list[str]:
    """The balls of a part of the body, of both sides or of one."""
    if part in MIDDLE:
        return [part]
    sides = [side for side in SIDES if part.startswith(side)] or list(SIDES)
    stem = part.removeprefix("left_").removeprefix("right_")
    return [f"{side}_{ball}" for side in sides for ball in PARTS[stem]]


def _wanted(
    kind: Kind,
    posture: Posture,
    seed: int,
    rng: np.random.Generator,
    heading: float,
    calm: float,
) -> np.ndarray:
    """(c, 3, 3) a pose near a posture, before anything is on the ground."""
    lasting = np.random.default_rng(seed)

    def near(*means: float, spread: float = calm) -> np.ndarray:
        varied = lasting.normal(size=len(means)) + LATER * rng.normal(size=len(means))
        return np.radians(np.array(means) + posture.spread * spread * varied)

    pitch, roll = near(posture.pitch, posture.roll, spread=0.6 * calm)
    turn = _vector(z=np.radians(heading)) @ _vector(y=-roll) @ _vector(x=pitch)
    if kind.tumbles:
        axis = lasting.normal(size=3) * TUMBLING
        start = Rotation.random(random_state=int(lasting.integers(2**31))).as_matrix()
        turn = start @ _vector(*(np.radians(heading) * axis / np.linalg.norm(axis)))
    angles = np.zeros((len(CONTROLS), 3))
    angles[[CONTROL["spine"], CONTROL["chest"]]] = near(*posture.trunk) / 2
    angles[[CONTROL["neck"], CONTROL["head"]]] = near(*posture.head) / 2
    for i, side in enumerate(SIDES):
        # A free limb stays about where it is, or goes elsewhere in each key pose.
        leg_from, arm_from = (lasting if lasting.uniform() < STAYS else rng for _ in range(2))
        leg = near(*_leg_told(side, kind, posture, i, leg_from))
        arm = near(*_arm_told(kind, posture.arms[i], arm_from))
        raised = BLADE * max(np.hypot(*arm[:2]) - BLADE_FROM, 0.0)
        told = {
            "upper_leg": leg[:3],
            "lower_leg": (max(leg[3], LEAST_BENT), 0.0, 0.0),
            "foot": (leg[4], 0.0, 0.0),
            "clavicle": (0.0, raised, 0.0),
            "upper_arm": arm[:3],
            "lower_arm": (max(arm[3], LEAST_BENT), 0.0, 0.0),
            "hand": (0.0, arm[4], 0.0),
        }
        for part, values in told.items():
            angles[CONTROL[f"{side}_{part}"]] = values
    rotations = rotations_of(angles[None])[0]
    rotations[0] = turn
    return rotations


def _leg_told(
    side: str, kind: Kind, posture: Posture, i: int, lasting: np.random.Generator
) -> tuple[float, ...]:
    """Degrees of a leg: those of the posture, or any within the limits if it is free."""
    stands = any(part.startswith(side) or not part.startswith(SIDES) for part in posture.ground)
    anything = lasting.uniform() < kind.any_joint
    ranges = [*LIMITS["upper_leg"].values(), LIMITS["lower_leg"]["bend"], LIMITS["foot"]["point"]]
    told = tuple(lasting.uniform(*np.array(ranges, float).T))
    return told if anything and not stands else posture.legs[i]


def _arm_told(kind: Kind, told: str | Arm, lasting: np.random.Generator) -> tuple[float, ...]:
    """Degrees of an arm: those of the posture, or if it is free of a gesture or any at all."""
    anything = lasting.uniform() < max(kind.any_joint, 1 - GESTURED)
    ranges = [*LIMITS["upper_arm"].values(), LIMITS["lower_arm"]["bend"], LIMITS["hand"]["bend"]]
    drawn = tuple(lasting.uniform(*np.array(ranges, float).T))
    gesture = str(lasting.choice(list(GESTURES)))
    if told == FREE:
        return drawn if anything else GESTURES[gesture]
    return GESTURES[told] if isinstance(told, str) else told


def _vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return Rotation.from_rotvec([x, y, z]).as_matrix()


def _on_ground(figure: Figure, rotations: np.ndarray) -> np.ndarray:
    """(f, 3) mid-hip over the origin, at which the lowest ball touches the ground."""
    root = np.zeros((len(rotations), 3))
    _, _, balls = joints_and_balls(figure, Poses(rotations, root))
    root[:, 2] = -(balls[..., 2] - figure.radius).min(1)
    return root


# ---------------------------------------------------------------------------------------------
# From key poses to frames


def _joined(
    name: str,
    figure: Figure,
    keys: np.ndarray,
    poses: Poses,
    contacts: Contacts,
    lift: np.ndarray,
    times: np.ndarray,
    fps: float,
) -> Motion:
    """All frames: smooth between the key poses, then solved for the contacts that last."""
    ground = contacts.ground & ~contacts.airborne[:, None]
    root = _standing_still(figure, poses, ground)
    places = joints_and_balls(figure, Poses(poses.rotations, root))[2][..., :2]
    before = np.clip(np.searchsorted(keys, times, side="right") - 1, 0, len(keys) - 2)
    lasts = ground[before] & ground[before + 1]
    place = PchipInterpolator(keys, places)(times)
    near = np.abs(times[:, None] - keys).argmin(1)
    wanted = Poses(_turning(keys, poses.rotations, times), PchipInterpolator(keys, root)(times))
    raised = PchipInterpolator(keys, lift)(times)
    frames = Contacts(
        lasts,
        PchipInterpolator(keys, contacts.height)(times),
        np.where(lasts[..., None], place, np.nan),
        contacts.touching[before] & contacts.touching[before + 1],
        contacts.airborne[before] | contacts.airborne[before + 1],
        contacts.balanced[near] & lasts.any(1),
    )
    made = solved(figure, wanted, frames, FRAME_STEPS)
    position = made.root[:, :2] - made.root[:, :2].mean(0)
    return Motion(name, fps, made.rotations, position * LEG / figure.leg, raised * LEG / figure.leg)


def _standing_still(figure: Figure, poses: Poses, ground: np.ndarray) -> np.ndarray:
    """(k, 3) roots shifted so that what stays on the ground stays where it is."""
    root = poses.root.copy()
    root[0, :2] = 0.0
    balls = joints_and_balls(figure, poses)[2] - poses.root[:, None]
    for key in range(1, len(root)):
        both = ground[key] & ground[key - 1]
        root[key, :2] = root[key - 1, :2]
        if both.any():
            shift = balls[key - 1, both, :2].mean(0) - balls[key, both, :2].mean(0)
            root[key, :2] += shift
    return root


def _turning(keys: np.ndarray, rotations: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(t, c, 3, 3) rotations between key poses: shape-preserving cubics of quaternions."""
    flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_quat()
    quaternions = flat.reshape(*rotations.shape[:2], 4)
    for key in range(1, len(keys)):
        turned = (quaternions[key] * quaternions[key - 1]).sum(-1) < 0
        quaternions[key, turned] *= -1
    smooth = PchipInterpolator(keys, quaternions)(times)
    matrices = Rotation.from_quat(smooth.reshape(-1, 4)).as_matrix()
    return limited(matrices.reshape(len(times), *rotations.shape[1:]))
