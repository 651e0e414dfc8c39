/** A shell script that makes what a streaming job leaves. $1 the folder  $2 how many batches */
export const exampleCheckpoint = `set -e
mkdir -p "$1/offsets" "$1/commits" "$1/sources/0" && cd "$1"
echo id >metadata
echo 0 >sources/0/0
for batch in $(seq 0 $(($2 - 1))); do
  echo "offsets of $batch" >offsets/$batch
  echo "commit of $batch" >commits/$batch
done
for partition in 0 1 2; do
  mkdir -p state/0/$partition
  for version in $(seq 1 $2); do
    echo rows >state/0/$partition/$version.delta
    echo sum >state/0/$partition/.$version.delta.crc
  done
done`;
