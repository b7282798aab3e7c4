#!/bin/sh
# Everything there is to measure on a GPU, in parts of minutes each (docs/gpu.md says what each is):
#
#   scripts/proofs/gpu_report.sh PHOTOS PAINTINGS OUT [PART...]
#
# PART is some of: machine step profile pass folder recipe quality gallery distill scaling; by
# default all. Each prints its table and writes OUT/PART.jsonl, with its log beside it. In the
# environment:
#   FST_REPORT_NETWORK   words for the loss network: "loss_network=file loss_network.file=FILE ..."
#   FST_REPORT_TEACHER   a VGG in torchvision's keys, which distill needs
#   FST_REPORT_DISTILL   more words for distill: "~teacher.layers.relu4_3 teacher2.file=FILE ..."
#   FST_REPORT_HELD_OUT  photos for the gallery's evaluation; PHOTOS if not given
#   FST_REPORT_STEPS     of the gallery; "2000 10000"
#   FST_REPORT_EVALUATION  words for its `fst evaluate`; "photos=8 sizes=[256] limit=300"
#   FST_REPORT_PASS      more words for `fst benchmark` in pass: "--photos-at-once 1"
#   FST_REPORT_STYLE     of recipe, quality and scaling; starry_night
#   STYLES               of the gallery; all with a painting
#   FST_REPORT_SIZE=tiny tries every part on a CPU, in minutes; its figures mean nothing
set -eu
[ $# -ge 3 ] || { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
photos=$1 paintings=$2 out=$3
shift 3
for folder in "$photos" "$paintings"; do
  [ -d "$folder" ] || { echo "gpu_report: no folder $folder" >&2; exit 2; }
done
scripts=$(dirname "$0")
parts=${*:-machine step profile pass folder recipe quality gallery distill scaling}
style=${FST_REPORT_STYLE:-starry_night}
network=${FST_REPORT_NETWORK:-loss_network=lite}
held_out=${FST_REPORT_HELD_OUT:-$photos}
python=${PYTHON:-python3}
runs=${FST_REPORT_RUNS:-$out/runs}
mkdir -p "$out" "$runs"
fst() { "$python" -m fst "$@"; }
if [ "${FST_REPORT_SIZE:-full}" = tiny ]; then
  device=cpu workers=0 few=2 counts="1 2" gallery_steps=${FST_REPORT_STEPS:-2} recipe_steps=4 scaling_steps=4
  bench="--eager --width 4 --size 32 --batches 2 --calls 2 --repetitions 2 --shapes 64x48"
  bench="$bench --photos-at-once 1 --sizes 64 --count 4"
  small="net.width=4 net.residual_blocks=1 data.size=32 data.batch_size=2 data.val_photos=2"
  small="$small style.size=64 previews.size=32 previews.photos=1 trainer.accelerator=cpu"
  small="$small trainer.log_every_n_steps=1 trainer.val_check_interval=2 compile=false"
  evaluation="photos=1 sizes=[32] limit=2 device=cpu"
  distillation="trainer.max_steps=2 trainer.val_check_interval=2 data.size=32 data.batch_size=2
    data.val_photos=2 trainer.accelerator=cpu data.workers=0"
else
  device=cuda workers=8 few=500 gallery_steps=${FST_REPORT_STEPS:-2000 10000} recipe_steps=40000
  scaling_steps=2000 bench="--batches 4,32 --repetitions 5 --sizes 512,1080 --count 200"
  small="" evaluation=${FST_REPORT_EVALUATION:-photos=8 sizes=[256] limit=300}
  distillation="trainer.max_steps=10000 data.batch_size=32 data.workers=12"
  counts="1 2 4 8"
fi

train() { # WORDS...: the style's whole way to a file
  fst train "style=$style" "style.root=$paintings" "data.root=$photos" $network $small "$@"
}

timed() { # NAME JSON COMMAND...: its seconds from start to end
  name=$1 json=$2
  shift 2
  began=$(date +%s.%N)
  "$@"
  echo "$name $began $(date +%s.%N)" | awk -v json="$json" '{
    printf "%-32s %.1f s from start to end\n", $1, $3 - $2
    printf "{\"part\": \"timed\", \"name\": \"%s\", \"seconds\": %.2f}\n", $1, $3 - $2 >> json
  }'
}

run_part() {
  json=$out/$1.jsonl
  rm -f "$json"
  case $1 in
    machine | step | profile | folder)
      only=$1
      [ "$1" != machine ] || only=machine,count
      fst benchmark --device $device --only $only --photos "$photos" $bench --json "$json" ;;
    pass)
      fst benchmark --device $device --only pass $bench ${FST_REPORT_PASS:-} --json "$json" ;;
    recipe)
      timed recipe "$json" train experiment=gpu loss=calibrated \
        trainer.max_steps=$recipe_steps run_dir="$runs/recipe" resume=false
      # the paper's network has no weights here; with random ones a step takes as long
      "$python" "$scripts/random_vgg16.py" "$runs/random_vgg16.safetensors"
      network="loss_network=file loss_network.file=$runs/random_vgg16.safetensors"
      timed recipe_random_vgg16 "$json" train experiment=gpu loss=relative \
        trainer.max_steps=$recipe_steps run_dir="$runs/recipe_vgg16" resume=false
      network=${FST_REPORT_NETWORK:-loss_network=lite} ;;
    quality)
      found=""
      for seed in 0 1 2; do
        words="loss=calibrated trainer.max_steps=$few trainer.val_check_interval=$few seed=$seed"
        train experiment=paper $words previews.every=$few data.workers=$workers \
          run_dir="$runs/plain_$seed" resume=false
        train experiment=gpu $words previews.every=$few run_dir="$runs/gpu_$seed" resume=false
        found="$found float32_eager=$runs/plain_$seed/$style.safetensors"
        found="$found bfloat16_compiled=$runs/gpu_$seed/$style.safetensors"
      done
      "$python" "$scripts/held_out_losses.py" --json "$json" $found ;;
    gallery)
      for steps in $gallery_steps; do
        PATH="$shims:$PATH" EXPERIMENT=gallery_gpu OUT="$out/styles_$steps" \
          RUNS="$runs/gallery_$steps" "$scripts/../train_all_styles.sh" "$photos" "$paintings" \
          trainer.max_steps=$steps $network $small
        made=$(ls -d "$runs/gallery_$steps"/*/*.safetensors | paste -sd, -)
        fst evaluate "styles=[$made]" "data.root=$held_out" "style.root=$paintings" $evaluation \
          run_dir="$runs/evaluation_$steps"
        "$python" -c 'import json, sys
for row in json.load(open(sys.argv[1])): print(json.dumps({"steps": int(sys.argv[2]), **row}))' \
          "$(ls -t "$runs"/evaluation_$steps*/evaluation.json | head -n 1)" $steps >> "$json"
        fst sheet "$runs/gallery_$steps"/* --photos "$held_out" -o "$out/gallery_$steps"
      done ;;
    distill)
      [ -n "${FST_REPORT_TEACHER:-}" ] || {
        echo "distill: not run; set FST_REPORT_TEACHER to a VGG file in torchvision's keys"
        return 0
      }
      for words in "widths=[[16,16],[48,48],[96,96,96],[80,80,80]]" \
        "widths=[[16,16],[32,32],[80,80,80],[112,112,112]]"; do
        name=distill_$(echo "$words" | tr -cd '0-9,[' | tr ',[' '__')
        timed "$name" "$json" fst distill "data.root=$photos" "teacher.file=$FST_REPORT_TEACHER" \
          "$words" $distillation ${FST_REPORT_DISTILL:-} run_dir="$runs/$name" resume=false
      done ;;
    scaling)
      for count in $counts; do
        if [ $device = cuda ] && [ "$count" -gt "$(nvidia-smi -L | wc -l)" ]; then break; fi
        strategy=auto
        [ "$count" = 1 ] || strategy=ddp
        train experiment=gpu loss=relative trainer.max_steps=$scaling_steps \
          trainer.devices=$count trainer.strategy=$strategy run_dir="$runs/scaling_$count" \
          resume=false > "$runs/scaling.log"
        sed -n 's/.*  \([0-9.]*\) images\/s.*/\1/p' "$runs/scaling.log" | sort -n |
          awk -v n="$count" -v json="$json" '{ all[NR] = $1 } END {
            median = all[int((NR + 1) / 2)]
            printf "%d devices %.1f images/s, the median of what was logged\n", n, median
            printf "{\"part\": \"scaling\", \"devices\": %d, \"images_per_s\": %.1f}\n", n,
              median >> json
          }'
      done ;;
    *) echo "gpu_report: no part '$1'" >&2; exit 2 ;;
  esac
}

# train_all_styles.sh calls fst by name
shims=$(mktemp -d)
trap 'rm -rf "$shims"' EXIT
printf '#!/bin/sh\nexec "%s" -m fst "$@"\n' "$(command -v "$python")" > "$shims/fst"
chmod +x "$shims/fst"
failed=""
for part in $parts; do
  echo "== $part"
  began=$(date +%s)
  set +e # a part that fails is reported, and the next ones run
  {
    (set -e; run_part "$part")
    echo $? > "$shims/code"
  } 2>&1 | tee "$out/$part.log"
  set -e
  read -r code < "$shims/code"
  echo "== $part: exit code $code after $(($(date +%s) - began)) s"
  [ "$code" = 0 ] || failed="$failed $part"
done
[ -z "$failed" ] || { echo "gpu_report: failed:$failed" >&2; exit 1; }
