//! SPIFFE IDs that look like a good one, signed by the very authority that the callee trusts.

use super::{authority, shut_out};
use crate::case::Case;

macro_rules! shut_out {
    ($($name:ident => $id:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = Case::new();
                let id: &str = $id;
                let leaf = authority(&case).leaf(&[id]);
                shut_out(case, Some(&leaf));
            }
        )+
    };
}

shut_out! {
    another_trust_domain_is_shut_out => "spiffe://evil.example/ns/default/caller";
    a_trust_domain_that_begins_like_ours_is_shut_out => "spiffe://public.evil.example/ns/default/caller";
    a_trust_domain_that_ends_like_ours_is_shut_out => "spiffe://evil.public/ns/default/caller";
    a_trust_domain_that_ends_like_ours_without_a_dot_is_shut_out => "spiffe://evilpublic/ns/default/caller";
    a_trust_domain_in_upper_case_is_shut_out => "spiffe://PUBLIC/ns/default/caller";
    a_trust_domain_with_a_dot_behind_it_is_shut_out => "spiffe://public./ns/default/caller";
    a_trust_domain_with_a_port_is_shut_out => "spiffe://public:443/ns/default/caller";
    a_trust_domain_with_userinfo_is_shut_out => "spiffe://user@public/ns/default/caller";
    an_empty_trust_domain_is_shut_out => "spiffe:///ns/default/caller";
    a_trust_domain_with_an_escape_is_shut_out => "spiffe://publi%63/ns/default/caller";
    a_trust_domain_with_a_wildcard_is_shut_out => "spiffe://*/ns/default/caller";
    a_trust_domain_alone_is_shut_out => "spiffe://public";
    a_slash_behind_the_path_is_shut_out => "spiffe://public/ns/default/caller/";
    an_empty_segment_is_shut_out => "spiffe://public/ns//caller";
    a_dot_segment_is_shut_out => "spiffe://public/ns/default/../admin/caller";
    an_escaped_slash_is_shut_out => "spiffe://public/ns/default%2Fcaller";
    a_query_is_shut_out => "spiffe://public/ns/default/caller?admin";
    a_fragment_is_shut_out => "spiffe://public/ns/default/caller#admin";
    a_wildcard_segment_is_shut_out => "spiffe://public/ns/default/*";
    another_scheme_is_shut_out => "https://public/ns/default/caller";
    a_scheme_in_upper_case_with_our_words_is_shut_out => "spiffes://public/ns/default/caller";
    text_that_is_no_uri_is_shut_out => "caller";
}

/// A valid SPIFFE ID that names no app of ours: whatever the policy says of it, it is never taken for an app's.
#[test]
fn an_identity_that_names_no_app_is_never_taken_for_one() {
    for id in ["spiffe://public/ns/default/sa/caller/x", "spiffe://public/caller", "spiffe://public/ns/default"] {
        let case = Case::new();
        let leaf = authority(&case).leaf(&[id]);
        super::is_served(&case, Some(&leaf));
        for reached in case.reached("attack") {
            assert_eq!(reached.one("outrigger-caller-id"), Some(id));
            assert_eq!(reached.one("dapr-caller-app-id"), None, "{id}");
        }
        case.others_are_untouched();
    }
}
