//! The command line of `outrigger` (the sidecar's own flags are Go's and are
//! read by `config::flags`).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A service-mesh sidecar and Dapr-compatible runtime in one small program.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger",
    version = super::version::OUTRIGGER,
    about,
    after_help = "Start here:\n  outrigger quickstart\n  outrigger run --app-id shop --app-port 3000 -- python3 app.py"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See three services call each other over mutual TLS, in a folder of its own
    Quickstart(Quickstart),
    /// Run an app with a sidecar beside it
    Run(Box<Run>),
    /// List the sidecars of this user
    List(List),
    /// Stop sidecars, and the apps that `run` started beside them
    Stop(Stop),
    /// Call a method of an app through a sidecar on this machine
    Invoke(Invoke),
    /// Report every mistake in configuration files, and start nothing
    Check(Check),
    /// Run a sidecar alone; `outrigger sidecar --help` lists its flags
    #[command(disable_help_flag = true)]
    Sidecar {
        /// Flags of the sidecar.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Run the control process: certificate authority and registry
    Control(Control),
    /// Print the version
    Version,
    /// Starts an app that ends with `run` (internal).
    #[command(hide = true)]
    Launch {
        /// Process of `run`.
        #[arg(long)]
        run_pid: u32,
        /// The app.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// One service of the quickstart (internal).
    #[command(hide = true)]
    QuickstartService {
        /// Which one.
        name: super::quickstart::Role,
        /// Process of `quickstart`.
        #[arg(long)]
        run_pid: u32,
        /// Port to listen on.
        #[arg(long)]
        port: u16,
        /// HTTP API of the sidecar beside it.
        #[arg(long)]
        sidecar: std::net::SocketAddr,
    },
}

/// `outrigger quickstart`
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Prove it, print it and exit: 0 when all held, else 1
    #[arg(long)]
    pub(crate) once: bool,
}

/// `outrigger run`: the flags are those of `dapr run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Run the apps of a multi-app template: the file, or the folder with its dapr.yaml
    #[arg(long, short = 'f', value_name = "FILE", exclusive = true)]
    pub(crate) run_file: Option<PathBuf>,
    /// ID of the app: its name for callers [default: a random one]
    #[arg(long, short = 'a', default_value = "", hide_default_value = true)]
    pub(crate) app_id: String,
    /// Port on which the app listens; leave it out for an app that only calls
    #[arg(long, short = 'p', allow_hyphen_values = true, value_name = "PORT")]
    pub(crate) app_port: Option<String>,
    /// What the app speaks: http, h2c or grpc
    #[arg(long, short = 'P', default_value = "http", value_name = "PROTOCOL")]
    pub(crate) app_protocol: String,
    /// Address on which the app listens [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) app_channel_address: Option<String>,
    /// File with a Configuration; may be repeated
    #[arg(long, short = 'c', value_name = "FILE")]
    pub(crate) config: Vec<String>,
    /// Folder of resource files; may be repeated
    #[arg(long, short = 'd', value_name = "FOLDER")]
    pub(crate) resources_path: Vec<String>,
    /// Port of the HTTP API [default: a free one]
    #[arg(long, short = 'H', allow_hyphen_values = true, value_name = "PORT")]
    pub(crate) dapr_http_port: Option<String>,
    /// Port of the gRPC API [default: a free one]
    #[arg(long, short = 'G', allow_hyphen_values = true, value_name = "PORT")]
    pub(crate) dapr_grpc_port: Option<String>,
    /// Port for other sidecars [default: a free one]
    #[arg(long, short = 'I', allow_hyphen_values = true, value_name = "PORT")]
    pub(crate) dapr_internal_grpc_port: Option<String>,
    /// Port of the metrics [default: a free one]
    #[arg(long, short = 'M', allow_hyphen_values = true, value_name = "PORT")]
    pub(crate) metrics_port: Option<String>,
    /// Addresses of the API, separated by commas [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESSES")]
    pub(crate) dapr_listen_addresses: Option<String>,
    /// Largest request body of the HTTP API, as a quantity [default: 4Mi]
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) max_body_size: Option<String>,
    /// Largest request head, as a quantity [default: 64Ki]
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) read_buffer_size: Option<String>,
    /// debug, info, warn, error or fatal [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Log lines of the sidecar as JSON
    #[arg(long)]
    pub(crate) log_as_json: bool,
    /// Whether to write one access record a call [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) enable_api_logging: Option<String>,
    /// Longest wait for calls in flight at the end, in seconds [default: 5]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) dapr_graceful_shutdown_seconds: Option<String>,
    /// The app; without one the sidecar runs alone
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// How `list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    Table,
    /// For programs.
    Json,
}

/// `outrigger list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// How to print
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `outrigger check`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Check {
    /// File with a Configuration; may be repeated
    #[arg(long, short = 'c', group = "what", value_name = "FILE")]
    pub(crate) config: Vec<String>,
    /// Folder of resource files; may be repeated
    #[arg(long, short = 'd', group = "what", value_name = "FOLDER")]
    pub(crate) resources_path: Vec<String>,
    /// Multi-app template: the file, or the folder with its dapr.yaml
    #[arg(long, short = 'f', group = "what", value_name = "FILE")]
    pub(crate) run_file: Option<PathBuf>,
    /// ID of the app for which resources are looked at
    #[arg(long, short = 'a', default_value = "app", value_name = "APP")]
    pub(crate) app_id: String,
    /// How to print
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `outrigger stop`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(crate) struct Stop {
    /// Stop every sidecar of this app; may be repeated
    #[arg(long, short = 'a', group = "which", value_name = "APP")]
    pub(crate) app_id: Vec<String>,
    /// Stop every app of a multi-app template
    #[arg(long, short = 'f', group = "which", value_name = "FILE")]
    pub(crate) run_file: Option<PathBuf>,
    /// Stop every sidecar of this user, and the control process
    #[arg(long, group = "which")]
    pub(crate) all: bool,
}

/// `outrigger invoke`
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// App to call: `app`, or `app.namespace`
    #[arg(long, short = 'a', value_name = "APP")]
    pub(crate) app_id: String,
    /// Method to call: a path of the app, query allowed
    #[arg(long, short = 'm', value_name = "METHOD")]
    pub(crate) method: String,
    /// HTTP verb
    #[arg(long, short = 'v', default_value = "POST", value_name = "VERB")]
    pub(crate) verb: String,
    /// Body to send
    #[arg(long, short = 'd', value_name = "TEXT", conflicts_with = "data_file")]
    pub(crate) data: Option<String>,
    /// File whose content is the body
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) data_file: Option<PathBuf>,
    /// Call through the sidecar of this app [default: the called app's own]
    #[arg(long, value_name = "APP")]
    pub(crate) from: Option<String>,
}

/// `outrigger control`
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The embedded process of this user: one at a time, ends when unused
    #[arg(long, required = true)]
    pub(crate) embedded: bool,
    /// Its folder [default: that of this user]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// Loopback address on which stock sidecars reach the authority over TLS;
    /// they show the token in the file `join-token` [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ca_listen: Option<std::net::SocketAddr>,
    /// Leave the terminal: a session of its own (internal).
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// Seconds without a sidecar after which it ends
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) idle: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_the_flags_of_dapr_run() {
        let cli = Cli::try_parse_from([
            "outrigger",
            "run",
            "-a",
            "shop",
            "-p",
            "3000",
            "-P",
            "grpc",
            "-H",
            "3500",
            "-G",
            "50001",
            "-c",
            "a.yaml",
            "-d",
            "./one",
            "--resources-path",
            "./two",
            "--",
            "python3",
            "app.py",
            "--flag",
        ])
        .unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.app_id, "shop");
        assert_eq!(run.resources_path, ["./one", "./two"]);
        assert_eq!(run.command, ["python3", "app.py", "--flag"]);
    }

    #[test]
    fn stop_wants_apps_or_all_and_not_both() {
        let parse = |line: &[&str]| Cli::try_parse_from(["outrigger", "stop"].iter().chain(line)).is_ok();
        assert!(parse(&["--app-id", "a", "--app-id", "b"]));
        assert!(parse(&["--all"]));
        assert!(!parse(&[]));
        assert!(!parse(&["--all", "--app-id", "a"]));
    }
}
