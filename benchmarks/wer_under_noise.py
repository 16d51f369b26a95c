"""WER under noise: our recognisers and other people's, on tests that anybody can build again.

    AVSR_DATA=/path/to/data python benchmarks/wer_under_noise.py all --run runs/grid

Parts, each a test of its own, made by what the `avsr` command calls:

    grid      GRID test, 5 noises x 8 levels x 3 seeds and clean; sound, mouth, tracked lips, still
    pictures  GRID test, babble: what happens to the picture (12 conditions)
    rooms     GRID test, babble: measured and simulated rooms
    systems   GRID test, clean and babble: Whisper, moonshine, pocketsphinx beside ours
    accented  speechocean762 test, the same systems on Mandarin speakers' English

Writes ``benchmarks/results/wer_under_noise_<part>.json`` and ``.md``. A part that was stopped goes
on. To measure a system of yours, see ``docs/evaluate_your_system.md``.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.conditions import Bootstrap  # noqa: E402
from avsr.corpora.speechocean762 import LISTS, ambience_and_babble  # noqa: E402
from avsr.data.noise_bank import NoiseConfig  # noqa: E402
from avsr.files import read_json, read_jsonl, write_atomically, write_json, write_jsonl  # noqa: E402
from avsr.noisy_test import NoisyTest  # noqa: E402
from avsr.noisy_test_audit import audit_test  # noqa: E402
from avsr.noisy_test_building import NoisyTestConfig, build  # noqa: E402
from avsr.noisy_test_decoding import SeeingSystem, decode_by_ear, decode_with_video  # noqa: E402
from avsr.recognize_files import AdapterChoice  # noqa: E402
from avsr.report import write_outputs  # noqa: E402
from avsr.score_files import score_test  # noqa: E402
from avsr.tables import markdown  # noqa: E402
from avsr.training.command import available_cores, use_one_thread  # noqa: E402
from avsr.video_conditions import STANDARD  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402

Part = Literal["all", "grid", "pictures", "rooms", "systems", "accented"]
PARTS: tuple[Part, ...] = get_args(Part)[1:]
MAX_SHARED_FILES = 3  # of a noise that are named; of more, their number
GRID_NOTES = (
    "GRID s1 is one speaker with 51 words and a closed grammar; our recognisers were trained on "
    "other sentences of this speaker (speaker-dependent), the others were not.",
)
ACCENTED_NOTES = (
    "Mandarin speakers' English, drawn utterances of the test list. Our recogniser knows 51 words "
    "of GRID and one speaker: it stands here to show what that is worth elsewhere.",
)
GRAMMAR = """#JSGF V1.0;
grammar grid;
public <sentence> = <command> <colour> <preposition> <letter> <digit> <adverb>;
<command> = bin | lay | place | set;
<colour> = blue | green | red | white;
<preposition> = at | by | in | with;
<letter> = {letters};
<digit> = zero | one | two | three | four | five | six | seven | eight | nine;
<adverb> = again | now | please | soon;
"""


@dataclass(frozen=True)
class Settings:
    """What is measured where."""

    run: Path = Path("runs/grid")
    """Run of the GRID recipe: prepared/, audio/, audio_visual/."""
    data: Path | None = None
    """Folder with noise/, speechocean762/, rir/, models/; default: AVSR_DATA."""
    work: Path = Path("runs/wer_under_noise")
    """Folder for tests and hypotheses."""
    out: Path = ROOT / "benchmarks" / "results"
    """Folder of the published files."""
    processes: int = 0
    """That share the work; 0: one a core."""
    limit: int = 20
    """Utterances of speechocean762's test, drawn by a hash of their ids."""
    systems: tuple[str, ...] = ("ours", "whisper", "moonshine", "pocketsphinx")
    """Recognisers of the parts systems and accented."""
    resamples: int = 2000
    """Of the bootstrap."""

    @property
    def root(self) -> Path:
        """The data folder.

        Raises:
            ValueError: neither --data nor AVSR_DATA names one with speech and noise in it.
        """
        root = self.data or Path(os.environ.get("AVSR_DATA", ""))
        if not (root / "speechocean762").is_dir() or not (root / "noise").is_dir():
            raise ValueError(f"{root}: has no speechocean762/ and noise/; set AVSR_DATA or --data")
        return root

    @property
    def workers(self) -> int:
        """Processes that share the work."""
        return self.processes or available_cores()


@dataclass
class Measured:
    """A test that is decoded: where, by whom, and how long it took."""

    test: NoisyTest
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    systems: dict[str, str] = field(default_factory=dict)
    hypotheses: list[Path] = field(default_factory=list)

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do it and keep the seconds: of all legs until it was done, and no more after that."""
        path = self.folder / f"{name}.seconds.json"
        kept = read_json(path) if path.exists() else {"seconds": 0.0, "done": False}
        started, done = time.monotonic(), False
        try:
            found = work()
            done = True
        finally:
            if not kept["done"]:
                spent = kept["seconds"] + time.monotonic() - started
                kept = {"seconds": round(spent, 1), "done": done}
                write_json(path, kept)
        self.seconds[name] = kept["seconds"]
        return found


def main(
    part: Annotated[Part, tyro.conf.Positional] = "all",
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings(),
) -> None:
    """Measure one part, or all."""
    use_one_thread()
    work: dict[str, Callable[[Settings], None]] = {
        "grid": grid,
        "pictures": pictures,
        "rooms": rooms,
        "systems": systems,
        "accented": accented,
    }
    for name in PARTS if part == "all" else (part,):
        print(f"== {name}", flush=True)
        work[name](settings)


def grid(settings: Settings) -> None:
    """Five noises, eight levels, three seeds: the whole protocol on real talking faces."""
    noises = ("babble_4", "babble_30", "coffee-shop", "speech_shaped", "white")
    measured = built(settings, "grid", grid_config(settings, noise_types=noises))
    seen = SeeingSystem(
        "audio_visual", weights(settings, "audio_visual"), ("mouth_crops", "tracked_lips", "still")
    )
    heard = SeeingSystem("audio", weights(settings, "audio"))
    decode_seeing(settings, measured, [heard, seen])
    publish(settings, "grid", measured, GRID_NOTES)


def pictures(settings: Settings) -> None:
    """What happens to the picture, in babble at two levels."""
    config = grid_config(settings, noise_types=("babble_4",), snrs_db=(-5.0, 0.0))
    measured = built(settings, "pictures", config)
    seen = SeeingSystem(
        "audio_visual", weights(settings, "audio_visual"), ("mouth_crops", "tracked_lips")
    )
    decode_seeing(settings, measured, [seen], video_conditions=("clean", *STANDARD))
    publish(settings, "pictures", measured, GRID_NOTES)


def rooms(settings: Settings) -> None:
    """The same speech in measured and simulated rooms, in babble at two levels."""
    config = grid_config(
        settings,
        noise_types=("babble_4",),
        snrs_db=(-5.0, 0.0),
        rooms=settings.root / "rir",
        reverberations=("none", "measured", "rt60_0.3", "rt60_0.6"),
    )
    measured = built(settings, "rooms", config)
    seen = SeeingSystem("audio_visual", weights(settings, "audio_visual"), ("mouth_crops",))
    heard = SeeingSystem("audio", weights(settings, "audio"))
    decode_seeing(settings, measured, [heard, seen])
    publish(settings, "rooms", measured, GRID_NOTES)


def systems(settings: Settings) -> None:
    """Other people's recognisers beside ours on GRID, clean and in babble."""
    config = grid_config(settings, noise_types=("babble_4",), snrs_db=(5.0,))
    measured = built(settings, "systems", config)
    grammar = settings.work / "grid.jsgf"
    with write_atomically(grammar) as temporary:
        letters = " | ".join("abcdefghijklmnopqrstuvxyz")  # GRID has no w
        temporary.write_text(GRAMMAR.replace("{letters}", letters), encoding="utf-8")
    decode_hearing(settings, measured, grammar)
    seen = SeeingSystem("ours, with the mouth", weights(settings, "audio_visual"), ("mouth_crops",))
    decode_seeing(settings, measured, [seen])
    publish(settings, "systems", measured, GRID_NOTES, spell_numbers=True)


def accented(settings: Settings) -> None:
    """The same recognisers on many voices of another accent."""
    table = speechocean_table(settings, "test")
    config = noise_of_recipes(
        settings,
        NoisyTestConfig(
            corpus=table,
            name="speechocean762 (adults)",
            split="",
            noise_types=("babble_4",),
            snrs_db=(0.0, 10.0),
            limit=settings.limit,
        ),
    )
    measured = built(settings, "accented", config)
    decode_hearing(settings, measured, None)
    told = {"spell_numbers": True, "speaker_dependent": False}
    publish(settings, "accented", measured, ACCENTED_NOTES, **told)


def grid_config(settings: Settings, **changes: Any) -> NoisyTestConfig:
    """GRID's test split with the noise that the GRID recipe keeps for its test."""
    prepared = settings.run / "prepared"
    told = {"corpus": prepared, "name": "GRID s1", "shaped_like": prepared, **changes}
    return noise_of_recipes(settings, NoisyTestConfig(**told))


def noise_of_recipes(settings: Settings, config: NoisyTestConfig) -> NoisyTestConfig:
    """``config`` with the test's noise and talkers of the recipes, and what training heard."""
    noise = ambience_and_babble(settings.root)
    told = {
        "noise": (settings.root / "noise",),
        "talkers": talkers_table(settings, noise),
        "training_noise": heard_in_training(noise),
        "training_noise_types": noise.train.types,
    }
    return NoisyTestConfig(**{**config.__dict__, **told})


def heard_in_training(noise: NoiseConfig) -> tuple[Path, ...]:
    """The recordings and voices that our recognisers were trained with."""
    part = noise.train
    return tuple(noise.file(path) for path in (*part.recorded, *(one.path for one in part.talkers)))


def talkers_table(settings: Settings, noise: NoiseConfig) -> Path:
    """The voices that no training heard, as a list."""
    lines = ["utterance_id\tpath\ttext\tspeaker_id"]
    for one in noise.test.talkers:
        path = noise.file(one.path).resolve()
        lines.append(f"{path.stem}\t{path}\tbabble\t{one.speaker}")
    return _written(settings.work / "talkers.tsv", lines)


def speechocean_table(settings: Settings, part: str) -> Path:
    """speechocean762's own list as ours."""
    folder = settings.root / "speechocean762"
    lines = ["utterance_id\tpath\ttext\tspeaker_id"]
    with open(folder / LISTS[part], encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            sound = (folder / "audio" / f"{row['utt']}.ogg").resolve()
            lines.append(f"{row['utt']}\t{sound}\t{row['text']}\t{row['spk']}")
    return _written(settings.work / f"speechocean762_{part}.tsv", lines)


def _written(path: Path, lines: Sequence[str]) -> Path:
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def weights(settings: Settings, name: str) -> str:
    """The best weights of one of the run's recognisers."""
    return str(settings.run / name / "best.safetensors")


def built(settings: Settings, part: str, config: NoisyTestConfig) -> Measured:
    """The part's test, audited.

    Raises:
        ValueError: the audit found an error.
    """
    folder = settings.work / part
    measured = Measured(None, folder)  # type: ignore[arg-type]
    test = measured.timed(
        "build", lambda: build(config, folder / "test", processes=settings.workers)
    )
    measured.test = test
    found = audit_test(test)
    write_json(folder / "audit.json", found)
    if not found["passed"]:
        raise ValueError(f"{folder}: the audit of the mixtures failed, see audit.json")
    return measured


def decode_seeing(
    settings: Settings,
    measured: Measured,
    seeing: Sequence[SeeingSystem],
    video_conditions: Sequence[str] = ("clean",),
) -> None:
    """Our recognisers, with their pictures."""
    out = measured.folder / "decoded" / "_".join(one.name.replace(" ", "-") for one in seeing)
    measured.systems |= measured.timed(
        "decode",
        lambda: decode_with_video(
            measured.test,
            seeing,
            out,
            video_conditions=video_conditions,
            processes=settings.workers,
        ),
    )
    measured.hypotheses.append(out / "hypotheses.jsonl")


def decode_hearing(settings: Settings, measured: Measured, grammar: Path | None) -> None:
    """Every recogniser of the settings, by ear; pocketsphinx also with a grammar, where given."""
    whisper = settings.root / "models" / "whisper-tiny.en"
    choices = {
        "ours": AdapterChoice("ours", Path(weights(settings, "audio")), "ours"),
        "whisper": AdapterChoice("transformers", whisper, "Whisper tiny.en"),
        "moonshine": AdapterChoice("moonshine", name="moonshine tiny-en"),
        "pocketsphinx": AdapterChoice("pocketsphinx", name="pocketsphinx en-us"),
    }
    wanted = [choices[name] for name in settings.systems]
    if grammar is not None and "pocketsphinx" in settings.systems:
        named = "pocketsphinx en-us, GRID grammar"
        wanted.append(AdapterChoice("pocketsphinx", name=named, grammar=grammar))
    for choice in wanted:
        name = str(choice.name)
        out = measured.folder / "decoded" / name.replace(" ", "-").replace(",", "")
        work = partial(decode_by_ear, measured.test, choice, out, processes=settings.workers)
        facts = measured.timed(f"decode {name}", work)
        measured.systems[name] = "; ".join(f"{key}: {value}" for key, value in facts.items())
        measured.hypotheses.append(out / "hypotheses.jsonl")


def publish(
    settings: Settings,
    part: str,
    measured: Measured,
    notes: Sequence[str],
    *,
    spell_numbers: bool = False,
    speaker_dependent: bool = True,
) -> None:
    """Score, and write the published JSON and its page; the full page stays in the work folder."""
    merged = measured.folder / "hypotheses.jsonl"
    write_jsonl(merged, (row for path in measured.hypotheses for row in read_jsonl(path)))
    conditions = dict.fromkeys(["clean", *(row["video_condition"] for row in read_jsonl(merged))])
    results = measured.timed(
        "score",
        lambda: score_test(
            measured.test.folder,
            merged,
            measured.test.manifest,
            systems=measured.systems,
            bootstrap=Bootstrap(num_resamples=settings.resamples),
            speaker_dependent=speaker_dependent,
            video_conditions=tuple(conditions),
            notes=notes,
            spell_numbers=spell_numbers,
        ),
    )
    write_json(measured.folder / "results.json", results)
    write_outputs(measured.folder / "report", results)
    seconds = sum(len(measured.test.utterances.waveform(one[0])) for one in utterances(measured))
    document = published(results, measured, seconds / 16_000)
    write_json(settings.out / f"wer_under_noise_{part}.json", document)
    with write_atomically(settings.out / f"wer_under_noise_{part}.md") as temporary:
        temporary.write_text(page(document, part), encoding="utf-8")


def utterances(measured: Measured) -> list[list[str]]:
    """Id, speaker and text of the test's utterances."""
    found: list[list[str]] = measured.test.facts["utterances"]
    return found


def published(results: Mapping[str, Any], measured: Measured, speech_s: float) -> dict[str, Any]:
    """Results without this machine's folders, lists of voices cut short, with the cost.

    Rows of single seeds are left out: what they hold can be counted from ``errors``.
    """
    rows = [row for row in results["rows"] if row["scope"] == "pooled"]
    protocol = dict(results["protocol"])
    protocol["test_noises"] = {
        name: list(files) if len(files) <= MAX_SHARED_FILES else [f"{len(files)} files"]
        for name, files in protocol["test_noises"].items()
    }
    mixtures = len(measured.test.manifest.rows) / len(utterances(measured))
    cost = {
        "seconds": measured.seconds,
        "cores": available_cores(),
        "speech_s": round(speech_s, 1),
        "mixtures": len(measured.test.manifest.rows),
        "real_time_factor": {
            name: round(spent / (speech_s * mixtures), 4)
            for name, spent in measured.seconds.items()
            if name.startswith("decode")
        },
    }
    found: dict[str, Any] = scrubbed({**results, "rows": rows, "protocol": protocol, "cost": cost})
    return found


def page(document: Mapping[str, Any], part: str) -> str:
    """The published page, from the published JSON alone."""
    source, cost = document["provenance"], document["cost"]
    spent = "; ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in cost["seconds"].items())
    factors = ", ".join(f"{name} {value}" for name, value in cost["real_time_factor"].items())
    lines = [
        f"Made by `benchmarks/wer_under_noise.py {part}` at commit {source['commit'][:7]}, "
        f"{source['created_utc'][:10]}, {source['hardware']}. Mixture manifest "
        f"`{source['manifest_sha256']}`, normaliser version {source['normaliser_version']}"
        + (", numbers spelled out." if document["protocol"]["spell_numbers"] else "."),
        f"Cost on {cost['cores']} cores: {cost['mixtures']} mixtures; {spent}. Wall time over the "
        f"length of all mixtures: {factors}.",
    ]
    title, _, rest = markdown(document).partition("\n")
    return f"{title}\n\n" + "\n\n".join(lines) + f"\n{rest}"


if __name__ == "__main__":
    run_command(main)
