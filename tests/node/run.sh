#!/bin/bash
# All of it: a cluster with two real nodes, smoke.sh and rolling.sh with our image, and away with it.
#   run.sh ARCHIVE REPOSITORY TAG      the OCI archive of our image, and what it is called
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
[ $# = 3 ] || { sed -n '3s/^# *//p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "it has to be root"
for tool in ip nsenter unshare nft openssl curl python3 dnsperf; do
  [ -n "$(type -p $tool)" ] || fail "$tool is not installed"
done
"$here/images.sh" "$1"
trap '"$here/cluster.sh" down' EXIT
"$here/cluster.sh" up
"$here/smoke.sh" "$2:$3"
"$here/rolling.sh" "$2" "$3"
