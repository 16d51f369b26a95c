// One face: its mesh, wireframe, landmarks and splats. Knows nothing of files, time or the page, so
// that frames may come from anywhere.
//
//   const face = new FaceView();
//   face.setTopology({ vertices, triangles });        // Float32Array (3 V) mm, Uint32Array (3 F)
//   face.setVertices(frame);                          // Float32Array (3 V), as often as you like
//   stage.setPanes([{ view: face }]);

import {
  Box3,
  BufferAttribute,
  BufferGeometry,
  DynamicDrawUsage,
  Group,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  Points,
  PointsMaterial,
  Vector3,
} from "three";
import { faceMaterial } from "./face_material.js";
import { drawsInSoftware } from "./software.js";
import { SplatCloud } from "./splat_cloud.js";
import { SplatPainter } from "./splat_painter.js";
import { smoothNormals, uniqueEdges } from "./surface.js";

const LANDMARK_COLOURS = [
  [0.0, 0.62, 0.9],
  [0.95, 0.6, 0.1],
  [0.2, 0.7, 0.35],
  [0.85, 0.3, 0.65],
  [0.55, 0.45, 0.95],
  [0.8, 0.75, 0.1],
];

export class FaceView {
  constructor() {
    this.object = new Group();
    this.shown = { surface: true, splats: true, wireframe: false, landmarks: false };
    this.errorMax = 0;
    this.topology = null;
    this.vertices = null;
    this.cloud = null;
    this.painted = drawsInSoftware(); // splats painted here, not by WebGL
  }

  get hasMesh() {
    return this.topology !== null;
  }

  get hasSplats() {
    return this.cloud !== null;
  }

  /**
   * The mesh that `setVertices` moves.
   * Needed: `vertices` (3 V, at rest) and `triangles` (3 F). The rest may be left out:
   * `surfaceTriangles` to draw instead, of drawn vertices that follow `source` at `sink` mm behind;
   * `colours` (sRGB bytes, one for each drawn vertex); `landmarks`: [{ name, ids, closed }].
   */
  setTopology(topology) {
    this._clearMesh();
    const count = topology.vertices.length / 3;
    const source = topology.source ?? Uint32Array.from({ length: count }, (_, i) => i);
    this.topology = {
      ...topology,
      source,
      sink: topology.sink ?? new Float32Array(source.length),
      surfaceTriangles: topology.surfaceTriangles ?? topology.triangles,
      landmarks: topology.landmarks ?? [],
    };
    this._buildSurface();
    this._buildLandmarks();
    this.setVertices(topology.vertices);
    this._apply();
  }

  /** Splats as `fetchSplats` gives them; bound ones need the topology first. */
  setSplats(data) {
    if (this.cloud) {
      this.object.remove(this.cloud.object);
      this.cloud.dispose();
    }
    this._splats = data;
    const Kind = this.painted ? SplatPainter : SplatCloud;
    this.cloud = new Kind(data, this.topology?.triangles);
    if (this.vertices) this.cloud.setVertices(this.vertices);
    this.object.add(this.cloud.object);
    this._apply();
  }

  /** Where the vertices are now: Float32Array (3 V), mm. The array is not kept. */
  setVertices(vertices) {
    const { source, sink, surfaceTriangles } = this.topology;
    this.vertices ??= new Float32Array(vertices.length);
    if (vertices !== this.vertices) this.vertices.set(vertices);
    const { position, normal } = this.geometry.attributes;
    const drawn = position.array;
    for (let i = 0, to = 0; i < source.length; i++, to += 3) {
      const from = 3 * source[i];
      drawn[to] = vertices[from];
      drawn[to + 1] = vertices[from + 1];
      drawn[to + 2] = vertices[from + 2] - sink[i];
    }
    position.needsUpdate = true;
    if (this.mesh.visible) {
      smoothNormals(drawn, surfaceTriangles, normal.array);
      normal.needsUpdate = true;
    }
    this._normalsStale = !this.mesh.visible;
    this._placeLandmarks();
    this.cloud?.setVertices(vertices);
  }

  /** Errors (V) in mm to colour the mesh by, up to `max` mm; null for the colours of regions. */
  setErrors(errors, max) {
    this.errorMax = errors === null ? 0 : max;
    if (!this.hasMesh) return;
    this.mesh.material.uniforms.errorMax.value = this.errorMax;
    if (errors !== null) {
      const { source } = this.topology;
      const { error } = this.geometry.attributes;
      for (let i = 0; i < source.length; i++) error.array[i] = errors[source[i]];
      error.needsUpdate = true;
    }
    this._apply();
  }

  /** Draw splats by this page's own painter, or by WebGL: without a graphics card it paints. */
  paintSplats(painted) {
    if (painted === this.painted) return;
    this.painted = painted;
    if (this.cloud) this.setSplats(this._splats);
  }

  /** What is shown: any of surface, splats, wireframe, landmarks. */
  show(parts) {
    Object.assign(this.shown, parts);
    this._apply();
  }

  /** Before each drawing by a camera into so many pixels; `settled`: nothing moves, take time. */
  prepare(camera, width, height, settled) {
    if (this.cloud?.object.visible) this.cloud.prepare(camera, width, height, settled);
  }

  /** Whether the last drawing was coarser than it could be. */
  get coarse() {
    return Boolean(this.cloud?.object.visible && this.cloud.coarse);
  }

  /** The box around what is there now. */
  bounds() {
    const box = new Box3();
    const points = this.vertices ?? this.cloud?.positions;
    if (points) box.setFromArray(points);
    return box;
  }

  /** A box around the mouth, one lip's width larger; empty where the lips are not known. */
  mouthBounds() {
    const box = new Box3();
    for (const { name, ids } of this.topology?.landmarks ?? []) {
      if (!name.startsWith("lips")) continue;
      for (const id of ids) box.expandByPoint(new Vector3().fromArray(this.vertices, 3 * id));
    }
    return box.isEmpty() ? box : box.expandByScalar(0.5 * (box.max.x - box.min.x));
  }

  dispose() {
    this._clearMesh();
    this.cloud?.dispose();
    this.object.clear();
  }

  _apply() {
    const { surface, splats, wireframe, landmarks } = this.shown;
    const withSplats = this.hasSplats && splats && !(this.hasMesh && this.errorMax > 0);
    if (this.cloud) this.cloud.object.visible = withSplats;
    if (!this.hasMesh) return;
    this.mesh.visible = surface && !withSplats; // one of both: splats show what the mesh is of
    this.wires.visible = wireframe;
    this.contours.visible = landmarks;
    this.points.visible = landmarks;
    if (this.mesh.visible && this._normalsStale) this.setVertices(this.vertices);
  }

  _buildSurface() {
    const { source, surfaceTriangles, colours } = this.topology;
    const count = source.length;
    this.geometry = new BufferGeometry();
    for (const [name, width] of [["position", 3], ["normal", 3], ["error", 1]]) {
      const attribute = new BufferAttribute(new Float32Array(width * count), width);
      this.geometry.setAttribute(name, attribute.setUsage(DynamicDrawUsage));
    }
    const plain = () => new Uint8Array(3 * count).fill(200);
    this.geometry.setAttribute("colour", new BufferAttribute(colours ?? plain(), 3, true));
    this.geometry.setIndex(new BufferAttribute(surfaceTriangles, 1));
    this.mesh = new Mesh(this.geometry, faceMaterial());
    this.mesh.frustumCulled = false;
    const lines = new BufferGeometry();
    lines.setAttribute("position", this.geometry.attributes.position);
    lines.setIndex(new BufferAttribute(uniqueEdges(surfaceTriangles), 1));
    const ink = { color: 0x1d3557, transparent: true, opacity: 0.55, depthWrite: false };
    this.wires = new LineSegments(lines, new LineBasicMaterial(ink));
    this.wires.frustumCulled = false;
    this.wires.renderOrder = 2;
    this.object.add(this.mesh, this.wires);
  }

  _buildLandmarks() {
    const lines = [];
    const dots = [];
    const lineColours = [];
    const dotColours = [];
    this.topology.landmarks.forEach(({ ids, closed }, index) => {
      const colour = LANDMARK_COLOURS[index % LANDMARK_COLOURS.length];
      if (closed) {
        ids.forEach((id, i) => {
          lines.push(id, ids[(i + 1) % ids.length]);
          lineColours.push(...colour, ...colour);
        });
      }
      for (const id of ids) {
        dots.push(id);
        dotColours.push(...colour);
      }
    });
    const made = (ids, colours, Kind, material) => {
      const geometry = new BufferGeometry();
      const positions = new BufferAttribute(new Float32Array(3 * ids.length), 3);
      geometry.setAttribute("position", positions.setUsage(DynamicDrawUsage));
      geometry.setAttribute("color", new BufferAttribute(new Float32Array(colours), 3));
      const object = new Kind(geometry, material);
      object.frustumCulled = false;
      object.renderOrder = 3;
      object.userData.ids = ids;
      this.object.add(object);
      return object;
    };
    this.contours = made(lines, lineColours, LineSegments, new LineBasicMaterial({ vertexColors: true }));
    const style = { vertexColors: true, size: 3, sizeAttenuation: false };
    this.points = made(dots, dotColours, Points, new PointsMaterial(style));
  }

  _placeLandmarks() {
    for (const object of [this.contours, this.points]) {
      const { position } = object.geometry.attributes;
      object.userData.ids.forEach((id, i) => {
        for (let axis = 0; axis < 3; axis++) {
          position.array[3 * i + axis] = this.vertices[3 * id + axis];
        }
      });
      position.needsUpdate = true;
    }
  }

  _clearMesh() {
    for (const part of [this.mesh, this.wires, this.contours, this.points]) {
      if (!part) continue;
      this.object.remove(part);
      part.geometry.dispose();
      part.material.dispose();
    }
    this.topology = null;
    this.vertices = null;
  }
}
