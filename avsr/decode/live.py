"""What live recognition is told, and what it says; free of torch, so that a command loads fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveConfig:
    """How much is waited for, looked back to, and searched."""

    chunk_frames: int = 16  # of 40 ms: text comes a chunk at a time
    left_chunks: int = 8  # that the attention looks back to
    beam_size: int = 8  # of the CTC prefix search
    pause_s: float | None = 1.2  # without a new token: the sentence is final; None never ends one

    def __post_init__(self) -> None:
        for name, least in (("chunk_frames", 1), ("left_chunks", 0), ("beam_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} must be at least {least}")
        if self.pause_s is not None and not self.pause_s > 0:
            raise ValueError(f"pause_s {self.pause_s} must be above 0, or None to end no sentence")


@dataclass(frozen=True)
class LiveText:
    """What was understood of a sentence so far.

    text: the best hypothesis. stable: its beginning that will not change. final: the sentence is
    over. start_s, end_s: of the sound or film that it comes from.
    """

    text: str
    stable: str
    final: bool
    start_s: float
    end_s: float

    @property
    def line(self) -> str:
        """Such as ``partial 0.00-1.28 s: bin | blue at``; what follows the bar may still change."""
        kind = "final  " if self.final else "partial"
        rest = self.text[len(self.stable) :]
        said = self.text if self.final else f"{self.stable} |{rest or ' '}".strip()
        return f"{kind} {self.start_s:.2f}-{self.end_s:.2f} s: {said}"
