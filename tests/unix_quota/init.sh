#!/bin/busybox sh
# Runs as init in a virtual machine whose kernel has quotas: makes them on a real ext4 and a real XFS, serves them
# by a real rpc.rquotad, and asks the mailquotad that was built. What it hears goes to /dev/vdc, a line each:
# a name, a tab, and JSON or a word. The test outside reads and judges.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module.ko"
done </modules/order
ip link set lo up
hostname vm
mkdir -p /run/rpcbind /var/lib/nfs /ext4 /xfs /plain /tmp/mail/example.org
ln -s /run /var/run
touch /var/lib/nfs/etab

tell() {
    printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')" >>/results
}
explain() {
    tell "$1" "$(mailquotad explain -c /mailquotad.toml "$2" --size "$3" --format json 2>>/errors)"
}
# Has everything read anew.
resync() {
    mailquotad resync -c /mailquotad.toml --all >>/errors 2>&1
}
# Another limit counts; a reload takes it over.
limit() {
    reloads=$(grep -c event=reloaded /log)
    sed -i "s/^limit = .*/limit = \"$1\"/" /mailquotad.toml
    kill -HUP "$daemon"
    until [ "$(grep -c event=reloaded /log)" -gt "$reloads" ]; do usleep 50000; done
    resync
}
serve() {
    rm -f /tmp/api.sock
    mailquotad serve -c /mailquotad.toml >>/log 2>&1 &
    daemon=$!
    until grep -q event=ready /log; do usleep 50000; done
    resync
}

mount -t ext4 /dev/vda /ext4
mount -t xfs -o usrquota,grpquota /dev/vdb /xfs
for place in /ext4 /xfs; do
    chmod 777 $place
    # KiB: soft 1000, hard 2000; files: hard 10. 1500 KiB are used.
    setquota -u anna 1000 2000 0 10 $place
    setquota -g mail 0 1600 0 0 $place
    dd if=/dev/zero of=$place/mail bs=1024 count=1500 2>/dev/null
    chown anna:mail $place/mail
done
sync

rpcbind -f &
until grep -q ':006F ' /proc/net/udp; do usleep 50000; done
rpc.rquotad -F 2>>/errors &
until rpcinfo -p 127.0.0.1 2>/dev/null | grep -q '100011 *2 *tcp'; do usleep 50000; done

serve
explain hard anna@example.org 600000
explain hard-fits anna@example.org 1000
explain group ben@example.org 600000
explain no-unix-user carl@example.org 600000
explain foreign anna@elsewhere.example 600000
tell show "$(mailquotad show -c /mailquotad.toml anna@example.org --format json 2>>/errors)"

limit soft
explain soft anna@example.org 1000

limit soft-after-grace
explain grace anna@example.org 1000
setquota -u -T anna 1 1 /ext4
# The kernel says when the grace period is over: it refuses her the next byte.
until ! setuidgid anna dd if=/dev/zero of=/ext4/more bs=1024 count=8 conv=fsync 2>/dev/null; do usleep 200000; done
rm -f /ext4/more
resync
explain grace-over anna@example.org 1000

# At the hard limit the kernel refuses as well.
limit hard
setquota -u anna 0 1500 0 0 /xfs
tell kernel-at-hard "$(setuidgid anna dd if=/dev/zero of=/xfs/more bs=4096 count=1 conv=fsync 2>/dev/null && echo taken || echo refused)"
rm -f /xfs/more
resync
explain at-hard anna@example.org 1000
tell problems "$(grep -c unix-quota-failed /log)"

# Only the server, over TCP.
kill "$daemon"
wait "$daemon"
sed -i 's/^file_systems = .*/file_systems = ["nfs:\/\/127.0.0.1\/ext4", "nfs:\/\/127.0.0.1\/xfs"]/; s/^rquota_transport = .*/rquota_transport = "tcp"/' /mailquotad.toml
: >/log
serve
explain tcp anna@example.org 600000
# The server goes away: its last word stands.
kill -9 "$(pidof rpc.rquotad)"
resync
explain server-gone anna@example.org 600000
tell problem "$(grep unix-quota-failed /log | head -n 1)"

tell end "$(cut -d ' ' -f 1 /proc/uptime)"
cat /errors /log
cat /results >/dev/vdc
sync
poweroff -f
