//! The command line, as a person or a script uses it.

use std::process::Command;
use std::time::Duration;

use outrigger_test_support::{App, Home, Process, Sidecar, binary, eventually, free_port, http1, within};
use rustix::process::Signal;

/// Runs `outrigger` to its end. Returns the exit code and what it printed.
fn outrigger(home: &Home, args: &[&str]) -> (i32, String) {
    outrigger_within(Duration::from_secs(60), home, args)
}

fn outrigger_within(patience: Duration, home: &Home, args: &[&str]) -> (i32, String) {
    let mut process = Process::start(home, args, &[]);
    let status = process.wait(patience);
    (status.code().unwrap_or(-1), process.log().text())
}

/// `outrigger run` of a shell command, up and running.
fn run(home: &Home, app_id: &str, flags: &[&str], script: &str) -> Process {
    let mut args = vec!["run", "--app-id", app_id];
    args.extend_from_slice(flags);
    args.extend_from_slice(&["--", "sh", "-c", script]);
    let process = Process::start(home, args, &[]);
    process.log().wait_for("Up and running");
    process
}

#[test]
fn run_gives_the_app_its_ports_and_marks_whose_output_is_whose() {
    let home = Home::new();
    let script = "echo my-id=$APP_ID my-http=$DAPR_HTTP_PORT grpc=$DAPR_GRPC_PORT; echo to-stderr >&2; sleep 60";
    let mut process = run(&home, "shop", &[], script);
    let line = process.log().wait_for("my-id=shop my-http=");
    assert!(line.contains("APP"), "{line}");
    assert!(process.log().wait_for("to-stderr").contains("APP"));
    let port: u16 = line.split("my-http=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert_eq!(http1::request(([127, 0, 0, 1], port).into(), "GET", "/v1.0/healthz", &[], b"").status(), 204);
    process.signal(Signal::INT);
    assert_eq!(process.wait(Duration::from_secs(20)).code(), Some(0));
    assert!(http1::try_request(([127, 0, 0, 1], port).into(), "GET", "/v1.0/healthz").is_none());
}

#[test]
fn run_ends_with_the_exit_code_of_the_app() {
    let home = Home::new();
    for code in [0, 3] {
        let (found, text) = outrigger(&home, &["run", "--app-id", "short", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(found, code, "{text}");
    }
}

#[test]
fn run_of_a_command_that_is_not_there_is_an_error_that_names_it() {
    let home = Home::new();
    let (code, text) = outrigger(&home, &["run", "--app-id", "none", "--", "no-such-program-anywhere"]);
    assert_ne!(code, 0);
    assert!(text.contains("no-such-program-anywhere"), "{text}");
}

#[test]
fn the_app_and_its_children_end_with_run_even_when_it_is_killed() {
    let home = Home::new();
    let mut process = run(&home, "parent", &[], "echo app=$$; sleep 300 & echo child=$!; wait");
    let pid = |name: &str| -> u32 {
        let line = process.log().wait_for(name);
        line.rsplit('=').next().unwrap().trim().parse().unwrap()
    };
    let pids = [pid("app="), pid("child=")];
    process.signal(Signal::KILL);
    process.wait(Duration::from_secs(5));
    within(Duration::from_secs(15), "the end of the app", || {
        let runs =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        (!runs(&pids[0])).then_some(())
    });
}

#[test]
fn two_apps_under_run_call_each_other_by_name_and_invoke_calls_them_from_a_shell() {
    let home = Home::new();
    let app = App::start();
    let port = app.port().to_string();
    let _shop = run(&home, "shop", &["--app-port", &port], "sleep 120");
    let caller = run(&home, "caller", &[], "echo my-http=$DAPR_HTTP_PORT; sleep 120");
    let line = caller.log().wait_for("my-http=");
    let http: u16 = line.rsplit('=').next().unwrap().trim().parse().unwrap();
    let reply = http1::request(([127, 0, 0, 1], http).into(), "GET", "/v1.0/invoke/shop/method/buy", &[], b"");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(app.only("/buy").one("dapr-caller-app-id"), Some("caller"));

    let (code, text) = outrigger(&home, &["invoke", "--app-id", "shop", "--method", "sell", "--data", "{\"n\": 1}"]);
    assert_eq!((code, text.trim()), (0, "ok"));
    let sold = app.only("/sell");
    assert_eq!((sold.method.as_str(), sold.text().as_str()), ("POST", "{\"n\": 1}"));
    assert_eq!(outrigger(&home, &["invoke", "--app-id", "nobody", "--method", "x"]).0, 1);
}

#[test]
fn list_shows_what_runs_and_stop_ends_it() {
    let home = Home::new();
    let (code, text) = outrigger(&home, &["list"]);
    assert_eq!(code, 0, "{text}");
    let mut shop = run(&home, "shop", &[], "sleep 120");
    let mut bank = run(&home, "bank", &[], "sleep 120");
    let (code, text) = outrigger(&home, &["list"]);
    assert!(code == 0 && text.contains("shop") && text.contains("bank"), "{text}");
    let (_, json) = outrigger(&home, &["list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|err| panic!("{err}: {json}"));
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{json}");

    let (code, text) = outrigger(&home, &["stop", "--app-id", "shop"]);
    assert_eq!(code, 0, "{text}");
    shop.wait(Duration::from_secs(10));
    assert!(bank.ended().is_none());
    assert_eq!(outrigger(&home, &["stop", "--app-id", "shop"]).0, 1, "there is nothing left to stop");

    let (code, text) = outrigger(&home, &["stop", "--all"]);
    assert_eq!(code, 0, "{text}");
    bank.wait(Duration::from_secs(10));
    eventually("the end of the control process", || home.control_pid().is_none().then_some(()));
}

#[test]
fn quickstart_proves_it_all_and_leaves_nothing_behind() {
    for _ in 0..2 {
        let home = Home::new();
        let (code, text) = outrigger_within(Duration::from_secs(120), &home, &["quickstart", "--once"]);
        assert_eq!(code, 0, "{text}");
        for needle in ["spiffe://", "TLSv1.3", "X25519MLKEM768", "native", "curl ", "403"] {
            assert!(text.contains(needle), "{needle} is not in\n{text}");
        }
        let folder = text.lines().map(str::trim).find(|line| line.starts_with('/')).expect("the folder is printed");
        let left: Vec<_> = processes().into_iter().filter(|line| line.contains(folder)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn quickstart_stays_up_until_it_is_interrupted_and_then_says_what_to_do_next() {
    let home = Home::new();
    let mut process = Process::start(&home, ["quickstart"], &[]);
    within(Duration::from_secs(120), "the curl lines", || process.log().text().contains("curl ").then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    assert!(process.ended().is_none(), "{}", process.log().text());
    process.signal(Signal::INT);
    let status = process.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{}", process.log().text());
    eventually("the commands for an app of one's own", || process.log().text().contains("outrigger run").then_some(()));
}

/// The command lines of all processes.
fn processes() -> Vec<String> {
    let proc = std::fs::read_dir("/proc").expect("Linux has /proc");
    proc.flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

/// Runs the binary under the name `daprd`.
fn daprd(home: &Home, args: &[&str]) -> (i32, String) {
    let link = home.path().join("daprd");
    if !link.exists() {
        std::os::unix::fs::symlink(binary(), &link).expect("our own folder");
    }
    let mut process = Process::spawn(Command::new(&link).args(args), home, &[]);
    let status = process.wait(Duration::from_secs(20));
    (status.code().unwrap_or(-1), process.log().text())
}

#[test]
fn as_daprd_it_prints_a_bare_version() {
    let home = Home::new();
    for flag in ["--version", "-version"] {
        let (code, text) = daprd(&home, &[flag]);
        assert_eq!(code, 0);
        assert!(text.split('.').count() == 3 && text.chars().all(|c| c.is_ascii_digit() || c == '.'), "{text:?}");
    }
}

#[test]
fn as_daprd_it_serves_the_api_with_the_flags_of_daprd_in_each_of_their_spellings() {
    let home = Home::new();
    let link = home.path().join("daprd");
    std::os::unix::fs::symlink(binary(), &link).expect("our own folder");
    let app = App::start();
    let [http, grpc, metrics] = [(); 3].map(|()| free_port().to_string());
    let app_port = app.port().to_string();
    let args = [
        "-app-id",
        "plain",
        "--dapr-http-port",
        &http,
        "-dapr-grpc-port",
        &grpc,
        &format!("--metrics-port={metrics}"),
        "-app-port",
        &app_port,
        "--enable-mtls=false",
        "--max-body-size",
        "1Mi",
        "--log-level",
        "debug",
        "--dapr-listen-addresses=127.0.0.1",
        "--dapr-graceful-shutdown-seconds",
        "1",
    ];
    let mut process = Process::spawn(Command::new(&link).args(args), &home, &[]);
    let address = ([127, 0, 0, 1], http.parse().unwrap()).into();
    within(Duration::from_secs(20), "health", || {
        if let Some(status) = process.ended() {
            panic!("it ended with {status}: {}", process.log().text());
        }
        http1::try_request(address, "GET", "/v1.0/healthz").filter(|reply| reply.status() == 204)
    });
    let reply = http1::request(address, "GET", "/v1.0/invoke/plain/method/self", &[], b"");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    process.signal(Signal::TERM);
    assert_eq!(process.wait(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn every_mistake_is_reported_at_once_by_name_value_and_fix() {
    let home = Home::new();
    let args = ["--app-id=a.b", "--app-port=70000", "--max-body-size=lots", "--app-protocol=smoke", "--no-such-flag=1"];
    for (code, text) in [daprd(&home, &args), {
        let mut all = vec!["sidecar"];
        all.extend_from_slice(&args);
        outrigger(&home, &all)
    }] {
        assert_ne!(code, 0);
        for needle in
            ["app-id", "a.b", "app-port", "70000", "max-body-size", "lots", "app-protocol", "smoke", "no-such-flag"]
        {
            assert!(text.contains(needle), "{needle} is not in\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_broken_configuration_is_refused_by_file_field_and_value() {
    let home = Home::new();
    for (yaml, needles) in [
        ("{{{", &["broken.yaml"][..]),
        (
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: x\nspec:\n  accessControl:\n    defaultAction: maybe\n",
            &["broken.yaml", "defaultAction", "maybe"],
        ),
        (
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: x\nspec:\n  accesControl: {}\n",
            &["broken.yaml", "accesControl"],
        ),
    ] {
        let path = home.write("broken.yaml", yaml);
        let config = format!("--config={}", path.display());
        let (code, text) = outrigger(&home, &["sidecar", "--app-id=a", "--dapr-http-port=0", &config]);
        assert_ne!(code, 0, "{text}");
        for needle in needles {
            assert!(text.contains(needle), "{needle} is not in\n{text}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let home = Home::new();
    let first = Sidecar::of(&home, "first").start();
    let taken = first.http().port().to_string();
    let (code, text) = outrigger(
        &home,
        &["sidecar", "--app-id=second", &format!("--dapr-http-port={taken}"), "--dapr-grpc-port=0", "--metrics-port=0"],
    );
    assert_ne!(code, 0);
    assert!(text.contains(&taken), "{text}");
}

#[test]
fn an_unknown_command_is_refused_with_the_nearest_one() {
    let home = Home::new();
    let (code, text) = outrigger(&home, &["quickstrat"]);
    assert_ne!(code, 0);
    assert!(text.contains("quickstart"), "{text}");
}
