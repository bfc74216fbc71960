#!/bin/bash
# A Kubernetes control plane without nodes for tests, on loopback only:
# etcd, kube-apiserver and, with KCM=1, kube-controller-manager, with SCHEDULER=1 kube-scheduler.
#
#   apiserver.sh start DIR     keys, data, logs and pid files go to DIR; prints the kubeconfig's path
#   apiserver.sh status DIR    one line per process; fails unless etcd and kube-apiserver run
#   apiserver.sh stop DIR      ends what `start DIR` started; the data stays for the next start
#   apiserver.sh guard DIR     stops as well, at the end of standard input: of whoever holds its other end
#
# Environment:
#   PEERS_BIN                  folder with etcd, kube-apiserver, kube-controller-manager (required to start)
#   PORT ETCD_PORT ETCD_PEER_PORT KCM_PORT SCHEDULER_PORT    [6443 2379 2380 10257 10259]
#   KCM                        [0] 1: EndpointSlices from selectors, namespace deletion, ServiceAccounts, pod GC
#   SCHEDULER                  [0] 1: Pods are given nodes
#   AUTHORIZATION              [RBAC] e.g. Node,RBAC
#   ADVERTISED                 [198.51.100.1] the address in the EndpointSlice of default/kubernetes
#   SERVICE_CIDR               [10.96.0.0/16,fd00:10:96::/112]
#   APISERVER_FLAGS            further kube-apiserver flags, split at white space
#
# Two control planes side by side need another DIR and other ports.
set -euo pipefail

verb=${1:-}
dir=${2:-}
port=${PORT:-6443}
etcd_port=${ETCD_PORT:-2379}
etcd_peer_port=${ETCD_PEER_PORT:-2380}
kcm_port=${KCM_PORT:-10257}
scheduler_port=${SCHEDULER_PORT:-10259}
with_kcm=${KCM:-0}
with_scheduler=${SCHEDULER:-0}
service_cidr=${SERVICE_CIDR:-10.96.0.0/16,fd00:10:96::/112}
# The API refuses loopback addresses there. Nothing listens on the one that is chosen by default, and
# nothing is sent to it.
advertised=${ADVERTISED:-198.51.100.1}

fail() { echo "apiserver.sh: $*" >&2; exit 1; }

# running NAME: true if the pid file's process is alive and still runs that program.
# A pid file may outlive its process (kill -9, reboot) and the number may belong to another by now.
running() {
  local pid program
  pid=$(cat "$dir/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  # A program rebuilt under a running process reads "... (deleted)".
  [ "$(basename "${program% (deleted)}")" = "$1" ] || return 1
  tr '\0' '\n' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$dir/"
}

# launch NAME ARG...: starts PEERS_BIN/NAME detached, with its log and pid file in DIR.
launch() {
  local name=$1
  shift
  setsid "$PEERS_BIN/$name" "$@" > "$dir/$name.log" 2>&1 < /dev/null &
  echo $! > "$dir/$name.pid"
}

# await NAME SECONDS COMMAND...: waits until COMMAND succeeds, gives up when NAME has died.
# (Not `running`: the process we just made may not have become NAME yet.)
await() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" > /dev/null 2>&1; do
    kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || fail "$name ended: $(tail -n 3 "$dir/$name.log")"
    [ "$SECONDS" -lt "$deadline" ] || fail "$name is not ready in time, see $dir/$name.log"
    sleep 0.1
  done
}

# api PATH: GET with the administrator's certificate.
api() {
  curl -fsS -m 5 --cacert "$dir/pki/ca.crt" --cert "$dir/pki/admin.crt" --key "$dir/pki/admin.key" \
    "https://127.0.0.1:$port/$1"
}

# issue NAME SUBJECT USAGE [SAN]: an elliptic-curve key and a certificate from our own CA.
issue() {
  local extensions="keyUsage=critical,digitalSignature
extendedKeyUsage=$3"
  [ $# -lt 4 ] || extensions="$extensions
subjectAltName=$4"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
    -extfile <(printf '%s\n' "$extensions") -out "$1.crt"
}

make_keys() {
  mkdir -p "$dir/pki"
  (
    cd "$dir/pki"
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
      -subj /CN=daymark-tests -keyout ca.key -out ca.crt \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    issue server /CN=kube-apiserver serverAuth \
      IP:127.0.0.1,IP:::1,IP:10.96.0.1,IP:"$advertised",DNS:localhost,DNS:kubernetes.default,DNS:kubernetes.default.svc
    issue admin /O=system:masters/CN=admin clientAuth
    issue kcm /CN=system:kube-controller-manager clientAuth
    issue scheduler /CN=system:kube-scheduler clientAuth
    openssl genrsa -out accounts.key 2048
    openssl rsa -in accounts.key -pubout -out accounts.pub
    touch complete
  ) > "$dir/pki.log" 2>&1 || fail "making keys failed, see $dir/pki.log"
}

# kubeconfig USER: writes DIR/USER.kubeconfig with the keys inside.
kubeconfig() {
  (
    umask 077
    cat > "$dir/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: tests
clusters:
- name: tests
  cluster:
    server: https://127.0.0.1:$port
    certificate-authority-data: $(base64 -w0 "$dir/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$dir/pki/$1.crt")
    client-key-data: $(base64 -w0 "$dir/pki/$1.key")
contexts:
- name: tests
  context: {cluster: tests, user: $1}
YAML
  )
}

start_etcd() {
  local client=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
  launch etcd --name tests --data-dir "$dir/etcd" --unsafe-no-fsync \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "tests=$peer"
  await etcd 30 curl -fsS -m 2 "$client/health"
}

start_apiserver() {
  # Without the controller manager no ServiceAccount is ever made, and admission would refuse each Pod.
  local admission=()
  [ "$with_kcm" = 1 ] || admission=(--disable-admission-plugins=ServiceAccount)
  # shellcheck disable=SC2086 -- APISERVER_FLAGS is a list
  launch kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" \
    --authorization-mode="${AUTHORIZATION:-RBAC}" \
    --bind-address=127.0.0.1 --secure-port="$port" --advertise-address="$advertised" \
    --tls-cert-file="$dir/pki/server.crt" --tls-private-key-file="$dir/pki/server.key" \
    --client-ca-file="$dir/pki/ca.crt" --cert-dir="$dir/pki" \
    --service-cluster-ip-range="$service_cidr" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$dir/pki/accounts.pub" \
    --service-account-signing-key-file="$dir/pki/accounts.key" \
    --allow-privileged=true --profiling=false "${admission[@]}" ${APISERVER_FLAGS:-}
  await kube-apiserver 120 api readyz
  # Made by post-start hooks a moment after readyz says ok.
  await kube-apiserver 60 api api/v1/namespaces/default/services/kubernetes
}

start_kcm() {
  kubeconfig kcm
  launch kube-controller-manager --kubeconfig="$dir/kcm.kubeconfig" \
    --authentication-kubeconfig="$dir/kcm.kubeconfig" --authorization-kubeconfig="$dir/kcm.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$kcm_port" --cert-dir="$dir/pki" --leader-elect=false \
    --use-service-account-credentials=true --root-ca-file="$dir/pki/ca.crt" \
    --service-account-private-key-file="$dir/pki/accounts.key"
  await kube-controller-manager 60 api api/v1/namespaces/default/serviceaccounts/default
}

start_scheduler() {
  kubeconfig scheduler
  launch kube-scheduler --kubeconfig="$dir/scheduler.kubeconfig" \
    --authentication-kubeconfig="$dir/scheduler.kubeconfig" \
    --authorization-kubeconfig="$dir/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$scheduler_port" --cert-dir="$dir/pki" --leader-elect=false
  await kube-scheduler 60 curl -fsSk -m 2 "https://127.0.0.1:$scheduler_port/healthz"
}

start() {
  [ -n "${PEERS_BIN:-}" ] || fail "set PEERS_BIN to the folder that 'cargo xtask peers' filled"
  for program in etcd kube-apiserver; do
    [ -x "$PEERS_BIN/$program" ] || fail "$PEERS_BIN/$program is missing: run 'cargo xtask peers'"
  done
  [ -e "$dir/pki/complete" ] || make_keys
  kubeconfig admin
  running etcd || start_etcd
  running kube-apiserver || start_apiserver
  [ "$with_kcm" != 1 ] || running kube-controller-manager || start_kcm
  [ "$with_scheduler" != 1 ] || running kube-scheduler || start_scheduler
  echo "$dir/admin.kubeconfig"
}

# end NAME: TERM, then KILL after ten seconds; a stale pid file is just removed.
end() {
  if running "$1"; then
    local pid deadline=$((SECONDS + 10))
    pid=$(cat "$dir/$1.pid")
    kill "$pid"
    while running "$1"; do
      [ "$SECONDS" -lt "$deadline" ] || kill -9 "$pid" 2>/dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$dir/$1.pid"
}

end_all() {
  local name
  for name in kube-scheduler kube-controller-manager kube-apiserver etcd; do end "$name"; done
}

guard() {
  # What interrupts a test from the terminal comes here too, and ends standard input a moment later.
  trap '' INT HUP
  cat > /dev/null
  end_all
}

status() {
  local name missing=0
  for name in etcd kube-apiserver kube-controller-manager; do
    if running "$name"; then
      echo "$name runs, pid $(cat "$dir/$name.pid")"
    else
      echo "$name does not run"
      [ "$name" = kube-controller-manager ] || missing=1
    fi
  done
  return $missing
}

[ -n "$dir" ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
chmod 700 "$dir"
case $verb in
  start) start ;;
  stop) end_all ;;
  guard) guard ;;
  status) status ;;
  *) fail "unknown verb '$verb': start, stop, guard or status" ;;
esac
