// The skin of a mesh: smooth shading from both sides, colours of regions, or errors in millimetres.

import { DoubleSide, ShaderMaterial } from "three";
import { SCALE_GLSL } from "./colour_scale.js";

const vertexShader = /* glsl */ `
attribute vec3 colour;
attribute float error;
varying vec3 vNormal;
varying vec3 vView;
varying vec3 vColour;
varying float vError;

void main() {
  vec4 seen = viewMatrix * vec4(position, 1.0);
  vNormal = mat3(viewMatrix) * normal;
  vView = -seen.xyz;
  vColour = colour;
  vError = error;
  gl_Position = projectionMatrix * seen;
}
`;

const fragmentShader = /* glsl */ `
uniform float errorMax; // mm; 0: colours of the regions
varying vec3 vNormal;
varying vec3 vView;
varying vec3 vColour;
varying float vError;
${SCALE_GLSL}

void main() {
  vec3 normal = normalize(vNormal);
  vec3 towards = normalize(vView);
  if (dot(normal, towards) < 0.0) normal = -normal;
  bool measured = errorMax > 0.0;
  vec3 base = measured ? errorColour(vError / errorMax) : vColour;
  base = pow(base, vec3(2.2));
  // Lights turn with the viewer: a face is lit from wherever it is looked at.
  float key = max(dot(normal, normalize(vec3(-0.4, 0.55, 0.75))), 0.0);
  float fill = max(dot(normal, normalize(vec3(0.7, 0.1, 0.6))), 0.0);
  float sky = 0.5 + 0.5 * normal.y;
  float gloss = measured ? 0.0 : pow(
    max(dot(normal, normalize(towards + normalize(vec3(-0.4, 0.55, 0.75)))), 0.0), 24.0);
  float light = measured ? 0.45 + 0.4 * key + 0.2 * fill : 0.16 + 0.2 * sky + 0.62 * key + 0.2 * fill;
  vec3 lit = base * light + vec3(0.05 * gloss);
  gl_FragColor = vec4(pow(min(lit, 1.0), vec3(1.0 / 2.2)), 1.0);
}
`;

/** A material for a mesh with the attributes normal, colour (sRGB 0-1) and error (mm). */
export function faceMaterial() {
  return new ShaderMaterial({
    uniforms: { errorMax: { value: 0 } },
    vertexShader,
    fragmentShader,
    side: DoubleSide,
    polygonOffset: true, // lines on the surface stay in front of it
    polygonOffsetFactor: 1,
    polygonOffsetUnits: 1,
  });
}
