// The results of a scene in time: which frame each shows, and how far it is from the truth.

import { FaceView } from "./face_view.js";
import { Frames, fetchArray, fetchSplats, fetchTopology } from "./loading.js";
import { vertexDistances } from "./surface.js";

/** Frame of a motion at a time: the one whose span holds it; the last is held. */
export function frameAt(seconds, fps, numFrames) {
  return Math.max(0, Math.min(Math.floor(seconds * fps + 1e-6), numFrames - 1));
}

export class ShownResult {
  constructor(described, index) {
    this.described = described;
    this.index = index;
    this.name = described.name;
    this.view = new FaceView();
    this.frame = -1;
    this.curves = {};
    this.errors = null;
    this.error = null; // { mean, largest } in mm of the frame that is shown
  }

  get numFrames() {
    return this.described.mesh?.num_frames ?? 1;
  }

  get fps() {
    return this.described.mesh?.fps ?? 25;
  }

  get moves() {
    return this.numFrames > 1;
  }

  /** Fetch what is needed to show the first frame, then the others; `progress` of 0 to 1. */
  async load(progress) {
    const { mesh, splats, curves } = this.described;
    if (mesh) {
      this.view.setTopology(await fetchTopology(mesh));
      this.frames = new Frames(mesh, mesh.vertices);
      this.buffer = new Float32Array(3 * mesh.vertices);
      if (this.described.compared) this.errors = new Float32Array(mesh.vertices);
    }
    if (splats) this.view.setSplats(await fetchSplats(splats, progress));
    if (mesh) await this.frames.load(progress);
    for (const [name, address] of Object.entries(curves)) {
      this.curves[name] = await fetchArray(address, Float32Array);
    }
  }

  /** Show the frame of a time; whether that changed anything. */
  showAt(seconds, truth, heatMax) {
    if (!this.frames || this.frames.arrived === 0) return false;
    const frame = frameAt(seconds, this.fps, Math.min(this.numFrames, this.frames.arrived));
    const real = truth ? (this.moves ? frame : frameAt(seconds, truth.fps, truth.numFrames)) : 0;
    // Behind the truth's end there is nothing to compare with.
    const heat = heatMax > 0 && truth && this.errors !== null && real < truth.numFrames;
    const wanted = heat ? heatMax : 0;
    const still = frame === this.frame && (!heat || real === this.realFrame);
    if (still && wanted === this.view.errorMax) return false;
    this.realFrame = real;
    if (frame !== this.frame) {
      this.frame = frame;
      this.view.setVertices(this.frames.into(frame, this.buffer));
    }
    if (heat) {
      this.error = vertexDistances(this.buffer, truth.at(real), this.errors);
      this.view.setErrors(this.errors, heatMax);
    } else {
      this.error = null;
      this.view.setErrors(null, 0);
    }
    return true;
  }
}

export class Truth {
  constructor(described, numVertices) {
    this.name = described.name;
    this.fps = described.fps;
    this.frames = new Frames(described, numVertices);
    this.numFrames = described.num_frames;
    this.buffer = new Float32Array(3 * numVertices);
    this.frame = -1;
  }

  load() {
    return this.frames.load();
  }

  /** Vertices of a frame; behind the end those of the last one. */
  at(frame) {
    const wanted = Math.min(frame, Math.max(0, this.frames.arrived - 1));
    if (wanted !== this.frame) {
      this.frames.into(wanted, this.buffer);
      this.frame = wanted;
    }
    return this.buffer;
  }
}
