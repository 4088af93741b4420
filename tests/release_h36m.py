"""Human3.6M as it is downloaded, made of embedded bodies before the data set's true cameras.

Real mp4, cdf, HDF5 v7.3 and xml in the official layout; a green dot marks the pelvis in every
picture, so that what a reader makes of labels and cameras can be compared with what was painted.
"""

from functools import cache
from xml.sax.saxutils import escape

import cdflib
import cdflib.cdfwrite
import cv2
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from mask_sup.files.video import VideoWriter
from mask_sup.prepare.human36m import JOINTS
from mask_sup.synthetic.bodies import all_bodies
from mask_sup.synthetic.data import posed
from mask_sup.synthetic.motion import procedural_motion

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
SIZES = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))
# fx fy cx cy k1 k2 k3 p1 p2, as in the release.
LENSES = np.array(
    [
        [1145.0494, 1143.7811, 512.5415, 515.4515, -0.2070989, 0.2477752, -0.0030752, -0.0009757,
         -0.0014245],
        [1149.6757, 1147.5917, 508.8486, 508.0649, -0.1942136, 0.2404085, 0.0068200, -0.0016190,
         -0.0027409],
        [1149.1407, 1148.7990, 519.8159, 501.4026, -0.2083382, 0.2554880, -0.0024605, 0.0014844,
         -0.0007600],
        [1145.5114, 1144.7739, 514.9682, 501.8820, -0.1983841, 0.2183237, -0.0089478, -0.0005872,
         -0.0018134],
    ]
)  # fmt: skip
# Of S1: camera axes in the world as quaternions w x y z, and centres in mm.
TURNS = np.array(
    [
        [0.1407056, -0.1500702, -0.7552408, 0.6223280],
        [0.6157188, -0.7648363, -0.1483383, 0.1179474],
        [0.1465147, -0.1464785, 0.7653024, -0.6094176],
        [0.5834008, -0.7853162, 0.1454882, -0.1474959],
    ]
)
CENTRES = np.array(
    [
        [1841.107, 4955.285, 1563.445],
        [1761.279, -5078.007, 1606.265],
        [-1846.778, 5215.046, 1491.972],
        [-1794.790, -3722.699, 1574.893],
    ]
)
ROTATIONS = Rotation.from_quat(TURNS, scalar_first=True).inv().as_matrix()
SUBJECTS = [f"S{i}" for i in range(1, 12)]
PREFIXES = {  # (action, sub-action): file prefix of each subject
    (1, 1): "_ALL 1",
    (2, 1): "Directions 1",
    (2, 2): "Directions",
    (14, 1): "Walking 1",
    (14, 2): "Walking",
}
FRAMES = 12


def intrinsics(view):
    fx, fy, cx, cy = LENSES[view][:4]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def lens_of(view):
    k1, k2, k3, p1, p2 = LENSES[view][4:]
    return np.array([k1, k2, p1, p2, k3])


def pixels(points, view, distorted=True):
    """Where OpenCV projects world points (mm)."""
    R, lens = ROTATIONS[view], lens_of(view) * distorted
    rvec, t = cv2.Rodrigues(R)[0], -R @ CENTRES[view]
    return cv2.projectPoints(points.reshape(-1, 3), rvec, t, intrinsics(view), lens)[0][:, 0]


@cache
def people(subject, count=FRAMES):
    """Vertices and joints (mm) of a walk, one person for each subject."""
    number = int(subject[1:])
    motion = procedural_motion("walking", np.random.default_rng(number), 2.0, 25.0)
    found = [posed(number % 8, motion, 3 * i, np.array([0.1, 0.2])) for i in range(count)]
    return [1000 * v for v, _ in found], np.stack([1000 * j for _, j in found])


def silhouette(vertices, view, distorted=True):
    """The mask of a body in a camera, 0 and 255."""
    width, height = SIZES[view]
    mask = np.zeros((height, width), np.uint8)
    points = np.rint((pixels(vertices, view, distorted) - 0.5) * 16).astype(np.int32)
    for triangle in points[all_bodies().faces]:
        cv2.fillConvexPoly(mask, triangle, 255, cv2.LINE_8, 4)
    return mask


def picture(vertices, joints, view):
    """A person in blue before grey, a green dot at the pelvis."""
    mask = silhouette(vertices, view)
    image = np.full((*mask.shape, 3), 120, np.uint8)
    image[mask > 0] = (60, 60, 200)
    centre = np.rint((pixels(joints[0], view)[0] - 0.5) * 16).astype(int)
    cv2.circle(image, centre.tolist(), 10 * 16, (0, 255, 0), -1, cv2.LINE_AA, 4)
    return image


def joints32(joints):
    """The release's 32 joints, mm; those that human18 has no name for are 0."""
    all_of_them = np.zeros((len(joints), 32, 3))
    all_of_them[:, JOINTS] = joints[:, :17]
    return all_of_them


def write_metadata(path):
    """metadata.xml with the true lenses, and S1's cameras for everybody."""
    w0 = np.zeros(300)
    for view in range(4):
        angles = Rotation.from_matrix(ROTATIONS[view]).as_euler("XYZ")
        for subject in range(11):
            w0[6 * (11 * view + subject) :][:6] = [*angles, *CENTRES[view]]
        w0[264 + 9 * view :][:9] = LENSES[view]
    cells = [["action", "subaction", *SUBJECTS]]
    for (action, sub), prefix in PREFIXES.items():
        cells.append([str(action), str(sub), *([prefix] * 11)])
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells
    )
    ids = "".join(f"<item>{camera}</item>" for camera in CAMERAS)
    numbers = " ".join(f"{value:.10g}" for value in w0)
    path.write_text(
        f"<db><mapping>{rows}</mapping><dbcameras><index2id>{ids}</index2id></dbcameras>"
        f"<w0>[{numbers}]</w0></db>"
    )


def write_cdf(path, joints):
    """D3_Positions: one variable Pose of (1, frames, 96)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cdflib.cdfwrite.CDF(str(path), delete=True)
    flat = joints32(joints).reshape(1, len(joints), 96)
    about = {
        "Variable": "Pose",
        "Data_Type": 45,  # CDF_DOUBLE
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(flat.shape[1:]),
    }
    file.write_var(about, var_data=flat)
    file.close()


def write_masks(path, masks):
    """ground_truth_bs: a cell array of references to transposed pictures of 0 and 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        cells = file.create_dataset("Masks", (len(masks), 1), h5py.ref_dtype)
        for i, mask in enumerate(masks):
            piece = file.create_dataset(f"#refs#/{i}", data=(mask.T > 0).astype(np.uint8))
            cells[i, 0] = piece.ref


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 50.0) as video:
        for frame in frames:
            video.write(frame)


def make(root, sequences=(("S1", "Walking 1"), ("S9", "Walking 1")), masks="mat"):
    """The official layout of some sequences."""
    root.mkdir(parents=True, exist_ok=True)
    write_metadata(root / "metadata.xml")
    for subject, prefix in sequences:
        home = root / subject
        vertices, joints = people(subject)
        write_cdf(home / "MyPoseFeatures" / "D3_Positions" / f"{prefix}.cdf", joints)
        for view, camera in enumerate(CAMERAS):
            name = f"{prefix}.{camera}"
            bodies = zip(vertices, joints, strict=True)
            write_video(home / "Videos" / f"{name}.mp4", [picture(v, j, view) for v, j in bodies])
            found = [silhouette(v, view) for v in vertices]
            folder = home / "MySegmentsMat" / "ground_truth_bs"
            if masks == "mat":
                write_masks(folder / f"{name}.mat", found)
            else:
                write_video(folder / f"{name}.mp4", [np.dstack([m, m, m]) for m in found])
    return root
