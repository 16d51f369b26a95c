"""A benchmark of talking faces that any method made: what is read in them, and are they in time.

Motions of any known topology and films come in, one folder a system; every motion is drawn on one
face in one style, so that only its movement differs. `run.benchmark_faces` is the whole of it, and
`docs/readability.md` its documentation.
"""
