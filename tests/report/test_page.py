import base64
import json
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import BROWSERS, Browser, find_browser

from mask_sup.files.pictures import read_image
from mask_sup.report import write_report
from mask_sup.report.overlays import thumbnail_step
from mask_sup.report.page import encode_points
from mask_sup.report.plots import PLOT_X
from mask_sup.report.predictions import read_predictions

NAN = np.nan


def test_points_come_back_from_their_text():
    points = np.random.default_rng(0).uniform(-5000, 5000, (4, 3, 3))
    points[1, 2] = NAN
    text, unit = encode_points(points)
    back = np.frombuffer(base64.b64decode(text), "<i2").reshape(points.shape).astype(float)
    assert (back[1, 2] == -32768).all()
    back[1, 2] = NAN
    np.testing.assert_allclose(back * unit, points, atol=0.6 * unit)
    assert unit < 0.2


def test_thumbnails_keep_to_their_budget(recorded, tmp_path, monkeypatch, configured):
    poses = read_predictions(recorded(tmp_path) / "poses.npz")
    assert thumbnail_step(poses) == 1
    monkeypatch.setattr("mask_sup.report.overlays.THUMBNAIL_BYTES", 15_000)
    step = thumbnail_step(poses)
    assert step > 1
    write_report(configured(tmp_path / "out", video=False))
    data = page_data(tmp_path / "out" / "report.html")
    assert data["thumbnail_step"] == step
    assert len(data["thumbnails"]) == -(-4 // step)
    assert data["frames"] == 4


def page_data(path: Path):
    text = path.read_text()
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def test_thumbnails_are_small_pictures_of_their_frame(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    picture = tmp_path / "rec" / "frames" / "cam1" / "000002.png"
    cv2.imwrite(str(picture), np.full((400, 640, 3), (200, 40, 30), np.uint8))
    write_report(configured(folder, video=False))
    (tmp_path / "thumb.jpg").write_bytes(
        base64.b64decode(page_data(folder / "report.html")["thumbnails"][2][1])
    )
    thumb = read_image(tmp_path / "thumb.jpg")
    assert thumb.shape == (200, 320, 3)
    np.testing.assert_allclose(np.median(thumb, (0, 1)), [30, 40, 200], atol=6)


def test_of_a_long_recording_the_player_has_every_other_frame(
    recorded, tmp_path, configured, monkeypatch
):
    monkeypatch.setattr("mask_sup.report.page.MOST_FRAMES", 3)
    folder = recorded(tmp_path)
    write_report(configured(folder, video=False))
    data = page_data(folder / "report.html")
    assert (data["step"], data["frames"], len(data["path"])) == (2, 2, 2)
    assert [len(line) for line in data["errors"]] == [2, 2, 2]
    assert len(base64.b64decode(data["points"])) == 2 * 18 * 3 * 2


# ---- in a browser --------------------------------------------------------------------------------

READY = "document.getElementById('counter').textContent === 'frame 0 · 0.00 s'"
COUNTER = "Number(document.getElementById('counter').textContent.split(' ')[1])"
FAULT = "document.getElementById('fault').hidden"
BOX = "JSON.stringify(document.getElementById('scene').getBoundingClientRect())"
PAINTED = """(() => {
  const canvas = document.getElementById("scene");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const near = (i, c) => c.every((v, k) => Math.abs(data[i + k] - v) < 12) && data[i + 3] > 200;
  let [right, left] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    right += near(i, RIGHT);
    left += near(i, LEFT);
  }
  return [right, left];
})()"""
LIGHT = PAINTED.replace("RIGHT", "[226, 87, 13]").replace("LEFT", "[23, 119, 211]")
DARK = PAINTED.replace("RIGHT", "[255, 122, 60]").replace("LEFT", "[79, 176, 255]")


@pytest.fixture(scope="module")
def browser():
    if find_browser() is None:
        pytest.skip(f"no browser on this machine: none of {BROWSERS}")
    with Browser() as one:
        yield one


@pytest.fixture
def page(recorded, tmp_path, configured):
    """A page of four frames in three views."""
    folder = recorded(tmp_path, confidence=np.full((4, 18), 0.5), header={"fps": 20})
    write_report(configured(folder, video=False))
    return folder / "report.html"


def messages(browser):
    """What the page complained of, and what it asked for from elsewhere."""
    bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    told = [event for event in browser.events if event.get("method") in bad]
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    return told, [url for url in asked if not url.startswith("data:")]


def show(browser, page, **how):
    browser.events.clear()
    browser.open(page, **{"width": 1200, "height": 900, **how})
    browser.until(READY)


def test_the_player_plays_without_a_fault_or_a_request(browser, page):
    show(browser, page)
    browser.until(f"({LIGHT}).every((count) => count > 200)")
    assert browser.run(COUNTER) == 0
    browser.run("document.getElementById('play').click()")
    browser.until(f"{COUNTER} > 0")
    browser.run("document.getElementById('play').click()")
    frame = browser.run(COUNTER)
    time.sleep(0.2)  # four frames
    assert browser.run(COUNTER) == frame
    assert browser.run(FAULT)
    told, asked = messages(browser)
    assert told == []
    assert asked == [page.resolve().as_uri()]


def test_pictures_errors_and_the_cursor_follow_the_frame(browser, page):
    show(browser, page)
    sources = "[...document.querySelectorAll('#views img')].map((image) => image.src)"
    first = browser.run(sources)
    seek = "document.getElementById('scrub').value = 3;"
    browser.run(seek + "document.getElementById('scrub').dispatchEvent(new Event('input'))")
    browser.until(f"{COUNTER} === 3")
    thumbnails = page_data(page)["thumbnails"]
    assert browser.run(sources) == [f"data:image/jpeg;base64,{text}" for text in thumbnails[3]]
    assert first == [f"data:image/jpeg;base64,{text}" for text in thumbnails[0]]
    assert browser.run("document.querySelector('figcaption').textContent") == "cam0 · 1.4 px"
    assert browser.run("document.getElementById('cursor').getAttribute('x1')") == f"{PLOT_X[1]:g}"


def test_keys_step_turn_and_play(browser, page):
    show(browser, page)
    for key, frame in (("ArrowRight", 1), ("End", 3), ("ArrowLeft", 2), ("Home", 0)):
        browser.key(key)
        browser.until(f"{COUNTER} === {frame}")
    before = browser.run(CONTENT)
    browser.run("document.getElementById('scene').focus()")
    browser.key("ArrowRight")  # turns, and steps no frame
    browser.until(f"{CONTENT} !== {json.dumps(before)}")
    assert browser.run(COUNTER) == 0
    browser.key("0")
    browser.until(f"{CONTENT} === {json.dumps(before)}")
    browser.run("document.getElementById('scrub').focus()")  # has no use for the space key
    browser.key(" ")
    browser.until(f"{COUNTER} > 0")
    browser.run("document.getElementById('play').focus()")  # and this has: once, not twice
    browser.key("Enter")
    browser.until("document.getElementById('play').textContent === 'Play'")


CONTENT = "document.getElementById('scene').toDataURL()"


def test_the_mouse_turns_and_zooms(browser, page):
    show(browser, page)
    browser.run("document.getElementById('scene').scrollIntoView()")
    box = json.loads(browser.run(BOX))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    seen = [browser.run(CONTENT)]
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", x + 60, y + 20, button="left", buttons=1)
    browser.mouse("mouseReleased", x + 60, y + 20, button="left", clickCount=1)
    for act in (None, "wheel", "Top"):
        if act == "wheel":
            browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
        elif act:
            browser.run("document.querySelector('[data-look=top]').click()")
        browser.until(f"{CONTENT} !== {json.dumps(seen[-1])}")
        seen.append(browser.run(CONTENT))
    assert len(set(seen)) == 4


def test_fingers_turn_and_pinch_on_a_phone(browser, page):
    show(browser, page, width=390, height=844, touch=True)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    browser.run("document.getElementById('scene').scrollIntoView()")
    box = json.loads(browser.run(BOX))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, *points):
        places = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(points)]
        browser.send("Input.dispatchTouchEvent", type=kind, touchPoints=places)

    before = browser.run(CONTENT)
    touch("touchStart", (x, y))
    touch("touchMove", (x + 50, y))
    touch("touchEnd")
    browser.until(f"{CONTENT} !== {json.dumps(before)}")
    before = browser.run(CONTENT)
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 60, y), (x + 60, y))
    touch("touchEnd")
    browser.until(f"{CONTENT} !== {json.dumps(before)}")
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    assert messages(browser)[0] == []


def test_the_dark_page_has_its_own_colours(browser, page):
    show(browser, page, dark=True)
    browser.until(f"({DARK}).every((count) => count > 200)")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 24)"
    png = np.frombuffer(browser.screenshot(), np.uint8)
    assert cv2.imdecode(png, cv2.IMREAD_COLOR).shape == (900, 1200, 3)


def test_a_damaged_page_says_so(browser, page):
    text = page.read_text()
    page.write_text(text.replace('"points":"', '"points":"?'))
    browser.events.clear()
    browser.open(page, 800, 600)
    browser.until(f"!{FAULT}")
    assert "stopped" in browser.run("document.getElementById('fault').textContent")


# ---- the file ------------------------------------------------------------------------------------


def test_the_page_may_ask_nobody_for_anything(page):
    text = page.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "*" not in policy
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    assert not re.search(r"fetch|XMLHttp|WebSocket|EventSource|Beacon|import|innerHTML", script)
    links = re.findall(
        r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s)>]*)""", text.replace(script, "")
    )
    assert all(link.startswith("data:image/jpeg;base64,") for link in links if link)
    without_data = re.sub(r"data:image/jpeg;base64,[\w+/=]+|<script type=.*?</script>", "", text)
    assert "http" not in without_data.replace("http-equiv", "")
    assert not re.search(r"""["'(]//""", without_data)


def test_text_of_the_file_cannot_become_part_of_the_page(recorded, tmp_path, configured):
    header = {"input": "</script><script>alert(1)</script>", "arrays": {"<b>": "<i>"}}
    folder = recorded(tmp_path, header=header)
    write_report(configured(folder, video=False))
    text = (folder / "report.html").read_text()
    assert text.count("<script") == 2
    assert "<b>" not in re.sub(r'<section class="chips".*?</section>', "", text)
    assert "&lt;i&gt;" in text


def test_the_page_tells_its_figures(page):
    text = re.sub(r"<[^>]+>", " ", page.read_text().split("<script")[0])
    for told in ("4 frames, 3 cameras", "20 frames per second", "1.4 px", "mean confidence"):
        assert told in text
    assert "(assumed)" not in text
    for joint in ("right wrist", "left ankle"):
        assert joint in text
    assert "up is +z" in text
