"""Rooms by name: measured responses of a folder, simulated ones by their reverberation time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avsr.data.noise_bank import NoiseFileUse
from avsr.files import read_audio, sha256_file
from avsr.noise import stable_hash
from avsr.reverberation import from_direct_sound, simulated_response

DRY = "none"  # no room but that of the recording
MEASURED = "measured"
SIMULATED = "rt60_"  # rt60_0.6: a simulated room of RT60 0.6 s


@dataclass
class RoomBank:
    """Room responses, a function of room and utterance alone.

    Fields:
        measured: responses that ``"measured"`` draws from, one for each utterance: the path that
            stands in manifests, and the file.
    """

    measured: Mapping[str, Path] = field(default_factory=dict)
    _read: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict, repr=False)

    def response(
        self, room: str, utterance_id: str
    ) -> tuple[np.ndarray | None, tuple[NoiseFileUse, ...]]:
        """The response (R,) for an utterance and the file it came from; ``None`` where it is dry.

        Raises:
            ValueError: another name than ``none``, ``measured`` or ``rt60_<seconds>``, or no
                measured response to draw from.
        """
        check_room(room)
        if room == DRY:
            return None, ()
        if room != MEASURED:
            generator = np.random.default_rng(stable_hash(utterance_id, room))
            return simulated_response(float(room.removeprefix(SIMULATED)), generator), ()
        if not self.measured:
            raise ValueError("room 'measured' needs recordings of responses; name their folder")
        names = sorted(self.measured)
        name = names[stable_hash(utterance_id, "room") % len(names)]
        if name not in self._read:
            path = self.measured[name]
            try:
                self._read[name] = from_direct_sound(read_audio(path)), sha256_file(path)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        response, digest = self._read[name]
        return response, (NoiseFileUse(name, digest, 0),)


def check_room(room: str) -> None:
    """Raises ``ValueError`` for another name than those of :meth:`RoomBank.response`."""
    time = room.removeprefix(SIMULATED)
    if room in (DRY, MEASURED):
        return
    try:
        good = room.startswith(SIMULATED) and 0.0 < float(time) <= 10.0
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"room {room!r} is not {DRY}, {MEASURED} or {SIMULATED}<seconds>, such as rt60_0.6"
        )


def room_response(
    rooms: RoomBank | None, room: str, utterance_id: str
) -> tuple[np.ndarray | None, tuple[NoiseFileUse, ...]]:
    """As :meth:`RoomBank.response`; without a bank there are no measured rooms."""
    return (rooms or RoomBank()).response(room, utterance_id)


def rooms_of_folder(folder: Path, suffixes: Sequence[str] = (".wav", ".flac", ".ogg")) -> RoomBank:
    """The responses that lie in a folder, under its name.

    Raises:
        ValueError: not a folder, or no sound file in it.
    """
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = [path for path in found if path.suffix.lower() in suffixes]
    if not files:
        raise ValueError(f"{folder}: no room response ({', '.join(suffixes)}) here; check the path")
    name = folder.resolve().name
    return RoomBank({f"{name}/{path.relative_to(folder).as_posix()}": path for path in files})
