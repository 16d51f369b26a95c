"""Audio-visual speech recognition on PyTorch and Hugging Face Accelerate.

Importing this package defines names and loads nothing heavy; take what you need from its modules,
for example ``from avsr.files import read_audio`` or ``from avsr.noise import mix_at_snr``.
"""

__version__ = "0.1.0"
