#!/bin/busybox sh
# First user space of the virtual machine: mount the machine's root file system outside, read-only, under a RAM
# overlay, and go on there. Words NAME=value of the kernel command line are this script's environment.
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t devtmpfs dev /dev; $B mount -t sysfs sys /sys
for m in /mods/*.ko; do $B insmod "$m" || echo "insmod $m failed"; done
options=trans=virtio,version=9p2000.L,msize=524288,cache=loose
$B mount -t 9p -o ro,$options hostroot /ro || $B poweroff -f
$B mount -t tmpfs -o size=50% tmpfs /rw; $B mkdir /rw/up /rw/work
$B mount -t overlay -o lowerdir=/ro,upperdir=/rw/up,workdir=/rw/work overlay /new || $B poweroff -f
for d in proc sys dev; do $B mount --move /$d /new/$d; done
exec $B switch_root /new /bin/sh "$VM_GUEST"
