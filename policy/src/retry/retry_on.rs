//! Whether repeating an attempt is safe and useful.

/// How an attempt ended without a result that the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The callee's app certainly saw nothing of it: no connection, a refused stream, a GOAWAY that
    /// names an earlier stream, a breaker that is open, no replica.
    NotSent,
    /// It was sent, at least in part, and the connection or the stream broke before a response head.
    Interrupted,
    /// It was sent and no response head came within the per-try timeout.
    TimedOut,
    /// The app answered with this HTTP status.
    Http(u16),
    /// The app answered with this gRPC status, in a response that carries nothing else.
    Grpc(u32),
}

/// Which ends of an attempt are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// Repeat an interrupted or timed-out attempt of an idempotent request. Default true.
    ///
    /// The app may have done the work already, so a request that is not idempotent is never repeated.
    pub idempotent: bool,
    /// HTTP statuses that are repeated, whatever the method. Default none: an app's answer is an answer,
    /// and a stock sidecar hands it on as well.
    pub http: Codes,
    /// gRPC statuses that are repeated, whatever the method. Default `14` (UNAVAILABLE), which by its
    /// definition asks the client to try again, and which a stock sidecar repeats as well.
    pub grpc: Codes,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { idempotent: true, http: Codes::none(), grpc: Codes::of(&[14]) }
    }
}

impl RetryOn {
    /// Whether an attempt that ended so may be made again.
    ///
    /// `idempotent` is true for a request whose repetition means the same as doing it once (RFC 9110
    /// §9.2.2; see [`is_idempotent`](Self::is_idempotent)). An attempt that was not sent is always safe.
    #[must_use]
    pub fn allows(&self, end: AttemptEnd, idempotent: bool) -> bool {
        match end {
            AttemptEnd::NotSent => true,
            AttemptEnd::Interrupted | AttemptEnd::TimedOut => self.idempotent && idempotent,
            AttemptEnd::Http(status) => self.http.contains(u32::from(status)),
            AttemptEnd::Grpc(status) => self.grpc.contains(status),
        }
    }

    /// Whether RFC 9110 §9.2.2 calls the method idempotent. Methods are case-sensitive, and one that is
    /// not known is not idempotent.
    #[must_use]
    pub fn is_idempotent(method: &str) -> bool {
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }
}

/// A set of status codes, as ranges that include both ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes(Vec<(u32, u32)>);

impl Codes {
    /// No code at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Exactly these codes.
    #[must_use]
    pub fn of(codes: &[u32]) -> Self {
        Self(codes.iter().map(|code| (*code, *code)).collect())
    }

    /// Adds the codes from `first` to `last`, both included. A range that runs backwards is empty.
    #[must_use]
    pub fn and_range(mut self, first: u32, last: u32) -> Self {
        self.0.push((first, last));
        self
    }

    /// Whether the code is in the set.
    #[must_use]
    pub fn contains(&self, code: u32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_default_repeats() {
        let on = RetryOn::default();
        let rows = [
            // end, idempotent, repeated
            (AttemptEnd::NotSent, false, true),
            (AttemptEnd::NotSent, true, true),
            (AttemptEnd::Interrupted, false, false),
            (AttemptEnd::Interrupted, true, true),
            (AttemptEnd::TimedOut, false, false),
            (AttemptEnd::TimedOut, true, true),
            (AttemptEnd::Http(500), true, false),
            (AttemptEnd::Http(503), true, false),
            (AttemptEnd::Http(429), true, false),
            (AttemptEnd::Grpc(14), false, true),
            (AttemptEnd::Grpc(0), true, false),
            (AttemptEnd::Grpc(4), true, false),
            (AttemptEnd::Grpc(13), true, false),
            (AttemptEnd::Grpc(16), true, false),
        ];
        for (end, idempotent, repeated) in rows {
            assert_eq!(on.allows(end, idempotent), repeated, "{end:?} {idempotent}");
        }
    }

    #[test]
    fn statuses_are_ranges_with_both_ends() {
        let on = RetryOn { http: Codes::of(&[429]).and_range(500, 599).and_range(9, 1), ..RetryOn::default() };

        for (status, repeated) in
            [(429, true), (430, false), (499, false), (500, true), (599, true), (600, false), (5, false)]
        {
            assert_eq!(on.allows(AttemptEnd::Http(status), false), repeated, "{status}");
        }
    }

    #[test]
    fn methods_are_case_sensitive_and_unknown_ones_are_not_idempotent() {
        for (method, idempotent) in [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("TRACE", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("CONNECT", false),
            ("get", false),
            ("PURGE", false),
            ("", false),
        ] {
            assert_eq!(RetryOn::is_idempotent(method), idempotent, "{method}");
        }
    }
}
