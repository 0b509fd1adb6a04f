# run by: /sbin/ldconfig --version
# package: libc-bin
