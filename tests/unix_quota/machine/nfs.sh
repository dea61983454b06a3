#!/bin/busybox sh
# Mounts of the kernel's own NFS server, by versions 3 and 4. The daemon is told paths and nothing of a server.
. /begin

# Asks as Postfix does.
ask() {
    printf 'request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=anna@example.org\nsize=600000\n\n' |
        nc 127.0.0.1 12340 | head -n 1
}
# Waits until the daemon says that of a message of 600000 bytes.
until_verdict() {
    until explain anna@example.org 600000 | tr -d ' \n' | grep -q "\"verdict\":\"$1\""; do usleep 100000; done
}
# Waits until the daemon could not read, and why.
until_failed() {
    until grep event=unix-quota-failed /log | grep -q "$1"; do usleep 100000; done
}
failed() {
    tell "$1" "$(grep event=unix-quota-failed /log | grep "$2" | head -n 1)"
}
# Another life of the daemon, which remembers no reading.
restart() {
    kill -9 "$daemon"
    wait "$daemon"
    : >/log
    serve
}

mount -t ext4 -o usrquota,grpquota /dev/vda /ext4
mkdir -p "/ext4/mail box/spool"
chmod 777 "/ext4/mail box/spool"
# KiB: soft 1000, hard 2000; files: hard 10.
setquota -u anna 1000 2000 0 10 /ext4
tell kernel-below "$(write "/ext4/mail box/spool/mail" 1500)"
sync

serve_rpc
mount -t nfsd nfsd /proc/fs/nfsd
echo '/ext4 127.0.0.1(rw,no_root_squash,no_subtree_check)' >/etc/exports
exportfs -r 2>>/errors
rpc.nfsd 2 2>>/errors
rpc.mountd -F 2>>/errors &
until rpcinfo -p 127.0.0.1 2>/dev/null | grep -q '100005 *3 *tcp'; do usleep 50000; done
mkdir -p "/mnt/mail box/spool" /mnt/v4 /mnt/root

# Before anything is mounted: paths on a file system without quotas.
serve
tell_explained unmounted anna@example.org 600000

# A folder of the export, with a space in its name; and the export as a whole. What is seen in version 3 is not kept, so
# that a server that hangs is noticed at once.
mount.nfs "127.0.0.1:/ext4/mail box" "/mnt/mail box" -o vers=3,nolock,noac 2>>/errors
mount.nfs 127.0.0.1:/ext4 /mnt/v4 -o vers=4.2 2>>/errors
tell mounts "$(grep ' - nfs' /proc/self/mountinfo)"
resync
tell_explained mounted anna@example.org 600000
tell_explained fits anna@example.org 1000
tell policy "$(ask)"
tell doctor "$(mailquotad doctor -c /mailquotad.toml 2>&1 | grep -o 'unix quotas: .*')"

# What is written over NFS is counted there, and refused there.
tell kernel-over-nfs "$(write "/mnt/mail box/spool/mail" 100)"
resync
tell_explained written anna@example.org 1000
tell kernel-at-hard "$(write "/mnt/mail box/spool/mail" 586)"
resync
tell_explained no-room anna@example.org 500000

# rpc.rquotad hangs: its last word stands until it is too old, and then there is no opinion.
kill -STOP "$(pidof rpc.rquotad)"
until_failed 'does not answer in time'
tell_explained silent anna@example.org 600000
reload_with max_age '"1s"'
until_verdict pass
tell_explained silent-for-long anna@example.org 600000
tell silent-policy "$(ask)"
# To who begins then it has never said anything.
set_key max_age '"1h"'
restart
until_failed 'does not answer in time'
tell_explained never-heard anna@example.org 600000
tell never-heard-policy "$(ask)"
failed silent-event 'does not answer in time'
resync
resync
tell silent-events "$(grep event=unix-quota-failed /log | grep -c 'does not answer in time')"
kill -CONT "$(pidof rpc.rquotad)"
until_verdict defer
tell_explained back anna@example.org 600000
tell back-event "$(grep -c event=unix-quota-back /log)"

# rpc.rquotad is gone.
kill "$(pidof rpc.rquotad)"
until_failed 'the port mapper knows no rquota service'
restart
until_failed 'the port mapper knows no rquota service'
tell_explained gone anna@example.org 600000
tell gone-policy "$(ask)"

# As version 4 was set up for long: paths begin at the one export that has the number 0.
umount "/mnt/mail box"
umount /mnt/v4
echo '/ext4 127.0.0.1(rw,fsid=0,no_root_squash,no_subtree_check)' >/etc/exports
exportfs -r 2>>/errors
exportfs -f
serve_quotas
mount.nfs 127.0.0.1:/ /mnt/root -o vers=4.2 2>>/errors
mount.nfs "127.0.0.1:/mail box" /mnt/v4 -o vers=4.2 2>>/errors
mount.nfs "127.0.0.1:/ext4/mail box" "/mnt/mail box" -o vers=3,nolock,noac 2>>/errors
resync
tell_explained rooted anna@example.org 600000

# The mount itself hangs, because nobody serves files any more: answers go on, from the start too, and it can be stopped.
rpc.nfsd 0 2>>/errors
until_failed 'no answer within'
tell hanging-policy "$(ask)"
set_key timeout '"500ms"'
restart
until_failed 'no answer within'
tell hanging-from-the-start "$(ask)"
failed hanging-event 'no answer within'
kill -TERM "$daemon"
wait "$daemon"
tell hanging-end $?
rpc.nfsd 2 2>>/errors
set_key timeout '"2s"'
: >/log
serve
until_verdict defer
tell_explained served-again anna@example.org 600000
end
