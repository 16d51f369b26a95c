// The page of `learn2talk live`: a voice moves the face, and the page measures how long that takes.

import { FaceView } from "../face_view.js";
import { fetchSplats, fetchTopology } from "../loading.js";
import { drawsInSoftware } from "../software.js";
import { Stage } from "../stage.js";
import { Connection } from "./connection.js";
import { FileSound } from "./file_sound.js";
import { FrameQueue } from "./frame_queue.js";
import { Meter, percentile } from "./meter.js";
import { Microphone } from "./microphone.js";

const MARGIN_MS = 150; // of a sound played along, over what the algorithm waits: computing, drawing
const LONGEST_PICTURE_MS = 50; // a longer one was a pause
const REPORT_MS = 1000;
const READ_OUT_MS = 250;
const FALL = 0.9; // of the level from one piece of 10 ms to the next
const REST = 0.2; // of the way back to rest in a picture, once nobody speaks

const byId = (id) => document.getElementById(id);
const milliseconds = (value) => (value === null ? "–" : `${Math.round(value)} ms`);

class LivePage {
  constructor() {
    this.view = new FaceView();
    this.stage = new Stage(byId("stage"), { antialias: !drawsInSoftware() });
    this.queue = new FrameQueue();
    this.meter = new Meter();
    this.state = "connecting"; // idle, starting, running, stopping, lost
    this.microphone = null;
    this.level = 0;
    this.dropped = 0;
    this.frames = 0; // come so far
    this.arrivals = []; // ms from capture to arrival of the last frames
    this.pictureAt = performance.now();
    this.skippedTold = 0;
    this.lateTold = 0;
  }

  async load() {
    const scene = await (await fetch("/scene.json")).json();
    const [{ name, mesh, splats }] = scene.results;
    document.title = `learn2talk live: ${name}`;
    byId("title").textContent = document.title;
    this.view.setTopology(await fetchTopology(mesh));
    if (splats) {
      this.view.setSplats(await fetchSplats(splats));
      document.querySelector("[data-toggle=splats]").hidden = false;
    }
    this.rest = this.view.vertices.slice();
    this.vertices = this.rest.slice();
    this.stage.setPanes([{ view: this.view }]);
    this.fit();
    new ResizeObserver(() => this.fit()).observe(byId("stage"));
    if (scene.sound) this.fileSound = new FileSound(scene.sound.address);
  }

  fit() {
    this.stage.resize();
    this.stage.frameAll();
  }

  connect() {
    this.connection = new Connection(`ws://${location.host}/live/socket`, {
      ready: (said) => this.ready(said),
      started: (said) => this.started(said),
      finished: (said) => this.finished(said),
      frame: (frame) => this.frame(frame),
      lost: (reason) => this.lost(reason),
    });
  }

  // The server's messages

  ready(said) {
    this.said = said;
    byId("floor").value = milliseconds(said.algorithmic_ms);
    if (said.file) byId("file").hidden = false;
    this.become("idle", "Ready. Start the microphone" + (said.file ? `, or play ${said.file.name}.` : "."));
  }

  started({ source, begins }) {
    if (source === "file") {
      this.queue.delay = this.said.algorithmic_ms + MARGIN_MS;
      this.fileSound.play(begins + this.queue.delay);
    }
    const offset = source === "file" ? ` Voice and lips are ${milliseconds(this.queue.delay)} behind it.` : "";
    this.become("running", (source === "file" ? "The file plays." : "Speak.") + offset);
  }

  frame(frame) {
    const now = performance.now();
    this.frames += 1;
    this.arrivals.push(now - frame.captured);
    if (this.arrivals.length > 50) this.arrivals.shift();
    this.dropped = frame.dropped;
    this.queue.push(frame, now);
  }

  finished() {
    // The last frames are still to be shown.
    setTimeout(() => {
      if (this.state === "lost") return;
      this.report();
      this.become("idle", "Stopped. Start again whenever you like.");
    }, this.queue.delay ?? 0);
  }

  lost(reason) {
    this.silence();
    const why = reason ? ` The server says: ${reason}.` : "";
    this.become("lost", `The connection is lost.${why} Start learn2talk live again, then reload this page.`);
  }

  // What a person does

  async toggleMicrophone() {
    if (this.state === "running") this.stop();
    if (this.state !== "idle") return;
    this.begin("Waiting for the microphone.");
    const microphone = new Microphone(this.said.sample_rate_hz);
    try {
      await microphone.open(
        (samples, captured) => this.heard(samples, captured),
        () => this.stop(),
      );
    } catch (error) {
      this.become("idle", error.message);
      return;
    }
    if (this.state !== "starting") {
      microphone.close();
      return;
    }
    this.microphone = microphone;
    this.connection.say({ kind: "start", source: "microphone", format: "float32" });
    this.hearYourself();
  }

  async toggleFile() {
    if (this.state === "running") this.stop();
    if (this.state !== "idle") return;
    this.begin("Loading the sound.");
    try {
      await this.fileSound.load();
    } catch (error) {
      this.become("idle", `The sound did not load (${error.message}).`);
      return;
    }
    if (this.state === "starting") this.connection.say({ kind: "start", source: "file" });
  }

  begin(status) {
    this.queue.clear();
    this.queue.delay = null;
    this.meter.begin();
    this.arrivals = [];
    this.become("starting", status);
  }

  heard(samples, captured) {
    const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    this.level = Math.max(loudest, FALL * this.level);
    // Sound that comes before the server's "started" belongs to the utterance all the same.
    this.connection.sound(samples, captured);
  }

  stop() {
    this.silence();
    // The last frames come all at once; let them be seen at their pace.
    this.queue.delay ??= percentile(this.arrivals, 0.95);
    this.connection.say({ kind: "stop" });
    this.become("stopping", "Finishing.");
  }

  silence() {
    this.microphone?.close();
    this.microphone = null;
    this.fileSound?.stop();
    this.level = 0;
  }

  /** The voice later, so that it fits the lips: both a fixed time after the capture. */
  hearYourself() {
    if (!this.microphone) return;
    if (byId("echo").checked) {
      const late = percentile(this.arrivals, 0.95) ?? 0;
      this.queue.delay = Math.max(this.said.algorithmic_ms + MARGIN_MS, late + 50);
    } else this.queue.delay = null;
    this.microphone.playDelayed(this.queue.delay);
  }

  become(state, status) {
    this.state = state;
    byId("status").textContent = status;
    document.body.dataset.state = state;
    const busy = state !== "idle" && state !== "running";
    const speaks = state === "running" && this.microphone !== null;
    const plays = state === "running" && this.microphone === null;
    const buttons = [
      ["microphone", speaks, plays, "Start microphone", "Stop microphone"],
      ["file", plays, speaks, "Play file", "Stop file"],
    ];
    for (const [id, on, other, begin, end] of buttons) {
      const button = byId(id);
      button.setAttribute("aria-pressed", on);
      button.setAttribute("aria-disabled", busy || other);
      button.textContent = on ? end : begin;
    }
  }

  // Time

  picture() {
    const now = performance.now();
    this.meter.picture(now);
    // What is drawn now is on the screen when the next picture begins, one picture's time from now.
    const ahead = Math.min(now - this.pictureAt, LONGEST_PICTURE_MS);
    this.pictureAt = now;
    const frame = this.queue.next(now + ahead);
    if (frame !== null) {
      this.said.animated_ids.forEach((id, i) => {
        for (let axis = 0; axis < 3; axis++) {
          this.vertices[3 * id + axis] = frame.positions[3 * i + axis];
        }
      });
      this.meter.drew(frame);
    }
    if (frame !== null || this.relax()) {
      this.view.setVertices(this.vertices);
      this.stage.invalidate();
    }
    this.stage.drawIfStale();
    requestAnimationFrame(() => this.picture());
  }

  /** Go on to the face at rest while nobody speaks; whether anything moved. */
  relax() {
    if (this.state === "running" || this.state === "stopping") return false;
    let moved = false;
    for (let i = 0; i < this.rest.length; i++) {
      const away = this.rest[i] - this.vertices[i];
      if (away === 0) continue;
      moved = true;
      this.vertices[i] = Math.abs(away) < 1e-3 ? this.rest[i] : this.vertices[i] + REST * away;
    }
    return moved;
  }

  readOut() {
    const { latency, latency95, fps } = this.meter.recent;
    byId("latency").value = milliseconds(latency);
    byId("latency95").value = milliseconds(latency95);
    byId("fps").value = fps === null ? "–" : fps.toFixed(1);
    byId("lost").value = String(this.dropped + this.queue.skipped + this.queue.late);
    byId("level").value = this.level;
  }

  report() {
    const { skipped, late } = this.queue;
    const said = this.meter.report(skipped - this.skippedTold, late - this.lateTold);
    this.skippedTold = skipped;
    this.lateTold = late;
    if (said.shown + said.skipped + said.late > 0) this.connection.say(said);
  }

  listen() {
    const toggles = { microphone: () => this.toggleMicrophone(), file: () => this.toggleFile() };
    for (const [id, toggle] of Object.entries(toggles)) {
      byId(id).addEventListener("click", ({ currentTarget }) => {
        // Such a button keeps the focus and stays readable; it only does nothing.
        if (currentTarget.getAttribute("aria-disabled") !== "true") void toggle();
      });
    }
    byId("echo").addEventListener("change", () => this.hearYourself());
    byId("front").addEventListener("click", () => this.stage.goHome());
    for (const button of document.querySelectorAll("[data-toggle]")) {
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", on);
        this.view.show({ [button.dataset.toggle]: on });
        this.stage.invalidate();
      });
    }
    const keys = { m: "microphone", p: "file", e: "echo", f: "front", w: "wireframe", s: "splats" };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      const id = keys[event.key.toLowerCase()];
      const wanted = id && (byId(id) ?? document.querySelector(`[data-toggle=${id}]`));
      if (wanted && !wanted.hidden) wanted.click();
    });
    // A hidden page draws nothing: the pause is none of the frames'.
    document.addEventListener("visibilitychange", () => this.meter.begin());
    setInterval(() => this.readOut(), READ_OUT_MS);
    setInterval(() => this.report(), REPORT_MS);
  }
}

const page = new LivePage();
window.livePage = page; // for the browser tests and the console
try {
  await page.load();
  page.listen();
  page.connect();
  page.picture();
} catch (error) {
  page.become("lost", `The page did not load: ${error.message}`);
}
