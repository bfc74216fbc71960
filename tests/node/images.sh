#!/bin/bash
# Fills the cache with what nodes need beyond the peers: Debian's runc and busybox (unpacked, not
# installed) and OCI archives made of local files. $1 is the archive of Daymark's image.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

mkdir -p "$images" "$debian/root"
if [ ! -x "$debian/root/usr/sbin/runc" ] || [ ! -x "$debian/root/bin/busybox" ]; then
  (
    cd "$debian"
    apt-get download -q runc containerd busybox-static > apt.log 2>&1 || fail "see $debian/apt.log"
    for package in ./*.deb; do dpkg-deb -x "$package" root; done
  )
fi
make() { # make NAME ARGUMENT...
  local name=$1
  shift
  python3 "$here/mkimage.py" "$images/$name.tar" "tests.local/$name:1" --busybox "$debian/root/bin/busybox" "$@"
}
[ -s "$images/pause.tar" ] || make pause --cmd /bin/sleep --cmd 1000000000
make tools --bin "$(command -v curl)" --bin "$(command -v dnsperf)" \
  --file "$here/manifests/hostname.cgi:/www/cgi-bin/hostname" --cmd /bin/sh
cp "$1" "$images/daymark.tar"
