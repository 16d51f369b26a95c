// Arithmetic on triangle meshes.

/** Unit normals (3 V) of the vertices: the areas of the triangles around each, summed. */
export function smoothNormals(vertices, triangles, normals) {
  normals.fill(0);
  for (let t = 0; t < triangles.length; t += 3) {
    const i = 3 * triangles[t];
    const j = 3 * triangles[t + 1];
    const k = 3 * triangles[t + 2];
    const ax = vertices[j] - vertices[i];
    const ay = vertices[j + 1] - vertices[i + 1];
    const az = vertices[j + 2] - vertices[i + 2];
    const bx = vertices[k] - vertices[i];
    const by = vertices[k + 1] - vertices[i + 1];
    const bz = vertices[k + 2] - vertices[i + 2];
    const x = ay * bz - az * by;
    const y = az * bx - ax * bz;
    const z = ax * by - ay * bx;
    for (const v of [i, j, k]) {
      normals[v] += x;
      normals[v + 1] += y;
      normals[v + 2] += z;
    }
  }
  for (let v = 0; v < normals.length; v += 3) {
    const length = Math.hypot(normals[v], normals[v + 1], normals[v + 2]) || 1;
    normals[v] /= length;
    normals[v + 1] /= length;
    normals[v + 2] /= length;
  }
  return normals;
}

/** Every edge of the triangles once, as pairs of vertices. */
export function uniqueEdges(triangles) {
  const seen = new Set();
  const edges = [];
  for (let t = 0; t < triangles.length; t += 3) {
    for (let corner = 0; corner < 3; corner++) {
      const a = triangles[t + corner];
      const b = triangles[t + ((corner + 1) % 3)];
      const key = a < b ? a * 2 ** 26 + b : b * 2 ** 26 + a;
      if (seen.has(key)) continue;
      seen.add(key);
      edges.push(a, b);
    }
  }
  return new Uint32Array(edges);
}

/** Distances (V) between two arrays of vertices (3 V), and their mean and maximum. */
export function vertexDistances(vertices, others, distances) {
  let sum = 0;
  let largest = 0;
  for (let v = 0, at = 0; v < distances.length; v++, at += 3) {
    const distance = Math.hypot(
      vertices[at] - others[at],
      vertices[at + 1] - others[at + 1],
      vertices[at + 2] - others[at + 2],
    );
    distances[v] = distance;
    sum += distance;
    if (distance > largest) largest = distance;
  }
  return { mean: sum / Math.max(1, distances.length), largest };
}
