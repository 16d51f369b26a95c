// Binary buffers from the viewer's server, as they arrive.

/** The typed array under an address. */
export async function fetchArray(address, Type) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return new Type(await response.arrayBuffer());
}

/**
 * Fill a typed array from an address while its bytes arrive.
 * `arrived(bytes)` is told how many there are; the promise ends with the last one.
 */
export async function streamArray(address, array, arrived) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, at);
    at += value.length;
    arrived?.(at);
  }
  if (at !== bytes.length) throw new Error(`${address}: ${at} of ${bytes.length} bytes`);
  return array;
}

/** What `FaceView.setTopology` takes, of a result's `mesh` in the scene's description. */
export async function fetchTopology(mesh) {
  const [rest, triangles, surfaceTriangles, source, sink, colours, ids] = await Promise.all([
    fetchArray(mesh.rest, Float32Array),
    fetchArray(mesh.triangles, Uint32Array),
    fetchArray(mesh.surface_triangles, Uint32Array),
    fetchArray(mesh.surface_source, Uint32Array),
    fetchArray(mesh.surface_sink, Float32Array),
    fetchArray(mesh.surface_colours, Uint8Array),
    fetchArray(mesh.landmark_ids, Uint32Array),
  ]);
  const landmarks = mesh.landmarks.map(({ name, first, count, closed }) => ({
    name,
    closed,
    ids: ids.subarray(first, first + count),
  }));
  return { vertices: rest, triangles, surfaceTriangles, source, sink, colours, landmarks };
}

/** What `FaceView.setSplats` takes, of a result's `splats` in the scene's description. */
export async function fetchSplats(splats, progress) {
  const shapes = new Float32Array(12 * splats.count);
  const texels = Math.ceil((3 * (splats.degree + 1) ** 2) / 4);
  const harmonics = new Uint16Array(4 * texels * splats.count);
  const arrivedOf = [0, 0];
  const told = (part) => (bytes) => {
    arrivedOf[part] = bytes;
    progress?.((arrivedOf[0] + arrivedOf[1]) / splats.bytes);
  };
  await Promise.all([
    streamArray(splats.shapes, shapes, told(0)),
    streamArray(splats.harmonics, harmonics, told(1)),
  ]);
  return { count: splats.count, degree: splats.degree, bound: splats.bound, shapes, harmonics };
}

/**
 * Frames of a motion, int16 in equal steps; those that have arrived can be shown already.
 */
export class Frames {
  constructor(described, numVertices) {
    this.described = described;
    this.numFrames = described.num_frames;
    this.frameValues = 3 * numVertices;
    this.steps = new Int16Array(this.numFrames * this.frameValues);
    this.arrived = 0;
  }

  async load(progress) {
    await streamArray(this.described.frames, this.steps, (bytes) => {
      this.arrived = Math.floor(bytes / (2 * this.frameValues));
      progress?.(bytes / this.steps.byteLength);
    });
    this.arrived = this.numFrames;
  }

  /** Vertices of a frame in millimetres, into a Float32Array. */
  into(frame, vertices) {
    const { centre, step } = this.described;
    const first = frame * this.frameValues;
    for (let i = 0; i < this.frameValues; i += 3) {
      vertices[i] = centre[0] + step * this.steps[first + i];
      vertices[i + 1] = centre[1] + step * this.steps[first + i + 1];
      vertices[i + 2] = centre[2] + step * this.steps[first + i + 2];
    }
    return vertices;
  }
}
