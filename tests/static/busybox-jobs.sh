# run by: /bin/busybox sh
# package: busybox-static
trap 'echo got term' TERM; kill -TERM $$; echo after
trap - TERM
sleep 30 & pid=$!; kill $pid; wait $pid; echo "sleep ended with $?"
(sleep 0.05; exit 4) & wait $!; echo "background $?"
(kill -KILL $(sh -c 'echo $PPID')); echo "killed $?"
f() { local x=$1; [ "$x" -le 0 ] && return 0; echo "depth $x"; f $((x - 1)); }; f 3
for i in 1 2 3; do (echo "child $i") & wait; done
t=$(mktemp); exec 3> "$t"; echo to three >&3; exec 3>&-; cat "$t"; rm "$t"
cat << HERE
here $((6 * 7)) $(echo document)
HERE
case abc in a*c) echo matched;; esac
set -- a "b c" d; echo $#; shift; echo "$1"
trap 'echo leaving' EXIT
