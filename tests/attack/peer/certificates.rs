//! Certificates that nobody may come in with.

use std::time::Duration;

use outrigger_test_support::Ca;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, SanType};
use time::OffsetDateTime;

use super::{authority, is_served, shut_out};
use crate::case::Case;

const CALLER: &str = "spiffe://public/ns/default/caller";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Without this one, the cases below could pass for a reason that has nothing to do with theirs.
#[test]
fn a_good_certificate_gets_in_and_the_application_sees_its_identity() {
    let case = Case::new();
    let leaf = authority(&case).leaf(&[CALLER]);
    assert!(is_served(&case, Some(&leaf)));
    let reached = case.reached("attack");
    assert_eq!(reached.len(), 1);
    assert_eq!(reached[0].one("outrigger-caller-id"), Some(CALLER));
    assert_eq!(reached[0].one("dapr-caller-app-id"), Some("caller"));
    assert_eq!(reached[0].one("outrigger-wire"), Some("native"));
    case.others_are_untouched();
}

#[test]
fn no_certificate_is_shut_out() {
    shut_out(Case::new(), None);
}

/// One certificate of the very authority that the callee trusts, or of another.
macro_rules! shut_out {
    ($($name:ident => $leaf:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let leaf = ($leaf)(authority(&case));
                shut_out(case, Some(&leaf));
            }
        )+
    };
}

shut_out! {
    a_certificate_of_another_root_is_shut_out => |_| Ca::foreign().leaf(&[CALLER]);
    a_certificate_of_an_intermediate_beneath_another_root_is_shut_out =>
        |_| Ca::foreign().intermediate().leaf(&[CALLER]);
    an_expired_certificate_is_shut_out => |ca: Ca| ca.leaf_with(&[CALLER], |params| {
        params.not_before = OffsetDateTime::now_utc() - 2 * DAY;
        params.not_after = OffsetDateTime::now_utc() - DAY;
    });
    a_certificate_that_is_not_valid_yet_is_shut_out => |ca: Ca| ca.leaf_with(&[CALLER], |params| {
        params.not_before = OffsetDateTime::now_utc() + DAY;
        params.not_after = OffsetDateTime::now_utc() + 2 * DAY;
    });
    a_certificate_without_a_name_is_shut_out => |ca: Ca| ca.leaf(&[]);
    a_certificate_with_a_dns_name_only_is_shut_out => |ca: Ca| ca.leaf_with(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("caller.default".try_into().expect("ASCII"))];
    });
    a_certificate_with_its_identity_in_the_common_name_only_is_shut_out => |ca: Ca| ca.leaf_with(&[], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, CALLER);
    });
    a_certificate_with_two_uris_is_shut_out => |ca: Ca| ca.leaf(&[CALLER, "spiffe://public/ns/default/admin"]);
    a_certificate_with_the_same_uri_twice_is_shut_out => |ca: Ca| ca.leaf(&[CALLER, CALLER]);
    a_certificate_with_a_uri_of_another_scheme_beside_is_shut_out =>
        |ca: Ca| ca.leaf(&[CALLER, "https://evil.example/"]);
    a_certificate_with_five_hundred_uris_is_shut_out => |ca: Ca| ca.leaf(&vec![CALLER; 500]);
    a_certificate_for_servers_only_is_shut_out => |ca: Ca| ca.leaf_with(&[CALLER], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    a_certificate_for_signing_code_is_shut_out => |ca: Ca| ca.leaf_with(&[CALLER], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });
    a_certificate_that_may_sign_others_is_shut_out => |ca: Ca| ca.leaf_with(&[CALLER], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    a_chain_through_a_certificate_of_our_own_that_may_not_sign_is_shut_out => |ca: Ca| {
        let mut leaf = Ca::foreign().leaf(&[CALLER]);
        leaf.chain.extend(ca.leaf(&["spiffe://public/ns/default/other"]).chain);
        leaf
    };
    a_chain_of_a_hundred_is_shut_out => |ca: Ca| {
        let mut deep = ca;
        for _ in 0..100 {
            deep = deep.intermediate();
        }
        deep.leaf(&[CALLER])
    };
    a_chain_of_one_mebibyte_is_shut_out => |_| {
        let mut leaf = Ca::foreign().leaf(&[CALLER]);
        let filler = leaf.chain[0].clone();
        leaf.chain.extend(std::iter::repeat_n(filler, 3000));
        leaf
    };
}
