#!/bin/busybox sh
# First user space of the virtual machine: mount a root folder of the machine outside, read-only, under an overlay, and
# go on there. Words NAME=value of the kernel command line are this script's environment. What is written goes to memory,
# or to VM_DISK, a device with ext4 that lasts from one boot to the next.
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t devtmpfs dev /dev; $B mount -t sysfs sys /sys
for m in /mods/*.ko; do $B insmod "$m" || echo "insmod $m failed"; done
options=trans=virtio,version=9p2000.L,msize=524288
$B mount -t 9p -o ro,$options,cache=loose hostroot /ro || $B poweroff -f
if [ "$VM_DISK" ]; then
  for m in /disk/*.ko; do $B insmod "$m" || echo "insmod $m failed"; done
  $B mount -t ext4 "$VM_DISK" /rw || $B poweroff -f
else
  $B mount -t tmpfs -o size=50% tmpfs /rw
fi
$B mkdir -p /rw/up /rw/work
$B mount -t overlay -o lowerdir=/ro,upperdir=/rw/up,workdir=/rw/work overlay /new || $B poweroff -f
# VM_SHARES: further folders, TAG:PLACE and TAG:PLACE, separated by commas; each read-only but that of the tag "out".
for share in $(echo "$VM_SHARES" | $B tr , ' '); do
  tag=${share%%:*} place=/new${share#*:}
  $B mkdir -p "$place"
  case $tag in out) how=rw,$options ;; *) how=ro,$options,cache=loose ;; esac
  $B mount -t 9p -o "$how" "$tag" "$place" || $B poweroff -f
done
# VM_SETUP: a folder of what is to lie in the root, over what is there.
if [ "$VM_SETUP" ]; then $B cp -a "/new$VM_SETUP/." /new/; fi
for d in proc sys dev; do $B mount --move /$d /new/$d; done
if [ "$VM_INIT" ]; then exec $B switch_root /new "$VM_INIT"; fi
exec $B switch_root /new /bin/sh "$VM_GUEST"
