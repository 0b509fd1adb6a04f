# run by: /bin/busybox sh
# package: busybox-static
seq 1 2000 | grep -v 7 | sort -rn | sed 's/1/one/g' | awk '{ n += length($0) } END { print NR, n }'
seq 1 100 | tr '1-5' 'a-e' | sort | uniq -c | sort -k1,1nr -k2 | head -5
yes | head -1000 | wc -l
echo one two three | cut -d' ' -f2 | rev
printf 'b 2\na 1\nc 3\n' | sort | while read -r name value; do echo "$value=$name"; done
false | true; echo "status $?"
(exit 3); echo "status $?"
seq 1 5 | xargs -n2 echo | wc -l
i=0; while [ $i -lt 100 ]; do i=$((i + 1)); true | cat > /dev/null; done; echo $i
