"""The command ``selftest.py``: is the bundle whole, and does it say here what it said where it was made?"""
# pyright: basic

import argparse
import json
import sys

from .backends import open_backend
from .detector import Detector
from .faults import DeviceError, log
from .golden import TOLERANCES, output_faults, partners, pixel_difference, read_golden
from .manifest import read_manifest


class Check:
    """One thing that was looked at: ``name``, whether it ``passed``, and ``text``, what was found."""

    def __init__(self, name, passed, text):
        self.name = name
        self.passed = passed
        self.text = text


def main(folder, arguments=None):
    """Run; the exit status: 0 if all passed, else 1."""
    parser = argparse.ArgumentParser(prog="selftest.py", description="Check this bundle, on this machine.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    checks = []
    try:
        manifest = read_manifest(folder)
        checks.append(check_files(manifest))
        if checks[0].passed:  # a changed model says nothing worth hearing
            checks += check_detector(manifest, open_backend(manifest))
    except DeviceError as error:
        checks.append(Check("start", False, str(error)))
    passed = all(check.passed for check in checks)
    if options.json:
        rows = [{"check": check.name, "passed": check.passed, "found": check.text} for check in checks]
        sys.stdout.write(json.dumps({"passed": passed, "checks": rows}, indent=1) + "\n")
    else:
        for check in checks:
            sys.stdout.write("{}  {}: {}\n".format("ok    " if check.passed else "FAILED", check.name, check.text))
    if not passed:
        log("selftest failed")
    return 0 if passed else 1


def check_files(manifest):
    """Every file has the bytes that were delivered."""
    changed = manifest.changed_files()
    if changed:
        return Check("files", False, "; ".join(f"{name} {reason}" for name, reason in changed))
    return Check("files", True, f"{len(manifest.files)} files are unchanged")


def check_detector(manifest, backend):
    """The golden pictures, tensors and detections, in this order; closes the backend."""
    if manifest.golden_path is None:
        return [Check("golden", False, "the bundle holds no golden tensors")]
    tolerance = dict(TOLERANCES[manifest.precision], **manifest.tolerance)
    detector = Detector(manifest, backend)
    faults, pixels, matched, compared, outputs = [], 0, 0, 0, 0
    try:
        goldens = read_golden(manifest.golden_path)
        for k, golden in enumerate(goldens):
            pixels = max(pixels, pixel_difference(detector.preparation.picture(golden.picture), golden.prepared))
            said = backend.run(detector.input_of(golden.prepared))
            faults += [f"picture {k}: {fault}" for fault in output_faults(said, golden.outputs, tolerance)]
            outputs += len(golden.outputs)
            ours = detector.detect(golden.picture)
            good, all_of_them = partners(ours, golden.found, tolerance, manifest.suppression)
            matched, compared = matched + good, compared + all_of_them
    finally:
        backend.close()
    share = matched / compared if compared else 1.0
    text = "{} of {} detections agree, needs {:g} %".format(matched, compared, 100 * tolerance["matched"])
    return [
        Check("pictures", pixels <= tolerance["pixels"], f"prepared pixels differ by {pixels} at most"),
        Check("outputs", not faults, "; ".join(faults) or f"{outputs} outputs are within tolerance"),
        Check("detections", bool(goldens) and share >= tolerance["matched"], text),
    ]
