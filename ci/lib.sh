# Shared by the scripts in this folder; sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sprout
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
# Where `ci/setup` puts rustup on a machine that has none.
[ ! -d "$HOME/.cargo/bin" ] || case :$PATH: in *:"$HOME/.cargo/bin":*) ;; *) PATH=$HOME/.cargo/bin:$PATH ;; esac
export PATH
# What is built and checked here is this checkout's own sentry.
unset SPROUT_SENTRY

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0#"$ROOT"/}" "$*" >&2
    exit 1
}

# The toolchain version this checkout is pinned to.
pinned_rust() { sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"; }

# Whether rustup may download: RUSTUP_AUTO_INSTALL=0 is rustup's own switch for "no".
rustup_may_download() { [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ]; }

# Why KVM cannot be used here, with the remedy; prints nothing when it can.
kvm_problem() {
    if [ ! -e /dev/kvm ]; then
        echo "/dev/kvm does not exist. On a physical machine enable AMD-V (SVM) or Intel VT-x in the" \
            "firmware and run 'modprobe kvm_amd' or 'modprobe kvm_intel'; in a virtual machine turn" \
            "on nested virtualisation; in a container pass '--device /dev/kvm'."
    elif [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
        echo "/dev/kvm is not accessible to $(id -un). Run 'sudo usermod -aG kvm $(id -un)' and log in" \
            "again."
    fi
}
