// Where splats are: their own centres, or those in the frames of the triangles that they ride on.

import { FRAME_FLOATS, triangleFrames } from "./triangle_frames.js";

export const SHAPE_FLOATS = 12; // of `shapes`: position 3, opacity, covariance 6, triangle, 0

export const FRAME_COLUMNS = 512; // triangles in a row of the texture of `frames`

export class SplatPlaces {
  /** `data` as `fetchSplats` gives it; `triangles` (3 F) of the mesh of bound splats. */
  constructor(data, triangles) {
    this.count = data.count;
    this.bound = data.bound;
    this.shapes = data.shapes;
    this.triangles = triangles;
    this.positions = new Float32Array(3 * data.count);
    this.frames = null; // whole rows of a texture
    if (data.bound) {
      const rows = Math.ceil(triangles.length / 3 / FRAME_COLUMNS);
      this.frames = new Float32Array(FRAME_FLOATS * FRAME_COLUMNS * rows);
      return;
    }
    for (let i = 0; i < data.count; i++) {
      this.positions.set(data.shapes.subarray(SHAPE_FLOATS * i, SHAPE_FLOATS * i + 3), 3 * i);
    }
  }

  /** Move bound splats with the vertices (3 V) of their mesh. */
  place(vertices) {
    const { frames, positions, shapes } = this;
    triangleFrames(vertices, this.triangles, frames);
    for (let i = 0, s = 0, p = 0; i < this.count; i++, s += SHAPE_FLOATS, p += 3) {
      const f = FRAME_FLOATS * shapes[s + 10];
      const x = shapes[s];
      const y = shapes[s + 1];
      const z = shapes[s + 2];
      positions[p] = frames[f] * x + frames[f + 4] * y + frames[f + 8] * z + frames[f + 3];
      positions[p + 1] = frames[f + 1] * x + frames[f + 5] * y + frames[f + 9] * z + frames[f + 7];
      positions[p + 2] =
        frames[f + 2] * x + frames[f + 6] * y + frames[f + 10] * z + frames[f + 11];
    }
  }
}
