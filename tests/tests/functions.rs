//! What a function may rely on when it is an instance of a seed: ids that never repeat, clocks that
//! are right, threads and processes that go on; and the ways to write one.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use sprout_tests::gateway::Gateway;
use sprout_tests::run::run;
use sprout_tests::store::Store;
use sprout_tests::{source_dir, sprout, target_dir};

/// Installing packages fetches them, once.
const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
const INSTANCES: usize = 5;
/// The status of `sprout deploy` where there is no function of it.
const REFUSED: i32 = 125;
/// How old the seed of `clocks` is at least when it is asked.
const AGE: Duration = Duration::from_secs(3);

type Running = Mutex<Option<Arc<Gateway>>>;
type Test = fn(&Gateway) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("ids_of_real_packages_never_repeat", ids),
    ("the_time_origin_is_right_and_timers_come_in_time", clocks),
    ("typescript_is_found_and_runs", typescript),
    (
        "typescript_that_cannot_run_is_a_clear_error",
        typescript_error,
    ),
    ("threads_and_children_go_on_in_each_instance", threads),
    (
        "threads_that_never_rest_are_frozen_for_the_snapshot",
        spinning,
    ),
    (
        "children_see_that_they_are_copies_and_their_parent_does_not",
        family,
    ),
    ("a_function_that_never_loads_is_refused", endless),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let shared: Arc<OnceLock<Result<Running, String>>> = Arc::new(OnceLock::new());
    let trials = TESTS
        .iter()
        .map(|(name, test)| {
            let shared = shared.clone();
            Trial::test(*name, move || {
                let gateway = shared
                    .get_or_init(|| start().map_err(|error| format!("{error:#}")))
                    .as_ref()
                    .map_err(String::clone)?
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
                    .ok_or("the gateway is stopped")?;
                test(&gateway).map_err(|error| format!("{error:#}\n{}", gateway.log()).into())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(Ok(gateway)) = shared.get() {
        gateway
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
    conclusion.exit_code()
}

fn start() -> Result<Running> {
    sprout::kvm()?;
    let store = Store::of_tests();
    store.ensure_image()?;
    store.deploy("clocks")?;
    store.deploy_directory(&with_packages("ids")?, "ids", &[])?;
    store.deploy("threads")?;
    store.deploy("spinning")?;
    store.deploy_directory(&family_directory()?, "family", &[])?;
    Ok(Mutex::new(Some(Arc::new(Gateway::start(&store, &[])?))))
}

/// A function of `tests/functions` with the packages that its lock file names.
fn with_packages(name: &str) -> Result<PathBuf> {
    let copy = copied(name)?;
    let installed = run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&copy),
        INSTALL_DEADLINE,
    )?;
    ensure!(
        installed.status == Some(0),
        "npm ci in {}:\n{}",
        copy.display(),
        installed.err()
    );
    Ok(copy)
}

/// A fresh copy of a function of `tests/functions`, without its folders.
fn copied(name: &str) -> Result<PathBuf> {
    let copy = target_dir().join("sprout-tests/functions").join(name);
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(source_dir().join("functions").join(name))? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Ok(copy)
}

fn family_directory() -> Result<PathBuf> {
    let copy = copied("family")?;
    let compiled = run(
        Command::new("gcc")
            .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
            .arg(copy.join("copy"))
            .arg(source_dir().join("guests/copy.c")),
        INSTALL_DEADLINE,
    )?;
    ensure!(compiled.status == Some(0), "copy.c:\n{}", compiled.err());
    Ok(copy)
}

fn ask(gateway: &Gateway, path: &str) -> Result<Value> {
    let answer = gateway.get(path)?;
    ensure!(
        answer.status == 200,
        "{path}: status {}: {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

fn ids(gateway: &Gateway) -> Result<()> {
    let mut seen = HashSet::new();
    for _ in 0..INSTANCES {
        let answer = ask(gateway, "/f/ids")?;
        let ids = answer["ids"].as_object().context("no ids")?;
        ensure!(ids.len() == 10, "{answer}");
        for (name, two) in ids {
            for id in two.as_array().context("no two ids")? {
                ensure!(seen.insert(id.to_string()), "{name} repeats: {id}");
            }
        }
        let pools = answer["pools"].as_object().context("no pools")?;
        ensure!(pools.len() == 4, "{answer}");
        for (name, bytes) in pools {
            let bytes = bytes.as_str().context("no bytes")?;
            for block in bytes.as_bytes().chunks(16) {
                let block = String::from_utf8_lossy(block).into_owned();
                ensure!(seen.insert(block.clone()), "{name} repeats: {block}");
            }
        }
    }
    Ok(())
}

fn clocks(gateway: &Gateway) -> Result<()> {
    thread::sleep(AGE);
    let answer = ask(gateway, "/f/clocks")?;
    ensure!(
        answer["age"].as_f64() >= Some(AGE.as_secs_f64() * 1e3),
        "{answer}"
    );
    for (part, clocks) in [(&answer, 3), (&answer["worker"], 2)] {
        let lags = part["lag"].as_array().context("no lags")?;
        ensure!(lags.len() == clocks, "{answer}");
        for lag in lags {
            ensure!(
                lag.as_f64().is_some_and(|lag| lag.abs() < 1000.0),
                "{answer}"
            );
        }
        // 300 ms of 50 ms each; a burst would be the ticks of the seed's age.
        ensure!(
            part["ticks"]
                .as_u64()
                .is_some_and(|ticks| (1..30).contains(&ticks)),
            "{answer}"
        );
    }
    Ok(())
}

const TYPED: &str = "import { greet, type Greeting } from './greet.ts';
export default async (request: Request): Promise<Response> => {
  const greeting: Greeting = { word: 'typed' };
  return new Response(greet(greeting) satisfies string);
};\n";
const GREET: &str = "export interface Greeting { word: string }
export const greet = ({ word }: Greeting): string => `${word} answer`;\n";
const COMMON: &str = "const answer: string = 'typed answer';
module.exports = (): Response => new Response(answer);\n";

fn typescript(gateway: &Gateway) -> Result<()> {
    let store = Store::of_tests();
    let cases: [(&str, &[(&str, &str)]); 3] = [
        (
            "main",
            &[
                (
                    "package.json",
                    r#"{ "type": "module", "main": "src/handler.ts" }"#,
                ),
                ("src/handler.ts", TYPED),
                ("src/greet.ts", GREET),
            ],
        ),
        (
            "exports",
            &[
                (
                    "package.json",
                    r#"{ "exports": { ".": { "types": "./no.d.ts", "node": ["./f.mts"] } } }"#,
                ),
                ("f.mts", TYPED),
                ("greet.ts", GREET),
            ],
        ),
        ("bare", &[("index.cts", COMMON)]),
    ];
    for (name, files) in cases {
        let directory = tempfile::tempdir()?;
        for (file, text) in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().context("a folder")?)?;
            fs::write(file, text)?;
        }
        let name = format!("typescript-{name}");
        store.deploy_directory(directory.path(), &name, &["--no-warmup"])?;
        let answer = gateway.get(&format!("/f/{name}"))?;
        ensure!(answer.text() == "typed answer", "{name}: {}", answer.text());
    }
    Ok(())
}

fn refused(source: &str, file: &str, args: &[&str]) -> Result<String> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join(file), source)?;
    let outcome = Store::of_tests().try_deploy(Path::new(directory.path()), "refused", args)?;
    ensure!(
        outcome.status == Some(REFUSED),
        "{:?}: {}",
        outcome.status,
        outcome.err()
    );
    Ok(outcome.err())
}

fn typescript_error(_: &Gateway) -> Result<()> {
    let source = "enum Kind { A }\nexport default () => new Response(String(Kind.A));\n";
    let said = refused(source, "index.ts", &[])?;
    ensure!(
        said.contains("/function/index.ts") && said.contains("enum"),
        "{said}"
    );
    Ok(())
}

fn endless(_: &Gateway) -> Result<()> {
    let said = refused("for (;;);", "index.mjs", &["--deploy-timeout", "3s"])?;
    ensure!(
        said.contains("not ready after 3s") && said.contains("top level is still running"),
        "{said}"
    );
    let source = "export default () => { for (;;); };";
    let said = refused(source, "index.mjs", &["--deploy-timeout", "5s"])?;
    ensure!(said.contains("warm-up request 1 of 1"), "{said}");
    Ok(())
}

fn threads(gateway: &Gateway) -> Result<()> {
    for path in ["/f/threads", "/f/threads/profile"] {
        let answer = ask(gateway, path)?;
        ensure!(answer["doubled"] == 42, "{answer}");
        ensure!(
            answer["ticks"]
                .as_u64()
                .is_some_and(|ticks| (2..=60).contains(&ticks)),
            "{answer}"
        );
        ensure!(
            !path.ends_with("profile") || answer["samples"].as_u64() > Some(10),
            "{answer}"
        );
    }
    Ok(())
}

fn spinning(gateway: &Gateway) -> Result<()> {
    for _ in 0..2 {
        let answer = ask(gateway, "/f/spinning")?;
        ensure!(
            answer["counts"] == serde_json::json!([true, true]),
            "{answer}"
        );
    }
    Ok(())
}

fn family(gateway: &Gateway) -> Result<()> {
    for _ in 0..2 {
        let answer = ask(gateway, "/f/family/end")?;
        let facts = |moment: &str| -> Result<(String, String)> {
            let line = answer[moment].as_str().context("no line")?;
            let (id, rest) = line
                .strip_prefix("pid ")
                .and_then(|line| line.split_once(" self "))
                .with_context(|| format!("{answer}"))?;
            let (_, rest) = rest.split_once(' ').context("no facts")?;
            Ok((id.to_owned(), rest.to_owned()))
        };
        let (at_load, before) = facts("atLoad")?;
        let (now, after) = facts("now")?;
        ensure!(
            before == "same 1 raised 1 kept 1 wiped 0 0"
                && after == "same 1 raised 1 kept 1 wiped 1 1",
            "{answer}"
        );
        ensure!(now != at_load, "{answer}");
        ensure!(
            answer["found"] == true
                && answer["ended"] == serde_json::json!({ "status": 7, "signal": null }),
            "{answer}"
        );
    }
    Ok(())
}
