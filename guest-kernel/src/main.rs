//! The bare-metal binary: the `sentry` library, a heap and a panic handler.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use core::panic::PanicInfo;

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        sentry::arch::debug::fatal(0, format_args!("{info}"))
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the sentry runs in a VM: build it for x86_64-unknown-none and use `sprout run`");
    std::process::exit(1);
}
