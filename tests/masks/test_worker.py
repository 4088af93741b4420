"""Networks in processes of their own: a fake worker speaks the pipe's protocol."""

import ast
import io
import os
import sys
import time
import types

import numpy as np
import pytest

from mask_sup.files.build import build
from mask_sup.masks import learned, mediapipe_worker, worker
from mask_sup.masks.worker import Worker, environment

ECHO = """
import struct, sys
while len(head := sys.stdin.buffer.read(8)) == 8:
    h, w = struct.unpack("<II", head)
    data = sys.stdin.buffer.read(h * w * 3)
    if data[0] == 13:
        print("first words", *range(100), sep="\\n", file=sys.stderr)
        sys.exit("no luck with 13")
    sys.stdout.buffer.write(data[::3])
    sys.stdout.buffer.flush()
"""
"""A worker whose mask is the red channel, and which dies of pictures that begin with 13."""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return path


def picture(value, shape=(70, 50)):
    return np.full((*shape, 3), value, np.uint8)


def wait_for_end(pid):
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_pictures_of_any_size_come_back_as_masks(script):
    echo = Worker([sys.executable, str(script)])
    assert echo.process is None  # nothing runs before it is needed
    assert (echo.mask(picture(7)) == 7).all()
    large = np.random.default_rng(0).integers(14, 255, (900, 1600, 3), dtype=np.uint8)
    assert (echo.mask(large) == large[..., 0]).all()
    assert (echo.mask(large[:, ::2]) == large[:, ::2, 0]).all()  # not in one piece of memory


def test_a_worker_ends_with_its_owner(script):
    echo = Worker([sys.executable, str(script)])
    echo.mask(picture(1))
    pid = echo.process.pid
    del echo
    assert wait_for_end(pid)


def test_a_worker_that_does_not_listen_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE_S", 0.1)
    (tmp_path / "deaf.py").write_text(ECHO + "import time\ntime.sleep(600)\n")
    deaf = Worker([sys.executable, str(tmp_path / "deaf.py")])
    deaf.mask(picture(1))
    pid = deaf.process.pid
    del deaf
    assert wait_for_end(pid)


def test_a_worker_that_dies_tells_its_last_words(script):
    echo = Worker([sys.executable, str(script)])
    echo.mask(picture(1))
    with pytest.raises(ChildProcessError, match="ended with status 1 before it gave") as error:
        echo.mask(picture(13))
    assert "no luck with 13" in str(error.value)
    assert "first words" not in str(error.value)
    with pytest.raises(ChildProcessError, match=r"echo\.py, and said last"):
        Worker([sys.executable, "-c", "1", "echo.py"]).mask(picture(1))


def test_mediapipe_takes_the_whole_picture(compose_config, script, monkeypatch, tmp_path):
    monkeypatch.setattr(learned, "environment", lambda *given: sys.executable)
    monkeypatch.setattr(learned, "MEDIAPIPE_WORKER", script)
    extractor = build(compose_config("masks", "extractor=mediapipe").extractor, "extractor")
    assert extractor.foreground(picture(128), 0, np.copy).all()
    assert not extractor.foreground(picture(127), 0, np.copy).any()


class Network:
    """Sees a person in the left half, and nobody in black pictures."""

    def process(self, shown):
        found = np.zeros(shown.shape[:2], np.float32)
        found[:, : shown.shape[1] // 2] = 1.01
        return types.SimpleNamespace(segmentation_mask=found if shown.any() else None)


def test_mediapipes_worker_answers_each_picture_until_its_input_ends():
    sent, answers = io.BytesIO(), io.BytesIO()
    for value in (1, 0):
        sent.write(worker.SIZE.pack(2, 4) + picture(value, (2, 4)).tobytes())
    sent.write(worker.SIZE.pack(2, 4) + b"half")
    sent.seek(0)
    mediapipe_worker.serve(sent, answers, Network())
    assert answers.getvalue() == bytes([255, 255, 0, 0] * 2 + [0] * 8)


def test_mediapipes_worker_imports_nothing_that_its_environment_lacks():
    tree = ast.parse(learned.MEDIAPIPE_WORKER.read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [node.names[0].name])
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "mediapipe"}


# ---- environments --------------------------------------------------------------------------------


def test_a_module_that_is_here_needs_no_environment(tmp_path):
    assert environment("numpy", ["numpy"], (3, 9), tmp_path / "env", False) == sys.executable
    assert not (tmp_path / "env").exists()


def test_a_missing_environment_is_made_on_request_alone(tmp_path, monkeypatch):
    folder, ran = tmp_path / "env", []
    wanted = ("no_such_module", ["some==1"], sys.version_info[:2], folder)
    with pytest.raises(ModuleNotFoundError, match=r"extractor\.install=true, .* some==1"):
        environment(*wanted, False)

    def run(command):
        ran.append(command[1:])
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").touch()
        if "pip" in command and len(ran) == 2:
            raise ChildProcessError("no network")

    monkeypatch.setattr(worker, "_run", run)
    with pytest.raises(ChildProcessError, match="no network"):
        environment(*wanted, True)
    with pytest.raises(ModuleNotFoundError):
        environment(*wanted, False)  # half an environment is none
    assert environment(*wanted, True) == str(folder / "bin" / "python")
    assert ran[-1] == ["-m", "pip", "install", "--quiet", "some==1"]
    assert environment(*wanted, False) == str(folder / "bin" / "python")
    assert len(ran) == 4


def test_a_failing_installation_tells_what_was_said(tmp_path):
    with pytest.raises(ChildProcessError, match=r"ended with status 3[\s\S]*words of pip"):
        worker._run([sys.executable, "-c", "import sys; print('words of pip'); sys.exit(3)"])


def test_a_python_that_is_too_new_looks_for_an_older_one(monkeypatch):
    monkeypatch.setattr(worker.shutil, "which", lambda name: {"python2.6": "/old"}.get(name))
    assert worker._python((2, 7)) == "/old"
    with pytest.raises(ModuleNotFoundError, match=r"install python2\.9"):
        worker._python((2, 9))


@pytest.mark.skipif(
    "MASK_SUP_MEDIAPIPE" not in os.environ, reason="installs 1 GB: set MASK_SUP_MEDIAPIPE=1"
)
def test_mediapipe_is_installed_and_sees_nobody_in_grey(compose_config, tmp_path):
    keys = ("extractor=mediapipe", "extractor.install=true", f"extractor.folder={tmp_path / 'env'}")
    extractor = build(compose_config("masks", *keys).extractor, "extractor")
    assert not extractor.foreground(picture(128), 0, np.copy).any()
