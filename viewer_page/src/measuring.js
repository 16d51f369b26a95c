// How fast the page draws, and what it drew: for tests and benchmarks.

/**
 * Draw as fast as the browser shows pictures, for so many seconds: each picture with the next frame
 * of the motion and the camera a little further, so that nothing is drawn from before. With `full`
 * every picture is drawn as if nothing moved: painted splats then are never coarser than shown.
 * Gives the time of each picture in ms from the one before it.
 */
export async function measureDrawing(viewer, seconds, { full = false } = {}) {
  viewer.pause();
  const times = [];
  const started = performance.now();
  let last = null;
  await new Promise((resolve) => {
    const next = (now) => {
      if (last !== null) times.push(now - last);
      last = now;
      if (now - started > 1000 * seconds) {
        resolve();
        return;
      }
      const { leading, scene } = viewer;
      if (leading.moves) viewer.showAs((times.length / leading.fps) % scene.duration_s);
      viewer.stage.lookFrom(20 * Math.sin(times.length / 15), 0);
      if (full) viewer.stage.draw();
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  viewer.stage.goHome();
  viewer.seek(0);
  return times;
}

/** Share of the pixels of the stage that are not background, and how many colours there are. */
export function coverage(viewer) {
  const { stage } = viewer;
  stage.draw();
  const { canvas } = stage;
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0);
  const { data } = pen.getImageData(0, 0, copy.width, copy.height);
  const colours = new Set();
  let other = 0;
  for (let i = 0; i < data.length; i += 4) {
    const key = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    colours.add(key);
    const far =
      Math.abs(data[i] - data[0]) + Math.abs(data[i + 1] - data[1]) + Math.abs(data[i + 2] - data[2]);
    if (far > 12) other++;
  }
  return { covered: other / (data.length / 4), colours: colours.size };
}

/** [r, g, b] of the stage at CSS pixels from its top left corner. */
export function pixelAt(viewer, x, y) {
  const { stage } = viewer;
  stage.draw();
  const gl = stage.renderer.getContext();
  const ratio = stage.renderer.getPixelRatio();
  const place = [Math.floor(x * ratio), Math.floor(stage.canvas.height - 1 - y * ratio)];
  const found = new Uint8Array(4);
  gl.readPixels(...place, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, found);
  return [...found.slice(0, 3)];
}
