"""Makes a NEF of this bundle's graph, inside Kneron's container, and compares every step with the golden tensors.

docker run --rm -it -v "$PWD":/bundle kneron/toolchain:latest python /bundle/compile_nef.py

Written from the toolchain's manual (v0.33.1; v0.23 or later is needed) and exercised against a recording of its
interface; not run in the container where this bundle was made.
"""
# pyright: basic

import argparse
import glob
import json
import os
import shutil
import sys

import cv2
import ktc  # pyright: ignore[reportMissingImports]
import numpy as np
import onnx

FOLDER = os.path.dirname(os.path.abspath(__file__))
PLATFORM = 720
MODEL_ID, MODEL_VERSION = 32769, "0001"
ENOUGH_DB = 20.0
"""Signal over noise that the vendor calls enough for 8 bits (quantization/1.3)."""
EQUAL = 0.01
"""Largest difference of the optimised graph, in floating point: more means that something was folded wrongly."""
BITS = ("int8", "mix light", "mix balance", "mixbw", "int16")
FLASH, USB = 70 * 1024**2, 75 * 1024**2


def main(arguments=None):
    """Run; the exit status: 0 if every step is near enough to the golden tensors, else 1."""
    manifest, decided = read_json("manifest.json"), read_json("analysis.json")
    options = parser(decided).parse_args(arguments)
    work = options.work
    os.makedirs(work, exist_ok=True)
    goldens = read_goldens(manifest)
    model, path = optimised(manifest, work)
    good = compared("optimised graph", goldens, manifest, least_db=None, onnx_file=path)
    config = ktc.ModelConfig(MODEL_ID, MODEL_VERSION, str(PLATFORM), onnx_model=model)
    print(config.evaluate(output_dir=work))
    pictures = calibration(manifest, options.pictures)
    bie = config.analysis({manifest["input"]["name"]: pictures}, **analysis(options, decided))
    good &= compared("fixed point (bie)", goldens, manifest, ENOUGH_DB, bie_file=bie)
    nef = ktc.compile([config])
    good &= compared("compiled (nef)", goldens, manifest, ENOUGH_DB, nef_file=nef)
    target = os.path.join(FOLDER, manifest["model"]["path"])
    shutil.copyfile(nef, target)
    size = os.path.getsize(target)
    print(
        f"written: {target} ({size / 1e6:.1f} MB; at most {FLASH / 1e6:.0f} MB in flash, {USB / 1e6:.0f} MB over USB)"
    )
    if not good:
        following = BITS[min(BITS.index(options.bits) + 1, len(BITS) - 1)]
        print(f"too far from the golden tensors; try --bits {following!r}", file=sys.stderr)
    return 0 if good and size <= USB else 1


def read_json(name):
    """Of the bundle: its manifest, or what was decided about its 8 bits where it was made."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return json.load(file)


def parser(decided):
    """Of the command line; its defaults are what was decided."""
    found = argparse.ArgumentParser(description="Make a NEF of this bundle's graph, in Kneron's container.")
    bits, out_bits = decided["datapath_bitwidth_mode"], decided["model_out_bitwidth_mode"]
    found.add_argument("--bits", choices=BITS, default=bits, help="of results, in the order to try")
    found.add_argument("--weight-bits", choices=BITS, help="of weights; else as the results if --bits is given")
    found.add_argument("--out-bits", choices=("int8", "int16"), default=out_bits, help="of the model's outputs")
    found.add_argument("--pictures", default=os.path.join(FOLDER, "calibration"), help="folder, for calibration")
    found.add_argument("--threads", type=int, default=4)
    found.add_argument("--deep-search", action="store_true", help="let the compiler search longer for a faster NEF")
    found.add_argument("--work", default=os.path.join(FOLDER, "work"), help="folder for what the toolchain writes")
    return found


def analysis(options, decided):
    """Settings of the fixed-point analysis: what was decided, where the command line says nothing else."""
    usual = decided["weight_bitwidth_mode"] if options.bits == decided["datapath_bitwidth_mode"] else options.bits
    settings = {
        "output_dir": options.work,
        "threads": options.threads,
        "datapath_bitwidth_mode": options.bits,
        "weight_bitwidth_mode": options.weight_bits or usual,
        "model_in_bitwidth_mode": "int8",
        "model_out_bitwidth_mode": options.out_bits,
        "compiler_tiling": "deep_search" if options.deep_search else "default",
        "mode": 2,
    }
    return dict(decided, **settings)


def optimised(manifest, work):
    """The graph as the toolchain likes it, and its file."""
    model = onnx.load(os.path.join(FOLDER, manifest["model"]["graph"]))
    try:
        import kneronnxopt  # pyright: ignore[reportMissingImports]

        model = kneronnxopt.optimize(model)
    except ImportError:  # the older environment of the container
        model = ktc.onnx_optimizer.onnx2onnx_flow(model)
    name = manifest["input"]["name"]
    first = [node.op_type for node in model.graph.node if name in node.input]
    if first != ["BatchNormalization"]:
        raise SystemExit(
            "the first node must stay the BatchNormalization that restores the picture, after optimising it is {}: "
            "folded into the first convolution it changes the picture's border; use a toolchain that keeps it "
            "(v0.31.1 or later)".format(" and ".join(first) or "missing")
        )
    path = os.path.join(work, "optimised.onnx")
    onnx.save(model, path)
    return model, path


def as_input(pixels, manifest):
    """``[h, w, 3]`` uint8 RGB as the network sees it, ``[1, 3, h, w]``: x / 256 - 0.5."""
    given = manifest["input"]
    seen = pixels.astype(np.float32) * given["scale"] + given["offset"]
    return np.ascontiguousarray(seen.transpose(2, 0, 1)[None], dtype=np.float32)


def calibration(manifest, folder):
    """Pictures of a folder as inputs."""
    height, width = manifest["input"]["shape"][2:]
    paths = sorted(path for ending in ("jpg", "png") for path in glob.glob(os.path.join(folder, "*." + ending)))
    if not paths:
        raise SystemExit(f"calibration needs pictures; there are none in {folder}")
    found = []
    for path in paths:
        picture = cv2.imread(path)
        if picture is None or picture.shape != (height, width, 3):
            size = "no picture" if picture is None else "{} x {}".format(*picture.shape[1::-1])
            raise SystemExit(f"pictures for calibration are {width} x {height}, {path} is {size}")
        found.append(as_input(picture[..., ::-1], manifest))
    print(f"calibrating with {len(found)} pictures; at least 100 are asked for")
    return found


def read_goldens(manifest):
    """``[(input, {output: array})]``."""
    with np.load(os.path.join(FOLDER, manifest["golden"]["path"]), allow_pickle=False) as arrays:
        count = sum(name.startswith("picture_") for name in arrays.files)
        found = []
        for k in range(count):
            start = f"output_{k}_"
            outputs = {name[len(start) :]: arrays[name] for name in arrays.files if name.startswith(start)}
            found.append((as_input(arrays[f"input_{k}"], manifest), outputs))
    return found


def compared(what, goldens, manifest, least_db, **file):
    """Whether a step says what the trained network says; prints every output."""
    names = [head["outputs"][part] for head in manifest["heads"] for part in ("box", "objectness", "classes")]
    signal, noise, worst = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for given, outputs in goldens:
        said = ktc.kneron_inference([given], input_names=[manifest["input"]["name"]], platform=PLATFORM, **file)
        for name, got in ordered(said, [(name, outputs[name]) for name in names]):
            error = got - outputs[name]
            signal[name] += float(np.square(outputs[name], dtype=np.float64).sum())
            noise[name] += float(np.square(error, dtype=np.float64).sum())
            worst[name] = max(worst[name], float(np.abs(error).max()))
    good = True
    for name in names:
        decibels = 10 * np.log10((signal[name] + 1e-12) / (noise[name] + 1e-12))
        enough = worst[name] <= EQUAL if least_db is None else decibels >= least_db
        good = good and enough
        verdict = "ok" if enough else "TOO FAR"
        print(f"{what}: {name}: {decibels:.1f} dB, largest difference {worst[name]:.4f}: {verdict}")
    return good


def ordered(said, wanted):
    """``[(name, array)]``: the toolchain gives outputs in the graph's order; sizes hold it to that."""
    free = list(range(len(said)))
    found = []
    for name, golden in wanted:
        fitting = [k for k in free if np.asarray(said[k]).size == golden.size]
        if not fitting:
            shapes = [list(np.asarray(one).shape) for one in said]
            raise SystemExit(f"there must be an output {name} of {golden.size} numbers, got {shapes}")
        free.remove(fitting[0])
        found.append((name, np.asarray(said[fitting[0]], np.float64).reshape(golden.shape)))
    return found


if __name__ == "__main__":
    sys.exit(main())
