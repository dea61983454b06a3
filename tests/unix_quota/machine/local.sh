#!/bin/busybox sh
# Quotas of this host, on a real ext4 and a real XFS, and of itself as a file server, by a real rpc.rquotad.
. /begin

mount -t ext4 -o usrquota,grpquota /dev/vda /ext4
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
serve_rpc

serve
tell_explained hard anna@example.org 600000
tell_explained hard-fits anna@example.org 1000
tell_explained group ben@example.org 600000
tell_explained no-unix-user carl@example.org 600000
tell_explained foreign anna@elsewhere.example 600000
tell show "$(mailquotad show -c /mailquotad.toml anna@example.org --format json 2>>/errors)"

reload_with limit '"soft"'
resync
tell_explained soft anna@example.org 1000

reload_with limit '"soft-after-grace"'
resync
tell_explained grace anna@example.org 1000
tell kernel-in-grace "$(write /ext4/more 8)"
setquota -u -T anna 1 1 /ext4
# The kernel says when the grace period is over: it refuses her the next byte.
until [ "$(write /ext4/more 8)" = "Disk quota exceeded" ]; do usleep 200000; done
rm -f /ext4/more
resync
tell_explained grace-over anna@example.org 1000

# At the hard limit the kernel refuses as well. (XFS charges the group for room to make a file in.)
reload_with limit '"hard"'
setquota -g mail 0 0 0 0 /xfs
tell kernel-below-hard "$(write /xfs/more 4)"
rm -f /xfs/more
setquota -u anna 0 1500 0 0 /xfs
tell kernel-at-hard "$(write /xfs/more 4)"
rm -f /xfs/more
resync
tell_explained at-hard anna@example.org 1000
tell problems "$(grep -c unix-quota-failed /log)"

# Only the server, over TCP.
kill "$daemon"
wait "$daemon"
set_key file_systems '["nfs://127.0.0.1/ext4", "nfs://127.0.0.1/xfs"]'
set_key rquota_transport '"tcp"'
serve
tell_explained tcp anna@example.org 600000
# The server goes away: its last word stands.
kill -9 "$(pidof rpc.rquotad)"
resync
tell_explained server-gone anna@example.org 600000
tell problem "$(grep unix-quota-failed /log | head -n 1)"
end
