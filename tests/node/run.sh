#!/bin/bash
# All of it: a cluster with two real nodes, smoke.sh and rolling.sh with our image, and away with it.
#   run.sh ARCHIVE REPOSITORY TAG      the OCI archive of our image, and what it is called
# NETWORK, ROUTING and DUAL_STACK (env.sh): with our pod network, churn.sh in place of rolling.sh.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
[ $# = 3 ] || { sed -n '3s/^# *//p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "it has to be root"
for tool in ip nsenter unshare nft openssl curl python3 dnsperf; do
  [ -n "$(type -p $tool)" ] || fail "$tool is not installed"
done
"$here/images.sh" "$1"
trap '"$here/cluster.sh" down' EXIT
export IMAGE=$2:$3
"$here/cluster.sh" up
"$here/smoke.sh" "$IMAGE"
if [ "$network" = daymark ]; then "$here/churn.sh"; else "$here/rolling.sh" "$2" "$3"; fi
