"""Networks that others have trained: with weights that you have, or that their package brings.

Nothing is downloaded unless asked for. None of these networks has seen a pose of yours.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mask_sup.masks.extractor import Choose, Extractor
from mask_sup.masks.graph_cut import Seeded
from mask_sup.masks.worker import Worker, environment

__all__ = ["MediaPipe", "Rembg", "Sam"]

IMAGE_MEAN = np.float32([123.675, 116.28, 103.53])
IMAGE_DEVIATION = np.float32([58.395, 57.12, 57.375])
MEDIAPIPE = ("mediapipe==0.10.21", "numpy<2")  # what pip installs
MEDIAPIPE_PYTHON = (3, 12)  # the last that it is there for
MEDIAPIPE_WORKER = Path(__file__).with_name("mediapipe_worker.py")


def optional(module: str, extra: str) -> Any:
    """An optional package.

    Raises:
        ModuleNotFoundError: If it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this extractor needs {module}: pip install 'mask-sup[{extra}]'"
        ) from error


def weights_at(path: str | Path, what: str) -> Path:
    """Where weights of yours are.

    Raises:
        FileNotFoundError: If nothing is there.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise FileNotFoundError(f"no weights at {found}: expected {what}")
    return found


class Sam(Seeded):
    """Segment Anything, version 1 or 2, asked for what is in the box of the seed's person.

    Args:
        seed: The extractor that gives box and points.
        weights: Folder with `config.json` and `model.safetensors`, as transformers saves them.
        points: Number of points inside the seed that are given along with the box.
        device: Where the network runs.
    """

    def __init__(self, seed: Extractor, weights: str, points: int, device: str):
        super().__init__(seed)
        transformers = optional("transformers", "sam")
        folder = str(weights_at(weights, "a folder with config.json and model.safetensors"))
        kind = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        classes = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
        if kind not in classes:
            raise ValueError(f"{weights} holds a model of kind {kind!r}: expected sam or sam2")
        model = getattr(transformers, classes[kind])
        self.model = model.from_pretrained(folder, local_files_only=True).to(device).eval()
        self.keeps_shape, self.points, self.device = kind == "sam", points, device

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """The best of the network's masks; the seed's where nobody is in it."""
        import torch

        guess = choose(self.seed.foreground(frame, index, choose))
        if not guess.any():
            return guess
        side = self.model.config.prompt_encoder_config.image_size
        pixels, scale = _square(frame, side, self.keeps_shape)
        prompts = {
            "input_boxes": torch.tensor(_corners(guess) * np.tile(scale, 2))[None, None],
            "input_points": torch.tensor(inner_points(guess, self.points) * scale)[None, None],
        }
        prompts = {name: value.float().to(self.device) for name, value in prompts.items()}
        count = prompts["input_points"].shape[2]
        prompts["input_labels"] = torch.ones(1, 1, count, dtype=torch.long, device=self.device)
        with torch.inference_mode():
            told = self.model(
                pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device),
                **prompts,
            )
        best = int(told.iou_scores[0, 0].argmax())
        logits = told.pred_masks[0, 0, best].float().cpu().numpy()
        return _back(logits, side, frame.shape[:2], scale) > 0


def _square(
    frame: np.ndarray, side: int, keeps_shape: bool
) -> tuple[Float32[np.ndarray, "s s 3"], np.ndarray]:
    """The network's input, and how much wider and higher it is than the frame."""
    height, width = frame.shape[:2]
    scale = np.array([side / width, side / height])
    if keeps_shape:  # version 1 pads, version 2 stretches
        scale[:] = scale.min()
    size = np.maximum(1, np.round([width * scale[0], height * scale[1]])).astype(int)
    small = cv2.resize(frame, size.tolist(), interpolation=cv2.INTER_AREA).astype(np.float32)
    pixels = np.zeros((side, side, 3), np.float32)
    pixels[: size[1], : size[0]] = (small - IMAGE_MEAN) / IMAGE_DEVIATION
    return pixels, scale


def _back(logits: np.ndarray, side: int, shape: tuple[int, ...], scale: np.ndarray) -> np.ndarray:
    whole = cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)
    height, width = (max(1, round(n * s)) for n, s in zip(shape, scale[::-1], strict=True))
    return cv2.resize(whole[:height, :width], shape[::-1], interpolation=cv2.INTER_LINEAR)


def _corners(mask: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([left, top, left + width, top + height], float)


def inner_points(mask: Bool[np.ndarray, "h w"], count: int) -> Float32[np.ndarray, "n 2"]:
    """Up to `count` pixels (x, y) deep inside a mask and apart from each other."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.indices(mask.shape)
    found = []
    for _ in range(count):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[y, x] <= 0:
            break
        found.append((x + 0.5, y + 0.5))
        depth = np.minimum(depth, np.hypot(columns - x, rows - y) - 2 * depth[y, x])
    return np.array(found, np.float32).reshape(-1, 2)


class Cropped(Seeded):
    """A network for portraits, shown the surroundings of the seed's person.

    Args:
        seed: The extractor that says where to look.
        padding: Side of the crop over that of the person's box.
        threshold: Foreground is above this probability.
    """

    def __init__(self, seed: Extractor, padding: float, threshold: float):
        super().__init__(seed)
        self.padding, self.threshold = padding, threshold
        self.probability: Callable[[np.ndarray], np.ndarray]

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """The network's foreground around the seed's person, or of the frame if nobody is seen."""
        guess = choose(self.seed.foreground(frame, index, choose))
        height, width = guess.shape
        left, top, right, bottom = _corners(guess) if guess.any() else (0, 0, width, height)
        half = self.padding * max(right - left, bottom - top) / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        rows = slice(max(0, int(y - half)), min(height, int(np.ceil(y + half))))
        columns = slice(max(0, int(x - half)), min(width, int(np.ceil(x + half))))
        found = np.zeros(guess.shape, bool)
        crop = np.ascontiguousarray(frame[rows, columns])
        found[rows, columns] = self.probability(crop) > self.threshold
        return found


class Rembg(Cropped):
    """Networks in ONNX form, run by rembg.

    Args:
        seed: The extractor that says where to look.
        weights: An .onnx file.
        kind: rembg's name of how such a file is run: u2net_custom, dis_custom, ben_custom.
        padding: Side of the crop over that of the person's box.
        threshold: Foreground is above this probability.
    """

    def __init__(self, seed: Extractor, weights: str, kind: str, padding: float, threshold: float):
        super().__init__(seed, padding, threshold)
        rembg = optional("rembg", "rembg")
        path = weights_at(weights, "an .onnx file").resolve()
        os.environ["U2NET_HOME"] = str(path.parent)  # rembg takes weights from its own folder alone
        session = rembg.new_session(kind, model_path=str(path))

        def probability(picture: np.ndarray) -> np.ndarray:
            return np.asarray(rembg.remove(picture, session=session, only_mask=True)) / 255

        self.probability = probability


class MediaPipe(Extractor):
    """The mask of MediaPipe's pose network, which finds the person in the whole picture by itself.

    Its weights come in its package, which needs an older numpy: it runs in an environment and a
    process of its own. Of what the network finds the mask alone is kept.

    Args:
        threshold: Foreground is above this probability.
        install: Whether to make the environment if it is not there.
        folder: Of that environment.
    """

    watches = False

    def __init__(self, threshold: float, install: bool, folder: str | Path):
        python = environment(
            "mediapipe", MEDIAPIPE, MEDIAPIPE_PYTHON, Path(folder).expanduser(), install
        )
        self.threshold = threshold
        self.worker = Worker([python, "-I", str(MEDIAPIPE_WORKER)])

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """The person that the network finds in this frame; empty where it finds nobody."""
        return self.worker.mask(frame) > self.threshold * 255
