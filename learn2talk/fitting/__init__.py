"""A 3D face model fitted to tracked landmarks: any talking video becomes 3D training data.

`ict.read_ict` and `procedural.head_model` give face models, `clip.fit_vertices` and
`clip.fit_landmarks` fit them.
"""
