//! The embedded control process with nothing around it, as the tests of this crate start
//! and kill it: `embedded control --embedded --home <folder> [--detached]`.

use std::path::PathBuf;
use std::process::ExitCode;

use outrigger_control::embedded::{Config, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (home, detached) = match words.as_slice() {
        ["control", "--embedded", "--home", home] => (home, false),
        ["control", "--embedded", "--home", home, "--detached"] => (home, true),
        _ => {
            eprintln!("usage: embedded control --embedded --home <folder> [--detached]");
            return ExitCode::from(2);
        }
    };
    match run(Config { detached, ..Config::new(PathBuf::from(home)) }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}
