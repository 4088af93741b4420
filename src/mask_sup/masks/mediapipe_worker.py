"""Person masks by MediaPipe, as a process of its own: pictures come in, masks go out.

It runs in an environment that has mediapipe and numpy alone (see `learned.py`), so it imports
nothing of this package. Pictures come on standard input until it ends, each as height and width
(two unsigned 32-bit numbers, little-endian) and height * width * 3 bytes of RGB. Each is answered
on standard output with height * width bytes, the probability of the person times 255.
"""

import os
import struct
import sys
from io import BufferedIOBase
from typing import Any

import numpy as np

SIZE = struct.Struct("<II")  # height, width
COMPLEXITY = 1  # of the pose network: the one that the wheel brings (0 and 2 would be downloaded)


def serve(source: BufferedIOBase, sink: BufferedIOBase, network: Any) -> None:
    """Answer every picture of `source` with a mask in `sink`."""
    while len(head := source.read(SIZE.size)) == SIZE.size:
        height, width = SIZE.unpack(head)
        data = source.read(height * width * 3)
        if len(data) < height * width * 3:
            return  # the other side was stopped in the middle
        picture = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        found = network.process(picture).segmentation_mask
        found = np.zeros((height, width)) if found is None else found  # None: nobody is seen
        sink.write(np.rint(np.clip(found, 0, 1) * 255).astype(np.uint8).tobytes())
        sink.flush()


def main() -> None:
    """Serve standard input and output with the network that MediaPipe's package brings."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what others print must not get between the masks
    from mediapipe.python.solutions.pose import Pose

    network = Pose(static_image_mode=True, model_complexity=COMPLEXITY, enable_segmentation=True)
    serve(sys.stdin.buffer, sink, network)


if __name__ == "__main__":
    main()
