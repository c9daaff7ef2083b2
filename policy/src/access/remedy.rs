//! What would allow a call that was denied.

use std::fmt::Write as _;

use crate::access::control::{AccessControl, AccessRequest};
use crate::access::decision::{Cause, Decision, Denied};
use crate::access::spec::{AccessControlSpec, Action, AppPolicySpec, CallProtocol, OperationSpec};
use crate::access::verb::{Verb, Verbs};

/// Longest operation that is offered for pasting.
const MAX_OPERATION: usize = 256;

/// Most rules of an app among which a change is tried out.
const MAX_TRIED: usize = 200;

/// A change of the specification that may allow the call.
struct Fix {
    says: String,
    spec: AccessControlSpec,
}

/// The sentence for a denied call.
pub(super) fn remedy(denied: &Denied) -> String {
    if let Some(text) = beyond_rules(denied) {
        return text;
    }
    match working_fix(denied) {
        Some(fix) => fix.says,
        None if matches!(denied.cause, Cause::OtherTrustDomain { .. }) => {
            "the policy of this app is for another trust domain; were its trustDomain that of the caller, its rules \
             would decide the call"
                .to_owned()
        }
        None if denied.sent != denied.operation => {
            "servers may read this path in several ways, which no single rule covers: send it without percent \
             escapes, `;` and `\\`"
                .to_owned()
        }
        None => format!(
            "no single rule of `{}` would allow it; review `spec.accessControl` of the called app",
            denied.spec.name.escape_default()
        ),
    }
}

/// The specification after the change that [`remedy`] tells of.
#[cfg(test)]
pub(super) fn repaired(denied: &Denied) -> Option<AccessControlSpec> {
    match beyond_rules(denied) {
        Some(_) => None,
        None => working_fix(denied).map(|fix| fix.spec),
    }
}

/// What no rule can mend.
fn beyond_rules(denied: &Denied) -> Option<String> {
    let what = match denied.cause {
        Cause::NoIdentity => {
            "the caller proved no identity: call through its sidecar with mutual TLS on, so that it can be \
             recognised by app ID"
        }
        Cause::NotAnApp => {
            "the caller's SPIFFE ID is not of the form spiffe://<trust domain>/ns/<namespace>/<app ID>: \
             access control knows apps only"
        }
        Cause::UnknownVerb { .. } => "access control cannot name this HTTP verb: use a standard one",
        _ if denied.other_reading => {
            "an app may read this path in another way, and that reading is denied: send the path without \
             percent escapes, `;` and `\\`"
        }
        _ if denied.operation.contains('*') => {
            "the path holds `*`, which a rule would take for a wildcard: no rule can allow this path alone"
        }
        _ if denied.operation.len() > MAX_OPERATION => "the path is too long for a rule of its own",
        _ => return None,
    };
    Some(what.to_owned())
}

/// The first change that, when made, does allow the call. Rules shadow each other in ways that are easy
/// to get wrong, so each candidate is tried out; but not among very many rules, for whoever is denied
/// could keep us busy with it.
fn working_fix(denied: &Denied) -> Option<Fix> {
    if rules(denied) > MAX_TRIED {
        return candidates(denied).into_iter().next();
    }
    candidates(denied).into_iter().find(|fix| decide(denied, &fix.spec).is_allowed())
}

/// The same call under another specification.
fn decide(denied: &Denied, spec: &AccessControlSpec) -> Decision {
    // The protocol is the one that it was decided by.
    AccessControl::new(spec.clone()).decide(&AccessRequest {
        caller: denied.caller.as_ref(),
        protocol: denied.protocol,
        verb: &denied.verb,
        operation: &denied.sent,
    })
}

/// How many rules the caller's policy has.
fn rules(denied: &Denied) -> usize {
    let policy = match denied.cause {
        Cause::OtherTrustDomain { policy }
        | Cause::Rule { policy, .. }
        | Cause::AppDefault { policy, .. }
        | Cause::UnknownVerb { policy } => policy,
        Cause::NoIdentity | Cause::NotAnApp | Cause::NoPolicy => return 0,
    };
    denied.spec.policies.get(policy).map_or(0, |policy| policy.operations.len())
}

fn candidates(denied: &Denied) -> Vec<Fix> {
    let fixes = match denied.cause {
        Cause::NoPolicy => [add_policy(denied), None],
        Cause::OtherTrustDomain { policy } => [change_trust_domain(denied, policy), None],
        Cause::AppDefault { policy, rule: None } => [add_rule(denied, policy), None],
        Cause::AppDefault { policy, rule: Some(rule) } | Cause::Rule { policy, rule } => {
            let same_name =
                rule_of(&denied.spec, policy, rule).is_some_and(|it| denied.operation.eq_ignore_ascii_case(&it.name));
            let change = change_rule(denied, policy, rule);
            // A second rule with the name of the first would take its place and all its verbs.
            if same_name { [change, None] } else { [add_rule(denied, policy), change] }
        }
        Cause::NoIdentity | Cause::NotAnApp | Cause::UnknownVerb { .. } => [None, None],
    };
    fixes.into_iter().flatten().collect()
}

fn add_policy(denied: &Denied) -> Option<Fix> {
    let caller = denied.caller.as_ref()?;
    let id = caller.as_dapr()?;
    let policies = vec![AppPolicySpec {
        app_id: id.app_id.to_owned(),
        namespace: id.namespace.to_owned(),
        trust_domain: caller.trust_domain().to_owned(),
        default_action: Some(Action::Deny),
        operations: vec![rule_for(denied)],
    }];
    let spec = AccessControlSpec { policies, ..of_one(denied, None) };
    let mut says = format!(
        "to allow it, add this policy to the Configuration `{}` of the called app:\n",
        denied.spec.name.escape_default()
    );
    says.push_str("spec:\n  accessControl:\n    policies:\n");
    let _ = write!(
        says,
        "    - appId: {}\n      namespace: {}\n      trustDomain: {}\n      defaultAction: deny\n      operations:\n",
        quoted(id.app_id),
        quoted(id.namespace),
        quoted(caller.trust_domain())
    );
    push_rule(&mut says, &rule_for(denied), denied.protocol);
    Some(Fix { says, spec })
}

fn change_trust_domain(denied: &Denied, policy: usize) -> Option<Fix> {
    let caller = denied.caller.as_ref()?;
    let mut spec = of_one(denied, Some(policy));
    spec.policies.first_mut()?.trust_domain = caller.trust_domain().to_owned();
    let mut says = format!(
        "the policy of this app is for another trust domain. If it is the same app, set in the Configuration \
         `{}` of the called app `spec.accessControl.policies[{policy}].trustDomain: {}`",
        denied.spec.name.escape_default(),
        quoted(caller.trust_domain())
    );
    // With the policy in force its rules may still deny the call.
    if rules(denied) <= MAX_TRIED && !decide(denied, &spec).is_allowed() {
        spec.policies.first_mut()?.operations.insert(0, rule_for(denied));
        says.push_str(", and put first among its `operations`:\n");
        push_rule(&mut says, &rule_for(denied), denied.protocol);
    }
    Some(Fix { says, spec })
}

fn add_rule(denied: &Denied, policy: usize) -> Option<Fix> {
    let mut spec = of_one(denied, Some(policy));
    spec.policies.first_mut()?.operations.insert(0, rule_for(denied));
    let mut says = format!(
        "to allow it, put this rule first among `spec.accessControl.policies[{policy}].operations` of the \
         Configuration `{}` of the called app:\n",
        denied.spec.name.escape_default()
    );
    push_rule(&mut says, &rule_for(denied), denied.protocol);
    Some(Fix { says, spec })
}

fn change_rule(denied: &Denied, policy: usize, rule: usize) -> Option<Fix> {
    let mut spec = of_one(denied, Some(policy));
    let changed = spec.policies.first_mut()?.operations.get_mut(rule)?;
    let wanted = rule_for(denied);
    changed.verbs = match (changed.action, Verb::of_request(&denied.verb), denied.protocol) {
        (Action::Allow, Some(verb), CallProtocol::Http) => changed.verbs.and(verb),
        (Action::Deny, _, CallProtocol::Http) => wanted.verbs,
        _ => changed.verbs,
    };
    changed.action = Action::Allow;
    let changed = changed.clone();
    let mut says = format!(
        "to allow it, change `spec.accessControl.policies[{policy}].operations[{rule}]` of the Configuration \
         `{}` of the called app, and so all that this rule covers, to:\n",
        denied.spec.name.escape_default()
    );
    push_rule(&mut says, &changed, denied.protocol);
    Some(Fix { says, spec })
}

/// The specification with one policy only: that of the caller. It decides this caller's calls just as the
/// whole does, and trying out a change costs what the caller's own rules are, however many others there are.
fn of_one(denied: &Denied, policy: Option<usize>) -> AccessControlSpec {
    AccessControlSpec {
        name: denied.spec.name.clone(),
        default_action: Some(denied.spec.default_action()),
        policies: policy.and_then(|index| denied.spec.policies.get(index)).cloned().into_iter().collect(),
    }
}

fn rule_of(spec: &AccessControlSpec, policy: usize, rule: usize) -> Option<&OperationSpec> {
    spec.policies.get(policy)?.operations.get(rule)
}

/// The narrowest rule that allows the call.
fn rule_for(denied: &Denied) -> OperationSpec {
    let verb = match denied.protocol {
        CallProtocol::Http => Verb::of_request(&denied.verb),
        CallProtocol::Grpc => None,
    };
    OperationSpec {
        name: denied.operation.clone(),
        verbs: verb.map_or(Verbs::NONE, |verb| Verbs::NONE.and(verb)),
        action: Action::Allow,
    }
}

fn push_rule(says: &mut String, rule: &OperationSpec, protocol: CallProtocol) {
    let _ = writeln!(says, "      - name: {}", quoted(&rule.name));
    if protocol == CallProtocol::Http || !rule.verbs.is_empty() {
        let _ = writeln!(says, "        httpVerb: {}", rule.verbs.to_yaml());
    }
    let _ = writeln!(says, "        action: {}", rule.action.as_str());
}

/// A double-quoted YAML scalar, so that nothing in the text is read as YAML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}
