//! Whom a request is for: absolute targets and Host (RFC 9112, section 3.2).

use crate::case::{Case, cases};

/// A GET of `target` (`*` standing for one that leads to the application) with `lines`.
fn get(case: &Case, target: &str, lines: &str) -> String {
    format!("GET {} HTTP/1.1\r\n{lines}\r\n\r\n", target.replace('*', &case.target("attack")))
}

cases! { refused:
    two_hosts_are_refused => |case| get(case, "*", "Host: localhost\r\nHost: evil.example");
    the_same_host_twice_is_refused => |case| get(case, "*", "Host: localhost\r\nHost: localhost");
    no_host_is_refused => |case| get(case, "*", "X-A: 1");
    a_host_with_userinfo_is_refused => |case| get(case, "*", "Host: user:word@localhost");
    a_host_with_a_port_past_65535_is_refused => |case| get(case, "*", "Host: localhost:99999");
    a_host_with_a_port_that_is_no_number_is_refused => |case| get(case, "*", "Host: localhost:port");
    a_host_with_a_path_is_refused => |case| get(case, "*", "Host: localhost/admin");
    a_host_with_a_space_is_refused => |case| get(case, "*", "Host: local host");
    a_host_with_a_comma_is_refused => |case| get(case, "*", "Host: localhost, evil.example");
    // A page of another site that a browser was led to by a name that resolves to loopback (threat T6).
    a_host_of_another_machine_is_refused => |case| get(case, "*", "Host: evil.example");
    an_origin_of_another_machine_is_refused =>
        |case| get(case, "*", "Host: localhost\r\nOrigin: https://evil.example");
    an_absolute_target_of_another_machine_is_refused => |case| get(case, "http://evil.example*", "Host: localhost");
    an_absolute_target_that_contradicts_host_is_refused => |case| get(case, "http://localhost*", "Host: evil.example");
    an_absolute_target_with_userinfo_is_refused => |case| get(case, "http://user:word@localhost*", "Host: localhost");
    an_asterisk_for_a_target_is_refused => |_| "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n";
    an_authority_for_a_target_is_refused => |_| "GET evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connect_to_another_machine_is_refused =>
        |_| "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n";
    connect_to_our_own_port_is_refused => |case: &Case| {
        let own = case.field.caller.grpc();
        format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n")
    };
    an_address_of_cloud_metadata_for_an_app_is_refused => |_|
        "GET /v1.0/invoke/http://169.254.169.254/method/attack HTTP/1.1\r\nHost: localhost\r\n\r\n";
    a_url_of_our_own_port_for_an_app_is_refused => |case: &Case| format!(
        "GET /v1.0/invoke/http%3A%2F%2F{}/method/attack HTTP/1.1\r\nHost: localhost\r\n\r\n", case.field.callee.metrics());
    an_app_id_with_a_line_break_is_refused =>
        |_| "GET /v1.0/invoke/callee%0d%0aX:1/method/attack HTTP/1.1\r\nHost: localhost\r\n\r\n";
    two_app_ids_are_refused =>
        |case: &Case| format!("GET /attack-{} HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: callee\r\ndapr-app-id: other\r\n\r\n",
            case.target("x").len());
    an_app_id_of_one_mebibyte_is_refused => |_| format!(
        "GET /v1.0/invoke/{}/method/attack HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
}

cases! { refused_or_understood_once:
    an_absolute_target_of_this_machine_is_understood_or_refused =>
        |case| get(case, "http://localhost*", "Host: localhost");
    an_absolute_target_of_another_scheme_is_understood_or_refused =>
        |case| get(case, "file://localhost*", "Host: localhost");
    a_host_in_upper_case_is_understood_or_refused => |case| get(case, "*", "Host: LOCALHOST");
    a_host_with_a_dot_behind_it_is_understood_or_refused => |case| get(case, "*", "Host: localhost.");
    an_empty_host_is_understood_or_refused => |case| get(case, "*", "Host:");
    a_numeric_host_is_understood_or_refused => |case| get(case, "*", "Host: 127.0.0.1:1");
    an_ipv6_host_is_understood_or_refused => |case| get(case, "*", "Host: [::1]:3500");
}
