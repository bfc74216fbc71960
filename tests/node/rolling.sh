#!/bin/bash
# The chart on a cluster that is up, and rolling updates under load: of the Deployment's two replicas,
# then of the caches on the nodes. No query may be lost. $1 and $2 are the image's repository and tag.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
failed=0

# What smoke.sh left: the chart makes a kube-dns Service of its own.
k -n kube-system delete deployment/coredns service/kube-dns configmap/coredns serviceaccount/coredns \
  --ignore-not-found > /dev/null
# More CPU than the defaults ask for, so that what else this machine does is no reason for a loss.
in_control "$PEERS_BIN/helm" --kubeconfig "$run/control/admin.kubeconfig" upgrade --install daymark-dns \
  "$here/../../deploy/chart/daymark-dns" --namespace kube-system --set "image.repository=$1" \
  --set-string "image.tag=$2" --set nodeLocal.enabled=true \
  --set resources.requests.cpu=500m --set nodeLocal.resources.requests.cpu=250m --wait --timeout 90s > "$run/helm.log" \
  || fail "$(cat "$run/helm.log")"
say "the chart is installed"
for node in "${nodes[@]}"; do
  for server in $dns_address 10.96.0.11; do
    k exec "$(pod_on "$node" client)" -- nslookup www.example.com "$server" | grep -q 192.0.2.80 \
      || { failed=1; say "FAILED $server does not resolve www.example.com on $node"; }
  done
done

# rolled SERVER KIND/NAME: load from every node, and an update in its midst.
rolled() {
  local server=$1 what=$2 node client seconds=45 processes=() process
  for node in "${nodes[@]}"; do
    client=$(pod_on "$node" client)
    in_pod_network "$node" "$client" python3 - "$server" $seconds 300 new < "$here/ask.py" > "$run/new-$node.log" 2>&1 &
    processes+=($!)
    in_pod_network "$node" "$client" python3 - "$server" $seconds 100 kept < "$here/ask.py" > "$run/kept-$node.log" 2>&1 &
    processes+=($!)
    k exec "$client" -- sh -c "printf 'web.default.svc.cluster.local A\nnobody.default.svc.cluster.local A\n' > /tmp/names
      dnsperf -s $server -d /tmp/names -l $seconds -c 20 -Q 200" > "$run/dnsperf-$node.log" 2>&1 &
  done
  sleep 3
  k -n kube-system rollout restart "$what" > /dev/null
  k -n kube-system rollout status "$what" --timeout=120s > /dev/null
  say "$what is updated"
  for process in "${processes[@]}"; do wait "$process" || failed=1; done
  wait
  for node in "${nodes[@]}"; do
    echo "$node: $(cat "$run/new-$node.log")"
    echo "$node: $(cat "$run/kept-$node.log")"
    echo "$node, not judged: dnsperf $(grep -E 'Queries (sent|lost)' "$run/dnsperf-$node.log" | tr -s ' ' | tr '\n' ' ')"
  done
}
rolled $dns_address deployment/daymark-dns
rolled 10.96.0.11 daemonset/daymark-dns-node-local
[ "$failed" = 0 ] || fail "queries were lost"
echo "rolling updates: nothing lost"
