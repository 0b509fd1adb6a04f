# run by: /bin/busybox sh
# package: busybox-static
cd "$(mktemp -d)"
mkdir tree; for i in 1 2 3 4 5; do seq 1 $((i * 1000)) > tree/$i; done; ln -s 3 tree/three
tar cf t.tar tree; tar tf t.tar | sort
gzip -c t.tar > t.tgz; gunzip -t t.tgz; echo "sound $?"
mkdir out; tar xzf t.tgz -C out; diff -r tree out/tree; echo "same $?"
cat tree/5 | gzip -9 | zcat | md5sum
md5sum tree/1 tree/2; sha256sum tree/4; sha1sum < tree/5; sha512sum tree/1
bzip2 -k tree/5; bunzip2 -c tree/5.bz2 | cmp - tree/5; echo "bzip2 $?"
find tree -type f | sort | cpio -o -H newc 2>/dev/null > t.cpio
mkdir c; cd c; cpio -id < ../t.cpio 2>/dev/null; cmp tree/4 ../tree/4; echo "cpio $?"
base64 ../tree/1 | base64 -d | cmp - ../tree/1; echo "base64 $?"
cd /; rm -r "${OLDPWD%/c}"
