"""Folders of imported weights: our safetensors and JSON, text units, and the licence notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from avsr.files import load_weights, read_json, save_weights, sha256_file, write_atomically
from avsr.files import write_json as write_json_file
from avsr.pretrained import auto_avsr, av_hubert
from avsr.pretrained.mouth_crops import MEAN_FACE, read_mean_face
from avsr.pretrained.symbols import (
    check_symbols,
    read_auto_avsr_units,
    read_fairseq_dictionary,
)

if TYPE_CHECKING:
    from avsr.models.auto_avsr import AutoAvsr
    from avsr.models.av_hubert import AvHubert

Network = Literal["auto_avsr", "av_hubert"]
FORMAT = "avsr-imported-1"
CONFIG_FILE, WEIGHTS_FILE = "imported.json", "imported.safetensors"
NOTICE_FILE = "LICENCE_NOTICE.txt"
NOTICES: dict[Network, str] = {
    "auto_avsr": auto_avsr.LICENCE_NOTICE,
    "av_hubert": av_hubert.LICENCE_NOTICE,
}
SOURCES: dict[Network, str] = {"auto_avsr": auto_avsr.SOURCE, "av_hubert": av_hubert.SOURCE}


@dataclass(frozen=True)
class Imported:
    """A network with published weights, in evaluation mode.

    symbols: text of each token id, or ``None`` where no list was given at import.
    mean_face: pixels x, y of points of the mean face that mouth crops are aligned to.
    """

    network: Network
    model: AutoAvsr | AvHubert
    symbols: tuple[str, ...] | None
    mean_face: dict[int, tuple[float, float]] = field(default_factory=lambda: MEAN_FACE)


def import_weights(
    network: Network,
    weights: Path | str,
    out: Path | str,
    *,
    units: Path | str | None,
    mean_face: Path | str | None = None,
    accept_licence: bool,
) -> Path:
    """Turn published weights into a folder of ours.

    Args:
        network: which project's weights they are.
        weights: the file, or for AV-HuBERT also a folder in the Hugging Face layout.
        out: folder to write.
        units: Auto-AVSR's units file or AV-HuBERT's dictionary; without it the network gives token
            ids and no text (a fairseq checkpoint may hold its dictionary itself).
        mean_face: ``20words_mean_face.npy`` of the projects; without it crops are aligned to ours.
        accept_licence: the caller has read :data:`NOTICES` and may use the weights.

    Returns:
        The folder.

    Raises:
        ValueError: the licence is not accepted, or a file that does not fit; one line.
    """
    if not accept_licence:
        raise ValueError(
            f"{weights}: these weights have a licence of their own; read the notice, then say "
            "--accept-licence"
        )
    symbols: Sequence[str] | None = None
    model: AutoAvsr | AvHubert
    if network == "auto_avsr":
        model = auto_avsr.read_auto_avsr(weights)
        symbols = None if units is None else read_auto_avsr_units(units)
    else:
        model, symbols = av_hubert.read_av_hubert(weights)
        symbols = symbols if units is None else read_fairseq_dictionary(units)
    if symbols is not None and model.config.vocabulary_size > 0:
        check_symbols(symbols, model.config.vocabulary_size, str(units or weights))
    face = MEAN_FACE if mean_face is None else read_mean_face(mean_face)
    listed = tuple(symbols) if symbols else None
    return save_imported(Imported(network, model, listed, face), out, weights)


def save_imported(imported: Imported, out: Path | str, weights: Path | str) -> Path:
    """Write the folder; the description last, so that a folder with one is whole."""
    out, weights = Path(out), Path(weights)
    save_weights(out / WEIGHTS_FILE, imported.model.state_dict())
    with write_atomically(out / NOTICE_FILE) as temporary:
        temporary.write_text(NOTICES[imported.network], encoding="utf-8")
    write_json_file(
        out / CONFIG_FILE,
        {
            "format": FORMAT,
            "network": imported.network,
            "source": SOURCES[imported.network],
            "imported_from": weights.name,
            "sha256": sha256_file(weights) if weights.is_file() else None,
            "config": asdict(imported.model.config),
            "symbols": None if imported.symbols is None else list(imported.symbols),
            "mean_face": {str(point): list(at) for point, at in imported.mean_face.items()},
        },
    )
    return out


def is_imported(path: Path | str) -> bool:
    """Whether a path is a folder that :func:`import_weights` wrote."""
    return (Path(path) / CONFIG_FILE).is_file()


def load_imported(folder: Path | str) -> Imported:
    """Read a folder of :func:`import_weights`.

    Raises:
        ValueError: not such a folder, damaged, or weights that do not fit the description.
    """
    folder = Path(folder)
    if not is_imported(folder):
        raise ValueError(f"{folder}: has no {CONFIG_FILE}; make the folder with 'avsr import'")
    path = folder / CONFIG_FILE
    described = read_json(path)
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ValueError(f"{path}: is not of the format {FORMAT}; import the weights again")
    network: Any = described.get("network")
    if network not in get_args(Network):
        raise ValueError(
            f"{path}: network {network!r} is not one of {', '.join(get_args(Network))}"
        )
    try:
        model = _built(network, described["config"])
        face = {
            int(point): (float(x), float(y)) for point, (x, y) in described["mean_face"].items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: its config does not fit ({error}); import again") from error
    state, _ = load_weights(folder / WEIGHTS_FILE)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: does not fit ({first}); import again"
        ) from error
    symbols = described.get("symbols")
    return Imported(network, model.eval(), None if symbols is None else tuple(symbols), face)


def _built(network: Network, config: dict[str, Any]) -> AutoAvsr | AvHubert:
    if network == "auto_avsr":
        from avsr.models.auto_avsr import AutoAvsr, AutoAvsrConfig

        return AutoAvsr(AutoAvsrConfig(**config))
    from avsr.models.av_hubert import AvHubert, AvHubertConfig
    from avsr.models.transformer_decoder import TransformerDecoderConfig

    decoder = config["decoder"]
    if decoder is not None:
        config = {**config, "decoder": TransformerDecoderConfig(**decoder)}
    return AvHubert(AvHubertConfig(**config))
