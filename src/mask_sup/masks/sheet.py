"""Flagged masks as one web page that needs no other file."""

import base64
import contextlib
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mask_sup.files.disk import write_file
from mask_sup.files.masks import read_mask
from mask_sup.masks.footage import Footage, shrink

__all__ = ["write_sheet"]

SIZE = 220  # pixels, longer side of a thumbnail
STYLE = (
    "body{font:14px sans-serif;background:#222;color:#eee;margin:2em}"
    "figure{display:inline-block;margin:4px;vertical-align:top;width:220px}"
    "figcaption{font-size:12px;color:#fb7}img{max-width:100%}"
)


def write_sheet(
    path: Path,
    masks: Mapping[str, Mapping[int, Path]],
    flags: Mapping[str, Mapping[int, Sequence[str]]],
    footage: Mapping[str, Footage],
    numbers: Mapping[str, Sequence[int]],
    most: int,
) -> None:
    """Write the page.

    Args:
        path: The .html file.
        masks: Files per camera and frame.
        flags: Kinds of faults per camera and frame.
        footage: Pictures per camera to draw the masks on; cameras without show the mask alone.
        numbers: Numbers of all frames per camera.
        most: Frames per camera; if more are flagged, they are spread over all of those.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>masks to look at</title>",
        f"<style>{STYLE}</style><h1>Masks to look at</h1>",
    ]
    for camera, faults in flags.items():
        shown = _spread(sorted(faults), most)
        parts.append(f"<h2>{html.escape(camera)}: {len(faults)} of {len(numbers[camera])} frames")
        parts.append(f"</h2><p>{len(shown)} of them:</p>" if shown else "</h2><p>none</p>")
        for i, picture in _pictures(shown, footage.get(camera)):
            parts.append(_figure(i, _thumbnail(masks[camera].get(i), picture), faults[i]))
    write_file(path, "\n".join([*parts, "</html>\n"]))


def _spread(frames: Sequence[int], most: int) -> list[int]:
    if len(frames) <= most:
        return list(frames)
    return [frames[k] for k in np.linspace(0, len(frames) - 1, most).round().astype(int)]


def _pictures(
    shown: Sequence[int], footage: Footage | None
) -> Iterator[tuple[int, np.ndarray | None]]:
    if footage is None or not shown:
        yield from ((i, None) for i in shown)
        return
    wanted = set(shown)
    for i, frame in zip(footage.numbers(), footage.frames(), strict=False):
        if i in wanted:
            yield i, frame
        if i == shown[-1]:
            return


def _thumbnail(mask: Path | None, picture: np.ndarray | None) -> np.ndarray:
    """The mask's outline and colour on the picture, or the mask; BGR."""
    grey = None
    with contextlib.suppress(ValueError):  # flagged as unreadable
        grey = read_mask(mask, may_be_empty=True) if mask else None
    if picture is None:
        grey = np.zeros((SIZE, SIZE), np.uint8) if grey is None else grey
        return cv2.cvtColor(shrink(grey, SIZE), cv2.COLOR_GRAY2BGR)
    small = cv2.cvtColor(shrink(picture, SIZE), cv2.COLOR_RGB2BGR)
    if grey is None:
        return small
    inside = cv2.resize(grey, small.shape[1::-1], interpolation=cv2.INTER_AREA) > 127
    small[inside] = small[inside] // 2 + np.array([60, 110, 0], np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(small, outlines, -1, (80, 255, 160), 1)


def _figure(number: int, picture: np.ndarray, kinds: Sequence[str]) -> str:
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    data = base64.b64encode(jpeg).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="frame {number}">'
        f"<figcaption>{number}: {', '.join(kinds)}</figcaption></figure>"
    )
