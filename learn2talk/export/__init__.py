"""What leaves the toolkit: glTF with morph targets, ARKit-52 curves, motion on another mesh.

- `gltf.write_glb`: a `.glb` with an animation of morph targets (three.js, Blender, game engines).
- `arkit.solve_arkit`: ARKit weights of a motion; `curves` writes Live Link Face CSV and JSON.
- `retarget.retarget`: a motion on a face of another topology, with its error in mm.
"""
