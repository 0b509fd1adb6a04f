# run by: /bin/busybox sh
# package: busybox-static
awk 'BEGIN { for (i = 0; i < 10; i++) x = x * 3 + i; printf "%d %s\n", x, substr("abcdef", 2, 3) }'
printf 'k1 10\nk2 20\nk1 5\n' | awk '{ t[$1] += $2 } END { for (k in t) print k, t[k] }' | sort
printf 'a,b\nc,d\n' | sed -n 's/\(.*\),\(.*\)/\2-\1/p'
seq 1 10 | sed -e '/3/,/5/d' | sed -e '$!N;s/\n/+/'
echo 'The quick brown fox' | sed 's/[a-z]*/[&]/g;y/qbf/QBF/'
seq 20 | grep -E '^(1|2).?$' | tr '\n' ' '; echo
printf 'x\ny\n' | nl; expr 6 \* 7; printf '%05d|%-6s|%x\n' 42 ab 255
echo '3 + 4 * 2' | bc
