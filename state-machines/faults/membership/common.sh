#!/bin/sh
# What an engine knows of its swarm lies in a folder of its root: its certificate, tasks, and as a manager the raft log.
# While a node has left, that folder waits beside it under a name of ours.

# kept_in ROOT: where this run keeps the swarm's folder of that docker root.
kept_in() {
  echo "$1/sf-swarm-$(run_number)"
}
