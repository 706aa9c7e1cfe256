#!/bin/sh
# Process 1 of the virtual machine, on the root file system of the machine outside. Runs the command that lies on
# the share and leaves its exit status there; the machine is off when this ends.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
B=$VM_BUSYBOX
read -r up _ </proc/uptime
echo "vm: user space after $up s, kernel $(uname -r)"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/out /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 out /run/out
ln -sfn "$VM_MODULES/lib/modules/$(uname -r)" "/lib/modules/$(uname -r)"
for m in veth tun sch_netem sch_tbf ifb vgem; do
  $B modprobe $m || echo "vm: the module $m did not load"
done
cd "$VM_CWD" || echo "vm: there is no folder $VM_CWD"
setsid /bin/sh /run/out/command </dev/null
status=$?
echo $status >/run/out/status
sync
read -r up _ </proc/uptime
echo "vm: status $status after $up s"
$B poweroff -f
