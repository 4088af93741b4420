"""Calibration files in the layout of each format, made without the package's own writers."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

SIZES = [(1280, 720), (1920, 1080), (640, 480), (1080, 1920)]
LENSES = np.array(
    [
        [-0.21, 0.09, 0.001, -0.002, -0.01],
        [0.05, -0.02, -0.0004, 0.0007, 0.003],
        [-0.3, 0.12, 0.0, 0.0, 0.0],
        [0.01, 0.0, 0.002, 0.001, 0.02],
    ]
)


@dataclass
class Rig:
    """Cameras as arrays; t in mm."""

    names: list
    K: np.ndarray
    R: np.ndarray
    t: np.ndarray
    distortion: np.ndarray
    sizes: np.ndarray

    @property
    def centres(self):
        return np.stack([-R.T @ t for R, t in zip(self.R, self.t, strict=True)])


def rig(seed=0, names=("cam01", "cam02", "cam03", "cam04"), distorted=True):
    """Four cameras 4 m around the origin that look at it, a little rolled."""
    rng = np.random.default_rng(seed)
    count = len(names)
    R, t, K = [], [], []
    for i in range(count):
        angle = 0.4 + 1.5 * i
        centre = np.array([4000 * np.cos(angle), 4000 * np.sin(angle), 1500 + 100.0 * i])
        forward = np.array([0, 0, 900]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        looking = np.stack([right, np.cross(forward, right), forward])
        turned = Rotation.from_rotvec(rng.uniform(-0.2, 0.2, 3)).as_matrix() @ looking
        width, height = SIZES[i]
        K.append(
            [
                [900 + 100 * rng.random(), 0, width * (0.48 + 0.04 * rng.random())],
                [0, 900 + 100 * rng.random(), height * (0.48 + 0.04 * rng.random())],
                [0, 0, 1],
            ]
        )
        R.append(turned)
        t.append(-turned @ centre)
    lenses = LENSES[:count] * distorted
    sizes = np.array(SIZES[:count], float)
    return Rig(list(names), np.array(K), np.array(R), np.array(t), lenses, sizes)


def points(seed=1, count=40):
    """World points in mm about where the cameras look."""
    return np.random.default_rng(seed).uniform([-800, -800, 0], [800, 800, 1800], (count, 3))


def expected_px(rig, index, x_world):
    """Pixels by OpenCV."""
    rvec = cv2.Rodrigues(rig.R[index])[0]
    parts = rig.t[index], rig.K[index], rig.distortion[index]
    return cv2.projectPoints(x_world, rvec, *parts)[0][:, 0]


# ---- files ---------------------------------------------------------------------------------------


def write_cameras_json(folder, rig, unit="mm"):
    scale = {"mm": 1, "m": 1000}[unit]
    cameras = {
        name: {
            "K": rig.K[i].tolist(),
            "R": rig.R[i].tolist(),
            "t": (rig.t[i] / scale).tolist(),
            "dist": rig.distortion[i].tolist(),
            "size": rig.sizes[i].tolist(),
        }
        for i, name in enumerate(rig.names)
    }
    path = folder / "cameras.json"
    path.write_text(json.dumps({"unit": unit, "cameras": cameras}))
    return path


def write_storages(folder, rig, suffix=".yml", vector=False):
    """One file per camera, by OpenCV itself."""
    for i, name in enumerate(rig.names):
        storage = cv2.FileStorage(str(folder / f"{name}{suffix}"), cv2.FILE_STORAGE_WRITE)
        storage.write("calibration_time", "Thu 01 Jan 2026 10:00:00")
        storage.write("image_width", int(rig.sizes[i, 0]))
        storage.write("image_height", int(rig.sizes[i, 1]))
        storage.write("camera_matrix", rig.K[i])
        storage.write("distortion_coefficients", rig.distortion[i][:, None])
        if vector:
            storage.write("rvec", cv2.Rodrigues(rig.R[i])[0])
            storage.write("tvec", rig.t[i][:, None])
        else:
            storage.write("R", rig.R[i])
            storage.write("T", rig.t[i][:, None])
        storage.release()
    return folder


def write_storage_nodes(folder, rig, suffix=".yml"):
    """One file with a node per camera, by OpenCV itself."""
    path = folder / f"rig{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for i, name in enumerate(rig.names):
        storage.startWriteStruct(name, cv2.FileNode_MAP)
        storage.write("K", rig.K[i])
        storage.write("D", rig.distortion[i][None])
        storage.write("R", rig.R[i])
        storage.write("t", rig.t[i])
        storage.endWriteStruct()
    storage.release()
    return path


def _list(values):
    return "[ " + ", ".join(repr(float(v)) for v in np.ravel(values)) + ",]"


def _rows(values):
    return "[ " + ", ".join(_list(row) for row in values) + ",]"


def write_anipose(folder, rig):
    text = ""
    for i, name in enumerate(rig.names):
        text += (
            f'[cam_{i}]\nname = "{name}"\n'
            f"size = [ {int(rig.sizes[i, 0])}, {int(rig.sizes[i, 1])},]\n"
            f"matrix = {_rows(rig.K[i])}\ndistortions = {_list(rig.distortion[i])}\n"
            f"rotation = {_list(cv2.Rodrigues(rig.R[i])[0])}\ntranslation = {_list(rig.t[i])}\n\n"
        )
    path = folder / "calibration.toml"
    path.write_text(text + "[metadata]\nadjusted = false\nerror = 0.26297020272610133\n")
    return path


def write_caliscope(folder, rig, newer=True):
    """Metres; rotations as matrices; newer files number their tables, older ones name them."""
    text = "" if newer else "CreationDate = 2023-03-31T09:56:43.193358\n\n"
    for i in range(len(rig.names)):
        text += (f"[cameras.{i}]\ncam_id = {i}\n") if newer else (f"[cam_{i}]\nport = {i}\n")
        text += (
            "rotation_count = 0\nerror = 0.19\nexposure = -7.0\ngrid_count = 24\nignore = false\n"
            f"size = [{int(rig.sizes[i, 0])}, {int(rig.sizes[i, 1])}]\nmatrix = {_rows(rig.K[i])}\n"
            f"distortions = {_list(rig.distortion[i])}\ntranslation = {_list(rig.t[i] / 1000)}\n"
            f"rotation = {_rows(rig.R[i])}\nverified_resolutions = [[640, 480], [1280, 720]]\n\n"
        )
    path = folder / "camera_array.toml"
    path.write_text(text + "[charuco]\ncolumns = 4\nrows = 5\n")
    return path


def _node(name, value):
    value = np.atleast_2d(value)
    numbers = ", ".join(repr(float(v)) for v in value.ravel())
    return (
        f"{name}: !!opencv-matrix\r\n  rows: {value.shape[0]}\r\n  cols: {value.shape[1]}\r\n"
        f"  dt: d\r\n  data: [{numbers}]\r\n"
    )


def write_easymocap(folder, rig, sizes=True):
    """Metres, with the line ends that EasyMocap writes."""
    start = "%YAML:1.0\r\n---\r\nnames:\r\n" + "".join(f'  - "{n}"\r\n' for n in rig.names)
    intri, extri = start, start
    for i, name in enumerate(rig.names):
        intri += _node(f"K_{name}", rig.K[i]) + _node(f"dist_{name}", rig.distortion[i])
        if sizes:
            intri += f"H_{name}: {int(rig.sizes[i, 1])}\r\nW_{name}: {int(rig.sizes[i, 0])}\r\n"
        extri += _node(f"R_{name}", cv2.Rodrigues(rig.R[i])[0]) + _node(f"Rot_{name}", rig.R[i])
        extri += _node(f"T_{name}", rig.t[i][:, None] / 1000)
    (folder / "intri.yml").write_bytes(intri.encode())
    (folder / "extri.yml").write_bytes(extri.encode())
    return folder


def write_qualisys(folder, rig):
    """1/64 pixels of a sensor whose picture starts at (16, 8); y up, z backwards."""
    text = "<?xml version='1.0' encoding='ASCII'?>\n<calibration qtm-version=\"none\">\n<cameras>\n"
    text += '<camera active="1" model="Oqus 700" serial="marker"><fov_video left="0"/></camera>\n'
    for i, name in enumerate(rig.names):
        r, c = np.diag([1, -1, -1]) @ rig.R[i], rig.centres[i]
        numbers = {f"r{a + 1}{b + 1}": r[a, b] for a in range(3) for b in range(3)}
        numbers |= dict(zip("xyz", c, strict=True))
        (fx, _, cx), (_, fy, cy), _ = rig.K[i]
        k1, k2, p1, p2, k3 = rig.distortion[i]
        intrinsic = {
            "focalLengthU": fx * 64,
            "focalLengthV": fy * 64,
            "centerPointU": (cx + 16) * 64,
            "centerPointV": (cy + 8) * 64,
            "radialDistortion1": k1,
            "radialDistortion2": k2,
            "radialDistortion3": k3,
            "tangentalDistortion1": p1,
            "tangentalDistortion2": p2,
            "skew": 0,
        }
        width, height = rig.sizes[i].astype(int)
        text += (
            f'<camera active="1" avg-residual="0.4" model="Miqus Video" serial="{name}">\n'
            f'<fov_video bottom="{height + 7}" left="16" right="{width + 15}" top="8"/>\n'
            f"<transform {_attributes(numbers)}/>\n<intrinsic {_attributes(intrinsic)}/>\n"
            "</camera>\n"
        )
    path = folder / "Calib.qca.txt"
    path.write_text(text + "</cameras>\n</calibration>\n")
    return path


def _attributes(numbers):
    return " ".join(f'{key}="{float(value)!r}"' for key, value in numbers.items())


H36M = ("54138969", "55011271", "58860488", "60457274")
H36M_ANGLES = np.array(
    [[-1.38, -3.17, 0.41], [-1.36, 3.14, 2.76], [-1.35, -3.1, -0.4], [-1.3, -3.2, -2.7]]
)
H36M_CENTRES = np.array(
    [[1841, 4955, 1563], [1761, -5078, 1606], [-1846, 5215, 1491], [-1794, -3722, 1574]]
)


def h36m_rig():
    """Four digits of the cameras of S1."""
    made = rig(names=H36M)
    made.R = Rotation.from_euler("XYZ", H36M_ANGLES).as_matrix()
    made.t = -np.einsum("vij,vj->vi", made.R, H36M_CENTRES)
    made.sizes = np.array([[1000, 1002], [1000, 1000], [1000, 1000], [1000, 1002]], float)
    made.K[:, :2, 2] = 510
    return made


def write_human36m(folder, rig, subject=5):
    numbers = np.full(300, 0.5)
    for camera in range(4):
        start = 6 * (camera * 11 + subject - 1)
        numbers[start : start + 3] = H36M_ANGLES[camera]
        numbers[start + 3 : start + 6] = rig.centres[camera]
        k1, k2, p1, p2, k3 = rig.distortion[camera]
        (fx, _, cx), (_, fy, cy), _ = rig.K[camera]
        numbers[264 + 9 * camera :][:9] = fx, fy, cx, cy, k1, k2, k3, p1, p2
    told = " ".join(repr(float(number)) for number in numbers)
    path = folder / "metadata.xml"
    path.write_text(
        '<?xml version="1.0"?>\n<metadata><mapping><tr><td/></tr></mapping><dbcameras><index2id>'
        f"<id>54138969</id></index2id></dbcameras><w0>[{told}]</w0></metadata>"
    )
    return path


def write_mpi(folder, rig):
    text = "Skeletool Camera Calibration File V1.0\n"
    for i, name in enumerate(rig.names):
        intrinsic, extrinsic = np.eye(4), np.eye(4)
        intrinsic[:3, :3] = rig.K[i]
        extrinsic[:3, :3], extrinsic[:3, 3] = rig.R[i], rig.t[i]
        text += (
            f"name          {name}\n  sensor      10 10\n"
            f"  size        {int(rig.sizes[i, 0])} {int(rig.sizes[i, 1])}\n  animated    0\n"
            f"  intrinsic   {' '.join(repr(float(v)) for v in intrinsic.ravel())} \n"
            f"  extrinsic   {' '.join(repr(float(v)) for v in extrinsic.ravel())} \n"
            "  radial      0\n"
        )
    path = folder / "camera.calibration"
    path.write_text(text)
    return path


def write_panoptic(folder, rig):
    cameras = [
        {
            "name": name,
            "type": "hd",
            "resolution": rig.sizes[i].astype(int).tolist(),
            "panel": 0,
            "node": i,
            "K": rig.K[i].tolist(),
            "distCoef": rig.distortion[i].tolist(),
            "R": rig.R[i].tolist(),
            "t": (rig.t[i][:, None] / 10).tolist(),
        }
        for i, name in enumerate(rig.names)
    ]
    path = folder / "calibration_171204_pose1.json"
    path.write_text(json.dumps({"calibDataSource": "171204_calib_norm", "cameras": cameras}))
    return path


COLMAP_LENSES = np.array([[0, 0, 0, 0, 0], [-0.1, 0, 0, 0, 0], [0.1, -0.02, 0, 0, 0], LENSES[3]])


def colmap_rig():
    """What PINHOLE, SIMPLE_RADIAL, RADIAL and FULL_OPENCV can say."""
    made = rig()
    made.distortion = COLMAP_LENSES
    made.K[1:3, 1, 1] = made.K[1:3, 0, 0]
    return made


def write_colmap(folder, rig):
    """Metres; cameras numbered from 7 down; pictures in folders; one picture has no points."""
    models = []
    for i in range(4):
        (fx, _, cx), (_, fy, cy), _ = rig.K[i]
        k1, k2, p1, p2, k3 = rig.distortion[i]
        models.append(
            {
                0: ("PINHOLE", (fx, fy, cx, cy)),
                1: ("SIMPLE_RADIAL", (fx, cx, cy, k1)),
                2: ("RADIAL", (fx, cx, cy, k1, k2)),
                3: ("FULL_OPENCV", (fx, fy, cx, cy, k1, k2, p1, p2, k3, 0, 0, 0)),
            }[i]
        )
    cameras = "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, ...\n"
    images = "# Image list with two lines of data per image:\n#   IMAGE_ID, QW, QX, QY, QZ, ...\n"
    for i, (model, parameters) in enumerate(models):
        size = " ".join(str(int(side)) for side in rig.sizes[i])
        cameras += f"{7 - i} {model} {size} {' '.join(repr(float(p)) for p in parameters)}\n"
        x, y, z, w = Rotation.from_matrix(rig.R[i]).as_quat()
        pose = " ".join(repr(float(v)) for v in (w, x, y, z, *(rig.t[i] / 1000)))
        dots = "" if i == 1 else "102.5 33.25 -1 12.0 8.5 17"
        images += f"{i + 1} {pose} {7 - i} {rig.names[i]}/000000.png\n{dots}\n"
    (folder / "cameras.txt").write_text(cameras)
    (folder / "images.txt").write_text(images)
    return folder


def write_mccalib(folder, rig):
    """A node per camera, by OpenCV itself; poses are camera -> world."""
    path = folder / "calibrated_cameras_data.yml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("nb_camera", len(rig.names))
    for i, name in enumerate(rig.names):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rig.R[i].T, rig.centres[i]
        storage.startWriteStruct(name, cv2.FileNode_MAP)
        storage.write("camera_matrix", rig.K[i])
        storage.write("distortion_vector", rig.distortion[i][None])
        for key, value in (("distortion_type", 0), ("camera_group", 0)):
            storage.write(key, value)
        storage.write("img_width", int(rig.sizes[i, 0]))
        storage.write("img_height", int(rig.sizes[i, 1]))
        storage.write("camera_pose_matrix", pose)
        storage.endWriteStruct()
    storage.release()
    return path


def write_jarvis(folder, rig):
    """One file per camera, for row vectors: x_cam' = x_world' R + T', x_px' = x_cam' K."""
    for i, name in enumerate(rig.names):
        storage = cv2.FileStorage(str(folder / f"{name}.yaml"), cv2.FILE_STORAGE_WRITE)
        storage.write("intrinsicMatrix", rig.K[i].T.copy())
        storage.write("distortionCoefficients", rig.distortion[i][None])
        storage.write("R", rig.R[i].T.copy())
        storage.write("T", rig.t[i][:, None])
        storage.release()
    return folder


def write_multical(folder, rig):
    """Metres, relative to the rig."""
    cameras = {
        name: {
            "model": "standard",
            "image_size": rig.sizes[i].astype(int).tolist(),
            "K": rig.K[i].tolist(),
            "dist": [rig.distortion[i].tolist()],
        }
        for i, name in enumerate(rig.names)
    }
    poses = {
        name: {"R": rig.R[i].tolist(), "T": (rig.t[i] / 1000).tolist()}
        for i, name in enumerate(rig.names)
    }
    path = folder / "calibration.json"
    path.write_text(json.dumps({"cameras": cameras, "camera_poses": poses}))
    return path


def write_aist(folder, rig):
    """Centimetres; rotation vectors."""
    cameras = [
        {
            "name": name,
            "size": rig.sizes[i].astype(int).tolist(),
            "matrix": rig.K[i].tolist(),
            "rotation": cv2.Rodrigues(rig.R[i])[0].ravel().tolist(),
            "translation": (rig.t[i] / 10).tolist(),
            "distortions": rig.distortion[i].tolist(),
        }
        for i, name in enumerate(rig.names)
    ]
    path = folder / "setting1.json"
    path.write_text(json.dumps(cameras))
    return path


def write_vicon(folder, rig, lens="0 0 0"):
    """Quaternions x y z w; a lens about the principal point; a marker camera first."""
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Cameras VERSION="1.1">\n'
    text += '<Camera DEVICEID="9" TYPE="Vantage"><KeyFrames/></Camera>\n'
    for i, name in enumerate(rig.names):
        (fx, _, cx), (_, fy, cy), _ = rig.K[i]
        turn = " ".join(repr(float(v)) for v in Rotation.from_matrix(rig.R[i]).as_quat())
        place = " ".join(repr(float(v)) for v in rig.centres[i])
        width, height = rig.sizes[i].astype(int)
        text += (
            f'<Camera DEVICEID="{name}" PIXEL_ASPECT_RATIO="{float(fx / fy)!r}" SKEW="0" NAME="" '
            f'SENSOR_SIZE="{width} {height}" DISPLAY_TYPE="Vue" TYPE="Vue"><KeyFrames>'
            f'<KeyFrame FOCAL_LENGTH="{float(fx)!r}" FRAME="0" ORIENTATION="{turn}" '
            f'POSITION="{place}" PRINCIPAL_POINT="{float(cx)!r} {float(cy)!r}" '
            f'VICON_RADIAL2="Vicon3Parameter {float(cx)!r} {float(cy)!r} {lens}"/>'
            "</KeyFrames></Camera>\n"
        )
    path = folder / "rig.xcp"
    path.write_text(text + "</Cameras>\n")
    return path


def write_opencap(folder, rig):
    """A pickle per camera, by Python itself."""
    for i, name in enumerate(rig.names):
        told = {
            "intrinsicMat": rig.K[i],
            "distortion": rig.distortion[i][None],
            "imageSize": rig.sizes[i][::-1].astype(int)[:, None],
            "rotation": rig.R[i],
            "translation": rig.t[i][:, None],
            "rotation_EulerAngles": cv2.Rodrigues(rig.R[i])[0],
        }
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(told))
    return folder


def every_format():
    """Name -> format, the rig it can hold, what writes it, options of reading."""
    distorted, ideal = rig(), rig(distorted=False)
    return {
        "cameras.json mm": ("opencv", distorted, write_cameras_json, {}),
        "cameras.json m": ("opencv", distorted, lambda f, r: write_cameras_json(f, r, "m"), {}),
        "opencv yml": ("opencv", distorted, write_storages, {}),
        "opencv xml": ("opencv", distorted, lambda f, r: write_storages(f, r, ".xml"), {}),
        "opencv json": ("opencv", distorted, lambda f, r: write_storages(f, r, ".json", True), {}),
        "opencv yml nodes": ("opencv", distorted, write_storage_nodes, {}),
        "opencv xml nodes": (
            "opencv",
            distorted,
            lambda f, r: write_storage_nodes(f, r, ".xml"),
            {},
        ),
        "opencv json nodes": (
            "opencv",
            distorted,
            lambda f, r: write_storage_nodes(f, r, ".json"),
            {},
        ),
        "anipose": ("anipose", distorted, write_anipose, {}),
        "caliscope": ("caliscope", rig(names=[f"cam_{i}" for i in range(4)]), write_caliscope, {}),
        "caliscope older": (
            "caliscope",
            rig(names=[f"cam_{i}" for i in range(4)]),
            lambda f, r: write_caliscope(f, r, newer=False),
            {},
        ),
        "easymocap": ("easymocap", distorted, write_easymocap, {}),
        "qualisys": ("qualisys", distorted, write_qualisys, {}),
        "human36m": ("human36m", h36m_rig(), write_human36m, {"subject": 5}),
        "mpi_inf_3dhp": ("mpi_inf_3dhp", ideal, write_mpi, {}),
        "panoptic": ("panoptic", distorted, write_panoptic, {}),
        "opencv mc-calib": ("opencv", distorted, write_mccalib, {}),
        "opencv jarvis nodes": ("opencv", distorted, write_jarvis, {}),
        "multical": ("multical", distorted, write_multical, {}),
        "aist": ("aist", distorted, write_aist, {}),
        "vicon": ("vicon", ideal, write_vicon, {}),
        "opencap": ("opencap", distorted, write_opencap, {}),
        "colmap": ("colmap", colmap_rig(), write_colmap, {}),
    }


EVERY = every_format()


def files_of(path: Path) -> list[Path]:
    """The file, or all files of the folder."""
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
