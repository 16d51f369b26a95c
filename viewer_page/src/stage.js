// Draws several faces side by side through one camera, in one canvas.

import { Box3, Color, PerspectiveCamera, Scene, Vector3, WebGLRenderer } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const FIELD_OF_VIEW = 22; // degrees: a portrait lens
const MARGIN = 1.04;
const SETTLED_MS = 200;
const LABEL_PIXELS = 44; // at the top of a pane: name and facts

export class Stage {
  /** `canvas` to draw into; `antialias` costs much where no graphics card is. */
  constructor(canvas, { antialias }) {
    this.renderer = new WebGLRenderer({ canvas, antialias, powerPreference: "high-performance" });
    this.renderer.autoClear = false;
    this.renderer.setScissorTest(true);
    this.canvas = canvas;
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 10, 20000);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = false;
    this.controls.addEventListener("change", () => {
      this._atHome &&= this._moving; // moved by the user
      this.invalidate();
    });
    this.panes = [];
    this.background = new Color(0xffffff);
    this.drawn = 0; // frames so far
    this._stale = true;
    this._changed = 0; // when something did last, ms
    this._atHome = true;
    this._moving = false;
    this._home = { position: new Vector3(0, 0, 1000), target: new Vector3() };
  }

  /** Panes: [{ view: FaceView }] in reading order. */
  setPanes(panes) {
    this.scene.clear();
    this.panes = panes;
    for (const pane of panes) this.scene.add(pane.view.object);
    this.invalidate();
  }

  setBackground(colour) {
    this.background.set(colour);
    this.invalidate();
  }

  invalidate() {
    this._stale = true;
  }

  /** Where each pane lies: [{ x, y, width, height }] in CSS pixels from the top left corner. */
  layout() {
    const count = this.panes.length;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    let best = { columns: 1, size: 0 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const size = Math.min(width / columns, height / rows);
      if (size > best.size + 0.5) best = { columns, size };
    }
    const rows = Math.ceil(count / best.columns);
    return this.panes.map((_, i) => ({
      x: Math.round(((i % best.columns) * width) / best.columns),
      y: Math.round((Math.floor(i / best.columns) * height) / rows),
      width: Math.floor(width / best.columns),
      height: Math.floor(height / rows),
    }));
  }

  /** Put the camera in front of everything that is there, and remember the place as home. */
  frameAll() {
    const box = new Box3();
    for (const { view } of this.panes) box.union(view.bounds());
    if (box.isEmpty()) return;
    this._home = this._before(box);
    const distance = this._home.position.distanceTo(this._home.target);
    this.camera.near = distance / 100;
    this.camera.far = distance * 20;
    this.goHome();
  }

  /** Put the camera in front of a box. */
  frameBox(box) {
    const { position, target } = this._before(box);
    this.camera.position.copy(position);
    this.controls.target.copy(target);
    this.controls.update();
    this.invalidate();
  }

  /** Where a camera stands that sees a box from the front below the labels, and what it looks at. */
  _before(box) {
    const target = box.getCenter(new Vector3());
    const size = box.getSize(new Vector3());
    const slope = Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
    const pane = this.layout()[0];
    const width = Math.max(1, pane?.width ?? 1);
    const height = Math.max(1, pane?.height ?? 1);
    const free = Math.max(0.5, 1 - LABEL_PIXELS / height); // of the height, below the label
    const needed = MARGIN * Math.max(size.y / free, (size.x * height) / width);
    const distance = needed / 2 / slope + size.z / 2;
    target.y += ((1 - free) * needed) / 2;
    return { position: target.clone().add(new Vector3(0, 0, distance)), target };
  }

  /** As `frameAll` where the camera still is at home: after the panes took another size. */
  frameAgain() {
    if (this._atHome) this.frameAll();
  }

  goHome() {
    this._moving = true;
    this.camera.position.copy(this._home.position);
    this.controls.target.copy(this._home.target);
    this.controls.update();
    this._moving = false;
    this._atHome = true;
    this.invalidate();
  }

  /** Look from a side: degrees to the viewer's right and up of the front. */
  lookFrom(yaw, pitch) {
    const { position, target } = this._home;
    const distance = position.distanceTo(target);
    const [y, p] = [(yaw * Math.PI) / 180, (pitch * Math.PI) / 180];
    const away = new Vector3(Math.sin(y) * Math.cos(p), Math.sin(p), Math.cos(y) * Math.cos(p));
    this.camera.position.copy(target).addScaledVector(away, distance);
    this.controls.target.copy(target);
    this.controls.update();
    this.invalidate();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.invalidate();
  }

  /** Draw if anything changed, and in full once nothing changes any more; whether it was drawn. */
  drawIfStale() {
    const now = performance.now();
    if (this._stale) this._changed = now;
    const settles = now - this._changed > SETTLED_MS && this.panes.some(({ view }) => view.coarse);
    if (!this._stale && !settles) return false;
    this.draw(settles);
    return true;
  }

  /** Draw now; not `settled`: as fast as it must be while things move. */
  draw(settled = true) {
    this._stale = false;
    const { renderer, camera, canvas } = this;
    const height = canvas.clientHeight;
    renderer.setClearColor(this.background);
    renderer.setViewport(0, 0, canvas.clientWidth, height);
    renderer.setScissor(0, 0, canvas.clientWidth, height);
    renderer.clear();
    const ratio = renderer.getPixelRatio();
    const places = this.layout();
    for (const pane of this.panes) pane.view.object.visible = false;
    this.panes.forEach((pane, i) => {
      const { x, y, width, height: tall } = places[i];
      if (width < 1 || tall < 1) return;
      const bottom = height - y - tall;
      renderer.setViewport(x, bottom, width, tall);
      renderer.setScissor(x, bottom, width, tall);
      camera.aspect = width / tall;
      camera.updateProjectionMatrix();
      camera.updateMatrixWorld();
      pane.view.object.visible = true;
      pane.view.prepare(camera, width * ratio, tall * ratio, settled);
      renderer.render(this.scene, camera);
      pane.view.object.visible = false;
    });
    this.drawn++;
  }
}
