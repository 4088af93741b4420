"""TikTok_dataset as it is downloaded, made of embedded bodies; the ends of a dance are empty."""

import cv2
import numpy as np
from release_bodies import film, looking, middle, walk

SIZE = (180, 320)  # width and height: phones stand upright
ENDS = 20  # pictures before and after those with a body
DANCE = 4


def filmed(subject):
    """Pictures and masks of the middle of a dance."""
    person = int(subject)
    vertices, _ = walk(person, DANCE)
    at = middle(person, DANCE)
    K = np.array([[500.0, 0, 90], [0, 500, 160], [0, 0, 1]])
    camera = K, *looking(at + [200, -3900, 100], at)
    return [film(person, frame, *camera, SIZE) for frame in vertices]


def make(root, subjects):
    """Dances of 44 pictures, numbered from 1."""
    empty = np.full((*SIZE[::-1], 3), 140, np.uint8), np.zeros(SIZE[::-1], np.uint8)
    for subject in subjects:
        home = root / "TikTok_dataset" / subject
        for kind in ("images", "masks", "densepose"):
            (home / kind).mkdir(parents=True)
        pictures = [*[empty] * ENDS, *filmed(subject), *[empty] * ENDS]
        for number, (picture, mask) in enumerate(pictures, start=1):
            cv2.imwrite(str(home / "images" / f"{number:04d}.png"), picture[..., ::-1])
            cv2.imwrite(str(home / "masks" / f"{number:04d}.png"), np.dstack([mask] * 3))
    return root
