# How each of the virtual machines begins, and the words that their scripts use. What a script hears goes to
# /dev/vdc, a line each: a name, a tab, and JSON or a word. The test outside reads and judges.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module"
done </modules/order
ip link set lo up
hostname vm
mkdir -p /run/rpcbind /var/lib/nfs /ext4 /xfs /plain /tmp/mail/example.org
ln -s /run /var/run
touch /var/lib/nfs/etab /log

# On the console stands how far it has come, for the case that it hangs.
tell() {
    echo "$1 $(cut -d ' ' -f 1 /proc/uptime)"
    printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')" >>/results
}
explain() {
    mailquotad explain -c /mailquotad.toml "$1" --size "$2" --format json 2>>/errors
}
tell_explained() {
    tell "$1" "$(explain "$2" "$3")"
}
# Has everything read anew.
resync() {
    mailquotad resync -c /mailquotad.toml --all >>/errors 2>&1
}
# Another value of a key in the configuration.
set_key() {
    sed -i "s#^$1 = .*#$1 = $2#" /mailquotad.toml
}
# The same while the daemon runs: a reload takes it over.
reload_with() {
    reloads=$(grep -c event=reloaded /log)
    set_key "$1" "$2"
    kill -HUP "$daemon"
    until [ "$(grep -c event=reloaded /log)" -gt "$reloads" ]; do usleep 50000; done
}
serve() {
    lives=$(grep -c event=ready /log)
    rm -f /tmp/api.sock
    mailquotad serve -c /mailquotad.toml >>/log 2>&1 &
    daemon=$!
    until [ "$(grep -c event=ready /log)" -gt "$lives" ]; do usleep 50000; done
    resync
}
# What becomes of so many KiB that Anna writes to the end of a file: "taken", or what the kernel says.
write() {
    if said=$(su -s /bin/sh anna -c "dd if=/dev/zero bs=1024 count=$2 conv=fsync >>'$1'" 2>&1); then
        echo taken
    else
        echo "$said" | sed -n 's/.*: //p'
    fi
}
serve_rpc() {
    rpcbind -f &
    until grep -q ':006F ' /proc/net/udp; do usleep 50000; done
    serve_quotas
}
serve_quotas() {
    rpc.rquotad -F 2>>/errors &
    until rpcinfo -p 127.0.0.1 2>/dev/null | grep -q '100011 *2 *tcp'; do usleep 50000; done
}
end() {
    tell end "$(cut -d ' ' -f 1 /proc/uptime)"
    cat /errors /log
    cat /results >/dev/vdc
    sync
    poweroff -f
}
