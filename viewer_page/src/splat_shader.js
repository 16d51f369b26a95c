// Splats as oriented quads: each is projected in the vertex shader (EWA: Zwicker et al., "EWA Volume
// Splatting", IEEE Visualization 2001), and reaches as far as its opacity is seen in 8 bits.

export const splatVertexShader = (degree, bound) => /* glsl */ `
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;
uniform usampler2D order; // of the splats from far to near
uniform int orderColumns;
uniform sampler2D shapes;
uniform sampler2D harmonics;
uniform sampler2D frames;
uniform mat4 viewMatrix;
uniform mat4 projectionMatrix;
uniform vec3 cameraPosition;
uniform vec2 viewport; // pixels
uniform int shapeColumns; // splats in a row of the texture
uniform int harmonicColumns;
uniform int frameColumns; // triangles in a row
out vec2 place;
flat out vec4 colour;

const int TEXELS = ${Math.ceil((3 * (degree + 1) ** 2) / 4)};
const float LOW_PASS = 0.3; // pixels squared: what a pixel itself blurs, as 3D Gaussian Splatting has it

vec4 shapeTexel(int index, int part) {
  return texelFetch(shapes, ivec2(3 * (index % shapeColumns) + part, index / shapeColumns), 0);
}

vec3 seenColour(int index, vec3 towards) {
  float c[4 * TEXELS];
  ivec2 first = ivec2(TEXELS * (index % harmonicColumns), index / harmonicColumns);
  for (int t = 0; t < TEXELS; t++) {
    vec4 texel = texelFetch(harmonics, first + ivec2(t, 0), 0);
    c[4 * t] = texel.x;
    c[4 * t + 1] = texel.y;
    c[4 * t + 2] = texel.z;
    c[4 * t + 3] = texel.w;
  }
#define C(k) vec3(c[3 * (k)], c[3 * (k) + 1], c[3 * (k) + 2])
  vec3 sum = 0.28209479177387814 * C(0);
${
  degree < 1
    ? ""
    : `  float x = towards.x, y = towards.y, z = towards.z;
  sum += 0.4886025119029199 * (-y * C(1) + z * C(2) - x * C(3));`
}
${
  degree < 2
    ? ""
    : `  float xx = x * x, yy = y * y, zz = z * z;
  sum += 1.0925484305920792 * (x * y * C(4) - y * z * C(5) - x * z * C(7))
    + 0.31539156525252005 * (2.0 * zz - xx - yy) * C(6) + 0.5462742152960396 * (xx - yy) * C(8);`
}
${
  degree < 3
    ? ""
    : `  sum += -0.5900435899266435 * (y * (3.0 * xx - yy) * C(9) + x * (xx - 3.0 * yy) * C(15))
    + 2.890611442640554 * x * y * z * C(10)
    - 0.4570457994644658 * (4.0 * zz - xx - yy) * (y * C(11) + x * C(13))
    + 0.3731763325901154 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * C(12)
    + 1.445305721320277 * z * (xx - yy) * C(14);`
}
  return max(sum + 0.5, 0.0);
}

void main() {
  int rank = gl_VertexID >> 2;
  int index = int(texelFetch(order, ivec2(rank % orderColumns, rank / orderColumns), 0).r);
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // outside: nothing is drawn
  vec4 first = shapeTexel(index, 0);
  float reach = 2.0 * log(255.0 * first.w); // squared, in standard deviations: below 1/255 unseen
  if (!(reach > 0.0)) return;
  vec4 second = shapeTexel(index, 1);
  vec4 third = shapeTexel(index, 2);
  mat3 covariance = mat3(
    second.x, second.y, second.z, second.y, second.w, third.x, second.z, third.x, third.y);
  vec3 centre = first.xyz;
${
  bound
    ? `  int triangle = int(third.z);
  ivec2 at = ivec2(3 * (triangle % frameColumns), triangle / frameColumns);
  vec4 a = texelFetch(frames, at, 0);
  vec4 b = texelFetch(frames, at + ivec2(1, 0), 0);
  vec4 c = texelFetch(frames, at + ivec2(2, 0), 0);
  mat3 turn = mat3(a.xyz, b.xyz, c.xyz);
  centre = turn * centre + vec3(a.w, b.w, c.w);`
    : ""
}
  vec3 seen = (viewMatrix * vec4(centre, 1.0)).xyz;
  vec4 clip = projectionMatrix * vec4(seen, 1.0);
  if (-seen.z < 1.0 || any(greaterThan(abs(clip.xy), vec2(1.3 * clip.w)))) return;
  vec2 focal = 0.5 * viewport * vec2(projectionMatrix[0][0], projectionMatrix[1][1]);
  float depth = -seen.z;
  vec2 slope = seen.xy / depth;
  mat3 axes = mat3(viewMatrix)${bound ? " * turn" : ""};
  // Rows of the projection's derivative times the axes, as vectors of the splat's own space.
  vec3 across = (focal.x / depth) * (vec3(1.0, 0.0, slope.x) * axes);
  vec3 up = (focal.y / depth) * (vec3(0.0, 1.0, slope.y) * axes);
  vec3 spread = covariance * across;
  float xx = dot(across, spread) + LOW_PASS;
  float xy = dot(up, spread);
  float yy = dot(up, covariance * up) + LOW_PASS;
  float middle = 0.5 * (xx + yy);
  float apart = length(vec2(0.5 * (xx - yy), xy));
  float large = middle + apart;
  float small = max(middle - apart, 0.05);
  vec2 along = apart < 1e-6 ? vec2(1.0, 0.0) : normalize(
    xx > yy ? vec2(large - yy, xy) : vec2(xy, large - xx));
  vec2 corner = vec2((gl_VertexID & 1) * 2 - 1, (gl_VertexID & 2) - 1);
  place = corner * sqrt(reach);
  vec2 offset = place.x * sqrt(large) * along + place.y * sqrt(small) * vec2(-along.y, along.x);
  vec3 towards = normalize(centre - cameraPosition);
  colour = vec4(seenColour(index, towards), first.w);
  gl_Position = vec4(clip.xy / clip.w + 2.0 * offset / viewport, clip.z / clip.w, 1.0);
}
`;

export const splatFragmentShader = /* glsl */ `
precision mediump float;
in vec2 place;
flat in vec4 colour;
out vec4 shown;

void main() {
  float alpha = min(colour.a * exp(-0.5 * dot(place, place)), 0.999);
  shown = vec4(colour.rgb * alpha, alpha); // premultiplied
}
`;
