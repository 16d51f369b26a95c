// Order of splats from far to near: a counting sort of quantised depths, linear in their number.

const BITS = 14;
const BUCKETS = 1 << BITS;

export class DepthSort {
  /** `order` (N) is filled by each sort. */
  constructor(count, order = new Uint32Array(count)) {
    this.count = count;
    this.order = order;
    this._keys = new Uint16Array(count);
    this._depths = new Float32Array(count);
    this._starts = new Uint32Array(BUCKETS + 1);
  }

  /**
   * Sort by depth along a direction.
   * `positions` (3 N) and `direction` [x, y, z], from the camera into the scene.
   */
  sort(positions, direction) {
    const { count, order, _keys: keys, _depths: depths, _starts: starts } = this;
    const [x, y, z] = direction;
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0, p = 0; i < count; i++, p += 3) {
      const depth = x * positions[p] + y * positions[p + 1] + z * positions[p + 2];
      depths[i] = depth;
      if (depth < low) low = depth;
      if (depth > high) high = depth;
    }
    const scale = high > low ? (BUCKETS - 1) / (high - low) : 0;
    starts.fill(0);
    for (let i = 0; i < count; i++) {
      const key = ((high - depths[i]) * scale) | 0; // 0 is the farthest
      keys[i] = key;
      starts[key + 1]++;
    }
    for (let key = 0; key < BUCKETS; key++) starts[key + 1] += starts[key];
    for (let i = 0; i < count; i++) order[starts[keys[i]]++] = i;
    return order;
  }
}
