#!/bin/sh
# Becomes COMMAND in a container: container.sh USER ACCESS ROOT PYTHON MOUNTS COMMAND...
# To be run in namespaces of its own. ROOT is an empty folder, PYTHON the interpreter's home, ACCESS that to /app (ro or
# rw), and MOUNTS a list of FROM:TO. What stands in for the base image is this machine's /usr; only /tmp can be written.
set -eu
user=$1 access=$2 root=$3 python=$4 mounts=$5
shift 5

bind() { # FROM TO, a folder or a file
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root$(dirname "$2")" && touch "$root$2"; fi
    mount --bind "$1" "$root$2"
}

mount -t tmpfs -o mode=755 tmpfs "$root"
for name in usr bin sbin lib lib32 lib64 etc; do
    if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"; elif [ -e "/$name" ]; then bind "/$name" "/$name"; fi
done
case $python in /usr*) ;; *) bind "$python" "$python" && mount -o remount,bind,ro "$root$python" ;; esac
bind /dev /dev
for pair in $mounts; do bind "${pair%%:*}" "${pair#*:}"; done
mkdir "$root/proc" "$root/tmp"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for folder in /usr /etc; do mount -o remount,bind,ro "$root$folder"; done
mount -o "remount,bind,$access" "$root/app"
mount -o remount,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
