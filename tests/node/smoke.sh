#!/bin/bash
# CoreDNS's Deployment with our image, web Pods and clients on a cluster that is up; then the whole way
# with real traffic. Ends with `N passed, N failed`. $1 is the image's name.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
passed=0 failed=0
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok     $what"
  else
    failed=$((failed + 1))
    echo "FAILED $what: $(tail -n 3 <<< "$said" | tr '\n' ' ')"
  fi
}
# again COMMAND...: what takes a moment is no failure.
again() { local try; for try in {1..20}; do "$@" && return; sleep 0.3; done; return 1; }
inside() { local pod=$1; shift; k exec "$pod" -- "$@"; }
address_of() { k get pod "$1" -o 'jsonpath={.status.podIP}'; }
address6_of() { k get pod "$1" -o 'jsonpath={.status.podIPs[1].ip}'; }
# seen POD URL ADDRESS: who serves the page at URL sees the Pod with this address.
seen() { inside "$1" curl -fsS -m 3 "$2" | grep -q "from=.*$3"; }
in_slices() {
  k get endpointslices -l kubernetes.io/service-name=web -o 'jsonpath={.items[*].endpoints[*].addresses[0]}' \
    | tr ' ' '\n' | grep -qx "$1"
}

sed -e "s#@DNS@#$dns_address#" -e "s#@IMAGE@#$1#" "$here/manifests/coredns.yaml" | k apply -f - > /dev/null
k apply -f "$here/manifests/smoke.yaml" > /dev/null
for name in web client; do check "$name is rolled out" k rollout status "daemonset/$name" --timeout=90s; done
check "CoreDNS's Deployment with our image is rolled out" k -n kube-system rollout status deployment/coredns --timeout=90s

web=$(k get service web -o 'jsonpath={.spec.clusterIP}') page=cgi-bin/hostname count=${#nodes[@]}
for node in "${nodes[@]}"; do
  client=$(pod_on "$node" client) server=$(pod_on "$node" web)
  for other in "${nodes[@]}"; do
    check "Pod on $node to Pod on $other" seen "$client" \
      "http://$(address_of "$(pod_on "$other" web)"):8080/$page" "$(address_of "$client")"
    [ -z "$dual_stack" ] || check "Pod on $node to Pod on $other over IPv6" seen "$client" \
      "http://[$(address6_of "$(pod_on "$other" web)")]:8080/$page" "$(address6_of "$client")"
  done
  check "Pod on $node to the Service" again inside "$client" curl -fsS -m 3 "http://$web/$page"
  check "Pod on $node resolves the Service" again inside "$client" \
    sh -c "nslookup web.default.svc.cluster.local $dns_address | grep -q 'Address.*$web'"
  check "Pod on $node resolves the headless Service to $count addresses" inside "$client" \
    sh -c "[ \$(nslookup web-headless.default.svc.cluster.local $dns_address | grep -c '^Address.*$pod_net') = $count ]"
  check "Pod on $node fetches http://web" inside "$client" curl -fsS -m 3 "http://web/$page"
  check "Pod on $node reaches every endpoint" inside "$client" \
    sh -c "for i in \$(seq 60); do curl -fsS -m 3 http://$web/$page; done | cut -d' ' -f1 | sort -u | wc -l | grep -qx $count"
  check "Pod on $node to the API server by name" inside "$client" curl -sSk -m 3 -o /dev/null https://kubernetes.default/livez
  check "$node itself to the Service" nsenter --net="/run/netns/$prefix-$node" curl -fsS -m 3 "http://$web/$page"
  check "from outside to the NodePort of $node" in_control curl -fsS -m 3 "http://$(node_address "$node"):30080/$page"
  check "from outside to the hostPort of $node" in_control curl -fsS -m 3 "http://$(node_address "$node"):18080/$page"
  check "web Pod on $node to itself through the Service" inside "$server" \
    sh -c "for i in \$(seq 40); do curl -fsS -m 3 http://$web/$page || exit 1; done | grep -q ^$server"
  check "logs of a Pod on $node" k logs "$client"
done

# An endpoint that goes is no longer used: the DaemonSet makes another.
node=${nodes[0]} old=$(pod_on "${nodes[0]}" web)
k delete pod "$old" > /dev/null
check "a web Pod that was deleted is replaced" k rollout status daemonset/web --timeout=60s
check "its successor is an endpoint" again in_slices "$(address_of "$(pod_on "$node" web)")"
check "40 fetches after that, none lost" inside "$(pod_on "$node" client)" \
  sh -c "for i in \$(seq 40); do curl -fsS -m 3 http://$web/$page >/dev/null || exit 1; done"
echo "smoke: $passed passed, $failed failed"
[ "$failed" = 0 ]
