// Splats without a graphics card: painted tile by tile from near to far, each pixel only until nothing
// behind it can be seen any more. The equations are those of splat_shader.js; a renderer of WebGL on
// the processor draws every splat from far to near in full, which takes several times as long.

import {
  CustomBlending,
  DataTexture,
  GLSL3,
  LinearFilter,
  Mesh,
  OneFactor,
  OneMinusSrcAlphaFactor,
  PlaneGeometry,
  RGBAFormat,
  RawShaderMaterial,
  UnsignedByteType,
} from "three";
import { DepthSort } from "./depth_sort.js";
import { harmonicColour } from "./harmonics.js";
import { SHAPE_FLOATS, SplatPlaces } from "./splat_places.js";
import { FRAME_FLOATS } from "./triangle_frames.js";

const LOW_PASS = 0.3; // pixels squared, as in the shader
const UNSEEN = 1 / 255; // what is left of the light behind a pixel that is done
const SLOW_MS = 25; // a painting that takes longer is coarser the next time, while things move
const FAST_MS = 20;
const COARSEST = 0.5;
const TILE = 32; // pixels: its light stays in the processor's nearest cache
const SEEN = 7; // floats of a projected splat
const TABLE = 2048;
const TABLE_REACH = 12; // above 2 ln 255, the farthest that a splat is seen, squared
const TO_TABLE = TABLE / TABLE_REACH;
const FALLOFF = Float32Array.from({ length: TABLE + 1 }, (_, i) =>
  Math.exp((-0.5 * (i + 0.5) * TABLE_REACH) / TABLE),
);

const vertexShader = /* glsl */ `
in vec3 position;
out vec2 place;

void main() {
  place = 0.5 * position.xy + 0.5;
  gl_Position = vec4(position.xy, 0.0, 1.0);
}
`;

const fragmentShader = /* glsl */ `
precision mediump float;
uniform sampler2D picture;
in vec2 place;
out vec4 shown;

void main() {
  shown = texture(picture, place);
}
`;

export class SplatPainter {
  /** As `SplatCloud`. */
  constructor(data, triangles) {
    this.places = new SplatPlaces(data, triangles);
    this.sorting = new DepthSort(data.count);
    this.degree = data.degree;
    this.moved = true;
    this.scale = 1; // of the picture while things move
    this.coarse = false; // whether the last one was painted smaller than it is shown
    this._last = "";
    this._prepareSplats(data);
    const material = new RawShaderMaterial({
      glslVersion: GLSL3,
      uniforms: { picture: { value: null } },
      vertexShader,
      fragmentShader,
      transparent: true,
      depthTest: false,
      depthWrite: false,
      blending: CustomBlending,
      blendSrc: OneFactor,
      blendDst: OneMinusSrcAlphaFactor,
    });
    this.object = new Mesh(new PlaneGeometry(2, 2), material);
    this.object.frustumCulled = false;
    this.object.renderOrder = 1;
  }

  get positions() {
    return this.places.positions;
  }

  /** What does not depend on the camera, and room for what does. */
  _prepareSplats({ count, shapes, harmonics }) {
    this.reach = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      this.reach[i] = 2 * Math.log(255 * shapes[SHAPE_FLOATS * i + 3]);
    }
    this.halves = harmonics;
    this.halvesOfEach = harmonics.length / Math.max(1, count);
    this.colours = new Float32Array(3 * count);
    this.coloured = new Uint32Array(count); // in which painting a splat's colour was looked up
    this.painting = 0;
    this.seen = new Float32Array(SEEN * count); // see _project
    this.light = new Float64Array(4 * TILE * TILE); // red, green, blue, what is left of the background
    this.next = new Int32Array((TILE + 1) * TILE);
  }

  setVertices(vertices) {
    if (!this.places.bound) return;
    this.places.place(vertices);
    this.moved = true;
  }

  /**
   * As `SplatCloud`. While things move (not `settled`) the picture is as coarse as it must be to be
   * painted in time, down to half the size; what stands still is painted in full.
   */
  prepare(camera, width, height, settled) {
    const scale = settled ? 1 : this.scale;
    const [w, h] = [Math.round(scale * width), Math.round(scale * height)];
    const view = camera.matrixWorldInverse.elements;
    const key = `${w} ${h} ${camera.projectionMatrix.elements[5]} ${view.join(" ")}`;
    if (!this.moved && key === this._last) return;
    this.moved = false;
    this._last = key;
    const started = performance.now();
    this._resize(w, h);
    const direction = [-view[2], -view[6], -view[10]];
    this.sorting.sort(this.positions, direction);
    this._project(view, camera.projectionMatrix.elements, w, h);
    this._paint(camera.matrixWorld.elements, w, h);
    this.picture.needsUpdate = true;
    this.coarse = scale < 1;
    if (settled) return;
    const passed = performance.now() - started;
    if (passed > SLOW_MS) this.scale = Math.max(COARSEST, 0.9 * scale);
    else if (passed < FAST_MS) this.scale = Math.min(1, 1.05 * scale);
  }

  _resize(w, h) {
    if (this.picture?.image.width === w && this.picture?.image.height === h) return;
    this.picture?.dispose();
    this.pixels = new Uint8Array(4 * w * h);
    this.words = new Uint32Array(this.pixels.buffer);
    this.columns = Math.ceil(w / TILE);
    this.rows = Math.ceil(h / TILE);
    this.starts = new Uint32Array(this.columns * this.rows + 1);
    this.picture = new DataTexture(this.pixels, w, h, RGBAFormat, UnsignedByteType);
    this.picture.minFilter = LinearFilter;
    this.picture.magFilter = LinearFilter;
    this.object.material.uniforms.picture.value = this.picture;
  }

  /**
   * Seven numbers of each splat: centre in pixels (y up), inverse covariance (xx, xy, yy), half its
   * width and height; height 0: unseen.
   */
  _project(view, projection, w, h) {
    const { seen, reach } = this;
    const { bound, count, frames, positions, shapes } = this.places;
    const [r00, r10, r20, , r01, r11, r21, , r02, r12, r22, , t0, t1, t2] = view;
    const fx = 0.5 * w * projection[0];
    const fy = 0.5 * h * projection[5];
    for (let i = 0, p = 0, s = 0, o = 0; i < count; i++, p += 3, s += SHAPE_FLOATS, o += SEEN) {
      seen[o + 6] = 0;
      if (!(reach[i] > 0)) continue;
      const x = positions[p];
      const y = positions[p + 1];
      const z = positions[p + 2];
      const depth = -(r20 * x + r21 * y + r22 * z + t2);
      if (depth < 1) continue;
      const near = 1 / depth;
      const sx = (r00 * x + r01 * y + r02 * z + t0) * near;
      const sy = (r10 * x + r11 * y + r12 * z + t1) * near;
      const cx = 0.5 * w + fx * sx;
      const cy = 0.5 * h + fy * sy;
      if (cx < -0.15 * w || cx > 1.15 * w || cy < -0.15 * h || cy > 1.15 * h) continue;
      // Rows of the projection's derivative in the space of the mesh, then of the splat.
      let ux = fx * near * (r00 + sx * r20);
      let uy = fx * near * (r01 + sx * r21);
      let uz = fx * near * (r02 + sx * r22);
      let vx = fy * near * (r10 + sy * r20);
      let vy = fy * near * (r11 + sy * r21);
      let vz = fy * near * (r12 + sy * r22);
      if (bound) {
        const f = FRAME_FLOATS * shapes[s + 10];
        const ua = ux * frames[f] + uy * frames[f + 1] + uz * frames[f + 2];
        const ub = ux * frames[f + 4] + uy * frames[f + 5] + uz * frames[f + 6];
        uz = ux * frames[f + 8] + uy * frames[f + 9] + uz * frames[f + 10];
        ux = ua;
        uy = ub;
        const va = vx * frames[f] + vy * frames[f + 1] + vz * frames[f + 2];
        const vb = vx * frames[f + 4] + vy * frames[f + 5] + vz * frames[f + 6];
        vz = vx * frames[f + 8] + vy * frames[f + 9] + vz * frames[f + 10];
        vx = va;
        vy = vb;
      }
      const xx = shapes[s + 4];
      const xy = shapes[s + 5];
      const xz = shapes[s + 6];
      const yy = shapes[s + 7];
      const yz = shapes[s + 8];
      const zz = shapes[s + 9];
      const ex = xx * ux + xy * uy + xz * uz;
      const ey = xy * ux + yy * uy + yz * uz;
      const ez = xz * ux + yz * uy + zz * uz;
      const a = ux * ex + uy * ey + uz * ez + LOW_PASS;
      const b = vx * ex + vy * ey + vz * ez;
      const c =
        vx * (xx * vx + xy * vy + xz * vz) +
        vy * (xy * vx + yy * vy + yz * vz) +
        vz * (xz * vx + yz * vy + zz * vz) +
        LOW_PASS;
      const scale = 1 / (a * c - b * b);
      seen[o] = cx;
      seen[o + 1] = cy;
      seen[o + 2] = c * scale;
      seen[o + 3] = -b * scale;
      seen[o + 4] = a * scale;
      seen[o + 5] = Math.sqrt(reach[i] * a);
      seen[o + 6] = Math.sqrt(reach[i] * c);
    }
  }

  /** For each tile the splats that touch it, from near to far: `list` from `starts` on. */
  _bin() {
    const { columns, rows, seen, starts } = this;
    const { order } = this.sorting;
    starts.fill(0);
    const touched = (visit) => {
      for (let rank = order.length - 1; rank >= 0; rank--) {
        const o = SEEN * order[rank];
        const tall = seen[o + 6];
        if (tall === 0) continue;
        const wide = seen[o + 5];
        const left = Math.max(0, Math.floor((seen[o] - wide) / TILE));
        const right = Math.min(columns - 1, Math.floor((seen[o] + wide) / TILE));
        const top = Math.min(rows - 1, Math.floor((seen[o + 1] + tall) / TILE));
        for (let row = Math.max(0, Math.floor((seen[o + 1] - tall) / TILE)); row <= top; row++) {
          for (let column = left; column <= right; column++) {
            visit(row * columns + column, order[rank]);
          }
        }
      }
    };
    touched((tile) => starts[tile + 1]++);
    for (let tile = 0; tile < columns * rows; tile++) starts[tile + 1] += starts[tile];
    const total = starts[columns * rows];
    if (!this.list || this.list.length < total) this.list = new Uint32Array(Math.ceil(1.5 * total));
    const places = starts.slice();
    const { list } = this;
    touched((tile, splat) => {
      list[places[tile]++] = splat;
    });
  }

  _paint(world, w, h) {
    this._bin();
    this.painting++;
    this.words.fill(0);
    for (let row = 0, tile = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++, tile++) {
        if (this.starts[tile] === this.starts[tile + 1]) continue;
        const left = column * TILE;
        const bottom = row * TILE;
        const [wide, tall] = [Math.min(TILE, w - left), Math.min(TILE, h - bottom)];
        this._paintTile(tile, left, bottom, wide, tall, world);
        this._pack(left, bottom, wide, tall, w);
      }
    }
  }

  /** `next` leads each pixel of a row to the first from there on that is not done. */
  _paintTile(tile, left, bottom, wide, tall, world) {
    const { colours, light, list, next, reach, seen, starts } = this;
    const { shapes } = this.places;
    light.fill(0);
    for (let at = 3; at < light.length; at += 4) light[at] = 1;
    for (let y = 0, at = 0; y < TILE; y++) for (let x = 0; x <= TILE; x++) next[at++] = x;
    let open = wide * tall;
    const end = starts[tile + 1];
    for (let place = starts[tile]; place < end && open > 0; place++) {
      const i = list[place];
      const o = SEEN * i;
      const cx = seen[o] - left;
      const cy = seen[o + 1] - bottom;
      const a = seen[o + 2];
      const b = seen[o + 3];
      const c = seen[o + 4];
      const half = seen[o + 6];
      const most = reach[i];
      const last = Math.min(tall - 1, Math.floor(cy + half - 0.5)) | 0;
      const inverse = 1 / a;
      const scaled = a * TO_TABLE;
      let opacity = 0; // looked up, as the colour is, once a pixel of the splat is seen
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let y = Math.max(0, Math.ceil(cy - half - 0.5)) | 0; y <= last; y++) {
        const dy = y + 0.5 - cy;
        const inside = b * b * dy * dy - a * (c * dy * dy - most);
        if (!(inside > 0)) continue;
        const span = Math.sqrt(inside) * inverse;
        const middle = cx - b * dy * inverse - 0.5;
        const stop = Math.min(wide - 1, Math.floor(middle + span)) | 0;
        const row = y * (TILE + 1);
        let x = Math.max(0, Math.ceil(middle - span)) | 0; // whole numbers count faster than floats
        if (x > stop) continue;
        if (next[row + x] !== x) x = this._follow(row, x);
        if (x > stop) continue;
        if (opacity === 0) {
          this._lookUp(i, world);
          opacity = Math.min(shapes[SHAPE_FLOATS * i + 3], 0.999);
          red = colours[3 * i];
          green = colours[3 * i + 1];
          blue = colours[3 * i + 2];
        }
        const bend = 2 * b * dy * TO_TABLE;
        const rest = c * dy * dy * TO_TABLE;
        while (x <= stop) {
          const dx = x + 0.5 - cx;
          const pixel = 4 * (y * TILE + x);
          const before = light[pixel + 3];
          const share = before * opacity * FALLOFF[(dx * (scaled * dx + bend) + rest) | 0];
          light[pixel] += share * red;
          light[pixel + 1] += share * green;
          light[pixel + 2] += share * blue;
          light[pixel + 3] = before - share;
          if (before - share < UNSEEN) {
            next[row + x] = x + 1;
            open--;
          }
          x++;
          if (next[row + x] !== x) x = this._follow(row, x);
        }
      }
    }
  }

  /** The first pixel from x on that is not done, remembered for the next time. */
  _follow(row, x) {
    const { next } = this;
    let at = x;
    while (next[row + at] !== at) at = next[row + at];
    next[row + x] = at;
    return at;
  }

  _lookUp(i, world) {
    if (this.coloured[i] === this.painting) return;
    this.coloured[i] = this.painting;
    const { positions } = this.places;
    const p = 3 * i;
    harmonicColour(
      this.halves,
      this.halvesOfEach * i,
      this.degree,
      positions[p] - world[12],
      positions[p + 1] - world[13],
      positions[p + 2] - world[14],
      this.colours,
      p,
    );
  }

  _pack(left, bottom, wide, tall, w) {
    const { light, words } = this;
    for (let y = 0; y < tall; y++) {
      let to = (bottom + y) * w + left;
      for (let at = 4 * TILE * y, end = at + 4 * wide; at < end; at += 4, to++) {
        const behind = light[at + 3];
        if (behind === 1) continue;
        const red = Math.min(255, (255 * light[at] + 0.5) | 0);
        const green = Math.min(255, (255 * light[at + 1] + 0.5) | 0);
        const blue = Math.min(255, (255 * light[at + 2] + 0.5) | 0);
        words[to] = (((255 * (1 - behind) + 0.5) | 0) << 24) | (blue << 16) | (green << 8) | red;
      }
    }
  }

  dispose() {
    this.picture?.dispose();
    this.object.geometry.dispose();
    this.object.material.dispose();
  }
}
