#!/bin/bash
# Process 1 of a node. `cluster.sh up` starts it in new mount, PID, UTS, IPC and cgroup namespaces and
# the node's network namespace; not to be called by hand. It makes a root of its own (this machine's
# /usr read-only, all else private) and then starts and stops services: lines "start NAME" and
# "stop NAME" in /run/node/control. A service is a file /etc/node/NAME that ends in an exec; its log is
# /var/log/node/NAME.log. With this process every process, mount and Pod of the node ends.
set -u
root=$1 name=$2 binds=$3
read -r own _ < /proc/self/stat                 # still this machine's /proc
hostname "$name"
mount --bind "$root" "$root" && cd "$root" || exit 1
mkdir -p usr proc sys dev run tmp var/log/node var/lib/kubelet root opt/cni/bin etc/cni/net.d .old
chmod 1777 tmp
mount --rbind /usr usr && mount -o remount,bind,ro usr
for link in bin sbin lib lib32 lib64 libx32; do [ -L /$link ] && ln -sfn "$(readlink /$link)" $link; done
mount --rbind /dev dev && mount --make-rslave dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t bpf bpf sys/fs/bpf                     # as systemd does
# Control groups as this cgroup namespace shows them: the node's own folder is the root of each
# hierarchy. Where a controller is bound to v1, it can't be had in v2: then v1 it is.
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while IFS=: read -r _ controller _; do
    case $controller in
      '') mkdir sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 sys/fs/cgroup/unified ;;
      name=*) mkdir "sys/fs/cgroup/${controller#name=}"; mount -t cgroup -o "none,$controller" cgroup "sys/fs/cgroup/${controller#name=}" ;;
      *) mkdir "sys/fs/cgroup/$controller"; mount -t cgroup -o "$controller" cgroup "sys/fs/cgroup/$controller" ;;
    esac
  done < /proc/self/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/node run/netns run/lock
ln -sfn /run var/run
for bind in $binds; do
  from=${bind%%:*} to=${bind#*:} to=${to#/}
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "$(dirname "$to")"; : > "$to"; fi
  mount --bind "$from" "$to" && mount -o remount,bind,ro "$to"
done
# kubelet sets these for the whole machine where they differ. Files that hold what it wants keep it
# from that.
number=0
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  number=$((number + 1))
  echo "${pair#*=}" > run/node/sysctl$number
  mount --bind run/node/sysctl$number "proc/sys/${pair%%=*}"
done
pivot_root . .old && cd / && umount -l /.old && mount --make-rshared / || exit 1
ln -sfn /proc/self/mounts /etc/mtab
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
for plugin in bridge host-local loopback portmap; do ln -sfn /opt/node/peers/$plugin /opt/cni/bin/; done
export PATH=/opt/node/bin:/opt/node/runtime:/opt/node/peers:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ip link set lo up
mkfifo /run/node/control
echo "$own" > /init.pid.part && mv /init.pid.part /init.pid

declare -A processes
exec 3<> /run/node/control
while read -r verb service <&3; do
  case $verb in
    start)
      bash "/etc/node/$service" >> "/var/log/node/$service.log" 2>&1 < /dev/null 3>&- &
      processes[$service]=$!
      ;;
    stop) kill "${processes[$service]}" 2> /dev/null && wait "${processes[$service]}" 2> /dev/null ;;
  esac
done
