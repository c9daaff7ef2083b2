//! `outrigger list`

use std::time::{Duration, SystemTime};

use outrigger_mesh::discovery::registry::Announcement;

use super::cli::{List, Output};
use super::registered;

/// Prints the sidecars of this user.
///
/// # Errors
///
/// The control process runs and does not answer.
pub(crate) async fn list(arguments: List) -> anyhow::Result<u8> {
    let home = registered::home()?;
    let found = registered::sidecars(&home).await?;
    match arguments.output {
        Output::Json => println!("{}", json(&found)),
        Output::Table if found.is_empty() => println!("No sidecar is running."),
        Output::Table => print!("{}", table(&found, SystemTime::now())),
    }
    Ok(0)
}

/// The keys are those of `dapr list`, so that its readers can read this.
fn json(found: &[Announcement]) -> serde_json::Value {
    found
        .iter()
        .map(|sidecar| {
            let of = &sidecar.description;
            serde_json::json!({
                "appId": sidecar.app.app_id(),
                "namespace": sidecar.app.namespace(),
                "httpPort": of.http_port,
                "grpcPort": of.grpc_port,
                "metricsPort": of.metrics_port,
                "peerAddress": sidecar.peer_address.to_string(),
                "appPort": of.app_port,
                "command": of.command,
                "age": age(of.started, SystemTime::now()),
                "created": seconds(of.started),
                "daprdPid": of.pid,
                "cliPid": of.parent_pid,
                "appPid": of.app_pid,
                "draining": sidecar.draining,
            })
        })
        .collect()
}

fn seconds(started: SystemTime) -> u64 {
    started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Columns, each as wide as its widest cell.
fn table(found: &[Announcement], now: SystemTime) -> String {
    const HEADS: [&str; 8] = ["APP ID", "NAMESPACE", "HTTP", "GRPC", "APP PORT", "AGE", "PID", "COMMAND"];
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(found.iter().map(|sidecar| {
        let of = &sidecar.description;
        let state = if sidecar.draining { " (draining)" } else { "" };
        [
            format!("{}{state}", sidecar.app.app_id()),
            sidecar.app.namespace().to_owned(),
            port(of.http_port),
            port(of.grpc_port),
            port(of.app_port),
            age(of.started, now),
            of.pid.to_string(),
            of.command.clone(),
        ]
    }));
    let mut widths = [0_usize; HEADS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn port(number: u16) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

/// Time since `started`, in the largest unit that fits: `42s`, `7m`, `3h`, `2d`.
fn age(started: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(started).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_identity::AppId;
    use outrigger_mesh::discovery::registry::Description;

    fn shop(started: SystemTime) -> Announcement {
        Announcement {
            instance: "i-1".into(),
            app: AppId::new("default", "shop").unwrap(),
            peer_address: "127.0.0.1:50002".parse().unwrap(),
            draining: false,
            description: Description {
                pid: 42,
                parent_pid: 41,
                http_port: 3500,
                grpc_port: 50001,
                metrics_port: 9090,
                app_port: 0,
                app_pid: 0,
                command: "python3 app.py".into(),
                started,
            },
        }
    }

    #[test]
    fn the_table_lines_up_and_shows_no_port_as_a_dash() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let text = table(&[shop(SystemTime::UNIX_EPOCH + Duration::from_secs(958))], now);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "APP ID  NAMESPACE  HTTP  GRPC   APP PORT  AGE  PID  COMMAND");
        assert_eq!(lines[1], "shop    default    3500  50001  -         42s  42   python3 app.py");
    }

    #[test]
    fn json_has_the_keys_that_readers_of_dapr_list_know() {
        let value = json(&[shop(SystemTime::UNIX_EPOCH)]);
        for key in ["appId", "httpPort", "grpcPort", "appPort", "command", "age", "created", "daprdPid", "cliPid"] {
            assert!(value[0].get(key).is_some(), "{key}");
        }
        assert_eq!(json(&[]).to_string(), "[]");
    }

    #[test]
    fn an_age_has_one_unit() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (seconds, want) in [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (200_000, "2d")] {
            assert_eq!(age(at(0), at(seconds)), want);
        }
        assert_eq!(age(at(9), at(0)), "0s", "a clock set back is no panic");
    }
}
