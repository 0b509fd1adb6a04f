# run by: /bin/busybox sh
# package: busybox-static
umask 022
cd "$(mktemp -d)"
mkdir -p a/b/c
echo hello > a/b/c/file
cp -r a copy
mv copy/b/c/file copy/moved
ln -s moved copy/link
ln copy/moved copy/hard
find . | sort
cat copy/link copy/hard
stat -c '%n %F %a %h %s' copy/moved
readlink copy/link
chmod 640 copy/moved; stat -c '%a' copy/hard
touch -d '2020-01-02 03:04:05' old; find . -name old -mtime +300
dd if=/dev/zero of=zeros bs=1000 count=33 2>/dev/null; wc -c < zeros
truncate -s 5 zeros; od -c zeros
echo replaced > a/b/c/file; cat a/b/c/file; echo appended >> a/b/c/file; wc -l a/b/c/file
rm -r copy; test -e copy; echo "gone $?"
mkfifo pipe; (echo through > pipe &); cat pipe
cmp -s a/b/c/file zeros; echo "differ $?"
rmdir a; echo "not empty $?"
umask 077; mkdir private; stat -c %a private
cd /; rm -r "$OLDPWD"
