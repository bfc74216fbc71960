# Settings of the scripts here, and what they share. Sourced; changes nothing on the machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/daymark
PEERS_BIN=${PEERS_BIN:-$cache/peers/bin}        # what `cargo xtask nodes` builds
images=$cache/nodes/images                      # OCI archives that every node imports
debian=$cache/nodes/debian                      # runc and busybox, unpacked
run=${NODES_RUN:-$cache/nodes/run}              # one cluster: keys, etcd, the nodes' roots, logs
prefix=dmnode                                   # network namespaces and control groups begin with it
read -r -a nodes <<< "${NODES:-n1 n2}"
# containerd's: `deb` is Debian's 1.6, whose Pods may not bind ports below 1024 without a capability.
runtime=${RUNTIME:-v2}

# Who gives Pods their network: `bridge`, the reference plugins and static routes; or `daymark`, the
# chart's DaemonSet with the image $IMAGE (REPOSITORY:TAG), which then routes as $ROUTING says.
network=${NETWORK:-bridge}
routing=${ROUTING:-native}
dual_stack=${DUAL_STACK:-}                      # 1: nodes and Pods have IPv6 addresses too

# Addresses; they exist in namespaces made here only.
net=10.200.0                                    # the control plane is .1, nodes .11, .12 …
net6=fd00:200:                                  # the same below $net6:
pod_net=10.244                                  # node i has $pod_net.i.0/24
pod_net6=fd00:244                               # … and $pod_net6:i::/64
dns_address=10.96.0.10

control=$prefix-control
say() { printf '%s %s\n' "$(date +%T)" "$*"; }
fail() { echo "tests/node: $*" >&2; exit 1; }
index_of() { local i; for i in "${!nodes[@]}"; do [ "${nodes[$i]}" != "$1" ] || { echo $((i + 1)); return; }; done; return 1; }
node_address6() { echo "$net6:$((10 + $(index_of "$1")))"; }
node_address() { echo "$net.$((10 + $(index_of "$1")))"; }
# until_ok SECONDS COMMAND...: tries until it succeeds.
until_ok() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do [ "$SECONDS" -lt "$deadline" ] || return 1; sleep 0.2; done
}
# Process 1 of a node, as this machine counts it; nothing if it does not run.
node_process() {
  local file=$run/$1/init.pid
  [ -s "$file" ] && grep -qs "$prefix" "/proc/$(cat "$file")/cgroup" && cat "$file"
}
# The ranges of a node's Pods, comma between.
pod_ranges() { local i; i=$(index_of "$1"); echo "$pod_net.$i.0/24${dual_stack:+,$pod_net6:$i::/64}"; }
in_control() { nsenter --net="/run/netns/$control" "$@"; }
k() { in_control "$PEERS_BIN/kubectl" --kubeconfig "$run/control/admin.kubeconfig" "$@"; }
# in_node NODE COMMAND...
in_node() {
  local process
  process=$(node_process "$1") || fail "node $1 does not run"
  shift
  nsenter -t "$process" -m -u -i -n -p -C --root env -C / HOME=/root \
    PATH=/opt/node/bin:/opt/node/runtime:/opt/node/peers:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
# pod_on NODE LABEL: the name of the Pod with that `app` label there.
pod_on() { k get pods -l "app=$2" --field-selector "spec.nodeName=$1" -o 'jsonpath={.items[0].metadata.name}'; }
# in_pod_network NODE POD COMMAND...: a program of the node, in the Pod's network.
in_pod_network() {
  local node=$1 id process
  id=$(k get pod "$2" -o 'jsonpath={.status.containerStatuses[0].containerID}')
  process=$(in_node "$node" ctr -n k8s.io tasks ls 2> /dev/null | awk -v id="${id#containerd://}" '$1 == id {print $2}')
  shift 2
  in_node "$node" nsenter -t "$process" -n "$@"
}
