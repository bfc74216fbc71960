#!/bin/bash
# A real Kubernetes cluster on one machine: a control plane, and nodes with containerd, runc, kubelet,
# CNI plugins and kube-proxy, each in namespaces of its own. Needs root; env.sh has the settings.
#
#   cluster.sh up          starts it and waits until the nodes are Ready
#   cluster.sh reboot NODE ends a node's process 1 and its network, and starts it again
#   cluster.sh down        ends every process, removes namespaces and control groups; logs stay
#   cluster.sh k ARG...    kubectl as administrator
#   cluster.sh in NODE COMMAND...
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
apiserver=$here/../peers/apiserver.sh

# Every control group that this shell is in: "controller folder". One of ours is cut off, so that
# nodes don't nest.
control_groups() {
  local controller path base
  while IFS=: read -r _ controller path; do
    path=${path%/}
    if [ -z "$controller" ]; then
      base=/sys/fs/cgroup
      [ ! -d /sys/fs/cgroup/unified ] || base=$base/unified
    else
      base=/sys/fs/cgroup/${controller#name=}
    fi
    [ ! -d "$base" ] || echo "${controller:-unified} $base${path%%/$prefix-*}"
  done < /proc/self/cgroup
}

# Moves this subshell into a control group of the node's own in each hierarchy.
enter_control_groups() {
  local controller folder file
  while read -r controller folder; do
    mkdir -p "$folder/$prefix-$1"
    if [ "$controller" = cpuset ]; then
      for file in cpuset.cpus cpuset.mems; do cat "$folder/$file" > "$folder/$prefix-$1/$file"; done
    fi
    echo $BASHPID > "$folder/$prefix-$1/cgroup.procs"
    echo "$folder/$prefix-$1"
  done < <(control_groups) > "$run/$1/cgroups"
}

start_control_plane() {
  local keys=$run/control/pki
  ip netns add "$control"
  in_control bash -c "ip link set lo up
    ip link add br0 type bridge && ip address add $net.1/24 dev br0
    [ -z '$dual_stack' ] || ip address add $net6:1/64 dev br0 nodad
    ip link set br0 up
    sysctl -qw net.ipv4.ip_forward=1"
  # It listens on loopback; here on the bridge as well (the last flag wins).
  PEERS_BIN=$PEERS_BIN KCM=1 SCHEDULER=1 AUTHORIZATION=Node,RBAC ADVERTISED=$net.1 \
    SERVICE_CIDR=10.96.0.0/16 APISERVER_FLAGS="--bind-address=0.0.0.0 \
      --enable-admission-plugins=NodeRestriction --kubelet-preferred-address-types=InternalIP \
      --kubelet-client-certificate=$keys/admin.crt --kubelet-client-key=$keys/admin.key" \
    in_control bash "$apiserver" start "$run/control" > /dev/null
  # The resolver outside, which the nodes' resolv.conf names.
  printf '.:53 {\n    bind %s\n    hosts {\n        192.0.2.80 www.example.com\n    }\n}\n' $net.1 > "$run/resolver.corefile"
  # Not by a function: that would be a shell, whose process id the resolver does not have.
  setsid nsenter --net="/run/netns/$control" "$PEERS_BIN/coredns" -conf "$run/resolver.corefile" > "$run/resolver.log" 2>&1 < /dev/null &
  echo $! > "$run/resolver.pid"
}

# kubeconfig NAME [GROUP]: with a certificate that the cluster's authority signed.
kubeconfig() {
  local keys=$run/control/pki folder
  folder=$(mktemp -d "$run/XXXX")
  {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
      -keyout "$folder/key" -subj "${2:+/O=$2}/CN=$1" -out "$folder/request"
    printf 'extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n' > "$folder/extensions"
    openssl x509 -req -in "$folder/request" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -days 30 \
      -set_serial "0x$(openssl rand -hex 8)" -extfile "$folder/extensions" -out "$folder/certificate"
  } 2> /dev/null
  cat <<YAML
apiVersion: v1
kind: Config
current-context: tests
clusters: [{name: tests, cluster: {server: "https://$net.1:6443", certificate-authority-data: $(base64 -w0 "$keys/ca.crt")}}]
users: [{name: me, user: {client-certificate-data: $(base64 -w0 "$folder/certificate"), client-key-data: $(base64 -w0 "$folder/key")}}]
contexts: [{name: tests, context: {cluster: tests, user: me}}]
YAML
  rm -r "$folder"
}

# Everything below a node's /etc.
write_node_files() {
  local node=$1 etc=$run/$1/root/etc file pods addresses
  pods=$pod_net.$(index_of "$node").0/24
  addresses=$(node_address "$node")${dual_stack:+,$(node_address6 "$node")}
  mkdir -p "$etc"/{node,cni/net.d,kubernetes,containerd}
  for file in passwd group nsswitch.conf protocols services ssl alternatives ld.so.cache ld.so.conf ld.so.conf.d; do
    [ ! -e "/etc/$file" ] || cp -a "/etc/$file" "$etc/"
  done
  echo "127.0.0.1 localhost $node" > "$etc/hosts"
  echo "nameserver $net.1" > "$etc/resolv.conf"
  echo "$node" > "$etc/hostname"
  cp "$run/control/pki/ca.crt" "$etc/kubernetes/"
  kubeconfig "system:node:$node" system:nodes > "$etc/kubernetes/kubelet.conf"
  kubeconfig system:kube-proxy > "$etc/kubernetes/kube-proxy.conf"
  [ "$network" != bridge ] || sed "s#@PODCIDR@#$pods#" "$here/bridge.conflist" > "$etc/cni/net.d/10-tests.conflist"
  if [ "$runtime" = v2 ]; then
    cat > "$etc/containerd/config.toml" <<'TOML'
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'tests.local/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/opt/cni/bin']
  conf_dir = '/etc/cni/net.d'
TOML
  else
    cat > "$etc/containerd/config.toml" <<'TOML'
version = 2
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = 'tests.local/pause:1'
  restrict_oom_score_adj = true
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = '/opt/cni/bin'
    conf_dir = '/etc/cni/net.d'
TOML
  fi
  cat > "$etc/kubernetes/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: ["$dns_address"]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
maxOpenFiles: 20000
YAML
  cat > "$etc/kubernetes/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $node
clusterCIDR: $pod_net.0.0/16${dual_stack:+,$pod_net6::/32}
clientConnection: {kubeconfig: /etc/kubernetes/kube-proxy.conf}
# The sizes of conntrack's tables are the machine's: left alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  echo 'exec containerd' > "$etc/node/containerd"
  echo "exec kubelet --config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/kubelet.conf \
--hostname-override $node --node-ip $addresses \
--register-with-taints=daymark.io/agent-not-ready=:NoSchedule" > "$etc/node/kubelet"
  [ "$network" = daymark ] || sed -i 's/ --register-with-taints=[^ ]*//' "$etc/node/kubelet"
  echo 'exec kube-proxy --config /etc/kubernetes/kube-proxy.yaml' > "$etc/node/kube-proxy"
}

start_service() { echo "start $2" > "/proc/$(node_process "$1")/root/run/node/control"; }

# The node's network namespace and its link to the bridge.
connect_node() {
  local node=$1 namespace=$prefix-$1 other
  ip netns add "$namespace"
  ip link add name "v$node" netns "$control" type veth peer name eth0 netns "$namespace"
  in_control ip link set "v$node" master br0 up
  nsenter --net="/run/netns/$namespace" bash -c "ip link set lo up
    ip address add $(node_address "$node")/24 dev eth0
    [ -z '$dual_stack' ] || ip address add $(node_address6 "$node")/64 dev eth0 nodad
    ip link set eth0 up
    ip route add default via $net.1
    [ -z '$dual_stack' ] || ip route add default via $net6:1"
  # Agents switch on what they need.
  [ "$network" = bridge ] || return 0
  nsenter --net="/run/netns/$namespace" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
  in_control ip route replace "$pod_net.$(index_of "$node").0/24" via "$(node_address "$node")"
  for other in "${nodes[@]}"; do
    [ "$other" = "$node" ] || nsenter --net="/run/netns/$namespace" \
      ip route add "$pod_net.$(index_of "$other").0/24" via "$(node_address "$other")"
  done
}

# Process 1 of a node, and containerd.
boot_node() {
  local node=$1 namespace=$prefix-$1 binaries=$PEERS_BIN
  [ "$runtime" = v2 ] || binaries=$debian/root/usr/bin
  (
    enter_control_groups "$node"
    exec setsid nsenter --net="/run/netns/$namespace" \
      unshare --mount --uts --ipc --pid --cgroup --fork --kill-child \
      bash "$here/node-init.sh" "$run/$node/root" "$node" \
      "$PEERS_BIN:/opt/node/peers $binaries:/opt/node/runtime $debian/root/usr/sbin/runc:/opt/node/bin/runc $images:/opt/node/images" \
      > "$run/$node/init.log" 2>&1 < /dev/null
  ) &
  until_ok 20 test -s "$run/$node/root/init.pid" || fail "$node did not start: $(cat "$run/$node/init.log")"
  mv "$run/$node/root/init.pid" "$run/$node/init.pid"
  start_service "$node" containerd
  until_ok 30 in_node "$node" ctr version || fail "containerd of $node: see $run/$node/root/var/log/node"
}

start_node() {
  local node=$1 image
  mkdir -p "$run/$node/root"
  write_node_files "$node"
  connect_node "$node"
  boot_node "$node"
  for image in "$images"/*.tar; do
    in_node "$node" ctr -n k8s.io images import "/opt/node/images/${image##*/}" > "$run/$node/import.log" 2>&1 \
      || fail "importing $image: $(tail -n 3 "$run/$node/import.log")"
  done
  start_service "$node" kubelet
}

# The chart's DaemonSet, by the real Helm.
install_agent() {
  local cgroup=/sys/fs/cgroup
  [ ! -d /sys/fs/cgroup/unified ] || cgroup=$cgroup/unified
  in_control "$PEERS_BIN/helm" --kubeconfig "$run/control/admin.kubeconfig" upgrade --install daymark \
    "$here/../../deploy/chart/daymark" --namespace kube-system --set "image.repository=${IMAGE%:*}" \
    --set-string "image.tag=${IMAGE##*:}" --set "routing=$routing,paths.cgroup=$cgroup" > "$run/helm-agent.log" \
    || fail "$(cat "$run/helm-agent.log")"
}

# Whether a node has lost the taint that it was registered with.
is_untainted() {
  local taints
  taints=$(k get node "$1" -o 'jsonpath={.spec.taints[*].key}') && ! grep -q agent-not-ready <<< "$taints"
}

up() {
  local node ranges
  [ ! -e "/run/netns/$control" ] || fail "it is up, or was not taken down: cluster.sh down"
  rm -rf "$run"
  mkdir -p "$run"
  chmod 700 "$run"
  start_control_plane
  say "the control plane is up"
  k create clusterrolebinding tests-kube-proxy --clusterrole=system:node-proxier --user=system:kube-proxy > /dev/null
  for node in "${nodes[@]}"; do start_node "$node"; done
  for node in "${nodes[@]}"; do
    until_ok 60 k get node "$node" || fail "$node did not register: see $run/$node/root/var/log/node/kubelet.log"
    ranges=$(pod_ranges "$node")
    k patch node "$node" -p "{\"spec\":{\"podCIDR\":\"${ranges%%,*}\",\"podCIDRs\":[\"${ranges//,/\",\"}\"]}}" > /dev/null
    start_service "$node" kube-proxy
  done
  if [ "$network" = daymark ]; then
    for node in "${nodes[@]}"; do is_untainted "$node" && fail "$node is not registered with its taint"; done
    install_agent
  fi
  for node in "${nodes[@]}"; do
    k wait --for=condition=Ready "node/$node" --timeout=90s > /dev/null
  done
  say "${#nodes[@]} nodes are Ready"
  [ "$network" = daymark ] || return 0
  k -n kube-system rollout status daemonset/daymark-agent --timeout=60s > /dev/null || fail "the agents are not ready"
  for node in "${nodes[@]}"; do until_ok 30 is_untainted "$node" || fail "$node keeps its taint"; done
  say "the agents are ready, the taints gone"
}

# Its state stays, its processes, mounts and links go. (The boot id stays too: that is the kernel's.)
reboot() {
  local node=$1 process
  process=$(node_process "$node") || fail "node $node does not run"
  kill -9 "$process"
  until_ok 20 test ! -d "/proc/$process" || fail "$node does not end"
  ip netns del "$prefix-$node"
  # The link goes with the namespace, a moment later.
  until_ok 20 lacks_link "v$node" || fail "the link of $node stays"
  rm "$run/$node/init.pid"
  connect_node "$node"
  boot_node "$node"
  start_service "$node" kubelet
  start_service "$node" kube-proxy
}
lacks_link() { ! in_control ip link show "$1"; }

remove_control_group() { find "$1" -depth -type d -exec rmdir {} + 2> /dev/null; [ ! -d "$1" ]; }

down() {
  local node process folder file logs=$run/logs
  mkdir -p "$logs"
  for node in "${nodes[@]}"; do
    if process=$(node_process "$node"); then
      kill -9 "$process"
      until_ok 20 test ! -d "/proc/$process" || fail "$node does not end"
    fi
    for file in "$run/$node"/root/var/log/node/*.log; do [ ! -e "$file" ] || cp "$file" "$logs/$node-${file##*/}"; done
    if [ -s "$run/$node/cgroups" ]; then
      while read -r folder; do
        case $folder in */"$prefix-$node") until_ok 10 remove_control_group "$folder" || echo "left: $folder" ;; esac
      done < "$run/$node/cgroups"
    fi
    [ ! -e "/run/netns/$prefix-$node" ] || ip netns del "$prefix-$node"
    [ ! -d "$run/$node" ] || rm -rf --one-file-system "${run:?}/$node"
  done
  if [ -e "/run/netns/$control" ]; then
    process=$(cat "$run/resolver.pid" 2> /dev/null || true)
    if [ -n "$process" ] && grep -qs coredns "/proc/$process/cmdline"; then kill "$process"; fi
    bash "$apiserver" stop "$run/control"
    cp "$run"/control/*.log "$logs/" 2> /dev/null || true
    ip netns del "$control"
    rm -rf "${run:?}/control"
  fi
}

[ "$(id -u)" = 0 ] || fail "it has to be root"
case ${1:-} in
  up) up ;;
  down) down ;;
  reboot) reboot "$2" ;;
  k) shift; k "$@" ;;
  in) shift; in_node "$@" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
