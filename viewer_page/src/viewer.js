// The viewer: results in panes, a clock, a timeline, and what the user asks for.

import { Clock } from "./clock.js";
import { composePicture } from "./picture.js";
import {
  addNote,
  applyTheme,
  cssColour,
  element,
  errorText,
  placeLabels,
  press,
  resultColour,
  showErrors,
  showScale,
  systemTheme,
} from "./page.js";
import { ShownResult, Truth, frameAt } from "./player.js";
import { drawsInSoftware } from "./software.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const WAV_HEADER_BYTES = 44;
const FPS_WINDOW_MS = 1000;
const TELL_MS = 80; // while it plays, numbers change no faster than they can be read

export class Viewer {
  constructor(scene) {
    this.scene = scene;
    this.results = scene.results.map((described, index) => new ShownResult(described, index));
    this.soloed = null; // index of the one result that is shown, null: all
    this.shown = { splats: true, wireframe: false, landmarks: false, heat: false };
    this.heatMax = 5;
    this.ready = false;
    this.truth = null;
    this._drawTimes = [];
    this._told = 0;
    this._fpsTold = 0;
    // Smooth edges of meshes cost splats a quarter of their time where no graphics card is.
    const withSplats = scene.results.some((one) => one.splats);
    this.stage = new Stage(element("stage"), { antialias: !(withSplats && drawsInSoftware()) });
    this.setTheme(systemTheme());
  }

  get solid() {
    return this.results.filter((r) => this.soloed === null || r.index === this.soloed);
  }

  /** Fetch sound and results, and show them as they come. */
  async load() {
    const { scene } = this;
    for (const note of scene.notes) addNote(note);
    for (const result of this.results) {
      for (const note of result.described.notes) addNote(`${result.name}: ${note}`);
    }
    const compared = scene.results.find((one) => one.compared);
    if (scene.truth && compared) this.truth = new Truth(scene.truth, compared.mesh.vertices);
    const sound = await this._loadSound();
    this.clock = new Clock(scene.duration_s, sound?.audio ?? null);
    this.stage.resize();
    const loading = this.results.map((result) => this._loadResult(result));
    if (this.truth) loading.push(this.truth.load());
    requestAnimationFrame(() => this._turn());
    await Promise.all(loading);
    this._setPanes();
    this._makeTimeline(sound);
    this.stage.frameAll();
    this._enableTools();
    this.ready = true;
    this._showTime();
  }

  async _loadSound() {
    if (!this.scene.sound) return null;
    const response = await fetch(this.scene.sound.address);
    const bytes = await response.arrayBuffer();
    const audio = new Audio(URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })));
    audio.preload = "auto";
    await new Promise((resolve) => {
      audio.addEventListener("loadedmetadata", resolve, { once: true });
      audio.addEventListener("error", resolve, { once: true });
    });
    if (audio.error) {
      addNote(`this browser cannot play the sound (${audio.error.message})`, true);
      return { audio: null, samples: new Int16Array(bytes, WAV_HEADER_BYTES) };
    }
    return { audio, samples: new Int16Array(bytes, WAV_HEADER_BYTES) };
  }

  async _loadResult(result) {
    const note = addNote(`${result.name}: loading`);
    try {
      await result.load((share) => {
        note.textContent = `${result.name}: loading, ${Math.round(100 * share)} %`;
      });
      note.remove();
    } catch (error) {
      note.textContent = `${result.name}: ${error.message}`;
      note.classList.add("wrong");
      throw error;
    }
    this._applyShown(result);
  }

  _makeTimeline(sound) {
    const { words, phones, visemes } = this.scene.timeline;
    const curves = this.results
      .filter((r) => Object.keys(r.curves).length)
      .map((r) => ({ name: r.name, colour: resultColour(r.index), fps: r.fps, values: r.curves }));
    const box = element("timeline");
    box.setAttribute("aria-valuemax", this.scene.duration_s.toFixed(2));
    box.hidden = this.scene.duration_s <= 0;
    this.timeline = new Timeline(
      box,
      {
        duration: this.scene.duration_s,
        samples: sound?.samples ?? null,
        soundDuration: this.scene.sound?.duration_s ?? 0,
        words,
        phones,
        visemes,
        curves,
      },
      (seconds) => this.seek(seconds),
    );
    if (this.scene.timeline.phones_estimated) {
      box.title = "Visemes: times estimated within the words";
    }
    // The timeline takes its height from its rows, and the stage what is left.
    this.timeline.draw();
    this.resize();
  }

  _enableTools() {
    const has = { splats: (r) => r.view.hasSplats && r.view.hasMesh, heat: () => this.truth };
    for (const [name, test] of Object.entries(has)) {
      document.querySelector(`[data-toggle=${name}]`).hidden = !this.results.some(test);
    }
    const names = this.results.map((r) => r.name).join(", ");
    element("title").textContent = names;
    element("title").title = names;
    document.title = `${names} – learn2talk viewer`;
    for (const id of ["play", "back", "on", "loop", "speed"]) {
      element(id).disabled = this.scene.duration_s <= 0;
    }
    if (this.truth) this.setHeatMax(this._wholeHeatMax());
  }

  /** A maximum that suits what there is: the largest mean lip error, tripled, at least 1 mm. */
  _wholeHeatMax() {
    const values = this.results.flatMap((r) => [...(r.curves.lip_error_mm ?? [])]);
    const largest = values.reduce((most, one) => Math.max(most, one), 0);
    return largest > 0 ? Math.max(1, Math.round(3 * largest)) : 5;
  }

  // What a user can do.

  play() {
    this.clock.play();
    this._showPlaying();
  }

  pause() {
    this.clock.pause();
    this._showPlaying();
    this._showTime();
  }

  toggle() {
    if (this.clock.playing) this.pause();
    else this.play();
  }

  seek(seconds) {
    this.clock.seek(seconds);
    this._showTime();
  }

  /** Frames of the first result that moves, on or back; stops playing. */
  step(frames) {
    this.pause();
    const leading = this.leading;
    const frame = Math.floor(this.clock.time * leading.fps + 1e-6) + frames;
    this.seek(frame / leading.fps);
  }

  get leading() {
    return this.solid.find((r) => r.moves) ?? this.results.find((r) => r.moves) ?? this.results[0];
  }

  setLoop(loop) {
    this.clock.loop = loop;
    press(element("loop"), loop);
  }

  setSpeed(speed) {
    this.clock.rate = speed;
    element("speed").value = String(speed);
  }

  /** Any of splats, wireframe, landmarks, heat: true or false. */
  show(parts) {
    if (parts.heat && !this.truth) return;
    Object.assign(this.shown, parts);
    for (const [name, value] of Object.entries(this.shown)) {
      press(document.querySelector(`[data-toggle=${name}]`), value);
    }
    for (const result of this.results) this._applyShown(result);
    showScale(this.shown.heat, this.heatMax);
    this._showTime();
    this.stage.invalidate();
  }

  _applyShown(result) {
    const { splats, wireframe, landmarks } = this.shown;
    result.view.show({ splats, wireframe, landmarks });
  }

  setHeatMax(mm) {
    if (!(mm > 0)) return;
    this.heatMax = mm;
    element("heat-max").value = String(mm);
    showScale(this.shown.heat, mm);
    this._showTime();
  }

  /** One result alone, by its index; null shows all. */
  solo(index) {
    if (index !== null && !this.results[index]) return;
    this.soloed = index;
    this._setPanes();
    this._showTime();
  }

  _setPanes() {
    this.stage.setPanes(this.solid);
    this.stage.frameAgain();
    this._placeLabels();
  }

  _placeLabels() {
    placeLabels(this.solid, this.stage.layout());
  }

  /** Come close to the mouth, from the front; the face as a whole where no lips are known. */
  lookAtMouth() {
    const box = this.solid.map((r) => r.view.mouthBounds()).find((one) => !one.isEmpty());
    if (box) this.stage.frameBox(box);
    else this.stage.goHome();
  }

  setTheme(theme) {
    this.theme = theme;
    applyTheme(theme);
    this.stage.setBackground(cssColour("stage"));
    this.timeline?.draw();
  }

  resize() {
    this.stage.resize();
    this.stage.frameAgain();
    this._placeLabels();
    if (this.timeline && this.scene.duration_s > 0) {
      this.timeline.draw();
      this.timeline.place(this.clock.time);
    }
  }

  /** The picture as a canvas. */
  picture() {
    return composePicture(this.stage, {
      labels: this.solid.map((r) => [r.name, errorText(r.error)]),
      caption: `${element("time").textContent}   ${element("frame").textContent}`,
      heatMax: this.shown.heat ? this.heatMax : 0,
      ink: cssColour("text"),
      paper: cssColour("panel"),
    });
  }

  savePicture() {
    this.picture().toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${this.solid[0].name.replace(/\.\w+$/, "")}_frame${this.solid[0].frame}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  // What happens in time.

  _turn() {
    requestAnimationFrame(() => this._turn());
    const playing = this.clock.playing;
    this.clock.tick();
    if (playing) this._showTime();
    if (playing !== this.clock.playing) this._showPlaying();
    if (this.stage.drawIfStale()) this._drawTimes.push(performance.now());
    this._showFps();
  }

  _showTime() {
    this.showAs(this.clock.time, !this.clock.playing);
  }

  /** Show a time; its numbers at once, or as often as they can be read. */
  showAs(seconds, told = false) {
    const heatMax = this.shown.heat ? this.heatMax : 0;
    let changed = false;
    for (const result of this.solid) {
      changed = result.showAt(seconds, this.truth, heatMax) || changed;
    }
    if (changed) this.stage.invalidate();
    if (!this.ready) return;
    if (this.scene.duration_s > 0) this.timeline.place(seconds);
    const now = performance.now();
    if (told || now - this._told > TELL_MS) {
      this._told = now;
      this._tellTime(seconds);
    }
  }

  /** The time in words and numbers. */
  _tellTime(seconds) {
    const { leading } = this;
    element("time").textContent = `${seconds.toFixed(2)} / ${this.scene.duration_s.toFixed(2)} s`;
    const held = leading.moves && seconds * leading.fps >= leading.numFrames;
    element("frame").textContent = leading.moves
      ? `frame ${frameAt(seconds, leading.fps, leading.numFrames)} of ${leading.numFrames}` +
        (held ? " (held)" : "")
      : "at rest";
    element("said").textContent = this._saidAt(seconds);
    showErrors(this.solid);
    element("timeline").setAttribute("aria-valuenow", seconds.toFixed(2));
    element("timeline").setAttribute("aria-valuetext", `${seconds.toFixed(2)} seconds`);
  }

  _saidAt(seconds) {
    const { words, phones, visemes } = this.scene.timeline;
    const at = (items) => items.findIndex((one) => seconds >= one.start_s && seconds < one.end_s);
    const word = words[at(words)]?.word;
    const phone = at(phones);
    const parts = [];
    if (word) parts.push(word);
    if (phone >= 0) parts.push(`/${phones[phone].phone}/ viseme ${visemes[phone]}`);
    return parts.join(" · ");
  }

  _showPlaying() {
    const button = element("play");
    const name = this.clock.playing ? "Pause" : "Play";
    button.setAttribute("aria-label", name);
    button.title = `${name} (Space)`;
  }

  _showFps() {
    const now = performance.now();
    while (this._drawTimes.length && this._drawTimes[0] < now - FPS_WINDOW_MS) {
      this._drawTimes.shift();
    }
    if (now - this._fpsTold < 500) return;
    this._fpsTold = now;
    const text = this._drawTimes.length > 1 ? `${this._drawTimes.length} fps` : "";
    if (element("fps").textContent !== text) element("fps").textContent = text;
  }
}
