"""A local page on which people judge 3D talking faces; nothing of it leaves the machine."""
