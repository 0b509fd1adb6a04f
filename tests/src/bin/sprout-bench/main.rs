//! `sprout-bench [--rounds N] [--requests N] [NAME...]`: what Sprout costs, each figure beside its
//! peer on plain Linux, taken in turns in the same run. Figures are medians of wall-clock times.
//!
//! Names: `getppid`, `hello`, `threads`, `futex`, `pipe`, `spawn`, `signal`, `touch`, `parallel`,
//! `node`, `churn`, `restore`, `gateway`; without one, all of them. `SPROUT_PEER_NODE` names the plain
//! Linux's Node.
#![forbid(unsafe_code)]

mod function;
mod kernel;
mod late;
mod measure;
mod node;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use sprout_tests::sprout;

struct Options {
    rounds: usize,
    requests: usize,
    names: Vec<String>,
}

type Bench = fn(&Options) -> Result<()>;

const BENCHES: [(&str, Bench); 14] = [
    ("getppid", kernel::getppid),
    ("hello", kernel::hello),
    ("threads", kernel::threads),
    ("futex", kernel::futex),
    ("pipe", kernel::pipe),
    ("spawn", kernel::spawn),
    ("signal", kernel::signal),
    ("late", late::late),
    ("touch", kernel::touch),
    ("parallel", kernel::parallel),
    ("node", node::node),
    ("churn", node::churn),
    ("restore", function::restore),
    ("gateway", function::gateway),
];

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sprout-bench: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    println!(
        "{:<44} {:>12} {:>12} {:>8}",
        "median", "sprout", "plain Linux", "ratio"
    );
    for (name, bench) in BENCHES {
        if !options.names.is_empty() && !options.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        if let Err(error) = sprout::kvm().and_then(|()| bench(&options)) {
            println!("{name}: failed: {error:#}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn options() -> Result<Options> {
    let mut options = Options {
        rounds: 15,
        requests: 2000,
        names: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> Result<usize> {
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a number"))?;
            let value: usize = value.parse().with_context(|| format!("{arg} {value}"))?;
            ensure!(value > 0, "{arg} must be at least 1");
            Ok(value)
        };
        match arg.as_str() {
            "--rounds" => options.rounds = number()?,
            "--requests" => options.requests = number()?,
            name if BENCHES.iter().any(|(known, _)| *known == name) => {
                options.names.push(name.to_owned());
            }
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}
