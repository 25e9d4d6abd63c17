#!/usr/bin/env bash
# Compiles the parser that hands detections to DeepStream, on the board. DEEPSTREAM names another folder of its SDK.
# Not run on a board where this bundle was made.
set -euo pipefail
cd "$(dirname "$0")"
deepstream=${DEEPSTREAM:-/opt/nvidia/deepstream/deepstream}
cuda=${CUDA:-/usr/local/cuda}
g++ -O2 -fPIC -shared -std=c++14 -I"$deepstream/sources/includes" -I"$cuda/include" \
  nvdsinfer_edgehone.cpp -o libnvdsinfer_edgehone.so
echo "built libnvdsinfer_edgehone.so"
