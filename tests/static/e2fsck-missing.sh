# run by: /sbin/e2fsck.static -n /no/such/device
# package: e2fsck-static
