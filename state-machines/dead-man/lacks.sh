#!/bin/sh
# Prints which of its arguments, needs as offers.sh (which is put before this) names them, this node cannot meet.
for need; do
  offers "$need" || echo "$need"
done
