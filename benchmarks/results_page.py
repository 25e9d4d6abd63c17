"""Writes docs/results.md, whole, from what is recorded.

python benchmarks/results_page.py [--recorded benchmarks/recorded] [--out docs/results.md]

Nothing is measured here, and nothing on the page is written by hand: who wants another number measures it anew with the
command of its section. A section of which nothing is recorded yet says so.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from continue_or_restart import continue_table
from cross_wins import complete_seeds, cross_table
from evidence import RECORDED, Row, made
from kill_and_resume import kills_table
from multi_objective import front_table
from proof_table import FURTHER, OWN, lengths, longest, proof_table, verdicts
from ray_node_loss import ray_table
from replay_table import replay_table, savings, usual_replays
from trainings import read_rows
from worker_scaling import scaling_table

from edgehone.files import read_json, write_text

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
HEAD = """# Results

What is claimed of the search, and what was measured of it. This page is written by `python benchmarks/results_page.py`
from the files below `benchmarks/recorded`, each of which says by which version, when and on what it was made; the
commands work in slices and go on where they were. AP is COCO's, from 0 to 1; gains are in AP points. Brackets are 95 %
intervals: of a mean over seeds, sets or cells by Student's t, over pictures by the bootstrap. Whether the published
tables were made with short trainings on a processor or with 300 epochs at 416 px on a GPU is said with each. Other
measurements, of single parts, are in [measurements](measurements.md).
"""
SETS = "bccd aquarium-640 cards-640 hituav-820"


def contents(folder: Path) -> list[Row]:
    """Every recorded file of a folder, by name."""
    return [read_json(path) for path in sorted(folder.glob("*.json"))]


def commits(content: Any) -> Iterator[str]:
    """By which versions the pieces of a file were made."""
    inner: Iterable[Any] = content.values() if isinstance(content, dict) else content
    for each in inner:
        if isinstance(each, dict | list):
            yield from commits(cast(Any, each))
    if isinstance(content, dict) and "stamp" in content:
        yield content["stamp"]["commit"]


def origin(content: Row, beside: Sequence[Row] = ()) -> str:
    """When, on what and by which version; and by which others the pieces in it, or in files beside it, were made."""
    others = [commit for commit in commits([content, *beside]) if commit != content["stamp"]["commit"]]
    pieces = f"; parts of it by {', '.join(dict.fromkeys(others))}" if others else ""
    return f"{made(content)}{pieces}."


def proof(folder: Path) -> Iterator[str]:
    """A part for each model, and in it one for each budget and length of the final trainings."""
    records = contents(folder / "proof")
    for model in sorted({begun(record) for record in records}):
        of_model = [record for record in records if begun(record) == model]
        for budget in sorted({record["budget_s"] for record in of_model}):
            together = [record for record in of_model if record["budget_s"] == budget]
            for length in dict.fromkeys(length for record in together for length in lengths(record)):
                shown = [record for record in together if length in lengths(record)]
                yield from proof_part(model, budget, length, shown)
        yield from all_together(longest(of_model), model)
    missing = [arm for arm in FURTHER if not any(arm in record["arms"] for record in records)]
    if records and missing:
        yield from (f"Searched for real on no set yet: {', '.join(missing)}.", "")


def begun(record: Row) -> tuple[str, str]:
    """The model of a proof, and the weights that all its trainings start from; no words where it is the default."""
    request = record["request"]
    return request.get("model", ""), request.get("weights", "")


def proof_part(model: tuple[str, str], budget: float, length: str, shown: Sequence[Row]) -> Iterator[str]:
    """The proofs of one model, one budget and one length of the final trainings."""
    options = "".join(f"--{name} {word} " for name, word in zip(("model", "weights"), model, strict=True) if word)
    origins = "; ".join(f"{record['data']}: {origin(record).rstrip('.')}" for record in shown)
    yield from (f"### {titled(model)}: searches of {budget / 60:g} minutes, trainings {bought(length)}", "")
    yield from (f"With `{options}--budget {budget / 60:g}m{asked(length)}`. {origins}.", "")
    yield from (*proof_table(shown, length), "")


def titled(model: tuple[str, str]) -> str:
    """A model and how its trainings begin, in words."""
    name, weights = model
    return f"{Path(name).stem or 'yolov4-tiny'} from {'pretrained weights' if weights else 'scratch'}"


def bought(length: str) -> str:
    """A length of final trainings, in words."""
    return "as long as the budget bought" if length == OWN else f"of {length.replace('-', ', ')}"


def asked(length: str) -> str:
    """The options of a length of final trainings; none for what the budget bought."""
    if length == OWN:
        return ""
    size, epochs = length.removesuffix("epochs").split("px-")
    return f" --final-size {size} --final-epochs {epochs}"


def all_together(chosen: Sequence[tuple[Row, str]], model: tuple[str, str] = ("", "")) -> Iterator[str]:
    """What was asked for, over all sets, where they were not all searched and trained alike."""
    if len({(record["budget_s"], length) for record, length in chosen}) > 1:
        yield from (f"### {titled(model)}: all sets, each by its longest final trainings of several seeds", "")
        for record, length in chosen:
            yield f"- {record['data']}: a search of {record['budget_s'] / 60:g} minutes, trainings {bought(length)}"
        yield from ("", *verdicts(chosen), "")


def replays(folder: Path) -> Iterator[str]:
    """A table and the acceptance of each set."""
    for content in contents(folder / "replay"):
        rules = ", ".join(f"`{path}={value}`" for path, (value, *_) in content["rules"].items())
        yield (
            f"{content['data']}: stand-in of {content['trials']} strategies trained at three lengths and "
            f"{content['in_full_alone']} in full alone (of these {content['second_seeds']} are second seeds of the "
            "others, and unknown to predictions that are called unseen); Spearman of unseen predictions at each length "
            + ", ".join(f"{share}: {rho:.2f}" for share, rho in content["spearman"].items())
            + f"; noise between seeds {content['seed_noise']:.3f}; "
            f"best recorded {content['best_recorded']:.3f}, best of the space {content['best']:.3f}. "
            f"Replays: {usual_replays(content)}, where a cell says no other number. "
            f"Rules, without what they learnt on the set: {rules}. {origin(content)}"
        )
        yield from ("", *replay_table(content), "", *savings(content), "")


def cross(folder: Path) -> Iterator[str]:
    """A table for each way of searching."""
    for content in contents(folder / "cross"):
        begun = {name: row.get("weights") for name, row in content["found"].items()}
        more = " ".join(dict.fromkeys(words for row in content["found"].values() if (words := row.get("options"))))
        seeds = len(complete_seeds(content, list(content["found"])))
        said = "; ".join(f"{name} starts from {file}" for name, file in begun.items() if file)
        yield (
            f"Searches of {content['budget_s'] / 60:g} minutes at {content['size']} px; every strategy trained for "
            f"{content['steps']} steps of {content['batch']} pictures, by {seeds} seeds. "
            f"With `--budget {content['budget_s'] / 60:g}m "
            f"--steps {content['steps']}{' ' * bool(more)}{more}`. {said + '. ' if said else ''}{origin(content)}"
        )
        yield from ("", *cross_table(content), "")


def continued(folder: Path) -> Iterator[str]:
    """One table."""
    lines = continue_table(folder / "continue")
    if lines:
        rows = [row for path in sorted((folder / "continue").glob("*.jsonl")) for row in read_rows(path)]
        last = max(rows, key=lambda row: row["stamp"]["date"])
        yield from (f"Gains over training anew. {origin(last)}", "", *lines, "")


def fronts(folder: Path) -> Iterator[str]:
    """A table for each budget."""
    for path in sorted((folder / "front").glob("*.json")):
        content = read_json(path)
        if "rows" in content:
            searches = [read_json(each) for each in sorted(path.parent.glob(f"{path.stem}-*.json"))]
            limits = " ".join(dict.fromkeys(str(row["limit"]) for row in content["rows"]))
            seeds = " ".join(dict.fromkeys(str(row["seed"]) for row in content["rows"]))
            yield (
                f"With `--budget {content['budget']} --limits {limits} --seeds {seeds}`; without what was learnt on "
                f"the set. {origin(content, searches)}"
            )
            yield from ("", *front_table(content), "")


def each_of(name: str, table: Callable[[Row], list[str]], kind: str = "rows") -> Callable[[Path], Iterator[str]]:
    """A section of a table for every file of a folder that has what the table shows."""

    def section(folder: Path) -> Iterator[str]:
        for content in contents(folder / name):
            if kind in content:
                yield from (origin(content), "", *table(content), "")

    return section


def kills(folder: Path) -> Iterator[str]:
    """A table for each mode."""
    for content in contents(folder / "kills"):
        if content["studies"]:
            yield from (origin(content["studies"][-1]), "", *kills_table(content), "")


SECTIONS: Sequence[tuple[str, str, str, Callable[[Path], Iterator[str]]]] = (
    (
        "What does the whole job gain?",
        f"python benchmarks/proof_over_sets.py {SETS} --final-seeds 0 1 2",
        "Presets, the authors' evolution at an equal budget of search, and the informed search without anything that "
        "was learnt on the set, their final trainings of equal compute, on the test split. The better preset is the "
        "one that validation chose; where validation could not tell the found strategy from it, it is what the run "
        "delivered. Verdicts count seeds 0 to 2, whatever was trained besides; intervals over sets are wide, since "
        "sets differ. AP of a single seed has its interval over pictures. With `--arms random "
        "full-evolution blind` further searches under the same plan; with `--final-size 416 --final-epochs 300` final "
        "trainings of that length, which is meant for a GPU. No weights of YOLOv4-tiny were at hand; the second model "
        "starts from its authors' on COCO, in every training alike.",
        proof,
    ),
    (
        "How much training does each searcher need?",
        "python benchmarks/replay.py bccd cards-640 --replays 200",
        "Searches replayed on a stand-in fitted to recorded trainings (`recorded_trainings.py`, `surrogate.py`): "
        "median distance in AP points of what is chosen from the best of the space, with quartiles, after a search of "
        "so many short trainings and what follows them. Lengths are 1/8, 1/4 and 1 of a full training, where a run has "
        "1/6, 1/3 and 1. The columns are `--studies`; what was not replayed says so.",
        replays,
    ),
    (
        "Are strategies specific?",
        "python benchmarks/cross_table.py bccd cards-640 --models yolov4-tiny yolo-fastest-1.1-xl.cfg --weights none "
        "yolo-fastest-1.1-xl.weights",
        "The strategy found for each data set and model (without what was learnt on any set of the table), trained in "
        "the place of every other, with several seeds, on the test split.",
        cross,
    ),
    (
        "Is a promoted strategy better trained anew or on?",
        "python benchmarks/continue_or_restart.py bccd cards-640",
        "A sixth, a third and a whole training one after another, each anew or from the weights of the one before; and "
        "one training as long as the three. AP on validation.",
        continued,
    ),
    (
        "Does one front equal a search for each of its places?",
        "python benchmarks/multi_objective.py bccd",
        "One search for AP and latency against searches for AP alone under limits of the input, at equal nominal "
        "budget, by a paired bootstrap on the test split.",
        fronts,
    ),
    (
        "Does a search survive SIGKILL?",
        "python benchmarks/kill_and_resume.py builtin:digits --budget 2m --deterministic --tiny --kills 30 -- "
        "--max-input 160",
        "The main process or a worker, killed at random instants; without `--deterministic` nothing may be lost or "
        "doubled, with it the search must equal an undisturbed one.",
        kills,
    ),
    (
        "Does a search survive the loss of a Ray node?",
        "python benchmarks/ray_node_loss.py",
        "Two real Ray nodes on one machine, one of them killed in mid-trial.",
        each_of("ray", ray_table, "trials"),
    ),
    (
        "What do many workers reach?",
        "python benchmarks/worker_scaling.py bccd cards-640",
        "A simulation: the study and the queue of trials under a virtual clock, decisions as long as measured, "
        "trainings as long as recorded ones.",
        each_of("scaling", scaling_table),
    ),
)


def page(folder: Path) -> str:
    """The whole page."""
    lines = [HEAD]
    for title, command, about, section in SECTIONS:
        lines += [f"## {title}", "", f"`{command}`", "", textwrap.fill(about, 120, break_on_hyphens=False), ""]
        lines += list(section(folder)) or ["Not measured yet.", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    write_text(given.out, page(given.recorded))
    print(given.out)


if __name__ == "__main__":
    main()
