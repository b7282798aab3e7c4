#!/usr/bin/env bash
# Fetches COCO 2017's photos (19 GB) and unpacks them for training:
#   scripts/fetch_coco.sh FOLDER [train|val|both, default both]
#   fst train style.image=painting.jpg data.root=FOLDER
# A broken download resumes where it stopped; what is already there and whole is not fetched again.
# Photos: Flickr users under Creative Commons licenses, see https://cocodataset.org/#termsofuse
set -euo pipefail

folder=${1:?usage: fetch_coco.sh FOLDER [train|val|both]}
part=${2:-both}
url=${COCO_URL:-http://images.cocodataset.org/zips}

stop() { echo "fetch_coco: $*" >&2; exit 2; }

fetch() { # NAME MD5 NUMBER_OF_PHOTOS GIGABYTES
  local name=$1 md5=$2 photos=$3 gigabytes=$4 archive="$folder/$1.zip"
  if [ "$(find "$folder/$name" -name '*.jpg' 2>/dev/null | wc -l)" -eq "$photos" ]; then
    echo "$folder/$name is there: $photos photos"
    return
  fi
  local free_kb here_kb=0
  free_kb=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
  [ ! -e "$archive" ] || here_kb=$(du -k "$archive" | cut -f1)
  [ $((free_kb + here_kb)) -gt $((gigabytes * 2 * 1000000)) ] ||
    stop "$folder has $((free_kb / 1000000)) GB free and $name needs $((gigabytes * 2)) GB, archive and photos"
  if ! echo "$md5  $archive" | md5sum --check --status 2>/dev/null; then
    curl --fail --location --continue-at - --retry 5 --output "$archive" "$url/$name.zip" ||
      stop "$url/$name.zip could not be fetched; run the same command again to resume"
  fi
  echo "$md5  $archive" | md5sum --check --status || {
    rm "$archive"
    stop "$archive did not have the checksum $md5 and was deleted; run the same command again"
  }
  unzip -q -o "$archive" -d "$folder"
  rm "$archive"
  echo "$folder/$name: $(find "$folder/$name" -name '*.jpg' | wc -l) photos"
}

for tool in curl unzip md5sum; do
  command -v "$tool" >/dev/null || stop "$tool is missing; install it first"
done
mkdir -p "$folder"
case $part in train | val | both) ;; *) stop "'$part' is not a part; use train, val or both" ;; esac
[ "$part" = train ] || fetch val2017 442b8da7639aecaf257c1dceb8ba8c80 5000 1
[ "$part" = val ] || fetch train2017 cced6f7f71b7629ddf16f17bbcfab6b2 118287 19
