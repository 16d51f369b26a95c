// Spherical harmonics on the processor, and the half floats that hold their coefficients.

let table = null;

/** The values of all half floats (IEEE 754 binary16) by their bits: a copy would need twice the room. */
export function halfFloats() {
  if (table !== null) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) table[bits] = (sign * fraction) / 2 ** 24;
    else if (exponent === 31) table[bits] = fraction ? NaN : sign * Infinity;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

const basis = new Float32Array(16);

/**
 * Colour in the direction (x, y, z), of any length, from half floats R G B R G B ... at `from`, into
 * `colours` at `to`.
 */
export function harmonicColour(halves, from, degree, x, y, z, colours, to) {
  let count = 1;
  basis[0] = 0.28209479177387814;
  if (degree > 0) {
    const length = 1 / Math.hypot(x, y, z);
    x *= length;
    y *= length;
    z *= length;
    basis[1] = -0.4886025119029199 * y;
    basis[2] = 0.4886025119029199 * z;
    basis[3] = -0.4886025119029199 * x;
    count = 4;
  }
  if (degree > 1) {
    basis[4] = 1.0925484305920792 * x * y;
    basis[5] = -1.0925484305920792 * y * z;
    basis[6] = 0.31539156525252005 * (2 * z * z - x * x - y * y);
    basis[7] = -1.0925484305920792 * x * z;
    basis[8] = 0.5462742152960396 * (x * x - y * y);
    count = 9;
  }
  if (degree > 2) {
    basis[9] = -0.5900435899266435 * y * (3 * x * x - y * y);
    basis[10] = 2.890611442640554 * x * y * z;
    basis[11] = -0.4570457994644658 * y * (4 * z * z - x * x - y * y);
    basis[12] = 0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y);
    basis[13] = -0.4570457994644658 * x * (4 * z * z - x * x - y * y);
    basis[14] = 1.445305721320277 * z * (x * x - y * y);
    basis[15] = -0.5900435899266435 * x * (x * x - 3 * y * y);
    count = 16;
  }
  const values = halfFloats();
  let red = 0.5;
  let green = 0.5;
  let blue = 0.5;
  for (let k = 0, at = from; k < count; k++, at += 3) {
    red += basis[k] * values[halves[at]];
    green += basis[k] * values[halves[at + 1]];
    blue += basis[k] * values[halves[at + 2]];
  }
  colours[to] = red > 0 ? red : 0;
  colours[to + 1] = green > 0 ? green : 0;
  colours[to + 2] = blue > 0 ? blue : 0;
}
