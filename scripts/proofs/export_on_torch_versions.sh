#!/usr/bin/env bash
# Exports a style with the oldest torch we support and with the newest, and runs each one's .pt2
# file in the other: scripts/proofs/export_on_torch_versions.sh STYLE [FOLDER, default a temporary one]
# Needs about 12 GB of disk and a package index.
set -euo pipefail
cd "$(dirname "$0")/../.."

style=${1:?usage: export_on_torch_versions.sh STYLE [FOLDER]}
folder=${2:-$(mktemp -d)}
versions=(2.11.0 newest)
declare -A vision=([2.11.0]=torchvision==0.26.0 [newest]=torchvision)
declare -A torch=([2.11.0]=torch==2.11.0 [newest]=torch)

for version in "${versions[@]}"; do
  home=$folder/venv-$version
  [ -x "$home/bin/fst" ] || {
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --upgrade pip
    "$home/bin/pip" install --quiet "${torch[$version]}" "${vision[$version]}" .
  }
  echo "== torch $("$home/bin/python" -c 'import torch; print(torch.__version__)')"
  "$home/bin/fst" export "$style" --format pt2 -o "$folder/$version.pt2" --force
done

for reader in "${versions[@]}"; do
  for writer in "${versions[@]}"; do
    [ "$reader" = "$writer" ] || "$folder/venv-$reader/bin/python" - "$style" "$folder/$writer.pt2" <<'PY'
import sys
from pathlib import Path

import torch

from fst.inference.graph_file import eager_pass
from fst.inference.parity import measure_parity
from fst.inference.pt2_file import load_pt2
from fst.nets.style_names import find_style

style, file = sys.argv[1:]
parity = measure_parity(eager_pass(find_style(style)), load_pt2(Path(file).read_bytes()))
print(f"torch {torch.__version__} runs {Path(file).name}: largest difference {parity['max_difference']}")
sys.exit(parity["max_difference"] > 1)
PY
  done
done
