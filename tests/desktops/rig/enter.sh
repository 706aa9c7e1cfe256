# sh enter.sh ROOT TESTS ... : runs "$@" in the root, in namespaces of the caller; see enter.py, which makes them.
# ROOT is read-only, memory lies over what programs write, and nothing of the machine's own file system is seen.
set -e
root=$1 source=$2 venv=$3 out=$4 writable=$5
shift 5
mount --bind "$root" "$root"
cd "$root"
mount --rbind "$venv" venv
mount --rbind "$out" out
mount -t tmpfs tmpfs src
for name in tests docs README.md pyproject.toml .ci; do
	if [ -d "$source/$name" ]; then mkdir "src/$name"; else : >"src/$name"; fi
	mount --rbind -o ro "$source/$name" "src/$name"
done
[ "$writable" ] || mount -o remount,ro,bind venv
mount -o remount,ro,bind .
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
for name in run tmp var/tmp root; do
	mount -t tmpfs -o mode=755 tmpfs "$name"
done
chmod 1777 tmp var/tmp
mkdir -m 700 run/u
# How packages are fetched here: only while the environment is made.
if [ "$writable" ]; then
	mkdir run/net
	for file in /etc/resolv.conf /etc/pip.conf; do
		if [ -e "$file" ] && [ -e "etc/${file##*/}" ]; then mount --bind "$file" "etc/${file##*/}"; fi
	done
	if [ -n "${CA_BUNDLE:-}" ]; then cp "$CA_BUNDLE" run/net/ca.crt; fi
fi
# By the machine's own program: a small root has none.
[ "$writable" ] || ip link set lo up
pivot_root . old
umount -l old
cd /src
# Not exec: this shell is process 1 here, and collects what others have left.
"$@"
