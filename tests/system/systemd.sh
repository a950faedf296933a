#!/bin/bash
# Be a machine that was booted with systemd: PID 1 of private namespaces. End it by killing it.
#
#   systemd.sh ROOT CGROUP FROM TO [PROGRAM...]
#
# ROOT has etc, opt and varlib, which take the place of /etc, /opt and /var/lib; FROM is bound at TO below ROOT (an interpreter in a
# home, which the units may not see). PROGRAM: instead of systemd.
#
# Nothing of the host can be written: a real systemd that boots would empty /tmp, for one. All is read-only but for the three folders
# and private /tmp, /var/tmp, /run and /dev; of the distribution's units none is seen; and it is checked before anything starts.
set -eu
root=$1 cgroup=$2 from=$3 to=$4
shift 4
[ $# -gt 0 ] || set -- /lib/systemd/systemd --system --unit=multi-user.target --log-target=console
echo $$ > "$cgroup/cgroup.procs"
export root from to
exec unshare -m -p -f -u -i -n -C --kill-child --propagation private bash -euc '
    if [ -n "$from" ]; then mkdir -p "$root$to"; mount --bind "$from" "$root$to"; fi
    mount --rbind "$root/opt" /opt
    mount --bind "$root/etc" /etc
    mount --bind "$root/varlib" /var/lib
    mount -t proc proc /proc
    ip link set lo up  # a network of its own: the port of the units is free
    mount --bind /proc/sys /proc/sys
    umount -l /sys
    mount -t sysfs -o ro sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do : > "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
    mkdir "$root/dev/shm" "$root/dev/pts" "$root/dev/mqueue" "$root/dev/hugepages"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount --rbind "$root/dev" /dev
    for place in /tmp /var/tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
    for place in / /proc/sys; do mount -o remount,bind,ro "$place"; done
    mkdir -p /run/lock /run/systemd/system
    chmod 755 /run /run/lock
    for place in / /usr /root /home /var /var/log /sys; do
        if (: > "$place/.written-by-a-test") 2>/dev/null; then rm -f "$place/.written-by-a-test"; echo "$place can be written" >&2; exit 1; fi
    done
    for place in /tmp /var/tmp /run /dev/shm; do
        [ -z "$(ls -A "$place" | grep -vE "^(lock|mount|systemd)$")" ] || { echo "$place is not private" >&2; exit 1; }
    done
    export container=unshare SYSTEMD_UNIT_PATH=/etc/systemd/system
    exec "$@"
' bash "$@"
