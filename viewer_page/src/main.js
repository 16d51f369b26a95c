// The page of `learn2talk view`. `window.viewer` is its interface for tests:
//
//   ready              whether everything is loaded
//   state()            what is shown: time, playing, frames, toggles, errors (see below)
//   play() pause() seek(seconds) step(frames) setLoop(on) setSpeed(factor)
//   show({ splats, wireframe, landmarks, heat }) setHeatMax(mm) solo(index or null)
//   lookFrom(yawDegrees, pitchDegrees)  goHome()  lookAtMouth()
//   coverage()         share of the stage that is not background, number of colours
//   pixel(x, y)        [r, g, b] of the stage at CSS pixels
//   paintSplats(on)     splats by the page itself or by WebGL
//   measure(seconds)   times between drawn pictures, ms

import { element } from "./page.js";
import { coverage, measureDrawing, pixelAt } from "./measuring.js";
import { listenToKeys } from "./keyboard.js";
import { Viewer } from "./viewer.js";

function connectButtons(viewer) {
  element("play").addEventListener("click", () => viewer.toggle());
  element("back").addEventListener("click", () => viewer.step(-1));
  element("on").addEventListener("click", () => viewer.step(1));
  element("loop").addEventListener("click", () => viewer.setLoop(!viewer.clock.loop));
  element("speed").addEventListener("change", (e) => viewer.setSpeed(Number(e.target.value)));
  element("front").addEventListener("click", () => viewer.stage.goHome());
  element("mouth").addEventListener("click", () => viewer.lookAtMouth());
  element("screenshot").addEventListener("click", () => viewer.savePicture());
  element("theme").addEventListener("click", () => switchTheme(viewer));
  element("help-button").addEventListener("click", toggleHelp);
  element("heat-max").addEventListener("input", (e) => viewer.setHeatMax(Number(e.target.value)));
  for (const button of document.querySelectorAll("[data-toggle]")) {
    const name = button.dataset.toggle;
    button.addEventListener("click", () => viewer.show({ [name]: !viewer.shown[name] }));
  }
}

function switchTheme(viewer) {
  viewer.setTheme(viewer.theme === "dark" ? "light" : "dark");
}

function toggleHelp() {
  const help = element("help");
  help.hidden = !help.hidden;
  element("help-button").setAttribute("aria-expanded", String(!help.hidden));
}

function connectKeys(viewer) {
  const flip = (name) => () => viewer.show({ [name]: !viewer.shown[name] });
  const move = (way) => (event) =>
    event.shiftKey ? viewer.seek(viewer.clock.time + way) : viewer.step(way);
  listenToKeys({
    " ": () => viewer.toggle(),
    arrowleft: move(-1),
    arrowright: move(1),
    home: () => viewer.seek(0),
    end: () => viewer.seek(viewer.scene.duration_s),
    r: () => viewer.setLoop(!viewer.clock.loop),
    w: flip("wireframe"),
    l: flip("landmarks"),
    h: flip("heat"),
    s: flip("splats"),
    f: () => viewer.stage.goHome(),
    m: () => viewer.lookAtMouth(),
    p: () => viewer.savePicture(),
    t: () => switchTheme(viewer),
    "?": toggleHelp,
    escape: () => {
      if (!element("help").hidden) toggleHelp();
    },
    number: (digit) => viewer.solo(viewer.soloed === digit - 1 ? null : digit - 1),
  });
}

function stateOf(viewer) {
  return {
    time: viewer.clock.time,
    duration: viewer.scene.duration_s,
    playing: viewer.clock.playing,
    loop: viewer.clock.loop,
    speed: viewer.clock.rate,
    shown: { ...viewer.shown },
    heatMax: viewer.heatMax,
    solo: viewer.soloed,
    drawn: viewer.stage.drawn,
    soundPlaying: viewer.clock.sound ? !viewer.clock.sound.paused : null,
    results: viewer.results.map((r) => ({
      name: r.name,
      frame: r.frame,
      numFrames: r.numFrames,
      error: r.error,
      mesh: r.view.hasMesh && r.view.mesh.visible,
      splats: r.view.hasSplats && r.view.cloud.object.visible,
      wireframe: r.view.hasMesh && r.view.wires.visible,
      landmarks: r.view.hasMesh && r.view.points.visible,
      splatScale: r.view.cloud?.scale ?? 1, // of the painted picture while things move
    })),
  };
}

async function start() {
  const response = await fetch("/scene.json");
  const viewer = new Viewer(await response.json());
  window.viewer = {
    ready: false,
    state: () => stateOf(viewer),
    play: () => viewer.play(),
    pause: () => viewer.pause(),
    seek: (seconds) => viewer.seek(seconds),
    step: (frames) => viewer.step(frames),
    setLoop: (on) => viewer.setLoop(on),
    setSpeed: (factor) => viewer.setSpeed(factor),
    show: (parts) => viewer.show(parts),
    setHeatMax: (mm) => viewer.setHeatMax(mm),
    solo: (index) => viewer.solo(index),
    lookFrom: (yaw, pitch) => viewer.stage.lookFrom(yaw, pitch),
    goHome: () => viewer.stage.goHome(),
    lookAtMouth: () => viewer.lookAtMouth(),
    coverage: () => coverage(viewer),
    pixel: (x, y) => pixelAt(viewer, x, y),
    paintSplats: (painted) => {
      for (const result of viewer.results) result.view.paintSplats(painted);
      viewer.stage.invalidate();
    },
    measure: (seconds, options) => measureDrawing(viewer, seconds, options),
  };
  await viewer.load();
  connectButtons(viewer);
  connectKeys(viewer);
  new ResizeObserver(() => viewer.resize()).observe(element("stage"));
  window.viewer.ready = true;
}

start().catch((error) => {
  const notes = element("notes");
  const item = document.createElement("li");
  item.className = "wrong";
  item.textContent = `the viewer stopped: ${error.message}`;
  notes.append(item);
  throw error;
});
