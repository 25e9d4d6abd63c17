"""What the benchmarks record is enough for their tables, is not measured twice, and proves nothing by itself."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import kill_and_resume
import proof_over_sets
import pytest
import recorded_trainings
from continue_or_restart import cells_of
from cross_wins import cross_table
from evidence import RECORDED, Slice, SliceOver, changed, over, record, restored
from proof_over_sets import Proof, refuse_another, work
from proof_record import final_job, provenance
from proof_table import gains, length_name, longest, proof_table
from recorded_trainings import drawn, preferences
from replay_table import packed, reached, replay_table, savings, share_ends
from results_page import all_together

from edgehone.data import read_dataset
from edgehone.files import read_json, write_json
from edgehone.search.calibration import nominal
from edgehone.search.plan import make_plan
from edgehone.space import Prefer
from edgehone.strategy import PRESETS


def training(seed: int, ap: float, length: str = "own") -> dict[str, Any]:
    return {"length": length, "seed": seed, "ap": ap, "interval95": [ap - 0.05, ap + 0.05], "seconds": 60.0}


def a_record(data: str, lead: float, arms: tuple[str, ...] = ("darknet", "authors", "evolution")) -> dict[str, Any]:
    """A proof in which the found strategy leads by so much, give or take a little, with each of three seeds."""

    def arm(name: str) -> dict[str, Any]:
        aps = [0.3 + 0.01 * seed + (lead + 0.002 * seed if name == "found" else 0.0) for seed in range(3)]
        strategy = changed(PRESETS.get(name, PRESETS["authors"]))
        trainings = [training(seed, ap) for seed, ap in enumerate(aps)]
        own = {"strategy": strategy, "steps": 400, "batch": 8, "precision": "bf16", "search_core_s": 3600.0}
        return {**own, "trainings": trainings}

    plan = make_plan(1800.0, 0.0, "full", nominal(2), 1.0).model_dump(mode="json")
    pictures = {name: {"gain": lead, "interval95": [lead - 0.02, lead + 0.02]} for name in arms}
    return {
        "data": data, "seed": 0, "default": "authors", "kept": "found", "over_pictures": pictures, "budget_s": 1800.0,
        "plan": plan, "request": {},
        "arms": {name: arm(name) for name in (*arms, "found")},
    }  # fmt: skip


def test_a_condensed_strategy_is_the_same_strategy() -> None:
    for strategy in (*PRESETS.values(), *(drawn(trial) for trial in range(20))):
        assert restored(json.loads(json.dumps(changed(strategy)))) == strategy


def test_gains_are_paired_by_seed() -> None:
    found = a_record("a", 0.1)
    assert gains(found, "default", "own") == pytest.approx([0.1, 0.102, 0.104])
    del found["arms"]["evolution"]["trainings"][1]
    assert gains(found, "evolution", "own") == pytest.approx([0.1, 0.104])
    assert over([0.1, 0.102, 0.104])[1] == pytest.approx((0.102 - 4.3027 * 0.002 / 3**0.5, 0.102 + 0.0049683), abs=1e-5)
    assert over([0.1])[1] is None


def test_the_verdict_wants_the_mean_and_three_sets() -> None:
    clear = proof_table([a_record(name, 0.09) for name in "abcd"])
    assert any("the better preset: +9.2 [+9.2, +9.2]" in line and line.endswith(": reached") for line in clear)
    few = proof_table([a_record(name, 0.09) for name in "ab"])
    assert any("the better preset" in line and line.endswith(": not reached") for line in few)
    small = proof_table([a_record(name, 0.05) for name in "abcd"])
    assert [line.rpartition(": ")[2] for line in small if line.startswith("- over")] == [
        "not reached",
        "reached",
        "not measured",
    ]
    assert "1.02" in clear[2], "core-hours are those that were recorded, and its full training"
    assert "1.00" in next(line for line in clear if "edgehone, informed" in line), "it is one of the search"


def test_the_verdict_counts_the_seeds_that_were_asked_for_and_says_what_was_delivered() -> None:
    records = [a_record(name, 0.09) for name in "abcd"]
    records[0]["arms"]["found"]["trainings"] += [training(seed, 0.9) for seed in (3, 4)]
    records[0]["arms"]["authors"]["trainings"] += [training(seed, 0.1) for seed in (3, 4)]
    records[3]["kept"] = "default"
    said = next(line for line in proof_table(records) if "over the better preset" in line)
    assert "+9.2 [+9.2, +9.2] points on average of 4 sets" in said
    assert "of what was delivered +6.9 [" in said, "three sets with the gain, one with the preset"
    over_evolution = next(line for line in proof_table(records) if "over the authors' evolution" in line)
    assert "of what was delivered +6.9 [" in over_evolution, "the preset is as good as the evolution here"


def test_another_final_length_is_another_table() -> None:
    record = a_record("a", 0.1)
    label = length_name(416, 300)
    record["arms"]["found"]["trainings"].append(training(0, 0.8, label))
    rows = [line for line in proof_table([record], label) if line.startswith("| a")]
    assert len(rows) == 1
    assert "0.800" in rows[0]


def test_every_set_counts_by_its_longest_trainings_of_several_seeds() -> None:
    short, long = a_record("a", 0.1), a_record("b", 0.0)
    label = length_name(224, 12)
    long["arms"]["found"]["trainings"] += [training(seed, 0.8, label) | {"seconds": 240.0} for seed in range(3)]
    long["arms"]["authors"]["trainings"] += [training(seed, 0.6, label) for seed in range(3)]
    lone = length_name(416, 300)
    long["arms"]["found"]["trainings"].append(training(0, 0.9, lone) | {"seconds": 9000.0})
    chosen = longest([short, long])
    assert [(record["data"], length) for record, length in chosen] == [("a", "own"), ("b", label)]
    text = "\n".join(all_together(chosen))
    assert "over the better preset: +15.1" in text
    assert "- b: a search of 30 minutes, trainings of 224px, 12epochs" in text
    assert not list(all_together(longest([short]))), "one table says it all"


def test_a_final_training_at_416_px_and_300_epochs_shows_every_picture_so_often() -> None:
    record = a_record("a", 0.1)
    own = final_job(record, "darknet", 2, None, "yolov4-tiny")
    assert (own.steps, own.batch_size, own.seed) == (400, 8, 2)
    for arm in ("darknet", "found"):
        job = final_job(record, arm, 1, (416, 300, 205), "yolov4-tiny")
        assert job.strategy.input.size == 416
        assert job.batch_size == job.strategy.optimisation.batch_size
        assert 0 <= 300 * 205 - job.steps * job.batch_size < job.batch_size
    few = final_job(record, "found", 1, (224, 12, 205), "yolov4-tiny")
    assert (few.steps, few.batch_size) == (615, 4), "as a run would, so that the shortest trainings had steps enough"


@pytest.mark.parametrize(
    ("rules", "starts"),
    [
        ([{"learnt_on": ["other", "mine"]}], []),
        ([], [{"because": "mine, similarity 1.00", "learnt_on": ["mine"]}]),
        ([], [{"because": "other, similarity 0.50", "learnt_on": ["other", "mine"]}]),
    ],
)
def test_advice_that_was_learnt_on_the_set_proves_nothing(tmp_path: Path, rules: list[Any], starts: list[Any]) -> None:
    record(tmp_path / "rules.json", {"rules": rules})
    record(tmp_path / "starts.json", {"starts": starts})
    assert provenance(tmp_path, "yours")["rules"] == len(rules)
    with pytest.raises(SystemExit, match="learnt on the set that is to prove it"):
        provenance(tmp_path, "mine")


def test_what_is_recorded_leaves_its_own_set_out() -> None:
    """No circle: rules and starts of every informed result were made without any result from that set."""
    proofs = [read_json(path) for path in sorted((RECORDED / "proof").glob("*.json"))]
    assert {proof["data"] for proof in proofs} == {"bccd", "aquarium-640", "cards-640", "hituav-820"}
    for proof in proofs:
        assert proof["request"]["scope.leave_out"] == [proof["data"]]
        assert proof["request"]["store"] == "none"
        assert proof["advice"]["starts"] == []
        assert proof["data"] not in proof["advice"]["learnt_on"]
    for cross in (read_json(path) for path in (RECORDED / "cross").glob("*.json")):
        sets = {place.partition("+")[0] for place in cross["found"]}
        assert all(sets.isdisjoint(found["advice"]["learnt_on"]) for found in cross["found"].values())
    searches = list((RECORDED / "front").glob("*-*-*-*.json"))
    assert len(searches) > 2
    for search in searches:
        advice = read_json(search)["advice"]
        assert search.name.partition("-6m-")[0] not in advice["learnt_on"]
        assert advice["starts"] == []
    for replays in (read_json(path) for path in (RECORDED / "replay").glob("*.json")):
        assert all(replays["data"] not in learnt for _, _, learnt in replays["rules"].values())


def a_proof(tmp_path: Path, **options: Any) -> Proof:
    plain = {"budget": "30m", "recorded": tmp_path, "out": tmp_path / "lost", "final_seeds": [0, 1, 2], "arms": []}
    plain |= {"final_size": None, "final_epochs": 300, "model": "yolov4-tiny", "weights": None, "device": "cpu"}
    given = argparse.Namespace(**{**plain, **options})
    source = "builtin:digits?train=4&val=2&test=2"
    return Proof(given, [], source, read_dataset(source), 0, Slice(1.0))


def test_only_what_is_not_recorded_is_left(tmp_path: Path) -> None:
    proof = a_proof(tmp_path, final_seeds=[0, 1, 2, 3])
    assert list(proof.left()) == []
    record(proof.path, a_record("digits", 0.1))
    proof.run()  # neither runs nor asks for the folder, which is not there
    assert list(proof.left()) == [(arm, 3) for arm in ("darknet", "authors", "evolution", "found")]
    assert proof.hours() == pytest.approx(4 * 60 / 3600)
    final = proof.final("found", 3)
    proof.add("found", 3, final, {"ap": 0.5, "interval95": [0.4, 0.6], "seconds": 61.0})
    assert ("found", 3) not in list(proof.left())
    longer = a_proof(tmp_path, final_size=416)
    assert len(list(longer.left())) == 12, "trainings of another length are other trainings"


def test_a_further_search_asks_for_the_same_but_for_its_searcher(tmp_path: Path) -> None:
    proof = a_proof(tmp_path)
    known = {**a_record("digits", 0.1), "request": {"seed": 3, "compare": "evolution", "scope.leave_out": ["digits"]}}
    request = proof.request_of(known, "full-evolution")
    assert (request.seed, request.compare, request.proof) == (3, None, "off")
    assert (request.scope.searcher, request.scope.leave_out) == ("evolution", ("digits",))
    assert proof.request_of(known, "blind").scope.blind


def test_another_model_is_recorded_beside_and_starts_from_its_weights_wherever_they_lie(tmp_path: Path) -> None:
    weights = tmp_path / "net.weights"
    weights.write_bytes(b"weights")
    other = a_proof(tmp_path, model="folder/net.cfg", weights=str(weights))
    assert other.path.name == "builtin:digits-net-30m-0.json"
    record(other.path, {**a_record("digits", 0.1), "request": {"model": "net.cfg", "weights": "net.weights"}})
    started = other.final("found", 3).job.weights
    assert started is not None
    assert started.path == str(weights)
    request = other.request_of(read_json(other.path), "blind")
    assert (request.model, request.weights) == ("folder/net.cfg", str(weights))


def test_a_proof_from_other_weights_is_refused(tmp_path: Path) -> None:
    proof = a_proof(tmp_path)
    record(proof.path, a_record("digits", 0.1))
    with pytest.raises(SystemExit, match=r"began with None, not net\.weights"):
        list(a_proof(tmp_path, weights="net.weights").left())
    folder = proof.given.out / proof.stem
    write_json(folder / "request.json", {"scope": {"leave_out": ["digits"]}, "weights": "folder/net.weights"})
    refuse_another(folder, "digits", "net.weights")
    with pytest.raises(SystemExit, match="not None; give another --out"):
        refuse_another(folder, "digits", None)
    with pytest.raises(SystemExit, match="instead of other"):
        refuse_another(folder, "other", "net.weights")


def test_arms_that_came_to_the_same_strategy_share_their_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = a_proof(tmp_path, final_seeds=[3])
    content = a_record("digits", 0.1)
    content["arms"]["evolution"]["strategy"] = content["arms"]["authors"]["strategy"]
    record(proof.path, content)
    row = {"ap": 0.4, "interval95": [0.3, 0.5], "seconds": 1.0}
    monkeypatch.setattr(proof_over_sets, "side_by_side", lambda finals, workers: [(final, row) for final in finals])
    work([proof], argparse.Namespace(**{**vars(proof.given), "workers": 1}))
    assert list(proof.left()) == []


def test_a_slice_interrupts_a_command_and_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "edgehone"
    code = (
        "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: (open(sys.argv[1], 'w'), sys.exit(130)))\n"
    )
    command.write_text(f"#!{sys.executable}\n{code}open(sys.argv[1] + '.begun', 'w')\ntime.sleep(60)\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    time_left = Slice(1.0)
    time_left.end = time.monotonic() + 5
    with pytest.raises(SliceOver):
        time_left.edgehone([str(tmp_path / "interrupted")])
    assert (tmp_path / "interrupted").is_file()
    with pytest.raises(SliceOver):
        time_left.edgehone([str(tmp_path / "never")])
    assert not (tmp_path / "never.begun").exists()


def test_cells_count_when_all_their_arms_are_there() -> None:
    def row(arm: str, steps: int, ap: float, **more: Any) -> dict[str, Any]:
        return {"arm": arm, "trial": 2, "seed": 0, "steps": steps, "ap": ap, **more}

    rows = [row("continued", 30, 0.1, stage=0), row("continued", 180, 0.3, stage=2), row("anew", 180, 0.2)]
    assert cells_of(rows) == []
    assert cells_of([*rows, row("at once", 270, 0.4)]) == [{"continued": 0.3, "anew": 0.2, "at once": 0.4}]


def test_wins_within_noise_are_counted_apart() -> None:
    places = ("a", "b")
    scores = {
        f"{f} in {p}, {s}": {"ap": 0.3 + (0.0 if f != p else 0.01 if p == "a" else 0.2)}
        for f in places
        for p in places
        for s in range(3)
    }
    lines = cross_table({"found": dict.fromkeys(places), "scores": scores})
    assert "- over all: the native strategy wins 100 % [100, 100]" in lines
    assert any("by more than" in line and "wins 50 % [0, 100]" in line for line in lines)
    del scores["a in b, 2"]
    assert "0.310 [0.310, 0.310]" in cross_table({"found": dict.fromkeys(places), "scores": scores})[2]


@pytest.mark.parametrize("mode", [[], ["--deterministic"]])
def test_studies_follow_until_there_were_so_many_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: list[str]
) -> None:
    begun: list[tuple[int, int]] = []

    def study(options: Any, number: int, most: int, seconds: float) -> dict[str, Any]:
        begun.append((number, most))
        return {"stamp": {}, "kills": min(8, most), "trials": 5, "faults": ["short-01"] if number == 3 else []}

    monkeypatch.setattr(kill_and_resume, "study", study)
    monkeypatch.setattr(kill_and_resume, "undisturbed", lambda options: 10.0)
    words = ["kill_and_resume.py", "data/mine", "--recorded", str(tmp_path), *mode, "--kills"]
    for kills, code in ((20, 0), (20, 0), (30, 1)):
        monkeypatch.setattr(sys, "argv", [*words, str(kills)])
        with pytest.raises(SystemExit) as ended:
            kill_and_resume.main()
        assert ended.value.code == code
    assert begun == [(0, 20), (1, 12), (2, 4), (3, 10), (4, 2)], "what is recorded counts and is not repeated"


def test_rules_of_a_replay_know_nothing_of_the_set_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def advice(value: float, learnt_on: tuple[str, ...]) -> Prefer:
        path = "projection.classification.weight"
        return Prefer(path=path, value=value, confidence=0.7, because="it is", learnt_on=learnt_on)

    said = (advice(3.3, ()), advice(2.0, ("mine",)))
    monkeypatch.setattr(recorded_trainings, "analyse_only", lambda *_: (None, said))
    dataset = read_dataset("builtin:digits?train=4&val=2&test=2")
    assert [prior.value for prior in preferences(dataset)] == [2.0]
    assert [prior.value for prior in preferences(dataset, ("mine",))] == [3.3]


def replays(*distances: float, cost: float) -> dict[str, Any]:
    return {"replays": len(distances), "cost": cost, "fingerprint": "", "distances_e4": packed(distances)}


def test_where_a_median_is_near_the_best_lies_between_two_studies() -> None:
    assert reached([2.0, 8.0], [0.02, 0.0]) == pytest.approx(4.0), "half the way, in octaves"
    assert reached([2.0, 8.0], [0.005, 0.0]) == 2.0
    assert reached([2.0, 8.0], [0.03, 0.02]) == math.inf


def test_a_share_is_as_sure_as_its_replays() -> None:
    slow = {"4": replays(0.05, 0.05, cost=4.0), "32": replays(0.0, 0.0, cost=32.0)}
    fast = {"4": replays(0.05, 0.05, cost=2.0), "32": replays(0.0, 0.0, cost=16.0)}
    assert share_ends(fast, slow, 0.0) == pytest.approx((0.5, 0.5)), "replays that all say the same"
    torn = {**fast, "32": replays(*[0.0, 0.012] * 8, cost=16.0)}
    low, high = share_ends(torn, slow, 0.0)
    assert 0.4 < low < 0.55 < high == math.inf, "half of them never come near"
    never = {"32": replays(0.05, 0.05, cost=32.0)}
    assert share_ends(fast, never, 0.0)[1] == pytest.approx(2 * 8**0.8 / 32), "at most, for the other never came near"


def test_a_cell_says_where_it_was_replayed_less_than_others() -> None:
    rows = {"informed": {"4": replays(*[0.02] * 4, cost=2.0), "32": replays(0.01, 0.01, cost=16.0)}}
    text = "\n".join(replay_table({"data": "a", "best": 0.4, "best_recorded": 0.38, "rows": rows}))
    assert "| 2.0 [2.0, 2.0] | 1.0 [1.0, 1.0] (2 replays) |" in text


def test_the_acceptance_of_replays() -> None:
    near, far = replays(0.005, 0.005, cost=2.0), replays(0.03, 0.03, cost=2.0)
    end = replays(0.001, 0.001, cost=16.0)
    content = {
        "data": "a",
        "best": 0.4,
        "best_recorded": 0.38,
        "rows": {
            "informed": {"4": near, "32": end},
            "evolution": {"4": far, "32": replays(0.02, 0.02, cost=16.0)},
            "informed, blind": {"4": far, "32": replays(0.005, 0.005, cost=16.0)},
            "informed, wrong rules": {"4": far, "32": replays(0.02, 0.02, cost=16.0)},
        },
    }
    lines = list(savings(content))
    assert "of the best recorded at 2.0 full trainings, 1.00 of evolution (asked for: 0.20): not reached" in lines[0]
    assert "of the best recorded at 2.0 full trainings, 1.00 of informed, blind" in lines[1]
    assert "2.0 full trainings, at most 0.12 of evolution (asked for: 0.20): reached" in lines[2]
    assert "of the best of the space at 2.0 full trainings" in lines[3]
    assert "of informed, blind (asked for: 0.50): reached" in lines[3]
    assert "+0.0 [+0.0, +0.0] at 2; +1.5 [+1.5, +1.5] at 16; worse at 1 of 2: not reached" in lines[-1]
    assert "| evolution | 3.0 [3.0, 3.0] | 2.0 [2.0, 2.0] | 2.0 | not within 16 |" in replay_table(content)
