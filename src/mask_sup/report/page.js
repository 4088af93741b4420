"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const fault = (text) => {
    byId("fault").textContent = "The player stopped: " + text;
    byId("fault").hidden = false;
  };
  window.addEventListener("error", (event) => fault(event.message));

  const data = JSON.parse(byId("data").textContent);
  const bytes = Uint8Array.from(atob(data.points), (c) => c.charCodeAt(0));
  const stored = new Int16Array(bytes.buffer);
  const joints = data.joints.length;
  const UNKNOWN = -32768;
  const HALF_VIEW = Math.tan((15 * Math.PI) / 180);
  const GRID = 500;

  // Every camera picture is decoded once; the page only swaps them.
  const pictures = data.thumbnails.map((views) =>
    views.map((text) => {
      const image = new Image();
      image.src = "data:image/jpeg;base64," + text;
      return image;
    }),
  );
  const shown = [...document.querySelectorAll("#views img")];
  const told = [...document.querySelectorAll("#views figcaption span")];

  const canvas = byId("scene");
  const paint = canvas.getContext("2d");
  const home = { azimuth: data.front + 0.5, elevation: 0.2, zoom: 1 };
  const state = { frame: 0, playing: false, speed: 1, started: 0, from: 0, dirty: true, ...home };
  let colours = {};
  let size = { width: 0, height: 0 };

  // ---- geometry: the same eye as in the mosaic video -----------------------------------------

  const point = (frame, joint) => {
    const at = 3 * (frame * joints + joint);
    if (stored[at] === UNKNOWN) return null;
    return [stored[at] * data.unit, stored[at + 1] * data.unit, stored[at + 2] * data.unit];
  };

  const eye = () => {
    const [ca, sa] = [Math.cos(state.azimuth), Math.sin(state.azimuth)];
    const [ce, se] = [Math.cos(state.elevation), Math.sin(state.elevation)];
    const ground = byId("follow").checked ? data.path[state.frame] : data.middle;
    const side = Math.min(size.height, 1.4 * size.width);
    return {
      middle: [ground[0], ground[1], data.height],
      right: [-sa, ca, 0],
      up: [-ca * se, -sa * se, ce],
      away: [ca * ce, sa * ce, se],
      distance: 4.2 * data.radius / state.zoom,
      focal: side / 2 / HALF_VIEW,
    };
  };

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  const see = (view, at) => {
    const offset = [at[0] - view.middle[0], at[1] - view.middle[1], at[2] - view.middle[2]];
    const depth = view.distance - dot(offset, view.away);
    if (depth < 0.05 * data.radius) return null; // behind the eye
    const scale = view.focal / depth;
    return {
      x: size.width / 2 + dot(offset, view.right) * scale,
      y: size.height / 2 - dot(offset, view.up) * scale,
      depth,
      scale,
    };
  };

  // ---- drawing -------------------------------------------------------------------------------

  const line = (a, b, colour, width) => {
    if (!a || !b) return;
    paint.strokeStyle = colour;
    paint.lineWidth = width;
    paint.beginPath();
    paint.moveTo(a.x, a.y);
    paint.lineTo(b.x, b.y);
    paint.stroke();
  };

  const drawGround = (view) => {
    const reach = 2.2 * data.radius;
    const round = (value) => Math.round(value / GRID) * GRID;
    const [x0, x1] = [round(view.middle[0] - reach), round(view.middle[0] + reach)];
    const [y0, y1] = [round(view.middle[1] - reach), round(view.middle[1] + reach)];
    // Short pieces: those behind the eye are left out one by one.
    for (let x = x0; x <= x1; x += GRID)
      for (let y = y0; y < y1; y += GRID)
        line(see(view, [x, y, 0]), see(view, [x, y + GRID, 0]), colours.grid, 1);
    for (let y = y0; y <= y1; y += GRID)
      for (let x = x0; x < x1; x += GRID)
        line(see(view, [x, y, 0]), see(view, [x + GRID, y, 0]), colours.grid, 1);
  };

  const drawPath = (view) => {
    let before = null;
    const step = Math.max(1, Math.floor(data.path.length / 600));
    for (let i = 0; i < data.path.length; i += step) {
      const here = see(view, [data.path[i][0], data.path[i][1], 0]);
      line(before, here, colours.quiet, 1);
      before = here;
    }
  };

  const drawShadow = (view, pose) => {
    const flat = pose.map((at) => at && see(view, [at[0], at[1], 0]));
    for (const [a, b] of data.bones)
      if (flat[a] && flat[b]) line(flat[a], flat[b], colours.shadow, 40 * flat[b].scale);
  };

  const drawPose = (seen) => {
    const bones = data.bones.filter(([a, b]) => seen[a] && seen[b]);
    bones.sort(([a, b], [c, d]) => seen[c].depth + seen[d].depth - seen[a].depth - seen[b].depth);
    for (const [a, b] of bones) {
      const width = Math.max(2.5, 34 * seen[b].scale);
      // A rim parts bones that cross.
      line(seen[a], seen[b], colours.canvas, width + Math.min(3, width / 4));
      line(seen[a], seen[b], colours[data.sides[b]], width);
    }
    paint.fillStyle = colours.ink;
    for (const at of seen.filter(Boolean)) {
      paint.beginPath();
      paint.arc(at.x, at.y, Math.max(1.6, 14 * at.scale), 0, 2 * Math.PI);
      paint.fill();
    }
  };

  const drawCameras = (view) => {
    if (!byId("cameras").checked) return;
    paint.fillStyle = colours.quiet;
    data.cameras.forEach((corners, k) => {
      const seen = corners.map((at) => see(view, at));
      for (let i = 1; i < 5; i++) {
        line(seen[0], seen[i], colours.quiet, 1.2);
        line(seen[i], seen[(i % 4) + 1], colours.quiet, 1.2);
      }
      if (seen[0]) paint.fillText(data.names[k], seen[0].x + 6, seen[0].y - 6);
    });
  };

  const drawAxes = (view) => {
    const at = { x: 46, y: size.height - 46 };
    data.axes
      .map((axis, k) => ({ axis, name: "xyz"[k], near: dot(axis, view.away) }))
      .sort((a, b) => a.near - b.near)
      .forEach(({ axis, name }) => {
        const [dx, dy] = [30 * dot(axis, view.right), -30 * dot(axis, view.up)];
        line(at, { x: at.x + dx, y: at.y + dy }, colours.quiet, 2);
        paint.fillStyle = colours.ink;
        paint.fillText(name, at.x + 1.3 * dx - 3, at.y + 1.3 * dy + 4);
      });
  };

  let lastSeen = [];
  const drawScene = () => {
    const view = eye();
    paint.clearRect(0, 0, size.width, size.height);
    const pose = data.joints.map((_, joint) => point(state.frame, joint));
    lastSeen = pose.map((at) => at && see(view, at));
    drawGround(view);
    if (data.world) drawPath(view);
    drawShadow(view, pose);
    drawCameras(view);
    drawPose(lastSeen);
    drawAxes(view);
  };

  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));

  const showFrame = () => {
    const frame = state.frame * data.step; // of the recording
    byId("scrub").value = state.frame;
    const seconds = number(frame / data.fps, 2);
    byId("counter").textContent = "frame " + frame + " · " + seconds + " s";
    byId("scrub").setAttribute("aria-valuetext", "frame " + frame + ", " + seconds + " seconds");
    if (pictures.length) {
      const nearest = Math.min(pictures.length - 1, Math.round(frame / data.thumbnail_step));
      pictures[nearest].forEach((image, k) => {
        if (shown[k].src !== image.src) shown[k].src = image.src;
      });
    }
    if (data.errors)
      told.forEach((text, k) => {
        text.textContent = " · " + number(data.errors[k][state.frame], 1) + data.error_unit;
      });
    const cursor = byId("cursor");
    if (cursor) {
      const share = data.frames > 1 ? state.frame / (data.frames - 1) : 0;
      const x = data.plot[0] + share * (data.plot[1] - data.plot[0]);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
  };

  const tick = (now) => {
    requestAnimationFrame(tick);
    if (state.playing) {
      const gone = ((now - state.started) / 1000) * (data.fps / data.step) * state.speed;
      const frame = Math.floor(state.from + Math.max(0, gone)) % data.frames;
      if (frame !== state.frame) {
        state.frame = frame;
        state.dirty = true;
      }
    }
    if (!state.dirty) return;
    state.dirty = false;
    showFrame();
    drawScene();
  };

  // ---- what the reader does ------------------------------------------------------------------

  const restart = () => {
    state.from = state.frame;
    state.started = performance.now();
  };
  const play = (playing) => {
    state.playing = playing;
    byId("play").textContent = playing ? "Pause" : "Play";
    byId("play").setAttribute("aria-pressed", String(playing));
    restart();
  };
  const seek = (frame) => {
    state.frame = Math.max(0, Math.min(data.frames - 1, Math.round(frame)));
    state.dirty = true;
    restart();
  };
  const turn = (azimuth, elevation) => {
    state.azimuth += azimuth;
    state.elevation = Math.max(-0.25, Math.min(Math.PI / 2, state.elevation + elevation));
    state.dirty = true;
  };
  const zoom = (factor) => {
    state.zoom = Math.max(0.2, Math.min(8, state.zoom * factor));
    state.dirty = true;
  };
  const LOOKS = {
    front: { azimuth: data.front, elevation: 0.1 },
    side: { azimuth: data.front + Math.PI / 2, elevation: 0.1 },
    back: { azimuth: data.front + Math.PI, elevation: 0.1 },
    top: { azimuth: data.front, elevation: Math.PI / 2 },
    reset: home,
  };
  const look = (name) => {
    Object.assign(state, LOOKS[name], { dirty: true });
  };

  byId("play").addEventListener("click", () => play(!state.playing));
  byId("scrub").addEventListener("input", (event) => seek(Number(event.target.value)));
  byId("speed").addEventListener("change", (event) => {
    state.speed = Number(event.target.value);
    restart();
  });
  for (const id of ["follow", "cameras"])
    byId(id).addEventListener("change", () => (state.dirty = true));
  for (const button of document.querySelectorAll("[data-look]"))
    button.addEventListener("click", () => look(button.dataset.look));

  const MOVES = {
    ArrowLeft: () => turn(-0.1, 0),
    ArrowRight: () => turn(0.1, 0),
    ArrowUp: () => turn(0, 0.1),
    ArrowDown: () => turn(0, -0.1),
    "+": () => zoom(1.15),
    "=": () => zoom(1.15),
    "-": () => zoom(1 / 1.15),
    0: () => look("reset"),
  };
  const STEPS = {
    ArrowLeft: (ten) => seek(state.frame - (ten ? 10 : 1)),
    ArrowRight: (ten) => seek(state.frame + (ten ? 10 : 1)),
    Home: () => seek(0),
    End: () => seek(data.frames - 1),
  };
  // A control that has a use for a key itself keeps it.
  const uses = (target, key) =>
    target.type === "range" ? key !== " " : target.closest("button, select, input, summary");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (uses(event.target, event.key)) return;
    const turns = event.target === canvas ? MOVES[event.key] : null;
    const act = turns || (event.key === " " ? () => play(!state.playing) : STEPS[event.key]);
    if (!act) return;
    event.preventDefault();
    act(event.shiftKey);
  });

  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return hint(event);
    const here = { x: event.clientX, y: event.clientY };
    const wide = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, here);
    if (wide) zoom(spread() / wide);
    else turn((before.x - here.x) * 0.008, (here.y - before.y) * 0.008);
  });
  const lift = (event) => fingers.delete(event.pointerId);
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => (byId("tip").hidden = true));
  canvas.addEventListener(
    "wheel",
    (event) => {
      // Without a click first, the wheel scrolls the page past the player.
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * 0.0015));
    },
    { passive: false },
  );

  const hint = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, near] = [-1, 14];
    lastSeen.forEach((at, joint) => {
      const far = at ? Math.hypot(at.x - x, at.y - y) : Infinity;
      if (far < near) [best, near] = [joint, far];
    });
    const tip = byId("tip");
    tip.hidden = best < 0;
    if (best < 0) return;
    tip.textContent = data.joints[best].replaceAll("_", " ");
    tip.style.left = x + 14 + "px";
    tip.style.top = y - 12 + "px";
  };

  const plot = byId("plot");
  if (plot)
    plot.addEventListener("click", (event) => {
      const box = plot.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
      const share = (x - data.plot[0]) / (data.plot[1] - data.plot[0]);
      seek(share * (data.frames - 1));
    });

  // ---- start ---------------------------------------------------------------------------------

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    const names = ["right", "left", "middle", "ink", "quiet", "grid", "shadow", "canvas"];
    colours = Object.fromEntries(names.map((n) => [n, style.getPropertyValue("--" + n).trim()]));
    state.dirty = true;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);

  new ResizeObserver(() => {
    const scale = window.devicePixelRatio || 1;
    size = { width: canvas.clientWidth, height: canvas.clientHeight };
    canvas.width = Math.round(size.width * scale);
    canvas.height = Math.round(size.height * scale);
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.lineCap = "round";
    paint.font = "12px system-ui, sans-serif";
    state.dirty = true;
  }).observe(canvas);

  byId("follow").checked = data.wanders;
  byId("following").hidden = !data.world; // alone with the root, nobody goes anywhere
  byId("rig").hidden = !data.cameras.length;
  readColours();
  requestAnimationFrame(tick);
})();
