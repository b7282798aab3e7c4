#!/bin/sh
# Train the styles of checkpoints/ again, one after the other, from a folder of photos and one of
# paintings (under the file names that configs/style/*.yaml give; those not there are left out):
#
#   scripts/train_all_styles.sh PHOTOS PAINTINGS [KEY=VALUE ...]
#
# Further words go to `fst train`, for instance trainer.max_steps=10000 net=johnson. STYLES="a b"
# in the environment picks some; by default it is every style with a painting. EXPERIMENT is
# gallery, or gallery_gpu for a GPU. If it was stopped, the same command resumes, in runs/gallery
# (or $RUNS). Each finished style is copied into checkpoints/ (or $OUT).
set -eu
[ $# -ge 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
photos=$1 paintings=$2
shift 2
for folder in "$photos" "$paintings"; do
  [ -d "$folder" ] || { echo "train_all_styles: no folder $folder" >&2; exit 2; }
done
here=$(dirname "$0")/..
out=${OUT:-$here/checkpoints}
if [ -z "${STYLES:-}" ]; then
  for config in "$here"/configs/style/*.yaml; do
    file=$(sed -n 's/^file: //p' "$config")
    painted=$(sed -n 's/^painted: \([a-z_]*\).*/\1/p' "$config")
    if [ "$painted" != null ] || [ -f "$paintings/$file" ]; then
      STYLES="${STYLES:-} $(basename "$config" .yaml)"
    fi
  done
fi
echo "styles:$STYLES"
mkdir -p "$out"
for style in $STYLES; do
  fst train "experiment=${EXPERIMENT:-gallery}" "style=$style" "style.root=$paintings" \
    "data.root=$photos" "run_dir=${RUNS:-runs/gallery}/$style" "$@"
  cp "${RUNS:-runs/gallery}/$style/$style.safetensors" "$out/"
done
fst list
