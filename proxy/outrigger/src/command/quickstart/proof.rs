//! What the quickstart proves, from what the callees saw.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::fleet::{Fleet, Member};
use super::service::{Receipt, Role, Saw};
use crate::loopback;

/// Orders sent after the first one to measure a steady latency.
const MEASURED: usize = 100;

/// Longest wait for one order.
const PATIENCE: Duration = Duration::from_secs(15);

/// The order that is sent.
pub(crate) const ORDER: &str = r#"{"item":"paddle","quantity":2}"#;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Proof {
    /// What orders saw of storefront.
    pub(crate) orders: Saw,
    /// What payments saw of orders.
    pub(crate) payments: Saw,
    /// Time of the first order, with its handshakes.
    pub(crate) first: Duration,
    /// Median of those that followed.
    pub(crate) median: Duration,
    /// Status and text of the call that policy does not allow.
    pub(crate) refusal: (StatusCode, String),
}

/// Sends orders along the line, and one call past the policy.
///
/// # Errors
///
/// A call that got no answer, or an order that was not served.
pub(crate) async fn collect(fleet: &Fleet) -> anyhow::Result<Proof> {
    let storefront = fleet.of(Role::Storefront)?;
    let client = loopback::client(storefront.api);
    let order = || async {
        let start = Instant::now();
        let path = format!("/v1.0/invoke/orders/method{}", Role::Orders.path());
        let answer = post(&client, storefront, &path).await?;
        anyhow::ensure!(
            answer.status == StatusCode::OK,
            "the order was answered with {}: {}",
            answer.status,
            answer.text().trim()
        );
        let receipt: Receipt = serde_json::from_slice(&answer.body).context("the receipt is no JSON")?;
        Ok((receipt, start.elapsed()))
    };
    let (receipt, first) = order().await?;
    let payments = receipt.then.context("orders did not reach payments")?;
    let mut times = Vec::with_capacity(MEASURED);
    for _ in 0..MEASURED {
        times.push(order().await?.1);
    }
    times.sort_unstable();
    let path = format!("/v1.0/invoke/payments/method{}", Role::Payments.path());
    let refusal = post(&client, storefront, &path).await?;
    Ok(Proof {
        orders: receipt.saw,
        payments: payments.saw,
        first,
        median: times.get(MEASURED / 2).copied().unwrap_or(first),
        refusal: (refusal.status, refusal.text().trim().to_owned()),
    })
}

async fn post(
    client: &outrigger_mesh::http::client::Client,
    member: &Member,
    path: &str,
) -> anyhow::Result<loopback::Answer> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from_static(ORDER.as_bytes());
    loopback::call(client, member.api, Method::POST, path, headers, body, PATIENCE).await
}

impl Proof {
    /// What does not hold, a sentence each; nothing when all does.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        for (callee, caller, saw) in
            [(Role::Orders, Role::Storefront, &self.orders), (Role::Payments, Role::Orders, &self.payments)]
        {
            let callee = callee.app_id();
            let id = format!("spiffe://public/ns/default/{}", caller.app_id());
            check(saw.caller == id, format!("{callee} saw the caller {:?} and not {id}", saw.caller));
            check(saw.wire == "native", format!("{callee} was reached over the wire {:?} and not native", saw.wire));
            check(saw.tls.starts_with("TLSv1.3"), format!("{callee} saw TLS {:?} and not TLSv1.3", saw.tls));
            check(!saw.policy.is_empty(), format!("{callee} was not told which policy allowed the call"));
            check(saw.trace.len() == 32, format!("{callee} saw no trace ID but {:?}", saw.trace));
        }
        check(
            self.orders.trace == self.payments.trace,
            format!("orders saw the trace {} and payments {}", self.orders.trace, self.payments.trace),
        );
        let (status, text) = &self.refusal;
        check(
            *status == StatusCode::FORBIDDEN,
            format!("storefront was not refused at payments but answered {status}: {text}"),
        );
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(caller: &str) -> Saw {
        Saw {
            caller: format!("spiffe://public/ns/default/{caller}"),
            wire: "native".into(),
            tls: "TLSv1.3 X25519MLKEM768".into(),
            policy: "orders-access".into(),
            callee: String::new(),
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        }
    }

    fn proof() -> Proof {
        Proof {
            orders: saw("storefront"),
            payments: saw("orders"),
            first: Duration::from_millis(20),
            median: Duration::from_millis(1),
            refusal: (StatusCode::FORBIDDEN, "no".into()),
        }
    }

    #[test]
    fn a_proof_that_holds_has_no_failures() {
        assert_eq!(proof().failures(), Vec::<String>::new());
    }

    #[test]
    fn every_part_of_the_proof_can_fail() {
        type Break = fn(&mut Proof);
        let broken: [(&str, Break); 7] = [
            ("caller", |proof| proof.orders.caller = "spiffe://public/ns/default/payments".into()),
            ("wire", |proof| proof.payments.wire = "local".into()),
            ("TLS", |proof| proof.orders.tls = "TLSv1.2".into()),
            ("policy", |proof| proof.payments.policy.clear()),
            ("trace ID", |proof| {
                proof.orders.trace.clear();
                proof.payments.trace.clear();
            }),
            ("trace", |proof| proof.orders.trace = "00000000000000000000000000000001".into()),
            ("refused", |proof| proof.refusal.0 = StatusCode::OK),
        ];
        for (what, breaks) in broken {
            let mut proof = proof();
            breaks(&mut proof);
            let failures = proof.failures();
            assert!(!failures.is_empty() && failures[0].contains(what), "{what}: {failures:?}");
        }
    }
}
