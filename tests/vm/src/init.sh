#!/usr/bin/dash
# The guest's first process: sets Linux up, then runs the steps that the host sends over a
# virtio-serial port, one after the other. The console stays the kernel's alone.
#
# A step arrives as "LENGTH\n" and that many bytes of shell script. The answer is
# "STATUS LENGTH\n" and that many bytes: what the script printed on both outputs.

/usr/bin/busybox mkdir -p /bin /proc /sys /dev /run /tmp /root
/usr/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up

port=
while [ -z "$port" ]; do
    for name in /sys/class/virtio-ports/*; do
        grep -qsx agent "$name/name" && port=/dev/${name##*/}
    done
done
exec 3<>"$port"
echo ready >&3

while read -r length <&3; do
    head -c "$length" <&3 >/tmp/step
    sh -eu /tmp/step >/tmp/output 2>&1 </dev/null 3<&-
    status=$?
    echo "$status $(wc -c </tmp/output)" >&3
    cat /tmp/output >&3
done
# The host is gone.
poweroff -f
