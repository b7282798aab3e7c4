#!/usr/bin/env bash
# Runs the exported graphs in OpenCV 4, which the tests' own OpenCV is too new for:
# scripts/proofs/opencv_4.sh [FOLDER, default a temporary one]
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=${1:-$(mktemp -d)}
.venv/bin/python -m pip install --quiet --no-deps --target "$folder" 'opencv-python-headless<5'
PYTHONPATH=$folder .venv/bin/python -m pytest -q tests/test_onnx_graph.py tests/test_targets.py -k opencv
