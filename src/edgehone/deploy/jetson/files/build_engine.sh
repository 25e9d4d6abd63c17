#!/usr/bin/env bash
# Builds a TensorRT engine on the board and makes its variant the bundle's own.
#
#   bash build_engine.sh [VARIANT] [--dla CORE] [--workspace MIB]
#
# VARIANT: a name from the folder variants, without .json; if none is given, that of manifest.json: the bundle's first,
# then the one built last.
# For TensorRT 8.0 to 8.5. TRTEXEC names another trtexec, TENSORRT_VERSION another version than the one found.
#
# Written from the published options of trtexec; not run on a board where this bundle was made.
set -euo pipefail
cd "$(dirname "$0")"

fail() { echo "error: $*" >&2; exit 1; }

variant="" dla="" workspace=2048
while [ $# -gt 0 ]; do
  case "$1" in
    --dla) [ $# -ge 2 ] || fail "--dla needs a core, 0 or 1"; dla=$2; shift 2 ;;
    --workspace) [ $# -ge 2 ] || fail "--workspace needs MiB"; workspace=$2; shift 2 ;;
    -*) fail "the options are --dla CORE and --workspace MIB; got $1" ;;
    *) variant=$1; shift ;;
  esac
done
if [ -z "$variant" ]; then
  variant=$(python3 -c 'import json; print(json.load(open("manifest.json"))["variant"])') || fail "there is no manifest.json"
fi
manifest=variants/$variant.json
[ -f "$manifest" ] || fail "the variants are $(cd variants && echo *.json | sed 's/\.json//g'); got $variant"

said() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"][sys.argv[2]])' "$manifest" "$1"; }
graph=$(said graph) engine=$(said path) precision=$(said precision)

trtexec=${TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}
[ -x "$trtexec" ] || fail "trtexec comes with JetPack (package libnvinfer-bin); there is none at $trtexec"

version=${TENSORRT_VERSION:-$(python3 -c 'import tensorrt; print(tensorrt.__version__)' 2>/dev/null ||
  dpkg-query -W -f '${Version}' libnvinfer8 2>/dev/null || true)}
version=$(echo "$version" | grep -oE '^[0-9]+\.[0-9]+\.[0-9]+' || true)
[ -n "$version" ] || fail "the version of TensorRT was not found; say it like TENSORRT_VERSION=8.2.1"
IFS=. read -r major minor patch <<<"$version"
number=$((major * 1000 + minor * 100 + patch))
[ "$number" -ge 8000 ] || fail "TensorRT 8.0 or later is needed (JetPack 4.6), here is $version"
[ "$number" -lt 8600 ] || echo "note: TensorRT $version is newer than any for this board; these options are for 8.0 to 8.5" >&2

options=("--onnx=$graph" "--saveEngine=$engine" --warmUp=500 --duration=5 --avgRuns=100)
if [ "$number" -ge 8400 ]; then options+=("--memPoolSize=workspace:$workspace"); else options+=("--workspace=$workspace"); fi
if [ "$number" -ge 8200 ]; then options+=("--exportLayerInfo=$engine.layers.json"); fi
explicit=$(case "$variant" in *-qdq*) echo yes ;; esac)
case "$precision" in
  fp16) options+=(--fp16) ;;
  int8)
    options+=(--int8 --fp16)  # what has no range, and what is faster so, runs in FP16
    if [ -z "$explicit" ]; then
      # TensorRT skips, without a word, a cache of another version than its own.
      sed "1s/.*/TRT-$number-EntropyCalibration2/" calibration.cache >"$engine.cache"
      options+=("--calib=$engine.cache")
    fi ;;
esac
if [ -n "$dla" ]; then
  echo "note: running on the DLA is experimental, see README.md" >&2
  [ "$precision" != fp32 ] || fail "the DLA runs FP16 and INT8; take fp16-raw or int8-raw"
  [ -z "$explicit" ] || fail "the DLA reads no explicit rounding; take int8-raw"
  options+=("--useDLACore=$dla" --allowGPUFallback)
fi

echo "TensorRT $version: $variant from $graph; this takes some minutes"
rm -f "$engine"
"$trtexec" "${options[@]}" >"$engine.log" 2>&1 || { tail -n 30 "$engine.log" >&2; fail "trtexec failed; all it said is in $engine.log"; }
[ -s "$engine" ] || fail "trtexec wrote no $engine; what it said is in $engine.log"
if [ "$precision" = int8 ] && [ -z "$explicit" ]; then
  missing=$(grep -ciE 'missing (scale|dynamic range)|default quantization param' "$engine.log" || true)
  echo "tensors without a range, by TensorRT's own warnings: $missing (those behind the heads of nms are left in FP16)"
fi
cp "$manifest" manifest.json
echo "built $engine; manifest.json is now $variant. Next: python3 selftest.py"
