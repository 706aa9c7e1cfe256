# sh node.sh COMMAND ... : runs it where there is a render node; in a mount namespace of the caller's, as root.
# libva and libdrm take a character device for one by its name and by what /sys says of its number. This one is that of
# the TUN driver, which opens: nothing is asked of it, for the driver in cpu_driver.c needs no device.
set -e
mkdir -p /tmp/dev
mount -t tmpfs -o mode=755 tmpfs /tmp/dev
for name in null zero full random urandom tty; do
	cp -a "/dev/$name" /tmp/dev
done
ln -s /proc/self/fd /tmp/dev/fd
mkdir -m 1777 /tmp/dev/shm
mkdir /tmp/dev/dri
mknod /tmp/dev/dri/renderD200 c 10 200
mount --move /tmp/dev /dev
mount -t tmpfs tmpfs /sys/dev/char
mkdir -p /sys/dev/char/10:200/device/drm
exec "$@"
