# run by: /bin/bash-static --norc -s one two-words
# package: bash-static
echo "$# $2"
declare -A map=([a]=1 [b]=2); for k in a b; do echo "$k ${map[$k]}"; done
array=(x y z); echo "${array[@]:1} ${#array[@]}"
printf -v padded '%05d' 42; echo $padded
[[ abc123 =~ ([a-z]+)([0-9]+) ]] && echo "${BASH_REMATCH[2]} ${BASH_REMATCH[1]}"
echo {1..5} {a..c}{x,y}
read -r first rest <<< "here string with words"; echo "$rest"
exec 5< <(echo substituted); read -r line <&5; echo "$line"
f() { trap 'echo in f' RETURN; return 7; }; f; echo $?
set -o pipefail; false | true; echo $?; echo "${PIPESTATUS[@]}"
mapfile -t lines < <(printf 'l1\nl2\n'); echo "${lines[1]}"
(ulimit -n 64; ulimit -n); kill -l 9
echo $((2 ** 40)) $((16#ff)) ${padded//0/-}
trap 'echo usr1' USR1; kill -USR1 $$
cd /proc; cd /; cd - ; echo "${PWD}"
sum=0; for ((i = 0; i < 1000; i++)); do ((sum += i)); done; echo $sum
(exit 9) & wait $!; echo "waited $?"
x=$(for i in {1..200}; do echo $i; done | while read -r n; do echo "$n"; done); echo ${#x}
