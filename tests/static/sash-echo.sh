# run by: /bin/sash
# package: sash
-echo hello from sash
cd /proc
umask 027
umask
