# run by: /bin/zsh-static -f -s
# package: zsh-static
typeset -A h; h=(one 1 two 2); print ${(ok)h} ${h[two]}
a=(3 1 2); print ${(on)a} ${#a} ${a[-1]}
print $((7.0 / 2)) $((2 ** 10)) ${(U)${:-upper}}
f() { print "in $0 $1"; return 5 }; f arg; print $?
for i in {1..3}; do print -n "$i "; done; print
[[ abc == a* ]] && print glob
(exit 9); print $?
print ${${:-path/to/file.txt}:t:r}
print left | { read x; print "got $x" }
