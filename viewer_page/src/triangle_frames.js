// Frames of triangles on which splats ride, as learn2talk/avatar/binding.py has them: with corners
// v0 v1 v2, a0 = norm(v1 - v0), a1 = norm(a0 x (v2 - v0)), a2 = -norm(a1 x a0), size
// s = (|v1 - v0| + |a2 . (v2 - v0)|) / 2 and centre c, a local x is at s [a0 a1 a2] x + c.

export const FRAME_FLOATS = 12;

/**
 * Twelve numbers a triangle into `frames`: s a0 and c.x, s a1 and c.y, s a2 and c.z.
 * A triangle without area gets size 0, which hides what rides on it.
 */
export function triangleFrames(vertices, triangles, frames) {
  const count = triangles.length / 3;
  for (let f = 0, at = 0; f < count; f++, at += FRAME_FLOATS) {
    const i = 3 * triangles[3 * f];
    const j = 3 * triangles[3 * f + 1];
    const k = 3 * triangles[3 * f + 2];
    const x = vertices[i];
    const y = vertices[i + 1];
    const z = vertices[i + 2];
    const ex = vertices[j] - x;
    const ey = vertices[j + 1] - y;
    const ez = vertices[j + 2] - z;
    const ox = vertices[k] - x;
    const oy = vertices[k + 1] - y;
    const oz = vertices[k + 2] - z;
    const length = Math.hypot(ex, ey, ez);
    const a = length > 0 ? 1 / length : 0;
    const ax = ex * a;
    const ay = ey * a;
    const az = ez * a;
    let nx = ay * oz - az * oy;
    let ny = az * ox - ax * oz;
    let nz = ax * oy - ay * ox;
    const area = Math.hypot(nx, ny, nz);
    const n = area > 0 ? 1 / area : 0;
    nx *= n;
    ny *= n;
    nz *= n;
    // a2 = -(a1 x a0), of length 1 as both are perpendicular
    const bx = -(ny * az - nz * ay);
    const by = -(nz * ax - nx * az);
    const bz = -(nx * ay - ny * ax);
    const size = n === 0 ? 0 : (length + Math.abs(bx * ox + by * oy + bz * oz)) / 2;
    frames[at] = size * ax;
    frames[at + 1] = size * ay;
    frames[at + 2] = size * az;
    frames[at + 3] = x + (ex + ox) / 3;
    frames[at + 4] = size * nx;
    frames[at + 5] = size * ny;
    frames[at + 6] = size * nz;
    frames[at + 7] = y + (ey + oy) / 3;
    frames[at + 8] = size * bx;
    frames[at + 9] = size * by;
    frames[at + 10] = size * bz;
    frames[at + 11] = z + (ez + oz) / 3;
  }
  return frames;
}
