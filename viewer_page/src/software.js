// Whether WebGL runs on the processor: there, what draws many small things is better done by hand.

let found = null;

/** True where no graphics card draws this page. */
export function drawsInSoftware() {
  if (found === null) {
    const gl = document.createElement("canvas").getContext("webgl2");
    const info = gl?.getExtension("WEBGL_debug_renderer_info");
    const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "";
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    found = /swiftshader|llvmpipe|software/i.test(name);
  }
  return found;
}
