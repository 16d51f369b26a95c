// Splats to draw: their data and their order as textures, four corners each without any attribute.
// Not instanced: a renderer on the processor (SwiftShader) draws each instance by itself, which took
// 20 times as long for 20 000 splats.

import {
  AddEquation,
  CustomBlending,
  DataTexture,
  FloatType,
  GLSL3,
  HalfFloatType,
  BufferAttribute,
  BufferGeometry,
  Mesh,
  NearestFilter,
  OneFactor,
  OneMinusSrcAlphaFactor,
  RGBAFormat,
  RawShaderMaterial,
  RedIntegerFormat,
  UnsignedIntType,
  Vector2,
} from "three";
import { DepthSort } from "./depth_sort.js";
import { FRAME_COLUMNS, SplatPlaces } from "./splat_places.js";
import { splatFragmentShader, splatVertexShader } from "./splat_shader.js";

const ORDER_COLUMNS = 1024;
const TURNED = 1e-4; // a camera that turned by less keeps the order

function texture(data, width, height, type, format = RGBAFormat) {
  const made = new DataTexture(data, width, height, format, type);
  made.minFilter = NearestFilter;
  made.magFilter = NearestFilter;
  made.needsUpdate = true;
  return made;
}

/** `data` as a texture whose rows hold whole records of `texels` RGBA texels, `columns` a row. */
function recordTexture(data, Type, count, texels, columns, type) {
  const rows = Math.max(1, Math.ceil(count / columns));
  const size = rows * columns * texels * 4;
  let whole = data;
  if (data.length !== size) {
    whole = new Type(size);
    whole.set(data);
  }
  return texture(whole, columns * texels, rows, type);
}

/** Two triangles for each of so many quads whose corners are (-1, -1) (1, -1) (-1, 1) (1, 1). */
function quads(count) {
  const indices = new Uint32Array(6 * count);
  for (let i = 0, at = 0, v = 0; i < count; i++, at += 6, v += 4) {
    indices[at] = v;
    indices[at + 1] = v + 1;
    indices[at + 2] = v + 3;
    indices[at + 3] = v;
    indices[at + 4] = v + 3;
    indices[at + 5] = v + 2;
  }
  return indices;
}

export class SplatCloud {
  /** `data` as `fetchSplats` gives it; `triangles` of the mesh that bound splats ride on. */
  constructor(data, triangles) {
    this.places = new SplatPlaces(data, triangles);
    const rows = Math.max(1, Math.ceil(data.count / ORDER_COLUMNS));
    const ranks = new Uint32Array(rows * ORDER_COLUMNS);
    this.sorting = new DepthSort(data.count, ranks.subarray(0, data.count));
    this.order = texture(ranks, ORDER_COLUMNS, rows, UnsignedIntType, RedIntegerFormat);
    this.order.internalFormat = "R32UI";
    this.moved = true;
    this._direction = [0, 0, 0];
    const texels = Math.ceil((3 * (data.degree + 1) ** 2) / 4);
    const uniforms = {
      viewport: { value: new Vector2(1, 1) },
      order: { value: this.order },
      orderColumns: { value: ORDER_COLUMNS },
      shapes: { value: recordTexture(data.shapes, Float32Array, data.count, 3, 1024, FloatType) },
      shapeColumns: { value: 1024 },
      harmonics: {
        value: recordTexture(data.harmonics, Uint16Array, data.count, texels, 256, HalfFloatType),
      },
      harmonicColumns: { value: 256 },
      frames: { value: null },
      frameColumns: { value: FRAME_COLUMNS },
    };
    const { frames } = this.places;
    if (frames) {
      const tall = frames.length / 12 / FRAME_COLUMNS;
      uniforms.frames.value = texture(frames, 3 * FRAME_COLUMNS, tall, FloatType);
    }
    const geometry = new BufferGeometry();
    geometry.setIndex(new BufferAttribute(quads(data.count), 1));
    const material = new RawShaderMaterial({
      glslVersion: GLSL3,
      uniforms,
      vertexShader: splatVertexShader(data.degree, data.bound),
      fragmentShader: splatFragmentShader,
      transparent: true,
      depthTest: true,
      depthWrite: false,
      blending: CustomBlending,
      blendEquation: AddEquation,
      blendSrc: OneFactor,
      blendDst: OneMinusSrcAlphaFactor,
    });
    this.object = new Mesh(geometry, material);
    this.object.frustumCulled = false;
    this.object.renderOrder = 1;
  }

  get positions() {
    return this.places.positions;
  }

  /** Move bound splats with the vertices (3 V) of their mesh. */
  setVertices(vertices) {
    if (!this.places.bound) return;
    this.places.place(vertices);
    this.object.material.uniforms.frames.value.needsUpdate = true;
    this.moved = true;
  }

  /** Before each drawing: order by depth where camera or splats moved; the picture's size. */
  prepare(camera, width, height) {
    this.object.material.uniforms.viewport.value.set(width, height);
    const e = camera.matrixWorld.elements;
    const direction = [-e[8], -e[9], -e[10]];
    const turned = direction.some((value, i) => Math.abs(value - this._direction[i]) > TURNED);
    if (!turned && !this.moved) return;
    this._direction = direction;
    this.moved = false;
    this.sorting.sort(this.positions, direction);
    this.order.needsUpdate = true;
  }

  dispose() {
    const { uniforms } = this.object.material;
    for (const name of ["order", "shapes", "harmonics", "frames"]) {
      uniforms[name].value?.dispose();
    }
    this.object.geometry.dispose();
    this.object.material.dispose();
  }
}
