//! What the quickstart prints.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::fleet::Fleet;
use super::proof::{ORDER, Proof};
use super::service::{Role, Saw};

/// Said while it stays up.
pub(crate) const STAY: &str = "All of it stays up until Ctrl-C.";

/// Before anything runs.
pub(crate) fn opening(folder: &Path) -> String {
    format!("Three services, each behind a sidecar of its own; all data is in\n  {}\n\n", folder.display())
}

/// What runs.
pub(crate) fn fleet(fleet: &Fleet) -> String {
    let mut text = format!("  {:<11} {:<17} {:<17} {}\n", "", "app", "sidecar HTTP API", "processes");
    for member in &fleet.members {
        let [service, sidecar] = member.pids();
        line(
            &mut text,
            format_args!("  {:<11} {:<17} {:<17} {service}, {sidecar}", member.role.app_id(), member.app, member.api),
        );
    }
    line(
        &mut text,
        format_args!("  {:<11} {:<35} {}\n", "control", "certificate authority, registry", fleet.control_pid),
    );
    text
}

/// What was proved.
pub(crate) fn proof(proof: &Proof) -> String {
    let mut text = format!(
        "1. An order went storefront → orders → payments in {} (the first, with its TLS handshakes, in {}).\n\n",
        time(proof.median),
        time(proof.first)
    );
    saw(&mut text, "orders", &proof.orders);
    saw(&mut text, "payments", &proof.payments);
    line(&mut text, format_args!("   trace     {}  (the same on both hops)\n", proof.orders.trace));
    let (status, refusal) = &proof.refusal;
    line(&mut text, format_args!("2. storefront → payments, which no policy allows, was refused:\n\n   {status}"));
    for words in message(refusal).lines() {
        line(&mut text, format_args!("   {words}"));
    }
    text.push('\n');
    text
}

/// The message of a JSON error, or the text as it is.
fn message(refusal: &str) -> String {
    serde_json::from_str::<serde_json::Value>(refusal)
        .ok()
        .and_then(|error| error.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| refusal.to_owned())
}

fn saw(text: &mut String, callee: &str, saw: &Saw) {
    line(text, format_args!("   {callee} saw"));
    line(text, format_args!("     caller  {}", saw.caller));
    line(text, format_args!("     wire    {}, {}", saw.wire, saw.tls));
    line(text, format_args!("     policy  {}", saw.policy));
}

/// Lines to paste into another terminal.
///
/// # Errors
///
/// Never, once the fleet is started.
pub(crate) fn try_next(fleet: &Fleet, exe: &Path) -> anyhow::Result<String> {
    let storefront = fleet.of(Role::Storefront)?;
    let payments = fleet.of(Role::Payments)?;
    let mut text = String::from("Try next, in another terminal:\n\n");
    line(&mut text, format_args!("  # the order again: the receipt is what the callees saw"));
    line(
        &mut text,
        format_args!("  curl -X POST http://{}/v1.0/invoke/orders/method/order -d '{ORDER}'", storefront.api),
    );
    line(&mut text, format_args!("  # the refused call"));
    line(
        &mut text,
        format_args!("  curl -i -X POST http://{}/v1.0/invoke/payments/method/charge -d '{ORDER}'", storefront.api),
    );
    line(&mut text, format_args!("  # what the callee's sidecar knows of itself"));
    line(&mut text, format_args!("  curl http://{}/v1.0/metadata", payments.api));
    line(&mut text, format_args!("  # the policy that refused, and the sidecars that run"));
    line(&mut text, format_args!("  cat {}", payments.policy.display()));
    line(&mut text, format_args!("  OUTRIGGER_HOME={} {} list\n", fleet.home.path().display(), program(exe)));
    Ok(text)
}

/// Said when the end begins.
pub(crate) fn stopping() -> String {
    "\nStopping.\n".to_owned()
}

/// Said when it is over.
pub(crate) fn stopped(left: &[u32]) -> String {
    if left.is_empty() {
        return "Stopped; no process is left.\n".to_owned();
    }
    format!("Stopped, but these processes are left: {left:?}\n")
}

/// The way on.
pub(crate) fn your_own_app(exe: &Path) -> String {
    let program = program(exe);
    format!(
        "\nYour own app behind a sidecar takes three commands:\n\n\
         \x20 {program} run --app-id myapp --app-port 3000 -- python3 -m http.server 3000 --bind 127.0.0.1\n\
         \x20 {program} invoke --app-id myapp --method / --verb GET\n\
         \x20 {program} stop --app-id myapp\n"
    )
}

/// How the user can call this program: its bare name when that finds it.
fn program(exe: &Path) -> String {
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .any(|folder| std::fs::canonicalize(folder.join("outrigger")).is_ok_and(|found| found == exe))
    });
    if on_path {
        return "outrigger".to_owned();
    }
    let here = std::env::current_dir().ok();
    match here.and_then(|here| exe.strip_prefix(here).ok().map(|rest| rest.display().to_string())) {
        Some(rest) => format!("./{rest}"),
        None => exe.display().to_string(),
    }
}

fn time(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_is_three_commands() {
        let text = your_own_app(Path::new("/opt/outrigger"));
        assert_eq!(text.matches("/opt/outrigger ").count(), 3, "{text}");
    }

    #[test]
    fn processes_that_are_left_are_named() {
        assert!(stopped(&[7]).contains("[7]"));
        assert!(stopped(&[]).contains("no process is left"));
    }
}
