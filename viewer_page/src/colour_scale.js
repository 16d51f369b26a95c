// Colours of errors: light where nothing is wrong, darker the more is, so that they read without hue.

export const STOPS = [
  [0.93, 0.93, 0.9],
  [0.99, 0.86, 0.5],
  [0.96, 0.58, 0.25],
  [0.82, 0.22, 0.25],
  [0.4, 0.06, 0.32],
];

/** The scale as a CSS gradient from the bottom (0) to the top (the maximum). */
export function scaleGradient() {
  const colours = STOPS.map((stop) => `rgb(${stop.map((c) => Math.round(255 * c)).join(" ")})`);
  return `linear-gradient(to top, ${colours.join(", ")})`;
}

/** GLSL: `vec3 errorColour(float share)`, sRGB of 0 to 1 of the maximum. */
export const SCALE_GLSL = /* glsl */ `
vec3 errorColour(float share) {
  float at = clamp(share, 0.0, 1.0) * ${(STOPS.length - 1).toFixed(1)};
  vec3 colour = vec3(${STOPS[0].join(", ")});
${STOPS.slice(1)
  .map((stop, i) => `  colour = mix(colour, vec3(${stop.join(", ")}), clamp(at - ${i}.0, 0.0, 1.0));`)
  .join("\n")}
  return colour;
}
`;
