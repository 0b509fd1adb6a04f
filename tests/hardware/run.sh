#!/bin/sh
# Runs a bundle of `sprout-bundle` with the `sprout` binary beside it: every case in the sentry,
# compared with what was recorded natively. For a machine with hardware virtualization and no more
# than busybox (see ci/machine). Last line: `N passed, N failed`.
#
#   ./run.sh [-any] [NAME...]   -any: accept ring-3 mode; NAME: only these cases
set -u
cd "$(dirname "$0")" || exit 2
export SPROUT_HOME="${SPROUT_HOME:-/tmp/sprout-home}"
out=/tmp/sprout-case
mkdir -p "$SPROUT_HOME" "$out"

any=''
if [ "${1:-}" = -any ]; then
    any=1
    shift
fi

passed=0 failed=0
check() { # check NAME COMMAND...: counts a command as a test
    name=$1
    shift
    if "$@" >"$out/text" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        head -20 "$out/text"
    fi
}

if [ -z "$any" ]; then
    # What is tested here must be hardware mode, or the result says nothing about it.
    check doctor ./sprout doctor --require-hardware-isolation
fi

exits() { # the exits of a run of a program that makes that many system calls
    ./sprout run --memory 64M --stats -- programs/many_syscalls "$1" 2>&1 |
        sed -n 's/^kvm\.exits *//p'
}

no_exits() { # 100,000 system calls more, and no more exits than ticks of the timer
    few=$(exits 1000) many=$(exits 101000)
    echo "$few exits with 1000 system calls, $many with 101000"
    [ -n "$few" ] && [ -n "$many" ] && [ $((many - few)) -lt 2000 ]
}

run_native() { # with the arguments of the case in $dir
    set --
    while IFS= read -r arg; do set -- "$@" "$arg"; done <"$dir/args"
    timeout -s KILL 60 "programs/$program" "$@" >"$out/native" 2>/dev/null <"$dir/stdin"
}

show() { # show WHAT WANTED GOT
    echo "  $1:"
    diff "$2" "$3" 2>/dev/null | head -12
}

for dir in cases/*; do
    name=${dir#cases/}
    [ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    # The differential tests keep the list of known failures honest.
    [ ! -e "$dir/expected-fail" ] || continue
    program=$(cat "$dir/program")
    if [ -z "$any" ] && [ "$name" = many_syscalls.many ]; then
        check exits_per_system_call no_exits
        tail -n 1 "$out/text"
    fi
    isolation=shared
    [ ! -e "$dir/needs-wall" ] || isolation=strict
    run_case() {
        set --
        while IFS= read -r arg; do set -- "$@" "$arg"; done <"$dir/args"
        timeout -s KILL 60 ./sprout run --memory 64M --vcpus "$(cat "$dir/vcpus")" \
            --sentry-isolation $isolation -- "programs/$program" "$@" \
            >"$out/stdout" 2>"$out/stderr" <"$dir/stdin"
    }
    run_case
    status=$?
    same=1
    [ "$status" = "$(cat "$dir/status")" ] || same=''
    cmp -s "$dir/stdout" "$out/stdout" || same=''
    cmp -s "$dir/stderr" "$out/stderr" || same=''
    if [ -n "$same" ]; then
        passed=$((passed + 1))
    elif run_native && [ "$status" = 0 ] && cmp -s "$out/native" "$out/stdout"; then
        # An emulated processor may lack what the recording one has (SSE exceptions under TCG).
        passed=$((passed + 1))
        echo "ok $name: not as recorded, but as this machine's own Linux does it"
    else
        failed=$((failed + 1))
        echo "FAILED $name: status $(cat "$dir/status") expected, got $status"
        cmp -s "$dir/stdout" "$out/stdout" || show stdout "$dir/stdout" "$out/stdout"
        cmp -s "$dir/stderr" "$out/stderr" || show stderr "$dir/stderr" "$out/stderr"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
