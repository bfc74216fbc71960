#!/bin/bash
# Our pod network on a cluster that smoke.sh has left up: 30 Pods start and end, over and over, for
# CHURN_SECONDS (60); meanwhile an agent is killed and a node is rebooted. In the end every node has what
# it had before, and smoke.sh passes again.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
seconds=${CHURN_SECONDS:-60} pods=30 rounds=0

# What a node has of Pods: links, routes, neighbours, records, addresses, entries of the tables that
# list Pods. Connections end in their own time.
held() {
  in_node "$1" sh -c 'echo "links $(ip -o link show | grep -c ": dmk")"
    echo "routes $(ip -o -4 route show | grep -c "dev dmk") $(ip -o -6 route show | grep -c "dev dmk.*src\|dev dmk.*proto 68")"
    echo "neighbours $(ip neigh show nud permanent | grep -c "dev dmk")"
    echo "records $(ls /var/lib/daymark/attachments | wc -l)"
    echo "deletions $(ls /run/daymark/agent.deletions 2> /dev/null | wc -l)"
    curl -fsS -m 3 http://127.0.0.1:9964/metrics' \
    | grep -E '^(links|routes|neighbours|records|deletions|daymark_ipam_addresses|daymark_cni_attachments|daymark_map_entries\{table="(DEVICES|ENDPOINTS|HOST_PORTS|PEERS)"\})'
}
is_as_before() { [ "$(held "$1")" = "$(cat "$run/held-$1")" ]; }
churning() { k get pods -l app=churn --no-headers 2> /dev/null | wc -l; }
some_churn() { [ "$(churning)" != 0 ]; }
none_churns() { [ "$(churning)" = 0 ]; }
all_ready() { k wait --for=condition=Ready pods -l app=churn --timeout=90s > /dev/null; }
# The agent's process on a node: the container's, not the one that started it.
agent_on() { in_node "$1" pgrep -xf '/daymark agent .*'; }

# One fetch of every Pod's page from every node.
all_answer() {
  local addresses node
  addresses=$(k get pods -l app=churn -o 'jsonpath={.items[*].status.podIP}')
  for node in "${nodes[@]}"; do
    k exec "$(pod_on "$node" client)" -- sh -c "for address in $addresses; do
      curl -fsS -m 3 http://\$address:8080/cgi-bin/hostname > /dev/null || { echo \$address; exit 1; }; done" \
      || fail "a Pod does not answer on $node"
  done
}

for node in "${nodes[@]}"; do held "$node" > "$run/held-$node"; done
say "before: $(tr '\n' ' ' < "$run/held-${nodes[0]}")"
k apply -f "$here/manifests/churn.yaml" > /dev/null
end=$((SECONDS + seconds))
while [ "$SECONDS" -lt "$end" ] || [ "$rounds" -lt 3 ]; do
  rounds=$((rounds + 1))
  k scale deployment/churn --replicas=$pods > /dev/null
  # In the midst of it, now and then.
  if [ $((rounds % 5)) = 1 ]; then
    until_ok 20 some_churn
    in_node "${nodes[0]}" kill -9 "$(agent_on "${nodes[0]}")"
    say "killed the agent of ${nodes[0]}"
  fi
  k rollout status deployment/churn --timeout=120s > /dev/null || fail "Pods do not come up"
  all_ready || fail "Pods do not come up"
  all_answer
  k scale deployment/churn --replicas=0 > /dev/null
  until_ok 90 none_churns || fail "Pods do not end"
  if [ "$rounds" = 2 ]; then
    node=${nodes[-1]}
    "$here/cluster.sh" reboot "$node"
    say "rebooted $node"
    until_ok 120 agent_on "$node" || fail "no agent comes up on $node"
    k -n kube-system rollout status daemonset/daymark-agent --timeout=90s > /dev/null || fail "no agent is ready on $node"
  fi
done
k delete deployment/churn > /dev/null
say "$((rounds * pods)) Pods came and went"
"$here/smoke.sh" "$IMAGE" | grep -v '^ok' || fail "after all that it does not work any more"
for node in "${nodes[@]}"; do
  until_ok 60 is_as_before "$node" || { diff "$run/held-$node" <(held "$node") >&2; fail "$node has another state than before"; }
done
echo "churn: nothing lost"
